//! Where a worker was when it panicked. It must not unwind through C, so the process ends, but not without saying where.

use std::cell::Cell;

thread_local! {
    static AT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// This thread is about to run the node `name`.
#[inline(always)]
pub fn entering(name: &'static str) {
    AT.set(Some(name));
}

/// Has panics name the thread and the node, in the log, before what else happens to them.
pub fn name_the_node() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("an lcore");
        match AT.get() {
            Some(node) => log::error!("{name} panicked in {node}: {info}"),
            None => log::error!("{name} panicked: {info}"),
        }
        usual(info);
    }));
}

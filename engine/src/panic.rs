//! Where a worker was when it panicked, and over which packet. It must not unwind through C, so the process ends, but not without saying that.

use std::cell::Cell;
use std::thread;

use dpdk_sys::at_hand;

thread_local! {
    static AT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// This thread is about to run the node `name`.
#[inline(always)]
pub fn entering(name: &'static str) {
    AT.set(Some(name));
}

/// Has panics name, in the log, the thread, the node, and the packet, or the packets of the frame where a node sees to many at once. A panic
/// over packets ends the process.
pub fn name_the_node() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let name = thread_name();
        match AT.get() {
            Some(node) => log::error!("{name} panicked in {node}: {info}"),
            None => log::error!("{name} panicked: {info}"),
        }
        usual(info);
        at_hand::tell_and_abort(|at_hand| log::error!("{name} had at hand: {at_hand:#?}"));
    }));
}

/// The name of this thread; that of an lcore, which the EAL starts, is known to the kernel only.
fn thread_name() -> String {
    let name = thread::current().name().map(str::to_owned);
    let asked = || std::fs::read_to_string("/proc/thread-self/comm").ok();
    name.or_else(asked).map_or_else(|| "an lcore".to_owned(), |name| name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;
    use crate::node::{Context, Edge, Joined, Leads, Node, Stage};
    use crate::nodes::{arp::ArpInput, ether::EtherInput, ip4::Ip4Input, l2::L2Dispatch, transmit::Transmit};
    use crate::packet::Packet;
    use crate::testing::*;

    const SIGABRT: i32 = 6;
    /// Which test the child process is to panic in.
    const CASE: &str = "PUNTD_TEST_PANIC";

    /// A node that panics over one packet.
    struct Poisoned<N>(N);

    impl<N: Node> Node for Poisoned<N> {
        const NAME: &'static str = N::NAME;
        const REASONS: &'static [&'static punt::reason::Reason] = N::REASONS;
        type Next = N::Next;

        fn packet(&mut self, context: &Context, packet: &mut Packet) -> N::Next {
            assert!(!packet.bytes().ends_with(b"poison"), "on purpose");
            self.0.packet(context, packet)
        }
    }

    impl Leads<Poisoned<Ip4Input>> for EtherInput {}

    /// A node that sees to a whole frame at once, and panics.
    struct AtOnce;

    impl Stage for AtOnce {
        fn name(&self) -> &'static str {
            Stage::name(&L2Dispatch)
        }

        fn edges(&self) -> &'static [Edge] {
            Stage::edges(&L2Dispatch)
        }

        fn reasons(&self) -> &'static [&'static punt::reason::Reason] {
            Stage::reasons(&L2Dispatch)
        }

        fn run(&mut self, _: &Context, _: &mut Vec<Packet>, _: &mut [u8], _: usize) {
            panic!("on purpose");
        }
    }

    /// Both nodes and a frame that goes through: only one packet is to blame, where a node looks at one after the other.
    fn frames(ethertype: &str) -> [Vec<u8>; 2] {
        let [good, mut bad] = [0, 1].map(|at| {
            let mut l3 = udp4(FAR4, 7);
            l3[4] = at;
            [LAN_MAC.to_vec(), HOST_MAC.to_vec(), hex(ethertype), sealed(l3)].concat()
        });
        bad.extend(b"poison");
        [good, bad]
    }

    fn pass(name: &str, node: Box<dyn Stage>, frames: [Vec<u8>; 2]) {
        let mut stages = crate::nodes::all(Transmit::new(Vec::new(), Whole::BURST));
        let at = stages.iter().position(|stage| stage.name() == name);
        stages[at.expect("a node of the graph")] = node;
        Whole::of(stages).pass(frames.each_ref().map(|frame| dpdk_sys::Packet::from_bytes(frame)));
    }

    /// What a process says that panics on a worker's thread.
    fn last_words(case: &str) -> String {
        let test = "panic::tests::a_panic_names_the_thread_the_node_and_the_packet";
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args([test, "--exact", "--nocapture"])
            .env(CASE, case)
            .env("RUST_BACKTRACE", "0")
            .output()
            .expect("starts");
        let words = String::from_utf8_lossy(&child.stderr).into_owned();
        assert_eq!(child.status.signal(), Some(SIGABRT), "{words}");
        words
    }

    #[test]
    fn a_panic_names_the_thread_the_node_and_the_packet() {
        if let Ok(case) = std::env::var(CASE) {
            env_logger::builder().filter_level(log::LevelFilter::Error).init();
            name_the_node();
            let work = move || match case.as_str() {
                "alone" => pass("arp-input", Box::new(Poisoned(ArpInput)), frames("0806")),
                "joined" => {
                    pass("ether-input", Box::new(Joined(EtherInput, Poisoned(Ip4Input))), frames("0800"))
                }
                _ => pass("l2-dispatch", Box::new(AtOnce), frames("88cc")),
            };
            let _ = thread::Builder::new().name("worker 1".into()).spawn(work).expect("starts").join();
            return;
        }
        let shown = |frame: &[u8], l3| {
            let bytes: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{} bytes, in on interface {LAN}{l3}: {bytes}", frame.len())
        };
        for (case, node, ethertype) in [("alone", "arp-input", "0806"), ("joined", "ip4-input", "0800")] {
            let [good, bad] = frames(ethertype);
            let words = last_words(case);
            assert!(words.contains(&format!("worker 1 panicked in {node}: ")), "{words}");
            assert!(words.contains("on purpose"), "{words}");
            let named = format!("worker 1 had at hand: {}\n", shown(&bad, ", L3 at 14"));
            assert!(words.contains(&named), "no {named} in {words}");
            assert!(!words.contains(&shown(&good, ", L3 at 14")), "{words}");
        }
        let words = last_words("at once");
        assert!(words.contains("worker 1 panicked in l2-dispatch: "), "{words}");
        assert!(words.contains("worker 1 had at hand: [\n"), "{words}");
        for frame in frames("88cc") {
            let named = format!("    {},\n", shown(&frame, ", L3 at 14"));
            assert!(words.contains(&named), "no {named} in {words}");
        }
    }
}

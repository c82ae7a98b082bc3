//! What a thread has at hand, to be shown if it panics over that.
//!
//! A store or two say so; nothing is copied and nothing looked at before there is a panic.

use std::{cell::Cell, fmt, process};

#[derive(Clone, Copy)]
struct AtHand {
    value: *const (),
    /// Shows what `value` points to.
    show: fn(*const (), &mut fmt::Formatter) -> fmt::Result,
}

thread_local! {
    static AT_HAND: Cell<Option<AtHand>> = const { Cell::new(None) };
}

/// Does `work` on `value`, which this thread has at hand meanwhile, in place of what it had before.
#[inline(always)]
pub fn hold<T: fmt::Debug, R>(value: &mut T, work: impl FnOnce(&mut T) -> R) -> R {
    let before = Before(AT_HAND.get());
    let value: *mut T = value;
    AT_HAND.set(Some(AtHand { value: value.cast(), show: show::<T> }));
    // SAFETY: made of an exclusive borrow that outlives this call.
    let result = work(unsafe { &mut *value });
    drop(before);
    result
}

/// Does `work` on one of `values` after the other, each of them at hand in its turn.
#[inline(always)]
pub fn hold_each<'a, T: fmt::Debug + 'a>(
    values: impl IntoIterator<Item = &'a mut T>,
    mut work: impl FnMut(&mut T),
) {
    let before = Before(AT_HAND.get());
    for value in values {
        let value: *mut T = value;
        AT_HAND.set(Some(AtHand { value: value.cast(), show: show::<T> }));
        // SAFETY: made of an exclusive borrow that outlives this turn; the next one is of another value.
        work(unsafe { &mut *value });
    }
    drop(before);
}

/// For a panic hook: if this thread has something at hand, `tell` is called with what shows it, and the process aborts. Else nothing happens.
pub fn tell_and_abort(tell: impl FnOnce(&dyn fmt::Debug)) {
    if let Some(at_hand) = AT_HAND.take() {
        tell(&at_hand);
        process::abort();
    }
}

impl fmt::Debug for AtHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.show)(self.value, f)
    }
}

fn show<T: fmt::Debug>(value: *const (), f: &mut fmt::Formatter) -> fmt::Result {
    // SAFETY: a value is at hand only while `hold` borrows it, on this thread. Whoever works on it has called us, through the panic, and is
    // never returned to: `tell_and_abort` is the only one who shows things, and ends the process.
    unsafe { &*value.cast::<T>() }.fmt(f)
}

/// What was at hand before, and will be again.
struct Before(Option<AtHand>);

impl Drop for Before {
    #[inline(always)]
    fn drop(&mut self) {
        AT_HAND.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where that is; to look at it would end in `tell_and_abort` only.
    fn at_hand() -> *const () {
        AT_HAND.get().map_or(std::ptr::null(), |at_hand| at_hand.value)
    }

    fn place<T>(value: &T) -> *const () {
        std::ptr::from_ref(value).cast()
    }

    #[test]
    fn what_is_worked_on_is_at_hand_and_nothing_else() {
        assert!(at_hand().is_null());
        let mut frame = vec![1, 2, 3];
        let sum: i32 = hold(&mut frame, |frame| {
            assert_eq!(at_hand(), place(frame));
            let mut seen = 0;
            hold_each(frame.iter_mut(), |value| seen += usize::from(at_hand() == place(value)));
            assert_eq!(seen, 3);
            hold(&mut "other", |other| assert_eq!(at_hand(), place(other)));
            assert_eq!(at_hand(), place(frame));
            frame.iter().sum()
        });
        assert_eq!((sum, at_hand().is_null()), (6, true));
        tell_and_abort(|_| unreachable!("nothing is at hand"));
    }

    #[test]
    fn what_unwound_is_at_hand_no_more() {
        let panicked = std::panic::catch_unwind(|| hold(&mut 1, |_| panic!("on purpose")));
        assert!(panicked.is_err() && at_hand().is_null());
    }
}

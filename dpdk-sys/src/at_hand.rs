//! What a thread has at hand, to be shown if it panics over that.
//!
//! A store or two say so; nothing is copied and nothing looked at before there is a panic.

use std::cell::Cell;
use std::marker::PhantomData;
use std::{fmt, process, ptr};

/// Shows what is at this address.
type Show = fn(*const (), &mut fmt::Formatter) -> fmt::Result;

thread_local! {
    static VALUE: Cell<*const ()> = const { Cell::new(ptr::null()) };
    static SHOW: Cell<Option<Show>> = const { Cell::new(None) };
}

/// Values of one kind that a thread has at hand, one after the other; after that it has again what it had before. Only [`hands`] makes one,
/// and lends it: whoever owned it could forget it, and what it holds would stay at hand when it is gone.
pub struct Hand<'a, T> {
    before: (*const (), Option<Show>),
    of: PhantomData<&'a mut T>,
}

impl<'a, T: fmt::Debug> Hand<'a, T> {
    /// With nothing of that kind at hand yet.
    #[inline(always)]
    fn new() -> Hand<'a, T> {
        let before = (VALUE.replace(ptr::null()), SHOW.replace(Some(show::<T>)));
        Hand { before, of: PhantomData }
    }

    /// Does `work` on `value`, which is at hand from now on.
    #[inline(always)]
    pub fn hold<R>(&self, value: &'a mut T, work: impl FnOnce(&mut T) -> R) -> R {
        let value: *mut T = value;
        VALUE.set(value.cast());
        // SAFETY: made of an exclusive borrow that outlives this hand, and so this call.
        work(unsafe { &mut *value })
    }
}

impl<T> Drop for Hand<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        VALUE.set(self.before.0);
        SHOW.set(self.before.1);
    }
}

/// Does `work` with a hand, in which nothing is yet.
#[inline(always)]
pub fn hands<'a, T: fmt::Debug + 'a, R>(work: impl FnOnce(&Hand<'a, T>) -> R) -> R {
    let hand = Hand::new();
    work(&hand)
}

/// Does `work` on `value`, which this thread has at hand meanwhile, in place of what it had before.
#[inline(always)]
pub fn hold<T: fmt::Debug, R>(value: &mut T, work: impl FnOnce(&mut T) -> R) -> R {
    hands(|hand| hand.hold(value, work))
}

/// For a panic hook: if this thread has something at hand, `tell` is called with what shows it, and the process aborts. Else nothing happens.
pub fn tell_and_abort(tell: impl FnOnce(&dyn fmt::Debug)) {
    let value = VALUE.replace(ptr::null());
    if let Some(show) = SHOW.take()
        && !value.is_null()
    {
        tell(&AtHand { value, show });
        process::abort();
    }
}

struct AtHand {
    value: *const (),
    show: Show,
}

impl fmt::Debug for AtHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.show)(self.value, f)
    }
}

fn show<T: fmt::Debug>(value: *const (), f: &mut fmt::Formatter) -> fmt::Result {
    // SAFETY: a value is at hand only while a `Hand` borrows it, on this thread. Whoever
    // works on it has called us, through the panic, and is never returned to: `tell_and_abort` is the only one who shows things, and ends
    // the process.
    unsafe { &*value.cast::<T>() }.fmt(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where that is; to look at it would end in `tell_and_abort` only.
    fn at_hand() -> *const () {
        VALUE.get()
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
            hands(|hand| {
                for value in frame.iter_mut() {
                    hand.hold(value, |value| seen += usize::from(at_hand() == place(value)));
                }
            });
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

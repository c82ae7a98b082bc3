//! The classes' budget: one for all, of which each class has a guaranteed part.
//!
//! A class may always use its minimum. Above that it may use what the others leave, but never the last part of the
//! budget, which is kept for the minima of the classes above it; so what is left over goes to the most important
//! class first. No class exceeds its cap.
//!
//! A class is an RFC 2698 meter: green within its minimum, yellow up to its cap, red above. The budget is one more
//! bucket, which every packet is charged to: green ones always, yellow ones only while it holds more than the
//! minima of the higher classes may want at once.

use super::bucket::Bucket;
use super::class_share::{ClassShare, Room};
use super::config::{Colour, Config, Kind};
use super::meter::Meter;
use super::rate::{Limit, Rate, Unit};
use super::sync::{AtomicU64, Mutex, Ordering};
use crate::class::Class;

/// Packets per second for all classes together, by default.
pub const TOTAL: u64 = 60_000;

/// What comes at once is a tenth of a second's worth, but never less than 16 packets.
const fn burst(rate: u64) -> u64 {
    match rate {
        0 => 0,
        1..=160 => 16,
        _ => rate / 10,
    }
}

/// The budget and what each class has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Packets per second for all classes together.
    pub total: Rate,
    /// The guaranteed minimum and the cap in packets per second, by class as in [`Class::ALL`].
    pub classes: [(u64, Rate); 8],
}

impl Default for Shape {
    /// What the engine ships with.
    fn default() -> Shape {
        Shape {
            total: Rate::PerSecond(TOTAL),
            classes: Class::ALL
                .map(|class| (u64::from(class.minimum()), Rate::PerSecond(u64::from(class.cap())))),
        }
    }
}

/// Figures that cannot all hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// A minimum that the class's cap does not allow.
    #[error(
        "the minimum of class {class} is {minimum}, above its cap of {cap}; raise the cap or lower the minimum"
    )]
    Cap {
        /// Whose.
        class: Class,
        /// Packets per second.
        minimum: u64,
        /// Packets per second.
        cap: Rate,
    },
    /// More promised than there is.
    #[error(
        "the minima of all classes add up to {minima}, more than the budget of {total}; lower one or raise the budget"
    )]
    Total {
        /// Packets per second.
        minima: u64,
        /// Packets per second.
        total: Rate,
    },
}

impl Shape {
    /// Whether all of it can hold.
    ///
    /// # Errors
    /// The first thing that cannot.
    pub fn check(&self) -> Result<(), BudgetError> {
        for (class, (minimum, cap)) in Class::ALL.into_iter().zip(self.classes) {
            if over(minimum, cap) {
                return Err(BudgetError::Cap { class, minimum, cap });
            }
        }
        let minima = self.classes.iter().fold(0_u64, |sum, (minimum, _)| sum.saturating_add(*minimum));
        if over(minima, self.total) {
            return Err(BudgetError::Total { minima, total: self.total });
        }
        Ok(())
    }

    /// What a class lets come at once at most; `None` if its cap is unlimited.
    pub(crate) fn most_at_once(&self, class: Class) -> Option<u64> {
        match self.classes[class as usize].1 {
            Rate::PerSecond(cap) => Some(burst(cap)),
            Rate::Unlimited => None,
        }
    }

    /// What the budget has to keep for the classes above this one.
    fn kept_above(&self, class: Class) -> u64 {
        if self.total.is_unlimited() && self.classes[class as usize].1.is_unlimited() {
            return NO_LIMIT;
        }
        let above = &self.classes[class as usize + 1..];
        above.iter().map(|(minimum, _)| burst(*minimum)).sum()
    }

    /// What may come at once of a class's minimum, or of its cap if it has none.
    fn depth(&self, class: Class) -> u64 {
        match self.classes[class as usize] {
            (0, Rate::PerSecond(cap)) => burst(cap),
            (0, Rate::Unlimited) => self.limit().burst,
            (minimum, _) => burst(minimum),
        }
    }

    /// How long a packet of a class's minimum takes to earn, in 2^-16 ticks.
    fn step(&self, class: Class, hz: u64) -> u64 {
        let (minimum, _) = self.classes[class as usize];
        (u128::from(hz) << 16).checked_div(minimum.into()).map_or(0, |step| step.min(u64::MAX.into()) as u64)
    }

    fn limit(&self) -> Limit {
        let Rate::PerSecond(total) = self.total else { return Limit::UNLIMITED };
        let all: u64 = self.classes.iter().map(|(minimum, _)| burst(*minimum)).sum();
        Limit::new(total, burst(total).max(all + 64))
    }

    fn meter(&self, class: Class) -> Config {
        let (minimum, cap) = self.classes[class as usize];
        Config {
            kind: Kind::Rfc2698,
            peak: Some(cap),
            excess: Some(match cap {
                Rate::PerSecond(cap) => burst(cap),
                Rate::Unlimited => 0,
            }),
            ..Config::packets(Rate::PerSecond(minimum), burst(minimum))
        }
    }
}

/// Instead of packets that are kept for others, where neither cap nor budget limits a class.
const NO_LIMIT: u64 = u64::MAX;

fn over(value: u64, limit: Rate) -> bool {
    matches!(limit, Rate::PerSecond(limit) if value > limit)
}

/// The budget of one engine, shared by all workers.
pub struct Budget {
    total: Bucket,
    classes: [Part; 8],
    /// Held while figures change, never by a worker.
    shape: Mutex<Shape>,
    hz: u64,
}

/// What one class has of it.
struct Part {
    meter: Meter,
    /// Packets that the budget has to hold before this class may go above its minimum; [`NO_LIMIT`] if nothing limits it.
    kept: AtomicU64,
    /// What may come at once of its minimum, or of its cap if it has none.
    depth: AtomicU64,
    /// How long a packet of its minimum takes to earn, in 2^-16 ticks; 0 if it has none.
    step: AtomicU64,
    /// Who had it.
    share: ClassShare,
}

impl Budget {
    /// The budget that the engine ships with, nothing of it used. `hz` ticks per second, `now` in ticks.
    pub fn new(hz: u64, now: u64) -> Budget {
        let shape = Shape::default();
        Budget {
            total: Bucket::new(shape.limit(), Unit::Packets, hz, now),
            classes: Class::ALL.map(|class| Part {
                meter: Meter::new(&shape.meter(class), hz, now),
                kept: AtomicU64::new(shape.kept_above(class)),
                depth: AtomicU64::new(shape.depth(class)),
                step: AtomicU64::new(shape.step(class, hz)),
                share: ClassShare::new(),
            }),
            shape: Mutex::new(shape),
            hz,
        }
    }

    /// Whether nothing limits that class, so that it need not be asked for.
    #[inline]
    pub fn is_unlimited(&self, class: Class) -> bool {
        self.classes[class as usize].kept.load(Ordering::Relaxed) == NO_LIMIT
    }

    /// Whether a packet of that class may pass; its part of the budget is taken.
    #[inline]
    pub fn take(&self, class: Class, now: u64) -> bool {
        let part = &self.classes[class as usize];
        let kept = part.kept.load(Ordering::Relaxed);
        if kept == NO_LIMIT {
            return true; // What its minimum holds matters to nobody.
        }
        let admit = |colour| colour == Colour::Green || self.total.tokens(now) > kept;
        if part.meter.take_if(now, 1, Colour::Green, admit) == Colour::Red {
            return false;
        }
        // Two workers may both have seen the last spare packet: the second is charged all the same, so the budget
        // holds, and what is kept for the minima is short of one for a moment.
        self.total.charge(now);
        true
    }

    /// Who had of what a class may let pass.
    #[inline]
    pub(crate) fn share(&self, class: Class) -> &ClassShare {
        &self.classes[class as usize].share
    }

    /// What a class could let pass now; `None` if nothing limits it.
    #[inline]
    pub(crate) fn room(&self, class: Class, now: u64) -> Option<Room> {
        let part = &self.classes[class as usize];
        let kept = part.kept.load(Ordering::Relaxed);
        if kept == NO_LIMIT {
            return None;
        }
        let (green, yellow) = part.meter.tokens(now);
        let tokens = yellow.min(green.max(self.total.tokens(now).saturating_sub(kept)));
        let (depth, step) = (part.depth.load(Ordering::Relaxed), part.step.load(Ordering::Relaxed));
        Some(Room { tokens, sure: green.min(tokens), depth, step })
    }

    /// The figures that are in force.
    pub fn shape(&self) -> Shape {
        *self.shape.lock()
    }

    /// Another minimum and cap for one class, in packets per second; nobody loses what was earned.
    ///
    /// # Errors
    /// When the figures cannot hold together; nothing changes then.
    pub fn set(&self, class: Class, minimum: u64, cap: Rate, now: u64) -> Result<(), BudgetError> {
        self.change(now, |shape| shape.classes[class as usize] = (minimum, cap))
    }

    /// Another budget, in packets per second; nobody loses what was earned.
    ///
    /// # Errors
    /// When it is less than the minima; nothing changes then.
    pub fn set_total(&self, total: Rate, now: u64) -> Result<(), BudgetError> {
        self.change(now, |shape| shape.total = total)
    }

    /// All figures at once, so that their order does not matter.
    ///
    /// # Errors
    /// When they cannot hold together; nothing changes then.
    pub fn set_all(&self, shape: Shape, now: u64) -> Result<(), BudgetError> {
        self.change(now, |old| *old = shape)
    }

    fn change(&self, now: u64, edit: impl FnOnce(&mut Shape)) -> Result<(), BudgetError> {
        let mut held = self.shape.lock();
        let mut shape = *held;
        edit(&mut shape);
        shape.check()?;
        for class in Class::ALL {
            let part = &self.classes[class as usize];
            if shape.classes[class as usize] != held.classes[class as usize] {
                part.meter.set(&shape.meter(class), now, false);
            }
            part.kept.store(shape.kept_above(class), Ordering::Relaxed);
            part.depth.store(shape.depth(class), Ordering::Relaxed);
            part.step.store(shape.step(class, self.hz), Ordering::Relaxed);
        }
        if shape.limit() != held.limit() {
            self.total.set(shape.limit(), now, false);
        }
        *held = shape;
        Ok(())
    }

    /// Drags idle buckets forward; the control thread calls it daily.
    pub fn refresh(&self, now: u64) {
        self.total.refresh(now);
        for part in &self.classes {
            part.meter.refresh(now);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const HZ: u64 = 2_600_000_000;
    const STEP: u64 = HZ / 100_000;

    /// Packets per second that pass, by class, when each class offers so many, after a second to settle.
    fn run(budget: &Budget, offered: [u64; 8], seconds: u64) -> [u64; 8] {
        let mut passed = [0; 8];
        for step in 0..(seconds + 1) * 100_000 {
            for class in Class::ALL {
                let index = class as usize;
                let due = offered[index] * (step + 1) / 100_000 - offered[index] * step / 100_000;
                for _ in 0..due {
                    let passes = budget.take(class, step * STEP);
                    passed[index] += u64::from(passes && step >= 100_000);
                }
            }
        }
        passed.map(|packets| packets / seconds)
    }

    fn within(value: u64, of: u64, percent: u64) -> bool {
        value.abs_diff(of) * 100 <= of * percent
    }

    #[test]
    fn every_class_at_ten_times_its_cap_gets_its_minimum() {
        let budget = Budget::new(HZ, 0);
        let passed = run(&budget, Class::ALL.map(|class| u64::from(class.cap()) * 10), 4);
        for class in Class::ALL {
            let (minimum, cap) = (u64::from(class.minimum()), u64::from(class.cap()));
            let got = passed[class as usize];
            assert!(got * 100 >= minimum * 98, "{class}: {got} of {minimum}");
            assert!(got <= cap, "{class}: {got} above {cap}");
        }
        assert!(within(passed.iter().sum(), TOTAL, 1), "{passed:?}");
        // What the minima leave goes to the most important first.
        let expected = [0, 500, 1_000, 2_000, 3_000, 4_000, 19_500, 30_000];
        for (got, want) in passed.into_iter().zip(expected) {
            assert!(within(got, want, 2), "{passed:?}");
        }
    }

    #[test]
    fn a_lone_class_reaches_its_cap() {
        for class in Class::ALL {
            let budget = Budget::new(HZ, 0);
            let mut offered = [0; 8];
            offered[class as usize] = u64::from(class.cap()) * 10;
            let got = run(&budget, offered, 2)[class as usize];
            assert!(within(got, u64::from(class.cap()), 1), "{class}: {got}");
        }
    }

    #[test]
    fn a_class_at_its_own_rate_loses_nothing_under_a_flood_of_all_lower_ones() {
        let budget = Budget::new(HZ, 0);
        let mut offered = Class::ALL.map(|class| u64::from(class.cap()) * 10);
        offered[Class::Link as usize] = 19_000;
        offered[Class::Route as usize] = 10_000;
        let got = run(&budget, offered, 3);
        assert_eq!((got[Class::Link as usize], got[Class::Route as usize]), (19_000, 10_000));
        assert!(within(got.iter().sum(), TOTAL, 1), "{got:?}");
    }

    #[test]
    fn what_wakes_up_finds_its_minimum_there() {
        let budget = Budget::new(HZ, 0);
        let mut offered = [500_000; 8];
        offered[Class::Link as usize] = 0;
        run(&budget, offered, 2);
        let now = 3 * HZ;
        assert!((0..2_000).all(|_| budget.take(Class::Link, now)), "a tenth of a second of 20,000 at once");
    }

    #[test]
    fn figures_change_while_packets_flow() {
        let budget = Budget::new(HZ, 0);
        budget.set(Class::Sample, 1_000, Rate::PerSecond(2_000), 0).unwrap();
        budget.set_total(Rate::PerSecond(50_000), 0).unwrap();
        let got = run(&budget, [400_000; 8], 2);
        assert!(within(got[0], 1_000, 2), "{got:?}");
        assert!(within(got.iter().sum(), 50_000, 1), "{got:?}");

        let error = budget.set(Class::Sample, 3_000, Rate::PerSecond(2_000), 0).unwrap_err().to_string();
        let said =
            "the minimum of class sample is 3000, above its cap of 2000; raise the cap or lower the minimum";
        assert_eq!(error, said);
        let error = budget.set_total(Rate::PerSecond(40_000), 0).unwrap_err().to_string();
        assert!(
            error.starts_with("the minima of all classes add up to 46500, more than the budget of 40000;")
        );
        assert_eq!(budget.shape().total, Rate::PerSecond(50_000));
    }

    #[test]
    fn all_limits_can_be_lifted() {
        let budget = Budget::new(HZ, 0);
        let lifted = Shape { total: Rate::Unlimited, classes: [(0, Rate::Unlimited); 8] };
        budget.set_all(lifted, 0).unwrap();
        assert!((0..100_000).all(|_| budget.take(Class::Sample, 0)));
    }
}

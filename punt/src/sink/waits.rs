//! How long records are on their way, from receive to delivery, by class.

use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::books::Run;
use crate::class::Class;

/// What is longer counts as this: a minute.
const LONGEST: u64 = 60_000_000_000;

/// A histogram for each class. The sink's thread writes, once a batch; whoever asks reads.
pub struct Waits(Mutex<Vec<Histogram<u64>>>);

impl Default for Waits {
    fn default() -> Waits {
        let histogram = || Histogram::new_with_max(LONGEST, 2).expect("the bounds are constants that fit");
        Waits(Mutex::new(Class::ALL.into_iter().map(|_| histogram()).collect()))
    }
}

/// How long records of one class were on their way, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The class.
    pub class: Class,
    /// Records that were delivered.
    pub records: u64,
    /// Half of them took no longer.
    pub p50: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// The longest, to two digits.
    pub max: u64,
}

impl Waits {
    /// For the sink's thread: records that are delivered now, from lanes of these classes.
    pub(super) fn delivered(&self, runs: &[Run], class: impl Fn(usize) -> Class) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let mut classes = self.0.lock();
        for run in runs {
            if let Some(histogram) = classes.get_mut(class(run.lane) as usize) {
                histogram.saturating_record_n(now.saturating_sub(run.tally.received), run.tally.records);
            }
        }
    }

    /// Of each class that has delivered anything, the most important first.
    pub fn all(&self) -> Vec<Wait> {
        let classes = self.0.lock();
        let of_class = Class::ALL.into_iter().zip(classes.iter()).rev();
        let used = of_class.filter(|(_, histogram)| !histogram.is_empty());
        used.map(|(class, histogram)| Wait {
            class,
            records: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Tally;

    #[test]
    fn waits_are_kept_by_class() {
        let waits = Waits::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let run = |lane, received| Run { lane, tally: Tally { received, records: 1, ..Tally::default() } };
        let runs = [run(0, now - 1_000_000), run(1, now - 5_000_000_000)];
        waits.delivered(&runs, |lane| [Class::Link, Class::Miss][lane]);
        let all = waits.all();
        assert_eq!(
            all.iter().map(|wait| (wait.class, wait.records)).collect::<Vec<_>>(),
            [(Class::Link, 1), (Class::Miss, 1)]
        );
        assert!((1_000_000..1_000_000_000).contains(&all[0].p99), "{all:?}");
        assert!((4_900_000_000..6_000_000_000).contains(&all[1].max), "{all:?}");
    }
}

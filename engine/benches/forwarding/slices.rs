//! Measuring on a machine that others use too: short slices of each contender, interleaved, in alternating order, compared with their
//! neighbours in time and never with another minute.

use dpdk_sys::tsc;

use crate::contender::Contender;

/// TSC cycles per packet, of each contender in each round.
pub struct Rounds(Vec<Vec<f64>>);

/// Runs every contender for a slice of about `cycles`, so many times.
pub fn interleaved(contenders: &mut [Box<dyn Contender>], rounds: usize, cycles: u64) -> Rounds {
    let turns: Vec<_> = contenders.iter_mut().map(|contender| turns_in(&mut **contender, cycles)).collect();
    let mut all = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        let mut slice = |at: usize| all[at].push(measure(&mut *contenders[at], turns[at]));
        match round % 2 {
            0 => (0..turns.len()).for_each(&mut slice),
            _ => (0..turns.len()).rev().for_each(&mut slice),
        }
    }
    Rounds(all)
}

/// How many turns fill a slice, by the third attempt: the first two warm up.
fn turns_in(contender: &mut dyn Contender, cycles: u64) -> usize {
    let attempt = || {
        let (start, mut turns) = (tsc(), 0);
        while tsc() - start < cycles {
            contender.turn();
            turns += 1;
        }
        turns
    };
    std::iter::repeat_with(attempt).take(3).last().unwrap_or(1)
}

fn measure(contender: &mut dyn Contender, turns: usize) -> f64 {
    // What the others left in the caches is not to be blamed on this one.
    (0..turns / 16).for_each(|_| _ = contender.turn());
    let start = tsc();
    let packets: usize = (0..turns).map(|_| contender.turn()).sum();
    (tsc() - start) as f64 / packets.max(1) as f64
}

impl Rounds {
    /// Of one contender.
    pub fn of(&self, contender: usize) -> Spread {
        Spread::of(self.0[contender].clone())
    }

    /// Of one contender, less those of another in the same round.
    pub fn net(&self, contender: usize, floor: usize) -> Spread {
        Spread::of(self.pairs(contender, floor).map(|(a, b)| a - b).collect())
    }

    /// Of one contender by those of another in the same round.
    pub fn ratio(&self, contender: usize, reference: usize) -> Spread {
        Spread::of(self.pairs(contender, reference).map(|(a, b)| a / b).collect())
    }

    /// Of one contender by those of another, less those of the floor, all in the same round.
    pub fn net_ratio(&self, contender: usize, reference: usize, floor: usize) -> Spread {
        let nets = self.pairs(contender, floor).zip(self.pairs(reference, floor));
        Spread::of(nets.map(|((a, floor), (b, _))| (a - floor) / (b - floor)).collect())
    }

    fn pairs(&self, a: usize, b: usize) -> impl Iterator<Item = (f64, f64)> {
        self.0[a].iter().copied().zip(self.0[b].iter().copied())
    }
}

/// Some values in order.
pub struct Spread(Vec<f64>);

impl Spread {
    /// Sorts them.
    pub fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        Spread(values)
    }

    /// The value that so many out of a hundred do not exceed.
    pub fn percentile(&self, percent: usize) -> f64 {
        self.0.get((self.0.len().saturating_sub(1) * percent + 50) / 100).copied().unwrap_or(f64::NAN)
    }

    /// Half of them are below it.
    pub fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// As an object.
    pub fn json(&self) -> serde_json::Value {
        let [min, p10, p25, median, p75, p90] =
            [0, 10, 25, 50, 75, 90].map(|percent| self.percentile(percent));
        serde_json::json!({ "min": min, "p10": p10, "p25": p25, "median": median, "p75": p75, "p90": p90 })
    }
}

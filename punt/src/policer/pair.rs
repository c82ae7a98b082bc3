//! Where interfaces are written down: one place for each interface in each reason.

use super::activity::Activity;
use super::gate::INTERFACE_CREDIT;
use super::sync::{AtomicU64, Ordering};

/// What an interface that is not in the table has: all, for nobody can make interfaces as they can make sources. With less, one that begins
/// while another is flooded would find fewer tokens than are kept from it, and never get in.
pub(super) const NEW_INTERFACE: u64 = INTERFACE_CREDIT;
/// Pairs of a reason and an interface: 64 bytes each.
const PAIRS: usize = 2_048;
/// How far a pair may be from where its hash points.
const PROBES: usize = 4;

/// One interface in one reason.
#[repr(align(64))]
pub(super) struct Pair {
    /// Reason and interface; 0 = free.
    pub key: AtomicU64,
    /// Where it stands on the reason's clock.
    pub stands: AtomicU64,
    /// Where its busiest source stands.
    pub clock: AtomicU64,
    /// When it was empty, in ticks, where the reason has an `--interface-rate`.
    pub empty: AtomicU64,
    pub activity: Activity,
    /// When it wanted something, whether it got it or not, in epochs from 1.
    pub wanted: AtomicU64,
    /// Up to when its part is used, of the reason and of the class, in ticks.
    pub used: AtomicU64,
    pub used_of_class: AtomicU64,
}

/// All pairs of a reason and an interface.
pub(super) struct Pairs(Box<[Pair]>);

impl std::ops::Index<usize> for Pairs {
    type Output = Pair;

    #[inline]
    fn index(&self, slot: usize) -> &Pair {
        &self.0[slot]
    }
}

impl Pairs {
    pub fn new() -> Pairs {
        let pair = || Pair {
            key: AtomicU64::new(0),
            stands: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            empty: AtomicU64::new(0),
            activity: Activity::new(),
            wanted: AtomicU64::new(0),
            used: AtomicU64::new(0),
            used_of_class: AtomicU64::new(0),
        };
        Pairs((0..PAIRS).map(|_| pair()).collect())
    }

    /// Nobody can make up interfaces and reasons, so their places need no secret, and outlive it.
    fn near(key: u64) -> impl Iterator<Item = usize> {
        let hash = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        (0..PROBES).map(move |probe| hash.wrapping_add(probe) % PAIRS)
    }

    #[inline]
    pub fn find(&self, key: u64) -> Option<usize> {
        Pairs::near(key).find(|&slot| self.0[slot].key.load(Ordering::Relaxed) == key)
    }

    /// A slot for a pair that has none: a free one, or that of the pair that was quiet for longest, if any was. `clock` is the reason's.
    #[cold]
    pub fn place(&self, clock: &AtomicU64, key: u64, epoch: u32) -> Option<usize> {
        let (slot, wanted) =
            Pairs::near(key).map(|slot| (slot, self.wanted(slot))).min_by_key(|it| it.1).unwrap_or_default();
        (wanted <= u64::from(epoch).saturating_sub(1)).then(|| {
            self.0[slot].begin(clock, key, 0);
            slot
        })
    }

    /// The same, even if none was quiet; then rather that of a pair without a ceiling, for with its place a pair forgets where it stands with
    /// that. It is not counted as one more.
    #[cold]
    pub fn replace(&self, clock: &AtomicU64, key: u64, epoch: u32) -> &Pair {
        let has_ceiling = |slot: usize| self.0[slot].empty.load(Ordering::Relaxed) != 0;
        let slot = Pairs::near(key).min_by_key(|slot| (has_ceiling(*slot), self.wanted(*slot)));
        let pair = &self.0[slot.unwrap_or_default()];
        pair.begin(clock, key, u64::from(epoch) + 1);
        pair
    }

    /// When something was wanted in a place, in epochs from 1; 0 where nobody is.
    fn wanted(&self, slot: usize) -> u64 {
        match self.0[slot].key.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.0[slot].wanted.load(Ordering::Relaxed).max(1),
        }
    }
}

impl Pair {
    /// Another pair is here from now on, with all the credit there is.
    fn begin(&self, clock: &AtomicU64, key: u64, wanted: u64) {
        self.key.store(key, Ordering::Relaxed);
        self.clock.store(1 << 32, Ordering::Relaxed);
        for it in [&self.empty, &self.used, &self.used_of_class] {
            it.store(0, Ordering::Relaxed);
        }
        self.stands.store(clock.load(Ordering::Relaxed).wrapping_sub(NEW_INTERFACE), Ordering::Relaxed);
        self.activity.clear();
        self.wanted.store(wanted, Ordering::Relaxed);
    }
}

//! Who sends most into a reason, and who is refused: always on, bounded, its error stated.
//!
//! Each worker has a table of its own that only it writes. A set of the table holds four sources and counts by
//! space-saving: a source that is not there takes the place of the one with the fewest packets and inherits its
//! count. So what is shown is never too little, and too much by no more than what was inherited.
//!
//! To cost next to nothing under a flood, a worker counts every packet up to [`EVERY`] in a window of 2^-7 seconds
//! or a little more, and after that one in [`STRIDE`] at random, for as many. What that may add is part of the error.

use std::collections::HashMap;
use std::fmt;

use super::source::Source;
use super::sync::{AtomicU64, Ordering};

/// Packets in a window that are all counted: about 100,000 per second and worker.
pub const EVERY: u64 = 1_024;
/// After that one packet in so many, on average.
pub const STRIDE: u64 = 16;

const WAYS: usize = 4;
const SETS: usize = 256;

/// One source. Written by one worker, read by whoever asks.
#[repr(align(64))]
struct Entry {
    /// Reason and interface; 0 = free, or being replaced.
    key: AtomicU64,
    source: AtomicU64,
    packets: AtomicU64,
    refused: AtomicU64,
    /// Of the packets, those inherited.
    inherited: AtomicU64,
    /// How often it was counted for [`STRIDE`] packets.
    samples: AtomicU64,
    /// Bits 0–31 the epoch, 32–63 packets, halved with every epoch.
    recent: AtomicU64,
}

/// What one worker counts.
pub struct Talkers {
    sets: Box<[[Entry; WAYS]]>,
    secret: u64,
    start: u64,
    hz: u64,
    /// An epoch is 2^this ticks: between a half and one second.
    epoch: u32,
    /// Which window it is (bits 32–63), and how many packets it had.
    window: AtomicU64,
    /// Packets to let go before the next one that is counted.
    skip: AtomicU64,
    random: AtomicU64,
}

/// A source, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Talker {
    /// The id of the reason.
    pub reason: u32,
    /// The index of the interface it came from.
    pub interface: u32,
    /// Who.
    pub source: Source,
    /// Packets since it was first noticed, refused ones included; too many by `error` at the most.
    pub packets: u64,
    /// Of these, what was refused by the source share, the reason or the class; what was not noticed is missing.
    pub refused: u64,
    /// What may be wrong with both: certain for what space-saving adds, three standard deviations for sampling.
    pub error: u64,
    /// Packets per second in the last second or two.
    pub pps: u64,
}

impl Talkers {
    /// An empty table. `secret` is random; `hz` ticks per second, `now` in ticks.
    pub fn new(secret: u64, hz: u64, now: u64) -> Talkers {
        let zero = || AtomicU64::new(0);
        let entry = || Entry {
            key: zero(),
            source: zero(),
            packets: zero(),
            refused: zero(),
            inherited: zero(),
            samples: zero(),
            recent: zero(),
        };
        Talkers {
            sets: (0..SETS).map(|_| std::array::from_fn(|_| entry())).collect(),
            secret,
            start: now,
            hz,
            epoch: u64::BITS - 1 - hz.max(2).leading_zeros(),
            window: zero(),
            skip: zero(),
            random: AtomicU64::new(secret | 1),
        }
    }

    /// Counts a packet of that source. Only the worker that owns the table may call it.
    #[inline]
    pub fn count(&self, now: u64, reason: u32, interface: u32, source: Source, refused: bool) {
        self.count_all(now, reason, 1, |_| (interface, source, refused));
    }

    /// Counts packets of one burst, as [`count`](Talkers::count) would one after the other. `who` says of those that are looked at which
    /// interface and source they come from, and whether they were refused.
    #[inline]
    pub fn count_all(
        &self,
        now: u64,
        reason: u32,
        packets: usize,
        who: impl Fn(usize) -> (u32, Source, bool),
    ) {
        let ticks = now.saturating_sub(self.start);
        let window = self.window.load(Ordering::Relaxed);
        let this = ticks >> self.epoch.saturating_sub(7) & 0xffff_ffff;
        let before = if window >> 32 == this { window & 0xffff_ffff } else { 0 };
        self.window.store(this << 32 | (before + packets as u64), Ordering::Relaxed);
        let all = (EVERY.saturating_sub(before) as usize).min(packets);
        (0..all).for_each(|at| self.write(ticks, reason, who(at), 1));
        let mut at = all;
        while at < packets {
            let (skip, left) = (self.skip.load(Ordering::Relaxed), (packets - at) as u64);
            if skip >= left {
                return self.skip.store(skip - left, Ordering::Relaxed);
            }
            at += skip as usize;
            self.sample(ticks, reason, who(at));
            at += 1;
        }
    }

    /// Counts this packet for [`STRIDE`], and draws when to do so again.
    #[cold]
    fn sample(&self, ticks: u64, reason: u32, who: (u32, Source, bool)) {
        let mut random = self.random.load(Ordering::Relaxed);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.store(random, Ordering::Relaxed);
        self.skip.store((random >> 32) % (2 * STRIDE - 1), Ordering::Relaxed);
        self.write(ticks, reason, who, STRIDE);
    }

    fn write(
        &self,
        ticks: u64,
        reason: u32,
        (interface, source, refused): (u32, Source, bool),
        packets: u64,
    ) {
        let key = u64::from(reason) << 32 | u64::from(interface);
        let product = u128::from(key ^ self.secret) * u128::from(source.bits() ^ self.secret.rotate_left(32));
        let set = &self.sets[(product as u64 ^ (product >> 64) as u64) as usize % SETS];
        let is = |entry: &Entry| {
            entry.source.load(Ordering::Relaxed) == source.bits() && entry.key.load(Ordering::Relaxed) == key
        };
        let entry = set.iter().find(|entry| is(entry)).unwrap_or_else(|| replace(set, key, source));
        let epoch = ticks >> self.epoch;
        add(&entry.packets, packets);
        add(&entry.refused, if refused { packets } else { 0 });
        add(&entry.samples, u64::from(packets > 1));
        let recent = faded(entry.recent.load(Ordering::Relaxed), epoch) + packets;
        entry.recent.store(recent.min(u64::from(u32::MAX)) << 32 | epoch & 0xffff_ffff, Ordering::Relaxed);
    }

    /// All that is in the table.
    pub fn all(&self, now: u64) -> Vec<Talker> {
        let ticks = now.saturating_sub(self.start);
        self.sets.iter().flatten().filter_map(|entry| self.read(entry, ticks)).collect()
    }

    fn read(&self, entry: &Entry, ticks: u64) -> Option<Talker> {
        let load = |word: &AtomicU64| word.load(Ordering::Acquire);
        let (key, source) = (load(&entry.key), load(&entry.source));
        let recent = faded(load(&entry.recent), ticks >> self.epoch);
        // At a steady rate there is one epoch's worth at its beginning, and two at its end.
        let (whole, part) = (1_u64 << self.epoch, ticks & ((1 << self.epoch) - 1));
        let pps = u128::from(recent) * u128::from(self.hz) / u128::from(whole + part);
        let noise = 3 * STRIDE * load(&entry.samples).isqrt();
        let talker = Talker {
            reason: (key >> 32) as u32,
            interface: key as u32,
            source: Source::from_bits(source),
            packets: load(&entry.packets),
            refused: load(&entry.refused),
            error: load(&entry.inherited) + noise,
            pps: pps as u64,
        };
        // Replaced meanwhile: whoever it is now comes next time.
        let same = load(&entry.key) == key && load(&entry.source) == source;
        (key != 0 && same).then_some(talker)
    }

    /// The busiest sources of all workers, the one with most packets per second first; of one reason, or of all.
    pub fn top<'a>(
        workers: impl IntoIterator<Item = &'a Talkers>,
        now: u64,
        reason: Option<u32>,
        most: usize,
    ) -> Vec<Talker> {
        let mut sum: HashMap<(u32, u32, Source), Talker> = HashMap::new();
        for talker in workers.into_iter().flat_map(|worker| worker.all(now)) {
            if reason.is_some_and(|reason| reason != talker.reason) {
                continue;
            }
            sum.entry((talker.reason, talker.interface, talker.source))
                .and_modify(|known| {
                    known.packets += talker.packets;
                    known.refused += talker.refused;
                    known.error += talker.error;
                    known.pps += talker.pps;
                })
                .or_insert(talker);
        }
        let mut top: Vec<Talker> = sum.into_values().collect();
        top.sort_by_key(|talker| std::cmp::Reverse((talker.pps, talker.packets, talker.source.bits())));
        top.truncate(most);
        top
    }
}

/// Gives the place with the fewest packets to another source, which inherits them.
#[cold]
fn replace(set: &[Entry; WAYS], key: u64, source: Source) -> &Entry {
    let packets = |entry: &Entry| entry.packets.load(Ordering::Relaxed);
    let entry = (1..WAYS).fold(&set[0], |a, b| if packets(&set[b]) < packets(a) { &set[b] } else { a });
    entry.key.store(0, Ordering::Release);
    entry.source.store(source.bits(), Ordering::Release);
    entry.inherited.store(packets(entry), Ordering::Release);
    for word in [&entry.refused, &entry.samples, &entry.recent] {
        word.store(0, Ordering::Release);
    }
    entry.key.store(key, Ordering::Release);
    entry
}

/// Only one thread writes.
#[inline]
fn add(word: &AtomicU64, packets: u64) {
    word.store(word.load(Ordering::Relaxed) + packets, Ordering::Relaxed);
}

/// The recent packets as they count in that epoch.
#[inline]
fn faded(recent: u64, epoch: u64) -> u64 {
    let passed = (epoch as u32).wrapping_sub(recent as u32);
    if passed < 32 { recent >> 32 >> passed } else { 0 }
}

impl fmt::Debug for Talkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talkers").field("places", &(SETS * WAYS)).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const HZ: u64 = 2_600_000_000;

    fn host(number: u32) -> Source {
        Source::ip4(number.to_be_bytes())
    }

    #[test]
    fn few_packets_are_counted_exactly() {
        let talkers = Talkers::new(99, HZ, 0);
        talkers.count(0, 7, 4, host(2), false);
        talkers.count(0, 8, 3, host(1), false);
        for packet in 0..5_000_u64 {
            talkers.count(packet * HZ / 1_000, 7, 3, host(1), packet >= 600);
        }
        let top = Talkers::top([&talkers], HZ * 5, Some(7), 10);
        assert_eq!(top.len(), 2);
        assert_eq!((top[0].interface, top[0].source, top[0].packets), (3, host(1), 5_000));
        assert_eq!((top[0].refused, top[0].error), (4_400, 0));
        assert!(top[0].pps.abs_diff(1_000) < 50, "{:?}", top[0]);
        assert_eq!((top[1].source, top[1].packets), (host(2), 1));
    }

    #[test]
    fn an_offender_is_named_within_a_second_among_a_hundred_thousand_others() {
        let talkers = Talkers::new(1234, HZ, 0);
        let mut sent = 0;
        for packet in 0..1_000_000_u64 {
            // Old heavy talkers have filled the table, then one of a million packets a second appears in the noise.
            let now = packet * HZ / 1_000_000;
            let source = if packet >= 500_000 && packet % 2 == 0 {
                sent += 1;
                host(0xbad)
            } else {
                host(1 + (packet * 7_919 % 100_003) as u32)
            };
            talkers.count(now, 1, 1, source, true);
        }
        let top = Talkers::top([&talkers], HZ, None, 3);
        assert_eq!(top[0].source, host(0xbad), "{top:?}");
        assert!(top[0].packets.abs_diff(sent) <= top[0].error, "{sent}: {:?}", top[0]);
        assert!(top[0].error < sent / 20, "{sent}: {:?}", top[0]);
        assert!(top[0].pps > top[1].pps * 10, "{top:?}");
    }

    #[test]
    fn what_was_is_forgotten_in_the_rate_and_workers_are_added_up() {
        let (one, two) = (Talkers::new(1, HZ, 0), Talkers::new(2, HZ, 0));
        for packet in 0..100 {
            one.count(packet, 1, 1, host(1), false);
            two.count(packet, 1, 1, host(1), true);
        }
        let talker = &Talkers::top([&one, &two], HZ, None, 1)[0];
        assert_eq!((talker.packets, talker.refused), (200, 100));
        let talker = &Talkers::top([&one, &two], HZ * 60, None, 1)[0];
        assert_eq!((talker.packets, talker.pps), (200, 0));
        // However long ago it was: epochs are not counted from the beginning again.
        for hours in [9, 10, 18, 100, 10_000] {
            assert_eq!(Talkers::top([&one, &two], HZ * 3_600 * hours, None, 1)[0].pps, 0, "{hours} hours");
        }
    }
}

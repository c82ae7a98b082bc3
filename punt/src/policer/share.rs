//! The source share: keeps one talker from eating a reason's rate.
//!
//! While a reason has tokens to spare, anybody may use them. When they run short, a part of the reason's burst is
//! kept back from those who had more than others: first from sources that had more than other sources of their
//! interface, then from interfaces that had more than other interfaces. So every source gets an equal part of what
//! its interface gets, every interface an equal part of the reason, and what some do not use the others do.
//!
//! How it knows: each interface has a *clock* that counts packets. It stands where the busiest of its sources is, and
//! each source remembers where it stands itself. A source that lags behind has credit, up to [`SOURCE_CREDIT`]
//! packets; the busiest has none. A packet needs as many of the reason's tokens in reserve as its source lacks
//! credit: with full credit none, with no credit as many as there are other sources. As the clock advances only
//! with packets of the busiest, and those pass only while tokens are plenty, it advances just as fast as an equal
//! part of the rate. The same is done once more with the interfaces and a clock of the reason.
//!
//! All state is one bounded table of sources and one of interfaces, found by a hash with a secret that changes, and
//! shared by all workers. A packet that is refused stores nothing. Who falls out of the table is a newcomer when
//! it comes again. Only fairness is at stake here: that a reason keeps its rate is its policer's business.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Policer;
use super::activity::Activity;
use super::rate::Rate;
use super::sync::{AtomicU64, Ordering};

/// How many packets a source may lag behind the busiest one of its interface.
pub const SOURCE_CREDIT: u64 = 16;
/// How many packets an interface may lag behind the busiest one of the reason.
pub const INTERFACE_CREDIT: u64 = 64;
/// What a source that is not in the table has.
const NEW_SOURCE: u64 = SOURCE_CREDIT / 4;
/// What an interface that is not in the table has.
const NEW_INTERFACE: u64 = 4;
/// Tokens kept, when a reason runs short, for sources and for interfaces nobody has seen yet.
const NEWCOMERS: u64 = 4;
/// Sources of one set; they fill one cache line.
const WAYS: usize = 4;
/// Sets of sources: 16,384 sources in 256 KiB.
const SETS: usize = 4_096;
/// Pairs of a reason and an interface: 64 bytes each.
const PAIRS: usize = 2_048;
/// How far a pair may be from where its hash points.
const PROBES: usize = 4;

/// Who sent a packet, as far as it is told apart: an IPv4 address, an IPv6 /64, a MAC for what is not IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(u64);

impl Source {
    /// An IPv4 address.
    #[inline]
    pub const fn ip4(address: [u8; 4]) -> Source {
        Source(0xffff << 48 | u32::from_be_bytes(address) as u64) // ff00::/8 is the source of nothing
    }

    /// The /64 of an IPv6 address.
    #[inline]
    pub const fn ip6(address: [u8; 16]) -> Source {
        Source((u128::from_be_bytes(address) >> 64) as u64)
    }

    /// A MAC.
    #[inline]
    pub const fn mac(address: [u8; 6]) -> Source {
        let [a, b, c, d, e, f] = address;
        Source(0xfffe << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// The same in 64 bits.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u64) -> Source {
        Source(bits)
    }
}

impl std::fmt::Display for Source {
    /// `192.0.2.1`, `2001:db8::/64` or `02:00:00:00:00:01`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 >> 48 {
            0xffff => f.pad(&Ipv4Addr::from(self.0 as u32).to_string()),
            0xfffe => {
                let [_, _, a, b, c, d, e, g] = self.0.to_be_bytes();
                f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
            }
            _ => f.pad(&format!("{}/64", Ipv6Addr::from(u128::from(self.0) << 64))),
        }
    }
}

/// Who had more than its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The source, among those of its interface; or it is above its `--source-rate`.
    Source,
    /// The interface, among those of the reason; or it is above its `--interface-rate`.
    Interface,
    /// Nobody: there is no other source, and the reason's last tokens are kept for whoever else may come. To be
    /// counted as refused by the reason.
    Reason,
}

/// What the share knows of one reason. It belongs beside the reason's policer and outlives changes of it.
#[repr(align(64))]
pub struct ReasonShare {
    id: u32,
    /// Where the busiest interface stands.
    clock: AtomicU64,
    activity: Activity,
    source: Ceiling,
    interface: Ceiling,
}

/// A rate that nobody may exceed, in ticks; 0 ticks = none.
struct Ceiling {
    step: AtomicU64,
    /// Ticks that a burst takes to earn.
    depth: AtomicU64,
}

/// Added to all ticks, so that 0 (never seen) is long ago even at the clock's beginning.
const ORIGIN: u64 = 1 << 62;

impl Ceiling {
    fn none() -> Ceiling {
        Ceiling { step: AtomicU64::new(0), depth: AtomicU64::new(0) }
    }

    /// What comes at once is four tenths of a second's worth, but never less than 16 packets.
    fn set(&self, rate: Rate, hz: u64) {
        let step = match rate {
            Rate::Unlimited => 0,
            Rate::PerSecond(0) => u64::MAX >> 8,
            Rate::PerSecond(rate) => (hz / rate).max(1),
        };
        let burst = if step == u64::MAX >> 8 { 0 } else { step.saturating_mul(16).max(hz / 5 * 2) };
        self.depth.store(burst, Ordering::Relaxed);
        self.step.store(step, Ordering::Relaxed);
    }

    /// When whoever was empty at `empty` is empty after one more packet; `None` when that has to wait.
    #[inline]
    fn next(&self, empty: u64, now: u64) -> Option<u64> {
        let step = self.step.load(Ordering::Relaxed);
        if step == 0 {
            return Some(empty);
        }
        let now = now.saturating_add(ORIGIN);
        let next = empty.max(now - self.depth.load(Ordering::Relaxed).min(now)) + step;
        (next <= now).then_some(next)
    }
}

impl ReasonShare {
    /// The share of the reason with that id, with no ceilings.
    pub fn new(id: u32) -> ReasonShare {
        ReasonShare {
            id,
            clock: AtomicU64::new(1 << 32),
            activity: Activity::new(),
            source: Ceiling::none(),
            interface: Ceiling::none(),
        }
    }

    /// `--source-rate`: packets per second that no source exceeds, whatever there is to spare. `hz` ticks per second.
    pub fn set_source_rate(&self, rate: Rate, hz: u64) {
        self.source.set(rate, hz);
    }

    /// `--interface-rate`: packets per second that no interface exceeds, whatever there is to spare.
    pub fn set_interface_rate(&self, rate: Rate, hz: u64) {
        self.interface.set(rate, hz);
    }

    fn has_ceilings(&self) -> bool {
        self.source.step.load(Ordering::Relaxed) | self.interface.step.load(Ordering::Relaxed) != 0
    }
}

/// Four sources that share a cache line.
#[repr(align(64))]
struct Set {
    /// Bits 40–63 who (0: nobody), 32–39 in which epoch last, 0–31 where it stands.
    seats: [AtomicU64; WAYS],
    /// When it was empty, in ticks, where the reason has a `--source-rate`.
    empty: [AtomicU64; WAYS],
}

/// One interface in one reason.
#[repr(align(64))]
struct Pair {
    /// Reason and interface; 0 = free.
    key: AtomicU64,
    /// Where it stands on the reason's clock.
    stands: AtomicU64,
    /// Where its busiest source stands.
    clock: AtomicU64,
    /// When it was empty, in ticks, where the reason has an `--interface-rate`.
    empty: AtomicU64,
    activity: Activity,
}

/// A source that was looked for.
struct Seat<'a> {
    set: &'a Set,
    way: usize,
    /// What was found there; when another source has the seat, it may be given away.
    word: u64,
    found: bool,
}

/// The source share of one engine, shared by all workers.
pub struct Share {
    secret: [AtomicU64; 2],
    sets: Box<[Set]>,
    pairs: Box<[Pair]>,
    start: u64,
    /// An epoch is 2^this ticks: between one and two seconds.
    epoch: u32,
}

impl Share {
    /// An empty share. `secret` is random; `hz` ticks per second, `now` in ticks.
    pub fn new(secret: [u64; 2], hz: u64, now: u64) -> Share {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        let pair = || Pair {
            key: AtomicU64::new(0),
            stands: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            empty: AtomicU64::new(0),
            activity: Activity::new(),
        };
        Share {
            secret: secret.map(AtomicU64::new),
            sets: (0..SETS).map(|_| Set { seats: zeros(), empty: zeros() }).collect(),
            pairs: (0..PAIRS).map(|_| pair()).collect(),
            start: now,
            epoch: u64::BITS - hz.max(1).leading_zeros(),
        }
    }

    /// Another secret: all sources are newcomers again. The control thread calls it every few minutes.
    pub fn rotate(&self, secret: [u64; 2]) {
        for (old, new) in self.secret.iter().zip(secret) {
            old.store(new, Ordering::Relaxed);
        }
        for seat in self.sets.iter().flat_map(|set| &set.seats) {
            seat.store(0, Ordering::Relaxed);
        }
    }

    /// Whether this packet may go on to its reason's policer; its part is charged.
    ///
    /// # Errors
    /// Who had more than its part, when the reason runs short.
    #[inline]
    pub fn take(
        &self,
        now: u64,
        of: &ReasonShare,
        policer: &Policer,
        interface: u32,
        source: Source,
    ) -> Result<(), Refused> {
        let fill = policer.fill(now);
        if fill.is_none() && !of.has_ceilings() {
            return Ok(());
        }
        let (tokens, depth) = fill.unwrap_or((u64::MAX, 0));
        let epoch = (now.saturating_sub(self.start) >> self.epoch) as u16;
        if tokens == 0 {
            of.activity.mark_short(epoch);
            return Ok(()); // the policer will say no
        }
        let key = u64::from(of.id) << 32 | u64::from(interface);
        let hash = self.hash(key, source.bits());
        let pair = self.find_pair(key, self.hash(key, 0));
        let seat = self.find_seat(hash, epoch as u8);
        self.judge(of, &pair, &seat, (tokens, depth), epoch)
            .inspect_err(|_| of.activity.mark_short(epoch))?;
        self.charge(now, of, pair, seat, (key, hash), epoch)
    }

    /// Whether there are more tokens than have to be kept from this source.
    #[inline]
    fn judge(
        &self,
        of: &ReasonShare,
        pair: &Found<'_>,
        seat: &Seat<'_>,
        (tokens, depth): (u64, u64),
        epoch: u16,
    ) -> Result<(), Refused> {
        let (all, short) = of.activity.count(epoch);
        let newcomers = if short { NEWCOMERS } else { 0 };
        let (here, interface_credit, source_credit) = match pair.slot {
            None => (0, NEW_INTERFACE, NEW_SOURCE),
            Some(slot) => {
                let lag = of.clock.load(Ordering::Relaxed).wrapping_sub(slot.stands.load(Ordering::Relaxed));
                let clock = slot.clock.load(Ordering::Relaxed);
                (slot.activity.count(epoch).0, lag.min(INTERFACE_CREDIT), seat.credit(clock))
            }
        };
        let most = depth / 8 * 3;
        let for_interfaces = most.min(all.saturating_sub(here) + newcomers);
        let for_sources = most.min(here.saturating_sub(1) + newcomers);
        let lack = SOURCE_CREDIT - source_credit;
        // A part of its interface's credit is kept from the source, too, for the others there.
        let lent = interface_credit.saturating_sub(for_sources.min(SOURCE_CREDIT) * lack / SOURCE_CREDIT);
        let kept_of_interface = for_interfaces * (INTERFACE_CREDIT - lent) / INTERFACE_CREDIT;
        let kept_of_source = for_sources * lack / SOURCE_CREDIT;
        if tokens > kept_of_interface + kept_of_source {
            return Ok(());
        }
        Err(match () {
            _ if all <= 1 && seat.found => Refused::Reason,
            _ if tokens > kept_of_interface => Refused::Source,
            _ => Refused::Interface,
        })
    }

    /// Writes down that the source and its interface had one more packet.
    fn charge(
        &self,
        now: u64,
        of: &ReasonShare,
        pair: Found<'_>,
        seat: Seat<'_>,
        (key, hash): (u64, u64),
        epoch: u16,
    ) -> Result<(), Refused> {
        let was = if seat.found { seat.set.empty[seat.way].load(Ordering::Relaxed) } else { 0 };
        let source_empty = of.source.next(was, now).ok_or(Refused::Source)?;
        let was = pair.slot.map_or(0, |slot| slot.empty.load(Ordering::Relaxed));
        let interface_empty = of.interface.next(was, now).ok_or(Refused::Interface)?;

        let slot = pair.slot.unwrap_or_else(|| self.place(pair, of, key));
        let stands = advance(&of.clock, slot.stands.load(Ordering::Relaxed), INTERFACE_CREDIT);
        slot.stands.store(stands, Ordering::Relaxed);
        slot.empty.store(interface_empty, Ordering::Relaxed);

        let clock = slot.clock.load(Ordering::Relaxed);
        let stands = advance(&slot.clock, clock.wrapping_sub(seat.credit(clock)), SOURCE_CREDIT);
        let word = tag(hash) << 40 | u64::from(epoch as u8) << 32 | u64::from(stands as u32);
        // Who loses the race for a seat is not written down this time.
        let seats = &seat.set.seats[seat.way];
        if seats.compare_exchange(seat.word, word, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            seat.set.empty[seat.way].store(source_empty, Ordering::Relaxed);
            if !seat.found || seat.word >> 32 & 0xff != u64::from(epoch as u8) {
                of.activity.add(epoch);
                slot.activity.add(epoch);
            }
        }
        Ok(())
    }

    #[inline]
    fn hash(&self, key: u64, source: u64) -> u64 {
        let [a, b] = [&self.secret[0], &self.secret[1]].map(|secret| secret.load(Ordering::Relaxed));
        let product = u128::from(key ^ a) * u128::from(source ^ b);
        product as u64 ^ (product >> 64) as u64
    }

    /// The seat of that source, or the one that it may take: a free one, or that of whoever came last longest ago.
    #[inline]
    fn find_seat(&self, hash: u64, epoch: u8) -> Seat<'_> {
        let set = &self.sets[hash as usize % SETS];
        let tag = tag(hash);
        let words = [0, 1, 2, 3].map(|way: usize| set.seats[way].load(Ordering::Relaxed));
        if let Some(way) = words.iter().position(|word| word >> 40 == tag) {
            return Seat { set, way, word: words[way], found: true };
        }
        let age = |word: u64| if word == 0 { 256 } else { u64::from(epoch.wrapping_sub((word >> 32) as u8)) };
        let oldest = (1..WAYS).fold(0, |a, b| if age(words[b]) > age(words[a]) { b } else { a });
        Seat { set, way: oldest, word: words[oldest], found: false }
    }

    #[inline]
    fn find_pair(&self, key: u64, hash: u64) -> Found<'_> {
        let slot = (0..PROBES)
            .map(|probe| &self.pairs[(hash as usize + probe) % PAIRS])
            .find(|pair| pair.key.load(Ordering::Relaxed) == key);
        Found { slot, hash }
    }

    /// A slot for a pair that has none: a free one, or that of the pair with the fewest sources.
    #[cold]
    fn place(&self, found: Found<'_>, of: &ReasonShare, key: u64) -> &Pair {
        let at = |probe| &self.pairs[(found.hash as usize + probe) % PAIRS];
        let slot = (0..PROBES)
            .map(at)
            .min_by_key(|pair| match pair.key.load(Ordering::Relaxed) {
                0 => 0,
                _ => 1 + pair.activity.latest(),
            })
            .unwrap_or(at(0));
        slot.key.store(key, Ordering::Relaxed);
        slot.clock.store(1 << 32, Ordering::Relaxed);
        slot.empty.store(0, Ordering::Relaxed);
        slot.stands.store(of.clock.load(Ordering::Relaxed).wrapping_sub(NEW_INTERFACE), Ordering::Relaxed);
        slot.activity.clear();
        slot
    }
}

/// A pair that was looked for.
struct Found<'a> {
    slot: Option<&'a Pair>,
    hash: u64,
}

impl Seat<'_> {
    /// How far it lags behind the clock of its interface.
    #[inline]
    fn credit(&self, clock: u64) -> u64 {
        let lag = (clock as u32).wrapping_sub(self.word as u32);
        match lag {
            _ if !self.found => NEW_SOURCE,
            0..=0x7fff_ffff => u64::from(lag).min(SOURCE_CREDIT),
            _ => 0,
        }
    }
}

/// Who stood at `stands`, or `credit` behind the clock if that is later, stands one further; so does the clock if it is
/// behind.
#[inline]
fn advance(clock: &AtomicU64, stands: u64, credit: u64) -> u64 {
    let time = clock.load(Ordering::Relaxed);
    let stands = stands.max(time - credit.min(time)) + 1;
    if stands > time {
        clock.fetch_max(stands, Ordering::Relaxed);
    }
    stands
}

/// 24 bits of the hash that did not choose the set; never 0.
#[inline]
fn tag(hash: u64) -> u64 {
    (hash >> 40).max(1)
}

#[cfg(all(test, not(loom)))]
#[path = "share_tests.rs"]
mod tests;

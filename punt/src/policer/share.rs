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
//! A reason's tokens may outnumber what its class has left. So before a packet passes the same is asked of the class's room, and reasons stand
//! on a clock of their [class](super::class_share) as interfaces do on that of their reason.
//!
//! All state is one bounded table of sources and one of interfaces, found by a hash with a secret that changes, and
//! shared by all workers. A packet that is refused stores nothing. Who falls out of the table is a newcomer when
//! it comes again. Only fairness is at stake here: that a reason keeps its rate is its policer's business.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::activity::Activity;
use super::class_share::REASON_CREDIT;
use super::rate::Rate;
use super::sync::{AtomicU64, Ordering};
use super::{Budget, Policer};
use crate::class::Class;

/// How many packets a source may lag behind the busiest one of its interface.
pub const SOURCE_CREDIT: u64 = 16;
/// How many packets an interface may lag behind the busiest one of the reason.
pub const INTERFACE_CREDIT: u64 = 64;
/// What a source that is not in the table has.
const NEW_SOURCE: u64 = SOURCE_CREDIT / 4;
/// What an interface that is not in the table has: all, for nobody can make interfaces as they can make sources. With less, one that begins
/// while another is flooded would find fewer tokens than are kept from it, and never get in.
const NEW_INTERFACE: u64 = INTERFACE_CREDIT;
/// Tokens kept, when a reason runs short, for sources and for interfaces nobody has seen yet.
const NEWCOMERS: u64 = 4;
/// The same where a class runs short, or several share it: more, for packets of all its reasons may come in between.
const CLASS_NEWCOMERS: u64 = 16;
/// Sources of one set; they fill one cache line.
const WAYS: usize = 4;
/// Sets of sources: 16,384 sources in 256 KiB.
const SETS: usize = 4_096;
/// Pairs of a reason and an interface: 64 bytes each.
const PAIRS: usize = 2_048;
/// What is no source.
const NOBODY: u64 = 0xfffd << 48;
/// Pairs that a worker remembers during a burst.
const GATES: usize = 16;
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
    /// The source, interface or reason, among those of the class, which has less left than the reason. To be counted as refused by the
    /// class.
    Class,
}

/// What limits packets of one reason.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// How its limit is shared.
    pub share: &'a ReasonShare,
    /// Its limit.
    pub policer: &'a Policer,
    /// The budget of all classes.
    pub budget: &'a Budget,
    /// The class of its packets.
    pub class: Class,
}

/// What the share knows of one reason. It belongs beside the reason's policer and outlives changes of it.
#[repr(align(64))]
pub struct ReasonShare {
    id: u32,
    /// Where the busiest interface stands.
    clock: AtomicU64,
    /// Where it stands on its class's clock.
    pub(super) stands: AtomicU64,
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
            stands: AtomicU64::new(0),
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

    pub(crate) fn has_ceilings(&self) -> bool {
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
    /// Where it was found.
    way: Option<usize>,
    /// What was found there.
    word: u64,
}

/// What one worker knows, during one burst, of the pairs of reason and interface that it has met. A worker makes
/// its own, and uses it with one [`Share`].
///
/// What a burst brings is judged by one look at the reason; what is admitted makes it look again.
pub struct Gates([Gate; GATES]);

impl Default for Gates {
    fn default() -> Gates {
        Gates([Gate::NONE; GATES])
    }
}

/// What holds for all sources of one interface in one reason at one moment.
#[derive(Clone, Copy)]
struct Gate {
    now: u64,
    key: u64,
    /// Nothing is to be said here.
    open: bool,
    /// There is but one source, or none.
    alone: bool,
    pair: Option<usize>,
    tokens: u64,
    /// How far the interface lags behind.
    credit: u64,
    /// Where its busiest source stands.
    clock: u64,
    /// Active sources of other interfaces, and others of this one.
    others: (u64, u64),
    /// Tokens to be kept for other interfaces, and for other sources of this one.
    for_interfaces: u64,
    for_sources: u64,
    /// What the class has, once a packet has got as far as that.
    class: Option<ClassGate>,
    /// Who was refused last, and why.
    source: u64,
    why: Refused,
}

/// What holds for all sources of a reason in its class at one moment.
#[derive(Clone, Copy)]
struct ClassGate {
    /// Packets that it has room for.
    tokens: u64,
    /// How far the reason lags behind.
    credit: u64,
    /// Packets to be kept for other reasons, for other interfaces of this one, and for other sources of the interface.
    for_reasons: u64,
    for_interfaces: u64,
    for_sources: u64,
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

    /// Whether this packet may go on to its reason's policer; its part is charged. `gates` are this worker's.
    ///
    /// # Errors
    /// Who had more than its part, when the reason or its class runs short.
    #[inline]
    pub fn take(
        &self,
        gates: &mut Gates,
        now: u64,
        limits: &Limits<'_>,
        interface: u32,
        source: Source,
    ) -> Result<(), Refused> {
        let of = limits.share;
        let key = u64::from(of.id) << 32 | u64::from(interface);
        let gate = &mut gates.0[(of.id.wrapping_mul(5) ^ interface) as usize % GATES];
        if gate.now != now || gate.key != key {
            *gate = self.gate(now, of, limits.policer, key);
        }
        if gate.open {
            return Ok(());
        }
        if gate.source == source.bits() {
            return Err(gate.why);
        }
        let hash = self.hash(key, source.bits());
        let seat = self.find_seat(hash);
        match gate.judge(&seat).and_then(|()| self.judge_in_class(gate, now, limits, &seat)) {
            Ok(()) => {
                gate.now = u64::MAX; // one token less: look again for the next packet
                self.charge(now, limits, gate.pair.map(|pair| &self.pairs[pair]), seat, (key, hash))
            }
            Err(why) => {
                if why != Refused::Class {
                    of.activity.mark_short(self.epoch_at(now));
                }
                (gate.source, gate.why) = (source.bits(), why);
                Err(why)
            }
        }
    }

    /// Whether the class has room for a packet for which its reason has a token.
    fn judge_in_class(
        &self,
        gate: &mut Gate,
        now: u64,
        limits: &Limits<'_>,
        seat: &Seat<'_>,
    ) -> Result<(), Refused> {
        let of_class = match gate.class {
            Some(known) => known,
            None => *gate.class.insert(self.class_gate(now, limits, gate.others)),
        };
        if gate.fits(&of_class, seat) {
            return Ok(());
        }
        limits.budget.share(limits.class).activity.mark_short(self.epoch_at(now));
        Err(Refused::Class)
    }

    /// What holds for all sources of a reason in its class at this moment, where there are so many others in the reason and in the interface.
    fn class_gate(&self, now: u64, limits: &Limits<'_>, others: (u64, u64)) -> ClassGate {
        let Some(room) = limits.budget.room(limits.class, now) else {
            return ClassGate {
                tokens: u64::MAX,
                credit: 0,
                for_reasons: 0,
                for_interfaces: 0,
                for_sources: 0,
            };
        };
        let (epoch, share) = (self.epoch_at(now), limits.budget.share(limits.class));
        let ((all, short), (here, _)) = (share.activity.count(epoch), limits.share.activity.count(epoch));
        let newcomers = if short || all > 1 { CLASS_NEWCOMERS.min(room.depth / 32) } else { 0 };
        // All that is kept together is less than the class is sure to have, or nobody could have the rest.
        let most = room.depth / 8 * 3;
        ClassGate {
            tokens: room.tokens,
            credit: share.credit(limits.share),
            for_reasons: (room.depth / 8).min(all.saturating_sub(here) + newcomers),
            for_interfaces: most.min(others.0 + newcomers),
            for_sources: most.min(others.1 + newcomers),
        }
    }

    /// What holds for all sources of one interface in one reason at this moment.
    fn gate(&self, now: u64, of: &ReasonShare, policer: &Policer, key: u64) -> Gate {
        let mut gate = Gate { key, now, ..Gate::NONE };
        let fill = policer.fill(now);
        if fill.is_none() && !of.has_ceilings() {
            return Gate { open: true, ..gate };
        }
        let (tokens, depth) = fill.unwrap_or((u64::MAX, 0));
        let epoch = self.epoch_at(now);
        if tokens == 0 {
            of.activity.mark_short(epoch);
            return Gate { open: true, ..gate }; // the policer will say no
        }
        let (all, short) = of.activity.count(epoch);
        // Of a small burst nothing can be kept: it would be most of it.
        let newcomers = if short { NEWCOMERS.min(depth / 32) } else { 0 };
        let mut here = 0;
        gate.pair = self.find_pair(key);
        gate.credit = NEW_INTERFACE;
        if let Some(pair) = gate.pair {
            let pair = &self.pairs[pair];
            let lag = of.clock.load(Ordering::Relaxed).wrapping_sub(pair.stands.load(Ordering::Relaxed));
            gate.credit = lag.min(INTERFACE_CREDIT);
            gate.clock = pair.clock.load(Ordering::Relaxed);
            here = pair.activity.count(epoch).0;
        }
        let most = depth / 8 * 3;
        gate.tokens = tokens;
        gate.alone = all <= 1;
        gate.others = (all.saturating_sub(here), here.saturating_sub(1));
        gate.for_interfaces = most.min(gate.others.0 + newcomers);
        gate.for_sources = most.min(gate.others.1 + newcomers);
        gate
    }

    /// Writes down that the source and its interface had one more packet.
    fn charge(
        &self,
        now: u64,
        limits: &Limits<'_>,
        pair: Option<&Pair>,
        seat: Seat<'_>,
        (key, hash): (u64, u64),
    ) -> Result<(), Refused> {
        let of = limits.share;
        let epoch = self.epoch_at(now);
        let (way, was) = seat.way.map_or_else(|| seat.oldest(epoch as u8), |way| (way, seat.word));
        let empty = if seat.way.is_some() { seat.set.empty[way].load(Ordering::Relaxed) } else { 0 };
        let source_empty = of.source.next(empty, now).ok_or(Refused::Source)?;
        let empty = pair.map_or(0, |pair| pair.empty.load(Ordering::Relaxed));
        let interface_empty = of.interface.next(empty, now).ok_or(Refused::Interface)?;

        let pair = pair.unwrap_or_else(|| self.place(of, key));
        let stands = advance(&of.clock, pair.stands.load(Ordering::Relaxed), INTERFACE_CREDIT);
        pair.stands.store(stands, Ordering::Relaxed);
        pair.empty.store(interface_empty, Ordering::Relaxed);
        let class = limits.budget.share(limits.class);
        class.charge(of);

        let clock = pair.clock.load(Ordering::Relaxed);
        let stands = advance(&pair.clock, clock.wrapping_sub(seat.credit(clock)), SOURCE_CREDIT);
        let word = tag(hash) << 40 | u64::from(epoch as u8) << 32 | u64::from(stands as u32);
        // Who loses the race for a seat is not written down this time.
        if seat.set.seats[way].compare_exchange(was, word, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            seat.set.empty[way].store(source_empty, Ordering::Relaxed);
            if seat.way.is_none() || was >> 32 & 0xff != u64::from(epoch as u8) {
                of.activity.add(epoch);
                pair.activity.add(epoch);
                class.activity.add(epoch);
            }
        }
        Ok(())
    }

    #[inline]
    fn epoch_at(&self, now: u64) -> u16 {
        (now.saturating_sub(self.start) >> self.epoch) as u16
    }

    #[inline]
    fn hash(&self, key: u64, source: u64) -> u64 {
        let [a, b] = [&self.secret[0], &self.secret[1]].map(|secret| secret.load(Ordering::Relaxed));
        let product = u128::from(key ^ a) * u128::from(source ^ b);
        product as u64 ^ (product >> 64) as u64
    }

    #[inline]
    fn find_seat(&self, hash: u64) -> Seat<'_> {
        let set = &self.sets[hash as usize % SETS];
        let tag = tag(hash);
        for way in 0..WAYS {
            let word = set.seats[way].load(Ordering::Relaxed);
            if word >> 40 == tag {
                return Seat { set, way: Some(way), word };
            }
        }
        Seat { set, way: None, word: 0 }
    }

    /// Nobody can make up interfaces and reasons, so their places need no secret, and outlive it.
    fn near(&self, key: u64) -> impl Iterator<Item = usize> {
        let hash = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        (0..PROBES).map(move |probe| hash.wrapping_add(probe) % PAIRS)
    }

    fn find_pair(&self, key: u64) -> Option<usize> {
        self.near(key).find(|&pair| self.pairs[pair].key.load(Ordering::Relaxed) == key)
    }

    /// A slot for a pair that has none: a free one, or that of the pair that was quiet for longest.
    #[cold]
    fn place(&self, of: &ReasonShare, key: u64) -> &Pair {
        let age = |&pair: &usize| match self.pairs[pair].key.load(Ordering::Relaxed) {
            0 => 0,
            _ => 1 + self.pairs[pair].activity.latest(),
        };
        let pair = &self.pairs[self.near(key).min_by_key(age).unwrap_or(0)];
        pair.key.store(key, Ordering::Relaxed);
        pair.clock.store(1 << 32, Ordering::Relaxed);
        pair.empty.store(0, Ordering::Relaxed);
        pair.stands.store(of.clock.load(Ordering::Relaxed).wrapping_sub(NEW_INTERFACE), Ordering::Relaxed);
        pair.activity.clear();
        pair
    }
}

impl Seat<'_> {
    /// How far it lags behind the clock of its interface.
    #[inline]
    fn credit(&self, clock: u64) -> u64 {
        let lag = (clock as u32).wrapping_sub(self.word as u32);
        match lag {
            _ if self.way.is_none() => NEW_SOURCE,
            0..=0x7fff_ffff => u64::from(lag).min(SOURCE_CREDIT),
            _ => 0,
        }
    }

    /// The seat that a newcomer may take, and what is there: a free one, or that of whoever came last longest ago.
    fn oldest(&self, epoch: u8) -> (usize, u64) {
        let age = |word: u64| if word == 0 { 256 } else { u64::from(epoch.wrapping_sub((word >> 32) as u8)) };
        let seat = |way: usize| (way, self.set.seats[way].load(Ordering::Relaxed));
        (1..WAYS).map(seat).fold(seat(0), |a, b| if age(b.1) > age(a.1) { b } else { a })
    }
}

impl Gate {
    const NONE: Gate = Gate {
        now: u64::MAX,
        key: 0,
        open: false,
        alone: false,
        pair: None,
        tokens: 0,
        credit: 0,
        clock: 1 << 32,
        others: (0, 0),
        for_interfaces: 0,
        for_sources: 0,
        class: None,
        source: NOBODY,
        why: Refused::Source,
    };

    /// Whether there are more tokens than have to be kept from this source.
    #[inline]
    fn judge(&self, seat: &Seat<'_>) -> Result<(), Refused> {
        let lack = SOURCE_CREDIT - seat.credit(self.clock);
        let (of_interface, of_source) = self.kept(lack, self.for_interfaces, self.for_sources);
        if self.tokens > of_interface + of_source {
            return Ok(());
        }
        Err(match () {
            _ if self.alone && seat.way.is_some() => Refused::Reason,
            _ if self.tokens > of_interface => Refused::Source,
            _ => Refused::Interface,
        })
    }

    /// Whether the class has more room than has to be kept from this source.
    #[inline]
    fn fits(&self, class: &ClassGate, seat: &Seat<'_>) -> bool {
        let lack = SOURCE_CREDIT - seat.credit(self.clock);
        let (of_interface, of_source) = self.kept(lack, class.for_interfaces, class.for_sources);
        // A part of its reason's credit is kept from the source, too.
        let lent = class.credit.saturating_sub(lack);
        let of_reason = class.for_reasons * (REASON_CREDIT - lent) / REASON_CREDIT;
        class.tokens > of_reason + of_interface + of_source
    }

    /// What is kept from a source that lacks so much credit, of what is to be kept for other interfaces and for other sources.
    #[inline]
    fn kept(&self, lack: u64, for_interfaces: u64, for_sources: u64) -> (u64, u64) {
        // A part of its interface's credit is kept from the source, too, for the others there.
        let lent = self.credit.saturating_sub(for_sources.min(SOURCE_CREDIT) * lack / SOURCE_CREDIT);
        let of_interface = for_interfaces * (INTERFACE_CREDIT - lent) / INTERFACE_CREDIT;
        (of_interface, for_sources * lack / SOURCE_CREDIT)
    }
}

/// Who stood at `stands`, or `credit` behind the clock if that is later, stands one further; so does the clock if it is
/// behind.
#[inline]
pub(super) fn advance(clock: &AtomicU64, stands: u64, credit: u64) -> u64 {
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

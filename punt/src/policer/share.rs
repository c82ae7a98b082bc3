//! The source share: keeps one talker from eating a reason's rate.
//!
//! While a reason has tokens to spare, anybody may use them. When they run short, a part of the reason's burst is
//! kept back from those who had more than others: first from sources that had more than other sources of their
//! interface, then from interfaces that had more than other interfaces. So every source gets an equal part of what
//! its interface gets, every interface an equal part of the reason, and what some do not use the others do.
//!
//! How it knows: each interface has a *clock* that counts packets. It stands where the busiest of its sources is, and
//! each source remembers where it stands itself. A source that lags behind has credit, up to 16
//! packets; the busiest has none. A packet needs as many of the reason's tokens in reserve as its source lacks
//! credit: with full credit none, with no credit as many as there are other sources. As the clock advances only
//! with packets of the busiest, and those pass only while tokens are plenty, it advances just as fast as an equal
//! part of the rate. The same is done once more with the interfaces and a clock of the reason.
//!
//! A reason's tokens may outnumber what its class has left. So before a packet passes the same is asked of the class's room, and reasons stand
//! on a clock of their [class](super::class_share) as interfaces do on that of their reason.
//!
//! All state is one bounded table of sources and one of interfaces, found by a hash with a secret that changes, and
//! shared by all workers. A packet that is refused stores nothing about its source; that tokens are short, and that
//! its interface and its reason want some, is stored once an epoch. Who falls out of the table is a newcomer when it
//! comes again. Only fairness is at stake here: that a reason keeps its rate is its policer's business.

use super::activity::{Activity, EPOCHS};
use super::ceiling::Ceiling;
use super::class_share::ClassGate;
use super::gate::{Gate, Gates, INTERFACE_CREDIT, Of, Refused};
use super::pair::{NEW_INTERFACE, Pairs};
use super::part::{Part, Whole};
use super::rate::Rate;
use super::seat::{SOURCE_CREDIT, Seat, Set, WAYS};
use super::source::Source;
use super::sync::{AtomicU64, Ordering};
use super::{Budget, Policer};
use crate::class::Class;

/// Tokens kept, when a reason runs short, for sources and for interfaces nobody has seen yet.
const NEWCOMERS: u64 = 4;
/// The same where a class runs short, or several share it: more, for packets of all its reasons may come in between.
const CLASS_NEWCOMERS: u64 = 16;
/// Sets of sources: 16,384 sources in 256 KiB.
const SETS: usize = 4_096;

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
    pub(super) activity: Activity,
    /// How many interfaces want something.
    interfaces: Activity,
    /// When it wanted something of its class, in epochs from 1.
    wanted: AtomicU64,
    source: Ceiling,
    interface: Ceiling,
}

impl ReasonShare {
    /// The share of the reason with that id, with no ceilings.
    pub fn new(id: u32) -> ReasonShare {
        ReasonShare {
            id,
            clock: AtomicU64::new(1 << 32),
            stands: AtomicU64::new(0),
            activity: Activity::new(),
            interfaces: Activity::new(),
            wanted: AtomicU64::new(0),
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
        self.source.is_set() || self.interface.is_set()
    }
}

/// The source share of one engine, shared by all workers.
pub struct Share {
    secret: [AtomicU64; 2],
    sets: Box<[Set]>,
    pairs: Pairs,
    start: u64,
    /// An epoch is 2^this ticks: between one and two seconds.
    epoch: u32,
}

impl Share {
    /// An empty share. `secret` is random; `hz` ticks per second, `now` in ticks.
    pub fn new(secret: [u64; 2], hz: u64, now: u64) -> Share {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Share {
            secret: secret.map(AtomicU64::new),
            sets: (0..SETS).map(|_| Set { seats: zeros(), empty: zeros() }).collect(),
            pairs: Pairs::new(),
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

    /// Whether this packet of so many bytes may go on to its reason's policer; its part is charged. `gates` are this worker's.
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
        bytes: u32,
    ) -> Result<(), Refused> {
        let of = limits.share;
        let key = u64::from(of.id) << 32 | u64::from(interface);
        let gate = gates.of(of.id, interface);
        if gate.now != now || gate.key != key {
            *gate = self.gate(now, of, limits.policer, key);
        }
        if gate.open {
            return Ok(());
        }
        if gate.source == source.bits() {
            return Err(gate.why);
        }
        if let Some(why) = gate.shut {
            return Err(gate.refuse(of, self.epoch_at(now), source, why));
        }
        let hash = self.hash(key, source.bits());
        let seat = self.find_seat(hash);
        let judged = match gate.free {
            true => Ok((Of::Rest, Of::Rest)),
            false => gate.judge(&seat).and_then(|of_reason| {
                let of_class = self.judge_in_class(gate, now, limits, &seat, bytes)?;
                Ok((of_reason, of_class))
            }),
        };
        match judged {
            Ok(taken) => {
                gate.now = u64::MAX; // one token less: look again for the next packet
                self.charge(now, limits, gate, (seat, hash), (bytes, taken))
            }
            Err(why) => Err(gate.refuse(of, self.epoch_at(now), source, why)),
        }
    }

    /// Whether the class has room for a packet for which its reason has a token.
    fn judge_in_class(
        &self,
        gate: &mut Gate,
        now: u64,
        limits: &Limits<'_>,
        seat: &Seat<'_>,
        bytes: u32,
    ) -> Result<Of, Refused> {
        // What is demoted takes of the lower class what is there, and nothing of this one.
        if limits.policer.would_demote(now, bytes) {
            gate.class = None;
            return Ok(Of::Rest);
        }
        let of_class = match gate.class {
            Some(known) => known,
            None => *gate.class.insert(self.class_gate(now, limits, gate)),
        };
        if let Some(taken) = gate.fits(&of_class, seat) {
            return Ok(taken);
        }
        limits.budget.share(limits.class).activity.mark_short(self.epoch_at(now));
        Err(Refused::Class)
    }

    /// What holds for all sources of a reason in its class at this moment, where there are so many others in the reason and in the interface.
    fn class_gate(&self, now: u64, limits: &Limits<'_>, gate: &Gate) -> ClassGate {
        let Some(room) = limits.budget.room(limits.class, now) else {
            return ClassGate::OPEN;
        };
        let (epoch, share) = (self.epoch_at(now), limits.budget.share(limits.class));
        let ((all, short), (here, _)) = (share.activity.count(epoch), limits.share.activity.count(epoch));
        let newcomers = if short || all > 1 { CLASS_NEWCOMERS.min(room.depth / 32) } else { 0 };
        share.reasons.add_once(&limits.share.wanted, epoch);
        let (half, of) = (room.depth / 2, share.reasons.count(epoch).0.max(1) * gate.interfaces);
        let pair = gate.pair.filter(|_| of > 1).map(|pair| &self.pairs[pair]);
        let whole = Whole { step: room.step, half, of, sources: gate.others.1 + newcomers };
        let floor = if of > 1 && room.step > 0 { half } else { 0 };
        // All that is kept together is less than the class is sure to have, or nobody could have the rest.
        let (above, most) = (room.depth - floor, (room.depth - floor) / 8 * 3);
        ClassGate {
            tokens: room.tokens,
            floor,
            part: pair.map_or(Part::NONE, |pair| Part::new(whole, &pair.used_of_class, now)),
            low: room.sure <= half,
            credit: share.credit(limits.share),
            for_reasons: (above / 8).min(all.saturating_sub(here) + newcomers),
            for_interfaces: most.min(gate.others.0 + newcomers),
            for_sources: most.min(gate.others.1 + newcomers),
        }
    }

    /// What holds for all sources of one interface in one reason at this moment.
    fn gate(&self, now: u64, of: &ReasonShare, policer: &Policer, key: u64) -> Gate {
        let mut gate = Gate { key, now, ..Gate::NONE };
        let (fill, ceilings) = (policer.fill(now), of.has_ceilings());
        if fill.is_none() && !ceilings {
            return Gate { open: true, ..gate };
        }
        let epoch = self.epoch_at(now);
        gate.pair = self.pairs.find(key).or_else(|| self.pairs.place(&of.clock, key, epoch));
        if let Some(pair) = gate.pair {
            // Also where there are only ceilings, or the pair would count as quiet, and another would have its place.
            of.interfaces.add_once(&self.pairs[pair].wanted, epoch);
        }
        let Some(fill) = fill else { return Gate { free: true, ..gate } };
        if fill.empty {
            return Gate { shut: Some(Refused::Reason), ..gate };
        }
        if fill.tokens == 0 {
            of.activity.mark_short(epoch);
            return Gate { open: !ceilings, free: true, ..gate }; // the policer knows how many bytes there are
        }
        let (all, short) = of.activity.count(epoch);
        // Of a small burst nothing can be kept: it would be most of it.
        let newcomers = if short { NEWCOMERS.min(fill.depth / 32) } else { 0 };
        let half = fill.depth / 2;
        gate.interfaces = of.interfaces.count(epoch).0.max(1);
        (gate.tokens, gate.unit, gate.low) = (fill.tokens, fill.unit, fill.tokens <= half);
        gate.floor = if gate.interfaces > 1 { half } else { 0 };
        gate.credit = NEW_INTERFACE;
        let mut here = 0;
        if let Some(pair) = gate.pair {
            let pair = &self.pairs[pair];
            let lag = of.clock.load(Ordering::Relaxed).wrapping_sub(pair.stands.load(Ordering::Relaxed));
            gate.credit = lag.min(INTERFACE_CREDIT);
            gate.clock = pair.clock.load(Ordering::Relaxed);
            here = pair.activity.count(epoch).0;
            let sources = here.saturating_sub(1) + newcomers;
            let whole = Whole { step: fill.step, half, of: gate.interfaces, sources };
            gate.part = Part::new(whole, &pair.used, now);
        }
        let most = (fill.depth - gate.floor) / 8 * 3;
        gate.alone = all <= 1 && gate.interfaces <= 1;
        gate.others = (all.saturating_sub(here), here.saturating_sub(1));
        gate.for_interfaces = most.min(gate.others.0 + newcomers);
        gate.for_sources = most.min(gate.others.1 + newcomers);
        gate.shut = gate.is_shut().then_some(Refused::Interface);
        gate
    }

    /// Writes down that the source and its interface had one more packet.
    fn charge(
        &self,
        now: u64,
        limits: &Limits<'_>,
        gate: &Gate,
        (seat, hash): (Seat<'_>, u64),
        (bytes, (of_reason, of_class)): (u32, (Of, Of)),
    ) -> Result<(), Refused> {
        let of = limits.share;
        let epoch = self.epoch_at(now);
        let (way, was) = seat.way.map_or_else(|| seat.oldest(epoch as u8), |way| (way, seat.word));
        let empty = if seat.way.is_some() { seat.set.empty[way].load(Ordering::Relaxed) } else { 0 };
        let source_empty = of.source.next(empty, now).ok_or(Refused::Source)?;
        let pair = gate.pair.map(|pair| &self.pairs[pair]);
        let empty = pair.map_or(0, |pair| pair.empty.load(Ordering::Relaxed));
        let interface_empty = of.interface.next(empty, now).ok_or(Refused::Interface)?;

        let pair = pair.unwrap_or_else(|| self.pairs.replace(&of.clock, gate.key, epoch));
        let stands = advance(&of.clock, pair.stands.load(Ordering::Relaxed), INTERFACE_CREDIT);
        pair.stands.store(stands, Ordering::Relaxed);
        pair.empty.store(interface_empty, Ordering::Relaxed);
        if of_reason == Of::Part {
            let packets = (u64::from(bytes) << 8).checked_div(gate.unit).unwrap_or(1 << 8);
            gate.part.take(&pair.used, now, packets);
        }
        let class = limits.budget.share(limits.class);
        if let Some(gate) = &gate.class {
            class.charge(of);
            if of_class == Of::Part {
                gate.part.take(&pair.used_of_class, now, 1 << 8);
            }
        }

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
    fn epoch_at(&self, now: u64) -> u32 {
        (now.saturating_sub(self.start) >> self.epoch) as u32 & EPOCHS
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

//! Dispatch: what a worker does with a packet that leaves the graph for a reason.
//!
//! For each reason there is one immutable [`Entry`], replaced whole when anything about the reason changes. [`Outbox::offer`] takes a packet
//! past the stages of its entry, each before any copy, and hands it to every sink that has a covering registration. All of it is a handful
//! of loads for a packet that is refused; only what is accepted writes to anything that workers share.

mod interests;

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::class::Class;
use crate::clock::Clock;
use crate::facts::Facts;
use crate::lane::{Count, Lane};
use crate::policer::{Budget, Gates, Policer, ReasonShare, Refused, Share, Source, Talkers, Verdict};
use crate::quiescent::{Guard, Slot};
use crate::record::{self, Header};
use crate::sink::{Dirty, Settled, Sink};

pub use interests::{Interests, blocks};

/// A packet as an engine hands it over: bytes, and what it knows of them.
pub trait Punted {
    /// Bytes of the frame.
    fn len(&self) -> u32;
    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The frame, from its Ethernet header on.
    fn segments(&self) -> impl Iterator<Item = &[u8]>;
    /// What matches look at. Called for packets whose reason has a registration that wants to know.
    fn facts(&self) -> Facts;
    /// What the record says of it: interface, offsets, flags.
    fn tag(&self) -> Tag;
    /// Who sent it, as far as fairness is concerned.
    fn source(&self) -> Source;
}

/// What the record says of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// Index of the interface it came in on.
    pub interface: u32,
    /// Where its L3 header begins; 0xffff if it has none.
    pub l3: u16,
    /// Where its L4 header begins; 0xffff if it has none.
    pub l4: u16,
    /// Flags of the record.
    pub flags: u16,
    /// When it was received, in ticks.
    pub received: u64,
}

/// What became of a packet at the end of its way through the graph; each is counted under its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// Nobody asked for it.
    NoSink,
    /// One of those that sampling leaves out.
    SampledOut,
    /// The operator wants such packets dropped.
    ActionDrop,
    /// Its source has had its share.
    RefusedSource,
    /// Its ingress interface has had its share.
    RefusedInterface,
    /// Over the reason's limit.
    RefusedReason,
    /// Over the limit of the class.
    RefusedClass,
    /// Offered to every sink that wants it.
    Accepted,
}

impl Fate {
    /// Whether a limit refused it.
    pub const fn is_refused(self) -> bool {
        matches!(
            self,
            Fate::RefusedSource | Fate::RefusedInterface | Fate::RefusedReason | Fate::RefusedClass
        )
    }
}

/// How many fates there are.
pub const FATES: usize = 8;

/// Everything that is set for one reason.
pub struct Entry {
    /// The reason's id, as records show it.
    pub id: u32,
    /// The queue its packets wait in.
    pub class: Class,
    /// A packet that can go on goes on and is copied; else it is trapped.
    pub copy: bool,
    /// The operator wants its packets dropped, whoever asks.
    pub drop: bool,
    /// One of so many is offered, if not all.
    pub sample: Option<u32>,
    /// The reason's limit.
    pub policer: Arc<Policer>,
    /// How its limit is shared by those who send.
    pub share: Arc<ReasonShare>,
    /// The reason's books, by worker.
    pub counts: Arc<[CachePadded<Counts>]>,
    /// The budget of all classes.
    pub budget: Arc<Budget>,
    /// Registrations that make a reason of their own for packets of this one: that reason's index.
    pub scopes: Interests<u32>,
    /// What is to become of packets that nobody claimed.
    pub passive: Passives,
    /// One for each sink that may want such packets.
    pub deliveries: Box<[Delivery]>,
    /// Whether it takes a look at the packet to say who wants it.
    pub looks: bool,
}

/// What one worker counts of a reason. `packets` = the sum of all fates.
#[derive(Default)]
pub struct Counts {
    /// Packets that left the graph for it, or were copied on their way.
    pub packets: Count,
    /// Bytes of those, as received.
    pub bytes: Count,
    /// Of those, how many were copied and went on.
    pub copies: Count,
    /// What became of them.
    pub fates: [Count; FATES],
    /// Those that sampling has looked at.
    seen: Count,
}

impl Counts {
    /// One packet of so many bytes. It is counted before its fate, so that whoever reads meanwhile finds no fate without a packet.
    #[inline(always)]
    fn count(&self, bytes: u32, copied: bool, fate: Fate) {
        self.packets.add(1);
        self.bytes.add(bytes as u64);
        self.copies.add(copied as u64);
        self.fates[fate as usize].add(1);
    }
}

impl Entry {
    /// Whether anybody may want packets of this reason as they are, or of one that a registration makes of it.
    #[inline(always)]
    pub fn is_wanted(&self) -> bool {
        !self.deliveries.is_empty() || !self.scopes.is_empty()
    }

    /// Whether a registration covers this packet, which left the graph for the reason at index `reason`.
    pub fn wants(&self, reason: u32, packet: &impl Punted) -> bool {
        !self.deliveries.is_empty() && (!self.looks || self.wants_such(&Facts { reason, ..packet.facts() }))
    }

    fn wants_such(&self, facts: &Facts) -> bool {
        self.deliveries.iter().any(|delivery| delivery.candidate(facts).is_some())
    }
}

/// How packets of one reason get to one sink.
pub struct Delivery {
    /// Where to.
    pub sink: Arc<Sink>,
    /// The sink's limit.
    pub policer: Arc<Policer>,
    /// The lanes, by class and worker; a class without any is not used.
    pub lanes: Arc<Lanes>,
    /// Registrations that cover some of these packets: those more specific than `all`.
    pub some: Interests<Candidate>,
    /// The most specific registration that covers all of them.
    pub all: Option<Candidate>,
}

/// Lanes of one sink, by class and worker.
pub type Lanes = [Box<[Arc<Lane>]>; Class::ALL.len()];

/// A registration that may cover a packet.
#[derive(Clone)]
pub struct Candidate {
    /// Its books.
    pub registration: Arc<Registered>,
    /// Its limit.
    pub policer: Arc<Policer>,
    /// At most so many bytes of a frame.
    pub snaplen: u32,
}

/// The books of one registration.
pub struct Registered {
    /// Its id, as records show it; 0 for a passive entry.
    pub id: u32,
    /// What each worker counts.
    pub workers: Box<[CachePadded<Offered>]>,
    /// What its sink's thread counts.
    pub settled: Arc<Settled>,
}

/// What one worker counts of a registration.
#[derive(Default)]
pub struct Offered {
    /// Packets that it covered.
    pub packets: Count,
    /// Refused by its policer, or its sink's.
    pub refused: Count,
    /// For which there was no room.
    pub ring_full: Count,
    /// That came while the sink was suspended.
    pub errors: Count,
}

impl Registered {
    /// Empty books of the registration with this id.
    pub fn new(id: u32, workers: usize) -> Arc<Registered> {
        let workers = (0..workers).map(|_| CachePadded::default()).collect();
        Arc::new(Registered { id, workers, settled: Arc::default() })
    }

    /// A count, over all workers.
    pub fn sum(&self, what: impl Fn(&Offered) -> &Count) -> u64 {
        self.workers.iter().map(|worker| what(worker).get()).sum()
    }
}

type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<rustc_hash::FxHasher>>;

/// What is to become of packets that nobody claimed, by ingress interface.
#[derive(Default)]
pub struct Passives {
    /// Of single interfaces.
    pub interfaces: HashMap<u32, Arc<Passive>>,
    /// Of all others.
    pub all: Option<Arc<Passive>>,
}

impl Passives {
    /// What is to become of a packet from there.
    #[inline]
    pub fn of(&self, interface: u32) -> Option<&Arc<Passive>> {
        match self.interfaces.is_empty() {
            true => self.all.as_ref(),
            false => self.interfaces.get(&interface).or(self.all.as_ref()),
        }
    }
}

/// What is to become of packets that nobody claimed.
pub struct Passive {
    /// Its own limit, which takes the place of the reason's.
    pub policer: Option<Arc<Policer>>,
    /// Its books.
    pub registration: Arc<Registered>,
    /// What becomes of them.
    pub to: PassiveTo,
}

/// Where packets go that nobody claimed.
pub enum PassiveTo {
    /// To a sink: the delivery's one candidate stands for the passive entry.
    Sink(Delivery),
    /// Out of an interface, by the engine's number of a way there.
    Redirect(u32),
    /// Nowhere.
    Drop,
}

/// The entries of all reasons, by index.
pub struct Table(Box<[Slot<Entry>]>);

impl Table {
    /// A table for so many reasons; index 0 is nobody's.
    pub fn new(reasons: usize) -> Table {
        Table((0..=reasons).map(|_| Slot::default()).collect())
    }

    /// The place of the reason with this index.
    pub fn slot(&self, index: u32) -> Option<&Slot<Entry>> {
        self.0.get(index as usize)
    }

    /// How many reasons it holds.
    pub fn capacity(&self) -> usize {
        self.0.len() - 1
    }

    /// What is set for the reason with this index.
    #[inline(always)]
    pub fn get<'a>(&'a self, index: u32, guard: &'a Guard<'_>) -> Option<&'a Entry> {
        self.0.get(index as usize)?.get(guard)
    }

    /// What is set for a packet that left the graph for the reason at `index`, which a registration with a source or an interface may have
    /// made another; and the index of that.
    #[inline(always)]
    pub fn resolve<'a>(
        &'a self,
        index: u32,
        packet: &impl Punted,
        guard: &'a Guard<'_>,
    ) -> (u32, Option<&'a Entry>) {
        match self.get(index, guard) {
            Some(entry) if !entry.scopes.is_empty() => self.resolve_scoped(index, entry, packet, guard),
            entry => (index, entry),
        }
    }

    #[inline(never)]
    fn resolve_scoped<'a>(
        &'a self,
        index: u32,
        entry: &'a Entry,
        packet: &impl Punted,
        guard: &'a Guard<'_>,
    ) -> (u32, Option<&'a Entry>) {
        let facts = Facts { reason: index, ..packet.facts() };
        match entry.scopes.find(&facts).and_then(|&scoped| Some((scoped, self.get(scoped, guard)?))) {
            Some((scoped, entry)) => (scoped, Some(entry)),
            None => (index, Some(entry)),
        }
    }
}

/// What keeps one source from eating what others need.
#[derive(Clone)]
pub struct Fairness {
    /// Shares of all reasons, of all workers.
    pub share: Arc<Share>,
    /// Who sends most, as this worker sees it.
    pub talkers: Arc<Talkers>,
}

/// One worker's end of all lanes.
pub struct Outbox {
    worker: u16,
    epoch: u32,
    clock: Arc<Clock>,
    dirty: Arc<Dirty>,
    fairness: Fairness,
    gates: Gates,
    /// Lanes that were written to since they were last published, each once, with their sink's slot.
    touched: Vec<(Arc<Lane>, usize)>,
}

/// What is known of a packet that is offered to sinks. By reference only: copied right after it is written, its small fields would be waited
/// for.
struct Accepted {
    /// The id of its reason.
    reason: u32,
    class: u8,
    len: u32,
    /// It goes on.
    copied: bool,
}

/// Lanes that one burst can touch: a burst is published when it has touched as many.
const TOUCHED: usize = 256;

impl Outbox {
    /// Of the worker with this number. Records carry `epoch`.
    pub fn new(worker: u16, epoch: u32, clock: Arc<Clock>, dirty: Arc<Dirty>, fairness: Fairness) -> Outbox {
        let touched = Vec::with_capacity(TOUCHED);
        Outbox { worker, epoch, clock, dirty, fairness, gates: Gates::default(), touched }
    }

    /// Takes one packet past the stages of `entry` and counts it there: what came before the copy is one of [`Fate`], what each sink did is
    /// in its books. `reason` is the index of the edge's reason, `copied` says that the packet goes on.
    #[inline]
    pub fn offer(
        &mut self,
        entry: &Entry,
        reason: u32,
        packet: &impl Punted,
        copied: bool,
        now: u64,
    ) -> Fate {
        let (source, interface) = (packet.source(), packet.tag().interface);
        let fate = self.fate(entry, reason, packet, source, copied, now);
        self.fairness.talkers.count(now, entry.id, interface, source, fate.is_refused());
        entry.counts[self.worker as usize].count(packet.len(), copied, fate);
        fate
    }

    #[inline(always)]
    fn fate(
        &mut self,
        entry: &Entry,
        reason: u32,
        packet: &impl Punted,
        source: Source,
        copied: bool,
        now: u64,
    ) -> Fate {
        if entry.drop {
            return Fate::ActionDrop;
        }
        if entry.deliveries.is_empty() && entry.passive.all.is_none() && entry.passive.interfaces.is_empty() {
            return Fate::NoSink;
        }
        self.offer_wanted(entry, reason, packet, source, copied, now)
    }

    /// The same for a reason that somebody may have asked for.
    fn offer_wanted(
        &mut self,
        entry: &Entry,
        reason: u32,
        packet: &impl Punted,
        source: Source,
        copied: bool,
        now: u64,
    ) -> Fate {
        let interface = packet.tag().interface;
        let facts = if entry.looks { Facts { reason, ..packet.facts() } } else { Facts::default() };
        let passive = entry.passive.of(interface);
        let wanted = |delivery: &Delivery| delivery.candidate(&facts).is_some();
        let (mut policer, mut passively) = (&entry.policer, None);
        match passive.map(|passive| (passive, &passive.to)) {
            Some((passive, PassiveTo::Sink(delivery))) => {
                policer = passive.policer.as_ref().unwrap_or(policer);
                passively = Some((passive, delivery));
            }
            Some((passive, PassiveTo::Drop)) if !entry.deliveries.iter().any(wanted) => {
                passive.registration.of(self.worker).packets.add(1);
                return Fate::ActionDrop;
            }
            // It got here because its redirection refused it.
            Some((_, PassiveTo::Redirect(_))) if !entry.deliveries.iter().any(wanted) => {
                return Fate::RefusedReason;
            }
            _ if entry.looks && !entry.deliveries.iter().any(wanted) => return Fate::NoSink,
            _ if entry.deliveries.is_empty() => return Fate::NoSink,
            _ => {}
        }
        if let Some(every) = entry.sample {
            let seen = &entry.counts[self.worker as usize].seen;
            seen.add(1);
            if !(seen.get() - 1).is_multiple_of(every as u64) {
                return Fate::SampledOut;
            }
        }
        let class = match self.limits(entry, policer, source, interface, packet.len(), now) {
            Ok(class) => class,
            Err(fate) => {
                if let Some((passive, _)) = passively {
                    passive.registration.of(self.worker).packets.add(1);
                    passive.registration.of(self.worker).refused.add(1);
                }
                return fate;
            }
        };
        let accepted = Accepted { reason: entry.id, class: class as u8, len: packet.len(), copied };
        for delivery in &entry.deliveries {
            if let Some(candidate) = delivery.candidate(&facts) {
                self.deliver(delivery, candidate, &accepted, packet, now);
            }
        }
        if let Some((_, delivery)) = passively
            && !entry.deliveries.iter().any(|other| other.sink.slot == delivery.sink.slot && wanted(other))
            && let Some(candidate) = &delivery.all
        {
            self.deliver(delivery, candidate, &accepted, packet, now);
        }
        Fate::Accepted
    }

    /// Source share, reason, class: the class in whose queue a packet waits, or the fate of one that a limit refuses.
    #[inline(always)]
    fn limits(
        &mut self,
        entry: &Entry,
        policer: &Policer,
        source: Source,
        interface: u32,
        bytes: u32,
        now: u64,
    ) -> Result<Class, Fate> {
        let share = &self.fairness.share;
        match share.take(&mut self.gates, now, &entry.share, policer, interface, source) {
            Ok(()) => {}
            Err(Refused::Source) => return Err(Fate::RefusedSource),
            Err(Refused::Interface) => return Err(Fate::RefusedInterface),
            Err(Refused::Reason) => return Err(Fate::RefusedReason),
        }
        let class = match policer.take(now, bytes) {
            Verdict::Pass => entry.class,
            Verdict::Demote(lower) => lower,
            Verdict::Drop => return Err(Fate::RefusedReason),
        };
        if entry.budget.take(class, now) { Ok(class) } else { Err(Fate::RefusedClass) }
    }

    /// Offers one accepted packet to one sink.
    fn deliver(
        &mut self,
        delivery: &Delivery,
        candidate: &Candidate,
        accepted: &Accepted,
        packet: &impl Punted,
        now: u64,
    ) {
        let books = candidate.registration.of(self.worker);
        books.packets.add(1);
        let mut class = accepted.class;
        let of =
            |class: u8| delivery.lanes.get(class as usize).and_then(|lanes| lanes.get(self.worker as usize));
        // There is a lane for each class a packet can have; if not, any is better than none.
        let Some(mut lane) = of(class).or_else(|| delivery.any_lane(self.worker)) else { return };
        if let Some(errno) = delivery.sink.suspended() {
            books.errors.add(1);
            return lane.lose(lane.offers.errors.of(errno));
        }
        for (policer, refused) in [
            (&candidate.policer, &lane.offers.refused_registration),
            (&delivery.policer, &lane.offers.refused_sink),
        ] {
            match policer.take(now, accepted.len) {
                Verdict::Pass => {}
                Verdict::Demote(lower) => {
                    if let Some(lower_lane) = of(lower as u8) {
                        class = lower as u8;
                        lane = lower_lane;
                    }
                }
                Verdict::Drop => {
                    books.refused.add(1);
                    return lane.lose(refused);
                }
            }
        }
        let captured = accepted.len.min(candidate.snaplen);
        let written = if lane.is_full() {
            // No record is made for nothing.
            lane.lose(&lane.offers.ring_full);
            false
        } else {
            let (tag, flags) = (packet.tag(), if accepted.copied { record::COPY } else { 0 });
            let truncated = if captured < accepted.len { record::TRUNCATED } else { 0 };
            let header = Header {
                flags: tag.flags | flags | truncated,
                captured,
                original: accepted.len,
                received: self.clock.nanoseconds(tag.received),
                interface: tag.interface,
                reason: accepted.reason,
                worker: self.worker,
                l3: tag.l3,
                l4: tag.l4,
                class,
                registration: candidate.registration.id,
                epoch: self.epoch,
                ..Header::default()
            };
            lane.write(header, packet.segments())
        };
        if !written {
            books.ring_full.add(1);
        }
        if lane.touch() {
            let touched = (lane.clone(), delivery.sink.slot);
            if self.touched.len() == TOUCHED {
                self.publish();
            }
            self.touched.push(touched);
        }
    }

    /// Whether a packet of so many bytes that nobody claimed may go where the passive punt redirects it; counted there either way.
    pub fn redirect(&mut self, passive: &Passive, bytes: u32, now: u64) -> bool {
        let books = passive.registration.of(self.worker);
        books.packets.add(1);
        let passes = passive.policer.as_ref().is_none_or(|policer| policer.take(now, bytes) == Verdict::Pass);
        if !passes {
            books.refused.add(1);
        }
        passes
    }

    /// Counts a packet whose redirection leads nowhere now.
    pub fn missed(&self, passive: &Passive) {
        passive.registration.of(self.worker).errors.add(1);
    }

    /// Lets the sinks see what was written since the last time. Once a burst.
    #[inline(always)]
    pub fn publish(&mut self) {
        if !self.touched.is_empty() {
            self.publish_touched();
        }
    }

    #[inline(never)]
    fn publish_touched(&mut self) {
        // The last reference to a lane is never here: the control plane lets go of its own only after every worker has passed.
        for (lane, slot) in self.touched.drain(..) {
            lane.untouch();
            if lane.ring.publish() {
                self.dirty.set(slot);
            }
        }
    }
}

impl Delivery {
    /// A lane of this worker, of whichever class.
    fn any_lane(&self, worker: u16) -> Option<&Arc<Lane>> {
        self.lanes.iter().find_map(|lanes| lanes.get(worker as usize))
    }

    /// The most specific registration that covers a packet.
    #[inline(always)]
    fn candidate(&self, facts: &Facts) -> Option<&Candidate> {
        if self.some.is_empty() {
            return self.all.as_ref();
        }
        self.some.find(facts).or(self.all.as_ref())
    }
}

impl Registered {
    /// What the worker with this number counts.
    #[inline(always)]
    fn of(&self, worker: u16) -> &Offered {
        &self.workers[worker as usize]
    }
}

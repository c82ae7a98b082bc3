//! One worker's end of all lanes: takes packets past the stages of their reason's entry and hands them to those who want them.
//!
//! Packets come in runs: those of a burst that left the graph one after the other for one reason. What holds for all of a run (who wants it,
//! whether anything limits it, whether a sink is there, whether its ring is full) is asked once, not once a packet.

use std::slice;
use std::sync::Arc;

use super::{Candidate, Delivery, Entry, Fate, Fates, Passive, PassiveTo, Punted};
use crate::class::Class;
use crate::clock::Clock;
use crate::facts::Facts;
use crate::lane::Lane;
use crate::policer::{Colour, Gates, Limits, Policer, Refused, Share, Source, Talkers, Verdict};
use crate::record::{self, Header};
use crate::sink::Dirty;

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
    /// What was lost on the way to sinks.
    lost: Lost,
    /// Which burst this is, from 1.
    burst: u64,
    /// Lanes that were written to since they were last published, each once, with their sink's slot.
    touched: Vec<(Arc<Lane>, usize)>,
}

/// Offers that one worker made to sinks in vain: over the limit of the registration, over that of the sink, for want of room in the ring, and
/// because nobody was there.
pub type Lost = [u64; 4];

/// Packets of one burst that left the graph one after the other for one reason.
struct Run<'a, P> {
    packets: &'a [P],
    entry: &'a Entry,
    /// They go on.
    copied: bool,
    now: u64,
}

/// In which queue a packet waits and what colour it has, or what else became of it.
type Judged = Result<Passed, Fate>;

/// What the stages before the copy have made of a packet that they let pass.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Passed {
    class: Class,
    colour: Colour,
}

impl Passed {
    const fn green(class: Class) -> Passed {
        Passed { class, colour: Colour::Green }
    }

    /// What a policer makes of it that is aware of the colour it has; `None` if that drops it. It waits in no higher class than before. What
    /// is red and passes nevertheless is yellow for whoever comes after: red is what is to be dropped.
    #[inline(always)]
    fn by(self, policer: &Policer, now: u64, bytes: u32) -> Option<Passed> {
        let colour = policer.colour(now, bytes, self.colour);
        let class = match policer.action(colour) {
            Verdict::Pass => self.class,
            Verdict::Demote(lower) => lower.min(self.class),
            Verdict::Drop => return None,
        };
        Some(Passed { class, colour: colour.min(Colour::Yellow) })
    }
}

/// Packets that are judged together, at most.
const TOGETHER: usize = 64;

/// Lanes that one burst can touch: a burst is published when it has touched as many.
const TOUCHED: usize = 256;

impl Outbox {
    /// Of the worker with this number. Records carry `epoch`.
    pub fn new(worker: u16, epoch: u32, clock: Arc<Clock>, dirty: Arc<Dirty>, fairness: Fairness) -> Outbox {
        let touched = Vec::with_capacity(TOUCHED);
        Outbox {
            worker,
            epoch,
            clock,
            dirty,
            fairness,
            gates: Gates::default(),
            lost: Lost::default(),
            burst: 1,
            touched,
        }
    }

    /// The same as [`offer_all`](Outbox::offer_all), for one packet.
    #[inline]
    pub fn offer(
        &mut self,
        entry: &Entry,
        reason: u32,
        packet: &impl Punted,
        copied: bool,
        now: u64,
    ) -> Fate {
        let fates = self.offer_all(entry, reason, slice::from_ref(packet), copied, now);
        fates.iter().next().map_or(Fate::NoSink, |(fate, _)| fate)
    }

    /// Takes packets that left the graph one after the other past the stages of `entry` and counts them there: what came before the copy is
    /// one of [`Fate`], what each sink did is in its books. `reason` is the index of the edge's reason, `copied` says that the packets go
    /// on, `now` is when their burst was received.
    #[inline]
    pub fn offer_all(
        &mut self,
        entry: &Entry,
        reason: u32,
        packets: &[impl Punted],
        copied: bool,
        now: u64,
    ) -> Fates {
        let mut fates = Fates::default();
        match entry.fate_of_all() {
            Some(fate) => {
                fates.add(fate, packets.len());
                self.note(entry, packets, now, |_| false);
            }
            None => {
                for packets in packets.chunks(TOGETHER) {
                    self.offer_run(&Run { packets, entry, copied, now }, reason, &mut fates);
                }
            }
        }
        let bytes = packets.iter().map(|packet| u64::from(packet.len())).sum();
        entry.counts[self.worker as usize].count(packets.len() as u64, bytes, copied, &fates);
        fates
    }

    /// What this worker has offered to sinks in vain so far.
    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// Notes who sent packets.
    #[inline(always)]
    fn note(&self, entry: &Entry, packets: &[impl Punted], now: u64, refused: impl Fn(usize) -> bool) {
        let who = |at: usize| (packets[at].interface(), packets[at].source(), refused(at));
        self.fairness.talkers.count_all(now, entry.id, packets.len(), who);
    }

    /// Offers packets of a reason that somebody may have asked for.
    #[inline(never)]
    fn offer_run<P: Punted>(&mut self, run: &Run<'_, P>, reason: u32, fates: &mut Fates) {
        let mut judged = [Err(Fate::NoSink); TOGETHER];
        let judged = &mut judged[..run.packets.len()];
        if run.entry.is_plain() {
            self.judge(run, &run.entry.policer, judged);
            self.hand_out(run, judged);
        } else {
            for (packet, judged) in run.packets.iter().zip(&mut *judged) {
                *judged = self.offer_some(&Run { packets: slice::from_ref(packet), ..*run }, packet, reason);
            }
        }
        let fate = |judged: &Judged| judged.map_or_else(|fate| fate, |_| Fate::Accepted);
        for alike in judged.chunk_by(|one, next| one == next) {
            fates.add(fate(&alike[0]), alike.len());
        }
        self.note(run.entry, run.packets, run.now, |at| fate(&judged[at]).is_refused());
    }

    /// Hands those that were accepted to every sink, those of one class together.
    #[inline(always)]
    fn hand_out<P: Punted>(&mut self, run: &Run<'_, P>, judged: &[Judged]) {
        let mut rest = run.packets;
        for alike in judged.chunk_by(|one, next| one == next) {
            let (packets, others) = rest.split_at(alike.len());
            rest = others;
            let Ok(passed) = alike[0] else { continue };
            for delivery in &run.entry.deliveries {
                if let Some(candidate) = delivery.candidate(&Facts::default()) {
                    self.deliver(delivery, candidate, passed, &Run { packets, ..*run });
                }
            }
        }
    }

    /// Offers the only packet of a run, of whose reason some packets are wanted and others not.
    fn offer_some<P: Punted>(&mut self, run: &Run<'_, P>, packet: &P, reason: u32) -> Judged {
        let entry = run.entry;
        let facts = if entry.looks { Facts { reason, ..packet.facts() } } else { Facts::default() };
        let passive = entry.passive.of(packet.interface());
        let wanted = |delivery: &Delivery| delivery.candidate(&facts).is_some();
        let (mut policer, mut passively) = (&entry.policer, None);
        match passive.map(|passive| (passive, &passive.to)) {
            Some((passive, PassiveTo::Sink(delivery))) => {
                policer = passive.policer.as_ref().unwrap_or(policer);
                passively = Some((passive, delivery));
            }
            Some((passive, PassiveTo::Drop)) if !entry.deliveries.iter().any(wanted) => {
                passive.registration.of(self.worker).packets.add(1);
                return Err(Fate::ActionDrop);
            }
            // It got here because its redirection refused it.
            Some((_, PassiveTo::Redirect(_))) if !entry.deliveries.iter().any(wanted) => {
                return Err(Fate::RefusedReason);
            }
            _ if entry.looks && !entry.deliveries.iter().any(wanted) => return Err(Fate::NoSink),
            _ if entry.deliveries.is_empty() => return Err(Fate::NoSink),
            _ => {}
        }
        if let Some(every) = entry.sample {
            let seen = &entry.counts[self.worker as usize].seen;
            seen.add(1);
            if !(seen.get() - 1).is_multiple_of(every as u64) {
                return Err(Fate::SampledOut);
            }
        }
        let mut judged = [Err(Fate::NoSink)];
        self.judge(run, policer, &mut judged);
        let [judged] = judged;
        let Ok(passed) = judged else {
            if let Some((passive, _)) = passively {
                passive.registration.of(self.worker).packets.add(1);
                passive.registration.of(self.worker).refused.add(1);
            }
            return judged;
        };
        for delivery in &entry.deliveries {
            if let Some(candidate) = delivery.candidate(&facts) {
                self.deliver(delivery, candidate, passed, run);
            }
        }
        if let Some((_, delivery)) = passively
            && !entry.deliveries.iter().any(|other| other.sink.slot == delivery.sink.slot && wanted(other))
            && let Some(candidate) = &delivery.all
        {
            self.deliver(delivery, candidate, passed, run);
        }
        judged
    }

    /// Source share, reason, class: in whose queue each packet waits, or the fate of one that a limit refuses.
    #[inline(always)]
    fn judge<P: Punted>(&mut self, run: &Run<'_, P>, policer: &Policer, judged: &mut [Judged]) {
        if run.entry.is_unlimited(policer) {
            return judged.fill(Ok(Passed::green(run.entry.class)));
        }
        // A flood is mostly packets of one source, or of few: whom the share refused just now it refuses again, for in a burst no time passes.
        let mut refused = None;
        for (packet, judged) in run.packets.iter().zip(judged) {
            let who = (packet.interface(), packet.source());
            *judged = match refused {
                Some((before, fate)) if before == who => Err(fate),
                _ => match self.share(run, policer, who, packet.len()) {
                    Ok(()) => {
                        refused = None;
                        self.limits(run, policer, packet.len())
                    }
                    Err(fate) => {
                        refused = Some((who, fate));
                        Err(fate)
                    }
                },
            };
        }
    }

    /// Whether the source may ask for more of the reason's limit.
    #[inline(always)]
    fn share<P>(
        &mut self,
        run: &Run<'_, P>,
        policer: &Policer,
        (interface, source): (u32, Source),
        bytes: u32,
    ) -> Result<(), Fate> {
        let (entry, share) = (run.entry, &self.fairness.share);
        let limits = Limits { share: &entry.share, policer, budget: &entry.budget, class: entry.class };
        let taken = share.take(&mut self.gates, run.now, &limits, interface, source, bytes);
        taken.map_err(|refused| match refused {
            Refused::Source => Fate::RefusedSource,
            Refused::Interface => Fate::RefusedInterface,
            Refused::Reason => Fate::RefusedReason,
            Refused::Class => Fate::RefusedClass,
        })
    }

    /// Reason, class.
    #[inline(always)]
    fn limits<P>(&self, run: &Run<'_, P>, policer: &Policer, bytes: u32) -> Judged {
        let passed = Passed::green(run.entry.class).by(policer, run.now, bytes).ok_or(Fate::RefusedReason)?;
        let accepted = run.entry.budget.take(passed.class, run.now);
        if passed.class != run.entry.class {
            let its = &run.entry.counts[self.worker as usize].demoted[passed.class as usize];
            if accepted { &its.accepted } else { &its.refused }.add(1);
        }
        if accepted { Ok(passed) } else { Err(Fate::RefusedClass) }
    }

    /// Offers accepted packets to one sink.
    fn deliver<P: Punted>(
        &mut self,
        delivery: &Delivery,
        candidate: &Candidate,
        passed: Passed,
        run: &Run<'_, P>,
    ) {
        let (books, packets) = (candidate.registration.of(self.worker), run.packets.len() as u64);
        books.packets.add(packets);
        let Some(lane) = delivery.lane(passed.class, self.worker) else { return };
        if let Some(errno) = delivery.sink.suspended() {
            books.errors.add(packets);
            self.lost[3] += packets;
            return lane.lose(packets, lane.offers.errors.of(errno));
        }
        if candidate.policer.is_unlimited() && delivery.policer.is_unlimited() {
            return self.write(delivery, candidate, (passed.class, lane), run);
        }
        for packet in run.packets {
            if let Some(place) = self.police(delivery, candidate, (passed, lane), packet.len(), run.now) {
                self.write(delivery, candidate, place, &Run { packets: slice::from_ref(packet), ..*run });
            }
        }
    }

    /// Registration, sink: where a packet goes, if their limits let it pass.
    fn police<'a>(
        &mut self,
        delivery: &'a Delivery,
        candidate: &Candidate,
        (mut passed, mut lane): (Passed, &'a Arc<Lane>),
        bytes: u32,
        now: u64,
    ) -> Option<(Class, &'a Arc<Lane>)> {
        let books = candidate.registration.of(self.worker);
        for (at, policer) in [&candidate.policer, &delivery.policer].into_iter().enumerate() {
            let Some(next) = passed.by(policer, now, bytes) else {
                // The first that refuses is the one that counts.
                [&books.refused, &books.refused_sink][at].add(1);
                self.lost[at] += 1;
                lane.lose(1, [&lane.offers.refused_registration, &lane.offers.refused_sink][at]);
                return None;
            };
            let own =
                if next.class == passed.class { None } else { delivery.own_lane(next.class, self.worker) };
            let class = own.map_or(passed.class, |_| next.class);
            (passed, lane) = (Passed { class, ..next }, own.unwrap_or(lane));
        }
        Some((passed.class, lane))
    }

    /// Copies packets into a lane's ring. Once it is full, it is full for the rest of the burst.
    #[inline(always)]
    fn write<P: Punted>(
        &mut self,
        delivery: &Delivery,
        candidate: &Candidate,
        (class, lane): (Class, &Arc<Lane>),
        run: &Run<'_, P>,
    ) {
        let (books, mut written) = (candidate.registration.of(self.worker), 0);
        if !lane.is_full(self.burst) {
            let received = self.clock.nanoseconds(run.now);
            for packet in run.packets {
                let header = self.header(candidate, class, run, packet, received);
                if !lane.try_write(header, packet.segments()) {
                    break;
                }
                written += 1;
            }
        }
        let lost = (run.packets.len() - written) as u64;
        if lost > 0 {
            lane.was_full(self.burst);
            lane.lose(lost, &lane.offers.ring_full);
            books.ring_full.add(lost);
            self.lost[2] += lost;
        }
        // Of what found no room nobody need be told.
        if written > 0 && lane.touch() {
            if self.touched.len() == TOUCHED {
                self.publish();
            }
            self.touched.push((lane.clone(), delivery.sink.slot));
        }
    }

    /// What the record says of a packet, but for its number.
    #[inline(always)]
    fn header<P: Punted>(
        &self,
        candidate: &Candidate,
        class: Class,
        run: &Run<'_, P>,
        packet: &P,
        received: u64,
    ) -> Header {
        let (tag, original) = (packet.tag(), packet.len());
        let captured = original.min(candidate.snaplen);
        let copied = if run.copied { record::COPY } else { 0 };
        let truncated = if captured < original { record::TRUNCATED } else { 0 };
        Header {
            flags: tag.flags | copied | truncated,
            captured,
            original,
            received,
            interface: tag.interface,
            reason: run.entry.id,
            worker: self.worker,
            l3: tag.l3,
            l4: tag.l4,
            class: class as u8,
            registration: candidate.registration.id,
            epoch: self.epoch,
            ..Header::default()
        }
    }

    /// Whether a packet of so many bytes that nobody claimed may go where the passive punt redirects it; counted there either way.
    pub fn redirect(&mut self, passive: &Passive, bytes: u32, now: u64) -> bool {
        let books = passive.registration.of(self.worker);
        books.packets.add(1);
        let passes = passive.policer.as_ref().is_none_or(|policer| policer.take(now, bytes) != Verdict::Drop);
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
        self.burst += 1;
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

//! What the punt path itself refuses and loses: reasons that one may register for, to see which packets these are.
//!
//! They are counted where they are refused or lost, whoever asks. While somebody has registered for one of these reasons, packets are offered
//! one by one, and of each that goes no further a copy is offered for the reason why; that is policed and counted as any other.

use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use punt::desk::Desk;
use punt::dispatch::{Entry, Fate, Fates, Outbox};

use crate::graph::Plan;
use crate::node::Context;
use crate::packet::Packet;

/// The reasons, and why a packet has one; the first four are fates, the others are in the order of [`Outbox::lost`].
pub const LOSSES: [(&str, &str); 8] = [
    ("engine.policer-source", "refused: its source had its share"),
    ("engine.policer-interface", "refused: its ingress interface had its share"),
    ("engine.policer-reason", "refused: over the limit of its reason"),
    ("engine.policer-class", "refused: over the limit of its class"),
    ("engine.policer-registration", "refused: over the limit of a registration"),
    ("engine.policer-sink", "refused: over the limit of a sink"),
    ("engine.ring-full", "lost: the ring to a sink was full"),
    ("engine.sink-dead", "lost: nobody was there to take what a sink gets"),
];

/// Which of these somebody has registered for, as bits.
pub type Watched = AtomicU32;

/// Has `watched` say from now on who is registered.
pub fn watch(desk: &mut Desk, watched: &Arc<Watched>) {
    for (at, (name, _)) in LOSSES.iter().enumerate() {
        let watched = watched.clone();
        let tell = move |wanted| {
            match wanted {
                true => watched.fetch_or(1 << at, Ordering::Relaxed),
                false => watched.fetch_and(!(1 << at), Ordering::Relaxed),
            };
        };
        desk.watch(name, tell).expect("the desk knows all reasons of the plan");
    }
}

/// Offers packets one by one, and shows those that go no further. `first` is the index of the first reason of [`LOSSES`].
#[inline(never)]
pub fn offer(
    outbox: &mut Outbox,
    (entry, reason): (&Entry, u32),
    packets: &[Packet],
    copied: bool,
    context: &Context,
    first: u32,
) -> Fates {
    let mut fates = Fates::default();
    for packet in packets {
        let before = outbox.lost();
        let fate = outbox.offer(entry, reason, packet, copied, context.now);
        fates.add(fate, 1);
        let lost = outbox.lost();
        let sinks = lost.iter().zip(before).map(|(now, before)| *now != before);
        let all = REFUSED.iter().map(|refused| fate == *refused).chain(sinks);
        for (index, _) in (first..).zip(all).filter(|(_, is)| *is) {
            show(outbox, index, packet, copied, context);
        }
    }
    fates
}

const REFUSED: [Fate; 4] =
    [Fate::RefusedSource, Fate::RefusedInterface, Fate::RefusedReason, Fate::RefusedClass];

fn show(outbox: &mut Outbox, index: u32, packet: &Packet, copied: bool, context: &Context) {
    if let (_, Some(entry)) = context.tables.punt.reasons.resolve(index, packet, context.guard)
        && entry.is_wanted()
    {
        outbox.offer_all(entry, index, slice::from_ref(packet), copied, context.now);
    }
}

/// The index of the first reason of [`LOSSES`]: they come behind all kinds of drops.
pub fn first(plan: &Plan) -> u32 {
    (plan.registry.len() + plan.drops().count() + 1) as u32
}

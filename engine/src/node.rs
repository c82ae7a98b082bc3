//! What a node is: a function from a packet to an edge.
//!
//! An edge is another node, a punt with a reason, a drop with a text, or the end of the
//! packet's way. The enum of a node's edges says all that can happen there; counters, statistics and the drawn graph come from it.

use std::marker::PhantomData;

use punt::reason::Reason;

use crate::counters::Counters;
use crate::packet::Packet;
use crate::quiescent::Guard;
use crate::tables::Tables;

/// What a node may look at beside the packet: the tables of this loop, and the worker's counters.
pub struct Context<'a> {
    /// What the control plane has set.
    pub tables: &'a Tables,
    /// Proof that the tables stay as they are until the loop ends.
    pub guard: &'a Guard<'a>,
    /// This worker's counters.
    pub counters: &'a Counters,
    /// The TSC when the burst was received.
    pub now: u64,
}

/// One step on a packet's way.
pub trait Node: Send + 'static {
    /// Its name, as `puntctl stats nodes` shows it.
    const NAME: &'static str;
    /// Reasons that this node chooses at run time, beside those its edges name.
    const REASONS: &'static [&'static Reason] = &[];
    /// Whether packets come in here, too.
    const ENTRY: bool = false;
    /// Where packets go from here.
    type Next: Edges;

    /// Says where `packet` goes. Total: no bytes whatever make it panic.
    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Self::Next;

    /// Says it for a whole frame. Override it to look up in bulk or to prefetch.
    #[inline(always)]
    fn frame<O: Onward<Self::Next>>(
        &mut self,
        context: &Context,
        packets: &mut [Packet],
        next: &mut NextOf<Self::Next, O>,
    ) {
        next.each(packets, |packet| Some(self.packet(context, packet)));
    }
}

/// The edges of a node: an enum made by [`edges!`](crate::edges).
pub trait Edges: Copy + 'static {
    /// All of them, in order of their index.
    const EDGES: &'static [Edge];
    /// Which of them this is.
    fn index(self) -> u8;
}

/// One thing that can happen to a packet in a node.
#[derive(Clone, Copy)]
pub struct Edge {
    /// The variant's name.
    pub name: &'static str,
    /// Where it leads.
    pub to: To,
}

/// Where an edge leads.
#[derive(Clone, Copy)]
pub enum To {
    /// To the node of this name.
    Node(&'static str),
    /// Out of the graph, for this reason.
    Punt(&'static Reason),
    /// Copied for this reason and sent on to the node of this name, or only punted, as the operator set it.
    PuntElse(&'static Reason, &'static str),
    /// Out of the graph, for the reason that the node left in the packet's metadata.
    Chosen,
    /// Freed, and counted under this text.
    Drop(&'static str),
    /// Given to a driver.
    Sent,
    /// Given to the worker that owns the port.
    Handed,
}

/// A thing with a name that an edge can lead to.
pub trait Named {
    /// The name.
    const NAME: &'static str;
}

impl<N: Node> Named for N {
    const NAME: &'static str = <N as Node>::NAME;
}

/// The edges that the packets of a frame take, one for each: the first of the node's, unless another is set. So the first is best the
/// one that most packets take.
pub struct NextOf<'a, E, O = Stop> {
    row: &'a mut [u8],
    onward: O,
    edges: PhantomData<E>,
}

/// What becomes of a packet when its edge is known. Says the number that stands for it in the row.
pub trait Onward<E>: Copy {
    /// By the first edge.
    fn first(self, packet: &mut Packet) -> u8;
    /// By any edge.
    fn any(self, edge: E, packet: &mut Packet) -> u8;
}

/// It waits for the rest of its frame. Its number is the edge's index.
#[derive(Clone, Copy)]
pub struct Stop;

impl<E: Edges> Onward<E> for Stop {
    #[inline(always)]
    fn first(self, _: &mut Packet) -> u8 {
        0
    }

    #[inline(always)]
    fn any(self, edge: E, _: &mut Packet) -> u8 {
        edge.index()
    }
}

/// By the first edge it goes through another node at once: see [`Joined`].
#[derive(Clone, Copy)]
struct Through<'a, N> {
    context: &'a Context<'a>,
    node: N,
}

impl<E: Edges, N: Node + Copy> Onward<E> for Through<'_, N> {
    #[inline(always)]
    fn first(mut self, packet: &mut Packet) -> u8 {
        match self.node.packet(self.context, packet).index() {
            0 => 0,
            edge => E::EDGES.len() as u8 - 1 + edge,
        }
    }

    #[inline(always)]
    fn any(self, edge: E, packet: &mut Packet) -> u8 {
        /// Not inlined, that the way of most packets is compiled for them alone.
        #[inline(never)]
        fn first<E, O: Onward<E>>(onward: O, packet: &mut Packet) -> u8 {
            onward.first(packet)
        }
        match edge.index() {
            0 => first::<E, _>(self, packet),
            edge => edge,
        }
    }
}

impl<'a, E: Edges> NextOf<'a, E> {
    /// Over a row of edge indices.
    #[inline(always)]
    pub fn over(row: &'a mut [u8]) -> Self {
        NextOf::by(row, Stop)
    }
}

impl<'a, E: Edges, O: Onward<E>> NextOf<'a, E, O> {
    #[inline(always)]
    fn by(row: &'a mut [u8], onward: O) -> Self {
        row.fill(0);
        NextOf { row, onward, edges: PhantomData }
    }

    /// Has `decide` say where each packet goes; `None` is short for the first edge.
    #[inline(always)]
    pub fn each(&mut self, packets: &mut [Packet], mut decide: impl FnMut(&mut Packet) -> Option<E>) {
        self.each_with(packets, std::iter::repeat(()), |packet, ()| decide(packet));
    }

    /// Has `decide` say where each packet goes, by what was found out about it in bulk.
    #[inline(always)]
    pub fn each_with<T>(
        &mut self,
        packets: &mut [Packet],
        found: impl IntoIterator<Item = T>,
        mut decide: impl FnMut(&mut Packet, T) -> Option<E>,
    ) {
        for ((packet, place), found) in packets.iter_mut().zip(&mut *self.row).zip(found) {
            let number = match decide(packet, found) {
                None => self.onward.first(packet),
                Some(edge) => self.onward.any(edge, packet),
            };
            if number != 0 {
                *place = number;
            }
        }
    }

    /// The packets in runs that have the same `key`.
    #[inline(always)]
    pub fn runs<'p, K: Copy + PartialEq>(
        &mut self,
        mut packets: &'p mut [Packet],
        key: impl Fn(&Packet) -> K,
    ) -> impl Iterator<Item = (K, &'p mut [Packet], NextOf<'_, E, O>)> {
        let (mut row, onward) = (&mut *self.row, self.onward);
        std::iter::from_fn(move || {
            let first = key(packets.first()?);
            let len = packets.iter().position(|packet| key(packet) != first).unwrap_or(packets.len());
            let run = packets.split_off_mut(..len)?;
            let row = row.split_off_mut(..len.min(row.len()))?;
            Some((first, run, NextOf { row, onward, edges: PhantomData }))
        })
    }

    /// The edges of `size` packets at a time.
    #[inline(always)]
    pub fn chunks(&mut self, size: usize) -> impl Iterator<Item = NextOf<'_, E, O>> {
        let onward = self.onward;
        self.row.chunks_mut(size).map(move |row| NextOf { row, onward, edges: PhantomData })
    }
}

/// A node as the runtime sees it: whole frames, edges as numbers.
pub trait Stage: Send {
    /// The node's name.
    fn name(&self) -> &'static str;
    /// Its edges.
    fn edges(&self) -> &'static [Edge];
    /// Whether packets come in here, beside the first node.
    fn is_entry(&self) -> bool {
        false
    }
    /// Reasons it chooses at run time.
    fn reasons(&self) -> &'static [&'static Reason];
    /// The node that it takes packets through by its first edge, if it does: see [`Joined`].
    fn joined(&self) -> Option<&'static str> {
        None
    }
    /// Runs it over a frame: `next` gets an edge for each packet that is left in `frame`. A stage that takes packets out of the frame
    /// counts them under their edge itself, from `first_edge` on.
    fn run(&mut self, context: &Context, frame: &mut Vec<Packet>, next: &mut [u8], first_edge: usize);
}

impl<N: Node> Stage for N {
    fn name(&self) -> &'static str {
        <N as Node>::NAME
    }

    fn edges(&self) -> &'static [Edge] {
        N::Next::EDGES
    }

    fn is_entry(&self) -> bool {
        N::ENTRY
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        N::REASONS
    }

    fn run(&mut self, context: &Context, frame: &mut Vec<Packet>, next: &mut [u8], _: usize) {
        self.frame(context, frame, &mut NextOf::over(next));
    }
}

/// Two nodes in one loop: packets that take the first edge of `A`, which leads to `B`, go through `B` at once, while what is known about
/// them is still in registers. To everybody else they are two nodes: each says what it does, and is counted, for itself. Their time is that
/// of `A`.
///
/// In the row of edges the number of an edge of `A` is its index, and that of an edge of `B` comes behind them; but 0 is that of the first
/// edge of `B`.
pub struct Joined<A, B>(pub A, pub B);

impl<A: Node, B: Node + Copy> Stage for Joined<A, B> {
    fn name(&self) -> &'static str {
        <A as Node>::NAME
    }

    fn edges(&self) -> &'static [Edge] {
        A::Next::EDGES
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        A::REASONS
    }

    fn joined(&self) -> Option<&'static str> {
        Some(<B as Node>::NAME)
    }

    fn run(&mut self, context: &Context, frame: &mut Vec<Packet>, next: &mut [u8], _: usize) {
        let through = Through { context, node: self.1 };
        self.0.frame(context, frame, &mut NextOf::by(next, through));
    }
}

/// Declares the edges of a node.
///
/// ```ignore
/// edges! {
///     /// Where `ip4-ttl` sends a packet.
///     pub enum Next {
///         Forward => to Ip4Rewrite,
///         Redirect => punt REDIRECT else Ip4Rewrite,
///         Expired => punt TTL_EXPIRED,
///         Claimed => chosen reason,
///         Short => drop "shorter than an IPv4 header",
///         Sent => verdict sent,
///     }
/// }
/// ```
#[macro_export]
macro_rules! edges {
    ($(#[$doc:meta])* $vis:vis enum $name:ident {
        $($(#[$why:meta])* $edge:ident => $kind:ident $what:tt $(else $other:ident)?),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        $vis enum $name {
            $($(#[$why])* #[doc = concat!("`", stringify!($kind $what $(else $other)?), "`")] $edge),+
        }

        impl $crate::node::Edges for $name {
            const EDGES: &'static [$crate::node::Edge] = &[
                $($crate::node::Edge {
                    name: stringify!($edge),
                    to: $crate::edges!(@ $kind $what $($other)?),
                }),+
            ];

            #[inline(always)]
            fn index(self) -> u8 {
                self as u8
            }
        }
    };
    (@ to $node:ident) => { $crate::node::To::Node(<$node as $crate::node::Named>::NAME) };
    (@ punt $reason:ident) => { $crate::node::To::Punt(&$reason) };
    (@ punt $reason:ident $node:ident) => {
        $crate::node::To::PuntElse(&$reason, <$node as $crate::node::Named>::NAME)
    };
    (@ chosen reason) => { $crate::node::To::Chosen };
    (@ drop $text:literal) => { $crate::node::To::Drop($text) };
    (@ verdict sent) => { $crate::node::To::Sent };
    (@ verdict handed) => { $crate::node::To::Handed };
}

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
    fn frame(&mut self, context: &Context, packets: &mut [Packet], next: &mut NextOf<Self::Next>) {
        for (packet, mut next) in next.each(packets) {
            next.is(self.packet(context, packet));
        }
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
pub struct NextOf<'a, E>(&'a mut [u8], PhantomData<E>);

impl<'a, E: Edges> NextOf<'a, E> {
    /// Over a row of edge indices.
    #[inline(always)]
    pub fn over(row: &'a mut [u8]) -> Self {
        row.fill(0);
        NextOf(row, PhantomData)
    }

    /// The packets of the frame, each with the place of its edge.
    #[inline(always)]
    pub fn each<'p>(
        &mut self,
        packets: &'p mut [Packet],
    ) -> impl Iterator<Item = (&'p mut Packet, Place<'_, E>)> {
        packets.iter_mut().zip(self.places())
    }

    /// The places of the edges.
    #[inline(always)]
    pub fn places(&mut self) -> impl Iterator<Item = Place<'_, E>> {
        self.0.iter_mut().map(|place| Place(place, PhantomData))
    }

    /// The edges of `size` packets at a time.
    #[inline(always)]
    pub fn chunks(&mut self, size: usize) -> impl Iterator<Item = NextOf<'_, E>> {
        self.0.chunks_mut(size).map(|chunk| NextOf(chunk, PhantomData))
    }
}

/// The place of one packet's edge.
pub struct Place<'a, E>(&'a mut u8, PhantomData<E>);

impl<E: Edges> Place<'_, E> {
    /// The packet takes this edge.
    #[inline(always)]
    pub fn is(&mut self, edge: E) {
        if edge.index() != 0 {
            *self.0 = edge.index();
        }
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

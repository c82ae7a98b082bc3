//! What a node is: a function from a packet to an edge.
//!
//! An edge is another node, a punt with a reason, a drop with a text, or the end of the
//! packet's way. The enum of a node's edges says all that can happen there; counters, statistics and the drawn graph come from it.

use dpdk_sys::at_hand::{hands, hold};
use punt::reason::Reason;

use crate::counters::Counters;
use crate::packet::Packet;
use crate::quiescent::Guard;
use crate::tables::Tables;
use crate::transit::Transit;

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

    /// Runs it over a frame, and over packets in transit. Those that take their way on, by the first edge, stay in `transit`; others go behind
    /// those in the frame, and `next` gets their edges.
    fn transit(
        &mut self,
        context: &Context,
        transit: &mut Transit,
        frame: &mut Vec<Packet>,
        next: &mut [u8],
        first_edge: usize,
    ) {
        frame.extend(transit.packets());
        hold(frame, |frame| self.run(context, frame, next, first_edge));
    }

    /// The same with packets just received, at which nobody has looked.
    fn receive(
        &mut self,
        context: &Context,
        transit: &mut Transit,
        frame: &mut Vec<Packet>,
        next: &mut [u8],
        first_edge: usize,
    ) {
        let interface = transit.interface;
        frame.extend(transit.mbufs.drain().map(|mbuf| Packet::received(mbuf, interface)));
        hold(frame, |frame| self.run(context, frame, next, first_edge));
    }
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
        hands(|hand| {
            for (packet, place) in frame.iter_mut().zip(next) {
                *place = hand.hold(packet, |packet| self.packet(context, packet)).index();
            }
        });
    }
}

/// Two nodes in one loop: packets that take the first edge of `A`, which leads to `B`, go through `B` at once, and ordinary ones go through
/// both by what `A` knows of both (see [`Leads`]). To everybody else they are two nodes: each says what it does, and is counted, for itself.
/// Their time is that of `A`.
///
/// In the row of edges the number of an edge of `A` is its index, and that of an edge of `B` comes behind them; but 0 is that of the first
/// edge of `B`.
pub struct Joined<A, B>(pub A, pub B);

/// A node that knows which packets neither itself nor `B`, which its first edge leads to, has anything to say about.
pub trait Leads<B: Node>: Node {
    /// Takes ordinary packets of a frame through both nodes, so that they leave `B` by its first edge; has `rest` take the others, by the
    /// edge they take here.
    fn lead(&mut self, context: &Context, packets: &mut [Packet], rest: &mut Rest<B>) {
        for (at, packet) in packets.iter_mut().enumerate() {
            let edge = hold(packet, |packet| self.packet(context, packet));
            rest.take(at, edge, packet);
        }
    }

    /// Takes packets in transit through both nodes; has `rest` put the others into the frame.
    fn lead_transit(
        &mut self,
        context: &Context,
        transit: &mut Transit,
        frame: &mut Vec<Packet>,
        rest: &mut Rest<B>,
    ) {
        for mut packet in transit.packets() {
            let edge = hold(&mut packet, |packet| self.packet(context, packet));
            rest.put(edge, packet, frame);
        }
    }

    /// Takes packets through both nodes that were just received.
    fn lead_received(
        &mut self,
        context: &Context,
        transit: &mut Transit,
        frame: &mut Vec<Packet>,
        rest: &mut Rest<B>,
    ) {
        let interface = transit.interface;
        for mbuf in transit.mbufs.drain() {
            let mut packet = Packet::received(mbuf, interface);
            let edge = hold(&mut packet, |packet| self.packet(context, packet));
            rest.put(edge, packet, frame);
        }
    }
}

/// What becomes of packets that are not ordinary for two joined nodes.
pub struct Rest<'a, B> {
    context: &'a Context<'a>,
    leader: &'static str,
    then: &'a mut B,
    row: &'a mut [u8],
}

impl<B: Node> Rest<'_, B> {
    /// Takes the packet at this place of the frame along an edge of the first node, through the second if it leads there.
    #[inline(always)]
    pub fn take<E: Edges>(&mut self, at: usize, edge: E, packet: &mut Packet) {
        let number = match edge.index() {
            0 => self.through(E::EDGES.len() as u8, packet),
            edge => edge,
        };
        if let Some(place) = self.row.get_mut(at) {
            *place = number;
        }
    }

    /// Takes a packet along an edge as [`take`](Rest::take) does, and puts it into the frame.
    #[inline(always)]
    pub fn put<E: Edges>(&mut self, edge: E, mut packet: Packet, frame: &mut Vec<Packet>) {
        self.take(frame.len(), edge, &mut packet);
        frame.push(packet);
    }

    /// Not inlined, that the way of ordinary packets is compiled for them alone.
    #[inline(never)]
    fn through(&mut self, edges: u8, packet: &mut Packet) -> u8 {
        crate::panic::entering(B::NAME);
        let edge = hold(packet, |packet| self.then.packet(self.context, packet)).index();
        crate::panic::entering(self.leader);
        match edge {
            0 => 0,
            edge => edges - 1 + edge,
        }
    }
}

impl<A: Leads<B>, B: Node> Stage for Joined<A, B> {
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
        next.fill(0);
        let leader = <A as Node>::NAME;
        self.0.lead(context, frame, &mut Rest { context, leader, then: &mut self.1, row: next });
    }

    fn transit(
        &mut self,
        context: &Context,
        transit: &mut Transit,
        frame: &mut Vec<Packet>,
        next: &mut [u8],
        first_edge: usize,
    ) {
        if !frame.is_empty() {
            self.run(context, frame, next, first_edge);
        }
        let leader = <A as Node>::NAME;
        let mut rest = Rest { context, leader, then: &mut self.1, row: next };
        self.0.lead_transit(context, transit, frame, &mut rest);
    }

    fn receive(
        &mut self,
        context: &Context,
        transit: &mut Transit,
        frame: &mut Vec<Packet>,
        next: &mut [u8],
        _: usize,
    ) {
        let leader = <A as Node>::NAME;
        let mut rest = Rest { context, leader, then: &mut self.1, row: next };
        self.0.lead_received(context, transit, frame, &mut rest);
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

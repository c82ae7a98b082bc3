//! `transmit`: to the driver, or to the worker that owns the port's only queue.

use dpdk_sys::{Burst, TxQueue};
use punt::reason::Reason;

use crate::counters::{Counters, PerInterface};
use crate::edges;
use crate::node::{Context, Edge, Edges, Named, Stage};
use crate::packet::{Meta, Packet};
use crate::tables::{Exit, NO_INTERFACE};
use crate::transit::Transit;

edges! {
    /// Where `transmit` sends a packet.
    pub enum Next {
        Sent => verdict sent,
        Handed => verdict handed,
        Full => drop "transmit queue is full",
        RingFull => drop "ring to the port's owner is full",
        NoPort => drop "egress port is not there",
    }
}

/// What takes packets from the front of a burst, as many as it has room for: a driver's queue, or whatever a test puts there.
pub trait Queue: Send + 'static {
    /// Returns how many it took; the rest stays in the burst, in order.
    fn send(&mut self, burst: &mut Burst) -> usize;
}

impl Queue for TxQueue {
    #[inline(always)]
    fn send(&mut self, burst: &mut Burst) -> usize {
        TxQueue::send(self, burst)
    }
}

/// How a worker reaches a port.
pub enum Egress<Q = TxQueue> {
    /// By a queue of its own.
    Queue(Q),
    /// Through the worker that owns the port's queue.
    Owner(rtrb::Producer<Packet>),
    /// Not at all.
    None,
}

/// Sends packets to the port that the rewrite chose.
pub struct Transmit<Q = TxQueue> {
    ports: Vec<Port<Q>>,
    /// The frame while it is being taken apart.
    taken: Vec<Packet>,
    /// The metadata of its packets: the driver takes a prefix of what is for its port, and the rest is dropped with its metadata.
    metas: Vec<Meta>,
}

struct Port<Q> {
    egress: Egress<Q>,
    /// What goes to its queue; holds nothing where there is none.
    burst: Burst,
    /// Where the last packet in the burst leaves, the packets before it that are counted, and the bytes of those that are not.
    exit: Exit,
    counted: usize,
    bytes: u64,
}

impl<Q: Queue> Transmit<Q> {
    /// With a way to each DPDK port, by its id, for frames of up to `burst` packets.
    ///
    /// # Panics
    /// If there are more than 64 ports.
    pub fn new(ways: Vec<Egress<Q>>, burst: usize) -> Transmit<Q> {
        assert!(ways.len() <= 64, "{} ports, and a worker serves 64", ways.len());
        let port = |egress| {
            let room = if matches!(egress, Egress::Queue(_)) { burst } else { 0 };
            Port {
                egress,
                burst: Burst::new(room as u16),
                exit: Exit::new(NO_INTERFACE, 0),
                counted: 0,
                bytes: 0,
            }
        };
        Transmit {
            ports: ways.into_iter().map(port).collect(),
            taken: Vec::with_capacity(burst),
            metas: Vec::with_capacity(burst),
        }
    }
}

impl<Q> Named for Transmit<Q> {
    const NAME: &'static str = "transmit";
}

impl<Q: Queue> Stage for Transmit<Q> {
    fn name(&self) -> &'static str {
        <Self as Named>::NAME
    }

    fn edges(&self) -> &'static [Edge] {
        Next::EDGES
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        &[]
    }

    fn run(&mut self, context: &Context, frame: &mut Vec<Packet>, next: &mut [u8], first_edge: usize) {
        std::mem::swap(frame, &mut self.taken);
        let mut left = Left { context, frame, next, first_edge };
        self.add_frame(&mut left);
        self.send(|_| std::iter::empty(), &mut left);
    }

    fn transit(
        &mut self,
        context: &Context,
        transit: &mut Transit,
        frame: &mut Vec<Packet>,
        next: &mut [u8],
        first_edge: usize,
    ) {
        std::mem::swap(frame, &mut self.taken);
        let mut left = Left { context, frame, next, first_edge };
        let packets = transit.mbufs.len();
        self.add_transit(transit, &mut left);
        if !self.taken.is_empty() {
            self.add_frame(&mut left);
        }
        self.send(|port| transit.gone_to(port, packets), &mut left);
    }
}

impl<Q: Queue> Transmit<Q> {
    /// Gives each port what leaves by it.
    #[inline(always)]
    fn add_transit(&mut self, transit: &mut Transit, left: &mut Left) {
        let Transit { interface, mbufs, words, .. } = transit;
        let (ports, counters) = (&mut *self.ports, left.context.counters);
        mbufs.take_all(words, |mbuf, word| {
            let exit = Exit::of(word);
            let mut port = ports.get_mut(exit.port() as usize);
            let refused = match &mut port {
                Some(port) => port.add(counters, exit, mbuf),
                None => Err(mbuf),
            };
            if let Err(mbuf) = refused {
                let mut meta = Transit::meta(*interface);
                meta.leaves_by(exit);
                elsewhere(port, Packet { mbuf, meta }, left);
            }
        });
    }

    /// The same with those of the frame.
    fn add_frame(&mut self, left: &mut Left) {
        self.metas.extend(self.taken.iter().map(|packet| packet.meta));
        let mut taken = self.taken.drain(..);
        while let Some(Packet { mbuf, meta }) = taken.next() {
            let mut port = self.ports.get_mut(meta.port as usize);
            let refused = match &mut port {
                Some(port) => port.add(left.context.counters, Exit::new(meta.egress, meta.port), mbuf),
                None => Err(mbuf),
            };
            if let Err(mbuf) = refused {
                let meta = self.metas[self.metas.len() - 1 - taken.len()];
                elsewhere(port, Packet { mbuf, meta }, left);
            }
        }
    }

    /// Sends what each port was given: first what was in transit, whose metadata `transit` knows.
    #[inline(always)]
    fn send<M: Iterator<Item = Meta>>(&mut self, transit: impl Fn(u16) -> M, left: &mut Left) {
        for (at, port) in self.ports.iter_mut().enumerate() {
            if !port.burst.is_empty() {
                port.count(left.context.counters);
                let of_frame = self.metas.iter().filter(|meta| meta.port as usize == at).copied();
                port.send(transit(at as u16).chain(of_frame), left);
            }
        }
        self.metas.clear();
    }
}

/// A packet to a port that has no queue here.
#[cold]
#[inline(never)]
fn elsewhere<Q>(port: Option<&mut Port<Q>>, packet: Packet, left: &mut Left) {
    match port.map(|port| &mut port.egress) {
        Some(Egress::Owner(ring)) => match ring.push(packet) {
            Ok(()) => left.count(Next::Handed, 1),
            Err(rtrb::PushError::Full(packet)) => left.drop(packet, Next::RingFull),
        },
        Some(Egress::Queue(_)) => left.drop(packet, Next::Full),
        Some(Egress::None) | None => left.drop(packet, Next::NoPort),
    }
}

impl<Q: Queue> Port<Q> {
    /// Adds a packet to the burst, or gives it back where there is no queue: the burst of one that there is has room for a whole frame.
    #[inline(always)]
    fn add(
        &mut self,
        counters: &Counters,
        exit: Exit,
        mbuf: dpdk_sys::Packet,
    ) -> Result<(), dpdk_sys::Packet> {
        if exit != self.exit {
            self.count(counters);
            self.exit = exit;
        }
        let len = mbuf.len();
        self.burst.push(mbuf)?;
        self.bytes += len as u64;
        Ok(())
    }

    /// Counts the last packets of the burst as transmitted.
    #[cold]
    fn count(&mut self, counters: &Counters) {
        let packets = self.burst.len() - self.counted;
        counters.add_interface(self.exit.interface(), PerInterface::TxPackets, packets as u64);
        counters.add_interface(self.exit.interface(), PerInterface::TxBytes, self.bytes);
        (self.counted, self.bytes) = (self.burst.len(), 0);
    }

    /// Sends the burst; what the driver does not take is dropped, as l3fwd does: waiting would stop the other ports. `metas` are those of
    /// the packets in it, in their order.
    #[inline(always)]
    fn send(&mut self, metas: impl Iterator<Item = Meta>, left: &mut Left) {
        let Egress::Queue(queue) = &mut self.egress else { return };
        let sent = queue.send(&mut self.burst);
        left.count(Next::Sent, sent as u64);
        if !self.burst.is_empty() {
            for (mbuf, meta) in self.burst.drain().zip(metas.skip(sent)) {
                left.drop_counted(mbuf, meta);
            }
        }
        self.counted = 0;
    }
}

/// The frame that is left for the runtime: packets that were not sent, each with its edge.
struct Left<'a> {
    context: &'a Context<'a>,
    frame: &'a mut Vec<Packet>,
    next: &'a mut [u8],
    first_edge: usize,
}

impl Left<'_> {
    #[cold]
    fn drop(&mut self, packet: Packet, edge: Next) {
        self.context.counters.add_interface(packet.meta.egress, PerInterface::TxDropped, 1);
        if let Some(next) = self.next.get_mut(self.frame.len()) {
            *next = edge.index();
        }
        self.frame.push(packet);
    }

    /// Drops a packet that is counted as transmitted already.
    #[cold]
    fn drop_counted(&mut self, mbuf: dpdk_sys::Packet, meta: Meta) {
        let counters = self.context.counters;
        counters.take_interface(meta.egress, PerInterface::TxPackets, 1);
        counters.take_interface(meta.egress, PerInterface::TxBytes, mbuf.len() as u64);
        self.drop(Packet { mbuf, meta }, Next::Full);
    }

    #[inline(always)]
    fn count(&mut self, edge: Next, packets: u64) {
        self.context.counters.add(self.first_edge + edge as usize, packets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::PerInterface::{TxBytes, TxDropped, TxPackets};
    use crate::testing::*;

    /// A packet of one byte, and of so many more, for a port.
    fn packet(number: u8, len: usize, port: u16) -> Packet {
        rewritten(dpdk_sys::Packet::from_bytes(&vec![number; len]), port)
    }

    fn rewritten(mbuf: dpdk_sys::Packet, port: u16) -> Packet {
        let mut packet = Packet::received(mbuf, LAN);
        (packet.meta.port, packet.meta.egress) = (port, WAN);
        packet
    }

    fn numbers(packets: &[Packet]) -> Vec<u8> {
        packets.iter().map(|packet| packet.bytes()[0]).collect()
    }

    fn free(packets: impl IntoIterator<Item = Packet>) {
        packets.into_iter().for_each(|packet| packet.mbuf.free());
    }

    #[test]
    fn a_port_that_is_not_there_takes_nothing() {
        let mut router = Router::new();
        let mut frame = vec![packet(0, 60, 0), packet(1, 60, 1), packet(2, 60, u16::MAX)];
        let row = router.stage(&mut Transmit::new(vec![Egress::<dpdk_sys::TxQueue>::None], 64), &mut frame);
        assert_eq!((numbers(&frame), row), (vec![0, 1, 2], vec![Next::NoPort as u8; 3]));
        assert_eq!(router.counters.read(router.counters.layout.interface(WAN, TxDropped)), 3);
        free(frame);
    }

    #[test]
    fn the_owner_of_a_port_gets_its_packets_in_order() {
        let mut router = Router::new();
        let (ring, mut owner) = rtrb::RingBuffer::new(4);
        let mut transmit = Transmit::new(vec![Egress::<dpdk_sys::TxQueue>::None, Egress::Owner(ring)], 64);
        let mut frame: Vec<_> = (0..7).map(|number| packet(number, 60, (number != 3) as u16)).collect();
        let row = router.stage(&mut transmit, &mut frame);
        let (no_port, full) = (Next::NoPort as u8, Next::RingFull as u8);
        assert_eq!((numbers(&frame), row), (vec![3, 5, 6], vec![no_port, full, full]));
        assert_eq!(router.taken("transmit", Next::Handed), 4, "the runtime counts the others");
        let handed: Vec<_> = std::iter::from_fn(|| owner.pop().ok()).collect();
        assert_eq!(numbers(&handed), [0, 1, 2, 4]);
        assert!(handed.iter().all(|packet| (packet.meta.port, packet.meta.egress) == (1, WAN)));
        free(frame);
        free(handed);
    }

    /// Two ports that have no queue, and one that takes one packet at a time.
    #[test]
    fn what_is_in_transit_is_sent_before_the_others_and_knows_itself_when_it_is_refused() {
        #[derive(Default)]
        struct One(Vec<u8>);
        impl Queue for One {
            fn send(&mut self, burst: &mut Burst) -> usize {
                let mut packets: Vec<_> = burst.drain().collect();
                let first = packets.remove(0);
                self.0.push(first.bytes()[0]);
                first.free();
                packets.into_iter().for_each(|packet| burst.push(packet).expect("it was there"));
                1
            }
        }
        let mut router = Router::new();
        let (ring, mut owner) = rtrb::RingBuffer::new(4);
        let ways = vec![Egress::None, Egress::Owner(ring), Egress::Queue(One::default())];
        let mut transmit = Transmit::new(ways, 64);
        let mut transit = Transit::new(64);
        transit.interface = LAN;
        for (number, port) in [2, 0, 2, 1, 7, 2].into_iter().enumerate() {
            let mbuf = dpdk_sys::Packet::from_bytes(&[number as u8; 60]);
            transit.mbufs.push(mbuf).expect("there is room");
            transit.words[number] = Exit::new([WAN, VLAN][number / 5], port).word();
        }
        let mut frame = vec![packet(10, 60, 2), packet(11, 60, 0)];
        let mut row = [u8::MAX; 64];
        let at = router.plan.node("transmit").expect("a node of the graph");
        let edges = router.plan.layout.node(at).edges.start;
        let guard = router.reader.enter();
        let context = Context { tables: &router.tables, guard: &guard, counters: &router.counters, now: 0 };
        transmit.transit(&context, &mut transit, &mut frame, &mut row, edges);
        assert!(transit.mbufs.is_empty());
        let (no_port, full) = (Next::NoPort as u8, Next::Full as u8);
        assert_eq!(
            (numbers(&frame), &row[..6]),
            (vec![1, 4, 11, 2, 5, 10], &[no_port, no_port, no_port, full, full, full][..])
        );
        for packet in &frame[..5] {
            let meta = packet.meta;
            let egress = if numbers(std::slice::from_ref(packet)) == [5] { VLAN } else { WAN };
            assert_eq!((meta.interface, meta.egress), (LAN, egress));
        }
        let refused = frame[3].meta;
        assert!(refused.flags.any(crate::packet::Flags::REWRITTEN));
        assert_eq!((refused.l3, refused.l4, refused.port), (14, 34, 2));
        let Egress::Queue(queue) = &transmit.ports[2].egress else { unreachable!("as it was made") };
        assert_eq!(queue.0, [0]);
        let handed = owner.pop().expect("one for the owner");
        assert_eq!((handed.bytes()[0], handed.meta.port, handed.meta.egress), (3, 1, WAN));
        let count = |interface, what| router.counters.read(router.counters.layout.interface(interface, what));
        assert_eq!([count(WAN, TxPackets), count(WAN, TxBytes), count(WAN, TxDropped)], [1, 60, 5]);
        assert_eq!([count(VLAN, TxPackets), count(VLAN, TxBytes), count(VLAN, TxDropped)], [0, 0, 1]);
        free(frame);
        free([handed]);
    }

    /// Two ports of rings, one of them nearly full: what its driver does not take is dropped behind what it took.
    #[test]
    fn a_driver_takes_what_it_has_room_for() {
        let words = "--no-huge -m 64 --no-pci --no-shconf --no-telemetry --iova-mode=va --lcores 0@(0-1) --file-prefix";
        let mut arguments: Vec<_> = words.split(' ').map(str::to_owned).collect();
        arguments.push(format!("transmit-{}", std::process::id()));
        let _eal = dpdk_sys::Eal::init(&arguments).expect("the EAL starts");
        let pool = dpdk_sys::Pool::new("packets", 511, 0, 2048, -1).expect("a pool");
        let mut ports = Vec::new();
        let mut out = Vec::new();
        let ways = [("narrow", 4), ("wide", 64)].map(|(name, size)| {
            let [rx, tx] = ["rx", "tx"]
                .map(|way| dpdk_sys::Ring::new(&format!("{name}-{way}"), size, -1).expect("a ring"));
            let mut port = dpdk_sys::ring_port(name, &[rx], std::slice::from_ref(&tx)).expect("a port");
            let config = dpdk_sys::PortConfig { rss: false, ..Default::default() };
            let (_, mut queues) = port.configure(&config, std::slice::from_ref(&pool)).expect("queues");
            port.start().expect("a running port");
            ports.push(port);
            out.push(tx);
            Egress::Queue(queues.remove(0))
        });
        let mut transmit = Transmit::new(ways.into(), 64);
        let mut router = Router::new();
        let mut frame: Vec<_> = (0..10)
            .map(|number| {
                let mbuf = pool.alloc_frame(&vec![number; 60 + number as usize]).expect("an mbuf");
                rewritten(mbuf, (number % 2) as u16)
            })
            .collect();
        let row = router.stage(&mut transmit, &mut frame);
        // A ring of 4 holds 3.
        assert_eq!((numbers(&frame), row), (vec![6, 8], vec![Next::Full as u8; 2]));
        assert_eq!(router.taken("transmit", Next::Sent), 8);
        let count = |what| router.counters.read(router.counters.layout.interface(WAN, what));
        assert_eq!((count(TxPackets), count(TxDropped)), (8, 2));
        assert_eq!(count(TxBytes), 8 * 60 + (2 + 4) + (1 + 3 + 5 + 7 + 9));
        free(frame);
        let sent = out.iter().map(|ring| {
            let mut burst = Burst::new(64);
            ring.dequeue(&mut burst);
            let bytes = burst.as_slice().iter().map(|packet| packet.bytes()[0]).collect::<Vec<_>>();
            burst.clear_freeing();
            bytes
        });
        assert_eq!(sent.collect::<Vec<_>>(), [vec![0, 2, 4], vec![1, 3, 5, 7, 9]]);
        assert_eq!(pool.in_use(), 0);
    }
}

//! The wire that packets go round: a ring of prebuilt mbufs. What a router sends is, while it is hot, made into a packet of the next flow and
//! put at the end of the ring; what it receives is taken from the front.

use std::sync::Arc;

use dpdk_sys::{Burst, Packet, Pool, Ring};
use engine::nodes::transmit::Queue;
use engine::wire::{Ip4, sum};

use crate::random::Random;
use crate::router::ROUTER_MAC;

const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
/// A frame of 64 bytes, less the FCS.
const FRAME: usize = 60;
/// The IPv4 header checksum of every packet: the identification makes up for what differs.
const CHECKSUM: [u8; 2] = [0x12, 0x34];

/// What the packets say, one after the other.
pub enum Flows {
    Ip4(Vec<Flow4>),
    Ip6(Vec<[u8; 16]>),
    /// Packets stay as they were sent: to look at them.
    AsSent,
}

/// What differs from one IPv4 packet to the next.
#[derive(Clone, Copy)]
pub struct Flow4 {
    destination: u32,
    identification: u16,
    ttl: u8,
}

impl Flows {
    /// `count` packets to some of these destinations; so many out of a hundred have a TTL of 1.
    pub fn ip4(destinations: &[u32], count: usize, percent_expired: u32) -> Flows {
        let mut random = Random::new(3);
        let mut flow = |index: usize| {
            let ttl = if random.next32() % 100 < percent_expired { 1 } else { 64 };
            Flow4::new(destinations[index % destinations.len()], ttl)
        };
        let mut flows: Vec<_> = (0..count).map(&mut flow).collect();
        random.shuffle(&mut flows);
        Flows::Ip4(flows)
    }

    /// `count` packets to some of these destinations.
    pub fn ip6(destinations: &[[u8; 16]], count: usize) -> Flows {
        let host = |index: usize| {
            let mut address = destinations[index % destinations.len()];
            address[12..].copy_from_slice(&(index as u32).to_be_bytes());
            address
        };
        let mut flows: Vec<_> = (0..count).map(host).collect();
        Random::new(4).shuffle(&mut flows);
        Flows::Ip6(flows)
    }

    fn len(&self) -> usize {
        match self {
            Flows::Ip4(flows) => flows.len(),
            Flows::Ip6(flows) => flows.len(),
            Flows::AsSent => 1,
        }
    }
}

impl Flow4 {
    fn new(destination: u32, ttl: u8) -> Flow4 {
        let mut flow = Flow4 { destination, identification: 0, ttl };
        flow.identification = !sum(&flow.headers()[14..]);
        flow
    }

    fn headers(&self) -> [u8; 34] {
        let mut headers = TEMPLATE4;
        self.write(&mut headers);
        headers
    }

    #[inline(always)]
    fn write(&self, frame: &mut [u8; 34]) {
        *frame = TEMPLATE4;
        frame[18..20].copy_from_slice(&self.identification.to_ne_bytes());
        frame[22] = self.ttl;
        frame[30..34].copy_from_slice(&self.destination.to_be_bytes());
    }
}

/// Ethernet and IPv4: UDP from 192.168.0.2.
const TEMPLATE4: [u8; 34] = {
    let [a, b, c, d, e, f] = ROUTER_MAC;
    let [g, h, i, j, k, l] = HOST_MAC;
    let total = (FRAME - 14) as u8;
    let [m, n] = CHECKSUM;
    [
        a, b, c, d, e, f, g, h, i, j, k, l, 8, 0, // Ethernet
        0x45, 0, 0, total, 0, 0, 0, 0, 64, 17, m, n, 192, 168, 0, 2, 0, 0, 0, 0,
    ]
};

/// Ethernet and IPv6 up to the destination: UDP from 2001:db8:ffff::2, hop limit 64.
const TEMPLATE6: [u8; 38] = {
    let [a, b, c, d, e, f] = ROUTER_MAC;
    let [g, h, i, j, k, l] = HOST_MAC;
    let payload = (FRAME - 54) as u8;
    [
        a, b, c, d, e, f, g, h, i, j, k, l, 0x86, 0xdd, // Ethernet
        0x60, 0, 0, 0, 0, payload, 17, 64, // to the hop limit
        0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
    ]
};

/// One end of the wire: what is sent on any of them is received on any of them.
pub struct Wire {
    ring: Ring,
    pool: Pool,
    flows: Arc<Flows>,
    /// The flow of the next packet.
    next: usize,
    /// Packets that go round.
    packets: usize,
    scratch: Burst,
}

impl Wire {
    /// Puts `packets` packets of these flows on the ring, in any order.
    ///
    /// # Panics
    /// If the pool or the ring is too small.
    pub fn new(ring: Ring, pool: &Pool, flows: Arc<Flows>, packets: usize) -> Wire {
        let mut mbufs: Vec<_> = (0..packets).map(|_| blank(pool).expect("the pool has enough")).collect();
        Random::new(5).shuffle(&mut mbufs);
        let mut wire = Wire { ring, pool: pool.clone(), flows, next: 0, packets, scratch: Burst::new(64) };
        for mbuf in mbufs {
            wire.put(mbuf);
        }
        assert_eq!(wire.ring.len(), packets);
        wire
    }

    /// Another end of it.
    pub fn end(&self) -> Wire {
        Wire {
            ring: self.ring.clone(),
            pool: self.pool.clone(),
            flows: self.flows.clone(),
            next: self.flows.len() / 2,
            packets: self.packets,
            scratch: Burst::new(64),
        }
    }

    /// The next packets.
    #[inline(always)]
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        self.ring.dequeue(burst)
    }

    /// Puts fresh packets in the place of those that were freed.
    #[inline(never)]
    pub fn refill(&mut self) {
        for _ in self.ring.len()..self.packets {
            let Some(mbuf) = blank(&self.pool) else { return };
            self.put(mbuf);
        }
    }

    /// Puts one packet on the wire.
    ///
    /// # Panics
    /// If the ring is full.
    pub fn put(&mut self, mbuf: Packet) {
        let mut burst = std::mem::replace(&mut self.scratch, Burst::new(0));
        let pushed = burst.push(mbuf);
        self.send(&mut burst);
        assert!(pushed.is_ok() && burst.is_empty(), "the ring is full");
        self.scratch = burst;
    }

    /// Takes all packets off the wire and frees them.
    pub fn clear(&mut self) {
        while self.ring.dequeue(&mut self.scratch) > 0 {
            self.scratch.clear_freeing();
        }
    }

    /// Makes each packet one of the next flow.
    #[inline(always)]
    fn address(&mut self, burst: &mut Burst) {
        match &*self.flows {
            Flows::Ip4(flows) => {
                for packet in burst.as_mut_slice() {
                    let flow = following(flows, &mut self.next);
                    if let Some(frame) = packet.bytes_mut().first_chunk_mut() {
                        flow.write(frame);
                    }
                }
            }
            Flows::Ip6(flows) => {
                for packet in burst.as_mut_slice() {
                    let flow = following(flows, &mut self.next);
                    if let Some(frame) = packet.bytes_mut().first_chunk_mut::<54>() {
                        frame[..38].copy_from_slice(&TEMPLATE6);
                        frame[38..].copy_from_slice(flow);
                    }
                }
            }
            Flows::AsSent => {}
        }
    }
}

/// The flow at `next`, and on to the one behind it or the first.
#[inline(always)]
fn following<'a, T>(flows: &'a [T], next: &mut usize) -> &'a T {
    let flow = &flows[*next];
    *next = if *next + 1 == flows.len() { 0 } else { *next + 1 };
    flow
}

impl Queue for Wire {
    #[inline(never)]
    fn send(&mut self, burst: &mut Burst) -> usize {
        self.address(burst);
        self.ring.enqueue(burst)
    }
}

/// A frame of 64 bytes, FCS included, that says nothing yet.
fn blank(pool: &Pool) -> Option<Packet> {
    pool.alloc_frame(&[0; FRAME])
}

/// Has it a TTL of 1? For IPv4 packets only.
#[inline(always)]
pub fn is_expired(packet: &Packet) -> bool {
    packet.bytes().get(14..).and_then(|l3| l3.first_chunk()).is_some_and(|header| Ip4(header).ttl() == 1)
}

/// 64 packets: most to be forwarded, the others with something wrong or unusual.
pub fn mixed(pool: &Pool, destinations: &[u32], seed: u64) -> Vec<Packet> {
    const GROUP: u32 = 0xe000_0005;
    const LOOPBACK: u32 = 0x7f00_0001;
    const NOWHERE: u32 = 0x0100_0001;
    let mut random = Random::new(seed);
    let packet = |_| {
        let kind = random.next32() % 32;
        let (destination, ttl) = match kind {
            0 => (destinations[0], 1),
            1 => (GROUP, 1),
            2 => (LOOPBACK, 2),
            3 => (NOWHERE, 2),
            _ => (destinations[random.next64() as usize % destinations.len()], 2 + kind as u8),
        };
        let mut frame = [0; FRAME];
        frame[..34].copy_from_slice(&Flow4::new(destination, ttl).headers());
        match kind {
            4 => frame[24] ^= 1,                                         // checksum
            5 => frame[14] = 0x46,                                       // options
            6 => frame[14] = 0x65,                                       // version
            7 => frame[16] = 1,                                          // longer than the frame
            8 => frame[5] ^= 4,                                          // to somebody else
            9 => frame[6] |= 1,                                          // from a group
            10 => frame[..6].fill(0xff),                                 // to everybody
            11 => frame[12..14].copy_from_slice(&[0x08, 0x06]),          // ARP
            12 => frame[12..18].copy_from_slice(&[0x81, 0, 0, 0, 8, 0]), // priority tag
            _ => {}
        }
        let len = if kind == 13 { 20 } else { FRAME };
        pool.alloc_frame(&frame[..len]).expect("the pool has enough")
    };
    (0..64).map(packet).collect()
}

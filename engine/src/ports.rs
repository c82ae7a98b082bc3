//! Ports at start: what each is set up with, and who polls which queue.

use dpdk_sys::{Info, Pool, Port, PortConfig, Result, RxQueue, TxQueue};

use crate::nodes::transmit::Egress;
use crate::packet::Packet;
use crate::run::Input;

/// Packets that may wait in a ring between two workers, at most: enough for an owner that the kernel has put to sleep for some milliseconds.
const MAX_RING: usize = 16 << 10;
/// So many bursts a ring holds at least: one that is yet to be taken, and the next.
const BURSTS: usize = 2;
/// All rings together may hold this part of the packets there are: one owner that is slow must not keep others from receiving.
const PART: usize = 8;

/// A port that is set up, and not started.
pub struct Ready {
    /// The port.
    pub port: Port,
    /// What its driver says of it.
    pub info: Info,
    /// The index of its own interface.
    pub interface: u32,
    rx: Vec<RxQueue>,
    tx: Vec<TxQueue>,
}

impl Ready {
    /// Sets a port up for so many workers. Its own interface has the index `interface` and takes L3 packets of up to `mtu` bytes. Which
    /// addresses it receives for is the control plane's business.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(mut port: Port, interface: u32, mtu: u16, workers: usize, pool: &Pool) -> Result<Ready> {
        let info = port.info()?;
        let config = PortConfig {
            rx_queues: receive_queues(&info, workers),
            tx_queues: info.max_tx_queues.min(workers as u16).max(1),
            mtu,
            allmulticast: true,
            ..PortConfig::default()
        };
        let pools = vec![pool.clone(); config.rx_queues as usize];
        let (rx, tx) = port.configure(&config, &pools)?;
        Ok(Ready { port, info, interface, rx, tx })
    }
}

/// A queue for each worker where the device spreads flows as it is told. One that does not (a file, a ring, a socket for each queue) has as
/// many as it was made with, and all are polled, or what is in the others would be lost.
fn receive_queues(info: &Info, workers: usize) -> u16 {
    if info.rss != 0 || !info.is_virtual {
        info.max_rx_queues.min(workers as u16).max(1)
    } else {
        info.max_rx_queues.max(1)
    }
}

/// What one worker gets of the ports.
#[derive(Default)]
pub struct Share {
    /// Queues it polls.
    pub inputs: Vec<Input>,
    /// How it reaches each port, by DPDK's number.
    pub ways: Vec<Egress>,
    /// What others hand it for the ports that it sends on for them.
    pub handed: Vec<rtrb::Consumer<Packet>>,
    /// Whether hardware waits for it: it polls a NIC's queue, or sends on to a NIC what others hand it.
    pub serves_hardware: bool,
}

/// Who got what.
pub struct Spread {
    /// Each worker's share.
    pub shares: Vec<Share>,
    /// The ports, each with the index of its own interface.
    pub ports: Vec<(Port, u32)>,
    /// Packets that all rings between workers hold together.
    pub ring_capacity: usize,
}

/// Packets that each of so many rings holds where there are so many buffers, and a worker takes `burst` at once.
fn ring_size(rings: usize, packets: usize, burst: usize) -> usize {
    (packets / PART / rings.max(1)).clamp(BURSTS * burst.max(64), MAX_RING)
}

/// Spreads the ports' queues over `workers`. A port with fewer transmit queues than workers has as many owners; the other workers hand
/// their packets to one of them. There are `packets` buffers, and a worker takes up to `burst` packets at once.
pub fn spread(ports: Vec<Ready>, workers: usize, packets: usize, burst: usize) -> Spread {
    let rings: usize = ports.iter().map(|ready| workers.saturating_sub(ready.tx.len())).sum();
    let ring = ring_size(rings, packets, burst);
    let mut shares: Vec<Share> = (0..workers).map(|_| Share::default()).collect();
    let mut rest = Vec::new();
    for (at, ready) in ports.into_iter().enumerate() {
        let id = ready.port.id() as usize;
        for share in &mut shares {
            share.ways.resize_with(share.ways.len().max(id + 1), || Egress::None);
        }
        for (queue, rx) in ready.rx.into_iter().enumerate() {
            let input = Input { queue: rx, port: ready.port.name().to_owned(), interface: ready.interface };
            let share = &mut shares[(at + queue) % workers];
            share.inputs.push(input);
            share.serves_hardware |= !ready.info.is_virtual;
        }
        let mut owners = Vec::new();
        for (queue, tx) in ready.tx.into_iter().enumerate().take(workers) {
            let owner = (at + queue) % workers;
            shares[owner].ways[id] = Egress::Queue(tx);
            owners.push(owner);
        }
        let others = (0..workers).filter(|worker| !owners.contains(worker)).collect::<Vec<_>>();
        for (turn, other) in others.into_iter().enumerate() {
            let (producer, consumer) = rtrb::RingBuffer::new(ring);
            shares[other].ways[id] = Egress::Owner(producer);
            let owner = &mut shares[owners[turn % owners.len()]];
            owner.handed.push(consumer);
            owner.serves_hardware |= !ready.info.is_virtual;
        }
        rest.push((ready.port, ready.interface));
    }
    Spread { shares, ports: rest, ring_capacity: rings * ring }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_take_an_eighth_of_the_packets_and_no_less_than_two_bursts_each() {
        for (rings, packets, burst, each) in [
            (1, 32_768, 64, 4_096),
            (2, 32_768, 64, 2_048),
            (2, 8_192, 256, 512),
            (14, 8_192, 64, 128),
            (14, 8_192, 1, 128),
            (14, 8_192, 256, 512),
            (1, 1 << 20, 64, 16_384),
            (0, 8_192, 64, 1_024),
        ] {
            assert_eq!(ring_size(rings, packets, burst), each, "{rings} rings, {packets} packets");
        }
    }
}

//! Queues: the ends of a port that an lcore has for itself.

use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{AcqRel, Acquire, Release},
};

use crate::{Burst, eal::Held, ffi};

/// Most ports that DPDK has.
pub(crate) const PORTS: usize = ffi::DP_PORTS_MAX as usize;

/// Queues of each port that somebody has.
static QUEUES: [AtomicUsize; PORTS] = [const { AtomicUsize::new(0) }; PORTS];
/// Whether a port's queues may be used.
static STARTED: [AtomicBool; PORTS] = [const { AtomicBool::new(false) }; PORTS];

/// Queues of a port that somebody has. None while the port's lock is held stays none, since they are made under it.
pub(crate) fn queues_of(port: u16) -> usize {
    QUEUES[usize::from(port)].load(Acquire)
}

pub(crate) fn started(port: u16) -> bool {
    STARTED[usize::from(port)].load(Acquire)
}

pub(crate) fn set_started(port: u16, started: bool) {
    STARTED[usize::from(port)].store(started, Release);
}

/// One end of a port: who has it may use it, and nobody else.
#[derive(Debug)]
struct Queue {
    port: u16,
    queue: u16,
    started: &'static AtomicBool,
    _held: Held,
}

impl Queue {
    fn new(port: u16, queue: u16, held: Held) -> Queue {
        QUEUES[usize::from(port)].fetch_add(1, AcqRel);
        Queue { port, queue, started: &STARTED[usize::from(port)], _held: held }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        QUEUES[usize::from(self.port)].fetch_sub(1, AcqRel);
    }
}

/// A receive queue.
#[derive(Debug)]
pub struct RxQueue(Queue);

impl RxQueue {
    /// The caller holds the lock of the port, has set this queue up, and makes it once.
    pub(crate) fn new(port: u16, queue: u16, held: Held) -> RxQueue {
        RxQueue(Queue::new(port, queue, held))
    }

    /// Appends what was received to the burst, as far as it has room; returns how many. Some drivers want room for eight
    /// packets to give any. 0 before the port has started.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        let Queue { port, queue, .. } = self.0;
        if !self.0.started.load(Acquire) {
            return 0;
        }
        // SAFETY: a queue of a started port, and this is its only owner; the driver hands over what it says.
        unsafe { burst.fill(|packets, room| ffi::dp_rx_burst(port, queue, packets, room).into()) }
    }

    /// Number of its port.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Its number in the port.
    pub fn queue(&self) -> u16 {
        self.0.queue
    }
}

/// A transmit queue.
#[derive(Debug)]
pub struct TxQueue(Queue);

impl TxQueue {
    /// The caller holds the lock of the port, has set this queue up, and makes it once.
    pub(crate) fn new(port: u16, queue: u16, held: Held) -> TxQueue {
        TxQueue(Queue::new(port, queue, held))
    }

    /// Transmits from the front of the burst, as many as the device takes; returns how many. The rest stays in the burst,
    /// in order. 0 before the port has started.
    ///
    /// # Panics
    /// If there is a heap packet in the burst.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        let Queue { port, queue, .. } = self.0;
        if burst.is_empty() || !self.0.started.load(Acquire) {
            return 0;
        }
        // SAFETY: a queue of a started port, and this is its only owner; the driver owns what it says it took.
        unsafe { burst.take(|packets, count| ffi::dp_tx_burst(port, queue, packets, count).into()) }
    }

    /// Number of its port.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Its number in the port.
    pub fn queue(&self) -> u16 {
        self.0.queue
    }
}

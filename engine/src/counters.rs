//! One worker's counters: a flat row of words that only this worker writes and anybody may read at any time.
//!
//! The control thread can also ask for a snapshot, which the worker takes between two loops: in it the books balance to the packet even
//! while traffic flows.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use punt::dispatch::{FATES, Fate};

/// Where in the row each kind of counter begins; the same for all workers.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    nodes: Vec<NodeCounters>,
    interfaces: usize,
    len: usize,
}

/// Where a node's counters stand.
#[derive(Clone, Debug)]
pub struct NodeCounters {
    /// Times the node ran.
    pub calls: usize,
    /// Packets it was given.
    pub packets: usize,
    /// TSC cycles of the calls that were timed.
    pub cycles: usize,
    /// Packets of the calls that were timed.
    pub timed: usize,
    /// Packets that took each of its edges, in the order of the edges.
    pub edges: Range<usize>,
    /// Of those, in the same order, how many an edge of the form `punt R else N` did not let go on.
    pub trapped: Range<usize>,
}

/// What a worker counts beside its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Total {
    /// Packets received from its queues.
    Received,
    /// Packets injected by the control plane.
    Injected,
    /// Packets that other workers handed over for a port that this one owns.
    TakenOver,
    /// Loops.
    Loops,
    /// Loops in which there was nothing to do.
    Idle,
    /// Cycles of the loops in which there was something to do.
    BusyCycles,
    /// Receive bursts that brought something.
    Bursts,
}

/// Packets that left the graph for a reason, by their [`Fate`]; the reason's own books are with the reason.
pub const FIRST_FATE: usize = 7;
const TOTALS: usize = FIRST_FATE + FATES;

/// What is counted for each L3 interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum PerInterface {
    /// Packets received on it.
    RxPackets,
    /// Bytes of those, from the Ethernet header on, without FCS.
    RxBytes,
    /// Packets transmitted on it.
    TxPackets,
    /// Bytes of those.
    TxBytes,
    /// Packets that were to be transmitted on it and were dropped.
    TxDropped,
}

const PER_INTERFACE: usize = 5;

impl Layout {
    /// Room for nodes with so many edges each and so many interfaces (indices from 1).
    pub fn new(edges: impl IntoIterator<Item = usize>, interfaces: usize) -> Layout {
        let mut len = TOTALS;
        let mut take = |count: usize| {
            len += count;
            len - count
        };
        let nodes = edges
            .into_iter()
            .map(|edges| {
                let calls = take(4 + 2 * edges);
                NodeCounters {
                    calls,
                    packets: calls + 1,
                    cycles: calls + 2,
                    timed: calls + 3,
                    edges: calls + 4..calls + 4 + edges,
                    trapped: calls + 4 + edges..calls + 4 + 2 * edges,
                }
            })
            .collect();
        let interfaces = take((interfaces + 1) * PER_INTERFACE);
        Layout { nodes, interfaces, len }
    }

    /// The counters of the node at `index`.
    pub fn node(&self, index: usize) -> &NodeCounters {
        &self.nodes[index]
    }

    /// Where a total stands.
    #[inline(always)]
    pub fn total(total: Total) -> usize {
        total as usize
    }

    /// Where a counter of the interface `index` stands.
    #[inline(always)]
    pub fn interface(&self, index: u32, what: PerInterface) -> usize {
        self.interfaces + index as usize * PER_INTERFACE + what as usize
    }
}

/// One worker's row.
pub struct Counters {
    /// Where everything stands in it.
    pub layout: Arc<Layout>,
    row: Box<[AtomicU64]>,
    snapshot: Box<[AtomicU64]>,
    wanted: AtomicU64,
    taken: AtomicU64,
}

impl Counters {
    /// A row of zeros.
    pub fn new(layout: Arc<Layout>) -> Counters {
        let zeros = || (0..layout.len).map(|_| AtomicU64::new(0)).collect();
        Counters {
            row: zeros(),
            snapshot: zeros(),
            wanted: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            layout,
        }
    }

    /// Adds to a counter. Only the worker that owns the row calls this: a load and a store, no locked instruction.
    #[inline(always)]
    pub fn add(&self, index: usize, n: u64) {
        if let Some(counter) = self.row.get(index) {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        }
    }

    /// Adds to a total.
    #[inline(always)]
    pub fn add_total(&self, total: Total, n: u64) {
        self.add(total as usize, n);
    }

    /// Adds to a counter of an interface.
    #[inline(always)]
    pub fn add_interface(&self, index: u32, what: PerInterface, n: u64) {
        self.add(self.layout.interface(index, what), n);
    }

    /// Takes back what was added to a counter of an interface.
    pub fn take_interface(&self, index: u32, what: PerInterface, n: u64) {
        self.add(self.layout.interface(index, what), n.wrapping_neg());
    }

    /// Counts packets that left the graph for a reason, by what became of them.
    #[inline(always)]
    pub fn add_fates(&self, fate: Fate, packets: u64) {
        self.add(FIRST_FATE + fate as usize, packets);
    }

    /// A counter as it is now.
    pub fn read(&self, index: usize) -> u64 {
        self.row.get(index).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// For the worker, between two loops: takes the snapshot that somebody waits for, if any.
    #[inline(always)]
    pub fn snapshot_if_wanted(&self) {
        let wanted = self.wanted.load(Ordering::Acquire);
        if wanted != self.taken.load(Ordering::Relaxed) {
            self.take_snapshot(wanted);
        }
    }

    #[cold]
    fn take_snapshot(&self, wanted: u64) {
        for (copy, counter) in self.snapshot.iter().zip(&self.row) {
            copy.store(counter.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.taken.store(wanted, Ordering::Release);
    }

    /// Asks for a snapshot; [`snapshot`](Counters::snapshot) waits for it.
    pub fn want_snapshot(&self) -> u64 {
        self.wanted.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The snapshot numbered `wanted`; none where the worker does not take it until `deadline`.
    pub fn snapshot(&self, wanted: u64, deadline: Instant) -> Option<Vec<u64>> {
        while self.taken.load(Ordering::Acquire) < wanted {
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        Some(self.snapshot.iter().map(|counter| counter.load(Ordering::Relaxed)).collect())
    }

    /// All counters as they are now, one after the other: while the worker runs they do not balance.
    pub fn live(&self) -> Vec<u64> {
        self.row.iter().map(|counter| counter.load(Ordering::Relaxed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_counters_share_a_word() {
        let layout = Layout::new([3, 1], 2);
        let mut all: Vec<usize> = (0..TOTALS).collect();
        for node in 0..2 {
            let node = layout.node(node);
            all.extend([node.calls, node.packets, node.cycles, node.timed]);
            all.extend(node.edges.clone());
            all.extend(node.trapped.clone());
        }
        for id in 0..=2 {
            all.extend((0..PER_INTERFACE).map(|what| layout.interface(id, PerInterface::RxPackets) + what));
        }
        all.sort();
        assert_eq!(all, (0..layout.len).collect::<Vec<_>>());
    }

    #[test]
    fn a_snapshot_is_the_row_at_one_moment() {
        let counters = Counters::new(Arc::new(Layout::new([1], 1)));
        counters.add_total(Total::Received, 5);
        let wanted = counters.want_snapshot();
        counters.snapshot_if_wanted();
        counters.add_total(Total::Received, 1);
        let snapshot = counters.snapshot(wanted, Instant::now()).expect("it is taken");
        assert_eq!(snapshot[Total::Received as usize], 5);
        assert_eq!(counters.live()[Total::Received as usize], 6);
        assert_eq!(counters.snapshot(counters.want_snapshot(), Instant::now()), None, "no worker takes it");
    }
}

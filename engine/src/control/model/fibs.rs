//! The two FIBs: how a set of routes gets into them while workers look up.
//!
//! A lookup during a change finds for its address what was right before or what is right after it, or `HOP_TORN`, upon which it looks
//! again. Three things make it so:
//!
//! * Routes that come or change are written from the longest prefix to the shortest, then those that go are deleted from the shortest to
//!   the longest. So no address is ever led by a route that is neither its route before nor its route after.
//! * Behind the first 24 bits the FIB keeps *groups* of 256 entries, of which DPDK gives one that became uniform back and takes it again
//!   at once, while a reader may still look into it. So between a change that may have freed a group and the next that may take one lies
//!   a grace period. A change of a prefix up to /24 touches groups only if there are longer ones inside it.
//! * An IPv6 change builds groups on its way and gives them back at its end, so every one that touches groups may have freed one, and
//!   may take one. An IPv4 change frees a group only by making it uniform, and takes one only where there was none, for all 256
//!   addresses had one hop: looking them all up tells. So loading and unloading IPv4 routes hardly ever waits.
//!
//! What cannot be kept apart from here is one change that frees a group and takes it again itself: of a prefix that holds longer ones, some
//! with its old hop and some with its new. A reader that stood still between its two loads for as long as that call takes could then
//! find the other of the two.
//!
//! DPDK's own count of groups goes wrong ([`FibWriter::forget_reserved`](dpdk_sys::FibWriter::forget_reserved)), so they are counted
//! here: one for each /24 that has longer prefixes in it, and for IPv6 one for each further octet of their paths.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dpdk_sys::{Fib4, Fib4Writer, Fib6Writer};
use ipnet::IpNet;
use punt::Prefix;

use super::rib::family;
use crate::config::{Sizes, too_small};
use crate::quiescent::Domain;

/// One prefix whose route changes: the hops, or none where there is no route.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub prefix: Prefix,
    pub before: Option<u32>,
    pub after: Option<u32>,
}

/// Both FIBs.
pub struct Fibs {
    fib4: Fib4Writer,
    fib6: Fib6Writer,
    reader4: Fib4,
    domain: Arc<Domain>,
    sizes: Sizes,
    /// Prefixes in each.
    routes: [usize; 2],
    groups: Groups,
    /// Whether a group may have been freed since the last grace period.
    freed: bool,
}

impl Fibs {
    pub fn new(mut fib4: Fib4Writer, mut fib6: Fib6Writer, domain: Arc<Domain>, sizes: Sizes) -> Fibs {
        if !(fib4.forget_reserved() && fib6.forget_reserved()) {
            log::warn!(
                "this DPDK's FIBs are not laid out as known: who adds and deletes routes for long may find them full before they are"
            );
        }
        let reader4 = fib4.reader();
        Fibs { fib4, fib6, reader4, domain, sizes, routes: [0; 2], groups: Groups::default(), freed: false }
    }

    /// Makes all the changes, or none.
    ///
    /// # Errors
    /// When they do not fit, with the size that would do.
    pub fn change(&mut self, mut changes: Vec<Change>) -> Result<(), String> {
        let gone = |change: &Change| change.after.is_none();
        let length = |change: &Change| change.prefix.length();
        changes.sort_unstable_by_key(|change| match gone(change) {
            false => (false, Reverse(length(change)), 0, change.prefix),
            true => (true, Reverse(0), length(change), change.prefix),
        });
        self.make_room(&changes)?;
        for (index, change) in changes.iter().enumerate() {
            if let Err(error) = self.write(change.prefix, change.after) {
                self.undo(&changes[..index]);
                self.give_back(&changes, |change| change.before);
                return Err(self.explain(change.prefix, &error));
            }
        }
        self.give_back(&changes, |change| change.after);
        Ok(())
    }

    /// Whether all the changes would fit; nothing changes.
    ///
    /// # Errors
    /// With the size that would do.
    pub fn fits(&mut self, changes: &[Change]) -> Result<(), String> {
        self.make_room(changes)?;
        self.give_back(changes, |change| change.before);
        Ok(())
    }

    /// Counts what comes, beside what goes and is still there.
    fn make_room(&mut self, changes: &[Change]) -> Result<(), String> {
        for change in changes.iter().filter(|change| change.before.is_none()) {
            self.routes[family(change.prefix)] += 1;
            self.groups.insert(change.prefix);
        }
        let room = [self.sizes.fib4().routes as usize, self.sizes.fib6().routes as usize];
        let (routes, groups) = (self.routes, self.groups.used);
        let sizes = [self.sizes.routes4, self.sizes.routes6].map(|size| size as usize);
        let group_sizes = [self.sizes.groups4(), self.sizes.groups6()].map(|size| size as usize);
        for (family, (table, group_table)) in
            [("routes4", "groups4"), ("routes6", "groups6")].into_iter().enumerate()
        {
            let fault = if routes[family] > room[family] {
                too_small(table, sizes[family], routes[family] - room[family] + sizes[family])
            } else if groups[family] > group_sizes[family] {
                too_small(group_table, group_sizes[family], groups[family])
            } else {
                continue;
            };
            self.give_back(changes, |change| change.before);
            return Err(fault);
        }
        Ok(())
    }

    /// Takes out of the counts what is not there now.
    fn give_back(&mut self, changes: &[Change], now: impl Fn(&Change) -> Option<u32>) {
        for change in changes.iter().filter(|change| now(change).is_none()) {
            self.routes[family(change.prefix)] -= 1;
            self.groups.remove(change.prefix);
        }
    }

    /// Takes changes back, the last first.
    fn undo(&mut self, done: &[Change]) {
        for change in done.iter().rev() {
            if let Err(error) = self.write(change.prefix, change.before) {
                log::error!("{} cannot be put back as it was: {error}", change.prefix);
            }
        }
    }

    fn write(&mut self, prefix: Prefix, hop: Option<u32>) -> dpdk_sys::Result<()> {
        let length = prefix.length();
        if length <= FIRST_LEVEL && !self.groups.any_within(prefix) {
            return self.write_prefix(prefix, hop);
        }
        if self.freed && self.any_uniform(prefix) {
            self.domain.synchronize();
            self.freed = false;
        }
        self.fib4.forget_reserved();
        self.fib6.forget_reserved();
        let done = self.write_prefix(prefix, hop);
        self.freed |= self.any_uniform(prefix);
        done
    }

    fn write_prefix(&mut self, prefix: Prefix, hop: Option<u32>) -> dpdk_sys::Result<()> {
        let length = prefix.length();
        match (prefix.address(), hop) {
            (IpAddr::V4(address), Some(hop)) => self.fib4.add(address.to_bits(), length, hop),
            (IpAddr::V4(address), None) => self.fib4.delete(address.to_bits(), length),
            (IpAddr::V6(address), Some(hop)) => self.fib6.add(address.octets(), length, hop),
            (IpAddr::V6(address), None) => self.fib6.delete(address.octets(), length),
        }
    }

    /// Whether there may be a group in the way of `prefix`, or within it, that is not there because all its addresses have one hop.
    fn any_uniform(&self, prefix: Prefix) -> bool {
        let IpAddr::V4(address) = prefix.address() else { return true };
        if prefix.length() > FIRST_LEVEL {
            return self.is_uniform(address.to_bits());
        }
        let mut groups = self.groups.within(prefix);
        let uniform = groups.by_ref().take(MOST_LOOKED_INTO).any(|group| match group.address() {
            IpAddr::V4(address) => self.is_uniform(address.to_bits()),
            IpAddr::V6(_) => true,
        });
        uniform || groups.next().is_some()
    }

    /// Whether the /24 of this address has one hop.
    fn is_uniform(&self, address: u32) -> bool {
        let mut hops = [0; 256];
        let addresses: [u32; 256] = std::array::from_fn(|last| (address & !0xff) | last as u32);
        self.reader4.lookup(&addresses, &mut hops);
        hops.iter().all(|hop| *hop == hops[0])
    }

    fn explain(&self, prefix: Prefix, error: &dpdk_sys::Error) -> String {
        let (table, groups) = match family(prefix) {
            0 => ("groups4", self.sizes.groups4()),
            _ => ("groups6", self.sizes.groups6()),
        };
        match error.errno() {
            ENOSPC => format!(
                "tables.{table} is {groups} and {prefix} needs more: set it to at least {}",
                groups * 2
            ),
            _ => format!("{prefix} is refused: {error}"),
        }
    }

    /// Every reader has passed since the last change.
    pub fn grace_period_is_over(&mut self) {
        self.freed = false;
    }

    /// Groups that IPv4 and IPv6 routes take now.
    pub fn groups(&self) -> [usize; 2] {
        self.groups.used
    }
}

/// The groups that these prefixes take, of IPv4 and of IPv6; each prefix comes once.
pub fn groups_of(prefixes: impl IntoIterator<Item = Prefix>) -> [usize; 2] {
    let mut groups = Groups::default();
    prefixes.into_iter().for_each(|prefix| groups.insert(prefix));
    groups.used
}

/// No space left: `errno` of the FIB when there is no group.
const ENOSPC: i32 = 28;

/// Groups within a prefix that are looked into; where there are more, one is taken to be uniform.
const MOST_LOOKED_INTO: usize = 64;

/// Bits that the FIB looks up at once; groups are behind them.
const FIRST_LEVEL: u8 = 24;

/// The groups that routes take: for each, how many prefixes need it.
#[derive(Default)]
struct Groups {
    needed: BTreeMap<Prefix, u32>,
    used: [usize; 2],
}

impl Groups {
    /// A prefix comes.
    fn insert(&mut self, prefix: Prefix) {
        for group in path(prefix) {
            let count = self.needed.entry(group).or_insert(0);
            *count += 1;
            self.used[family(prefix)] += usize::from(*count == 1);
        }
    }

    /// A prefix that came goes.
    fn remove(&mut self, prefix: Prefix) {
        for group in path(prefix) {
            let Some(count) = self.needed.get_mut(&group) else { continue };
            *count -= 1;
            if *count == 0 {
                self.needed.remove(&group);
                self.used[family(prefix)] -= 1;
            }
        }
    }

    /// Is there any group for addresses in `prefix`?
    fn any_within(&self, prefix: Prefix) -> bool {
        self.within(prefix).next().is_some()
    }

    /// The groups for addresses in a prefix of at most 24 bits.
    fn within(&self, prefix: Prefix) -> impl Iterator<Item = Prefix> {
        let from = self.needed.range(prefix..).map(|(group, _)| *group);
        from.take_while(move |group| prefix.contains(group.address()))
    }
}

/// The groups on the way to a prefix: those of its first 24 bits, 32 bits and so on, before its end.
fn path(prefix: Prefix) -> impl Iterator<Item = Prefix> {
    let lengths = (FIRST_LEVEL..prefix.length()).step_by(8);
    lengths.filter_map(move |length| IpNet::new(prefix.address(), length).ok()).map(Prefix::from)
}

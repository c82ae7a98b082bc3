//! From the model to the tables and devices: what a batch changed is written, workers reading all the while.
//!
//! In this order: devices, for a driver may refuse; interfaces, hops and tags, of which each is replaced at once; the FIBs, which may
//! refuse too; and when every worker has passed, what was replaced is freed and numbers that nothing leads to any more may be given out
//! again.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use dpdk_sys::Port;
use punt::Mac;

use super::fibs::{Change, Fibs};
use super::hops::Target;
use super::interfaces::{Effective, Link};
use super::rib::{Changed, Key};
use super::{Model, fnv};
use crate::quiescent::{Domain, Retired};
use crate::tables::{Adjacency, Ecmp, Hop, MacAddress, Tables};

/// The tables, and what has been written to them.
pub struct Published {
    tables: Arc<Tables>,
    domain: Arc<Domain>,
    fibs: Fibs,
    ports: Vec<Port>,
    devices: Vec<Device>,
    /// What each interface does, as the tables have it.
    effective: HashMap<u32, Effective>,
    retired: Vec<Retired>,
}

/// What a device was told.
struct Device {
    mtu: u16,
    mac: Mac,
    /// Whether it was told to receive what is not for its MAC.
    promiscuous: bool,
}

/// What a batch touches in the tables.
#[derive(Default)]
pub struct Affected {
    interfaces: BTreeSet<u32>,
    hops: BTreeSet<u32>,
    /// By their place in the list.
    ports: BTreeSet<usize>,
}

impl Published {
    pub fn new(tables: Arc<Tables>, domain: Arc<Domain>, fibs: Fibs) -> Published {
        let (ports, devices) = (Vec::new(), Vec::new());
        Published { tables, domain, fibs, ports, devices, effective: HashMap::new(), retired: Vec::new() }
    }

    pub fn add_port(&mut self, port: Port) -> Result<(), String> {
        let told = |error: dpdk_sys::Error| error.to_string();
        let (mtu, mac) = (port.mtu().map_err(told)?, Mac(port.info().map_err(told)?.mac));
        self.devices.push(Device { mtu, mac, promiscuous: false });
        self.ports.push(port);
        Ok(())
    }

    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    pub fn into_ports(self) -> Vec<Port> {
        self.ports
    }

    /// How many hops the tables hold.
    pub fn hop_slots(&self) -> usize {
        self.tables.hops.len()
    }

    /// Whether these changes fit into the FIBs, which stay as they are.
    pub fn fits(&mut self, changes: &[Change]) -> Result<(), String> {
        self.fibs.fits(changes)
    }

    /// Groups of the FIBs that are taken.
    pub fn groups(&self) -> [usize; 2] {
        self.fibs.groups()
    }

    fn set_hop(&mut self, id: u32, hop: Option<Hop>) {
        if let Some(slot) = self.tables.hops.get(id as usize) {
            slot.replace(hop, &mut self.retired);
        }
    }

    /// Tells a device what its interfaces need of it.
    fn set_device(&mut self, at: usize, mtu: u16, mac: Mac, others: &[Mac]) -> Result<(), String> {
        let (Some(port), Some(device)) = (self.ports.get_mut(at), self.devices.get_mut(at)) else {
            return Ok(());
        };
        let refused =
            |what: String, error: dpdk_sys::Error| format!("{what} is refused by the driver: {error}");
        if device.mtu != mtu {
            // A driver that has no way to set it takes what comes: the interface's MTU is ours.
            port.set_mtu(mtu).map_err(|error| refused(format!("an MTU of {mtu}"), error))?;
            device.mtu = mtu;
        }
        if device.mac != mac
            && port.set_mac(mac.0).map_err(|error| refused(format!("the MAC {mac}"), error))?
        {
            device.mac = mac;
        }
        // Once needed it stays on: start-up may have wanted it for reasons of its own.
        let promiscuous = device.mac != mac || others.iter().any(|other| *other != device.mac);
        if promiscuous && !device.promiscuous {
            port.set_promiscuous(true).map_err(|error| refused("promiscuous mode".into(), error))?;
            device.promiscuous = true;
        }
        Ok(())
    }
}

impl Model {
    /// What the batch at hand touches.
    pub(super) fn affected(&self) -> Affected {
        let mut affected = Affected::default();
        affected.hops.extend(&self.staged.new_hops);
        for (index, address) in self.staged.neighbors.keys() {
            affected.hops.extend(self.hops.of(&Target::Neighbor(*index, *address)));
        }
        for (&index, before) in &self.staged.interfaces {
            affected.interfaces.insert(index);
            affected.interfaces.extend(self.interfaces.children(index).map(|(child, _)| child));
            // One that has gone still tells its parent.
            let parent = match before.as_ref().map(|before| &before.link) {
                Some(Link::Vlan { parent, .. }) => *parent,
                _ => index,
            };
            affected.ports.extend(self.interfaces.port(index).or_else(|| self.interfaces.port(parent)));
        }
        affected
    }

    /// Writes what is staged to devices and tables.
    pub(super) fn publish(&mut self, affected: &Affected) -> Result<(), String> {
        self.set_devices(affected)?;
        self.write(affected);
        let changes = self.changes();
        self.published.fibs.change(changes)
    }

    /// The prefixes whose hop is another after the batch than before.
    pub(super) fn changes(&self) -> Vec<Change> {
        let change = |(key, changed): &(Key, Changed)| Change {
            prefix: key.prefix,
            before: changed.before,
            after: changed.after,
        };
        let mut changes: Vec<_> = self.staged.routes.iter().map(change).collect();
        // Of several changes of a prefix the first knows what was before, the last what is after; sorting keeps their order.
        changes.sort_by_key(|change| change.prefix);
        changes.dedup_by(|later, first| {
            let same = later.prefix == first.prefix;
            first.after = if same { later.after } else { first.after };
            same
        });
        changes.retain(|change| change.before != change.after);
        changes
    }

    /// Writes what was put back, so that devices and tables are as they were.
    pub(super) fn publish_again(&mut self, affected: &Affected) {
        if let Err(error) = self.set_devices(affected) {
            log::error!("a port is not as it was before a change that was refused: {error}");
        }
        self.write(affected);
    }

    fn set_devices(&mut self, affected: &Affected) -> Result<(), String> {
        for &at in &affected.ports {
            let own = self.interfaces.by_index.iter().find(|(_, interface)| interface.link == Link::Port(at));
            let Some((&index, interface)) = own else { continue };
            let Some(Effective { mtu, mac, .. }) = self.interfaces.effective(index) else { continue };
            let children = self.interfaces.children(index);
            let others: Vec<_> =
                children.filter_map(|(child, _)| Some(self.interfaces.effective(child)?.mac)).collect();
            let name = &interface.name;
            self.published.set_device(at, mtu, mac, &others).map_err(|fault| format!("{name}: {fault}"))?;
        }
        Ok(())
    }

    /// Writes interfaces, hops and tags.
    fn write(&mut self, affected: &Affected) {
        let mut changed = BTreeSet::new();
        for &index in &affected.interfaces {
            let effective = self.interfaces.effective(index);
            if self.published.effective.get(&index) != effective.as_ref() {
                changed.insert(index);
            }
            if let Some(effective) = effective {
                self.published.effective.insert(index, effective);
                self.write_interface(index);
            }
        }
        for &at in &affected.ports {
            self.write_tags(at);
        }
        for &index in &affected.interfaces {
            if self.interfaces.get(index).is_none() {
                self.published.effective.remove(&index);
                self.write_interface(index);
            }
        }
        let mut hops = affected.hops.clone();
        if !changed.is_empty() {
            let of_changed =
                |target: &Target| target.interface().is_some_and(|index| changed.contains(&index));
            hops.extend(self.hops.iter().filter(|(_, target)| of_changed(target)).map(|(id, _)| id));
        }
        self.write_hops(hops);
    }

    fn write_interface(&mut self, index: u32) {
        let interface = self.interfaces.forwarding(index);
        let Published { tables, retired, .. } = &mut self.published;
        if let Some(slot) = tables.interfaces.get(index as usize) {
            slot.replace(interface, retired);
        }
    }

    fn write_tags(&mut self, at: usize) {
        let own = self.interfaces.by_index.iter().find(|(_, interface)| interface.link == Link::Port(at));
        let tags = own.map(|(&index, _)| self.interfaces.tags(index));
        let Published { tables, retired, ports, .. } = &mut self.published;
        let slot = ports.get(at).and_then(|port| tables.ports.get(usize::from(port.id())));
        if let Some(slot) = slot {
            slot.replace(tags, retired);
        }
    }

    /// Writes these hops, and then the sets of paths that have one of them.
    fn write_hops(&mut self, hops: BTreeSet<u32>) {
        let (sets, neighbors): (Vec<_>, Vec<_>) =
            hops.iter().partition(|id| matches!(self.hops.target(**id), Some(Target::Ecmp(_))));
        for id in neighbors {
            let hop = self.hop(id);
            self.published.set_hop(id, hop);
        }
        let concerned = |members: &[u32]| members.iter().any(|member| hops.contains(member));
        let mut sets: BTreeSet<u32> = sets.into_iter().collect();
        sets.extend(self.hops.ecmp().filter(|(_, members)| concerned(members)).map(|(id, _)| id));
        for id in sets {
            let hop = self.hop(id);
            self.published.set_hop(id, hop);
        }
    }

    /// What a number leads to, as the tables are to have it.
    pub(super) fn hop(&self, id: u32) -> Option<Hop> {
        let up = |index| self.interfaces.effective(index).is_some_and(|effective| effective.up);
        Some(match self.hops.target(id)? {
            Target::Local => Hop::Local,
            Target::Blackhole => Hop::Blackhole,
            Target::Unreachable => Hop::Unreachable,
            Target::Punt => Hop::Punt,
            Target::Broadcast(index) => Hop::Broadcast(*index),
            Target::Connected(index) if up(*index) => Hop::Unresolved(*index),
            Target::Connected(_) => Hop::Down,
            Target::Neighbor(index, address) => match self.adjacency(*index, *address) {
                Some(adjacency) => Hop::Forward(adjacency),
                None if up(*index) => Hop::Unresolved(*index),
                None => Hop::Down,
            },
            Target::Ecmp(members) => Hop::Ecmp(Box::new(self.ecmp(members))),
        })
    }

    /// How to reach a neighbour, if its MAC is known and its interface is up.
    fn adjacency(&self, index: u32, address: IpAddr) -> Option<Adjacency> {
        let Effective { port, mtu, mac, up, tags } = self.interfaces.effective(index)?;
        let neighbor = self.neighbors.by_place().get(&(index, address)).filter(|_| up)?;
        let (destination, source) = (MacAddress::new(neighbor.mac.0), MacAddress::new(mac.0));
        Some(Adjacency::new(index, port, mtu, destination, source, &tags))
    }

    /// Over the paths that are there now; over all of them if none is.
    fn ecmp(&self, members: &[u32]) -> Ecmp {
        let name = |index, address| fnv(format!("{}\n{address}", self.interfaces.name(index)).as_bytes());
        let paths = self.paths(members).into_iter();
        Ecmp::new(&paths.map(|(id, index, address)| (id, name(index, address))).collect::<Vec<_>>())
    }

    /// Hop, interface and address of each path that is taken: those whose interface is up. One whose neighbour is not known keeps its
    /// flows, for it is their packets by which somebody learns that it is wanted.
    pub(super) fn paths(&self, members: &[u32]) -> Vec<(u32, u32, IpAddr)> {
        let neighbor = |&id: &u32| match self.hops.target(id) {
            Some(Target::Neighbor(index, address)) => Some((id, *index, *address)),
            _ => None,
        };
        let all: Vec<_> = members.iter().filter_map(neighbor).collect();
        let up = |(_, index, _): &&(u32, u32, IpAddr)| {
            self.interfaces.effective(*index).is_some_and(|effective| effective.up)
        };
        let some: Vec<_> = all.iter().filter(up).copied().collect();
        if some.is_empty() { all } else { some }
    }

    /// Waits until no worker can hold what was replaced, frees it, and lets numbers that nothing leads to be given out again.
    pub(super) fn forget_hops(&mut self) {
        let swept = self.hops.sweep();
        let Published { domain, retired, fibs, .. } = &mut self.published;
        if swept.is_empty() && retired.is_empty() {
            return;
        }
        match retired.is_empty() {
            true => domain.synchronize(),
            false => domain.reclaim(retired),
        }
        fibs.grace_period_is_over();
        for &id in &swept {
            self.published.set_hop(id, None);
        }
        self.hops.free(swept);
    }
}

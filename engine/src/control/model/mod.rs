//! What is set: interfaces, addresses, neighbours and routes, and how a change of them becomes a change of the tables.
//!
//! A batch of changes is [staged](stage) first: each is checked and done to this model alone, and what it was before is kept. Then the
//! difference is [published](publish) to the tables at once. If anything is refused on the way, everything is put back. So a prefix whose
//! route goes and comes in one batch is overwritten in the FIB, never deleted.

mod diff;
mod fibs;
mod hops;
mod interfaces;
mod neighbors;
mod op;
mod publish;
mod rib;
mod routes;
mod show;
mod stage;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traffic;
mod undo;
mod way;
mod ways;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use dpdk_sys::{Fib4Writer, Fib6Writer, Port};
use punt::Mac;

pub(crate) use fibs::groups_of;
pub use interfaces::Effective;
pub(crate) use interfaces::routes_of;
pub use op::{Life, Op, Settings, SubInterface};
pub use rib::{Key, Source};
pub use show::InterfaceFacts;
pub use ways::WayTo;

use self::fibs::Fibs;
use self::hops::Hops;
use self::interfaces::{Iface, Interfaces, Link, PortFacts, made_up};
use self::neighbors::Neighbors;
use self::publish::Published;
use self::rib::{Changed, Rib};
use super::{PortHandle, Refused};
use crate::config::{DEFAULT_MTU, Sizes};
use crate::quiescent::Domain;
use crate::tables::Tables;

/// What is set, and the tables in which it is.
pub struct Model {
    interfaces: Interfaces,
    /// Each name's index in this run of the engine; none is ever given to another name.
    indices: HashMap<String, u32>,
    /// The port's interface of each sub-interface that there is or was: its counters stay.
    parents: BTreeMap<u32, u32>,
    max_interfaces: u32,
    neighbors: Neighbors,
    rib: Rib,
    hops: Hops,
    /// On which interface a next hop lies, as far as somebody asked since addresses changed.
    resolved: HashMap<IpAddr, u32>,
    /// Ways that the passive punt redirects by, and their hops.
    ways: HashMap<(u32, IpAddr), u32>,
    sizes: Sizes,
    staged: Staged,
    published: Published,
}

/// A neighbour with a known MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Its MAC.
    pub mac: Mac,
    /// How long it is meant to stay.
    pub life: Life,
}

/// What the batch at hand has changed: as it was before.
#[derive(Default)]
struct Staged {
    interfaces: BTreeMap<u32, Option<Iface>>,
    neighbors: HashMap<(u32, IpAddr), Option<Neighbor>>,
    /// Each change of a route, in order.
    routes: Vec<(Key, Changed)>,
    new_hops: Vec<u32>,
    new_names: Vec<String>,
}

/// What a model is made of.
pub struct Means {
    /// Empty tables.
    pub tables: Arc<Tables>,
    /// The domain of their readers.
    pub domain: Arc<Domain>,
    /// The IPv4 FIB of the tables.
    pub fib4: Fib4Writer,
    /// The IPv6 FIB of the tables.
    pub fib6: Fib6Writer,
    /// Sizes of the tables.
    pub sizes: Sizes,
    /// The largest index of an interface.
    pub max_interfaces: u32,
}

impl Model {
    /// A model with the ports' own interfaces, up and without addresses.
    ///
    /// # Errors
    /// When two interfaces have one name or index, or a port does not tell what it is.
    pub fn new(means: Means, ports: Vec<PortHandle>) -> Result<Model, Refused> {
        let Means { tables, domain, fib4, fib6, sizes, max_interfaces } = means;
        let fibs = Fibs::new(fib4, fib6, domain.clone(), sizes);
        let mut model = Model {
            interfaces: Interfaces { by_index: BTreeMap::new(), ports: Vec::new() },
            indices: HashMap::new(),
            parents: BTreeMap::new(),
            max_interfaces,
            neighbors: Neighbors::default(),
            rib: Rib::default(),
            hops: Hops::default(),
            resolved: HashMap::new(),
            ways: HashMap::new(),
            sizes,
            staged: Staged::default(),
            published: Published::new(tables, domain, fibs),
        };
        for port in ports {
            model.add_port(port).map_err(Refused::new)?;
        }
        model.commit().map_err(Refused::new)?;
        Ok(model)
    }

    fn add_port(&mut self, handle: PortHandle) -> Result<(), String> {
        let PortHandle { port, interface: name, index } = handle;
        let mac = Mac(port.info().map_err(|error| error.to_string())?.mac);
        if index == 0 || index > self.max_interfaces || self.interfaces.get(index).is_some() {
            return Err(format!(
                "{name} cannot have index {index}; give each interface another one, from 1 to {}",
                self.max_interfaces
            ));
        }
        if self.indices.insert(name.clone(), index).is_some() {
            return Err(format!("two interfaces are called {name}; give one another name"));
        }
        let mac = if mac.is_zero() || mac.is_group() { made_up(port.name()) } else { mac };
        let link = Link::Port(self.interfaces.ports.len());
        self.interfaces.ports.push(PortFacts { id: port.id(), name: port.name().to_string(), mac });
        let interface = Iface::new(name, link);
        self.published.add_port(port)?;
        self.touch_interface(index);
        self.interfaces.by_index.insert(index, interface);
        Ok(())
    }

    /// Does all of `ops`, in order, or none.
    ///
    /// # Errors
    /// Says which of them is refused, and why; everything is as it was then.
    pub fn batch(&mut self, ops: impl IntoIterator<Item = Op>) -> Result<(), Refused> {
        self.stage_all(ops, Model::strands_no_way)?;
        self.commit().map_err(Refused::new)
    }

    /// Whether all of `ops` can be done, and `fits` what is there then; everything stays as it is. What a driver would refuse is not known.
    ///
    /// # Errors
    /// Those of [`batch`](Model::batch), and what `fits` returns.
    pub fn rehearse(
        &mut self,
        ops: impl IntoIterator<Item = Op>,
        fits: impl FnOnce(&Model) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        self.stage_all(ops, fits)?;
        let changes = self.changes();
        let fits = self.check_room().and_then(|()| self.published.fits(&changes));
        let fits = fits.and_then(|()| self.check_drivers());
        self.put_back();
        self.forget_hops();
        fits.map_err(Refused::new)
    }

    /// Whether drivers say that they take the MTUs that are staged.
    fn check_drivers(&self) -> Result<(), String> {
        for (index, before) in &self.staged.interfaces {
            let (Some(Iface { name, link: Link::Port(at), .. }), Some(is)) =
                (self.interfaces.get(*index), self.interfaces.effective(*index))
            else {
                continue;
            };
            let most = self.ports().get(*at).and_then(|port| port.info().ok()).map(|info| info.max_mtu);
            let was = before.as_ref().and_then(Iface::mtu).unwrap_or(DEFAULT_MTU);
            if let Some(most) = most.filter(|most| is.mtu != was && is.mtu > *most) {
                return Err(format!(
                    "{name}: its driver takes an MTU of at most {most}, and {} is wanted",
                    is.mtu
                ));
            }
        }
        Ok(())
    }

    /// Does all of `ops` to this model alone, and asks whether what is there then `fits`.
    fn stage_all(
        &mut self,
        ops: impl IntoIterator<Item = Op>,
        fits: impl FnOnce(&Model) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        for (index, op) in ops.into_iter().enumerate() {
            if let Err(message) = self.stage(op) {
                self.put_back();
                self.forget_hops();
                return Err(Refused { message, index: Some(index) });
            }
        }
        self.settle_neighbors();
        let checked = self.check_mtus().map_err(Refused::new).and_then(|()| fits(self));
        if checked.is_err() {
            self.put_back();
            self.forget_hops();
        }
        checked
    }

    /// Puts everything that is staged into the tables, or back.
    fn commit(&mut self) -> Result<(), String> {
        let done = self.commit_staged().map(drop);
        self.forget_hops();
        done
    }

    /// The same, but for hops that nobody uses any more; returns what was there before.
    fn commit_staged(&mut self) -> Result<Staged, String> {
        let affected = self.affected();
        let done = self.check_room().and_then(|()| self.publish(&affected));
        match done {
            Ok(()) => Ok(std::mem::take(&mut self.staged)),
            Err(fault) => {
                self.put_back();
                self.publish_again(&affected);
                Err(fault)
            }
        }
    }

    /// Whether what is staged fits into the tables.
    fn check_room(&self) -> Result<(), String> {
        let sizes = &self.sizes;
        let routes = |family| self.rib.count(family, Source::Static);
        for (table, size, needed) in [
            ("routes4", sizes.routes4, routes(0)),
            ("routes6", sizes.routes6, routes(1)),
            ("neighbors", sizes.neighbors, self.neighbors.by_place().len()),
        ] {
            if needed > size as usize {
                return Err(crate::config::too_small(table, size as usize, needed));
            }
        }
        let (slots, needed) = (self.published.hop_slots(), self.hops.slots());
        if needed > slots {
            let size = sizes.next_hops as usize;
            return Err(crate::config::too_small("next_hops", size, size + needed - slots));
        }
        Ok(())
    }

    /// Makes this model what it was before the batch.
    fn put_back(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        self.resolved.clear();
        for (key, Changed { route: before, .. }) in staged.routes.into_iter().rev() {
            if let Some(now) = self.rib.set(key, before).route {
                self.hops.release(now.hop);
            }
            if let Some(before) = before {
                self.hops.add_user(before.hop);
            }
        }
        for (key, before) in staged.neighbors {
            self.neighbors.set(key, before);
        }
        for (index, before) in staged.interfaces {
            self.put_interface(index, before);
        }
        for name in staged.new_names {
            if let Some(index) = self.indices.remove(&name) {
                self.parents.remove(&index);
            }
        }
    }

    /// Makes the interface at `index` what it was.
    fn put_interface(&mut self, index: u32, before: Option<Iface>) {
        if let Some(Link::Vlan { parent, .. }) = before.as_ref().map(|before| &before.link) {
            self.parents.insert(index, *parent);
        }
        match before {
            Some(before) => self.interfaces.by_index.insert(index, before),
            None => self.interfaces.by_index.remove(&index),
        };
    }

    /// The index of the interface called `name`.
    pub fn index(&self, name: &str) -> Option<u32> {
        self.indices.get(name).copied().filter(|index| self.interfaces.get(*index).is_some())
    }

    /// The index of an interface that somebody named.
    fn named(&self, name: &str) -> Result<u32, String> {
        self.index(name).ok_or_else(|| {
            let names: Vec<_> =
                self.interfaces.by_index.values().map(|interface| interface.name.as_str()).collect();
            match crate::config::nearest(name, &names) {
                Some(right) => format!("there is no interface {name}; did you mean {right}?"),
                None if names.len() > 16 => {
                    format!("there is no interface {name}; list them with puntctl interface list")
                }
                None => format!("there is no interface {name}; there are {}", names.join(", ")),
            }
        })
    }

    /// The index of an interface that somebody named.
    ///
    /// # Errors
    /// If there is none; the sentence says which there are.
    pub fn known(&self, name: &str) -> Result<u32, Refused> {
        self.named(name).map_err(Refused::new)
    }

    /// What the interface of this index is called.
    pub fn name_of(&self, index: u32) -> Option<String> {
        Some(self.interfaces.get(index)?.name.clone())
    }

    /// The ports, in the order of their handles.
    pub fn ports(&self) -> &[Port] {
        self.published.ports()
    }
}

impl Model {
    /// Gives the ports back, to be stopped.
    pub fn into_ports(self) -> Vec<Port> {
        self.published.into_ports()
    }
}

/// A hash that is the same everywhere and always (FNV-1a).
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

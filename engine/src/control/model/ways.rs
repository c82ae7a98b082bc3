//! Ways that the passive punt redirects by: a next hop on an interface, which is resolved as any route's is.
//!
//! Nobody asks for a way again when what led there changes. So a change that would leave one without its next hop is refused: else what is
//! set could not be set again, and who saves it could not start with that.

use std::net::IpAddr;

use super::hops::Target;
use super::{Model, Refused};
use crate::config::is_link_local;

/// A way that is to be there when a change is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayTo {
    /// The interface's name.
    pub interface: String,
    /// The next hop.
    pub via: IpAddr,
    /// Which `[[passive]]` of a file asks for it, if one does.
    pub place: Option<usize>,
}

/// Why no neighbour on an interface can have an address.
enum Obstacle {
    /// It is this router's own, on that interface.
    Own(u32),
    /// It is on the subnet of that interface.
    Elsewhere(u32),
    /// It is on no subnet, and no neighbour is known that has it.
    Nowhere,
}

impl Model {
    fn obstacle(&self, interface: u32, via: IpAddr) -> Option<Obstacle> {
        if let Some(owner) = self.owner(via, interface) {
            return Some(Obstacle::Own(owner));
        }
        if is_link_local(via) || self.neighbors.by_place().contains_key(&(interface, via)) {
            return None;
        }
        match self.rib.connected(via) {
            Some(there) if there == interface => None,
            Some(there) => Some(Obstacle::Elsewhere(there)),
            None => Some(Obstacle::Nowhere),
        }
    }

    /// Whether a neighbour of that address can be on an interface.
    ///
    /// # Errors
    /// If it is ours, on another interface's subnet, or on none and not known.
    pub fn check_way(&self, interface: u32, via: IpAddr) -> Result<(), Refused> {
        let name = |index| self.interfaces.name(index);
        let Some(obstacle) = self.obstacle(interface, via) else { return Ok(()) };
        Err(Refused::new(match obstacle {
            Obstacle::Own(owner) => {
                format!("{via} is this router's own address on {}; name a neighbour's", name(owner))
            }
            Obstacle::Elsewhere(there) => {
                format!("{via} is on the subnet of {}, not of {}; name that", name(there), name(interface))
            }
            Obstacle::Nowhere => format!(
                "no interface's subnet holds {via}; name a next hop on a subnet of {}, or add it as a neighbour",
                name(interface)
            ),
        }))
    }

    /// Whether these ways lead somewhere.
    ///
    /// # Errors
    /// Says which does not, and why.
    pub(super) fn check_ways<'a>(
        &self,
        ways: impl IntoIterator<Item = &'a WayTo>,
    ) -> Result<(), (Option<usize>, String)> {
        ways.into_iter().try_for_each(|way| self.check_way_to(way).map_err(|fault| (way.place, fault)))
    }

    fn check_way_to(&self, WayTo { interface, via, place }: &WayTo) -> Result<(), String> {
        if place.is_some() {
            let index = self.named(interface)?;
            return self.check_way(index, *via).map_err(|refused| refused.message);
        }
        let would = match self.index(interface) {
            None => format!("there would be no interface {interface}"),
            Some(index) => match self.obstacle(index, *via) {
                None => return Ok(()),
                Some(Obstacle::Own(owner)) => {
                    format!("that would be this router's own address on {}", self.interfaces.name(owner))
                }
                Some(Obstacle::Elsewhere(there)) => {
                    format!("that would be on the subnet of {}", self.interfaces.name(there))
                }
                Some(Obstacle::Nowhere) => "no interface's subnet would hold that".to_owned(),
            },
        };
        Err(format!(
            "the passive punt is redirected to {interface} via {via}, and {would}; set it otherwise first"
        ))
    }

    /// Whether all ways that there are lead somewhere after what is staged.
    pub(super) fn strands_no_way(&self) -> Result<(), Refused> {
        if self.staged.interfaces.is_empty() && self.staged.neighbors.is_empty() {
            return Ok(());
        }
        let way = |&(index, via): &(u32, IpAddr)| WayTo {
            interface: self.interfaces.name(index).to_owned(),
            via,
            place: None,
        };
        let ways: Vec<WayTo> = self.ways.keys().map(way).collect();
        self.check_ways(&ways).map_err(|(_, message)| Refused::new(message))
    }

    /// Whether anything but a way uses a hop.
    pub(super) fn is_used_by_routes(&self, id: u32) -> bool {
        let is_way = match self.hops.target(id) {
            Some(&Target::Neighbor(index, via)) => self.ways.contains_key(&(index, via)),
            _ => false,
        };
        self.hops.users(id) > u32::from(is_way)
    }

    /// The number of the way to a neighbour, which stays this way's until it is [let go](Model::let_ways_go): it is resolved as any route's
    /// next hop is.
    ///
    /// # Errors
    /// If no neighbour there can have that address, or there is no room for another way.
    pub fn way(&mut self, interface: u32, via: IpAddr) -> Result<u32, Refused> {
        self.check_way(interface, via)?;
        let target = Target::Neighbor(interface, via);
        if let Some(&way) = self.ways.get(&(interface, via)) {
            return Ok(way);
        }
        let (way, new) = self.hops.acquire(target);
        if new {
            self.staged.new_hops.push(way);
        }
        if let Err(message) = self.commit() {
            self.hops.release(way);
            self.forget_hops();
            return Err(Refused::new(message));
        }
        self.ways.insert((interface, via), way);
        Ok(way)
    }

    /// Lets those ways go that are not `used` any more. No worker may look at anything that leads there.
    pub fn let_ways_go(&mut self, used: impl Fn(u32) -> bool) {
        let gone: Vec<u32> = self.ways.extract_if(|_, way| !used(*way)).map(|(_, way)| way).collect();
        if !gone.is_empty() {
            gone.into_iter().for_each(|way| self.hops.release(way));
            self.forget_hops();
        }
    }
}

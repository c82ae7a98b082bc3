//! The numbers that routes lead to: which stands for what, and who still uses it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::tables::FIRST_FREE_HOP;

/// What a hop stands for. Routes that say the same share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The router itself.
    Local,
    /// Nowhere, silently.
    Blackhole,
    /// Nowhere, and the sender is told.
    Unreachable,
    /// The control plane.
    Punt,
    /// The subnet of this interface.
    Connected(u32),
    /// The broadcast address of a subnet of this interface.
    Broadcast(u32),
    /// This address on this interface.
    Neighbor(u32, IpAddr),
    /// One of these hops, which are neighbours.
    Ecmp(Box<[u32]>),
}

impl Target {
    /// The interface without which the hop makes no sense; none for those of an ECMP hop's members.
    pub fn interface(&self) -> Option<u32> {
        match self {
            Target::Connected(interface) | Target::Broadcast(interface) | Target::Neighbor(interface, _) => {
                Some(*interface)
            }
            _ => None,
        }
    }
}

/// Hops in use by number.
#[derive(Default)]
pub struct Hops {
    by_target: HashMap<Target, u32>,
    /// From [`FIRST_FREE_HOP`] on.
    hops: Vec<Option<Hop>>,
    free: Vec<u32>,
    ecmp: BTreeSet<u32>,
    /// Hops that nobody used at some time since the last [`sweep`](Hops::sweep).
    unused: Vec<u32>,
}

struct Hop {
    target: Target,
    users: u32,
}

impl Hops {
    /// One more user of the hop for `target`; says whether it is new, so that its slot must be written.
    pub fn acquire(&mut self, target: Target) -> (u32, bool) {
        if let Some(&id) = self.by_target.get(&target) {
            self.add_user(id);
            return (id, false);
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.hops.push(None);
            FIRST_FREE_HOP + self.hops.len() as u32 - 1
        });
        if let Target::Ecmp(_) = &target {
            self.ecmp.insert(id);
        }
        self.by_target.insert(target.clone(), id);
        self.hops[at(id)] = Some(Hop { target, users: 0 });
        self.add_user(id);
        (id, true)
    }

    /// One more user of a hop that is in use, or was until a moment ago. A set of paths that is used uses its members.
    pub fn add_user(&mut self, id: u32) {
        let Some(hop) = self.hops.get_mut(at(id)).and_then(Option::as_mut) else { return };
        hop.users += 1;
        if let (1, Target::Ecmp(members)) = (hop.users, &hop.target) {
            let members = members.clone();
            members.iter().for_each(|&member| self.add_user(member));
        }
    }

    /// One user less. The hop keeps its meaning until the next [`sweep`](Hops::sweep).
    pub fn release(&mut self, id: u32) {
        let Some(hop) = self.hops.get_mut(at(id)).and_then(Option::as_mut) else { return };
        hop.users -= 1;
        if hop.users > 0 {
            return;
        }
        if let Target::Ecmp(members) = &hop.target {
            let members = members.clone();
            members.iter().for_each(|&member| self.release(member));
        }
        self.unused.push(id);
    }

    /// Forgets the hops that nobody uses and returns their numbers; they are given out again once they are [freed](Hops::free).
    pub fn sweep(&mut self) -> Vec<u32> {
        let mut swept = Vec::new();
        while let Some(id) = self.unused.pop() {
            let slot = &mut self.hops[at(id)];
            let Some(hop) = slot.take_if(|hop| hop.users == 0) else { continue };
            self.by_target.remove(&hop.target);
            self.ecmp.remove(&id);
            swept.push(id);
        }
        swept
    }

    /// Numbers that were swept, and that no reader can hold any more.
    pub fn free(&mut self, swept: Vec<u32>) {
        self.free.extend(swept);
    }

    /// What a hop stands for.
    pub fn target(&self, id: u32) -> Option<&Target> {
        Some(&self.hops.get(at(id))?.as_ref()?.target)
    }

    /// Whether anybody uses a hop; one that nobody uses keeps its meaning until the next sweep.
    pub fn is_used(&self, id: u32) -> bool {
        self.users(id) > 0
    }

    /// How many use a hop.
    pub fn users(&self, id: u32) -> u32 {
        self.hops.get(at(id)).and_then(Option::as_ref).map_or(0, |hop| hop.users)
    }

    /// The hop for a target, if there is one.
    pub fn of(&self, target: &Target) -> Option<u32> {
        self.by_target.get(target).copied()
    }

    /// All hops in use.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Target)> {
        (FIRST_FREE_HOP..).zip(&self.hops).filter_map(|(id, hop)| Some((id, &hop.as_ref()?.target)))
    }

    /// All ECMP hops in use, with their members.
    pub fn ecmp(&self) -> impl Iterator<Item = (u32, &[u32])> {
        self.ecmp.iter().filter_map(|&id| match self.target(id)? {
            Target::Ecmp(members) => Some((id, &**members)),
            _ => None,
        })
    }

    /// Slots that the tables must have for these hops.
    pub fn slots(&self) -> usize {
        FIRST_FREE_HOP as usize + self.hops.len()
    }
}

fn at(id: u32) -> usize {
    (id - FIRST_FREE_HOP) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbor(last: u8) -> Target {
        Target::Neighbor(1, IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn a_number_means_one_thing_until_its_last_user_has_gone_and_is_given_out_again_after_that() {
        let mut hops = Hops::default();
        assert_eq!(hops.acquire(neighbor(2)), (2, true));
        assert_eq!(hops.acquire(neighbor(2)), (2, false));
        assert_eq!(hops.acquire(neighbor(3)), (3, true));
        hops.release(2);
        assert!(hops.sweep().is_empty());
        hops.release(2);
        assert_eq!(hops.acquire(neighbor(2)), (2, false), "nobody swept yet");
        hops.release(2);
        let swept = hops.sweep();
        assert_eq!((swept.as_slice(), hops.target(2)), ([2].as_slice(), None));
        assert_eq!(hops.acquire(neighbor(2)), (4, true), "a reader may still hold 2");
        hops.free(swept);
        assert_eq!(hops.acquire(neighbor(5)), (2, true));
        assert_eq!(hops.slots(), 5);
    }

    #[test]
    fn a_set_of_paths_holds_its_members() {
        let mut hops = Hops::default();
        let members = [hops.acquire(neighbor(2)).0, hops.acquire(neighbor(3)).0];
        let (set, _) = hops.acquire(Target::Ecmp(members.into()));
        members.into_iter().for_each(|member| hops.release(member));
        assert!(hops.sweep().is_empty());
        assert_eq!(hops.ecmp().collect::<Vec<_>>(), [(set, members.as_slice())]);
        hops.release(set);
        let mut swept = hops.sweep();
        swept.sort();
        assert_eq!(swept, [2, 3, 4]);
        assert_eq!(hops.iter().count() + hops.ecmp().count(), 0);
    }
}

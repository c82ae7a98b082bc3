//! Who has which port, type, protocol or kind of frame: what built-in reasons have stays theirs, the rest is the most specific claim's, and
//! of equals the oldest's.

use std::cmp::Reverse;
use std::ops::RangeInclusive;

use super::cover::{self, Cell, Stretch};
use super::{Desk, Touched};
use crate::claims::Protocol;
use crate::interest::Interest;
use crate::matching::{Family, Match};

impl Desk {
    /// Notes that whoever has what `matching` matches may be another.
    pub(super) fn touch_claims(&mut self, matching: &Match) {
        let stretches = cover::stretches(matching).into_iter();
        self.touched
            .keys
            .extend(stretches.map(|(family, protocol, keys)| (family, protocol, *keys.start(), *keys.end())));
        if matches!(matching, Match::Ethertype(_) | Match::Llc(_) | Match::Mac(_)) {
            self.touched.link.insert(matching.clone());
        }
    }

    /// Sets the claims of all that changes have touched.
    pub(super) fn set_claims(&mut self, touched: &Touched) {
        merged(touched.keys.iter().copied()).into_iter().for_each(|stretch| self.set_row(stretch));
        if touched.link.is_empty() {
            return;
        }
        for matching in &touched.link {
            let made = self.relations.made.get(&Interest::anywhere(matching.clone())).copied();
            self.link.set(matching, made.filter(|at| self.relations.is_active(*at)));
        }
        let link = (!self.link.is_empty()).then(|| self.link.clone());
        self.tables.link.replace(link, &mut self.retired);
    }

    fn set_row(&self, stretch: Stretch) {
        let (family, protocol, keys) = stretch.clone();
        let first = *keys.start() as usize;
        let place = |key: u16| key as usize - first;
        let mut claims = vec![(0, false); keys.len()];
        for (reason, its_keys, wide) in self.claimants(&stretch) {
            claims[place(*its_keys.start())..=place(*its_keys.end())].fill((reason, wide));
        }
        let cell = |key: u16| -> Cell { (family, protocol, key) };
        for ((.., key), reason) in self.owners.range(cell(*keys.start())..=cell(*keys.end())) {
            claims[place(*key)] = (*reason, false);
        }
        let row = self.tables.local(family).of(protocol);
        keys.zip(claims).for_each(|(key, (reason, wide))| row.set(key, reason, wide));
    }

    /// Reasons that registrations without a scope made and that claim any of these keys, the best last; with the keys, and whether they claim
    /// others, too.
    fn claimants(&self, stretch: &Stretch) -> Vec<(u32, RangeInclusive<u16>, bool)> {
        let (family, protocol, keys) = stretch;
        let claims = |at: u32| {
            let reason = self.by_index(at).filter(|_| self.relations.is_active(at))?;
            let made_by = reason.made_by.as_ref()?;
            let of_row = |(its_family, its_protocol, its_keys): Stretch| {
                let both = *its_keys.start().max(keys.start())..=*its_keys.end().min(keys.end());
                let is = (its_family, its_protocol) == (*family, *protocol) && !both.is_empty();
                is.then(|| (both, its_keys.len() > 1))
            };
            let (keys, wide) = cover::stretches(&made_by.matching).into_iter().find_map(of_row)?;
            Some(((made_by.specificity(), Reverse(reason.id)), (at, keys, wide)))
        };
        let mut claims: Vec<_> =
            self.relations.claiming(&cover::any_of(stretch)).into_iter().filter_map(claims).collect();
        claims.sort_by_key(|(rank, _)| *rank);
        claims.into_iter().map(|(_, claim)| claim).collect()
    }
}

/// The same keys in as few stretches as there can be: of ports, for a match is of one type or protocol. They come sorted.
fn merged(touched: impl Iterator<Item = (Family, Protocol, u16, u16)>) -> Vec<Stretch> {
    let mut merged: Vec<Stretch> = Vec::new();
    for (family, protocol, first, last) in touched {
        match merged.last_mut() {
            Some((its_family, its_protocol, keys))
                if (*its_family, *its_protocol) == (family, protocol)
                    && matches!(protocol, Protocol::Udp | Protocol::Tcp | Protocol::TcpSource)
                    && first <= keys.end().saturating_add(1) =>
            {
                *keys = *keys.start()..=last.max(*keys.end());
            }
            _ => merged.push((family, protocol, first..=last)),
        }
    }
    merged
}

/// The cells of a static reason, from its keys.
pub fn cells_of(keys: impl IntoIterator<Item = (Option<Family>, Protocol, u16)>) -> Vec<Cell> {
    let both = [Family::Ip4, Family::Ip6];
    let of_key = |(family, protocol, key): (Option<Family>, Protocol, u16)| {
        let families = both.into_iter().filter(move |it| family.is_none_or(|family| family == *it));
        families.map(move |family| (family, protocol, key))
    };
    keys.into_iter().flat_map(of_key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_are_set_once() {
        let (four, six) = (Family::Ip4, Family::Ip6);
        let touched =
            [(four, 1, 65535), (four, 2, 10), (four, 2, 65535), (six, 1, 5), (six, 6, 9), (six, 11, 12)]
                .map(|(family, first, last)| (family, Protocol::Udp, first, last));
        let row = |family, keys| (family, Protocol::Udp, keys);
        let expected = [row(four, 1..=65535), row(six, 1..=9), row(six, 11..=12)];
        assert_eq!(merged(touched.into_iter()), expected);
    }
}

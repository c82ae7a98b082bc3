//! `ip4-options`: a packet with options in transit (RFC 791 §3.1, RFC 2113, RFC 7126).

use punt::reason::{Class, Reason};

use crate::edges;
use crate::node::{Context, Node};
use crate::packet::Packet;
use crate::wire::Ip4;

/// A packet with options, in transit.
pub static OPTIONS: Reason = Reason::new("ip4.options", Class::Except, "has IPv4 options").limit(200, 100);
/// A packet that wants to say which way it goes: dropped unless asked for (RFC 7126 §4.3).
pub static SOURCE_ROUTE: Reason =
    Reason::new("ip4.source-route", Class::Except, "has a source route option").limit(200, 100).drop();
/// A packet that asks every router on its way to look at it (RFC 2113).
pub static ROUTER_ALERT: Reason =
    Reason::new("ip4.router-alert", Class::Except, "has a router alert option").limit(500, 250);

edges! {
    /// Where `ip4-options` sends a packet.
    pub enum Next {
        Options => punt OPTIONS,
        SourceRoute => punt SOURCE_ROUTE,
        RouterAlert => punt ROUTER_ALERT,
        Malformed => drop "options are malformed",
    }
}

/// Tells options apart; forwarding leaves all of them to the control plane.
pub struct Ip4Options;

impl Node for Ip4Options {
    const NAME: &'static str = "ip4-options";
    type Next = Next;

    fn packet(&mut self, _: &Context, packet: &mut Packet) -> Next {
        match Found::among(options(packet)) {
            None => Next::Malformed,
            Some(found) if found.source_route => Next::SourceRoute,
            Some(found) if found.router_alert => Next::RouterAlert,
            Some(_) => Next::Options,
        }
    }
}

/// The options of a packet whose header has been checked.
pub(super) fn options(packet: &Packet) -> &[u8] {
    let len = packet.l3::<20>().map_or(0, |header| Ip4(header).header_len()) as usize;
    let start = packet.meta.l3 as usize;
    packet.bytes().get(start + 20..start + len).unwrap_or_default()
}

/// What matters among a packet's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub source_route: bool,
    pub router_alert: bool,
}

impl Found {
    /// Walks the options; `None` if a length is wrong.
    pub(super) fn among(mut options: &[u8]) -> Option<Found> {
        const END: u8 = 0;
        const NOTHING: u8 = 1;
        const LOOSE_ROUTE: u8 = 131;
        const STRICT_ROUTE: u8 = 137;
        const ROUTER_ALERT: u8 = 148;
        let mut found = Found::default();
        while let Some(&kind) = options.first() {
            let len = match kind {
                END => break,
                NOTHING => 1,
                _ => *options.get(1)? as usize,
            };
            if kind != NOTHING && len < 2 {
                return None;
            }
            found.source_route |= kind == LOOSE_ROUTE || kind == STRICT_ROUTE;
            found.router_alert |= kind == ROUTER_ALERT;
            options = options.get(len..)?;
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source_route: bool, router_alert: bool) -> Option<Found> {
        Some(Found { source_route, router_alert })
    }

    #[test]
    fn options_are_told_apart() {
        assert_eq!(Found::among(&[]), found(false, false));
        assert_eq!(Found::among(&[1, 1, 1, 0, 9, 9]), found(false, false));
        assert_eq!(Found::among(&[148, 4, 0, 0]), found(false, true));
        assert_eq!(Found::among(&[1, 131, 7, 4, 10, 0, 0, 1]), found(true, false));
        assert_eq!(Found::among(&[137, 3, 4, 148, 4, 0, 0]), found(true, true));
    }

    #[test]
    fn wrong_lengths_are_malformed() {
        for options in [&[7][..], &[7, 0], &[7, 1], &[7, 3], &[1, 1, 68, 40, 0]] {
            assert_eq!(Found::among(options), None, "{options:?}");
        }
    }

    #[test]
    fn transit_leaves_for_the_weightiest_option() {
        use crate::testing::*;
        let mut router = Router::new();
        for (options, expected) in [
            ("01 01 01 00", Next::Options),
            ("44 04 05 00", Next::Options),
            ("94 04 00 00", Next::RouterAlert),
            ("83 03 04 00", Next::SourceRoute),
            ("89 03 04 00", Next::SourceRoute),
            ("94 04 00 00 83 03 04 00", Next::SourceRoute),
            ("83 03 04 00 94 04 00 00", Next::SourceRoute),
            // Behind the end there are no options.
            ("00 83 03 04", Next::Options),
            ("44 28 05 00", Next::Malformed),
            ("01 01 01 07", Next::Malformed),
        ] {
            let options = hex(options);
            let mut l3 = ip4(17, FAR4, &[0; 8]);
            let (words, total) = (5 + options.len() as u8 / 4, 28 + options.len() as u8);
            l3.splice(20..20, options.iter().copied());
            let l3 = sealed(changed(&l3, &[(0, &[0x40 | words]), (3, &[total])]));
            let packet = at_l3(&l3, crate::wire::ETHERTYPE_IP4);
            assert_eq!(router.edge(&mut Ip4Options, packet), expected, "{options:02x?}");
        }
    }
}

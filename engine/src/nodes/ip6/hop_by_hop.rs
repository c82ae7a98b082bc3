//! `ip6-hop-by-hop`: a packet with hop-by-hop options in transit (RFC 8200 §4.2 and §4.3, RFC 2711).

use punt::reason::{Class, Reason};

use crate::edges;
use crate::node::{Context, Node};
use crate::packet::Packet;
use crate::wire::Ip6;

/// A packet that asks every router on its way to look at it (RFC 2711).
pub static ROUTER_ALERT: Reason =
    Reason::new("ip6.router-alert", Class::Except, "has a router alert option").limit(500, 250);
/// A packet with other hop-by-hop options, in transit: dropped unless asked for.
pub static HOP_BY_HOP: Reason =
    Reason::new("ip6.hop-by-hop", Class::Except, "has hop-by-hop options").limit(100, 64).drop();

edges! {
    /// Where `ip6-hop-by-hop` sends a packet.
    pub enum Next {
        RouterAlert => punt ROUTER_ALERT,
        HopByHop => punt HOP_BY_HOP,
        Malformed => drop "hop-by-hop options are malformed",
        TooMany => drop "more than 32 hop-by-hop options",
        SplitHeader => drop "header is split over segments",
        Short => drop "shorter than an IPv6 header",
    }
}

/// Options of one packet that are looked at, padding included (RFC 8504 §5.3 asks for a bound).
const MAX_OPTIONS: usize = 32;

/// Tells hop-by-hop options apart; forwarding leaves all of them to the control plane.
pub struct Ip6HopByHop;

impl Node for Ip6HopByHop {
    const NAME: &'static str = "ip6-hop-by-hop";
    type Next = Next;

    fn packet(&mut self, _: &Context, packet: &mut Packet) -> Next {
        let Some(payload) = packet.l3::<40>().map(|header| Ip6(header).payload_len() as usize) else {
            return Next::Short;
        };
        let start = packet.meta.l3 as usize + 40;
        if payload < 8 {
            return Next::Malformed;
        }
        let Some(length) = packet.bytes().get(start + 1) else { return Next::SplitHeader };
        let len = 8 + *length as usize * 8;
        if len > payload {
            return Next::Malformed;
        }
        match packet.bytes().get(start + 2..start + len) {
            Some(options) => alert(options),
            None => Next::SplitHeader,
        }
    }
}

/// Is there a router alert among the options?
fn alert(mut options: &[u8]) -> Next {
    const PAD1: u8 = 0;
    const ROUTER_ALERT: u8 = 5;
    let mut next = Next::HopByHop;
    for _ in 0..MAX_OPTIONS {
        let len = match *options {
            [] => return next,
            [PAD1, ..] => 1,
            [ROUTER_ALERT, 2, ..] => {
                next = Next::RouterAlert;
                4
            }
            [ROUTER_ALERT, ..] | [_] => return Next::Malformed,
            [_, len, ..] => 2 + len as usize,
        };
        match options.get(len..) {
            Some(rest) => options = rest,
            None => return Next::Malformed,
        }
    }
    if options.is_empty() { next } else { Next::TooMany }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use crate::wire::ETHERTYPE_IP6;

    /// A packet in transit that begins with this hop-by-hop header, from its next header field on.
    fn with(header: &str) -> Packet {
        at_l3(&ip6(0, FAR6, &[hex(header), vec![0; 8]].concat()), ETHERTYPE_IP6)
    }

    #[test]
    fn options_are_told_apart() {
        let mut router = Router::new();
        for (what, header, expected) in [
            ("router alert, padded", "11 00 0502 0000 0100", Next::RouterAlert),
            ("router alert behind padding", "11 00 0100 0502 0000", Next::RouterAlert),
            ("router alert behind single bytes of padding", "11 00 0000 0502 0000", Next::RouterAlert),
            (
                "router alert behind another option",
                "11 01 1e04 01020304 0502 0000 0100 0000",
                Next::RouterAlert,
            ),
            ("padding only", "11 00 0104 00000000", Next::HopByHop),
            ("zeros only", "11 00 0000 00000000", Next::HopByHop),
            ("quick start", "11 01 2606 000000000000 0104 00000000", Next::HopByHop),
            ("RPL", "11 00 6304 00000000", Next::HopByHop),
            ("router alert of 3 bytes", "11 00 0503 0000 0000", Next::Malformed),
            ("router alert without its value", "11 00 0102 0000 0502", Next::Malformed),
            ("an option longer than the header", "11 00 1e05 00000000", Next::Malformed),
            ("a type without a length", "11 00 0103 000000 1e", Next::Malformed),
            ("an option of 255 bytes", "11 00 1eff 00000000", Next::Malformed),
        ] {
            assert_eq!(router.edge(&mut Ip6HopByHop, with(header)), expected, "{what}");
        }
    }

    #[test]
    fn nobody_makes_us_read_for_ever() {
        let mut router = Router::new();
        let zeros = |count: usize| format!("11 {:02x} {}", (count + 2) / 8 - 1, "00".repeat(count));
        assert_eq!(router.edge(&mut Ip6HopByHop, with(&zeros(30))), Next::HopByHop);
        assert_eq!(router.edge(&mut Ip6HopByHop, with(&zeros(38))), Next::TooMany);
        assert_eq!(router.edge(&mut Ip6HopByHop, with(&zeros(2046))), Next::TooMany);
        // 32 options and nothing behind them.
        let full = format!("11 04 {} 0104 00000000", "00".repeat(31 + 1));
        assert_eq!(router.edge(&mut Ip6HopByHop, with(&full)), Next::TooMany);
        let full = format!("11 04 {} 0105 0000000000", "00".repeat(31));
        assert_eq!(router.edge(&mut Ip6HopByHop, with(&full)), Next::HopByHop);
    }

    #[test]
    fn the_header_is_within_the_packet_and_within_one_segment() {
        let mut router = Router::new();
        let l3 = ip6(0, FAR6, &hex("11 01 0502 0000 0100 0000000000000000"));
        let whole = || at_l3(&l3, ETHERTYPE_IP6);
        assert_eq!(router.edge(&mut Ip6HopByHop, whole()), Next::RouterAlert);
        for at in 40..56 {
            let halves = split(whole(), 14 + at);
            assert_eq!(router.edge(&mut Ip6HopByHop, halves), Next::SplitHeader, "split at {at}");
        }
        for payload in 0..16 {
            let shorter = at_l3(&changed(&l3, &[(5, &[payload])]), ETHERTYPE_IP6);
            assert_eq!(router.edge(&mut Ip6HopByHop, shorter), Next::Malformed, "payload of {payload}");
        }
        assert_eq!(router.edge(&mut Ip6HopByHop, at_l3(&l3[..39], ETHERTYPE_IP6)), Next::Short);
    }
}

//! `arp-input`: is it ARP for IPv4 over Ethernet, and what does it say? (RFC 826, RFC 5227)

use punt::reason::{Class, Reason};

use crate::edges;
use crate::node::{Context, Node};
use crate::packet::Packet;
use crate::wire::{ETHERTYPE_IP4, be16};

/// Somebody asks for a MAC address; whether it is ours to tell is the sink's affair.
pub static REQUEST: Reason = Reason::new("arp.request", Class::Neigh, "ARP request").limit(1000, 512).copy();
/// Somebody tells us a MAC address.
pub static REPLY: Reason = Reason::new("arp.reply", Class::Neigh, "ARP reply").limit(1000, 512).copy();
/// Somebody tells everybody its own MAC address (RFC 5227 §1.1: an announcement), by a request or a reply.
pub static GRATUITOUS: Reason =
    Reason::new("arp.gratuitous", Class::Neigh, "gratuitous ARP: sender and target address are the same")
        .limit(200, 100)
        .copy();

edges! {
    /// Where `arp-input` sends a packet.
    pub enum Next {
        Request => punt REQUEST,
        Reply => punt REPLY,
        Gratuitous => punt GRATUITOUS,
        Hardware => drop "hardware type is not Ethernet",
        Protocol => drop "protocol type is not IPv4",
        HardwareLength => drop "hardware address length is not 6",
        ProtocolLength => drop "protocol address length is not 4",
        Operation => drop "operation is neither request nor reply",
        GroupSender => drop "sender MAC is multicast",
        SplitHeader => drop "header is split over segments",
        Short => drop "shorter than an ARP packet",
    }
}

/// Bytes of an ARP packet for IPv4 over Ethernet.
const LEN: usize = 28;

/// Checks ARP and tells requests, replies and announcements apart.
pub struct ArpInput;

impl Node for ArpInput {
    const NAME: &'static str = "arp-input";
    type Next = Next;

    fn packet(&mut self, _: &Context, packet: &mut Packet) -> Next {
        const ETHERNET: u16 = 1;
        const REQUEST: u16 = 1;
        const REPLY: u16 = 2;
        let Some(arp) = packet.l3::<LEN>() else {
            return if packet.l3_len() >= LEN as u32 { Next::SplitHeader } else { Next::Short };
        };
        if be16(arp, 0) != ETHERNET {
            return Next::Hardware;
        }
        if be16(arp, 2) != ETHERTYPE_IP4 {
            return Next::Protocol;
        }
        if arp[4] != 6 {
            return Next::HardwareLength;
        }
        if arp[5] != 4 {
            return Next::ProtocolLength;
        }
        let operation = be16(arp, 6);
        let (sender_mac, sender, target) = (&arp[8..14], &arp[14..18], &arp[24..28]);
        match operation {
            REQUEST | REPLY if sender_mac[0] & 1 != 0 => Next::GroupSender,
            REQUEST | REPLY if sender == target => Next::Gratuitous,
            REQUEST => Next::Request,
            REPLY => Next::Reply,
            _ => Next::Operation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use crate::wire::ETHERTYPE_ARP;

    /// "Who has 10.0.0.1? Tell 10.0.0.119."
    fn request() -> Vec<u8> {
        hex("0001 0800 06 04 0001  020000000077 0a000077  000000000000 0a000001")
    }

    #[test]
    fn requests_replies_and_announcements_are_told_apart() {
        let mut router = Router::new();
        let ours: &[u8] = &[10, 0, 0, 1];
        for (what, changes, expected) in [
            ("a request", &[][..], Next::Request),
            ("a probe, from nobody yet", &[(14, &[0, 0, 0, 0][..])], Next::Request),
            ("a reply", &[(7, &[2][..])], Next::Reply),
            ("an announcement", &[(14, ours)], Next::Gratuitous),
            ("an announcement as a reply", &[(7, &[2][..]), (14, ours)], Next::Gratuitous),
        ] {
            let packet = at_l3(&changed(&request(), changes), ETHERTYPE_ARP);
            assert_eq!(router.edge(&mut ArpInput, packet), expected, "{what}");
        }
    }

    #[test]
    fn what_is_not_ip4_over_ethernet_is_dropped() {
        let mut router = Router::new();
        for (what, at, byte, expected) in [
            ("IEEE 802 hardware", 1, 6, Next::Hardware),
            ("trailer encapsulation", 2, 0x10, Next::Protocol),
            ("hardware address of 8 bytes", 4, 8, Next::HardwareLength),
            ("protocol address of 16 bytes", 5, 16, Next::ProtocolLength),
            ("operation 0", 7, 0, Next::Operation),
            ("RARP request", 7, 3, Next::Operation),
            ("operation 257", 6, 1, Next::Operation),
            ("sender is a group", 8, 3, Next::GroupSender),
        ] {
            let packet = at_l3(&changed(&request(), &[(at, &[byte])]), ETHERTYPE_ARP);
            assert_eq!(router.edge(&mut ArpInput, packet), expected, "{what}");
        }
    }

    #[test]
    fn every_byte_is_needed_and_padding_is_not() {
        let mut router = Router::new();
        let padded = [request(), vec![0; 18]].concat();
        assert_eq!(router.edge(&mut ArpInput, at_l3(&padded, ETHERTYPE_ARP)), Next::Request);
        for len in 0..28 {
            assert_eq!(
                router.edge(&mut ArpInput, at_l3(&request()[..len], ETHERTYPE_ARP)),
                Next::Short,
                "{len}"
            );
            let packet = split(at_l3(&padded, ETHERTYPE_ARP), 14 + len);
            assert_eq!(router.edge(&mut ArpInput, packet), Next::SplitHeader, "split at {len}");
        }
    }
}

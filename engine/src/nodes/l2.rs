//! `l2-dispatch`: frames that are neither IP nor ARP. Nobody forwards them here, so each leaves for a reason.

use punt::facts::Facts;
use punt::reason::{Class, Reason};
use punt::{Mac, Match};

use crate::edges;
use crate::node::{Context, Node};
use crate::nodes::local::{PTP_EVENT, PTP_GENERAL};
use crate::nodes::redirect::Redirect;
use crate::packet::{NO_OFFSET, Packet};
use crate::punted::link_layer;
use crate::tables::MacAddress;
use crate::wire::be16;

macro_rules! reasons {
    ($($name:ident = $reason:literal $class:ident $rate:literal / $burst:literal $text:literal)+) => {
        $(
            #[doc = $text]
            pub static $name: Reason = Reason::new($reason, Class::$class, $text).limit($rate, $burst);
        )+
    };
}

reasons! {
    LACP = "l2.lacp" Link 1000/1000 "LACP (IEEE 802.1AX)"
    LACP_MARKER = "l2.lacp-marker" Link 100/64 "LACP marker protocol (IEEE 802.1AX)"
    OAM_EFM = "l2.oam-efm" Link 500/256 "Ethernet in the first mile OAM (IEEE 802.3 clause 57)"
    ESMC = "l2.esmc" Link 200/100 "synchronous Ethernet's messages (ITU-T G.8264)"
    STP = "l2.stp" Link 500/256 "spanning tree, any version (IEEE 802.1Q)"
    PVST = "l2.pvst" Link 500/256 "spanning tree per VLAN"
    LLDP = "l2.lldp" Neigh 100/100 "LLDP (IEEE 802.1AB)"
    CDP = "l2.cdp" Neigh 100/100 "CDP"
    VTP = "l2.vtp" Neigh 100/100 "VTP"
    DTP = "l2.dtp" Neigh 100/100 "DTP"
    PAGP = "l2.pagp" Neigh 100/100 "PAgP"
    UDLD = "l2.udld" Link 100/100 "UDLD (RFC 5171)"
    EAPOL = "l2.eapol" Neigh 500/500 "EAP over LAN (IEEE 802.1X)"
    CFM = "l2.cfm" Link 2000/2000 "connectivity fault management (IEEE 802.1Q)"
    ISIS = "l2.isis" Route 2000/2000 "IS-IS and other OSI protocols (ISO 10589, RFC 1195)"
    MVRP = "l2.mvrp" Neigh 100/64 "MVRP (IEEE 802.1Q)"
    MMRP = "l2.mmrp" Neigh 100/64 "MMRP (IEEE 802.1Q)"
    GVRP = "l2.gvrp" Neigh 100/64 "GVRP (IEEE 802.1Q-1998)"
    RARP = "l2.rarp" Neigh 50/32 "RARP (RFC 903)"
    NHRP = "l2.nhrp" Route 500/256 "NHRP (RFC 2332)"
    PPPOE_DISCOVERY = "l2.pppoe-discovery" Neigh 500/250 "PPPoE discovery (RFC 2516)"
    PPP_CONTROL = "l2.ppp-control" Neigh 1000/512 "PPP control protocol in PPPoE (RFC 1661)"
}

/// A frame to an address that no bridge forwards, of a protocol that nobody here knows.
pub static RESERVED_MULTICAST: Reason =
    Reason::new("l2.reserved-multicast", Class::Sample, "to a reserved bridge group address")
        .limit(50, 32)
        .drop();
/// A frame of a protocol that nobody here knows.
pub static UNCLAIMED: Reason =
    Reason::new("l2.unclaimed", Class::Miss, "neither IP nor ARP, and nobody asked for it")
        .limit(250, 100)
        .drop();

/// What matches see of each reason's frames.
pub const SEEN_AS: &[(&Reason, Match)] = &[
    (&LACP, Match::Ethertype(0x8809)),
    (&LACP_MARKER, Match::Ethertype(0x8809)),
    (&OAM_EFM, Match::Ethertype(0x8809)),
    (&ESMC, Match::Ethertype(0x8809)),
    (&STP, Match::Llc(0x42)),
    (&GVRP, Match::Llc(0x42)),
    (&PVST, Match::Llc(0xaa)),
    (&CDP, Match::Llc(0xaa)),
    (&VTP, Match::Llc(0xaa)),
    (&DTP, Match::Llc(0xaa)),
    (&PAGP, Match::Llc(0xaa)),
    (&UDLD, Match::Llc(0xaa)),
    (&ISIS, Match::Llc(0xfe)),
    (&LLDP, Match::Ethertype(0x88cc)),
    (&EAPOL, Match::Ethertype(0x888e)),
    (&CFM, Match::Ethertype(0x8902)),
    (&MVRP, Match::Ethertype(0x88f5)),
    (&MMRP, Match::Ethertype(0x88f6)),
    (&RARP, Match::Ethertype(0x8035)),
    (&NHRP, Match::Ethertype(0x2001)),
    (&PPPOE_DISCOVERY, Match::Ethertype(0x8863)),
    (&PPP_CONTROL, Match::Ethertype(0x8864)),
    (&PTP_EVENT, Match::Ethertype(0x88f7)),
    (&PTP_GENERAL, Match::Ethertype(0x88f7)),
];

edges! {
    /// Where `l2-dispatch` sends a frame.
    pub enum Next {
        Lacp => punt LACP,
        LacpMarker => punt LACP_MARKER,
        OamEfm => punt OAM_EFM,
        Esmc => punt ESMC,
        Stp => punt STP,
        Pvst => punt PVST,
        Lldp => punt LLDP,
        Cdp => punt CDP,
        Vtp => punt VTP,
        Dtp => punt DTP,
        Pagp => punt PAGP,
        Udld => punt UDLD,
        Eapol => punt EAPOL,
        Cfm => punt CFM,
        Isis => punt ISIS,
        Mvrp => punt MVRP,
        Mmrp => punt MMRP,
        Gvrp => punt GVRP,
        PtpEvent => punt PTP_EVENT,
        PtpGeneral => punt PTP_GENERAL,
        Rarp => punt RARP,
        Nhrp => punt NHRP,
        PppoeDiscovery => punt PPPOE_DISCOVERY,
        PppControl => punt PPP_CONTROL,
        ReservedMulticast => punt RESERVED_MULTICAST,
        Claimed => chosen reason,
        Unclaimed => punt UNCLAIMED else Redirect,
        NeitherLengthNorType => drop "ethertype is neither a length nor a type",
        Truncated => drop "802.3 length exceeds the frame",
        ShortLlc => drop "shorter than its LLC header",
        ShortSnap => drop "shorter than its SNAP header",
        ShortSlow => drop "shorter than a slow protocol's subtype",
        ShortPtp => drop "shorter than a PTP message type",
        ShortPpp => drop "shorter than its PPPoE header",
        SplitHeader => drop "header is split over segments",
        Short => drop "shorter than an Ethernet header",
    }
}

/// GARP applications share LLC with spanning tree and are told from it by destination (IEEE 802.1D-1998 §12.4).
const GMRP_ADDRESS: MacAddress = MacAddress::new([0x01, 0x80, 0xc2, 0, 0, 0x20]);
const GVRP_ADDRESS: MacAddress = MacAddress::new([0x01, 0x80, 0xc2, 0, 0, 0x21]);

/// Tells control protocols of the link apart.
pub struct L2Dispatch;

impl Node for L2Dispatch {
    const NAME: &'static str = "l2-dispatch";
    type Next = Next;

    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Next {
        let next = dispatch(packet);
        // What stands behind the ethertype is no L3 header.
        packet.meta.l3 = NO_OFFSET;
        match next {
            Next::Unclaimed => unclaimed(context, packet),
            next => next,
        }
    }
}

/// A frame that has no reason of its own: a registration's, if there is one.
fn unclaimed(context: &Context, packet: &mut Packet) -> Next {
    let claimed = context.tables.punt.link(context.guard).and_then(|claims| {
        let mut facts = Facts::default();
        link_layer(packet.bytes(), &mut facts);
        let destination = Mac(destination(packet).bytes());
        claims.find(destination, facts.ethertype, facts.llc)
    });
    match claimed {
        Some(reason) => {
            packet.meta.reason = reason;
            Next::Claimed
        }
        None if is_reserved(packet) => Next::ReservedMulticast,
        None => Next::Unclaimed,
    }
}

/// By type, or by length and LLC (IEEE 802.3 §3.2.6).
fn dispatch(packet: &Packet) -> Next {
    const MAX_LENGTH: u16 = 1500;
    const MIN_TYPE: u16 = 0x0600;
    const ISO_ROUTED: u16 = 0x00fe;
    let Some(ethertype) = ethertype(packet) else { return Next::Short };
    match ethertype {
        MIN_TYPE.. => by_type(packet, ethertype),
        ISO_ROUTED if header::<1>(packet) == Some([INTRADOMAIN_ROUTING]) => Next::Isis,
        ..=MAX_LENGTH if ethertype as u32 > packet.l3_len() => Next::Truncated,
        ..=MAX_LENGTH => llc(packet, ethertype as u32),
        _ => Next::NeitherLengthNorType,
    }
}

/// IS-IS' network layer protocol identifier, with which its packets begin.
const INTRADOMAIN_ROUTING: u8 = 0x83;

fn by_type(packet: &Packet, ethertype: u16) -> Next {
    match ethertype {
        0x2001 => Next::Nhrp,
        0x8035 => Next::Rarp,
        0x8809 => slow(packet),
        0x8863 => Next::PppoeDiscovery,
        0x8864 => ppp(packet),
        // LLC in frames too long for an 802.3 length: IS-IS' jumbo hellos.
        0x8870 => llc(packet, packet.l3_len()),
        0x888e => Next::Eapol,
        0x88cc => Next::Lldp,
        0x88f5 => Next::Mvrp,
        0x88f6 => Next::Mmrp,
        0x88f7 => ptp(packet),
        0x8902 => Next::Cfm,
        _ => Next::Unclaimed,
    }
}

/// Slow protocols, by subtype (IEEE 802.3 annex 57A).
fn slow(packet: &Packet) -> Next {
    match header(packet) {
        Some([1]) => Next::Lacp,
        Some([2]) => Next::LacpMarker,
        Some([3]) => Next::OamEfm,
        Some([0x0a]) => Next::Esmc,
        Some(_) => Next::Unclaimed,
        None => missing(packet, 1, Next::ShortSlow),
    }
}

/// PTP, by message type: those that are timestamped, and the rest (IEEE 1588 §13.3.2.3).
fn ptp(packet: &Packet) -> Next {
    match header::<1>(packet).map(|[first]| first & 15) {
        Some(0..=3) => Next::PtpEvent,
        Some(8..=13) => Next::PtpGeneral,
        Some(_) => Next::Unclaimed,
        None => missing(packet, 1, Next::ShortPtp),
    }
}

/// PPP in PPPoE: protocols from 0x8000 on control the link or a network protocol (RFC 1661 §2), the rest is a subscriber's traffic.
fn ppp(packet: &Packet) -> Next {
    match header::<8>(packet) {
        Some(header) if be16(&header, 6) >= 0x8000 => Next::PppControl,
        Some(_) => Next::Unclaimed,
        None => missing(packet, 8, Next::ShortPpp),
    }
}

/// By destination and source service access point, of `len` bytes (IEEE 802.2).
fn llc(packet: &Packet, len: u32) -> Next {
    let Some(header) = header::<3>(packet).filter(|_| len >= 3) else {
        return missing(packet, 3, Next::ShortLlc);
    };
    match header {
        [0x42, 0x42, 0x03] => match destination(packet) {
            GVRP_ADDRESS => Next::Gvrp,
            GMRP_ADDRESS => Next::Unclaimed,
            _ => Next::Stp,
        },
        [0xfe, 0xfe, 0x03] => Next::Isis,
        [0xaa, 0xaa, 0x03] => snap(packet, len),
        _ => Next::Unclaimed,
    }
}

/// By organisation and protocol (IEEE 802 §10.3).
fn snap(packet: &Packet, len: u32) -> Next {
    let Some(header) = header::<8>(packet).filter(|_| len >= 8) else {
        return missing(packet, 8, Next::ShortSnap);
    };
    if header[3..6] != [0x00, 0x00, 0x0c] {
        return Next::Unclaimed;
    }
    match be16(&header, 6) {
        0x0104 => Next::Pagp,
        0x010b => Next::Pvst,
        0x0111 => Next::Udld,
        0x2000 => Next::Cdp,
        0x2003 => Next::Vtp,
        0x2004 => Next::Dtp,
        _ => Next::Unclaimed,
    }
}

/// The field before the payload, which is where the L3 header would be.
fn ethertype(packet: &Packet) -> Option<u16> {
    let field = packet.bytes().get((packet.meta.l3 as usize).checked_sub(2)?..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*field))
}

/// The first bytes of the payload.
fn header<const N: usize>(packet: &Packet) -> Option<[u8; N]> {
    packet.l3::<N>().copied()
}

/// Why `len` bytes of payload are not to be had: the first segment ends before them, or the frame itself does.
fn missing(packet: &Packet, len: u32, short: Next) -> Next {
    let first = packet.bytes().len().saturating_sub(packet.meta.l3 as usize);
    if (first as u32) < len && packet.l3_len() >= len { Next::SplitHeader } else { short }
}

fn destination(packet: &Packet) -> MacAddress {
    packet.bytes().first_chunk().map_or(MacAddress::default(), |address| MacAddress::new(*address))
}

/// 01:80:c2:00:00:00 to 0f, which no bridge forwards (IEEE 802.1Q table 8-1).
fn is_reserved(packet: &Packet) -> bool {
    matches!(packet.bytes(), [0x01, 0x80, 0xc2, 0, 0, 0..=0x0f, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    const TO_US: &str = "02 00 00 00 00 01";
    const BRIDGES: &str = "01 80 c2 00 00 00";
    const SLOW: &str = "01 80 c2 00 00 02";
    const NEAREST: &str = "01 80 c2 00 00 0e";
    const CISCO: &str = "01 00 0c cc cc cc";

    /// A frame of at least 60 bytes as the node gets it: destination, then what stands behind the source.
    fn frame(destination: &str, rest: &str) -> Packet {
        let mut bytes = [hex(destination), HOST_MAC.to_vec(), hex(rest)].concat();
        bytes.resize(bytes.len().max(60), 0);
        behind(received(&bytes))
    }

    /// Behind an untagged Ethernet header.
    fn behind(mut packet: Packet) -> Packet {
        packet.meta.l3 = 14;
        packet
    }

    #[test]
    fn control_protocols_are_told_apart() {
        let mut router = Router::new();
        for (what, destination, rest, expected) in [
            ("LACP", SLOW, "8809 01 01", Next::Lacp),
            ("LACP marker", SLOW, "8809 02 01", Next::LacpMarker),
            ("EFM OAM", SLOW, "8809 03 0050", Next::OamEfm),
            ("ESMC", SLOW, "8809 0a 0019a7", Next::Esmc),
            ("LLDP", NEAREST, "88cc 0207", Next::Lldp),
            ("EAPOL start", "01 80 c2 00 00 03", "888e 01 01 0000", Next::Eapol),
            ("CFM", "01 80 c2 00 00 30", "8902 a001", Next::Cfm),
            ("MVRP", "01 80 c2 00 00 21", "88f5 00", Next::Mvrp),
            ("MMRP", "01 80 c2 00 00 20", "88f6 00", Next::Mmrp),
            ("RARP", "ff ff ff ff ff ff", "8035 0001", Next::Rarp),
            ("NHRP", TO_US, "2001 0001", Next::Nhrp),
            ("PPPoE discovery", "ff ff ff ff ff ff", "8863 11 09 0000 0004", Next::PppoeDiscovery),
            ("LCP in PPPoE", TO_US, "8864 11 00 0001 0008 c021 0101", Next::PppControl),
            ("IPCP in PPPoE", TO_US, "8864 11 00 0001 0008 8021 0101", Next::PppControl),
            ("a subscriber's IPv4", TO_US, "8864 11 00 0001 0008 0021 4500", Next::Unclaimed),
            ("PTP sync", "01 1b 19 00 00 00", "88f7 00 02", Next::PtpEvent),
            ("PTP peer delay response", "01 80 c2 00 00 0e", "88f7 13 02", Next::PtpEvent),
            ("PTP follow-up", "01 1b 19 00 00 00", "88f7 08 02", Next::PtpGeneral),
            ("PTP management", "01 1b 19 00 00 00", "88f7 0d 02", Next::PtpGeneral),
            ("PTP message of no type", "01 1b 19 00 00 00", "88f7 04 02", Next::Unclaimed),
            ("PTP message of no type", "01 1b 19 00 00 00", "88f7 0e 02", Next::Unclaimed),
            ("MPLS", TO_US, "8847 0001 01ff", Next::Unclaimed),
            ("AppleTalk", TO_US, "809b 0001", Next::Unclaimed),
            ("the lowest type", TO_US, "0600 0001", Next::Unclaimed),
        ] {
            assert_eq!(router.edge(&mut L2Dispatch, frame(destination, rest)), expected, "{what}: {rest}");
        }
    }

    #[test]
    fn llc_and_snap_are_told_apart_behind_a_length() {
        let mut router = Router::new();
        for (what, destination, rest, expected) in [
            ("STP", BRIDGES, "0026 42 42 03 0000 00 00", Next::Stp),
            ("RSTP of a provider's bridge", "01 80 c2 00 00 08", "0027 42 42 03 0000 02 02", Next::Stp),
            ("GVRP", "01 80 c2 00 00 21", "0010 42 42 03 0001", Next::Gvrp),
            ("GMRP", "01 80 c2 00 00 20", "0010 42 42 03 0001", Next::Unclaimed),
            ("IS-IS hello, level 1", "01 80 c2 00 00 14", "0020 fe fe 03 83 1b 01 00 0f", Next::Isis),
            ("ES-IS", "09 00 2b 00 00 05", "0020 fe fe 03 82 1b 01 00 0f", Next::Isis),
            ("CDP", CISCO, "0020 aa aa 03 00000c 2000 02b4", Next::Cdp),
            ("VTP", CISCO, "0020 aa aa 03 00000c 2003 01", Next::Vtp),
            ("DTP", CISCO, "0020 aa aa 03 00000c 2004 01", Next::Dtp),
            ("PAgP", CISCO, "0020 aa aa 03 00000c 0104 01", Next::Pagp),
            ("UDLD", CISCO, "0020 aa aa 03 00000c 0111 20", Next::Udld),
            ("PVST+", "01 00 0c cc cc cd", "0020 aa aa 03 00000c 010b 0000", Next::Pvst),
            ("another protocol of Cisco's", CISCO, "0020 aa aa 03 00000c 2007 01", Next::Unclaimed),
            ("another organisation", CISCO, "0020 aa aa 03 00e02b 00bb 01", Next::Unclaimed),
            ("IP in SNAP", TO_US, "0020 aa aa 03 000000 0800 45", Next::Unclaimed),
            ("IPX", TO_US, "0020 e0 e0 03 ffff", Next::Unclaimed),
            ("NetBEUI", TO_US, "0020 f0 f0 7f", Next::Unclaimed),
            ("an LLC response", BRIDGES, "0026 42 43 03 0000 00 00", Next::ReservedMulticast),
            ("as long as the frame", BRIDGES, "002e 42 42 03 0000 00 00", Next::Stp),
            ("longer than the frame", BRIDGES, "002f 42 42 03 0000 00 00", Next::Truncated),
            ("the greatest length", BRIDGES, "05dc 42 42 03 0000 00 00", Next::Truncated),
            ("neither length nor type", BRIDGES, "05dd 42 42 03 0000 00 00", Next::NeitherLengthNorType),
            ("neither length nor type", TO_US, "05ff 42 42 03 0000 00 00", Next::NeitherLengthNorType),
            ("too short for LLC", BRIDGES, "0002 42 42 03 0000 00 00", Next::ShortLlc),
            ("empty", TO_US, "0000 42 42 03 0000 00 00", Next::ShortLlc),
            ("too short for SNAP", CISCO, "0007 aa aa 03 00000c 2000", Next::ShortSnap),
            ("just long enough for SNAP", CISCO, "0008 aa aa 03 00000c 2000", Next::Cdp),
        ] {
            assert_eq!(router.edge(&mut L2Dispatch, frame(destination, rest)), expected, "{what}: {rest}");
        }
    }

    #[test]
    fn isis_comes_in_jumbo_frames_too() {
        let mut router = Router::new();
        let long = "00".repeat(2000);
        for (what, rest, expected) in [
            ("LLC behind the ethertype for long frames", format!("8870 fe fe 03 83 1b {long}"), Next::Isis),
            ("the packet right behind its ethertype", format!("00fe 83 1b 01 00 {long}"), Next::Isis),
            ("LLC of length 254", format!("00fe fe fe 03 83 {long}"), Next::Isis),
            ("a length of 254 that is not there", "00fe 42 42 03".into(), Next::Truncated),
        ] {
            assert_eq!(router.edge(&mut L2Dispatch, frame("01 80 c2 00 00 15", &rest)), expected, "{what}");
        }
    }

    #[test]
    fn what_no_bridge_forwards_and_nobody_knows_has_a_reason_of_its_own() {
        let mut router = Router::new();
        for last in 0..=0x0f {
            let pause = frame(&format!("0180c20000{last:02x}"), "8808 0001 ffff");
            assert_eq!(router.edge(&mut L2Dispatch, pause), Next::ReservedMulticast, "{last:x}");
        }
        assert_eq!(router.edge(&mut L2Dispatch, frame("0180c2000010", "8808 0001")), Next::Unclaimed);
        assert_eq!(router.edge(&mut L2Dispatch, frame(SLOW, "8809 04 01")), Next::ReservedMulticast);
        assert_eq!(router.edge(&mut L2Dispatch, frame(TO_US, "8809 04 01")), Next::Unclaimed);
    }

    #[test]
    fn headers_that_are_not_all_there_are_dropped() {
        let mut router = Router::new();
        for (rest, len, short) in [
            ("8809", 1, Next::ShortSlow),
            ("88f7", 1, Next::ShortPtp),
            ("8864 11 00 0001 0008 c021", 8, Next::ShortPpp),
            ("8870 fe fe 03", 3, Next::ShortLlc),
            ("8870 aa aa 03 00000c 2000", 8, Next::ShortSnap),
        ] {
            let whole = [LAN_MAC.to_vec(), HOST_MAC.to_vec(), hex(rest), vec![0; 46]].concat();
            for there in 0..len {
                // An LLC header stands before a SNAP header.
                let short = if short == Next::ShortSnap && there < 3 { Next::ShortLlc } else { short };
                let chopped = behind(received(&whole[..14 + there]));
                assert_eq!(router.edge(&mut L2Dispatch, chopped), short, "{rest}: {there} bytes");
                let halves = behind(split(received(&whole), 14 + there));
                assert_eq!(
                    router.edge(&mut L2Dispatch, halves),
                    Next::SplitHeader,
                    "{rest}: split at {there}"
                );
            }
        }
        for there in 0..14 {
            assert_eq!(router.edge(&mut L2Dispatch, behind(received(&[0; 14][..there]))), Next::Short);
        }
    }

    #[test]
    fn a_tagged_frame_is_dispatched_behind_its_tags_and_has_no_l3_header() {
        let mut router = Router::new();
        let mut packet = frame(BRIDGES, "8100 0064 0026 42 42 03");
        packet.meta.l3 = 18;
        let (next, packet) = router.run(&mut L2Dispatch, packet);
        assert_eq!((next, packet.meta.l3), (Next::Stp, NO_OFFSET));
        packet.mbuf.free();
    }
}

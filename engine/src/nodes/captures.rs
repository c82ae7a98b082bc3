//! The whole graph from captures of real and of malformed control traffic.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pcap_file::pcap::PcapParser;

use crate::testing::*;

/// Every frame of the captures beside the repository, with the name of its capture.
pub fn captured() -> Option<Vec<(String, Vec<u8>)>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/pcaps");
    let Ok(entries) = std::fs::read_dir(&directory) else {
        eprintln!("SKIPPED: there are no captures in ../shared/pcaps");
        return None;
    };
    let mut frames = Vec::new();
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    paths.sort();
    for path in paths {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).expect("a capture can be read");
        let (mut rest, parser) = PcapParser::new(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Some files set bits above the link type, as they do all kinds of things wrong.
        assert_eq!(u32::from(parser.header().datalink) & 0xffff, 1, "{name} holds no Ethernet frames");
        while !rest.is_empty() {
            let frame = match parser.next_raw_packet(rest) {
                Ok((behind, packet)) => {
                    rest = behind;
                    packet.data.into_owned()
                }
                // A record that is longer than what is left of its file.
                Err(_) => std::mem::take(&mut rest).get(16..).unwrap_or_default().to_vec(),
            };
            frames.push((name.clone(), frame));
        }
    }
    assert!(frames.len() > 1000, "{} frames in {}", frames.len(), directory.display());
    Some(frames)
}

/// The frame addressed to our MAC address.
pub fn readdressed(frame: &[u8]) -> Vec<u8> {
    if frame.len() < 6 { frame.to_vec() } else { changed(frame, &[(0, &LAN_MAC)]) }
}

/// The same from a neighbour, its IP packet addressed to us and whole as far as a router checks it.
pub fn delivered(frame: &[u8]) -> Vec<u8> {
    let mut frame = readdressed(frame);
    if frame.len() >= 12 {
        frame[6..12].copy_from_slice(&HOST_MAC);
    }
    let there = (frame.len() as u16).saturating_sub(14);
    match frame.get(12..14) {
        Some([0x08, 0x00]) if there >= 20 => {
            let mut l3 = changed(&frame.split_off(14), &[(16, &LAN4)]);
            let claimed = u16::from_be_bytes([l3[2], l3[3]]);
            l3[2..4].copy_from_slice(&claimed.min(there).to_be_bytes());
            [frame, sealed(l3)].concat()
        }
        Some([0x86, 0xdd]) if there >= 40 => {
            let claimed = u16::from_be_bytes([frame[18], frame[19]]);
            changed(&frame, &[(18, &claimed.min(there - 40).to_be_bytes()), (38, &LAN6)])
        }
        _ => frame,
    }
}

#[test]
fn captures_of_control_traffic_leave_for_their_reason() {
    let Some(frames) = captured() else { return };
    let mut whole = Whole::new();
    let as_captured: fn(&[u8]) -> Vec<u8> = <[u8]>::to_vec;
    for (capture, how, expected) in [
        ("3560_CDP.pcap", as_captured, "l2.cdp 3"),
        ("802.1w_rapid_STP.pcap", as_captured, "l2.stp 30"),
        ("EIGRP_ipv6.pcap", as_captured, "local.eigrp 1"),
        ("HSRP_failover.pcap", as_captured, "local.hsrp 39"),
        ("IGMP_V1.pcap", as_captured, "ip4.igmp-query 3, ip4.igmp-report 24"),
        ("ISIS_external_lsp.pcap", as_captured, "l2.isis 15"),
        ("LACP.pcap", as_captured, "l2.lacp 20"),
        ("OSPFv3_with_AH.pcap", as_captured, "ether-input NotOurs 16, local.ospf 45"),
        ("OSPFv3_with_AH.pcap", delivered, "local.ospf 61"),
        ("PIM_register_register-stop.pcap", delivered, "local.pim-register 2"),
        ("PIMv2_hellos.pcap", as_captured, "local.pim 6"),
        ("babel_rfc6126bis.pcap", as_captured, "local.babel 130"),
        ("bfd-lag.pcap", as_captured, "local.bfd-lag 5"),
        ("bfd-raw-auth-sha1.pcap", delivered, "local.bfd 25"),
        ("bgp-4byte-asn.pcap", delivered, "arp.reply 6, arp.request 6, local.bgp 79"),
        ("bigtcp-ipv6-hbh.pcap", readdressed, "ip6-input Jumbogram 1"),
        ("dhcp-option-33.pcap", as_captured, "local.dhcp4 5"),
        ("dhcpv6-ia-ta.pcap", delivered, "local.dhcp6 4"),
        (
            "eapon1.pcap",
            as_captured,
            "arp.gratuitous 3, arp.request 1, ether-input NotOurs 43, ip4-lookup GroupFrame 53, ip4.igmp-report 2, \
             ip4.multicast-no-route 3, local.dhcp4 9",
        ),
        (
            "eapon1.pcap",
            readdressed,
            "arp.gratuitous 3, arp.reply 1, arp.request 1, ip4-lookup LinkLocal 43, ip4.igmp-report 2, \
             ip4.multicast-no-route 3, ip4.no-route 11, l2.eapol 41, local.dhcp4 9",
        ),
        ("icmpv6-ns-nonce.pcap", as_captured, "nd.solicitation 1"),
        ("icmpv6-ra-pref64.pcap", as_captured, "nd.router-advertisement 4"),
        ("icmpv6.pcap", as_captured, "ip6.mld-query 1, ip6.mld-report 3, nd.router-advertisement 1"),
        ("ipv4_invalid_hdr_length.pcap", readdressed, "ip4-input HeaderLength 1"),
        ("ipv6-srh-ext-header.pcap", delivered, "ip6.unclaimed 1"),
        ("ipv6_39_byte_header.pcap", readdressed, "ip6-input Short 1"),
        ("ipv6_frag6_negative_len.pcap", delivered, "ip6-local Exceeds 1"),
        ("ipv6_no_next_header.pcap", delivered, "ip6-local NoNextHeader 1"),
        ("isakmp4500.pcap", delivered, "arp.reply 4, arp.request 4, local.esp-in-udp 12, local.ike 15"),
        ("lldp_8021_linkagg.pcap", as_captured, "l2.lldp 2"),
        ("nhrp-trace.pcap", delivered, "local.gre 4"),
        ("ptp_v2_1.pcap", as_captured, "l2.ptp-event 22, l2.ptp-general 16"),
        ("ripv1v2.pcap", as_captured, "local.rip 4"),
        ("slow-ossp.pcap", as_captured, "l2.esmc 1"),
        ("spb.pcap", as_captured, "l2.isis 53"),
        ("vrrp.pcap", as_captured, "local.vrrp 165"),
    ] {
        let mut ends = BTreeMap::<_, u32>::new();
        for (_, frame) in frames.iter().filter(|(name, _)| name == capture) {
            *ends.entry(whole.end(&how(frame))).or_default() += 1;
        }
        let ends: Vec<_> = ends.into_iter().map(|(end, count)| format!("{end} {count}")).collect();
        assert_eq!(ends.join(", "), expected, "{capture}");
    }
    whole.assert_balanced();
}

/// Frames are chopped at every length up to this; longer ones are only offloads that no port delivers.
const CHOPPED: usize = 1600;

#[test]
fn captures_of_malformed_traffic_end_at_an_edge_whole_chopped_and_split() {
    let Some(frames) = captured() else { return };
    let mut whole = Whole::new();
    let mut burst = Vec::with_capacity(Whole::BURST);
    let mut put = 0_u64;
    for (_, frame) in &frames {
        for frame in [frame.clone(), readdressed(frame), delivered(frame)] {
            whole.pass([dpdk_sys::Packet::from_bytes(&frame)]);
            for len in 0..=frame.len().min(CHOPPED) {
                let (front, back) = frame.split_at(len);
                burst.push(dpdk_sys::Packet::from_bytes(front));
                burst.push(dpdk_sys::Packet::from_segments(&[front, &back[..back.len().min(CHOPPED)]]));
                if burst.len() + 2 > Whole::BURST {
                    put += burst.len() as u64;
                    whole.pass(burst.drain(..));
                }
            }
        }
    }
    whole.pass(burst.drain(..));
    whole.assert_balanced();
    assert_eq!(dpdk_sys::lost(), 0, "packets went out of scope without a verdict");
    println!("{} frames, {put} pieces", frames.len());
}

//! Frames that are not IP: ARP, the link's control protocols, and frames that are for somebody else.

use std::net::Ipv4Addr;

use fastrand::Rng;

use super::{Exception, bytes, exception};
use crate::packets::{self, ARP, arp, frame, llc, router4, snap, udp, unpadded};
use crate::plan::Port::{Lan, Wan};
use crate::plan::{HOST, Mac, UPSTREAM};
use crate::traffic::Outcome::{self, Dropped, Punted};

/// Not IP, or not ours.
pub const FRAMES: &[Exception] = &[
    exception("ARP request", Lan, Punted("arp.request"), |_| {
        let question = arp(1, (HOST.mac, host()), ([0; 6], router4(Lan)));
        frame([0xff; 6], HOST.mac, None, ARP, &question)
    }),
    exception("ARP reply", Lan, Punted("arp.reply"), |_| {
        let answer = arp(2, (HOST.mac, host()), (Lan.mac(), router4(Lan)));
        frame(Lan.mac(), HOST.mac, None, ARP, &answer)
    }),
    exception("gratuitous ARP", Lan, Punted("arp.gratuitous"), |_| {
        frame([0xff; 6], HOST.mac, None, ARP, &arp(1, (HOST.mac, host()), ([0; 6], host())))
    }),
    exception("ARP request in a VLAN", Lan, Punted("arp.request"), |_| {
        let question = arp(1, (HOST.mac, [10, 100, 0, 10].into()), ([0; 6], [10, 100, 0, 1].into()));
        frame([0xff; 6], HOST.mac, Some(100), ARP, &question)
    }),
    exception("ARP for another protocol", Lan, Dropped("arp-input", "protocol type is not IPv4"), |_| {
        let mut question = arp(1, (HOST.mac, host()), ([0; 6], router4(Lan)));
        question[2..4].copy_from_slice(&[0x80, 0x9b]);
        frame([0xff; 6], HOST.mac, None, ARP, &question)
    }),
    exception("LACP", Lan, Punted("l2.lacp"), |rng| slow(rng, 1)),
    exception("LACP marker", Lan, Punted("l2.lacp-marker"), |rng| slow(rng, 2)),
    exception("EFM OAM", Wan, Punted("l2.oam-efm"), |rng| slow(rng, 3)),
    exception("LLDP", Lan, Punted("l2.lldp"), |rng| control(rng, bridge(0x0e), 0x88cc)),
    exception("EAPOL", Lan, Punted("l2.eapol"), |rng| control(rng, bridge(0x03), 0x888e)),
    exception("CFM", Wan, Punted("l2.cfm"), |rng| control(rng, bridge(0x35), 0x8902)),
    exception("PPPoE discovery", Lan, Punted("l2.pppoe-discovery"), |rng| control(rng, [0xff; 6], 0x8863)),
    exception("STP", Lan, Punted("l2.stp"), |rng| {
        llc(bridge(0), HOST.mac, &[&[0x42, 0x42, 0x03][..], &bytes(rng, 35)].concat())
    }),
    exception("PVST", Lan, Punted("l2.pvst"), |rng| cisco(rng, 0xcd, 0x010b)),
    exception("CDP", Lan, Punted("l2.cdp"), |rng| cisco(rng, 0xcc, 0x2000)),
    exception("UDLD", Lan, Punted("l2.udld"), |rng| cisco(rng, 0xcc, 0x0111)),
    exception("IS-IS hello", Wan, Punted("l2.isis"), |rng| {
        llc(bridge(0x14), UPSTREAM.mac, &[&[0xfe, 0xfe, 0x03, 0x83][..], &bytes(rng, 1493)].concat())
    }),
    exception("to a reserved bridge address", Lan, Punted("l2.reserved-multicast"), |rng| {
        control(rng, bridge(0x0b), 0x9100 - 1)
    }),
    exception("ethertype nobody knows", Lan, Punted("l2.unclaimed"), |rng| control(rng, Lan.mac(), 0x88b5)),
    exception("802.3 length beyond the frame", Lan, Dropped("l2-dispatch", LENGTH), |rng| {
        frame(bridge(0), HOST.mac, None, 400, &bytes(rng, 100))
    }),
    exception("for somebody else", Lan, ether("destination MAC is not ours"), |_| {
        to_mac([2, 0, 0, 0, 0x77, 0x77], HOST.mac)
    }),
    exception("from a multicast MAC", Lan, ether("source MAC is multicast"), |_| {
        to_mac(Lan.mac(), [3, 0, 0, 0, 0, 9])
    }),
    exception("from the zero MAC", Lan, ether("source MAC is zero"), |_| to_mac(Lan.mac(), [0; 6])),
    exception("from our own MAC", Lan, ether("source MAC is our own"), |_| to_mac(Lan.mac(), Lan.mac())),
    exception("VLAN that nobody has", Lan, ether("no interface has these VLAN tags"), |_| {
        frame(Lan.mac(), HOST.mac, Some(999), packets::IP4, &transit())
    }),
    exception("VLAN tag that ends early", Lan, ether("shorter than its VLAN tag"), |_| {
        unpadded(Lan.mac(), HOST.mac, None, 0x8100, &[0])
    }),
    exception("runt", Lan, ether("shorter than an Ethernet header"), |_| Lan.mac().repeat(2)),
];

const LENGTH: &str = "802.3 length exceeds the frame";

const fn ether(text: &'static str) -> Outcome {
    Dropped("ether-input", text)
}

fn host() -> Ipv4Addr {
    HOST.ip4.parse().expect("an address")
}

/// A group address of IEEE 802.1.
fn bridge(last: u8) -> Mac {
    [0x01, 0x80, 0xc2, 0, 0, last]
}

fn control(rng: &mut Rng, destination: Mac, ethertype: u16) -> Vec<u8> {
    frame(destination, HOST.mac, None, ethertype, &bytes(rng, 60))
}

/// A slow protocol (IEEE 802.3 annex 57A).
fn slow(rng: &mut Rng, subtype: u8) -> Vec<u8> {
    frame(bridge(2), HOST.mac, None, 0x8809, &[&[subtype, 1][..], &bytes(rng, 108)].concat())
}

fn cisco(rng: &mut Rng, last: u8, protocol: u16) -> Vec<u8> {
    snap([0x01, 0x00, 0x0c, 0xcc, 0xcc, last], HOST.mac, [0, 0, 0x0c], protocol, &bytes(rng, 60))
}

fn transit() -> Vec<u8> {
    udp(packets::ip4(host(), [10, 2, 0, 9].into()), 9, 9, b"who is it for?")
}

fn to_mac(destination: Mac, source: Mac) -> Vec<u8> {
    frame(destination, source, None, packets::IP4, &transit())
}

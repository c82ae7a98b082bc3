//! No packet buffers: what cannot be received, or injected, is counted, and when there are buffers again everything goes on.

mod common;

use std::fs::File;
use std::path::Path;

use common::Rig;
use common::client::Client;
use common::frames::*;
use common::router::*;
use pcap_file::pcap::{PcapPacket, PcapWriter};
use punt::record::{Header, SEND};

const FRAMES: u64 = 3_000;
/// Packet buffers of the engine: fewer than the way out of `wan` takes when nobody takes them away.
const BUFFERS: usize = 511;
/// The only port of the test's own.
const WAN: usize = 0;

fn capture(path: &Path) {
    let mut writer = PcapWriter::new(File::create(path).expect("a file")).expect("room");
    for at in 0..FRAMES {
        let frame = from_host(udp4("10.0.0.7", &format!("10.2.{}.{}", at / 200, at % 200), 64, &[7; 18]));
        let packet = PcapPacket::new(std::time::Duration::from_micros(at), frame.len() as u32, &frame);
        writer.write_packet(&packet).expect("room");
    }
}

#[test]
fn packets_for_which_there_is_no_buffer_are_counted_and_nothing_else_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("lan.pcap");
    capture(&file);
    let client = Client::new("a");
    let config = ROUTER.replace("net_ring_lan", "net_pcap0")
        + &format!("[tables]\npackets = {BUFFERS}\n")
        + &format!("[[sink]]\nname = \"a\"\ntarget = \"unix:{}\"\n", client.path().display());
    let lan = format!("--vdev=net_pcap0,rx_pcap={}", file.display());
    let mut rig = Rig::with("0", &["wan"], &config, &[lan]);

    // All buffers are on their way out of `wan`; from then on what comes has none.
    rig.turn();
    let full = rig.interfaces();
    assert_eq!(full["wan"].tx_packets, full["lan"].rx_packets);
    (0..50).for_each(|_| rig.turn());
    let lost = rig.interfaces()["lan"].rx_missed;
    assert!(lost >= 50, "{lost} lost");
    assert_eq!(rig.interfaces()["lan"].rx_packets, full["lan"].rx_packets, "none was received");

    // Nor is there one for what a client injects.
    let frame = lldp(60);
    let len = frame.len() as u32;
    let wan = rig.index("wan");
    let header = Header { action: SEND, interface: wan, captured: len, original: len, ..Header::default() };
    let inject = rig.row("sink.list", "name", "a")["inject"].as_str().expect("a path").to_owned();
    client.inject(&inject, &[&header.bytes()[..], &frame].concat());
    rig.until("sink.list", "name", "a", |row| row["injected"] == 1);
    rig.turn();
    assert_eq!(rig.dropped("inject", "no packet buffer for it"), 1);

    // As soon as there are buffers again, everything is forwarded.
    let mut forwarded = 0;
    loop {
        let taken = rig.take(WAN).len() as u64;
        forwarded += taken;
        rig.turn();
        if taken == 0 {
            break;
        }
    }
    let lan = rig.interfaces()["lan"].clone();
    assert_eq!(lan.rx_packets + lan.rx_missed, FRAMES, "received, or lost and counted");
    assert_eq!(forwarded, lan.rx_packets);
    assert!(lan.rx_packets > full["lan"].rx_packets, "it went on");
    rig.finish();
}

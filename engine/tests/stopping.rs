//! Workers leave while they hand packets to each other: nothing is lost by who leaves first.

mod common;

use common::Rig;
use common::frames::*;
use common::router::*;

const STOPS: usize = 50;
/// As many as the rings between workers hold.
const FRAMES: usize = 200;

/// `lan` is looked at and sent to by one worker, `wan` by the other, so every packet goes from one to the other.
fn lay_both(rig: &mut Rig) {
    let there = from_host(udp4("10.0.0.7", "10.2.3.4", 64, &[1; 18]));
    let back = ethernet(WAN_MAC, GATEWAY, &udp4("10.2.3.4", "10.0.0.7", 64, &[2; 18]));
    rig.lay(LAN, &vec![there; FRAMES]);
    rig.lay(WAN, &vec![back; FRAMES]);
}

#[test]
fn what_one_worker_hands_over_while_another_has_left_already_is_still_sent() {
    let mut rig = Rig::new("0@0,1@0,2@1", &["lan", "wan"], ROUTER);
    assert_eq!(rig.workers.len(), 2);
    for stop in 0..STOPS {
        lay_both(&mut rig);
        rig.run_and_stop();
        // They are still there, and go on where they stopped.
        rig.turn();
        assert_eq!([rig.take(LAN).len(), rig.take(WAN).len()], [FRAMES; 2], "after stop {stop}");
        assert_eq!(dpdk_sys::lost(), 0, "packets that nobody gave a verdict");
    }
    // The last time they are not asked to go on: what lies between them is freed.
    lay_both(&mut rig);
    rig.run_and_stop();
    let sent = rig.take(LAN).len() + rig.take(WAN).len();
    assert!((1..=2 * FRAMES).contains(&sent), "{sent}");
    rig.workers.clear();
    assert_eq!(dpdk_sys::lost(), 0, "packets that nobody gave a verdict");
}

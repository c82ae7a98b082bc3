//! Simulations in virtual time: who gets what of a reason that is flooded.

use std::cell::RefCell;
use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::policer::{Config, Kind, Limit, Shape, Unit, Verdict};

const HZ: u64 = 1_000_000_000; // a tick is a nanosecond
const RATE: u64 = 600;
const BURST: u64 = 300;

/// One reason with its share and its policer.
struct Punt {
    share: Share,
    of: ReasonShare,
    policer: Policer,
    /// Without limits.
    budget: Budget,
    gates: RefCell<Gates>,
}

impl Punt {
    fn new(rate: u64, burst: u64) -> Punt {
        let budget = Budget::new(HZ, 0);
        let lifted = Shape { total: Rate::Unlimited, classes: [(0, Rate::Unlimited); 8] };
        budget.set_all(lifted, 0).expect("they fit");
        Punt {
            budget,
            share: Share::new([0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9], HZ, 0),
            of: ReasonShare::new(3),
            policer: Policer::packets(Limit::new(rate, burst), HZ, 0),
            gates: RefCell::default(),
        }
    }

    fn with(config: &Config) -> Punt {
        Punt { policer: Policer::new(config, HZ, 0), ..Punt::new(RATE, BURST) }
    }

    fn limits(&self) -> Limits<'_> {
        Limits { share: &self.of, policer: &self.policer, budget: &self.budget, class: Class::Except }
    }

    fn judge(&self, now: u64, interface: u32, source: Source) -> Result<(), Refused> {
        self.share.take(&mut self.gates.borrow_mut(), now, &self.limits(), interface, source, 60)
    }

    fn offer(&self, now: u64, interface: u32, source: u32) -> bool {
        let source = Source::ip4(source.to_be_bytes());
        self.judge(now, interface, source).is_ok() && self.policer.take(now, 60) == Verdict::Pass
    }
}

/// Packets that come at a steady rate from some sources in turn.
#[derive(Clone)]
struct Stream {
    interface: u32,
    first: u32,
    sources: u32,
    pps: u64,
    /// When it begins, in ticks.
    from: u64,
    sent: u64,
    passed: u64,
}

impl Stream {
    fn new(interface: u32, first: u32, sources: u32, pps: u64, from: u64) -> Stream {
        Stream { interface, first, sources, pps, from, sent: 0, passed: 0 }
    }

    /// 100 sources with two packets a second each.
    fn quiet(interface: u32) -> Stream {
        Stream::new(interface, 1, 100, 200, 0)
    }

    fn next(&self) -> u64 {
        self.from + self.sent * HZ / self.pps
    }
}

/// Sends all streams for so many seconds, in the order of time.
fn run(punt: &Punt, streams: &mut [Stream], seconds: u64) {
    while let Some(stream) = streams.iter_mut().min_by_key(|stream| stream.next()) {
        let now = stream.next();
        if now >= seconds * HZ {
            return;
        }
        // Not in order, so that no hash is favoured.
        let source = stream.first + (stream.sent * 40_503 % u64::from(stream.sources)) as u32;
        stream.passed += u64::from(punt.offer(now, stream.interface, source));
        stream.sent += 1;
    }
}

#[test]
fn a_lone_source_has_the_whole_rate_and_the_whole_burst() {
    let punt = Punt::new(RATE, BURST);
    assert_eq!((0..1_000).filter(|_| punt.offer(0, 1, 1)).count() as u64, BURST);
    let mut flood = [Stream::new(1, 1, 1, 1_000_000, 1)];
    run(&punt, &mut flood, 4);
    assert!(flood[0].passed.abs_diff(RATE * 4) <= 10, "{} of {}", flood[0].passed, RATE * 4);
}

/// What 100 quiet sources lose, and what each flood gets that begins when they have been there for a second.
fn beside(floods: impl IntoIterator<Item = Stream>, rate: u64, burst: u64) -> (u64, Vec<u64>) {
    beside_in(&Punt::new(rate, burst), floods, rate / 3, (rate, burst))
}

fn beside_in(
    punt: &Punt,
    floods: impl IntoIterator<Item = Stream>,
    quiet: u64,
    (rate, burst): (u64, u64),
) -> (u64, Vec<u64>) {
    let mut streams = vec![Stream::new(1, 1, 100, quiet, 0)];
    streams.extend(floods);
    run(punt, &mut streams, 4);
    let passed: u64 = streams.iter().map(|stream| stream.passed).sum();
    // What the quiet ones leave goes to the floods; a part of one burst may lie in reserve.
    assert!(passed <= rate * 4 + burst, "{passed}");
    assert!(passed + burst * 3 / 4 >= rate * 3 + streams[0].sent / 4, "{passed}");
    (streams[0].sent - streams[0].passed, streams[1..].iter().map(|stream| stream.passed).collect())
}

const SHIPPED: [(u64, u64); 3] = [(600, 300), (1_000, 1_000), (2_500, 2_500)];

#[test]
fn a_hundred_quiet_sources_lose_nothing_beside_one_flooder() {
    for (rate, burst) in SHIPPED {
        assert_eq!(beside([Stream::new(1, 1_000, 1, 1_000_000, HZ)], rate, burst).0, 0, "{rate}");
    }
}

#[test]
fn nor_beside_sixty_four_flooders() {
    for (rate, burst) in SHIPPED {
        assert_eq!(beside([Stream::new(1, 1_000, 64, 1_000_000, HZ)], rate, burst).0, 0, "{rate}");
    }
}

#[test]
fn nor_beside_one_flooder_of_another_interface() {
    for (rate, burst) in SHIPPED {
        assert_eq!(beside([Stream::new(2, 1_000, 1, 1_000_000, HZ)], rate, burst).0, 0, "{rate}");
    }
}

#[test]
fn nor_beside_65_536_spoofed_sources_of_another_interface() {
    for (rate, burst) in SHIPPED {
        assert_eq!(beside([Stream::new(2, 1_000, 65_536, 1_000_000, HZ)], rate, burst).0, 0, "{rate}");
    }
}

#[test]
fn nor_beside_a_flooder_of_their_own_and_spoofed_sources_of_another_interface() {
    let floods = [Stream::new(1, 1_000, 1, 1_000_000, HZ), Stream::new(2, 2_000, 65_536, 1_000_000, HZ)];
    let (lost, got) = beside(floods, 600, 300);
    assert_eq!(lost, 0);
    // Half of the rate is the other interface's; of their own half, the flooder has what they leave.
    assert!(got[0] > 200 && got[1] < 1_300, "{got:?}");
}

/// What is yellow is as good as red then, and there is plenty of it. The quiet ones do not come in step with tokens.
#[test]
fn nor_where_yellow_packets_are_dropped() {
    for kind in [Kind::Rfc2697, Kind::Rfc2698, Kind::Rfc4115] {
        let config = Config {
            kind,
            peak: (kind != Kind::Rfc2697).then_some(Rate::PerSecond(10_000)),
            excess: Some(10_000),
            yellow: Verdict::Drop,
            ..Config::packets(Rate::PerSecond(RATE), BURST)
        };
        for flood in [Stream::new(1, 1_000, 1, 1_000_000, HZ), Stream::new(2, 1_000, 65_536, 1_000_000, HZ)] {
            assert_eq!(
                beside_in(&Punt::with(&config), [flood], RATE / 3 - 7, (RATE, BURST)).0,
                0,
                "{kind:?}"
            );
        }
    }
}

/// A flood of interface 2: so many sources, packets a second, seconds.
type Phase = (u32, u64, u64);

const SPOOFED: Phase = (65_536, 300_000, 4);
const HEAVY: Phase = (1, 300_000, 3);
const ORDINARY: Phase = (1, 500, 4);
const MANY: Phase = (64, 300_000, 3);
const NOTHING: Phase = (1, 1, 5);

/// Lets floods of interface 2 follow each other beside streams of interface 1, and says which phase each lost how many packets in.
fn lost_in_sequence(punt: &Punt, quiet: &mut [Stream], phases: &[Phase]) -> Vec<(usize, Phase, u64)> {
    let (mut losses, mut second) = (Vec::new(), 1);
    run(punt, quiet, second);
    for &(sources, pps, seconds) in phases {
        let before: Vec<u64> = quiet.iter().map(|stream| stream.sent - stream.passed).collect();
        let flood = Stream::new(2, 100_000, sources, pps, second * HZ);
        let mut all: Vec<Stream> = quiet.iter().cloned().chain([flood]).collect();
        second += seconds;
        run(punt, &mut all, second);
        quiet.iter_mut().zip(all).for_each(|(quiet, ran)| *quiet = ran);
        let lost = quiet.iter().zip(before).map(|(stream, before)| stream.sent - stream.passed - before);
        losses.extend(
            lost.enumerate().filter(|it| it.1 > 0).map(|(at, lost)| (at, (sources, pps, seconds), lost)),
        );
    }
    losses
}

const SEQUENCES: [&[Phase]; 6] = [
    &[SPOOFED, ORDINARY, SPOOFED],
    &[SPOOFED, HEAVY, SPOOFED],
    &[HEAVY, SPOOFED, MANY, SPOOFED],
    &[MANY, SPOOFED, ORDINARY, MANY],
    &[NOTHING, SPOOFED, NOTHING, HEAVY],
    &[ORDINARY, MANY, NOTHING, SPOOFED, HEAVY, SPOOFED],
];

#[test]
fn nor_beside_floods_of_another_interface_that_follow_each_other() {
    for (rate, burst) in [(250, 100), (600, 300), (1_000, 500), (1_000, 1_000), (10_000, 5_000)] {
        for phases in SEQUENCES {
            let quiet = Stream::new(1, 1, 100, rate / 3 - 7, 0);
            let lost = lost_in_sequence(&Punt::new(rate, burst), &mut [quiet], phases);
            assert_eq!(lost, [], "{rate}/{burst}, {phases:?}");
        }
    }
}

/// As many as 100, and as few as one, at whatever they want below their interface's half.
#[test]
fn nor_do_other_numbers_of_quiet_sources_beside_such_floods() {
    for (rate, burst, sources, pps) in [
        (250, 100, 1, 50),
        (100, 100, 5, 20),
        (600, 300, 1, 100),
        (10_000, 5_000, 8, 1_600),
        (1_000, 500, 8, 200),
        (600, 300, 20, 20),
    ] {
        for phases in SEQUENCES {
            let quiet = Stream::new(1, 1, sources, pps, 0);
            let lost = lost_in_sequence(&Punt::new(rate, burst), &mut [quiet], phases);
            assert_eq!(lost, [], "{sources} sources at {pps} of {rate}/{burst}, {phases:?}");
        }
    }
}

#[test]
fn nor_does_a_busier_one_among_them() {
    for phases in SEQUENCES {
        let mut streams = [Stream::quiet(1), Stream::new(1, 200, 1, 20, 0)];
        assert_eq!(lost_in_sequence(&Punt::new(RATE, BURST), &mut streams, phases), [], "{phases:?}");
    }
}

/// The flood is one that a clock moves with and others that lag behind it, in one stream.
#[test]
fn nor_do_they_beside_a_flooder_and_spoofed_sources_of_one_interface() {
    for (rate, burst) in SHIPPED {
        let floods = [Stream::new(2, 1_000, 1, 100_000, HZ), Stream::new(2, 2_000, 65_536, 200_000, HZ)];
        assert_eq!(beside(floods, rate, burst).0, 0, "{rate}");
    }
}

/// A flood of their own interface gets what they leave of its half, however the other interface's goes on.
#[test]
fn nor_beside_a_flooder_of_their_own_while_others_follow_each_other() {
    for phases in SEQUENCES {
        let punt = Punt::new(RATE, BURST);
        let mut streams = [Stream::new(1, 1, 100, 150, 0), Stream::new(1, 900, 1, 100_000, HZ / 2)];
        let lost = lost_in_sequence(&punt, &mut streams, phases);
        assert!(lost.iter().all(|it| it.0 == 1), "{phases:?}: {lost:?}");
    }
}

#[test]
fn a_lone_source_is_refused_by_its_reason_and_others_by_their_share() {
    let punt = Punt::new(100, 128);
    let lone = |now| punt.judge(now, 1, Source::ip4([10, 0, 0, 1]));
    assert_eq!((0..128).filter(|_| punt.offer(0, 1, 0x0a00_0001)).count(), 128);
    assert_eq!(lone(1), Err(Refused::Reason), "without a token nobody passes, and it is nobody's share");
    assert!(!punt.offer(1, 1, 0x0a00_0001));
    assert_eq!(lone(HZ / 40), Err(Refused::Reason), "two tokens are kept for newcomers");
    assert!(punt.offer(HZ / 40, 1, 0x0a00_0002) || punt.offer(HZ / 10, 1, 0x0a00_0002));
    assert_eq!(lone(HZ / 10), Err(Refused::Source));
}

#[test]
fn equal_flooders_get_equal_parts() {
    let punt = Punt::new(1_000, 400);
    let mut streams: Vec<Stream> = (0..8).map(|n| Stream::new(1, 100 + n, 1, 1_000 << n, 0)).collect(); // 1,000 to 128,000 pps
    run(&punt, &mut streams, 8);
    for stream in &streams {
        // The burst is for whoever comes first.
        assert!(stream.passed.abs_diff(1_000) <= 200, "{} pps: {}", stream.pps, stream.passed);
    }
}

#[test]
fn equal_interfaces_get_equal_parts_however_many_sources_they_have() {
    let punt = Punt::new(1_000, 400);
    let mut streams = [
        Stream::new(1, 1, 1, 300_000, 0),
        Stream::new(2, 1, 10, 300_000, 0),
        Stream::new(3, 1, 1_000, 300_000, 0),
        Stream::new(4, 1, 65_536, 300_000, 0),
    ];
    run(&punt, &mut streams, 8);
    for stream in &streams {
        assert!(stream.passed.abs_diff(2_000) <= 250, "{} sources: {}", stream.sources, stream.passed);
    }
}

#[test]
fn what_one_interface_leaves_the_others_have_alike() {
    let punt = Punt::new(900, 300);
    let mut streams =
        [Stream::new(1, 1, 1, 10, 0), Stream::new(2, 1, 1, 300_000, 0), Stream::new(3, 1, 1_000, 100_000, 0)];
    run(&punt, &mut streams, 8);
    let [little, one, many] = streams.each_ref().map(|stream| stream.passed);
    assert_eq!(little, streams[0].sent);
    assert!(one.abs_diff(many) <= 200 && little + one + many >= 900 * 8, "{little}, {one}, {many}");
}

#[test]
fn ceilings_hold_even_when_there_is_plenty() {
    let punt = Punt::new(100_000, 100_000);
    punt.of.set_source_rate(Rate::PerSecond(100), HZ);
    punt.of.set_interface_rate(Rate::PerSecond(150), HZ);
    let mut streams =
        [Stream::new(1, 1, 1, 1_000, 0), Stream::new(1, 2, 1, 1_000, 0), Stream::new(2, 1, 1, 1_000, 0)];
    run(&punt, &mut streams, 10);
    let [one, two, three] = streams.map(|stream| stream.passed);
    assert!((three).abs_diff(1_040) <= 2, "100 a second and 40 at once: {three}");
    assert!((one + two).abs_diff(1_560) <= 2, "150 a second and 60 at once: {one} + {two}");
    punt.of.set_source_rate(Rate::Unlimited, HZ);
    punt.of.set_interface_rate(Rate::Unlimited, HZ);
    assert!((0..1_000).all(|_| punt.offer(11 * HZ, 1, 1)));
}

#[test]
fn an_interface_that_others_come_beside_stays_at_its_ceiling() {
    let punt = Punt { policer: Policer::packets(Limit::UNLIMITED, HZ, 0), ..Punt::new(1, 1) };
    punt.of.set_interface_rate(Rate::PerSecond(1), HZ);
    let passed = |now| (0..100).filter(|_| punt.offer(now, 1, 1)).count();
    assert_eq!(passed(0), 16);
    // As many pairs of another reason as make the table full twice, all of them active.
    let (of, policer) = (ReasonShare::new(4), Policer::packets(Limit::new(1_000_000, 1_000_000), HZ, 0));
    let limits = Limits { share: &of, policer: &policer, ..punt.limits() };
    for interface in 0..4_096 {
        let taken =
            punt.share.take(&mut Gates::default(), 1, &limits, interface, Source::ip4([10, 0, 0, 1]), 60);
        assert_eq!(taken, Ok(()));
    }
    assert_eq!(passed(2), 0);
}

/// It takes of the lower class what is there, whatever others of the burst found in their own.
#[test]
fn what_is_demoted_is_not_refused_for_a_class_that_another_packet_found_full() {
    let config = Config {
        kind: Kind::Rfc2698,
        unit: Unit::Bits,
        peak: Some(Rate::PerSecond(8_000_000)),
        excess: Some(1_000_000),
        yellow: Verdict::Demote(Class::Miss),
        ..Config::packets(Rate::PerSecond(8), 200)
    };
    let punt = Punt::with(&config);
    punt.budget.set(Class::Except, 0, Rate::PerSecond(1), 0).expect("it fits");
    while punt.budget.take(Class::Except, 0) {}
    let take = |source, bytes| {
        punt.share.take(
            &mut punt.gates.borrow_mut(),
            0,
            &punt.limits(),
            1,
            Source::ip4([10, 0, 0, source]),
            bytes,
        )
    };
    assert_eq!(take(1, 100), Err(Refused::Class), "it is green");
    assert_eq!(take(2, 300), Ok(()), "it is yellow");
}

#[test]
fn another_secret_makes_newcomers_of_all_and_harms_nobody() {
    let punt = Punt::new(RATE, BURST);
    let mut streams = [Stream::quiet(1), Stream::new(1, 1_000, 1, 1_000_000, HZ / 2 * 3)];
    for second in 1..=4 {
        run(&punt, &mut streams, second);
        punt.share.rotate([second * 0x1e37_79b9_7f4a_7c15, second * 0x1545_f491_4f6c_dd1d]);
    }
    assert_eq!(streams[0].passed, streams[0].sent);
}

#[test]
fn a_source_is_an_address_a_prefix_or_a_mac() {
    assert_eq!(Source::ip4([192, 0, 2, 1]).to_string(), "192.0.2.1");
    let six = "2001:db8:1:2:3:4:5:6".parse::<Ipv6Addr>().unwrap();
    assert_eq!(Source::ip6(six.octets()).to_string(), "2001:db8:1:2::/64");
    assert_eq!(Source::mac([2, 0, 0, 0, 0, 1]).to_string(), "02:00:00:00:00:01");
}

#[test]
fn two_workers_share_a_reason_as_one_would() {
    use std::sync::atomic::AtomicU64;

    let punt = Punt::new(1_000, 400);
    let (Punt { share, policer, .. }, limits) = (&punt, punt.limits());
    let clock = AtomicU64::new(0);
    let end = 8 * HZ;
    // Bursts of 8 by both, 200 kpps together; in every 80th burst one packet is of a quiet source.
    let worker = |seed: u32| {
        let (mut gates, mut sent, mut lost, mut passed) = (Gates::default(), 0_u64, 0_u64, 0_u64);
        for burst in 0_u32.. {
            let now = clock.fetch_add(HZ / 25_000, Ordering::Relaxed);
            if now >= end {
                break;
            }
            for packet in 0..8 {
                let quiet = burst % 80 == seed && packet == 3;
                let source = if quiet { 1 + burst / 80 % 100 } else { 1_000 + (burst * 8 + packet) % 7 };
                if !quiet && now < HZ {
                    continue;
                }
                let take = share.take(&mut gates, now, &limits, 1, Source::ip4(source.to_be_bytes()), 60);
                let passes = take.is_ok() && policer.take(now, 60) == Verdict::Pass;
                passed += u64::from(passes);
                sent += u64::from(quiet);
                lost += u64::from(quiet && !passes);
            }
        }
        (sent, lost, passed)
    };
    let sum = std::thread::scope(|scope| {
        let workers = [scope.spawn(|| worker(0)), scope.spawn(|| worker(40))];
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2))
    });
    let (sent, lost, passed) = sum;
    // A worker that is held up in the middle of a burst comes with an old clock; so "nothing" is 1 % here.
    assert!(lost * 100 <= sent, "{lost} of {sent} lost");
    assert!((7_000..=8_400).contains(&passed), "{passed}");
}

proptest! {
    /// Where all tokens are kept for other interfaces, no source of this one need be looked for: whoever it is would be refused, and so.
    #[test]
    fn whom_the_interface_is_refused_for_any_look_would_refuse(
        (tokens, credit) in (1_u64..400, 0..=INTERFACE_CREDIT),
        (for_interfaces, for_sources, lag) in (0_u64..400, 0_u64..400, 0_u32..20),
        seated in any::<bool>(),
    ) {
        let gate = Gate { tokens, credit, for_interfaces, for_sources, ..Gate::NONE };
        let share = Share::new([1, 2], HZ, 0);
        let word = u64::from((gate.clock as u32).wrapping_sub(lag));
        let seat = Seat { set: &share.sets[0], way: seated.then_some(0), word };
        if gate.is_shut() {
            prop_assert_eq!(gate.judge(&seat), Err(Refused::Interface));
        }
    }
}

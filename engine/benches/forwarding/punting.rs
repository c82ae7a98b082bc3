//! What punting costs those who are forwarded: the graph with a sink, beside the same packets dropped in the graph because nobody asked.
//!
//! Both are run in turns, in slices of a millisecond or less, with the time that it takes to put fresh packets in place of those that were
//! freed taken out. Both are built anew several times, in alternating order. Figures are medians of paired ratios and differences of them all,
//! with quartiles. How long each loop took is kept beside.

use std::error::Error;

use dpdk_sys::{tsc, tsc_hz};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use crate::contender::{Contender, InGraph};
use crate::instructions;
use crate::office::{Books, Office, Presence, a_thousand};
use crate::rig::Rig;
use crate::slices::{Spread, interleaved};
use crate::wire::Wire;

const BURST: u16 = 64;
/// TSC cycles of a slice, before which an eighth as many warm up.
const SLICE: u64 = 1_500_000;
/// TSC cycles of a slice in which nothing is punted, so that few of them meet another process.
const SHORT: u64 = 500_000;
/// How often both sides are built anew: two that do the same differ by up to a fifth with where they lie in memory.
const LAYOUTS: usize = 10;

/// Something that is measured.
#[derive(Clone, Copy)]
struct Case {
    /// So many out of a hundred packets have a TTL of 1.
    percent: u32,
    presence: Presence,
    unlimited: bool,
    /// At least so much of its speed forwarding keeps.
    keeps: Option<f64>,
    /// At most so many cycles for each packet that is forwarded.
    cycles: Option<f64>,
}

impl Case {
    /// Somebody, or nobody, is at the socket of a sink that gets what expired.
    fn asked(self, office: Office) -> Result<Office, Box<dyn Error>> {
        let office = office.with_sink(self.presence)?;
        let office = office.registered([("reason:ip4.ttl-expired".parse()?, None)])?;
        if self.unlimited { office.unlimited() } else { Ok(office) }
    }
}

/// All that is measured.
fn cases() -> Vec<Case> {
    let case =
        |percent, presence, unlimited, keeps, cycles| Case { percent, presence, unlimited, keeps, cycles };
    let mut cases = Vec::new();
    for presence in [Presence::Live, Presence::Dead, Presence::Stuck, Presence::Missing] {
        for unlimited in [false, true] {
            cases.push(case(1, presence, unlimited, Some(0.97), Some(5.0)));
            if presence == Presence::Live {
                cases.push(case(12, presence, unlimited, None, (!unlimited).then_some(10.0)));
            }
            cases.push(case(50, presence, unlimited, Some(0.90), None));
        }
    }
    cases
}

/// One who is measured.
struct Side {
    graph: InGraph,
    wire: Wire,
    loops: Loops,
    /// Of slices that no other process got into.
    calm: Loops,
}

/// What a slice says: TSC cycles per packet, and whether another process got into it.
#[derive(Clone, Copy)]
struct Slice {
    cycles: f64,
    calm: bool,
}

impl Side {
    fn new(office: &Office, wire: &Wire) -> Side {
        let graph = office.graph(wire, BURST, false);
        Side { graph, wire: wire.end(), loops: Loops::default(), calm: Loops::default() }
    }

    /// Runs for so many cycles, once warm.
    fn slice(&mut self) -> Slice {
        self.run(SLICE / 8, &mut Loops::default());
        let (mut loops, before) = (Loops::default(), switches());
        let cycles = self.run(SLICE, &mut loops);
        let calm = before == switches();
        self.loops.add_all(&loops);
        if calm {
            self.calm.add_all(&loops);
        }
        Slice { cycles, calm }
    }

    fn run(&mut self, cycles: u64, loops: &mut Loops) -> f64 {
        let (mut packets, mut busy, start) = (0, 0, tsc());
        let mut from = start;
        while from - start < cycles {
            packets += self.graph.turn();
            let took = tsc() - from;
            busy += took;
            loops.add(took);
            self.wire.refill();
            from = tsc();
        }
        busy as f64 / packets.max(1) as f64
    }
}

/// How often another process got onto our CPU, as far as the system says.
fn switches() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

/// How long loops took, from one look at the receive queue to the next: a histogram with steps of an eighth.
struct Loops {
    counts: Vec<u64>,
    longest: u64,
}

const STEPS: u32 = 8;

impl Default for Loops {
    fn default() -> Loops {
        Loops { counts: vec![0; 64 * STEPS as usize], longest: 0 }
    }
}

impl Loops {
    fn add(&mut self, cycles: u64) {
        let octave = cycles.max(STEPS.into()).ilog2();
        let step = (cycles >> (octave - STEPS.ilog2())) as u32 % STEPS;
        self.counts[(octave * STEPS + step) as usize] += 1;
        self.longest = self.longest.max(cycles);
    }

    fn add_all(&mut self, other: &Loops) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.longest = self.longest.max(other.longest);
    }

    /// Microseconds that all but one loop in `of` do not exceed.
    fn all_but_one_in(&self, of: u64) -> f64 {
        let mut beyond = self.counts.iter().sum::<u64>() / of;
        for (at, &count) in self.counts.iter().enumerate().rev() {
            if count > beyond {
                let (octave, step) = (at as u32 / STEPS, at as u32 % STEPS);
                return microseconds((u64::from(STEPS + step + 1) << octave) / u64::from(STEPS));
            }
            beyond -= count;
        }
        0.0
    }

    fn json(&self) -> Value {
        json!({
            "loops": self.counts.iter().sum::<u64>(),
            "median_us": self.all_but_one_in(2),
            "p99_us": self.all_but_one_in(100),
            "p99.9_us": self.all_but_one_in(1_000),
            "p99.99_us": self.all_but_one_in(10_000),
            "longest_us": microseconds(self.longest),
        })
    }
}

fn microseconds(cycles: u64) -> f64 {
    cycles as f64 * 1e6 / tsc_hz() as f64
}

/// Pairs of slices, of dropping and of punting, and what was counted beside.
#[derive(Default)]
struct Taken {
    pairs: Vec<(Slice, Slice)>,
    books: Books,
    loops: [Loops; 2],
    calm: [Loops; 2],
}

impl Taken {
    /// Builds both sides anew, the punting one first or last, and measures so many rounds.
    fn add_layout(
        &mut self,
        rig: &mut Rig,
        case: Case,
        rounds: usize,
        punting_first: bool,
    ) -> Result<(), Box<dyn Error>> {
        let mut wire = rig.wire(4096, case.percent)?;
        let mut built = [None, None];
        for punts in [punting_first, !punting_first] {
            let office = rig.office(&wire)?;
            let office = if punts { case.asked(office)? } else { office };
            let side = Side::new(&office, &wire);
            built[usize::from(punts)] = Some((office, side));
        }
        let [Some((_without, mut dropping)), Some((with, mut punting))] = built else {
            unreachable!("one side drops and one punts");
        };
        // A probe of the socket comes every 50 ms, and what a burst may hold is used up.
        for side in [&mut dropping, &mut punting] {
            side.run(tsc_hz() / 10, &mut Loops::default());
        }
        self.pairs.extend((0..rounds).map(|round| match round % 2 {
            0 => {
                let first = dropping.slice();
                (first, punting.slice())
            }
            _ => {
                let first = punting.slice();
                (dropping.slice(), first)
            }
        }));
        self.books.add(&with.books());
        for (at, side) in [dropping, punting].into_iter().enumerate() {
            self.loops[at].add_all(&side.loops);
            self.calm[at].add_all(&side.calm);
        }
        wire.clear();
        Ok(())
    }
}

/// What was measured of a case.
pub struct Row {
    case: Case,
    /// TSC cycles per packet where they are dropped, and where they are punted.
    dropped: Spread,
    punted: Spread,
    /// Of its speed, what forwarding keeps: of all pairs, and of those that no other process got into.
    keeps: Spread,
    keeps_calm: Spread,
    /// More cycles for each packet that is forwarded, of calm pairs.
    more: Spread,
    books: Books,
    loops: [Loops; 2],
    calm: [Loops; 2],
}

impl Row {
    fn measure(rig: &mut Rig, case: Case, rounds: usize) -> Result<Row, Box<dyn Error>> {
        let mut taken = Taken::default();
        for layout in 0..LAYOUTS {
            taken.add_layout(rig, case, rounds.div_ceil(LAYOUTS), layout % 2 == 1)?;
        }
        let Taken { pairs, books, loops, calm: calm_loops } = taken;
        let forwarded = 1.0 - f64::from(case.percent) / 100.0;
        let of = |what: fn(&(Slice, Slice)) -> f64| Spread::of(pairs.iter().map(what).collect());
        // Where no pair is calm, all of them must do.
        let any_calm = pairs.iter().any(|(a, b)| a.calm && b.calm);
        let calm = || pairs.iter().filter(|(a, b)| !any_calm || (a.calm && b.calm));
        Ok(Row {
            case,
            dropped: of(|(dropped, _)| dropped.cycles),
            punted: of(|(_, punted)| punted.cycles),
            keeps: of(|(dropped, punted)| dropped.cycles / punted.cycles),
            keeps_calm: Spread::of(calm().map(|(dropped, punted)| dropped.cycles / punted.cycles).collect()),
            more: Spread::of(calm().map(|(a, b)| (b.cycles - a.cycles) / forwarded).collect()),
            books,
            loops,
            calm: calm_loops,
        })
    }

    /// What was wanted and whether it is so.
    fn targets(&self) -> Vec<(String, bool)> {
        let keeps = self
            .case
            .keeps
            .map(|least| (format!("keeps ≥ {:.0} %", least * 100.0), self.keeps_calm.median() >= least));
        let cycles = self.case.cycles.map(|most| (format!("≤ {most} cycles"), self.more.median() <= most));
        keeps.into_iter().chain(cycles).collect()
    }

    fn limits(&self) -> &'static str {
        if self.case.unlimited { "lifted" } else { "shipped" }
    }

    /// The row of the table.
    pub fn line(&self) -> String {
        let quartiles = |spread: &Spread, scale: f64, digits: usize| {
            let [low, middle, high] = [25, 50, 75].map(|percent| spread.percentile(percent) * scale);
            format!("{middle:.digits$} ({low:.digits$}–{high:.digits$})")
        };
        let said =
            |(wanted, reached): (String, bool)| format!("{wanted}: {}", if reached { "yes" } else { "NO" });
        let targets: Vec<String> = self.targets().into_iter().map(said).collect();
        let Books { packets, accepted, delivered, .. } = self.books;
        let part = |count: u64| 100.0 * count as f64 / packets.max(1) as f64;
        format!(
            "{:>3} % {:<8} {:<8} {:>6.1} {:>6.1}  {:<20} {:<20} {:<20} {:>6.2} {:>6.2}  {:>5.1} {:>6.1} {:>6.1}  {:>6.1} {:>6.1}  {}",
            self.case.percent,
            format!("{:?}", self.case.presence).to_lowercase(),
            self.limits(),
            self.dropped.median(),
            self.punted.median(),
            quartiles(&self.more, 1.0, 1),
            quartiles(&self.keeps, 100.0, 1),
            quartiles(&self.keeps_calm, 100.0, 1),
            part(accepted),
            part(delivered),
            self.calm[1].all_but_one_in(2),
            self.calm[0].all_but_one_in(10_000),
            self.calm[1].all_but_one_in(10_000),
            microseconds(self.calm[0].longest),
            microseconds(self.calm[1].longest),
            targets.join(", "),
        )
    }

    /// The row as an object.
    pub fn json(&self) -> Value {
        let Books { packets, no_sink, accepted, delivered, ring_full, errors } = self.books;
        json!({
            "punted_percent": self.case.percent,
            "client": format!("{:?}", self.case.presence).to_lowercase(),
            "limits": self.limits(),
            "dropped_cycles": self.dropped.json(),
            "punted_cycles": self.punted.json(),
            "more_cycles_per_forwarded": self.more.json(),
            "keeps": self.keeps.json(),
            "keeps_calm": self.keeps_calm.json(),
            "books": {
                "packets": packets, "no_sink": no_sink, "accepted": accepted, "delivered": delivered,
                "ring_full": ring_full, "errors": errors,
            },
            "loops_without": self.loops[0].json(),
            "loops_with": self.loops[1].json(),
            "calm_loops_without": self.calm[0].json(),
            "calm_loops_with": self.calm[1].json(),
            "targets": self.targets().into_iter().map(|(target, reached)| json!({ "target": target, "reached": reached })).collect::<Vec<_>>(),
        })
    }
}

/// Above the rows.
const HEADING: &str = "\
                          dropped punted  more cycles per      forwarding keeps, %  the same, calm       accepted deliv.   loops, µs: all but 1 in 10⁴      longest
punted client   limits    cycles/packet   forwarded packet     (quartiles)          slices               % of punted    median without   with without   with  targets";

/// Below them.
const LEGEND: &str = "\
TSC cycles per packet that is received, with receiving, sending and freeing, but without what makes fresh packets. Calm: no other process got
onto the forwarding CPU meanwhile; of a row without such slices, all. Loops: from one look at the receive queue to the next, of calm slices.";

/// Measures and prints everything; returns it as an object.
pub fn run(rig: &mut Rig, rounds: usize, only: &str, json: bool) -> Result<Value, Box<dyn Error>> {
    let nothing = nothing_punted(rig, rounds)?;
    if !json {
        let [low, middle, high] = [25, 50, 75].map(|percent| nothing.percentile(percent));
        let noise = nothing.1.median();
        println!(
            "\n1,000 registrations, nothing punted: time {middle:.3} ({low:.3}–{high:.3}) of that without (≤ 1.03: {}); the same twice: {noise:.3}",
            if middle <= 1.03 { "yes" } else { "NO" }
        );
        println!("\n{HEADING}");
    }
    let mut rows = Vec::new();
    for case in cases() {
        let name = format!(
            "{} % {:?} {}",
            case.percent,
            case.presence,
            if case.unlimited { "lifted" } else { "shipped" }
        )
        .to_lowercase();
        if !name.contains(only) {
            continue;
        }
        let row = Row::measure(rig, case, rounds)?;
        if !json {
            println!("{}", row.line());
        }
        rows.push(row.json());
    }
    if !json {
        println!("\n{LEGEND}");
    }
    Ok(json!({
        "thousand_registrations": nothing.0.json(),
        "the_same_twice": nothing.1.json(),
        "rows": rows,
    }))
}

/// Time with a thousand registrations by time without, where nothing is punted; and time without by time without.
struct Nothing(Spread, Spread);

impl std::ops::Deref for Nothing {
    type Target = Spread;

    fn deref(&self) -> &Spread {
        &self.0
    }
}

fn nothing_punted(rig: &mut Rig, rounds: usize) -> Result<Nothing, Box<dyn Error>> {
    let mut wire = rig.wire(4096, 0)?;
    let offices = thousand(rig, &wire)?;
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    for office in &offices {
        contenders.push(Box::new(office.graph(&wire, BURST, false)));
    }
    let rounds = interleaved(&mut contenders, rounds, SHORT);
    drop(contenders);
    wire.clear();
    Ok(Nothing(rounds.ratio(2, 0), rounds.ratio(1, 0)))
}

/// Two offices without registrations and one with a thousand.
fn thousand(rig: &Rig, wire: &Wire) -> Result<[Office; 3], Box<dyn Error>> {
    let with = rig.office(wire)?.with_sink(Presence::Live)?.registered(a_thousand())?;
    Ok([rig.office(wire)?, rig.office(wire)?, with])
}

/// What callgrind counts: nothing punted, without registrations (0) or with a thousand (1); or one in a hundred with an expired TTL, for which
/// nobody asked (2), which the limits refuse (3), or which goes to a client (4).
pub fn count(rig: &mut Rig, number: usize) -> Result<(), Box<dyn Error>> {
    let wire = rig.wire(4096, if number < 2 { 0 } else { 1 })?;
    let mut office = rig.office(&wire)?;
    let case =
        |unlimited| Case { percent: 1, presence: Presence::Live, unlimited, keeps: None, cycles: None };
    office = match number {
        1 => office.with_sink(Presence::Live)?.registered(a_thousand())?,
        3 | 4 => case(number == 4).asked(office)?,
        _ => office,
    };
    let mut graph = office.graph(&wire, BURST, false);
    if number == 3 {
        // What a burst may hold is used up.
        let mut wire = wire.end();
        (0..2000).for_each(|_| {
            graph.turn();
            wire.refill();
        });
    }
    instructions::count(&mut graph);
    Ok(())
}

//! The forwarding path, measured: the graph against a floor that only receives and sends, and against the same IPv4 work fused by hand.
//!
//! All in one process, in interleaved slices of a fraction of a millisecond, as medians of paired ratios; see `docs/performance.md`. Run it by
//! `scripts/bench`, which says what can be asked of it.

#![deny(unsafe_code)]

mod agreement;
mod contender;
mod fused;
mod instructions;
mod office;
mod ping_pong;
mod punting;
mod random;
mod report;
mod rig;
mod router;
mod slices;
mod wire;

use std::error::Error;
use std::process::ExitCode;

use serde_json::json;

use instructions::Counts;
use report::{HEADING, LEGEND, Row};
use rig::{Rig, SCENARIOS, Scenario};

const USAGE: &str = "\
usage: scripts/bench [--quick] [--json] [--only WORDS] [--rounds N]
       scripts/bench --punt [--quick] [--json] [--only WORDS] [--rounds N]
       scripts/bench --instructions [--gate] [--json]
       scripts/bench --sinks | --policers
  --quick         20 seconds: fewer rounds, and no million routes
  --json          an object instead of a table
  --only WORDS    traffic with these words in its name
  --rounds N      slices of each contender
  --punt          only what punting costs those who are forwarded
  --instructions  count instructions per packet and node, under valgrind
  --gate          fail if a node takes more of them than it may
  --sinks         what sinks carry beside a bare loop of sendmmsg and a bare ring
  --policers      what each stage of policing costs by itself";

/// What is asked for.
#[derive(Default)]
struct Options {
    quick: bool,
    json: bool,
    only: Option<String>,
    rounds: Option<usize>,
    punt: bool,
    instructions: bool,
    gate: bool,
    /// This process is the one under callgrind: which contender is counted.
    count: Option<usize>,
    /// The same, with registrations or without.
    count_punt: Option<usize>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} wants a value"));
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                "--punt" => options.punt = true,
                "--instructions" => options.instructions = true,
                "--gate" => options.gate = true,
                "--only" => options.only = Some(value()?),
                "--rounds" => {
                    let value = value()?;
                    let rounds =
                        value.parse().map_err(|_| format!("--rounds wants a number, not {value}"))?;
                    options.rounds = Some(rounds);
                }
                "--count" => options.count = value()?.parse().ok(),
                "--count-punt" => options.count_punt = value()?.parse().ok(),
                // Cargo says so to every benchmark.
                "--bench" => {}
                _ => return Err(format!("{arg} is not an option\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    if std::env::args().skip(1).any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(sentence) => {
            eprintln!("{sentence}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let wanted = |traffic: &str| options.only.as_ref().is_none_or(|words| traffic.contains(words.as_str()));
    let scenarios: Vec<_> = SCENARIOS
        .iter()
        .filter(|scenario| wanted(scenario.traffic) && (!options.quick || scenario.quick()))
        .collect();
    if let Some(number) = options.count_punt {
        return punting::count(&mut Rig::new(4096, false)?, number);
    }
    match (options.count, scenarios.first()) {
        (Some(contender), Some(scenario)) => {
            let (_, mut contenders) = Rig::new(4096, false)?.line_up(scenario)?;
            instructions::count(&mut *contenders[contender]);
            Ok(())
        }
        _ if options.instructions => instructions(options),
        _ if options.punt => cycles(options, &[]),
        _ => cycles(options, &scenarios),
    }
}

fn cycles(options: &Options, scenarios: &[&Scenario]) -> Result<(), Box<dyn Error>> {
    let mut rig = Rig::new(rig::PACKETS, scenarios.iter().any(|scenario| scenario.is_large()))?;
    let ping_pong = ping_pong::round_trip(&rig.eal);
    if !options.json {
        println!(
            "{}, {}, TSC at {:.2} GHz",
            dpdk_sys::version(),
            rig::cpu(),
            dpdk_sys::tsc_hz() as f64 / 1e9
        );
        if let Some(trip) = &ping_pong {
            let (low, middle) = (trip.percentile(10), trip.median());
            println!("A cache line goes to the other core and back in {middle:.0} cycles (p10 {low:.0}).");
        }
    }
    rig.check_agreement()?;
    let rounds = options.rounds.unwrap_or(if options.quick { 300 } else { 2000 });
    let mut rows: Vec<Row> = Vec::new();
    if !options.json && !scenarios.is_empty() {
        println!("\n{HEADING}");
    }
    for scenario in scenarios {
        let row = rig.measure(scenario, rounds)?;
        if !options.json {
            println!("{}", row.line());
        }
        rows.push(row);
    }
    if !options.json && !scenarios.is_empty() {
        println!("\n{LEGEND}");
    }
    let only = options.only.as_deref().filter(|_| options.punt);
    let punting = match options.only.is_none() || options.punt {
        true => Some(punting::run(&mut rig, rounds, only.unwrap_or(""), options.json)?),
        false => None,
    };
    if options.json {
        let report = json!({
            "dpdk": dpdk_sys::version(),
            "cpu": rig::cpu(),
            "tsc_hz": dpdk_sys::tsc_hz(),
            "ping_pong_cycles": ping_pong.map(|trip| trip.median()),
            "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "punting": punting,
        });
        println!("{report:#}");
    }
    Ok(())
}

fn instructions(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut excesses = Vec::new();
    let mut all = Vec::new();
    if !options.json {
        println!("Instructions per packet {:<24}  count  limit", "part");
    }
    for traffic in instructions::TRAFFIC {
        let counts = Counts::of(traffic)?;
        if !options.json {
            println!("{}", counts.lines());
        }
        all.push(counts.json());
        excesses.extend(counts.excesses());
    }
    let [without, with] = instructions::with_registrations()?;
    if !options.json {
        println!(
            "1,000 registrations, nothing punted: {with:.2} with, {without:.2} without: {:.4}",
            with / without
        );
    }
    all.push(json!({ "traffic": "1,000 registrations", "with": with, "without": without }));
    if with > without * 1.01 {
        excesses.push(format!(
            "packets that are not punted take {with:.1} instructions with 1,000 registrations, {without:.1} without"
        ));
    }
    if options.json {
        println!("{:#}", json!(all));
    }
    if options.gate && !excesses.is_empty() {
        return Err(excesses.join("\n").into());
    }
    Ok(())
}

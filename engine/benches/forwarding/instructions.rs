//! Instructions per packet and node, which do not jitter: this program runs itself under callgrind and reads what that wrote.

use std::collections::HashMap;
use std::error::Error;
use std::process::Command;

use serde_json::{Value, json};

use crate::contender::Contender;
use crate::report::{FUSED, GRAPH};

/// Most instructions per packet: a line each of traffic, part and number, with tabs between.
const LIMITS: &str = include_str!("limits.txt");
/// By how much a part may exceed its limit before the gate closes, by its size and in instructions: compilers differ a little, and so does
/// how a C library fills memory on one machine and another.
const TOLERANCE: (f64, f64) = (1.03, 0.5);

/// Turns of 64 packets that are counted; before them, as many to warm up.
const TURNS: usize = 200;
const PACKETS: f64 = (TURNS * 64) as f64;

/// The traffic that is counted.
pub const TRAFFIC: [&str; 3] = ["ip4 4096 flows", "ip4 12 % exceptions", "ip6 4096 flows"];

/// Nodes, two where one runs in the loop of the other, and the end of how their types are called.
const NODES: [(&str, &str); 6] = [
    ("ether-input, ip4-input", "ether::EtherInput, engine::nodes::ip4::input::Ip4Input>"),
    ("ip4-lookup, ip4-rewrite", "lookup::Ip4Lookup, engine::nodes::ip4::rewrite::Ip4Rewrite>"),
    ("ip4-rewrite", "::Ip4Rewrite"),
    ("ip6-input", "::Ip6Input"),
    ("ip6-lookup, ip6-rewrite", "lookup::Ip6Lookup, engine::nodes::ip6::rewrite::Ip6Rewrite>"),
    ("transmit", "::Transmit<forwarding::wire::Wire>"),
];
const RUN: [&str; 3] = [
    " as engine::node::Stage>::run",
    " as engine::node::Stage>::transit",
    " as engine::node::Stage>::receive",
];
const LOOKUP: [&str; 2] = ["dp_fib4_lookup", "dp_fib6_lookup"];
const SEND: &str = "<forwarding::wire::Wire as engine::nodes::transmit::Queue>::send";
const RECEIVE: &str = "dp_ring_dequeue";
const REFILL: &str = "<forwarding::wire::Wire>::refill";
const PUT: &str = "<forwarding::wire::Wire>::put";
const COUNTED: &str = "forwarding::instructions::counted_turns";

/// What callgrind counts. The first turns fill the caches of the pool and the like.
pub fn count(contender: &mut dyn Contender) {
    (0..TURNS).for_each(|_| _ = contender.turn());
    counted_turns(contender);
}

#[inline(never)]
fn counted_turns(contender: &mut dyn Contender) {
    (0..TURNS).for_each(|_| _ = contender.turn());
}

/// Instructions per packet of one kind of traffic, by part of the way; the last two are all the graph, and the fused loop if there is one.
pub struct Counts {
    traffic: &'static str,
    parts: Vec<(&'static str, f64)>,
}

impl Counts {
    /// Counts them.
    pub fn of(traffic: &'static str) -> Result<Counts, Box<dyn Error>> {
        let graph = Profile::of(traffic, GRAPH)?;
        let lookup: f64 = LOOKUP.iter().map(|name| graph.inclusive(name)).sum();
        let (send, total) = (graph.sent(), graph.net());
        let mut parts = Vec::new();
        for (node, function) in NODES {
            let all: f64 = RUN.iter().map(|run| graph.inclusive(&format!("{function}{run}"))).sum();
            let own = match node {
                "transmit" => all - send,
                _ if node.contains("lookup") => all - lookup,
                _ => all,
            };
            if own > 0.0 {
                parts.push((node, own));
            }
        }
        parts.push(("FIB", lookup));
        parts.push(("runtime", total - parts.iter().map(|(_, count)| count).sum::<f64>()));
        parts.push(("graph", total));
        if !traffic.starts_with("ip6") {
            parts.push(("fused", Profile::of(traffic, FUSED)?.net()));
        }
        Ok(Counts { traffic, parts })
    }

    /// The rows of the table.
    pub fn lines(&self) -> String {
        let line = |(part, count): &(&str, f64)| {
            let limit = limit(self.traffic, part).map_or(String::new(), |limit| format!("{limit:6.0}"));
            format!("{:<22} {part:<24} {count:6.1} {limit}", self.traffic)
        };
        self.parts.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The rows as an object.
    pub fn json(&self) -> Value {
        json!({ "traffic": self.traffic, "instructions_per_packet": self.parts.iter().copied().collect::<HashMap<_, _>>() })
    }

    /// What exceeds its limit, and limits of what is not there.
    pub fn excesses(&self) -> Vec<String> {
        let excess = |(part, count): &(&str, f64)| {
            let limit = limit(self.traffic, part)?;
            let traffic = self.traffic;
            (*count > limit * TOLERANCE.0 + TOLERANCE.1).then(|| {
                format!("{traffic}: {part} takes {count:.1} instructions per packet, the limit is {limit}")
            })
        };
        let idle = limits().filter(|(traffic, part, _)| {
            *traffic == self.traffic && !self.parts.iter().any(|(counted, _)| counted == part)
        });
        let idle = idle
            .map(|(traffic, part, _)| format!("limits.txt names {part} of {traffic}, which is not counted"));
        self.parts.iter().filter_map(excess).chain(idle).collect()
    }
}

/// Instructions per packet without registrations and with a thousand, where nothing is punted.
pub fn with_registrations() -> Result<[f64; 2], Box<dyn Error>> {
    let of = |number| Ok::<_, Box<dyn Error>>(Profile::by(&["--count-punt", number])?.net());
    Ok([of("0")?, of("1")?])
}

/// The limit of a part, if it has one.
fn limit(traffic: &str, part: &str) -> Option<f64> {
    limits().find_map(|(of, limited, limit)| (of == traffic && limited == part).then_some(limit))
}

/// Traffic, part and limit of each line.
fn limits() -> impl Iterator<Item = (&'static str, &'static str, f64)> {
    LIMITS.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        Some((fields.next()?, fields.next()?, fields.next()?.parse().ok()?))
    })
}

/// Instructions by function, its callees included.
struct Profile {
    functions: HashMap<String, u64>,
    /// Those of the wire's sending that refills it, which is in the place of packets that were freed.
    refilled: u64,
}

impl Profile {
    /// Of this traffic through this contender.
    fn of(traffic: &str, contender: usize) -> Result<Profile, Box<dyn Error>> {
        Profile::by(&["--count", &contender.to_string(), "--only", traffic])
    }

    /// Of this program with these arguments.
    fn by(args: &[&str]) -> Result<Profile, Box<dyn Error>> {
        let out = std::env::temp_dir().join(format!("callgrind-{}", std::process::id()));
        let status = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
            .arg(format!("--toggle-collect={COUNTED}*"))
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(std::env::current_exe()?)
            .args(args)
            .env("LD_BIND_NOW", "1")
            .status()
            .map_err(|error| format!("valgrind does not start: {error}"))?;
        if !status.success() {
            return Err(format!("valgrind ends with {status}").into());
        }
        let profile = Profile::read(&std::fs::read_to_string(&out)?);
        std::fs::remove_file(out)?;
        match profile.inclusive(COUNTED) {
            0.0 => Err(
                "callgrind found no names; build with -C symbol-mangling-version=v0, as scripts/bench does"
                    .into(),
            ),
            _ => Ok(profile),
        }
    }

    /// Reads what callgrind writes (<https://valgrind.org/docs/manual/cl-format.html>): costs of lines and of calls below the function
    /// they are in; a name stands behind its number where that is first used.
    fn read(text: &str) -> Profile {
        let mut names = HashMap::new();
        let mut costs: HashMap<&str, u64> = HashMap::new();
        let (mut function, mut called, mut is_call, mut refilled) = ("", "", false, 0);
        for line in text.lines() {
            if let Some(("fn" | "cfn", name)) = line.split_once('=') {
                let (number, name) = name.split_once(' ').unwrap_or((name, ""));
                if !name.is_empty() {
                    names.insert(number, name);
                }
                match line.starts_with("fn") {
                    true => function = number,
                    false => called = number,
                }
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok()).unwrap_or(0);
                *costs.entry(function).or_default() += cost;
                let is = |number: &str, name: &str| names.get(number).is_some_and(|full| full.contains(name));
                if std::mem::take(&mut is_call) && is(function, PUT) && is(called, SEND) {
                    refilled += cost;
                }
            }
        }
        let named = |(number, cost)| (names.get(number).copied().unwrap_or("").to_owned(), cost);
        Profile { functions: costs.into_iter().map(named).collect(), refilled }
    }

    /// Per packet, of functions with this in their name.
    fn inclusive(&self, name: &str) -> f64 {
        let costs = self
            .functions
            .iter()
            .filter(|(function, _)| function.contains(name))
            .map(|(_, cost)| *cost as f64);
        costs.sum::<f64>() / PACKETS
    }

    /// Per packet, of sending what comes out of a contender.
    fn sent(&self) -> f64 {
        self.inclusive(SEND) - self.refilled as f64 / PACKETS
    }

    /// Per packet, all but I/O.
    fn net(&self) -> f64 {
        self.inclusive(COUNTED) - self.sent() - self.inclusive(RECEIVE) - self.inclusive(REFILL)
    }
}

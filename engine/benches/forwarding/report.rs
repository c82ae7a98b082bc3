//! What was measured, as a table or as JSON.

use serde_json::{Value, json};

use crate::slices::{Rounds, Spread};

/// One row: a kind of traffic at a burst size.
pub struct Row {
    pub traffic: &'static str,
    pub burst: u16,
    pub packets: usize,
    /// Is it more than the caches hold? Then the floor is printed beside the others and not subtracted.
    pub cold: bool,
    pub rounds: Rounds,
    /// Is there a fused loop for this traffic?
    pub fused: bool,
    pub target: Target,
}

/// What is wanted.
#[derive(Clone, Copy, Default)]
pub struct Target {
    /// Most cycles per packet, net of I/O.
    pub cycles: Option<f64>,
    /// Most of graph / fused.
    pub ratio: Option<f64>,
}

/// Contenders, in this order.
pub const FLOOR: usize = 0;
pub const GRAPH: usize = 1;
pub const FUSED: usize = 2;

impl Row {
    /// Cycles of a contender: net of I/O unless cold.
    fn cycles(&self, contender: usize) -> Spread {
        if self.cold { self.rounds.of(contender) } else { self.rounds.net(contender, FLOOR) }
    }

    /// graph / fused: net of I/O unless cold.
    fn ratio(&self) -> Option<Spread> {
        self.fused.then(|| match self.cold {
            true => self.rounds.ratio(GRAPH, FUSED),
            false => self.rounds.net_ratio(GRAPH, FUSED, FLOOR),
        })
    }

    /// What was wanted and what it is, for each target.
    fn targets(&self) -> Vec<(String, bool)> {
        let mut targets = Vec::new();
        if let Some(wanted) = self.target.cycles {
            targets.push((format!("≤ {wanted} cycles"), self.cycles(GRAPH).median() <= wanted));
        }
        if let (Some(wanted), Some(ratio)) = (self.target.ratio, self.ratio()) {
            targets.push((format!("≤ {wanted} fused"), ratio.median() <= wanted));
        }
        targets
    }

    /// The row of the table.
    pub fn line(&self) -> String {
        let cycles = |contender| {
            let spread = self.cycles(contender);
            format!("{:6.1} {:6.1}", spread.percentile(10), spread.median())
        };
        let fused = if self.fused { cycles(FUSED) } else { " ".repeat(13) };
        let ratio = self.ratio().map_or(" ".repeat(17), |ratio| {
            let [low, middle, high] = [25, 50, 75].map(|percent| ratio.percentile(percent));
            format!("{middle:.2} ({low:.2}–{high:.2})")
        });
        let said =
            |(wanted, reached): (String, bool)| format!("{wanted}: {}", if reached { "yes" } else { "NO" });
        let targets: Vec<_> = self.targets().into_iter().map(said).collect();
        format!(
            "{:<22} {:>5} {:>7}  {:6.1}  {}{}  {}  {}  {}",
            self.traffic,
            self.burst,
            self.packets,
            self.rounds.of(FLOOR).median(),
            cycles(GRAPH),
            if self.cold { '*' } else { ' ' },
            fused,
            ratio,
            targets.join(", ")
        )
    }

    /// The row as an object.
    pub fn json(&self) -> Value {
        let spread = |spread: Spread| spread.json();
        json!({
            "traffic": self.traffic,
            "burst": self.burst,
            "mbufs": self.packets,
            "cold": self.cold,
            "floor_cycles": spread(self.rounds.of(FLOOR)),
            "graph_cycles": spread(self.rounds.of(GRAPH)),
            "graph_cycles_net": spread(self.rounds.net(GRAPH, FLOOR)),
            "fused_cycles": self.fused.then(|| spread(self.rounds.of(FUSED))),
            "ratio": self.ratio().map(spread),
            "targets": self.targets().into_iter().map(|(target, reached)| json!({ "target": target, "reached": reached })).collect::<Vec<_>>(),
        })
    }
}

/// Above the rows.
pub const HEADING: &str = "\
                                            I/O       graph         fused      graph / fused
traffic                burst   mbufs   median    p10 median    p10 median  median (quartiles)  targets";

/// Below them.
pub const LEGEND: &str = "\
TSC cycles per packet. I/O: receive, make the packet one of the next flow, send; it is subtracted from the other figures, but
for those marked * (packets that no cache holds), where waiting for memory overlaps.";

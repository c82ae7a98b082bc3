//! `docs/reference` is made of the code and must not go stale: `UPDATE_DOCS=1 cargo nextest run -p engine --test reference` renews it.

use std::fmt::Write as _;
use std::path::PathBuf;

use engine::graph::Plan;
use engine::node::To;
use engine::nodes::{self, transmit::Transmit};

fn plan() -> Plan {
    Plan::new(&nodes::all(Transmit::new(Vec::new(), 1)), 0).expect("the graph is wired rightly")
}

/// Compares `text` with the page, or writes it there.
fn page(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).expect("the page can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "docs/reference/{name} is stale; UPDATE_DOCS=1 cargo nextest run -p engine --test reference"
    );
}

#[test]
fn the_page_of_reasons_is_fresh() {
    let mut text = String::from(
        "# Reasons\n\nWhy a packet leaves the graph for the control plane. Made from the code, see `engine/tests/reference.rs`.\n\n\
         Action: *trap* hands it over, *copy* forwards it as well, *drop* drops it unless somebody asks.\n\n\
         | reason | class | action | packets/s | burst | nodes | when |\n|---|---|---|---|---|---|---|\n",
    );
    let plan = plan();
    let mut rows: Vec<_> = plan.registry.iter().collect();
    rows.sort_by_key(|row| row.reason.name);
    for row in rows {
        let reason = row.reason;
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            reason.name,
            reason.class,
            reason.action,
            reason.rate,
            reason.burst,
            row.nodes.join(", "),
            reason.text
        )
        .expect("a string takes everything");
    }
    page("reasons.md", &text);
}

#[test]
fn the_page_of_drops_is_fresh() {
    let mut text = String::from(
        "# Drops\n\nWhy a packet is freed without being sent or punted. Made from the code, see `engine/tests/reference.rs`.\n\n\
         | node | text |\n|---|---|\n",
    );
    for (node, edges) in &plan().nodes {
        for edge in *edges {
            if let To::Drop(drop) = edge.to {
                writeln!(text, "| `{node}` | {drop} |").expect("a string takes everything");
            }
        }
    }
    text.push_str(
        "\nWhat the punt path itself refuses or loses has reasons, too.\n\n| reason | text |\n|---|---|\n",
    );
    for (reason, why) in engine::losses::LOSSES {
        writeln!(text, "| `{reason}` | {why} |").expect("a string takes everything");
    }
    page("drops.md", &text);
}

#[test]
fn the_drawing_of_the_graph_is_fresh() {
    let mut text = String::from(
        "# The graph\n\nMade from the code, see `engine/tests/reference.rs`; `puntd --graph` prints it with every punt and drop.\n\n\
         ```mermaid\ngraph LR\n",
    );
    for (node, edges) in &plan().nodes {
        for edge in *edges {
            if let To::Node(to) | To::PuntElse(_, to) = edge.to {
                writeln!(text, "    {node} -->|{}| {to}", edge.name).expect("a string takes everything");
            }
        }
        let punts = edges
            .iter()
            .filter(|edge| matches!(edge.to, To::Punt(_) | To::PuntElse(..) | To::Chosen))
            .count();
        let drops = edges.iter().filter(|edge| matches!(edge.to, To::Drop(_))).count();
        if punts > 0 {
            writeln!(text, "    {node} -.->|{punts} edges| punt([punt])").expect("a string takes everything");
        }
        if drops > 0 {
            writeln!(text, "    {node} -.->|{drops} texts| drop([drop])").expect("a string takes everything");
        }
    }
    text.push_str("```\n");
    page("graph.md", &text);
}

//! `puntctl route`: one route at a time. Lists are lines that `route add` understands, for a full table is long.

use std::fmt::Write as _;
use std::io::Write;

use punt::control::types::{RouteAnswer, RouteFilter, RouteKind, RouteQuery, RouteRow};

use serde::Deserialize;

use crate::args::RouteVerb;
use crate::context::Context;
use crate::failure::Failure;
use crate::load::{load, unload};
use crate::{read, words};

/// Runs one verb.
pub fn run(context: &mut Context, verb: RouteVerb) -> Result<(), Failure> {
    match verb {
        RouteVerb::List { prefix } => list(context, &RouteFilter { prefix, ..RouteFilter::default() }),
        RouteVerb::Get { address } => {
            context.ask("route.get", RouteQuery { address }, answer)?;
            Ok(())
        }
        RouteVerb::Add { words } => context.change("route.add", read(&words, words::route)?),
        RouteVerb::Replace { words } => context.change("route.replace", read(&words, words::route)?),
        RouteVerb::Del { words } => context.change("route.del", read(&words, words::route_key)?),
        RouteVerb::Load { file } => load(context, &file),
        RouteVerb::Unload { file } => unload(context, &file),
    }
}

/// Page by page: nobody waits for the last of a million.
fn list(context: &mut Context, filter: &RouteFilter) -> Result<(), Failure> {
    if context.json {
        return context.json_list("route.list", filter);
    }
    let mut client = context.connect()?;
    client.pages("route.list", filter, |rows: Vec<RouteRow>| {
        rows.iter().try_for_each(|row| writeln!(context.out, "{}", line(row)))?;
        Ok::<(), Failure>(())
    })
}

/// `PREFIX via ADDR,ADDR dev IF metric N`.
fn line(row: &RouteRow) -> String {
    let mut line = row.prefix.to_string();
    for (index, hop) in row.via.iter().enumerate() {
        line.push_str(if index == 0 { " via " } else { "," });
        let _ = write!(line, "{hop}");
    }
    if let Some(action) = row.action {
        let _ = write!(line, " {action}");
    }
    if let Some(dev) = &row.dev {
        let _ = write!(line, " dev {dev}");
    }
    if row.metric != 0 {
        let _ = write!(line, " metric {}", row.metric);
    }
    if row.kind != RouteKind::Static {
        let _ = write!(line, " {}", row.kind.name());
    }
    line
}

/// The route, and how the packet's way ends.
#[derive(Deserialize)]
struct Way {
    #[serde(flatten)]
    answer: RouteAnswer,
    /// The reason for which it is punted.
    #[serde(default)]
    reason: Option<String>,
    /// The text under which it is dropped.
    #[serde(default)]
    text: Option<String>,
}

/// The route, each way that a packet may take, and what happens to it if it takes none.
fn answer(way: &Way) -> String {
    let answer = &way.answer;
    let mut text = format!("{} takes {}\n", answer.address, line(&answer.route));
    for hop in &answer.hops {
        text.push_str("   ");
        if let Some(via) = hop.via {
            let _ = write!(text, " via {via}");
        }
        let _ = match hop.mac {
            Some(mac) => writeln!(text, " dev {} lladdr {mac}", hop.dev),
            None => writeln!(text, " dev {} unresolved", hop.dev),
        };
    }
    if let Some(reason) = &way.reason {
        let _ = writeln!(text, "    punted: {reason}");
    }
    if let Some(drop) = &way.text {
        let _ = writeln!(text, "    dropped: {drop}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_reads_as_it_was_written() {
        for (row, expected) in [
            (json!({"prefix":"default","via":["10.0.1.2","10.0.1.3"]}), "default via 10.0.1.2,10.0.1.3"),
            (
                json!({"prefix":"10.2.0.0/16","via":["10.0.1.2"],"dev":"wan","metric":7}),
                "10.2.0.0/16 via 10.0.1.2 dev wan metric 7",
            ),
            (json!({"prefix":"10.9.0.0/16","action":"blackhole","metric":0}), "10.9.0.0/16 blackhole"),
            (json!({"prefix":"10.0.1.0/24","dev":"wan","kind":"connected"}), "10.0.1.0/24 dev wan connected"),
        ] {
            let row: RouteRow = serde_json::from_value(row).unwrap();
            assert_eq!(line(&row), expected);
        }
    }

    #[test]
    fn an_answer_shows_where_the_packet_goes() {
        let value = json!({
            "address":"10.2.0.7", "prefix":"10.2.0.0/16", "via":["10.0.1.2","10.0.1.3"], "metric":0,
            "hops":[{"via":"10.0.1.2","dev":"wan","mac":"02:00:00:00:00:02"},{"via":"10.0.1.3","dev":"wan"}],
        });
        assert_eq!(
            answer(&serde_json::from_value(value).unwrap()),
            "10.2.0.7 takes 10.2.0.0/16 via 10.0.1.2,10.0.1.3\n    \
             via 10.0.1.2 dev wan lladdr 02:00:00:00:00:02\n    via 10.0.1.3 dev wan unresolved\n"
        );
        let value = json!({
            "address":"10.0.1.9", "prefix":"10.0.1.0/24", "dev":"wan", "kind":"connected", "hops":[{"dev":"wan"}],
            "verdict":"punt", "reason":"ip4.unresolved-neighbor",
        });
        assert_eq!(
            answer(&serde_json::from_value(value).unwrap()),
            "10.0.1.9 takes 10.0.1.0/24 dev wan connected\n    dev wan unresolved\n    punted: ip4.unresolved-neighbor\n"
        );
        let value = json!({"address":"10.4.0.1", "prefix":"10.4.0.0/16", "action":"blackhole", "verdict":"drop", "text":"blackhole route"});
        assert_eq!(
            answer(&serde_json::from_value(value).unwrap()),
            "10.4.0.1 takes 10.4.0.0/16 blackhole\n    dropped: blackhole route\n"
        );
    }
}

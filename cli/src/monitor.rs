//! `puntctl monitor`: what the engine does, on one page that is drawn each second.

use std::collections::HashMap;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use punt::control::Client;
use punt::control::types::{DropStats, NodeStats, ReasonRow, SinkRow, SinkState, WorkerStats};
use serde_json::{Value, json};

use crate::args::MonitorArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::screen::{Screen, catch_interrupt};

/// Between two readings.
const INTERVAL: Duration = Duration::from_secs(1);

/// Shows readings until the time is over, on Ctrl-C, or until nobody looks.
pub fn run(context: &mut Context, arguments: &MonitorArguments) -> Result<(), Failure> {
    let interrupted = catch_interrupt()?;
    let mut client = context.connect()?;
    let mut screen = Screen::new(context);
    let mut before = Reading::take(&mut client)?;
    let end = arguments.seconds.map(|seconds| before.time + Duration::from_secs(seconds));
    let mut last = None;
    while end.is_none_or(|end| before.time < end) {
        let next = end.map_or(before.time + INTERVAL, |end| end.min(before.time + INTERVAL));
        let pause = next.saturating_duration_since(Instant::now());
        if interrupted.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            break;
        }
        let now = Reading::take(&mut client)?;
        let view = View::between(&before, &now);
        let text = match (context.json, screen.is_terminal()) {
            (true, _) => format!("{}\n", view.json()),
            (false, true) => view.page(screen.height()),
            (false, false) => view.line(),
        };
        screen.show(context, &text)?;
        (before, last) = (now, Some(view));
    }
    match last {
        Some(view) if !context.json && !screen.is_terminal() => {
            screen.show(context, &format!("\n{}", view.page(usize::MAX)))
        }
        _ => Ok(()),
    }
}

/// The counters at one moment.
struct Reading {
    time: Instant,
    workers: Vec<WorkerStats>,
    nodes: Vec<NodeStats>,
    reasons: Vec<ReasonRow>,
    sinks: Vec<SinkRow>,
    drops: Vec<DropStats>,
}

impl Reading {
    fn take(client: &mut Client) -> Result<Reading, Failure> {
        Ok(Reading {
            workers: client.list_as("stats.workers", ())?,
            nodes: client.list_as("stats.nodes", ())?,
            reasons: client.list_as("stats.reasons", ())?,
            sinks: match client.list_as("stats.sinks", ()) {
                Err(error) if error.is_unknown_method() => Vec::new(),
                sinks => sinks?,
            },
            drops: client.list_as("stats.drops", ())?,
            time: Instant::now(),
        })
    }

    fn sum(&self, of: fn(&WorkerStats) -> u64) -> u64 {
        self.workers.iter().map(of).sum()
    }
}

/// Something that is counted: so many in the last interval, by the second, and so many ever.
#[derive(Debug, PartialEq)]
struct Count {
    name: String,
    rate: f64,
    total: u64,
    /// What became of them, by the second, under heads of the list's own.
    fates: Vec<f64>,
    /// Whether anything became of any of them.
    asked: bool,
}

/// What became of what a reason punted.
const PUNT_FATES: [&str; 2] = ["accepted", "refused"];
/// What became of what a sink did not get.
const SINK_FATES: [&str; 1] = ["lost"];

/// What there is to see of an interval.
struct View {
    books: Vec<Count>,
    cycles_per_packet: f64,
    punted: Vec<Count>,
    sinks: Vec<Count>,
    dropped: Vec<Count>,
}

/// What a list is made of: a name, what is counted, and what became of it.
type Tally = (String, u64, Vec<u64>);

fn reasons(reading: &Reading) -> Vec<Tally> {
    let tally = |row: &ReasonRow| {
        let counted = &row.counters;
        let refused = counted.refused_source
            + counted.refused_interface
            + counted.refused_reason
            + counted.refused_class;
        (row.name.clone(), counted.packets, vec![counted.accepted, refused])
    };
    reading.reasons.iter().map(tally).filter(|(_, packets, _)| *packets > 0).collect()
}

fn sinks(reading: &Reading) -> Vec<Tally> {
    let tally = |row: &SinkRow| {
        let counted = &row.counters;
        let errors: u64 = counted.errors.values().sum();
        let lost = counted.refused_registration + counted.refused_sink + counted.ring_full + errors;
        (row.name.clone(), counted.delivered, vec![lost])
    };
    reading.sinks.iter().map(tally).collect()
}

fn drops(reading: &Reading) -> Vec<Tally> {
    let tally = |row: &DropStats| (format!("{}: {}", row.node, row.text), row.packets, Vec::new());
    reading.drops.iter().map(tally).filter(|(_, packets, _)| *packets > 0).collect()
}

/// How each of them grew.
fn grown(before: Vec<Tally>, now: Vec<Tally>, rate: impl Fn(u64, u64) -> f64) -> Vec<Count> {
    let before: HashMap<String, (u64, Vec<u64>)> =
        before.into_iter().map(|(name, total, fates)| (name, (total, fates))).collect();
    let count = |(name, total, fates): Tally| {
        let (old, old_fates) = before.get(&name).map_or((0, &[][..]), |(total, fates)| (*total, fates));
        let old_fates = old_fates.iter().copied().chain(std::iter::repeat(0));
        let asked = fates.iter().any(|fate| *fate > 0);
        let fates = fates.iter().zip(old_fates).map(|(now, before)| rate(before, *now)).collect();
        Count { rate: rate(old, total), total, name, fates, asked }
    };
    now.into_iter().map(count).collect()
}

/// What somebody asked for first; then by magnitude, then by name: by the number itself, lines would jump about.
fn sorted(mut counts: Vec<Count>) -> Vec<Count> {
    counts.sort_by_cached_key(|count| (!count.asked, count.total.leading_zeros(), count.name.clone()));
    counts
}

impl View {
    fn between(before: &Reading, now: &Reading) -> View {
        let seconds = (now.time - before.time).as_secs_f64().max(1e-6);
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        let book = |name: &str, of| {
            let (before, total) = (before.sum(of), now.sum(of));
            Count { name: name.into(), rate: rate(before, total), total, fates: Vec::new(), asked: false }
        };
        let books = vec![
            book("received", |worker| worker.received),
            book("forwarded", |worker| worker.transmitted),
            book("punted", |worker| worker.punted),
            book("dropped", |worker| worker.dropped),
        ];
        // What each node costs it knows as an average; what a packet costs depends on the nodes that packets meet.
        let visits: HashMap<&str, u64> =
            before.nodes.iter().map(|node| (node.node.as_str(), node.packets)).collect();
        let cost = |node: &NodeStats| {
            // Where there is no average it is 0, and the time is another node's.
            node.cycles_per_packet * rate(visits.get(node.node.as_str()).copied().unwrap_or(0), node.packets)
        };
        let cycles: f64 = now.nodes.iter().map(cost).sum();
        let state = |name: &str| now.sinks.iter().find(|row| row.name == name).map(|row| row.state);
        let mut sinks = grown(sinks(before), sinks(now), rate);
        for sink in &mut sinks {
            if let Some(state) = state(&sink.name).filter(|state| *state != SinkState::Active) {
                sink.name = format!("{} ({state})", sink.name);
            }
        }
        View {
            cycles_per_packet: if books[0].rate > 0.0 { cycles / books[0].rate } else { 0.0 },
            books,
            punted: sorted(grown(reasons(before), reasons(now), rate)),
            sinks,
            dropped: sorted(grown(drops(before), drops(now), rate)),
        }
    }

    /// On one line.
    fn line(&self) -> String {
        let books: Vec<String> = self
            .books
            .iter()
            .map(|count| format!("{} {}/s", count.name, grouped(count.rate as u64)))
            .collect();
        format!("{}, {:.0} cycles/packet\n", books.join(", "), self.cycles_per_packet)
    }

    /// On at most `height` lines.
    fn page(&self, height: usize) -> String {
        /// Lines of the books; each list has a blank line and a head beside its rows.
        const BOOKS: usize = 6;
        let mut lists = vec![("punted, by reason", &PUNT_FATES[..], &self.punted)];
        if !self.sinks.is_empty() {
            lists.push(("delivered, by sink", &SINK_FATES, &self.sinks));
        }
        lists.push(("dropped, by text", &[], &self.dropped));
        let rows = height.saturating_sub(BOOKS + 2 * lists.len());
        let heights = share(rows, &lists.iter().map(|(_, _, counts)| counts.len()).collect::<Vec<_>>());
        let width =
            |counts: &[Count]| counts.iter().map(|count| count.name.chars().count()).max().unwrap_or(0);
        // Texts of drops are longer than names; all else stands below each other.
        let names = width(&self.books).max(width(&self.punted)).max(width(&self.sinks)).max(MIN_NAME);
        let mut page = list(names, "", &[], &self.books, usize::MAX);
        page.push_str(&format!("{:names$}{:>RATE$.1}\n", "cycles per packet", self.cycles_per_packet));
        for ((what, fates, counts), height) in lists.into_iter().zip(heights) {
            page.push('\n');
            page.push_str(&list(names.max(width(counts)), what, fates, counts, height));
        }
        page
    }

    fn json(&self) -> Value {
        let counts = |counts: &[Count], heads: &[&str]| -> Vec<Value> {
            let row = |count: &Count| {
                let mut row = json!({"name": count.name, "rate": count.rate, "packets": count.total});
                for (head, fate) in heads.iter().zip(&count.fates) {
                    row[*head] = json!(fate);
                }
                row
            };
            counts.iter().map(row).collect()
        };
        json!({
            "books": counts(&self.books, &[]),
            "cycles_per_packet": self.cycles_per_packet,
            "punted": counts(&self.punted, &PUNT_FATES),
            "sinks": counts(&self.sinks, &SINK_FATES),
            "dropped": counts(&self.dropped, &[]),
        })
    }
}

/// How many of `rows` each list gets, by its length: a short one leaves to the others what it does not need.
fn share(rows: usize, lengths: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&list| lengths[list]);
    let mut heights = vec![0; lengths.len()];
    let mut left = rows;
    for (done, list) in order.into_iter().enumerate() {
        heights[list] = lengths[list].min(left / (lengths.len() - done));
        left -= heights[list];
    }
    heights
}

/// The least width of names, for the head of a list to fit.
const MIN_NAME: usize = 20;
/// The width of what is by the second, and of totals; a list fits 80 columns if its names have at most 28.
const RATE: usize = 12;
const TOTAL: usize = 16;

/// A list on `height` lines and one for its head; what does not fit is summed up on the last.
fn list(width: usize, what: &str, fates: &[&str], counts: &[Count], height: usize) -> String {
    let shown = if counts.len() <= height { counts.len() } else { height.saturating_sub(1) };
    let (shown, rest) = counts.split_at(shown);
    let mut text = format!("{what:width$}{:>RATE$}{:>TOTAL$}", "packets/s", "packets");
    for fate in fates {
        text.push_str(&format!("{:>RATE$}", format!("{fate}/s")));
    }
    text.push('\n');
    let mut row = |name: &str, of: &[Count]| {
        let sum =
            |of: &dyn Fn(&Count) -> f64, counts: &[Count]| grouped(counts.iter().map(of).sum::<f64>() as u64);
        let total = grouped(of.iter().map(|count| count.total).sum());
        text.push_str(&format!("{name:width$}{:>RATE$}{total:>TOTAL$}", sum(&|count| count.rate, of)));
        for fate in 0..fates.len() {
            let rate = sum(&|count| count.fates.get(fate).copied().unwrap_or(0.0), of);
            text.push_str(&format!("{rate:>RATE$}"));
        }
        text.push('\n');
    };
    shown.iter().for_each(|count| row(&count.name, std::slice::from_ref(count)));
    if !rest.is_empty() && height > 0 {
        row(&format!("{} more", rest.len()), rest);
    }
    text
}

/// A number with a comma after each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(time: Instant, factor: u64) -> Reading {
        Reading {
            time,
            workers: serde_json::from_value(json!([
                {"worker":0,"received":1500 * factor,"transmitted":1000 * factor,"punted":300 * factor},
                {"worker":1,"received":1500 * factor,"transmitted":1000 * factor,"dropped":200 * factor},
            ]))
            .unwrap(),
            nodes: serde_json::from_value(json!([
                {"node":"ether-input","packets":3000 * factor,"cycles_per_packet":10.0},
                {"node":"ip4-input","packets":1500 * factor,"cycles_per_packet":8.0},
            ]))
            .unwrap(),
            reasons: serde_json::from_value(json!([
                {"id":1,"name":"ip4.ttl-expired","class":"except","action":"trap","rate":1,"burst":1,
                 "packets":300 * factor,"accepted":200 * factor,"refused_source":60 * factor,"refused_class":40 * factor},
                {"id":2,"name":"l2.lacp","class":"link","action":"trap","rate":1,"burst":1,"packets":0},
            ]))
            .unwrap(),
            sinks: serde_json::from_value(json!([
                {"name":"bfdd","target":"null","state":"suspended","delivered":100 * factor,"ring_full":20 * factor,
                 "errors":{"ENOENT":30 * factor}},
            ]))
            .unwrap(),
            drops: serde_json::from_value(json!([
                {"node":"a","text":"never","packets":0},
                {"node":"b","text":"seldom","packets":factor},
                {"node":"c","text":"often","packets":199 * factor},
            ]))
            .unwrap(),
        }
    }

    #[test]
    fn a_second_is_a_line() {
        let now = Instant::now();
        let view = View::between(&reading(now, 1000), &reading(now + Duration::from_secs(2), 3000));
        assert_eq!(
            view.line(),
            "received 3,000,000/s, forwarded 2,000,000/s, punted 300,000/s, dropped 200,000/s, 14 cycles/packet\n"
        );
        assert_eq!(
            view.page(usize::MAX),
            "                       packets/s         packets
received               3,000,000       9,000,000
forwarded              2,000,000       6,000,000
punted                   300,000         900,000
dropped                  200,000         600,000
cycles per packet           14.0

punted, by reason      packets/s         packets  accepted/s   refused/s
ip4.ttl-expired          300,000         900,000     200,000     100,000

delivered, by sink     packets/s         packets      lost/s
bfdd (suspended)         100,000         300,000      50,000

dropped, by text       packets/s         packets
c: often                 199,000         597,000
b: seldom                  1,000           3,000
"
        );
    }

    #[test]
    fn a_page_fits() {
        let now = Instant::now();
        let mut view = View::between(&reading(now, 1), &reading(now + Duration::from_secs(1), 2));
        let many = |count: u64| {
            (0..count)
                .map(|index| Count {
                    name: format!("{index:02}"),
                    rate: 1.0,
                    total: 10,
                    fates: vec![],
                    asked: false,
                })
                .collect()
        };
        for (punted, dropped) in [(0, 0), (3, 40), (40, 3), (40, 40), (7, 7), (8, 7)] {
            (view.punted, view.dropped) = (many(punted), many(dropped));
            for sinks in [0, 1, 40] {
                view.sinks = many(sinks);
                for height in [12, 23, 24, 50] {
                    let page = view.page(height);
                    let lists = format!("{punted}, {sinks} and {dropped} on {height} lines");
                    assert!(page.lines().count() <= height, "{lists}:\n{page}");
                }
            }
        }
        (view.punted, view.sinks, view.dropped) = (many(40), many(0), many(3));
        assert!(view.page(23).contains("31 more"), "{}", view.page(23));
    }

    #[test]
    fn digits_come_in_threes() {
        let groups = [0, 7, 123, 1234, 123_456, 1_234_567].map(grouped);
        assert_eq!(groups, ["0", "7", "123", "1,234", "123,456", "1,234,567"]);
    }
}

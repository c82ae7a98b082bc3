//! `puntctl monitor`: what the engine does, on one page that is drawn each second.

use std::collections::HashMap;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use punt::control::Client;
use punt::control::types::{DropStats, NodeStats, ReasonRow, WorkerStats};
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
    drops: Vec<DropStats>,
}

impl Reading {
    fn take(client: &mut Client) -> Result<Reading, Failure> {
        Ok(Reading {
            workers: client.list_as("stats.workers", ())?,
            nodes: client.list_as("stats.nodes", ())?,
            reasons: client.list_as("stats.reasons", ())?,
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
}

/// What there is to see of an interval.
struct View {
    books: Vec<Count>,
    cycles_per_packet: f64,
    punted: Vec<Count>,
    dropped: Vec<Count>,
}

impl View {
    fn between(before: &Reading, now: &Reading) -> View {
        let seconds = (now.time - before.time).as_secs_f64().max(1e-6);
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        let book = |name: &str, of| {
            let (before, total) = (before.sum(of), now.sum(of));
            Count { name: name.into(), rate: rate(before, total), total }
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
            node.cycles_per_packet * rate(visits.get(node.node.as_str()).copied().unwrap_or(0), node.packets)
        };
        let cycles: f64 = now.nodes.iter().map(cost).sum();
        let reasons = |reading: &Reading| {
            reading.reasons.iter().map(|row| (row.name.clone(), row.counters.packets)).collect::<Vec<_>>()
        };
        let drops = |reading: &Reading| {
            let name = |row: &DropStats| format!("{}: {}", row.node, row.text);
            reading.drops.iter().map(|row| (name(row), row.packets)).collect::<Vec<_>>()
        };
        let counts = |before: Vec<(String, u64)>, now: Vec<(String, u64)>| {
            let before: HashMap<String, u64> = before.into_iter().collect();
            let grown = |name: &String, total| rate(before.get(name).copied().unwrap_or(0), total);
            let mut counts: Vec<Count> = now
                .into_iter()
                .filter(|(_, total)| *total > 0)
                .map(|(name, total)| Count { rate: grown(&name, total), total, name })
                .collect();
            // By magnitude, then by name: by the number itself, lines would jump about.
            counts
                .sort_by(|a, b| (a.total.leading_zeros(), &a.name).cmp(&(b.total.leading_zeros(), &b.name)));
            counts
        };
        View {
            cycles_per_packet: if books[0].rate > 0.0 { cycles / books[0].rate } else { 0.0 },
            books,
            punted: counts(reasons(before), reasons(now)),
            dropped: counts(drops(before), drops(now)),
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
        const FIXED: usize = 10;
        let rows = height.saturating_sub(FIXED);
        // Each list may have what the other leaves of its half.
        let half = rows / 2;
        let punted = self.punted.len().min(half.max(rows.saturating_sub(self.dropped.len())));
        let dropped = rows.saturating_sub(punted);
        let names = [&self.books, &self.punted, &self.dropped].into_iter().flatten();
        let width = names.map(|count| count.name.chars().count()).max().unwrap_or(0).max(MIN_NAME);
        let mut page = list(width, "", &self.books, usize::MAX);
        page.push_str(&format!("{:width$}{:>14.1}\n\n", "cycles per packet", self.cycles_per_packet));
        page.push_str(&list(width, "punted, by reason", &self.punted, punted));
        page.push('\n');
        page.push_str(&list(width, "dropped, by text", &self.dropped, dropped));
        page
    }

    fn json(&self) -> Value {
        let counts = |counts: &[Count]| -> Vec<Value> {
            let row = |count: &Count| json!({"name": count.name, "rate": count.rate, "packets": count.total});
            counts.iter().map(row).collect()
        };
        json!({
            "books": counts(&self.books),
            "cycles_per_packet": self.cycles_per_packet,
            "punted": counts(&self.punted),
            "dropped": counts(&self.dropped),
        })
    }
}

/// The least width of names, for the head of a list to fit.
const MIN_NAME: usize = 20;

/// A list on `height` lines and one for its head; what does not fit is summed up on the last.
fn list(width: usize, what: &str, counts: &[Count], height: usize) -> String {
    let shown = if counts.len() <= height { counts.len() } else { height.saturating_sub(1) };
    let (shown, rest) = counts.split_at(shown);
    let mut text = format!("{what:width$}{:>14}{:>17}\n", "packets/s", "packets");
    let mut row = |name: &str, rate: f64, total: u64| {
        text.push_str(&format!("{name:width$}{:>14}{:>17}\n", grouped(rate as u64), grouped(total)));
    };
    shown.iter().for_each(|count| row(&count.name, count.rate, count.total));
    if !rest.is_empty() && height > 0 {
        let rate = rest.iter().map(|count| count.rate).sum();
        row(&format!("{} more", rest.len()), rate, rest.iter().map(|count| count.total).sum());
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
            reasons: Vec::new(),
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
            "                         packets/s          packets
received                 3,000,000        9,000,000
forwarded                2,000,000        6,000,000
punted                     300,000          900,000
dropped                    200,000          600,000
cycles per packet             14.0

punted, by reason        packets/s          packets

dropped, by text         packets/s          packets
c: often                   199,000          597,000
b: seldom                    1,000            3,000
"
        );
    }

    #[test]
    fn a_page_fits() {
        let now = Instant::now();
        let mut view = View::between(&reading(now, 1), &reading(now + Duration::from_secs(1), 2));
        let many = |count: u64| {
            (0..count).map(|index| Count { name: format!("{index:02}"), rate: 1.0, total: 10 }).collect()
        };
        for (punted, dropped) in [(0, 0), (3, 40), (40, 3), (40, 40), (7, 7), (8, 7)] {
            (view.punted, view.dropped) = (many(punted), many(dropped));
            for height in [12, 23, 24, 50] {
                let page = view.page(height);
                assert!(page.lines().count() <= height, "{punted} and {dropped} on {height} lines:\n{page}");
            }
        }
        (view.punted, view.dropped) = (many(40), many(3));
        assert!(view.page(23).contains("31 more"), "{}", view.page(23));
    }

    #[test]
    fn digits_come_in_threes() {
        let groups = [0, 7, 123, 1234, 123_456, 1_234_567].map(grouped);
        assert_eq!(groups, ["0", "7", "123", "1,234", "123,456", "1,234,567"]);
    }
}

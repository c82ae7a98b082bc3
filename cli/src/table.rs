//! Tables: rows of JSON objects as text in columns.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value};

/// A row, as the engine sent it.
pub type Row = Map<String, Value>;

/// How a field is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// As it is; the words of a row together name it.
    Word,
    /// As it is, but not part of the name.
    Detail,
    /// Something that has a size.
    Number,
    /// Something that only grows; watched, it is shown per second.
    Count,
    /// The first field per each of the second; watched, over the interval.
    Quotient(&'static str, &'static str),
    /// An average the engine took, over as many as the field says; over none there is none.
    Average(&'static str),
    /// How long records of each class were on their way: half of them, 99 of 100, the longest; in microseconds.
    Waits,
    /// Whether an interface is up; whether it has a link is the field `link`.
    State,
}

/// A field's name and how it is shown.
pub type Column = (&'static str, Show);

/// The table, a line of headers first, each line with its newline.
pub fn render(columns: &[Column], rows: &[Row], suffix: &str) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(columns.iter().map(|(field, show)| match show {
        Show::Count => format!("{field}{suffix}"),
        _ => String::from(*field),
    }));
    for row in rows {
        table.add_row(columns.iter().map(|(field, show)| cell(row, field, *show)));
    }
    for (column, (_, show)) in table.column_iter_mut().zip(columns) {
        // Two blanks between columns, none at the left edge.
        column.set_padding((0, 2));
        if !matches!(show, Show::Word | Show::Detail | Show::State | Show::Waits) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What stands in one place of the table.
fn cell(row: &Row, field: &str, show: Show) -> String {
    let value = row.get(field).unwrap_or(&Value::Null);
    match (show, value) {
        (Show::State, Value::Bool(false)) => "down".into(),
        (Show::State, Value::Bool(true)) if row.get("link") == Some(&Value::Bool(false)) => "no link".into(),
        (Show::State, Value::Bool(true)) => "up".into(),
        (Show::Average(of), _) if row.get(of).and_then(Value::as_u64) == Some(0) => "-".into(),
        (Show::Average(_), Value::Null) => "-".into(),
        (Show::Waits, Value::Array(classes)) if !classes.is_empty() => {
            classes.iter().map(wait).collect::<Vec<_>>().join(", ")
        }
        (Show::Waits, _) => "-".into(),
        (Show::Quotient(..) | Show::Average(_), value) => format!("{:.1}", number(Some(value))),
        (Show::Count, Value::Number(count)) if count.is_f64() => format!("{:.0}", number(Some(value))),
        (_, value) => text(value),
    }
}

fn wait(class: &Value) -> String {
    let [half, most, longest] = ["p50_us", "p99_us", "max_us"].map(|field| number(class.get(field)));
    format!("{} {half:.0}/{most:.0}/{longest:.0}", text(&class["class"]))
}

/// A value without JSON's quotes and brackets, on one line.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.replace(char::is_control, " "),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(fields) if fields.is_empty() => "-".into(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{name}={}", text(value));
            fields.iter().map(field).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

fn number(value: Option<&Value>) -> f64 {
    value.and_then(Value::as_f64).unwrap_or(0.0)
}

/// Whether anything was counted in it.
pub fn counts(columns: &[Column], row: &Row) -> bool {
    columns.iter().any(|(field, show)| *show == Show::Count && number(row.get(*field)) != 0.0)
}

/// What happened between two reads: each count per second.
pub fn rates(columns: &[Column], before: &[Row], after: &[Row], seconds: f64) -> Vec<Row> {
    let old: std::collections::HashMap<String, &Row> =
        before.iter().map(|row| (name(columns, row), row)).collect();
    after
        .iter()
        .map(|row| {
            let old = old.get(&name(columns, row)).copied();
            // A row that was not there before has counted from nought since.
            let grown = |field: &str| {
                (number(row.get(field)) - old.map_or(0.0, |old| number(old.get(field)))).max(0.0)
            };
            let mut rates = row.clone();
            for (field, show) in columns {
                let rate = match show {
                    Show::Count => grown(field) / seconds,
                    Show::Quotient(_, by) if grown(by) == 0.0 => 0.0,
                    Show::Quotient(of, by) => grown(of) / grown(by),
                    _ => continue,
                };
                rates.insert((*field).into(), rate.into());
            }
            rates
        })
        .collect()
}

/// What tells a row from the others.
fn name(columns: &[Column], row: &Row) -> String {
    let words = columns.iter().filter(|(_, show)| *show == Show::Word);
    words.map(|(field, _)| text(row.get(*field).unwrap_or(&Value::Null))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NODES: &[Column] = &[
        ("node", Show::Word),
        ("calls", Show::Count),
        ("packets", Show::Count),
        ("packets_per_call", Show::Quotient("packets", "calls")),
        ("cycles_per_packet", Show::Average("timed_packets")),
    ];

    fn rows(rows: Value) -> Vec<Row> {
        serde_json::from_value(rows).unwrap()
    }

    #[test]
    fn numbers_stand_at_the_right() {
        let rows = rows(json!([
            {"node":"ip4-input","calls":10,"packets":640,"packets_per_call":64.0,"cycles_per_packet":6.44,"timed_packets":64},
            {"node":"drop","calls":1,"packets":3,"packets_per_call":3.0,"cycles_per_packet":0.0,"timed_packets":0},
        ]));
        assert_eq!(
            render(NODES, &rows, ""),
            "node       calls  packets  packets_per_call  cycles_per_packet\n\
             ip4-input     10      640              64.0                6.4\n\
             drop           1        3               3.0                  -\n"
        );
        assert_eq!(render(&NODES[..3], &[], ""), "node  calls  packets\n");
    }

    #[test]
    fn what_is_no_number_is_readable_too() {
        let columns: &[Column] =
            &[("name", Show::Word), ("up", Show::State), ("addresses", Show::Detail), ("vlan", Show::Number)];
        let rows = rows(json!([
            {"name":"lan","up":true,"link":true,"addresses":["10.0.0.1/24","fd00::1/64"],"vlan":100},
            {"name":"wan","up":true,"link":false,"addresses":[],"vlan":null},
            {"name":"a\nb","up":false},
        ]));
        assert_eq!(
            render(columns, &rows, ""),
            "name  up       addresses               vlan\n\
             lan   up       10.0.0.1/24,fd00::1/64   100\n\
             wan   no link                             -\n\
             a b   down     -                          -\n"
        );
    }

    #[test]
    fn waits_are_shown_by_class() {
        let waits = json!([{"class":"link","records":9,"p50_us":11.6,"p99_us":80.0,"max_us":93.4}]);
        let rows = rows(json!([{"name":"bfdd","waits":waits}, {"name":"none","waits":[]}]));
        assert_eq!(
            render(&[("name", Show::Word), ("waits", Show::Waits)], &rows, ""),
            "name  waits\n\
             bfdd  link 12/80/93\n\
             none  -\n"
        );
    }

    #[test]
    fn rates_are_differences_by_time() {
        let before = rows(json!([{"node":"drop","calls":10,"packets":100,"cycles_per_packet":4.0}]));
        let after = rows(json!([
            {"node":"new","calls":1,"packets":8,"cycles_per_packet":1.0},
            {"node":"drop","calls":20,"packets":400,"cycles_per_packet":5.0},
            {"node":"idle","calls":0,"packets":0,"cycles_per_packet":0.0},
        ]));
        assert_eq!(
            render(NODES, &rates(NODES, &before, &after, 2.0), "/s"),
            "node  calls/s  packets/s  packets_per_call  cycles_per_packet\n\
             new         0          4               8.0                1.0\n\
             drop        5        150              30.0                5.0\n\
             idle        0          0               0.0                0.0\n"
        );
    }

    #[test]
    fn a_row_counts_if_any_of_its_counts_does() {
        let rows =
            rows(json!([{"node":"a","calls":0,"packets":0,"packets_per_call":7},{"node":"b","calls":1}]));
        assert_eq!(rows.iter().map(|row| counts(NODES, row)).collect::<Vec<_>>(), [false, true]);
    }
}

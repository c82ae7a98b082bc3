//! `puntctl audit`: whether every packet adds up.

use punt::control::types::Audit;
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::table::{self, Row, Show};

/// Shows the books; fails unless they balance.
pub fn run(context: &mut Context) -> Result<(), Failure> {
    let audit: Audit = context.ask("audit", json!({}), text)?;
    if audit.balanced { Ok(()) } else { Err(Failure::no()) }
}

/// The books on a page.
fn text(audit: &Audit) -> String {
    let books = [
        ("received", audit.received),
        ("injected", audit.injected),
        ("transmitted", audit.transmitted),
        ("dropped", audit.dropped),
        ("punted", audit.punted),
        ("consumed", audit.consumed),
        ("in flight", audit.in_flight),
    ];
    let books: Vec<Row> =
        books.into_iter().map(|(what, packets)| row(json!({ "": what, "packets": packets }))).collect();
    let pools: Vec<Row> = audit.pools.iter().map(|pool| row(json!(pool))).collect();
    let mut text = table::render(&[("", Show::Word), ("packets", Show::Number)], &books, "");
    if !pools.is_empty() {
        let columns =
            [("name", Show::Word), ("size", Show::Number), ("idle", Show::Number), ("in_use", Show::Number)];
        text.push('\n');
        text.push_str(&table::render(&columns, &pools, "").replacen("name", "pool", 1));
    }
    text.push('\n');
    for finding in &audit.findings {
        text.push_str(finding);
        text.push('\n');
    }
    text.push_str(if audit.balanced { "Every packet adds up.\n" } else { "The books do not balance.\n" });
    text
}

fn row(value: serde_json::Value) -> Row {
    match value {
        serde_json::Value::Object(row) => row,
        _ => Row::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punt::control::types::PoolRow;

    #[test]
    fn the_books_fit_on_a_page() {
        let audit = Audit {
            balanced: false,
            received: 1000,
            transmitted: 900,
            dropped: 50,
            punted: 49,
            pools: vec![PoolRow { name: "rx-0".into(), size: 8192, idle: 256, in_use: 257 }],
            findings: vec!["worker 0: 1 packet has no verdict".into()],
            ..Audit::default()
        };
        assert_eq!(
            text(&audit),
            "             packets
received        1000
injected           0
transmitted      900
dropped           50
punted            49
consumed           0
in flight          0

pool  size  idle  in_use
rx-0  8192   256     257

worker 0: 1 packet has no verdict
The books do not balance.
"
        );
    }
}

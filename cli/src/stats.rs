//! `puntctl stats`: counters, as they are or by the second.

use std::io::Write;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use punt::control::Client;
use serde_json::{Value, json};

use crate::args::{Stats, StatsArguments};
use crate::columns;
use crate::context::Context;
use crate::failure::Failure;
use crate::screen::{Screen, catch_interrupt};
use crate::table::{self, Column, Row};

/// Shows counters once, or watches them.
pub fn run(context: &mut Context, arguments: &StatsArguments) -> Result<(), Failure> {
    let (method, columns) = columns::stats(arguments.what);
    if arguments.reason.is_some() && arguments.what != Stats::Sources {
        return Err(Failure::usage("--reason goes with stats sources only; leave it out"));
    }
    if let Some(seconds) = arguments.watch {
        return watch(context, arguments, Duration::from_secs_f64(seconds));
    }
    if context.json {
        return context.json_list(method, params(arguments));
    }
    let mut rows: Vec<Row> = context.connect()?.list_as(method, params(arguments))?;
    rows.retain(|row| is_shown(arguments, columns, row));
    context.out.write_all(table::render(columns, &rows, "").as_bytes())?;
    Ok(())
}

/// What the engine is to be asked for.
fn params(arguments: &StatsArguments) -> Value {
    arguments.reason.as_ref().map_or(json!({}), |reason| json!({ "reason": reason }))
}

/// Whether the row is worth a line: of the many drops, reasons and nodes only those that have counted something.
fn is_shown(arguments: &StatsArguments, columns: &[Column], row: &Row) -> bool {
    let always = matches!(arguments.what, Stats::Interfaces | Stats::Sinks | Stats::Workers);
    always || arguments.all || table::counts(columns, row)
}

/// Shows what happens each second, until Ctrl-C or until nobody reads it.
fn watch(context: &mut Context, arguments: &StatsArguments, interval: Duration) -> Result<(), Failure> {
    let (method, columns) = columns::stats(arguments.what);
    let interrupted = catch_interrupt()?;
    let mut screen = Screen::new(context);
    let mut client = context.connect()?;
    let (mut before, mut time) = read(&mut client, method, arguments)?;
    while interrupted.recv_timeout(interval.saturating_sub(time.elapsed())) == Err(RecvTimeoutError::Timeout)
    {
        let (after, now) = read(&mut client, method, arguments)?;
        let mut rates = table::rates(columns, &before, &after, (now - time).as_secs_f64().max(1e-6));
        let text = if context.json {
            format!("{}\n", json!(rates))
        } else {
            // By the totals, or lines would come and go.
            let mut shown = after.iter().map(|row| is_shown(arguments, columns, row));
            rates.retain(|_| shown.next().unwrap_or(true));
            let text = table::render(columns, &rates, "/s");
            if screen.is_terminal() { text } else { text + "\n" }
        };
        screen.show(context, &text)?;
        (before, time) = (after, now);
    }
    Ok(())
}

/// One read of the counters and when it was.
fn read(
    client: &mut Client,
    method: &str,
    arguments: &StatsArguments,
) -> Result<(Vec<Row>, Instant), Failure> {
    let rows = client.list_as(method, params(arguments))?;
    Ok((rows, Instant::now()))
}

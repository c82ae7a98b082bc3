//! `puntctl route load` and `unload`: all routes of a file, in batches.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use punt::control::types::{Reservation, RouteKey};
use punt::control::{Client, ClientError, batches};
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::route_file::RouteFile;

/// Adds all routes of a file, or none.
pub fn load(context: &mut Context, path: &Path) -> Result<(), Failure> {
    let file = RouteFile::open(path)?;
    let interrupted = catch_interrupt()?;
    let mut client = context.connect_for_long()?;
    let start = Instant::now();
    client.call("route.reserve", Reservation::of(file.routes.iter().map(|route| route.prefix)))?;

    let outcome = send(&mut client, "route.add", &file, &file.routes, "loading", &interrupted);
    match outcome {
        Ok(()) => summary(context, "loaded", file.routes.len(), start.elapsed()),
        Err(Stopped { sent, failure, client_lost }) => {
            let undone = match client_lost {
                false => take_back(&mut client, &file, sent),
                true => Err("the engine is gone".into()),
            };
            Err(match (sent, undone) {
                (_, Ok(())) => because(failure, "nothing was loaded"),
                (0, Err(_)) => failure,
                (sent, Err(fault)) => because(
                    failure,
                    &format!(
                        "{sent} routes before it may still be there ({fault}); \"puntctl route unload\" deletes them"
                    ),
                ),
            })
        }
    }
}

/// Deletes all routes of a file.
pub fn unload(context: &mut Context, path: &Path) -> Result<(), Failure> {
    let file = RouteFile::open(path)?;
    let interrupted = catch_interrupt()?;
    let mut client = context.connect_for_long()?;
    let start = Instant::now();
    let keys: Vec<RouteKey> = file.routes.iter().map(|route| route.key()).collect();
    match send(&mut client, "route.del", &file, &keys, "unloading", &interrupted) {
        Ok(()) => summary(context, "unloaded", keys.len(), start.elapsed()),
        Err(Stopped { sent, failure, .. }) => {
            Err(because(failure, &format!("{sent} routes before it are deleted")))
        }
    }
}

/// Why not everything was sent.
struct Stopped {
    /// How many the engine has taken.
    sent: usize,
    failure: Failure,
    /// Whether it is of no use to call again.
    client_lost: bool,
}

/// Sends one object for each route of the file; each batch is taken whole or refused whole.
fn send<T: Serialize>(
    client: &mut Client,
    method: &str,
    file: &RouteFile,
    objects: &[T],
    title: &'static str,
    interrupted: &AtomicBool,
) -> Result<(), Stopped> {
    let progress = progress(title, objects.len());
    let mut sent = 0;
    for batch in batches(objects) {
        let stopped = |failure, client_lost| Stopped { sent, failure, client_lost };
        let batch = batch.map_err(|error| stopped(Failure::usage(error.to_string()), false))?;
        if interrupted.load(Ordering::Relaxed) {
            let message = Some(String::from("interrupted"));
            return Err(stopped(Failure { status: 1, message }, false));
        }
        if let Err(error) = client.call(method, &batch) {
            progress.finish_and_clear();
            let lost = matches!(error, ClientError::Broken { .. } | ClientError::NoEngine { .. });
            return Err(stopped(name_the_line(file, sent, error), lost));
        }
        sent += batch.len();
        progress.set_position(sent as u64);
    }
    progress.finish_and_clear();
    Ok(())
}

/// The engine's refusal, with the line it is about, where it says which object of the batch that is.
fn name_the_line(file: &RouteFile, sent: usize, error: ClientError) -> Failure {
    let index = match &error {
        ClientError::Refused(refused) => refused.data.as_ref().and_then(|data| data.get("index")?.as_u64()),
        _ => None,
    };
    let status = error.exit_status();
    let message = match (index, &error) {
        (Some(index), ClientError::Refused(refused)) => {
            let words =
                refused.message.strip_prefix(&format!("object {index}: ")).unwrap_or(&refused.message);
            format!("{} {words}", file.at(sent + index as usize))
        }
        _ => format!("{}: {error}", file.name),
    };
    Failure { status, message: Some(message) }
}

/// Deletes the first routes of the file again.
fn take_back(client: &mut Client, file: &RouteFile, count: usize) -> Result<(), String> {
    let keys = file.routes[..count].iter().map(|route| route.key());
    for batch in batches(keys) {
        let batch = batch.map_err(|error| error.to_string())?;
        client.call("route.del", &batch).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The failure with its consequence.
fn because(failure: Failure, consequence: &str) -> Failure {
    let message = failure.message.map(|message| format!("{message}; {consequence}"));
    Failure { message, ..failure }
}

/// On a terminal, how far it is; elsewhere nothing.
fn progress(title: &'static str, total: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} routes, {rate} per second")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
                // The bar has nowhere to report an error to.
                let _ = write!(out, "{:.0}", state.per_sec());
            });
    ProgressBar::new(total as u64).with_style(style).with_message(title)
}

/// How many in which time.
fn summary(context: &mut Context, done: &str, routes: usize, time: Duration) -> Result<(), Failure> {
    let seconds = time.as_secs_f64();
    let rate = (routes as f64 / seconds.max(1e-6)).round() as u64;
    if context.json {
        let object = json!({ "routes": routes, "seconds": seconds, "routes_per_second": rate });
        writeln!(context.out, "{object}")?;
    } else {
        let word = if routes == 1 { "route" } else { "routes" };
        writeln!(context.out, "{routes} {word} {done} in {seconds:.2} s ({rate} per second)")?;
    }
    Ok(())
}

/// Ctrl-C sets the flag instead of ending puntctl in the middle.
fn catch_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&flag);
    ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed))
        .map_err(|error| Failure::usage(format!("Ctrl-C cannot be caught: {error}")))?;
    Ok(flag)
}

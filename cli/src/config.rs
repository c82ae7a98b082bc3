//! `puntctl config`: the configuration as one text.

use std::io::Write;
use std::path::Path;

use punt::control::Client;
use punt::control::types::{ConfigPart, ConfigReport, ConfigText};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::file;

/// The most bytes of text in one part: JSON may write a byte as six, and they must fit on a line.
const PART: usize = 128 << 10;

/// Shows what is in force.
pub fn show(context: &mut Context) -> Result<(), Failure> {
    let text = whole(&mut context.connect_for_long()?, "config.show")?;
    print(context, &text)
}

/// Writes what is in force to a file.
pub fn save(context: &mut Context, path: &Path) -> Result<(), Failure> {
    let text = whole(&mut context.connect_for_long()?, "config.save")?;
    if file::is_standard(path) { print(context, &text) } else { file::replace(path, &text) }
}

/// Has the engine check or apply a file.
pub fn submit(context: &mut Context, method: &str, path: &Path) -> Result<(), Failure> {
    let text = file::read(path)?;
    let mut client = context.connect_for_long()?;
    let parts = parts(&text);
    let (last, first) = parts.split_last().unwrap_or((&"", &[]));
    for part in first {
        client.call(method, part_of(path, part, true))?;
    }
    let report: Option<ConfigReport> = client.call_as(method, part_of(path, last, false))?;
    let notes = report.unwrap_or_default().notes;
    if context.json {
        writeln!(context.out, "{}", json!({ "notes": notes }))?;
    } else {
        for note in notes {
            writeln!(context.out, "{note}")?;
        }
    }
    Ok(())
}

fn part_of(path: &Path, text: &str, more: bool) -> ConfigText {
    ConfigText { text: text.into(), name: file::name(path), more }
}

fn print(context: &mut Context, text: &str) -> Result<(), Failure> {
    match context.json {
        true => writeln!(context.out, "{}", json!({ "text": text }))?,
        false => context.out.write_all(text.as_bytes())?,
    }
    Ok(())
}

/// The text of all parts.
fn whole(client: &mut Client, method: &str) -> Result<String, Failure> {
    let mut part: ConfigPart = client.call_as(method, json!({}))?;
    let mut text = part.text;
    while let Some(after) = part.after {
        part = client.call_as(method, json!({ "after": after }))?;
        if part.after.as_ref() == Some(&after) {
            let message = format!("{method}: the engine's parts do not end");
            return Err(Failure { status: 3, message: Some(message) });
        }
        text.push_str(&part.text);
    }
    Ok(text)
}

/// The text in parts of at most [`PART`] bytes; at least one.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > PART {
        let (part, after) = rest.split_at(boundary(rest));
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

/// The last place within [`PART`] bytes where no character is cut.
fn boundary(text: &str) -> usize {
    (0..=PART).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_together_are_the_text() {
        assert_eq!(parts(""), [""]);
        assert_eq!(parts("[punt]"), ["[punt]"]);
        let text = "€".repeat(PART);
        let parts = parts(&text);
        assert_eq!((parts.len(), parts.concat() == text), (4, true));
        assert!(parts.iter().all(|part| part.len() <= PART));
    }
}

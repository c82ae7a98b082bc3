//! What every command needs: the way to the engine, and where to say what it answered.

use std::io::{self, BufWriter, Stdout, Write};
use std::path::PathBuf;
use std::time::Duration;

use punt::control::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::table::{self, Column, Row};

/// How long an answer may take to what is much work.
const LONG: Duration = Duration::from_secs(300);

/// A command being run.
pub struct Context {
    /// Where the engine listens.
    pub socket: PathBuf,
    /// Whether to answer in JSON.
    pub json: bool,
    /// Standard output.
    pub out: BufWriter<Stdout>,
}

impl Context {
    /// A command that has not talked to the engine yet.
    pub fn new(socket: PathBuf, json: bool) -> Context {
        Context { socket, json, out: BufWriter::with_capacity(64 << 10, io::stdout()) }
    }

    /// Connects to the engine.
    pub fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.socket)?)
    }

    /// The same for what takes the engine long: whole configurations, a million routes.
    pub fn connect_for_long(&self) -> Result<Client, Failure> {
        let mut client = self.connect()?;
        client.set_patience(LONG);
        Ok(client)
    }

    /// Has the engine change something; JSON shows what it answers, if that is anything.
    pub fn change(&mut self, method: &str, params: impl Serialize) -> Result<(), Failure> {
        let answer: Box<RawValue> = self.connect()?.call_as(method, params)?;
        if self.json && answer.get() != "null" {
            writeln!(self.out, "{}", answer.get())?;
        }
        Ok(())
    }

    /// Asks for a single thing: JSON shows it as it came, else `show` does.
    pub fn ask<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: impl Serialize,
        show: impl FnOnce(&T) -> String,
    ) -> Result<T, Failure> {
        let answer: Box<RawValue> = self.connect()?.call_as(method, params)?;
        let read = serde_json::from_str(answer.get()).map_err(|error| Failure {
            status: 3,
            message: Some(format!("{method}: the engine's answer is not understood: {error}")),
        })?;
        match self.json {
            true => writeln!(self.out, "{}", answer.get())?,
            false => self.out.write_all(show(&read).as_bytes())?,
        }
        Ok(read)
    }

    /// Shows a list as a table, or in JSON.
    pub fn list(&mut self, method: &str, columns: &[Column]) -> Result<(), Failure> {
        if self.json {
            return self.json_list(method, ());
        }
        let rows: Vec<Row> = self.connect()?.list_as(method, ())?;
        self.out.write_all(table::render(columns, &rows, "").as_bytes())?;
        Ok(())
    }

    /// Shows a list as a JSON array, an object a line, page by page.
    pub fn json_list(&mut self, method: &str, params: impl Serialize) -> Result<(), Failure> {
        let mut before = "[";
        let mut client = self.connect()?;
        client.pages(method, params, |rows: Vec<Box<RawValue>>| {
            for row in rows {
                write!(self.out, "{before}\n  {}", row.get())?;
                before = ",";
            }
            Ok::<(), Failure>(())
        })?;
        match before {
            "[" => writeln!(self.out, "[]")?,
            _ => writeln!(self.out, "\n]")?,
        }
        Ok(())
    }
}

//! A client of the control socket: one request, one answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::MAX_LINE;
use super::message::{Request, Response, RpcError, code};
use super::page::Page;

/// How long an answer may take, for an engine that hangs or is stopped.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many items of a list are asked for at once.
const PAGE: usize = 1024;

/// Why a call did not yield a result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or we may not talk to it.
    #[error("no engine at {}: {source}; start puntd, or name its socket with --socket or $PUNTD_SOCKET", .socket.display())]
    NoEngine {
        /// Where we looked.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine understood and said no.
    #[error("{0}")]
    Refused(RpcError),
    /// What is to be sent does not fit on a line.
    #[error(
        "{method}: the request has {bytes} bytes; at most {MAX_LINE} fit on a line of the control socket"
    )]
    TooLong {
        /// What was to be called.
        method: String,
        /// How long the line would be.
        bytes: usize,
    },
    /// The conversation broke: the engine went away, kept silent or does not speak this protocol.
    #[error("{method}: {fault}")]
    Broken {
        /// What was called.
        method: String,
        /// What happened.
        fault: String,
    },
}

impl ClientError {
    /// With what status a command that failed so ends: 1 refused, 2 wrong usage, 3 no engine.
    pub fn exit_status(&self) -> u8 {
        match self {
            ClientError::Refused(_) => 1,
            ClientError::TooLong { .. } => 2,
            ClientError::NoEngine { .. } | ClientError::Broken { .. } => 3,
        }
    }

    /// Whether the engine does not know the method: it is older than this client.
    pub fn is_unknown_method(&self) -> bool {
        matches!(self, ClientError::Refused(error) if error.code == code::METHOD_NOT_FOUND)
    }
}

/// A connection to the engine.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    patience: Duration,
    last_id: u64,
    /// The answer being read; kept for its memory.
    line: Vec<u8>,
}

impl Client {
    /// Connects to the engine that listens at `socket`.
    ///
    /// # Errors
    /// `NoEngine` when that fails.
    pub fn connect(socket: impl AsRef<Path>) -> Result<Client, ClientError> {
        let socket = socket.as_ref();
        let connect = || {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        match connect() {
            Ok(stream) => {
                let stream = BufReader::new(stream);
                Ok(Client { stream, patience: PATIENCE, last_id: 0, line: Vec::new() })
            }
            Err(source) => Err(ClientError::NoEngine { socket: socket.into(), source }),
        }
    }

    /// Says how long an answer may take from now on; 30 seconds if nothing is said.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
        // It fails only for no time at all; then what was said before holds.
        let _ = self.stream.get_ref().set_read_timeout(Some(patience));
        let _ = self.stream.get_ref().set_write_timeout(Some(patience));
    }

    /// Calls a method and waits for its result.
    ///
    /// # Errors
    /// `Refused` with the engine's words, `TooLong`, or `Broken`; after `Broken` the connection is of no more use.
    pub fn call(&mut self, method: &str, params: impl Serialize) -> Result<Value, ClientError> {
        self.call_as(method, params)
    }

    /// The same, with the result as `T`.
    ///
    /// # Errors
    /// As [`call`](Client::call); a result that is no `T` is `Broken`.
    pub fn call_as<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: impl Serialize,
    ) -> Result<T, ClientError> {
        let result = self.exchange(method, &params)?;
        serde_json::from_str(result.get())
            .map_err(|error| broken(method, format!("the engine's answer is not understood: {error}")))
    }

    /// The whole of a list, however many pages it has.
    ///
    /// # Errors
    /// As [`call`](Client::call).
    pub fn list(&mut self, method: &str, params: impl Serialize) -> Result<Vec<Value>, ClientError> {
        self.list_as(method, params)
    }

    /// The same, with the rows as `T`.
    ///
    /// # Errors
    /// As [`call_as`](Client::call_as).
    pub fn list_as<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: impl Serialize,
    ) -> Result<Vec<T>, ClientError> {
        let mut all = Vec::new();
        self.pages(method, params, |items| {
            all.extend(items);
            Ok(())
        })?;
        Ok(all)
    }

    /// The same page by page, for lists too long to hold; `take` gets each page and may end it with an error.
    ///
    /// # Errors
    /// As [`call_as`](Client::call_as), and what `take` returns.
    pub fn pages<T: DeserializeOwned, E: From<ClientError>>(
        &mut self,
        method: &str,
        params: impl Serialize,
        mut take: impl FnMut(Vec<T>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut params = match serde_json::to_value(params) {
            Ok(Value::Object(params)) => params,
            Ok(Value::Null) => serde_json::Map::new(),
            _ => return Err(broken(method, "the parameters of a list are an object".into()).into()),
        };
        params.entry("limit").or_insert(PAGE.into());
        loop {
            let page: Page<T> = self.call_as(method, &params)?;
            let after = page.after.map(Value::String);
            let stuck = after.is_some() && (page.items.is_empty() || params.get("after") == after.as_ref());
            take(page.items)?;
            match after {
                None => return Ok(()),
                Some(_) if stuck => return Err(broken(method, "the engine's pages do not end".into()).into()),
                Some(cursor) => params.insert("after".into(), cursor),
            };
        }
    }

    /// Sends one line, reads one line.
    fn exchange(&mut self, method: &str, params: &impl Serialize) -> Result<Box<RawValue>, ClientError> {
        self.last_id += 1;
        let request = Request::new(self.last_id, method, params)
            .and_then(|request| serde_json::to_vec(&request))
            .map(|mut line| {
                line.push(b'\n');
                line
            })
            .map_err(|error| broken(method, format!("the parameters have no JSON form: {error}")))?;
        if request.len() > MAX_LINE {
            return Err(ClientError::TooLong { method: method.into(), bytes: request.len() });
        }
        // An engine that refuses us may answer and hang up before it has read everything: what it says counts more
        // than that the pipe is broken.
        let sent = self.stream.get_mut().write_all(&request);
        let response = self.answer(method);
        match (sent, response) {
            (Err(error), Err(ClientError::Broken { .. })) => Err(broken(method, gone(&error, self.patience))),
            (_, Err(error)) => Err(error),
            (_, Ok(response)) => match response.outcome {
                // What the engine could not read at all it answers with the id null.
                Err(error) if response.id == self.last_id || response.id.is_null() => {
                    Err(ClientError::Refused(error))
                }
                Ok(result) if response.id == self.last_id => Ok(result),
                _ => Err(broken(method, format!("the engine answered request {} instead", response.id))),
            },
        }
    }

    fn answer(&mut self, method: &str) -> Result<Response, ClientError> {
        self.line.clear();
        let mut bounded = (&mut self.stream).take(MAX_LINE as u64);
        match bounded.read_until(b'\n', &mut self.line) {
            Err(error) => Err(broken(method, gone(&error, self.patience))),
            Ok(0) => Err(broken(method, "the engine closed the connection".into())),
            Ok(_) if self.line.last() != Some(&b'\n') => {
                let fault = match self.line.len() {
                    MAX_LINE => format!("the engine's answer is longer than {MAX_LINE} bytes"),
                    _ => "the engine closed the connection in the middle of its answer".into(),
                };
                Err(broken(method, fault))
            }
            Ok(_) => serde_json::from_slice(&self.line)
                .map_err(|error| broken(method, format!("the engine's answer is no JSON-RPC 2.0: {error}"))),
        }
    }
}

fn broken(method: &str, fault: String) -> ClientError {
    ClientError::Broken { method: method.into(), fault }
}

/// What became of the engine, as the system says it.
fn gone(error: &io::Error, patience: Duration) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!(
                "the engine does not answer within {} seconds; see whether it is stopped",
                patience.as_secs()
            )
        }
        _ => format!("the engine went away: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_stopped_is_not_waited_for_for_ever() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("puntd.sock");
        // Its system takes us in, and it never does.
        let _stopped = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let mut client = Client::connect(&path).expect("there is room at the door");
        client.set_patience(Duration::from_millis(10));
        let error = client.call("audit", ()).expect_err("nobody answers");
        assert_eq!(
            (error.exit_status(), error.to_string().as_str()),
            (3, "audit: the engine does not answer within 0 seconds; see whether it is stopped")
        );
    }
}

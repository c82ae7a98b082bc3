//! An engine that is none: it answers what the test tells it to, and remembers what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use punt::control::{MAX_BATCH, MAX_LINE, Request, Response, RpcError};
use serde_json::Value;
use tempfile::TempDir;

/// A method that was called, and its parameters.
pub type Call = (String, Value);

pub struct Engine {
    directory: TempDir,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Engine {
    /// Answers each call as `answer` says; holds every line to the protocol.
    pub fn start(answer: impl FnMut(&str, &Value) -> Result<Value, RpcError> + Send + 'static) -> Engine {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&calls);
        let mut answer = answer;
        Engine::serve(calls, move |mut stream| {
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                assert!(line.len() <= MAX_LINE, "a line of {} bytes", line.len());
                let request = Request::parse(&line).unwrap();
                let params: Value =
                    request.params.map_or(Value::Null, |params| params.get().parse().unwrap());
                assert!(params.as_array().is_none_or(|objects| (1..=MAX_BATCH).contains(&objects.len())));
                remembered.lock().unwrap().push((request.method.clone(), params.clone()));
                let id = request.id.unwrap();
                let response = match answer(&request.method, &params) {
                    Ok(result) => Response::result(id, &result),
                    Err(error) => Response::error(id, error),
                };
                if stream.write_all(&response.to_line()).is_err() {
                    return;
                }
                line.clear();
            }
        })
    }

    /// Says the same to everybody, whatever they want, and hangs up.
    pub fn rude(words: &'static [u8]) -> Engine {
        Engine::serve(Arc::default(), move |mut stream| {
            let _ = BufReader::new(stream.try_clone().unwrap()).read_until(b'\n', &mut Vec::new());
            let _ = stream.write_all(words);
        })
    }

    fn serve(calls: Arc<Mutex<Vec<Call>>>, mut client: impl FnMut(UnixStream) + Send + 'static) -> Engine {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("puntd.sock")).unwrap();
        std::thread::spawn(move || listener.incoming().for_each(|stream| client(stream.unwrap())));
        Engine { directory, calls }
    }

    /// What was called so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The methods called so far.
    pub fn methods(&self) -> Vec<String> {
        self.calls().into_iter().map(|(method, _)| method).collect()
    }

    /// A file beside the socket.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// puntctl, about to talk to this engine.
    pub fn command(&self, line: &str) -> Command {
        let mut command = puntctl(line);
        command
            .env("PUNTD_SOCKET", self.directory.path().join("puntd.sock"))
            .current_dir(self.directory.path());
        command
    }

    /// What puntctl says with these arguments, separated by blanks.
    pub fn run(&self, line: &str) -> Said {
        said(self.command(line).output().unwrap())
    }
}

/// puntctl with arguments, and no engine.
pub fn puntctl(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_puntctl"));
    command.args(line.split_whitespace()).env("PUNTD_SOCKET", "/nonexistent/puntd.sock");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What came out of a run.
#[derive(Debug, PartialEq)]
pub struct Said {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn said(output: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Said {
    /// Whether it went well, without a word on standard error; then what it said.
    pub fn well(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (Some(0), ""));
        self.out
    }

    /// The same, as JSON.
    pub fn json(self) -> Value {
        self.well().parse().unwrap()
    }

    /// Its status and what it said on standard error, with nothing on standard output.
    pub fn badly(self) -> (i32, String) {
        assert_eq!(self.out, "");
        (self.status.unwrap(), self.err)
    }
}

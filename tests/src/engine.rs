//! `puntd` and `puntctl`, run as a user runs them.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::capture;
use crate::namespace::Namespace;
use crate::plan::Port;

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// The workspace's binary of this name, as it is now in the sources.
///
/// # Panics
/// If it does not build.
pub fn binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        // target/debug/deps/test-0123456789abcdef, or target/release/…
        let test = std::env::current_exe().expect("a test has a path");
        let directory = test.ancestors().nth(2).expect("a test is in target/debug/deps").to_owned();
        let release = directory.ends_with("release").then_some("--release");
        // Cargo builds binaries for the tests of their own package only. When there is nothing to do, it takes a moment.
        let build = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--workspace", "--bins", "--example", "punt-watch", "--target-dir"])
            .arg(directory.parent().expect("target/debug is in target"))
            .args(release)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo is where it was when this was compiled");
        assert!(build.status.success(), "cargo build: {}", String::from_utf8_lossy(&build.stderr));
        directory
    });
    directory.join(name)
}

/// An engine that is about to start, and the directory of its files.
pub struct Launch {
    directory: TempDir,
    config: Option<String>,
    lcores: String,
    vdevs: Vec<String>,
    options: Vec<String>,
    namespace: Option<String>,
}

impl Default for Launch {
    fn default() -> Launch {
        Launch::new()
    }
}

impl Launch {
    /// With one lcore, no ports and no configuration.
    pub fn new() -> Launch {
        Launch {
            directory: tempfile::tempdir().expect("there is room for a directory"),
            config: None,
            lcores: "0".into(),
            vdevs: Vec::new(),
            options: Vec::new(),
            namespace: None,
        }
    }

    /// A file in the engine's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// With this configuration.
    pub fn config(mut self, text: impl Into<String>) -> Launch {
        self.config = Some(text.into());
        self
    }

    /// On these lcores, as `--lcores` has them.
    pub fn lcores(mut self, lcores: &str) -> Launch {
        self.lcores = lcores.into();
        self
    }

    /// With a virtual device more, as `--vdev` has it.
    pub fn vdev(mut self, vdev: impl Into<String>) -> Launch {
        self.vdevs.push(vdev.into());
        self
    }

    /// With net_pcap devices as its ports: each receives these frames from a capture and sends into another, see [`sent`].
    pub fn captures<'a>(mut self, ports: [impl IntoIterator<Item = &'a [u8]>; 2]) -> Launch {
        for (index, (port, frames)) in Port::ALL.into_iter().zip(ports).enumerate() {
            let [input, output] = ["in", "out"].map(|way| self.file(&capture_of(port, way)));
            capture::write(&input, frames).expect("there is room for a capture");
            let (input, output) = (input.display(), output.display());
            self = self.vdev(format!("net_pcap{index},rx_pcap={input},tx_pcap={output}"));
        }
        self
    }

    /// With an option of puntd more.
    pub fn option(mut self, option: &str) -> Launch {
        self.options.push(option.into());
        self
    }

    /// In this network namespace.
    pub fn inside(mut self, namespace: &Namespace) -> Launch {
        self.namespace = Some(namespace.name().into());
        self
    }

    /// The command that starts it, with its configuration in place.
    pub fn command(&self) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(binary("puntd")),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(binary("puntd"));
                command
            }
        };
        command.args(["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "--iova-mode=va"]);
        command.args(["--lcores", &self.lcores]);
        command.args(self.vdevs.iter().flat_map(|vdev| ["--vdev", vdev]));
        command.arg("--").arg("--socket").arg(self.file("puntd.sock"));
        if let Some(config) = &self.config {
            fs::write(self.file("puntd.toml"), config).expect("there is room for a configuration");
            command.arg("--config").arg(self.file("puntd.toml"));
        }
        command.args(&self.options).stdin(Stdio::null());
        command.env_remove("PUNTD_SOCKET").env_remove("RUST_LOG");
        command
    }

    /// Runs it until it ends by itself, as it does when something is wrong with what it was told.
    pub fn fails(&self) -> Output {
        let log = || File::create(self.file("log")).expect("there is room for a log");
        let mut child = self.command().stdout(log()).stderr(log()).spawn().expect("puntd can be started");
        let status = wait(&mut child, PATIENCE).unwrap_or_else(|| {
            let _ = child.kill();
            panic!("puntd runs on although it was told nonsense")
        });
        Output { status, stdout: Vec::new(), stderr: fs::read(self.file("log")).unwrap_or_default() }
    }

    /// Starts it and does not wait.
    pub fn start_unready(self) -> Engine {
        let log = File::create(self.file("log")).expect("there is room for a log");
        let mut command = self.command();
        command.stdout(log.try_clone().expect("a file can be opened twice")).stderr(log);
        Engine { child: command.spawn().expect("puntd can be started"), directory: Some(self.directory) }
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn start(self) -> Engine {
        // Systemd's way to say it: a datagram when the control socket answers.
        let ready = UnixDatagram::bind(self.file("notify")).expect("a socket can be bound");
        ready.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket has a timeout");
        let log = File::create(self.file("log")).expect("there is room for a log");
        let child = self
            .command()
            .env("NOTIFY_SOCKET", self.file("notify"))
            .stdout(log.try_clone().expect("a file can be opened twice"))
            .stderr(log)
            .spawn()
            .expect("puntd can be started");
        let mut engine = Engine { child, directory: Some(self.directory) };
        let deadline = Instant::now() + PATIENCE;
        let mut message = [0; 64];
        while Instant::now() < deadline {
            match ready.recv(&mut message) {
                Ok(len) if message[..len].starts_with(b"READY=1") => {
                    engine.ok("version");
                    let _ = fs::remove_file(engine.file("notify"));
                    return engine;
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("the engine's notice cannot be received: {error}"),
            }
            if let Some(status) = engine.child.try_wait().expect("a child can be waited for") {
                panic!("puntd ended before it was ready: {status}");
            }
        }
        panic!("puntd is not ready after {PATIENCE:?}");
    }
}

/// What a port has sent into its capture, once the engine has stopped.
pub fn sent(files: &TempDir, port: Port) -> Vec<Vec<u8>> {
    capture::read(&files.path().join(capture_of(port, "out"))).expect("it is a capture")
}

fn capture_of(port: Port, way: &str) -> String {
    format!("{}-{way}.pcap", port.interface())
}

/// An engine that runs.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    directory: Option<TempDir>,
}

impl Engine {
    /// A file in the engine's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn directory(&self) -> &Path {
        self.directory.as_ref().expect("it is there while the engine is").path()
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.file("puntd.sock")
    }

    /// The number of its process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// What puntctl says to these words.
    pub fn puntctl(&self, words: &str) -> Output {
        Command::new(binary("puntctl"))
            .arg("--socket")
            .arg(self.socket())
            .args(words.split_whitespace())
            .current_dir(self.directory())
            .stdin(Stdio::null())
            .output()
            .expect("puntctl can be started")
    }

    /// What puntctl says to these words, which the engine does.
    #[track_caller]
    pub fn ok(&self, words: &str) -> String {
        let output = self.puntctl(words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "puntctl {words}: {error}");
        String::from_utf8(output.stdout).expect("puntctl speaks UTF-8")
    }

    /// Why the engine refuses these words.
    #[track_caller]
    pub fn refused(&self, words: &str) -> String {
        let output = self.puntctl(words);
        let error = String::from_utf8(output.stderr).expect("puntctl speaks UTF-8");
        assert_eq!(output.status.code(), Some(1), "puntctl {words}: {error}");
        error
    }

    /// What puntctl says to these words in JSON. The status does not matter: an audit speaks when it fails, too.
    #[track_caller]
    pub fn json(&self, words: &str) -> Value {
        let output = self.puntctl(&format!("--json {words}"));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!("puntctl --json {words}: {error}: {said}")
        })
    }

    /// The number in `field` of the row of a list that has `value` as its `key`.
    #[track_caller]
    pub fn number(&self, list: &str, key: &str, value: &str, field: &str) -> u64 {
        let rows = self.json(list);
        let row = rows.as_array().into_iter().flatten().find(|row| row[key] == value);
        let row = row.unwrap_or_else(|| panic!("{list} has no {value}: {rows}"));
        row[field].as_u64().unwrap_or_else(|| panic!("{list} has no {field}: {row}"))
    }

    /// Packets of this interface.
    pub fn interface(&self, name: &str, field: &str) -> u64 {
        self.number("interface list", "name", name, field)
    }

    /// Packets punted for this reason.
    pub fn reason(&self, name: &str) -> u64 {
        self.number("stats reasons", "name", name, "packets")
    }

    /// Packets dropped with this text, by whatever node.
    pub fn drops(&self, text: &str) -> u64 {
        let rows = self.json("stats drops");
        let rows = rows.as_array().expect("a list").iter().filter(|row| row["text"] == text);
        rows.map(|row| row["packets"].as_u64().expect("a number")).sum()
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// If it does not become so.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&Engine) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "after {PATIENCE:?} it is still not so that {what}");
            sleep(LOOK);
        }
    }

    /// Waits until so many packets have come in.
    #[track_caller]
    pub fn received(&self, packets: u64) {
        let count = |engine: &Engine| engine.json("audit")["received"].as_u64();
        self.until(&format!("{packets} packets were received"), |engine| count(engine) >= Some(packets));
        assert_eq!(count(self), Some(packets), "packets received");
    }

    /// Tells it something.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the engine runs");
    }

    /// Ends the test: no packet is under way any more, the books balance, all buffers are back in their pools, and the engine stops cleanly.
    /// Its files stay until what is returned goes.
    ///
    /// # Panics
    /// If any of that is not so.
    #[track_caller]
    pub fn finish(self) -> TempDir {
        self.until("nothing is in flight and every buffer is back", |engine| {
            let audit = engine.json("audit");
            let pools = audit["pools"].as_array().expect("an audit has pools");
            audit["in_flight"] == 0 && pools.iter().all(|pool| pool["in_use"] == pool["idle"])
        });
        let audit = self.json("audit");
        assert_eq!(
            (&audit["balanced"], &audit["findings"]),
            (&true.into(), &Value::Array(Vec::new())),
            "{audit}"
        );
        let sum =
            |fields: &[&str]| fields.iter().map(|field| audit[field].as_u64().expect(field)).sum::<u64>();
        let verdicts = sum(&["transmitted", "dropped", "punted", "consumed", "in_flight"]);
        assert_eq!(sum(&["received", "injected"]), verdicts, "{audit}");
        self.ok("audit");
        self.stop(Signal::SIGTERM)
    }

    /// The same while traffic goes on: the books balance with what is in flight, and the engine stops cleanly.
    #[track_caller]
    pub fn finish_busy(self) -> TempDir {
        let audit = self.json("audit");
        assert_eq!(audit["balanced"], true, "{audit}");
        self.stop(Signal::SIGTERM)
    }

    /// Tells it to stop, which it does with status 0.
    #[track_caller]
    pub fn stop(mut self, signal: Signal) -> TempDir {
        self.signal(signal);
        match wait(&mut self.child, PATIENCE) {
            None => panic!("puntd does not stop on {signal}"),
            Some(status) => assert_eq!(status.code(), Some(0), "puntd ended with {status}"),
        }
        assert!(!self.socket().exists(), "the control socket outlives its engine");
        self.directory.take().expect("it is there while the engine is")
    }
}

impl Drop for Engine {
    /// Ends an engine whose test has failed, and says what it said.
    fn drop(&mut self) {
        if self.directory.is_none() {
            return;
        }
        if std::thread::panicking() {
            eprintln!("--- what puntd said\n{}---", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a process to end, so long at most.
pub fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        sleep(LOOK);
    }
}

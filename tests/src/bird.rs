//! BIRD, a routing daemon that is not ours, in a network namespace of the test.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::engine::{PATIENCE, wait};
use crate::namespace::Namespace;

/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// A BIRD that runs.
#[derive(Debug)]
pub struct Bird {
    child: Child,
    directory: TempDir,
}

impl Bird {
    /// Starts it in the namespace. Where it is not installed, the test is skipped: that is `None`, and a line that says so.
    ///
    /// # Panics
    /// If it does not start, or in CI, where it must be installed.
    pub fn start(namespace: &Namespace, config: &str) -> Option<Bird> {
        if let Err(error) = Command::new("bird").arg("--version").output() {
            assert!(std::env::var_os("CI").is_none(), "in CI BIRD must be there: {error}");
            println!("SKIPPED: there is no BIRD; install bird2 ({error})");
            return None;
        }
        let directory = tempfile::tempdir().expect("there is room for a directory");
        let file = |name: &str| directory.path().join(name);
        fs::write(file("bird.conf"), config).expect("there is room for a configuration");
        let log = File::create(file("log")).expect("there is room for a log");
        let child = Command::new("ip")
            .args(["netns", "exec", namespace.name(), "bird", "-f", "-c"])
            .arg(file("bird.conf"))
            .arg("-s")
            .arg(file("bird.ctl"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be opened twice"))
            .stderr(log)
            .spawn()
            .expect("ip can be run");
        let mut bird = Bird { child, directory };
        let deadline = Instant::now() + PATIENCE;
        while !bird.says("show status").contains("Daemon is up and running") {
            let ended = bird.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none() && Instant::now() < deadline, "BIRD does not start: {ended:?}");
            sleep(LOOK);
        }
        Some(bird)
    }

    /// What birdc answers to these words.
    pub fn says(&self, words: &str) -> String {
        let output = Command::new("birdc")
            .arg("-s")
            .arg(self.directory.path().join("bird.ctl"))
            .args(words.split_whitespace())
            .stdin(Stdio::null())
            .output()
            .expect("birdc comes with BIRD");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until what birdc answers is so.
    ///
    /// # Panics
    /// If it does not become so.
    #[track_caller]
    pub fn until(&self, words: &str, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.says(words);
            if is_so(&said) {
                return;
            }
            assert!(Instant::now() < deadline, "after {PATIENCE:?} BIRD still says to {words}: {said}");
            sleep(LOOK);
        }
    }

    /// Ends it as its users do; it says goodbye to its neighbours.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("it runs");
        assert!(wait(&mut self.child, PATIENCE).is_some(), "BIRD does not end");
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            eprintln!("--- what BIRD said\n{log}---");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

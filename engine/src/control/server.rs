//! The control socket: one thread, many clients, one JSON-RPC object a line.
//!
//! Nothing that a client sends or leaves undone harms another: reads and writes never wait, each client gets one request a round, a reply that
//! is not taken stops only the one who does not take it, and what all clients together may keep in buffers is bounded.

mod clients;

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::net::UnixListener;
use mio::{Events, Interest, Poll, Token, Waker};
use punt::control::RpcError;
use punt::socket::Place;
use serde_json::value::RawValue;

use self::clients::Clients;

/// Clients taken in at once, before those inside have their turn.
const MAX_ACCEPTED: usize = 64;

/// The longest time without a [`tick`](Service::tick).
const TICK: Duration = Duration::from_secs(1);

/// Between two looks at the door while the system has no descriptors for those who wait there.
const AGAIN: Duration = Duration::from_millis(50);

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);

/// What answers requests.
pub trait Service {
    /// What it remembers of a connection.
    type Session: Default;

    /// Does what `method` says.
    ///
    /// # Errors
    /// Why it was not done.
    fn call(
        &mut self,
        session: &mut Self::Session,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<Box<RawValue>, RpcError>;

    /// Reads the configuration again.
    fn reload(&mut self, file: &Path);

    /// Whether more than the connection would be lost if this one were ended.
    fn holds(session: &Self::Session) -> bool {
        let _ = session;
        false
    }

    /// A connection has ended.
    fn leave(&mut self, session: Self::Session) {
        drop(session);
    }

    /// Called now and then, at least once a second.
    fn tick(&mut self) {}
}

/// What other threads ask of the control thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read this configuration file again and apply it.
    Reload(PathBuf),
    /// Leave [`Server::run`].
    Stop,
}

/// How other threads reach the control thread.
#[derive(Clone)]
pub struct Remote {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl Remote {
    /// Asks it to do something; it wakes up for that.
    pub fn post(&self, command: Command) {
        // It fails when the control thread has gone, and then there is nobody to tell.
        let _ = self.commands.send(command);
        if let Err(error) = self.waker.wake() {
            log::error!("cannot wake the control thread: {error}");
        }
    }
}

/// The Unix socket at which operators ask.
pub struct Server {
    poll: Poll,
    _place: Place,
    listener: UnixListener,
    remote: Remote,
    commands: Receiver<Command>,
}

impl Server {
    /// Listens at `path`, with mode 0660; its directory is made if it is missing, and a socket where nobody answers is replaced.
    ///
    /// # Errors
    /// When an engine answers there already, something that is no socket is in the way, or the system refuses.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Server> {
        let path = path.as_ref();
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("control socket {}: {error}", path.display()))
        };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(named)?;
        }
        let (place, listener) = listen(path).map_err(named)?;
        let mut listener = UnixListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (sender, commands) = unbounded();
        Ok(Server { poll, _place: place, listener, remote: Remote { commands: sender, waker }, commands })
    }

    /// A way for other threads to reach [`run`](Server::run).
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// When the system fails it; what a client does never ends it.
    pub fn run<S: Service>(&mut self, service: &mut S) -> io::Result<()> {
        let mut clients = Clients::<S::Session>::default();
        let mut events = Events::with_capacity(256);
        let mut door = Door::Quiet;
        loop {
            let patience = if clients.waiting.is_empty() { door.patience() } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => door.knock(),
                    WAKER => {}
                    token => clients.wake(token),
                }
            }
            if door.patience().is_zero() {
                door = self.accept::<S>(&mut clients, door);
            }
            clients.let_go(service);
            service.tick();
            for command in self.commands.try_iter() {
                match command {
                    Command::Reload(file) => service.reload(&file),
                    Command::Stop => return Ok(()),
                }
            }
            clients.round(service);
        }
    }

    /// Takes in some of those who wait at the door.
    fn accept<S: Service>(&self, clients: &mut Clients<S::Session>, door: Door) -> Door {
        for _ in 0..MAX_ACCEPTED {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = clients.add(&self.poll, stream, S::holds) {
                        log::warn!("cannot serve a client: {error}");
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Door::Quiet,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // As a rule there are no file descriptors left: make room, and the next client gets in.
                Err(_) if clients.drop_idlest(S::holds) => return Door::Knocked,
                Err(error) => {
                    if !matches!(door, Door::Stuck(_)) {
                        log::warn!("cannot take a client in: {error}; it waits");
                    }
                    // Nobody says when there are descriptors again, and who waits knocks only once.
                    return Door::Stuck(Instant::now() + AGAIN);
                }
            }
        }
        Door::Knocked
    }
}

/// Where clients wait to be taken in.
enum Door {
    /// Nobody is there.
    Quiet,
    /// Somebody may be.
    Knocked,
    /// Somebody is, and cannot be taken in before then.
    Stuck(Instant),
}

impl Door {
    /// Somebody has come.
    fn knock(&mut self) {
        if let Door::Quiet = self {
            *self = Door::Knocked;
        }
    }

    /// How long it need not be looked at.
    fn patience(&self) -> Duration {
        match self {
            Door::Quiet => TICK,
            Door::Knocked => Duration::ZERO,
            Door::Stuck(until) => until.saturating_duration_since(Instant::now()),
        }
    }
}

/// Listens there, and says who is in the way.
fn listen(path: &Path) -> io::Result<(Place, std::os::unix::net::UnixListener)> {
    let name = path.to_str().ok_or_else(|| io::Error::other("its name is no UTF-8; choose another path"))?;
    // What begins with `@` is a file here.
    let name = if name.starts_with('@') { format!("./{name}") } else { name.to_owned() };
    punt::socket::listen(&name, 0o660).map_err(|error| {
        if error.kind() != ErrorKind::AddrInUse {
            return error;
        }
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket());
        let who = if is_socket {
            "an engine answers there already"
        } else {
            "there is something that is no socket"
        };
        io::Error::new(error.kind(), format!("{who}; choose another path"))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream as Stream;
    use std::thread::JoinHandle;

    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use serde_json::value::to_raw_value;

    use punt::control::MAX_LINE;

    use super::clients::CHUNK;
    use super::*;

    /// Says back what it is told, at length if it is asked to.
    #[derive(Default)]
    struct Echo {
        reloaded: Vec<PathBuf>,
        /// Told of each connection that has ended: how much it asked.
        left: Option<Sender<u32>>,
    }

    impl Service for Echo {
        type Session = u32;

        fn call(
            &mut self,
            session: &mut u32,
            method: &str,
            params: Option<&RawValue>,
        ) -> Result<Box<RawValue>, RpcError> {
            *session += 1;
            match method {
                "echo" => Ok(params.map(ToOwned::to_owned).unwrap_or_default()),
                "count" => Ok(to_raw_value(session).expect("a number")),
                "hold" => {
                    *session = HOLDS;
                    Ok(Box::default())
                }
                "long" => Ok(to_raw_value(&"x".repeat(1 << 19)).expect("a string")),
                _ => Err(RpcError::method_not_found(method)),
            }
        }

        fn holds(session: &u32) -> bool {
            *session >= HOLDS
        }

        fn leave(&mut self, session: u32) {
            self.left.iter().for_each(|left| left.send(session).expect("somebody listens"));
        }

        fn reload(&mut self, file: &Path) {
            self.reloaded.push(file.to_owned());
        }
    }

    /// A server that runs until it is dropped.
    struct Running {
        path: PathBuf,
        remote: Remote,
        thread: Option<JoinHandle<Echo>>,
        _directory: tempfile::TempDir,
    }

    impl Running {
        fn new() -> Running {
            Running::with(Echo::default())
        }

        fn with(mut echo: Echo) -> Running {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("run/engine.sock");
            let mut server = Server::bind(&path).expect("it listens");
            let remote = server.remote();
            let thread = std::thread::spawn(move || {
                server.run(&mut echo).expect("nothing ends it");
                echo
            });
            Running { path, remote, thread: Some(thread), _directory: directory }
        }

        fn connect(&self) -> Stream {
            let stream = Stream::connect(&self.path).expect("it takes us in");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            stream
        }

        fn stop(mut self) -> Echo {
            self.remote.post(Command::Stop);
            self.thread.take().expect("not stopped before").join().expect("it does not panic")
        }
    }

    /// Sends and takes one line.
    fn ask(stream: &mut Stream, line: &str) -> String {
        stream.write_all(format!("{line}\n").as_bytes()).expect("it reads");
        answer(stream)
    }

    fn answer(stream: &Stream) -> String {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("it answers");
        line
    }

    /// What a session is that must not be lost.
    const HOLDS: u32 = 1000;

    const COUNT: &str = r#"{"jsonrpc":"2.0","id":1,"method":"count"}"#;

    #[test]
    fn a_line_gets_a_line() {
        let running = Running::new();
        let mut stream = running.connect();
        let echo = r#"{"jsonrpc":"2.0","id":"a","method":"echo","params":{"x":[1,2]}}"#;
        assert_eq!(ask(&mut stream, echo), "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":{\"x\":[1,2]}}\n");
        assert!(ask(&mut stream, r#"{"jsonrpc":"2.0","id":2,"method":"fly"}"#).contains("-32601"));
        assert!(ask(&mut stream, "route add").contains("-32700"));
        assert!(ask(&mut stream, "\u{0}\u{1}{{{").contains("-32700"));
        assert!(ask(&mut stream, &"[".repeat(100_000)).contains("\"error\""));
        // What went wrong before has changed nothing.
        assert!(ask(&mut stream, COUNT).ends_with("\"result\":3}\n"));
        running.stop();
    }

    #[test]
    fn who_leaves_is_gone_at_once() {
        let (left, leavers) = unbounded();
        let running = Running::with(Echo { left: Some(left), ..Echo::default() });
        let mut fastest = Duration::MAX;
        for _ in 0..8 {
            let mut stream = running.connect();
            assert!(ask(&mut stream, COUNT).ends_with("\"result\":1}\n"));
            drop(stream);
            let start = Instant::now();
            assert_eq!(leavers.recv_timeout(Duration::from_secs(20)), Ok(1));
            fastest = fastest.min(start.elapsed());
        }
        // Somebody else may have had the CPU each time but one. Noticed only at the next tick, none would be as fast.
        assert!(fastest < TICK / 2, "{fastest:?}");
        running.stop();
    }

    #[test]
    fn lines_come_in_pieces_and_several_at_once() {
        let running = Running::new();
        let mut stream = running.connect();
        for byte in format!("{COUNT}\r\n").bytes() {
            stream.write_all(&[byte]).expect("it reads");
        }
        assert!(answer(&stream).ends_with("\"result\":1}\n"));
        let silent = r#"{"jsonrpc":"2.0","method":"count"}"#;
        stream.write_all(format!("{silent}\n\n{silent}\n{COUNT}\n").as_bytes()).expect("it reads");
        assert!(answer(&stream).ends_with("\"result\":4}\n"), "notifications are done and not answered");
        running.stop();
    }

    #[test]
    fn a_line_that_is_too_long_ends_the_connection_with_an_answer() {
        let running = Running::new();
        let mut stream = running.connect();
        // It may stop reading before we have written all.
        let _ = stream.write_all(&vec![b'x'; MAX_LINE + CHUNK]);
        assert!(answer(&stream).contains("a line has at most 1048576 bytes"));
        let mut rest = Vec::new();
        let _ = (&stream).read_to_end(&mut rest);
        assert_eq!(rest, b"");
        assert!(ask(&mut running.connect(), COUNT).ends_with("\"result\":1}\n"));
        running.stop();
    }

    #[test]
    fn a_thousand_silent_clients_keep_nobody_out() {
        let running = Running::new();
        let mut talker = running.connect();
        assert!(ask(&mut talker, COUNT).contains("result"));
        let silent: Vec<_> = (0..600).map(|_| running.connect()).collect();
        let half: Vec<_> = (0..50)
            .map(|_| {
                let mut stream = running.connect();
                stream.write_all(b"{\"jsonrpc\":").expect("it reads");
                stream
            })
            .collect();
        assert!(ask(&mut running.connect(), COUNT).ends_with("\"result\":1}\n"));
        drop((silent, half));
        assert!(ask(&mut running.connect(), COUNT).ends_with("\"result\":1}\n"));
        running.stop();
    }

    #[test]
    fn idle_clients_never_show_out_one_that_holds_something_nor_one_that_asked_before_those_that_did_not() {
        let running = Running::new();
        let mut holder = running.connect();
        assert!(ask(&mut holder, r#"{"jsonrpc":"2.0","id":1,"method":"hold"}"#).contains("result"));
        let mut talker = running.connect();
        assert!(ask(&mut talker, COUNT).contains("result"));
        let silent: Vec<_> = (0..600).map(|_| running.connect()).collect();
        assert!(ask(&mut running.connect(), COUNT).ends_with("\"result\":1}\n"));
        assert!(ask(&mut talker, COUNT).ends_with("\"result\":2}\n"), "others never asked anything");
        drop(silent);
        let others: Vec<_> = (0..600)
            .map(|_| {
                let mut stream = running.connect();
                assert!(ask(&mut stream, COUNT).contains("result"));
                stream
            })
            .collect();
        assert!(ask(&mut holder, COUNT).ends_with("\"result\":1001}\n"), "it holds something");
        drop(others);
        running.stop();
    }

    #[test]
    fn who_comes_while_there_are_no_descriptors_is_served_when_there_are() {
        let running = Running::new();
        let mut holder = running.connect();
        assert!(ask(&mut holder, r#"{"jsonrpc":"2.0","id":1,"method":"hold"}"#).contains("result"));
        let unconnected = || socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None);
        let sockets = [(); 3].map(|()| unconnected().expect("a socket"));
        let (few, most) = getrlimit(Resource::RLIMIT_NOFILE).map(|(_, most)| (64, most)).expect("a limit");
        setrlimit(Resource::RLIMIT_NOFILE, few, most).expect("fewer than before");
        let taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        assert!(!taken.is_empty() && taken.len() < 64);
        let late = sockets.map(|socket| {
            let address = UnixAddr::new(&running.path).expect("a path");
            connect(socket.as_raw_fd(), &address).expect("there is room at the door");
            let stream = Stream::from(socket);
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            (&stream).write_all(format!("{COUNT}\n").as_bytes()).expect("it goes into the queue");
            stream
        });
        // Who is inside is served; by then it was tried to take the others in.
        for expected in 1001..1004 {
            assert!(ask(&mut holder, COUNT).ends_with(&format!("\"result\":{expected}}}\n")));
        }
        drop(taken);
        for stream in &late {
            assert!(answer(stream).ends_with("\"result\":1}\n"), "nobody knocked again");
        }
        running.stop();
    }

    #[test]
    fn garbage_gets_an_answer_for_each_line_and_harms_nobody() {
        let running = Running::new();
        let mut stream = running.connect();
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut garbage = Vec::new();
        for _ in 0..20_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            garbage.push(state as u8);
        }
        let blank = |line: &[u8]| line.iter().all(u8::is_ascii_whitespace);
        let lines = garbage.split(|&byte| byte == b'\n').filter(|line| !blank(line)).count();
        garbage.push(b'\n');
        stream.write_all(&garbage).expect("it reads");
        let mut reader = BufReader::new(&stream);
        for _ in 0..lines {
            let mut line = String::new();
            reader.read_line(&mut line).expect("an answer");
            assert!(line.contains("\"code\":-32700") || line.contains("\"code\":-32600"), "{line}");
        }
        assert!(ask(&mut stream, COUNT).ends_with("\"result\":1}\n"));
        running.stop();
    }

    #[test]
    fn what_all_clients_leave_with_us_is_bounded() {
        let running = Running::new();
        let half = vec![b' '; MAX_LINE - 1];
        let mut clients: Vec<_> = (0..80).map(|_| running.connect()).collect();
        for client in &mut clients {
            // The one that is let go may find out while it writes.
            let _ = client.write_all(&half);
        }
        assert!(ask(&mut running.connect(), COUNT).ends_with("\"result\":1}\n"));
        let gone = |mut client: &Stream| {
            client.set_nonblocking(true).expect("a socket");
            matches!(client.read(&mut [0]), Ok(0)) || client.write(b" ").is_err()
        };
        let gone = clients.iter().filter(|client| gone(client)).count();
        assert!((1..80).contains(&gone), "{gone} of 80 were let go");
        running.stop();
    }

    #[test]
    fn who_does_not_take_its_replies_waits_alone() {
        let running = Running::new();
        let mut greedy = running.connect();
        greedy.set_nonblocking(true).expect("a socket");
        let long = r#"{"jsonrpc":"2.0","id":1,"method":"long"}"#;
        let mut sent = 0;
        for _ in 0..1000 {
            match greedy.write(format!("{long}\n").as_bytes()) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        assert!(ask(&mut running.connect(), COUNT).ends_with("\"result\":1}\n"));
        // It gets all of them in the end.
        greedy.set_nonblocking(false).expect("a socket");
        let replies = sent / (long.len() + 1);
        let mut reader = BufReader::new(&greedy);
        for _ in 0..replies {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a reply");
            assert!(line.len() > 1 << 19);
        }
        running.stop();
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let running = Running::new();
        let error = Server::bind(&running.path).err().expect("somebody answers there");
        assert!(error.to_string().contains("an engine answers there already"), "{error}");
        let mode = std::fs::metadata(&running.path).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("left-over");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        drop(Server::bind(&path).expect("nobody answers there"));
        assert!(!path.exists(), "a server takes its socket away");
        std::fs::write(&path, "precious").expect("a file");
        let error = Server::bind(&path).err().expect("a file is in the way");
        assert!(error.to_string().contains("no socket"), "{error}");
        running.stop();
    }

    #[test]
    fn commands_of_other_threads_are_done_in_order() {
        let running = Running::new();
        running.remote.post(Command::Reload("a.toml".into()));
        running.remote.post(Command::Reload("b.toml".into()));
        assert_eq!(running.stop().reloaded, [PathBuf::from("a.toml"), "b.toml".into()]);
    }
}

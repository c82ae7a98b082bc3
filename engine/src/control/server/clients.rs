//! Those who are connected, what they may leave with us, and one turn for each.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};

use mio::net::UnixStream;
use mio::{Interest, Poll, Token};
use punt::control::{MAX_LINE, Request, Response, RpcError, code};
use serde_json::Value;

use super::Service;

/// Clients at once; one more, and one that nothing hangs on is shown out.
const MAX_CLIENTS: usize = 512;
/// Bytes of unfinished lines and untaken replies that all clients together may leave with us.
const MAX_BUFFERED: usize = 64 << 20;
/// Bytes of replies that a client may leave untaken before its next request has to wait.
const MAX_UNTAKEN: usize = 64 << 10;
/// Bytes read from one client in one round.
pub(super) const CHUNK: usize = 64 << 10;
/// Tokens below this one are the server's own.
const FIRST_CLIENT: usize = 2;

/// Everybody who is connected.
pub(super) struct Clients<T> {
    by_token: BTreeMap<Token, Client<T>>,
    /// Those with something to do, each once.
    pub waiting: VecDeque<Token>,
    next: usize,
    /// Goes up with every event, to tell who has been silent for longest.
    clock: u64,
    /// Bytes in the buffers of all of them.
    buffered: usize,
    chunk: Box<[u8]>,
    /// What is remembered of connections that have ended.
    gone: Vec<T>,
}

impl<T> Default for Clients<T> {
    fn default() -> Self {
        Clients {
            by_token: BTreeMap::new(),
            waiting: VecDeque::new(),
            next: FIRST_CLIENT,
            clock: 0,
            buffered: 0,
            chunk: vec![0; CHUNK].into(),
            gone: Vec::new(),
        }
    }
}

/// One connection.
struct Client<T> {
    stream: UnixStream,
    session: T,
    input: Vec<u8>,
    /// Bytes of `input` known to hold no newline.
    scanned: usize,
    output: Vec<u8>,
    written: usize,
    /// It has said something wrong, or nothing more to say: it is let go when it has its replies.
    leaving: bool,
    waiting: bool,
    heard: u64,
    /// It has sent a request.
    has_asked: bool,
}

impl<T: Default> Clients<T> {
    /// Takes one in. `holds` says of which sessions more would be lost than the connection.
    pub fn add(&mut self, poll: &Poll, mut stream: UnixStream, holds: impl Fn(&T) -> bool) -> io::Result<()> {
        if self.by_token.len() >= MAX_CLIENTS && !self.drop_idlest(holds) {
            return Err(io::Error::other(format!("{MAX_CLIENTS} others are busy here")));
        }
        let token = Token(self.next);
        self.next += 1;
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let client = Client {
            stream,
            session: T::default(),
            input: Vec::new(),
            scanned: 0,
            output: Vec::new(),
            written: 0,
            leaving: false,
            waiting: false,
            heard: self.clock,
            has_asked: false,
        };
        self.by_token.insert(token, client);
        Ok(())
    }
}

impl<T> Clients<T> {
    /// Shows out one with nothing to do whose session holds nothing: rather one that never had a request than any other, and then who has been
    /// silent for longest. False: there is none.
    pub fn drop_idlest(&mut self, holds: impl Fn(&T) -> bool) -> bool {
        let idle = self.by_token.iter().filter(|(_, client)| !client.waiting && !holds(&client.session));
        let first = idle.min_by_key(|(_, client)| (client.has_asked, client.heard));
        let Some(token) = first.map(|(token, _)| *token) else {
            return false;
        };
        self.remove(token);
        true
    }

    fn remove(&mut self, token: Token) {
        if let Some(client) = self.by_token.remove(&token) {
            self.buffered -= client.buffered();
            self.gone.push(client.session);
        }
    }

    /// Something happened to this client.
    pub fn wake(&mut self, token: Token) {
        self.clock += 1;
        if let Some(client) = self.by_token.get_mut(&token) {
            client.heard = self.clock;
            if !client.waiting {
                client.waiting = true;
                self.waiting.push_back(token);
            }
        }
    }

    /// One turn for each who has something to do.
    pub fn round<S: Service<Session = T>>(&mut self, service: &mut S) {
        for _ in 0..self.waiting.len() {
            let Some(token) = self.waiting.pop_front() else { return };
            let Some(client) = self.by_token.get_mut(&token) else { continue };
            let before = client.buffered();
            let next = client.turn(service, &mut self.chunk);
            self.buffered = self.buffered - before + client.buffered();
            match next {
                Turn::Again => self.waiting.push_back(token),
                Turn::Wait => client.waiting = false,
                Turn::Gone => self.remove(token),
            }
            self.let_go(service);
            if self.buffered > MAX_BUFFERED {
                self.drop_largest();
                self.let_go(service);
            }
        }
    }

    /// Tells of connections that have ended, before anybody else is heard: who connects anew is to find that it is not there any more.
    pub fn let_go<S: Service<Session = T>>(&mut self, service: &mut S) {
        for session in self.gone.drain(..) {
            service.leave(session);
        }
    }

    /// Shows out who leaves most with us.
    fn drop_largest(&mut self) {
        let largest = self.by_token.iter().max_by_key(|(_, client)| client.buffered());
        if let Some(token) = largest.map(|(token, _)| *token) {
            log::warn!("clients leave more than {MAX_BUFFERED} bytes with us; who leaves most is let go");
            self.remove(token);
        }
    }
}

/// What is next for a client.
enum Turn {
    /// It has more to do.
    Again,
    /// Until something happens to it, nothing.
    Wait,
    /// It has left.
    Gone,
}

impl<T> Client<T> {
    /// Bytes that its buffers take.
    fn buffered(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }

    /// Writes what can be written, then does one request, reading for it if need be.
    fn turn<S: Service<Session = T>>(&mut self, service: &mut S, chunk: &mut [u8]) -> Turn {
        if self.flush().is_err() {
            return Turn::Gone;
        }
        let untaken = self.output.len() - self.written;
        if self.leaving {
            return if untaken == 0 { Turn::Gone } else { Turn::Wait };
        }
        if untaken > MAX_UNTAKEN {
            return Turn::Wait;
        }
        if let Some(line) = self.line() {
            self.answer(service, &line);
            return Turn::Again;
        }
        if self.input.len() >= MAX_LINE {
            let error = format!("a line has at most {MAX_LINE} bytes; send less at once");
            self.reply(&Response::error(Value::Null, RpcError::new(code::INVALID_REQUEST, error)));
            self.leaving = true;
            return Turn::Again;
        }
        match self.stream.read(chunk) {
            Ok(0) => {
                self.leaving = true;
                Turn::Again
            }
            Ok(count) => {
                self.input.extend_from_slice(&chunk[..count]);
                Turn::Again
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Turn::Wait,
            Err(error) if error.kind() == ErrorKind::Interrupted => Turn::Again,
            Err(_) => Turn::Gone,
        }
    }

    /// The first whole line, without its newline.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.input[self.scanned..].iter().position(|&byte| byte == b'\n');
        let Some(end) = end.map(|end| end + self.scanned).filter(|&end| end < MAX_LINE) else {
            self.scanned = self.input.len();
            return None;
        };
        self.scanned = 0;
        let rest = self.input.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.input, rest);
        line.pop();
        Some(line)
    }

    fn answer<S: Service<Session = T>>(&mut self, service: &mut S, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(response) => return self.reply(&response),
        };
        self.has_asked = true;
        let outcome = service.call(&mut self.session, &request.method, request.params.as_deref());
        if let Some(id) = request.id {
            self.reply(&Response { id, outcome });
        }
    }

    fn reply(&mut self, response: &Response) {
        self.output.extend(response.to_line());
    }

    /// Writes until the socket is full or there is no more.
    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output = Vec::new();
        self.written = 0;
        Ok(())
    }
}

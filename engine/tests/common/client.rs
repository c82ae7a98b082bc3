//! A client of a sink: a datagram socket that it bound, and what it hears there.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use punt::record::Header;

/// Longer than anything takes that a client waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client.
pub struct Client {
    socket: UnixDatagram,
    path: PathBuf,
}

/// Where a client of this name binds its socket.
pub fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("puntd-test-{}-client-{name}", std::process::id()))
}

impl Client {
    /// Binds the socket.
    pub fn new(name: &str) -> Client {
        let path = path(name);
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Client { socket, path }
    }

    /// One datagram as it is.
    pub fn datagram(&self) -> Vec<u8> {
        let mut datagram = vec![0; 1 << 16];
        let len = self
            .socket
            .recv(&mut datagram)
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        datagram.truncate(len);
        datagram
    }

    /// The next `count` records.
    pub fn records(&self, count: usize) -> Vec<(Header, Vec<u8>)> {
        let mut records = Vec::new();
        while records.len() < count {
            let datagram = self.datagram();
            let (header, frame) = Header::read(&datagram).expect("a record");
            records.push((header, frame.to_vec()));
        }
        records
    }

    /// The frames of the next `count` records.
    pub fn frames(&self, count: usize) -> Vec<Vec<u8>> {
        self.records(count).into_iter().map(|(_, frame)| frame).collect()
    }

    /// What is there already.
    pub fn rest(&self) -> Vec<(Header, Vec<u8>)> {
        self.socket.set_nonblocking(true).expect("a mode");
        let mut datagram = vec![0; 1 << 16];
        let mut records = Vec::new();
        loop {
            match self.socket.recv(&mut datagram) {
                Ok(len) => {
                    let (header, frame) = Header::read(&datagram[..len]).expect("a record");
                    records.push((header, frame.to_vec()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.socket.set_nonblocking(false).expect("a mode");
        records
    }

    /// Sends it to the engine.
    pub fn inject(&self, to: &str, datagram: &[u8]) {
        self.socket.send_to(datagram, to).expect("the engine's socket is there");
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

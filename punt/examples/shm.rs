//! Reads punted packets from memory that it shares with the engine, as fast as it can, and says each second how many came.
//!
//! `cargo run --release -p punt --example shm -- /run/puntd/puntd.sock /run/puntd/fast.sock reason:ip4.ttl-expired`

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use punt::client::{Client, Session};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, path, wanted @ ..] = arguments.as_slice() else {
        return Err("usage: shm ENGINE PATH [MATCH…]".into());
    };
    let mut client = Client::shared(path)?;
    client.set_timeout(Some(Duration::from_millis(100)))?;
    let mut session = Session::open(engine, "shm", &mut client)?;
    for wanted in wanted {
        session.register(wanted.parse()?)?;
    }
    let (mut records, mut bytes, mut missed, mut since) = (0, 0, 0, Instant::now());
    loop {
        match client.receive() {
            Ok(some) => {
                for record in some {
                    (records, bytes) = (records + 1, bytes + record.frame.len());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if since.elapsed() >= Duration::from_secs(1) {
            println!("{records} records, {bytes} bytes, {} missing", client.missed() - missed);
            (records, bytes, missed, since) = (0, 0, client.missed(), Instant::now());
        }
    }
}

//! The client of `docs/clients.md`: prints what it gets, and sends it back if asked to.

use punt::client::{Client, Session};
use punt::record::SEND;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, engine, path, wanted, reflect @ ..] = arguments.as_slice() else {
        return Err("ENGINE PATH MATCH".into());
    };
    let mut client = Client::bind(path)?;
    let mut session = Session::open(engine, "example", &mut client)?;
    session.register(wanted.parse()?)?;
    loop {
        let mut replies = Vec::new();
        for record in client.receive()? {
            let (header, frame) = (record.header, record.frame);
            println!(
                "interface {} reason {} sequence {} missed {} bytes {}",
                header.interface,
                header.reason,
                header.sequence,
                record.missed,
                frame.len()
            );
            if !reflect.is_empty() && frame.len() >= 14 {
                replies.push((header.interface, [&frame[6..12], &frame[..6], &frame[12..]].concat()));
            }
        }
        for (interface, frame) in replies {
            client.inject(SEND, interface, &frame)?;
        }
    }
}

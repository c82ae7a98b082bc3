//! Prints every BFD control packet that reaches the router.
//!
//! `cargo run -p punt --example bfd -- /run/puntd/puntd.sock /run/bfd-print.sock`

use punt::client::{Client, Record, Session};

const STATES: [&str; 4] = ["AdminDown", "Down", "Init", "Up"];

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let engine = arguments.next().unwrap_or_else(|| "/run/puntd/puntd.sock".into());
    let address = arguments.next().unwrap_or_else(|| "/run/bfd-print.sock".into());

    let mut client = Client::bind(&address)?;
    let mut session = Session::open(engine, "bfd-print", &mut client)?;
    let id = session.register("udp:3784".parse()?)?;
    println!("registration {id}, to {}", client.target());
    loop {
        for record in client.receive()? {
            if record.missed > 0 {
                println!("{} packets missed", record.missed);
            }
            println!("{}", describe(&record));
        }
    }
}

/// Interface, addresses, and what BFD says (RFC 5880, section 4.1).
fn describe(record: &Record<'_>) -> String {
    let Record { header, frame, .. } = record;
    let at = |offset: u16, len: usize| frame.get(offset as usize..).and_then(|rest| rest.get(..len));
    let source = match at(header.l3, 16) {
        Some(ip) if ip[0] >> 4 == 4 => std::net::Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]).to_string(),
        _ => at(header.l3, 24)
            .and_then(|ip| ip[8..24].try_into().ok())
            .map_or("?".into(), |ip: [u8; 16]| std::net::Ipv6Addr::from(ip).to_string()),
    };
    let bfd = at(header.l4, 8 + 24).map(|udp| &udp[8..]);
    let said = bfd.map_or("is cut".into(), |bfd| {
        let number = |at: usize| u32::from_be_bytes([bfd[at], bfd[at + 1], bfd[at + 2], bfd[at + 3]]);
        format!(
            "{} my {} your {} every {} µs",
            STATES[bfd[1] as usize >> 6],
            number(4),
            number(8),
            number(12)
        )
    });
    format!("interface {} from {source}: {said}", header.interface)
}

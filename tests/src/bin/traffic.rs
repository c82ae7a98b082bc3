//! Makes what a router needs to be tried out: captures of mixed traffic for its two ports, its configuration, and what it must count.

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use tests::plan::{self, Port};
use tests::{capture, traffic};

/// Writes lan.pcap and wan.pcap (what comes in on each port), router.toml (the configuration that forwards it) and expected.json (what
/// must be counted) into a directory.
#[derive(Parser)]
struct Arguments {
    /// Where to; made if it is not there
    directory: PathBuf,
    /// Packets in both captures together
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    packets: usize,
    /// The same seed makes the same packets
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The EAL's name of the port where lan.pcap comes in
    #[arg(long, value_name = "PORT", default_value = "net_pcap0")]
    lan: String,
    /// The EAL's name of the port where wan.pcap comes in
    #[arg(long, value_name = "PORT", default_value = "net_pcap1")]
    wan: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { directory, packets, seed, lan, wan } = Arguments::parse();
    std::fs::create_dir_all(&directory)?;
    let cases = traffic::mix(packets, seed);
    for port in Port::ALL {
        let frames = cases.iter().filter(|case| case.port == port).map(|case| &case.frame[..]);
        capture::write(&directory.join(port.interface()).with_extension("pcap"), frames)?;
    }
    std::fs::write(directory.join("router.toml"), plan::config(&lan, &wan))?;
    let totals = serde_json::to_string_pretty(&traffic::totals(&cases))?;
    std::fs::write(directory.join("expected.json"), totals + "\n")?;
    Ok(())
}

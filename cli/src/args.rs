//! The command line, noun by noun; its help texts are the reference of puntctl.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use punt::control::{DEFAULT_SOCKET, SOCKET_VARIABLE};
use punt::{Mac, Prefix};

pub mod punting;

use punting::{
    ClassVerb, PassiveVerb, PolicerVerb, ReasonVerb, RegisterArguments, RegistrationVerb, SinkVerb,
};

/// Drives puntd over its control socket.
#[derive(Debug, Parser)]
#[command(name = "puntctl", version, disable_help_subcommand = true)]
#[command(after_help = "\
Exit status: 0 done, 1 refused by the engine, 2 wrong usage, 3 no engine at that socket.

Examples:
  puntctl interface list
  puntctl route add 10.2.0.0/16 via 10.0.1.2
  puntctl --json stats drops
  puntctl audit && echo every packet adds up")]
pub struct Arguments {
    /// The engine's control socket [default: $PUNTD_SOCKET, or /run/puntd/puntd.sock]
    #[arg(long, value_name = "PATH", global = true, display_order = 100)]
    pub socket: Option<PathBuf>,
    /// Answer in JSON: an array of objects for a list, one object for a single thing
    #[arg(long, global = true, display_order = 101)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Where the engine listens: as said, else as the environment says, else where it always does.
    pub fn socket(&self) -> PathBuf {
        let variable =
            || std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        self.socket.clone().or_else(variable).unwrap_or_else(|| DEFAULT_SOCKET.into())
    }
}

/// What is wrong with a command line, in one sentence and without the usage that clap shows after it.
pub fn one_sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let parts =
        text.split("\n\n").filter(|part| !part.starts_with("Usage:") && !part.starts_with("For more"));
    let words = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = parts.map(words).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    sentence.strip_prefix("error: ").unwrap_or(&sentence).into()
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Interfaces: list them, change MTU, MAC or state
    #[command(visible_alias = "iface")]
    Interface {
        #[command(subcommand)]
        verb: Option<InterfaceVerb>,
    },
    /// Addresses of interfaces
    #[command(visible_alias = "addr")]
    Address {
        #[command(subcommand)]
        verb: Option<AddressVerb>,
    },
    /// Routes: list, look up, change, load a million
    Route {
        #[command(subcommand)]
        verb: Option<RouteVerb>,
    },
    /// Neighbours: which MAC an address has
    #[command(visible_alias = "neigh")]
    Neighbor {
        #[command(subcommand)]
        verb: Option<NeighborVerb>,
    },
    /// Reasons: why packets are punted, and how many may be
    Reason {
        #[command(subcommand)]
        verb: Option<ReasonVerb>,
    },
    /// Classes: what each queue of punted packets is guaranteed, and what it never exceeds
    Class {
        #[command(subcommand)]
        verb: Option<ClassVerb>,
    },
    /// Policers with more than a rate and a burst
    Policer {
        #[command(subcommand)]
        verb: Option<PolicerVerb>,
    },
    /// Sinks: where punted packets go
    Sink {
        #[command(subcommand)]
        verb: Option<SinkVerb>,
    },
    /// Has packets go to a sink, and prints the registration's id
    #[command(after_help = "\
MATCH is one of
  udp:3784  udp:100-200  udp4:68  udp6:546  destination port of a packet addressed to us
  tcp:179  tcp:179/any                      the same; with /any source or destination
  proto:89  proto:ospf  proto6:ospf         IP protocol
  icmp:8  icmp6:135                         type
  ethertype:0x88cc  llc:0xfe  mac:01:80:c2:00:00:02
  reason:ip4.ttl-expired  reason:ip4.*

Examples:
  puntctl register udp:3784 --sink bfdd --rate 20000 --burst 8000
  puntctl register tcp:179 --sink bgpd --source 10.0.1.2 --exclusive
  puntctl register 'reason:ip4.*' --sink capture --snaplen 128")]
    Register(RegisterArguments),
    /// Ends a registration
    #[command(after_help = "Example:\n  puntctl unregister 17")]
    Unregister {
        /// What "register" printed
        id: u32,
    },
    /// Registrations: which packets go to which sink
    Registration {
        #[command(subcommand)]
        verb: Option<RegistrationVerb>,
    },
    /// Passive punt: where packets go that nothing claimed
    Passive {
        #[command(subcommand)]
        verb: Option<PassiveVerb>,
    },
    /// Counters since the engine started, or per second with --watch
    #[command(after_help = "\
Examples:
  puntctl stats drops
  puntctl stats nodes --watch
  puntctl stats interfaces --watch=0.5
  puntctl stats sources --reason l2.arp-request
  puntctl --json stats reasons")]
    Stats(StatsArguments),
    /// A live table: packets and cycles, what is punted and why, what is dropped and why
    #[command(after_help = "\
On a terminal the table is drawn in place; elsewhere there is a line a second, and the table at the end.

Examples:
  puntctl monitor
  puntctl monitor --seconds 10")]
    Monitor(MonitorArguments),
    /// Whether every packet adds up; exit status 0 only if it does
    #[command(after_help = "\
What was received and injected must be transmitted, dropped, punted, consumed or still in flight, and every buffer
must be back in its pool when the engine is idle. What does not add up is told in a sentence each.")]
    Audit,
    /// The configuration: show, save, check or apply one
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// What runs at the socket, and what this is
    Version,
    /// A completion script for a shell, on standard output
    #[command(after_help = "\
Examples:
  puntctl completions bash > /etc/bash_completion.d/puntctl
  puntctl completions fish > ~/.config/fish/completions/puntctl.fish")]
    Completions {
        /// The shell that is to complete
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages
    #[command(hide = true)]
    Man {
        /// Where to; made if it is not there
        directory: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum InterfaceVerb {
    /// All interfaces
    #[command(aliases = ["show", "ls"])]
    List,
    /// Changes an interface; what is not named stays
    #[command(after_help = "\
Examples:
  puntctl interface set wan --down
  puntctl interface set wan --mtu 9000 --mac 02:00:00:00:00:01 --up")]
    Set(InterfaceSetArguments),
}

#[derive(Debug, Args)]
pub struct InterfaceSetArguments {
    /// The interface
    pub name: String,
    #[command(flatten)]
    pub change: InterfaceChange,
}

/// At least one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct InterfaceChange {
    /// Bytes after the Ethernet header
    #[arg(long, value_name = "N")]
    pub mtu: Option<u32>,
    /// Its own address on the link
    #[arg(long)]
    pub mac: Option<Mac>,
    /// Take and send packets
    #[arg(long, conflicts_with = "down")]
    pub up: bool,
    /// Neither take nor send packets
    #[arg(long)]
    pub down: bool,
}

#[derive(Debug, Subcommand)]
pub enum AddressVerb {
    /// All addresses of all interfaces
    #[command(aliases = ["show", "ls"])]
    List,
    /// Gives an interface an address; its subnet is connected from then on
    #[command(override_usage = "puntctl address add CIDR dev IF")]
    #[command(after_help = "Example:\n  puntctl address add 10.0.0.1/24 dev lan")]
    Add {
        /// CIDR dev IF
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
    /// Takes an address from an interface
    #[command(alias = "delete", override_usage = "puntctl address del CIDR dev IF")]
    #[command(after_help = "Example:\n  puntctl address del 10.0.0.1/24 dev lan")]
    Del {
        /// CIDR dev IF
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum RouteVerb {
    /// All routes, or those to one prefix
    #[command(aliases = ["show", "ls"])]
    #[command(after_help = "Examples:\n  puntctl route list\n  puntctl route list 10.2.0.0/16")]
    List {
        /// This prefix alone
        prefix: Option<Prefix>,
    },
    /// The route that a packet to an address would take
    #[command(after_help = "Example:\n  puntctl route get 10.2.0.7")]
    Get {
        /// Where the packet would go
        #[arg(value_name = "ADDR")]
        address: std::net::IpAddr,
    },
    /// Adds a route; one that is there already is an error
    #[command(override_usage = "puntctl route add PREFIX via ADDR[,ADDR…] [dev IF] [metric N]
       puntctl route add PREFIX blackhole|unreachable|punt [metric N]")]
    #[command(after_help = "\
Several next hops share the traffic by flow. PREFIX may be \"default\" (IPv4) or \"default6\" (IPv6).

Examples:
  puntctl route add 10.2.0.0/16 via 10.0.1.2
  puntctl route add default via 10.0.1.2,10.0.1.3 dev wan
  puntctl route add 10.9.0.0/16 blackhole")]
    Add {
        /// PREFIX via ADDR[,ADDR…] [dev IF] [metric N], in any order
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
    /// Adds a route or puts it in the place of the one that is there, without a gap
    #[command(override_usage = "puntctl route replace PREFIX via ADDR[,ADDR…] [dev IF] [metric N]
       puntctl route replace PREFIX blackhole|unreachable|punt [metric N]")]
    #[command(after_help = "Example:\n  puntctl route replace 10.2.0.0/16 via 10.0.1.3")]
    Replace {
        /// PREFIX via ADDR[,ADDR…] [dev IF] [metric N], in any order
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
    /// Deletes a route
    #[command(alias = "delete", override_usage = "puntctl route del PREFIX [metric N]")]
    #[command(after_help = "Example:\n  puntctl route del 10.2.0.0/16")]
    Del {
        /// PREFIX [metric N]
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
    /// Adds all routes of a file, or none of them
    #[command(after_help = "\
A line of the file is what follows \"route add\"; empty lines and what follows # are passed over.
All lines are read and room for them is reserved before the first is sent. If the engine refuses one, or on Ctrl-C,
those that were added before it are deleted again.

Examples:
  puntctl route load full-table.txt
  generate-routes | puntctl route load -")]
    Load {
        /// The file; - for standard input
        file: PathBuf,
    },
    /// Deletes all routes of a file, as `route load` reads it
    #[command(after_help = "Example:\n  puntctl route unload full-table.txt")]
    Unload {
        /// The file; - for standard input
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum NeighborVerb {
    /// All neighbours
    #[command(aliases = ["show", "ls"])]
    List,
    /// Says which MAC an address has
    #[command(override_usage = "puntctl neighbor add ADDR lladdr MAC dev IF")]
    #[command(after_help = "Example:\n  puntctl neighbor add 10.0.1.2 lladdr 02:00:00:00:00:02 dev wan")]
    Add {
        /// ADDR lladdr MAC dev IF
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
    /// The same, whichever MAC it had before
    #[command(override_usage = "puntctl neighbor replace ADDR lladdr MAC dev IF")]
    #[command(after_help = "Example:\n  puntctl neighbor replace 10.0.1.2 lladdr 02:00:00:00:00:03 dev wan")]
    Replace {
        /// ADDR lladdr MAC dev IF
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
    /// Forgets a neighbour
    #[command(alias = "delete", override_usage = "puntctl neighbor del ADDR dev IF")]
    #[command(after_help = "Example:\n  puntctl neighbor del 10.0.1.2 dev wan")]
    Del {
        /// ADDR dev IF
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub struct StatsArguments {
    /// Of what
    pub what: Stats,
    /// Per second, again and again until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    #[arg(value_parser = seconds)]
    pub watch: Option<f64>,
    /// Show the rows that have counted nothing, too (JSON always has them)
    #[arg(long)]
    pub all: bool,
    /// Of this reason alone (stats sources)
    #[arg(long, value_name = "NAME")]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct MonitorArguments {
    /// End after so many seconds; without it on Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stats {
    /// Packets and bytes of each interface
    Interfaces,
    /// How often each node ran, on how many packets, at what cost
    Nodes,
    /// Packets dropped, by node and text
    Drops,
    /// Packets punted, by reason, and what became of them
    Reasons,
    /// Packets for each sink, and what became of them
    Sinks,
    /// Who sends most into each reason, and who is refused
    Sources,
    /// What each worker did
    Workers,
}

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// What is in force, as TOML
    Show,
    /// Writes what is in force to a file; applying it changes nothing
    #[command(after_help = "Example:\n  puntctl config save /etc/puntd.toml")]
    Save {
        /// The file, replaced as a whole; - for standard output
        file: PathBuf,
    },
    /// Says what the engine would say to a configuration, and changes nothing
    #[command(after_help = "Example:\n  puntctl config check new.toml")]
    Check {
        /// The file; - for standard input
        file: PathBuf,
    },
    /// Makes a configuration the one in force, as a whole or not at all
    #[command(after_help = "Example:\n  puntctl config apply new.toml")]
    Apply {
        /// The file; - for standard input
        file: PathBuf,
    },
}

/// A time between two frames.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("write a number of seconds from 0.1 to 3600".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_line_of_help() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {} has no help",
                    command.get_name(),
                    argument.get_id()
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&Arguments::command());
    }

    #[test]
    fn a_noun_alone_lists() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).unwrap().command;
        assert!(matches!(parse("puntctl route"), Command::Route { verb: None }));
        assert!(matches!(parse("puntctl iface"), Command::Interface { verb: None }));
        assert!(matches!(parse("puntctl neigh show"), Command::Neighbor { verb: Some(NeighborVerb::List) }));
    }

    #[test]
    fn json_and_socket_may_stand_anywhere() {
        for line in ["puntctl --json --socket /s route list", "puntctl route list --socket /s --json"] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert!(arguments.json && arguments.socket().as_os_str() == "/s");
        }
    }

    #[test]
    fn a_wrong_command_line_is_one_sentence() {
        for (line, sentence) in [
            ("puntctl rute", "unrecognized subcommand 'rute'; tip: a similar subcommand exists: 'route'"),
            ("puntctl stats", "the following required arguments were not provided: <WHAT>"),
            (
                "puntctl stats x",
                "invalid value 'x' for '<WHAT>' [possible values: interfaces, nodes, drops, reasons, sinks, sources, workers]",
            ),
            (
                "puntctl route list 10.0.0.1/8",
                "invalid value '10.0.0.1/8' for '[PREFIX]': 10.0.0.1/8 has bits set beyond its length; write 10.0.0.0/8",
            ),
        ] {
            assert_eq!(one_sentence(&Arguments::try_parse_from(line.split(' ')).unwrap_err()), sentence);
        }
    }

    #[test]
    fn an_interface_is_not_changed_into_nothing() {
        for line in [
            "puntctl interface set wan",
            "puntctl interface set wan --up --down",
            "puntctl interface set wan --mac 1",
        ] {
            assert_eq!(Arguments::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
        }
        assert!(Arguments::try_parse_from("puntctl interface set wan --down --mtu 1400".split(' ')).is_ok());
    }

    #[test]
    fn watching_takes_an_interval() {
        let watch = |line: &str| match Arguments::try_parse_from(line.split(' ')).map(|a| a.command) {
            Ok(Command::Stats(stats)) => stats.watch,
            _ => Some(f64::NAN),
        };
        assert_eq!(watch("puntctl stats nodes"), None);
        assert_eq!(watch("puntctl stats --watch nodes"), Some(1.0));
        assert_eq!(watch("puntctl stats nodes --watch=0.5"), Some(0.5));
        assert!(watch("puntctl stats nodes --watch=nan").unwrap().is_nan());
    }
}

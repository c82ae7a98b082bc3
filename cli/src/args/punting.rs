//! The part of the command line that has to do with punting.

use std::net::IpAddr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use punt::control::types::{
    PassiveFamily, PassiveKey, PassiveSet, Policed, PolicerBurst, PolicerRate, PolicerSet, ReasonSet,
    Register, SinkAdd,
};
use punt::policer::{Kind, Verdict};
use punt::{Action, Class, Match, Prefix, Rate, Target};

#[derive(Debug, Subcommand)]
pub enum ReasonVerb {
    /// All reasons with class, limit and source
    #[command(aliases = ["show", "ls"])]
    List,
    /// Changes a reason; what is not named stays
    #[command(after_help = "\
Examples:
  puntctl reason set ip4.ttl-expired --rate 300 --burst 150
  puntctl reason set ip4.no-route --action trap --sample 100
  puntctl reason set l2.arp-request --rate unlimited")]
    Set(ReasonSetArguments),
}

#[derive(Debug, Args)]
pub struct ReasonSetArguments {
    /// The reason
    pub name: String,
    #[command(flatten)]
    pub change: ReasonChange,
}

/// At least one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ReasonChange {
    /// Packets per second over all workers, or unlimited
    #[arg(long, value_name = "N")]
    pub rate: Option<Rate>,
    /// Packets that may come at once
    #[arg(long, value_name = "N")]
    pub burst: Option<u32>,
    /// The queue its packets wait in
    #[arg(long, value_name = "C", value_parser = class())]
    pub class: Option<Class>,
    /// What happens to the packet: handed over, handed over and forwarded as well, or dropped
    #[arg(long, value_parser = action())]
    pub action: Option<Action>,
    /// Packets per second that no source exceeds, whatever there is to spare
    #[arg(long, value_name = "N")]
    pub source_rate: Option<Rate>,
    /// The same for all sources behind one ingress interface
    #[arg(long, value_name = "N")]
    pub interface_rate: Option<Rate>,
    /// Take one packet in so many
    #[arg(long, value_name = "N")]
    pub sample: Option<u32>,
}

impl ReasonSetArguments {
    /// What the engine is to be asked.
    pub fn params(self) -> ReasonSet {
        let ReasonChange { rate, burst, class, action, source_rate, interface_rate, sample } = self.change;
        ReasonSet { name: self.name, rate, burst, class, action, source_rate, interface_rate, sample }
    }
}

#[derive(Debug, Subcommand)]
pub enum ClassVerb {
    /// All classes with what they are guaranteed and what they never exceed
    #[command(aliases = ["show", "ls"])]
    List,
    /// Changes a class; what is not named stays
    #[command(after_help = "Example:\n  puntctl class set route --min 20000 --cap 40000")]
    Set {
        /// The class
        #[arg(value_parser = class())]
        name: Class,
        #[command(flatten)]
        change: ClassChange,
    },
}

/// At least one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ClassChange {
    /// Packets per second that it gets whatever the others do
    #[arg(long, value_name = "N")]
    pub min: Option<u32>,
    /// Packets per second that it never exceeds, or unlimited
    #[arg(long, value_name = "N")]
    pub cap: Option<Rate>,
}

#[derive(Debug, Subcommand)]
pub enum PolicerVerb {
    /// The policers of all reasons, sinks, registrations and passive entries
    #[command(aliases = ["show", "ls"])]
    List,
    /// Gives a reason, a sink, a registration or an entry of the passive punt another policer
    #[command(after_help = "\
WHAT is reason:NAME, sink:NAME, registration:ID, passive:FAMILY or passive:FAMILY@INTERFACE.
ACT is pass, drop or demote:CLASS. Bytes are those of the frame as received, without FCS.

Examples:
  puntctl policer set reason:local.bgp --type single --rate 10000pps --burst 5000p
  puntctl policer set sink:bfdd --type rfc2697 --rate 8000000bps --burst 15000B --excess 30000B --yellow demote:miss")]
    Set(PolicerSetArguments),
}

#[derive(Debug, Args)]
pub struct PolicerSetArguments {
    /// Whose policer
    #[arg(value_name = "WHAT")]
    pub what: Policed,
    /// How it counts
    #[arg(long = "type", value_name = "TYPE", value_parser = policer_kind())]
    pub kind: Kind,
    /// What is committed: packets (pps) or bits (bps) per second
    #[arg(long, value_name = "N[pps|bps]")]
    pub rate: PolicerRate,
    /// What may come at once: packets (p) or bytes (B)
    #[arg(long, value_name = "N[p|B]")]
    pub burst: PolicerBurst,
    /// The peak rate (rfc2698) or the excess rate (rfc4115)
    #[arg(long, value_name = "N[pps|bps]")]
    pub peak: Option<PolicerRate>,
    /// The excess burst (rfc2697, rfc4115) or the peak burst (rfc2698)
    #[arg(long, value_name = "N[p|B]")]
    pub excess: Option<PolicerBurst>,
    /// What becomes of yellow packets [default: pass]
    #[arg(long, value_name = "ACT")]
    pub yellow: Option<Verdict>,
    /// What becomes of red packets [default: drop]
    #[arg(long, value_name = "ACT")]
    pub red: Option<Verdict>,
}

impl PolicerSetArguments {
    /// What the engine is to be asked.
    pub fn params(self) -> PolicerSet {
        let PolicerSetArguments { what, kind, rate, burst, peak, excess, yellow, red } = self;
        PolicerSet { what, kind, rate, burst, peak, excess, yellow, red }
    }
}

#[derive(Debug, Subcommand)]
pub enum SinkVerb {
    /// All sinks and how they are doing
    #[command(aliases = ["show", "ls"])]
    List,
    /// Makes a sink: a place for packets to go
    #[command(after_help = "\
TARGET is one of
  unix:PATH             datagrams to the socket that the client bound there; unix:@NAME is an abstract one
  unix:PATH?header=vpp  the same for a client that was written for VPP
  shm:PATH              shared memory, which a client gets at that socket
  tap:NAME              a TAP interface of the host
  tap:NAME?interface=IF the same; what the host sends into it leaves by IF
  pcapng:FILE?size=64M&files=4  capture files below the directory of [punt]
  null                  nothing but counters
Paths are the engine's, so they begin with a slash.

Examples:
  puntctl sink add bfdd unix:/run/bfdd/punt.sock
  puntctl sink add capture 'pcapng:ttl.pcapng?size=64M&files=4' --rate 1000")]
    Add {
        /// What registrations call it
        name: String,
        /// Where it puts its packets
        target: Target,
        #[command(flatten)]
        limit: Limit,
    },
    /// Removes a sink
    #[command(alias = "delete", after_help = "Example:\n  puntctl sink del bfdd")]
    Del {
        /// The sink
        name: String,
    },
}

/// What may pass.
#[derive(Debug, Args)]
pub struct Limit {
    /// Packets per second, or unlimited
    #[arg(long, value_name = "N")]
    pub rate: Option<Rate>,
    /// Packets that may come at once
    #[arg(long, value_name = "N")]
    pub burst: Option<u32>,
}

/// The sink to make.
pub fn sink(name: String, target: Target, limit: Limit) -> SinkAdd {
    let Limit { rate, burst } = limit;
    SinkAdd { name, target, rate, burst, life: Default::default() }
}

#[derive(Debug, Args)]
pub struct RegisterArguments {
    /// Which packets
    #[arg(value_name = "MATCH")]
    pub wanted: Match,
    /// Where to
    #[arg(long, value_name = "NAME")]
    pub sink: String,
    #[command(flatten)]
    pub limit: Limit,
    /// Received on this interface only
    #[arg(long, value_name = "IF")]
    pub interface: Option<String>,
    /// From these sources only
    #[arg(long, value_name = "PREFIX")]
    pub source: Option<Prefix>,
    /// So many bytes of each frame
    #[arg(long, value_name = "N")]
    pub snaplen: Option<u32>,
    /// Nobody else may have them
    #[arg(long)]
    pub exclusive: bool,
}

impl RegisterArguments {
    /// What the engine is to be asked.
    pub fn params(self) -> Register {
        let RegisterArguments { wanted, sink, limit, interface, source, snaplen, exclusive } = self;
        let Limit { rate, burst } = limit;
        let life = Default::default();
        Register { r#match: wanted, sink, rate, burst, interface, source, snaplen, exclusive, life }
    }
}

#[derive(Debug, Subcommand)]
pub enum RegistrationVerb {
    /// All registrations and what became of their packets
    #[command(aliases = ["show", "ls"])]
    List,
}

#[derive(Debug, Subcommand)]
pub enum PassiveVerb {
    /// Where packets go that nothing claimed
    #[command(aliases = ["show", "ls"])]
    List,
    /// Says where packets go that nothing claimed
    #[command(after_help = "\
Without --interface it is for all interfaces that have no entry of their own.

Examples:
  puntctl passive set ip4 --sink slow-path --rate 1000
  puntctl passive set ip4 --redirect lan --via 10.0.0.2 --interface wan
  puntctl passive set other --drop")]
    Set(PassiveSetArguments),
    /// Forgets an entry
    #[command(alias = "delete", after_help = "Example:\n  puntctl passive del ip4 --interface wan")]
    Del {
        /// Which packets
        #[arg(value_parser = family())]
        family: PassiveFamily,
        /// The entry of this interface [default: the one for all]
        #[arg(long, value_name = "IF")]
        interface: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct PassiveSetArguments {
    /// Which packets
    #[arg(value_parser = family())]
    pub family: PassiveFamily,
    #[command(flatten)]
    pub place: PassivePlace,
    /// With --redirect: to this next hop, instead of the packet's own destination
    #[arg(long, value_name = "ADDR")]
    pub via: Option<IpAddr>,
    /// Received on this interface only
    #[arg(long, value_name = "IF")]
    pub interface: Option<String>,
    #[command(flatten)]
    pub limit: Limit,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct PassivePlace {
    /// To this sink
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
    /// Out of this interface
    #[arg(long, value_name = "IF")]
    pub redirect: Option<String>,
    /// Nowhere
    #[arg(long)]
    pub drop: bool,
}

impl PassiveSetArguments {
    /// What the engine is to be asked.
    pub fn params(self) -> PassiveSet {
        let PassiveSetArguments { family, place, via, interface, limit } = self;
        let PassivePlace { sink, redirect, drop } = place;
        PassiveSet { family, interface, sink, redirect, via, drop, rate: limit.rate, burst: limit.burst }
    }
}

/// The entry to forget.
pub fn passive_key(family: PassiveFamily, interface: Option<String>) -> PassiveKey {
    PassiveKey { family, interface }
}

/// One of a few words, each of which completes.
fn one_of<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().copied().map(name)).map(move |word| {
        // Only words of that list come here.
        *all.iter().find(|value| name(**value) == word).unwrap_or(&all[0])
    })
}

fn class() -> impl TypedValueParser<Value = Class> {
    one_of(&Class::ALL, Class::name)
}

fn action() -> impl TypedValueParser<Value = Action> {
    one_of(&[Action::Trap, Action::Copy, Action::Drop], Action::name)
}

const KINDS: [(&str, Kind); 4] = [
    ("single", Kind::Single),
    ("rfc2697", Kind::Rfc2697),
    ("rfc2698", Kind::Rfc2698),
    ("rfc4115", Kind::Rfc4115),
];

fn policer_kind() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(KINDS.map(|(name, _)| name)).map(|word| {
        // Only words of that list come here.
        KINDS.iter().find(|(name, _)| *name == word).map_or(Kind::Single, |(_, kind)| *kind)
    })
}

fn family() -> impl TypedValueParser<Value = PassiveFamily> {
    one_of(&PassiveFamily::ALL, PassiveFamily::name)
}

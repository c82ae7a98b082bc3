//! Dispatch against a plain model: whatever is registered and taken back in whatever order, every packet has the reason and the takers
//! that the model says. The model knows texts, lists and loops; nothing of how the desk keeps its tables.

use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;

/// A match as the model has it; a family is 4, 6, or 0 for both.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Udp(u8, u16, u16),
    Tcp(u8, u16, u16, bool),
    Icmp4(u8),
    Icmp6(u8),
    Protocol(u8, u8),
    Ethertype(u16),
    Llc(u8),
    Group(u8),
    Reason(&'static str),
}

use Kind::{Ethertype, Group, Icmp4, Icmp6, Llc, Tcp, Udp};

impl Kind {
    fn text(&self) -> String {
        let digit = |family: &u8| if *family == 0 { String::new() } else { family.to_string() };
        let range = |low: &u16, high: &u16| match low == high {
            true => low.to_string(),
            false => format!("{low}-{high}"),
        };
        match self {
            Udp(family, low, high) => format!("udp{}:{}", digit(family), range(low, high)),
            Tcp(family, low, high, any) => {
                format!("tcp{}:{}{}", digit(family), range(low, high), if *any { "/any" } else { "" })
            }
            Icmp4(kind) => format!("icmp:{kind}"),
            Icmp6(kind) => format!("icmp6:{kind}"),
            Kind::Protocol(family, number) => format!("proto{}:{number}", digit(family)),
            Ethertype(number) => format!("ethertype:{number:#06x}"),
            Llc(number) => format!("llc:{number:#04x}"),
            Group(last) => format!("mac:01:80:c2:00:00:{last:02x}"),
            Kind::Reason(name) => format!("reason:{name}"),
        }
    }

    fn is_link(&self) -> bool {
        matches!(self, Ethertype(_) | Llc(_) | Group(_))
    }

    fn family(&self) -> u8 {
        match self {
            Udp(family, ..) | Tcp(family, ..) | Kind::Protocol(family, _) => *family,
            Icmp4(_) => 4,
            Icmp6(_) => 6,
            _ => 0,
        }
    }

    fn is_range(&self) -> bool {
        matches!(self, Udp(_, low, high) | Tcp(_, low, high, _) if low < high)
    }

    /// Source, interface, what it is, how wide it is, family: the greater, the more specific.
    fn rank(&self) -> (u8, Reverse<u32>, bool) {
        let port = |low: &u16, high: &u16, any: bool| {
            let ports = (high - low) as u32 + 1;
            (if ports == 1 { 6 } else { 5 }, Reverse(2 * ports + any as u32))
        };
        let (rank, width) = match self {
            Udp(_, low, high) => port(low, high, false),
            Tcp(_, low, high, any) => port(low, high, *any),
            Group(_) => (4, Reverse(1)),
            Icmp4(_) | Icmp6(_) | Ethertype(_) | Llc(_) => (3, Reverse(1)),
            Kind::Protocol(..) => (2, Reverse(1)),
            Kind::Reason(name) => (1, Reverse(name.ends_with('*') as u32)),
        };
        (rank, width, matches!(self, Udp(4 | 6, ..) | Tcp(4 | 6, ..) | Kind::Protocol(4 | 6, _)))
    }

    /// Whether a match of anything but reasons sees a packet.
    fn sees(&self, packet: &Packet) -> bool {
        let facts = &packet.facts;
        let ip4 = facts.source.is_some_and(|source| source.is_ipv4());
        let family = self.family() == 0 || (self.family() == 4) == ip4;
        let (source, destination) = facts.ports.unwrap_or_default();
        match self {
            Kind::Reason(_) => false,
            kind if kind.is_link() == packet.local || !family => false,
            Udp(_, low, high) => facts.protocol == Some(17) && (*low..=*high).contains(&destination),
            Tcp(_, low, high, any) => {
                facts.protocol == Some(6)
                    && ((*low..=*high).contains(&destination) || (*any && (*low..=*high).contains(&source)))
            }
            Icmp4(kind) => facts.protocol == Some(1) && facts.kind == Some(*kind),
            Icmp6(kind) => facts.protocol == Some(58) && facts.kind == Some(*kind),
            Kind::Protocol(_, number) => facts.protocol == Some(*number),
            Ethertype(number) => facts.ethertype == Some(*number),
            Llc(number) => facts.llc == Some(*number),
            Group(last) => facts.destination == [1, 0x80, 0xc2, 0, 0, *last],
        }
    }

    fn names(&self, reason: &str) -> bool {
        let Kind::Reason(pattern) = self else { return false };
        match pattern.strip_suffix('*') {
            Some(start) => reason.starts_with(start),
            None => reason == *pattern || reason.starts_with(&format!("{pattern}@")),
        }
    }
}

/// The built-in reason of a key of a row, as the table in `statics` says.
fn built_in(row: &str, ip4: bool, key: u16) -> Option<&'static str> {
    Some(match (row, key) {
        ("tcp" | "tcp-source", 179) => "local.bgp",
        ("udp", 3784) => "local.bfd",
        ("udp" | "tcp", 53) => "local.dns",
        ("udp", 1812 | 1813) => "local.radius",
        ("proto", 89) => "local.ospf",
        ("proto", 103) => "local.pim",
        ("icmp", 8) if ip4 => "local.icmp-echo",
        ("icmp", 128) if !ip4 => "local.icmp-echo",
        ("igmp", 0x11) if ip4 => "ip4.igmp-query",
        ("udp", 319) => "l2.ptp-event",
        ("udp", 320) => "l2.ptp-general",
        _ => return None,
    })
}

/// What somebody registered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    kind: Kind,
    source: Option<&'static str>,
    interface: Option<u32>,
}

impl Key {
    fn is_scoped(&self) -> bool {
        self.source.is_some() || self.interface.is_some()
    }

    fn is_there(&self, packet: &Packet) -> bool {
        let prefix = |text: &str| text.parse::<ipnet::IpNet>().expect("a prefix");
        self.interface.is_none_or(|it| it == packet.facts.interface)
            && self.source.is_none_or(|it| packet.facts.source.is_some_and(|at| prefix(it).contains(&at)))
    }

    fn rank(&self) -> impl Ord {
        let length = |text: &str| text.split_once('/').expect("a prefix").1.parse::<u8>().expect("a length");
        (self.source.map(length), self.interface.is_some(), self.kind.rank())
    }

    /// The reason that packets of such a match have without anybody registering, if it is one.
    fn built_in(&self) -> Option<String> {
        let single = |keys: Vec<Option<&'static str>>| {
            let first = keys[0]?;
            keys.iter().all(|it| *it == Some(first)).then(|| first.to_owned())
        };
        let families = |family: u8| match family {
            4 => vec![true],
            6 => vec![false],
            _ => vec![true, false],
        };
        let all = |rows: &[&'static str], family: u8, low: u16, high: u16| {
            let mut owners = Vec::new();
            for row in rows {
                for ip4 in families(family) {
                    owners.extend((low..=high).map(|key| built_in(row, ip4, key)));
                }
            }
            single(owners)
        };
        match &self.kind {
            Udp(family, low, high) => all(&["udp"], *family, *low, *high),
            Tcp(family, low, high, false) => all(&["tcp"], *family, *low, *high),
            Tcp(family, low, high, true) => all(&["tcp", "tcp-source"], *family, *low, *high),
            Icmp4(kind) => all(&["icmp"], 4, *kind as u16, *kind as u16),
            Icmp6(kind) => all(&["icmp"], 6, *kind as u16, *kind as u16),
            Kind::Protocol(family, number) => all(&["proto"], *family, *number as u16, *number as u16),
            Ethertype(0x88cc) => Some("l2.lldp".to_owned()),
            Llc(0x42) => Some("l2.stp".to_owned()),
            Ethertype(_) | Llc(_) | Group(_) => None,
            Kind::Reason(name) => Some((*name).to_owned()),
        }
    }

    /// The name of the reason that a registration with this id makes, if it makes one.
    fn makes(&self, id: u32) -> Option<String> {
        let plain = || {
            let prefix = if self.kind.is_link() { "l2" } else { "local" };
            format!("{prefix}.{}", self.kind.text().replacen(':', "-", 1).replace('/', "-"))
        };
        match (&self.kind, self.is_scoped()) {
            (Kind::Reason(_), false) => None,
            (Kind::Reason(name), true) if name.contains(['*', '@']) => None,
            // Several reasons have frames of these types, and it is for all of them.
            (Ethertype(0x8809 | 0x0806 | 0x88f7) | Llc(0xaa), false) => None,
            (_, false) => self.built_in().is_none().then(plain),
            (_, true) => Some(format!("{}@{id}", self.built_in().unwrap_or_else(plain))),
        }
    }
}

#[derive(Clone, Debug)]
struct Row {
    id: u32,
    key: Key,
    sink: String,
    exclusive: bool,
    suspended: bool,
}

/// The plain model.
#[derive(Default)]
struct Model {
    rows: Vec<Row>,
    /// Reasons that registrations made, the oldest first.
    made: Vec<(Key, String)>,
}

impl Model {
    fn register(&mut self, row: Row) {
        if let Some(name) = row.key.makes(row.id)
            && !self.made.iter().any(|(key, _)| *key == row.key)
        {
            self.made.push((row.key.clone(), name));
        }
        self.rows.push(row);
    }

    fn unregister(&mut self, at: usize) {
        let gone = self.rows.remove(at);
        if !self.rows.iter().any(|row| row.key == gone.key) {
            self.made.retain(|(key, _)| *key != gone.key);
        }
    }

    /// The reasons that somebody who is there made, the oldest first.
    fn active(&self) -> impl Iterator<Item = &(Key, String)> {
        self.made.iter().filter(|(key, _)| self.rows.iter().any(|row| row.key == *key && !row.suspended))
    }

    /// The most specific of those that suit; the oldest of equals.
    fn best(&self, suits: impl Fn(&Key) -> bool) -> Option<String> {
        let mut best: Option<&(Key, String)> = None;
        for it in self.active().filter(|(key, _)| suits(key)) {
            if best.is_none_or(|(key, _)| it.0.rank() > key.rank()) {
                best = Some(it);
            }
        }
        best.map(|(_, name)| name.clone())
    }

    /// The reason of the edge that a packet takes.
    fn base(&self, packet: &Packet) -> String {
        if let Some(known) = packet.known {
            return known.to_owned();
        }
        let facts = &packet.facts;
        if !packet.local {
            let claims: [&dyn Fn(&Kind) -> bool; 3] =
                [&|kind| matches!(kind, Group(_)), &|kind| matches!(kind, Ethertype(_)), &|kind| {
                    matches!(kind, Llc(_))
                }];
            let claimed = claims
                .iter()
                .find_map(|is| self.best(|key| !key.is_scoped() && is(&key.kind) && key.kind.sees(packet)));
            return claimed.unwrap_or_else(|| "l2.unclaimed".to_owned());
        }
        let ip4 = facts.source.expect("it is IP").is_ipv4();
        let protocol = facts.protocol.expect("it is IP");
        let (source, destination) = facts.ports.unwrap_or_default();
        let kind = facts.kind.unwrap_or_default() as u16;
        let rows: Vec<(&str, u16)> = match (protocol, ip4) {
            (17, _) => vec![("udp", destination)],
            (6, _) => vec![("tcp", destination), ("tcp-source", source)],
            (1, true) | (58, false) => vec![("icmp", kind)],
            (2, true) => vec![("igmp", kind)],
            _ => vec![],
        };
        // Exact ports of either end come before ranges of either.
        let exact = |exact: bool| rows.iter().map(move |(row, number)| (exact, *row, *number));
        for (exact, row, number) in exact(true).chain(exact(false)).chain([(true, "proto", protocol as u16)])
        {
            let claims = |key: &Key| {
                let of_row = match (&key.kind, row) {
                    (Udp(_, low, high), "udp") | (Tcp(_, low, high, _), "tcp") => {
                        (*low..=*high).contains(&number)
                    }
                    (Tcp(_, low, high, true), "tcp-source") => (*low..=*high).contains(&number),
                    (Icmp4(_) | Icmp6(_), "icmp") | (Kind::Protocol(..), "proto") => true,
                    _ => false,
                };
                of_row && exact != key.kind.is_range() && !key.is_scoped() && key.kind.sees(packet)
            };
            if let Some(name) = built_in(row, ip4, number).filter(|_| exact) {
                return name.to_owned();
            }
            if let Some(name) = self.best(claims) {
                return name;
            }
        }
        if ip4 { "ip4.unclaimed".to_owned() } else { "ip6.unclaimed".to_owned() }
    }

    /// The reason of a packet, and who gets it as whose.
    fn punt(&self, packet: &Packet) -> (String, Vec<(String, u32)>) {
        let base = self.base(packet);
        let elsewhere = packet.known == Some("ip4.ttl-expired");
        let covers = |key: &Key, reason: &str| {
            // What somebody claims by a scope is nobody's no more.
            let named = key.kind.names(reason) || (!base.ends_with(".unclaimed") && key.kind.names(&base));
            key.is_there(packet) && ((!elsewhere && key.kind.sees(packet)) || named)
        };
        let reason = self.best(|key| key.is_scoped() && covers(key, &base)).unwrap_or(base.clone());
        let mut takers = BTreeMap::new();
        for row in self.rows.iter().filter(|row| !row.suspended && covers(&row.key, &reason)) {
            let taker = takers.entry(row.sink.clone()).or_insert(row);
            if row.key.rank() > taker.key.rank() {
                *taker = row;
            }
        }
        (reason, takers.into_iter().map(|(sink, row)| (sink, row.id)).collect())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Register(Key, u8, bool),
    Unregister(usize),
    Suspend(usize, bool),
}

const SOURCES: [&str; 6] =
    ["10.0.0.0/8", "10.0.1.0/24", "10.0.1.7/32", "0.0.0.0/0", "2001:db8::/32", "2001:db8::7/128"];

fn kinds() -> impl Strategy<Value = Kind> {
    let udp = || prop::sample::select(vec![53u16, 319, 1812, 1813, 1814, 3784, 5000, 5001]);
    let tcp = || prop::sample::select(vec![22u16, 53, 179, 180, 5000]);
    let family = || prop::sample::select(vec![0u8, 0, 0, 4, 6]);
    let reasons = vec![
        "local.bgp",
        "local.*",
        "ip4.*",
        "ip4.unclaimed",
        "l2.*",
        "l2.lacp",
        "ip4.ttl-expired",
        "*",
        "local.udp-5000",
        "local.udp-5*",
        "local.pim",
        "arp.request",
        "l2.unclaimed",
        "local.bgp@1",
    ];
    prop_oneof![
        4 => (family(), udp()).prop_map(|(family, port)| Udp(family, port, port)),
        3 => (family(), udp(), udp()).prop_map(|(family, a, b)| Udp(family, a.min(b), a.max(b))),
        3 => (family(), tcp(), any::<bool>()).prop_map(|(family, port, any)| Tcp(family, port, port, any)),
        2 => (family(), tcp(), tcp(), any::<bool>())
            .prop_map(|(family, a, b, any)| Tcp(family, a.min(b), a.max(b), any)),
        1 => prop::sample::select(vec![8u8, 13]).prop_map(Icmp4),
        1 => prop::sample::select(vec![128u8, 135]).prop_map(Icmp6),
        3 => (family(), prop::sample::select(vec![1u8, 2, 6, 17, 58, 89, 103, 200]))
            .prop_map(|(family, number)| Kind::Protocol(family, number)),
        2 => prop::sample::select(vec![0x8809u16, 0x88cc, 0x88f7, 0x0806, 0x9000]).prop_map(Ethertype),
        2 => prop::sample::select(vec![0x42u8, 0xaa, 0xe0]).prop_map(Llc),
        1 => prop::sample::select(vec![2u8, 14]).prop_map(Group),
        4 => prop::sample::select(reasons).prop_map(Kind::Reason),
    ]
}

fn keys() -> impl Strategy<Value = Key> {
    let source = prop::option::weighted(0.3, prop::sample::select(SOURCES.to_vec()));
    let interface = prop::option::weighted(0.3, 1u32..3);
    (kinds(), source, interface).prop_map(|(kind, source, interface)| {
        // What `Register::check` refuses never gets to a desk.
        let family = |source: &&str| kind.family() == 0 || (kind.family() == 6) == source.contains(':');
        let source = source.filter(|source| !kind.is_link() && family(source));
        Key { kind, source, interface }
    })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (keys(), 0u8..4, prop::bool::weighted(0.05))
            .prop_map(|(key, sink, exclusive)| Step::Register(key, sink, exclusive)),
        3 => any::<usize>().prop_map(Step::Unregister),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(at, suspended)| Step::Suspend(at, suspended)),
    ]
}

fn packets() -> impl Strategy<Value = Packet> {
    let source = || {
        prop::sample::select(vec!["10.0.1.7", "10.0.1.8", "10.2.0.1", "192.0.2.1", "2001:db8::7", "fd00::1"])
    };
    let port =
        || prop::sample::select(vec![22u16, 53, 100, 179, 180, 319, 320, 1812, 1814, 3784, 4000, 5000, 5001]);
    let kind = prop::sample::select(vec![8u8, 13, 0x11, 128, 135]);
    let known = |names: &'static [&'static str], packet: Packet| {
        prop::sample::select(names).prop_map(move |name| packet.clone().of(name))
    };
    let arp = source().prop_map(|from| {
        let mut packet = Packet::link(Some(0x0806), None, 0).of("arp.request");
        packet.facts.source = Some(from.parse().expect("an address")).filter(IpAddr::is_ipv4);
        packet
    });
    let packet = prop_oneof![
        6 => (source(), port()).prop_map(|(from, to)| Packet::udp(from, to)),
        6 => (source(), port(), port()).prop_map(|(from, out, to)| Packet::tcp(from, out, to)),
        3 => (source(), prop::sample::select(vec![1u8, 2, 58]), kind).prop_map(|(from, protocol, kind)| {
            let mut packet = Packet::local(from, protocol);
            packet.facts.kind = Some(kind);
            packet
        }),
        3 => (source(), prop::sample::select(vec![47u8, 89, 103, 200]))
            .prop_map(|(from, protocol)| Packet::local(from, protocol)),
        1 => source().prop_map(|from| Packet::local(from, 103).of("local.pim-register")),
        2 => known(&["l2.lacp", "l2.lacp-marker"], Packet::link(Some(0x8809), None, 2)),
        1 => known(&["l2.ptp-event", "l2.ptp-general"], Packet::link(Some(0x88f7), None, 14)),
        1 => known(&["l2.lldp"], Packet::link(Some(0x88cc), None, 14)),
        1 => known(&["l2.stp"], Packet::link(None, Some(0x42), 0)),
        1 => known(&["l2.cdp", "l2.vtp"], Packet::link(None, Some(0xaa), 2)),
        2 => arp,
        3 => (prop::sample::select(vec![0x9000u16, 0x8809, 0x1234]), prop::sample::select(vec![2u8, 14, 9]))
            .prop_map(|(ethertype, group)| Packet::link(Some(ethertype), None, group)),
        2 => (prop::sample::select(vec![0xe0u8, 0x42, 0xaa, 0x06]), prop::sample::select(vec![2u8, 14, 9]))
            .prop_map(|(llc, group)| Packet::link(None, Some(llc), group)),
        2 => (source(), port()).prop_map(|(from, to)| {
            let mut packet = Packet::udp(from, to).of("ip4.ttl-expired");
            packet.local = false;
            packet
        }),
    ];
    (packet, 1u32..4).prop_map(|(packet, interface)| packet.on(interface))
}

const SINKS: [&str; 4] = ["a", "b", "c", "d"];

struct Both {
    office: Office,
    model: Model,
    last_reason: u32,
}

impl Both {
    fn new() -> Both {
        let office = Office::with_sinks(&SINKS);
        let last_reason = office.desk.ids.reason;
        Both { office, model: Model::default(), last_reason }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Register(key, sink, exclusive) => self.register(key, SINKS[*sink as usize], *exclusive),
            Step::Unregister(at) if !self.model.rows.is_empty() => {
                let at = at % self.model.rows.len();
                self.office.desk.unregister(self.model.rows[at].id).expect("it is registered");
                self.model.unregister(at);
            }
            Step::Suspend(at, suspended) if !self.model.rows.is_empty() => {
                let at = at % self.model.rows.len();
                self.office.desk.suspend(&[self.model.rows[at].id], *suspended);
                self.model.rows[at].suspended = *suspended;
            }
            _ => {}
        }
    }

    fn register(&mut self, key: &Key, sink: &str, exclusive: bool) {
        let mut wanted = wanted(&key.kind.text(), sink);
        wanted.exclusive = exclusive;
        wanted.source = key.source.map(|source| source.parse().expect("a prefix"));
        wanted.interface = key.interface.map(|index| (index, format!("port{index}")));
        let twice = self.model.rows.iter().any(|row| row.key == *key && row.sink == sink);
        let others = |row: &&Row| row.sink != sink && (exclusive || row.exclusive);
        let may_collide = self.model.rows.iter().find(others).is_some();
        let unknown = matches!(key.kind, Kind::Reason(_))
            && !self.office.desk.reasons().any(|(_, reason)| key.kind.names(reason.name()));
        match self.office.desk.register(wanted) {
            Ok(id) => {
                assert!(!twice && !unknown, "{key:?} is registered although it cannot be");
                let (key, sink) = (key.clone(), sink.to_owned());
                self.model.register(Row { id, key, sink, exclusive, suspended: false });
            }
            Err(refused) => assert!(twice || unknown || may_collide, "{key:?} is refused: {refused}"),
        }
    }

    fn check(&mut self, packets: &[Packet]) {
        self.office.commit();
        let mut made: Vec<&str> = self.model.made.iter().map(|(_, name)| name.as_str()).collect();
        made.sort_unstable();
        let run_time = || self.office.desk.reasons().filter(|(_, reason)| reason.made_by.is_some());
        let mut there: Vec<&str> = run_time().map(|(_, reason)| reason.name()).collect();
        there.sort_unstable();
        assert_eq!(there, made, "run-time reasons");
        let told = self.office.told.lock();
        assert_eq!(told.names.len(), statics().len() + made.len(), "names that are told");
        assert_eq!(told.books.len(), self.model.rows.len(), "books that are told");
        drop(told);
        let newest = self.office.desk.ids.reason;
        assert!(newest >= self.last_reason);
        self.last_reason = newest;
        for packet in packets {
            let (reason, takers) = self.model.punt(packet);
            let (fate, got_reason, got) = self.office.punt(packet);
            let got: Vec<(String, u32)> = got.into_iter().map(|got| (got.sink, got.registration)).collect();
            assert_eq!((&got_reason, &got), (&reason, &takers), "{packet:?}\nrows {:#?}", self.model.rows);
            let expected = if takers.is_empty() { Fate::NoSink } else { Fate::Accepted };
            assert_eq!(fate, expected, "{packet:?}");
            self.check_exclusive(&takers, packet);
        }
        assert_eq!(self.office.desk.findings(), Vec::<String>::new());
    }

    fn check_exclusive(&self, takers: &[(String, u32)], packet: &Packet) {
        let row = |id: u32| self.model.rows.iter().find(|row| row.id == id).expect("it is registered");
        if takers.iter().any(|(_, id)| row(*id).exclusive) {
            assert_eq!(takers.len(), 1, "{packet:?} goes to an exclusive registration and another");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_packet_has_the_reason_and_the_takers_that_the_model_says(
        rounds in prop::collection::vec((prop::collection::vec(steps(), 1..8), prop::collection::vec(packets(), 1..16)), 1..8),
        last in prop::collection::vec(packets(), 1..16),
    ) {
        let mut both = Both::new();
        for (steps, packets) in &rounds {
            steps.iter().for_each(|step| both.step(step));
            both.check(packets);
        }
        while !both.model.rows.is_empty() {
            both.step(&Step::Unregister(0));
        }
        both.check(&last);
    }
}

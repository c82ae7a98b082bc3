//! The network that captures, demo and tests are made for: a router between `lan` and `wan`, each with a VLAN.
//!
//! ```text
//! host 10.0.0.10 ─────────── lan      ┌────────┐  wan      ─────────── upstream 10.0.1.2
//!   (10.10.0.0/16 behind it)          │ router │               (10.2.0.0/16, 198.18.0.0/15 behind it)
//! customer 10.100.0.10 ───── lan.100  └────────┘  wan.200  ─────────── tunnel 10.200.0.2
//!   (10.110.0.0/16 behind it)                       MTU 1280   (10.7.0.0/16 behind it)
//! ```

use std::fmt::Write;

/// A MAC address.
pub type Mac = [u8; 6];

/// One of the router's two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    /// Hosts and customers.
    Lan,
    /// The rest of the world.
    Wan,
}

impl Port {
    /// Both.
    pub const ALL: [Port; 2] = [Port::Lan, Port::Wan];

    /// The name of its untagged interface.
    pub fn interface(self) -> &'static str {
        match self {
            Port::Lan => "lan",
            Port::Wan => "wan",
        }
    }

    /// The MAC address of its interfaces.
    pub fn mac(self) -> Mac {
        match self {
            Port::Lan => [2, 0, 0, 0, 0x0a, 1],
            Port::Wan => [2, 0, 0, 0, 0x0b, 1],
        }
    }
}

/// A neighbour of the router.
#[derive(Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// The port behind which it is.
    pub port: Port,
    /// The router's interface there.
    pub interface: &'static str,
    /// The tag of that interface.
    pub vlan: Option<u16>,
    /// Its MAC address.
    pub mac: Mac,
    /// Its IPv4 address.
    pub ip4: &'static str,
    /// Its IPv6 address.
    pub ip6: &'static str,
}

/// A host that routes for others.
pub static HOST: Neighbor = Neighbor {
    port: Port::Lan,
    interface: "lan",
    vlan: None,
    mac: [2, 0, 0, 0, 0x0a, 0x10],
    ip4: "10.0.0.10",
    ip6: "fd00:a::10",
};

/// Another host on the same link, whose prefix the first host sends to the router.
pub static NEARBY: Neighbor = Neighbor {
    port: Port::Lan,
    interface: "lan",
    vlan: None,
    mac: [2, 0, 0, 0, 0x0a, 0x09],
    ip4: "10.0.0.9",
    ip6: "fd00:a::9",
};

/// A customer in VLAN 100.
pub static CUSTOMER: Neighbor = Neighbor {
    port: Port::Lan,
    interface: "lan.100",
    vlan: Some(100),
    mac: [2, 0, 0, 0, 0x64, 0x10],
    ip4: "10.100.0.10",
    ip6: "fd00:64::10",
};

/// The way to the rest of the world.
pub static UPSTREAM: Neighbor = Neighbor {
    port: Port::Wan,
    interface: "wan",
    vlan: None,
    mac: [2, 0, 0, 0, 0x0b, 0x02],
    ip4: "10.0.1.2",
    ip6: "fd00:b::2",
};

/// A neighbour in VLAN 200, where only 1280 bytes fit.
pub static TUNNEL: Neighbor = Neighbor {
    port: Port::Wan,
    interface: "wan.200",
    vlan: Some(200),
    mac: [2, 0, 0, 0, 0xc8, 0x02],
    ip4: "10.200.0.2",
    ip6: "fd00:c8::2",
};

static NEIGHBORS: [&Neighbor; 5] = [&HOST, &NEARBY, &CUSTOMER, &UPSTREAM, &TUNNEL];

/// Prefixes and where they lead: a next hop's address, or an action.
const ROUTES: &[(&str, &str)] = &[
    ("10.10.0.0/16", "10.0.0.10"),
    ("fd00:10::/32", "fd00:a::10"),
    ("10.110.0.0/16", "10.100.0.10"),
    ("fd00:110::/32", "fd00:64::10"),
    ("10.2.0.0/16", "10.0.1.2"),
    ("198.18.0.0/15", "10.0.1.2"),
    ("2001:db8::/32", "fd00:b::2"),
    ("10.7.0.0/16", "10.200.0.2"),
    ("fd00:7::/32", "fd00:c8::2"),
    ("10.8.0.0/16", "10.0.0.9"),
    ("fd00:8::/32", "fd00:a::9"),
    ("10.6.0.0/16", "10.0.1.99"),
    ("fd00:6::/32", "fd00:b::99"),
    ("10.3.0.0/16", "blackhole"),
    ("fd00:3::/32", "blackhole"),
    ("10.4.0.0/16", "unreachable"),
    ("fd00:4::/32", "unreachable"),
    ("10.5.0.0/16", "punt"),
    ("fd00:5::/32", "punt"),
];

/// The router's configuration, with the EAL's names of its two ports.
pub fn config(lan: &str, wan: &str) -> String {
    let mut text = format!(
        r#"# Hosts and customers.
[interface.lan]
port = "{lan}"
mac = "{}"
addresses = ["10.0.0.1/24", "fd00:a::1/64"]

[interface."lan.100"]
addresses = ["10.100.0.1/24", "fd00:64::1/64"]

# The rest of the world.
[interface.wan]
port = "{wan}"
mac = "{}"
addresses = ["10.0.1.1/24", "fd00:b::1/64"]

[interface."wan.200"]
mtu = 1280
addresses = ["10.200.0.1/24", "fd00:c8::1/64"]
"#,
        words(Port::Lan.mac()),
        words(Port::Wan.mac()),
    );
    for neighbor in NEIGHBORS {
        for address in [neighbor.ip4, neighbor.ip6] {
            let (mac, interface) = (words(neighbor.mac), neighbor.interface);
            write!(
                text,
                "\n[[neighbor]]\naddress = \"{address}\"\nmac = \"{mac}\"\ninterface = \"{interface}\"\n"
            )
            .expect("a string takes everything");
        }
    }
    for (prefix, target) in ROUTES {
        let target = match *target {
            action @ ("blackhole" | "unreachable" | "punt") => format!("action = \"{action}\""),
            hop => format!("via = [\"{hop}\"]"),
        };
        write!(text, "\n[[route]]\nprefix = \"{prefix}\"\n{target}\n").expect("a string takes everything");
    }
    text
}

/// A MAC address as people write it.
pub fn words(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

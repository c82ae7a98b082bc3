//! What a router listens to without being asked, and how a packet finds its listener.
//!
//! These reasons are what both `ip4-local` and `ip6-local` choose from; the table is filled with them at start.

use punt::Family;
use punt::claims::{Claims, Protocol};
use punt::reason::{Class, Reason};

use crate::packet::Packet;
use crate::wire::{be16, protocol};

macro_rules! listeners {
    ($($(#[$doc:meta])* $name:ident = $reason:literal $class:ident $rate:literal / $burst:literal $text:literal
        $($action:ident)? { $($protocol:ident $($key:literal)+),* $(,)? })+) => {
        $(
            $(#[$doc])*
            #[doc = $text]
            pub static $name: Reason = Reason::new($reason, Class::$class, $text).limit($rate, $burst)$(.$action())?;
        )+

        /// Every reason of the table.
        pub const BUILT_IN: &[&Reason] = &[$(&$name),+];

        /// Which key leads to which reason: of one family or both.
        pub const LISTENERS: &[(Option<Family>, Protocol, u16, &Reason)] =
            &[$($($((listeners!(@family $protocol), listeners!(@protocol $protocol), $key, &$name),)+)*)+];
    };
    (@family Icmp4) => { Some(Family::Ip4) };
    (@family Icmp6) => { Some(Family::Ip6) };
    (@family Igmp) => { Some(Family::Ip4) };
    (@family $both:ident) => { None };
    (@protocol Icmp4) => { Protocol::Icmp };
    (@protocol Icmp6) => { Protocol::Icmp };
    (@protocol $protocol:ident) => { Protocol::$protocol };
}

listeners! {
    BGP = "local.bgp" Route 10000/5000 "BGP (RFC 4271)" { Tcp 179, TcpSource 179 }
    OSPF = "local.ospf" Route 2000/2000 "OSPF (RFC 2328, RFC 5340)" { Ip 89 }
    LDP_HELLO = "local.ldp-hello" Route 2000/1000 "LDP discovery (RFC 5036)" { Udp 646 }
    LDP = "local.ldp" Route 2500/2500 "LDP session (RFC 5036)" { Tcp 646, TcpSource 646 }
    RSVP = "local.rsvp" Route 2500/2500 "RSVP (RFC 2205)" { Ip 46 }
    PIM = "local.pim" Route 2000/2000 "PIM to a group (RFC 7761)" { Ip 103 }
    VRRP = "local.vrrp" Route 1000/1000 "VRRP (RFC 5798)" { Ip 112 }
    HSRP = "local.hsrp" Route 400/200 "HSRP (RFC 2281)" { Udp 1985 2029 }
    GLBP = "local.glbp" Route 400/200 "GLBP" { Udp 3222 }
    EIGRP = "local.eigrp" Route 1500/1200 "EIGRP (RFC 7868)" { Ip 88 }
    RIP = "local.rip" Route 500/256 "RIP (RFC 2453)" { Udp 520 }
    RIPNG = "local.ripng" Route 500/256 "RIPng (RFC 2080)" { Udp 521 }
    BABEL = "local.babel" Route 500/256 "Babel (RFC 8966)" { Udp 6696 }
    MSDP = "local.msdp" Route 500/256 "MSDP (RFC 3618)" { Tcp 639, TcpSource 639 }
    PCEP = "local.pcep" Route 500/256 "PCEP (RFC 5440)" { Tcp 4189, TcpSource 4189 }
    BMP = "local.bmp" Route 500/256 "BMP (RFC 7854)" { Tcp 11019, TcpSource 11019 }
    BFD = "local.bfd" Link 20000/8000 "BFD, single hop (RFC 5881)" { Udp 3784 }
    BFD_ECHO = "local.bfd-echo" Link 10000/4000 "BFD echo (RFC 5881)" { Udp 3785 }
    BFD_MULTIHOP = "local.bfd-multihop" Link 5000/2000 "BFD, multihop (RFC 5883)" { Udp 4784 }
    BFD_LAG = "local.bfd-lag" Link 5000/2000 "BFD on a LAG's members (RFC 7130)" { Udp 6784 }
    SBFD = "local.sbfd" Link 5000/2000 "Seamless BFD (RFC 7881)" { Udp 7784 }
    MPLS_OAM = "local.mpls-oam" Mgmt 250/100 "MPLS OAM (RFC 8029)" { Udp 3503 }
    GRE = "local.gre" Route 150/64 "GRE (RFC 2784)" { Ip 47 }
    TWAMP = "local.twamp" Mgmt 8000/3200 "TWAMP (RFC 5357)" { Udp 862, Tcp 862 }
    SSH = "local.ssh" Mgmt 5000/2000 "SSH" { Tcp 22 }
    SNMP = "local.snmp" Mgmt 2000/800 "SNMP" { Udp 161 }
    NTP = "local.ntp" Mgmt 500/200 "NTP (RFC 5905)" { Udp 123 }
    DNS = "local.dns" Mgmt 500/200 "DNS" { Udp 53, Tcp 53 }
    RADIUS = "local.radius" Mgmt 2000/800 "RADIUS (RFC 2865)" { Udp 1812 1813 }
    TACACS = "local.tacacs" Mgmt 500/200 "TACACS+ (RFC 8907)" { Tcp 49 }
    HTTP = "local.http" Mgmt 2000/800 "HTTP" { Tcp 80 }
    HTTPS = "local.https" Mgmt 2000/800 "HTTPS" { Tcp 443 }
    GNMI = "local.gnmi" Mgmt 2000/800 "gNMI" { Tcp 9339 }
    P4RT = "local.p4rt" Mgmt 2000/800 "P4Runtime" { Tcp 9559 }
    NETCONF = "local.netconf" Mgmt 2000/800 "NETCONF (RFC 6241)" { Tcp 830 }
    ICMP_ECHO = "local.icmp-echo" Mgmt 1000/200 "ICMP echo request to us" { Icmp4 8, Icmp6 128 }
    ICMP_ECHO_REPLY = "local.icmp-echo-reply" Mgmt 2500/500 "ICMP echo reply to us" { Icmp4 0, Icmp6 129 }
    ICMP_ERROR = "local.icmp-error" Mgmt 1000/400 "ICMP error to us" { Icmp4 3 11 12, Icmp6 1 2 3 4 }
    IKE = "local.ike" Mgmt 1000/400 "IKE (RFC 7296)" { Udp 500 4500 }
    DHCP4 = "local.dhcp4" Mcast 200/200 "DHCP (RFC 2131)" { Udp 67 68 }
    DHCP6 = "local.dhcp6" Mcast 200/200 "DHCPv6 (RFC 8415)" { Udp 546 547 }
    PTP_EVENT = "l2.ptp-event" Link 4000/2000 "PTP event message (IEEE 1588)" { Udp 319 }
    PTP_GENERAL = "l2.ptp-general" Mcast 2000/1000 "PTP general message (IEEE 1588)" { Udp 320 }
    IGMP_QUERY = "ip4.igmp-query" Mcast 300/300 "IGMP query (RFC 3376)" { Igmp 0x11 }
    IGMP_REPORT = "ip4.igmp-report" Mcast 300/300 "IGMP report, any version" { Igmp 0x12 0x16 0x22 }
    IGMP_LEAVE = "ip4.igmp-leave" Mcast 300/300 "IGMP leave (RFC 2236)" { Igmp 0x17 }
    SOLICITATION = "nd.solicitation" Neigh 1000/512 "neighbour solicitation (RFC 4861)" copy { Icmp6 135 }
    ADVERTISEMENT = "nd.advertisement" Neigh 1000/512 "neighbour advertisement (RFC 4861)" copy { Icmp6 136 }
    ROUTER_SOLICITATION = "nd.router-solicitation" Neigh 200/100 "router solicitation (RFC 4861)" { Icmp6 133 }
    ROUTER_ADVERTISEMENT = "nd.router-advertisement" Neigh 200/100 "router advertisement (RFC 4861)" { Icmp6 134 }
    ND_REDIRECT = "nd.redirect" Neigh 50/32 "neighbour discovery redirect (RFC 4861)" { Icmp6 137 }
    MLD_QUERY = "ip6.mld-query" Mcast 300/300 "MLD query (RFC 3810)" { Icmp6 130 }
    MLD_REPORT = "ip6.mld-report" Mcast 300/300 "MLD report (RFC 2710, RFC 3810)" { Icmp6 131 143 }
    MLD_DONE = "ip6.mld-done" Mcast 300/300 "MLD done (RFC 2710)" { Icmp6 132 }
}

/// PIM to one of our own addresses: a register (RFC 7761 §4.4).
pub static PIM_REGISTER: Reason =
    Reason::new("local.pim-register", Class::Mcast, "PIM register to us (RFC 7761)").limit(1000, 500);

/// What is no IKE to the port that IKE shares with ESP (RFC 3948): ESP in UDP, or what keeps a translation alive.
pub static ESP_IN_UDP: Reason =
    Reason::new("local.esp-in-udp", Class::Mgmt, "to UDP port 4500, and no IKE (RFC 3948)").limit(1000, 400);
/// The port.
pub const IPSEC_NAT: u16 = 4500;

/// What is behind the IP headers, as far as listeners tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// ICMP.
    Icmp4,
    /// ICMPv6.
    Icmp6,
    /// IGMP.
    Igmp,
    /// Anything else.
    Other,
}

impl Transport {
    /// In an IPv4 packet.
    pub fn over_ip4(protocol: u8) -> Transport {
        match protocol {
            protocol::UDP => Transport::Udp,
            protocol::TCP => Transport::Tcp,
            protocol::ICMP => Transport::Icmp4,
            protocol::IGMP => Transport::Igmp,
            _ => Transport::Other,
        }
    }

    /// In an IPv6 packet.
    pub fn over_ip6(protocol: u8) -> Transport {
        match protocol {
            protocol::UDP => Transport::Udp,
            protocol::TCP => Transport::Tcp,
            protocol::ICMP6 => Transport::Icmp6,
            _ => Transport::Other,
        }
    }

    /// The shortest header it can have, in bytes.
    fn min_len(self) -> u16 {
        match self {
            Transport::Tcp => 20,
            Transport::Udp | Transport::Igmp => 8,
            Transport::Icmp4 | Transport::Icmp6 => 4,
            Transport::Other => 0,
        }
    }
}

/// The packet ends within its transport header.
#[derive(Debug)]
pub struct Truncated;

/// The reason of the most specific listener: port or type first, then the IP protocol in `packet.meta.protocol`. `payload` is the length of
/// what is behind the IP headers, in bytes.
///
/// # Errors
/// If that is shorter than the transport's header.
pub fn listener(
    claims: &Claims,
    packet: &Packet,
    transport: Transport,
    payload: u16,
) -> Result<Option<u32>, Truncated> {
    if payload < transport.min_len() {
        return Err(Truncated);
    }
    let specific = match transport {
        Transport::Other => None,
        _ => {
            let start = packet.l4::<4>().ok_or(Truncated)?;
            let (source, destination, kind) = (be16(start, 0), be16(start, 2), start[0] as u16);
            match transport {
                Transport::Udp => claims.of(Protocol::Udp).get(destination),
                Transport::Tcp => claims.tcp(source, destination),
                Transport::Icmp4 | Transport::Icmp6 => claims.of(Protocol::Icmp).get(kind),
                Transport::Igmp => claims.of(Protocol::Igmp).get(kind),
                Transport::Other => None,
            }
        }
    };
    Ok(specific.or_else(|| claims.of(Protocol::Ip).get(packet.meta.protocol as u16)))
}

/// Whether that is to the port of IKE and ESP, and is no IKE, which four zero bytes stand before (RFC 3948 §2.2). `payload` as above.
pub fn is_esp_in_udp(packet: &Packet, transport: Transport, payload: u16) -> bool {
    const MARKED: u16 = 12;
    transport == Transport::Udp
        && packet.l4::<4>().is_some_and(|ports| be16(ports, 2) == IPSEC_NAT)
        && (payload < MARKED || packet.l4::<{ MARKED as usize }>().is_some_and(|udp| udp[8..] != [0; 4]))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::testing::Router;

    #[test]
    fn no_key_has_two_listeners_and_each_finds_its_own() {
        let router = Router::new();
        let mut keys = HashSet::new();
        for (family, protocol, key, reason) in LISTENERS {
            let family = family.unwrap_or(Family::Ip4);
            assert!(
                keys.insert((family, protocol, key)),
                "{protocol:?} {key} belongs to {} too",
                reason.name
            );
            let id = router.plan.registry.id_of(reason);
            let claims = router.tables.punt.local(family);
            assert_eq!(claims.of(*protocol).get(*key), Some(id), "{}", reason.name);
        }
        assert_eq!(router.tables.punt.local4.of(Protocol::Udp).get(9999), None);
    }

    #[test]
    fn every_reason_has_a_listener() {
        for reason in BUILT_IN {
            assert!(
                LISTENERS.iter().any(|(_, _, _, listened)| listened.name == reason.name),
                "{}",
                reason.name
            );
        }
    }
}

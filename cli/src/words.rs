//! Arguments in iproute2's style: one subject, and keywords with a value each, in any order.

use std::net::IpAddr;
use std::str::FromStr;

use punt::control::types::{Address, Neighbor, NeighborKey, Route, RouteAction, RouteKey};

/// What a command takes.
struct Grammar {
    /// What stands without a keyword.
    subject: &'static str,
    /// Keywords, each with what its value is.
    keywords: &'static [(&'static str, &'static str)],
    /// Words that stand for themselves; at most one is given.
    flags: &'static [&'static str],
}

/// What was given, in the order of the grammar.
struct Parsed<'a> {
    subject: &'a str,
    values: Vec<Option<&'a str>>,
    flag: Option<&'a str>,
}

impl Grammar {
    fn parse<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Parsed<'a>, String> {
        let mut subject = None;
        let mut values = vec![None; self.keywords.len()];
        let mut flag = None;
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if let Some(index) = self.keywords.iter().position(|(keyword, _)| *keyword == word) {
                let wanted = self.keywords[index].1;
                let value = words.next().ok_or_else(|| format!("{wanted} is missing after {word:?}"))?;
                if values[index].replace(value).is_some() {
                    return Err(format!("{word:?} is given twice"));
                }
            } else if self.flags.contains(&word) {
                if let Some(before) = flag.replace(word) {
                    return Err(format!("{before:?} and {word:?} exclude each other"));
                }
            } else if subject.is_none() {
                subject = Some(word);
            } else {
                return Err(format!("{word:?} is not understood; {}", self.choice()));
            }
        }
        let subject = subject.ok_or_else(|| format!("{} is missing", self.subject))?;
        Ok(Parsed { subject, values, flag })
    }

    /// What may stand after the subject.
    fn choice(&self) -> String {
        let keywords = self.keywords.iter().map(|(keyword, wanted)| format!("\"{keyword} {wanted}\""));
        let flags = self.flags.iter().map(|flag| format!("\"{flag}\""));
        format!("write {} and then {}", self.subject, keywords.chain(flags).collect::<Vec<_>>().join(", "))
    }
}

impl<'a> Parsed<'a> {
    /// The value of a keyword that may not be left out.
    fn required(&self, grammar: &Grammar, index: usize) -> Result<&'a str, String> {
        let (keyword, wanted) = grammar.keywords[index];
        self.values[index].ok_or_else(|| format!("\"{keyword} {wanted}\" is missing"))
    }
}

const ROUTE: Grammar = Grammar {
    subject: "PREFIX",
    keywords: &[("via", "ADDR[,ADDR…]"), ("dev", "IF"), ("metric", "N")],
    flags: &["blackhole", "unreachable", "punt"],
};
const ROUTE_KEY: Grammar = Grammar { subject: "PREFIX", keywords: &[("metric", "N")], flags: &[] };
const ADDRESS: Grammar = Grammar { subject: "CIDR", keywords: &[("dev", "IF")], flags: &[] };
const NEIGHBOR: Grammar =
    Grammar { subject: "ADDR", keywords: &[("lladdr", "MAC"), ("dev", "IF")], flags: &[] };
const NEIGHBOR_KEY: Grammar = Grammar { subject: "ADDR", keywords: &[("dev", "IF")], flags: &[] };

/// `PREFIX via ADDR[,ADDR…] [dev IF] [metric N]` or `PREFIX blackhole|unreachable|punt [metric N]`.
///
/// # Errors
/// One sentence that names the word.
pub fn route<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Route, String> {
    let parsed = ROUTE.parse(words)?;
    let action = match parsed.flag {
        Some("blackhole") => Some(RouteAction::Blackhole),
        Some("unreachable") => Some(RouteAction::Unreachable),
        Some("punt") => Some(RouteAction::Punt),
        _ => None,
    };
    let route = Route {
        prefix: value(parsed.subject)?,
        via: parsed.values[0].map_or(Ok(Vec::new()), |hops| hops.split(',').map(address).collect())?,
        dev: parsed.values[1].map(String::from),
        metric: parsed.values[2].map(metric).transpose()?,
        action,
    };
    route.check()?;
    Ok(route)
}

/// `PREFIX [metric N]`.
///
/// # Errors
/// One sentence that names the word.
pub fn route_key<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<RouteKey, String> {
    let parsed = ROUTE_KEY.parse(words)?;
    Ok(RouteKey { prefix: value(parsed.subject)?, metric: parsed.values[0].map(metric).transpose()? })
}

/// `CIDR dev IF`.
///
/// # Errors
/// One sentence that names the word.
pub fn interface_address<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Address, String> {
    let parsed = ADDRESS.parse(words)?;
    let interface = parsed.required(&ADDRESS, 0)?;
    Ok(Address { address: value(parsed.subject)?, interface: interface.into() })
}

/// `ADDR lladdr MAC dev IF`.
///
/// # Errors
/// One sentence that names the word.
pub fn neighbor<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Neighbor, String> {
    let parsed = NEIGHBOR.parse(words)?;
    let neighbor = Neighbor {
        address: address(parsed.subject)?,
        mac: value(parsed.required(&NEIGHBOR, 0)?)?,
        interface: parsed.required(&NEIGHBOR, 1)?.into(),
    };
    neighbor.check()?;
    Ok(neighbor)
}

/// `ADDR dev IF`.
///
/// # Errors
/// One sentence that names the word.
pub fn neighbor_key<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<NeighborKey, String> {
    let parsed = NEIGHBOR_KEY.parse(words)?;
    let interface = parsed.required(&NEIGHBOR_KEY, 0)?;
    Ok(NeighborKey { address: address(parsed.subject)?, interface: interface.into() })
}

/// A value whose error says all.
fn value<T: FromStr<Err: ToString>>(word: &str) -> Result<T, String> {
    word.parse().map_err(|error: T::Err| error.to_string())
}

fn address(word: &str) -> Result<IpAddr, String> {
    word.parse().map_err(|_| format!("{word:?} is no address; write one as 10.0.1.2 or fd00::2"))
}

fn metric(word: &str) -> Result<u32, String> {
    word.parse().map_err(|_| format!("{word:?} is no metric; write a number from 0 to {}", u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> impl Iterator<Item = &str> {
        line.split_whitespace()
    }

    #[test]
    fn a_route_reads_in_any_order() {
        let expected = "10.2.0.0/16 via 10.0.1.2,10.0.1.3 dev wan metric 7";
        for line in [
            expected,
            "10.2.0.0/16 metric 7 dev wan via 10.0.1.2,10.0.1.3",
            "via 10.0.1.2,10.0.1.3 10.2.0.0/16 dev wan metric 7",
            "dev wan metric 7 via 10.0.1.2,10.0.1.3 10.2.0.0/16",
        ] {
            assert_eq!(route(words(line)).map(|route| route.to_string()), Ok(expected.into()), "{line}");
        }
        for line in ["10.9.0.0/16 blackhole", "default6 punt metric 3", "default via 10.0.1.2"] {
            assert_eq!(route(words(line)).map(|route| route.to_string()), Ok(line.into()));
        }
        assert_eq!(
            route(words("unreachable 10.9.0.0/16")).map(|route| route.to_string()),
            Ok("10.9.0.0/16 unreachable".into())
        );
        let odd = route(words("default via 10.0.1.2 dev via")).unwrap();
        assert_eq!(odd.dev.as_deref(), Some("via"));
    }

    #[test]
    fn a_route_that_is_wrong_names_the_word() {
        for (line, fault) in [
            ("", "PREFIX is missing"),
            ("via 10.0.1.2", "PREFIX is missing"),
            ("10.2.0.0/16 via", "ADDR[,ADDR…] is missing after \"via\""),
            ("10.2.0.0/16 via 10.0.1.2 via 10.0.1.3", "\"via\" is given twice"),
            ("10.2.0.0/16 blackhole punt", "\"blackhole\" and \"punt\" exclude each other"),
            (
                "10.2.0.0/16 gw 10.0.1.2",
                "\"gw\" is not understood; write PREFIX and then \"via ADDR[,ADDR…]\", \"dev IF\", \"metric N\", \
                 \"blackhole\", \"unreachable\", \"punt\"",
            ),
            ("10.2.0.0/16 via 10.0.1.2,", "\"\" is no address; write one as 10.0.1.2 or fd00::2"),
            ("10.2.0.0/16 via gw", "\"gw\" is no address; write one as 10.0.1.2 or fd00::2"),
            ("10.2.0.1/16 via 10.0.1.2", "10.2.0.1/16 has bits set beyond its length; write 10.2.0.0/16"),
            (
                "10.2.0.0/16 via 10.0.1.2 metric -1",
                "\"-1\" is no metric; write a number from 0 to 4294967295",
            ),
            (
                "10.2.0.0/16 dev wan",
                "10.2.0.0/16 leads nowhere; give it a next hop (via) or an action: blackhole, unreachable, punt",
            ),
            ("10.2.0.0/16 via fd00::2", "10.2.0.0/16 cannot go via fd00::2: the address families differ"),
        ] {
            assert_eq!(route(words(line)).unwrap_err(), fault, "{line}");
        }
    }

    #[test]
    fn a_neighbour_has_all_three() {
        let read = neighbor(words("10.0.1.2 dev wan lladdr 02:00:00:00:00:02")).unwrap();
        assert_eq!(
            (read.address.to_string(), read.mac.to_string()),
            ("10.0.1.2".into(), "02:00:00:00:00:02".into())
        );
        assert_eq!(neighbor(words("10.0.1.2 dev wan")).unwrap_err(), "\"lladdr MAC\" is missing");
        assert_eq!(
            neighbor(words("10.0.1.2 lladdr 02:00:00:00:00:02")).unwrap_err(),
            "\"dev IF\" is missing"
        );
        let fault = neighbor(words("10.0.1.2 dev wan lladdr 02:00")).unwrap_err();
        assert!(fault.starts_with("\"02:00\" is no MAC address: 2 bytes;"), "{fault}");
        assert_eq!(neighbor_key(words("fd00::2 dev wan")).unwrap().interface, "wan");
        assert_eq!(
            neighbor_key(words("fd00::2/64 dev wan")).unwrap_err(),
            "\"fd00::2/64\" is no address; write one as 10.0.1.2 or fd00::2"
        );
    }

    #[test]
    fn an_address_is_given_to_an_interface() {
        let read = interface_address(words("10.0.0.1/24 dev lan")).unwrap();
        assert_eq!((read.address.to_string().as_str(), read.interface.as_str()), ("10.0.0.1/24", "lan"));
        assert_eq!(interface_address(words("10.0.0.1/24")).unwrap_err(), "\"dev IF\" is missing");
        assert_eq!(
            interface_address(words("10.0.0.1/24 lan")).unwrap_err(),
            "\"lan\" is not understood; write CIDR and then \"dev IF\""
        );
        assert_eq!(route_key(words("10.2.0.0/16 metric 7")).unwrap().metric, Some(7));
    }

    proptest! {
        #[test]
        fn nothing_panics(
            line in prop::collection::vec(
                prop_oneof!["via|dev|metric|punt|lladdr", "[0-9a-f:./,]{0,12}", "\\PC{0,6}"], 0..8)
        ) {
            let words = || line.iter().map(String::as_str);
            let _ = (route(words()), route_key(words()), interface_address(words()));
            let _ = (neighbor(words()), neighbor_key(words()));
        }

        #[test]
        fn what_is_written_reads_back(
            bits: u32, length in 0u8..=32, hops in prop::collection::btree_set(0x0a00_0000u32..0x0aff_ffff, 1..5),
            dev in prop::option::of("[a-z]{1,8}"), metric: Option<u32>,
        ) {
            let net = punt::Prefix::new(std::net::Ipv4Addr::from(bits & (u64::MAX << (32 - length)) as u32).into(), length);
            let via = hops.into_iter().map(|hop| std::net::Ipv4Addr::from(hop).into()).collect();
            let written = Route { prefix: net.unwrap(), via, dev, metric, action: None };
            let line = written.to_string();
            prop_assert_eq!(route(line.split(' ')), Ok(written));
        }
    }
}

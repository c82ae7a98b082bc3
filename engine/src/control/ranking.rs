//! The order of `stats.sources`, and where in it a page ends.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use punt::control::types::SourceRow;

/// Where a source stands: who sends most comes first. Others may come and go between two pages; one that sends more or less meanwhile has
/// another place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pps: Reverse<u64>,
    packets: Reverse<u64>,
    /// Reason, interface, and prefix or MAC.
    who: String,
}

impl Rank {
    pub fn of(row: &SourceRow) -> Rank {
        let SourceRow { reason, interface, source, mac, pps, packets, .. } = row;
        let source = source.map_or(String::new(), |source| source.to_string());
        let mac = mac.map_or(String::new(), |mac| mac.to_string());
        Rank {
            pps: Reverse(*pps),
            packets: Reverse(*packets),
            who: format!("{reason} {interface} {source}{mac}"),
        }
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.pps.0, self.packets.0, self.who)
    }
}

impl FromStr for Rank {
    type Err = ();

    fn from_str(text: &str) -> Result<Rank, ()> {
        let mut words = text.splitn(3, ' ');
        let mut number = || words.next()?.parse().ok().map(Reverse);
        let (pps, packets) = (number().ok_or(())?, number().ok_or(())?);
        Ok(Rank { pps, packets, who: words.next().ok_or(())?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str, pps: u64) -> SourceRow {
        let row = serde_json::json!({
            "reason": "l2.arp-request", "interface": "lan", "source": address, "pps": pps, "packets": 9, "refused": 0
        });
        serde_json::from_value(row).expect("a row")
    }

    #[test]
    fn who_sends_most_is_first_and_a_page_goes_on_behind_its_last_row_whoever_came_or_went() {
        let rows = [("10.0.0.3/32", 70), ("10.0.0.1/32", 7), ("10.0.0.2/32", 7), ("10.0.0.9/32", 0)];
        let ranks: Vec<Rank> = rows.iter().map(|(address, pps)| Rank::of(&source(address, *pps))).collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
        for rank in &ranks {
            assert_eq!(rank.to_string().parse::<Rank>().as_ref(), Ok(rank));
        }
        // The last of the page before has gone, another has come first.
        let last: Rank = ranks[1].to_string().parse().expect("a cursor");
        let now = [("10.0.0.77/32", 900), ("10.0.0.3/32", 70), ("10.0.0.2/32", 7), ("10.0.0.9/32", 0)];
        let rest: Vec<&str> = now
            .iter()
            .filter(|(address, pps)| Rank::of(&source(address, *pps)) > last)
            .map(|(address, _)| *address)
            .collect();
        assert_eq!(rest, ["10.0.0.2/32", "10.0.0.9/32"]);
        for text in ["", "7", "7 9", "x 9 a", "-1 9 a"] {
            assert_eq!(text.parse::<Rank>(), Err(()), "{text}");
        }
    }
}

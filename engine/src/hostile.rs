//! What must hold whatever somebody sends: the bodies of the fuzz targets, which property tests run, too.

use std::cell::RefCell;

use crate::config::Config;
use crate::testing::Whole;

/// A configuration file: it is read, or every fault of it is told.
///
/// # Panics
/// If that is not so.
pub fn configuration(text: &str) {
    if let Err(errors) = Config::parse(text, "fuzzed.toml") {
        assert!(!errors.is_empty(), "refused without a word");
        assert!(errors.iter().all(|error| !error.to_string().trim().is_empty()), "{errors:?}");
    }
}

/// A burst of frames, each behind its length in two bytes: every one ends at one edge of the graph, and the books balance.
///
/// # Panics
/// If that is not so.
pub fn burst(mut bytes: &[u8]) {
    thread_local! {
        static WHOLE: RefCell<Whole> = RefCell::new(Whole::new());
    }
    let mut frames = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<2>().filter(|_| frames.len() < Whole::BURST) {
        let (frame, rest) = rest.split_at(rest.len().min(u16::from_le_bytes(*len) as usize));
        frames.push(dpdk_sys::Packet::from_bytes(frame));
        bytes = rest;
    }
    WHOLE.with_borrow_mut(|whole| {
        whole.pass(frames);
        whole.assert_balanced();
    });
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    const LINES: [&str; 24] = [
        "[interface.lan]",
        "[[interface]]",
        "port = \"net_null0\"",
        "addresses = [\"10.0.0.1/24\", \"fd00::1/64\"]",
        "mtu = 1500",
        "mac = \"02:00:00:00:00:01\"",
        "[interface.\"lan.100\"]",
        "parent = \"lan\"",
        "vlan = 100",
        "[[neighbor]]",
        "address = \"10.0.0.2\"",
        "interface = \"lan\"",
        "[[route]]",
        "prefix = \"default\"",
        "via = [\"10.0.0.2\"]",
        "action = \"punt\"",
        "[[sink]]",
        "name = \"a\"",
        "target = \"null\"",
        "[[register]]",
        "match = \"udp:3784\"",
        "sink = \"a\"",
        "[reason.\"ip4.ttl-expired\"]",
        "rate = 300",
    ];

    fn file() -> impl Strategy<Value = String> {
        let wrong = proptest::option::of((any::<Index>(), any::<char>()));
        (vec(select(LINES.to_vec()), 0..16), wrong).prop_map(|(lines, wrong)| {
            let mut text: Vec<char> = lines.join("\n").chars().collect();
            if let Some((at, letter)) = wrong.filter(|_| !text.is_empty()) {
                let at = at.index(text.len());
                text[at] = letter;
            }
            text.into_iter().collect()
        })
    }

    proptest! {
        #[test]
        fn configurations_are_read_or_refused(text in prop_oneof![file(), ".{0,80}"]) {
            configuration(&text);
        }

        #[test]
        fn bursts_end_at_edges(bytes in vec(any::<u8>(), 0..600)) {
            burst(&bytes);
        }
    }
}

//! What must hold whatever somebody sends: the bodies of the fuzz targets, which property tests run, too.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::control::types::{
    ClassSet, PassiveSet, PolicerSet, ReasonSet, Register, SessionResume, SinkAdd, SinkKey, Unregister,
};
use crate::control::{Request, RpcError, many};
use crate::inject;
use crate::record::{self, RECEIVE, ROUTE4, ROUTE6, SEND};
use crate::target::Header;
use crate::{InterfaceAddress, Mac, Match, Prefix, Rate, Target};

/// A word of a command: what is understood is written so that it is understood as the same again, and what is not is one sentence.
///
/// # Panics
/// If that is not so.
pub fn word(text: &str) {
    fn check<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
        match text.parse::<T>() {
            Ok(it) => {
                let written = it.to_string();
                let again = written.parse::<T>().map_err(|error| error.to_string());
                assert_eq!(again, Ok(it), "{text:?} is written as {written:?}");
            }
            Err(error) => assert!(!error.to_string().trim().is_empty(), "{text:?} is refused without a word"),
        }
    }
    check::<Match>(text);
    check::<Target>(text);
    check::<Prefix>(text);
    check::<InterfaceAddress>(text);
    check::<Mac>(text);
    check::<Rate>(text);
}

/// A line on the control socket: it is a request, or it gets one line of JSON as an answer. Its parameters are read as those of all methods.
///
/// # Panics
/// If that is not so.
pub fn line(bytes: &[u8]) {
    let request = match Request::parse(bytes) {
        Ok(request) => request,
        Err(answer) => {
            let line = answer.to_line();
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
            let answer: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
            assert!(answer["error"]["message"].as_str().is_some_and(|it| !it.is_empty()), "{answer}");
            return;
        }
    };
    let params = request.params.as_deref();
    fn said<T>(read: Result<T, RpcError>) -> Option<T> {
        read.inspect_err(|error| assert!(!error.message.is_empty())).ok()
    }
    said(many::<SinkAdd>(params));
    said(many::<SinkKey>(params));
    said(many::<Unregister>(params));
    said(many::<ReasonSet>(params));
    said(many::<ClassSet>(params));
    said(many::<PolicerSet>(params));
    said(many::<SessionResume>(params));
    said(many::<Register>(params)).into_iter().flatten().for_each(|it| _ = it.check());
    said(many::<PassiveSet>(params)).into_iter().flatten().for_each(|it| _ = it.check());
}

/// A datagram to inject, with either header: what a worker gets of it has an action that exists, is within the MTU and is part of what came.
///
/// # Panics
/// If that is not so.
pub fn datagram(bytes: &[u8]) {
    const MTU: usize = 1500;
    if let Ok((header, frame)) = record::Header::read(bytes) {
        assert_eq!(header.captured as usize, frame.len());
        assert_eq!(record::Header::from_words(&header.words()), header);
    }
    for kind in [Header::Punt, Header::Vpp] {
        let Some((header, packet)) = inject::read(bytes, kind) else { continue };
        let (all, part) = (bytes.as_ptr_range(), packet.as_ptr_range());
        assert!(all.start <= part.start && part.end <= all.end);
        assert_eq!(header.captured as usize, packet.len());
        if inject::fits(&header, packet, MTU) {
            let longest = match header.action {
                SEND | RECEIVE => MTU + 14 + 8,
                ROUTE4 | ROUTE6 => MTU,
                other => panic!("action {other}"),
            };
            assert!((14..=longest).contains(&packet.len()), "{} bytes", packet.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const WORDS: [&str; 26] = [
        "udp:",
        "tcp4:",
        "/any",
        "-",
        "proto:",
        "ospf",
        "icmp6:",
        "ethertype:",
        "0x88cc",
        "llc:",
        "mac:",
        "01:80:c2:00:00:02",
        "reason:",
        "ip4.*",
        "unix:",
        "pcapng:",
        "?size=64M",
        "&files=4",
        "?header=vpp",
        "@",
        "10.0.0.0/8",
        "fd00::1/64",
        "unlimited",
        "65536",
        "null",
        "shm:/x",
    ];

    fn nearly() -> impl Strategy<Value = String> {
        let part = prop_oneof![4 => select(WORDS.to_vec()).prop_map(str::to_owned), 1 => any::<u32>().prop_map(|it| it.to_string()), 1 => ".{0,3}"];
        proptest::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
    }

    fn request() -> impl Strategy<Value = Vec<u8>> {
        let keys = [
            "name", "match", "sink", "target", "rate", "burst", "life", "family", "cap", "what", "type",
            "id", "token",
        ];
        let value = prop_oneof![
            nearly().prop_map(serde_json::Value::from),
            any::<u64>().prop_map(serde_json::Value::from),
            any::<bool>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
        ];
        let object = proptest::collection::btree_map(select(keys.to_vec()), value, 0..6);
        (object, any::<bool>(), proptest::option::of((any::<prop::sample::Index>(), any::<u8>()))).prop_map(
            |(object, several, wrong)| {
                let params =
                    if several { serde_json::json!([object, object]) } else { serde_json::json!(object) };
                let request =
                    serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "register", "params": params});
                let mut bytes = request.to_string().into_bytes();
                if let Some((at, byte)) = wrong {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                bytes
            },
        )
    }

    fn injected() -> impl Strategy<Value = Vec<u8>> {
        let header = (0_u8..6, any::<u32>(), prop_oneof![Just(0_u16), Just(14), Just(0xffff), any::<u16>()]);
        let packet = proptest::collection::vec(prop_oneof![Just(0x45_u8), Just(0x60), any::<u8>()], 0..1600);
        (header, packet, proptest::option::of((0_usize..64, any::<u8>()))).prop_map(
            |((action, interface, l3), packet, wrong)| {
                let captured = packet.len() as u32;
                let header = record::Header {
                    action,
                    interface,
                    l3,
                    captured,
                    original: captured,
                    ..Default::default()
                };
                let mut bytes = [&header.bytes()[..], &packet].concat();
                if let Some((at, byte)) = wrong {
                    bytes[at] = byte;
                }
                bytes
            },
        )
    }

    proptest! {
        #[test]
        fn words_are_understood_or_refused(text in prop_oneof![nearly(), ".{0,40}"]) {
            word(&text);
        }

        #[test]
        fn lines_are_requests_or_answered(bytes in prop_oneof![request(), proptest::collection::vec(any::<u8>(), 0..200)]) {
            line(&bytes);
        }

        #[test]
        fn datagrams_are_good_or_refused(bytes in prop_oneof![injected(), proptest::collection::vec(any::<u8>(), 0..200)]) {
            datagram(&bytes);
        }
    }
}

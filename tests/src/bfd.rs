//! The other end of a BFD session (RFC 5880), which lives behind a sink: it hears what is punted and answers by injecting.

use std::time::Duration;

use etherparse::PacketBuilder;
use punt::client::Client;
use punt::record::{Header, SEND};

/// What a session is, as its packets say it (RFC 5880 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody was heard.
    Down = 1,
    /// We hear the other side.
    Init = 2,
    /// Both hear each other.
    Up = 3,
}

/// Our number for the session.
const DISCRIMINATOR: u32 = 0x70_75_6e_74;
/// How often we send when it is up, and want to hear.
const INTERVAL: Duration = Duration::from_millis(200);
/// Intervals of silence after which the other side gives us up.
const MULTIPLIER: u8 = 10;
/// Where our packets come from (RFC 5881 §4).
const SOURCE_PORT: u16 = 49_152;
/// The port of single-hop control packets.
pub const PORT: u16 = 3784;
/// A question that wants an answer with [`FINAL`].
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;

/// One session over IPv4. It sends one packet for each that it hears, which is as often as the other side does.
#[derive(Debug)]
pub struct Responder {
    state: State,
}

impl Default for Responder {
    fn default() -> Responder {
        Responder { state: State::Down }
    }
}

impl Responder {
    /// What the session is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Hears what comes within a moment and answers it; returns the records.
    ///
    /// # Panics
    /// If a record is no control packet of one hop, or the engine takes no answer.
    pub fn turn(&mut self, client: &mut Client) -> Vec<(Header, Vec<u8>)> {
        client.set_timeout(Some(Duration::from_millis(100))).expect("it is not zero");
        let heard: Vec<_> = match client.receive() {
            Ok(records) => records.map(|record| (record.header, record.frame.to_vec())).collect(),
            Err(_) => Vec::new(),
        };
        for (header, frame) in &heard {
            let answer = self.answer(frame);
            client.inject(SEND, header.interface, &answer).expect("the engine takes it");
        }
        heard
    }

    /// The frame that answers this one.
    fn answer(&mut self, frame: &[u8]) -> Vec<u8> {
        let (ip, bfd) = (&frame[14..34], &frame[42..66]);
        assert_eq!((ip[0], ip[8]), (0x45, 255), "TTL 255: it came over one hop (RFC 5881 §5)");
        assert_eq!((bfd[0] >> 5, bfd[3]), (1, 24), "version 1, 24 bytes: {bfd:x?}");
        let theirs = bfd[1] >> 6;
        self.state = match (self.state, theirs) {
            (_, 0) | (State::Up, 1) => State::Down,
            (State::Down, 1) => State::Init,
            (State::Down, 2) | (State::Init, 2 | 3) => State::Up,
            (state, _) => state,
        };
        let last = if bfd[1] & POLL != 0 { FINAL } else { 0 };
        let interval = (INTERVAL.as_micros() as u32).to_be_bytes();
        let mut answer = vec![1 << 5, (self.state as u8) << 6 | last, MULTIPLIER, 24];
        answer.extend(DISCRIMINATOR.to_be_bytes());
        answer.extend(&bfd[4..8]);
        answer.extend([interval, interval, [0; 4]].concat());
        let six = |at: usize| frame[at..at + 6].try_into().expect("six bytes");
        let four = |at: usize| ip[at..at + 4].try_into().expect("four bytes");
        let builder = PacketBuilder::ethernet2(six(0), six(6)).ipv4(four(16), four(12), 255);
        let mut bytes = Vec::new();
        builder.udp(SOURCE_PORT, PORT).write(&mut bytes, &answer).expect("a vector takes everything");
        bytes
    }
}

//! Inject: what a client sends back, on its way to a worker.
//!
//! The sink's thread reads the client's datagrams from a socket of the engine, or its records from the stream of a shared-memory client,
//! judges them, and writes the good ones into a ring whose consumer is one worker. What a worker takes from there has a known interface, a length that fits and an action that exists.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::lane::Count;
use crate::record::{self, HEADER, NO_OFFSET, RECEIVE, ROUTE4, ROUTE6, SEND};
use crate::ring::Ring;
use crate::routed::{is_ip4, is_ip6, without_padding};
use crate::sink::Facts;
use crate::socket;
use crate::target::Header;

/// Datagrams taken at once, before it is output's turn again.
pub(crate) const AT_ONCE: usize = 64;
/// Packets per second that one client may inject.
const RATE: u32 = 100_000;
/// Packets that it may inject at once.
const BURST: u32 = 4_096;
/// No frame is longer; a longer datagram is cut, and then malformed.
pub(crate) const FRAME: usize = 65_535;

const ETHERNET: usize = 14;
const TAG: usize = 4;

/// What a sink's thread needs to take what its client injects.
pub struct Inject {
    /// Where the client sends to: an absolute path, `@` and an abstract name, or the name of a TAP interface.
    pub address: String,
    /// Where good records go. The thread is the producer; one worker is the consumer.
    pub ring: Arc<Ring>,
    /// Set when there is something new in the ring; the worker clears it before it reads.
    pub pending: Arc<AtomicBool>,
}

/// What became of a client's datagrams. Written by the sink's thread.
#[derive(Default)]
pub struct Injected {
    /// Handed to the worker.
    pub injected: Count,
    /// Malformed, for an unknown interface, too long, too many, or more than the worker took.
    pub inject_errors: Count,
    /// From another address than the client's; ignored.
    pub foreign: Count,
}

/// Who says which records are good, and hands those over.
pub(crate) struct Judge {
    inject: Inject,
    header: Header,
    counts: Arc<Injected>,
    bucket: Bucket,
}

impl Judge {
    /// For a client that writes records with `header`.
    pub fn new(inject: Inject, header: Header) -> Judge {
        Judge { inject, header, counts: Arc::default(), bucket: Bucket::new(RATE, BURST) }
    }

    /// Where the client sends to.
    pub fn address(&self) -> &str {
        &self.inject.address
    }

    /// The books.
    pub fn counts(&self) -> &Arc<Injected> {
        &self.counts
    }

    /// Judges what a client sent, hands it to the worker if it is good, and counts it.
    pub fn take(&mut self, record: &[u8], now: Instant, facts: &dyn Facts) {
        let good = self.hand_over(record, now, facts).is_some();
        if good { &self.counts.injected } else { &self.counts.inject_errors }.add(1);
    }

    fn hand_over(&mut self, record: &[u8], now: Instant, facts: &dyn Facts) -> Option<()> {
        let (header, packet) = read(record, self.header)?;
        let mtu = facts.interface(header.interface)?.mtu as usize;
        (fits(&header, packet, mtu) && self.bucket.take(now)).then_some(())?;
        self.inject.ring.write(&header, [packet]).then_some(())
    }

    /// Lets the worker see what was handed over.
    pub fn publish(&self) {
        if self.inject.ring.publish() {
            self.inject.pending.store(true, Ordering::Release);
        }
    }
}

/// The thread's end of a socket for datagrams.
pub(crate) struct Injector {
    judge: Judge,
    _place: socket::Place,
    socket: UnixDatagram,
    client: SocketAddr,
    datagram: Vec<u8>,
}

impl Injector {
    /// Binds the socket for the client at `client`, which writes records with `header`.
    pub fn open(inject: Inject, client: &str, header: Header) -> io::Result<Injector> {
        let (place, socket) = socket::bind(&inject.address, 0o660)?;
        socket.set_nonblocking(true)?;
        Ok(Injector {
            client: socket::address(client)?,
            judge: Judge::new(inject, header),
            _place: place,
            socket,
            datagram: vec![0; HEADER + FRAME],
        })
    }

    /// The socket.
    pub fn socket(&self) -> &UnixDatagram {
        &self.socket
    }

    /// What becomes readable when there is something to take.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Who judges what comes.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Takes what is there, up to a bound. Returns whether there may be more.
    pub fn serve(&mut self, now: Instant, facts: &dyn Facts) -> bool {
        let mut taken = 0;
        while taken < AT_ONCE
            && let Ok((len, peer)) = self.socket.recv_from(&mut self.datagram)
        {
            taken += 1;
            if socket::is_at(&peer, &self.client) {
                self.judge.take(&self.datagram[..len], now, facts);
            } else {
                self.judge.counts.foreign.add(1);
            }
        }
        self.judge.publish();
        taken == AT_ONCE
    }
}

/// What the client wants, and the packet: from the Ethernet header on, or from the IP header on if it is to be routed.
pub(crate) fn read(datagram: &[u8], header: Header) -> Option<(record::Header, &[u8])> {
    let (mut header, mut packet) = match header {
        Header::Punt => record::Header::read(datagram).ok()?,
        Header::Vpp => {
            let (interface, rest) = datagram.split_first_chunk::<4>()?;
            let (action, frame) = rest.split_first_chunk::<4>()?;
            let action = u32::from_ne_bytes(*action);
            let known = [SEND, ROUTE4, ROUTE6].into_iter().find(|known| *known as u32 == action)?;
            let interface = u32::from_ne_bytes(*interface);
            (record::Header { interface, action: known, l3: 0, ..record::Header::default() }, frame)
        }
    };
    if matches!(header.action, ROUTE4 | ROUTE6) {
        // A record that is sent back may still have its Ethernet header.
        let skip = if header.l3 == NO_OFFSET { 0 } else { header.l3 as usize };
        packet = packet.get(skip..)?;
        if skip > 0 {
            packet = without_padding(packet);
        }
        (header.l3, header.l4) = (0, NO_OFFSET);
    }
    header.captured = packet.len() as u32;
    header.original = header.captured;
    Some((header, packet))
}

/// Whether the packet is what its action says, and short enough for the interface.
pub(crate) fn fits(header: &record::Header, packet: &[u8], mtu: usize) -> bool {
    match header.action {
        SEND | RECEIVE => packet.len() >= ETHERNET && packet.len() <= mtu + ETHERNET + tags(packet) * TAG,
        ROUTE4 => packet.len() <= mtu && is_ip4(packet),
        ROUTE6 => packet.len() <= mtu && is_ip6(packet),
        _ => false,
    }
}

/// How many VLAN tags the frame has, up to two.
fn tags(frame: &[u8]) -> usize {
    let is_tag = |at: &usize| matches!(frame.get(*at..*at + 2), Some([0x81, 0x00] | [0x88, 0xa8]));
    [12, 16].iter().take_while(|at| is_tag(at)).count()
}

/// So many packets per second, so many at once; for one thread.
struct Bucket {
    /// Between two packets at the rate.
    interval: Duration,
    /// How far ahead of the rate one may be.
    ahead: Duration,
    /// When the next packet is due at the rate.
    due: Option<Instant>,
}

impl Bucket {
    fn new(rate: u32, burst: u32) -> Bucket {
        let interval = Duration::from_secs(1) / rate;
        Bucket { interval, ahead: interval * burst.saturating_sub(1), due: None }
    }

    fn take(&mut self, now: Instant) -> bool {
        let due = self.due.map_or(now, |due| due.max(now));
        let conforms = due - now <= self.ahead;
        if conforms {
            self.due = Some(due + self.interval);
        }
        conforms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routed::tests::packet as ip;

    fn header(action: u8, captured: usize) -> record::Header {
        record::Header {
            action,
            interface: 3,
            captured: captured as u32,
            l3: NO_OFFSET,
            ..Default::default()
        }
    }

    /// The action, the interface and the packet that a worker would get.
    fn good(datagram: &[u8], kind: Header, mtu: usize) -> Option<(u8, u32, Vec<u8>)> {
        let (header, packet) = read(datagram, kind)?;
        assert_eq!((header.captured, header.original), (packet.len() as u32, packet.len() as u32));
        fits(&header, packet, mtu).then(|| (header.action, header.interface, packet.to_vec()))
    }

    fn punt(header: record::Header, frame: &[u8]) -> Vec<u8> {
        [header.bytes().as_slice(), frame].concat()
    }

    #[test]
    fn each_action_takes_what_it_says_and_no_more_than_the_mtu() {
        let judge = |action: u8, frame: &[u8]| {
            good(&punt(header(action, frame.len()), frame), Header::Punt, 100).is_some()
        };
        let tagged =
            |tags: &[u8], len: usize| [vec![2; 12], tags.to_vec(), vec![0; len - 12 - tags.len()]].concat();
        for action in [SEND, RECEIVE] {
            assert!(!judge(action, &[0; 13]) && judge(action, &[0; 14]));
            assert!(judge(action, &[0; 114]) && !judge(action, &[0; 115]));
            assert!(
                judge(action, &tagged(&[0x81, 0, 0, 7], 118))
                    && !judge(action, &tagged(&[0x81, 0, 0, 7], 119))
            );
            let two = [0x88, 0xa8, 0, 7, 0x81, 0, 0, 9, 0x81, 0];
            assert!(judge(action, &tagged(&two, 122)) && !judge(action, &tagged(&two, 123)));
        }
        assert!(judge(ROUTE4, &ip(4, 20)) && judge(ROUTE4, &ip(4, 100)));
        assert!(
            !judge(ROUTE4, &ip(4, 20)[..19]) && !judge(ROUTE4, &ip(4, 101)) && !judge(ROUTE4, &ip(6, 40))
        );
        assert!(judge(ROUTE6, &ip(6, 40)) && judge(ROUTE6, &ip(6, 100)));
        assert!(
            !judge(ROUTE6, &ip(6, 40)[..39]) && !judge(ROUTE6, &ip(6, 101)) && !judge(ROUTE6, &ip(4, 40))
        );
        assert!(!judge(4, &[0; 60]) && !judge(0xff, &[0; 60]));
    }

    #[test]
    fn a_record_that_is_sent_back_is_routed_from_its_l3_header_on() {
        let frame = [vec![0; 14], ip(4, 31)].concat();
        let header = record::Header { l3: 14, l4: 34, ..header(ROUTE4, frame.len()) };
        assert_eq!(good(&punt(header, &frame), Header::Punt, 1500), Some((ROUTE4, 3, frame[14..].to_vec())));
        let beyond = record::Header { l3: 46, ..header };
        assert_eq!(good(&punt(beyond, &frame), Header::Punt, 1500), None);
        // What the link padded it with is not sent; where there was no link nothing is padding.
        let padded = [&frame[..], &[0; 15]].concat();
        let header = record::Header { captured: padded.len() as u32, ..header };
        assert_eq!(good(&punt(header, &padded), Header::Punt, 1500), Some((ROUTE4, 3, frame[14..].to_vec())));
        let bare = record::Header { captured: 46, l3: NO_OFFSET, ..header };
        assert_eq!(good(&punt(bare, &padded[14..]), Header::Punt, 1500), None);
    }

    #[test]
    fn vpp_clients_are_understood() {
        let datagram = |action: u32, frame: &[u8]| {
            [3u32.to_ne_bytes().as_slice(), &action.to_ne_bytes(), frame].concat()
        };
        let judge = |action, frame: &[u8]| good(&datagram(action, frame), Header::Vpp, 1500);
        let (v4, v6) = (ip(4, 20), ip(6, 40));
        assert_eq!(judge(0, &[1; 60]), Some((SEND, 3, vec![1; 60])));
        assert_eq!(judge(1, &v4), Some((ROUTE4, 3, v4.clone())));
        assert_eq!(judge(2, &v6), Some((ROUTE6, 3, v6.clone())));
        assert_eq!(judge(2, &[0x60; 40]), None);
        assert_eq!(judge(3, &[1; 60]), None, "VPP has no such action");
        assert_eq!(judge(256, &[1; 60]), None);
        assert!((0..VPP).all(|len| good(&datagram(0, &[])[..len], Header::Vpp, 1500).is_none()));
    }

    const VPP: usize = 8;

    /// An engine with an interface of every index.
    struct Lan;

    impl Facts for Lan {
        fn reason(&self, _: u32) -> Option<String> {
            None
        }
        fn interface(&self, _: u32) -> Option<crate::sink::Interface> {
            Some(crate::sink::Interface { name: "lan".into(), mac: [2, 0, 0, 0, 0, 1], mtu: 1500 })
        }
        fn registration(&self, _: u32) -> Option<Arc<crate::sink::Settled>> {
            None
        }
    }

    #[test]
    fn records_pass_at_the_rate_of_a_client_and_each_other_one_is_counted() {
        let (ring, pending) = (Arc::new(Ring::new(4 << 20)), Arc::new(AtomicBool::new(false)));
        let inject = Inject { address: "@x".into(), ring: ring.clone(), pending };
        let mut judge = Judge::new(inject, Header::Punt);
        let good = punt(header(SEND, 60), &[7; 60]);
        let start = Instant::now();
        let mut taken = (0, 0);
        // Microseconds since the start, records that come then, and how many of these pass.
        for (after, records, passes) in [
            (0, 5_000, 4_096),
            (10, 3, 1),
            (1_000, 200, 99),
            (1_000, 1, 0),
            (2_000, 50, 50),
            (60_000_000, 10_000, 4_096),
        ] {
            let now = start + Duration::from_micros(after);
            (0..records).for_each(|_| judge.take(&good, now, &Lan));
            judge.publish();
            let (mut handed, mut record) = (0, Vec::new());
            while ring.read(&mut record) {
                handed += 1;
            }
            taken = (taken.0 + passes, taken.1 + records - passes);
            assert_eq!(handed, passes, "after {after} us");
            let counts = judge.counts();
            assert_eq!((counts.injected.get(), counts.inject_errors.get()), taken, "after {after} us");
        }
        // What is no record costs the client nothing of its rate.
        judge.take(b"nonsense", start + Duration::from_secs(120), &Lan);
        (0..4_096).for_each(|_| judge.take(&good, start + Duration::from_secs(120), &Lan));
        let counts = judge.counts();
        assert_eq!((counts.injected.get(), counts.inject_errors.get()), (taken.0 + 4_096, taken.1 + 1));
    }

    #[test]
    fn the_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1_000, 10);
        let take = |bucket: &mut Bucket, after| {
            let now = start + Duration::from_millis(after);
            (0..100).filter(|_| bucket.take(now)).count()
        };
        assert_eq!(take(&mut bucket, 0), 10);
        assert_eq!(take(&mut bucket, 1), 1);
        assert_eq!(take(&mut bucket, 6), 5);
        assert_eq!(take(&mut bucket, 10_000), 10);
    }
}

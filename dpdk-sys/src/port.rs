//! Ports: whatever a poll-mode driver calls a device, and its queues.
//!
//! A queue belongs to whoever has it, as a rule one lcore. A port is not stopped, closed or configured anew while its
//! queues are out: the driver would take their memory away under them. So workers drop their queues first.

use std::{
    ffi::{CStr, c_char},
    sync::{
        Mutex, MutexGuard,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
};

use crate::{
    Burst, Eal, Error, Pool, Result,
    eal::{Held, c_string},
    error::{check, forget_words},
    ffi,
};

/// A port. Several handles of one port are allowed; calls on it exclude each other.
#[derive(Debug)]
pub struct Port {
    id: u16,
    name: String,
    _held: Held,
}

/// What a driver says about its device.
#[derive(Clone, Debug)]
pub struct Info {
    /// Name of the driver, `net_pcap`.
    pub driver: String,
    /// NUMA node, -1 if any will do.
    pub socket: i32,
    /// Its MAC address; all zero where it has none.
    pub mac: [u8; 6],
    /// Most receive queues.
    pub max_rx_queues: u16,
    /// Most transmit queues.
    pub max_tx_queues: u16,
    /// Smallest MTU that can be set.
    pub min_mtu: u16,
    /// Largest MTU that can be set.
    pub max_mtu: u16,
    /// RTE_ETH_RX_OFFLOAD_* it can do.
    pub rx_offloads: u64,
    /// RTE_ETH_TX_OFFLOAD_* it can do.
    pub tx_offloads: u64,
    /// RTE_ETH_RSS_* it can hash by; 0 without RSS.
    pub rss: u64,
    /// Whether it is software (`--vdev`), no hardware.
    pub is_virtual: bool,
    rx_descriptors: u16,
    tx_descriptors: u16,
}

/// How a port is to be set up.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Largest L3 packet in bytes. Where the driver has narrower limits these hold; see [`Port::mtu`].
    pub mtu: u16,
    /// Descriptors per receive queue; the driver's default, or 1,024, if none. Brought within the driver's limits.
    pub rx_descriptors: Option<u16>,
    /// Descriptors per transmit queue, likewise.
    pub tx_descriptors: Option<u16>,
    /// Spread flows over the receive queues, by addresses and UDP or TCP ports.
    pub rss: bool,
    /// Receive unicast frames to anybody.
    pub promiscuous: bool,
    /// Receive all multicast frames.
    pub allmulticast: bool,
}

impl Default for PortConfig {
    fn default() -> PortConfig {
        PortConfig {
            rx_queues: 1,
            tx_queues: 1,
            mtu: 1500,
            rx_descriptors: None,
            tx_descriptors: None,
            rss: true,
            promiscuous: false,
            allmulticast: false,
        }
    }
}

/// State of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether it carries frames.
    pub up: bool,
    /// Speed in Mbit/s, 0 if unknown.
    pub speed_mbps: u32,
    /// Whether it is full duplex.
    pub full_duplex: bool,
}

/// A port's own counters; bytes as the driver counts them, as a rule without FCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Stats {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    /// Dropped by the device because nobody took them.
    pub rx_missed: u64,
    pub rx_errors: u64,
    /// Dropped because the pool was empty.
    pub rx_nombuf: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub tx_errors: u64,
}

const PORTS: usize = ffi::DP_PORTS_MAX as usize;

/// Calls that change a port exclude each other.
static LOCKS: [Mutex<()>; PORTS] = [const { Mutex::new(()) }; PORTS];
/// Queues of each port that somebody has.
static QUEUES: [AtomicUsize; PORTS] = [const { AtomicUsize::new(0) }; PORTS];
/// Whether a port's queues may be used.
static STARTED: [AtomicBool; PORTS] = [const { AtomicBool::new(false) }; PORTS];

impl Port {
    /// Every port there is, by id.
    pub fn all(_eal: &Eal) -> Result<Vec<Port>> {
        // SAFETY: plain calls into a running EAL, here and below.
        let next = |from: u16| Some(unsafe { ffi::dp_port_next(from) }).filter(|&id| id != u16::MAX);
        std::iter::successors(next(0), |&id| next(id + 1)).map(Port::new).collect()
    }

    /// The port of this name: what `--vdev` was given, or a PCI address.
    pub fn by_name(name: &str) -> Result<Port> {
        let c_name = c_string("rte_eth_dev_get_port_by_name", name)?;
        let id = check("rte_eth_dev_get_port_by_name", format_args!("port {name}"), || unsafe {
            // SAFETY: a string in, a number out.
            ffi::dp_port_by_name(c_name.as_ptr())
        })?;
        Port::new(id as u16)
    }

    pub(crate) fn new(id: u16) -> Result<Port> {
        let mut name: [c_char; 64] = [0; 64];
        check("rte_eth_dev_get_name_by_port", format_args!("port {id}"), || unsafe {
            // SAFETY: DPDK writes a string of at most 64 bytes there.
            ffi::dp_port_name(id, name.as_mut_ptr())
        })?;
        Ok(Port { id, name: string(&name), _held: Held::new() })
    }

    /// DPDK's number of it.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// DPDK's name of it, `net_pcap0` or `0000:3b:00.0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the driver says about it.
    pub fn info(&self) -> Result<Info> {
        let mut raw = ffi::dp_port_info::default();
        // SAFETY: the shim fills the struct.
        self.call("rte_eth_dev_info_get", |id| unsafe { ffi::dp_port_info(id, &mut raw) })?;
        Ok(Info {
            driver: string(&raw.driver),
            socket: raw.socket,
            mac: raw.mac,
            max_rx_queues: raw.max_rx_queues,
            max_tx_queues: raw.max_tx_queues,
            min_mtu: raw.min_mtu,
            max_mtu: raw.max_mtu,
            rx_offloads: raw.rx_offloads,
            tx_offloads: raw.tx_offloads,
            rss: raw.rss,
            is_virtual: raw.is_virtual != 0,
            rx_descriptors: raw.default_rx_descriptors,
            tx_descriptors: raw.default_tx_descriptors,
        })
    }

    /// Sets the port up, stopped; `pools` has one pool for each receive queue. Checksum and hash offloads, scattered
    /// receive and multi-segment transmit are switched on where the driver has them.
    ///
    /// # Errors
    /// What the driver refuses; several receive queues with `rss` on a device that neither has RSS nor is software that
    /// spreads by itself; EBUSY while queues from an earlier call are held.
    pub fn configure(&mut self, config: &PortConfig, pools: &[Pool]) -> Result<(Vec<RxQueue>, Vec<TxQueue>)> {
        const CALL: &str = "rte_eth_dev_configure";
        let info = self.info()?;
        if pools.len() != usize::from(config.rx_queues) {
            return Err(self.refuse(
                CALL,
                libc::EINVAL,
                format_args!("{} pools for {} receive queues", pools.len(), config.rx_queues),
            ));
        }
        let rss = self.rss(config, &info)?;
        let raw = ffi::dp_port_conf {
            rx_queues: config.rx_queues,
            tx_queues: config.tx_queues,
            mtu: config.mtu.min(info.max_mtu).max(info.min_mtu),
            rx_offloads: info.rx_offloads
                & (ffi::DP_RX_OFFLOAD_IPV4_CKSUM
                    | ffi::DP_RX_OFFLOAD_SCATTER
                    | if rss != 0 { ffi::DP_RX_OFFLOAD_RSS_HASH } else { 0 }),
            // Not MBUF_FAST_FREE: it wants all packets of a queue from one pool, and ours come from several.
            tx_offloads: info.tx_offloads & ffi::DP_TX_OFFLOAD_MULTI_SEGS,
            rss,
        };
        let _lock = self.lock_idle(CALL)?;
        STARTED[self.index()].store(false, Release);
        // SAFETY: no queue of this port is out, so nobody uses what is set up anew here.
        self.call(CALL, |id| unsafe { ffi::dp_port_configure(id, &raw) })?;
        self.set_up_queues(config, &info, pools)?;
        for (call, on, set) in [
            ("rte_eth_promiscuous_enable", config.promiscuous, Mode::Promiscuous),
            ("rte_eth_allmulticast_enable", config.allmulticast, Mode::AllMulticast),
        ] {
            if on {
                self.try_call(call, |id| set.apply(id, true))?;
            }
        }
        Ok((
            (0..config.rx_queues).map(|queue| RxQueue(Queue::new(self.id, queue))).collect(),
            (0..config.tx_queues).map(|queue| TxQueue(Queue::new(self.id, queue))).collect(),
        ))
    }

    /// The hash functions to ask for, 0 for none.
    fn rss(&self, config: &PortConfig, info: &Info) -> Result<u64> {
        if !config.rss || config.rx_queues < 2 {
            return Ok(0);
        }
        let rss = info.rss & ffi::DP_RSS_IP_UDP_TCP;
        // A virtual device has no hash, but whoever stands behind it fills the queues: the kernel's fanout, one file or
        // ring for each, a generator.
        if rss == 0 && !info.is_virtual {
            let why = format_args!(
                "{} receive queues, but {} has no RSS to spread flows over them; ask for one",
                config.rx_queues, info.driver
            );
            return Err(self.refuse("rte_eth_dev_configure", libc::ENOTSUP, why));
        }
        Ok(rss)
    }

    fn set_up_queues(&self, config: &PortConfig, info: &Info, pools: &[Pool]) -> Result<()> {
        const DEFAULT_DESCRIPTORS: u16 = 1024;
        let or_default = |asked: Option<u16>, driver: u16| {
            asked.unwrap_or(if driver != 0 { driver } else { DEFAULT_DESCRIPTORS })
        };
        let mut rx = or_default(config.rx_descriptors, info.rx_descriptors);
        let mut tx = or_default(config.tx_descriptors, info.tx_descriptors);
        // SAFETY: reads and writes the two numbers.
        self.call("rte_eth_dev_adjust_nb_rx_tx_desc", |id| unsafe {
            ffi::dp_port_adjust_descriptors(id, &mut rx, &mut tx)
        })?;
        for (queue, pool) in (0..).zip(pools) {
            let subject = format_args!("{}, queue {queue} with {rx} descriptors", self.subject());
            // SAFETY: the pool lives until the EAL ends.
            check("rte_eth_rx_queue_setup", subject, || unsafe {
                ffi::dp_rx_queue_setup(self.id, queue, rx, info.socket, pool.raw())
            })?;
        }
        for queue in 0..config.tx_queues {
            let subject = format_args!("{}, queue {queue} with {tx} descriptors", self.subject());
            // SAFETY: plain numbers.
            check("rte_eth_tx_queue_setup", subject, || unsafe {
                ffi::dp_tx_queue_setup(self.id, queue, tx, info.socket)
            })?;
        }
        Ok(())
    }

    /// Starts receiving and transmitting; until then its queues do neither.
    pub fn start(&mut self) -> Result<()> {
        let _lock = self.lock();
        if STARTED[self.index()].load(Acquire) {
            return Ok(());
        }
        // SAFETY: queues look at STARTED, so nobody is in the driver.
        self.call("rte_eth_dev_start", |id| unsafe { ffi::dp_port_start(id) })?;
        STARTED[self.index()].store(true, Release);
        Ok(())
    }

    /// Stops it; to start again, configure it again.
    ///
    /// # Errors
    /// With EBUSY while its queues are held.
    pub fn stop(&mut self) -> Result<()> {
        const CALL: &str = "rte_eth_dev_stop";
        let _lock = self.lock_idle(CALL)?;
        STARTED[self.index()].store(false, Release);
        // SAFETY: no queue of this port is out, so nobody is in the driver.
        self.call(CALL, |id| unsafe { ffi::dp_port_stop(id) }).map(drop)
    }

    /// Stops it and gives the device back; packets that the driver kept return to their pools.
    ///
    /// # Errors
    /// With EBUSY while its queues are held; the port stays as it was.
    pub fn close(mut self) -> Result<()> {
        self.stop()?;
        const CALL: &str = "rte_eth_dev_close";
        let _lock = self.lock_idle(CALL)?;
        // SAFETY: as in stop().
        self.call(CALL, |id| unsafe { ffi::dp_port_close(id) }).map(drop)
    }

    /// The MTU that is set.
    pub fn mtu(&self) -> Result<u16> {
        let mut mtu = 0;
        // SAFETY: DPDK writes the number.
        self.call("rte_eth_dev_get_mtu", |id| unsafe { ffi::dp_port_mtu(id, &mut mtu) })?;
        Ok(mtu)
    }

    /// Sets the MTU; Ok(false) where the driver has no way to.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<bool> {
        let _lock = self.lock();
        // SAFETY: plain numbers.
        self.try_call("rte_eth_dev_set_mtu", |id| unsafe { ffi::dp_port_set_mtu(id, mtu) })
    }

    /// Sets the MAC address; Ok(false) where the driver has no way to.
    pub fn set_mac(&mut self, mac: [u8; 6]) -> Result<bool> {
        let _lock = self.lock();
        // SAFETY: DPDK reads the six bytes.
        self.try_call("rte_eth_dev_default_mac_addr_set", |id| unsafe {
            ffi::dp_port_set_mac(id, mac.as_ptr())
        })
    }

    /// Receives unicast frames to anybody, or not; Ok(false) where the driver has no say in that.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<bool> {
        let _lock = self.lock();
        self.try_call("rte_eth_promiscuous_enable", |id| Mode::Promiscuous.apply(id, on))
    }

    /// Receives all multicast frames, or not; Ok(false) where the driver has no say in that.
    pub fn set_allmulticast(&mut self, on: bool) -> Result<bool> {
        let _lock = self.lock();
        self.try_call("rte_eth_allmulticast_enable", |id| Mode::AllMulticast.apply(id, on))
    }

    /// State of the link, as it is known now; does not wait.
    pub fn link(&self) -> Result<Link> {
        let mut raw = ffi::dp_link::default();
        let _lock = self.lock();
        // SAFETY: the shim fills the struct.
        self.call("rte_eth_link_get_nowait", |id| unsafe { ffi::dp_port_link(id, &mut raw) })?;
        Ok(Link { up: raw.up != 0, speed_mbps: raw.speed_mbps, full_duplex: raw.full_duplex != 0 })
    }

    /// Counters since the start or the last reset.
    pub fn stats(&self) -> Result<Stats> {
        let mut raw = ffi::dp_stats::default();
        let _lock = self.lock();
        // SAFETY: the shim fills the struct.
        self.call("rte_eth_stats_get", |id| unsafe { ffi::dp_port_stats(id, &mut raw) })?;
        Ok(Stats {
            rx_packets: raw.rx_packets,
            rx_bytes: raw.rx_bytes,
            rx_missed: raw.rx_missed,
            rx_errors: raw.rx_errors,
            rx_nombuf: raw.rx_nombuf,
            tx_packets: raw.tx_packets,
            tx_bytes: raw.tx_bytes,
            tx_errors: raw.tx_errors,
        })
    }

    /// The driver's own counters, by its own names.
    pub fn xstats(&self) -> Result<Vec<(String, u64)>> {
        let _lock = self.lock();
        let mut raw: Vec<ffi::dp_xstat> = Vec::new();
        loop {
            let room = raw.len() as u32;
            // SAFETY: the shim writes at most `room` of them.
            let count = self.call("rte_eth_xstats_get", |id| unsafe {
                ffi::dp_port_xstats(id, raw.as_mut_ptr(), room)
            })?;
            if count <= room {
                raw.truncate(count as usize);
                return Ok(raw.iter().map(|stat| (string(&stat.name), stat.value)).collect());
            }
            raw.resize_with(count as usize, Default::default);
        }
    }

    /// Sets all counters to zero.
    pub fn reset_stats(&mut self) -> Result<()> {
        let _lock = self.lock();
        // SAFETY: a plain number.
        self.call("rte_eth_stats_reset", |id| unsafe { ffi::dp_port_stats_reset(id) }).map(drop)
    }

    fn index(&self) -> usize {
        self.id.into()
    }

    fn subject(&self) -> String {
        format!("port {} ({})", self.id, self.name)
    }

    fn lock(&self) -> MutexGuard<'static, ()> {
        LOCKS[self.index()].lock().expect("no one panics with this lock")
    }

    /// The lock, if nobody has a queue of this port. Queues are made with the lock held, so it stays that way.
    fn lock_idle(&self, call: &'static str) -> Result<MutexGuard<'static, ()>> {
        let lock = self.lock();
        match QUEUES[self.index()].load(Acquire) {
            0 => Ok(lock),
            held => {
                Err(self.refuse(call, libc::EBUSY, format_args!("{held} of its queues are still in use")))
            }
        }
    }

    fn refuse(&self, call: &'static str, errno: i32, why: std::fmt::Arguments) -> Error {
        forget_words();
        Error::new(call, format_args!("{}: {why}", self.subject()), errno)
    }

    fn call(&self, call: &'static str, f: impl FnOnce(u16) -> i32) -> Result<u32> {
        check(call, self.subject(), || f(self.id))
    }

    /// A call that a driver need not have: Ok(false) if it has not.
    fn try_call(&self, call: &'static str, f: impl FnOnce(u16) -> i32) -> Result<bool> {
        match self.call(call, f) {
            Ok(_) => Ok(true),
            Err(error) if error.errno() == libc::ENOTSUP => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What a port receives besides its own frames.
#[derive(Clone, Copy)]
enum Mode {
    Promiscuous,
    AllMulticast,
}

impl Mode {
    fn apply(self, port: u16, on: bool) -> i32 {
        // SAFETY: plain numbers.
        unsafe {
            match self {
                Mode::Promiscuous => ffi::dp_port_set_promiscuous(port, on.into()),
                Mode::AllMulticast => ffi::dp_port_set_allmulticast(port, on.into()),
            }
        }
    }
}

/// One end of a port: who has it may use it, and nobody else.
#[derive(Debug)]
struct Queue {
    port: u16,
    queue: u16,
    _held: Held,
}

impl Queue {
    fn new(port: u16, queue: u16) -> Queue {
        QUEUES[usize::from(port)].fetch_add(1, AcqRel);
        Queue { port, queue, _held: Held::new() }
    }

    #[inline(always)]
    fn started(&self) -> bool {
        STARTED[usize::from(self.port)].load(Acquire)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        QUEUES[usize::from(self.port)].fetch_sub(1, AcqRel);
    }
}

/// A receive queue.
#[derive(Debug)]
pub struct RxQueue(Queue);

impl RxQueue {
    /// Appends what was received to the burst, as far as it has room; returns how many.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        let Queue { port, queue, .. } = self.0;
        if !self.0.started() {
            return 0;
        }
        // SAFETY: a queue of a started port, and this is its only owner; the driver hands over what it says.
        unsafe { burst.fill(|packets, room| ffi::dp_rx_burst(port, queue, packets, room).into()) }
    }

    /// Number of its port.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Its number in the port.
    pub fn queue(&self) -> u16 {
        self.0.queue
    }
}

/// A transmit queue.
#[derive(Debug)]
pub struct TxQueue(Queue);

impl TxQueue {
    /// Transmits from the front of the burst, as many as the device takes; returns how many. The rest stays in the burst,
    /// in order.
    ///
    /// # Panics
    /// If there is a heap packet in the burst.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        let Queue { port, queue, .. } = self.0;
        if burst.is_empty() || !self.0.started() {
            return 0;
        }
        // SAFETY: a queue of a started port, and this is its only owner; the driver owns what it says it took.
        unsafe { burst.take(|packets, count| ffi::dp_tx_burst(port, queue, packets, count).into()) }
    }

    /// Number of its port.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Its number in the port.
    pub fn queue(&self) -> u16 {
        self.0.queue
    }
}

/// A C string in an array of C's.
fn string(text: &[c_char]) -> String {
    // SAFETY: the same bytes, seen as what they are.
    let bytes = unsafe { std::slice::from_raw_parts(text.as_ptr().cast::<u8>(), text.len()) };
    CStr::from_bytes_until_nul(bytes).unwrap_or_default().to_string_lossy().into_owned()
}

//! Ports: whatever a poll-mode driver calls a device, and its queues.
//!
//! A queue belongs to whoever has it, as a rule one lcore. A port is not stopped, closed or configured anew while its
//! queues are out: the driver would take their memory away under them. So workers drop their queues first.

mod setup;

use std::{
    ffi::{CStr, c_char},
    sync::{Mutex, MutexGuard},
};

pub use setup::PortConfig;

use crate::{
    Eal, Error, Result,
    eal::{Held, c_string},
    error::check,
    ffi,
    queue::{PORTS, queues_of, set_started, started},
};

/// What calls that look at a port or change it exclude each other with, and share.
struct State {
    /// The last configure() succeeded, so that all queues are there.
    set_up: bool,
}

static STATES: [Mutex<State>; PORTS] = [const { Mutex::new(State { set_up: false }) }; PORTS];

/// A port. Several handles of one port are allowed; calls on it exclude each other.
#[derive(Debug)]
pub struct Port {
    id: u16,
    name: String,
    held: Held,
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

impl Info {
    /// Whether it transmits packets of several segments; to one that does not, frames go in one. Software does, also where
    /// the driver does not say so (`net_ring`, `net_null`).
    pub fn takes_segments(&self) -> bool {
        self.is_virtual || self.tx_offloads & ffi::DP_TX_OFFLOAD_MULTI_SEGS != 0
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

impl Port {
    /// Every port there is, by id.
    pub fn all(_eal: &Eal) -> Result<Vec<Port>> {
        // SAFETY: plain calls into a running EAL, here and below.
        let next = |from: u16| Some(unsafe { ffi::dp_port_next(from) }).filter(|&id| id != u16::MAX);
        std::iter::successors(next(0), |&id| next(id + 1))
            .map(|id| Port::new(id, Held::new("rte_eth_find_next_owned_by")?))
            .collect()
    }

    /// The port of this name: what `--vdev` was given, or a PCI address.
    pub fn by_name(name: &str) -> Result<Port> {
        const CALL: &str = "rte_eth_dev_get_port_by_name";
        let (held, c_name) = (Held::new(CALL)?, c_string(CALL, name)?);
        // SAFETY: a string in, a number out.
        let id =
            check(CALL, format_args!("port {name}"), || unsafe { ffi::dp_port_by_name(c_name.as_ptr()) })?;
        Port::new(id as u16, held)
    }

    pub(crate) fn new(id: u16, held: Held) -> Result<Port> {
        let mut name: [c_char; 64] = [0; 64];
        // SAFETY: DPDK writes a string of at most 64 bytes there.
        check("rte_eth_dev_get_name_by_port", format_args!("port {id}"), || unsafe {
            ffi::dp_port_name(id, name.as_mut_ptr())
        })?;
        Ok(Port { id, name: string(&name), held })
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
        let _lock = self.lock();
        self.read_info()
    }

    fn read_info(&self) -> Result<Info> {
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

    /// Starts receiving and transmitting; until then its queues do neither.
    pub fn start(&mut self) -> Result<()> {
        const CALL: &str = "rte_eth_dev_start";
        let state = self.lock();
        if started(self.id) {
            return Ok(());
        }
        if !state.set_up {
            return Err(self.refuse(CALL, libc::EINVAL, format_args!("it is to be configured first")));
        }
        // SAFETY: queues do nothing before they see the port started, so nobody is in the driver.
        self.call(CALL, |id| unsafe { ffi::dp_port_start(id) })?;
        set_started(self.id, true);
        Ok(())
    }

    /// Stops it; to start again, configure it again.
    ///
    /// # Errors
    /// With EBUSY while its queues are held.
    pub fn stop(&mut self) -> Result<()> {
        let _lock = self.lock_idle("rte_eth_dev_stop")?;
        self.stop_idle()
    }

    /// Stops it and gives the device back; packets that the driver kept return to their pools.
    ///
    /// # Errors
    /// With EBUSY while its queues are held; the port stays as it was.
    pub fn close(self) -> Result<()> {
        let mut state = self.lock_idle("rte_eth_dev_close")?;
        self.stop_idle()?;
        state.set_up = false;
        // SAFETY: as in stop_idle().
        self.call("rte_eth_dev_close", |id| unsafe { ffi::dp_port_close(id) }).map(drop)
    }

    fn stop_idle(&self) -> Result<()> {
        set_started(self.id, false);
        // SAFETY: no queue of this port is out, so nobody is in the driver.
        self.call("rte_eth_dev_stop", |id| unsafe { ffi::dp_port_stop(id) }).map(drop)
    }

    /// The MTU that is set.
    pub fn mtu(&self) -> Result<u16> {
        let _lock = self.lock();
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
        self.promiscuous(on)
    }

    /// Receives all multicast frames, or not; Ok(false) where the driver has no say in that.
    pub fn set_allmulticast(&mut self, on: bool) -> Result<bool> {
        let _lock = self.lock();
        self.allmulticast(on)
    }

    fn promiscuous(&self, on: bool) -> Result<bool> {
        let call = if on { "rte_eth_promiscuous_enable" } else { "rte_eth_promiscuous_disable" };
        // SAFETY: plain numbers.
        self.try_call(call, |id| unsafe { ffi::dp_port_set_promiscuous(id, on.into()) })
    }

    fn allmulticast(&self, on: bool) -> Result<bool> {
        let call = if on { "rte_eth_allmulticast_enable" } else { "rte_eth_allmulticast_disable" };
        // SAFETY: plain numbers.
        self.try_call(call, |id| unsafe { ffi::dp_port_set_allmulticast(id, on.into()) })
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

    fn subject(&self) -> String {
        format!("port {} ({})", self.id, self.name)
    }

    fn lock(&self) -> MutexGuard<'static, State> {
        STATES[usize::from(self.id)].lock().expect("no one panics with this lock")
    }

    /// The lock, if nobody has a queue of this port; queues are made with it held, so that it stays so.
    fn lock_idle(&self, call: &'static str) -> Result<MutexGuard<'static, State>> {
        let lock = self.lock();
        match queues_of(self.id) {
            0 => Ok(lock),
            held => {
                Err(self.refuse(call, libc::EBUSY, format_args!("{held} of its queues are still in use")))
            }
        }
    }

    fn refuse(&self, call: &'static str, errno: i32, why: std::fmt::Arguments) -> Error {
        Error::ours(call, format_args!("{}: {why}", self.subject()), errno)
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

/// A C string in an array of C's.
fn string(text: &[c_char]) -> String {
    // SAFETY: the same bytes, seen as what they are.
    let bytes = unsafe { std::slice::from_raw_parts(text.as_ptr().cast::<u8>(), text.len()) };
    CStr::from_bytes_until_nul(bytes).unwrap_or_default().to_string_lossy().into_owned()
}

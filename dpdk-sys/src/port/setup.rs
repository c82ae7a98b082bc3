//! How a port is set up: queues, offloads, RSS.

use super::{Info, Port};
use crate::{Pool, Result, RxQueue, TxQueue, error::check, ffi};

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

impl Port {
    /// Sets the port up, stopped; `pools` has one pool for each receive queue. Checksum and hash offloads, scattered
    /// receive and multi-segment transmit are switched on where the driver has them.
    ///
    /// # Errors
    /// What the driver refuses; several receive queues with `rss` on a device that neither has RSS nor is software that
    /// spreads by itself; EBUSY while queues from an earlier call are held.
    pub fn configure(&mut self, config: &PortConfig, pools: &[Pool]) -> Result<(Vec<RxQueue>, Vec<TxQueue>)> {
        const CALL: &str = "rte_eth_dev_configure";
        let mut state = self.lock_idle(CALL)?;
        let info = self.read_info()?;
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
        state.set_up = false;
        // SAFETY: no queue of this port is out, so nobody uses what is set up anew here.
        self.call(CALL, |id| unsafe { ffi::dp_port_configure(id, &raw) })?;
        self.set_up_queues(config, &info, pools)?;
        self.promiscuous(config.promiscuous)?;
        self.allmulticast(config.allmulticast)?;
        state.set_up = true;
        Ok((
            (0..config.rx_queues).map(|queue| RxQueue::new(self.id, queue, self.held.clone())).collect(),
            (0..config.tx_queues).map(|queue| TxQueue::new(self.id, queue, self.held.clone())).collect(),
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
}

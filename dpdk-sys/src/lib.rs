//! DPDK behind safe types: the EAL, ports and their queues, packets and their pools, rings and FIBs.
//!
//! The only crate of puntd that knows C, and nearly the only one with `unsafe`. C's side is `shim/`: some sixty plain
//! functions, so that nothing inline, thread-local, or different between DPDK 22.11 and 25.11 crosses the border. One
//! call moves one burst.
//!
//! ```no_run
//! use dpdk_sys::{Burst, Eal, Pool, Port, PortConfig};
//!
//! let eal = Eal::init(&["--vdev".into(), "net_null0".into()])?;
//! let pool = Pool::new("packets", 8191, 256, dpdk_sys::DEFAULT_DATA_ROOM, dpdk_sys::ANY_SOCKET)?;
//! let mut port = Port::by_name("net_null0")?;
//! let (mut rx, mut tx) = port.configure(&PortConfig::default(), &[pool])?;
//! port.start()?;
//! let mut burst = Burst::new(64);
//! rx[0].receive(&mut burst);
//! tx[0].send(&mut burst);
//! burst.clear_freeing(); // what the port did not take
//! drop((rx, tx));
//! port.close()?;
//! eal.cleanup();
//! # Ok::<(), dpdk_sys::Error>(())
//! ```

pub mod at_hand;
mod burst;
mod cpu;
mod eal;
mod error;
mod ffi;
mod fib;
mod heap;
mod log_bridge;
mod malloc;
mod mbuf;
mod packet;
mod pool;
mod port;
mod queue;
mod ring;

pub use burst::Burst;
pub use cpu::{CACHE_LINE, CpuSet, affinity, set_affinity, tsc, tsc_hz};
pub use eal::{ANY_SOCKET, Eal, memory_in_use, version};
pub use error::{Error, Result};
pub use fib::{
    Family, Fib, Fib4, Fib4Writer, Fib6, Fib6Writer, FibWriter, MAX_HOP, V4, V6, fib4, fib6, memory_of_fib4,
    memory_of_fib6,
};
pub use malloc::give_back_large_blocks;
pub use packet::{Packet, Tag, free_bulk, lost};
pub use pool::{DEFAULT_DATA_ROOM, HEADROOM, MAX_POOL_CACHE, Pool, memory_of_pool};
pub use port::{Info, Link, Port, PortConfig, Stats};
pub use queue::{RxQueue, TxQueue};
pub use ring::{Ring, ring_port};

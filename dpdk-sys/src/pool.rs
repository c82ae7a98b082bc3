//! Pools of mbufs: where packets come from and go back to.

use std::{
    ptr::{self, NonNull},
    sync::Mutex,
};

use crate::{
    Burst, Error, Packet, Result,
    eal::{Held, c_string},
    error::check,
    ffi,
};

/// Most mbufs that an lcore may keep in its cache of a pool.
pub const MAX_POOL_CACHE: u32 = ffi::DP_POOL_CACHE_MAX;

/// Bytes that every mbuf keeps free in front of the frame.
pub const HEADROOM: u16 = ffi::DP_HEADROOM;

/// A data room that takes any frame of a 1,500 byte MTU in one segment, and what drivers want to have.
pub const DEFAULT_DATA_ROOM: u16 = HEADROOM + 2048;

/// A pool of mbufs. A clone is the same pool, which lives until the EAL ends.
///
/// Any thread may use it, but only lcores should allocate and free: another thread bypasses the cache, and while the
/// kernel has put it to sleep in the middle of it, lcores wait.
#[derive(Clone, Debug)]
pub struct Pool {
    raw: NonNull<ffi::rte_mempool>,
    name: String,
    size: u32,
    _held: Held,
}

// SAFETY: a mempool serves any thread at any time (ring_mp_mc, DPDK's default ops for packets).
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

/// Every pool ever made with its size; they live until the EAL ends.
static POOLS: Mutex<Vec<(usize, u32)>> = Mutex::new(Vec::new());

/// Packets of all pools that somebody holds.
pub(crate) fn all_in_use() -> u64 {
    let pools = POOLS.lock().expect("no one panics with this lock");
    // SAFETY: pools live until the EAL ends, and this is called before.
    let available = |raw: usize| unsafe { ffi::dp_pool_available(raw as *const ffi::rte_mempool) };
    pools.iter().map(|&(raw, size)| u64::from(size.saturating_sub(available(raw)))).sum()
}

impl Pool {
    /// Makes a pool of `size` mbufs in the memory of a NUMA node. Each lcore keeps up to `cache` of them for itself, at
    /// least twice the burst if it is to help. `data_room` is bytes per mbuf, of which the first 128 are headroom.
    ///
    /// # Errors
    /// If the name (at most 25 bytes) is taken, a number is out of its range, or memory does not suffice.
    pub fn new(name: &str, size: u32, cache: u32, data_room: u16, socket: i32) -> Result<Pool> {
        const CALL: &str = "rte_pktmbuf_pool_create";
        let refuse = |why: String| Err(Error::ours(CALL, format_args!("pool {name}: {why}"), libc::EINVAL));
        if cache > MAX_POOL_CACHE || u64::from(cache) * 3 / 2 > u64::from(size) {
            return refuse(format!(
                "a cache of {cache} for {size} packets is too large, at most {} will do",
                MAX_POOL_CACHE.min((u64::from(size) * 2 / 3) as u32)
            ));
        }
        if data_room <= HEADROOM {
            return refuse(format!("{data_room} bytes are all headroom, which takes {HEADROOM}"));
        }
        let (held, c_name) = (Held::new(CALL)?, c_string(CALL, name)?);
        let mut raw = ptr::null_mut();
        // DPDK says ENOMEM or ENOBUFS when there is too little, never how much it wanted.
        let megabytes = memory_of_pool(size, data_room).div_ceil(1 << 20);
        let subject =
            format_args!("pool {name} of {size} packets, which takes {megabytes} MB of DPDK's memory");
        // SAFETY: a name and numbers in, a pool out.
        check(CALL, subject, || unsafe {
            ffi::dp_pool_new(c_name.as_ptr(), size, cache, data_room, socket, &mut raw)
        })?;
        let raw = NonNull::new(raw).expect("a pool that was made is not null");
        POOLS.lock().expect("no one panics with this lock").push((raw.as_ptr() as usize, size));
        Ok(Pool { raw, name: name.to_owned(), size, _held: held })
    }

    /// An empty packet; none if the pool is.
    #[inline]
    pub fn alloc(&self) -> Option<Packet> {
        // SAFETY: the pool lives, and the mbuf is nobody else's.
        NonNull::new(unsafe { ffi::dp_alloc(self.raw.as_ptr()) })
            .map(|mbuf| unsafe { Packet::from_raw(mbuf) })
    }

    /// As many empty packets as the burst has room for; none if the pool has fewer. Returns how many.
    pub fn alloc_burst(&self, burst: &mut Burst) -> usize {
        // SAFETY: the pool hands over `room` mbufs or none.
        unsafe {
            burst.fill(|packets, room| match ffi::dp_alloc_bulk(self.raw.as_ptr(), packets, room.into()) {
                0 => room.into(),
                _ => 0,
            })
        }
    }

    /// A packet with this frame, in as many segments as it takes; none if the pool has too few.
    pub fn alloc_frame(&self, frame: &[u8]) -> Option<Packet> {
        let mut packet = self.alloc()?;
        let (first, mut rest) = frame.split_at(frame.len().min(packet.room()));
        packet.append(first);
        while !rest.is_empty() {
            let Some(mut segment) = self.alloc() else {
                packet.free();
                return None;
            };
            let (bytes, left) = rest.split_at(rest.len().min(segment.room()));
            segment.append(bytes);
            packet.chain(segment);
            rest = left;
        }
        Some(packet)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All its packets, wherever they are.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Packets that are in the pool, lcores' caches included. Exact when nobody allocates or frees.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives.
        unsafe { ffi::dp_pool_available(self.raw.as_ptr()) }
    }

    /// Packets that somebody holds.
    pub fn in_use(&self) -> u32 {
        self.size.saturating_sub(self.available())
    }

    pub(crate) fn raw(&self) -> *mut ffi::rte_mempool {
        self.raw.as_ptr()
    }
}

/// Bytes of DPDK memory that a pool takes, rounded up. For pages of 4 KiB, which is what there is without hugepages: a
/// packet does not cross a page, so one of the default data room takes a whole one. In hugepages it is little more than
/// half as much.
pub fn memory_of_pool(size: u32, data_room: u16) -> u64 {
    const PAGE: u64 = 4096;
    // Object header, mbuf and buffer, in cache lines; some processors' memory channels cost a line more.
    let element = (64 + 128 + u64::from(data_room)).next_multiple_of(64) + 64;
    let pages = if element <= PAGE {
        u64::from(size).div_ceil(PAGE / element)
    } else {
        u64::from(size) * element.div_ceil(PAGE)
    };
    // Besides, a ring with a pointer to each, and caches for as many lcores as DPDK knows.
    pages * PAGE + u64::from(size + 1).next_power_of_two() * 8 + (2 << 20)
}

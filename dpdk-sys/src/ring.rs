//! Rings of packets, and ports made of them: how a test or a benchmark stands at the other end of the wire.

use std::ptr::{self, NonNull};

use crate::{
    Burst, Port, Result,
    eal::{Held, c_string},
    error::check,
    ffi,
};

/// A queue of packets for any number of threads at either end. A clone is the same ring, which lives until the EAL ends,
/// as do packets left in it.
#[derive(Clone, Debug)]
pub struct Ring {
    raw: NonNull<ffi::rte_ring>,
    _held: Held,
}

// SAFETY: the ring is made for many producers and many consumers.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    /// Makes a ring that holds `size - 1` packets; `size` is a power of two.
    ///
    /// # Errors
    /// If the name (at most 28 bytes) is taken, `size` is no power of two, or memory does not suffice.
    pub fn new(name: &str, size: u32, socket: i32) -> Result<Ring> {
        const CALL: &str = "rte_ring_create";
        let (held, c_name) = (Held::new(CALL)?, c_string(CALL, name)?);
        let mut raw = ptr::null_mut();
        // SAFETY: a name and numbers in, a ring out.
        check(CALL, format_args!("ring {name} of {size}"), || unsafe {
            ffi::dp_ring_new(c_name.as_ptr(), size, socket, &mut raw)
        })?;
        let raw = NonNull::new(raw).expect("a ring that was made is not null");
        Ok(Ring { raw, _held: held })
    }

    /// Moves packets from the front of the burst into the ring, as many as it has room for; returns how many. The rest
    /// stays in the burst, in order.
    ///
    /// # Panics
    /// If there is a heap packet among them.
    pub fn enqueue(&self, burst: &mut Burst) -> usize {
        // SAFETY: the ring owns what it took.
        unsafe {
            burst.take(|packets, count| {
                ffi::dp_ring_enqueue(self.raw.as_ptr(), packets, count.into()) as usize
            })
        }
    }

    /// Moves packets from the ring to the end of the burst, as many as that has room for; returns how many.
    pub fn dequeue(&self, burst: &mut Burst) -> usize {
        // SAFETY: only packets are put into the ring, and who takes one out owns it.
        unsafe {
            burst.fill(|packets, room| ffi::dp_ring_dequeue(self.raw.as_ptr(), packets, room.into()) as usize)
        }
    }

    /// Packets in it.
    #[expect(clippy::len_without_is_empty, reason = "len() == 0 says it")]
    pub fn len(&self) -> usize {
        // SAFETY: the ring lives.
        unsafe { ffi::dp_ring_len(self.raw.as_ptr()) as usize }
    }
}

/// Makes a port whose receive queue n takes packets out of `rx[n]` and whose transmit queue n puts them into `tx[n]`. It
/// is called `net_ring_NAME`.
///
/// # Errors
/// If there are more than 16 rings on a side or none, or the name is taken.
pub fn ring_port(name: &str, rx: &[Ring], tx: &[Ring]) -> Result<Port> {
    const CALL: &str = "rte_eth_from_rings";
    let (held, c_name) = (Held::new(CALL)?, c_string(CALL, name)?);
    let mut rx: Vec<_> = rx.iter().map(|ring| ring.raw.as_ptr()).collect();
    let mut tx: Vec<_> = tx.iter().map(|ring| ring.raw.as_ptr()).collect();
    // SAFETY: arrays of rings that live until the EAL ends.
    let id = check(CALL, format_args!("port {name}"), || unsafe {
        ffi::dp_ring_port(c_name.as_ptr(), rx.as_mut_ptr(), rx.len() as u32, tx.as_mut_ptr(), tx.len() as u32)
    })?;
    Port::new(id as u16, held)
}

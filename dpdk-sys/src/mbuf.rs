//! DPDK's packet buffer as Rust sees it.
//!
//! Written by hand, because the field's paths in C differ between versions (markers, unions) and their offsets do not.
//! The shim and the assertions below hold both sides to the same numbers, so another layout does not build.

use std::{ffi::c_void, mem::offset_of, ptr::NonNull};

use crate::ffi;

/// `struct rte_mbuf`: one segment of a packet. The first segment of a chain also speaks for the whole packet.
#[repr(C, align(64))]
pub(crate) struct Mbuf {
    pub(crate) buf_addr: NonNull<u8>,
    pub(crate) buf_iova: u64,
    pub(crate) data_off: u16,
    pub(crate) refcnt: u16,
    pub(crate) nb_segs: u16,
    pub(crate) port: u16,
    pub(crate) ol_flags: u64,
    pub(crate) packet_type: u32,
    pub(crate) pkt_len: u32,
    pub(crate) data_len: u16,
    pub(crate) vlan_tci: u16,
    pub(crate) rss: u32,
    pub(crate) hash_high: u32,
    pub(crate) vlan_tci_outer: u16,
    pub(crate) buf_len: u16,
    pub(crate) pool: *mut ffi::rte_mempool,
    // Second cache line.
    pub(crate) next: Option<NonNull<Mbuf>>,
    pub(crate) tx_offload: u64,
    pub(crate) shinfo: *mut c_void,
    pub(crate) priv_size: u16,
    pub(crate) timesync: u16,
    pub(crate) dynfield1: [u32; 9],
}

/// Where the packet's tag lies when no EAL has placed it: in the dynamic fields, which are 92..128.
pub(crate) const DEFAULT_TAG_OFFSET: usize = 96;

macro_rules! at {
    ($($field:ident $offset:ident)*) => {
        $(const _: () = assert!(offset_of!(Mbuf, $field) == ffi::$offset as usize);)*
    };
}
at! {
    buf_addr DP_MBUF_BUF_ADDR
    data_off DP_MBUF_DATA_OFF
    refcnt DP_MBUF_REFCNT
    nb_segs DP_MBUF_NB_SEGS
    port DP_MBUF_PORT
    ol_flags DP_MBUF_OL_FLAGS
    packet_type DP_MBUF_PACKET_TYPE
    pkt_len DP_MBUF_PKT_LEN
    data_len DP_MBUF_DATA_LEN
    vlan_tci DP_MBUF_VLAN_TCI
    rss DP_MBUF_HASH
    vlan_tci_outer DP_MBUF_VLAN_TCI_OUTER
    buf_len DP_MBUF_BUF_LEN
    pool DP_MBUF_POOL
    next DP_MBUF_NEXT
    tx_offload DP_MBUF_TX_OFFLOAD
    shinfo DP_MBUF_SHINFO
    priv_size DP_MBUF_PRIV_SIZE
    dynfield1 DP_MBUF_DYNFIELD1
}
const _: () = assert!(size_of::<Mbuf>() == ffi::DP_MBUF_SIZE as usize);

impl Mbuf {
    /// This segment's bytes.
    #[inline(always)]
    pub(crate) fn data(&self) -> &[u8] {
        // SAFETY: DPDK and this crate keep data_off + data_len within the buffer at buf_addr, which lives as long as
        // the mbuf. Whoever has &self has a share in the packet that owns both, so nobody writes there.
        unsafe {
            std::slice::from_raw_parts(
                self.buf_addr.add(usize::from(self.data_off)).as_ptr(),
                self.data_len.into(),
            )
        }
    }

    /// This segment's bytes, to be changed.
    #[inline(always)]
    pub(crate) fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in data(); &mut self comes from the packet's only owner.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.buf_addr.add(usize::from(self.data_off)).as_ptr(),
                self.data_len.into(),
            )
        }
    }

    /// Bytes free behind the data.
    pub(crate) fn tailroom(&self) -> u16 {
        self.buf_len - self.data_off - self.data_len
    }
}

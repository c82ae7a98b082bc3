//! The shim's functions and constants as bindgen reads them from `shim/shim.h`, and DPDK's types, which only C
//! looks into (but the mbuf: [`crate::mbuf`]).

#![allow(missing_docs, non_camel_case_types, reason = "generated from shim.h, where it is documented")]

pub(crate) use crate::mbuf::Mbuf as rte_mbuf;

macro_rules! opaque {
    ($($name:ident)*) => {$(
        #[repr(C)]
        pub struct $name {
            _opaque: [u8; 0],
        }
    )*};
}
opaque!(rte_mempool rte_ring rte_fib rte_fib6);

mod generated {
    #![allow(
        dead_code,
        unreachable_pub,
        clippy::undocumented_unsafe_blocks,
        reason = "bindgen makes everything that the header declares"
    )]
    use super::{rte_fib, rte_fib6, rte_mbuf, rte_mempool, rte_ring};
    include!(concat!(env!("OUT_DIR"), "/shim.rs"));
}
pub(crate) use generated::*;

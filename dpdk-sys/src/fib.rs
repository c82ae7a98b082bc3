//! Longest prefix match: `rte_fib` (DIR-24-8) for IPv4, `rte_fib6` (a trie) for IPv6.
//!
//! One writer, any number of readers at the same time. Before 24.11 a group of 256 entries that a delete set free is
//! zeroed, and may be taken by the next add, while a reader still looks into it. Hence two rules:
//!
//! * Hop 0 is never given to a route (`add` refuses it). A lookup that yields 0 met such a group and is to be repeated.
//! * Between a delete and the next add the writer's caller waits until every reader has finished the lookup it was in.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ptr::{self, NonNull},
    sync::Arc,
};

use crate::{
    Error, Result,
    eal::{Held, c_string},
    error::{check, forget_words},
    ffi,
};

/// Hops are below this: DPDK keeps a bit of 32 for itself.
pub const MAX_HOP: u32 = (1 << 31) - 1;

macro_rules! fib {
    (
        $family:literal, $reader:ident, $writer:ident, $make:ident, $memory:ident, $table:ident, $raw:ident,
        $address:ty, $bits:literal, $calls:tt, $new:ident, $free:ident, $add:ident, $delete:ident, $lookup:ident,
        $show:expr, $pass:expr, $memory_of:expr
    ) => {
        #[doc = concat!("A reader of an ", $family, " table. A clone reads the same table, which goes with the last of them.")]
        #[derive(Clone, Debug)]
        pub struct $reader(Arc<$table>);

        #[doc = concat!("The only writer of an ", $family, " table; see the rules of this module.")]
        #[derive(Debug)]
        pub struct $writer {
            table: Arc<$table>,
            name: String,
            routes: u32,
            groups: u32,
        }

        #[derive(Debug)]
        struct $table {
            raw: NonNull<ffi::$raw>,
            _held: Held,
        }
        // SAFETY: lookups from any thread, updates only through the one writer, which is what DPDK allows.
        unsafe impl Send for $table {}
        // SAFETY: as above.
        unsafe impl Sync for $table {}

        impl Drop for $table {
            fn drop(&mut self) {
                // SAFETY: the last of writer and readers.
                unsafe { ffi::$free(self.raw.as_ptr()) }
            }
        }

        #[doc = concat!("Makes an ", $family, " table for `routes` routes and `groups` groups of 256 entries for what is \
            longer than /24. What no route matches gets `default_hop`, which is not 0.")]
        ///
        /// # Errors
        /// If the name is taken, a number is out of its range, or memory does not suffice.
        pub fn $make(name: &str, routes: u32, groups: u32, default_hop: u32, socket: i32) -> Result<($reader, $writer)> {
            const CALL: &str = $calls[0];
            let subject = || format!("{} table {name} for {routes} routes and {groups} groups", $family);
            check_hop(CALL, subject(), default_hop)?;
            if routes == 0 || groups == 0 || routes > MAX_ROUTES {
                forget_words();
                return Err(Error::new(CALL, subject(), libc::EINVAL));
            }
            let c_name = c_string(CALL, name)?;
            let mut raw = ptr::null_mut();
            // SAFETY: a name and numbers in, a table out.
            let made = check(CALL, subject(), || unsafe {
                ffi::$new(c_name.as_ptr(), routes, groups, default_hop, socket, &mut raw)
            });
            if let Err(error) = made {
                // DPDK says EINVAL for lack of memory, too.
                let megabytes = $memory(routes, groups).div_ceil(1 << 20);
                let why = format!("{}, which takes about {megabytes} MB of DPDK's memory", subject());
                return Err(Error::new(CALL, why, error.errno()));
            }
            let raw = NonNull::new(raw).expect("a table that was made is not null");
            let table = Arc::new($table { raw, _held: Held::new() });
            Ok(($reader(Arc::clone(&table)), $writer { table, name: name.to_owned(), routes, groups }))
        }

        impl $reader {
            /// Looks up as many addresses as both slices have room for; `hops[n]` is that of the longest prefix that
            /// matches `addresses[n]`, else the default hop. 0: look it up again, see the rules of this module.
            #[inline]
            pub fn lookup(&self, addresses: &[$address], hops: &mut [u64]) {
                debug_assert_eq!(addresses.len(), hops.len());
                let count = addresses.len().min(hops.len()) as u32;
                // SAFETY: the table lives as long as self, and both slices have at least `count` elements.
                unsafe { ffi::$lookup(self.0.raw.as_ptr(), addresses.as_ptr(), hops.as_mut_ptr(), count) }
            }
        }

        impl $writer {
            /// Adds a route, or gives the one that is there another hop; `hop` is 1 to [`MAX_HOP`]. Address bits beyond
            /// `depth` do not matter.
            ///
            /// # Errors
            /// With ENOSPC, and the size that it was made for, if the table is full.
            pub fn add(&mut self, address: $address, depth: u8, hop: u32) -> Result<()> {
                const CALL: &str = $calls[1];
                check_hop(CALL, format_args!("{}/{depth}", $show(address)), hop)?;
                self.check_depth(CALL, address, depth)?;
                forget_words();
                // SAFETY: the table lives, and this is its only writer.
                let status = unsafe { ffi::$add(self.table.raw.as_ptr(), $pass(&address), depth, hop) };
                self.result(CALL, address, depth, status)
            }

            /// Deletes a route.
            ///
            /// # Errors
            /// With ENOENT if there is none of exactly this prefix.
            pub fn delete(&mut self, address: $address, depth: u8) -> Result<()> {
                const CALL: &str = $calls[2];
                self.check_depth(CALL, address, depth)?;
                forget_words();
                // SAFETY: the table lives, and this is its only writer.
                let status = unsafe { ffi::$delete(self.table.raw.as_ptr(), $pass(&address), depth) };
                self.result(CALL, address, depth, status)
            }

            /// One more reader.
            pub fn reader(&self) -> $reader {
                $reader(Arc::clone(&self.table))
            }

            fn check_depth(&self, call: &'static str, address: $address, depth: u8) -> Result<()> {
                if depth <= $bits {
                    return Ok(());
                }
                forget_words();
                let why = format_args!("{}/{depth}: a prefix has at most {} bits", $show(address), $bits);
                Err(Error::new(call, why, libc::EINVAL))
            }

            fn result(&self, call: &'static str, address: $address, depth: u8, status: i32) -> Result<()> {
                let prefix = format_args!("{}/{depth}", $show(address));
                let $writer { name, routes, groups, .. } = self;
                match -status {
                    0 => Ok(()),
                    // No more room among the prefixes (ENOMEM) or in the groups (ENOSPC).
                    libc::ENOMEM | libc::ENOSPC => Err(Error::new(
                        call,
                        format_args!("{prefix}: table {name}, made for {routes} routes and {groups} groups, is full"),
                        libc::ENOSPC,
                    )),
                    errno => Err(Error::new(call, format_args!("{prefix} in table {name}"), errno)),
                }
            }
        }

        #[doc = concat!("Bytes of DPDK memory that an ", $family, " table takes, rounded up.")]
        pub fn $memory(routes: u32, groups: u32) -> u64 {
            $memory_of(u64::from(routes), u64::from(groups))
        }
    };
}

fib!(
    "IPv4",
    Fib4,
    Fib4Writer,
    fib4,
    memory_of_fib4,
    Table4,
    rte_fib,
    u32,
    32,
    ["rte_fib_create", "rte_fib_add", "rte_fib_delete"],
    dp_fib4_new,
    dp_fib4_free,
    dp_fib4_add,
    dp_fib4_delete,
    dp_fib4_lookup,
    Ipv4Addr::from,
    |address: &u32| *address,
    |routes, groups| FIRST_LEVEL + groups * GROUP + routes * 2 * 192
);

fib!(
    "IPv6",
    Fib6,
    Fib6Writer,
    fib6,
    memory_of_fib6,
    Table6,
    rte_fib6,
    [u8; 16],
    128,
    ["rte_fib6_create", "rte_fib6_add", "rte_fib6_delete"],
    dp_fib6_new,
    dp_fib6_free,
    dp_fib6_add,
    dp_fib6_delete,
    dp_fib6_lookup,
    Ipv6Addr::from,
    |address: &[u8; 16]| address.as_ptr(),
    |routes, groups| FIRST_LEVEL + groups * GROUP + routes * 2 * 256
);

/// DPDK makes room for two nodes of its tree for each route, counted in an int.
const MAX_ROUTES: u32 = i32::MAX as u32 / 2;
/// 2^24 hops of 4 bytes, and change.
const FIRST_LEVEL: u64 = (64 << 20) + (4 << 20);
/// 256 hops of 4 bytes, and its place in the list of free ones.
const GROUP: u64 = 1024 + 8;

fn check_hop(call: &'static str, subject: impl std::fmt::Display, hop: u32) -> Result<()> {
    if (1..=MAX_HOP).contains(&hop) {
        return Ok(());
    }
    forget_words();
    Err(Error::new(call, format_args!("{subject}: hop {hop} is not within 1 to {MAX_HOP}"), libc::EINVAL))
}

//! Longest prefix match: `rte_fib` (DIR-24-8) for IPv4, `rte_fib6` (a trie) for IPv6.
//!
//! One writer, any number of readers at the same time. What is longer than /24 lies in groups of 256 entries. One that becomes
//! uniform is set free: zeroed, and perhaps taken by the next change, while a reader still looks into it (DPDK 24.11 and later
//! can wait for readers, but only for those that report to `rte_rcu`, which ours do not). Hence two rules, for every version:
//!
//! * Hop 0 is never given to a route (`add` refuses it). A lookup that yields 0 met such a group and is to be repeated.
//! * Between a change that may set a group free (a delete, or an add by which neighbours get the same hop) and the next that
//!   may take one, the writer's caller waits until every reader has finished the lookup it was in.
//!
//! And a third for who adds and deletes for long: DPDK miscounts its groups, see [`FibWriter::forget_reserved`].

use std::{
    ffi::{c_char, c_int},
    fmt,
    net::{IpAddr, Ipv4Addr},
    ptr::{self, NonNull},
    sync::Arc,
};

use crate::{
    Error, Result,
    eal::{Held, c_string},
    error::{check, forget_words},
    ffi,
};

/// The largest hop: DPDK keeps a bit of 32 for itself.
pub const MAX_HOP: u32 = (1 << 31) - 1;

/// DPDK makes room for two nodes of its tree for each route, counted in an int.
const MAX_ROUTES: u32 = i32::MAX as u32 / 2;

/// A group's number is kept where a hop would be.
const MAX_GROUPS: u32 = 1 << 30;

/// A reader of a table; `F` is [`V4`] or [`V6`]. A clone reads the same table, which lives as long as the last of readers
/// and writer.
pub struct Fib<F: Family>(Arc<Table<F>>);

/// The only writer of a table; see the rules of this module.
pub struct FibWriter<F: Family>(Arc<Table<F>>);

/// A reader of an IPv4 table.
pub type Fib4 = Fib<V4>;
/// The writer of an IPv4 table.
pub type Fib4Writer = FibWriter<V4>;
/// A reader of an IPv6 table.
pub type Fib6 = Fib<V6>;
/// The writer of an IPv6 table.
pub type Fib6Writer = FibWriter<V6>;

struct Table<F: Family> {
    raw: NonNull<F::Raw>,
    name: String,
    routes: u32,
    groups: u32,
    _held: Held,
}

// SAFETY: lookups from any thread at any time, updates only through the one writer: what DPDK allows.
unsafe impl<F: Family> Send for Table<F> {}
// SAFETY: as above.
unsafe impl<F: Family> Sync for Table<F> {}

/// Makes an IPv4 table for `routes` routes, and `groups` groups of 256 addresses, one for each /24 with longer prefixes in
/// it (rounded up to a multiple of 64). What no route matches gets `default_hop`, which is not 0.
///
/// # Errors
/// If the name is taken, a number is out of its range, or memory does not suffice.
pub fn fib4(
    name: &str,
    routes: u32,
    groups: u32,
    default_hop: u32,
    socket: i32,
) -> Result<(Fib4, Fib4Writer)> {
    Table::make(name, routes, groups, default_hop, socket)
}

/// Makes an IPv6 table for `routes` routes, and `groups` groups of 256 entries, one for each further octet of a prefix
/// longer than /24 that it does not share with others (rounded up likewise). What no route matches gets `default_hop`, which is not 0.
///
/// # Errors
/// If the name is taken, a number is out of its range, or memory does not suffice.
pub fn fib6(
    name: &str,
    routes: u32,
    groups: u32,
    default_hop: u32,
    socket: i32,
) -> Result<(Fib6, Fib6Writer)> {
    Table::make(name, routes, groups, default_hop, socket)
}

/// Bytes of DPDK memory that an IPv4 table takes, rounded up.
pub fn memory_of_fib4(routes: u32, groups: u32) -> u64 {
    memory_of(routes, groups)
}

/// Bytes of DPDK memory that an IPv6 table takes, rounded up.
pub fn memory_of_fib6(routes: u32, groups: u32) -> u64 {
    memory_of(routes, groups)
}

impl<F: Family> Fib<F> {
    /// Looks up as many addresses as both slices have; `hops[n]` is that of the longest prefix that matches
    /// `addresses[n]` (IPv4: a number in host order, IPv6: the octets), else the default hop. 0: look it up again, see the
    /// rules of this module.
    #[inline]
    pub fn lookup(&self, addresses: &[F::Address], hops: &mut [u64]) {
        debug_assert_eq!(addresses.len(), hops.len());
        let count = addresses.len().min(hops.len()) as u32;
        // SAFETY: the table lives as long as self, and both slices have at least `count` elements.
        unsafe { F::LOOKUP(self.0.raw.as_ptr(), addresses.as_ptr(), hops.as_mut_ptr(), count) }
    }
}

impl<F: Family> FibWriter<F> {
    /// Adds a route, or gives the one that is there another hop, 1 to [`MAX_HOP`]. Address bits beyond `depth` do not
    /// matter.
    ///
    /// # Errors
    /// With ENOSPC, and the size that it was made for, if the table is full.
    pub fn add(&mut self, address: F::Address, depth: u8, hop: u32) -> Result<()> {
        check_hop(F::CALLS.add, Prefix::<F>(address, depth), hop)?;
        // SAFETY: the table lives, and this is its only writer.
        self.change(F::CALLS.add, address, depth, |table| unsafe { F::ADD(table, &address, depth, hop) })
    }

    /// Deletes a route.
    ///
    /// # Errors
    /// With ENOENT if there is none of exactly this prefix.
    pub fn delete(&mut self, address: F::Address, depth: u8) -> Result<()> {
        // SAFETY: the table lives, and this is its only writer.
        self.change(F::CALLS.delete, address, depth, |table| unsafe { F::DELETE(table, &address, depth) })
    }

    /// From here to the next add, groups are for the caller to count: one for each /24 (IPv6: each further octet of a path)
    /// that holds longer prefixes, and a few to spare for what a change builds on its way. Otherwise DPDK counts, and is wrong
    /// before long: 22.11 counts a group for each IPv6 route even where they share them and never takes it back, so that adding
    /// and deleting one route fills the table; for IPv4 a route with the hop of the one above it is not counted but taken back,
    /// and below 0 is full, too.
    ///
    /// A caller that counts too few gets ENOSPC with the route half done. Returns false, and changes nothing, where DPDK's
    /// table does not look as expected.
    pub fn forget_reserved(&mut self) -> bool {
        // SAFETY: the table lives, and this is its only writer; the shim looks before it writes.
        unsafe { F::FORGET(self.0.raw.as_ptr(), self.0.groups) != 0 }
    }

    /// One more reader.
    pub fn reader(&self) -> Fib<F> {
        Fib(Arc::clone(&self.0))
    }

    fn change(
        &mut self,
        call: &'static str,
        address: F::Address,
        depth: u8,
        f: impl FnOnce(*mut F::Raw) -> c_int,
    ) -> Result<()> {
        let (prefix, table) = (Prefix::<F>(address, depth), &self.0);
        if depth > F::BITS {
            let why = format_args!("{prefix}: a prefix has at most {} bits", F::BITS);
            return Err(Error::ours(call, why, libc::EINVAL));
        }
        forget_words();
        match -f(table.raw.as_ptr()) {
            0 => Ok(()),
            // No more room among the prefixes (ENOMEM) or in the groups (ENOSPC).
            libc::ENOMEM | libc::ENOSPC => {
                Err(Error::dpdk(call, format_args!("{prefix}: {table} is full"), libc::ENOSPC))
            }
            errno => Err(Error::dpdk(call, format_args!("{prefix}: {table}"), errno)),
        }
    }
}

impl<F: Family> Table<F> {
    fn make(
        name: &str,
        routes: u32,
        groups: u32,
        default_hop: u32,
        socket: i32,
    ) -> Result<(Fib<F>, FibWriter<F>)> {
        let call = F::CALLS.create;
        let size = format!("table {name} for {routes} routes and {groups} groups");
        check_hop(call, &size, default_hop)?;
        let (held, c_name) = (Held::new(call)?, c_string(call, name)?);
        if routes == 0 || groups == 0 || routes > MAX_ROUTES || groups > MAX_GROUPS {
            let why = format_args!(
                "{size}: at least one of each, at most {MAX_ROUTES} routes and {MAX_GROUPS} groups"
            );
            return Err(Error::ours(call, why, libc::EINVAL));
        }
        // IPv4 does so itself; forget_reserved() knows both by it.
        let groups = groups.next_multiple_of(64);
        // DPDK says EINVAL for lack of memory, too, so the error says how much it would have been.
        let megabytes = memory_of(routes, groups).div_ceil(1 << 20);
        let subject = format_args!("{size}, which takes {megabytes} MB of DPDK's memory");
        let mut raw = ptr::null_mut();
        // SAFETY: a name and numbers in, a table out.
        check(call, subject, || unsafe {
            F::CREATE(c_name.as_ptr(), routes, groups, default_hop, socket, &mut raw)
        })?;
        let raw = NonNull::new(raw).expect("a table that was made is not null");
        let table = Arc::new(Table { raw, name: name.to_owned(), routes, groups, _held: held });
        Ok((Fib(Arc::clone(&table)), FibWriter(table)))
    }
}

impl<F: Family> Drop for Table<F> {
    fn drop(&mut self) {
        // SAFETY: the last of writer and readers.
        unsafe { F::FREE(self.raw.as_ptr()) }
    }
}

impl<F: Family> Clone for Fib<F> {
    fn clone(&self) -> Fib<F> {
        Fib(Arc::clone(&self.0))
    }
}

impl<F: Family> fmt::Debug for Fib<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fib({})", self.0)
    }
}

impl<F: Family> fmt::Debug for FibWriter<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FibWriter({})", self.0)
    }
}

impl<F: Family> fmt::Display for Table<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}, made for {} routes and {} groups,", self.name, self.routes, self.groups)
    }
}

/// An address and a depth, shown as people write them.
struct Prefix<F: Family>(F::Address, u8);

impl<F: Family> fmt::Display for Prefix<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", F::show(self.0), self.1)
    }
}

fn check_hop(call: &'static str, subject: impl fmt::Display, hop: u32) -> Result<()> {
    if (1..=MAX_HOP).contains(&hop) {
        return Ok(());
    }
    Err(Error::ours(call, format_args!("{subject}: hop {hop} is not within 1 to {MAX_HOP}"), libc::EINVAL))
}

fn memory_of(routes: u32, groups: u32) -> u64 {
    // 2^24 hops of 4 bytes; 256 more for each group and its place in the list of free ones.
    const FIRST_LEVEL: u64 = 64 << 20;
    const GROUP: u64 = 1024 + 8;
    // The tree behind the table: two nodes for each route, 21 to a page, and a ring with a pointer to each.
    let nodes = u64::from(routes) * 2;
    let tree = nodes.div_ceil(21) * 4096 + (nodes + 1).next_power_of_two() * 8;
    FIRST_LEVEL + u64::from(groups).next_multiple_of(64) * GROUP + tree + (2 << 20)
}

/// An address family; [`V4`] and [`V6`] are all there are.
pub trait Family: sealed::Family {}
/// IPv4: addresses are numbers in host order.
pub struct V4;
/// IPv6: addresses are 16 octets.
pub struct V6;
impl Family for V4 {}
impl Family for V6 {}

mod sealed {
    use super::*;

    /// Names of DPDK's calls, for errors.
    pub struct Calls {
        pub create: &'static str,
        pub add: &'static str,
        pub delete: &'static str,
    }

    /// What differs between the families: the address, and which functions of the shim serve it.
    pub trait Family: Sized + 'static {
        type Address: Copy;
        type Raw;
        const BITS: u8;
        const CALLS: Calls;
        const CREATE: unsafe extern "C" fn(
            *const c_char,
            u32,
            u32,
            u32,
            c_int,
            *mut *mut Self::Raw,
        ) -> c_int;
        const FREE: unsafe extern "C" fn(*mut Self::Raw);
        const ADD: unsafe extern "C" fn(*mut Self::Raw, *const Self::Address, u8, u32) -> c_int;
        const DELETE: unsafe extern "C" fn(*mut Self::Raw, *const Self::Address, u8) -> c_int;
        const FORGET: unsafe extern "C" fn(*mut Self::Raw, u32) -> c_int;
        const LOOKUP: unsafe extern "C" fn(*mut Self::Raw, *const Self::Address, *mut u64, u32);
        fn show(address: Self::Address) -> IpAddr;
    }

    impl Family for V4 {
        type Address = u32;
        type Raw = ffi::rte_fib;
        const BITS: u8 = 32;
        const CALLS: Calls = Calls { create: "rte_fib_create", add: "rte_fib_add", delete: "rte_fib_delete" };
        const CREATE: unsafe extern "C" fn(
            *const c_char,
            u32,
            u32,
            u32,
            c_int,
            *mut *mut Self::Raw,
        ) -> c_int = ffi::dp_fib4_new;
        const FREE: unsafe extern "C" fn(*mut Self::Raw) = ffi::dp_fib4_free;
        const ADD: unsafe extern "C" fn(*mut Self::Raw, *const u32, u8, u32) -> c_int = ffi::dp_fib4_add;
        const DELETE: unsafe extern "C" fn(*mut Self::Raw, *const u32, u8) -> c_int = ffi::dp_fib4_delete;
        const FORGET: unsafe extern "C" fn(*mut Self::Raw, u32) -> c_int = ffi::dp_fib4_forget_reserved;
        const LOOKUP: unsafe extern "C" fn(*mut Self::Raw, *const u32, *mut u64, u32) = ffi::dp_fib4_lookup;
        fn show(address: u32) -> IpAddr {
            Ipv4Addr::from(address).into()
        }
    }

    impl Family for V6 {
        type Address = [u8; 16];
        type Raw = ffi::rte_fib6;
        const BITS: u8 = 128;
        const CALLS: Calls =
            Calls { create: "rte_fib6_create", add: "rte_fib6_add", delete: "rte_fib6_delete" };
        const CREATE: unsafe extern "C" fn(
            *const c_char,
            u32,
            u32,
            u32,
            c_int,
            *mut *mut Self::Raw,
        ) -> c_int = ffi::dp_fib6_new;
        const FREE: unsafe extern "C" fn(*mut Self::Raw) = ffi::dp_fib6_free;
        const ADD: unsafe extern "C" fn(*mut Self::Raw, *const [u8; 16], u8, u32) -> c_int = ffi::dp_fib6_add;
        const DELETE: unsafe extern "C" fn(*mut Self::Raw, *const [u8; 16], u8) -> c_int =
            ffi::dp_fib6_delete;
        const FORGET: unsafe extern "C" fn(*mut Self::Raw, u32) -> c_int = ffi::dp_fib6_forget_reserved;
        const LOOKUP: unsafe extern "C" fn(*mut Self::Raw, *const [u8; 16], *mut u64, u32) =
            ffi::dp_fib6_lookup;
        fn show(address: [u8; 16]) -> IpAddr {
            address.into()
        }
    }
}

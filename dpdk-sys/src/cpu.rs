//! The processor: its clock, its caches, and which CPUs a thread may run on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{fmt, io, mem};

/// Bytes of a cache line, as DPDK is built.
pub const CACHE_LINE: usize = 64;

/// The time stamp counter: ticks of [`tsc_hz`] since some moment in the past.
#[inline(always)]
pub fn tsc() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, and Linux leaves it to user space.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(target_arch = "aarch64")]
    {
        let ticks: u64;
        // SAFETY: reads the virtual counter, which Linux leaves to user space.
        unsafe { std::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
        ticks
    }
}

/// Ticks of [`tsc`] per second, if we know better than the EAL.
static MEASURED: AtomicU64 = AtomicU64::new(0);

/// Ticks of [`tsc`] per second, to a few in a million; 0 before `Eal::init`, which measures it.
pub fn tsc_hz() -> u64 {
    match MEASURED.load(Relaxed) {
        // SAFETY: reads a number.
        0 => unsafe { crate::ffi::dp_tsc_hz() },
        measured => measured,
    }
}

/// What time it was by both clocks.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    ticks: u64,
    at: Instant,
}

impl Moment {
    /// Now. Of some looks at both clocks the quickest counts, which nothing came in between.
    pub fn now() -> Moment {
        let look = || {
            let (before, at) = (tsc(), Instant::now());
            let took = tsc().wrapping_sub(before);
            (took, Moment { ticks: before.wrapping_add(took / 2), at })
        };
        (0..8).map(|_| look()).fold(look(), |best, next| if next.0 < best.0 { next } else { best }).1
    }

    /// Learns from the time that has passed since then how long a tick is, if it was long enough to tell. The EAL may have rounded it to
    /// 10 MHz, which is up to 2 ms in a second. If it has not, it is about as long as the EAL says: else something else is wrong, and the EAL
    /// is believed.
    pub fn measure(self) {
        let now = Moment::now();
        let passed = now.at - self.at;
        if passed < Duration::from_millis(20) {
            return;
        }
        let ticks = u128::from(now.ticks.wrapping_sub(self.ticks));
        let measured = (ticks * 1_000_000_000 / passed.as_nanos()) as u64;
        if measured.abs_diff(tsc_hz()) <= tsc_hz() / 100 {
            MEASURED.store(measured, Relaxed);
        }
    }
}

/// Fetches a cache line; any address will do.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint, which never faults.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly));
    }
}

/// The CPUs that a thread may run on. Save it before `Eal::init`, which pins the calling thread, and give it back to
/// the threads that start later and are no lcores.
#[derive(Clone, Copy)]
pub struct CpuSet(libc::cpu_set_t);

impl CpuSet {
    /// Whether this CPU is in the set.
    pub fn contains(&self, cpu: usize) -> bool {
        // SAFETY: CPU_ISSET looks into the set only, once the number is within it.
        cpu < libc::CPU_SETSIZE as usize && unsafe { libc::CPU_ISSET(cpu, &self.0) }
    }

    /// Those of its CPUs for which `keep` says so; if there are none, all of these.
    pub fn only(&self, keep: impl Fn(usize) -> bool) -> CpuSet {
        let mut only = *self;
        for cpu in self.cpus().filter(|&cpu| !keep(cpu)) {
            // SAFETY: a CPU of a set is below CPU_SETSIZE; CPU_CLR writes into the set only.
            unsafe { libc::CPU_CLR(cpu, &mut only.0) };
        }
        if only.cpus().next().is_some() { only } else { *self }
    }

    /// Its CPUs, lowest first.
    pub fn cpus(&self) -> impl Iterator<Item = usize> {
        (0..libc::CPU_SETSIZE as usize).filter(|&cpu| self.contains(cpu))
    }

    /// Those that are not in `other`; if there are none, all of these.
    pub fn apart_from(&self, other: &CpuSet) -> CpuSet {
        self.only(|cpu| !other.contains(cpu))
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.cpus()).finish()
    }
}

/// The CPUs that the calling thread may run on.
pub fn affinity() -> io::Result<CpuSet> {
    // SAFETY: an all-zero set is an empty one.
    let mut set = CpuSet(unsafe { mem::zeroed() });
    // SAFETY: 0 is the calling thread; the kernel writes a set into the set.
    match unsafe { libc::sched_getaffinity(0, size_of_val(&set.0), &mut set.0) } {
        0 => Ok(set),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets the calling thread run on these CPUs.
pub fn set_affinity(set: &CpuSet) -> io::Result<()> {
    // SAFETY: 0 is the calling thread; the kernel reads the set.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set.0), &set.0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

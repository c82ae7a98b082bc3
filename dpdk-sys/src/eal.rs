//! The environment abstraction layer: DPDK's start and end, its lcores, and what lives in its memory.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

use crate::cpu::{CpuSet, Moment, affinity};
use crate::{
    Error, Result,
    error::check,
    ffi, log_bridge,
    packet::{TAG_OFFSET, Tag},
    pool,
};

/// DPDK, up and running. Once a process: it cannot start again, not even after [`Eal::cleanup`].
/// Belongs to the thread that made it, the main lcore.
#[derive(Debug)]
pub struct Eal {
    main_lcore: u32,
    affinity: CpuSet,
    /// Not Send, not Sync: lcores are launched by the main lcore.
    _main_thread: PhantomData<*const ()>,
}

static STARTED: AtomicBool = AtomicBool::new(false);

/// "DPDK 22.11.11": the library that is loaded.
pub fn version() -> &'static str {
    // SAFETY: a string constant of the library.
    unsafe { CStr::from_ptr(ffi::dp_version()) }.to_str().unwrap_or("DPDK")
}

impl Eal {
    /// Starts DPDK with these arguments (without the program's name), and sends its log to `log`. The calling thread
    /// becomes the main lcore and is pinned to its CPU; threads that it starts later inherit that, see
    /// [`crate::affinity`].
    ///
    /// # Errors
    /// With EALREADY the second time; else with what the EAL says, which leaves it unusable: the process is to end.
    pub fn init(args: &[String]) -> Result<Eal> {
        if STARTED.swap(true, SeqCst) {
            return Err(Error::ours("rte_eal_init", "DPDK starts once in a process", libc::EALREADY));
        }
        let affinity = affinity().map_err(|error| {
            Error::ours("sched_getaffinity", error.to_string(), error.raw_os_error().unwrap_or(libc::EINVAL))
        })?;
        log_bridge::open()?;
        let mut argv = argv(args)?;
        let began = Moment::now();
        check("rte_eal_init", args.join(" "), || {
            // SAFETY: argc strings, which stay valid for ever, and a null; the EAL may reorder them.
            unsafe { ffi::dp_eal_init(argv.len() as c_int - 1, argv.as_mut_ptr()) }
        })?;
        // The EAL keeps the array.
        argv.leak();
        began.measure();
        // SAFETY: plain calls into a running EAL.
        let offset = check("rte_mbuf_dynfield_register", "the punt tag", || unsafe {
            ffi::dp_tag_register(size_of::<Tag>())
        })?;
        TAG_OFFSET.store(offset as usize, Relaxed);
        UP.store(true, SeqCst);
        // SAFETY: as above.
        Ok(Eal { main_lcore: unsafe { ffi::dp_main_lcore() }, affinity, _main_thread: PhantomData })
    }

    /// The CPUs on which the thread could run that became the main lcore: for those it starts, which are pinned as it is.
    pub fn affinity(&self) -> CpuSet {
        self.affinity
    }

    /// The CPUs of [`affinity`](Eal::affinity) on which none of these lcores runs; if there are none, all of them.
    pub fn cpus_beside(&self, lcores: &[u32]) -> CpuSet {
        // SAFETY: plain calls into a running EAL, with numbers that the shim checks.
        let runs = |lcore: u32, cpu: usize| unsafe { ffi::dp_lcore_runs_on(lcore, cpu as u32) } != 0;
        self.affinity.only(|cpu| !lcores.iter().any(|&lcore| runs(lcore, cpu)))
    }

    /// The lcore that the thread which made this is.
    pub fn main_lcore(&self) -> u32 {
        self.main_lcore
    }

    /// Every other enabled lcore, lowest first.
    pub fn worker_lcores(&self) -> Vec<u32> {
        // SAFETY: plain calls into a running EAL.
        let next = |lcore: u32| Some(unsafe { ffi::dp_next_worker(lcore) }).filter(|&next| next != u32::MAX);
        std::iter::successors(next(u32::MAX), |&lcore| next(lcore)).collect()
    }

    /// The NUMA node of an lcore.
    pub fn socket_of(&self, lcore: u32) -> i32 {
        if lcore == self.main_lcore || self.worker_lcores().contains(&lcore) {
            // SAFETY: an enabled lcore, so within the table.
            return unsafe { ffi::dp_lcore_socket(lcore) };
        }
        ANY_SOCKET
    }

    /// Runs `f` on a worker lcore.
    ///
    /// # Errors
    /// If it is no worker lcore, or busy with something else.
    pub fn launch(&self, lcore: u32, f: impl FnOnce() + Send + 'static) -> Result<()> {
        if !self.worker_lcores().contains(&lcore) {
            let why = format_args!("lcore {lcore} is no worker");
            return Err(Error::ours("rte_eal_remote_launch", why, libc::EINVAL));
        }
        let job = Box::into_raw(Box::new(Job(Box::new(f))));
        let launched = check("rte_eal_remote_launch", format_args!("lcore {lcore}"), || {
            // SAFETY: `run` takes the job over, once.
            unsafe { ffi::dp_launch(Some(run), job.cast(), lcore) }
        });
        if launched.is_err() {
            // SAFETY: nobody took it.
            drop(unsafe { Box::from_raw(job) });
        }
        launched.map(drop)
    }

    /// Waits until a worker lcore has finished what was launched on it; at once if there is nothing.
    ///
    /// # Panics
    /// If what ran there panicked.
    pub fn wait(&self, lcore: u32) {
        if !self.worker_lcores().contains(&lcore) {
            return;
        }
        // SAFETY: a worker lcore; we are the main one.
        let status = unsafe { ffi::dp_wait(lcore) };
        assert!(status != PANICKED, "what was launched on lcore {lcore} panicked");
    }

    /// Ends DPDK and returns its memory. Does neither, and says so in the log, while ports, queues, pools, rings or FIBs
    /// are still held or packets are out: the end of the process does it then.
    pub fn cleanup(self) {
        for lcore in self.worker_lcores() {
            // SAFETY: a worker lcore; we are the main one.
            unsafe { ffi::dp_wait(lcore) };
        }
        // First nobody gets a new handle, then we look whether there are any: see Held::new().
        UP.store(false, SeqCst);
        let (handles, packets) = (HANDLES.load(SeqCst), pool::all_in_use());
        if handles != 0 || packets != 0 {
            UP.store(true, SeqCst);
            log::warn!(
                "DPDK's memory is left to the end of the process: {handles} handles and {packets} packets are \
                 still held"
            );
            return;
        }
        // SAFETY: nothing of ours refers to DPDK's memory any more, and no lcore runs anything.
        let status = unsafe { ffi::dp_eal_cleanup() };
        if status != 0 {
            log::warn!("{}", Error::dpdk("rte_eal_cleanup", "DPDK", status));
        }
    }
}

/// Program's name, arguments, null; never freed, since the EAL keeps pointers.
fn argv(args: &[String]) -> Result<Vec<*mut c_char>> {
    let name = std::env::args().next().unwrap_or_else(|| "puntd".into());
    let mut argv = Vec::with_capacity(args.len() + 2);
    for arg in std::iter::once(&name).chain(args) {
        argv.push(c_string("rte_eal_init", arg)?.into_raw());
    }
    argv.push(std::ptr::null_mut());
    Ok(argv)
}

/// A C string, or the error of the call that it was meant for.
pub(crate) fn c_string(call: &'static str, text: &str) -> Result<CString> {
    CString::new(text)
        .map_err(|_| Error::ours(call, format_args!("{text:?} has a zero byte in it"), libc::EINVAL))
}

/// Bytes of DPDK's memory that are in use, on all NUMA nodes; 0 when it is not running.
pub fn memory_in_use() -> u64 {
    let Ok(_held) = Held::new("rte_malloc_get_socket_stats") else { return 0 };
    // SAFETY: DPDK's memory is there.
    unsafe { ffi::dp_memory_in_use() }
}

/// Any NUMA node will do.
pub const ANY_SOCKET: i32 = -1;

/// What is launched on an lcore.
struct Job(Box<dyn FnOnce() + Send>);

/// What an lcore returns whose job panicked.
const PANICKED: c_int = -1;

/// The lcore's side of [`Eal::launch`]. A panic must not unwind into C.
unsafe extern "C" fn run(job: *mut c_void) -> c_int {
    // SAFETY: launch() boxed it for us, and the EAL calls once.
    let job = unsafe { Box::from_raw(job.cast::<Job>()) };
    match catch_unwind(AssertUnwindSafe(job.0)) {
        Ok(()) => 0,
        Err(_) => PANICKED,
    }
}

/// Whether DPDK's memory is there.
static UP: AtomicBool = AtomicBool::new(false);
/// How many [`Held`] there are.
static HANDLES: AtomicUsize = AtomicUsize::new(0);

/// Something that refers to DPDK's memory exists. Every handle has one; [`Eal::cleanup`] looks whether there are any.
#[derive(Debug)]
pub(crate) struct Held(());

impl Held {
    /// To be had before a call that makes something in DPDK's memory; an error when that is not there.
    pub(crate) fn new(call: &'static str) -> Result<Held> {
        HANDLES.fetch_add(1, SeqCst);
        let held = Held(());
        match UP.load(SeqCst) {
            true => Ok(held),
            false => Err(Error::ours(call, "DPDK is not running", libc::ENXIO)),
        }
    }
}

impl Clone for Held {
    fn clone(&self) -> Held {
        HANDLES.fetch_add(1, SeqCst);
        Held(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HANDLES.fetch_sub(1, SeqCst);
    }
}

//! The EAL: once a process, with its own words, its log in `log`, and work on other lcores.

mod common;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering::SeqCst},
};
use std::time::{Duration, Instant};

use common::{arguments, eal, pool};
use dpdk_sys::{
    ANY_SOCKET, Eal, Pool, Port, Ring, affinity, fib4, fib6, memory_in_use, ring_port, set_affinity, tsc,
    tsc_hz, version,
};

#[test]
fn it_starts_once_in_a_process() {
    let first = eal(&[]);
    let error = Eal::init(&arguments("0", &[])).unwrap_err();
    assert_eq!(error.errno(), libc::EALREADY);
    assert!(error.to_string().starts_with("rte_eal_init: DPDK starts once in a process"), "{error}");
    first.cleanup();
    assert_eq!(Eal::init(&arguments("0", &[])).unwrap_err().errno(), libc::EALREADY);
}

#[test]
fn a_wrong_argument_is_an_error_in_the_eals_own_words() {
    let error = Eal::init(&arguments("no-lcore", &[])).unwrap_err();
    println!("{error}");
    let (ours, dpdks) =
        error.to_string().split_once(", DPDK says: ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(ours.starts_with("rte_eal_init: --no-huge ") && ours.contains("--lcores no-lcore"), "{ours}");
    assert!(dpdks.contains("EAL: ") && dpdks.contains("lcore"), "{dpdks}");
}

#[test]
fn a_zero_byte_in_an_argument_is_refused() {
    let error = Eal::init(&["--vdev=net\0null0".into()]).unwrap_err();
    assert_eq!(error.errno(), libc::EINVAL);
}

#[test]
fn it_says_its_version_and_measures_the_clock() {
    assert!(version().starts_with("DPDK 2"), "{}", version());
    let before = tsc();
    let eal = eal(&[]);
    assert!(tsc() > before);
    assert!(tsc_hz() > 100_000_000, "{} ticks per second", tsc_hz());
    // By the system's clock, of several looks the closest: the EAL alone would be off by up to two in a thousand.
    let off = || {
        let (ticks, start) = (tsc(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let by_ticks = (tsc() - ticks) as f64 / tsc_hz() as f64;
        (by_ticks / start.elapsed().as_secs_f64() - 1.0).abs()
    };
    let off = (0..10).map(|_| off()).fold(f64::MAX, f64::min);
    assert!(off < 0.000_2, "a tick is off by {off}");
    eal.cleanup();
}

/// A logger that keeps lines.
struct Kept(Mutex<Vec<(log::Level, String, String)>>);

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }
    fn log(&self, record: &log::Record) {
        let line = (record.level(), record.target().to_owned(), record.args().to_string());
        self.0.lock().unwrap().push(line);
    }
    fn flush(&self) {}
}

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

#[test]
fn what_dpdk_logs_arrives_in_log_line_by_line() {
    log::set_logger(&KEPT).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let eal = eal(&[]);
    Pool::new("packets", 1023, 0, 2048, ANY_SOCKET).unwrap();
    let error = Pool::new("packets", 1023, 0, 2048, ANY_SOCKET).unwrap_err();
    assert_eq!(error.errno(), libc::EEXIST, "{error}");
    eal.cleanup();

    let lines = KEPT.0.lock().unwrap();
    let has = |level, part: &str| {
        lines.iter().any(|line| line.0 == level && line.1 == "dpdk" && line.2.contains(part))
    };
    assert!(has(log::Level::Info, "EAL: Detected CPU lcores: "), "{lines:?}");
    assert!(lines.iter().all(|(_, _, line)| !line.is_empty() && !line.contains('\n')), "{lines:?}");
}

#[test]
fn work_runs_on_the_lcore_that_was_asked_for() {
    let eal = Eal::init(&arguments("0@0,1@0,5@0", &[])).unwrap();
    assert_eq!((eal.main_lcore(), eal.worker_lcores()), (0, vec![1, 5]));
    assert!(eal.socket_of(5) >= 0);
    assert_eq!(eal.socket_of(4), ANY_SOCKET);

    let (pool, sum) = (pool(1023), Arc::new(AtomicU32::new(0)));
    for lcore in eal.worker_lcores() {
        let (pool, sum) = (pool.clone(), Arc::clone(&sum));
        eal.launch(lcore, move || {
            let packet = pool.alloc().unwrap();
            sum.fetch_add(pool.in_use(), SeqCst);
            packet.free();
        })
        .unwrap();
        eal.wait(lcore);
    }
    assert_eq!(sum.load(SeqCst), 2);
    assert_eq!(eal.launch(0, || ()).unwrap_err().errno(), libc::EINVAL, "the main lcore is no worker");
    assert_eq!(eal.launch(4, || ()).unwrap_err().errno(), libc::EINVAL, "there is no lcore 4");
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_busy_lcore_is_an_error_and_what_was_to_run_is_dropped() {
    let eal = Eal::init(&arguments("0@0,1@0", &[])).unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    eal.launch(1, move || released.recv().unwrap()).unwrap();
    let witness = Arc::new(());
    let held = Arc::clone(&witness);
    assert_eq!(eal.launch(1, move || drop(held)).unwrap_err().errno(), libc::EBUSY);
    assert_eq!(Arc::strong_count(&witness), 1);
    release.send(()).unwrap();
    eal.wait(1);
    eal.cleanup();
}

#[test]
#[should_panic(expected = "what was launched on lcore 1 panicked")]
fn a_panic_on_an_lcore_is_the_waiters() {
    let eal = Eal::init(&arguments("0@0,1@0", &[])).unwrap();
    eal.launch(1, || panic!("a bug in a worker")).unwrap();
    eal.wait(1);
}

#[test]
fn the_main_lcore_is_pinned_and_other_threads_get_their_cpus_back() {
    let before = affinity().unwrap();
    let _eal = Eal::init(&arguments("0", &[])).unwrap();
    assert_eq!(affinity().unwrap().cpus().count(), 1);
    let other = std::thread::spawn(move || {
        set_affinity(&before).unwrap();
        affinity().unwrap().cpus().collect::<Vec<_>>()
    });
    assert_eq!(other.join().unwrap(), before.cpus().collect::<Vec<_>>());
    assert!(!before.contains(1_000_000));
}

#[test]
fn nothing_is_made_before_it_starts_nor_after_it_ended() {
    let all_refused = || {
        let refusals = [
            Pool::new("packets", 1023, 0, 2048, ANY_SOCKET).unwrap_err(),
            Ring::new("wire", 64, ANY_SOCKET).unwrap_err(),
            ring_port("lan", &[], &[]).unwrap_err(),
            Port::by_name("net_null0").unwrap_err(),
            fib4("v4", 100, 16, 1, ANY_SOCKET).unwrap_err(),
            fib6("v6", 100, 16, 1, ANY_SOCKET).unwrap_err(),
        ];
        for error in refusals {
            assert!(error.to_string().contains(": DPDK is not running: "), "{error}");
        }
        assert_eq!(memory_in_use(), 0);
    };
    all_refused();
    let eal = eal(&["--vdev", "net_null0"]);
    drop((pool(1023), Port::by_name("net_null0").unwrap()));
    eal.cleanup();
    all_refused();
}

#[test]
fn memory_stays_while_anybody_holds_a_part_of_it() {
    let eal = eal(&[]);
    let pool = pool(1023);
    let packet = pool.alloc_frame(b"frame").unwrap();
    eal.cleanup();
    assert_eq!(packet.bytes(), b"frame");
    packet.free();
    assert_eq!(pool.in_use(), 0);
}

//! What is measured, and all that it takes: the EAL, packets, routers.

use std::error::Error;
use std::sync::Arc;

use dpdk_sys::{
    ANY_SOCKET, DEFAULT_DATA_ROOM, Eal, Pool, Ring, affinity, memory_of_fib4, memory_of_fib6, memory_of_pool,
};

use crate::agreement;
use crate::contender::{Contender, Floor, InGraph};
use crate::fused::Fused;
use crate::report::{FUSED, Row, Target};
use crate::router::Router;
use crate::slices::interleaved;
use crate::wire::{Flows, Wire};

/// A kind of traffic.
pub struct Scenario {
    pub traffic: &'static str,
    burst: u16,
    /// Packets that go round.
    packets: usize,
    routes: Routes,
    flows: usize,
    percent_expired: u32,
    target: Target,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Routes {
    Few4,
    Million4,
    Few6,
}

const RATIO: Target = Target { cycles: None, ratio: Some(1.15) };
const IP4: Target = Target { cycles: Some(30.0), ratio: Some(1.15) };
const IP6: Target = Target { cycles: Some(60.0), ratio: None };
const NONE: Target = Target { cycles: None, ratio: None };

/// Few enough for the caches.
const HOT: usize = 256;

const fn scenario(
    traffic: &'static str,
    burst: u16,
    packets: usize,
    routes: Routes,
    flows: usize,
    percent_expired: u32,
    target: Target,
) -> Scenario {
    Scenario { traffic, burst, packets, routes, flows, percent_expired, target }
}

/// Everything that is measured.
pub const SCENARIOS: &[Scenario] = &[
    scenario("ip4 1 flow", 64, HOT, Routes::Few4, 1, 0, IP4),
    scenario("ip4 4096 flows", 64, HOT, Routes::Few4, 4096, 0, IP4),
    scenario("ip4 4096 flows", 32, HOT, Routes::Few4, 4096, 0, NONE),
    scenario("ip4 4096 flows", 256, HOT, Routes::Few4, 4096, 0, NONE),
    scenario("ip4 1 % exceptions", 64, HOT, Routes::Few4, 4096, 1, NONE),
    scenario("ip4 12 % exceptions", 64, HOT, Routes::Few4, 4096, 12, NONE),
    scenario("ip4 cold", 64, 32_000, Routes::Few4, 4096, 0, RATIO),
    scenario("ip4 cold", 64, 131_000, Routes::Few4, 4096, 0, RATIO),
    scenario("ip6 4096 flows", 64, HOT, Routes::Few6, 4096, 0, IP6),
    scenario("ip4 million routes", 64, HOT, Routes::Million4, 1 << 20, 0, NONE),
    scenario("ip4 million, cold", 64, 131_000, Routes::Million4, 1 << 20, 0, NONE),
];

impl Scenario {
    /// Is it among those of a quick run?
    pub fn quick(&self) -> bool {
        !self.is_large()
    }

    /// Does it need the large table?
    pub fn is_large(&self) -> bool {
        self.routes == Routes::Million4
    }
}

/// Routes of the small and of the large table.
const FEW: usize = 256;
const MILLION: usize = 1_000_000;
/// TSC cycles of a slice: about 0.2 milliseconds, so that few of them meet another process. Slices ten times as long do on a busy machine.
const SLICE: u64 = 500_000;
/// Packets in the pool.
pub const PACKETS: u32 = 140_000;

/// The wire, and who takes part.
type LineUp = (Wire, Vec<Box<dyn Contender>>);

/// All that it takes.
pub struct Rig {
    pub eal: Eal,
    pool: Pool,
    few: Router,
    million: Option<Router>,
    rings: u32,
}

impl Rig {
    /// Starts DPDK on the first CPUs that we may use, and fills the routers' tables.
    pub fn new(packets: u32, large: bool) -> Result<Rig, Box<dyn Error>> {
        let eal = Eal::init(&arguments(megabytes(packets, large))?)?;
        let pool = Pool::new("packets", packets, 256, DEFAULT_DATA_ROOM, ANY_SOCKET)?;
        let few = Router::new("few", FEW)?;
        let million = if large { Some(Router::new("million", MILLION)?) } else { None };
        Ok(Rig { eal, pool, few, million, rings: 0 })
    }

    /// Sees that graph and reference do the same.
    pub fn check_agreement(&mut self) -> Result<(), Box<dyn Error>> {
        let ring = self.ring(64)?;
        Ok(agreement::check(ring, &self.pool, &self.few.tables, &self.few.destinations4)?)
    }

    /// Measures one kind of traffic.
    pub fn measure(&mut self, scenario: &Scenario, rounds: usize) -> Result<Row, Box<dyn Error>> {
        let Scenario { traffic, burst, packets, target, .. } = *scenario;
        let (mut wire, mut contenders) = self.line_up(scenario)?;
        let rounds = interleaved(&mut contenders, rounds, SLICE);
        wire.clear();
        Ok(Row {
            traffic,
            burst,
            packets,
            cold: packets > HOT,
            rounds,
            fused: contenders.len() > FUSED,
            target,
        })
    }

    /// The wire, and who takes part: the floor, the graph, and the fused loop if there is one for this traffic.
    pub fn line_up(&mut self, scenario: &Scenario) -> Result<LineUp, Box<dyn Error>> {
        let Scenario { burst, packets, flows, percent_expired, .. } = *scenario;
        let ring = self.ring(packets)?;
        let router = if scenario.is_large() { self.million.as_ref() } else { None }.unwrap_or(&self.few);
        let ip6 = scenario.routes == Routes::Few6;
        let flows = match ip6 {
            true => Flows::ip6(&router.destinations6, flows),
            false => Flows::ip4(&router.destinations4, flows, percent_expired),
        };
        let wire = Wire::new(ring, &self.pool, Arc::new(flows), packets);
        let exceptions = percent_expired > 0;
        let mut contenders: Vec<Box<dyn Contender>> = vec![
            Box::new(Floor::new(&wire, burst, exceptions)),
            Box::new(InGraph::new(&wire, &router.tables, burst, exceptions)),
        ];
        if !ip6 {
            contenders.push(Box::new(Fused::new(&wire, &router.tables, burst, exceptions)));
        }
        Ok((wire, contenders))
    }

    /// A ring for so many packets. It lives until the EAL ends.
    fn ring(&mut self, packets: usize) -> dpdk_sys::Result<Ring> {
        self.rings += 1;
        Ring::new(&format!("wire-{}", self.rings), (packets as u32 + 1).next_power_of_two(), ANY_SOCKET)
    }
}

/// The EAL's arguments: hugepages where there are enough, and a second lcore where there is a second CPU.
fn arguments(megabytes: u64) -> Result<Vec<String>, Box<dyn Error>> {
    let cpus = affinity()?;
    let lcores: Vec<_> =
        cpus.cpus().take(2).enumerate().map(|(lcore, cpu)| format!("{lcore}@{cpu}")).collect();
    let memory = match free_hugepages() >= megabytes {
        true => "--huge-unlink".to_owned(),
        false => format!("--no-huge -m {megabytes}"),
    };
    let lcores = lcores.join(",");
    let prefix = format!("bench-{}", std::process::id());
    let all = format!(
        "{memory} --no-pci --no-shconf --no-telemetry --iova-mode=va --file-prefix {prefix} --lcores {lcores}"
    );
    Ok(all.split(' ').map(str::to_owned).collect())
}

/// What everything takes.
fn megabytes(packets: u32, large: bool) -> u64 {
    let router = |routes: usize| {
        memory_of_fib4(routes as u32 + 1, Router::GROUPS4)
            + memory_of_fib6(Router::ROUTES6 + 1, Router::GROUPS6)
    };
    let large = if large { router(MILLION) } else { 0 };
    let all = memory_of_pool(packets, DEFAULT_DATA_ROOM) + router(FEW) + large;
    // Rings, what the EAL needs for itself, and gaps.
    all.div_ceil(1 << 20) + 256
}

/// Megabytes of hugepages that nobody uses.
fn free_hugepages() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let number = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    number("HugePages_Free:") * number("Hugepagesize:") / 1024
}

/// What the processor calls itself.
pub fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown processor".to_owned(), |(_, name)| name.to_owned())
}

//! The engine put together: ports, pools, tables, one worker for each forwarding lcore, and the control plane that drives them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dpdk_sys::{ANY_SOCKET, Eal, Fib4Writer, Fib6Writer, Pool, Port};
use punt::clock::Clock;
use punt::desk::{self, Desk};
use punt::dispatch::Outbox;
use punt::sink::Dirty;

use crate::args::IdlePolicy;
use crate::config::{Config, Link};
use crate::control::{Control, Parts, PoolHandle, PortHandle, Refused, WorkerHandle};
use crate::counters::Counters;
use crate::graph::{Graph, Miswired, Plan};
use crate::losses;
use crate::nodes;
use crate::nodes::transmit::Transmit;
use crate::ports::{Ready, Spread, spread};
use crate::quiescent::Domain;
use crate::reasons;
use crate::run;
use crate::run::{Idle, Input, Worker};
use crate::sinks::{self, Names, Tools, Workshop};
use crate::tables::{HOP_NO_ROUTE, Lpm4, Lpm6, Tables};

/// L3 interfaces that there can be beside those that the configuration names: each name that comes takes one, and keeps it for as long as
/// the engine runs.
pub(crate) const SPARE_INTERFACES: usize = 1024;
/// The MTU of an interface that says nothing about it.
const DEFAULT_MTU: u16 = 1500;
/// Mbufs that an lcore keeps at hand: at least twice the largest burst.
const POOL_CACHE: u32 = 512;

/// The longest header before an L3 packet: two addresses, two tags, the ethertype.
const LINK_HEADER: u16 = 22;

/// What can go wrong at start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// DPDK refused something.
    #[error(transparent)]
    Dpdk(#[from] dpdk_sys::Error),
    /// The tables do not fit into DPDK's memory, as a rule: it says "invalid argument", or "no such file", when it means that.
    #[error(
        "{error}; with these [tables] DPDK needs {megabytes} MB: give it as many (-m {megabytes}), or make the tables smaller"
    )]
    Tables {
        /// What DPDK says.
        error: dpdk_sys::Error,
        /// What would be enough.
        megabytes: u64,
    },
    /// The graph is wired wrongly.
    #[error(transparent)]
    Graph(#[from] Miswired),
    /// The configuration names a port that is not there.
    #[error("interface {interface}: there is no port {port}; there {there}")]
    NoPort {
        /// The interface.
        interface: String,
        /// The port it names.
        port: String,
        /// "are" or "is", and the ports there are.
        there: String,
    },
    /// There are no ports.
    #[error(
        "there is no port to forward between: bind a NIC to a DPDK driver, or make a virtual one with --vdev"
    )]
    NoPorts,
    /// The processor lacks what policers need.
    #[error("this processor has no atomic of 128 bits (cmpxchg16b), without which policers would lock")]
    Atomics,
    /// The system gave no thread.
    #[error("no thread for sinks: {0}")]
    Thread(#[from] std::io::Error),
    /// The control plane refused the configuration.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// An engine that is set up, and whose workers are not running.
pub struct Engine {
    /// What drives it.
    pub control: Control,
    /// One for each forwarding lcore, with its number.
    pub workers: Vec<(u32, Worker)>,
}

impl Engine {
    /// Puts an engine together of every port that the EAL has, and starts the ports.
    ///
    /// `socket` is the control socket: those of clients that inject stand beside it.
    ///
    /// # Errors
    /// See [`StartError`]. Ports that were set up stay so; the process is to end.
    pub fn new(
        eal: &Eal,
        config: &Config,
        burst: u16,
        idle: IdlePolicy,
        socket: &Path,
    ) -> Result<Engine, StartError> {
        let lcores = match eal.worker_lcores() {
            lcores if lcores.is_empty() => vec![eal.main_lcore()],
            lcores => lcores,
        };
        if !punt::policer::is_lock_free() {
            return Err(StartError::Atomics);
        }
        let ports = Port::all(eal)?;
        let names = interface_names(config, &ports)?;
        let max_interfaces = names.len() + config.interfaces.len() + SPARE_INTERFACES;
        let plan = Plan::new(&nodes::all(Transmit::new(Vec::new(), 1)), max_interfaces)?;
        let statics = reasons::statics(&plan);
        let punting = Arc::new(desk::Tables::new(statics.len()));
        // Tables first: packets take what is left.
        let (tables, fib4, fib6) = tables(config, max_interfaces, &ports, punting.clone())?;
        let pools = pools(eal, config, &lcores, &ports)?;
        let ready = set_up(ports, config, lcores.len(), &pools)?;
        let domain = Domain::new(lcores.len());
        let clock = Arc::new(Clock::new(dpdk_sys::tsc_hz(), dpdk_sys::tsc()));
        let dirty: Vec<Arc<Dirty>> = lcores.iter().map(|_| Arc::default()).collect();
        let known = Arc::new(Names::default());
        let workshop = Workshop::new(
            sinks::Setup {
                dirty: dirty.clone(),
                // A sink's thread beside a worker would take the worker's time.
                affinity: eal.cpus_beside(&lcores),
                tables: tables.clone(),
                domain: domain.clone(),
                directory: config.punt.directory.clone().into(),
                socket: std::path::absolute(socket)?,
            },
            known.clone(),
        )?;
        let fairness = sinks::fairness(lcores.len());
        let mut desk = Desk::new(
            desk::Setup {
                tables: punting,
                domain: domain.clone(),
                workers: lcores.len(),
                now: dpdk_sys::tsc,
                clock: clock.clone(),
                means: Box::new(Tools(workshop)),
                memory: config.punt.memory.0 as usize,
                fairness: fairness.clone(),
            },
            statics,
        );
        losses::watch(&mut desk, &tables.watched);
        let epoch = sinks::epoch();

        let buffers = pools.values().map(|pool| pool.size() as usize).sum();
        let Spread { shares, ports, ring_capacity } = spread(ready, lcores.len(), buffers, burst as usize);
        let mut workers = Vec::new();
        let mut handles = Vec::new();
        for (at, (share, &lcore)) in shares.into_iter().zip(&lcores).enumerate() {
            let stages = nodes::all(Transmit::new(share.ways, burst as usize));
            let counters = Arc::new(Counters::new(plan.layout.clone()));
            let queues = share.inputs.iter().map(Input::name).collect();
            handles.push(WorkerHandle { lcore, queues, counters: counters.clone() });
            let outbox =
                Outbox::new(at as u16, epoch, clock.clone(), dirty[at].clone(), fairness[at].clone());
            let pool = pool_for(&pools, eal.socket_of(lcore)).ok_or(StartError::NoPorts)?.clone();
            let worker = Worker::new(run::Parts {
                number: at,
                graph: Graph::new(stages, &plan, burst as usize, outbox),
                pool,
                inputs: share.inputs,
                handed: share.handed,
                tables: tables.clone(),
                reader: domain.reader(at),
                counters,
                idle: idle_policy(idle, share.serves_hardware),
            });
            workers.push((lcore, worker));
        }
        let mut ports: Vec<PortHandle> = ports
            .into_iter()
            .zip(names)
            .map(|((port, index), interface)| PortHandle { port, interface, index })
            .collect();
        for handle in &mut ports {
            handle.port.start()?;
        }
        let idle = |pool: Pool| PoolHandle { idle: pool.in_use(), pool };
        let parts = Parts {
            tables,
            domain,
            fib4,
            fib6,
            sizes: config.tables,
            ports,
            workers: handles,
            plan,
            pools: pools.into_values().map(idle).collect(),
            max_interfaces: max_interfaces as u32,
            ring_capacity: ring_capacity as u64,
            desk,
            names: known,
            clock,
            socket: socket.to_owned(),
        };
        let control = Control::new(parts, config)?;
        Ok(Engine { control, workers })
    }

    /// Runs the workers on their lcores until `stop` is set, and returns them when all have left. The control plane is yours meanwhile.
    ///
    /// No worker may go before the last has left its loop: in its last turn that one still hands packets to the owners of ports.
    ///
    /// # Errors
    /// If an lcore is busy with something else.
    pub fn run(
        workers: Vec<(u32, Worker)>,
        eal: &Eal,
        stop: &Arc<AtomicBool>,
    ) -> dpdk_sys::Result<Vec<(u32, Worker)>> {
        let mut here = None;
        let mut launched = Vec::new();
        let (leaving, left) = crossbeam_channel::unbounded();
        for (lcore, mut worker) in workers {
            if lcore == eal.main_lcore() {
                here = Some((lcore, worker));
                continue;
            }
            let (until, leaving) = (stop.clone(), leaving.clone());
            let job = move || {
                worker.run(&until);
                // Nobody waits for it any more when another lcore could not be launched.
                let _ = leaving.send((lcore, worker));
            };
            if let Err(error) = eal.launch(lcore, job) {
                stop.store(true, Ordering::Relaxed);
                launched.into_iter().for_each(|lcore| eal.wait(lcore));
                return Err(error);
            }
            launched.push(lcore);
        }
        drop(leaving);
        if let Some((_, worker)) = &mut here {
            worker.run(stop);
        }
        // The EAL waits by spinning, and this may take a year: sleep until there is nothing to wait for. A worker that panics lets go, too.
        let mut gone: Vec<_> = here.into_iter().chain(left).collect();
        launched.into_iter().for_each(|lcore| eal.wait(lcore));
        gone.sort_by_key(|(lcore, _)| *lcore);
        Ok(gone)
    }
}

/// Tables as large as the configuration wants them, and the writers of their FIBs.
fn tables(
    config: &Config,
    interfaces: usize,
    ports: &[Port],
    punting: Arc<desk::Tables>,
) -> Result<(Arc<Tables>, Fib4Writer, Fib6Writer), StartError> {
    let ports = ports.iter().map(|port| port.id() as usize + 1).max().ok_or(StartError::NoPorts)?;
    let sizes = &config.tables;
    let (size4, size6) = (sizes.fib4(), sizes.fib6());
    let refused =
        |error| StartError::Tables { error, megabytes: crate::eal::megabytes(config.memory().dpdk()) };
    let (fib4, writer4) =
        dpdk_sys::fib4("puntd4", size4.routes, size4.groups, HOP_NO_ROUTE, ANY_SOCKET).map_err(refused)?;
    let (fib6, writer6) =
        dpdk_sys::fib6("puntd6", size6.routes, size6.groups, HOP_NO_ROUTE, ANY_SOCKET).map_err(refused)?;
    let hops = sizes.hops(interfaces as u32) as usize;
    let tables = Tables::new(interfaces, ports, hops, Lpm4::Dpdk(fib4), Lpm6::Dpdk(fib6), punting);
    Ok((Arc::new(tables), writer4, writer6))
}

/// Sets all ports up; their interfaces have the indices from 1 on.
fn set_up(
    ports: Vec<Port>,
    config: &Config,
    workers: usize,
    pools: &BTreeMap<i32, Pool>,
) -> Result<Vec<Ready>, StartError> {
    let ready = |(index, port): (u32, Port)| {
        let pool = pool_for(pools, port.info()?.socket).ok_or(StartError::NoPorts)?;
        let mtu = mtu(config, &port);
        if !port.info()?.takes_segments() && mtu > config.tables.packet_size.saturating_sub(LINK_HEADER) {
            log::warn!(
                "port {}: its driver sends no frame that lies in several buffers, and an MTU of {mtu} wants these: set tables.packet_size to at least {}",
                port.name(),
                mtu.saturating_add(LINK_HEADER)
            );
        }
        Ok(Ready::new(port, index, mtu, workers, pool)?)
    };
    (1..).zip(ports).map(ready).collect()
}

/// What a worker does when there is nothing to do: `auto` goes by whether hardware waits for it.
fn idle_policy(wanted: IdlePolicy, serves_hardware: bool) -> Idle {
    match wanted {
        IdlePolicy::Spin => Idle::Spin,
        IdlePolicy::Nap => Idle::Nap,
        IdlePolicy::Auto if serves_hardware => Idle::Spin,
        IdlePolicy::Auto => Idle::Nap,
    }
}

/// The name of each port's own interface: the configuration's, or the EAL's name of the port.
fn interface_names(config: &Config, ports: &[Port]) -> Result<Vec<String>, StartError> {
    for interface in &config.interfaces {
        let Link::Port(port) = &interface.link else { continue };
        if !ports.iter().any(|there| there.name() == port) {
            let there = match ports.iter().map(Port::name).collect::<Vec<_>>() {
                none if none.is_empty() => {
                    "is none at all: look for what the EAL says of it above, bind a NIC to a DPDK driver, or make a port with --vdev".into()
                }
                ports => format!("are: {}", ports.join(", ")),
            };
            return Err(StartError::NoPort { interface: interface.name.clone(), port: port.clone(), there });
        }
    }
    let name = |port: &Port| {
        config.interface_of(port.name()).map_or(port.name(), |interface| &interface.name).to_owned()
    };
    Ok(ports.iter().map(name).collect())
}

/// The MTU that the configuration wants of the port's own interface.
fn mtu(config: &Config, port: &Port) -> u16 {
    config.interface_of(port.name()).and_then(|interface| interface.mtu).unwrap_or(DEFAULT_MTU)
}

/// A pool for each NUMA node that has a port or a worker.
fn pools(
    eal: &Eal,
    config: &Config,
    lcores: &[u32],
    ports: &[Port],
) -> Result<BTreeMap<i32, Pool>, StartError> {
    let mut nodes: BTreeSet<i32> = lcores.iter().map(|&lcore| eal.socket_of(lcore)).collect();
    for port in ports {
        nodes.insert(port.info()?.socket);
    }
    nodes.remove(&ANY_SOCKET);
    if nodes.is_empty() {
        nodes.insert(0);
    }
    let refused =
        |error| StartError::Tables { error, megabytes: crate::eal::megabytes(config.memory().dpdk()) };
    nodes.into_iter().map(|node| Ok((node, pool(config, node).map_err(refused)?))).collect()
}

/// As many packets for this NUMA node as the operator wants, or as fit beside the tables.
fn pool(config: &Config, node: i32) -> dpdk_sys::Result<Pool> {
    let (mut smaller, room) = (config.tables.packets().into_iter().peekable(), config.tables.data_room());
    loop {
        let packets = smaller.next().unwrap_or_default();
        let cache = POOL_CACHE.min(packets / 2);
        match Pool::new(&format!("packets{node}"), packets, cache, room, node) {
            Err(error) if smaller.peek().is_none() => return Err(error),
            Err(_) => {}
            Ok(pool) => {
                log::info!("{packets} packet buffers on NUMA node {node}");
                return Ok(pool);
            }
        }
    }
}

/// The pool for a port on this NUMA node.
fn pool_for(pools: &BTreeMap<i32, Pool>, node: i32) -> Option<&Pool> {
    pools.get(&node).or_else(|| pools.values().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_naps_unless_hardware_waits_for_it_or_the_operator_says_otherwise() {
        for (wanted, serves_hardware, idle) in [
            (IdlePolicy::Auto, true, Idle::Spin),
            (IdlePolicy::Auto, false, Idle::Nap),
            (IdlePolicy::Spin, false, Idle::Spin),
            (IdlePolicy::Nap, true, Idle::Nap),
        ] {
            assert_eq!(idle_policy(wanted, serves_hardware), idle, "{serves_hardware}");
        }
    }
}

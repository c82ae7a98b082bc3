//! A control plane with a real EAL, for tests: two ports made of rings, and a look at what a worker would find.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dpdk_sys::{ANY_SOCKET, DEFAULT_DATA_ROOM, Eal, Pool, Port, Ring, fib4, fib6, ring_port};
use punt::control::types::{Address, Neighbor, NeighborKey, Route, RouteAction, RouteKey};

use super::model::{Life, Means, Model, Op, Settings};
use super::{Control, Parts, PoolHandle, PortHandle, Refused, WorkerHandle};
use crate::config::{Config, Sizes};
use crate::counters::Counters;
use crate::graph::Plan;
use crate::nodes::{self, transmit::Transmit};
use crate::quiescent::{Domain, Reader};
use crate::tables::{HOP_NO_ROUTE, Hop, Lpm4, Lpm6, Tables};

pub const MAX_INTERFACES: u32 = 16;

/// An EAL on one lcore with so many megabytes, without root, hugepages or hardware.
pub fn eal(megabytes: u32) -> Eal {
    let megabytes = megabytes.to_string();
    let prefix = format!("control-{}", std::process::id());
    let fixed = ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "--iova-mode=va", "--lcores", "0"];
    let args = fixed.into_iter().chain(["-m", &megabytes, "--file-prefix", &prefix]);
    Eal::init(&args.map(str::to_owned).collect::<Vec<_>>()).expect("the EAL starts")
}

/// Tables that fit into 192 MB.
pub fn small() -> Sizes {
    let sizes = Sizes { routes4: 1_000, routes6: 1_000, neighbors: 100, next_hops: 64, ..Sizes::default() };
    Sizes { groups4: Some(128), groups6: Some(512), packets: Some(1_023), ..sizes }
}

/// A port whose both ends are rings that nobody uses.
pub fn port(name: &str) -> Port {
    let ring =
        |end: &str| Ring::new(&format!("{name}-{end}"), 64, ANY_SOCKET).expect("there is room for a ring");
    ring_port(name, &[ring("in")], &[ring("out")]).expect("there is room for a port")
}

/// What a rig is made of, and the interfaces' ports.
fn means(sizes: Sizes) -> (Means, Vec<PortHandle>) {
    let (v4, v6) = (sizes.fib4(), sizes.fib6());
    let (reader4, fib4) = fib4("v4", v4.routes, v4.groups, HOP_NO_ROUTE, ANY_SOCKET).expect("the FIB fits");
    let (reader6, fib6) = fib6("v6", v6.routes, v6.groups, HOP_NO_ROUTE, ANY_SOCKET).expect("the FIB fits");
    let (hops, ports) = (sizes.hops(MAX_INTERFACES) as usize, 32);
    let punt = Arc::new(punt::desk::Tables::new(300));
    let (reader4, reader6) = (Lpm4::Dpdk(reader4), Lpm6::Dpdk(reader6));
    let tables = Tables::new(MAX_INTERFACES as usize, ports, hops, reader4, reader6, punt);
    let (tables, domain) = (Arc::new(tables), Domain::new(4));
    let handle = |(index, name): (u32, &str)| PortHandle { port: port(name), interface: name.into(), index };
    let ports = [(1, "lan"), (2, "wan")].map(handle).into();
    (Means { tables, domain, fib4, fib6, sizes, max_interfaces: MAX_INTERFACES }, ports)
}

/// A control plane with the interfaces `lan` and `wan`, two workers that do not run, and their counters.
pub fn control(sizes: Sizes) -> (Control, [Arc<Counters>; 2]) {
    let (Means { tables, domain, fib4, fib6, sizes, max_interfaces }, ports) = means(sizes);
    let stages = nodes::all(Transmit::<dpdk_sys::TxQueue>::new(Vec::new(), 64));
    let plan = Plan::new(&stages, max_interfaces as usize).expect("the graph is wired rightly");
    let counters = [(); 2].map(|()| Arc::new(Counters::new(plan.layout.clone())));
    let worker = |(at, counters): (usize, &Arc<Counters>)| WorkerHandle {
        lcore: at as u32 + 1,
        queues: vec![format!("net_ring_lan:{at}")],
        counters: counters.clone(),
    };
    let workers = counters.iter().enumerate().map(worker).collect();
    let pools = vec![PoolHandle {
        pool: Pool::new("packets", 511, 0, DEFAULT_DATA_ROOM, ANY_SOCKET).expect("room"),
        idle: 0,
    }];
    let (ring_capacity, eal) = (1024, vec!["--no-huge".into()]);
    let desk = crate::testing::desk(&plan, domain.clone(), 2);
    let parts = Parts {
        desk,
        names: Arc::default(),
        clock: crate::testing::clock(),
        socket: "/run/puntd/puntd.sock".into(),
        tables,
        domain,
        fib4,
        fib6,
        sizes,
        ports,
        workers,
        plan,
        pools,
        max_interfaces,
        ring_capacity,
    };
    let config = Config { eal, tables: sizes, ..Config::default() };
    (Control::new(parts, &config).expect("nothing speaks against it"), counters)
}

/// Does something while workers that do not run answer when they are asked for a snapshot.
pub fn while_they_answer<T>(workers: &[Arc<Counters>], what: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                workers.iter().for_each(|worker| worker.snapshot_if_wanted());
                std::thread::yield_now();
            }
        });
        let result = what();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// A model over real FIBs.
pub struct Rig {
    pub model: Model,
    pub tables: Arc<Tables>,
    pub domain: Arc<Domain>,
    pub reader: Reader,
}

impl Rig {
    /// With the interfaces `lan` and `wan`, and these tables.
    pub fn new(sizes: Sizes) -> Rig {
        let (means, ports) = means(sizes);
        let (tables, domain) = (means.tables.clone(), means.domain.clone());
        let model = Model::new(means, ports).expect("two ports are two interfaces");
        Rig { model, tables, reader: domain.reader(0), domain }
    }

    /// With addresses 10.0.0.1/24 and fd00:a::1/64 on `lan`, 10.0.1.1/24 and fd00:b::1/64 on `wan`, and the neighbours 10.0.1.2 and
    /// fd00:b::2 on `wan`.
    pub fn with_addresses(sizes: Sizes) -> Rig {
        let mut rig = Rig::new(sizes);
        let addresses = [
            ("10.0.0.1/24", "lan"),
            ("fd00:a::1/64", "lan"),
            ("10.0.1.1/24", "wan"),
            ("fd00:b::1/64", "wan"),
        ];
        rig.must(
            addresses
                .map(|(text, dev)| address(text, dev))
                .into_iter()
                .map(|address| Op::AddressAdd(address, Life::Config)),
        );
        rig.must([neighbor("10.0.1.2", 2, "wan"), neighbor("fd00:b::2", 2, "wan")]);
        rig
    }

    pub fn must(&mut self, ops: impl IntoIterator<Item = Op>) {
        self.model.batch(ops).expect("nothing speaks against it");
    }

    /// Why `op` is refused.
    pub fn refused(&mut self, op: Op) -> String {
        self.model.batch([op]).expect_err("something speaks against it").message
    }

    /// What a worker finds for an address, in words.
    pub fn look(&mut self, address: &str) -> String {
        let mut hop = [0];
        match address.parse().unwrap() {
            IpAddr::V4(four) => self.tables.fib4.lookup(&[four.to_bits()], &mut hop),
            IpAddr::V6(six) => self.tables.fib6.lookup(&[six.octets()], &mut hop),
        }
        let guard = self.reader.enter();
        let words = match self.tables.hop(hop[0] as u32, &guard) {
            Hop::Ecmp(group) => {
                let members = group.hops().iter().map(|&member| in_words(self.tables.hop(member, &guard)));
                format!("one of: {}", members.collect::<Vec<_>>().join(", "))
            }
            other => in_words(other),
        };
        self.reader.offline();
        words
    }

    /// The number that a worker finds for an IPv4 address.
    pub fn number(&self, address: &str) -> u64 {
        let mut hop = [0];
        let IpAddr::V4(four) = address.parse().unwrap() else { panic!("{address} is IPv6") };
        self.tables.fib4.lookup(&[four.to_bits()], &mut hop);
        hop[0]
    }
}

fn in_words(hop: &Hop) -> String {
    match hop {
        Hop::Forward(adjacency) => {
            let header = &adjacency.header()[..usize::from(adjacency.header_len()) - 2];
            let tags =
                header[12..].chunks(4).map(|tag| format!(" tag {}", u16::from_be_bytes([tag[2], tag[3]])));
            let tags: String = tags.collect();
            format!("to {:02x} by {}{tags}, mtu {}", header[5], adjacency.interface, adjacency.mtu)
        }
        other => format!("{other:?}"),
    }
}

pub fn address(text: &str, interface: &str) -> Address {
    Address { address: text.parse().unwrap(), interface: interface.into() }
}

pub fn add_address(text: &str, interface: &str) -> Op {
    Op::AddressAdd(address(text, interface), Life::Operator)
}

pub fn del_address(text: &str, interface: &str) -> Op {
    Op::AddressDel(address(text, interface))
}

/// A neighbour whose MAC ends in `mac`.
pub fn neighbor(address: &str, mac: u8, interface: &str) -> Op {
    let (address, mac) = (address.parse().unwrap(), [2, 0, 0, 0, 0, mac].into());
    Op::NeighborAdd(Neighbor { address, mac, interface: interface.into() }, Life::Operator)
}

pub fn del_neighbor(address: &str, interface: &str) -> Op {
    Op::NeighborDel(NeighborKey { address: address.parse().unwrap(), interface: interface.into() })
}

/// A route as `puntctl route add` takes it: `10.2.0.0/16 via 10.0.1.2,10.0.1.3 dev wan metric 7`, `10.3.0.0/16 punt`.
pub fn parse_route(text: &str) -> Route {
    let mut words = text.split(' ');
    let prefix = words.next().unwrap().parse().unwrap();
    let mut route = Route { prefix, via: vec![], dev: None, metric: None, action: None };
    while let Some(word) = words.next() {
        match word {
            "via" => route.via = words.next().unwrap().split(',').map(|via| via.parse().unwrap()).collect(),
            "dev" => route.dev = words.next().map(str::to_owned),
            "metric" => route.metric = words.next().map(|metric| metric.parse().unwrap()),
            "blackhole" => route.action = Some(RouteAction::Blackhole),
            "unreachable" => route.action = Some(RouteAction::Unreachable),
            "punt" => route.action = Some(RouteAction::Punt),
            other => panic!("{other} in {text}"),
        }
    }
    route
}

pub fn add(text: &str) -> Op {
    Op::RouteAdd(parse_route(text), Life::Operator)
}

pub fn replace(text: &str) -> Op {
    Op::RouteReplace(parse_route(text), Life::Operator)
}

pub fn del(prefix: &str) -> Op {
    Op::RouteDel(RouteKey { prefix: prefix.parse().unwrap(), metric: None })
}

pub fn del_metric(prefix: &str, metric: u32) -> Op {
    Op::RouteDel(RouteKey { prefix: prefix.parse().unwrap(), metric: Some(metric) })
}

/// An interface that is told nothing yet.
pub fn set(name: &str) -> Settings {
    Settings { name: name.into(), mtu: None, mac: None, up: None, life: Life::Operator }
}

impl Model {
    /// Applies a configuration beside which nothing is redirected; returns how many operations that took.
    pub fn apply(&mut self, config: &Config) -> Result<usize, Refused> {
        let begun = self.begin(config, &[])?;
        Ok(self.finish(config, begun))
    }
}

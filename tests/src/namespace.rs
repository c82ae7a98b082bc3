//! Network namespaces: hosts that the test makes, and takes away again.

use std::fs::File;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use crate::plan::{Neighbor, Port, words};

/// Names of our namespaces begin so; what follows is the process that made it, and a number.
const PREFIX: &str = "puntd-test";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// An empty one. Without the right to make one, the test is skipped: that is `None`, and a line that says so. In CI it must not be.
    pub fn new() -> Option<Namespace> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{count}", std::process::id());
        let failure = match Command::new("ip").args(["netns", "add", &name]).output() {
            Ok(output) if output.status.success() => {
                let namespace = Namespace { name };
                namespace.ip("link set lo up");
                return Some(namespace);
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(std::env::var_os("CI").is_none(), "in CI network namespaces must be there: {failure}");
        println!("SKIPPED: network namespaces need root ({failure})");
        None
    }

    /// As `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in it.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn ip(&self, words: &str) {
        let output = Command::new("ip")
            .args(["-n", &self.name])
            .args(words.split_whitespace())
            .output()
            .expect("ip can be run");
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a command in it.
    pub fn command(&self, words: &str) -> Output {
        Command::new("ip")
            .args(["netns", "exec", &self.name])
            .args(words.split_whitespace())
            .output()
            .expect("ip can be run")
    }

    /// Sets a parameter of its kernel, by its path below `/proc/sys`.
    pub fn set(&self, path: &str, value: &str) {
        self.enter(|| std::fs::write(format!("/proc/sys/{path}"), value).expect("the parameter is there"));
    }

    /// Does something on a thread that is in it. Sockets made there stay there, wherever they are used.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace is there");
                setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter it");
                work()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Hosts on both sides of a router: [`HOST`](crate::plan::HOST) and [`UPSTREAM`](crate::plan::UPSTREAM) of the plan.
#[derive(Debug)]
pub struct Lab {
    /// The host behind the router's port `lan`.
    pub host: Namespace,
    /// The host behind the router's port `wan`.
    pub upstream: Namespace,
    /// Where the router is.
    pub router: Namespace,
}

impl Lab {
    /// Three namespaces that nothing connects. `None`: the test is skipped.
    pub fn new() -> Option<Lab> {
        let lab = Lab { host: Namespace::new()?, upstream: Namespace::new()?, router: Namespace::new()? };
        // The router's kernel sees what the router receives, and is to keep out of it.
        lab.router.set("net/ipv6/conf/all/disable_ipv6", "1");
        lab.router.set("net/ipv6/conf/default/disable_ipv6", "1");
        for host in [&lab.host, &lab.upstream] {
            // Router solicitations would be counted, now and then.
            host.set("net/ipv6/conf/default/router_solicitations", "0");
            host.set("net/ipv6/conf/default/accept_dad", "0");
        }
        Some(lab)
    }

    /// Connects both hosts to the router by cables: `eth0` there, `lan` and `wan` here.
    pub fn cable(&self) {
        for (host, interface) in [(&self.host, "lan"), (&self.upstream, "wan")] {
            let router = self.router.name();
            host.ip(&format!("link add eth0 type veth peer name {interface} netns {router}"));
            self.router.ip(&format!("link set {interface} up"));
            for (namespace, interface) in [(host, "eth0"), (&self.router, interface)] {
                // What a kernel leaves to the network card, nobody would do here.
                let features = "tx off rx off tso off gso off gro off";
                let output = namespace.command(&format!("ethtool -K {interface} {features}"));
                assert!(output.status.success(), "ethtool: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }

    /// Gives the hosts' `eth0` their addresses, the way to each other, and the router's MAC address.
    pub fn address(&self, host: &Neighbor, upstream: &Neighbor) {
        for (namespace, us, port) in [(&self.host, host, Port::Lan), (&self.upstream, upstream, Port::Wan)] {
            let (gateway4, gateway6) = (crate::packets::router4(port), crate::packets::router6(port));
            let mac = words(port.mac());
            namespace.ip(&format!("link set eth0 address {} up", words(us.mac)));
            namespace.ip(&format!("addr add {}/24 dev eth0", us.ip4));
            namespace.ip(&format!("addr add {}/64 dev eth0 nodad", us.ip6));
            for gateway in [gateway4.to_string(), gateway6.to_string()] {
                namespace.ip(&format!("neigh replace {gateway} lladdr {mac} dev eth0 nud permanent"));
            }
            namespace.ip(&format!("route add default via {gateway4}"));
            namespace.ip(&format!("-6 route add default via {gateway6}"));
        }
    }
}

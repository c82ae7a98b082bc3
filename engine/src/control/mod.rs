//! The control plane: what is set, how it gets into the tables while packets flow, and the socket by which it is asked and told.
//!
//! One thread runs all of it ([`Server::run`]). It never waits for a worker longer than the worker's loop takes, and a worker never waits
//! for it.

mod asked;
mod audit;
mod configuration;
mod methods;
pub mod model;
mod punting;
mod ranking;
mod server;
mod sessions;
mod stats;
mod stop;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dpdk_sys::{Fib4Writer, Fib6Writer, Pool, Port};
use punt::clock::Clock;
use punt::desk::Desk;

pub(crate) use asked::names;
pub use configuration::Session;
pub use server::{Command, Remote, Server, Service};

use self::model::{Means, Model};
use self::sessions::Sessions;

use crate::config::{Config, Origin, Sizes};
use crate::counters::Counters;
use crate::graph::Plan;
use crate::quiescent::Domain;
use crate::sinks::{self, Names};
use crate::tables::Tables;

/// What start-up hands to the control plane. Tables are empty, ports started; workers may run already.
pub struct Parts {
    /// Made with [`Sizes::hops`] hops and `max_interfaces` interfaces.
    pub tables: Arc<Tables>,
    /// The workers' readers belong to it.
    pub domain: Arc<Domain>,
    /// Made with [`Sizes::fib4`], the default hop being `HOP_NO_ROUTE`.
    pub fib4: Fib4Writer,
    /// Made with [`Sizes::fib6`], likewise.
    pub fib6: Fib6Writer,
    /// Of the configuration that the tables were made with.
    pub sizes: Sizes,
    /// All ports; the interfaces' indices are different, and from 1 to `max_interfaces`.
    pub ports: Vec<PortHandle>,
    /// All workers, in the order of their numbers.
    pub workers: Vec<WorkerHandle>,
    /// Of the graph that every worker runs.
    pub plan: Plan,
    /// All pools of packets.
    pub pools: Vec<PoolHandle>,
    /// The largest interface index for which there are tables and counters.
    pub max_interfaces: u32,
    /// Packets that all rings between workers hold together.
    pub ring_capacity: u64,
    /// Where packets are asked for.
    pub desk: Desk,
    /// What sinks' threads know of interfaces.
    pub names: Arc<Names>,
    /// What tells the time in records.
    pub clock: Arc<Clock>,
    /// The control socket.
    pub socket: PathBuf,
}

/// A port and its own interface, the one of untagged frames.
pub struct PortHandle {
    /// The port.
    pub port: Port,
    /// The interface's name: the configuration's, else the port's.
    pub interface: String,
    /// The interface's index.
    pub index: u32,
}

/// A worker, as the control plane sees it.
pub struct WorkerHandle {
    /// The lcore it runs on.
    pub lcore: u32,
    /// Its receive queues, as `port:queue`.
    pub queues: Vec<String>,
    /// Its row of counters.
    pub counters: Arc<Counters>,
}

/// A pool of packets.
pub struct PoolHandle {
    /// The pool.
    pub pool: Pool,
    /// Packets of it that were in use after the ports started and before anything was received: drivers keep them.
    pub idle: u32,
}

/// The engine will not do it: one sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What was wrong, where, what would be right.
    pub message: String,
    /// Which of several things that were to be done together it was, from 0.
    pub index: Option<usize>,
}

impl Refused {
    /// For one thing that was to be done, or all of them together.
    pub fn new(message: impl Into<String>) -> Refused {
        Refused { message: message.into(), index: None }
    }
}

/// What is set in an engine, and all that can be asked of it.
pub struct Control {
    model: Model,
    workers: Vec<WorkerHandle>,
    plan: Plan,
    pools: Vec<PoolHandle>,
    ring_capacity: u64,
    sizes: Sizes,
    /// `[eal] args`, as the engine started with them.
    eal: Vec<String>,
    desk: Desk,
    names: Arc<Names>,
    clock: Arc<Clock>,
    /// Its own place in the file system, where no sink's client may be.
    socket: PathBuf,
    sessions: Sessions,
    /// The configuration that was applied last.
    applied: Config,
    ticked: Ticked,
}

/// When things were last done that are to be done now and then.
struct Ticked {
    clock: Instant,
    policers: Instant,
    secret: Instant,
}

/// How long the source share hashes with one secret.
const SECRET: Duration = Duration::from_secs(300);

/// Nothing that counts ticks is left alone for longer.
const REFRESH: Duration = Duration::from_secs(3600);

impl Control {
    /// Sets up the ports' interfaces and applies the configuration that the engine starts with.
    ///
    /// # Errors
    /// When the configuration does not fit the ports or the tables.
    pub fn new(parts: Parts, config: &Config) -> Result<Control, Refused> {
        let Parts {
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
            desk,
            names,
            clock,
            socket,
        } = parts;
        let means = Means { tables, domain, fib4, fib6, sizes, max_interfaces };
        let model = Model::new(means, ports)?;
        let mut control = Control {
            model,
            workers,
            plan,
            pools,
            ring_capacity,
            sizes,
            eal: config.eal.clone(),
            desk,
            names,
            clock,
            socket,
            sessions: Sessions::default(),
            applied: Config { punt: config.punt.clone(), ..Config::default() },
            ticked: Ticked { clock: Instant::now(), policers: Instant::now(), secret: Instant::now() },
        };
        control.apply(config)?;
        Ok(control)
    }

    /// Every reason, and what was punted for it.
    pub fn reasons(&self) -> Vec<punt::control::types::ReasonRow> {
        self.desk.reason_rows()
    }

    /// Makes what is set that which `config` says; what an operator added and the configuration does not mention stays. Returns what the
    /// operator should know.
    ///
    /// # Errors
    /// When something cannot be done; then nothing has changed.
    pub fn apply(&mut self, config: &Config) -> Result<Vec<String>, Refused> {
        let changes = match self.names_new_interfaces(config) {
            true => self.apply_interfaces_first(config)?,
            false => self.apply_punting_first(config)?,
        };
        self.commit_punting();
        self.tell_interfaces();
        // Where it stands in its file is as much as a million routes, and of no use any more.
        let (punt, origin) = (self.applied.punt.clone(), Origin::default());
        self.applied = Config { punt, origin, ..self.remembered(config) };
        let mut notes = vec![match changes {
            0 => "nothing changed".to_owned(),
            1 => "1 change".to_owned(),
            changes => format!("{changes} changes"),
        }];
        notes.extend(self.notes_at_start(config));
        let kept = self.model.count_of_operators();
        let names = [
            ("address", "addresses"),
            ("neighbour", "neighbours"),
            ("route", "routes"),
            ("interface setting", "interface settings"),
        ];
        for (count, (one, several)) in kept.into_iter().zip(names) {
            match count {
                0 => {}
                1 => notes.push(format!("1 {one} that an operator made stays")),
                count => notes.push(format!("{count} {several} that operators made stay")),
            }
        }
        Ok(notes)
    }

    /// Asks for packets, and then makes interfaces, neighbours and routes what the file says, which was found to be possible before. So
    /// nothing has to be put back that is not as easily put back.
    fn apply_punting_first(&mut self, config: &Config) -> Result<usize, Refused> {
        let beside = self.ways_beside(config);
        self.model.check(config, &beside).map_err(|refused| self.at_start(config, refused))?;
        let before = self.remember_punting();
        let done = self.apply_punting(config);
        let done = done.and_then(|changes| Ok((changes, self.model.begin(config, &beside)?)));
        match done {
            Ok((changes, begun)) => Ok(changes + self.model.finish(config, begun)),
            Err(refused) => {
                self.restore_punting(before);
                Err(refused)
            }
        }
    }

    /// The same for a file whose registrations or redirections name interfaces that it makes: these must be there first. What of punting
    /// would be refused is looked for before that, for to put interfaces and routes back costs packets.
    fn apply_interfaces_first(&mut self, config: &Config) -> Result<usize, Refused> {
        let beside = self.ways_beside(config);
        let faults = self.rehearsed(config);
        if !faults.is_empty() {
            return Err(Refused::new(faults.join("\n")));
        }
        let begun = self.model.begin(config, &beside).map_err(|refused| self.at_start(config, refused))?;
        let before = self.remember_punting();
        match self.apply_punting(config) {
            Ok(changes) => Ok(changes + self.model.finish(config, begun)),
            Err(refused) => {
                self.restore_punting(before);
                self.model.take_back(begun);
                self.tell_interfaces();
                Err(refused)
            }
        }
    }

    /// What is to be done now and then: the server calls this at least once a second.
    pub(super) fn tick(&mut self) {
        self.expire_sessions(Instant::now());
        if self.ticked.clock.elapsed() >= punt::clock::RENEWAL {
            self.ticked.clock = Instant::now();
            self.clock.renew(dpdk_sys::tsc);
        }
        if self.ticked.secret.elapsed() >= SECRET {
            self.ticked.secret = Instant::now();
            self.desk.rotate(sinks::secret());
        }
        if self.ticked.policers.elapsed() >= REFRESH {
            self.ticked.policers = Instant::now();
            self.desk.refresh();
        }
    }

    /// A table that is too small now may be large enough in the file.
    fn at_start(&self, config: &Config, refused: Refused) -> Refused {
        match config.tables != self.sizes && refused.message.starts_with("tables.") {
            true => Refused::new(format!("{}, and restart the engine", refused.message)),
            false => refused,
        }
    }

    /// What a configuration says that only a start can do.
    fn notes_at_start(&self, config: &Config) -> Vec<String> {
        let mut notes = Vec::new();
        if config.tables != self.sizes {
            notes.push(
                "[tables] is read at start only: restart the engine to make its tables that large".into(),
            );
        }
        if config.punt.directory != self.applied.punt.directory
            || config.punt.memory != self.applied.punt.memory
        {
            notes.push(
                "[punt] directory and memory are read at start only: restart the engine to change them"
                    .into(),
            );
        }
        if config.eal != self.eal {
            notes.push(
                "[eal] is read at start only: restart the engine to start DPDK with these arguments".into(),
            );
        }
        notes
    }
}

//! `puntd`: reads the command line and the configuration, starts the EAL, and runs the engine until it is told to stop.

#![deny(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use engine::args::{self, CommandLine, Options};
use engine::config::{Config, Part};
use engine::control::{Command, Server};
use engine::engine::{Engine, StartError};
use engine::graph::Plan;
use engine::nodes::{self, transmit::Transmit};
use engine::rehearsal::{Others, rehearse};
use engine::{eal, notify, panic, reasons};
use nix::sys::signal::{SigSet, Signal};

/// What the EAL answers to arguments that it does not know.
const EINVAL: i32 = 22;

/// Why `puntd` ends with another status than 0.
enum Failure {
    /// Wrong configuration: status 2.
    Usage(String),
    /// Failed while running: status 1.
    Running(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Running(error.to_string())
    }
}

fn main() -> ExitCode {
    let line = args::parse(std::env::args().skip(1).collect()).unwrap_or_else(|error| error.exit());
    let level = line.options.log.map_or_else(|| "info".to_owned(), |level| level.to_string());
    let env = env_logger::Env::default().default_filter_or(&level);
    let mut logger = env_logger::Builder::from_env(env);
    if line.options.log.is_some() {
        logger.parse_filters(&level);
    }
    logger.init();
    panic::name_the_node();
    dpdk_sys::give_back_large_blocks();
    let result = match (&line.options.config, line.options.graph, line.options.check) {
        (_, true, _) => print_graph(),
        (_, _, true) => check(&line.options),
        _ => run(line),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => {
            complain(&error);
            ExitCode::from(2)
        }
        Err(Failure::Running(error)) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Says why on standard error, if anybody still reads that.
fn complain(error: &str) {
    let _ = writeln!(std::io::stderr(), "puntd: {error}");
}

fn print_graph() -> Result<(), Failure> {
    let plan = Plan::new(&nodes::all(Transmit::new(Vec::new(), 1)), 0)?;
    Ok(write!(std::io::stdout(), "{plan}")?)
}

/// The configuration of the command line, or the empty one.
fn configuration(options: &Options) -> Result<Config, Failure> {
    let Some(path) = &options.config else { return Ok(Config::default()) };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    Config::parse(&text, &name).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::Usage(lines.join("\npuntd: "))
    })
}

/// `--check`.
fn check(options: &Options) -> Result<(), Failure> {
    let config = configuration(options)?;
    let plan = Plan::new(&nodes::all(Transmit::new(Vec::new(), 1)), 0)?;
    // How many workers there will be is not known here; one there is.
    let others = Others { socket: Some(options.socket.clone()), ..Others::default() };
    let faults = rehearse(&config, reasons::statics(&plan), 1, &others);
    if !faults.is_empty() {
        return Err(Failure::Usage(faults.join("\npuntd: ")));
    }
    Ok(write!(std::io::stdout(), "{}", config.memory())?)
}

/// Why the engine does not start: what the configuration is to blame for has its line.
fn not_started(config: &Config, error: &StartError) -> Failure {
    let sentence = error.to_string();
    match error {
        StartError::NoPort { interface, .. } => {
            let place = config.interfaces.iter().position(|it| it.name == *interface).unwrap_or(0);
            Failure::Usage(config.fault(Part::Interface(place), "port", &sentence))
        }
        StartError::Refused(_) => Failure::Usage(sentence),
        _ => Failure::Running(sentence),
    }
}

fn run(line: CommandLine) -> Result<(), Failure> {
    let config = configuration(&line.options)?;
    // Every thread that starts from here on has them blocked, too: what comes while the engine starts waits for who takes it.
    let signals = SigSet::from_iter([Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    let affinity = dpdk_sys::affinity()?;
    let mut server = Server::bind(&line.options.socket)?;
    let args = eal::arguments(&config.eal, &line.eal, &line.options.socket, &config.memory());
    log::info!("{}, EAL arguments: {}", dpdk_sys::version(), args.join(" "));
    let eal = dpdk_sys::Eal::init(&args).map_err(|error| match error.errno() {
        EINVAL => Failure::Usage(format!("{error}; EAL arguments: {}", args.join(" "))),
        _ => Failure::Running(error.to_string()),
    })?;
    let Engine { mut control, workers } =
        Engine::new(&eal, &config, line.options.burst, line.options.idle, &line.options.socket)
            .map_err(|error| not_started(&config, &error))?;

    let stop = Arc::new(AtomicBool::new(false));
    let remote = server.remote();
    let file = line.options.config.clone();
    // It waits for signals until the process ends.
    spawn("signals", affinity, move || {
        while let Ok(signal) = signals.wait() {
            match &file {
                Some(file) if signal == Signal::SIGHUP => remote.post(Command::Reload(file.clone())),
                None if signal == Signal::SIGHUP => {
                    log::warn!("SIGHUP, but there is no --config to read again");
                }
                _ => remote.post(Command::Stop),
            }
        }
    })?;
    let until = stop.clone();
    let driver = spawn("control", affinity, move || {
        let served = server.run(&mut control);
        until.store(true, Ordering::Relaxed);
        (served, control)
    })?;
    notify::notify("READY=1");
    log::info!("forwarding on {} lcores; control socket {}", workers.len(), line.options.socket.display());
    drop(Engine::run(workers, &eal, &stop)?);
    notify::notify("STOPPING=1");
    let (served, control) =
        driver.join().map_err(|_| Failure::Running("the control thread panicked".into()))?;
    let findings = control.stop();
    eal.cleanup();
    served?;
    match findings.is_empty() {
        true => Ok(()),
        false => Err(Failure::Running(findings.join("; "))),
    }
}

/// A thread that is not pinned to the main lcore's CPU, as those are that start after the EAL.
fn spawn<T: Send + 'static>(
    name: &str,
    affinity: dpdk_sys::CpuSet,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(move || {
        if let Err(error) = dpdk_sys::set_affinity(&affinity) {
            log::warn!("a thread stays on the main lcore's CPU: {error}");
        }
        body()
    })
}

//! `puntd`'s command line: the EAL's options, `--`, and our own.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, ValueEnum};

/// Forwards packets between DPDK ports; what it cannot forward it punts, with the reason.
///
/// As with every DPDK program the EAL's options come first, then `--`, then these. Before `--`, or without it, these are recognised too, for
/// the EAL has none of these names.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "puntd",
    version,
    override_usage = "puntd [EAL options] [-- OPTIONS]",
    after_help = EAL_HELP,
)]
pub struct Options {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Control socket
    #[arg(long, value_name = "PATH", env = "PUNTD_SOCKET", default_value = "/run/puntd/puntd.sock")]
    pub socket: PathBuf,
    /// Check the configuration, print the memory its tables need, and exit; never starts the EAL
    #[arg(long, requires = "config")]
    pub check: bool,
    /// Packets received and run through the graph at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub burst: u16,
    /// What a worker does when there is nothing to do: `auto` spins on real NICs and naps on virtual devices
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = IdlePolicy::Auto)]
    pub idle: IdlePolicy,
    /// Log level: error, warn, info, debug or trace [default: $RUST_LOG, or info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<log::LevelFilter>,
    /// Print the graph in Graphviz' language, and exit
    #[arg(long)]
    pub graph: bool,
}

const EAL_HELP: &str = "\
EAL options are DPDK's own, for example:
  -l 0-2, --lcores '0@0,1@0'   CPUs: the first lcore is for control, every other one forwards; one alone does both
  -a 0000:3b:00.0              use this NIC
  --vdev net_tap0,iface=tap0   make a virtual device
  --no-huge                    without hugepages, for a first try (puntd does so by itself on a host that has none)
`dpdk-testpmd --help` lists all of them; so does https://doc.dpdk.org/guides/linux_gsg/linux_eal_parameters.html

Exit status: 0 stopped cleanly, 1 failed while running, 2 wrong usage or configuration.";

/// The idle policy asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IdlePolicy {
    /// Look again at once
    Spin,
    /// Sleep for up to 50 µs after 1,000 empty loops
    Nap,
    /// Spin on real NICs, nap on virtual devices
    Auto,
}

/// The command line, taken apart.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// For `rte_eal_init`, without the program's name.
    pub eal: Vec<String>,
    /// Ours.
    pub options: Options,
}

/// Takes the arguments (without the program's name) apart.
///
/// # Errors
/// Clap's, which also carries `--help` and `--version`.
pub fn parse(mut args: Vec<String>) -> Result<CommandLine, clap::Error> {
    let (eal, ours) = match args.iter().position(|arg| arg == "--") {
        Some(at) => {
            let behind = args.split_off(at);
            let (eal, mut ours) = split(args);
            ours.extend(behind.into_iter().skip(1));
            (eal, ours)
        }
        None => split(args),
    };
    let options = Options::try_parse_from(std::iter::once("puntd".to_owned()).chain(ours))?;
    Ok(CommandLine { eal, options })
}

/// Our options wherever they stand, with their values; the rest is the EAL's.
fn split(args: Vec<String>) -> (Vec<String>, Vec<String>) {
    let command = Options::command();
    let (mut eal, mut ours) = (Vec::new(), Vec::new());
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        let (name, has_value) = match arg.split_once('=') {
            Some((name, _)) => (name.to_owned(), true),
            None => (arg.clone(), false),
        };
        let ours_by_name = name
            .strip_prefix("--")
            .and_then(|long| command.get_arguments().find(|argument| argument.get_long() == Some(long)));
        match ours_by_name {
            Some(argument) => {
                let takes_value = argument.get_action().takes_values() && !has_value;
                ours.push(arg);
                ours.extend(takes_value.then(|| args.next()).flatten());
            }
            None if ["--help", "-h", "--version"].contains(&name.as_str()) => ours.push(arg),
            None => eal.push(arg),
        }
    }
    (eal, ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> CommandLine {
        parse(line.split(' ').map(str::to_owned).collect()).expect("a good command line")
    }

    #[test]
    fn the_eal_has_what_is_before_the_dashes() {
        let line = parsed("-l 0-1 --vdev net_null0 -- --config a.toml --burst 32 --idle nap");
        assert_eq!(line.eal, ["-l", "0-1", "--vdev", "net_null0"]);
        assert_eq!(line.options.config, Some("a.toml".into()));
        assert_eq!((line.options.burst, line.options.idle), (32, IdlePolicy::Nap));
    }

    #[test]
    fn without_dashes_ours_are_picked_out() {
        let line = parsed("--config=a.toml -l 0 --check --socket /tmp/s --no-huge");
        assert_eq!(line.eal, ["-l", "0", "--no-huge"]);
        assert_eq!(line.options.socket, PathBuf::from("/tmp/s"));
        assert!(line.options.check);
    }

    #[test]
    fn ours_before_the_dashes_do_not_reach_the_eal() {
        let line = parsed("--config a.toml --check -l 0 -- --burst 32");
        assert_eq!(line.eal, ["-l", "0"]);
        assert!(line.options.check && line.options.burst == 32);
    }

    #[test]
    fn help_and_version_are_ours_wherever_they_stand() {
        for line in ["--help", "-l 0 --help", "--help -- --burst 3", "-- --help", "--version"] {
            let error =
                parse(line.split(' ').map(str::to_owned).collect()).expect_err("help is an error to clap");
            assert_eq!(error.exit_code(), 0, "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in ["-- --burst 0", "-- --burst 257", "-- --idle never", "-- --what", "-- --check"] {
            let error = parse(line.split(' ').map(str::to_owned).collect()).expect_err("wrong");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}

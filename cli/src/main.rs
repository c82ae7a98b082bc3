//! puntctl: drives puntd over its control socket.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::punting::{ClassVerb, PassiveVerb, PolicerVerb, ReasonVerb, RegistrationVerb, SinkVerb};
use args::{
    AddressVerb, Arguments, Command, ConfigVerb, InterfaceChange, InterfaceSetArguments, InterfaceVerb,
    NeighborVerb, RouteVerb,
};
use context::Context;
use failure::Failure;
use punt::control::types::InterfaceSet;

mod args;
mod audit;
mod columns;
mod config;
mod context;
mod extras;
mod failure;
mod file;
mod load;
mod monitor;
mod punting;
mod route;
mod route_file;
mod screen;
mod stats;
mod table;
mod words;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error)
            if error.exit_code() == 0
                || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            error.exit()
        }
        Err(error) => return finish(Err(Failure::usage(args::one_sentence(&error)))),
    };
    let mut context = Context::new(arguments.socket(), arguments.json);
    let outcome = run(&mut context, arguments.command);
    // What was said before a failure is shown all the same; of two failures the first counts.
    let flushed = context.out.flush().map_err(Failure::from);
    finish(outcome.and(flushed))
}

/// Says what went wrong, and with what status.
fn finish(outcome: Result<(), Failure>) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if let Some(message) = failure.message {
        // Not eprintln!, which panics when nobody reads standard error.
        let _ = writeln!(std::io::stderr(), "error: {message}");
    }
    ExitCode::from(failure.status)
}

fn run(context: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Interface { verb } => interface(context, verb.unwrap_or(InterfaceVerb::List)),
        Command::Address { verb } => address(context, verb.unwrap_or(AddressVerb::List)),
        Command::Route { verb } => route::run(context, verb.unwrap_or(RouteVerb::List { prefix: None })),
        Command::Neighbor { verb } => neighbor(context, verb.unwrap_or(NeighborVerb::List)),
        Command::Reason { verb } => punting::reason(context, verb.unwrap_or(ReasonVerb::List)),
        Command::Class { verb } => punting::class(context, verb.unwrap_or(ClassVerb::List)),
        Command::Policer { verb } => punting::policer(context, verb.unwrap_or(PolicerVerb::List)),
        Command::Sink { verb } => punting::sink(context, verb.unwrap_or(SinkVerb::List)),
        Command::Register(arguments) => punting::register(context, arguments),
        Command::Unregister { id } => punting::unregister(context, id),
        Command::Registration { verb: None | Some(RegistrationVerb::List) } => {
            context.list("registration.list", columns::REGISTRATIONS)
        }
        Command::Passive { verb } => punting::passive(context, verb.unwrap_or(PassiveVerb::List)),
        Command::Stats(arguments) => stats::run(context, &arguments),
        Command::Monitor(arguments) => monitor::run(context, &arguments),
        Command::Audit => audit::run(context),
        Command::Config { verb: ConfigVerb::Show } => config::show(context),
        Command::Config { verb: ConfigVerb::Save { file } } => config::save(context, &file),
        Command::Config { verb: ConfigVerb::Check { file } } => {
            config::submit(context, "config.check", &file)
        }
        Command::Config { verb: ConfigVerb::Apply { file } } => {
            config::submit(context, "config.apply", &file)
        }
        Command::Version => extras::version(context),
        Command::Completions { shell } => extras::completions(context, shell),
        Command::Man { directory } => extras::man(&directory),
    }
}

fn interface(context: &mut Context, verb: InterfaceVerb) -> Result<(), Failure> {
    match verb {
        InterfaceVerb::List => context.list("interface.list", columns::INTERFACES),
        InterfaceVerb::Set(InterfaceSetArguments {
            name,
            change: InterfaceChange { mtu, mac, up, down },
        }) => {
            let up = if up || down { Some(up) } else { None };
            let change = InterfaceSet { name, mtu, mac, up };
            change.check().map_err(Failure::usage)?;
            context.change("interface.set", change)
        }
    }
}

fn address(context: &mut Context, verb: AddressVerb) -> Result<(), Failure> {
    match verb {
        AddressVerb::List => context.list("address.list", columns::ADDRESSES),
        AddressVerb::Add { words } => context.change("address.add", read(&words, words::interface_address)?),
        AddressVerb::Del { words } => context.change("address.del", read(&words, words::interface_address)?),
    }
}

fn neighbor(context: &mut Context, verb: NeighborVerb) -> Result<(), Failure> {
    match verb {
        NeighborVerb::List => context.list("neighbor.list", columns::NEIGHBORS),
        NeighborVerb::Add { words } => context.change("neighbor.add", read(&words, words::neighbor)?),
        NeighborVerb::Replace { words } => context.change("neighbor.replace", read(&words, words::neighbor)?),
        NeighborVerb::Del { words } => context.change("neighbor.del", read(&words, words::neighbor_key)?),
    }
}

/// Reads iproute2-style words of the command line.
fn read<'a, T>(
    words: &'a [String],
    grammar: impl FnOnce(Box<dyn Iterator<Item = &'a str> + 'a>) -> Result<T, String>,
) -> Result<T, Failure> {
    grammar(Box::new(words.iter().map(String::as_str))).map_err(Failure::usage)
}

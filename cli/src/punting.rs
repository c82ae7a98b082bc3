//! What has to do with punting: reasons, classes, policers, sinks, registrations, passive punt.

use punt::control::types::{ClassSet, RegisterAnswer, SinkKey, Unregister};

use crate::args::punting::{
    self, ClassChange, ClassVerb, PassiveVerb, PolicerVerb, ReasonVerb, RegisterArguments, SinkVerb,
};
use crate::columns;
use crate::context::Context;
use crate::failure::Failure;

/// `puntctl reason`.
pub fn reason(context: &mut Context, verb: ReasonVerb) -> Result<(), Failure> {
    match verb {
        ReasonVerb::List => context.list("reason.list", columns::REASONS),
        ReasonVerb::Set(arguments) => {
            let params = arguments.params();
            params.check().map_err(Failure::usage)?;
            context.change("reason.set", params)
        }
    }
}

/// `puntctl class`.
pub fn class(context: &mut Context, verb: ClassVerb) -> Result<(), Failure> {
    match verb {
        ClassVerb::List => context.list("class.list", columns::CLASSES),
        ClassVerb::Set { name, change: ClassChange { min, cap } } => {
            let params = ClassSet { name, min, cap };
            params.check().map_err(Failure::usage)?;
            context.change("class.set", params)
        }
    }
}

/// `puntctl policer`.
pub fn policer(context: &mut Context, verb: PolicerVerb) -> Result<(), Failure> {
    match verb {
        PolicerVerb::List => context.list("policer.list", columns::POLICERS),
        PolicerVerb::Set(arguments) => {
            let params = arguments.params();
            params.check().map_err(Failure::usage)?;
            context.change("policer.set", params)
        }
    }
}

/// `puntctl sink`.
pub fn sink(context: &mut Context, verb: SinkVerb) -> Result<(), Failure> {
    match verb {
        SinkVerb::List => context.list("sink.list", columns::SINKS),
        SinkVerb::Add { name, target, limit } => {
            let params = punting::sink(name, target, limit);
            params.check().map_err(Failure::usage)?;
            context.change("sink.add", params)
        }
        SinkVerb::Del { name } => context.change("sink.del", SinkKey { name }),
    }
}

/// `puntctl register`: the registration's id is what a script wants to keep.
pub fn register(context: &mut Context, arguments: RegisterArguments) -> Result<(), Failure> {
    let params = arguments.params();
    params.check().map_err(Failure::usage)?;
    context.ask("register", params, |answer: &RegisterAnswer| format!("{}\n", answer.id))?;
    Ok(())
}

/// `puntctl unregister`.
pub fn unregister(context: &mut Context, id: u32) -> Result<(), Failure> {
    context.change("unregister", Unregister { id })
}

/// `puntctl passive`.
pub fn passive(context: &mut Context, verb: PassiveVerb) -> Result<(), Failure> {
    match verb {
        PassiveVerb::List => context.list("passive.list", columns::PASSIVE),
        PassiveVerb::Set(arguments) => {
            let params = arguments.params();
            params.check().map_err(Failure::usage)?;
            context.change("passive.set", params)
        }
        PassiveVerb::Del { family, interface } => {
            context.change("passive.del", punting::passive_key(family, interface))
        }
    }
}

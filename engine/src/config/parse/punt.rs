//! `[punt]`: what bounds all punting together.

use crate::config::Punting;
use crate::config::read::{Fields, Reader};

/// Reads the section.
pub fn read(mut fields: Fields, reader: &mut Reader) -> Punting {
    let mut punting = Punting::default();
    if let Some(directory) = fields.string("directory", reader) {
        match directory.value.starts_with('/') {
            true => punting.directory = directory.value.into(),
            false => {
                let fault = format_args!("is the relative path {:?}; begin it with /", directory.value);
                reader.wrong(directory.at, fields.key("directory"), fault);
            }
        }
    }
    if let Some(memory) = fields.quantity("memory", reader) {
        punting.memory = memory.value;
    }
    if let Some(budget) = fields.quantity("budget", reader) {
        punting.budget = budget.value;
    }
    fields.finish(reader);
    punting
}

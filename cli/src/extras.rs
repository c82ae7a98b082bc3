//! What is not about packets: versions, completions, manual pages.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use punt::control::types::Version;
use serde_json::json;

use crate::args::Arguments;
use crate::context::Context;
use crate::failure::Failure;

/// What runs at the socket, and what this is.
pub fn version(context: &mut Context) -> Result<(), Failure> {
    if !context.json {
        writeln!(context.out, "puntctl {}", env!("CARGO_PKG_VERSION"))?;
    }
    context.ask("version", json!({}), |engine: &Version| match engine.dpdk.as_str() {
        "" => format!("puntd {}\n", engine.version),
        dpdk => format!("puntd {} with {dpdk}\n", engine.version),
    })?;
    Ok(())
}

/// A completion script.
pub fn completions(context: &mut Context, shell: clap_complete::Shell) -> Result<(), Failure> {
    // Into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "puntctl", &mut script);
    context.out.write_all(&script)?;
    Ok(())
}

/// The manual pages, one a command.
pub fn man(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), directory))
        .map_err(|error| Failure::file(directory, error))
}

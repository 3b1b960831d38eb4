//! `pellucid completions`: what a shell needs to complete our words.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use pellucid::Result;

use crate::{Cli, output};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pellucid completions bash > ~/.local/share/bash-completion/completions/pellucid")]
pub(crate) struct Typed {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(typed: Typed) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(typed.shell, &mut Cli::command(), "pellucid", &mut script);
    output::print(&script)?;
    Ok(ExitCode::SUCCESS)
}

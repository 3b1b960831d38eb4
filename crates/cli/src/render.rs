//! `pellucid render`: a saved explanation in another form.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use pellucid::{Result, render};

use crate::output::OutputArgs;

const AFTER: &str = "\
Examples:
  pellucid render answer.json
  pellucid render answer.json -o answer.html -o answer.svg
  pellucid render answer.json --format latex > answer.tex";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Typed {
    /// A file that `pellucid explain` or `pellucid compare` wrote: JSON, or HTML
    file: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(typed: Typed) -> Result<ExitCode> {
    if let Some(comparison) = render::read_comparison(&typed.file)? {
        typed.output.comparison()?.write(&comparison)?;
        return Ok(ExitCode::SUCCESS);
    }
    let outputs = typed.output.meaning()?;
    outputs.write(&[(String::new(), render::read(&typed.file)?)])?;
    Ok(ExitCode::SUCCESS)
}

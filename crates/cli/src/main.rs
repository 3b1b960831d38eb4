//! `pellucid`: the command line. What it can do is the list below; how is in the library.

mod args;
mod columns;
mod compare;
mod completions;
mod drawing;
mod explain;
mod failure;
mod generate;
mod interrupt;
mod methods;
mod models;
mod output;
mod progress;
mod prompt;
mod render;
mod text;
mod verify;

use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};

/// Keeps large blocks instead of giving them back: a walk asks for the same buffers again and again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const AFTER: &str = "\
Examples:
  pellucid explain \"The capital of France is\" --target \" Paris\"
  pellucid explain --document report.txt --question \"Who signed it?\" --chat -o answer.html
  pellucid compare -m minilm \"A cat sleeps.\" --similar-to \"The kitten naps.\" --html cat.html
  pellucid generate \"The worst film I ever saw was\" --control worst=0 --compare

Exit codes: 0 fine, 1 the work failed, 2 bad request, 130 interrupted.
Models are kept in PELLUCID_CACHE (else the platform's cache folder); PELLUCID_PYTHON names the Python whose pip fetches them.
Colours follow NO_COLOR and CLICOLOR_FORCE.";

/// Shows why a transformer said what it said: which parts of a prompt its answer rests on.
#[derive(Debug, Parser)]
#[command(name = "pellucid", version, after_help = AFTER, max_term_width = 110)]
struct Cli {
    /// Tell what is going on, on standard error; twice for more
    #[arg(short, long, action = ArgAction::Count, global = true, display_order = 900)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show which parts of a prompt an answer rests on
    Explain(Box<explain::Typed>),
    /// Explain by several methods, side by side: scores, agreement, cost, promises
    Compare(Box<compare::Typed>),
    /// Continue a text while some of its words are turned down or up
    Generate(Box<generate::Typed>),
    /// List, fetch and describe models
    Models(models::Typed),
    /// List explanation methods: what they do, cost and promise
    Methods(methods::Typed),
    /// Draw a saved explanation in another form
    Render(render::Typed),
    /// Compare with published numbers, check by check
    Verify(verify::Typed),
    /// Print a completion script for a shell
    Completions(completions::Typed),
}

fn main() -> ExitCode {
    let typed = Cli::parse();
    tell(typed.verbose);
    let done = match typed.command {
        Command::Explain(typed) => explain::run(*typed),
        Command::Compare(typed) => compare::run(*typed),
        Command::Generate(typed) => generate::run(*typed),
        Command::Models(typed) => models::run(typed),
        Command::Methods(typed) => methods::run(typed),
        Command::Render(typed) => render::run(typed),
        Command::Verify(typed) => verify::run(typed),
        Command::Completions(typed) => completions::run(typed),
    };
    done.unwrap_or_else(|error| failure::report(&error))
}

/// Sends the library's own account to standard error, if it is wanted.
fn tell(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => "pellucid=info",
        2 => "pellucid=debug",
        _ => "pellucid=trace",
    };
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).init();
}

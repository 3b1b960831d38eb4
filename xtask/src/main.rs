//! The project's own chores. `cargo xtask test` is the test command; `bench` measures; `big-model` writes a model larger than memory.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod bench;
mod big_model;
mod relevance;
mod test;
mod vit;

use clap::{Parser, Subcommand};

/// The project's own chores.
#[derive(Parser)]
#[command(name = "xtask")]
struct Chores {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything that must pass: format, lints, docs, tests, and licences where cargo-deny is installed.
    Test,
    /// Speed and memory, with ratios against a peer in the same run where one is given.
    Bench(bench::Args),
    /// Writes a Llama-shaped GGUF with random 4-bit weights.
    BigModel(big_model::Args),
}

fn main() -> anyhow::Result<()> {
    match Chores::parse().chore {
        Chore::Test => test::run(),
        Chore::Bench(args) => bench::run(&args),
        Chore::BigModel(args) => big_model::run(&args),
    }
}

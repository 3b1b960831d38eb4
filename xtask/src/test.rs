//! The test command: what CI runs, and nothing that CI hides.

#![allow(clippy::print_stderr, reason = "a chore talks to whoever runs it")]

use std::{env, process::Command};

use anyhow::{Context, Result, ensure};

pub(crate) fn run() -> Result<()> {
    // In order of how soon they find something.
    step("format", &["fmt", "--all", "--check"], &[])?;
    step("lints", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])?;
    step("docs", &["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    step("tests", &["test", "--workspace", "--quiet"], &[("INSTA_UPDATE", "no")])?;
    if Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|o| o.status.success()) {
        step("licences", &["deny", "--offline", "check", "bans", "licenses", "sources"], &[])?;
    } else {
        eprintln!("licences: cargo-deny is not installed, not checked");
    }
    Ok(())
}

fn step(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    eprintln!("{name}: cargo {}", arguments.join(" "));
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .envs(variables.iter().copied())
        .status()
        .with_context(|| format!("{name}: cannot start cargo"))?;
    ensure!(status.success(), "{name} failed");
    Ok(())
}

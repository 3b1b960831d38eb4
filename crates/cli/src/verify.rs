//! `pellucid verify`: cases of published numbers, a row a check, totals on the last line.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use clap::Args;
use pellucid::{
    Error, Result,
    verify::{Choice, Row, Status, verify},
};
use serde_json::json;

use crate::{
    failure,
    output::{self, Colour},
    text::pad,
};

const AFTER: &str = "\
Ends with 1 if a check failed; with --strict also if one is unsupported. PATTERN is a glob over the names of checks, such as 'atman/*'.

Examples:
  pellucid verify cases
  pellucid verify cases/gptj cases/gpt2 --only 'logits*' --strict";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Typed {
    /// Folders with a case.json, or folders of such folders
    #[arg(required = true, value_name = "CASE")]
    cases: Vec<PathBuf>,
    /// Only checks whose name matches; may be repeated
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// No checks whose name matches; may be repeated
    #[arg(long, value_name = "PATTERN")]
    skip: Vec<String>,
    /// Take what cannot be run yet for a failure
    #[arg(long)]
    strict: bool,
    /// Show only checks that did not pass
    #[arg(short, long)]
    quiet: bool,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
    /// Colours: on a terminal, always or never
    #[arg(long, alias = "color", value_enum, default_value_t, hide_possible_values = true, value_name = "WHEN")]
    colour: Colour,
}

#[derive(Default)]
struct Totals {
    passed: usize,
    failed: usize,
    unsupported: usize,
}

impl Totals {
    fn count(&mut self, status: Status) {
        match status {
            Status::Passed => self.passed += 1,
            Status::Failed => self.failed += 1,
            Status::Unsupported => self.unsupported += 1,
        }
    }
}

pub(crate) fn run(typed: Typed) -> Result<ExitCode> {
    let choice = Choice::new(&typed.only, &typed.skip)?;
    let folders = typed.cases.iter().map(|path| cases(path)).collect::<Result<Vec<_>>>()?.concat();
    let (mut totals, mut all, mut told) = (Totals::default(), Vec::new(), Ok(()));
    for folder in folders {
        let mut rows = Vec::new();
        if let Err(error) = verify(&folder, &choice, &mut |row| rows.push(row)) {
            rows.push(unreadable(&folder, &error));
        }
        rows.iter().for_each(|row| totals.count(row.status));
        rows.retain(|row| !typed.quiet || row.status != Status::Passed);
        match typed.json {
            true => all.extend(rows),
            // Whatever becomes of the rows, the exit code is that of all checks.
            false => told = told.and_then(|()| show(&rows, typed.colour)),
        }
    }
    let Totals { passed, failed, unsupported } = totals;
    if passed + failed + unsupported == 0 {
        return Err(Error::request("no check goes by the names asked for; see --only and --skip"));
    }
    let totals = match typed.json {
        true => output::print_json(&json!({ "rows": all, "passed": passed, "failed": failed, "unsupported": unsupported })),
        false => output::print(format!("{passed} passed, {failed} failed, {unsupported} unsupported\n").as_bytes()),
    };
    match told.and(totals) {
        Err(error) if !failure::is_broken_pipe(&error) => Err(error),
        _ if failed > 0 || (typed.strict && unsupported > 0) => Ok(ExitCode::FAILURE),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A case whose checks could not be run at all is a failure of its own.
fn unreadable(folder: &Path, error: &Error) -> Row {
    let case = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
    let (check, kind) = ("-".into(), "case".into());
    Row { case, check, kind, status: Status::Failed, error: None, tolerance: None, reason: Some(error.to_string()) }
}

/// The case in a folder, or all cases in the folders inside it, by name.
fn cases(path: &Path) -> Result<Vec<PathBuf>> {
    let is_case = |path: &Path| path.join("case.json").is_file();
    if is_case(path) {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|e| Error::io("cannot read", path, e))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| is_case(p)).collect();
    found.sort();
    match found.is_empty() {
        true => Err(Error::request(format!("{}: no case.json here or in a folder inside", path.display()))),
        false => Ok(found),
    }
}

/// The rows of one case, in columns.
fn show(rows: &[Row], colour: Colour) -> Result<()> {
    let widest = |of: fn(&Row) -> &str| rows.iter().map(|r| of(r).chars().count()).max().unwrap_or(0);
    let (checks, kinds) = (widest(|r| &r.check), widest(|r| &r.kind));
    let mut out = colour.stdout();
    for row in rows {
        let (word, ink) = match row.status {
            Status::Passed => ("passed", AnsiColor::Green),
            Status::Failed => ("failed", AnsiColor::Red),
            Status::Unsupported => ("unsupported", AnsiColor::Yellow),
        };
        let ink = Style::new().fg_color(Some(ink.into()));
        let (case, check, kind) = (&row.case, pad(&row.check, checks), pad(&row.kind, kinds));
        let reason = row.reason.as_deref().unwrap_or("");
        let tail = match (row.error, row.tolerance) {
            (Some(error), Some(tolerance)) => format!("{error:>7.1e}  {tolerance:>7.1e}  {reason}"),
            _ => reason.to_owned(),
        };
        let tail = format!("{}  {tail}", " ".repeat("unsupported".len() - word.len()));
        output::written(writeln!(out, "{case}  {check}  {kind}  {ink}{word}{ink:#}{}", tail.trim_end()))?;
    }
    Ok(())
}

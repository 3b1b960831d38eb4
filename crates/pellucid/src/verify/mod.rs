//! Comparing with published numbers: runs the checks of a case folder and says of each how far off we are.
//!
//! A check that cannot be run yet is reported as unsupported, counted, and never passes.

mod case;
mod checks;
mod down;
mod gradients;
mod matched;
mod mixing;
mod pictures;
mod relevance;

use std::path::Path;

use globset::{Glob, GlobSet, GlobSetBuilder};
use pellucid_core::{Error, Result};
use serde::Serialize;

use case::{Array, Case, Check, Expected};
use checks::{Got, Runner};

/// Which checks are run.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    only: Option<GlobSet>,
    skip: GlobSet,
}

impl Choice {
    /// Checks whose name matches one of `only` (all, if there is none) and none of `skip`.
    ///
    /// # Errors
    /// A malformed pattern.
    pub fn new(only: &[String], skip: &[String]) -> Result<Self> {
        let set = |patterns: &[String]| -> Result<GlobSet> {
            let mut set = GlobSetBuilder::new();
            for pattern in patterns {
                set.add(Glob::new(pattern).map_err(|e| Error::request(format!("pattern `{pattern}`: {}", e.kind())))?);
            }
            set.build().map_err(|e| Error::request(e.to_string()))
        };
        Ok(Self { only: if only.is_empty() { None } else { Some(set(only)?) }, skip: set(skip)? })
    }

    fn takes(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|o| o.is_match(name)) && !self.skip.is_match(name)
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Within tolerance.
    Passed,
    /// Not within tolerance, or it could not be computed.
    Failed,
    /// This tool cannot run such a check yet.
    Unsupported,
}

/// One check's result.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which case.
    pub case: String,
    /// Which check.
    pub check: String,
    /// What is compared.
    pub kind: String,
    /// How it ended.
    pub status: Status,
    /// Largest absolute difference, where there are numbers to compare.
    pub error: Option<f64>,
    /// What it may be.
    pub tolerance: Option<f64>,
    /// Why it failed or is unsupported.
    pub reason: Option<String>,
}

/// Runs the chosen checks of a case folder, in order, handing over each row as it is known.
///
/// # Errors
/// The folder is no case, or its model cannot be loaded.
pub fn verify(folder: &Path, choice: &Choice, hear: &mut dyn FnMut(Row)) -> Result<()> {
    let case = Case::read(folder)?;
    let chosen: Vec<&Check> = case.checks.iter().filter(|c| choice.takes(&c.name)).collect();
    let runner = Runner::new(&case)?;
    for check in chosen {
        hear(row(&case, check, &runner));
    }
    Ok(())
}

fn row(case: &Case, check: &Check, runner: &Runner<'_>) -> Row {
    let row = |status, error, tolerance, reason| Row {
        case: case.case.clone(),
        check: check.name.clone(),
        kind: check.kind.clone(),
        status,
        error,
        tolerance,
        reason,
    };
    let got = match runner.run(check) {
        Ok(got) => got,
        Err(Error::Unsupported(reason)) => return row(Status::Unsupported, None, None, Some(reason)),
        Err(error) => return row(Status::Failed, None, None, Some(error.to_string())),
    };
    match (got, case.expected(check)) {
        (_, Err(error)) => row(Status::Failed, None, None, Some(error.to_string())),
        (Got::Numbers(got), Ok(Expected::Numbers { all, mask })) => match compare(&got, &all, mask.as_deref(), check) {
            Ok((error, tolerance)) if error <= tolerance => row(Status::Passed, Some(error), Some(tolerance), None),
            Ok((error, tolerance)) => row(Status::Failed, Some(error), Some(tolerance), Some("outside the tolerance".into())),
            Err(reason) => row(Status::Failed, None, None, Some(reason)),
        },
        (Got::Value(got), Ok(Expected::Value(expected))) if got == expected => row(Status::Passed, Some(0.0), Some(0.0), None),
        (Got::Value(got), Ok(Expected::Value(expected))) => {
            row(Status::Failed, None, None, Some(format!("got {got}, expected {expected}")))
        }
        _ => row(Status::Failed, None, None, Some("numbers and values cannot be compared".into())),
    }
}

/// Largest difference and what it may be. NaN never passes.
fn compare(got: &Array, expected: &Array, mask: Option<&[f64]>, check: &Check) -> Result<(f64, f64), String> {
    if got.squeezed() != expected.squeezed() || mask.is_some_and(|m| m.len() != expected.values.len()) {
        return Err(format!("got shape {:?}, expected {:?}", got.shape, expected.shape));
    }
    let sign = if check.sign.as_deref() == Some("negative-supports") { -1.0 } else { 1.0 };
    let counts = |i: usize| mask.is_none_or(|m| m[i] == 1.0);
    let mut error = 0.0f64;
    for (i, (got, expected)) in got.values.iter().zip(&expected.values).enumerate().filter(|(i, _)| counts(*i)) {
        let off = (sign * got - expected).abs();
        if !off.is_finite() {
            return Err(format!("entry {i} is {got}, expected {expected}"));
        }
        error = error.max(off);
    }
    let largest = expected.values.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    Ok((error, check.tolerance.abs + check.tolerance.rel * largest))
}

//! Several methods on one question: read, aimed and cut once, answered by each.
//!
//! A method that does not fit the model, or fails, is recorded with the reason; the others go on. Agreement is Spearman's rank correlation
//! of combined scores; where one of two methods gives scores without a sign, it is that of the magnitudes, for there is nothing else to compare.

use pellucid_core::{Attribution, COMPARISON_FORMAT, Comparison, Engine, Error, LeftOut, Method, Result, Sign, walk::Estimate};
use pellucid_eval::rank_correlation;
use pellucid_models::Loaded;

use crate::{
    VERSION,
    explain::{Prepared, Request, reset_peak},
};

/// Explains by the request's method, then by each of `more`.
///
/// # Errors
/// A request that does not suit the model; an interruption before any method was done (a later one keeps what there is).
pub fn compare(request: &Request, more: &[Box<dyn Method>], loaded: &Loaded, engine: &Engine<'_>) -> Result<Comparison> {
    let prepared = Prepared::for_any(request, loaded, engine)?;
    let (mut attributions, mut left_out) = (Vec::new(), Vec::new());
    for method in std::iter::once(&request.method).chain(more) {
        tracing::info!(method = method.id(), "runs");
        reset_peak();
        match one(&**method, &prepared, request, loaded, engine) {
            Ok(attribution) => attributions.push(attribution),
            Err(Error::Interrupted) if attributions.is_empty() => return Err(Error::Interrupted),
            Err(error) => {
                let failed = !matches!(error, Error::Unsupported(_));
                left_out.push(LeftOut { method: method.id().into(), reason: error.to_string(), failed });
            }
        }
    }
    let rank_correlation = attributions.iter().map(|a| attributions.iter().map(|b| agreement(a, b)).collect()).collect();
    Ok(Comparison { format: COMPARISON_FORMAT.into(), tool_version: VERSION.into(), attributions, left_out, rank_correlation })
}

/// A method's name, and what it would take.
pub type Told = (&'static str, Result<Estimate>);

/// What methods would take: an estimate each, or why there is none.
///
/// # Errors
/// As [`compare`].
pub fn estimate(request: &Request, more: &[Box<dyn Method>], loaded: &Loaded, engine: &Engine<'_>) -> Result<(Prepared, Vec<Told>)> {
    let prepared = Prepared::for_any(request, loaded, engine)?;
    let methods = std::iter::once(&request.method).chain(more);
    let each = methods.map(|method| (method.id(), prepared.estimate_by(&**method, loaded, engine))).collect();
    Ok((prepared, each))
}

fn one(method: &dyn Method, prepared: &Prepared, request: &Request, loaded: &Loaded, engine: &Engine<'_>) -> Result<Attribution> {
    prepared.fits(method, loaded).map_err(|e| Error::Unsupported(e.to_string()))?;
    let attribution = prepared.explain_by(method, request, loaded, engine)?;
    let cells = attribution.scores.per_target_token.iter().flatten().flatten();
    match attribution.scores.combined.iter().chain(cells).find(|s| !s.is_finite()) {
        // One such number must not spoil the file for the others.
        Some(score) => Err(Error::request(format!("a score is {score}, not a finite number"))),
        None => Ok(attribution),
    }
}

/// `None` where one of the two puts the features in no order.
fn agreement(a: &Attribution, b: &Attribution) -> Option<f64> {
    let magnitudes = [a, b].iter().any(|x| x.method.sign == Sign::Unsigned);
    let scores = |x: &Attribution| -> Vec<f64> { x.scores.combined.iter().map(|s| if magnitudes { s.abs() } else { *s }).collect() };
    rank_correlation(&scores(a), &scores(b)).ok()
}

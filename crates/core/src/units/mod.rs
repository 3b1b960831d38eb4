//! Text units: from a text and its tokens to the features that get scores, and to the controls that a person writes by hand.
//!
//! A unit is a span of the text together with the tokens it touches and how much of each. Suppressing a unit by a factor *f* gives a
//! token that is covered to a fraction *φ* the factor
//!
//! ```text
//! partial (default)   1 + (f − 1)·φ
//! complete            f,  as soon as φ > 0
//! ```
//!
//! φ counts the token's characters that are not white space, so that the token `" Paris"` lies wholly inside the word `Paris`. A token of
//! white space alone counts all its characters and belongs to a unit only if it lies inside it: a line break within a sentence does, the
//! one between two sentences does not. Spans here are **bytes** of the text, on character boundaries; the attribution file has characters.
//!
//! Granularities, the overlap rule, the span rules and the automatic choice follow the published product API for AtMan: spans exclude
//! surrounding white space, punctuation is its own word, sentences keep their final punctuation, delimiters belong to no unit.
//!
//! Deliberately absent: tokenizers and models (token spans are given), chat templates (their parts are simply not in `within`),
//! dictionaries for scripts without spaces (Thai falls into characters at word granularity), images.

mod chunks;
mod granularity;
mod overlap;
mod select;
mod sentences;
mod split;
#[cfg(test)]
mod tests;
mod written;

use std::ops::Range;

pub use chunks::chunks;
pub use granularity::Granularity;
pub use overlap::{Overlap, effective_factor};
pub use select::{ControlSpec, Which, check_factor, check_similarity, factors, spans};

use crate::{Error, Result};
use overlap::{Cover, is_blank, place_tokens};

/// How many units [`Granularity::Auto`] would like: enough to point at something, few enough to read (the published rule).
const AUTO_UNITS: usize = 30;

/// A stretch of text that gets one score.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Bytes of the text, on character boundaries, without surrounding white space (a blank token at token granularity keeps its own).
    pub span: Range<usize>,
    /// `(token index, covered fraction in (0, 1])`, by rising index. Empty if no token covers any of it: the model never saw it.
    pub tokens: Vec<(usize, f64)>,
}

/// The units of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Units {
    /// How they were cut; never [`Granularity::Auto`].
    pub granularity: Granularity,
    /// In order of position, disjoint (tokens that share a character share its span). At least one.
    pub units: Vec<Unit>,
}

/// Cuts `text` into units and says which tokens each one touches.
///
/// - `tokens`: bytes of `text` that each token stands for; `None` or an empty span for a token that was added (it is in no unit).
///   A span that ends inside a character, as byte-level tokens may, is widened to the whole character.
/// - `within`: the parts to explain, in order and disjoint; empty means all of `text`. Each part is cut on its own, so no unit crosses
///   from one into another, nor leaves them.
///
/// Every character of the parts that is not white space lies in exactly one unit, except delimiters, text that a regex does not match,
/// and, at token granularity, text that no token covers.
///
/// # Errors
/// A span or part outside the text; parts out of order or cutting a character; a regex that is invalid, matches nothing or only empty
/// strings; no unit at all (an empty or blank text).
pub fn units(text: &str, tokens: &[Option<Range<usize>>], within: &[Range<usize>], granularity: &Granularity) -> Result<Units> {
    if text.is_empty() {
        return Err(Error::request("the text is empty; give at least one character to explain"));
    }
    let parts = check_parts(text, within)?;
    let tokens = place_tokens(text, tokens)?;
    let (granularity, units) = match granularity {
        Granularity::Auto => automatic(text, &tokens, &parts)?,
        _ => (granularity.clone(), cut(text, &tokens, &parts, granularity)?),
    };
    if units.is_empty() {
        return Err(nothing_to_explain(text, &parts, &granularity));
    }
    Ok(Units { granularity, units })
}

/// Of the published four, the one whose number of units is nearest [`AUTO_UNITS`]; the coarser of two equally near.
fn automatic(text: &str, tokens: &[Option<Range<usize>>], parts: &[Range<usize>]) -> Result<(Granularity, Vec<Unit>)> {
    let mut best = (Granularity::Paragraph, Vec::new());
    for granularity in [Granularity::Paragraph, Granularity::Sentence, Granularity::Word, Granularity::Token] {
        let units = cut(text, tokens, parts, &granularity)?;
        let nearer = units.len().abs_diff(AUTO_UNITS) < best.1.len().abs_diff(AUTO_UNITS);
        if !units.is_empty() && (best.1.is_empty() || nearer) {
            best = (granularity, units);
        }
    }
    Ok(best)
}

fn cut(text: &str, tokens: &[Option<Range<usize>>], parts: &[Range<usize>], granularity: &Granularity) -> Result<Vec<Unit>> {
    if *granularity == Granularity::Token {
        return Ok(token_units(text, tokens, parts));
    }
    let mut units: Vec<Unit> = Vec::new();
    for part in parts {
        let spans = split::spans(&text[part.clone()], granularity)?;
        units.extend(spans.into_iter().map(|s| Unit { span: part.start + s.start..part.start + s.end, tokens: Vec::new() }));
    }
    if let (Granularity::Regex(pattern), true) = (granularity, units.is_empty()) {
        return Err(Error::request(format!("the regex `{pattern}` matches no text that is not blank; each match becomes a unit")));
    }
    assign(text, tokens, &mut units);
    Ok(units)
}

/// Every token that lies at least partly in `parts` is a unit, blank ones too. One that reaches from one part into another stays one.
fn token_units(text: &str, tokens: &[Option<Range<usize>>], parts: &[Range<usize>]) -> Vec<Unit> {
    let mut units = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let Some(token) = token else { continue };
        let share = Cover::of(text, token).share(parts);
        let Some(span) = overlap::hull(token, parts).filter(|_| share > 0.0) else { continue };
        let span = if is_blank(&text[span.clone()]) { span } else { split::trim(text, span) };
        units.push(Unit { span, tokens: vec![(index, share)] });
    }
    units.sort_by_key(|unit| unit.span.start);
    units
}

/// Gives each unit the tokens it touches. `units` are in order and disjoint.
fn assign(text: &str, tokens: &[Option<Range<usize>>], units: &mut [Unit]) {
    for (index, token) in tokens.iter().enumerate() {
        let Some(token) = token else { continue };
        let cover = Cover::of(text, token);
        let first = units.partition_point(|unit| unit.span.end <= token.start);
        for unit in units[first..].iter_mut().take_while(|unit| unit.span.start < token.end) {
            let share = cover.share(std::slice::from_ref(&unit.span));
            let inside = if cover.blank { share == 1.0 } else { share > 0.0 };
            if inside {
                unit.tokens.push((index, share));
            }
        }
    }
}

fn check_parts(text: &str, within: &[Range<usize>]) -> Result<Vec<Range<usize>>> {
    let mut end = 0;
    for part in within {
        let Range { start, end: stop } = *part;
        if start > stop || stop > text.len() {
            return Err(Error::request(format!(
                "the part to explain, bytes {start}..{stop}, is outside the text, which has {} bytes",
                text.len()
            )));
        }
        if !text.is_char_boundary(start) || !text.is_char_boundary(stop) {
            return Err(Error::request(format!("the part to explain, bytes {start}..{stop}, cuts a character; use character boundaries")));
        }
        if start < end {
            return Err(Error::request(format!(
                "the part to explain, bytes {start}..{stop}, begins before the one ahead of it ends (byte {end}); give parts in order, without overlap"
            )));
        }
        end = stop;
    }
    let all = std::iter::once(0..text.len());
    Ok(if within.is_empty() { all.collect() } else { within.to_vec() })
}

fn nothing_to_explain(text: &str, parts: &[Range<usize>], granularity: &Granularity) -> Error {
    let characters: usize = parts.iter().map(|part| text[part.clone()].chars().count()).sum();
    if parts.iter().all(|part| is_blank(&text[part.clone()])) {
        return Error::request(format!("the text to explain is blank ({characters} characters of white space); give some words"));
    }
    Error::request(format!("no {granularity} unit in the {characters} characters to explain; another granularity would find some"))
}

//! Controls that a person asks for, and what they do to each token.
//!
//! The written form is read in `written.rs`.
//!
//! Where several controls touch a token, the last one wins, as in the published code: factors are not multiplied.
//! Deliberately absent: regular expressions, letter case and normal forms (text is matched character by character), image rectangles,
//! and the choice of the attention mode.

use std::ops::Range;

use super::overlap::{Cover, Overlap, effective_factor, place_tokens};
use crate::{Error, Result};

/// A part of the input, and the factor that its attention gets.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlSpec {
    /// Which part.
    pub which: Which,
    /// Suppression factor: 0 removes, 1 leaves as it is, above 1 amplifies.
    pub factor: f64,
    /// What a token gets that is only partly covered; [`Overlap::Partial`] when read from text.
    pub overlap: Overlap,
}

/// A part of the input as a person points at it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// Where a text occurs.
    Text {
        /// The text, character by character. Occurrences do not overlap: `aa` is once in `aaa`.
        needle: String,
        /// Which occurrence, from 1; `None`: every one.
        occurrence: Option<usize>,
    },
    /// Token indices, from 0, end exclusive; also of tokens that stand for no text.
    Tokens(Range<usize>),
    /// Characters of the text, from 0, end exclusive.
    Chars(Range<usize>),
}

/// Passes on a suppression factor that is one.
///
/// # Errors
/// Negative, infinite or not a number.
pub fn check_factor(f: f64) -> Result<f64> {
    if f.is_finite() && f >= 0.0 {
        return Ok(f.abs()); // −0 would have the logarithm of 0 but print as "-0"
    }
    Err(Error::request(format!(
        "suppression factor {f} is not a finite number of at least 0; 0 removes, 1 changes nothing, above 1 amplifies"
    )))
}

/// Passes on a threshold κ for cosine similarity that is one.
///
/// # Errors
/// Outside 0 to 1, or not a number.
pub fn check_similarity(kappa: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&kappa) {
        return Ok(kappa.abs());
    }
    Err(Error::request(format!("similarity threshold {kappa} is outside 0 to 1; 1 takes only tokens along that point the same way")))
}

/// One factor per token, 1 for a token that no control touches; of several that touch it the last one wins.
///
/// `tokens`: bytes of `text` for each token, `None` for one that stands for no text (only its index reaches it). How far a token is
/// covered is counted as for [`units`](super::units()), over all occurrences together, except that a blank token may be covered in part.
///
/// # Errors
/// A factor that is none; text that does not occur, or not as often; an empty, reversed or outside range; a control that covers no token.
pub fn factors(specs: &[ControlSpec], text: &str, tokens: &[Option<Range<usize>>]) -> Result<Vec<f64>> {
    let spans = place_tokens(text, tokens)?;
    let mut factors = vec![1.0; tokens.len()];
    for spec in specs {
        let f = check_factor(spec.factor)?;
        let shares = shares(&spec.which, text, &spans)?;
        if shares.is_empty() {
            return Err(Error::request(format!("the control {spec} covers no token; point at text that the model reads")));
        }
        for (token, share) in shares {
            factors[token] = effective_factor(f, share, spec.overlap);
        }
    }
    Ok(factors)
}

/// Bytes of `text` that a part of the input covers, in order. For token indices: of those tokens that stand for text.
///
/// # Errors
/// Text that does not occur, or not as often; an empty, reversed or outside range.
pub fn spans(which: &Which, text: &str, tokens: &[Option<Range<usize>>]) -> Result<Vec<Range<usize>>> {
    match which {
        Which::Tokens(range) => {
            check_range(range, "tokens", &format!("the input, which has {} tokens", tokens.len()), tokens.len())?;
            Ok(place_tokens(text, tokens)?[range.clone()].iter().flatten().cloned().collect())
        }
        Which::Chars(range) => Ok(vec![char_bytes(text, range)?]),
        Which::Text { needle, occurrence } => occurrences(text, needle, *occurrence),
    }
}

/// Which tokens are covered, and how far.
fn shares(which: &Which, text: &str, tokens: &[Option<Range<usize>>]) -> Result<Vec<(usize, f64)>> {
    let places = spans(which, text, tokens)?;
    if let Which::Tokens(range) = which {
        return Ok(range.clone().map(|token| (token, 1.0)).collect()); // also of tokens that stand for no text
    }
    let share = |(index, span): (usize, &Option<Range<usize>>)| Some((index, Cover::of(text, span.as_ref()?).share(&places)));
    Ok(tokens.iter().enumerate().filter_map(share).filter(|(_, share)| *share > 0.0).collect())
}

/// Bytes of each occurrence, in order, or of the one asked for.
fn occurrences(text: &str, needle: &str, occurrence: Option<usize>) -> Result<Vec<Range<usize>>> {
    if needle.is_empty() {
        return Err(Error::request("the text to control is empty; give at least one character of the input"));
    }
    let all: Vec<_> = text.match_indices(needle).map(|(at, found)| at..at + found.len()).collect();
    if all.is_empty() {
        let characters = text.chars().count();
        return Err(Error::request(format!(
            "the text \"{needle}\" does not occur in the input, whose text has {characters} characters; capitals and blanks must match"
        )));
    }
    match occurrence {
        None => Ok(all),
        Some(n) => match n.checked_sub(1).and_then(|index| all.get(index)) {
            Some(place) => Ok(vec![place.clone()]),
            None => Err(Error::request(format!(
                "there is no occurrence {n} of \"{needle}\"; it occurs {} in the input, counted from 1",
                if all.len() == 1 { "once".to_owned() } else { format!("{} times", all.len()) }
            ))),
        },
    }
}

fn char_bytes(text: &str, range: &Range<usize>) -> Result<Range<usize>> {
    let characters = text.chars().count();
    check_range(range, "characters", &format!("the text, which has {characters} characters"), characters)?;
    let byte = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    Ok(byte(range.start)..byte(range.end))
}

fn check_range(range: &Range<usize>, what: &str, whole: &str, length: usize) -> Result<()> {
    check_order(range, what)?;
    if range.end > length {
        return Err(Error::request(format!("{what} {}..{} are outside {whole}; they count from 0", range.start, range.end)));
    }
    Ok(())
}

pub(super) fn check_order(range: &Range<usize>, what: &str) -> Result<()> {
    let Range { start, end } = *range;
    if start == end {
        return Err(Error::request(format!(
            "{what} {start}..{end} are none, since the end is exclusive; write {start}..{}",
            end.saturating_add(1)
        )));
    }
    if start > end {
        return Err(Error::request(format!("{what} {start}..{end} are the wrong way round; write {end}..{start}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By tokens: one without text, `The`, ` worst`, ` thes`, `aurus`, a blank line, ` é`, ` worst`.
    const TEXT: &str = "The worst thesaurus\n\n é worst";

    fn tokens() -> Vec<Option<Range<usize>>> {
        vec![None, Some(0..3), Some(3..9), Some(9..14), Some(14..19), Some(19..21), Some(21..24), Some(24..30)]
    }

    fn run(specs: &[&str]) -> Result<Vec<f64>> {
        let specs = specs.iter().map(|spec| spec.parse()).collect::<Result<Vec<ControlSpec>>>()?;
        factors(&specs, TEXT, &tokens())
    }

    fn message(spec: &str) -> String {
        run(&[spec]).unwrap_err().to_string()
    }

    #[test]
    fn a_control_reaches_the_tokens_that_it_names() {
        assert_eq!(run(&[]).unwrap(), [1.0; 8]);
        assert_eq!(run(&["worst=0.5"]).unwrap(), [1., 1., 0.5, 1., 1., 1., 1., 0.5]);
        assert_eq!(run(&["worst#2=0.5"]).unwrap(), [1., 1., 1., 1., 1., 1., 1., 0.5]);
        assert_eq!(run(&["0=3"]).unwrap(), [3., 1., 1., 1., 1., 1., 1., 1.], "a token without text, by its index");
        assert_eq!(run(&["3..5=10"]).unwrap(), [1., 1., 1., 10., 10., 1., 1., 1.]);
        assert_eq!(run(&["chars:22..23=0"]).unwrap(), [1., 1., 1., 1., 1., 1., 0., 1.], "é is two bytes, one character");
        assert_eq!(run(&["\n\n=0"]).unwrap(), [1., 1., 1., 1., 1., 0., 1., 1.], "a blank token");
    }

    #[test]
    fn a_token_covered_in_part_gets_a_part_of_the_factor() {
        // "es" is two of the four letters of " thes": 1 + (0 − 1)·2/4.
        assert_eq!(run(&["es=0"]).unwrap()[3], 0.5);
        // One of the four letters of " thes" and one of the five of "aurus".
        assert_eq!(run(&["s=0"]).unwrap()[3..5], [0.75, 0.8]);
        let mut spec: ControlSpec = "es=0".parse().unwrap();
        spec.overlap = Overlap::Complete;
        assert_eq!(factors(&[spec], TEXT, &tokens()).unwrap()[3], 0.0);
    }

    #[test]
    fn the_last_control_that_touches_a_token_wins() {
        assert_eq!(run(&["worst=0", "2=3"]).unwrap(), [1., 1., 3., 1., 1., 1., 1., 0.]);
        assert_eq!(run(&["2=3", "worst=0"]).unwrap(), [1., 1., 0., 1., 1., 1., 1., 0.]);
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        assert_eq!(
            message("best=0"),
            "the text \"best\" does not occur in the input, whose text has 29 characters; capitals and blanks must match"
        );
        assert_eq!(message("worst#3=0"), "there is no occurrence 3 of \"worst\"; it occurs 2 times in the input, counted from 1");
        assert_eq!(message("The#2=0"), "there is no occurrence 2 of \"The\"; it occurs once in the input, counted from 1");
        assert_eq!(message("3..9=0"), "tokens 3..9 are outside the input, which has 8 tokens; they count from 0");
        assert_eq!(message("8=0"), "tokens 8..9 are outside the input, which has 8 tokens; they count from 0");
        assert_eq!(message("chars:20..30=0"), "characters 20..30 are outside the text, which has 29 characters; they count from 0");
        assert!(message("chars:3..4=0").contains("chars:3..4=0 covers no token"), "the blank before a word is no part of its token");
    }

    #[test]
    fn specs_made_by_hand_are_checked_as_well() {
        let check =
            |which, factor| factors(&[ControlSpec { which, factor, overlap: Overlap::Partial }], TEXT, &tokens()).unwrap_err().to_string();
        assert!(check(Which::Tokens(1..2), f64::NAN).contains("suppression factor NaN"));
        assert!(check(Which::Tokens(2..2), 0.0).contains("tokens 2..2 are none"));
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = Which::Chars(5..2);
        assert!(check(reversed, 0.0).contains("characters 5..2 are the wrong way round; write 2..5"));
        assert!(check(Which::Text { needle: String::new(), occurrence: None }, 0.0).contains("is empty"));
        assert!(check(Which::Text { needle: "The".into(), occurrence: Some(0) }, 0.0).contains("no occurrence 0"));
        assert!(factors(&[], TEXT, &[Some(0..99)]).unwrap_err().to_string().contains("token 0 claims bytes 0..99"));
    }

    #[test]
    fn factors_and_similarities_out_of_range_are_refused() {
        for f in [-0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(
                check_factor(f)
                    .unwrap_err()
                    .to_string()
                    .starts_with(&format!("suppression factor {f} is not a finite number of at least 0"))
            );
        }
        assert!(check_factor(-0.0).unwrap().is_sign_positive());
        assert_eq!(check_factor(10.0).unwrap(), 10.0);
        for kappa in [-0.1, 1.1, f64::NAN] {
            assert!(check_similarity(kappa).unwrap_err().to_string().contains("is outside 0 to 1"));
        }
        assert_eq!((check_similarity(0.0).unwrap(), check_similarity(1.0).unwrap()), (0.0, 1.0));
    }
}

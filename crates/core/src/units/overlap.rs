//! How much of a token a piece of text covers, and what that makes of a suppression factor.
//!
//! Deliberately absent: the overlap of image tiles, and any weighting by bytes: a character counts one in every script.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a factor does to a token that is only partly covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// The factor moves towards 1 as less of the token is covered: `1 + (f − 1)·fraction`.
    #[default]
    Partial,
    /// The whole factor as soon as there is any overlap.
    Complete,
}

impl std::fmt::Display for Overlap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Overlap::Partial => "partial",
            Overlap::Complete => "complete",
        })
    }
}

impl std::str::FromStr for Overlap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "partial" => Ok(Overlap::Partial),
            "complete" => Ok(Overlap::Complete),
            _ => Err(Error::request(format!("unknown token overlap \"{text}\"; use partial or complete"))),
        }
    }
}

/// The factor for a token that is covered to `fraction` (0 to 1) by something with factor `f`. Not covered at all: 1, exactly.
///
/// Checks nothing: `f` has passed [`check_factor`](super::check_factor).
pub fn effective_factor(f: f64, fraction: f64, overlap: Overlap) -> f64 {
    match overlap {
        _ if fraction <= 0.0 => 1.0,
        // 1 + (f − 1) is not always f, to the last bit.
        _ if fraction >= 1.0 => f,
        Overlap::Partial => 1.0 + (f - 1.0) * fraction,
        Overlap::Complete => f,
    }
}

/// Whether there is nothing but white space.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// A token's place in the text, ready to be asked how much of it something covers.
pub(super) struct Cover<'a> {
    text: &'a str,
    token: &'a Range<usize>,
    /// The token is white space alone: then all its characters count, otherwise only those that are not.
    pub(super) blank: bool,
    total: usize,
}

impl<'a> Cover<'a> {
    /// `token` is a non-empty span from [`place_tokens`].
    pub(super) fn of(text: &'a str, token: &'a Range<usize>) -> Self {
        let blank = is_blank(&text[token.clone()]);
        Cover { text, token, blank, total: count(&text[token.clone()], blank) }
    }

    /// Fraction of the token inside `parts` (in order, disjoint, on character boundaries), 0 to 1.
    pub(super) fn share(&self, parts: &[Range<usize>]) -> f64 {
        let covered: usize = overlaps(self.token, parts).map(|part| count(&self.text[part], self.blank)).sum();
        covered as f64 / self.total as f64
    }
}

fn count(text: &str, blank: bool) -> usize {
    text.chars().filter(|c| blank || !c.is_whitespace()).count()
}

/// The pieces of `token` that lie in `parts` (in order, disjoint).
fn overlaps<'a>(token: &'a Range<usize>, parts: &'a [Range<usize>]) -> impl Iterator<Item = Range<usize>> + 'a {
    let first = parts.partition_point(|part| part.end <= token.start);
    parts[first..].iter().take_while(|part| part.start < token.end).map(|part| part.start.max(token.start)..part.end.min(token.end))
}

/// From the first to the last byte of `token` that lies in `parts`.
pub(super) fn hull(token: &Range<usize>, parts: &[Range<usize>]) -> Option<Range<usize>> {
    overlaps(token, parts).filter(|piece| !piece.is_empty()).reduce(|a, b| a.start..b.end)
}

/// Token spans as given, checked and widened to whole characters; an empty one becomes `None`.
///
/// # Errors
/// A reversed span or one outside the text.
pub(super) fn place_tokens(text: &str, tokens: &[Option<Range<usize>>]) -> Result<Vec<Option<Range<usize>>>> {
    let place = |(index, span): (usize, &Option<Range<usize>>)| {
        let Some(Range { start, end }) = *span else { return Ok(None) };
        if start > end || end > text.len() {
            return Err(Error::request(format!("token {index} claims bytes {start}..{end} of a text that has {} bytes", text.len())));
        }
        Ok((start < end).then(|| text.floor_char_boundary(start)..text.ceil_char_boundary(end)))
    };
    tokens.iter().enumerate().map(place).collect()
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // one part is a list of one range
mod tests {
    use super::*;

    #[test]
    fn partial_overlap_moves_the_factor_towards_one() {
        // The published example: 2.0 on two of four characters.
        assert_eq!(effective_factor(2.0, 0.5, Overlap::Partial), 1.5);
        assert_eq!(effective_factor(2.0, 0.5, Overlap::Complete), 2.0);
        assert_eq!(effective_factor(0.0, 0.25, Overlap::Partial), 0.75);
        assert_eq!(effective_factor(0.1, 1.0, Overlap::Partial), 0.1);
        assert_eq!(effective_factor(0.1, 0.0, Overlap::Complete), 1.0);
    }

    #[test]
    fn only_characters_that_are_not_white_space_count() {
        let text = "in Paris\n\n";
        let share = |token: Range<usize>, part: Range<usize>| Cover::of(text, &token).share(&[part]);
        assert_eq!(share(2..8, 3..8), 1.0, "the token \" Paris\" in the word Paris");
        assert_eq!(share(2..8, 3..5), 0.4);
        assert_eq!(share(2..8, 2..3), 0.0, "its blank alone is none of it");
        assert_eq!(share(8..10, 8..9), 0.5, "of a blank token all characters count");
    }

    #[test]
    fn pieces_of_a_token_add_up() {
        let token = 0..6;
        assert_eq!(Cover::of("ababab", &token).share(&[0..1, 2..3, 4..5]), 0.5);
        assert_eq!(hull(&token, &[1..2, 4..9]), Some(1..6));
        assert_eq!(hull(&token, &[2..2]), None);
    }

    #[test]
    fn a_token_that_ends_inside_a_character_is_widened_to_it() {
        assert_eq!(place_tokens("aé", &[Some(0..2), Some(2..3), Some(1..1), None]).unwrap(), [Some(0..3), Some(1..3), None, None]);
    }

    #[test]
    fn a_token_outside_the_text_is_refused() {
        let message = |token| place_tokens("abc", &[None, Some(token)]).unwrap_err().to_string();
        assert_eq!(message(2..4), "token 1 claims bytes 2..4 of a text that has 3 bytes");
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = 2..1;
        assert_eq!(message(reversed), "token 1 claims bytes 2..1 of a text that has 3 bytes");
    }

    #[test]
    fn overlap_is_written_as_a_word() {
        for overlap in [Overlap::Partial, Overlap::Complete] {
            assert_eq!(overlap.to_string().parse::<Overlap>().unwrap(), overlap);
            assert_eq!(serde_json::to_value(overlap).unwrap(), overlap.to_string());
        }
        assert!("half".parse::<Overlap>().unwrap_err().to_string().contains("partial or complete"));
    }
}

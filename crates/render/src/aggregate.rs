//! From tokens to words and sentences: sums of scores, so that nothing is lost or counted twice.
//!
//! Words and sentences are those of Unicode's Annex 29. A border that falls inside a feature is no border: every feature belongs to exactly one unit.

use pellucid_core::{Attribution, Span};
use unicode_segmentation::UnicodeSegmentation;

use crate::layout::{Indexed, Piece, Placed};

/// How finely scores are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The attribution's own units.
    Unit,
    /// Sums over words.
    Word,
    /// Sums over sentences.
    Sentence,
}

/// The levels that say something new about an attribution, its own first.
pub(crate) fn levels(a: &Attribution) -> &'static [Level] {
    match a.method.units.as_str() {
        _ if a.input.text.is_none() => &[Level::Unit],
        "token" => &[Level::Unit, Level::Word, Level::Sentence],
        "word" => &[Level::Unit, Level::Sentence],
        _ => &[Level::Unit],
    }
}

/// The text as words or sentences, white space at their edges apart.
pub(crate) fn pieces(text: &Indexed<'_>, placed: &[Placed], level: Level) -> Vec<Piece> {
    let borders = borders(text, placed, level);
    let mut pieces: Vec<Piece> =
        borders.windows(2).map(|w| Piece { span: Span { start: w[0], end: w[1] }, features: Vec::new() }).collect();
    for p in placed {
        let unit = borders.partition_point(|&b| b <= p.span.start) - 1;
        pieces[unit].features.push(p.feature);
    }
    pieces.into_iter().flat_map(|piece| trimmed(text, piece)).collect()
}

/// Ascending character offsets, 0 and the end among them.
fn borders(text: &Indexed<'_>, placed: &[Placed], level: Level) -> Vec<usize> {
    // +1 where a feature's inside begins, −1 where it ends: a running sum above 0 is inside.
    let mut inside = vec![0i64; text.len() + 1];
    for p in placed.iter().filter(|p| p.span.end - p.span.start > 1) {
        inside[p.span.start + 1] += 1;
        inside[p.span.end] -= 1;
    }
    for at in 1..inside.len() {
        inside[at] += inside[at - 1];
    }
    let bytes: Vec<usize> = match level {
        Level::Sentence => text.text.split_sentence_bound_indices().map(|(at, _)| at).collect(),
        _ => text.text.split_word_bound_indices().map(|(at, _)| at).collect(),
    };
    let mut borders: Vec<usize> = bytes.into_iter().map(|b| text.at_byte(b)).filter(|&at| inside[at] == 0).collect();
    borders.push(text.len());
    borders
}

fn trimmed(text: &Indexed<'_>, piece: Piece) -> impl Iterator<Item = Piece> {
    let Span { start, end } = piece.span;
    let core = text.trim(piece.span);
    let gap = |start, end| Piece { span: Span { start, end }, features: Vec::new() };
    [gap(start, core.start), Piece { span: core, features: piece.features }, gap(core.end, end)]
        .into_iter()
        .filter(|p| p.span.start < p.span.end)
}

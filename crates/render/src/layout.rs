//! The pieces of text that are drawn: runs of characters with the features that cover them.
//!
//! The text is walked by character offsets, never by the features' own texts, so it is shown as it was written. Three rules:
//! white space at a feature's edges is not coloured (but a feature that is nothing but white space is); what a reader sees as one
//! character (a letter with its marks, an emoji of several code points, the bytes of one character spread over several tokens) stays in one piece;
//! where features share a piece, it carries the sum of their scores.

use pellucid_core::{Attribution, Error, Feature, Part, Result, Span};
use unicode_segmentation::UnicodeSegmentation;

use crate::aggregate::{self, Level};

/// Most entries in all lists of features together: far above any real text, far below memory.
const MAX_ENTRIES: usize = 1 << 22;

/// A text from beginning to end: the prompt, or the target where earlier target tokens got scores.
#[derive(Debug, PartialEq)]
pub(crate) struct Section {
    pub(crate) part: Part,
    pub(crate) runs: Vec<Run>,
}

/// A stretch of what is drawn.
#[derive(Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Indices into the attribution's features; the run's score is their sum. Empty where nothing was scored.
    pub(crate) features: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The user's own characters.
    Text,
    /// A token that is not in the text: an added one, or one given as an id.
    Chip,
    /// Stands for text that is left out.
    Ellipsis,
}

/// A range of characters and the features in it.
#[derive(Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) span: Span,
    pub(crate) features: Vec<usize>,
}

/// A feature with a span, white space trimmed and widened to whole characters.
pub(crate) struct Placed {
    pub(crate) feature: usize,
    pub(crate) span: Span,
}

/// Everything of the text that is drawn, at a level of detail; parts of a picture are elsewhere. The attribution must have been checked.
pub(crate) fn sections(a: &Attribution, level: Level) -> Result<Vec<Section>> {
    let mut sections = Vec::new();
    // Beside a picture, what was not scored is no text to read.
    if a.input.image.is_none() || a.features.iter().any(|f| f.part == Part::Prompt && f.region.is_none()) {
        sections.push(section(a, Part::Prompt, level)?);
    }
    if a.features.iter().any(|f| f.part == Part::Target && f.region.is_none()) {
        sections.push(section(a, Part::Target, level)?);
    }
    Ok(sections)
}

fn section(a: &Attribution, part: Part, level: Level) -> Result<Section> {
    let features = || a.features.iter().enumerate().filter(move |(_, f)| f.part == part && f.region.is_none());
    let text = match part {
        Part::Prompt => &a.input.text,
        Part::Target => &a.target.text,
    };
    let Some(text) = text else { return Ok(Section { part, runs: chips(a, part, features())? }) };
    let text = Indexed::new(text);
    let placed: Vec<Placed> =
        features().filter_map(|(i, f)| f.span.filter(|s| s.start < s.end).map(|s| Placed { feature: i, span: text.place(s) })).collect();
    let pieces = match level {
        Level::Unit => overlay(text.len(), &placed)?,
        _ => aggregate::pieces(&text, &placed, level),
    };
    let added = features().filter(|(_, f)| f.span.is_none_or(|s| s.start == s.end)).map(|(i, f)| (offset(a, f), i)).collect();
    let whole = [Span { start: 0, end: text.len() }];
    let shown = if part == Part::Target || a.input.shown.is_empty() { &whole[..] } else { &a.input.shown[..] };
    Ok(Section { part, runs: cut(a, &text, &pieces, added, shown) })
}

/// Cuts the text where a feature begins or ends, and lists for each stretch the features that cover it.
fn overlay(length: usize, placed: &[Placed]) -> Result<Vec<Piece>> {
    let mut events: Vec<(usize, bool, usize)> =
        placed.iter().flat_map(|p| [(p.span.start, true, p.feature), (p.span.end, false, p.feature)]).collect();
    events.sort_unstable();
    let (mut pieces, mut open, mut start, mut entries) = (Vec::new(), std::collections::BTreeSet::new(), 0, 0);
    for (at, opens, feature) in events {
        if at > start {
            entries += open.len();
            if entries > MAX_ENTRIES {
                return Err(Error::request(format!("the {} features overlap too often to be drawn", placed.len())));
            }
            pieces.push(Piece { span: Span { start, end: at }, features: open.iter().copied().collect() });
            start = at;
        }
        if opens {
            open.insert(feature)
        } else {
            open.remove(&feature)
        };
    }
    if start < length {
        pieces.push(Piece { span: Span { start, end: length }, features: Vec::new() });
    }
    Ok(pieces)
}

/// Runs for the shown parts of the text, with marks for what is left out and chips for features that are not in the text.
fn cut(a: &Attribution, text: &Indexed<'_>, pieces: &[Piece], mut added: Vec<(usize, usize)>, shown: &[Span]) -> Vec<Run> {
    added.sort_unstable();
    let mut added = added.into_iter().peekable();
    let (mut runs, mut done) = (Vec::new(), 0);
    for part in shown {
        if part.start > done {
            runs.push(Run::ellipsis());
        }
        while added.next_if(|&(at, _)| at < part.start).is_some() {}
        let first = pieces.partition_point(|p| p.span.end <= part.start);
        for piece in pieces[first..].iter().take_while(|p| p.span.start < part.end) {
            let span = Span { start: piece.span.start.max(part.start), end: piece.span.end.min(part.end) };
            while let Some((_, feature)) = added.next_if(|&(at, _)| at <= span.start) {
                runs.push(Run::chip(&a.features[feature].text, vec![feature]));
            }
            push_text(&mut runs, text.slice(span), &piece.features);
        }
        while let Some((_, feature)) = added.next_if(|&(at, _)| at <= part.end) {
            runs.push(Run::chip(&a.features[feature].text, vec![feature]));
        }
        done = part.end;
    }
    if done < text.len() {
        runs.push(Run::ellipsis());
    }
    runs
}

fn push_text(runs: &mut Vec<Run>, text: &str, features: &[usize]) {
    match runs.last_mut() {
        Some(last) if last.kind == Kind::Text && last.features.is_empty() && features.is_empty() => last.text.push_str(text),
        _ => runs.push(Run { kind: Kind::Text, text: text.to_owned(), features: features.to_vec() }),
    }
}

/// Where in the text a feature without characters stands: after everything before its first token.
fn offset(a: &Attribution, feature: &Feature) -> usize {
    let (Some(&first), Part::Prompt) = (feature.positions.iter().min(), feature.part) else { return 0 };
    let before = &a.input.tokens[..first.min(a.input.tokens.len())];
    before.iter().filter_map(|t| t.span).map(|s| s.end).max().unwrap_or(0)
}

/// One chip for each stretch of tokens that the same features cover.
fn chips<'a>(a: &Attribution, part: Part, features: impl Iterator<Item = (usize, &'a Feature)>) -> Result<Vec<Run>> {
    let name = |text: &str, id: u32| if text.is_empty() { id.to_string() } else { text.to_owned() };
    let names: Vec<String> = match part {
        Part::Prompt => a.input.tokens.iter().map(|t| name(&t.text, t.id)).collect(),
        Part::Target => a.target.tokens.iter().map(|t| name(&t.text, t.id)).collect(),
    };
    let base = if part == Part::Prompt { 0 } else { a.input.tokens.len() };
    let (mut covering, mut entries) = (vec![Vec::new(); names.len()], 0);
    for (i, feature) in features {
        for &position in &feature.positions {
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(Error::request("the features cover too many positions to be drawn"));
            }
            if let Some(list) = position.checked_sub(base).and_then(|p| covering.get_mut(p)) {
                list.push(i);
            }
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    for (name, features) in names.iter().zip(covering).filter(|(_, f)| a.input.image.is_none() || !f.is_empty()) {
        match runs.last_mut() {
            Some(last) if !features.is_empty() && last.features == features => {
                last.text.push(' ');
                last.text.push_str(name);
            }
            _ => {
                if !runs.is_empty() {
                    runs.push(Run { kind: Kind::Text, text: " ".into(), features: Vec::new() });
                }
                runs.push(Run::chip(name, features));
            }
        }
    }
    Ok(runs)
}

impl Run {
    fn ellipsis() -> Self {
        Run { kind: Kind::Ellipsis, text: "…".into(), features: Vec::new() }
    }

    fn chip(text: &str, features: Vec<usize>) -> Self {
        Run { kind: Kind::Chip, text: text.to_owned(), features }
    }
}

/// A text that can be cut by character offsets.
pub(crate) struct Indexed<'a> {
    pub(crate) text: &'a str,
    /// Byte offset of every character, and the end.
    bytes: Vec<usize>,
    /// Whether what a reader sees as a character begins at this character offset; the end counts.
    begins: Vec<bool>,
}

impl<'a> Indexed<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut begins: Vec<bool> = text.graphemes(true).flat_map(|g| g.chars().enumerate().map(|(i, _)| i == 0)).collect();
        begins.push(true);
        Indexed { text, bytes, begins }
    }

    /// In characters.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - 1
    }

    pub(crate) fn slice(&self, span: Span) -> &'a str {
        &self.text[self.bytes[span.start]..self.bytes[span.end]]
    }

    /// Character offset of a byte offset that is a character's first.
    pub(crate) fn at_byte(&self, byte: usize) -> usize {
        self.bytes.partition_point(|&b| b < byte)
    }

    /// Without white space at the edges, unless there is nothing else.
    pub(crate) fn trim(&self, span: Span) -> Span {
        let slice = self.slice(span);
        let lead = slice.chars().take_while(|c| c.is_whitespace()).count();
        let trail = slice.chars().rev().take_while(|c| c.is_whitespace()).count();
        if span.start + lead == span.end { span } else { Span { start: span.start + lead, end: span.end - trail } }
    }

    fn place(&self, span: Span) -> Span {
        let Span { mut start, mut end } = self.trim(span);
        while !self.begins[start] {
            start -= 1;
        }
        while !self.begins[end] {
            end += 1;
        }
        Span { start, end }
    }
}

#[cfg(test)]
mod tests;

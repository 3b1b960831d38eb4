//! The tokenizer library's steps, run one by one: normalise, split, look up.
//!
//! Run by hand because a text's beginning matters. Many tokenizers put a blank before a text, so that its first word looks like any other;
//! before a text that goes on another one that would be an invention. Its own post-processing is left out, too: it trims spans.

use std::ops::Range;

use pellucid_core::{Error, Result};
use serde_json::{Value as Json, json};
use tokenizers::{Model, NormalizerWrapper, OffsetType, PreTokenizer, PreTokenizerWrapper, Tokenizer};

use super::Encoded;
use super::ranks::Ranks;

/// What stands before a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing: a blank is put there if the tokenizer does so.
    Text,
    /// A special token: a blank is put there if the tokenizer does so for every part of a text, not only the first.
    Special,
    /// Other text: no blank.
    Continuation,
}

/// The third step: from the parts of a text to ids.
#[derive(Debug)]
pub(super) enum Lookup {
    /// The tokenizer library's own model.
    Library,
    /// The same, and it is an error if splitting leaves out anything but blanks. What the parts are is given in words.
    Strict(&'static str),
    /// Byte pairs by rank.
    Ranks(Ranks),
}

/// The first two steps, for each kind of start, and the third.
#[derive(Debug)]
pub(super) struct Pipeline {
    lookup: Lookup,
    text: Steps,
    special: Steps,
    continuation: Steps,
}

#[derive(Debug)]
struct Steps {
    normalizer: Option<NormalizerWrapper>,
    splitter: Option<PreTokenizerWrapper>,
}

impl Pipeline {
    pub(super) fn new(tokenizer: &Tokenizer, lookup: Lookup) -> Result<Self, String> {
        let steps = |edit_normalizer: fn(&mut Json), edit_splitter: fn(&mut Json)| -> Result<Steps, String> {
            Ok(Steps {
                normalizer: edited(tokenizer.get_normalizer(), edit_normalizer)?,
                splitter: edited(tokenizer.get_pre_tokenizer(), edit_splitter)?,
            })
        };
        Ok(Pipeline {
            lookup,
            text: steps(|_| (), |_| ())?,
            special: steps(|_| (), |step| set(step, "Metaspace", "prepend_scheme", |scheme| scheme == "first", json!("never")))?,
            continuation: steps(
                |step| set(step, "Prepend", "prepend", |_| true, json!("")),
                |step| {
                    set(step, "Metaspace", "prepend_scheme", |_| true, json!("never"));
                    set(step, "ByteLevel", "add_prefix_space", |_| true, json!(false));
                },
            )?,
        })
    }

    /// Ids and spans of `text`; special tokens in it are text.
    pub(super) fn run(&self, tokenizer: &Tokenizer, text: &str, start: Start) -> Result<Encoded> {
        let failed = |error| Error::request(format!("the text cannot be tokenised: {error}"));
        let steps = match start {
            Start::Text => &self.text,
            Start::Special => &self.special,
            Start::Continuation => &self.continuation,
        };
        let mut split = tokenizer.get_added_vocabulary().extract_and_normalize(steps.normalizer.as_ref(), text);
        if let Some(splitter) = &steps.splitter {
            splitter.pre_tokenize(&mut split).map_err(failed)?;
        }
        match &self.lookup {
            Lookup::Ranks(ranks) => split.tokenize(|part| Ok(ranks.tokens(part.get()))),
            Lookup::Library | Lookup::Strict(_) => tokenizer.get_model().tokenize_in_pretokenized(&mut split, None),
        }
        .map_err(failed)?;
        let encoding = split.into_encoding(None, 0, OffsetType::Byte).map_err(failed)?;
        let mut encoded = Encoded::default();
        for (id, (start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            // The library counts bytes, and may end inside a character that is split over tokens.
            let span = text.floor_char_boundary(*start)..text.ceil_char_boundary(*end);
            encoded.push(*id, (!span.is_empty()).then_some(span));
        }
        match self.lookup {
            Lookup::Strict(parts) => refuse_gaps(text, &encoded.spans, parts)?,
            Lookup::Library | Lookup::Ranks(_) => cover_gaps(text, &mut encoded.spans),
        }
        Ok(encoded)
    }
}

/// The first character between the spans that is no blank is an error.
fn refuse_gaps(text: &str, spans: &[Option<Range<usize>>], parts: &str) -> Result<()> {
    let mut covered = 0;
    for span in spans.iter().flatten().cloned().chain(std::iter::once(text.len()..text.len())) {
        let gap = &text[covered..span.start];
        if let Some(at) = gap.find(|c: char| !c.is_whitespace()) {
            let what: String = gap[at..].chars().take(1).collect();
            return Err(Error::request(format!("`{what}`, at byte {} of the text, is not {parts}", covered + at)));
        }
        covered = span.end;
    }
    Ok(())
}

/// A normaliser may compose characters (`e` and an accent) or drop them (the accent), and the library then points to the first one only.
/// What follows a token without a blank between, and is covered by none, belongs to that token.
fn cover_gaps(text: &str, spans: &mut [Option<Range<usize>>]) {
    let mut covered = 0;
    for index in 0..=spans.len() {
        let next = match spans.get(index) {
            Some(None) => continue,
            Some(Some(span)) => span.clone(),
            None => text.len()..text.len(),
        };
        if next.start > covered {
            let gap = &text[covered..next.start];
            let end = covered + gap.find(char::is_whitespace).unwrap_or(gap.len());
            let before = spans[..index].iter_mut().rev().flatten();
            before.take_while(|span| span.end == covered).for_each(|span| span.end = end);
        }
        covered = covered.max(next.end);
    }
}

/// A copy of a step, edited in its published form.
fn edited<T: serde::Serialize + serde::de::DeserializeOwned>(step: Option<&T>, edit: fn(&mut Json)) -> Result<Option<T>, String> {
    let Some(step) = step else { return Ok(None) };
    let mut json = serde_json::to_value(step).map_err(|error| error.to_string())?;
    edit(&mut json);
    serde_json::from_value(json).map(Some).map_err(|error| error.to_string())
}

/// In every step of type `kind`, however deep in sequences: sets `field` to `value` where `which` says so of the old value.
fn set(step: &mut Json, kind: &str, field: &str, which: fn(&Json) -> bool, value: Json) {
    for list in ["normalizers", "pretokenizers"] {
        for inner in step.get_mut(list).and_then(Json::as_array_mut).into_iter().flatten() {
            set(inner, kind, field, which, value.clone());
        }
    }
    if step["type"] == kind && step.get(field).is_some_and(which) {
        step[field] = value;
        // An older name for the same choice; the library refuses both if they disagree.
        if let Some(fields) = step.as_object_mut().filter(|_| kind == "Metaspace") {
            fields.remove("add_prefix_space");
        }
    }
}

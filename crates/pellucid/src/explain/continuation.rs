//! Tokens that follow the prompt: a text, ids, part of the text itself, or what the model itself says next.

use std::ops::Range;

use pellucid_core::{Engine, Error, Result};
use pellucid_models::{Loaded, text::TextTokenizer};

use super::{
    Aim,
    goal::{Aimed, Goal},
};
use crate::{
    generate::greedy,
    prompt::{Reading, goes_on, needed},
};

/// The goal of a model that goes on with a text. A range as target shortens the reading.
pub(super) fn goal(aim: &Aim, contrast: Option<&Aim>, reading: &mut Reading, loaded: &Loaded, engine: &Engine<'_>) -> Result<Goal> {
    let target = aimed("target", aim, reading, loaded, engine)?;
    let contrast = contrast.map(|c| aimed("contrast", c, reading, loaded, engine)).transpose()?;
    Ok(Goal { target, contrast, ..Goal::default() })
}

fn aimed(what: &str, aim: &Aim, reading: &mut Reading, loaded: &Loaded, engine: &Engine<'_>) -> Result<Aimed> {
    let (tokenizer, model) = (loaded.tokenizer.as_ref(), loaded.model.description());
    match aim {
        Aim::Text(text) => {
            let encoded = needed(tokenizer)?.encode_continuation(text)?;
            if encoded.ids.is_empty() {
                return Err(Error::request(format!(
                    "the {what} \"{text}\" gives no tokens; give at least one character that the tokenizer knows"
                )));
            }
            Ok(Aimed { text: Some(text.clone()), spans: encoded.spans, ..Aimed::tokens(encoded.ids, "given", tokenizer) })
        }
        Aim::Ids(ids) => {
            if ids.is_empty() {
                return Err(Error::request(format!("the {what} has no token ids; give at least one")));
            }
            Ok(Aimed::tokens(ids.clone(), "given", tokenizer))
        }
        Aim::Any(count) => Ok(Aimed::tokens(vec![0; (*count).max(1)], "given", tokenizer)),
        Aim::Own(count) | Aim::Generated(count) => generated(*count, reading, tokenizer, engine),
        Aim::Range(range) => range_of_prompt(range, reading, tokenizer),
        Aim::Class(_) => Err(goes_on(model, "has no classes", "give what comes next with --target")),
        Aim::Masked(_) => Err(goes_on(model, "fills in no mask", "give what comes next with --target")),
        Aim::SimilarTo(_) | Aim::Texts(_) | Aim::Picture(_) => {
            Err(goes_on(model, "gives no vector to compare", "choose a model that does, such as minilm"))
        }
    }
}

fn generated(count: usize, reading: &Reading, tokenizer: Option<&TextTokenizer>, engine: &Engine<'_>) -> Result<Aimed> {
    if count == 0 {
        return Err(Error::request("a target of 0 generated tokens explains nothing; ask for at least 1"));
    }
    let ids = greedy(engine, tokenizer, &reading.symbols(), count)?;
    let mut aimed = Aimed::tokens(ids, "generated", tokenizer);
    if let Some(tokenizer) = tokenizer {
        let (text, spans) = pieces(tokenizer, &aimed.ids);
        (aimed.text, aimed.spans) = (Some(text), spans);
    }
    Ok(aimed)
}

/// Takes a target out of the text itself: what follows it is dropped, what stands before it is the prompt.
fn range_of_prompt(range: &Range<usize>, reading: &mut Reading, tokenizer: Option<&TextTokenizer>) -> Result<Aimed> {
    let tokens = reading.ids.len();
    if range.is_empty() || range.end > tokens || range.start == 0 {
        return Err(Error::request(format!(
            "target tokens {}..{} are not a part of the text after its first token; it has {tokens} tokens, so 1..{tokens} is the most",
            range.start, range.end
        )));
    }
    let ids = reading.ids[range.clone()].to_vec();
    let spans: Vec<Option<Range<usize>>> = reading.spans[range.clone()].to_vec();
    reading.ids.truncate(range.start);
    reading.spans.truncate(range.start);
    let covered = spans.iter().flatten();
    let (first, last) = (covered.clone().map(|s| s.start).min(), covered.map(|s| s.end).max());
    let (Some(text), Some(first), Some(last)) = (&mut reading.text, first, last) else {
        return Ok(Aimed::tokens(ids, "range", tokenizer));
    };
    let own = text[first..last].to_owned();
    text.truncate(first);
    let clip = |parts: &mut Vec<Range<usize>>| {
        parts.iter_mut().for_each(|p| p.end = p.end.min(first));
        parts.retain(|p| p.start < p.end);
    };
    clip(&mut reading.explained);
    clip(&mut reading.shown);
    reading.spans.iter_mut().for_each(|s| *s = s.take().map(|s| s.start.min(first)..s.end.min(first)).filter(|s| !s.is_empty()));
    let spans = spans.into_iter().map(|s| s.map(|s| s.start - first..s.end - first)).collect();
    Ok(Aimed { text: Some(own), spans, ..Aimed::tokens(ids, "range", tokenizer) })
}

/// The text of generated tokens, and which bytes of it each one brought.
fn pieces(tokenizer: &TextTokenizer, ids: &[u32]) -> (String, Vec<Option<Range<usize>>>) {
    let mut text = String::new();
    let mut spans = Vec::new();
    let mut streamer = tokenizer.streamer();
    for id in ids {
        let start = text.len();
        text.push_str(&streamer.push(*id));
        spans.push(start..text.len());
    }
    let rest = streamer.finish();
    if let Some(last) = spans.last_mut().filter(|_| !rest.is_empty()) {
        last.end += rest.len();
        text.push_str(&rest);
    }
    (text, spans.into_iter().map(|s| Some(s).filter(|s| !s.is_empty())).collect())
}

//! `tokenizer.pkl`: a pickled tiktoken `Encoding`, as nanoguard is published: an expression that splits a text, tokens by their bytes with
//! their ranks, special tokens. The pickle is read as plain data and never executed: see `weights/torch/pickle.rs`.
//!
//! What is put around a text is in no file but in nanoguard's own code: `<|reserved_0|>` before it, and `<|reserved_1|>` fills up what is
//! shorter than the model's context. (It also cuts off what is longer; we leave that to whoever asks.)

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::folder::Built;
use super::pieces::characters;
use super::pipeline::Lookup;
use super::ranks::Ranks;
use crate::weights::torch::pickle::{self, Heap, Names, Value};

const BEGIN: &str = "<|reserved_0|>";
const PADDING: &str = "<|reserved_1|>";

/// The tokenizer of a pickle.
pub(super) fn read(pickle: &[u8]) -> Result<Built, String> {
    let Encoding { expression, ranks, specials } = Encoding::read(pickle)?;
    let begin =
        specials.iter().find(|(token, _)| *token == BEGIN).ok_or_else(|| format!("has no `{BEGIN}`, which stands before a text"))?;
    // The library's model only knows the entries, each in GPT-2's writing of bytes; joining them is ours.
    let letters = characters();
    let written = |bytes: &[u8]| bytes.iter().map(|byte| letters[usize::from(*byte)]).collect::<String>();
    let ordinary = ranks.iter().map(|(bytes, id)| (written(bytes), *id));
    let vocabulary: Vocab = ordinary.chain(specials.iter().map(|(token, id)| ((*token).to_owned(), *id))).collect();
    if vocabulary.len() != ranks.len() + specials.len() {
        return Err("has a special token that is written as an ordinary one".into());
    }
    let model = BPE::builder().vocab_and_merges(vocabulary, Vec::new()).build().map_err(|error| error.to_string())?;
    let mut tokenizer = Tokenizer::new(model);
    let splitter = Split::new(SplitPattern::Regex(expression.into()), SplitDelimiterBehavior::Isolated, false);
    tokenizer.with_pre_tokenizer(Some(splitter.map_err(|error| format!("splits texts by an expression that cannot be read: {error}"))?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let added = specials.iter().map(|(token, _)| AddedToken::from(*token, true));
    tokenizer.add_special_tokens(added.collect::<Vec<_>>()).map_err(|error| error.to_string())?;
    let form = TemplateProcessing::builder()
        .try_single(format!("{BEGIN} $A"))
        .and_then(|form| form.special_tokens(vec![(BEGIN.to_owned(), begin.1)]).build().map_err(|error| error.to_string()));
    tokenizer.with_post_processor(Some(form?));
    let usual = vec![("bos_token", BEGIN.to_owned()), ("pad_token", PADDING.to_owned())];
    Ok(Built { tokenizer, lookup: Lookup::Ranks(Ranks::new(ranks)?), usual })
}

/// What the pickle says.
struct Encoding<'a> {
    expression: &'a str,
    ranks: HashMap<Vec<u8>, u32>,
    specials: Vec<(&'a str, u32)>,
}

impl<'a> Encoding<'a> {
    fn read(pickle: &'a [u8]) -> Result<Self, String> {
        let (heap, top, length) = pickle::read(pickle, Names::Tokenizer)?;
        if length != pickle.len() {
            return Err(format!("{} bytes follow the tokenizer", pickle.len() - length));
        }
        let Value::Object(object) = top else { return Err(format!("holds {}, not a tokenizer", top.kind())) };
        let Value::Dict(state) = heap.state(object) else { return Err("holds a tokenizer without its parts".into()) };
        let field = |name: &str| {
            let found = heap.dict(state).iter().rev().find(|(key, _)| *key == Value::Text(name));
            found.map(|(_, value)| *value).ok_or_else(|| format!("has no `{name}`"))
        };
        let Value::Text(expression) = field("pat_str")? else { return Err("has a `pat_str` that is not text".into()) };
        let bytes = |key| if let Value::Bytes(bytes) = key { Some(bytes.to_vec()) } else { None };
        let text = |key| if let Value::Text(text) = key { Some(text) } else { None };
        let ranks = pairs(&heap, field("mergeable_ranks")?, bytes).ok_or("has `mergeable_ranks` that are not ids by bytes")?;
        let specials = pairs(&heap, field("special_tokens")?, text).ok_or("has `special_tokens` that are not ids by text")?;
        check_ids(ranks.iter().map(|(_, id)| *id).chain(specials.iter().map(|(_, id)| *id)))?;
        let n = ranks.len();
        let ranks: HashMap<_, _> = ranks.into_iter().collect();
        match ranks.len() == n && !ranks.contains_key(&[][..]) && specials.iter().all(|(token, _)| !token.is_empty()) {
            true => Ok(Encoding { expression, ranks, specials }),
            false => Err("has a token of no bytes, or the same token twice".into()),
        }
    }
}

/// A dictionary's entries; `None` if it is none, or some entry is something else.
fn pairs<'a, K>(heap: &Heap<'a>, value: Value<'a>, key: impl Fn(Value<'a>) -> Option<K>) -> Option<Vec<(K, u32)>> {
    let Value::Dict(dict) = value else { return None };
    let pair =
        |(k, v): &(Value<'a>, Value<'a>)| Some((key(*k)?, if let Value::Int(id) = v { u32::try_from(*id).ok()? } else { return None }));
    heap.dict(dict).iter().map(pair).collect()
}

/// Every id from 0 on, once.
fn check_ids(ids: impl Iterator<Item = u32> + Clone) -> Result<(), String> {
    let mut seen = vec![false; ids.clone().count()];
    for id in ids {
        match seen.get_mut(id as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return Err(format!("gives the id {id} to two tokens")),
            None => return Err(format!("has the id {id} among {} tokens, which should be numbered without gaps", seen.len())),
        }
    }
    Ok(())
}

//! A tokenizer from a GGUF file's metadata (`tokenizer.ggml.*`, `tokenizer.chat_template`).
//!
//! - `gpt2`: byte-level pairs in the order of `merges`; how a text is split first is named by `pre`.
//! - `llama`: SentencePiece pairs. Pieces carry scores; of two neighbours that form a piece, those with the highest score are joined first,
//!   so the pieces' scores give the order of merges. Characters that no piece has become bytes.

use std::path::Path;

use pellucid_core::{Error, Result};
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{NFC, NormalizerWrapper, Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::form::Form;
use super::pipeline::Lookup;
use super::{About, TextTokenizer};

/// `tokenizer.ggml.token_type` of special tokens.
const CONTROL: i64 = 3;
/// Of tokens that are found in any text, before everything else.
const USER_DEFINED: i64 = 4;
/// Of ordinary pieces.
const NORMAL: i64 = 1;

/// What is read of a GGUF file's metadata, under the names it has there without `tokenizer.ggml.`.
#[derive(Clone, Copy, Debug)]
pub struct GgufVocabulary<'a> {
    /// The file, for errors.
    pub file: &'a Path,
    /// `model`: `gpt2` or `llama`.
    pub model: &'a str,
    /// `pre`: how a text is split (`gpt2` only).
    pub pre: Option<&'a str>,
    /// `tokens`: every id's entry.
    pub tokens: &'a [String],
    /// `token_type`, parallel to `tokens`.
    pub types: Option<&'a [i64]>,
    /// `merges`: two tokens with a blank between them.
    pub merges: Option<&'a [String]>,
    /// `scores`, parallel to `tokens`.
    pub scores: Option<&'a [f32]>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `eot_token_id`: ends a turn.
    pub eot: Option<u32>,
    /// `unknown_token_id`.
    pub unknown: Option<u32>,
    /// `padding_token_id`.
    pub padding: Option<u32>,
    /// `mask_token_id`.
    pub mask: Option<u32>,
    /// `add_bos_token`.
    pub add_bos: Option<bool>,
    /// `add_eos_token`.
    pub add_eos: Option<bool>,
    /// `add_space_prefix` (`llama` only).
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.chat_template`.
    pub chat_template: Option<&'a str>,
}

impl<'a> GgufVocabulary<'a> {
    /// A vocabulary of which nothing is known but its kind and its entries.
    pub fn new(file: &'a Path, model: &'a str, tokens: &'a [String]) -> Self {
        GgufVocabulary {
            file,
            model,
            pre: None,
            tokens,
            types: None,
            merges: None,
            scores: None,
            bos: None,
            eos: None,
            eot: None,
            unknown: None,
            padding: None,
            mask: None,
            add_bos: None,
            add_eos: None,
            add_space_prefix: None,
            chat_template: None,
        }
    }
}

impl TextTokenizer {
    /// The tokenizer that a GGUF file describes.
    ///
    /// # Errors
    /// A kind of vocabulary or of splitting that we do not know; lists of different lengths; ids outside the vocabulary; merges or scores
    /// that are missing or name tokens that there are not.
    pub fn from_gguf_vocabulary(vocabulary: &GgufVocabulary<'_>) -> Result<Self> {
        check(vocabulary).map_err(|problem| Error::format(vocabulary.file, problem))?;
        let built = match vocabulary.model {
            "gpt2" => byte_level(vocabulary, Splitting::of(vocabulary.pre)?),
            "llama" => sentence_piece(vocabulary),
            other => return Err(Error::Unsupported(format!("tokenizer.ggml.model is `{other}`; `gpt2` and `llama` can be read"))),
        };
        let built = built.and_then(|mut tokenizer| {
            tokenizer.add_tokens(added(vocabulary)).map_err(|error| error.to_string())?;
            TextTokenizer::new(tokenizer, Lookup::Library, about(vocabulary))
        });
        built.map_err(|problem| Error::format(vocabulary.file, problem))
    }
}

fn check(v: &GgufVocabulary<'_>) -> Result<(), String> {
    let n = v.tokens.len();
    let parallel = [("token_type", v.types.map(<[i64]>::len)), ("scores", v.scores.map(<[f32]>::len))];
    for (name, length) in parallel {
        if length.is_some_and(|length| length != n) {
            return Err(format!("tokenizer.ggml.{name} has {} entries for {n} tokens", length.unwrap_or(0)));
        }
    }
    let ids = [("bos", v.bos), ("eos", v.eos), ("eot", v.eot), ("unknown", v.unknown), ("padding", v.padding), ("mask", v.mask)];
    for (name, id) in ids {
        if id.is_some_and(|id| id as usize >= n) {
            return Err(format!("tokenizer.ggml.{name}_token_id is {}, outside the {n} tokens", id.unwrap_or(0)));
        }
    }
    match u32::try_from(n) {
        Ok(0) | Err(_) => Err(format!("tokenizer.ggml.tokens has {n} entries")),
        Ok(_) => Ok(()),
    }
}

/// Entries by text. Of equal ones the last counts; empty ones cannot be met.
fn ids(v: &GgufVocabulary<'_>) -> Vocab {
    v.tokens.iter().cloned().zip(0..).filter(|(token, _)| !token.is_empty()).collect()
}

fn kind(v: &GgufVocabulary<'_>, id: usize) -> i64 {
    v.types.map_or(NORMAL, |types| types[id])
}

fn token(v: &GgufVocabulary<'_>, id: u32) -> Option<String> {
    v.tokens.get(id as usize).cloned()
}

/// How a text is split before pairs are joined, by its published definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Splitting {
    Gpt2,
    /// Every digit by itself, then as GPT-2.
    Smollm,
    /// Up to three digits together; a whole word that is in the vocabulary is not put together from pairs.
    Llama3,
    /// Every digit by itself; composed characters.
    Qwen2,
}

impl Splitting {
    /// From `tokenizer.ggml.pre`. Files older than that key are split as GPT-2 does.
    fn of(pre: Option<&str>) -> Result<Self> {
        Ok(match pre {
            None | Some("default" | "gpt-2" | "gpt2") => Splitting::Gpt2,
            Some("smollm") => Splitting::Smollm,
            Some("llama-bpe" | "llama3" | "llama-v3") => Splitting::Llama3,
            Some("qwen2") => Splitting::Qwen2,
            Some(other) => {
                let known = "`default`, `gpt-2`, `smollm`, `llama-bpe` and `qwen2`";
                return Err(Error::Unsupported(format!("tokenizer.ggml.pre is `{other}`; {known} can be read")));
            }
        })
    }

    fn steps(self) -> Result<PreTokenizerWrapper, String> {
        let bytes = |split| ByteLevel::new(false, true, split).into();
        let expression = |digits: &str| {
            let expression = format!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            );
            Split::new(SplitPattern::Regex(expression), SplitDelimiterBehavior::Isolated, false).map_err(|error| error.to_string())
        };
        Ok(match self {
            Splitting::Gpt2 => bytes(true),
            Splitting::Smollm => Sequence::new(vec![Digits::new(true).into(), bytes(true)]).into(),
            Splitting::Llama3 => Sequence::new(vec![expression(r"\p{N}{1,3}")?.into(), bytes(false)]).into(),
            Splitting::Qwen2 => Sequence::new(vec![expression(r"\p{N}")?.into(), bytes(false)]).into(),
        })
    }
}

fn byte_level(v: &GgufVocabulary<'_>, splitting: Splitting) -> Result<Tokenizer, String> {
    let vocabulary = ids(v);
    let lines = v.merges.ok_or("tokenizer.ggml.merges is missing")?;
    let merges = merges(lines.iter().map(String::as_str), |token| vocabulary.contains_key(token))?;
    let model = BPE::builder().vocab_and_merges(vocabulary, merges).ignore_merges(splitting == Splitting::Llama3);
    let mut tokenizer = Tokenizer::new(model.build().map_err(|error| error.to_string())?);
    if splitting == Splitting::Qwen2 {
        tokenizer.with_normalizer(Some(NFC)).map_err(|error| error.to_string())?;
    }
    tokenizer.with_pre_tokenizer(Some(splitting.steps()?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    Ok(tokenizer)
}

/// Pairs from lines; each, and what it makes, must be in the vocabulary (the library would panic on some that are not).
pub(super) fn merges<'l>(lines: impl Iterator<Item = &'l str>, has: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>, String> {
    let mut merged = String::new();
    let pair = |line: &str| {
        let (left, right) = line.split_once(' ').ok_or_else(|| format!("merge `{line}` is not two tokens with a blank between them"))?;
        merged.clear();
        merged.extend([left, right]);
        match has(left) && has(right) && has(&merged) {
            true => Ok((left.to_owned(), right.to_owned())),
            false => Err(format!("merge `{line}` names tokens that the vocabulary does not have")),
        }
    };
    lines.map(pair).collect()
}

fn sentence_piece(v: &GgufVocabulary<'_>) -> Result<Tokenizer, String> {
    let vocabulary = ids(v);
    let merges = merges_by_score(v, &vocabulary)?;
    let model = BPE::builder().vocab_and_merges(vocabulary, merges).byte_fallback(true).fuse_unk(true);
    let model = match v.unknown.and_then(|id| token(v, id)) {
        Some(unknown) => model.unk_token(unknown),
        None => model,
    };
    let mut tokenizer = Tokenizer::new(model.build().map_err(|error| error.to_string())?);
    let blanks: NormalizerWrapper = Replace::new(" ", "▁").map_err(|error| error.to_string())?.into();
    let steps = match v.add_space_prefix {
        Some(false) => vec![blanks],
        _ => vec![Prepend::new("▁".into()).into(), blanks],
    };
    tokenizer.with_normalizer(Some(Normalizers::new(steps))).map_err(|error| error.to_string())?;
    tokenizer.with_decoder(Some(ByteFallback::default()));
    Ok(tokenizer)
}

/// Every way to join two pieces to a third, the highest score of the third first; of equal ones, the longest left piece.
fn merges_by_score(v: &GgufVocabulary<'_>, vocabulary: &Vocab) -> Result<Vec<(String, String)>, String> {
    let scores = v.scores.ok_or("tokenizer.ggml.scores is missing")?;
    if let Some(id) = scores.iter().position(|score| score.is_nan()) {
        return Err(format!("tokenizer.ggml.scores is not a number for token {id}"));
    }
    // Control, unknown and byte entries are never put together from letters.
    let is_piece = |id: &u32| matches!(kind(v, *id as usize), NORMAL | USER_DEFINED);
    let has = |piece: &str| vocabulary.get(piece).is_some_and(is_piece);
    let mut found: Vec<(f32, &str, &str)> = Vec::new();
    for (piece, id) in vocabulary.iter().filter(|(_, id)| is_piece(id)) {
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if has(left) && has(right) {
                found.push((scores[*id as usize], left, right));
            }
        }
    }
    found.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| b.1.len().cmp(&a.1.len())).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    Ok(found.into_iter().map(|(_, left, right)| (left.to_owned(), right.to_owned())).collect())
}

/// Tokens that are found whole: special ones (where a template writes them) and user-defined ones (anywhere).
fn added(v: &GgufVocabulary<'_>) -> Vec<AddedToken> {
    let named = [v.bos, v.eos, v.eot, v.unknown, v.padding, v.mask];
    let special = |id: usize| kind(v, id) == CONTROL || (v.types.is_none() && named.iter().flatten().any(|named| *named as usize == id));
    // A SentencePiece entry with `▁` is met after blanks have become `▁`, as an ordinary piece.
    let whole = |id: usize, token: &str| kind(v, id) == USER_DEFINED && !(v.model == "llama" && token.contains('▁'));
    let entries = v.tokens.iter().enumerate().filter(|(_, token)| !token.is_empty());
    let added = entries.filter(|(id, token)| special(*id) || whole(*id, token));
    added.map(|(id, token)| AddedToken::from(token.as_str(), special(id)).normalized(false)).collect()
}

/// Entries by which control tokens end an answer in chat models, whatever `eos_token_id` says.
const ENDS: [&str; 6] = ["<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>"];

fn about(v: &GgufVocabulary<'_>) -> About {
    let roles = [("bos_token", v.bos), ("eos_token", v.eos), ("unk_token", v.unknown), ("pad_token", v.padding), ("mask_token", v.mask)];
    let named = roles.into_iter().filter_map(|(role, id)| Some((role.to_owned(), (token(v, id?)?, id?)))).collect();
    // What holds where the file does not say.
    let add_bos = v.add_bos.unwrap_or(v.model == "llama" || matches!(Splitting::of(v.pre), Ok(Splitting::Llama3)));
    let control = v.tokens.iter().zip(0u32..).filter(|(token, id)| kind(v, *id as usize) == CONTROL && ENDS.contains(&token.as_str()));
    let mut ends: Vec<u32> = v.eos.into_iter().chain(v.eot).collect();
    for (_, id) in control {
        if !ends.contains(&id) {
            ends.push(id);
        }
    }
    About {
        named,
        form: Form::around(v.bos.filter(|_| add_bos).as_slice(), v.eos.filter(|_| v.add_eos == Some(true)).as_slice()),
        ends,
        vocabulary: v.tokens.len(),
        chat_template: v.chat_template.map(str::to_owned),
    }
}

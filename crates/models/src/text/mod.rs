//! Text to token ids and back: tokenizers and chat templates.
//!
//! Two promises beyond what a tokenizer does by itself:
//! every token knows which bytes of the text it covers, and **what a person writes is never taken for a special token**,
//! not even if it spells one: `<|im_end|>` in a prompt is ten characters of text. The one exception is the mask, in
//! [`TextTokenizer::encode_pair`]: whoever asks a masked language model has to write it.
//!
//! Deliberately absent: padding, truncation, batches.

mod byte_pairs;
mod chat;
mod folder;
mod form;
mod gguf;
mod pickled;
mod pieces;
mod pipeline;
mod ranks;
mod smiles;
mod template;
#[cfg(test)]
mod tests;
mod vocabulary;
mod word_pieces;
mod written;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use pellucid_core::{Error, Result};
use tokenizers::{AddedToken, Tokenizer};

pub use chat::{ChatEncoded, ChatMessage};
use form::{BARE, Form, What};
pub use gguf::GgufVocabulary;
use pieces::Pieces;
pub use pieces::Streamer;
use pipeline::{Lookup, Pipeline, Start};

/// A text as the model reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids, in order.
    pub ids: Vec<u32>,
    /// Which **bytes** of the given text each token covers, at character boundaries, blanks included. Runs parallel to `ids`.
    ///
    /// Where one character is split over several tokens (an emoji over byte-level tokens), each of them covers the whole character.
    /// `None` for what is not in the text: special tokens that were added, and a blank that the tokenizer puts before a text.
    pub spans: Vec<Option<Range<usize>>>,
}

impl Encoded {
    fn push(&mut self, id: u32, span: Option<Range<usize>>) {
        self.ids.push(id);
        self.spans.push(span);
    }

    /// Appends `other`, whose text begins at byte `offset` of ours.
    fn append(&mut self, other: Encoded, offset: usize) {
        self.ids.extend(other.ids);
        self.spans.extend(other.spans.into_iter().map(|span| span.map(|span| span.start + offset..span.end + offset)));
    }
}

/// One or two texts as an encoder reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedPair {
    /// Token ids, in order, special tokens included.
    pub ids: Vec<u32>,
    /// Which **bytes** each token covers, as in [`Encoded::spans`], of the text that it is of. `None` for special tokens that were added.
    pub spans: Vec<Option<Range<usize>>>,
    /// Each token's type (BERT's segment ids), the special tokens' included.
    pub types: Vec<u32>,
    /// Which tokens are of the first text.
    pub first: Range<usize>,
    /// Which tokens are of the second text; empty if there is none.
    pub second: Range<usize>,
}

impl EncodedPair {
    fn append(&mut self, tokens: Encoded, kind: u32) -> Range<usize> {
        let start = self.ids.len();
        self.ids.extend(tokens.ids);
        self.spans.extend(tokens.spans);
        self.types.resize(self.ids.len(), kind);
        start..self.ids.len()
    }
}

/// A tokenizer, its special tokens and its chat template, as a model brings them.
#[derive(Debug)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    pipeline: Pipeline,
    pieces: Pieces,
    /// Special tokens that a template may write out.
    specials: Vec<Special>,
    /// Ids that no text may become: the special ones, but for the one that stands for what is unknown.
    reserved: HashSet<u32>,
    about: About,
}

/// What a model's files say about its tokenizer.
#[derive(Clone, Debug, Default)]
struct About {
    /// Special tokens by their role: `bos_token`, `eos_token`, `unk_token`, `pad_token`, `mask_token`, ….
    named: BTreeMap<String, (String, u32)>,
    /// What is put around a text.
    form: Form,
    /// Ids that end an answer.
    ends: Vec<u32>,
    /// One more than the largest id.
    vocabulary: usize,
    chat_template: Option<String>,
}

#[derive(Clone, Debug)]
struct Special {
    id: u32,
    token: AddedToken,
}

impl TextTokenizer {
    /// Puts the parts together; an error says what does not fit.
    fn new(mut tokenizer: Tokenizer, lookup: Lookup, about: About) -> Result<Self, String> {
        tokenizer.set_encode_special_tokens(true); // as ordinary text, that is
        let pipeline = Pipeline::new(&tokenizer, lookup)?;
        let pieces = Pieces::new(&tokenizer)?;
        let added = tokenizer.get_added_tokens_decoder();
        let specials: Vec<_> = added.into_iter().filter(|(_, token)| token.special).map(|(id, token)| Special { id, token }).collect();
        let unknown = about.named.get("unk_token").map(|(_, id)| *id);
        let reserved = specials.iter().map(|special| special.id).filter(|id| Some(*id) != unknown).collect();
        Ok(TextTokenizer { tokenizer, pipeline, pieces, specials, reserved, about })
    }

    /// The text as the model reads it; with `add_special`, between the special tokens that the model's files ask for.
    ///
    /// # Errors
    /// The tokenizer cannot express the text without a special token.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Encoded> {
        let mut encoded = Encoded::default();
        for slot in if add_special { &self.about.form.one } else { BARE } {
            match slot.what {
                What::Special(id) => encoded.push(id, None),
                What::First | What::Second => encoded.append(self.plain(text, Start::Text)?, 0),
            }
        }
        Ok(encoded)
    }

    /// One or two texts as an encoder reads them: between special tokens, each with its type, and with the mask, where a text spells it
    /// (`[MASK]`, `<mask>`), as the mask token.
    ///
    /// # Errors
    /// As [`TextTokenizer::encode`]; or there is a second text, and the model's files do not say how two texts are put together.
    pub fn encode_pair(&self, first: &str, second: Option<&str>) -> Result<EncodedPair> {
        let one_only = || Error::Unsupported("this model's tokenizer does not say how two texts are put together: give it one".into());
        let form = &self.about.form;
        let slots = if second.is_some() { form.two.as_ref().ok_or_else(one_only)? } else { &form.one };
        let mut encoded = EncodedPair::default();
        for slot in slots {
            match slot.what {
                What::Special(id) => {
                    encoded.append(Encoded { ids: vec![id], spans: vec![None] }, slot.kind);
                }
                What::First => encoded.first = encoded.append(self.with_masks(first)?, slot.kind),
                What::Second => encoded.second = encoded.append(self.with_masks(second.unwrap_or_default())?, slot.kind),
            }
        }
        Ok(encoded)
    }

    fn with_masks(&self, text: &str) -> Result<Encoded> {
        let mask = self.mask();
        self.encode_around(text, self.find(text, std::iter::once(0..text.len()), |special| Some(special.id) == mask))
    }

    /// A text that goes on where another stopped, such as a target: no special tokens, and no blank put before it.
    ///
    /// # Errors
    /// As [`TextTokenizer::encode`].
    pub fn encode_continuation(&self, text: &str) -> Result<Encoded> {
        self.plain(text, Start::Continuation)
    }

    /// The text that the ids stand for when they go on another text: a leading blank stays. Bytes that are no UTF-8 become `�`; ids that
    /// the tokenizer does not know become nothing; special tokens are written out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut streamer = self.streamer();
        let mut text: String = ids.iter().map(|id| streamer.push(*id)).collect();
        text.push_str(&streamer.finish());
        text
    }

    /// What one token stands for by itself; part of a character is `�`.
    pub fn token_text(&self, id: u32) -> String {
        self.decode(&[id])
    }

    /// Decodes token by token.
    pub fn streamer(&self) -> Streamer<'_> {
        Streamer::new(self)
    }

    /// One more than the largest id.
    pub fn vocabulary(&self) -> usize {
        self.about.vocabulary
    }

    /// Ids that end an answer, each once.
    pub fn end_of_sequence(&self) -> Vec<u32> {
        self.about.ends.clone()
    }

    /// The id that stands for no text at all, if there is one.
    pub fn padding(&self) -> Option<u32> {
        self.named("pad_token")
    }

    /// The id that stands for a hidden token, if there is one.
    pub fn mask(&self) -> Option<u32> {
        self.named("mask_token")
    }

    /// The id that stands for what the vocabulary does not have, if there is one.
    pub fn unknown(&self) -> Option<u32> {
        self.named("unk_token")
    }

    /// As [`TextTokenizer::padding`].
    pub fn pad_token(&self) -> Option<u32> {
        self.padding()
    }

    /// As [`TextTokenizer::mask`].
    pub fn mask_token(&self) -> Option<u32> {
        self.mask()
    }

    /// As [`TextTokenizer::unknown`].
    pub fn unknown_token(&self) -> Option<u32> {
        self.unknown()
    }

    /// Ids of all special tokens, in order.
    pub fn special_tokens(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.specials.iter().map(|special| special.id).collect();
        ids.sort_unstable();
        ids
    }

    /// The id of a token, written as the vocabulary writes it: `[MASK]`, `##ing`, `Ġthe`.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// Whether an id is a special token. No text written by a person becomes one, except for [`TextTokenizer::unknown`].
    pub fn is_special(&self, id: u32) -> bool {
        self.specials.iter().any(|special| special.id == id)
    }

    /// The model's chat template, if it has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.about.chat_template.as_deref()
    }

    fn named(&self, role: &str) -> Option<u32> {
        self.about.named.get(role).map(|(_, id)| *id)
    }

    /// Tokens of a text that holds no special token, whatever it spells.
    ///
    /// The library leaves special tokens in texts alone, yet its model may put one together from its letters (a unigram model does).
    /// Where that happens the text is cut inside and both sides are read by themselves.
    fn plain(&self, text: &str, start: Start) -> Result<Encoded> {
        let mut encoded = self.pipeline.run(&self.tokenizer, text, start)?;
        if start != Start::Continuation {
            self.forget_invented_blanks(text, &mut encoded);
        }
        let mut cuts = Vec::new();
        for (id, span) in encoded.ids.iter().zip(&encoded.spans).filter(|(id, _)| self.reserved.contains(id)) {
            let inside = span.clone().and_then(|span| text[span.clone()].char_indices().nth(1).map(|(at, _)| span.start + at));
            cuts.push(inside.ok_or_else(|| {
                let token = self.token_text(*id);
                Error::request(format!("the text holds `{token}`, which this model's tokenizer has only as a special token"))
            })?);
        }
        if cuts.is_empty() {
            return Ok(encoded);
        }
        cuts.sort_unstable();
        cuts.dedup();
        let mut pieced = Encoded::default();
        let (mut from, mut start) = (0, start);
        for to in cuts.into_iter().chain([text.len()]) {
            pieced.append(self.plain(&text[from..to], start)?, from);
            (from, start) = (to, Start::Continuation);
        }
        Ok(pieced)
    }

    /// The library makes a blank that it puts before a text cover the text's first character.
    fn forget_invented_blanks(&self, text: &str, encoded: &mut Encoded) {
        for (id, span) in encoded.ids.iter().zip(&mut encoded.spans) {
            let visible = span.as_ref().is_some_and(|span| !text[span.clone()].starts_with(char::is_whitespace));
            if visible && self.token_text(*id) == " " {
                *span = None;
            }
        }
    }
}

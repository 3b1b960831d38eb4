//! From what a person wrote to what the model reads.
//!
//! Special tokens are added as the tokenizer's configuration says; text that looks like one is the person's text and stays text. The mask
//! is the exception, and only for models that read it.

use std::ops::Range;

use pellucid_core::{
    Control, Error, Input, Model, Region, RegionControl, Result, Span, Symbol, Token,
    model::Description,
    units::{Which, spans},
};
use pellucid_models::{
    Loaded,
    image::Picture,
    text::{ChatMessage, Encoded, TextTokenizer},
};

use crate::picture::{Seen, patches};

/// What the model is asked to read.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// A picture.
    Image {
        /// The picture.
        picture: Box<Picture>,
        /// Parts of it that get scores in place of patches or tiles; empty: all of it.
        regions: Vec<Region>,
        /// Parts of it whose attention is changed throughout; of several that cover a patch the last one counts.
        controls: Vec<RegionControl>,
    },
    /// A text as it is.
    Text(String),
    /// A person's words in the model's chat template; only they are explained.
    Chat {
        /// What the person says.
        words: String,
        /// What the system message says, if there is one.
        system: Option<String>,
    },
    /// A document and a question about it; only the document is explained.
    Document {
        /// The document.
        document: String,
        /// The question.
        question: String,
        /// Whether both go into the model's chat template.
        chat: bool,
    },
    /// Two texts, for a model that tells them apart.
    Pair {
        /// The first.
        first: String,
        /// The second.
        second: String,
    },
    /// Token ids as they are.
    Ids(Vec<u32>),
}

/// Which parts of the text get scores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Within {
    /// Explain the template and the question, too.
    pub everything: bool,
    /// Only these parts (of what would be explained otherwise).
    pub only: Vec<Which>,
    /// Not these parts.
    pub except: Vec<Which>,
}

/// What the model reads, and how it lies in the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The whole text; `None` when ids were given.
    pub text: Option<String>,
    /// Token ids.
    pub ids: Vec<u32>,
    /// Bytes of the text that each token covers.
    pub spans: Vec<Option<Range<usize>>>,
    /// Each token's type; empty where the model tells none apart.
    pub types: Vec<u32>,
    /// The second text, in bytes, where there are two.
    pub second: Option<Range<usize>>,
    /// Parts to explain, in bytes; empty: all.
    pub explained: Vec<Range<usize>>,
    /// Parts that a person wrote, in bytes; empty: all.
    pub shown: Vec<Range<usize>>,
    /// The picture, where it is one.
    pub seen: Option<Seen>,
}

/// The tower of a model that reads this kind of prompt.
///
/// # Errors
/// A picture for a model of texts, or the other way round.
pub(crate) fn reader<'l>(prompt: &Prompt, loaded: &'l Loaded) -> Result<&'l Model> {
    tower(matches!(prompt, Prompt::Image { .. }), loaded)
}

fn tower(of_pictures: bool, loaded: &Loaded) -> Result<&Model> {
    match (of_pictures, loaded.model.description().patches.is_some()) {
        (true, _) => patches(&loaded.model).map(|_| &loaded.model),
        (false, false) => Ok(&loaded.model),
        (false, true) => loaded.text.as_ref().ok_or_else(|| {
            let kind = &loaded.model.description().architecture;
            Error::Unsupported(format!("this {kind} model reads pictures, not texts; give one with --image"))
        }),
    }
}

/// What stands before a document (the published form).
const INSTRUCTION: &str = "Read the contents of the document carefully and answer the questions below.\n";

impl Reading {
    /// Reads a prompt as a model does.
    ///
    /// # Errors
    /// An empty prompt, a model without a tokenizer or chat template where one is needed, a document or two texts for a model that does not
    /// read such, a part that is not there.
    pub fn new(prompt: &Prompt, within: &Within, loaded: &Loaded) -> Result<Self> {
        let (tokenizer, model) = (loaded.tokenizer.as_ref(), reader(prompt, loaded)?.description());
        let mut reading = match prompt {
            Prompt::Image { picture, controls, .. } => return Self::of_picture(picture, controls, within, loaded),
            Prompt::Ids(ids) => return Self::of_ids(ids, within),
            Prompt::Text(text) if !model.causal => Self::whole(text, None, needed(tokenizer)?, model)?,
            Prompt::Text(text) => Self::plain(text.clone(), needed(tokenizer)?)?,
            Prompt::Pair { first, second } if !model.causal => Self::whole(first, Some(second), needed(tokenizer)?, model)?,
            Prompt::Pair { .. } => return Err(goes_on(model, "takes one text", "put both into it")),
            Prompt::Chat { .. } | Prompt::Document { .. } if !model.causal => {
                return Err(reads_whole(model, "answers no question", "give the text alone, without a chat or a question"));
            }
            Prompt::Chat { words, system } => Self::chat(words, system.as_deref(), needed(tokenizer)?)?,
            Prompt::Document { document, question, chat } => Self::document(document, question, *chat, needed(tokenizer)?)?,
        };
        reading.restrict(within)?;
        Ok(reading)
    }

    fn of_picture(picture: &Picture, controls: &[RegionControl], within: &Within, loaded: &Loaded) -> Result<Self> {
        if *within != Within::default() {
            return Err(Error::request("parts of a text were named, but a picture was given; name parts of a picture with --box"));
        }
        Ok(Self { seen: Some(Seen::new(picture, loaded)?.under(controls)?), ..Self::default() })
    }

    /// What is done to its attention throughout.
    pub(crate) fn control(&self) -> Control {
        self.seen.as_ref().map_or_else(Control::none, |seen| seen.control.clone())
    }

    /// The tower that reads it.
    ///
    /// # Errors
    /// As `reader`.
    pub(crate) fn model<'l>(&self, loaded: &'l Loaded) -> Result<&'l Model> {
        tower(self.seen.is_some(), loaded)
    }

    fn of_ids(ids: &[u32], within: &Within) -> Result<Self> {
        if ids.is_empty() {
            return Err(Error::request("the list of token ids is empty; give at least one"));
        }
        if !within.only.is_empty() || !within.except.is_empty() {
            return Err(Error::request("parts of a text were named, but token ids were given, which have no text"));
        }
        Ok(Self { ids: ids.to_vec(), spans: vec![None; ids.len()], ..Self::default() })
    }

    fn plain(text: String, tokenizer: &TextTokenizer) -> Result<Self> {
        check_words("prompt", &text)?;
        let Encoded { ids, spans } = tokenizer.encode(&text, true)?;
        Ok(Self { text: Some(text), ids, spans, ..Self::default() })
    }

    /// One or two texts between special tokens, with masks.
    fn whole(first: &str, second: Option<&String>, tokenizer: &TextTokenizer, model: &Description) -> Result<Self> {
        check_words("prompt", first)?;
        second.map(|second| check_words("second text", second)).transpose()?;
        let encoded = tokenizer.encode_pair(first, second.map(String::as_str))?;
        let mut reading = Self { text: Some(first.to_owned()), ids: encoded.ids, spans: encoded.spans, ..Self::default() };
        if model.types > 1 && encoded.types.iter().any(|kind| *kind > 0) {
            reading.types = encoded.types;
        }
        if let Some(second) = second {
            let start = first.len() + 1;
            reading.text = Some(format!("{first}\n{second}"));
            reading.explained = vec![0..first.len(), start..start + second.len()];
            reading.second = Some(start..start + second.len());
            let of_second = reading.spans.iter_mut().enumerate().filter(|(i, _)| encoded.second.contains(i));
            of_second.filter_map(|(_, span)| span.as_mut()).for_each(|span| *span = span.start + start..span.end + start);
        }
        Ok(reading)
    }

    fn chat(words: &str, system: Option<&str>, tokenizer: &TextTokenizer) -> Result<Self> {
        check_words("prompt", words)?;
        let system = system.map(|s| ChatMessage { role: "system".into(), content: s.into() });
        let user = ChatMessage { role: "user".into(), content: words.into() };
        let messages: Vec<ChatMessage> = system.into_iter().chain([user]).collect();
        let chat = tokenizer.encode_chat(&messages, true)?;
        let own = chat.contents.last().cloned().into_iter().collect::<Vec<_>>();
        let Encoded { ids, spans } = chat.encoded;
        Ok(Self { text: Some(chat.text), ids, spans, explained: own.clone(), shown: own, ..Self::default() })
    }

    fn document(document: &str, question: &str, chat: bool, tokenizer: &TextTokenizer) -> Result<Self> {
        check_words("document", document)?;
        check_words("question", question)?;
        let (before, after) = match chat {
            true => (INSTRUCTION.to_owned(), format!("\n\nQuestion: {question}")),
            false => (INSTRUCTION.to_owned(), format!("\nQuestion: {question}\nAnswer:")),
        };
        let text = format!("{before}{document}{after}");
        let mut reading = if chat { Self::chat(&text, None, tokenizer)? } else { Self::plain(text, tokenizer)? };
        let words = reading.shown.first().map_or(0, |own| own.start);
        let start = words + before.len();
        reading.explained = std::iter::once(start..start + document.len()).collect();
        Ok(reading)
    }

    /// Narrows what is explained.
    fn restrict(&mut self, within: &Within) -> Result<()> {
        let Some(text) = &self.text else { return Ok(()) };
        if within.everything {
            (self.explained, self.shown) = (Vec::new(), Vec::new());
        }
        let whole = || std::iter::once(0..text.len()).collect();
        let mut parts: Vec<Range<usize>> = if self.explained.is_empty() { whole() } else { self.explained.clone() };
        let places = |which: &[Which]| -> Result<Vec<Range<usize>>> {
            let mut all = Vec::new();
            for which in which {
                all.extend(spans(which, text, &self.spans)?);
            }
            all.sort_by_key(|r| r.start);
            Ok(all)
        };
        if !within.only.is_empty() {
            parts = common(&parts, &places(&within.only)?);
        }
        for gap in places(&within.except)? {
            parts = parts
                .into_iter()
                .flat_map(|p| [p.start..p.end.min(gap.start), p.start.max(gap.end)..p.end])
                .filter(|p| p.start < p.end)
                .collect();
        }
        if parts.iter().all(|p| text[p.clone()].trim().is_empty()) {
            return Err(Error::request("nothing is left to explain: the parts named leave out all of the text"));
        }
        let all = parts.len() == 1 && parts[0].len() == text.len();
        self.explained = if all { Vec::new() } else { parts };
        Ok(())
    }

    /// The symbols.
    pub fn symbols(&self) -> Vec<Symbol> {
        self.ids.iter().map(|id| Symbol::Token(*id)).collect()
    }

    /// The symbols with their types, and the fillers behind them that some models were made to see ([`Description::filler`]).
    pub fn input(&self, model: &Description) -> Input {
        if let Some(seen) = &self.seen {
            return seen.input.clone();
        }
        let left = model.context.saturating_sub(self.ids.len());
        let fillers = || model.filler.into_iter().flat_map(|id| std::iter::repeat_n(Symbol::Token(id), left));
        let types = self.types.iter().copied().chain(fillers().filter(|_| !self.types.is_empty()).map(|_| 0));
        Input { symbols: self.symbols().into_iter().chain(fillers()).collect(), types: types.collect() }
    }

    /// The tokens for the record.
    pub fn tokens(&self, tokenizer: Option<&TextTokenizer>) -> Vec<Token> {
        let characters = Characters::of(self.text.as_deref().unwrap_or(""));
        let text = |id: &u32| tokenizer.map_or(String::new(), |t| t.token_text(*id));
        let span = |span: &Option<Range<usize>>| span.as_ref().map(|s| characters.span(s));
        let kind = |position: usize| self.types.get(position).copied().unwrap_or(0);
        let tokens = self.ids.iter().zip(&self.spans).enumerate();
        tokens.map(|(p, (id, s))| Token { id: *id, text: text(id), span: span(s), kind: kind(p) }).collect()
    }
}

/// Why a decoder cannot do what only an encoder does.
pub(crate) fn goes_on(model: &Description, not: &str, instead: &str) -> Error {
    Error::Unsupported(format!("this {} model goes on with a text and {not}; {instead}", model.architecture))
}

/// Why an encoder cannot do what only a decoder does.
pub(crate) fn reads_whole(model: &Description, not: &str, instead: &str) -> Error {
    let what = if model.patches.is_some() { "picture" } else { "text" };
    Error::Unsupported(format!("this {} model reads a {what} as a whole and {not}; {instead}", model.architecture))
}

/// The tokenizer, or why there must be one.
pub(crate) fn needed(tokenizer: Option<&TextTokenizer>) -> Result<&TextTokenizer> {
    tokenizer.ok_or_else(|| Error::Unsupported("this model has no tokenizer: give token ids (--ids, --target-ids) instead of text".into()))
}

fn check_words(what: &str, text: &str) -> Result<()> {
    match text.trim().is_empty() {
        true => Err(Error::request(format!("the {what} is empty; give at least one word"))),
        false => Ok(()),
    }
}

/// What lies in both lists of ranges, each in order.
fn common(a: &[Range<usize>], b: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for b in b {
        for a in a {
            let mut both = a.start.max(b.start)..a.end.min(b.end);
            both.start = both.start.max(all.last().map_or(0, |l| l.end));
            if both.start < both.end {
                all.push(both);
            }
        }
    }
    all
}

/// Turns byte offsets of a text into character offsets.
pub(crate) struct Characters(Vec<usize>);

impl Characters {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect())
    }

    pub(crate) fn span(&self, bytes: &Range<usize>) -> Span {
        let at = |byte: usize| self.0.partition_point(|b| *b < byte);
        Span { start: at(bytes.start), end: at(bytes.end) }
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_both_lists_is_kept_once() {
        assert_eq!(common(&[0..10], &[2..4, 3..6]), vec![2..4, 4..6]);
        assert_eq!(common(&[0..3, 5..8], &[2..6]), vec![2..3, 5..6]);
    }

    #[test]
    fn offsets_count_characters_not_bytes() {
        let c = Characters::of("añ👍b");
        assert_eq!(c.span(&(1..3)), Span { start: 1, end: 2 });
        assert_eq!(c.span(&(3..8)), Span { start: 2, end: 4 });
    }
}

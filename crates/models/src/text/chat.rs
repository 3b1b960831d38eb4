//! A conversation in a model's chat template, with every message's own words found again in the result.
//!
//! A template may trim contents, and may look into them; so where they end up is not guessed by searching. Each content is rendered once
//! more between marks that occur nowhere else: what stands outside the marks is the template's own, and the real rendering must be exactly
//! those parts with the contents, as they are or trimmed, between them.

use std::ops::Range;

use pellucid_core::{Error, Result};

use super::template::Template;
use super::{Encoded, TextTokenizer};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who speaks: `system`, `user`, `assistant`.
    pub role: String,
    /// What they say.
    pub content: String,
}

/// A conversation as the model reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatEncoded {
    /// The whole rendered text.
    pub text: String,
    /// Which bytes of `text` are each message's own content, in order of the messages. Trimmed, if the template trims.
    pub contents: Vec<Range<usize>>,
    /// Ids, and spans over `text`. The template's special tokens cover their written form.
    pub encoded: Encoded,
}

impl TextTokenizer {
    /// Puts a conversation in the model's chat template. Special tokens count only where the template itself writes them.
    ///
    /// # Errors
    /// No messages, no template, a template that refuses the conversation or cannot be read, or one that changes a message beyond trimming.
    pub fn encode_chat(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<ChatEncoded> {
        let missing = || Error::Unsupported("the model has no chat template: give it the prompt as it is".into());
        let source = self.chat_template().ok_or_else(missing)?;
        if messages.is_empty() {
            return Err(Error::request("a conversation needs at least one message"));
        }
        let specials = self.about.named.iter().map(|(role, (text, _))| (role.clone(), text.clone())).collect();
        let template = Template::new(source, specials)?;
        let rendered = render(&template, messages, add_generation_prompt)?;
        let found = self.find(&rendered.text, rendered.own_parts(), |_| true);
        // What is between them is read as text, across the contents' borders.
        let encoded = self.encode_around(&rendered.text, found)?;
        Ok(ChatEncoded { text: rendered.text, contents: rendered.contents, encoded })
    }
}

/// What a template made of a conversation.
struct Rendered {
    text: String,
    /// Each message's content, where it is first.
    contents: Vec<Range<usize>>,
    /// Every place where a content is, in order of place.
    written: Vec<Range<usize>>,
}

impl Rendered {
    fn new(text: String, found: Vec<(usize, Range<usize>)>, messages: usize) -> Option<Self> {
        let first = |index| found.iter().find(|(of, _)| *of == index).map(|(_, range)| range.clone());
        let contents = (0..messages).map(first).collect::<Option<_>>()?;
        let mut written: Vec<Range<usize>> = found.into_iter().map(|(_, range)| range).filter(|range| !range.is_empty()).collect();
        written.sort_by_key(|range| range.start);
        written.is_sorted_by(|a, b| a.end <= b.start).then_some(Rendered { text, contents, written })
    }

    /// What is between the contents.
    fn own_parts(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = [0].into_iter().chain(self.written.iter().map(|range| range.end));
        let ends = self.written.iter().map(|range| range.start).chain([self.text.len()]);
        starts.zip(ends).map(|(start, end)| start..end)
    }
}

fn render(template: &Template, messages: &[ChatMessage], prompt: bool) -> Result<Rendered> {
    let text = template.render(messages, prompt)?;
    let [open, close, end] = marks(&text, messages);
    let marked = messages.iter().enumerate().map(|(index, message)| {
        let content = format!("{open}{index}{close}{}{end}", message.content);
        ChatMessage { role: message.role.clone(), content }
    });
    // A template that looks at how a content begins sees the mark instead: then this finds nothing, and the text is searched.
    let marked = template.render(&marked.collect::<Vec<_>>(), prompt);
    let found = marked.ok().and_then(|marked| place(&text, &marked, [open, close, end], messages)).or_else(|| search(&text, messages));
    let length = text.chars().count();
    found.and_then(|found| Rendered::new(text, found, messages.len())).ok_or_else(|| {
        Error::Unsupported(format!(
            "the model's chat template leaves out or changes a message: not every one is found again in the {length} characters that it makes"
        ))
    })
}

/// Three private-use characters that occur neither in the text nor in a content.
fn marks(text: &str, messages: &[ChatMessage]) -> [char; 3] {
    let unused = |c: &char| !text.contains(*c) && !messages.iter().any(|message| message.content.contains(*c));
    let mut free = ('\u{F0000}'..='\u{FFFFD}').chain('\u{100000}'..='\u{10FFFD}').filter(unused);
    // A text with every one of the 131,068 private-use characters has lost nothing but this method.
    std::array::from_fn(|_| free.next().unwrap_or('\u{10FFFD}'))
}

/// Matches the real text against the marked one: the contents' places with their messages' numbers.
fn place(text: &str, marked: &str, [open, close, end]: [char; 3], messages: &[ChatMessage]) -> Option<Vec<(usize, Range<usize>)>> {
    let mut found = Vec::new();
    let mut parts = marked.split(open);
    let mut at = parts.next().filter(|own| text.starts_with(own))?.len();
    for part in parts {
        let (index, rest) = part.split_once(close)?;
        let index: usize = index.parse().ok()?;
        let (_, own) = rest.split_once(end)?;
        let content = messages.get(index)?.content.as_str();
        let fits = |content: &&str| text[at..].strip_prefix(*content).is_some_and(|rest| rest.starts_with(own));
        let written = [content, content.trim(), content.trim_end(), content.trim_start()].into_iter().find(fits)?;
        found.push((index, at..at + written.len()));
        at += written.len() + own.len();
    }
    (at == text.len()).then_some(found)
}

/// The last resort: contents that occur exactly once.
fn search(text: &str, messages: &[ChatMessage]) -> Option<Vec<(usize, Range<usize>)>> {
    let once = |(index, message): (usize, &ChatMessage)| {
        let content = message.content.trim();
        let at = text.find(content).filter(|_| !content.is_empty())?;
        let again = text[text.ceil_char_boundary(at + 1)..].contains(content);
        (!again).then_some((index, at..at + content.len()))
    };
    messages.iter().enumerate().map(once).collect()
}

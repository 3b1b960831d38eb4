//! Special tokens that count where they are written: those of a chat template's own parts, and the mask in a text.

use std::ops::Range;

use pellucid_core::Result;

use super::pipeline::Start;
use super::{Encoded, Special, TextTokenizer};

impl TextTokenizer {
    /// Reads a text with the special tokens `found` in it as themselves; what is between them is text.
    pub(super) fn encode_around(&self, text: &str, found: Vec<(u32, Range<usize>)>) -> Result<Encoded> {
        let mut encoded = Encoded::default();
        let mut from = 0;
        let start = |at| if at == 0 { Start::Text } else { Start::Special };
        for (id, span) in found {
            encoded.append(self.plain(&text[from..span.start], start(from))?, from);
            from = span.end;
            encoded.push(id, Some(span));
        }
        encoded.append(self.plain(&text[from..], start(from))?, from);
        Ok(encoded)
    }

    /// The longest special token that is wanted at each place of `parts` of a text, from left to right.
    pub(super) fn find(
        &self,
        text: &str,
        parts: impl Iterator<Item = Range<usize>>,
        wanted: impl Fn(&Special) -> bool,
    ) -> Vec<(u32, Range<usize>)> {
        let wanted: Vec<&Special> = self.specials.iter().filter(|special| wanted(special) && !special.token.content.is_empty()).collect();
        let mut found = Vec::new();
        let mut free = 0; // where the last one ended
        for part in parts {
            let mut at = part.start.max(free);
            while at < part.end {
                let here = |special: &&&Special| text[at..part.end].starts_with(&special.token.content) && special.fits(text, at);
                match wanted.iter().filter(here).max_by_key(|special| special.token.content.len()) {
                    Some(special) => {
                        let span = special.widened(text, at, free);
                        (at, free) = (span.end, span.end);
                        found.push((special.id, span));
                    }
                    None => at = text.ceil_char_boundary(at + 1),
                }
            }
        }
        found
    }
}

impl Special {
    /// A token marked as a word of its own has no letters or digits beside it.
    fn fits(&self, text: &str, at: usize) -> bool {
        let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let end = at + self.token.content.len();
        !self.token.single_word || !(letter(text[..at].chars().next_back()) || letter(text[end..].chars().next()))
    }

    /// With the blanks beside it that the token is marked to swallow, but not before `earliest`.
    fn widened(&self, text: &str, at: usize, earliest: usize) -> Range<usize> {
        let end = at + self.token.content.len();
        let start = if self.token.lstrip { text[earliest..at].trim_end().len() + earliest } else { at };
        let end = if self.token.rstrip { text.len() - text[end..].trim_start().len() } else { end };
        start..end
    }
}

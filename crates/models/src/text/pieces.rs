//! From token ids back to text, by bytes: tokens may be parts of characters.
//!
//! The tokenizer library decodes whole texts, and drops the blank that it puts before one. We decode parts of texts, so each token is
//! given the bytes that it stands for in the middle of one; the way depends on how the vocabulary is written.

use serde_json::Value as Json;
use tokenizers::Tokenizer;

use super::TextTokenizer;

/// How a vocabulary's entries are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pieces {
    /// One printable character a byte (GPT-2).
    ByteLevel,
    /// `▁` for a blank, `<0xE2>` for a byte that is no character (SentencePiece).
    SentencePiece,
    /// Inner parts of words carry this prefix (BERT).
    WordPiece(String),
    /// Last parts of words carry this suffix.
    Suffix(String),
    /// Whole words with blanks between them.
    Words,
    /// As they are, one after the other.
    Joined,
}

impl Pieces {
    pub(super) fn new(tokenizer: &Tokenizer) -> Result<Self, String> {
        let decoder = serde_json::to_value(tokenizer.get_decoder()).map_err(|error| error.to_string())?;
        let steps: Vec<&Json> = match decoder["decoders"].as_array() {
            Some(steps) => steps.iter().collect(),
            None => vec![&decoder],
        };
        let of = |kind: &str| steps.iter().find(|step| step["type"] == kind);
        let text = |step: &Json, field: &str| step[field].as_str().unwrap_or_default().to_owned();
        let byte_level = steps.iter().any(|step| step["type"] == "ByteLevel");
        let blanks = of("Metaspace").is_some() || of("Replace").is_some_and(|step| step["pattern"]["String"] == "▁");
        Ok(match (of("WordPiece"), of("BPEDecoder")) {
            _ if byte_level => Pieces::ByteLevel,
            _ if blanks || of("ByteFallback").is_some() => Pieces::SentencePiece,
            (Some(step), _) => Pieces::WordPiece(text(step, "prefix")),
            (_, Some(step)) => Pieces::Suffix(text(step, "suffix")),
            _ if of("Fuse").is_some() => Pieces::Joined,
            _ => Pieces::Words,
        })
    }

    /// The bytes that a piece stands for, `first` of a text or not.
    fn bytes(&self, piece: &str, first: bool) -> Vec<u8> {
        let apart = |piece: &str| if first { piece.into() } else { format!(" {piece}").into_bytes() };
        match self {
            // A piece with any other character is not written that way.
            Pieces::ByteLevel => piece.chars().map(byte_of).collect::<Option<_>>().unwrap_or_else(|| piece.into()),
            Pieces::SentencePiece => fallback_byte(piece).map_or_else(|| piece.replace('▁', " ").into(), |byte| vec![byte]),
            Pieces::WordPiece(prefix) => match piece.strip_prefix(prefix.as_str()) {
                Some(rest) if !prefix.is_empty() && !rest.is_empty() => rest.into(),
                _ => apart(piece),
            },
            Pieces::Suffix(suffix) => match piece.strip_suffix(suffix.as_str()) {
                Some(word) if !suffix.is_empty() => format!("{word} ").into(),
                _ => piece.into(),
            },
            Pieces::Words => apart(piece),
            Pieces::Joined => piece.into(),
        }
    }
}

/// GPT-2 writes bytes that are printable in Latin-1 as themselves and the other 68, in order, from U+0100 on.
pub(super) fn byte_of(c: char) -> Option<u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match u32::from(c) {
        code @ 0..=0xFF => u8::try_from(code).ok().filter(printable),
        code @ 0x100..=0x143 => (0..=255).filter(|byte| !printable(byte)).nth(code as usize - 0x100),
        _ => None,
    }
}

/// How GPT-2 writes bytes, in their order.
pub(super) fn characters() -> [char; 256] {
    let mut characters = ['\0'; 256];
    for c in '\0'..='\u{143}' {
        if let Some(byte) = byte_of(c) {
            characters[usize::from(byte)] = c;
        }
    }
    characters
}

/// `<0xE2>`: the byte 0xE2.
fn fallback_byte(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

/// Decodes token by token and keeps back what is not yet a whole character.
#[derive(Clone, Debug)]
pub struct Streamer<'a> {
    tokenizer: &'a TextTokenizer,
    first: bool,
    waiting: Vec<u8>,
}

impl<'a> Streamer<'a> {
    pub(super) fn new(tokenizer: &'a TextTokenizer) -> Self {
        Streamer { tokenizer, first: true, waiting: Vec::new() }
    }

    /// The text that this token makes complete.
    pub fn push(&mut self, id: u32) -> String {
        let inner = &self.tokenizer.tokenizer;
        if let Some(token) = inner.get_added_vocabulary().get_added_tokens_decoder().get(&id) {
            // Added tokens are written as they are, whatever the vocabulary.
            self.waiting.extend(self.tokenizer.pieces.added(&token.content, self.first));
        } else if let Some(piece) = inner.id_to_token(id) {
            self.waiting.extend(self.tokenizer.pieces.bytes(&piece, self.first));
        }
        self.first = false;
        self.take()
    }

    /// What is left: `�` if it is not a whole character.
    pub fn finish(&mut self) -> String {
        self.first = true;
        String::from_utf8_lossy(&std::mem::take(&mut self.waiting)).into_owned()
    }

    /// Everything but a last character of which only a part is here.
    fn take(&mut self) -> String {
        let incomplete = match self.waiting.utf8_chunks().last() {
            // An invalid end that could still become valid: what follows its first byte is right so far, and short of what it announces.
            Some(chunk) if is_beginning(chunk.invalid()) => chunk.invalid().len(),
            _ => 0,
        };
        let kept = self.waiting.split_off(self.waiting.len() - incomplete);
        let ready = std::mem::replace(&mut self.waiting, kept);
        String::from_utf8_lossy(&ready).into_owned()
    }
}

impl Pieces {
    fn added(&self, content: &str, first: bool) -> Vec<u8> {
        match self {
            Pieces::WordPiece(_) | Pieces::Words if !first => format!(" {content}").into(),
            _ => content.into(),
        }
    }
}

/// Whether bytes could become a character by adding more.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

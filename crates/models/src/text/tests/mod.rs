//! Vocabularies small enough to be worked out by hand.

mod chat;
mod encode;
mod encoders;
mod files;
mod pickles;

use std::path::Path;

use serde_json::Value as Json;
use tempfile::TempDir;

use super::*;

fn folder(files: &[(&str, &Json)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, json) in files {
        let text = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(files: &[(&str, &Json)]) -> Result<TextTokenizer> {
    TextTokenizer::from_folder(folder(files).path()).map(Option::unwrap)
}

/// All bytes in GPT-2's writing, in the order of the bytes.
fn alphabet() -> Vec<String> {
    let mut letters: Vec<(u8, char)> = ('\u{0}'..='\u{143}').filter_map(|c| Some((pieces::byte_of(c)?, c))).collect();
    letters.sort();
    assert_eq!(letters.len(), 256);
    letters.into_iter().map(|(_, c)| c.to_string()).collect()
}

const SPECIALS: [&str; 4] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"];

const MERGES: [&str; 12] = ["h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o", "r l", "rl d", "Ġwo rld", "1 2", "12 3", "Ġ Ġ"];

/// A byte-level vocabulary: four special tokens, the bytes, and what [`MERGES`] make, in this order.
struct Toy {
    tokens: Vec<String>,
    types: Vec<i64>,
    merges: Vec<String>,
}

impl Toy {
    fn new() -> Self {
        let mut tokens: Vec<String> = SPECIALS.map(String::from).to_vec();
        let mut types = vec![3; tokens.len()];
        tokens.extend(alphabet());
        tokens.extend(MERGES.iter().map(|merge| merge.replace(' ', "")));
        types.resize(tokens.len(), 1);
        Toy { tokens, types, merges: MERGES.map(String::from).to_vec() }
    }

    fn vocabulary(&self) -> GgufVocabulary<'_> {
        GgufVocabulary {
            types: Some(&self.types),
            merges: Some(&self.merges),
            bos: Some(0),
            eos: Some(2),
            padding: Some(3),
            chat_template: Some(CHAT_ML),
            ..GgufVocabulary::new(Path::new("toy.gguf"), "gpt2", &self.tokens)
        }
    }

    fn with(pre: &str) -> TextTokenizer {
        TextTokenizer::from_gguf_vocabulary(&GgufVocabulary { pre: Some(pre), ..Toy::new().vocabulary() }).unwrap()
    }
}

const CHAT_ML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}\
                       {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Each token's text and the part of the text it covers.
fn shown<'t>(tokenizer: &TextTokenizer, text: &'t str, encoded: &Encoded) -> Vec<(String, Option<&'t str>)> {
    assert_eq!(encoded.ids.len(), encoded.spans.len());
    let parts = encoded.spans.iter().map(|span| span.clone().map(|span| &text[span]));
    encoded.ids.iter().map(|id| tokenizer.token_text(*id)).zip(parts).collect()
}

fn texts(tokenizer: &TextTokenizer, encoded: &Encoded) -> Vec<String> {
    encoded.ids.iter().map(|id| tokenizer.token_text(*id)).collect()
}

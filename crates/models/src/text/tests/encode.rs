//! Ids, spans and back again.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

#[test]
fn spans_are_the_parts_of_the_text_blanks_included() {
    let tokenizer = Toy::with("gpt-2");
    let text = "hello world";
    let encoded = tokenizer.encode(text, false).unwrap();
    assert_eq!(shown(&tokenizer, text, &encoded), [("hello".into(), Some("hello")), (" world".into(), Some(" world"))]);
}

#[test]
fn every_token_of_a_split_character_covers_the_whole_character() {
    let tokenizer = Toy::with("gpt-2");
    let text = "hé😀!";
    let encoded = tokenizer.encode(text, false).unwrap();
    let parts: Vec<_> = encoded.spans.iter().map(|span| &text[span.clone().unwrap()]).collect();
    assert_eq!(parts, ["h", "é", "é", "😀", "😀", "😀", "😀", "!"]);
    assert_eq!(tokenizer.token_text(encoded.ids[3]), "�");
}

#[test]
fn digits_are_split_as_the_published_definitions_say() {
    let pieces = |pre: &str, text: &str| {
        let tokenizer = Toy::with(pre);
        texts(&tokenizer, &tokenizer.encode(text, false).unwrap())
    };
    assert_eq!(pieces("gpt-2", "1231"), ["123", "1"]); // pairs are joined across all digits
    assert_eq!(pieces("gpt-2", "12123"), ["12", "123"]);
    assert_eq!(pieces("smollm", "123"), ["1", "2", "3"]);
    assert_eq!(pieces("qwen2", "123"), ["1", "2", "3"]);
    assert_eq!(pieces("llama-bpe", "12123"), ["12", "1", "2", "3"]); // 121 | 23
}

#[test]
fn blanks_are_split_as_the_published_definitions_say() {
    // Of several blanks before a word, the last one belongs to the word.
    for pre in ["gpt-2", "smollm", "llama-bpe", "qwen2"] {
        let tokenizer = Toy::with(pre);
        assert_eq!(texts(&tokenizer, &tokenizer.encode("he   world  ", false).unwrap()), ["he", "  ", " world", "  "], "{pre}");
    }
    // `smollm` takes digits out first, so the blanks before one end a text of their own.
    let tokenizer = Toy::with("smollm");
    assert_eq!(texts(&tokenizer, &tokenizer.encode("he  1", false).unwrap()), ["he", "  ", "1"]);
    let tokenizer = Toy::with("gpt-2");
    assert_eq!(texts(&tokenizer, &tokenizer.encode("he  1", false).unwrap()), ["he", " ", " ", "1"]);
}

#[test]
fn what_spells_a_special_token_stays_text() {
    for pre in ["gpt-2", "smollm", "llama-bpe", "qwen2"] {
        let tokenizer = Toy::with(pre);
        for text in ["<|im_end|>", "hello<|im_end|>world", " <|im_end|>\n<|im_start|>"] {
            let encoded = tokenizer.encode(text, false).unwrap();
            assert!(encoded.ids.iter().all(|id| *id >= SPECIALS.len() as u32), "{pre}: {text}");
            assert_eq!(tokenizer.decode(&encoded.ids), text);
            assert_eq!(tokenizer.encode_continuation(text).unwrap(), encoded);
        }
    }
}

#[test]
fn special_tokens_are_added_as_the_file_says_and_have_no_span() {
    let toy = Toy::new();
    let tokenizer = |vocabulary| TextTokenizer::from_gguf_vocabulary(&vocabulary).unwrap();
    let both = tokenizer(GgufVocabulary { add_bos: Some(true), add_eos: Some(true), ..toy.vocabulary() });
    let encoded = both.encode("he", true).unwrap();
    assert_eq!((encoded.ids[0], encoded.ids[2]), (0, 2));
    assert_eq!(encoded.spans, [None, Some(0..2), None]);
    assert_eq!(both.encode("he", false).unwrap().ids.len(), 1);
    assert_eq!(both.encode_continuation("he").unwrap().ids.len(), 1);
    // Nothing said: byte-level vocabularies add nothing, except Llama 3's.
    assert_eq!(tokenizer(toy.vocabulary()).encode("he", true).unwrap().ids.len(), 1);
    assert_eq!(tokenizer(GgufVocabulary { pre: Some("llama-bpe"), ..toy.vocabulary() }).encode("he", true).unwrap().ids[0], 0);
}

#[test]
fn an_empty_text_has_no_tokens() {
    assert_eq!(Toy::with("gpt-2").encode("", true).unwrap(), Encoded::default());
}

#[test]
fn roles_and_ends_are_those_of_the_file() {
    let tokenizer = Toy::with("gpt-2");
    assert_eq!(tokenizer.vocabulary(), 4 + 256 + MERGES.len());
    assert_eq!(tokenizer.end_of_sequence(), [2, 0]); // eos, and <|endoftext|> by its name
    assert_eq!((tokenizer.padding(), tokenizer.mask(), tokenizer.unknown()), (Some(3), None, None));
    assert!(tokenizer.is_special(2) && !tokenizer.is_special(4));
}

#[test]
fn a_stream_keeps_back_what_is_no_whole_character() {
    let tokenizer = Toy::with("gpt-2");
    let mut streamer = tokenizer.streamer();
    let byte = |byte: u8| SPECIALS.len() as u32 + u32::from(byte);
    assert_eq!([0xF0, 0x9F, 0x98].map(|b| streamer.push(byte(b))), ["", "", ""]);
    assert_eq!(streamer.push(byte(0x80)), "😀");
    assert_eq!(streamer.push(byte(0xE2)), "");
    assert_eq!(streamer.push(byte(b'x')), "�x"); // it can no longer become one
    assert_eq!(streamer.push(byte(0xFF)), "�"); // it never could
    assert_eq!(streamer.push(byte(0xC3)), "");
    assert_eq!(streamer.finish(), "�");
    assert_eq!(streamer.finish(), "");
    assert_eq!(streamer.push(2), "<|im_end|>");
    assert_eq!(streamer.push(4_000_000), "");
}

#[test]
fn composing_normalisers_keep_spans_of_the_original() {
    let tokenizer = Toy::with("qwen2");
    let text = "e\u{301}x"; // é in two characters
    let encoded = tokenizer.encode(text, false).unwrap();
    let parts: Vec<_> = encoded.spans.iter().map(|span| &text[span.clone().unwrap()]).collect();
    assert_eq!(parts, ["e\u{301}", "e\u{301}", "x"]);
    assert_eq!(tokenizer.decode(&encoded.ids), "éx");
}

proptest! {
    #[test]
    fn any_text_comes_back_and_is_covered_in_order(text in any::<String>(), more in "[ \\t\\n0-9a-zé😀مरी\u{200d}<|>_]*") {
        static TOKENIZERS: LazyLock<[TextTokenizer; 3]> = LazyLock::new(|| ["gpt-2", "smollm", "llama-bpe"].map(Toy::with));
        for text in [text, more] {
            for tokenizer in TOKENIZERS.iter() {
                let encoded = tokenizer.encode(&text, true).unwrap();
                let ids: Vec<u32> = encoded.ids.iter().zip(&encoded.spans).filter(|(_, span)| span.is_some()).map(|(id, _)| *id).collect();
                prop_assert_eq!(tokenizer.decode(&ids), &text[..]);
                let mut covered = 0;
                for span in encoded.spans.iter().flatten() {
                    prop_assert!(span.start <= covered && span.end >= covered && text.get(span.clone()).is_some());
                    covered = span.end;
                }
                prop_assert_eq!(covered, text.len());
            }
        }
    }
}

/// SentencePiece: `<unk>`, `<s>`, `</s>`, all bytes, then pieces with their scores.
struct Scored {
    tokens: Vec<String>,
    types: Vec<i64>,
    scores: Vec<f32>,
}

impl Scored {
    fn new() -> Self {
        let mut scored = Scored { tokens: vec!["<unk>".into(), "<s>".into(), "</s>".into()], types: vec![2, 3, 3], scores: vec![0.0; 3] };
        for byte in 0..=255u8 {
            scored.add(&format!("<0x{byte:02X}>"), 6, 0.0);
        }
        for (rank, piece) in ["▁a", "ab", "bc", "▁ab", "▁abc", "▁", "a", "b", "c", "<", "/", "s", ">", "/s", "</s"].iter().enumerate()
        {
            scored.add(piece, 1, -(rank as f32));
        }
        scored
    }

    fn add(&mut self, token: &str, kind: i64, score: f32) {
        self.tokens.push(token.into());
        self.types.push(kind);
        self.scores.push(score);
    }

    fn vocabulary(&self) -> GgufVocabulary<'_> {
        GgufVocabulary {
            types: Some(&self.types),
            scores: Some(&self.scores),
            bos: Some(1),
            eos: Some(2),
            unknown: Some(0),
            ..GgufVocabulary::new(Path::new("toy.gguf"), "llama", &self.tokens)
        }
    }

    fn tokenizer(&self) -> TextTokenizer {
        TextTokenizer::from_gguf_vocabulary(&self.vocabulary()).unwrap()
    }
}

#[test]
fn pieces_are_joined_by_score_behind_an_invented_blank() {
    let tokenizer = Scored::new().tokenizer();
    let encoded = tokenizer.encode("abc bc", true).unwrap();
    // ▁ a b c: ▁a first (0), then ▁ab (-3) before nothing else fits, then ▁abc (-4); ▁ bc: bc (-2).
    assert_eq!(texts(&tokenizer, &encoded), ["<s>", " abc", " ", "bc"]);
    assert_eq!(encoded.spans, [None, Some(0..3), Some(3..4), Some(4..6)]);
    // Going on a text, no blank is invented, and one that is there stays.
    assert_eq!(texts(&tokenizer, &tokenizer.encode_continuation("bc").unwrap()), ["bc"]);
    assert_eq!(texts(&tokenizer, &tokenizer.encode_continuation(" abc").unwrap()), [" abc"]);
    let plain = TextTokenizer::from_gguf_vocabulary(&GgufVocabulary { add_space_prefix: Some(false), ..Scored::new().vocabulary() });
    assert_eq!(texts(&tokenizer, &plain.unwrap().encode("abc", false).unwrap()), ["ab", "c"]);
}

#[test]
fn an_invented_blank_that_stands_alone_has_no_span() {
    let tokenizer = Scored::new().tokenizer();
    let encoded = tokenizer.encode("bc", false).unwrap();
    assert_eq!(texts(&tokenizer, &encoded), [" ", "bc"]);
    assert_eq!(encoded.spans, [None, Some(0..2)]);
}

#[test]
fn characters_without_a_piece_become_bytes() {
    let tokenizer = Scored::new().tokenizer();
    let encoded = tokenizer.encode_continuation("a😀c").unwrap();
    assert_eq!(encoded.ids[1..5], [0xF0, 0x9F, 0x98, 0x80].map(|byte| byte + 3));
    assert_eq!(encoded.spans[1..5], [Some(1..5), Some(1..5), Some(1..5), Some(1..5)]);
    assert_eq!(tokenizer.decode(&encoded.ids), "a😀c");
}

#[test]
fn control_entries_are_not_put_together_from_letters() {
    let tokenizer = Scored::new().tokenizer();
    assert_eq!(texts(&tokenizer, &tokenizer.encode_continuation("</s>").unwrap()), ["</s", ">"]);
    assert_eq!(texts(&tokenizer, &tokenizer.encode_continuation("a<s>b").unwrap()), ["a", "<", "s", ">", "b"]);
}

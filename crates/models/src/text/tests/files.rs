//! Tokenizers from files, good and bad.

use serde_json::json;

use super::*;

/// A `tokenizer.json` with the given model and other parts.
fn published(model: Json, parts: Json) -> Json {
    let mut json = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": model});
    for (key, part) in parts.as_object().unwrap() {
        json[key] = part.clone();
    }
    json
}

fn special(id: u32, content: &str) -> Json {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
}

/// SentencePiece pairs as Llama's `tokenizer.json` has them.
fn llama(scheme: &str) -> Json {
    let vocab = json!({"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "h": 4, "i": 5, "hi": 6, "▁hi": 7});
    let template = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}});
    published(
        json!({"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": true, "vocab": vocab, "merges": [["h", "i"], ["▁", "hi"]]}),
        json!({"added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false},
            "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>"},
            "post_processor": template}),
    )
}

#[test]
fn a_folder_without_a_tokenizer_has_none() {
    assert!(TextTokenizer::from_folder(folder(&[("config.json", &json!({}))]).path()).unwrap().is_none());
}

#[test]
fn a_published_tokenizer_is_read_and_neither_cuts_nor_pads() {
    let tokenizer = load(&[("tokenizer.json", &llama("first"))]).unwrap();
    let encoded = tokenizer.encode("hi hi hi", true).unwrap();
    assert_eq!(encoded.ids, [1, 7, 7, 7]);
    assert_eq!(encoded.spans, [None, Some(0..2), Some(2..5), Some(5..8)]);
    assert_eq!(tokenizer.decode(&[7, 7]), " hi hi");
    assert_eq!(tokenizer.token_text(7), " hi");
    assert_eq!(tokenizer.encode_continuation("hi").unwrap().ids, [6]);
    assert_eq!(tokenizer.encode_continuation(" hi").unwrap().ids, [7]);
}

#[test]
fn the_configuration_decides_what_is_added() {
    let files = |config: Json| load(&[("tokenizer.json", &llama("first")), ("tokenizer_config.json", &config)]).unwrap();
    let named = |mut config: Json| {
        config["bos_token"] = json!("<s>");
        config["eos_token"] = json!({"content": "</s>", "lstrip": false});
        config
    };
    assert_eq!(files(named(json!({"add_bos_token": false}))).encode("hi", true).unwrap().ids, [7]);
    assert_eq!(files(named(json!({"add_bos_token": true, "add_eos_token": true}))).encode("hi", true).unwrap().ids, [1, 7, 2]);
    let silent = files(named(json!({"unk_token": "<unk>", "pad_token": "</s>"})));
    assert_eq!(silent.encode("hi", true).unwrap().ids, [1, 7]);
    assert_eq!((silent.unknown(), silent.padding(), silent.end_of_sequence()), (Some(0), Some(2), vec![2]));
}

#[test]
fn what_ends_an_answer_is_gathered_from_all_files() {
    let tokenizer = load(&[
        ("tokenizer.json", &llama("first")),
        ("special_tokens_map.json", &json!({"eos_token": "</s>"})),
        ("generation_config.json", &json!({"eos_token_id": [2, 5]})),
        ("config.json", &json!({"eos_token_id": 1})),
    ]);
    assert_eq!(tokenizer.unwrap().end_of_sequence(), [2, 5, 1]);
}

#[test]
fn in_a_chat_only_the_first_part_gets_a_blank_if_the_scheme_says_first() {
    let template =
        json!({"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}hi"});
    for (scheme, ids) in [("first", [1, 6, 2, 6]), ("always", [1, 7, 2, 7])] {
        let tokenizer = load(&[("tokenizer.json", &llama(scheme)), ("tokenizer_config.json", &template)]).unwrap();
        let chat = tokenizer.encode_chat(&[ChatMessage { role: "user".into(), content: "hi".into() }], false).unwrap();
        assert_eq!(chat.encoded.ids, ids, "{scheme}");
        assert_eq!(chat.encoded.spans, [Some(0..3), Some(3..5), Some(5..9), Some(9..11)]);
    }
}

#[test]
fn a_template_is_found_wherever_it_is_published() {
    let base = ("tokenizer.json", &llama("first"));
    let list = json!({"chat_template": [{"name": "tool_use", "template": "b"}, {"name": "default", "template": "a"}]});
    assert_eq!(load(&[base, ("tokenizer_config.json", &list)]).unwrap().chat_template(), Some("a"));
    assert_eq!(load(&[base, ("tokenizer_config.json", &list), ("chat_template.jinja", &json!("c"))]).unwrap().chat_template(), Some("c"));
    assert_eq!(load(&[base]).unwrap().chat_template(), None);
}

#[test]
fn a_unigram_model_does_not_put_special_tokens_together() {
    let vocab = json!([
        ["<unk>", 0.0],
        ["</s>", 0.0],
        ["▁", -2.0],
        ["<", -3.0],
        ["/", -3.0],
        ["s", -3.0],
        [">", -3.0],
        ["hi", -1.0],
        ["/s>", -4.0]
    ]);
    let json = published(
        json!({"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": false}),
        json!({"added_tokens": [special(0, "<unk>"), special(1, "</s>")],
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
            "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}}),
    );
    let named = json!({"unk_token": "<unk>", "eos_token": "</s>"});
    let tokenizer = load(&[("tokenizer.json", &json), ("tokenizer_config.json", &named)]).unwrap();
    let text = "hi</s>hi é</s>";
    let encoded = tokenizer.encode(text, false).unwrap();
    let expected = [
        (" ", None),
        ("hi", Some("hi")),
        ("<", Some("<")),
        ("/s>", Some("/s>")),
        ("hi", Some("hi")),
        (" ", Some(" ")),
        ("<unk>", Some("é")),
        ("<", Some("<")),
        ("/s>", Some("/s>")),
    ];
    assert_eq!(shown(&tokenizer, text, &encoded), expected.map(|(text, part)| (text.to_owned(), part)));
}

#[test]
fn a_text_that_only_a_special_token_can_express_is_an_error() {
    let json = published(
        json!({"type": "WordLevel", "vocab": {"[UNK]": 0, "_": 1, "hi": 2}, "unk_token": "[UNK]"}),
        json!({"added_tokens": [special(0, "[UNK]"), special(1, "_")], "pre_tokenizer": {"type": "WhitespaceSplit"}}),
    );
    let tokenizer = load(&[("tokenizer.json", &json), ("tokenizer_config.json", &json!({"unk_token": "[UNK]"}))]).unwrap();
    assert_eq!(tokenizer.encode("hi ho", false).unwrap().ids, [2, 0]);
    let error = tokenizer.encode("hi _", false).unwrap_err().to_string();
    assert_eq!(error, "the text holds `_`, which this model's tokenizer has only as a special token");
    assert_eq!(tokenizer.decode(&[2, 0, 2]), "hi [UNK] hi");
}

#[test]
fn parts_of_words_are_put_together() {
    let json = published(
        json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {"[UNK]": 0, "[MASK]": 1, "play": 2, "##ing": 3, "[CLS]": 4, "[SEP]": 5}}),
        json!({"added_tokens": [special(1, "[MASK]"), special(4, "[CLS]"), special(5, "[SEP]")], "pre_tokenizer": {"type": "BertPreTokenizer"},
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 5], "cls": ["[CLS]", 4]},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}}),
    );
    let tokenizer = load(&[("tokenizer.json", &json), ("tokenizer_config.json", &json!({"mask_token": "[MASK]"}))]).unwrap();
    let encoded = tokenizer.encode("PLAYing play [MASK]", true).unwrap();
    assert_eq!(encoded.ids, [4, 2, 3, 2, 0, 0, 0, 5]); // brackets and the word between them are not in the vocabulary
    assert_eq!(encoded.spans[1..4], [Some(0..4), Some(4..7), Some(8..12)]);
    assert_eq!(tokenizer.decode(&[2, 3, 2, 1]), "playing play [MASK]");
    assert_eq!((tokenizer.token_text(3), tokenizer.mask()), ("ing".into(), Some(1)));
}

#[test]
fn the_two_files_of_gpt2_are_read() {
    let toy = Toy::new();
    let vocab: Json = toy.tokens.iter().zip(0..).map(|(token, id)| (token.clone(), json!(id))).collect::<serde_json::Map<_, _>>().into();
    let merges = json!(format!("#version: 0.2\n{}\n", MERGES.join("\n")));
    let config = json!({"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"});
    let files = [("vocab.json", &vocab), ("merges.txt", &merges), ("tokenizer_config.json", &config)];
    let tokenizer = load(&files).unwrap();
    let same = Toy::with("gpt-2");
    for text in ["hello world", " 12 😀\n", "<|im_end|>"] {
        assert_eq!(tokenizer.encode(text, true).unwrap(), same.encode(text, false).unwrap());
    }
    assert_eq!(tokenizer.end_of_sequence(), [0]);
    let lying = json!("#version: 0.2\nh x\n");
    let error = load(&[("vocab.json", &vocab), ("merges.txt", &lying)]).unwrap_err().to_string();
    assert!(error.contains("merges.txt") && error.contains("`h x`"), "{error}");
}

#[test]
fn lying_tokenizer_files_are_errors_and_not_panics() {
    let changed = |path: &str, value: Json| {
        let mut json = llama("first");
        *json.pointer_mut(path).unwrap() = value;
        load(&[("tokenizer.json", &json)]).unwrap_err().to_string()
    };
    assert!(changed("/model/merges", json!([["▁hi", "▁hi"]])).contains("does not have"));
    assert!(changed("/model/merges", json!([["h"]])).contains("not a pair"));
    assert!(changed("/model/merges", json!(["h"])).contains("not a pair"));
    assert!(changed("/added_tokens/1/id", json!(2)).contains("declared with id 2"));
    assert!(changed("/model/type", json!("Magic")).contains("is not a tokenizer"));
    assert!(changed("/version", json!("2.0")).contains("is not a tokenizer"));
    let folder = folder(&[("tokenizer.json", &json!("{\"version\": "))]);
    let error = TextTokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: is not valid JSON"), "{error}");
}

#[test]
fn lying_gguf_vocabularies_are_errors() {
    let toy = Toy::new();
    let fails = |vocabulary: GgufVocabulary<'_>| TextTokenizer::from_gguf_vocabulary(&vocabulary).unwrap_err().to_string();
    let base = || toy.vocabulary();
    assert!(fails(GgufVocabulary { model: "rwkv", ..base() }).contains("tokenizer.ggml.model is `rwkv`; `gpt2` and `llama`"));
    assert!(fails(GgufVocabulary { pre: Some("falcon"), ..base() }).contains("tokenizer.ggml.pre is `falcon`; `default`"));
    assert!(fails(GgufVocabulary { types: Some(&[1]), ..base() }).contains("token_type has 1 entries for 272 tokens"));
    assert!(fails(GgufVocabulary { eos: Some(272), ..base() }).contains("eos_token_id is 272, outside the 272 tokens"));
    assert!(fails(GgufVocabulary { tokens: &[], types: None, ..base() }).contains("0"));
    assert!(fails(GgufVocabulary { merges: None, ..base() }).contains("merges is missing"));
    for merge in ["h", "h q", "no such", "h  e", "", " "] {
        assert!(fails(GgufVocabulary { merges: Some(&[merge.into()]), ..base() }).contains("merge `"), "{merge}");
    }
    assert!(fails(GgufVocabulary { model: "llama", ..base() }).contains("scores is missing"));
    let scores = vec![f32::NAN; toy.tokens.len()];
    assert!(fails(GgufVocabulary { model: "llama", scores: Some(&scores), ..base() }).contains("not a number"));
}

#[test]
fn equal_and_empty_entries_do_no_harm() {
    let mut toy = Toy::new();
    toy.tokens.extend(["".into(), "hello".into()]);
    toy.types.extend([1, 1]);
    let tokenizer = TextTokenizer::from_gguf_vocabulary(&toy.vocabulary()).unwrap();
    assert_eq!(tokenizer.encode("hello", false).unwrap().ids, [toy.tokens.len() as u32 - 1]);
}

#[test]
fn user_defined_tokens_are_met_in_any_text() {
    let mut toy = Toy::new();
    toy.tokens.push("<think>".into());
    toy.types.push(4);
    let tokenizer = TextTokenizer::from_gguf_vocabulary(&toy.vocabulary()).unwrap();
    let encoded = tokenizer.encode("he<think>he", false).unwrap();
    assert_eq!(texts(&tokenizer, &encoded), ["he", "<think>", "he"]);
    assert_eq!(encoded.spans, [Some(0..2), Some(2..9), Some(9..11)]);
}

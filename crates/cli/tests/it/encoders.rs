//! Encoders through the command line: classes, masked tokens, similarity, two texts, special tokens.

use std::fs;

use pellucid::render;
use serde_json::Value as Json;

use crate::fixtures::{Encoder, TextModel, json_of, refused, shown};

const BERT: &str = "../../cases/bert";

fn texts(json: &Json) -> Vec<String> {
    json["features"].as_array().unwrap().iter().map(|f| f["text"].as_str().unwrap().to_owned()).collect()
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect()
}

/// What a run took differs from run to run, and the model is in another folder each time.
fn lasting(shown: &str, model: &str) -> String {
    let cost = shown.find(" forward").expect("the last line tells the cost");
    shown[..shown[..cost].rfind('\n').unwrap()].trim_end().replace(model, "MODEL")
}

#[test]
fn without_a_target_the_class_that_the_model_chooses_is_explained() {
    let model = Encoder::new("ForSequenceClassification");
    let ask = ["explain", "-m", model.path(), "the big cat sleeps and runs .", "--json"];
    let own = json_of(&ask);
    let target = &own["target"];
    assert_eq!((&target["kind"], &target["origin"], &target["tokens"][0]["rank"]), (&"class".into(), &"predicted".into(), &0.into()));
    assert_eq!(target["text"], target["tokens"][0]["text"]);
    for name in ["safe", "Odd", "bad"] {
        let named = json_of(&[&ask[..], &["--class", name]].concat());
        assert_eq!((&named["target"]["text"], &named["target"]["origin"]), (&name.into(), &"given".into()));
        assert_eq!(named["scores"] == own["scores"], target["text"] == name);
        let rank = named["target"]["tokens"][0]["rank"].as_u64().unwrap();
        assert_eq!(rank == 0, target["text"] == name);
    }
    let by_number = json_of(&[&ask[..], &["--class", "1"]].concat());
    assert_eq!(by_number["scores"], json_of(&[&ask[..], &["--class", "odd"]].concat())["scores"]);
    assert_eq!(by_number["scores"], json_of(&[&ask[..], &["--target-ids", "1"]].concat())["scores"]);
    let seen = shown(&["explain", "-m", model.path(), "the big cat sleeps and runs .", "--class", "bad", "--contrast-class", "safe"]);
    insta::assert_snapshot!(lasting(&seen, model.path()));
}

#[test]
fn a_class_against_another_scores_the_difference() {
    let model = Encoder::new("ForSequenceClassification");
    let score = |more: &[&str]| {
        let json = json_of(&[&["explain", "-m", model.path(), "a red dog runs", "--score", "logit", "--json"], more].concat());
        numbers(&json["scores"]["combined"])
    };
    let (bad, safe, both) =
        (score(&["--class", "bad"]), score(&["--class", "safe"]), score(&["--class", "bad", "--contrast-class", "safe"]));
    for ((bad, safe), both) in bad.iter().zip(&safe).zip(&both) {
        assert!((bad - safe - both).abs() < 1e-6, "{bad} − {safe} is not {both}"); // sums of f32 logits
    }
}

#[test]
fn what_stands_at_the_mask_is_explained_where_it_stands() {
    let model = Encoder::new("ForMaskedLM");
    let ask = |more: &[&str]| json_of(&[&["explain", "-m", model.path(), "the [MASK] sleeps", "--json"], more].concat());
    let own = ask(&[]);
    let token = &own["target"]["tokens"][0];
    assert_eq!((&own["target"]["kind"], &own["target"]["origin"]), (&"masked-token".into(), &"predicted".into()));
    assert_eq!((&token["position"], &token["rank"]), (&2.into(), &0.into()));
    assert_eq!(texts(&own), ["[CLS]", "the", "[MASK]", "sleeps", "[SEP]"]);
    let special: Vec<bool> = own["features"].as_array().unwrap().iter().map(|f| f["special"] == true).collect();
    assert_eq!(special, [true, false, true, false, true]);
    // The tokenizer reads letters of either case as the same word.
    let cat = ask(&["--mask-target", "Cat"]);
    assert_eq!((&cat["target"]["text"], &cat["target"]["tokens"][0]["id"]), (&"cat".into(), &6.into()));
    let rather = ask(&["--mask-target", "cat", "--contrast", "dog"]);
    assert_eq!(rather["target"]["contrast"]["tokens"][0]["id"], 7);
    let known = token["text"].as_str().unwrap();
    if own["target"]["tokens"][0]["id"].as_u64().unwrap() > 4 {
        assert_eq!(ask(&["--mask-target", known])["scores"], own["scores"]);
    }
    let seen = shown(&["explain", "-m", model.path(), "the [MASK] sleeps", "--mask-target", "cat", "--units", "word"]);
    insta::assert_snapshot!(lasting(&seen, model.path()));
}

#[test]
fn one_of_several_masks_is_named_by_its_token() {
    let model = Encoder::new("ForMaskedLM");
    let ask = ["explain", "-m", model.path(), "[MASK] cat [MASK]", "--mask-target", "the"];
    assert!(refused(2, &ask).contains("masks at tokens 1, 3; say which one is explained with --mask-at"));
    let json = json_of(&[&ask[..], &["--mask-at", "3", "--json"]].concat());
    assert_eq!(json["target"]["tokens"][0]["position"], 3);
}

#[test]
fn similarity_is_the_cosine_and_is_explained_both_ways() {
    let model = Encoder::new("Model");
    let ask = ["explain", "-m", model.path(), "the cat sleeps", "--similar-to", "a dog runs .", "--json"];
    let there = json_of(&ask);
    let target = &there["target"];
    assert_eq!((&target["kind"], &target["score"], &target["text"]), (&"similarity".into(), &"logit".into(), &"a dog runs .".into()));
    let cosine = target["tokens"][0]["logit"].as_f64().unwrap();
    assert!((-1.0..=1.0).contains(&cosine), "{cosine}");
    let both = json_of(&[&ask[..], &["--both-ways"]].concat());
    assert_eq!(both[0]["scores"], there["scores"]);
    assert_eq!((&both[1]["input"]["text"], &both[1]["target"]["text"]), (&"a dog runs .".into(), &"the cat sleeps".into()));
    let back = both[1]["target"]["tokens"][0]["logit"].as_f64().unwrap();
    assert!((cosine - back).abs() < 1e-5, "{cosine} {back}"); // f32
    let same = json_of(&["explain", "-m", model.path(), "the cat", "--similar-to", "the cat", "--json"]);
    assert!((same["target"]["tokens"][0]["logit"].as_f64().unwrap() - 1.0).abs() < 1e-5);
}

#[test]
fn both_ways_are_two_files_or_one_behind_the_other() {
    let (model, folder) = (Encoder::new("Model"), tempfile::tempdir().unwrap());
    let file = folder.path().join("answer.json");
    let ask = ["explain", "-m", model.path(), "the cat", "--similar-to", "a dog", "--both-ways"];
    shown(&[&ask[..], &["-o", file.to_str().unwrap()]].concat());
    let read = |name: &str| render::read(&folder.path().join(name)).unwrap().input.text.unwrap();
    assert_eq!((read("answer.json"), read("answer.back.json")), ("the cat".into(), "a dog".into()));
    let seen = shown(&ask);
    let at = |text: &str| seen.find(text).unwrap_or_else(|| panic!("{text}: {seen}"));
    assert!(at("the similarity to “a dog”") < at("the similarity to “the cat”"));
    assert!(refused(2, &[&ask[..], &["--format", "svg"]].concat()).contains("cannot hold two explanations as svg"));
    refused(2, &["explain", "-m", model.path(), "the cat", "--both-ways"]);
}

#[test]
fn of_two_texts_no_unit_crosses_the_border_and_the_second_has_a_type_of_its_own() {
    let model = Encoder::new("ForSequenceClassification");
    let ask = |more: &[&str]| json_of(&[&["explain", "-m", model.path(), "the cat", "--second", "a dog", "--json"], more].concat());
    let json = ask(&["--units", "sentence"]);
    assert_eq!(texts(&json), ["the cat", "a dog"]);
    assert_eq!((&json["input"]["text"], &json["input"]["second"]["start"]), (&"the cat\na dog".into(), &8.into()));
    let types: Vec<u64> = json["input"]["tokens"].as_array().unwrap().iter().map(|t| t["type"].as_u64().unwrap_or(0)).collect();
    assert_eq!(types, [0, 0, 0, 0, 1, 1, 1]);
    let tokens = ask(&[]);
    assert_eq!(texts(&tokens), ["[CLS]", "the", "cat", "[SEP]", "a", "dog", "[SEP]"]);
    let alone = json_of(&["explain", "-m", model.path(), "the cat", "--class", "0", "--json"]);
    assert_ne!(alone["target"]["tokens"][0]["logit"], ask(&["--class", "0"])["target"]["tokens"][0]["logit"]);
}

#[test]
fn special_tokens_are_features_of_tokens_and_else_only_if_asked_for() {
    let model = Encoder::new("ForSequenceClassification");
    let ask = |more: &[&str]| texts(&json_of(&[&["explain", "-m", model.path(), "the cat", "--json"], more].concat()));
    assert_eq!(ask(&[]), ["[CLS]", "the", "cat", "[SEP]"]);
    assert_eq!(ask(&["--only", "cat"]), ["cat"]);
    assert_eq!(ask(&["--units", "word"]), ["the", "cat"]);
    assert_eq!(ask(&["--units", "word", "--special-tokens"]), ["[CLS]", "the", "cat", "[SEP]"]);
}

#[test]
fn token_ids_go_into_an_encoder_as_they_are() {
    let json = json_of(&["explain", "-m", BERT, "--ids", "2,5,9,3", "--class", "LABEL_2", "--json"]);
    assert_eq!(texts(&json), ["#2", "#5", "#9", "#3"]);
    assert_eq!(json["target"]["tokens"][0]["id"], 2);
}

#[test]
fn an_estimate_of_a_similarity_or_a_class_runs_nothing_and_foresees_the_count() {
    let (vectors, classes) = (Encoder::new("Model"), Encoder::new("ForSequenceClassification"));
    for ask in [
        vec!["explain", "-m", vectors.path(), "the cat sleeps", "--similar-to", "a dog", "--json"],
        vec!["explain", "-m", classes.path(), "the cat sleeps", "--json"],
    ] {
        let estimate = json_of(&[&ask[..], &["--estimate"]].concat());
        let cost = json_of(&ask)["cost"].clone();
        assert_eq!((&cost["forwards"], &cost["rows"], &cost["gflop"]), (&estimate["copies"], &estimate["rows"], &estimate["gflop"]));
    }
}

#[test]
fn what_does_not_suit_the_model_is_refused_with_what_would() {
    let (classes, masks, vectors) = (Encoder::new("ForSequenceClassification"), Encoder::new("ForMaskedLM"), Encoder::new("Model"));
    let decoder = TextModel::new();
    let told = |model: &str, text: &str, more: &[&str]| refused(2, &[&["explain", "-m", model, text], more].concat());
    for (model, text, more, says) in [
        (classes.path(), "the cat", &["--class", "3"][..], "class 3 is beyond the model, which has 3 classes (0 to 2)"),
        (classes.path(), "the cat", &["--class", "save"], "there is no class `save`; there are safe, Odd, bad"),
        (classes.path(), "the cat", &["--similar-to", "a dog"], "one of 3 classes; name one with --class: safe, Odd, bad"),
        (classes.path(), "the cat", &["--target", "dog"], "there is no class `dog`; there are safe, Odd, bad"),
        (classes.path(), "the cat", &["--generate", "2"], "name one with --class"),
        (classes.path(), "the cat", &["--class", "0", "--contrast-class", "safe"], "target and contrast are the same"),
        (classes.path(), "the cat", &["--class", "0", "--contrast", "dog"], "there is no class `dog`"),
        (classes.path(), "the cat", &["--mask-at", "1"], "fills in no mask"),
        (classes.path(), "the cat", &["--target-features"], "no earlier target tokens"),
        (classes.path(), "the cat", &["--method", "alti-logit"], "alti-logit"),
        (masks.path(), "the cat", &["--mask-target", "dog"], "there is no mask in the text: write [MASK]"),
        (masks.path(), "the [MASK]", &["--mask-target", "dogs"], "\"dogs\" is 2 tokens for this model (`dog` `s`); a mask stands for one"),
        (masks.path(), "the [MASK]", &["--mask-target", "xyz"], "does not know the word \"xyz\""),
        (masks.path(), "the [MASK]", &["--mask-at", "9"], "position 9 is outside the input, which has 4 tokens"),
        (masks.path(), "the [MASK]", &["--class", "0"], "say what stands at the mask with --mask-target"),
        (vectors.path(), "the cat", &[], "give a second text to compare it with (--similar-to)"),
        (vectors.path(), "the cat", &["--similar-to", "a", "--score", "probability"], "a similarity has no probability"),
        (vectors.path(), "the cat", &["--similar-to", " "], "the prompt is empty"),
        (decoder.path(), "the cat", &["--class", "0"], "has no classes; give what comes next with --target"),
        (decoder.path(), "the cat", &["--mask-target", "x"], "fills in no mask"),
        (decoder.path(), "the cat", &["--similar-to", "x"], "gives no vector to compare"),
        (decoder.path(), "the cat", &["--second", "x"], "takes one text"),
        (vectors.path(), "the cat", &["--similar-to", "a", "--chat"], "answers no question"),
    ] {
        let told = told(model, text, more);
        assert!(told.contains(says), "{more:?}: {told}");
    }
    assert!(refused(2, &["generate", "-m", vectors.path(), "the cat"]).contains("cannot go on with it; choose a decoder"));
}

#[test]
fn a_form_shows_the_class_and_the_cosine() {
    let (classes, vectors, folder) = (Encoder::new("ForSequenceClassification"), Encoder::new("Model"), tempfile::tempdir().unwrap());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for form in ["html", "svg", "tex", "txt"] {
        let (a, b) = (file(&format!("a.{form}")), file(&format!("b.{form}")));
        shown(&["explain", "-m", classes.path(), "the cat", "--class", "bad", "-o", &a]);
        shown(&["explain", "-m", vectors.path(), "the cat", "--similar-to", "a dog", "-o", &b]);
        let (a, b) = (fs::read_to_string(a).unwrap(), fs::read_to_string(b).unwrap());
        assert!(a.contains("What speaks for the class “bad”") && b.contains("the similarity to “a dog”"), "{form}");
        assert!(b.contains("cosine"), "{form}");
    }
}

//! `pellucid compare`: several methods on one input.

use std::fs;

use pellucid::{eval::rank_correlation, methods::METHODS, render};
use serde_json::Value as Json;

use crate::fixtures::{Encoder, GPTJ, json_of, pellucid, refused, shown};

const ASK: [&str; 7] = ["compare", "-m", GPTJ, "--ids", "116,56,100,30", "--target-ids", "121,105"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&ASK[..], more].concat()
}

fn methods(comparison: &Json) -> Vec<String> {
    comparison["attributions"].as_array().unwrap().iter().map(|a| a["method"]["id"].as_str().unwrap().to_owned()).collect()
}

fn combined(attribution: &Json) -> Vec<f64> {
    attribution["scores"]["combined"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect()
}

#[test]
fn methods_stand_side_by_side_in_the_terminal() {
    let seen = shown(&with(&["--methods", "atman,occlusion,saliency", "--set", "atman.factor=0"]));
    // What they took differs from run to run.
    let (lasting, cost) = seen.split_once("\ncost").unwrap();
    insta::assert_snapshot!(lasting);
    let rows: Vec<&str> = cost.lines().skip(1).map(|l| l.split_whitespace().next().unwrap()).collect();
    assert_eq!(rows, ["atman", "occlusion", "saliency"]);
}

#[test]
fn each_method_answers_as_it_does_alone() {
    let json = json_of(&with(&["--methods", "occlusion,atman,random", "--set", "atman.factor=0", "--set", "random.seed=7", "--json"]));
    assert_eq!(
        (&json["format"], methods(&json)),
        (&"pellucid-compare/1".into(), vec!["occlusion".into(), "atman".into(), "random".into()])
    );
    let alone = |more: &[&str]| json_of(&[&["explain"], &ASK[1..], more, &["--json"]].concat())["scores"].clone();
    let own = |i: usize| json["attributions"][i]["scores"].clone();
    assert_eq!(own(0), alone(&["--method", "occlusion"]));
    assert_eq!(own(1), alone(&["--factor", "0"]));
    assert_eq!(own(2), alone(&["--method", "random", "--seed", "7"]));
    let (a, b) = (combined(&json["attributions"][0]), combined(&json["attributions"][1]));
    assert_eq!(json["rank_correlation"][0][1].as_f64().unwrap(), rank_correlation(&a, &b).unwrap());
    assert!((json["rank_correlation"][2][2].as_f64().unwrap() - 1.0).abs() < 1e-12);
}

#[test]
fn scores_without_a_sign_are_compared_with_magnitudes() {
    let json = json_of(&with(&["--methods", "atman,saliency", "--json"]));
    assert_eq!(
        (&json["attributions"][0]["method"]["sign"], &json["attributions"][1]["method"]["sign"]),
        (&"signed".into(), &"unsigned".into())
    );
    let magnitudes: Vec<f64> = combined(&json["attributions"][0]).iter().map(|s| s.abs()).collect();
    let expected = rank_correlation(&magnitudes, &combined(&json["attributions"][1])).unwrap();
    assert_eq!(json["rank_correlation"][0][1].as_f64().unwrap(), expected);
}

#[test]
fn all_is_every_method_and_those_that_do_not_fit_are_told_with_the_reason() {
    let json = json_of(&with(&["--json"])); // exit code 0
    let left: Vec<&Json> = json["left_out"].as_array().map_or(Vec::new(), |l| l.iter().collect());
    assert_eq!(methods(&json).len() + left.len(), METHODS.len());
    for left in &left {
        assert!(left["failed"] == false && left["reason"].as_str().unwrap().len() > 20, "{left}");
    }
    assert!(left.iter().any(|l| l["method"] == "decompx"), "decompx is for classifiers");
}

#[test]
fn one_that_was_named_and_does_not_fit_loses_nothing_but_the_exit_code_says_so() {
    let output = pellucid().args(with(&["--methods", "atman,decompx,occlusion", "--json"])).output().unwrap();
    let (told, json) = (String::from_utf8(output.stderr).unwrap(), serde_json::from_slice::<Json>(&output.stdout).unwrap());
    assert_eq!((output.status.code(), methods(&json).len()), (Some(1), 2));
    assert!(told.starts_with("error: decompx: decompx needs"), "{told}");
    let output = pellucid().args(with(&["--methods", "atman,occlusion", "--set", "atman.layers=[9]"])).output().unwrap();
    let (told, seen) = (String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap());
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("atman: layer 9 is beyond the model") && seen.contains("left out\natman does not fit: layer 9"), "{told}{seen}");
}

#[test]
fn where_no_method_is_left_it_is_an_error_with_every_reason() {
    let told = refused(2, &with(&["--methods", "decompx,atman", "--set", "atman.layers=[9]"]));
    assert!(told.contains("no method can explain this") && told.contains("decompx: ") && told.contains("atman: layer 9"), "{told}");
}

#[test]
fn a_page_is_complete_in_itself_and_can_be_drawn_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (html, json, text) = (file("a.html"), file("a.json"), file("a.txt"));
    assert_eq!(shown(&with(&["--methods", "atman,attention-rollout", "--html", &html, "-o", &json, "-o", &text])), "");
    let page = fs::read_to_string(&html).unwrap();
    for outside in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "the page asks for {outside}");
    }
    assert!(page.contains("<h2>Do they agree?</h2>") && page.contains("attention-rollout"));
    let again = shown(&["render", &html, "--width", "100"]);
    assert_eq!(again, fs::read_to_string(&text).unwrap());
    assert_eq!(again, shown(&["render", &json, "--width", "100"]));
    assert_eq!(render::read_comparison(html.as_ref()).unwrap(), render::read_comparison(json.as_ref()).unwrap());
    assert!(refused(2, &["render", &json, "--format", "svg"]).contains("a comparison has no form `svg`; there are terminal, html, json"));
    assert!(refused(2, &["render", &json, "--target-token", "0"]).contains("combined scores"));
}

#[test]
fn an_encoder_is_compared_on_its_class_and_its_similarity() {
    let (classes, vectors) = (Encoder::new("ForSequenceClassification"), Encoder::new("Model"));
    for ask in [
        vec!["compare", "-m", classes.path(), "the big cat sleeps .", "--units", "word", "--class", "bad", "--json"],
        vec!["compare", "-m", vectors.path(), "the big cat sleeps .", "--units", "word", "--similar-to", "a dog", "--json"],
    ] {
        let json = json_of(&ask);
        assert!(methods(&json).len() > 10, "{:?}", methods(&json));
        let failed = json["left_out"].as_array().unwrap().iter().find(|l| l["failed"] == true);
        assert!(failed.is_none(), "{failed:?}");
    }
}

#[test]
fn an_estimate_tells_of_every_method() {
    let json = json_of(&with(&["--estimate", "--json"]));
    let told = json["methods"].as_array().unwrap();
    assert_eq!(told.len(), METHODS.len());
    assert!(told.iter().all(|m| m["copies"].as_u64().is_some_and(|n| n > 0) || m["why_not"].is_string()), "{json}");
    let table = shown(&with(&["--estimate", "--methods", "atman"]));
    assert!(table.contains("4 units to score") && table.contains("10 copies") || table.contains("5 copies"), "{table}");
}

#[test]
fn bad_requests_are_refused_before_a_model_is_opened() {
    let told = |more: &[&str]| refused(2, &[&["compare", "-m", "no-such-model", "x"], more].concat());
    assert!(told(&["--methods", "atman,guess"]).contains("unknown method `guess`"));
    assert!(told(&["--methods", "atman,atman"]).contains("method `atman` is named twice"));
    assert!(told(&["--methods", "atman", "--set", "random.seed=1"]).contains("`random`, which is not compared; there are atman"));
    assert!(told(&["--set", "factor=1"]).contains("write METHOD.KEY=VALUE"));
    assert!(told(&["--set", "atman.facto=1"]).contains("unknown field `facto`"));
    assert!(told(&["-o", "a.svg"]).contains("a comparison has no form by this extension"));
    assert!(told(&["--json", "--format", "html"]).contains("only one thing can go to standard output"));
}

#[test]
fn colours_follow_the_flag_first_and_the_environment_second() {
    let has_colours = |more: &[&str], env: &[(&str, &str)]| {
        let output = pellucid().args(with(&[&["--methods", "atman"], more].concat())).envs(env.iter().copied()).output().unwrap();
        output.stdout.contains(&0x1b)
    };
    assert!(!has_colours(&[], &[]) && has_colours(&[], &[("CLICOLOR_FORCE", "1")]) && !has_colours(&[], &[("NO_COLOR", "1")]));
    assert!(has_colours(&["--colour", "always"], &[("NO_COLOR", "1")]));
}

//! `pellucid generate`.

use crate::fixtures::{GPTJ, TextModel, json_of, shown};

#[test]
fn the_same_seed_draws_the_same_tokens_and_another_draws_others() {
    let draw = |seed: &str| shown(&["generate", "-m", GPTJ, "--ids", "1,2,3", "-n", "12", "--temperature", "2", "--seed", seed]);
    assert_eq!(draw("1"), draw("1"));
    assert_ne!(draw("1"), draw("2"));
}

#[test]
fn the_likeliest_of_one_is_what_greedy_takes() {
    let greedy = shown(&["generate", "-m", GPTJ, "--ids", "1,2,3", "-n", "8"]);
    assert_eq!(shown(&["generate", "-m", GPTJ, "--ids", "1,2,3", "-n", "8", "--temperature", "5", "--top-k", "1"]), greedy);
}

#[test]
fn text_is_streamed_as_it_is_recorded() {
    let model = TextModel::new();
    let args = ["generate", "-m", model.path(), "the cat", "-n", "8"];
    let json = json_of(&[&args[..], &["--json"]].concat());
    assert_eq!(shown(&args), format!("{}\n", json["continuation"]["text"].as_str().unwrap()));
    assert_eq!(json["continuation"]["ids"].as_array().unwrap().len(), 8);
}

#[test]
fn both_runs_are_recorded_when_they_are_compared() {
    let model = TextModel::new();
    let args = ["generate", "-m", model.path(), "the cat and the dog", "--control", "cat=0", "--mode", "min-shift", "-n", "6", "--compare"];
    let json = json_of(&[&args[..], &["--json"]].concat());
    assert_eq!(json["controls"][0], "\"cat\"=0");
    assert_eq!(json["mode"], "min-shift");
    let free = json_of(&["generate", "-m", model.path(), "the cat and the dog", "-n", "6", "--json"]);
    assert_eq!(json["uncontrolled"], free["continuation"]);
    let seen = shown(&args);
    let head = seen.lines().next().unwrap();
    assert!(head.starts_with("without control ") && head.ends_with("\"cat\"=0 (min-shift)"), "{seen}");
}

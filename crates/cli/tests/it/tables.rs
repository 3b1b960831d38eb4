//! Help and lists: what people read before they ask.

use crate::fixtures::{GPTJ, TextModel, json_of, pellucid, shown};

#[test]
fn help_is_as_people_see_it() {
    insta::assert_snapshot!("help", shown(&["--help"]));
    for command in ["explain", "generate", "models", "methods", "render", "verify", "completions"] {
        insta::assert_snapshot!(format!("help_{command}"), shown(&[command, "--help"]));
    }
}

#[test]
fn methods_tell_what_they_do_cost_and_promise() {
    insta::assert_snapshot!("methods", shown(&["methods"]));
    let with_model = shown(&["methods", "--model", GPTJ]);
    assert_eq!(with_model.matches("../../cases/gptj: yes").count(), 3, "{with_model}");
    let json = json_of(&["methods", "--model", GPTJ, "--json"]);
    assert_eq!(json[0]["id"], "atman");
    assert_eq!(json[0]["fits"], true);
    assert_eq!(json[0]["parameters"]["factor"], 0.1);
}

#[test]
fn models_are_listed_with_what_is_here() {
    insta::assert_snapshot!("models", shown(&["models", "list"]));
    let json = json_of(&["models", "list", "--json"]);
    assert_eq!(
        (&json[0]["name"], &json[0]["default"], &json[0]["cached"]),
        (&"smollm2-135m".into(), &true.into(), &serde_json::Value::Null)
    );
}

#[test]
fn a_model_is_described() {
    insta::assert_snapshot!("model", shown(&["models", "show", GPTJ]));
    let model = TextModel::new();
    let json = json_of(&["models", "show", model.path(), "--json"]);
    assert_eq!((&json["tokenizer_vocabulary"], &json["chat_template"]), (&109.into(), &true.into()));
    assert_eq!((&json["sizes"]["layers"], &json["tensors"]["f32"]), (&3.into(), &35.into()));
}

#[test]
fn a_model_that_is_here_needs_no_fetching() {
    assert_eq!(shown(&["models", "pull", GPTJ]), format!("{GPTJ}\n"));
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = shown(&["completions", shell]);
        assert!(script.contains("pellucid") && script.contains("target-range"), "{shell}");
    }
}

#[test]
fn the_version_is_the_library_s() {
    assert_eq!(shown(&["--version"]), format!("pellucid {}\n", pellucid::VERSION));
}

#[test]
fn an_account_of_the_work_goes_to_standard_error() {
    let output = pellucid().args(["-v", "explain", "-m", GPTJ, "--ids", "1,2", "--target-ids", "3", "--json"]).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("architecture=\"gptj\""));
    pellucid::render::parse(&output.stdout).unwrap();
}

//! Help and lists: what people read before they ask.

use pellucid::methods::METHODS;

use crate::fixtures::{GPTJ, TextModel, json_of, pellucid, refused, shown};

#[test]
fn help_is_as_people_see_it() {
    insta::assert_snapshot!("help", shown(&["--help"]));
    for command in ["explain", "compare", "generate", "models", "methods", "render", "verify", "completions"] {
        insta::assert_snapshot!(format!("help_{command}"), shown(&[command, "--help"]));
    }
}

#[test]
fn methods_tell_what_they_do_cost_and_promise() {
    let (all, with_model) = (shown(&["methods"]), shown(&["methods", "--model", GPTJ]));
    for method in METHODS {
        assert!(all.contains(&format!("{}\n  {}", method.id, &method.summary[..20])), "{}", method.id);
    }
    for told in ["needs ", "costs ", "promises ", "source "] {
        assert_eq!(all.matches(&format!("\n  {told}")).count(), METHODS.len(), "{told}");
    }
    let (fit, not) = (with_model.matches("../../cases/gptj: yes").count(), with_model.matches("../../cases/gptj: no: ").count());
    assert!(fit >= 3 && fit + not == METHODS.len(), "{with_model}");
    let json = json_of(&["methods", "--model", GPTJ, "--json"]);
    assert_eq!(json[0]["id"], "atman");
    assert_eq!(json[0]["fits"], true);
    assert_eq!(json[0]["parameters"]["factor"], 0.1);
}

#[test]
fn a_method_is_told_with_its_formula_its_source_and_its_parameters() {
    insta::assert_snapshot!("method", shown(&["methods", "atman"]));
    for method in METHODS {
        let page = shown(&["methods", method.id]);
        // Every file begins with a comment: a page is longer than the table's row.
        assert!(page.lines().count() >= 10 && !page.contains("//!") && !page.contains("pub(crate)"), "{page}");
    }
    let json = json_of(&["methods", "atman", "--json"]);
    assert!(json["documentation"].as_str().unwrap().contains("log p(token | clean)"), "{json}");
    assert!(refused(2, &["methods", "guess"]).contains("unknown method `guess`; there are atman, "));
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

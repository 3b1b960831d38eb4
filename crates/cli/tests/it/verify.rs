//! `pellucid verify`: rows, totals, exit codes.

use std::fs;

use serde_json::json;

use crate::fixtures::{case, json_of, pellucid, refused, shown};

/// Exit code and standard output.
fn ended(args: &[&str]) -> (Option<i32>, String) {
    let output = pellucid().arg("verify").args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn checks_that_pass_are_counted_and_end_well() {
    let (code, seen) = ended(&["../../cases/gptj", "--only", "logits", "--only", "hidden/*", "--skip", "*/3", "--strict"]);
    assert_eq!(code, Some(0), "{seen}");
    let rows: Vec<Vec<&str>> = seen.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[0][..4], ["gptj", "logits", "logits", "passed"]);
    let [error, tolerance] = [4, 5].map(|i| rows[0][i].parse::<f64>().unwrap());
    assert!(error <= tolerance);
    assert_eq!(seen.lines().last(), Some("4 passed, 0 failed, 0 unsupported"));
}

#[test]
fn a_failed_check_fails_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = case("control_row", folder.path(), 3, |i, check| {
        if i == 1 {
            check["tolerance"] = json!({ "abs": -1.0, "rel": 0.0 });
        }
    });
    let (code, seen) = ended(&[wrong.to_str().unwrap(), "--quiet"]);
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.len(), 2, "{seen}");
    assert!(lines[0].contains("failed") && lines[0].ends_with("outside the tolerance"), "{seen}");
    assert_eq!(lines[1], "2 passed, 1 failed, 0 unsupported");
}

#[test]
fn an_unsupported_check_never_passes_and_fails_only_a_strict_run() {
    let folder = tempfile::tempdir().unwrap();
    case("control_row", folder.path(), 2, |i, check| {
        if i == 0 {
            check["kind"] = "tea-leaves".into();
        }
    });
    let all = folder.path().to_str().unwrap();
    let (code, seen) = ended(&[all]);
    assert_eq!(code, Some(0));
    assert!(seen.lines().next().unwrap().ends_with("unsupported  kind tea-leaves"), "{seen}");
    assert_eq!(seen.lines().last(), Some("1 passed, 0 failed, 1 unsupported"));
    assert_eq!(ended(&[all, "--strict"]).0, Some(1));
    assert_eq!(ended(&[all, "--strict", "--quiet"]).1.lines().count(), 2);
}

#[test]
fn a_folder_of_cases_is_all_of_them_and_one_that_cannot_be_read_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    case("control_row", folder.path(), 2, |_, _| ());
    let broken = folder.path().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("case.json"), "{}").unwrap();
    let (code, seen) = ended(&[folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(seen.starts_with("broken") && seen.contains("not a case"), "{seen}");
    assert_eq!(seen.lines().last(), Some("2 passed, 1 failed, 0 unsupported"));
}

#[test]
fn json_has_the_rows_and_the_totals() {
    let json = json_of(&["verify", "../../cases/control_row", "--only", "multiply/*", "--json"]);
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(json["passed"].as_u64(), Some(rows.len() as u64));
    assert_eq!((&json["failed"], &json["unsupported"], &rows[0]["status"]), (&0.into(), &0.into(), &"passed".into()));
}

#[test]
fn colours_never_replace_words() {
    let coloured = shown(&["verify", "../../cases/control_row", "--only", "multiply/none", "--colour", "always"]);
    assert!(coloured.contains("\u{1b}[32mpassed\u{1b}[0m"), "{coloured:?}");
}

#[test]
fn asking_for_nothing_is_a_bad_request() {
    assert!(refused(2, &["verify", "../../cases/control_row", "--only", "no-such-check"]).contains("--only"));
    assert!(refused(2, &["verify", "src"]).contains("no case.json here"));
    assert!(refused(2, &["verify", "../../cases/control_row", "--only", "[a"]).contains("pattern `[a`"));
    assert!(refused(1, &["verify", "no-such-folder"]).contains("no-such-folder"));
}

//! JSON and back, and the published schema.

use pellucid_core::Attribution;
use pellucid_render::{Options, SCHEMA, form, parse, read, write};
use serde_json::{Value, json};

use crate::{draw, fixtures};

fn value(a: &Attribution) -> Value {
    serde_json::from_str(&draw("json", a, &Options::default())).unwrap()
}

fn schema() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::draft202012::new(&schema).unwrap()
}

#[test]
fn what_was_written_is_read_back_to_the_last_bit() {
    for (name, mut a) in fixtures::all() {
        // Numbers that only a correctly rounding reader gets back.
        if let Some(first) = a.scores.combined.first_mut() {
            *first = 0.1 + 0.2 * 1e-7;
        }
        a.cost.wall_ms = 5e-324;
        assert_eq!(parse(draw("json", &a, &Options::default()).as_bytes()).unwrap(), a, "{name}");
    }
}

#[test]
fn a_page_can_be_drawn_again_from_itself() {
    let folder = tempfile::tempdir().unwrap();
    for (name, a) in fixtures::all() {
        for id in ["html", "json"] {
            let path = folder.path().join(name).with_extension(id);
            write(&path, draw(id, &a, &Options::default()).as_bytes()).unwrap();
            assert_eq!(read(&path).unwrap(), a, "{name}");
        }
    }
}

#[test]
fn what_is_written_keeps_to_the_schema() {
    let schema = schema();
    for (name, a) in fixtures::all() {
        let errors: Vec<String> = schema.iter_errors(&value(&a)).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

/// Every object in the document, by its path.
fn objects(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.push(path.clone());
            map.iter().for_each(|(k, v)| objects(v, format!("{path}/{k}"), found));
        }
        Value::Array(items) => items.iter().take(1).for_each(|v| objects(v, format!("{path}/0"), found)),
        _ => {}
    }
}

#[test]
fn the_schema_and_the_reader_agree_on_which_fields_there_are() {
    agree(&value(&fixtures::whole()));
    agree(&value(&fixtures::single_pixels()));
}

fn agree(whole: &Value) {
    let schema = schema();
    let mut paths = Vec::new();
    objects(whole, String::new(), &mut paths);
    let paths: Vec<String> = paths.into_iter().filter(|p| !p.ends_with("/parameters")).collect();
    assert!(paths.len() > 12);
    let agreed = |broken: &Value| {
        let (valid, read) = (schema.is_valid(broken), parse(broken.to_string().as_bytes()));
        assert_eq!(valid, read.is_ok(), "{read:?}\n{broken}");
        valid
    };
    for path in &paths {
        let mut more = whole.clone();
        more.pointer_mut(path).unwrap()["surprise"] = json!(1);
        assert!(!agreed(&more), "{path} takes an unknown field");
        let keys: Vec<String> = whole.pointer(path).unwrap().as_object().unwrap().keys().cloned().collect();
        for key in keys {
            let mut less = whole.clone();
            less.pointer_mut(path).unwrap().as_object_mut().unwrap().remove(&key);
            // Leaving out the text is allowed, but then no span may point into it: only the reader can see that. Nor a box into no picture.
            if key == "image" {
                continue;
            }
            if key != "text" || !["/input", "/target", "/target/contrast"].contains(&path.as_str()) {
                // Nor can the schema see that a table belongs to the contrast.
                if key != "contrast" {
                    agreed(&less);
                }
            }
            let mut wrong = whole.clone();
            wrong.pointer_mut(path).unwrap()[&key] = json!([[true]]);
            assert!(!agreed(&wrong), "{path}/{key} takes nonsense");
        }
    }
}

#[test]
fn files_of_the_first_version_are_read_as_they_were_meant() {
    let mut old = value(&fixtures::contrast());
    old["method"].as_object_mut().unwrap().remove("sign");
    assert!(schema().is_valid(&old));
    assert_eq!(parse(old.to_string().as_bytes()).unwrap(), fixtures::contrast());
    let text = old.to_string();
    assert!(!["\"kind\"", "\"special\"", "\"promises\"", "\"second\"", "\"type\""].iter().any(|new| text.contains(new)), "{text}");
}

#[test]
fn broken_files_are_refused_by_name() {
    let broken: &[(&str, Value, &str)] = &[
        ("/format", json!("pellucid/2"), "format is \"pellucid/2\""),
        ("/target/tokens/0/probability", json!(1.5), "target.tokens[0].probability is 1.5"),
        ("/target/contrast/tokens/0/probability", json!(-0.1), "target.contrast.tokens[0].probability is -0.1"),
        ("/cost/wall_ms", json!(-1.0), "cost.wall_ms is -1"),
        ("/cost/rows", json!(-1), "-1"),
        ("/scores/combined/1", json!(null), "null"),
        ("/scores/combined/1", json!(1e200), "scores.combined[1]"),
        ("/method/parameters", json!([1]), "method.parameters"),
        ("/features/0/part", json!("Prompt"), "Prompt"),
    ];
    let schema = schema();
    for (path, wrong, says) in broken {
        let mut file = value(&fixtures::whole());
        *file.pointer_mut(path).unwrap() = wrong.clone();
        assert!(!schema.is_valid(&file), "the schema allows {wrong} at {path}");
        let error = parse(file.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{path}: {error}");
    }
}

#[test]
fn lengths_and_spans_that_disagree_are_refused_by_name() {
    let span = |start: usize, end: usize| json!({"start": start, "end": end});
    let broken: &[(&str, Value, &str)] = &[
        ("/scores/combined", json!([1.0]), "scores.combined has 1 entries for 5 features"),
        ("/scores/per_target_token", json!([[1.0]]), "scores.per_target_token has 1 rows for 5 features"),
        ("/scores/per_target_token/3", json!([1.0, 2.0]), "scores.per_target_token[3] has 2 entries for 1 target.tokens"),
        ("/scores/per_contrast_token/0", json!([]), "scores.per_contrast_token[0] has 0 entries for 1 target.contrast.tokens"),
        ("/target/contrast", json!(null), "target.contrast is not"),
        ("/features/2/span", span(4, 3), "features[2].span is 4..3"),
        ("/features/2/span", span(0, 25), "features[2].span is 0..25, input.text has 24 characters"),
        ("/features/1/positions", json!([1, 6]), "features[1].positions has 6, prompt and target have 6 tokens"),
        ("/input/tokens/0/span", span(30, 31), "input.tokens[0].span is 30..31"),
        ("/input/text", json!(null), "there is no input.text"),
        ("/input/second", span(4, 25), "input.second is 4..25"),
        ("/promises", json!([{"name": "x", "target_token": 1, "expected": 0, "got": 0}]), "promises[0].target_token is 1"),
        ("/target/tokens/0/span", span(0, 7), "target.tokens[0].span is 0..7, target.text has 6 characters"),
    ];
    for (path, wrong, says) in broken {
        let mut file = value(&fixtures::whole());
        *file.pointer_mut(path).unwrap() = wrong.clone();
        let error = parse(file.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{path}: {error}");
    }
    let mut crossed = value(&fixtures::plain());
    crossed["input"]["shown"] = json!([span(3, 9), span(5, 12)]);
    let error = parse(crossed.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("input.shown[1] starts at 5, before the previous part ends at 9"), "{error}");
}

#[test]
fn what_is_no_attribution_is_refused() {
    for bytes in [&b""[..], b"{}", b"null", b"\xff\xfe", b"{\"format\":", b"<!doctype html><p>", &[b'['; 100_000]] {
        assert!(parse(bytes).is_err());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.json");
    assert!(read(&path).unwrap_err().to_string().starts_with(&format!("cannot read {}", path.display())));
    assert!(!form("json").unwrap().binary());
}

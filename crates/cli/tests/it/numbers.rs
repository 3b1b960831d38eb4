//! Published numbers, reached through the command line: each flag means what the reference implementation's parameter means.

use std::fs;

use serde_json::Value as Json;

use crate::fixtures::{GPTJ, json_of, shown};

/// A tensor of the reference's file as f64.
fn expected(name: &str) -> Vec<f64> {
    let bytes = fs::read(format!("{GPTJ}/expected.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let info = serde_json::from_slice::<Json>(&bytes[8..header]).unwrap()[name].clone();
    let [start, end] = [0, 1].map(|i| header + info["data_offsets"][i].as_u64().unwrap() as usize);
    match info["dtype"].as_str() {
        Some("F32") => bytes[start..end].chunks(4).map(|c| f32::from_le_bytes(c.try_into().unwrap()).into()).collect(),
        Some("I64") => bytes[start..end].chunks(8).map(|c| i64::from_le_bytes(c.try_into().unwrap()) as f64).collect(),
        other => panic!("{name} has dtype {other:?}"),
    }
}

/// Scores of all 13 features for each of the 3 target tokens; none is 0, as the reference has it.
fn scores(more: &[&str]) -> Vec<f64> {
    let ids = ["--ids", "116,56,100,30,21,14,97,86,116,98,127", "--target-ids", "121,105,28", "--target-features", "--json"];
    let json = json_of(&[&["explain", "-m", GPTJ, "--mode", "min-shift-all"][..], &ids, more].concat());
    let rows = json["scores"]["per_target_token"].as_array().unwrap().iter();
    rows.flat_map(|row| row.as_array().unwrap()).map(|s| s.as_f64().unwrap_or(0.0)).collect()
}

/// The tolerance is the case's own; the reference counts the other way round where it subtracts cross-entropies.
fn agrees(name: &str, sign: f64, more: &[&str]) {
    let (got, expected) = (scores(more), expected(name));
    assert_eq!(got.len(), expected.len(), "{name}");
    for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert!((sign * got - expected).abs() < 5e-5, "{name}[{i}]: {got} {expected}");
    }
}

#[test]
fn flags_give_the_reference_s_numbers() {
    agrees("atman/min-shift-all/f0.1", -1.0, &[]);
    agrees("atman/min-shift-all/f0.1", -1.0, &["--compute", "f64"]);
    agrees("atman/min-shift-all/f0.1/logit-delta", 1.0, &["--score", "logit"]);
    agrees("atman/min-shift-all/f0.1/temperature2", -1.0, &["--temperature", "2"]);
    agrees("atman/min-shift-all/f0.0", -1.0, &["--factor", "0"]);
    agrees("atman/min-shift-all/f2.0", -1.0, &["--factor", "2"]);
    agrees("atman/min-shift-all/f0.1-layers", -1.0, &["--layers", "0,2"]);
}

#[test]
fn steered_generation_gives_the_reference_s_tokens() {
    let prompt =
        ["generate", "-m", GPTJ, "--ids", "116,56,100,30,21,14,97,86,116,98,127,121,105,28", "-n", "10", "--mode", "min-shift-all"];
    for (name, controls) in [
        ("generation/none", &[][..]),
        ("generation/suppress-2-5", &["--control", "2=0", "--control", "5=0.1"]),
        ("generation/amplify-3", &["--control", "3..4=5"]),
        ("generation/amplify-7-9-suppress-1", &["--control", "7=3", "--control", "9=3", "--control", "1=0"]),
    ] {
        let seen = shown(&[&prompt[..], controls].concat());
        let got: Vec<f64> = seen.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(got, expected(name), "{name}");
    }
}

//! What the methods refuse, and that they say which thing, which value and what would be right.

use pellucid_core::{FeaturePositions, Part, Question};
use pellucid_methods::{Atman, Similarity, find};
use serde_json::{Value as Json, json};

use crate::setup::{LLAMA, question};

/// The message for parameters that are refused before there is a model.
fn refused(method: &str, parameters: Json) -> String {
    let shown = parameters.to_string();
    match (find(method).unwrap().make)(parameters) {
        Ok(made) => panic!("{method} took {shown}: {made:?}"),
        Err(error) => error.to_string(),
    }
}

/// The message for parameters that do not suit the model or the question; the estimate says the same as the run.
fn does_not_suit(method: &str, parameters: Json, question: &Question) -> String {
    let method = (find(method).unwrap().make)(parameters).unwrap();
    let message = method.attribute(&LLAMA.engine(), question).unwrap_err().to_string();
    assert_eq!(method.estimate(&LLAMA.engine(), question).unwrap_err().to_string(), message);
    message
}

fn says(message: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in: {message}"));
    assert!(message.starts_with(|c: char| !c.is_uppercase()) && !message.ends_with('.'), "{message}");
}

#[test]
fn an_unknown_method_is_told_those_there_are() {
    let message = find("lime").err().unwrap().to_string();
    says(&message, &["`lime`", "atman", "occlusion", "random"]);
}

#[test]
fn an_unknown_parameter_is_told_those_there_are() {
    says(&refused("atman", json!({"faktor": 0.1})), &["parameters of atman", "`faktor`", "`factor`", "`mode`", "`layers`"]);
    says(&refused("atman", json!({"similarity": {"threshold": 0.5, "kappa": 1}})), &["`similarity`", "`kappa`", "`threshold`", "`limit`"]);
    says(&refused("occlusion", json!({"by": "zero"})), &["parameters of occlusion", "`by`", "`replace`"]);
    says(&refused("random", json!({"sead": 1})), &["parameters of random", "`sead`", "`seed`"]);
}

#[test]
fn parameters_are_an_object() {
    for parameters in [json!([0.1]), json!(null), json!("factor"), json!(0.1)] {
        for method in ["atman", "occlusion", "random"] {
            says(&refused(method, parameters.clone()), &[&format!("parameters of {method}"), &parameters.to_string(), "object"]);
        }
    }
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_parameter() {
    says(&refused("atman", json!({"mode": "multiply", "factor": null})), &["`factor` is null", "f64"]);
    says(&refused("atman", json!({"factor": "0.1"})), &["`factor` is \"0.1\"", "f64"]);
    says(&refused("atman", json!({"mode": "minshift"})), &["`mode` is \"minshift\"", "`log-additive`", "`min-shift-all`"]);
    says(&refused("atman", json!({"overlap": "half"})), &["`overlap` is \"half\"", "`partial`", "`complete`"]);
    says(&refused("atman", json!({"layers": [0, -1]})), &["`layers` is [0,-1]", "-1", "usize"]);
    says(&refused("atman", json!({"layers": 1})), &["`layers` is 1", "sequence"]);
    says(&refused("atman", json!({"similarity": 0.6})), &["`similarity` is 0.6"]);
    says(&refused("atman", json!({"similarity": {}})), &["`similarity` is {}", "`threshold`"]);
    says(&refused("atman", json!({"similarity": {"threshold": 0.6, "limit": -1}})), &["`similarity`", "-1"]);
    says(&refused("occlusion", json!({"replace": "mask"})), &["`replace` is \"mask\"", "`zero`", "`token`", "`delete`"]);
    says(&refused("occlusion", json!({"replace": {"token": -1}})), &["`replace`", "-1", "u32"]);
    says(&refused("occlusion", json!({"replace": {"token": 4294967296u64}})), &["`replace`", "4294967296", "u32"]);
    says(&refused("random", json!({"seed": 0.5})), &["`seed` is 0.5", "u64"]);
}

#[test]
fn a_factor_below_zero_or_not_finite_is_refused() {
    says(&refused("atman", json!({"factor": -1})), &["factor -1 ", "at least 0", "1 changes nothing"]);
    says(&refused("atman", json!({"factor": -1e-300})), &["factor -0.000", "at least 0"]);
    // JSON has neither NaN nor infinity: they come as null, which is refused above, or as a number too large for f64.
    let error = serde_json::from_str::<Atman>(r#"{"factor": 1e400}"#).unwrap_err();
    says(&error.to_string(), &["number out of range"]);
    for factor in [f64::NAN, f64::INFINITY, -1.0] {
        let made_by_hand = Atman { factor, ..Atman::default() };
        says(&made_by_hand.clone().checked().unwrap_err().to_string(), &[&format!("factor {factor} "), "finite", "at least 0"]);
        let message = pellucid_core::Method::attribute(&made_by_hand, &LLAMA.engine(), &question(&LLAMA)).unwrap_err().to_string();
        says(&message, &[&format!("factor {factor} ")]);
    }
    assert_eq!(serde_json::to_value(Atman { factor: f64::NAN, ..Atman::default() }).unwrap()["factor"], json!(null));
}

#[test]
fn a_similarity_that_is_none_is_refused() {
    for threshold in [-0.1, 1.1] {
        let message = refused("atman", json!({"similarity": {"threshold": threshold}}));
        says(&message, &[&format!("similarity threshold {threshold} "), "0 to 1"]);
    }
    says(&refused("atman", json!({"similarity": {"threshold": 0.5, "limit": 0}})), &["similarity limit", "0", "1 or more"]);
    let nan = Atman { similarity: Some(Similarity::new(f64::NAN)), ..Atman::default() };
    says(&nan.checked().unwrap_err().to_string(), &["similarity threshold NaN", "0 to 1"]);
}

#[test]
fn layers_that_are_none_or_beyond_the_model_are_refused() {
    says(&refused("atman", json!({"layers": []})), &["layers", "empty", "at least one"]);
    says(&does_not_suit("atman", json!({"layers": [0, 2]}), &question(&LLAMA)), &["layer 2 ", "2 layers", "0 to 1"]);
    // Made by hand and not checked, it is no silent heat map of zeros either.
    let made_by_hand = Atman { layers: Some(vec![]), ..Atman::default() };
    says(
        &pellucid_core::Method::attribute(&made_by_hand, &LLAMA.engine(), &question(&LLAMA)).unwrap_err().to_string(),
        &["layers", "empty"],
    );
}

#[test]
fn a_replacement_outside_the_vocabulary_is_refused() {
    says(&does_not_suit("occlusion", json!({"replace": {"token": 128}}), &question(&LLAMA)), &["token id 128 ", "128 tokens"]);
}

#[test]
fn what_cannot_be_deleted_is_named() {
    let delete = || json!({"replace": "delete"});
    let all = FeaturePositions { part: Part::Prompt, positions: (0..7).map(|p| (p, 1.0)).collect() };
    let whole = Question { features: vec![all], ..question(&LLAMA) };
    says(&does_not_suit("occlusion", delete(), &whole), &["all 7 tokens of the prompt", "replace", "smaller"]);
    // The shared question's features 7 and 8 are earlier target tokens.
    says(&does_not_suit("occlusion", delete(), &question(&LLAMA)), &["position 7 ", "target token", "replace"]);
}

#[test]
fn a_question_that_cannot_be_answered_says_why() {
    let ask = |change: &dyn Fn(&mut Question)| {
        let mut question = question(&LLAMA);
        change(&mut question);
        ["atman", "occlusion", "random"].map(|m| does_not_suit(m, json!({}), &question))
    };
    let all_say = |messages: [String; 3], parts: &[&str]| messages.iter().for_each(|m| says(m, parts));
    all_say(ask(&|q| q.prompt = Vec::new().into()), &["prompt", "empty", "at least one"]);
    all_say(ask(&|q| q.target.tokens.clear()), &["target", "no tokens", "at least one"]);
    all_say(ask(&|q| q.target.contrast = Some(vec![])), &["contrast", "no tokens", "at least one"]);
    all_say(ask(&|q| q.target.tokens[0] = 128), &["128", "128 tokens"]);
    all_say(ask(&|q| q.target.contrast = Some(vec![200])), &["200", "128 tokens"]);
    all_say(ask(&|q| q.features[3].positions[0].0 = 7), &["feature 3", "position 7", "7 tokens"]);
    all_say(ask(&|q| q.features[3].positions.clear()), &["feature 3", "no position"]);
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        all_say(ask(&|q| q.target.temperature = temperature), &["temperature", &temperature.to_string(), "above 0"]);
    }
}

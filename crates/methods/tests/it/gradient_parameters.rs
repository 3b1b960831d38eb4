//! What methods that take gradients refuse, and in which words.

use pellucid_core::{Method, Score};
use pellucid_methods::find;
use serde_json::{Value as Json, json};

use crate::cases::{engine, question};

fn made(method: &str, parameters: Json) -> Result<Box<dyn Method>, String> {
    (find(method).unwrap().make)(parameters).map_err(|e| e.to_string())
}

/// Why a question is not answered.
fn refused(case: &str, method: &str, parameters: Json) -> String {
    let method = match made(method, parameters) {
        Ok(method) => method,
        Err(message) => return message,
    };
    let question = question(case, Score::LogProbability);
    let estimate = method.estimate(&engine(case), &question).unwrap_err().to_string();
    assert_eq!(method.attribute(&engine(case), &question).unwrap_err().to_string(), estimate);
    estimate
}

fn says(message: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(message.contains(part), "{message:?} does not say {part:?}"));
}

#[test]
fn a_path_without_steps() {
    says(&refused("llama", "integrated-gradients", json!({"steps": 0})), &["0 steps", "give 1 to"]);
    says(
        &refused("llama", "integrated-gradients", json!({"steps": 1, "quadrature": "trapezoid"})),
        &["1 steps", "trapezoids", "give 2 to"],
    );
    says(&refused("llama", "integrated-gradients", json!({"steps": 1_000_000_000u64})), &["1000000000 steps", "10000"]);
    says(&refused("llama", "integrated-gradients", json!({"quadrature": "simpson"})), &["`quadrature`", "simpson", "gauss-legendre"]);
}

#[test]
fn a_baseline_that_is_no_token() {
    let baseline = |b: Json| refused("llama", "integrated-gradients", json!({"baseline": b}));
    says(&baseline(json!({"token": 128})), &["baseline token id 128", "128 tokens"]);
    says(&baseline(json!({"tokens": {"first": 1, "middle": 2, "last": 900}})), &["900"]);
    says(&baseline(json!("pad")), &["the tokenizer has no pad token", "{\"token\": ID}", "mean"]);
    says(&baseline(json!("mask")), &["the tokenizer has no mask token"]);
    says(&baseline(json!("black")), &["`baseline`", "black", "zero", "mean"]);
}

#[test]
fn noise_that_is_none() {
    says(&refused("bert", "smooth-grad", json!({"samples": 0})), &["0 samples", "give 1 to"]);
    says(&refused("bert", "smooth-grad", json!({"sigma": -0.1})), &["sigma is -0.1", "0 or above"]);
}

#[test]
fn signed_shares_and_word_embeddings_embedded_twice() {
    for method in ["saliency", "input-x-gradient", "integrated-gradients", "smooth-grad"] {
        says(&refused("bert", method, json!({"reduce": "sum", "normalize": "sum"})), &["signed scores", "absolute"]);
        says(&refused("bert", method, json!({"reduce": "max"})), &["`reduce`", "max", "l2"]);
        assert!(made(method, json!({"reduce": "sum", "absolute": true, "normalize": "sum"})).is_ok());
    }
    for method in ["saliency", "input-x-gradient", "integrated-gradients"] {
        says(&refused("bert", method, json!({"embedded": "twice"})), &["twice", "embedding-output"]);
    }
}

#[test]
fn layers_that_are_not_there() {
    let layers = engine("llama").model.description().layers;
    for method in ["attn-lrp", "cp-lrp", "gim"] {
        let message = refused("llama", method, json!({"at": {"hidden": layers}}));
        says(&message, &[&format!("layer {layers} is beyond the model, which has {layers} layers")]);
        says(&refused("llama", method, json!({"at": "output"})), &["`at`", "output", "word-embedding"]);
    }
    says(&refused("llama", "atman-gradient", json!({"layers": []})), &["layers is empty"]);
    says(&refused("llama", "atman-gradient", json!({"layers": [0, layers]})), &[&format!("layer {layers} is beyond")]);
}

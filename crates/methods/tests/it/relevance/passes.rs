//! How many walks, and how often weights are read.

use pellucid_core::{Model, Score};
use pellucid_methods::{METHODS, find};
use serde_json::json;

use super::{class, continuation, engine, model};
use crate::passes::{Reads, counting};

/// How often a layer's output projection is read whole.
fn times(reads: &Reads, model: &Model, layer: usize) -> usize {
    let (name, _) = model
        .architecture()
        .block_parameters(layer)
        .iter()
        .flat_map(|p| p.tensors())
        .find(|(n, _)| n.contains("out_proj") || n.ends_with("attention.output.dense.weight"))
        .unwrap();
    let (rows, _) = model.weights().info(&name).unwrap().matrix();
    reads.lock().unwrap().get(&name).copied().unwrap_or(0) / rows
}

#[test]
fn layers_are_read_once_on_the_way_up_and_once_more_as_far_down_as_is_needed() {
    let (model, reads) = counting("gptj");
    let mut engine = pellucid_core::Engine::new(&model);
    engine.max_memory = Some(1 << 30);
    let mut question = continuation(&[62, 99, 8], Score::Logit);
    for (method, parameters, expected) in [
        ("attention", json!({}), [1, 1, 2]),
        ("attention", json!({"layer": 1}), [1, 2, 2]),
        ("attention-rollout", json!({}), [2, 2, 2]),
        ("attention-rollout", json!({"start_layer": "last"}), [1, 1, 2]),
        ("attention-gradcam", json!({}), [2, 2, 4]),
        ("chefer", json!({}), [2, 2, 2]),
        ("chefer", json!({"start_layer": 1}), [1, 2, 2]),
    ] {
        reads.lock().unwrap().clear();
        question.target.contrast = (!method.starts_with("attention") || method == "attention-gradcam").then(|| vec![17, 99]);
        (find(method).unwrap().make)(parameters.clone()).unwrap().attribute(&engine, &question).unwrap();
        assert_eq!([0, 1, 2].map(|l| times(&reads, &model, l)), expected, "{method} {parameters}");
    }
}

/// Every method with its defaults: how often it decodes a layer's weights, and how many inputs it sends back. The walk up takes every layer once,
/// a walk down every layer once more; several inputs share a walk.
#[test]
fn every_method_reads_each_layer_as_often_as_it_says() {
    let (model, reads) = counting("gptj");
    let mut engine = pellucid_core::Engine::new(&model);
    engine.max_memory = Some(1 << 30);
    let question = continuation(&[62], Score::Logit);
    let walks = [
        ("atman", 1, 0),
        ("occlusion", 1, 0),
        ("random", 1, 0),
        ("atman-gradient", 2, 1),
        ("chefer", 2, 1),
        ("saliency", 2, 1),
        ("input-x-gradient", 2, 1),
        ("integrated-gradients", 3, 50), // both ends are scored on a walk up; then all steps share a walk, where they fit into memory
        ("smooth-grad", 3, 50),
        ("attn-lrp", 2, 1),
        ("cp-lrp", 2, 1),
        ("gim", 2, 1),
        ("attention-rollout", 2, 0),
        ("alti", 2, 0),
        ("vector-norms", 2, 0),
        ("value-zeroing", 2, 0),
        ("ifr", 2, 0),
        ("alti-logit", 2, 0),
        ("flash-trace", 1, 0), // every layer is summed alone, on the way up
    ];
    let elsewhere = ["attention", "attention-gradcam", "lrp", "decompx", "gradcam"]; // above; and those that do not fit this model, below
    assert_eq!(walks.len() + elsewhere.len(), METHODS.len(), "a method whose passes nobody counts");
    for (method, layers, backwards) in walks {
        reads.lock().unwrap().clear();
        let outcome = (find(method).unwrap().make)(json!({})).unwrap().attribute(&engine, &question).unwrap();
        assert_eq!([0, 1, 2].map(|l| times(&reads, &model, l)), [layers; 3], "{method}");
        assert_eq!(outcome.backwards, backwards, "{method}");
    }
    let (model, reads) = counting("vit");
    let gradcam = (find("gradcam").unwrap().make)(json!({})).unwrap();
    let got = gradcam.attribute(&pellucid_core::Engine::new(&model), &crate::cases::question("vit", Score::Logit)).unwrap();
    assert_eq!((got.backwards, [0, 1, 2].map(|l| times(&reads, &model, l))), (1, [2; 3]), "gradcam");
    let (model, reads) = counting("bert");
    engine = pellucid_core::Engine::new(&model);
    for (method, layers) in [("lrp", 2), ("decompx", 1)] {
        reads.lock().unwrap().clear();
        (find(method).unwrap().make)(json!({})).unwrap().attribute(&engine, &class(1)).unwrap();
        assert_eq!([0, 1, 2].map(|l| times(&reads, &model, l)), [layers; 3], "{method}");
    }
}

#[test]
fn an_input_is_sent_back_once_whatever_the_number_of_target_tokens() {
    let mut question = continuation(&[62, 99, 8], Score::Logit);
    let loaded = model("gpt2");
    for (method, expected) in [("attention", 0), ("attention-rollout", 0), ("attention-gradcam", 1), ("chefer", 1), ("lrp", 1)] {
        let method = (find(method).unwrap().make)(json!({})).unwrap();
        question.target.contrast = None;
        assert_eq!(method.attribute(&engine(&loaded), &question).unwrap().backwards, expected, "{method:?}");
        if expected == 0 {
            continue;
        }
        question.target.contrast = Some(vec![17, 99]);
        assert_eq!(method.attribute(&engine(&loaded), &question).unwrap().backwards, 2 * expected, "{method:?} with a contrast");
        let (bert, mut class) = (super::model("bert"), class(1));
        class.target.contrast = Some(vec![0]);
        assert_eq!(method.attribute(&engine(&bert), &class).unwrap().backwards, expected, "{method:?}: two classes share an input");
    }
}

#[test]
fn an_estimate_is_what_the_answer_costs() {
    for (case, mut question) in [("gpt2", continuation(&[62, 99, 8], Score::LogProbability)), ("bert", class(1))] {
        let loaded = model(case);
        for contrast in [None, Some(vec![2])] {
            question.target.contrast = contrast;
            let blind = ["attention", "attention-rollout"].into_iter().filter(|_| question.target.contrast.is_none());
            for method in ["attention-gradcam", "chefer", "lrp"].into_iter().chain(blind) {
                let method = (find(method).unwrap().make)(json!({})).unwrap();
                let estimate = method.estimate(&engine(&loaded), &question).unwrap();
                assert_eq!(method.attribute(&engine(&loaded), &question).unwrap().cost, estimate, "{case} {method:?}");
                assert!(estimate.peak_bytes > 0 && estimate.gflop > 0.0);
            }
        }
    }
}

#[test]
fn too_little_memory_is_refused_before_anything_is_run() {
    let (model, reads) = counting("gptj");
    let mut engine = pellucid_core::Engine::new(&model);
    engine.max_memory = Some(1000);
    for method in ["attention", "attention-rollout", "attention-gradcam", "chefer", "lrp"] {
        let method = (find(method).unwrap().make)(json!({})).unwrap();
        let message = method.attribute(&engine, &continuation(&[62], Score::Logit)).unwrap_err().to_string();
        assert!(message.contains("MiB"), "{message}");
    }
    assert!(reads.lock().unwrap().is_empty());
}

//! Rotary settings: old and new keys mean the same, nothing is taken for a default that was meant otherwise.

use serde_json::json;

use crate::checkpoint::{Checkpoint, furthest, says};

/// A case's model with other rotary settings.
fn llama(settings: serde_json::Value) -> Checkpoint {
    Checkpoint::case("llama").with("rope_parameters", settings)
}

#[test]
fn the_base_may_stand_inside_the_rotary_settings_or_beside_them() {
    let new = llama(json!({"rope_type": "default", "rope_theta": 500.0})).logits();
    let old = Checkpoint::case("llama").without("rope_parameters").with("rope_theta", 500.0).with("torch_dtype", "float16").logits();
    assert_eq!(old, new);
    assert!(furthest(&new, &Checkpoint::case("llama").logits()) > 1e-2, "the base matters");
    let neither = Checkpoint::case("llama").without("rope_parameters").with("rope_scaling", json!(null)).logits();
    assert_eq!(neither, Checkpoint::case("llama").logits(), "10000 is the default");
}

#[test]
fn a_scaling_may_stand_under_its_old_name() {
    let new = llama(json!({"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0})).logits();
    let old = Checkpoint::case("llama").without("rope_parameters").with("rope_theta", 500.0);
    assert_eq!(old.clone().with("rope_scaling", json!({"type": "linear", "factor": 2.0})).logits(), new);
    assert_eq!(old.clone().with("rope_scaling", json!({"rope_type": "linear", "factor": 2})).logits(), new);
    assert!(furthest(&old.logits(), &new) > 1e-3, "the scaling matters");
}

#[test]
fn the_turned_part_of_a_head_may_stand_under_its_old_name() {
    let case = || Checkpoint::case("gpt_neox");
    let new = case().with("rope_parameters", json!({"rope_type": "default", "partial_rotary_factor": 0.5, "rope_theta": 500.0})).logits();
    let old = case().without("rope_parameters").with("rotary_pct", 0.5).with("rotary_emb_base", 500).logits();
    assert_eq!(old, new);
    assert!(furthest(&new, &case().logits()) > 1e-3, "the part matters");
    let neither = case().without("rope_parameters").logits();
    assert_eq!(neither, case().logits(), "a quarter and 10000 are the defaults");
}

#[test]
fn a_head_that_cannot_be_turned_is_refused() {
    says(&Checkpoint::case("gptj").with("rotary_dim", 7).error(), &["7 numbers", "head of 16", "even"]);
    says(&Checkpoint::case("gptj").with("rotary_dim", 18).error(), &["18 numbers", "head of 16"]);
    says(&Checkpoint::case("llama").with("head_dim", 15).error(), &["15 numbers", "even"]);
    says(&Checkpoint::case("llama").with("head_dim", 1 << 20).error(), &["head of 1048576", "65536"]);
    for (part, dims) in [(0.1, 1), (2.0, 32), (-0.5, 0), (1e300, usize::MAX)] {
        let message = Checkpoint::case("gpt_neox").with("rope_parameters", json!({"partial_rotary_factor": part})).error();
        says(&message, &[&format!("{dims} numbers"), "head of 16"]);
    }
    let text = Checkpoint::case("gpt_neox").without("rope_parameters").with("rotary_pct", "0.5");
    says(&text.error(), &["`rotary_pct` is \"0.5\"", "not a number"]);
}

#[test]
fn a_base_that_is_none_is_refused_and_not_taken_for_the_default() {
    for base in [json!("10000"), json!([1e4]), json!(true)] {
        says(&llama(json!({"rope_theta": base})).error(), &[&format!("`rope_theta` is {base}"), "not a number"]);
    }
    for base in [0.0, -1.0, 1.0] {
        says(&llama(json!({"rope_theta": base})).error(), &["`rope_theta`", &format!("is {base},"), "above 1"]);
    }
}

#[test]
fn settings_of_another_form_are_refused_and_not_taken_for_none() {
    says(&llama(json!(5)).error(), &["`rope_parameters` is 5", "object"]);
    says(&Checkpoint::case("llama").with("rope_scaling", "linear").error(), &["`rope_scaling` is \"linear\"", "object"]);
    let each = json!({"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}});
    says(&llama(each).error(), &["`rope_parameters`", "`full_attention`", "one set"]);
    says(&llama(json!({"rope_type": 5})).error(), &["`rope_type` is 5", "name"]);
    says(&llama(json!({"rope_type": "longrope"})).error(), &["`longrope`", "linear", "llama3", "yarn"]);
    says(&llama(json!({"rope_type": "linear"})).error(), &["has no `factor`"]);
    says(&llama(json!({"rope_type": "linear", "factor": 0})).error(), &["`factor` 0", "above 0"]);
    says(&llama(json!({"rope_type": "linear", "factor": "2"})).error(), &["`factor` is \"2\"", "not a number"]);
    let yarn = |key: &str, value: f64| llama(json!({"rope_type": "yarn", "factor": 4.0, key: value})).error();
    for key in ["original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor"] {
        says(&yarn(key, -1.0), &[&format!("`{key}` -1"), "above 0"]);
        says(&yarn(key, 0.0), &[&format!("`{key}` 0"), "above 0"]);
    }
    says(&llama(json!({"rope_type": "linear", "factor": 1e-320})).error(), &["`linear`", "no finite frequencies"]);
    says(&llama(json!({"rope_type": "factors", "factors": [1, 2, 3]})).error(), &["8 numbers above 0"]);
    says(&llama(json!({"rope_type": "factors", "factors": [1, 2, 3, 4, 5, 6, 7, 0]})).error(), &["8 numbers above 0"]);
}

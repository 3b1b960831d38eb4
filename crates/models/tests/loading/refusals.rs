//! GGUF files that are refused, by name.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    checkpoint::{Tensor, error, says},
    gguf::{case, convert, written},
    writers::{GgufFile, Value},
};

fn refused(file: &GgufFile) -> String {
    error(written(file).path())
}

/// The message for a file of the llama case with one value of its metadata set.
fn with(key: &str, value: Value) -> String {
    let mut file = convert(&case("llama"));
    file.set(&format!("llama.{key}"), value);
    refused(&file)
}

#[test]
fn an_unknown_architecture_is_told_those_there_are() {
    let mut file = convert(&case("llama"));
    file.set("general.architecture", Value::Text("mamba"));
    says(&refused(&file), &["`mamba`", "gpt2", "llama", "qwen2"]);
    file.set("general.architecture", Value::U32(3));
    says(&refused(&file), &["`general.architecture` is 3", "a string"]);
    file.remove("general.architecture");
    says(&refused(&file), &["no metadata `general.architecture`"]);
}

#[test]
fn metadata_that_must_be_there_is_missed_by_name() {
    let required: [(&str, &[&str]); 3] = [
        (
            "llama",
            &[
                "embedding_length",
                "block_count",
                "attention.head_count",
                "feed_forward_length",
                "context_length",
                "attention.layer_norm_rms_epsilon",
            ],
        ),
        (
            "qwen2",
            &[
                "embedding_length",
                "block_count",
                "attention.head_count",
                "feed_forward_length",
                "context_length",
                "attention.layer_norm_rms_epsilon",
            ],
        ),
        ("gpt2", &["embedding_length", "block_count", "attention.head_count", "context_length"]),
    ];
    for (name, keys) in required {
        for key in keys {
            let mut file = convert(&case(name));
            file.remove(&format!("{name}.{key}"));
            says(&refused(&file), &["model.gguf", &format!("no metadata `{name}.{key}`")]);
        }
    }
}

#[test]
fn metadata_of_another_type_is_named_with_its_value() {
    says(&with("block_count", Value::Text("two")), &["`llama.block_count` is \"two\"", "number"]);
    says(&with("attention.head_count", Value::U32s(vec![4, 4])), &["`llama.attention.head_count` is an array of integers", "number"]);
    says(&with("attention.head_count_kv", Value::U32s(vec![2, 2])), &["`llama.attention.head_count_kv` is an array of integers", "number"]);
    says(&with("attention.layer_norm_rms_epsilon", Value::F32(f32::NAN)), &["`llama.attention.layer_norm_rms_epsilon` is NaN", "finite"]);
    says(&with("attention.layer_norm_rms_epsilon", Value::F32(-1.0)), &["`rms_norm_eps` is -1", "above 0"]);
    says(&with("rope.freq_base", Value::F32(f32::INFINITY)), &["`llama.rope.freq_base` is inf", "finite"]);
    says(&with("rope.freq_base", Value::F32(0.5)), &["`rope_theta`", "0.5", "above 1"]);
    says(&with("rope.scaling.type", Value::U32(1)), &["`llama.rope.scaling.type` is 1", "a string"]);
    says(&with("rope.scaling.type", Value::Text("longrope")), &["`longrope`", "not supported"]);
    says(&with("rope.scaling.factor", Value::F32(f32::NAN)), &["`llama.rope.scaling.factor` is NaN", "finite"]);
    says(&with("block_count", Value::F32(2.0)), &["`num_hidden_layers` is 2.0", "whole number"]);
}

#[test]
fn a_wrong_number_of_heads_is_refused() {
    says(&with("attention.head_count", Value::U32(3)), &["`llama.rope.dimension_count` is 16", "3 heads", "21 numbers"]);
    says(&with("attention.head_count", Value::U32(0)), &["0 heads"]);
    let mut file = convert(&case("llama"));
    file.remove("llama.rope.dimension_count");
    file.set("llama.attention.head_count", Value::U32(3));
    says(&refused(&file), &["`blk.0.attn_q.weight`", "[64, 64]", "3 heads"]);
    file.set("llama.attention.head_count", Value::U32(2));
    says(&refused(&file), &["tensor `model.layers.0.self_attn.k_proj.weight`", "[32, 64]", "[64, 64]"]);
    says(&with("attention.head_count_kv", Value::U32(0)), &["0 heads"]);
    says(&with("attention.head_count_kv", Value::U32(3)), &["`blk.0.attn_k.weight`", "[32, 64]", "3 heads"]);
    says(&with("attention.head_count_kv", Value::U32(4)), &["`model.layers.0.self_attn.k_proj.weight`", "[32, 64]", "[64, 64]"]);
    says(&with("attention.head_count_kv", Value::U32(u32::MAX)), &["4294967295 heads"]);
    // Twice the heads at half the width fit every shape; only the rotary width tells.
    let mut file = convert(&case("llama"));
    file.set("llama.attention.head_count", Value::U32(8));
    file.set("llama.attention.head_count_kv", Value::U32(4));
    says(&refused(&file), &["`llama.rope.dimension_count` is 16", "8 numbers"]);
    says(&with("rope.dimension_count", Value::U32(8)), &["`llama.rope.dimension_count` is 8", "16 numbers"]);
}

#[test]
fn sizes_that_fit_nothing_are_refused_quickly() {
    for key in ["block_count", "embedding_length", "feed_forward_length", "attention.head_count", "attention.key_length"] {
        for size in [0, 1_000_000_000, u32::MAX] {
            let begin = Instant::now();
            with(key, Value::U32(size));
            assert!(begin.elapsed() < Duration::from_secs(5), "{key} {size}: {:?}", begin.elapsed());
        }
    }
    says(&with("block_count", Value::U32(1_000_000_000)), &["`num_hidden_layers` is 1000000000", "1 to 10000"]);
    says(&with("embedding_length", Value::U32(128)), &["`llama.rope.dimension_count` is 16", "32 numbers"]);
    says(&with("feed_forward_length", Value::U32(64)), &["tensor `", "[64, 128]", "[64, 64]"]);
    says(&with("block_count", Value::U32(3)), &["tensor `model.layers.2.", "is missing"]);
    says(&with("block_count", Value::U32(1)), &["tensor `model.layers.1.", "no use for it"]);
}

#[test]
fn a_missing_or_extra_tensor_is_named() {
    for name in ["llama", "qwen2", "gpt2"] {
        let whole = convert(&case(name));
        for i in 0..whole.tensors.len() {
            let mut file = whole.clone();
            let (gone, tensor) = file.tensors.remove(i);
            if gone == "output.weight" {
                continue; // then it is tied
            }
            let message = refused(&file);
            says(&message, &["tensor `", "is missing from the weights"]);
            if gone != "token_embd.weight" && gone != "blk.0.attn_q.bias" {
                says(&message, &[&format!("{:?}", tensor.shape)]);
            }
        }
        for extra in ["blk.0.attn_rot.weight", "blk.0.ffn_gate_inp.weight", "foo", "blk.9.attn_norm.weight"] {
            let mut file = whole.clone();
            file.tensors.push((extra.into(), Tensor::zeros(&[4])));
            let shown = if extra == "blk.9.attn_norm.weight" { "9." } else { extra };
            says(&refused(&file), &["tensor `", shown, "no use for it"]);
        }
    }
}

#[test]
fn one_of_several_files_in_a_folder_must_be_named() {
    let folder = written(&convert(&case("llama")));
    fs::copy(folder.path().join("model.gguf"), folder.path().join("other.gguf")).unwrap();
    says(&error(folder.path()), &["several GGUF files", "name one"]);
}

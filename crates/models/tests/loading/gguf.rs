//! GGUF files give the logits of the safetensors they were made from, to the last bit. They are written here as llama.cpp's converter
//! writes them: metadata for the config, other names, rotary pairs side by side (llama), matrices the usual way round (gpt2).

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::{
    checkpoint::{Checkpoint, Tensor, error, furthest, logits, opened, says},
    writers::{GgufFile, Value},
};

/// A checkpoint whose numbers GGUF can hold: its floats have 32 bits.
pub(crate) fn case(name: &str) -> Checkpoint {
    let checkpoint = Checkpoint::case(name);
    let epsilon = if name == "gpt2" { "layer_norm_epsilon" } else { "rms_norm_eps" };
    let exact = f64::from(checkpoint.config[epsilon].as_f64().unwrap() as f32);
    checkpoint.with(epsilon, exact)
}

pub(crate) fn convert(checkpoint: &Checkpoint) -> GgufFile {
    let kind: &'static str = match checkpoint.config["model_type"].as_str().unwrap() {
        "llama" => "llama",
        "qwen2" => "qwen2",
        "gpt2" => "gpt2",
        other => panic!("{other} is not written here"),
    };
    let mut file = GgufFile::default();
    file.set("general.architecture", Value::Text(kind));
    let size = |key: &str| checkpoint.config[key].as_u64().unwrap() as u32;
    let number = |key: &str| checkpoint.config[key].as_f64().unwrap() as f32;
    let mut set = |key: &str, value: Value| file.set(&format!("{kind}.{key}"), value);
    set("vocab_size", Value::U32(size("vocab_size")));
    if kind == "gpt2" {
        set("embedding_length", Value::U32(size("n_embd")));
        set("block_count", Value::U32(size("n_layer")));
        set("attention.head_count", Value::U32(size("n_head")));
        set("feed_forward_length", Value::U32(4 * size("n_embd")));
        set("context_length", Value::U32(size("n_positions")));
        set("attention.layer_norm_epsilon", Value::F32(number("layer_norm_epsilon")));
    } else {
        set("embedding_length", Value::U32(size("hidden_size")));
        set("block_count", Value::U32(size("num_hidden_layers")));
        set("attention.head_count", Value::U32(size("num_attention_heads")));
        set("attention.head_count_kv", Value::U32(size("num_key_value_heads")));
        set("feed_forward_length", Value::U32(size("intermediate_size")));
        set("context_length", Value::U32(size("max_position_embeddings")));
        set("attention.layer_norm_rms_epsilon", Value::F32(number("rms_norm_eps")));
        set("rope.freq_base", Value::F32(checkpoint.config["rope_parameters"]["rope_theta"].as_f64().unwrap() as f32));
        set("rope.dimension_count", Value::U32(size("hidden_size") / size("num_attention_heads")));
    }
    for (name, tensor) in &checkpoint.tensors {
        let tensor = match name {
            n if kind == "llama" && n.contains(".q_proj.") => pairs_side_by_side(tensor, size("num_attention_heads") as usize),
            n if kind == "llama" && n.contains(".k_proj.") => pairs_side_by_side(tensor, size("num_key_value_heads") as usize),
            n if kind == "gpt2" && ["c_attn.weight", "c_proj.weight", "c_fc.weight"].iter().any(|e| n.ends_with(e)) => transposed(tensor),
            _ => tensor.clone(),
        };
        file.tensors.push((gguf_name(name), tensor));
    }
    file
}

fn gguf_name(name: &str) -> String {
    const NAMES: [(&str, &str); 24] = [
        ("model.embed_tokens.", "token_embd."),
        ("model.norm.", "output_norm."),
        ("lm_head.", "output."),
        ("model.layers.", "blk."),
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("transformer.wte.", "token_embd."),
        ("transformer.wpe.", "position_embd."),
        ("transformer.ln_f.", "output_norm."),
        ("transformer.h.", "blk."),
        ("ln_1", "attn_norm"),
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("ln_2", "ffn_norm"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
        ("", ""),
    ];
    NAMES.iter().fold(name.to_owned(), |name, (theirs, gguf)| if theirs.is_empty() { name } else { name.replace(theirs, gguf) })
}

/// Rows reshaped to `(heads, 2, half)`, the last two axes swapped: the members of a pair, half a head apart, come side by side.
fn pairs_side_by_side(tensor: &Tensor, heads: usize) -> Tensor {
    let values = tensor.values();
    let columns = if tensor.shape.len() == 1 { 1 } else { tensor.shape[1] };
    let half = tensor.shape[0] / heads / 2;
    let mut out = Vec::new();
    for head in 0..heads {
        for pair in 0..half {
            for member in 0..2 {
                let row = (head * 2 + member) * half + pair;
                out.extend_from_slice(&values[row * columns..(row + 1) * columns]);
            }
        }
    }
    Tensor::new(&tensor.shape, &out)
}

fn transposed(tensor: &Tensor) -> Tensor {
    let (rows, columns) = (tensor.shape[0], tensor.shape[1]);
    let values = tensor.values();
    let turned: Vec<f32> = (0..rows * columns).map(|i| values[i % rows * columns + i / rows]).collect();
    Tensor::new(&[columns, rows], &turned)
}

pub(crate) fn written(file: &GgufFile) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("model.gguf"), file.bytes()).unwrap();
    folder
}

fn gguf_logits(file: &GgufFile) -> Vec<f64> {
    logits(written(file).path())
}

#[test]
fn a_gguf_file_gives_the_logits_of_the_safetensors_it_was_made_from() {
    for name in ["llama", "qwen2", "gpt2"] {
        let checkpoint = case(name);
        let folder = written(&convert(&checkpoint));
        assert_eq!(logits(folder.path()), checkpoint.logits(), "{name}");
        assert_eq!(logits(&folder.path().join("model.gguf")), checkpoint.logits(), "{name} by its file");
        let record = opened(folder.path()).unwrap().record;
        assert_eq!((record.architecture.as_str(), record.files[0].name.as_str()), (name, "model.gguf"));
    }
}

#[test]
fn only_llama_s_rotary_pairs_are_taken_for_side_by_side() {
    let (llama, qwen2) = (case("llama"), case("qwen2"));
    let mut file = convert(&llama);
    for (name, tensor) in &mut file.tensors {
        if name.contains("attn_q") || name.contains("attn_k") {
            *tensor = pairs_side_by_side(tensor, tensor.shape[0] / 16);
        }
    }
    assert!(furthest(&gguf_logits(&file), &llama.logits()) > 1e-2, "the order of rows matters");
    let mut file = convert(&qwen2);
    for (name, tensor) in file.tensors.iter_mut().filter(|(n, _)| n.contains("attn_q")) {
        assert!(name.starts_with("blk."));
        *tensor = pairs_side_by_side(tensor, 4);
    }
    assert!(furthest(&gguf_logits(&file), &qwen2.logits()) > 1e-2, "the order of rows matters");
}

#[test]
fn biases_of_queries_and_keys_are_stored_side_by_side_too() {
    let mut llama = case("llama").with("attention_bias", true);
    for layer in 0..2 {
        for (map, width) in [("q", 64), ("k", 32), ("v", 32), ("o", 64)] {
            let values: Vec<f32> = (0..width).map(|i| ((i * 7 + layer) % 13) as f32 / 13.0).collect();
            llama.tensors.insert(format!("model.layers.{layer}.self_attn.{map}_proj.bias"), Tensor::new(&[width], &values));
        }
    }
    assert_eq!(gguf_logits(&convert(&llama)), llama.logits());
    assert!(furthest(&llama.logits(), &case("llama").logits()) > 1e-2, "the biases matter");
}

#[test]
fn a_file_without_an_unembedding_is_tied() {
    let mut file = convert(&case("llama"));
    file.tensors.retain(|(name, _)| name != "output.weight");
    assert_eq!(gguf_logits(&file), case("llama").with("tie_word_embeddings", true).logits());
    // Older converters store the table twice.
    let mut file = convert(&case("gpt2"));
    let table = file.tensors.iter().find(|(name, _)| name == "token_embd.weight").unwrap().1.clone();
    file.tensors.push(("output.weight".into(), table));
    assert_eq!(gguf_logits(&file), case("gpt2").logits());
}

#[test]
fn metadata_that_may_be_left_out_has_the_usual_defaults() {
    let mut file = convert(&case("llama"));
    file.remove("llama.rope.freq_base");
    file.remove("llama.rope.dimension_count");
    assert_eq!(gguf_logits(&file), case("llama").logits(), "10000 is the usual base");
    let mut file = convert(&case("gpt2"));
    file.remove("gpt2.feed_forward_length");
    assert_eq!(gguf_logits(&file), case("gpt2").logits(), "4 times the width");
    let mut file = convert(&case("llama"));
    file.set("llama.attention.key_length", Value::U32(16));
    assert_eq!(gguf_logits(&file), case("llama").logits());
}

#[test]
fn the_rotary_base_and_its_scalings_are_taken_from_the_metadata() {
    let expected = |settings| case("llama").with("rope_parameters", settings).logits();
    let written = |values: &[(&str, Value)]| {
        let mut file = convert(&case("llama"));
        values.iter().for_each(|(key, value)| file.set(&format!("llama.rope.{key}"), value.clone()));
        gguf_logits(&file)
    };
    let plain = case("llama").logits();
    assert_eq!(written(&[("freq_base", Value::F32(500.0))]), expected(json!({"rope_theta": 500.0})));
    assert_eq!(written(&[("scaling.type", Value::Text("none"))]), plain);

    let linear = expected(json!({"rope_type": "linear", "factor": 2.0}));
    assert!(furthest(&linear, &plain) > 1e-3, "the scaling matters");
    assert_eq!(written(&[("scaling.type", Value::Text("linear")), ("scaling.factor", Value::F32(2.0))]), linear);
    assert_eq!(written(&[("scaling.factor", Value::F32(2.0))]), linear, "a factor alone is linear");
    assert_eq!(written(&[("scale_linear", Value::F32(2.0))]), linear, "its older name");

    let yarn = expected(json!({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}));
    let file =
        [("scaling.type", Value::Text("yarn")), ("scaling.factor", Value::F32(2.0)), ("scaling.original_context_length", Value::U32(32))];
    assert_eq!(written(&file), yarn);
}

#[test]
fn long_context_factors_are_a_tensor_of_one_number_a_pair() {
    let factors: Vec<f32> = (0..8).map(|i| 1.0 + i as f32).collect();
    let mut file = convert(&case("llama"));
    file.tensors.push(("rope_freqs.weight".into(), Tensor::new(&[8], &factors)));
    let expected = case("llama").with("rope_parameters", json!({"rope_type": "factors", "factors": factors})).logits();
    assert_eq!(gguf_logits(&file), expected);
    assert!(furthest(&expected, &case("llama").logits()) > 1e-3, "they matter");
    for wrong in [Tensor::new(&[4], &factors[..4]), Tensor::zeros(&[8]), Tensor::new(&[8], &[f32::NAN; 8])] {
        file.tensors.last_mut().unwrap().1 = wrong;
        says(&error(written(&file).path()), &["factors", "8 numbers above 0"]);
    }
    file.tensors.last_mut().unwrap().1 = Tensor::zeros(&[2, 4]);
    says(&error(written(&file).path()), &["`rope_freqs.weight`", "[2, 4]", "one factor per rotary pair"]);
}

//! Configs that make no sense: the key, its value and what would be right are named, and nothing large is built first.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::checkpoint::{ALL, Checkpoint, error, says};

/// Sizes that an architecture reads, the required ones first, and how many of them are required.
fn sizes(case: &str) -> (&'static [&'static str], usize) {
    match case {
        "gpt2" => (&["n_embd", "n_layer", "n_head", "n_positions", "vocab_size", "n_inner"], 5),
        "gptj" => (&["n_embd", "n_layer", "n_head", "n_positions", "vocab_size", "n_inner", "rotary_dim"], 5),
        "gpt_neox" => {
            let all =
                &["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "max_position_embeddings"];
            (all, 6)
        }
        _ => {
            let all = &[
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
                "vocab_size",
                "num_key_value_heads",
                "head_dim",
                "max_position_embeddings",
            ];
            (all, 5)
        }
    }
}

#[test]
fn a_size_that_is_none_is_refused_with_its_key_and_value() {
    let bad = [json!(0), json!(-1), json!("64"), json!(1e18), json!(10u64.pow(18)), json!(u64::MAX), json!(1.5), json!(true), json!([64])];
    for case in ALL {
        let checkpoint = Checkpoint::case(case);
        for key in sizes(case).0 {
            for value in &bad {
                says(&checkpoint.clone().with(key, value.clone()).error(), &[&format!("`{key}` is {value},"), "whole number from 1 to "]);
            }
        }
    }
}

#[test]
fn a_size_that_must_be_there_is_missed_by_name() {
    for case in ALL {
        let (keys, required) = sizes(case);
        for key in &keys[..required] {
            let expected = format!("the config has no `{key}`");
            assert_eq!(Checkpoint::case(case).without(key).error(), expected);
            assert_eq!(Checkpoint::case(case).with(key, Json::Null).error(), expected, "null is as good as missing");
        }
    }
}

#[test]
fn a_huge_size_is_refused_before_anything_of_that_size_is_built() {
    for case in ALL {
        let (keys, _) = sizes(case);
        for key in keys.iter().filter(|k| **k != "max_position_embeddings" && (case, **k) != ("gptj", "n_positions")) {
            for huge in [1u64 << 30, (1 << 31) - 1, 1_000_000_000] {
                let begin = Instant::now();
                let message = Checkpoint::case(case).with(key, huge).error();
                assert!(begin.elapsed() < Duration::from_secs(5), "{case} {key}: {:?}", begin.elapsed());
                // The key where it alone is wrong, or the first tensor that is not so large.
                let named = [&format!("`{key}`")[..], "tensor `", "a head of ", "rotary embedding of "].iter().any(|n| message.contains(n));
                assert!(named, "{case} {key}: {message}");
            }
        }
        let layers = keys[1];
        says(&Checkpoint::case(case).with(layers, 1_000_000_000).error(), &[&format!("`{layers}` is 1000000000,"), "1 to 10000"]);
        let begin = Instant::now();
        says(&Checkpoint::case(case).with(layers, 10_000).error(), &["tensor `", ".10", "is missing"]);
        assert!(begin.elapsed() < Duration::from_secs(5), "{case}: {:?}", begin.elapsed());
    }
}

#[test]
fn a_context_of_any_length_takes_no_memory_by_itself() {
    for case in ["gptj", "gpt_neox", "llama", "qwen2"] {
        let long = Checkpoint::case(case).with(if case == "gptj" { "n_positions" } else { "max_position_embeddings" }, 1u64 << 30);
        assert_eq!(long.logits(), Checkpoint::case(case).logits(), "{case}");
    }
}

#[test]
fn heads_that_do_not_divide_are_refused_with_both_numbers() {
    says(&Checkpoint::case("gpt2").with("n_head", 5).error(), &["`n_embd` (64)", "`n_head` (5)", "multiple"]);
    says(&Checkpoint::case("gptj").with("n_head", 3).error(), &["`n_embd` (64)", "`n_head` (3)", "multiple"]);
    says(&Checkpoint::case("gpt_neox").with("num_attention_heads", 6).error(), &["`hidden_size` (64)", "`num_attention_heads` (6)"]);
    let uneven = Checkpoint::case("llama").without("head_dim").with("num_attention_heads", 6);
    says(&uneven.error(), &["`hidden_size` (64)", "`num_attention_heads` (6)"]);
    for case in ["llama", "qwen2"] {
        let message = Checkpoint::case(case).with("num_key_value_heads", 3).error();
        says(&message, &["`num_attention_heads` (4)", "`num_key_value_heads` (3)", "multiple"]);
        says(&Checkpoint::case(case).with("num_key_value_heads", 8).error(), &["`num_attention_heads` (4)", "`num_key_value_heads` (8)"]);
    }
}

#[test]
fn an_epsilon_that_is_none_is_refused() {
    for case in ALL {
        let key = match case {
            "llama" | "qwen2" => "rms_norm_eps",
            "gpt_neox" => "layer_norm_eps",
            _ => "layer_norm_epsilon",
        };
        for value in [json!(-1e-5), json!(0.0)] {
            says(&Checkpoint::case(case).with(key, value).error(), &[&format!("`{key}` is "), "a number above 0"]);
        }
        says(&Checkpoint::case(case).with(key, "1e-5").error(), &[&format!("`{key}` is \"1e-5\""), "not a number"]);
        assert!(Checkpoint::case(case).without(key).logits().len() > 1, "{case}: it has a default");
    }
}

#[test]
fn an_unknown_or_missing_architecture_is_told_those_there_are() {
    let mamba = Checkpoint::case("llama").with("model_type", "mamba").error();
    says(&mamba, &["`mamba`", "gpt2", "gpt_neox", "gptj", "llama", "qwen2"]);
    says(&Checkpoint::case("llama").without("model_type").error(), &["`model_type` is missing", "\"llama\""]);
    says(&Checkpoint::case("llama").with("model_type", 5).error(), &["`model_type` is 5", "\"llama\""]);
}

#[test]
fn an_option_that_no_architecture_here_has_is_refused() {
    says(&Checkpoint::case("llama").with("hidden_act", "mish").error(), &["`mish`", "silu", "gelu"]);
    says(&Checkpoint::case("llama").with("hidden_act", 1).error(), &["`hidden_act` is 1", "not a name"]);
    says(&Checkpoint::case("llama").with("tie_word_embeddings", "no").error(), &["`tie_word_embeddings` is \"no\"", "true or false"]);
    says(&Checkpoint::case("gpt2").with("add_cross_attention", true).error(), &["cross-attention", "not supported"]);
    says(&Checkpoint::case("qwen2").with("use_sliding_window", true).error(), &["sliding window", "not supported"]);
}

#[test]
fn a_config_that_is_no_json_object_is_refused_by_its_path() {
    let folder = Checkpoint::case("llama").folder();
    let path = folder.path().join("config.json");
    for (text, problem) in [
        ("", "not JSON"),
        ("{\"model_type\": \"llama\"", "not JSON"),
        ("{\"model_type\": \"llama\", \"rms_norm_eps\": NaN}", "not JSON"),
        ("{\"rms_norm_eps\": 1e999}", "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ("\"llama\"", "not a JSON object"),
        ("null", "not a JSON object"),
    ] {
        std::fs::write(&path, text).unwrap();
        says(&error(folder.path()), &["config.json", problem]);
    }
    std::fs::write(&path, " ".repeat((16 << 20) + 1)).unwrap();
    says(&error(folder.path()), &["config.json", "16777217 bytes", "larger than any real one"]);
    std::fs::write(&path, "[".repeat(1 << 20)).unwrap();
    says(&error(folder.path()), &["config.json", "not JSON"]);
    std::fs::remove_file(&path).unwrap();
    says(&error(folder.path()), &["cannot read", "config.json"]);
}

//! Tensors against configs: each one is accounted for.

use safetensors::Dtype;

use crate::checkpoint::{ALL, Checkpoint, Tensor, furthest, says, try_logits};

/// What checkpoints of a case may leave off the names of their tensors.
fn prefix(case: &str) -> &'static str {
    match case {
        "gpt2" | "gptj" => "transformer.",
        "gpt_neox" => "gpt_neox.",
        _ => "model.",
    }
}

#[test]
fn every_missing_tensor_is_missed_by_name_and_shape() {
    for case in ALL {
        let whole = Checkpoint::case(case);
        for (name, tensor) in &whole.tensors {
            let mut checkpoint = whole.clone();
            checkpoint.tensors.remove(name);
            assert_eq!(checkpoint.error(), format!("tensor `{name}` {:?} is missing from the weights", tensor.shape));
        }
    }
}

#[test]
fn every_tensor_of_another_shape_is_refused_with_both_shapes() {
    for case in ALL {
        let whole = Checkpoint::case(case);
        for (name, Tensor { shape, .. }) in &whole.tensors {
            let longer = [&[shape[0] + 1], &shape[1..]].concat();
            let flat = vec![shape.iter().product::<usize>(), 1];
            let mut turned = shape.clone();
            turned.reverse();
            for other in [longer, flat, turned].iter().filter(|s| *s != shape) {
                let mut checkpoint = whole.clone();
                checkpoint.tensors.insert(name.clone(), Tensor::zeros(other));
                assert_eq!(checkpoint.error(), format!("tensor `{name}` has shape {other:?}, the config asks for {shape:?}"));
            }
        }
    }
}

#[test]
fn every_extra_tensor_is_named_with_the_architecture() {
    for case in ALL {
        let layers = if case.starts_with("gpt") && case != "gpt_neox" { "n_layer" } else { "num_hidden_layers" };
        says(&Checkpoint::case(case).with(layers, 1).error(), &["tensor `", "1.", "is in the weights", case]);
        for extra in ["foo", "model.layers.0.self_attn.q_proj.lora_A.weight", "model.layers.0.self_attn.q_norm.weight"] {
            let mut checkpoint = Checkpoint::case(case);
            checkpoint.tensors.insert(format!("{}{extra}", prefix(case)), Tensor::zeros(&[3]));
            says(&checkpoint.error(), &[&format!("tensor `{}{extra}`", prefix(case)), "no use for it", case]);
        }
    }
    // Nearly a buffer's name, and a bias that the config does not speak of.
    let mut checkpoint = Checkpoint::case("llama");
    checkpoint.tensors.insert("model.layers.0.self_attn.q_proj.bias".into(), Tensor::zeros(&[64]));
    says(&checkpoint.error(), &["`model.layers.0.self_attn.q_proj.bias`", "no use for it"]);
    says(&Checkpoint::case("llama").with("attention_bias", true).error(), &["`model.layers.0.self_attn.k_proj.bias` [32]", "missing"]);
}

#[test]
fn a_tied_unembedding_is_the_token_table() {
    for (case, table, head) in
        [("llama", "model.embed_tokens.weight", "lm_head.weight"), ("gpt_neox", "gpt_neox.embed_in.weight", "embed_out.weight")]
    {
        let mut untied = Checkpoint::case(case);
        untied.tensors.insert(head.into(), untied.tensors[table].clone());
        let expected = untied.logits();
        // Stored a second time, it is passed over; not stored, it is not missed.
        let mut tied = untied.clone().with("tie_word_embeddings", true);
        assert_eq!(tied.logits(), expected, "{case}");
        tied.tensors.remove(head);
        assert_eq!(tied.logits(), expected, "{case}");
        assert!(furthest(&expected, &Checkpoint::case(case).logits()) > 1.0, "{case}: the unembedding matters");
    }
    for case in ["gpt2", "qwen2"] {
        let tied = Checkpoint::case(case);
        says(&tied.clone().with("tie_word_embeddings", false).error(), &["tensor `lm_head.weight` [128, 64] is missing"]);
        let mut twice = tied.clone();
        twice.tensors.insert("lm_head.weight".into(), tied.tensors.values().find(|t| t.shape == [128, 64]).unwrap().clone());
        assert_eq!(twice.logits(), tied.logits(), "{case}");
        assert_eq!(twice.with("tie_word_embeddings", false).logits(), tied.logits(), "{case}");
    }
    let mut gptj = Checkpoint::case("gptj").with("tie_word_embeddings", true);
    gptj.tensors.remove("lm_head.weight");
    says(&gptj.error(), &["tensor `lm_head.bias`", "no use for it"]);
}

#[test]
fn names_without_their_prefix_are_understood() {
    for case in ALL {
        let whole = Checkpoint::case(case);
        let mut bare = whole.clone();
        bare.tensors = whole.tensors.iter().map(|(n, t)| (n.strip_prefix(prefix(case)).unwrap_or(n).to_owned(), t.clone())).collect();
        assert_ne!(bare.tensors.keys().next(), whole.tensors.keys().next());
        assert_eq!(bare.logits(), whole.logits(), "{case}");
        // Half and half is no checkpoint.
        let (name, tensor) = whole.tensors.iter().find(|(n, _)| n.starts_with(prefix(case))).unwrap();
        let mut mixed = bare.clone();
        mixed.tensors.remove(name.strip_prefix(prefix(case)).unwrap());
        mixed.tensors.insert(name.clone(), tensor.clone());
        says(&mixed.error(), &["tensor `", "is missing"]);
    }
}

#[test]
fn buffers_of_old_checkpoints_are_passed_over() {
    let buffers: [(&str, &[&str]); 5] = [
        ("gpt2", &["transformer.h.0.attn.bias", "transformer.h.2.attn.masked_bias"]),
        ("gptj", &["transformer.h.0.attn.bias", "transformer.h.1.attn.masked_bias", "transformer.h.1.attn.embed_positions"]),
        (
            "gpt_neox",
            &[
                "gpt_neox.layers.0.attention.bias",
                "gpt_neox.layers.0.attention.masked_bias",
                "gpt_neox.layers.1.attention.rotary_emb.inv_freq",
            ],
        ),
        ("llama", &["model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"]),
        ("qwen2", &["model.layers.1.self_attn.rotary_emb.inv_freq"]),
    ];
    for (case, names) in buffers {
        let whole = Checkpoint::case(case);
        let mut with = whole.clone();
        for name in names {
            with.tensors.insert((*name).into(), Tensor { dtype: Dtype::BOOL, shape: vec![1, 1, 4, 4], bytes: vec![1; 16] });
        }
        assert_eq!(with.logits(), whole.logits(), "{case}");
        with.tensors = with.tensors.iter().map(|(n, t)| (n.strip_prefix(prefix(case)).unwrap_or(n).to_owned(), t.clone())).collect();
        assert_eq!(with.logits(), whole.logits(), "{case} without its prefix");
    }
}

#[test]
fn weights_in_half_precision_are_read_as_they_are_rounded() {
    for case in ALL {
        let (mut rounded, mut stored) = (Checkpoint::case(case), Checkpoint::case(case));
        for (name, tensor) in &Checkpoint::case(case).tensors {
            let bits: Vec<u16> = tensor.values().iter().map(|x| (x.to_bits() >> 16) as u16).collect(); // cut off to bf16
            let back: Vec<f32> = bits.iter().map(|b| f32::from_bits(u32::from(*b) << 16)).collect();
            rounded.tensors.insert(name.clone(), Tensor::new(&tensor.shape, &back));
            let bytes = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
            stored.tensors.insert(name.clone(), Tensor { dtype: Dtype::BF16, shape: tensor.shape.clone(), bytes });
        }
        assert_eq!(stored.logits(), rounded.logits(), "{case}");
    }
}

#[test]
fn weights_that_are_no_numbers_we_read_are_named_with_their_encoding() {
    let mut checkpoint = Checkpoint::case("llama");
    checkpoint.tensors.insert("model.norm.weight".into(), Tensor { dtype: Dtype::I64, shape: vec![64], bytes: vec![0; 512] });
    says(&try_logits(checkpoint.folder().path()).unwrap_err().to_string(), &["`model.norm.weight`", "i64"]);
}

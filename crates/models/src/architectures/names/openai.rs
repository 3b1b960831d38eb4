//! CLIP as OpenAI and OpenCLIP store it.
//!
//! | theirs | ours |
//! | --- | --- |
//! | `visual.{class_embedding, positional_embedding, conv1}` | `vision_model.embeddings.{class_embedding, position_embedding.weight, patch_embedding}` |
//! | `visual.{ln_pre, ln_post}` | `vision_model.{pre_layrnorm, post_layernorm}` (so spelled) |
//! | `visual.transformer.resblocks.i`, `transformer.resblocks.i` | `vision_model.encoder.layers.i`, `text_model.encoder.layers.i` |
//! | inside: `attn.in_proj_weight`, `attn.out_proj`, `ln_1`, `ln_2`, `mlp.c_fc`, `mlp.c_proj` | `self_attn.{q,k,v}_proj`, a third of the rows each, `self_attn.out_proj`, `layer_norm1`, `layer_norm2`, `mlp.fc1`, `mlp.fc2` |
//! | `token_embedding`, `positional_embedding`, `ln_final` | `text_model.embeddings.{token_embedding, position_embedding.weight}`, `text_model.final_layer_norm` |
//! | `visual.proj`, `text_projection` | `visual_projection.weight`, `text_projection.weight`, transposed |
//!
//! OpenAI's models have heads of 64 numbers and the quick GELU; OpenCLIP says in its `open_clip_config.json` which it has. The text's vector is
//! that of its highest token id, which a config says by Hugging Face's old `eos_token_id` of 2.

use pellucid_core::{Error, Result, WeightStore};
use serde_json::{Map, Value as Json, json};

use super::{Translation, axes, count, pair, thirds};
use crate::weights::Source;

/// Numbers that the published archives carry beside the weights.
const NOT_WEIGHTS: [&str; 4] = ["input_resolution", "context_length", "vocab_size", "attn_mask"];

pub(super) fn config(store: &dyn WeightStore, beside: Option<&Map<String, Json>>) -> Result<Map<String, Json>> {
    let model = beside.and_then(|file| file.get("model_cfg"));
    let act = match model {
        Some(model) if model.get("quick_gelu").and_then(Json::as_bool) != Some(true) => "gelu",
        _ => "quick_gelu",
    };
    let [width, channels, patch, _] = axes(store, "visual.conv1.weight")?;
    let [positions, _] = axes(store, "visual.positional_embedding")?;
    let side = (positions - 1).isqrt();
    if side == 0 || side * side + 1 != positions {
        let what = format!("`visual.positional_embedding` has {positions} rows, which are no square of patches and one more");
        return Err(Error::Unsupported(format!("{what}; only square pictures are supported")));
    }
    let [_, projection] = axes(store, "visual.proj")?;
    let [vocabulary, text_width] = axes(store, "token_embedding.weight")?;
    let [context, _] = axes(store, "positional_embedding")?;
    let heads = |key: &[&str], width: usize| {
        let told = key.iter().try_fold(model?, |at, key| at.get(key)).and_then(Json::as_u64);
        Some(match key.last() {
            Some(&"head_width") => json!(width as u64 / told?.max(1)),
            _ => json!(told?),
        })
    };
    let tower = |blocks: &str, width: usize, heads: Option<Json>| -> Result<Map<String, Json>> {
        let [feed_forward, _] = axes(store, &format!("{blocks}0.mlp.c_fc.weight"))?;
        let sizes = json!({
            "hidden_size": width,
            "intermediate_size": feed_forward,
            "num_hidden_layers": count(store, blocks, ".ln_1.weight"),
            "num_attention_heads": heads.unwrap_or_else(|| json!(width / 64)),
            "hidden_act": act,
            "layer_norm_eps": 1e-5,
            "projection_dim": projection,
        });
        Ok(sizes.as_object().cloned().unwrap_or_default())
    };
    let mut vision = tower("visual.transformer.resblocks.", width, heads(&["vision_cfg", "head_width"], width))?;
    let picture = [("image_size", side.saturating_mul(patch)), ("patch_size", patch), ("num_channels", channels)];
    vision.extend(picture.map(|(key, size)| (key.to_owned(), json!(size))));
    let mut text = tower("transformer.resblocks.", text_width, heads(&["text_cfg", "heads"], text_width))?;
    let words = [("vocab_size", vocabulary), ("max_position_embeddings", context), ("eos_token_id", 2)];
    text.extend(words.map(|(key, size)| (key.to_owned(), json!(size))));
    Ok(Map::from_iter([
        ("model_type".to_owned(), json!("clip")),
        ("projection_dim".to_owned(), json!(projection)),
        ("vision_config".to_owned(), Json::Object(vision)),
        ("text_config".to_owned(), Json::Object(text)),
    ]))
}

pub(super) fn translation(store: &dyn WeightStore) -> Result<Translation> {
    let mut tensors = Vec::new();
    for (theirs, ours) in [
        ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
        ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
        ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ] {
        tensors.push((ours.to_owned(), Source::whole(store, theirs)?));
    }
    for (theirs, ours) in [
        ("visual.conv1", "vision_model.embeddings.patch_embedding"),
        ("visual.ln_pre", "vision_model.pre_layrnorm"),
        ("visual.ln_post", "vision_model.post_layernorm"),
        ("token_embedding", "text_model.embeddings.token_embedding"),
        ("ln_final", "text_model.final_layer_norm"),
    ] {
        tensors.extend(pair(store, theirs, ours)?);
    }
    for (theirs, ours) in [("visual.transformer.", "vision_model"), ("transformer.", "text_model")] {
        for l in 0..count(store, &format!("{theirs}resblocks."), ".ln_1.weight") {
            tensors.extend(block(store, &format!("{theirs}resblocks.{l}"), &format!("{ours}.encoder.layers.{l}"))?);
        }
    }
    tensors.push(("visual_projection.weight".into(), Source::transposed(store, "visual.proj")?));
    tensors.push(("text_projection.weight".into(), Source::transposed(store, "text_projection")?));
    if store.info("logit_scale").is_some() {
        tensors.push(("logit_scale".into(), Source::whole(store, "logit_scale")?));
    }
    Ok((tensors, NOT_WEIGHTS.to_vec()))
}

fn block(store: &dyn WeightStore, theirs: &str, ours: &str) -> Result<Vec<(String, Source)>> {
    let mut tensors = Vec::new();
    let maps = ["q_proj", "k_proj", "v_proj"].map(|name| format!("{ours}.self_attn.{name}"));
    for end in ["weight", "bias"] {
        tensors.extend(thirds(store, &format!("{theirs}.attn.in_proj_{end}"), maps.each_ref().map(String::as_str), end)?);
    }
    for (their, our) in [
        ("attn.out_proj", "self_attn.out_proj"),
        ("ln_1", "layer_norm1"),
        ("ln_2", "layer_norm2"),
        ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"),
    ] {
        tensors.extend(pair(store, &format!("{theirs}.{their}"), &format!("{ours}.{our}"))?);
    }
    Ok(tensors)
}

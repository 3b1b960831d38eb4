//! timm's vision transformers, and the checkpoints of the DeiT and DINOv2 repositories.
//!
//! | theirs | ours (after the prefix) |
//! | --- | --- |
//! | `cls_token`, `dist_token`, `reg_token` or `register_tokens` | `embeddings.{cls_token, distillation_token, register_tokens}` |
//! | `pos_embed`, `patch_embed.proj` | `embeddings.{position_embeddings, patch_embeddings.projection}` |
//! | `blocks.i.attn.qkv` | `encoder.layer.i.attention.attention.{query, key, value}`, a third of the rows each |
//! | `blocks.i.attn.proj` | `encoder.layer.i.attention.output.dense` |
//! | `blocks.i.norm1`, `norm2` | `layernorm_before`, `layernorm_after`; in DINOv2 `norm1`, `norm2` |
//! | `blocks.i.mlp.fc1`, `fc2` | `intermediate.dense`, `output.dense`; in DINOv2 `mlp.fc1`, `mlp.fc2` |
//! | `blocks.i.ls1.gamma`, `ls2` | `layer_scale1.lambda1`, `layer_scale2` |
//! | `norm` | `layernorm` |
//! | `fc_norm`, `head`, `head_dist` | without prefix: `fc_norm`, `classifier`, `distillation_classifier` (then `head` is `cls_classifier`) |
//!
//! **Positions.** Tables come with rows for the class token (and the distillation token) or without; those without get rows of zeros, which
//! add nothing. A table with rows for registers is refused.
//!
//! **Heads.** No shape tells how many there are. timm's published models of a width all have the same number; other widths need
//! `num_attention_heads` in `config.json`.

use pellucid_core::{Error, Result, WeightStore};
use serde_json::{Map, Value as Json, json};

use super::{Translation, axes, count, pair, thirds};
use crate::architectures::Entry;
use crate::weights::{Source, arranged};

/// Width and heads of the models that timm and DINOv2 have published.
const HEADS: [(usize, usize); 12] =
    [(192, 3), (320, 5), (384, 6), (512, 8), (640, 10), (768, 12), (1024, 16), (1152, 16), (1280, 16), (1408, 16), (1536, 24), (1664, 16)];

/// Which architecture: `deit` with a distillation token, one of DINOv2's with LayerScale and no head (its own has other inputs), else `vit`.
fn model_type(store: &dyn WeightStore) -> &'static str {
    let has = |name: &str| store.info(name).is_some();
    let dinov2 = has("blocks.0.ls1.gamma") && !has("head.weight");
    match registers(store) {
        _ if has("dist_token") => "deit",
        Some(_) if dinov2 => "dinov2_with_registers",
        None if dinov2 => "dinov2",
        _ => "vit",
    }
}

/// The registers' name, where there are any.
fn registers(store: &dyn WeightStore) -> Option<&'static str> {
    ["reg_token", "register_tokens"].into_iter().find(|name| store.info(name).is_some())
}

/// Patches a side, and the rows that a full position table has before those of the patches.
fn grid(store: &dyn WeightStore) -> Result<(usize, usize)> {
    let [_, rows, _] = axes(store, "pos_embed")?;
    let leading = ["cls_token", "dist_token"].iter().filter(|name| store.info(name).is_some()).count();
    let side = |n: Option<usize>| n.filter(|n| *n > 0 && n.isqrt().pow(2) == *n).map(usize::isqrt);
    let found = side(rows.checked_sub(leading)).or(side(Some(rows)));
    let kinds = if registers(store).is_some() { ", and registers have no position" } else { "" };
    found.map(|side| (side, leading)).ok_or_else(|| {
        let what = format!("`pos_embed` has {rows} rows, which are no square of patches with or without {leading} before them");
        Error::Unsupported(format!("{what}; only square pictures are supported{kinds}"))
    })
}

pub(super) fn config(store: &dyn WeightStore, given: &Map<String, Json>) -> Result<Map<String, Json>> {
    let average = given.get("global_pool").and_then(Json::as_str);
    if average.is_some_and(|pool| pool != "token") && store.info("fc_norm.weight").is_none() {
        let pool = average.unwrap_or_default();
        return Err(Error::Unsupported(format!(
            "the config's `global_pool` is \"{pool}\" and there is no tensor `fc_norm.weight`; supported are the class \
             token (\"token\") and the average with a norm behind it"
        )));
    }
    let [width, channels, patch, _] = axes(store, "patch_embed.proj.weight")?;
    let (side, _) = grid(store)?;
    let [feed_forward, _] = axes(store, "blocks.0.mlp.fc1.weight")?;
    let mut config = Map::new();
    let mut say = |key: &str, value: Json| config.insert(key.into(), value);
    say("model_type", json!(model_type(store)));
    say("hidden_size", json!(width));
    say("intermediate_size", json!(feed_forward));
    say("num_hidden_layers", json!(count(store, "blocks.", ".norm1.weight")));
    if let Some((_, heads)) = HEADS.iter().find(|(published, _)| *published == width) {
        say("num_attention_heads", json!(heads));
    }
    say("image_size", json!(side.saturating_mul(patch)));
    say("patch_size", json!(patch));
    say("num_channels", json!(channels));
    say("hidden_act", json!("gelu"));
    say("layer_norm_eps", json!(1e-6));
    say("qkv_bias", json!(store.info("blocks.0.attn.qkv.bias").is_some()));
    if feed_forward % width == 0 {
        say("mlp_ratio", json!(feed_forward / width));
    }
    if let Some(name) = registers(store) {
        let [_, n, _] = axes(store, name)?;
        say("num_register_tokens", json!(n));
    }
    if store.info("head.weight").is_some() {
        let [classes, _] = axes(store, "head.weight")?;
        say("num_labels", json!(classes));
        // A `config.json` of timm's may name them, at the top or among what the weights were published with.
        let names = given
            .get("label_names")
            .or_else(|| given.get("pretrained_cfg")?.get("label_names"))
            .and_then(Json::as_array)
            .filter(|names| names.len() == classes);
        if let Some(names) = names {
            say("id2label", names.iter().enumerate().map(|(class, name)| (class.to_string(), name.clone())).collect());
        }
    }
    Ok(config)
}

pub(super) fn translation(store: &dyn WeightStore, entry: &Entry) -> Result<Translation> {
    let (prefix, has) = (entry.prefix, |name: &str| store.info(name).is_some());
    let mut tensors = Vec::new();
    for (theirs, ours) in [("cls_token", "cls_token"), ("dist_token", "distillation_token")] {
        if has(theirs) {
            tensors.push((format!("{prefix}embeddings.{ours}"), Source::whole(store, theirs)?));
        }
    }
    if let Some(name) = registers(store) {
        tensors.push((format!("{prefix}embeddings.register_tokens"), Source::whole(store, name)?));
    }
    tensors.push((format!("{prefix}embeddings.position_embeddings"), positions(store)?));
    tensors.extend(pair(store, "patch_embed.proj", &format!("{prefix}embeddings.patch_embeddings.projection"))?);

    let [norm1, norm2, up, down] = match entry.model_type {
        "dinov2" | "dinov2_with_registers" => ["norm1", "norm2", "mlp.fc1", "mlp.fc2"],
        _ => ["layernorm_before", "layernorm_after", "intermediate.dense", "output.dense"],
    };
    for l in 0..count(store, "blocks.", ".norm1.weight") {
        let (theirs, ours) = (|name: &str| format!("blocks.{l}.{name}"), |name: &str| format!("{prefix}encoder.layer.{l}.{name}"));
        let maps = ["query", "key", "value"].map(|name| ours(&format!("attention.attention.{name}")));
        for end in ["weight", "bias"] {
            tensors.extend(thirds(store, &theirs(&format!("attn.qkv.{end}")), maps.each_ref().map(String::as_str), end)?);
        }
        for (their, our) in
            [("attn.proj", "attention.output.dense"), ("norm1", norm1), ("norm2", norm2), ("mlp.fc1", up), ("mlp.fc2", down)]
        {
            tensors.extend(pair(store, &theirs(their), &ours(our))?);
        }
        for scale in ["1", "2"] {
            let gamma = theirs(&format!("ls{scale}.gamma"));
            if has(&gamma) {
                tensors.push((ours(&format!("layer_scale{scale}.lambda1")), Source::whole(store, &gamma)?));
            }
        }
    }
    tensors.extend(pair(store, "norm", &format!("{prefix}layernorm"))?);
    tensors.extend(pair(store, "head", if has("head_dist.weight") { "cls_classifier" } else { "classifier" })?);
    tensors.extend(pair(store, "head_dist", "distillation_classifier")?);
    // What DINOv2 puts in the place of hidden patches when it learns.
    Ok((tensors, vec!["mask_token"]))
}

/// The position table, with rows of zeros for tokens before the patches where it has none for them.
fn positions(store: &dyn WeightStore) -> Result<Source> {
    let (side, leading) = grid(store)?;
    let [_, rows, width] = axes(store, "pos_embed")?;
    if rows != side * side {
        return Source::whole(store, "pos_embed");
    }
    let mut numbers = vec![0.0; leading * width];
    numbers.extend(arranged::read(store, "pos_embed")?);
    Ok(Source::Held { shape: vec![1, leading + rows, width], numbers, from: vec!["pos_embed".into()] })
}

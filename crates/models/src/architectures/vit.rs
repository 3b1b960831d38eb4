//! ViT (Dosovitskiy et al. 2020, arXiv 2010.11929): a class token, learned positions, [`PreNorm`] blocks.
//!
//! ```text
//! classes     C·LN(x₀)                    x₀: the first row, that of the class token
//! vector      LN(x₀), or tanh(P·LN(x₀)) where the checkpoint has a pooler
//! average     C·LN'(mean of patches)      timm's `global_pool = "avg"`, where `fc_norm` is among the tensors
//! ```

use pellucid_core::{
    Activation, Result,
    model::{Factor, Linear, Norm, Outputs, Pooling, activation},
};

use super::{
    Config, Entry,
    attention::SelfAttention,
    head::class_names,
    pre_norm::{Block, Embeddings, Head, PreNorm, Sizes},
};

/// The table's row.
pub(super) const ENTRY: Entry = Entry {
    model_type: "vit",
    build: |config| {
        let registers = config.shape("vit.embeddings.register_tokens").map_or(0, |s| s.iter().rev().nth(1).copied().unwrap_or(1));
        let learned = [("cls_token", 1), ("register_tokens", registers)];
        Ok(Box::new(base(config, "vit", &learned)?))
    },
    prefix: "vit.",
    unused: &["vit.embeddings.mask_token", "vit.pooler.", "decoder."],
    ..Entry::BARE
};

/// ViT or DeiT with its head; all tensors begin with `{prefix}.`, but for those of the head. `learned`: names and numbers of learned rows.
pub(super) fn base(config: &Config, prefix: &str, learned: &[(&str, usize)]) -> Result<PreNorm> {
    let sizes = Sizes::read(config)?;
    let (d, d_head, d_ff) = (sizes.d, sizes.d_head, sizes.d_ff);
    let (epsilon, bias) = (config.epsilon_or("layer_norm_eps", 1e-12)?, config.flag_or("qkv_bias", true)?);
    let leading = learned.iter().map(|l| l.1).sum();
    let mut description = sizes.description(config.model_type()?, leading);
    let block = |l: usize| {
        let p = format!("{prefix}.encoder.layer.{l}");
        let linear = |name: &str, inputs, outputs| Linear::new(&format!("{p}.{name}"), inputs, outputs);
        let [q, k, v] = ["query", "key", "value"].map(|name| linear(&format!("attention.attention.{name}"), d, d).with_bias(bias));
        let scale = |name: &str| {
            let name = format!("{p}.{name}.lambda1");
            config.shape(&name).is_some().then_some(Factor { name, length: d, index: None })
        };
        Block {
            attention_norm: Norm::layer(&format!("{p}.layernorm_before"), d, epsilon),
            attention: SelfAttention::new([q, k, v, linear("attention.output.dense", d, d).with_bias(true)], d_head),
            attention_scale: scale("layer_scale1"),
            norm: Norm::layer(&format!("{p}.layernorm_after"), d, epsilon),
            up: linear("intermediate.dense", d, d_ff).with_bias(true),
            down: linear("output.dense", d_ff, d).with_bias(true),
            scale: scale("layer_scale2"),
        }
    };
    let norm = Some(Norm::layer(&format!("{prefix}.layernorm"), d, epsilon));
    let has = |name: &str| config.shape(name).is_some();
    let head = if has("classifier.weight") {
        let names = class_names(config, "classifier.weight")?;
        let last = Some(Linear::new("classifier", d, names.len()).with_bias(has("classifier.bias")));
        let averaged = has("fc_norm.weight");
        let pooling = if averaged { Pooling::Patches } else { Pooling::First };
        description.outputs = Outputs::Classes { pooling, names };
        let pooled_norm = averaged.then(|| Norm::layer("fc_norm", d, epsilon));
        Head { norm: norm.filter(|_| !averaged), pooled_norm, last, ..Head::default() }
    } else {
        description.outputs = Outputs::Embedding { pooling: Pooling::First, width: d };
        let pooler = format!("{prefix}.pooler.dense");
        let dense = has(&format!("{pooler}.weight")).then(|| (Linear::new(&pooler, d, d).with_bias(true), Some(Activation::Tanh)));
        Head { norm, dense, ..Head::default() }
    };
    Ok(PreNorm {
        embeddings: Embeddings::of_patches(prefix, &description, learned),
        blocks: (0..sizes.layers).map(block).collect(),
        act: activation(config.name_or("hidden_act", "gelu")?)?,
        head,
        description,
    })
}

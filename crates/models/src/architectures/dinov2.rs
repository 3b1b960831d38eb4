//! DINOv2 (Oquab et al. 2023, arXiv 2304.07193): ViT with layer scales, and in some (arXiv 2309.16588) registers behind the class token.
//!
//! ```text
//! classes     C·[LN(x₀); mean of patches of LN(x)]          x₀: the row of the class token
//! vector      LN(x₀)
//! ```
//!
//! Registers have no position: their rows of the table are zeros (see `names.rs`). SwiGLU networks (ViT-g) are not supported.

use pellucid_core::{
    Error, Result,
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
    model_type: "dinov2",
    build: |config| Ok(Box::new(base(config, "dinov2", 0)?)),
    prefix: "dinov2.",
    unused: &["dinov2.embeddings.mask_token"],
    ..Entry::BARE
};

/// The table's row of the models with registers.
pub(super) const WITH_REGISTERS: Entry = Entry {
    model_type: "dinov2_with_registers",
    build: |config| Ok(Box::new(base(config, "dinov2_with_registers", config.size_or("num_register_tokens", 4)?)?)),
    prefix: "dinov2_with_registers.",
    unused: &["dinov2_with_registers.embeddings.mask_token"],
    ..Entry::BARE
};

fn base(config: &Config, prefix: &str, registers: usize) -> Result<PreNorm> {
    let sizes = Sizes::read(config)?;
    let (d, d_head, d_ff) = (sizes.d, sizes.d_head, sizes.d_ff);
    let (epsilon, bias) = (config.epsilon_or("layer_norm_eps", 1e-6)?, config.flag_or("qkv_bias", true)?);
    if config.flag_or("use_swiglu_ffn", false)? {
        return Err(Error::Unsupported("the config's `use_swiglu_ffn` is true, which is not supported".into()));
    }
    let mut description = sizes.description(config.model_type()?, 1 + registers);
    let block = |l: usize| {
        let p = format!("{prefix}.encoder.layer.{l}");
        let linear = |name: &str, inputs, outputs, bias| Linear::new(&format!("{p}.{name}"), inputs, outputs).with_bias(bias);
        let [q, k, v] = ["query", "key", "value"].map(|name| linear(&format!("attention.attention.{name}"), d, d, bias));
        let scale = |name: &str| Some(Factor { name: format!("{p}.{name}.lambda1"), length: d, index: None });
        Block {
            attention_norm: Norm::layer(&format!("{p}.norm1"), d, epsilon),
            attention: SelfAttention::new([q, k, v, linear("attention.output.dense", d, d, true)], d_head),
            attention_scale: scale("layer_scale1"),
            norm: Norm::layer(&format!("{p}.norm2"), d, epsilon),
            up: linear("mlp.fc1", d, d_ff, true),
            down: linear("mlp.fc2", d_ff, d, true),
            scale: scale("layer_scale2"),
        }
    };
    let mut head = Head { norm: Some(Norm::layer(&format!("{prefix}.layernorm"), d, epsilon)), ..Head::default() };
    if config.shape("classifier.weight").is_some() {
        let names = class_names(config, "classifier.weight")?;
        head.last = Some(Linear::new("classifier", 2 * d, names.len()).with_bias(true));
        description.outputs = Outputs::Classes { pooling: Pooling::FirstAndPatches, names };
    } else {
        description.outputs = Outputs::Embedding { pooling: Pooling::First, width: d };
    }
    Ok(PreNorm {
        embeddings: Embeddings::of_patches(prefix, &description, &[("cls_token", 1), ("register_tokens", registers)]),
        blocks: (0..sizes.layers).map(block).collect(),
        act: activation(config.name_or("hidden_act", "gelu")?)?,
        head,
        description,
    })
}

//! CLIP (Radford et al. 2021, arXiv 2103.00020): an image tower and a text tower of [`PreNorm`] blocks, whose vectors are compared.
//!
//! ```text
//! image     V·LN(x₀)              x₀: the row of the class token; the embeddings are normalised before the first block
//! text      T·LN(x_end)           x_end: the row of the end token; causal
//! match     e^s·⟨image/‖image‖, text/‖text‖⟩
//! ```
//!
//! The end token is the highest id of the vocabulary, and its first appearance is asked for; a checkpoint whose config says another
//! `eos_token_id` than 2 (which old ones say, wrongly) is asked for that. An image tower alone may carry a classifier of its unit vector.

use pellucid_core::{
    Error, Result,
    model::{Description, Linear, Norm, Outputs, Pooling, Table, activation},
};
use serde_json::Value as Json;

use super::{
    Config, Entry,
    attention::SelfAttention,
    head::class_names,
    pre_norm::{Block, Embeddings, From, Head, PreNorm, Sizes},
};

/// The table's row: both towers.
pub(super) const ENTRY: Entry = Entry {
    model_type: "clip",
    build: |config| Ok(Box::new(image(config, &part(config, "vision_config")?)?)),
    text: Some(|config| Ok(Box::new(text(config, &part(config, "text_config")?)?))),
    ..Entry::BARE
};

/// The table's row of an image tower alone.
pub(super) const IMAGE: Entry =
    Entry { model_type: "clip_vision_model", build: |config| Ok(Box::new(image(config, config)?)), ..Entry::BARE };

/// One tower's own config.
fn part(config: &Config, key: &str) -> Result<Config> {
    match config.get(key) {
        Some(own @ Json::Object(_)) => config.inside(own.clone()),
        other => {
            let is = other.map_or("missing".into(), Json::to_string);
            Err(Error::Weights(format!("the config's `{key}` is {is}; it should be the object that describes a tower")))
        }
    }
}

/// Blocks of a tower whose tensors begin with `{prefix}.`.
fn blocks(prefix: &str, d: usize, d_head: usize, d_ff: usize, layers: usize, epsilon: f64) -> Vec<Block> {
    let block = |l: usize| {
        let p = format!("{prefix}.encoder.layers.{l}");
        let linear = |name: &str, inputs, outputs| Linear::new(&format!("{p}.{name}"), inputs, outputs).with_bias(true);
        let maps = ["q_proj", "k_proj", "v_proj", "out_proj"].map(|name| linear(&format!("self_attn.{name}"), d, d));
        Block {
            attention_norm: Norm::layer(&format!("{p}.layer_norm1"), d, epsilon),
            attention: SelfAttention::new(maps, d_head),
            attention_scale: None,
            norm: Norm::layer(&format!("{p}.layer_norm2"), d, epsilon),
            up: linear("mlp.fc1", d, d_ff),
            down: linear("mlp.fc2", d_ff, d),
            scale: None,
        }
    };
    (0..layers).map(block).collect()
}

/// `whole`: where the projection's width stands, if not beside the tower's own sizes.
fn image(whole: &Config, config: &Config) -> Result<PreNorm> {
    let sizes = Sizes::read(config)?;
    let (d, epsilon) = (sizes.d, config.epsilon_or("layer_norm_eps", 1e-5)?);
    let width = projected(whole, config)?;
    let mut description = sizes.description(whole.model_type()?, 1);
    let patches = description.patches.clone().expect("described as a model of pictures");
    let table = |name: &str, rows| Table { name: format!("vision_model.embeddings.{name}"), rows, width: d };
    let mut head = Head {
        norm: Some(Norm::layer("vision_model.post_layernorm", d, epsilon)),
        dense: Some((Linear::new("visual_projection", d, width), None)),
        ..Head::default()
    };
    description.outputs = Outputs::Embedding { pooling: Pooling::First, width };
    if config.shape("classifier.weight").is_some() {
        let names = class_names(config, "classifier.weight")?;
        // The length of a vector is √width after this norm; the classifier was made for length 1: see `names.rs`.
        head.dense_norm = Some(Norm::plain_rms(width, 0.0));
        head.last = Some(Linear::new("classifier", width, names.len()).with_bias(true));
        description.outputs = Outputs::Classes { pooling: Pooling::First, names };
    }
    Ok(PreNorm {
        embeddings: Embeddings {
            from: From::Pixels {
                projection: Linear::new("vision_model.embeddings.patch_embedding", patches.width(), d),
                learned: vec![table("class_embedding", 1)],
            },
            positions: table("position_embedding.weight", description.context),
            norm: Some(Norm::layer("vision_model.pre_layrnorm", d, epsilon)),
        },
        blocks: blocks("vision_model", d, sizes.d_head, sizes.d_ff, sizes.layers, epsilon),
        act: activation(config.name_or("hidden_act", "quick_gelu")?)?,
        head,
        description,
    })
}

fn text(whole: &Config, config: &Config) -> Result<PreNorm> {
    let (d, layers, heads) =
        (config.size("hidden_size")?, config.layers("num_hidden_layers")?, config.heads_or("num_attention_heads", None)?);
    let d_head = config.divide(("hidden_size", d), ("num_attention_heads", heads))?;
    let (d_ff, vocabulary) = (config.size("intermediate_size")?, config.size("vocab_size")?);
    let (context, epsilon) = (config.size("max_position_embeddings")?, config.epsilon_or("layer_norm_eps", 1e-5)?);
    let width = projected(whole, config)?;
    let end = config.size_or("eos_token_id", 2)?;
    let pooling = if end == 2 { Pooling::Highest } else { Pooling::FirstOf(end as u32) };
    let table = |name: &str, rows| Table { name: format!("text_model.embeddings.{name}.weight"), rows, width: d };
    Ok(PreNorm {
        embeddings: Embeddings {
            from: From::Tokens(table("token_embedding", vocabulary)),
            positions: table("position_embedding", context),
            norm: None,
        },
        blocks: blocks("text_model", d, d_head, d_ff, layers, epsilon),
        act: activation(config.name_or("hidden_act", "quick_gelu")?)?,
        head: Head {
            norm: Some(Norm::layer("text_model.final_layer_norm", d, epsilon)),
            dense: Some((Linear::new("text_projection", d, width), None)),
            ..Head::default()
        },
        description: Description {
            architecture: whole.model_type()?.into(),
            layers,
            d_model: d,
            heads,
            kv_heads: heads,
            d_head,
            d_ff,
            vocabulary,
            context,
            causal: true,
            outputs: Outputs::Embedding { pooling, width },
            ..Description::default()
        },
    })
}

fn projected(whole: &Config, own: &Config) -> Result<usize> {
    let config = if whole.get("projection_dim").is_some() { whole } else { own };
    config.size_or("projection_dim", 512)
}

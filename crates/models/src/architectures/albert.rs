//! ALBERT (Lan et al. 2019, arXiv 1909.11942): the [`Encoder`] with one block that all layers share, and embeddings narrower than the stream.
//!
//! ```text
//! classes    C·tanh(P·x₀)                 x₀: the first row, that of [CLS]
//! masked     E·LN(act(T·x)) + b           E: the token table; T narrows
//! ```
//!
//! Every layer names the same tensors. The published models have one group of one block; other numbers are refused.

use pellucid_core::{
    Activation, Error, Result,
    model::{Description, Linear, Norm, Table, activation},
};

use super::{
    Config, Entry,
    attention::SelfAttention,
    encoder::{Block, Embeddings, Encoder, Head, check},
    head::Heads,
};

/// The table's row.
pub(super) const ENTRY: Entry = Entry {
    model_type: "albert",
    build: |config| {
        let encoder = base(config)?;
        let heads = Heads {
            class: "Albert",
            pooler: ("albert.pooler", Activation::Tanh),
            classifier: "classifier",
            transform: ("predictions.dense", encoder.act),
            norm: "predictions.LayerNorm",
            decoder: "predictions.decoder",
            bias: "predictions.bias",
        };
        Ok(Box::new(heads.put_on(encoder, config)?))
    },
    prefix: "albert.",
    unused: &["albert.pooler.", "sop_classifier.", "predictions.decoder.", "predictions.bias"],
    ..Entry::BARE
};

fn base(config: &Config) -> Result<Encoder> {
    let (d, layers, heads) =
        (config.size("hidden_size")?, config.layers("num_hidden_layers")?, config.heads_or("num_attention_heads", None)?);
    let d_head = config.divide(("hidden_size", d), ("num_attention_heads", heads))?;
    let (d_ff, vocabulary) = (config.size("intermediate_size")?, config.size("vocab_size")?);
    let (context, types) = (config.size("max_position_embeddings")?, config.size_or("type_vocab_size", 2)?);
    let (narrow, epsilon) = (config.size_or("embedding_size", 128)?, config.epsilon_or("layer_norm_eps", 1e-12)?);
    check(config)?;
    for groups in ["num_hidden_groups", "inner_group_num"] {
        let number = config.size_or(groups, 1)?;
        if number != 1 {
            return Err(Error::Unsupported(format!(
                "the config's `{groups}` is {number}; only one block that all layers share is supported"
            )));
        }
    }
    let table = |name: &str, rows| Table { name: format!("albert.embeddings.{name}.weight"), rows, width: narrow };
    let p = "albert.encoder.albert_layer_groups.0.albert_layers.0";
    let linear = |name: &str, inputs, outputs| Linear::new(&format!("{p}.{name}"), inputs, outputs).with_bias(true);
    let maps = ["query", "key", "value", "dense"].map(|name| linear(&format!("attention.{name}"), d, d));
    let block = Block {
        attention: SelfAttention::new(maps, d_head),
        attention_norm: Norm::layer(&format!("{p}.attention.LayerNorm"), d, epsilon),
        up: linear("ffn", d, d_ff),
        down: linear("ffn_output", d_ff, d),
        norm: Norm::layer(&format!("{p}.full_layer_layer_norm"), d, epsilon),
    };
    Ok(Encoder {
        embeddings: Embeddings {
            tokens: table("word_embeddings", vocabulary),
            positions: table("position_embeddings", context),
            first_position: 0,
            types: Some(table("token_type_embeddings", types)),
            norm: Norm::layer("albert.embeddings.LayerNorm", narrow, epsilon),
            widen: Some(Linear::new("albert.encoder.embedding_hidden_mapping_in", narrow, d).with_bias(true)),
        },
        blocks: vec![block],
        act: activation(config.name_or("hidden_act", "gelu_new")?)?,
        head: Head::default(),
        description: Description {
            architecture: "albert".into(),
            layers,
            d_model: d,
            heads,
            kv_heads: heads,
            d_head,
            d_ff,
            vocabulary,
            types,
            context,
            causal: false,
            ..Description::default()
        },
    })
}

//! BERT (Devlin et al. 2018, arXiv 1810.04805): the [`Encoder`] with learned positions and two kinds of text.
//!
//! ```text
//! classes    C·tanh(P·x₀)                 x₀: the first row, that of [CLS]
//! masked     E·LN(act(T·x)) + b           E: the token table
//! ```

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
    model_type: "bert",
    build: |config| {
        let encoder = base(config, "bert", 0)?;
        let heads = Heads {
            class: "Bert",
            pooler: ("bert.pooler.dense", Activation::Tanh),
            classifier: "classifier",
            transform: ("cls.predictions.transform.dense", encoder.act),
            norm: "cls.predictions.transform.LayerNorm",
            decoder: "cls.predictions.decoder",
            bias: "cls.predictions.bias",
        };
        Ok(Box::new(heads.put_on(encoder, config)?))
    },
    prefix: "bert.",
    unused: &["bert.pooler.", "cls.seq_relationship.", "cls.predictions.decoder.", "cls.predictions.bias"],
    ..Entry::BARE
};

/// An encoder without a head, all of whose tensors begin with `{prefix}.`; RoBERTa's are named alike.
pub(super) fn base(config: &Config, prefix: &str, first_position: usize) -> Result<Encoder> {
    let (d, layers, heads) =
        (config.size("hidden_size")?, config.layers("num_hidden_layers")?, config.heads_or("num_attention_heads", None)?);
    let d_head = config.divide(("hidden_size", d), ("num_attention_heads", heads))?;
    let (d_ff, vocabulary) = (config.size("intermediate_size")?, config.size("vocab_size")?);
    let (positions, types) = (config.size("max_position_embeddings")?, config.size_or("type_vocab_size", 2)?);
    let epsilon = config.epsilon_or("layer_norm_eps", 1e-12)?;
    check(config)?;
    if positions <= first_position {
        return Err(Error::Weights(format!(
            "the config's `max_position_embeddings` ({positions}) leaves no position after those up to its `pad_token_id` ({})",
            first_position - 1
        )));
    }
    let table = |name: &str, rows| Table { name: format!("{prefix}.embeddings.{name}.weight"), rows, width: d };
    let block = |l: usize| {
        let p = format!("{prefix}.encoder.layer.{l}");
        let linear = |name: &str, inputs, outputs| Linear::new(&format!("{p}.{name}"), inputs, outputs).with_bias(true);
        let maps = ["self.query", "self.key", "self.value", "output.dense"].map(|name| linear(&format!("attention.{name}"), d, d));
        Block {
            attention: SelfAttention::new(maps, d_head),
            attention_norm: Norm::layer(&format!("{p}.attention.output.LayerNorm"), d, epsilon),
            up: linear("intermediate.dense", d, d_ff),
            down: linear("output.dense", d_ff, d),
            norm: Norm::layer(&format!("{p}.output.LayerNorm"), d, epsilon),
        }
    };
    Ok(Encoder {
        embeddings: Embeddings {
            tokens: table("word_embeddings", vocabulary),
            positions: table("position_embeddings", positions),
            first_position,
            types: Some(table("token_type_embeddings", types)),
            norm: Norm::layer(&format!("{prefix}.embeddings.LayerNorm"), d, epsilon),
            widen: None,
        },
        blocks: (0..layers).map(block).collect(),
        act: activation(config.name_or("hidden_act", "gelu")?)?,
        head: Head::default(),
        description: Description {
            architecture: config.model_type()?.into(),
            layers,
            d_model: d,
            heads,
            kv_heads: heads,
            d_head,
            d_ff,
            vocabulary,
            types,
            context: positions - first_position,
            causal: false,
            ..Description::default()
        },
    })
}

//! DistilBERT (Sanh et al. 2019, arXiv 1910.01108): the [`Encoder`] without kinds of text and without a pooler of the base model.
//!
//! ```text
//! classes    C·relu(P·x₀)                 x₀: the first row, that of [CLS]
//! masked     E·LN(act(T·x)) + b           E: the token table
//! ```

use pellucid_core::{
    Activation, Result,
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
    model_type: "distilbert",
    build: |config| {
        let encoder = base(config)?;
        let heads = Heads {
            class: "DistilBert",
            pooler: ("pre_classifier", Activation::Relu),
            classifier: "classifier",
            transform: ("vocab_transform", encoder.act),
            norm: "vocab_layer_norm",
            decoder: "vocab_projector",
            bias: "vocab_projector.bias",
        };
        Ok(Box::new(heads.put_on(encoder, config)?))
    },
    prefix: "distilbert.",
    unused: &["vocab_projector."],
    ..Entry::BARE
};

/// Added to every variance; no config tells another.
const EPSILON: f64 = 1e-12;

fn base(config: &Config) -> Result<Encoder> {
    let (d, layers, heads) = (config.size("dim")?, config.layers("n_layers")?, config.heads_or("n_heads", None)?);
    let d_head = config.divide(("dim", d), ("n_heads", heads))?;
    let (d_ff, vocabulary, context) = (config.size("hidden_dim")?, config.size("vocab_size")?, config.size("max_position_embeddings")?);
    check(config)?;
    // Sinusoidal positions (`sinusoidal_pos_embds`) are stored in the same table.
    let table = |name: &str, rows| Table { name: format!("distilbert.embeddings.{name}.weight"), rows, width: d };
    let block = |l: usize| {
        let p = format!("distilbert.transformer.layer.{l}");
        let linear = |name: &str, inputs, outputs| Linear::new(&format!("{p}.{name}"), inputs, outputs).with_bias(true);
        let maps = ["q_lin", "k_lin", "v_lin", "out_lin"].map(|name| linear(&format!("attention.{name}"), d, d));
        Block {
            attention: SelfAttention::new(maps, d_head),
            attention_norm: Norm::layer(&format!("{p}.sa_layer_norm"), d, EPSILON),
            up: linear("ffn.lin1", d, d_ff),
            down: linear("ffn.lin2", d_ff, d),
            norm: Norm::layer(&format!("{p}.output_layer_norm"), d, EPSILON),
        }
    };
    Ok(Encoder {
        embeddings: Embeddings {
            tokens: table("word_embeddings", vocabulary),
            positions: table("position_embeddings", context),
            first_position: 0,
            types: None,
            norm: Norm::layer("distilbert.embeddings.LayerNorm", d, EPSILON),
            widen: None,
        },
        blocks: (0..layers).map(block).collect(),
        act: activation(config.name_or("activation", "gelu")?)?,
        head: Head::default(),
        description: Description {
            architecture: "distilbert".into(),
            layers,
            d_model: d,
            heads,
            kv_heads: heads,
            d_head,
            d_ff,
            vocabulary,
            context,
            causal: false,
            ..Description::default()
        },
    })
}

//! GPT-2 (Radford et al. 2019): learned positions, layer norms before attention and feed-forward, GELU (tanh form), one stored matrix for
//! queries, keys and values; matrices stored `[inputs, outputs]`.
//!
//! ```text
//! x ← x + P·attention(Q·n₁(x), K·n₁(x), V·n₁(x))        x ← x + P'·gelu(F·n₂(x))
//! ```

use pellucid_core::{
    Activation, Error, Result,
    model::{Architecture, Description, Linear, Norm, Parameter, Table, activation},
    pass::{Pass, Value},
};

use super::{Config, Entry, GgufNames, Needed, attention::SelfAttention};

/// The table's row.
pub(super) const ENTRY: Entry = Entry {
    model_type: "gpt2",
    build: |config| Ok(Box::new(Gpt2::new(config)?)),
    prefix: "transformer.",
    unused: &[],
    gguf: Some(GgufNames {
        architecture: "gpt2",
        config: &[
            ("n_embd", "embedding_length", Needed::Yes),
            ("n_layer", "block_count", Needed::Yes),
            ("n_head", "attention.head_count", Needed::Yes),
            ("n_inner", "feed_forward_length", Needed::No),
            ("n_positions", "context_length", Needed::Yes),
            ("layer_norm_epsilon", "attention.layer_norm_epsilon", Needed::No),
        ],
        outside: &[
            ("transformer.wte", "token_embd"),
            ("transformer.wpe", "position_embd"),
            ("transformer.ln_f", "output_norm"),
            ("lm_head", "output"),
        ],
        block: "transformer.h.",
        inside: &[
            ("ln_1", "attn_norm"),
            ("attn.c_attn", "attn_qkv"),
            ("attn.c_proj", "attn_output"),
            ("ln_2", "ffn_norm"),
            ("mlp.c_fc", "ffn_up"),
            ("mlp.c_proj", "ffn_down"),
        ],
        pairs_side_by_side: &[],
    }),
    ..Entry::BARE
};

struct Block {
    ln_1: Norm,
    attention: SelfAttention,
    ln_2: Norm,
    c_fc: Linear,
    mlp_proj: Linear,
}

struct Gpt2 {
    description: Description,
    wte: Table,
    wpe: Table,
    blocks: Vec<Block>,
    ln_f: Norm,
    lm_head: Linear,
    act: Activation,
}

impl Gpt2 {
    fn new(config: &Config) -> Result<Self> {
        let (d, layers, heads) = (config.size("n_embd")?, config.layers("n_layer")?, config.heads_or("n_head", None)?);
        let d_head = config.divide(("n_embd", d), ("n_head", heads))?;
        let (d_ff, vocabulary, context) = (config.size_or("n_inner", 4 * d)?, config.size("vocab_size")?, config.size("n_positions")?);
        let epsilon = config.epsilon_or("layer_norm_epsilon", 1e-5)?;
        if config.flag_or("add_cross_attention", false)? {
            return Err(Error::Unsupported("this gpt2 model has cross-attention (`add_cross_attention`), which is not supported".into()));
        }
        // GGUF files keep every matrix the usual way round.
        let by_outputs = config.flag_or("stored_outputs_first", false)?;
        let stored = |l: Linear| if by_outputs { l } else { l.transposed() };
        let (scaled, by_layer) = (config.flag_or("scale_attn_weights", true)?, config.flag_or("scale_attn_by_inverse_layer_idx", false)?);
        let scale = |l: usize| {
            let scale = if scaled { 1.0 / (d_head as f64).sqrt() } else { 1.0 };
            if by_layer { scale / (l + 1) as f64 } else { scale }
        };
        let block = |l: usize| {
            let p = format!("transformer.h.{l}");
            let linear = |name: &str, i, o| stored(Linear::new(&format!("{p}.{name}"), i, o).with_bias(true));
            let part = |name: &str, i: usize| linear("attn.c_attn", d, 3 * d).only(name, std::iter::once(i * d..(i + 1) * d).collect());
            let maps = [part("q", 0), part("k", 1), part("v", 2), linear("attn.c_proj", d, d)];
            Block {
                ln_1: Norm::layer(&format!("{p}.ln_1"), d, epsilon),
                attention: SelfAttention { scale: scale(l), ..SelfAttention::new(maps, d_head) },
                ln_2: Norm::layer(&format!("{p}.ln_2"), d, epsilon),
                c_fc: linear("mlp.c_fc", d, d_ff),
                mlp_proj: linear("mlp.c_proj", d_ff, d),
            }
        };
        let tied = config.flag_or("tie_word_embeddings", true)?;
        Ok(Self {
            wte: Table { name: "transformer.wte.weight".into(), rows: vocabulary, width: d },
            wpe: Table { name: "transformer.wpe.weight".into(), rows: context, width: d },
            blocks: (0..layers).map(block).collect(),
            ln_f: Norm::layer("transformer.ln_f", d, epsilon),
            lm_head: Linear::new(if tied { "transformer.wte" } else { "lm_head" }, d, vocabulary),
            act: activation(config.name_or("activation_function", "gelu_new")?)?,
            description: Description {
                architecture: "gpt2".into(),
                layers,
                d_model: d,
                heads,
                kv_heads: heads,
                d_head,
                d_ff,
                vocabulary,
                context,
                causal: true,
                ..Description::default()
            },
        })
    }
}

impl Architecture for Gpt2 {
    fn description(&self) -> &Description {
        &self.description
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![(&self.wte).into(), (&self.wpe).into(), (&self.ln_f).into(), (&self.lm_head).into()]
    }

    fn block_parameters(&self, layer: usize) -> Vec<Parameter> {
        let b = &self.blocks[layer];
        let norms = [&b.ln_1, &b.ln_2].map(Parameter::from);
        b.attention.parameters().chain([&b.c_fc, &b.mlp_proj].map(Parameter::from)).chain(norms).collect()
    }

    fn token_table(&self) -> Option<&Table> {
        Some(&self.wte)
    }

    fn embed(&self, pass: &mut dyn Pass) -> Result<Value> {
        let tokens = pass.tokens(&self.wte)?;
        let positions = pass.positions(&self.wpe, 0)?;
        pass.add(tokens, positions)
    }

    fn block(&self, layer: usize, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        let (b, d) = (&self.blocks[layer], &self.description);
        let h = pass.norm(&x, &b.ln_1)?;
        let memory = b.attention.keys_values(&h, pass)?;
        let (h, x) = (pass.asked(h)?, pass.asked(x)?);
        let out = b.attention.attend(&h, memory, d, layer, pass)?;
        let x = pass.add(x, out)?;

        let h = pass.norm(&x, &b.ln_2)?;
        let middle = pass.linear(&h, &b.c_fc)?;
        let middle = pass.activation(middle, self.act)?;
        let out = pass.linear(&middle, &b.mlp_proj)?;
        pass.add(x, out)
    }

    fn finish(&self, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        pass.norm(&x, &self.ln_f)
    }

    fn unembedding(&self) -> Option<&Linear> {
        Some(&self.lm_head)
    }
}

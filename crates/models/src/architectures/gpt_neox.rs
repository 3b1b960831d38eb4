//! GPT-NeoX (Black et al. 2022, arXiv 2204.06745), the Pythia models among them: rotary positions on a part of each head, one stored matrix
//! for queries, keys and values (a head at a time), residuals side by side or one after the other.
//!
//! ```text
//! parallel    x ← x + O·attention(n₁(x)) + F'·gelu(F·n₂(x))
//! sequential  x ← x + O·attention(n₁(x))        x ← x + F'·gelu(F·n₂(x))
//! ```

use pellucid_core::{
    Activation, Result, RotaryLayout,
    model::{Architecture, Description, Linear, Norm, Parameter, Table, activation},
    pass::{Pass, Value},
};

use super::{Config, Entry, attention::SelfAttention, rope::rotary};

/// The table's row.
pub(super) const ENTRY: Entry =
    Entry { model_type: "gpt_neox", build: |config| Ok(Box::new(GptNeoX::new(config)?)), prefix: "gpt_neox.", unused: &[], ..Entry::BARE };

struct Block {
    input_layernorm: Norm,
    attention: SelfAttention,
    post_attention_layernorm: Norm,
    h_to_4h: Linear,
    dense_4h_to_h: Linear,
}

struct GptNeoX {
    description: Description,
    embed_in: Table,
    blocks: Vec<Block>,
    final_layer_norm: Norm,
    embed_out: Linear,
    act: Activation,
    parallel: bool,
}

impl GptNeoX {
    fn new(config: &Config) -> Result<Self> {
        let (d, layers, heads) =
            (config.size("hidden_size")?, config.layers("num_hidden_layers")?, config.heads_or("num_attention_heads", None)?);
        let d_head = config.divide(("hidden_size", d), ("num_attention_heads", heads))?;
        let (d_ff, vocabulary) = (config.size("intermediate_size")?, config.size("vocab_size")?);
        let epsilon = config.epsilon_or("layer_norm_eps", 1e-5)?;
        let bias = config.flag_or("attention_bias", true)?;
        let fraction = config.rope_first_number_or(&["partial_rotary_factor", "rotary_pct"], 0.25)?;
        let dims = (d_head as f64 * fraction) as usize;
        let rotary = rotary(config, RotaryLayout::HalfSplit, d_head, dims, 10_000.0)?;
        let block = |l: usize| {
            let p = format!("gpt_neox.layers.{l}");
            let part = |name: &str, i: usize| {
                let heads = (0..heads).map(|h| (3 * h + i) * d_head..(3 * h + i + 1) * d_head).collect();
                Linear::new(&format!("{p}.attention.query_key_value"), d, 3 * d).with_bias(bias).only(name, heads)
            };
            let dense = Linear::new(&format!("{p}.attention.dense"), d, d).with_bias(bias);
            let maps = [part("q", 0), part("k", 1), part("v", 2), dense];
            Block {
                input_layernorm: Norm::layer(&format!("{p}.input_layernorm"), d, epsilon),
                attention: SelfAttention::new(maps, d_head).turned(&rotary),
                post_attention_layernorm: Norm::layer(&format!("{p}.post_attention_layernorm"), d, epsilon),
                h_to_4h: Linear::new(&format!("{p}.mlp.dense_h_to_4h"), d, d_ff).with_bias(true),
                dense_4h_to_h: Linear::new(&format!("{p}.mlp.dense_4h_to_h"), d_ff, d).with_bias(true),
            }
        };
        let tied = config.flag_or("tie_word_embeddings", false)?;
        Ok(Self {
            embed_in: Table { name: "gpt_neox.embed_in.weight".into(), rows: vocabulary, width: d },
            blocks: (0..layers).map(block).collect(),
            final_layer_norm: Norm::layer("gpt_neox.final_layer_norm", d, epsilon),
            embed_out: Linear::new(if tied { "gpt_neox.embed_in" } else { "embed_out" }, d, vocabulary),
            act: activation(config.name_or("hidden_act", "gelu")?)?,
            parallel: config.flag_or("use_parallel_residual", true)?,
            description: Description {
                architecture: "gpt_neox".into(),
                layers,
                d_model: d,
                heads,
                kv_heads: heads,
                d_head,
                d_ff,
                vocabulary,
                context: config.size("max_position_embeddings")?,
                causal: true,
                rotary: true,
                ..Description::default()
            },
        })
    }

    fn feed_forward(&self, b: &Block, x: &Value, pass: &mut dyn Pass) -> Result<Value> {
        let h = pass.norm(x, &b.post_attention_layernorm)?;
        let middle = pass.linear(&h, &b.h_to_4h)?;
        let middle = pass.activation(middle, self.act)?;
        pass.linear(&middle, &b.dense_4h_to_h)
    }
}

impl Architecture for GptNeoX {
    fn description(&self) -> &Description {
        &self.description
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![(&self.embed_in).into(), (&self.final_layer_norm).into(), (&self.embed_out).into()]
    }

    fn block_parameters(&self, layer: usize) -> Vec<Parameter> {
        let b = &self.blocks[layer];
        let norms = [&b.input_layernorm, &b.post_attention_layernorm].map(Parameter::from);
        b.attention.parameters().chain([&b.h_to_4h, &b.dense_4h_to_h].map(Parameter::from)).chain(norms).collect()
    }

    fn token_table(&self) -> Option<&Table> {
        Some(&self.embed_in)
    }

    fn embed(&self, pass: &mut dyn Pass) -> Result<Value> {
        pass.tokens(&self.embed_in)
    }

    fn block(&self, layer: usize, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        let (b, d) = (&self.blocks[layer], &self.description);
        let h = pass.norm(&x, &b.input_layernorm)?;
        let memory = b.attention.keys_values(&h, pass)?;
        let (h, x) = (pass.asked(h)?, pass.asked(x)?);
        let out = b.attention.attend(&h, memory, d, layer, pass)?;
        if self.parallel {
            let fed = self.feed_forward(b, &x, pass)?;
            let out = pass.add(out, fed)?;
            return pass.add(x, out);
        }
        let x = pass.add(x, out)?;
        let fed = self.feed_forward(b, &x, pass)?;
        pass.add(x, fed)
    }

    fn finish(&self, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        pass.norm(&x, &self.final_layer_norm)
    }

    fn unembedding(&self) -> Option<&Linear> {
        Some(&self.embed_out)
    }
}

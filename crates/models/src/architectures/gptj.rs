//! GPT-J (Wang and Komatsuzaki 2021): one layer norm, attention and feed-forward side by side, rotary positions on the first numbers of each
//! head in neighbouring pairs, untied unembedding with bias.
//!
//! ```text
//! x ← x + O·attention(rotate(Q·n(x)), rotate(K·n(x)), V·n(x)) + F'·gelu(F·n(x))
//! ```

use pellucid_core::{
    Activation, Result, RotaryLayout,
    model::{Architecture, Description, Linear, Norm, Parameter, Table, activation},
    pass::{Pass, Value},
};

use super::{Config, Entry, attention::SelfAttention, rope::rotary};

/// The table's row.
pub(super) const ENTRY: Entry =
    Entry { model_type: "gptj", build: |config| Ok(Box::new(GptJ::new(config)?)), prefix: "transformer.", unused: &[], ..Entry::BARE };

struct Block {
    ln_1: Norm,
    attention: SelfAttention,
    fc_in: Linear,
    fc_out: Linear,
}

struct GptJ {
    description: Description,
    wte: Table,
    blocks: Vec<Block>,
    ln_f: Norm,
    lm_head: Linear,
    act: Activation,
}

impl GptJ {
    fn new(config: &Config) -> Result<Self> {
        let (d, layers, heads) = (config.size("n_embd")?, config.layers("n_layer")?, config.heads_or("n_head", None)?);
        let d_head = config.divide(("n_embd", d), ("n_head", heads))?;
        let (d_ff, vocabulary) = (config.size_or("n_inner", 4 * d)?, config.size("vocab_size")?);
        let epsilon = config.epsilon_or("layer_norm_epsilon", 1e-5)?;
        let rotary = rotary(config, RotaryLayout::Interleaved, d_head, config.size_or("rotary_dim", d_head)?, 10_000.0)?;
        let block = |l: usize| {
            let p = format!("transformer.h.{l}");
            let maps = ["q_proj", "k_proj", "v_proj", "out_proj"].map(|name| Linear::new(&format!("{p}.attn.{name}"), d, d));
            Block {
                ln_1: Norm::layer(&format!("{p}.ln_1"), d, epsilon),
                attention: SelfAttention::new(maps, d_head).turned(&rotary),
                fc_in: Linear::new(&format!("{p}.mlp.fc_in"), d, d_ff).with_bias(true),
                fc_out: Linear::new(&format!("{p}.mlp.fc_out"), d_ff, d).with_bias(true),
            }
        };
        let tied = config.flag_or("tie_word_embeddings", false)?;
        Ok(Self {
            wte: Table { name: "transformer.wte.weight".into(), rows: vocabulary, width: d },
            blocks: (0..layers).map(block).collect(),
            ln_f: Norm::layer("transformer.ln_f", d, epsilon),
            lm_head: if tied {
                Linear::new("transformer.wte", d, vocabulary)
            } else {
                Linear::new("lm_head", d, vocabulary).with_bias(true)
            },
            act: activation(config.name_or("activation_function", "gelu_new")?)?,
            description: Description {
                architecture: "gptj".into(),
                layers,
                d_model: d,
                heads,
                kv_heads: heads,
                d_head,
                d_ff,
                vocabulary,
                context: config.size("n_positions")?,
                causal: true,
                rotary: true,
                ..Description::default()
            },
        })
    }
}

impl Architecture for GptJ {
    fn description(&self) -> &Description {
        &self.description
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![(&self.wte).into(), (&self.ln_f).into(), (&self.lm_head).into()]
    }

    fn block_parameters(&self, layer: usize) -> Vec<Parameter> {
        let b = &self.blocks[layer];
        b.attention.parameters().chain([&b.fc_in, &b.fc_out].map(Parameter::from)).chain([(&b.ln_1).into()]).collect()
    }

    fn token_table(&self) -> Option<&Table> {
        Some(&self.wte)
    }

    fn embed(&self, pass: &mut dyn Pass) -> Result<Value> {
        pass.tokens(&self.wte)
    }

    fn block(&self, layer: usize, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        let (b, d) = (&self.blocks[layer], &self.description);
        let h = pass.norm(&x, &b.ln_1)?;
        let memory = b.attention.keys_values(&h, pass)?;
        let (h, x) = (pass.asked(h)?, pass.asked(x)?);
        let out = b.attention.attend(&h, memory, d, layer, pass)?;

        let middle = pass.linear(&h, &b.fc_in)?;
        let middle = pass.activation(middle, self.act)?;
        let fed = pass.linear(&middle, &b.fc_out)?;
        let out = pass.add(out, fed)?;
        pass.add(x, out)
    }

    fn finish(&self, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        pass.norm(&x, &self.ln_f)
    }

    fn unembedding(&self) -> Option<&Linear> {
        Some(&self.lm_head)
    }
}

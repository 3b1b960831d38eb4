//! NanoGuard (the package metatronnanoguard): a detector of prompt injections, an encoder in the style of modded nanoGPT. Norms have no scale,
//! queries and keys are turned and then normalised, and each block begins by mixing the stream with what the first block took.
//!
//! ```text
//! x₀ = n(token)        x ← λ·x + λ₀·x₀        x ← x + O·attention(n(rotate(Q·n(x))), n(rotate(K·n(x))), V·n(x))
//!                                             x ← x + F'·relu(F·n(x))²
//! classes  C·LN(mean over rows of n(x))
//! ```
//!
//! `x₀` travels beside the stream: rows between blocks are `[row, 2·d_model]`, the stream, then `x₀`. A checkpoint has no `config.json`: its
//! sizes are in it, under `config`. Queries and keys turn the other way round (by −θ).
//!
//! Before it scores a text the package fills it up to 512 tokens with a token of its own (the third from the end of the vocabulary), which
//! attention then sees, although the mean leaves it out: [`Description::filler`]. Without, three short texts came out 0.05 to 0.16 apart.
//! How we differ from the package: it keeps sines and cosines rounded to bf16, which moved the logits of six inputs by 2·10⁻⁵ to 2·10⁻⁴.

use pellucid_core::{
    Activation, Result, RotaryLayout,
    model::{Architecture, Description, Factor, Linear, Norm, Outputs, Parameter, Pooling, Rotary, Table},
    pass::{Pass, Value},
};

use super::{Config, Entry, attention::SelfAttention, head::class_names, rope::rotary};

/// The table's row.
pub(super) const ENTRY: Entry =
    Entry { model_type: "nanoguard", build: |config| Ok(Box::new(NanoGuard::new(config)?)), prefix: "", unused: &[], ..Entry::BARE };

/// What torch adds to a mean square where nothing else is said: the distance from 1 to the next f32.
const EPSILON: f64 = f32::EPSILON as f64;

struct Block {
    resid: Factor,
    x0: Factor,
    attention: SelfAttention,
    c_fc: Linear,
    c_proj: Linear,
}

struct NanoGuard {
    description: Description,
    wte: Table,
    blocks: Vec<Block>,
    /// Of the stream, without a scale.
    norm: Norm,
    cls_norm: Norm,
    cls_head: Linear,
}

impl NanoGuard {
    fn new(config: &Config) -> Result<Self> {
        let (d, layers, heads) = (config.size("n_embd")?, config.layers("n_layer")?, config.heads_or("n_head", None)?);
        let (kv_heads, d_head) = (config.heads_or("n_kv_head", heads)?, config.divide(("n_embd", d), ("n_head", heads))?);
        config.divide(("n_head", heads), ("n_kv_head", kv_heads))?;
        let (vocabulary, names) = (config.size("vocab_size")?, class_names(config, "cls_head.weight")?);
        let turned = rotary(config, RotaryLayout::HalfSplit, d_head, d_head, 10_000.0)?;
        let turned = Rotary { frequencies: turned.frequencies.iter().map(|f| -f).collect(), ..turned };
        let block = |l: usize| {
            let p = format!("transformer.h.{l}");
            let linear = |name: &str, inputs, outputs| Linear::new(&format!("{p}.{name}"), inputs, outputs);
            let factor = |name: &str| Factor { name: name.into(), length: layers, index: Some(l) };
            let maps = [("c_q", d), ("c_k", kv_heads * d_head), ("c_v", kv_heads * d_head), ("c_proj", d)];
            let maps = maps.map(|(name, outputs)| linear(&format!("attn.{name}"), d, outputs));
            let attention = SelfAttention { norm: Some(Norm::plain_rms(d_head, EPSILON)), ..SelfAttention::new(maps, d_head) };
            Block {
                resid: factor("resid_lambdas"),
                x0: factor("x0_lambdas"),
                attention: attention.turned(&turned),
                c_fc: linear("mlp.c_fc", d, 4 * d),
                c_proj: linear("mlp.c_proj", 4 * d, d),
            }
        };
        Ok(Self {
            wte: Table { name: "transformer.wte.weight".into(), rows: vocabulary, width: d },
            blocks: (0..layers).map(block).collect(),
            norm: Norm::plain_rms(d, EPSILON),
            cls_norm: Norm::layer("cls_norm", d, 1e-5),
            cls_head: Linear::new("cls_head", d, names.len()).with_bias(true),
            description: Description {
                architecture: "nanoguard".into(),
                layers,
                d_model: d,
                heads,
                kv_heads,
                d_head,
                d_ff: 4 * d,
                vocabulary,
                outputs: Outputs::Classes { pooling: Pooling::Mean, names },
                context: config.size("sequence_len")?,
                causal: false,
                beside: d,
                filler: Some(config.size_or("pad_token_id", vocabulary.saturating_sub(3))? as u32),
                rotary: true,
                ..Description::default()
            },
        })
    }
}

impl Architecture for NanoGuard {
    fn description(&self) -> &Description {
        &self.description
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![(&self.wte).into(), (&self.norm).into(), (&self.cls_norm).into(), (&self.cls_head).into()]
    }

    fn block_parameters(&self, layer: usize) -> Vec<Parameter> {
        let b = &self.blocks[layer];
        let factors = [&b.resid, &b.x0].map(Parameter::from);
        let rest = [(&self.norm).into(), (&b.c_fc).into(), (&b.c_proj).into()];
        b.attention.parameters().chain(factors).chain(rest).collect()
    }

    fn token_table(&self) -> Option<&Table> {
        Some(&self.wte)
    }

    fn embed(&self, pass: &mut dyn Pass) -> Result<Value> {
        let tokens = pass.tokens(&self.wte)?;
        let (x, x0) = (pass.norm(&tokens, &self.norm)?, pass.norm(&tokens, &self.norm)?);
        pass.join(x, x0) // [row, 2·d_model]
    }

    fn block(&self, layer: usize, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        let (b, d) = (&self.blocks[layer], &self.description);
        let (x, x0, first) =
            (pass.columns(&x, 0..d.d_model)?, pass.columns(&x, d.d_model..2 * d.d_model)?, pass.columns(&x, d.d_model..2 * d.d_model)?);
        let (x, first) = (pass.scale(x, &b.resid)?, pass.scale(first, &b.x0)?);
        let x = pass.add(x, first)?;

        let h = pass.norm(&x, &self.norm)?;
        let memory = b.attention.keys_values(&h, pass)?;
        let (h, x, x0) = (pass.asked(h)?, pass.asked(x)?, pass.asked(x0)?);
        let out = b.attention.attend(&h, memory, d, layer, pass)?;
        let x = pass.add(x, out)?;

        let h = pass.norm(&x, &self.norm)?;
        let middle = pass.linear(&h, &b.c_fc)?;
        let middle = pass.activation(middle, Activation::ReluSquared)?;
        let out = pass.linear(&middle, &b.c_proj)?;
        let x = pass.add(x, out)?;
        pass.join(x, x0)
    }

    fn finish(&self, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        let x = pass.columns(&x, 0..self.description.d_model)?;
        let x = pass.norm(&x, &self.norm)?;
        let x = pass.mean(&x, 0)?;
        pass.norm(&x, &self.cls_norm)
    }

    fn unembedding(&self) -> Option<&Linear> {
        Some(&self.cls_head)
    }
}

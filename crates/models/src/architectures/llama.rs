//! Llama (Touvron et al. 2023, arXiv 2302.13971): RMS norms before attention and feed-forward, rotary positions, gated feed-forward,
//! grouped heads. SmolLM2, Mistral-shaped and most open decoders are this.
//!
//! ```text
//! x ← x + O·attention(rotate(Q·n₁(x)), rotate(K·n₁(x)), V·n₁(x))        x ← x + D·(silu(G·n₂(x)) ⊙ U·n₂(x))
//! ```

use pellucid_core::{
    Activation, Result, RotaryLayout,
    model::{Architecture, Description, Linear, Norm, Parameter, Table, activation},
    pass::{Pass, Value},
};

use super::{Config, Entry, GgufNames, Needed, attention::SelfAttention, rope::rotary};

/// The table's row.
pub(super) const ENTRY: Entry = Entry {
    model_type: "llama",
    build: |config| {
        let bias = config.flag_or("attention_bias", false)?;
        Ok(Box::new(Llama::new(config, bias, bias)?))
    },
    prefix: "model.",
    unused: &[],
    gguf: Some(GGUF),
    ..Entry::BARE
};

/// Names in GGUF files; queries and keys are stored with their rotary pairs side by side.
pub(super) const GGUF: GgufNames = GgufNames {
    architecture: "llama",
    config: &[
        ("hidden_size", "embedding_length", Needed::Yes),
        ("num_hidden_layers", "block_count", Needed::Yes),
        ("num_attention_heads", "attention.head_count", Needed::Yes),
        ("num_key_value_heads", "attention.head_count_kv", Needed::No),
        ("head_dim", "attention.key_length", Needed::No),
        ("intermediate_size", "feed_forward_length", Needed::Yes),
        ("max_position_embeddings", "context_length", Needed::Yes),
        ("rms_norm_eps", "attention.layer_norm_rms_epsilon", Needed::Yes),
        ("rope_theta", "rope.freq_base", Needed::No),
    ],
    outside: &[("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")],
    block: "model.layers.",
    inside: &[
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ],
    pairs_side_by_side: &[("self_attn.q_proj", "attention.head_count"), ("self_attn.k_proj", "attention.head_count_kv")],
};

struct Block {
    input_layernorm: Norm,
    attention: SelfAttention,
    post_attention_layernorm: Norm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// The architecture. Qwen2 is the same with other biases.
pub(super) struct Llama {
    description: Description,
    embed_tokens: Table,
    blocks: Vec<Block>,
    norm: Norm,
    lm_head: Linear,
    act: Activation,
}

impl Llama {
    /// `qkv_bias`, `o_bias`: which projections carry a bias.
    pub(super) fn new(config: &Config, qkv_bias: bool, o_bias: bool) -> Result<Self> {
        let (d, layers, heads) =
            (config.size("hidden_size")?, config.layers("num_hidden_layers")?, config.heads_or("num_attention_heads", None)?);
        let kv_heads = config.heads_or("num_key_value_heads", heads)?;
        config.divide(("num_attention_heads", heads), ("num_key_value_heads", kv_heads))?;
        let d_head = match config.get("head_dim") {
            Some(_) => config.size("head_dim")?,
            None => config.divide(("hidden_size", d), ("num_attention_heads", heads))?,
        };
        let (d_ff, vocabulary) = (config.size("intermediate_size")?, config.size("vocab_size")?);
        let epsilon = config.epsilon_or("rms_norm_eps", 1e-6)?;
        let mlp_bias = config.flag_or("mlp_bias", false)?;
        let rotary = rotary(config, RotaryLayout::HalfSplit, d_head, d_head, 10_000.0)?;
        let block = |l: usize| {
            let p = format!("model.layers.{l}");
            let qkv = |name: &str, heads: usize| Linear::new(&format!("{p}.self_attn.{name}"), d, heads * d_head).with_bias(qkv_bias);
            let o = Linear::new(&format!("{p}.self_attn.o_proj"), heads * d_head, d).with_bias(o_bias);
            let maps = [qkv("q_proj", heads), qkv("k_proj", kv_heads), qkv("v_proj", kv_heads), o];
            Block {
                input_layernorm: Norm::rms(&format!("{p}.input_layernorm"), d, epsilon),
                attention: SelfAttention::new(maps, d_head).turned(&rotary),
                post_attention_layernorm: Norm::rms(&format!("{p}.post_attention_layernorm"), d, epsilon),
                gate: Linear::new(&format!("{p}.mlp.gate_proj"), d, d_ff).with_bias(mlp_bias),
                up: Linear::new(&format!("{p}.mlp.up_proj"), d, d_ff).with_bias(mlp_bias),
                down: Linear::new(&format!("{p}.mlp.down_proj"), d_ff, d).with_bias(mlp_bias),
            }
        };
        let tied = config.flag_or("tie_word_embeddings", false)?;
        Ok(Self {
            embed_tokens: Table { name: "model.embed_tokens.weight".into(), rows: vocabulary, width: d },
            blocks: (0..layers).map(block).collect(),
            norm: Norm::rms("model.norm", d, epsilon),
            lm_head: Linear::new(if tied { "model.embed_tokens" } else { "lm_head" }, d, vocabulary),
            act: activation(config.name_or("hidden_act", "silu")?)?,
            description: Description {
                architecture: config.model_type()?.into(),
                layers,
                d_model: d,
                heads,
                kv_heads,
                d_head,
                d_ff,
                vocabulary,
                context: config.size_or("max_position_embeddings", 2048)?,
                causal: true,
                rotary: true,
                gated: true,
                ..Description::default()
            },
        })
    }
}

impl Architecture for Llama {
    fn description(&self) -> &Description {
        &self.description
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![(&self.embed_tokens).into(), (&self.norm).into(), (&self.lm_head).into()]
    }

    fn block_parameters(&self, layer: usize) -> Vec<Parameter> {
        let b = &self.blocks[layer];
        let norms = [&b.input_layernorm, &b.post_attention_layernorm].map(Parameter::from);
        b.attention.parameters().chain([&b.gate, &b.up, &b.down].map(Parameter::from)).chain(norms).collect()
    }

    fn token_table(&self) -> Option<&Table> {
        Some(&self.embed_tokens)
    }

    fn embed(&self, pass: &mut dyn Pass) -> Result<Value> {
        pass.tokens(&self.embed_tokens)
    }

    fn block(&self, layer: usize, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        let (b, d) = (&self.blocks[layer], &self.description);
        let h = pass.norm(&x, &b.input_layernorm)?;
        let memory = b.attention.keys_values(&h, pass)?;
        let (h, x) = (pass.asked(h)?, pass.asked(x)?);
        let out = b.attention.attend(&h, memory, d, layer, pass)?;
        let x = pass.add(x, out)?;

        let h = pass.norm(&x, &b.post_attention_layernorm)?;
        let (gate, up) = (pass.linear(&h, &b.gate)?, pass.linear(&h, &b.up)?);
        let middle = pass.gate(gate, up, self.act)?;
        let out = pass.linear(&middle, &b.down)?;
        pass.add(x, out)
    }

    fn finish(&self, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        pass.norm(&x, &self.norm)
    }

    fn unembedding(&self) -> Option<&Linear> {
        Some(&self.lm_head)
    }
}

//! The encoder that BERT and its relatives share; they differ in the names of their tensors, which each tells in a file of its own.
//!
//! ```text
//! x₀ = LN(token + position + kind)                      (·E where embeddings are narrower than the stream)
//! x ← LN(x + O·attention(Q·x, K·x, V·x))        x ← LN(x + W₂·act(W₁·x))
//! ```
//!
//! A norm comes after each sum (Vaswani et al. 2017, arXiv 1706.03762), so the stream itself is normalised, and nothing is left to do after the
//! last block but the head's own steps: see [`Head`].

use pellucid_core::{
    Activation, Error, Result,
    model::{Architecture, Description, Linear, Norm, Parameter, Pooling, Table},
    pass::{Pass, Value},
};

use super::{Config, attention::SelfAttention};

/// What the first block takes.
pub(super) struct Embeddings {
    pub(super) tokens: Table,
    pub(super) positions: Table,
    /// Row of `positions` that the first token gets.
    pub(super) first_position: usize,
    pub(super) types: Option<Table>,
    pub(super) norm: Norm,
    /// To the width of the stream.
    pub(super) widen: Option<Linear>,
}

/// One block.
pub(super) struct Block {
    pub(super) attention: SelfAttention,
    pub(super) attention_norm: Norm,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) norm: Norm,
}

/// What comes after the last block: `last·norm(act(dense·x))`, as far as it is there.
#[derive(Default)]
pub(super) struct Head {
    pub(super) dense: Option<(Linear, Activation)>,
    pub(super) norm: Option<Norm>,
    pub(super) last: Option<Linear>,
}

/// An encoder with its head.
pub(super) struct Encoder {
    pub(super) description: Description,
    pub(super) embeddings: Embeddings,
    /// One a layer, or one that all layers share.
    pub(super) blocks: Vec<Block>,
    pub(super) act: Activation,
    pub(super) head: Head,
}

/// Refuses what the config of an encoder may ask for and this one does not do.
///
/// # Errors
/// Positions other than absolute ones; a decoder; cross-attention.
pub(super) fn check(config: &Config) -> Result<()> {
    let positions = config.name_or("position_embedding_type", "absolute")?;
    if positions != "absolute" {
        let what = format!("the config's `position_embedding_type` is {positions}; only absolute is supported");
        return Err(Error::Unsupported(what));
    }
    for (flag, what) in [("is_decoder", "is a decoder"), ("add_cross_attention", "has cross-attention")] {
        if config.flag_or(flag, false)? {
            return Err(Error::Unsupported(format!("this {} model {what} (`{flag}`), which is not supported", config.model_type()?)));
        }
    }
    Ok(())
}

impl Encoder {
    fn block_of(&self, layer: usize) -> &Block {
        &self.blocks[layer % self.blocks.len()]
    }
}

impl Architecture for Encoder {
    fn description(&self) -> &Description {
        &self.description
    }

    fn parameters(&self) -> Vec<Parameter> {
        let (e, head) = (&self.embeddings, &self.head);
        let tables = [&e.tokens, &e.positions].into_iter().chain(&e.types).map(Parameter::from);
        let norms = std::iter::once(&e.norm).chain(&head.norm).map(Parameter::from);
        let linears = e.widen.iter().chain(head.dense.iter().map(|d| &d.0)).chain(&head.last).map(Parameter::from);
        tables.chain(norms).chain(linears).collect()
    }

    fn block_parameters(&self, layer: usize) -> Vec<Parameter> {
        let b = self.block_of(layer);
        let norms = [&b.attention_norm, &b.norm].map(Parameter::from);
        b.attention.parameters().chain([&b.up, &b.down].map(Parameter::from)).chain(norms).collect()
    }

    fn token_table(&self) -> Option<&Table> {
        Some(&self.embeddings.tokens)
    }

    fn embed(&self, pass: &mut dyn Pass) -> Result<Value> {
        let e = &self.embeddings;
        let mut x = pass.tokens(&e.tokens)?;
        if let Some(types) = &e.types {
            let types = pass.types(types)?;
            x = pass.add(x, types)?;
        }
        let positions = pass.positions(&e.positions, e.first_position)?;
        let x = pass.add(x, positions)?;
        let x = pass.norm(&x, &e.norm)?;
        match &e.widen {
            Some(widen) => pass.linear(&x, widen),
            None => Ok(x),
        }
    }

    fn block(&self, layer: usize, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        let b = self.block_of(layer);
        let memory = b.attention.keys_values(&x, pass)?;
        let x = pass.asked(x)?;
        let out = b.attention.attend(&x, memory, &self.description, layer, pass)?;
        let x = pass.add(x, out)?;
        let x = pass.norm(&x, &b.attention_norm)?;

        let middle = pass.linear(&x, &b.up)?;
        let middle = pass.activation(middle, self.act)?;
        let out = pass.linear(&middle, &b.down)?;
        let x = pass.add(x, out)?;
        pass.norm(&x, &b.norm)
    }

    fn finish(&self, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        let mut x = match self.description.outputs.pooling() {
            Some(Pooling::Mean) => pass.mean(&x, 0)?,
            _ => x,
        };
        if let Some((dense, act)) = &self.head.dense {
            x = pass.linear(&x, dense)?;
            x = pass.activation(x, *act)?;
        }
        match &self.head.norm {
            Some(norm) => pass.norm(&x, norm),
            None => Ok(x),
        }
    }

    fn unembedding(&self) -> Option<&Linear> {
        self.head.last.as_ref()
    }
}

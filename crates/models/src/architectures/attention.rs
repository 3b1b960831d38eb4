//! Self-attention as a part of a block: every architecture here has the same steps, with other tensors.
//!
//! ```text
//! O·attention(n(rotate(Q·h)), n(rotate(K·h)), V·h)        rotate and n only where the architecture has them
//! ```
//!
//! It comes in two halves, because a block lets go of the rows that nobody asks about between them: see [`Pass::asked`].

use pellucid_core::{
    Result,
    model::{Attention, Description, Linear, Norm, Parameter, Rotary},
    pass::{Pass, Value},
};

/// The maps of one block's attention.
pub(super) struct SelfAttention {
    pub(super) q: Linear,
    pub(super) k: Linear,
    pub(super) v: Linear,
    pub(super) o: Linear,
    /// Turns queries and keys by their positions.
    pub(super) rotary: Option<Rotary>,
    /// Normalises each head of queries and keys after they are turned.
    pub(super) norm: Option<Norm>,
    /// Multiplies the scores.
    pub(super) scale: f64,
}

impl SelfAttention {
    /// With `1/√d_head`, nothing turned and nothing normalised.
    pub(super) fn new([q, k, v, o]: [Linear; 4], d_head: usize) -> Self {
        Self { q, k, v, o, rotary: None, norm: None, scale: 1.0 / (d_head as f64).sqrt() }
    }

    /// The same with queries and keys turned.
    pub(super) fn turned(mut self, rotary: &Rotary) -> Self {
        self.rotary = Some(rotary.clone());
        self
    }

    /// What it reads.
    pub(super) fn parameters(&self) -> impl Iterator<Item = Parameter> {
        [&self.q, &self.k, &self.v, &self.o].into_iter().map(Parameter::from).chain(self.norm.iter().map(Parameter::from))
    }

    /// Keys and values `[row, kv_heads·d_head]` of all rows of `h`.
    pub(super) fn keys_values(&self, h: &Value, pass: &mut dyn Pass) -> Result<(Value, Value)> {
        let k = pass.linear(h, &self.k)?;
        Ok((self.placed(k, pass)?, pass.linear(h, &self.v)?))
    }

    /// What block `layer` adds to rows `h`, those that ask: `[row, d_model]`.
    pub(super) fn attend(&self, h: &Value, (k, v): (Value, Value), d: &Description, layer: usize, pass: &mut dyn Pass) -> Result<Value> {
        let q = pass.linear(h, &self.q)?;
        let q = self.placed(q, pass)?;
        let attention = Attention { heads: d.heads, kv_heads: d.kv_heads, d_head: d.d_head, scale: self.scale, causal: d.causal, layer };
        let mixed = pass.attention(q, k, v, &attention)?;
        pass.linear(&mixed, &self.o)
    }

    /// Queries or keys, turned and normalised.
    fn placed(&self, mut x: Value, pass: &mut dyn Pass) -> Result<Value> {
        if let Some(rotary) = &self.rotary {
            x = pass.rotary(x, rotary)?;
        }
        match &self.norm {
            Some(norm) => pass.norm(&x, norm),
            None => Ok(x),
        }
    }
}

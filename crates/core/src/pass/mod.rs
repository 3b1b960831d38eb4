//! The operations that a block is written in, and the two passes that carry them out.
//!
//! - [`fast`]: fused kernels on packed rows, no graph, no n×n tensor;
//! - [`record`]: the tensor library's operations, which a method can look into (and, under rules, send gradients back through).
//!
//! Both run the same block. A test shows on every architecture that they agree.

pub mod fast;
pub mod record;
pub(crate) mod rotary;
pub(crate) mod symbols;

use std::{ops::Range, sync::Arc};

use candle_core::Tensor;
use pellucid_kernels::Activation;

use crate::{
    Result,
    model::{Attention, Factor, Linear, Norm, Rotary, Table},
    patches::Patches,
};

/// Packed rows `[row, width]` on their way through a block; what they are made of is the pass's own business.
#[derive(Debug)]
pub struct Value(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    F32(fast::Rows<f32>),
    F64(fast::Rows<f64>),
    Graph(Tensor),
    Node(usize),
    /// What the copies of a tile have in common with their documents: see [`fast::Common`].
    Same(usize),
}

/// One input symbol: a token, or a vector that stands in place of an embedded token (before positions are added). In a picture a token is a
/// learned row, and a vector the pixels of a patch.
#[derive(Clone, Debug, PartialEq)]
pub enum Symbol {
    /// A token id.
    Token(u32),
    /// A row of [`symbol_width`](crate::Model::symbol_width) numbers.
    Vector(Arc<[f32]>),
}

/// What a model reads: one symbol a position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Input {
    /// The symbols.
    pub symbols: Arc<[Symbol]>,
    /// Kind of each symbol (0 first text, 1 second text); empty: all 0.
    pub types: Arc<[u32]>,
}

impl Input {
    /// Number of positions.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether it has no position.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// Tokens, all of kind 0.
    pub fn tokens(ids: &[u32]) -> Self {
        ids.iter().map(|id| Symbol::Token(*id)).collect()
    }

    /// The same kinds with other symbols, as many.
    #[must_use]
    pub fn with_symbols(&self, symbols: impl IntoIterator<Item = Symbol>) -> Self {
        Self { symbols: symbols.into_iter().collect(), types: self.types.clone() }
    }

    /// Only positions for which `keep` holds.
    #[must_use]
    pub fn retain(&self, keep: impl Fn(usize) -> bool) -> Self {
        let symbols = self.symbols.iter().enumerate().filter(|(p, _)| keep(*p)).map(|(_, s)| s.clone()).collect();
        Self { symbols, types: self.types.iter().enumerate().filter(|(p, _)| keep(*p)).map(|(_, t)| *t).collect() }
    }
}

impl FromIterator<Symbol> for Input {
    fn from_iter<I: IntoIterator<Item = Symbol>>(symbols: I) -> Self {
        Self { symbols: symbols.into_iter().collect(), types: Arc::default() }
    }
}

impl From<Vec<Symbol>> for Input {
    fn from(symbols: Vec<Symbol>) -> Self {
        symbols.into_iter().collect()
    }
}

impl<const N: usize> From<[Symbol; N]> for Input {
    fn from(symbols: [Symbol; N]) -> Self {
        symbols.into_iter().collect()
    }
}

/// What a block may do with rows. Every operation takes and gives packed rows; none changes its arguments in place as seen from outside.
pub trait Pass {
    /// The rows' symbols looked up in a table.
    fn tokens(&mut self, table: &Table) -> Result<Value>;

    /// The rows' pixels; zeros for learned rows.
    fn pixels(&mut self, patches: &Patches) -> Result<Value>;

    /// Learned rows in place of what `x` has there: a symbol that is token `i` becomes row `i` of the tables taken one after the other.
    fn learned(&mut self, x: Value, tables: &[Table]) -> Result<Value>;

    /// The rows' positions looked up in a table, `offset` rows further down.
    fn positions(&mut self, table: &Table, offset: usize) -> Result<Value>;

    /// The rows' kinds looked up in a table.
    fn types(&mut self, table: &Table) -> Result<Value>;

    /// `x·Wᵀ + b`.
    fn linear(&mut self, x: &Value, map: &Linear) -> Result<Value>;

    /// Normalises each row, or each head of it if the norm is as wide as a head.
    fn norm(&mut self, x: &Value, norm: &Norm) -> Result<Value>;

    /// Turns queries or keys by their positions.
    fn rotary(&mut self, x: Value, rotary: &Rotary) -> Result<Value>;

    /// Attention of queries `[row, heads·d_head]` over keys and values `[row, kv_heads·d_head]`, before the output projection.
    /// Queries may be fewer than keys: those of [`Pass::asked`].
    fn attention(&mut self, queries: Value, keys: Value, values: Value, attention: &Attention) -> Result<Value>;

    /// A function of every number.
    fn activation(&mut self, x: Value, function: Activation) -> Result<Value>;

    /// `function(gate) · up`, number by number.
    fn gate(&mut self, gate: Value, up: Value, function: Activation) -> Result<Value>;

    /// `x + y`.
    fn add(&mut self, x: Value, y: Value) -> Result<Value>;

    /// Rows times a stored number, or each column times its own.
    fn scale(&mut self, x: Value, factor: &Factor) -> Result<Value>;

    /// Some columns of every row.
    fn columns(&mut self, x: &Value, columns: Range<usize>) -> Result<Value>;

    /// Rows side by side: the columns of `x`, then those of `y`.
    fn join(&mut self, x: Value, y: Value) -> Result<Value>;

    /// The mean over the rows of each input from its `from`th on, one row each. Only in [`finish`](crate::model::Architecture::finish).
    fn mean(&mut self, x: &Value, from: usize) -> Result<Value>;

    /// The first `count` rows of each input side by side, one row each. Only in [`finish`](crate::model::Architecture::finish).
    fn first(&mut self, x: &Value, count: usize) -> Result<Value>;

    /// The rows that anyone looks at after this block: all of them, but in the last block only those asked for. A block applies it to what
    /// its queries and its residual come from, after keys and values are made.
    fn asked(&mut self, x: Value) -> Result<Value>;
}

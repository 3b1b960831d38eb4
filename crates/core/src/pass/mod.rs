//! The operations that a block is written in, and the two passes that carry them out.
//!
//! - [`fast`]: fused kernels on packed rows, no graph, no n×n tensor;
//! - [`record`]: the tensor library's operations, which a method can look into (and, under rules, send gradients back through).
//!
//! Both run the same block. A test shows on every architecture that they agree.

pub mod fast;
pub mod record;

use candle_core::Tensor;
use pellucid_kernels::Activation;

use crate::{
    Result,
    model::{Attention, Linear, Norm, Rotary, Table},
};

/// Packed rows `[row, width]` on their way through a block; what they are made of is the pass's own business.
#[derive(Debug)]
pub struct Value(Kind);

#[derive(Debug)]
enum Kind {
    F32(fast::Rows<f32>),
    F64(fast::Rows<f64>),
    Graph(Tensor),
}

/// One input symbol: a token, or a vector that stands in place of an embedded token (before positions are added).
#[derive(Clone, Debug, PartialEq)]
pub enum Symbol {
    /// A token id.
    Token(u32),
    /// A row of `d_model` numbers.
    Vector(std::sync::Arc<[f32]>),
}

/// What a block may do with rows. Every operation takes and gives packed rows; none changes its arguments in place as seen from outside.
pub trait Pass {
    /// The rows' symbols looked up in a table.
    fn tokens(&mut self, table: &Table) -> Result<Value>;

    /// The rows' positions looked up in a table, `offset` rows further down.
    fn positions(&mut self, table: &Table, offset: usize) -> Result<Value>;

    /// `x·Wᵀ + b`.
    fn linear(&mut self, x: &Value, map: &Linear) -> Result<Value>;

    /// Normalises each row.
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

    /// The rows that anyone looks at after this block: all of them, but in the last block only those asked for. A block applies it to what
    /// its queries and its residual come from, after keys and values are made.
    fn asked(&mut self, x: Value) -> Result<Value>;
}

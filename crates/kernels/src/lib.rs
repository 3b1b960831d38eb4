//! Fused CPU operations on plain slices of packed rows, row-major `[row, column]`.
//!
//! Two promises hold for every function here. **A row does not know its company**: its result is the same to the last bit however many rows are
//! computed with it, in however many threads, with however many of its keys in a prefix. **No graph, no n×n**: attention holds at most a block of query
//! rows of scores.
//!
//! Lengths that do not fit each other are a mistake in the caller and panic; nothing here reads input from outside.
//! Deliberately absent: anything about models, files or methods, and gradients.

mod activation;
mod attention;
mod buffer;
mod control;
mod distance;
mod elementary;
mod level;
mod norm;
mod packed;
mod product;
mod real;
mod rotary;
mod softmax;
#[cfg(test)]
mod testing;
mod tile;

pub use activation::{Activation, activate, add, gate};
pub use attention::{AttentionShape, KeysValues, attention, attention_parallel};
pub use control::{ControlMode, Factors, control_row};
pub use distance::{Distance, distances};
pub use norm::{layer_norm, rms_norm};
pub use packed::Packed;
pub use product::{product, product_parallel};
pub use real::Real;
pub use rotary::{RotaryLayout, rotary};
pub use softmax::{LogSumExp, soften_rows};

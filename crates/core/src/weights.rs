//! Where weights come from: named tensors in files, decoded a few rows at a time.
//!
//! The engine never holds a model: it asks for the rows it needs, when it needs them, and says when it is done with them,
//! so that a model larger than memory costs one pass over its files.
//! Deliberately absent: device placement, writing, and any notion of what a tensor is for.

use std::ops::Range;

use crate::Result;

/// Shape and storage of one stored tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Row-major shape, outermost axis first (`[out, in]` for a linear map as PyTorch keeps it).
    pub shape: Vec<usize>,
    /// How it is stored, for people: `f32`, `bf16`, `q4_1`, ….
    pub encoding: &'static str,
    /// Bytes it takes in its file.
    pub bytes: u64,
}

impl TensorInfo {
    /// The tensor as a matrix `(rows, columns)`: see [`matrix`].
    pub fn matrix(&self) -> (usize, usize) {
        matrix(&self.shape)
    }
}

/// A shape as that of a matrix `(rows, columns)`. Leading axes of length 1 do not count; then the first axis counts rows, and all others together
/// columns, as in a convolution `[out, in, height, width]` whose windows do not overlap. A vector of n is `(1, n)`, a scalar `(1, 1)`.
pub fn matrix(shape: &[usize]) -> (usize, usize) {
    let leading = shape.iter().take_while(|n| **n == 1).count();
    match &shape[leading.min(shape.len().saturating_sub(1))..] {
        [] => (1, 1),
        [n] => (1, *n),
        [rows, columns @ ..] => (*rows, columns.iter().product()),
    }
}

/// A set of named tensors. Names are those of the checkpoint's own format; an architecture translates.
pub trait WeightStore: Send + Sync {
    /// All names, sorted.
    fn names(&self) -> Vec<String>;

    /// Shape and storage of a tensor, or `None` if there is no tensor of that name.
    fn info(&self, name: &str) -> Option<TensorInfo>;

    /// Decodes rows `rows` of tensor `name`, seen as the matrix of [`TensorInfo::matrix`], into `out` (row-major, `rows.len() * columns` numbers).
    /// Exact for f32, f16, bf16 and every quantised encoding that the store accepts.
    ///
    /// # Errors
    /// No tensor of that name, rows outside it, or `out` of another length.
    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()>;

    /// The caller is done with this tensor for now: mapped pages may leave memory. Never changes what a later read returns.
    fn release(&self, name: &str);
}

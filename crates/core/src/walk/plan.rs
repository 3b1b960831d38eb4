//! What a walk up costs, and how it is cut into sweeps that fit into memory.

use std::ops::Range;

use crate::{
    Error, Result,
    engine::{Compute, Engine},
    model::{Architecture, Description, Parameter},
};

/// What a walk would take, before it is run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Copies of the input, clean ones included.
    pub copies: usize,
    /// Rows that go through every layer, in all sweeps.
    pub rows: u64,
    /// Passes over the layers' weights.
    pub sweeps: usize,
    /// Arithmetic in 10⁹ floating-point operations.
    pub gflop: f64,
    /// Bytes the walk takes at its peak, on top of what the process holds already.
    pub peak_bytes: u64,
}

/// Arithmetic of one row, in floating-point operations (a multiplication and an addition are two).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flops {
    /// Linear maps of all blocks but the last.
    pub blocks: f64,
    /// Linear maps of the last block, for a row that is asked for.
    pub last: f64,
    /// Keys and values of the last block, for every other row.
    pub last_memory: f64,
    /// Attention in one block, per key looked at.
    pub per_key: f64,
    /// The unembedding, per row asked for.
    pub vocabulary: f64,
}

impl Flops {
    /// Of a model.
    pub fn of(architecture: &dyn Architecture) -> Self {
        let d = architecture.description();
        let linears = |layer| -> f64 {
            let maps = architecture.block_parameters(layer).into_iter();
            maps.map(|p| if let Parameter::Linear(l) = p { 2.0 * (l.inputs * l.outputs()) as f64 } else { 0.0 }).sum()
        };
        let last = d.layers - 1;
        Self {
            blocks: (0..last).map(linears).sum(),
            last: linears(last),
            last_memory: 4.0 * (d.d_model * d.kv_heads * d.d_head) as f64,
            per_key: 4.0 * (d.heads * d.d_head) as f64,
            vocabulary: architecture.unembedding().map_or(0.0, |l| 2.0 * (l.inputs * l.outputs()) as f64),
        }
    }

    /// Of a segment of rows `rows` (positions in its sequence) of which `asked` are asked for.
    pub fn segment(&self, description: &Description, rows: Range<usize>, length: usize, asked: usize) -> f64 {
        let n = rows.len() as f64;
        let keys = if description.causal { rows.map(|r| (r + 1) as f64).sum() } else { n * length as f64 };
        let asked = asked as f64;
        n * self.blocks
            + asked * self.last
            + (n - asked) * self.last_memory
            + self.per_key * (keys * (description.layers - 1) as f64 + asked * length as f64)
            + asked * self.vocabulary
    }

    /// What of this a copy has in common with its document, which it begins to differ from in the attention of block `begin`.
    pub fn common(&self, description: &Description, rows: Range<usize>, length: usize, begin: usize) -> f64 {
        let n = rows.len() as f64;
        let keys = if description.causal { rows.map(|r| (r + 1) as f64).sum() } else { n * length as f64 };
        let whole = (n * self.blocks + self.per_key * keys * (description.layers - 1) as f64) / (description.layers - 1).max(1) as f64;
        let queries = if begin + 1 == description.layers { 0 } else { description.heads };
        let projected = 2.0 * (description.d_model * (queries + 2 * description.kv_heads) * description.d_head) as f64;
        whole * begin as f64 + n * projected
    }
}

/// Rows of one thread's tile; intermediates of a block are a few numbers of the feed-forward width per row.
pub(crate) const TILE_ROWS: usize = 384;

/// Outputs of the vocabulary that are decoded and multiplied at a time.
pub(crate) const VOCABULARY_CHUNK: usize = 4096;

/// Bytes by where they go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// Whatever the number of copies: a layer's weights, the vocabulary chunk, threads' intermediates, clean runs.
    pub(crate) fixed: u64,
    /// Per row of a copy.
    pub(crate) per_row: u64,
}

impl Needs {
    /// Of a walk with the given clean lengths; `longest` is the largest tile that can come up.
    pub(crate) fn of(architecture: &dyn Architecture, compute: Compute, clean: &[usize], longest: usize) -> Self {
        let d = architecture.description();
        let size = compute.bytes() as u64;
        let linears = |p: &Parameter| if let Parameter::Linear(l) = p { (l.inputs * l.outputs().next_multiple_of(32)) as u64 } else { 0 };
        let block = (0..d.layers).map(|l| architecture.block_parameters(l).iter().map(linears).sum::<u64>()).max().unwrap_or(0);
        let chunk = architecture.unembedding().map_or(0, |l| VOCABULARY_CHUNK.min(l.outputs()) * l.inputs) as u64;
        let threads = rayon::current_num_threads() as u64;
        let intermediates = (longest.max(TILE_ROWS) * (2 * d.d_ff + 6 * d.d_model)) as u64;
        let memory: u64 = clean.iter().map(|n| (n * ((d.heads + 4 * d.kv_heads) * d.d_head + 3 * d.d_model + d.beside)) as u64).sum();
        Self { fixed: size * (block.max(chunk) + threads * intermediates + memory), per_row: size * (d.d_model + d.beside) as u64 }
    }
}

/// Cuts copies into the fewest runs of neighbours that fit. `rows[i]` is what copy i carries.
///
/// # Errors
/// The largest copy alone does not fit.
pub(crate) fn sweeps(rows: &[usize], needs: Needs, memory: u64) -> Result<Vec<Range<usize>>> {
    let room = memory.saturating_sub(needs.fixed) / needs.per_row.max(1);
    let largest = rows.iter().copied().max().unwrap_or(0);
    if (largest as u64) > room || memory < needs.fixed {
        let wanted = needs.fixed + largest as u64 * needs.per_row;
        return Err(Error::Memory(format!(
            "this needs at least {} MiB, but may take {} MiB: allow more with --max-memory, or explain a shorter input",
            wanted.div_ceil(1 << 20),
            memory >> 20
        )));
    }
    let total: u64 = rows.iter().map(|r| *r as u64).sum();
    // Even sweeps: the fewest that fit, then no larger than they need to be.
    let fewest = total.div_ceil(room.max(1)).max(1);
    let mut cut = cut(rows, total.div_ceil(fewest).max(largest as u64));
    if cut.len() as u64 > fewest {
        cut = self::cut(rows, room);
    }
    Ok(cut)
}

fn cut(rows: &[usize], room: u64) -> Vec<Range<usize>> {
    let mut sweeps = Vec::new();
    let (mut first, mut used) = (0, 0);
    for (i, rows) in rows.iter().enumerate() {
        if i > first && used + *rows as u64 > room {
            sweeps.push(first..i);
            (first, used) = (i, 0);
        }
        used += *rows as u64;
    }
    sweeps.push(first..rows.len());
    sweeps
}

impl Engine<'_> {
    pub(crate) fn flops(&self) -> Flops {
        Flops::of(self.model.architecture())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_are_as_few_as_fit_and_cover_every_copy_once() {
        let needs = Needs { fixed: 10, per_row: 1 };
        assert_eq!(sweeps(&[5, 5, 5, 5], needs, 1000).unwrap(), vec![0..4]);
        assert_eq!(sweeps(&[5, 5, 5, 5], needs, 20).unwrap(), vec![0..2, 2..4]);
        assert_eq!(sweeps(&[6, 5, 4, 3, 2, 1], needs, 20).unwrap(), vec![0..1, 1..3, 3..6]);
        assert_eq!(sweeps(&[], needs, 20).unwrap(), vec![0..0]);
        assert!(sweeps(&[11], needs, 20).unwrap_err().to_string().contains("--max-memory"));
    }
}

//! Attention of one segment of rows to its keys: `out = softmax(q·Kᵀ·scale) · V`, controlled (see [`Factors`]), causal or not, with grouped heads.
//!
//! Keys and values of a head are packed like weights, once for all query heads that share them. Query rows go in blocks: scores up to the block's last
//! visible key, softmax in cache, product with the values. Sums over keys run from key 0 upwards, so that a row's result does not depend on its block, and
//! keys that a row does not see count with an exact 0. Numbers in, numbers out: where a score is infinite or not a number the row still gets a proper pattern,
//! and what was not finite shows in the values.

use std::ops::Range;

use rayon::prelude::*;

use crate::Real;
use crate::buffer::Scratch;
use crate::control::{Control, Factors};
use crate::level::Level;
use crate::packed::transpose_into;
use crate::product::{LINE, PAGE, parts};
use crate::softmax::soften;
use crate::tile::{Finish, Tile};

/// The shape of one attention.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; a divisor of `heads`. Query head `h` looks at key head `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Columns of one head.
    pub d_head: usize,
    /// What scores are multiplied by, usually `1/√d_head`.
    pub scale: f64,
    /// Whether a query sees keys up to its own position only; otherwise it sees all.
    pub causal: bool,
}

/// Keys and values of some rows, each `[rows, kv_heads · d_head]`.
#[derive(Clone, Copy, Debug)]
pub struct KeysValues<'a, T> {
    /// Keys, after rotary.
    pub keys: &'a [T],
    /// Values.
    pub values: &'a [T],
    /// How many rows.
    pub rows: usize,
}

/// Attention of one segment, one thread. `out` and `q` are `[queries, heads · d_head]`.
///
/// Keys are the prefix's rows, then its own, at absolute positions 0, 1, …. Query `r` stands at `positions[r]`, in any order, and sees the keys
/// up to there if the attention is causal, else all of them. Factors are as many as there are keys. Without any key the result is 0.
///
/// Never holds more scores than those of 48 query rows of one head.
pub fn attention<T: Real>(
    out: &mut [T],
    q: &[T],
    positions: &[usize],
    prefix: Option<KeysValues<'_, T>>,
    own: KeysValues<'_, T>,
    shape: &AttentionShape,
    factors: Option<&Factors<'_, T>>,
) {
    Call::new(Level::best(), out, q, positions, prefix, own, shape, factors).run();
}

/// [`attention`] on the current rayon pool, over heads and blocks of query rows.
pub fn attention_parallel<T: Real>(
    out: &mut [T],
    q: &[T],
    positions: &[usize],
    prefix: Option<KeysValues<'_, T>>,
    own: KeysValues<'_, T>,
    shape: &AttentionShape,
    factors: Option<&Factors<'_, T>>,
) {
    Call::new(Level::best(), out, q, positions, prefix, own, shape, factors).run_parallel();
}

/// Query rows whose scores are held at a time, at most.
const BLOCK: usize = 48;
/// Bytes of packed keys and values of a head that stay in the second-level cache beside everything else: then a block need be no more than a tile.
const CACHED: usize = 512 << 10;
/// Multiply–adds below which a second thread costs more than it brings.
const WORTH_A_THREAD: usize = 1 << 19;

/// A checked attention.
pub(crate) struct Call<'a, T: Real> {
    level: Level,
    out: *mut T,
    q: &'a [T],
    positions: &'a [usize],
    prefix: KeysValues<'a, T>,
    own: KeysValues<'a, T>,
    shape: AttentionShape,
    control: Option<Control<'a, T>>,
    /// How many of the keys matter: those that some query sees, or all.
    keys: usize,
}

// SAFETY: `out` is written only by `block`, whose callers hand disjoint heads and rows to different threads; the rest is shared and read only.
unsafe impl<T: Real> Sync for Call<'_, T> {}

impl<'a, T: Real> Call<'a, T> {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        level: Level,
        out: &'a mut [T],
        q: &'a [T],
        positions: &'a [usize],
        prefix: Option<KeysValues<'a, T>>,
        own: KeysValues<'a, T>,
        shape: &AttentionShape,
        factors: Option<&Factors<'a, T>>,
    ) -> Self {
        let AttentionShape { heads, kv_heads, d_head, causal, .. } = *shape;
        assert!(d_head > 0, "a head has at least one column");
        assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads), "{heads} query heads cannot share {kv_heads} key heads evenly");
        let prefix = prefix.unwrap_or(KeysValues { keys: &[], values: &[], rows: 0 });
        for part in [&prefix, &own] {
            let len = part.rows * kv_heads * d_head;
            assert!(
                part.keys.len() == len && part.values.len() == len,
                "keys and values are not {} rows of {kv_heads} heads of {d_head}",
                part.rows
            );
        }
        let queries = positions.len() * heads * d_head;
        assert!(q.len() == queries && out.len() == queries, "queries are not {} rows of {heads} heads of {d_head}", positions.len());
        let total = prefix.rows + own.rows;
        assert!(factors.is_none_or(|factors| factors.keys.len() == total), "as many factors as there are keys: {total}");
        if total == 0 {
            out.fill(T::ZERO);
        }
        let control = factors.and_then(Control::new);
        let seen = positions.iter().max().map_or(0, |&last| total.min(last + 1));
        let keys = if causal && !control.as_ref().is_some_and(Control::looks_ahead) { seen } else { total };
        Call { level, out: out.as_mut_ptr(), q, positions, prefix, own, shape: *shape, control, keys }
    }

    fn total(&self) -> usize {
        self.prefix.rows + self.own.rows
    }

    /// Numbers in a head's packed keys, and in its packed values.
    fn packed(&self) -> (usize, usize) {
        let padded = |n: usize| n.div_ceil(T::PANEL) * T::PANEL;
        (padded(self.keys) * self.shape.d_head, padded(self.shape.d_head) * self.keys)
    }

    /// Rows in a block.
    fn block_rows(&self) -> usize {
        let (keys, values) = self.packed();
        let tile = T::tiles(self.level).len();
        if (keys + values) * size_of::<T>() <= CACHED { tile } else { BLOCK / tile * tile }
    }

    pub(crate) fn run(&self) {
        let (keys, values) = self.packed();
        if self.keys == 0 {
            return;
        }
        let mut packed = Scratch::take(keys + values);
        for kv_head in 0..self.shape.kv_heads {
            self.pack(kv_head, &mut packed);
            for head in self.group(kv_head) {
                for rows in parts(0..self.positions.len(), self.block_rows()) {
                    // SAFETY: `out` is borrowed by this call alone, and this is its only thread.
                    unsafe { self.block(head, rows, &packed) };
                }
            }
        }
    }

    pub(crate) fn run_parallel(&self) {
        let AttentionShape { heads, kv_heads, d_head, .. } = self.shape;
        let worth = (self.positions.len() * self.keys).saturating_mul(heads * d_head) / WORTH_A_THREAD;
        let threads = rayon::current_num_threads();
        if threads == 1 || worth < 2 {
            return self.run();
        }
        let (keys, values) = self.packed();
        let mut packed = Scratch::take((keys + values) * kv_heads);
        packed.par_chunks_mut(keys + values).enumerate().for_each(|(kv_head, packed)| self.pack(kv_head, packed));
        let pieces = worth.min(4 * threads).div_ceil(heads).max(1);
        let blocks: Vec<_> = parts(0..self.positions.len(), self.positions.len().div_ceil(pieces).max(self.block_rows())).collect();
        let packed: &[T] = &packed;
        (0..heads * blocks.len()).into_par_iter().for_each(|piece| {
            let (head, rows) = (piece / blocks.len(), blocks[piece % blocks.len()].clone());
            let packed = &packed[head / (heads / kv_heads) * (keys + values)..][..keys + values];
            for rows in parts(rows, self.block_rows()) {
                // SAFETY: each piece has a head and rows that no other piece has, and so do its blocks.
                unsafe { self.block(head, rows, packed) };
            }
        });
    }

    /// The query heads that share a key head.
    fn group(&self, kv_head: usize) -> Range<usize> {
        let size = self.shape.heads / self.shape.kv_heads;
        kv_head * size..(kv_head + 1) * size
    }

    /// Keys of a head as panels `[panel, d_head, PANEL]`, its values as panels `[panel, key, PANEL]`; padded with zeros.
    fn pack(&self, kv_head: usize, packed: &mut [T]) {
        let (d, width) = (self.shape.d_head, self.shape.kv_heads * self.shape.d_head);
        let (keys, values) = packed.split_at_mut(self.packed().0);
        let row = |matrix: fn(&KeysValues<'a, T>) -> &'a [T], key: usize| {
            let (part, key) = if key < self.prefix.rows { (&self.prefix, key) } else { (&self.own, key - self.prefix.rows) };
            &matrix(part)[key * width + kv_head * d..][..d]
        };
        for (panel, out) in keys.chunks_exact_mut(T::PANEL * d).enumerate() {
            let first = panel * T::PANEL;
            let count = T::PANEL.min(self.keys - first);
            transpose_into(out, 0, d, (first..first + count).map(|key| row(|part| part.keys, key)), |value| value);
            if count < T::PANEL {
                out.chunks_exact_mut(T::PANEL).for_each(|lanes| lanes[count..].fill(T::ZERO));
            }
        }
        for (panel, out) in values.chunks_exact_mut(T::PANEL * self.keys).enumerate() {
            let columns = panel * T::PANEL..d.min((panel + 1) * T::PANEL);
            for (key, out) in out.chunks_exact_mut(T::PANEL).enumerate() {
                let (lanes, rest) = out.split_at_mut(columns.len());
                lanes.copy_from_slice(&row(|part| part.values, key)[columns.clone()]);
                rest.fill(T::ZERO);
            }
        }
    }

    /// Some rows of one head.
    ///
    /// # Safety
    /// Nobody else may touch these rows' columns of this head in `out` meanwhile.
    unsafe fn block(&self, head: usize, rows: Range<usize>, packed: &[T]) {
        let AttentionShape { heads, d_head: d, .. } = self.shape;
        let tiles = T::tiles(self.level);
        let (keys, values) = packed.split_at(self.packed().0);
        let seen = |row: usize| if self.shape.causal { self.total().min(self.positions[row] + 1) } else { self.total() };
        // For each tile: its rows, the keys that some of them see, the keys whose scores are needed.
        let mut cut = [const { (0..0, 0, 0) }; BLOCK];
        let mut count = 0;
        for part in parts(rows.clone(), tiles.len()) {
            let limit = part.clone().map(seen).max().unwrap_or(0);
            let ahead = self.control.as_ref().is_some_and(|control| control.looks_ahead() && control.touches(limit));
            cut[count] = (part, limit, if ahead { self.total() } else { limit });
            count += 1;
        }
        let cut = &cut[..count];
        let stride = cut.iter().map(|&(.., scored)| scored).max().unwrap_or(0).next_multiple_of(32);
        let stride = if (stride * size_of::<T>()).is_multiple_of(PAGE) { stride + LINE } else { stride };
        let mut scores = Scratch::<T>::take(rows.len() * stride);
        let scores = &mut scores[..];
        for (panel, keys) in keys.chunks_exact(T::PANEL * d).enumerate() {
            for (part, _, scored) in cut.iter().filter(|&&(_, _, scored)| panel * T::PANEL < scored) {
                debug_assert!((part.end - rows.start) * stride <= scores.len() && (panel + 1) * T::PANEL <= scored.next_multiple_of(32));
                // SAFETY: rows of q hold all heads; the panel holds d · PANEL numbers; rows of scores are `stride` ≥ the panel's end; the level is
                // this processor's.
                unsafe {
                    tiles[part.len() - 1](&Tile {
                        k: d,
                        x: self.q.as_ptr().add((part.start * heads + head) * d),
                        x_stride: heads * d,
                        panel: keys.as_ptr(),
                        out: scores.as_mut_ptr().add((part.start - rows.start) * stride + panel * T::PANEL),
                        out_stride: stride,
                        columns: T::PANEL,
                        bias: std::ptr::null(),
                        finish: Finish::Set,
                    });
                }
            }
        }
        let mut sums = [T::ONE; BLOCK];
        let scale = T::from_f64(self.shape.scale);
        for (part, limit, _) in cut.iter() {
            for row in part.clone() {
                let scores = &mut scores[(row - rows.start) * stride..][..stride];
                let scale = match &self.control {
                    Some(control) if control.apply(self.level, scores, seen(row), self.total(), scale) => T::ONE,
                    _ => scale,
                };
                sums[row - rows.start] = soften(self.level, scores, seen(row), *limit, scale);
            }
        }
        for (panel, values) in values.chunks_exact(T::PANEL * self.keys).enumerate() {
            let first = panel * T::PANEL;
            for (part, limit, _) in cut.iter() {
                // SAFETY: rows of scores hold `limit` ≤ `keys` numbers; the panel holds keys · PANEL; `out` has these columns of this head, which the
                // caller owns; the level is this processor's.
                unsafe {
                    tiles[part.len() - 1](&Tile {
                        k: *limit,
                        x: scores.as_ptr().add((part.start - rows.start) * stride),
                        x_stride: stride,
                        panel: values.as_ptr(),
                        out: self.out.add((part.start * heads + head) * d + first),
                        out_stride: heads * d,
                        columns: T::PANEL.min(d - first),
                        bias: std::ptr::null(),
                        finish: Finish::Set,
                    });
                }
            }
        }
        for row in rows.clone() {
            let inverse = T::ONE / sums[row - rows.start];
            // SAFETY: the caller owns this row's columns of this head.
            let out = unsafe { std::slice::from_raw_parts_mut(self.out.add((row * heads + head) * d), d) };
            out.iter_mut().for_each(|out| *out *= inverse);
        }
    }
}

#[cfg(test)]
mod tests;

//! An attention row taken apart: what each key's position adds to each query's position.
//!
//! ```text
//! P_ij = L( Σ_h A^h_ij · f^h_j + [i = j]·x_i )        f^h_j = W_O[:, h]·v^h_j, no bias
//! ```
//!
//! `W_O` holds the layer scale, in models that have one. L is the linear part of the norms that follow (mean away, times scale; not the division by
//! the deviation, which is one number a row). It is folded into `W_O` and x beforehand, so it costs nothing a pair.
//! Memory: `f`, heads · keys · `d_model` numbers, if that many may be held, otherwise made again for every block of query rows (which about
//! doubles the work); and a block of query rows of one key at a time for each thread. Nothing of n×n×d, and nothing n×n.

use std::ops::Range;

use pellucid_kernels::{Distance, Packed, distances, product};
use rayon::prelude::*;

use super::{
    attention::SeeRows,
    stage::{Anatomy, Stage},
};
use crate::{
    Result,
    model::{Attention, Norm, NormKind},
    pass::fast::Element,
};

/// Keys whose `f` is made together.
const KEYS: usize = 32;

/// The parts of a stage's attention.
#[derive(Debug)]
pub struct Parts<'s, T: Element> {
    stage: &'s Stage<'s, T>,
    shape: Attention,
    values: usize,
    /// Columns of a part.
    width: usize,
    /// `L·W_O` of each head.
    maps: Vec<Packed<T>>,
    /// `L·x`, where it counts.
    residual: Option<Vec<T>>,
    /// `f`, `[key, head, width]`.
    held: Option<Vec<T>>,
}

impl<'s, T: Element> Parts<'s, T> {
    /// Prepares them. `through`: norms whose linear part is applied, in order; `residual`: whether `x_i` counts as a part of position i; `hold`:
    /// bytes that may be taken for `f`.
    pub fn new(stage: &'s Stage<'s, T>, anatomy: &Anatomy, through: &[Norm], residual: bool, hold: u64) -> Self {
        let shape = anatomy.shape.clone();
        let (width, inputs, d) = (anatomy.projection.outputs(), anatomy.projection.inputs, shape.d_head);
        let mut weight = stage.projection(anatomy).0;
        for norm in through {
            let scale = stage.norm(norm).0;
            if norm.kind == NormKind::Layer {
                let mut mean = vec![0.0; inputs];
                weight.chunks_exact(inputs).for_each(|row| mean.iter_mut().zip(row).for_each(|(m, w)| *m += w));
                weight.chunks_exact_mut(inputs).for_each(|row| row.iter_mut().zip(&mean).for_each(|(w, m)| *w -= m / width as f64));
            }
            for (row, output) in weight.chunks_exact_mut(inputs).zip(0..) {
                let by = scale.map_or(1.0, |s: &[T]| s[output].to_f64());
                row.iter_mut().for_each(|w| *w *= by);
            }
        }
        let of_head = |h: usize| {
            let rows: Vec<Vec<T>> =
                weight.chunks_exact(inputs).map(|w| w[h * d..(h + 1) * d].iter().map(|w| T::from_f64(*w)).collect()).collect();
            Packed::from_rows(d, rows.iter().map(|r| &r[..]))
        };
        let maps = (0..shape.heads).map(of_head).collect();
        let residual = residual.then(|| {
            let mut x = stage.node(anatomy.x).data().to_vec();
            through.iter().for_each(|norm| stage.linear_part(norm, &mut x));
            x
        });
        let mut parts = Self { stage, shape, values: anatomy.values, width, maps, residual, held: None };
        let (n, each) = (parts.keys(), parts.shape.heads * width);
        if (n * each * size_of::<T>()) as u64 <= hold {
            let mut all = vec![T::ZERO; n * each];
            all.par_chunks_mut(KEYS * each).enumerate().for_each(|(i, out)| parts.fill(i * KEYS..i * KEYS + out.len() / each, out));
            parts.held = Some(all);
        }
        parts
    }

    /// Rows that are looked at: all there are.
    pub fn keys(&self) -> usize {
        self.stage.node(self.values).count()
    }

    /// Keys that query row `i` sees: those before this one.
    pub fn seen(&self, i: usize) -> usize {
        if self.shape.causal { i + 1 } else { self.keys() }
    }

    /// Columns of a part.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `f` of some keys, `[key, head, width]`.
    fn fill(&self, keys: Range<usize>, out: &mut [T]) {
        let Attention { heads, kv_heads, d_head, .. } = self.shape;
        let values = self.stage.node(self.values);
        for (h, map) in self.maps.iter().enumerate() {
            let from = &values.data()[keys.start * values.width() + h / (heads / kv_heads) * d_head..];
            product(&mut out[h * self.width..], heads * self.width, from, values.width(), keys.len(), map, None, false);
        }
    }

    /// `f` of each key below `keys`, `[head, width]`, in parallel.
    fn by_key<R: Send>(&self, keys: usize, work: impl Fn(usize, &[T]) -> R + Sync) -> Vec<R> {
        let each = self.shape.heads * self.width;
        let chunk = |c: usize| -> Vec<R> {
            let range = c * KEYS..((c + 1) * KEYS).min(keys);
            let mut made = Vec::new();
            let f = match &self.held {
                Some(held) => &held[range.start * each..range.end * each],
                None => {
                    made.resize(range.len() * each, T::ZERO);
                    self.fill(range.clone(), &mut made);
                    &made[..]
                }
            };
            range.zip(f.chunks_exact(each)).map(|(key, f)| work(key, f)).collect()
        };
        let chunks: Vec<Vec<R>> = (0..keys.div_ceil(KEYS)).into_par_iter().map(chunk).collect();
        chunks.into_iter().flatten().collect()
    }

    /// The parts that key `j` adds to query rows `rows`, `[row, width]`. `patterns` is `[head][row, key]` and begins with row `first`.
    fn of_key(&self, j: usize, f: &[T], first: usize, rows: Range<usize>, patterns: &[Vec<T>]) -> Vec<T> {
        let (n, heads, width) = (self.keys(), self.shape.heads, self.width);
        let at = |i: usize, h: usize| patterns[h][(i - first) * n + j];
        let weights: Vec<T> = rows.clone().flat_map(|i| (0..heads).map(move |h| (i, h))).map(|(i, h)| at(i, h)).collect();
        let packed = Packed::from_columns(width, f.chunks_exact(width));
        let mut out = vec![T::ZERO; rows.len() * width];
        product(&mut out, width, &weights, heads, rows.len(), &packed, None, false);
        if let Some(residual) = self.residual.as_ref().filter(|_| rows.contains(&j)) {
            let row = &mut out[(j - rows.start) * width..][..width];
            row.iter_mut().zip(&residual[j * width..]).for_each(|(o, x)| *o += *x);
        }
        out
    }

    /// `‖P_ij − whole_i‖` of some query rows (`‖P_ij‖` without `wholes`, which is `[row, width]` for all rows), a block of rows at a time:
    /// rows, and `[row, key]` with 0 where a row does not see a key.
    ///
    /// # Errors
    /// Whatever `see` returns.
    pub fn distances(&self, rows: Range<usize>, measure: Distance, wholes: Option<&[T]>, see: &mut SeeRows<'_, T>) -> Result<()> {
        let (n, width) = (self.keys(), self.width);
        self.stage.patterns(rows, &mut |block, patterns| {
            let columns = self.by_key(self.seen(block.end - 1), |j, f| {
                let rows = if self.shape.causal { block.start.max(j)..block.end } else { block.clone() };
                let parts = self.of_key(j, f, block.start, rows.clone(), patterns);
                let mut out = vec![T::ZERO; rows.len()];
                distances(&mut out, None, &parts, width, wholes.map(|y| &y[rows.start * width..rows.end * width]), width, measure);
                (rows.start, out)
            });
            let mut found = vec![T::ZERO; block.len() * n];
            for (j, (first, column)) in columns.into_iter().enumerate() {
                column.into_iter().zip(first - block.start..).for_each(|(x, r)| found[r * n + j] = x);
            }
            see(block, &found)
        })
    }

    /// The parts themselves, one query row at a time: row, and `[key, width]` for the keys it sees.
    ///
    /// # Errors
    /// Whatever `see` returns.
    pub fn vectors(&self, rows: Range<usize>, see: &mut dyn FnMut(usize, &[T]) -> Result<()>) -> Result<()> {
        self.stage.patterns(rows, &mut |block, patterns| {
            for i in block.clone() {
                let parts = self.by_key(self.seen(i), |j, f| self.of_key(j, f, block.start, i..i + 1, patterns));
                see(i, &parts.concat())?;
            }
            Ok(())
        })
    }

    /// Head by head, without residual: `‖a^h_rj·f^h_j − whole_r‖` for rows of weights `[head][row, key]` that need not be a pattern, and keys
    /// below `keys`. Gives `[key][head, row]`.
    pub fn head_distances(&self, weights: &[Vec<T>], keys: usize, wholes: &[T], measure: Distance) -> Vec<Vec<T>> {
        let (n, width) = (self.keys(), self.width);
        let rows = wholes.len() / width;
        self.by_key(keys, |j, f| {
            let mut out = vec![T::ZERO; weights.len() * rows];
            for ((out, f), weights) in out.chunks_exact_mut(rows).zip(f.chunks_exact(width)).zip(weights) {
                let scale: Vec<T> = (0..rows).map(|r| weights[r * n + j]).collect();
                distances(out, Some(&scale), f, 0, Some(wholes), width, measure);
            }
            out
        })
    }
}

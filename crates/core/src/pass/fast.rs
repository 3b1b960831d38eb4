//! The fast pass: fused kernels on a tile of whole segments.
//!
//! A tile is a few hundred rows that belong to whole segments, so that a block runs over it from end to end and its intermediates stay in
//! cache. Tiles run side by side on the thread pool, each on one thread; a lone tile uses all threads inside its operations instead.
//! Deliberately absent: padding, masks, n×n tensors, and any knowledge of what the rows are for.

use std::{borrow::Cow, cell::RefCell, ops::Range, thread::LocalKey};

use pellucid_kernels::{self as kernels, Activation, AttentionShape, Factors, KeysValues, Real};

use super::{
    Kind, Pass, Symbol, Value,
    rotary::RotaryTables,
    symbols::{learn, pixels},
};
use crate::{
    Result, WeightStore,
    control::Control,
    model::{Attention, Factor, Linear, Norm, Rotary, Table},
    patches::Patches,
    prepared::Prepared,
};

/// Packed rows, row-major. Their memory comes from a pool of the thread's own and goes back to it: filling fresh memory with zeros would take
/// one part in twenty of a walk.
#[derive(Debug)]
pub struct Rows<T: Element> {
    pub(crate) data: Vec<T>,
    pub(crate) width: usize,
}

/// Buffers that a thread keeps for its next operations.
type Pool<T> = RefCell<Vec<Vec<T>>>;

/// About as many as a block's tape and what goes back through it have in hand at once.
const POOLED: usize = 32;

impl<T: Element> Rows<T> {
    /// Rows with some numbers in them; whoever takes them writes every one.
    pub(crate) fn unwritten(rows: usize, width: usize) -> Self {
        let length = rows * width;
        let mut data = T::pool().with_borrow_mut(|pool| {
            // Not one that is much too large: rows may be kept for long.
            let fits = (0..pool.len()).filter(|i| (length..=length + length / 4).contains(&pool[*i].capacity()));
            fits.min_by_key(|i| pool[*i].capacity()).map_or(Vec::new(), |i| pool.swap_remove(i))
        });
        data.truncate(length);
        data.resize(length, T::default());
        Self { data, width }
    }

    pub(crate) fn rows(&self) -> usize {
        self.data.len().checked_div(self.width).unwrap_or(0)
    }
}

impl<T: Element> Clone for Rows<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::unwritten(self.rows(), self.width);
        copy.data.copy_from_slice(&self.data);
        copy
    }
}

impl<T: Element> Drop for Rows<T> {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        // A thread that is ending has no pool any more.
        let _ = T::pool().try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() == POOLED {
                pool.remove(0); // sizes that nobody asks for any more go first
            }
            pool.push(data);
        });
    }
}

/// A number type the fast pass computes in: f32 or f64.
pub trait Element: Real {
    #[doc(hidden)]
    fn wrap(rows: Rows<Self>) -> Value;
    #[doc(hidden)]
    fn open(value: Value) -> Rows<Self>;
    #[doc(hidden)]
    fn peek(value: &Value) -> &Rows<Self>;
    #[doc(hidden)]
    fn pool() -> &'static LocalKey<Pool<Self>>;
}

macro_rules! element {
    ($t:ty, $kind:ident) => {
        impl Element for $t {
            fn wrap(rows: Rows<Self>) -> Value {
                Value(Kind::$kind(rows))
            }
            fn open(value: Value) -> Rows<Self> {
                match value.0 {
                    Kind::$kind(rows) => rows,
                    _ => unreachable!("a value is used in the pass that made it"),
                }
            }
            fn peek(value: &Value) -> &Rows<Self> {
                match &value.0 {
                    Kind::$kind(rows) => rows,
                    _ => unreachable!("a value is used in the pass that made it"),
                }
            }
            fn pool() -> &'static LocalKey<Pool<Self>> {
                thread_local!(static POOL: Pool<$t> = const { RefCell::new(Vec::new()) });
                &POOL
            }
        }
    };
}
element!(f32, F32);
element!(f64, F64);

/// Keys and values of one layer, `[row, kv_heads·d_head]` each, after rotary embedding.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory<T> {
    pub(crate) keys: Vec<T>,
    pub(crate) values: Vec<T>,
    pub(crate) width: usize,
}

impl<T> Memory<T> {
    pub(crate) fn rows(&self) -> usize {
        self.keys.len().checked_div(self.width).unwrap_or(0)
    }
}

/// What a document's block did before its attention, operation by operation; number 0 is what the block took.
///
/// Copies that differ from their document in their control alone have all of it in common with the document, in the first block where the
/// control acts: a copy's value is then the number of an operation ([`Kind::Same`]), and rows are made where attention, which differs, is added.
pub(crate) type Common<T> = Vec<Rows<T>>;

/// One segment inside a tile.
#[derive(Debug)]
pub(crate) struct Piece<'a, T> {
    /// The document it is a copy of.
    pub(crate) document: Option<usize>,
    /// Its symbols, one per row (used in the first step only).
    pub(crate) symbols: &'a [Symbol],
    /// Their kinds; empty: all 0.
    pub(crate) types: &'a [u32],
    /// Absolute position of its first row: the number of rows it borrows.
    pub(crate) start: usize,
    /// Rows it carries.
    pub(crate) rows: usize,
    /// Whose keys and values stand before its own; needed if `start > 0`.
    pub(crate) prefix: Option<&'a Memory<T>>,
    /// What is done to its attention.
    pub(crate) control: &'a Control,
    /// Absolute positions that are asked for at the end, ascending.
    pub(crate) asked: &'a [usize],
}

/// The fast pass over one tile in one block.
pub(crate) struct FastPass<'a, T: Element> {
    pub(crate) pieces: &'a [Piece<'a, T>],
    pub(crate) weights: &'a dyn WeightStore,
    pub(crate) prepared: &'a Prepared<T>,
    /// Sines and cosines for every position of the walk.
    pub(crate) rotary: &'a RotaryTables<T>,
    /// Whether operations may use the whole pool.
    pub(crate) parallel: bool,
    /// Whether this is the last block, where only asked rows go on.
    pub(crate) last: bool,
    /// Set to have each piece's keys and values kept (one entry per piece afterwards).
    pub(crate) keep: Option<Vec<Memory<T>>>,
    /// Set to have what happens before attention written down (of a lone piece that begins at position 0).
    pub(crate) memo: Option<Common<T>>,
    /// What documents did, where copies begin with what they have in common with them.
    pub(crate) common: &'a [Common<T>],
    /// Operations so far.
    pub(crate) steps: usize,
}

impl<T: Element> FastPass<'_, T> {
    /// Counts an operation. Where its operands are common to copies and documents, so is its result.
    fn step(&mut self, operands: &[&Value]) -> Option<Value> {
        self.steps = self.steps.saturating_add(1);
        let known = operands.iter().all(|x| matches!(x.0, Kind::Same(_))) && self.common.iter().all(|c| self.steps < c.len());
        known.then_some(Value(Kind::Same(self.steps)))
    }

    /// Gives a result out, and writes it down if that is wanted.
    fn done(&mut self, rows: Rows<T>) -> Result<Value> {
        if let Some(memo) = self.memo.as_mut().filter(|memo| memo.len() == self.steps) {
            memo.push(rows.clone());
        }
        Ok(T::wrap(rows))
    }

    /// Rows of a piece out of a document's.
    fn common_rows(&self, piece: &Piece<'_, T>, step: usize) -> (&[T], usize) {
        let rows = &self.common[piece.document.expect("only copies have something in common with a document")][step];
        (&rows.data[piece.start * rows.width..(piece.start + piece.rows) * rows.width], rows.width)
    }

    /// The rows themselves.
    fn own(&self, x: Value) -> Rows<T> {
        let Kind::Same(step) = x.0 else { return T::open(x) };
        let width = self.pieces.first().map_or(0, |p| self.common_rows(p, step).1);
        let mut out = Rows::unwritten(self.rows(), width);
        let mut rest = &mut out.data[..];
        for piece in self.pieces {
            let (now, later) = rest.split_at_mut(piece.rows * width);
            now.copy_from_slice(self.common_rows(piece, step).0);
            rest = later;
        }
        out
    }

    /// What an operation reads.
    fn seen<'v>(&self, x: &'v Value) -> Cow<'v, Rows<T>> {
        match x.0 {
            Kind::Same(step) => Cow::Owned(self.own(Value(Kind::Same(step)))),
            _ => Cow::Borrowed(T::peek(x)),
        }
    }

    fn rows(&self) -> usize {
        self.pieces.iter().map(|p| p.rows).sum()
    }

    /// One row for each piece that anything is asked of, from its asked rows.
    fn pooled(&self, x: &Rows<T>, width: usize, pool: impl Fn(&mut [T], &[T])) -> Rows<T> {
        let asked = || self.pieces.iter().filter(|p| !p.asked.is_empty());
        let mut out = Rows::<T>::unwritten(asked().count(), width);
        let mut rest = &x.data[..];
        for (piece, out) in asked().zip(out.data.chunks_exact_mut(width)) {
            let (own, later) = rest.split_at(piece.asked.len() * x.width);
            pool(out, own);
            rest = later;
        }
        out
    }

    /// Absolute positions of the rows of `x`: all rows, or the asked ones.
    fn positions_of(&self, rows: usize) -> Vec<usize> {
        if rows == self.rows() {
            self.pieces.iter().flat_map(|p| p.start..p.start + p.rows).collect()
        } else {
            self.pieces.iter().flat_map(|p| p.asked.iter().copied()).collect()
        }
    }
}

/// The mean of rows as wide as `out`.
pub(crate) fn mean<T: Real>(out: &mut [T], rows: &[T]) {
    out.fill(T::default());
    rows.chunks_exact(out.len()).for_each(|row| out.iter_mut().zip(row).for_each(|(o, x)| *o += *x));
    let count = T::from_f64((rows.len() / out.len()) as f64);
    out.iter_mut().for_each(|o| *o /= count);
}

/// Every row times stored numbers: one for all columns, or one a column.
pub(crate) fn stretch<T: Element>(x: &mut Rows<T>, factors: &[T]) {
    match factors {
        [factor] => x.data.iter_mut().for_each(|x| *x *= *factor),
        _ => x.data.chunks_exact_mut(factors.len()).for_each(|row| row.iter_mut().zip(factors).for_each(|(x, f)| *x *= *f)),
    }
}

/// Row-wise work, split over the pool if it may be.
pub(crate) fn by_rows<T: Real>(parallel: bool, width: usize, out: &mut [T], work: impl Fn(Range<usize>, &mut [T]) + Sync) {
    use rayon::prelude::*;
    const ROWS: usize = 16;
    if !parallel {
        return work(0..out.len() / width, out);
    }
    out.par_chunks_mut(ROWS * width).enumerate().for_each(|(i, chunk)| work(i * ROWS..i * ROWS + chunk.len() / width, chunk));
}

impl<T: Element> Pass for FastPass<'_, T> {
    fn tokens(&mut self, table: &Table) -> Result<Value> {
        let mut out = Rows::<T>::unwritten(self.rows(), table.width);
        let mut row = vec![0.0; table.width];
        let symbols = self.pieces.iter().flat_map(|p| p.symbols);
        for (symbol, out) in symbols.zip(out.data.chunks_exact_mut(table.width)) {
            match symbol {
                Symbol::Token(id) => self.weights.read_rows(&table.name, *id as usize..*id as usize + 1, &mut row)?,
                Symbol::Vector(v) => row.copy_from_slice(v),
            }
            out.iter_mut().zip(&row).for_each(|(o, r)| *o = T::from_f32(*r));
        }
        Ok(T::wrap(out))
    }

    fn pixels(&mut self, patches: &Patches) -> Result<Value> {
        let mut out = Rows::<T>::unwritten(self.rows(), patches.width());
        let symbols = self.pieces.iter().flat_map(|p| p.symbols);
        symbols.zip(out.data.chunks_exact_mut(patches.width())).for_each(|(symbol, out)| pixels(out, symbol));
        Ok(T::wrap(out))
    }

    fn learned(&mut self, x: Value, tables: &[Table]) -> Result<Value> {
        let mut x = T::open(x);
        let symbols = self.pieces.iter().flat_map(|p| p.symbols);
        learn(&mut x, symbols, tables, self.weights)?;
        Ok(T::wrap(x))
    }

    fn positions(&mut self, table: &Table, offset: usize) -> Result<Value> {
        let mut out = Rows::<T>::unwritten(self.rows(), table.width);
        let mut row = vec![0.0; table.width];
        for (position, out) in self.positions_of(self.rows()).iter().zip(out.data.chunks_exact_mut(table.width)) {
            self.weights.read_rows(&table.name, position + offset..position + offset + 1, &mut row)?;
            out.iter_mut().zip(&row).for_each(|(o, r)| *o = T::from_f32(*r));
        }
        Ok(T::wrap(out))
    }

    fn types(&mut self, table: &Table) -> Result<Value> {
        let mut out = Rows::<T>::unwritten(self.rows(), table.width);
        let types = self.pieces.iter().flat_map(|p| (0..p.rows).map(|r| p.types.get(r).copied().unwrap_or(0)));
        let mut row = vec![0.0; table.width];
        for (kind, out) in types.zip(out.data.chunks_exact_mut(table.width)) {
            self.weights.read_rows(&table.name, kind as usize..kind as usize + 1, &mut row)?;
            out.iter_mut().zip(&row).for_each(|(o, r)| *o = T::from_f32(*r));
        }
        Ok(T::wrap(out))
    }

    fn linear(&mut self, x: &Value, map: &Linear) -> Result<Value> {
        if let Some(same) = self.step(&[x]) {
            return Ok(same);
        }
        let x = self.seen(x);
        let w = self.prepared.linear(map);
        let (rows, n) = (x.rows(), map.outputs());
        let mut out = Rows::<T>::unwritten(rows, n);
        let product = if self.parallel { kernels::product_parallel } else { kernels::product };
        product(&mut out.data, n, &x.data, x.width, rows, &w.weight, w.bias.as_deref(), false);
        self.done(out)
    }

    fn norm(&mut self, x: &Value, norm: &Norm) -> Result<Value> {
        if let Some(same) = self.step(&[x]) {
            return Ok(same);
        }
        let x = self.seen(x);
        let p = self.prepared.norm(norm);
        let mut out = Rows::<T>::unwritten(x.rows(), x.width);
        by_rows(self.parallel, x.width, &mut out.data, |rows, out| p.apply(out, &x.data[rows.start * x.width..rows.end * x.width], norm));
        self.done(out)
    }

    fn rotary(&mut self, x: Value, rotary: &Rotary) -> Result<Value> {
        if let Some(same) = self.step(&[&x]) {
            return Ok(same);
        }
        let mut x = self.own(x);
        let positions = self.positions_of(x.rows());
        let tables = self.rotary.get(rotary);
        let (width, heads) = (x.width, x.width / rotary.d_head);
        by_rows(self.parallel, width, &mut x.data, |rows, x| {
            kernels::rotary(x, width, heads, rotary.d_head, rotary.dims, rotary.layout, &positions[rows], &tables.cos, &tables.sin);
        });
        self.done(x)
    }

    fn attention(&mut self, queries: Value, keys: Value, values: Value, attention: &Attention) -> Result<Value> {
        self.steps = usize::MAX; // Nothing behind it is written down, or common.
        let operands = [queries, keys, values];
        let common =
            if let [Kind::Same(q), Kind::Same(k), Kind::Same(v)] = operands.each_ref().map(|x| &x.0) { Some([*q, *k, *v]) } else { None };
        let held = if common.is_none() { Some(operands.map(|x| self.own(x))) } else { None };
        let width = attention.heads * attention.d_head;
        let count = held.as_ref().map_or(self.rows(), |[q, ..]| q.rows());
        let whole = held.as_ref().is_none_or(|[q, k, _]| q.rows() == k.rows());
        let shape = AttentionShape {
            heads: attention.heads,
            kv_heads: attention.kv_heads,
            d_head: attention.d_head,
            scale: attention.scale,
            causal: attention.causal,
        };
        let mut out = Rows::<T>::unwritten(count, width);
        let attend = if self.parallel { kernels::attention_parallel } else { kernels::attention };
        let (mut q_row, mut k_row) = (0, 0);
        for piece in self.pieces {
            let positions: Vec<usize> = match whole {
                true => (piece.start..piece.start + piece.rows).collect(),
                false => piece.asked.to_vec(),
            };
            let kv_width = attention.kv_heads * attention.d_head;
            let q_range = q_row * width..(q_row + positions.len()) * width;
            let k_range = k_row * kv_width..(k_row + piece.rows) * kv_width;
            let [q, k, v] = match (&common, &held) {
                (Some(steps), _) => steps.map(|step| self.common_rows(piece, step).0),
                (None, Some([q, k, v])) => [&q.data[q_range.clone()], &k.data[k_range.clone()], &v.data[k_range.clone()]],
                (None, None) => unreachable!("one of them was made above"),
            };
            let own = KeysValues { keys: k, values: v, rows: piece.rows };
            let prefix = (piece.start > 0).then(|| {
                let memory = piece.prefix.expect("a segment that starts late borrows from another");
                let used = ..piece.start * kv_width;
                KeysValues { keys: &memory.keys[used], values: &memory.values[used], rows: piece.start }
            });
            let factors = piece.control.acts_in(attention.layer).then(|| dense::<T>(piece.control, piece.start + piece.rows));
            let factors = factors.as_ref().map(|keys| Factors { mode: piece.control.mode().into(), keys });
            attend(&mut out.data[q_range], q, &positions, prefix, own, &shape, factors.as_ref());
            let kept = self.keep.is_some().then(|| Memory { keys: k.to_vec(), values: v.to_vec(), width: kv_width });
            if let Some(keep) = &mut self.keep {
                keep.extend(kept);
            }
            q_row += positions.len();
            k_row += piece.rows;
        }
        Ok(T::wrap(out))
    }

    fn activation(&mut self, x: Value, function: Activation) -> Result<Value> {
        if let Some(same) = self.step(&[&x]) {
            return Ok(same);
        }
        let mut x = self.own(x);
        by_rows(self.parallel, x.width, &mut x.data, |_, x| kernels::activate(x, function));
        self.done(x)
    }

    fn gate(&mut self, gate: Value, up: Value, function: Activation) -> Result<Value> {
        if let Some(same) = self.step(&[&gate, &up]) {
            return Ok(same);
        }
        let (mut gate, up) = (self.own(gate), self.own(up));
        let width = gate.width;
        by_rows(self.parallel, width, &mut gate.data, |rows, gate| {
            kernels::gate(gate, &up.data[rows.start * width..rows.end * width], function);
        });
        self.done(gate)
    }

    fn add(&mut self, x: Value, y: Value) -> Result<Value> {
        if let Some(same) = self.step(&[&x, &y]) {
            return Ok(same);
        }
        let (mut x, y) = (self.own(x), self.own(y));
        let width = x.width;
        by_rows(self.parallel, width, &mut x.data, |rows, x| kernels::add(x, &y.data[rows.start * width..rows.end * width]));
        self.done(x)
    }

    fn scale(&mut self, x: Value, factor: &Factor) -> Result<Value> {
        if let Some(same) = self.step(&[&x]) {
            return Ok(same);
        }
        let mut x = self.own(x);
        stretch(&mut x, self.prepared.factor(factor));
        self.done(x)
    }

    fn columns(&mut self, x: &Value, columns: Range<usize>) -> Result<Value> {
        if let Some(same) = self.step(&[x]) {
            return Ok(same);
        }
        let x = self.seen(x);
        let mut out = Rows::<T>::unwritten(x.rows(), columns.len());
        let rows = out.data.chunks_exact_mut(columns.len()).zip(x.data.chunks_exact(x.width));
        rows.for_each(|(out, x)| out.copy_from_slice(&x[columns.clone()]));
        self.done(out)
    }

    fn join(&mut self, x: Value, y: Value) -> Result<Value> {
        if let Some(same) = self.step(&[&x, &y]) {
            return Ok(same);
        }
        let (x, y) = (self.own(x), self.own(y));
        let mut out = Rows::<T>::unwritten(x.rows(), x.width + y.width);
        let rows = out.data.chunks_exact_mut(x.width + y.width).zip(x.data.chunks_exact(x.width)).zip(y.data.chunks_exact(y.width));
        rows.for_each(|((out, a), b)| {
            out[..a.len()].copy_from_slice(a);
            out[a.len()..].copy_from_slice(b);
        });
        self.done(out)
    }

    fn mean(&mut self, x: &Value, from: usize) -> Result<Value> {
        let x = T::peek(x);
        Ok(T::wrap(self.pooled(x, x.width, |out, own| mean(out, &own[from * x.width..]))))
    }

    fn first(&mut self, x: &Value, count: usize) -> Result<Value> {
        let x = T::peek(x);
        Ok(T::wrap(self.pooled(x, count * x.width, |out, own| out.copy_from_slice(&own[..out.len()]))))
    }

    fn asked(&mut self, x: Value) -> Result<Value> {
        if !self.last {
            return Ok(x);
        }
        let x = self.own(x);
        let mut data = Vec::new();
        let mut first = 0;
        for piece in self.pieces {
            let row = |p: &usize| first + p - piece.start;
            piece.asked.iter().for_each(|p| data.extend_from_slice(&x.data[row(p) * x.width..(row(p) + 1) * x.width]));
            first += piece.rows;
        }
        Ok(T::wrap(Rows { data, width: x.width }))
    }
}

pub(crate) fn dense<T: Real>(control: &Control, keys: usize) -> Vec<T> {
    let mut factors = vec![T::from_f64(1.0); keys];
    control.factors().iter().filter(|(p, _)| *p < keys).for_each(|&(p, f)| factors[p] = T::from_f64(f));
    factors
}

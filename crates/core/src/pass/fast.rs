//! The fast pass: fused kernels on a tile of whole segments.
//!
//! A tile is a few hundred rows that belong to whole segments, so that a block runs over it from end to end and its intermediates stay in
//! cache. Tiles run side by side on the thread pool, each on one thread; a lone tile uses all threads inside its operations instead.
//! Deliberately absent: padding, masks, n×n tensors, and any knowledge of what the rows are for.

use std::{
    cell::RefCell,
    ops::Range,
    sync::{Arc, Mutex},
    thread::LocalKey,
};

use pellucid_kernels::{self as kernels, Activation, AttentionShape, Factors, KeysValues, Real};

use super::{Input, Kind, Pass, Symbol, Value};
use crate::{
    Error, Result, WeightStore,
    control::Control,
    model::{Architecture, Attention, Factor, Linear, Norm, Rotary, Table},
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

/// One segment inside a tile.
#[derive(Debug)]
pub(crate) struct Piece<'a, T> {
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
pub(crate) struct FastPass<'a, T> {
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
}

impl<T: Element> FastPass<'_, T> {
    fn rows(&self) -> usize {
        self.pieces.iter().map(|p| p.rows).sum()
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
        let x = T::peek(x);
        let w = self.prepared.linear(map);
        let (rows, n) = (x.rows(), map.outputs());
        let mut out = Rows::<T>::unwritten(rows, n);
        let product = if self.parallel { kernels::product_parallel } else { kernels::product };
        product(&mut out.data, n, &x.data, x.width, rows, &w.weight, w.bias.as_deref(), false);
        Ok(T::wrap(out))
    }

    fn norm(&mut self, x: &Value, norm: &Norm) -> Result<Value> {
        let x = T::peek(x);
        let p = self.prepared.norm(norm);
        let mut out = Rows::<T>::unwritten(x.rows(), x.width);
        by_rows(self.parallel, x.width, &mut out.data, |rows, out| p.apply(out, &x.data[rows.start * x.width..rows.end * x.width], norm));
        Ok(T::wrap(out))
    }

    fn rotary(&mut self, x: Value, rotary: &Rotary) -> Result<Value> {
        let mut x = T::open(x);
        let positions = self.positions_of(x.rows());
        let tables = self.rotary.get(rotary);
        let (width, heads) = (x.width, x.width / rotary.d_head);
        by_rows(self.parallel, width, &mut x.data, |rows, x| {
            kernels::rotary(x, width, heads, rotary.d_head, rotary.dims, rotary.layout, &positions[rows], &tables.cos, &tables.sin);
        });
        Ok(T::wrap(x))
    }

    fn attention(&mut self, queries: Value, keys: Value, values: Value, attention: &Attention) -> Result<Value> {
        let (q, k, v) = (T::open(queries), T::open(keys), T::open(values));
        let whole = q.rows() == k.rows();
        let shape = AttentionShape {
            heads: attention.heads,
            kv_heads: attention.kv_heads,
            d_head: attention.d_head,
            scale: attention.scale,
            causal: attention.causal,
        };
        let mut out = Rows::<T>::unwritten(q.rows(), q.width);
        let attend = if self.parallel { kernels::attention_parallel } else { kernels::attention };
        let (mut q_row, mut k_row) = (0, 0);
        for piece in self.pieces {
            let positions: Vec<usize> = match whole {
                true => (piece.start..piece.start + piece.rows).collect(),
                false => piece.asked.to_vec(),
            };
            let q_range = q_row * q.width..(q_row + positions.len()) * q.width;
            let k_range = k_row * k.width..(k_row + piece.rows) * k.width;
            let own = KeysValues { keys: &k.data[k_range.clone()], values: &v.data[k_range.clone()], rows: piece.rows };
            let prefix = (piece.start > 0).then(|| {
                let memory = piece.prefix.expect("a segment that starts late borrows from another");
                let used = ..piece.start * k.width;
                KeysValues { keys: &memory.keys[used], values: &memory.values[used], rows: piece.start }
            });
            let factors = piece.control.acts_in(attention.layer).then(|| dense::<T>(piece.control, piece.start + piece.rows));
            let factors = factors.as_ref().map(|keys| Factors { mode: piece.control.mode().into(), keys });
            attend(&mut out.data[q_range.clone()], &q.data[q_range], &positions, prefix, own, &shape, factors.as_ref());
            if let Some(keep) = &mut self.keep {
                keep.push(Memory { keys: k.data[k_range.clone()].to_vec(), values: v.data[k_range].to_vec(), width: k.width });
            }
            q_row += positions.len();
            k_row += piece.rows;
        }
        Ok(T::wrap(out))
    }

    fn activation(&mut self, x: Value, function: Activation) -> Result<Value> {
        let mut x = T::open(x);
        by_rows(self.parallel, x.width, &mut x.data, |_, x| kernels::activate(x, function));
        Ok(T::wrap(x))
    }

    fn gate(&mut self, gate: Value, up: Value, function: Activation) -> Result<Value> {
        let (mut gate, up) = (T::open(gate), T::open(up));
        let width = gate.width;
        by_rows(self.parallel, width, &mut gate.data, |rows, gate| {
            kernels::gate(gate, &up.data[rows.start * width..rows.end * width], function);
        });
        Ok(T::wrap(gate))
    }

    fn add(&mut self, x: Value, y: Value) -> Result<Value> {
        let (mut x, y) = (T::open(x), T::open(y));
        let width = x.width;
        by_rows(self.parallel, width, &mut x.data, |rows, x| kernels::add(x, &y.data[rows.start * width..rows.end * width]));
        Ok(T::wrap(x))
    }

    fn scale(&mut self, x: Value, factor: &Factor) -> Result<Value> {
        let mut x = T::open(x);
        let factor = self.prepared.factor(factor);
        x.data.iter_mut().for_each(|x| *x *= factor);
        Ok(T::wrap(x))
    }

    fn columns(&mut self, x: &Value, columns: Range<usize>) -> Result<Value> {
        let x = T::peek(x);
        let mut out = Rows::<T>::unwritten(x.rows(), columns.len());
        let rows = out.data.chunks_exact_mut(columns.len()).zip(x.data.chunks_exact(x.width));
        rows.for_each(|(out, x)| out.copy_from_slice(&x[columns.clone()]));
        Ok(T::wrap(out))
    }

    fn join(&mut self, x: Value, y: Value) -> Result<Value> {
        let (x, y) = (T::open(x), T::open(y));
        let mut out = Rows::<T>::unwritten(x.rows(), x.width + y.width);
        let rows = out.data.chunks_exact_mut(x.width + y.width).zip(x.data.chunks_exact(x.width)).zip(y.data.chunks_exact(y.width));
        rows.for_each(|((out, a), b)| {
            out[..a.len()].copy_from_slice(a);
            out[a.len()..].copy_from_slice(b);
        });
        Ok(T::wrap(out))
    }

    fn mean(&mut self, x: Value) -> Result<Value> {
        let x = T::open(x);
        let asked = || self.pieces.iter().filter(|p| !p.asked.is_empty());
        let mut out = Rows::<T>::unwritten(asked().count(), x.width);
        let mut rest = &x.data[..];
        for (piece, out) in asked().zip(out.data.chunks_exact_mut(x.width)) {
            let (own, later) = rest.split_at(piece.asked.len() * x.width);
            mean(out, own);
            rest = later;
        }
        Ok(T::wrap(out))
    }

    fn asked(&mut self, x: Value) -> Result<Value> {
        if !self.last {
            return Ok(x);
        }
        let x = T::open(x);
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

/// Sines and cosines of a rotary embedding, `[position, dims/2]`, computed in f64 once per walk.
#[derive(Debug)]
pub(crate) struct RotaryTables<T> {
    positions: usize,
    made: Mutex<Vec<(Rotary, Arc<SinCos<T>>)>>,
}

#[derive(Debug)]
pub(crate) struct SinCos<T> {
    pub(crate) cos: Vec<T>,
    pub(crate) sin: Vec<T>,
}

impl<T: Real> RotaryTables<T> {
    /// For positions below `positions`.
    pub(crate) fn new(positions: usize) -> Self {
        Self { positions, made: Mutex::default() }
    }

    pub(crate) fn get(&self, rotary: &Rotary) -> Arc<SinCos<T>> {
        let mut made = self.made.lock().expect("no thread panics while it holds the tables");
        if let Some((_, tables)) = made.iter().find(|(r, _)| r == rotary) {
            return tables.clone();
        }
        let angles = || (0..self.positions).flat_map(|p| rotary.frequencies.iter().map(move |f| p as f64 * f));
        let cos = angles().map(|a| T::from_f64(a.cos() * rotary.magnitude)).collect();
        let sin = angles().map(|a| T::from_f64(a.sin() * rotary.magnitude)).collect();
        let tables = Arc::new(SinCos { cos, sin });
        made.push((rotary.clone(), tables.clone()));
        tables
    }
}

pub(crate) fn dense<T: Real>(control: &Control, keys: usize) -> Vec<T> {
    let mut factors = vec![T::from_f64(1.0); keys];
    control.factors().iter().filter(|(p, _)| *p < keys).for_each(|&(p, f)| factors[p] = T::from_f64(f));
    factors
}

/// Checks that every position can be looked up, before anything is computed.
///
/// # Errors
/// A token outside the vocabulary, a vector of the wrong width or with a number that is not finite, kinds that are too many, too few or unknown.
pub(crate) fn check_input(input: &Input, architecture: &dyn Architecture) -> Result<()> {
    let (positions, kinds) = (input.symbols.len(), architecture.description().types);
    if !input.types.is_empty() && input.types.len() != positions {
        return Err(Error::request(format!("{} token types for {positions} positions; give one each, or none", input.types.len())));
    }
    if let Some(kind) = input.types.iter().find(|t| **t > 0 && **t as usize >= kinds) {
        return Err(Error::request(format!("token type {kind} is unknown to the model, which tells {kinds} apart (counted from 0)")));
    }
    check_symbols(&input.symbols, architecture.token_table())
}

/// Checks that every symbol can be looked up, before anything is computed.
///
/// # Errors
/// A token outside the vocabulary, a vector of the wrong width or with a number that is not finite.
pub(crate) fn check_symbols(symbols: &[Symbol], table: &Table) -> Result<()> {
    for symbol in symbols {
        match symbol {
            Symbol::Token(id) if *id as usize >= table.rows => {
                return Err(Error::request(format!("token id {id} is outside the vocabulary, which has {} tokens", table.rows)));
            }
            Symbol::Vector(v) if v.len() != table.width || v.iter().any(|x| !x.is_finite()) => {
                let problem =
                    if v.len() == table.width { "contains a number that is not finite".into() } else { format!("has {} numbers", v.len()) };
                return Err(Error::request(format!(
                    "an input vector {problem}; the model takes {} finite numbers a position",
                    table.width
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

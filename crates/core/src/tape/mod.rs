//! The taping pass: a block run on the fast kernels, with every operation and its result written down, so that a walk down can go back through
//! it under rules, or take it apart.
//!
//! One block's tape exists at a time. No pattern is on it: attention is taken apart again in blocks of query rows (`attention.rs`).

pub(crate) mod attention;
pub(crate) mod backward;
pub(crate) mod gamma;
mod matrix;
pub mod parts;
pub(crate) mod relevance;
pub mod stage;

use std::ops::Range;

use pellucid_kernels::{self as kernels, Activation, AttentionShape, Factors, KeysValues};

pub use backward::derivative;
pub use matrix::Matrix;
pub(crate) use matrix::Weights;

use crate::{
    Result, WeightStore,
    control::Control,
    model::{Attention, Factor, Linear, Norm, Rotary, Table},
    pass::{
        Input, Kind, Pass, Symbol, Value,
        fast::{Element, Rows, by_rows, dense, mean, stretch},
        rotary::RotaryTables,
        symbols::{learn, pixels},
    },
    patches::Patches,
};

/// One operation; operands are the numbers of earlier nodes.
#[derive(Clone, Debug)]
pub enum Op {
    /// What the stage takes.
    Input,
    /// Token (or given) embeddings.
    Tokens,
    /// The pixels of patches.
    Pixels {
        /// Rows that are learned and have none.
        learned: Vec<usize>,
    },
    /// `x` but for some rows, which are learned.
    Learned {
        /// Operand.
        x: usize,
        /// Which.
        learned: Vec<usize>,
    },
    /// Looked up by position or kind.
    Lookup,
    /// `x·Wᵀ + b`.
    Linear {
        /// Operand.
        x: usize,
        /// The map.
        map: Linear,
    },
    /// A normalisation.
    Norm {
        /// Operand.
        x: usize,
        /// Which.
        norm: Norm,
    },
    /// A rotary position embedding.
    Rotary {
        /// Operand.
        x: usize,
        /// Which.
        rotary: Rotary,
    },
    /// Attention, before its output projection.
    Attention {
        /// Queries.
        q: usize,
        /// Keys.
        k: usize,
        /// Values.
        v: usize,
        /// Which.
        attention: Attention,
    },
    /// A function of every number.
    Activation {
        /// Operand.
        x: usize,
        /// Which.
        function: Activation,
    },
    /// `function(gate) · up`.
    Gate {
        /// What the function is applied to.
        gate: usize,
        /// The other factor.
        up: usize,
        /// Which.
        function: Activation,
    },
    /// `x + y`.
    Add {
        /// Operand.
        x: usize,
        /// Operand.
        y: usize,
    },
    /// `x` times a stored number, or each column times its own.
    Scale {
        /// Operand.
        x: usize,
        /// Which.
        factor: Factor,
    },
    /// Some columns of every row.
    Columns {
        /// Operand.
        x: usize,
        /// Which.
        columns: Range<usize>,
    },
    /// Rows side by side.
    Join {
        /// Left columns.
        x: usize,
        /// Right columns.
        y: usize,
    },
    /// The mean over rows, one row.
    Mean {
        /// Operand.
        x: usize,
        /// The first of them.
        from: usize,
    },
    /// The first rows side by side, one row.
    First {
        /// Operand.
        x: usize,
        /// How many.
        count: usize,
    },
    /// Some rows.
    Select {
        /// Operand.
        x: usize,
        /// Which, in order.
        rows: Vec<usize>,
    },
}

impl Op {
    /// Whether it is what the symbols of an input stand for: token embeddings, or pixels.
    pub fn is_symbols(&self) -> bool {
        matches!(self, Op::Tokens | Op::Pixels { .. })
    }

    /// The nodes it reads.
    pub fn operands(&self) -> Vec<usize> {
        match self {
            Op::Input | Op::Tokens | Op::Pixels { .. } | Op::Lookup => Vec::new(),
            Op::Linear { x, .. }
            | Op::Learned { x, .. }
            | Op::Norm { x, .. }
            | Op::Rotary { x, .. }
            | Op::Activation { x, .. }
            | Op::Scale { x, .. }
            | Op::Columns { x, .. }
            | Op::Mean { x, .. }
            | Op::First { x, .. }
            | Op::Select { x, .. } => vec![*x],
            Op::Gate { gate: x, up: y, .. } | Op::Add { x, y } | Op::Join { x, y } => vec![*x, *y],
            Op::Attention { q, k, v, .. } => vec![*q, *k, *v],
        }
    }
}

/// An operation and its result.
#[derive(Debug)]
pub struct Node<T: Element> {
    /// What was done.
    pub op: Op,
    pub(crate) rows: Rows<T>,
}

impl<T: Element> Node<T> {
    /// The result, row-major.
    pub fn data(&self) -> &[T] {
        &self.rows.data
    }

    /// Columns of the result.
    pub fn width(&self) -> usize {
        self.rows.width
    }

    /// Rows of the result.
    pub fn count(&self) -> usize {
        self.rows.rows()
    }
}

/// What happened, in order.
#[derive(Debug)]
pub struct Tape<T: Element> {
    /// Every operation, operands before their users.
    pub nodes: Vec<Node<T>>,
    /// The node that is the result.
    pub output: usize,
}

impl<T: Element> Tape<T> {
    /// Lets go of results that gradient rules do not look at: what stays is what goes into norms, activations, gates and attention.
    pub(crate) fn thin(&mut self) {
        let mut needed = vec![false; self.nodes.len()];
        needed[0] = true; // what the block takes: somebody may want to see it
        for (at, node) in self.nodes.iter().enumerate() {
            match &node.op {
                // The operands of a linear map, a sum or a rotation do not matter to their derivatives.
                Op::Input | Op::Tokens | Op::Pixels { .. } | Op::Lookup => {}
                Op::Linear { .. } | Op::Learned { .. } | Op::Rotary { .. } | Op::Add { .. } | Op::Scale { .. } => {}
                Op::Activation { x, .. } => (needed[at], needed[*x]) = (true, true),
                op => op.operands().into_iter().for_each(|o| needed[o] = true),
            }
        }
        for (node, needed) in self.nodes.iter_mut().zip(needed) {
            if !needed {
                node.rows = Rows::unwritten(0, node.rows.width);
            }
        }
    }
}

/// The taping pass over one input.
pub(crate) struct TapePass<'a, T: Element> {
    pub(crate) input: &'a Input,
    /// What stands in place of the token embeddings, if not the input's own.
    pub(crate) embedded: Option<&'a [f64]>,
    pub(crate) control: &'a Control,
    pub(crate) store: &'a dyn WeightStore,
    pub(crate) weights: &'a Weights<T>,
    pub(crate) rotary: &'a RotaryTables<T>,
    /// Whether operations may use the whole pool.
    pub(crate) parallel: bool,
    pub(crate) nodes: Vec<Node<T>>,
}

impl<T: Element> TapePass<'_, T> {
    /// Writes down what a stage takes.
    pub(crate) fn begin(&mut self, rows: Rows<T>) -> Value {
        self.push(Op::Input, rows)
    }

    /// Some rows of a value.
    pub(crate) fn select(&mut self, x: &Value, rows: &[usize]) -> Value {
        let x = node(x);
        let from = &self.nodes[x].rows;
        let mut out = Rows::unwritten(rows.len(), from.width);
        for (r, out) in rows.iter().zip(out.data.chunks_exact_mut(from.width)) {
            out.copy_from_slice(&from.data[r * from.width..(r + 1) * from.width]);
        }
        self.push(Op::Select { x, rows: rows.to_vec() }, out)
    }

    /// The tape, ending in `output`.
    pub(crate) fn end(self, output: &Value) -> Tape<T> {
        Tape { nodes: self.nodes, output: node(output) }
    }

    fn push(&mut self, op: Op, rows: Rows<T>) -> Value {
        self.nodes.push(Node { op, rows });
        Value(Kind::Node(self.nodes.len() - 1))
    }

    /// Rows whose symbol is a token.
    fn learned_rows(&self) -> Vec<usize> {
        let symbols = self.input.symbols.iter().enumerate();
        symbols.filter(|(_, s)| matches!(s, Symbol::Token(_))).map(|(i, _)| i).collect()
    }

    fn lookup(&self, table: &Table, row: impl Fn(usize) -> usize) -> Result<Rows<T>> {
        let mut out = Rows::<T>::unwritten(self.input.len(), table.width);
        let mut values = vec![0.0; table.width];
        for (p, out) in out.data.chunks_exact_mut(table.width).enumerate() {
            self.store.read_rows(&table.name, row(p)..row(p) + 1, &mut values)?;
            out.iter_mut().zip(&values).for_each(|(o, v)| *o = T::from_f32(*v));
        }
        Ok(out)
    }
}

fn node(value: &Value) -> usize {
    match value.0 {
        Kind::Node(node) => node,
        _ => unreachable!("a value is used in the pass that made it"),
    }
}

pub(crate) fn copy<T: Element>(x: &Rows<T>) -> Rows<T> {
    x.clone()
}

/// Turns rows by their positions, row `r` standing at `r`.
pub(crate) fn turn<T: Element>(x: &mut Rows<T>, rotary: &Rotary, tables: &RotaryTables<T>, parallel: bool) {
    let tables = tables.get(rotary);
    let (width, heads) = (x.width, x.width / rotary.d_head);
    by_rows(parallel, width, &mut x.data, |rows, x| {
        let positions: Vec<usize> = rows.collect();
        kernels::rotary(x, width, heads, rotary.d_head, rotary.dims, rotary.layout, &positions, &tables.cos, &tables.sin);
    });
}

impl<T: Element> Pass for TapePass<'_, T> {
    fn tokens(&mut self, table: &Table) -> Result<Value> {
        let mut out = Rows::<T>::unwritten(self.input.len(), table.width);
        if let Some(embedded) = self.embedded {
            out.data.iter_mut().zip(embedded).for_each(|(o, x)| *o = T::from_f64(*x));
            return Ok(self.push(Op::Tokens, out));
        }
        let mut values = vec![0.0; table.width];
        for (symbol, out) in self.input.symbols.iter().zip(out.data.chunks_exact_mut(table.width)) {
            match symbol {
                Symbol::Token(id) => self.store.read_rows(&table.name, *id as usize..*id as usize + 1, &mut values)?,
                Symbol::Vector(v) => values.copy_from_slice(v),
            }
            out.iter_mut().zip(&values).for_each(|(o, v)| *o = T::from_f32(*v));
        }
        Ok(self.push(Op::Tokens, out))
    }

    fn pixels(&mut self, patches: &Patches) -> Result<Value> {
        let mut out = Rows::<T>::unwritten(self.input.len(), patches.width());
        match self.embedded {
            Some(given) => out.data.iter_mut().zip(given).for_each(|(o, x)| *o = T::from_f64(*x)),
            None => self.input.symbols.iter().zip(out.data.chunks_exact_mut(patches.width())).for_each(|(s, out)| pixels(out, s)),
        }
        let op = Op::Pixels { learned: self.learned_rows() };
        Ok(self.push(op, out))
    }

    fn learned(&mut self, x: Value, tables: &[Table]) -> Result<Value> {
        let x = node(&x);
        let mut out = copy(&self.nodes[x].rows);
        learn(&mut out, self.input.symbols.iter(), tables, self.store)?;
        let op = Op::Learned { x, learned: self.learned_rows() };
        Ok(self.push(op, out))
    }

    fn positions(&mut self, table: &Table, offset: usize) -> Result<Value> {
        let out = self.lookup(table, |p| p + offset)?;
        Ok(self.push(Op::Lookup, out))
    }

    fn types(&mut self, table: &Table) -> Result<Value> {
        let out = self.lookup(table, |p| self.input.types.get(p).map_or(0, |t| *t as usize))?;
        Ok(self.push(Op::Lookup, out))
    }

    fn linear(&mut self, x: &Value, map: &Linear) -> Result<Value> {
        let x = node(x);
        let (from, matrix) = (&self.nodes[x].rows, self.weights.matrix(map));
        let mut out = Rows::unwritten(from.rows(), map.outputs());
        let product = if self.parallel { kernels::product_parallel } else { kernels::product };
        product(&mut out.data, map.outputs(), &from.data, from.width, from.rows(), matrix.forward(), matrix.bias(), false);
        Ok(self.push(Op::Linear { x, map: map.clone() }, out))
    }

    fn norm(&mut self, x: &Value, norm: &Norm) -> Result<Value> {
        let x = node(x);
        let (from, p) = (&self.nodes[x].rows, self.weights.rest.norm(norm));
        let mut out = Rows::unwritten(from.rows(), from.width);
        by_rows(self.parallel, from.width, &mut out.data, |rows, out| {
            p.apply(out, &from.data[rows.start * from.width..rows.end * from.width], norm);
        });
        Ok(self.push(Op::Norm { x, norm: norm.clone() }, out))
    }

    fn rotary(&mut self, x: Value, rotary: &Rotary) -> Result<Value> {
        let x = node(&x);
        let mut out = copy(&self.nodes[x].rows);
        turn(&mut out, rotary, self.rotary, self.parallel);
        Ok(self.push(Op::Rotary { x, rotary: rotary.clone() }, out))
    }

    fn attention(&mut self, queries: Value, keys: Value, values: Value, attention: &Attention) -> Result<Value> {
        let [q, k, v] = [&queries, &keys, &values].map(node);
        let rows = |i: usize| &self.nodes[i].rows;
        let n = rows(k).rows();
        let shape = AttentionShape {
            heads: attention.heads,
            kv_heads: attention.kv_heads,
            d_head: attention.d_head,
            scale: attention.scale,
            causal: attention.causal,
        };
        let mut out = Rows::unwritten(n, rows(q).width);
        let attend = if self.parallel { kernels::attention_parallel } else { kernels::attention };
        let factors = self.control.acts_in(attention.layer).then(|| dense::<T>(self.control, n));
        let factors = factors.as_ref().map(|keys| Factors { mode: self.control.mode().into(), keys });
        let own = KeysValues { keys: &rows(k).data, values: &rows(v).data, rows: n };
        let positions: Vec<usize> = (0..n).collect();
        attend(&mut out.data, &rows(q).data, &positions, None, own, &shape, factors.as_ref());
        Ok(self.push(Op::Attention { q, k, v, attention: attention.clone() }, out))
    }

    fn activation(&mut self, x: Value, function: Activation) -> Result<Value> {
        let x = node(&x);
        let mut out = copy(&self.nodes[x].rows);
        by_rows(self.parallel, out.width, &mut out.data, |_, x| kernels::activate(x, function));
        Ok(self.push(Op::Activation { x, function }, out))
    }

    fn gate(&mut self, gate: Value, up: Value, function: Activation) -> Result<Value> {
        let (gate, up) = (node(&gate), node(&up));
        let mut out = copy(&self.nodes[gate].rows);
        let (width, other) = (out.width, &self.nodes[up].rows.data);
        by_rows(self.parallel, width, &mut out.data, |rows, x| kernels::gate(x, &other[rows.start * width..rows.end * width], function));
        Ok(self.push(Op::Gate { gate, up, function }, out))
    }

    fn add(&mut self, x: Value, y: Value) -> Result<Value> {
        let (x, y) = (node(&x), node(&y));
        let mut out = copy(&self.nodes[x].rows);
        kernels::add(&mut out.data, &self.nodes[y].rows.data);
        Ok(self.push(Op::Add { x, y }, out))
    }

    fn scale(&mut self, x: Value, factor: &Factor) -> Result<Value> {
        let x = node(&x);
        let mut out = copy(&self.nodes[x].rows);
        stretch(&mut out, self.weights.rest.factor(factor));
        Ok(self.push(Op::Scale { x, factor: factor.clone() }, out))
    }

    fn columns(&mut self, x: &Value, columns: Range<usize>) -> Result<Value> {
        let x = node(x);
        let out = cut(&self.nodes[x].rows, columns.clone());
        Ok(self.push(Op::Columns { x, columns }, out))
    }

    fn join(&mut self, x: Value, y: Value) -> Result<Value> {
        let (x, y) = (node(&x), node(&y));
        let (a, b) = (&self.nodes[x].rows, &self.nodes[y].rows);
        let mut out = Rows::unwritten(a.rows(), a.width + b.width);
        paste(&mut out, a, 0);
        paste(&mut out, b, a.width);
        Ok(self.push(Op::Join { x, y }, out))
    }

    fn mean(&mut self, x: &Value, from: usize) -> Result<Value> {
        let x = node(x);
        let rows = &self.nodes[x].rows;
        let mut out = Rows::unwritten(1, rows.width);
        mean(&mut out.data, &rows.data[from * rows.width..]);
        Ok(self.push(Op::Mean { x, from }, out))
    }

    fn first(&mut self, x: &Value, count: usize) -> Result<Value> {
        let x = node(x);
        let rows = &self.nodes[x].rows;
        let mut out = Rows::unwritten(1, count * rows.width);
        out.data.copy_from_slice(&rows.data[..count * rows.width]);
        Ok(self.push(Op::First { x, count }, out))
    }

    fn asked(&mut self, x: Value) -> Result<Value> {
        Ok(x) // Every row goes on: whoever walks down takes the rows it asks about after the last block.
    }
}

/// Some columns of every row.
fn cut<T: Element>(x: &Rows<T>, columns: Range<usize>) -> Rows<T> {
    let mut out = Rows::unwritten(x.rows(), columns.len());
    let rows = out.data.chunks_exact_mut(columns.len()).zip(x.data.chunks_exact(x.width));
    rows.for_each(|(out, x)| out.copy_from_slice(&x[columns.clone()]));
    out
}

/// Writes rows into columns `first..` of wider ones.
fn paste<T: Element>(out: &mut Rows<T>, x: &Rows<T>, first: usize) {
    let width = out.width;
    let rows = out.data.chunks_exact_mut(width).zip(x.data.chunks_exact(x.width));
    rows.for_each(|(out, x)| out[first..first + x.len()].copy_from_slice(x));
}

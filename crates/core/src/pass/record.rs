//! The recording pass: one input through the tensor library's own operations, so that an observer sees every site.
//!
//! It computes in f32 or f64, decodes each tensor as it is used, and never borrows the fast pass's kernels: that both agree is a test of both.
//! One layer's n×n pattern exists at a time.
//! Deliberately absent so far: rules and gradients.

use candle_core::{D, DType, Device, Tensor};
use pellucid_kernels::{Activation, RotaryLayout};

use std::ops::Range;

use super::{
    Input, Kind, Pass, Symbol, Value,
    symbols::{learned_row, pixels},
};
use crate::{
    Result, WeightStore,
    control::{Control, Mode},
    model::{Attention, Factor, Layout, Linear, Norm, NormKind, Rotary, Table},
    patches::Patches,
    walk::trace::{Observer, Site},
};

/// What an all but impossible score is: its exponential is 0 in every precision, and a row of nothing else keeps its shape.
const REMOVED: f64 = -10_000.0;

/// The recording pass over one input.
pub(crate) struct RecordingPass<'a> {
    pub(crate) input: &'a Input,
    pub(crate) weights: &'a dyn WeightStore,
    pub(crate) control: &'a Control,
    pub(crate) dtype: DType,
    pub(crate) observer: &'a mut dyn Observer,
}

/// A value of this pass.
pub(crate) fn open(value: Value) -> Tensor {
    match value.0 {
        Kind::Graph(tensor) => tensor,
        _ => unreachable!("a value is used in the pass that made it"),
    }
}

pub(crate) fn wrap(tensor: Tensor) -> Value {
    Value(Kind::Graph(tensor))
}

pub(crate) fn peek(value: &Value) -> &Tensor {
    match &value.0 {
        Kind::Graph(tensor) => tensor,
        _ => unreachable!("a value is used in the pass that made it"),
    }
}

impl RecordingPass<'_> {
    fn tensor(&self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.dtype)?)
    }

    fn constant(&self, values: Vec<f64>, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.dtype)?)
    }

    fn stored(&self, name: &str, rows: usize, columns: usize) -> Result<Vec<f32>> {
        let mut values = vec![0.0; rows * columns];
        self.weights.read_rows(name, 0..rows, &mut values)?;
        Ok(values)
    }

    fn vector(&self, name: &str, width: usize) -> Result<Tensor> {
        self.tensor(self.stored(name, 1, width)?, &[width])
    }

    /// The weight of a map, `[inputs, outputs]`.
    pub(crate) fn matrix(&self, map: &Linear) -> Result<Tensor> {
        let whole = match map.layout {
            Layout::Outputs => {
                self.tensor(self.stored(&map.weight, map.stored_outputs, map.inputs)?, &[map.stored_outputs, map.inputs])?.t()?
            }
            Layout::Inputs => self.tensor(self.stored(&map.weight, map.inputs, map.stored_outputs)?, &[map.inputs, map.stored_outputs])?,
        };
        Ok(part(&whole, map, 1)?)
    }

    /// What a control does to scaled scores `[head, query, key]`.
    fn controlled(&self, scores: &Tensor, visible: &Tensor) -> Result<Tensor> {
        let n = scores.dim(D::Minus1)?;
        let factors: Vec<f64> = (0..n).map(|k| self.control.factor(k)).collect();
        let shifted = |mask: Option<&Tensor>| -> Result<Tensor> {
            let seen = match mask {
                Some(mask) => mask
                    .broadcast_as(scores.shape())?
                    .where_cond(scores, &self.constant(vec![f64::INFINITY], &[1])?.broadcast_as(scores.shape())?)?,
                None => scores.clone(),
            };
            Ok(scores.broadcast_sub(&seen.min_keepdim(D::Minus1)?)?)
        };
        let by = |factors: Vec<f64>| self.constant(factors, &[n]);
        Ok(match self.control.mode() {
            Mode::LogAdditive => {
                let logs = factors.iter().map(|f| if *f == 0.0 { REMOVED } else { f.ln() }).collect();
                scores.broadcast_add(&by(logs)?)?
            }
            Mode::MinShift => shifted(Some(visible))?.broadcast_mul(&by(factors)?)?,
            Mode::MinShiftAll => shifted(None)?.broadcast_mul(&by(factors)?)?,
            Mode::Multiply => scores.broadcast_mul(&by(factors)?)?,
        })
    }
}

/// The outputs of `map` out of all stored ones, along axis `axis`.
fn part(whole: &Tensor, map: &Linear, axis: usize) -> candle_core::Result<Tensor> {
    if map.part.is_empty() {
        return Ok(whole.clone());
    }
    let parts = map.part.iter().map(|r| whole.narrow(axis, r.start, r.len())).collect::<candle_core::Result<Vec<_>>>()?;
    Tensor::cat(&parts, axis)
}

/// `[row, heads·d_head]` → `[head, row, d_head]`.
fn by_head(x: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (rows, width) = x.dims2()?;
    x.reshape((rows, heads, width / heads))?.transpose(0, 1)?.contiguous()
}

fn softmax(scores: &Tensor) -> candle_core::Result<Tensor> {
    let e = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

impl Pass for RecordingPass<'_> {
    fn tokens(&mut self, table: &Table) -> Result<Value> {
        let mut values = vec![0.0; self.input.symbols.len() * table.width];
        for (symbol, row) in self.input.symbols.iter().zip(values.chunks_exact_mut(table.width)) {
            match symbol {
                Symbol::Token(id) => self.weights.read_rows(&table.name, *id as usize..*id as usize + 1, row)?,
                Symbol::Vector(v) => row.copy_from_slice(v),
            }
        }
        Ok(wrap(self.tensor(values, &[self.input.symbols.len(), table.width])?))
    }

    fn pixels(&mut self, patches: &Patches) -> Result<Value> {
        let mut values = vec![0.0f32; self.input.len() * patches.width()];
        self.input.symbols.iter().zip(values.chunks_exact_mut(patches.width())).for_each(|(symbol, row)| pixels(row, symbol));
        Ok(wrap(self.tensor(values, &[self.input.len(), patches.width()])?))
    }

    fn learned(&mut self, x: Value, tables: &[Table]) -> Result<Value> {
        let x = open(x);
        let width = x.dim(1)?;
        let mut rows = Vec::with_capacity(self.input.len());
        for (i, symbol) in self.input.symbols.iter().enumerate() {
            rows.push(match symbol {
                Symbol::Vector(_) => x.narrow(0, i, 1)?,
                Symbol::Token(id) => {
                    let mut row = vec![0.0; width];
                    learned_row(*id, tables, self.weights, &mut row)?;
                    self.tensor(row, &[1, width])?
                }
            });
        }
        Ok(wrap(Tensor::cat(&rows, 0)?))
    }

    fn positions(&mut self, table: &Table, offset: usize) -> Result<Value> {
        let rows = self.input.symbols.len();
        let mut values = vec![0.0; rows * table.width];
        self.weights.read_rows(&table.name, offset..offset + rows, &mut values)?;
        Ok(wrap(self.tensor(values, &[rows, table.width])?))
    }

    fn types(&mut self, table: &Table) -> Result<Value> {
        let rows = self.input.len();
        let mut values = vec![0.0; rows * table.width];
        for (p, row) in values.chunks_exact_mut(table.width).enumerate() {
            let kind = self.input.types.get(p).map_or(0, |t| *t as usize);
            self.weights.read_rows(&table.name, kind..kind + 1, row)?;
        }
        Ok(wrap(self.tensor(values, &[rows, table.width])?))
    }

    fn linear(&mut self, x: &Value, map: &Linear) -> Result<Value> {
        let y = peek(x).matmul(&self.matrix(map)?.contiguous()?)?;
        let Some(bias) = &map.bias else { return Ok(wrap(y)) };
        let bias = part(&self.vector(bias, map.stored_outputs)?, map, 0)?;
        Ok(wrap(y.broadcast_add(&bias)?))
    }

    fn norm(&mut self, x: &Value, norm: &Norm) -> Result<Value> {
        let whole = peek(x).dims2()?;
        let mut x = peek(x).reshape((whole.0, whole.1 / norm.width, norm.width))?;
        if norm.kind == NormKind::Layer {
            x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        }
        let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + norm.epsilon)?.sqrt()?;
        let mut y = x.broadcast_div(&deviation)?;
        if let Some(weight) = &norm.weight {
            y = y.broadcast_mul(&self.vector(weight, norm.width)?)?;
        }
        if let Some(bias) = &norm.bias {
            y = y.broadcast_add(&self.vector(bias, norm.width)?)?;
        }
        Ok(wrap(y.reshape(whole)?))
    }

    fn rotary(&mut self, x: Value, rotary: &Rotary) -> Result<Value> {
        let x = open(x);
        let (rows, width) = x.dims2()?;
        let (heads, half) = (width / rotary.d_head, rotary.dims / 2);
        let angles = || (0..rows).flat_map(|p| rotary.frequencies.iter().map(move |f| p as f64 * f));
        let cos = self.constant(angles().map(|a| a.cos() * rotary.magnitude).collect(), &[rows, 1, half])?;
        let sin = self.constant(angles().map(|a| a.sin() * rotary.magnitude).collect(), &[rows, 1, half])?;
        let x = x.reshape((rows, heads, rotary.d_head))?;
        let turned = x.narrow(2, 0, rotary.dims)?;
        let (a, b) = match rotary.layout {
            RotaryLayout::HalfSplit => (turned.narrow(2, 0, half)?, turned.narrow(2, half, half)?),
            RotaryLayout::Interleaved => {
                let pairs = turned.reshape((rows, heads, half, 2))?;
                (pairs.narrow(3, 0, 1)?.squeeze(3)?, pairs.narrow(3, 1, 1)?.squeeze(3)?)
            }
        };
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        let turned = match rotary.layout {
            RotaryLayout::HalfSplit => Tensor::cat(&[first, second], 2)?,
            RotaryLayout::Interleaved => Tensor::stack(&[first, second], 3)?.reshape((rows, heads, rotary.dims))?,
        };
        let rest = x.narrow(2, rotary.dims, rotary.d_head - rotary.dims)?;
        let y = if rotary.dims == rotary.d_head { turned } else { Tensor::cat(&[turned, rest], 2)? };
        Ok(wrap(y.reshape((rows, width))?))
    }

    fn attention(&mut self, queries: Value, keys: Value, values: Value, attention: &Attention) -> Result<Value> {
        let q = by_head(&open(queries), attention.heads)?;
        let group = attention.heads / attention.kv_heads;
        let (_, n, d) = q.dims3()?;
        let grouped = |x: Value| -> Result<Tensor> {
            let x = by_head(&open(x), attention.kv_heads)?;
            let x = x.unsqueeze(1)?.broadcast_as((attention.kv_heads, group, n, d))?;
            Ok(x.reshape((attention.heads, n, d))?.contiguous()?)
        };
        let (k, v) = (grouped(keys)?, grouped(values)?);
        let mut scores = (q.matmul(&k.t()?.contiguous()?)? * attention.scale)?; // [head, query, key]
        let sees = |q: usize, k: usize| u8::from(!attention.causal || k <= q);
        let visible: Vec<u8> = (0..n * n).map(|i| sees(i / n, i % n)).collect();
        let visible = Tensor::from_vec(visible, (n, n), &Device::Cpu)?.broadcast_as(scores.shape())?;
        if self.control.acts_in(attention.layer) {
            scores = self.controlled(&scores, &visible)?;
        }
        let never = self.constant(vec![f64::NEG_INFINITY], &[1])?.broadcast_as(scores.shape())?;
        let pattern = softmax(&visible.where_cond(&scores, &never)?)?;
        self.observer.see(Site::Pattern { layer: attention.layer }, &pattern)?;
        let mixed = pattern.matmul(&v)?; // [head, query, d_head]
        Ok(wrap(mixed.transpose(0, 1)?.contiguous()?.reshape((n, attention.heads * d))?))
    }

    fn activation(&mut self, x: Value, function: Activation) -> Result<Value> {
        Ok(wrap(activate(&open(x), function)?))
    }

    fn gate(&mut self, gate: Value, up: Value, function: Activation) -> Result<Value> {
        Ok(wrap((activate(&open(gate), function)? * open(up))?))
    }

    fn add(&mut self, x: Value, y: Value) -> Result<Value> {
        Ok(wrap((open(x) + open(y))?))
    }

    fn scale(&mut self, x: Value, factor: &Factor) -> Result<Value> {
        let stored = self.stored(&factor.name, 1, factor.length)?;
        Ok(wrap(match factor.index {
            Some(index) => (open(x) * f64::from(stored[index]))?,
            None => open(x).broadcast_mul(&self.tensor(stored, &[factor.length])?)?,
        }))
    }

    fn columns(&mut self, x: &Value, columns: Range<usize>) -> Result<Value> {
        Ok(wrap(peek(x).narrow(1, columns.start, columns.len())?))
    }

    fn join(&mut self, x: Value, y: Value) -> Result<Value> {
        Ok(wrap(Tensor::cat(&[open(x), open(y)], 1)?))
    }

    fn mean(&mut self, x: &Value, from: usize) -> Result<Value> {
        let x = peek(x);
        Ok(wrap(x.narrow(0, from, x.dim(0)? - from)?.mean_keepdim(0)?))
    }

    fn first(&mut self, x: &Value, count: usize) -> Result<Value> {
        let x = peek(x);
        Ok(wrap(x.narrow(0, 0, count)?.reshape((1, count * x.dim(1)?))?))
    }

    fn asked(&mut self, x: Value) -> Result<Value> {
        Ok(x)
    }
}

fn activate(x: &Tensor, function: Activation) -> candle_core::Result<Tensor> {
    match function {
        Activation::GeluErf => x.gelu_erf(),
        Activation::GeluTanh => {
            let inner = ((x + (x.powf(3.0)? * 0.044_715)?)? * (2.0 / std::f64::consts::PI).sqrt())?;
            (x * 0.5)? * (inner.tanh()? + 1.0)?
        }
        Activation::Silu => x / ((x.neg()?.exp()? + 1.0)?),
        Activation::QuickGelu => x / (((x * -1.702)?.exp()? + 1.0)?),
        Activation::Relu => x.relu(),
        Activation::ReluSquared => x.relu()?.sqr(),
        Activation::Tanh => x.tanh(),
    }
}

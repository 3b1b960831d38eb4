//! A block taken apart: its tape, its weights, its patterns in blocks of rows, and what its parts are to one another.

use std::ops::Range;

use pellucid_kernels::{self as kernels};

use super::{
    Matrix, Node, Op, Tape, Weights,
    attention::{SeeRows, Site},
    cut, paste,
};
use crate::{
    Error, Result,
    control::Control,
    model::{Attention, Factor, Linear, Norm, NormKind},
    pass::fast::{Element, Rows},
};

/// One block of one input, or what stands after the last block (then `layer` is the number of layers).
#[derive(Debug)]
pub struct Stage<'a, T: Element> {
    /// Which block.
    pub layer: usize,
    /// What it did.
    pub tape: &'a Tape<T>,
    pub(crate) weights: &'a Weights<T>,
    pub(crate) control: &'a Control,
}

/// What the nodes of a block are to one another:
/// `middle = x + scale ⊙ project(attention)`, then the rest of the block.
#[derive(Clone, Debug)]
pub struct Anatomy {
    /// The residual stream that enters (a node).
    pub x: usize,
    /// The attention (a node).
    pub attention: usize,
    /// Its shape.
    pub shape: Attention,
    /// Its values, `[row, kv_heads·d_head]` (a node).
    pub values: usize,
    /// Its output projection, scaled if it is (a node): what is added to the stream.
    pub projected: usize,
    /// The map of the projection, without the scale: see [`Stage::projection`].
    pub projection: Linear,
    /// What the projection is multiplied with, in models with layer scales.
    pub scale: Option<Factor>,
    /// The sum of both (a node); none where attention and feed-forward network are added together (GPT-J).
    pub middle: Option<usize>,
    /// The norm that alone reads the sum (a node), in blocks with the norm behind (BERT).
    pub norm_after_attention: Option<usize>,
    /// The norm that ends the block (a node), in blocks with the norm behind.
    pub norm_after_block: Option<usize>,
}

impl<T: Element> Stage<'_, T> {
    /// The node `at`.
    pub fn node(&self, at: usize) -> &Node<T> {
        &self.tape.nodes[at]
    }

    /// What the stage gives.
    pub fn output(&self) -> &Node<T> {
        self.node(self.tape.output)
    }

    /// The weight of a linear map of this stage.
    pub fn matrix(&self, map: &Linear) -> &Matrix<T> {
        self.weights.matrix(map)
    }

    /// Scale and shift of a norm of this stage.
    pub fn norm(&self, norm: &Norm) -> (Option<&[T]>, Option<&[T]>) {
        let p = self.weights.rest.norm(norm);
        (p.weight.as_deref(), p.bias.as_deref())
    }

    /// The linear part of a norm, in place, row by row: the mean away (layer norms), times the scale. No division, no shift.
    pub fn linear_part(&self, norm: &Norm, rows: &mut [T]) {
        let scale = self.norm(norm).0;
        for row in rows.chunks_exact_mut(norm.width) {
            if norm.kind == NormKind::Layer {
                let mean = T::from_f64(row.iter().map(|x| x.to_f64()).sum::<f64>() / norm.width as f64);
                row.iter_mut().for_each(|x| *x -= mean);
            }
            if let Some(scale) = scale {
                row.iter_mut().zip(scale).for_each(|(x, s)| *x *= *s);
            }
        }
    }

    /// Nodes that read node `at`.
    pub fn readers(&self, at: usize) -> Vec<usize> {
        let nodes = self.tape.nodes.iter().enumerate();
        nodes.filter(|(_, n)| n.op.operands().contains(&at)).map(|(i, _)| i).collect()
    }

    /// What its parts are to one another.
    ///
    /// # Errors
    /// A block that is not attention added to a residual stream, and then something row by row.
    pub fn anatomy(&self) -> Result<Anatomy> {
        let strange =
            || Error::Unsupported("the blocks of this model are not of the shape x + project(attention) that can be taken apart".into());
        let mut found = self.tape.nodes.iter().enumerate().filter_map(|(i, n)| match &n.op {
            Op::Attention { v, attention, .. } => Some((i, *v, attention.clone())),
            _ => None,
        });
        let (attention, values, shape) = found.next().ok_or_else(strange)?;
        if found.next().is_some() || !matches!(self.node(0).op, Op::Input) {
            return Err(strange());
        }
        let only = |at: usize| match self.readers(at)[..] {
            [reader] => Some(reader),
            _ => None,
        };
        let mut projected = only(attention).ok_or_else(strange)?;
        let Op::Linear { map: projection, .. } = &self.node(projected).op else { return Err(strange()) };
        let mut sum = only(projected).ok_or_else(strange)?;
        let mut scale = None;
        if let Op::Scale { factor, .. } = &self.node(sum).op {
            scale = Some(factor.clone());
            (projected, sum) = (sum, only(sum).ok_or_else(strange)?);
        }
        let Op::Add { x, y } = self.node(sum).op else { return Err(strange()) };
        let beside = if x == projected { y } else { x };
        let is_norm = |at: usize| matches!(self.node(at).op, Op::Norm { .. });
        let middle = (beside == 0).then_some(sum);
        if middle.is_none() && !self.adds_up(self.tape.output, 0) {
            return Err(strange());
        }
        let norm_after_attention = middle.and_then(only).filter(|n| is_norm(*n));
        let norm_after_block = norm_after_attention.and(Some(self.tape.output)).filter(|n| is_norm(*n));
        Ok(Anatomy {
            x: 0,
            attention,
            shape,
            values,
            projected,
            projection: projection.clone(),
            scale,
            middle,
            norm_after_attention,
            norm_after_block,
        })
    }

    /// Whether node `at` is a sum that `part` is a part of.
    fn adds_up(&self, at: usize, part: usize) -> bool {
        match self.node(at).op {
            Op::Add { x, y } => x == part || y == part || self.adds_up(x, part) || self.adds_up(y, part),
            _ => false,
        }
    }

    /// How attention is projected on its way into the stream: weight `[d_model, heads·d_head]` and bias, both times the layer scale.
    pub fn projection(&self, anatomy: &Anatomy) -> (Vec<f64>, Option<Vec<f64>>) {
        let matrix = self.matrix(&anatomy.projection);
        let mut weight: Vec<f64> = matrix.dense().iter().map(|w| f64::from(*w)).collect();
        let mut bias: Option<Vec<f64>> = matrix.bias().map(|b| b.iter().map(|b| b.to_f64()).collect());
        if let Some(factor) = &anatomy.scale {
            let factors = self.weights.rest.factor(factor).iter().cycle().map(|f| f.to_f64());
            weight.chunks_exact_mut(matrix.inputs()).zip(factors.clone()).for_each(|(row, f)| row.iter_mut().for_each(|w| *w *= f));
            bias.iter_mut().flatten().zip(factors).for_each(|(b, f)| *b *= f);
        }
        (weight, bias)
    }

    /// `x + scale ⊙ project(attention)`, `[row, d_model]`.
    pub fn middle(&self, anatomy: &Anatomy) -> Vec<T> {
        let x = self.node(anatomy.x).data().iter().zip(self.node(anatomy.projected).data());
        x.map(|(x, y)| *x + *y).collect()
    }

    /// Shows the pattern of some query rows, a block of them at a time: rows, and for each head `[row, key]`.
    ///
    /// # Errors
    /// A stage without attention; whatever `see` returns.
    pub fn patterns(&self, rows: Range<usize>, see: &mut SeeRows<'_, Vec<T>>) -> Result<()> {
        let found = self.tape.nodes.iter().find_map(|n| match &n.op {
            Op::Attention { q, k, v, attention } => Some((n, *q, *k, *v, attention)),
            _ => None,
        });
        let Some((node, q, k, v, attention)) = found else {
            return Err(Error::Unsupported("this part of the model has no attention".into()));
        };
        let of = |at: usize| &self.node(at).rows;
        let site = Site { q: of(q), k: of(k), v: of(v), out: &node.rows, attention, control: self.control, parallel: true };
        site.patterns(rows, see)
    }

    /// The values of one head, each through the output projection: `f_j = W_O[:, head]·v_j`, `[row, d_model]`. No bias of the projection.
    pub fn projected_values(&self, anatomy: &Anatomy, head: usize) -> Vec<T> {
        let Attention { heads, kv_heads, d_head: d, .. } = anatomy.shape;
        let (values, map, weight) = (&self.node(anatomy.values).rows, &anatomy.projection, self.projection(anatomy).0);
        let own = head * d..(head + 1) * d;
        let rows: Vec<Vec<T>> = weight.chunks_exact(map.inputs).map(|w| w[own.clone()].iter().map(|w| T::from_f64(*w)).collect()).collect();
        let packed = kernels::Packed::from_rows(d, rows.iter().map(|r| &r[..]));
        let kv = head / (heads / kv_heads);
        let mut out = vec![T::ZERO; values.rows() * map.outputs()];
        kernels::product_parallel(&mut out, map.outputs(), &values.data[kv * d..], values.width, values.rows(), &packed, None, false);
        out
    }

    /// Runs what follows node `from` again with other rows in its place: row `r` of `rows` stands where row `origin[r]` stood. Gives the stage's
    /// output for those rows.
    ///
    /// # Errors
    /// Something after `from` that does not go row by row.
    pub fn replay(&self, from: usize, rows: &[T], origin: &[usize]) -> Result<Vec<T>> {
        let mut made: Vec<Option<Rows<T>>> = self.tape.nodes.iter().map(|_| None).collect();
        let width = self.node(from).width();
        let mut first = Rows::unwritten(origin.len(), width);
        first.data.copy_from_slice(rows);
        made[from] = Some(first);
        for at in from + 1..=self.tape.output {
            let operands = self.node(at).op.operands();
            if operands.iter().any(|o| made[*o].is_some()) {
                let result = self.again(at, &made, origin)?;
                made[at] = Some(result);
            }
        }
        let output =
            made[self.tape.output].take().ok_or_else(|| Error::Unsupported("the block's output does not depend on this".into()))?;
        Ok(output.data.clone())
    }

    /// One operation again; operands that were not replaced are those of the tape.
    fn again(&self, at: usize, made: &[Option<Rows<T>>], origin: &[usize]) -> Result<Rows<T>> {
        let operand = |o: usize| -> Rows<T> {
            if let Some(rows) = &made[o] {
                return super::copy(rows);
            }
            let from = &self.node(o).rows;
            let mut out = Rows::unwritten(origin.len(), from.width);
            for (r, out) in origin.iter().zip(out.data.chunks_exact_mut(from.width)) {
                out.copy_from_slice(&from.data[r * from.width..(r + 1) * from.width]);
            }
            out
        };
        let node = self.node(at);
        let mut out = Rows::unwritten(origin.len(), node.width());
        match &node.op {
            Op::Linear { x, map } => {
                let (x, matrix) = (operand(*x), self.matrix(map));
                kernels::product_parallel(&mut out.data, map.outputs(), &x.data, x.width, x.rows(), matrix.forward(), matrix.bias(), false);
            }
            Op::Norm { x, norm } => self.weights.rest.norm(norm).apply(&mut out.data, &operand(*x).data, norm),
            Op::Activation { x, function } => {
                out = operand(*x);
                kernels::activate(&mut out.data, *function);
            }
            Op::Gate { gate, up, function } => {
                out = operand(*gate);
                kernels::gate(&mut out.data, &operand(*up).data, *function);
            }
            Op::Add { x, y } => {
                out = operand(*x);
                kernels::add(&mut out.data, &operand(*y).data);
            }
            Op::Scale { x, factor } => {
                out = operand(*x);
                super::stretch(&mut out, self.weights.rest.factor(factor));
            }
            Op::Columns { x, columns } => out = cut(&operand(*x), columns.clone()),
            Op::Join { x, y } => {
                let (a, b) = (operand(*x), operand(*y));
                paste(&mut out, &a, 0);
                paste(&mut out, &b, a.width);
            }
            Op::Input
            | Op::Tokens
            | Op::Pixels { .. }
            | Op::Learned { .. }
            | Op::Lookup
            | Op::Rotary { .. }
            | Op::Attention { .. }
            | Op::Mean { .. }
            | Op::First { .. }
            | Op::Select { .. } => {
                return Err(Error::Unsupported("what follows does not go row by row, and cannot be run again for single rows".into()));
            }
        }
        Ok(out)
    }
}

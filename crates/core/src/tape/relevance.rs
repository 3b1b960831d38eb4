//! αβ relevance propagation with α = 1, β = 0: one function per operation.
//!
//! Source: Bach et al. 2015; the variants of Chefer et al. 2021 (arXiv 2012.09838), eq. 5–10. All divide by [`quotient`].

use pellucid_kernels::{self as kernels};

use super::{
    copy,
    matrix::{Matrix, Part},
};
use crate::{
    pass::fast::{Element, Rows},
    rules::AlphaBeta,
};

/// `a / (b + 1e-9)`, and 0 where `b` is 0.
pub(crate) fn quotient<T: Element>(a: T, b: T) -> T {
    let epsilon = T::from_f64(1e-9);
    if b == T::ZERO {
        return T::ZERO;
    }
    let below = b + epsilon;
    a / if below == T::ZERO { epsilon } else { below }
}

fn sum<T: Element>(x: &Rows<T>) -> f64 {
    x.data.iter().map(|x| x.to_f64()).sum()
}

fn by<T: Element>(x: &mut Rows<T>, factor: f64) {
    let factor = T::from_f64(factor);
    x.data.iter_mut().for_each(|x| *x *= factor);
}

fn part<T: Element>(x: &Rows<T>, of: impl Fn(T) -> T) -> Rows<T> {
    let mut out = copy(x);
    out.data.iter_mut().for_each(|x| *x = of(*x));
    out
}

/// A linear map: the bias gets nothing.
pub(crate) fn linear<T: Element>(rules: AlphaBeta, x: &Rows<T>, relevance: &Rows<T>, matrix: &Matrix<T>, parallel: bool) -> Rows<T> {
    let product = |x: &Rows<T>, half: Part, back: bool| -> Rows<T> {
        let weight = matrix.packed(half, back);
        let mut out = Rows::unwritten(x.rows(), weight.outputs());
        let product = if parallel { kernels::product_parallel } else { kernels::product };
        product(&mut out.data, weight.outputs(), &x.data, x.width, x.rows(), weight, None, false);
        out
    };
    let halves = [
        (part(x, |x| if x > T::ZERO { x } else { T::ZERO }), Part::Positive),
        (part(x, |x| if x < T::ZERO { x } else { T::ZERO }), Part::Negative),
    ];
    let mut forward: Vec<Rows<T>> = halves.iter().map(|(x, half)| product(x, *half, false)).collect();
    if rules != AlphaBeta::Original {
        let mut whole = copy(&forward[0]);
        kernels::add(&mut whole.data, &forward[1].data);
        forward = vec![copy(&whole), whole];
    }
    let mut out = Rows::unwritten(x.rows(), x.width);
    out.data.fill(T::ZERO);
    for ((half, which), forward) in halves.iter().zip(&mut forward) {
        forward.data.iter_mut().zip(&relevance.data).for_each(|(z, r)| *z = quotient(*r, *z));
        let back = product(forward, *which, true);
        out.data.iter_mut().zip(&half.data).zip(&back.data).for_each(|((o, x), s)| *o += *x * *s);
    }
    if rules == AlphaBeta::Detr {
        let factor = quotient(sum(relevance), sum(&out));
        by(&mut out, factor);
    }
    out
}

/// The projection of patches, by the z^B rule (Montavon et al. 2017): pixels are bounded by the lowest and the highest of the picture.
///
/// ```text
/// Z = x·Wᵀ − lo·Σ W⁺ − hi·Σ W⁻ + 1e-9       S = R / Z       R_x = x ⊙ S·W − lo·S·W⁺ − hi·S·W⁻
/// ```
pub(super) fn pixels<T: Element>(x: &Rows<T>, learned: &[usize], relevance: &Rows<T>, matrix: &Matrix<T>, parallel: bool) -> Rows<T> {
    let product = if parallel { kernels::product_parallel } else { kernels::product };
    let seen = || (0..x.rows()).filter(|r| !learned.contains(r)).flat_map(|r| &x.data[r * x.width..(r + 1) * x.width]);
    let bound = |mut best: T, better: fn(T, T) -> bool| {
        seen().for_each(|x| best = if better(*x, best) { *x } else { best });
        best
    };
    let first = seen().next().copied().unwrap_or(T::ZERO);
    let (low, high) = (bound(first, |a, b| a < b), bound(first, |a, b| a > b));
    let (outputs, inputs) = (matrix.outputs(), matrix.inputs());
    let mut share = Rows::unwritten(x.rows(), outputs);
    product(&mut share.data, outputs, &x.data, inputs, x.rows(), matrix.forward(), None, false);
    let bounds: Vec<T> = matrix
        .dense()
        .chunks_exact(inputs)
        .map(|w| w.iter().map(|w| T::from_f32(*w) * if *w > 0.0 { low } else { high }).sum::<T>() - T::from_f64(1e-9))
        .collect();
    for (z, r) in share.data.chunks_exact_mut(outputs).zip(relevance.data.chunks_exact(outputs)) {
        z.iter_mut().zip(r).zip(&bounds).for_each(|((z, r), bound)| *z = *r / (*z - *bound));
    }
    let back = |part| {
        let mut out = Rows::unwritten(x.rows(), inputs);
        product(&mut out.data, inputs, &share.data, outputs, x.rows(), matrix.packed(part, true), None, false);
        out
    };
    let (mut out, positive, negative) = (back(Part::All), back(Part::Positive), back(Part::Negative));
    let bounded = positive.data.iter().zip(&negative.data);
    out.data.iter_mut().zip(&x.data).zip(bounded).for_each(|((o, x), (p, n))| *o = *x * *o - low * *p - high * *n);
    learned.iter().for_each(|r| out.data[r * inputs..(r + 1) * inputs].fill(T::ZERO));
    out
}

/// An addition: shares by what each operand brings.
pub(super) fn add<T: Element>(rules: AlphaBeta, x: &Rows<T>, y: &Rows<T>, relevance: &Rows<T>) -> [Rows<T>; 2] {
    let share = |of: &Rows<T>| {
        let mut out = copy(of);
        let operands = x.data.iter().zip(&y.data).zip(&relevance.data);
        out.data.iter_mut().zip(operands).for_each(|(o, ((x, y), r))| *o *= quotient(*r, *x + *y));
        out
    };
    let (mut a, mut b) = (share(x), share(y));
    if rules != AlphaBeta::Original {
        let (sum_a, sum_b, whole) = (sum(&a), sum(&b), sum(relevance));
        for (part, own) in [(&mut a, sum_a), (&mut b, sum_b)] {
            let wanted = quotient(own.abs(), sum_a.abs() + sum_b.abs()) * whole;
            by(part, quotient(wanted, own));
        }
    }
    [a, b]
}

/// One value read by several: what comes back from each.
pub(super) fn clone<T: Element>(x: &Rows<T>, parts: &[Rows<T>]) -> Rows<T> {
    let mut out = Rows::unwritten(x.rows(), x.width);
    for (i, (out, x)) in out.data.iter_mut().zip(&x.data).enumerate() {
        *out = *x * parts.iter().map(|p| quotient(p.data[i], *x)).sum();
    }
    out
}

/// A row taken out of many.
pub(super) fn select<T: Element>(x: &Rows<T>, rows: &[usize], relevance: &Rows<T>) -> Rows<T> {
    let mut out = Rows::unwritten(x.rows(), x.width);
    out.data.fill(T::ZERO);
    for (r, back) in rows.iter().zip(relevance.data.chunks_exact(x.width)) {
        let at = r * x.width..(r + 1) * x.width;
        let pairs = out.data[at.clone()].iter_mut().zip(&x.data[at]).zip(back);
        pairs.for_each(|((o, x), r)| *o += *x * quotient(*r, *x));
    }
    out
}

/// The mean over the rows from `from` on.
pub(super) fn mean<T: Element>(x: &Rows<T>, from: usize, mean: &Rows<T>, relevance: &Rows<T>) -> Rows<T> {
    let mut out = copy(x);
    let count = T::from_f64((x.rows() - from) as f64);
    out.data[..from * mean.width].fill(T::ZERO);
    for row in out.data.chunks_exact_mut(mean.width).skip(from) {
        let pairs = row.iter_mut().zip(&mean.data).zip(&relevance.data);
        pairs.for_each(|((o, m), r)| *o *= quotient(*r, *m) / count);
    }
    out
}

#[cfg(test)]
mod tests;

//! The γ rule of a linear map `y = x·Wᵀ + b`, as a changed gradient: what arrives is `g = R/y`, what leaves is `R/x`.
//!
//! ```text
//! z_ij = x_i·w_ji     Z_j = y_j + γ·(Σ_i z_ij^± + b_j^±)     R_i = Σ_j (z_ij + γ·z_ij^±) · R_j / (Z_j ± 1e-6)      ±: the sign of y_j
//! ```
//!
//! Source: Montavon et al. 2019 for positive activations, Andéol et al. 2021 (arXiv 2103.12078) for both signs. The bias counts in the denominator,
//! as a contribution like any other, and its share is given to nobody. An output that is 0 passes nothing on.
//! `z⁺ = x⁺w⁺ + x⁻w⁻` and `z⁻ = x⁺w⁻ + x⁻w⁺`, so that six products do: two for Z (`Σ z⁻` is what is left of y), four for R.

use pellucid_kernels as kernels;

use super::matrix::{Matrix, Part};
use crate::pass::fast::{Element, Rows};

/// Added to the denominator, away from 0.
const STABILISER: f64 = 1e-6;

/// What reaches `x`, `[row, inputs]`, of what arrives at `y`, `[row, outputs]`.
pub(crate) fn linear<T: Element>(gamma: f64, x: &Rows<T>, y: &Rows<T>, signal: &Rows<T>, matrix: &Matrix<T>, parallel: bool) -> Rows<T> {
    let gamma = T::from_f64(gamma);
    let product = |x: &Rows<T>, part: Part, back: bool| -> Rows<T> {
        let weight = matrix.packed(part, back);
        let mut out = Rows::unwritten(x.rows(), weight.outputs());
        let product = if parallel { kernels::product_parallel } else { kernels::product };
        product(&mut out.data, weight.outputs(), &x.data, x.width, x.rows(), weight, None, false);
        out
    };
    let mut positive = product(&keep(x, |x| x > T::ZERO), Part::Positive, false);
    kernels::add(&mut positive.data, &product(&keep(x, |x| x < T::ZERO), Part::Negative, false).data);
    if let Some(bias) = matrix.bias() {
        let add = |(p, b): (&mut T, &T)| *p += if *b > T::ZERO { *b } else { T::ZERO };
        positive.data.chunks_exact_mut(bias.len()).for_each(|row| row.iter_mut().zip(bias).for_each(add));
    }
    let stabiliser = T::from_f64(STABILISER);
    let mut share = positive;
    for ((s, y), g) in share.data.iter_mut().zip(&y.data).zip(&signal.data) {
        let positive = *s;
        *s = if *y > T::ZERO {
            *g * *y / (*y + gamma * positive + stabiliser)
        } else if *y < T::ZERO {
            *g * *y / (*y + gamma * (*y - positive) - stabiliser)
        } else {
            T::ZERO
        };
    }
    let side = |wanted: fn(T) -> bool| {
        let mut out = Rows::unwritten(share.rows(), share.width);
        out.data.iter_mut().zip(&share.data).zip(&y.data).for_each(|((o, s), y)| *o = if wanted(*y) { *s } else { T::ZERO });
        out
    };
    let (above, below) = (side(|y| y > T::ZERO), side(|y| y < T::ZERO));
    let [pp, pn, np, nn] = [(&above, Part::Positive), (&above, Part::Negative), (&below, Part::Positive), (&below, Part::Negative)]
        .map(|(share, part)| product(share, part, true));
    let mut out = Rows::unwritten(x.rows(), x.width);
    for (i, (o, x)) in out.data.iter_mut().zip(&x.data).enumerate() {
        let (same, other) = (pp.data[i] + nn.data[i], pn.data[i] + np.data[i]);
        // Whose sign is that of the output: x⁺w⁺ and x⁻w⁻ of a positive one, x⁺w⁻ and x⁻w⁺ of a negative one.
        *o = same + other + gamma * if *x < T::ZERO { other } else { same };
    }
    out
}

/// The numbers for which `keep` holds, zeros for the others.
fn keep<T: Element>(x: &Rows<T>, keep: impl Fn(T) -> bool) -> Rows<T> {
    let mut out = Rows::unwritten(x.rows(), x.width);
    out.data.iter_mut().zip(&x.data).for_each(|(o, x)| *o = if keep(*x) { *x } else { T::ZERO });
    out
}

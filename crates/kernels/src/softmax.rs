//! Softmax of a row of scores, and `ln Σ eˣ` over a vocabulary that arrives in chunks.

use crate::Real;
use crate::control::{Control, Factors};
use crate::level::{Level, each_level};
use crate::norm::{LANES, tree, tree_sum};

/// A running `ln Σ e^(x/temperature)`.
#[derive(Clone, Copy, Debug)]
pub struct LogSumExp {
    max: f64,
    sum: f64,
}

impl Default for LogSumExp {
    fn default() -> Self {
        LogSumExp { max: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl LogSumExp {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a chunk of logits, each divided by `temperature` (above 0).
    pub fn push<T: Real>(&mut self, logits: &[T], temperature: f64) {
        if logits.is_empty() {
            return;
        }
        let (max, sum) = chunk_at(Level::best(), logits, T::from_f64(1.0 / temperature));
        let (max, sum) = (max.to_f64(), sum.to_f64());
        if max > self.max {
            self.sum = if self.sum > 0.0 { self.sum * (self.max - max).exp() } else { 0.0 } + sum;
            self.max = max;
        } else if max.is_finite() {
            self.sum += sum * (max - self.max).exp();
        }
    }

    /// `ln Σ e^(x/temperature)` over everything pushed, in nats; −∞ before the first.
    pub fn value(&self) -> f64 {
        self.max + self.sum.ln()
    }
}

each_level!(fn chunk_at<T>(x: &[T], factor: T) -> (T, T) = chunk);

/// Largest scaled logit of a chunk, and the sum of the exponentials of the distances to it.
#[inline(always)]
fn chunk<T: Real, const FMA: bool>(x: &[T], factor: T) -> (T, T) {
    let mut largest = [T::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for part in chunks {
        take_larger(&mut largest, part, factor);
    }
    let max = largest.into_iter().chain(rest.iter().map(|&x| x * factor)).fold(T::NEG_INFINITY, larger);
    let mut lanes = [T::ZERO; LANES];
    for part in chunks {
        for (lane, &x) in lanes.iter_mut().zip(part) {
            *lane += below::<T, FMA>(x * factor, max);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += below::<T, FMA>(x * factor, max);
    }
    (max, tree_sum(lanes))
}

/// Turns rows of unscaled scores, `stride` numbers apart, into patterns in place: row `r` becomes the softmax over its first `seen(r)` keys of the
/// scaled and controlled scores, and 0 from there up to `keys`. `stride` is a multiple of 32 and at least `keys`. Factors, if given, do not look
/// at keys that a row does not see.
pub fn soften_rows<T: Real>(
    scores: &mut [T],
    stride: usize,
    keys: usize,
    seen: impl Fn(usize) -> usize,
    scale: f64,
    factors: Option<&Factors<'_, T>>,
) {
    assert!(stride.is_multiple_of(LANES) && stride >= keys, "rows of {stride} numbers do not hold {keys} keys in whole lanes");
    let (level, scale, control) = (Level::best(), T::from_f64(scale), factors.and_then(Control::new));
    assert!(!control.as_ref().is_some_and(Control::looks_ahead), "later keys have no scores here");
    for (r, row) in scores.chunks_exact_mut(stride).enumerate() {
        let seen = seen(r);
        let scale = match &control {
            Some(control) if control.apply(level, row, seen, seen, scale) => T::ONE,
            _ => scale,
        };
        let inverse = T::ONE / soften(level, row, seen, keys, scale);
        row[..seen].iter_mut().for_each(|p| *p *= inverse);
    }
}

each_level!(
    /// Turns the first `seen` scores into `e^(score·scale − max)`, the rest up to `limit` into 0, and returns the sum, which is at least 1.
    ///
    /// `scores` is as long as a multiple of 32. Score `k` goes to partial sum `k mod 32`, whatever `limit`. Infinite scores share the row between them.
    fn soften<T>(scores: &mut [T], seen: usize, limit: usize, scale: T) -> T = soften_row
);

#[inline(always)]
fn soften_row<T: Real, const FMA: bool>(scores: &mut [T], seen: usize, limit: usize, scale: T) -> T {
    let end = seen.next_multiple_of(LANES);
    if end < limit {
        scores[end..limit].fill(T::ZERO);
    }
    let (chunks, _) = scores[..end].as_chunks_mut::<LANES>();
    let Some((last, full)) = chunks.split_last_mut() else { return T::ONE };
    let count = seen - full.len() * LANES;
    let mut largest = [T::NEG_INFINITY; LANES];
    for chunk in full.iter() {
        take_larger(&mut largest, chunk, scale);
    }
    for (i, (largest, &x)) in largest.iter_mut().zip(last.iter()).enumerate() {
        let x = if i < count { x * scale } else { T::NEG_INFINITY };
        *largest = larger(*largest, x);
    }
    let max = tree(largest, larger);
    let mut lanes = [T::ZERO; LANES];
    for chunk in full.iter_mut() {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *x = below::<T, FMA>(*x * scale, max);
            *lane += *x;
        }
    }
    for (i, (lane, x)) in lanes.iter_mut().zip(last.iter_mut()).enumerate() {
        let value = below::<T, FMA>(*x * scale, max);
        *x = if i < count { value } else { T::ZERO };
        *lane += *x;
    }
    tree_sum(lanes)
}

/// `e^(x − max)` for `x ≤ max`; 1 where both are infinite alike.
#[inline(always)]
fn below<T: Real, const FMA: bool>(x: T, max: T) -> T {
    let distance = x - max;
    (if distance < T::ZERO { distance } else { T::ZERO }).quick_exp::<FMA>()
}

#[inline(always)]
fn take_larger<T: Real>(largest: &mut [T; LANES], x: &[T; LANES], factor: T) {
    for (largest, &x) in largest.iter_mut().zip(x) {
        *largest = larger(*largest, x * factor);
    }
}

/// The larger one; `a` if one is not a number.
#[inline(always)]
pub(crate) fn larger<T: Real>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{ControlMode, control_row};
    use crate::testing::{assert_close, bits, noise};

    fn plain(x: &[f64]) -> f64 {
        let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
    }

    #[test]
    fn chunks_add_up_to_the_whole() {
        let x: Vec<f32> = noise::<f32>(1000, 4).into_iter().map(|x| x * 30.0).collect();
        for temperature in [1.0, 0.25, 3.0] {
            let expected = plain(&x.iter().map(|&x| f64::from(x) / temperature).collect::<Vec<_>>());
            for size in [1, 31, 32, 100, 1000] {
                let mut sum = LogSumExp::new();
                x.chunks(size).for_each(|chunk| sum.push(chunk, temperature));
                assert!((sum.value() - expected).abs() < 1e-5 * expected.abs());
                let mut sum = LogSumExp::new();
                let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
                wide.chunks(size).for_each(|chunk| sum.push(chunk, temperature));
                assert!((sum.value() - expected).abs() < 1e-13 * expected.abs());
            }
        }
    }

    #[test]
    fn nothing_and_minus_infinity_weigh_nothing() {
        let mut sum = LogSumExp::new();
        assert_eq!(sum.value(), f64::NEG_INFINITY);
        sum.push(&[f32::NEG_INFINITY; 3], 1.0);
        sum.push::<f32>(&[], 1.0);
        assert_eq!(sum.value(), f64::NEG_INFINITY);
        sum.push(&[2.0f32], 1.0);
        sum.push(&[f32::NEG_INFINITY; 3], 1.0);
        assert_eq!(sum.value(), 2.0);
    }

    #[test]
    fn softened_scores_are_a_softmax_and_do_not_depend_on_the_limit() {
        for seen in [0, 1, 5, 32, 33, 64, 90] {
            let scores = noise::<f32>(128, 9);
            let exact: Vec<f64> = scores[..seen].iter().map(|&s| f64::from(s) * 3.0).collect();
            let total = plain(&exact);
            let expected: Vec<f64> = exact.iter().map(|s| (s - total).exp()).collect();
            for level in Level::available() {
                let mut out = scores.clone();
                let sum = soften(level, &mut out, seen, 100, 3.0);
                assert!(out[seen..100].iter().all(|&p| p == 0.0));
                let normalised: Vec<f32> = out[..seen].iter().map(|p| p / sum).collect();
                assert_close(&normalised, &expected, 1e-6);
                let mut tight = scores.clone();
                assert_eq!(soften(level, &mut tight, seen, seen, 3.0).to_bits(), sum.to_bits());
                assert_eq!(bits(&tight[..seen]), bits(&out[..seen]));
            }
        }
    }

    #[test]
    fn softened_rows_are_patterns_under_a_control() {
        let (rows, keys, stride) = (3, 40, 64);
        let scores = noise::<f64>(rows * stride, 11);
        let mut factors = vec![1.0; keys];
        (factors[2], factors[7]) = (0.1, 0.0);
        let own = Factors { mode: ControlMode::LogAdditive, keys: &factors };
        for given in [None, Some(&own)] {
            let mut out = scores.clone();
            soften_rows(&mut out, stride, keys, |r| 10 + 15 * r, 0.7, given);
            for r in 0..rows {
                let visible: Vec<bool> = (0..keys).map(|k| k < 10 + 15 * r).collect();
                let ones = vec![1.0; keys];
                let by = if given.is_some() { &factors } else { &ones };
                let expected = control_row(&scores[r * stride..][..keys], &visible, by, 0.7, ControlMode::LogAdditive);
                assert_close(&out[r * stride..][..keys], &expected, 1e-14);
            }
        }
    }

    #[test]
    fn infinite_scores_share_the_row() {
        let mut scores = [0.0f32; 32];
        scores[3] = f32::INFINITY;
        scores[7] = f32::INFINITY;
        assert_eq!(soften(Level::best(), &mut scores, 10, 10, 1.0), 2.0);
        assert_eq!((scores[3], scores[0]), (1.0, 0.0));
        let mut scores = [f32::NEG_INFINITY; 32];
        assert_eq!(soften(Level::best(), &mut scores, 4, 4, 1.0), 4.0);
    }
}

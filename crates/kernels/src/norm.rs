//! Root-mean-square and layer normalisation, row by row.
//!
//! `rms: y = x / √(mean x² + ε) · w` (Zhang and Sennrich 2019), `layer: y = (x − mean x) / √(var x + ε) · w + b` (Ba et al. 2016).

use crate::Real;
use crate::level::{Level, each_level};
use crate::real::fma;

/// Partial sums of a row: a fixed number, so that the order of summation depends on the row's width alone.
pub(crate) const LANES: usize = 32;

/// Rows of `width`; `weight`, if given, of the same width. `out` and `x` are `[row, width]`.
pub fn rms_norm<T: Real>(out: &mut [T], x: &[T], width: usize, weight: Option<&[T]>, eps: f64) {
    check(out, x, width, weight);
    rms_at(Level::best(), out, x, width, weight, T::from_f64(eps));
}

/// Rows of `width`; `weight` and `bias` of the same width. `out` and `x` are `[row, width]`. The variance is the biased one.
pub fn layer_norm<T: Real>(out: &mut [T], x: &[T], width: usize, weight: &[T], bias: Option<&[T]>, eps: f64) {
    check(out, x, width, Some(weight));
    assert!(bias.is_none_or(|bias| bias.len() == width), "a bias of another width than {width}");
    layer_at(Level::best(), out, x, width, weight, bias, T::from_f64(eps));
}

fn check<T>(out: &[T], x: &[T], width: usize, weight: Option<&[T]>) {
    assert!(width > 0 && x.len().is_multiple_of(width), "{} numbers are no whole rows of {width}", x.len());
    assert_eq!(out.len(), x.len(), "as many numbers out as in");
    assert!(weight.is_none_or(|weight| weight.len() == width), "a weight of another width than {width}");
}

each_level!(fn rms_at<T>(out: &mut [T], x: &[T], width: usize, weight: Option<&[T]>, eps: T) = rms_rows);
each_level!(fn layer_at<T>(out: &mut [T], x: &[T], width: usize, weight: &[T], bias: Option<&[T]>, eps: T) = layer_rows);

#[inline(always)]
fn rms_rows<T: Real, const FMA: bool>(out: &mut [T], x: &[T], width: usize, weight: Option<&[T]>, eps: T) {
    for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        let mean = sum::<T>(x, |sum, x| fma::<T, FMA>(x, x, sum)) / T::from_f64(width as f64);
        let inverse = T::ONE / (mean + eps).sqrt();
        match weight {
            Some(weight) => out.iter_mut().zip(x).zip(weight).for_each(|((out, &x), &w)| *out = x * inverse * w),
            None => out.iter_mut().zip(x).for_each(|(out, &x)| *out = x * inverse),
        }
    }
}

#[inline(always)]
fn layer_rows<T: Real, const FMA: bool>(out: &mut [T], x: &[T], width: usize, weight: &[T], bias: Option<&[T]>, eps: T) {
    let count = T::from_f64(width as f64);
    for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        let mean = sum::<T>(x, |sum, x| sum + x) / count;
        let variance = sum::<T>(x, |sum, x| fma::<T, FMA>(x - mean, x - mean, sum)) / count;
        let inverse = T::ONE / (variance + eps).sqrt();
        match bias {
            Some(bias) => {
                for (((out, &x), &w), &b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                    *out = fma::<T, FMA>((x - mean) * inverse, w, b);
                }
            }
            None => out.iter_mut().zip(x).zip(weight).for_each(|((out, &x), &w)| *out = (x - mean) * inverse * w),
        }
    }
}

/// Folds `x` into [`LANES`] partial sums, number `i` into sum `i mod LANES`, and adds these as a tree.
#[inline(always)]
fn sum<T: Real>(x: &[T], step: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = step(*lane, x);
    }
    tree_sum(lanes)
}

/// Sum of the lanes.
#[inline(always)]
pub(crate) fn tree_sum<T: Real>(lanes: [T; LANES]) -> T {
    tree(lanes, |a, b| a + b)
}

/// Folds the lanes into one: halves onto halves, always in the same order.
#[inline(always)]
pub(crate) fn tree<T: Real>(mut lanes: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_close, bits, exact, noise};

    fn replica(x: &[f64], weight: &[f64], bias: &[f64], centred: bool, eps: f64) -> Vec<f64> {
        let n = x.len() as f64;
        let mean = if centred { x.iter().sum::<f64>() / n } else { 0.0 };
        let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        (0..x.len()).map(|i| (x[i] - mean) / (square + eps).sqrt() * weight[i] + bias[i]).collect()
    }

    fn agrees<T: Real>(rows: usize, width: usize, seed: u64, tolerance: f64) {
        let (x, weight, bias) = (noise::<T>(rows * width, seed), noise::<T>(width, seed + 1), noise::<T>(width, seed + 2));
        let (none, one) = (vec![0.0; width], vec![1.0; width]);
        let eps = 1e-5;
        let expect = |weight: &[f64], bias: &[f64], centred| -> Vec<f64> {
            exact(&x).chunks(width).flat_map(|x| replica(x, weight, bias, centred, eps)).collect()
        };
        for level in Level::available() {
            let mut out = vec![T::ZERO; x.len()];
            rms_at(level, &mut out, &x, width, Some(&weight), T::from_f64(eps));
            assert_close(&out, &expect(&exact(&weight), &none, false), tolerance);
            rms_at(level, &mut out, &x, width, None, T::from_f64(eps));
            assert_close(&out, &expect(&one, &none, false), tolerance);
            layer_at(level, &mut out, &x, width, &weight, None, T::from_f64(eps));
            assert_close(&out, &expect(&exact(&weight), &none, true), tolerance);
            layer_at(level, &mut out, &x, width, &weight, Some(&bias), T::from_f64(eps));
            assert_close(&out, &expect(&exact(&weight), &exact(&bias), true), tolerance);

            let mut alone = vec![T::ZERO; x.len()];
            for (out, x) in alone.chunks_mut(width).zip(x.chunks(width)) {
                layer_at(level, out, x, width, &weight, Some(&bias), T::from_f64(eps));
            }
            assert_eq!(bits(&alone), bits(&out));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn norms_agree_with_the_formula(rows in 0usize..5, width in 1usize..200, seed in 0u64..1000) {
            // A row of one or two nearly equal numbers divides a rounding error by √ε; wider rows keep six digits.
            agrees::<f32>(rows, width, seed, if width < 4 { 1e-3 } else { 5e-6 });
            agrees::<f64>(rows, width, seed, 1e-12);
        }
    }

    #[test]
    fn a_row_of_zeros_stays_finite() {
        let mut out = [1.0f32; 40];
        rms_norm(&mut out, &[0.0; 40], 40, None, 1e-6);
        assert_eq!(out, [0.0; 40]);
        layer_norm(&mut out, &[3.0; 40], 40, &[1.0; 40], Some(&[0.5; 40]), 1e-6);
        assert_eq!(out, [0.5; 40]);
    }

    #[test]
    fn a_constant_far_from_zero_costs_layer_norm_no_digits() {
        let x: Vec<f64> = (0..64).map(|i| 1e4 + f64::from(i)).collect();
        let mut out = vec![0.0; 64];
        layer_norm(&mut out, &x, 64, &[1.0; 64], None, 0.0);
        // Mean 1e4 + 31.5, variance (64² − 1)/12.
        assert!((out[0] + 31.5 / (4095.0f64 / 12.0).sqrt()).abs() < 1e-12);
    }
}

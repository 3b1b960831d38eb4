//! How far rows are from others, without writing their difference down.

use crate::Real;
use crate::level::{Level, each_level};
use crate::real::fma;

/// How a difference is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distance {
    /// Σ|x|.
    L1,
    /// √Σx².
    L2,
}

/// `out[r] = ‖scale[r]·x[r] − y[r]‖` over rows of `width` numbers.
///
/// Row r of `x` begins at `r · x_stride` (0: one row for all); no `scale`: 1; no `y`: 0, otherwise `[row, width]`.
pub fn distances<T: Real>(out: &mut [T], scale: Option<&[T]>, x: &[T], x_stride: usize, y: Option<&[T]>, width: usize, measure: Distance) {
    if out.is_empty() {
        return;
    }
    assert!(x.len() >= (out.len() - 1) * x_stride + width, "{} numbers are fewer than {} rows of {width}", x.len(), out.len());
    assert!(scale.is_none_or(|s| s.len() == out.len()), "one scale a row");
    assert!(y.is_none_or(|y| y.len() == out.len() * width), "as many rows to compare with as rows");
    distances_at(Level::best(), out, scale, x, x_stride, y, width, measure);
}

each_level!(fn distances_at<T>(
    out: &mut [T], scale: Option<&[T]>, x: &[T], x_stride: usize, y: Option<&[T]>, width: usize, measure: Distance
) = all_rows);

#[inline(always)]
fn all_rows<T: Real, const FMA: bool>(
    out: &mut [T],
    scale: Option<&[T]>,
    x: &[T],
    x_stride: usize,
    y: Option<&[T]>,
    width: usize,
    measure: Distance,
) {
    for (r, out) in out.iter_mut().enumerate() {
        let (x, s) = (&x[r * x_stride..][..width], scale.map_or(T::ONE, |s| s[r]));
        *out = match (measure, y.map(|y| &y[r * width..][..width])) {
            (Distance::L1, Some(y)) => pairs(x, y, |sum, x, y| sum + fma::<T, FMA>(s, x, -y).abs()),
            (Distance::L1, None) => pairs(x, x, |sum, x, _| sum + (s * x).abs()),
            (Distance::L2, Some(y)) => pairs(x, y, |sum, x, y| {
                let off = fma::<T, FMA>(s, x, -y);
                fma::<T, FMA>(off, off, sum)
            })
            .sqrt(),
            (Distance::L2, None) => pairs(x, x, |sum, x, _| fma::<T, FMA>(s * x, s * x, sum)).sqrt(),
        };
    }
}

/// A sum over two rows in lanes that do not wait for each other.
#[inline(always)]
fn pairs<T: Real>(x: &[T], y: &[T], step: impl Fn(T, T, T) -> T) -> T {
    const LANES: usize = 32;
    let mut lanes = [T::ZERO; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    for (lane, (x, y)) in xs.remainder().iter().zip(ys.remainder()).enumerate() {
        lanes[lane] = step(lanes[lane], *x, *y);
    }
    for (x, y) in xs.zip(ys) {
        for lane in 0..LANES {
            lanes[lane] = step(lanes[lane], x[lane], y[lane]);
        }
    }
    lanes.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    fn plain(x: &[f64], y: &[f64], s: f64, measure: Distance) -> f64 {
        let off = x.iter().zip(y).map(|(x, y)| s * x - y);
        match measure {
            Distance::L1 => off.map(f64::abs).sum(),
            Distance::L2 => off.map(|o| o * o).sum::<f64>().sqrt(),
        }
    }

    #[test]
    fn distances_are_those_of_the_definition_on_every_instruction_set() {
        let wide = |n, seed| noise::<f32>(n, seed).into_iter().map(f64::from).collect::<Vec<f64>>();
        for width in [1, 5, 31, 32, 33, 70] {
            let (x, y, s) = (wide(3 * width, 1), wide(3 * width, 2), wide(3, 3));
            for (measure, stride, whole, scaled) in [
                (Distance::L1, width, true, true),
                (Distance::L2, width, true, false),
                (Distance::L1, 0, true, true),
                (Distance::L2, width, false, true),
                (Distance::L1, width, false, false),
            ] {
                for level in Level::available() {
                    let mut out = [0.0; 3];
                    distances_at(level, &mut out, scaled.then_some(&s[..]), &x, stride, whole.then_some(&y[..]), width, measure);
                    for (r, out) in out.iter().enumerate() {
                        let zeros = vec![0.0; width];
                        let y = if whole { &y[r * width..][..width] } else { &zeros };
                        let expected = plain(&x[r * stride..][..width], y, if scaled { s[r] } else { 1.0 }, measure);
                        assert!((out - expected).abs() < 1e-13 * width as f64, "{measure:?} {width} {level:?}: {out} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic = "as many rows to compare with as rows"]
    fn rows_that_do_not_pair_are_refused() {
        distances(&mut [0.0f32; 2], None, &[1.0; 6], 3, Some(&[1.0; 3]), 3, Distance::L1);
    }
}

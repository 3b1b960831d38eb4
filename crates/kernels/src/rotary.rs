//! Rotary position embedding (Su et al. 2021): each pair of columns is turned by an angle that grows with the position.

use crate::Real;
use crate::level::{Level, each_level};
use crate::real::fma;

/// Which two columns of a head make a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RotaryLayout {
    /// `(i, i + dims/2)`: Llama, GPT-NeoX.
    HalfSplit,
    /// `(2i, 2i + 1)`: GPT-J.
    Interleaved,
}

/// Turns the first `dims` columns of each of `heads` heads of width `d_head`, in place: `(a, b) → (a·cos − b·sin, b·cos + a·sin)`.
///
/// `x` holds one row of `heads · d_head` numbers per position, `stride` apart. `cos` and `sin` are `[position, dims/2]`.
#[allow(clippy::too_many_arguments)]
pub fn rotary<T: Real>(
    x: &mut [T],
    stride: usize,
    heads: usize,
    d_head: usize,
    dims: usize,
    layout: RotaryLayout,
    positions: &[usize],
    cos: &[T],
    sin: &[T],
) {
    assert!(dims <= d_head && dims.is_multiple_of(2), "{dims} rotated columns of {d_head}: an even number up to the width of a head");
    assert!(positions.is_empty() || (positions.len() - 1) * stride + heads * d_head <= x.len(), "fewer rows than positions");
    rotary_at(Level::best(), x, stride, heads, d_head, dims, layout, positions, cos, sin);
}

each_level!(
    fn rotary_at<T>(
        x: &mut [T], stride: usize, heads: usize, d_head: usize, dims: usize, layout: RotaryLayout, positions: &[usize], cos: &[T], sin: &[T],
    ) = rotate_rows
);

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn rotate_rows<T: Real, const FMA: bool>(
    x: &mut [T],
    stride: usize,
    heads: usize,
    d_head: usize,
    dims: usize,
    layout: RotaryLayout,
    positions: &[usize],
    cos: &[T],
    sin: &[T],
) {
    let half = dims / 2;
    for (row, &position) in positions.iter().enumerate() {
        let (cos, sin) = (&cos[position * half..][..half], &sin[position * half..][..half]);
        for head in x[row * stride..][..heads * d_head].chunks_exact_mut(d_head.max(1)) {
            match layout {
                RotaryLayout::HalfSplit => {
                    let (first, second) = head[..dims].split_at_mut(half);
                    for (((a, b), &c), &s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                        (*a, *b) = turn::<T, FMA>(*a, *b, c, s);
                    }
                }
                RotaryLayout::Interleaved => {
                    let (pairs, _) = head[..dims].as_chunks_mut::<2>();
                    for ((pair, &c), &s) in pairs.iter_mut().zip(cos).zip(sin) {
                        (pair[0], pair[1]) = turn::<T, FMA>(pair[0], pair[1], c, s);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn turn<T: Real, const FMA: bool>(a: T, b: T, cos: T, sin: T) -> (T, T) {
    (fma::<T, FMA>(a, cos, -(b * sin)), fma::<T, FMA>(b, cos, a * sin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, bits, exact, noise};

    /// The pair's two columns.
    fn pair(layout: RotaryLayout, i: usize, dims: usize) -> (usize, usize) {
        match layout {
            RotaryLayout::HalfSplit => (i, i + dims / 2),
            RotaryLayout::Interleaved => (2 * i, 2 * i + 1),
        }
    }

    fn agrees<T: Real>(tolerance: f64) {
        let (heads, d_head, stride) = (3, 20, 70);
        let positions = [4, 0, 2, 6];
        for dims in [0, 2, 8, 20] {
            let angle = |position: usize, i: usize| position as f64 * 100f64.powf(-2.0 * i as f64 / dims as f64);
            let table = |f: fn(f64) -> f64| -> Vec<T> {
                (0..7).flat_map(|p| (0..dims / 2).map(move |i| (p, i))).map(|(p, i)| T::from_f64(f(angle(p, i)))).collect()
            };
            let x = noise::<T>((positions.len() - 1) * stride + heads * d_head, 1);
            for layout in [RotaryLayout::HalfSplit, RotaryLayout::Interleaved] {
                let mut expected = exact(&x);
                for (row, &position) in positions.iter().enumerate() {
                    for head in 0..heads {
                        for i in 0..dims / 2 {
                            let (a, b) = pair(layout, i, dims);
                            let (a, b) = (row * stride + head * d_head + a, row * stride + head * d_head + b);
                            let (sin, cos) = angle(position, i).sin_cos();
                            (expected[a], expected[b]) = (expected[a] * cos - expected[b] * sin, expected[b] * cos + expected[a] * sin);
                        }
                    }
                }
                for level in Level::available() {
                    let mut out = x.clone();
                    rotary_at(level, &mut out, stride, heads, d_head, dims, layout, &positions, &table(f64::cos), &table(f64::sin));
                    assert_close(&out, &expected, tolerance);
                }
            }
        }
    }

    #[test]
    fn pairs_turn_by_their_angle_and_nothing_else_moves() {
        agrees::<f32>(3e-7);
        agrees::<f64>(1e-15);
    }

    #[test]
    fn position_0_changes_nothing() {
        let x = noise::<f32>(64, 1);
        let mut out = x.clone();
        rotary(&mut out, 64, 2, 32, 32, RotaryLayout::HalfSplit, &[0], &[1.0; 16], &[0.0; 16]);
        assert_eq!(bits(&out), bits(&x));
    }
}

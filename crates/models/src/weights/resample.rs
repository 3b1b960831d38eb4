//! Position tables for another number of patches.
//!
//! ```text
//! out(y, x) = Σ_i Σ_j w_y(i)·w_x(j)·in(i, j)        u = (x + ½)·s − ½,  s = n_in/n_out
//! sharp       w_x(j) = k(u − j), a = −¾; beyond the edges, the edge again
//! smoothed    w_x(j) = k((u − j)/max(s, 1)) / Σ, a = −½; beyond the edges, nothing
//! k(t) = (a+2)|t|³ − (a+3)t² + 1  for |t| ≤ 1;   a|t|³ − 5at² + 8a|t| − 4a  for 1 < |t| < 2
//! ```
//!
//! Cubic convolution (Keys 1981), as PyTorch's `interpolate(mode="bicubic", align_corners=False)` does it: without `antialias`, which is also
//! ONNX's `Resize` (`cubic`, `half_pixel`), for DINOv2; with it for DINOv2 with registers.

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cubic {
    /// Four neighbours, however coarse the new grid is.
    Sharp,
    /// As many neighbours as the new grid is coarser.
    Smoothed,
}

/// A table of `from[0] × from[1]` rows of `width` numbers, for a grid of `to[0] × to[1]`.
///
/// `table` must have `from[0] * from[1] * width` numbers, none of the sizes 0.
pub fn resample(table: &[f32], from: [usize; 2], to: [usize; 2], width: usize, cubic: Cubic) -> Vec<f32> {
    assert_eq!(table.len(), from[0] * from[1] * width, "a table of {from:?} rows of {width} numbers");
    let [rows, columns] = [0, 1].map(|axis| (0..to[axis]).map(|x| taps(from[axis], to[axis], x, cubic)).collect::<Vec<_>>());
    let mut out = Vec::with_capacity(to[0] * to[1] * width);
    for row in &rows {
        for column in &columns {
            let mut sum = vec![0.0; width];
            for (i, w) in row {
                for (j, v) in column {
                    let at = (i * from[1] + j) * width;
                    sum.iter_mut().zip(&table[at..at + width]).for_each(|(s, x)| *s += w * v * f64::from(*x));
                }
            }
            out.extend(sum.iter().map(|s| *s as f32));
        }
    }
    out
}

/// The old places that count for the new place `x`, with their weights.
fn taps(from: usize, to: usize, x: usize, cubic: Cubic) -> Vec<(usize, f64)> {
    let scale = from as f64 / to as f64;
    let u = (x as f64 + 0.5) * scale - 0.5;
    let (a, stretch) = match cubic {
        Cubic::Sharp => (-0.75, 1.0),
        Cubic::Smoothed => (-0.5, scale.max(1.0)),
    };
    let reach = (2.0 * stretch).ceil() as isize;
    let near = |j: isize| (j, weight((u - j as f64).abs() / stretch, a));
    let all = (u.floor() as isize - reach..=u.floor() as isize + reach).map(near).filter(|(_, w)| *w != 0.0);
    let inside = 0..from as isize;
    match cubic {
        Cubic::Sharp => all.map(|(j, w)| (j.clamp(0, inside.end - 1) as usize, w)).collect(),
        Cubic::Smoothed => {
            let kept: Vec<_> = all.filter(|(j, _)| inside.contains(j)).collect();
            let sum: f64 = kept.iter().map(|(_, w)| w).sum();
            kept.into_iter().map(|(j, w)| (j as usize, w / sum)).collect()
        }
    }
}

fn weight(t: f64, a: f64) -> f64 {
    match t {
        t if t <= 1.0 => ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0,
        t if t < 2.0 => ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_grid_gives_the_same_table() {
        let table: Vec<f32> = (0..24).map(|x| (x * x % 7) as f32).collect();
        for cubic in [Cubic::Sharp, Cubic::Smoothed] {
            assert_eq!(resample(&table, [3, 4], [3, 4], 2, cubic), table);
        }
    }

    #[test]
    fn a_constant_stays_constant_and_a_slope_a_slope() {
        let close = |out: &[f32], expected: &[f32]| {
            assert_eq!(out.len(), expected.len());
            out.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{out:?} {expected:?}"));
        };
        // Away from the edges, cubic convolution keeps a straight line: halfway between every second pair, at 2x + ½.
        let line: Vec<f32> = (0..16).map(|x| x as f32).collect();
        for cubic in [Cubic::Sharp, Cubic::Smoothed] {
            close(&resample(&[3.0; 35], [5, 7], [2, 3], 1, cubic), &[3.0; 6]);
            close(&resample(&line, [1, 16], [1, 8], 1, cubic)[2..6], &[4.5, 6.5, 8.5, 10.5]);
        }
    }

    #[test]
    fn a_table_of_3_becomes_the_ones_that_pytorch_makes() {
        // torch 2.15: interpolate(tensor([[[[0., 1., 0.], [2., 0., 0.], [0., 0., 4.]]]]), size=…, mode="bicubic", align_corners=False,
        // antialias=False, then True).
        let table = [0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 4.0];
        let sharp = [0.612_213_1, 0.075_256_35, 0.286_880_5, 2.365_219];
        let taller = [0.169_473_65, 0.285_551_07, 1.269_161_2, -0.298_278_8, 1.079_973_2, 1.033_384_3, -0.261_749_27, 3.320_858];
        let smoothed = [0.767_129, 0.117_911_644, 0.387_126_27, 1.643_461_3];
        let taller_smoothed =
            [0.342_504_98, 0.414_616_35, 1.062_944_2, -0.092_784_174, 0.818_822_26, 0.887_262, -0.236_817_76, 2.740_351_2];
        for (cubic, to, expected) in [
            (Cubic::Sharp, [2, 2], &sharp[..]),
            (Cubic::Sharp, [4, 2], &taller),
            (Cubic::Smoothed, [2, 2], &smoothed),
            (Cubic::Smoothed, [4, 2], &taller_smoothed),
        ] {
            let out = resample(&table, [3, 3], to, 1, cubic);
            assert_eq!(out.len(), expected.len());
            // f32 has seven digits, and PyTorch adds in f32.
            out.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 2e-6, "{cubic:?} {to:?} {out:?} {expected:?}"));
        }
    }
}

//! Resizing as Pillow does it, to the last grey level.
//!
//! A pixel of the result at `c = (i + ½) · from/to` is `Σ w((j + ½ − c) / s) · x_j / Σ w`, where `s = max(from/to, 1)` stretches the filter `w`
//! over all that the pixel covers. First along the rows, then along the columns, with 8-bit values between them and weights in 22 bits.
//! The order and the rounding matter: overshoot of a cubic is cut off after the first pass, and the other order differs by up to 23 grey
//! levels on noise. So this is our own and no library's (`fast_image_resize` begins with the columns, and its weights have fewer bits).

use std::f64::consts::PI;
use std::ops::Range;

use pellucid_core::{Error, Result};
use rayon::prelude::*;

use super::{MAX_PIXELS, Picture};

/// What a pixel of the result is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The one pixel at its centre.
    Nearest,
    /// `sinc(x) · sinc(x/3)`, six pixels wide.
    Lanczos,
    /// A triangle, two pixels wide.
    Bilinear,
    /// Cubic convolution with a = −0.5, four pixels wide.
    Bicubic,
    /// The mean.
    Box,
    /// `sinc` in a Hamming window, two pixels wide.
    Hamming,
}

impl Filter {
    /// As Pillow and `resample` in `preprocessor_config.json` number them, 0 to 5, under timm's names.
    pub(super) const NUMBERED: [(Self, &str); 6] = [
        (Self::Nearest, "nearest"),
        (Self::Lanczos, "lanczos"),
        (Self::Bilinear, "bilinear"),
        (Self::Bicubic, "bicubic"),
        (Self::Box, "box"),
        (Self::Hamming, "hamming"),
    ];

    /// How far it reaches to either side, in pixels.
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// Its value at `x`.
    fn at(self, x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        let d = x.abs();
        match self {
            Self::Nearest => 1.0,
            Self::Box if x > -0.5 && x <= 0.5 => 1.0,
            Self::Bilinear if d < 1.0 => 1.0 - d,
            Self::Hamming if d < 1.0 => sinc(x) * (0.54 + 0.46 * (x * PI).cos()),
            Self::Bicubic if d < 1.0 => (1.5 * d - 2.5) * d * d + 1.0, // ((a + 2)·d − (a + 3))·d² + 1
            Self::Bicubic if d < 2.0 => ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0, // (((d − 5)·d + 8)·d − 4)·a
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }
}

/// Bits of a weight's fraction. A sum of 8-bit values times weights stays below 2³¹ as long as the weights' magnitudes add up to less than 2.
const BITS: u32 = 22;

/// What one pixel is made of: `weights`, times `2^BITS`, from pixel `start` on.
struct Kernel {
    start: usize,
    weights: Vec<i32>,
}

/// The kernels of pixels `wanted` of `to`, made of `from` pixels.
fn kernels(from: usize, to: usize, wanted: Range<usize>, filter: Filter) -> Vec<Kernel> {
    let scale = from as f64 / to as f64;
    if filter == Filter::Nearest {
        // Pillow adds up steps, which decides where a centre falls on an edge.
        let centres = std::iter::successors(Some(scale * 0.5), |at| Some(at + scale));
        let one = |at: f64| Kernel { start: (at as usize).min(from - 1), weights: vec![1 << BITS] };
        return centres.take(wanted.end).skip(wanted.start).map(one).collect();
    }
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let kernel = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let start = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let weights: Vec<f64> = (start..end).map(|j| filter.at((j as f64 - centre + 0.5) * (1.0 / stretch))).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |w: f64| (if sum == 0.0 { w } else { w / sum } * f64::from(1 << BITS)).round() as i32;
        Kernel { start, weights: weights.into_iter().map(fixed).collect() }
    };
    wanted.map(kernel).collect()
}

/// Rows and columns of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// `part` of the picture resized to `height` and `width`: `[rows, columns, 3]`. Only what it is made of is looked at.
///
/// # Errors
/// More pixels than [`MAX_PIXELS`], also between the two passes.
pub(super) fn resize(picture: &Picture, (height, width): (usize, usize), part: &Part, filter: Filter) -> Result<Vec<u8>> {
    let too_large = |what: &str| {
        let (from, limit) = (format!("{}x{}", picture.width(), picture.height()), MAX_PIXELS / 1_000_000);
        Error::request(format!("resizing an image of {from} to {width}x{height} takes {what} of more than {limit} million pixels"))
    };
    let fits = |rows: usize, columns: usize| rows.checked_mul(columns).is_some_and(|n| n <= MAX_PIXELS);
    if !fits(part.rows.len(), part.columns.len()) || width.max(height) > MAX_PIXELS {
        return Err(too_large("a result"));
    }
    let down = kernels(picture.height(), height, part.rows.clone(), filter);
    let rows = down.first().map_or(0, |k| k.start)..down.last().map_or(0, |k| k.start + k.weights.len());
    if !fits(rows.len(), part.columns.len()) {
        return Err(too_large("a step between"));
    }
    let across = kernels(picture.width(), width, part.columns.clone(), filter);
    let narrow = along_rows(&picture.rgb()[rows.start * picture.width() * 3..rows.end * picture.width() * 3], picture.width(), &across);
    Ok(along_columns(&narrow, part.columns.len() * 3, rows.start, &down))
}

fn along_rows(rgb: &[u8], width: usize, kernels: &[Kernel]) -> Vec<u8> {
    let mut out = vec![0; rgb.len() / width * kernels.len()];
    out.par_chunks_mut(kernels.len() * 3).zip(rgb.par_chunks(width * 3)).for_each(|(out, row)| {
        for (out, kernel) in out.as_chunks_mut::<3>().0.iter_mut().zip(kernels) {
            let mut sum = [1 << (BITS - 1); 3];
            for (pixel, &w) in row[kernel.start * 3..].as_chunks::<3>().0.iter().zip(&kernel.weights) {
                sum = std::array::from_fn(|c| sum[c] + w * i32::from(pixel[c]));
            }
            *out = sum.map(grey);
        }
    });
    out
}

/// `rgb` begins with row `first` of the picture; `width` is in bytes.
fn along_columns(rgb: &[u8], width: usize, first: usize, kernels: &[Kernel]) -> Vec<u8> {
    let mut out = vec![0; width * kernels.len()];
    out.par_chunks_mut(width).zip(kernels).for_each(|(out, kernel)| {
        let mut sums = vec![1 << (BITS - 1); width];
        for (row, &w) in rgb[(kernel.start - first) * width..].chunks_exact(width).zip(&kernel.weights) {
            sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += w * i32::from(x));
        }
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = grey(sum));
    });
    out
}

/// A sum back to a grey level; it began with one half.
fn grey(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

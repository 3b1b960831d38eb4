//! From few numbers to many: a grid of scores becomes a map of pixels.
//!
//! Pixel `d` of an axis of `m` lies at `(d + ½)·n/m − ½` of an axis of `n`: centres are half a pixel from the edges, as in PyTorch with
//! `align_corners=False`. Before the first centre and after the last the map is level.

use pellucid_core::{Error, Result};

/// Most numbers that are made at once.
const MOST: usize = 1 << 26;

/// A `[rows, columns]` map of another size, linear in between the centres of neighbouring cells.
///
/// # Errors
/// `values` is not `from` numbers, or a size is 0, or more than 2²⁶ numbers are asked for.
pub fn bilinear(values: &[f64], from: [usize; 2], to: [usize; 2]) -> Result<Vec<f64>> {
    checked(values, from, to)?;
    let [rows, columns] = [0, 1].map(|axis| along(&centres(from[axis]), &positions(from[axis], to[axis])));
    let values = |row: usize, c: &Between| mixed(values[row * from[1] + c.first], values[row * from[1] + c.second], c.share);
    Ok(rows.iter().flat_map(|r| columns.iter().map(move |c| mixed(values(r.first, c), values(r.second, c), r.share))).collect())
}

/// A `[rows, columns]` map of another size: each pixel has the value of the cell that its centre lies in.
///
/// # Errors
/// As [`bilinear`].
pub fn nearest(values: &[f64], from: [usize; 2], to: [usize; 2]) -> Result<Vec<f64>> {
    checked(values, from, to)?;
    let [rows, columns] = [0, 1].map(|axis| -> Vec<usize> {
        positions(from[axis], to[axis]).into_iter().map(|p| ((p + 0.5) as usize).min(from[axis] - 1)).collect()
    });
    Ok(rows.iter().flat_map(|r| columns.iter().map(move |c| values[r * from[1] + c])).collect())
}

fn checked(values: &[f64], from: [usize; 2], to: [usize; 2]) -> Result<()> {
    let wrong = |what: String| Err(Error::request(what));
    if from.iter().chain(&to).any(|&n| n == 0) {
        return wrong(format!("a map of {from:?} cannot become one of {to:?}: every size must be 1 or more"));
    }
    if from[0].checked_mul(from[1]) != Some(values.len()) {
        return wrong(format!("a map of {from:?} has {} values instead of rows times columns", values.len()));
    }
    if to[0].checked_mul(to[1]).is_none_or(|n| n > MOST) {
        return wrong(format!("a map of {to:?} is too large, {MOST} values are the most"));
    }
    Ok(())
}

/// Centres of the cells, in cells.
fn centres(n: usize) -> Vec<f64> {
    (0..n).map(|i| i as f64).collect()
}

/// Where the new cells' centres lie among the old ones'.
fn positions(from: usize, to: usize) -> Vec<f64> {
    (0..to).map(|d| (d as f64 + 0.5) * from as f64 / to as f64 - 0.5).collect()
}

/// Two neighbours, and the share of the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Between {
    pub(crate) first: usize,
    pub(crate) second: usize,
    pub(crate) share: f64,
}

/// Each position's neighbours among ascending centres, of which there is one at least.
pub(crate) fn along(centres: &[f64], positions: &[f64]) -> Vec<Between> {
    let between = |p: &f64| match centres.partition_point(|c| c <= p) {
        0 => Between { first: 0, second: 0, share: 0.0 },
        n if n == centres.len() => Between { first: n - 1, second: n - 1, share: 0.0 },
        n => Between { first: n - 1, second: n, share: (p - centres[n - 1]) / (centres[n] - centres[n - 1]) },
    };
    positions.iter().map(between).collect()
}

/// The exact first value for share 0, and no overflow on the way.
pub(crate) fn mixed(a: f64, b: f64, share: f64) -> f64 {
    a * (1.0 - share) + b * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bilinear_is_level_at_the_edges_and_linear_between_centres() {
        assert_eq!(bilinear(&[0.0, 1.0], [1, 2], [1, 4]).unwrap(), [0.0, 0.25, 0.75, 1.0]);
        let four = bilinear(&[0.0, 4.0, 8.0, 12.0], [2, 2], [4, 4]).unwrap();
        assert_eq!(four, [0., 1., 3., 4., 2., 3., 5., 6., 6., 7., 9., 10., 8., 9., 11., 12.]);
        assert_eq!(bilinear(&[3.5], [1, 1], [2, 3]).unwrap(), [3.5; 6]);
    }

    #[test]
    fn nearest_repeats_cells() {
        assert_eq!(nearest(&[1.0, 2.0], [2, 1], [4, 2]).unwrap(), [1., 1., 1., 1., 2., 2., 2., 2.]);
        assert_eq!(nearest(&[1.0, 2.0, 3.0], [1, 3], [1, 2]).unwrap(), [1.0, 3.0]);
    }

    #[test]
    fn the_same_size_is_the_same_map() {
        let map = [0.1, -7.0, 1e100, 0.3, 5.0, 1e-300];
        assert_eq!(bilinear(&map, [2, 3], [2, 3]).unwrap(), map);
        assert_eq!(nearest(&map, [2, 3], [2, 3]).unwrap(), map);
    }

    #[test]
    fn sizes_that_are_wrong_are_named() {
        let error = |values: &[f64], from, to| bilinear(values, from, to).unwrap_err().to_string();
        assert_eq!(error(&[1.0; 5], [2, 3], [4, 4]), "a map of [2, 3] has 5 values instead of rows times columns");
        assert_eq!(error(&[], [0, 3], [4, 4]), "a map of [0, 3] cannot become one of [4, 4]: every size must be 1 or more");
        assert!(error(&[1.0], [1, 1], [usize::MAX, 2]).contains("is too large"));
        assert!(nearest(&[1.0], [usize::MAX, 2], [1, 1]).is_err());
    }
}

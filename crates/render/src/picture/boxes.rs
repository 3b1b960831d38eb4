//! The parts of a picture that have scores: a grid of patches or tiles where they form one, else boxes as they come.

use pellucid_core::Region;

use super::resample::{Between, along};
use crate::view::View;

/// Edges nearer to each other than this share of the picture are the same edge.
const SAME: f64 = 1e-6;

/// What has a score.
pub(crate) struct Boxes {
    pub(crate) parts: Vec<Part>,
    /// Set where the parts fill a rectangle in rows and columns without gaps.
    pub(crate) grid: Option<Grid>,
}

/// A patch, tile or box.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Which feature of the attribution.
    pub(crate) feature: usize,
    pub(crate) region: Region,
    pub(crate) score: f64,
}

/// Rows and columns, perhaps of different sizes.
#[derive(Debug, PartialEq)]
pub(crate) struct Grid {
    /// Ascending edges of the rows in fractions of the picture, one more than there are rows.
    pub(crate) rows: Vec<f64>,
    /// The same of the columns.
    pub(crate) columns: Vec<f64>,
    /// Which part stands in each cell, row by row.
    pub(crate) cells: Vec<usize>,
    /// `(row, column)` of each part.
    pub(crate) places: Vec<(usize, usize)>,
}

impl Boxes {
    /// Every feature with a region and a score in this view.
    pub(crate) fn of(view: &View<'_>) -> Self {
        let features = view.a.features.iter().enumerate();
        let part = |(i, f): (usize, &pellucid_core::Feature)| Some(Part { feature: i, region: f.region?, score: view.score(i)? });
        Self::from(features.filter_map(part).collect::<Vec<_>>())
    }

    pub(crate) fn scores(&self) -> Vec<f64> {
        self.parts.iter().map(|p| p.score).collect()
    }
}

impl From<Vec<Part>> for Boxes {
    fn from(parts: Vec<Part>) -> Self {
        let grid = grid(&parts);
        Boxes { parts, grid }
    }
}

fn grid(parts: &[Part]) -> Option<Grid> {
    let tops = edges(parts.iter().map(|p| (p.region.top, p.region.top + p.region.height)));
    let lefts = edges(parts.iter().map(|p| (p.region.left, p.region.left + p.region.width)));
    let (n_rows, n_columns) = (tops.len().checked_sub(1)?, lefts.len().checked_sub(1)?);
    if n_rows.checked_mul(n_columns) != Some(parts.len()) || parts.is_empty() {
        return None;
    }
    let (mut cells, mut places) = (vec![None; parts.len()], Vec::with_capacity(parts.len()));
    for (i, part) in parts.iter().enumerate() {
        let Region { left, top, width, height } = part.region;
        let (row, column) = (index(&tops, top)?, index(&lefts, left)?);
        let neighbours = index(&tops, top + height)? == row + 1 && index(&lefts, left + width)? == column + 1;
        if !neighbours || cells[row * n_columns + column].replace(i).is_some() {
            return None;
        }
        places.push((row, column));
    }
    Some(Grid { rows: tops, columns: lefts, cells: cells.into_iter().collect::<Option<_>>()?, places })
}

/// Different edges, ascending.
fn edges(pairs: impl Iterator<Item = (f64, f64)>) -> Vec<f64> {
    let mut all: Vec<f64> = pairs.flat_map(|(a, b)| [a, b]).collect();
    all.sort_by(f64::total_cmp);
    all.dedup_by(|a, b| (*a - *b).abs() < SAME);
    all
}

/// Which of the edges this one is.
fn index(edges: &[f64], edge: f64) -> Option<usize> {
    let at = edges.partition_point(|e| *e < edge - SAME);
    (at < edges.len() && (edges[at] - edge).abs() < SAME).then_some(at)
}

impl Grid {
    /// `[rows, columns]`.
    pub(crate) fn size(&self) -> [usize; 2] {
        [self.rows.len() - 1, self.columns.len() - 1]
    }
}

/// Where pixel centres lie among the cells of an axis: the cell itself, and the neighbours in between whose centres they lie. `None` outside.
pub(crate) struct Axis {
    pub(crate) cell: Vec<Option<usize>>,
    pub(crate) between: Vec<Between>,
}

impl Axis {
    /// `edges` ascending in fractions of the picture, which is `pixels` long.
    pub(crate) fn new(edges: &[f64], pixels: usize) -> Self {
        let positions: Vec<f64> = (0..pixels).map(|p| (p as f64 + 0.5) / pixels as f64).collect();
        let centres: Vec<f64> = edges.windows(2).map(|w| 0.5 * (w[0] + w[1])).collect();
        let cell = |p: &f64| match edges.partition_point(|e| e <= p) {
            n if n == 0 || n == edges.len() => None,
            n => Some(n - 1),
        };
        Axis { cell: positions.iter().map(cell).collect(), between: along(&centres, &positions) }
    }
}

/// Equal cells: `n` of them from `start`, `length` long altogether.
pub(crate) fn even(start: f64, length: f64, n: usize) -> Vec<f64> {
    (0..=n).map(|i| start + length * i as f64 / n as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(regions: &[(f64, f64, f64, f64)]) -> Vec<Part> {
        let region = |&(left, top, width, height)| Region { left, top, width, height };
        regions.iter().map(region).enumerate().map(|(feature, region)| Part { feature, region, score: feature as f64 }).collect()
    }

    #[test]
    fn patches_in_any_order_are_a_grid() {
        let seen = Region { left: 0.1, top: 0.0, width: 0.8, height: 1.0 };
        let mut all: Vec<Part> = (0..6).map(|i| Part { feature: i, region: seen.cell([2, 3], i / 3, i % 3), score: 0.0 }).collect();
        all.reverse();
        let grid = grid(&all).unwrap();
        assert_eq!((grid.size(), &grid.cells[..]), ([2, 3], &[5, 4, 3, 2, 1, 0][..]));
        assert_eq!(grid.places[0], (1, 2));
    }

    #[test]
    fn uneven_tiles_are_a_grid_too() {
        assert_eq!(grid(&parts(&[(0.0, 0.0, 0.3, 1.0), (0.3, 0.0, 0.7, 1.0)])).unwrap().columns, [0.0, 0.3, 1.0]);
    }

    #[test]
    fn gaps_overlaps_and_doubles_are_no_grid() {
        let (half, other) = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0));
        assert!(grid(&parts(&[half, other])).is_some());
        for boxes in [&[half, half][..], &[half, (0.4, 0.0, 0.6, 1.0)], &[half, (0.5, 0.0, 0.5, 0.5)], &[half, (0.7, 0.0, 0.3, 1.0)], &[]] {
            assert_eq!(grid(&parts(boxes)), None, "{boxes:?}");
        }
    }

    #[test]
    fn pixels_know_their_cell_and_their_neighbours() {
        let axis = Axis::new(&even(0.25, 0.5, 2), 8);
        assert_eq!(axis.cell, [None, None, Some(0), Some(0), Some(1), Some(1), None, None]);
        // Centres at 3/8 and 5/8; the pixel at 7/16 lies a quarter of the way between them.
        assert_eq!(axis.between[3], Between { first: 0, second: 1, share: 0.25 });
    }
}

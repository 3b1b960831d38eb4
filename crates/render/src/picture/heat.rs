//! Strengths on every pixel of the whole picture.

use pellucid_core::{Error, PixelScores, Region, Result};

use super::boxes::{Axis, Boxes, Part, even};
use super::range::Range;
use super::resample::mixed;
use super::{Interpolation, Mask, above, otsu};

/// Most pixels that overlapping boxes are painted with.
const MOST_PAINTED: usize = 1 << 28;

/// A strength for every pixel, row by row; `None` where nothing was scored, as beside what the model saw.
pub(crate) struct Heat {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) strengths: Vec<Option<f32>>,
}

/// What a heat map is made of.
pub(crate) enum Source<'a> {
    Boxes(&'a Boxes),
    Pixels(&'a PixelScores, Region),
}

impl Heat {
    /// The map at this many pixels.
    ///
    /// # Errors
    /// Boxes overlap so often that painting them would not end.
    pub(crate) fn new(source: &Source<'_>, range: &Range, interpolation: Interpolation, [width, height]: [usize; 2]) -> Result<Self> {
        let strengths = match source {
            Source::Boxes(boxes) => match &boxes.grid {
                Some(grid) => {
                    let cells: Vec<f64> = grid.cells.iter().map(|&i| range.strength(boxes.parts[i].score)).collect();
                    placed(&cells, &grid.rows, &grid.columns, interpolation, [width, height])
                }
                None => painted(&boxes.parts, range, [width, height])?,
            },
            Source::Pixels(pixels, seen) => {
                let (down, across) = (
                    blocks(seen.top, seen.height, pixels.height, seen.height * height as f64),
                    blocks(seen.left, seen.width, pixels.width, seen.width * width as f64),
                );
                let values: Vec<f64> = means(pixels, &down, &across).into_iter().map(|v| range.strength(v)).collect();
                placed(&values, &down.edges, &across.edges, interpolation, [width, height])
            }
        };
        Ok(Heat { width, height, strengths })
    }

    /// Which pixels are shown, by magnitude. Grey levels are cut off as in the published code.
    pub(crate) fn shown(&self, mask: Mask) -> Vec<bool> {
        match mask {
            Mask::None => vec![true; self.strengths.len()],
            Mask::Threshold(t) => self.strengths.iter().map(|s| s.is_some_and(|s| f64::from(s.abs()) > t)).collect(),
            Mask::Otsu => {
                let grey = |s: &f32| (255.0 * s.abs()) as u8;
                let threshold = otsu(&self.strengths.iter().flatten().map(grey).collect::<Vec<_>>());
                let levels: Vec<u8> = self.strengths.iter().map(|s| s.as_ref().map_or(0, grey)).collect();
                above(&levels, threshold)
            }
        }
    }
}

fn placed(cells: &[f64], rows: &[f64], columns: &[f64], interpolation: Interpolation, [width, height]: [usize; 2]) -> Vec<Option<f32>> {
    let (down, across, n) = (Axis::new(rows, height), Axis::new(columns, width), columns.len() - 1);
    let mut out = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            out.push(down.cell[y].zip(across.cell[x]).map(|(row, column)| match interpolation {
                Interpolation::Nearest => cells[row * n + column] as f32,
                Interpolation::Bilinear => {
                    let (r, c) = (down.between[y], across.between[x]);
                    let along = |row: usize| mixed(cells[row * n + c.first], cells[row * n + c.second], c.share);
                    mixed(along(r.first), along(r.second), r.share) as f32
                }
            }));
        }
    }
    out
}

/// Where boxes overlap the strongest is seen.
fn painted(parts: &[Part], range: &Range, [width, height]: [usize; 2]) -> Result<Vec<Option<f32>>> {
    let mut order: Vec<(f64, &Part)> = parts.iter().map(|p| (range.strength(p.score), p)).collect();
    order.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
    let (mut out, mut done) = (vec![None; width * height], 0);
    for (strength, part) in order {
        let Region { left, top, width: w, height: h } = part.region;
        let (columns, rows) = (pixels(left, left + w, width), pixels(top, top + h, height));
        done += columns.len() * rows.len();
        if done > MOST_PAINTED {
            return Err(Error::request(format!("the {} boxes overlap too often to be drawn", parts.len())));
        }
        for y in rows {
            out[y * width..][columns.clone()].fill(Some(strength as f32));
        }
    }
    Ok(out)
}

/// Pixels whose centres lie between two edges; one at least.
fn pixels(from: f64, to: f64, n: usize) -> std::ops::Range<usize> {
    // Casts from floats saturate.
    let first = ((from * n as f64 - 0.5).ceil().max(0.0) as usize).min(n - 1);
    let last = ((to * n as f64 - 0.5).ceil().max(0.0) as usize).min(n);
    first..last.max(first + 1)
}

/// An axis of single pixels cut into blocks where there are several for one of the picture that is drawn.
struct Blocks {
    /// Of each block, first pixel and one past the last.
    spans: Vec<(usize, usize)>,
    /// In fractions of the picture.
    edges: Vec<f64>,
}

fn blocks(start: f64, length: f64, n: usize, drawn: f64) -> Blocks {
    let size = ((n as f64 / drawn.max(1.0)) as usize).clamp(1, n);
    let spans: Vec<_> = (0..n).step_by(size).map(|first| (first, (first + size).min(n))).collect();
    let all = even(start, length, n);
    let edges = spans.iter().map(|s| all[s.0]).chain([all[n]]).collect();
    Blocks { spans, edges }
}

fn means(pixels: &PixelScores, down: &Blocks, across: &Blocks) -> Vec<f64> {
    let mut out = Vec::with_capacity(down.spans.len() * across.spans.len());
    for &(top, bottom) in &down.spans {
        for &(left, right) in &across.spans {
            let sum: f64 = (top..bottom).flat_map(|y| &pixels.values[y * pixels.width..][left..right]).map(|&v| f64::from(v)).sum();
            out.push(sum / ((bottom - top) * (right - left)) as f64);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{MapScale, bilinear, nearest};
    use pellucid_core::Sign;

    fn boxes(regions: impl IntoIterator<Item = (Region, f64)>) -> Boxes {
        let parts = regions.into_iter().enumerate().map(|(feature, (region, score))| Part { feature, region, score });
        Boxes::from(parts.collect::<Vec<_>>())
    }

    fn grid(seen: Region) -> (Boxes, Range) {
        let scores = [0.0, 1.0, 5.0, 2.0, 3.0, 4.0];
        let boxes = boxes((0..6).map(|i| (seen.cell([2, 3], i / 3, i % 3), scores[i])));
        (boxes, Range::of(&scores, Sign::Unsigned, MapScale::MinMax, false).unwrap())
    }

    #[test]
    fn a_whole_picture_is_upsampled_as_the_plain_functions_do_it() {
        let (boxes, range) = grid(Region::WHOLE);
        let cells: Vec<f64> = boxes.scores().iter().map(|v| v / 5.0).collect();
        for (interpolation, plain) in [
            (Interpolation::Bilinear, bilinear(&cells, [2, 3], [10, 12]).unwrap()),
            (Interpolation::Nearest, nearest(&cells, [2, 3], [10, 12]).unwrap()),
        ] {
            let heat = Heat::new(&Source::Boxes(&boxes), &range, interpolation, [12, 10]).unwrap();
            for (got, want) in heat.strengths.iter().zip(plain) {
                assert!((f64::from(got.unwrap()) - want).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn what_the_model_did_not_see_has_no_strength() {
        let (boxes, range) = grid(Region { left: 0.25, top: 0.0, width: 0.5, height: 1.0 });
        let heat = Heat::new(&Source::Boxes(&boxes), &range, Interpolation::Bilinear, [8, 4]).unwrap();
        let seen: Vec<bool> = heat.strengths.iter().map(Option::is_some).collect();
        assert_eq!(seen, [false, false, true, true, true, true, false, false].repeat(4));
    }

    #[test]
    fn of_overlapping_boxes_the_strongest_is_seen() {
        let region = |left, width| Region { left, top: 0.0, width, height: 1.0 };
        let boxes = boxes([(region(0.0, 0.5), -4.0), (region(0.25, 0.5), 2.0)]);
        let range = Range::of(&boxes.scores(), Sign::Signed, MapScale::MinMax, false).unwrap();
        let heat = Heat::new(&Source::Boxes(&boxes), &range, Interpolation::Bilinear, [4, 1]).unwrap();
        assert_eq!(heat.strengths, [Some(-1.0), Some(-1.0), Some(0.5), None]);
        assert_eq!(heat.shown(Mask::Threshold(0.6)), [true, true, false, false]);
    }

    #[test]
    fn masks_keep_what_is_strong() {
        let (boxes, range) = grid(Region::WHOLE);
        let heat = Heat::new(&Source::Boxes(&boxes), &range, Interpolation::Nearest, [3, 2]).unwrap();
        assert_eq!(heat.shown(Mask::None), [true; 6]);
        // Levels 0, 51, 255, 102, 153, 204: between the classes {0, 51, 102} and the rest the variance is largest.
        assert_eq!(heat.shown(Mask::Otsu), [false, false, true, false, true, true]);
    }

    #[test]
    fn single_pixels_lie_over_what_was_seen_and_are_averaged_where_they_are_many() {
        let pixels = PixelScores { width: 4, height: 2, values: vec![0.0, 2.0, 4.0, 4.0, 2.0, 0.0, 4.0, 4.0] };
        let range = Range::of(&[0.0, 4.0], Sign::Unsigned, MapScale::MinMax, true).unwrap();
        let draw = |seen, size| Heat::new(&Source::Pixels(&pixels, seen), &range, Interpolation::Nearest, size).unwrap().strengths;
        assert_eq!(draw(Region::WHOLE, [4, 2]), [0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 1.0, 1.0].map(Some));
        assert_eq!(draw(Region::WHOLE, [2, 1]), [0.25, 1.0].map(Some));
        assert_eq!(draw(Region { left: 0.5, top: 0.0, width: 0.5, height: 1.0 }, [4, 1]), [None, None, Some(0.25), Some(1.0)]);
    }
}

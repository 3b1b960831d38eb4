//! `out = x · Wᵀ + b` on packed weights.
//!
//! x is read where it lies; a panel of the weight stays in the second-level cache while a group of rows passes it. Sums run over all inputs in rising order
//! in one accumulator each, so a row's result does not depend on the rows beside it, on the threads, or on how the work was cut.

use std::ops::Range;

use rayon::prelude::*;

use crate::buffer::Scratch;
use crate::level::Level;
use crate::tile::{Finish, Tile};
use crate::{Packed, Real};

/// Bytes of x that pass one panel before the next panel is fetched: with a panel they fit the second-level cache of today's servers (1 MiB and up).
const GROUP_BYTES: usize = 384 << 10;
/// Inputs up to which a sum is made in one go.
const SHALLOW: usize = 1536;
/// Inputs in one stretch of a longer sum.
const DEPTH: usize = 1024;
/// Panels that such a stretch passes before the next stretch.
const PANELS: usize = 8;
/// Rows this far apart share their places in the first-level cache, which has fewer of them than a tile has rows: they are copied further apart first.
pub(crate) const PAGE: usize = 4096;
/// Numbers in a cache line, or a few more.
pub(crate) const LINE: usize = 16;
/// Multiply–adds below which a second thread costs more than it brings.
const WORTH_A_THREAD: usize = 1 << 18;

/// `out[m, n] = x[m, k] · Wᵀ (+ bias)`, added to `out` if `accumulate`; row strides in elements. One thread.
///
/// The sum over inputs runs in rising order from 0, then the bias is added, and the whole to what `out` held.
#[allow(clippy::too_many_arguments)]
pub fn product<T: Real>(
    out: &mut [T],
    out_stride: usize,
    x: &[T],
    x_stride: usize,
    rows: usize,
    weight: &Packed<T>,
    bias: Option<&[T]>,
    accumulate: bool,
) {
    let job = Job::new(Level::best(), out, out_stride, x, x_stride, rows, weight, bias, accumulate);
    // SAFETY: `Job::new` has checked the slices, and `out` is borrowed by this call alone.
    unsafe { job.run(0..rows, 0..job.panels()) };
}

/// [`product`] on the current rayon pool: cut into groups of rows, and of panels where there are few rows.
#[allow(clippy::too_many_arguments)]
pub fn product_parallel<T: Real>(
    out: &mut [T],
    out_stride: usize,
    x: &[T],
    x_stride: usize,
    rows: usize,
    weight: &Packed<T>,
    bias: Option<&[T]>,
    accumulate: bool,
) {
    let job = Job::new(Level::best(), out, out_stride, x, x_stride, rows, weight, bias, accumulate);
    job.run_parallel();
}

/// Rows of x, or of a copy of them.
#[derive(Clone, Copy)]
struct Rows<T> {
    start: *const T,
    stride: usize,
}

/// A checked product.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a, T> {
    level: Level,
    out: *mut T,
    out_stride: usize,
    x: &'a [T],
    x_stride: usize,
    rows: usize,
    weight: &'a Packed<T>,
    bias: Option<&'a [T]>,
    finish: Finish,
}

// SAFETY: `out` is written only by `run`, whose callers hand disjoint parts to different threads; the rest is shared and read only.
unsafe impl<T: Real> Sync for Job<'_, T> {}

impl<'a, T: Real> Job<'a, T> {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        level: Level,
        out: &'a mut [T],
        out_stride: usize,
        x: &'a [T],
        x_stride: usize,
        rows: usize,
        weight: &'a Packed<T>,
        bias: Option<&'a [T]>,
        accumulate: bool,
    ) -> Self {
        let (n, k) = (weight.outputs(), weight.inputs());
        if rows > 0 {
            let (last_out, last_x) = ((rows - 1).checked_mul(out_stride), (rows - 1).checked_mul(x_stride));
            let fits =
                |last: Option<usize>, width: usize, len: usize| last.and_then(|last| last.checked_add(width)).is_some_and(|end| end <= len);
            assert!(fits(last_x, k, x.len()), "{rows} rows of {k} inputs, {x_stride} apart, do not lie in {} numbers", x.len());
            assert!(fits(last_out, n, out.len()), "{rows} rows of {n} outputs, {out_stride} apart, do not lie in {} numbers", out.len());
            assert!(rows == 1 || out_stride >= n, "rows of {n} outputs overlap when they are {out_stride} apart");
        }
        assert!(bias.is_none_or(|bias| bias.len() == n), "the bias of {n} outputs has another length");
        let finish = if accumulate { Finish::Add } else { Finish::Set };
        Job { level, out: out.as_mut_ptr(), out_stride, x, x_stride, rows, weight, bias, finish }
    }

    pub(crate) fn panels(&self) -> usize {
        self.weight.outputs().div_ceil(T::PANEL)
    }

    /// Some rows times some panels.
    ///
    /// # Safety
    /// Nobody else may touch these rows and columns of `out` meanwhile.
    pub(crate) unsafe fn run(&self, rows: Range<usize>, panels: Range<usize>) {
        let k = self.weight.inputs();
        let depth = if k <= SHALLOW { k } else { DEPTH };
        let group = (GROUP_BYTES / (depth.max(1) * size_of::<T>())).max(4 * T::tiles(self.level).len());
        let crowded = (self.x_stride * size_of::<T>()).is_multiple_of(PAGE) && rows.len() > 1 && panels.len() > 1;
        let mut copy = Scratch::take(if crowded { group.min(rows.len()) * (k + LINE) } else { 0 });
        for rows in parts(rows, group) {
            let mut x = Rows { start: self.x[rows.start * self.x_stride..].as_ptr(), stride: self.x_stride };
            if crowded {
                for (row, copy) in rows.clone().zip(copy.chunks_exact_mut(k + LINE)) {
                    copy[..k].copy_from_slice(&self.x[row * self.x_stride..][..k]);
                }
                x = Rows { start: copy.as_ptr(), stride: k + LINE };
            }
            // SAFETY: the caller owns these rows and columns; x holds these rows.
            unsafe { if k <= SHALLOW { self.run_shallow(x, rows, panels.clone()) } else { self.run_deep(x, rows, panels.clone()) } }
        }
    }

    /// Sums in one go, straight to where they belong.
    ///
    /// # Safety
    /// As for `run`, and x must hold these rows.
    unsafe fn run_shallow(&self, x: Rows<T>, rows: Range<usize>, panels: Range<usize>) {
        for panel in panels {
            let (first, columns) = self.columns(panel);
            let bias = self.bias.map_or(std::ptr::null(), |bias| bias[first..first + columns].as_ptr());
            // SAFETY: `new` has checked that rows and columns lie inside `out`, and the caller owns them.
            unsafe {
                let out = self.out.add(rows.start * self.out_stride + first);
                self.panel(x, rows.len(), panel, 0..self.weight.inputs(), out, self.out_stride, columns, bias, self.finish);
            }
        }
    }

    /// Sums over many inputs: a stretch of inputs at a time for a few panels, kept between stretches in a buffer, so that x and the panels stay in the
    /// second-level cache.
    ///
    /// # Safety
    /// As for `run`, and x must hold these rows.
    unsafe fn run_deep(&self, x: Rows<T>, rows: Range<usize>, panels: Range<usize>) {
        let stride = PANELS * T::PANEL;
        let mut sums = Scratch::take(rows.len() * stride);
        for some in parts(panels, PANELS) {
            for inputs in parts(0..self.weight.inputs(), DEPTH) {
                let finish = if inputs.start == 0 { Finish::Set } else { Finish::Continue };
                for panel in some.clone() {
                    let out = sums[(panel - some.start) * T::PANEL..].as_mut_ptr();
                    // SAFETY: `sums` has PANELS panels in each of its rows.
                    unsafe { self.panel(x, rows.len(), panel, inputs.clone(), out, stride, T::PANEL, std::ptr::null(), finish) };
                }
            }
            let first = some.start * T::PANEL;
            let columns = (some.end * T::PANEL).min(self.weight.outputs()) - first;
            for (row, sums) in rows.clone().zip(sums.chunks_exact(stride)) {
                // SAFETY: `new` has checked that rows and columns lie inside `out`, and the caller owns them.
                let out = unsafe { std::slice::from_raw_parts_mut(self.out.add(row * self.out_stride + first), columns) };
                for (column, (out, &sum)) in out.iter_mut().zip(sums).enumerate() {
                    let sum = self.bias.map_or(sum, |bias| sum + bias[first + column]);
                    *out = if self.finish == Finish::Add { *out + sum } else { sum };
                }
            }
        }
    }

    /// First column of a panel, and how many it has.
    fn columns(&self, panel: usize) -> (usize, usize) {
        let first = panel * T::PANEL;
        (first, T::PANEL.min(self.weight.outputs() - first))
    }

    /// Rows of x times a stretch of one panel, tile by tile.
    ///
    /// # Safety
    /// x must hold `rows` rows; `out` must point at the first of as many, `out_stride` apart, of `columns` numbers each, that the caller owns; `bias` at as
    /// many or null.
    #[allow(clippy::too_many_arguments)]
    unsafe fn panel(
        &self,
        x: Rows<T>,
        rows: usize,
        panel: usize,
        inputs: Range<usize>,
        out: *mut T,
        out_stride: usize,
        columns: usize,
        bias: *const T,
        finish: Finish,
    ) {
        let tiles = T::tiles(self.level);
        let weights = &self.weight.data()[(panel * self.weight.inputs() + inputs.start) * T::PANEL..][..inputs.len() * T::PANEL];
        for block in parts(0..rows, tiles.len()) {
            // SAFETY: the caller's promises; the level is this processor's.
            unsafe {
                tiles[block.len() - 1](&Tile {
                    k: inputs.len(),
                    x: x.start.add(block.start * x.stride + inputs.start),
                    x_stride: x.stride,
                    panel: weights.as_ptr(),
                    out: out.add(block.start * out_stride),
                    out_stride,
                    columns,
                    bias,
                    finish,
                });
            }
        }
    }

    pub(crate) fn run_parallel(&self) {
        let (n, k) = (self.weight.outputs(), self.weight.inputs());
        let threads = rayon::current_num_threads();
        let worth = (self.rows * n).saturating_mul(k) / WORTH_A_THREAD;
        let pieces = worth.min(4 * threads);
        if threads == 1 || pieces <= 1 {
            // SAFETY: `out` is borrowed by this job alone.
            return unsafe { self.run(0..self.rows, 0..self.panels()) };
        }
        // Rows first, as long as a piece keeps a few tiles; then panels.
        let tall = 4 * T::tiles(self.level).len();
        let row_pieces = (self.rows / tall).clamp(1, pieces);
        let panel_pieces = pieces.div_ceil(row_pieces).min(self.panels());
        let row_parts: Vec<_> = parts(0..self.rows, self.rows.div_ceil(row_pieces)).collect();
        let panel_parts: Vec<_> = parts(0..self.panels(), self.panels().div_ceil(panel_pieces)).collect();
        (0..row_parts.len() * panel_parts.len()).into_par_iter().for_each(|piece| {
            let (rows, panels) = (row_parts[piece / panel_parts.len()].clone(), panel_parts[piece % panel_parts.len()].clone());
            // SAFETY: each piece has rows and panels that no other piece has.
            unsafe { self.run(rows, panels) };
        });
    }
}

/// Cuts a range into as few parts of at most `most` as will do, of nearly equal length.
pub(crate) fn parts(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = range.len().div_ceil(most.max(1));
    (0..count).map(move |i| range.start + range.len() * i / count..range.start + range.len() * (i + 1) / count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_close, bits, exact, noise, whole};

    /// A product's operands, with rows further apart than they are wide.
    struct Case<T: Real> {
        x: Vec<T>,
        x_stride: usize,
        weight: Packed<T>,
        values: Vec<f32>,
        bias: Option<Vec<T>>,
        out: Vec<T>,
        out_stride: usize,
        rows: usize,
        accumulate: bool,
    }

    impl<T: Real> Case<T> {
        fn new(
            (m, k, n): (usize, usize, usize),
            with_bias: bool,
            accumulate: bool,
            seed: u64,
            numbers: fn(usize, u64) -> Vec<f32>,
        ) -> Self {
            let convert = |x: Vec<f32>| x.into_iter().map(T::from_f32).collect::<Vec<T>>();
            let (x_stride, out_stride) = (k + 3, n + 5);
            let values = numbers(n * k, seed);
            let mut weight = Packed::zeros(n, k);
            weight.set_outputs(0, &values);
            Case {
                x: convert(numbers(m * x_stride, seed + 1)),
                x_stride,
                weight,
                values,
                bias: with_bias.then(|| convert(numbers(n, seed + 2))),
                out: convert(numbers(m * out_stride, seed + 3)),
                out_stride,
                rows: m,
                accumulate,
            }
        }

        fn job<'a>(&'a self, level: Level, out: &'a mut [T]) -> Job<'a, T> {
            Job::new(level, out, self.out_stride, &self.x, self.x_stride, self.rows, &self.weight, self.bias.as_deref(), self.accumulate)
        }

        fn run(&self, level: Level) -> Vec<T> {
            let mut out = self.out.clone();
            let job = self.job(level, &mut out);
            // SAFETY: one thread.
            unsafe { job.run(0..self.rows, 0..job.panels()) };
            out
        }

        /// Three plain loops in f64.
        fn replica(&self) -> Vec<f64> {
            let (n, k) = (self.weight.outputs(), self.weight.inputs());
            let mut out = exact(&self.out);
            for row in 0..self.rows {
                for column in 0..n {
                    let mut sum: f64 =
                        (0..k).map(|i| self.x[row * self.x_stride + i].to_f64() * f64::from(self.values[column * k + i])).sum();
                    sum += self.bias.as_ref().map_or(0.0, |bias| bias[column].to_f64());
                    let out = &mut out[row * self.out_stride + column];
                    *out = if self.accumulate { *out + sum } else { sum };
                }
            }
            out
        }
    }

    fn agrees_with_plain_loops<T: Real>(shape: (usize, usize, usize), bias: bool, accumulate: bool, seed: u64, tolerance: f64) {
        let rough = Case::<T>::new(shape, bias, accumulate, seed, noise::<f32>);
        let exact_sums = Case::<T>::new(shape, bias, accumulate, seed, whole::<f32>);
        for level in Level::available() {
            assert_close(&rough.run(level), &rough.replica(), tolerance);
            assert_eq!(exact(&exact_sums.run(level)), exact_sums.replica());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn products_agree_with_plain_loops(m in 0usize..40, k in 0usize..80, n in 1usize..100, bias: bool, accumulate: bool, seed in 0u64..1000) {
            // k roundings of sums below √k in size.
            agrees_with_plain_loops::<f32>((m, k, n), bias, accumulate, seed, 4e-6);
            agrees_with_plain_loops::<f64>((m, k, n), bias, accumulate, seed, 1e-14);
        }

        #[test]
        fn a_row_does_not_know_its_company(m in 1usize..40, k in 0usize..80, n in 1usize..100, bias: bool, accumulate: bool, seed in 0u64..1000) {
            let case = Case::<f32>::new((m, k, n), bias, accumulate, seed, noise::<f32>);
            for level in Level::available() {
                let together = case.run(level);
                let mut alone = case.out.clone();
                let job = case.job(level, &mut alone);
                for row in (0..m).rev() {
                    // SAFETY: one thread.
                    unsafe { job.run(row..row + 1, 0..job.panels()) };
                }
                prop_assert_eq!(bits(&together), bits(&alone));
            }
        }
    }

    #[test]
    fn wide_and_deep_products_agree_with_plain_loops() {
        for shape in [(3, 1000, 65), (50, 5000, 33), (130, 64, 500), (1, 300, 2000)] {
            agrees_with_plain_loops::<f32>(shape, true, true, 7, 1e-4);
            agrees_with_plain_loops::<f64>(shape, false, false, 7, 1e-12);
        }
    }

    #[test]
    fn threads_change_no_bit() {
        for shape in [(2, 700, 3000), (200, 300, 100), (64, 200, 500), (7, 5, 3)] {
            for accumulate in [false, true] {
                let case = Case::<f32>::new(shape, true, accumulate, 3, noise::<f32>);
                let expected = bits(&case.run(Level::best()));
                for threads in [1, 2, 5] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be had");
                    let mut out = case.out.clone();
                    pool.install(|| case.job(Level::best(), &mut out).run_parallel());
                    assert_eq!(bits(&out), expected);
                }
            }
        }
    }

    #[test]
    fn a_broken_off_sum_goes_on_to_the_same_bit() {
        for n in [32, 19] {
            let (whole, x) = (Case::<f32>::new((5, 40, n), false, false, 1, noise::<f32>), 23);
            for level in Level::available() {
                let mut out = whole.out.clone();
                for (from, to, finish) in [(0, x, Finish::Set), (x, 40, Finish::Continue)] {
                    for block in parts(0..5, T_ROWS) {
                        // SAFETY: the shapes of the case.
                        unsafe {
                            <f32 as crate::real::sealed::Kernel>::tiles(level)[block.len() - 1](&Tile {
                                k: to - from,
                                x: whole.x.as_ptr().add(block.start * whole.x_stride + from),
                                x_stride: whole.x_stride,
                                panel: whole.weight.data().as_ptr().add(from * f32::PANEL),
                                out: out.as_mut_ptr().add(block.start * whole.out_stride),
                                out_stride: whole.out_stride,
                                columns: n,
                                bias: std::ptr::null(),
                                finish,
                            });
                        }
                    }
                }
                assert_eq!(bits(&out), bits(&whole.run(level)));
            }
        }
    }

    /// Rows that every level's tiles can take.
    const T_ROWS: usize = 4;

    #[test]
    fn parts_cover_a_range_evenly() {
        let cut: Vec<_> = parts(3..16, 5).collect();
        assert_eq!(cut, [3..7, 7..11, 11..16]);
        assert_eq!(parts(4..4, 5).count(), 0);
    }

    #[test]
    #[should_panic = "do not lie in 5 numbers"]
    fn too_few_inputs_are_refused() {
        product(&mut [0.0f32; 2], 1, &[0.0; 5], 3, 2, &Packed::zeros(1, 3), None, false);
    }

    #[test]
    #[should_panic = "overlap"]
    fn overlapping_results_are_refused() {
        product(&mut [0.0f32; 9], 1, &[0.0; 6], 3, 2, &Packed::zeros(3, 3), None, false);
    }
}

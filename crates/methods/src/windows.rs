//! Occlusion by a window that slides over a picture, pixel by pixel: it may cut through patches.
//!
//! ```text
//! delta(window) = score(clean) − score(window replaced)        score(channel, pixel) = mean of delta over the windows that cover it
//! ```
//!
//! Windows stand at multiples of the stride, the last one reaching the edge or cut off by it. Copies go up in groups, so that the changed pictures
//! in hand never take more than an eighth of the memory that a walk may take.

use std::ops::Range;

use pellucid_core::{
    Control, Engine, Error, FeaturePositions, Input, Outcome, Patches, Question, Result, Symbol,
    model::Description,
    walk::{
        Estimate,
        up::{Ask, Copy, Document, Readout, TokenScore},
    },
};

use crate::{points::joined, replacement::Replace};

/// Sizes of windows, `[channels, rows, columns]` in pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) size: [usize; 3],
    pub(crate) stride: [usize; 3],
}

/// What one window covers: channels, rows, columns.
type Window = [Range<usize>; 3];

/// More walks up than anyone waits for.
const MOST: usize = 1 << 20;

impl Windows {
    /// # Errors
    /// A model of texts; a window or stride of 0, windows larger than the picture, gaps between them, too many of them.
    pub(crate) fn check(self, model: &Description) -> Result<&Patches> {
        let Some(patches) = &model.patches else {
            return Err(Error::Unsupported(format!(
                "this {} model reads texts, over which no window slides; leave `window` and `stride` out",
                model.architecture
            )));
        };
        let whole = extent(patches);
        let Self { size, stride } = self;
        if (0..3).any(|i| size[i] == 0 || size[i] > whole[i]) {
            return Err(Error::request(format!("window {size:?} does not fit the picture, which is {whole:?} (channels, rows, columns)")));
        }
        if (0..3).any(|i| stride[i] == 0 || (stride[i] > size[i] && size[i] < whole[i])) {
            return Err(Error::request(format!(
                "stride {stride:?} is 0 or leaves gaps between windows of {size:?}; give 1 up to the window's size"
            )));
        }
        let count: usize = (0..3).map(|i| self.starts(whole, i).count()).product();
        if count > MOST {
            return Err(Error::request(format!("{count} windows are more than {MOST}; give a larger stride")));
        }
        Ok(patches)
    }

    fn starts(self, whole: [usize; 3], axis: usize) -> impl Iterator<Item = usize> {
        let count = (whole[axis] - self.size[axis]).div_ceil(self.stride[axis]) + 1;
        (0..count).map(move |i| i * self.stride[axis])
    }

    fn all(self, patches: &Patches) -> Vec<Window> {
        let whole = extent(patches);
        let along = |axis: usize, start: usize| start..(start + self.size[axis]).min(whole[axis]);
        let mut windows = Vec::new();
        for channel in self.starts(whole, 0) {
            for row in self.starts(whole, 1) {
                windows.extend(self.starts(whole, 2).map(|column| [along(0, channel), along(1, row), along(2, column)]));
            }
        }
        windows
    }

    /// What everything takes.
    ///
    /// # Errors
    /// As [`Engine::estimate`].
    pub(crate) fn estimate(self, engine: &Engine<'_>, question: &Question, replace: Replace) -> Result<Estimate> {
        let plan = Plan::new(self, engine, question, replace)?;
        let each = plan.groups()?.into_iter().map(|group| engine.estimate(&[plan.document()], &plan.copies(&plan.windows[group])));
        each.reduce(|a, b| Ok(joined(a?, b?))).expect("every picture has a window")
    }

    /// For each target token, then each contrast token, `[channel, height, width]`; and the answer without scores.
    ///
    /// # Errors
    /// As [`Engine::up`].
    pub(crate) fn run(self, engine: &Engine<'_>, question: &Question, replace: Replace) -> Result<(Vec<Vec<f64>>, Outcome)> {
        let plan = Plan::new(self, engine, question, replace)?;
        let readout = Readout { temperature: question.target.temperature, logits: false };
        let [_, height, width] = extent(plan.patches);
        let numbers = plan.patches.channels * height * width;
        let (mut sums, mut covered) = (vec![vec![0.0; numbers]; plan.asks.len()], vec![0u32; numbers]);
        let mut clean: Vec<TokenScore> = Vec::new();
        let mut cost: Option<Estimate> = None;
        for group in plan.groups()? {
            let windows = &plan.windows[group];
            let up = engine.up(&[plan.document()], &plan.copies(windows), readout)?;
            clean = up.documents[0].iter().map(|a| a.tokens[0]).collect();
            for (window, answers) in windows.iter().zip(&up.copies) {
                let deltas = clean.iter().zip(answers).map(|(c, a)| question.target.score.of(c) - question.target.score.of(&a.tokens[0]));
                let deltas: Vec<f64> = deltas.collect();
                let [channels, rows, columns] = window.clone();
                for at in channels.flat_map(|c| rows.clone().map(move |r| (c * height + r) * width)) {
                    for i in at + columns.start..at + columns.end {
                        covered[i] += 1;
                        sums.iter_mut().zip(&deltas).for_each(|(sum, delta)| sum[i] += delta);
                    }
                }
            }
            cost = Some(cost.map_or(up.cost, |cost| joined(cost, up.cost)));
        }
        sums.iter_mut().for_each(|sum| sum.iter_mut().zip(&covered).for_each(|(s, n)| *s /= f64::from(*n)));
        let clean_contrast = clean.split_off(question.target.tokens.len());
        Ok((sums, Outcome { clean, clean_contrast, cost: cost.unwrap_or_default(), ..Outcome::default() }))
    }

    /// The answer: a pixel's score is the mean over its channels, a feature's the mean over its pixels.
    ///
    /// # Errors
    /// As [`Windows::run`].
    pub(crate) fn outcome(self, engine: &Engine<'_>, question: &Question, replace: Replace) -> Result<Outcome> {
        let (mut of_target, outcome) = self.run(engine, question, replace)?;
        let patches = self.check(engine.model.description())?;
        let of_contrast = of_target.split_off(question.target.tokens.len());
        let contrast = question.target.contrast.is_some();
        let by_feature = |tokens: &[Vec<f64>]| -> Vec<Vec<f64>> {
            let patches: Vec<Vec<Option<f64>>> = tokens.iter().map(|t| patch_means(patches, t)).collect();
            question.features.iter().map(|f| patches.iter().map(|p| mean_of(f, p)).collect()).collect()
        };
        let pixels = |tokens: &[Vec<f64>]| tokens.iter().map(|t| channel_means(patches, t)).collect();
        Ok(Outcome {
            per_target_token: by_feature(&of_target),
            per_contrast_token: if contrast { by_feature(&of_contrast) } else { Vec::new() },
            pixels: Some(pixels(&of_target)),
            contrast_pixels: contrast.then(|| pixels(&of_contrast)),
            ..outcome
        })
    }
}

/// `[channels, rows, columns]` of a picture.
fn extent(patches: &Patches) -> [usize; 3] {
    let [height, width] = patches.pixels();
    [patches.channels, height, width]
}

fn channel_means(patches: &Patches, picture: &[f64]) -> Vec<f64> {
    let area = picture.len() / patches.channels;
    (0..area).map(|i| picture.iter().skip(i).step_by(area).sum::<f64>() / patches.channels as f64).collect()
}

/// The mean of each patch; none for learned rows.
fn patch_means(patches: &Patches, picture: &[f64]) -> Vec<Option<f64>> {
    let [height, width] = patches.pixels();
    let mut means = vec![0.0; patches.count()];
    for (i, x) in picture.iter().enumerate() {
        let (row, column) = (i / width % height / patches.size, i % width / patches.size);
        means[row * patches.grid[1] + column] += x / patches.width() as f64;
    }
    std::iter::repeat_n(None, patches.leading).chain(means.into_iter().map(Some)).collect()
}

/// The mean over what a feature covers.
fn mean_of(feature: &FeaturePositions, patches: &[Option<f64>]) -> f64 {
    let covered = feature.positions.iter().filter_map(|(p, part)| Some((patches[*p]?, part)));
    let (sum, whole) = covered.fold((0.0, 0.0), |(sum, whole), (mean, part)| (sum + part * mean, whole + part));
    if whole > 0.0 { sum / whole } else { 0.0 }
}

/// A picture, what takes the place of its parts, and where.
struct Plan<'a> {
    engine: &'a Engine<'a>,
    patches: &'a Patches,
    input: Input,
    instead: Input,
    windows: Vec<Window>,
    asks: Vec<Ask>,
}

impl<'a> Plan<'a> {
    fn new(windows: Windows, engine: &'a Engine<'a>, question: &Question, replace: Replace) -> Result<Self> {
        question.check(engine.model)?;
        let patches = windows.check(engine.model.description())?;
        let input = question.prompt.clone();
        let instead = replace.all(engine, &input)?.expect("what a picture is replaced by was checked against the model");
        let tokens = std::iter::once(&question.target.tokens).chain(&question.target.contrast);
        let ask = |(t, token): (usize, &u32)| Ask { position: question.row(t), tokens: vec![*token] };
        let asks = tokens.flat_map(|tokens| tokens.iter().enumerate().map(ask)).collect();
        if input.len() != patches.leading + patches.count() {
            let all = patches.leading + patches.count();
            return Err(Error::request(format!("the input has {} rows; a picture has {all} in this model", input.len())));
        }
        Ok(Self { engine, patches, input, instead, windows: windows.all(patches), asks })
    }

    fn document(&self) -> Document {
        Document { input: self.input.clone(), control: Control::none(), asks: self.asks.clone() }
    }

    /// Windows that go up together.
    fn groups(&self) -> Result<Vec<Range<usize>>> {
        let widest = self.windows.iter().map(|w| self.cut(w).count()).max().unwrap_or(0);
        let bytes = self.input.len() * size_of::<Symbol>() + widest * self.patches.width() * size_of::<f32>();
        let together = (self.engine.memory()? / 8 / bytes.max(1) as u64).max(1) as usize;
        let all = self.windows.len();
        Ok((0..all).step_by(together).map(|first| first..(first + together).min(all)).collect())
    }

    /// Patches that a window cuts through: `(row, column)`.
    fn cut(&self, [_, rows, columns]: &Window) -> impl Iterator<Item = (usize, usize)> {
        let size = self.patches.size;
        let [rows, columns] = [rows, columns].map(|r| r.start / size..r.end.div_ceil(size));
        rows.flat_map(move |row| columns.clone().map(move |column| (row, column)))
    }

    fn copies(&self, windows: &[Window]) -> Vec<Copy> {
        let copy = |window: &Window| Copy { input: Some(self.changed(window)), asks: self.asks.clone(), ..Copy::default() };
        windows.iter().map(copy).collect()
    }

    /// The picture with a window of it replaced.
    fn changed(&self, window: &Window) -> Input {
        let size = self.patches.size;
        let mut symbols = self.input.symbols.to_vec();
        for (row, column) in self.cut(window) {
            let at = self.patches.position(row, column);
            let (Symbol::Vector(own), Symbol::Vector(instead)) = (&symbols[at], &self.instead.symbols[at]) else { continue };
            let inside = |i: usize| {
                let (y, x) = (row * size + i / size % size, column * size + i % size);
                window[0].contains(&(i / (size * size))) && window[1].contains(&y) && window[2].contains(&x)
            };
            symbols[at] = Symbol::Vector((0..own.len()).map(|i| if inside(i) { instead[i] } else { own[i] }).collect());
        }
        self.input.with_symbols(symbols)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(patches: Patches) -> Description {
        Description { architecture: "vit".into(), patches: Some(patches), ..Description::default() }
    }

    #[test]
    fn windows_reach_every_pixel_and_the_last_is_cut_off() {
        let patches = Patches { channels: 3, size: 2, grid: [3, 3], leading: 1 };
        let windows = Windows { size: [3, 4, 4], stride: [3, 3, 4] };
        windows.check(&model(patches.clone())).unwrap();
        let all = windows.all(&patches);
        assert_eq!(all.len(), 4);
        assert_eq!(all[3], [0..3, 3..6, 4..6]);
        let covers = |y: usize, x: usize| all.iter().any(|w| w[1].contains(&y) && w[2].contains(&x));
        assert!((0..36).all(|i| covers(i / 6, i % 6)));
    }

    #[test]
    fn windows_that_do_not_fit_or_leave_gaps_are_refused() {
        let model = model(Patches { channels: 3, size: 8, grid: [4, 4], leading: 1 });
        let refused = |size, stride, model: &Description| Windows { size, stride }.check(model).unwrap_err().to_string();
        assert!(refused([3, 40, 8], [3, 4, 4], &model).contains("window [3, 40, 8] does not fit the picture, which is [3, 32, 32]"));
        assert!(refused([3, 0, 8], [3, 4, 4], &model).contains("does not fit"));
        assert!(refused([3, 8, 8], [3, 9, 4], &model).contains("stride [3, 9, 4] is 0 or leaves gaps"));
        assert!(refused([3, 8, 8], [3, 0, 4], &model).contains("stride [3, 0, 4] is 0"));
        assert!(refused([3, 8, 8], [3, 4, 4], &Description::default()).contains("no window slides"));
        let vast = self::model(Patches { channels: 3, size: 64, grid: [64, 64], leading: 1 });
        assert!(refused([3, 1, 1], [1, 1, 1], &vast).contains("16777216 windows are more than 1048576"));
    }
}

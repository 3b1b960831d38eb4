//! What the methods have in common that take blocks apart: a matrix `C_l` of positions a layer, and rows of its product, carried down.
//!
//! ```text
//! R = C_L ··· C_1        score(position, token) = R[row of the token, position]        row ← row·C_l, from the last layer to the first
//! ```
//!
//! The row is the one that predicts the token (decoders), the first one or the mean of all (classifiers, by their pooling), or that of the masked
//! token. What the target is does not matter, only where it is read, so a contrast is refused: it would leave nothing.
//! Passes: one walk up, and every block once more. Memory: that of the walk, one row of numbers a target token, what
//! [`Parts`](pellucid_core::tape::parts::Parts) holds (heads · positions · `d_model`, less if memory is short), and a block of rows of `C_l`.
//! A row of `C_l` without any share stays where it is (`C_ii = 1`): no row becomes NaN, and every row sums to 1.
//! Deliberately absent: products of matrices. The full matrix is as many rows carried as there are positions.

use std::ops::Range;

use pellucid_core::{
    Control, Engine, Error, Input, Outcome, Question, Result, Score,
    pass::fast::Element,
    walk::{
        Estimate,
        down::Term,
        mix::{Mixer, Order, Stage},
        up::TokenScore,
    },
};

use crate::{
    carried::asked_row,
    propagation::{Positions, by_feature},
};

/// A method's matrix of one layer.
pub(crate) trait Mixing {
    /// Tells some query rows of it, in order: row and `[key]`, 0 where it does not see a key. `hold`: bytes that may be held for it.
    fn rows<T: Element>(
        &self,
        stage: &Stage<'_, T>,
        rows: Range<usize>,
        hold: u64,
        see: &mut dyn FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()>;
}

/// An input and what is scored on it.
pub(crate) struct Reading {
    pub(crate) input: Input,
    pub(crate) terms: Vec<Term>,
}

/// The inputs of a question: that of the target, and that of the contrast if it is another. Over all of them terms are those of the target
/// tokens, then those of the contrast tokens.
pub(crate) fn readings(engine: &Engine<'_>, question: &Question, score: Score) -> Result<Vec<Reading>> {
    question.check(engine.model)?;
    let mut readings: Vec<Reading> = Vec::new();
    for tokens in std::iter::once(&question.target.tokens).chain(&question.target.contrast) {
        let temperature = question.target.temperature;
        let term = |(t, output): (usize, &u32)| Term { row: question.row(t), output: *output, score, temperature, weight: 1.0 };
        let (input, terms) = (question.document(tokens), tokens.iter().enumerate().map(term));
        match readings.last_mut().filter(|r| r.input == input) {
            Some(known) => known.terms.extend(terms),
            None => readings.push(Reading { input, terms: terms.collect() }),
        }
    }
    Ok(readings)
}

/// What comes of the readings: each term's clean score, and the score of every position of its input.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) clean: Vec<TokenScore>,
    pub(crate) each: Vec<Positions>,
    pub(crate) cost: Estimate,
}

impl Answers {
    /// Takes in one reading.
    pub(crate) fn add(&mut self, clean: Vec<TokenScore>, each: Vec<Positions>, cost: Estimate) {
        self.clean.extend(clean);
        self.each.extend(each);
        self.cost = plus(self.cost, cost);
    }

    /// The answer to the question.
    pub(crate) fn outcome(mut self, question: &Question) -> Outcome {
        let tokens = question.target.tokens.len();
        let contrast = self.each.split_off(tokens);
        Outcome {
            clean_contrast: self.clean.split_off(tokens),
            clean: self.clean,
            per_target_token: by_feature(&question.features, &self.each, false),
            per_contrast_token: if contrast.is_empty() { Vec::new() } else { by_feature(&question.features, &contrast, true) },
            cost: self.cost,
            ..Outcome::default()
        }
    }
}

pub(crate) fn plus(a: Estimate, b: Estimate) -> Estimate {
    Estimate {
        copies: a.copies + b.copies,
        rows: a.rows + b.rows,
        sweeps: a.sweeps + b.sweeps,
        gflop: a.gflop + b.gflop,
        peak_bytes: a.peak_bytes.max(b.peak_bytes),
    }
}

/// Refuses a contrast.
pub(crate) fn no_contrast(method: &str, question: &Question) -> Result<()> {
    match question.target.contrast {
        None => Ok(()),
        Some(_) => Err(Error::request(format!(
            "{method} looks at where the target is read, not at what it is: against a contrast nothing would be left; ask without one"
        ))),
    }
}

/// What a walk over one reading takes, `work` numbers of arithmetic a pair of positions and layer (in floating-point operations) included.
pub(crate) fn cost(engine: &Engine<'_>, input: &Input, work: f64) -> Result<Estimate> {
    let (d, n) = (engine.model.description(), input.len());
    let walk = engine.estimate_mix(input)?;
    let pairs = if d.causal { n * (n + 1) / 2 } else { n * n };
    let parts = (n * d.heads * d.d_model * engine.compute.bytes()) as u64;
    let held = parts.min(engine.memory()?.saturating_sub(walk.peak_bytes));
    Ok(Estimate { gflop: walk.gflop + work * (pairs * d.layers) as f64 / 1e9, peak_bytes: walk.peak_bytes + held, ..walk })
}

/// Arithmetic of the parts of a pair of positions: all heads added up, and the distance.
pub(crate) fn pair(engine: &Engine<'_>) -> f64 {
    let d = engine.model.description();
    (2 * (d.heads + 2) * d.d_model) as f64
}

/// Bytes that a mixer may hold beside the walk.
pub(crate) fn room(engine: &Engine<'_>, input: &Input) -> Result<u64> {
    Ok(engine.memory()?.saturating_sub(engine.estimate_mix(input)?.peak_bytes))
}

/// Divides a row by its sum; a row without any share stays where it is.
pub(crate) fn sum_to_one(row: &mut [f64], own: usize) {
    let sum: f64 = row.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        row.iter_mut().for_each(|x| *x /= sum);
    } else {
        row.fill(0.0);
        row[own] = 1.0;
    }
}

/// `rows·C_l`.
pub(crate) fn carry<T: Element, M: Mixing>(mixing: &M, stage: &Stage<'_, T>, rows: &[Positions], hold: u64) -> Result<Vec<Positions>> {
    let n = stage.output().count();
    let used: Vec<usize> = (0..n).filter(|i| rows.iter().any(|row| row[*i] != 0.0)).collect();
    let mut next = vec![vec![0.0; n]; rows.len()];
    let (Some(first), Some(last)) = (used.first(), used.last()) else { return Ok(next) };
    mixing.rows(stage, *first..last + 1, hold, &mut |i, shares| {
        for (next, row) in next.iter_mut().zip(rows).filter(|(_, row)| row[i] != 0.0) {
            next.iter_mut().zip(shares).for_each(|(o, c)| *o += row[i] * c);
        }
        Ok(())
    })?;
    Ok(next)
}

struct Down<'a, M> {
    mixing: &'a M,
    rows: Vec<Positions>,
    hold: u64,
}

impl<M: Mixing> Mixer for Down<'_, M> {
    fn block<T: Element>(&mut self, stage: &Stage<'_, T>) -> Result<()> {
        self.rows = carry(self.mixing, stage, &self.rows, self.hold)?;
        Ok(())
    }
}

/// Rows of the product of all layers, one for each target token, added up over the positions of each feature.
pub(crate) fn attribute<M: Mixing>(id: &str, mixing: &M, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
    no_contrast(id, question)?;
    let model = engine.model.description();
    let mut answers = Answers::default();
    for Reading { input, terms } in readings(engine, question, question.target.score)? {
        let rows = terms.iter().map(|t| asked_row(model, t.row, &input)).collect();
        let mut down = Down { mixing, rows, hold: room(engine, &input)? };
        let mixed = engine.mix(&input, &Control::none(), &terms, Order::Down, &mut down)?;
        answers.add(mixed.scores, down.rows, mixed.cost);
    }
    Ok(answers.outcome(question))
}

/// What [`attribute`] takes.
pub(crate) fn estimate(id: &str, engine: &Engine<'_>, question: &Question, work: f64) -> Result<Estimate> {
    no_contrast(id, question)?;
    estimate_all(engine, question, work)
}

/// The same with a contrast, if there is one.
pub(crate) fn estimate_all(engine: &Engine<'_>, question: &Question, work: f64) -> Result<Estimate> {
    let of = |reading: &Reading| cost(engine, &reading.input, work);
    readings(engine, question, question.target.score)?.iter().map(of).try_fold(Estimate::default(), |sum, e| Ok(plus(sum, e?)))
}

struct Record<'a, M> {
    mixing: &'a M,
    layers: Vec<Vec<f64>>,
    hold: u64,
}

impl<M: Mixing> Mixer for Record<'_, M> {
    fn block<T: Element>(&mut self, stage: &Stage<'_, T>) -> Result<()> {
        let n = stage.output().count();
        let mut matrix = Vec::with_capacity(n * n);
        self.mixing.rows(stage, 0..n, self.hold, &mut |_, row| {
            matrix.extend_from_slice(row);
            Ok(())
        })?;
        self.layers.push(matrix);
        Ok(())
    }
}

/// The matrix of every layer, `[query, key]` each. Takes n² numbers a layer: for looking at, not for explaining.
pub(crate) fn matrices<M: Mixing>(mixing: &M, engine: &Engine<'_>, input: &Input) -> Result<Vec<Vec<f64>>> {
    let mut record = Record { mixing, layers: Vec::new(), hold: room(engine, input)? };
    engine.mix(input, &Control::none(), &[], Order::Up, &mut record)?;
    Ok(record.layers)
}

//! Rows that are carried down: of a product of matrices, one a layer, only the rows that are asked about.
//!
//! A method says how a layer's matrix of positions `C_l` `[query, key]` comes about, and how a row passes it, from the last layer to the first:
//!
//! ```text
//! replace      row ← row·C_l                     only one layer
//! add          row ← row + row·C_l               row of (C_L + I)···(C_l + I)
//! normalized   row ← row·N(C_l + I)              N: every row divided by its sum
//! ```
//!
//! A full matrix is as many rows as there are positions: it starts as the identity and is carried down just the same.
//! Memory: two numbers a position and row; a full matrix takes 2·n² of 8 bytes. `C_l` is seen in blocks of query rows and not kept.

use std::ops::Range;

use pellucid_core::{
    Compute, Engine, Input, Outcome, Question, Result, Score,
    model::{Description, Pooling},
    rules::Rules,
    walk::{
        Estimate,
        down::{Combine, Descent, Heads, Landing, Look, Patterns, Wanted},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::propagation::{Plan, check_layer};

/// A layer: its number, counted from 0, or the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Json", into = "Json")]
pub enum Layer {
    /// This one.
    Number(usize),
    /// The last, whatever its number.
    Last,
}

impl Layer {
    /// Its number in a model of so many layers.
    ///
    /// # Errors
    /// A layer beyond the model.
    pub fn of(self, layers: usize) -> Result<usize> {
        match self {
            Layer::Last => Ok(layers - 1),
            Layer::Number(layer) => check_layer(layer, layers).map(|()| layer),
        }
    }
}

impl TryFrom<Json> for Layer {
    type Error = String;

    fn try_from(value: Json) -> Result<Self, String> {
        match &value {
            Json::String(name) if name == "last" => Ok(Layer::Last),
            Json::Number(number) => {
                let number = number.as_u64().and_then(|n| usize::try_from(n).ok());
                number.map(Layer::Number).ok_or_else(|| format!("{value} is not a layer; give its number from 0, or `last`"))
            }
            _ => Err(format!("{value} is not a layer; give its number from 0, or `last`")),
        }
    }
}

impl From<Layer> for Json {
    fn from(layer: Layer) -> Self {
        match layer {
            Layer::Number(layer) => layer.into(),
            Layer::Last => "last".into(),
        }
    }
}

/// What becomes of the score of position 0, which in BERT-like encoders is a token without meaning. The published code for BERT writes over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstToken {
    /// It keeps its score.
    #[default]
    Keep,
    /// It gets 0.
    Zero,
    /// It gets the least score of the row.
    RowMinimum,
}

impl FirstToken {
    /// Applied to the scores of all positions.
    pub fn apply(self, row: &mut [f64]) {
        let least = row.iter().copied().fold(f64::INFINITY, f64::min);
        if let Some(first) = row.first_mut() {
            match self {
                FirstToken::Keep => {}
                FirstToken::Zero => *first = 0.0,
                FirstToken::RowMinimum => *first = least,
            }
        }
    }
}

/// How a row passes a layer with the matrix `C`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `row·C`.
    Replace,
    /// `row + row·C`.
    Add,
    /// `row·N(C + I)`, every row of `C + I` divided by its sum, which is at least 1 where `C` is not negative.
    Normalized,
}

/// Rows on their way down, and which input and signal they belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct Carried {
    /// Which input of the walk.
    pub descent: usize,
    /// The first signal of its target token.
    pub signal: usize,
    positions: usize,
    values: Vec<f64>,
    next: Vec<f64>,
    /// The part of each value that has passed no layer's matrix yet.
    untouched: Vec<f64>,
}

impl Carried {
    /// Rows `[row, position]`, as they are above the last layer.
    pub fn new(descent: usize, signal: usize, positions: usize, values: Vec<f64>) -> Self {
        Self { descent, signal, positions, next: vec![0.0; values.len()], untouched: values.clone(), values }
    }

    /// All rows `[row, position]`.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Takes away what came down through the identities alone: the row's own position without any attention.
    pub fn drop_identity(&mut self) {
        self.values.iter_mut().zip(&mut self.untouched).for_each(|(x, own)| *x -= std::mem::take(own));
    }

    /// Takes in some query rows of a layer's matrix, `[query, key]`. The layer is passed with its last query row.
    pub fn pass(&mut self, step: Step, queries: Range<usize>, matrix: &[f64]) {
        let n = self.positions;
        let end = queries.end;
        for (q, matrix) in queries.zip(matrix.chunks_exact(n)) {
            let scale = if step == Step::Normalized { 1.0 / (1.0 + matrix.iter().sum::<f64>()) } else { 1.0 };
            for (row, next) in self.values.chunks_exact(n).zip(self.next.chunks_exact_mut(n)) {
                let share = row[q] * scale;
                if share == 0.0 {
                    continue;
                }
                next.iter_mut().zip(matrix).for_each(|(o, m)| *o += share * m);
                if step != Step::Replace {
                    next[q] += share;
                }
            }
            let stays = if step == Step::Replace { 0.0 } else { scale };
            self.untouched.iter_mut().skip(q).step_by(n).for_each(|x| *x *= stays);
        }
        if end == n {
            std::mem::swap(&mut self.values, &mut self.next);
            self.next.fill(0.0);
        }
    }
}

/// The row that is asked about, shares that sum to 1: 1 at its position. Where a model makes one row of several, the mean of those that it takes
/// the mean of; where it sets rows side by side, a half to each half: to either of two rows, or to the first row and to the mean of the patches.
pub fn asked_row(model: &Description, row: usize, input: &Input) -> Vec<f64> {
    let rows = model.pooled_rows(input).unwrap_or_else(|| vec![row]);
    let mut asked = vec![0.0; input.len()];
    match (&rows[..], model.outputs.pooling()) {
        ([first, patches @ ..], Some(Pooling::FirstAndPatches)) if !patches.is_empty() => {
            asked[*first] = 0.5;
            patches.iter().for_each(|r| asked[*r] = 0.5 / patches.len() as f64);
        }
        _ => rows.iter().for_each(|r| asked[*r] = 1.0 / rows.len() as f64),
    }
    asked
}

/// All rows: the identity.
pub fn all_rows(positions: usize) -> Vec<f64> {
    (0..positions * positions).map(|i| f64::from(u8::from(i / positions == i % positions))).collect()
}

/// How a method's matrices come about and rows pass them.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry {
    /// The signals that a target token needs.
    pub rules: Vec<Rules>,
    /// What is looked at; its signals are counted within those of a target token. The mean over heads is `C`.
    pub of: Combine,
    /// How rows pass.
    pub step: Step,
    /// Through which layers; the others leave rows alone.
    pub layers: Range<usize>,
    /// Whether an answer keeps what came down through the identities alone ([`Carried::drop_identity`]). A matrix always does.
    pub identity: bool,
}

impl Carry {
    fn look(&self, first: usize) -> Look {
        let of = match self.of {
            Combine::Pattern => Combine::Pattern,
            Combine::Signal(s) => Combine::Signal(first + s),
            Combine::PositiveProduct(s) => Combine::PositiveProduct(first + s),
            Combine::PositiveSignals(s, t) => Combine::PositiveSignals(first + s, first + t),
            Combine::PositiveSignal(s) => Combine::PositiveSignal(first + s),
            Combine::ScoreSignal(s) => Combine::ScoreSignal(first + s),
        };
        Look { of, heads: Heads::Mean }
    }

    /// What is wanted of the walk, and for each of these first signals which of the looks is theirs.
    fn wanted(&self, signals: impl Iterator<Item = usize>) -> (Wanted, Vec<usize>) {
        let mut looks: Vec<Look> = Vec::new();
        let which = signals.map(|signal| {
            let look = self.look(signal);
            looks.iter().position(|l| *l == look).unwrap_or_else(|| {
                looks.push(look);
                looks.len() - 1
            })
        });
        let which = which.collect();
        (Wanted { looks, lowest: self.layers.start, ..Wanted::default() }, which)
    }

    /// Carries rows down through these inputs.
    ///
    /// # Errors
    /// As [`Engine::down`].
    pub fn walk(&self, engine: &Engine<'_>, descents: &[Descent], carried: &mut [Carried]) -> Result<Landing> {
        let (wanted, which) = self.wanted(carried.iter().map(|c| c.signal));
        engine.down(descents, &wanted, &mut |block: &Patterns<'_>| {
            if self.layers.contains(&block.layer) {
                let own = carried.iter_mut().zip(&which).filter(|(c, _)| c.descent == block.descent);
                own.for_each(|(c, look)| c.pass(self.step, block.rows.clone(), &block.looks[*look]));
            }
            Ok(())
        })
    }

    /// The answer to a question: the rows of its target tokens, each finished by `finish`.
    pub(crate) fn attribute(&self, engine: &Engine<'_>, question: &Question, score: Score, finish: &dyn Fn(&mut [f64])) -> Result<Outcome> {
        let plan = Plan::new(engine, question, score, &self.rules)?;
        let model = engine.model.description();
        let mut carried = Vec::new();
        for contrast in [false, true] {
            for (t, (descent, signal)) in plan.signals(contrast).into_iter().enumerate() {
                let input = &plan.descents[descent].input;
                carried.push(Carried::new(descent, signal, input.len(), asked_row(model, question.row(t), input)));
            }
        }
        let landing = self.walk(engine, &plan.descents, &mut carried)?;
        for carried in &mut carried {
            if !self.identity {
                carried.drop_identity();
            }
            finish(&mut carried.values);
        }
        let row = |descent, signal| carried.iter().find(|c| (c.descent, c.signal) == (descent, signal)).expect("one a target token");
        Ok(plan.outcome(question, &landing, &|descent, signal| row(descent, signal).values.clone()))
    }

    /// What [`Carry::attribute`] takes.
    pub(crate) fn estimate(&self, engine: &Engine<'_>, question: &Question, score: Score) -> Result<Estimate> {
        let plan = Plan::new(engine, question, score, &self.rules)?;
        let signals = [false, true].into_iter().flat_map(|contrast| plan.signals(contrast)).map(|(_, signal)| signal);
        plan.estimate(engine, &self.wanted(signals).0)
    }
}

/// The same engine in f64.
pub fn double<'m>(engine: &Engine<'m>) -> Engine<'m> {
    Engine { compute: Compute::F64, ..engine.with(engine.model).under(engine.control.clone()) }
}

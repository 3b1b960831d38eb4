//! GradCAM on attention: each head of one layer weighs as much as its pattern's mean gradient.
//!
//! ```text
//! g_h = mean over entries of ∂y/∂A_h        M = (1/H · Σ_h g_h·A_h)⁺        score(position, token) = M[row of the token, position]
//! ```
//!
//! Source: Selvaraju et al. 2017 (arXiv 1610.02391), as Chefer et al. 2021 (arXiv 2012.09838) apply it to BERT: the mean over heads is taken first,
//! then negative entries become 0. y is what the question asks about; the published code takes the logit. What the mean gradient is over is
//! `weight`, by default what the published code does for either kind of model: for texts all entries of the pattern, those of keys that a control
//! removes included (so pads count), in a causal model over the entries that exist, not those of later keys; for pictures the patches of the
//! row that is asked, that of the class token, and then the map is that row, too: learned rows are no part of it and score 0.
//! We differ in `normalize`: the published code stretches the whole map to 0…1. That makes a text's row depend on rows nobody asked about, and targets
//! incomparable, so it is an option; of a constant map, such as one without positive entries, it makes zeros (theirs is 0/0).
//! Passes and memory: two walks, the first with a signal a target token down to `layer`, the second without; one number a head and a row of
//! numbers. Promise: no score is negative; `min-max` scores are within 0…1.

use pellucid_core::{
    Engine, Error, Method, Outcome, Question, Result, Sign,
    model::Description,
    rules::Rules,
    walk::{
        Estimate,
        down::{Combine, Descent, Heads, Landing, Look, Patterns, Wanted},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    carried::{FirstToken, Layer, asked_row},
    propagation::Plan,
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "attention-gradcam",
    summary: "weighs the heads of one layer with their mean gradient",
    needs: "gradients at the attention",
    promise: "no score is negative; with min-max they are within 0 and 1",
    cost: "two walks, one of them down with a signal a target token; memory of one block and parts of its pattern",
    source: "Selvaraju et al. 2017, arXiv 1610.02391; Chefer et al. 2021, arXiv 2012.09838",
    docs: include_str!("attention_gradcam.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<AttentionGradcam>("attention-gradcam", parameters)?)),
};

/// What becomes of the map in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalize {
    /// It stays.
    #[default]
    None,
    /// `(M − min M)/(max M − min M)` over all rows and positions; zeros if it is constant.
    MinMax,
}

/// Which entries of the gradient a head's weight is the mean of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadWeight {
    /// All of the pattern's.
    MeanOverAllEntries,
    /// The patches of the row that is asked (of the rows, where their mean is taken); of pictures only.
    MeanOverClassRowPatches,
}

/// Parameters of GradCAM on attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttentionGradcam {
    /// Whose pattern.
    pub layer: Layer,
    /// What a head weighs; `None`: over the patches of the row that is asked where the model looks at pictures, else over all entries.
    pub weight: Option<HeadWeight>,
    /// What becomes of the map in the end.
    pub normalize: Normalize,
    /// What becomes of position 0.
    pub first_token: FirstToken,
}

impl Default for AttentionGradcam {
    fn default() -> Self {
        Self { layer: Layer::Last, weight: None, normalize: Normalize::default(), first_token: FirstToken::default() }
    }
}

/// A row of a map, the first position that is part of it, and the least and largest entry.
#[derive(Clone, Debug)]
struct Map {
    row: Vec<f64>,
    first: usize,
    least: f64,
    largest: f64,
}

impl Map {
    /// The map that is this row alone, from position `first` on.
    fn of_patches(mut self, first: usize) -> Self {
        self.row[..first].fill(0.0);
        let patches = || self.row[first..].iter().copied();
        let (least, largest) = (patches().fold(f64::INFINITY, f64::min), patches().fold(f64::NEG_INFINITY, f64::max));
        Self { first, least, largest, ..self }
    }
}

impl AttentionGradcam {
    /// Scores of every position: for each `(descent, signal, row)`, the row `[position]` of that signal's map.
    ///
    /// # Errors
    /// As [`Engine::down`].
    pub fn rows(&self, engine: &Engine<'_>, descents: &[Descent], asked: &[(usize, usize, usize)]) -> Result<(Landing, Vec<Vec<f64>>)> {
        let model = engine.model.description();
        let (layer, patches) = (self.layer.of(model.layers)?, self.first_patch(model)?);
        let (landing, weights) = weights(engine, descents, asked, layer, patches)?;
        let (second, maps) = maps(engine, descents, asked, layer, weights)?;
        let rows = maps.into_iter().map(|map| self.finish(if let Some(first) = patches { map.of_patches(first) } else { map })).collect();
        Ok((Landing { cost: both(landing.cost, second.cost), ..landing }, rows))
    }

    /// The position of the first patch, where only patches of the row that is asked count.
    fn first_patch(&self, model: &Description) -> Result<Option<usize>> {
        let leading = model.patches.as_ref().map(|p| p.leading);
        match self.weight {
            None => Ok(leading),
            Some(HeadWeight::MeanOverAllEntries) => Ok(None),
            Some(HeadWeight::MeanOverClassRowPatches) if leading.is_some() => Ok(leading),
            Some(HeadWeight::MeanOverClassRowPatches) => Err(Error::request(format!(
                "`weight` is mean-over-class-row-patches, but a {} model reads texts, which have no patches; use mean-over-all-entries",
                model.architecture
            ))),
        }
    }

    fn finish(&self, map: Map) -> Vec<f64> {
        let mut row = map.row;
        if self.normalize == Normalize::MinMax {
            let range = map.largest - map.least;
            let counts = row.iter_mut().skip(map.first);
            counts.for_each(|x| *x = if range > 0.0 { (*x - map.least) / range } else { 0.0 });
        }
        self.first_token.apply(&mut row);
        row
    }
}

fn first_looks(signals: impl Iterator<Item = usize>, layer: usize) -> (Wanted, Vec<usize>) {
    let signals: Vec<usize> = signals.collect();
    let most = signals.iter().max().map_or(0, |s| s + 1);
    let looks = (0..most).map(|s| Look { of: Combine::Signal(s), heads: Heads::Each }).collect();
    (Wanted { looks, lowest: layer, ..Wanted::default() }, signals)
}

/// `g_h`, `[asked][head]`: over the keys from the first patch on of the row that is asked, or over all entries.
fn weights(
    engine: &Engine<'_>,
    descents: &[Descent],
    asked: &[(usize, usize, usize)],
    layer: usize,
    patches: Option<usize>,
) -> Result<(Landing, Vec<Vec<f64>>)> {
    let model = engine.model.description();
    let shares: Vec<Vec<f64>> = asked.iter().map(|a| asked_row(model, a.2, &descents[a.0].input)).collect();
    let (wanted, signals) = first_looks(asked.iter().map(|a| a.1), layer);
    let mut sums = vec![vec![0.0; model.heads]; asked.len()];
    let landing = engine.down(descents, &wanted, &mut |block: &Patterns<'_>| {
        let own = asked.iter().zip(&signals).zip(&shares).zip(&mut sums);
        for (((_, signal), share), sums) in own.filter(|(((a, _), _), _)| a.0 == block.descent && block.layer == layer) {
            for (head, part) in sums.iter_mut().zip(block.looks[*signal].chunks_exact(block.rows.len() * block.keys)) {
                for (q, row) in block.rows.clone().zip(part.chunks_exact(block.keys)) {
                    let seen = if model.causal { q + 1 } else { block.keys };
                    let weight = if patches.is_some() { share[q] } else { 1.0 };
                    *head += weight * row[..seen].iter().skip(patches.unwrap_or(0)).sum::<f64>();
                }
            }
        }
        Ok(())
    })?;
    for (sums, (descent, ..)) in sums.iter_mut().zip(asked) {
        let n = descents[*descent].input.len();
        let entries = match patches {
            Some(first) => n - first,
            None if model.causal => n * (n + 1) / 2,
            None => n * n,
        };
        sums.iter_mut().for_each(|g| *g /= entries as f64);
    }
    Ok((landing, sums))
}

/// The second walk: without signals, as many looks as there are rows asked for.
fn second(descents: &[Descent], weights: Vec<Vec<f64>>, layer: usize) -> (Vec<Descent>, Wanted) {
    let descents = descents.iter().map(|d| Descent { signals: Vec::new(), ..d.clone() }).collect();
    let share = |weights: Vec<f64>| -> Vec<f64> { weights.iter().map(|g| g / weights.len() as f64).collect() };
    let looks = weights.into_iter().map(|w| Look { of: Combine::Pattern, heads: Heads::Weighted(share(w)) }).collect();
    (descents, Wanted { looks, lowest: layer, ..Wanted::default() })
}

fn maps(
    engine: &Engine<'_>,
    descents: &[Descent],
    asked: &[(usize, usize, usize)],
    layer: usize,
    weights: Vec<Vec<f64>>,
) -> Result<(Landing, Vec<Map>)> {
    let model = engine.model.description();
    let (descents, wanted) = second(descents, weights, layer);
    let n = |descent: usize| descents[descent].input.len();
    let shares: Vec<Vec<f64>> = asked.iter().map(|a| asked_row(model, a.2, &descents[a.0].input)).collect();
    let empty = |a: &(usize, usize, usize)| Map { row: vec![0.0; n(a.0)], first: 0, least: f64::INFINITY, largest: f64::NEG_INFINITY };
    let mut maps: Vec<Map> = asked.iter().map(empty).collect();
    let landing = engine.down(&descents, &wanted, &mut |block: &Patterns<'_>| {
        for (i, map) in maps.iter_mut().enumerate().filter(|(i, _)| asked[*i].0 == block.descent && block.layer == layer) {
            for (q, row) in block.rows.clone().zip(block.looks[i].chunks_exact(block.keys)) {
                for (out, x) in map.row.iter_mut().zip(row) {
                    let x = x.max(0.0);
                    (map.least, map.largest) = (map.least.min(x), map.largest.max(x));
                    *out += shares[i][q] * x;
                }
            }
        }
        Ok(())
    })?;
    Ok((landing, maps))
}

/// Two walks, one after the other.
fn both(a: Estimate, b: Estimate) -> Estimate {
    Estimate {
        copies: a.copies + b.copies,
        rows: a.rows + b.rows,
        sweeps: a.sweeps + b.sweeps,
        gflop: a.gflop + b.gflop,
        peak_bytes: a.peak_bytes.max(b.peak_bytes),
    }
}

/// `(descent, signal, row)` of every target token, then of every contrast token.
fn asked(plan: &Plan, question: &Question) -> Vec<(usize, usize, usize)> {
    let of = |contrast| plan.signals(contrast).into_iter().enumerate().map(|(t, (descent, signal))| (descent, signal, question.row(t)));
    [false, true].into_iter().flat_map(of).collect()
}

impl Method for AttentionGradcam {
    fn id(&self) -> &'static str {
        "attention-gradcam"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn sign(&self) -> Sign {
        Sign::Unsigned
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.first_patch(model)?;
        self.layer.of(model.layers).map(|_| ())
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        let model = engine.model.description();
        self.first_patch(model)?;
        let layer = self.layer.of(model.layers)?;
        let plan = Plan::new(engine, question, question.target.score, &[Rules::GRADIENT])?;
        let asked = asked(&plan, question);
        let (descents, wanted) = second(&plan.descents, vec![vec![0.0; model.heads]; asked.len()], layer);
        Ok(both(plan.estimate(engine, &first_looks(asked.iter().map(|a| a.1), layer).0)?, engine.estimate_down(&descents, &wanted)?))
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        self.fits(engine.model.description())?;
        let plan = Plan::new(engine, question, question.target.score, &[Rules::GRADIENT])?;
        let asked = asked(&plan, question);
        let (landing, rows) = self.rows(engine, &plan.descents, &asked)?;
        let row = |descent, signal| asked.iter().position(|a| (a.0, a.1) == (descent, signal)).expect("one a target token");
        Ok(plan.outcome(question, &landing, &|descent, signal| rows[row(descent, signal)].clone()))
    }
}

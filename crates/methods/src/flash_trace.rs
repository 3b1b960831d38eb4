//! FlashTrace: information flow into a whole span of tokens at once, and through the thinking that led there.
//!
//! ```text
//! y_S = Σ_{t∈S} w_t·mid_t        α^h_j = Σ_{t∈S} w_t·A^h_tj        parts: α^h_j·f^h_j of every head and position, and Σ_{t∈S} w_t·x_t
//! score_j = Σ_layers Σ_h share(α^h_j·f^h_j)                        share: as in `ifr`, with w_t = 1
//! hop:  w_t = score_t on the thinking span,  score ← score + ρ·score of that span,  ρ ← ρ · (share of its scores that is on the span)
//! ```
//!
//! Source: Pan et al. 2026, *FlashTrace* (arXiv 2602.01914), on top of information flow routes (arXiv 2403.00824).
//! The span is of target tokens and stands at the rows that predict them; the thinking span is of positions of prompt and target together. With
//! hops, positions of the thinking span and of the target's rows have no score of their own: it has been handed on.
//! There is one score a position for the whole span, not one a target token; so that scores of target tokens add up to it, each token of the
//! span carries an equal part.
//! We differ: a key that no row of the span sees has no part, where the published code gives it ε.
//! Passes: one walk up, and one for each hop; H·n·`d_model` a layer, however long the span. Memory: that of a walk up and
//! [`Parts`](pellucid_core::tape::parts::Parts). Promise: scores are not negative; without hops, their sum is at most the number of layers.

use std::ops::Range;

use pellucid_core::{
    Control, Engine, Error, Input, Method, Outcome, Question, Result, Sign,
    kernels::Distance,
    model::{Description, Outputs},
    pass::fast::Element,
    walk::{
        Estimate,
        down::Term,
        mix::{Mixed, Mixer, Order, Parts, Stage},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    alti::VectorNorm,
    ifr::{check_epsilon, norms_before, proximity, proximity_of},
    mixing::{self, Answers, Reading},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "flash-trace",
    summary: "follows the flow of information into a span of the target, taken as one, and back through a thinking span",
    needs: "a decoder with norms before attention; no gradients",
    promise: "scores are not negative; without hops their sum is at most the number of layers",
    cost: "one walk up, and one more a hop; heads · n · d_model a layer",
    source: "FlashTrace 2026, arXiv 2602.01914",
    docs: include_str!("flash_trace.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<FlashTrace>("flash-trace", parameters)?.checked()?)),
};

/// Parameters of FlashTrace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlashTrace {
    /// First and last target token that are explained, counted from 0; `None`: all.
    pub span: Option<[usize; 2]>,
    /// First and last position that hops go through, counted over prompt and target together.
    pub thinking: Option<[usize; 2]>,
    /// How often.
    pub hops: usize,
    /// ε: what a part comes to at least.
    pub epsilon: f64,
}

impl Default for FlashTrace {
    fn default() -> Self {
        Self { span: None, thinking: None, hops: 0, epsilon: 1e-5 }
    }
}

/// What flows into one span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// `[layer][position]`.
    pub layers: Vec<Vec<f64>>,
    /// By head, over all layers and positions.
    pub heads: Vec<f64>,
}

impl Flow {
    /// Over all layers, one a position.
    pub fn scores(&self) -> Vec<f64> {
        let n = self.layers.first().map_or(0, Vec::len);
        (0..n).map(|p| self.layers.iter().map(|l| l[p]).sum()).collect()
    }
}

/// A trace with its hops.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Into the span itself.
    pub first: Flow,
    /// One a position, before hops, without the positions that have none.
    pub base: Vec<f64>,
    /// The same with all hops.
    pub scores: Vec<f64>,
    /// Share of the scores on the thinking span, before and after each hop, each times those before; empty without hops.
    pub ratios: Vec<f64>,
}

impl FlashTrace {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// Spans that end before they begin, hops without a thinking span or the other way round, an epsilon that is not above 0.
    pub fn checked(self) -> Result<Self> {
        check_epsilon(self.epsilon)?;
        for (name, span) in [("span", self.span), ("thinking", self.thinking)] {
            if let Some([first, last]) = span.filter(|[first, last]| first > last) {
                return Err(Error::request(format!("{name} [{first}, {last}] ends before it begins; give the first and the last")));
            }
        }
        match (self.hops, self.thinking) {
            (0, Some([first, last])) => {
                Err(Error::request(format!("thinking [{first}, {last}] is given, but hops is 0; give 1 or more hops, or leave it out")))
            }
            (hops, None) if hops > 0 => Err(Error::request(format!("hops is {hops}, but there is no thinking span to hop through"))),
            _ => Ok(self),
        }
    }

    /// Traces the rows `span` of an input. Terms are scored on the way.
    ///
    /// # Errors
    /// As [`Engine::mix`]; rows outside the input; a thinking span that is outside it or meets the rows.
    pub fn trace(&self, engine: &Engine<'_>, input: &Input, span: Range<usize>, terms: &[Term]) -> Result<(Trace, Mixed)> {
        let n = input.len();
        if span.is_empty() || span.end > n {
            return Err(Error::request(format!(
                "rows {} to {} are outside the input, which has {n} tokens",
                span.start,
                span.end.max(1) - 1
            )));
        }
        let (first, mut mixed) = self.flow(engine, input, &span.clone().map(|t| (t, 1.0)).collect::<Vec<_>>(), terms)?;
        let scores = first.scores();
        let Some([from, to]) = self.thinking.filter(|_| self.hops > 0) else {
            return Ok((Trace { base: scores.clone(), scores, first, ratios: Vec::new() }, mixed));
        };
        if to >= n {
            return Err(Error::request(format!("thinking [{from}, {to}] is outside the input, which has {n} tokens")));
        }
        if from < span.end && span.start <= to {
            return Err(Error::request(format!(
                "thinking [{from}, {to}] overlaps positions {} to {}, where the target is read; it must lie beside them",
                span.start,
                span.end - 1
            )));
        }
        let thinking = from..to + 1;
        let rest = |scores: &[f64]| -> Vec<f64> {
            let own = |p: &usize| !thinking.contains(p) && !span.contains(p);
            scores.iter().enumerate().map(|(p, s)| if own(&p) { *s } else { 0.0 }).collect()
        };
        let base = rest(&scores);
        let (mut total, mut last, mut ratios) = (base.clone(), scores, vec![]);
        let share = |scores: &[f64]| -> f64 {
            let all: f64 = scores.iter().sum();
            if all > 0.0 { scores[thinking.clone()].iter().sum::<f64>() / all } else { 0.0 }
        };
        ratios.push(share(&last));
        for _ in 0..self.hops {
            let ratio = *ratios.last().expect("one was pushed");
            let weights: Vec<(usize, f64)> = thinking.clone().map(|t| (t, last[t])).collect();
            let (hop, again) = self.flow(engine, input, &weights, &[])?;
            last = hop.scores();
            total.iter_mut().zip(rest(&last)).for_each(|(t, s)| *t += ratio * s);
            ratios.push(ratio * share(&last));
            mixed.cost = mixing::plus(mixed.cost, again.cost);
        }
        Ok((Trace { first, base, scores: total, ratios }, mixed))
    }

    fn flow(&self, engine: &Engine<'_>, input: &Input, weights: &[(usize, f64)], terms: &[Term]) -> Result<(Flow, Mixed)> {
        let d = engine.model.description();
        let flow = Flow { layers: Vec::new(), heads: vec![0.0; d.heads] };
        let mut into = Into { weights, epsilon: self.epsilon, flow, hold: mixing::room(engine, input)? };
        let mixed = engine.mix(input, &Control::none(), terms, Order::Up, &mut into)?;
        Ok((into.flow, mixed))
    }

    /// The rows that are explained.
    fn rows(&self, question: &Question) -> Result<Range<usize>> {
        let tokens = question.target.tokens.len();
        let [first, last] = self.span.unwrap_or([0, tokens.max(1) - 1]);
        if last >= tokens {
            return Err(Error::request(format!("span [{first}, {last}] is outside the target, which has {tokens} tokens")));
        }
        Ok(question.row(first)..question.row(last) + 1)
    }
}

struct Into<'a> {
    weights: &'a [(usize, f64)],
    epsilon: f64,
    flow: Flow,
    hold: u64,
}

impl Into<'_> {
    /// `Σ_t w_t·row_t`.
    fn weighted<T: Element>(&self, rows: &[T], width: usize) -> Vec<T> {
        let mut sum = vec![T::ZERO; width];
        for (t, w) in self.weights {
            sum.iter_mut().zip(&rows[t * width..]).for_each(|(o, x)| *o += T::from_f64(*w) * *x);
        }
        sum
    }
}

impl Mixer for Into<'_> {
    fn block<T: Element>(&mut self, stage: &Stage<'_, T>) -> Result<()> {
        let anatomy = norms_before("flash-trace", stage)?;
        let parts = Parts::new(stage, &anatomy, &[], false, self.hold);
        let (n, d, heads) = (parts.keys(), parts.width(), anatomy.shape.heads);
        let (first, last) = (self.weights[0].0, self.weights[self.weights.len() - 1].0);
        let mut together = vec![vec![T::ZERO; n]; heads];
        stage.patterns(first..last + 1, &mut |block, patterns| {
            for ((t, w), r) in self.weights[block.start - first..block.end - first].iter().zip(0..) {
                debug_assert_eq!(*t, block.start + r);
                for (sum, pattern) in together.iter_mut().zip(patterns) {
                    sum.iter_mut().zip(&pattern[r * n..]).for_each(|(o, a)| *o += T::from_f64(*w) * *a);
                }
            }
            Ok(())
        })?;
        let whole = self.weighted(&stage.middle(&anatomy), d);
        let length = VectorNorm::L1.of(&whole);
        let distances = parts.head_distances(&together, parts.seen(last), &whole, Distance::L1);
        let mut near: Vec<Vec<f64>> = distances.iter().map(|of| of.iter().map(|x| proximity(self.epsilon, length, *x)).collect()).collect();
        let residual = proximity_of(self.epsilon, &self.weighted(stage.node(anatomy.x).data(), d), &whole);
        let sum = near.iter().flatten().sum::<f64>() + residual;
        near.iter_mut().flatten().for_each(|x| *x /= sum);
        let mut scores: Vec<f64> = near.iter().map(|of| of.iter().sum()).collect();
        scores.resize(n, 0.0);
        for of in &near {
            self.flow.heads.iter_mut().zip(of).for_each(|(h, s)| *h += s);
        }
        self.flow.layers.push(scores);
        Ok(())
    }
}

impl Method for FlashTrace {
    fn id(&self) -> &'static str {
        "flash-trace"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn sign(&self) -> Sign {
        Sign::Unsigned
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.clone().checked()?;
        match model.outputs {
            Outputs::NextToken => Ok(()),
            _ => Err(Error::Unsupported(format!(
                "flash-trace needs a decoder: spans of its own tokens; this {} model is none",
                model.architecture
            ))),
        }
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        self.fits(engine.model.description())?;
        mixing::no_contrast("flash-trace", question)?;
        let mut sum = Estimate::default();
        for reading in mixing::readings(engine, question, question.target.score)? {
            for _ in 0..self.hops + 1 {
                sum = mixing::plus(sum, mixing::cost(engine, &reading.input, 0.0)?);
            }
        }
        Ok(sum)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        self.fits(engine.model.description())?;
        mixing::no_contrast("flash-trace", question)?;
        let mut answers = Answers::default();
        for Reading { input, terms } in mixing::readings(engine, question, question.target.score)? {
            let rows = self.rows(question)?;
            let (trace, mixed) = self.trace(engine, &input, rows.clone(), &terms)?;
            let part = 1.0 / rows.len() as f64;
            let share = |row| if rows.contains(&row) { part } else { 0.0 };
            let each = terms.iter().map(|t| trace.scores.iter().map(|s| s * share(t.row)).collect()).collect();
            answers.add(mixed.scores, each, mixed.cost);
        }
        Ok(answers.outcome(question))
    }
}

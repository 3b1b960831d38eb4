//! Where signals start: the scores of some rows, and the derivative of each explained number (or the relevance given to it) at those rows.
//!
//! ```text
//! logit            ∂ = W_t                                  τ: temperature
//! log-probability  ∂ = (W_t − Σ_v p_v·W_v) / τ              probability   ∂ = p_t·(W_t − Σ_v p_v·W_v) / τ
//! ```
//!
//! Under the γ rule, what it makes of an output's one row stands in place of `W_v`. The vocabulary is streamed, once for the scores and once more
//! for `Σ_v p_v·W_v` where a softmax is explained.

use std::ops::Range;

use pellucid_kernels::{LogSumExp, product_parallel};

use crate::{
    Result,
    engine::Engine,
    method::Score,
    model::Linear,
    pass::fast::{Element, Rows},
    prepared,
    rules::Rules,
    tape::{Matrix, gamma},
    walk::{plan::VOCABULARY_CHUNK, up::TokenScore},
};

use super::{Signal, Term};

/// Scores of every term, and what each signal is at the finished rows.
type Start<T> = (Vec<Vec<TokenScore>>, Vec<Rows<T>>);

/// Scores alone.
pub(crate) fn scores<T: Element>(
    engine: &Engine<'_>,
    finished: &Rows<T>,
    terms: &[Term],
    at: impl Fn(usize) -> usize,
) -> Result<Vec<TokenScore>> {
    let head = Head { engine, map: engine.model.unembedding()?, finished };
    let terms: Vec<(usize, Term)> = terms.iter().map(|t| (at(t.row), *t)).collect();
    Ok(head.scores(&terms)?.into_iter().map(|s| s.0).collect())
}

pub(super) fn scores_and_seeds<T: Element>(
    engine: &Engine<'_>,
    finished: &Rows<T>,
    signals: &[Signal],
    at: impl Fn(usize) -> usize,
) -> Result<Start<T>> {
    let head = Head { engine, map: engine.model.unembedding()?, finished };
    let terms: Vec<(usize, Term)> = signals.iter().flat_map(|s| s.terms.iter().map(|t| (at(t.row), *t))).collect();
    let scores = head.scores(&terms)?;
    let mut means: Vec<(usize, f64, Option<f64>, Vec<f64>)> = Vec::new();
    let mut next = scores.iter();
    let mut seeds = Vec::new();
    let mut grouped = Vec::new();
    for signal in signals {
        let mut seed = Rows::<T>::unwritten(finished.rows(), finished.width);
        seed.data.fill(T::ZERO);
        let mut own = Vec::new();
        let by = signal.rules.gamma().map(|by| by.linear);
        for term in &signal.terms {
            let (row, (score, total)) = (at(term.row), next.next().expect("one score a term"));
            own.push(*score);
            let out = &mut seed.data[row * finished.width..(row + 1) * finished.width];
            if let Rules::AlphaBeta(rules) = signal.rules {
                head.relevance(rules, row, term, out)?;
                continue;
            }
            let output = term.output as usize;
            let weight = head.back(row, by, output..output + 1, &[1.0])?;
            let (factor, softmax) = match term.score {
                Score::Logit => (term.weight, false),
                Score::LogProbability => (term.weight / term.temperature, true),
                Score::Probability => (term.weight * score.log_probability.exp() / term.temperature, true),
            };
            let factor = T::from_f64(factor);
            out.iter_mut().zip(&weight).for_each(|(o, w)| *o += factor * *w);
            if softmax {
                let known = means.iter().position(|m| (m.0, m.1, m.2) == (row, term.temperature, by));
                let known = match known {
                    Some(known) => known,
                    None => {
                        means.push((row, term.temperature, by, head.mean_row(row, by, term.temperature, *total)?));
                        means.len() - 1
                    }
                };
                out.iter_mut().zip(&means[known].3).for_each(|(o, m)| *o -= factor * T::from_f64(*m));
            }
        }
        seeds.push(seed);
        grouped.push(own);
    }
    Ok((grouped, seeds))
}

struct Head<'a, T: Element> {
    engine: &'a Engine<'a>,
    map: &'a Linear,
    finished: &'a Rows<T>,
}

impl<T: Element> Head<'_, T> {
    /// Each term's score, and the `ln Σ e^(logit/τ)` of its row.
    fn scores(&self, terms: &[(usize, Term)]) -> Result<Vec<(TokenScore, f64)>> {
        let mut logits = vec![0.0; terms.len()];
        for ((row, term), logit) in terms.iter().zip(&mut logits) {
            *logit = self.chunk(self.finished_row(*row), term.output as usize..term.output as usize + 1)?[0].to_f64();
        }
        let mut sums = vec![LogSumExp::new(); terms.len()];
        let mut ranks = vec![0; terms.len()];
        for first in (0..self.map.outputs()).step_by(VOCABULARY_CHUNK) {
            self.engine.check_cancelled()?;
            let outputs = first..(first + VOCABULARY_CHUNK).min(self.map.outputs());
            let width = outputs.len();
            let all = self.chunk(&self.finished.data, outputs)?;
            for (i, (row, term)) in terms.iter().enumerate() {
                let own = &all[row * width..(row + 1) * width];
                sums[i].push(own, term.temperature);
                ranks[i] += own.iter().filter(|l| l.to_f64() > logits[i]).count();
            }
        }
        let score = |i: usize| {
            let total = sums[i].value();
            let logit = logits[i];
            (TokenScore { logit, log_probability: logit / terms[i].1.temperature - total, rank: ranks[i] }, total)
        };
        Ok((0..terms.len()).map(score).collect())
    }

    fn finished_row(&self, row: usize) -> &[T] {
        &self.finished.data[row * self.finished.width..(row + 1) * self.finished.width]
    }

    /// Some logits of some rows, `[row, output]`.
    fn chunk(&self, rows: &[T], outputs: Range<usize>) -> Result<Vec<T>> {
        let (count, width) = (rows.len() / self.map.inputs, outputs.len());
        let prepared = prepared::outputs::<T>(self.map, outputs, self.engine.model.weights())?;
        let mut logits = vec![T::ZERO; count * width];
        product_parallel(&mut logits, width, rows, self.map.inputs, count, &prepared.weight, prepared.bias.as_deref(), false);
        Ok(logits)
    }

    /// What reaches one row of what arrives at some outputs: `Σ_v g_v·W_v`, or what the γ rule makes of it.
    fn back(&self, row: usize, by: Option<f64>, outputs: Range<usize>, arriving: &[f64]) -> Result<Vec<T>> {
        let mut chosen = self.map.clone();
        chosen.part = vec![outputs.clone()];
        let matrix = Matrix::<T>::read(&chosen, self.engine.model.weights())?;
        let one = |values: &mut dyn Iterator<Item = T>, width: usize| {
            let mut rows = Rows::unwritten(1, width);
            rows.data.iter_mut().zip(values).for_each(|(r, v)| *r = v);
            rows
        };
        let signal = one(&mut arriving.iter().map(|g| T::from_f64(*g)), arriving.len());
        if let Some(by) = by {
            let x = one(&mut self.finished_row(row).iter().copied(), self.map.inputs);
            let y = one(&mut self.chunk(self.finished_row(row), outputs)?.into_iter(), arriving.len());
            return Ok(gamma::linear(by, &x, &y, &signal, &matrix, true).data.to_vec());
        }
        let mut sum = vec![T::ZERO; self.map.inputs];
        product_parallel(&mut sum, self.map.inputs, &signal.data, arriving.len(), 1, matrix.backward(), None, false);
        Ok(sum)
    }

    /// `Σ_v p_v·W_v` at one row.
    fn mean_row(&self, row: usize, by: Option<f64>, temperature: f64, total: f64) -> Result<Vec<f64>> {
        let mut mean = vec![0.0; self.map.inputs];
        for first in (0..self.map.outputs()).step_by(VOCABULARY_CHUNK) {
            self.engine.check_cancelled()?;
            let outputs = first..(first + VOCABULARY_CHUNK).min(self.map.outputs());
            let logits = self.chunk(self.finished_row(row), outputs.clone())?;
            let probabilities: Vec<f64> = logits.iter().map(|l| (l.to_f64() / temperature - total).exp()).collect();
            let sum = self.back(row, by, outputs, &probabilities)?;
            mean.iter_mut().zip(&sum).for_each(|(m, s)| *m += s.to_f64());
        }
        Ok(mean)
    }

    /// αβ relevance of the last linear map, of which one output is given `weight`.
    fn relevance(&self, rules: crate::rules::AlphaBeta, row: usize, term: &Term, out: &mut [T]) -> Result<()> {
        let mut chosen = self.map.clone();
        chosen.part = std::iter::once(term.output as usize..term.output as usize + 1).collect();
        let matrix = Matrix::<T>::read(&chosen, self.engine.model.weights())?;
        let mut x = Rows::unwritten(1, self.finished.width);
        x.data.copy_from_slice(self.finished_row(row));
        let mut given = Rows::unwritten(1, 1);
        given.data[0] = T::from_f64(term.weight);
        let back = crate::tape::relevance::linear(rules, &x, &given, &matrix, false);
        out.iter_mut().zip(&back.data).for_each(|(o, b)| *o += *b);
        Ok(())
    }
}

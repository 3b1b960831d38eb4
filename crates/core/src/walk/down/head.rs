//! Where signals start: the scores of some rows, and the derivative of each explained number (or the relevance given to it) at those rows.
//!
//! ```text
//! logit            ∂ = W_t                                  τ: temperature
//! log-probability  ∂ = (W_t − Σ_v p_v·W_v) / τ              probability   ∂ = p_t·(W_t − Σ_v p_v·W_v) / τ
//! ```
//!
//! The vocabulary is streamed, once for the scores and once more for `Σ_v p_v·W_v` where a softmax is explained.

use pellucid_kernels::{LogSumExp, Packed, product_parallel};

use crate::{
    Result,
    engine::Engine,
    method::Score,
    model::Linear,
    pass::fast::{Element, Rows},
    prepared,
    rules::Rules,
    tape::Matrix,
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
    let mut means: Vec<(usize, f64, Vec<f64>)> = Vec::new();
    let mut next = scores.iter();
    let mut seeds = Vec::new();
    let mut grouped = Vec::new();
    for signal in signals {
        let mut seed = Rows::<T>::unwritten(finished.rows(), finished.width);
        seed.data.fill(T::ZERO);
        let mut own = Vec::new();
        for term in &signal.terms {
            let (row, (score, total)) = (at(term.row), next.next().expect("one score a term"));
            own.push(*score);
            let out = &mut seed.data[row * finished.width..(row + 1) * finished.width];
            if let Rules::AlphaBeta(rules) = signal.rules {
                head.relevance(rules, row, term, out)?;
                continue;
            }
            let weight = head.row(term.output)?;
            let (factor, softmax) = match term.score {
                Score::Logit => (term.weight, false),
                Score::LogProbability => (term.weight / term.temperature, true),
                Score::Probability => (term.weight * score.log_probability.exp() / term.temperature, true),
            };
            let factor = T::from_f64(factor);
            out.iter_mut().zip(&weight).for_each(|(o, w)| *o += factor * T::from_f32(*w));
            if softmax {
                let known = means.iter().position(|m| m.0 == row && m.1 == term.temperature);
                let known = match known {
                    Some(known) => known,
                    None => {
                        means.push((row, term.temperature, head.mean_row(row, term.temperature, *total)?));
                        means.len() - 1
                    }
                };
                out.iter_mut().zip(&means[known].2).for_each(|(o, m)| *o -= factor * T::from_f64(*m));
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
    fn chunk(&self, rows: &[T], outputs: std::ops::Range<usize>) -> Result<Vec<T>> {
        let (count, width) = (rows.len() / self.map.inputs, outputs.len());
        let prepared = prepared::outputs::<T>(self.map, outputs, self.engine.model.weights())?;
        let mut logits = vec![T::ZERO; count * width];
        product_parallel(&mut logits, width, rows, self.map.inputs, count, &prepared.weight, prepared.bias.as_deref(), false);
        Ok(logits)
    }

    /// The weights of one output.
    fn row(&self, output: u32) -> Result<Vec<f32>> {
        let mut chosen = self.map.clone();
        chosen.part = std::iter::once(output as usize..output as usize + 1).collect();
        chosen.bias = None;
        Ok(Matrix::<T>::read(&chosen, self.engine.model.weights())?.dense().to_vec())
    }

    /// `Σ_v p_v·W_v` at one row.
    fn mean_row(&self, row: usize, temperature: f64, total: f64) -> Result<Vec<f64>> {
        let width = self.map.inputs;
        let mut mean = vec![0.0; width];
        for first in (0..self.map.outputs()).step_by(VOCABULARY_CHUNK) {
            self.engine.check_cancelled()?;
            let outputs = first..(first + VOCABULARY_CHUNK).min(self.map.outputs());
            let mut part = self.map.clone();
            part.part = vec![outputs.clone()];
            let matrix = Matrix::<T>::read(&part, self.engine.model.weights())?;
            let mut probabilities = self.chunk(self.finished_row(row), outputs)?;
            probabilities.iter_mut().for_each(|l| *l = T::from_f64((l.to_f64() / temperature - total).exp()));
            let mut sum = vec![T::ZERO; width];
            let packed: &Packed<T> = matrix.backward();
            product_parallel(&mut sum, width, &probabilities, probabilities.len(), 1, packed, None, false);
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

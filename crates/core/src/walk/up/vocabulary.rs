//! The end of the walk: the unembedding streamed over the rows that somebody asked about.
//!
//! A few thousand outputs are decoded and multiplied at a time; of each row a running log-sum-exp, the wanted logits and their ranks are kept.

use pellucid_kernels::{self as kernels, LogSumExp};
use rayon::prelude::*;

use super::{TokenScore, segment::Segment, sweep::Walk};
use crate::{Result, pass::fast::Element, prepared, walk::plan::VOCABULARY_CHUNK};

/// Everything known about one asked row.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) scores: Vec<(u32, TokenScore)>,
    pub(super) logits: Vec<f64>,
}

/// Asked rows of each segment.
pub(super) type Found = Vec<Vec<Row>>;

impl<T: Element> Walk<'_, T> {
    /// Streams the unembedding over the asked rows, `[row, d_model]`, in the order of the segments.
    pub(super) fn vocabulary(&self, rows: &[T], segments: &[&Segment<'_>]) -> Result<Found> {
        const BLOCK: usize = 64;
        let model = self.engine.model;
        let map = model.unembedding()?;
        let width = map.inputs;
        let wanted: Vec<&[u32]> = segments.iter().flat_map(|s| s.tokens.iter().map(|t| &t[..])).collect();
        let mut distinct: Vec<u32> = wanted.iter().flat_map(|t| t.iter().copied()).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let logits = self.chosen_logits(rows, &distinct)?;

        let mut states: Vec<(Row, LogSumExp)> = wanted
            .iter()
            .enumerate()
            .map(|(r, tokens)| {
                let logit = |t: &u32| logits[r * distinct.len() + distinct.binary_search(t).expect("collected above")];
                let scores = tokens.iter().map(|t| (*t, TokenScore { logit: logit(t).to_f64(), ..TokenScore::default() })).collect();
                (Row { scores, logits: Vec::new() }, LogSumExp::default())
            })
            .collect();
        for first in (0..map.outputs()).step_by(VOCABULARY_CHUNK) {
            self.engine.check_cancelled()?;
            let outputs = VOCABULARY_CHUNK.min(map.outputs() - first);
            let chunk = prepared::outputs::<T>(map, first..first + outputs, model.weights())?;
            states.par_chunks_mut(BLOCK).enumerate().for_each(|(block, states)| {
                let x = &rows[block * BLOCK * width..][..states.len() * width];
                let mut logits = vec![T::default(); states.len() * outputs];
                kernels::product(&mut logits, outputs, x, width, states.len(), &chunk.weight, chunk.bias.as_deref(), false);
                for ((row, sum), logits) in states.iter_mut().zip(logits.chunks_exact(outputs)) {
                    sum.push(logits, self.readout.temperature);
                    for (_, score) in &mut row.scores {
                        score.rank += logits.iter().filter(|l| l.to_f64() > score.logit).count();
                    }
                    if self.readout.logits {
                        row.logits.extend(logits.iter().map(|l| l.to_f64()));
                    }
                }
            });
        }
        model.weights().release(&map.weight);
        let mut states = states.into_iter().map(|(mut row, sum)| {
            let total = sum.value();
            row.scores.iter_mut().for_each(|(_, s)| s.log_probability = s.logit / self.readout.temperature - total);
            row
        });
        Ok(segments.iter().map(|s| states.by_ref().take(s.asked.len()).collect()).collect())
    }

    /// Logits of a few tokens at every row, `[row, token]`: to the last bit those that the stream gives.
    fn chosen_logits(&self, rows: &[T], tokens: &[u32]) -> Result<Vec<T>> {
        let model = self.engine.model;
        let map = model.unembedding()?;
        let mut chosen = map.clone();
        chosen.part = tokens.iter().map(|t| *t as usize..*t as usize + 1).collect();
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let prepared = prepared::linear::<T>(&chosen, model.weights())?;
        let count = rows.len() / map.inputs;
        let mut out = vec![T::default(); count * tokens.len()];
        kernels::product(&mut out, tokens.len(), rows, map.inputs, count, &prepared.weight, prepared.bias.as_deref(), false);
        Ok(out)
    }
}

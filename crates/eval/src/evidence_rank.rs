//! How far down the list one has to read to find the evidence.
//!
//! ```text
//! rank = 1 + |{ u ∉ E : s_u ≥ max_{e ∈ E} s_e }|
//! ```
//!
//! over the units u of the prompt with combined score s_u, E those that share a character with the evidence. The rank of the first
//! relevant item, whose mean reciprocal is the measure of question answering (Voorhees, TREC-8, 1999). A tie counts against the evidence:
//! an attribution that gives everything the same score has found nothing.
//!
//! Deliberately absent: the ranks of further evidence units, and the reciprocal, which is taken where ranks are averaged.

use std::ops::RangeInclusive;

use pellucid_core::{Attribution, Result};

use crate::{Better, Evidence, Metric};

/// Rank, from 1, of the best unit that overlaps the evidence.
#[derive(Clone, Copy, Debug, Default)]
pub struct EvidenceRank;

impl Metric for EvidenceRank {
    fn id(&self) -> &'static str {
        "evidence-rank"
    }

    fn about(&self) -> &'static str {
        "rank of the best-scoring unit that overlaps the evidence; 1 is the top"
    }

    fn range(&self) -> RangeInclusive<f64> {
        1.0..=f64::INFINITY
    }

    fn better(&self) -> Better {
        Better::Lower
    }

    fn measure(&self, attribution: &Attribution, truth: &Evidence) -> Result<f64> {
        let units = truth.judge(attribution)?;
        let best = units.iter().filter(|unit| unit.evidence).map(|unit| unit.score).fold(f64::NEG_INFINITY, f64::max);
        Ok(1.0 + units.iter().filter(|unit| !unit.evidence && unit.score >= best).count() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::example;

    fn rank(scores: &[f64], evidence: &[std::ops::Range<usize>]) -> f64 {
        EvidenceRank.measure(&example(scores), &Evidence::new(evidence.iter().cloned()).unwrap()).unwrap()
    }

    #[test]
    fn the_rank_is_that_of_the_best_evidence_unit() {
        let scores = [3.0, 1.0, -2.0, 4.0]; // d, a, b, c
        assert_eq!(rank(&scores, &[6..7]), 1.0);
        assert_eq!(rank(&scores, &[0..1]), 2.0);
        assert_eq!(rank(&scores, &[4..5]), 4.0);
        assert_eq!(rank(&scores, &[4..5, 2..3]), 3.0, "b is better than c");
    }

    #[test]
    fn a_tie_counts_against_the_evidence() {
        assert_eq!(rank(&[2.0, 2.0, 1.0, 2.0], &[0..1]), 3.0);
        assert_eq!(rank(&[2.0, 2.0, 1.0, 0.0], &[0..1, 2..3]), 1.0, "but not a tie with other evidence");
    }
}

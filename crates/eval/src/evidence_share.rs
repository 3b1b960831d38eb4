//! How much of what speaks for the target lies on the evidence.
//!
//! ```text
//! share = Σ_{u ∈ E} max(0, s_u) / Σ_u max(0, s_u)
//! ```
//!
//! over the units u of the prompt with combined score s_u, E those that share a character with the evidence. This is the relevance mass
//! accuracy of Arras, Osman and Samek (CLEVR-XAI, Information Fusion 2022), for units of text instead of pixels. We differ in that a unit
//! counts whole as soon as it touches the evidence, and in that earlier target tokens are left out.
//!
//! Deliberately absent: a correction for how much of the text is evidence; compare with a random control.

use std::ops::RangeInclusive;

use pellucid_core::{Attribution, Error, Result};

use crate::{Better, Evidence, Metric};

/// Share of the positive score that falls on the evidence, 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct EvidenceShare;

impl Metric for EvidenceShare {
    fn id(&self) -> &'static str {
        "evidence-share"
    }

    fn about(&self) -> &'static str {
        "share of the positive score that falls on the evidence"
    }

    fn range(&self) -> RangeInclusive<f64> {
        0.0..=1.0
    }

    fn better(&self) -> Better {
        Better::Higher
    }

    /// # Errors
    /// As all metrics; also if no unit of the prompt has a positive score: nothing divided by nothing is not 0.
    fn measure(&self, attribution: &Attribution, truth: &Evidence) -> Result<f64> {
        let units = truth.judge(attribution)?;
        // Scaled by the largest, so that the sum of large scores stays finite.
        let largest = units.iter().map(|unit| unit.score).fold(0.0, f64::max);
        if largest == 0.0 {
            return Err(Error::request(format!(
                "none of the {} units has a positive score, so there is nothing to take a share of",
                units.len()
            )));
        }
        let positive = |evidence_only: bool| -> f64 {
            units.iter().filter(|unit| unit.evidence || !evidence_only).map(|unit| unit.score.max(0.0) / largest).sum()
        };
        Ok((positive(true) / positive(false)).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::example;

    fn share(scores: &[f64], evidence: &[std::ops::Range<usize>]) -> Result<f64> {
        EvidenceShare.measure(&example(scores), &Evidence::new(evidence.iter().cloned())?)
    }

    #[test]
    fn the_share_counts_positive_scores_only() {
        // Evidence on b and c: (1 + 0) / (3 + 1 + 0 + 4).
        assert_eq!(share(&[3.0, 1.0, -2.0, 4.0], &[2..3, 4..5]).unwrap(), 0.125);
        assert_eq!(share(&[3.0, 1.0, -2.0, 4.0], &[0..1, 6..7]).unwrap(), 0.875);
        assert_eq!(share(&[3.0, 1.0, -2.0, 4.0], &[4..5]).unwrap(), 0.0);
        assert_eq!(share(&[-3.0, 1.0, -2.0, 0.0], &[2..3]).unwrap(), 1.0);
    }

    #[test]
    fn the_share_does_not_depend_on_the_scale() {
        assert_eq!(share(&[1e308, 1e308, 1e308, 1e308], &[0..3]).unwrap(), 0.5);
        assert_eq!(share(&[3e-320, 1e-320, 0.0, 4e-320], &[0..3]).unwrap(), 0.5);
    }

    #[test]
    fn without_a_positive_score_there_is_no_share() {
        let error = share(&[-1.0, 0.0, -2.0, -0.5], &[0..1]).unwrap_err().to_string();
        assert!(error.starts_with("none of the 4 units has a positive score"), "{error}");
    }
}

//! Whether the unit with the highest score is evidence: the pointing game.
//!
//! ```text
//! hit = 1 if argmax_u s_u ∈ E, else 0
//! ```
//!
//! (Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, §4.1: the maximum of the map against the object's mask.)
//! We differ in that there is no tolerance around the evidence, and in that a tie for the top with a unit outside it is a miss: pointing
//! everywhere is not pointing. Hence `hit = 1` exactly if the evidence rank is 1.
//!
//! Deliberately absent: accuracy per class, which belongs to averages.

use std::ops::RangeInclusive;

use pellucid_core::{Attribution, Result};

use crate::{Better, Evidence, EvidenceRank, Metric};

/// 1 if the top unit overlaps the evidence, else 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pointing;

impl Metric for Pointing {
    fn id(&self) -> &'static str {
        "pointing"
    }

    fn about(&self) -> &'static str {
        "1 if the unit with the highest score overlaps the evidence, else 0"
    }

    fn range(&self) -> RangeInclusive<f64> {
        0.0..=1.0
    }

    fn better(&self) -> Better {
        Better::Higher
    }

    fn measure(&self, attribution: &Attribution, truth: &Evidence) -> Result<f64> {
        Ok(f64::from(EvidenceRank.measure(attribution, truth)? == 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::example;

    fn hit(scores: &[f64], evidence: std::ops::Range<usize>) -> f64 {
        Pointing.measure(&example(scores), &Evidence::new([evidence]).unwrap()).unwrap()
    }

    #[test]
    fn the_top_unit_hits_or_misses() {
        assert_eq!(hit(&[3.0, 1.0, -2.0, 4.0], 6..7), 1.0);
        assert_eq!(hit(&[3.0, 1.0, -2.0, 4.0], 0..5), 0.0);
        assert_eq!(hit(&[-3.0, -1.0, -2.0, -4.0], 2..3), 1.0, "the top may be negative");
    }

    #[test]
    fn pointing_everywhere_is_a_miss() {
        assert_eq!(hit(&[1.0, 1.0, 1.0, 1.0], 0..3), 0.0);
        assert_eq!(hit(&[1.0, 1.0, 1.0, 1.0], 0..7), 1.0, "unless everything is evidence");
    }
}

//! Numbers that judge an attribution.
//!
//! A [`Metric`] compares one attribution with what is known to be true about it; [`metrics`] lists them. Adding one is a file and two
//! lines in the table. [`rank_correlation`] compares two attributions of the same features.
//!
//! Deliberately absent: anything that runs a model (a metric reads scores that are there), data sets, averages over questions and their
//! confidence intervals, and metrics that perturb the input.

#![cfg_attr(test, allow(clippy::single_range_in_vec_init))] // evidence of one span is a list of one range

mod correlation;
mod evidence;
mod evidence_rank;
mod evidence_share;
mod pointing;

use std::ops::RangeInclusive;

use pellucid_core::{Attribution, Error, Result};

pub use correlation::rank_correlation;
pub use evidence::Evidence;
pub use evidence_rank::EvidenceRank;
pub use evidence_share::EvidenceShare;
pub use pointing::Pointing;

/// Which way a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// The larger, the better.
    Higher,
    /// The smaller, the better.
    Lower,
}

/// A number that says how well an attribution agrees with what is known. Knows no method and no model.
pub trait Metric: Send + Sync {
    /// Its name, as people type it: `evidence-share`.
    fn id(&self) -> &'static str;

    /// What it says, in one line.
    fn about(&self) -> &'static str;

    /// Smallest and largest value it can take; infinity where there is no largest.
    fn range(&self) -> RangeInclusive<f64>;

    /// Which way it improves.
    fn better(&self) -> Better;

    /// The number for one attribution.
    ///
    /// # Errors
    /// The attribution and the evidence do not fit together, or the number is not defined for these scores. Never a stand-in value.
    fn measure(&self, attribution: &Attribution, truth: &Evidence) -> Result<f64>;
}

/// Every metric, in the order that a table shows them.
pub fn metrics() -> &'static [&'static dyn Metric] {
    &[&EvidenceShare, &EvidenceRank, &Pointing]
}

/// The metric of that name.
///
/// # Errors
/// There is none; the message lists those there are.
pub fn metric(id: &str) -> Result<&'static dyn Metric> {
    metrics().iter().copied().find(|metric| metric.id() == id).ok_or_else(|| {
        let known: Vec<_> = metrics().iter().map(|metric| metric.id()).collect();
        Error::request(format!("unknown metric \"{id}\"; there are {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::example;

    #[test]
    fn every_metric_is_found_by_its_name_and_no_two_share_one() {
        for (index, listed) in metrics().iter().enumerate() {
            assert_eq!(metric(listed.id()).unwrap().about(), listed.about());
            assert!(metrics()[..index].iter().all(|earlier| earlier.id() != listed.id()));
        }
        assert_eq!(
            metric("share").err().unwrap().to_string(),
            "unknown metric \"share\"; there are evidence-share, evidence-rank, pointing"
        );
    }

    #[test]
    fn every_metric_keeps_to_its_range() {
        let scores = [&[3.0, 1.0, -2.0, 4.0][..], &[-1.0, 5.0, 5.0, 0.0], &[0.5, 0.5, 0.5, 0.5]];
        for metric in metrics() {
            for scores in scores {
                let value = metric.measure(&example(scores), &Evidence::new([3..5]).unwrap()).unwrap();
                assert!(metric.range().contains(&value), "{} gives {value}", metric.id());
            }
        }
    }
}

//! From one number for each entry of a position's embedding to one score a position.

use pellucid_core::{Error, Result, Sign};
use serde::{Deserialize, Serialize};

use crate::{NormalizeScores, propagation::Positions};

/// How the entries of a position become one score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduce {
    /// Their sum; keeps the sign.
    Sum,
    /// The root of the sum of their squares.
    L2,
    /// The mean of their magnitudes.
    MeanAbs,
}

/// The three parameters that say how entries become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reduction {
    pub(crate) reduce: Reduce,
    /// Whether magnitudes of entries are taken first.
    pub(crate) absolute: bool,
    /// Whether scores are divided by their sum over all positions of the input. Where all are 0 they stay 0.
    pub(crate) normalize: NormalizeScores,
}

impl Reduction {
    /// # Errors
    /// Shares of signed scores.
    pub(crate) fn check(self) -> Result<()> {
        if self.normalize == NormalizeScores::Sum && self.sign() == Sign::Signed {
            return Err(Error::request(
                "signed scores cannot be made shares of their sum, which may be 0 or below: add `absolute`, reduce by l2 or mean-abs, \
                 or leave `normalize` at none",
            ));
        }
        Ok(())
    }

    /// Only a plain sum has a direction.
    pub(crate) fn sign(self) -> Sign {
        if self.reduce == Reduce::Sum && !self.absolute { Sign::Signed } else { Sign::Unsigned }
    }

    /// `[position, width]` → `[position]`.
    pub(crate) fn positions(self, entries: &[f64], width: usize) -> Positions {
        let magnitude = |x: f64| if self.absolute { x.abs() } else { x };
        let one = |entries: &[f64]| match self.reduce {
            Reduce::Sum => entries.iter().map(|x| magnitude(*x)).sum(),
            Reduce::L2 => entries.iter().map(|x| x * x).sum::<f64>().sqrt(),
            Reduce::MeanAbs => entries.iter().map(|x| x.abs()).sum::<f64>() / width as f64,
        };
        let mut scores: Positions = entries.chunks_exact(width).map(one).collect();
        let sum: f64 = scores.iter().sum();
        if self.normalize == NormalizeScores::Sum && sum > 0.0 {
            scores.iter_mut().for_each(|s| *s /= sum);
        }
        scores
    }

    /// `[channel, height, width]` → `[height, width]`: a pixel's channels become one as a position's entries do.
    pub(crate) fn pixels(self, picture: &[f64], channels: usize) -> Vec<f64> {
        let area = picture.len() / channels;
        let by_pixel: Vec<f64> = (0..picture.len()).map(|i| picture[i % channels * area + i / channels]).collect();
        self.positions(&by_pixel, channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: [f64; 4] = [3.0, -4.0, 0.0, 2.0];

    fn reduced(reduce: Reduce, absolute: bool, normalize: NormalizeScores, entries: &[f64]) -> Positions {
        Reduction { reduce, absolute, normalize }.positions(entries, 2)
    }

    #[test]
    fn entries_are_added_up_or_measured() {
        assert_eq!(reduced(Reduce::Sum, false, NormalizeScores::None, &ENTRIES), [-1.0, 2.0]);
        assert_eq!(reduced(Reduce::Sum, true, NormalizeScores::None, &ENTRIES), [7.0, 2.0]);
        assert_eq!(reduced(Reduce::L2, false, NormalizeScores::None, &ENTRIES), [5.0, 2.0]);
        assert_eq!(reduced(Reduce::MeanAbs, false, NormalizeScores::None, &ENTRIES), [3.5, 1.0]);
    }

    #[test]
    fn channels_of_a_pixel_become_one() {
        let signed = Reduction { reduce: Reduce::Sum, absolute: false, normalize: NormalizeScores::None };
        assert_eq!(signed.pixels(&[3.0, 0.0, 1.0, -4.0, 2.0, 1.0], 2), [-1.0, 2.0, 2.0]);
        assert_eq!(Reduction { reduce: Reduce::L2, ..signed }.pixels(&[3.0, 0.0, -4.0, 2.0], 2), [5.0, 2.0]);
    }

    #[test]
    fn shares_add_up_to_one_and_zeros_stay_zeros() {
        assert_eq!(reduced(Reduce::Sum, true, NormalizeScores::Sum, &ENTRIES), [7.0 / 9.0, 2.0 / 9.0]);
        assert_eq!(reduced(Reduce::L2, false, NormalizeScores::Sum, &[0.0; 4]), [0.0, 0.0]);
    }

    #[test]
    fn signed_scores_have_no_shares() {
        let signed = Reduction { reduce: Reduce::Sum, absolute: false, normalize: NormalizeScores::Sum };
        assert!(signed.check().unwrap_err().to_string().contains("signed scores"));
        assert!(Reduction { absolute: true, ..signed }.check().is_ok() && Reduction { reduce: Reduce::L2, ..signed }.check().is_ok());
    }
}

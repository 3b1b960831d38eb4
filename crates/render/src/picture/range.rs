//! From scores to shares of a scale.

use pellucid_core::{Error, Result, Sign};

use super::MapScale;

/// Share of the magnitudes that a scale of single pixels reaches up to.
const PERCENTILE: f64 = 0.995;

/// `(v − min) / (max − min)`; zeros where all values are the same.
pub fn min_max(values: &[f64]) -> Vec<f64> {
    let (low, high) = ends(values.iter().copied());
    values.iter().map(|&v| share(v, low, high)).collect()
}

/// `(v − low) / (high − low)`, at least 0 and at most 1.
///
/// # Errors
/// `low` is not less than `high`, or one of them is not finite.
pub fn between(values: &[f64], low: f64, high: f64) -> Result<Vec<f64>> {
    fixed(low, high)?;
    Ok(values.iter().map(|&v| share(v, low, high)).collect())
}

fn fixed(low: f64, high: f64) -> Result<()> {
    match low < high && (high - low).is_finite() {
        true => Ok(()),
        false => Err(Error::request(format!("a scale from {low} to {high} is none: its ends must be finite, the lower one less"))),
    }
}

fn share(v: f64, low: f64, high: f64) -> f64 {
    if high > low { ((v - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 }
}

/// Smallest and largest; 0 and 0 of nothing.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.map(|v| (v, v)).reduce(|(low, high), (v, _)| (low.min(v), high.max(v))).unwrap_or((0.0, 0.0))
}

/// The ends of a scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    pub(crate) low: f64,
    pub(crate) high: f64,
    sign: Sign,
    /// Scores beyond the ends exist.
    pub(crate) clipped: bool,
}

impl Range {
    /// The scale of these scores, `single` pixels or larger parts of a picture. With a sign it is symmetric about 0.
    pub(crate) fn of(values: &[f64], sign: Sign, scale: MapScale, single: bool) -> Result<Self> {
        let (smallest, largest) = ends(values.iter().copied());
        let (low, high) = match scale {
            MapScale::Fixed { low, high } => {
                fixed(low, high)?;
                (low, high)
            }
            MapScale::Auto if single && values.len() > 1 => {
                let most = percentile(values.iter().map(|v| v.abs()).collect());
                // Fewer scores than half a percent that are not 0 still are to be seen.
                if most > 0.0 { (smallest.max(-most), largest.min(most)) } else { (smallest, largest) }
            }
            _ => (smallest, largest),
        };
        let (low, high) = match sign {
            Sign::Signed => (-low.abs().max(high.abs()), low.abs().max(high.abs())),
            Sign::Unsigned => (low, high),
        };
        Ok(Range { low, high, sign, clipped: smallest < low || largest > high })
    }

    /// −1 to 1 with a sign, 0 to 1 without; 0 where all scores are the same.
    pub(crate) fn strength(&self, v: f64) -> f64 {
        match self.sign {
            Sign::Signed if self.high > 0.0 => (v / self.high).clamp(-1.0, 1.0),
            Sign::Signed => 0.0,
            Sign::Unsigned => share(v, self.low, self.high),
        }
    }

    /// Whether nothing stands out.
    pub(crate) fn is_flat(&self) -> bool {
        self.low >= self.high
    }
}

fn percentile(mut magnitudes: Vec<f64>) -> f64 {
    let at = ((magnitudes.len() - 1) as f64 * PERCENTILE).round() as usize;
    *magnitudes.select_nth_unstable_by(at, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn min_max_runs_from_0_to_1_and_a_constant_map_is_zeros() {
        assert_eq!(min_max(&[2.0, 4.0, 3.0]), [0.0, 1.0, 0.5]);
        assert_eq!(min_max(&[7.0; 3]), [0.0; 3]);
        assert_eq!(min_max(&[]), [0.0; 0]);
    }

    #[test]
    fn a_fixed_scale_cuts_off_what_lies_beyond() {
        assert_eq!(between(&[-1.0, 0.0, 1.0, 9.0], 0.0, 2.0).unwrap(), [0.0, 0.0, 0.5, 1.0]);
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert!(between(&[0.0], low, high).unwrap_err().to_string().starts_with(&format!("a scale from {low} to {high} is none")));
        }
    }

    #[test]
    fn zero_is_in_the_middle_of_a_signed_scale() {
        let range = Range::of(&[-1.0, 0.0, 4.0], Sign::Signed, MapScale::MinMax, false).unwrap();
        assert_eq!([-4.0, -1.0, 0.0, 4.0].map(|v| range.strength(v)), [-1.0, -0.25, 0.0, 1.0]);
        let fixed = Range::of(&[1.0], Sign::Signed, MapScale::Fixed { low: -1.0, high: 2.0 }, false).unwrap();
        assert_eq!((fixed.low, fixed.high), (-2.0, 2.0));
    }

    #[test]
    fn zeros_and_constants_are_flat() {
        for (values, sign) in [(&[0.0; 3][..], Sign::Signed), (&[5.0; 3], Sign::Unsigned), (&[], Sign::Signed), (&[], Sign::Unsigned)] {
            let range = Range::of(values, sign, MapScale::Auto, false).unwrap();
            assert!(range.is_flat() && range.strength(5.0) == 0.0);
        }
    }

    #[test]
    fn a_few_stray_pixels_do_not_set_the_scale() {
        let mut values = vec![1.0; 1000];
        values[7] = 500.0;
        values[8] = -2.0;
        assert_eq!(Range::of(&values, Sign::Signed, MapScale::Auto, true).unwrap().high, 1.0);
        assert!(Range::of(&values, Sign::Signed, MapScale::Auto, true).unwrap().clipped);
        assert_eq!(Range::of(&values, Sign::Signed, MapScale::Auto, false).unwrap().high, 500.0);
        let one = Range::of(&[&[0.0; 999][..], &[3.0]].concat(), Sign::Signed, MapScale::Auto, true).unwrap();
        assert_eq!(one.high, 3.0);
    }
}

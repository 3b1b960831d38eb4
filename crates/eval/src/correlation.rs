//! Do two attributions put the same features in the same order?
//!
//! ```text
//! ρ = Σ (r_i − r̄)(q_i − r̄) / √( Σ (r_i − r̄)² · Σ (q_i − r̄)² ),   r̄ = (n + 1)/2
//! ```
//!
//! with r, q the ranks of the two lists, the average of their ranks to equal numbers (Spearman 1904; Pearson's correlation of ranks, which
//! stays right with ties where `1 − 6Σd²/(n³ − n)` does not).
//!
//! Deliberately absent: significance (features of one text are not independent) and weighting of the top ranks.

use pellucid_core::{Error, Result};

/// Spearman's rank correlation, −1 to 1, ties sharing their average rank.
///
/// # Errors
/// Lists of different lengths or of fewer than two numbers; a number that is none; a list whose numbers are all equal (it has no order).
pub fn rank_correlation(a: &[f64], b: &[f64]) -> Result<f64> {
    if a.len() != b.len() {
        return Err(Error::request(format!(
            "rank correlation needs two lists of the same length, not {} and {} numbers",
            a.len(),
            b.len()
        )));
    }
    if a.len() < 2 {
        return Err(Error::request(format!("rank correlation needs at least 2 numbers in each list, not {}", a.len())));
    }
    let (r, q) = (centred_ranks(a, "first")?, centred_ranks(b, "second")?);
    let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
    // Rounding alone can leave the interval.
    Ok((dot(&r, &q) / (dot(&r, &r).sqrt() * dot(&q, &q).sqrt())).clamp(-1.0, 1.0))
}

/// Rank of each number, ties sharing the average, less the mean rank.
fn centred_ranks(numbers: &[f64], which: &str) -> Result<Vec<f64>> {
    if let Some(index) = numbers.iter().position(|x| x.is_nan()) {
        return Err(Error::request(format!("number {index} of the {which} list is NaN, which has no rank")));
    }
    if numbers.iter().all(|x| *x == numbers[0]) {
        return Err(Error::request(format!(
            "the {} numbers of the {which} list are all {}, so they have no order to compare",
            numbers.len(),
            numbers[0]
        )));
    }
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    // Neither is NaN; `total_cmp` would part −0 from 0.
    order.sort_by(|&i, &j| numbers[i].partial_cmp(&numbers[j]).unwrap_or(std::cmp::Ordering::Equal));
    let middle = (numbers.len() - 1) as f64 / 2.0;
    let mut ranks = vec![0.0; numbers.len()];
    let mut first = 0;
    for tied in order.chunk_by(|&i, &j| numbers[i] == numbers[j]) {
        let rank = first as f64 + (tied.len() - 1) as f64 / 2.0;
        tied.iter().for_each(|&i| ranks[i] = rank - middle);
        first += tied.len();
    }
    Ok(ranks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: &[f64], b: &[f64], expected: f64) {
        let rho = rank_correlation(a, b).unwrap();
        // A few products and a division in f64.
        assert!((rho - expected).abs() < 1e-14, "{rho} instead of {expected}");
    }

    #[test]
    fn the_same_order_is_one_and_the_reverse_is_minus_one() {
        near(&[1., 2., 3.], &[10., 200., 3000.], 1.0);
        near(&[1., 2., 3.], &[0., -1., f64::NEG_INFINITY], -1.0);
        near(&[5., -5.], &[1., 0.], 1.0);
    }

    #[test]
    fn without_ties_it_is_the_textbook_formula() {
        // Ranks 1 2 3 4 5 against 2 1 4 3 5: Σd² = 4, 1 − 6·4/(125 − 5) = 0.8.
        near(&[10., 20., 30., 40., 50.], &[0.2, 0.1, 0.4, 0.3, 0.5], 0.8);
    }

    #[test]
    fn ties_share_their_average_rank() {
        // Ranks less their mean: −1.5 0 0 1.5 against −1.5 −0.5 0.5 1.5: 4.5 / √(4.5 · 5) = √0.9.
        near(&[1., 2., 2., 3.], &[1., 2., 3., 4.], 0.9_f64.sqrt());
        // 0 −0 1 against 1 0 0 have ranks −.5 −.5 1 and 1 −.5 −.5: −0.75 / 1.5.
        near(&[0., -0., 1.], &[1., 0., 0.], -0.5);
    }

    #[test]
    fn lists_without_an_order_are_refused() {
        let message = |a: &[f64], b: &[f64]| rank_correlation(a, b).unwrap_err().to_string();
        assert_eq!(message(&[1., 2.], &[1., 2., 3.]), "rank correlation needs two lists of the same length, not 2 and 3 numbers");
        assert_eq!(message(&[1.], &[2.]), "rank correlation needs at least 2 numbers in each list, not 1");
        assert_eq!(message(&[], &[]), "rank correlation needs at least 2 numbers in each list, not 0");
        assert_eq!(message(&[1., 2.], &[4., 4.]), "the 2 numbers of the second list are all 4, so they have no order to compare");
        assert_eq!(message(&[f64::NAN, 2.], &[4., 5.]), "number 0 of the first list is NaN, which has no rank");
    }
}

//! Nodes and weights on 0…1 for integrals along a path.

use pellucid_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Where a path is sampled, and how much each sample counts. *n* is the number of steps, *k* counts from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quadrature {
    /// The nodes that integrate polynomials up to degree 2n − 1 exactly. The default.
    #[default]
    GaussLegendre,
    /// k/(n−1), weights 1/n, half of that at both ends: they sum to 1 − 1/n, as in the published code.
    Trapezoid,
    /// (k+½)/n, weights 1/n.
    Midpoint,
    /// k/n, weights 1/n.
    Left,
    /// (k+1)/n, weights 1/n.
    Right,
}

/// More steps than anyone needs; above it a number is a mistake.
const MOST: usize = 10_000;

impl Quadrature {
    /// # Errors
    /// Fewer steps than the rule needs, or more than 10 000.
    pub(crate) fn check(self, steps: usize) -> Result<()> {
        let least = if self == Quadrature::Trapezoid { 2 } else { 1 };
        if (least..=MOST).contains(&steps) {
            return Ok(());
        }
        let plural = if least == 1 { "" } else { " by trapezoids" };
        Err(Error::request(format!("{steps} steps cannot integrate a path{plural}; give {least} to {MOST}")))
    }

    /// `(node, weight)`, nodes from 0 to 1. `steps` has been checked.
    pub(crate) fn nodes(self, steps: usize) -> Vec<(f64, f64)> {
        let n = steps as f64;
        let even = |node: &dyn Fn(f64) -> f64| (0..steps).map(|k| (node(k as f64), 1.0 / n)).collect();
        match self {
            Quadrature::GaussLegendre => gauss_legendre(steps),
            Quadrature::Midpoint => even(&|k| (k + 0.5) / n),
            Quadrature::Left => even(&|k| k / n),
            Quadrature::Right => even(&|k| (k + 1.0) / n),
            Quadrature::Trapezoid => {
                let mut nodes: Vec<_> = even(&|k| k / (n - 1.0));
                nodes[0].1 /= 2.0;
                nodes[steps - 1].1 /= 2.0;
                nodes
            }
        }
    }
}

/// Roots of the Legendre polynomial P_n by Newton's method, moved from −1…1 to 0…1; weights 2 / ((1 − t²)·P'_n(t)²), halved.
fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let root = |k: usize| {
        // A well-known first guess, near enough for Newton to stay with the k-th root.
        let mut t = -(std::f64::consts::PI * (k as f64 + 0.75) / (n as f64 + 0.5)).cos();
        for _ in 0..100 {
            let (value, slope) = legendre(n, t);
            let step = value / slope;
            t -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        let slope = legendre(n, t).1;
        ((1.0 + t) / 2.0, 1.0 / ((1.0 - t * t) * slope * slope))
    };
    (0..n).map(root).collect()
}

/// P_n(t) and its derivative, by (j+1)·P_{j+1} = (2j+1)·t·P_j − j·P_{j−1}.
fn legendre(n: usize, t: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, t);
    for j in 1..n {
        let j = j as f64;
        (before, value) = (value, ((2.0 * j + 1.0) * t * value - j * before) / (j + 1.0));
    }
    (value, n as f64 * (t * value - before) / (t * t - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integral(rule: Quadrature, steps: usize, of: impl Fn(f64) -> f64) -> f64 {
        rule.nodes(steps).into_iter().map(|(x, w)| w * of(x)).sum()
    }

    #[test]
    fn gauss_legendre_integrates_polynomials_of_twice_its_degree_exactly() {
        for steps in 1..=40 {
            for degree in 0..2 * steps as i32 {
                let got = integral(Quadrature::GaussLegendre, steps, |x| x.powi(degree));
                assert!((got - 1.0 / f64::from(degree + 1)).abs() < 1e-14, "{steps} steps, degree {degree}: {got}");
            }
        }
        let beyond = integral(Quadrature::GaussLegendre, 2, |x| x.powi(4));
        assert!((beyond - 0.2).abs() > 1e-3, "two steps cannot do degree 4");
    }

    #[test]
    fn nodes_go_up_inside_the_path_and_weights_add_up_to_one() {
        for rule in [Quadrature::GaussLegendre, Quadrature::Midpoint, Quadrature::Left, Quadrature::Right] {
            for steps in [1, 2, 3, 50, 500] {
                let nodes = rule.nodes(steps);
                assert!((nodes.iter().map(|n| n.1).sum::<f64>() - 1.0).abs() < 1e-13, "{rule:?} {steps}");
                assert!(nodes.iter().all(|n| (0.0..=1.0).contains(&n.0) && n.1 > 0.0) && nodes.is_sorted_by(|a, b| a.0 < b.0), "{rule:?}");
            }
        }
    }

    #[test]
    fn even_rules_are_what_the_case_format_says() {
        assert_eq!(Quadrature::Midpoint.nodes(2), [(0.25, 0.5), (0.75, 0.5)]);
        assert_eq!(Quadrature::Left.nodes(2), [(0.0, 0.5), (0.5, 0.5)]);
        assert_eq!(Quadrature::Right.nodes(2), [(0.5, 0.5), (1.0, 0.5)]);
        assert_eq!(Quadrature::Trapezoid.nodes(4).iter().map(|n| n.1).collect::<Vec<_>>(), [0.125, 0.25, 0.25, 0.125]);
        assert_eq!(Quadrature::Trapezoid.nodes(3).iter().map(|n| n.0).collect::<Vec<_>>(), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn a_path_needs_steps() {
        assert!(Quadrature::GaussLegendre.check(1).is_ok() && Quadrature::Trapezoid.check(2).is_ok());
        assert_eq!(Quadrature::Left.check(0).unwrap_err().to_string(), "0 steps cannot integrate a path; give 1 to 10000");
        assert!(Quadrature::Trapezoid.check(1).unwrap_err().to_string().contains("by trapezoids; give 2 to"));
        assert!(Quadrature::Midpoint.check(10_001).is_err());
    }
}

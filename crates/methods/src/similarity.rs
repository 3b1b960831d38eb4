//! Similarity between positions by the cosine of their input embeddings (before positions are added): of tokens their rows of the token table, of
//! patches what the model projects them to.
//!
//! Source: AtMan (Deiseroth et al. 2023, arXiv 2301.08110), eq. 5–6: tokens that mean nearly the same are suppressed together.

use pellucid_core::{Engine, Input, Result};
use serde::{Deserialize, Serialize};

/// Which other positions are suppressed along with one, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Similarity {
    /// κ, 0 to 1: positions with a cosine of at least this are neighbours.
    pub threshold: f64,
    /// Whether a neighbour's factor depends on its cosine c, `(1 − f)(1 − c) + f`, or is f itself.
    #[serde(default = "yes")]
    pub coupled: bool,
    /// At most so many positions are suppressed together, the most similar first; the position itself counts. `None`: no limit.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Whether a feature all of whose positions an earlier feature suppressed along with its own gets that one's score, instead of a run of its
    /// own: fewer runs, and equal scores within a neighbourhood. Order matters: the first feature of a neighbourhood speaks for it. Only a
    /// feature that was run covers others.
    #[serde(default)]
    pub skip_covered: bool,
}

fn yes() -> bool {
    true
}

impl Similarity {
    /// The published form: coupled, without limit.
    pub fn new(threshold: f64) -> Self {
        Self { threshold, coupled: true, limit: None, skip_covered: false }
    }

    /// Neighbours of position `i` with their factors; `cosines` is row i of [`Directions::cosines`], `f` the factor of i itself.
    pub fn neighbours(&self, i: usize, cosines: &[f64], f: f64) -> Vec<(usize, f64)> {
        let mut near: Vec<usize> = (0..cosines.len()).filter(|&j| j != i && cosines[j] >= self.threshold).collect();
        if let Some(limit) = self.limit {
            near.sort_by(|a, b| cosines[*b].total_cmp(&cosines[*a]));
            near.truncate(limit.saturating_sub(1));
        }
        near.into_iter().map(|j| (j, self.factor(cosines[j], f))).collect()
    }

    fn factor(&self, cosine: f64, f: f64) -> f64 {
        match (self.coupled, cosine) {
            (false, _) => f,
            (true, c) if (0.0..=1.0).contains(&c) => (1.0 - f) * (1.0 - c) + f,
            (true, _) => 1.0,
        }
    }
}

/// Input embeddings as unit vectors, `[position, width]`. Symmetric cosines come from products of its rows.
pub struct Directions {
    unit: Vec<f64>,
    width: usize,
}

impl Directions {
    /// Of the symbols of an input.
    ///
    /// # Errors
    /// A token outside the vocabulary.
    pub fn of(engine: &Engine<'_>, input: &Input) -> Result<Self> {
        let mut unit = engine.symbol_embeddings(input)?;
        let width = unit.len() / input.len().max(1);
        for row in unit.chunks_exact_mut(width.max(1)) {
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-8);
            row.iter_mut().for_each(|x| *x /= norm);
        }
        Ok(Self { unit, width })
    }

    /// Cosines of position `i` with every position, clipped to −1…1; of equal rows exactly 1, so that κ = 1 finds them.
    pub fn cosines(&self, i: usize) -> Vec<f64> {
        let row = |j: usize| &self.unit[j * self.width..(j + 1) * self.width];
        let product = |j| row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum::<f64>();
        let cosine = |j| if row(i) == row(j) && product(j) > 0.5 { 1.0 } else { product(j).clamp(-1.0, 1.0) };
        (0..self.unit.len() / self.width).map(cosine).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coupled_factor_runs_from_one_at_cosine_zero_to_f_at_cosine_one() {
        let s = Similarity::new(0.0);
        let near = s.neighbours(0, &[1.0, 0.75, 0.6, 0.0, -0.1], 0.1);
        let expected = [(1, 0.325), (2, 0.46), (3, 1.0)]; // specs: f = 0.1 gives .325 at .75 and .46 at .6
        assert_eq!(near.len(), 3);
        near.iter().zip(expected).for_each(|(g, e)| assert!(g.0 == e.0 && (g.1 - e.1).abs() < 1e-12, "{near:?}"));
    }

    #[test]
    fn the_limit_counts_the_position_itself_and_keeps_the_most_similar() {
        let s = Similarity { limit: Some(2), coupled: false, ..Similarity::new(0.5) };
        assert_eq!(s.neighbours(1, &[0.6, 1.0, 0.9], 0.1), vec![(2, 0.1)]);
        assert_eq!(Similarity { limit: Some(1), ..s }.neighbours(1, &[0.6, 1.0, 0.9], 0.1), vec![]);
    }

    #[test]
    fn the_threshold_itself_counts_as_near() {
        assert_eq!(Similarity::new(0.6).neighbours(0, &[1.0, 0.6, 0.599], 1.0).len(), 1);
    }
}

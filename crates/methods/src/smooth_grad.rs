//! SmoothGrad: the mean of gradients at points around the input.
//!
//! ```text
//! gradient = 1/m Σ_k ∂ score / ∂ e  at  e + ε_k        ε_k ~ N(0, σ²)        σ = sigma · (max e − min e)        score = ‖gradient‖₂
//! ```
//!
//! Source: Smilkov et al. 2017 (arXiv 1706.03825), eq. 1; noise is relative to the range of the input's embedding, or of the picture's pixels as the
//! model is given them, 0.1 to 0.2 in the paper.
//! Each sample has its own stream of chance, so that more samples keep the earlier ones, and a contrast meets the same noise on the prompt.
//! Magnitudes and contrast: as saliency. Promise: the same seed gives the same scores; a sigma of 0 gives saliency.
//! Passes: one input up for the scores; one up and one down a sample, in groups that fit the memory. Memory: as saliency, for each sample of a group.

use pellucid_core::{Engine, Error, Method, Outcome, Question, Result, Sign, model::Description, rules::Rules, walk::Estimate};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Embedded, Entry, NormalizeScores, Reduce, Wrt, embedding::Space, points::Points, propagation::Plan, reduction::Reduction};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "smooth-grad",
    summary: "averages gradients at noisy copies of the embeddings",
    needs: "gradients: walks down",
    promise: "the same seed gives the same scores; without noise it is saliency; a unit after a target token scores 0 there",
    cost: "one walk up and one down a sample, many samples together; memory of one row of d_model a sample, position and layer",
    source: "Smilkov et al. 2017, arXiv 1706.03825",
    docs: include_str!("smooth_grad.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<SmoothGrad>("smooth-grad", parameters)?.checked()?)),
};

/// More samples than anyone needs; above it a number is a mistake.
const MOST: usize = 10_000;

/// Parameters of SmoothGrad.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmoothGrad {
    /// Noisy copies, at least 1.
    pub samples: usize,
    /// Standard deviation of the noise, as a part of the range (largest minus smallest number) of the input's embedding or pixels; 0 or
    /// above.
    pub sigma: f64,
    /// Where chance begins.
    pub seed: u64,
    /// What the gradient is taken of.
    pub wrt: Wrt,
    /// How the entries of a position become one score.
    pub reduce: Reduce,
    /// Whether magnitudes of entries are taken first.
    pub absolute: bool,
    /// What is done to the scores of all positions.
    pub normalize: NormalizeScores,
}

impl Default for SmoothGrad {
    fn default() -> Self {
        Self {
            samples: 50,
            sigma: 0.15,
            seed: 0,
            wrt: Wrt::default(),
            reduce: Reduce::L2,
            absolute: false,
            normalize: NormalizeScores::default(),
        }
    }
}

impl SmoothGrad {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// Too few or too many samples, a sigma that is negative or not finite, shares of signed scores.
    pub fn checked(self) -> Result<Self> {
        if !(1..=MOST).contains(&self.samples) {
            return Err(Error::request(format!("{} samples have no mean to take; give 1 to {MOST}", self.samples)));
        }
        if !(self.sigma >= 0.0 && self.sigma.is_finite()) {
            return Err(Error::request(format!(
                "sigma is {}; it is a part of the embedding's range, 0 or above, usually 0.1 to 0.2",
                self.sigma
            )));
        }
        self.reduction().check()?;
        Ok(self)
    }

    fn points<'a>(&self, engine: &'a Engine<'a>, question: &Question) -> Result<Points<'a>> {
        let plan = Plan::new(engine, question, question.target.score, &[Rules::GRADIENT])?;
        Ok(Points { engine, plan, space: self.space(engine.model.description())?, count: self.samples })
    }

    fn space(&self, model: &Description) -> Result<Space> {
        Space::of(self.wrt, Embedded::Once, model)
    }

    /// A noisy copy of an embedding, or of a picture. Its first `learned` numbers are those of rows that have none.
    fn noisy(&self, clean: &[f64], learned: usize, sample: usize) -> Vec<f64> {
        let (least, largest) = clean[learned..].iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(*x), b.max(*x)));
        let deviation = self.sigma * (largest - least);
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed);
        chance.set_stream(sample as u64);
        clean.iter().map(|x| x + deviation * normal(&mut chance)).collect()
    }

    fn reduction(&self) -> Reduction {
        Reduction { reduce: self.reduce, absolute: self.absolute, normalize: self.normalize }
    }
}

/// A draw from N(0, 1) out of two even ones (Box and Muller 1958).
fn normal(chance: &mut ChaCha8Rng) -> f64 {
    let (a, b): (f64, f64) = (chance.random_range(0.0..1.0), chance.random_range(0.0..1.0));
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos() // 1 − a is above 0
}

impl Method for SmoothGrad {
    fn id(&self) -> &'static str {
        "smooth-grad"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }

    fn sign(&self) -> Sign {
        self.reduction().sign()
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.clone().checked()?.space(model).map(|_| ())
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        self.fits(engine.model.description())?;
        let points = self.points(engine, question)?;
        points.estimate(&points.plan.descents)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        self.fits(engine.model.description())?;
        let points = self.points(engine, question)?;
        let inputs = points.plan.descents.clone();
        let clean = inputs.iter().map(|d| points.space.value(engine, &d.input)).collect::<Result<Vec<_>>>()?;
        let learned = points.space.patches(engine).map_or(0, |p| p.leading * p.width());
        let weights = vec![1.0 / self.samples as f64; self.samples];
        let entries = points.gather(&inputs, &weights, &|d, k| self.noisy(&clean[d], learned, k))?;
        Ok(entries.outcome(question, self.reduction()))
    }
}

//! AtMan: suppress a unit's attention, run again, subtract.
//!
//! For each unit, a control with factor f on its keys in every layer, head and query row; the score is what the target loses:
//!
//! ```text
//! score(unit, token) = log p(token | clean) − log p(token | unit suppressed)
//! ```
//!
//! Source: Deiseroth et al. 2023, *AtMan* (arXiv 2301.08110), eq. 4–6; formulas in the specification of this project.
//! We differ from the published code where it has a fault, and name the published behaviour as an option: the default mode is
//! `log-additive`, theirs `min-shift-all` (it looks at future keys, and factor 0 does not remove a key); our sign is positive for support,
//! theirs negative; several positions may be suppressed together under similarity, theirs takes one.
//! In a model of pictures the units are patches or tiles of them, and similarity is that of projected patches. Patches that look alike can share
//! a run (`skip_covered`), which is not published but in use.
//! Passes and memory: see `perturbation`. Promise: factor 1 gives scores of exactly 0; a unit after a target token scores 0 there,
//! unless similarity suppresses an earlier position along with it.

use std::collections::BTreeMap;

use pellucid_core::{
    Control, Engine, Error, FeaturePositions, Input, Method, Mode, Outcome, Question, Result,
    model::Description,
    units::{Overlap, check_factor, check_similarity, effective_factor},
    walk::Estimate,
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    perturbation::{self, Change, Perturb},
    similarity::{Directions, Similarity},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "atman",
    summary: "suppresses the attention to each unit and measures what the target loses",
    needs: "attention that can be controlled; no gradients",
    promise: "factor 1 scores exactly 0; a unit after a target token scores 0 there, unless similarity takes along an earlier one",
    cost: "one walk up with a copy a unit; memory of inference plus one row of d_model a carried row",
    source: "Deiseroth et al. 2023, arXiv 2301.08110",
    docs: include_str!("atman.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<Atman>("atman", parameters)?.checked()?)),
};

/// Parameters of AtMan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Atman {
    /// f: 0 suppresses most, 1 leaves alone, above 1 amplifies.
    pub factor: f64,
    /// How the factor acts.
    pub mode: Mode,
    /// Suppress similar positions too.
    pub similarity: Option<Similarity>,
    /// Layers it acts in; `None`: all.
    pub layers: Option<Vec<usize>>,
    /// How a token that a unit covers in part is treated.
    pub overlap: Overlap,
}

impl Default for Atman {
    fn default() -> Self {
        Self { factor: 0.1, mode: Mode::default(), similarity: None, layers: None, overlap: Overlap::default() }
    }
}

impl Atman {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// A factor that is negative or not finite, κ outside 0…1, a limit of 0, an empty list of layers.
    pub fn checked(self) -> Result<Self> {
        self.check().map(|()| self)
    }

    fn check(&self) -> Result<()> {
        check_factor(self.factor)?;
        if let Some(similarity) = &self.similarity {
            check_similarity(similarity.threshold)?;
            if similarity.limit == Some(0) {
                return Err(Error::request(
                    "a similarity limit of 0 leaves nothing to suppress; it counts the position itself, so give 1 or more",
                ));
            }
        }
        if self.layers.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::request("the list of layers is empty; name at least one, or leave it out for all"));
        }
        Ok(())
    }

    /// The embeddings that similarity is measured on, if it is wanted.
    ///
    /// # Errors
    /// A token outside the vocabulary.
    pub fn directions(&self, engine: &Engine<'_>, input: &Input) -> Result<Option<Directions>> {
        self.similarity.map(|_| Directions::of(engine, input)).transpose()
    }

    /// The factor on every key when `positions` (with their covered fractions) are suppressed; keys that are left alone are missing.
    /// Where several would act on a key, the one farthest from 1 does.
    pub fn factors(&self, directions: Option<&Directions>, positions: &[(usize, f64)]) -> BTreeMap<usize, f64> {
        let mut factors = BTreeMap::new();
        let mut put = |position: usize, factor: f64| {
            let old = factors.entry(position).or_insert(1.0f64);
            if (factor - 1.0).abs() > (*old - 1.0).abs() {
                *old = factor;
            }
        };
        for &(position, fraction) in positions {
            let factor = effective_factor(self.factor, fraction, self.overlap);
            put(position, factor);
            if let (Some(similarity), Some(directions)) = (&self.similarity, directions) {
                similarity.neighbours(position, &directions.cosines(position), factor).into_iter().for_each(|(p, f)| put(p, f));
            }
        }
        factors
    }
}

impl Perturb for Atman {
    fn answering(&self, engine: &Engine<'_>, input: &Input, features: &[&FeaturePositions]) -> Result<Vec<usize>> {
        let all = 0..features.len();
        if !self.similarity.is_some_and(|s| s.skip_covered) {
            return Ok(all.collect());
        }
        let directions = self.directions(engine, input)?;
        let mut suppressed: Vec<(usize, BTreeMap<usize, f64>)> = Vec::new();
        let by = |i: usize| {
            let covers =
                |factors: &BTreeMap<usize, f64>| features[i].positions.iter().all(|(p, _)| factors.get(p).is_some_and(|f| *f != 1.0));
            if let Some((earlier, _)) = suppressed.iter().find(|(_, factors)| covers(factors)) {
                return *earlier;
            }
            suppressed.push((i, self.factors(directions.as_ref(), &features[i].positions)));
            i
        };
        Ok(all.map(by).collect())
    }

    fn changes(&self, engine: &Engine<'_>, input: &Input, _: usize, features: &[&FeaturePositions]) -> Result<Vec<Change>> {
        let directions = self.directions(engine, input)?;
        let change = |positions: &[(usize, f64)]| {
            let factors = self.factors(directions.as_ref(), positions);
            Ok(Change { input: None, control: Control::new(self.mode, factors, self.layers.as_deref())?, removed: Vec::new() })
        };
        features.iter().map(|f| change(&f.positions)).collect()
    }
}

impl Method for Atman {
    fn id(&self) -> &'static str {
        "atman"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.check()?;
        match self.layers.iter().flatten().find(|l| **l >= model.layers) {
            Some(layer) => Err(Error::request(format!(
                "layer {layer} is beyond the model, which has {} layers (0 to {})",
                model.layers,
                model.layers - 1
            ))),
            None => Ok(()),
        }
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        self.fits(engine.model.description())?;
        perturbation::estimate(self, engine, question)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        self.fits(engine.model.description())?;
        perturbation::attribute(self, engine, question)
    }
}

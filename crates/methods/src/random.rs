//! The random control: scores drawn evenly from −1…1. What any method must beat in an evaluation.
//!
//! Passes: one clean copy, for the target's own numbers. Promise: the same seed gives the same scores.

use pellucid_core::{Control, Engine, Method, Outcome, Question, Result, Symbol, model::Description, walk::Estimate};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    perturbation::{self, Change, Perturb},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "random",
    summary: "scores by chance, as a control for evaluations",
    promise: "the same seed gives the same scores",
    cost: "one clean copy up",
    source: "none needed",
    make: |parameters| Ok(Box::new(crate::parse::<Random>("random", parameters)?)),
};

/// Parameters of the random control.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Random {
    /// Where chance begins.
    pub seed: u64,
}

impl Perturb for Random {
    fn changes(&self, _: &Engine<'_>, _: &[Symbol], question: &Question) -> Result<Vec<Change>> {
        let unchanged = || Change { symbols: None, control: Control::none(), removed: 0 };
        Ok(question.features.iter().map(|_| unchanged()).collect())
    }
}

impl Method for Random {
    fn id(&self) -> &'static str {
        "random"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }

    fn fits(&self, _: &Description) -> Result<()> {
        Ok(())
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        perturbation::estimate(self, engine, question)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        let mut outcome = perturbation::attribute(self, engine, question)?;
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed);
        let scores = outcome.per_target_token.iter_mut().chain(&mut outcome.per_contrast_token).flatten();
        scores.for_each(|s| *s = chance.random_range(-1.0..1.0));
        Ok(outcome)
    }
}

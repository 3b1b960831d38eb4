//! The random control: scores drawn evenly from −1…1. What any method must beat in an evaluation.
//!
//! Passes: one clean copy, for the target's own numbers. Promise: the same seed gives the same scores;
//! a unit after a target token scores 0 there.

use pellucid_core::{Engine, FeaturePositions, Input, Method, Outcome, Part, Question, Result, model::Description, walk::Estimate};
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
    needs: "nothing",
    promise: "the same seed gives the same scores; a unit after a target token scores 0 there",
    cost: "one clean copy up",
    source: "none needed",
    docs: include_str!("random.rs"),
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
    fn changes(&self, _: &Engine<'_>, _: &Input, _: usize, _: &[&FeaturePositions]) -> Result<Vec<Change>> {
        Ok(Vec::new()) // it runs without features
    }
}

/// The question without its features: the clean copies alone.
fn clean(engine: &Engine<'_>, question: &Question) -> Result<Question> {
    question.check(engine.model)?;
    Ok(Question { features: Vec::new(), ..question.clone() })
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
        perturbation::estimate(self, engine, &clean(engine, question)?)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        let mut outcome = perturbation::attribute(self, engine, &clean(engine, question)?)?;
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed);
        let mut draw = |precedes: bool| if precedes { chance.random_range(-1.0..1.0) } else { 0.0 };
        let prompt = question.prompt.len();
        for feature in &question.features {
            let precedes = |t: usize| feature.positions.iter().any(|p| p.0 < prompt + t);
            outcome.per_target_token.push((0..question.target.tokens.len()).map(|t| draw(precedes(t))).collect());
        }
        for (feature, contrast) in question.features.iter().flat_map(|f| question.target.contrast.iter().map(move |c| (f, c))) {
            outcome.per_contrast_token.push(contrast.iter().map(|_| draw(feature.part == Part::Prompt)).collect());
        }
        Ok(outcome)
    }
}

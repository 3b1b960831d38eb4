//! Occlusion, also called feature ablation or leave-one-out: replace a unit's tokens, or delete them, run again, subtract.
//!
//! ```text
//! score(unit, token) = score(token | clean) − score(token | unit replaced)
//! ```
//!
//! Source: Zeiler and Fergus 2014 (arXiv 1311.2901) for pictures; Li et al. 2016 (arXiv 1612.08220) for words.
//! A replaced token keeps its position; deleting moves everything after it. Passes and memory: see `perturbation`.
//! Earlier target tokens may be replaced, not deleted: their own rows are what is asked.

use std::sync::Arc;

use pellucid_core::{
    Control, Engine, Error, FeaturePositions, Input, Method, Outcome, Question, Result, Symbol, model::Description, walk::Estimate,
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    perturbation::{self, Change, Perturb},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "occlusion",
    summary: "replaces or deletes each unit and measures what the target loses",
    needs: "any model that reads tokens",
    promise: "replacing a token by itself scores exactly 0",
    cost: "one walk up with a copy a unit; memory of inference plus one row of d_model a carried row",
    source: "Zeiler and Fergus 2014, arXiv 1311.2901; Li et al. 2016, arXiv 1612.08220",
    docs: include_str!("occlusion.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<Occlusion>("occlusion", parameters)?)),
};

/// What takes a token's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Replace {
    /// A row of zeros in place of its embedding; positions are added as usual.
    #[default]
    Zero,
    /// Another token.
    Token(u32),
    /// Nothing: what follows moves up.
    Delete,
}

/// Parameters of occlusion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Occlusion {
    /// What takes a token's place.
    pub replace: Replace,
}

impl Perturb for Occlusion {
    fn changes(&self, engine: &Engine<'_>, input: &Input, prompt: usize, features: &[&FeaturePositions]) -> Result<Vec<Change>> {
        features.iter().map(|f| self.change(engine, input, prompt, f)).collect()
    }
}

impl Occlusion {
    fn change(&self, engine: &Engine<'_>, input: &Input, prompt: usize, feature: &FeaturePositions) -> Result<Change> {
        let covered = |p: usize| feature.positions.iter().any(|c| c.0 == p);
        let by = |symbol: Symbol| {
            let symbols = input.symbols.iter().enumerate();
            input.with_symbols(symbols.map(|(p, s)| if covered(p) { symbol.clone() } else { s.clone() }))
        };
        let (input, removed) = match self.replace {
            Replace::Zero => (by(Symbol::Vector(Arc::from(vec![0.0; engine.model.description().d_model]))), Vec::new()),
            Replace::Token(id) => (by(Symbol::Token(id)), Vec::new()),
            Replace::Delete => {
                if let Some((position, _)) = feature.positions.iter().find(|p| p.0 >= prompt) {
                    return Err(Error::request(format!(
                        "position {position} is an earlier target token, which cannot be deleted, only replaced: \
                         leave target tokens out of the features, or replace"
                    )));
                }
                let rest = input.retain(|p| !covered(p));
                let removed: Vec<usize> = (0..input.len()).filter(|p| covered(*p)).collect();
                if removed.len() >= prompt {
                    return Err(Error::request(format!(
                        "deleting this unit would take all {prompt} tokens of the prompt; replace them instead, or use smaller units"
                    )));
                }
                (rest, removed)
            }
        };
        Ok(Change { input: Some(input), control: Control::none(), removed })
    }
}

impl Method for Occlusion {
    fn id(&self) -> &'static str {
        "occlusion"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn fits(&self, model: &Description) -> Result<()> {
        match self.replace {
            Replace::Token(id) if id as usize >= model.vocabulary => {
                Err(Error::request(format!("token id {id} is outside the vocabulary, which has {} tokens", model.vocabulary)))
            }
            _ => Ok(()),
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

//! GIM, gradient interaction modifications: input × a gradient that is not put off by saturated softmaxes.
//!
//! ```text
//! relevance(position) = ⟨e(position), g(position)⟩        g: the gradient of the target's score, but
//!   norm        y = (x − μ)/σ ⊙ γ        σ counts as a constant
//!   gate        y = f(a)·b               half to each factor; f by its derivative, as every activation
//!   attention   O = A·V,  S = Q·Kᵀ       half to A and to V; half of what reaches S to Q and to K;
//!               A = softmax(S)           its derivative is taken at softmax(S/2)
//! ```
//!
//! Source: Edin et al. 2025 (arXiv 2505.17630). The softmax of temperature 2 answers where the true one is saturated, so that several keys that
//! stand in for one another all get their part. No sum is promised.
//! We differ: the signal starts at the score that is asked for, the paper's is a logit or a difference of two. Passes and memory: see
//! `changed_gradient`.

use pellucid_core::{Engine, Method, Outcome, Question, Result, model::Description, rules::Rules, walk::Estimate};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    changed_gradient::{self, At},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "gim",
    summary: "multiplies embeddings with a gradient that sees past saturated attention",
    needs: "gradients: a walk down",
    promise: "a unit after a target token scores 0 there; no sum is promised",
    cost: "one walk up and one down; memory of one row of d_model a position and layer",
    source: "Edin et al. 2025, arXiv 2505.17630",
    docs: include_str!("gim.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<Gim>("gim", parameters)?)),
};

/// Parameters of GIM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gim {
    /// Where relevance is read.
    pub at: At,
}

impl Method for Gim {
    fn id(&self) -> &'static str {
        "gim"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.at.check(model)
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        changed_gradient::estimate(engine, question, Rules::GIM, self.at)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        changed_gradient::attribute(engine, question, Rules::GIM, self.at)
    }
}

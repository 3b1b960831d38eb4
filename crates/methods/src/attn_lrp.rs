//! AttnLRP: relevance through attention, as input × a changed gradient.
//!
//! ```text
//! relevance(position) = ⟨e(position), g(position)⟩        g: the gradient of the target's score, but
//!   norm        y = (x − μ)/σ ⊙ γ        σ counts as a constant
//!   activation  y = f(x)                 f(x)/x in place of f'(x)
//!   gate        y = f(a)·b               half to each factor, then f as an activation
//!   attention   O = A·V,  S = Q·Kᵀ       half to A and to V; half of what reaches S to Q and to K; the softmax by its derivative
//! ```
//!
//! Source: Achtibat et al. 2024 (arXiv 2402.05602), eq. 7 for the uniform rule.
//! We differ: the signal starts at the score that is asked for, the paper's is the logit (see `changed_gradient`).
//! Relevance does not add up to the score: the softmax's derivative does not keep it, and biases take a share; no sum is promised.
//! Passes and memory: see `changed_gradient`.

use pellucid_core::{Engine, Method, Outcome, Question, Result, model::Description, rules::Rules, walk::Estimate};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    changed_gradient::{self, At},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "attn-lrp",
    summary: "propagates relevance through attention, norms and gates down to the embeddings",
    needs: "gradients: a walk down",
    promise: "a unit after a target token scores 0 there; no sum is promised",
    cost: "one walk up and one down; memory of one row of d_model a position and layer",
    source: "Achtibat et al. 2024, arXiv 2402.05602",
    docs: include_str!("attn_lrp.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<AttnLrp>("attn-lrp", parameters)?)),
};

/// Parameters of AttnLRP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttnLrp {
    /// Where relevance is read.
    pub at: At,
}

impl Method for AttnLrp {
    fn id(&self) -> &'static str {
        "attn-lrp"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.at.check(model)
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        changed_gradient::estimate(engine, question, Rules::ATTN_LRP, self.at)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        changed_gradient::attribute(engine, question, Rules::ATTN_LRP, self.at)
    }
}

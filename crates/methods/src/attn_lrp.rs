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
//! The γ rule for linear maps outside attention is an option, see `changed_gradient`.
//! Relevance does not add up to the score: the softmax's derivative does not keep it, and biases take a share; no sum is promised.
//! Passes and memory: see `changed_gradient`.

use pellucid_core::{
    Engine, Method, Outcome, Question, Result,
    model::Description,
    rules::{Gamma, Rules},
    walk::Estimate,
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    changed_gradient::{self, At},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "attn-lrp",
    summary: "propagates relevance through attention, norms and gates down to the embeddings or pixels",
    needs: "gradients: a walk down",
    promise: "a unit after a target token scores 0 there; no sum is promised",
    cost: "one walk up and one down; memory of one row of d_model a position and layer",
    source: "Achtibat et al. 2024, arXiv 2402.05602",
    docs: include_str!("attn_lrp.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<AttnLrp>("attn-lrp", parameters)?.checked()?)),
};

/// Parameters of AttnLRP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttnLrp {
    /// Where relevance is read.
    pub at: At,
    /// The γ rule of linear maps outside attention; none: plain.
    pub gamma: Option<Gamma>,
}

impl AttnLrp {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// A γ below 0, or too large.
    pub fn checked(self) -> Result<Self> {
        self.gamma.iter().try_for_each(Gamma::check)?;
        Ok(self)
    }

    /// Relevance entry by entry: for each target token `[position, width of the embedding]`, or `[position, numbers of a patch]`, zeros for
    /// learned rows.
    ///
    /// # Errors
    /// As [`Method::attribute`].
    pub fn entries(&self, engine: &Engine<'_>, question: &Question) -> Result<Vec<Vec<f64>>> {
        Ok(changed_gradient::entries(engine, question, self.rules(), self.at)?.of_target())
    }

    fn rules(&self) -> Rules {
        Rules::ATTN_LRP.with_gamma(self.gamma)
    }
}

impl Method for AttnLrp {
    fn id(&self) -> &'static str {
        "attn-lrp"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.clone().checked()?.at.check(model)
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        changed_gradient::estimate(engine, question, self.rules(), self.at)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        changed_gradient::attribute(engine, question, self.rules(), self.at)
    }
}

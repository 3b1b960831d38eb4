//! CP-LRP: conservative propagation, relevance that flows through the values alone.
//!
//! ```text
//! relevance(position) = ⟨e(position), g(position)⟩        g: the gradient of the target's score, but
//!   norm        y = (x − μ)/σ ⊙ γ        σ counts as a constant
//!   activation  y = f(x)                 f(x)/x in place of f'(x)
//!   gate        y = f(a)·b               f(a) counts as a constant: all to b
//!   attention   O = A·V                  A counts as a constant: all to V
//! ```
//!
//! Source: Ali et al. 2022 (arXiv 2202.07304), with the rules for activations and gates of Achtibat et al. 2024 (arXiv 2402.05602).
//! Promise, `conservation`: where the score is the logit, no map or norm has a bias and nothing but tokens is embedded (Llama and its
//! relatives), relevance adds up to the logit. Elsewhere biases and embedded positions take a share that no position is given, and nothing is
//! promised; what queries and keys do is never seen.
//! The γ rule for linear maps outside attention is an option, see `changed_gradient`; with it nothing is promised.
//! The signal starts at the score that is asked for, the papers' is the logit. Passes and memory: see `changed_gradient`.

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
    id: "cp-lrp",
    summary: "propagates relevance down to the embeddings or pixels through values alone, patterns being constants",
    needs: "gradients: a walk down",
    promise: "relevance adds up to the logit in models without biases; a unit after a target token scores 0 there",
    cost: "one walk up and one down; memory of one row of d_model a position and layer",
    source: "Ali et al. 2022, arXiv 2202.07304",
    docs: include_str!("cp_lrp.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<CpLrp>("cp-lrp", parameters)?.checked()?)),
};

/// Parameters of CP-LRP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CpLrp {
    /// Where relevance is read.
    pub at: At,
    /// The γ rule of linear maps outside attention; none: plain.
    pub gamma: Option<Gamma>,
}

impl CpLrp {
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
        Rules::CP_LRP.with_gamma(self.gamma)
    }
}

impl Method for CpLrp {
    fn id(&self) -> &'static str {
        "cp-lrp"
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

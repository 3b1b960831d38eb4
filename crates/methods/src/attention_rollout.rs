//! Attention rollout: the patterns of all layers multiplied, each with the residual stream beside it.
//!
//! ```text
//! Â_l = N(1/H · Σ_h A_h,l + I)        R = Â_L ··· Â_s        score(position, token) = R[row of the token, position]
//! ```
//!
//! Source: Abnar & Zuidema 2020 (arXiv 2005.00928), eq. 1 and section 3.2. N divides each row by its sum (a half, as rows of A sum to 1).
//! We carry the row of the target from the last layer down, `row ← row·Â_l`, and build no matrix; the numbers are the same. The target does not
//! matter but for its row: every class has the same rollout, and a contrast is refused.
//! Passes and memory: one walk up, and every block down to `start_layer` once more; one row of numbers. Promise: normalised, scores of all
//! positions sum to 1 (without, to 2 to the number of layers).

use pellucid_core::{
    Engine, Method, Outcome, Question, Result, Sign,
    model::Description,
    walk::{Estimate, down::Combine},
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    carried::{Carry, FirstToken, Layer, Step},
    mixing::no_contrast,
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "attention-rollout",
    summary: "follows attention through all layers, the residual stream counted as attention to oneself",
    needs: "attention; no gradients",
    promise: "scores of all positions sum to 1 (not normalised: to 2 to the number of layers)",
    cost: "one walk up and every block once more; memory of one block's pattern, in parts",
    source: "Abnar & Zuidema 2020, arXiv 2005.00928",
    docs: include_str!("attention_rollout.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<AttentionRollout>("attention-rollout", parameters)?)),
};

/// Parameters of attention rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttentionRollout {
    /// Whether rows are divided by their sums.
    pub normalize: bool,
    /// Layers before it are left out.
    pub start_layer: Layer,
    /// What becomes of position 0.
    pub first_token: FirstToken,
}

impl Default for AttentionRollout {
    fn default() -> Self {
        Self { normalize: true, start_layer: Layer::Number(0), first_token: FirstToken::default() }
    }
}

impl AttentionRollout {
    /// How rows are carried.
    ///
    /// # Errors
    /// A layer beyond the model.
    pub fn carry(&self, model: &Description) -> Result<Carry> {
        let step = if self.normalize { Step::Normalized } else { Step::Add };
        Ok(Carry {
            rules: Vec::new(),
            of: Combine::Pattern,
            step,
            layers: self.start_layer.of(model.layers)?..model.layers,
            identity: true,
        })
    }
}

impl Method for AttentionRollout {
    fn id(&self) -> &'static str {
        "attention-rollout"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn sign(&self) -> Sign {
        Sign::Unsigned
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.carry(model).map(|_| ())
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        no_contrast(self.id(), question)?;
        self.carry(engine.model.description())?.estimate(engine, question, question.target.score)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        no_contrast(self.id(), question)?;
        let carry = self.carry(engine.model.description())?;
        carry.attribute(engine, question, question.target.score, &|row| self.first_token.apply(row))
    }
}

//! Attention: the pattern itself, of one layer, averaged over heads.
//!
//! ```text
//! score(position, token) = 1/H · Σ_h A_h[row of the token, position]
//! ```
//!
//! Source: Vaswani et al. 2017 (arXiv 1706.03762); as an explanation it is a baseline to beat: it says where a row looks, not what it takes from
//! there. For a model that makes one row of several, those rows' mean ([`asked_row`](crate::carried::asked_row)). The target does not matter but for its row, so that a contrast is refused.
//! Passes and memory: one walk up, and the blocks from the last down to `layer` once more. Promise: a row sums to 1.

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
    id: "attention",
    summary: "shows where the row that gives the target looks in one layer",
    needs: "attention; no gradients",
    promise: "scores of all positions sum to 1",
    cost: "one walk up and the last blocks once more; memory of one block's pattern, in parts",
    source: "Vaswani et al. 2017, arXiv 1706.03762",
    docs: include_str!("attention.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<Attention>("attention", parameters)?)),
};

/// Parameters of attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attention {
    /// Whose pattern.
    pub layer: Layer,
    /// What becomes of position 0.
    pub first_token: FirstToken,
}

impl Default for Attention {
    fn default() -> Self {
        Self { layer: Layer::Last, first_token: FirstToken::default() }
    }
}

impl Attention {
    /// How rows are carried: through the one layer.
    ///
    /// # Errors
    /// A layer beyond the model.
    pub fn carry(&self, model: &Description) -> Result<Carry> {
        let layer = self.layer.of(model.layers)?;
        Ok(Carry { rules: Vec::new(), of: Combine::Pattern, step: Step::Replace, layers: layer..layer + 1, identity: true })
    }
}

impl Method for Attention {
    fn id(&self) -> &'static str {
        "attention"
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

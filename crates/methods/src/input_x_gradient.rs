//! Input × gradient: the first-order guess at what the target's score owes to a token's embedding.
//!
//! ```text
//! score(position, token) = ⟨e(position), ∂ score(token) / ∂ e(position)⟩
//! ```
//!
//! Source: Shrikumar et al. 2016 (arXiv 1605.01713); Denil et al. 2014 (arXiv 1412.6815) for words. The default sum keeps the sign; magnitudes
//! (l2, mean-abs, or `absolute`) are options, and against a contrast magnitude is taken from magnitude.
//! No sum is promised: a transformer's norms make the score all but independent of the scale of what they are given.
//! Of a picture, pixels (as the model is given them, normalised) stand in place of embeddings, and a patch's score is the sum of its pixels'.
//! Passes and memory: as saliency.

use pellucid_core::{Engine, Method, Outcome, Question, Result, Sign, model::Description, rules::Rules, walk::Estimate};
use serde::{Deserialize, Serialize};

use crate::{Embedded, Entry, NormalizeScores, Reduce, Wrt, embedding::Space, entries::Entries, reduction::Reduction};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "input-x-gradient",
    summary: "multiplies each token's embedding with the target's gradient there",
    needs: "gradients: a walk down",
    promise: "a unit after a target token scores 0 there; no sum is promised",
    cost: "one walk up and one down; memory of one row of d_model a position and layer",
    source: "Shrikumar et al. 2016, arXiv 1605.01713; Denil et al. 2014, arXiv 1412.6815",
    docs: include_str!("input_x_gradient.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<InputXGradient>("input-x-gradient", parameters)?.checked()?)),
};

/// Parameters of input × gradient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputXGradient {
    /// What the gradient is taken of.
    pub wrt: Wrt,
    /// How the entries of a position become one score.
    pub reduce: Reduce,
    /// Whether magnitudes of entries are taken first.
    pub absolute: bool,
    /// What is done to the scores of all positions.
    pub normalize: NormalizeScores,
    /// How often the input is embedded.
    pub embedded: Embedded,
}

impl Default for InputXGradient {
    fn default() -> Self {
        Self {
            wrt: Wrt::default(),
            reduce: Reduce::Sum,
            absolute: false,
            normalize: NormalizeScores::default(),
            embedded: Embedded::default(),
        }
    }
}

impl InputXGradient {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// Shares of signed scores; anything but the embedding's output embedded twice.
    pub fn checked(self) -> Result<Self> {
        self.reduction().check()?;
        Space::new(self.wrt, self.embedded)?;
        Ok(self)
    }

    /// Embedding times gradient, entry by entry: for each target token `[position, width of the embedding]`, or
    /// `[position, numbers of a patch]`, zeros for learned rows.
    ///
    /// # Errors
    /// As [`Method::attribute`].
    pub fn entries(&self, engine: &Engine<'_>, question: &Question) -> Result<Vec<Vec<f64>>> {
        Ok(self.walk(engine, question)?.of_target())
    }

    fn walk(&self, engine: &Engine<'_>, question: &Question) -> Result<Entries> {
        Entries::of_one_walk(engine, question, Rules::GRADIENT, self.space(engine.model.description())?, |value, gradient| value * gradient)
    }

    fn reduction(&self) -> Reduction {
        Reduction { reduce: self.reduce, absolute: self.absolute, normalize: self.normalize }
    }

    fn space(&self, model: &Description) -> Result<Space> {
        Space::of(self.wrt, self.embedded, model)
    }
}

impl Method for InputXGradient {
    fn id(&self) -> &'static str {
        "input-x-gradient"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn sign(&self) -> Sign {
        self.reduction().sign()
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.clone().checked()?.space(model).map(|_| ())
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        self.fits(engine.model.description())?;
        Entries::estimate_of_one_walk(engine, question, Rules::GRADIENT, self.space(engine.model.description())?)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        self.fits(engine.model.description())?;
        Ok(self.walk(engine, question)?.outcome(question, self.reduction()))
    }
}

//! Saliency: how strongly the target's score reacts to a small change of a token's embedding.
//!
//! ```text
//! score(position, token) = ‖∂ score(token) / ∂ e(position)‖₂
//! ```
//!
//! Source: Simonyan et al. 2014 (arXiv 1312.6034) for pictures, who take the largest magnitude; Li et al. 2016 (arXiv 1506.01066) for words.
//! We differ: the Euclidean norm is the default, for it does not depend on the basis that the embedding is written in. Of a picture, pixels stand in
//! place of embeddings: a pixel's score is the norm over its channels, a patch's that over all its numbers.
//! A magnitude does not say for or against. Each target token has its own; they are added up, and against a contrast the contrast's are taken
//! away: what then remains says which of the two a unit moves more.
//! Passes: one up, one more through each block on the way down, one back for each target token. Memory: a row of `d_model` numbers a position
//! and layer.

use pellucid_core::{Engine, Method, Outcome, Question, Result, Sign, model::Description, rules::Rules, walk::Estimate};
use serde::{Deserialize, Serialize};

use crate::{Embedded, Entry, NormalizeScores, Reduce, Wrt, embedding::Space, entries::Entries, reduction::Reduction};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "saliency",
    summary: "measures how strongly the target reacts to a small change of each token's embedding",
    needs: "gradients: a walk down",
    promise: "never below 0 unless reduced by a signed sum; a unit after a target token scores 0 there",
    cost: "one walk up and one down; memory of one row of d_model a position and layer",
    source: "Simonyan et al. 2014, arXiv 1312.6034; Li et al. 2016, arXiv 1506.01066",
    docs: include_str!("saliency.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<Saliency>("saliency", parameters)?.checked()?)),
};

/// Parameters of saliency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Saliency {
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

impl Default for Saliency {
    fn default() -> Self {
        Self {
            wrt: Wrt::default(),
            reduce: Reduce::L2,
            absolute: false,
            normalize: NormalizeScores::default(),
            embedded: Embedded::default(),
        }
    }
}

impl Saliency {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// Shares of signed scores; anything but the embedding's output embedded twice.
    pub fn checked(self) -> Result<Self> {
        self.reduction().check()?;
        Space::new(self.wrt, self.embedded)?;
        Ok(self)
    }

    /// The gradient itself: for each target token `[position, width of the embedding]`, or
    /// `[position, numbers of a patch]`, zeros for learned rows.
    ///
    /// # Errors
    /// As [`Method::attribute`].
    pub fn entries(&self, engine: &Engine<'_>, question: &Question) -> Result<Vec<Vec<f64>>> {
        Ok(self.walk(engine, question)?.of_target())
    }

    fn walk(&self, engine: &Engine<'_>, question: &Question) -> Result<Entries> {
        Entries::of_one_walk(engine, question, Rules::GRADIENT, self.space(engine.model.description())?, |_, gradient| gradient)
    }

    fn reduction(&self) -> Reduction {
        Reduction { reduce: self.reduce, absolute: self.absolute, normalize: self.normalize }
    }

    fn space(&self, model: &Description) -> Result<Space> {
        Space::of(self.wrt, self.embedded, model)
    }
}

impl Method for Saliency {
    fn id(&self) -> &'static str {
        "saliency"
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

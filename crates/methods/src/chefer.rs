//! Relevance by attention and its gradient: in every layer, attention that the target gains from.
//!
//! ```text
//! Ā_l = 1/H · Σ_h (A_h,l ⊙ ∂y/∂A_h,l)⁺        R ← I, R ← R + Ā_l·R for l = s … L        score(position, token) = R[row of the token, position]
//! ```
//!
//! Source: Chefer et al. 2021b, *Generic Attention-model Explainability* (arXiv 2103.15679), eq. 5–6. With `source: lrp`, the relevance that reaches
//! the pattern under αβ rules (see `lrp`) stands in for A (their option). y is what the question asks about: the logit, the log-probability or
//! the probability; the published code takes the logit. Each target token has its own y, its own gradient and its own row.
//! We carry the row of the target from the last layer down, `row ← row + row·Ā_l`, and build no matrix; the numbers are the same.
//! The identity that R starts from gives the asked position 1 before any attention, beside which relevance is small and a heat map shows nothing
//! else; the paper itself takes it away before it compares rows (eq. 8). It is dropped; `identity: true` keeps it, as published.
//! Passes and memory: one walk down with one signal a target token (two with `source: lrp`, then in f64, see `lrp`). Promise: no score is
//! negative; with the identity, the target's own row keeps at least 1.

use pellucid_core::{
    Engine, Method, Outcome, Question, Result, Sign,
    model::Description,
    rules::{AlphaBeta, Rules},
    walk::{Estimate, down::Combine},
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    carried::{Carry, Layer, Step, double},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "chefer",
    summary: "weighs attention with its gradient and adds it up through the layers",
    needs: "gradients at the attention",
    promise: "no score is negative; with the identity the row of the target keeps at least 1",
    cost: "one walk down with a signal a target token; memory of one block and parts of its pattern",
    source: "Chefer et al. 2021, arXiv 2103.15679",
    docs: include_str!("chefer.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<Chefer>("chefer", parameters)?)),
};

/// What the gradient is multiplied with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The pattern.
    #[default]
    Attention,
    /// The relevance that reaches it, αβ rules `ours`.
    Lrp,
}

/// What becomes of the row in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormalizeScores {
    /// It stays.
    #[default]
    None,
    /// It is divided by its sum.
    Sum,
}

/// Parameters of relevance by attention and its gradient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chefer {
    /// Layers before it are left out.
    pub start_layer: Layer,
    /// What the gradient is multiplied with.
    pub source: Source,
    /// Whether R's identity counts: a score of 1 for the position that is asked, before any attention.
    pub identity: bool,
    /// What becomes of the row in the end.
    pub normalize_scores: NormalizeScores,
}

impl Default for Chefer {
    fn default() -> Self {
        Self { start_layer: Layer::Number(0), source: Source::default(), identity: false, normalize_scores: NormalizeScores::default() }
    }
}

impl Chefer {
    /// How rows are carried.
    ///
    /// # Errors
    /// A layer beyond the model.
    pub fn carry(&self, model: &Description) -> Result<Carry> {
        let (rules, of) = match self.source {
            Source::Attention => (vec![Rules::GRADIENT], Combine::PositiveProduct(0)),
            Source::Lrp => (vec![Rules::GRADIENT, Rules::AlphaBeta(AlphaBeta::Ours)], Combine::PositiveSignals(0, 1)),
        };
        Ok(Carry { rules, of, step: Step::Add, layers: self.start_layer.of(model.layers)?..model.layers, identity: self.identity })
    }

    /// The engine it runs on: αβ relevance needs f64.
    fn engine<'m>(&self, engine: &Engine<'m>) -> Engine<'m> {
        let mut own = double(engine);
        if self.source == Source::Attention {
            own.compute = engine.compute;
        }
        own
    }

    fn finish(&self, row: &mut [f64]) {
        if self.normalize_scores == NormalizeScores::Sum {
            let sum: f64 = row.iter().sum();
            // A row without any relevance stays as it is.
            row.iter_mut().filter(|_| sum > 0.0).for_each(|x| *x /= sum);
        }
    }
}

impl Method for Chefer {
    fn id(&self) -> &'static str {
        "chefer"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn sign(&self) -> Sign {
        Sign::Unsigned
    }

    fn fits(&self, model: &Description) -> Result<()> {
        if self.source == Source::Lrp {
            Rules::AlphaBeta(AlphaBeta::Ours).fits(model)?;
        }
        self.carry(model).map(|_| ())
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        self.carry(engine.model.description())?.estimate(&self.engine(engine), question, question.target.score)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        let carry = self.carry(engine.model.description())?;
        carry.attribute(&self.engine(engine), question, question.target.score, &|row| self.finish(row))
    }
}

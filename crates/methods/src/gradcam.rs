//! GradCAM at the projection of patches: each channel of it weighs as much as its mean gradient over the picture.
//!
//! ```text
//! A[patch, channel] = projection of the patch        w_c = mean over patches of ∂y/∂A[patch, c]        score(patch) = (Σ_c w_c·A[patch, c])⁺
//! ```
//!
//! Source: Selvaraju et al. 2017 (arXiv 1610.02391), eq. 1 and 2, with the one convolution that a vision transformer has as its layer: before
//! positions, before any patch has seen another. Without `relu` negative scores stay. For heads of attention see attention-gradcam.
//! y is what the question asks about; the paper takes the logit. Learned rows are no part of the picture and score 0.
//! Passes and memory: as saliency. Promise: with `relu` no score is negative.

use pellucid_core::{
    Engine, Error, Method, Outcome, Patches, Question, Result, Sign,
    model::Description,
    rules::Rules,
    walk::{
        Estimate,
        down::{Reached, Wanted},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    propagation::{Plan, Positions},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "gradcam",
    summary: "weighs the channels of the patches' projection with their mean gradient",
    needs: "a model of pictures; gradients: a walk down",
    promise: "with relu no score is negative",
    cost: "one walk up and one down; memory of one row of d_model a position and layer",
    source: "Selvaraju et al. 2017, arXiv 1610.02391",
    docs: include_str!("gradcam.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<Gradcam>("gradcam", parameters)?)),
};

/// Parameters of GradCAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gradcam {
    /// Whether negative scores become 0, as published.
    pub relu: bool,
}

impl Default for Gradcam {
    fn default() -> Self {
        Self { relu: true }
    }
}

impl Gradcam {
    /// Scores of all rows for one signal.
    fn scores(&self, patches: &Patches, at: &Reached, signal: usize) -> Positions {
        let rows = patches.leading + patches.count();
        let width = at.value.len() / rows;
        let own = patches.leading * width..;
        let mut weights = vec![0.0; width];
        for row in at.signals[signal][own.clone()].chunks_exact(width) {
            weights.iter_mut().zip(row).for_each(|(w, g)| *w += g / patches.count() as f64);
        }
        let score = |row: &[f64]| -> f64 { row.iter().zip(&weights).map(|(a, w)| a * w).sum() };
        let kept = |score: f64| if self.relu { score.max(0.0) } else { score };
        let learned = std::iter::repeat_n(0.0, patches.leading);
        learned.chain(at.value[own].chunks_exact(width).map(|row| kept(score(row)))).collect()
    }
}

fn wanted() -> Wanted {
    Wanted { projection: true, ..Wanted::default() }
}

/// # Errors
/// A model of texts.
fn patches(model: &Description) -> Result<&Patches> {
    model.patches.as_ref().ok_or_else(|| {
        Error::Unsupported(format!(
            "this {} model reads texts and has no projection of patches; attention-gradcam works on attention",
            model.architecture
        ))
    })
}

impl Method for Gradcam {
    fn id(&self) -> &'static str {
        "gradcam"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn sign(&self) -> Sign {
        if self.relu { Sign::Unsigned } else { Sign::Signed }
    }

    fn fits(&self, model: &Description) -> Result<()> {
        patches(model).map(|_| ())
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        self.fits(engine.model.description())?;
        Plan::new(engine, question, question.target.score, &[Rules::GRADIENT])?.estimate(engine, &wanted())
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        let patches = patches(engine.model.description())?;
        let plan = Plan::new(engine, question, question.target.score, &[Rules::GRADIENT])?;
        let landing = engine.down(&plan.descents, &wanted(), &mut |_| Ok(()))?;
        let at = |descent: usize| landing.descents[descent].projection.as_ref().expect("the walk was asked for it");
        Ok(plan.outcome(question, &landing, &|descent, signal| self.scores(patches, at(descent), signal)))
    }
}

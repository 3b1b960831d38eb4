//! Attributions before they are reduced: one number for each entry of each position's embedding.

use pellucid_core::{
    Engine, Outcome, Patches, Question, Result,
    rules::Rules,
    walk::{Estimate, down::Landing},
};

use crate::{embedding::Space, propagation::Plan, reduction::Reduction};

/// For every signal of every input `[row, width]`, and the walk that brought them.
pub(crate) struct Entries {
    pub(crate) plan: Plan,
    /// Scores, cost and count of walks.
    pub(crate) landing: Landing,
    /// `[descent][signal]`.
    pub(crate) each: Vec<Vec<Vec<f64>>>,
    pub(crate) width: usize,
    /// How a picture's entries stand in its rows, if they are pixels.
    pub(crate) patches: Option<Patches>,
}

impl Entries {
    /// One walk up, one down: an entry is `number(value, signal)`.
    ///
    /// # Errors
    /// A question or a place that does not suit the model.
    pub(crate) fn of_one_walk(
        engine: &Engine<'_>,
        question: &Question,
        rules: Rules,
        space: Space,
        number: impl Fn(f64, f64) -> f64,
    ) -> Result<Self> {
        let mut plan = Plan::new(engine, question, question.target.score, &[rules])?;
        plan.descents = plan.descents.iter().map(|d| space.begin(engine, d)).collect::<Result<_>>()?;
        let mut landing = engine.down(&plan.descents, &space.wanted(), &mut |_| Ok(()))?;
        let mut each = Vec::new();
        for landed in &mut landing.descents {
            let scores = std::mem::take(&mut landed.scores);
            let reached = space.reached(std::mem::take(landed));
            landed.scores = scores;
            let mut signals = reached.signals;
            for signal in &mut signals {
                signal.iter_mut().zip(&reached.value).for_each(|(s, v)| *s = number(*v, *s));
            }
            each.push(signals);
        }
        Ok(Self { plan, landing, each, width: space.width(engine), patches: space.patches(engine).cloned() })
    }

    /// What [`Entries::of_one_walk`] takes.
    pub(crate) fn estimate_of_one_walk(engine: &Engine<'_>, question: &Question, rules: Rules, space: Space) -> Result<Estimate> {
        Plan::new(engine, question, question.target.score, &[rules])?.estimate(engine, &space.wanted())
    }

    /// The answer to the question.
    pub(crate) fn outcome(&self, question: &Question, reduction: Reduction) -> Outcome {
        let outcome = self.plan.outcome(question, &self.landing, &|d, s| reduction.positions(&self.each[d][s], self.width));
        let pixels = |patches: &Patches, contrast: bool| -> Vec<Vec<f64>> {
            self.plan
                .signals(contrast)
                .into_iter()
                .map(|(d, s)| reduction.pixels(&patches.picture(&self.each[d][s]), patches.channels))
                .collect()
        };
        let contrasted = self.patches.as_ref().filter(|_| question.target.contrast.is_some());
        Outcome { pixels: self.patches.as_ref().map(|p| pixels(p, false)), contrast_pixels: contrasted.map(|p| pixels(p, true)), ..outcome }
    }

    /// For each target token `[row, width]`.
    pub(crate) fn of_target(self) -> Vec<Vec<f64>> {
        self.plan.signals(false).into_iter().map(|(d, s)| self.each[d][s].clone()).collect()
    }

    /// The sum of all entries, for each target token.
    pub(crate) fn totals(&self) -> Vec<f64> {
        self.plan.signals(false).into_iter().map(|(d, s)| self.each[d][s].iter().sum()).collect()
    }
}

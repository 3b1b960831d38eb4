//! AtMan gradient: AtMan with an infinitesimal factor, for all units at once.
//!
//! ```text
//! score(unit, token) = ∂ score(token) / ∂ ln f(unit)  at f = 1        = Σ over layers, heads, query rows, the unit's keys of ∂ score / ∂ S
//! ```
//!
//! `S`: attention scores after scaling, to which suppression by f adds `ln f` (mode `log-additive`). So the derivative in `ln f` of a key is the
//! sum of its column in what reaches the scores.
//! Source: ours; AtMan itself is Deiseroth et al. 2023 (arXiv 2301.08110), its limit for f → 1: AtMan's score there is −ln f times this one.
//! Positive speaks for the target: to suppress it (ln f < 0) takes away. Ranks units as AtMan does with a factor near 1, and only loosely as
//! it does with one near 0: neither replaces the other. A token that a unit covers in part counts by that part.
//! Promise: a unit after a target token scores 0 there. Passes: one up, one more through each block on the way down, one back for each target
//! token, whatever the number of units. Memory: as saliency, and a block of rows of each pattern.

use pellucid_core::{
    Engine, Error, Method, Outcome, Question, Result,
    model::Description,
    rules::Rules,
    walk::{
        Estimate,
        down::{Combine, Heads, Look, Patterns, Wanted},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    propagation::{Plan, check_layer},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "atman-gradient",
    summary: "measures what the target loses when the attention to each unit is suppressed ever so slightly",
    needs: "gradients: a walk down",
    promise: "the limit of AtMan as the factor goes to 1; a unit after a target token scores 0 there",
    cost: "one walk up and one down, whatever the number of units; memory of one row of d_model a position and layer",
    source: "this project; after Deiseroth et al. 2023, arXiv 2301.08110",
    docs: include_str!("atman_gradient.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<AtmanGradient>("atman-gradient", parameters)?.checked()?)),
};

/// Parameters of the AtMan gradient.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AtmanGradient {
    /// Layers the factor acts in; `None`: all.
    pub layers: Option<Vec<usize>>,
}

impl AtmanGradient {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// An empty list of layers.
    pub fn checked(self) -> Result<Self> {
        if self.layers.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::request("the list of layers is empty; name at least one, or leave it out for all"));
        }
        Ok(self)
    }

    fn plan(&self, engine: &Engine<'_>, question: &Question) -> Result<(Plan, Wanted)> {
        self.fits(engine.model.description())?;
        let plan = Plan::new(engine, question, question.target.score, &[Rules::GRADIENT])?;
        let signals = plan.descents.iter().map(|d| d.signals.len()).max().unwrap_or(0);
        let looks = (0..signals).map(|s| Look { of: Combine::ScoreSignal(s), heads: Heads::Sum }).collect();
        let lowest = self.layers.iter().flatten().copied().min().unwrap_or(0);
        Ok((plan, Wanted { looks, lowest, ..Wanted::default() }))
    }
}

impl Method for AtmanGradient {
    fn id(&self) -> &'static str {
        "atman-gradient"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.clone().checked()?;
        self.layers.iter().flatten().try_for_each(|l| check_layer(*l, model.layers))
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        let (plan, wanted) = self.plan(engine, question)?;
        plan.estimate(engine, &wanted)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        let (plan, wanted) = self.plan(engine, question)?;
        let columns = |n: usize| vec![vec![0.0; n]; wanted.looks.len()];
        let mut sums: Vec<Vec<Vec<f64>>> = plan.descents.iter().map(|d| columns(d.input.len())).collect();
        let landing = engine.down(&plan.descents, &wanted, &mut |block: &Patterns<'_>| {
            if self.layers.as_ref().is_none_or(|layers| layers.contains(&block.layer)) {
                for (sum, look) in sums[block.descent].iter_mut().zip(block.looks) {
                    for row in look.chunks_exact(block.keys) {
                        sum.iter_mut().zip(row).for_each(|(s, x)| *s += x);
                    }
                }
            }
            Ok(())
        })?;
        Ok(plan.outcome(question, &landing, &|d, s| sums[d][s].clone()))
    }
}

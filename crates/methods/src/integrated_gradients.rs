//! Integrated gradients: the gradient's mean along the straight path from a baseline to the input, times the way.
//!
//! ```text
//! attribution(position, i) = (e − e')_i · ∫₀¹ ∂ score / ∂ e_i at e' + α·(e − e')  dα        score(position) = Σ_i
//! ```
//!
//! Source: Sundararajan et al. 2017 (arXiv 1703.01365), eq. 1. All positions move together.
//! We differ: they begin at zero; our default baseline is the mean of all token embeddings, of a picture its mean colour, see [`Baseline`];
//! 50 steps by Gauss and Legendre.
//! Promise, `completeness`: attributions add up to score(input) − score(baseline), as far as the steps go: the error is told, and more steps
//! make it smaller (but for trapezoids, whose published weights add up to 1 − 1/n).
//! The path leads through inputs that no text has, where a deep model's score can be rough: on SmolLM2-135M 50 steps missed the sum several
//! times over, whatever the baseline. Read the promise before the picture.
//! Against a contrast, each target and contrast token is integrated along its own path. l2, mean-abs and `absolute` give up sign and sum.
//! Passes: two inputs up for the ends; for each step one up and one down, many steps together in groups that fit the memory, so that weights are
//! decoded twice a group. Memory: as saliency, for each step of a group.

use pellucid_core::{
    Engine, Method, Outcome, Question, Result, Sign,
    model::Description,
    rules::Rules,
    walk::{Estimate, down::Descent},
};
use serde::{Deserialize, Serialize};

use crate::{
    Baseline, Embedded, Entry, NormalizeScores, Quadrature, Reduce, Wrt,
    embedding::Space,
    entries::Entries,
    points::Points,
    propagation::{Plan, promise},
    reduction::Reduction,
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "integrated-gradients",
    summary: "averages gradients on the way from a baseline to the input, times the way",
    needs: "gradients: walks down",
    promise: "attributions add up to score(input) − score(baseline), with an error that is told and shrinks with more steps",
    cost: "one walk up and one down a step, many steps together; memory of one row of d_model a step, position and layer",
    source: "Sundararajan et al. 2017, arXiv 1703.01365",
    docs: include_str!("integrated_gradients.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<IntegratedGradients>("integrated-gradients", parameters)?.checked()?)),
};

/// Parameters of integrated gradients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntegratedGradients {
    /// Points on the path, at least 1.
    pub steps: usize,
    /// Where they lie and how much each counts.
    pub quadrature: Quadrature,
    /// Where the path begins.
    pub baseline: Baseline,
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

impl Default for IntegratedGradients {
    fn default() -> Self {
        Self {
            steps: 50,
            quadrature: Quadrature::default(),
            baseline: Baseline::default(),
            wrt: Wrt::default(),
            reduce: Reduce::Sum,
            absolute: false,
            normalize: NormalizeScores::default(),
            embedded: Embedded::default(),
        }
    }
}

/// The two ends of each input's path, `[row, width]`.
struct Path {
    from: Vec<f64>,
    to: Vec<f64>,
}

impl Path {
    fn at(&self, share: f64) -> Vec<f64> {
        self.from.iter().zip(&self.to).map(|(a, b)| a + share * (b - a)).collect()
    }
}

impl IntegratedGradients {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// Too few or too many steps; shares of signed scores; anything but the embedding's output embedded twice.
    pub fn checked(self) -> Result<Self> {
        self.quadrature.check(self.steps)?;
        self.reduction().check()?;
        Space::new(self.wrt, self.embedded)?;
        Ok(self)
    }

    /// Attributions entry by entry: for each target token `[position, width of the embedding]`, or
    /// `[position, numbers of a patch]`, zeros for learned rows.
    ///
    /// # Errors
    /// As [`Method::attribute`].
    pub fn entries(&self, engine: &Engine<'_>, question: &Question) -> Result<Vec<Vec<f64>>> {
        Ok(self.known(engine, question)?.walk(engine, question)?.of_target())
    }

    /// The same with a baseline that needs no tokenizer.
    fn known(&self, engine: &Engine<'_>, question: &Question) -> Result<Self> {
        self.fits(engine.model.description())?;
        let known = Self { baseline: self.baseline.known(question.special)?, ..self.clone() };
        known.fits(engine.model.description()).map(|()| known)
    }

    fn points<'a>(&self, engine: &'a Engine<'a>, question: &Question) -> Result<Points<'a>> {
        let plan = Plan::new(engine, question, question.target.score, &[Rules::GRADIENT])?;
        Ok(Points { engine, plan, space: self.space(engine.model.description())?, count: self.steps })
    }

    fn walk(&self, engine: &Engine<'_>, question: &Question) -> Result<Entries> {
        let points = self.points(engine, question)?;
        let (space, clean) = (points.space, points.plan.descents.clone());
        let path = |d: &Descent| -> Result<Path> {
            Ok(Path { from: self.baseline.value(engine, space, &d.input)?, to: space.value(engine, &d.input)? })
        };
        let paths = clean.iter().map(path).collect::<Result<Vec<_>>>()?;
        let end = |to: bool| clean.iter().zip(&paths).map(move |(d, p)| space.put(d, if to { p.to.clone() } else { p.from.clone() }));
        let ends: Vec<Descent> = end(true).chain(end(false)).collect();
        let (nodes, weights): (Vec<f64>, Vec<f64>) = self.quadrature.nodes(self.steps).into_iter().unzip();
        let mut entries = points.gather(&ends, &weights, &|d, k| paths[d].at(nodes[k]))?;
        for (signals, path) in entries.each.iter_mut().zip(&paths) {
            for signal in signals {
                signal.iter_mut().zip(path.to.iter().zip(&path.from)).for_each(|(g, (to, from))| *g *= to - from);
            }
        }
        Ok(entries)
    }

    fn reduction(&self) -> Reduction {
        Reduction { reduce: self.reduce, absolute: self.absolute, normalize: self.normalize }
    }

    fn space(&self, model: &Description) -> Result<Space> {
        Space::of(self.wrt, self.embedded, model)
    }
}

impl Method for IntegratedGradients {
    fn id(&self) -> &'static str {
        "integrated-gradients"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn sign(&self) -> Sign {
        self.reduction().sign()
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.clone().checked()?.space(model)?;
        self.baseline.check(model)
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        let points = self.known(engine, question)?.points(engine, question)?;
        let ends = [&points.plan.descents[..], &points.plan.descents[..]].concat();
        points.estimate(&ends)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        let entries = self.known(engine, question)?.walk(engine, question)?;
        let mut outcome = entries.outcome(question, self.reduction());
        let score = |d: usize, s: usize| question.target.score.of(&entries.landing.descents[d].scores[s][0]);
        let inputs = entries.plan.descents.len();
        let ends = entries.plan.signals(false).into_iter().map(|(d, s)| score(d, s) - score(inputs + d, s));
        outcome.promises =
            ends.zip(entries.totals()).enumerate().map(|(t, (expected, got))| promise("completeness", t, expected, got)).collect();
        Ok(outcome)
    }
}

//! What every method that sends signals down does: one signal a target token, scores a position, added up over the positions of each feature.
//!
//! Target and contrast are inputs of their own where tokens follow the prompt; where the target is a class or a masked token, both are signals
//! through the same input.

use pellucid_core::{
    Control, Engine, Error, FeaturePositions, Outcome, Part, Promise, Question, Result, Score,
    rules::Rules,
    walk::{
        Estimate,
        down::{Descent, Landed, Landing, Signal, Term, Wanted},
        up::TokenScore,
    },
};

/// Where the signals of one list of tokens (the target's, the contrast's) are found.
#[derive(Clone, Copy, Debug)]
struct Side {
    descent: usize,
    first: usize,
    tokens: usize,
}

/// A question as a walk down takes it.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Inputs, with one signal for each target token and rule set.
    pub(crate) descents: Vec<Descent>,
    sides: Vec<Side>,
    rules: usize,
}

/// Scores of positions: `[position]` for one target token.
pub(crate) type Positions = Vec<f64>;

impl Plan {
    /// One signal per target (and contrast) token and rule set; `score` is what is explained of each. Without rules they are only scored.
    ///
    /// # Errors
    /// A question that does not suit the model.
    pub(crate) fn new(engine: &Engine<'_>, question: &Question, score: Score, rules: &[Rules]) -> Result<Self> {
        question.check(engine.model)?;
        let mut plan = Self { descents: Vec::new(), sides: Vec::new(), rules: rules.len() };
        for tokens in std::iter::once(&question.target.tokens).chain(&question.target.contrast) {
            let input = question.document(tokens);
            let descent = plan.descents.iter().position(|d| d.input == input).unwrap_or_else(|| {
                plan.descents.push(Descent { input, control: Control::none(), ..Descent::default() });
                plan.descents.len() - 1
            });
            let Descent { signals, scored, .. } = &mut plan.descents[descent];
            let first = if rules.is_empty() { scored.len() } else { signals.len() };
            plan.sides.push(Side { descent, first, tokens: tokens.len() });
            for (t, token) in tokens.iter().enumerate() {
                let term = Term { row: question.row(t), output: *token, score, temperature: question.target.temperature, weight: 1.0 };
                signals.extend(rules.iter().map(|rules| Signal { rules: *rules, terms: vec![term] }));
                scored.extend(rules.is_empty().then_some(term));
            }
        }
        Ok(plan)
    }

    /// For each target token (`contrast` = false) or contrast token: its descent and the number of its first signal; a signal of the i-th rule set
    /// is i further.
    pub(crate) fn signals(&self, contrast: bool) -> Vec<(usize, usize)> {
        let of = |side: &Side| (0..side.tokens).map(|t| (side.descent, side.first + t * self.rules.max(1))).collect();
        self.sides.get(usize::from(contrast)).map_or(Vec::new(), of)
    }

    /// What a walk over these descents takes.
    ///
    /// # Errors
    /// As [`Engine::estimate_down`].
    pub(crate) fn estimate(&self, engine: &Engine<'_>, wanted: &Wanted) -> Result<Estimate> {
        engine.estimate_down(&self.descents, wanted)
    }

    /// The answer. `scores(descent, signal)` gives the score of every position of that input; `signal` is the first of a target token.
    pub(crate) fn outcome(&self, question: &Question, landing: &Landing, scores: &dyn Fn(usize, usize) -> Positions) -> Outcome {
        let side = |contrast: bool| -> Vec<Vec<f64>> {
            let each: Vec<Positions> = self.signals(contrast).into_iter().map(|(d, s)| scores(d, s)).collect();
            by_feature(&question.features, &each, contrast)
        };
        let clean = |contrast| -> Vec<TokenScore> {
            let score = |landed: &Landed, s: usize| if self.rules == 0 { landed.scored[s] } else { landed.scores[s][0] };
            self.signals(contrast).into_iter().map(|(d, s)| score(&landing.descents[d], s)).collect()
        };
        Outcome {
            clean: clean(false),
            clean_contrast: clean(true),
            per_target_token: side(false),
            per_contrast_token: if self.sides.len() > 1 { side(true) } else { Vec::new() },
            cost: landing.cost,
            backwards: landing.backwards,
            ..Outcome::default()
        }
    }
}

/// `[feature][target token]`: the scores of a feature's positions, each times the part of it that is covered, added up. Earlier target tokens
/// have no score for a contrast: it has other tokens.
pub(crate) fn by_feature(features: &[FeaturePositions], each: &[Positions], contrast: bool) -> Vec<Vec<f64>> {
    let of = |feature: &FeaturePositions, positions: &Positions| -> f64 {
        if contrast && feature.part == Part::Target {
            return 0.0;
        }
        feature.positions.iter().map(|(p, covered)| positions.get(*p).map_or(0.0, |s| s * covered)).sum()
    };
    features.iter().map(|f| each.iter().map(|positions| of(f, positions)).collect()).collect()
}

/// `⟨value, signal⟩` over the embedding dimension, position by position.
pub(crate) fn products(value: &[f64], signal: &[f64], positions: usize) -> Positions {
    let width = value.len() / positions;
    value.chunks_exact(width).zip(signal.chunks_exact(width)).map(|(v, s)| v.iter().zip(s).map(|(v, s)| v * s).sum()).collect()
}

/// A promised sum.
pub(crate) fn promise(name: &str, target_token: usize, expected: f64, got: f64) -> Promise {
    Promise { name: name.into(), target_token, expected, got }
}

/// The embeddings that were asked for.
pub(crate) fn embeddings(landed: &Landed) -> &pellucid_core::walk::down::Reached {
    landed.embeddings.as_ref().expect("the walk was asked for embeddings")
}

/// Refuses a layer that a model does not have.
pub(crate) fn check_layer(layer: usize, layers: usize) -> Result<()> {
    if layer < layers {
        return Ok(());
    }
    Err(Error::request(format!("layer {layer} is beyond the model, which has {layers} layers (0 to {})", layers - 1)))
}

//! What is asked of a method and what it answers.
//!
//! Deliberately absent: text. A question is in positions and ids; whoever asks turns words into positions and scores into a picture.

use serde::{Deserialize, Serialize};

use crate::{
    Error, Part, Result,
    engine::Engine,
    model::Description,
    pass::Symbol,
    walk::{Estimate, up::TokenScore},
};

/// What is explained of each target token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// Its log-probability, nats. A difference of it is the difference of cross-entropies with the sign turned.
    #[default]
    LogProbability,
    /// Its raw score.
    Logit,
    /// Its probability.
    Probability,
}

impl Score {
    /// As written in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Score::LogProbability => "log-probability",
            Score::Logit => "logit",
            Score::Probability => "probability",
        }
    }

    /// This number of a scored token.
    pub fn of(self, token: &TokenScore) -> f64 {
        match self {
            Score::LogProbability => token.log_probability,
            Score::Logit => token.logit,
            Score::Probability => token.log_probability.exp(),
        }
    }
}

/// What is done to scores after they are summed over target tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Postprocessing {
    /// Nothing: the sign stays.
    #[default]
    None,
    /// The magnitude.
    Absolute,
    /// The square.
    Square,
}

impl Postprocessing {
    /// As written in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Postprocessing::None => "none",
            Postprocessing::Absolute => "absolute",
            Postprocessing::Square => "square",
        }
    }

    /// Applied to a score.
    pub fn apply(self, score: f64) -> f64 {
        match self {
            Postprocessing::None => score,
            Postprocessing::Absolute => score.abs(),
            Postprocessing::Square => score * score,
        }
    }
}

/// What is to get a score: some positions, taken together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeaturePositions {
    /// In the prompt, or an earlier target token.
    pub part: Part,
    /// `(position, covered fraction of it, above 0 and at most 1)`.
    pub positions: Vec<(usize, f64)>,
}

/// The number explained: tokens that follow the prompt, alone or against others.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The target's tokens; at least one.
    pub tokens: Vec<u32>,
    /// Tokens that it is set against: scores are then of target minus contrast.
    pub contrast: Option<Vec<u32>>,
    /// What is explained of each token.
    pub score: Score,
    /// Logits are divided by it before the softmax.
    pub temperature: f64,
}

/// An input, what is to get scores, and the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The prompt.
    pub prompt: Vec<Symbol>,
    /// What is to get scores.
    pub features: Vec<FeaturePositions>,
    /// The number explained.
    pub target: Target,
}

impl Question {
    /// Checks it against a model.
    ///
    /// # Errors
    /// An empty prompt or target, a feature without positions or outside the input, a temperature that is not above 0.
    pub fn check(&self, model: &Description) -> Result<()> {
        if self.prompt.is_empty() {
            return Err(Error::request("the prompt is empty; give at least one token"));
        }
        for (name, tokens) in [("target", Some(&self.target.tokens)), ("contrast", self.target.contrast.as_ref())] {
            if tokens.is_some_and(Vec::is_empty) {
                return Err(Error::request(format!("the {name} has no tokens; give at least one")));
            }
        }
        if !(self.target.temperature > 0.0 && self.target.temperature.is_finite()) {
            return Err(Error::request(format!("temperature {} is not above 0", self.target.temperature)));
        }
        let length = self.prompt.len() + self.target.tokens.len() - 1;
        for (i, feature) in self.features.iter().enumerate() {
            let limit = if feature.part == Part::Prompt { self.prompt.len() } else { length };
            if feature.positions.is_empty() {
                return Err(Error::request(format!("feature {i} covers no position")));
            }
            if let Some((position, _)) = feature.positions.iter().find(|p| feature.part == Part::Target && p.0 < self.prompt.len()) {
                return Err(Error::request(format!("feature {i} is of the target but covers position {position} of the prompt")));
            }
            if let Some((position, _)) = feature.positions.iter().find(|p| p.0 >= limit) {
                return Err(Error::request(format!("feature {i} covers position {position}, outside the input, which has {limit} tokens")));
            }
        }
        if length > model.context {
            return Err(Error::request(format!(
                "prompt and target together have {length} tokens, the model takes at most {}",
                model.context
            )));
        }
        Ok(())
    }
}

/// The answer to a [`Question`]. Positive speaks for the target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Each target token in the clean run.
    pub clean: Vec<TokenScore>,
    /// Each contrast token in the clean run (empty without a contrast).
    pub clean_contrast: Vec<TokenScore>,
    /// `[feature][target token]`.
    pub per_target_token: Vec<Vec<f64>>,
    /// `[feature][contrast token]` (empty without a contrast): positive speaks for the contrast.
    pub per_contrast_token: Vec<Vec<f64>>,
    /// What it took.
    pub cost: Estimate,
    /// Walks down.
    pub backwards: usize,
}

impl Outcome {
    /// One number per feature: the sum over target tokens, minus that over contrast tokens.
    pub fn combined(&self, postprocessing: Postprocessing) -> Vec<f64> {
        let sum = |rows: &[Vec<f64>], i: usize| rows.get(i).map_or(0.0, |r| r.iter().sum());
        let features = self.per_target_token.len();
        (0..features).map(|i| postprocessing.apply(sum(&self.per_target_token, i) - sum(&self.per_contrast_token, i))).collect()
    }
}

/// An explanation method with its parameters. Knows no architecture; asks the engine for walks.
pub trait Method: Send + Sync + std::fmt::Debug {
    /// Its name.
    fn id(&self) -> &'static str;

    /// All of its parameters, defaults included.
    fn parameters(&self) -> serde_json::Value;

    /// The seed, where chance is involved.
    fn seed(&self) -> Option<u64> {
        None
    }

    /// Why it cannot be used on a model, or nothing.
    ///
    /// # Errors
    /// Names what the model lacks.
    fn fits(&self, model: &Description) -> Result<()>;

    /// What [`Method::attribute`] would take, without running it.
    ///
    /// # Errors
    /// As [`Method::attribute`].
    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate>;

    /// Answers.
    ///
    /// # Errors
    /// A question that does not suit the model or the method, too little memory, an interruption.
    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome>;
}

//! What is asked of a method and what it answers.
//!
//! Deliberately absent: text. A question is in positions and ids; whoever asks turns words into positions and scores into a picture.

use serde::{Deserialize, Serialize};

use crate::{
    Error, Part, Result,
    engine::Engine,
    model::{Description, Model, Outputs},
    pass::{Input, Symbol},
    walk::{
        Estimate,
        up::{TokenScore, no_such_output},
    },
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

/// Where the explained number is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// After the prompt: target tokens follow it one after the other (decoders).
    #[default]
    Continuation,
    /// At the one row that the whole input becomes: a class, or a similarity.
    Whole,
    /// At this position of the prompt (a masked token).
    Position(usize),
}

/// The number explained: tokens that follow the prompt, a class, or a masked token, alone or against others.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Where it is read.
    pub place: Place,
    /// The target's tokens, at least one; elsewhere than after the prompt exactly one: a token or a class.
    pub tokens: Vec<u32>,
    /// Tokens that it is set against: scores are then of target minus contrast.
    pub contrast: Option<Vec<u32>>,
    /// What is explained of each token.
    pub score: Score,
    /// Logits are divided by it before the softmax.
    pub temperature: f64,
}

impl Default for Target {
    fn default() -> Self {
        Self { place: Place::default(), tokens: Vec::new(), contrast: None, score: Score::default(), temperature: 1.0 }
    }
}

/// An input, what is to get scores, and the target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// The prompt.
    pub prompt: Input,
    /// What is to get scores.
    pub features: Vec<FeaturePositions>,
    /// The number explained.
    pub target: Target,
    /// Tokens that a method may ask for by what they are for.
    pub special: Special,
}

/// Tokens by what they are for, where the model's tokenizer has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Special {
    /// Fills up short inputs.
    pub pad: Option<u32>,
    /// Stands for a token that is not shown.
    pub mask: Option<u32>,
}

impl Question {
    /// Checks it against a model.
    ///
    /// # Errors
    /// An empty prompt or target, a target that the model has no score for, a feature without positions or outside the input, a temperature
    /// that is not above 0, a score that says nothing.
    pub fn check(&self, model: &Model) -> Result<()> {
        let (description, scores) = (model.description(), model.scores());
        model.unembedding()?;
        if self.prompt.is_empty() {
            return Err(Error::request("the prompt is empty; give at least one token"));
        }
        self.check_place(description)?;
        if scores == 1 && self.target.score != Score::Logit {
            return Err(Error::request(format!(
                "the model gives a single score, whose {} is always the same; explain its logit",
                self.target.score.name()
            )));
        }
        for (name, tokens) in [("target", Some(&self.target.tokens)), ("contrast", self.target.contrast.as_ref())] {
            if tokens.is_some_and(Vec::is_empty) {
                return Err(Error::request(format!("the {name} has no tokens; give at least one")));
            }
            if let Some(output) = tokens.into_iter().flatten().find(|t| **t as usize >= scores) {
                return Err(no_such_output(*output, &description.outputs, scores));
            }
        }
        if !(self.target.temperature > 0.0 && self.target.temperature.is_finite()) {
            return Err(Error::request(format!("temperature {} is not above 0", self.target.temperature)));
        }
        let length = self.document(&self.target.tokens).len();
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
        if length > description.context {
            return Err(Error::request(format!(
                "prompt and target together have {length} tokens, the model takes at most {}",
                description.context
            )));
        }
        Ok(())
    }

    fn check_place(&self, model: &Description) -> Result<()> {
        let kind = &model.architecture;
        let problem = match (self.target.place, &model.outputs) {
            (Place::Continuation, Outputs::NextToken) => None,
            (Place::Position(p), Outputs::Masked) if p >= self.prompt.len() => {
                Some(format!("target position {p} is outside the input, which has {} tokens", self.prompt.len()))
            }
            (Place::Position(_), Outputs::Masked) | (Place::Whole, Outputs::Classes { .. } | Outputs::Embedding { .. }) => None,
            (_, Outputs::NextToken) => Some(format!("this {kind} model says which token comes next; the target must follow the prompt")),
            (_, Outputs::Masked) => Some(format!("this {kind} model says which token stands at a position; name the position of a mask")),
            (_, Outputs::Classes { .. }) => {
                Some(format!("this {kind} model puts the whole input into a class; the target must be a class"))
            }
            (_, Outputs::Embedding { .. }) => {
                Some(format!("this {kind} model compares the whole input with a text; the target must be that similarity"))
            }
        };
        let several = self.target.place != Place::Continuation
            && (self.target.tokens.len() > 1 || self.target.contrast.as_ref().is_some_and(|c| c.len() > 1));
        match problem.or_else(|| several.then(|| "only one class or masked token can be explained at a time".into())) {
            Some(problem) => Err(Error::request(problem)),
            None => Ok(()),
        }
    }

    /// What the model reads to score these target (or contrast) tokens: the prompt, and where tokens follow it all of them but the last.
    pub fn document(&self, tokens: &[u32]) -> Input {
        if self.target.place != Place::Continuation || tokens.len() < 2 {
            return self.prompt.clone();
        }
        let tokens = tokens[..tokens.len() - 1].iter().map(|t| Symbol::Token(*t));
        self.prompt.with_symbols(self.prompt.symbols.iter().cloned().chain(tokens))
    }

    /// The row that scores target (or contrast) token `t`.
    pub fn row(&self, t: usize) -> usize {
        match self.target.place {
            Place::Continuation => self.prompt.len() - 1 + t,
            Place::Whole => 0,
            Place::Position(position) => position,
        }
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
    /// Where the method works on pixels: for each target token `[height·width]`, one number a pixel of what the model was given. The channels of a
    /// pixel become one, and the pixels of a feature, by the method's own reduction: mostly their sum.
    pub pixels: Option<Vec<Vec<f64>>>,
    /// The same for each contrast token.
    pub contrast_pixels: Option<Vec<Vec<f64>>>,
    /// What it took.
    pub cost: Estimate,
    /// Walks down, counted in inputs.
    pub backwards: usize,
    /// What the method promises of these scores, and what came of it.
    pub promises: Vec<Promise>,
}

/// A promised sum: what relevance should add up to, and what it does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// `conservation` (relevance adds up to the explained number) or `completeness` (attributions add up to the difference from the baseline).
    pub name: String,
    /// Which target token it is about, counted from 0.
    pub target_token: usize,
    /// What should come out.
    pub expected: f64,
    /// What came out, over all positions, whether they belong to a feature or not.
    pub got: f64,
}

/// Whether scores have a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    /// Positive speaks for the target, negative against it.
    #[default]
    Signed,
    /// Shares or magnitudes: never below 0.
    Unsigned,
}

impl Outcome {
    /// One number per feature: the sum over target tokens, minus that over contrast tokens.
    pub fn combined(&self, postprocessing: Postprocessing) -> Vec<f64> {
        let sum = |rows: &[Vec<f64>], i: usize| rows.get(i).map_or(0.0, |r| r.iter().sum());
        let features = self.per_target_token.len();
        (0..features).map(|i| postprocessing.apply(sum(&self.per_target_token, i) - sum(&self.per_contrast_token, i))).collect()
    }

    /// One number per pixel, where the method gives them: the sum over target tokens, minus that over contrast tokens.
    pub fn combined_pixels(&self, postprocessing: Postprocessing) -> Option<Vec<f64>> {
        let pixels = self.pixels.as_ref()?;
        let sum = |tokens: &[Vec<f64>], i: usize| tokens.iter().map(|t| t[i]).sum::<f64>();
        let contrast = self.contrast_pixels.as_deref().unwrap_or(&[]);
        let count = pixels.first().map_or(0, Vec::len);
        Some((0..count).map(|i| postprocessing.apply(sum(pixels, i) - sum(contrast, i))).collect())
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

    /// Whether its scores have a direction.
    fn sign(&self) -> Sign {
        Sign::Signed
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

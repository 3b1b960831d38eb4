//! Input × changed gradient: what AttnLRP, CP-LRP and GIM have in common. They differ in the rules alone.
//!
//! The signal starts at the score that is asked for. The papers start at the logit: ask for the score `logit` to have their numbers. From the
//! log-probability it starts at `W_t − Σ_v p_v·W_v`, the derivative of the last softmax, which is how these rules treat every softmax; set
//! against a contrast at the same row, both starts are the same.
//! Of a picture relevance is read at its pixels, as the model is given them; a patch's is the sum of theirs.
//!
//! The γ rule is an option of AttnLRP and CP-LRP: in linear maps outside attention (the projection of patches, feed-forward networks, the head)
//! contributions of the output's own sign count 1 + γ times, which quietens noise in pictures. Source: Andéol et al. 2021 (arXiv 2103.12078),
//! used so by Achtibat et al. 2024. Six matrix products a map instead of one; its inputs are kept or computed again.
//! Passes: one up, one more through each block on the way down, one back for each target token. Memory: a row of `d_model` numbers a position
//! and layer.

use pellucid_core::{
    Engine, Outcome, Question, Result, Score,
    model::{Architecture, Description, Parameter},
    rules::Rules,
    walk::Estimate,
};
use serde::{Deserialize, Serialize};

use crate::{
    NormalizeScores, Reduce,
    embedding::{Space, no_pixels, no_words},
    entries::Entries,
    propagation::{check_layer, promise},
    reduction::Reduction,
};

/// Where relevance is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum At {
    /// At what the input consists of: pixels of a picture, word embeddings of a text. The default.
    #[default]
    Auto,
    /// At the rows of the token table: what positions and kinds bring is left out. Of texts only.
    WordEmbedding,
    /// At pixels as the model is given them, normalised. What positions and learned rows bring is left out. Of pictures only.
    Pixels,
    /// At what this block takes; 0: the embedding's output.
    Hidden(usize),
}

impl At {
    fn space(self) -> Space {
        match self {
            At::Auto | At::WordEmbedding | At::Pixels => Space::Words,
            At::Hidden(layer) => Space::Layer(layer),
        }
    }

    /// # Errors
    /// A layer that the model does not have, word embeddings of a picture, pixels of a text.
    pub(crate) fn check(self, model: &Description) -> Result<()> {
        match self {
            At::WordEmbedding if model.patches.is_some() => Err(no_words("at", model)),
            At::Pixels if model.patches.is_none() => Err(no_pixels("at", model)),
            At::Auto | At::WordEmbedding | At::Pixels => Ok(()),
            At::Hidden(layer) => check_layer(layer, model.layers),
        }
    }
}

pub(crate) fn estimate(engine: &Engine<'_>, question: &Question, rules: Rules, at: At) -> Result<Estimate> {
    at.check(engine.model.description())?;
    Entries::estimate_of_one_walk(engine, question, rules, at.space())
}

/// Relevance entry by entry.
pub(crate) fn entries(engine: &Engine<'_>, question: &Question, rules: Rules, at: At) -> Result<Entries> {
    at.check(engine.model.description())?;
    Entries::of_one_walk(engine, question, rules, at.space(), |value, signal| value * signal)
}

pub(crate) fn attribute(engine: &Engine<'_>, question: &Question, rules: Rules, at: At) -> Result<Outcome> {
    let entries = entries(engine, question, rules, at)?;
    let mut outcome = entries.outcome(question, Reduction { reduce: Reduce::Sum, absolute: false, normalize: NormalizeScores::None });
    if rules == Rules::CP_LRP && question.target.score == Score::Logit && conserves(engine.model.architecture(), at) {
        let sums = outcome.clean.iter().zip(entries.totals()).enumerate();
        outcome.promises = sums.map(|(t, (clean, got))| promise("conservation", t, clean.logit, got)).collect();
    }
    Ok(outcome)
}

/// Whether CP-LRP loses nothing on the way: no bias takes a share, and nothing but tokens is embedded.
fn conserves(architecture: &dyn Architecture, at: At) -> bool {
    let blocks = (0..architecture.description().layers).flat_map(|l| architecture.block_parameters(l));
    let takes = |p: &Parameter| match p {
        Parameter::Linear(l) => l.bias.is_some(),
        Parameter::Norm(n) => n.bias.is_some(),
        Parameter::Table(t) => at.space() == Space::Words && Some(t) != architecture.token_table(),
        Parameter::Factor(_) => false,
    };
    !architecture.parameters().iter().chain(&blocks.collect::<Vec<_>>()).any(takes)
}

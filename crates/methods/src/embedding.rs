//! Where in an embedding gradients are taken.

use pellucid_core::{
    Engine, Error, Input, Patches, Result,
    model::Description,
    walk::down::{Descent, Landed, Reached, Wanted},
};
use serde::{Deserialize, Serialize};

/// What a gradient is taken of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrt {
    /// What the input consists of: pixels of a picture, word embeddings of a text. The default.
    #[default]
    Auto,
    /// Rows of the token table; positions, kinds and a norm come after. Of texts only.
    WordEmbedding,
    /// Pixels as the model is given them, resized and normalised. Of pictures only.
    Pixels,
    /// What the first block takes.
    EmbeddingOutput,
}

/// How often an input is embedded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Embedded {
    /// Once. The default.
    #[default]
    Once,
    /// A published mistake, for reproducing its numbers: the embedding's output is fed in again in place of the token embeddings, so that
    /// positions, kinds and norm are applied twice and another function than the model is explained (ALTI's gradient baselines).
    Twice,
}

/// The place in a walk where values stand and signals arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// Token embeddings, or pixels.
    Words,
    /// What a block takes; 0: the embedding's output.
    Layer(usize),
    /// The embedding's output in place of the token embeddings.
    Twice,
}

impl Space {
    /// # Errors
    /// Anything but the embedding's output embedded twice.
    pub(crate) fn new(wrt: Wrt, embedded: Embedded) -> Result<Self> {
        match (wrt, embedded) {
            (Wrt::EmbeddingOutput, Embedded::Once) => Ok(Space::Layer(0)),
            (Wrt::EmbeddingOutput, Embedded::Twice) => Ok(Space::Twice),
            (_, Embedded::Once) => Ok(Space::Words),
            (_, Embedded::Twice) => {
                Err(Error::request("`embedded` twice feeds the embedding's output in again; set `wrt` to embedding-output"))
            }
        }
    }

    /// The same for a model.
    ///
    /// # Errors
    /// Word embeddings of a picture, pixels of a text, a picture embedded twice.
    pub(crate) fn of(wrt: Wrt, embedded: Embedded, model: &Description) -> Result<Self> {
        match (wrt, model.patches.is_some()) {
            (Wrt::WordEmbedding, true) => Err(no_words("wrt", model)),
            (Wrt::Pixels, false) => Err(no_pixels("wrt", model)),
            (_, true) if embedded == Embedded::Twice => Err(Error::Unsupported(format!(
                "this {} model reads pictures, whose embedding cannot be fed in again; leave `embedded` at once",
                model.architecture
            ))),
            _ => Self::new(wrt, embedded),
        }
    }

    /// How a picture's numbers stand there, if they are pixels.
    pub(crate) fn patches<'m>(self, engine: &Engine<'m>) -> Option<&'m Patches> {
        if self == Space::Words { engine.model.description().patches.as_ref() } else { None }
    }

    /// What a walk must bring back.
    pub(crate) fn wanted(self) -> Wanted {
        match self {
            Space::Words | Space::Twice => Wanted { embeddings: true, ..Wanted::default() },
            Space::Layer(layer) => Wanted { hidden: vec![layer], ..Wanted::default() },
        }
    }

    /// What it brought back.
    pub(crate) fn reached(self, landed: Landed) -> Reached {
        let hidden = landed.hidden.into_iter().next();
        landed.embeddings.or(hidden).expect("the walk was asked for this place")
    }

    /// The descent with this in place of what stands there.
    pub(crate) fn put(self, descent: &Descent, point: Vec<f64>) -> Descent {
        let descent = descent.clone();
        match self {
            Space::Words | Space::Twice => Descent { embedded: Some(point), ..descent },
            Space::Layer(_) => Descent { hidden: Some(point), ..descent },
        }
    }

    /// The descent as it is; only an input that is embedded twice needs anything to be put anywhere.
    pub(crate) fn begin(self, engine: &Engine<'_>, descent: &Descent) -> Result<Descent> {
        match self {
            Space::Words | Space::Layer(_) => Ok(descent.clone()),
            Space::Twice => Ok(self.put(descent, self.value(engine, &descent.input)?)),
        }
    }

    /// What stands there for an input, `[row, width]`. Not for blocks above the first.
    pub(crate) fn value(self, engine: &Engine<'_>, input: &Input) -> Result<Vec<f64>> {
        match self {
            Space::Words => words(engine, input),
            Space::Layer(_) | Space::Twice => engine.embedding_output(input),
        }
    }

    /// Numbers of a position.
    pub(crate) fn width(self, engine: &Engine<'_>) -> usize {
        match self {
            Space::Words => engine.model.symbol_width(),
            Space::Layer(_) | Space::Twice => engine.model.description().d_model,
        }
    }
}

/// A parameter asks for words of a model of pictures.
pub(crate) fn no_words(parameter: &str, model: &Description) -> Error {
    let kind = &model.architecture;
    Error::Unsupported(format!("this {kind} model reads pictures and has no word embeddings; set `{parameter}` to pixels"))
}

/// A parameter asks for pixels of a model of texts.
pub(crate) fn no_pixels(parameter: &str, model: &Description) -> Error {
    let kind = &model.architecture;
    Error::Unsupported(format!("this {kind} model reads texts and has no pixels; set `{parameter}` to word-embedding"))
}

fn words(engine: &Engine<'_>, input: &Input) -> Result<Vec<f64>> {
    Ok(engine.model.symbol_values(&input.symbols)?.into_iter().map(f64::from).collect())
}

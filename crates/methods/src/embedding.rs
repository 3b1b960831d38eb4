//! Where in an embedding gradients are taken.

use pellucid_core::{
    Engine, Error, Input, Result, Symbol,
    walk::down::{Descent, Landed, Reached, Wanted},
};
use serde::{Deserialize, Serialize};

/// What a gradient is taken of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrt {
    /// Rows of the token table; positions, kinds and a norm come after. The default.
    #[default]
    WordEmbedding,
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
    /// Token embeddings.
    Words,
    /// What a block takes; 0: the embedding's output.
    Layer(usize),
    /// The embedding's output in place of the token embeddings.
    Twice,
}

impl Space {
    /// # Errors
    /// Word embeddings, which cannot be embedded twice.
    pub(crate) fn new(wrt: Wrt, embedded: Embedded) -> Result<Self> {
        match (wrt, embedded) {
            (Wrt::WordEmbedding, Embedded::Once) => Ok(Space::Words),
            (Wrt::EmbeddingOutput, Embedded::Once) => Ok(Space::Layer(0)),
            (Wrt::EmbeddingOutput, Embedded::Twice) => Ok(Space::Twice),
            (Wrt::WordEmbedding, Embedded::Twice) => {
                Err(Error::request("`embedded` twice feeds the embedding's output in again; set `wrt` to embedding-output"))
            }
        }
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
            Space::Words => engine.model.token_width(),
            Space::Layer(_) | Space::Twice => engine.model.description().d_model,
        }
    }
}

fn words(engine: &Engine<'_>, input: &Input) -> Result<Vec<f64>> {
    let mut rows = Vec::with_capacity(input.len() * engine.model.token_width());
    for symbol in input.symbols.iter() {
        match symbol {
            Symbol::Token(id) => rows.extend(engine.model.token_embeddings(&[*id])?.into_iter().map(f64::from)),
            Symbol::Vector(vector) => rows.extend(vector.iter().copied().map(f64::from)),
        }
    }
    Ok(rows)
}

//! The walk up, with many copies: all copies of all documents go through layer *l* together before any goes through layer *l + 1*.
//!
//! A layer's weights are decoded once per sweep. A copy of a causal model's input carries only the rows from its first change on and borrows
//! the document's keys and values before that; what it is asked about earlier rows is answered by the document itself.
//! Memory: one layer's weights, the documents' keys and values of that layer, one row of `d_model` numbers per carried row, and each
//! thread's intermediates. Nothing of size vocabulary × positions × copies exists: the vocabulary is streamed.
//! Deliberately absent: what the copies are for.

mod segment;
mod sweep;
mod vocabulary;

use super::plan::Estimate;
use crate::{
    Result,
    control::Control,
    engine::{Compute, Engine},
    pass::Input,
};

pub(crate) use segment::no_such_output;
use sweep::Walk;

/// A question to the end of the model: at this position, what of these tokens?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Row of the logits: in a decoder it predicts the token at `position + 1`; 0 where rows become one.
    pub position: usize,
    /// Tokens (or classes) to score there.
    pub tokens: Vec<u32>,
}

/// An input as it is.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// What the model reads.
    pub input: Input,
    /// Control that is always on (usually none).
    pub control: Control,
    /// What is asked about it.
    pub asks: Vec<Ask>,
}

/// A changed copy of a document.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    /// Which document.
    pub document: usize,
    /// What the model reads, if it is not the document's input.
    pub input: Option<Input>,
    /// What is done to its attention (in place of the document's control).
    pub control: Control,
    /// What is asked about it.
    pub asks: Vec<Ask>,
}

/// How answers are read off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Readout {
    /// Logits are divided by it before the softmax; above 0.
    pub temperature: f64,
    /// Whether whole rows of logits are wanted too (`vocabulary` numbers an ask).
    pub logits: bool,
}

impl Default for Readout {
    fn default() -> Self {
        Self { temperature: 1.0, logits: false }
    }
}

/// One token at one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenScore {
    /// Raw score.
    pub logit: f64,
    /// Nats, after temperature.
    pub log_probability: f64,
    /// How many tokens have a higher logit.
    pub rank: usize,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// One per token asked about.
    pub tokens: Vec<TokenScore>,
    /// All logits of the row, if the [`Readout`] wants them; else empty.
    pub logits: Vec<f64>,
}

/// What a walk up brings back.
#[derive(Clone, Debug, Default)]
pub struct Ascent {
    /// Per document, per ask.
    pub documents: Vec<Vec<Answer>>,
    /// Per copy, per ask.
    pub copies: Vec<Vec<Answer>>,
    /// What it took.
    pub cost: Estimate,
}

impl Engine<'_> {
    /// Sends documents and their changed copies up.
    ///
    /// # Errors
    /// An empty document, one longer than the model's context, a token or position outside, too little memory, an interruption.
    pub fn up(&self, documents: &[Document], copies: &[Copy], readout: Readout) -> Result<Ascent> {
        let controlled = self.controlled(documents, copies)?;
        let (documents, copies) = controlled.as_ref().map_or((documents, copies), |(d, c)| (d, c));
        match self.compute {
            Compute::F32 => Walk::<f32>::new(self, documents, copies, readout)?.run(),
            Compute::F64 => Walk::<f64>::new(self, documents, copies, readout)?.run(),
        }
    }

    /// What [`Engine::up`] would take.
    ///
    /// # Errors
    /// As [`Engine::up`], without running.
    pub fn estimate(&self, documents: &[Document], copies: &[Copy]) -> Result<Estimate> {
        let controlled = self.controlled(documents, copies)?;
        let (documents, copies) = controlled.as_ref().map_or((documents, copies), |(d, c)| (d, c));
        Ok(Walk::<f32>::new(self, documents, copies, Readout::default())?.plan()?.1)
    }

    /// The same under the engine's own control, if it has one.
    fn controlled(&self, documents: &[Document], copies: &[Copy]) -> Result<Option<(Vec<Document>, Vec<Copy>)>> {
        if self.control.factors().is_empty() {
            return Ok(None);
        }
        let documents =
            documents.iter().map(|d| Ok(Document { control: self.control.and(&d.control)?, ..d.clone() })).collect::<Result<_>>()?;
        let copies = copies.iter().map(|c| Ok(Copy { control: self.control.and(&c.control)?, ..c.clone() })).collect::<Result<_>>()?;
        Ok(Some((documents, copies)))
    }
}

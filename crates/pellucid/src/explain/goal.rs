//! What is aimed at, once a model and a text are known: tokens or classes, where they are read, and on which model.

use std::ops::Range;

use pellucid_core::{
    Engine, Error, Model, Place, Result, TargetKind, TargetToken,
    control::Control,
    model::Outputs,
    walk::up::{Ask, Document, Readout, TokenScore},
};
use pellucid_models::{Loaded, text::TextTokenizer};

use super::{Aim, class, continuation, mask, similarity};
use crate::{
    generate::likeliest,
    prompt::{Characters, Reading},
};

/// Outputs of a model with what they are called.
#[derive(Clone, Debug, Default)]
pub(super) struct Aimed {
    pub(super) text: Option<String>,
    pub(super) ids: Vec<u32>,
    /// What each is called; empty where it has no name.
    pub(super) names: Vec<String>,
    /// Bytes of `text`.
    pub(super) spans: Vec<Option<Range<usize>>>,
    pub(super) origin: &'static str,
}

/// What is aimed at.
#[derive(Debug, Default)]
pub(super) struct Goal {
    pub(super) kind: TargetKind,
    pub(super) place: Place,
    pub(super) target: Aimed,
    pub(super) contrast: Option<Aimed>,
    /// The model that is asked, where it is not the one that was loaded.
    pub(super) model: Option<Model>,
}

impl Aimed {
    /// Tokens without a text of their own.
    pub(super) fn tokens(ids: Vec<u32>, origin: &'static str, tokenizer: Option<&TextTokenizer>) -> Self {
        let names = ids.iter().map(|id| tokenizer.map_or(String::new(), |t| t.token_text(*id))).collect();
        Self { text: None, spans: vec![None; ids.len()], names, ids, origin }
    }

    /// One output that has a name, which is its text.
    pub(super) fn one(id: u32, name: &str, text: Option<String>, origin: &'static str) -> Self {
        Self { text, ids: vec![id], names: vec![name.into()], spans: vec![None], origin }
    }

    /// With its clean numbers; `position` is that of the first.
    pub(super) fn record(&self, clean: &[TokenScore], position: usize) -> Vec<TargetToken> {
        let characters = Characters::of(self.text.as_deref().unwrap_or(""));
        let token = |(t, score): (usize, &TokenScore)| TargetToken {
            id: self.ids[t],
            text: self.names[t].clone(),
            span: self.spans[t].as_ref().map(|s| characters.span(s)),
            position: position + t,
            log_probability: score.log_probability,
            probability: score.log_probability.exp(),
            logit: score.logit,
            rank: score.rank,
        };
        clean.iter().enumerate().map(token).collect()
    }
}

impl Goal {
    /// From what a person aims at to outputs of the model. Runs it only to find out what it says itself, or for the vector of another text.
    pub(super) fn new(
        (aim, contrast): (&Aim, Option<&Aim>),
        mask_at: Option<usize>,
        reading: &mut Reading,
        loaded: &Loaded,
        engine: &Engine<'_>,
    ) -> Result<Self> {
        let model = reading.model(loaded)?.description();
        if mask_at.is_some() && model.outputs != Outputs::Masked {
            return Err(Error::request(format!("this {} model fills in no mask; leave out the mask's position", model.architecture)));
        }
        let goal = match &model.outputs {
            Outputs::NextToken => continuation::goal(aim, contrast, reading, loaded, engine),
            Outputs::Masked => mask::goal(aim, contrast, mask_at, reading, loaded, engine),
            Outputs::Classes { names, .. } => class::goal(aim, contrast, names, reading, engine),
            Outputs::Embedding { .. } => similarity::goal(aim, contrast, reading, loaded, engine),
        }?;
        if goal.kind != TargetKind::Continuation && goal.contrast.as_ref().is_some_and(|c| c.ids == goal.target.ids) {
            return Err(Error::request("target and contrast are the same: every score would be 0; name another contrast"));
        }
        Ok(goal)
    }
}

/// The output with the highest score at a row.
pub(super) fn likeliest_at(engine: &Engine<'_>, reading: &Reading, row: usize) -> Result<u32> {
    let asks = vec![Ask { position: row, tokens: Vec::new() }];
    let document = Document { input: reading.input(engine.model.description()), control: Control::none(), asks };
    let up = engine.up(&[document], &[], Readout { logits: true, ..Readout::default() })?;
    Ok(likeliest(&up.documents[0][0].logits))
}

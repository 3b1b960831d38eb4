//! Occlusion, also called feature ablation or leave-one-out: replace a unit's tokens, or delete them, run again, subtract.
//!
//! ```text
//! score(unit, token) = score(token | clean) − score(token | unit replaced)
//! ```
//!
//! Source: Zeiler and Fergus 2014 (arXiv 1311.2901) for pictures; Li et al. 2016 (arXiv 1612.08220) for words.
//! A replaced token keeps its position; deleting moves everything after it. Passes and memory: see `perturbation`.
//! Earlier target tokens may be replaced, not deleted: their own rows are what is asked.
//! Parts of a picture are replaced by zero (the grey that its normalisation makes 0), its mean colour, or a blurred copy; a patch of which a unit
//! covers a part fades by that part. The learned rows of a picture stay as they are. With `window`, units are not replaced: a window slides over
//! the picture, every pixel gets the mean of what the windows that cover it do, and a unit the mean over its pixels (see `windows`).

use pellucid_core::{
    Control, Engine, Error, FeaturePositions, Input, Method, Outcome, Question, Result, model::Description, walk::Estimate,
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    perturbation::{self, Change, Perturb},
    replacement::{Replace, fade},
    windows::Windows,
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "occlusion",
    summary: "replaces or deletes each unit and measures what the target loses",
    needs: "any model",
    promise: "replacing a token by itself scores exactly 0",
    cost: "one walk up with a copy a unit (or a window); memory of inference plus one row of d_model a carried row",
    source: "Zeiler and Fergus 2014, arXiv 1311.2901; Li et al. 2016, arXiv 1612.08220",
    docs: include_str!("occlusion.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<Occlusion>("occlusion", parameters)?)),
};

/// Parameters of occlusion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Occlusion {
    /// What takes a token's place, or that of a part of a picture.
    pub replace: Replace,
    /// Slides a window of `[channels, rows, columns]` pixels over a picture, in place of replacing units.
    pub window: Option<[usize; 3]>,
    /// How far apart windows stand, along each axis; none: side by side.
    pub stride: Option<[usize; 3]>,
}

impl Perturb for Occlusion {
    fn changes(&self, engine: &Engine<'_>, input: &Input, prompt: usize, features: &[&FeaturePositions]) -> Result<Vec<Change>> {
        match self.replace.all(engine, input)? {
            Some(instead) => Ok(features.iter().map(|f| replaced(input, &instead, f)).collect()),
            None => features.iter().map(|f| deleted(input, prompt, f)).collect(),
        }
    }
}

fn replaced(input: &Input, instead: &Input, feature: &FeaturePositions) -> Change {
    let mut symbols = input.symbols.to_vec();
    feature.positions.iter().for_each(|(p, part)| symbols[*p] = fade(&input.symbols[*p], &instead.symbols[*p], *part));
    Change { input: Some(input.with_symbols(symbols)), control: Control::none(), removed: Vec::new() }
}

fn deleted(input: &Input, prompt: usize, feature: &FeaturePositions) -> Result<Change> {
    if let Some((position, _)) = feature.positions.iter().find(|p| p.0 >= prompt) {
        return Err(Error::request(format!(
            "position {position} is an earlier target token, which cannot be deleted, only replaced: \
             leave target tokens out of the features, or replace"
        )));
    }
    let covered = |p: usize| feature.positions.iter().any(|c| c.0 == p);
    let removed: Vec<usize> = (0..input.len()).filter(|p| covered(*p)).collect();
    if removed.len() >= prompt {
        return Err(Error::request(format!(
            "deleting this unit would take all {prompt} tokens of the prompt; replace them instead, or use smaller units"
        )));
    }
    Ok(Change { input: Some(input.retain(|p| !covered(p))), control: Control::none(), removed })
}

impl Occlusion {
    /// Scores of a sliding window: for each target token, then each contrast token, `[channel, height, width]`, the mean over the windows that
    /// cover a number.
    ///
    /// # Errors
    /// As [`Method::attribute`]; no window.
    pub fn windows(&self, engine: &Engine<'_>, question: &Question) -> Result<Vec<Vec<f64>>> {
        self.fits(engine.model.description())?;
        let windows = self.sliding().ok_or_else(|| Error::request("occlusion has no window; give `window`"))?;
        Ok(windows.run(engine, question, self.replace)?.0)
    }

    fn sliding(&self) -> Option<Windows> {
        self.window.map(|size| Windows { size, stride: self.stride.unwrap_or(size) })
    }
}

impl Method for Occlusion {
    fn id(&self) -> &'static str {
        "occlusion"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn fits(&self, model: &Description) -> Result<()> {
        if let (None, Some(stride)) = (self.window, self.stride) {
            return Err(Error::request(format!("stride {stride:?} has no window to move; give `window`")));
        }
        self.sliding().map_or(Ok(()), |w| w.check(model).map(|_| ()))?;
        self.replace.check(model)
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        self.fits(engine.model.description())?;
        match self.sliding() {
            Some(windows) => windows.estimate(engine, question, self.replace),
            None => perturbation::estimate(self, engine, question),
        }
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        self.fits(engine.model.description())?;
        match self.sliding() {
            Some(windows) => windows.outcome(engine, question, self.replace),
            None => perturbation::attribute(self, engine, question),
        }
    }
}

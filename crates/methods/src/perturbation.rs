//! What every perturbation method does: run the input as it is, run a changed copy per feature, subtract.
//!
//! ```text
//! score(feature, target token) = clean − changed        of the target token's log-probability or logit
//! ```
//!
//! Positive speaks for the target. (The published AtMan code subtracts cross-entropies the same way round, so its numbers carry the opposite
//! sign: they are negative where a token supports the target.)
//! Passes: one walk up per sweep, with one clean copy and one copy a feature (twice that with a contrast; fewer where a method lets one feature's
//! copy answer for another's); no walk down.
//! Memory: one row of `d_model` numbers per row carried; see `pellucid_core::walk::up`.

use pellucid_core::{
    Control, Engine, Error, FeaturePositions, Input, Outcome, Part, Place, Question, Result,
    walk::{
        Estimate,
        up::{Answer, Ask, Copy, Document, Readout, TokenScore},
    },
};

/// What becomes of an input when a feature is perturbed.
pub(crate) struct Change {
    /// What the model reads, if it is something else.
    pub(crate) input: Option<Input>,
    /// What is done to its attention.
    pub(crate) control: Control,
    /// Positions of the prompt that were taken out.
    pub(crate) removed: Vec<usize>,
}

impl Change {
    fn none() -> Self {
        Self { input: None, control: Control::none(), removed: Vec::new() }
    }
}

/// Everything to send up: the target's document, then the contrast's, then their copies feature by feature.
struct Plan {
    documents: Vec<Document>,
    copies: Vec<Copy>,
    /// For each document, which copy answers for each feature.
    answering: Vec<Vec<usize>>,
    tokens: Vec<Vec<u32>>,
}

/// Says what becomes of an input for each feature; the first `prompt` symbols are the prompt.
pub(crate) trait Perturb {
    /// For each feature the one whose copy answers for it: itself, or an earlier one that answers for itself.
    fn answering(&self, engine: &Engine<'_>, input: &Input, features: &[&FeaturePositions]) -> Result<Vec<usize>> {
        let _ = (engine, input);
        Ok((0..features.len()).collect())
    }

    fn changes(&self, engine: &Engine<'_>, input: &Input, prompt: usize, features: &[&FeaturePositions]) -> Result<Vec<Change>>;
}

fn plan(method: &dyn Perturb, engine: &Engine<'_>, question: &Question) -> Result<Plan> {
    question.check(engine.model)?;
    let tokens: Vec<Vec<u32>> = std::iter::once(&question.target.tokens).chain(&question.target.contrast).cloned().collect();
    let mut plan = Plan { documents: Vec::new(), copies: Vec::new(), answering: Vec::new(), tokens };
    for (document, tokens) in plan.tokens.iter().enumerate() {
        let input = question.document(tokens);
        let asks = |removed: &[usize]| -> Result<Vec<Ask>> {
            let ask = |(t, token): (usize, &u32)| Ok(Ask { position: moved(question, t, removed)?, tokens: vec![*token] });
            tokens.iter().enumerate().map(ask).collect()
        };
        // The contrast has other tokens, and not as many: what the target's own tokens do to it cannot be asked.
        let has = |feature: &FeaturePositions| document == 0 || feature.part == Part::Prompt;
        let features: Vec<&FeaturePositions> = question.features.iter().filter(|f| has(f)).collect();
        let by = method.answering(engine, &input, &features)?;
        let own: Vec<&FeaturePositions> = features.iter().enumerate().filter(|(i, _)| by[*i] == *i).map(|(_, f)| *f).collect();
        let mut changes = method.changes(engine, &input, question.prompt.len(), &own)?.into_iter();
        let (mut answering, mut copy_of) = (Vec::new(), Vec::new());
        for feature in &question.features {
            let earlier = by.get(copy_of.len()).filter(|by| has(feature) && **by < copy_of.len()).map(|by| copy_of[*by]);
            let copy = earlier.unwrap_or(plan.copies.len());
            if earlier.is_none() {
                let change = if has(feature) { changes.next().expect("one change a feature") } else { Change::none() };
                plan.copies.push(Copy { document, input: change.input, control: change.control, asks: asks(&change.removed)? });
            }
            answering.push(copy);
            copy_of.extend(has(feature).then_some(copy));
        }
        plan.answering.push(answering);
        plan.documents.push(Document { input, control: Control::none(), asks: asks(&[])? });
    }
    Ok(plan)
}

/// The row that scores target token `t` when some positions of the prompt are gone.
fn moved(question: &Question, t: usize, removed: &[usize]) -> Result<usize> {
    let row = question.row(t);
    match question.target.place {
        Place::Whole => Ok(row),
        Place::Continuation => Ok(row - removed.len()),
        Place::Position(_) if removed.contains(&row) => {
            Err(Error::request(format!("a unit covers position {row}, where the target stands: it cannot be deleted, only replaced")))
        }
        Place::Position(_) => Ok(row - removed.iter().filter(|p| **p < row).count()),
    }
}

/// What [`attribute`] would take.
pub(crate) fn estimate(method: &dyn Perturb, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
    let plan = plan(method, engine, question)?;
    engine.estimate(&plan.documents, &plan.copies)
}

/// Runs and subtracts.
pub(crate) fn attribute(method: &dyn Perturb, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
    let plan = plan(method, engine, question)?;
    let readout = Readout { temperature: question.target.temperature, logits: false };
    let up = engine.up(&plan.documents, &plan.copies, readout)?;
    let score = question.target.score;
    let clean = |d: usize| -> Vec<TokenScore> { up.documents.get(d).map_or(Vec::new(), |a| a.iter().map(|a| a.tokens[0]).collect()) };
    let differences = |d: usize| -> Vec<Vec<f64>> {
        let clean = clean(d);
        let of_copy = |answers: &Vec<Answer>| clean.iter().zip(answers).map(|(c, a)| score.of(c) - score.of(&a.tokens[0])).collect();
        plan.answering[d].iter().map(|copy| of_copy(&up.copies[*copy])).collect()
    };
    Ok(Outcome {
        clean: clean(0),
        clean_contrast: clean(1),
        per_target_token: differences(0),
        per_contrast_token: if plan.documents.len() > 1 { differences(1) } else { Vec::new() },
        cost: up.cost,
        ..Outcome::default()
    })
}

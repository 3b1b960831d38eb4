//! How similar a model that gives vectors finds the input and another text: the cosine of their vectors.

use pellucid_core::{
    Engine, Error, Input, Place, Result, TargetKind,
    candle::{DType, Tensor},
    control::Control,
    walk::trace::Site,
};
use pellucid_models::Loaded;

use super::{
    Aim,
    goal::{Aimed, Goal},
};
use crate::prompt::{Prompt, Reading, Within, reads_whole};

/// The goal of a model that gives vectors: the loaded model, made to score a text by its similarity to one other, or to two.
pub(super) fn goal(aim: &Aim, contrast: Option<&Aim>, loaded: &Loaded, engine: &Engine<'_>) -> Result<Goal> {
    let mut vectors = Vec::new();
    let mut aimed = |aim: &Aim| -> Result<Aimed> {
        let text = match aim {
            Aim::SimilarTo(text) | Aim::Text(text) => Some(text.clone()),
            _ => None,
        };
        vectors.push(match aim {
            Aim::SimilarTo(text) | Aim::Text(text) => {
                vector(&Reading::new(&Prompt::Text(text.clone()), &Within::default(), loaded)?.input(loaded.model.description()), engine)?
            }
            Aim::Ids(ids) => vector(&Input::tokens(ids), engine)?,
            // What an estimate says does not depend on which vector it is.
            Aim::Any(_) => vec![1.0; loaded.model.description().d_model],
            _ => {
                let instead = "give a second text to compare it with (--similar-to)";
                return Err(reads_whole(loaded.model.description(), "gives a vector, neither a class nor a word", instead));
            }
        });
        Ok(Aimed::one(vectors.len() as u32 - 1, "cosine", text, "given"))
    };
    let (target, contrast) = (aimed(aim)?, contrast.map(aimed).transpose()?);
    let model = loaded.model.compared_with(&vectors)?;
    Ok(Goal { kind: TargetKind::Similarity, place: Place::Whole, target, contrast, model: Some(model) })
}

/// The vector that an input becomes.
fn vector(input: &Input, engine: &Engine<'_>) -> Result<Vec<f64>> {
    let mut vector = Vec::new();
    let mut keep = |site: Site, tensor: &Tensor| {
        if site == Site::Pooled {
            vector = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        }
        Ok(())
    };
    engine.trace(input, &Control::none(), &mut keep)?;
    match vector.is_empty() {
        true => Err(Error::Unsupported("this model gives no vector to compare".into())),
        false => Ok(vector),
    }
}

//! How well a model that gives vectors finds that its input goes with something else: with another of its kind (the cosine of both vectors),
//! or, where a model has a tower for pictures and one for texts, a picture with a text (the cosine times what the model was trained with).

use pellucid_core::{
    Engine, Error, Input, Place, Result, TargetKind,
    candle::{DType, Tensor},
    control::Control,
    walk::trace::Site,
};
use pellucid_models::{Loaded, image::Picture};

use super::{
    Aim, Texts,
    goal::{Aimed, Goal},
};
use crate::{
    picture::Seen,
    prompt::{Prompt, Reading, Within, reader, reads_whole},
};

/// What the input is compared with, one after the other.
#[derive(Default)]
struct Others {
    vectors: Vec<Vec<f64>>,
    names: Vec<String>,
    /// Whether they are of the other kind: texts for a picture, pictures for a text.
    across: bool,
}

/// The goal of a model that gives vectors: its tower that reads the input, made to score it against others.
pub(super) fn goal(aim: &Aim, contrast: Option<&Aim>, reading: &Reading, loaded: &Loaded, engine: &Engine<'_>) -> Result<Goal> {
    let own = reading.model(loaded)?;
    let mut others = Others::default();
    let target = others.aimed(aim, reading, loaded, engine)?;
    let contrast = contrast.map(|c| others.aimed(c, reading, loaded, engine)).transpose()?.flatten();
    let scale = if others.across { loaded.match_scale.unwrap_or(1.0) } else { 1.0 };
    let kind = if others.across { TargetKind::Match } else { TargetKind::Similarity };
    let model = own.compared_with(&others.vectors, scale)?;
    let target = match target {
        Some(target) => target,
        None => {
            let own = vector(&reading.input(own.description()), engine)?; // the engine is this tower's, under the reading's control
            let chosen =
                (0..others.vectors.len()).max_by(|a, b| cosine(&own, &others.vectors[*a]).total_cmp(&cosine(&own, &others.vectors[*b])));
            let chosen = chosen.expect("texts were checked to be some");
            Aimed::one(chosen as u32, &others.names[chosen], Some(others.names[chosen].clone()), "predicted")
        }
    };
    Ok(Goal { kind, place: Place::Whole, target, contrast, model: Some(model) })
}

impl Others {
    /// Takes in what an aim names; `None`: the one of several texts that the model finds best.
    fn aimed(&mut self, aim: &Aim, reading: &Reading, loaded: &Loaded, engine: &Engine<'_>) -> Result<Option<Aimed>> {
        let model = reading.model(loaded)?.description();
        let of_pictures = reading.seen.is_some();
        match aim {
            Aim::SimilarTo(text) | Aim::Text(text) => self.text(text, text, of_pictures, loaded, engine),
            Aim::Texts(Texts { texts, names, chosen }) => {
                if texts.is_empty() || texts.len() != names.len() || chosen.is_some_and(|c| c >= texts.len()) {
                    return Err(Error::request(format!("{} texts with {} names to choose from; give one each", texts.len(), names.len())));
                }
                let first = self.vectors.len();
                for (text, name) in texts.iter().zip(names) {
                    self.text(text, name, of_pictures, loaded, engine)?;
                }
                Ok(chosen.map(|c| Aimed::one((first + c) as u32, &names[c], Some(names[c].clone()), "given")))
            }
            Aim::Picture(picture) => {
                let vector = self.picture(picture, loaded, engine)?;
                let name = picture.name.clone().unwrap_or_else(|| "another picture".into());
                self.add(vector, &name, !of_pictures)
            }
            Aim::Ids(ids) if !of_pictures => {
                let vector = vector(&Input::tokens(ids), &engine.with(reading.model(loaded)?))?;
                Ok(self.add(vector, "", false)?.map(|aimed| Aimed { text: None, names: vec!["cosine".into()], ..aimed }))
            }
            // What an estimate says does not depend on which vector it is.
            Aim::Any(_) => self.add(vec![1.0; model.embedding_width().unwrap_or(model.d_model)], "", of_pictures && loaded.text.is_some()),
            _ => Err(reads_whole(
                model,
                "gives a vector, neither a class nor a word",
                match (of_pictures, loaded.text.is_some()) {
                    (false, _) => "give a second text to compare it with (--similar-to)",
                    (true, true) => "give texts to compare the picture with (--text)",
                    (true, false) => "give a second picture to compare it with (--similar-to-image)",
                },
            )),
        }
    }

    fn text(&mut self, text: &str, name: &str, across: bool, loaded: &Loaded, engine: &Engine<'_>) -> Result<Option<Aimed>> {
        let prompt = Prompt::Text(text.to_owned());
        let model = reader(&prompt, loaded)?;
        let input = Reading::new(&prompt, &Within::default(), loaded)?.input(model.description());
        let found = vector(&input, &engine.with(model)).map_err(|e| match e {
            Error::Request(what) => Error::request(format!("the text \"{text}\": {what}")),
            other => other,
        })?;
        self.add(found, name, across)
    }

    fn picture(&self, picture: &Picture, loaded: &Loaded, engine: &Engine<'_>) -> Result<Vec<f64>> {
        vector(&Seen::new(picture, loaded)?.input, &engine.with(&loaded.model))
    }

    fn add(&mut self, vector: Vec<f64>, name: &str, across: bool) -> Result<Option<Aimed>> {
        if !self.vectors.is_empty() && self.across != across {
            return Err(Error::request("target and contrast must both be texts, or both be pictures"));
        }
        self.across = across;
        self.vectors.push(vector);
        self.names.push(name.to_owned());
        let id = self.vectors.len() as u32 - 1;
        Ok(Some(Aimed::one(id, if across { name } else { "cosine" }, Some(name.to_owned()), "given")))
    }
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

/// The vector that an input becomes in the engine's model.
pub(crate) fn vector(input: &Input, engine: &Engine<'_>) -> Result<Vec<f64>> {
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

//! Checks of a model with two towers, one of pictures and one of texts: each pair of picture and text is asked alone, of the tower that is looked
//! at, compared with the other's vector.

use pellucid_core::{Error, Model, Result};

use super::{
    case::{Array, Check},
    checks::{Runner, Texts, unsupported},
};
use crate::explain::similarity::vector;

impl Runner<'_> {
    /// One entry for each text; the picture is the same for all.
    pub(super) fn matched(&self, check: &Check, texts: &Texts) -> Result<Array> {
        let ids = self.case.input(check, "input_ids")?.unwrap_or_default();
        let count = ids.shape.first().copied().unwrap_or(0);
        let Some(pictures) = &self.model else { return unsupported("a model with two towers, of which one is missing") };
        let tower = |model: &Model, text: usize| Runner { case: self.case, model: Some(model.clone()), texts: None, text: Some(text) };
        let of = |model: &Model| (0..count).map(|text| tower(model, text).vector(check)).collect::<Result<Vec<_>>>();
        let (of_pictures, of_texts) = (of(pictures)?, of(&texts.model)?);
        match (check.kind.as_str(), check.site["index"].as_str(), check.site["stream"].as_str()) {
            ("logits", ..) => {
                let row = |picture: &Vec<f64>| of_texts.iter().map(|text| texts.scale * product(picture, text)).collect();
                return Ok(Array::rows(of_pictures.iter().map(row).collect()));
            }
            (_, Some("projected"), Some("image")) => return Ok(Array::rows(of_pictures)),
            (_, Some("projected"), Some("text")) => return Ok(Array::rows(of_texts)),
            _ => {}
        }
        let place = check.site["stream"].as_str().or(check.site["from"].as_str());
        // Without a site, words say which tower, and which text where it is one of several.
        let asked =
            check.output.split("of R of text ").nth(1).and_then(|rest| rest.split(',').next()).and_then(|n| n.parse::<usize>().ok());
        let reads_text = place.map_or(asked.is_some() || check.output.contains("text tower"), |p| p == "text");
        let one = |text: usize| -> Result<Array> {
            let (model, other) = if reads_text { (&texts.model, &of_pictures) } else { (pictures, &of_texts) };
            tower(&model.compared_with(&other[text..text + 1], texts.scale)?, text).numbers(check)
        };
        match asked {
            Some(text) if text >= count => Err(Error::request(format!("text {text} is not among the {count} texts of the case"))),
            Some(text) => one(text),
            None => stacked((0..count).map(one).collect::<Result<_>>()?),
        }
    }

    /// The vector of length 1 that this model makes of a check's input.
    fn vector(&self, check: &Check) -> Result<Vec<f64>> {
        let vector = vector(&self.input(check)?, &self.engine(check)?)?;
        let length = product(&vector, &vector).sqrt();
        Ok(vector.iter().map(|x| x / length).collect())
    }
}

fn product(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn stacked(parts: Vec<Array>) -> Result<Array> {
    let shape = parts.first().map_or(Vec::new(), |p| p.shape.clone());
    let shape = [vec![parts.len()], shape].concat();
    Ok(Array { shape, values: parts.into_iter().flat_map(|p| p.values).collect() })
}

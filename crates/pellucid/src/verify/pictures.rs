//! Checks of what a person sees: colours, overlays, documents, and what is done to maps on the way there.

use pellucid_core::{Error, Result};
use pellucid_render::{
    latex_as_published,
    picture::{ColourMap, above, bilinear, otsu, overlay_as_published},
};
use serde_json::{Value as Json, json};

use super::{
    case::{Array, Check},
    checks::{Got, Runner, unsupported, whole},
};

impl Runner<'_> {
    /// A picture, a document, or a number of a map.
    pub(super) fn drawn(&self, check: &Check) -> Result<Got> {
        let p = &check.params;
        let text = |name: &str| p[name].as_str().unwrap_or_default();
        let bytes = |shape: &[usize], bytes: Vec<u8>| Got::Numbers(Array::new(shape, bytes.into_iter().map(f64::from).collect()));
        match (check.kind.as_str(), text("form"), text("metric")) {
            ("render", "colour-map", _) => Ok(bytes(&[256, 3], colours(&p["name"])?.table().concat())),
            ("render", "overlay", _) if text("channels") == "as-published" => {
                let (image, map) = (self.given(check, "image")?, self.given(check, "map")?);
                Ok(bytes(&image.shape, overlay_as_published(&image.values, &map.values, colours(&p["colour_map"])?.table())?))
            }
            ("render", "latex", _) => {
                let tokens: Vec<&str> = match check.inputs.get("tokens") {
                    Some(Json::Array(tokens)) => tokens.iter().filter_map(Json::as_str).collect(),
                    _ => return Err(self.case.wrong(check, "input `tokens` is not a list of texts")),
                };
                let scores: Vec<f32> = self.given(check, "scores")?.values.iter().map(|s| *s as f32).collect();
                Ok(Got::Value(latex_as_published(&tokens, &scores, text("colour"))?.into()))
            }
            ("metric", _, "otsu-threshold") => {
                let levels: Vec<u8> = self.given(check, "image")?.values.iter().map(|x| *x as u8).collect();
                let threshold = otsu(&levels);
                let above = above(&levels, threshold).into_iter().filter(|above| *above).count();
                // The published threshold is a fraction that happens to be whole.
                Ok(Got::Value(json!({ "threshold": f64::from(threshold), "above": above })))
            }
            ("metric", _, "resize") if (text("filter"), text("centres"), text("edges")) == ("bilinear", "half-pixel", "clamp") => {
                let (image, scale) = (self.given(check, "image")?, whole(&p["scale"])?);
                let from = <[usize; 2]>::try_from(&image.shape[..]).map_err(|_| self.case.wrong(check, "the image has not two axes"))?;
                let to = from.map(|n| n.saturating_mul(scale));
                Ok(Got::Numbers(Array::new(&to, bilinear(&image.values, from, to)?)))
            }
            (kind, form, metric) => unsupported(format!("{kind} {form}{metric}")),
        }
    }

    fn given(&self, check: &Check, name: &str) -> Result<Array> {
        self.case.input(check, name)?.ok_or_else(|| self.case.wrong(check, &format!("has no input `{name}`")))
    }
}

fn colours(name: &Json) -> Result<ColourMap> {
    name.as_str().and_then(ColourMap::named).ok_or_else(|| Error::Unsupported(format!("colour map {name}")))
}

//! timm's `config.json`: `pretrained_cfg` says what the model was evaluated with.
//!
//! The side to resize to is `⌊input side / crop_pct⌋`. With `crop_mode` `center` that is the shortest edge, with `squash` both sides; then the
//! middle is taken.

use std::path::Path;

use pellucid_core::{Error, Result};
use serde_json::{Map, Value as Json};

use super::hugging_face::{colour, read};
use super::preprocessing::IMAGENET;
use super::{Centre, Crop, Filter, Normalisation, Preprocessing, Resize, Size};

/// What timm does where a config is silent.
const CROP_PCT: f64 = 0.875;

/// What a model's folder says, if it is timm's.
pub(super) fn from_folder(folder: &Path) -> Result<Option<Preprocessing>> {
    let path = folder.join("config.json");
    let Some(config) = read(&path)? else { return Ok(None) };
    let config = match config.get("pretrained_cfg") {
        Some(Json::Object(inner)) => inner,
        _ if config.contains_key("input_size") && config.contains_key("architecture") => &config, // as the first ones had it
        _ => return Ok(None),
    };
    from_config(config).map(Some).map_err(|problem| Error::format(path, problem))
}

pub(super) fn from_config(config: &Map<String, Json>) -> Result<Preprocessing, String> {
    let get = |key: &str| config.get(key).filter(|value| !value.is_null());
    let size = get("input_size").ok_or("`input_size` is missing")?;
    let (height, width) = input_size(size).ok_or_else(|| format!("`input_size` is {size}; it is `[3, height, width]`"))?;
    let crop_pct = get("crop_pct").map_or(Ok(CROP_PCT), |p| {
        p.as_f64().filter(|p| *p > 0.0 && *p <= 1.0).ok_or_else(|| format!("`crop_pct` is {p}; it is above 0 and at most 1"))
    })?;
    let scaled = |side: usize| (side as f64 / crop_pct).floor() as usize;
    let mode = get("crop_mode").map_or(Some("center"), Json::as_str);
    let to = match mode {
        Some("center") if height == width => Size::ShortestEdge(scaled(height)),
        Some("center") => return Err(format!("`input_size` is {size}; with `crop_mode` `center` only squares are done here")),
        Some("squash") => Size::Exact { height: scaled(height), width: scaled(width) },
        _ => return Err(format!("`crop_mode` is {}; `center` and `squash` are done here", config["crop_mode"])),
    };
    let filter = get("interpolation").map_or(Ok(Filter::Bicubic), |name| {
        let found = Filter::NUMBERED.iter().find(|(_, n)| name == n);
        found.map(|f| f.0).ok_or_else(|| {
            let known: Vec<_> = Filter::NUMBERED.iter().map(|f| f.1).collect();
            format!("`interpolation` is {name}; it is one of {}", known.join(", "))
        })
    })?;
    let numbers = |key: &str, default| {
        get(key).map_or(Ok(default), |v| colour(v).ok_or_else(|| format!("`{key}` is {v}; it is three numbers, for red, green and blue")))
    };
    let result = Preprocessing {
        resize: Some(Resize { to, filter }),
        crop: Some(Crop { height, width, centre: Centre::Even }),
        rescale: Some(1.0 / 255.0),
        normalise: Some(Normalisation { mean: numbers("mean", IMAGENET.mean)?, std: numbers("std", IMAGENET.std)? }),
    };
    result.check().map_err(|e| e.to_string())?;
    Ok(result)
}

fn input_size(value: &Json) -> Option<(usize, usize)> {
    let sides: Vec<usize> = value.as_array()?.iter().map(|n| usize::try_from(n.as_u64()?).ok()).collect::<Option<_>>()?;
    match sides[..] {
        [3, height, width] => Some((height, width)),
        _ => None,
    }
}

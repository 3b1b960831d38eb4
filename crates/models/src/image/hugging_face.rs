//! `preprocessor_config.json`: what Hugging Face's image processors do.
//!
//! Files leave out what their class does anyway, and `size: 224` is a square for one class and a shortest edge for another. So the class is
//! looked up in a table; one that is not there is an error, as its defaults are not known.

use std::fs;
use std::path::Path;

use pellucid_core::{Error, Result};
use serde_json::{Map, Value as Json};

use super::preprocessing::{CLIP, HALF};
use super::{Crop, Filter, Normalisation, Preprocessing, Resize, Size};

/// What a class of image processors does when nothing else is said.
struct Family {
    /// The class without its ending.
    name: &'static str,
    /// What is done by default.
    default: fn() -> Preprocessing,
    /// Whether a size of one number is a shortest edge, and not a square.
    shortest_edge: bool,
    /// Whether there is a crop unless the file says no.
    crops: bool,
}

/// The known classes.
const FAMILIES: [Family; 6] = [
    Family { name: "ViT", default: || square(224, Filter::Bilinear), shortest_edge: false, crops: false },
    Family { name: "DeiT", default: || square(256, Filter::Bicubic), shortest_edge: false, crops: true },
    Family { name: "CLIP", default: clip, shortest_edge: true, crops: true },
    Family { name: "ChineseCLIP", default: clip, shortest_edge: true, crops: true },
    Family { name: "Bit", default: clip, shortest_edge: true, crops: true }, // DINOv2's files, which say all of it
    Family { name: "Siglip", default: || square(224, Filter::Bicubic), shortest_edge: true, crops: false },
];

/// Endings of the names of one class over the years.
const ENDINGS: [&str; 4] = ["FeatureExtractor", "ImageProcessor", "ImageProcessorFast", "ImageProcessorPil"];

/// The side of a crop that is asked for without its size, as far as a class has one.
const CROP_SIDE: usize = 224;

fn square(side: usize, filter: Filter) -> Preprocessing {
    Preprocessing::new(Size::Exact { height: side, width: side }, filter, None, HALF)
}

fn clip() -> Preprocessing {
    Preprocessing::new(Size::ShortestEdge(224), Filter::Bicubic, None, CLIP)
}

/// What a model's folder says, if it has one of these files.
pub(super) fn from_folder(folder: &Path) -> Result<Option<Preprocessing>> {
    let model_type = || -> Result<Option<String>> {
        let config = read(&folder.join("config.json"))?;
        Ok(config.and_then(|c| Some(c.get("model_type")?.as_str()?.to_owned())))
    };
    let alone = folder.join("preprocessor_config.json");
    if let Some(config) = read(&alone)? {
        return from_config(&config, model_type()?.as_deref()).map(Some).map_err(|problem| Error::format(&alone, problem));
    }
    let together = folder.join("processor_config.json");
    match read(&together)?.as_ref().and_then(|c| c.get("image_processor")) {
        Some(Json::Object(config)) => from_config(config, model_type()?.as_deref()).map(Some).map_err(|p| Error::format(&together, p)),
        _ => Ok(None),
    }
}

/// A JSON object in a file, if there is such a file.
pub(super) fn read(path: &Path) -> Result<Option<Map<String, Json>>> {
    const LARGEST: u64 = 16 << 20;
    let metadata = match fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(|e| Error::io("cannot read", path, e))?,
    };
    if metadata.len() > LARGEST {
        return Err(Error::format(path, format!("a config of {} bytes is larger than any real one", metadata.len())));
    }
    let text = fs::read(path).map_err(|e| Error::io("cannot read", path, e))?;
    match serde_json::from_slice(&text).map_err(|e| Error::format(path, format!("not JSON: {e}")))? {
        Json::Object(config) => Ok(Some(config)),
        _ => Err(Error::format(path, "not a JSON object")),
    }
}

/// `model_type` decides where the file does not name its class, as the first ones did not.
pub(super) fn from_config(config: &Map<String, Json>, model_type: Option<&str>) -> Result<Preprocessing, String> {
    let family = family(config, model_type)?;
    refuse(config)?;
    let default = (family.default)();
    let config = Config(config);
    let result = Preprocessing {
        resize: config.when("do_resize", true, || {
            let known = default.resize.ok_or("no default size")?;
            Ok(Resize { to: config.size(family)?.unwrap_or(known.to), filter: config.filter()?.unwrap_or(known.filter) })
        })?,
        crop: config.when("do_center_crop", family.crops, || {
            let (height, width) = match config.sides("crop_size")? {
                Some(size) => size,
                None if family.crops => (CROP_SIDE, CROP_SIDE),
                None => return Err("`do_center_crop` is true, and there is no `crop_size`".into()),
            };
            Ok(Crop { height, width, centre: Default::default() })
        })?,
        rescale: config.when("do_rescale", true, || Ok(config.number("rescale_factor")?.unwrap_or(1.0 / 255.0)))?,
        normalise: config.when("do_normalize", true, || {
            let known = default.normalise.ok_or("no default mean")?;
            Ok(Normalisation {
                mean: config.colour("image_mean")?.unwrap_or(known.mean),
                std: config.colour("image_std")?.unwrap_or(known.std),
            })
        })?,
    };
    result.check().map_err(|e| e.to_string())?;
    Ok(result)
}

fn family(config: &Map<String, Json>, model_type: Option<&str>) -> Result<&'static Family, String> {
    let named = ["image_processor_type", "feature_extractor_type"].into_iter().find_map(|key| config.get(key)?.as_str());
    let name = match (named, model_type) {
        (Some(class), _) => ENDINGS.iter().find_map(|e| class.strip_suffix(e)).unwrap_or(class),
        (None, Some("vit")) => "ViT",
        (None, Some("deit")) => "DeiT",
        (None, Some("clip" | "clip_vision_model")) => "CLIP",
        (None, Some("dinov2" | "dinov2_with_registers")) => "Bit",
        (None, Some("siglip")) => "Siglip",
        (None, _) => return Err("has no `image_processor_type`, without which it is not known what it leaves out".into()),
    };
    FAMILIES.iter().find(|f| f.name == name).ok_or_else(|| {
        let known: Vec<_> = FAMILIES.iter().map(|f| f.name).collect();
        format!("image processor `{}` is not known; those of {} are", named.unwrap_or(name), known.join(", "))
    })
}

/// Steps that are not done here. A key that is off changes nothing; what remains of the unknown ones are remarks.
fn refuse(config: &Map<String, Json>) -> Result<(), String> {
    const STEPS: [&str; 7] =
        ["do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_reduce_labels", "do_sample_frames"];
    const SETTINGS: [&str; 4] = ["crop_pct", "size_divisor", "pad_size", "rescale_offset"];
    let on = |value: &Json| !matches!(value, Json::Null | Json::Bool(false));
    let unknown = |key: &str| (key.starts_with("do_") && !STEPS.contains(&key)) || SETTINGS.contains(&key);
    match config.iter().find(|(key, value)| unknown(key) && on(value)) {
        Some((key, value)) => Err(format!("`{key}` is {value}, a step that is not done here; without it numbers would be wrong")),
        None => Ok(()),
    }
}

/// The file's values, checked.
struct Config<'a>(&'a Map<String, Json>);

impl Config<'_> {
    fn get(&self, key: &str) -> Option<&Json> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// What `then` gives, if the step `key` is to be done.
    fn when<T>(&self, key: &str, default: bool, then: impl FnOnce() -> Result<T, String>) -> Result<Option<T>, String> {
        match self.get(key) {
            None if default => then().map(Some),
            Some(Json::Bool(true)) => then().map(Some),
            None | Some(Json::Bool(false)) => Ok(None),
            Some(other) => Err(format!("`{key}` is {other}; it is true or false")),
        }
    }

    fn number(&self, key: &str) -> Result<Option<f64>, String> {
        self.get(key).map(|n| n.as_f64().ok_or_else(|| format!("`{key}` is {n}, not a number"))).transpose()
    }

    fn colour(&self, key: &str) -> Result<Option<[f64; 3]>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        colour(value).map(Some).ok_or_else(|| format!("`{key}` is {value}; it is three numbers, for red, green and blue"))
    }

    fn filter(&self) -> Result<Option<Filter>, String> {
        let Some(value) = self.get("resample") else { return Ok(None) };
        let found = value.as_u64().and_then(|n| Filter::NUMBERED.get(usize::try_from(n).ok()?));
        found.map(|f| Some(f.0)).ok_or_else(|| format!("`resample` is {value}; it is 0 to 5, as Pillow numbers its filters"))
    }

    fn size(&self, family: &Family) -> Result<Option<Size>, String> {
        let Some(value) = self.get("size") else { return Ok(None) };
        if let Some(edge) = side(value).filter(|_| family.shortest_edge) {
            return Ok(Some(Size::ShortestEdge(edge)));
        }
        let of = |key: &str| value.get(key).filter(|v| !v.is_null());
        match (of("shortest_edge"), of("longest_edge"), of("height"), of("width")) {
            (Some(edge), None, None, None) => {
                side(edge).map(|edge| Some(Size::ShortestEdge(edge))).ok_or_else(|| wrong_size("size", value))
            }
            (_, Some(_), ..) => Err(format!("`size` is {value}; a longest edge is not done here")),
            _ => Ok(self.sides("size")?.map(|(height, width)| Size::Exact { height, width })),
        }
    }

    /// Height and width: one number for both, a pair of them, or by name.
    fn sides(&self, key: &str) -> Result<Option<(usize, usize)>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let sides = match value {
            Json::Array(pair) => (pair.len() == 2).then(|| Some((side(&pair[0])?, side(&pair[1])?))).flatten(),
            Json::Object(_) => (|| Some((side(value.get("height")?)?, side(value.get("width")?)?)))(),
            _ => side(value).map(|n| (n, n)),
        };
        sides.map(Some).ok_or_else(|| wrong_size(key, value))
    }
}

fn wrong_size(key: &str, value: &Json) -> String {
    format!("`{key}` is {value}; it is a number of pixels, or `height` and `width`, or, to resize, `shortest_edge`")
}

fn side(value: &Json) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

/// Three numbers.
pub(super) fn colour(value: &Json) -> Option<[f64; 3]> {
    let numbers: Vec<f64> = value.as_array()?.iter().map(Json::as_f64).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

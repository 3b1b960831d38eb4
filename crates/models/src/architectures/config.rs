//! `config.json`, read with care: every value is named in the error when it is missing or makes no sense.

use std::collections::BTreeMap;

use pellucid_core::{Error, Result, WeightStore};
use serde_json::Value as Json;

/// Larger than any size a real config holds; keeps products of sizes far from overflow.
const LARGEST: usize = (1 << 31) - 1;

/// A model describes each of its blocks, and some of them each head, before a tensor is looked at. Real ones have at most a few hundred.
const MOST_LAYERS: usize = 10_000;
const MOST_HEADS: usize = 1024;

/// Each class has a name; real models have at most some ten thousand.
const MOST_CLASSES: usize = 1 << 20;

/// A model's `config.json`, and the shapes of the tensors beside it for what old ones leave unsaid.
#[derive(Clone, Debug)]
pub struct Config {
    json: Json,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl Config {
    /// Takes a JSON object.
    ///
    /// # Errors
    /// Anything but an object.
    pub fn new(json: Json) -> Result<Self> {
        if !json.is_object() {
            return Err(Error::Weights("the config is not a JSON object".into()));
        }
        Ok(Self { json, shapes: BTreeMap::new() })
    }

    /// The same beside these tensors.
    #[must_use]
    pub fn beside(self, weights: &dyn WeightStore) -> Self {
        let shape = |name: String| weights.info(&name).map(|info| (name, info.shape));
        Self { shapes: weights.names().into_iter().filter_map(shape).collect(), ..self }
    }

    /// The same beside tensors of these shapes.
    #[must_use]
    pub fn with_shapes(self, shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        Self { shapes: shapes.into_iter().collect(), ..self }
    }

    /// A part of this config taken as one, beside the same tensors.
    ///
    /// # Errors
    /// Anything but an object.
    pub fn inside(&self, json: Json) -> Result<Self> {
        Ok(Self { shapes: self.shapes.clone(), ..Self::new(json)? })
    }

    /// The shape of a tensor, where there is such a one.
    pub fn shape(&self, tensor: &str) -> Option<&[usize]> {
        self.shapes.get(tensor).map(Vec::as_slice)
    }

    /// The raw value, if it is there and not null.
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.json.get(key).filter(|v| !v.is_null())
    }

    /// `model_type`.
    pub fn model_type(&self) -> Result<&str> {
        self.get("model_type").and_then(Json::as_str).ok_or_else(|| {
            let is = self.get("model_type").map_or("missing".into(), |value| value.to_string());
            Error::Weights(format!("the config's `model_type` is {is}; it should name an architecture, such as \"llama\""))
        })
    }

    /// A size of at least 1.
    pub fn size(&self, key: &str) -> Result<usize> {
        self.size_or(key, None)
    }

    /// A size of at least 1, or a default where it is not given.
    pub fn size_or(&self, key: &str, default: impl Into<Option<usize>>) -> Result<usize> {
        self.size_up_to(LARGEST, key, default.into())
    }

    /// How many blocks there are.
    pub fn layers(&self, key: &str) -> Result<usize> {
        self.size_up_to(MOST_LAYERS, key, None)
    }

    /// How many heads a block has, or a default where it is not given.
    pub fn heads_or(&self, key: &str, default: impl Into<Option<usize>>) -> Result<usize> {
        self.size_up_to(MOST_HEADS, key, default.into())
    }

    /// `num_labels`, where it is given.
    pub fn classes(&self) -> Result<Option<usize>> {
        self.get("num_labels").map(|_| self.size_up_to(MOST_CLASSES, "num_labels", None)).transpose()
    }

    fn size_up_to(&self, most: usize, key: &str, default: Option<usize>) -> Result<usize> {
        match (self.get(key), default) {
            (None, Some(default)) => Ok(default),
            (None, None) => Err(Error::Weights(format!("the config has no `{key}`"))),
            (Some(value), _) => match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
                Some(n) if (1..=most).contains(&n) => Ok(n),
                _ => Err(Error::Weights(format!("the config's `{key}` is {value}, not a whole number from 1 to {most}"))),
            },
        }
    }

    /// What a norm adds to a variance, or a default. Above 0: a row of zeros must not become NaN.
    pub fn epsilon_or(&self, key: &str, default: f64) -> Result<f64> {
        match number(self.get(key), key, default)? {
            epsilon if epsilon > 0.0 => Ok(epsilon),
            epsilon => Err(Error::Weights(format!("the config's `{key}` is {epsilon}, not a number above 0"))),
        }
    }

    /// True or false, or a default.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| Error::Weights(format!("the config's `{key}` is {value}, not true or false"))),
        }
    }

    /// A name, or a default.
    pub fn name_or<'a>(&'a self, key: &str, default: &'a str) -> Result<&'a str> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_str().ok_or_else(|| Error::Weights(format!("the config's `{key}` is {value}, not a name"))),
        }
    }

    /// `whole / parts`.
    ///
    /// # Errors
    /// A remainder.
    pub fn divide(&self, (whole_name, whole): (&str, usize), (parts_name, parts): (&str, usize)) -> Result<usize> {
        if whole % parts == 0 {
            return Ok(whole / parts);
        }
        Err(Error::Weights(format!("the config's `{whole_name}` ({whole}) is not a multiple of its `{parts_name}` ({parts})")))
    }

    /// Rotary settings: the newer `rope_parameters`, else the older `rope_scaling`; a value inside it, else beside it.
    pub fn rope(&self, key: &str) -> Option<&Json> {
        let inside = ["rope_parameters", "rope_scaling"].iter().find_map(|g| self.get(g));
        inside.and_then(|g| g.get(key)).filter(|v| !v.is_null()).or_else(|| self.get(key))
    }

    /// A number of the rotary settings, or a default.
    pub fn rope_number_or(&self, key: &str, default: f64) -> Result<f64> {
        number(self.rope(key), key, default)
    }

    /// The first of the `keys` that the rotary settings have, or a default.
    pub fn rope_first_number_or(&self, keys: &[&str], default: f64) -> Result<f64> {
        let key = keys.iter().find(|key| self.rope(key).is_some());
        key.map_or(Ok(default), |key| self.rope_number_or(key, default))
    }

    /// Checks that rotary settings, where there are some, are of the form that [`Config::rope`] reads.
    ///
    /// # Errors
    /// Anything but an object, or one that has settings for each kind of layer.
    pub fn check_rope(&self) -> Result<()> {
        for group in ["rope_parameters", "rope_scaling"] {
            let Some(value) = self.get(group) else { continue };
            let settings = value.as_object().ok_or_else(|| Error::Weights(format!("the config's `{group}` is {value}, not an object")))?;
            if let Some((kind, _)) = settings.iter().find(|(_, v)| v.is_object()) {
                let what = format!("the config's `{group}` has settings of its own for `{kind}`; only one set for all layers is supported");
                return Err(Error::Unsupported(what));
            }
        }
        Ok(())
    }
}

fn number(value: Option<&Json>, key: &str, default: f64) -> Result<f64> {
    match value {
        None => Ok(default),
        Some(value) => match value.as_f64() {
            Some(n) if n.is_finite() => Ok(n),
            _ => Err(Error::Weights(format!("the config's `{key}` is {value}, not a number"))),
        },
    }
}

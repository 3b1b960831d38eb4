//! A model's config: `config.json`, or what a checkpoint carries itself, completed where it was published incomplete.
//!
//! - Configs from the first years do not name a `model_type`. The tensors tell it: BERT's begin with `bert.`.
//! - NanoGuard has its config inside the checkpoint and its class names in its code; no file names the architecture. Its tensors do.
//! - timm's and OpenAI's image models have no config of Hugging Face's kind: see `names.rs`.
//! - DINOv2 takes pictures of any size, and its config tells that of its training. What counts is the size that its pictures are made into.

use std::fs;
use std::path::Path;

use pellucid_core::{Error, Result, WeightStore};
use serde_json::{Map, Value as Json, json};

use crate::architectures::{Config, names};
use crate::image::Preprocessing;
use crate::weights::{self, torch};

/// The config of the model with these weights.
pub(super) fn find(weights: &Path, store: &dyn WeightStore) -> Result<Config> {
    let folder = weights.parent().unwrap_or(Path::new("."));
    let file = folder.join("config.json");
    let carried = if !file.is_file() && weights::kind(weights)? == weights::Kind::Torch { torch::config(weights)? } else { None };
    let (file, mut config) = match carried {
        Some(config) => (weights, config),
        None if file.is_file() => (file.as_path(), read(&file)?),
        None if names::are_known(store) => (weights, Map::new()),
        None if weights::kind(weights)? == weights::Kind::Torch => return Err(missing(&file)),
        None => (file.as_path(), read(&file)?),
    };
    let open_clip = Some(folder.join("open_clip_config.json")).filter(|file| file.is_file());
    names::complete(&mut config, store, open_clip.map(|file| read(&file)).transpose()?.as_ref())?;
    complete(&mut config, &store.names());
    if config.get("model_type").and_then(Json::as_str).is_some_and(|kind| kind.starts_with("dinov2")) {
        see(&mut config, Preprocessing::from_folder(folder)?.and_then(|p| p.input_size()));
    }
    Config::new(Json::Object(config)).map_err(|_| Error::format(file, "not a JSON object"))
}

fn missing(file: &Path) -> Error {
    Error::format(file, "is not there, and the checkpoint beside it carries no config of its own")
}

fn read(path: &Path) -> Result<Map<String, Json>> {
    const LARGEST: u64 = 16 << 20;
    let size = fs::metadata(path).map_err(|e| Error::io("cannot read", path, e))?.len();
    if size > LARGEST {
        return Err(Error::format(path, format!("a config of {size} bytes is larger than any real one")));
    }
    let text = fs::read(path).map_err(|e| Error::io("cannot read", path, e))?;
    match serde_json::from_slice(&text).map_err(|e| Error::format(path, format!("not JSON: {e}")))? {
        Json::Object(config) => Ok(config),
        _ => Err(Error::format(path, "not a JSON object")),
    }
}

/// Adds what no file says and the tensors' names tell.
fn complete(config: &mut Map<String, Json>, names: &[String]) {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if config.get("model_type").is_none_or(Json::is_null) {
        if has("bert.embeddings.word_embeddings.weight") {
            config.insert("model_type".into(), "bert".into());
        } else if has("transformer.wte.weight") && has("x0_lambdas") && has("resid_lambdas") && has("cls_head.weight") {
            config.insert("model_type".into(), "nanoguard".into());
            config.entry("id2label").or_insert_with(|| json!({"0": "safe", "1": "injection"}));
        }
    }
}

/// Sets the size of the pictures that a model of any size is given.
fn see(config: &mut Map<String, Json>, size: Option<(usize, usize)>) {
    if let Some((height, width)) = size
        && height == width
    {
        config.insert("image_size".into(), json!(height));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(config: Json, names: &[&str]) -> Json {
        let Json::Object(mut config) = config else { panic!("{config} is no object") };
        complete(&mut config, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        Json::Object(config)
    }

    #[test]
    fn old_configs_are_completed_from_the_tensors_names() {
        let bert = completed(json!({"vocab_size": 5}), &["bert.embeddings.word_embeddings.weight", "classifier.weight"]);
        assert_eq!(bert, json!({"vocab_size": 5, "model_type": "bert"}));
        let guard = completed(json!({"n_layer": 4}), &["transformer.wte.weight", "x0_lambdas", "resid_lambdas", "cls_head.weight"]);
        assert_eq!(guard, json!({"n_layer": 4, "model_type": "nanoguard", "id2label": {"0": "safe", "1": "injection"}}));
    }

    #[test]
    fn what_a_config_says_stays() {
        let other = json!({"model_type": "gpt2"});
        assert_eq!(completed(other.clone(), &["bert.embeddings.word_embeddings.weight"]), other);
        assert_eq!(completed(json!({}), &["wte.weight"]), json!({})); // what names it cannot be told: `model_type` is asked for later
    }
}

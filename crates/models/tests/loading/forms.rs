//! The same model in every form of file gives the same logits, to the last bit.

use std::{collections::BTreeMap, fs, path::Path};

use pellucid_models::Loaded;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    checkpoint::{ALL, Checkpoint, Tensor, error, logits, opened, safetensors, says},
    writers::torch,
};

/// A folder that holds the config alone.
fn folder(checkpoint: &Checkpoint) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), checkpoint.config.to_string()).unwrap();
    folder
}

/// Two shards and their index; every other tensor in each.
fn write_shards(
    folder: &Path,
    tensors: &BTreeMap<String, Tensor>,
    index: &str,
    names: [&str; 2],
    write: impl Fn(&BTreeMap<String, Tensor>) -> Vec<u8>,
) {
    let mut shards = [BTreeMap::new(), BTreeMap::new()];
    let mut map = serde_json::Map::new();
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        shards[i % 2].insert(name.clone(), tensor.clone());
        map.insert(name.clone(), json!(names[i % 2]));
    }
    names.iter().zip(&shards).for_each(|(name, shard)| fs::write(folder.join(name), write(shard)).unwrap());
    fs::write(folder.join(index), json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string()).unwrap();
}

const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

fn sharded(checkpoint: &Checkpoint) -> TempDir {
    let folder = folder(checkpoint);
    write_shards(folder.path(), &checkpoint.tensors, "model.safetensors.index.json", SHARDS, safetensors);
    folder
}

#[test]
fn shards_give_the_logits_of_the_whole() {
    for case in ALL {
        let whole = Checkpoint::case(case);
        let folder = sharded(&whole);
        assert_eq!(logits(folder.path()), whole.logits(), "{case}");
        assert_eq!(logits(&folder.path().join("model.safetensors.index.json")), whole.logits(), "{case} by its index");
        let names: Vec<String> = opened(folder.path()).unwrap().record.files.into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["model.safetensors.index.json", SHARDS[0], SHARDS[1]]);
    }
}

#[test]
fn a_torch_checkpoint_gives_the_logits_of_the_safetensors_file() {
    for case in ALL {
        let whole = Checkpoint::case(case);
        let folder = folder(&whole);
        let file = folder.path().join("pytorch_model.bin");
        fs::write(&file, torch(whole.tensors.iter())).unwrap();
        assert_eq!(logits(folder.path()), whole.logits(), "{case}");
        assert_eq!(logits(&file), whole.logits(), "{case} by its file");
        fs::remove_file(file).unwrap();
        write_shards(folder.path(), &whole.tensors, "pytorch_model.bin.index.json", ["a.bin", "b.bin"], |shard| torch(shard.iter()));
        assert_eq!(logits(folder.path()), whole.logits(), "{case} in shards");
    }
}

#[test]
fn safetensors_are_taken_where_a_folder_has_both() {
    let whole = Checkpoint::case("llama");
    let folder = whole.folder();
    fs::write(folder.path().join("pytorch_model.bin"), b"not looked at").unwrap();
    assert_eq!(logits(folder.path()), whole.logits());
}

#[test]
fn a_shard_that_is_not_there_or_not_complete_is_named() {
    let whole = Checkpoint::case("llama");
    let folder = sharded(&whole);
    let mut less = whole.clone();
    less.tensors.retain(|name, _| name == "lm_head.weight");
    fs::write(folder.path().join(SHARDS[0]), safetensors(&less.tensors)).unwrap();
    says(&error(folder.path()), &["model.safetensors.index.json", "places tensor `", SHARDS[0], "does not hold it"]);
    fs::remove_file(folder.path().join(SHARDS[0])).unwrap();
    says(&error(folder.path()), &["cannot", SHARDS[0]]);
}

#[test]
fn a_folder_without_weights_is_told_what_should_be_there() {
    let folder = folder(&Checkpoint::case("llama"));
    says(&error(folder.path()), &["no weights", "model.safetensors", "pytorch_model.bin", "GGUF"]);
    says(&error(&folder.path().join("nothing.safetensors")), &["cannot", "nothing.safetensors"]);
    says(&error(&folder.path().join("config.json")), &["config.json"]);
}

#[test]
fn the_record_tells_what_was_loaded() {
    for case in ALL {
        let folder = Checkpoint::case(case).folder();
        let bytes = fs::metadata(folder.path().join("model.safetensors")).unwrap().len();
        let Loaded { model, tokenizer, record, .. } = opened(folder.path()).unwrap();
        assert!(tokenizer.is_none());
        assert_eq!((record.architecture.as_str(), record.id.as_str(), record.device.as_str()), (case, "test", "cpu"));
        assert_eq!(record.files.iter().map(|f| (f.name.as_str(), f.bytes)).collect::<Vec<_>>(), [("model.safetensors", bytes)]);
        let numbers: usize = Checkpoint::case(case).tensors.values().map(|t| t.bytes.len() / 4).sum();
        assert_eq!(model.parameter_count(), numbers as u64, "{case}");
    }
}

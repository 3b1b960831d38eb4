//! Torch checkpoints: a pickle, which says what the tensors are, and storages, which hold their numbers. Since torch 1.6 they lie in a zip
//! archive, before that one after the other.
//!
//! The pickle is read and never executed: see `pickle.rs`. A checkpoint's dictionary of tensors is the pickle's top dictionary; where that
//! holds no tensors itself, it is the one dictionary with tensors under `state_dict`, `model_state_dict`, `model` or `module`. Dictionaries of
//! tensors inside the dictionary of tensors are errors; other values beside tensors (step counts, versions) are not weights and are left alone.
//! Checksums are not checked: that would read the whole file.

mod archive;
pub(super) mod legacy;
pub(crate) mod pickle;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use pellucid_core::{Error, Result};
use serde_json::Value as Json;

use self::pickle::{Heap, Tensor, Value};
use super::encoding::Encoding;
use super::mapped::{self, Bytes};
use super::table::{TensorFile, span};

/// Opens one torch checkpoint.
///
/// # Errors
/// The file cannot be read, its pickle wants something other than tensors, or storages, pickle and shapes do not fit each other.
pub fn open(path: &Path) -> Result<TensorFile> {
    read(path, mapped::map(path)?)
}

/// Reads a torch checkpoint that is already in memory.
///
/// # Errors
/// As for [`open`].
pub fn from_bytes(bytes: Vec<u8>) -> Result<TensorFile> {
    read(Path::new("torch checkpoint in memory"), Bytes::Owned(bytes))
}

fn read(path: &Path, bytes: Bytes) -> Result<TensorFile> {
    let tensors = tensors(&bytes).map_err(|problem| Error::format(path, problem))?;
    let mut file = TensorFile::new(path, bytes);
    for Placed { name, encoding, shape, start, strides } in tensors {
        file.add_strided(name, encoding, shape, start, strides)?;
    }
    Ok(file)
}

/// The `config` that a checkpoint carries beside its tensors, if it does: numbers, text, truth values and nothing, by name.
///
/// # Errors
/// The file cannot be read, is no checkpoint, or the `config` holds something else.
pub fn config(path: &Path) -> Result<Option<serde_json::Map<String, Json>>> {
    config_in(&mapped::map(path)?).map_err(|problem| Error::format(path, problem))
}

fn config_in(bytes: &[u8]) -> Result<Option<serde_json::Map<String, Json>>, String> {
    let Checkpoint { heap, top, .. } = checkpoint(bytes)?;
    let Value::Dict(top) = top else { return Ok(None) };
    let Some((_, config)) = heap.dict(top).iter().rev().find(|(key, _)| *key == Value::Text("config")) else { return Ok(None) };
    let Value::Dict(config) = *config else { return Err(format!("has a `config` that is {}, not a dictionary", config.kind())) };
    let plain = |&(key, value): &(Value<'_>, Value<'_>)| {
        let Value::Text(key) = key else { return Err(format!("has a key in its `config` that is {}, not text", key.kind())) };
        let value = match value {
            Value::None => Json::Null,
            Value::Bool(x) => x.into(),
            Value::Int(x) => x.into(),
            Value::Float(x) => x.into(),
            Value::Text(x) => x.into(),
            other => {
                return Err(format!("has `{key}` in its `config`, which is {}; numbers, text and truth values are read", other.kind()));
            }
        };
        Ok((key.to_owned(), value))
    };
    heap.dict(config).iter().map(plain).collect::<Result<_, _>>().map(Some)
}

/// A pickle and where the storages that it names lie, all inside the file.
struct Checkpoint<'a> {
    heap: Heap<'a>,
    top: Value<'a>,
    storages: HashMap<String, Range<usize>>,
}

/// A tensor and where it begins in the file.
struct Placed {
    name: String,
    encoding: Encoding,
    shape: Vec<usize>,
    start: usize,
    strides: Option<Vec<usize>>,
}

fn checkpoint(bytes: &[u8]) -> Result<Checkpoint<'_>, String> {
    if bytes.starts_with(legacy::MAGIC) { legacy::read(bytes) } else { archive::read(bytes) }
}

fn tensors(bytes: &[u8]) -> Result<Vec<Placed>, String> {
    let checkpoint = checkpoint(bytes)?;
    let named = find(&checkpoint.heap, checkpoint.top)?;
    named.into_iter().map(|(name, tensor)| place(&checkpoint, name, tensor).map_err(|what| format!("tensor `{name}` {what}"))).collect()
}

/// Where a checkpoint keeps its dictionary of tensors, if not at the top.
const PLACES: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

/// The dictionary of tensors.
fn find<'a, 'h>(heap: &'h Heap<'a>, top: Value<'a>) -> Result<Vec<(&'a str, &'h Tensor)>, String> {
    let Value::Dict(top) = top else {
        return Err(format!("the checkpoint is {}, not a dictionary of tensors", top.kind()));
    };
    if heap.holds_tensors(top) {
        return tensors_of(heap, top);
    }
    let mut found = heap.dict(top).iter().filter_map(|(key, value)| match (key, value) {
        (Value::Text(key), Value::Dict(inner)) if PLACES.contains(key) && heap.holds_tensors(*inner) => Some((*key, *inner)),
        _ => None,
    });
    match (found.next(), found.next()) {
        (Some((_, inner)), None) => tensors_of(heap, inner),
        (Some((one, _)), Some((two, _))) => Err(format!("there are tensors under both `{one}` and `{two}`; it must be one of them")),
        (None, _) => Err(
            "there are no tensors in the checkpoint's dictionary, nor in one under `state_dict`, `model_state_dict`, `model` or `module`"
                .into(),
        ),
    }
}

fn tensors_of<'a, 'h>(heap: &'h Heap<'a>, dict: usize) -> Result<Vec<(&'a str, &'h Tensor)>, String> {
    let mut tensors = Vec::new();
    for (key, value) in heap.dict(dict) {
        match (key, value) {
            (Value::Text(name), Value::Tensor(tensor)) => tensors.push((*name, heap.tensor(*tensor))),
            (key, Value::Tensor(_)) => return Err(format!("a tensor's name is {}, not text", key.kind())),
            (key, Value::Dict(inner)) if heap.holds_tensors(*inner) => {
                return Err(format!("there are more tensors in a dictionary under {key:?}, beside other tensors"));
            }
            _ => {}
        }
    }
    Ok(tensors)
}

fn place(checkpoint: &Checkpoint<'_>, name: &str, tensor: &Tensor) -> Result<Placed, String> {
    let storage = checkpoint.heap.storage(tensor.storage);
    let (key, encoding, shape) = (storage.key, storage.encoding, tensor.shape.clone());
    let bytes = checkpoint.storages.get(key).ok_or_else(|| format!("lies in storage `{key}`, which the file does not hold"))?;
    if encoding.bytes(storage.numbers) != Some(bytes.len()) {
        let (numbers, name, has) = (storage.numbers, encoding.name(), bytes.len());
        return Err(format!("lies in storage `{key}` of {numbers} numbers in {name}, but that has {has} bytes"));
    }
    // An axis repeated with stride 0 could ask for any amount of memory.
    let numbers = shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
    if numbers.is_none_or(|n| n > storage.numbers) {
        return Err(format!("of shape {shape:?} is larger than its storage of {} numbers", storage.numbers));
    }
    let strides = (!is_row_major(tensor)).then(|| tensor.strides.clone());
    let span = if strides.is_some() { span(&shape, &tensor.strides) } else { numbers };
    let end = span.and_then(|span| tensor.offset.checked_add(span));
    if end.is_none_or(|end| end > storage.numbers) {
        let (offset, strides, has) = (tensor.offset, &tensor.strides, storage.numbers);
        return Err(format!(
            "of shape {shape:?} with strides {strides:?} begins at {offset} and ends outside its storage of {has} numbers"
        ));
    }
    let (_, size) = encoding.block();
    Ok(Placed { name: name.to_owned(), encoding, shape, start: bytes.start + tensor.offset * size, strides })
}

/// Whether the tensor's rows follow each other without gaps. The stride of an axis of one does not matter.
fn is_row_major(tensor: &Tensor) -> bool {
    let mut expected = 1usize;
    for (&axis, &stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
        if axis > 1 && stride != expected {
            return false;
        }
        expected = expected.saturating_mul(axis.max(1));
    }
    true
}

#[cfg(test)]
mod tests;

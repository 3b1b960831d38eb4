//! Torch checkpoints from before 1.6: five pickles one after the other (a magic number, a version, the machine, the checkpoint, the order of
//! the storages), then each storage as a count of eight bytes and its numbers.

use std::collections::HashMap;

use super::pickle::{self, Heap, MAX_PICKLE, Names, Value};
use super::{Checkpoint, Encoding};

/// The first pickle: protocol 2, an integer of ten bytes, stop.
pub(in super::super) const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The format's only version.
const VERSION: i64 = 1001;

pub(super) fn read(bytes: &[u8]) -> Result<Checkpoint<'_>, String> {
    let mut at = MAGIC.len();
    let (_, version) = next(bytes, &mut at, "the version")?;
    if version != Value::Int(VERSION) {
        return Err(format!("an unknown version of torch's old format; {VERSION} is read"));
    }
    let (heap, machine) = next(bytes, &mut at, "the machine")?;
    if !is_little_endian(&heap, machine) {
        return Err("the numbers are not stored little-endian".into());
    }
    let (heap, top) = next(bytes, &mut at, "the checkpoint")?;
    let (order_heap, order) = next(bytes, &mut at, "the order of storages")?;
    let Value::List(order) = order else {
        return Err(format!("the order of storages is {}, not a list", order.kind()));
    };

    let encodings: HashMap<&str, Encoding> = heap.storages().iter().map(|storage| (storage.key, storage.encoding)).collect();
    let mut storages = HashMap::new();
    for key in order_heap.list(order) {
        let Value::Text(key) = key else {
            return Err(format!("a storage's name is {}, not text", key.kind()));
        };
        let encoding = encodings.get(key).ok_or_else(|| format!("storage `{key}` is of no tensor"))?;
        let problem = || format!("storage `{key}` lies outside the file");
        let (count, rest) = bytes[at..].split_first_chunk().ok_or_else(problem)?;
        let size =
            usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| encoding.bytes(count)).filter(|&size| size <= rest.len());
        let (start, size) = (at + count.len(), size.ok_or_else(problem)?);
        at = start + size;
        if storages.insert(key.to_string(), start..at).is_some() {
            return Err(format!("storage `{key}` appears twice"));
        }
    }
    match bytes.len() - at {
        0 => Ok(Checkpoint { heap, top, storages }),
        more => Err(format!("{more} bytes follow the last storage")),
    }
}

/// Reads the pickle that begins at `at`, and moves `at` past it.
fn next<'a>(bytes: &'a [u8], at: &mut usize, what: &str) -> Result<(Heap<'a>, Value<'a>), String> {
    let rest = &bytes[*at..];
    let (heap, value, length) =
        pickle::read(&rest[..rest.len().min(MAX_PICKLE)], Names::Checkpoint).map_err(|problem| format!("{what}: {problem}"))?;
    *at += length;
    Ok((heap, value))
}

fn is_little_endian(heap: &Heap<'_>, machine: Value<'_>) -> bool {
    let Value::Dict(machine) = machine else { return false };
    heap.dict(machine).contains(&(Value::Text("little_endian"), Value::Bool(true)))
}

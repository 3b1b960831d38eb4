//! GGUF: a header of typed metadata, a list of tensors, and their data, quantised in ggml's blocks.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little-endian. GGUF lists the fastest axis first;
//! shapes here are the other way round, as PyTorch has them.

mod metadata;
mod reader;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use pellucid_core::{Error, Result, TensorInfo, WeightStore};

use self::reader::Reader;
use super::encoding::Encoding;
use super::mapped::{self, Bytes};
use super::table::TensorFile;

pub use metadata::Value;

/// A GGUF file: its metadata, and its tensors as a [`WeightStore`].
#[derive(Debug)]
pub struct Gguf {
    metadata: BTreeMap<String, Value>,
    tensors: TensorFile,
}

impl Gguf {
    /// Opens a GGUF file.
    ///
    /// # Errors
    /// The file cannot be read, or a count, length, type or offset in it does not fit the rest.
    pub fn open(path: &Path) -> Result<Self> {
        Gguf::read(path, mapped::map(path)?)
    }

    /// Reads a GGUF file that is already in memory.
    ///
    /// # Errors
    /// As for [`Gguf::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Gguf::read(Path::new("GGUF in memory"), Bytes::Owned(bytes))
    }

    /// All metadata, by key.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.tensors.path()
    }

    fn read(path: &Path, bytes: Bytes) -> Result<Self> {
        let problem = |what: String| Error::format(path, what);
        let mut reader = Reader::new(&bytes);
        let (metadata, entries) = read_header(&mut reader).map_err(problem)?;
        if let Some(Value::U64(parts @ 2..)) = metadata.get("split.count") {
            return Err(problem(format!("one of {parts} parts of a split file; join them first (`gguf-split --merge`)")));
        }
        let start = reader.position().checked_next_multiple_of(alignment(&metadata).map_err(problem)?);
        let start = start.ok_or_else(|| problem("the header ends outside memory".into()))?;

        let mut tensors = TensorFile::new(path, bytes);
        let mut ranges = Vec::with_capacity(entries.len());
        for Entry { name, encoding, shape, offset } in entries {
            let at = usize::try_from(offset).ok().and_then(|offset| start.checked_add(offset));
            let at = at.ok_or_else(|| problem(format!("tensor `{name}` begins at {offset}, outside the file")))?;
            ranges.push((tensors.add(name.clone(), encoding, shape, at)?, name));
        }
        disjoint(ranges).map_err(problem)?;
        Ok(Gguf { metadata, tensors })
    }
}

/// What the header says about a tensor.
struct Entry {
    name: String,
    encoding: Encoding,
    /// Slowest axis first.
    shape: Vec<usize>,
    /// From the beginning of the data.
    offset: u64,
}

fn read_header(reader: &mut Reader<'_>) -> Result<(BTreeMap<String, Value>, Vec<Entry>), String> {
    if reader.take(4, "the file's first bytes")? != b"GGUF" {
        return Err("does not begin with `GGUF`".into());
    }
    match reader.u32("the version")? {
        2 | 3 => {}
        version if version.swap_bytes() <= 3 => return Err("a big-endian GGUF file; only little-endian ones are read".into()),
        version => return Err(format!("GGUF version {version}; only 2 and 3 are read")),
    }
    let n_tensors = reader.count("tensors", 24)?; // Name length, number of axes, type and offset.
    let n_values = reader.count("metadata values", 13)?; // Key length, type, and a byte.

    let mut metadata = BTreeMap::new();
    for _ in 0..n_values {
        let key = reader.string("a metadata key")?;
        let value = metadata::read(reader).map_err(|what| format!("metadata `{key}`: {what}"))?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("there are two metadata values called `{key}`"));
        }
    }
    let alignment = alignment(&metadata)? as u64;
    let mut entries = Vec::with_capacity(n_tensors);
    for _ in 0..n_tensors {
        let entry = read_entry(reader)?;
        if !entry.offset.is_multiple_of(alignment) {
            return Err(format!(
                "tensor `{}` begins at {}, which is not a multiple of the alignment {alignment}",
                entry.name, entry.offset
            ));
        }
        entries.push(entry);
    }
    Ok((metadata, entries))
}

/// ggml's limit.
const MAX_AXES: u32 = 4;

fn read_entry(reader: &mut Reader<'_>) -> Result<Entry, String> {
    let name = reader.string("a tensor's name")?;
    let problem = |what: String| format!("tensor `{name}`: {what}");
    let n_axes = reader.u32("its number of axes").map_err(problem)?;
    if n_axes > MAX_AXES {
        return Err(problem(format!("{n_axes} axes; at most {MAX_AXES} are possible")));
    }
    let mut shape = Vec::new();
    for _ in 0..n_axes {
        let axis = reader.u64("its shape").map_err(problem)?;
        shape.push(usize::try_from(axis).map_err(|_| problem(format!("an axis of {axis}")))?);
    }
    shape.reverse();
    let kind = reader.u32("its type").map_err(problem)?;
    let encoding = encoding(kind).ok_or_else(|| problem(format!("unknown type {kind}")))?;
    let offset = reader.u64("its offset").map_err(problem)?;
    Ok(Entry { name, encoding, shape, offset })
}

/// Where data may begin, in bytes: `general.alignment`, or 32 where there is none.
fn alignment(metadata: &BTreeMap<String, Value>) -> Result<usize, String> {
    match metadata.get("general.alignment") {
        None => Ok(32),
        Some(Value::U64(n @ 8..=0x10_0000)) if n.is_power_of_two() => Ok(*n as usize),
        Some(value) => Err(format!("general.alignment is {value}; it must be a power of two from 8 to 1048576")),
    }
}

fn disjoint(mut ranges: Vec<(Range<usize>, String)>) -> Result<(), String> {
    ranges.retain(|(range, _)| !range.is_empty());
    ranges.sort_by_key(|(range, _)| range.start);
    match ranges.array_windows().find(|[(before, _), (after, _)]| after.start < before.end) {
        Some([(_, before), (_, after)]) => Err(format!("tensors `{before}` and `{after}` overlap")),
        None => Ok(()),
    }
}

/// ggml's numbers for its types; those between and beyond are unused, withdrawn, or newer than this.
fn encoding(kind: u32) -> Option<Encoding> {
    let other = |name, numbers, bytes| Encoding::Other { name, numbers, bytes };
    Some(match kind {
        0 => Encoding::F32,
        1 => Encoding::F16,
        2 => Encoding::Q4_0,
        3 => Encoding::Q4_1,
        6 => Encoding::Q5_0,
        7 => Encoding::Q5_1,
        8 => Encoding::Q8_0,
        9 => other("q8_1", 32, 36),
        10 => other("q2_k", 256, 84),
        11 => other("q3_k", 256, 110),
        12 => Encoding::Q4K,
        13 => Encoding::Q5K,
        14 => Encoding::Q6K,
        15 => other("q8_k", 256, 292),
        16 => other("iq2_xxs", 256, 66),
        17 => other("iq2_xs", 256, 74),
        18 => other("iq3_xxs", 256, 98),
        19 => other("iq1_s", 256, 50),
        20 => other("iq4_nl", 32, 18),
        21 => other("iq3_s", 256, 110),
        22 => other("iq2_s", 256, 82),
        23 => other("iq4_xs", 256, 136),
        24 => other("i8", 1, 1),
        25 => other("i16", 1, 2),
        26 => other("i32", 1, 4),
        27 => other("i64", 1, 8),
        28 => other("f64", 1, 8),
        29 => other("iq1_m", 256, 56),
        30 => Encoding::Bf16,
        34 => other("tq1_0", 256, 54),
        35 => other("tq2_0", 256, 66),
        39 => other("mxfp4", 32, 17),
        _ => return None,
    })
}

impl WeightStore for Gguf {
    fn names(&self) -> Vec<String> {
        self.tensors.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.info(name)
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.tensors.read_rows(name, rows, out)
    }

    fn release(&self, name: &str) {
        self.tensors.release(name);
    }
}

#[cfg(test)]
mod tests;

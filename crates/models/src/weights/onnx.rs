//! ONNX: a graph of operations with the tensors in it. Two kinds of graph are read, and no other:
//!
//! - the **image tower of CLIP** with its projection (`clip.rs`), its matrices as f32 or as int8 with a scale for each output. Beside it may lie
//!   `clip_head.json`, a linear map from the projection's direction to one score;
//! - **DINOv2's encoder** under a convolutional decoder of saliency (`dinov2.rs`). The decoder is not read.
//!
//! Nothing is run. The graph is walked from its output to its picture, each operation compared with what the architecture would do there
//! (`layers.rs`), and a tensor is what it is used for, whatever it is called. A graph that does anything else is refused.
//! An [`Onnx`] is then a store under Hugging Face's names, with a config made from the shapes and constants.
//!
//! Matrices lie as `[in, out]`; they are turned when read. int8 becomes `(q − zero)·scale`, in f32. A quantised graph rounds what *goes into* its
//! matrices as well, to 8 bits, at run time; we do not, so that our numbers are those of the model that was quantised, a little away from
//! the graph's own.

mod clip;
mod dinov2;
mod graph;
mod layers;
mod take;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pellucid_core::{Error, Result, TensorInfo, WeightStore};
use prost::bytes;
use serde_json::{Map, Value as Json};

use self::graph::Graph;
use self::take::{Numbers, Stored};
use super::encoding::Encoding;
use super::mapped::{self, Bytes};
use crate::image::Preprocessing;

/// What a CLIP tower's head is called; it lies beside the graph.
pub const HEAD: &str = "clip_head.json";

/// An ONNX file of a known kind, as a [`WeightStore`] under Hugging Face's names.
pub struct Onnx {
    path: PathBuf,
    bytes: Arc<Bytes>,
    tensors: BTreeMap<String, Stored>,
    config: Map<String, Json>,
    preprocessing: Preprocessing,
}

/// The mapped file, owned by whoever cuts it.
struct Shared(Arc<Bytes>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Onnx {
    /// Opens an ONNX file, and the head beside it if there is one.
    ///
    /// # Errors
    /// A file cannot be read, is damaged, or is not of a known kind; tensors lie in other files.
    pub fn open(path: &Path) -> Result<Self> {
        let mut onnx = Self::read(path, mapped::map(path)?)?;
        let head = path.with_file_name(HEAD);
        if onnx.config.contains_key("projection_dim") && head.is_file() {
            clip::head(&head, &mut onnx.tensors, &mut onnx.config)?;
        }
        Ok(onnx)
    }

    /// Reads an ONNX file that is already in memory.
    ///
    /// # Errors
    /// As for [`Onnx::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::read(Path::new("ONNX in memory"), Bytes::Owned(bytes))
    }

    fn read(path: &Path, bytes: Bytes) -> Result<Self> {
        let bytes = Arc::new(bytes);
        let file = bytes::Bytes::from_owner(Shared(bytes.clone()));
        let recognised = wire::read(file.clone()).and_then(Graph::new).and_then(|graph| recognise(&graph, &file));
        let take::Taken { tensors, config, preprocessing } = recognised.map_err(|problem| Error::format(path, problem))?;
        Ok(Self { path: path.to_owned(), bytes, tensors, config, preprocessing })
    }

    /// The config that Hugging Face would have: `model_type` is `clip_vision_model` or `dinov2`.
    ///
    /// With a head there are also `id2label`, whose second class is the one that `classifier.weight` `[1, projection_dim]` scores, and
    /// `logistic_unit_classifier`: the projection is divided by its length first, and the class's probability is the logistic function of its
    /// score.
    pub fn config(&self) -> &Map<String, Json> {
        &self.config
    }

    /// What is done to a picture first.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Finds out what the graph is, by what comes out of it.
fn recognise(graph: &Graph, file: &[u8]) -> Result<take::Taken, String> {
    let output = graph.output()?;
    match graph.maker(output).map(|node| node.op.as_str()) {
        Some("MatMul" | "Mul") => clip::recognise(graph, file),
        Some("Sigmoid") => dinov2::recognise(graph, file),
        Some(op) => Err(format!(
            "what comes out of the graph, `{output}`, is made by `{op}`: it is neither an image tower of CLIP (a projection) nor a DINOv2 with a decoder \
             of saliency (a sigmoid), and no other ONNX graph is read"
        )),
        None => Err(format!("what comes out of the graph, `{output}`, is made by nothing in it")),
    }
}

impl WeightStore for Onnx {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let stored = self.tensors.get(name)?;
        let (encoding, bytes) = match &stored.numbers {
            Numbers::Rows(range) | Numbers::Columns(range) => ("f32", range.len()),
            Numbers::Quantised { range, .. } => ("int8", range.len()),
            Numbers::Held(numbers) => ("f32", 4 * numbers.len()),
        };
        Some(TensorInfo { shape: stored.shape.clone(), encoding, bytes: bytes as u64 })
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let wrong = |what: String| Error::Weights(format!("{}: {what}", self.path.display()));
        let stored = self.tensors.get(name).ok_or_else(|| wrong(format!("no tensor `{name}`")))?;
        let (all, columns) = self.info(name).expect("it is there").matrix();
        if rows.start > rows.end || rows.end > all {
            return Err(wrong(format!("rows {rows:?} are outside `{name}`, which has {all}")));
        }
        if out.len() != rows.len() * columns {
            let (rows, numbers) = (rows.len(), rows.len() * columns);
            return Err(wrong(format!("{rows} rows of `{name}` are {numbers} numbers, but there is room for {}", out.len())));
        }
        match &stored.numbers {
            Numbers::Rows(range) => {
                Encoding::F32.decode(&self.bytes[range.clone()][4 * columns * rows.start..4 * columns * rows.end], out);
            }
            Numbers::Held(numbers) => out.copy_from_slice(&numbers[columns * rows.start..columns * rows.end]),
            Numbers::Columns(range) => {
                let numbers = self.bytes[range.clone()].as_chunks::<4>().0;
                turn(numbers, all, rows, out, |_, bytes| f32::from_le_bytes(*bytes));
            }
            Numbers::Quantised { range, scales, zeros } => {
                let decoded = |row: usize, q: &u8| (i32::from(q.cast_signed()) - i32::from(zeros[row])) as f32 * scales[row];
                turn(&self.bytes[range.clone()], all, rows, out, decoded);
            }
        }
        Ok(())
    }

    fn release(&self, name: &str) {
        match self.tensors.get(name).map(|stored| &stored.numbers) {
            Some(Numbers::Rows(range) | Numbers::Columns(range) | Numbers::Quantised { range, .. }) => self.bytes.release(range.clone()),
            Some(Numbers::Held(_)) | None => {}
        }
    }
}

/// Rows of a matrix whose columns are stored one after the other: row r is the stored numbers r, r + `all`, r + 2·`all`, ….
fn turn<T>(stored: &[T], all: usize, rows: Range<usize>, out: &mut [f32], decoded: impl Fn(usize, &T) -> f32) {
    // So many rows at a time that a stretch of them fills a cache line or several, and what is written stays in cache.
    const TILE: usize = 64;
    if out.is_empty() {
        return;
    }
    let columns = out.len() / rows.len();
    for (tile, out) in out.chunks_mut(TILE * columns).enumerate() {
        let first = rows.start + tile * TILE;
        let count = out.len() / columns;
        for column in 0..columns {
            let stretch = &stored[column * all + first..][..count];
            stretch.iter().enumerate().for_each(|(row, number)| out[row * columns + column] = decoded(first + row, number));
        }
    }
}

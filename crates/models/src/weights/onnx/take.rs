//! Tensors on their way from a graph to a store: checked against their shapes, placed in the file, named.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::{Map, Value as Json, json};

use super::graph::{FLOAT, Graph, INT8, floats};
use super::layers::{Act, Block, Linear, Matrix, Norm};
use super::wire::Tensor;
use crate::image::Preprocessing;

/// Widest row and longest axis; far above real ones, and far below where a product of three overflows.
const LONGEST: usize = 1 << 20;

/// Blocks of real models: at most a few dozen.
const MOST_BLOCKS: usize = 1000;

/// What a file turned out to be.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) tensors: BTreeMap<String, Stored>,
    pub(super) config: Map<String, Json>,
    pub(super) preprocessing: Preprocessing,
}

/// A tensor and where its numbers are.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) shape: Vec<usize>,
    pub(super) numbers: Numbers,
}

/// Where numbers are.
#[derive(Debug)]
pub(super) enum Numbers {
    /// f32, row by row, at these bytes of the file.
    Rows(Range<usize>),
    /// f32, column by column.
    Columns(Range<usize>),
    /// int8, column by column, with a scale and a zero for each row.
    Quantised { range: Range<usize>, scales: Vec<f32>, zeros: Vec<i8> },
    /// In memory.
    Held(Vec<f32>),
}

/// Takes tensors out of a graph.
pub(super) struct Taker<'g> {
    graph: &'g Graph,
    file: &'g [u8],
    tensors: BTreeMap<String, Stored>,
    used: BTreeSet<&'g str>,
}

impl<'g> Taker<'g> {
    pub(super) fn new(graph: &'g Graph, file: &'g [u8]) -> Self {
        Self { graph, file, tensors: BTreeMap::new(), used: BTreeSet::new() }
    }

    /// A tensor that is not read, because nothing here has a use for it.
    pub(super) fn leave(&mut self, tensor: &'g str) {
        self.used.insert(tensor);
    }

    /// The shape of a stored tensor of `N` axes.
    pub(super) fn shape<const N: usize>(&self, tensor: &str) -> Result<[usize; N], String> {
        let dims = &self.graph.tensor(tensor)?.dims;
        let sizes: Vec<usize> = dims.iter().filter_map(|d| usize::try_from(*d).ok()).filter(|d| (1..=LONGEST).contains(d)).collect();
        let wrong = || format!("tensor `{tensor}` has shape {dims:?}; it should have {N} axes of 1 to {LONGEST}");
        sizes[..].try_into().ok().filter(|_| sizes.len() == dims.len()).ok_or_else(wrong)
    }

    /// f32 numbers in the order they are to be seen in.
    pub(super) fn plain(&mut self, name: &str, tensor: &'g str, shape: &[usize]) -> Result<(), String> {
        let range = self.raw(tensor, FLOAT, shape, 4)?;
        self.insert(name, shape, Numbers::Rows(range))
    }

    /// Numbers made here out of `from`.
    pub(super) fn held(&mut self, name: &str, shape: &[usize], numbers: Vec<f32>, from: &[&'g str]) -> Result<(), String> {
        self.used.extend(from);
        self.insert(name, shape, Numbers::Held(numbers))
    }

    /// All numbers of an f32 tensor.
    pub(super) fn numbers(&self, tensor: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let range = self.place(tensor, FLOAT, shape, 4)?;
        Ok(self.file[range].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// A matrix with `inputs` and `outputs`, stored as `[inputs, outputs]`, seen as `[outputs, inputs]`.
    pub(super) fn matrix(&mut self, name: &str, matrix: Matrix<'g>, [inputs, outputs]: [usize; 2]) -> Result<(), String> {
        let (stored, seen) = ([inputs, outputs], [outputs, inputs]);
        let numbers = match matrix {
            Matrix::Float(tensor) => Numbers::Columns(self.raw(tensor, FLOAT, &stored, 4)?),
            Matrix::Quantised { values, scales, zeros } => {
                let range = self.raw(values, INT8, &stored, 1)?;
                self.used.extend([scales, zeros]);
                let (scales, zeros) = (self.scales(scales, outputs)?, self.zeros(zeros, outputs)?);
                Numbers::Quantised { range, scales, zeros }
            }
        };
        self.insert(name, &seen, numbers)
    }

    fn scales(&self, tensor: &str, outputs: usize) -> Result<Vec<f32>, String> {
        let numbers = floats(self.graph.tensor(tensor)?)?;
        let good = numbers.len() == outputs && numbers.iter().all(|x| x.is_finite());
        if good { Ok(numbers) } else { Err(format!("tensor `{tensor}` should be {outputs} scales, each a finite number")) }
    }

    fn zeros(&self, name: &str, outputs: usize) -> Result<Vec<i8>, String> {
        let tensor = self.graph.tensor(name)?;
        let zeros: Vec<i8> = match tensor.raw.is_empty() {
            true => tensor.int32s.iter().filter_map(|z| i8::try_from(*z).ok()).collect(),
            false => tensor.raw.iter().take(outputs + 1).map(|z| z.cast_signed()).collect(),
        };
        let good = tensor.kind == INT8 && zeros.len() == outputs;
        if good { Ok(zeros) } else { Err(format!("tensor `{name}` should be {outputs} zeros in int8, one for each output")) }
    }

    /// A linear map.
    pub(super) fn linear(&mut self, name: &str, linear: &Linear<'g>, sizes: [usize; 2]) -> Result<(), String> {
        self.matrix(&format!("{name}.weight"), linear.weight, sizes)?;
        self.plain(&format!("{name}.bias"), linear.bias, &[sizes[1]])
    }

    /// A norm.
    pub(super) fn norm(&mut self, name: &str, norm: &Norm<'g>, width: usize) -> Result<(), String> {
        self.plain(&format!("{name}.weight"), norm.weight, &[width])?;
        self.plain(&format!("{name}.bias"), norm.bias, &[width])
    }

    /// Marks a tensor as used and finds its place.
    fn raw(&mut self, tensor: &'g str, kind: i32, shape: &[usize], size: usize) -> Result<Range<usize>, String> {
        self.used.insert(tensor);
        self.place(tensor, kind, shape, size)
    }

    /// Where a tensor's numbers of `size` bytes are in the file.
    fn place(&self, name: &str, kind: i32, shape: &[usize], size: usize) -> Result<Range<usize>, String> {
        let tensor: &Tensor = self.graph.tensor(name)?;
        let numbers = shape.iter().try_fold(size, |bytes, axis| bytes.checked_mul(*axis));
        let is =
            (tensor.kind, tensor.dims.iter().try_fold(size, |bytes, d| bytes.checked_mul(usize::try_from(*d).ok()?)), tensor.raw.len());
        if is.0 != kind || is.1 != numbers || Some(is.2) != numbers {
            let dims = &tensor.dims;
            let want = if kind == FLOAT { "f32" } else { "int8" };
            return Err(format!(
                "tensor `{name}` of shape {dims:?}, kind {} and {} bytes should be {shape:?} in {want}, as raw bytes",
                is.0, is.2
            ));
        }
        let start = (tensor.raw.as_ptr() as usize).checked_sub(self.file.as_ptr() as usize);
        let range = start.map(|start| start..start + tensor.raw.len()).filter(|range| range.end <= self.file.len());
        range.ok_or_else(|| format!("tensor `{name}` was copied out of the file"))
    }

    fn insert(&mut self, name: &str, shape: &[usize], numbers: Numbers) -> Result<(), String> {
        match self.tensors.insert(name.into(), Stored { shape: shape.into(), numbers }) {
            None => Ok(()),
            Some(_) => Err(format!("two tensors of the graph are both `{name}`")),
        }
    }

    /// All blocks from `value` down to the value for which `begins` says yes, the first one first, and that value.
    pub(super) fn blocks(&self, value: &'g str, begins: impl Fn(&'g str) -> bool) -> Result<(Vec<Block<'g>>, &'g str), String> {
        let (mut blocks, mut value) = (Vec::new(), value);
        while !begins(value) {
            if blocks.len() == MOST_BLOCKS {
                return Err(format!("more than {MOST_BLOCKS} blocks; real models have a few dozen"));
            }
            let block = self.graph.block(value)?;
            value = block.input;
            blocks.push(block);
        }
        blocks.reverse();
        Ok((blocks, value))
    }

    /// The end: every stored tensor must have been taken or left on purpose.
    pub(super) fn finish(self, config: Map<String, Json>, preprocessing: Preprocessing) -> Result<Taken, String> {
        if let Some(extra) = self.graph.stored().into_iter().find(|name| !self.used.contains(name)) {
            return Err(format!("tensor `{extra}` is used in a way that a model of this kind has no place for"));
        }
        Ok(Taken { tensors: self.tensors, config, preprocessing })
    }
}

/// The sizes that all blocks share, as a config says them.
pub(super) fn sizes(blocks: &[Block<'_>], taker: &Taker<'_>, width: usize, norms: &[&Norm<'_>]) -> Result<Map<String, Json>, String> {
    let Some(first) = blocks.first() else { return Err("has no blocks".into()) };
    let [feed_forward] = taker.shape(first.up.bias)?;
    let (heads, epsilon) = (first.attention.heads, first.norms[0].epsilon);
    for block in blocks {
        if (block.attention.heads, block.act, block.attention.d_head) != (heads, first.act, first.attention.d_head) {
            return Err("has blocks with different heads or activations".into());
        }
    }
    let all = norms.iter().copied().chain(blocks.iter().flat_map(|block| &block.norms));
    if let Some(other) = all.map(|norm| norm.epsilon).find(|other| *other != epsilon) {
        return Err(format!("has norms with ε = {epsilon} and others with {other}"));
    }
    if heads * first.attention.d_head != width {
        return Err(format!("has {heads} heads of {} numbers in rows of {width}", first.attention.d_head));
    }
    let act = match first.act {
        Act::Gelu => "gelu",
        Act::QuickGelu => "quick_gelu",
    };
    let config = json!({
        "hidden_size": width,
        "intermediate_size": feed_forward,
        "num_hidden_layers": blocks.len(),
        "num_attention_heads": heads,
        "hidden_act": act,
        "layer_norm_eps": epsilon,
        "num_channels": 3,
    });
    let Json::Object(config) = config else { unreachable!("written as an object") };
    Ok(config)
}

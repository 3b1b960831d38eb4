//! What an architecture says of itself: its sizes, its tensors, and what one block does.
//!
//! An architecture knows no method and owns no loop over layers: the walks do. It holds no weights either: it names tensors, and the pass
//! it runs in brings them.

use std::{ops::Range, sync::Arc};

use pellucid_kernels::{Activation, RotaryLayout};

use crate::{
    Error, Result, WeightStore,
    pass::{Input, Pass, Symbol, Value},
    patches::Patches,
    weights::matrix,
};

/// Sizes and kind of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// The checkpoint's `model_type`, for example `llama`.
    pub architecture: String,
    /// Number of blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; fewer than `heads` where heads are grouped.
    pub kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Width of the feed-forward network's middle.
    pub d_ff: usize,
    /// Number of tokens that can be put in; of a model of pictures, its learned rows.
    pub vocabulary: usize,
    /// How a picture becomes rows, if it is pictures that the model looks at.
    pub patches: Option<Patches>,
    /// Kinds of token (first text, second text) that the embedding tells apart; 0 if it tells none.
    pub types: usize,
    /// What comes out.
    pub outputs: Outputs,
    /// Whether positions turn queries and keys.
    pub rotary: bool,
    /// Whether feed-forward networks multiply two activations.
    pub gated: bool,
    /// Columns that travel beside the residual stream from block to block.
    pub beside: usize,
    /// A token that the model was made to see in every place that is left up to `context`. It is attended to like any other; only the mean over
    /// rows leaves it out.
    pub filler: Option<u32>,
    /// Longest input the model was made for, in tokens.
    pub context: usize,
    /// Whether a position sees only itself and earlier ones.
    pub causal: bool,
}

impl Description {
    /// The rows that become one, where they do: see [`Pooling`].
    pub fn pooled_rows(&self, input: &Input) -> Option<Vec<usize>> {
        let token = |p: &usize| if let Symbol::Token(id) = input.symbols[*p] { Some(id) } else { None };
        let all = 0..input.len();
        let leading = self.patches.as_ref().map_or(0, |p| p.leading);
        Some(match self.outputs.pooling()? {
            Pooling::First => vec![0],
            Pooling::FirstTwo => all.take(2).collect(),
            Pooling::Mean => all.filter(|p| self.filler.is_none() || token(p) != self.filler).collect(),
            Pooling::Patches => all.skip(leading).collect(),
            Pooling::FirstAndPatches => all.filter(|p| *p == 0 || *p >= leading).collect(),
            // The first of the highest, as an argmax finds it.
            Pooling::Highest => all.rev().max_by_key(token).into_iter().collect(),
            Pooling::FirstOf(id) => vec![all.into_iter().find(|p| token(p) == Some(id)).unwrap_or(0)],
        })
    }

    /// Numbers of the vector that comes out, where one does.
    pub fn embedding_width(&self) -> Option<usize> {
        if let Outputs::Embedding { width, .. } = self.outputs { Some(width) } else { None }
    }
}

/// What comes out of a model, and at which rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Outputs {
    /// At every row, a score for each token that may come next.
    #[default]
    NextToken,
    /// At every row, a score for each token that may stand there (masked language models).
    Masked,
    /// One score a class for the whole input.
    Classes {
        /// How rows become one.
        pooling: Pooling,
        /// Names of the classes, in the order of their scores.
        names: Vec<String>,
    },
    /// One vector for the whole input, and no scores: see [`Model::compared_with`].
    Embedding {
        /// How rows become one.
        pooling: Pooling,
        /// Numbers of the vector.
        width: usize,
    },
}

/// How the rows of an input become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The first row stands for all.
    First,
    /// The first two rows, side by side ([`Pass::first`]).
    FirstTwo,
    /// The mean of all rows but fillers ([`Pass::mean`]).
    Mean,
    /// The mean of a picture's patches, without the learned rows.
    Patches,
    /// The first row, and beside it the mean of a picture's patches.
    FirstAndPatches,
    /// The row of the highest token id, the first one if there are several.
    Highest,
    /// The row of the first such token; the first row where there is none.
    FirstOf(u32),
}

impl Outputs {
    /// How rows become one, where they do.
    pub fn pooling(&self) -> Option<Pooling> {
        match self {
            Outputs::NextToken | Outputs::Masked => None,
            Outputs::Classes { pooling, .. } | Outputs::Embedding { pooling, .. } => Some(*pooling),
        }
    }
}

/// How a stored matrix is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[outputs, inputs]`, as PyTorch's `Linear` keeps it.
    Outputs,
    /// `[inputs, outputs]`, as GPT-2's `Conv1D` keeps it.
    Inputs,
}

/// A linear map `y = x·Wᵀ + b`, or a part of a stored one (some of its outputs).
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Unique within its model: the tensor's name, with `#part` where only a part of it is meant.
    pub key: String,
    /// Tensor of the weight.
    pub weight: String,
    /// Tensor of the bias, if there is one.
    pub bias: Option<String>,
    /// Inputs of the map.
    pub inputs: usize,
    /// Outputs that the stored tensor has.
    pub stored_outputs: usize,
    /// How the weight is stored.
    pub layout: Layout,
    /// Which stored outputs make up this map, in order; empty: all.
    pub part: Vec<Range<usize>>,
}

impl Linear {
    /// A whole stored map without bias: weight `{name}.weight`, `[outputs, inputs]`.
    pub fn new(name: &str, inputs: usize, outputs: usize) -> Self {
        let weight = format!("{name}.weight");
        Self { key: weight.clone(), weight, bias: None, inputs, stored_outputs: outputs, layout: Layout::Outputs, part: Vec::new() }
    }

    /// The same with bias `{name}.bias`.
    #[must_use]
    pub fn with_bias(mut self, has: bool) -> Self {
        self.bias = has.then(|| format!("{}.bias", self.weight.trim_end_matches(".weight")));
        self
    }

    /// The same, stored transposed.
    #[must_use]
    pub fn transposed(mut self) -> Self {
        self.layout = Layout::Inputs;
        self
    }

    /// Only some of the stored outputs, under the name `part`.
    #[must_use]
    pub fn only(mut self, part: &str, ranges: Vec<Range<usize>>) -> Self {
        self.key = format!("{}#{part}", self.weight);
        self.part = ranges;
        self
    }

    /// Outputs of this map.
    pub fn outputs(&self) -> usize {
        if self.part.is_empty() { self.stored_outputs } else { self.part.iter().map(Range::len).sum() }
    }

    /// The stored outputs it consists of, in order.
    pub fn ranges(&self) -> Vec<Range<usize>> {
        if self.part.is_empty() { std::iter::once(0..self.stored_outputs).collect() } else { self.part.clone() }
    }

    fn stored_shape(&self) -> Vec<usize> {
        match self.layout {
            Layout::Outputs => vec![self.stored_outputs, self.inputs],
            Layout::Inputs => vec![self.inputs, self.stored_outputs],
        }
    }
}

/// Which normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Divided by the root of the mean square.
    Rms,
    /// Mean taken away, divided by the standard deviation.
    Layer,
}

/// A normalisation over the width of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Tensor of the scale, if there is one; its name is the norm's key.
    pub weight: Option<String>,
    /// Tensor of the shift.
    pub bias: Option<String>,
    /// Which one.
    pub kind: NormKind,
    /// Added to the mean square or variance.
    pub epsilon: f64,
    /// Width that is normalised: a whole row, or a head of it.
    pub width: usize,
}

impl Norm {
    /// RMS norm with scale `{name}.weight`.
    pub fn rms(name: &str, width: usize, epsilon: f64) -> Self {
        Self { weight: Some(format!("{name}.weight")), bias: None, kind: NormKind::Rms, epsilon, width }
    }

    /// RMS norm without a scale.
    pub fn plain_rms(width: usize, epsilon: f64) -> Self {
        Self { weight: None, bias: None, kind: NormKind::Rms, epsilon, width }
    }

    /// Layer norm with scale `{name}.weight` and shift `{name}.bias`.
    pub fn layer(name: &str, width: usize, epsilon: f64) -> Self {
        Self { weight: Some(format!("{name}.weight")), bias: Some(format!("{name}.bias")), kind: NormKind::Layer, epsilon, width }
    }
}

/// A table of rows to look up: token or position embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Tensor `[rows, width]`.
    pub name: String,
    /// Number of rows.
    pub rows: usize,
    /// Width of a row.
    pub width: usize,
}

/// Stored numbers by which rows are multiplied.
#[derive(Clone, Debug, PartialEq)]
pub struct Factor {
    /// Tensor `[length]`.
    pub name: String,
    /// Numbers in it.
    pub length: usize,
    /// Which of them multiplies every number of a row; `None`: each multiplies the number of its own column.
    pub index: Option<usize>,
}

/// Anything a model reads from its weights.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter {
    /// A linear map.
    Linear(Linear),
    /// A normalisation.
    Norm(Norm),
    /// A lookup table.
    Table(Table),
    /// A number out of a vector.
    Factor(Factor),
}

impl Parameter {
    /// `(tensor name, shape)` of every tensor it reads.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (first, bias) = match self {
            Parameter::Linear(l) => (Some((l.weight.clone(), l.stored_shape())), l.bias.clone().map(|b| (b, vec![l.stored_outputs]))),
            Parameter::Norm(n) => (n.weight.clone().map(|w| (w, vec![n.width])), n.bias.clone().map(|b| (b, vec![n.width]))),
            Parameter::Table(t) => (Some((t.name.clone(), vec![t.rows, t.width])), None),
            Parameter::Factor(f) => (Some((f.name.clone(), vec![f.length])), None),
        };
        first.into_iter().chain(bias).collect()
    }
}

impl From<&Linear> for Parameter {
    fn from(l: &Linear) -> Self {
        Parameter::Linear(l.clone())
    }
}

impl From<&Norm> for Parameter {
    fn from(n: &Norm) -> Self {
        Parameter::Norm(n.clone())
    }
}

impl From<&Table> for Parameter {
    fn from(t: &Table) -> Self {
        Parameter::Table(t.clone())
    }
}

impl From<&Factor> for Parameter {
    fn from(f: &Factor) -> Self {
        Parameter::Factor(f.clone())
    }
}

/// Rotary position embedding of the first `dims` numbers of each head.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// Numbers of a head that turn; the others pass through.
    pub dims: usize,
    /// Which numbers form a pair.
    pub layout: RotaryLayout,
    /// Radians per position of each pair, `dims / 2` of them.
    pub frequencies: Vec<f64>,
    /// Multiplies sine and cosine (1 but for some long-context scalings).
    pub magnitude: f64,
    /// Width of a head.
    pub d_head: usize,
}

/// The attention of a block. Which stream asks and which is looked at will be named here when there is more than one.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Multiplies the scores, usually `1/√d_head`.
    pub scale: f64,
    /// Whether a position sees only itself and earlier ones.
    pub causal: bool,
    /// Which block.
    pub layer: usize,
}

/// A stack of blocks over a stream of packed rows, written once for every pass.
pub trait Architecture: Send + Sync {
    /// Sizes and kind.
    fn description(&self) -> &Description;

    /// Tensors outside the blocks.
    fn parameters(&self) -> Vec<Parameter>;

    /// Tensors of one block.
    fn block_parameters(&self, layer: usize) -> Vec<Parameter>;

    /// The table that turns token ids into rows (before positions): similarity between tokens is measured on it. None where pictures go in.
    fn token_table(&self) -> Option<&Table>;

    /// The input of the first block.
    fn embed(&self, pass: &mut dyn Pass) -> Result<Value>;

    /// What block `layer` does.
    fn block(&self, layer: usize, x: Value, pass: &mut dyn Pass) -> Result<Value>;

    /// Everything between the last block and the last linear map. Where rows become one, it is given the first row or all rows of each input
    /// (see [`Pooling`]) and gives one row each.
    fn finish(&self, x: Value, pass: &mut dyn Pass) -> Result<Value>;

    /// The last linear map, to the vocabulary or the classes; none where a vector comes out. The walks stream it, a few thousand outputs at a
    /// time.
    fn unembedding(&self) -> Option<&Linear>;
}

/// An architecture with its weights.
#[derive(Clone)]
pub struct Model {
    architecture: Arc<dyn Architecture>,
    weights: Arc<dyn WeightStore>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("description", self.description()).finish_non_exhaustive()
    }
}

impl Model {
    /// Joins an architecture with its weights and accounts for every tensor. `ignore` tells names that carry no weight
    /// (buffers that old checkpoints store, such as causal masks).
    ///
    /// # Errors
    /// A tensor that is missing, extra, or of the wrong shape; the message names it.
    pub fn new(architecture: Box<dyn Architecture>, weights: Box<dyn WeightStore>, ignore: impl Fn(&str) -> bool) -> Result<Self> {
        Ok(Self::towers(vec![architecture], weights, ignore)?.pop().expect("as many models as architectures"))
    }

    /// Several architectures that share one set of weights, in their order.
    ///
    /// # Errors
    /// As [`Model::new`]; a tensor is extra that none of them reads.
    pub fn towers(
        architectures: Vec<Box<dyn Architecture>>,
        weights: Box<dyn WeightStore>,
        ignore: impl Fn(&str) -> bool,
    ) -> Result<Vec<Self>> {
        let mut expected = std::collections::BTreeMap::new();
        for architecture in &architectures {
            let blocks = (0..architecture.description().layers).flat_map(|l| architecture.block_parameters(l));
            for parameter in architecture.parameters().into_iter().chain(blocks) {
                expected.extend(parameter.tensors());
            }
        }
        for (name, shape) in &expected {
            let Some(info) = weights.info(name) else {
                return Err(Error::Weights(format!("tensor `{name}` {shape:?} is missing from the weights")));
            };
            // Tables and vectors are stored with axes of length 1 before them, and projections of patches as convolutions.
            if matrix(&info.shape) != matrix(shape) {
                return Err(Error::Weights(format!("tensor `{name}` has shape {:?}, the config asks for {shape:?}", info.shape)));
            }
        }
        if let Some(extra) = weights.names().into_iter().find(|n| !expected.contains_key(n) && !ignore(n)) {
            let kind = &architectures[0].description().architecture;
            return Err(Error::Weights(format!("tensor `{extra}` is in the weights, but a {kind} model of this config has no use for it")));
        }
        let weights: Arc<dyn WeightStore> = weights.into();
        Ok(architectures.into_iter().map(|a| Self { architecture: a.into(), weights: weights.clone() }).collect())
    }

    pub(crate) fn shared_architecture(&self) -> Arc<dyn Architecture> {
        self.architecture.clone()
    }

    pub(crate) fn shared_weights(&self) -> Arc<dyn WeightStore> {
        self.weights.clone()
    }

    pub(crate) fn replaced(&self, architecture: Arc<dyn Architecture>, weights: Arc<dyn WeightStore>) -> Self {
        Self { architecture, weights }
    }

    /// The architecture.
    pub fn architecture(&self) -> &dyn Architecture {
        &*self.architecture
    }

    /// The weights.
    pub fn weights(&self) -> &dyn WeightStore {
        &*self.weights
    }

    /// Sizes and kind.
    pub fn description(&self) -> &Description {
        self.architecture.description()
    }

    /// The last linear map.
    ///
    /// # Errors
    /// A model that gives a vector and no scores.
    pub fn unembedding(&self) -> Result<&Linear> {
        self.architecture.unembedding().ok_or_else(|| {
            let kind = &self.description().architecture;
            Error::Unsupported(format!("this {kind} model gives a vector and no scores; give a second text to compare it with"))
        })
    }

    /// Tensors outside the blocks, but for the last linear map: what embedding and finishing need.
    pub fn outside(&self) -> Vec<Parameter> {
        let last = self.architecture.unembedding().map(|l| l.key.clone());
        let stays = |p: &Parameter| !matches!(p, Parameter::Linear(l) if Some(&l.key) == last.as_ref());
        self.architecture.parameters().into_iter().filter(stays).collect()
    }

    /// How many scores come out of a row: the vocabulary, or the classes; 0 where a vector comes out.
    pub fn scores(&self) -> usize {
        self.architecture.unembedding().map_or(0, Linear::outputs)
    }

    /// Numbers in the weights, tied ones counted once.
    pub fn parameter_count(&self) -> u64 {
        self.weights.names().iter().filter_map(|n| self.weights.info(n)).map(|i| i.shape.iter().product::<usize>() as u64).sum()
    }

    /// Numbers that a symbol stands for: those of a token's embedding (`d_model` but where an embedding is narrower than the stream), or the
    /// pixels of a patch.
    pub fn symbol_width(&self) -> usize {
        let pixels = self.description().patches.as_ref().map(Patches::width);
        pixels.or(self.architecture.token_table().map(|t| t.width)).unwrap_or(0)
    }

    /// The numbers that symbols stand for, `[symbol, symbol_width]`: token embeddings, or pixels (0 for a learned row, which has none).
    ///
    /// # Errors
    /// A token outside the vocabulary.
    pub fn symbol_values(&self, symbols: &[Symbol]) -> Result<Vec<f32>> {
        let width = self.symbol_width();
        let mut values = Vec::with_capacity(symbols.len() * width);
        for symbol in symbols {
            match symbol {
                Symbol::Vector(vector) => values.extend_from_slice(vector),
                Symbol::Token(_) if self.description().patches.is_some() => values.resize(values.len() + width, 0.0),
                Symbol::Token(id) => values.extend(self.token_embeddings(&[*id])?),
            }
        }
        Ok(values)
    }

    /// Rows of the token table, decoded: `[ids.len(), width]`.
    ///
    /// # Errors
    /// A token outside the vocabulary; a model of pictures, which has no such table.
    pub fn token_embeddings(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let none = || Error::Unsupported(format!("this {} model reads pictures and has no tokens", self.description().architecture));
        let table = self.architecture.token_table().ok_or_else(none)?;
        let mut out = vec![0.0; ids.len() * table.width];
        for (id, row) in ids.iter().zip(out.chunks_exact_mut(table.width)) {
            let id = *id as usize;
            if id >= table.rows {
                return Err(Error::request(format!("token id {id} is outside the vocabulary, which has {} tokens", table.rows)));
            }
            self.weights.read_rows(&table.name, id..id + 1, row)?;
        }
        Ok(out)
    }
}

/// The activation named as checkpoints name it (`hidden_act`, `activation_function`).
///
/// # Errors
/// A name that no architecture here uses.
pub fn activation(name: &str) -> Result<Activation> {
    Ok(match name {
        "gelu" => Activation::GeluErf,
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        "silu" | "swish" => Activation::Silu,
        "relu" => Activation::Relu,
        "quick_gelu" => Activation::QuickGelu,
        "tanh" => Activation::Tanh,
        _ => {
            return Err(Error::Unsupported(format!(
                "unknown activation `{name}`; there are gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, silu, relu, quick_gelu and tanh"
            )));
        }
    })
}

//! The parts of an ONNX file that are read: protobuf messages, taken apart with their sizes checked first.
//!
//! Format: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>. A message of a few bytes can stand for a struct of a hundred, so the
//! two outer levels are walked field by field and counted before anything inside is decoded. Tensors' numbers are not copied: a [`Bytes`]
//! of the mapped file is cut, never filled.

use prost::Message;
use prost::bytes::{Buf, Bytes};

/// Everything but tensors' raw numbers, together: the graphs of real models of these layouts take half a MiB.
const MOST_GRAPH: usize = 2 << 20;

/// Real ones have a few thousand.
const MOST_ENTRIES: usize = 20_000;

/// Protobuf's own limit for a message.
const MOST_FILE: usize = (1 << 31) - 1;

/// A file's graph.
pub(super) struct Model {
    pub(super) opsets: Vec<OperatorSet>,
    pub(super) nodes: Vec<Node>,
    pub(super) tensors: Vec<Tensor>,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
}

/// Which version of which operators the graph is written in.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
}

/// One operation.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) outputs: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) op: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attributes: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

/// A setting of an operation.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(float, tag = "2")]
    pub(super) float: f32,
    #[prost(int64, tag = "3")]
    pub(super) int: i64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) text: Bytes,
    #[prost(message, optional, boxed, tag = "5")]
    pub(super) tensor: Option<Box<Tensor>>,
    #[prost(int64, repeated, tag = "8")]
    pub(super) ints: Vec<i64>,
}

/// Numbers: a stored tensor, or a constant in an attribute.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(super) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) kind: i32,
    #[prost(float, repeated, tag = "4")]
    pub(super) floats: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(super) int32s: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub(super) int64s: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub(super) raw: Bytes,
    #[prost(message, repeated, tag = "13")]
    pub(super) external: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub(super) location: i32,
}

/// A key and a value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// What goes into the graph or comes out of it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Port {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<PortKind>,
}

#[derive(Clone, PartialEq, Message)]
struct PortKind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorKind {
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    axes: Vec<Axis>,
}

#[derive(Clone, PartialEq, Message)]
struct Axis {
    #[prost(int64, tag = "1")]
    size: i64,
}

impl Port {
    /// Its axes; 0 for those of no fixed size.
    pub(super) fn axes(&self) -> Vec<i64> {
        let shape = self.kind.as_ref().and_then(|k| k.tensor.as_ref()).and_then(|t| t.shape.as_ref());
        shape.map(|s| s.axes.iter().map(|axis| axis.size).collect()).unwrap_or_default()
    }
}

/// Takes a file apart.
pub(super) fn read(file: Bytes) -> Result<Model, String> {
    if file.len() > MOST_FILE {
        return Err(format!("{} bytes are over the format's limit of {MOST_FILE}", file.len()));
    }
    let (mut left, mut graphs, mut opsets) = (MOST_GRAPH, Vec::new(), Vec::new());
    for (tag, field) in fields(file)? {
        match tag {
            7 => graphs.push(field),
            8 => opsets.push(decode(field, &mut left, "an operator set")?),
            25 => return Err("has functions of its own; only the standard operators are read".into()),
            _ => {}
        }
    }
    let mut graphs = graphs.into_iter();
    let (Some(graph), None) = (graphs.next(), graphs.next()) else {
        return Err("does not hold exactly one graph: it is no ONNX model".into());
    };
    let mut model = Model { opsets, nodes: vec![], tensors: vec![], inputs: vec![], outputs: vec![] };
    for (tag, field) in fields(graph)? {
        match tag {
            1 => model.nodes.push(decode(field, &mut left, "a node")?),
            5 => model.tensors.push(tensor(field, &mut left)?),
            11 => model.inputs.push(decode(field, &mut left, "an input")?),
            12 => model.outputs.push(decode(field, &mut left, "an output")?),
            15 => return Err("has sparse tensors; only dense ones are read".into()),
            _ => {}
        }
    }
    Ok(model)
}

/// A stored tensor. Its raw numbers do not count as graph: they are not copied.
fn tensor(field: Bytes, left: &mut usize) -> Result<Tensor, String> {
    let raw: usize = fields(field.clone())?.iter().filter(|(tag, _)| *tag == 9).map(|(_, raw)| raw.len()).sum();
    *left += raw;
    decode(field, left, "a tensor")
}

fn decode<T: Message + Default>(field: Bytes, left: &mut usize, what: &str) -> Result<T, String> {
    *left = left.checked_sub(field.len()).ok_or_else(|| {
        format!("the graph without its tensors' raw numbers takes more than {MOST_GRAPH} bytes; real ones of the layouts read here do not")
    })?;
    T::decode(field).map_err(|error| format!("{what} cannot be read: {error}"))
}

/// The fields of a message that have a length, by number; plain numbers among them are passed over.
fn fields(mut message: Bytes) -> Result<Vec<(u64, Bytes)>, String> {
    let mut fields = Vec::new();
    while message.has_remaining() {
        let key = varint(&mut message)?;
        let length = match key & 7 {
            0 => {
                varint(&mut message)?;
                continue;
            }
            1 => 8,
            2 => varint(&mut message)?,
            5 => 4,
            kind => return Err(format!("a protobuf field of unknown kind {kind}: this is no ONNX file, or a damaged one")),
        };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= message.remaining()) else {
            return Err(format!("a field of {length} bytes, but only {} follow: the file is cut short or damaged", message.remaining()));
        };
        let field = message.split_to(length);
        if key & 7 == 2 {
            if fields.len() == MOST_ENTRIES {
                return Err(format!("a message with more than {MOST_ENTRIES} fields; real ones have a few thousand"));
            }
            fields.push((key >> 3, field));
        }
    }
    Ok(fields)
}

/// A number of seven bits a byte, lowest first.
fn varint(message: &mut Bytes) -> Result<u64, String> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = message.try_get_u8().map_err(|_| "ends within a number: the file is cut short")?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number of more than ten bytes: this is no ONNX file, or a damaged one".into())
}

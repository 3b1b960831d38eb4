//! A graph, asked backward: what makes this value, and out of what.
//!
//! Exporters name nodes and tensors as they like. What a tensor is for is told by the operations around it alone, so every question here
//! is of the form "this value must be made by `Softmax` over the last axis", and an answer that is not as expected is an error that names both.

use std::collections::{BTreeSet, HashMap};

use prost::bytes::Buf;

use super::wire::{Attribute, Model, Node, Port, Tensor};

/// ONNX's numbers for the kinds of tensor that are read.
pub(super) const FLOAT: i32 = 1;
pub(super) const INT8: i32 = 3;
const INT64: i32 = 7;

/// Longest constant that is looked at: one index for each row.
const MOST_CONSTANT: usize = 1 << 16;

/// A graph whose every value is made once, before it is used.
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// Value → the node that makes it.
    makers: HashMap<String, usize>,
    tensors: HashMap<String, Tensor>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Graph {
    /// Checks what is needed to walk the graph without surprises.
    pub(super) fn new(model: Model) -> Result<Self, String> {
        let Model { opsets, nodes, tensors, inputs, outputs } = model;
        for set in &opsets {
            if !matches!((set.domain.as_str(), set.version), ("" | "ai.onnx", 14)) {
                return Err(format!(
                    "is written in version {} of the operators `{}`; version 14 of `ai.onnx` is read",
                    set.version, set.domain
                ));
            }
        }
        let mut stored = HashMap::new();
        for tensor in tensors {
            if tensor.location != 0 || !tensor.external.is_empty() {
                return Err(format!("tensor `{}` lies in another file; only tensors inside the file are read", tensor.name));
            }
            if let Some(twice) = stored.insert(tensor.name.clone(), tensor) {
                return Err(format!("there are two tensors called `{}`", twice.name));
            }
        }
        let mut makers = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            if !matches!(node.domain.as_str(), "" | "ai.onnx") {
                return Err(format!("has an operation `{}` of `{}`; only the standard operators are read", node.op, node.domain));
            }
            // In this order no value depends on itself, so that a walk backward comes to an end.
            let known = |value: &String| value.is_empty() || makers.contains_key(value) || stored.contains_key(value);
            let given = |value: &String| inputs.iter().any(|port| port.name == *value);
            if let Some(value) = node.inputs.iter().find(|value| !known(value) && !given(value)) {
                return Err(format!("operation `{}` takes `{value}`, which nothing before it makes", node.op));
            }
            for value in node.outputs.iter().filter(|value| !value.is_empty()) {
                if stored.contains_key(value) || makers.insert(value.clone(), index).is_some() {
                    return Err(format!("value `{value}` is made twice"));
                }
            }
        }
        Ok(Self { nodes, makers, tensors: stored, inputs, outputs })
    }

    /// The names of all stored tensors.
    pub(super) fn stored(&self) -> BTreeSet<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    /// The first value that comes out.
    pub(super) fn output(&self) -> Result<&str, String> {
        self.outputs.first().map(|port| port.name.as_str()).ok_or_else(|| "nothing comes out of the graph".into())
    }

    /// Height and width of the picture that goes in, which is called `name` and has three channels.
    pub(super) fn picture(&self, name: &str) -> Result<[usize; 2], String> {
        let port =
            self.inputs.iter().find(|port| port.name == name).ok_or_else(|| format!("`{name}` should be what goes into the graph"))?;
        match port.axes()[..] {
            [_, 3, height @ 1..=65_536, width @ 1..=65_536] => Ok([height as usize, width as usize]),
            ref axes => Err(format!("takes pictures of shape {axes:?}; it should be [_, 3, height, width] with fixed height and width")),
        }
    }

    /// The operation that makes `value`, if one does.
    pub(super) fn maker(&self, value: &str) -> Option<&Node> {
        self.makers.get(value).map(|index| &self.nodes[*index])
    }

    /// The operation that makes `value`, which must be of this kind.
    pub(super) fn made_by(&self, value: &str, op: &str) -> Result<&Node, String> {
        match self.maker(value) {
            Some(node) if node.op == op => Ok(node),
            Some(node) => Err(format!("value `{value}` is made by `{}`, where `{op}` should be", node.op)),
            None => Err(format!("`{value}` is given, where a value made by `{op}` should be")),
        }
    }

    /// The one input of an operation that makes `value`; its settings and shapes are of no matter here.
    pub(super) fn only_input(&self, value: &str, op: &str) -> Result<&str, String> {
        input(self.made_by(value, op)?, 0)
    }

    /// Both inputs of the `Add`, `Sub`, … that makes `value`.
    pub(super) fn pair(&self, value: &str, op: &str) -> Result<[&str; 2], String> {
        let node = self.made_by(value, op)?;
        Ok([input(node, 0)?, input(node, 1)?])
    }

    /// The two inputs of an operation whose order is of no matter: first the one that `of_kind` says yes to.
    pub(super) fn sorted_pair(&self, value: &str, op: &str, of_kind: impl Fn(&str) -> bool) -> Result<[&str; 2], String> {
        match self.pair(value, op)? {
            [a, b] if of_kind(a) => Ok([a, b]),
            [a, b] if of_kind(b) => Ok([b, a]),
            [a, b] => Err(format!("`{op}` makes `{value}` from `{a}` and `{b}`, neither of which is what should be there")),
        }
    }

    /// What stands before any change of kind to f32, which changes no number here.
    pub(super) fn uncast<'g>(&'g self, value: &'g str) -> Result<&'g str, String> {
        match self.maker(value) {
            Some(node) if node.op == "Cast" && int(node, "to", 0) == i64::from(FLOAT) => input(node, 0),
            _ => Ok(value),
        }
    }

    /// A stored tensor.
    pub(super) fn tensor(&self, name: &str) -> Result<&Tensor, String> {
        self.tensors.get(name).ok_or_else(|| format!("`{name}` should be a stored tensor"))
    }

    pub(super) fn is_stored(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A constant: a stored tensor, or what a `Constant` holds.
    fn constant(&self, value: &str) -> Result<&Tensor, String> {
        if let Some(tensor) = self.tensors.get(value) {
            return Ok(tensor);
        }
        let node = self.made_by(value, "Constant")?;
        attribute(node, "value").and_then(|a| a.tensor.as_deref()).ok_or_else(|| format!("constant `{value}` holds no tensor"))
    }

    /// A constant of one f32. Through its shortest decimal form, so that 1e-6 is 1e-6.
    pub(super) fn number(&self, value: &str) -> Result<f64, String> {
        match floats(self.constant(value)?)?[..] {
            [number] if number.is_finite() => Ok(number.to_string().parse().expect("a finite f32 is a number")),
            ref numbers => Err(format!("constant `{value}` has {} numbers; it should be one finite one", numbers.len())),
        }
    }

    /// A constant of whole numbers.
    pub(super) fn ints(&self, value: &str) -> Result<Vec<i64>, String> {
        let tensor = self.constant(value)?;
        let raw = &tensor.raw[..];
        match tensor.kind == INT64 && raw.len() <= 8 * MOST_CONSTANT && raw.len().is_multiple_of(8) {
            true if raw.is_empty() => Ok(tensor.int64s.clone()),
            true => Ok(raw.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()),
            false => Err(format!("constant `{value}` should be at most {MOST_CONSTANT} whole numbers")),
        }
    }

    /// The last `N` numbers of a shape that is put together from constants and sizes.
    pub(super) fn end_of_shape<const N: usize>(&self, value: &str) -> Result<[usize; N], String> {
        let numbers = match self.maker(value) {
            Some(node) if node.op == "Concat" => {
                let parts = node.inputs.len().checked_sub(N).map(|start| &node.inputs[start..]).unwrap_or_default();
                parts.iter().map(|part| self.ints(part)).collect::<Result<Vec<_>, _>>()?.concat()
            }
            _ => self.ints(value)?,
        };
        let sizes = numbers.last_chunk().map(|end| end.map(|n: i64| usize::try_from(n).unwrap_or(0)));
        sizes.filter(|sizes: &[usize; N]| !sizes.contains(&0)).ok_or_else(|| format!("shape `{value}` should end in {N} fixed sizes"))
    }
}

/// Input `index` of an operation.
pub(super) fn input(node: &Node, index: usize) -> Result<&str, String> {
    let value = node.inputs.get(index).map(String::as_str).filter(|value| !value.is_empty());
    value.ok_or_else(|| format!("operation `{}` has no input {index}", node.op))
}

fn attribute<'n>(node: &'n Node, name: &str) -> Option<&'n Attribute> {
    node.attributes.iter().find(|a| a.name == name)
}

/// A whole number among an operation's settings.
pub(super) fn int(node: &Node, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |a| a.int)
}

/// A number among an operation's settings.
pub(super) fn float(node: &Node, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |a| a.float)
}

/// A list among an operation's settings; empty where it is not given.
pub(super) fn list<'n>(node: &'n Node, name: &str) -> &'n [i64] {
    attribute(node, name).map_or(&[], |a| &a.ints)
}

/// A word among an operation's settings; empty where it is not given.
pub(super) fn word<'n>(node: &'n Node, name: &str) -> &'n [u8] {
    attribute(node, name).map_or(&[], |a| a.text.chunk())
}

/// Checks that a list among an operation's settings is this one.
pub(super) fn has_list(node: &Node, name: &str, expected: &[i64]) -> Result<(), String> {
    match list(node, name) {
        is if is == expected => Ok(()),
        is => Err(format!("operation `{}` has `{name}` {is:?}, where {expected:?} should be", node.op)),
    }
}

/// The numbers of a small f32 tensor.
pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f32>, String> {
    let raw = &tensor.raw[..];
    if tensor.kind != FLOAT || raw.len() > 4 * MOST_CONSTANT || !raw.len().is_multiple_of(4) {
        return Err(format!("tensor `{}` should be at most {MOST_CONSTANT} f32 numbers", tensor.name));
    }
    match raw.is_empty() {
        true => Ok(tensor.floats.clone()),
        false => Ok(raw.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
    }
}

//! A case as it lies on disk: what was asked of a published implementation, and what it answered. The format is `cases/FORMAT.md`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use pellucid_core::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::Value as Json;

/// `case.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Case {
    pub(super) format: String,
    pub(super) case: String,
    pub(super) model: Option<Json>,
    pub(super) checks: Vec<Check>,
    #[serde(skip)]
    pub(super) folder: PathBuf,
}

/// One comparison.
#[derive(Debug, Deserialize)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) params: Json,
    #[serde(default)]
    pub(super) site: Json,
    #[serde(default)]
    pub(super) inputs: BTreeMap<String, Json>,
    #[serde(default)]
    pub(super) target: Json,
    pub(super) dtype: String,
    /// Axes of the expected numbers, for people; what stands in the first brackets is also read by `logits`.
    #[serde(default)]
    pub(super) output: String,
    #[serde(default)]
    pub(super) sign: Option<String>,
    /// Where the published code departs from the right thing, in words.
    #[serde(default)]
    pub(super) reference_quirk: Option<String>,
    pub(super) expect: Expect,
    pub(super) tolerance: Tolerance,
}

/// Where the expected numbers are, or the expected text.
#[derive(Debug, Deserialize)]
pub(super) struct Expect {
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    tensor: Option<String>,
    #[serde(default)]
    mask: Option<String>,
    #[serde(default)]
    value: Option<Json>,
}

/// How far off is close enough.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Tolerance {
    pub(super) abs: f64,
    pub(super) rel: f64,
}

/// Numbers with a shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f64>,
}

impl Array {
    pub(super) fn new(shape: &[usize], values: Vec<f64>) -> Self {
        Self { shape: shape.to_vec(), values }
    }

    /// Rows of equal length, stacked.
    pub(super) fn rows(rows: Vec<Vec<f64>>) -> Self {
        Self { shape: vec![rows.len(), rows.first().map_or(0, Vec::len)], values: rows.concat() }
    }

    /// The shape without axes of length 1.
    pub(super) fn squeezed(&self) -> Vec<usize> {
        self.shape.iter().copied().filter(|n| *n != 1).collect()
    }
}

/// What a check expects.
#[derive(Debug)]
pub(super) enum Expected {
    Numbers { all: Array, mask: Option<Vec<f64>> },
    Value(Json),
}

impl Case {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("case.json");
        let text = fs::read_to_string(&path).map_err(|e| Error::io("cannot read", &path, e))?;
        let mut case: Case = serde_json::from_str(&text).map_err(|e| Error::format(&path, format!("not a case: {e}")))?;
        if case.format != "pellucid-case/1" {
            return Err(Error::format(&path, format!("format is `{}`, not `pellucid-case/1`", case.format)));
        }
        case.folder = folder.to_owned();
        Ok(case)
    }

    /// An input: inline, or the name of a tensor.
    pub(super) fn input(&self, check: &Check, name: &str) -> Result<Option<Array>> {
        match check.inputs.get(name) {
            None => Ok(None),
            Some(Json::String(tensor)) => self.tensor("inputs.safetensors", tensor).map(Some),
            Some(value) => inline(value).map(Some).ok_or_else(|| self.wrong(check, &format!("input `{name}` is not numbers"))),
        }
    }

    pub(super) fn expected(&self, check: &Check) -> Result<Expected> {
        match &check.expect {
            Expect { file: Some(file), tensor: Some(tensor), mask, .. } => {
                let mask = mask.as_ref().map(|m| self.tensor(file, m)).transpose()?;
                Ok(Expected::Numbers { all: self.tensor(file, tensor)?, mask: mask.map(|m| m.values) })
            }
            Expect { file: Some(file), tensor: None, .. } => {
                let path = self.folder.join(file);
                fs::read_to_string(&path).map(|text| Expected::Value(text.into())).map_err(|e| Error::io("cannot read", &path, e))
            }
            Expect { value: Some(value), .. } => Ok(Expected::Value(value.clone())),
            _ => Err(self.wrong(check, "expects something this tool cannot read")),
        }
    }

    pub(super) fn wrong(&self, check: &Check, problem: &str) -> Error {
        Error::format(self.folder.join("case.json"), format!("check `{}`: {problem}", check.name))
    }

    fn tensor(&self, file: &str, name: &str) -> Result<Array> {
        let path = self.folder.join(file);
        let bytes = fs::read(&path).map_err(|e| Error::io("cannot read", &path, e))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| Error::format(&path, e.to_string()))?;
        let view = tensors.tensor(name).map_err(|e| Error::format(&path, e.to_string()))?;
        let values = numbers(view.dtype(), view.data()).ok_or_else(|| Error::format(&path, format!("`{name}` is {:?}", view.dtype())))?;
        Ok(Array { shape: view.shape().to_vec(), values })
    }
}

fn numbers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
    fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.chunks_exact(N).map(|c| read(c.try_into().expect("chunks of N bytes"))).collect()
    }
    Some(match dtype {
        Dtype::F32 => each(bytes, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::F64 => each(bytes, f64::from_le_bytes),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => each(bytes, |b| f64::from(i32::from_le_bytes(b))),
        Dtype::U8 | Dtype::BOOL => bytes.iter().map(|b| f64::from(*b)).collect(),
        _ => return None,
    })
}

/// Numbers in JSON: one, a list, or a list of lists.
fn inline(value: &Json) -> Option<Array> {
    match value {
        Json::Number(n) => Some(Array::new(&[], vec![n.as_f64()?])),
        Json::Array(items) => {
            let parts = items.iter().map(inline).collect::<Option<Vec<_>>>()?;
            let inner = parts.first().map_or(Vec::new(), |p| p.shape.clone());
            let shape = [vec![parts.len()], inner].concat();
            Some(Array { shape, values: parts.into_iter().flat_map(|p| p.values).collect() })
        }
        _ => None,
    }
}

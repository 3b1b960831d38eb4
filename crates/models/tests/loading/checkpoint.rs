//! A case's model in memory, to be changed, written to a folder and opened again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use pellucid_core::{
    Control, Engine, Input, Result, Symbol,
    walk::up::{Ask, Document, Readout},
};
use pellucid_models::{Loaded, open, source::Located};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value as Json;
use tempfile::TempDir;

pub(crate) const ALL: [&str; 5] = ["gpt2", "gpt_neox", "gptj", "llama", "qwen2"];

#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Tensor {
    pub(crate) fn new(shape: &[usize], values: &[f32]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        Self { dtype: Dtype::F32, shape: shape.to_vec(), bytes: values.iter().flat_map(|x| x.to_le_bytes()).collect() }
    }

    pub(crate) fn zeros(shape: &[usize]) -> Self {
        Self::new(shape, &vec![0.0; shape.iter().product()])
    }

    pub(crate) fn values(&self) -> Vec<f32> {
        assert_eq!(self.dtype, Dtype::F32);
        self.bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }
}

#[derive(Clone)]
pub(crate) struct Checkpoint {
    pub(crate) config: Json,
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    pub(crate) fn case(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases").join(name);
        let config = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
        let file = std::fs::read(folder.join("model.safetensors")).unwrap();
        let tensor = |t: TensorView<'_>| Tensor { dtype: t.dtype(), shape: t.shape().to_vec(), bytes: t.data().to_vec() };
        let tensors = SafeTensors::deserialize(&file).unwrap().tensors().into_iter().map(|(name, t)| (name, tensor(t))).collect();
        Self { config, tensors }
    }

    /// The same with a key of its config set.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Json>) -> Self {
        self.config[key] = value.into();
        self
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        self.config.as_object_mut().unwrap().remove(key);
        self
    }

    /// A folder with `config.json` and `model.safetensors`.
    pub(crate) fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), self.config.to_string()).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), safetensors(&self.tensors)).unwrap();
        folder
    }

    /// Why it is refused.
    pub(crate) fn error(&self) -> String {
        error(self.folder().path())
    }

    pub(crate) fn logits(&self) -> Vec<f64> {
        logits(self.folder().path())
    }
}

pub(crate) fn safetensors(tensors: &BTreeMap<String, Tensor>) -> Vec<u8> {
    let views = tensors.iter().map(|(name, t)| (name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

pub(crate) fn opened(path: &Path) -> Result<Loaded> {
    open(&Located { id: "test".into(), path: PathBuf::from(path), file: None })
}

pub(crate) fn error(path: &Path) -> String {
    let message = match opened(path) {
        Ok(loaded) => panic!("took {:?}", loaded.model),
        Err(error) => error.to_string(),
    };
    assert!(!message.ends_with('.'), "{message}");
    message
}

/// Logits of every row of a fixed input, in f32.
pub(crate) fn logits(path: &Path) -> Vec<f64> {
    try_logits(path).unwrap()
}

pub(crate) fn try_logits(path: &Path) -> Result<Vec<f64>> {
    let loaded = opened(path)?;
    let input: Input = (0..12).map(|i| Symbol::Token((i * 37 + 5) % 128)).collect();
    let asks = (0..12).map(|position| Ask { position, tokens: vec![] }).collect();
    let document = Document { input, control: Control::none(), asks };
    let up = Engine::new(&loaded.model).up(&[document], &[], Readout { logits: true, ..Readout::default() })?;
    let logits: Vec<f64> = up.documents[0].iter().flat_map(|a| a.logits.iter().copied()).collect();
    assert!(logits.len() == 12 * 128 && logits.iter().all(|z| z.is_finite()));
    Ok(logits)
}

pub(crate) fn furthest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

pub(crate) fn says(message: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in: {message}"));
}

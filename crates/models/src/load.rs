//! From files to a model.

mod config;

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use pellucid_core::{Error, FileRecord, Model, ModelRecord, Result, TensorInfo, WeightStore};
use serde_json::Value as Json;

use crate::{
    architectures::{self, Config, Entry, names, open_gguf},
    image::Preprocessing,
    source::{self, Located},
    text::{GgufVocabulary, TextTokenizer},
    weights::{self, Gguf, Onnx},
};

/// A model ready to be asked.
pub struct Loaded {
    /// Architecture and weights.
    pub model: Model,
    /// The tower that reads texts, where `model` is one of pictures and the two are compared.
    pub text: Option<Model>,
    /// What the cosine of a picture's and a text's vector is multiplied with, where a checkpoint says so.
    pub match_scale: Option<f64>,
    /// How pictures are prepared, where it reads some.
    pub preprocessing: Option<Preprocessing>,
    /// Its tokenizer; models without one are asked by token ids.
    pub tokenizer: Option<TextTokenizer>,
    /// Which model it is, for the record. `dtype` is for whoever computes to fill in.
    pub record: ModelRecord,
}

/// Finds and opens what the user named.
///
/// # Errors
/// It cannot be found or fetched, its files are not what they say, its architecture is unknown, its tensors do not fit its config.
pub fn load(id: &str, options: &source::Options<'_>) -> Result<Loaded> {
    let located = source::locate(id, options)?;
    open(&located)
}

/// Opens files that have been found.
///
/// # Errors
/// As [`load`], but for the finding.
pub fn open(located: &Located) -> Result<Loaded> {
    let path = weight_file(&located.path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut preprocessing = None;
    let (entry, config, store, tokenizer) = match weights::kind(&path)? {
        weights::Kind::Gguf => {
            let gguf = Gguf::open(&path)?;
            let tokenizer = gguf_tokenizer(&gguf)?;
            let (entry, config, store) = open_gguf(gguf)?;
            (entry, config, store, tokenizer)
        }
        weights::Kind::Onnx => {
            let onnx = Onnx::open(&path)?;
            preprocessing = Some(onnx.preprocessing().clone());
            let config = Config::new(Json::Object(onnx.config().clone()))?;
            let (entry, config, store) = fit(Box::new(onnx), config)?;
            (entry, config, store, None)
        }
        weights::Kind::Safetensors | weights::Kind::Torch | weights::Kind::Index => {
            let store = weights::open(&path)?;
            let config = config::find(&path, store.as_ref())?;
            let (entry, config, store) = fit(store, config)?;
            (entry, config, store, TextTokenizer::from_folder(folder)?)
        }
    };
    let architecture = (entry.build)(&config)?;
    let table_is_last = architecture.unembedding().is_some_and(|l| architecture.token_table().is_some_and(|t| t.name == l.weight));
    let tied = config.flag_or("tie_word_embeddings", false)? || table_is_last;
    let unused = |name: &str| entry.unused.iter().any(|beginning| name.starts_with(beginning));
    let match_scale = match_scale(store.as_ref())?;
    let towers = [Some(architecture), entry.text.map(|build| build(&config)).transpose()?].into_iter().flatten().collect();
    let ignored = |name: &str| is_buffer(name) || unused(name) || name == SCALE || (tied && is_copy_of_table(name));
    let mut towers = Model::towers(towers, store, ignored)?.into_iter();
    let model = towers.next().expect("as many models as architectures");
    let record = record(located, &path, entry)?;
    if preprocessing.is_none() && model.description().patches.is_some() {
        preprocessing = Preprocessing::from_folder(folder)?;
    }
    Ok(Loaded { model, text: towers.next(), match_scale, preprocessing, tokenizer, record })
}

/// The architecture that a config names, and the tensors in the names and forms that it reads.
fn fit(store: Box<dyn WeightStore>, config: Config) -> Result<(&'static Entry, Config, Box<dyn WeightStore>)> {
    let entry = architectures::find(config.model_type()?)?;
    let store = names::fitted(named(names::translated(store, entry)?, entry)?, entry, &config)?;
    Ok((entry, config.beside(store.as_ref()), store))
}

/// The tokenizer in a GGUF file's metadata, if it has one.
fn gguf_tokenizer(gguf: &Gguf) -> Result<Option<TextTokenizer>> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    if !gguf.has(&key("model")) {
        return Ok(None);
    }
    let text = |name: &str| gguf.has(name).then(|| gguf.get_str(name)).transpose();
    let id = |name: &str| -> Result<Option<u32>> {
        let id = gguf.has(&key(name)).then(|| gguf.get_u64(&key(name))).transpose()?;
        let wrong = |n| Error::format(gguf.path(), format!("`{}` is {n}, not a token id", key(name)));
        id.map(|n| u32::try_from(n).map_err(|_| wrong(n))).transpose()
    };
    let flag = |name: &str| gguf.has(&key(name)).then(|| gguf.get_bool(&key(name))).transpose();
    let vocabulary = GgufVocabulary {
        file: gguf.path(),
        model: gguf.get_str(&key("model"))?,
        pre: text(&key("pre"))?,
        tokens: gguf.get_strings(&key("tokens"))?,
        types: gguf.has(&key("token_type")).then(|| gguf.get_i64s(&key("token_type"))).transpose()?,
        merges: gguf.has(&key("merges")).then(|| gguf.get_strings(&key("merges"))).transpose()?,
        scores: gguf.has(&key("scores")).then(|| gguf.get_f32s(&key("scores"))).transpose()?,
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        eot: id("eot_token_id")?,
        unknown: id("unknown_token_id")?,
        padding: id("padding_token_id")?,
        mask: id("mask_token_id")?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?,
        add_space_prefix: flag("add_space_prefix")?,
        chat_template: text("tokenizer.chat_template")?,
    };
    TextTokenizer::from_gguf_vocabulary(&vocabulary).map(Some)
}

/// The file with the weights: the path itself, or the one such file in a folder.
fn weight_file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    const NAMES: [&str; 5] =
        ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt"];
    if let Some(found) = NAMES.iter().map(|n| path.join(n)).find(|p| p.is_file()) {
        return Ok(found);
    }
    let entries = fs::read_dir(path).map_err(|e| Error::io("cannot read", path, e))?;
    let mut others: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "gguf" || e == "onnx")).collect();
    match (others.pop(), others.is_empty()) {
        (Some(found), true) => Ok(found),
        (Some(_), false) => {
            Err(Error::request(format!("{}: several GGUF files or ONNX files in this folder; name one of them", path.display())))
        }
        (None, _) => Err(Error::request(format!(
            "{}: no weights in this folder; there should be one of {}, or a GGUF or ONNX file",
            path.display(),
            NAMES.join(", ")
        ))),
    }
}

/// Buffers that old checkpoints store beside the weights: causal masks, rotary tables, positions counted up.
fn is_buffer(name: &str) -> bool {
    const ENDINGS: [&str; 8] = [
        ".attn.bias",
        ".attn.masked_bias",
        ".attention.bias",
        ".attention.masked_bias",
        ".rotary_emb.inv_freq",
        ".embed_positions",
        ".embeddings.position_ids",
        ".embeddings.token_type_ids",
    ];
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Where CLIP keeps the logarithm of what cosines are multiplied with.
const SCALE: &str = "logit_scale";

fn match_scale(store: &dyn WeightStore) -> Result<Option<f64>> {
    let Some(info) = store.info(SCALE) else { return Ok(None) };
    if info.matrix() != (1, 1) {
        return Err(Error::Weights(format!("tensor `{SCALE}` has shape {:?}; it should be a single number", info.shape)));
    }
    let mut logarithm = [0.0];
    store.read_rows(SCALE, 0..1, &mut logarithm)?;
    let scale = f64::from(logarithm[0]).exp();
    match scale.is_finite() && scale > 0.0 {
        true => Ok(Some(scale)),
        false => Err(Error::Weights(format!("tensor `{SCALE}` is {}, whose exponential is no scale", logarithm[0]))),
    }
}

/// A tied unembedding that is stored a second time.
fn is_copy_of_table(name: &str) -> bool {
    matches!(name, "lm_head.weight" | "embed_out.weight")
}

fn record(located: &Located, path: &Path, entry: &Entry) -> Result<ModelRecord> {
    let mut files = Vec::new();
    for file in weights::files(path)? {
        let bytes = fs::metadata(&file).map_err(|e| Error::io("cannot read", &file, e))?.len();
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let sha256 = located.file.as_ref().filter(|f| f.name == name).and_then(|f| f.sha256.clone());
        files.push(FileRecord { name, bytes, sha256 });
    }
    Ok(ModelRecord { id: located.id.clone(), architecture: entry.model_type.into(), files, dtype: String::new(), device: "cpu".into() })
}

/// A store under the names that an architecture expects: with its prefix, which a base model saved without its head lacks, and with norms'
/// scale and shift called as they are today (`gamma` and `beta` in BERT checkpoints of 2018).
struct Named {
    inner: Box<dyn WeightStore>,
    /// Expected name → stored name.
    stored: BTreeMap<String, String>,
}

/// What the heads' tensors are called; they never have a prefix.
const HEADS: [&str; 13] = [
    "cls_classifier.",
    "distillation_classifier.",
    "fc_norm.",
    "lm_head.",
    "embed_out.",
    "classifier.",
    "pre_classifier.",
    "cls.",
    "predictions.",
    "sop_classifier.",
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",
];

/// `inner` under the names that `entry` expects.
///
/// # Errors
/// Two tensors that come to the same name.
fn named(inner: Box<dyn WeightStore>, entry: &Entry) -> Result<Box<dyn WeightStore>> {
    let names = inner.names();
    let bare = !names.iter().any(|n| n.starts_with(entry.prefix));
    let expected = |name: &str| {
        let name = match name
            .strip_suffix("LayerNorm.gamma")
            .map(|p| (p, "weight"))
            .or(name.strip_suffix("LayerNorm.beta").map(|p| (p, "bias")))
        {
            Some((place, part)) => format!("{place}LayerNorm.{part}"),
            None => name.to_owned(),
        };
        if bare && !HEADS.iter().any(|h| name.starts_with(h)) { format!("{}{name}", entry.prefix) } else { name }
    };
    let mut stored = BTreeMap::new();
    for name in names {
        if let Some(other) = stored.insert(expected(&name), name.clone()) {
            return Err(Error::Weights(format!("tensors `{other}` and `{name}` are the same one under two names")));
        }
    }
    if stored.iter().all(|(expected, name)| expected == name) {
        return Ok(inner);
    }
    Ok(Box::new(Named { inner, stored }))
}

impl Named {
    fn stored<'a>(&'a self, name: &'a str) -> &'a str {
        self.stored.get(name).map_or(name, String::as_str)
    }
}

impl WeightStore for Named {
    fn names(&self) -> Vec<String> {
        self.stored.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.inner.info(self.stored.get(name)?)
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.inner.read_rows(self.stored(name), rows, out)
    }

    fn release(&self, name: &str) {
        self.inner.release(self.stored(name));
    }
}

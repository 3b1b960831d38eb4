//! From files to a model.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use pellucid_core::{Error, FileRecord, Model, ModelRecord, Result, TensorInfo, WeightStore};

use crate::{
    architectures::{self, Config, Entry, open_gguf},
    source::{self, Located},
    text::{GgufVocabulary, TextTokenizer},
    weights::{self, Gguf},
};

/// A model ready to be asked.
pub struct Loaded {
    /// Architecture and weights.
    pub model: Model,
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
    let (entry, config, store, tokenizer) = if weights::kind(&path)? == weights::Kind::Gguf {
        let gguf = Gguf::open(&path)?;
        let tokenizer = gguf_tokenizer(&gguf)?;
        let (entry, config, store) = open_gguf(gguf)?;
        (entry, config, store, tokenizer)
    } else {
        let folder = path.parent().unwrap_or(Path::new("."));
        let config = read_config(&folder.join("config.json"))?;
        let entry = architectures::find(config.model_type()?)?;
        (entry, config, Prefixed::open(weights::open(&path)?, entry.prefix), TextTokenizer::from_folder(folder)?)
    };
    let architecture = (entry.build)(&config)?;
    let tied = config.flag_or("tie_word_embeddings", false)? || architecture.unembedding().weight == architecture.token_table().name;
    let model = Model::new(architecture, store, |name| is_buffer(name) || (tied && is_copy_of_table(name)))?;
    let record = record(located, &path, entry)?;
    Ok(Loaded { model, tokenizer, record })
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
    const NAMES: [&str; 4] = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
    if let Some(found) = NAMES.iter().map(|n| path.join(n)).find(|p| p.is_file()) {
        return Ok(found);
    }
    let entries = fs::read_dir(path).map_err(|e| Error::io("cannot read", path, e))?;
    let mut ggufs: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "gguf")).collect();
    match (ggufs.pop(), ggufs.is_empty()) {
        (Some(found), true) => Ok(found),
        (Some(_), false) => Err(Error::request(format!("{}: several GGUF files in this folder; name one of them", path.display()))),
        (None, _) => Err(Error::request(format!(
            "{}: no weights in this folder; there should be one of {} or a GGUF file",
            path.display(),
            NAMES.join(", ")
        ))),
    }
}

fn read_config(path: &Path) -> Result<Config> {
    const LARGEST: u64 = 16 << 20;
    let size = fs::metadata(path).map_err(|e| Error::io("cannot read", path, e))?.len();
    if size > LARGEST {
        return Err(Error::format(path, format!("a config of {size} bytes is larger than any real one")));
    }
    let text = fs::read(path).map_err(|e| Error::io("cannot read", path, e))?;
    let json: serde_json::Value = serde_json::from_slice(&text).map_err(|e| Error::format(path, format!("not JSON: {e}")))?;
    Config::new(json).map_err(|_| Error::format(path, "not a JSON object"))
}

/// Buffers that old checkpoints store beside the weights: causal masks and rotary tables.
fn is_buffer(name: &str) -> bool {
    [".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq", ".embed_positions"]
        .iter()
        .any(|ending| name.ends_with(ending))
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

/// A store whose names lack the prefix that the architecture expects (a base model saved without its head).
struct Prefixed {
    inner: Box<dyn WeightStore>,
    prefix: &'static str,
}

impl Prefixed {
    fn open(inner: Box<dyn WeightStore>, prefix: &'static str) -> Box<dyn WeightStore> {
        if inner.names().iter().any(|n| n.starts_with(prefix)) { inner } else { Box::new(Self { inner, prefix }) }
    }

    fn stored<'a>(&self, name: &'a str) -> &'a str {
        name.strip_prefix(self.prefix).unwrap_or(name)
    }
}

impl WeightStore for Prefixed {
    fn names(&self) -> Vec<String> {
        let head = |name: &str| ["lm_head.", "embed_out."].iter().any(|h| name.starts_with(h));
        let prefixed = |n: String| if head(&n) { n } else { format!("{}{n}", self.prefix) };
        self.inner.names().into_iter().map(prefixed).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.inner.info(self.stored(name))
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.inner.read_rows(self.stored(name), rows, out)
    }

    fn release(&self, name: &str) {
        self.inner.release(self.stored(name));
    }
}

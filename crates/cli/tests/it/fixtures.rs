//! The program, and models small enough for a test.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use assert_cmd::{Command, cargo::cargo_bin_cmd};
use pellucid::models::architectures::{Config, find};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// A model without a tokenizer, as it is named from this crate's folder.
pub(crate) const GPTJ: &str = "../../cases/gptj";

/// The program in this crate's folder, out of reach of the person's settings, and unable to fetch anything.
pub(crate) fn pellucid() -> Command {
    let mut command = cargo_bin_cmd!("pellucid");
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "COLUMNS", "RAYON_NUM_THREADS", "HF_HUB_CACHE"] {
        command.env_remove(name);
    }
    let empty = Path::new(env!("CARGO_TARGET_TMPDIR")).join("empty-cache");
    command.env("TERM", "xterm-256color").env("PELLUCID_CACHE", empty).env("PELLUCID_PYTHON", "no-such-python");
    command
}

/// Standard output of a run that must end well.
pub(crate) fn shown(args: &[&str]) -> String {
    let output = pellucid().args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {:?}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Standard output as JSON, and nothing for people.
pub(crate) fn json_of(args: &[&str]) -> Json {
    serde_json::from_str(&shown(args)).unwrap()
}

/// Standard error of a run that must end with `code` and show nothing.
pub(crate) fn refused(code: i32, args: &[&str]) -> String {
    let output = pellucid().args(args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    stderr
}

/// A copy of a small model with a tokenizer and a chat template beside it.
pub(crate) struct TextModel(TempDir);

impl TextModel {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(Path::new(GPTJ), folder.path(), &["model.safetensors"]);
        let config = fs::read_to_string(Path::new(GPTJ).join("config.json")).unwrap();
        // Positions turn and are not learned: any context will do.
        fs::write(folder.path().join("config.json"), config.replace("\"n_positions\": 64", "\"n_positions\": 512")).unwrap();
        write_json(&folder.path().join("tokenizer.json"), &tokenizer());
        write_json(&folder.path().join("tokenizer_config.json"), &json!({ "chat_template": TEMPLATE }));
        Self(folder)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// A small BERT with random weights, a tokenizer of whole words and the head of its kind: `ForSequenceClassification` (classes safe, Odd and
/// bad), `ForMaskedLM`, or `Model`.
pub(crate) struct Encoder(TempDir);

const WORDS: [&str; 16] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "sleeps", "and", "runs", ".", "a", "big", "##s", "red"];

impl Encoder {
    pub(crate) fn new(head: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "model_type": "bert", "architectures": [format!("Bert{head}")], "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": WORDS.len(), "max_position_embeddings": 32,
            "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
            "id2label": { "0": "safe", "1": "Odd", "2": "bad" },
        });
        write_json(&folder.path().join("config.json"), &config);
        fs::write(folder.path().join("model.safetensors"), weights(config)).unwrap();
        let special = |id: usize| json!({ "id": id, "content": WORDS[id], "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true });
        let vocabulary: serde_json::Map<String, Json> = WORDS.iter().enumerate().map(|(id, w)| ((*w).to_owned(), id.into())).collect();
        let (cls, sep) = (
            |kind| json!({ "SpecialToken": { "id": "[CLS]", "type_id": kind } }),
            |kind| json!({ "SpecialToken": { "id": "[SEP]", "type_id": kind } }),
        );
        let text = |name: &str, kind| json!({ "Sequence": { "id": name, "type_id": kind } });
        let token = |id: usize| json!({ "id": WORDS[id], "ids": [id], "tokens": [WORDS[id]] });
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": (0..5).map(special).collect::<Vec<_>>(),
            "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true },
            "pre_tokenizer": { "type": "BertPreTokenizer" }, "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
            "post_processor": {
                "type": "TemplateProcessing", "single": [cls(0), text("A", 0), sep(0)],
                "pair": [cls(0), text("A", 0), sep(0), text("B", 1), sep(1)], "special_tokens": { "[CLS]": token(2), "[SEP]": token(3) },
            },
            "model": { "type": "WordPiece", "vocab": vocabulary, "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100 },
        });
        write_json(&folder.path().join("tokenizer.json"), &tokenizer);
        let named =
            json!({ "unk_token": "[UNK]", "mask_token": "[MASK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]" });
        write_json(&folder.path().join("tokenizer_config.json"), &named);
        Self(folder)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// A safetensors file with what the architecture asks for.
fn weights(config: Json) -> Vec<u8> {
    let config = Config::new(config).unwrap();
    let architecture = (find(config.model_type().unwrap()).unwrap().build)(&config).unwrap();
    let blocks = (0..architecture.description().layers).flat_map(|l| architecture.block_parameters(l));
    let shapes: BTreeMap<_, _> = architecture.parameters().into_iter().chain(blocks).flat_map(|p| p.tensors()).collect();
    let (mut state, mut data, mut header) = (1u64, Vec::new(), serde_json::Map::new());
    for (name, shape) in shapes {
        let start = data.len();
        for _ in 0..shape.iter().product() {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            data.extend((state as f32 / (1u64 << 31) as f32 - 0.5).to_le_bytes());
        }
        header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] }));
    }
    let header = Json::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

const TEMPLATE: &str = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}<answer>";

const MERGES: [&str; 12] = ["t h", "th e", "c a", "ca t", "Ġ cat", "Ġ d", "Ġd o", "Ġdo g", "a n", "an d", "Ġ and", "Ġ the"];

/// Byte-level pieces over the printable characters of ASCII: 1 + 96 + 12 tokens.
fn tokenizer() -> Json {
    let letters = ('!'..='~').chain(['Ġ', 'Ċ']).map(String::from);
    let tokens = std::iter::once("<|end|>".to_owned()).chain(letters).chain(MERGES.map(|m| m.replace(' ', "")));
    let vocabulary: serde_json::Map<String, Json> = tokens.enumerate().map(|(id, token)| (token, id.into())).collect();
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [
            { "id": 0, "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true },
        ],
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": { "type": "BPE", "vocab": vocabulary, "merges": MERGES, "dropout": null, "unk_token": null },
    })
}

/// A copy of a case with some of its checks edited; only `checks` many are kept.
pub(crate) fn case(name: &str, into: &Path, checks: usize, edit: impl Fn(usize, &mut Json)) -> PathBuf {
    let (from, to) = (Path::new("../../cases").join(name), into.join(name));
    fs::create_dir(&to).unwrap();
    copy(&from, &to, &["expected.safetensors"]);
    let mut case: Json = serde_json::from_slice(&fs::read(from.join("case.json")).unwrap()).unwrap();
    let all = case["checks"].as_array_mut().unwrap();
    all.truncate(checks);
    all.iter_mut().enumerate().for_each(|(i, check)| edit(i, check));
    write_json(&to.join("case.json"), &case);
    to
}

pub(crate) fn write_json(path: &Path, json: &Json) {
    fs::write(path, json.to_string()).unwrap();
}

/// Without the originals' permissions, which may forbid writing.
pub(crate) fn copy(from: &Path, to: &Path, files: &[&str]) {
    files.iter().for_each(|file| fs::write(to.join(file), fs::read(from.join(file)).unwrap()).unwrap());
}

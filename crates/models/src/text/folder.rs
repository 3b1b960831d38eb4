//! A tokenizer from a model's folder, as the hub lays it out.
//!
//! `tokenizer.json` (else `vocab.json` and `merges.txt`, GPT-2's form) · `tokenizer_config.json` and `special_tokens_map.json`: special tokens
//! by role, whether one is put before and behind a text, the chat template · `chat_template.jinja` · `generation_config.json` and
//! `config.json`: what ends an answer.

use std::collections::HashSet;
use std::path::Path;

use pellucid_core::{Error, Result};
use serde_json::Value as Json;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Encoding, PostProcessor, Token, Tokenizer};

use super::{About, TextTokenizer};

/// No tokenizer file is near this size; a larger one is not read.
const LARGEST: u64 = 1 << 28;

/// Roles that files give to special tokens.
const ROLES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl TextTokenizer {
    /// The tokenizer in a model's folder; `None` if there is none that we read.
    ///
    /// # Errors
    /// A file that is not what it should be, named with what is wrong.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>> {
        let json_file = folder.join("tokenizer.json");
        let config = read_json(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
        let (file, tokenizer) = match read_json(&json_file)? {
            Some(json) => (json_file.clone(), from_json(json).map_err(|problem| Error::format(&json_file, problem))?),
            None => match gpt2(folder, &config)? {
                Some(tokenizer) => (folder.join("vocab.json"), tokenizer),
                None => return Ok(None),
            },
        };
        let map = read_json(&folder.join("special_tokens_map.json"))?.unwrap_or_default();
        let (tokenizer, mut about) = describe(tokenizer, &config, &map).map_err(|problem| Error::format(&file, problem))?;
        about.chat_template = match read(&folder.join("chat_template.jinja"))? {
            Some(text) => Some(String::from_utf8(text).map_err(|_| Error::format(folder.join("chat_template.jinja"), "is not UTF-8"))?),
            None => template(&config["chat_template"]),
        };
        for file in ["generation_config.json", "config.json"] {
            let json = read_json(&folder.join(file))?.unwrap_or_default();
            let ids = json["eos_token_id"].as_array().cloned().unwrap_or_else(|| vec![json["eos_token_id"].clone()]);
            about.ends.extend(ids.iter().filter_map(Json::as_u64).filter_map(|id| u32::try_from(id).ok()));
        }
        let mut seen = HashSet::new();
        about.ends.retain(|id| seen.insert(*id));
        TextTokenizer::new(tokenizer, about).map(Some).map_err(|problem| Error::format(file, problem))
    }
}

/// A file's content, `None` if it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("cannot read", path, error)),
        Ok(found) if found.len() > LARGEST => {
            return Err(Error::format(path, format!("has {} bytes; a tokenizer's file has at most {LARGEST}", found.len())));
        }
        Ok(_) => (),
    }
    std::fs::read(path).map(Some).map_err(|error| Error::io("cannot read", path, error))
}

fn read_json(path: &Path) -> Result<Option<Json>> {
    let Some(text) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).map_err(|error| Error::format(path, format!("is not valid JSON: {error}")))
}

/// `tokenizer.json`, checked where the library would panic or only warn.
fn from_json(json: Json) -> Result<Tokenizer, String> {
    let declared: Vec<(String, u64)> = json["added_tokens"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|token| Some((token["content"].as_str()?.to_owned(), token["id"].as_u64()?)))
        .collect();
    let model = &json["model"];
    if let (Some(vocabulary), Some(merges)) = (model["vocab"].as_object(), model["merges"].as_array()) {
        let prefix = model["continuing_subword_prefix"].as_str().unwrap_or_default();
        for merge in merges {
            let pair = match merge {
                Json::String(text) => text.split_once(' '),
                _ => merge.get(0).and_then(Json::as_str).zip(merge.get(1).and_then(Json::as_str)),
            };
            let (left, right) = pair.ok_or_else(|| format!("merge {merge} is not a pair of tokens"))?;
            let merged = right.strip_prefix(prefix).map(|right| format!("{left}{right}"));
            if !merged.is_some_and(|merged| [left, right, &merged].iter().all(|token| vocabulary.contains_key(*token))) {
                return Err(format!("merge {merge} names tokens that the vocabulary does not have"));
            }
        }
    }
    let tokenizer: Tokenizer = serde_json::from_value(json).map_err(|error| format!("is not a tokenizer: {error}"))?;
    for (content, id) in declared {
        let given = tokenizer.token_to_id(&content);
        if given.map(u64::from) != Some(id) {
            return Err(format!("added token `{content}` is declared with id {id}, but its place in the vocabulary is {given:?}"));
        }
    }
    Ok(tokenizer)
}

/// GPT-2's two files, for byte-level vocabularies that were published before `tokenizer.json`.
fn gpt2(folder: &Path, config: &Json) -> Result<Option<Tokenizer>> {
    let (vocabulary_file, merges_file) = (folder.join("vocab.json"), folder.join("merges.txt"));
    let (Some(vocabulary), Some(merges)) = (read(&vocabulary_file)?, read(&merges_file)?) else { return Ok(None) };
    let vocabulary: Vocab =
        serde_json::from_slice(&vocabulary).map_err(|error| Error::format(&vocabulary_file, format!("is not a vocabulary: {error}")))?;
    let merges = String::from_utf8(merges).map_err(|_| Error::format(&merges_file, "is not UTF-8"))?;
    let lines = merges.lines().filter(|line| !line.starts_with("#version") && !line.is_empty());
    let merges =
        super::gguf::merges(lines, |token| vocabulary.contains_key(token)).map_err(|problem| Error::format(&merges_file, problem))?;
    let model = BPE::builder().vocab_and_merges(vocabulary, merges).build();
    let mut tokenizer = Tokenizer::new(model.map_err(|error| Error::format(&merges_file, error.to_string()))?);
    let blank = config["add_prefix_space"].as_bool().unwrap_or(false);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(blank, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    Ok(Some(tokenizer))
}

/// Special tokens: which there are, and which are put around a text.
fn describe(mut tokenizer: Tokenizer, config: &Json, map: &Json) -> Result<(Tokenizer, About), String> {
    let mut about = About::default();
    for role in ROLES {
        // Either the token itself, or an object with its `content`.
        let text = |json: &Json| json[role].as_str().or(json[role]["content"].as_str()).map(str::to_owned);
        let named = text(config).or_else(|| text(map));
        if let Some((text, id)) = named.and_then(|text| tokenizer.token_to_id(&text).map(|id| (text, id))) {
            about.named.insert(role.into(), (text, id));
        }
    }
    let marked = config["added_tokens_decoder"].as_object().into_iter().flatten().map(|(_, token)| token);
    let marked = marked.filter(|token| token["special"] == true).filter_map(|token| token["content"].as_str().map(str::to_owned));
    let special: Vec<String> = about.named.values().map(|(text, _)| text.clone()).chain(marked).collect();
    // Those that the tokenizer marks already keep their marks; those that it does not have would only grow the vocabulary.
    let known = tokenizer.get_added_vocabulary().get_vocab();
    let missing = special.into_iter().filter(|text| !known.contains_key(text) && tokenizer.token_to_id(text).is_some());
    let missing: Vec<AddedToken> = missing.map(|text| AddedToken::from(text, true)).collect();
    tokenizer.add_special_tokens(missing).map_err(|error| error.to_string())?;

    let id = |role: &str| about.named.get(role).map(|(_, id)| *id);
    let asked = |field: &str| config[field].as_bool();
    (about.before, about.behind) = match (asked("add_bos_token"), asked("add_eos_token")) {
        (None, None) => around(&tokenizer)?,
        // The configuration's word goes before that of the tokenizer's own post-processing.
        (before, behind) => {
            let of = |wanted: Option<bool>, role| id(role).filter(|_| wanted == Some(true)).into_iter().collect();
            (of(before, "bos_token"), of(behind, "eos_token"))
        }
    };
    about.ends = id("eos_token").into_iter().collect();
    about.vocabulary = tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
    Ok((tokenizer, about))
}

/// What the tokenizer's post-processing puts before and behind a text: found by letting it process one token.
fn around(tokenizer: &Tokenizer) -> Result<(Vec<u32>, Vec<u32>), String> {
    let Some(processor) = tokenizer.get_post_processor() else { return Ok(Default::default()) };
    let one = Encoding::from_tokens(vec![Token::new(0, "a".into(), (0, 1))], 0);
    let processed = processor.process(one, None, true).map_err(|error| error.to_string())?;
    let text = processed.get_special_tokens_mask().iter().position(|special| *special == 0);
    let text = text.ok_or("post-processing drops the text")?;
    let ids = processed.get_ids();
    Ok((ids[..text].to_vec(), ids[text + 1..].to_vec()))
}

/// One template, or a list of named ones of which `default` counts.
fn template(json: &Json) -> Option<String> {
    let named = || json.as_array()?.iter().find(|entry| entry["name"] == "default")?["template"].as_str();
    json.as_str().or_else(named).map(str::to_owned)
}

//! A tokenizer from a model's folder, as the hub lays it out.
//!
//! `tokenizer.json`, else `vocab.json` and `merges.txt` (`byte_pairs.rs`), else `vocab.txt` (`vocabulary.rs`), else `tokenizer.pkl`
//! (`pickled.rs`) · `tokenizer_config.json` and `special_tokens_map.json`: special tokens by role, whether one is put before and behind a text,
//! how word pieces are cleaned, the chat template · `chat_template.jinja` · `generation_config.json` and `config.json`: what ends an answer.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use pellucid_core::{Error, Result};
use serde_json::Value as Json;
use tokenizers::{AddedToken, Tokenizer};

use super::form::Form;
use super::pipeline::Lookup;
use super::{About, TextTokenizer, byte_pairs, pickled, vocabulary};

/// No tokenizer file is near this size; a larger one is not read.
const LARGEST: u64 = 1 << 28;

/// Roles that files give to special tokens.
const ROLES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// What files beside the vocabulary say, `null` where there are none.
#[derive(Default)]
pub(super) struct Said {
    /// `tokenizer_config.json`
    pub(super) config: Json,
    /// `special_tokens_map.json`
    map: Json,
    /// `config.json`
    pub(super) model: Json,
}

impl Said {
    fn read(folder: &Path) -> Result<Self> {
        let json = |name: &str| read_json(&folder.join(name)).map(Option::unwrap_or_default);
        Ok(Said { config: json("tokenizer_config.json")?, map: json("special_tokens_map.json")?, model: json("config.json")? })
    }

    /// A role's token and its marks, if it has some: files have either the token itself, or an object with its `content`.
    pub(super) fn token(&self, role: &str) -> Option<(&str, &Json)> {
        [&self.config, &self.map].into_iter().find_map(|json| Some((json[role].as_str().or(json[role]["content"].as_str())?, &json[role])))
    }

    /// A role's token, or the `usual` one.
    pub(super) fn token_or(&self, role: &str, usual: &Usual) -> Option<String> {
        let usual = || usual.iter().find(|(of, _)| *of == role).map(|(_, token)| token.clone());
        self.token(role).map(|(token, _)| token.to_owned()).or_else(usual)
    }
}

/// Tokens by their role where no file names others.
pub(super) type Usual = Vec<(&'static str, String)>;

/// What the files of a vocabulary say by themselves.
pub(super) struct Built {
    pub(super) tokenizer: Tokenizer,
    pub(super) lookup: Lookup,
    pub(super) usual: Usual,
}

impl TextTokenizer {
    /// The tokenizer in a model's folder; `None` if there is none that we read.
    ///
    /// # Errors
    /// A file that is not what it should be, named with what is wrong.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>> {
        let said = Said::read(folder)?;
        let Some((file, built)) = build(folder, &said)? else { return Ok(None) };
        let Built { tokenizer, lookup, usual } = built;
        let (tokenizer, mut about) = describe(tokenizer, &said, &usual).map_err(|problem| Error::format(&file, problem))?;
        about.chat_template = match read(&folder.join("chat_template.jinja"))? {
            Some(text) => Some(String::from_utf8(text).map_err(|_| Error::format(folder.join("chat_template.jinja"), "is not UTF-8"))?),
            None => template(&said.config["chat_template"]),
        };
        let generation = read_json(&folder.join("generation_config.json"))?.unwrap_or_default();
        for json in [generation, said.model] {
            let ids = json["eos_token_id"].as_array().cloned().unwrap_or_else(|| vec![json["eos_token_id"].clone()]);
            about.ends.extend(ids.iter().filter_map(Json::as_u64).filter_map(|id| u32::try_from(id).ok()));
        }
        let mut seen = HashSet::new();
        about.ends.retain(|id| seen.insert(*id));
        TextTokenizer::new(tokenizer, lookup, about).map(Some).map_err(|problem| Error::format(file, problem))
    }
}

/// The vocabulary, in the first form that is there, and the file to name in errors.
fn build(folder: &Path, said: &Said) -> Result<Option<(PathBuf, Built)>> {
    let [json, vocab, merges, lines, pickle] =
        ["tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.pkl"].map(|name| folder.join(name));
    let (file, built) = if let Some(content) = read_json(&json)? {
        let usual = conventions(&content);
        (&json, from_json(content).map(|tokenizer| Built { tokenizer, lookup: Lookup::Library, usual }))
    } else if let (Some(entries), Some(pairs)) = (read(&vocab)?, read(&merges)?) {
        (&vocab, Ok(byte_pairs::read((&vocab, entries), (&merges, pairs), said)?))
    } else if let Some(content) = read(&lines)? {
        (&lines, vocabulary::read(&content, said))
    } else if let Some(content) = read(&pickle)? {
        (&pickle, pickled::read(&content))
    } else {
        return Ok(None);
    };
    built.map(|built| Some((file.clone(), built))).map_err(|problem| Error::format(file, problem))
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

/// Roles that a `tokenizer.json` itself tells: what its model has for the unknown, and special tokens by their customary names.
fn conventions(json: &Json) -> Usual {
    const CUSTOMARY: [(&str, &str); 6] = [
        ("cls_token", "[CLS]"),
        ("sep_token", "[SEP]"),
        ("mask_token", "[MASK]"),
        ("mask_token", "<mask>"),
        ("pad_token", "[PAD]"),
        ("pad_token", "<pad>"),
    ];
    let special = |token: &&Json| token["special"] == true;
    let added: Vec<&str> =
        json["added_tokens"].as_array().into_iter().flatten().filter(special).filter_map(|t| t["content"].as_str()).collect();
    let model = &json["model"];
    let by_id = || model["vocab"].as_array()?.get(usize::try_from(model["unk_id"].as_u64()?).ok()?)?[0].as_str();
    let unknown = model["unk_token"].as_str().or_else(by_id).map(|token| ("unk_token", token.to_owned()));
    let customary = CUSTOMARY.into_iter().filter(|(_, token)| added.contains(token)).map(|(role, token)| (role, token.to_owned()));
    unknown.into_iter().chain(customary).collect()
}

/// Special tokens: which there are, and which are put around a text.
fn describe(mut tokenizer: Tokenizer, said: &Said, usual: &Usual) -> Result<(Tokenizer, About), String> {
    let mut about = About::default();
    let mut special = Vec::new();
    for role in ROLES {
        let Some(text) = said.token_or(role, usual) else { continue };
        let Some(id) = tokenizer.token_to_id(&text) else { continue };
        let marked = |mark: &str| said.token(role).is_some_and(|(_, marks)| marks[mark] == true);
        let token = AddedToken::from(text.as_str(), true);
        special.push(token.lstrip(marked("lstrip")).rstrip(marked("rstrip")).single_word(marked("single_word")));
        about.named.insert(role.into(), (text, id));
    }
    let marked = said.config["added_tokens_decoder"].as_object().into_iter().flatten().map(|(_, token)| token);
    let marked = marked.filter(|token| token["special"] == true).filter_map(|token| token["content"].as_str());
    special.extend(marked.map(|text| AddedToken::from(text, true)));
    // Those that the tokenizer marks already keep their marks; those that it does not have would only grow the vocabulary.
    let known = tokenizer.get_added_vocabulary().get_vocab();
    let missing = |token: &AddedToken| !known.contains_key(&token.content) && tokenizer.token_to_id(&token.content).is_some();
    let missing: Vec<AddedToken> = special.into_iter().filter(missing).collect();
    tokenizer.add_special_tokens(missing).map_err(|error| error.to_string())?;

    let id = |role: &str| about.named.get(role).map(|(_, id)| *id);
    let asked = |field: &str| said.config[field].as_bool();
    about.form = match (asked("add_bos_token"), asked("add_eos_token")) {
        (None, None) => tokenizer.get_post_processor().map_or(Ok(Form::default()), Form::of)?,
        // The configuration's word goes before that of the tokenizer's own post-processing.
        (before, behind) => {
            let of = |wanted: Option<bool>, role| id(role).filter(|_| wanted == Some(true));
            Form::around(of(before, "bos_token").as_slice(), of(behind, "eos_token").as_slice())
        }
    };
    about.ends = id("eos_token").into_iter().collect();
    about.vocabulary = tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
    Ok((tokenizer, about))
}

/// One template, or a list of named ones of which `default` counts.
fn template(json: &Json) -> Option<String> {
    let named = || json.as_array()?.iter().find(|entry| entry["name"] == "default")?["template"].as_str();
    json.as_str().or_else(named).map(str::to_owned)
}

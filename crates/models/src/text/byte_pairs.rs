//! `vocab.json` and `merges.txt`: byte-level pairs, as GPT-2 and its descendants were published before `tokenizer.json`.
//!
//! The two files do not say what is put around a text. RoBERTa's kin put `<s>` and `</s>` there, and `</s></s>` between two texts; whether
//! a folder is of that kin is told by its `config.json` (`model_type`) or its `tokenizer_config.json` (`tokenizer_class`).

use std::path::Path;

use pellucid_core::{Error, Result};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::folder::{Built, Said, Usual};
use super::gguf::merges;
use super::pipeline::Lookup;

/// Models that read as RoBERTa does.
const KIN: [&str; 4] = ["roberta", "longformer", "bart", "led"];

/// Names that hold for them where no file gives others.
const USUAL: [(&str, &str); 5] =
    [("unk_token", "<unk>"), ("cls_token", "<s>"), ("sep_token", "</s>"), ("pad_token", "<pad>"), ("mask_token", "<mask>")];

/// The tokenizer of the two files' contents.
pub(super) fn read((vocabulary_file, vocabulary): (&Path, Vec<u8>), (merges_file, lines): (&Path, Vec<u8>), said: &Said) -> Result<Built> {
    let vocabulary: Vocab =
        serde_json::from_slice(&vocabulary).map_err(|error| Error::format(vocabulary_file, format!("is not a vocabulary: {error}")))?;
    let lines = String::from_utf8(lines).map_err(|_| Error::format(merges_file, "is not UTF-8"))?;
    let lines = lines.lines().filter(|line| !line.starts_with("#version") && !line.is_empty());
    let merges = merges(lines, |token| vocabulary.contains_key(token)).map_err(|problem| Error::format(merges_file, problem))?;
    let pairs = BPE::builder().vocab_and_merges(vocabulary, merges).build();
    let mut tokenizer = Tokenizer::new(pairs.map_err(|error| Error::format(merges_file, error.to_string()))?);
    let blank = said.config["add_prefix_space"].as_bool().unwrap_or(false);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(blank, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let mut usual = Vec::new();
    if is_kin(said) {
        usual.extend(USUAL.map(|(role, token)| (role, token.to_owned())));
        as_roberta(&mut tokenizer, said, &usual).map_err(|problem| Error::format(vocabulary_file, problem))?;
    }
    Ok(Built { tokenizer, lookup: Lookup::Library, usual })
}

fn is_kin(said: &Said) -> bool {
    let class = said.config["tokenizer_class"].as_str();
    let class = class.map(|class| class.trim_end_matches("Fast").trim_end_matches("Tokenizer").to_lowercase());
    class.as_deref().or(said.model["model_type"].as_str()).is_some_and(|name| KIN.contains(&name))
}

/// `<s> A </s>`, `<s> A </s></s> B </s>`, all of type 0. The mask swallows the blank before it, unless a file describes it otherwise.
fn as_roberta(tokenizer: &mut Tokenizer, said: &Said, usual: &Usual) -> Result<(), String> {
    let token = |role: &str| {
        let token = said.token_or(role, usual).unwrap_or_default();
        tokenizer.token_to_id(&token).map(|id| (token.clone(), id)).ok_or(token)
    };
    let needed = |role: &str| token(role).map_err(|token| format!("has no `{token}`, which stands around a text"));
    let processing = RobertaProcessing::new(needed("sep_token")?, needed("cls_token")?);
    let described = said.token("mask_token").is_some_and(|(_, marks)| marks.is_object());
    if let Ok((mask, _)) = token("mask_token").as_ref()
        && !described
    {
        let mask = AddedToken::from(mask.as_str(), true).lstrip(true);
        tokenizer.add_special_tokens([mask]).map_err(|error| error.to_string())?;
    }
    tokenizer.with_post_processor(Some(processing));
    Ok(())
}

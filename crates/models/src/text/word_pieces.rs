//! BERT's word pieces: a text is cleaned, lower-cased and stripped of accents as its configuration says, split at blanks and punctuation, and
//! each word read from its longest beginning on; what continues a word is written `##ing`. A word that cannot be put together is `[UNK]` as a
//! whole, and so is one of more than 100 characters.
//!
//! `tokenizer_config.json` has the say; where it is silent, what BERT was published with holds: `do_lower_case` true, `strip_accents` as
//! `do_lower_case`, `tokenize_chinese_chars` (every Chinese character a word of its own) true.

use std::collections::HashMap;

use serde_json::Value as Json;
use tokenizers::Tokenizer;
use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;

use super::pipeline::Lookup;

/// What continues a word begins with this.
const PREFIX: &str = "##";

pub(super) fn build(ids: &HashMap<&str, u32>, unknown: String, config: &Json) -> Result<(Tokenizer, Lookup), String> {
    let flag = |field: &str| match &config[field] {
        Json::Null => Ok(None),
        value => value.as_bool().map(Some).ok_or_else(|| format!("is read with `{field}` {value}, which is neither true nor false")),
    };
    if flag("do_basic_tokenize")? == Some(false) {
        return Err("is read with `do_basic_tokenize` false: texts that are split into words already cannot be read".into());
    }
    let (lower, chinese) = (flag("do_lower_case")?.unwrap_or(true), flag("tokenize_chinese_chars")?.unwrap_or(true));
    let vocabulary: Vocab = ids.iter().map(|(token, id)| ((*token).to_owned(), *id)).collect();
    let model = WordPiece::builder().vocab(vocabulary).unk_token(unknown).continuing_subword_prefix(PREFIX.into());
    let mut tokenizer = Tokenizer::new(model.build().map_err(|error| error.to_string())?);
    let normalizer = BertNormalizer::new(true, chinese, flag("strip_accents")?, lower);
    tokenizer.with_normalizer(Some(normalizer)).map_err(|error| error.to_string())?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_decoder(Some(Decoder::new(PREFIX.into(), true)));
    Ok((tokenizer, Lookup::Library))
}

//! `vocab.txt`: one token a line, its id the line's number from 0. Two kinds of tokenizers are published this way and no file says which it
//! is: BERT's word pieces, and whole symbols of SMILES. The entries themselves tell them apart; see `smiles.rs`.

use std::collections::HashMap;

use tokenizers::processors::bert::BertProcessing;

use super::folder::{Built, Said};
use super::{smiles, word_pieces};

/// Names that hold where no file gives others.
const USUAL: [(&str, &str); 5] =
    [("unk_token", "[UNK]"), ("cls_token", "[CLS]"), ("sep_token", "[SEP]"), ("pad_token", "[PAD]"), ("mask_token", "[MASK]")];

/// The tokenizer of a `vocab.txt`.
pub(super) fn read(text: &[u8], said: &Said) -> Result<Built, String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8")?;
    let ids = ids(text)?;
    let usual = USUAL.map(|(role, token)| (role, token.to_owned())).to_vec();
    let needed = |role: &str, what: &str| {
        let token = said.token_or(role, &usual).unwrap_or_default();
        let id = ids.get(token.as_str()).copied();
        id.map(|id| (token.clone(), id)).ok_or_else(|| format!("has no `{token}`, which stands {what}"))
    };
    let (unknown, _) = needed("unk_token", "for what the vocabulary does not have")?;
    let (cls, sep) = (needed("cls_token", "before a text")?, needed("sep_token", "behind a text")?);
    let symbols = said.config["tokenizer_class"] == "SmilesTokenizer" || smiles::is_meant(ids.keys().copied())?;
    let (mut tokenizer, lookup) = if symbols { smiles::build(&ids, unknown)? } else { word_pieces::build(&ids, unknown, &said.config)? };
    tokenizer.with_post_processor(Some(BertProcessing::new(sep, cls)));
    Ok(Built { tokenizer, lookup, usual })
}

/// Ids by token. Empty lines count, but cannot be met in a text.
fn ids(text: &str) -> Result<HashMap<&str, u32>, String> {
    let mut ids = HashMap::new();
    for (token, id) in text.lines().zip(0u32..).filter(|(token, _)| !token.is_empty()) {
        if let Some(first) = ids.insert(token, id) {
            return Err(format!("line {} is `{token}`, as line {} is already; every token needs one id", id + 1, first + 1));
        }
    }
    Ok(ids)
}

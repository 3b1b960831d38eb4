//! SMILES, chemistry's line notation: a text is split into symbols (atoms, bonds, ring numbers, brackets) by one regular expression, and each
//! symbol is looked up as a whole. Upper and lower case differ: `C` is carbon, `c` carbon in an aromatic ring.
//!
//! The expression is rxnfp's (Schwaller et al., "Mapping the space of chemical reactions using attention-based neural networks", 2021).
//! We differ where a text is not SMILES: rxnfp leaves out whatever is no symbol; here only blanks are left out, and anything else is an error.

use std::collections::HashMap;

use tokenizers::decoders::fuse::Fuse;
use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior, Tokenizer};

use super::pipeline::Lookup;

/// One symbol.
const SYMBOL: &str =
    r"\%\([0-9]{3}\)|\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\||\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$|\%[0-9]{2}|[0-9]";

/// Symbols that no vocabulary of organic chemistry does without.
const ESSENTIAL: [&str; 6] = ["C", "c", "O", "(", ")", "="];

/// Whether a vocabulary is one of symbols: every entry is one symbol (special tokens, written in brackets, look like atoms), and those that
/// organic chemistry cannot do without are there. A vocabulary of word pieces has words, and they are no symbols.
pub(super) fn is_meant<'t>(mut entries: impl Iterator<Item = &'t str> + Clone) -> Result<bool, String> {
    if !ESSENTIAL.iter().all(|symbol| entries.clone().any(|entry| entry == *symbol)) {
        return Ok(false);
    }
    let symbols = symbols()?;
    Ok(entries.all(|entry| {
        let mut split = PreTokenizedString::from(entry);
        let parts = symbols.pre_tokenize(&mut split).map(|()| split.get_splits(OffsetReferential::Original, OffsetType::Byte));
        matches!(parts.as_deref(), Ok([(symbol, ..)]) if *symbol == entry)
    }))
}

pub(super) fn build(ids: &HashMap<&str, u32>, unknown: String) -> Result<(Tokenizer, Lookup), String> {
    let vocabulary: Vocab = ids.iter().map(|(token, id)| ((*token).to_owned(), *id)).collect();
    let model = WordLevel::builder().vocab(vocabulary).unk_token(unknown).build().map_err(|error| error.to_string())?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(symbols()?));
    tokenizer.with_decoder(Some(Fuse::new()));
    Ok((tokenizer, Lookup::Strict("a symbol of SMILES")))
}

/// Keeps the symbols. (Turned around: what is between them is removed.)
fn symbols() -> Result<Split, String> {
    Split::new(SplitPattern::Regex(SYMBOL.into()), SplitDelimiterBehavior::Removed, true).map_err(|error| error.to_string())
}

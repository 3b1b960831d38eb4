//! RoBERTa (Liu et al. 2019, arXiv 1907.11692): BERT's encoder with positions that begin after that of padding, one kind of text, and a head of
//! its own.
//!
//! ```text
//! classes    C·tanh(D·x₀)                 x₀: the first row, that of <s>
//! masked     E·LN(gelu(T·x)) + b          E: the token table
//! ```
//!
//! The first token is at position `pad_token_id + 1` of the table. There is no padding here: a padding token in the middle of an input is a
//! token as any other and has a position.

use pellucid_core::{Activation, Error, Result};

use super::{Config, Entry, bert, head::Heads};

/// The table's row.
pub(super) const ENTRY: Entry = Entry {
    model_type: "roberta",
    build: |config| {
        let heads = Heads {
            class: "Roberta",
            pooler: ("classifier.dense", Activation::Tanh),
            classifier: "classifier.out_proj",
            transform: ("lm_head.dense", Activation::GeluErf),
            norm: "lm_head.layer_norm",
            decoder: "lm_head.decoder",
            bias: "lm_head.bias",
        };
        Ok(Box::new(heads.put_on(bert::base(config, "roberta", padding(config)? + 1)?, config)?))
    },
    prefix: "roberta.",
    unused: &["roberta.pooler.", "lm_head.decoder.", "lm_head.bias"],
    ..Entry::BARE
};

/// `pad_token_id`, whose row of the position table padding has.
fn padding(config: &Config) -> Result<usize> {
    match config.get("pad_token_id") {
        None => Ok(1),
        Some(id) => id
            .as_u64()
            .and_then(|id| usize::try_from(id).ok())
            .filter(|id| *id < usize::MAX)
            .ok_or_else(|| Error::Weights(format!("the config's `pad_token_id` is {id}, not a token id"))),
    }
}

//! Reference inputs: what a path to an input begins at.

use pellucid_core::{Engine, Error, Input, Result, Special, Symbol, model::Description, model::Model};
use serde::{Deserialize, Serialize};

use crate::embedding::Space;

/// What stands at every position of the reference input. Positions, kinds and norms of the model are applied to it as to any input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Baseline {
    /// The mean of all token embeddings: no token in particular. The default, because it needs no token that a model may lack, and is sound
    /// where zero is not: a norm right behind the embedding (Llama, GPT-J, DistilBERT) makes the path's integrand singular at zero.
    #[default]
    Mean,
    /// Zeros.
    Zero,
    /// The tokenizer's pad token, everywhere.
    Pad,
    /// The tokenizer's mask token, everywhere.
    Mask,
    /// This token.
    Token(u32),
    /// These tokens: one first, one last, one everywhere between, such as class, mask and separator.
    Tokens {
        /// At the first position.
        first: u32,
        /// Between.
        middle: u32,
        /// At the last position.
        last: u32,
    },
}

impl Baseline {
    /// # Errors
    /// A token outside the vocabulary, or one whose id is not known.
    pub(crate) fn check(self, model: &Description) -> Result<()> {
        match self.tokens().into_iter().find(|id| *id as usize >= model.vocabulary) {
            Some(id) => {
                Err(Error::request(format!("baseline token id {id} is outside the vocabulary, which has {} tokens", model.vocabulary)))
            }
            None => Ok(()),
        }
    }

    /// The same with pad and mask token by their ids.
    ///
    /// # Errors
    /// A tokenizer (or token ids without one) that has no such token.
    pub(crate) fn known(self, special: Special) -> Result<Self> {
        let (name, id) = match self {
            Baseline::Pad => ("pad", special.pad),
            Baseline::Mask => ("mask", special.mask),
            other => return Ok(other),
        };
        id.map(Baseline::Token).ok_or_else(|| {
            Error::request(format!(
                "the tokenizer has no {name} token; give a token's id as the baseline, {{\"token\": ID}}, or use the mean of all tokens, \"mean\""
            ))
        })
    }

    fn tokens(self) -> Vec<u32> {
        match self {
            Baseline::Token(id) => vec![id],
            Baseline::Tokens { first, middle, last } => vec![first, middle, last],
            _ => Vec::new(),
        }
    }

    /// What stands in `space` for the reference of an input, `[row, width]`. It has been checked, and pad and mask are known.
    pub(crate) fn value(self, engine: &Engine<'_>, space: Space, input: &Input) -> Result<Vec<f64>> {
        let n = input.len();
        let everywhere = |symbol: Symbol| input.with_symbols(std::iter::repeat_n(symbol, n));
        let reference = match self {
            Baseline::Zero | Baseline::Pad | Baseline::Mask => return Ok(vec![0.0; n * space.width(engine)]),
            Baseline::Mean => everywhere(Symbol::Vector(mean(engine.model)?.into())),
            Baseline::Token(id) => everywhere(Symbol::Token(id)),
            Baseline::Tokens { first, middle, last } => input.with_symbols((0..n).map(|p| {
                Symbol::Token(match p {
                    0 => first,
                    p if p == n - 1 => last,
                    _ => middle,
                })
            })),
        };
        space.value(engine, &reference)
    }
}

/// Rows of the token table decoded at a time.
const ROWS: usize = 1024;

/// The mean of all rows of the token table.
fn mean(model: &Model) -> Result<Vec<f32>> {
    let table = model.architecture().token_table();
    let mut sum = vec![0.0f64; table.width];
    let mut rows = vec![0.0f32; ROWS.min(table.rows) * table.width];
    for first in (0..table.rows).step_by(ROWS) {
        let last = (first + ROWS).min(table.rows);
        let rows = &mut rows[..(last - first) * table.width];
        model.weights().read_rows(&table.name, first..last, rows)?;
        for row in rows.chunks_exact(table.width) {
            sum.iter_mut().zip(row).for_each(|(s, x)| *s += f64::from(*x));
        }
    }
    Ok(sum.into_iter().map(|s| (s / table.rows as f64) as f32).collect())
}

//! Reference inputs: what a path to an input begins at.

use std::sync::Arc;

use pellucid_core::{Engine, Error, Input, Patches, Result, Special, Symbol, model::Description, model::Model};
use serde::{Deserialize, Serialize};

use crate::embedding::Space;

/// What stands at every position of the reference input. Positions, kinds and norms of the model are applied to it as to any input; the learned
/// rows of a picture stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Baseline {
    /// The mean of all token embeddings: no token in particular. The default, because it needs no token that a model may lack, and is sound
    /// where zero is not: a norm right behind the embedding (Llama, GPT-J, DistilBERT) makes the path's integrand singular at zero.
    /// Of a picture its own mean colour everywhere: what is left when all that there is to see is gone, but light and tint are kept. Parts that
    /// have this very colour get no score, whatever they show.
    #[default]
    Mean,
    /// Zeros: of a picture the colour that its normalisation makes 0, a middling grey.
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
    /// A token outside the vocabulary, or one whose id is not known; any token where pictures are read.
    pub(crate) fn check(self, model: &Description) -> Result<()> {
        if model.patches.is_some() && !matches!(self, Baseline::Mean | Baseline::Zero) {
            return Err(Error::Unsupported(format!(
                "this {} model reads pictures, which have no tokens to begin at; the baseline can be mean or zero",
                model.architecture
            )));
        }
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
            Baseline::Mean => match &engine.model.description().patches {
                Some(patches) => mean_colour(patches, input),
                None => everywhere(Symbol::Vector(mean(engine.model)?.into())),
            },
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

/// The picture in its own mean colour everywhere.
pub(crate) fn mean_colour(patches: &Patches, input: &Input) -> Input {
    let area = patches.size * patches.size;
    let mut sums = vec![0.0f64; patches.channels];
    for symbol in input.symbols.iter() {
        if let Symbol::Vector(pixels) = symbol {
            sums.iter_mut()
                .zip(pixels.chunks_exact(area))
                .for_each(|(sum, channel)| *sum += channel.iter().map(|x| f64::from(*x)).sum::<f64>());
        }
    }
    let count = (patches.count() * area) as f64;
    let plain: Arc<[f32]> = sums.iter().flat_map(|sum| std::iter::repeat_n((sum / count) as f32, area)).collect();
    let symbols = input.symbols.iter().map(|s| if let Symbol::Vector(_) = s { Symbol::Vector(plain.clone()) } else { s.clone() });
    input.with_symbols(symbols)
}

/// The mean of all rows of the token table.
pub(crate) fn mean(model: &Model) -> Result<Vec<f32>> {
    let table = model.architecture().token_table().expect("a model without patches has a token table");
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

//! What the symbols of an input stand for, and whether a model can read them: the part of embedding that every pass does alike.

use pellucid_kernels::Real;

use super::{
    Input, Symbol,
    fast::{Element, Rows},
};
use crate::{
    Error, Result, WeightStore,
    model::{Architecture, Table},
};

/// The pixels of a patch; zeros for a learned row.
pub(crate) fn pixels<T: Real>(out: &mut [T], symbol: &Symbol) {
    match symbol {
        Symbol::Vector(v) => out.iter_mut().zip(&v[..]).for_each(|(o, x)| *o = T::from_f32(*x)),
        Symbol::Token(_) => out.fill(T::default()),
    }
}

/// Puts learned rows where symbols are tokens.
pub(crate) fn learn<'s, T: Element>(
    x: &mut Rows<T>,
    symbols: impl Iterator<Item = &'s Symbol>,
    tables: &[Table],
    weights: &dyn WeightStore,
) -> Result<()> {
    let (width, mut row) = (x.width, vec![0.0; x.width]);
    for (symbol, out) in symbols.zip(x.data.chunks_exact_mut(width)) {
        if let Symbol::Token(id) = symbol {
            learned_row(*id, tables, weights, &mut row)?;
            out.iter_mut().zip(&row).for_each(|(o, r)| *o = T::from_f32(*r));
        }
    }
    Ok(())
}

/// Row `id` of tables taken one after the other.
pub(crate) fn learned_row(id: u32, tables: &[Table], weights: &dyn WeightStore, out: &mut [f32]) -> Result<()> {
    let mut id = id as usize;
    for table in tables {
        if id < table.rows {
            return weights.read_rows(&table.name, id..id + 1, out);
        }
        id -= table.rows;
    }
    unreachable!("every symbol was checked against the vocabulary")
}

/// Checks that every position can be looked up, before anything is computed.
///
/// # Errors
/// A token outside the vocabulary, a vector of the wrong width or with a number that is not finite, kinds that are too many, too few or unknown.
pub(crate) fn check_input(input: &Input, architecture: &dyn Architecture) -> Result<()> {
    let (positions, description) = (input.symbols.len(), architecture.description());
    let kinds = description.types;
    if let Some(expected) = description.patches.as_ref().map(|p| p.leading + p.count()).filter(|n| *n != positions) {
        return Err(Error::request(format!("the input has {positions} rows; a picture has {expected} in this model")));
    }
    if !input.types.is_empty() && input.types.len() != positions {
        return Err(Error::request(format!("{} token types for {positions} positions; give one each, or none", input.types.len())));
    }
    if let Some(kind) = input.types.iter().find(|t| **t > 0 && **t as usize >= kinds) {
        return Err(Error::request(format!("token type {kind} is unknown to the model, which tells {kinds} apart (counted from 0)")));
    }
    check_symbols(&input.symbols, architecture)
}

/// Checks that every symbol can be looked up, before anything is computed.
///
/// # Errors
/// A token outside the vocabulary, a vector of the wrong width or with a number that is not finite.
pub(crate) fn check_symbols(symbols: &[Symbol], architecture: &dyn Architecture) -> Result<()> {
    let (rows, width) = match (architecture.token_table(), &architecture.description().patches) {
        (_, Some(patches)) => (patches.leading, patches.width()),
        (Some(table), None) => (table.rows, table.width),
        (None, None) => unreachable!("a model reads tokens or pictures"),
    };
    for symbol in symbols {
        match symbol {
            Symbol::Token(id) if *id as usize >= rows => {
                return Err(Error::request(format!("token id {id} is outside the vocabulary, which has {rows} tokens")));
            }
            Symbol::Vector(v) if v.len() != width || v.iter().any(|x| !x.is_finite()) => {
                let problem =
                    if v.len() == width { "contains a number that is not finite".into() } else { format!("has {} numbers", v.len()) };
                return Err(Error::request(format!("an input vector {problem}; the model takes {width} finite numbers a position")));
            }
            _ => {}
        }
    }
    Ok(())
}

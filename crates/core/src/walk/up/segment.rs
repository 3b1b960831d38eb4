//! Documents and copies as the walk sees them: which rows each carries, which it is asked about, and which go together.

use std::ops::Range;

use super::{Ask, Document};
use crate::{
    Error, Result,
    control::{Control, Mode},
    engine::Engine,
    pass::{
        Symbol, Value,
        fast::{Memory, Piece, check_symbols},
    },
};

/// A copy or document as the walk sees it.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) document: Option<usize>,
    pub(super) symbols: &'a [Symbol],
    /// Positions it carries.
    pub(super) carried: Range<usize>,
    pub(super) control: &'a Control,
    /// Positions asked for, ascending, none before the first it carries.
    pub(super) asked: Vec<usize>,
    /// Tokens asked for at each of them.
    pub(super) tokens: Vec<Vec<u32>>,
}

impl Segment<'_> {
    pub(super) fn rows(&self) -> usize {
        self.carried.len()
    }
}

/// Neighbouring segments that go through a block together, and their rows.
pub(super) struct Tile {
    pub(super) segments: Range<usize>,
    pub(super) rows: usize,
    pub(super) x: Option<Value>,
}

pub(super) fn check(engine: &Engine<'_>, symbols: &[Symbol], asks: &[Ask]) -> Result<()> {
    let d = engine.model.description();
    if symbols.is_empty() {
        return Err(Error::request("the input is empty; give at least one token"));
    }
    if symbols.len() > d.context {
        return Err(Error::request(format!("the input has {} tokens, the model takes at most {}", symbols.len(), d.context)));
    }
    check_symbols(symbols, engine.model.architecture().token_table())?;
    for ask in asks {
        if ask.position >= symbols.len() {
            return Err(Error::request(format!(
                "target position {} is outside the input, which has {} tokens",
                ask.position,
                symbols.len()
            )));
        }
        if let Some(token) = ask.tokens.iter().find(|t| **t as usize >= d.vocabulary) {
            return Err(Error::request(format!("target token id {token} is outside the vocabulary, which has {} tokens", d.vocabulary)));
        }
    }
    Ok(())
}

/// The first row whose state can differ from the document's.
pub(super) fn first_change(document: &Document, symbols: &[Symbol], control: &Control) -> usize {
    let same = document.symbols.iter().zip(symbols).take_while(|(a, b)| a == b).count();
    same.min(control.first_difference(&document.control).unwrap_or(usize::MAX))
}

/// One past the last row a copy needs to carry: the last one asked for, unless its control looks at later keys.
pub(super) fn end(engine: &Engine<'_>, segment: &Segment<'_>) -> usize {
    let all = !engine.model.description().causal || segment.control.mode() == Mode::MinShiftAll;
    match segment.asked.last() {
        None => segment.carried.start,
        Some(_) if all => segment.symbols.len(),
        Some(last) => last + 1,
    }
}

pub(super) fn note(segment: &mut Segment<'_>, ask: &Ask) {
    let at = segment.asked.binary_search(&ask.position).unwrap_or_else(|at| {
        segment.asked.insert(at, ask.position);
        segment.tokens.insert(at, Vec::new());
        at
    });
    let tokens = &mut segment.tokens[at];
    ask.tokens.iter().for_each(|t| {
        if !tokens.contains(t) {
            tokens.push(*t)
        }
    });
}

impl Tile {
    pub(super) fn step(&mut self, work: impl FnOnce(Value) -> Result<Value>) -> Result<()> {
        let x = self.x.take().expect("a tile has rows between steps");
        self.x = Some(work(x)?);
        Ok(())
    }
}

/// Groups neighbouring segments into tiles of at least `rows` rows; segments without rows are passed over.
pub(super) fn tiles(segments: &[Segment<'_>], rows: usize) -> Vec<Tile> {
    let mut tiles: Vec<Tile> = Vec::new();
    for (i, segment) in segments.iter().enumerate() {
        match tiles.last_mut() {
            Some(tile) if tile.rows < rows => {
                tile.segments.end = i + 1;
                tile.rows += segment.rows();
            }
            _ => tiles.push(Tile { segments: i..i + 1, rows: segment.rows(), x: None }),
        }
    }
    tiles
}

pub(super) fn pieces<'p, T>(segments: &'p [Segment<'_>], memories: &'p [Memory<T>]) -> Vec<Piece<'p, T>> {
    let piece = |s: &'p Segment<'_>| Piece {
        symbols: &s.symbols[s.carried.clone()],
        start: s.carried.start,
        rows: s.rows(),
        prefix: s.document.and_then(|d| memories.get(d)),
        control: s.control,
        asked: &s.asked,
    };
    segments.iter().filter(|s| s.rows() > 0).map(piece).collect()
}

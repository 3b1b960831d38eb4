//! Documents and copies as the walk sees them: which rows each carries, which it is asked about, and which go together.

use std::ops::Range;

use super::{Ask, Document};
use crate::{
    Error, Result,
    control::{Control, Mode},
    engine::Engine,
    model::Outputs,
    pass::{
        Input, Value,
        fast::{Memory, Piece},
        symbols::check_input,
    },
};

/// A copy or document as the walk sees it.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) document: Option<usize>,
    pub(super) input: &'a Input,
    /// Positions it carries.
    pub(super) carried: Range<usize>,
    pub(super) control: &'a Control,
    /// Positions asked for, ascending; number 0 where rows become one. What is asked about rows before the first that a copy carries, its document
    /// answers.
    pub(super) asked: Vec<usize>,
    /// Tokens asked for at each of them.
    pub(super) tokens: Vec<Vec<u32>>,
    /// The block in which it begins to differ from its document, where nothing but its control is different; `None`: it begins with its own input.
    pub(super) begin: Option<usize>,
    /// Positions that go on after the last block: those asked for, or all where their mean is taken.
    pub(super) kept: Vec<usize>,
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

pub(super) fn check(engine: &Engine<'_>, input: &Input, asks: &[Ask]) -> Result<()> {
    let (d, scores) = (engine.model.description(), engine.model.scores());
    let symbols = &input.symbols;
    if symbols.is_empty() {
        return Err(Error::request("the input is empty; give at least one token"));
    }
    if symbols.len() > d.context {
        return Err(Error::request(format!("the input has {} tokens, the model takes at most {}", symbols.len(), d.context)));
    }
    check_input(input, engine.model.architecture())?;
    if d.pooled_rows(input).is_some_and(|rows| rows.is_empty()) {
        return Err(Error::request("the input has nothing but filler tokens; give at least one token of text"));
    }
    for ask in asks {
        if d.outputs.pooling().is_some() && ask.position > 0 {
            return Err(Error::request(format!("target position {} cannot be asked: all positions become one, number 0", ask.position)));
        }
        if ask.position >= symbols.len() {
            return Err(Error::request(format!(
                "target position {} is outside the input, which has {} tokens",
                ask.position,
                symbols.len()
            )));
        }
        if let Some(output) = ask.tokens.iter().find(|t| **t as usize >= scores) {
            return Err(no_such_output(*output, &d.outputs, scores));
        }
    }
    Ok(())
}

/// An output index that a model does not have.
pub(crate) fn no_such_output(output: u32, outputs: &Outputs, scores: usize) -> Error {
    Error::request(match outputs {
        Outputs::Classes { .. } => format!("there is no class {output}: the model has {scores} classes, counted from 0"),
        Outputs::Embedding { .. } => format!("there is no score {output}: the input is compared with {scores} texts, counted from 0"),
        _ => format!("target token id {output} is outside the vocabulary, which has {scores} tokens"),
    })
}

/// The first row whose state can differ from the document's.
pub(super) fn first_change(document: &Document, input: &Input, control: &Control) -> usize {
    let kind = |input: &Input, p: usize| input.types.get(p).copied().unwrap_or(0);
    let same = document.input.symbols.iter().zip(&*input.symbols).enumerate();
    let same = same.take_while(|(p, (a, b))| a == b && kind(&document.input, *p) == kind(input, *p)).count();
    same.min(control.first_difference(&document.control).unwrap_or(usize::MAX))
}

/// The first block in which a copy's attention can differ from its document's, where both read the same; `None`: they do not, or it never does.
pub(super) fn first_difference(engine: &Engine<'_>, document: &Document, input: &Input, control: &Control) -> Option<usize> {
    let same = document.input.types == input.types && document.input.symbols == input.symbols;
    let acts = |layer: &usize| control.acts_in(*layer) || document.control.acts_in(*layer);
    (0..engine.model.description().layers).find(acts).filter(|_| same)
}

/// One past the last row a copy needs to carry: the last one that an answer is made of, unless its control looks at later keys.
pub(super) fn end(engine: &Engine<'_>, segment: &Segment<'_>) -> usize {
    let all = !engine.model.description().causal || segment.control.mode() == Mode::MinShiftAll;
    let pooled = engine.model.description().pooled_rows(segment.input).and_then(|rows| rows.last().copied());
    match segment.asked.last() {
        None => segment.carried.start,
        Some(_) if all => segment.input.len(),
        Some(last) => pooled.unwrap_or(*last) + 1,
    }
}

impl<'a> Segment<'a> {
    /// Rows of `input` from `start` on; what is asked comes later ([`note`], [`Segment::finish`]).
    pub(super) fn new(document: Option<usize>, input: &'a Input, start: usize, control: &'a Control) -> Self {
        Self { document, input, carried: start..start, control, asked: Vec::new(), tokens: Vec::new(), begin: None, kept: Vec::new() }
    }

    /// When everything asked for is known.
    pub(super) fn finish(&mut self, engine: &Engine<'_>) {
        let pooled = engine.model.description().pooled_rows(self.input).filter(|_| !self.asked.is_empty());
        self.kept = pooled.unwrap_or_else(|| self.asked.clone());
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
            Some(tile) if tile.rows < rows && segments[tile.segments.start].begin == segment.begin => {
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
        document: s.document,
        symbols: &s.input.symbols[s.carried.clone()],
        types: s.input.types.get(s.carried.clone()).unwrap_or(&[]),
        start: s.carried.start,
        rows: s.rows(),
        prefix: s.document.and_then(|d| memories.get(d)),
        control: s.control,
        asked: &s.kept,
    };
    segments.iter().filter(|s| s.rows() > 0).map(piece).collect()
}

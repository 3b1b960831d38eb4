//! The walk up, with many copies: all copies of all documents go through layer *l* together before any goes through layer *l + 1*.
//!
//! A layer's weights are decoded once per sweep. A copy of a causal model's input carries only the rows from its first change on and borrows
//! the document's keys and values before that; what it is asked about earlier rows is answered by the document itself.
//! Memory: one layer's weights, the documents' keys and values of that layer, one row of `d_model` numbers per carried row, and each
//! thread's intermediates. Nothing of size vocabulary × positions × copies exists: the vocabulary is streamed.
//! Deliberately absent: what the copies are for.

use std::{ops::Range, sync::Arc};

use pellucid_kernels::{self as kernels, LogSumExp};
use rayon::prelude::*;

use super::plan::{Estimate, Needs, TILE_ROWS, VOCABULARY_CHUNK, sweeps};
use crate::{
    Error, Result,
    control::{Control, Mode},
    engine::{Compute, Engine},
    model::Parameter,
    pass::{
        Symbol, Value,
        fast::{Element, FastPass, Memory, Piece, RotaryTables, check_symbols},
    },
    prepared::{self, Prepared},
};

/// A question to the end of the model: at this position, what of these tokens?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Row of the logits: it predicts the token at `position + 1`.
    pub position: usize,
    /// Tokens to score there.
    pub tokens: Vec<u32>,
}

/// An input as it is.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Its symbols.
    pub symbols: Arc<[Symbol]>,
    /// Control that is always on (usually none).
    pub control: Control,
    /// What is asked about it.
    pub asks: Vec<Ask>,
}

/// A changed copy of a document.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    /// Which document.
    pub document: usize,
    /// Its symbols, if they are not the document's.
    pub symbols: Option<Arc<[Symbol]>>,
    /// What is done to its attention (in place of the document's control).
    pub control: Control,
    /// What is asked about it.
    pub asks: Vec<Ask>,
}

/// How answers are read off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Readout {
    /// Logits are divided by it before the softmax; above 0.
    pub temperature: f64,
    /// Whether whole rows of logits are wanted too (`vocabulary` numbers an ask).
    pub logits: bool,
}

impl Default for Readout {
    fn default() -> Self {
        Self { temperature: 1.0, logits: false }
    }
}

/// One token at one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenScore {
    /// Raw score.
    pub logit: f64,
    /// Nats, after temperature.
    pub log_probability: f64,
    /// How many tokens have a higher logit.
    pub rank: usize,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// One per token asked about.
    pub tokens: Vec<TokenScore>,
    /// All logits of the row, if the [`Readout`] wants them; else empty.
    pub logits: Vec<f64>,
}

/// What a walk up brings back.
#[derive(Clone, Debug, Default)]
pub struct Ascent {
    /// Per document, per ask.
    pub documents: Vec<Vec<Answer>>,
    /// Per copy, per ask.
    pub copies: Vec<Vec<Answer>>,
    /// What it took.
    pub cost: Estimate,
}

/// A copy or document as the walk sees it.
#[derive(Debug)]
struct Segment<'a> {
    document: Option<usize>,
    symbols: &'a [Symbol],
    /// Positions it carries.
    carried: Range<usize>,
    control: &'a Control,
    /// Positions asked for, ascending, none before the first it carries.
    asked: Vec<usize>,
    /// Tokens asked for at each of them.
    tokens: Vec<Vec<u32>>,
}

impl Segment<'_> {
    fn rows(&self) -> usize {
        self.carried.len()
    }
}

/// Everything known about one asked row.
#[derive(Clone, Debug, Default)]
struct Row {
    scores: Vec<(u32, TokenScore)>,
    logits: Vec<f64>,
}

/// Asked rows of each segment.
type Found = Vec<Vec<Row>>;

impl Engine<'_> {
    /// Sends documents and their changed copies up.
    ///
    /// # Errors
    /// An empty document, one longer than the model's context, a token or position outside, too little memory, an interruption.
    pub fn up(&self, documents: &[Document], copies: &[Copy], readout: Readout) -> Result<Ascent> {
        match self.compute {
            Compute::F32 => Walk::<f32>::new(self, documents, copies, readout)?.run(),
            Compute::F64 => Walk::<f64>::new(self, documents, copies, readout)?.run(),
        }
    }

    /// What [`Engine::up`] would take.
    ///
    /// # Errors
    /// As [`Engine::up`], without running.
    pub fn estimate(&self, documents: &[Document], copies: &[Copy]) -> Result<Estimate> {
        Ok(Walk::<f32>::new(self, documents, copies, Readout::default())?.plan()?.1)
    }
}

struct Walk<'a, T> {
    engine: &'a Engine<'a>,
    readout: Readout,
    documents: Vec<Segment<'a>>,
    copies: Vec<Segment<'a>>,
    document_asks: Vec<&'a [Ask]>,
    copy_asks: Vec<&'a [Ask]>,
    rotary: RotaryTables<T>,
}

/// Neighbouring segments that go through a block together, and their rows.
struct Tile {
    segments: Range<usize>,
    rows: usize,
    x: Option<Value>,
}

impl<'a, T: Element> Walk<'a, T> {
    fn new(engine: &'a Engine<'a>, documents: &'a [Document], copies: &'a [Copy], readout: Readout) -> Result<Self> {
        let mut clean = Vec::new();
        for document in documents {
            check(engine, &document.symbols, &document.asks)?;
            clean.push(Segment {
                document: None,
                symbols: &document.symbols,
                carried: 0..document.symbols.len(),
                control: &document.control,
                asked: Vec::new(),
                tokens: Vec::new(),
            });
            document.asks.iter().for_each(|a| note(clean.last_mut().expect("just pushed"), a));
        }
        let mut changed = Vec::new();
        for copy in copies {
            let document = documents
                .get(copy.document)
                .ok_or_else(|| Error::request(format!("a copy is of document {}, there are {}", copy.document, documents.len())))?;
            let symbols = copy.symbols.as_ref().unwrap_or(&document.symbols);
            check(engine, symbols, &copy.asks)?;
            let start =
                if engine.share_prefix && engine.model.description().causal { first_change(document, symbols, &copy.control) } else { 0 };
            let mut segment = Segment {
                document: Some(copy.document),
                symbols,
                carried: start..start,
                control: &copy.control,
                asked: Vec::new(),
                tokens: Vec::new(),
            };
            for ask in &copy.asks {
                // What a copy is asked about rows before its first change, its document answers.
                note(if ask.position < start { &mut clean[copy.document] } else { &mut segment }, ask);
            }
            segment.carried = start..end(engine, &segment);
            changed.push(segment);
        }
        let positions = clean.iter().chain(&changed).map(|s| s.symbols.len()).max().unwrap_or(0);
        let (document_asks, copy_asks) = (documents.iter().map(|d| &*d.asks).collect(), copies.iter().map(|c| &*c.asks).collect());
        Ok(Self { engine, readout, documents: clean, copies: changed, document_asks, copy_asks, rotary: RotaryTables::new(positions) })
    }

    /// Sweeps as ranges of copies, and what they take.
    fn plan(&self) -> Result<(Vec<Range<usize>>, Estimate)> {
        let engine = self.engine;
        let clean: Vec<usize> = self.documents.iter().map(Segment::rows).collect();
        let rows: Vec<usize> = self.copies.iter().map(Segment::rows).collect();
        let longest = clean.iter().chain(&rows).copied().max().unwrap_or(0);
        let needs = Needs::of(engine.model.architecture(), engine.compute, &clean, longest);
        let sweeps = sweeps(&rows, needs, engine.memory()?)?;
        let (flops, description) = (engine.flops(), engine.model.description());
        let cost = |segments: &[Segment<'_>]| -> f64 {
            segments.iter().map(|s| flops.segment(description, s.carried.clone(), s.symbols.len(), s.asked.len())).sum()
        };
        let widest = sweeps.iter().map(|s| rows[s.clone()].iter().sum::<usize>()).max().unwrap_or(0);
        let estimate = Estimate {
            copies: clean.len() * sweeps.len() + rows.len(),
            rows: (clean.iter().sum::<usize>() * sweeps.len() + rows.iter().sum::<usize>()) as u64,
            sweeps: sweeps.len(),
            gflop: (cost(&self.documents) * sweeps.len() as f64 + cost(&self.copies)) / 1e9,
            peak_bytes: needs.fixed + needs.per_row * widest as u64,
        };
        Ok((sweeps, estimate))
    }

    fn run(&self) -> Result<Ascent> {
        let (sweeps, cost) = self.plan()?;
        let layers = self.engine.model.description().layers as u64;
        self.engine.progress.begin("explaining", cost.rows * layers);
        let done = self.run_sweeps(&sweeps);
        self.engine.progress.end();
        let (documents, copies) = done?;
        let answers = |found: &Found, asks: &[&[Ask]], segments: &[Segment<'_>]| -> Vec<Vec<Answer>> {
            (0..segments.len()).map(|i| asks[i].iter().map(|a| self.answer(a, &segments[i], &found[i], &documents)).collect()).collect()
        };
        Ok(Ascent {
            documents: answers(&documents, &self.document_asks, &self.documents),
            copies: answers(&copies, &self.copy_asks, &self.copies),
            cost,
        })
    }

    fn run_sweeps(&self, sweeps: &[Range<usize>]) -> Result<(Found, Found)> {
        let mut documents = Vec::new();
        let mut copies = Vec::new();
        for sweep in sweeps {
            let (clean, changed) = self.sweep(&self.copies[sweep.clone()])?;
            documents = clean;
            copies.extend(changed);
        }
        Ok((documents, copies))
    }

    fn answer(&self, ask: &Ask, segment: &Segment<'_>, found: &[Row], documents: &Found) -> Answer {
        let (segment, found) = match segment.document {
            Some(d) if ask.position < segment.carried.start => (&self.documents[d], &documents[d][..]),
            _ => (segment, found),
        };
        let row = &found[segment.asked.binary_search(&ask.position).expect("every ask was noted when the walk was made")];
        let score = |token: &u32| row.scores.iter().find(|s| s.0 == *token).expect("every token asked for was scored").1;
        Answer { tokens: ask.tokens.iter().map(score).collect(), logits: row.logits.clone() }
    }

    /// One pass over the layers with the documents and some of the copies.
    fn sweep(&self, copies: &[Segment<'a>]) -> Result<(Found, Found)> {
        let model = self.engine.model;
        let description = model.description();
        let (architecture, weights) = (model.architecture(), model.weights());
        let unembedding = architecture.unembedding().key.clone();
        let outside: Vec<_> =
            architecture.parameters().into_iter().filter(|p| !matches!(p, Parameter::Linear(l) if l.key == unembedding)).collect();
        let outside = Prepared::<T>::new(&outside, weights)?;

        let mut memories: Vec<Memory<T>> = Vec::new();
        let (mut clean, mut changed) = (tiles(&self.documents, 1), tiles(copies, TILE_ROWS));
        for (segments, tiles) in [(&self.documents[..], &mut clean), (copies, &mut changed)] {
            for tile in tiles {
                let pieces = pieces(&segments[tile.segments.clone()], &[]);
                tile.x = Some(architecture.embed(&mut self.pass(&pieces, &outside, false, false))?);
            }
        }
        for layer in 0..description.layers {
            self.engine.check_cancelled()?;
            let prepared = Prepared::<T>::new(&architecture.block_parameters(layer), weights)?;
            let last = layer + 1 == description.layers;
            memories.clear();
            for tile in &mut clean {
                let pieces = pieces(&self.documents[tile.segments.clone()], &[]);
                let mut pass = self.pass(&pieces, &prepared, true, last);
                pass.keep = Some(Vec::new());
                tile.step(|x| architecture.block(layer, x, &mut pass))?;
                memories.append(&mut pass.keep.take().expect("set above"));
                self.engine.progress.advance(tile.rows as u64);
            }
            let alone = changed.len() < 2 * rayon::current_num_threads();
            let step = |tile: &mut Tile| -> Result<()> {
                self.engine.check_cancelled()?;
                let pieces = pieces(&copies[tile.segments.clone()], &memories);
                let mut pass = self.pass(&pieces, &prepared, alone, last);
                tile.step(|x| architecture.block(layer, x, &mut pass))?;
                self.engine.progress.advance(tile.rows as u64);
                Ok(())
            };
            if alone { changed.iter_mut().try_for_each(step)? } else { changed.par_iter_mut().try_for_each(step)? }
        }
        let mut rows = Vec::new();
        for (segments, tiles) in [(&self.documents[..], clean), (copies, changed)] {
            for mut tile in tiles {
                let pieces = pieces(&segments[tile.segments.clone()], &[]);
                tile.step(|x| architecture.finish(x, &mut self.pass(&pieces, &outside, true, false)))?;
                rows.extend_from_slice(&T::open(tile.x.expect("set above")).data);
            }
        }
        let segments: Vec<&Segment<'_>> = self.documents.iter().chain(copies).collect();
        let mut found = self.vocabulary(&rows, &segments)?;
        let copies = found.split_off(self.documents.len());
        Ok((found, copies))
    }

    fn pass<'p>(&'p self, pieces: &'p [Piece<'p, T>], prepared: &'p Prepared<T>, parallel: bool, last: bool) -> FastPass<'p, T> {
        FastPass { pieces, weights: self.engine.model.weights(), prepared, rotary: &self.rotary, parallel, last, keep: None }
    }

    /// Streams the unembedding over the asked rows, `[row, d_model]`, in the order of the segments.
    fn vocabulary(&self, rows: &[T], segments: &[&Segment<'_>]) -> Result<Found> {
        const BLOCK: usize = 64;
        let model = self.engine.model;
        let map = model.architecture().unembedding();
        let width = map.inputs;
        let wanted: Vec<&[u32]> = segments.iter().flat_map(|s| s.tokens.iter().map(|t| &t[..])).collect();
        let mut distinct: Vec<u32> = wanted.iter().flat_map(|t| t.iter().copied()).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let logits = self.chosen_logits(rows, &distinct)?;

        let mut states: Vec<(Row, LogSumExp)> = wanted
            .iter()
            .enumerate()
            .map(|(r, tokens)| {
                let logit = |t: &u32| logits[r * distinct.len() + distinct.binary_search(t).expect("collected above")];
                let scores = tokens.iter().map(|t| (*t, TokenScore { logit: logit(t).to_f64(), ..TokenScore::default() })).collect();
                (Row { scores, logits: Vec::new() }, LogSumExp::default())
            })
            .collect();
        for first in (0..map.outputs()).step_by(VOCABULARY_CHUNK) {
            self.engine.check_cancelled()?;
            let outputs = VOCABULARY_CHUNK.min(map.outputs() - first);
            let chunk = prepared::outputs::<T>(map, first..first + outputs, model.weights())?;
            states.par_chunks_mut(BLOCK).enumerate().for_each(|(block, states)| {
                let x = &rows[block * BLOCK * width..][..states.len() * width];
                let mut logits = vec![T::default(); states.len() * outputs];
                kernels::product(&mut logits, outputs, x, width, states.len(), &chunk.weight, chunk.bias.as_deref(), false);
                for ((row, sum), logits) in states.iter_mut().zip(logits.chunks_exact(outputs)) {
                    sum.push(logits, self.readout.temperature);
                    for (_, score) in &mut row.scores {
                        score.rank += logits.iter().filter(|l| l.to_f64() > score.logit).count();
                    }
                    if self.readout.logits {
                        row.logits.extend(logits.iter().map(|l| l.to_f64()));
                    }
                }
            });
        }
        model.weights().release(&map.weight);
        let mut states = states.into_iter().map(|(mut row, sum)| {
            let total = sum.value();
            row.scores.iter_mut().for_each(|(_, s)| s.log_probability = s.logit / self.readout.temperature - total);
            row
        });
        Ok(segments.iter().map(|s| states.by_ref().take(s.asked.len()).collect()).collect())
    }

    /// Logits of a few tokens at every row, `[row, token]`: to the last bit those that the stream gives.
    fn chosen_logits(&self, rows: &[T], tokens: &[u32]) -> Result<Vec<T>> {
        let model = self.engine.model;
        let map = model.architecture().unembedding();
        let mut chosen = map.clone();
        chosen.part = tokens.iter().map(|t| *t as usize..*t as usize + 1).collect();
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let prepared = prepared::linear::<T>(&chosen, model.weights())?;
        let count = rows.len() / map.inputs;
        let mut out = vec![T::default(); count * tokens.len()];
        kernels::product(&mut out, tokens.len(), rows, map.inputs, count, &prepared.weight, prepared.bias.as_deref(), false);
        Ok(out)
    }
}

fn check(engine: &Engine<'_>, symbols: &[Symbol], asks: &[Ask]) -> Result<()> {
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
fn first_change(document: &Document, symbols: &[Symbol], control: &Control) -> usize {
    let same = document.symbols.iter().zip(symbols).take_while(|(a, b)| a == b).count();
    same.min(control.first_difference(&document.control).unwrap_or(usize::MAX))
}

/// One past the last row a copy needs to carry: the last one asked for, unless its control looks at later keys.
fn end(engine: &Engine<'_>, segment: &Segment<'_>) -> usize {
    let all = !engine.model.description().causal || segment.control.mode() == Mode::MinShiftAll;
    match segment.asked.last() {
        None => segment.carried.start,
        Some(_) if all => segment.symbols.len(),
        Some(last) => last + 1,
    }
}

fn note(segment: &mut Segment<'_>, ask: &Ask) {
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
    fn step(&mut self, work: impl FnOnce(Value) -> Result<Value>) -> Result<()> {
        let x = self.x.take().expect("a tile has rows between steps");
        self.x = Some(work(x)?);
        Ok(())
    }
}

/// Groups neighbouring segments into tiles of at least `rows` rows; segments without rows are passed over.
fn tiles(segments: &[Segment<'_>], rows: usize) -> Vec<Tile> {
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

fn pieces<'p, T>(segments: &'p [Segment<'_>], memories: &'p [Memory<T>]) -> Vec<Piece<'p, T>> {
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

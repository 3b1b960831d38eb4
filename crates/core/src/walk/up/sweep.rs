//! Sweeps over the layers: every document, then every copy, through one block after the other.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    Answer, Ascent, Ask, Copy, Document, Readout,
    segment::{Segment, Tile, check, end, first_change, first_difference, note, pieces, tiles},
    vocabulary::{Found, Row},
};
use crate::{
    Error, Result,
    engine::Engine,
    pass::{
        Kind, Value,
        fast::{Common, Element, FastPass, Memory, Piece},
        rotary::RotaryTables,
    },
    prepared::Prepared,
    walk::plan::{Estimate, Needs, TILE_ROWS, sweeps},
};

/// Everything that goes up, and what is asked of it.
pub(super) struct Walk<'a, T> {
    pub(super) engine: &'a Engine<'a>,
    pub(super) readout: Readout,
    documents: Vec<Segment<'a>>,
    copies: Vec<Segment<'a>>,
    document_asks: Vec<&'a [Ask]>,
    copy_asks: Vec<&'a [Ask]>,
    rotary: RotaryTables<T>,
}

impl<'a, T: Element> Walk<'a, T> {
    pub(super) fn new(engine: &'a Engine<'a>, documents: &'a [Document], copies: &'a [Copy], readout: Readout) -> Result<Self> {
        let mut clean = Vec::new();
        for document in documents {
            check(engine, &document.input, &document.asks)?;
            let mut segment = Segment::new(None, &document.input, 0, &document.control);
            segment.carried = 0..document.input.len();
            document.asks.iter().for_each(|a| note(&mut segment, a));
            clean.push(segment);
        }
        let mut changed = Vec::new();
        for copy in copies {
            let document = documents
                .get(copy.document)
                .ok_or_else(|| Error::request(format!("a copy is of document {}, there are {}", copy.document, documents.len())))?;
            let input = copy.input.as_ref().unwrap_or(&document.input);
            check(engine, input, &copy.asks)?;
            let description = engine.model.description();
            let mut start = if engine.share_prefix && description.causal { first_change(document, input, &copy.control) } else { 0 };
            // Where rows become one, a copy carries all of them, or none: then it changes nothing up to the last.
            let pooled = description.pooled_rows(input).filter(|_| start > 0);
            let unchanged =
                pooled.as_ref().is_some_and(|rows| rows.last() < Some(&start) && pooled == description.pooled_rows(&document.input));
            if let Some(first) = pooled.iter().flatten().next().filter(|_| !unchanged) {
                start = start.min(*first);
            }
            let mut segment = Segment::new(Some(copy.document), input, start, &copy.control);
            for ask in &copy.asks {
                // What a copy is asked about rows before its first change, its document answers.
                let by_document = if pooled.is_some() { unchanged } else { ask.position < start };
                note(if by_document { &mut clean[copy.document] } else { &mut segment }, ask);
            }
            segment.carried = start..end(engine, &segment);
            segment.begin = first_difference(engine, document, input, &copy.control);
            changed.push(segment);
        }
        clean.iter_mut().chain(&mut changed).for_each(|s| s.finish(engine));
        let positions = clean.iter().chain(&changed).map(|s| s.input.len()).max().unwrap_or(0);
        let (document_asks, copy_asks) = (documents.iter().map(|d| &*d.asks).collect(), copies.iter().map(|c| &*c.asks).collect());
        Ok(Self { engine, readout, documents: clean, copies: changed, document_asks, copy_asks, rotary: RotaryTables::new(positions) })
    }

    /// Sweeps as ranges of copies, and what they take.
    pub(super) fn plan(&self) -> Result<(Vec<Range<usize>>, Estimate)> {
        let engine = self.engine;
        let clean: Vec<usize> = self.documents.iter().map(Segment::rows).collect();
        let rows: Vec<usize> = self.copies.iter().map(Segment::rows).collect();
        let longest = clean.iter().chain(&rows).copied().max().unwrap_or(0);
        let needs = Needs::of(engine.model.architecture(), engine.compute, &clean, longest);
        let sweeps = sweeps(&rows, needs, engine.memory()?)?;
        let (flops, description) = (engine.flops(), engine.model.description());
        let cost = |segments: &[Segment<'_>]| -> f64 {
            let whole = |s: &Segment<'_>| flops.segment(description, s.carried.clone(), s.input.len(), s.kept.len());
            let common = |s: &Segment<'_>| s.begin.map_or(0.0, |b| flops.common(description, s.carried.clone(), s.input.len(), b));
            segments.iter().map(|s| whole(s) - common(s)).sum()
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

    pub(super) fn run(&self) -> Result<Ascent> {
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
        for (i, sweep) in sweeps.iter().enumerate() {
            tracing::debug!("sweep {} of {}: {} documents, {} copies", i + 1, sweeps.len(), self.documents.len(), sweep.len());
            let (clean, changed) = self.sweep(&self.copies[sweep.clone()])?;
            documents = clean;
            copies.extend(changed);
        }
        Ok((documents, copies))
    }

    fn answer(&self, ask: &Ask, segment: &Segment<'_>, found: &[Row], documents: &Found) -> Answer {
        let own = segment.asked.binary_search(&ask.position).ok().map(|at| &found[at]);
        let of_document = || {
            let document = segment.document?;
            Some(&documents[document][self.documents[document].asked.binary_search(&ask.position).ok()?])
        };
        let row = own.or_else(of_document).expect("every ask was noted when the walk was made");
        let score = |token: &u32| row.scores.iter().find(|s| s.0 == *token).expect("every token asked for was scored").1;
        Answer { tokens: ask.tokens.iter().map(score).collect(), logits: row.logits.clone() }
    }

    /// One pass over the layers with the documents and some of the copies.
    fn sweep(&self, copies: &[Segment<'a>]) -> Result<(Found, Found)> {
        let model = self.engine.model;
        let description = model.description();
        let (architecture, weights) = (model.architecture(), model.weights());
        let outside = Prepared::<T>::new(&model.outside(), weights)?;

        let mut memories: Vec<Memory<T>> = Vec::new();
        let (mut clean, mut changed) = (tiles(&self.documents, 1), tiles(copies, TILE_ROWS));
        for (segments, tiles) in [(&self.documents[..], &mut clean), (copies, &mut changed)] {
            for tile in tiles.iter_mut().filter(|t| segments[t.segments.start].begin.is_none()) {
                let pieces = pieces(&segments[tile.segments.clone()], &[]);
                tile.x = Some(architecture.embed(&mut self.pass(&pieces, &outside, false, false))?);
            }
        }
        for layer in 0..description.layers {
            self.engine.check_cancelled()?;
            let prepared = Prepared::<T>::new(&architecture.block_parameters(layer), weights)?;
            let last = layer + 1 == description.layers;
            memories.clear();
            let begins = copies.iter().any(|c| c.begin == Some(layer));
            let mut common: Vec<Common<T>> = Vec::new();
            for tile in &mut clean {
                let pieces = pieces(&self.documents[tile.segments.clone()], &[]);
                let mut pass = self.pass(&pieces, &prepared, true, last);
                pass.keep = Some(Vec::new());
                pass.memo = begins.then(|| vec![T::peek(tile.x.as_ref().expect("a document has rows between steps")).clone()]);
                tile.step(|x| architecture.block(layer, x, &mut pass))?;
                memories.append(&mut pass.keep.take().expect("set above"));
                common.extend(pass.memo.take());
                self.engine.progress.advance(tile.rows as u64);
            }
            let alone = changed.len() < 2 * rayon::current_num_threads();
            let step = |tile: &mut Tile| -> Result<()> {
                self.engine.check_cancelled()?;
                let begin = copies[tile.segments.start].begin;
                if begin > Some(layer) {
                    self.engine.progress.advance(tile.rows as u64);
                    return Ok(());
                }
                let pieces = pieces(&copies[tile.segments.clone()], &memories);
                let mut pass = self.pass(&pieces, &prepared, alone, last);
                if begin == Some(layer) {
                    tile.x = Some(Value(Kind::Same(0)));
                    pass.common = &common;
                }
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
        FastPass {
            pieces,
            weights: self.engine.model.weights(),
            prepared,
            rotary: &self.rotary,
            parallel,
            last,
            keep: None,
            memo: None,
            common: &[],
            steps: 0,
        }
    }
}

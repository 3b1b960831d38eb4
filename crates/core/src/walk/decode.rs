//! Going up again and again, one token longer each time: generation, with or without control.
//!
//! Keys and values of every layer are kept, so that a step carries one row a copy. `min-shift-all` looks at later keys, which makes kept
//! rows wrong as soon as a token is added: copies under it are computed anew at every step.
//! Memory: decoded weights of all layers if they fit (else a layer at a time, decoded at every step), and keys and values of all layers.
//! Deliberately absent: sampling.

use crate::{
    Error, Result,
    control::{Control, Mode},
    engine::{Compute, Engine},
    model::Parameter,
    pass::{
        Symbol,
        fast::{Element, FastPass, Memory, Piece},
        rotary::RotaryTables,
        symbols::check_symbols,
    },
    prepared::{self, Prepared, PreparedLinear},
    walk::plan::VOCABULARY_CHUNK,
};
use pellucid_kernels as kernels;

/// Sequences that grow side by side.
pub struct Decoder<'e>(Kind<'e>);

enum Kind<'e> {
    F32(Grower<'e, f32>),
    F64(Grower<'e, f64>),
}

impl std::fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Engine<'_> {
    /// Starts sequences that grow side by side, each under its own control. Nothing is computed yet.
    ///
    /// # Errors
    /// A model that is not causal; too little memory.
    pub fn decoder(&self, controls: Vec<Control>) -> Result<Decoder<'_>> {
        Ok(Decoder(match self.compute {
            Compute::F32 => Kind::F32(Grower::new(self, controls)?),
            Compute::F64 => Kind::F64(Grower::new(self, controls)?),
        }))
    }
}

impl Decoder<'_> {
    /// Adds symbols to each sequence (the same number of lists as controls) and returns the logits of each one's last row, `[vocabulary]`.
    ///
    /// # Errors
    /// An empty list, a sequence longer than the context, a token outside the vocabulary, an interruption.
    pub fn push(&mut self, symbols: &[Vec<Symbol>]) -> Result<Vec<Vec<f64>>> {
        match &mut self.0 {
            Kind::F32(g) => g.push(symbols),
            Kind::F64(g) => g.push(symbols),
        }
    }
}

struct Sequence<T> {
    symbols: Vec<Symbol>,
    control: Control,
    /// Per layer.
    memory: Vec<Memory<T>>,
}

struct Grower<'e, T> {
    engine: &'e Engine<'e>,
    sequences: Vec<Sequence<T>>,
    outside: Prepared<T>,
    /// All blocks and the unembedding, if they fit.
    resident: Option<(Vec<Prepared<T>>, PreparedLinear<T>)>,
}

impl<'e, T: Element> Grower<'e, T> {
    fn new(engine: &'e Engine<'e>, controls: Vec<Control>) -> Result<Self> {
        let (architecture, weights) = (engine.model.architecture(), engine.model.weights());
        let description = architecture.description();
        if !description.causal {
            return Err(Error::Unsupported(format!("a {} model cannot continue a text: it is not causal", description.architecture)));
        }
        let unembedding = engine.model.unembedding()?;
        let outside = Prepared::new(&engine.model.outside(), weights)?;
        let blocks = (0..description.layers).flat_map(|l| architecture.block_parameters(l));
        let count = |p: Parameter| if let Parameter::Linear(l) = p { (l.inputs * l.outputs().next_multiple_of(32)) as u64 } else { 0 };
        let numbers = blocks.map(count).sum::<u64>() + count(unembedding.into());
        let resident = if numbers * (engine.compute.bytes() as u64) < engine.memory()? {
            let blocks =
                (0..description.layers).map(|l| Prepared::new(&architecture.block_parameters(l), weights)).collect::<Result<_>>()?;
            Some((blocks, prepared::linear(unembedding, weights)?))
        } else {
            None
        };
        let memory = || (0..description.layers).map(|_| Memory { keys: Vec::new(), values: Vec::new(), width: 0 }).collect();
        let sequences = controls.into_iter().map(|control| Sequence { symbols: Vec::new(), control, memory: memory() }).collect();
        Ok(Self { engine, sequences, outside, resident })
    }

    fn push(&mut self, symbols: &[Vec<Symbol>]) -> Result<Vec<Vec<f64>>> {
        let (model, description) = (self.engine.model, self.engine.model.description());
        let architecture = model.architecture();
        assert_eq!(symbols.len(), self.sequences.len(), "one list of symbols a sequence");
        for (new, sequence) in symbols.iter().zip(&self.sequences) {
            check_symbols(new, architecture)?;
            let length = sequence.symbols.len() + new.len();
            if new.is_empty() || length > description.context {
                return Err(Error::request(format!(
                    "a sequence of {length} tokens with {} new ones cannot go on: the model takes 1 to {}",
                    new.len(),
                    description.context
                )));
            }
        }
        for (new, sequence) in symbols.iter().zip(&mut self.sequences) {
            sequence.symbols.extend_from_slice(new);
            if sequence.control.mode() == Mode::MinShiftAll && !sequence.control.factors().is_empty() {
                sequence.memory.iter_mut().for_each(|m| *m = Memory { keys: Vec::new(), values: Vec::new(), width: 0 });
            }
        }
        let starts: Vec<usize> = self.sequences.iter().map(|s| s.memory[0].rows()).collect();
        let asked: Vec<[usize; 1]> = self.sequences.iter().map(|s| [s.symbols.len() - 1]).collect();
        let rotary = RotaryTables::new(asked.iter().map(|a| a[0] + 1).max().unwrap_or(0));
        let mut x = None;
        for layer in 0..description.layers {
            self.engine.check_cancelled()?;
            let once;
            let prepared = match &self.resident {
                Some((blocks, _)) => &blocks[layer],
                None => {
                    once = Prepared::new(&architecture.block_parameters(layer), model.weights())?;
                    &once
                }
            };
            let pieces = pieces(&self.sequences, &starts, &asked, layer);
            if x.is_none() {
                x = Some(architecture.embed(&mut pass(self.engine, &pieces, &self.outside, &rotary, false))?);
            }
            let mut pass = pass(self.engine, &pieces, prepared, &rotary, layer + 1 == description.layers);
            pass.keep = Some(Vec::new());
            x = Some(architecture.block(layer, x.take().expect("set above"), &mut pass)?);
            let new = pass.keep.take().expect("set above");
            drop(pieces);
            for (sequence, new) in self.sequences.iter_mut().zip(new) {
                let memory = &mut sequence.memory[layer];
                memory.width = new.width;
                memory.keys.extend(new.keys);
                memory.values.extend(new.values);
            }
        }
        let pieces = pieces(&self.sequences, &starts, &asked, description.layers - 1);
        let x = architecture
            .finish(x.expect("a model has at least one block"), &mut pass(self.engine, &pieces, &self.outside, &rotary, false))?;
        self.logits(&T::open(x).data)
    }

    fn logits(&self, rows: &[T]) -> Result<Vec<Vec<f64>>> {
        let map = self.engine.model.unembedding()?;
        let count = rows.len() / map.inputs;
        let mut out: Vec<Vec<f64>> = vec![Vec::with_capacity(map.outputs()); count];
        let mut take = |w: &PreparedLinear<T>, outputs: usize| {
            let mut logits = vec![T::default(); count * outputs];
            kernels::product_parallel(&mut logits, outputs, rows, map.inputs, count, &w.weight, w.bias.as_deref(), false);
            out.iter_mut().zip(logits.chunks_exact(outputs)).for_each(|(o, l)| o.extend(l.iter().map(|x| x.to_f64())));
        };
        match &self.resident {
            Some((_, unembedding)) => take(unembedding, map.outputs()),
            None => {
                for first in (0..map.outputs()).step_by(VOCABULARY_CHUNK) {
                    let wanted = first..(first + VOCABULARY_CHUNK).min(map.outputs());
                    take(&prepared::outputs(map, wanted.clone(), self.engine.model.weights())?, wanted.len());
                }
            }
        }
        Ok(out)
    }
}

fn pieces<'p, T>(sequences: &'p [Sequence<T>], starts: &[usize], asked: &'p [[usize; 1]], layer: usize) -> Vec<Piece<'p, T>> {
    let piece = |((s, start), asked): ((&'p Sequence<T>, &usize), &'p [usize; 1])| Piece {
        document: None,
        symbols: &s.symbols[*start..],
        types: &[],
        start: *start,
        rows: s.symbols.len() - start,
        prefix: (*start > 0).then(|| &s.memory[layer]),
        control: &s.control,
        asked,
    };
    sequences.iter().zip(starts).zip(asked).map(piece).collect()
}

fn pass<'p, T: Element>(
    engine: &'p Engine<'_>,
    pieces: &'p [Piece<'p, T>],
    prepared: &'p Prepared<T>,
    rotary: &'p RotaryTables<T>,
    last: bool,
) -> FastPass<'p, T> {
    FastPass {
        pieces,
        weights: engine.model.weights(),
        prepared,
        rotary,
        parallel: true,
        last,
        memo: None,
        common: &[],
        steps: 0,
        keep: None,
    }
}

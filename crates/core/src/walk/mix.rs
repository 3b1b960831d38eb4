//! The walk through blocks taken apart: decomposition, and everything that mixes tokens by a matrix a layer.
//!
//! Down: each block's input is kept on the way up; then, from the last block to the first, a block is run again on a tape and shown. Up: each
//! block is shown as it is run, and nothing is kept. A method that wants one row of a product of matrices carries that row down: `row ← row·M_l`.
//! Memory: down, one row of `d_model` numbers per row and layer; one block's weights and tape. What is shown is in f32 or f64, as the engine
//! computes; a [`Mixer`] is written for both.
//! Deliberately absent: any matrix.

pub use crate::tape::{
    Matrix, Node, Op, Tape,
    attention::SeeRows,
    parts::Parts,
    stage::{Anatomy, Stage},
};
use crate::{
    Result,
    control::Control,
    engine::{Compute, Engine},
    pass::{
        Input,
        fast::{Element, Rows},
        rotary::RotaryTables,
    },
    tape::{TapePass, Weights, copy},
    walk::{
        Estimate,
        down::{Descent, Term, Wanted, check, head},
        up::{TokenScore, no_such_output},
    },
};

/// In which order blocks are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the last to the first; what stands after the last block comes before all of them.
    Down,
    /// From the first to the last; what stands after the last block comes last.
    Up,
}

/// Looks at blocks.
pub trait Mixer {
    /// The lowest block it wants to see (going down).
    fn lowest(&self) -> usize {
        0
    }

    /// A block.
    ///
    /// # Errors
    /// Ends the walk.
    fn block<T: Element>(&mut self, stage: &Stage<'_, T>) -> Result<()>;

    /// What stands between the last block and the last linear map, for the rows of the terms, each once, ascending (all rows where their mean is
    /// taken).
    ///
    /// # Errors
    /// Ends the walk.
    fn head<T: Element>(&mut self, stage: &Stage<'_, T>, rows: &[usize]) -> Result<()> {
        let _ = (stage, rows);
        Ok(())
    }
}

/// What a walk through blocks brings back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mixed {
    /// Every term in the clean run.
    pub scores: Vec<TokenScore>,
    /// What it took, the mixer's own work not counted.
    pub cost: Estimate,
}

impl Engine<'_> {
    /// Shows every block of one input. `terms` are scored; a model without scores takes none.
    ///
    /// # Errors
    /// An input or target that the model does not have, a control that is not log-additive, too little memory, an interruption, whatever the
    /// mixer returns.
    pub fn mix<M: Mixer>(&self, input: &Input, control: &Control, terms: &[Term], order: Order, mixer: &mut M) -> Result<Mixed> {
        let control = &self.control.and(control)?;
        match self.compute {
            Compute::F32 => Mix::<f32>::new(self, input, control, terms)?.run(order, mixer),
            Compute::F64 => Mix::<f64>::new(self, input, control, terms)?.run(order, mixer),
        }
    }

    /// What [`Engine::mix`] would take, the mixer's own work and memory not counted.
    ///
    /// # Errors
    /// As [`Engine::mix`], without running.
    pub fn estimate_mix(&self, input: &Input) -> Result<Estimate> {
        let looks = vec![crate::walk::down::Look { of: crate::walk::down::Combine::Pattern, heads: crate::walk::down::Heads::Mean }];
        self.estimate_down(&[Descent { input: input.clone(), ..Descent::default() }], &Wanted { looks, ..Wanted::default() })
    }

    /// The weights of one output, `d_model` numbers, and its bias.
    ///
    /// # Errors
    /// A model without scores, or without this one.
    pub fn output_row(&self, output: u32) -> Result<(Vec<f32>, f64)> {
        let (map, scores) = (self.model.unembedding()?, self.model.scores());
        if output as usize >= scores {
            return Err(no_such_output(output, &self.model.description().outputs, scores));
        }
        let mut chosen = map.clone();
        chosen.part = std::iter::once(output as usize..output as usize + 1).collect();
        let matrix = Matrix::<f64>::read(&chosen, self.model.weights())?;
        Ok((matrix.dense().to_vec(), matrix.bias().map_or(0.0, |b| b[0])))
    }
}

struct Mix<'a, T: Element> {
    engine: &'a Engine<'a>,
    input: &'a Input,
    control: &'a Control,
    terms: &'a [Term],
    rotary: RotaryTables<T>,
    cost: Estimate,
}

impl<'a, T: Element> Mix<'a, T> {
    fn new(engine: &'a Engine<'a>, input: &'a Input, control: &'a Control, terms: &'a [Term]) -> Result<Self> {
        let whole = Descent { input: input.clone(), control: control.clone(), scored: terms.to_vec(), ..Descent::default() };
        check(engine, &whole)?;
        let cost = engine.estimate_mix(input)?;
        Ok(Self { engine, input, control, terms, rotary: RotaryTables::new(input.len()), cost })
    }

    fn run<M: Mixer>(&self, order: Order, mixer: &mut M) -> Result<Mixed> {
        let layers = self.engine.model.description().layers as u64;
        self.engine.progress.begin("explaining", self.input.len() as u64 * layers * if order == Order::Up { 1 } else { 2 });
        let done = self.walk(order, mixer);
        self.engine.progress.end();
        Ok(Mixed { scores: done?, cost: self.cost })
    }

    fn walk<M: Mixer>(&self, order: Order, mixer: &mut M) -> Result<Vec<TokenScore>> {
        let (model, layers) = (self.engine.model, self.engine.model.description().layers);
        let (architecture, store) = (model.architecture(), model.weights());
        let outside = Weights::<T>::new(&model.outside(), store)?;
        let mut pass = self.pass(&outside);
        let embedded = architecture.embed(&mut pass)?;
        let mut x = take(pass.end(&embedded));
        let mut inputs = Vec::new();
        for layer in 0..layers {
            let weights = Weights::new(&architecture.block_parameters(layer), store)?;
            let tape = self.block(layer, &x, &weights)?;
            match order {
                Order::Up => mixer.block(&Stage { layer, tape: &tape, weights: &weights, control: self.control })?,
                Order::Down => inputs.push(x),
            }
            x = take(tape);
        }
        let scores = self.finish(x, &outside, mixer)?;
        for layer in (mixer.lowest()..layers).rev().take_while(|_| order == Order::Down) {
            let weights = Weights::new(&architecture.block_parameters(layer), store)?;
            let x = inputs.pop().expect("one input a block");
            let tape = self.block(layer, &x, &weights)?;
            mixer.block(&Stage { layer, tape: &tape, weights: &weights, control: self.control })?;
        }
        Ok(scores)
    }

    fn finish<M: Mixer>(&self, x: Rows<T>, outside: &Weights<T>, mixer: &mut M) -> Result<Vec<TokenScore>> {
        let pooling = self.engine.model.description().outputs.pooling();
        let asked = || self.terms.iter().map(|t| t.row).collect();
        let mut rows: Vec<usize> = self.engine.model.description().pooled_rows(self.input).unwrap_or_else(asked);
        rows.sort_unstable();
        rows.dedup();
        if self.terms.is_empty() {
            return Ok(Vec::new());
        }
        let mut pass = self.pass(outside);
        let whole = pass.begin(x);
        let chosen = pass.select(&whole, &rows);
        let finished = self.engine.model.architecture().finish(chosen, &mut pass)?;
        let tape = pass.end(&finished);
        mixer
            .head(&Stage { layer: self.engine.model.description().layers, tape: &tape, weights: outside, control: self.control }, &rows)?;
        let at = |row: usize| if pooling.is_some() { 0 } else { rows.binary_search(&row).expect("collected above") };
        head::scores(self.engine, &tape.nodes[tape.output].rows, self.terms, at)
    }

    fn block(&self, layer: usize, x: &Rows<T>, weights: &Weights<T>) -> Result<Tape<T>> {
        self.engine.check_cancelled()?;
        let mut pass = self.pass(weights);
        let x = pass.begin(copy(x));
        let output = self.engine.model.architecture().block(layer, x, &mut pass)?;
        self.engine.progress.advance(self.input.len() as u64);
        Ok(pass.end(&output))
    }

    fn pass<'p>(&'p self, weights: &'p Weights<T>) -> TapePass<'p, T> {
        TapePass {
            input: self.input,
            embedded: None,
            control: self.control,
            store: self.engine.model.weights(),
            weights,
            rotary: &self.rotary,
            parallel: true,
            nodes: Vec::new(),
        }
    }
}

fn take<T: Element>(mut tape: Tape<T>) -> Rows<T> {
    std::mem::replace(&mut tape.nodes[tape.output].rows, Rows::unwritten(0, 1))
}

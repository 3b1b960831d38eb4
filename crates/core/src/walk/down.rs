//! The walk down, with rules: signals start at scores and go back through one block after the other.
//!
//! On the way up each block's input is kept, and of the last blocks, as far as a gibibyte goes (and half of the memory that is left), all they did.
//! On the way down a block of which only the input was kept is run again on a tape; every signal is sent back through the tape under its rules,
//! and the tape is dropped. All inputs go through a layer together, so that its weights are decoded twice a walk.
//! Memory: one row of `d_model` numbers per row and layer, one block's weights and tape, tapes up to the limit, and blocks of rows of its
//! patterns. No n×n tensor, and nothing of size layers × n × n. Passes: one up, one more through every block whose tape was not kept, and one
//! back for each signal.
//! Deliberately absent: what signals are for, and finishing touches such as input × gradient.

mod check;
pub(crate) mod head;

use rayon::prelude::*;

pub(crate) use self::check::check;
use crate::tape::attention::block_numbers;
pub use crate::tape::attention::{Combine, Heads, Look, Patterns};
use crate::{
    Error, Result,
    control::Control,
    engine::{Compute, Engine},
    method::Score,
    model::Parameter,
    pass::{
        Input,
        fast::{Element, Rows},
        rotary::RotaryTables,
    },
    rules::Rules,
    tape::{Op, Tape, TapePass, Weights, backward::Backward},
    walk::{Estimate, up::TokenScore},
};

/// An input and the signals that are sent down through it.
#[derive(Clone, Debug, Default)]
pub struct Descent {
    /// What the model reads.
    pub input: Input,
    /// What stands in place of the token embeddings, `[row, width of the token table]`; positions and the rest are added to it. Unlike a
    /// [`Symbol::Vector`](crate::Symbol::Vector) in full precision.
    pub embedded: Option<Vec<f64>>,
    /// What the first block takes in place of the embedded input, `[row, d_model]` (and what travels beside it); positions and all that is added already.
    pub hidden: Option<Vec<f64>>,
    /// Control that is always on; log-additive, if any.
    pub control: Control,
    /// What is sent down.
    pub signals: Vec<Signal>,
    /// What is scored besides, and sends nothing down.
    pub scored: Vec<Term>,
}

/// A signal: where it starts, and its rules.
#[derive(Clone, Debug)]
pub struct Signal {
    /// What operations do to it.
    pub rules: Rules,
    /// The explained number is the sum of these. At least one.
    pub terms: Vec<Term>,
}

/// One score at one row, times a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// Row of the logits; 0 where rows become one.
    pub row: usize,
    /// Token or class.
    pub output: u32,
    /// Which number of it. αβ rules start with `weight` at the logit, whatever its value.
    pub score: Score,
    /// Logits are divided by it before the softmax.
    pub temperature: f64,
    /// Multiplies it.
    pub weight: f64,
}

/// What is wanted of a walk down.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What is looked at at every pattern.
    pub looks: Vec<Look>,
    /// The lowest layer whose pattern is looked at; the walk goes no further down unless signals are wanted there.
    pub lowest: usize,
    /// Whether signals are wanted at the token embeddings (rows of the embedding table), or at the pixels of patches.
    pub embeddings: bool,
    /// Whether signals are wanted at what the projection of patches gives, before learned rows and positions; only of models of pictures.
    pub projection: bool,
    /// Whether signals are wanted at the input of these blocks.
    pub hidden: Vec<usize>,
}

impl Wanted {
    /// Whether signals are wanted inside the embedding.
    fn embedded(&self) -> bool {
        self.embeddings || self.projection
    }
}

/// A value and the signals that reach it, `[row, d_model]` each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reached {
    /// What stands there.
    pub value: Vec<f64>,
    /// One per signal: the gradient under its rules, or its relevance.
    pub signals: Vec<Vec<f64>>,
}

/// What a walk down brings back of one input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Landed {
    /// Every term of every signal, in the clean run.
    pub scores: Vec<Vec<TokenScore>>,
    /// Every term that was only scored.
    pub scored: Vec<TokenScore>,
    /// At the token embeddings (or pixels), if wanted.
    pub embeddings: Option<Reached>,
    /// At the projection of patches, if wanted.
    pub projection: Option<Reached>,
    /// At the inputs of the blocks wanted, in the order of [`Wanted::hidden`].
    pub hidden: Vec<Reached>,
}

/// What a walk down brings back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Landing {
    /// One per descent.
    pub descents: Vec<Landed>,
    /// What it took.
    pub cost: Estimate,
    /// Inputs that were sent back.
    pub backwards: usize,
}

/// Told of every block of query rows that is looked at, layer by layer from the last, rows in order.
pub type See<'a> = dyn FnMut(&Patterns<'_>) -> Result<()> + 'a;

impl Engine<'_> {
    /// Sends signals down.
    ///
    /// # Errors
    /// An input, target or layer that the model does not have, an operation that a rule set has no rule for, a control that is not log-additive,
    /// too little memory, an interruption, whatever `see` returns.
    pub fn down(&self, descents: &[Descent], wanted: &Wanted, see: &mut See<'_>) -> Result<Landing> {
        let controlled = self.controlled_descents(descents)?;
        let descents = controlled.as_deref().unwrap_or(descents);
        match self.compute {
            Compute::F32 => Down::<f32>::new(self, descents, wanted)?.run(see),
            Compute::F64 => Down::<f64>::new(self, descents, wanted)?.run(see),
        }
    }

    /// The same under the engine's own control, if it has one.
    fn controlled_descents(&self, descents: &[Descent]) -> Result<Option<Vec<Descent>>> {
        if self.control.factors().is_empty() {
            return Ok(None);
        }
        descents.iter().map(|d| Ok(Descent { control: self.control.and(&d.control)?, ..d.clone() })).collect::<Result<_>>().map(Some)
    }

    /// What the first block takes, `[row, d_model]`: token embeddings with all that the model adds and does to them.
    ///
    /// # Errors
    /// An input that the model cannot read.
    pub fn embedding_output(&self, input: &Input) -> Result<Vec<f64>> {
        let descent = [Descent { input: input.clone(), ..Descent::default() }];
        match self.compute {
            Compute::F32 => Down::<f32>::new(self, &descent, &Wanted::default())?.embedding_output(),
            Compute::F64 => Down::<f64>::new(self, &descent, &Wanted::default())?.embedding_output(),
        }
    }

    /// What each symbol is before its position is added, `[row, width]`: its row of the token table (or the vector that stands in its place), or,
    /// where pictures go in, its projected patch or learned row.
    ///
    /// # Errors
    /// An input that the model cannot read.
    pub fn symbol_embeddings(&self, input: &Input) -> Result<Vec<f64>> {
        if self.model.description().patches.is_none() {
            return Ok(self.model.symbol_values(&input.symbols)?.into_iter().map(f64::from).collect());
        }
        let descent = [Descent { input: input.clone(), ..Descent::default() }];
        match self.compute {
            Compute::F32 => Down::<f32>::new(self, &descent, &Wanted::default())?.patch_embeddings(),
            Compute::F64 => Down::<f64>::new(self, &descent, &Wanted::default())?.patch_embeddings(),
        }
    }

    /// What [`Engine::down`] would take.
    ///
    /// # Errors
    /// As [`Engine::down`], without running.
    pub fn estimate_down(&self, descents: &[Descent], wanted: &Wanted) -> Result<Estimate> {
        match self.compute {
            Compute::F32 => Down::<f32>::new(self, descents, wanted).map(|d| d.cost()),
            Compute::F64 => Down::<f64>::new(self, descents, wanted).map(|d| d.cost()),
        }
    }
}

struct Down<'a, T: Element> {
    engine: &'a Engine<'a>,
    descents: &'a [Descent],
    wanted: &'a Wanted,
    rotary: RotaryTables<T>,
    /// How many of the last layers' tapes are kept rather than made again.
    tapes: usize,
}

/// Bytes of tapes that are kept at most: enough for prompts of ordinary length, whose way down then needs no second way up.
const TAPES: u64 = 1 << 30;

/// One input between layers.
struct State<T: Element> {
    /// What the next block takes.
    x: Option<Rows<T>>,
    /// What is kept of each block that is gone through again.
    kept: Vec<Kept<T>>,
    /// What arrives from above, per signal.
    signals: Vec<Option<Rows<T>>>,
    landed: Landed,
}

/// What is kept of a block.
enum Kept<T: Element> {
    /// What it took: it is run again.
    Input(Rows<T>),
    /// All it did.
    Tape(Tape<T>),
}

impl<'a, T: Element> Down<'a, T> {
    fn new(engine: &'a Engine<'a>, descents: &'a [Descent], wanted: &'a Wanted) -> Result<Self> {
        let (model, d) = (engine.model, engine.model.description());
        for layer in wanted.hidden.iter().chain((!wanted.looks.is_empty()).then_some(&wanted.lowest)) {
            if *layer >= d.layers {
                return Err(Error::request(format!(
                    "layer {layer} is beyond the model, which has {} layers (0 to {})",
                    d.layers,
                    d.layers - 1
                )));
            }
        }
        for descent in descents {
            check(engine, descent)?;
            if wanted.embedded() && descent.hidden.is_some() {
                return Err(Error::request("an input that begins after the embedding has no token embeddings to send signals to"));
            }
            descent.signals.iter().filter_map(|s| s.rules.gamma()).try_for_each(|g| g.check())?;
        }
        if wanted.projection && d.patches.is_none() {
            return Err(Error::Unsupported(format!("this {} model reads texts and has no projection of patches", d.architecture)));
        }
        if descents.iter().any(|d| !d.signals.is_empty() || !d.scored.is_empty()) {
            model.unembedding()?;
        }
        let longest = descents.iter().map(|d| d.input.len()).max().unwrap_or(0);
        let mut down = Self { engine, descents, wanted, rotary: RotaryTables::new(longest), tapes: 0 };
        let (needs, may) = (down.cost().peak_bytes, engine.memory()?);
        if needs > may {
            return Err(Error::Memory(format!(
                "this needs about {} MiB, but may take {} MiB: allow more with --max-memory, or explain a shorter input",
                needs.div_ceil(1 << 20),
                may >> 20
            )));
        }
        let gone_through = d.layers - down.lowest().min(d.layers);
        down.tapes = (TAPES.min((may - needs) / 2) / down.tape_bytes().max(1)).min(gone_through as u64) as usize;
        Ok(down)
    }

    /// The layer below which nothing is wanted.
    fn lowest(&self) -> usize {
        if self.wanted.embedded() {
            return 0;
        }
        let looked = (!self.wanted.looks.is_empty()).then_some(self.wanted.lowest);
        self.wanted.hidden.iter().copied().chain(looked).min().unwrap_or(self.engine.model.description().layers)
    }

    /// Whether anything is wanted below the scores.
    fn goes_down(&self) -> bool {
        self.wanted.embedded() || self.lowest() < self.engine.model.description().layers
    }

    fn cost(&self) -> Estimate {
        let (d, flops) = (self.engine.model.description(), self.engine.flops());
        let rows: usize = self.descents.iter().map(|d| d.input.len()).sum();
        let sent: usize = self.descents.iter().map(|d| d.input.len() * d.signals.len()).sum();
        let below = d.layers - self.lowest().min(d.layers);
        let one = |descent: &Descent| {
            let n = descent.input.len();
            let layer = (flops.segment(d, 0..n, n, n) - n as f64 * flops.vocabulary) / d.layers as f64;
            layer * (d.layers + below - self.tapes + below * descent.signals.len()) as f64
        };
        let size = self.engine.compute.bytes() as u64;
        let longest = self.descents.iter().map(|d| d.input.len()).max().unwrap_or(0) as u64;
        let most = self.descents.iter().map(|d| d.signals.len()).max().unwrap_or(0) as u64;
        let width = self.tape_width();
        let linears = |p: &Parameter| if let Parameter::Linear(l) = p { (l.inputs * l.outputs()) as u64 } else { 0 };
        let architecture = self.engine.model.architecture();
        let block = (0..d.layers).map(|l| architecture.block_parameters(l).iter().map(linears).sum::<u64>()).max().unwrap_or(0);
        let kept = ((rows * (d.layers + 1) + sent) * (d.d_model + d.beside)) as u64;
        let side_by_side = if self.side_by_side() { rayon::current_num_threads() as u64 } else { 1 };
        // Rules that look at signs need the positive and the negative part of each weight, packed both ways.
        let packs = if (0..self.descents.len()).all(|i| self.thins(i)) { 3 } else { 6 };
        let patterns = block_numbers(d.heads, longest as usize, most as usize, self.wanted.looks.len()) as u64;
        Estimate {
            copies: self.descents.len(),
            rows: (rows + if self.goes_down() { rows + sent } else { 0 }) as u64,
            sweeps: 1 + usize::from(self.goes_down()),
            gflop: self.descents.iter().map(one).sum::<f64>() / 1e9,
            peak_bytes: size * (kept + longest * width * (1 + most) * side_by_side + packs * block)
                + 4 * block
                + size * patterns
                + self.tapes as u64 * self.tape_bytes(),
        }
    }

    /// Numbers that a block writes down for each row, about.
    fn tape_width(&self) -> u64 {
        let d = self.engine.model.description();
        (2 * (d.heads + d.kv_heads) * d.d_head + 3 * d.d_ff + 8 * d.d_model + d.beside) as u64
    }

    /// Whether an input's tapes need no more than gradient rules without γ look at.
    fn thins(&self, i: usize) -> bool {
        self.descents[i].signals.iter().all(|s| matches!(s.rules, Rules::Gradient(rules) if rules.gamma.is_none()))
    }

    /// Bytes of one layer's kept tapes, about.
    fn tape_bytes(&self) -> u64 {
        let d = self.engine.model.description();
        let thin = ((d.heads + 2 * d.kv_heads) * d.d_head + 2 * d.d_ff + 2 * (d.d_model + d.beside)) as u64;
        let of = |(i, descent): (usize, &Descent)| descent.input.len() as u64 * if self.thins(i) { thin } else { self.tape_width() };
        self.descents.iter().enumerate().map(of).sum::<u64>() * self.engine.compute.bytes() as u64
    }

    /// Whether inputs go side by side, each on one thread; a few go one after the other, each on all threads.
    fn side_by_side(&self) -> bool {
        self.descents.len() >= 2 * rayon::current_num_threads()
    }

    fn run(&self, see: &mut See<'_>) -> Result<Landing> {
        let layers = self.engine.model.description().layers as u64;
        let rows: u64 = self.descents.iter().map(|d| d.input.len() as u64).sum();
        self.engine.progress.begin("explaining", rows * layers * 3);
        let done = self.walk(see);
        self.engine.progress.end();
        let descents = done?;
        let backwards = self.descents.iter().filter(|d| self.goes_down() && !d.signals.is_empty()).count();
        Ok(Landing { descents, cost: self.cost(), backwards })
    }

    fn walk(&self, see: &mut See<'_>) -> Result<Vec<Landed>> {
        let (model, layers) = (self.engine.model, self.engine.model.description().layers);
        let (architecture, store) = (model.architecture(), model.weights());
        let outside = Weights::<T>::new(&model.outside(), store)?;
        let mut states = self.each(|i| self.embed(i, &outside))?;
        for layer in 0..layers {
            self.engine.check_cancelled()?;
            let weights = Weights::new(&architecture.block_parameters(layer), store)?;
            weights.pack(false);
            self.each_state(&mut states, |i, state| self.ascend(i, layer, state, &weights))?;
        }
        self.start(&mut states, &outside)?;
        for layer in (self.lowest()..layers).rev() {
            self.engine.check_cancelled()?;
            let weights = Weights::new(&architecture.block_parameters(layer), store)?;
            if self.descents.iter().any(|d| !d.signals.is_empty()) {
                weights.pack(true);
            }
            if self.side_by_side() && self.wanted.looks.is_empty() {
                self.each_state(&mut states, |i, state| self.descend(i, layer, state, &weights, &mut |_| Ok(())))?;
            } else {
                states.iter_mut().enumerate().try_for_each(|(i, state)| self.descend(i, layer, state, &weights, see))?;
            }
        }
        if self.wanted.embedded() {
            self.each_state(&mut states, |i, state| self.land(i, state, &outside))?;
        }
        Ok(states.into_iter().map(|s| s.landed).collect())
    }

    fn each<R: Send>(&self, work: impl Fn(usize) -> Result<R> + Sync + Send) -> Result<Vec<R>> {
        let all = 0..self.descents.len();
        if self.side_by_side() { all.into_par_iter().map(work).collect() } else { all.map(work).collect() }
    }

    fn each_state(&self, states: &mut [State<T>], work: impl Fn(usize, &mut State<T>) -> Result<()> + Sync + Send) -> Result<()> {
        if self.side_by_side() {
            return states.par_iter_mut().enumerate().try_for_each(|(i, s)| work(i, s));
        }
        states.iter_mut().enumerate().try_for_each(|(i, s)| work(i, s))
    }

    fn pass<'p>(&'p self, i: usize, weights: &'p Weights<T>) -> TapePass<'p, T> {
        TapePass {
            input: &self.descents[i].input,
            embedded: self.descents[i].embedded.as_deref(),
            control: &self.descents[i].control,
            store: self.engine.model.weights(),
            weights,
            rotary: &self.rotary,
            parallel: !self.side_by_side(),
            nodes: Vec::new(),
        }
    }

    fn embed(&self, i: usize, outside: &Weights<T>) -> Result<State<T>> {
        let descent = &self.descents[i];
        let first = match &descent.hidden {
            Some(values) => {
                let mut rows = Rows::unwritten(descent.input.len(), values.len() / descent.input.len());
                rows.data.iter_mut().zip(values).for_each(|(r, v)| *r = T::from_f64(*v));
                rows
            }
            None => output(self.embedding_tape(i, outside)?),
        };
        Ok(State { x: Some(first), kept: Vec::new(), signals: Vec::new(), landed: Landed::default() })
    }

    fn embedding_output(&self) -> Result<Vec<f64>> {
        let outside = Weights::new(&self.engine.model.outside(), self.engine.model.weights())?;
        Ok(reached(&output(self.embedding_tape(0, &outside)?), &[]).value)
    }

    fn patch_embeddings(&self) -> Result<Vec<f64>> {
        let outside = Weights::new(&self.engine.model.outside(), self.engine.model.weights())?;
        let tape = self.embedding_tape(0, &outside)?;
        let projected = tape.nodes.iter().find(|n| matches!(n.op, Op::Learned { .. }));
        let none = || Error::Unsupported("this model does not set learned rows beside projected patches".into());
        Ok(reached(&projected.ok_or_else(none)?.rows, &[]).value)
    }

    fn embedding_tape(&self, i: usize, outside: &Weights<T>) -> Result<Tape<T>> {
        let mut pass = self.pass(i, outside);
        let output = self.engine.model.architecture().embed(&mut pass)?;
        Ok(pass.end(&output))
    }

    /// One block of one input on the way up.
    fn ascend(&self, i: usize, layer: usize, state: &mut State<T>, weights: &Weights<T>) -> Result<()> {
        let mut tape = self.block(i, layer, state.x.take().expect("every block gives rows"), weights)?;
        self.engine.progress.advance(self.descents[i].input.len() as u64);
        if layer + self.tapes >= self.engine.model.description().layers {
            state.x = Some(crate::tape::copy(&tape.nodes[tape.output].rows));
            if self.thins(i) {
                tape.thin();
            }
            state.kept.push(Kept::Tape(tape));
            return Ok(());
        }
        if layer >= self.lowest() {
            state.kept.push(Kept::Input(take(&mut tape, 0)));
        }
        state.x = Some(output(tape));
        Ok(())
    }

    fn block(&self, i: usize, layer: usize, x: Rows<T>, weights: &Weights<T>) -> Result<Tape<T>> {
        let mut pass = self.pass(i, weights);
        let x = pass.begin(x);
        let output = self.engine.model.architecture().block(layer, x, &mut pass)?;
        Ok(pass.end(&output))
    }

    /// Scores, and the signals at the end of the last block.
    fn start(&self, states: &mut [State<T>], outside: &Weights<T>) -> Result<()> {
        let pooling = self.engine.model.description().outputs.pooling();
        for (i, state) in states.iter_mut().enumerate() {
            let descent = &self.descents[i];
            let last = state.x.take().expect("every block gives rows");
            if descent.signals.is_empty() && descent.scored.is_empty() {
                continue;
            }
            let asked = || descent.signals.iter().flat_map(|s| &s.terms).chain(&descent.scored).map(|t| t.row).collect();
            let mut rows: Vec<usize> = self.engine.model.description().pooled_rows(&descent.input).unwrap_or_else(asked);
            rows.sort_unstable();
            rows.dedup();
            let mut pass = self.pass(i, outside);
            let whole = pass.begin(last);
            let chosen = pass.select(&whole, &rows);
            let finished = self.engine.model.architecture().finish(chosen, &mut pass)?;
            let tape = pass.end(&finished);
            // Where rows become one, it is row 0.
            let at = |row: usize| if pooling.is_some() { 0 } else { rows.binary_search(&row).expect("collected above") };
            let finished = &tape.nodes[tape.output].rows;
            if !descent.scored.is_empty() {
                state.landed.scored = head::scores(self.engine, finished, &descent.scored, at)?;
            }
            if descent.signals.is_empty() {
                continue;
            }
            let (scores, seeds) = head::scores_and_seeds(self.engine, finished, &descent.signals, at)?;
            state.landed.scores = scores;
            let rules: Vec<Rules> = descent.signals.iter().map(|s| s.rules).collect();
            let backward = self.backward(i, &tape, outside, &rules);
            state.signals =
                backward.run(seeds.into_iter().map(Some).collect(), |op| matches!(op, Op::Input), &[], &mut |_, _, _| Ok(()))?;
        }
        Ok(())
    }

    fn backward<'b>(&'b self, i: usize, tape: &'b Tape<T>, weights: &'b Weights<T>, rules: &'b [Rules]) -> Backward<'b, T> {
        let control = &self.descents[i].control;
        Backward { tape, weights, rotary: &self.rotary, control, rules, parallel: !self.side_by_side() }
    }

    /// One block of one input.
    fn descend(&self, i: usize, layer: usize, state: &mut State<T>, weights: &Weights<T>, see: &mut See<'_>) -> Result<()> {
        let tape = match state.kept.pop().expect("something is kept of every block that is gone through again") {
            Kept::Input(x) => self.block(i, layer, x, weights)?,
            Kept::Tape(tape) => tape,
        };
        let rules: Vec<Rules> = self.descents[i].signals.iter().map(|s| s.rules).collect();
        let looks = if layer >= self.wanted.lowest { &self.wanted.looks[..] } else { &[] };
        let keys = self.descents[i].input.len();
        let mut show = |layer: usize, rows, looks: &[Vec<f64>]| see(&Patterns { descent: i, layer, rows, keys, looks });
        let seeds = std::mem::take(&mut state.signals);
        state.signals = self.backward(i, &tape, weights, &rules).run(seeds, |op| matches!(op, Op::Input), looks, &mut show)?;
        for (slot, _) in self.wanted.hidden.iter().enumerate().filter(|(_, l)| **l == layer) {
            state.landed.hidden.resize(self.wanted.hidden.len(), Reached::default());
            state.landed.hidden[slot] = reached(&tape.nodes[0].rows, &state.signals);
        }
        self.engine.progress.advance(2 * keys as u64);
        Ok(())
    }

    fn land(&self, i: usize, state: &mut State<T>, outside: &Weights<T>) -> Result<()> {
        let tape = self.embedding_tape(i, outside)?;
        let rules: Vec<Rules> = self.descents[i].signals.iter().map(|s| s.rules).collect();
        let backward = self.backward(i, &tape, outside, &rules);
        let at = |wanted: &dyn Fn(&Op) -> bool| -> Result<Option<Reached>> {
            let seeds = state.signals.iter().map(|s| s.as_ref().map(crate::tape::copy)).collect();
            let signals = backward.run(seeds, wanted, &[], &mut |_, _, _| Ok(()))?;
            let node = tape.nodes.iter().find(|n| wanted(&n.op)).expect("an architecture embeds tokens or projects patches");
            Ok(Some(reached(&node.rows, &signals)))
        };
        if self.wanted.projection {
            state.landed.projection = at(&|op| matches!(op, Op::Linear { x, .. } if matches!(tape.nodes[*x].op, Op::Pixels { .. })))?;
        }
        if self.wanted.embeddings {
            state.landed.embeddings = at(&Op::is_symbols)?;
        }
        state.signals.clear();
        Ok(())
    }
}

fn output<T: Element>(mut tape: Tape<T>) -> Rows<T> {
    let at = tape.output;
    take(&mut tape, at)
}

/// The rows of a node that is not needed any more.
fn take<T: Element>(tape: &mut Tape<T>, node: usize) -> Rows<T> {
    std::mem::replace(&mut tape.nodes[node].rows, Rows::unwritten(0, 1))
}

fn reached<T: Element>(value: &Rows<T>, signals: &[Option<Rows<T>>]) -> Reached {
    let numbers = |x: &Rows<T>| -> Vec<f64> { x.data.iter().map(|x| x.to_f64()).collect() };
    let zeros = || vec![0.0; value.data.len()];
    Reached { value: numbers(value), signals: signals.iter().map(|s| s.as_ref().map_or_else(zeros, numbers)).collect() }
}

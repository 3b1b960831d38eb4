//! The engine: a model, the arithmetic, the memory it may take, and how it reports and stops. Walks are run on it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{Error, Result, control::Control, model::Model};

/// Arithmetic of the fast pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compute {
    /// Single precision. The default.
    #[default]
    F32,
    /// Double precision, about three times as slow: for conformance and for doubts.
    F64,
}

impl Compute {
    /// `f32` or `f64`.
    pub fn name(self) -> &'static str {
        match self {
            Compute::F32 => "f32",
            Compute::F64 => "f64",
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Compute::F32 => 4,
            Compute::F64 => 8,
        }
    }
}

/// Told how far a long piece of work is. Called from several threads.
pub trait Progress: Send + Sync {
    /// Work begins; `total` is in the units of [`Progress::advance`].
    fn begin(&self, what: &str, total: u64);
    /// So much more is done.
    fn advance(&self, amount: u64);
    /// Work is over, or given up.
    fn end(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

/// A model and the terms on which it is run.
pub struct Engine<'m> {
    /// The model.
    pub model: &'m Model,
    /// Arithmetic of the fast pass.
    pub compute: Compute,
    /// Bytes that a walk may take on top of what the process holds already; `None`: three quarters of what is free.
    pub max_memory: Option<u64>,
    /// Whether copies of a causal model borrow the clean run's keys and values up to their first change. Only tests turn it off.
    pub share_prefix: bool,
    /// Control that is on in every walk, together with what a walk asks for itself; not in [`Engine::decoder`].
    pub control: Control,
    /// Who is told how far it is.
    pub progress: Arc<dyn Progress>,
    /// Set from outside to stop: the walk ends with [`Error::Interrupted`] at the next tile.
    pub cancel: Arc<AtomicBool>,
}

impl std::fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("model", self.model).field("compute", &self.compute).finish_non_exhaustive()
    }
}

impl<'m> Engine<'m> {
    /// An engine with defaults: f32, three quarters of free memory, shared prefixes, silent.
    pub fn new(model: &'m Model) -> Self {
        Self {
            model,
            compute: Compute::default(),
            max_memory: None,
            share_prefix: true,
            control: Control::none(),
            progress: Arc::new(Silent),
            cancel: Arc::default(),
        }
    }

    /// The same with this control in every walk.
    #[must_use]
    pub fn under(self, control: Control) -> Self {
        Self { control, ..self }
    }

    /// The same terms for another model, whose input is another: no control is on.
    #[must_use]
    pub fn with<'o>(&self, model: &'o Model) -> Engine<'o> {
        let Engine { model: _, compute, max_memory, share_prefix, control: _, progress, cancel } = self;
        Engine {
            model,
            compute: *compute,
            max_memory: *max_memory,
            share_prefix: *share_prefix,
            control: Control::none(),
            progress: progress.clone(),
            cancel: cancel.clone(),
        }
    }

    /// Bytes a walk may take.
    ///
    /// # Errors
    /// No limit was given and the system does not tell how much is free.
    pub fn memory(&self) -> Result<u64> {
        if let Some(bytes) = self.max_memory {
            return Ok(bytes);
        }
        let unknown =
            |e| Error::Memory(format!("the system does not tell how much memory is free ({e}): say how much to take with --max-memory"));
        let mut system = sysinfo::System::new().map_err(|e| unknown(format!("{e:?}")))?;
        system.refresh_memory();
        let limit = system.cgroup_limits().map_or(u64::MAX, |c| c.free_memory);
        Ok(system.available_memory().min(limit) / 4 * 3)
    }

    pub(crate) fn check_cancelled(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Sets how many threads the process computes on; by default as many as there are cores. To be called before anything is computed.
///
/// # Errors
/// 0 threads, or a pool that runs already.
pub fn use_threads(threads: usize) -> Result<()> {
    if threads == 0 {
        return Err(Error::request("0 threads compute nothing; give at least 1"));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    pool.map_err(|e| Error::request(format!("the number of threads cannot be set any more: {e}")))
}

/// The rate of plain matrix products `[rows, inputs] · [inputs, outputs]` on all threads, in GFLOP/s: what a walk can at best reach on this
/// machine. Takes about a second.
pub fn product_rate(rows: usize, inputs: usize, outputs: usize, threads: usize) -> f64 {
    use pellucid_kernels::{Packed, product};
    use rayon::prelude::*;
    let begin = std::time::Instant::now();
    let flop: f64 = (0..threads)
        .into_par_iter()
        .map(|_| {
            let (x, mut out) = (vec![0.5f32; rows * inputs], vec![0.0f32; rows * outputs]);
            let mut weight = Packed::zeros(outputs, inputs);
            weight.set_outputs(0, &vec![0.25; outputs * inputs]);
            let mut flop = 0.0;
            while begin.elapsed().as_secs_f64() < 1.0 {
                product(&mut out, outputs, &x, inputs, rows, &weight, None, false);
                flop += 2.0 * (rows * inputs * outputs) as f64;
            }
            flop
        })
        .sum();
    flop / begin.elapsed().as_secs_f64() / 1e9
}

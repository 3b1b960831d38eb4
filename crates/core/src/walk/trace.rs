//! One input up the layers in the recording pass, with an observer at its sites.
//!
//! Memory: one layer's tensors and its n×n pattern. What an observer keeps is its own affair.

use candle_core::{DType, Tensor};

use crate::{
    Error, Result,
    control::Control,
    engine::{Compute, Engine},
    pass::{
        Symbol,
        fast::check_symbols,
        record::{RecordingPass, open, wrap},
    },
};

/// A named tensor of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// The residual stream `[row, d_model]`: index 0 is what the first block takes, index *l* what block *l* takes; the last one is after the
    /// final norm.
    Residual {
        /// 0 to the number of layers.
        index: usize,
    },
    /// Attention after the softmax, `[head, query, key]`.
    Pattern {
        /// Which block.
        layer: usize,
    },
    /// Logits of every row, `[row, vocabulary]`.
    Logits,
}

/// Looks at sites as they are computed.
pub trait Observer {
    /// Called once for every site of the walk, in the order of computation.
    fn see(&mut self, site: Site, tensor: &Tensor) -> Result<()>;
}

impl<F: FnMut(Site, &Tensor) -> Result<()>> Observer for F {
    fn see(&mut self, site: Site, tensor: &Tensor) -> Result<()> {
        self(site, tensor)
    }
}

impl Engine<'_> {
    /// Walks up once and shows every site to `observer`.
    ///
    /// # Errors
    /// An empty or too long input, a token outside the vocabulary, whatever the observer returns.
    pub fn trace(&self, symbols: &[Symbol], control: &Control, observer: &mut dyn Observer) -> Result<()> {
        let architecture = self.model.architecture();
        let description = architecture.description();
        if symbols.is_empty() || symbols.len() > description.context {
            return Err(Error::request(format!("the input has {} tokens, the model takes 1 to {}", symbols.len(), description.context)));
        }
        check_symbols(symbols, architecture.token_table())?;
        let dtype = match self.compute {
            Compute::F32 => DType::F32,
            Compute::F64 => DType::F64,
        };
        let mut pass = RecordingPass { symbols, weights: self.model.weights(), control, dtype, observer };
        let mut x = open(architecture.embed(&mut pass)?);
        for layer in 0..description.layers {
            self.check_cancelled()?;
            pass.observer.see(Site::Residual { index: layer }, &x)?;
            x = open(architecture.block(layer, wrap(x), &mut pass)?);
        }
        x = open(architecture.finish(wrap(x), &mut pass)?);
        pass.observer.see(Site::Residual { index: description.layers }, &x)?;
        use crate::pass::Pass;
        let logits = open(pass.linear(&wrap(x), architecture.unembedding())?);
        pass.observer.see(Site::Logits, &logits)
    }
}

//! One input up the layers in the recording pass, with an observer at its sites.
//!
//! Memory: one layer's tensors and its n×n pattern. What an observer keeps is its own affair.

use candle_core::{DType, Device, Tensor};

use crate::{
    Error, Result,
    control::Control,
    engine::{Compute, Engine},
    pass::{
        Input,
        record::{RecordingPass, open, peek, wrap},
        symbols::check_input,
    },
};

/// A named tensor of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// The residual stream `[row, d_model]`: index 0 is what the first block takes, index *l* what block *l* takes; the last one is what comes
    /// after the last block: after the final norm, but before rows become one.
    Residual {
        /// 0 to the number of layers.
        index: usize,
    },
    /// Attention after the softmax, `[head, query, key]`.
    Pattern {
        /// Which block.
        layer: usize,
    },
    /// Logits of every row, `[row, vocabulary]`, or of the classes, `[1, class]`.
    Logits,
    /// The vector of a model without scores, `[1, d_model]`.
    Pooled,
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
    pub fn trace(&self, input: &Input, control: &Control, observer: &mut dyn Observer) -> Result<()> {
        let architecture = self.model.architecture();
        let description = architecture.description();
        if input.is_empty() || input.len() > description.context {
            return Err(Error::request(format!("the input has {} tokens, the model takes 1 to {}", input.len(), description.context)));
        }
        check_input(input, architecture)?;
        let dtype = match self.compute {
            Compute::F32 => DType::F32,
            Compute::F64 => DType::F64,
        };
        let control = &self.control.and(control)?;
        let mut pass = RecordingPass { input, weights: self.model.weights(), control, dtype, observer };
        let mut x = open(architecture.embed(&mut pass)?);
        for layer in 0..description.layers {
            self.check_cancelled()?;
            pass.observer.see(Site::Residual { index: layer }, &x)?;
            x = open(architecture.block(layer, wrap(x), &mut pass)?);
        }
        use crate::pass::Pass;
        let finished = match description.outputs.pooling() {
            None => {
                let x = architecture.finish(wrap(x), &mut pass)?;
                pass.observer.see(Site::Residual { index: description.layers }, peek(&x))?;
                x
            }
            Some(_) => {
                pass.observer.see(Site::Residual { index: description.layers }, &x)?;
                let rows = description.pooled_rows(input).unwrap_or_default().into_iter().map(|r| r as u32).collect();
                let x = x.index_select(&Tensor::new::<Vec<u32>>(rows, &Device::Cpu)?, 0)?;
                architecture.finish(wrap(x), &mut pass)?
            }
        };
        let Some(unembedding) = architecture.unembedding() else {
            return pass.observer.see(Site::Pooled, peek(&finished));
        };
        let logits = open(pass.linear(&finished, unembedding)?);
        pass.observer.see(Site::Logits, &logits)
    }
}

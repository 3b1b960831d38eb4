//! A model that gives a vector, made into one that gives scores: the cosine between its vector and given ones.
//!
//! ```text
//! score_k = s·⟨pool(x) / ‖pool(x)‖₂, v_k / ‖v_k‖₂⟩        in −s…s; s = 1 but for models that were trained with another
//! ```
//!
//! The cosine is written in operations that every pass knows: an RMS norm without scale (which gives `√d · x/‖x‖`), then a linear map whose
//! rows are the given vectors over `√d`. Every method that explains a class explains a similarity.

use std::{ops::Range, sync::Arc};

use crate::{
    Error, Result, TensorInfo, WeightStore,
    model::{Architecture, Description, Linear, Model, Norm, Parameter, Table},
    pass::{Pass, Value},
};

/// The name under which the given vectors stand among the weights.
const VECTORS: &str = "compared_with.weight";

struct Compared {
    inner: Arc<dyn Architecture>,
    unit: Norm,
    vectors: Linear,
}

struct WithVectors {
    inner: Arc<dyn WeightStore>,
    vectors: Vec<f32>,
    width: usize,
}

impl Model {
    /// This model, scoring an input by `scale` times the cosine between its vector and each of `vectors`.
    ///
    /// # Errors
    /// A model that gives scores already; a vector of another width, of zeros, or with a number that is not finite.
    pub fn compared_with(&self, vectors: &[Vec<f64>], scale: f64) -> Result<Self> {
        let description = self.description();
        let Some(width) = description.embedding_width() else {
            let kind = &description.architecture;
            return Err(Error::Unsupported(format!(
                "this {kind} model gives scores of its own; only one that gives a vector compares texts"
            )));
        };
        let mut rows = Vec::with_capacity(vectors.len() * width);
        for vector in vectors {
            let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
            if vector.len() != width || !(length.is_finite() && length > 0.0) {
                return Err(Error::request(format!(
                    "a vector of {} numbers and length {length} cannot be compared with; the model gives {width} finite numbers, not all 0",
                    vector.len()
                )));
            }
            rows.extend(vector.iter().map(|x| (x * scale / (length * (width as f64).sqrt())) as f32));
        }
        let compared = Compared {
            inner: self.shared_architecture(),
            unit: Norm::plain_rms(width, 0.0),
            vectors: Linear::new(VECTORS.trim_end_matches(".weight"), width, vectors.len()),
        };
        Ok(self.replaced(Arc::new(compared), Arc::new(WithVectors { inner: self.shared_weights(), vectors: rows, width })))
    }
}

impl Architecture for Compared {
    fn description(&self) -> &Description {
        self.inner.description()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let own: [Parameter; 2] = [(&self.unit).into(), (&self.vectors).into()];
        self.inner.parameters().into_iter().chain(own).collect()
    }

    fn block_parameters(&self, layer: usize) -> Vec<Parameter> {
        self.inner.block_parameters(layer)
    }

    fn token_table(&self) -> Option<&Table> {
        self.inner.token_table()
    }

    fn embed(&self, pass: &mut dyn Pass) -> Result<Value> {
        self.inner.embed(pass)
    }

    fn block(&self, layer: usize, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        self.inner.block(layer, x, pass)
    }

    fn finish(&self, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        let x = self.inner.finish(x, pass)?;
        pass.norm(&x, &self.unit)
    }

    fn unembedding(&self) -> Option<&Linear> {
        Some(&self.vectors)
    }
}

impl WeightStore for WithVectors {
    fn names(&self) -> Vec<String> {
        let mut names = self.inner.names();
        names.push(VECTORS.into());
        names
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        if name == VECTORS {
            return Some(TensorInfo {
                shape: vec![self.vectors.len() / self.width, self.width],
                encoding: "f32",
                bytes: 4 * self.vectors.len() as u64,
            });
        }
        self.inner.info(name)
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        if name == VECTORS {
            let stored = self.vectors.get(rows.start * self.width..rows.end * self.width).filter(|v| v.len() == out.len());
            out.copy_from_slice(stored.ok_or_else(|| Error::Weights(format!("rows {rows:?} are outside `{VECTORS}`")))?);
            return Ok(());
        }
        self.inner.read_rows(name, rows, out)
    }

    fn release(&self, name: &str) {
        self.inner.release(name);
    }
}

//! Vector norms: how long each token's part of a block's output is, attention and values taken together.
//!
//! ```text
//! N_ij = ‖T̂_ij‖        C = N, or every row of N divided by its sum        R = C_L ··· C_1
//! ```
//!
//! `T̂_ij` is that of `linearised`. Source: Kobayashi et al. 2021 (arXiv 2109.07152) for `ln1`, Modarressi et al. 2022, *GlobEnc*
//! (arXiv 2205.03286) for `ln2` with `rows` = `raw`.
//! We differ: the norm's deviation contains its epsilon (`epsilon_in_std` = false leaves it out); rows sum to 1 unless `rows` = `raw`; a row of
//! zeros stays where it is.
//! Passes and memory: see `mixing`; heads · n² · `d_model` multiplications a layer. Promise: scores are not negative and, unless raw, sum to 1.

use std::ops::Range;

use pellucid_core::{
    Engine, Input, Method, Outcome, Question, Result, Sign, model::Description, pass::fast::Element, walk::Estimate, walk::mix::Stage,
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    alti::VectorNorm,
    linearised::{After, Behind, Deviation, Linearised},
    mixing::{self, Mixing, sum_to_one},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "vector-norms",
    summary: "follows through all layers how long each token's part of each block's output is",
    needs: "attention added to a residual stream; no gradients",
    promise: "scores are not negative and, unless rows are raw, sum to 1 over all positions",
    cost: "one walk up and every block once more; heads · n² · d_model multiplications a layer",
    source: "Kobayashi et al. 2021, arXiv 2109.07152; Modarressi et al. 2022, arXiv 2205.03286",
    docs: include_str!("vector_norms.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<VectorNorms>("vector-norms", parameters)?)),
};

/// What becomes of rows of norms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormRows {
    /// Each is divided by its sum.
    #[default]
    SumToOne,
    /// Nothing: numbers grow from layer to layer.
    Raw,
}

/// Parameters of vector norms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VectorNorms {
    /// Which norm.
    pub norm: VectorNorm,
    /// Behind which norms of the model; `None`: `ln1` where a norm follows attention, else `residual`.
    pub after: Option<After>,
    /// What becomes of rows.
    pub rows: NormRows,
    /// How a norm's deviation is taken.
    pub deviation: Deviation,
    /// Whether it contains the norm's epsilon.
    pub epsilon_in_std: bool,
}

impl Default for VectorNorms {
    fn default() -> Self {
        Self { norm: VectorNorm::L2, after: None, rows: NormRows::SumToOne, deviation: Deviation::Population, epsilon_in_std: true }
    }
}

impl VectorNorms {
    /// C of every layer, `[query, key]`.
    ///
    /// # Errors
    /// As [`Engine::mix`]; norms that the model does not have where they are asked for.
    pub fn matrices(&self, engine: &Engine<'_>, input: &Input) -> Result<Vec<Vec<f64>>> {
        mixing::matrices(self, engine, input)
    }
}

impl Mixing for VectorNorms {
    fn rows<T: Element>(
        &self,
        stage: &Stage<'_, T>,
        rows: Range<usize>,
        hold: u64,
        see: &mut dyn FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let behind = Behind { after: self.after, deviation: self.deviation, epsilon: self.epsilon_in_std };
        let Linearised { parts, divisor, .. } = behind.of(stage, hold)?;
        parts.distances(rows, self.norm.measure(), None, &mut |block, norms| {
            for (i, row) in block.zip(norms.chunks_exact(parts.keys())) {
                let mut row: Vec<f64> = row.iter().map(|x| x.to_f64() / divisor[i]).collect();
                if self.rows == NormRows::SumToOne {
                    sum_to_one(&mut row, i);
                }
                see(i, &row)?;
            }
            Ok(())
        })
    }
}

impl Method for VectorNorms {
    fn id(&self) -> &'static str {
        "vector-norms"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn sign(&self) -> Sign {
        Sign::Unsigned
    }

    fn fits(&self, _: &Description) -> Result<()> {
        Ok(())
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        mixing::estimate("vector-norms", engine, question, mixing::pair(engine))
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        mixing::attribute("vector-norms", self, engine, question)
    }
}

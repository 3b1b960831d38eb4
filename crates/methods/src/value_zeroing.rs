//! Value zeroing: how much a block's output turns when one token's values are taken out of it.
//!
//! ```text
//! Z_ij = 1 − cos( y_i, y_i without v_j )        C = every row of Z divided by its sum        R = C_L ··· C_1
//! ```
//!
//! The block is run again with `v_j` = 0 in all heads; patterns, residual stream, norms and feed-forward network stay. Source: Mohebbi et al.
//! 2023 (arXiv 2301.12971), section 3.
//! We differ only in how it is computed: what token j adds to row i is subtracted from the attention's output, and the rest of the block is run
//! again for that row. A row that no token turns stays where it is.
//! Passes: one walk up, and in every layer the feed-forward network for each pair of positions: about as much as n walks up. Memory: see
//! `mixing`, and n rows of the feed-forward network's middle. Promise: scores are not negative and sum to 1.

use std::ops::Range;

use pellucid_core::{
    Engine, Input, Method, Outcome, Question, Result, Sign,
    model::Description,
    pass::fast::Element,
    walk::{
        Estimate,
        mix::{Parts, Stage},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    mixing::{self, Mixing, sum_to_one},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "value-zeroing",
    summary: "follows through all layers how much each block's output turns without each token's values",
    needs: "attention added to a residual stream; no gradients",
    promise: "scores are not negative and sum to 1 over all positions",
    cost: "about n walks up; memory of one walk and n rows of a feed-forward network",
    source: "Mohebbi et al. 2023, arXiv 2301.12971",
    docs: include_str!("value_zeroing.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<ValueZeroing>("value-zeroing", parameters)?)),
};

/// Value zeroing has no parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValueZeroing {}

impl ValueZeroing {
    /// C of every layer, `[query, key]`.
    ///
    /// # Errors
    /// As [`Engine::mix`].
    pub fn matrices(&self, engine: &Engine<'_>, input: &Input) -> Result<Vec<Vec<f64>>> {
        mixing::matrices(self, engine, input)
    }
}

impl Mixing for ValueZeroing {
    fn rows<T: Element>(
        &self,
        stage: &Stage<'_, T>,
        rows: Range<usize>,
        hold: u64,
        see: &mut dyn FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let anatomy = stage.anatomy()?;
        let parts = Parts::new(stage, &anatomy, &[], false, hold);
        let (n, d) = (parts.keys(), parts.width());
        let (attended, output) = (stage.node(anatomy.projected).data(), stage.output());
        parts.vectors(rows, &mut |i, vectors| {
            let attended = &attended[i * d..(i + 1) * d];
            let without: Vec<T> = vectors.chunks_exact(d).flat_map(|part| attended.iter().zip(part).map(|(a, p)| *a - *p)).collect();
            let turned = stage.replay(anatomy.projected, &without, &vec![i; vectors.len() / d])?;
            let whole = &output.data()[i * output.width()..(i + 1) * output.width()];
            let mut row = vec![0.0; n];
            row.iter_mut().zip(turned.chunks_exact(output.width())).for_each(|(z, turned)| *z = (1.0 - cosine(whole, turned)).max(0.0));
            sum_to_one(&mut row, i);
            see(i, &row)
        })
    }
}

/// Cosine of two rows; rows of zeros are taken to point the same way.
fn cosine<T: Element>(x: &[T], y: &[T]) -> f64 {
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y).map(|(x, y)| (x.to_f64(), y.to_f64())) {
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    if xx > 0.0 && yy > 0.0 { xy / (xx.sqrt() * yy.sqrt()) } else { 1.0 }
}

impl Method for ValueZeroing {
    fn id(&self) -> &'static str {
        "value-zeroing"
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
        let d = engine.model.description();
        let again = (2 * 3 * d.d_model * d.d_ff) as f64;
        mixing::estimate("value-zeroing", engine, question, mixing::pair(engine) + again)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        mixing::attribute("value-zeroing", self, engine, question)
    }
}

//! ALTI: how much of a block's output each token makes up, by how near its part comes to the whole.
//!
//! ```text
//! D_ij = ‖T̂_ij − y_i‖        C_ij = max(0, ‖y_i‖ − D_ij) / Σ_j max(0, ‖y_i‖ − D_ij)        R = C_L ··· C_1
//! ```
//!
//! `T̂_ij` and `y_i` are those of `linearised`. Source: Ferrando et al. 2022 (arXiv 2203.04212), eq. 8 to 11; for norms before the block
//! (`residual`) Ferrando et al. 2023 (arXiv 2305.12535).
//! We differ: the norm's deviation contains its epsilon (`epsilon_in_std` = false leaves it out, as the published code does); nothing is added
//! to the difference before its norm is taken (`distance_epsilon` = 1e-6 is the published code's); a row of which nothing is left after
//! clipping stays where it is, where the published code divides by 0. One row is carried down, no matrix is built: the numbers are the same.
//! Passes and memory: see `mixing`; heads · n² · `d_model` multiplications a layer. Promise: scores are not negative and sum to 1.

use std::ops::Range;

use pellucid_core::{
    Control, Engine, Error, Input, Method, Outcome, Question, Result, Sign,
    kernels::Distance,
    model::Description,
    pass::fast::Element,
    walk::{
        Estimate,
        mix::{Mixer, Order, Stage},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    linearised::{After, Behind, Deviation, Linearised},
    mixing::{self, Mixing, sum_to_one},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "alti",
    summary: "follows through all layers how near each token's part comes to each block's output",
    needs: "attention added to a residual stream; no gradients",
    promise: "scores are not negative and sum to 1 over all positions",
    cost: "one walk up and every block once more; heads · n² · d_model multiplications a layer",
    source: "Ferrando et al. 2022, arXiv 2203.04212",
    docs: include_str!("alti.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<Alti>("alti", parameters)?.checked()?)),
};

/// Which norm of vectors is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VectorNorm {
    /// Sum of magnitudes.
    #[default]
    L1,
    /// Euclidean length.
    L2,
}

impl VectorNorm {
    pub(crate) fn measure(self) -> Distance {
        match self {
            VectorNorm::L1 => Distance::L1,
            VectorNorm::L2 => Distance::L2,
        }
    }

    pub(crate) fn of<T: Element>(self, row: &[T]) -> f64 {
        let each = row.iter().map(|x| x.to_f64());
        match self {
            VectorNorm::L1 => each.map(f64::abs).sum(),
            VectorNorm::L2 => each.map(|x| x * x).sum::<f64>().sqrt(),
        }
    }
}

/// Parameters of ALTI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alti {
    /// How distances are measured.
    pub norm: VectorNorm,
    /// Behind which norms; `None`: `ln1` where a norm follows attention, else `residual`.
    pub after: Option<After>,
    /// How a norm's deviation is taken.
    pub deviation: Deviation,
    /// Whether it contains the norm's epsilon.
    pub epsilon_in_std: bool,
    /// Added to every entry of `T̂ − y` before its norm is taken. Keys that a row does not see (`T̂` = 0) then come to a little, too.
    pub distance_epsilon: f64,
}

impl Default for Alti {
    fn default() -> Self {
        Self { norm: VectorNorm::L1, after: None, deviation: Deviation::Population, epsilon_in_std: true, distance_epsilon: 0.0 }
    }
}

impl Alti {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// A `distance_epsilon` that is not finite.
    pub fn checked(self) -> Result<Self> {
        if !self.distance_epsilon.is_finite() {
            return Err(Error::request(format!("distance_epsilon {} is not finite", self.distance_epsilon)));
        }
        Ok(self)
    }

    fn behind(&self) -> Behind {
        Behind { after: self.after, deviation: self.deviation, epsilon: self.epsilon_in_std }
    }

    /// C of every layer, `[query, key]`.
    ///
    /// # Errors
    /// As [`Engine::mix`]; norms that the model does not have where they are asked for.
    pub fn matrices(&self, engine: &Engine<'_>, input: &Input) -> Result<Vec<Vec<f64>>> {
        mixing::matrices(self, engine, input)
    }

    /// D of every layer, `[query, key]`.
    ///
    /// # Errors
    /// As [`Alti::matrices`].
    pub fn distances(&self, engine: &Engine<'_>, input: &Input) -> Result<Vec<Vec<f64>>> {
        mixing::matrices(&Distances(self), engine, input)
    }

    /// T̂ of every layer, `[query, key, d_model]`.
    ///
    /// # Errors
    /// As [`Alti::matrices`].
    pub fn vectors(&self, engine: &Engine<'_>, input: &Input) -> Result<Vec<Vec<f64>>> {
        let mut vectors = Vectors { behind: self.behind(), layers: Vec::new(), hold: mixing::room(engine, input)? };
        engine.mix(input, &Control::none(), &[], Order::Up, &mut vectors)?;
        Ok(vectors.layers)
    }

    /// Tells D row by row, with the row's `y`; an unseen key's part is 0.
    fn measured<T: Element>(&self, stage: &Stage<'_, T>, rows: Range<usize>, hold: u64, see: &mut SeeMeasured<'_, T>) -> Result<()> {
        let Linearised { parts, divisor, whole } = self.behind().of(stage, hold)?;
        let (n, d) = (parts.keys(), parts.width());
        // ‖P/s − y + ε‖ = ‖P − s·(y − ε)‖ / s
        let mut against = whole.clone();
        for (row, s) in against.chunks_exact_mut(d).zip(&divisor) {
            row.iter_mut().for_each(|y| *y = T::from_f64(s * (y.to_f64() - self.distance_epsilon)));
        }
        parts.distances(rows, self.norm.measure(), Some(&against), &mut |block, distances| {
            for (i, row) in block.zip(distances.chunks_exact(n)) {
                let mut row: Vec<f64> = row.iter().map(|x| x.to_f64() / divisor[i]).collect();
                let own = i * d..(i + 1) * d;
                let nothing = if self.distance_epsilon == 0.0 { &whole } else { &against };
                let by = if self.distance_epsilon == 0.0 { 1.0 } else { divisor[i] };
                row[parts.seen(i)..].fill(self.norm.of(&nothing[own.clone()]) / by);
                see(i, &row, &whole[own])?;
            }
            Ok(())
        })
    }
}

impl Mixing for Alti {
    fn rows<T: Element>(
        &self,
        stage: &Stage<'_, T>,
        rows: Range<usize>,
        hold: u64,
        see: &mut dyn FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        self.measured(stage, rows, hold, &mut |i, distances, whole| {
            let length = self.norm.of(whole);
            let mut row: Vec<f64> = distances.iter().map(|d| (length - d).max(0.0)).collect();
            sum_to_one(&mut row, i);
            see(i, &row)
        })
    }
}

/// Told of a query row: its number, `[key]`, and what it is measured against.
type SeeMeasured<'a, T> = dyn FnMut(usize, &[f64], &[T]) -> Result<()> + 'a;

struct Distances<'a>(&'a Alti);

impl Mixing for Distances<'_> {
    fn rows<T: Element>(
        &self,
        stage: &Stage<'_, T>,
        rows: Range<usize>,
        hold: u64,
        see: &mut dyn FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        self.0.measured(stage, rows, hold, &mut |i, distances, _| see(i, distances))
    }
}

struct Vectors {
    behind: Behind,
    layers: Vec<Vec<f64>>,
    hold: u64,
}

impl Mixer for Vectors {
    fn block<T: Element>(&mut self, stage: &Stage<'_, T>) -> Result<()> {
        let Linearised { parts, divisor, .. } = self.behind.of(stage, self.hold)?;
        let row = parts.keys() * parts.width();
        let mut all = vec![0.0; parts.keys() * row];
        parts.vectors(0..parts.keys(), &mut |i, vectors| {
            all[i * row..].iter_mut().zip(vectors).for_each(|(o, x)| *o = x.to_f64() / divisor[i]);
            Ok(())
        })?;
        self.layers.push(all);
        Ok(())
    }
}

impl Method for Alti {
    fn id(&self) -> &'static str {
        "alti"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn sign(&self) -> Sign {
        Sign::Unsigned
    }

    fn fits(&self, _: &Description) -> Result<()> {
        self.clone().checked().map(|_| ())
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        self.fits(engine.model.description())?;
        mixing::estimate("alti", engine, question, mixing::pair(engine))
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        self.fits(engine.model.description())?;
        mixing::attribute("alti", self, engine, question)
    }
}

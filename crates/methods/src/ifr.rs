//! Information flow routes: what each edge of a block brings into the residual stream, by how near it comes to the whole.
//!
//! ```text
//! prox(p, y) = max(ε, ‖y‖₁ − ‖p − y‖₁)        share(p) = prox(p, y) / Σ_p' prox(p', y)
//! attention   parts A^h_ij·f^h_j of every head h and position j, and the residual x_i;  whole: the stream after attention (no part for b_O)
//! network     parts: what the feed-forward network gives, and the stream before it;     whole: the stream after it
//! C_ij = Σ_h share(A^h_ij·f^h_j) + [i = j]·share(x_i)        R = C_L ··· C_1
//! ```
//!
//! Source: Ferrando & Voita 2024 (arXiv 2403.00824), eq. 4 to 6. Their result is a graph; a position's score here is the sum over all paths down
//! to its embedding of the products of their edges. Both edges of the network lead to the same position, so they leave scores alone.
//! `threshold` sets smaller edges to 0 and divides by what is left; where nothing is left, all of it is the residual's.
//! We differ: a key that a row does not see has no edge, where the published code gives it ε (`unseen` = true).
//! Passes and memory: see `mixing`; heads · n² · `d_model` distances a layer. Promise: scores are not negative and sum to 1.

use std::ops::Range;

use pellucid_core::{
    Control, Engine, Error, Input, Method, Outcome, Question, Result, Sign,
    kernels::{Distance, distances},
    model::Description,
    pass::fast::Element,
    walk::{
        Estimate,
        mix::{Anatomy, Mixer, Order, Parts, Stage},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    alti::VectorNorm,
    mixing::{self, Mixing},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "ifr",
    summary: "follows through all layers how near every attention edge comes to what it flows into",
    needs: "norms before attention (decoders); no gradients",
    promise: "scores are not negative and sum to 1 over all positions",
    cost: "one walk up and every block once more; heads · n² · d_model distances a layer",
    source: "Ferrando & Voita 2024, arXiv 2403.00824",
    docs: include_str!("ifr.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<Ifr>("ifr", parameters)?.checked()?)),
};

/// Parameters of information flow routes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ifr {
    /// ε: what a part comes to at least.
    pub epsilon: f64,
    /// Edges with a smaller share are cut; `None`: none.
    pub threshold: Option<f64>,
    /// Whether keys that a row does not see get ε all the same, as the published code has it.
    pub unseen: bool,
}

impl Default for Ifr {
    fn default() -> Self {
        Self { epsilon: 1e-5, threshold: None, unseen: false }
    }
}

/// Shares of the edges of one block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares {
    /// Of attention, `[query, key, head]`.
    pub attention: Vec<f64>,
    /// Of the residual stream beside it, one a position.
    pub residual: Vec<f64>,
    /// Of the feed-forward network in the stream after it, one a position; the rest is the stream's before it.
    pub network: Vec<f64>,
}

/// `max(ε, ‖y‖₁ − distance)`.
pub(crate) fn proximity<T: Element>(epsilon: f64, length: f64, distance: T) -> f64 {
    (length - distance.to_f64()).max(epsilon)
}

/// The same of one row and another.
pub(crate) fn proximity_of<T: Element>(epsilon: f64, part: &[T], whole: &[T]) -> f64 {
    let mut distance = [T::ZERO];
    distances(&mut distance, None, part, part.len(), Some(whole), part.len(), Distance::L1);
    proximity(epsilon, VectorNorm::L1.of(whole), distance[0])
}

/// Refuses a block with norms behind: its parts are not what the stream goes on with.
pub(crate) fn norms_before<T: Element>(method: &str, stage: &Stage<'_, T>) -> Result<Anatomy> {
    let anatomy = stage.anatomy()?;
    match anatomy.norm_after_attention {
        None => Ok(anatomy),
        Some(_) => Err(Error::Unsupported(format!(
            "{method} needs blocks with norms before attention, as decoders have; in this model a norm follows it: use alti or decompx"
        ))),
    }
}

pub(crate) fn check_epsilon(epsilon: f64) -> Result<()> {
    if epsilon > 0.0 && epsilon.is_finite() {
        return Ok(());
    }
    Err(Error::request(format!("epsilon {epsilon} is not above 0")))
}

impl Ifr {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// An epsilon that is not above 0, a threshold outside 0 to 0.5.
    pub fn checked(self) -> Result<Self> {
        check_epsilon(self.epsilon)?;
        // Of the network's two edges one has half of the stream: up to there the flow is never cut off.
        match self.threshold.filter(|t| !(0.0..0.5).contains(t)) {
            Some(threshold) => Err(Error::request(format!("threshold {threshold} is not from 0 to below 0.5"))),
            None => Ok(self),
        }
    }

    /// Shares of the edges of every block. Takes heads · n² numbers a layer: for looking at, not for explaining.
    ///
    /// # Errors
    /// As [`Engine::mix`]; a model whose norms are not before attention.
    pub fn shares(&self, engine: &Engine<'_>, input: &Input) -> Result<Vec<Shares>> {
        let mut record = Record { ifr: self, layers: Vec::new(), hold: mixing::room(engine, input)? };
        engine.mix(input, &Control::none(), &[], Order::Up, &mut record)?;
        Ok(record.layers)
    }

    /// C of every layer, `[query, key]`.
    ///
    /// # Errors
    /// As [`Ifr::shares`].
    pub fn matrices(&self, engine: &Engine<'_>, input: &Input) -> Result<Vec<Vec<f64>>> {
        mixing::matrices(self, engine, input)
    }

    /// Tells the shares of attention `[key, head]` and the residual's, row by row.
    fn attention<T: Element>(&self, stage: &Stage<'_, T>, rows: Range<usize>, hold: u64, see: &mut SeeEdges<'_>) -> Result<()> {
        let anatomy = norms_before("ifr", stage)?;
        let parts = Parts::new(stage, &anatomy, &[], false, hold);
        let (n, d, heads) = (parts.keys(), parts.width(), anatomy.shape.heads);
        let middle = stage.middle(&anatomy);
        stage.patterns(rows, &mut |block, patterns| {
            let wholes = &middle[block.start * d..block.end * d];
            let by_key = parts.head_distances(patterns, parts.seen(block.end - 1), wholes, Distance::L1);
            for (r, i) in block.clone().enumerate() {
                let whole = &wholes[r * d..(r + 1) * d];
                let length = VectorNorm::L1.of(whole);
                let mut shares = vec![if self.unseen { self.epsilon } else { 0.0 }; n * heads];
                for (shares, distances) in shares.chunks_exact_mut(heads).zip(&by_key).take(parts.seen(i)) {
                    let of_head = distances.chunks_exact(block.len()).map(|head| head[r]);
                    shares.iter_mut().zip(of_head).for_each(|(s, distance)| *s = proximity(self.epsilon, length, distance));
                }
                let residual = proximity_of(self.epsilon, &stage.node(anatomy.x).data()[i * d..(i + 1) * d], whole);
                let residual = self.cut(&mut shares, residual);
                see(i, &shares, residual)?;
            }
            Ok(())
        })
    }

    /// Divides by the sum, cuts what is below the threshold, and divides again. Gives the residual's share.
    fn cut(&self, shares: &mut [f64], residual: f64) -> f64 {
        let sum = shares.iter().sum::<f64>() + residual;
        shares.iter_mut().for_each(|s| *s /= sum);
        let residual = residual / sum;
        let Some(threshold) = self.threshold else { return residual };
        let kept = |s: f64| if s < threshold { 0.0 } else { s };
        shares.iter_mut().for_each(|s| *s = kept(*s));
        let left = shares.iter().sum::<f64>() + kept(residual);
        if left == 0.0 {
            return 1.0;
        }
        shares.iter_mut().for_each(|s| *s /= left);
        kept(residual) / left
    }
}

impl Mixing for Ifr {
    fn rows<T: Element>(
        &self,
        stage: &Stage<'_, T>,
        rows: Range<usize>,
        hold: u64,
        see: &mut dyn FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        self.attention(stage, rows, hold, &mut |i, shares, residual| {
            let heads = shares.len() / stage.output().count();
            let mut row: Vec<f64> = shares.chunks_exact(heads).map(|s| s.iter().sum()).collect();
            row[i] += residual;
            see(i, &row)
        })
    }
}

/// Told of a query row: its number, shares `[key, head]`, the residual's share.
type SeeEdges<'a> = dyn FnMut(usize, &[f64], f64) -> Result<()> + 'a;

struct Record<'a> {
    ifr: &'a Ifr,
    layers: Vec<Shares>,
    hold: u64,
}

impl Mixer for Record<'_> {
    fn block<T: Element>(&mut self, stage: &Stage<'_, T>) -> Result<()> {
        let anatomy = norms_before("ifr", stage)?;
        let mut layer = Shares::default();
        self.ifr.attention(stage, 0..stage.output().count(), self.hold, &mut |_, shares, residual| {
            layer.attention.extend_from_slice(shares);
            layer.residual.push(residual);
            Ok(())
        })?;
        let d = stage.output().width();
        let middle = stage.middle(&anatomy);
        for (after, before) in stage.output().data().chunks_exact(d).zip(middle.chunks_exact(d)) {
            let network: Vec<T> = after.iter().zip(before).map(|(a, b)| *a - *b).collect();
            let mut shares = [proximity_of(self.ifr.epsilon, &network, after)];
            self.ifr.cut(&mut shares, proximity_of(self.ifr.epsilon, before, after));
            layer.network.push(shares[0]);
        }
        self.layers.push(layer);
        Ok(())
    }
}

impl Method for Ifr {
    fn id(&self) -> &'static str {
        "ifr"
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
        mixing::estimate("ifr", engine, question, 1.5 * mixing::pair(engine))
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        self.fits(engine.model.description())?;
        mixing::attribute("ifr", self, engine, question)
    }
}

//! ALTI-Logit: what each layer's attention adds to the target's logit from each position, traced to the input through ALTI.
//!
//! ```text
//! δ^l_j = ⟨u, LN_f( Σ_h A^h_tj·(W_O^h·v^h_j) )⟩        LN_f(v) = γ_f ⊙ c(v)/s_t        u: the target's row of the unembedding, t: its row
//! logit = ⟨u, LN_f(x⁰_t)⟩ + ⟨u, β_f⟩ + bias + Σ_l [ ⟨u, LN_f(mlp^l_t)⟩ + ⟨u, LN_f(b_O^l)⟩ + Σ_j δ^l_j ]
//! score = Σ_l δ^l · C_{l−1} ··· C_1                    C: that of ALTI, in the residual stream
//! ```
//!
//! Source: Ferrando et al. 2023 (arXiv 2305.12535), eq. 8 to 12. `s_t` is the final norm's deviation at the last layer's output (for an RMS norm
//! its root mean square, and c leaves v alone). `mixing` = false leaves δ where it arises.
//! It explains the logit, whatever score is asked for. What goes to no token (first residual, feed-forward networks, biases) is taken from the
//! logit in the promise. We differ: nothing is added to ALTI's differences
//! (`distance_epsilon` = 1e-6 is the published code's).
//! Passes and memory: see `mixing`. Promise: scores of all positions sum to the logit less what goes to no token.

use pellucid_core::{
    Control, Engine, Error, Input, Method, Outcome, Promise, Question, Result, Score,
    model::{Attention, Description, NormKind, Outputs},
    pass::fast::Element,
    tape::Op,
    walk::{
        Estimate,
        down::Term,
        mix::{Mixed, Mixer, Order, Stage},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    alti::{Alti, VectorNorm},
    ifr::norms_before,
    linearised::After,
    mixing::{self, Answers, Reading},
    propagation::promise,
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "alti-logit",
    summary: "adds up what attention adds to the target's logit from each position, traced to the input through ALTI",
    needs: "a decoder with norms before attention and a final norm; no gradients",
    promise: "scores of all positions sum to the logit, less what feed-forward networks, biases and the first residual give",
    cost: "one walk up and every block once more; heads · n² · d_model multiplications a layer",
    source: "Ferrando et al. 2023, arXiv 2305.12535",
    docs: include_str!("alti_logit.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<AltiLogit>("alti-logit", parameters)?.checked()?)),
};

/// Parameters of ALTI-Logit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AltiLogit {
    /// Whether updates are traced to the input.
    pub mixing: bool,
    /// How ALTI measures distances.
    pub norm: VectorNorm,
    /// Added to every entry of ALTI's differences before their norm is taken.
    pub distance_epsilon: f64,
}

impl Default for AltiLogit {
    fn default() -> Self {
        Self { mixing: true, norm: VectorNorm::L1, distance_epsilon: 0.0 }
    }
}

/// The logit of one term, in its parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogitParts {
    /// From attention, `[layer][position]`; the layers added up if they were not asked for one by one.
    pub attention: Vec<Vec<f64>>,
    /// From feed-forward networks, by layer.
    pub networks: Vec<f64>,
    /// From the biases of attention's output projections, by layer.
    pub biases: Vec<f64>,
    /// From the input of the first block.
    pub residual: f64,
    /// From the final norm's shift and the output's own bias.
    pub last: f64,
}

impl LogitParts {
    /// All that goes to no token.
    pub fn rest(&self) -> f64 {
        self.networks.iter().chain(&self.biases).sum::<f64>() + self.residual + self.last
    }
}

impl AltiLogit {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// A `distance_epsilon` that is not finite.
    pub fn checked(self) -> Result<Self> {
        self.alti().checked().map(|_| self)
    }

    fn alti(&self) -> Alti {
        Alti { norm: self.norm, after: Some(After::Residual), distance_epsilon: self.distance_epsilon, ..Alti::default() }
    }

    /// The logits of some terms in their parts; with `by_layer`, each layer's updates on their own (a row a layer is then carried down).
    ///
    /// # Errors
    /// As [`Engine::mix`]; a model without a final norm, or whose norms are not before attention.
    pub fn parts(&self, engine: &Engine<'_>, input: &Input, terms: &[Term], by_layer: bool) -> Result<(Vec<LogitParts>, Mixed)> {
        let rows = terms.iter().map(|t| engine.output_row(t.output)).collect::<Result<_>>()?;
        let mut down =
            Down { alti: self.alti(), mixing: self.mixing, by_layer, terms, rows, found: Vec::new(), hold: mixing::room(engine, input)? };
        let mixed = engine.mix(input, &Control::none(), terms, Order::Down, &mut down)?;
        let parts = down.found.into_iter().map(|f| LogitParts {
            attention: f.parts.attention.into_iter().rev().collect(),
            networks: f.parts.networks.into_iter().rev().collect(),
            biases: f.parts.biases.into_iter().rev().collect(),
            ..f.parts
        });
        Ok((parts.collect(), mixed))
    }
}

/// A term on its way down: what its logit is along, and its parts so far, last layer first.
struct Found {
    along: Vec<f64>,
    parts: LogitParts,
}

struct Down<'a> {
    alti: Alti,
    mixing: bool,
    by_layer: bool,
    terms: &'a [Term],
    rows: Vec<(Vec<f32>, f64)>,
    found: Vec<Found>,
    hold: u64,
}

fn dot<T: Element>(along: &[f64], x: &[T]) -> f64 {
    along.iter().zip(x).map(|(a, x)| a * x.to_f64()).sum()
}

impl Mixer for Down<'_> {
    /// `⟨u, LN_f(v)⟩ = ⟨w, v⟩` with `w = c(γ_f ⊙ u)/s_t`.
    fn head<T: Element>(&mut self, stage: &Stage<'_, T>, rows: &[usize]) -> Result<()> {
        let Op::Norm { x, norm } = &stage.output().op else {
            return Err(Error::Unsupported("alti-logit needs a norm between the last block and the vocabulary, and nothing else".into()));
        };
        if !matches!(stage.node(*x).op, Op::Select { .. }) || norm.width != stage.output().width() {
            return Err(Error::Unsupported("alti-logit needs a norm between the last block and the vocabulary, and nothing else".into()));
        }
        let (scale, shift) = stage.norm(norm);
        let d = norm.width;
        for (term, (output, bias)) in self.terms.iter().zip(&self.rows) {
            let at = rows.binary_search(&term.row).expect("the walk shows the rows of all terms");
            let row = &stage.node(*x).data()[at * d..(at + 1) * d];
            let centred = norm.kind == NormKind::Layer;
            let mean = |x: &mut dyn Iterator<Item = f64>| if centred { x.sum::<f64>() / d as f64 } else { 0.0 };
            let middle = mean(&mut row.iter().map(|x| x.to_f64()));
            let square: f64 = row.iter().map(|x| (x.to_f64() - middle) * (x.to_f64() - middle)).sum::<f64>() / d as f64;
            let deviation = (square + norm.epsilon).sqrt();
            let u: Vec<f64> = output.iter().map(|u| f64::from(*u)).collect();
            let mut along: Vec<f64> = (0..d).map(|i| u[i] * scale.map_or(1.0, |s| s[i].to_f64()) / deviation).collect();
            let middle = mean(&mut along.iter().copied());
            along.iter_mut().for_each(|a| *a -= middle);
            let last = shift.map_or(0.0, |shift| dot(&u, shift)) + bias;
            self.found.push(Found { along, parts: LogitParts { last, ..LogitParts::default() } });
        }
        Ok(())
    }

    fn block<T: Element>(&mut self, stage: &Stage<'_, T>) -> Result<()> {
        let anatomy = norms_before("alti-logit", stage)?;
        let (n, d) = (stage.output().count(), stage.output().width());
        if self.mixing {
            let mut rows: Vec<Vec<f64>> = self.found.iter_mut().flat_map(|f| std::mem::take(&mut f.parts.attention)).collect();
            if !rows.is_empty() {
                rows = mixing::carry(&self.alti, stage, &rows, self.hold)?;
            }
            let each = rows.len() / self.found.len().max(1);
            let mut rows = rows.into_iter();
            self.found.iter_mut().for_each(|f| f.parts.attention = rows.by_ref().take(each).collect());
        }
        let Attention { heads, kv_heads, d_head, .. } = anatomy.shape;
        let ((weight, bias), values) = (stage.projection(&anatomy), stage.node(anatomy.values));
        let inputs = anatomy.projection.inputs;
        let middle = stage.middle(&anatomy);
        for (term, found) in self.terms.iter().zip(&mut self.found) {
            let row = term.row * d..(term.row + 1) * d;
            let along = &found.along;
            found.parts.networks.push(dot(along, &stage.output().data()[row.clone()]) - dot(along, &middle[row.clone()]));
            found.parts.biases.push(bias.as_ref().map_or(0.0, |b| dot(along, b)));
            if stage.layer == 0 {
                found.parts.residual = dot(along, &stage.node(anatomy.x).data()[row]);
            }
            // ⟨w, W_O^h·v⟩ = ⟨W_O^hᵀ·w, v⟩
            let mut back = vec![0.0; inputs];
            for (a, weights) in along.iter().zip(weight.chunks_exact(inputs)) {
                back.iter_mut().zip(weights).for_each(|(b, w)| *b += a * w);
            }
            let mut update = vec![0.0; n];
            stage.patterns(term.row..term.row + 1, &mut |_, patterns| {
                for (h, pattern) in patterns.iter().enumerate().take(heads) {
                    let (back, first) = (&back[h * d_head..(h + 1) * d_head], h / (heads / kv_heads) * d_head);
                    for ((u, a), value) in update.iter_mut().zip(pattern).zip(values.data().chunks_exact(values.width())) {
                        if *a != T::ZERO {
                            *u += a.to_f64() * dot(back, &value[first..first + d_head]);
                        }
                    }
                }
                Ok(())
            })?;
            match found.parts.attention.first_mut().filter(|_| !self.by_layer) {
                Some(sum) => sum.iter_mut().zip(&update).for_each(|(s, u)| *s += u),
                None => found.parts.attention.push(update),
            }
        }
        Ok(())
    }
}

impl Method for AltiLogit {
    fn id(&self) -> &'static str {
        "alti-logit"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.clone().checked()?;
        match model.outputs {
            Outputs::NextToken => Ok(()),
            _ => Err(Error::Unsupported(format!(
                "alti-logit needs a decoder, whose logit is a sum over its layers; this {} model is none: use decompx or alti",
                model.architecture
            ))),
        }
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        self.fits(engine.model.description())?;
        let work = if self.mixing { mixing::pair(engine) } else { 0.0 };
        mixing::estimate_all(engine, question, work)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        self.fits(engine.model.description())?;
        let mut answers = Answers::default();
        let mut promises: Vec<Promise> = Vec::new();
        for Reading { input, terms } in mixing::readings(engine, question, Score::Logit)? {
            let (parts, mixed) = self.parts(engine, &input, &terms, false)?;
            for (parts, clean) in parts.iter().zip(&mixed.scores) {
                promises.push(promise("conservation", promises.len(), clean.logit - parts.rest(), parts.attention.iter().flatten().sum()));
            }
            let each = parts.into_iter().map(|p| p.attention.into_iter().next().unwrap_or_default()).collect();
            answers.add(mixed.scores, each, mixed.cost);
        }
        promises.truncate(question.target.tokens.len());
        Ok(Outcome { promises, ..answers.outcome(question) })
    }
}

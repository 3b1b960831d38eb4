//! DecompX: every row as a sum of what each input token gave to it, carried through all layers and the classifier without mixing.
//!
//! ```text
//! x_i = Σ_k t_ik        attention   t'_ik = Σ_h Σ_j A^h_ij·W_O^h·W_V^h·t_jk + t_ik, then the bias W_O·b_V + b_O  (first layer: b_V stays with token j)
//! norm        γ ⊙ c(t)/s, then the bias β            linear map   W·t, then the bias b
//! activation  t ⊙ f(z)/z  (zero-origin-slope)        t ⊙ f'(z), then the bias f(z) − f'(z)·z  (linear-approximation)
//!             t ⊙ [z > 0] (relu-mask; after the blocks: zero-origin-slope)
//! a bias b    t_k += |⟨t_k, b⟩| / Σ_k' |⟨t_k', b⟩| · b  (absdot), or given to no one (none)
//! ```
//!
//! Source: Modarressi et al. 2023 (arXiv 2306.02873), sections 3 and 4; at the end stands a signed score for each class.
//! We differ: no 1e-12 is added to divisors; f(z)/z at 0 is f'(0); a bias that meets nothing (all products 0) is spread evenly.
//! It explains the logit, whatever score is asked for. Only for classifiers: it needs the whole way to be known, and few outputs.
//! Passes: one walk up; n²·(4·`d_model`² + 2·`d_model`·`d_ff`) multiplications a layer, about as much as n walks up. Memory: three times
//! n²·`d_model` numbers (these parts are the method), and a few rows times n·`d_ff`: refused beforehand where it does not fit.
//! Promise: with biases and no relu-mask, scores of all positions sum to the logit.

use std::any::Any;

use pellucid_core::{
    Control, Engine, Error, Input, Method, Outcome, Question, Result, Score,
    kernels::{Packed, activate, product_parallel},
    model::{Attention, Description, Linear, NormKind, Outputs},
    pass::fast::Element,
    tape::{Op, derivative},
    walk::{
        Estimate,
        down::Term,
        mix::{Anatomy, Mixed, Mixer, Order, Stage},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    mixing::{self, Answers, Reading},
    propagation::promise,
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "decompx",
    summary: "carries what each token gave to every row through all layers and the classifier",
    needs: "a classifier with norms behind, as BERT; no gradients",
    promise: "with biases shared and no relu-mask, scores of all positions sum to the logit",
    cost: "about n walks up; memory of three times n² · d_model numbers",
    source: "Modarressi et al. 2023, arXiv 2306.02873",
    docs: include_str!("decompx.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<DecompX>("decompx", parameters)?)),
};

/// How parts pass an activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approximation {
    /// Along the line from 0 to the point: times f(z)/z.
    #[default]
    ZeroOriginSlope,
    /// Along the tangent: times f'(z), what is missing shared as a bias.
    LinearApproximation,
    /// Where z is above 0, and not elsewhere.
    ReluMask,
}

/// What becomes of biases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Biases {
    /// Each part gets a share by the magnitude of its product with the bias.
    #[default]
    Absdot,
    /// They are given to no one.
    None,
}

/// Parameters of DecompX.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecompX {
    /// How parts pass activations.
    pub activation: Approximation,
    /// What becomes of biases.
    pub biases: Biases,
}

/// Rows of an input, each in one part a token: `[row, token, width]`.
struct Parted<T> {
    data: Vec<T>,
    width: usize,
}

/// Numbers of the feed-forward network's middle that are held at a time.
const HELD: usize = 8 << 20;

impl DecompX {
    /// Scores of every position for every class, `[position][class]`.
    ///
    /// # Errors
    /// A model that is not a classifier or whose blocks hold something there is no rule for; too little memory; as [`Engine::mix`].
    pub fn classes(&self, engine: &Engine<'_>, input: &Input, terms: &[Term]) -> Result<(Vec<Vec<f64>>, Mixed)> {
        let model = engine.model.description();
        self.fits(model)?;
        let (needs, may) = (bytes(engine, input), engine.memory()?);
        if engine.estimate_mix(input)?.peak_bytes + needs > may {
            return Err(Error::Memory(format!(
                "decompx needs about {} MiB for the parts of {} tokens, but may take {} MiB: allow more with --max-memory, or explain a shorter input",
                needs.div_ceil(1 << 20),
                input.len(),
                may >> 20
            )));
        }
        let rows = (0..engine.model.scores()).map(|c| engine.output_row(c as u32)).collect::<Result<Vec<_>>>()?;
        let mut up = Up { method: self, parts: None, network: model.d_ff.max(model.d_model), finished: Vec::new() };
        // The head is shown only when something is scored.
        let first = [Term { row: 0, output: 0, score: Score::Logit, temperature: 1.0, weight: 1.0 }];
        let mixed = engine.mix(input, &Control::none(), if terms.is_empty() { &first } else { terms }, Order::Up, &mut up)?;
        let n = input.len();
        let (width, bias) = (up.finished.len() / n, rows.iter().map(|r| r.1).collect::<Vec<f64>>());
        let scores = up.finished.chunks_exact(width).flat_map(|part| rows.iter().map(|(w, _)| dot(w, part)).collect::<Vec<_>>());
        let mut scores = Parted { data: scores.collect(), width: bias.len() };
        self.share(&mut scores, n, |_| &bias);
        Ok((scores.data.chunks_exact(bias.len()).map(<[f64]>::to_vec).collect(), mixed))
    }

    /// Gives the bias of each row (`[width]`) to the row's parts.
    fn share<'b, T: Element>(&self, parts: &mut Parted<T>, tokens: usize, bias: impl Fn(usize) -> &'b [T]) {
        if self.biases == Biases::None {
            return;
        }
        for (r, row) in parts.data.chunks_exact_mut(tokens * parts.width).enumerate() {
            let bias = bias(r);
            let meets = |part: &[T]| part.iter().zip(bias).map(|(t, b)| t.to_f64() * b.to_f64()).sum::<f64>().abs();
            let weights: Vec<f64> = row.chunks_exact(parts.width).map(meets).collect();
            let sum: f64 = weights.iter().sum();
            for (part, w) in row.chunks_exact_mut(parts.width).zip(weights) {
                let w = T::from_f64(if sum > 0.0 { w / sum } else { 1.0 / tokens as f64 });
                part.iter_mut().zip(bias).for_each(|(t, b)| *t += w * *b);
            }
        }
    }

    /// Sends parts from node `from` (rows `rows` of it) on to the stage's output.
    fn through<T: Element>(&self, stage: &Stage<'_, T>, from: usize, parts: Parted<T>, rows: &[usize], in_head: bool) -> Result<Parted<T>> {
        let tokens = parts.data.len() / parts.width / rows.len();
        let output = stage.tape.output;
        let mut made: Vec<Option<Parted<T>>> = (0..=output).map(|_| None).collect();
        let mut origin = rows.to_vec();
        made[from] = Some(parts);
        for at in from + 1..=output {
            let node = stage.node(at);
            let operands = node.op.operands();
            if !operands.iter().any(|o| made[*o].is_some()) {
                continue;
            }
            let last_use = |o: usize| !stage.readers(o).iter().any(|r| *r > at);
            let mut take = |o: usize| -> Result<Parted<T>> {
                let lacking = || Error::Unsupported("decompx cannot follow a block that adds something from before its attention".into());
                if last_use(o) {
                    made[o].take().ok_or_else(lacking)
                } else {
                    made[o].as_ref().map(|p| Parted { data: p.data.clone(), width: p.width }).ok_or_else(lacking)
                }
            };
            let z = |o: usize, r: usize| &stage.node(o).data()[origin[r] * stage.node(o).width()..][..stage.node(o).width()];
            made[at] = Some(match &node.op {
                Op::Linear { x, map } => {
                    let x = take(*x)?;
                    let (mut out, matrix) = (mapped(&x, stage, map), stage.matrix(map));
                    if let Some(bias) = matrix.bias() {
                        self.share(&mut out, tokens, |_| bias);
                    }
                    out
                }
                Op::Norm { x, norm } if norm.width == node.width() => {
                    let mut out = take(*x)?;
                    stage.linear_part(norm, &mut out.data);
                    for (r, row) in out.data.chunks_exact_mut(tokens * out.width).enumerate() {
                        let by = T::from_f64(1.0 / deviation(z(*x, r), norm.kind, norm.epsilon));
                        row.iter_mut().for_each(|t| *t *= by);
                    }
                    if let Some(shift) = stage.norm(norm).1 {
                        self.share(&mut out, tokens, |_| shift);
                    }
                    out
                }
                Op::Activation { x, function } => {
                    let mut out = take(*x)?;
                    let mut f = (0..origin.len()).flat_map(|r| z(*x, r).to_vec()).collect::<Vec<T>>();
                    let before = f.clone();
                    activate(&mut f, *function);
                    let pairs = || before.iter().zip(&f);
                    let slope = |z: T, f: T| match self.activation {
                        Approximation::LinearApproximation => derivative(*function, z, f),
                        Approximation::ReluMask if !in_head => {
                            if z > T::ZERO {
                                T::ONE
                            } else {
                                T::ZERO
                            }
                        }
                        _ if z == T::ZERO => derivative(*function, z, f),
                        _ => f / z,
                    };
                    let slopes: Vec<T> = pairs().map(|(z, f)| slope(*z, *f)).collect();
                    for (row, slopes) in out.data.chunks_exact_mut(tokens * out.width).zip(slopes.chunks_exact(out.width)) {
                        row.chunks_exact_mut(slopes.len()).for_each(|part| part.iter_mut().zip(slopes).for_each(|(t, m)| *t *= *m));
                    }
                    if self.activation == Approximation::LinearApproximation {
                        let missing: Vec<T> = pairs().zip(&slopes).map(|((z, f), m)| *f - *m * *z).collect();
                        let width = out.width;
                        self.share(&mut out, tokens, |r| &missing[r * width..(r + 1) * width]);
                    }
                    out
                }
                Op::Add { x, y } => {
                    let (mut out, y) = (take(*x)?, take(*y)?);
                    out.data.iter_mut().zip(&y.data).for_each(|(a, b)| *a += *b);
                    out
                }
                Op::Select { x, rows } => {
                    let x = take(*x)?;
                    let of = |r: &usize| origin.iter().position(|o| o == r).expect("the head is given every row");
                    let row = tokens * x.width;
                    let data = rows.iter().flat_map(|r| x.data[of(r) * row..(of(r) + 1) * row].to_vec()).collect();
                    origin = (0..rows.len()).collect();
                    Parted { data, width: x.width }
                }
                Op::Mean { x, from: 0 } => {
                    let x = take(*x)?;
                    let row = tokens * x.width;
                    let mut data = vec![T::ZERO; row];
                    let by = T::from_f64(1.0 / origin.len() as f64);
                    x.data.chunks_exact(row).for_each(|x| data.iter_mut().zip(x).for_each(|(m, x)| *m += by * *x));
                    origin = vec![0];
                    Parted { data, width: x.width }
                }
                _ => {
                    return Err(Error::Unsupported(
                        "decompx has no rule for something in this model's blocks: it is for BERT-like classifiers".into(),
                    ));
                }
            });
        }
        made[output].take().ok_or_else(|| Error::Unsupported("decompx: the block's output does not depend on its attention".into()))
    }

    /// One block.
    fn block<T: Element>(&self, stage: &Stage<'_, T>, before: Option<Parted<T>>, network: usize) -> Result<Parted<T>> {
        let anatomy = stage.anatomy()?;
        let Some(middle) = anatomy.middle.filter(|_| anatomy.norm_after_attention.is_some() && anatomy.scale.is_none()) else {
            return Err(Error::Unsupported("decompx needs blocks with norms behind, as BERT has them".into()));
        };
        let (x, n, first) = (stage.node(anatomy.x), stage.output().count(), before.is_none());
        let d = x.width();
        let before = before.unwrap_or_else(|| {
            let mut data = vec![T::ZERO; n * n * d];
            x.data().chunks_exact(d).enumerate().for_each(|(i, row)| data[(i * n + i) * d..][..d].copy_from_slice(row));
            Parted { data, width: d }
        });
        let (values, bias) = self.values(stage, &anatomy, &before, first)?;
        let Attention { heads, kv_heads, d_head, .. } = anatomy.shape;
        let mut out = Parted { data: Vec::with_capacity(n * n * d), width: d };
        let some = (HELD / (n * network)).max(1);
        for start in (0..n).step_by(some) {
            stage.patterns(start..(start + some).min(n), &mut |block, patterns| {
                let rows: Vec<usize> = block.clone().collect();
                let mut mixed = Parted { data: vec![T::ZERO; rows.len() * n * heads * d_head], width: heads * d_head };
                let mut one = vec![T::ZERO; rows.len() * n * d_head];
                for (h, pattern) in patterns.iter().enumerate() {
                    product_parallel(&mut one, n * d_head, pattern, n, rows.len(), &values[h / (heads / kv_heads)], None, false);
                    let into = mixed.data.chunks_exact_mut(heads * d_head);
                    into.zip(one.chunks_exact(d_head)).for_each(|(to, from)| to[h * d_head..(h + 1) * d_head].copy_from_slice(from));
                }
                let mut parts = mapped(&mixed, stage, &anatomy.projection);
                drop(mixed);
                parts.data.iter_mut().zip(&before.data[block.start * n * d..]).for_each(|(a, b)| *a += *b);
                self.share(&mut parts, n, |_| &bias);
                out.data.extend(self.through(stage, middle, parts, &rows, false)?.data);
                Ok(())
            })?;
        }
        Ok(out)
    }

    /// Values of all parts, for each key head packed so that a pattern times it is `[query, (token, d_head)]`; and `W_O·b_V + b_O`.
    fn values<T: Element>(
        &self,
        stage: &Stage<'_, T>,
        anatomy: &Anatomy,
        before: &Parted<T>,
        first: bool,
    ) -> Result<(Vec<Packed<T>>, Vec<T>)> {
        let Attention { heads, kv_heads, d_head, .. } = anatomy.shape;
        let (n, own) = (stage.output().count(), stage.node(anatomy.values));
        let Op::Linear { x: 0, map } = &own.op else {
            return Err(Error::Unsupported("decompx needs values that are a linear map of the block's input".into()));
        };
        let (weight, projection) = (stage.matrix(map), stage.matrix(&anatomy.projection));
        let of_head = |h: usize| {
            let mut values = vec![T::ZERO; n * n * d_head];
            if first {
                // Each row has but one part, its own, and the value's bias is that token's.
                for (j, row) in own.data().chunks_exact(own.width()).enumerate() {
                    values[(j * n + j) * d_head..][..d_head].copy_from_slice(&row[h * d_head..(h + 1) * d_head]);
                }
            } else {
                let rows: Vec<Vec<T>> = weight.dense()[h * d_head * before.width..(h + 1) * d_head * before.width]
                    .chunks_exact(before.width)
                    .map(|row| row.iter().map(|w| T::from_f32(*w)).collect())
                    .collect();
                let packed = Packed::from_rows(before.width, rows.iter().map(|r| &r[..]));
                product_parallel(&mut values, d_head, &before.data, before.width, n * n, &packed, None, false);
            }
            Packed::from_columns(n * d_head, values.chunks_exact(n * d_head))
        };
        let values = (0..kv_heads).map(of_head).collect();
        let mut bias = projection.bias().map_or_else(|| vec![T::ZERO; projection.outputs()], <[T]>::to_vec);
        if let Some(own) = weight.bias().filter(|_| !first) {
            for (out, row) in bias.iter_mut().zip(projection.dense().chunks_exact(projection.inputs())) {
                for (h, row) in row.chunks_exact(d_head).enumerate() {
                    let own = &own[h / (heads / kv_heads) * d_head..];
                    *out += row.iter().zip(own).map(|(w, b)| T::from_f32(*w) * *b).sum();
                }
            }
        }
        Ok((values, bias))
    }
}

/// `W·t` of every part, no bias.
fn mapped<T: Element>(x: &Parted<T>, stage: &Stage<'_, T>, map: &Linear) -> Parted<T> {
    let (rows, matrix) = (x.data.len() / x.width, stage.matrix(map));
    let mut data = vec![T::ZERO; rows * matrix.outputs()];
    product_parallel(&mut data, matrix.outputs(), &x.data, x.width, rows, matrix.forward(), None, false);
    Parted { data, width: matrix.outputs() }
}

fn deviation<T: Element>(row: &[T], kind: NormKind, epsilon: f64) -> f64 {
    let d = row.len() as f64;
    let mean = if kind == NormKind::Layer { row.iter().map(|x| x.to_f64()).sum::<f64>() / d } else { 0.0 };
    let square = row.iter().map(|x| (x.to_f64() - mean) * (x.to_f64() - mean)).sum::<f64>() / d;
    (square + epsilon).sqrt().max(f64::from(f32::MIN_POSITIVE))
}

fn dot(weights: &[f32], part: &[f64]) -> f64 {
    weights.iter().zip(part).map(|(w, t)| f64::from(*w) * t).sum()
}

/// Bytes of the parts: those that come, their values, those that go, and rows of a network's middle.
fn bytes(engine: &Engine<'_>, input: &Input) -> u64 {
    let (d, n) = (engine.model.description(), input.len() as u64);
    let width = (2 * d.d_model + 2 * d.kv_heads * d.d_head) as u64;
    let middle = (3 * HELD as u64).max(3 * n * d.d_ff as u64);
    engine.compute.bytes() as u64 * (n * n * width + middle)
}

struct Up<'a> {
    method: &'a DecompX,
    /// A `Parted` of the walk's own number type.
    parts: Option<Box<dyn Any>>,
    network: usize,
    /// The head's last row, `[token, width]`.
    finished: Vec<f64>,
}

impl Up<'_> {
    fn take<T: Element>(&mut self) -> Option<Parted<T>> {
        self.parts.take().map(|parts| *parts.downcast::<Parted<T>>().expect("one walk is in one number type"))
    }
}

impl Mixer for Up<'_> {
    fn block<T: Element>(&mut self, stage: &Stage<'_, T>) -> Result<()> {
        let before = self.take();
        self.parts = Some(Box::new(self.method.block::<T>(stage, before, self.network)?));
        Ok(())
    }

    fn head<T: Element>(&mut self, stage: &Stage<'_, T>, _: &[usize]) -> Result<()> {
        let parts = self.take::<T>().expect("a model has blocks");
        let rows: Vec<usize> = (0..stage.node(0).count()).collect();
        let finished = if stage.tape.output == 0 { parts } else { self.method.through(stage, 0, parts, &rows, true)? };
        self.finished = finished.data.iter().map(|t| t.to_f64()).collect();
        Ok(())
    }
}

impl Method for DecompX {
    fn id(&self) -> &'static str {
        "decompx"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn fits(&self, model: &Description) -> Result<()> {
        match model.outputs {
            Outputs::Classes { .. } if !model.causal => Ok(()),
            _ => Err(Error::Unsupported(format!(
                "decompx needs a BERT-like classifier: it carries parts as far as the classes; this {} model is none: use alti or alti-logit",
                model.architecture
            ))),
        }
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        self.fits(engine.model.description())?;
        let d = engine.model.description();
        let work = (8 * d.d_model * d.d_model + 4 * d.d_model * d.d_ff) as f64;
        let mut sum = mixing::estimate_all(engine, question, work)?;
        sum.peak_bytes = engine.estimate_mix(&question.prompt)?.peak_bytes + bytes(engine, &question.prompt);
        Ok(sum)
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        self.fits(engine.model.description())?;
        let mut answers = Answers::default();
        let mut promises = Vec::new();
        for Reading { input, terms } in mixing::readings(engine, question, Score::Logit)? {
            let (scores, mixed) = self.classes(engine, &input, &terms)?;
            let of = |term: &Term| scores.iter().map(|row| row[term.output as usize]).collect::<Vec<f64>>();
            let each: Vec<Vec<f64>> = terms.iter().map(of).collect();
            // The classifier's contrast is a term of the same reading; the promise is of the target alone.
            if self.biases == Biases::Absdot && self.activation != Approximation::ReluMask {
                promises.push(promise("conservation", 0, mixed.scores[0].logit, each[0].iter().sum()));
            }
            answers.add(mixed.scores, each, mixed.cost);
        }
        Ok(Outcome { promises, ..answers.outcome(question) })
    }
}

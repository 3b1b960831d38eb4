//! Attention on the way down: the pattern and what reaches it, a block of query rows at a time, so that no n×n tensor exists.
//!
//! ```text
//! forward    S = scale·Q·Kᵀ    A = softmax(S)    O = A·V
//! gradient   ∂A = ∂O·Vᵀ        ∂V = Aᵀ·∂O        ∂S = A ⊙ (∂A − Σ_k A∂A)    ∂Q = scale·∂S·K    ∂K = scale·∂Sᵀ·Q
//! αβ rules   s = R/O           R_A = ½·A ⊙ (s·Vᵀ)   R_V = ½·V ⊙ (Aᵀ·s)      t = R_A/(Q·Kᵀ)     R_Q = ½·Q ⊙ (t·K)   R_K = ½·K ⊙ (tᵀ·Q)
//! ```
//!
//! Memory: for each head its own rows of q, k and v once more for each signal, and a block of rows of the pattern and of each signal at it.

use std::ops::Range;

use pellucid_kernels::{Factors, Packed, product, soften_rows};
use rayon::prelude::*;

use super::relevance::quotient;
use crate::{
    Result,
    control::Control,
    model::Attention,
    pass::fast::{Element, Rows, dense},
    rules::{AttentionRule, Rules},
};

/// How a pattern and the signals at it are combined, entry by entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// A.
    Pattern,
    /// Signal *i* at the pattern: its derivative, or its relevance. Of keys that a row does not see, too.
    Signal(usize),
    /// `(A ⊙ signal)⁺`.
    PositiveProduct(usize),
    /// `(signal ⊙ other signal)⁺`.
    PositiveSignals(usize, usize),
    /// `signal⁺`.
    PositiveSignal(usize),
    /// Signal *i* at the scaled scores, before the softmax. Gradient rules only.
    ScoreSignal(usize),
}

impl Combine {
    /// The signals it needs.
    fn signals(self) -> [Option<usize>; 2] {
        match self {
            Combine::Pattern => [None, None],
            Combine::Signal(s) | Combine::PositiveProduct(s) | Combine::PositiveSignal(s) | Combine::ScoreSignal(s) => [Some(s), None],
            Combine::PositiveSignals(s, t) => [Some(s), Some(t)],
        }
    }
}

/// What becomes of the heads.
#[derive(Clone, Debug, PartialEq)]
pub enum Heads {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// Their sum with these weights.
    Weighted(Vec<f64>),
    /// All of them.
    Each,
}

/// Something that is looked at at every pattern. Of an input that has no such signal, nothing is seen: an empty entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// How.
    pub of: Combine,
    /// Over which heads.
    pub heads: Heads,
}

/// Some query rows of one layer's attention.
#[derive(Debug)]
pub struct Patterns<'a> {
    /// Which input of the walk.
    pub descent: usize,
    /// Which block.
    pub layer: usize,
    /// Query rows.
    pub rows: Range<usize>,
    /// Keys.
    pub keys: usize,
    /// One per [`Look`]: `[row, key]`, or `[head, row, key]` where each head is wanted.
    pub looks: &'a [Vec<f64>],
}

/// Told of a block of rows.
pub type SeeRows<'a, V> = dyn FnMut(Range<usize>, &[V]) -> Result<()> + 'a;

/// Rows of scores that are held at a time, at most.
const BLOCK: usize = 64;
/// Numbers that a block may take, over all heads.
const HELD: usize = 8 << 20;
/// Keys that are packed together: what a causal block does not see is not multiplied.
const KEYS: usize = 256;

/// Query rows in a block.
fn block_rows(heads: usize, keys: usize, looks: usize) -> usize {
    (HELD / (heads * keys.next_multiple_of(32) * looks.max(1))).clamp(8, BLOCK)
}

/// Numbers that a block of `keys` keys holds under so many signals and looks.
pub(crate) fn block_numbers(heads: usize, keys: usize, signals: usize, looks: usize) -> usize {
    block_rows(heads, keys, looks).min(keys) * heads * keys.next_multiple_of(32) * (3 + 2 * signals + looks)
}

/// One attention on a tape.
pub(super) struct Site<'a, T: Element> {
    pub(super) q: &'a Rows<T>,
    pub(super) k: &'a Rows<T>,
    pub(super) v: &'a Rows<T>,
    pub(super) out: &'a Rows<T>,
    pub(super) attention: &'a Attention,
    pub(super) control: &'a Control,
    pub(super) parallel: bool,
}

/// A signal that arrives at the output.
pub(super) struct Arrival<T: Element> {
    pub(super) rules: Rules,
    pub(super) rows: Rows<T>,
}

/// What goes on to queries, keys and values.
pub(super) type Departure<T> = [Rows<T>; 3];

/// Keys and values of one head, packed by parts.
struct Side<T> {
    parts: Vec<Range<usize>>,
    /// Keys as outputs: `x·Kᵀ`.
    keys: Vec<Packed<T>>,
    /// Values as outputs: `x·Vᵀ`.
    values: Vec<Packed<T>>,
    /// Keys as inputs: `x·K`.
    keys_back: Vec<Packed<T>>,
}

/// One query head on its way through the blocks: per signal, `[row, d_head]` each.
struct Head<T> {
    index: usize,
    dq: Vec<Vec<T>>,
    dk: Vec<Vec<T>>,
    dv: Vec<Vec<T>>,
}

/// The columns of one head, row by row.
fn head<T: Element>(x: &Rows<T>, head: usize, d: usize) -> impl ExactSizeIterator<Item = &[T]> + Clone {
    x.data.chunks_exact(x.width).map(move |row| &row[head * d..(head + 1) * d])
}

impl<T: Element> Site<'_, T> {
    /// Sends signals through, and shows every block of rows.
    pub(super) fn descend(&self, signals: &[Arrival<T>], looks: &[Look], see: &mut SeeRows<'_, Vec<f64>>) -> Result<Vec<Departure<T>>> {
        let Attention { heads, kv_heads, d_head: d, .. } = *self.attention;
        let n = self.k.rows();
        let sides: Vec<Side<T>> = self.map((0..kv_heads).collect(), |h| self.side(h, !signals.is_empty()));
        let zeros = |_: usize| signals.iter().map(|_| vec![T::ZERO; n * d]).collect::<Vec<_>>();
        let mut states: Vec<Head<T>> = (0..heads).map(|index| Head { index, dq: zeros(0), dk: zeros(1), dv: zeros(2) }).collect();
        let block = block_rows(heads, n, looks.len());
        for first in (0..n).step_by(block) {
            let rows = first..(first + block).min(n);
            let step = |state: &mut Head<T>| self.step(state, &sides[state.index / (heads / kv_heads)], rows.clone(), signals, looks);
            let seen: Vec<Vec<Vec<T>>> =
                if self.parallel { states.par_iter_mut().map(step).collect() } else { states.iter_mut().map(step).collect() };
            if !looks.is_empty() {
                let combined: Vec<Vec<f64>> = looks.iter().enumerate().map(|(l, look)| over_heads(&seen, l, &look.heads)).collect();
                see(rows, &combined)?;
            }
        }
        Ok((0..signals.len()).map(|s| self.depart(&mut states, s, signals[s].rules)).collect())
    }

    fn map<R: Send>(&self, items: Vec<usize>, work: impl Fn(usize) -> R + Send + Sync) -> Vec<R> {
        if self.parallel { items.into_par_iter().map(work).collect() } else { items.into_iter().map(work).collect() }
    }

    fn side(&self, kv_head: usize, back: bool) -> Side<T> {
        let (n, d) = (self.k.rows(), self.attention.d_head);
        let parts: Vec<Range<usize>> = (0..n).step_by(KEYS).map(|first| first..(first + KEYS).min(n)).collect();
        let of = |x| -> Vec<&[T]> { head(x, kv_head, d).collect() };
        let (k, v) = (of(self.k), of(self.v));
        Side {
            keys: parts.iter().map(|p| Packed::from_rows(d, k[p.clone()].iter().copied())).collect(),
            values: if back { parts.iter().map(|p| Packed::from_rows(d, v[p.clone()].iter().copied())).collect() } else { Vec::new() },
            keys_back: if back {
                parts.iter().map(|p| Packed::from_columns(d, k[p.clone()].iter().copied())).collect()
            } else {
                Vec::new()
            },
            parts,
        }
    }

    /// One head, one block of rows. Gives what each look sees, `[row, key]`.
    fn step(&self, state: &mut Head<T>, side: &Side<T>, rows: Range<usize>, signals: &[Arrival<T>], looks: &[Look]) -> Vec<Vec<T>> {
        let (n, d, h) = (self.k.rows(), self.attention.d_head, state.index);
        let everything = looks.iter().any(|l| matches!(l.of, Combine::Signal(_)));
        let keys = if self.attention.causal && !everything { rows.end } else { n };
        let stride = keys.next_multiple_of(32);
        let q: Vec<T> = head(self.q, h, d).skip(rows.start).take(rows.len()).flatten().copied().collect();
        let mut raw = Rows::unwritten(rows.len(), stride);
        times(&mut raw, &q, d, &side.parts, &side.keys, keys);
        let factors = self.control.acts_in(self.attention.layer).then(|| dense::<T>(self.control, n));
        let soften = |temperature: f64| {
            let mut pattern = super::copy(&raw);
            let seen = |r: usize| if self.attention.causal { rows.start + r + 1 } else { n };
            let factors = factors.as_ref().map(|keys| Factors { mode: self.control.mode().into(), keys });
            soften_rows(&mut pattern.data, stride, keys, seen, self.attention.scale / temperature, factors.as_ref());
            pattern
        };
        let pattern = soften(1.0);
        let mut at_pattern: Vec<Rows<T>> = Vec::new();
        let mut at_scores: Vec<Option<Rows<T>>> = Vec::new();
        for (s, signal) in signals.iter().enumerate() {
            let mut arriving: Vec<T> = head(&signal.rows, h, d).skip(rows.start).take(rows.len()).flatten().copied().collect();
            if let Rules::AlphaBeta(_) = signal.rules {
                let out = head(self.out, h, d).skip(rows.start).take(rows.len()).flatten();
                arriving.iter_mut().zip(out).for_each(|(r, o)| *r = quotient(*r, *o));
            }
            let mut reached = Rows::unwritten(rows.len(), stride);
            times(&mut reached, &arriving, d, &side.parts, &side.values, keys);
            let turned = Packed::from_columns(d, arriving.chunks_exact(d));
            back_to_keys(&mut state.dv[s], &pattern, &turned, keys, d);
            let towards_scores = match signal.rules {
                Rules::AlphaBeta(_) => {
                    let half = T::from_f64(0.5);
                    reached.data.iter_mut().zip(&pattern.data).for_each(|(r, a)| *r = half * *r * *a);
                    let mut through = super::copy(&reached);
                    through.data.iter_mut().zip(&raw.data).for_each(|(t, z)| *t = quotient(*t, *z));
                    Some(through)
                }
                Rules::Gradient(rules) => match rules.attention {
                    AttentionRule::ConstantPattern => None,
                    AttentionRule::Derivative | AttentionRule::Uniform => Some(through_softmax(&pattern, &reached, keys)),
                    AttentionRule::UniformSoftened => Some(through_softmax(&soften(2.0), &reached, keys)),
                },
            };
            if let Some(scores) = &towards_scores {
                let mut dq = Rows::<T>::unwritten(rows.len(), d);
                dq.data.fill(T::ZERO);
                for (part, packed) in side.parts.iter().zip(&side.keys_back).filter(|(p, _)| p.start < keys) {
                    // Columns past `keys` are zeros: a causal row does not see them.
                    let width = part.end.min(stride) - part.start;
                    if width == packed.inputs() {
                        product(&mut dq.data, d, &scores.data[part.start..], stride, rows.len(), packed, None, true);
                    } else {
                        let rest: Vec<&[T]> = head(self.k, h / (self.attention.heads / self.attention.kv_heads), d)
                            .skip(part.start)
                            .take(keys - part.start)
                            .collect();
                        let packed = Packed::from_columns(d, rest.iter().copied());
                        product(&mut dq.data, d, &scores.data[part.start..], stride, rows.len(), &packed, None, true);
                    }
                }
                state.dq[s][rows.start * d..rows.end * d].copy_from_slice(&dq.data);
                back_to_keys(&mut state.dk[s], scores, &Packed::from_columns(d, q.chunks_exact(d)), keys, d);
            }
            at_pattern.push(reached);
            at_scores.push(towards_scores);
        }
        looks.iter().map(|look| looked(look.of, &pattern, &at_pattern, &at_scores, keys, n)).collect()
    }

    /// Heads side by side again, those that share keys added up; and what the rules still multiply with.
    fn depart(&self, states: &mut [Head<T>], s: usize, rules: Rules) -> Departure<T> {
        let Attention { heads, kv_heads, d_head: d, scale, .. } = *self.attention;
        let mut q = Rows::unwritten(self.q.rows(), self.q.width);
        let mut k = Rows::unwritten(self.k.rows(), self.k.width);
        let mut v = Rows::unwritten(self.v.rows(), self.v.width);
        k.data.fill(T::ZERO);
        v.data.fill(T::ZERO);
        let put = |out: &mut Rows<T>, from: &[T], head: usize| {
            let width = out.width;
            for (out, x) in out.data.chunks_exact_mut(width).zip(from.chunks_exact(d)) {
                out[head * d..(head + 1) * d].iter_mut().zip(x).for_each(|(o, x)| *o += *x);
            }
        };
        q.data.fill(T::ZERO);
        for state in states.iter_mut() {
            let kv = state.index / (heads / kv_heads);
            put(&mut q, &std::mem::take(&mut state.dq[s]), state.index);
            put(&mut k, &std::mem::take(&mut state.dk[s]), kv);
            put(&mut v, &std::mem::take(&mut state.dv[s]), kv);
        }
        let by = |x: &mut Rows<T>, factor: f64| x.data.iter_mut().for_each(|x| *x *= T::from_f64(factor));
        match rules {
            Rules::AlphaBeta(_) => {
                for (out, x) in [(&mut q, self.q), (&mut k, self.k), (&mut v, self.v)] {
                    let half = T::from_f64(0.5);
                    out.data.iter_mut().zip(&x.data).for_each(|(o, x)| *o = half * *o * *x);
                }
            }
            Rules::Gradient(rules) => {
                // Uniform rule: pattern·v gives 1/2 to v; the other half reaches q·k, which halves it again.
                let (scores, values) = match rules.attention {
                    AttentionRule::Derivative | AttentionRule::ConstantPattern => (scale, 1.0),
                    AttentionRule::Uniform | AttentionRule::UniformSoftened => (scale / 4.0, 0.5),
                };
                by(&mut q, scores);
                by(&mut k, scores);
                by(&mut v, values);
            }
        }
        [q, k, v]
    }
}

/// `out[row, key] = x·Pᵀ` for the parts that begin before `keys`; columns past `keys` are 0.
fn times<T: Element>(out: &mut Rows<T>, x: &[T], d: usize, parts: &[Range<usize>], packed: &[Packed<T>], keys: usize) {
    let (rows, stride) = (x.len() / d, out.width);
    let mut spare = Vec::new();
    for (part, packed) in parts.iter().zip(packed).filter(|(p, _)| p.start < keys) {
        if part.end <= stride {
            product(&mut out.data[part.start..], stride, x, d, rows, packed, None, false);
        } else {
            spare.resize(rows * part.len(), T::ZERO);
            product(&mut spare, part.len(), x, d, rows, packed, None, false);
            let kept = stride - part.start;
            let out = out.data.chunks_exact_mut(stride).zip(spare.chunks_exact(part.len()));
            out.for_each(|(out, x)| out[part.start..].copy_from_slice(&x[..kept]));
        }
    }
    out.data.chunks_exact_mut(stride).for_each(|row| row[keys..].fill(T::ZERO));
}

/// `out[key, d] += Xᵀ·Y` with `X` of shape `[row, key]` and `Y` packed by rows.
fn back_to_keys<T: Element>(out: &mut [T], x: &Rows<T>, y: &Packed<T>, keys: usize, d: usize) {
    let rows = x.rows();
    let mut turned = Rows::<T>::unwritten(KEYS, rows);
    for first in (0..keys).step_by(KEYS) {
        let count = KEYS.min(keys - first);
        for (r, row) in x.data.chunks_exact(x.width).enumerate() {
            row[first..first + count].iter().enumerate().for_each(|(k, x)| turned.data[k * rows + r] = *x);
        }
        product(&mut out[first * d..(first + count) * d], d, &turned.data, rows, count, y, None, true);
    }
}

/// `A ⊙ (G − Σ_k A·G)`, row by row.
fn through_softmax<T: Element>(pattern: &Rows<T>, reached: &Rows<T>, keys: usize) -> Rows<T> {
    let mut out = Rows::unwritten(pattern.rows(), pattern.width);
    let stride = pattern.width;
    let rows = out.data.chunks_exact_mut(stride).zip(pattern.data.chunks_exact(stride)).zip(reached.data.chunks_exact(stride));
    for ((out, a), g) in rows {
        let mut lanes = [T::ZERO; 16];
        for (a, g) in a.chunks(16).zip(g.chunks(16)) {
            lanes.iter_mut().zip(a).zip(g).for_each(|((l, a), g)| *l += *a * *g);
        }
        let mean: T = lanes.into_iter().sum();
        out.iter_mut().zip(a).zip(g).for_each(|((o, a), g)| *o = *a * (*g - mean));
        out[keys..].fill(T::ZERO);
    }
    out
}

/// What a look sees, `[row, key]` for all `n` keys.
fn looked<T: Element>(
    of: Combine,
    pattern: &Rows<T>,
    at_pattern: &[Rows<T>],
    at_scores: &[Option<Rows<T>>],
    keys: usize,
    n: usize,
) -> Vec<T> {
    if of.signals().into_iter().flatten().any(|s| s >= at_pattern.len()) {
        return Vec::new();
    }
    let stride = pattern.width;
    let mut out = vec![T::ZERO; pattern.rows() * n];
    let positive = |x: T| if x > T::ZERO { x } else { T::ZERO };
    let mut fill = |value: &dyn Fn(Range<usize>, &mut [T])| {
        for (r, out) in out.chunks_exact_mut(n).enumerate() {
            value(r * stride..r * stride + keys, &mut out[..keys]);
        }
    };
    match of {
        Combine::Pattern => fill(&|at, out| out.copy_from_slice(&pattern.data[at])),
        Combine::Signal(s) => fill(&|at, out| out.copy_from_slice(&at_pattern[s].data[at])),
        Combine::PositiveSignal(s) => {
            fill(&|at, out| out.iter_mut().zip(&at_pattern[s].data[at]).for_each(|(o, x)| *o = positive(*x)));
        }
        Combine::PositiveProduct(s) => fill(&|at, out| {
            let both = pattern.data[at.clone()].iter().zip(&at_pattern[s].data[at]);
            out.iter_mut().zip(both).for_each(|(o, (a, g))| *o = positive(*a * *g));
        }),
        Combine::PositiveSignals(s, t) => fill(&|at, out| {
            let both = at_pattern[s].data[at.clone()].iter().zip(&at_pattern[t].data[at]);
            out.iter_mut().zip(both).for_each(|(o, (a, g))| *o = positive(*a * *g));
        }),
        Combine::ScoreSignal(s) => {
            if let Some(scores) = &at_scores[s] {
                fill(&|at, out| out.copy_from_slice(&scores.data[at]));
            }
        }
    }
    out
}

/// Heads taken together, in order, in f64.
fn over_heads<T: Element>(seen: &[Vec<Vec<T>>], look: usize, heads: &Heads) -> Vec<f64> {
    let each = || seen.iter().map(|h| &h[look]);
    let weighted = |weight: &dyn Fn(usize) -> f64| {
        let mut out = vec![0.0; seen[0][look].len()];
        for (h, x) in each().enumerate() {
            let w = weight(h);
            out.iter_mut().zip(x).for_each(|(o, x)| *o += w * x.to_f64());
        }
        out
    };
    match heads {
        Heads::Each => each().flatten().map(|x| x.to_f64()).collect(),
        Heads::Sum => weighted(&|_| 1.0),
        Heads::Mean => {
            let mut out = weighted(&|_| 1.0);
            out.iter_mut().for_each(|x| *x /= seen.len() as f64);
            out
        }
        Heads::Weighted(weights) => weighted(&|h| weights[h]),
    }
}

impl<T: Element> Site<'_, T> {
    /// The pattern of some query rows, a block of them at a time, for each head `[row, key]`.
    pub(super) fn patterns(&self, rows: Range<usize>, see: &mut SeeRows<'_, Vec<T>>) -> Result<()> {
        let Attention { heads, kv_heads, .. } = *self.attention;
        let n = self.k.rows();
        let sides: Vec<Side<T>> = self.map((0..kv_heads).collect(), |h| self.side(h, false));
        let looks = [Look { of: Combine::Pattern, heads: Heads::Each }];
        let block = block_rows(heads, n, 1);
        for first in rows.clone().step_by(block) {
            let part = first..(first + block).min(rows.end);
            let one = |index: usize| {
                let mut state = Head { index, dq: Vec::new(), dk: Vec::new(), dv: Vec::new() };
                self.step(&mut state, &sides[index / (heads / kv_heads)], part.clone(), &[], &looks).pop().expect("one look, one answer")
            };
            see(part.clone(), &self.map((0..heads).collect(), one))?;
        }
        Ok(())
    }
}

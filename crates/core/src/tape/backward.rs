//! Signals go back through a tape, each under its own rules.

use std::ops::Range;

use pellucid_kernels::{self as kernels, Activation};

use super::{
    Node, Op, Tape, Weights,
    attention::{Arrival, Look, Site},
    copy, cut, gamma, paste, relevance, turn,
};
use crate::{
    Result,
    control::Control,
    model::{Norm, NormKind, Rotary},
    pass::{
        fast::{Element, Rows, by_rows, stretch},
        rotary::RotaryTables,
    },
    prepared::PreparedNorm,
    rules::{ActivationRule, GateRule, GradientRules, NormRule, Rules},
};

/// A tape and what is needed to go back through it.
pub(crate) struct Backward<'a, T: Element> {
    pub(crate) tape: &'a Tape<T>,
    pub(crate) weights: &'a Weights<T>,
    pub(crate) rotary: &'a RotaryTables<T>,
    pub(crate) control: &'a Control,
    pub(crate) rules: &'a [Rules],
    pub(crate) parallel: bool,
}

/// Shows a block of rows at the attention of a layer: layer, rows, one entry per look.
pub(crate) type See<'a> = dyn FnMut(usize, Range<usize>, &[Vec<f64>]) -> Result<()> + 'a;

impl<T: Element> Backward<'_, T> {
    /// Sends one signal per rule set down from the output (`None`: nothing arrives) and gives back, for each, what reaches the first node that
    /// `wanted` holds for.
    pub(crate) fn run(
        &self,
        seeds: Vec<Option<Rows<T>>>,
        wanted: impl Fn(&Op) -> bool,
        looks: &[Look],
        see: &mut See<'_>,
    ) -> Result<Vec<Option<Rows<T>>>> {
        let nodes = &self.tape.nodes;
        let mut arriving: Vec<Vec<Vec<Rows<T>>>> = seeds.iter().map(|_| nodes.iter().map(|_| Vec::new()).collect()).collect();
        for (arriving, seed) in arriving.iter_mut().zip(seeds) {
            arriving[self.tape.output].extend(seed);
        }
        let mut reached: Vec<Option<Rows<T>>> = self.rules.iter().map(|_| None).collect();
        for at in (0..nodes.len()).rev() {
            let node = &nodes[at];
            if let Op::Attention { q, k, v, attention } = &node.op {
                let site = Site {
                    q: &nodes[*q].rows,
                    k: &nodes[*k].rows,
                    v: &nodes[*v].rows,
                    out: &node.rows,
                    attention,
                    control: self.control,
                    parallel: self.parallel,
                };
                let zeros = || {
                    let mut zeros = Rows::unwritten(nodes[*q].count(), node.width());
                    zeros.data.fill(T::ZERO);
                    zeros
                };
                let signals: Vec<Arrival<T>> = (0..self.rules.len())
                    .map(|s| Arrival { rules: self.rules[s], rows: self.joined(s, at, &mut arriving[s]).unwrap_or_else(zeros) })
                    .collect();
                let departed = site.descend(&signals, looks, &mut |rows, seen| see(attention.layer, rows, seen))?;
                for (s, [to_q, to_k, to_v]) in departed.into_iter().enumerate() {
                    arriving[s][*q].push(to_q);
                    arriving[s][*k].push(to_k);
                    arriving[s][*v].push(to_v);
                }
                continue;
            }
            for (s, rules) in self.rules.iter().enumerate() {
                rules.check(&node.op)?;
                let Some(signal) = self.joined(s, at, &mut arriving[s]) else { continue };
                if wanted(&node.op) {
                    reached[s] = Some(signal);
                    continue;
                }
                for (operand, rows) in self.through(*rules, at, signal) {
                    arriving[s][operand].push(rows);
                }
            }
        }
        Ok(reached)
    }

    /// Whether a linear map makes queries, keys or values, or takes what attention gives.
    fn of_attention(&self, at: usize, x: usize) -> bool {
        let nodes = &self.tape.nodes;
        let makes = |q: &[usize; 3]| q.iter().any(|q| sources(nodes, *q).contains(&at));
        let attends = |op: &Op| matches!(op, Op::Attention { q, k, v, .. } if makes(&[*q, *k, *v]));
        sources(nodes, x).into_iter().any(|s| matches!(nodes[s].op, Op::Attention { .. })) || nodes.iter().any(|n| attends(&n.op))
    }

    /// What arrives at a node from all its readers.
    fn joined(&self, s: usize, at: usize, arriving: &mut [Vec<Rows<T>>]) -> Option<Rows<T>> {
        let mut parts = std::mem::take(&mut arriving[at]);
        if let (Rules::AlphaBeta(_), true) = (self.rules[s], parts.len() > 1) {
            return Some(relevance::clone(&self.tape.nodes[at].rows, &parts));
        }
        let mut sum = parts.pop()?;
        parts.iter().for_each(|p| kernels::add(&mut sum.data, &p.data));
        Some(sum)
    }

    /// What reaches the operands of a node.
    fn through(&self, rules: Rules, at: usize, signal: Rows<T>) -> Vec<(usize, Rows<T>)> {
        let nodes = &self.tape.nodes;
        let rows = |i: usize| &nodes[i].rows;
        match (&nodes[at].op, rules) {
            (Op::Input | Op::Tokens | Op::Pixels { .. } | Op::Lookup, _) => Vec::new(),
            (Op::Learned { x, learned }, _) => {
                let mut signal = signal;
                let width = signal.width;
                learned.iter().for_each(|r| signal.data[r * width..(r + 1) * width].fill(T::ZERO));
                vec![(*x, signal)]
            }
            (Op::Attention { .. }, _) => unreachable!("attention takes all signals together"),
            (Op::Linear { x, map }, Rules::AlphaBeta(_)) if matches!(nodes[*x].op, Op::Pixels { .. }) => {
                let Op::Pixels { learned } = &nodes[*x].op else { unreachable!("matched above") };
                vec![(*x, relevance::pixels(rows(*x), learned, &signal, self.weights.matrix(map), self.parallel))]
            }
            (Op::Linear { x, map }, Rules::AlphaBeta(rules)) => {
                vec![(*x, relevance::linear(rules, rows(*x), &signal, self.weights.matrix(map), self.parallel))]
            }
            (Op::Linear { x, map }, Rules::Gradient(GradientRules { gamma: Some(by), .. })) if !self.of_attention(at, *x) => {
                let by = if matches!(nodes[*x].op, Op::Pixels { .. }) { by.convolution } else { by.linear };
                vec![(*x, gamma::linear(by, rows(*x), rows(at), &signal, self.weights.matrix(map), self.parallel))]
            }
            (Op::Linear { x, map }, Rules::Gradient(_)) => {
                let weight = self.weights.matrix(map).backward();
                let mut out = Rows::unwritten(signal.rows(), map.inputs);
                let product = if self.parallel { kernels::product_parallel } else { kernels::product };
                product(&mut out.data, map.inputs, &signal.data, signal.width, signal.rows(), weight, None, false);
                vec![(*x, out)]
            }
            (Op::Add { x, y }, Rules::AlphaBeta(rules)) => {
                let [a, b] = relevance::add(rules, rows(*x), rows(*y), &signal);
                vec![(*x, a), (*y, b)]
            }
            (Op::Add { x, y }, Rules::Gradient(_)) => vec![(*x, copy(&signal)), (*y, signal)],
            (Op::Norm { x, .. } | Op::Activation { x, .. } | Op::Scale { x, .. }, Rules::AlphaBeta(_)) => vec![(*x, signal)],
            (Op::Norm { x, norm }, Rules::Gradient(rules)) => {
                let weight = self.weights.rest.norm(norm);
                vec![(*x, through_norm(rules.norm, rows(*x), signal, norm, weight, self.parallel))]
            }
            (Op::Activation { x, function }, Rules::Gradient(rules)) => {
                let slope = slopes(rules.activation, rows(*x), rows(at), *function, self.parallel);
                vec![(*x, multiply(signal, &slope))]
            }
            (Op::Scale { x, factor }, Rules::Gradient(_)) => {
                let mut signal = signal;
                stretch(&mut signal, self.weights.rest.factor(factor));
                vec![(*x, signal)]
            }
            (Op::Gate { gate, up, function }, Rules::Gradient(rules)) => {
                let (to_gate, to_up) = through_gate(rules, rows(*gate), rows(*up), signal, *function, self.parallel);
                to_gate.map(|g| (*gate, g)).into_iter().chain([(*up, to_up)]).collect()
            }
            (Op::Rotary { x, rotary }, Rules::Gradient(_)) => {
                // Turned back: the transpose of a rotation is the rotation by the opposite angle.
                let back = Rotary { frequencies: rotary.frequencies.iter().map(|f| -f).collect(), ..rotary.clone() };
                let mut signal = signal;
                turn(&mut signal, &back, self.rotary, self.parallel);
                vec![(*x, signal)]
            }
            (Op::Gate { .. } | Op::Rotary { .. }, Rules::AlphaBeta(_)) => unreachable!("refused by Rules::check"),
            (Op::Columns { x, columns }, _) => {
                let mut out = Rows::unwritten(signal.rows(), rows(*x).width);
                out.data.fill(T::ZERO);
                paste(&mut out, &signal, columns.start);
                vec![(*x, out)]
            }
            (Op::Join { x, y }, _) => {
                let left = rows(*x).width;
                vec![(*x, cut(&signal, 0..left)), (*y, cut(&signal, left..signal.width))]
            }
            (Op::First { x, count }, rules) => {
                let width = rows(*x).width;
                let mut parts = Rows::unwritten(*count, width);
                parts.data.copy_from_slice(&signal.data);
                let which: Vec<usize> = (0..*count).collect();
                let back = match rules {
                    Rules::AlphaBeta(_) => relevance::select(rows(*x), &which, &parts),
                    Rules::Gradient(_) => scatter(rows(*x).rows(), &which, &parts),
                };
                vec![(*x, back)]
            }
            (Op::Mean { x, from }, Rules::AlphaBeta(_)) => vec![(*x, relevance::mean(rows(*x), *from, rows(at), &signal))],
            (Op::Mean { x, from }, Rules::Gradient(_)) => {
                let count = T::from_f64((rows(*x).rows() - from) as f64);
                let mut out = Rows::unwritten(rows(*x).rows(), signal.width);
                out.data[..from * signal.width].fill(T::ZERO);
                for row in out.data.chunks_exact_mut(signal.width).skip(*from) {
                    row.iter_mut().zip(&signal.data).for_each(|(o, g)| *o = *g / count);
                }
                vec![(*x, out)]
            }
            (Op::Select { x, rows: which }, Rules::AlphaBeta(_)) => vec![(*x, relevance::select(rows(*x), which, &signal))],
            (Op::Select { x, rows: which }, Rules::Gradient(_)) => {
                vec![(*x, scatter(rows(*x).rows(), which, &signal))]
            }
        }
    }
}

/// The linear maps and attentions that a node is made of, each the last of its kind.
fn sources<T: Element>(nodes: &[Node<T>], at: usize) -> Vec<usize> {
    match &nodes[at].op {
        Op::Linear { .. } | Op::Attention { .. } => vec![at],
        op => op.operands().into_iter().flat_map(|x| sources(nodes, x)).collect(),
    }
}

/// Rows added to the ones they were taken from, of `count`; zeros elsewhere.
fn scatter<T: Element>(count: usize, which: &[usize], signal: &Rows<T>) -> Rows<T> {
    let width = signal.width;
    let mut out = Rows::unwritten(count, width);
    out.data.fill(T::ZERO);
    for (r, g) in which.iter().zip(signal.data.chunks_exact(width)) {
        kernels::add(&mut out.data[r * width..(r + 1) * width], g);
    }
    out
}

fn multiply<T: Element>(mut x: Rows<T>, by: &Rows<T>) -> Rows<T> {
    x.data.iter_mut().zip(&by.data).for_each(|(x, y)| *x *= *y);
    x
}

/// The rule's slope of an activation at each number, from its input `x` and its output `f`.
fn slopes<T: Element>(rule: ActivationRule, x: &Rows<T>, f: &Rows<T>, function: Activation, parallel: bool) -> Rows<T> {
    let mut out = Rows::unwritten(x.rows(), x.width);
    let width = x.width;
    by_rows(parallel, width, &mut out.data, |rows, out| {
        let at = rows.start * width..rows.end * width;
        let pairs = x.data[at.clone()].iter().zip(&f.data[at]);
        match rule {
            ActivationRule::Proportional => {
                let epsilon = T::from_f64(1e-10);
                out.iter_mut().zip(pairs).for_each(|(o, (x, f))| *o = *f / (*x + epsilon));
            }
            ActivationRule::Derivative => out.iter_mut().zip(pairs).for_each(|(o, (x, f))| *o = derivative(function, *x, *f)),
        }
    });
    out
}

/// `f'(x)` from x and f(x): for the sigmoid family `σ = f/x` is known already.
pub fn derivative<T: Element>(function: Activation, x: T, f: T) -> T {
    let number = T::from_f64;
    let share = |at_zero: f64| if x == T::ZERO { number(at_zero) } else { f / x };
    match function {
        Activation::GeluErf => share(0.5) + x * number(0.398_942_280_401_432_7) * (number(-0.5) * x * x).exp(),
        Activation::GeluTanh => {
            let half = share(0.5); // ½(1 + t)
            let (c, cubic) = (number((2.0 / std::f64::consts::PI).sqrt()), number(0.044_715));
            let inner = c * (T::ONE + number(3.0) * cubic * x * x);
            half + x * number(2.0) * half * (T::ONE - half) * inner
        }
        Activation::Silu => {
            let s = share(0.5);
            s + f * (T::ONE - s)
        }
        Activation::QuickGelu => {
            let s = share(0.5);
            s + number(1.702) * f * (T::ONE - s)
        }
        Activation::Relu => {
            if x > T::ZERO {
                T::ONE
            } else {
                T::ZERO
            }
        }
        Activation::ReluSquared => {
            if x > T::ZERO {
                number(2.0) * x
            } else {
                T::ZERO
            }
        }
        Activation::Tanh => T::ONE - f * f,
    }
}

/// To the gate (unless it is a constant) and to the other factor.
fn through_gate<T: Element>(
    rules: GradientRules,
    gate: &Rows<T>,
    up: &Rows<T>,
    signal: Rows<T>,
    function: Activation,
    parallel: bool,
) -> (Option<Rows<T>>, Rows<T>) {
    let mut opened = copy(gate);
    by_rows(parallel, gate.width, &mut opened.data, |_, x| kernels::activate(x, function));
    let mut signal = signal;
    if rules.gate == GateRule::Half {
        let half = T::from_f64(0.5);
        signal.data.iter_mut().for_each(|g| *g *= half);
    }
    let to_gate = (rules.gate != GateRule::ConstantGate).then(|| {
        let slope = slopes(rules.activation, gate, &opened, function, parallel);
        multiply(multiply(copy(&signal), up), &slope)
    });
    (to_gate, multiply(signal, &opened))
}

/// Through `y = (x − μ)/σ ⊙ γ + β` (without μ: root mean square), chunk by chunk of the norm's width.
fn through_norm<T: Element>(
    rule: NormRule,
    x: &Rows<T>,
    mut signal: Rows<T>,
    norm: &Norm,
    weight: &PreparedNorm<T>,
    parallel: bool,
) -> Rows<T> {
    let (row, width) = (x.width, norm.width);
    by_rows(parallel, row, &mut signal.data, |rows, signal| {
        let x = &x.data[rows.start * row..rows.end * row];
        signal.chunks_exact_mut(width).zip(x.chunks_exact(width)).for_each(|(g, x)| chunk(rule, g, x, norm, weight));
    });
    signal
}

fn chunk<T: Element>(rule: NormRule, g: &mut [T], x: &[T], norm: &Norm, weight: &PreparedNorm<T>) {
    let count = x.len() as f64;
    let centred = norm.kind == NormKind::Layer;
    let mean = if centred { x.iter().map(|x| x.to_f64()).sum::<f64>() / count } else { 0.0 };
    let variance = x.iter().map(|x| (x.to_f64() - mean).powi(2)).sum::<f64>() / count;
    let inverse = 1.0 / (variance + norm.epsilon).sqrt();
    if let Some(weight) = &weight.weight {
        g.iter_mut().zip(weight).for_each(|(g, w)| *g *= *w);
    }
    let of_mean = if centred { g.iter().map(|g| g.to_f64()).sum::<f64>() / count } else { 0.0 };
    let of_deviation = match rule {
        NormRule::ConstantDeviation => 0.0,
        NormRule::Derivative => g.iter().zip(x).map(|(g, x)| g.to_f64() * (x.to_f64() - mean)).sum::<f64>() * inverse * inverse / count,
    };
    let [mean, of_mean, of_deviation, inverse] = [mean, of_mean, of_deviation, inverse].map(T::from_f64);
    g.iter_mut().zip(x).for_each(|(g, x)| *g = (*g - of_mean - (*x - mean) * of_deviation) * inverse);
}

//! Blocks of the bert and llama cases in plain f64 loops, from states and patterns of the recording pass and the weights as they are stored.

use std::collections::HashMap;

use pellucid_core::{
    Control, Engine, Input,
    candle::{DType, Tensor},
    walk::trace::Site,
};

use crate::cases;

/// Rows of numbers.
pub(crate) type Rows = Vec<Vec<f64>>;

pub(crate) const HEADS: usize = 4;
pub(crate) const D_HEAD: usize = 16;
pub(crate) const WIDTH: usize = HEADS * D_HEAD;

/// A model of a case, run on one input.
pub(crate) struct Plain {
    tensors: HashMap<String, (usize, Vec<f64>)>,
    llama: bool,
    epsilon: f64,
    /// What each block takes, `[row][i]`.
    pub(crate) states: Vec<Rows>,
    /// `[layer][head][query][key]`.
    pub(crate) patterns: Vec<Vec<Rows>>,
}

pub(crate) fn engine(case: &str) -> Engine<'static> {
    cases::engine(case)
}

impl Plain {
    pub(crate) fn new(case: &str, input: &Input) -> Self {
        let engine = engine(case);
        let weights = engine.model.weights();
        let mut tensors = HashMap::new();
        for name in weights.names() {
            let (rows, columns) = weights.info(&name).unwrap().matrix();
            let mut values = vec![0.0; rows * columns];
            weights.read_rows(&name, 0..rows, &mut values).unwrap();
            tensors.insert(name, (columns, values.into_iter().map(f64::from).collect()));
        }
        let (mut states, mut patterns) = (Vec::new(), Vec::new());
        let mut keep = |site: Site, tensor: &Tensor| -> pellucid_core::Result<()> {
            let tensor = tensor.to_dtype(DType::F64)?;
            match site {
                Site::Residual { .. } => states.push(tensor.to_vec2()?),
                Site::Pattern { .. } => patterns.push(tensor.to_vec3()?),
                _ => {}
            }
            Ok(())
        };
        engine.trace(input, &Control::none(), &mut keep).unwrap();
        states.pop(); // after the last block
        let llama = case == "llama";
        assert!(llama || case == "bert");
        Self { tensors, llama, epsilon: if llama { 1e-5 } else { 1e-12 }, states, patterns }
    }

    pub(crate) fn vector(&self, name: &str) -> &[f64] {
        &self.tensors[name].1
    }

    pub(crate) fn matrix(&self, name: &str) -> Rows {
        let (columns, values) = &self.tensors[&format!("{name}.weight")];
        values.chunks_exact(*columns).map(<[f64]>::to_vec).collect()
    }

    /// The bias of a map, zeros where there is none.
    pub(crate) fn bias(&self, name: &str) -> Vec<f64> {
        self.tensors.get(&format!("{name}.bias")).map_or_else(|| vec![0.0; self.matrix(name).len()], |b| b.1.clone())
    }

    pub(crate) fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        add(&times(&self.matrix(name), x), &self.bias(name))
    }

    pub(crate) fn map(&self, layer: usize, what: &str) -> String {
        match (self.llama, what) {
            (true, "value") => format!("model.layers.{layer}.self_attn.v_proj"),
            (true, "project") => format!("model.layers.{layer}.self_attn.o_proj"),
            (true, "norm1") => format!("model.layers.{layer}.input_layernorm"),
            (true, "norm2") => format!("model.layers.{layer}.post_attention_layernorm"),
            (true, other) => format!("model.layers.{layer}.mlp.{other}"),
            (false, "value") => format!("bert.encoder.layer.{layer}.attention.self.value"),
            (false, "project") => format!("bert.encoder.layer.{layer}.attention.output.dense"),
            (false, "norm1") => format!("bert.encoder.layer.{layer}.attention.output.LayerNorm"),
            (false, "norm2") => format!("bert.encoder.layer.{layer}.output.LayerNorm"),
            (false, other) => format!("bert.encoder.layer.{layer}.{other}.dense"),
        }
    }

    /// Deviation (bert) or root mean square (llama) of a row, its epsilon inside.
    pub(crate) fn deviation(&self, x: &[f64]) -> f64 {
        let mean = if self.llama { 0.0 } else { x.iter().sum::<f64>() / x.len() as f64 };
        (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64 + self.epsilon).sqrt()
    }

    /// Scale times what is left when the mean is gone (bert), or scale times x (llama).
    pub(crate) fn centred(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let mean = if self.llama { 0.0 } else { x.iter().sum::<f64>() / x.len() as f64 };
        x.iter().zip(self.vector(&format!("{name}.weight"))).map(|(x, w)| (x - mean) * w).collect()
    }

    pub(crate) fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let shift = if self.llama { vec![0.0; x.len()] } else { self.vector(&format!("{name}.bias")).to_vec() };
        add(&scale(&self.centred(name, x), 1.0 / self.deviation(x)), &shift)
    }

    /// `W_O[:, head]·v_j`.
    pub(crate) fn f(&self, layer: usize, head: usize, j: usize) -> Vec<f64> {
        let x = &self.states[layer][j];
        let x = if self.llama { self.norm(&self.map(layer, "norm1"), x) } else { x.clone() };
        let v = self.linear(&self.map(layer, "value"), &x);
        let own = head * v.len() / WIDTH; // two query heads share a value head in llama
        let v = &v[own * D_HEAD..(own + 1) * D_HEAD];
        self.matrix(&self.map(layer, "project")).iter().map(|w| dot(&w[head * D_HEAD..(head + 1) * D_HEAD], v)).collect()
    }

    /// `Σ_h A^h_ij·f^h_j`, without x, `[i][j]`.
    pub(crate) fn parts(&self, layer: usize) -> Vec<Rows> {
        let n = self.states[layer].len();
        let f: Vec<Rows> = (0..HEADS).map(|h| (0..n).map(|j| self.f(layer, h, j)).collect()).collect();
        let part = |i: usize, j: usize| {
            let heads = (0..HEADS).map(|h| scale(&f[h][j], self.patterns[layer][h][i][j]));
            heads.reduce(|a, b| add(&a, &b)).unwrap()
        };
        (0..n).map(|i| (0..n).map(|j| part(i, j)).collect()).collect()
    }

    /// x plus what attention gives.
    pub(crate) fn middle(&self, layer: usize, i: usize) -> Vec<f64> {
        let parts = self.parts(layer);
        parts[i].iter().fold(add(&self.states[layer][i], &self.bias(&self.map(layer, "project"))), |sum, p| add(&sum, p))
    }

    /// What follows attention, row by row.
    pub(crate) fn rest(&self, layer: usize, middle: &[f64]) -> Vec<f64> {
        let m = |what: &str| self.map(layer, what);
        if self.llama {
            let h = self.norm(&m("norm2"), middle);
            let (gate, up) = (self.linear(&m("gate_proj"), &h), self.linear(&m("up_proj"), &h));
            let both: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
            return add(middle, &self.linear(&m("down_proj"), &both));
        }
        self.norm(&m("norm2"), &self.before_second_norm(layer, middle))
    }

    /// What the second norm takes (bert).
    pub(crate) fn before_second_norm(&self, layer: usize, middle: &[f64]) -> Vec<f64> {
        let x = self.norm(&self.map(layer, "norm1"), middle);
        let z = self.linear(&self.map(layer, "intermediate"), &x);
        add(&x, &self.linear(&self.map(layer, "output"), &z.iter().map(|z| gelu(*z)).collect::<Vec<_>>()))
    }
}

/// `z·Φ(z)`, the integral by Simpson's rule.
pub(crate) fn gelu(z: f64) -> f64 {
    let steps = 2000;
    let h = z / f64::from(steps);
    let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let weight = |k: i32| {
        if k == 0 || k == steps {
            1.0
        } else if k % 2 == 1 {
            4.0
        } else {
            2.0
        }
    };
    z * (0.5 + h / 3.0 * (0..=steps).map(|k| weight(k) * density(h * f64::from(k))).sum::<f64>())
}

pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

pub(crate) fn add(x: &[f64], y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| x + y).collect()
}

pub(crate) fn scale(x: &[f64], by: f64) -> Vec<f64> {
    x.iter().map(|x| x * by).collect()
}

pub(crate) fn times(m: &Rows, x: &[f64]) -> Vec<f64> {
    m.iter().map(|row| dot(row, x)).collect()
}

pub(crate) fn l1(x: &[f64]) -> f64 {
    x.iter().map(|x| x.abs()).sum()
}

pub(crate) fn l2(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// `‖x − y‖₁`.
pub(crate) fn apart(x: &[f64], y: &[f64]) -> f64 {
    l1(&add(x, &scale(y, -1.0)))
}

pub(crate) fn shares(x: &[f64]) -> Vec<f64> {
    let sum: f64 = x.iter().sum();
    scale(x, 1.0 / sum)
}

/// `row·C_L ··· C_1`.
pub(crate) fn through(row: Vec<f64>, layers: &[Rows]) -> Vec<f64> {
    layers.iter().rev().fold(row, |row, c| (0..row.len()).map(|j| (0..row.len()).map(|i| row[i] * c[i][j]).sum()).collect())
}

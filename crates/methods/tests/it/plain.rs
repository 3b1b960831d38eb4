//! The forward pass of a decoder, or of ViT, in plain f64 loops, with attention suppressed as the paper's code and its later variants write it. Slow and
//! obvious; it shares nothing with the engine but the reading of files.

use std::collections::HashMap;

use pellucid_core::{Mode, Symbol, WeightStore};
use serde_json::Value as Json;

/// Rows of numbers.
pub(crate) type Rows = Vec<Vec<f64>>;

/// Factors on keys, one each; none at all in a clean run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suppression {
    pub(crate) mode: Mode,
    pub(crate) factors: Option<Vec<f64>>,
    pub(crate) layers: Option<Vec<usize>>,
}

enum Family {
    Llama,
    GptJ { rotary: usize },
    Vit,
}

/// A model of the `llama`, `gptj` or `vit` case.
pub(crate) struct Plain {
    family: Family,
    tensors: HashMap<String, Vec<f64>>,
    pub(crate) d_model: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    d_head: usize,
    epsilon: f64,
}

impl Plain {
    pub(crate) fn new(config: &Json, weights: &dyn WeightStore) -> Self {
        let size = |key: &str| config[key].as_u64().unwrap() as usize;
        let mut tensors = HashMap::new();
        for name in weights.names() {
            let (rows, columns) = weights.info(&name).unwrap().matrix();
            let mut values = vec![0.0; rows * columns];
            weights.read_rows(&name, 0..rows, &mut values).unwrap();
            tensors.insert(name, values.into_iter().map(f64::from).collect());
        }
        if config["model_type"] == "llama" {
            assert!(config["rope_parameters"]["rope_theta"] == 10_000.0 && config["hidden_act"] == "silu");
            Self {
                family: Family::Llama,
                tensors,
                d_model: size("hidden_size"),
                layers: size("num_hidden_layers"),
                heads: size("num_attention_heads"),
                kv_heads: size("num_key_value_heads"),
                d_head: size("head_dim"),
                epsilon: config["rms_norm_eps"].as_f64().unwrap(),
            }
        } else if config["model_type"] == "vit" {
            assert!(config["hidden_act"] == "gelu");
            Self {
                family: Family::Vit,
                tensors,
                d_model: size("hidden_size"),
                layers: size("num_hidden_layers"),
                heads: size("num_attention_heads"),
                kv_heads: size("num_attention_heads"),
                d_head: size("hidden_size") / size("num_attention_heads"),
                epsilon: config["layer_norm_eps"].as_f64().unwrap(),
            }
        } else {
            assert!(config["model_type"] == "gptj" && config["activation_function"] == "gelu_new");
            Self {
                family: Family::GptJ { rotary: size("rotary_dim") },
                tensors,
                d_model: size("n_embd"),
                layers: size("n_layer"),
                heads: size("n_head"),
                kv_heads: size("n_head"),
                d_head: size("n_embd") / size("n_head"),
                epsilon: config["layer_norm_epsilon"].as_f64().unwrap(),
            }
        }
    }

    /// A row per symbol; of a patch its projection, without the position.
    pub(crate) fn embed(&self, symbols: &[Symbol]) -> Rows {
        if let Family::Vit = self.family {
            let row = |symbol: &Symbol| match symbol {
                Symbol::Token(_) => self.tensors["vit.embeddings.cls_token"].clone(),
                Symbol::Vector(pixels) => {
                    let pixels: Vec<f64> = pixels.iter().map(|x| f64::from(*x)).collect();
                    self.linear(&vec![pixels], "vit.embeddings.patch_embeddings.projection").remove(0)
                }
            };
            return symbols.iter().map(row).collect();
        }
        let name = match self.family {
            Family::Llama => "model.embed_tokens.weight",
            _ => "transformer.wte.weight",
        };
        let table = &self.tensors[name];
        let row = |symbol: &Symbol| match symbol {
            Symbol::Token(id) => table[*id as usize * self.d_model..][..self.d_model].to_vec(),
            Symbol::Vector(v) => v.iter().map(|x| f64::from(*x)).collect(),
        };
        symbols.iter().map(row).collect()
    }

    /// Logits of every row, `[row][vocabulary]`; the classes are those of row 0.
    pub(crate) fn logits(&self, mut x: Rows, suppression: &Suppression) -> Rows {
        if let Family::Vit = self.family {
            let positions = &self.tensors["vit.embeddings.position_embeddings"];
            x = add(&x, &positions.chunks_exact(self.d_model).map(<[f64]>::to_vec).collect());
        }
        for layer in 0..self.layers {
            x = match self.family {
                Family::Llama => self.llama_block(layer, x, suppression),
                Family::GptJ { rotary } => self.gptj_block(layer, rotary, x, suppression),
                Family::Vit => self.vit_block(layer, x, suppression),
            };
        }
        let last = match self.family {
            Family::Llama => self.rms_norm(&x, "model.norm"),
            Family::GptJ { .. } => self.layer_norm(&x, "transformer.ln_f"),
            Family::Vit => return self.linear(&self.layer_norm(&x, "vit.layernorm"), "classifier"),
        };
        self.linear(&last, "lm_head")
    }

    fn llama_block(&self, layer: usize, x: Rows, suppression: &Suppression) -> Rows {
        let p = format!("model.layers.{layer}");
        let h = self.rms_norm(&x, &format!("{p}.input_layernorm"));
        let mut q = self.linear(&h, &format!("{p}.self_attn.q_proj"));
        let mut k = self.linear(&h, &format!("{p}.self_attn.k_proj"));
        let v = self.linear(&h, &format!("{p}.self_attn.v_proj"));
        let half = self.d_head / 2;
        for rows in [&mut q, &mut k] {
            self.rotate(rows, self.d_head, |pair| (pair, pair + half));
        }
        let mixed = self.attention(layer, &q, &k, &v, suppression);
        let x = add(&x, &self.linear(&mixed, &format!("{p}.self_attn.o_proj")));

        let h = self.rms_norm(&x, &format!("{p}.post_attention_layernorm"));
        let mut middle = self.linear(&h, &format!("{p}.mlp.gate_proj"));
        let up = self.linear(&h, &format!("{p}.mlp.up_proj"));
        for (gate, up) in middle.iter_mut().flatten().zip(up.iter().flatten()) {
            *gate = *gate / (1.0 + (-*gate).exp()) * up;
        }
        add(&x, &self.linear(&middle, &format!("{p}.mlp.down_proj")))
    }

    fn gptj_block(&self, layer: usize, rotary: usize, x: Rows, suppression: &Suppression) -> Rows {
        let p = format!("transformer.h.{layer}");
        let h = self.layer_norm(&x, &format!("{p}.ln_1"));
        let mut q = self.linear(&h, &format!("{p}.attn.q_proj"));
        let mut k = self.linear(&h, &format!("{p}.attn.k_proj"));
        let v = self.linear(&h, &format!("{p}.attn.v_proj"));
        for rows in [&mut q, &mut k] {
            self.rotate(rows, rotary, |pair| (2 * pair, 2 * pair + 1));
        }
        let mixed = self.attention(layer, &q, &k, &v, suppression);
        let attended = self.linear(&mixed, &format!("{p}.attn.out_proj"));

        let mut middle = self.linear(&h, &format!("{p}.mlp.fc_in"));
        for y in middle.iter_mut().flatten() {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (*y + 0.044715 * *y * *y * *y);
            *y = 0.5 * *y * (1.0 + inner.tanh());
        }
        let fed = self.linear(&middle, &format!("{p}.mlp.fc_out"));
        add(&add(&x, &attended), &fed)
    }

    fn vit_block(&self, layer: usize, x: Rows, suppression: &Suppression) -> Rows {
        let p = format!("vit.encoder.layer.{layer}");
        let h = self.layer_norm(&x, &format!("{p}.layernorm_before"));
        let [q, k, v] = ["query", "key", "value"].map(|name| self.linear(&h, &format!("{p}.attention.attention.{name}")));
        let mixed = self.attention(layer, &q, &k, &v, suppression);
        let x = add(&x, &self.linear(&mixed, &format!("{p}.attention.output.dense")));

        let h = self.layer_norm(&x, &format!("{p}.layernorm_after"));
        let mut middle = self.linear(&h, &format!("{p}.intermediate.dense"));
        middle.iter_mut().flatten().for_each(|y| *y = gelu(*y));
        add(&x, &self.linear(&middle, &format!("{p}.output.dense")))
    }

    /// θ_i = 10000^(−2i/dims); `members` tells where the two numbers of pair i stand in a head.
    fn rotate(&self, rows: &mut Rows, dims: usize, members: impl Fn(usize) -> (usize, usize)) {
        for (position, row) in rows.iter_mut().enumerate() {
            for head in row.chunks_exact_mut(self.d_head) {
                for pair in 0..dims / 2 {
                    let angle = position as f64 * 10_000f64.powf(-2.0 * pair as f64 / dims as f64);
                    let (i, j) = members(pair);
                    let (a, b) = (head[i], head[j]);
                    head[i] = a * angle.cos() - b * angle.sin();
                    head[j] = b * angle.cos() + a * angle.sin();
                }
            }
        }
    }

    fn attention(&self, layer: usize, q: &Rows, k: &Rows, v: &Rows, suppression: &Suppression) -> Rows {
        let (n, root) = (q.len(), (self.d_head as f64).sqrt());
        let acts = suppression.layers.as_ref().is_none_or(|layers| layers.contains(&layer));
        let factors = suppression.factors.as_ref().filter(|_| acts);
        let mut out = vec![vec![0.0; self.heads * self.d_head]; n];
        for head in 0..self.heads {
            let kv_head = head / (self.heads / self.kv_heads);
            let (from, kv_from) = (head * self.d_head, kv_head * self.d_head);
            for query in 0..n {
                let score = |key: usize| (0..self.d_head).map(|i| q[query][from + i] * k[key][kv_from + i]).sum();
                let raw: Vec<f64> = (0..n).map(score).collect(); // unscaled, of future keys too
                let visible = if let Family::Vit = self.family { n } else { query + 1 };
                let mut scores = match factors {
                    None => raw.iter().map(|s| s / root).collect(),
                    Some(factors) => suppressed(suppression.mode, &raw, visible, factors, root),
                };
                scores[visible..].fill(-1e9);
                let pattern = softmax(&scores);
                for (key, p) in pattern.iter().enumerate() {
                    for i in 0..self.d_head {
                        out[query][from + i] += p * v[key][kv_from + i];
                    }
                }
            }
        }
        out
    }

    fn rms_norm(&self, x: &Rows, name: &str) -> Rows {
        let weight = &self.tensors[&format!("{name}.weight")];
        let normed = |row: &Vec<f64>| {
            let square = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
            row.iter().zip(weight).map(|(x, w)| x / (square + self.epsilon).sqrt() * w).collect()
        };
        x.iter().map(normed).collect()
    }

    fn layer_norm(&self, x: &Rows, name: &str) -> Rows {
        let (weight, bias) = (&self.tensors[&format!("{name}.weight")], &self.tensors[&format!("{name}.bias")]);
        let normed = |row: &Vec<f64>| {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / row.len() as f64;
            let deviation = (variance + self.epsilon).sqrt();
            (0..row.len()).map(|i| (row[i] - mean) / deviation * weight[i] + bias[i]).collect()
        };
        x.iter().map(normed).collect()
    }

    /// `x·Wᵀ + b`, W `[outputs, inputs]`; b where there is one.
    fn linear(&self, x: &Rows, name: &str) -> Rows {
        let weight = &self.tensors[&format!("{name}.weight")];
        let bias = self.tensors.get(&format!("{name}.bias"));
        let mut out = Vec::new();
        for row in x {
            let mut y = Vec::new();
            for (output, weight) in weight.chunks_exact(row.len()).enumerate() {
                let product: f64 = row.iter().zip(weight).map(|(x, w)| x * w).sum();
                y.push(product + bias.map_or(0.0, |b| b[output]));
            }
            out.push(y);
        }
        out
    }
}

/// Scores after suppression and scaling, from raw ones; the four modes in the words of the specification.
fn suppressed(mode: Mode, raw: &[f64], visible: usize, factors: &[f64], root: f64) -> Vec<f64> {
    let scaled: Vec<f64> = raw.iter().map(|s| s / root).collect();
    let keys = 0..raw.len();
    match mode {
        // S/√d + ln f; f = 0 gives −10000.
        Mode::LogAdditive => keys.map(|k| scaled[k] + if factors[k] == 0.0 { -10_000.0 } else { factors[k].ln() }).collect(),
        // (S/√d − minimum over visible keys)·f
        Mode::MinShift => {
            let least = scaled[..visible].iter().copied().fold(f64::INFINITY, f64::min);
            keys.map(|k| (scaled[k] - least) * factors[k]).collect()
        }
        // ((S − μ)·f)/√d, μ the minimum over all keys, those not yet visible among them
        Mode::MinShiftAll => {
            let least = raw.iter().copied().fold(f64::INFINITY, f64::min);
            keys.map(|k| (raw[k] - least) * factors[k] / root).collect()
        }
        // S/√d·f
        Mode::Multiply => keys.map(|k| scaled[k] * factors[k]).collect(),
    }
}

/// `z·Φ(z)`; the error function by its series of positive terms, `2/√π·e^(−x²)·Σ 2ⁿx²ⁿ⁺¹/(2n+1)!!`.
fn gelu(z: f64) -> f64 {
    let x = z / 2f64.sqrt();
    let (mut term, mut sum) = (x, x);
    for n in 1..300 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    0.5 * z * (1.0 + 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum)
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|s| (s - largest).exp()).sum();
    scores.iter().map(|s| (s - largest).exp() / sum).collect()
}

/// The natural logarithm of each softmax probability.
pub(crate) fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|z| (z - largest).exp()).sum();
    logits.iter().map(|z| z - largest - sum.ln()).collect()
}

fn add(x: &Rows, y: &Rows) -> Rows {
    x.iter().zip(y).map(|(x, y)| x.iter().zip(y).map(|(x, y)| x + y).collect()).collect()
}

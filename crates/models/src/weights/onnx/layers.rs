//! The parts of a pre-norm transformer, recognised in a graph.
//!
//! ```text
//! norm        w ⊙ (x − E x) / √(E (x − E x)² + ε) + b
//! linear      x·W + b,   or   (q(x) ⊗ Q)·s_x·s_W + b  in whole numbers, q(x) = round(x/s_x) + z_x found at run time
//! attention   softmax((q·c)(k·c)ᵀ)·v,  c² = 1/√d_head
//! block       m = x + λ₁ ⊙ attention(norm₁(x)),   y = m + λ₂ ⊙ W₂ act(W₁ norm₂(m))         λ = 1 where there is none
//! ```

use super::graph::{Graph, has_list, input, int, list};

/// A linear map's matrix, `[in, out]` as ONNX multiplies from the right.
#[derive(Clone, Copy, Debug)]
pub(super) enum Matrix<'g> {
    /// Stored as it is.
    Float(&'g str),
    /// Whole numbers with a scale and a zero for each output.
    Quantised { values: &'g str, scales: &'g str, zeros: &'g str },
}

pub(super) struct Linear<'g> {
    pub(super) input: &'g str,
    pub(super) weight: Matrix<'g>,
    pub(super) bias: &'g str,
}

pub(super) struct Norm<'g> {
    pub(super) input: &'g str,
    pub(super) weight: &'g str,
    pub(super) bias: &'g str,
    pub(super) epsilon: f64,
}

/// What follows the first map of a feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// `½ a (1 + erf(a/√2))`.
    Gelu,
    /// `a σ(1.702 a)`.
    QuickGelu,
}

pub(super) struct Attention<'g> {
    pub(super) input: &'g str,
    pub(super) query: Linear<'g>,
    pub(super) key: Linear<'g>,
    pub(super) value: Linear<'g>,
    pub(super) heads: usize,
    pub(super) d_head: usize,
}

pub(super) struct Block<'g> {
    pub(super) input: &'g str,
    pub(super) norms: [Norm<'g>; 2],
    pub(super) attention: Attention<'g>,
    pub(super) output: Linear<'g>,
    pub(super) scales: [Option<&'g str>; 2],
    pub(super) up: Linear<'g>,
    pub(super) act: Act,
    pub(super) down: Linear<'g>,
}

impl Graph {
    /// The layer norm that makes `value`.
    pub(super) fn norm<'g>(&'g self, value: &'g str) -> Result<Norm<'g>, String> {
        let stored = |value: &str| self.is_stored(value);
        let [bias, scaled] = self.sorted_pair(value, "Add", stored)?;
        let [weight, whitened] = self.sorted_pair(scaled, "Mul", stored)?;
        let [centred, deviation] = self.pair(whitened, "Div")?;
        let [x, mean] = self.pair(centred, "Sub")?;
        let variance = self.only_input(deviation, "Sqrt")?;
        let [epsilon, squares] = self.sorted_pair(variance, "Add", |value| self.made_by(value, "Constant").is_ok())?;
        let [base, two] = self.pair(self.mean(squares)?, "Pow")?;
        if self.mean(mean)? != x || base != centred || self.number(two)? != 2.0 {
            return Err(format!("`{value}` looks like a layer norm, but is none"));
        }
        Ok(Norm { input: x, weight, bias, epsilon: self.number(epsilon)? })
    }

    /// What a mean over each row is taken of.
    fn mean(&self, value: &str) -> Result<&str, String> {
        let node = self.made_by(value, "ReduceMean")?;
        has_list(node, "axes", &[-1])?;
        if int(node, "keepdims", 1) == 1 { input(node, 0) } else { Err(format!("mean `{value}` should keep its axis")) }
    }

    /// The product with a stored matrix that makes `value`, and what is multiplied.
    pub(super) fn product<'g>(&'g self, value: &'g str) -> Result<(&'g str, Matrix<'g>), String> {
        if self.made_by(value, "Mul").is_err() {
            let [x, weight] = self.pair(value, "MatMul")?;
            self.tensor(weight)?;
            return Ok((x, Matrix::Float(weight)));
        }
        // (q(x) ⊗ Q)·(s_x·s_W): the scales of what goes in are found at run time, those of the matrix are stored.
        let [whole, factors] = self.sorted_pair(value, "Mul", |value| self.made_by(value, "Cast").is_ok())?;
        let product = self.made_by(self.uncast(whole)?, "MatMulInteger")?;
        let [quantised, values, zero, zeros] = [input(product, 0)?, input(product, 1)?, input(product, 2)?, input(product, 3)?];
        let [scales, scale] = self.sorted_pair(factors, "Mul", |value| self.is_stored(value))?;
        let rounding = self.made_by(quantised, "DynamicQuantizeLinear")?;
        if rounding.outputs != [quantised, scale, zero] {
            return Err(format!("`{value}` mixes the scales of two roundings"));
        }
        Ok((input(rounding, 0)?, Matrix::Quantised { values, scales, zeros }))
    }

    /// The linear map with a bias that makes `value`.
    pub(super) fn linear<'g>(&'g self, value: &'g str) -> Result<Linear<'g>, String> {
        let [bias, product] = self.sorted_pair(value, "Add", |value| self.is_stored(value))?;
        let (input, weight) = self.product(product)?;
        Ok(Linear { input, weight, bias })
    }

    /// The block that makes `value`.
    pub(super) fn block<'g>(&'g self, value: &'g str) -> Result<Block<'g>, String> {
        let (down, second, middle) = self.residual(value)?;
        let (act, up) = self.activation(down.input)?;
        let up = self.linear(up)?;
        let norm2 = self.norm(up.input)?;
        let (output, first, x) = self.residual(middle)?;
        let attention = self.attention(output.input)?;
        let norm1 = self.norm(attention.input)?;
        if norm2.input != middle || norm1.input != x {
            return Err(format!("`{value}` looks like a block, but a norm and the sum after it begin at different values"));
        }
        Ok(Block { input: x, norms: [norm1, norm2], attention, output, scales: [first, second], up, act, down })
    }

    /// A sum of what was there before and a branch that ends in a linear map, scaled or not: the map, its scale, what was there.
    fn residual<'g>(&'g self, value: &'g str) -> Result<(Linear<'g>, Option<&'g str>, &'g str), String> {
        let branch = |end: &'g str| match self.sorted_pair(end, "Mul", |value| self.is_stored(value)) {
            Ok([scale, end]) => Ok((self.linear(end)?, Some(scale))),
            Err(_) => Ok((self.linear(end)?, None)),
        };
        let [a, b] = self.pair(value, "Add")?;
        match (branch(a), branch(b)) {
            (Ok((map, scale)), Err(_)) => Ok((map, scale, b)),
            (Err(_), Ok((map, scale))) => Ok((map, scale, a)),
            (Ok(_), Ok(_)) => Err(format!("`{value}` adds two linear maps; it should add one to what was there before")),
            (Err(one), Err::<_, String>(two)) => Err(format!("`{value}` adds no linear map: {one}; {two}")),
        }
    }

    /// The activation that makes `value`, and of what.
    fn activation<'g>(&'g self, value: &'g str) -> Result<(Act, &'g str), String> {
        let made_by = |op: &'static str| move |value: &str| self.made_by(value, op).is_ok();
        if let Ok([gate, a]) = self.sorted_pair(value, "Mul", made_by("Sigmoid")) {
            let [steepness, inside] = self.sorted_pair(self.only_input(gate, "Sigmoid")?, "Mul", made_by("Constant"))?;
            let known = self.number(steepness)? == 1.702 && inside == a;
            return if known { Ok((Act::QuickGelu, a)) } else { Err(format!("`{value}` is a gate of another kind than x·σ(1.702 x)")) };
        }
        let other = |_| format!("`{value}` is made by neither of the activations that are known: x·σ(1.702 x) and ½x(1 + erf(x/√2))");
        let [half, product] = self.sorted_pair(value, "Mul", made_by("Constant")).map_err(other)?;
        let [sum, a] = self.sorted_pair(product, "Mul", |value| {
            self.pair(value, "Add").is_ok_and(|pair| pair.into_iter().any(|value| self.made_by(value, "Erf").is_ok()))
        })?;
        let [one, erf] = self.sorted_pair(sum, "Add", made_by("Constant"))?;
        let [inside, root] = self.pair(self.only_input(erf, "Erf")?, "Div")?;
        // √2 in f32, or in the next one.
        let is_root = (self.number(root)? - 2f64.sqrt()).abs() < 3e-7;
        let known = self.number(half)? == 0.5 && self.number(one)? == 1.0 && is_root && inside == a;
        if known { Ok((Act::Gelu, a)) } else { Err(format!("`{value}` is an activation of another kind than ½x(1 + erf(x/√2))")) }
    }

    /// The attention that makes `value`, before its output map.
    fn attention<'g>(&'g self, value: &'g str) -> Result<Attention<'g>, String> {
        let joined = self.made_by(value, "Reshape")?;
        let [pattern, values] = self.pair(self.turned(input(joined, 0)?, &[0, 2, 1, 3])?, "MatMul")?;
        let softmax = self.made_by(pattern, "Softmax")?;
        if int(softmax, "axis", -1) != -1 {
            return Err(format!("softmax `{pattern}` should be over the last axis"));
        }
        let [queries, keys] = self.pair(input(softmax, 0)?, "MatMul")?;
        let scaled = |value: &'g str| self.sorted_pair(value, "Mul", |value| self.made_by(value, "Constant").is_ok());
        let ([by, queries], [by_too, keys]) = (scaled(queries)?, scaled(keys)?);
        let (query, split) = self.heads(queries, &[0, 2, 1, 3])?;
        let (key, split_too) = self.heads(keys, &[0, 2, 3, 1])?;
        let (value_map, split_three) = self.heads(values, &[0, 2, 1, 3])?;
        let [heads, d_head] = split;
        if split_too != split || split_three != split {
            return Err(format!("attention `{value}` cuts queries, keys and values into {split:?}, {split_too:?} and {split_three:?}"));
        }
        let (scale, expected) = (self.number(by)? * self.number(by_too)?, 1.0 / (d_head as f64).sqrt());
        // Two roundings to f32.
        if (scale / expected - 1.0).abs() > 1e-6 {
            return Err(format!("attention `{value}` scales its scores by {scale}, not by 1/√{d_head}"));
        }
        if key.input != query.input || value_map.input != query.input {
            return Err(format!("attention `{value}` takes queries, keys and values from different values"));
        }
        let shape = input(joined, 1)?;
        // As wide as before: a number, or the size of what came in.
        if !self.ends_in_width_of(shape, query.input) {
            let [width] = self.end_of_shape(shape)?;
            if heads.checked_mul(d_head) != Some(width) {
                return Err(format!("attention `{value}` joins {heads} heads of {d_head} to {width}"));
            }
        }
        Ok(Attention { input: query.input, query, key, value: value_map, heads, d_head })
    }

    /// Whether a shape's last size is that of the last of `rows`' three axes.
    fn ends_in_width_of(&self, shape: &str, rows: &str) -> bool {
        let width = || {
            let parts = self.made_by(shape, "Concat")?;
            let size = self.made_by(self.only_input(input(parts, parts.inputs.len().saturating_sub(1))?, "Unsqueeze")?, "Gather")?;
            let of = self.only_input(input(size, 0)?, "Shape")?;
            Ok::<_, String>(of == rows && self.ints(input(size, 1)?)? == [2])
        };
        width().unwrap_or(false)
    }

    /// A linear map's result cut into heads: the map, and how many heads of how many numbers.
    fn heads<'g>(&'g self, value: &'g str, order: &[i64]) -> Result<(Linear<'g>, [usize; 2]), String> {
        let cut = self.made_by(self.turned(value, order)?, "Reshape")?;
        Ok((self.linear(input(cut, 0)?)?, self.end_of_shape(input(cut, 1)?)?))
    }

    /// What stands before an exchange of axes.
    pub(super) fn turned<'g>(&'g self, value: &'g str, order: &[i64]) -> Result<&'g str, String> {
        let node = self.made_by(value, "Transpose")?;
        has_list(node, "perm", order)?;
        input(node, 0)
    }

    /// The rows of a picture's patches that are `value`: the convolution's weight, its bias, the size of a patch.
    pub(super) fn patches<'g>(&'g self, value: &'g str, picture: &str) -> Result<(&'g str, Option<&'g str>, usize), String> {
        let flat = self.made_by(self.turned(value, &[0, 2, 1])?, "Reshape")?;
        let conv = self.made_by(input(flat, 0)?, "Conv")?;
        let &[size, _] = list(conv, "kernel_shape") else { return Err("the patches' convolution has no `kernel_shape` of two".into()) };
        has_list(conv, "kernel_shape", &[size, size])?;
        has_list(conv, "strides", &[size, size])?;
        if self.uncast(input(conv, 0)?)? != picture || list(conv, "pads").iter().any(|p| *p != 0) || int(conv, "group", 1) != 1 {
            return Err(format!("the convolution that makes `{value}` should cut the picture into patches, each once"));
        }
        let size = usize::try_from(size).map_err(|_| format!("patches of {size} pixels"))?;
        Ok((input(conv, 1)?, input(conv, 2).ok(), size))
    }
}

//! A block's attention taken apart behind the norms that follow it, their deviation taken as a constant.
//!
//! ```text
//! T_ij = Σ_h A^h_ij·W_O^h·v^h_j + [i = j]·x_i        pre_i = Σ_j T_ij + b_O
//! ln1       T̂_ij = γ₁ ⊙ c(T_ij) / s₁                y_i = γ₁ ⊙ c(pre_i) / s₁ + β₁            c: mean away;  s₁: deviation of pre_i
//! ln2       T̂_ij = γ₂ ⊙ c(γ₁ ⊙ c(T_ij)/s₁) / s₂     y_i: what the block gives                 s₂: deviation of what the second norm takes
//! residual  T̂_ij = T_ij                              y_i = pre_i
//! ```
//!
//! The value's bias is in `v` and so belongs to token j; `b_O` and β are part of `y_i` but belong to no token.

use pellucid_core::{
    Error, Result,
    model::{Norm, NormKind},
    pass::fast::Element,
    tape::Op,
    walk::mix::{Anatomy, Parts, Stage},
};
use serde::{Deserialize, Serialize};

/// Behind which norms parts are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    /// The norm that follows attention (models with norms behind, as BERT).
    Ln1,
    /// Both norms of the block, its feed-forward network left out (models with norms behind).
    Ln2,
    /// None: in the residual stream (models with norms before, as GPT-2 and Llama).
    Residual,
}

/// How a norm's deviation is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deviation {
    /// Divided by the number of entries, as the norm itself does.
    #[default]
    Population,
    /// Divided by one less, as the published code did until March 2023.
    Unbiased,
}

/// What is measured behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behind {
    /// None: what fits the model.
    pub(crate) after: Option<After>,
    pub(crate) deviation: Deviation,
    /// Whether the norm's epsilon is in the deviation.
    pub(crate) epsilon: bool,
}

/// A block's parts, and what they are parts of.
pub(crate) struct Linearised<'s, T: Element> {
    pub(crate) parts: Parts<'s, T>,
    /// `T̂_ij` is the part divided by this, one a query row.
    pub(crate) divisor: Vec<f64>,
    /// `y`, `[row, d_model]`.
    pub(crate) whole: Vec<T>,
}

impl Behind {
    /// Takes a block apart.
    ///
    /// # Errors
    /// Norms that the block does not have.
    pub(crate) fn of<'s, T: Element>(&self, stage: &'s Stage<'s, T>, hold: u64) -> Result<Linearised<'s, T>> {
        let anatomy = stage.anatomy()?;
        let middle = stage.middle(&anatomy);
        let norms = (anatomy.norm_after_attention, anatomy.norm_after_block);
        let fits = if norms.0.is_some() { After::Ln1 } else { After::Residual };
        match (self.after.unwrap_or(fits), norms) {
            (After::Residual, (None, _)) => {
                let parts = Parts::new(stage, &anatomy, &[], true, hold);
                Ok(Linearised { divisor: vec![1.0; parts.keys()], parts, whole: middle })
            }
            (After::Ln1, (Some(first), _)) => {
                let norm = norm(stage, first)?;
                let parts = Parts::new(stage, &anatomy, std::slice::from_ref(&norm), true, hold);
                let divisor = self.deviations(&middle, &norm);
                let whole = whole(stage, middle, &norm, &divisor);
                Ok(Linearised { parts, divisor, whole })
            }
            (After::Ln2, (Some(first), Some(second))) => self.behind_both(stage, &anatomy, &middle, first, second, hold),
            (asked, _) => Err(Error::Unsupported(match asked {
                After::Residual => {
                    "`after` is residual, but in this model a norm follows the attention of every block; use ln1 or ln2".into()
                }
                After::Ln1 | After::Ln2 => format!(
                    "`after` is {}, but in this model norms stand before attention and feed-forward network, not behind; use residual",
                    if asked == After::Ln1 { "ln1" } else { "ln2" }
                ),
            })),
        }
    }

    fn behind_both<'s, T: Element>(
        &self,
        stage: &'s Stage<'s, T>,
        anatomy: &Anatomy,
        middle: &[T],
        first: usize,
        second: usize,
        hold: u64,
    ) -> Result<Linearised<'s, T>> {
        let norms = [norm(stage, first)?, norm(stage, second)?];
        let Op::Norm { x, .. } = &stage.node(second).op else { unreachable!("just read as a norm") };
        let (one, two) = (self.deviations(middle, &norms[0]), self.deviations(stage.node(*x).data(), &norms[1]));
        let divisor = one.iter().zip(&two).map(|(a, b)| a * b).collect();
        Ok(Linearised { parts: Parts::new(stage, anatomy, &norms, true, hold), divisor, whole: stage.output().data().to_vec() })
    }

    /// The deviation of every row. At least the smallest positive number: a constant row has parts of any size, but none of infinity.
    fn deviations<T: Element>(&self, rows: &[T], norm: &Norm) -> Vec<f64> {
        let d = norm.width as f64;
        let of = |row: &[T]| {
            let mean = if norm.kind == NormKind::Layer { row.iter().map(|x| x.to_f64()).sum::<f64>() / d } else { 0.0 };
            let squares: f64 = row.iter().map(|x| (x.to_f64() - mean) * (x.to_f64() - mean)).sum();
            let count = if self.deviation == Deviation::Unbiased && d > 1.0 { d - 1.0 } else { d };
            (squares / count + if self.epsilon { norm.epsilon } else { 0.0 }).sqrt().max(f64::from(f32::MIN_POSITIVE))
        };
        rows.chunks_exact(norm.width).map(of).collect()
    }
}

fn norm<T: Element>(stage: &Stage<'_, T>, at: usize) -> Result<Norm> {
    match &stage.node(at).op {
        Op::Norm { norm, .. } if norm.width == stage.node(at).width() => Ok(norm.clone()),
        _ => Err(Error::Unsupported("what follows attention in this model is not a norm over whole rows".into())),
    }
}

/// `γ ⊙ c(pre)/s + β`.
fn whole<T: Element>(stage: &Stage<'_, T>, mut rows: Vec<T>, norm: &Norm, divisor: &[f64]) -> Vec<T> {
    stage.linear_part(norm, &mut rows);
    let shift = stage.norm(norm).1;
    for (row, s) in rows.chunks_exact_mut(norm.width).zip(divisor) {
        row.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() / s));
        if let Some(shift) = shift {
            row.iter_mut().zip(shift).for_each(|(x, b)| *x += *b);
        }
    }
    rows
}

//! Rules by which a signal goes down through a block: what each operation does to it.
//!
//! A rule set is a value. Two families exist. *Gradient rules* change the derivative of some operations (the derivative itself, AttnLRP, CP-LRP,
//! GIM): what arrives at the input is multiplied with the input to give relevance. *αβ rules* (LRP with α = 1, β = 0) carry relevance itself and
//! look at stored activations only. A family refuses an operation that it has no rule for.

use crate::{Error, Result, model::Description, tape::Op};

/// A rule for every operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// The derivative, changed where the parts say so.
    Gradient(GradientRules),
    /// Relevance propagation with α = 1, β = 0 (Bach et al. 2015; Chefer et al. 2021, arXiv 2012.09838).
    AlphaBeta(AlphaBeta),
}

/// What each operation does to a gradient. The default is the derivative throughout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GradientRules {
    /// Normalisations.
    pub norm: NormRule,
    /// Activations.
    pub activation: ActivationRule,
    /// `function(gate) · up`.
    pub gate: GateRule,
    /// Attention.
    pub attention: AttentionRule,
}

/// A normalisation's rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NormRule {
    /// The derivative.
    #[default]
    Derivative,
    /// The deviation (or root mean square) counts as a constant; the mean does not.
    ConstantDeviation,
}

/// An activation's rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ActivationRule {
    /// `f'(x)`.
    #[default]
    Derivative,
    /// `f(x) / (x + 1e-10)`: relevance passes unchanged.
    Proportional,
}

/// The rule of a product of two activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GateRule {
    /// The derivative: each factor gets the other one.
    #[default]
    Derivative,
    /// Half of it to each factor (uniform rule).
    Half,
    /// The gate counts as a constant; all of it to the other factor.
    ConstantGate,
}

/// Attention's rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttentionRule {
    /// The derivative.
    #[default]
    Derivative,
    /// Uniform rule on both products (AttnLRP, Achtibat et al. 2024, eq. 7): half to values, a quarter each to queries and keys.
    Uniform,
    /// The same, and the softmax's derivative is taken at the pattern of temperature 2 (GIM).
    UniformSoftened,
    /// The pattern counts as a constant; all of it to the values (CP-LRP).
    ConstantPattern,
}

/// The variants of αβ rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlphaBeta {
    /// The paper's: a linear map divides by the sum of both halves; an addition shares by the absolute sums of its parts. Conserves relevance.
    Ours,
    /// Plain: a linear map divides each half by itself (so that relevance is not conserved), an addition shares entry by entry.
    Original,
    /// `Ours`, and each linear map is rescaled to conserve the sum (the published code for DETR).
    Detr,
}

impl Rules {
    /// The derivative.
    pub const GRADIENT: Self = Rules::Gradient(GradientRules {
        norm: NormRule::Derivative,
        activation: ActivationRule::Derivative,
        gate: GateRule::Derivative,
        attention: AttentionRule::Derivative,
    });

    /// AttnLRP (Achtibat et al. 2024, arXiv 2402.05602) as a changed gradient.
    pub const ATTN_LRP: Self = Rules::Gradient(GradientRules {
        norm: NormRule::ConstantDeviation,
        activation: ActivationRule::Proportional,
        gate: GateRule::Half,
        attention: AttentionRule::Uniform,
    });

    /// CP-LRP (Ali et al. 2022, arXiv 2202.07304): pattern and gate are constants.
    pub const CP_LRP: Self = Rules::Gradient(GradientRules {
        norm: NormRule::ConstantDeviation,
        activation: ActivationRule::Proportional,
        gate: GateRule::ConstantGate,
        attention: AttentionRule::ConstantPattern,
    });

    /// GIM (arXiv 2505.17630).
    pub const GIM: Self = Rules::Gradient(GradientRules {
        norm: NormRule::ConstantDeviation,
        activation: ActivationRule::Derivative,
        gate: GateRule::Half,
        attention: AttentionRule::UniformSoftened,
    });

    /// Refuses an operation that there is no rule for.
    ///
    /// # Errors
    /// Names the operation.
    pub fn check(&self, op: &Op) -> Result<()> {
        match (self, op) {
            (Rules::AlphaBeta(_), Op::Rotary { .. }) => no_rule(ROTARY),
            (Rules::AlphaBeta(_), Op::Gate { .. }) => no_rule(GATED),
            _ => Ok(()),
        }
    }

    /// Refuses a model with an operation that there is no rule for, before anything is run.
    ///
    /// # Errors
    /// Names the operation.
    pub fn fits(&self, model: &Description) -> Result<()> {
        match self {
            Rules::AlphaBeta(_) if model.rotary => no_rule(ROTARY),
            Rules::AlphaBeta(_) if model.gated => no_rule(GATED),
            _ => Ok(()),
        }
    }
}

const ROTARY: &str = "rotary position embeddings";
const GATED: &str = "gated feed-forward networks";

fn no_rule(operation: &str) -> Result<()> {
    Err(Error::Unsupported(format!(
        "αβ relevance propagation has no rule for {operation}; attn-lrp, cp-lrp and gim propagate relevance through this model"
    )))
}

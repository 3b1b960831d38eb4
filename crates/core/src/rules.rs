//! Rules by which a signal goes down through a block: what each operation does to it.
//!
//! A rule set is a value. Two families exist. *Gradient rules* change the derivative of some operations (the derivative itself, AttnLRP, CP-LRP,
//! GIM): what arrives at the input is multiplied with the input to give relevance. *αβ rules* (LRP with α = 1, β = 0) carry relevance itself and
//! look at stored activations only. A family refuses an operation that it has no rule for.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, model::Description, tape::Op};

/// A rule for every operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rules {
    /// The derivative, changed where the parts say so.
    Gradient(GradientRules),
    /// Relevance propagation with α = 1, β = 0 (Bach et al. 2015; Chefer et al. 2021, arXiv 2012.09838).
    AlphaBeta(AlphaBeta),
}

/// What each operation does to a gradient. The default is the derivative throughout.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GradientRules {
    /// Normalisations.
    pub norm: NormRule,
    /// Activations.
    pub activation: ActivationRule,
    /// `function(gate) · up`.
    pub gate: GateRule,
    /// Attention.
    pub attention: AttentionRule,
    /// Linear maps outside attention; none: the derivative. Queries, keys, values and what attention gives always go by the derivative.
    pub gamma: Option<Gamma>,
}

/// The γ rule of linear maps: contributions that have the sign of what comes out count 1 + γ times. Higher is less noisy and less exact; at 0 only
/// the stabiliser tells it from the derivative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gamma {
    /// γ of the projection of patches, 0 to [`Gamma::MOST`].
    pub convolution: f64,
    /// γ of all others, the last map to the scores among them, 0 to [`Gamma::MOST`].
    pub linear: f64,
}

impl Gamma {
    /// Above it nothing is left of contributions of the other sign, in single precision.
    pub const MOST: f64 = 1e6;

    /// # Errors
    /// A γ below 0, above [`Gamma::MOST`] or not a number.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("convolution", self.convolution), ("linear", self.linear)] {
            if !(0.0..=Self::MOST).contains(&value) {
                return Err(Error::request(format!("gamma of {name} maps is {value}; it must be 0 to {}", Self::MOST)));
            }
        }
        Ok(())
    }
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
        gamma: None,
    });

    /// AttnLRP (Achtibat et al. 2024, arXiv 2402.05602) as a changed gradient.
    pub const ATTN_LRP: Self = Rules::Gradient(GradientRules {
        norm: NormRule::ConstantDeviation,
        activation: ActivationRule::Proportional,
        gate: GateRule::Half,
        attention: AttentionRule::Uniform,
        gamma: None,
    });

    /// CP-LRP (Ali et al. 2022, arXiv 2202.07304): pattern and gate are constants.
    pub const CP_LRP: Self = Rules::Gradient(GradientRules {
        norm: NormRule::ConstantDeviation,
        activation: ActivationRule::Proportional,
        gate: GateRule::ConstantGate,
        attention: AttentionRule::ConstantPattern,
        gamma: None,
    });

    /// GIM (arXiv 2505.17630).
    pub const GIM: Self = Rules::Gradient(GradientRules {
        norm: NormRule::ConstantDeviation,
        activation: ActivationRule::Derivative,
        gate: GateRule::Half,
        attention: AttentionRule::UniformSoftened,
        gamma: None,
    });

    /// The same with the γ rule. αβ rules have none and stay as they are.
    #[must_use]
    pub fn with_gamma(self, gamma: Option<Gamma>) -> Self {
        match self {
            Rules::Gradient(rules) => Rules::Gradient(GradientRules { gamma, ..rules }),
            Rules::AlphaBeta(_) => self,
        }
    }

    /// The γ rule, if there is one.
    pub fn gamma(&self) -> Option<Gamma> {
        if let Rules::Gradient(rules) = self { rules.gamma } else { None }
    }

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
            Rules::Gradient(_) => self.gamma().map_or(Ok(()), |gamma| gamma.check()),
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

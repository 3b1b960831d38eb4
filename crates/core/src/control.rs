//! Attention control as a value: *these keys, this factor, this mode, these layers*.
//!
//! Perturbation, document chunks, knockout and steering differ only in such values; the one attention primitive understands them.
//! Deliberately absent: similarity and span overlap. They produce a `Control`, they are not part of attention.

use std::sync::Arc;

pub use pellucid_kernels::ControlMode;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a factor acts on the score of a key; the names of [`ControlMode`] as people write them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `s + ln f`: the key's probability is multiplied by f and the row renormalised. The default.
    #[default]
    LogAdditive,
    /// `(s − min s)·f`, minimum over visible keys.
    MinShift,
    /// `(s − min s)·f`, minimum over all keys, future ones too: the published decoder code, for reproducing its numbers.
    MinShiftAll,
    /// `s·f`: the published image-encoder code; raises attention where `s < 0`.
    Multiply,
}

impl Mode {
    /// Every mode, the default first.
    pub const ALL: [Mode; 4] = [Mode::LogAdditive, Mode::MinShift, Mode::MinShiftAll, Mode::Multiply];

    /// The name used on the command line, in JSON and in cases.
    pub fn name(self) -> &'static str {
        match self {
            Mode::LogAdditive => "log-additive",
            Mode::MinShift => "min-shift",
            Mode::MinShiftAll => "min-shift-all",
            Mode::Multiply => "multiply",
        }
    }
}

impl From<Mode> for ControlMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::LogAdditive => ControlMode::LogAdditive,
            Mode::MinShift => ControlMode::MinShift,
            Mode::MinShiftAll => ControlMode::MinShiftAll,
            Mode::Multiply => ControlMode::Multiply,
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Mode {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Mode::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| {
            Error::request(format!("unknown control mode `{name}`; there are log-additive, min-shift, min-shift-all and multiply"))
        })
    }
}

/// What is done to the attention of one copy of an input. Acts on every query row and head of the chosen layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Control {
    mode: Mode,
    /// `(position, factor)`, ascending, no factor equal to 1.
    factors: Arc<[(usize, f64)]>,
    /// `None`: all layers.
    layers: Option<Arc<[usize]>>,
}

impl Control {
    /// No control: the clean run.
    pub fn none() -> Self {
        Self::default()
    }

    /// Controls key positions by factors. A position named twice takes the last factor (as published); factors of 1 are dropped.
    ///
    /// # Errors
    /// A factor that is negative, NaN or infinite.
    pub fn new(mode: Mode, factors: impl IntoIterator<Item = (usize, f64)>, layers: Option<&[usize]>) -> Result<Self> {
        let mut map = std::collections::BTreeMap::new();
        for (position, factor) in factors {
            map.insert(position, crate::units::check_factor(factor)?);
        }
        let factors = map.into_iter().filter(|&(_, f)| f != 1.0).collect();
        Ok(Self { mode, factors, layers: layers.map(Into::into) })
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// `(position, factor)`, ascending; factors of 1 are left out.
    pub fn factors(&self) -> &[(usize, f64)] {
        &self.factors
    }

    /// The factor on a key.
    pub fn factor(&self, position: usize) -> f64 {
        self.factors.binary_search_by_key(&position, |f| f.0).map_or(1.0, |i| self.factors[i].1)
    }

    /// Whether anything happens in `layer`.
    pub fn acts_in(&self, layer: usize) -> bool {
        !self.factors.is_empty() && self.layers.as_ref().is_none_or(|l| l.contains(&layer))
    }

    /// The layers it is restricted to, if any.
    pub fn layers(&self) -> Option<&[usize]> {
        self.layers.as_deref()
    }

    /// Both at once: a key that both act on gets the product of its factors.
    ///
    /// # Errors
    /// Controls of different modes, or of different layers.
    pub fn and(&self, other: &Control) -> Result<Self> {
        if other.factors.is_empty() {
            return Ok(self.clone());
        }
        if self.factors.is_empty() {
            return Ok(other.clone());
        }
        if self.mode != other.mode || self.layers != other.layers {
            let said =
                |c: &Control| format!("{} in {}", c.mode, c.layers.as_ref().map_or("all layers".into(), |l| format!("layers {l:?}")));
            let what = format!("a control of mode {} cannot act together with one of mode {}", said(self), said(other));
            return Err(Error::Unsupported(what));
        }
        let positions = self.factors.iter().chain(&*other.factors).map(|f| f.0);
        Self::new(self.mode, positions.map(|p| (p, self.factor(p) * other.factor(p))), self.layers())
    }

    /// The first position whose key is treated differently under `self` and `other`, or `None` if they do the same.
    pub fn first_difference(&self, other: &Control) -> Option<usize> {
        if self.factors.is_empty() && other.factors.is_empty() {
            return None;
        }
        if self.mode != other.mode || self.layers != other.layers {
            return [self, other].iter().filter_map(|c| c.factors.first().map(|f| f.0)).min();
        }
        let differs = |a: &Control, b: &Control| a.factors.iter().find(|(p, f)| b.factor(*p) != *f).map(|f| f.0);
        [differs(self, other), differs(other, self)].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_controls_act_at_once_by_the_product_of_their_factors() {
        let of =
            |factors: &[(usize, f64)], layers: Option<&[usize]>| Control::new(Mode::LogAdditive, factors.iter().copied(), layers).unwrap();
        let both = of(&[(1, 0.5), (4, 2.0)], None).and(&of(&[(0, 0.1), (4, 0.25), (1, 2.0)], None)).unwrap();
        assert_eq!(both.factors(), [(0, 0.1), (4, 0.5)]);
        assert_eq!(Control::none().and(&both).unwrap(), both);
        assert_eq!(both.and(&Control::none()).unwrap(), both);
        let other = Control::new(Mode::MinShift, [(0, 0.1)], None).unwrap();
        assert!(both.and(&other).unwrap_err().to_string().contains("log-additive in all layers cannot act together"));
        assert!(both.and(&of(&[(0, 0.1)], Some(&[1]))).unwrap_err().to_string().contains("layers [1]"));
    }
}

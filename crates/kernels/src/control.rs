//! Attention control: one factor per key, put into the scores before the softmax.
//!
//! With `s` the scaled score of a key and `f` its factor (AtMan, Deiseroth et al. 2023, and its later variants):
//!
//! | mode | score becomes |
//! | --- | --- |
//! | log-additive | `s + ln f`; `f = 0` removes the key |
//! | min-shift | `(s − min over visible keys)·f` |
//! | min-shift-all | `(s − min over all keys)·f` |
//! | multiply | `s·f` |
//!
//! A row that sees no key with a factor other than 1 is not controlled: its numbers are the clean ones to the last bit, in every mode.
//! A row whose visible keys are *all* removed has nothing to look at; it attends to them as if it were not controlled.

use crate::Real;
use crate::buffer::Scratch;
use crate::level::{Level, each_level};
use crate::norm::{LANES, tree};
use crate::softmax::larger;

/// What a factor does to a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ControlMode {
    /// `s + ln f`: the key's probability is multiplied by `f` and the row renormalised.
    #[default]
    LogAdditive,
    /// `(s − min)·f`, the minimum over visible keys.
    MinShift,
    /// `(s − min)·f`, the minimum over all keys, also future ones: the published decoder code.
    MinShiftAll,
    /// `s·f`: the published image-encoder code. Raises attention where `s < 0`.
    Multiply,
}

/// One factor per key, prefix first; 1 leaves a key alone. Finite and not negative.
#[derive(Clone, Copy, Debug)]
pub struct Factors<'a, T> {
    /// What a factor does.
    pub mode: ControlMode,
    /// As many as there are keys.
    pub keys: &'a [T],
}

/// Factors made ready for many rows.
pub(crate) struct Control<'a, T: Real> {
    mode: ControlMode,
    factors: &'a [T],
    /// `ln f` for log-additive, else empty.
    logarithms: Scratch<T>,
    /// The first key whose factor is not 1.
    first: usize,
    /// The first key that log-additive does not remove.
    first_kept: usize,
}

impl<'a, T: Real> Control<'a, T> {
    /// `None` if every factor is 1.
    pub(crate) fn new(factors: &Factors<'a, T>) -> Option<Self> {
        let first = factors.keys.iter().position(|&f| f != T::ONE)?;
        let log = factors.mode == ControlMode::LogAdditive;
        let mut logarithms = Scratch::take(if log { factors.keys.len() } else { 0 });
        for (ln, &f) in logarithms.iter_mut().zip(factors.keys) {
            *ln = if f > T::ZERO { f.ln() } else { T::NEG_INFINITY };
        }
        let removed = |f: &&T| log && **f <= T::ZERO;
        let first_kept = factors.keys.iter().take_while(removed).count();
        Some(Control { mode: factors.mode, factors: factors.keys, logarithms, first, first_kept })
    }

    /// Whether a row needs the scores of keys that it does not see.
    pub(crate) fn looks_ahead(&self) -> bool {
        self.mode == ControlMode::MinShiftAll
    }

    /// Whether a row that sees the first `seen` keys is controlled at all.
    pub(crate) fn touches(&self, seen: usize) -> bool {
        self.first < seen && self.first_kept < seen
    }

    /// Scales and controls the scores of a row that sees the first `seen` of `total` keys. False, and nothing done, if the row is not controlled.
    pub(crate) fn apply(&self, level: Level, scores: &mut [T], seen: usize, total: usize, scale: T) -> bool {
        if !self.touches(seen) {
            return false;
        }
        match self.mode {
            ControlMode::LogAdditive => add_logarithms(level, &mut scores[..seen], &self.logarithms[..seen], scale),
            ControlMode::Multiply => shift_multiply(level, &mut scores[..seen], &self.factors[..seen], scale, T::ZERO),
            ControlMode::MinShift | ControlMode::MinShiftAll => {
                let counted = if self.looks_ahead() { total } else { seen };
                let least = least(level, &scores[..counted], scale);
                shift_multiply(level, &mut scores[..seen], &self.factors[..seen], scale, least);
            }
        }
        true
    }
}

each_level!(fn add_logarithms<T>(scores: &mut [T], logarithms: &[T], scale: T) = add_logarithms_to);
each_level!(fn shift_multiply<T>(scores: &mut [T], factors: &[T], scale: T, shift: T) = shift_and_multiply);
each_level!(fn least<T>(scores: &[T], scale: T) -> T = least_of);

#[inline(always)]
fn add_logarithms_to<T: Real, const FMA: bool>(scores: &mut [T], logarithms: &[T], scale: T) {
    scores.iter_mut().zip(logarithms).for_each(|(score, &ln)| *score = *score * scale + ln);
}

#[inline(always)]
fn shift_and_multiply<T: Real, const FMA: bool>(scores: &mut [T], factors: &[T], scale: T, shift: T) {
    scores.iter_mut().zip(factors).for_each(|(score, &f)| *score = (*score * scale - shift) * f);
}

#[inline(always)]
fn least_of<T: Real, const FMA: bool>(scores: &[T], scale: T) -> T {
    let mut lanes = [T::NEG_INFINITY; LANES];
    let (chunks, rest) = scores.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &score) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, -(score * scale));
        }
    }
    for (lane, &score) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, -(score * scale));
    }
    -tree(lanes, larger)
}

/// The pattern of one row in plain f64: softmax over the `visible` keys of the controlled scores; 0 elsewhere. `scores` are unscaled.
///
/// For tests and reference cases; all zeros if no key is visible.
pub fn control_row(scores: &[f64], visible: &[bool], factors: &[f64], scale: f64, mode: ControlMode) -> Vec<f64> {
    assert!(scores.len() == visible.len() && scores.len() == factors.len(), "one visibility and one factor per score");
    let scaled: Vec<f64> = scores.iter().map(|s| s * scale).collect();
    let seen = || (0..scores.len()).filter(|&key| visible[key]);
    let controlled = seen().any(|key| factors[key] != 1.0);
    let removed = mode == ControlMode::LogAdditive && seen().all(|key| factors[key] <= 0.0);
    let least = match mode {
        ControlMode::MinShiftAll => scaled.iter().copied().fold(f64::INFINITY, f64::min),
        _ => seen().map(|key| scaled[key]).fold(f64::INFINITY, f64::min),
    };
    let changed = |key: usize| match mode {
        _ if !controlled || removed => scaled[key],
        ControlMode::LogAdditive if factors[key] <= 0.0 => f64::NEG_INFINITY,
        ControlMode::LogAdditive => scaled[key] + factors[key].ln(),
        ControlMode::MinShift | ControlMode::MinShiftAll => (scaled[key] - least) * factors[key],
        ControlMode::Multiply => scaled[key] * factors[key],
    };
    let largest = seen().map(changed).fold(f64::NEG_INFINITY, f64::max);
    let mut pattern: Vec<f64> = (0..scores.len()).map(|key| if visible[key] { (changed(key) - largest).exp() } else { 0.0 }).collect();
    let sum: f64 = pattern.iter().sum();
    if sum > 0.0 {
        pattern.iter_mut().for_each(|p| *p /= sum);
    }
    pattern
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const MODES: [ControlMode; 4] =
        [ControlMode::LogAdditive, ControlMode::MinShift, ControlMode::MinShiftAll, ControlMode::Multiply];

    /// Raw scores of the golden row: query 2 of 4 keys, width 4.
    pub(crate) const SCORES: [f64; 4] = [2.0, -1.0, 4.0, -3.0];
    pub(crate) const VISIBLE: [bool; 4] = [true, true, true, false];
    pub(crate) const CLEAN: [f64; 3] = [0.25371618163502524, 0.05661173224047129, 0.6896720861245036];

    /// `(mode, suppressed key, factor, pattern)`: computed by hand from the formulas, in f64.
    pub(crate) const GOLDEN: [(ControlMode, usize, f64, [f64; 3]); 16] = [
        (ControlMode::LogAdditive, 1, 0.1, [0.2673371593497582, 0.00596509831793379, 0.726697742332308]),
        (ControlMode::LogAdditive, 2, 0.1, [0.6689149598623898, 0.14925510211977552, 0.18182993801783462]),
        (ControlMode::LogAdditive, 2, 0.0, [0.8175744761936437, 0.18242552380635632, 0.0]),
        (ControlMode::LogAdditive, 2, 3.0, [0.10663282117576424, 0.02379299846602715, 0.8695741803582087]),
        (ControlMode::MinShift, 1, 0.1, CLEAN),
        (ControlMode::MinShift, 2, 0.1, [0.6624117938958736, 0.14780404965619495, 0.18978415644793137]),
        (ControlMode::MinShift, 2, 0.0, [0.6914384540362275, 0.15428077298188617, 0.15428077298188617]),
        (ControlMode::MinShift, 2, 3.0, [0.0024712597211271753, 0.0005514125773434706, 0.9969773277015292]),
        (ControlMode::MinShiftAll, 1, 0.1, [0.26253611375660585, 0.023816738904555657, 0.7136471473388384]),
        (ControlMode::MinShiftAll, 2, 0.1, [0.7464835114268167, 0.16656298545282786, 0.08695350312035535]),
        (ControlMode::MinShiftAll, 2, 0.0, [0.7661572065563422, 0.17095278019779026, 0.0628900132458675]),
        (ControlMode::MinShiftAll, 2, 3.0, [0.00033532503919087275, 7.482112969643794e-05, 0.9995898538311127]),
        (ControlMode::Multiply, 1, 0.1, [0.24580777436729795, 0.086017419276115, 0.668174806356587]),
        (ControlMode::Multiply, 2, 0.1, [0.5979219375176557, 0.13341441767457396, 0.26866364480777033]),
        (ControlMode::Multiply, 2, 0.0, [0.6285317192117624, 0.14024438316608848, 0.23122389762214907]),
        (ControlMode::Multiply, 2, 3.0, [0.006682870879297485, 0.0014911500495489258, 0.9918259790711537]),
    ];

    pub(crate) fn factors(key: usize, factor: f64) -> [f64; 4] {
        std::array::from_fn(|k| if k == key { factor } else { 1.0 })
    }

    fn assert_pattern(found: &[f64], expected: &[f64; 3]) {
        assert_eq!(found[3], 0.0, "a key that is not visible");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
        }
    }

    #[test]
    fn the_golden_row_comes_out_in_every_mode() {
        for (mode, key, factor, expected) in GOLDEN {
            assert_pattern(&control_row(&SCORES, &VISIBLE, &factors(key, factor), 0.5, mode), &expected);
        }
        for mode in MODES {
            assert_pattern(&control_row(&SCORES, &VISIBLE, &[1.0; 4], 0.5, mode), &CLEAN);
        }
    }

    #[test]
    fn only_min_shift_all_looks_into_the_future() {
        let later = [2.0, -1.0, 4.0, -9.0];
        for mode in MODES {
            let row = |scores: &[f64]| control_row(scores, &VISIBLE, &factors(2, 0.1), 0.5, mode);
            assert_eq!(row(&SCORES) != row(&later), mode == ControlMode::MinShiftAll);
        }
        let leaked = control_row(&later, &VISIBLE, &factors(2, 0.1), 0.5, ControlMode::MinShiftAll);
        assert_pattern(&leaked, &[0.8123750470672774, 0.1812653743527098, 0.006359578580012705]);
    }

    #[test]
    fn a_row_with_all_its_keys_removed_is_not_controlled() {
        assert_pattern(&control_row(&SCORES, &VISIBLE, &[0.0; 4], 0.5, ControlMode::LogAdditive), &CLEAN);
        assert_eq!(control_row(&SCORES, &[false; 4], &[1.0; 4], 0.5, ControlMode::Multiply), [0.0; 4]);
    }

    #[test]
    fn factors_of_1_are_no_control() {
        assert!(Control::new(&Factors { mode: ControlMode::Multiply, keys: &[1.0f32; 5] }).is_none());
        assert!(Control::new(&Factors { mode: ControlMode::Multiply, keys: &[1.0f32, 0.5] }).is_some());
    }
}

//! Activations and gates, in place.
//!
//! GELU is Hendrycks and Gimpel 2016, in its exact form with the error function and its published approximation with tanh; SiLU is `x·σ(x)`.

use crate::Real;
use crate::level::{Level, each_level};
use crate::real::fma;

/// Which nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x·Φ(x)` with the error function: `gelu` of most checkpoints.
    GeluErf,
    /// `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`: `gelu_new`, `gelu_pytorch_tanh`.
    GeluTanh,
    /// `x·σ(x)`.
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²`.
    ReluSquared,
    /// `tanh x`.
    Tanh,
    /// `x·σ(1.702·x)`.
    QuickGelu,
}

/// `x = a(x)`.
pub fn activate<T: Real>(x: &mut [T], activation: Activation) {
    activate_at(Level::best(), x, activation);
}

/// `gate = a(gate) · up`.
pub fn gate<T: Real>(gate: &mut [T], up: &[T], activation: Activation) {
    assert_eq!(gate.len(), up.len(), "as many numbers in the gate as in what it lets through");
    gate_at(Level::best(), gate, up, activation);
}

/// `x = x + y`.
pub fn add<T: Real>(x: &mut [T], y: &[T]) {
    assert_eq!(x.len(), y.len(), "as many summands on either side");
    add_at(Level::best(), x, y);
}

each_level!(fn activate_at<T>(x: &mut [T], activation: Activation) = activate_all);
each_level!(fn gate_at<T>(gate: &mut [T], up: &[T], activation: Activation) = gate_all);
each_level!(fn add_at<T>(x: &mut [T], y: &[T]) = add_all);

#[inline(always)]
fn add_all<T: Real, const FMA: bool>(x: &mut [T], y: &[T]) {
    x.iter_mut().zip(y).for_each(|(x, &y)| *x += y);
}

/// Runs a loop once per activation, so that the choice stands outside the loop.
macro_rules! choose {
    ($activation:expr, $a:ident => $loop:expr) => {
        match $activation {
            Activation::GeluErf => {
                let $a = gelu_erf::<T, FMA>;
                $loop
            }
            Activation::GeluTanh => {
                let $a = gelu_tanh::<T, FMA>;
                $loop
            }
            Activation::Silu => {
                let $a = silu::<T, FMA>;
                $loop
            }
            Activation::Relu => {
                let $a = relu::<T>;
                $loop
            }
            Activation::ReluSquared => {
                let $a = relu_squared::<T>;
                $loop
            }
            Activation::Tanh => {
                let $a = T::quick_tanh::<FMA>;
                $loop
            }
            Activation::QuickGelu => {
                let $a = quick_gelu::<T, FMA>;
                $loop
            }
        }
    };
}

#[inline(always)]
fn activate_all<T: Real, const FMA: bool>(x: &mut [T], activation: Activation) {
    choose!(activation, a => for x in x { *x = a(*x); })
}

#[inline(always)]
fn gate_all<T: Real, const FMA: bool>(gate: &mut [T], up: &[T], activation: Activation) {
    choose!(activation, a => for (gate, &up) in gate.iter_mut().zip(up) { *gate = a(*gate) * up; })
}

#[inline(always)]
fn gelu_erf<T: Real, const FMA: bool>(x: T) -> T {
    x * x.quick_normal::<FMA>()
}

/// `(1 + tanh u)/2 = σ(2u)`, which loses nothing where tanh u is near −1.
#[inline(always)]
fn gelu_tanh<T: Real, const FMA: bool>(x: T) -> T {
    let inner = fma::<T, FMA>(T::from_f64(0.044715) * x, x, T::ONE) * x;
    sigmoid_times::<T, FMA>(x, T::from_f64(2.0 * (2.0 / std::f64::consts::PI).sqrt()) * inner)
}

#[inline(always)]
fn silu<T: Real, const FMA: bool>(x: T) -> T {
    sigmoid_times::<T, FMA>(x, x)
}

#[inline(always)]
fn quick_gelu<T: Real, const FMA: bool>(x: T) -> T {
    sigmoid_times::<T, FMA>(x, T::from_f64(1.702) * x)
}

/// `x·σ(u) = x / (1 + e⁻ᵘ)`. Where e⁻ᵘ overflows the result is ±0.
#[inline(always)]
fn sigmoid_times<T: Real, const FMA: bool>(x: T, u: T) -> T {
    x / (T::ONE + (-u).quick_exp::<FMA>())
}

#[inline(always)]
fn relu<T: Real>(x: T) -> T {
    if x < T::ZERO { T::ZERO } else { x }
}

#[inline(always)]
fn relu_squared<T: Real>(x: T) -> T {
    relu(x) * relu(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, bits, exact, noise};

    const ALL: [Activation; 7] = [
        Activation::GeluErf,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Relu,
        Activation::ReluSquared,
        Activation::Tanh,
        Activation::QuickGelu,
    ];

    /// The definitions, in f64.
    fn replica(x: f64, activation: Activation) -> f64 {
        let sigmoid = |u: f64| 1.0 / (1.0 + (-u).exp());
        match activation {
            Activation::GeluErf => x / 2.0 * (1.0 + Real::erf(x / 2f64.sqrt())),
            Activation::GeluTanh => x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
            Activation::Silu => x * sigmoid(x),
            Activation::Relu => x.max(0.0),
            Activation::ReluSquared => x.max(0.0).powi(2),
            Activation::Tanh => x.tanh(),
            Activation::QuickGelu => x * sigmoid(1.702 * x),
        }
    }

    fn agrees<T: Real>(tolerance: f64) {
        for scale in [0.01, 1.0, 10.0] {
            for length in [0, 1, 15, 16, 33, 300] {
                let x: Vec<T> = noise::<T>(length, 5).into_iter().map(|x| x * T::from_f64(scale)).collect();
                let up = noise::<T>(length, 6);
                for activation in ALL {
                    let expected: Vec<f64> = exact(&x).into_iter().map(|x| replica(x, activation)).collect();
                    let gated: Vec<f64> = expected.iter().zip(&up).map(|(a, up)| a * up.to_f64()).collect();
                    for level in Level::available() {
                        let mut out = x.clone();
                        activate_at(level, &mut out, activation);
                        assert_close(&out, &expected, tolerance);
                        let mut alone = x.clone();
                        alone.chunks_mut(1).for_each(|x| activate_at(level, x, activation));
                        assert_eq!(bits(&alone), bits(&out), "{activation:?} depends on the length");
                        out.copy_from_slice(&x);
                        gate_at(level, &mut out, &up, activation);
                        assert_close(&out, &gated, tolerance);
                    }
                }
            }
        }
    }

    #[test]
    fn activations_and_gates_agree_with_their_definitions() {
        agrees::<f32>(4e-7);
        agrees::<f64>(2e-15);
    }

    #[test]
    fn well_known_values_come_out() {
        let at = |x: f32, activation| {
            let mut x = [x];
            activate(&mut x, activation);
            f64::from(x[0])
        };
        assert!((at(1.0, Activation::GeluErf) - 0.841_344_746_068_542_9).abs() < 1e-7, "Φ(1)");
        assert!((at(-1.0, Activation::GeluErf) + 0.158_655_253_931_457_05).abs() < 1e-7, "−Φ(−1)");
        assert!((at(1.0, Activation::Silu) - 0.731_058_578_630_004_9).abs() < 1e-7, "σ(1)");
        assert_eq!(at(-3.0, Activation::Relu), 0.0);
        assert_eq!(at(3.0, Activation::ReluSquared), 9.0);
    }

    #[test]
    fn huge_numbers_stay_numbers() {
        for activation in ALL {
            let mut x = [1e4f32, -1e4, 1e18, -1e18, 0.0];
            activate(&mut x, activation);
            assert!(x.iter().all(|x| x.is_finite()), "{activation:?}: {x:?}");
            if activation != Activation::Tanh {
                assert!(x[0] >= 1e4 && x[1] == 0.0 && x[3] == 0.0, "{activation:?}: {x:?}");
            }
        }
    }

    #[test]
    fn addition_adds() {
        let mut x = noise::<f32>(77, 1);
        let y = noise::<f32>(77, 2);
        let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
        add(&mut x, &y);
        assert_eq!(x, expected);
    }
}

//! Exponential, hyperbolic tangent, error function and normal distribution.
//!
//! The f32 forms have no branch and no call, so that a loop over them vectorises; the polynomials are near-minimax fits of our own, made in 40-digit
//! arithmetic. Those in f64 are exact to the last digits and slow.

use crate::real::fma;

/// Adding 1.5·2²³ rounds a small f32 to a whole number and leaves it in the low bits of the mantissa.
const ROUND: f32 = 12_582_912.0;
/// ln 2 = HIGH − LOW; HIGH = 355/512 has nine bits, so that whole numbers times HIGH are exact.
const LN2_HIGH: f32 = 355.0 / 512.0;
const LN2_LOW: f32 = 2.121_944_4e-4;
/// Below this eˣ is subnormal: taken as 0.
const EXP_LOW: f32 = -87.336;
/// Above this the power of two would not fit: taken as ∞.
const EXP_HIGH: f32 = 88.37;
/// eʳ = 1 + r + r²·(…), |r| ≤ ln 2 / 2, relative error 4e-9 before rounding.
const EXP: [f32; 5] = [0.499_999_93, 0.166_665_15, 0.041_668_457, 0.008_369_419, 0.001_381_314_2];

/// eˣ, relative error below 2e-7; 0 below −87.3, ∞ above 88.3, NaN of NaN.
#[inline(always)]
pub(crate) fn exp_f32<const FMA: bool>(x: f32) -> f32 {
    let shifted = fma::<f32, FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let k = shifted - ROUND;
    let r = fma::<f32, FMA>(k, LN2_LOW, fma::<f32, FMA>(k, -LN2_HIGH, x));
    let p = horner::<FMA, _>(r, EXP);
    let p = fma::<f32, FMA>(p * r, r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    let value = p * power;
    let value = if x < EXP_LOW { 0.0 } else { value };
    if x > EXP_HIGH { f32::INFINITY } else { value }
}

/// tanh x = x + x³·(…) for |x| ≤ 0.625, relative error 5e-9 before rounding.
const TANH: [f32; 5] = [-0.333_332_84, 0.133_314_91, -0.053_743_497, 0.020_650_58, -0.005_717_037];

/// tanh x, relative error below 3e-7.
#[inline(always)]
pub(crate) fn tanh_f32<const FMA: bool>(x: f32) -> f32 {
    let z = x * x;
    let near = fma::<f32, FMA>(horner::<FMA, _>(z, TANH) * z, x, x);
    let y = x.abs();
    let far = (1.0 - 2.0 / (exp_f32::<FMA>(2.0 * y) + 1.0)).copysign(x);
    if y < 0.625 { near } else { far }
}

/// −ln(2·Φ(−y))/y on 0 … 5.5; weighted so that the error of 2·Φ(−y) stays below 2e-8 before rounding.
const TAIL: [f32; 8] =
    [0.797_885_36, 0.318_298_83, 0.036_387_71, -0.004_896_237, 9.515_424e-5, 1.289_300_2e-4, -2.726_404e-5, 1.961_984e-6];
/// Where the fit of [`TAIL`] ends: beyond, the exponent goes on in a straight line, below 4e-8.
const TAIL_END: f32 = 5.5;

/// 2·Φ(−y), the chance that a normal number lies further than y ≥ 0 from 0.
#[inline(always)]
fn both_tails<const FMA: bool>(y: f32) -> f32 {
    let inside = if y < TAIL_END { y } else { TAIL_END };
    exp_f32::<FMA>(-y * horner::<FMA, _>(inside, TAIL))
}

/// Φ(x), the normal distribution, absolute error below 1e-7.
#[inline(always)]
pub(crate) fn normal_f32<const FMA: bool>(x: f32) -> f32 {
    let tail = 0.5 * both_tails::<FMA>(x.abs());
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// erf x, absolute error below 2e-7.
#[inline(always)]
pub(crate) fn erf_f32<const FMA: bool>(x: f32) -> f32 {
    (1.0 - both_tails::<FMA>(x.abs() * std::f32::consts::SQRT_2)).copysign(x)
}

/// Σ cᵢ·xⁱ.
#[inline(always)]
fn horner<const FMA: bool, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = fma::<f32, FMA>(sum, x, coefficients[i]);
    }
    sum
}

/// Rational approximations of W. J. Cody, *Rational Chebyshev approximations for the error function*, Math. Comp. 23 (1969) 631.
mod cody {
    /// |x| ≤ 0.46875: erf x = x·A(x²)/B(x²).
    pub(super) const A: [f64; 5] =
        [3.161_123_743_870_565_6, 113.864_154_151_050_16, 377.485_237_685_302, 3_209.377_589_138_469_4, 0.185_777_706_184_603_15];
    pub(super) const B: [f64; 4] = [23.601_290_952_344_122, 244.024_637_934_444_17, 1_282.616_526_077_372_3, 2_844.236_833_439_171];
    /// 0.46875 < y ≤ 4: erfc y = e^(−y²)·C(y)/D(y).
    pub(super) const C: [f64; 9] = [
        0.564_188_496_988_670_1,
        8.883_149_794_388_377,
        66.119_190_637_141_63,
        298.635_138_197_400_1,
        881.952_221_241_769,
        1_712.047_612_634_070_7,
        2_051.078_377_826_071_6,
        1_230.339_354_797_997_2,
        2.153_115_354_744_038_3e-8,
    ];
    pub(super) const D: [f64; 8] = [
        15.744_926_110_709_835,
        117.693_950_891_312_5,
        537.181_101_862_009_9,
        1_621.389_574_566_690_3,
        3_290.799_235_733_459_7,
        4_362.619_090_143_247,
        3_439.367_674_143_721_6,
        1_230.339_354_803_749_5,
    ];
    /// y > 4: erfc y = e^(−y²)/y·(1/√π − y⁻²·P(y⁻²)/Q(y⁻²)).
    pub(super) const P: [f64; 6] = [
        0.305_326_634_961_232_36,
        0.360_344_899_949_804_45,
        0.125_781_726_111_229_26,
        0.016_083_785_148_742_275,
        6.587_491_615_298_378e-4,
        0.016_315_387_137_302_097,
    ];
    pub(super) const Q: [f64; 5] =
        [2.568_520_192_289_822, 1.872_952_849_923_467, 0.527_905_102_951_428_5, 0.060_518_341_312_441_32, 0.002_335_204_976_268_691_8];
}

/// erf x, relative error below 4e-16.
pub(crate) fn erf_f64(x: f64) -> f64 {
    use cody::{A, B, C, D, P, Q};
    let y = x.abs();
    if y.is_nan() {
        return x;
    }
    if y <= 0.46875 {
        let z = x * x;
        let (mut over, mut under) = (A[4] * z, z);
        for i in 0..3 {
            over = (over + A[i]) * z;
            under = (under + B[i]) * z;
        }
        return x * (over + A[3]) / (under + B[3]);
    }
    if y > 6.0 {
        return x.signum(); // erfc 6 = 2e-17
    }
    let tail = if y <= 4.0 {
        let (mut over, mut under) = (C[8] * y, y);
        for i in 0..7 {
            over = (over + C[i]) * y;
            under = (under + D[i]) * y;
        }
        (over + C[7]) / (under + D[7])
    } else {
        let z = 1.0 / (y * y);
        let (mut over, mut under) = (P[5] * z, z);
        for i in 0..4 {
            over = (over + P[i]) * z;
            under = (under + Q[i]) * z;
        }
        (std::f64::consts::FRAC_2_SQRT_PI / 2.0 - z * (over + P[4]) / (under + Q[4])) / y
    };
    // e^(−y²) with y² split in two, so that the rounding of the square does not grow with it.
    let high = (y * 16.0).trunc() / 16.0;
    let erfc = (-high * high).exp() * (-(y - high) * (y + high)).exp() * tail;
    (1.0 - erfc).copysign(x)
}

/// Φ(x), the normal distribution.
#[inline(always)]
pub(crate) fn normal_f64(x: f64) -> f64 {
    0.5 + 0.5 * erf_f64(x * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known to 20 digits: Abramowitz and Stegun, table 7.1, and its tail.
    const ERF: [(f64, f64); 9] = [
        (0.0, 0.0),
        (0.1, 0.112_462_916_018_284_89),
        (0.4, 0.428_392_355_046_668_45),
        (0.5, 0.520_499_877_813_046_5),
        (1.0, 0.842_700_792_949_714_9),
        (1.5, 0.966_105_146_475_310_7),
        (2.0, 0.995_322_265_018_952_7),
        (4.5, 0.999_999_999_803_383_9),
        (7.0, 1.0),
    ];

    #[test]
    fn the_error_function_agrees_with_the_tables() {
        for (x, expected) in ERF {
            assert!((erf_f64(x) - expected).abs() < 3e-16, "erf {x} = {}", erf_f64(x));
            assert_eq!(erf_f64(-x), -erf_f64(x));
            assert!((f64::from(erf_f32::<true>(x as f32)) - erf_f64(f64::from(x as f32))).abs() < 2e-7);
        }
        assert!(erf_f64(f64::NAN).is_nan());
    }

    /// Largest error of `quick` against `exact` over an even sweep, measured by `error(quick, exact)`.
    fn sweep(from: f64, to: f64, quick: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, error: impl Fn(f64, f64) -> f64) -> f64 {
        (0..=200_000).map(|i| (from + (to - from) * f64::from(i) / 200_000.0) as f32).fold(0.0, |worst, x| {
            let e = error(f64::from(quick(x)), exact(f64::from(x)));
            if e > worst { e } else { worst }
        })
    }

    fn relative(a: f64, b: f64) -> f64 {
        if a == b { 0.0 } else { (a - b).abs() / b.abs() }
    }

    fn absolute(a: f64, b: f64) -> f64 {
        (a - b).abs()
    }

    #[test]
    fn the_quick_exponential_keeps_seven_digits() {
        assert!(sweep(-87.3, 88.3, exp_f32::<true>, f64::exp, relative) < 2e-7);
        assert!(sweep(-87.3, 88.3, exp_f32::<false>, f64::exp, relative) < 2e-7);
        assert!(sweep(-1.0, 1.0, exp_f32::<true>, f64::exp, relative) < 1.3e-7);
        assert_eq!(exp_f32::<true>(0.0), 1.0);
    }

    #[test]
    fn the_quick_exponential_has_proper_ends() {
        for x in [-87.4, -1e4, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp_f32::<true>(x), 0.0);
            assert_eq!(exp_f32::<false>(x), 0.0);
        }
        for x in [88.8, 1e4, f32::MAX, f32::INFINITY] {
            assert_eq!(exp_f32::<true>(x), f32::INFINITY);
            assert_eq!(exp_f32::<false>(x), f32::INFINITY);
        }
        assert!(exp_f32::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn the_quick_tangent_keeps_six_digits() {
        assert!(sweep(-20.0, 20.0, tanh_f32::<true>, f64::tanh, relative) < 3e-7);
        assert!(sweep(-1.0, 1.0, tanh_f32::<false>, f64::tanh, relative) < 3e-7);
        assert_eq!(tanh_f32::<true>(f32::INFINITY), 1.0);
        assert_eq!(tanh_f32::<true>(f32::NEG_INFINITY), -1.0);
    }

    #[test]
    fn the_quick_normal_distribution_keeps_seven_digits() {
        assert!(sweep(-12.0, 12.0, normal_f32::<true>, normal_f64, absolute) < 1e-7);
        assert!(sweep(-12.0, 12.0, normal_f32::<false>, normal_f64, absolute) < 1e-7);
        assert!(sweep(-8.0, 8.0, erf_f32::<true>, erf_f64, absolute) < 2e-7);
        assert_eq!(normal_f32::<true>(f32::NEG_INFINITY), 0.0);
        assert_eq!(normal_f32::<true>(f32::INFINITY), 1.0);
    }
}

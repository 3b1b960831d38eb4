//! What the tests of several kernels share.

use crate::Real;

/// Numbers between −1 and 1, the same for the same seed: the high bits of Knuth's linear congruential generator.
pub(crate) fn noise<T: Real>(count: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::from_f32((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
    };
    (0..count).map(|_| next()).collect()
}

/// Whole numbers between −4 and 4: their sums of products are exact in either type.
pub(crate) fn whole<T: Real>(count: usize, seed: u64) -> Vec<T> {
    noise::<f64>(count, seed).into_iter().map(|x| T::from_f64((x * 4.0).round())).collect()
}

/// The same numbers as f64.
pub(crate) fn exact<T: Real>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

/// Bit patterns (of the exact f64, which keeps the sign of 0), for comparisons to the last bit.
pub(crate) fn bits<T: Real>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// Panics at the first pair further apart than `tolerance · (1 + |expected|)`.
pub(crate) fn assert_close<T: Real>(found: &[T], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (found.to_f64() - expected).abs();
        assert!(error <= tolerance * (1.0 + expected.abs()), "number {i}: {found:?} instead of {expected}");
    }
}

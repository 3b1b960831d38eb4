//! The two number types of the kernels: f32 for speed, f64 for conformance.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use crate::elementary;
use crate::level::{Level, PORTABLE_FMA};
use crate::tile::{self, Tiles};

/// f32 or f64. Sealed: the packed layout and the kernels are written for these two.
pub trait Real:
    sealed::Kernel
    + Copy
    + Send
    + Sync
    + Default
    + PartialEq
    + PartialOrd
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
    + 'static
{
    /// Output columns in one panel of a packed weight: two 512-bit registers.
    const PANEL: usize;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// −∞.
    const NEG_INFINITY: Self;
    /// +∞.
    const INFINITY: Self;
    /// The largest finite number.
    const MAX: Self;

    /// Nearest number of this type.
    fn from_f64(value: f64) -> Self;
    /// Exact.
    fn from_f32(value: f32) -> Self;
    /// Exact.
    fn to_f64(self) -> f64;
    /// Nearest f32.
    fn to_f32(self) -> f32;
    /// eˣ, to the type's own precision.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root, correctly rounded.
    fn sqrt(self) -> Self;
    /// Hyperbolic tangent, to the type's own precision.
    fn tanh(self) -> Self;
    /// Error function: absolute error below 2e-7 (f32), 2e-16 (f64).
    fn erf(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The larger one; the other one if one is NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller one; the other one if one is NaN.
    fn min(self, other: Self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// `self * factor + summand`, rounded once. Slow where the processor has no such instruction.
    fn mul_add(self, factor: Self, summand: Self) -> Self;
}

pub(crate) mod sealed {
    /// What the kernels need of a number and nobody else should see.
    pub trait Kernel: Sized {
        /// eˣ that vectorises (f32; relative error below 2e-7, 0 below −87.3, ∞ above 88.3), or the exact one (f64).
        fn quick_exp<const FMA: bool>(self) -> Self;
        /// tanh x that vectorises (f32), or the exact one (f64).
        fn quick_tanh<const FMA: bool>(self) -> Self;
        /// Φ(x), the normal distribution, that vectorises (f32), or the exact one (f64).
        fn quick_normal<const FMA: bool>(self) -> Self;
        /// The product's inner loops for an instruction set.
        fn tiles(level: crate::level::Level) -> crate::tile::Tiles<Self>;
        /// This thread's spare buffers of this type.
        fn spares() -> &'static std::thread::LocalKey<std::cell::RefCell<Vec<crate::buffer::Buffer<Self>>>>;
    }
}

/// `a * b + c`, fused where the instruction set has it: the one multiply–add of all kernels.
#[inline(always)]
pub(crate) fn fma<T: Real, const FMA: bool>(a: T, b: T, c: T) -> T {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

macro_rules! real {
    ($type:ident, $panel:literal, $erf:path) => {
        impl Real for $type {
            const PANEL: usize = $panel;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = $type::NEG_INFINITY;
            const INFINITY: Self = $type::INFINITY;
            const MAX: Self = $type::MAX;

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn from_f32(value: f32) -> Self {
                value as $type
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $type::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $type::ln(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $type::sqrt(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $type::tanh(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                $erf(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $type::abs(self)
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                $type::max(self, other)
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                $type::min(self, other)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $type::is_finite(self)
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, summand: Self) -> Self {
                $type::mul_add(self, factor, summand)
            }
        }
    };
}

real!(f32, 32, elementary::erf_f32::<PORTABLE_FMA>);
real!(f64, 16, elementary::erf_f64);

impl sealed::Kernel for f32 {
    #[inline(always)]
    fn quick_exp<const FMA: bool>(self) -> Self {
        elementary::exp_f32::<FMA>(self)
    }
    #[inline(always)]
    fn quick_tanh<const FMA: bool>(self) -> Self {
        elementary::tanh_f32::<FMA>(self)
    }
    #[inline(always)]
    fn quick_normal<const FMA: bool>(self) -> Self {
        elementary::normal_f32::<FMA>(self)
    }
    fn tiles(level: Level) -> Tiles<Self> {
        match level {
            Level::Portable => tile::portable::<f32>(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => tile::x86::avx2_f32(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => tile::x86::avx512_f32(),
        }
    }
    fn spares() -> &'static std::thread::LocalKey<std::cell::RefCell<Vec<crate::buffer::Buffer<Self>>>> {
        thread_local!(static SPARES: std::cell::RefCell<Vec<crate::buffer::Buffer<f32>>> = const { std::cell::RefCell::new(Vec::new()) });
        &SPARES
    }
}

impl sealed::Kernel for f64 {
    #[inline(always)]
    fn quick_exp<const FMA: bool>(self) -> Self {
        f64::exp(self)
    }
    #[inline(always)]
    fn quick_tanh<const FMA: bool>(self) -> Self {
        f64::tanh(self)
    }
    #[inline(always)]
    fn quick_normal<const FMA: bool>(self) -> Self {
        elementary::normal_f64(self)
    }
    fn tiles(level: Level) -> Tiles<Self> {
        match level {
            Level::Portable => tile::portable::<f64>(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => tile::x86::avx2_f64(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => tile::x86::avx512_f64(),
        }
    }
    fn spares() -> &'static std::thread::LocalKey<std::cell::RefCell<Vec<crate::buffer::Buffer<Self>>>> {
        thread_local!(static SPARES: std::cell::RefCell<Vec<crate::buffer::Buffer<f64>>> = const { std::cell::RefCell::new(Vec::new()) });
        &SPARES
    }
}

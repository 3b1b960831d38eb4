//! Which instruction set runs: found out once, at run time.

use std::sync::OnceLock;

/// Instruction sets that the kernels are compiled for, in rising order of speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the target has.
    Portable,
    /// x86-64 with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Whether plain code of the target has a fused multiply–add; where it has not, `mul_add` is a slow function call.
pub(crate) const PORTABLE_FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

impl Level {
    /// The best level of this processor.
    pub(crate) fn best() -> Level {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| *Level::available().last().expect("the portable level is always there"))
    }

    /// Every level that this processor has, in rising order.
    pub(crate) fn available() -> Vec<Level> {
        #[allow(unused_mut)]
        let mut levels = vec![Level::Portable];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            levels.push(Level::Avx2);
            if ["avx512f", "avx512bw", "avx512dq", "avx512vl"].iter().all(|&name| has(name)) {
                levels.push(Level::Avx512);
            }
        }
        levels
    }
}

#[cfg(target_arch = "x86_64")]
fn has(feature: &str) -> bool {
    match feature {
        "avx512f" => is_x86_feature_detected!("avx512f"),
        "avx512bw" => is_x86_feature_detected!("avx512bw"),
        "avx512dq" => is_x86_feature_detected!("avx512dq"),
        _ => is_x86_feature_detected!("avx512vl"),
    }
}

/// Compiles one inlined body `fn body<T: Real, const FMA: bool>(…)` for each instruction set: `name(level, …)` runs the one for `level`.
macro_rules! each_level {
    ($(#[$note:meta])* fn $name:ident<T>($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? = $body:ident) => {
        $(#[$note])*
        #[allow(clippy::too_many_arguments)]
        pub(crate) fn $name<T: crate::Real>(level: crate::level::Level, $($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512<T: crate::Real>($($arg: $type),*) $(-> $out)? {
                $body::<T, true>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2<T: crate::Real>($($arg: $type),*) $(-> $out)? {
                $body::<T, true>($($arg),*)
            }
            match level {
                crate::level::Level::Portable => $body::<T, { crate::level::PORTABLE_FMA }>($($arg),*),
                // SAFETY: a level is only made by `Level::available`, which has seen these features on this processor.
                #[cfg(target_arch = "x86_64")]
                crate::level::Level::Avx2 => unsafe { avx2::<T>($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                crate::level::Level::Avx512 => unsafe { avx512::<T>($($arg),*) },
            }
        }
    };
}
pub(crate) use each_level;

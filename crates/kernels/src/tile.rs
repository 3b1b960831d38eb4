//! The inner loop of every product: a few rows of x times one panel of a packed weight.
//!
//! Each number of the result has its own accumulator, which takes its products in rising order of k, fused where the instruction set has it. So it does not
//! matter to the last bit how rows are grouped into tiles, nor whether the sum is broken off and continued from memory ([`Finish::Continue`]).

use crate::Real;
use crate::level::PORTABLE_FMA;
use crate::real::fma;

/// How a tile's sums start, and where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(unreachable_pub, reason = "named in a sealed trait")]
pub enum Finish {
    /// From 0; `out = sum + bias`.
    Set,
    /// From 0; `out = out + (sum + bias)`.
    Add,
    /// From `out`; `out = sum`.
    Continue,
}

/// Rows of x times one panel.
#[allow(unreachable_pub, reason = "named in a sealed trait")]
pub struct Tile<T> {
    /// Length of the sums.
    pub(crate) k: usize,
    /// First row; the others follow `x_stride` apart.
    pub(crate) x: *const T,
    pub(crate) x_stride: usize,
    /// `[k, PANEL]`.
    pub(crate) panel: *const T,
    /// First row of the result; the others follow `out_stride` apart.
    pub(crate) out: *mut T,
    pub(crate) out_stride: usize,
    /// Columns of the panel that are wanted, 1 to PANEL.
    pub(crate) columns: usize,
    /// `columns` numbers, or null.
    pub(crate) bias: *const T,
    pub(crate) finish: Finish,
}

/// A function for one number of rows.
///
/// # Safety
/// All pointers of the tile must hold what its fields say, for that number of rows, and the processor must have the function's instruction set.
#[allow(unreachable_pub, reason = "named in a sealed trait")]
pub type TileFn<T> = unsafe fn(&Tile<T>);

/// Functions for 1, 2, … rows.
#[allow(unreachable_pub, reason = "named in a sealed trait")]
pub type Tiles<T> = &'static [TileFn<T>];

/// Puts sums that lie in a `[rows, PANEL]` buffer where they belong: for panels that are not full.
///
/// # Safety
/// As for [`TileFn`], and `sums` must hold `rows · PANEL` numbers.
#[inline(always)]
unsafe fn finish_columns<T: Real>(tile: &Tile<T>, rows: usize, sums: *const T) {
    for row in 0..rows {
        for column in 0..tile.columns {
            // SAFETY: `row` and `column` are inside what the caller promises.
            unsafe {
                let out = tile.out.add(row * tile.out_stride + column);
                let mut sum = *sums.add(row * T::PANEL + column);
                if !tile.bias.is_null() {
                    sum += *tile.bias.add(column);
                }
                *out = if tile.finish == Finish::Add { *out + sum } else { sum };
            }
        }
    }
}

/// Copies the sums to go on with into a `[rows, PANEL]` buffer, 0 where the panel is not full.
///
/// # Safety
/// As for [`TileFn`], and `sums` must have room for `rows · PANEL` numbers.
#[inline(always)]
unsafe fn begin_columns<T: Real>(tile: &Tile<T>, rows: usize, sums: *mut T) {
    for row in 0..rows {
        for column in 0..T::PANEL {
            // SAFETY: `row` and `column` are inside what the caller promises.
            unsafe {
                let start = if column < tile.columns { *tile.out.add(row * tile.out_stride + column) } else { T::ZERO };
                *sums.add(row * T::PANEL + column) = start;
            }
        }
    }
}

/// Columns that the portable tile holds at a time: more would not fit the registers of the smallest target.
const NARROW: usize = 8;
/// The widest panel.
const WIDEST: usize = 32;

/// Plain code.
pub(crate) fn portable<T: Real>() -> Tiles<T> {
    const { &[portable_tile::<T, 1>, portable_tile::<T, 2>, portable_tile::<T, 3>, portable_tile::<T, 4>] }
}

unsafe fn portable_tile<T: Real, const R: usize>(tile: &Tile<T>) {
    let mut sums = [[T::ZERO; WIDEST]; R];
    // Rows of the buffer are PANEL apart, which may be less than WIDEST.
    let sums = sums.as_mut_ptr().cast::<T>();
    // SAFETY: the caller keeps the promises of `TileFn`; the buffer holds R · WIDEST ≥ R · PANEL numbers.
    unsafe {
        if tile.finish == Finish::Continue {
            begin_columns(tile, R, sums);
        }
        for first in (0..tile.columns).step_by(NARROW) {
            let mut narrow = [[T::ZERO; NARROW]; R];
            for (row, narrow) in narrow.iter_mut().enumerate() {
                *narrow = *sums.add(row * T::PANEL + first).cast::<[T; NARROW]>();
            }
            for i in 0..tile.k {
                let weights = *tile.panel.add(i * T::PANEL + first).cast::<[T; NARROW]>();
                for (row, narrow) in narrow.iter_mut().enumerate() {
                    let x = *tile.x.add(row * tile.x_stride + i);
                    for (sum, &weight) in narrow.iter_mut().zip(&weights) {
                        *sum = fma::<T, PORTABLE_FMA>(x, weight, *sum);
                    }
                }
            }
            for (row, narrow) in narrow.iter().enumerate() {
                *sums.add(row * T::PANEL + first).cast::<[T; NARROW]>() = *narrow;
            }
        }
        finish_columns(tile, R, sums);
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use std::arch::x86_64::*;

    use super::{Finish, Tile, Tiles, begin_columns, finish_columns};
    use crate::Real;

    /// A tile of R rows by two registers of columns, over the whole panel.
    macro_rules! tiles {
        ($name:ident, $features:literal, $T:ty, $lanes:literal, $V:ty, $zero:ident, $load:ident, $store:ident, $splat:ident, $fma:ident, $add:ident,
         [$($rows:literal),*]) => {
            /// For 1, 2, … rows.
            pub(crate) fn $name() -> Tiles<$T> {
                #[target_feature(enable = $features)]
                unsafe fn tile<const R: usize>(tile: &Tile<$T>) {
                    const PANEL: usize = <$T as Real>::PANEL;
                    let full = tile.columns == PANEL;
                    let mut spare = [[0.0; PANEL]; R];
                    let spare = spare.as_mut_ptr().cast::<$T>();
                    // SAFETY: the caller keeps the promises of `TileFn`: rows 0..R of x hold k numbers, the panel k · PANEL, rows of `out` `columns`;
                    // the spare rows are used where there are fewer columns than PANEL.
                    unsafe {
                        if !full && tile.finish == Finish::Continue {
                            begin_columns(tile, R, spare);
                        }
                        let (out, out_stride) = if full { (tile.out, tile.out_stride) } else { (spare, PANEL) };
                        let mut first = 0;
                        while first < tile.columns {
                            let mut sums: [[$V; 2]; R] = [[$zero(); 2]; R];
                            if tile.finish == Finish::Continue {
                                for row in 0..R {
                                    sums[row][0] = $load(out.add(row * out_stride + first));
                                    sums[row][1] = $load(out.add(row * out_stride + first + $lanes));
                                }
                            }
                            // By the time the sums are done the place for them has come into the cache.
                            for row in 0..R {
                                _mm_prefetch::<_MM_HINT_ET0>(out.add(row * out_stride + first).cast());
                                _mm_prefetch::<_MM_HINT_ET0>(out.add(row * out_stride + first + $lanes).cast());
                            }
                            let (mut x, mut weights) = (tile.x, tile.panel.add(first));
                            for _ in 0..tile.k {
                                let (left, right) = ($load(weights), $load(weights.add($lanes)));
                                for row in 0..R {
                                    let x = $splat(*x.add(row * tile.x_stride));
                                    sums[row][0] = $fma(x, left, sums[row][0]);
                                    sums[row][1] = $fma(x, right, sums[row][1]);
                                }
                                x = x.add(1);
                                weights = weights.add(PANEL);
                            }
                            if full && !tile.bias.is_null() {
                                let (left, right) = ($load(tile.bias.add(first)), $load(tile.bias.add(first + $lanes)));
                                for row in 0..R {
                                    sums[row][0] = $add(sums[row][0], left);
                                    sums[row][1] = $add(sums[row][1], right);
                                }
                            }
                            if full && tile.finish == Finish::Add {
                                for row in 0..R {
                                    sums[row][0] = $add($load(out.add(row * out_stride + first)), sums[row][0]);
                                    sums[row][1] = $add($load(out.add(row * out_stride + first + $lanes)), sums[row][1]);
                                }
                            }
                            for row in 0..R {
                                $store(out.add(row * out_stride + first), sums[row][0]);
                                $store(out.add(row * out_stride + first + $lanes), sums[row][1]);
                            }
                            first += 2 * $lanes;
                        }
                        if !full {
                            finish_columns(tile, R, spare);
                        }
                    }
                }
                &[$(tile::<$rows>),*]
            }
        };
    }

    tiles!(
        avx512_f32,
        "avx512f",
        f32,
        16,
        __m512,
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    );
    tiles!(
        avx512_f64,
        "avx512f",
        f64,
        8,
        __m512d,
        _mm512_setzero_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_set1_pd,
        _mm512_fmadd_pd,
        _mm512_add_pd,
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    );
    tiles!(
        avx2_f32,
        "avx2,fma",
        f32,
        8,
        __m256,
        _mm256_setzero_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        [1, 2, 3, 4, 5, 6]
    );
    tiles!(
        avx2_f64,
        "avx2,fma",
        f64,
        4,
        __m256d,
        _mm256_setzero_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_set1_pd,
        _mm256_fmadd_pd,
        _mm256_add_pd,
        [1, 2, 3, 4, 5, 6]
    );
}

//! Quantised blocks as ggml's format defines them, decoded to f32.
//!
//! A block holds small integers q and, in halves, a scale d and perhaps an offset m: the numbers are `d·q` or `d·q + m`. The K blocks hold
//! eight or sixteen groups with a small integer scale of their own: `(d·scale)·q − (dmin·min)`. All arithmetic is in f32 and rounds as
//! written here, so that the numbers are those of the format's reference implementation to the last bit.

use half::f16;

/// Pairs every block of `B` bytes with the `N` numbers that it stands for.
fn blocks<'a, const B: usize, const N: usize>(
    bytes: &'a [u8],
    out: &'a mut [f32],
) -> impl Iterator<Item = (&'a [u8; B], &'a mut [f32; N])> {
    bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0)
}

/// The half at byte `at`.
fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// d, then 16 bytes: low four bits are numbers 0–15, high four bits 16–31. `d·(q − 8)`.
pub(super) fn q4_0(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in blocks::<18, 32>(bytes, out) {
        let d = half(b, 0);
        let (low, high) = y.split_at_mut(16);
        for ((q, low), high) in b[2..].iter().zip(low).zip(high) {
            *low = d * (i32::from(q & 15) - 8) as f32;
            *high = d * (i32::from(q >> 4) - 8) as f32;
        }
    }
}

/// d, m, then 16 bytes as in [`q4_0`]. `d·q + m`.
pub(super) fn q4_1(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in blocks::<20, 32>(bytes, out) {
        let (d, m) = (half(b, 0), half(b, 2));
        let (low, high) = y.split_at_mut(16);
        for ((q, low), high) in b[4..].iter().zip(low).zip(high) {
            *low = d * i32::from(q & 15) as f32 + m;
            *high = d * i32::from(q >> 4) as f32 + m;
        }
    }
}

/// d, the fifth bits of all 32 numbers, then 16 bytes as in [`q4_0`]. `d·(q − 16)`.
pub(super) fn q5_0(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in blocks::<22, 32>(bytes, out) {
        let d = half(b, 0);
        let fifth = u32::from_le_bytes([b[2], b[3], b[4], b[5]]);
        let (low, high) = y.split_at_mut(16);
        for (i, ((q, low), high)) in b[6..].iter().zip(low).zip(high).enumerate() {
            *low = d * (five_bits(q & 15, fifth >> i) - 16) as f32;
            *high = d * (five_bits(q >> 4, fifth >> (i + 16)) - 16) as f32;
        }
    }
}

/// d, m, then as [`q5_0`]. `d·q + m`.
pub(super) fn q5_1(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in blocks::<24, 32>(bytes, out) {
        let (d, m) = (half(b, 0), half(b, 2));
        let fifth = u32::from_le_bytes([b[4], b[5], b[6], b[7]]);
        let (low, high) = y.split_at_mut(16);
        for (i, ((q, low), high)) in b[8..].iter().zip(low).zip(high).enumerate() {
            *low = d * five_bits(q & 15, fifth >> i) as f32 + m;
            *high = d * five_bits(q >> 4, fifth >> (i + 16)) as f32 + m;
        }
    }
}

fn five_bits(four: u8, fifth: u32) -> i32 {
    i32::from(four) | ((fifth & 1) << 4) as i32
}

/// d, then 32 signed bytes. `d·q`.
pub(super) fn q8_0(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in blocks::<34, 32>(bytes, out) {
        let d = half(b, 0);
        for (q, y) in b[2..].iter().zip(y) {
            *y = d * f32::from(*q as i8);
        }
    }
}

/// d, dmin, eight scales and minima of six bits in 12 bytes, then 128 bytes. Each run of 32 bytes is two groups of 32 numbers, low four bits
/// and high four bits.
pub(super) fn q4_k(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in blocks::<144, 256>(bytes, out) {
        let (d, dmin) = (half(b, 0), half(b, 2));
        for (pair, (qs, y)) in blocks_of::<32, 64>(&b[16..], y).enumerate() {
            let (first, second) = y.split_at_mut(32);
            let (d1, m1) = scale_and_min(&b[4..16], 2 * pair, d, dmin);
            let (d2, m2) = scale_and_min(&b[4..16], 2 * pair + 1, d, dmin);
            for ((q, first), second) in qs.iter().zip(first).zip(second) {
                *first = d1 * i32::from(q & 15) as f32 - m1;
                *second = d2 * i32::from(q >> 4) as f32 - m2;
            }
        }
    }
}

/// As [`q4_k`], with 32 bytes before the last 128 that hold every number's fifth bit: bit g of byte i is that of number i of group g.
pub(super) fn q5_k(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in blocks::<176, 256>(bytes, out) {
        let (d, dmin) = (half(b, 0), half(b, 2));
        let fifth = &b[16..48];
        for (pair, (qs, y)) in blocks_of::<32, 64>(&b[48..], y).enumerate() {
            let (first, second) = y.split_at_mut(32);
            let (d1, m1) = scale_and_min(&b[4..16], 2 * pair, d, dmin);
            let (d2, m2) = scale_and_min(&b[4..16], 2 * pair + 1, d, dmin);
            for (((q, h), first), second) in qs.iter().zip(fifth).zip(first).zip(second) {
                let h = h >> (2 * pair);
                *first = d1 * i32::from((q & 15) | ((h & 1) << 4)) as f32 - m1;
                *second = d2 * i32::from((q >> 4) | ((h & 2) << 3)) as f32 - m2;
            }
        }
    }
}

/// 128 bytes of low four bits, 64 of high two bits, 16 signed scales, d. `(d·scale)·(q − 32)`. Each half of a block is four runs of 32 numbers,
/// which share 64 low bytes (run 0 and 1 their low four bits, 2 and 3 their high ones) and 32 high bytes (two bits per run).
pub(super) fn q6_k(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in blocks::<210, 256>(bytes, out) {
        let d = half(b, 208);
        for (part, y) in y.as_chunks_mut::<128>().0.iter_mut().enumerate() {
            let (low, high) = (&b[64 * part..][..64], &b[128 + 32 * part..][..32]);
            let scales = &b[192 + 8 * part..][..8];
            for (run, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let (low, nibble) = (&low[32 * (run % 2)..][..32], 4 * (run / 2));
                for (group, y) in y.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                    let scale = d * f32::from(scales[2 * run + group] as i8);
                    let (low, high) = (&low[16 * group..][..16], &high[16 * group..][..16]);
                    for ((l, h), y) in low.iter().zip(high).zip(y) {
                        let q = ((l >> nibble) & 15) | (((h >> (2 * run)) & 3) << 4);
                        *y = scale * (i32::from(q) - 32) as f32;
                    }
                }
            }
        }
    }
}

/// Pairs runs of `B` bytes with runs of `N` numbers within a block.
fn blocks_of<'a, const B: usize, const N: usize>(
    bytes: &'a [u8],
    out: &'a mut [f32; 256],
) -> impl Iterator<Item = (&'a [u8; B], &'a mut [f32; N])> {
    blocks(bytes, out)
}

/// `d·scale` and `dmin·min` of group `g`. Groups 0–3 keep six bits in bytes g (scale) and g + 4 (min); groups 4–7 keep their low four bits in
/// byte g + 4 (scale low, min high) and their two high bits atop those of groups 0–3.
fn scale_and_min(packed: &[u8], g: usize, d: f32, dmin: f32) -> (f32, f32) {
    let (scale, min) = if g < 4 {
        (packed[g] & 63, packed[g + 4] & 63)
    } else {
        ((packed[g + 4] & 15) | ((packed[g - 4] >> 6) << 4), (packed[g + 4] >> 4) | ((packed[g] >> 6) << 4))
    };
    (d * f32::from(scale), dmin * f32::from(min))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::encoding::Encoding;
    use super::*;

    /// Writes `value` into `bits` bits of `block`, beginning at bit `at` (bit 0 is the lowest of byte 0).
    fn put(block: &mut [u8], at: usize, bits: usize, value: u8) {
        for bit in 0..bits {
            block[(at + bit) / 8] |= ((value >> bit) & 1) << ((at + bit) % 8);
        }
    }

    fn put_half(block: &mut [u8], at: usize, value: f32) {
        block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
    }

    /// Packs a block from its integers: where each goes is the format's table, bit by bit, and nothing of the decoders'.
    struct Block {
        bytes: Vec<u8>,
        expected: Vec<f32>,
    }

    const D: f32 = 0.031_25; // Powers of two: every product and sum below is exact.
    const M: f32 = -0.5;

    fn simple(encoding: Encoding, random: &mut ChaCha8Rng) -> Block {
        // (header bytes with d and m, bits below the fifth, offset of q)
        let (offset, has_m, has_fifth) = match encoding {
            Encoding::Q4_0 => (8, false, false),
            Encoding::Q4_1 => (0, true, false),
            Encoding::Q5_0 => (16, false, true),
            Encoding::Q5_1 => (0, true, true),
            _ => panic!("{encoding:?}"),
        };
        let mut bytes = vec![0; encoding.block().1];
        put_half(&mut bytes, 0, D);
        let mut at = 2;
        if has_m {
            put_half(&mut bytes, at, M);
            at += 2;
        }
        let fifth = at;
        if has_fifth {
            at += 4;
        }
        let mut expected = vec![];
        for i in 0..32 {
            let q = random.random_range(0..if has_fifth { 32u8 } else { 16 });
            put(&mut bytes, 8 * (at + i % 16) + 4 * (i / 16), 4, q & 15);
            if has_fifth {
                put(&mut bytes, 8 * fifth + i, 1, q >> 4);
            }
            expected.push(D * (f32::from(q) - offset as f32) + if has_m { M } else { 0.0 });
        }
        Block { bytes, expected }
    }

    fn q8(random: &mut ChaCha8Rng) -> Block {
        let mut bytes = vec![0; 34];
        put_half(&mut bytes, 0, D);
        let mut expected = vec![];
        for i in 0..32 {
            let q: i8 = random.random();
            bytes[2 + i] = q as u8;
            expected.push(D * f32::from(q));
        }
        Block { bytes, expected }
    }

    fn k4_or_5(fifth: bool, random: &mut ChaCha8Rng) -> Block {
        let mut bytes = vec![0; if fifth { 176 } else { 144 }];
        put_half(&mut bytes, 0, D);
        put_half(&mut bytes, 2, M);
        let mut expected = vec![];
        for group in 0..8 {
            let (scale, min) = (random.random_range(0..64u8), random.random_range(0..64u8));
            if group < 4 {
                put(&mut bytes, 8 * (4 + group), 6, scale);
                put(&mut bytes, 8 * (8 + group), 6, min);
            } else {
                put(&mut bytes, 8 * (8 + group), 4, scale & 15);
                put(&mut bytes, 8 * (8 + group) + 4, 4, min & 15);
                put(&mut bytes, 8 * group + 6, 2, scale >> 4);
                put(&mut bytes, 8 * (group + 4) + 6, 2, min >> 4);
            }
            for i in 0..32 {
                let q = random.random_range(0..if fifth { 32u8 } else { 16 });
                let low = if fifth { 48 } else { 16 };
                put(&mut bytes, 8 * (low + 32 * (group / 2) + i) + 4 * (group % 2), 4, q & 15);
                if fifth {
                    put(&mut bytes, 8 * (16 + i) + group, 1, q >> 4);
                }
                expected.push(D * f32::from(scale) * f32::from(q) - M * f32::from(min));
            }
        }
        Block { bytes, expected }
    }

    fn k6(random: &mut ChaCha8Rng) -> Block {
        let mut bytes = vec![0; 210];
        put_half(&mut bytes, 208, D);
        let scales: Vec<i8> = (0..16).map(|_| random.random()).collect();
        for (i, scale) in scales.iter().enumerate() {
            bytes[192 + i] = *scale as u8;
        }
        let mut expected = vec![];
        for i in 0..256 {
            let q = random.random_range(0..64u8);
            let (part, run, within) = (i / 128, i % 128 / 32, i % 32);
            put(&mut bytes, 8 * (64 * part + 32 * (run % 2) + within) + 4 * (run / 2), 4, q & 15);
            put(&mut bytes, 8 * (128 + 32 * part + within) + 2 * run, 2, q >> 4);
            expected.push(D * f32::from(scales[i / 16]) * (f32::from(q) - 32.0));
        }
        Block { bytes, expected }
    }

    #[test]
    fn blocks_of_every_kind_decode_to_the_formula_of_their_format() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for encoding in
            [Encoding::Q4_0, Encoding::Q4_1, Encoding::Q5_0, Encoding::Q5_1, Encoding::Q8_0, Encoding::Q4K, Encoding::Q5K, Encoding::Q6K]
        {
            let (mut bytes, mut expected) = (vec![], vec![]);
            for _ in 0..20 {
                let block = match encoding {
                    Encoding::Q8_0 => q8(&mut random),
                    Encoding::Q4K => k4_or_5(false, &mut random),
                    Encoding::Q5K => k4_or_5(true, &mut random),
                    Encoding::Q6K => k6(&mut random),
                    _ => simple(encoding, &mut random),
                };
                bytes.extend(block.bytes);
                expected.extend(block.expected);
            }
            let mut out = vec![f32::NAN; expected.len()];
            encoding.decode(&bytes, &mut out);
            assert_eq!(out, expected, "{encoding:?}");
        }
    }

    #[test]
    fn scales_round_as_the_format_says() {
        // d = 1/3 in half precision: `(d·scale)·q` and `d·(scale·q)` differ, and the first is right.
        let mut bytes = vec![0u8; 210];
        put_half(&mut bytes, 208, 1.0 / 3.0);
        bytes[192] = 123;
        bytes[0] = 13; // q = 13 − 32
        let mut out = [0.0; 256];
        q6_k(&bytes, &mut out);
        let d = f16::from_f32(1.0 / 3.0).to_f32();
        assert_eq!(out[0], (d * 123.0) * -19.0);
    }
}

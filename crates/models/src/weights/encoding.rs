//! How numbers are stored, and the way back to f32.

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

use super::quant;

/// How a tensor's numbers are stored. Blocks run along the last axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
    /// Known by name and size, but not weights that can be read.
    Other {
        name: &'static str,
        /// Numbers in a block.
        numbers: usize,
        /// Bytes in a block.
        bytes: usize,
    },
}

use Encoding::*;

impl Encoding {
    /// The name that people see.
    pub(super) fn name(self) -> &'static str {
        match self {
            F32 => "f32",
            F16 => "f16",
            Bf16 => "bf16",
            Q4_0 => "q4_0",
            Q4_1 => "q4_1",
            Q5_0 => "q5_0",
            Q5_1 => "q5_1",
            Q8_0 => "q8_0",
            Q4K => "q4_k",
            Q5K => "q5_k",
            Q6K => "q6_k",
            Other { name, .. } => name,
        }
    }

    /// Numbers and bytes in one block.
    pub(super) fn block(self) -> (usize, usize) {
        match self {
            F32 => (1, 4),
            F16 | Bf16 => (1, 2),
            Q4_0 => (32, 18),
            Q4_1 => (32, 20),
            Q5_0 => (32, 22),
            Q5_1 => (32, 24),
            Q8_0 => (32, 34),
            Q4K => (256, 144),
            Q5K => (256, 176),
            Q6K => (256, 210),
            Other { numbers, bytes, .. } => (numbers, bytes),
        }
    }

    /// Bytes that `numbers` numbers take, or `None` if they are no whole number of blocks or too many.
    pub(super) fn bytes(self, numbers: usize) -> Option<usize> {
        let (block, bytes) = self.block();
        if numbers.is_multiple_of(block) { (numbers / block).checked_mul(bytes) } else { None }
    }

    /// Whether [`Encoding::decode`] knows it.
    pub(super) fn is_readable(self) -> bool {
        !matches!(self, Other { .. })
    }

    /// Decodes whole blocks. `bytes` must be what [`Encoding::bytes`] gives for `out`'s length.
    pub(super) fn decode(self, bytes: &[u8], out: &mut [f32]) {
        debug_assert_eq!(self.bytes(out.len()), Some(bytes.len()));
        match self {
            F32 => decode_f32(bytes, out),
            F16 => decode_f16(bytes, out),
            Bf16 => decode_bf16(bytes, out),
            Q4_0 => quant::q4_0(bytes, out),
            Q4_1 => quant::q4_1(bytes, out),
            Q5_0 => quant::q5_0(bytes, out),
            Q5_1 => quant::q5_1(bytes, out),
            Q8_0 => quant::q8_0(bytes, out),
            Q4K => quant::q4_k(bytes, out),
            Q5K => quant::q5_k(bytes, out),
            Q6K => quant::q6_k(bytes, out),
            Other { .. } => unreachable!("only what is readable is decoded"),
        }
    }
}

fn decode_f32(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in bytes.as_chunks().0.iter().zip(out) {
        *y = f32::from_le_bytes(*b);
    }
}

fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    // Aligned halves go through the processor's own conversion, many at a time; files almost always align them.
    match bytemuck::try_cast_slice::<u8, u16>(bytes) {
        Ok(halves) if cfg!(target_endian = "little") => halves.reinterpret_cast::<f16>().convert_to_f32_slice(out),
        _ => {
            for (b, y) in bytes.as_chunks().0.iter().zip(out) {
                *y = f16::from_le_bytes(*b).to_f32();
            }
        }
    }
}

fn decode_bf16(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in bytes.as_chunks().0.iter().zip(out) {
        *y = bf16::from_le_bytes(*b).to_f32();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sign · 2^(e − bias) · (1 + m/2^bits), or 2^(1 − bias) · m/2^bits where e = 0.
    fn by_definition(bits: u16, exponent_bits: u32, mantissa_bits: u32) -> f64 {
        let bias = (1 << (exponent_bits - 1)) - 1;
        let exponent = i32::from(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
        let fraction = f64::from(bits & ((1 << mantissa_bits) - 1)) / f64::from(1 << mantissa_bits);
        let magnitude = match exponent {
            0 => fraction * 2f64.powi(1 - bias),
            e if e == (1 << exponent_bits) - 1 => {
                if fraction == 0.0 {
                    f64::INFINITY
                } else {
                    f64::NAN
                }
            }
            e => (1.0 + fraction) * 2f64.powi(e - bias),
        };
        if bits >> 15 == 1 { -magnitude } else { magnitude }
    }

    #[test]
    fn every_half_is_decoded_by_its_definition_subnormals_included() {
        for (encoding, exponent_bits, mantissa_bits) in [(F16, 5, 10), (Bf16, 8, 7)] {
            let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
            let mut out = vec![0.0; 1 << 16];
            encoding.decode(&bytes, &mut out);
            for (bits, &y) in (0..=u16::MAX).zip(&out) {
                let expected = by_definition(bits, exponent_bits, mantissa_bits);
                assert!(
                    f64::from(y) == expected && y.is_sign_negative() == (bits >> 15 == 1) || y.is_nan() && expected.is_nan(),
                    "{bits:04x}: {y}"
                );
            }
        }
    }

    #[test]
    fn halves_go_there_and_back() {
        for x in [0.0, -0.0, 1.0, -65504.0, f32::powi(2.0, -24), 3.0 * f32::powi(2.0, -24), f32::powi(2.0, -14), 0.333_251_95] {
            let mut y = [f32::NAN];
            F16.decode(&f16::from_f32(x).to_le_bytes(), &mut y);
            assert_eq!(y[0].to_bits(), x.to_bits());
        }
        for x in [0.0, -0.0, 1.0, f32::powi(2.0, -133), 3.0 * f32::powi(2.0, -133), f32::powi(2.0, -126), -3.0f32.powi(5)] {
            let mut y = [f32::NAN];
            Bf16.decode(&bf16::from_f32(x).to_le_bytes(), &mut y);
            assert_eq!(y[0].to_bits(), x.to_bits());
        }
    }

    #[test]
    fn unaligned_bytes_decode_the_same() {
        let values = [1.5f32, -2.0, 0.25, 1e-7];
        for (encoding, bytes) in [
            (F32, values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()),
            (F16, values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect()),
            (Bf16, values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect()),
        ] {
            let shifted: Vec<u8> = std::iter::once(0).chain(bytes.iter().copied()).collect();
            let (mut straight, mut oblique) = ([0.0; 4], [0.0; 4]);
            encoding.decode(&bytes, &mut straight);
            encoding.decode(&shifted[1..], &mut oblique);
            assert_eq!(straight, oblique);
        }
    }

    #[test]
    fn only_whole_blocks_have_a_size() {
        assert_eq!(Q4K.bytes(512), Some(288));
        assert_eq!(Q4K.bytes(511), None);
        assert_eq!(F32.bytes(usize::MAX), None);
    }
}

//! A weight matrix laid out for the product: panels of [`Real::PANEL`] output columns, each `[input, PANEL]`, padded with zeros.

use std::ops::Range;

use rayon::prelude::*;

use crate::Real;
use crate::buffer::{Buffer, Scratch};

/// A weight of `outputs × inputs`, packed once and used for every row that passes through the layer.
pub struct Packed<T> {
    data: Buffer<T>,
    outputs: usize,
    inputs: usize,
}

impl<T: Real> Packed<T> {
    /// All weights 0. Takes `inputs · outputs` numbers, outputs rounded up to whole panels.
    pub fn zeros(outputs: usize, inputs: usize) -> Self {
        let padded = outputs.div_ceil(T::PANEL) * T::PANEL;
        let len = padded.checked_mul(inputs).expect("callers check the size of a weight before they pack it");
        Packed { data: Buffer::zeros(len), outputs, inputs }
    }

    /// A weight whose outputs are the given rows, each of `inputs` numbers: `x·Wᵀ` then multiplies `x` with each row.
    pub fn from_rows<'a>(inputs: usize, rows: impl ExactSizeIterator<Item = &'a [T]> + Clone) -> Self {
        let mut packed = Self::zeros(rows.len(), inputs);
        if inputs == 0 {
            return packed;
        }
        for (panel, out) in packed.data.chunks_exact_mut(inputs * T::PANEL).enumerate() {
            transpose_into(out, 0, inputs, rows.clone().skip(panel * T::PANEL).take(T::PANEL), |value| value);
        }
        packed
    }

    /// A weight whose inputs are the given rows, each of `outputs` numbers: `x·Wᵀ` then is `x` times the matrix of these rows.
    pub fn from_columns<'a>(outputs: usize, rows: impl ExactSizeIterator<Item = &'a [T]>) -> Self {
        let mut packed = Self::zeros(outputs, rows.len());
        let inputs = packed.inputs;
        for (input, row) in rows.enumerate() {
            for (panel, part) in row.chunks(T::PANEL).enumerate() {
                packed.data[(panel * inputs + input) * T::PANEL..][..part.len()].copy_from_slice(part);
            }
        }
        packed
    }

    /// Output columns, without padding.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Input columns.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Memory taken.
    pub fn bytes(&self) -> usize {
        self.data.len() * size_of::<T>()
    }

    /// Writes outputs `first..` from rows of the weight as PyTorch keeps it: `values` is `[outputs, inputs]`, row-major.
    pub fn set_outputs(&mut self, first: usize, values: &[f32]) {
        let k = self.inputs;
        if k == 0 {
            return;
        }
        assert!(values.len().is_multiple_of(k), "{} values are no whole rows of {k} inputs", values.len());
        let rows = values.len() / k;
        assert!(first + rows <= self.outputs, "outputs {first}..{} of a weight of {}", first + rows, self.outputs);
        let mut done = 0;
        while done < rows {
            let (panel, lane) = ((first + done) / T::PANEL, (first + done) % T::PANEL);
            let count = (T::PANEL - lane).min(rows - done);
            let panel = &mut self.data[panel * k * T::PANEL..][..k * T::PANEL];
            transpose_into(panel, lane, k, values[done * k..][..count * k].chunks_exact(k), T::from_f32);
            done += count;
        }
    }

    /// Writes inputs `first..` from rows of the transposed weight (GPT-2's `Conv1D`): `values` is `[inputs, outputs]`, row-major.
    pub fn set_inputs(&mut self, first: usize, values: &[f32]) {
        let (k, n) = (self.inputs, self.outputs);
        if n == 0 {
            return;
        }
        assert!(values.len().is_multiple_of(n), "{} values are no whole rows of {n} outputs", values.len());
        assert!(first + values.len() / n <= k, "inputs {first}..{} of a weight of {k}", first + values.len() / n);
        for (input, row) in values.chunks_exact(n).enumerate() {
            for (panel, part) in row.chunks(T::PANEL).enumerate() {
                let out = &mut self.data[(panel * k + first + input) * T::PANEL..][..part.len()];
                out.iter_mut().zip(part).for_each(|(out, &value)| *out = T::from_f32(value));
            }
        }
    }

    /// Fills all outputs, panels in parallel on the current rayon pool: `read` writes the given outputs' rows (`[outputs, inputs]`, row-major) into its buffer.
    ///
    /// # Errors
    /// The first that `read` returns; the weight is then partly filled.
    pub fn fill_outputs_parallel<E: Send>(&mut self, read: impl Fn(Range<usize>, &mut [f32]) -> Result<(), E> + Sync) -> Result<(), E> {
        let (k, n) = (self.inputs, self.outputs);
        if k == 0 {
            return Ok(());
        }
        self.data.par_chunks_mut(k * T::PANEL).enumerate().try_for_each(|(panel, out)| {
            let outputs = panel * T::PANEL..((panel + 1) * T::PANEL).min(n);
            let mut rows = Scratch::<f32>::take(outputs.len() * k);
            read(outputs, &mut rows)?;
            transpose_into(out, 0, k, rows.chunks_exact(k), T::from_f32);
            Ok(())
        })
    }

    /// All panels, `[panel, input, PANEL]`.
    pub(crate) fn data(&self) -> &[T] {
        &self.data
    }
}

impl<T> std::fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({} outputs × {} inputs)", self.outputs, self.inputs)
    }
}

/// Inputs that are transposed together: one cache line of each row.
const BLOCK: usize = 16;

/// `panel[input][lane + row] = rows[row][input]`, for the first `k` numbers of each row.
#[inline(always)]
pub(crate) fn transpose_into<'a, T: Real, S: Copy + 'a>(
    panel: &mut [T],
    lane: usize,
    k: usize,
    rows: impl Iterator<Item = &'a [S]> + Clone,
    convert: impl Fn(S) -> T,
) {
    for first in (0..k).step_by(BLOCK) {
        let inputs = first..k.min(first + BLOCK);
        let out = &mut panel[first * T::PANEL..inputs.end * T::PANEL];
        for (row, values) in rows.clone().enumerate() {
            for (out, &value) in out.chunks_exact_mut(T::PANEL).zip(&values[inputs.clone()]) {
                out[lane + row] = convert(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bits, noise};

    /// The padded panels of a row-major `[outputs, inputs]` weight, by definition.
    fn panels<T: Real>(values: &[f32], n: usize, k: usize) -> Vec<T> {
        let mut panels = vec![T::ZERO; n.div_ceil(T::PANEL) * T::PANEL * k];
        for (i, &value) in values.iter().enumerate() {
            let (output, input) = (i / k, i % k);
            panels[(output / T::PANEL * k + input) * T::PANEL + output % T::PANEL] = T::from_f32(value);
        }
        panels
    }

    fn every_way_of_packing_is_the_same<T: Real>() {
        for (n, k) in [(1, 1), (31, 5), (32, 16), (33, 17), (70, 40), (100, 3)] {
            let values: Vec<f32> = noise(n * k, 1);
            let expected = bits(&panels::<T>(&values, n, k));

            let mut whole = Packed::<T>::zeros(n, k);
            whole.set_outputs(0, &values);
            assert_eq!(bits(whole.data()), expected);

            let mut pieces = Packed::<T>::zeros(n, k);
            for first in (0..n).step_by(7) {
                pieces.set_outputs(first, &values[first * k..n.min(first + 7) * k]);
            }
            assert_eq!(bits(pieces.data()), expected);

            let transposed: Vec<f32> = (0..k * n).map(|i| values[i % n * k + i / n]).collect();
            let mut inputs = Packed::<T>::zeros(n, k);
            for first in (0..k).step_by(4) {
                inputs.set_inputs(first, &transposed[first * n..k.min(first + 4) * n]);
            }
            assert_eq!(bits(inputs.data()), expected);

            let mut parallel = Packed::<T>::zeros(n, k);
            let read = |outputs: Range<usize>, out: &mut [f32]| {
                out.copy_from_slice(&values[outputs.start * k..outputs.end * k]);
                Ok::<(), ()>(())
            };
            parallel.fill_outputs_parallel(read).expect("this reader does not fail");
            assert_eq!(bits(parallel.data()), expected);
            assert_eq!(parallel.bytes(), expected.len() * size_of::<T>());
        }
    }

    #[test]
    fn every_way_of_packing_is_the_same_in_f32_and_f64() {
        every_way_of_packing_is_the_same::<f32>();
        every_way_of_packing_is_the_same::<f64>();
    }

    #[test]
    fn rows_and_columns_pack_like_weights() {
        for (n, k) in [(1, 1), (31, 5), (33, 17), (70, 40)] {
            let values: Vec<f32> = noise(n * k, 2);
            let rows = Packed::from_rows(k, values.chunks_exact(k));
            assert_eq!(bits(rows.data()), bits(&panels::<f32>(&values, n, k)));
            let transposed: Vec<f32> = (0..k * n).map(|i| values[i % n * k + i / n]).collect();
            let columns = Packed::from_columns(n, transposed.chunks_exact(n));
            assert_eq!(bits(columns.data()), bits(rows.data()));
        }
    }

    #[test]
    fn a_failed_read_is_reported() {
        let mut packed = Packed::<f32>::zeros(100, 3);
        let read = |outputs: Range<usize>, _: &mut [f32]| if outputs.contains(&40) { Err("no row 40") } else { Ok(()) };
        assert_eq!(packed.fill_outputs_parallel(read), Err("no row 40"));
    }

    #[test]
    fn an_empty_weight_is_allowed() {
        let mut packed = Packed::<f32>::zeros(0, 5);
        packed.set_outputs(0, &[]);
        packed.set_inputs(0, &[]);
        assert_eq!((packed.outputs(), packed.inputs(), packed.bytes()), (0, 5, 0));
        Packed::<f64>::zeros(5, 0).set_outputs(0, &[]);
    }

    #[test]
    #[should_panic = "outputs 2..4 of a weight of 3"]
    fn outputs_beyond_the_weight_are_refused() {
        Packed::<f32>::zeros(3, 2).set_outputs(2, &[0.0; 4]);
    }
}

//! A stage's weights as a walk down needs them: each matrix decoded once, and packed the ways that rules ask for, when they ask.

use std::{collections::HashMap, sync::OnceLock};

use pellucid_kernels::{Packed, Real};
use rayon::prelude::*;

use crate::{
    Result, WeightStore,
    model::{Layout, Linear, Parameter},
    prepared::Prepared,
};

/// A linear map's weight `[outputs, inputs]` and bias.
#[derive(Debug)]
pub struct Matrix<T> {
    outputs: usize,
    inputs: usize,
    dense: Vec<f32>,
    bias: Option<Vec<T>>,
    packs: [OnceLock<Packed<T>>; 6],
}

/// Which entries of a weight count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    Positive,
    Negative,
}

impl Part {
    fn of(self, w: f32) -> f32 {
        match self {
            Part::All => w,
            Part::Positive => w.max(0.0),
            Part::Negative => w.min(0.0),
        }
    }
}

impl<T: Real> Matrix<T> {
    pub(crate) fn read(map: &Linear, store: &dyn WeightStore) -> Result<Self> {
        let (outputs, inputs) = (map.outputs(), map.inputs);
        let mut dense = vec![0.0; outputs * inputs];
        match map.layout {
            Layout::Outputs => {
                let mut rest = &mut dense[..];
                for range in map.ranges() {
                    let (now, later) = rest.split_at_mut(range.len() * inputs);
                    const ROWS: usize = 64;
                    now.par_chunks_mut(ROWS * inputs.max(1)).enumerate().try_for_each(|(i, out)| {
                        let first = range.start + i * ROWS;
                        store.read_rows(&map.weight, first..first + out.len() / inputs.max(1), out)
                    })?;
                    rest = later;
                }
            }
            Layout::Inputs => {
                let mut row = vec![0.0; map.stored_outputs];
                for input in 0..inputs {
                    store.read_rows(&map.weight, input..input + 1, &mut row)?;
                    let chosen = map.ranges().into_iter().flatten();
                    chosen.enumerate().for_each(|(output, stored)| dense[output * inputs + input] = row[stored]);
                }
            }
        }
        let bias = match &map.bias {
            None => None,
            Some(name) => {
                let mut whole = vec![0.0; map.stored_outputs];
                store.read_rows(name, 0..1, &mut whole)?;
                Some(map.ranges().into_iter().flatten().map(|i| T::from_f32(whole[i])).collect())
            }
        };
        store.release(&map.weight);
        Ok(Self { outputs, inputs, dense, bias, packs: [const { OnceLock::new() }; 6] })
    }

    /// Columns that come out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns that go in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The weight, `[outputs, inputs]`, row-major.
    pub fn dense(&self) -> &[f32] {
        &self.dense
    }

    /// The bias, `outputs` numbers.
    pub fn bias(&self) -> Option<&[T]> {
        self.bias.as_deref()
    }

    /// Packed for `x·Wᵀ`.
    pub fn forward(&self) -> &Packed<T> {
        self.packed(Part::All, false)
    }

    /// Packed for `y·W`.
    pub fn backward(&self) -> &Packed<T> {
        self.packed(Part::All, true)
    }

    /// Packed for `x·Pᵀ`, or `y·P` if `back`, with `P` the given part of the weight.
    pub(crate) fn packed(&self, part: Part, back: bool) -> &Packed<T> {
        // On one thread: a thread that waits inside could be given work that asks for this very pack.
        self.packs[part as usize * 2 + usize::from(back)].get_or_init(|| {
            let chosen;
            let values = if part == Part::All {
                &self.dense
            } else {
                chosen = self.dense.iter().map(|w| part.of(*w)).collect::<Vec<_>>();
                &chosen
            };
            if back {
                let mut packed = Packed::zeros(self.inputs, self.outputs);
                packed.set_inputs(0, values);
                return packed;
            }
            let mut packed = Packed::zeros(self.outputs, self.inputs);
            packed.set_outputs(0, values);
            packed
        })
    }
}

/// The weights of a block, or of what stands before or after the blocks.
#[derive(Debug)]
pub(crate) struct Weights<T> {
    matrices: HashMap<String, Matrix<T>>,
    pub(crate) rest: Prepared<T>,
}

impl<T: Real> Weights<T> {
    pub(crate) fn new(parameters: &[Parameter], store: &dyn WeightStore) -> Result<Self> {
        let (maps, rest): (Vec<_>, Vec<_>) = parameters.iter().cloned().partition(|p| matches!(p, Parameter::Linear(_)));
        let read = |p: Parameter| match p {
            Parameter::Linear(map) => Ok((map.key.clone(), Matrix::read(&map, store)?)),
            _ => unreachable!("only linear maps were kept"),
        };
        Ok(Self { matrices: maps.into_iter().map(read).collect::<Result<_>>()?, rest: Prepared::new(&rest, store)? })
    }

    /// Packs every matrix for products that go up, or `back`, side by side.
    pub(crate) fn pack(&self, back: bool) {
        self.matrices.par_iter().for_each(|(_, matrix)| {
            matrix.packed(Part::All, back);
        });
    }

    pub(crate) fn matrix(&self, map: &Linear) -> &Matrix<T> {
        self.matrices.get(&map.key).expect("a block uses only the linear maps it lists in block_parameters")
    }
}

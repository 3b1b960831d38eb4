//! The weights of one block, decoded once, packed for the fast pass, and dropped when the walk moves on.

use std::{collections::HashMap, ops::Range};

use pellucid_kernels::{Packed, Real};

use crate::{
    Error, Result, WeightStore,
    model::{Layout, Linear, Norm, Parameter},
};

/// A linear map ready for the product kernel.
pub(crate) struct PreparedLinear<T> {
    pub(crate) weight: Packed<T>,
    pub(crate) bias: Option<Vec<T>>,
}

/// A normalisation's scale and shift.
pub(crate) struct PreparedNorm<T> {
    pub(crate) weight: Vec<T>,
    pub(crate) bias: Option<Vec<T>>,
}

/// Decoded parameters by key. Tables are not among them: their rows are read as they are needed.
pub(crate) struct Prepared<T> {
    linears: HashMap<String, PreparedLinear<T>>,
    norms: HashMap<String, PreparedNorm<T>>,
}

impl<T: Real> Prepared<T> {
    /// Decodes `parameters` on the current thread pool and lets go of their pages.
    pub(crate) fn new(parameters: &[Parameter], weights: &dyn WeightStore) -> Result<Self> {
        let mut prepared = Self { linears: HashMap::new(), norms: HashMap::new() };
        for parameter in parameters {
            match parameter {
                Parameter::Linear(l) => drop(prepared.linears.insert(l.key.clone(), linear(l, weights)?)),
                Parameter::Norm(n) => drop(prepared.norms.insert(n.weight.clone(), norm(n, weights)?)),
                Parameter::Table(_) => {}
            }
        }
        for parameter in parameters {
            parameter.tensors().iter().for_each(|(name, _)| weights.release(name));
        }
        Ok(prepared)
    }

    pub(crate) fn linear(&self, map: &Linear) -> &PreparedLinear<T> {
        self.linears.get(&map.key).expect("a block uses only the linear maps it lists in block_parameters")
    }

    pub(crate) fn norm(&self, norm: &Norm) -> &PreparedNorm<T> {
        self.norms.get(&norm.weight).expect("a block uses only the norms it lists in block_parameters")
    }
}

/// Decodes and packs one map.
pub(crate) fn linear<T: Real>(map: &Linear, weights: &dyn WeightStore) -> Result<PreparedLinear<T>> {
    let weight = match map.layout {
        Layout::Outputs => by_outputs(map, weights)?,
        Layout::Inputs => by_inputs(map, weights)?,
    };
    let bias = map.bias.as_deref().map(|name| vector(name, map.stored_outputs, weights)).transpose()?;
    let bias = bias.map(|all: Vec<T>| map.ranges().into_iter().flat_map(|r| all[r].to_vec()).collect());
    Ok(PreparedLinear { weight, bias })
}

/// Only outputs `wanted` of a map.
pub(crate) fn outputs<T: Real>(map: &Linear, wanted: Range<usize>, weights: &dyn WeightStore) -> Result<PreparedLinear<T>> {
    linear(&Linear { part: stored_runs(&map.ranges(), wanted), ..map.clone() }, weights)
}

/// Packs whole maps panel by panel in parallel; a part is first cut into runs of stored outputs.
fn by_outputs<T: Real>(map: &Linear, weights: &dyn WeightStore) -> Result<Packed<T>> {
    let mut packed = Packed::zeros(map.outputs(), map.inputs);
    let ranges = map.ranges();
    packed.fill_outputs_parallel(|outputs, out| {
        let mut rest = out;
        for stored in stored_runs(&ranges, outputs) {
            let (now, later) = rest.split_at_mut(stored.len() * map.inputs);
            weights.read_rows(&map.weight, stored, now)?;
            rest = later;
        }
        Ok::<(), Error>(())
    })?;
    Ok(packed)
}

/// Which stored outputs the outputs `wanted` of a part are, as runs.
fn stored_runs(ranges: &[Range<usize>], wanted: Range<usize>) -> Vec<Range<usize>> {
    let mut first = 0;
    let mut runs = Vec::new();
    for range in ranges {
        let here = wanted.start.max(first)..wanted.end.min(first + range.len());
        if !here.is_empty() {
            runs.push(range.start + here.start - first..range.start + here.end - first);
        }
        first += range.len();
    }
    runs
}

fn by_inputs<T: Real>(map: &Linear, weights: &dyn WeightStore) -> Result<Packed<T>> {
    const BLOCK: usize = 64;
    let mut packed = Packed::zeros(map.outputs(), map.inputs);
    let mut stored = vec![0.0; BLOCK.min(map.inputs) * map.stored_outputs];
    let mut chosen = Vec::new();
    for first in (0..map.inputs).step_by(BLOCK) {
        let count = BLOCK.min(map.inputs - first);
        let rows = &mut stored[..count * map.stored_outputs];
        weights.read_rows(&map.weight, first..first + count, rows)?;
        chosen.clear();
        for row in rows.chunks_exact(map.stored_outputs) {
            map.ranges().into_iter().for_each(|r| chosen.extend_from_slice(&row[r]));
        }
        packed.set_inputs(first, &chosen);
    }
    Ok(packed)
}

fn norm<T: Real>(norm: &Norm, weights: &dyn WeightStore) -> Result<PreparedNorm<T>> {
    let bias = norm.bias.as_deref().map(|name| vector(name, norm.width, weights)).transpose()?;
    Ok(PreparedNorm { weight: vector(&norm.weight, norm.width, weights)?, bias })
}

fn vector<T: Real>(name: &str, width: usize, weights: &dyn WeightStore) -> Result<Vec<T>> {
    let mut values = vec![0.0; width];
    weights.read_rows(name, 0..1, &mut values)?;
    Ok(values.into_iter().map(T::from_f32).collect())
}

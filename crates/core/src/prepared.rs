//! The weights of one block, decoded once, packed for the fast pass, and dropped when the walk moves on.

use std::{collections::HashMap, ops::Range};

use pellucid_kernels::{self as kernels, Packed, Real};

use crate::{
    Error, Result, WeightStore,
    model::{Factor, Layout, Linear, Norm, NormKind, Parameter},
};

/// A linear map ready for the product kernel.
#[derive(Debug)]
pub(crate) struct PreparedLinear<T> {
    pub(crate) weight: Packed<T>,
    pub(crate) bias: Option<Vec<T>>,
}

/// A normalisation's scale and shift.
#[derive(Debug)]
pub(crate) struct PreparedNorm<T> {
    pub(crate) weight: Option<Vec<T>>,
    pub(crate) bias: Option<Vec<T>>,
}

impl<T: Real> PreparedNorm<T> {
    /// Normalises `x`, whole rows or whole heads.
    pub(crate) fn apply(&self, out: &mut [T], x: &[T], norm: &Norm) {
        match (norm.kind, &self.weight) {
            (NormKind::Rms, weight) => kernels::rms_norm(out, x, norm.width, weight.as_deref(), norm.epsilon),
            (NormKind::Layer, Some(weight)) => kernels::layer_norm(out, x, norm.width, weight, self.bias.as_deref(), norm.epsilon),
            (NormKind::Layer, None) => unreachable!("a layer norm is made with its scale"),
        }
    }
}

/// Decoded parameters by key. Tables are not among them: their rows are read as they are needed.
#[derive(Debug)]
pub(crate) struct Prepared<T> {
    linears: HashMap<String, PreparedLinear<T>>,
    norms: HashMap<Option<String>, PreparedNorm<T>>,
    factors: HashMap<(String, Option<usize>), Vec<T>>,
}

impl<T: Real> Prepared<T> {
    /// Decodes `parameters` on the current thread pool, each stored number once, and lets go of their pages.
    pub(crate) fn new(parameters: &[Parameter], weights: &dyn WeightStore) -> Result<Self> {
        let mut prepared = Self { linears: HashMap::new(), norms: HashMap::new(), factors: HashMap::new() };
        let maps = || parameters.iter().filter_map(|p| if let Parameter::Linear(l) = p { Some(l) } else { None });
        for map in maps() {
            if !prepared.linears.contains_key(&map.key) {
                // All parts of one stored matrix are made together.
                let parts: Vec<&Linear> = maps().filter(|l| l.weight == map.weight).collect();
                let made = linears(&parts, weights)?;
                prepared.linears.extend(parts.iter().map(|l| l.key.clone()).zip(made));
            }
        }
        for parameter in parameters {
            match parameter {
                Parameter::Norm(n) => {
                    prepared.norms.insert(n.weight.clone(), norm(n, weights)?);
                }
                Parameter::Factor(f) => {
                    let stored = vector(&f.name, f.length, weights)?;
                    let chosen = f.index.map_or(stored.clone(), |index| vec![stored[index]]);
                    prepared.factors.insert((f.name.clone(), f.index), chosen);
                }
                Parameter::Linear(_) | Parameter::Table(_) => {}
            }
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

    /// One number, or one a column.
    pub(crate) fn factor(&self, factor: &Factor) -> &[T] {
        self.factors.get(&(factor.name.clone(), factor.index)).expect("a block uses only the factors it lists in block_parameters")
    }
}

/// Decodes and packs one map.
pub(crate) fn linear<T: Real>(map: &Linear, weights: &dyn WeightStore) -> Result<PreparedLinear<T>> {
    Ok(linears(&[map], weights)?.pop().expect("one map in, one out"))
}

/// Decodes and packs parts of one stored matrix (or the whole, as its only part).
fn linears<T: Real>(parts: &[&Linear], weights: &dyn WeightStore) -> Result<Vec<PreparedLinear<T>>> {
    let packed = match parts[0].layout {
        Layout::Outputs => parts.iter().map(|map| by_outputs(map, weights)).collect::<Result<_>>()?,
        Layout::Inputs => by_inputs(parts, weights)?,
    };
    let whole: Option<Vec<T>> = parts[0].bias.as_deref().map(|name| vector(name, parts[0].stored_outputs, weights)).transpose()?;
    let bias = |map: &Linear| whole.as_ref().map(|all| map.ranges().into_iter().flat_map(|r| all[r].to_vec()).collect());
    Ok(packed.into_iter().zip(parts).map(|(weight, map)| PreparedLinear { weight, bias: bias(map) }).collect())
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

fn by_inputs<T: Real>(parts: &[&Linear], weights: &dyn WeightStore) -> Result<Vec<Packed<T>>> {
    const BLOCK: usize = 64;
    let stored = parts[0];
    let mut packed: Vec<Packed<T>> = parts.iter().map(|map| Packed::zeros(map.outputs(), map.inputs)).collect();
    let mut values = vec![0.0; BLOCK.min(stored.inputs) * stored.stored_outputs];
    let mut chosen = Vec::new();
    for first in (0..stored.inputs).step_by(BLOCK) {
        let count = BLOCK.min(stored.inputs - first);
        let rows = &mut values[..count * stored.stored_outputs];
        weights.read_rows(&stored.weight, first..first + count, rows)?;
        for (map, packed) in parts.iter().zip(&mut packed) {
            chosen.clear();
            for row in rows.chunks_exact(stored.stored_outputs) {
                map.ranges().into_iter().for_each(|r| chosen.extend_from_slice(&row[r]));
            }
            packed.set_inputs(first, &chosen);
        }
    }
    Ok(packed)
}

fn norm<T: Real>(norm: &Norm, weights: &dyn WeightStore) -> Result<PreparedNorm<T>> {
    let read = |name: &Option<String>| name.as_deref().map(|name| vector(name, norm.width, weights)).transpose();
    Ok(PreparedNorm { weight: read(&norm.weight)?, bias: read(&norm.bias)? })
}

fn vector<T: Real>(name: &str, width: usize, weights: &dyn WeightStore) -> Result<Vec<T>> {
    let mut values = vec![0.0; width];
    weights.read_rows(name, 0..1, &mut values)?;
    Ok(values.into_iter().map(T::from_f32).collect())
}

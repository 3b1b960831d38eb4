//! Checks of methods that take blocks apart.

use pellucid_core::{Engine, Error, Input, Result, Score, walk::down::Term};
use pellucid_methods::{After, Alti, AltiLogit, Approximation, Biases, DecompX, FlashTrace, Ifr, NormRows, VectorNorm, VectorNorms};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{
    case::{Array, Check},
    checks::{Runner, list, unsupported, whole},
};

/// What the published code adds to each entry of part less whole before it takes the norm.
const PUBLISHED: f64 = 1e-6;

/// A choice by its name, or the default where it is not named.
fn named<T: DeserializeOwned + Default>(value: &Json) -> Result<T> {
    if value.is_null() {
        return Ok(T::default());
    }
    serde_json::from_value(value.clone()).map_err(|e| Error::Unsupported(format!("{value}: {e}")))
}

fn alti(params: &Json) -> Result<Alti> {
    let (norm, after): (VectorNorm, Option<After>) = (named(&params["norm"])?, named(&params["after"])?);
    let epsilon_in_std = params["epsilon_in_std"].as_bool().unwrap_or(true);
    Ok(Alti { norm, after, epsilon_in_std, distance_epsilon: PUBLISHED, ..Alti::default() })
}

fn vector_norms(params: &Json) -> Result<VectorNorms> {
    let (norm, after): (VectorNorm, Option<After>) = (named(&params["norm"])?, named(&params["after"])?);
    let (rows, epsilon_in_std): (NormRows, _) = (named(&params["rows"])?, params["epsilon_in_std"].as_bool().unwrap_or(true));
    Ok(VectorNorms { norm, after, rows, epsilon_in_std, ..VectorNorms::default() })
}

/// `R·M` for square matrices.
fn times(left: &[f64], right: &[f64], n: usize) -> Vec<f64> {
    let entry = |i: usize, j: usize| (0..n).map(|k| left[i * n + k] * right[k * n + j]).sum();
    (0..n * n).map(|e| entry(e / n, e % n)).collect()
}

/// Products of the matrices up to and including each layer, the last one leftmost.
fn products(layers: Vec<Vec<f64>>, n: usize) -> Vec<Vec<f64>> {
    let mut all: Vec<Vec<f64>> = Vec::new();
    for layer in layers {
        let next = all.last().map_or_else(|| layer.clone(), |below| times(&layer, below, n));
        all.push(next);
    }
    all
}

fn stacked(layers: Vec<Vec<f64>>, shape: &[usize]) -> Array {
    Array::new(&[&[layers.len()], shape].concat(), layers.concat())
}

impl Runner<'_> {
    pub(super) fn mixing(&self, check: &Check, method: &str) -> Result<Array> {
        let (engine, input, params) = (self.engine(check)?, self.input(check)?, &check.params);
        let n = input.len();
        let row = |matrices: Vec<Vec<f64>>| {
            let product = products(matrices, n).pop().unwrap_or_default();
            Array::new(&[n], product[..n].to_vec())
        };
        Ok(match (method, check.kind.as_str(), params["stage"].as_str()) {
            ("alti", "mixing-matrix", None) => stacked(alti(params)?.matrices(&engine, &input)?, &[n, n]),
            ("alti", "mixing-matrix", Some("distance")) => stacked(alti(params)?.distances(&engine, &input)?, &[n, n]),
            ("alti", "mixing-matrix", Some("transformed-vectors")) => {
                stacked(alti(params)?.vectors(&engine, &input)?, &[n, n, engine.model.description().d_model])
            }
            ("alti", "relevance-matrix", None) => stacked(products(alti(params)?.matrices(&engine, &input)?, n), &[n, n]),
            ("alti", "attribution", None) => self.asked(check, &alti(params)?, &engine, &input)?,
            ("vector-norms", "mixing-matrix", None) => stacked(vector_norms(params)?.matrices(&engine, &input)?, &[n, n]),
            ("vector-norms", "attribution", None) => row(vector_norms(params)?.matrices(&engine, &input)?),
            ("alti-logit", "attribution", None) => alti_logit(check, &engine, &input)?,
            ("decompx", "attribution", None) => {
                let (activation, biases): (Approximation, Biases) = (named(&params["activation"])?, named(&params["biases"])?);
                Array::rows(DecompX { activation, biases }.classes(&engine, &input, &[])?.0)
            }
            ("ifr", "mixing-matrix", None) => ifr(check, &engine, &input)?,
            ("flash-trace", "attribution", _) => flash_trace(check, &engine, &input)?,
            (method, kind, stage) => return unsupported(format!("{method} ({kind}, stage {stage:?})")),
        })
    }

    /// The method's own answer: the row of the first token, one feature a position.
    fn asked(&self, check: &Check, method: &dyn pellucid_core::Method, engine: &Engine<'_>, input: &Input) -> Result<Array> {
        use pellucid_core::{FeaturePositions, Part, Place, Question, Target};
        if !check.output.contains("row of the first token") {
            return unsupported(format!("output {}", check.output));
        }
        let features = (0..input.len()).map(|p| FeaturePositions { part: Part::Prompt, positions: vec![(p, 1.0)] }).collect();
        let target = Target { place: Place::Whole, tokens: vec![0], ..Target::default() };
        let outcome = method.attribute(engine, &Question { prompt: input.clone(), features, target, ..Question::default() })?;
        Ok(Array::new(&[input.len()], outcome.per_target_token.concat()))
    }
}

fn alti_logit(check: &Check, engine: &Engine<'_>, input: &Input) -> Result<Array> {
    let (params, target) = (&check.params, &check.target);
    let rows = list(&target["rows"])?;
    let foils = if target["foil_tokens"].is_null() { Vec::new() } else { list(&target["foil_tokens"])? };
    let term = |(row, token): (&usize, usize)| Term { row: *row, output: token as u32, score: Score::Logit, temperature: 1.0, weight: 1.0 };
    let terms: Vec<Term> = rows.iter().cycle().zip(list(&target["tokens"])?.into_iter().chain(foils)).map(term).collect();
    let mixing = params["mixing"].as_bool().unwrap_or(true);
    let method = AltiLogit { mixing, distance_epsilon: PUBLISHED, ..AltiLogit::default() };
    let (parts, _) = method.parts(engine, input, &terms, true)?;
    let n = input.len();
    let by_layer = |of: &dyn Fn(usize) -> Vec<f64>| (0..engine.model.description().layers).map(of).collect();
    let part = |l: usize, of: &dyn Fn(&pellucid_methods::LogitParts) -> &Vec<f64>| parts.iter().map(|p| of(p)[l]).collect::<Vec<f64>>();
    Ok(match (params["part"].as_str(), &parts[..]) {
        (None, [one]) => stacked(one.attention.clone(), &[n]),
        (None, [target, foil]) => {
            let sum = |p: &pellucid_methods::LogitParts, j: usize| p.attention.iter().map(|l| l[j]).sum::<f64>();
            Array::new(&[n], (0..n).map(|j| sum(target, j) - sum(foil, j)).collect())
        }
        (Some("mlp"), _) => Array::rows(by_layer(&|l| part(l, &|p| &p.networks))),
        (Some("attention-output-bias"), _) => Array::rows(by_layer(&|l| part(l, &|p| &p.biases))),
        (Some("initial-residual"), _) => Array::new(&[parts.len()], parts.iter().map(|p| p.residual).collect()),
        (Some("final-norm-bias"), _) => Array::new(&[parts.len()], parts.iter().map(|p| p.last).collect()),
        (part, _) => return unsupported(format!("alti-logit, part {part:?} of {} terms", parts.len())),
    })
}

fn ifr(check: &Check, engine: &Engine<'_>, input: &Input) -> Result<Array> {
    let (params, n) = (&check.params, input.len());
    let method =
        Ifr { epsilon: params["eps"].as_f64().unwrap_or(1e-5), threshold: params["threshold"].as_f64(), unseen: true }.checked()?;
    let mut layers = method.shares(engine, input)?;
    let layer = whole(&params["layer"])?;
    if layer >= layers.len() {
        return Err(Error::request(format!("layer {layer} is beyond the model, which has {} layers", layers.len())));
    }
    let shares = layers.swap_remove(layer);
    Ok(match (params["node"].as_str(), params["part"].as_str()) {
        (Some("attention"), None) => Array::new(&[n, n, shares.attention.len() / (n * n)], shares.attention),
        (Some("attention"), Some("residual")) => Array::new(&[n], shares.residual),
        (Some("mlp"), Some("mlp")) => Array::new(&[n], shares.network),
        other => return unsupported(format!("ifr of {other:?}")),
    })
}

fn flash_trace(check: &Check, engine: &Engine<'_>, input: &Input) -> Result<Array> {
    let (params, n) = (&check.params, input.len());
    let pair = |value: &Json| -> Result<[usize; 2]> {
        list(value)?.try_into().map_err(|_| Error::request(format!("{value} is not a first and a last position")))
    };
    let [first, last] = pair(&params["span"])?;
    let thinking = if params["thinking"].is_null() { None } else { Some(pair(&params["thinking"])?) };
    let hops = params["hops"].as_u64().unwrap_or(0) as usize;
    let method = FlashTrace { thinking, hops, ..FlashTrace::default() }.checked()?;
    let (trace, _) = method.trace(engine, input, first..last + 1, &[])?;
    Ok(match (params["stage"].as_str(), params["of"].as_str(), params["per_layer"].as_bool()) {
        (None, None, None) => Array::new(&[n], trace.scores),
        (None, None, Some(true)) => stacked(trace.first.layers, &[n]),
        (None, Some("heads"), None) => Array::new(&[trace.first.heads.len()], trace.first.heads),
        (Some("base"), None, None) => Array::new(&[n], trace.base),
        (Some("ratios"), None, None) => Array::new(&[trace.ratios.len()], trace.ratios),
        other => return unsupported(format!("flash-trace, {other:?}")),
    })
}

//! Relevance through attention and αβ relevance: what the tests share.

mod passes;
mod pictures;
mod promises;
mod replica;

use std::path::Path;

use pellucid_core::{
    Compute, Control, Engine, FeaturePositions, Outcome, Part, Place, Question, Score, Symbol, Target,
    rules::Rules,
    walk::down::{Combine, Descent, Heads, Look, Patterns, Signal, Term, Wanted},
};
use pellucid_models::{Loaded, open, source::Located};
use serde_json::Value as Json;

/// Rows of numbers.
type Rows = Vec<Vec<f64>>;

/// f64 in another order of summation, of numbers around 10.
const TOLERANCE: f64 = 1e-10;

fn model(case: &str) -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases").join(case);
    open(&Located { id: case.into(), path, file: None }).unwrap()
}

/// In f64, with a fixed amount of memory.
fn engine(loaded: &Loaded) -> Engine<'_> {
    let mut engine = Engine::new(&loaded.model);
    engine.compute = Compute::F64;
    engine.max_memory = Some(1 << 30);
    engine
}

/// A feature for each of the first positions.
fn features(prompt: usize, all: usize) -> Vec<FeaturePositions> {
    let part = |p| if p < prompt { Part::Prompt } else { Part::Target };
    (0..all).map(|p| FeaturePositions { part: part(p), positions: vec![(p, 1.0)] }).collect()
}

fn symbols(ids: &[u32]) -> Vec<Symbol> {
    ids.iter().copied().map(Symbol::Token).collect()
}

const PROMPT: [u32; 7] = [5, 42, 79, 5, 116, 25, 31];

/// Three tokens after a prompt of a decoder.
fn continuation(target: &[u32], score: Score) -> Question {
    let target = Target { tokens: target.to_vec(), score, ..Target::default() };
    Question { prompt: symbols(&PROMPT).into(), features: features(7, 7 + target.tokens.len() - 1), target, ..Question::default() }
}

/// A class of an encoder.
fn class(class: u32) -> Question {
    let target = Target { place: Place::Whole, tokens: vec![class], score: Score::Logit, ..Target::default() };
    Question { prompt: symbols(&[2, 17, 33, 8, 54, 21, 3]).into(), features: features(7, 7), target, ..Question::default() }
}

fn attribute(engine: &Engine<'_>, method: &str, parameters: Json, question: &Question) -> Outcome {
    let method = (pellucid_methods::find(method).unwrap().make)(parameters).unwrap();
    method.fits(engine.model.description()).unwrap();
    method.attribute(engine, question).unwrap()
}

/// The scores of all positions for a target token.
fn row(outcome: &Outcome, token: usize) -> Vec<f64> {
    outcome.per_target_token.iter().map(|feature| feature[token]).collect()
}

/// Whole patterns and what reaches them, `[layer][head]` of `[query][key]`.
struct Whole {
    pattern: Vec<Vec<Rows>>,
    signals: Vec<Vec<Vec<Rows>>>,
}

/// Of target token `t`, one signal for each rule set.
fn whole(engine: &Engine<'_>, question: &Question, t: usize, score: Score, rules: &[Rules]) -> Whole {
    let model = engine.model.description();
    let input = question.document(&question.target.tokens);
    let n = input.len();
    let term = Term { row: question.row(t), output: question.target.tokens[t], score, temperature: 1.0, weight: 1.0 };
    let signals = rules.iter().map(|rules| Signal { rules: *rules, terms: vec![term] }).collect();
    let all = std::iter::once(Combine::Pattern).chain((0..rules.len()).map(Combine::Signal));
    let looks: Vec<Look> = all.map(|of| Look { of, heads: Heads::Each }).collect();
    let mut found = vec![vec![vec![Rows::new(); model.heads]; model.layers]; looks.len()];
    let descent = Descent { input, control: Control::none(), signals, ..Descent::default() };
    let see = &mut |block: &Patterns<'_>| {
        for (found, seen) in found.iter_mut().zip(block.looks) {
            for (head, part) in found[block.layer].iter_mut().zip(seen.chunks_exact(block.rows.len() * n)) {
                assert_eq!(head.len(), block.rows.start, "rows come in order");
                head.extend(part.chunks_exact(n).map(<[f64]>::to_vec));
            }
        }
        Ok(())
    };
    engine.down(&[descent], &Wanted { looks, ..Wanted::default() }, see).unwrap();
    let pattern = found.remove(0);
    Whole { pattern, signals: found }
}

/// `a·b`.
fn product(a: &Rows, b: &Rows) -> Rows {
    let entry = |row: &Vec<f64>, j: usize| (0..row.len()).map(|k| row[k] * b[k][j]).sum();
    a.iter().map(|row| (0..b[0].len()).map(|j| entry(row, j)).collect()).collect()
}

fn identity(n: usize) -> Rows {
    (0..n).map(|i| (0..n).map(|j| if i == j { 1.0 } else { 0.0 }).collect()).collect()
}

/// Largest difference.
fn off(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(g, e)| (g - e).abs()).fold(0.0, f64::max)
}

fn assert_close(got: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert!(expected.iter().any(|x| x.abs() > 1e-4), "{what}: nothing to compare");
    let error = off(got, expected);
    assert!(error < tolerance, "{what}: {error:e} off");
}

//! Every architecture that has a case, and one question for each.

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use pellucid_core::{
    Compute, Control, Engine, FeaturePositions, Input, Part, Place, Question, Score, Target,
    rules::Rules,
    walk::down::{Descent, Signal, Term},
};
use pellucid_models::{Loaded, open, source::Located};

pub(crate) const DECODERS: [&str; 5] = ["gpt2", "llama", "qwen2", "gptj", "gpt_neox"];
pub(crate) const ENCODERS: [&str; 3] = ["bert", "roberta", "distilbert"];

static MODELS: LazyLock<BTreeMap<&'static str, Loaded>> = LazyLock::new(|| {
    let load = |case: &'static str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases").join(case);
        (case, open(&Located { id: case.into(), path, file: None }).unwrap())
    };
    all().chain(["vit"]).map(load).collect()
});

pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    DECODERS.into_iter().chain(ENCODERS)
}

/// An engine in f64 with a fixed amount of memory.
pub(crate) fn engine(case: &str) -> Engine<'static> {
    let mut engine = Engine::new(&MODELS[case].model);
    engine.compute = Compute::F64;
    engine.max_memory = Some(1 << 30);
    engine
}

fn feature(part: Part, position: usize) -> FeaturePositions {
    FeaturePositions { part, positions: vec![(position, 1.0)] }
}

/// Six tokens with a feature each; two target tokens against two others in a decoder, one class against another in an encoder.
pub(crate) fn contrasted(case: &str, score: Score) -> Question {
    if case == "vit" {
        return pictured(score);
    }
    let prompt = Input::tokens(&[5, 42, 79, 5, 116, 25]);
    let mut features: Vec<FeaturePositions> = (0..6).map(|p| feature(Part::Prompt, p)).collect();
    if DECODERS.contains(&case) {
        features.push(feature(Part::Target, 6));
        let target = Target { tokens: vec![62, 99], contrast: Some(vec![17, 8]), score, ..Target::default() };
        return Question { prompt, features, target, ..Question::default() };
    }
    let target = Target { place: Place::Whole, tokens: vec![1], contrast: Some(vec![2]), score, temperature: 1.0 };
    let types = if case == "bert" { [0, 0, 0, 0, 1, 1].into() } else { Default::default() };
    Question { prompt: Input { types, ..prompt }, features, target, ..Question::default() }
}

/// A picture of waves: class 2 against class 0, and a feature for every row.
fn pictured(score: Score) -> Question {
    let patches = MODELS["vit"].model.description().patches.as_ref().unwrap();
    let pixel = |i: usize| (i as f32 * 0.37).sin() + (i as f32 * 0.011).cos() * 0.5;
    let prompt = patches.input(&(0..patches.count() * patches.width()).map(pixel).collect::<Vec<_>>()).unwrap();
    let features = (0..prompt.len()).map(|p| feature(Part::Prompt, p)).collect();
    let target = Target { place: Place::Whole, tokens: vec![2], contrast: Some(vec![0]), score, temperature: 1.0 };
    Question { prompt, features, target, ..Question::default() }
}

/// The same without the contrast.
pub(crate) fn question(case: &str, score: Score) -> Question {
    let mut question = contrasted(case, score);
    question.target.contrast = None;
    question
}

/// The question's input with a signal for each target token, and at the end one that starts at all of them, the last set against another output.
pub(crate) fn descent(question: &Question, rules: Rules) -> Descent {
    let target = &question.target;
    let term = |t: usize, output, weight| Term { row: question.row(t), output, score: target.score, temperature: 1.25, weight };
    let mut terms: Vec<Term> = target.tokens.iter().enumerate().map(|(t, token)| term(t, *token, 1.0)).collect();
    let mut signals: Vec<Signal> = terms.iter().map(|t| Signal { rules, terms: vec![*t] }).collect();
    terms.push(term(target.tokens.len() - 1, 0, -0.5));
    signals.push(Signal { rules, terms });
    Descent { input: question.document(&target.tokens), control: Control::none(), signals, ..Descent::default() }
}

/// As far apart as the largest number of the second allows.
pub(crate) fn assert_near(got: &[f64], expected: &[f64], relative: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    assert!(largest > 0.0, "{what}: nothing to compare");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= relative * largest, "{what}, entry {i}: {g} instead of {e}");
    }
}

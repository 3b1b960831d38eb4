//! Models and questions that the tests share.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use pellucid_core::{Compute, Engine, FeaturePositions, Part, Question, Score, Symbol, Target};
use pellucid_models::{Loaded, open, source::Located};

use crate::plain::Plain;

/// A case's model, and the same model in plain loops.
pub(crate) struct Pair {
    pub(crate) name: &'static str,
    pub(crate) loaded: Loaded,
    pub(crate) plain: Plain,
}

pub(crate) static LLAMA: LazyLock<Pair> = LazyLock::new(|| Pair::load("llama"));
pub(crate) static GPTJ: LazyLock<Pair> = LazyLock::new(|| Pair::load("gptj"));
pub(crate) static VIT: LazyLock<Pair> = LazyLock::new(|| Pair::load("vit"));

pub(crate) fn both() -> [&'static Pair; 2] {
    [&LLAMA, &GPTJ]
}

pub(crate) fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases").join(case)
}

impl Pair {
    fn load(name: &'static str) -> Self {
        let loaded = open(&Located { id: name.into(), path: folder(name), file: None }).unwrap();
        let config = std::fs::read(folder(name).join("config.json")).unwrap();
        let plain = Plain::new(&serde_json::from_slice(&config).unwrap(), loaded.model.weights());
        Pair { name, loaded, plain }
    }

    /// An engine in f64 with a fixed amount of memory.
    pub(crate) fn engine(&self) -> Engine<'_> {
        let mut engine = Engine::new(&self.loaded.model);
        engine.compute = Compute::F64;
        engine.max_memory = Some(1 << 30);
        engine
    }

    /// Halfway between two tokens' embeddings: near both, the same as neither.
    pub(crate) fn between(&self, a: u32, b: u32) -> Symbol {
        let rows = self.loaded.model.token_embeddings(&[a, b]).unwrap();
        let (a, b) = rows.split_at(rows.len() / 2);
        Symbol::Vector(a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect())
    }
}

pub(crate) fn token(position: usize) -> FeaturePositions {
    FeaturePositions { part: Part::Prompt, positions: vec![(position, 1.0)] }
}

/// Seven symbols of which two are the same token and one lies between two others, three target tokens, and a feature for each position.
pub(crate) fn question(pair: &Pair) -> Question {
    let mut prompt: Vec<Symbol> = [5, 42, 79, 5, 116, 25].map(Symbol::Token).to_vec();
    prompt.insert(4, pair.between(42, 116));
    let earlier = [7, 8].map(|p| FeaturePositions { part: Part::Target, positions: vec![(p, 1.0)] });
    let features = (0..prompt.len()).map(token).chain(earlier).collect();
    let target = Target { tokens: vec![62, 99, 8], contrast: None, score: Score::LogProbability, temperature: 1.0, ..Target::default() };
    Question { prompt: prompt.into(), features, target, ..Question::default() }
}

//! How often weights are read: a store that counts, and what an estimate said before.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use pellucid_core::{Compute, Engine, Method, Model, Result, TensorInfo, WeightStore};
use pellucid_methods::{Atman, METHODS, Similarity};
use pellucid_models::{
    architectures::{Config, find},
    weights,
};

use crate::setup::{LLAMA, both, folder, question};

/// Methods that walk up only.
const UP: [&str; 2] = ["atman", "occlusion"];

/// Rows read of each tensor.
pub(crate) type Reads = Arc<Mutex<BTreeMap<String, usize>>>;

struct Counting {
    inner: Box<dyn WeightStore>,
    reads: Reads,
}

impl WeightStore for Counting {
    fn names(&self) -> Vec<String> {
        self.inner.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.inner.info(name)
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        *self.reads.lock().unwrap().entry(name.into()).or_default() += rows.len();
        self.inner.read_rows(name, rows, out)
    }

    fn release(&self, name: &str) {
        self.inner.release(name);
    }
}

pub(crate) fn counting(case: &str) -> (Model, Reads) {
    let json = serde_json::from_slice(&std::fs::read(folder(case).join("config.json")).unwrap()).unwrap();
    let inner = weights::open(&folder(case).join("model.safetensors")).unwrap();
    let config = Config::new(json).unwrap().beside(inner.as_ref());
    let architecture = (find(config.model_type().unwrap()).unwrap().build)(&config).unwrap();
    let reads = Reads::default();
    (Model::new(architecture, Box::new(Counting { inner, reads: reads.clone() }), |_| false).unwrap(), reads)
}

/// How often each tensor of a block was decoded whole, in the given number of sweeps at least; the unembedding is counted beside them.
fn assert_decoded(model: &Model, reads: &Reads, sweeps: usize, exceptions: &[(&str, usize)]) {
    let reads = reads.lock().unwrap();
    let blocks = (0..model.description().layers).flat_map(|l| model.architecture().block_parameters(l));
    let names: Vec<String> = blocks.flat_map(|p| p.tensors()).map(|(name, _)| name).collect();
    assert!(!names.is_empty());
    for name in names {
        let times = exceptions.iter().find(|(part, _)| name.contains(part)).map_or(1, |e| e.1);
        let (rows, _) = model.weights().info(&name).unwrap().matrix();
        assert_eq!(reads.get(&name), Some(&(sweeps * rows * times)), "{name} of {rows} rows in {sweeps} sweeps");
    }
}

/// Memory in which the question takes several sweeps, and how many.
fn several_sweeps(engine: &mut Engine<'_>, method: &dyn Method, share: u64) -> usize {
    engine.max_memory = Some(1 << 30);
    let whole = method.estimate(engine, &question(&LLAMA)).unwrap();
    assert_eq!(whole.sweeps, 1);
    let row = (engine.model.description().d_model * engine.compute.bytes()) as u64;
    let copies = (whole.rows - 9) * row; // all but the clean run
    engine.max_memory = Some(whole.peak_bytes - copies + copies / share);
    method.estimate(engine, &question(&LLAMA)).unwrap().sweeps
}

#[test]
fn each_tensor_of_a_block_is_decoded_once_a_sweep() {
    for case in ["llama", "gptj", "qwen2"] {
        for compute in [Compute::F32, Compute::F64] {
            for method in METHODS.iter().filter(|m| UP.contains(&m.id)).map(|m| (m.make)(serde_json::json!({})).unwrap()) {
                let (model, reads) = counting(case);
                let mut engine = Engine::new(&model);
                engine.compute = compute;
                engine.max_memory = Some(1 << 30);
                let got = method.attribute(&engine, &question(&LLAMA)).unwrap();
                assert_eq!(got.cost.sweeps, 1, "{case}");
                assert_decoded(&model, &reads, 1, &[]);

                for share in [2, 4] {
                    let sweeps = several_sweeps(&mut engine, &*method, share);
                    assert!(sweeps >= share as usize, "{case}: {sweeps} sweeps");
                    reads.lock().unwrap().clear();
                    let split = method.attribute(&engine, &question(&LLAMA)).unwrap();
                    assert_eq!(split.cost.sweeps, sweeps, "{case}");
                    assert_decoded(&model, &reads, sweeps, &[]);
                    assert_eq!(split.per_target_token, got.per_target_token, "{case}: sweeps change no bit");
                }
            }
        }
    }
}

#[test]
fn one_stored_matrix_for_queries_keys_and_values_is_decoded_once_for_all_three() {
    for case in ["gpt2", "gpt_neox"] {
        let (model, reads) = counting(case);
        let got = Atman::default().attribute(&Engine::new(&model), &question(&LLAMA)).unwrap();
        assert_decoded(&model, &reads, got.cost.sweeps, &[]);
    }
}

#[test]
fn the_vocabulary_is_decoded_once_whatever_the_number_of_copies() {
    let (model, reads) = counting("llama");
    let one = Atman::default().attribute(&Engine::new(&model), &question(&LLAMA)).unwrap();
    assert_eq!((one.cost.copies, one.cost.sweeps), (1 + 9, 1));
    // All 128 rows in a stream, and those of the three target tokens for their exact logits.
    assert_eq!(reads.lock().unwrap()["lm_head.weight"], 128 + 3);
}

#[test]
fn chance_reads_the_model_once_for_the_targets_own_numbers() {
    let (model, reads) = counting("llama");
    let random = (pellucid_methods::find("random").unwrap().make)(serde_json::json!({"seed": 3})).unwrap();
    let got = random.attribute(&Engine::new(&model), &question(&LLAMA)).unwrap();
    assert_eq!((got.cost.copies, got.cost.rows), (1, 9));
    assert_decoded(&model, &reads, 1, &[]);
}

#[test]
fn copies_carry_rows_from_their_first_change_on() {
    let got = Atman::default().attribute(&LLAMA.engine(), &question(&LLAMA)).unwrap();
    assert_eq!(got.cost.rows, 9 + (1..=9).sum::<u64>(), "the clean run, and a copy for each of nine positions");
    let mut whole = LLAMA.engine();
    whole.share_prefix = false;
    assert_eq!(Atman::default().attribute(&whole, &question(&LLAMA)).unwrap().cost.rows, 10 * 9);
}

#[test]
fn an_estimate_is_what_the_answer_costs() {
    for pair in both() {
        let mut methods: Vec<Box<dyn Method>> =
            METHODS.iter().filter(|m| UP.contains(&m.id) || m.id == "random").map(|m| (m.make)(serde_json::json!({})).unwrap()).collect();
        methods.push(Box::new(Atman {
            similarity: Some(Similarity::new(0.1)),
            mode: pellucid_core::Mode::MinShiftAll,
            ..Atman::default()
        }));
        for method in methods {
            for contrast in [None, Some(vec![17, 99])] {
                for share in [1, 3] {
                    let mut question = question(pair);
                    question.target.contrast = contrast.clone();
                    let mut engine = pair.engine();
                    let whole = method.estimate(&engine, &question).unwrap();
                    if share > 1 && method.id() != "random" {
                        let copies = whole.rows * 64 * 8 * 2 / 3;
                        engine.max_memory = Some(whole.peak_bytes - copies);
                    }
                    let estimate = method.estimate(&engine, &question).unwrap();
                    assert_eq!(estimate.sweeps > 1, share > 1 && method.id() != "random", "{} {method:?}", pair.name);
                    assert_eq!(method.attribute(&engine, &question).unwrap().cost, estimate, "{} {method:?}", pair.name);
                }
            }
        }
    }
}

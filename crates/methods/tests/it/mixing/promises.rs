//! What holds whatever the model.

use pellucid_core::{
    Compute, Control, Input, Method, Result, Score, Symbol,
    pass::fast::Element,
    walk::mix::{Mixer, Order, Parts, Stage},
};
use pellucid_methods::{Alti, AltiLogit, Biases, DecompX, FlashTrace, Ifr, METHODS, ValueZeroing, VectorNorms};
use serde_json::json;

use crate::cases::{DECODERS, ENCODERS, all, assert_near, contrasted, engine, question};

const SHARES: [&str; 3] = ["alti", "vector-norms", "value-zeroing"];

fn methods(ids: &[&str]) -> Vec<Box<dyn Method>> {
    METHODS.iter().filter(|m| ids.contains(&m.id)).map(|m| (m.make)(json!({})).unwrap()).collect()
}

#[test]
fn scores_are_shares_of_one_in_every_model_and_number_type() {
    for case in all().chain(["vit"]) {
        let ids =
            if DECODERS.contains(&case) || case == "vit" { vec!["alti", "vector-norms", "value-zeroing", "ifr"] } else { SHARES.to_vec() };
        for method in methods(&ids) {
            for compute in [Compute::F32, Compute::F64] {
                let mut engine = engine(case);
                engine.compute = compute;
                let got = method.attribute(&engine, &question(case, Score::Logit)).unwrap();
                for t in 0..got.clean.len() {
                    let scores: Vec<f64> = got.per_target_token.iter().map(|f| f[t]).collect();
                    let sum: f64 = scores.iter().sum();
                    assert!((sum - 1.0).abs() < 1e-9, "{case} {} sums to {sum}", method.id());
                    assert!(scores.iter().all(|s| *s >= 0.0), "{case} {}: {scores:?}", method.id());
                }
            }
        }
    }
}

#[test]
fn a_row_carried_down_is_the_row_of_the_product() {
    for case in ["llama", "bert", "vit"] {
        let (engine, question) = (engine(case), question(case, Score::Logit));
        let input = question.document(&question.target.tokens);
        let n = input.len();
        let all: [(&dyn Method, Vec<Vec<f64>>); 3] = [
            (&Alti::default(), Alti::default().matrices(&engine, &input).unwrap()),
            (&VectorNorms::default(), VectorNorms::default().matrices(&engine, &input).unwrap()),
            (&ValueZeroing::default(), ValueZeroing::default().matrices(&engine, &input).unwrap()),
        ];
        for (method, layers) in all {
            let mut product: Vec<f64> = layers[0].clone();
            for layer in &layers[1..] {
                product = (0..n * n).map(|e| (0..n).map(|k| layer[e / n * n + k] * product[k * n + e % n]).sum()).collect();
            }
            for row in product.chunks(n).chain(layers[0].chunks(n)) {
                assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12 && row.iter().all(|x| *x >= 0.0), "{}: {row:?}", method.id());
            }
            let got = method.attribute(&engine, &question).unwrap();
            let got: Vec<f64> = got.per_target_token.iter().map(|f| f[0]).collect();
            assert_near(&got[..n], &product[question.row(0) * n..][..n], 1e-12, method.id());
        }
    }
}

/// Looks at every block, and takes it apart.
struct Rebuild {
    seen: usize,
}

impl Mixer for Rebuild {
    fn block<T: Element>(&mut self, stage: &Stage<'_, T>) -> Result<()> {
        let anatomy = stage.anatomy()?;
        let n = stage.output().count();
        let near = |a: &[T], b: &[T], what: &str| {
            let wide = |x: &[T]| x.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
            assert_near(&wide(a), &wide(b), if size_of::<T>() == 4 { 2e-5 } else { 1e-12 }, what);
        };
        // Parts and the projection's bias add up to the residual stream after attention, whether f is held or made again.
        let d = stage.output().width();
        let mut at_once = Vec::new();
        for hold in [u64::MAX, 0] {
            let parts = Parts::new(stage, &anatomy, &[], true, hold);
            let mut sums = Vec::new();
            let mut all = Vec::new();
            parts.vectors(0..n, &mut |i, vectors| {
                assert_eq!(vectors.len(), parts.seen(i) * d);
                let bias = stage.projection(&anatomy).1.unwrap_or(vec![0.0; d]);
                let mut sum: Vec<T> = bias.into_iter().map(T::from_f64).collect();
                vectors.chunks(d).for_each(|part| sum.iter_mut().zip(part).for_each(|(s, p)| *s += *p));
                sums.extend(sum);
                all.extend_from_slice(vectors);
                Ok(())
            })?;
            near(&sums, &stage.middle(&anatomy), "parts");
            at_once.push(all);
        }
        near(&at_once[0], &at_once[1], "held or not");
        for head in 0..anatomy.shape.heads {
            assert_eq!(stage.projected_values(&anatomy, head).len(), n * d);
        }
        // Run again with nothing replaced, rows in any order and more than once.
        let origin: Vec<usize> = (0..n).rev().chain([0, 0]).collect();
        let rows = |data: &[T]| origin.iter().flat_map(|r| data[r * d..(r + 1) * d].to_vec()).collect::<Vec<T>>();
        let again = stage.replay(anatomy.projected, &rows(stage.node(anatomy.projected).data()), &origin)?;
        near(&again, &rows(stage.output().data()), "replay");
        if anatomy.norm_after_attention.is_some() {
            let middle = anatomy.middle.expect("a norm follows it");
            let again = stage.replay(middle, &rows(stage.node(middle).data()), &origin)?;
            near(&again, &rows(stage.output().data()), "replay behind the sum");
        }
        self.seen += 1;
        Ok(())
    }
}

#[test]
fn a_block_taken_apart_adds_up_to_itself_and_runs_again() {
    for case in all().chain(["vit"]) {
        for compute in [Compute::F32, Compute::F64] {
            for order in [Order::Up, Order::Down] {
                let (mut engine, mut rebuild) = (engine(case), Rebuild { seen: 0 });
                engine.compute = compute;
                engine.mix(&question(case, Score::Logit).prompt, &Control::none(), &[], order, &mut rebuild).unwrap();
                assert_eq!(rebuild.seen, engine.model.description().layers, "{case}");
            }
        }
    }
}

#[test]
fn transformed_vectors_and_their_biases_are_the_norms_output() {
    let (engine, input) = (engine("bert"), question("bert", Score::Logit).prompt);
    let (n, d) = (input.len(), 64);
    let vectors = Alti::default().vectors(&engine, &input).unwrap();
    let distances = Alti::default().distances(&engine, &input).unwrap();
    let plain = super::blocks::Plain::new("bert", &input);
    for (layer, (vectors, distances)) in vectors.iter().zip(&distances).enumerate() {
        let (norm, project) = (plain.map(layer, "norm1"), plain.map(layer, "project"));
        for i in 0..n {
            let middle = plain.middle(layer, i);
            let bias = super::blocks::scale(&plain.centred(&norm, &plain.bias(&project)), 1.0 / plain.deviation(&middle));
            let whole = plain.norm(&norm, &middle);
            let parts = vectors[i * n * d..(i + 1) * n * d].chunks(d);
            let mut sum = super::blocks::add(&bias, plain.vector(&format!("{norm}.bias")));
            parts.clone().for_each(|p| sum = super::blocks::add(&sum, p));
            assert_near(&sum, &whole, 1e-11, "y");
            let apart: Vec<f64> = parts.map(|p| super::blocks::apart(p, &whole)).collect();
            assert_near(&distances[i * n..(i + 1) * n], &apart, 1e-12, "D");
        }
    }
}

#[test]
fn a_token_that_sees_only_itself_keeps_everything() {
    // A single position attends to itself alone: A = 1, so C = R = 1.
    for case in all() {
        let mut question = question(case, Score::Logit);
        question.prompt = Input::tokens(&[42]);
        question.features.truncate(1);
        question.target.tokens.truncate(1);
        for method in methods(&SHARES) {
            let got = method.attribute(&engine(case), &question).unwrap();
            assert_eq!(got.per_target_token, [[1.0]], "{case} {}", method.id());
        }
    }
}

#[test]
fn alti_logit_adds_up_to_the_logit_less_what_no_token_gets() {
    for case in DECODERS {
        for mixing in [false, true] {
            let method = AltiLogit { mixing, ..AltiLogit::default() };
            let got = method.attribute(&engine(case), &contrasted(case, Score::Logit)).unwrap();
            assert_eq!(got.promises.len(), 2, "{case}");
            for promise in &got.promises {
                assert!((promise.expected - promise.got).abs() < 1e-10, "{case}: {promise:?}");
                assert!(promise.got.abs() > 1e-3, "{case}: {promise:?}");
            }
            let sum: f64 = got.per_target_token.iter().map(|f| f[0]).sum();
            assert!((sum - got.promises[0].got).abs() < 1e-10, "{case}: every position has a feature");
            assert_eq!(got.per_contrast_token.len(), got.per_target_token.len());
        }
    }
}

#[test]
fn decompx_adds_up_to_the_logit_of_every_class() {
    for case in ENCODERS {
        let got = DecompX::default().attribute(&engine(case), &contrasted(case, Score::LogProbability)).unwrap();
        let sums = |rows: &[Vec<f64>]| rows.iter().map(|f| f[0]).sum::<f64>();
        assert!((sums(&got.per_target_token) - got.clean[0].logit).abs() < 1e-10, "{case}");
        assert!((sums(&got.per_contrast_token) - got.clean_contrast[0].logit).abs() < 1e-10, "{case}");
        assert_eq!(got.promises.len(), 1);
        assert!((got.promises[0].expected - got.clean[0].logit).abs() < 1e-12);
        let none = DecompX { biases: Biases::None, ..DecompX::default() };
        let none = none.attribute(&engine(case), &question(case, Score::Logit)).unwrap();
        assert!(none.promises.is_empty());
        assert!((sums(&none.per_target_token) - none.clean[0].logit).abs() > 1e-3, "{case}: biases have their part");
    }
}

#[test]
fn flash_trace_of_one_row_is_information_flow_without_the_residual() {
    let (engine, question) = (engine("llama"), question("llama", Score::Logit));
    let input = question.document(&question.target.tokens);
    let shares = Ifr::default().shares(&engine, &input).unwrap();
    let (trace, _) = FlashTrace::default().trace(&engine, &input, 5..6, &[]).unwrap();
    for (layer, shares) in shares.iter().enumerate() {
        let row: Vec<f64> = shares.attention[5 * 7 * 4..6 * 7 * 4].chunks(4).map(|heads| heads.iter().sum()).collect();
        assert_near(&trace.first.layers[layer], &row, 1e-12, "a row of attention");
        assert!((row.iter().sum::<f64>() + shares.residual[5] - 1.0).abs() < 1e-12);
    }
    assert!((trace.first.heads.iter().sum::<f64>() - trace.scores.iter().sum::<f64>()).abs() < 1e-12);
}

#[test]
fn an_estimate_is_what_the_walks_cost() {
    for (case, ids) in
        [("llama", &["alti", "vector-norms", "value-zeroing", "ifr", "alti-logit", "flash-trace"][..]), ("bert", &["alti", "decompx"])]
    {
        for method in methods(ids) {
            let (engine, question) = (engine(case), question(case, Score::Logit));
            let (estimate, got) = (method.estimate(&engine, &question).unwrap(), method.attribute(&engine, &question).unwrap());
            assert_eq!(
                (got.cost.copies, got.cost.sweeps, got.cost.rows),
                (estimate.copies, estimate.sweeps, estimate.rows),
                "{}",
                method.id()
            );
            assert_eq!(got.backwards, 0, "{} sends nothing back", method.id());
            assert!(estimate.gflop >= got.cost.gflop && estimate.peak_bytes >= got.cost.peak_bytes);
        }
    }
}

#[test]
fn a_vector_in_place_of_zeros_does_not_make_anything_nan() {
    for case in ["llama", "gptj"] {
        let mut question = question(case, Score::Logit);
        let zeros = Symbol::Vector(vec![0.0; 64].into());
        question.prompt = [Symbol::Token(5), zeros.clone(), Symbol::Token(42), zeros, Symbol::Token(79), Symbol::Token(3)].into();
        for method in methods(&["alti", "vector-norms", "value-zeroing", "ifr", "alti-logit", "flash-trace"]) {
            let got = method.attribute(&engine(case), &question).unwrap();
            assert!(got.per_target_token.iter().flatten().all(|s| s.is_finite()), "{case} {}", method.id());
        }
    }
}

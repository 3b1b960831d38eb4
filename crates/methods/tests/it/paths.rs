//! Integrated gradients: what they add up to, and how their steps are sent down.

use pellucid_core::{Method, Score, Symbol};
use pellucid_methods::{Baseline, InputXGradient, IntegratedGradients, Quadrature, SmoothGrad, Wrt};

use crate::cases::{all, assert_near, contrasted, engine, question};

#[test]
fn attributions_add_up_to_the_difference_from_the_baseline() {
    let tokens = Baseline::Tokens { first: 2, middle: 4, last: 3 };
    for case in all() {
        for (quadrature, steps, off) in [(Quadrature::GaussLegendre, 60, 1e-4), (Quadrature::Midpoint, 120, 2e-3)] {
            for (baseline, wrt, score) in [
                (Baseline::Mean, Wrt::WordEmbedding, Score::LogProbability),
                (Baseline::Token(0), Wrt::EmbeddingOutput, Score::Logit),
                (tokens, Wrt::WordEmbedding, Score::Probability),
            ] {
                let question = question(case, score);
                let method = IntegratedGradients { steps, quadrature, baseline, wrt, ..IntegratedGradients::default() };
                let got = method.attribute(&engine(case), &question).unwrap();
                assert_eq!(got.promises.len(), question.target.tokens.len());
                for (t, promise) in got.promises.iter().enumerate() {
                    assert_eq!((promise.name.as_str(), promise.target_token), ("completeness", t));
                    let what = format!("{case} {method:?}: {promise:?}");
                    // The ReLU in DistilBERT's head gives its score corners, at which every quadrature is slow.
                    let off = if case == "distilbert" { 0.06 } else { off };
                    assert!((promise.got - promise.expected).abs() <= off * promise.expected.abs().max(1.0), "{what}");
                    let sum: f64 = got.per_target_token.iter().map(|f| f[t]).sum();
                    assert!((sum - promise.got).abs() < 1e-9, "{what}: every position is a feature here, but they sum to {sum}");
                }
            }
        }
    }
}

#[test]
fn one_step_at_the_end_of_a_path_from_zero_is_input_times_gradient() {
    for case in all() {
        let question = contrasted(case, Score::LogProbability);
        let last =
            IntegratedGradients { steps: 1, quadrature: Quadrature::Right, baseline: Baseline::Zero, ..IntegratedGradients::default() };
        let (path, product) =
            (last.attribute(&engine(case), &question).unwrap(), InputXGradient::default().attribute(&engine(case), &question).unwrap());
        assert_near(&path.per_target_token.concat(), &product.per_target_token.concat(), 1e-12, case);
        assert_near(&path.per_contrast_token.concat(), &product.per_contrast_token.concat(), 1e-12, case);
        assert_eq!((path.clean, path.clean_contrast), (product.clean, product.clean_contrast));
    }
}

#[test]
fn a_path_that_goes_nowhere_attributes_nothing() {
    for case in all() {
        let mut question = question(case, Score::LogProbability);
        question.prompt = question.prompt.with_symbols([7; 6].map(Symbol::Token));
        if question.target.tokens.len() > 1 {
            question.target.tokens = vec![7, 9]; // the first of them is an input, too
        }
        let method = IntegratedGradients { baseline: Baseline::Token(7), steps: 3, ..IntegratedGradients::default() };
        let got = method.attribute(&engine(case), &question).unwrap();
        assert!(got.per_target_token.iter().flatten().all(|s| *s == 0.0), "{case}: {:?}", got.per_target_token);
        assert!(got.promises.iter().all(|p| p.expected == 0.0 && p.got == 0.0), "{case}");
    }
}

#[test]
fn steps_go_down_in_groups_that_fit_the_memory() {
    for case in ["llama", "bert"] {
        for contrast in [false, true] {
            let question = if contrast { contrasted(case, Score::Logit) } else { question(case, Score::Logit) };
            let inputs = if contrast && case == "llama" { 2 } else { 1 };
            let methods: [Box<dyn Method>; 2] = [
                Box::new(IntegratedGradients { steps: 7, ..IntegratedGradients::default() }),
                Box::new(SmoothGrad { samples: 7, ..SmoothGrad::default() }),
            ];
            for (ends, method) in [2, 1].into_iter().zip(methods) {
                let mut engine = engine(case);
                let whole = method.attribute(&engine, &question).unwrap();
                assert_eq!(whole.cost, method.estimate(&engine, &question).unwrap(), "{case}");
                assert_eq!((whole.backwards, whole.cost.copies), (7 * inputs, (7 + ends) * inputs), "{case}");
                assert_eq!(whole.cost.sweeps, 1 + 2, "scores of the ends, then all steps up and down");
                // A walk with less memory first keeps fewer tapes, then takes fewer steps together, and at last cannot be done.
                let mut sweeps = vec![whole.cost.sweeps];
                let mut memory = whole.cost.peak_bytes;
                let refused = loop {
                    memory -= memory / 16;
                    engine.max_memory = Some(memory);
                    let split = match method.attribute(&engine, &question) {
                        Ok(split) => split,
                        Err(refused) => break refused.to_string(),
                    };
                    assert_eq!(split.cost, method.estimate(&engine, &question).unwrap(), "{case}");
                    assert!(split.cost.peak_bytes <= memory);
                    assert_eq!(
                        (split.backwards, split.cost.copies, split.cost.rows),
                        (whole.backwards, whole.cost.copies, whole.cost.rows)
                    );
                    assert_near(&split.per_target_token.concat(), &whole.per_target_token.concat(), 1e-12, case);
                    sweeps.push(split.cost.sweeps);
                };
                assert!(sweeps.is_sorted() && sweeps[sweeps.len() - 1] > 2 * 3, "{case}: sweeps {sweeps:?} as memory shrinks");
                assert!(refused.contains("--max-memory"), "{refused}");
            }
        }
    }
}

//! AttnLRP, CP-LRP and GIM: what they conserve, and each rule on its own against plain loops.

use pellucid_core::{Method, Postprocessing, Score, rules::Rules};
use pellucid_methods::{At, AttnLrp, CpLrp, Gim};

use crate::{
    cases::{all, assert_near, contrasted, engine, question},
    toy::{self, Block},
};

#[test]
fn cp_lrp_relevance_adds_up_to_the_logit_in_models_without_biases() {
    for at in [At::WordEmbedding, At::Hidden(0), At::Hidden(1)] {
        let got = CpLrp { at, ..CpLrp::default() }.attribute(&engine("llama"), &question("llama", Score::Logit)).unwrap();
        assert_eq!(got.promises.len(), 2, "one for each target token");
        for (t, promise) in got.promises.iter().enumerate() {
            assert_eq!((promise.name.as_str(), promise.target_token, promise.expected), ("conservation", t, got.clean[t].logit));
            assert!((promise.got - promise.expected).abs() < 1e-6 * promise.expected.abs(), "{at:?}: {promise:?}");
            let sum: f64 = got.per_target_token.iter().map(|f| f[t]).sum();
            assert!((sum - promise.got).abs() < 1e-9, "every position is a feature here");
        }
    }
}

#[test]
fn nothing_is_promised_where_biases_or_the_softmax_take_a_share() {
    for case in all().filter(|c| *c != "llama") {
        let got = CpLrp::default().attribute(&engine(case), &question(case, Score::Logit)).unwrap();
        assert!(got.promises.is_empty(), "{case}");
        let sum: f64 = got.per_target_token.iter().map(|f| f[0]).sum();
        assert!((sum - got.clean[0].logit).abs() > 1e-3, "{case}: {sum} is the logit after all");
    }
    let question = question("llama", Score::Logit);
    for method in [Box::new(AttnLrp::default()) as Box<dyn Method>, Box::new(Gim::default())] {
        let got = method.attribute(&engine("llama"), &question).unwrap();
        let sum: f64 = got.per_target_token.iter().map(|f| f[0]).sum();
        assert!(got.promises.is_empty() && (sum - got.clean[0].logit).abs() > 1e-3, "{method:?}: {sum}");
    }
    let mut question = question.clone();
    question.target.score = Score::LogProbability;
    assert!(CpLrp::default().attribute(&engine("llama"), &question).unwrap().promises.is_empty());
}

#[test]
fn against_a_contrast_at_the_same_row_logit_and_log_probability_start_alike() {
    for case in all() {
        for method in [Box::new(AttnLrp::default()) as Box<dyn Method>, Box::new(CpLrp::default()), Box::new(Gim::default())] {
            let combined = |score| {
                let mut question = contrasted(case, score);
                question.target.tokens.truncate(1);
                question.target.contrast.as_mut().unwrap().truncate(1);
                question.features.truncate(6);
                method.attribute(&engine(case), &question).unwrap().combined(Postprocessing::None)
            };
            assert_near(&combined(Score::LogProbability), &combined(Score::Logit), 1e-9, &format!("{case} {method:?}"));
        }
    }
}

#[test]
fn the_three_rule_sets_differ_from_one_another_and_from_the_gradient() {
    for case in all() {
        let question = question(case, Score::Logit);
        let of = |method: &dyn Method| method.attribute(&engine(case), &question).unwrap().per_target_token.concat();
        let gradient = pellucid_methods::InputXGradient::default();
        let scores = [of(&AttnLrp::default()), of(&CpLrp::default()), of(&Gim::default()), of(&gradient)];
        for (i, j) in (0..4).flat_map(|i| (0..i).map(move |j| (i, j))) {
            let apart = scores[i].iter().zip(&scores[j]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart > 1e-3, "{case}: {i} and {j}");
        }
    }
}

const SETS: [(Rules, &str); 4] =
    [(Rules::GRADIENT, "gradient"), (Rules::ATTN_LRP, "attn-lrp"), (Rules::CP_LRP, "cp-lrp"), (Rules::GIM, "gim")];

#[test]
fn a_norm_counts_its_deviation_as_a_constant() {
    for (rules, name) in SETS {
        for block in [Block::RmsNorm, Block::LayerNorm] {
            let run = toy::run(block, rules);
            let centred = block == Block::LayerNorm;
            let mut expected = Vec::new();
            for (x, g) in run.input.iter().zip(&run.arriving) {
                let d = x.len() as f64;
                let mean = if centred { x.iter().sum::<f64>() / d } else { 0.0 };
                let sigma = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d + toy::EPSILON).sqrt();
                let weighted: Vec<f64> = g.iter().zip(&run.weight("norm.weight")[0]).map(|(g, w)| g * w).collect();
                for i in 0..x.len() {
                    let mut out = 0.0;
                    for j in 0..x.len() {
                        // ∂y_j/∂x_i without the weight, the deviation's own derivative only for the true gradient
                        let moved = f64::from(u8::from(i == j)) - if centred { 1.0 / d } else { 0.0 };
                        let of_sigma = (x[j] - mean) * (x[i] - mean) / (d * sigma * sigma);
                        out += weighted[j] * (moved - if name == "gradient" { of_sigma } else { 0.0 }) / sigma;
                    }
                    expected.push(out);
                }
            }
            assert_near(&run.leaving, &expected, 1e-12, &format!("{name} {block:?}"));
        }
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// What a rule set takes for the slope of x·logistic(x).
fn slope(name: &str, x: f64) -> f64 {
    match name {
        "gradient" | "gim" => logistic(x) + x * logistic(x) * (1.0 - logistic(x)),
        _ => x * logistic(x) / (x + 1e-10),
    }
}

#[test]
fn an_activation_passes_relevance_on() {
    for (rules, name) in SETS {
        let run = toy::run(Block::Activation, rules);
        let pairs = run.input.concat().into_iter().zip(run.arriving.concat());
        let expected: Vec<f64> = pairs.map(|(x, g)| g * slope(name, x)).collect();
        assert_near(&run.leaving, &expected, 1e-12, name);
    }
}

#[test]
fn a_gate_shares_with_the_other_factor_or_is_a_constant() {
    for (rules, name) in SETS {
        let run = toy::run(Block::Gate, rules);
        let (gate, up) = (run.weight("gate.weight"), run.weight("up.weight"));
        let half = if matches!(name, "attn-lrp" | "gim") { 0.5 } else { 1.0 };
        let mut expected = Vec::new();
        for (x, g) in run.input.iter().zip(&run.arriving) {
            let mut out = vec![0.0; x.len()];
            for (o, g) in g.iter().enumerate() {
                let a: f64 = gate[o].iter().zip(x).map(|(w, x)| w * x).sum();
                let b: f64 = up[o].iter().zip(x).map(|(w, x)| w * x).sum();
                let to_gate = if name == "cp-lrp" { 0.0 } else { half * g * b * slope(name, a) };
                let to_up = half * g * a * logistic(a);
                for i in 0..x.len() {
                    out[i] += to_gate * gate[o][i] + to_up * up[o][i];
                }
            }
            expected.extend(out);
        }
        assert_near(&run.leaving, &expected, 1e-12, name);
    }
}

#[test]
fn attention_shares_between_pattern_and_values_and_between_queries_and_keys() {
    for (rules, name) in SETS {
        let run = toy::run(Block::Attention, rules);
        let map =
            |name: &str, x: &[f64]| -> Vec<f64> { run.weight(name).iter().map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum()).collect() };
        let of = |name: &str| -> Vec<Vec<f64>> { run.input.iter().map(|x| map(name, x)).collect() };
        let (q, k, v, n) = (of("q.weight"), of("k.weight"), of("v.weight"), run.input.len());
        let (values_share, scores_share) = match name {
            "gradient" => (1.0, 1.0),
            "cp-lrp" => (1.0, 0.0),
            _ => (0.5, 0.25),
        };
        let d = toy::D_HEAD;
        let zeros = || vec![vec![0.0; toy::WIDTH]; n];
        let (mut to_q, mut to_k, mut to_v) = (zeros(), zeros(), zeros());
        for head in 0..toy::WIDTH / d {
            let part = |x: &[f64]| x[head * d..(head + 1) * d].to_vec();
            let dot = |a: &[f64], b: &[f64]| part(a).iter().zip(part(b)).map(|(a, b)| a * b).sum::<f64>();
            for row in 0..n {
                let scores: Vec<f64> = (0..=row).map(|key| dot(&q[row], &k[key]) * toy::SCALE).collect();
                let softmax = |temperature: f64| -> Vec<f64> {
                    let sum: f64 = scores.iter().map(|s| (s / temperature).exp()).sum();
                    scores.iter().map(|s| (s / temperature).exp() / sum).collect()
                };
                let pattern = softmax(1.0);
                let derivative_at = if name == "gim" { softmax(2.0) } else { pattern.clone() };
                let at_pattern: Vec<f64> = (0..=row).map(|key| dot(&run.arriving[row], &v[key])).collect();
                let mean: f64 = derivative_at.iter().zip(&at_pattern).map(|(a, g)| a * g).sum();
                for key in 0..=row {
                    let at_score = derivative_at[key] * (at_pattern[key] - mean);
                    for i in head * d..(head + 1) * d {
                        to_v[key][i] += values_share * pattern[key] * run.arriving[row][i];
                        to_q[row][i] += scores_share * toy::SCALE * at_score * k[key][i];
                        to_k[key][i] += scores_share * toy::SCALE * at_score * q[row][i];
                    }
                }
            }
        }
        let mut expected = vec![0.0; n * toy::WIDTH];
        for (name, to) in [("q.weight", to_q), ("k.weight", to_k), ("v.weight", to_v)] {
            let weight = run.weight(name);
            for (row, to) in to.iter().enumerate() {
                for (o, g) in to.iter().enumerate() {
                    for i in 0..toy::WIDTH {
                        expected[row * toy::WIDTH + i] += g * weight[o][i];
                    }
                }
            }
        }
        assert_near(&run.leaving, &expected, 1e-12, name);
    }
}

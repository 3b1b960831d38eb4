//! The γ rule of linear maps, against plain loops; what it keeps, and where it leaves maps alone.

use pellucid_core::{
    Compute, Method, Score,
    rules::{Gamma, Rules},
    walk::down::{Descent, Signal, Term, Wanted},
};
use pellucid_methods::{At, AttnLrp, CpLrp};

use crate::{
    cases::{assert_near, engine, question},
    toy::{self, Block},
};

const GAMMA: Gamma = Gamma { convolution: 0.3, linear: 0.7 };

/// `R_i / x_i` of one row, straight from the definition.
fn replica(gamma: f64, weight: &[Vec<f64>], bias: &[f64], x: &[f64], arriving: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    for ((w, b), g) in weight.iter().zip(bias).zip(arriving) {
        let y: f64 = w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b;
        let counted = |z: f64| if z * y > 0.0 { z + gamma * z } else { z };
        let whole: f64 = w.iter().zip(x).map(|(w, x)| counted(w * x)).sum::<f64>() + counted(*b);
        for (i, out) in out.iter_mut().enumerate() {
            *out += counted(w[i] * x[i]) * g * y / (whole + 1e-6 * y.signum()) / x[i];
        }
    }
    out
}

#[test]
fn contributions_of_the_outputs_sign_count_more_in_the_head_and_in_a_map() {
    for rules in [Rules::GRADIENT, Rules::ATTN_LRP, Rules::CP_LRP] {
        let run = toy::run(Block::Map, rules.with_gamma(Some(GAMMA)));
        let (weight, bias, last) = (run.weight("map.weight"), &run.weight("map.bias")[0], run.weight("last.weight"));
        let mut expected = Vec::new();
        for (row, x) in run.input.iter().enumerate() {
            let y: Vec<f64> = weight.iter().zip(bias).map(|(w, b)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b).collect();
            let asked: Vec<f64> = (0..last.len()).map(|output| f64::from(u8::from(output == row + 1))).collect();
            let arriving = replica(GAMMA.linear, &last, &vec![0.0; last.len()], &y, &asked);
            expected.extend(replica(GAMMA.linear, &weight, bias, x, &arriving));
        }
        assert_near(&run.leaving, &expected, 1e-12, &format!("{rules:?}"));
    }
}

#[test]
fn a_gamma_of_zero_is_the_plain_rule_but_for_the_stabiliser() {
    let plain = toy::run(Block::Attention, Rules::ATTN_LRP);
    let zero = toy::run(Block::Attention, Rules::ATTN_LRP.with_gamma(Some(Gamma { convolution: 5.0, linear: 0.0 })));
    assert_near(&zero.leaving, &plain.leaving, 1e-4, "no patches are projected here");
    assert_ne!(zero.leaving, plain.leaving);
}

/// Everything below the head is linear in what the head sends: a log-probability is `Σ_v (δ_tv − p_v)` of the logits.
#[test]
fn a_log_probability_starts_at_what_every_logit_would_start_at() {
    for case in ["vit", "bert"] {
        let engine = engine(case);
        let rules = Rules::ATTN_LRP.with_gamma(Some(GAMMA));
        let question = question(case, Score::LogProbability);
        let (input, classes) = (question.prompt.clone(), engine.model.scores() as u32);
        let signal = |output, score| Signal { rules, terms: vec![Term { row: 0, output, score, temperature: 1.3, weight: 1.0 }] };
        let signals = (0..classes).map(|c| signal(c, Score::Logit)).chain([signal(1, Score::LogProbability)]).collect();
        let wanted = Wanted { embeddings: true, ..Wanted::default() };
        let landed = engine.down(&[Descent { input, signals, ..Descent::default() }], &wanted, &mut |_| Ok(())).unwrap().descents.remove(0);
        let logits: Vec<f64> = landed.scores[..classes as usize].iter().map(|s| s[0].logit / 1.3).collect();
        let sum: f64 = logits.iter().map(|l| l.exp()).sum();
        let signals = landed.embeddings.unwrap().signals;
        let mut expected = vec![0.0; signals[0].len()];
        for (class, (logit, signal)) in logits.iter().zip(&signals).enumerate() {
            let share = (f64::from(u8::from(class == 1)) - logit.exp() / sum) / 1.3;
            expected.iter_mut().zip(signal).for_each(|(e, s)| *e += share * s);
        }
        assert_near(&signals[classes as usize], &expected, 1e-10, case);
    }
}

#[test]
fn relevance_still_adds_up_where_no_bias_takes_a_share() {
    let got = CpLrp { gamma: Some(GAMMA), ..CpLrp::default() }.attribute(&engine("llama"), &question("llama", Score::Logit)).unwrap();
    assert!(got.promises.is_empty(), "but for the stabiliser: it is not promised");
    for (t, clean) in got.clean.iter().enumerate() {
        let sum: f64 = got.per_target_token.iter().map(|f| f[t]).sum();
        assert!((sum - clean.logit).abs() < 1e-3 * clean.logit.abs(), "{sum} {}", clean.logit);
    }
}

#[test]
fn relevance_with_gamma_is_the_same_when_every_block_is_run_twice() {
    let question = question("vit", Score::Logit);
    let method = AttnLrp { gamma: Some(GAMMA), ..AttnLrp::default() };
    let mut engine = engine("vit");
    let whole = method.attribute(&engine, &question).unwrap();
    engine.max_memory = Some(whole.cost.peak_bytes - whole.cost.peak_bytes / 3);
    let mut less = method.attribute(&engine, &question);
    while less.is_err() {
        engine.max_memory = engine.max_memory.map(|m| m + m / 16);
        less = method.attribute(&engine, &question);
    }
    let less = less.unwrap();
    assert!(less.cost.gflop > whole.cost.gflop, "fewer tapes were kept");
    assert_near(&less.per_target_token.concat(), &whole.per_target_token.concat(), 1e-12, "fewer tapes");
}

#[test]
fn single_precision_is_enough() {
    let question = question("vit", Score::Logit);
    let method = CpLrp { gamma: Some(Gamma { convolution: 100.0, linear: 1.0 }), ..CpLrp::default() };
    let double = method.attribute(&engine("vit"), &question).unwrap().pixels.unwrap().concat();
    let mut engine = engine("vit");
    engine.compute = Compute::F32;
    let single = method.attribute(&engine, &question).unwrap().pixels.unwrap().concat();
    assert_near(&single, &double, 1e-3, "f32");
}

#[test]
fn a_gamma_that_makes_no_sense_is_refused() {
    for linear in [-0.1, f64::NAN, f64::INFINITY, 1e7] {
        let gamma = Some(Gamma { convolution: 0.25, linear });
        for problem in [
            AttnLrp { at: At::Auto, gamma }.checked().unwrap_err(),
            CpLrp { at: At::Auto, gamma }.attribute(&engine("vit"), &question("vit", Score::Logit)).unwrap_err(),
        ] {
            let message = problem.to_string();
            assert!(message.contains(&format!("gamma of linear maps is {linear}")) && message.contains("0 to 1000000"), "{message}");
        }
    }
}

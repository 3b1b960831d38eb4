//! The methods as the papers write them: whole patterns, whole gradients, whole matrices, from the first layer to the last.

use pellucid_core::{
    Score,
    rules::{AlphaBeta, Rules},
};
use serde_json::json;

use super::{Rows, TOLERANCE, Whole, assert_close, attribute, class, continuation, engine, identity, model, product, row, whole};

/// `E_h` of something at every entry.
fn over_heads(heads: usize, n: usize, entry: impl Fn(usize, usize, usize) -> f64) -> Rows {
    let mean = |q, k| (0..heads).map(|h| entry(h, q, k)).sum::<f64>() / heads as f64;
    (0..n).map(|q| (0..n).map(|k| mean(q, k)).collect()).collect()
}

/// `Â_L ··· Â_s` with `Â = C + I`, each row divided by its sum if `normalize`.
fn rollout(matrices: &[Rows], start: usize, normalize: bool) -> Rows {
    let n = matrices[0].len();
    let mut joint = identity(n);
    for matrix in &matrices[start..] {
        let mut with = matrix.clone();
        for (q, row) in with.iter_mut().enumerate() {
            row[q] += 1.0;
            let sum: f64 = if normalize { row.iter().sum() } else { 1.0 };
            row.iter_mut().for_each(|x| *x /= sum);
        }
        joint = product(&with, &joint);
    }
    joint
}

/// `R ← R + Ā·R`.
fn relevance(matrices: &[Rows], start: usize) -> Rows {
    let mut r = identity(matrices[0].len());
    for matrix in &matrices[start..] {
        let more = product(matrix, &r);
        r.iter_mut().flatten().zip(more.iter().flatten()).for_each(|(r, m)| *r += m);
    }
    r
}

fn mean_patterns(whole: &Whole) -> Vec<Rows> {
    whole.pattern.iter().map(|heads| over_heads(heads.len(), heads[0].len(), |h, q, k| heads[h][q][k])).collect()
}

/// `E_h (a ⊙ b)⁺` layer by layer.
fn positive(a: &[Vec<Rows>], b: &[Vec<Rows>]) -> Vec<Rows> {
    let layer = |a: &Vec<Rows>, b: &Vec<Rows>| over_heads(a.len(), a[0].len(), |h, q, k| (a[h][q][k] * b[h][q][k]).max(0.0));
    a.iter().zip(b).map(|(a, b)| layer(a, b)).collect()
}

#[test]
fn attention_is_the_mean_of_the_heads_at_the_row_of_each_target_token() {
    let loaded = model("gptj");
    let (engine, question) = (engine(&loaded), continuation(&[62, 99, 8], Score::Logit));
    for (layer, number) in [(json!("last"), 2), (json!(1), 1)] {
        let got = attribute(&engine, "attention", json!({"layer": layer}), &question);
        for t in 0..3 {
            let expected = &mean_patterns(&whole(&engine, &question, t, Score::Logit, &[]))[number][6 + t];
            assert_close(&row(&got, t), expected, TOLERANCE, &format!("layer {number}, token {t}"));
        }
    }
}

#[test]
fn rollout_is_the_product_of_all_layers() {
    for (case, question) in [("gptj", continuation(&[62, 99, 8], Score::Logit)), ("bert", class(1))] {
        let loaded = model(case);
        let engine = engine(&loaded);
        let patterns = mean_patterns(&whole(&engine, &question, 0, Score::Logit, &[]));
        for (start, normalize) in [(0, true), (1, true), (0, false)] {
            let got = attribute(&engine, "attention-rollout", json!({"start_layer": start, "normalize": normalize}), &question);
            let expected = rollout(&patterns, start, normalize);
            for t in 0..question.target.tokens.len() {
                assert_close(&row(&got, t), &expected[question.row(t)], TOLERANCE, &format!("{case} {start} {normalize} {t}"));
            }
        }
    }
}

#[test]
fn chefer_adds_up_positive_attention_times_gradient_for_every_target_token() {
    for (case, question) in [("gptj", continuation(&[62, 99, 8], Score::LogProbability)), ("bert", class(1))] {
        let loaded = model(case);
        let engine = engine(&loaded);
        for start in [0, 1] {
            let got = attribute(&engine, "chefer", json!({"start_layer": start, "identity": true}), &question);
            let bare = attribute(&engine, "chefer", json!({"start_layer": start}), &question);
            let shares =
                attribute(&engine, "chefer", json!({"start_layer": start, "normalize_scores": "sum", "identity": true}), &question);
            for t in 0..question.target.tokens.len() {
                let whole = whole(&engine, &question, t, question.target.score, &[Rules::GRADIENT]);
                let expected = &relevance(&positive(&whole.pattern, &whole.signals[0]), start)[question.row(t)];
                assert_close(&row(&got, t), expected, TOLERANCE, &format!("{case} {start} {t}"));
                let mut without = expected.clone();
                without[question.row(t)] -= 1.0;
                assert_close(&row(&bare, t), &without, TOLERANCE, "without the identity");
                let sum: f64 = expected.iter().sum();
                let expected: Vec<f64> = expected.iter().map(|x| x / sum).collect();
                assert_close(&row(&shares, t), &expected, TOLERANCE, "normalised");
            }
        }
    }
}

#[test]
fn gradcam_weighs_heads_by_their_mean_gradient() {
    for (case, question) in [("gptj", continuation(&[62, 99, 8], Score::Logit)), ("bert", class(0)), ("bert", class(1))] {
        let loaded = model(case);
        let engine = engine(&loaded);
        let last = engine.model.description().layers - 1;
        let plain = attribute(&engine, "attention-gradcam", json!({}), &question);
        let stretched = attribute(&engine, "attention-gradcam", json!({"normalize": "min-max"}), &question);
        for t in 0..question.target.tokens.len() {
            let whole = whole(&engine, &question, t, Score::Logit, &[Rules::GRADIENT]);
            let (pattern, gradient) = (&whole.pattern[last], &whole.signals[0][last]);
            let n = pattern[0].len();
            let exists = |q: usize, k: usize| !engine.model.description().causal || k <= q;
            let entries: Vec<(usize, usize)> = (0..n).flat_map(|q| (0..n).map(move |k| (q, k))).filter(|(q, k)| exists(*q, *k)).collect();
            let g: Vec<f64> = gradient.iter().map(|g| entries.iter().map(|(q, k)| g[*q][*k]).sum::<f64>() / entries.len() as f64).collect();
            let mut map = over_heads(pattern.len(), n, |h, q, k| pattern[h][q][k] * g[h]);
            map.iter_mut().flatten().for_each(|x| *x = x.max(0.0));
            let at = question.row(t);
            let largest = map.iter().flatten().copied().fold(0.0, f64::max);
            let least = map.iter().flatten().copied().fold(f64::INFINITY, f64::min);
            assert!(super::off(&row(&plain, t), &map[at]) < TOLERANCE, "{case} {t}");
            let expected: Vec<f64> = map[at].iter().map(|x| if largest > least { (x - least) / (largest - least) } else { 0.0 }).collect();
            assert!(super::off(&row(&stretched, t), &expected) < TOLERANCE, "{case} {t} stretched");
        }
        let all = plain.per_target_token.concat();
        assert!(case == "bert" || all.iter().any(|x| *x > 1e-4), "{case}: nothing to compare");
    }
}

#[test]
fn transformer_attribution_rolls_out_positive_gradient_times_relevance() {
    for (case, question) in [("gpt2", continuation(&[62, 99], Score::Logit)), ("bert", class(1))] {
        let loaded = model(case);
        let engine = engine(&loaded);
        let last = engine.model.description().layers - 1;
        for (name, rules) in [("ours", AlphaBeta::Ours), ("original", AlphaBeta::Original), ("detr", AlphaBeta::Detr)] {
            for t in 0..question.target.tokens.len() {
                let whole = whole(&engine, &question, t, Score::Logit, &[Rules::GRADIENT, Rules::AlphaBeta(rules)]);
                let [gradient, relevance] = &whole.signals[..] else { panic!("two signals") };
                let both = positive(gradient, relevance);
                let ones: Vec<Vec<Rows>> =
                    relevance.iter().map(|l| l.iter().map(|h| vec![vec![1.0; h.len()]; h.len()]).collect()).collect();
                let alone = positive(&ones, relevance);
                let at = question.row(t);
                let expected = [
                    (json!({"variant": "transformer-attribution"}), rollout(&both, 0, true)[at].clone()),
                    (json!({"variant": "transformer-attribution", "normalize": false}), rollout(&both, 0, false)[at].clone()),
                    (json!({"variant": "transformer-attribution", "start_layer": 1}), rollout(&both, 1, true)[at].clone()),
                    (json!({"variant": "rollout", "normalize": false}), rollout(&alone, 0, false)[at].clone()),
                    (json!({"variant": "last-layer"}), alone[last][at].clone()),
                    (json!({"variant": "partial", "gradient": true}), both[last][at].clone()),
                    (json!({"variant": "second-layer"}), alone[1][at].clone()),
                    (json!({"variant": "second-layer", "gradient": true}), both[1][at].clone()),
                ];
                for (mut parameters, expected) in expected {
                    parameters["rules"] = name.into();
                    parameters["identity"] = true.into();
                    let got = attribute(&engine, "lrp", parameters.clone(), &question);
                    let scale = expected.iter().copied().fold(1.0, f64::max);
                    let error = super::off(&row(&got, t), &expected);
                    assert!(error < TOLERANCE * scale, "{case} {parameters} {t}: {error:e} off");
                }
                assert!(both[last][at].iter().any(|x| *x > 1e-6), "{case} {name}: nothing to compare");
            }
        }
    }
}

#[test]
fn the_lrp_source_of_chefer_puts_relevance_in_place_of_attention() {
    let loaded = model("bert");
    let (engine, question) = (engine(&loaded), class(0));
    let whole = whole(&engine, &question, 0, Score::Logit, &[Rules::GRADIENT, Rules::AlphaBeta(AlphaBeta::Ours)]);
    let expected = &relevance(&positive(&whole.signals[0], &whole.signals[1]), 0)[0];
    let got = attribute(&engine, "chefer", json!({"source": "lrp", "identity": true}), &question);
    assert_close(&row(&got, 0), expected, TOLERANCE, "source lrp");
    assert!(super::off(&row(&attribute(&engine, "chefer", json!({}), &question), 0), expected) > 1e-4, "the source matters");
}

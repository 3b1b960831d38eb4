//! Gradients against finite differences, what is seen of patterns on the way down, and what the methods make of gradients.

use pellucid_core::{
    Method, Score,
    rules::Rules,
    walk::down::{Combine, Descent, Heads, Landing, Look, Patterns, Wanted},
};
use pellucid_methods::{Embedded, InputXGradient, NormalizeScores, Reduce, Saliency, SmoothGrad, Wrt};

use crate::cases::{ENCODERS, all, assert_near, contrasted, descent, engine, question};

const SCORES: [Score; 3] = [Score::Logit, Score::LogProbability, Score::Probability];

/// What every signal explains.
fn explained(descent: &Descent, landing: &Landing, at: usize) -> Vec<f64> {
    let sum = |(signal, scores): (&pellucid_core::walk::down::Signal, &Vec<_>)| {
        signal.terms.iter().zip(scores).map(|(term, token)| term.weight * term.score.of(token)).sum()
    };
    descent.signals.iter().zip(&landing.descents[at].scores).map(sum).collect()
}

/// A direction at one position: as many numbers as a row has, no two alike.
fn direction(width: usize, rows: usize, position: usize) -> Vec<f64> {
    let mut out = vec![0.0; rows * width];
    out[position * width..(position + 1) * width].iter_mut().enumerate().for_each(|(i, x)| *x = ((i * i + 3 * i + position) as f64).sin());
    out
}

/// `(f(x + h·v) − f(x − h·v)) / 2h` of every signal, for a direction at each position.
fn differences(case: &str, clean: &Descent, value: &[f64], put: impl Fn(Vec<f64>) -> Descent) -> Vec<Vec<f64>> {
    let (rows, h) = (clean.input.len(), 1e-5);
    let width = value.len() / rows;
    let moved = |p: usize, by: f64| put(value.iter().zip(direction(width, rows, p)).map(|(x, v)| x + by * v).collect());
    let descents: Vec<Descent> = (0..rows).flat_map(|p| [moved(p, h), moved(p, -h)]).collect();
    let landing = engine(case).down(&descents, &Wanted::default(), &mut |_| Ok(())).unwrap();
    assert_eq!((landing.backwards, landing.cost.sweeps), (0, 1), "scores alone are one walk up");
    let difference = |p: usize| {
        let [up, down] = [2 * p, 2 * p + 1].map(|i| explained(&descents[i], &landing, i));
        up.iter().zip(&down).map(|(u, d)| (u - d) / (2.0 * h)).collect()
    };
    (0..rows).map(difference).collect()
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[test]
fn gradients_at_embeddings_and_hidden_states_are_finite_differences() {
    for (case, score) in all().flat_map(|c| SCORES.map(|s| (c, s))) {
        let clean = descent(&question(case, score), Rules::GRADIENT);
        let engine = engine(case);
        let wanted = Wanted { embeddings: true, hidden: vec![0, 1], ..Wanted::default() };
        let landed = engine.down(std::slice::from_ref(&clean), &wanted, &mut |_| Ok(())).unwrap().descents.remove(0);
        let words = landed.embeddings.unwrap();
        let rows = clean.input.len();
        let compare = |value: &[f64], signals: &[Vec<f64>], numeric: Vec<Vec<f64>>, site: &str| {
            let width = value.len() / rows;
            for (s, signal) in signals.iter().enumerate() {
                let got: Vec<f64> = (0..rows).map(|p| dot(signal, &direction(width, rows, p))).collect();
                let expected: Vec<f64> = numeric.iter().map(|n| n[s]).collect();
                assert_near(&got, &expected, 1e-6, &format!("{case} {score:?} signal {s} at {site}"));
            }
        };
        let numeric = differences(case, &clean, &words.value, |x| Descent { embedded: Some(x), ..clean.clone() });
        compare(&words.value, &words.signals, numeric, "token embeddings");
        let output = &landed.hidden[0];
        assert_eq!(output.value, engine.embedding_output(&clean.input).unwrap(), "{case}: what the first block takes");
        let numeric = differences(case, &clean, &output.value, |x| Descent { hidden: Some(x), ..clean.clone() });
        compare(&output.value, &output.signals, numeric, "the embedding's output");
        assert_eq!(landed.hidden[1].signals.len(), clean.signals.len());
    }
}

/// A gradient reaches block 1 as it reaches block 0: the same directional derivative, moved through block 0 by finite differences of its output.
#[test]
fn a_gradient_at_a_higher_block_gives_the_derivative_at_a_lower_one() {
    for case in all() {
        let clean = descent(&question(case, Score::LogProbability), Rules::GRADIENT);
        let wanted = Wanted { hidden: vec![0, 1], ..Wanted::default() };
        let walk = |d: &[Descent]| engine(case).down(d, &wanted, &mut |_| Ok(())).unwrap().descents;
        let landed = walk(std::slice::from_ref(&clean)).remove(0);
        let (rows, h) = (clean.input.len(), 1e-5);
        let width = landed.hidden[0].value.len() / rows;
        let moved = |by: f64| {
            let v = direction(width, rows, 1);
            let hidden = landed.hidden[0].value.iter().zip(&v).map(|(x, v)| x + by * v).collect();
            Descent { hidden: Some(hidden), ..clean.clone() }
        };
        let ends = walk(&[moved(h), moved(-h)]);
        let change: Vec<f64> = ends[0].hidden[1].value.iter().zip(&ends[1].hidden[1].value).map(|(a, b)| (a - b) / (2.0 * h)).collect();
        let above: Vec<f64> = landed.hidden[1].signals.iter().map(|s| dot(s, &change)).collect();
        let below: Vec<f64> = landed.hidden[0].signals.iter().map(|s| dot(s, &direction(width, rows, 1))).collect();
        assert_near(&above, &below, 1e-6, case);
    }
}

/// Each look on its own, from the pattern and the signals at it of every head.
#[test]
fn every_look_fires_on_every_architecture_and_layer() {
    let each = |of| Look { of, heads: Heads::Each };
    let mean = |of| Look { of, heads: Heads::Mean };
    for case in all() {
        let engine = engine(case);
        let (layers, heads) = (engine.model.description().layers, engine.model.description().heads);
        let causal = engine.model.description().causal;
        let weights: Vec<f64> = (0..heads).map(|h| h as f64 - 0.5).collect();
        let clean = descent(&question(case, Score::Logit), Rules::GRADIENT);
        let looks = vec![
            each(Combine::Pattern),
            each(Combine::Signal(0)),
            each(Combine::Signal(clean.signals.len() - 1)), // of all terms together: it arrives at every row that the first does
            each(Combine::ScoreSignal(0)),
            mean(Combine::PositiveProduct(0)),
            mean(Combine::PositiveSignal(0)),
            Look { of: Combine::PositiveSignals(0, clean.signals.len() - 1), heads: Heads::Sum },
            Look { of: Combine::Pattern, heads: Heads::Weighted(weights.clone()) },
            mean(Combine::Signal(7)), // which there is none of
        ];
        let mut seen = Vec::new();
        let mut fired = vec![vec![0.0f64; looks.len()]; layers];
        engine
            .down(&[clean], &Wanted { looks: looks.clone(), ..Wanted::default() }, &mut |block: &Patterns<'_>| {
                seen.push((block.layer, block.rows.clone()));
                let (n, count) = (block.keys, block.rows.len() * block.keys);
                assert!(block.looks[8].is_empty(), "a signal that there is none of is not looked at");
                for (fired, look) in fired[block.layer].iter_mut().zip(block.looks) {
                    *fired += look.iter().map(|x| x.abs()).sum::<f64>();
                }
                let over = |one: &dyn Fn(usize) -> f64, divide: f64| (0..heads).map(|h| one(h * count)).sum::<f64>() / divide;
                let [pattern, first, second, scores] = [0, 1, 2, 3].map(|l| &block.looks[l]);
                let positive = |x: f64| x.max(0.0);
                for i in 0..count {
                    let sees = !causal || i % n <= block.rows.start + i / n;
                    let visible = |x: f64| if sees { x } else { 0.0 };
                    let row = i / n * n;
                    let derivative = |h: usize| {
                        let mean: f64 = (row..row + n).map(|k| pattern[h + k] * first[h + k]).sum();
                        pattern[h + i] * (first[h + i] - mean)
                    };
                    let expected = [
                        over(&|h| positive(pattern[h + i] * first[h + i]), heads as f64),
                        over(&|h| visible(positive(first[h + i])), heads as f64),
                        over(&|h| visible(positive(first[h + i] * second[h + i])), 1.0),
                        over(&|h| pattern[h + i] * weights[h / count], 1.0),
                    ];
                    for (look, expected) in block.looks[4..8].iter().zip(expected) {
                        // Of keys that a row does not see nobody asks anything but the derivative itself.
                        assert!(!sees || (look[i] - expected).abs() < 1e-12, "{case}: {} instead of {expected}", look[i]);
                    }
                    (0..heads).for_each(|h| assert!((scores[h * count + i] - derivative(h * count)).abs() < 1e-12, "{case}"));
                }
                Ok(())
            })
            .unwrap();
        let rows = question(case, Score::Logit).features.len();
        let expected: Vec<_> = (0..layers).rev().map(|l| (l, 0..rows)).collect();
        assert_eq!(seen, expected, "{case}: layers from the last, rows in order");
        for (layer, fired) in fired.iter().enumerate() {
            assert!(fired[..8].iter().all(|x| *x > 0.0), "{case} layer {layer}: {fired:?}");
        }
    }
}

#[test]
fn a_unit_of_the_target_scores_zero_where_it_comes_too_late() {
    for id in ["saliency", "input-x-gradient", "integrated-gradients", "smooth-grad", "atman-gradient", "attn-lrp", "cp-lrp", "gim"] {
        for case in crate::cases::DECODERS {
            let method = (pellucid_methods::find(id).unwrap().make)(serde_json::json!({})).unwrap();
            let got = method.attribute(&engine(case), &contrasted(case, Score::LogProbability)).unwrap();
            assert_eq!(got.per_target_token[6][0], 0.0, "{case} {id}");
            assert!(got.per_contrast_token[6] == [0.0, 0.0], "{case} {id}: the contrast has other tokens");
            assert!(got.per_target_token[6][1] != 0.0 && got.per_contrast_token[5][0] != 0.0, "{case} {id}");
            assert!(got.per_target_token.iter().chain(&got.per_contrast_token).flatten().all(|s| s.is_finite()), "{case} {id}");
        }
    }
}

#[test]
fn input_times_gradient_and_saliency_are_products_and_norms_of_the_gradient() {
    for (case, score) in all().flat_map(|c| SCORES.map(|s| (c, s))) {
        let (engine, question) = (engine(case), question(case, score));
        let gradient = Saliency::default().entries(&engine, &question).unwrap();
        let rows = question.features.len();
        let width = gradient[0].len() / rows;
        let ids: Vec<u32> = [5, 42, 79, 5, 116, 25, 62][..rows].to_vec();
        let value: Vec<f64> = engine.model.token_embeddings(&ids).unwrap().into_iter().map(f64::from).collect();
        let saliency = Saliency::default().attribute(&engine, &question).unwrap();
        let product = InputXGradient::default().attribute(&engine, &question).unwrap();
        for (t, gradient) in gradient.iter().enumerate() {
            for p in 0..rows {
                let (g, x) = (&gradient[p * width..(p + 1) * width], &value[p * width..(p + 1) * width]);
                assert!((saliency.per_target_token[p][t] - dot(g, g).sqrt()).abs() < 1e-12, "{case}");
                assert!((product.per_target_token[p][t] - dot(g, x)).abs() < 1e-12, "{case}");
            }
        }
    }
}

#[test]
fn shares_are_of_all_positions_and_units_add_up() {
    let case = "bert";
    let mut question = question(case, Score::Probability);
    let saliency = Saliency { normalize: NormalizeScores::Sum, ..Saliency::default() };
    let each: Vec<f64> = saliency.attribute(&engine(case), &question).unwrap().per_target_token.concat();
    assert!((each.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    question.features[0].positions = vec![(0, 1.0), (1, 0.25)];
    question.features.truncate(1);
    let unit = saliency.attribute(&engine(case), &question).unwrap().per_target_token[0][0];
    assert!((unit - each[0] - 0.25 * each[1]).abs() < 1e-12, "a position that is covered by a quarter counts a quarter");
}

#[test]
fn embedding_twice_explains_another_function() {
    for case in ENCODERS {
        let question = question(case, Score::Probability);
        let of = |embedded| {
            let saliency = Saliency { wrt: Wrt::EmbeddingOutput, embedded, ..Saliency::default() };
            saliency.attribute(&engine(case), &question).unwrap()
        };
        let (once, twice) = (of(Embedded::Once), of(Embedded::Twice));
        assert_ne!(once.clean[0].logit, twice.clean[0].logit, "{case}: not the model's score any more");
        assert_ne!(once.per_target_token, twice.per_target_token, "{case}");
        assert_eq!(once.clean[0].logit, Saliency::default().attribute(&engine(case), &question).unwrap().clean[0].logit, "{case}");
    }
}

#[test]
fn smooth_gradients_without_noise_are_saliency_and_repeat_under_a_seed() {
    for case in ["llama", "bert"] {
        let question = contrasted(case, Score::LogProbability);
        let smooth = |samples, sigma, seed| {
            let method = SmoothGrad { samples, sigma, seed, ..SmoothGrad::default() };
            let got = method.attribute(&engine(case), &question).unwrap();
            assert_eq!(got.backwards, samples * if case == "llama" { 2 } else { 1 }, "one walk down a sample and input");
            got
        };
        let still = smooth(3, 0.0, 0);
        let saliency = Saliency::default().attribute(&engine(case), &question).unwrap();
        assert_near(&still.per_target_token.concat(), &saliency.per_target_token.concat(), 1e-12, case);
        assert_near(&still.per_contrast_token.concat(), &saliency.per_contrast_token.concat(), 1e-12, case);
        assert_eq!(still.clean, saliency.clean);
        let (one, again, other) = (smooth(5, 0.15, 1), smooth(5, 0.15, 1), smooth(5, 0.15, 2));
        assert_eq!(one.per_target_token, again.per_target_token);
        assert_ne!(one.per_target_token, other.per_target_token);
        assert_ne!(one.per_target_token, still.per_target_token);
        let reduce = SmoothGrad { reduce: Reduce::Sum, absolute: true, samples: 2, ..SmoothGrad::default() };
        let scores = reduce.attribute(&engine(case), &question).unwrap().per_target_token;
        assert!(scores.iter().flatten().all(|s| *s >= 0.0));
    }
}

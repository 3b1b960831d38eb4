//! Each method's formula in plain loops.

use pellucid_core::{Input, Method, Question, Score};
use pellucid_methods::{After, Alti, AltiLogit, Approximation, DecompX, FlashTrace, Ifr, NormRows, ValueZeroing, VectorNorm, VectorNorms};

use super::blocks::{D_HEAD, HEADS, Plain, Rows, WIDTH, add, apart, dot, engine, gelu, l1, l2, scale, shares, through, times};
use crate::cases::{assert_near, question};

fn input(question: &Question) -> Input {
    question.document(&question.target.tokens)
}

fn one(n: usize, at: usize) -> Vec<f64> {
    (0..n).map(|i| f64::from(u8::from(i == at))).collect()
}

/// Scores of every position but those that have no feature, for target token `t`, against a row carried through these matrices.
fn assert_carried(case: &str, method: &dyn Method, layers: &[Rows], what: &str) {
    let question = question(case, Score::Logit);
    let n = layers[0].len();
    let got = method.attribute(&engine(case), &question).unwrap();
    for t in 0..question.target.tokens.len() {
        let expected = through(one(n, question.row(t)), layers);
        let got: Vec<f64> = got.per_target_token.iter().map(|f| f[t]).collect();
        assert_near(&got[..n], &expected, 1e-11, what);
    }
}

/// `T̂` and `y` of a layer: behind the first norm, behind both, or in the residual stream.
fn linearised(plain: &Plain, layer: usize, after: After) -> (Vec<Rows>, Rows) {
    let (mut parts, n) = (plain.parts(layer), plain.states[layer].len());
    let mut wholes = Vec::new();
    for (i, parts) in parts.iter_mut().enumerate() {
        let middle = plain.middle(layer, i);
        parts[i] = add(&parts[i], &plain.states[layer][i]);
        let (first, second) = (plain.map(layer, "norm1"), plain.map(layer, "norm2"));
        let before = if after == After::Ln2 { plain.before_second_norm(layer, &middle) } else { middle.clone() };
        for part in parts.iter_mut().take(n) {
            if after != After::Residual {
                *part = scale(&plain.centred(&first, part), 1.0 / plain.deviation(&middle));
            }
            if after == After::Ln2 {
                *part = scale(&plain.centred(&second, part), 1.0 / plain.deviation(&before));
            }
        }
        wholes.push(match after {
            After::Residual => middle,
            After::Ln1 => plain.norm(&first, &middle),
            After::Ln2 => plain.norm(&second, &before),
        });
    }
    (parts, wholes)
}

#[test]
fn alti_is_the_share_of_nearness_carried_through_all_layers() {
    for (case, after) in [("bert", After::Ln1), ("bert", After::Ln2), ("llama", After::Residual)] {
        let plain = Plain::new(case, &input(&question(case, Score::Logit)));
        for norm in [VectorNorm::L1, VectorNorm::L2] {
            let length = |x: &[f64]| if norm == VectorNorm::L1 { l1(x) } else { l2(x) };
            let matrix = |layer: usize| -> Rows {
                let (parts, wholes) = linearised(&plain, layer, after);
                let causal = |i: usize, j: usize| case == "bert" || j <= i;
                let near = |i: usize, j: usize| {
                    let off = add(&parts[i][j], &scale(&wholes[i], -1.0));
                    if causal(i, j) { (length(&wholes[i]) - length(&off)).max(0.0) } else { 0.0 }
                };
                (0..parts.len()).map(|i| shares(&(0..parts.len()).map(|j| near(i, j)).collect::<Vec<_>>())).collect()
            };
            let layers: Vec<Rows> = (0..plain.states.len()).map(matrix).collect();
            let method = Alti { norm, after: Some(after), ..Alti::default() };
            assert_carried(case, &method, &layers, &format!("{case} {after:?} {norm:?}"));
        }
    }
}

#[test]
fn vector_norms_are_lengths_of_parts_carried_through_all_layers() {
    for (case, after) in [("bert", After::Ln1), ("bert", After::Ln2), ("llama", After::Residual)] {
        let plain = Plain::new(case, &input(&question(case, Score::Logit)));
        for rows in [NormRows::SumToOne, NormRows::Raw] {
            let matrix = |layer: usize| -> Rows {
                let lengths =
                    linearised(&plain, layer, after).0.iter().map(|row| row.iter().map(|p| l2(p)).collect::<Vec<_>>()).collect::<Rows>();
                lengths.iter().map(|row| if rows == NormRows::Raw { row.clone() } else { shares(row) }).collect()
            };
            let layers: Vec<Rows> = (0..plain.states.len()).map(matrix).collect();
            let method = VectorNorms { rows, after: Some(after), ..VectorNorms::default() };
            assert_carried(case, &method, &layers, &format!("{case} {after:?} {rows:?}"));
        }
    }
}

#[test]
fn value_zeroing_is_how_far_a_block_turns_without_a_tokens_values() {
    for case in ["bert", "llama"] {
        let plain = Plain::new(case, &input(&question(case, Score::Logit)));
        let matrix = |layer: usize| -> Rows {
            let (parts, n) = (plain.parts(layer), plain.states[layer].len());
            let turn = |i: usize, j: usize| {
                let middle = plain.middle(layer, i);
                let (whole, without) = (plain.rest(layer, &middle), plain.rest(layer, &add(&middle, &scale(&parts[i][j], -1.0))));
                1.0 - dot(&whole, &without) / l2(&whole) / l2(&without)
            };
            (0..n).map(|i| shares(&(0..n).map(|j| turn(i, j)).collect::<Vec<_>>())).collect()
        };
        let layers: Vec<Rows> = (0..plain.states.len()).map(matrix).collect();
        let question = question(case, Score::Logit);
        let got = ValueZeroing::default().attribute(&engine(case), &question).unwrap();
        let expected = through(one(layers[0].len(), question.row(0)), &layers);
        let got: Vec<f64> = got.per_target_token.iter().map(|f| f[0]).collect();
        assert_near(&got[..expected.len()], &expected, 1e-8, case);
    }
}

fn proximity(part: &[f64], whole: &[f64], epsilon: f64) -> f64 {
    (l1(whole) - apart(part, whole)).max(epsilon)
}

#[test]
fn information_flow_is_the_share_of_proximity_of_every_edge() {
    let plain = Plain::new("llama", &input(&question("llama", Score::Logit)));
    for threshold in [None, Some(0.08)] {
        let matrix = |layer: usize| -> Rows {
            let n = plain.states[layer].len();
            let row = |i: usize| {
                let whole = plain.middle(layer, i);
                let mut near = vec![(i, proximity(&plain.states[layer][i], &whole, 1e-5))];
                for h in 0..HEADS {
                    let edge = |j: usize| proximity(&scale(&plain.f(layer, h, j), plain.patterns[layer][h][i][j]), &whole, 1e-5);
                    near.extend((0..=i).map(|j| (j, edge(j))));
                }
                let sum: f64 = near.iter().map(|e| e.1).sum();
                near.iter_mut().for_each(|e| e.1 /= sum);
                if let Some(threshold) = threshold {
                    near.retain(|e| e.1 >= threshold);
                    assert!(!near.is_empty());
                }
                let left: f64 = near.iter().map(|e| e.1).sum();
                let mut row = vec![0.0; n];
                near.iter().for_each(|(j, s)| row[*j] += s / left);
                row
            };
            (0..n).map(row).collect()
        };
        let layers: Vec<Rows> = (0..plain.states.len()).map(matrix).collect();
        assert_carried("llama", &Ifr { threshold, ..Ifr::default() }, &layers, &format!("{threshold:?}"));
    }
}

/// What flows into rows with these weights, `[position]` over all layers.
fn flow(plain: &Plain, weights: &[(usize, f64)]) -> Vec<f64> {
    let n = plain.states[0].len();
    let mut scores = vec![0.0; n];
    for layer in 0..plain.states.len() {
        let sum = |of: &dyn Fn(usize) -> Vec<f64>| weights.iter().fold(vec![0.0; WIDTH], |s, (t, w)| add(&s, &scale(&of(*t), *w)));
        let whole = sum(&|t| plain.middle(layer, t));
        let mut near = vec![proximity(&sum(&|t| plain.states[layer][t].clone()), &whole, 1e-5)];
        let last = weights.iter().map(|w| w.0).max().unwrap();
        for j in 0..=last {
            for h in 0..HEADS {
                let alpha: f64 = weights.iter().map(|(t, w)| w * plain.patterns[layer][h][*t][j]).sum();
                near.push(proximity(&scale(&plain.f(layer, h, j), alpha), &whole, 1e-5));
            }
        }
        for (j, near) in shares(&near)[1..].chunks(HEADS).enumerate() {
            scores[j] += near.iter().sum::<f64>();
        }
    }
    scores
}

#[test]
fn flash_trace_takes_a_span_as_one_and_hops_through_the_thinking() {
    let question = question("llama", Score::Logit);
    let plain = Plain::new("llama", &input(&question));
    let got = FlashTrace::default().attribute(&engine("llama"), &question).unwrap();
    let expected = scale(&flow(&plain, &[(5, 1.0), (6, 1.0)]), 0.5);
    for t in 0..2 {
        assert_near(&got.per_target_token.iter().map(|f| f[t]).collect::<Vec<_>>(), &expected, 1e-11, "an equal part for each token");
    }

    let method = FlashTrace { span: Some([1, 1]), thinking: Some([2, 4]), hops: 2, ..FlashTrace::default() };
    let got = method.attribute(&engine("llama"), &question).unwrap();
    let own = |scores: &[f64]| -> Vec<f64> { (0..7).map(|p| if (2..5).contains(&p) || p == 6 { 0.0 } else { scores[p] }).collect() };
    let share = |s: &[f64]| s[2..5].iter().sum::<f64>() / s.iter().sum::<f64>();
    let base = flow(&plain, &[(6, 1.0)]);
    let first = flow(&plain, &[(2, base[2]), (3, base[3]), (4, base[4])]);
    let second = flow(&plain, &[(2, first[2]), (3, first[3]), (4, first[4])]);
    let sum = add(&own(&base), &scale(&own(&first), share(&base)));
    let sum = add(&sum, &scale(&own(&second), share(&base) * share(&first)));
    assert_near(&got.per_target_token.iter().map(|f| f[1]).collect::<Vec<_>>(), &sum, 1e-10, "two hops");
    assert!(got.per_target_token.iter().all(|f| f[0] == 0.0), "the first target token is not in the span");
}

#[test]
fn alti_logit_adds_up_each_layers_update_of_the_logit() {
    let question = question("llama", Score::Logit);
    let plain = Plain::new("llama", &input(&question));
    let (n, last) = (7, plain.states.len() - 1);
    let unembedding = plain.matrix("lm_head");
    let alti = Alti::default().matrices(&engine("llama"), &input(&question)).unwrap();
    let alti: Vec<Rows> = alti.iter().map(|m| m.chunks(n).map(<[f64]>::to_vec).collect()).collect();
    for mixing in [false, true] {
        let got = AltiLogit { mixing, ..AltiLogit::default() }.attribute(&engine("llama"), &question).unwrap();
        for (t, token) in question.target.tokens.iter().enumerate() {
            let row = question.row(t);
            let deviation = plain.deviation(&plain.rest(last, &plain.middle(last, row)));
            let mut expected = vec![0.0; n];
            for layer in 0..plain.states.len() {
                let parts = plain.parts(layer);
                let update = |j: usize| dot(&unembedding[*token as usize], &plain.centred("model.norm", &parts[row][j])) / deviation;
                let updates: Vec<f64> = (0..n).map(update).collect();
                expected = add(&expected, &if mixing { through(updates, &alti[..layer]) } else { updates });
            }
            assert_near(&got.per_target_token.iter().map(|f| f[t]).collect::<Vec<_>>(), &expected, 1e-10, "a logit's updates");
        }
    }
}

fn absdot(parts: &mut Rows, bias: &[f64]) {
    let weights: Vec<f64> = parts.iter().map(|p| dot(p, bias).abs()).collect();
    let sum: f64 = weights.iter().sum();
    parts.iter_mut().zip(weights).for_each(|(p, w)| *p = add(p, &scale(bias, w / sum)));
}

/// Parts of every row behind an activation with values `z`.
fn activated(parts: &mut Rows, z: &[f64], f: impl Fn(f64) -> f64, tangent: bool) {
    let h = 1e-5;
    let derivative = |z: f64| (8.0 * (f(z + h) - f(z - h)) - (f(z + 2.0 * h) - f(z - 2.0 * h))) / (12.0 * h);
    let slopes: Vec<f64> = z.iter().map(|z| if tangent { derivative(*z) } else { f(*z) / z }).collect();
    parts.iter_mut().for_each(|p| p.iter_mut().zip(&slopes).for_each(|(p, m)| *p *= m));
    if tangent {
        absdot(parts, &z.iter().zip(&slopes).map(|(z, m)| f(*z) - m * z).collect::<Vec<_>>());
    }
}

#[test]
fn decompx_carries_every_tokens_part_to_the_classes() {
    let question = question("bert", Score::Logit);
    let plain = Plain::new("bert", &question.prompt);
    let n = plain.states[0].len();
    for (activation, tangent) in [(Approximation::ZeroOriginSlope, false), (Approximation::LinearApproximation, true)] {
        let normed = |parts: &mut Rows, name: &str, before: &[f64]| {
            let deviation = plain.deviation(before);
            parts.iter_mut().for_each(|p| *p = scale(&plain.centred(name, p), 1.0 / deviation));
            absdot(parts, plain.vector(&format!("{name}.bias")));
        };
        let mapped = |parts: &Rows, name: &str| {
            let mut out: Rows = parts.iter().map(|p| times(&plain.matrix(name), p)).collect();
            absdot(&mut out, &plain.bias(name));
            out
        };
        // [row][token]
        let mut t: Vec<Rows> = (0..n).map(|i| (0..n).map(|k| scale(&plain.states[0][i], f64::from(u8::from(i == k)))).collect()).collect();
        for layer in 0..plain.states.len() {
            let m = |what: &str| plain.map(layer, what);
            let (values, project) = (plain.matrix(&m("value")), plain.matrix(&m("project")));
            let row = |i: usize| -> Rows {
                let mut parts: Rows = Vec::new();
                for (k, own) in t[i].iter().enumerate() {
                    let mut mixed = vec![0.0; WIDTH];
                    for (j, parts) in t.iter().enumerate() {
                        let mut v = times(&values, &parts[k]);
                        if layer == 0 && j == k {
                            v = add(&v, &plain.bias(&m("value")));
                        }
                        for (at, v) in v.iter().enumerate() {
                            mixed[at] += plain.patterns[layer][at / D_HEAD][i][j] * v;
                        }
                    }
                    parts.push(add(&times(&project, &mixed), own));
                }
                let own = if layer == 0 { vec![0.0; WIDTH] } else { times(&project, &plain.bias(&m("value"))) };
                absdot(&mut parts, &add(&own, &plain.bias(&m("project"))));
                let middle = plain.middle(layer, i);
                normed(&mut parts, &m("norm1"), &middle);
                let x = plain.norm(&m("norm1"), &middle);
                let mut inner = mapped(&parts, &m("intermediate"));
                activated(&mut inner, &plain.linear(&m("intermediate"), &x), gelu, tangent);
                let out = mapped(&inner, &m("output"));
                parts.iter_mut().zip(&out).for_each(|(p, o)| *p = add(p, o));
                normed(&mut parts, &m("norm2"), &plain.before_second_norm(layer, &middle));
                parts
            };
            t = (0..n).map(row).collect();
        }
        let last = plain.states.len() - 1;
        let first = plain.rest(last, &plain.middle(last, 0));
        let mut pooled = mapped(&t[0], "bert.pooler.dense");
        activated(&mut pooled, &plain.linear("bert.pooler.dense", &first), f64::tanh, tangent);
        let expected = mapped(&pooled, "classifier");
        let (got, _) = DecompX { activation, ..DecompX::default() }.classes(&engine("bert"), &question.prompt, &[]).unwrap();
        assert_near(&got.concat(), &expected.concat(), 1e-7, &format!("{activation:?}"));
    }
}

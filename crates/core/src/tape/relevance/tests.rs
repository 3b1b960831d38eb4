//! Every αβ rule against the formula in plain loops, and by hand.
//!
//! Both sides compute in f64; the divisions' 1e-9 is in both.

use std::ops::Range;

use super::{
    super::attention::{Arrival, Combine, Heads, Look, Site},
    *,
};
use crate::{
    Control, Result, TensorInfo, WeightStore,
    model::{Attention, Linear},
    rules::Rules,
};

const ALL: [AlphaBeta; 3] = [AlphaBeta::Ours, AlphaBeta::Original, AlphaBeta::Detr];

/// A weight `m.weight` `[outputs, inputs]` and a bias `m.bias`.
struct Toy {
    weight: Vec<f32>,
    outputs: usize,
}

impl WeightStore for Toy {
    fn names(&self) -> Vec<String> {
        vec!["m.bias".into(), "m.weight".into()]
    }

    fn info(&self, _: &str) -> Option<TensorInfo> {
        None
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let inputs = self.weight.len() / self.outputs;
        match name {
            "m.bias" => out.fill(7.0), // large: a bias that counted would show
            _ => out.copy_from_slice(&self.weight[rows.start * inputs..rows.end * inputs]),
        }
        Ok(())
    }

    fn release(&self, _: &str) {}
}

fn matrix(weight: &[f32], outputs: usize) -> Matrix<f64> {
    let map = Linear::new("m", weight.len() / outputs, outputs).with_bias(true);
    Matrix::read(&map, &Toy { weight: weight.to_vec(), outputs }).unwrap()
}

fn rows(width: usize, data: &[f64]) -> Rows<f64> {
    let mut rows = Rows::unwritten(data.len() / width, width);
    rows.data.copy_from_slice(data);
    rows
}

/// Numbers between −1 and 1 that repeat nowhere near.
fn some(count: usize, seed: f64) -> Vec<f64> {
    (0..count).map(|i| (12.9898 * (i as f64 + 1.0) * seed).sin()).collect()
}

fn assert_close(got: &[f64], expected: &[f64], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
    for (g, e) in got.iter().zip(expected) {
        assert!((g - e).abs() <= 1e-12 * largest, "{what}: got {got:?}, expected {expected:?}");
    }
}

fn sd(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / (b + 1e-9) }
}

#[test]
fn a_division_by_nothing_gives_nothing() {
    assert_eq!(quotient(3.0, 0.0), 0.0);
    assert_eq!(quotient(3.0, 2.0), 3.0 / (2.0 + 1e-9));
    assert_eq!(quotient(3.0, -1e-9), 3.0 / 1e-9);
}

#[test]
fn a_linear_map_by_hand() {
    // x⁺w⁺ = 1·2, x⁻w⁻ = −1·−3: the second output has no such part and loses what it was given.
    let (x, map) = (rows(2, &[1.0, -1.0]), matrix(&[2.0, -3.0, -1.0, 4.0], 2));
    let of = |rules| linear(rules, &x, &rows(2, &[1.0, 5.0]), &map, false).data.clone();
    let close = |rules, expected: [f64; 2]| of(rules).iter().zip(expected).for_each(|(g, e)| assert!((g - e).abs() < 1e-8, "{rules:?}"));
    close(AlphaBeta::Ours, [0.4, 0.6]);
    close(AlphaBeta::Original, [1.0, 1.0]);
    close(AlphaBeta::Detr, [2.4, 3.6]);
}

#[test]
fn a_linear_map_is_the_formula() {
    let (count, inputs, outputs) = (3, 5, 4);
    let weight: Vec<f32> = some(inputs * outputs, 3.7).into_iter().map(|w| w as f32).collect();
    let (x, relevance) = (some(count * inputs, 1.3), some(count * outputs, 2.1));
    let map = matrix(&weight, outputs);
    for rules in ALL {
        let mut expected = vec![0.0; count * inputs];
        for r in 0..count {
            for o in 0..outputs {
                let part = |i: usize, sign: f64| {
                    let (x, w) = (sign * x[r * inputs + i], sign * f64::from(weight[o * inputs + i]));
                    x.max(0.0) * w.max(0.0)
                };
                let [z1, z2] = [1.0, -1.0].map(|sign| (0..inputs).map(|i| part(i, sign)).sum::<f64>());
                let given = relevance[r * outputs + o];
                let (s1, s2) = match rules {
                    AlphaBeta::Original => (sd(given, z1), sd(given, z2)),
                    _ => (sd(given, z1 + z2), sd(given, z1 + z2)),
                };
                (0..inputs).for_each(|i| expected[r * inputs + i] += part(i, 1.0) * s1 + part(i, -1.0) * s2);
            }
        }
        if rules == AlphaBeta::Detr {
            let factor = sd(relevance.iter().sum(), expected.iter().sum());
            expected.iter_mut().for_each(|x| *x *= factor);
        }
        for parallel in [false, true] {
            let got = linear(rules, &rows(inputs, &x), &rows(outputs, &relevance), &map, parallel);
            assert_close(&got.data, &expected, &format!("{rules:?}"));
        }
    }
}

#[test]
fn an_addition_by_hand() {
    let (x, y, given) = (rows(2, &[1.0, 3.0]), rows(2, &[1.0, -1.0]), rows(2, &[1.0, 1.0]));
    let [a, b] = add(AlphaBeta::Original, &x, &y, &given);
    assert!((a.data[0] - 0.5).abs() < 1e-8 && (a.data[1] - 1.5).abs() < 1e-8);
    assert!((b.data[0] - 0.5).abs() < 1e-8 && (b.data[1] + 0.5).abs() < 1e-8);
    // Sums of the shares: 2 and 3 of absolute value with relevance 5: 2/5·5 and 3/5·5, the second one's sign turned.
    let (x, y, given) = (rows(1, &[2.0]), rows(1, &[-3.0]), rows(1, &[1.0]));
    let [a, b] = add(AlphaBeta::Ours, &x, &y, &given);
    assert!((a.data[0] - 0.4).abs() < 1e-8 && (b.data[0] - 0.6).abs() < 1e-8, "{} {}", a.data[0], b.data[0]);
}

#[test]
fn an_addition_is_the_formula() {
    let (x, y, given) = (some(12, 1.1), some(12, 2.3), some(12, 0.7));
    let share = |of: &[f64]| -> Vec<f64> { (0..12).map(|i| of[i] * sd(given[i], x[i] + y[i])).collect() };
    let (plain_a, plain_b) = (share(&x), share(&y));
    let sum = |x: &[f64]| x.iter().sum::<f64>();
    let (sa, sb, sr) = (sum(&plain_a), sum(&plain_b), sum(&given));
    let scaled = |part: &[f64], own: f64| -> Vec<f64> {
        let wanted = sd(own.abs(), sa.abs() + sb.abs()) * sr;
        part.iter().map(|x| x * sd(wanted, own)).collect()
    };
    for rules in ALL {
        let [a, b] = add(rules, &rows(4, &x), &rows(4, &y), &rows(4, &given));
        if rules == AlphaBeta::Original {
            assert_close(&a.data, &plain_a, "first");
            assert_close(&b.data, &plain_b, "second");
        } else {
            assert_close(&a.data, &scaled(&plain_a, sa), "first");
            assert_close(&b.data, &scaled(&plain_b, sb), "second");
            assert!((sum(&a.data) + sum(&b.data) - sr).abs() < 1e-6, "it conserves");
        }
    }
}

#[test]
fn readers_of_one_value_are_added_up_where_it_is_not_zero() {
    let got = clone(&rows(3, &[2.0, 0.0, -1.0]), &[rows(3, &[1.0, 1.0, 1.0]), rows(3, &[0.5, 0.5, -3.0])]);
    assert!((got.data[0] - 1.5).abs() < 1e-8 && got.data[1] == 0.0 && (got.data[2] + 2.0).abs() < 1e-8, "{:?}", got.data);
}

#[test]
fn a_mean_shares_by_what_each_row_brings() {
    let got = mean(&rows(2, &[1.0, 0.0, 3.0, 4.0]), 0, &rows(2, &[2.0, 2.0]), &rows(2, &[4.0, 1.0]));
    let expected = [1.0, 0.0, 3.0, 1.0];
    got.data.iter().zip(expected).for_each(|(g, e)| assert!((g - e).abs() < 1e-8, "{:?}", got.data));
}

#[test]
fn a_chosen_row_gets_what_it_was_given_and_the_others_nothing() {
    let got = select(&rows(2, &[1.0, 2.0, 3.0, 0.0, 5.0, 6.0]), &[1], &rows(2, &[0.5, 0.5]));
    assert_eq!((&got.data[..2], &got.data[4..]), (&[0.0, 0.0][..], &[0.0, 0.0][..]));
    assert!((got.data[2] - 0.5).abs() < 1e-8 && got.data[3] == 0.0, "where the value is 0, relevance stops");
}

/// `[head][row][column]` of packed rows.
fn split(x: &Rows<f64>, heads: usize) -> Vec<Vec<Vec<f64>>> {
    let d = x.width / heads;
    (0..heads).map(|h| x.data.chunks(x.width).map(|row| row[h * d..(h + 1) * d].to_vec()).collect()).collect()
}

/// Relevance at queries, keys, values and pattern, in plain loops.
struct Plain {
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    pattern: Vec<f64>,
    out: Vec<f64>,
}

/// Z = P·X: R_P = ½·P ⊙ (S·Xᵀ), R_X = ½·X ⊙ (Pᵀ·S), S = R/Z; first for A·V, then for Q·Kᵀ.
fn plain(q: &Rows<f64>, k: &Rows<f64>, v: &Rows<f64>, given: &Rows<f64>, heads: usize, causal: bool) -> Plain {
    let (n, width, d) = (q.rows(), q.width, q.width / heads);
    let zeros = || vec![0.0; n * width];
    let mut all = Plain { q: zeros(), k: zeros(), v: zeros(), pattern: Vec::new(), out: zeros() };
    for h in 0..heads {
        let [q, k, v, given] = [q, k, v, given].map(|x| split(x, heads).swap_remove(h));
        let at = |r: usize, i: usize| r * width + h * d + i;
        let raw = |a: usize, b: usize| (0..d).map(|i| q[a][i] * k[b][i]).sum::<f64>();
        let seen = |a: usize, b: usize| !causal || b <= a;
        let exp = |a: usize, b: usize| if seen(a, b) { (raw(a, b) / (d as f64).sqrt()).exp() } else { 0.0 };
        let sums: Vec<f64> = (0..n).map(|a| (0..n).map(|b| exp(a, b)).sum()).collect();
        let pattern = |a: usize, b: usize| exp(a, b) / sums[a];
        for a in 0..n {
            (0..d).for_each(|i| all.out[at(a, i)] = (0..n).map(|b| pattern(a, b) * v[b][i]).sum());
        }
        let s = |a: usize, i: usize| sd(given[a][i], all.out[at(a, i)]);
        for (a, query) in q.iter().enumerate() {
            for b in 0..n {
                let reached = 0.5 * pattern(a, b) * (0..d).map(|i| s(a, i) * v[b][i]).sum::<f64>();
                all.pattern.push(reached);
                let t = sd(reached, raw(a, b));
                for i in 0..d {
                    all.v[at(b, i)] += 0.5 * v[b][i] * pattern(a, b) * s(a, i);
                    all.q[at(a, i)] += 0.5 * query[i] * t * k[b][i];
                    all.k[at(b, i)] += 0.5 * k[b][i] * t * query[i];
                }
            }
        }
    }
    all
}

#[test]
fn both_products_of_attention_share_in_halves() {
    let (n, heads, d) = (300, 2, 4); // more rows than are held at a time, and more keys than are packed together
    let [q, k, v, given] = [1.9, 0.6, 1.2, 2.7].map(|seed| rows(heads * d, &some(n * heads * d, seed)));
    for causal in [false, true] {
        let expected = plain(&q, &k, &v, &given, heads, causal);
        let out = rows(heads * d, &expected.out);
        let attention = Attention { heads, kv_heads: heads, d_head: d, scale: 0.5, causal, layer: 0 };
        let control = Control::none();
        let site = Site { q: &q, k: &k, v: &v, out: &out, attention: &attention, control: &control, parallel: false };
        let rules = Rules::AlphaBeta(AlphaBeta::Ours);
        let looks = [Look { of: Combine::Signal(0), heads: Heads::Each }];
        let mut pattern = vec![0.0; heads * n * n];
        let mut see = |rows: Range<usize>, seen: &[Vec<f64>]| {
            for (h, part) in seen[0].chunks(rows.len() * n).enumerate() {
                pattern[(h * n + rows.start) * n..][..part.len()].copy_from_slice(part);
            }
            Ok(())
        };
        let departed = site.descend(&[Arrival { rules, rows: copy(&given) }], &looks, &mut see).unwrap();
        for ((got, expected), what) in departed[0].iter().zip([&expected.q, &expected.k, &expected.v]).zip(["queries", "keys", "values"]) {
            let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            let off = got.data.iter().zip(expected).map(|(g, e)| (g - e).abs()).fold(0.0, f64::max);
            // Divisions by sums that almost cancel: nine digits are left.
            assert!(off < 1e-9 * largest, "{what} (causal {causal}): {off:e} of {largest:e}");
        }
        let largest = expected.pattern.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let off = pattern.iter().zip(&expected.pattern).map(|(g, e)| (g - e).abs()).fold(0.0, f64::max);
        assert!(off < 1e-9 * largest, "pattern (causal {causal}): {off:e} of {largest:e}");
        let sum = |x: &[f64]| x.iter().sum::<f64>();
        let whole: f64 = departed[0].iter().map(|x| sum(&x.data)).sum();
        assert!((whole - sum(&given.data)).abs() < 1e-3, "it conserves: {whole} of {}", sum(&given.data));
    }
}

#[test]
fn an_input_without_a_signal_shows_nothing_of_it() {
    let [q, k, v] = [1.9, 0.6, 1.2].map(|seed| rows(4, &some(12, seed)));
    let attention = Attention { heads: 1, kv_heads: 1, d_head: 4, scale: 0.5, causal: false, layer: 0 };
    let control = Control::none();
    let site = Site { q: &q, k: &k, v: &v, out: &v, attention: &attention, control: &control, parallel: false };
    let looks = [Combine::PositiveProduct(0), Combine::Pattern].map(|of| Look { of, heads: Heads::Mean });
    let mut lengths = Vec::new();
    let mut see = |_: Range<usize>, seen: &[Vec<f64>]| {
        lengths.extend(seen.iter().map(Vec::len));
        Ok(())
    };
    site.descend(&[], &looks, &mut see).unwrap();
    assert_eq!(lengths, [0, 9]);
}

//! Attention against one row at a time in plain f64, and its promises to the last bit.

use proptest::prelude::*;

use super::*;
use crate::control::tests::{GOLDEN, MODES, SCORES, factors};
use crate::control::{ControlMode, control_row};
use crate::testing::{assert_close, bits, exact, noise};

/// One segment.
#[derive(Clone)]
struct Case<T> {
    q: Vec<T>,
    keys: Vec<T>,
    values: Vec<T>,
    positions: Vec<usize>,
    shape: AttentionShape,
    control: Option<(ControlMode, Vec<T>)>,
}

impl<T: Real> Case<T> {
    fn new(shape: AttentionShape, total: usize, positions: Vec<usize>, seed: u64) -> Self {
        let AttentionShape { heads, kv_heads, d_head, .. } = shape;
        Case {
            q: noise(positions.len() * heads * d_head, seed),
            keys: noise(total * kv_heads * d_head, seed + 1),
            values: noise(total * kv_heads * d_head, seed + 2),
            positions,
            shape,
            control: None,
        }
    }

    fn width(&self) -> usize {
        self.shape.kv_heads * self.shape.d_head
    }

    fn total(&self) -> usize {
        self.keys.len() / self.width()
    }

    fn call<R>(&self, level: Level, prefix: usize, out: &mut [T], run: impl FnOnce(Call<'_, T>) -> R) -> R {
        let cut = prefix * self.width();
        let before = KeysValues { keys: &self.keys[..cut], values: &self.values[..cut], rows: prefix };
        let own = KeysValues { keys: &self.keys[cut..], values: &self.values[cut..], rows: self.total() - prefix };
        let factors = self.control.as_ref().map(|(mode, keys)| Factors { mode: *mode, keys });
        run(Call::new(level, out, &self.q, &self.positions, (prefix > 0).then_some(before), own, &self.shape, factors.as_ref()))
    }

    fn run(&self, level: Level, prefix: usize) -> Vec<T> {
        let mut out = vec![T::from_f64(f64::NAN); self.q.len()];
        self.call(level, prefix, &mut out, |call| call.run());
        out
    }

    /// Only some of the queries.
    fn only(&self, rows: Range<usize>) -> Self {
        let width = self.shape.heads * self.shape.d_head;
        Case { q: self.q[rows.start * width..rows.end * width].to_vec(), positions: self.positions[rows].to_vec(), ..self.clone() }
    }

    fn replica(&self) -> Vec<f64> {
        let AttentionShape { heads, kv_heads, d_head: d, scale, causal } = self.shape;
        let (q, keys, values, total) = (exact(&self.q), exact(&self.keys), exact(&self.values), self.total());
        let (mode, factors) = match &self.control {
            Some((mode, factors)) => (*mode, exact(factors)),
            None => (ControlMode::LogAdditive, vec![1.0; total]),
        };
        let mut out = Vec::new();
        for (row, &position) in self.positions.iter().enumerate() {
            let visible: Vec<bool> = (0..total).map(|key| !causal || key <= position).collect();
            for head in 0..heads {
                let q = &q[(row * heads + head) * d..][..d];
                let at = |key: usize| (key * kv_heads + head / (heads / kv_heads)) * d;
                let scores: Vec<f64> = (0..total).map(|key| q.iter().zip(&keys[at(key)..][..d]).map(|(q, k)| q * k).sum()).collect();
                let pattern = control_row(&scores, &visible, &factors, scale, mode);
                out.extend((0..d).map(|i| (0..total).map(|key| pattern[key] * values[at(key) + i]).sum::<f64>()));
            }
        }
        out
    }
}

fn shape(heads: usize, kv_heads: usize, d_head: usize, causal: bool) -> AttentionShape {
    AttentionShape { heads, kv_heads, d_head, scale: 1.0 / (d_head as f64).sqrt(), causal }
}

/// A control that leaves some keys alone, weakens some, removes some and strengthens one.
fn some_factors<T: Real>(total: usize, first: usize) -> Vec<T> {
    (0..total).map(|key| T::from_f64(if key < first { 1.0 } else { [0.1, 1.0, 0.0, 3.0][(key - first) % 4] })).collect()
}

fn agrees_with_one_row_at_a_time<T: Real>(mut case: Case<T>, prefix: usize, tolerance: f64) {
    for control in [None].into_iter().chain(MODES.map(Some)) {
        case.control = control.map(|mode| (mode, some_factors(case.total(), case.total() / 3)));
        let expected = case.replica();
        for level in Level::available() {
            assert_close(&case.run(level, prefix), &expected, tolerance);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn attention_agrees_with_one_row_at_a_time(
        kv_heads in 1usize..4, group in 1usize..4, d in 1usize..70, total in 1usize..90, from in 0usize..90, causal: bool, seed in 0u64..1000,
    ) {
        let from = from % total;
        let shape = shape(kv_heads * group, kv_heads, d, causal);
        agrees_with_one_row_at_a_time(Case::<f32>::new(shape, total, (from..total).collect(), seed), from, 3e-6);
        agrees_with_one_row_at_a_time(Case::<f64>::new(shape, total, (from..total).collect(), seed), from, 1e-13);
    }

    #[test]
    fn neither_blocks_nor_prefix_nor_threads_change_a_bit(
        kv_heads in 1usize..3, group in 1usize..3, d in 1usize..70, total in 2usize..150, causal: bool, mode in 0usize..5, seed in 0u64..1000,
    ) {
        let mut case = Case::<f32>::new(shape(kv_heads * group, kv_heads, d, causal), total, (0..total).collect(), seed);
        case.control = MODES.get(mode).map(|&mode| (mode, some_factors(total, total / 2)));
        for level in Level::available() {
            let whole = case.run(level, 0);
            for prefix in [1, total / 2, total - 1] {
                prop_assert_eq!(bits(&case.run(level, prefix)), bits(&whole));
            }
            let mut alone = Vec::new();
            for row in 0..total {
                alone.extend(case.only(row..row + 1).run(level, total / 2));
            }
            prop_assert_eq!(bits(&alone), bits(&whole));
        }
    }
}

#[test]
fn long_segments_agree_with_one_row_at_a_time() {
    // Long enough for blocks of several tiles.
    let case = Case::<f32>::new(shape(2, 1, 64, true), 1300, (1100..1300).collect(), 5);
    agrees_with_one_row_at_a_time(case, 1100, 3e-6);
    let case = Case::<f64>::new(shape(2, 2, 40, false), 900, (0..60).collect(), 5);
    agrees_with_one_row_at_a_time(case, 10, 1e-13);
}

#[test]
fn long_segments_keep_every_bit_of_a_row() {
    let mut case = Case::<f32>::new(shape(2, 1, 64, true), 1300, (0..1300).collect(), 5);
    for control in [None, Some(ControlMode::MinShiftAll)] {
        case.control = control.map(|mode| (mode, some_factors(1300, 700)));
        let whole = case.run(Level::best(), 0);
        let part = case.only(1201..1250).run(Level::best(), 1201);
        assert_eq!(bits(&part), bits(&whole[1201 * 128..1250 * 128]));
    }
}

#[test]
fn threads_change_no_bit() {
    for (total, from) in [(400, 0), (1300, 1200), (300, 299)] {
        let mut case = Case::<f32>::new(shape(6, 2, 32, true), total, (from..total).collect(), 8);
        case.control = Some((ControlMode::MinShift, some_factors(total, total / 2)));
        let expected = bits(&case.run(Level::best(), from));
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be had");
            let mut out = vec![0.0; case.q.len()];
            pool.install(|| case.call(Level::best(), from, &mut out, |call| call.run_parallel()));
            assert_eq!(bits(&out), expected);
        }
    }
}

#[test]
fn positions_may_come_in_any_order() {
    let ordered = Case::<f32>::new(shape(1, 1, 8, true), 70, (0..70).collect(), 2);
    let mut shuffled = ordered.clone();
    let order: Vec<usize> = (0..70).map(|i| i * 29 % 70).collect();
    shuffled.positions = order.clone();
    shuffled.q = order.iter().flat_map(|&row| ordered.q[row * 8..(row + 1) * 8].to_vec()).collect();
    let (found, whole) = (shuffled.run(Level::best(), 0), ordered.run(Level::best(), 0));
    for (row, &position) in order.iter().enumerate() {
        assert_eq!(bits(&found[row * 8..][..8]), bits(&whole[position * 8..][..8]));
    }
}

#[test]
fn factors_of_1_change_no_bit() {
    for causal in [true, false] {
        let clean = Case::<f32>::new(shape(4, 2, 16, causal), 50, (0..50).collect(), 3);
        for mode in MODES {
            let controlled = Case { control: Some((mode, vec![1.0; 50])), ..clean.clone() };
            for level in Level::available() {
                assert_eq!(bits(&controlled.run(level, 0)), bits(&clean.run(level, 0)));
            }
        }
    }
}

#[test]
fn rows_before_the_first_controlled_key_change_no_bit() {
    let clean = Case::<f32>::new(shape(4, 2, 16, true), 50, (0..50).collect(), 3);
    for mode in MODES {
        for factor in [0.0, 0.1, 3.0] {
            let keys = (0..50).map(|key| if key == 20 { factor } else { 1.0 }).collect();
            let controlled = Case { control: Some((mode, keys)), ..clean.clone() };
            for level in Level::available() {
                let (clean, controlled) = (bits(&clean.run(level, 0)), bits(&controlled.run(level, 0)));
                assert_eq!(clean[..20 * 64], controlled[..20 * 64]);
                assert_ne!(clean[20 * 64..21 * 64], controlled[20 * 64..21 * 64]);
            }
        }
    }
}

/// Keys that make the raw scores of the golden row for a query `[1, 0, 0, 0]`; values that make the result the pattern itself.
fn golden<T: Real>(control: Option<(ControlMode, Vec<T>)>) -> Case<T> {
    let mut case = Case::new(shape(1, 1, 4, true), 4, vec![2], 0);
    case.q = [1.0, 0.0, 0.0, 0.0].map(T::from_f64).to_vec();
    case.keys = SCORES.iter().flat_map(|&score| [T::from_f64(score), T::ZERO, T::ZERO, T::ZERO]).collect();
    case.values = (0..16).map(|i| if i % 5 == 0 { T::ONE } else { T::ZERO }).collect();
    case.control = control;
    case
}

#[test]
fn the_golden_row_comes_out_in_every_mode() {
    for (mode, key, factor, expected) in GOLDEN {
        let expected = [expected[0], expected[1], expected[2], 0.0];
        for level in Level::available() {
            let keys = factors(key, factor);
            assert_close(&golden::<f64>(Some((mode, keys.to_vec()))).run(level, 0), &expected, 1e-12);
            assert_close(&golden::<f32>(Some((mode, keys.map(|f| f as f32).to_vec()))).run(level, 0), &expected, 1e-6);
        }
    }
}

#[test]
fn a_row_whose_keys_are_all_removed_is_not_controlled() {
    let clean = Case::<f32>::new(shape(1, 1, 8, true), 6, (0..6).collect(), 1);
    // Rows 0 to 2 see removed keys only; later ones see key 3 alone, then keys 3 and up.
    let controlled = Case { control: Some((ControlMode::LogAdditive, vec![0.0, 0.0, 0.0, 1.0, 1.0, 1.0])), ..clean.clone() };
    let (out, clean) = (controlled.run(Level::best(), 0), clean.run(Level::best(), 0));
    assert_eq!(bits(&out[..24]), bits(&clean[..24]));
    assert_eq!(bits(&out[24..32]), bits(&controlled.values[24..32]));
}

#[test]
fn huge_scores_make_no_nan() {
    for size in [1e18f32, 1e30] {
        let mut case = Case::<f32>::new(shape(2, 1, 8, true), 40, (0..40).collect(), 1);
        case.q.iter_mut().for_each(|q| *q *= size);
        case.keys.iter_mut().for_each(|k| *k *= size);
        for control in [None].into_iter().chain(MODES.map(Some)) {
            case.control = control.map(|mode| (mode, some_factors(40, 3)));
            for level in Level::available() {
                assert!(case.run(level, 0).iter().all(|x| x.is_finite()), "{control:?} at {size}");
            }
        }
    }
}

#[test]
fn without_keys_the_result_is_0() {
    for causal in [true, false] {
        let case = Case::<f32> { keys: vec![], values: vec![], ..Case::new(shape(2, 1, 8, causal), 1, vec![0, 1], 1) };
        assert_eq!(case.run(Level::best(), 0), [0.0; 32]);
    }
}

#[test]
fn without_queries_nothing_happens() {
    let case = Case::<f32>::new(shape(2, 1, 8, true), 5, vec![], 1);
    assert!(case.run(Level::best(), 2).is_empty());
}

#[test]
#[should_panic = "as many factors as there are keys: 5"]
fn too_few_factors_are_refused() {
    let case = Case::<f32> { control: Some((ControlMode::Multiply, vec![0.5; 4])), ..Case::new(shape(1, 1, 8, true), 5, vec![4], 1) };
    case.run(Level::best(), 0);
}

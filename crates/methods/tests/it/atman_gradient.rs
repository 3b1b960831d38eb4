//! The AtMan gradient is the limit of AtMan.

use pellucid_core::{FeaturePositions, Method, Part, Score};
use pellucid_methods::{Atman, AtmanGradient};

use crate::cases::{all, assert_near, contrasted, engine, question};

#[test]
fn it_is_what_a_slight_suppression_takes_away() {
    for (case, score) in all().flat_map(|c| [Score::LogProbability, Score::Logit, Score::Probability].map(|s| (c, s))) {
        for layers in [None, Some(vec![1])] {
            let mut question = contrasted(case, score);
            question.features.push(FeaturePositions { part: Part::Prompt, positions: vec![(1, 1.0), (4, 1.0)] });
            let engine = engine(case);
            let gradient = AtmanGradient { layers: layers.clone() }.attribute(&engine, &question).unwrap();
            let factor = 1.0 - 1e-4;
            let atman = Atman { factor, layers: layers.clone(), ..Atman::default() }.attribute(&engine, &question).unwrap();
            for (limit, exact) in
                [(&gradient.per_target_token, &atman.per_target_token), (&gradient.per_contrast_token, &atman.per_contrast_token)]
            {
                let exact: Vec<f64> = exact.concat().iter().map(|s| s / -factor.ln()).collect();
                assert_near(&limit.concat(), &exact, 1e-3, &format!("{case} {score:?} {layers:?}"));
            }
        }
    }
}

#[test]
fn a_part_of_a_token_counts_by_that_part_and_units_add_up() {
    for case in ["llama", "bert"] {
        let mut question = question(case, Score::LogProbability);
        let each = AtmanGradient::default().attribute(&engine(case), &question).unwrap().per_target_token;
        let unit = FeaturePositions { part: Part::Prompt, positions: vec![(0, 1.0), (1, 0.3)] };
        question.features = vec![unit];
        let together = AtmanGradient::default().attribute(&engine(case), &question).unwrap().per_target_token;
        for (t, unit) in together[0].iter().enumerate() {
            assert!((unit - each[0][t] - 0.3 * each[1][t]).abs() < 1e-12, "{case}");
        }
    }
}

#[test]
fn all_units_take_one_walk() {
    for case in all() {
        let question = question(case, Score::LogProbability);
        let method = AtmanGradient::default();
        let got = method.attribute(&engine(case), &question).unwrap();
        assert_eq!((got.backwards, got.cost.copies, got.cost.sweeps), (1, 1, 2), "{case}");
        assert_eq!(got.cost, method.estimate(&engine(case), &question).unwrap(), "{case}");
        let mut fewer = question.clone();
        fewer.features.truncate(1);
        assert_eq!(method.attribute(&engine(case), &fewer).unwrap().cost, got.cost, "{case}");
    }
}

#[test]
fn layers_add_up() {
    for case in all() {
        let question = question(case, Score::LogProbability);
        let of = |layers| AtmanGradient { layers }.attribute(&engine(case), &question).unwrap().per_target_token.concat();
        let layers = engine(case).model.description().layers;
        let mut sum = vec![0.0; of(None).len()];
        (0..layers).for_each(|l| sum.iter_mut().zip(of(Some(vec![l]))).for_each(|(s, x)| *s += x));
        assert_near(&sum, &of(None), 1e-12, case);
    }
}

//! What the methods promise of every answer.

use pellucid_core::{Compute, FeaturePositions, Method, Mode, Part, Postprocessing, Question, Symbol, units::Overlap};
use pellucid_methods::{Atman, Directions, METHODS, Occlusion, Random, Replace, Similarity};

use crate::setup::{GPTJ, LLAMA, Pair, both, question};

/// The shared question, set against another target.
fn contrasted(pair: &Pair) -> Question {
    let mut question = question(pair);
    question.target.contrast = Some(vec![17, 99]);
    question
}

fn all_zero(scores: &[Vec<f64>]) -> bool {
    scores.iter().flatten().all(|s| *s == 0.0)
}

#[test]
fn a_factor_of_one_scores_exactly_zero() {
    for pair in both() {
        for mode in Mode::ALL {
            for similarity in [None, Some(Similarity::new(0.0)), Some(Similarity { coupled: false, ..Similarity::new(0.0) })] {
                for (compute, overlap) in [(Compute::F32, Overlap::Partial), (Compute::F64, Overlap::Complete)] {
                    let mut question = contrasted(pair);
                    question.features.push(FeaturePositions { part: Part::Prompt, positions: vec![(1, 0.3), (2, 0.7)] });
                    let mut engine = pair.engine();
                    engine.compute = compute;
                    let atman = Atman { factor: 1.0, mode, similarity, overlap, ..Atman::default() };
                    let got = atman.attribute(&engine, &question).unwrap();
                    assert_eq!(got.per_target_token, vec![vec![0.0; 3]; 10], "{} {atman:?}", pair.name);
                    assert!(all_zero(&got.per_contrast_token), "{} {atman:?}", pair.name);
                }
            }
        }
    }
}

#[test]
fn a_token_replaced_by_itself_scores_exactly_zero() {
    for pair in both() {
        let mut question = contrasted(pair);
        question.features = [0, 3].map(|p| FeaturePositions { part: Part::Prompt, positions: vec![(p, 1.0)] }).to_vec();
        let got = Occlusion { replace: Replace::Token(5), ..Occlusion::default() }.attribute(&pair.engine(), &question).unwrap();
        assert!(all_zero(&got.per_target_token) && all_zero(&got.per_contrast_token), "{}: positions 0 and 3 hold token 5", pair.name);
    }
}

#[test]
fn a_feature_scores_exactly_zero_on_tokens_that_it_does_not_precede() {
    for pair in both() {
        let question = question(pair);
        let atmen = Mode::ALL.map(|mode| Box::new(Atman { mode, ..Atman::default() }) as Box<dyn Method>);
        let occlusions =
            [Replace::Zero, Replace::Token(3)].map(|replace| Box::new(Occlusion { replace, ..Occlusion::default() }) as Box<dyn Method>);
        let random = std::iter::once(Box::new(Random::default()) as Box<dyn Method>);
        for method in atmen.into_iter().chain(occlusions).chain(random) {
            let got = method.attribute(&pair.engine(), &question).unwrap().per_target_token;
            // Features 7 and 8 are the first and second target token: rows 7 and 8, which predict the second and third.
            assert_eq!((got[7][0], got[8][0], got[8][1]), (0.0, 0.0, 0.0), "{} {method:?}", pair.name);
            assert!(got[7][1] != 0.0 && got[7][2] != 0.0 && got[8][2] != 0.0, "{} {method:?}: {got:?}", pair.name);
        }
    }
}

#[test]
fn under_similarity_a_later_token_acts_through_an_earlier_one() {
    let mut question = question(&LLAMA);
    question.target.tokens = vec![62, 42, 8]; // the second target token, position 8, is the prompt's second
    let score = |similarity| Atman { similarity, ..Atman::default() }.attribute(&LLAMA.engine(), &question).unwrap().per_target_token[8][0];
    assert_eq!(score(None), 0.0);
    assert!(score(Some(Similarity::new(1.0))) != 0.0);
}

#[test]
fn a_target_token_says_nothing_about_the_contrast() {
    for method in
        METHODS.iter().filter(|m| ["atman", "occlusion", "random"].contains(&m.id)).map(|m| (m.make)(serde_json::json!({})).unwrap())
    {
        let got = method.attribute(&LLAMA.engine(), &contrasted(&LLAMA)).unwrap().per_contrast_token;
        assert!(all_zero(&got[7..]) && !all_zero(&got[..7]), "{method:?}: {got:?}");
    }
}

#[test]
fn the_same_token_elsewhere_is_similar_at_any_threshold() {
    for pair in both() {
        for id in 0..128 {
            let directions = Directions::of(&pair.engine(), &[Symbol::Token(id), Symbol::Token(id)].into()).unwrap();
            assert_eq!(directions.cosines(0), [1.0, 1.0], "{} token {id}", pair.name);
        }
    }
}

#[test]
fn cosines_are_symmetric_and_stay_within_one() {
    let directions = Directions::of(&GPTJ.engine(), &question(&GPTJ).prompt).unwrap();
    let rows: Vec<Vec<f64>> = (0..7).map(|i| directions.cosines(i)).collect();
    for (i, j) in (0..7).flat_map(|i| (0..7).map(move |j| (i, j))) {
        assert!(rows[i][j] == rows[j][i] && rows[i][j].abs() <= 1.0, "{i} {j}: {} {}", rows[i][j], rows[j][i]);
    }
    assert_eq!(rows[0][3], 1.0, "the same token");
    assert!(rows[1][4] > 0.5 && rows[5][4] > 0.5, "position 4 lies between tokens 42 and 116");
}

#[test]
fn chance_repeats_under_a_seed_and_differs_between_seeds() {
    let answer = |seed| Random { seed }.attribute(&LLAMA.engine(), &contrasted(&LLAMA)).unwrap();
    let (one, again, other) = (answer(1), answer(1), answer(2));
    assert_eq!(one, again);
    assert_ne!(one.per_target_token, other.per_target_token);
    assert_eq!(one.clean, other.clean, "chance leaves the target's own numbers alone");
    assert_eq!((one.per_target_token.len(), one.per_contrast_token.len()), (9, 9));
    let scores: Vec<f64> = one.per_target_token.iter().chain(&one.per_contrast_token).flatten().copied().collect();
    assert_eq!(scores.len(), 9 * 3 + 9 * 2);
    assert!(scores.iter().all(|s| (-1.0..=1.0).contains(s)));
    assert!(scores.iter().any(|s| *s < -0.5) && scores.iter().any(|s| *s > 0.5), "{scores:?}");
    assert_eq!((one.cost.copies, one.cost.rows), (2, 9 + 8), "one clean copy of target and contrast each");
}

#[test]
fn a_feature_s_score_is_the_sum_over_target_tokens_minus_that_over_contrast_tokens() {
    for pair in both() {
        for question in [question(pair), contrasted(pair)] {
            let got = Atman::default().attribute(&pair.engine(), &question).unwrap();
            let (signed, absolute, square) =
                (got.combined(Postprocessing::None), got.combined(Postprocessing::Absolute), got.combined(Postprocessing::Square));
            for i in 0..question.features.len() {
                let mut sum = 0.0;
                got.per_target_token[i].iter().for_each(|s| sum += s);
                if question.target.contrast.is_some() {
                    sum -= got.per_contrast_token[i][0] + got.per_contrast_token[i][1];
                }
                assert!((signed[i] - sum).abs() <= 1e-15, "{} instead of {sum}", signed[i]);
                assert_eq!((absolute[i], square[i]), (signed[i].abs(), signed[i] * signed[i]));
            }
            assert!(signed.iter().any(|s| *s < 0.0) && signed.iter().any(|s| *s > 0.0), "both signs: {signed:?}");
        }
    }
}

#[test]
fn every_method_tells_its_parameters_and_is_made_again_from_them() {
    for entry in METHODS {
        let method = (entry.make)(serde_json::json!({})).unwrap();
        assert_eq!(method.id(), entry.id);
        let again = (entry.make)(method.parameters()).unwrap();
        assert_eq!(again.parameters(), method.parameters());
        assert_eq!(method.seed().is_some(), ["random", "smooth-grad"].contains(&entry.id));
    }
    let given = serde_json::json!({
        "factor": 0.25, "mode": "min-shift", "similarity": {"threshold": 0.5, "coupled": false, "limit": 4, "skip_covered": true}, "layers": [1],
        "overlap": "complete"
    });
    assert_eq!((pellucid_methods::find("atman").unwrap().make)(given.clone()).unwrap().parameters(), given);
}

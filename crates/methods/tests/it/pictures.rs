//! AtMan on patches, against the formula in plain loops; how many runs it takes. And which rows of a picture are asked.

use pellucid_core::{
    Compute, FeaturePositions, Method, Mode, Outcome, Part, Patches, Question, Score,
    model::{Description, Outputs, Pooling},
};
use pellucid_methods::{Atman, Directions, Similarity, carried::asked_row};

use crate::{
    cases::{self, assert_near, contrasted},
    replica::{atman, cosine},
    setup::VIT,
};

/// Class 2 of a picture of waves, and a feature for every row; four patches in a corner are the same.
fn question() -> Question {
    let mut question = cases::question("vit", Score::Logit);
    let mut symbols = question.prompt.symbols.to_vec();
    for twin in [2, 5, 6] {
        symbols[twin] = symbols[1].clone();
    }
    question.prompt = symbols.into();
    question
}

fn tile(positions: &[usize]) -> FeaturePositions {
    FeaturePositions { part: Part::Prompt, positions: positions.iter().map(|p| (*p, 1.0)).collect() }
}

/// The scores of all features for the class.
fn scores(outcome: &Outcome) -> Vec<f64> {
    outcome.per_target_token.iter().map(|feature| feature[0]).collect()
}

#[test]
fn patches_are_suppressed_as_the_formula_says_in_every_mode_and_strength() {
    for (mode, factor) in Mode::ALL.into_iter().flat_map(|m| [(m, 0.1), (m, 0.0), (m, 3.0)]) {
        atman(&VIT, Atman { mode, factor, ..Atman::default() }, &question());
    }
    atman(&VIT, Atman { layers: Some(vec![0, 2]), mode: Mode::Multiply, ..Atman::default() }, &question());
    atman(&VIT, Atman::default(), &contrasted("vit", Score::LogProbability));
}

#[test]
fn tiles_suppress_their_patches_together_and_those_at_their_edges_in_part() {
    let edge = FeaturePositions { part: Part::Prompt, positions: vec![(1, 1.0), (2, 0.5), (5, 0.5), (6, 0.25)] };
    let question = Question { features: vec![tile(&[1, 2, 5, 6]), edge, tile(&(1..17).collect::<Vec<_>>())], ..question() };
    for mode in Mode::ALL {
        atman(&VIT, Atman { mode, ..Atman::default() }, &question);
    }
}

#[test]
fn similarity_is_that_of_projected_patches_without_their_positions() {
    let question = question();
    let rows = VIT.plain.embed(&question.prompt.symbols);
    let directions = Directions::of(&VIT.engine(), &question.prompt).unwrap();
    for (i, row) in rows.iter().enumerate() {
        let expected: Vec<f64> = rows.iter().map(|other| cosine(row, other)).collect();
        assert_near(&directions.cosines(i), &expected, 1e-12, &format!("row {i}"));
    }
    for compute in [Compute::F32, Compute::F64] {
        let mut engine = VIT.engine();
        engine.compute = compute;
        let directions = Directions::of(&engine, &question.prompt).unwrap();
        assert_eq!([1, 2, 5, 6].map(|i| directions.cosines(6)[i]), [1.0; 4], "the same pixels elsewhere");
    }
    for (coupled, limit) in [(true, None), (false, None), (true, Some(3)), (false, Some(2))] {
        for threshold in [0.9, 0.3] {
            let similarity = Some(Similarity { coupled, limit, ..Similarity::new(threshold) });
            atman(&VIT, Atman { similarity, ..Atman::default() }, &question);
        }
    }
}

#[test]
fn a_patch_that_was_suppressed_along_answers_with_the_earlier_ones_run() {
    let question = question();
    let (engine, rows) = (VIT.engine(), VIT.plain.embed(&question.prompt.symbols));
    let run = |similarity| Atman { similarity: Some(similarity), ..Atman::default() };
    for threshold in [0.999, 0.5, 0.0] {
        let similarity = Similarity { coupled: false, ..Similarity::new(threshold) };
        let (each, skipping) = (run(similarity), run(Similarity { skip_covered: true, ..similarity }));
        let own = scores(&each.attribute(&engine, &question).unwrap());
        // The first row that covers this one, among those that no earlier one covers.
        let mut first: Vec<usize> = Vec::new();
        let expected: Vec<f64> = (0..rows.len())
            .map(|i| {
                let cover = first.iter().copied().find(|j| cosine(&rows[i], &rows[*j]) >= threshold);
                first.extend(cover.is_none().then_some(i));
                own[cover.unwrap_or(i)]
            })
            .collect();
        assert!(first.len() <= 14, "three twins are covered at least");
        let got = skipping.attribute(&engine, &question).unwrap();
        assert_eq!(scores(&got), expected, "{threshold}");
        assert_eq!(got.cost.copies, 1 + first.len(), "{threshold}: one clean run, one for each that is not covered");
        assert_eq!(skipping.estimate(&engine, &question).unwrap(), got.cost);
        assert_eq!(each.attribute(&engine, &question).unwrap().cost.copies, 18);
    }
    // A tile is covered only if all of it is.
    let tiles = Question { features: vec![tile(&[1]), tile(&[2, 5]), tile(&[6, 7]), tile(&[1, 6])], ..question };
    let got = run(Similarity { skip_covered: true, ..Similarity::new(1.0) }).attribute(&engine, &tiles).unwrap();
    assert_eq!(got.cost.copies, 1 + 2);
    let got = scores(&got);
    assert!(got[1] == got[0] && got[3] == got[0] && got[2] != got[0], "{got:?}");
}

#[test]
fn nothing_is_covered_where_nothing_is_suppressed() {
    let similarity = Some(Similarity { skip_covered: true, ..Similarity::new(0.0) });
    let got = Atman { factor: 1.0, similarity, ..Atman::default() }.attribute(&VIT.engine(), &contrasted("vit", Score::Logit)).unwrap();
    assert_eq!(got.cost.copies, 2 * 18);
    assert!(scores(&got).iter().chain(got.per_contrast_token.iter().flatten()).all(|s| *s == 0.0));
}

#[test]
fn rows_that_stand_side_by_side_are_asked_by_halves() {
    let input = question().prompt.symbols[..6].to_vec().into();
    let asked = |pooling, leading| {
        let patches = Some(Patches { channels: 3, size: 8, grid: [1, 6 - leading], leading });
        let outputs = Outputs::Classes { pooling, names: Vec::new() };
        asked_row(&Description { patches, outputs, ..Description::default() }, 0, &input)
    };
    assert_eq!(asked(Pooling::First, 1), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(asked(Pooling::FirstTwo, 2), [0.5, 0.5, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(asked(Pooling::Patches, 2), [0.0, 0.0, 0.25, 0.25, 0.25, 0.25]);
    assert_eq!(asked(Pooling::FirstAndPatches, 2), [0.5, 0.0, 0.125, 0.125, 0.125, 0.125]);
    let words = Outputs::Embedding { pooling: Pooling::Highest, width: 4 };
    let text = pellucid_core::Input::tokens(&[5, 9, 2, 9]);
    assert_eq!(asked_row(&Description { outputs: words, ..Description::default() }, 0, &text), [0.0, 1.0, 0.0, 0.0]);
}

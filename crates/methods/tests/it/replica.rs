//! The methods again, in plain loops on the plain forward pass: run as it is, run changed, subtract.
//!
//! Both sides compute in f64 in another order of summation: they differ by about 1e-14 of numbers around 10, and by 1e-12 where the
//! plain form takes 10000 from a score that it removes. [`TOLERANCE`] leaves three digits beyond that and is far below any effect: every
//! comparison also asserts that its largest score is above [`EFFECT`].

use pellucid_core::{FeaturePositions, Method, Mode, Outcome, Part, Question, Score, Symbol, units::Overlap};
use pellucid_methods::{Atman, Occlusion, Replace, Similarity};

use crate::{
    plain::{Plain, Rows, Suppression, log_softmax},
    setup::{GPTJ, LLAMA, Pair, both, question, token},
};

const TOLERANCE: f64 = 1e-9;
const EFFECT: f64 = 1e-4;

/// One run of a changed input: its rows, its suppression, how many positions before the target are gone.
struct Run {
    rows: Rows,
    suppression: Suppression,
    removed: usize,
}

/// `[feature][token]` of the target or the contrast: clean minus changed.
fn differences(plain: &Plain, question: &Question, tokens: &[u32], change: impl Fn(&[Symbol], &FeaturePositions) -> Run) -> Rows {
    let mut symbols = question.prompt.symbols.to_vec();
    symbols.extend(tokens[..tokens.len() - 1].iter().map(|t| Symbol::Token(*t)));
    let scores = |run: Run| -> Vec<f64> {
        let logits = plain.logits(run.rows, &run.suppression);
        let first = question.row(0) - run.removed; // the row that predicts the first target token, or the class
        (0..tokens.len()).map(|t| score(question, &logits[first + t], tokens[t])).collect()
    };
    let clean = scores(Run { rows: plain.embed(&symbols), suppression: Suppression::default(), removed: 0 });
    let difference = |feature: &FeaturePositions| -> Vec<f64> {
        if tokens != question.target.tokens && feature.part == Part::Target {
            return vec![0.0; tokens.len()]; // a token of the target says nothing about the contrast
        }
        let changed = scores(change(&symbols, feature));
        (0..tokens.len()).map(|t| clean[t] - changed[t]).collect()
    };
    question.features.iter().map(difference).collect()
}

fn score(question: &Question, logits: &[f64], token: u32) -> f64 {
    let tempered: Vec<f64> = logits.iter().map(|z| z / question.target.temperature).collect();
    match question.target.score {
        Score::Logit => logits[token as usize],
        Score::LogProbability => log_softmax(&tempered)[token as usize],
        Score::Probability => log_softmax(&tempered)[token as usize].exp(),
    }
}

fn suppress(plain: &Plain, atman: &Atman, symbols: &[Symbol], feature: &FeaturePositions) -> Run {
    let rows = plain.embed(symbols);
    let mut factors = vec![1.0; rows.len()];
    let mut put = |position: usize, factor: f64| {
        if f64::abs(factor - 1.0) > f64::abs(factors[position] - 1.0) {
            factors[position] = factor; // the factor farthest from 1 wins
        }
    };
    for &(i, fraction) in &feature.positions {
        let f = match atman.overlap {
            Overlap::Partial => 1.0 + (atman.factor - 1.0) * fraction,
            Overlap::Complete => atman.factor,
        };
        put(i, f);
        let Some(similarity) = &atman.similarity else { continue };
        let mut near: Vec<(usize, f64)> = (0..rows.len()).filter(|j| *j != i).map(|j| (j, cosine(&rows[i], &rows[j]))).collect();
        near.retain(|(_, c)| *c >= similarity.threshold);
        near.sort_by(|a, b| b.1.total_cmp(&a.1));
        near.truncate(similarity.limit.map_or(usize::MAX, |limit| limit - 1));
        for (j, c) in near {
            put(j, if similarity.coupled { (1.0 - f) * (1.0 - c) + f } else { f });
        }
    }
    Run { rows, suppression: Suppression { mode: atman.mode, factors: Some(factors), layers: atman.layers.clone() }, removed: 0 }
}

pub(crate) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-8);
    let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    (product / norm(a) / norm(b)).clamp(-1.0, 1.0)
}

fn occlude(plain: &Plain, replace: Replace, symbols: &[Symbol], feature: &FeaturePositions) -> Run {
    let covered = |position: usize| feature.positions.iter().any(|p| p.0 == position);
    let (mut rows, mut removed) = (Vec::new(), 0);
    for (position, row) in plain.embed(symbols).into_iter().enumerate() {
        match replace {
            _ if !covered(position) => rows.push(row),
            Replace::Zero => rows.push(vec![0.0; plain.d_model]),
            Replace::Token(id) => rows.extend(plain.embed(&[Symbol::Token(id)])),
            Replace::Delete => removed += 1,
            Replace::Mean | Replace::Blur(_) => unreachable!("see pixels.rs"),
        }
    }
    Run { rows, suppression: Suppression::default(), removed }
}

/// Compares every score and the clean numbers; returns the largest score.
fn compare(what: &str, got: &Outcome, question: &Question, plain: &Plain, change: impl Fn(&[Symbol], &FeaturePositions) -> Run) {
    let expected = differences(plain, question, &question.target.tokens, &change);
    let contrast = question.target.contrast.as_ref().map_or(vec![], |c| differences(plain, question, c, &change));
    let mut largest = 0f64;
    for (part, got, expected) in [("target", &got.per_target_token, &expected), ("contrast", &got.per_contrast_token, &contrast)] {
        assert_eq!(got.len(), expected.len(), "{what}: features of the {part}");
        for (feature, (got, expected)) in got.iter().zip(expected).enumerate() {
            assert_eq!(got.len(), expected.len(), "{what}: tokens of the {part}");
            for (t, (g, e)) in got.iter().zip(expected).enumerate() {
                assert!((g - e).abs() <= TOLERANCE, "{what}: feature {feature}, {part} token {t}: {g} instead of {e}");
                largest = largest.max(e.abs());
            }
        }
    }
    assert!(largest > EFFECT, "{what}: nothing was compared, the largest score is {largest:e}");
}

pub(crate) fn atman(pair: &Pair, atman: Atman, question: &Question) {
    let got = atman.attribute(&pair.engine(), question).unwrap();
    compare(&format!("{} {atman:?}", pair.name), &got, question, &pair.plain, |s, f| suppress(&pair.plain, &atman, s, f));
}

fn occlusion(pair: &Pair, replace: Replace, question: &Question) {
    let got = Occlusion { replace, ..Occlusion::default() }.attribute(&pair.engine(), question).unwrap();
    compare(&format!("{} {replace:?}", pair.name), &got, question, &pair.plain, |s, f| occlude(&pair.plain, replace, s, f));
}

#[test]
fn the_plain_model_gives_the_engines_logits_probabilities_and_ranks() {
    for pair in both() {
        let question = Question { features: vec![token(0)], ..question(pair) };
        let got = Atman::default().attribute(&pair.engine(), &question).unwrap();
        let mut symbols = question.prompt.symbols.to_vec();
        symbols.extend(question.target.tokens[..2].iter().map(|t| Symbol::Token(*t)));
        let logits = pair.plain.logits(pair.plain.embed(&symbols), &Suppression::default());
        for (t, clean) in got.clean.iter().enumerate() {
            let (logits, id) = (&logits[6 + t], question.target.tokens[t] as usize);
            assert!((clean.logit - logits[id]).abs() <= TOLERANCE, "{}: {} instead of {}", pair.name, clean.logit, logits[id]);
            assert!((clean.log_probability - log_softmax(logits)[id]).abs() <= TOLERANCE, "{}", pair.name);
            assert_eq!(clean.rank, logits.iter().filter(|z| **z > logits[id]).count(), "{}", pair.name);
        }
    }
}

#[test]
fn atman_is_the_formula_in_every_mode_and_strength() {
    for pair in both() {
        for mode in Mode::ALL {
            for factor in [0.1, 0.0, 3.0] {
                atman(pair, Atman { mode, factor, ..Atman::default() }, &question(pair));
            }
        }
    }
}

#[test]
fn atman_acts_in_the_layers_it_is_given() {
    for mode in Mode::ALL {
        for layers in [vec![0], vec![1]] {
            atman(&LLAMA, Atman { mode, layers: Some(layers), ..Atman::default() }, &question(&LLAMA));
        }
        atman(&GPTJ, Atman { mode, layers: Some(vec![2, 0]), ..Atman::default() }, &question(&GPTJ));
    }
}

#[test]
fn positions_of_a_unit_are_suppressed_together() {
    for pair in both() {
        let unit = |positions: &[usize]| FeaturePositions { part: Part::Prompt, positions: positions.iter().map(|p| (*p, 1.0)).collect() };
        // One of them holds every key that the first rows see: these rows attend as if nothing were done.
        let features = vec![unit(&[1, 2]), unit(&[0, 4, 6]), unit(&[0, 1, 2, 3])];
        for mode in Mode::ALL {
            for factor in [0.1, 0.0, 3.0] {
                atman(pair, Atman { mode, factor, ..Atman::default() }, &Question { features: features.clone(), ..question(pair) });
            }
        }
    }
}

#[test]
fn a_token_covered_in_part_is_suppressed_in_part_or_wholly_as_asked() {
    for pair in both() {
        let unit = |positions: &[(usize, f64)]| FeaturePositions { part: Part::Prompt, positions: positions.to_vec() };
        let features = vec![unit(&[(1, 0.5)]), unit(&[(2, 0.25), (3, 1.0), (4, 0.75)])];
        let question = Question { features, ..question(pair) };
        for overlap in [Overlap::Partial, Overlap::Complete] {
            for (mode, factor) in Mode::ALL.into_iter().flat_map(|m| [(m, 0.1), (m, 3.0)]) {
                atman(pair, Atman { mode, factor, overlap, ..Atman::default() }, &question);
            }
        }
    }
}

#[test]
fn similar_positions_are_suppressed_along_coupled_flat_and_limited() {
    for pair in both() {
        let question = question(pair);
        let rows = pair.plain.embed(&question.prompt.symbols);
        let near =
            |kappa: f64| (0..7).flat_map(|i| (0..i).map(move |j| (i, j))).filter(|(i, j)| cosine(&rows[*i], &rows[*j]) >= kappa).count();
        assert!(near(0.05) > near(0.5) && near(0.5) >= 3, "{}: {} {}", pair.name, near(0.05), near(0.5));
        for (coupled, limit) in [(true, None), (false, None), (true, Some(2)), (false, Some(3)), (true, Some(1))] {
            for (threshold, factor) in [(0.5, 0.1), (0.05, 0.0), (0.0, 3.0)] {
                let similarity = Some(Similarity { coupled, limit, ..Similarity::new(threshold) });
                atman(pair, Atman { factor, similarity, ..Atman::default() }, &question);
            }
        }
        let both = FeaturePositions { part: Part::Prompt, positions: vec![(1, 1.0), (4, 0.5)] };
        let several = Question { features: vec![both], ..question };
        atman(pair, Atman { similarity: Some(Similarity::new(0.1)), mode: Mode::MinShift, ..Atman::default() }, &several);
    }
}

#[test]
fn every_score_is_subtracted_at_every_temperature() {
    for pair in both() {
        for score in [Score::LogProbability, Score::Logit, Score::Probability] {
            for temperature in [1.0, 2.0, 0.5] {
                let mut question = question(pair);
                (question.target.score, question.target.temperature) = (score, temperature);
                atman(pair, Atman::default(), &question);
                occlusion(pair, Replace::Zero, &question);
            }
        }
    }
}

#[test]
fn a_contrast_is_scored_as_a_text_of_its_own() {
    for pair in both() {
        for contrast in [vec![17], vec![17, 99], vec![62, 3, 4, 90]] {
            let mut question = question(pair);
            question.target.contrast = Some(contrast);
            for mode in Mode::ALL {
                atman(pair, Atman { mode, ..Atman::default() }, &question);
            }
            atman(pair, Atman { similarity: Some(Similarity::new(0.3)), ..Atman::default() }, &question);
            occlusion(pair, Replace::Zero, &question);
        }
    }
}

#[test]
fn occlusion_replaces_deletes_and_subtracts() {
    for pair in both() {
        let mut question = question(pair);
        question.target.contrast = Some(vec![17, 99]);
        for replace in [Replace::Zero, Replace::Token(3), Replace::Token(127)] {
            occlusion(pair, replace, &question);
        }
        let unit = |positions: &[usize]| FeaturePositions { part: Part::Prompt, positions: positions.iter().map(|p| (*p, 1.0)).collect() };
        question.features = vec![unit(&[0]), unit(&[6]), unit(&[2, 3]), unit(&[0, 1, 2, 3, 4, 5])];
        for replace in [Replace::Zero, Replace::Token(3), Replace::Delete] {
            occlusion(pair, replace, &question);
        }
    }
}

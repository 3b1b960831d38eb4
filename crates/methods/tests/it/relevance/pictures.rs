//! Relevance in a model of pictures: GradCAM on the row of the class token, and relevance at pixels.

use pellucid_core::{
    Method, Score,
    rules::{AlphaBeta, Rules},
    walk::down::Wanted,
};
use pellucid_methods::{AlphaBetaRules, AttentionGradcam, HeadWeight, Lrp, METHODS, Variant};
use serde_json::json;

use super::{Rows, TOLERANCE, attribute, off, row, whole};
use crate::cases::{assert_near, contrasted, descent, engine, question};

const PATCHES: usize = 16;

#[test]
fn gradcam_of_a_picture_looks_at_the_patches_of_the_class_tokens_row() {
    let (engine, question) = (engine("vit"), question("vit", Score::Logit));
    for layer in [0, 2] {
        let plain = row(&attribute(&engine, "attention-gradcam", json!({"layer": layer}), &question), 0);
        let stretched = row(&attribute(&engine, "attention-gradcam", json!({"layer": layer, "normalize": "min-max"}), &question), 0);
        let named = json!({"layer": layer, "weight": "mean-over-class-row-patches"});
        assert_eq!(row(&attribute(&engine, "attention-gradcam", named, &question), 0), plain, "it is the default for pictures");
        let whole = whole(&engine, &question, 0, Score::Logit, &[Rules::GRADIENT]);
        let (pattern, gradient) = (&whole.pattern[layer], &whole.signals[0][layer]);
        let g: Vec<f64> = gradient.iter().map(|g| g[0][1..].iter().sum::<f64>() / PATCHES as f64).collect();
        let entry = |k: usize| (0..4).map(|h| g[h] * pattern[h][0][k]).sum::<f64>() / 4.0;
        let map: Vec<f64> = (1..=PATCHES).map(|k| entry(k).max(0.0)).collect();
        assert!(off(&plain[1..], &map) < TOLERANCE && plain[0] == 0.0, "layer {layer}: {plain:?} instead of {map:?}");
        let (least, most) = map.iter().fold((f64::INFINITY, 0.0f64), |(l, m), x| (l.min(*x), m.max(*x)));
        let expected: Vec<f64> = map.iter().map(|x| if most > least { (x - least) / (most - least) } else { 0.0 }).collect();
        assert!(off(&stretched[1..], &expected) < TOLERANCE && stretched[0] == 0.0, "layer {layer}, stretched");
        // Over all entries it is another map, of all rows.
        let all = json!({"layer": layer, "weight": "mean-over-all-entries"});
        let all = row(&attribute(&engine, "attention-gradcam", all, &question), 0);
        let g: Vec<f64> = gradient.iter().map(|g| g.iter().flatten().sum::<f64>() / (17.0 * 17.0)).collect();
        let entry = |k: usize| (0..4).map(|h| g[h] * pattern[h][0][k]).sum::<f64>() / 4.0;
        assert!(off(&all, &(0..17).map(|k| entry(k).max(0.0)).collect::<Vec<_>>()) < TOLERANCE, "layer {layer}, all entries");
    }
}

#[test]
fn patches_of_a_text_are_refused() {
    let method = AttentionGradcam { weight: Some(HeadWeight::MeanOverClassRowPatches), ..AttentionGradcam::default() };
    let refused = method.fits(engine("bert").model.description()).unwrap_err().to_string();
    assert!(refused.contains("a bert model reads texts, which have no patches"), "{refused}");
    assert!(method.attribute(&engine("bert"), &question("bert", Score::Logit)).is_err());
    let decompx = (METHODS.iter().find(|m| m.id == "decompx").unwrap().make)(json!({})).unwrap();
    let refused = decompx.attribute(&engine("vit"), &question("vit", Score::Logit)).unwrap_err().to_string();
    assert!(refused.contains("decompx needs"), "{refused}");
}

/// `a/(b + 1e-9)`, and 0 where b is.
fn over(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / (b + 1e-9) }
}

/// From relevance at the input of the first block `[row][i]` to pixels `[patch][i]`: the share of the projected patches in the addition of
/// positions, then the z^B rule.
fn at_pixels(rules: AlphaBeta, relevance: &Rows, pixels: &Rows) -> Rows {
    let model = engine("vit").model;
    let read = |name: &str| -> Vec<f64> {
        let (rows, columns) = model.weights().info(name).unwrap().matrix();
        let mut values = vec![0.0; rows * columns];
        model.weights().read_rows(name, 0..rows, &mut values).unwrap();
        values.into_iter().map(f64::from).collect()
    };
    let d = model.description().d_model;
    let weight: Rows = read("vit.embeddings.patch_embeddings.projection.weight").chunks(3 * 64).map(<[f64]>::to_vec).collect();
    let (bias, class) = (read("vit.embeddings.patch_embeddings.projection.bias"), read("vit.embeddings.cls_token"));
    let positions: Rows = read("vit.embeddings.position_embeddings").chunks(d).map(<[f64]>::to_vec).collect();
    let dot = |w: &[f64], x: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
    let projected = |x: &Vec<f64>| -> Vec<f64> { weight.iter().zip(&bias).map(|(w, b)| dot(w, x) + b).collect() };
    let embedded: Rows = std::iter::once(class).chain(pixels.iter().map(projected)).collect();

    let share = |own: &Rows| -> Rows {
        let entry = |r: usize, i: usize| own[r][i] * over(relevance[r][i], embedded[r][i] + positions[r][i]);
        (0..own.len()).map(|r| (0..d).map(|i| entry(r, i)).collect()).collect()
    };
    let sum = |x: &Rows| x.iter().flatten().sum::<f64>();
    let (mut to_patches, to_positions) = (share(&embedded), share(&positions));
    if rules != AlphaBeta::Original {
        let (a, b, whole) = (sum(&to_patches), sum(&to_positions), sum(relevance));
        let factor = over(over(a.abs(), a.abs() + b.abs()) * whole, a);
        to_patches.iter_mut().flatten().for_each(|x| *x *= factor);
    }

    let (low, high) = pixels.iter().flatten().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
    let bound = |w: f64| if w > 0.0 { low } else { high };
    let patch = |(x, r): (&Vec<f64>, &Vec<f64>)| -> Vec<f64> {
        let mut out = vec![0.0; x.len()];
        for (w, r) in weight.iter().zip(r) {
            let z: f64 = w.iter().zip(x).map(|(w, x)| w * (x - bound(*w))).sum();
            for ((o, w), x) in out.iter_mut().zip(w).zip(x) {
                *o += w * (x - bound(*w)) * r / (z + 1e-9);
            }
        }
        out
    };
    pixels.iter().zip(&to_patches[1..]).map(patch).collect()
}

#[test]
fn full_relevance_reaches_pixels_by_the_rule_of_bounded_numbers() {
    let (engine, question) = (engine("vit"), question("vit", Score::Logit));
    let patches = engine.model.description().patches.clone().unwrap();
    let values = engine.model.symbol_values(&question.prompt.symbols).unwrap();
    let pixels: Rows = values.chunks(3 * 64).skip(1).map(|p| p.iter().map(|x| f64::from(*x)).collect()).collect();
    for (rules, named) in
        [(AlphaBeta::Ours, AlphaBetaRules::Ours), (AlphaBeta::Original, AlphaBetaRules::Original), (AlphaBeta::Detr, AlphaBetaRules::Detr)]
    {
        let wanted = Wanted { hidden: vec![0], ..Wanted::default() };
        let landed = engine.down(&[descent(&question, Rules::AlphaBeta(rules))], &wanted, &mut |_| Ok(())).unwrap();
        let relevance: Rows = landed.descents[0].hidden[0].signals[0].chunks(64).map(<[f64]>::to_vec).collect();
        let expected = at_pixels(rules, &relevance, &pixels);

        let got = Lrp { rules: named, variant: Variant::Full, ..Lrp::default() }.attribute(&engine, &question).unwrap();
        let sums: Vec<f64> = expected.iter().map(|patch| patch.iter().sum()).collect();
        assert_near(&row(&got, 0)[1..], &sums, 1e-9, "patches");
        assert_eq!(row(&got, 0)[0], 0.0, "the class token has no pixels");
        let rows: Vec<f64> = std::iter::once(vec![0.0; 3 * 64]).chain(expected).flatten().collect();
        let picture = patches.picture(&rows);
        let summed: Vec<f64> = (0..32 * 32).map(|i| picture[i] + picture[1024 + i] + picture[2048 + i]).collect();
        let got_pixels = &got.pixels.as_ref().unwrap()[0];
        assert_near(got_pixels, &summed, 1e-9, "pixels");
        if rules == AlphaBeta::Original {
            assert!(got.promises.is_empty());
        } else {
            assert!((got.promises[0].got - 1.0).abs() < 1e-6, "{:?}", got.promises);
            assert!((got_pixels.iter().sum::<f64>() - 1.0).abs() > 1e-3, "positions and the class token have their part");
        }
    }
}

#[test]
fn a_picture_of_one_colour_has_no_relevance_at_its_pixels_and_none_that_is_no_number() {
    let (engine, mut question) = (engine("vit"), question("vit", Score::Logit));
    let patches = engine.model.description().patches.clone().unwrap();
    question.prompt = patches.input(&[0.3; 3 * 32 * 32]).unwrap();
    for rules in [AlphaBetaRules::Ours, AlphaBetaRules::Original] {
        let got = Lrp { rules, variant: Variant::Full, ..Lrp::default() }.attribute(&engine, &question).unwrap();
        let pixels = &got.pixels.unwrap()[0];
        // No pixel is above the lowest; what is left is rounding, over 1e-9.
        assert!(pixels.iter().all(|x| x.abs() < 1e-3), "{rules:?}: {pixels:?}");
    }
}

#[test]
fn a_contrasts_pixels_are_those_of_a_question_of_its_own() {
    let (engine, question) = (engine("vit"), contrasted("vit", Score::Logit));
    let full = Lrp { variant: Variant::Full, ..Lrp::default() };
    let got = full.attribute(&engine, &question).unwrap();
    let mut other = question.clone();
    other.target.tokens = other.target.contrast.take().unwrap();
    let alone = full.attribute(&engine, &other).unwrap();
    assert_eq!(got.contrast_pixels, alone.pixels);
    assert_eq!((alone.contrast_pixels, got.per_contrast_token), (None, alone.per_target_token));
    let carried = Lrp::default().attribute(&engine, &question).unwrap();
    assert_eq!(carried.pixels, None, "what is carried through patterns has no pixels");
}

#[test]
fn the_z_b_rule_gives_pixels_what_reaches_their_projection() {
    let (engine, question) = (engine("vit"), question("vit", Score::Logit));
    let wanted = Wanted { embeddings: true, projection: true, ..Wanted::default() };
    let landed = engine.down(&[descent(&question, Rules::AlphaBeta(AlphaBeta::Ours))], &wanted, &mut |_| Ok(())).unwrap();
    let [above, below] = [&landed.descents[0].projection, &landed.descents[0].embeddings].map(|r| &r.as_ref().unwrap().signals[0]);
    let sums = |rows: &[f64], width: usize| rows.chunks(width).map(|r| r.iter().sum()).collect::<Vec<f64>>();
    assert_near(&sums(below, 3 * 64), &sums(above, 64), 1e-6, "patch by patch");
}

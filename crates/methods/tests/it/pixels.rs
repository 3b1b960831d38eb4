//! Gradients, occlusion and GradCAM of pictures: against plain loops and finite differences, and what they promise.

use pellucid_core::{
    Input, Method, Patches, Question, Score, Symbol,
    rules::Rules,
    walk::{
        down::{Descent, Wanted},
        up::{Ask, Copy, Document, Readout},
    },
};
use pellucid_methods::{
    At, AttnLrp, Baseline, CpLrp, Embedded, Gim, Gradcam, InputXGradient, IntegratedGradients, METHODS, NormalizeScores, Occlusion, Reduce,
    Replace, Saliency, SmoothGrad, Wrt, find,
};
use serde_json::{Value as Json, json};

use crate::cases::{assert_near, contrasted, descent, engine, question};

fn patches() -> Patches {
    engine("vit").model.description().patches.clone().unwrap()
}

/// `[channel, height, width]` of what the model reads.
fn picture(input: &Input) -> Vec<f64> {
    let values = engine("vit").model.symbol_values(&input.symbols).unwrap();
    patches().picture(&values.into_iter().map(f64::from).collect::<Vec<_>>())
}

/// The class's logit for each picture.
fn logits(pictures: &[Vec<f64>], class: u32) -> Vec<f64> {
    let input = |p: &Vec<f64>| patches().input(&p.iter().map(|x| *x as f32).collect::<Vec<_>>()).unwrap();
    let asks = vec![Ask { position: 0, tokens: vec![class] }];
    let document = Document { input: input(&pictures[0]), asks: asks.clone(), ..Document::default() };
    let copies: Vec<Copy> = pictures.iter().map(|p| Copy { input: Some(input(p)), asks: asks.clone(), ..Copy::default() }).collect();
    let up = engine("vit").up(&[document], &copies, Readout::default()).unwrap();
    up.copies.iter().map(|a| a[0].tokens[0].logit).collect()
}

#[test]
fn a_gradient_at_pixels_is_a_finite_difference() {
    let question = question("vit", Score::Logit);
    let clean = descent(&question, Rules::GRADIENT);
    let engine = engine("vit");
    let wanted = Wanted { embeddings: true, ..Wanted::default() };
    let reached = engine.down(std::slice::from_ref(&clean), &wanted, &mut |_| Ok(())).unwrap().descents.remove(0).embeddings.unwrap();
    let width = patches().width();
    assert!(reached.signals.iter().all(|s| s[..width].iter().all(|g| *g == 0.0)), "the class token has no pixels");
    let (h, places) = (1e-5, [width, width + 70, 5 * width + 3, 17 * width - 1]);
    let moved = |at: usize, by: f64| {
        let mut pixels = reached.value.clone();
        pixels[at] += by;
        Descent { embedded: Some(pixels), ..clean.clone() }
    };
    let ends: Vec<Descent> = places.iter().flat_map(|at| [moved(*at, h), moved(*at, -h)]).collect();
    let landed = engine.down(&ends, &Wanted::default(), &mut |_| Ok(())).unwrap().descents;
    let slopes: Vec<f64> = landed.chunks(2).map(|l| (l[0].scores[0][0].logit - l[1].scores[0][0].logit) / (2.0 * h)).collect();
    let got: Vec<f64> = places.iter().map(|at| reached.signals[0][*at]).collect();
    assert_near(&got, &slopes, 1e-7, "pixels");
}

#[test]
fn scores_of_patches_are_made_of_those_of_their_pixels() {
    let (patches, question) = (patches(), contrasted("vit", Score::Logit));
    let engine = engine("vit");
    let [_, width] = patches.pixels();
    let sums: [Box<dyn Method>; 5] = [
        Box::new(InputXGradient::default()),
        Box::new(IntegratedGradients { steps: 3, ..IntegratedGradients::default() }),
        Box::new(AttnLrp::default()),
        Box::new(CpLrp::default()),
        Box::new(Gim::default()),
    ];
    let roots: [Box<dyn Method>; 2] = [Box::new(Saliency::default()), Box::new(SmoothGrad { samples: 2, ..SmoothGrad::default() })];
    for (i, method) in sums.iter().chain(&roots).enumerate() {
        let got = method.attribute(&engine, &question).unwrap();
        for (pixels, scores) in [(got.pixels.unwrap(), got.per_target_token), (got.contrast_pixels.unwrap(), got.per_contrast_token)] {
            let own = |p: usize| {
                let (row, column) = ((p - 1) / 4 * 8, (p - 1) % 4 * 8);
                (0..64).map(|i| pixels[0][(row + i / 8) * width + column + i % 8]).collect::<Vec<f64>>()
            };
            let expected = |p: usize| match i < sums.len() {
                true => own(p).iter().sum::<f64>(),
                false => own(p).iter().map(|x| x * x).sum::<f64>().sqrt(),
            };
            let expected: Vec<f64> = std::iter::once(0.0).chain((1..17).map(expected)).collect();
            assert_near(&scores.concat(), &expected, 1e-12, &format!("{method:?}"));
        }
        let alone = method.attribute(&engine, &self::question("vit", Score::Logit)).unwrap();
        assert!(alone.contrast_pixels.is_none() && alone.pixels.unwrap()[0].len() == 32 * 32);
    }
}

#[test]
fn below_the_embedding_output_there_are_no_pixels() {
    let (engine, question) = (engine("vit"), question("vit", Score::Logit));
    let saliency = Saliency { wrt: Wrt::EmbeddingOutput, ..Saliency::default() };
    assert!(saliency.attribute(&engine, &question).unwrap().pixels.is_none());
    assert!(CpLrp { at: At::Hidden(1), gamma: None }.attribute(&engine, &question).unwrap().pixels.is_none());
}

#[test]
fn what_is_explained_of_a_picture_is_its_pixels() {
    let (engine, question) = (engine("vit"), question("vit", Score::LogProbability));
    let pairs: [[Box<dyn Method>; 2]; 3] = [
        [Box::new(Saliency::default()), Box::new(Saliency { wrt: Wrt::Pixels, ..Saliency::default() })],
        [Box::new(AttnLrp::default()), Box::new(AttnLrp { at: At::Pixels, gamma: None })],
        [Box::new(Gim::default()), Box::new(Gim { at: At::Pixels })],
    ];
    for [default, named] in pairs {
        assert_eq!(default.attribute(&engine, &question).unwrap(), named.attribute(&engine, &question).unwrap());
    }
    let (text, of_text) = (crate::cases::engine("bert"), crate::cases::question("bert", Score::Logit));
    let words = Saliency { wrt: Wrt::WordEmbedding, ..Saliency::default() };
    assert_eq!(Saliency::default().attribute(&text, &of_text).unwrap(), words.attribute(&text, &of_text).unwrap());
}

#[test]
fn a_path_from_a_plain_colour_adds_up() {
    let engine = engine("vit");
    let question = question("vit", Score::Logit);
    for baseline in [Baseline::Mean, Baseline::Zero] {
        let method = IntegratedGradients { steps: 100, baseline, ..IntegratedGradients::default() };
        let got = method.attribute(&engine, &question).unwrap();
        let promise = &got.promises[0];
        assert!((promise.got - promise.expected).abs() < 1e-3 * promise.expected.abs(), "{baseline:?}: {promise:?}");
        let pixels: f64 = got.pixels.unwrap()[0].iter().sum();
        assert!((pixels - promise.got).abs() < 1e-9, "{baseline:?}: every pixel has a score");
        // Where the path begins, in one plain colour a channel.
        let clean = picture(&question.prompt);
        let mean = |c: usize| if baseline == Baseline::Mean { clean[c * 1024..(c + 1) * 1024].iter().sum::<f64>() / 1024.0 } else { 0.0 };
        let ends = logits(&[clean.clone(), (0..3072).map(|i| mean(i / 1024)).collect()], 2);
        assert!((ends[0] - ends[1] - promise.expected).abs() < 1e-5, "{baseline:?}");
    }
}

#[test]
fn noise_is_of_the_pictures_own_range() {
    let (engine, question) = (engine("vit"), question("vit", Score::Logit));
    let still = SmoothGrad { sigma: 0.0, samples: 2, ..SmoothGrad::default() }.attribute(&engine, &question).unwrap();
    let saliency = Saliency::default().attribute(&engine, &question).unwrap();
    assert_near(&still.pixels.unwrap()[0], &saliency.pixels.unwrap()[0], 1e-12, "no noise");
    // All pixels above 0: were zeros of the class token a part of the range, brighter pictures would be noisier.
    let noise = |lift: f64| -> f64 {
        let lifted: Vec<f32> = picture(&question.prompt).iter().map(|x| (x + lift) as f32).collect();
        let question = Question { prompt: patches().input(&lifted).unwrap(), ..question.clone() };
        let of = |sigma| {
            let method = SmoothGrad { sigma, samples: 1, reduce: Reduce::Sum, ..SmoothGrad::default() };
            method.attribute(&engine, &question).unwrap().pixels.unwrap().remove(0)
        };
        let (still, moved) = (of(0.0), of(1e-7));
        let apart = still.iter().zip(&moved).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        apart / still.iter().map(|a| a * a).sum::<f64>().sqrt()
    };
    let (dark, bright) = (noise(0.0), noise(50.0));
    assert!(bright < 3.0 * dark, "relative change {dark:e} and {bright:e}");
}

#[test]
fn a_sliding_window_is_every_window_alone() {
    let (engine, question) = (engine("vit"), contrasted("vit", Score::Logit));
    let clean = picture(&question.prompt);
    let (size, stride) = ([2, 9, 12], [1, 7, 11]); // cuts through patches and channels; the last windows are cut off
    let starts = |whole: usize, axis: usize| {
        let mut starts = vec![0];
        while starts[starts.len() - 1] + size[axis] < whole {
            starts.push(starts[starts.len() - 1] + stride[axis]);
        }
        starts
    };
    for replace in [Replace::Zero, Replace::Mean] {
        let mut pictures = vec![clean.clone()];
        let mut covered = Vec::new();
        for (c, y, x) in starts(3, 0)
            .into_iter()
            .flat_map(|c| starts(32, 1).into_iter().map(move |y| (c, y)))
            .flat_map(|(c, y)| starts(32, 2).into_iter().map(move |x| (c, y, x)))
        {
            let inside = |i: usize| {
                (c..c + size[0]).contains(&(i / 1024)) && (y..y + size[1]).contains(&(i / 32 % 32)) && (x..x + size[2]).contains(&(i % 32))
            };
            let mean =
                |i: usize| if replace == Replace::Zero { 0.0 } else { clean[i / 1024 * 1024..][..1024].iter().sum::<f64>() / 1024.0 };
            pictures.push((0..3072).map(|i| if inside(i) { mean(i) } else { clean[i] }).collect());
            covered.push((0..3072).map(inside).collect::<Vec<bool>>());
        }
        let method = Occlusion { replace, window: Some(size), stride: Some(stride) };
        let got = method.windows(&engine, &question).unwrap();
        let outcome = method.attribute(&engine, &question).unwrap();
        assert_eq!((covered.len(), outcome.cost.copies), (2 * 5 * 3, 2 * 5 * 3 + 1));
        let pixels = [outcome.pixels.unwrap(), outcome.contrast_pixels.unwrap()].concat();
        let features = [outcome.per_target_token, outcome.per_contrast_token];
        for (token, class) in [2, 0].into_iter().enumerate() {
            let logits = logits(&pictures, class);
            let mean = |i: usize| {
                let deltas: Vec<f64> = covered.iter().zip(&logits[1..]).filter(|(c, _)| c[i]).map(|(_, l)| logits[0] - l).collect();
                deltas.iter().sum::<f64>() / deltas.len() as f64
            };
            let expected: Vec<f64> = (0..3072).map(mean).collect();
            assert_near(&got[token], &expected, 1e-6, &format!("{replace:?} {class}"));
            let by_pixel: Vec<f64> = (0..1024).map(|i| (0..3).map(|c| expected[c * 1024 + i]).sum::<f64>() / 3.0).collect();
            assert_near(&pixels[token], &by_pixel, 1e-6, "channels");
            let patch = |p: usize| (0..64).map(|i| by_pixel[(p / 4 * 8 + i / 8) * 32 + p % 4 * 8 + i % 8]).sum::<f64>() / 64.0;
            let by_patch: Vec<f64> = std::iter::once(0.0).chain((0..16).map(patch)).collect();
            assert_near(&features[token].concat(), &by_patch, 1e-6, "patches");
        }
    }
}

#[test]
fn windows_as_large_as_patches_are_patches() {
    let (engine, question) = (engine("vit"), question("vit", Score::LogProbability));
    for replace in [Replace::Zero, Replace::Mean, Replace::Blur(3.0)] {
        let windows = Occlusion { replace, window: Some([3, 8, 8]), stride: None }.attribute(&engine, &question).unwrap();
        let units = Occlusion { replace, ..Occlusion::default() }.attribute(&engine, &question).unwrap();
        assert_near(&windows.per_target_token.concat(), &units.per_target_token.concat(), 1e-9, &format!("{replace:?}"));
        assert!(units.pixels.is_none() && windows.pixels.is_some());
    }
}

#[test]
fn windows_go_up_in_groups_that_fit_the_memory() {
    let (mut engine, question) = (engine("vit"), question("vit", Score::Logit));
    let method = Occlusion { window: Some([3, 4, 4]), stride: Some([3, 1, 1]), ..Occlusion::default() };
    let whole = method.attribute(&engine, &question).unwrap();
    assert_eq!((whole.cost.sweeps, whole.cost.copies), (1, 29 * 29 + 1));
    assert_eq!(whole.cost, method.estimate(&engine, &question).unwrap());
    engine.max_memory = Some(8 << 20);
    let split = method.attribute(&engine, &question).unwrap();
    assert_eq!(split.cost, method.estimate(&engine, &question).unwrap());
    assert!(split.cost.sweeps > 1 && split.cost.peak_bytes <= 8 << 20, "{:?}", split.cost);
    assert_near(&split.pixels.unwrap()[0], &whole.pixels.unwrap()[0], 1e-12, "groups");
}

#[test]
fn replacing_what_is_there_already_changes_nothing() {
    let engine = engine("vit");
    let plain: Vec<f32> = (0..3072).map(|i| [0.5, -0.25, 1.0][i / 1024]).collect();
    let question = Question { prompt: patches().input(&plain).unwrap(), ..question("vit", Score::Logit) };
    for window in [None, Some([3, 5, 5])] {
        let got = Occlusion { replace: Replace::Mean, window, stride: None }.attribute(&engine, &question).unwrap();
        assert!(got.per_target_token.iter().all(|s| s[0] == 0.0), "{window:?}");
        let blurred = Occlusion { replace: Replace::Blur(2.0), window, stride: None }.attribute(&engine, &question).unwrap();
        assert!(blurred.per_target_token.iter().all(|s| s[0].abs() < 1e-5), "{window:?}: a plain colour has nothing to blur");
    }
}

#[test]
fn a_patch_fades_by_the_part_that_a_unit_covers() {
    let (engine, mut question) = (engine("vit"), question("vit", Score::Logit));
    question.features.truncate(1);
    question.features[0].positions = vec![(3, 0.25), (4, 1.0)];
    let got = Occlusion::default().attribute(&engine, &question).unwrap().per_target_token[0][0];
    let clean = picture(&question.prompt);
    let part = |i: usize| match (i / 32 % 32 / 8, i % 32 / 8) {
        (0, 2) => 0.75,
        (0, 3) => 0.0,
        _ => 1.0,
    };
    let [whole, faded] = logits(&[clean.clone(), (0..3072).map(|i| part(i) * clean[i]).collect()], 2)[..] else { panic!("two pictures") };
    assert!((got - (whole - faded)).abs() < 1e-6 && got.abs() > 1e-3, "{got} {whole} {faded}");
}

/// For this model, whose first block takes the projection and nothing but positions added, the gradient at both is the same.
#[test]
fn gradcam_weighs_channels_with_their_mean_gradient() {
    let engine = engine("vit");
    let question = contrasted("vit", Score::Probability);
    let gradient = Saliency { wrt: Wrt::EmbeddingOutput, ..Saliency::default() }.entries(&engine, &question).unwrap().remove(0);
    let weights = |name: &str, rows: usize, columns: usize| {
        let mut out = vec![0.0f32; rows * columns];
        let name = format!("vit.embeddings.patch_embeddings.projection.{name}");
        engine.model.weights().read_rows(&name, 0..rows, &mut out).unwrap();
        out.into_iter().map(f64::from).collect::<Vec<_>>()
    };
    let (weight, bias, clean) = (weights("weight", 64, 192), weights("bias", 1, 64), picture(&question.prompt));
    let projection = |patch: usize, channel: usize| {
        let pixel = |i: usize| clean[i / 64 * 1024 + (patch / 4 * 8 + i / 8 % 8) * 32 + patch % 4 * 8 + i % 8];
        bias[channel] + (0..192).map(|i| weight[channel * 192 + i] * pixel(i)).sum::<f64>()
    };
    let of_channel: Vec<f64> = (0..64).map(|c| (1..17).map(|p| gradient[p * 64 + c]).sum::<f64>() / 16.0).collect();
    let signed: Vec<f64> = (0..16).map(|p| (0..64).map(|c| of_channel[c] * projection(p, c)).sum()).collect();
    let got = Gradcam { relu: false }.attribute(&engine, &question).unwrap();
    assert_near(&got.per_target_token.concat()[1..], &signed, 1e-12, "signed");
    assert!(got.per_target_token[0] == [0.0] && got.per_contrast_token.len() == 17 && got.pixels.is_none());
    assert_eq!((got.backwards, got.cost.sweeps), (1, 2), "both classes share the walk");
    assert_eq!(got.cost, Gradcam { relu: false }.estimate(&engine, &question).unwrap());
    let relu = Gradcam::default().attribute(&engine, &question).unwrap().per_target_token.concat();
    assert_near(&relu[1..], &signed.iter().map(|s| s.max(0.0)).collect::<Vec<_>>(), 1e-12, "relu");
    assert!(signed.iter().any(|s| *s < 0.0), "or there is nothing to cut off");
}

#[test]
fn values_at_the_projection_and_at_pixels_come_from_one_walk() {
    let engine = engine("vit");
    let clean = descent(&question("vit", Score::Logit), Rules::GRADIENT);
    let walk = |wanted: Wanted| engine.down(std::slice::from_ref(&clean), &wanted, &mut |_| Ok(())).unwrap().descents.remove(0);
    let both = walk(Wanted { embeddings: true, projection: true, ..Wanted::default() });
    assert_eq!(both.embeddings, walk(Wanted { embeddings: true, ..Wanted::default() }).embeddings);
    assert_eq!(both.projection, walk(Wanted { projection: true, ..Wanted::default() }).projection);
    let projection = both.projection.unwrap();
    assert!(projection.value.len() == 17 * 64 && projection.signals[0][..64].iter().all(|g| *g == 0.0));
}

fn refused(case: &str, method: &str, parameters: Json) -> String {
    let method = match (find(method).unwrap().make)(parameters) {
        Ok(method) => method,
        Err(error) => return error.to_string(),
    };
    let question = question(case, Score::Logit);
    let message = method.attribute(&engine(case), &question).unwrap_err().to_string();
    assert_eq!(method.fits(engine(case).model.description()).unwrap_err().to_string(), message);
    assert_eq!(method.estimate(&engine(case), &question).unwrap_err().to_string(), message);
    message
}

fn says(message: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(message.contains(part), "{message:?} does not say {part:?}"));
}

#[test]
fn words_of_pictures_and_pixels_of_texts_are_refused_by_name() {
    for method in ["saliency", "input-x-gradient", "integrated-gradients", "smooth-grad"] {
        says(&refused("vit", method, json!({"wrt": "word-embedding"})), &["this vit model reads pictures", "`wrt`", "pixels"]);
        says(&refused("bert", method, json!({"wrt": "pixels"})), &["this bert model reads texts", "`wrt`", "word-embedding"]);
    }
    for method in ["attn-lrp", "cp-lrp", "gim"] {
        says(&refused("vit", method, json!({"at": "word-embedding"})), &["this vit model reads pictures", "`at`", "pixels"]);
        says(&refused("llama", method, json!({"at": "pixels"})), &["this llama model reads texts", "`at`", "word-embedding"]);
    }
    for method in ["saliency", "input-x-gradient"] {
        let twice = json!({"wrt": "embedding-output", "embedded": "twice"});
        says(&refused("vit", method, twice), &["this vit model reads pictures", "`embedded`"]);
    }
    says(&refused("bert", "gradcam", json!({})), &["this bert model reads texts", "attention-gradcam"]);
    for baseline in [json!("pad"), json!("mask"), json!({"token": 0}), json!({"tokens": {"first": 0, "middle": 0, "last": 0}})] {
        says(&refused("vit", "integrated-gradients", json!({"baseline": baseline})), &["reads pictures", "no tokens", "mean or zero"]);
    }
}

#[test]
fn replacements_and_windows_that_a_model_has_none_of_are_refused() {
    let refused = |case, parameters| refused(case, "occlusion", parameters);
    says(&refused("vit", json!({"replace": "delete"})), &["this vit model reads pictures", "fixed places", "blur"]);
    says(&refused("vit", json!({"replace": {"token": 0}})), &["this vit model reads pictures", "no tokens"]);
    says(&refused("bert", json!({"replace": {"blur": 2.0}})), &["this bert model reads texts", "cannot be blurred"]);
    for sigma in [0.0, -1.0, 1e9] {
        says(&refused("vit", json!({"replace": {"blur": sigma}})), &["blur is", &sigma.to_string(), "above 0"]);
    }
    says(&refused("bert", json!({"window": [3, 8, 8]})), &["this bert model reads texts", "`window`"]);
    says(&refused("vit", json!({"stride": [3, 8, 8]})), &["stride [3, 8, 8]", "`window`"]);
    says(&refused("vit", json!({"window": [3, 33, 8]})), &["window [3, 33, 8]", "[3, 32, 32]"]);
    says(&refused("vit", json!({"window": [3, 8, 8], "stride": [3, 9, 8]})), &["stride [3, 9, 8]", "gaps"]);
}

#[test]
fn a_projection_of_patches_is_not_looked_for_in_a_text() {
    let wanted = Wanted { projection: true, ..Wanted::default() };
    let clean = descent(&question("bert", Score::Logit), Rules::GRADIENT);
    let message = engine("bert").down(&[clean], &wanted, &mut |_| Ok(())).unwrap_err().to_string();
    says(&message, &["this bert model reads texts", "projection of patches"]);
}

#[test]
fn the_mean_of_all_tokens_stands_in_for_a_token() {
    let (engine, question) = (engine("bert"), question("bert", Score::Logit));
    let table = engine.model.architecture().token_table().unwrap().clone();
    let rows = engine.model.token_embeddings(&(0..table.rows as u32).collect::<Vec<_>>()).unwrap();
    let mean: Vec<f32> = (0..table.width)
        .map(|i| (rows.iter().skip(i).step_by(table.width).map(|x| f64::from(*x)).sum::<f64>() / table.rows as f64) as f32)
        .collect();
    let mut symbols = question.prompt.symbols.to_vec();
    symbols[2] = Symbol::Vector(mean.into());
    let asks = vec![Ask { position: 0, tokens: question.target.tokens.clone() }];
    let document = Document { input: question.prompt.clone(), asks: asks.clone(), ..Document::default() };
    let copy = Copy { input: Some(question.prompt.with_symbols(symbols)), asks, ..Copy::default() };
    let up = engine.up(&[document], &[copy], Readout::default()).unwrap();
    let expected = up.documents[0][0].tokens[0].logit - up.copies[0][0].tokens[0].logit;
    let got = Occlusion { replace: Replace::Mean, ..Occlusion::default() }.attribute(&engine, &question).unwrap().per_target_token;
    assert!((got[2][0] - expected).abs() < 1e-12 && expected.abs() > 1e-3, "{} {expected}", got[2][0]);
}

#[test]
fn shares_of_pixels_add_up_to_one() {
    let (engine, question) = (engine("vit"), question("vit", Score::Logit));
    for reduce in [Reduce::Sum, Reduce::L2, Reduce::MeanAbs] {
        let method = InputXGradient { reduce, absolute: true, normalize: NormalizeScores::Sum, wrt: Wrt::Auto, embedded: Embedded::Once };
        let got = method.attribute(&engine, &question).unwrap();
        for sum in [got.pixels.unwrap()[0].iter().sum::<f64>(), got.per_target_token.concat().iter().sum()] {
            assert!((sum - 1.0).abs() < 1e-12, "{reduce:?}: {sum}");
        }
    }
}

#[test]
fn every_method_of_this_folder_that_fits_pictures_answers_with_finite_numbers() {
    let (engine, question) = (engine("vit"), question("vit", Score::Logit));
    let own = ["occlusion", "saliency", "input-x-gradient", "integrated-gradients", "smooth-grad", "gradcam", "attn-lrp", "cp-lrp", "gim"];
    assert!(own.iter().all(|id| METHODS.iter().any(|m| m.id == *id)));
    for id in own {
        let got = (find(id).unwrap().make)(json!({})).unwrap().attribute(&engine, &question).unwrap();
        assert_eq!(got.per_target_token.len(), 17, "{id}");
        assert!(got.per_target_token.concat().iter().chain(got.pixels.iter().flatten().flatten()).all(|x| x.is_finite()), "{id}");
        assert!(got.per_target_token.concat().iter().any(|x| *x != 0.0), "{id}");
    }
}

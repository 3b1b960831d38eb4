//! What every model of pictures keeps, whatever is asked of it.

use pellucid::{
    Compute, Control, Engine, Mode, Model,
    core::{
        FeaturePositions, Outcome, Part, Place, Question, Region, RegionControl, Score, Target,
        rules::Rules,
        walk::{
            down::{Descent, Signal, Term, Wanted},
            up::{Ask, Copy, Document, Readout},
        },
    },
    explain::{Aim, Request, explain},
    methods::{Chefer, METHODS},
    models::{
        image::{Picture, Preprocessing},
        open,
        source::Located,
    },
    prompt::Prompt,
};
use serde_json::json;

use crate::made::{input, of_pictures, picture_sizes, tensors, written};

/// An engine in f64 with a fixed amount of memory.
fn engine(model: &Model) -> Engine<'_> {
    let mut engine = Engine::new(model);
    (engine.compute, engine.max_memory) = (Compute::F64, Some(1 << 30));
    engine
}

fn term(output: u32) -> Term {
    Term { row: 0, output, score: Score::Logit, temperature: 1.0, weight: 1.0 }
}

/// Class 1 of a picture, or its second text; a feature for every row.
fn question(model: &Model) -> Question {
    let prompt = input(model, 13, 3);
    let features = (0..prompt.len()).map(|p| FeaturePositions { part: Part::Prompt, positions: vec![(p, 1.0)] }).collect();
    let target = Target { place: Place::Whole, tokens: vec![1], score: Score::Logit, ..Target::default() };
    Question { prompt, features, target, ..Question::default() }
}

fn assert_near(got: &[f64], expected: &[f64], relative: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= relative * largest, "{what}, entry {i}: {g} instead of {e}");
    }
}

#[test]
fn copies_that_go_up_together_are_those_that_go_alone_in_every_mode() {
    for (name, model) in of_pictures() {
        let engine = Engine::new(&model);
        let asks = vec![Ask { position: 0, tokens: vec![0, 1] }];
        let document = Document { input: input(&model, 13, 3), asks: asks.clone(), ..Document::default() };
        for (mode, factor) in Mode::ALL.into_iter().flat_map(|m| [(m, 0.1), (m, 0.0), (m, 2.0)]) {
            let control = |p| Control::new(mode, [(p, factor)], None).unwrap();
            let copies: Vec<Copy> = (0..13).map(|p| Copy { control: control(p), asks: asks.clone(), ..Copy::default() }).collect();
            let together = engine.up(std::slice::from_ref(&document), &copies, Readout::default()).unwrap();
            for (p, copy) in copies.into_iter().enumerate() {
                let alone = engine.up(std::slice::from_ref(&document), &[copy], Readout::default()).unwrap();
                assert_eq!(alone.copies[0], together.copies[p], "{name} {mode} {factor}, position {p}");
            }
        }
    }
}

#[test]
fn a_text_of_a_tower_loses_by_every_token_up_to_its_end() {
    let (_, model) = of_pictures().pop().unwrap();
    let question = question(&model);
    let atman = (METHODS[0].make)(json!({})).unwrap();
    for share_prefix in [true, false] {
        let mut engine = engine(&model);
        engine.share_prefix = share_prefix;
        // One token more than the text: what stands behind the end is seen by nothing that counts.
        let longer = question.prompt.symbols.iter().cloned().chain([pellucid::Symbol::Token(3)]).collect();
        let behind = FeaturePositions { part: Part::Prompt, positions: vec![(13, 1.0)] };
        let features = question.features.iter().cloned().chain([behind]).collect();
        let got = atman.attribute(&engine, &Question { prompt: longer, features, ..question.clone() }).unwrap();
        let scores: Vec<f64> = got.per_target_token.iter().map(|f| f[0]).collect();
        assert!(scores[..13].iter().all(|s| s.abs() > 1e-9), "{scores:?}");
        assert_eq!(scores[13], 0.0);
        let short = atman.attribute(&engine, &question).unwrap();
        assert_near(&scores[..13], &short.per_target_token.concat(), 1e-12, "with and without it");
    }
}

#[test]
fn the_walk_down_begins_at_the_scores_of_the_walk_up_and_its_gradient_is_a_finite_difference() {
    for (name, model) in of_pictures().into_iter().filter(|(_, model)| model.description().patches.is_some()) {
        let (engine, input) = (engine(&model), input(&model, 0, 5));
        let asks = vec![Ask { position: 0, tokens: vec![1] }];
        let document = Document { input: input.clone(), asks, ..Document::default() };
        let up = engine.up(&[document], &[], Readout::default()).unwrap().documents[0][0].tokens[0].logit;
        let clean = Descent { input, signals: vec![Signal { rules: Rules::GRADIENT, terms: vec![term(1)] }], ..Descent::default() };
        let wanted = Wanted { embeddings: true, ..Wanted::default() };
        let landed = engine.down(std::slice::from_ref(&clean), &wanted, &mut |_| Ok(())).unwrap().descents.remove(0);
        assert_near(&[landed.scores[0][0].logit], &[up], 1e-10, name);
        let reached = landed.embeddings.unwrap();
        let (h, last) = (1e-5, reached.value.len() - 1);
        let places = [last, last - 500, last - 1501];
        let moved = |at: usize, by: f64| {
            let mut pixels = reached.value.clone();
            pixels[at] += by;
            Descent { embedded: Some(pixels), ..clean.clone() }
        };
        let ends: Vec<Descent> = places.iter().flat_map(|at| [moved(*at, h), moved(*at, -h)]).collect();
        let landed = engine.down(&ends, &Wanted::default(), &mut |_| Ok(())).unwrap().descents;
        let slopes: Vec<f64> = landed.chunks(2).map(|l| (l[0].scores[0][0].logit - l[1].scores[0][0].logit) / (2.0 * h)).collect();
        assert_near(&places.map(|at| reached.signals[0][at]), &slopes, 1e-5, name);
    }
}

/// A model with layer scales, and the same with scales of 1 and maps that hold them. Powers of two, so that both are the same to the last bit.
fn scaled_and_folded(factor: impl Fn(usize) -> f32) -> [Model; 2] {
    let mut config = picture_sizes();
    config["model_type"] = "dinov2_with_registers".into();
    let mut scaled = tensors(&config, &[("classifier.weight", &[3, 128]), ("classifier.bias", &[3])]);
    scaled.iter_mut().filter(|(name, _)| name.ends_with(".lambda1")).for_each(|(_, (_, values))| {
        values.iter_mut().enumerate().for_each(|(i, x)| *x = factor(i));
    });
    let mut folded = scaled.clone();
    for layer in 0..3 {
        let layer = format!("dinov2_with_registers.encoder.layer.{layer}");
        for (scale, map) in [("layer_scale1", "attention.output.dense"), ("layer_scale2", "mlp.fc2")] {
            folded.get_mut(&format!("{layer}.{scale}.lambda1")).unwrap().1.fill(1.0);
            for part in ["weight", "bias"] {
                let (shape, values) = folded.get_mut(&format!("{layer}.{map}.{part}")).unwrap();
                let columns = if shape.len() == 2 { shape[1] } else { 1 };
                values.iter_mut().enumerate().for_each(|(i, x)| *x *= factor(i / columns));
            }
        }
    }
    [scaled, folded].map(|tensors| written(&config, &tensors))
}

#[test]
fn scales_of_layers_are_as_if_they_were_part_of_the_maps_before_them() {
    let answered = |model: &Model, entry: &pellucid::methods::Entry| -> Option<Outcome> {
        let method = (entry.make)(json!({})).unwrap();
        method.fits(model.description()).ok()?;
        method.attribute(&engine(model), &question(model)).ok()
    };
    let mut compared = Vec::new();
    for sign in [1.0, -1.0] {
        let [scaled, folded] = scaled_and_folded(|i| [0.5, sign, 2.0, 0.25, 4.0][i % 5]);
        for entry in METHODS {
            // A scale passes relevance on whole; a map that holds a scale below 0 divides it otherwise.
            let (Some(got), Some(expected)) = (answered(&scaled, entry), answered(&folded, entry)) else { continue };
            if entry.id == "lrp" && sign < 0.0 {
                continue;
            }
            // The αβ rules add 1e-9 wherever they divide.
            let tolerance = if entry.id == "lrp" { 1e-5 } else { 1e-9 };
            assert_near(&got.per_target_token.concat(), &expected.per_target_token.concat(), tolerance, entry.id);
            compared.push(entry.id);
        }
    }
    let all = ["atman", "occlusion", "attention-rollout", "attention-gradcam", "chefer", "lrp", "attn-lrp", "cp-lrp"];
    for id in all.into_iter().chain(["alti", "vector-norms", "value-zeroing", "ifr"]) {
        assert!(compared.contains(&id), "{id} was not compared, only {compared:?}");
    }
}

/// A control that the engine was given stays on in an explanation, together with the picture's own.
#[test]
fn an_explanation_keeps_the_engine_s_control() {
    let located = Located { id: "vit".into(), path: "../../cases/vit".into(), file: None };
    let mut loaded = open(&located).unwrap();
    loaded.preprocessing = Some(Preprocessing::vit(32));
    let rgb = (0..32 * 32 * 3).map(|i| (i * 7 % 251) as u8).collect();
    let picture = Box::new(Picture::from_rgb(32, 32, rgb, None).unwrap());
    let part = |left: f64, factor| RegionControl { region: Region { left, top: 0.0, width: 0.25, height: 0.25 }, factor };
    let logit = |engine: Control, controls: Vec<RegionControl>| {
        let prompt = Prompt::Image { picture: picture.clone(), regions: Vec::new(), controls };
        let request = Request { aim: Aim::Class("1".into()), ..Request::new(prompt, Box::new(Chefer::default())) };
        explain(&request, &loaded, &Engine::new(&loaded.model).under(engine)).unwrap().target.tokens[0].logit
    };
    // Patch (0, 0) is row 1 of the model, behind the class token.
    let own = Control::new(Mode::LogAdditive, [(1, 0.25)], None).unwrap();
    assert_ne!(logit(own.clone(), vec![]), logit(Control::none(), vec![]));
    assert_eq!(logit(own.clone(), vec![]), logit(Control::none(), vec![part(0.0, 0.25)]));
    assert_eq!(logit(own, vec![part(0.5, 0.0)]), logit(Control::none(), vec![part(0.0, 0.25), part(0.5, 0.0)]));
}

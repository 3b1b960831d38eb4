//! What every architecture keeps, whatever is asked of it: the shared suite.

mod made;
mod pictures;

use pellucid::{
    Compute, Control, Engine, Mode, Model, Symbol,
    core::{
        Input, Score,
        candle::{DType, Tensor},
        model::Outputs,
        rules::Rules,
        walk::{
            down::{Descent, Signal, Term, Wanted},
            trace::Site,
            up::{Answer, Ask, Copy, Document, Readout, TokenScore},
        },
    },
};
use serde_json::json;

use made::{input, load, made, of_pictures, symbols};

const DECODERS: [&str; 5] = ["gpt2", "gpt_neox", "gptj", "llama", "qwen2"];
const ENCODERS: [&str; 3] = ["bert", "distilbert", "roberta"];

/// Small encoders of which there is no case: other heads, shared blocks, means over rows.
fn others() -> [(&'static str, Model); 4] {
    let sizes = json!({
        "hidden_size": 64, "embedding_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 128,
        "max_position_embeddings": 64, "layer_norm_eps": 1e-12,
    });
    let of = |model_type: &str, architecture: &str| {
        let mut config = sizes.clone();
        config["model_type"] = model_type.into();
        config["architectures"] = json!([architecture]);
        made(config)
    };
    let vector = |salt: usize| (0..64).map(|i| ((i * 29 + salt * 17) % 31) as f64 / 31.0 - 0.5).collect();
    let guard = json!({
        "model_type": "nanoguard", "n_embd": 64, "n_layer": 3, "n_head": 4, "n_kv_head": 4, "vocab_size": 128, "sequence_len": 64,
        "num_labels": 2
    });
    [
        ("albert", of("albert", "AlbertForSequenceClassification")),
        ("masked bert", of("bert", "BertForMaskedLM")),
        ("compared bert", of("bert", "BertModel").compared_with(&[vector(1), vector(2)], 1.0).unwrap()),
        ("nanoguard", made(guard)),
    ]
}

fn each_of_pictures(work: impl Fn(&str, &Model)) {
    of_pictures().iter().filter(|(_, model)| model.description().patches.is_some()).for_each(|(name, model)| work(name, model));
}

fn each_decoder(work: impl Fn(&str, &Model)) {
    DECODERS.iter().for_each(|name| work(name, &load(name)));
}

fn each_encoder(work: impl Fn(&str, &Model)) {
    ENCODERS.iter().for_each(|name| work(name, &load(name)));
    others().iter().for_each(|(name, model)| work(name, model));
}

fn each(work: impl Fn(&str, &Model)) {
    each_decoder(&work);
    each_encoder(&work);
    of_pictures().iter().for_each(|(name, model)| work(name, model));
}

/// Rows that answer.
fn rows(model: &Model, length: u32) -> std::ops::Range<usize> {
    if model.description().outputs.pooling().is_some() { 0..1 } else { 0..length as usize }
}

/// A document of `length` tokens and a copy for every key suppressed alone, asked about its last rows.
fn perturbed(model: &Model, length: u32, salt: u32, mode: Mode, factor: f64) -> (Document, Vec<Copy>) {
    let tokens = if model.scores() == 128 { vec![7, 90] } else { vec![1, 0] };
    let asks: Vec<Ask> = rows(model, length).rev().take(3).map(|position| Ask { position, tokens: tokens.clone() }).collect();
    let control = |p| Control::new(mode, [(p, factor)], None).unwrap();
    let input = input(model, length, salt);
    let copies = (0..input.len()).map(|p| Copy { document: 0, input: None, control: control(p), asks: asks.clone() }).collect();
    (Document { input, control: Control::none(), asks }, copies)
}

fn numbers(answers: &[Vec<Answer>]) -> Vec<f64> {
    let token = |t: &TokenScore| [t.logit, t.log_probability];
    answers.iter().flatten().flat_map(|a| a.tokens.iter().flat_map(token).chain(a.logits.iter().copied())).collect()
}

fn furthest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|x| x.is_finite()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn a_factor_of_one_gives_the_clean_numbers_to_the_last_bit() {
    each(|name, model| {
        for mode in Mode::ALL {
            let mut engine = Engine::new(model);
            engine.share_prefix = false; // compute every copy anew, among others
            let (document, copies) = perturbed(model, 13, 1, mode, 1.0);
            let up = engine.up(&[document], &copies, Readout::default()).unwrap();
            for copy in &up.copies {
                assert_eq!(*copy, up.documents[0], "{name} {mode}");
            }
        }
    });
}

#[test]
fn sharing_the_prefix_changes_no_bit() {
    let towers = of_pictures().into_iter().filter(|(_, model)| model.description().causal);
    let decoders = DECODERS.iter().map(|name| (*name, load(name)));
    decoders.chain(towers).for_each(|(name, model)| {
        let model = &model;
        for (mode, factor) in Mode::ALL.into_iter().flat_map(|m| [(m, 0.1), (m, 0.0), (m, 3.0)]) {
            let (document, copies) = perturbed(model, 13, 2, mode, factor);
            let mut engine = Engine::new(model);
            let shared = engine.up(std::slice::from_ref(&document), &copies, Readout::default()).unwrap();
            engine.share_prefix = false;
            let whole = engine.up(&[document], &copies, Readout::default()).unwrap();
            assert_eq!(shared.copies, whole.copies, "{name} {mode} {factor}");
            assert!(shared.cost.rows < whole.cost.rows);
        }
    });
}

#[test]
fn a_batch_of_documents_equals_one_by_one() {
    each(|name, model| {
        let engine = Engine::new(model);
        let lengths = [13, 5, 9];
        let parts: Vec<_> = lengths.iter().map(|n| perturbed(model, *n, *n, Mode::LogAdditive, 0.1)).collect();
        let alone = parts.iter().map(|(d, c)| engine.up(std::slice::from_ref(d), c, Readout::default()).unwrap());
        let alone: Vec<f64> = alone.flat_map(|up| numbers(&up.copies)).collect();
        let documents: Vec<_> = parts.iter().map(|p| p.0.clone()).collect();
        let of = |(i, c): (usize, &Vec<Copy>)| c.iter().cloned().map(move |c| Copy { document: i, ..c }).collect::<Vec<_>>();
        let copies: Vec<_> = parts.iter().map(|p| &p.1).enumerate().flat_map(of).collect();
        let together = numbers(&engine.up(&documents, &copies, Readout::default()).unwrap().copies);
        assert_eq!(furthest(&alone, &together), 0.0, "{name}");
    });
}

#[test]
fn any_split_into_sweeps_gives_the_same_numbers() {
    each(|name, model| {
        let (document, copies) = perturbed(model, 13, 3, Mode::LogAdditive, 0.1);
        let clean = document.input.len() as u64;
        let documents = [document];
        let mut engine = Engine::new(model);
        let whole = engine.up(&documents, &copies, Readout::default()).unwrap();
        assert_eq!(whole.cost.sweeps, 1);
        let one_row = 4 * (model.description().d_model + model.description().beside) as u64;
        let mut sweeps = Vec::new();
        for rows in [60, 30, clean] {
            let fixed = whole.cost.peak_bytes - (whole.cost.rows - clean) * one_row;
            engine.max_memory = Some(fixed + rows * one_row);
            let split = engine.up(&documents, &copies, Readout::default()).unwrap();
            assert_eq!(furthest(&numbers(&whole.copies), &numbers(&split.copies)), 0.0, "{name}");
            assert!(split.cost.peak_bytes <= engine.max_memory.unwrap());
            sweeps.push(split.cost.sweeps);
        }
        assert!(sweeps[0] >= 2 && sweeps.is_sorted() && sweeps[2] > sweeps[0], "{name}: {sweeps:?}");
        engine.max_memory = Some(1000);
        let error = engine.up(&documents, &copies, Readout::default()).unwrap_err();
        assert!(error.to_string().contains("--max-memory"), "{error}");
    });
}

#[test]
fn the_fast_pass_equals_the_recording_pass_under_every_control() {
    each(|name, model| {
        for (compute, tolerance) in [(Compute::F32, 2e-4), (Compute::F64, 1e-9)] {
            let mut engine = Engine::new(model);
            engine.compute = compute;
            let input = input(model, 11, 4);
            for mode in Mode::ALL {
                for factors in [vec![], vec![(2, 0.1)], vec![(0, 0.0), (4, 2.0), (10, 0.3)]] {
                    let layers = [0, model.description().layers - 1];
                    let layers = (factors.len() == 1).then_some(&layers[..]);
                    let control = Control::new(mode, factors, layers).unwrap();
                    let asks = rows(model, 11).map(|position| Ask { position, tokens: vec![] }).collect();
                    let document = Document { input: input.clone(), control: control.clone(), asks };
                    let fast = engine.up(&[document], &[], Readout { logits: true, ..Readout::default() }).unwrap();
                    let mut recorded = Vec::new();
                    let mut keep = |site: Site, tensor: &Tensor| {
                        if site == Site::Logits {
                            recorded = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
                        }
                        Ok(())
                    };
                    engine.trace(&input, &control, &mut keep).unwrap();
                    let off = furthest(&numbers(&fast.documents), &recorded);
                    assert!(off <= tolerance, "{name} {mode} {:?}: {off:e}", compute);
                }
            }
        }
    });
}

/// An engine under a control does to every walk what the control does to a document of its own.
#[test]
fn an_engine_under_a_control_walks_as_documents_under_it_do() {
    each(|name, model| {
        let control = Control::new(Mode::LogAdditive, [(1, 0.0), (4, 2.5)], None).unwrap();
        let (plain, input) = (Engine::new(model), input(model, 9, 3));
        let under = Engine::new(model).under(control.clone());
        let asks: Vec<Ask> = rows(model, 9).map(|position| Ask { position, tokens: vec![] }).collect();
        let readout = Readout { logits: true, ..Readout::default() };
        let own = |factor| Control::new(Mode::LogAdditive, [(4, factor), (6, 0.3)], None).unwrap();
        let walk = |engine: &Engine<'_>, clean: Control, changed: Control| {
            let document = Document { input: input.clone(), control: clean, asks: asks.clone() };
            let copy = Copy { document: 0, input: None, control: changed, asks: asks.clone() };
            let up = engine.up(&[document], &[copy], readout).unwrap();
            [numbers(&up.documents), numbers(&up.copies)].concat()
        };
        let both = Control::new(Mode::LogAdditive, [(1, 0.0), (4, 2.5 * 0.2), (6, 0.3)], None).unwrap();
        let (got, expected) = (walk(&under, Control::none(), own(0.2)), walk(&plain, control.clone(), both));
        assert_eq!(furthest(&got, &expected), 0.0, "{name}");
        let traced = |engine: &Engine<'_>, control: &Control| {
            let mut last: Vec<f64> = Vec::new();
            let mut keep = |_: Site, tensor: &Tensor| {
                last = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
                Ok(())
            };
            engine.trace(&input, control, &mut keep).unwrap();
            last
        };
        assert_eq!(traced(&under, &Control::none()), traced(&plain, &control), "{name}");
        if model.scores() > 0 {
            let term = Term { row: 0, output: 0, score: Score::Logit, temperature: 1.0, weight: 1.0 };
            let down = |engine: &Engine<'_>, control: Control| {
                let signals = vec![Signal { rules: Rules::GRADIENT, terms: vec![term] }];
                let descent = Descent { input: input.clone(), control, signals, ..Descent::default() };
                let wanted = Wanted { hidden: vec![0], ..Wanted::default() };
                engine.down(&[descent], &wanted, &mut |_| Ok(())).unwrap().descents.pop().unwrap()
            };
            assert_eq!(down(&under, Control::none()), down(&plain, control.clone()), "{name}");
        }
        let refused = Control::new(Mode::Multiply, [(0, 0.5)], None).unwrap();
        assert!(under.trace(&input, &refused, &mut |_: Site, _: &Tensor| Ok(())).unwrap_err().to_string().contains("cannot act together"));
    });
}

/// Copies whose control acts in some layers only, beside others that read something else: each equals the same control on a document of its own,
/// to the last bit, and costs less the later it begins.
#[test]
fn copies_begin_where_they_begin_to_differ() {
    each(|name, model| {
        let engine = Engine::new(model);
        let (layers, input) = (model.description().layers, input(model, 11, 4));
        let asks: Vec<Ask> = rows(model, 11).map(|position| Ask { position, tokens: vec![] }).collect();
        let readout = Readout { logits: true, ..Readout::default() };
        let control = |layers: &[usize]| Control::new(Mode::LogAdditive, [(2, 0.1), (5, 0.0)], Some(layers)).unwrap();
        let chosen: Vec<Vec<usize>> = vec![(0..layers).collect(), vec![layers - 1], (1..layers).collect(), vec![0]];
        let copies: Vec<Copy> = chosen.iter().map(|l| Copy { document: 0, input: None, control: control(l), asks: asks.clone() }).collect();
        let clean = Document { input: input.clone(), ..Document::default() };
        let together = engine.up(std::slice::from_ref(&clean), &copies, readout).unwrap();
        let mut costs = Vec::new();
        for (i, layers) in chosen.iter().enumerate() {
            let own = Document { input: input.clone(), control: control(layers), asks: asks.clone() };
            let alone = engine.up(&[own], &[], readout).unwrap();
            assert_eq!(furthest(&numbers(&together.copies[i..=i]), &numbers(&alone.documents)), 0.0, "{name} {layers:?}");
            costs.push(engine.estimate(std::slice::from_ref(&clean), &copies[i..=i]).unwrap().gflop);
        }
        assert!(costs[1] <= costs[2] && costs[2] < costs[0] && costs[3] == costs[0], "{name}: {costs:?}");
    });
}

#[test]
fn suppressing_everything_never_gives_nan() {
    each(|name, model| {
        for mode in Mode::ALL {
            for factor in [0.0, 1e-30, 1e30] {
                let control = Control::new(mode, (0..9).map(|p| (p, factor)), None).unwrap();
                let asks = rows(model, 9).map(|position| Ask { position, tokens: vec![1] }).collect();
                let copy = Copy { document: 0, input: None, control, asks };
                let document = Document { input: input(model, 9, 5), control: Control::none(), asks: vec![] };
                let up = Engine::new(model).up(&[document], &[copy], Readout::default()).unwrap();
                assert!(numbers(&up.copies).iter().all(|x| x.is_finite()), "{name} {mode} {factor}");
            }
        }
    });
}

#[test]
fn growing_a_text_gives_the_logits_of_reading_it_whole() {
    each_decoder(|name, model| {
        let engine = Engine::new(model);
        for mode in Mode::ALL {
            let control = Control::new(mode, [(1, 0.1), (3, 4.0)], None).unwrap();
            let mut decoder = engine.decoder(vec![control.clone(), Control::none()]).unwrap();
            let symbols = symbols(10, 6);
            let mut grown = decoder.push(&[symbols[..6].to_vec(), symbols[..6].to_vec()]).unwrap();
            for next in &symbols[6..] {
                grown = decoder.push(&[vec![next.clone()], vec![next.clone()]]).unwrap();
            }
            let ask = vec![Ask { position: 9, tokens: vec![] }];
            let document = |control| Document { input: symbols.clone().into(), control, asks: ask.clone() };
            let documents = [document(control), document(Control::none())];
            let whole = engine.up(&documents, &[], Readout { logits: true, ..Readout::default() }).unwrap();
            for (grown, whole) in grown.iter().zip(&whole.documents) {
                assert!(furthest(grown, &whole[0].logits) <= 1e-5, "{name} {mode}");
            }
        }
    });
}

#[test]
fn what_does_not_suit_the_model_is_refused_by_name() {
    let model = load("llama");
    let engine = Engine::new(&model);
    let ask = |position, token| vec![Ask { position, tokens: vec![token] }];
    let run = |input: Input, asks| {
        let document = Document { input, control: Control::none(), asks };
        engine.up(&[document], &[], Readout::default()).unwrap_err().to_string()
    };
    let input = |length| Input::from(symbols(length, 0));
    assert!(run(input(0), vec![]).contains("empty"));
    assert!(run(input(3), ask(3, 0)).contains("target position 3 is outside the input, which has 3 tokens"));
    assert!(run(input(3), ask(2, 128)).contains("target token id 128"));
    assert!(run([Symbol::Token(128)].into(), vec![]).contains("token id 128 is outside the vocabulary, which has 128 tokens"));
    assert!(run(input(65), vec![]).contains("the input has 65 tokens, the model takes at most 64"));
    assert!(run([Symbol::Vector(vec![0.0; 3].into())].into(), vec![]).contains("3 numbers"));
    assert!(run([Symbol::Vector(vec![f32::NAN; 64].into())].into(), vec![]).contains("not finite"));
}

#[test]
fn in_an_encoder_every_row_sees_every_change() {
    each_encoder(|name, model| {
        let engine = Engine::new(model);
        let (document, copies) = perturbed(model, 13, 7, Mode::LogAdditive, 0.1);
        let up = engine.up(&[document], &copies, Readout::default()).unwrap();
        assert_eq!(up.cost.rows, 13 * 14, "{name}: every copy carries every row");
        for (key, copy) in up.copies.iter().enumerate() {
            assert_ne!(numbers(std::slice::from_ref(copy)), numbers(&up.documents), "{name}: key {key}");
        }
    });
}

#[test]
fn in_a_picture_every_row_sees_every_change_and_a_copy_may_be_of_another_picture() {
    each_of_pictures(|name, model| {
        let engine = Engine::new(model);
        let (document, mut copies) = perturbed(model, 0, 7, Mode::MinShift, 0.1);
        let n = document.input.len() as u64;
        let other = Document { input: input(model, 0, 8), ..document.clone() };
        copies.push(Copy { document: 0, input: Some(other.input.clone()), control: Control::none(), asks: other.asks.clone() });
        let up = engine.up(&[document, other], &copies, Readout::default()).unwrap();
        assert_eq!(up.cost.rows, n * (n + 3), "{name}: every copy carries every row");
        let (last, suppressed) = up.copies.split_last().unwrap();
        assert_eq!(*last, up.documents[1], "{name}");
        for (key, copy) in suppressed.iter().enumerate() {
            assert_ne!(numbers(std::slice::from_ref(copy)), numbers(&up.documents[..1]), "{name}: key {key}");
        }
    });
}

#[test]
fn a_copy_may_be_of_another_input_and_of_other_kinds() {
    each_encoder(|name, model| {
        let engine = Engine::new(model);
        let (document, _) = perturbed(model, 9, 8, Mode::default(), 1.0);
        let other = Document { input: input(model, 9, 9), ..document.clone() };
        let plain = Document { input: symbols(9, 8).into(), ..document.clone() };
        let copy = |d: &Document| Copy { document: 0, input: Some(d.input.clone()), control: Control::none(), asks: d.asks.clone() };
        let up = engine.up(&[document, other.clone(), plain.clone()], &[copy(&other), copy(&plain)], Readout::default()).unwrap();
        assert_eq!(up.copies[..], up.documents[1..], "{name}");
        assert_ne!(up.documents[0], up.documents[1], "{name}");
        assert_eq!(up.documents[0] == up.documents[2], model.description().types < 2, "{name}: kinds matter where there are some");
    });
}

#[test]
fn what_does_not_suit_an_encoder_is_refused_by_name() {
    let refused = |model: &Model, input: Input, position, token| {
        let document = Document { input, control: Control::none(), asks: vec![Ask { position, tokens: vec![token] }] };
        Engine::new(model).up(&[document], &[], Readout::default()).unwrap_err().to_string()
    };
    let bert = load("bert");
    let kinds = |types: &[u32]| Input { types: types.into(), ..symbols(3, 0).into() };
    assert!(refused(&bert, kinds(&[]), 0, 3).contains("no class 3: the model has 3 classes"));
    assert!(refused(&bert, kinds(&[]), 1, 0).contains("all positions become one"));
    assert!(refused(&bert, kinds(&[0, 1]), 0, 0).contains("2 token types for 3 positions"));
    assert!(refused(&bert, kinds(&[0, 1, 2]), 0, 0).contains("token type 2 is unknown to the model, which tells 2 apart"));
    assert!(refused(&load("roberta"), symbols(65, 0).into(), 0, 0).contains("the input has 65 tokens, the model takes at most 64"));
    assert!(Engine::new(&bert).decoder(vec![Control::none()]).unwrap_err().to_string().contains("not causal"));
    for (_, model) in others() {
        if matches!(model.description().outputs, Outputs::Embedding { .. }) {
            assert!(refused(&model, symbols(3, 0).into(), 0, 2).contains("no score 2: the input is compared with 2 texts"));
        }
    }
}

#[test]
fn an_input_of_nothing_but_fillers_is_refused_on_the_way_up_and_down() {
    let seen = std::cell::Cell::new(0);
    each(|_, model| {
        let Some(filler) = model.description().filler else { return };
        seen.set(seen.get() + 1);
        let input = Input::tokens(&[filler; 3]);
        let engine = Engine::new(model);
        let asks = vec![Ask { position: 0, tokens: vec![0] }];
        let up = engine.up(&[Document { input: input.clone(), asks, ..Document::default() }], &[], Readout::default());
        let down = engine.down(&[Descent { input, ..Descent::default() }], &Wanted::default(), &mut |_| Ok(()));
        for error in [up.unwrap_err(), down.unwrap_err()] {
            assert!(error.to_string().contains("nothing but filler tokens"), "{error}");
        }
    });
    assert_eq!(seen.get(), 1, "one of the models has fillers");
}

//! What every architecture keeps, whatever is asked of it: the shared suite.

use std::{path::Path, sync::Arc};

use pellucid::{
    Compute, Control, Engine, Loaded, Mode, Symbol,
    core::{
        candle::{DType, Tensor},
        walk::{
            trace::Site,
            up::{Answer, Ask, Copy, Document, Readout},
        },
    },
    models::{open, source::Located},
};

const ARCHITECTURES: [&str; 5] = ["gpt2", "gpt_neox", "gptj", "llama", "qwen2"];

fn load(case: &str) -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases").join(case);
    open(&Located { id: case.into(), path, file: None }).unwrap()
}

fn each(work: impl Fn(&str, &Loaded)) {
    ARCHITECTURES.iter().for_each(|name| work(name, &load(name)));
}

fn input(length: u32, salt: u32) -> Arc<[Symbol]> {
    (0..length).map(|i| Symbol::Token((i * 37 + salt * 11 + 5) % 128)).collect()
}

/// A document of `length` tokens and a copy for every key suppressed alone, asked about its last rows.
fn perturbed(length: u32, salt: u32, mode: Mode, factor: f64) -> (Document, Vec<Copy>) {
    let asks: Vec<Ask> = (length - 3..length).map(|p| Ask { position: p as usize, tokens: vec![7, 90] }).collect();
    let control = |p| Control::new(mode, [(p as usize, factor)], None).unwrap();
    let copies = (0..length).map(|p| Copy { document: 0, symbols: None, control: control(p), asks: asks.clone() }).collect();
    (Document { symbols: input(length, salt), control: Control::none(), asks }, copies)
}

fn numbers(answers: &[Vec<Answer>]) -> Vec<f64> {
    let token = |t: &pellucid::core::walk::up::TokenScore| [t.logit, t.log_probability];
    answers.iter().flatten().flat_map(|a| a.tokens.iter().flat_map(token).chain(a.logits.iter().copied())).collect()
}

fn furthest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|x| x.is_finite()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn a_factor_of_one_gives_the_clean_numbers_to_the_last_bit() {
    each(|name, loaded| {
        for mode in Mode::ALL {
            let mut engine = Engine::new(&loaded.model);
            engine.share_prefix = false; // compute every copy anew, among others
            let (document, copies) = perturbed(13, 1, mode, 1.0);
            let up = engine.up(&[document], &copies, Readout::default()).unwrap();
            for copy in &up.copies {
                assert_eq!(*copy, up.documents[0], "{name} {mode}");
            }
        }
    });
}

#[test]
fn sharing_the_prefix_changes_no_bit() {
    each(|name, loaded| {
        for (mode, factor) in Mode::ALL.into_iter().flat_map(|m| [(m, 0.1), (m, 0.0), (m, 3.0)]) {
            let (document, copies) = perturbed(13, 2, mode, factor);
            let mut engine = Engine::new(&loaded.model);
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
    each(|name, loaded| {
        let engine = Engine::new(&loaded.model);
        let lengths = [13, 5, 9];
        let parts: Vec<_> = lengths.iter().map(|n| perturbed(*n, *n, Mode::LogAdditive, 0.1)).collect();
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
    each(|name, loaded| {
        let (document, copies) = perturbed(13, 3, Mode::LogAdditive, 0.1);
        let documents = [document];
        let mut engine = Engine::new(&loaded.model);
        let whole = engine.up(&documents, &copies, Readout::default()).unwrap();
        assert_eq!(whole.cost.sweeps, 1);
        let one_row = 64 * 4;
        let mut sweeps = Vec::new();
        for rows in [60, 30, 13] {
            let fixed = whole.cost.peak_bytes - (whole.cost.rows - 13) * one_row;
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
    each(|name, loaded| {
        for (compute, tolerance) in [(Compute::F32, 2e-4), (Compute::F64, 1e-9)] {
            let mut engine = Engine::new(&loaded.model);
            engine.compute = compute;
            let symbols = input(11, 4);
            for mode in Mode::ALL {
                for factors in [vec![], vec![(2, 0.1)], vec![(0, 0.0), (4, 2.0), (10, 0.3)]] {
                    let layers = (factors.len() == 1).then_some(&[0, 2][..]);
                    let control = Control::new(mode, factors, layers).unwrap();
                    let asks = (0..11).map(|position| Ask { position, tokens: vec![] }).collect();
                    let document = Document { symbols: symbols.clone(), control: control.clone(), asks };
                    let fast = engine.up(&[document], &[], Readout { logits: true, ..Readout::default() }).unwrap();
                    let mut recorded = Vec::new();
                    let mut keep = |site: Site, tensor: &Tensor| {
                        if site == Site::Logits {
                            recorded = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
                        }
                        Ok(())
                    };
                    engine.trace(&symbols, &control, &mut keep).unwrap();
                    let off = furthest(&numbers(&fast.documents), &recorded);
                    assert!(off <= tolerance, "{name} {mode} {:?}: {off:e}", compute);
                }
            }
        }
    });
}

#[test]
fn suppressing_everything_never_gives_nan() {
    each(|name, loaded| {
        for mode in Mode::ALL {
            for factor in [0.0, 1e-30, 1e30] {
                let symbols = input(9, 5);
                let control = Control::new(mode, (0..9).map(|p| (p, factor)), None).unwrap();
                let asks = (0..9).map(|position| Ask { position, tokens: vec![1] }).collect();
                let copy = Copy { document: 0, symbols: None, control, asks };
                let document = Document { symbols, control: Control::none(), asks: vec![] };
                let up = Engine::new(&loaded.model).up(&[document], &[copy], Readout::default()).unwrap();
                assert!(numbers(&up.copies).iter().all(|x| x.is_finite()), "{name} {mode} {factor}");
            }
        }
    });
}

#[test]
fn growing_a_text_gives_the_logits_of_reading_it_whole() {
    each(|name, loaded| {
        let engine = Engine::new(&loaded.model);
        for mode in Mode::ALL {
            let control = Control::new(mode, [(1, 0.1), (3, 4.0)], None).unwrap();
            let mut decoder = engine.decoder(vec![control.clone(), Control::none()]).unwrap();
            let symbols = input(10, 6);
            let mut grown = decoder.push(&[symbols[..6].to_vec(), symbols[..6].to_vec()]).unwrap();
            for next in &symbols[6..] {
                grown = decoder.push(&[vec![next.clone()], vec![next.clone()]]).unwrap();
            }
            let ask = vec![Ask { position: 9, tokens: vec![] }];
            let document = |control| Document { symbols: symbols.clone(), control, asks: ask.clone() };
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
    let loaded = load("llama");
    let engine = Engine::new(&loaded.model);
    let ask = |position, token| vec![Ask { position, tokens: vec![token] }];
    let run = |symbols: Arc<[Symbol]>, asks| {
        let document = Document { symbols, control: Control::none(), asks };
        engine.up(&[document], &[], Readout::default()).unwrap_err().to_string()
    };
    assert!(run([].into(), vec![]).contains("empty"));
    assert!(run(input(3, 0), ask(3, 0)).contains("target position 3 is outside the input, which has 3 tokens"));
    assert!(run(input(3, 0), ask(2, 128)).contains("target token id 128"));
    assert!(run([Symbol::Token(128)].into(), vec![]).contains("token id 128 is outside the vocabulary, which has 128 tokens"));
    assert!(run(input(65, 0), vec![]).contains("the input has 65 tokens, the model takes at most 64"));
    assert!(run([Symbol::Vector(vec![0.0; 3].into())].into(), vec![]).contains("3 numbers"));
    assert!(run([Symbol::Vector(vec![f32::NAN; 64].into())].into(), vec![]).contains("not finite"));
}

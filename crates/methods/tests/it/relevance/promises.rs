//! What relevance through attention and αβ relevance promise.

use pellucid_core::{
    Control, Input, Mode, Question, Score,
    model::{Description, Outputs, Pooling},
    rules::{AlphaBeta, Rules},
    walk::down::{Descent, Signal, Term, Wanted},
};
use pellucid_methods::{
    Attention, AttentionRollout, Chefer, METHODS,
    carried::{Carried, Carry, FirstToken, Layer, Step, all_rows, asked_row},
    find,
};
use serde_json::json;

use super::{TOLERANCE, assert_close, attribute, class, continuation, engine, model, off, row, symbols, whole};

/// Every setting of the methods here that suits gpt2 and bert.
fn settings() -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("attention", json!({})),
        ("attention-rollout", json!({})),
        ("attention-rollout", json!({"normalize": false, "start_layer": "last"})),
        ("attention-gradcam", json!({})),
        ("attention-gradcam", json!({"normalize": "min-max"})),
        ("chefer", json!({})),
        ("chefer", json!({"source": "lrp", "normalize_scores": "sum"})),
        ("lrp", json!({})),
        ("lrp", json!({"variant": "rollout", "rules": "original"})),
        ("lrp", json!({"variant": "last-layer", "gradient": true})),
        ("lrp", json!({"variant": "second-layer", "rules": "detr"})),
        ("lrp", json!({"variant": "full"})),
    ]
}

/// Whether a method looks at the target's row only.
fn blind(method: &str) -> bool {
    method == "attention" || method == "attention-rollout"
}

#[test]
fn rollout_and_attention_sum_to_one() {
    for (case, question) in [("llama", continuation(&[62, 99, 8], Score::Logit)), ("bert", class(2)), ("roberta", class(0))] {
        let loaded = model(case);
        let engine = engine(&loaded);
        for method in ["attention", "attention-rollout"] {
            let got = attribute(&engine, method, json!({}), &question);
            (0..question.target.tokens.len()).for_each(|t| assert!((row(&got, t).iter().sum::<f64>() - 1.0).abs() < TOLERANCE));
        }
        let got = attribute(&engine, "attention-rollout", json!({"normalize": false}), &question);
        let expected = 2f64.powi(engine.model.description().layers as i32);
        assert!((row(&got, 0).iter().sum::<f64>() - expected).abs() < TOLERANCE, "{case}");
    }
}

#[test]
fn one_layer_gives_the_closed_form() {
    let loaded = model("gptj");
    let (engine, question) = (engine(&loaded), continuation(&[62], Score::Logit));
    let attention = row(&attribute(&engine, "attention", json!({}), &question), 0);
    let rollout = row(&attribute(&engine, "attention-rollout", json!({"start_layer": "last"}), &question), 0);
    let own = |p: usize| f64::from(u8::from(p == 6));
    let expected: Vec<f64> = attention.iter().enumerate().map(|(p, a)| (a + own(p)) / 2.0).collect();
    assert_close(&rollout, &expected, TOLERANCE, "(A + I)/2");

    let whole = whole(&engine, &question, 0, Score::Logit, &[Rules::GRADIENT]);
    let (pattern, gradient) = (&whole.pattern[2], &whole.signals[0][2]);
    let mean = |p: usize| pattern.iter().zip(gradient).map(|(a, g)| (a[6][p] * g[6][p]).max(0.0)).sum::<f64>() / pattern.len() as f64;
    let expected: Vec<f64> = (0..7).map(|p| own(p) + mean(p)).collect();
    let got = row(&attribute(&engine, "chefer", json!({"start_layer": 2, "identity": true}), &question), 0);
    assert_close(&got, &expected, TOLERANCE, "I + Ā");
}

#[test]
fn a_carried_row_is_that_row_of_the_whole_matrix() {
    let loaded = model("bert");
    let engine = engine(&loaded);
    let d = engine.model.description();
    let carries: [Carry; 3] = [
        AttentionRollout::default().carry(d).unwrap(),
        Chefer::default().carry(d).unwrap(),
        Attention { layer: Layer::Number(1), ..Attention::default() }.carry(d).unwrap(),
    ];
    for carry in carries {
        let descent = descent(&class(1), &carry.rules, Control::none());
        let rows = (0..7).map(|p| Carried::new(0, 0, 7, asked_row(&Description::default(), p, &Input::tokens(&[0; 7]))));
        let mut carried: Vec<Carried> = rows.chain([Carried::new(0, 0, 7, all_rows(7))]).collect();
        carry.walk(&engine, &[descent], &mut carried).unwrap();
        let single: Vec<f64> = carried[..7].iter().flat_map(|c| c.values().to_vec()).collect();
        assert_eq!(single, carried[7].values(), "{:?}", carry.of);
    }
}

#[test]
fn where_a_model_averages_rows_the_mean_row_is_carried() {
    let names = vec!["a".into(), "b".into()];
    let mean = Description { outputs: Outputs::Classes { pooling: Pooling::Mean, names }, ..Description::default() };
    assert_eq!(asked_row(&mean, 0, &Input::tokens(&[0; 4])), [0.25; 4]);
    assert_eq!(asked_row(&Description::default(), 2, &Input::tokens(&[0; 4])), [0.0, 0.0, 1.0, 0.0]);
}

#[test]
fn a_layer_without_positive_entries_leaves_the_identity() {
    for step in [Step::Add, Step::Normalized] {
        let mut carried = Carried::new(0, 0, 3, all_rows(3));
        for _layer in 0..2 {
            carried.pass(step, 0..2, &[0.0; 6]);
            carried.pass(step, 2..3, &[0.0; 3]);
        }
        assert_eq!(carried.values(), all_rows(3));
        carried.drop_identity();
        assert_eq!(carried.values(), [0.0; 9]);
    }
}

#[test]
fn without_the_identities_a_row_is_what_came_through_some_attention() {
    let matrix = [0.5, 0.5, 0.0, 1.0];
    for (step, own) in [(Step::Add, [1.0, 1.0]), (Step::Normalized, [0.25, 0.25])] {
        let mut carried = Carried::new(0, 0, 2, all_rows(2));
        for _layer in 0..2 {
            carried.pass(step, 0..2, &matrix);
        }
        let with = carried.values().to_vec();
        carried.drop_identity();
        // Two layers: 1·1 where identities are added, ½·½ where each row of C + I (sum 2) is divided by its sum.
        let expected = [with[0] - own[0], with[1], with[2], with[3] - own[1]];
        assert_eq!(carried.values(), expected);
    }
}

#[test]
fn rows_pass_a_layer_by_hand() {
    let matrix = [0.5, 0.5, 0.0, 1.0];
    let after = |step| {
        let mut carried = Carried::new(0, 0, 2, vec![2.0, 1.0]);
        carried.pass(step, 0..1, &matrix[..2]);
        carried.pass(step, 1..2, &matrix[2..]);
        carried.values().to_vec()
    };
    assert_eq!(after(Step::Replace), [1.0, 2.0]); // 2·(½, ½) + 1·(0, 1)
    assert_eq!(after(Step::Add), [3.0, 3.0]);
    assert_eq!(after(Step::Normalized), [1.5, 1.5]); // 2·(¾, ¼) + 1·(0, 1)
}

#[test]
fn each_target_token_has_a_signal_of_its_own() {
    let loaded = model("gpt2");
    let engine = engine(&loaded);
    let question = continuation(&[62, 99, 8], Score::Logit);
    for (method, parameters) in settings() {
        let together = attribute(&engine, method, parameters.clone(), &question);
        for t in 0..3 {
            let mut alone = continuation(&[question.target.tokens[t]], Score::Logit);
            let read = [&super::PROMPT[..], &question.target.tokens[..t]].concat();
            alone.features = super::features(read.len(), read.len());
            alone.prompt = symbols(&read).into();
            let got = row(&attribute(&engine, method, parameters.clone(), &alone), 0);
            let expected = row(&together, t);
            let scale = expected.iter().copied().fold(1.0, |m: f64, x| m.max(x.abs()));
            // Rows after the target's get no signal, so that sums over all positions (αβ additions) do not see them; GradCAM's mean counts them.
            if method != "attention-gradcam" {
                assert!(off(&got, &expected[..got.len()]) < 1e-7 * scale, "{method} {parameters} token {t}");
                assert!(expected[got.len()..].iter().all(|x| x.abs() < TOLERANCE), "{method} {parameters}: later tokens score 0");
            }
        }
    }
}

#[test]
fn a_contrast_scores_what_it_would_as_a_target() {
    for (case, mut question, contrast) in [("gpt2", continuation(&[62, 99], Score::Logit), vec![17, 8, 40]), ("bert", class(0), vec![2])] {
        let loaded = model(case);
        let engine = engine(&loaded);
        question.features.truncate(7);
        for (method, parameters) in settings().into_iter().filter(|(method, _)| !blind(method)) {
            let mut both = question.clone();
            both.target.contrast = Some(contrast.clone());
            let got = attribute(&engine, method, parameters.clone(), &both);
            let mut turned = question.clone();
            turned.target.tokens.clone_from(&contrast);
            let expected = attribute(&engine, method, parameters.clone(), &turned);
            assert_eq!(got.per_contrast_token, expected.per_target_token, "{case} {method} {parameters}");
            assert_eq!(got.clean_contrast, expected.clean, "{case} {method}");
            assert_eq!(got.per_target_token, attribute(&engine, method, parameters, &question).per_target_token, "{case} {method}");
        }
    }
}

#[test]
fn another_class_is_another_explanation_but_not_another_rollout() {
    let loaded = model("bert");
    let engine = engine(&loaded);
    for (method, parameters) in settings() {
        let [a, b] = [0, 1].map(|c| attribute(&engine, method, parameters.clone(), &class(c)).per_target_token);
        assert_eq!(a == b, blind(method), "{method} {parameters}");
    }
}

#[test]
fn a_contrast_that_would_leave_nothing_is_refused() {
    let loaded = model("bert");
    let mut question = class(0);
    question.target.contrast = Some(vec![1]);
    for method in ["attention", "attention-rollout"] {
        let method = (find(method).unwrap().make)(json!({})).unwrap();
        let message = method.attribute(&engine(&loaded), &question).unwrap_err().to_string();
        assert!(message.starts_with(method.id()) && message.contains("contrast"), "{message}");
        assert_eq!(method.estimate(&engine(&loaded), &question).unwrap_err().to_string(), message);
    }
}

fn descent(question: &Question, rules: &[Rules], control: Control) -> Descent {
    let term = Term { row: question.row(0), output: question.target.tokens[0], score: Score::Logit, temperature: 1.0, weight: 1.0 };
    let signals = rules.iter().map(|rules| Signal { rules: *rules, terms: vec![term] }).collect();
    Descent { input: question.prompt.clone(), control, signals, ..Descent::default() }
}

/// Sums of relevance at the input of every block.
fn sums(case: &str, question: &Question, rules: AlphaBeta) -> Vec<f64> {
    let loaded = model(case);
    let engine = engine(&loaded);
    let hidden = (0..engine.model.description().layers).collect();
    let descent = descent(question, &[Rules::AlphaBeta(rules)], Control::none());
    let landing = engine.down(&[descent], &Wanted { hidden, ..Wanted::default() }, &mut |_| Ok(())).unwrap();
    landing.descents[0].hidden.iter().map(|reached| reached.signals[0].iter().sum()).collect()
}

#[test]
fn relevance_sums_to_one_at_every_block_under_the_papers_rules() {
    // Each division takes 1e-9 from its denominator; over these blocks that comes to between 1e-8 and 4e-8.
    for (case, question) in [("bert", class(0)), ("bert", class(2)), ("distilbert", class(1)), ("gpt2", continuation(&[62], Score::Logit))]
    {
        for rules in [AlphaBeta::Ours, AlphaBeta::Detr] {
            let sums = sums(case, &question, rules);
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-7), "{case} {rules:?}: {sums:?}");
        }
        let plain = sums(case, &question, AlphaBeta::Original);
        assert!(plain.iter().any(|sum| (sum - 1.0).abs() > 0.1), "{case}: the plain rules do not conserve: {plain:?}");
    }
}

#[test]
fn full_relevance_says_whether_it_was_conserved() {
    let loaded = model("bert");
    let engine = engine(&loaded);
    let got = attribute(&engine, "lrp", json!({"variant": "full", "first_token": "zero"}), &class(1));
    let [promise] = &got.promises[..] else { panic!("one promise a target token") };
    assert_eq!((promise.name.as_str(), promise.target_token, promise.expected), ("conservation", 0, 1.0));
    assert!((promise.got - 1.0).abs() < 1e-7, "{}", promise.got);
    assert!(attribute(&engine, "lrp", json!({"variant": "full", "rules": "original"}), &class(1)).promises.is_empty());
    assert!(attribute(&engine, "lrp", json!({}), &class(1)).promises.is_empty());
}

#[test]
fn lrp_computes_in_f64_whatever_the_engine_does() {
    let loaded = model("bert");
    let mut engine = engine(&loaded);
    let expected = attribute(&engine, "lrp", json!({}), &class(1));
    engine.compute = pellucid_core::Compute::F32;
    let got = attribute(&engine, "lrp", json!({}), &class(1));
    assert_eq!((got.per_target_token, got.clean), (expected.per_target_token, expected.clean));
}

#[test]
fn pads_get_nothing_and_change_nothing() {
    let loaded = model("bert");
    let engine = engine(&loaded);
    let d = engine.model.description();
    let carries =
        [AttentionRollout::default().carry(d).unwrap(), Chefer::default().carry(d).unwrap(), Attention::default().carry(d).unwrap()];
    for carry in carries {
        let through = |question: &Question, control| {
            let n = question.prompt.len();
            let mut carried = [Carried::new(0, 0, n, asked_row(d, 0, &Input::tokens(&vec![0; n])))];
            carry.walk(&engine, &[descent(question, &carry.rules, control)], &mut carried).unwrap();
            carried[0].values().to_vec()
        };
        let mut padded = class(1);
        padded.prompt = symbols(&[2, 17, 33, 8, 54, 21, 3, 0, 0]).into();
        let control = Control::new(Mode::LogAdditive, [(7, 0.0), (8, 0.0)], None).unwrap();
        let got = through(&padded, control);
        assert_close(&got[..7], &through(&class(1), Control::none()), TOLERANCE, "padded");
        assert_eq!(got[7..], [0.0, 0.0]);
    }
}

#[test]
fn a_single_position_gets_everything() {
    let loaded = model("gpt2");
    let engine = engine(&loaded);
    let mut question = continuation(&[62], Score::Logit);
    (question.prompt, question.features) = (symbols(&[5]).into(), super::features(1, 1));
    for (method, parameters) in settings() {
        let got = row(&attribute(&engine, method, parameters.clone(), &question), 0);
        assert!(got.len() == 1 && got[0].is_finite(), "{method} {parameters}: {got:?}");
        if method == "attention" || parameters == json!({}) && method == "attention-rollout" {
            assert!((got[0] - 1.0).abs() < TOLERANCE, "{method}: {got:?}");
        }
        if parameters["normalize"] == "min-max" {
            assert_eq!(got, [0.0], "a constant map is zeros");
        }
    }
}

#[test]
fn scores_without_a_direction_are_never_negative() {
    for (case, question) in [("gpt2", continuation(&[62, 99], Score::Logit)), ("bert", class(1))] {
        let loaded = model(case);
        for (name, parameters) in settings() {
            let method = (find(name).unwrap().make)(parameters.clone()).unwrap();
            let scores = method.attribute(&engine(&loaded), &question).unwrap().per_target_token.concat();
            let signed = method.sign() == pellucid_core::Sign::Signed;
            assert_eq!(signed, parameters["variant"] == "full", "{name} {parameters}");
            assert!(signed || scores.iter().all(|x| *x >= 0.0), "{case} {name} {parameters}");
        }
    }
}

#[test]
fn the_first_token_keeps_its_score_unless_it_is_written_over() {
    let written = |how: FirstToken| {
        let mut row = [0.5, 0.25, 0.125];
        how.apply(&mut row);
        row
    };
    assert_eq!(written(FirstToken::default()), [0.5, 0.25, 0.125]);
    assert_eq!(written(FirstToken::Zero), [0.0, 0.25, 0.125]);
    assert_eq!(written(FirstToken::RowMinimum), [0.125, 0.25, 0.125]);
    let loaded = model("bert");
    for method in ["attention", "attention-rollout", "attention-gradcam", "lrp"] {
        let plain = row(&attribute(&engine(&loaded), method, json!({}), &class(1)), 0);
        let zero = row(&attribute(&engine(&loaded), method, json!({"first_token": "zero"}), &class(1)), 0);
        assert_eq!(([0.0], &plain[1..]), ([zero[0]], &zero[1..]), "{method}");
    }
}

/// What a method says to parameters that do not suit the model; `fits`, the estimate and the run say the same.
fn refused(case: &str, method: &str, parameters: serde_json::Value) -> String {
    let loaded = model(case);
    let engine = engine(&loaded);
    let method = (find(method).unwrap().make)(parameters).unwrap();
    let question = continuation(&[62], Score::Logit);
    let message = method.attribute(&engine, &question).unwrap_err().to_string();
    assert_eq!(method.estimate(&engine, &question).unwrap_err().to_string(), message);
    assert_eq!(method.fits(engine.model.description()).unwrap_err().to_string(), message);
    message
}

#[test]
fn a_layer_beyond_the_model_is_refused() {
    for (method, parameter) in [
        ("attention", "layer"),
        ("attention-rollout", "start_layer"),
        ("attention-gradcam", "layer"),
        ("chefer", "start_layer"),
        ("lrp", "start_layer"),
    ] {
        let message = refused("gpt2", method, json!({parameter: 3}));
        assert_eq!(message, "layer 3 is beyond the model, which has 3 layers (0 to 2)", "{method}");
    }
}

#[test]
fn a_layer_is_a_number_or_the_last() {
    for value in [json!("first"), json!(-1), json!(1.5), json!(null)] {
        let message = (find("chefer").unwrap().make)(json!({"start_layer": value})).unwrap_err().to_string();
        assert!(message.contains("`start_layer`") && message.contains(&value.to_string()), "{message}");
        assert!(message.contains("its number from 0, or `last`"), "{message}");
    }
    let made = (find("chefer").unwrap().make)(json!({"start_layer": "last"})).unwrap();
    assert_eq!(made.parameters()["start_layer"], "last");
}

#[test]
fn a_gradient_that_says_nothing_is_refused() {
    for variant in ["transformer-attribution", "rollout", "full"] {
        let message = (find("lrp").unwrap().make)(json!({"variant": variant, "gradient": true})).unwrap_err().to_string();
        assert!(message.contains("last-layer and second-layer") && message.contains(variant.split('-').next().unwrap()), "{message}");
    }
}

#[test]
fn lrp_refuses_operations_that_it_has_no_rule_for() {
    for (case, what) in
        [("llama", "gated feed-forward networks"), ("qwen2", "gated feed-forward networks"), ("gptj", "rotary position embeddings")]
    {
        let loaded = model(case);
        for (method, parameters) in [("lrp", json!({})), ("lrp", json!({"variant": "full"})), ("chefer", json!({"source": "lrp"}))] {
            let method = (find(method).unwrap().make)(parameters).unwrap();
            let message = method.attribute(&engine(&loaded), &continuation(&[62], Score::Logit)).unwrap_err().to_string();
            assert!(message.contains(what) && message.contains("attn-lrp"), "{case}: {message}");
        }
    }
}

#[test]
fn all_five_are_in_the_table() {
    for id in ["attention", "attention-rollout", "attention-gradcam", "chefer", "lrp"] {
        let entry = METHODS.iter().find(|m| m.id == id).unwrap();
        let method = (entry.make)(json!({})).unwrap();
        assert_eq!(method.id(), id);
        let again = (entry.make)(method.parameters()).unwrap();
        assert_eq!(again.parameters(), method.parameters(), "parameters read back as they were written");
    }
}

//! BERT and its relatives: which head a checkpoint has, what its tensors are called, and that the numbers are transformers'.

use std::collections::BTreeMap;

use pellucid_core::{
    Control, Engine, Input, Symbol,
    candle::{DType, Tensor as Seen},
    model::{Outputs, Pooling},
    walk::{
        trace::Site,
        up::{Ask, Document, Readout},
    },
};
use pellucid_models::{
    Loaded,
    architectures::{Config, find},
};
use serde_json::{Value as Json, json};

use crate::checkpoint::{Checkpoint, Tensor, furthest, opened, says};

const CASES: [&str; 3] = ["bert", "distilbert", "roberta"];

fn config(model_type: &str, architecture: &str) -> Json {
    let mut config = match model_type {
        "distilbert" => json!({"dim": 64, "n_layers": 3, "n_heads": 4, "hidden_dim": 96, "vocab_size": 128, "max_position_embeddings": 64}),
        _ => json!({
            "hidden_size": 64, "embedding_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96,
            "vocab_size": 128, "max_position_embeddings": 64, "layer_norm_eps": 1e-12, "type_vocab_size": 2
        }),
    };
    if model_type == "roberta" {
        (config["max_position_embeddings"], config["type_vocab_size"]) = (66.into(), 1.into());
    }
    config["model_type"] = model_type.into();
    config["architectures"] = json!([architecture]);
    config
}

/// What an architecture reads under this config.
fn shapes(config: &Json) -> BTreeMap<String, Vec<usize>> {
    let config = Config::new(config.clone()).unwrap();
    let architecture = (find(config.model_type().unwrap()).unwrap().build)(&config).unwrap();
    let blocks = (0..architecture.description().layers).flat_map(|l| architecture.block_parameters(l));
    architecture.parameters().into_iter().chain(blocks).flat_map(|p| p.tensors()).collect()
}

/// Numbers of a linear congruential generator for the tensors in the order of their names; a norm's scale is around 1.
fn filled(config: Json, shapes: BTreeMap<String, Vec<usize>>) -> Checkpoint {
    let mut state = 1u64;
    let mut next = |around: f64| {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        ((state as f64 / 2f64.powi(31) - 0.5) * 0.6 + around) as f32
    };
    let mut tensor = |name: &str, shape: Vec<usize>| {
        let around = if name.to_lowercase().contains("norm") && name.ends_with(".weight") { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| next(around)).collect();
        Tensor::new(&shape, &values)
    };
    let tensors = shapes.into_iter().map(|(name, shape)| (name.clone(), tensor(&name, shape))).collect();
    Checkpoint { config, tensors }
}

fn made(config: Json) -> Checkpoint {
    let shapes = shapes(&config);
    filled(config, shapes)
}

fn loaded(checkpoint: &Checkpoint) -> Loaded {
    opened(checkpoint.folder().path()).unwrap()
}

fn outputs(checkpoint: &Checkpoint) -> Outputs {
    loaded(checkpoint).model.description().outputs.clone()
}

/// Twelve tokens, the last four of a second text where the model knows of one.
fn input(loaded: &Loaded) -> Input {
    let types: Vec<u32> = if loaded.model.description().types > 1 { (0..12).map(|p| u32::from(p >= 8)).collect() } else { vec![] };
    let symbols: Input = (0..12).map(|i| Symbol::Token((i * 37 + 5) % 128)).collect();
    Input { types: types.into(), ..symbols }
}

/// Scores of the whole input, of every row, or the vector where there are no scores.
fn numbers(checkpoint: &Checkpoint) -> Vec<f64> {
    let loaded = loaded(checkpoint);
    let (input, engine) = (input(&loaded), Engine::new(&loaded.model));
    let rows = match &loaded.model.description().outputs {
        Outputs::Embedding { .. } => {
            let mut vector = Vec::new();
            let mut keep = |site: Site, tensor: &Seen| {
                if site == Site::Pooled {
                    vector = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
                }
                Ok(())
            };
            engine.trace(&input, &Control::none(), &mut keep).unwrap();
            return vector;
        }
        Outputs::Classes { .. } => 1,
        _ => 12,
    };
    let asks = (0..rows).map(|position| Ask { position, tokens: vec![] }).collect();
    let document = Document { input, control: Control::none(), asks };
    let up = engine.up(&[document], &[], Readout { logits: true, ..Readout::default() }).unwrap();
    up.documents[0].iter().flat_map(|a| a.logits.iter().copied()).collect()
}

/// Tolerance: f32 against the f64 of the reference, over three blocks.
const CLOSE: f64 = 2e-5;

/// The first numbers, or of a masked language model those of tokens 0, 64 and 127 at the first and the last row.
fn assert_gives(checkpoint: &Checkpoint, expected: &[f64]) {
    let got = numbers(checkpoint);
    let got: Vec<f64> = match expected.len() {
        6 => [0, 11].iter().flat_map(|row| [0, 64, 127].map(|token| got[row * 128 + token])).collect(),
        n => got[..n].to_vec(),
    };
    assert!(furthest(&got, expected) < CLOSE, "{}: {got:?} {expected:?}", checkpoint.config["architectures"]);
}

/// Expected numbers: the classes of transformers 5.23.0 in f64, eager attention, filled with the same numbers in the same order.
#[test]
fn every_head_of_every_encoder_agrees_with_transformers() {
    let classes = |model_type, architecture| {
        let mut config = config(model_type, architecture);
        config["num_labels"] = 3.into();
        made(config)
    };
    let plain = |model_type, architecture| made(config(model_type, architecture));
    assert_gives(&classes("albert", "AlbertForSequenceClassification"), &[-0.731081, 1.023867, -0.008413]);
    assert_gives(&classes("bert", "BertForSequenceClassification"), &[0.324608, 1.262106, 0.115485]);
    assert_gives(&classes("roberta", "RobertaForSequenceClassification"), &[-1.332741, -0.998922, -1.527892]);
    assert_gives(&classes("distilbert", "DistilBertForSequenceClassification"), &[1.772749, 0.257678, 0.305125]);

    let albert = [-0.580689, -0.742514, 0.807192, -0.548381, -0.048738, 1.038399];
    assert_gives(&plain("albert", "AlbertForMaskedLM"), &albert);
    assert_gives(&plain("albert", "AlbertForPreTraining"), &albert);
    let bert = [-1.698564, 0.137321, -0.086592, -1.844471, 0.177604, -0.149573];
    assert_gives(&plain("bert", "BertForMaskedLM"), &bert);
    assert_gives(&plain("bert", "BertForPreTraining"), &bert);
    let distilbert = [-1.509984, -2.002612, 1.725051, -1.393925, -1.8329, 1.521465];
    assert_gives(&plain("distilbert", "DistilBertForMaskedLM"), &distilbert);

    assert_gives(&plain("albert", "AlbertModel"), &[-0.012511, -1.899022, -1.817913]);
    assert_gives(&plain("bert", "BertModel"), &[0.372048, 2.204581, -0.088665]);
    assert_gives(&plain("roberta", "RobertaModel"), &[0.714289, 0.100684, -0.681709]);
    assert_gives(&plain("distilbert", "DistilBertModel"), &[-0.566085, 0.228658, 0.411859]);
}

/// RoBERTa's head to the vocabulary has a GELU of its own, whatever the blocks have. Expected numbers as above.
#[test]
fn an_activation_other_than_the_default_goes_where_it_belongs() {
    let relu = |model_type, architecture| {
        let mut config = config(model_type, architecture);
        config["hidden_act"] = "relu".into();
        made(config)
    };
    assert_gives(&relu("bert", "BertForMaskedLM"), &[-1.735888, 0.683242, -0.160631, -1.865181, 0.553873, -0.057279]);
    assert_gives(&relu("roberta", "RobertaForMaskedLM"), &[0.113835, -0.676297, -2.117835, 0.63166, -0.167892, -1.957746]);
}

/// Expected numbers as above, with `tie_word_embeddings` false.
#[test]
fn an_untied_map_to_the_vocabulary_is_its_own_with_its_own_bias() {
    let mut distilbert = config("distilbert", "DistilBertForMaskedLM");
    distilbert["tie_word_embeddings"] = false.into();
    assert_gives(&made(distilbert), &[0.150075, -0.493999, -0.361113, 0.282753, -0.189322, -0.256272]);
    let mut bert = config("bert", "BertForMaskedLM");
    bert["tie_word_embeddings"] = false.into();
    let mut shapes = shapes(&bert);
    let bias = shapes.remove("cls.predictions.bias").unwrap();
    shapes.insert("cls.predictions.decoder.bias".into(), bias);
    let mut checkpoint = filled(bert, shapes);
    assert_gives(&checkpoint, &[0.05897, -1.166966, -1.321436, -0.308904, -1.413254, -1.419844]);
    // The old bias beside it is not used by the reference either.
    checkpoint.tensors.insert("cls.predictions.bias".into(), Tensor::zeros(&[128]));
    assert_gives(&checkpoint, &[0.05897, -1.166966, -1.321436, -0.308904, -1.413254, -1.419844]);
}

#[test]
fn a_config_that_names_no_head_is_told_by_its_tensors() {
    for (model_type, class) in [("albert", "Albert"), ("bert", "Bert"), ("distilbert", "DistilBert"), ("roberta", "Roberta")] {
        for head in ["ForSequenceClassification", "ForMaskedLM", "Model"] {
            let named = made(config(model_type, &format!("{class}{head}")));
            let unnamed = named.clone().without("architectures");
            assert_eq!(outputs(&unnamed), outputs(&named), "{class}{head}");
            assert_eq!(numbers(&unnamed), numbers(&named), "{class}{head}");
        }
    }
}

#[test]
fn a_base_model_saved_without_its_prefix_gives_the_mean_of_its_rows() {
    for (model_type, class) in [("albert", "Albert"), ("bert", "Bert"), ("distilbert", "DistilBert"), ("roberta", "Roberta")] {
        let whole = made(config(model_type, &format!("{class}Model")));
        assert!(matches!(outputs(&whole), Outputs::Embedding { pooling: Pooling::Mean, .. }));
        let prefix = format!("{model_type}.");
        let mut bare = whole.clone();
        bare.tensors = whole.tensors.iter().map(|(n, t)| (n.strip_prefix(&prefix).unwrap().to_owned(), t.clone())).collect();
        assert_eq!(numbers(&bare), numbers(&whole), "{class}");
    }
}

#[test]
fn norms_may_have_the_names_of_2018() {
    let whole = Checkpoint::case("bert");
    let old = |name: &str| name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
    let mut renamed = whole.clone();
    renamed.tensors = whole.tensors.iter().map(|(n, t)| (old(n), t.clone())).collect();
    assert_eq!(renamed.tensors.keys().filter(|n| n.ends_with("gamma")).count(), 7);
    assert_eq!(numbers(&renamed), numbers(&whole));
    let twice = "bert.embeddings.LayerNorm.weight";
    renamed.tensors.insert(twice.into(), whole.tensors[twice].clone());
    says(&renamed.error(), &["`bert.embeddings.LayerNorm.gamma`", "`bert.embeddings.LayerNorm.weight`", "the same one"]);
}

#[test]
fn heads_of_other_tasks_and_second_copies_are_passed_over_and_nothing_else() {
    for (model_type, architecture, extras) in [
        ("bert", "BertForMaskedLM", &["bert.pooler.dense.weight", "cls.seq_relationship.weight", "cls.predictions.decoder.bias"][..]),
        ("bert", "BertModel", &["bert.pooler.dense.bias", "bert.embeddings.position_ids"]),
        ("roberta", "RobertaForMaskedLM", &["roberta.pooler.dense.weight", "lm_head.decoder.weight", "roberta.embeddings.token_type_ids"]),
        ("distilbert", "DistilBertForMaskedLM", &["vocab_projector.weight", "distilbert.embeddings.position_ids"]),
        ("albert", "AlbertForMaskedLM", &["albert.pooler.weight", "sop_classifier.classifier.bias", "predictions.decoder.weight"]),
    ] {
        let whole = made(config(model_type, architecture));
        let mut with = whole.clone();
        extras.iter().for_each(|name| drop(with.tensors.insert((*name).into(), Tensor::zeros(&[3]))));
        assert_eq!(numbers(&with), numbers(&whole), "{architecture}");
        for extra in ["classifier.weight", "qa_outputs.weight", &format!("{model_type}.encoder.extra")] {
            let mut with = whole.clone();
            with.tensors.insert(extra.into(), Tensor::zeros(&[3]));
            says(&with.error(), &[&format!("tensor `{extra}`"), "no use for it"]);
        }
    }
}

#[test]
fn every_missing_tensor_of_an_encoder_is_missed_by_name_and_shape() {
    for case in CASES {
        let whole = Checkpoint::case(case);
        for (name, tensor) in &whole.tensors {
            let mut checkpoint = whole.clone();
            checkpoint.tensors.remove(name);
            assert_eq!(checkpoint.error(), format!("tensor `{name}` {:?} is missing from the weights", tensor.shape));
        }
    }
}

fn names(checkpoint: &Checkpoint) -> Vec<String> {
    match outputs(checkpoint) {
        Outputs::Classes { pooling: Pooling::First, names } => names,
        other => panic!("{other:?}"),
    }
}

#[test]
fn classes_have_the_configs_names_in_the_order_of_their_indices() {
    let many: serde_json::Map<String, Json> = (0..12).map(|i| (i.to_string(), json!(format!("class {i}")))).collect();
    let mut eleven = config("bert", "BertForSequenceClassification");
    (eleven["id2label"], eleven["num_labels"]) = (many.into(), 12.into());
    assert_eq!(names(&made(eleven)), (0..12).map(|i| format!("class {i}")).collect::<Vec<_>>());
    for case in CASES {
        let bare = Checkpoint::case(case).without("id2label");
        assert_eq!(names(&bare), ["LABEL_0", "LABEL_1", "LABEL_2"], "{case}: as many as the matrix has rows");
        // What old configs say: the default's two names and the true number.
        let two = json!({"0": "LABEL_0", "1": "LABEL_1"});
        let old = Checkpoint::case(case).with("id2label", two.clone());
        assert_eq!(names(&old.clone().with("num_labels", 3)), ["LABEL_0", "LABEL_1", "LABEL_2"]);
        says(&old.error(), &["`id2label` names 2 classes", "has 3 rows"]);
        for wrong in [json!({"0": "a", "1": "b", "3": "c"}), json!({"0": "a", "1": 5, "2": "c"}), json!({}), json!("a")] {
            says(&Checkpoint::case(case).with("id2label", wrong.clone()).error(), &[&format!("`id2label` is {wrong},"), "a name for each"]);
        }
    }
}

#[test]
fn a_number_of_classes_that_is_none_is_refused_before_names_are_made() {
    let bare = Checkpoint::case("bert").without("id2label");
    for bad in [json!(0), json!("3"), json!((1u64 << 31) - 1)] {
        let mut checkpoint = bare.clone().with("num_labels", bad.clone());
        checkpoint.tensors.remove("classifier.weight");
        says(&checkpoint.error(), &[&format!("`num_labels` is {bad},"), "from 1 to 1048576"]);
    }
    says(&bare.with("num_labels", 2).without("architectures").with("architectures", "BertModel").error(), &["`classifier.bias`", "no use"]);
}

#[test]
fn one_output_is_a_class_model_with_one_score() {
    let mut one = config("bert", "BertForSequenceClassification");
    (one["num_labels"], one["problem_type"]) = (1.into(), "regression".into());
    let one = made(one);
    assert_eq!((names(&one).len(), numbers(&one).len()), (1, 1));
}

#[test]
fn classes_that_do_not_exclude_each_other_are_refused_by_name() {
    for kind in ["multi_label_classification", "regression"] {
        let message = Checkpoint::case("bert").with("problem_type", kind).error();
        says(&message, &[&format!("`problem_type` is {kind} with 3 outputs"), "single_label_classification"]);
    }
    let single = Checkpoint::case("bert").with("problem_type", "single_label_classification");
    assert_eq!(numbers(&single), numbers(&Checkpoint::case("bert")));
}

#[test]
fn what_an_encoder_here_does_not_do_is_refused_by_name() {
    for case in CASES {
        let with = |key: &str, value: Json| Checkpoint::case(case).with(key, value).error();
        says(&with("position_embedding_type", json!("relative_key")), &["`position_embedding_type` is relative_key", "absolute"]);
        says(&with("is_decoder", json!(true)), &[case, "is a decoder", "`is_decoder`"]);
        says(&with("add_cross_attention", json!(true)), &[case, "has cross-attention", "`add_cross_attention`"]);
        says(
            &with("architectures", json!(["BertForTokenClassification"])),
            &["\"BertForTokenClassification\"", "ForSequenceClassification"],
        );
        says(&with("architectures", json!([7])), &["`architectures` names 7", "ForMaskedLM"]);
    }
    says(&Checkpoint::case("bert").with("architectures", json!(["BertLMHeadModel"])).error(), &["BertLMHeadModel", "BertModel"]);
    for groups in ["num_hidden_groups", "inner_group_num"] {
        let albert = made(config("albert", "AlbertModel")).with(groups, 2);
        says(&albert.error(), &[&format!("`{groups}` is 2"), "one block"]);
    }
}

#[test]
fn robertas_positions_begin_after_that_of_padding() {
    let case = || Checkpoint::case("roberta");
    assert_eq!(loaded(&case()).model.description().context, 64, "66 positions, of which 0 and 1 are never used");
    assert_eq!(numbers(&case().without("pad_token_id")), numbers(&case()), "1 is the default");
    let mut shifted = case().with("pad_token_id", 0);
    let table = "roberta.embeddings.position_embeddings.weight";
    let values = shifted.tensors[table].values();
    let up: Vec<f32> = values[64..].iter().chain(&values[..64]).copied().collect();
    shifted.tensors.insert(table.into(), Tensor::new(&[66, 64], &up));
    assert_eq!(numbers(&shifted), numbers(&case()));
    says(&case().with("pad_token_id", 65).error(), &["`max_position_embeddings` (66)", "`pad_token_id` (65)"]);
    says(&case().with("pad_token_id", -1).error(), &["`pad_token_id` is -1", "token id"]);
}

#[test]
fn a_size_of_an_encoder_that_is_none_is_refused_with_its_key_and_value() {
    for (model_type, architecture) in [("albert", "AlbertModel"), ("bert", "BertModel"), ("distilbert", "DistilBertModel")] {
        let whole = made(config(model_type, architecture));
        let read = |key: &str| key != "embedding_size" || model_type == "albert";
        let sizes = whole.config.as_object().unwrap().clone().into_iter().filter(|(key, v)| v.is_u64() && read(key));
        for (key, _) in sizes {
            for bad in [json!(0), json!(-1), json!("64"), json!(u64::MAX)] {
                says(&whole.clone().with(&key, bad.clone()).error(), &[&format!("`{key}` is {bad},"), "whole number from 1 to "]);
            }
            if !["embedding_size", "type_vocab_size"].contains(&&key[..]) {
                assert_eq!(whole.clone().without(&key).error(), format!("the config has no `{key}`"));
            }
        }
    }
}

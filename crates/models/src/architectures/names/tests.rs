use serde_json::json;

use super::super::{ARCHITECTURES, find};
use super::*;
use crate::weights::safetensors;

/// A store of tensors that count on: the first has 0, 1, 2, …, the next goes on where it ends.
fn store(tensors: &[(&str, &[usize])]) -> Box<dyn WeightStore> {
    let (mut header, mut at) = (Map::new(), 0);
    for (name, shape) in tensors {
        let end = at + 4 * shape.iter().product::<usize>();
        header.insert((*name).into(), json!({"dtype": "F32", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let data = (0..at / 4).flat_map(|x| (x as f32).to_le_bytes());
    let bytes = (header.len() as u64).to_le_bytes().into_iter().chain(header).chain(data);
    Box::new(safetensors::from_bytes(bytes.collect()).unwrap())
}

fn counted(from: usize, n: usize) -> Vec<f32> {
    (from..from + n).map(|x| x as f32).collect()
}

fn config(store: &dyn WeightStore, given: Json) -> Result<Json> {
    let Json::Object(mut config) = given else { panic!("{given} is no object") };
    complete(&mut config, store, None)?;
    Ok(Json::Object(config))
}

/// timm: width 2, one block, 2×2 patches of one pixel.
const TIMM: [(&str, &[usize]); 20] = [
    ("cls_token", &[1, 1, 2]),                  // 0
    ("pos_embed", &[1, 5, 2]),                  // 2
    ("patch_embed.proj.weight", &[2, 3, 1, 1]), // 12
    ("patch_embed.proj.bias", &[2]),            // 18
    ("blocks.0.norm1.weight", &[2]),            // 20
    ("blocks.0.norm1.bias", &[2]),              // 22
    ("blocks.0.attn.qkv.weight", &[6, 2]),      // 24
    ("blocks.0.attn.qkv.bias", &[6]),           // 36
    ("blocks.0.attn.proj.weight", &[2, 2]),     // 42
    ("blocks.0.attn.proj.bias", &[2]),          // 46
    ("blocks.0.norm2.weight", &[2]),            // 48
    ("blocks.0.norm2.bias", &[2]),              // 50
    ("blocks.0.mlp.fc1.weight", &[4, 2]),       // 52
    ("blocks.0.mlp.fc1.bias", &[4]),            // 60
    ("blocks.0.mlp.fc2.weight", &[2, 4]),       // 64
    ("blocks.0.mlp.fc2.bias", &[2]),            // 72
    ("norm.weight", &[2]),                      // 74
    ("norm.bias", &[2]),                        // 76
    ("head.weight", &[3, 2]),                   // 78
    ("head.bias", &[3]),                        // 84
];

/// [`TIMM`] with and without some.
fn timm(without: &[&str], with: &[(&'static str, &'static [usize])]) -> Box<dyn WeightStore> {
    let kept = TIMM.into_iter().filter(|(name, _)| !without.contains(name));
    store(&kept.chain(with.iter().copied()).collect::<Vec<_>>())
}

fn check(store: &dyn WeightStore, expected: &[(&str, Vec<f32>)]) {
    for (name, numbers) in expected {
        assert_eq!(read(store, name).unwrap(), *numbers, "{name}");
    }
}

#[test]
fn a_vit_of_timm_s_has_all_its_tensors_where_hugging_face_has_them() {
    let vit = translated(store(&TIMM), find("vit").unwrap()).unwrap();
    let layer = |name: &str| format!("vit.encoder.layer.0.{name}");
    let [q, k, v] = ["query", "key", "value"].map(|name| layer(&format!("attention.attention.{name}.weight")));
    check(
        vit.as_ref(),
        &[
            ("vit.embeddings.cls_token", counted(0, 2)),
            ("vit.embeddings.position_embeddings", counted(2, 10)),
            ("vit.embeddings.patch_embeddings.projection.weight", counted(12, 6)),
            ("vit.embeddings.patch_embeddings.projection.bias", counted(18, 2)),
            (&layer("layernorm_before.weight"), counted(20, 2)),
            (&q, counted(24, 4)),
            (&k, counted(28, 4)),
            (&v, counted(32, 4)),
            (&layer("attention.attention.key.bias"), counted(38, 2)),
            (&layer("attention.output.dense.weight"), counted(42, 4)),
            (&layer("layernorm_after.bias"), counted(50, 2)),
            (&layer("intermediate.dense.weight"), counted(52, 8)),
            (&layer("output.dense.bias"), counted(72, 2)),
            ("vit.layernorm.weight", counted(74, 2)),
            ("classifier.weight", counted(78, 6)),
        ],
    );
    assert_eq!(vit.names().len(), 24, "nothing else: {:?}", vit.names());
}

#[test]
fn sizes_come_from_shapes_and_what_a_config_says_stays() {
    let told =
        config(store(&TIMM).as_ref(), json!({"num_attention_heads": 1, "label_names": ["a", "b", "c"], "hidden_act": "relu"})).unwrap();
    let expected = json!({"num_attention_heads": 1, "label_names": ["a", "b", "c"], "hidden_act": "relu", "model_type": "vit",
        "hidden_size": 2, "intermediate_size": 4, "num_hidden_layers": 1, "image_size": 2, "patch_size": 1, "num_channels": 3,
        "layer_norm_eps": 1e-6, "qkv_bias": true, "mlp_ratio": 2, "num_labels": 3, "id2label": {"0": "a", "1": "b", "2": "c"}});
    assert_eq!(told, expected);
    assert_eq!(config(store(&TIMM).as_ref(), json!({"model_type": "timm_wrapper"})).unwrap()["model_type"], "vit");
    assert!(config(store(&TIMM).as_ref(), json!({})).unwrap().get("num_attention_heads").is_none(), "no shape tells the heads of width 2");
    assert_eq!(config(store(&[("wte.weight", &[2])]).as_ref(), json!({"a": 1})).unwrap(), json!({"a": 1}));
}

#[test]
fn the_kind_of_model_is_told_by_its_tensors() {
    let scales: [(&str, &[usize]); 2] = [("blocks.0.ls1.gamma", &[2]), ("blocks.0.ls2.gamma", &[2])];
    let registers: (&str, &[usize]) = ("register_tokens", &[1, 3, 2]);
    let kind = |without: &[&str], with: &[(&'static str, &'static [usize])]| {
        config(timm(without, with).as_ref(), json!({})).unwrap()["model_type"].as_str().unwrap().to_owned()
    };
    let no_head = ["head.weight", "head.bias"];
    assert_eq!(kind(&no_head, &scales), "dinov2");
    assert_eq!(kind(&no_head, &[&scales[..], &[registers]].concat()), "dinov2_with_registers");
    assert_eq!(kind(&[], &scales), "vit");
    assert_eq!(kind(&["pos_embed"], &[("pos_embed", &[1, 6, 2]), ("dist_token", &[1, 1, 2])]), "deit");

    let dinov2 = translated(timm(&no_head, &[&scales[..], &[("mask_token", &[1, 2])]].concat()), find("dinov2").unwrap()).unwrap();
    let layer = |name: &str| format!("dinov2.encoder.layer.0.{name}");
    check(
        dinov2.as_ref(),
        &[
            (&layer("norm1.bias"), counted(22, 2)),
            (&layer("norm2.weight"), counted(48, 2)),
            (&layer("mlp.fc1.weight"), counted(52, 8)),
            (&layer("mlp.fc2.bias"), counted(72, 2)),
            (&layer("layer_scale1.lambda1"), counted(78, 2)),
            (&layer("layer_scale2.lambda1"), counted(80, 2)),
        ],
    );
    assert!(!dinov2.names().iter().any(|name| name.contains("mask_token")));
}

#[test]
fn positions_of_patches_alone_get_zeros_for_the_class_token_and_registers() {
    let config = Config::new(json!({"image_size": 2, "patch_size": 1})).unwrap();
    let vit = timm(&["pos_embed", "head.weight", "head.bias"], &[("pos_embed", &[1, 4, 2]), ("reg_token", &[1, 2, 2])]);
    let entry = find("vit").unwrap();
    let vit = fitted(translated(vit, entry).unwrap(), entry, &config).unwrap();
    check(
        vit.as_ref(),
        &[
            ("vit.embeddings.position_embeddings", [vec![0.0; 6], counted(68, 8)].concat()),
            ("vit.embeddings.register_tokens", counted(76, 4)),
        ],
    );
    assert_eq!(vit.info("vit.embeddings.position_embeddings").unwrap().shape, [1, 7, 2]);
}

#[test]
fn dinov2_s_positions_follow_the_size_of_the_picture_and_vit_s_do_not() {
    for (kind, cubic) in [("dinov2", Cubic::Sharp), ("dinov2_with_registers", Cubic::Smoothed)] {
        let name = format!("{kind}.embeddings.position_embeddings");
        let registers = format!("{kind}.embeddings.register_tokens");
        let mut tensors: Vec<(&str, &[usize])> = vec![(&name, &[1, 10, 1])];
        if cubic == Cubic::Smoothed {
            tensors.push((&registers, &[1, 1, 1]));
        }
        let config = Config::new(json!({"image_size": 4, "patch_size": 2})).unwrap();
        let small = fitted(store(&tensors), find(kind).unwrap(), &config).unwrap();
        let mut expected = vec![0.0; tensors.len()];
        expected.extend(resample(&counted(1, 9), [3, 3], [2, 2], 1, cubic));
        check(small.as_ref(), &[(&name, expected)]);
        let same = Config::new(json!({"image_size": 6, "patch_size": 2})).unwrap();
        let same = fitted(store(&tensors), find(kind).unwrap(), &same).unwrap();
        assert_eq!(read(same.as_ref(), &name).unwrap()[tensors.len()..], counted(1, 9));
        let huge = Config::new(json!({"image_size": 2_000_000, "patch_size": 2})).unwrap();
        assert!(fitted(store(&tensors), find(kind).unwrap(), &huge).err().unwrap().to_string().contains("1000000×1000000 patches"));
    }
    let vit = store(&[("vit.embeddings.position_embeddings", &[1, 10, 1])]);
    let config = Config::new(json!({"image_size": 4, "patch_size": 2})).unwrap();
    let vit = fitted(vit, find("vit").unwrap(), &config).unwrap();
    assert_eq!(vit.info("vit.embeddings.position_embeddings").unwrap().shape, [1, 10, 1], "for the model to refuse");
}

#[test]
fn two_heads_of_a_deit_become_one_that_averages_them() {
    let deit = timm(
        &["pos_embed"],
        &[("pos_embed", &[1, 6, 2]), ("dist_token", &[1, 1, 2]), ("head_dist.weight", &[3, 2]), ("head_dist.bias", &[3])],
    );
    let entry = find("deit").unwrap();
    let deit = fitted(translated(deit, entry).unwrap(), entry, &Config::new(json!({})).unwrap()).unwrap();
    // The head's numbers are 68…73 and 74…76, the other's 91…96 and 97…99.
    check(
        deit.as_ref(),
        &[
            ("classifier.weight", [68.0, 69.0, 91.0, 92.0, 70.0, 71.0, 93.0, 94.0, 72.0, 73.0, 95.0, 96.0].map(|x| x / 2.0).to_vec()),
            ("classifier.bias", [74.0 + 97.0, 75.0 + 98.0, 76.0 + 99.0].map(|x| x / 2.0).to_vec()),
            ("deit.embeddings.distillation_token", counted(89, 2)),
        ],
    );
    assert!(!deit.names().iter().any(|name| name.contains("_classifier")), "{:?}", deit.names());
}

#[test]
fn a_logistic_score_of_a_unit_vector_becomes_two_classes() {
    let config = Config::new(json!({"logistic_unit_classifier": true})).unwrap();
    let tower = store(&[("classifier.weight", &[1, 4]), ("classifier.bias", &[1])]);
    let tower = fitted(tower, find("clip_vision_model").unwrap(), &config).unwrap();
    // ‖x‖ = √4 where the classifier was made for ‖x‖ = 1: half, and a half of that for each class.
    check(
        tower.as_ref(),
        &[("classifier.weight", vec![0.0, -0.25, -0.5, -0.75, 0.0, 0.25, 0.5, 0.75]), ("classifier.bias", vec![-2.0, 2.0])],
    );
}

/// OpenAI: widths 2 and 1, projection 3, one block each, 1×1 patches, 5 tokens, context 4.
fn openai(with: &[(&'static str, &'static [usize])]) -> Box<dyn WeightStore> {
    let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
    let mut say = |name: &str, shape: &[usize]| tensors.push((name.into(), shape.into()));
    say("visual.class_embedding", &[2]);
    say("visual.positional_embedding", &[2, 2]);
    say("visual.proj", &[2, 3]);
    say("visual.conv1.weight", &[2, 3, 1, 1]);
    say("token_embedding.weight", &[5, 1]);
    say("positional_embedding", &[4, 1]);
    say("text_projection", &[1, 3]);
    say("logit_scale", &[]);
    for name in ["visual.ln_pre", "visual.ln_post", "ln_final"] {
        let width = if name == "ln_final" { 1 } else { 2 };
        say(&format!("{name}.weight"), &[width]);
        say(&format!("{name}.bias"), &[width]);
    }
    for (tower, d) in [("visual.", 2), ("", 1)] {
        let mut inside = |name: &str, shape: &[usize]| say(&format!("{tower}transformer.resblocks.0.{name}"), shape);
        inside("attn.in_proj_weight", &[3 * d, d]);
        inside("attn.in_proj_bias", &[3 * d]);
        for (name, outputs, inputs) in [("attn.out_proj", d, d), ("mlp.c_fc", 4 * d, d), ("mlp.c_proj", d, 4 * d)] {
            inside(&format!("{name}.weight"), &[outputs, inputs]);
            inside(&format!("{name}.bias"), &[outputs]);
        }
        for name in ["ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"] {
            inside(name, &[d]);
        }
    }
    let tensors: Vec<(&str, &[usize])> = tensors.iter().map(|(name, shape)| (&name[..], &shape[..])).chain(with.iter().copied()).collect();
    store(&tensors)
}

#[test]
fn openai_s_clip_has_all_its_tensors_where_hugging_face_has_them() {
    let given = openai(&[("input_resolution", &[]), ("extra", &[1])]);
    let of = |name: &str| read(given.as_ref(), name).unwrap();
    let clip = translated(openai(&[("input_resolution", &[]), ("extra", &[1])]), find("clip").unwrap()).unwrap();
    let third = |name: &str, part: usize| {
        let all = of(name);
        all[all.len() / 3 * part..all.len() / 3 * (part + 1)].to_vec()
    };
    let block = |tower: &str, name: &str| format!("{tower}_model.encoder.layers.0.{name}");
    let fused = |tower: &str, end: &str| format!("{tower}transformer.resblocks.0.attn.in_proj_{end}");
    for (ours, theirs) in [("vision", "visual."), ("text", "")] {
        for (part, map) in ["q_proj", "k_proj", "v_proj"].iter().enumerate() {
            for end in ["weight", "bias"] {
                check(clip.as_ref(), &[(&block(ours, &format!("self_attn.{map}.{end}")), third(&fused(theirs, end), part))]);
            }
        }
        for (our, their) in [
            ("self_attn.out_proj", "attn.out_proj"),
            ("layer_norm1", "ln_1"),
            ("layer_norm2", "ln_2"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
        ] {
            for end in ["weight", "bias"] {
                let theirs = format!("{theirs}transformer.resblocks.0.{their}.{end}");
                check(clip.as_ref(), &[(&block(ours, &format!("{our}.{end}")), of(&theirs))]);
            }
        }
    }
    for (our, their) in [
        ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
        ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
        ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
        ("vision_model.pre_layrnorm.weight", "visual.ln_pre.weight"),
        ("vision_model.post_layernorm.bias", "visual.ln_post.bias"),
        ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
        ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
        ("text_model.final_layer_norm.weight", "ln_final.weight"),
        ("text_projection.weight", "text_projection"), // one row: turned, the same numbers
        ("logit_scale", "logit_scale"),
        ("extra", "extra"),
    ] {
        check(clip.as_ref(), &[(our, of(their))]);
    }
    let proj = of("visual.proj");
    check(clip.as_ref(), &[("visual_projection.weight", [0, 3, 1, 4, 2, 5].map(|at: usize| proj[at]).to_vec())]);
    assert_eq!(clip.info("visual_projection.weight").unwrap().shape, [3, 2]);
    // Two towers of 16, and 14 beside them; what is no weight is gone, what nothing knows is there.
    assert_eq!(clip.names().len(), 2 * 16 + 14 + 1, "{:?}", clip.names());
}

#[test]
fn a_clip_s_config_says_what_openai_s_models_share_or_what_open_clip_says() {
    let given = openai(&[]);
    let told = |beside: Option<Json>| {
        let mut config = Map::new();
        complete(&mut config, given.as_ref(), beside.as_ref().and_then(Json::as_object)).unwrap();
        Json::Object(config)
    };
    let tower = |width: usize, heads: usize, act: &str| {
        json!({"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": 1, "num_attention_heads": heads, "hidden_act": act,
            "layer_norm_eps": 1e-5, "projection_dim": 3})
    };
    let expected = |heads: [usize; 2], act: &str| {
        let (mut vision, mut text) = (tower(2, heads[0], act), tower(1, heads[1], act));
        let picture = json!({"image_size": 1, "patch_size": 1, "num_channels": 3});
        let words = json!({"vocab_size": 5, "max_position_embeddings": 4, "eos_token_id": 2});
        vision.as_object_mut().unwrap().extend(picture.as_object().unwrap().clone());
        text.as_object_mut().unwrap().extend(words.as_object().unwrap().clone());
        json!({"model_type": "clip", "projection_dim": 3, "vision_config": vision, "text_config": text})
    };
    assert_eq!(told(None), expected([0, 0], "quick_gelu"), "heads of 64 numbers, of which these have none");
    let open = json!({"model_cfg": {"vision_cfg": {"head_width": 1}, "text_cfg": {"heads": 1}}});
    assert_eq!(told(Some(open)), expected([2, 1], "gelu"));
}

#[test]
fn shapes_of_no_such_model_are_named() {
    for (tensors, words) in [
        (timm(&["pos_embed"], &[("pos_embed", &[1, 7, 2])]), "`pos_embed` has 7 rows, which are no square"),
        (timm(&["pos_embed"], &[("pos_embed", &[5, 2])]), "`pos_embed` has shape [5, 2]; it should have 3 axes"),
        (timm(&["blocks.0.mlp.fc1.weight"], &[]), "`blocks.0.mlp.fc1.weight` is missing"),
    ] {
        let error = config(tensors.as_ref(), json!({})).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let average = config(store(&TIMM).as_ref(), json!({"global_pool": "avg"})).unwrap_err().to_string();
    assert!(average.contains("`global_pool` is \"avg\" and there is no tensor `fc_norm.weight`"), "{average}");
    let fused = timm(&["blocks.0.attn.qkv.weight"], &[("blocks.0.attn.qkv.weight", &[5, 2])]);
    assert!(translated(fused, find("vit").unwrap()).err().unwrap().to_string().contains("has no part 0 of 3"));
    let heads = store(&[("cls_classifier.weight", &[3, 2]), ("distillation_classifier.weight", &[2, 2])]);
    let error = fitted(heads, find("deit").unwrap(), &Config::new(json!({})).unwrap()).err().unwrap().to_string();
    assert!(error.contains("`distillation_classifier.weight` should have shape [3, 2]"), "{error}");
}

#[test]
fn stores_under_hugging_face_s_names_are_left_alone() {
    for entry in ARCHITECTURES {
        let given = translated(store(&[("a", &[2]), ("classifier.weight", &[2, 2])]), entry).unwrap();
        let config = Config::new(json!({"image_size": 2, "patch_size": 1})).unwrap();
        let given = fitted(given, entry, &config).unwrap();
        check(given.as_ref(), &[("a", counted(0, 2)), ("classifier.weight", counted(2, 4))]);
    }
}

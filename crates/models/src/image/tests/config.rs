//! What models' folders say. The shapes of the files are those that transformers and timm write.

use std::fs;

use serde_json::{Map, Value as Json, json};

use crate::image::{Centre, Crop, Filter, Normalisation, Preprocessing, Resize, Size, hugging_face, timm};

fn object(json: Json) -> Map<String, Json> {
    json.as_object().unwrap().clone()
}

fn hf(json: Json) -> Result<Preprocessing, String> {
    hugging_face::from_config(&object(json), None)
}

fn timm(json: Json) -> Result<Preprocessing, String> {
    timm::from_config(&object(json))
}

#[test]
fn clip_as_it_is_saved_today() {
    let saved = json!({
        "crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true, "do_rescale": true,
        "do_resize": true, "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "CLIPImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224}
    });
    assert_eq!(hf(saved).unwrap(), Preprocessing::clip(224));
}

#[test]
fn old_files_leave_out_what_their_class_does() {
    let clip = json!({"crop_size": 336, "do_center_crop": true, "do_normalize": true, "do_resize": true, "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 336});
    assert_eq!(hf(clip).unwrap(), Preprocessing::clip(336));
    let vit = json!({"do_normalize": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": 384});
    assert_eq!(hugging_face::from_config(&object(vit.clone()), Some("vit")).unwrap(), Preprocessing::vit(384));
    assert!(hf(vit).unwrap_err().contains("has no `image_processor_type`"));
    let deit = json!({"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true, "feature_extractor_type": "DeiTFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": 256});
    let squashed = Resize { to: Size::Exact { height: 256, width: 256 }, filter: Filter::Bicubic };
    assert_eq!(hf(deit).unwrap(), Preprocessing { resize: Some(squashed), ..Preprocessing::dinov2() });
}

#[test]
fn dinov2_as_it_is_published() {
    let dinov2 = json!({"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true,
        "do_rescale": true, "do_resize": true, "image_mean": [0.485, 0.456, 0.406], "image_processor_type": "BitImageProcessor",
        "image_std": [0.229, 0.224, 0.225], "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 256}});
    assert_eq!(hf(dinov2).unwrap(), Preprocessing::dinov2());
}

/// What `to_dict()` of transformers' classes says when they are made without arguments.
#[test]
fn defaults_are_those_of_the_class() {
    let of = |class: &str| hf(json!({"image_processor_type": class})).unwrap();
    assert_eq!(of("ViTImageProcessorFast"), Preprocessing::vit(224));
    assert_eq!(of("CLIPImageProcessor"), Preprocessing::clip(224));
    assert_eq!(of("BitImageProcessor"), Preprocessing::clip(224));
    let siglip = Preprocessing {
        resize: Some(Resize { to: Size::Exact { height: 224, width: 224 }, filter: Filter::Bicubic }),
        ..Preprocessing::vit(224)
    };
    assert_eq!(of("SiglipImageProcessor"), siglip);
    let deit = of("DeiTImageProcessor");
    assert_eq!(deit.resize.unwrap().to, Size::Exact { height: 256, width: 256 });
    assert_eq!(deit.crop, Some(Crop { height: 224, width: 224, centre: Centre::Down }));
}

#[test]
fn a_size_of_one_number_is_what_the_class_takes_it_for() {
    let to = |class: &str, size: Json| hf(json!({"image_processor_type": class, "size": size})).unwrap().resize.unwrap().to;
    assert_eq!(to("ViTImageProcessor", json!(200)), Size::Exact { height: 200, width: 200 });
    for class in ["CLIPImageProcessor", "BitImageProcessor", "SiglipImageProcessor"] {
        assert_eq!(to(class, json!(200)), Size::ShortestEdge(200));
    }
    assert_eq!(to("ViTImageProcessor", json!({"shortest_edge": 100, "longest_edge": null})), Size::ShortestEdge(100));
    assert_eq!(to("CLIPImageProcessor", json!([100, 80])), Size::Exact { height: 100, width: 80 });
}

#[test]
fn steps_can_be_left_out() {
    let none = json!({"image_processor_type": "CLIPImageProcessor", "do_resize": false, "do_center_crop": false, "do_rescale": false, "do_normalize": false});
    assert_eq!(hf(none).unwrap(), Preprocessing::default());
}

#[test]
fn values_that_mean_nothing_here_are_errors() {
    for (change, says) in [
        (json!({"resample": 6}), "`resample` is 6; it is 0 to 5, as Pillow numbers its filters"),
        (json!({"resample": "bicubic"}), "`resample` is \"bicubic\""),
        (json!({"size": {"longest_edge": 224}}), "a longest edge is not done here"),
        (json!({"size": {"shortest_edge": 224, "longest_edge": 300}}), "a longest edge is not done here"),
        (json!({"size": -3}), "`size` is -3; it is a number of pixels"),
        (json!({"size": {"height": 224}}), "`size` is {\"height\":224}"),
        (json!({"crop_size": [1, 2, 3]}), "`crop_size` is [1,2,3]"),
        (json!({"crop_size": 100_000}), "a height to crop to of 100000 pixels; it is 1 to 4096"),
        (json!({"image_mean": [0.5]}), "`image_mean` is [0.5]; it is three numbers, for red, green and blue"),
        (json!({"image_std": [0.5, 0, 0.5]}), "deviations not 0"),
        (json!({"rescale_factor": "1/255"}), "`rescale_factor` is \"1/255\", not a number"),
        (json!({"rescale_factor": 0}), "a rescale factor of 0; it is above 0"),
        (json!({"do_resize": "yes"}), "`do_resize` is \"yes\"; it is true or false"),
        (json!({"crop_pct": 0.875}), "`crop_pct` is 0.875, a step that is not done here"),
        (json!({"do_pad": true}), "`do_pad` is true, a step that is not done here"),
        (json!({"do_flip_channel_order": true}), "`do_flip_channel_order` is true"),
        (
            json!({"image_processor_type": "PixtralImageProcessor"}),
            "image processor `PixtralImageProcessor` is not known; those of ViT, DeiT, CLIP",
        ),
    ] {
        let mut config = object(json!({"image_processor_type": "CLIPImageProcessor"}));
        config.extend(object(change));
        let message = hf(Json::Object(config)).unwrap_err();
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn keys_that_change_nothing_are_passed_over() {
    let config = json!({"image_processor_type": "CLIPImageProcessor", "processor_class": "CLIPProcessor", "do_pad": false, "crop_pct": null,
        "_valid_processor_keys": ["images"], "use_fast": true, "data_format": "channels_first"});
    assert_eq!(hf(config).unwrap(), Preprocessing::clip(224));
}

#[test]
fn timm_resizes_by_the_part_that_it_keeps() {
    let vit = timm(
        json!({"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center", "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5]}),
    );
    let expected = Preprocessing {
        resize: Some(Resize { to: Size::ShortestEdge(248), filter: Filter::Bicubic }), // ⌊224/0.9⌋
        crop: Some(Crop { height: 224, width: 224, centre: Centre::Even }),
        rescale: Some(1.0 / 255.0),
        normalise: Some(Normalisation { mean: [0.5; 3], std: [0.5; 3] }),
    };
    assert_eq!(vit.unwrap(), expected);
    // Silent: bicubic, ImageNet, 0.875.
    let silent =
        Preprocessing { resize: Some(Resize { to: Size::ShortestEdge(256), filter: Filter::Bicubic }), ..Preprocessing::imagenet() };
    assert_eq!(timm(json!({"input_size": [3, 224, 224]})).unwrap(), silent);
    let squashed = timm(json!({"input_size": [3, 256, 224], "crop_pct": 0.9, "crop_mode": "squash", "interpolation": "bilinear"})).unwrap();
    assert_eq!(squashed.resize, Some(Resize { to: Size::Exact { height: 284, width: 248 }, filter: Filter::Bilinear }));
    for (wrong, says) in [
        (json!({"input_size": [1, 28, 28]}), "`input_size` is [1,28,28]; it is `[3, height, width]`"),
        (json!({"input_size": [3, 224, 200]}), "only squares are done here"),
        (json!({"input_size": [3, 224, 224], "crop_pct": 1e-9}), "it is 1 to 4096"),
        (json!({"input_size": [3, 224, 224], "crop_pct": 0}), "`crop_pct` is 0"),
        (json!({"input_size": [3, 224, 224], "crop_mode": "border"}), "`crop_mode` is \"border\"; `center` and `squash` are done here"),
        (json!({"input_size": [3, 224, 224], "interpolation": "random"}), "`interpolation` is \"random\""),
        (json!({"input_size": [3, 224, 224], "mean": 0.5}), "`mean` is 0.5"),
    ] {
        let message = timm(wrong).unwrap_err();
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn a_folder_is_asked_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, json: Json| fs::write(folder.path().join(name), json.to_string()).unwrap();
    let found = || Preprocessing::from_folder(folder.path());
    assert_eq!(found().unwrap(), None);
    write("config.json", json!({"model_type": "vit", "hidden_size": 3}));
    assert_eq!(found().unwrap(), None);
    write("config.json", json!({"architecture": "vit_tiny", "pretrained_cfg": {"input_size": [3, 64, 64], "crop_pct": 1.0}}));
    assert_eq!(found().unwrap().unwrap().input_size(), Some((64, 64)));
    write(
        "processor_config.json",
        json!({"image_processor": {"image_processor_type": "CLIPImageProcessor"}, "processor_class": "CLIPProcessor"}),
    );
    assert_eq!(found().unwrap(), Some(Preprocessing::clip(224)));
    write("preprocessor_config.json", json!({"image_processor_type": "ViTImageProcessor", "size": 32}));
    assert_eq!(found().unwrap(), Some(Preprocessing::vit(32)));
    write("preprocessor_config.json", json!([1]));
    let message = found().unwrap_err().to_string();
    assert!(message.ends_with("preprocessor_config.json: not a JSON object"), "{message}");
}

//! Pictures: what a person types, and what comes out.

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::{Rgb, RgbImage};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::fixtures::{copy, json_of, pellucid, refused, shown, write_json};

/// A small model of pictures of 32 × 32 pixels with random weights, and how pictures are prepared for it.
struct Model(TempDir);

impl Model {
    fn new(case: &str) -> Self {
        let (folder, from) = (tempfile::tempdir().unwrap(), Path::new("../../cases").join(case));
        copy(&from, folder.path(), &["model.safetensors", "config.json"]);
        let preprocessing = json!({
            "do_resize": true, "size": { "shortest_edge": 32 }, "resample": 3, "do_center_crop": true, "crop_size": { "height": 32, "width": 32 },
            "do_rescale": true, "rescale_factor": 1.0 / 255.0, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        });
        write_json(&folder.path().join("preprocessor_config.json"), &preprocessing);
        if case == "clip" {
            write_json(&folder.path().join("tokenizer.json"), &tokenizer());
        }
        Self(folder)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// Words of a CLIP's text, between its start and end token.
fn tokenizer() -> Json {
    let words = ["!", "a", "photo", "of", "cat", "dog", "red", "thing"];
    let special = |id: u32, content: &str| json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true });
    let mut vocabulary: serde_json::Map<String, Json> = words.iter().enumerate().map(|(i, w)| ((*w).to_owned(), json!(i))).collect();
    vocabulary.insert("<|startoftext|>".into(), json!(126));
    vocabulary.insert("<|endoftext|>".into(), json!(127));
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(126, "<|startoftext|>"), special(127, "<|endoftext|>")],
        "normalizer": { "type": "Lowercase" }, "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<|startoftext|>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }, { "SpecialToken": { "id": "<|endoftext|>", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": {
                "<|startoftext|>": { "id": "<|startoftext|>", "ids": [126], "tokens": ["<|startoftext|>"] },
                "<|endoftext|>": { "id": "<|endoftext|>", "ids": [127], "tokens": ["<|endoftext|>"] },
            },
        },
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "!" },
    })
}

/// A red disc on a gradient.
fn picture(folder: &Path, name: &str, width: u32, height: u32) -> PathBuf {
    let colour = |x: u32, y: u32| {
        let (dx, dy) = (f64::from(x) - f64::from(width) * 0.3, f64::from(y) - f64::from(height) * 0.6);
        let disc = dx.hypot(dy) < f64::from(width.min(height)) * 0.2;
        if disc { Rgb([220, 30, 20]) } else { Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 120]) }
    };
    let path = folder.join(name);
    RgbImage::from_fn(width, height, colour).save(&path).unwrap();
    path
}

fn numbers(value: &Json) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
}

#[test]
fn a_class_of_a_picture_is_explained_by_patches_that_lie_in_the_picture() {
    let (model, folder) = (Model::new("vit"), tempfile::tempdir().unwrap());
    let file = picture(folder.path(), "disc.png", 96, 64);
    for method in ["atman", "chefer", "attention-rollout", "saliency", "lrp"] {
        let a = json_of(&["explain", "-m", model.path(), "--image", file.to_str().unwrap(), "--target", "2", "--method", method, "--json"]);
        assert_eq!(a["target"]["kind"], "class");
        assert_eq!(a["target"]["tokens"][0]["id"], 2);
        assert_eq!((&a["input"]["image"]["width"], &a["input"]["image"]["height"]), (&json!(96), &json!(64)));
        assert_eq!(a["method"]["units"], "patch");
        let features = a["features"].as_array().unwrap();
        assert_eq!(features.len(), 16, "{method}");
        // The middle 64 columns of 96 were seen: patches begin at a sixth of the width.
        assert!((features[0]["region"]["left"].as_f64().unwrap() - 1.0 / 6.0).abs() < 1e-9);
        assert!(
            (features[15]["region"]["left"].as_f64().unwrap() + features[15]["region"]["width"].as_f64().unwrap() - 5.0 / 6.0).abs() < 1e-9
        );
        assert_eq!(features[5]["text"], "row 1, column 1");
        let scores = numbers(&a["scores"]["combined"]);
        assert!(scores.iter().any(|s| *s != 0.0) && scores.iter().all(|s| s.is_finite()), "{method}: {scores:?}");
    }
}

#[test]
fn tiles_and_boxes_are_units_that_may_cover_parts_of_patches() {
    let (model, folder) = (Model::new("vit"), tempfile::tempdir().unwrap());
    let file = picture(folder.path(), "disc.png", 64, 64);
    let explain = |more: &[&str]| json_of(&[&["explain", "-m", model.path(), "--image", file.to_str().unwrap(), "--json"], more].concat());
    let tiles = explain(&["--units", "2x2"]);
    assert_eq!((&tiles["method"]["units"], tiles["features"].as_array().unwrap().len()), (&json!("2x2"), 4));
    assert_eq!(tiles["features"][3]["positions"], json!([11, 12, 15, 16]));
    // A tile that is one patch has that patch's score.
    let (patches, box_) = (explain(&[]), explain(&["--box", "0.25,0.5,0.25,0.25"]));
    assert_eq!(box_["features"][0]["positions"], json!([10]));
    assert_eq!(box_["scores"]["combined"][0], patches["scores"]["combined"][9]);
    // Half of each of two patches.
    let half = explain(&["--box", "0.125,0,0.25,0.25"]);
    assert_eq!(half["features"][0]["positions"], json!([1, 2]));
    assert_ne!(half["scores"]["combined"][0], json!(0.0));
}

#[test]
fn attention_to_a_part_of_a_picture_can_be_changed_throughout() {
    let (model, folder) = (Model::new("vit"), tempfile::tempdir().unwrap());
    let file = picture(folder.path(), "disc.png", 64, 64);
    let explain = |more: &[&str]| {
        json_of(&[&["explain", "-m", model.path(), "--image", file.to_str().unwrap(), "--class", "0", "--json"], more].concat())
    };
    let logit = |a: &Json| a["target"]["tokens"][0]["logit"].as_f64().unwrap();
    let plain = explain(&[]);
    let same = explain(&["--control", "0,0,1,1=1"]);
    assert_eq!((&same["scores"], logit(&same)), (&plain["scores"], logit(&plain)));
    for method in ["atman", "occlusion", "chefer", "saliency", "alti"] {
        // The patch in row 0, column 1, and half of its right neighbour.
        let removed = explain(&["--method", method, "--control", "0.25,0,0.375,0.25=0"]);
        assert_eq!(removed["input"]["image"]["controls"][0]["factor"], 0.0);
        assert_ne!(logit(&removed), logit(&plain), "{method}");
        let scores = numbers(&removed["scores"]["combined"]);
        if method != "alti" {
            // Nobody looks at it any more: suppressing, replacing or changing it changes nothing.
            assert_eq!(scores[1], 0.0, "{method}");
        }
        assert_ne!(scores[2], 0.0, "{method}");
    }
    // Suppressed to a tenth by AtMan on top: what is halved already.
    let halved = explain(&["--control", "0.25,0,0.25,0.25=0.5"]);
    let by_hand = explain(&["--control", "0.25,0,0.25,0.25=0.05"]);
    let difference = logit(&halved) - logit(&by_hand);
    assert!((numbers(&halved["scores"]["combined"])[1] - difference).abs() < 1e-5);
    for (bad, says) in
        [("0,0,1,1", "has no factor"), ("0,0,1,1=-1", "at least 0"), ("0,0,2,1=0", "LEFT,TOP"), ("0,0,1,1=x", "not a factor")]
    {
        let told = refused(2, &["explain", "-m", model.path(), "--image", file.to_str().unwrap(), "--control", bad]);
        assert!(told.contains(says), "{bad}: {told}");
    }
    let told = refused_any(&[
        "explain",
        "-m",
        model.path(),
        "--image",
        file.to_str().unwrap(),
        "--class",
        "0",
        "--mode",
        "multiply",
        "--control",
        "0,0,1,1=0",
    ]);
    assert!(told.contains("cannot act together"), "{told}");
}

#[test]
fn a_picture_is_explained_against_each_text_and_each_text_against_the_picture() {
    let (model, folder) = (Model::new("clip"), tempfile::tempdir().unwrap());
    let file = picture(folder.path(), "disc.png", 40, 40);
    let asked =
        ["explain", "-m", model.path(), "--image", file.to_str().unwrap(), "--text", "a red thing", "--text", "a photo of a cat", "--json"];
    let place = folder.path().join("map.svg");
    let places = ["--method", "chefer", "--both-ways", "-o", place.to_str().unwrap()];
    shown(&[&asked[..asked.len() - 1], &places].concat());
    for name in ["map.svg", "map.2.svg", "map.back.svg", "map.2.back.svg"] {
        assert!(fs::read_to_string(folder.path().join(name)).unwrap().starts_with("<svg"), "{name}");
    }
    for method in ["atman", "chefer"] {
        let all = json_of(&[&asked[..], &["--both-ways", "--method", method]].concat());
        let all = all.as_array().unwrap();
        assert_eq!(all.len(), 4);
        for (a, text) in all.iter().zip(["a red thing", "a photo of a cat"]) {
            assert_eq!((&a["target"]["kind"], &a["target"]["text"]), (&json!("match"), &json!(text)));
            assert_eq!(a["features"].as_array().unwrap().len(), 16);
        }
        for (i, text) in ["a red thing", "a photo of a cat"].into_iter().enumerate() {
            let back = &all[2 + i];
            assert_eq!((&back["target"]["kind"], &back["target"]["text"]), (&json!("match"), &json!("disc.png")));
            assert_eq!(back["input"]["text"], text);
            // The same number, from both sides.
            let (here, there) =
                (all[i]["target"]["tokens"][0]["logit"].as_f64().unwrap(), back["target"]["tokens"][0]["logit"].as_f64().unwrap());
            assert!((here - there).abs() < 1e-3 * here.abs().max(1.0), "{here} {there}");
        }
        // Probabilities are among the texts given.
        let sum: f64 = all[..2].iter().map(|a| a["target"]["tokens"][0]["probability"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
}

#[test]
fn of_a_list_of_labels_the_best_is_explained_or_the_one_named() {
    let (model, folder) = (Model::new("clip"), tempfile::tempdir().unwrap());
    let (file, labels) = (picture(folder.path(), "disc.png", 40, 40), folder.path().join("labels.txt"));
    fs::write(&labels, "cat\n\ndog\nthing\n").unwrap();
    let asked = ["explain", "-m", model.path(), "--image", file.to_str().unwrap(), "--labels", labels.to_str().unwrap()];
    let best = json_of(&[&asked[..], &["--json"]].concat());
    assert_eq!((&best["target"]["origin"], &best["target"]["tokens"][0]["rank"]), (&json!("predicted"), &json!(0)));
    let dog = json_of(&[&asked[..], &["--label", "Dog", "--json"]].concat());
    assert_eq!((&dog["target"]["text"], &dog["target"]["tokens"][0]["id"]), (&json!("dog"), &json!(1)));
    assert!(refused(2, &[&asked[..], &["--label", "cow"]].concat()).contains("no label `cow` among its 3"));
    assert!(refused(2, &[&asked[..], &["--template", "a photo"]].concat()).contains("no place for a label"));
}

#[test]
fn a_folder_of_pictures_is_explained_one_by_one_and_taken_up_again() {
    let (model, folder) = (Model::new("vit"), tempfile::tempdir().unwrap());
    let (from, into) = (folder.path().join("in"), folder.path().join("out"));
    fs::create_dir(&from).unwrap();
    picture(&from, "a.png", 40, 40);
    picture(&from, "b & c.jpg", 64, 48);
    fs::write(from.join("broken.png"), b"not a picture").unwrap();
    fs::write(from.join("notes.txt"), "left alone").unwrap();
    let asked = ["explain", "-m", model.path(), "--image", from.to_str().unwrap(), "--method", "chefer", "-o", into.to_str().unwrap()];
    let output = pellucid().args(asked).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("1 of 3: a.png") && stderr.contains("broken.png") && stderr.contains("not an image"), "{stderr}");
    for name in ["a.png", "b & c.jpg"] {
        let a: Json = serde_json::from_slice(&fs::read(into.join(format!("{name}.json"))).unwrap()).unwrap();
        assert_eq!(a["input"]["image"]["name"], name);
        assert!(image::open(into.join(format!("{name}.png"))).unwrap().width() > 100);
    }
    let index = fs::read_to_string(into.join("index.html")).unwrap();
    assert!(
        index.contains("./b%20%26%20c.jpg.png") && index.contains("b &amp; c.jpg") && index.contains("1 without an explanation"),
        "{index}"
    );
    // Again, with one more: what is there is not made again.
    fs::remove_file(from.join("broken.png")).unwrap();
    picture(&from, "d.png", 32, 32);
    let made = fs::metadata(into.join("a.png.json")).unwrap().modified().unwrap();
    let output = pellucid().args(asked).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && stderr.contains("a.png (was there)") && !stderr.contains("d.png (was there)"), "{stderr}");
    assert_eq!(fs::metadata(into.join("a.png.json")).unwrap().modified().unwrap(), made);
    // A picture that was changed is explained anew.
    picture(&from, "a.png", 41, 40);
    shown(&asked);
    let a: Json = serde_json::from_slice(&fs::read(into.join("a.png.json")).unwrap()).unwrap();
    assert_eq!(a["input"]["image"]["width"], 41);
    // Answers to another question do not get among them: another class, another arithmetic, another ground behind transparent pictures.
    for other in [&["--class", "1"][..], &["--compute", "f64"], &["--background", "white"]] {
        let told = refused(2, &[&asked[..], other].concat());
        assert!(told.contains("holds the answers to another question"), "{told}");
    }
    // Drawn otherwise, the same numbers give other pictures.
    let drawn = fs::read(into.join("a.png.png")).unwrap();
    let output = pellucid().args([&asked[..], &["--palette", "jet"]].concat()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("a.png (was there)"));
    assert_ne!(fs::read(into.join("a.png.png")).unwrap(), drawn);
    // What comes out does not get among what goes in.
    let mut same = asked;
    same[8] = from.to_str().unwrap();
    assert!(refused(2, &same).contains("needs a folder of its own"));
    assert_eq!(fs::read_dir(&from).unwrap().count(), 4);
}

#[test]
fn bad_pictures_are_refused_with_what_is_wrong() {
    let (model, folder) = (Model::new("vit"), tempfile::tempdir().unwrap());
    let explain = |path: &Path| refused_any(&["explain", "-m", model.path(), "--image", path.to_str().unwrap(), "--class", "0"]);
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(picture(folder.path(), "whole.png", 40, 40)).unwrap();
    assert!(explain(&folder.path().join("missing.png")).contains("missing.png"));
    assert!(explain(&file("empty.png", b"")).contains("empty"));
    assert!(explain(&file("text.png", b"hello, this is text")).contains("not an image"));
    assert!(explain(&file("cut.png", &whole[..whole.len() / 2])).contains("cut.png"));
    // A header that promises 50,000 × 50,000 pixels: 7.5 GB of RGB.
    let mut huge = whole.clone();
    huge[16..24].copy_from_slice(&[50_000u32.to_be_bytes(), 50_000u32.to_be_bytes()].concat());
    let crc = crc(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.to_be_bytes());
    let told = explain(&file("huge.png", &huge));
    assert!(told.contains("50000"), "{told}");
    assert!(explain(folder.path().join("nothing").as_path()).contains("nothing"));
    // A single pixel is a picture.
    picture(folder.path(), "dot.png", 1, 1);
    shown(&["explain", "-m", model.path(), "--image", folder.path().join("dot.png").to_str().unwrap(), "--class", "0"]);
}

#[test]
fn a_picture_smaller_than_what_the_model_takes_is_padded_and_the_padding_gets_no_score() {
    let (model, folder) = (Model::new("vit"), tempfile::tempdir().unwrap());
    let preprocessing = Path::new(model.path()).join("preprocessor_config.json");
    let text = fs::read_to_string(&preprocessing).unwrap().replace("\"do_resize\":true", "\"do_resize\":false");
    fs::write(&preprocessing, text).unwrap();
    // 16 of the 32 rows are padding, and of the columns none.
    let file = picture(folder.path(), "flat.png", 32, 16);
    let map = folder.path().join("map.png");
    for method in ["atman", "saliency"] {
        let asked = ["explain", "-m", model.path(), "--image", file.to_str().unwrap(), "--class", "0", "--method", method];
        let a = json_of(&[&asked[..], &["--json", "-o", map.to_str().unwrap()]].concat());
        assert_eq!(a["input"]["image"]["seen"], json!({ "left": 0.0, "top": 0.0, "width": 1.0, "height": 1.0 }));
        let features = a["features"].as_array().unwrap();
        assert_eq!(features.len(), 8, "{method}");
        assert_eq!(features[0]["text"], "row 1, column 0");
        assert_eq!(features[4]["region"], json!({ "left": 0.0, "top": 0.5, "width": 0.25, "height": 0.5 }));
        if method == "saliency" {
            assert_eq!((&a["pixels"]["width"], &a["pixels"]["height"]), (&json!(32), &json!(16)));
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let (vit, clip, folder) = (Model::new("vit"), Model::new("clip"), tempfile::tempdir().unwrap());
    let file = picture(folder.path(), "disc.png", 40, 40);
    let (file, vit, clip) = (file.to_str().unwrap(), vit.path(), clip.path());
    for (more, says) in [
        (&["-m", "../../cases/gptj", "--image", file][..], "reads texts, not pictures"),
        (&["-m", vit, "some words", "--class", "1"], "reads pictures, not texts"),
        (&["-m", vit, "--image", file, "--class", "77"], "class 77 is beyond the model, which has 5 classes"),
        (&["-m", vit, "--image", file, "--units", "line"], "a picture has no units `line`"),
        (&["-m", vit, "--image", file, "--units", "99x2"], "more than the model's 32 × 32 pixels"),
        (&["-m", vit, "--image", file, "--only", "x"], "parts of a text were named"),
        (&["-m", vit, "--image", file, "--text", "a cat"], "name one with --class"),
        (&["-m", clip, "--image", file], "--text"),
        (&["-m", clip, "--image", file, "--text", "a a a a a a a a a a a a a a a a a"], "the model takes 1 to 16"),
        (&["-m", clip, "--image", file, "--text", " "], "is empty"),
        (&["-m", "../../cases/vit", "--image", file], "preprocessor_config.json"),
    ] {
        let told = refused_any(&[&["explain"], more].concat());
        assert!(told.contains(says), "{more:?}: {told}");
    }
}

#[test]
fn a_picture_is_not_written_over_by_its_own_explanation() {
    let (model, folder) = (Model::new("vit"), tempfile::tempdir().unwrap());
    let file = picture(folder.path(), "disc.png", 40, 40);
    let before = fs::read(&file).unwrap();
    for command in ["explain", "compare"] {
        let twice = folder.path().join(".").join("disc.png");
        let form = if command == "compare" { "--html" } else { "-o" };
        let told = refused(2, &[command, "-m", model.path(), "--image", file.to_str().unwrap(), form, twice.to_str().unwrap()]);
        assert!(told.contains("is what is explained"), "{told}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_model_of_pictures_is_shown_with_what_it_reads() {
    let (vit, clip) = (Model::new("vit"), Model::new("clip"));
    let told = shown(&["models", "show", vit.path()]);
    assert!(told.contains("pictures of 32 × 32 pixels: 1 learned row and 4 × 4 patches of 8 × 8"), "{told}");
    assert!(told.contains("one of 5 classes") && !told.contains("vocabulary") && !told.contains("tokenizer"), "{told}");
    let told = shown(&["models", "show", clip.path()]);
    assert!(told.contains("(--text)") && told.contains("tokenizer"), "{told}");
    let picture = &json_of(&["models", "show", clip.path(), "--json"])["picture"];
    assert_eq!((&picture["patch"], &picture["texts"]), (&json!(8), &json!(true)));
}

#[test]
fn methods_are_compared_on_a_picture() {
    let (model, folder) = (Model::new("vit"), tempfile::tempdir().unwrap());
    let file = picture(folder.path(), "disc.png", 40, 40);
    let page = folder.path().join("page.html");
    let all = json_of(&[
        "compare",
        "-m",
        model.path(),
        "--image",
        file.to_str().unwrap(),
        "--class",
        "1",
        "--html",
        page.to_str().unwrap(),
        "--json",
    ]);
    let made: Vec<&str> = all["attributions"].as_array().unwrap().iter().map(|a| a["method"]["id"].as_str().unwrap()).collect();
    for method in ["atman", "occlusion", "saliency", "integrated-gradients", "attention-rollout", "chefer", "lrp", "attn-lrp", "alti"] {
        assert!(made.contains(&method), "{method}: {made:?}, left out {}", all["left_out"]);
    }
    assert!(all["left_out"].as_array().unwrap().iter().all(|l| l["failed"] == false), "{}", all["left_out"]);
    assert!(fs::read_to_string(&page).unwrap().contains("data:image/"));
}

/// Standard error of a run that must fail, whatever its code.
fn refused_any(args: &[&str]) -> String {
    let output = pellucid().args(args).output().unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?}: {:?}", output.status);
    String::from_utf8(output.stderr).unwrap()
}

/// The check sum of a PNG's chunk (ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    let step = |c: u32| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |c, _| step(c)))
}

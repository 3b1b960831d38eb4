//! Models with weights that look random, and inputs for them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use pellucid::{
    Loaded, Model, Symbol,
    core::{
        Input,
        model::{Outputs, Pooling},
    },
    models::{
        architectures::{Config, find},
        open,
        source::Located,
    },
};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value as Json, json};

/// Numbers by the name of their tensor, with its shape.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn open_folder(path: &Path) -> Loaded {
    open(&Located { id: "test".into(), path: path.into(), file: None }).unwrap()
}

fn cases(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases").join(case)
}

/// A case's model.
pub(crate) fn load(case: &str) -> Model {
    open_folder(&cases(case)).model
}

/// A model of this config with weights that look random.
pub(crate) fn made(config: Json) -> Model {
    written(&config, &tensors(&config, &[]))
}

/// Every tensor of a model of this config, and some that a config does not tell of. (A norm after the mean stands in place of the one before.)
pub(crate) fn tensors(config: &Json, heads: &[(&str, &[usize])]) -> Tensors {
    let config = Config::new(config.clone()).unwrap();
    let architecture = (find(config.model_type().unwrap()).unwrap().build)(&config).unwrap();
    let blocks = (0..architecture.description().layers).flat_map(|l| architecture.block_parameters(l));
    let mut shapes: BTreeMap<_, _> = architecture.parameters().into_iter().chain(blocks).flat_map(|p| p.tensors()).collect();
    if heads.iter().any(|(name, _)| name.starts_with("fc_norm.")) {
        shapes.retain(|name, _| !name.starts_with("vit.layernorm."));
    }
    shapes.extend(heads.iter().map(|(name, shape)| (name.to_string(), shape.to_vec())));
    let mut state = 1u64;
    let mut next = || {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        (state as f32 / (1u64 << 31) as f32 - 0.5) * 0.6
    };
    shapes.into_iter().map(|(name, shape)| (name, (shape.clone(), (0..shape.iter().product()).map(|_| next()).collect()))).collect()
}

/// The model of this config with these weights.
pub(crate) fn written(config: &Json, tensors: &Tensors) -> Model {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let bytes =
        |(shape, values): &(Vec<usize>, Vec<f32>)| (shape.clone(), values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    let stored: Vec<_> = tensors.iter().map(|(name, tensor)| (name, bytes(tensor))).collect();
    let views = stored.iter().map(|(name, (shape, bytes))| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    std::fs::write(folder.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    open_folder(folder.path()).model
}

/// Three blocks, 4 × 4 patches, three classes.
pub(crate) fn picture_sizes() -> Json {
    json!({
        "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "mlp_ratio": 2, "intermediate_size": 128, "image_size": 32,
        "patch_size": 8, "num_channels": 3, "layer_norm_eps": 1e-6, "id2label": {"0": "a", "1": "b", "2": "c"}, "num_register_tokens": 4
    })
}

/// Models of pictures, 17 to 21 rows each, and the tower of texts that one of them comes with.
pub(crate) fn of_pictures() -> Vec<(&'static str, Model)> {
    let sizes = picture_sizes();
    let of = |model_type: &str, heads: &[(&str, &[usize])]| {
        let mut config = sizes.clone();
        config["model_type"] = model_type.into();
        written(&config, &tensors(&config, heads))
    };
    let classes = |name| [(name, &[3usize, 64][..])];
    let teacher: [(&str, &[usize]); 4] = [
        ("cls_classifier.weight", &[3, 64]),
        ("cls_classifier.bias", &[3]),
        ("distillation_classifier.weight", &[3, 64]),
        ("distillation_classifier.bias", &[3]),
    ];
    let average: [(&str, &[usize]); 3] = [("classifier.weight", &[3, 64]), ("fc_norm.weight", &[64]), ("fc_norm.bias", &[64])];
    let both: [(&str, &[usize]); 2] = [("classifier.weight", &[3, 128]), ("classifier.bias", &[3])];
    let vector = |salt: usize| (0..32).map(|i| ((i * 29 + salt * 17) % 31) as f64 / 31.0 - 0.5).collect();
    let clip = open_folder(&cases("clip"));
    let compared = |model: &Model| model.compared_with(&[vector(1), vector(2)], 14.0).unwrap();
    vec![
        ("vit", load("vit")),
        ("deit", of("deit", &classes("classifier.weight"))),
        ("deit with a teacher's head", of("deit", &teacher)),
        ("vit that averages", of("vit", &average)),
        ("dinov2 with registers", of("dinov2_with_registers", &both)),
        ("clip's pictures", compared(&clip.model)),
        ("clip's texts", compared(&clip.text.unwrap())),
    ]
}

/// Tokens below 128.
pub(crate) fn symbols(length: u32, salt: u32) -> Vec<Symbol> {
    (0..length).map(|i| Symbol::Token((i * 37 + salt * 11 + 5) % 128)).collect()
}

/// Tokens, the last third of another kind where the model tells kinds apart; of a model of pictures always a whole picture, and beside one a
/// text that ends with an end token, as CLIP's do.
pub(crate) fn input(model: &Model, length: u32, salt: u32) -> Input {
    if let Some(patches) = &model.description().patches {
        let [height, width] = patches.pixels();
        let pixel = |i: usize| ((i as u32 * 37 + i as u32 / 7 * 11 + salt * 13) % 61) as f32 / 30.0 - 1.0;
        return patches.input(&(0..patches.channels * height * width).map(pixel).collect::<Vec<_>>()).unwrap();
    }
    if let Outputs::Embedding { pooling: Pooling::Highest | Pooling::FirstOf(127), .. } = model.description().outputs {
        return symbols(length - 1, salt).into_iter().chain([Symbol::Token(127)]).collect();
    }
    let types: Vec<u32> =
        if model.description().types > 1 { (0..length).map(|p| u32::from(3 * p >= 2 * length)).collect() } else { vec![] };
    Input { types: types.into(), ..symbols(length, salt).into() }
}

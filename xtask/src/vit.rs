//! AtMan on a ViT-B/16 with random weights, against PyTorch: what suppressing each of its 196 patches in turn costs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to whoever runs it")]

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};
use pellucid::{
    Engine, Loaded,
    core::{FeaturePositions, Method, Part, Place, Question, Score, Target},
    explain::peak_bytes,
    methods::Atman,
    models::{
        architectures::{self, Config},
        open,
        source::Located,
    },
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;

use crate::bench::{Args, median, mib, product_rate};

const CLASSES: usize = 1000;

pub(crate) fn run(args: &Args) -> Result<()> {
    pellucid::core::use_threads(args.threads)?;
    let folder = tempfile::tempdir()?;
    write(folder.path())?;
    let loaded = open(&Located { id: "vit-b16-random".into(), path: folder.path().to_owned(), file: None })?;
    let question = question(&loaded)?;
    let (mut ours, mut theirs, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let mut cost = Default::default();
    once(args, &loaded, &Question { features: question.features[..4].to_vec(), ..question.clone() })?; // warm up: the file's pages
    for _ in 0..args.runs {
        let (seconds, estimate) = once(args, &loaded, &question)?;
        (cost, _) = (estimate, ours.push(seconds));
        rates.push(product_rate(&loaded, args.threads));
        if let Some(python) = &args.peer {
            theirs.push(peer(args, python)?);
        }
    }
    let (seconds, rate) = (median(ours.clone()), median(rates));
    println!("AtMan of {} patches, ViT-B/16, exact, f32: {seconds:.1} s {ours:.1?}", question.features.len());
    println!("{} copies, {} rows, {} sweeps; estimated peak {} MiB", cost.copies, cost.rows, cost.sweeps, mib(cost.peak_bytes));
    println!(
        "useful arithmetic: {:.0} GFLOP/s, {:.2} of the plain product rate ({rate:.0})",
        cost.gflop / seconds,
        cost.gflop / seconds / rate
    );
    println!("peak memory: {} MiB; weights: {} MiB", peak_bytes().map_or(0, mib), mib(4 * loaded.model.parameter_count()));
    if !theirs.is_empty() {
        let peer = median(theirs.clone());
        println!("PyTorch, 16 copies a batch: {peer:.1} s {theirs:.1?}; we are {:.2} times as fast", peer / seconds);
    }
    Ok(())
}

/// The sizes of ViT-B/16, weights as a new model has them.
fn write(folder: &Path) -> Result<()> {
    let config = json!({
        "model_type": "vit", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
        "image_size": 224, "patch_size": 16, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
        "id2label": (0..CLASSES).map(|i| (i.to_string(), json!(format!("class {i}")))).collect::<serde_json::Map<_, _>>(),
    });
    let read = Config::new(config.clone())?.with_shapes([("classifier.weight".to_owned(), vec![CLASSES, 768])]);
    let architecture = (architectures::find("vit")?.build)(&read)?;
    let blocks = (0..architecture.description().layers).flat_map(|l| architecture.block_parameters(l));
    let mut chance = ChaCha8Rng::seed_from_u64(0);
    let mut tensors = Vec::new();
    for (name, shape) in architecture.parameters().into_iter().chain(blocks).flat_map(|p| p.tensors()) {
        let numbers: usize = shape.iter().product();
        let norm = name.contains("norm") && name.ends_with("weight");
        let value = |chance: &mut ChaCha8Rng| if norm { 1.0f32 } else { chance.random_range(-0.035..0.035) };
        let bytes: Vec<u8> = (0..numbers).flat_map(|_| value(&mut chance).to_le_bytes()).collect();
        tensors.push((name, shape, bytes));
    }
    let views: Vec<_> = tensors.iter().map(|(n, s, b)| Ok((n, TensorView::new(Dtype::F32, s.clone(), b)?))).collect::<Result<_>>()?;
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))?;
    std::fs::write(folder.join("config.json"), config.to_string())?;
    Ok(())
}

fn question(loaded: &Loaded) -> Result<Question> {
    let patches = loaded.model.description().patches.as_ref().context("a model of pictures")?;
    let mut chance = ChaCha8Rng::seed_from_u64(1);
    let [height, width] = patches.pixels();
    let pixels: Vec<f32> = (0..patches.channels * height * width).map(|_| chance.random_range(-1.0..1.0)).collect();
    let target = Target { place: Place::Whole, tokens: vec![7], score: Score::Logit, ..Target::default() };
    let feature = |i| FeaturePositions { part: Part::Prompt, positions: vec![(patches.leading + i, 1.0)] };
    Ok(Question { prompt: patches.input(&pixels)?, features: (0..patches.count()).map(feature).collect(), target, ..Question::default() })
}

fn once(args: &Args, loaded: &Loaded, question: &Question) -> Result<(f64, pellucid::core::walk::Estimate)> {
    let mut engine = Engine::new(&loaded.model);
    engine.max_memory = args.max_memory;
    let begin = Instant::now();
    let outcome = Atman::default().attribute(&engine, question)?;
    ensure!(outcome.per_target_token.iter().flatten().all(|s| s.is_finite()), "a score is not finite");
    Ok((begin.elapsed().as_secs_f64(), outcome.cost))
}

fn peer(args: &Args, python: &Path) -> Result<f64> {
    let output = Command::new(python)
        .args(["bench/peers.py", "vit", "--mode", "batched", "--threads", &args.threads.to_string()])
        .output()
        .context("cannot start the peer's Python")?;
    ensure!(output.status.success(), "bench/peers.py failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    eprintln!("{}", text.trim());
    let json: serde_json::Value = serde_json::from_str(text.lines().last().context("bench/peers.py printed nothing")?)?;
    json["seconds_total"].as_f64().context("bench/peers.py printed no seconds_total")
}

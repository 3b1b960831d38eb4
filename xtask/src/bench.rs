//! Speed and memory: what README quotes. Every figure is printed with the ratio to something measured in the same run.
//!
//! ```text
//! cargo run --release -p xtask -- bench atman --peer PYTHON     exact AtMan of 256 tokens, against bench/peers.py
//! cargo run --release -p xtask -- bench lengths                 cost against the length of the prompt
//! cargo run --release -p xtask -- bench document                `auto` units against tokens on 2,000 tokens
//! cargo run --release -p xtask -- bench big --model FILE        a model larger than memory
//! cargo run --release -p xtask -- bench relevance --peer PYTHON --tokens 512    Chefer's relevance, against bench/peers.py
//! cargo run --release -p xtask -- bench vit --peer PYTHON       AtMan of the 196 patches of a ViT-B/16, against bench/peers.py
//! cargo run --release -p xtask -- bench growth                  methods that walk down, time and memory against length
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to whoever runs it")]

use std::{path::PathBuf, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use pellucid::{
    Engine, Loaded, Symbol,
    core::{FeaturePositions, Method, Part, Question, Score, Target, units, walk::Estimate},
    explain::peak_bytes,
    load,
    methods::Atman,
    models::source::{self, Options},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{relevance, vit};

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Job {
    /// Exact token-level AtMan of one prompt.
    Atman,
    /// The same for prompts of 64 to 2,048 tokens.
    Lengths,
    /// Automatic units on a document of 2,000 tokens.
    Document,
    /// 64 tokens on a model larger than memory.
    Big,
    /// Chefer's relevance of one prompt.
    Relevance,
    /// Methods that walk down, for prompts of 512 to 4,096 tokens.
    Growth,
    /// One method on one prompt.
    Method,
    /// AtMan on a picture.
    Vit,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    job: Job,
    /// Which method (for `growth` and `method`).
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// The model; a short name, a file or a folder.
    #[arg(long, default_value = source::DEFAULT)]
    pub(crate) model: String,
    /// Tokens of the prompt.
    #[arg(long, default_value_t = 256)]
    pub(crate) tokens: usize,
    /// How often each thing is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,
    /// A Python with torch, transformers, gguf and safetensors, to run bench/peers.py beside us.
    #[arg(long)]
    pub(crate) peer: Option<PathBuf>,
    /// Threads, ours and the peer's.
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Bytes the walk may take.
    #[arg(long)]
    pub(crate) max_memory: Option<u64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.job == Job::Growth {
        return relevance::growth(args);
    }
    if args.job == Job::Vit {
        return vit::run(args);
    }
    pellucid::core::use_threads(args.threads)?;
    let loaded = load(&args.model, &Options::default())?;
    let bytes = 4 * loaded.model.parameter_count();
    if args.job == Job::Method {
        return relevance::method(args, &loaded);
    }
    println!("{}: {:.1} million weights, {} MiB in f32; {} threads", args.model, bytes as f64 / 4e6, bytes >> 20, args.threads);
    match args.job {
        Job::Atman => atman(args, &loaded),
        Job::Lengths => lengths(args, &loaded),
        Job::Document => document(args, &loaded),
        Job::Big => big(args, &loaded),
        Job::Relevance => relevance::against_peer(args, &loaded),
        Job::Growth | Job::Method | Job::Vit => unreachable!("done above"),
    }
}

/// A prompt of random tokens, its last token the target.
pub(crate) fn question(loaded: &Loaded, tokens: usize) -> Question {
    let mut chance = ChaCha8Rng::seed_from_u64(0);
    let vocabulary = loaded.model.description().vocabulary as u32;
    let mut id = || chance.random_range(1000.min(vocabulary / 2)..vocabulary.min(40_000));
    let prompt = (0..tokens).map(|_| Symbol::Token(id())).collect();
    let target = Target { tokens: vec![id()], score: Score::LogProbability, ..Target::default() };
    let features = (0..tokens).map(|p| FeaturePositions { part: Part::Prompt, positions: vec![(p, 1.0)] }).collect();
    Question { prompt, features, target, ..Question::default() }
}

fn timed(args: &Args, loaded: &Loaded, question: &Question) -> Result<(f64, Estimate)> {
    let mut engine = Engine::new(&loaded.model);
    engine.max_memory = args.max_memory;
    let begin = Instant::now();
    let outcome = Atman::default().attribute(&engine, question)?;
    ensure!(outcome.per_target_token.iter().flatten().all(|s| s.is_finite()), "a score is not finite");
    Ok((begin.elapsed().as_secs_f64(), outcome.cost))
}

pub(crate) fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

pub(crate) fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// The rate of plain matrix products of this model's shapes, on all threads, in GFLOP/s.
pub(crate) fn product_rate(loaded: &Loaded, threads: usize) -> f64 {
    let d = loaded.model.description();
    pellucid::core::product_rate(384, d.d_model, d.d_ff, threads)
}

fn atman(args: &Args, loaded: &Loaded) -> Result<()> {
    let question = question(loaded, args.tokens);
    let mut ours = Vec::new();
    let mut theirs = [("one-by-one", Vec::new()), ("batched", Vec::new())];
    let (mut cost, mut rates) = (Estimate::default(), Vec::new());
    timed(args, loaded, &question)?; // warm up: the file's pages
    for _ in 0..args.runs {
        let (seconds, estimate) = timed(args, loaded, &question)?;
        rates.push(product_rate(loaded, args.threads));
        (cost, _) = (estimate, ours.push(seconds));
        for (mode, seconds) in &mut theirs {
            if let Some(python) = &args.peer {
                let json = peer(args, python, &["atman", "--mode", mode])?;
                seconds.push(json["seconds_total"].as_f64().context("bench/peers.py printed no seconds_total")?);
            }
        }
    }
    let (seconds, rate) = (median(ours), median(rates));
    let useful = cost.gflop / seconds;
    println!(
        "AtMan of {} tokens, exact, f32: {seconds:.1} s ({} copies, {} rows, {} sweeps)",
        args.tokens, cost.copies, cost.rows, cost.sweeps
    );
    println!("useful arithmetic: {useful:.0} GFLOP/s, {:.2} of the plain product rate ({rate:.0} GFLOP/s)", useful / rate);
    if let Some(peak) = peak_bytes() {
        let weights = 4 * loaded.model.parameter_count();
        println!("peak memory: {} MiB, {:.2} times the f32 weights", mib(peak), peak as f64 / weights as f64);
    }
    for (mode, seconds_theirs) in theirs.into_iter().filter(|t| !t.1.is_empty()) {
        let theirs = median(seconds_theirs);
        println!("PyTorch {mode}: {theirs:.1} s; we are {:.2} times as fast", theirs / seconds);
    }
    Ok(())
}

/// What bench/peers.py prints of a job.
pub(crate) fn peer(args: &Args, python: &PathBuf, job: &[&str]) -> Result<serde_json::Value> {
    let located = source::locate(&args.model, &Options::default())?;
    let output = Command::new(python)
        .arg("bench/peers.py")
        .args(job)
        .arg("--gguf")
        .arg(located.path)
        .args(["--tokens", &args.tokens.to_string(), "--threads", &args.threads.to_string()])
        .output()
        .context("cannot start the peer's Python")?;
    ensure!(output.status.success(), "bench/peers.py failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let json: serde_json::Value = serde_json::from_str(text.lines().last().context("bench/peers.py printed nothing")?)?;
    eprintln!("{json}");
    Ok(json)
}

/// Prompts of 64 to 2,048 tokens. Of long ones only every so many tokens are suppressed, and the whole is reckoned from the arithmetic.
fn lengths(args: &Args, loaded: &Loaded) -> Result<()> {
    const ENOUGH: f64 = 2500.0;
    println!("tokens  every  seconds run  GFLOP/s  whole GFLOP  whole seconds (reckoned)");
    for tokens in [64, 128, 256, 512, 1024, 2048] {
        let all = question(loaded, tokens);
        let whole = Atman::default().estimate(&Engine::new(&loaded.model), &all)?.gflop;
        let step = (whole / ENOUGH).ceil() as usize;
        let (seconds, cost) = timed(args, loaded, &every(&all, step))?;
        let rate = cost.gflop / seconds;
        println!("{tokens:>6} {step:>6} {seconds:>12.2} {rate:>8.0} {whole:>12.0} {:>14.1}", whole / rate);
    }
    Ok(())
}

fn every(question: &Question, step: usize) -> Question {
    Question { features: question.features.iter().step_by(step).cloned().collect(), ..question.clone() }
}

/// Automatic units of a document of 2,000 tokens, against its tokens (reckoned from a run of every 64th).
fn document(args: &Args, loaded: &Loaded) -> Result<()> {
    const TOKENS: usize = 2000;
    let tokenizer = loaded.tokenizer.as_ref().context("this model has no tokenizer")?;
    let paragraph = "The committee met on Tuesday. It heard from the engineers, who had measured the bridge twice. Nobody agreed on the cost! \
                     A second report was promised, and the chair thanked everyone for coming. What it will say is anybody's guess.\n\n";
    let text = paragraph.repeat(TOKENS / 30);
    let mut encoded = tokenizer.encode(&text, true)?;
    encoded.ids.truncate(TOKENS);
    encoded.spans.truncate(TOKENS);
    let end = encoded.spans.last().cloned().flatten().context("the last token covers no text")?.end;
    let base = Question { prompt: encoded.ids.iter().map(|id| Symbol::Token(*id)).collect(), ..question(loaded, 8) };
    let cut = |granularity: units::Granularity| -> Result<(Question, String)> {
        let found = units::units(&text[..end], &encoded.spans, &[], &granularity)?;
        let covered = found.units.into_iter().filter(|u| !u.tokens.is_empty());
        let features = covered.map(|u| FeaturePositions { part: Part::Prompt, positions: u.tokens }).collect();
        Ok((Question { features, ..base.clone() }, found.granularity.to_string()))
    };
    let (auto, chosen) = cut(units::Granularity::Auto)?;
    let (tokens, _) = cut(units::Granularity::Token)?;
    let (seconds, cost) = timed(args, loaded, &auto)?;
    println!("auto: {} units ({chosen}), {} rows, {:.0} GFLOP, {seconds:.1} s", auto.features.len(), cost.rows, cost.gflop);
    let whole = Atman::default().estimate(&Engine::new(&loaded.model), &tokens)?;
    let (some_seconds, some_cost) = timed(args, loaded, &every(&tokens, 64))?;
    let reckoned = some_seconds * whole.gflop / some_cost.gflop;
    println!(
        "tokens: {} units, {} rows, {:.0} GFLOP, {reckoned:.0} s (reckoned from every 64th)",
        tokens.features.len(),
        whole.rows,
        whole.gflop
    );
    println!("auto costs 1/{:.0} of the time, 1/{:.0} of the arithmetic", reckoned / seconds, whole.gflop / cost.gflop);
    Ok(())
}

fn big(args: &Args, loaded: &Loaded) -> Result<()> {
    let question = question(loaded, args.tokens.min(64));
    let (seconds, cost) = timed(args, loaded, &question)?;
    println!("AtMan of {} tokens: {seconds:.0} s, {:.0} GFLOP/s, {} sweeps", question.prompt.len(), cost.gflop / seconds, cost.sweeps);
    println!("peak resident memory, mapped pages counted: {} MiB", peak_bytes().map_or(0, mib));
    Ok(())
}

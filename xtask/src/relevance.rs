//! Speed and memory of the methods that walk down: against PyTorch, and with the length of the prompt.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to whoever runs it")]

use std::{process::Command, time::Instant};

use anyhow::{Context, Result, ensure};
use pellucid::{
    Engine, Loaded,
    core::{Method, Score},
    explain::peak_bytes,
    methods,
};

use crate::bench::{Args, median, mib, peer, question};

/// Methods whose memory is shown, and that a stack of patterns would not fit into memory for.
const LONG: [&str; 4] = ["chefer", "attention-rollout", "attn-lrp", "alti"];

/// Chefer's relevance against PyTorch's forward and backward pass with every attention map's gradient, run in turns.
pub(crate) fn against_peer(args: &Args, loaded: &Loaded) -> Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    once(args, loaded, "chefer")?; // warm up: the file's pages
    for _ in 0..args.runs {
        ours.push(once(args, loaded, "chefer")?);
        if let Some(python) = &args.peer {
            let json = peer(args, python, &["relevance"])?;
            theirs.push(json["seconds"].as_f64().context("bench/peers.py printed no seconds")?);
        }
    }
    let spread = |seconds: &[f64]| (seconds.iter().copied().fold(f64::INFINITY, f64::min), seconds.iter().copied().fold(0.0, f64::max));
    let (least, most) = spread(&ours);
    println!("chefer on {} tokens, f32: {:.2} s (median of {}; {least:.2} to {most:.2})", args.tokens, median(ours.clone()), args.runs);
    println!("peak memory: {} MiB", peak_bytes().map_or(0, mib));
    if !theirs.is_empty() {
        let (least, most) = spread(&theirs);
        println!("PyTorch: {:.2} s (median; {least:.2} to {most:.2})", median(theirs.clone()));
        println!(
            "we take {:.2} of its time; slowest of ours against its fastest: {:.2}",
            median(ours.clone()) / median(theirs),
            spread(&ours).1 / least
        );
    }
    Ok(())
}

/// One method on prompts of 512 to 4,096 tokens, each in a process of its own.
pub(crate) fn growth(args: &Args) -> Result<()> {
    println!("method              tokens  seconds  peak MiB   a stack of all patterns in f32, MiB");
    let names: Vec<&str> = args.method.as_deref().map_or(LONG.to_vec(), |m| vec![m]);
    for method in names {
        for tokens in [512, 1024, 2048, 4096] {
            let output = Command::new(std::env::current_exe()?)
                .args(["bench", "method", "--method", method, "--model", &args.model])
                .args(["--tokens", &tokens.to_string(), "--threads", &args.threads.to_string()])
                .output()?;
            ensure!(output.status.success(), "{method}: {}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout)?;
            println!("{}", text.lines().last().context("the measured process printed nothing")?);
        }
    }
    Ok(())
}

/// One method on one prompt: what [`growth`] runs in a process of its own.
pub(crate) fn method(args: &Args, loaded: &Loaded) -> Result<()> {
    let name = args.method.as_deref().context("which method? --method NAME")?;
    let seconds = once(args, loaded, name)?;
    let d = loaded.model.description();
    let stack = 4 * (d.layers * d.heads * args.tokens * args.tokens) as u64;
    println!("{name:<19} {:>6} {seconds:>8.1} {:>9} {:>10}", args.tokens, peak_bytes().map_or(0, mib), mib(stack));
    Ok(())
}

fn once(args: &Args, loaded: &Loaded, name: &str) -> Result<f64> {
    let method: Box<dyn Method> = (methods::find(name)?.make)(serde_json::json!({}))?;
    let mut question = question(loaded, args.tokens);
    question.target.score = Score::Logit;
    let mut engine = Engine::new(&loaded.model);
    engine.max_memory = args.max_memory;
    let begin = Instant::now();
    let outcome = method.attribute(&engine, &question)?;
    ensure!(outcome.per_target_token.iter().flatten().all(|s| s.is_finite()), "a score of {name} is not finite");
    Ok(begin.elapsed().as_secs_f64())
}

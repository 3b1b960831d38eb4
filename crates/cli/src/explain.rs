//! `pellucid explain`: which parts of a prompt an answer rests on.

mod folder;
mod meaning;
mod typed;

use std::{path::Path, process::ExitCode};

use pellucid::{
    Engine, Error, Loaded, Result,
    explain::{Aim, Prepared, Request, Texts, explain},
};
use serde_json::json;

use crate::{output, text};
use meaning::Meaning;
pub(crate) use meaning::setting;
pub(crate) use typed::{AskedArgs, Typed};

pub(crate) fn run(typed: Typed) -> Result<ExitCode> {
    let folder = typed.asked.picture.image.clone().filter(|path| path.is_dir());
    if let Some(folder) = folder {
        return each(typed, &folder);
    }
    let mut asked = typed.meaning()?;
    let loaded = asked.machine.load()?;
    let engine = asked.machine.engine(&loaded);
    let prepared = Prepared::new(&asked.request, &loaded, &engine)?;
    let question = prepared.question();
    tracing::info!(tokens = question.prompt.len(), units = question.features.len(), target = ?question.target.tokens, "read");
    match &asked.outputs {
        None => estimate(&asked, &prepared, &loaded, &engine)?,
        Some(outputs) => {
            check_target_token(outputs.target_token(), &prepared)?;
            let mut explanations = vec![(String::new(), prepared.explain(&asked.request, &loaded, &engine)?)];
            for text in 1..asked.texts {
                choose(&mut asked.request, text);
                explanations.push((format!("{}", text + 1), explain(&asked.request, &loaded, &engine)?));
            }
            for text in 0..if asked.both_ways { asked.texts } else { 0 } {
                choose(&mut asked.request, text);
                let given = (asked.request.prompt.clone(), asked.request.aim.clone(), asked.request.units.clone());
                asked.request.turn_round()?;
                let added = if text == 0 { "back".into() } else { format!("{}.back", text + 1) };
                explanations.push((added, explain(&asked.request, &loaded, &engine)?));
                (asked.request.prompt, asked.request.aim, asked.request.units) = given;
            }
            outputs.write(&explanations)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every picture of a folder.
fn each(mut typed: Typed, folder: &Path) -> Result<ExitCode> {
    let files = folder::pictures(folder)?;
    if typed.both_ways || typed.estimate || typed.asked.aim.text.len() > 1 {
        let what = "a folder of pictures has one explanation each: leave out --both-ways and --estimate, and give --text once";
        return Err(Error::request(what));
    }
    let (into, drawing) = typed.output.folder()?;
    let mut given = typed.asked.picture.clone();
    // What is asked is settled with the first picture that can be read; the others are put in its place.
    let readable = files.iter().find(|f| given.picture(f).is_ok()).unwrap_or(&files[0]);
    given.image = Some(readable.clone());
    typed.asked.picture = given.clone();
    let mut asked = typed.meaning()?;
    let loaded = asked.machine.load()?;
    let engine = asked.machine.engine(&loaded);
    folder::run(&mut asked, &given, (folder, &files), &into, &drawing, (&loaded, &engine))
}

fn choose(request: &mut Request, text: usize) {
    if let Aim::Texts(Texts { chosen: Some(chosen), .. }) = &mut request.aim {
        *chosen = text;
    }
}

fn check_target_token(wanted: Option<usize>, prepared: &Prepared) -> Result<()> {
    let tokens = prepared.question().target.tokens.len();
    match wanted {
        Some(token) if token >= tokens => {
            Err(Error::request(format!("target token {token} is beyond the target, which has {tokens} (counted from 0)")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn gflop(n: f64) -> String {
    if n < 10.0 { format!("{n:.3}") } else { text::grouped(n.round() as u64) }
}

/// What it would take, without running it.
fn estimate(asked: &Meaning, prepared: &Prepared, loaded: &Loaded, engine: &Engine<'_>) -> Result<()> {
    let cost = prepared.estimate(&asked.request, engine)?;
    let question = prepared.question();
    let (method, layers) = (asked.request.method.id(), loaded.model.description().layers);
    let (units, allowed) = (question.features.len(), engine.memory()?);
    if asked.json {
        return output::print_json(&json!({
            "model": loaded.record.id, "method": method, "compute": engine.compute.name(),
            "prompt_tokens": question.prompt.len(), "target_tokens": question.target.tokens.len(), "units": units,
            "copies": cost.copies, "sweeps": cost.sweeps, "rows": cost.rows, "gflop": cost.gflop,
            "peak_bytes": cost.peak_bytes, "allowed_bytes": allowed,
        }));
    }
    let head = format!("{method} on {} ({}, {layers} layers, {})\n", loaded.record.id, loaded.record.architecture, engine.compute.name());
    let what = if question.prompt.symbols.iter().any(|s| matches!(s, pellucid::Symbol::Vector(_))) { "rows" } else { "tokens" };
    let rows = [
        ("prompt", format!("{} {what}, {} units to score", text::grouped(question.prompt.len() as u64), text::grouped(units as u64))),
        ("target", format!("{} tokens", question.target.tokens.len())),
        ("copies", format!("{} go up, the clean one included", text::grouped(cost.copies as u64))),
        ("rows", format!("{} through every layer", text::grouped(cost.rows))),
        ("passes", format!("{} over the model's weights", cost.sweeps)),
        ("arithmetic", format!("{} GFLOP", gflop(cost.gflop))),
        ("memory", format!("{} at its peak, on top of the model's files; {} allowed", text::bytes(cost.peak_bytes), text::bytes(allowed))),
    ];
    output::print((head + &text::table(&rows, 2, text::columns())).as_bytes())
}

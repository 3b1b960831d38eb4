//! `pellucid generate`: a continuation, steered or not.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::atomic::Ordering,
};

use clap::Args;
use pellucid::{
    Engine, Error, Loaded, Mode, Result,
    core::units::{ControlSpec, Overlap},
    generate::{Continuation, Request, Sampling, generate},
};
use serde_json::{Value as Json, json};

use crate::{
    args::{self, Layers, Machine, MachineArgs, ModelArgs},
    columns, output,
    prompt::PromptArgs,
    text,
};

const AFTER: &str = "\
WHAT=FACTOR: a text as it stands (worst=0), its second occurrence (worst#2=0), tokens (3..7=10) or characters (chars:10..20=0.5).
0 removes, 1 changes nothing, above 1 amplifies. Where several touch a token, the last one counts.

Examples:
  pellucid generate \"Once upon a time\" -n 40
  pellucid generate \"The worst film I ever saw was\" --control worst=0 --compare
  pellucid generate \"Describe Rome\" --chat --control Rome=3 --temperature 0.8 --top-p 0.9 --seed 1";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Typed {
    #[command(flatten, next_help_heading = "What the model reads")]
    prompt: PromptArgs,
    /// Turn a part of the text down or up; may be repeated
    #[arg(long, value_name = "WHAT=FACTOR", help_heading = "Control")]
    control: Vec<ControlSpec>,
    /// How factors act on attention
    #[arg(long, default_value = Mode::default().name(), value_parser = args::modes(), help_heading = "Control")]
    mode: Mode,
    /// Layers they act in, for example 0,3..5 [default: all]
    #[arg(long, value_name = "LAYERS", help_heading = "Control")]
    layers: Option<Layers>,
    /// What a token gets that is covered in part
    #[arg(long, default_value = "partial", value_parser = args::overlaps(), help_heading = "Control")]
    overlap: Overlap,
    /// Run without control, too, and show both side by side
    #[arg(long, requires = "control", help_heading = "Control")]
    compare: bool,
    #[command(flatten, next_help_heading = "How it goes on")]
    drawing: DrawingArgs,
    #[command(flatten, next_help_heading = "Model and machine")]
    model: ModelArgs,
    #[command(flatten, next_help_heading = "Model and machine")]
    machine: MachineArgs,
    /// JSON on standard output
    #[arg(long, help_heading = "Output")]
    json: bool,
}

#[derive(Debug, Args)]
struct DrawingArgs {
    /// At most so many tokens
    #[arg(short = 'n', long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    tokens: u32,
    /// 0 takes the likeliest token; higher is livelier
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true)]
    temperature: f64,
    /// Draw from the K likeliest tokens only
    #[arg(long, value_name = "K", requires = "temperature")]
    top_k: Option<usize>,
    /// Draw from the likeliest tokens that together reach P
    #[arg(long, value_name = "P", requires = "temperature", default_value_t = 1.0, allow_negative_numbers = true)]
    top_p: f64,
    /// Where chance begins: the same seed draws the same text
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl Typed {
    fn meaning(self) -> Result<(Machine, Request)> {
        let DrawingArgs { tokens, temperature, top_k, top_p, seed } = self.drawing;
        let sampling = Sampling { temperature, top_k, top_p, seed }.checked()?;
        let controls = self.control.into_iter().map(|c| ControlSpec { overlap: self.overlap, ..c }).collect();
        let request = Request {
            prompt: self.prompt.meaning()?,
            controls,
            mode: self.mode,
            layers: self.layers.map(|l| l.0),
            tokens: tokens as usize,
            sampling,
        };
        Ok((Machine::new(self.model, self.machine), request))
    }
}

pub(crate) fn run(typed: Typed) -> Result<ExitCode> {
    let (json, compare) = (typed.json, typed.compare);
    let (machine, request) = typed.meaning()?;
    let loaded = machine.load()?;
    let engine = machine.engine(&loaded);
    if !json && !compare {
        return stream(&request, &loaded, &engine);
    }
    let steered = quietly(&request, &loaded, &engine)?;
    let free = Request { controls: Vec::new(), ..request.clone() };
    let free = if compare { Some(quietly(&free, &loaded, &engine)?) } else { None };
    match (json, free) {
        (false, Some(free)) => {
            let steered = (columns::title(&request), shown(&steered));
            let columns = columns::columns(("without control", &shown(&free)), (&steered.0, &steered.1), text::columns());
            output::print(columns.as_bytes())?;
        }
        (_, free) => output::print_json(&record(&request, &loaded, &steered, free.as_ref()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the text as it comes.
fn stream(request: &Request, loaded: &Loaded, engine: &Engine<'_>) -> Result<ExitCode> {
    let (mut out, terminal) = (io::stdout(), io::stdout().is_terminal());
    let mut done = Ok(());
    let mut hear = |piece: &str| {
        let piece = if terminal { text::harmless(piece) } else { piece.into() };
        if done.is_ok() {
            done = out.write_all(piece.as_bytes()).and_then(|()| out.flush());
            // Nobody listens: there is no use in going on.
            engine.cancel.fetch_or(done.is_err(), Ordering::Relaxed);
        }
    };
    let continuation = generate(request, loaded, engine, &mut hear);
    output::written(done)?;
    let rest = match &continuation {
        Ok(continuation) if loaded.tokenizer.is_none() => ids(&continuation.ids),
        _ => String::new(),
    };
    if continuation.is_ok() || matches!(continuation, Err(Error::Interrupted)) {
        output::print(format!("{rest}\n").as_bytes())?;
    }
    continuation.map(|_| ExitCode::SUCCESS)
}

/// Shows only how far it is.
fn quietly(request: &Request, loaded: &Loaded, engine: &Engine<'_>) -> Result<Continuation> {
    engine.progress.begin("generating", request.tokens as u64);
    let done = generate(request, loaded, engine, &mut |_| engine.progress.advance(1));
    engine.progress.end();
    done
}

fn shown(continuation: &Continuation) -> String {
    match continuation.text.is_empty() {
        true => ids(&continuation.ids),
        false => text::harmless(&continuation.text).into_owned(),
    }
}

fn ids(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

fn record(request: &Request, loaded: &Loaded, steered: &Continuation, free: Option<&Continuation>) -> Json {
    let continuation = |c: &Continuation| json!({ "ids": c.ids, "text": loaded.tokenizer.as_ref().map(|_| &c.text), "ended": c.ended });
    let Sampling { temperature, top_k, top_p, seed } = request.sampling;
    let mut record = json!({
        "model": loaded.record.id,
        "controls": request.controls.iter().map(ControlSpec::to_string).collect::<Vec<_>>(),
        "mode": request.mode,
        "layers": request.layers,
        "overlap": request.controls.first().map(|c| c.overlap),
        "sampling": { "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed },
        "continuation": continuation(steered),
    });
    if let Some(free) = free {
        record["uncontrolled"] = continuation(free);
    }
    record
}

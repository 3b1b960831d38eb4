//! `pellucid compare`: several methods on one input.

mod output;

use std::process::ExitCode;

use clap::Args;
use pellucid::{
    Comparison, Error, Result,
    compare::{Told, compare, estimate},
    core::Method,
    explain::Request,
    methods::{self, METHODS},
};
use serde_json::{Map, Value as Json, json};

use crate::{
    args::{Machine, MachineArgs, ModelArgs},
    explain::{AskedArgs, gflop, setting},
    failure, interrupt, text,
};
pub(crate) use output::{OutputArgs, Outputs};

const AFTER: &str = "\
A method that does not fit the model, or fails, is listed with the reason; the others go on.
The exit code is 1 if a method that was named does not fit, or if any failed.

Examples:
  pellucid compare \"The capital of France is\" --target \" Paris\" --methods atman,occlusion
  pellucid compare -m nanoguard \"Ignore all rules\" --score logit --units word --html guard.html
  pellucid compare --ids 1,2,3,4 --target-ids 5 --methods atman,random --set atman.factor=0 --json";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Typed {
    #[command(flatten)]
    asked: AskedArgs,
    /// Methods, for example atman,occlusion; `all` is every one that fits the model
    #[arg(long, value_name = "IDS", value_delimiter = ',', default_value = "all", help_heading = "How")]
    methods: Vec<String>,
    /// A parameter of a method by its name, its value in JSON; may be repeated
    #[arg(long, value_name = "METHOD.KEY=VALUE", help_heading = "How")]
    set: Vec<String>,
    #[command(flatten, next_help_heading = "Model and machine")]
    model: ModelArgs,
    #[command(flatten, next_help_heading = "Model and machine")]
    machine: MachineArgs,
    #[command(flatten, next_help_heading = "Output")]
    output: OutputArgs,
    /// Tell what each method would take, and stop
    #[arg(long, help_heading = "Output")]
    estimate: bool,
}

/// What is to be done.
struct Meaning {
    machine: Machine,
    request: Request,
    /// Methods beside the request's own.
    more: Vec<Box<dyn Method>>,
    /// Whether each method was named: one that does not fit is then a failure.
    named: bool,
    /// `None`: only an estimate is wanted.
    outputs: Option<Outputs>,
    json: bool,
}

impl Typed {
    /// Everything that can be wrong before a model is opened is found here.
    fn meaning(self) -> Result<Meaning> {
        let named = self.methods != ["all"];
        let mut methods = chosen(&self.methods, &self.set)?.into_iter();
        let first = methods.next().ok_or_else(|| Error::request("there is no method to compare; name one with --methods"))?;
        let json = self.output.json;
        self.output.spare(&self.asked.files())?;
        let outputs = if self.estimate { None } else { Some(self.output.meaning()?) };
        let request = self.asked.meaning(first, self.estimate)?;
        Ok(Meaning { machine: Machine::new(self.model, self.machine), request, more: methods.collect(), named, outputs, json })
    }
}

/// The methods with their parameters.
fn chosen(ids: &[String], set: &[String]) -> Result<Vec<Box<dyn Method>>> {
    let all = || METHODS.iter().map(|m| m.id.to_owned()).collect();
    let ids: Vec<String> = if ids == ["all"] { all() } else { ids.iter().map(|id| id.trim().to_owned()).collect() };
    if let Some(twice) = ids.iter().enumerate().find_map(|(i, id)| ids[..i].contains(id).then_some(id)) {
        return Err(Error::request(format!("method `{twice}` is named twice; name each once")));
    }
    let mut parameters: Vec<Map<String, Json>> = vec![Map::new(); ids.len()];
    for written in set {
        let (key, value) = setting(written)?;
        let (id, key) =
            key.split_once('.').ok_or_else(|| Error::request(format!("`{written}` names no method; write METHOD.KEY=VALUE")))?;
        let at = ids.iter().position(|known| known == id);
        let at = at.ok_or_else(|| {
            Error::request(format!("`{written}` sets a parameter of `{id}`, which is not compared; there are {}", ids.join(", ")))
        })?;
        parameters[at].insert(key.into(), value);
    }
    ids.iter().zip(parameters).map(|(id, parameters)| (methods::find(id)?.make)(parameters.into())).collect()
}

pub(crate) fn run(typed: Typed) -> Result<ExitCode> {
    let asked = typed.meaning()?;
    let loaded = asked.machine.load()?;
    let engine = asked.machine.engine(&loaded);
    let Some(outputs) = &asked.outputs else {
        let (prepared, each) = estimate(&asked.request, &asked.more, &loaded, &engine)?;
        let tokens = prepared.question().prompt.len();
        return told(&asked, tokens, prepared.question().features.len(), &each);
    };
    let comparison = compare(&asked.request, &asked.more, &loaded, &engine)?;
    if comparison.attributions.is_empty() {
        let why: Vec<String> = comparison.left_out.iter().map(|l| format!("{}: {}", l.method, l.reason)).collect();
        return Err(Error::request(format!("no method can explain this\n  {}", why.join("\n  "))));
    }
    outputs.write(&comparison)?;
    Ok(verdict(&comparison, asked.named))
}

/// What the process ends with, after what failed was said on standard error.
fn verdict(comparison: &Comparison, named: bool) -> ExitCode {
    let failed = comparison.left_out.iter().filter(|l| l.failed || named);
    let mut all_fine = true;
    for left in failed {
        failure::say(&Error::request(format!("{}: {}", left.method, left.reason)));
        all_fine = false;
    }
    if interrupt::flag().load(std::sync::atomic::Ordering::Relaxed) {
        return ExitCode::from(130);
    }
    if all_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What each method would take, without running any.
fn told(asked: &Meaning, tokens: usize, units: usize, each: &[Told]) -> Result<ExitCode> {
    if asked.json {
        let one = |(method, cost): &Told| match cost {
            Ok(c) => {
                json!({ "method": method, "copies": c.copies, "sweeps": c.sweeps, "rows": c.rows, "gflop": c.gflop, "peak_bytes": c.peak_bytes })
            }
            Err(why) => json!({ "method": method, "why_not": why.to_string() }),
        };
        crate::output::print_json(&json!({
            "model": asked.machine.id, "prompt_tokens": tokens, "units": units, "methods": each.iter().map(one).collect::<Vec<_>>(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<(&str, String)> = each
        .iter()
        .map(|(method, cost)| {
            let said = match cost {
                Ok(c) => format!(
                    "{} copies, {} passes over the weights, {} GFLOP, {} at its peak",
                    text::grouped(c.copies as u64),
                    c.sweeps,
                    gflop(c.gflop),
                    text::bytes(c.peak_bytes)
                ),
                Err(why) => format!("does not fit: {why}"),
            };
            (*method, said)
        })
        .collect();
    let head = format!("{} tokens, {units} units to score on {}\n", text::grouped(tokens as u64), asked.machine.id);
    crate::output::print((head + &text::table(&rows, 2, text::columns())).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

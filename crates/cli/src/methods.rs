//! `pellucid methods`: the table of explanation methods.

use std::process::ExitCode;

use clap::Args;
use pellucid::{
    Loaded, Result,
    methods::{Entry, METHODS},
};
use serde_json::{Value as Json, json};

use crate::{args, output, text};

const AFTER: &str = "\
Example:
  pellucid methods --model smollm2-135m";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Typed {
    /// Tell which of them fit this model, and why the others do not
    #[arg(short, long, value_name = "ID")]
    model: Option<String>,
    /// Fetch nothing: a model that is not on this machine is an error
    #[arg(long, requires = "model")]
    offline: bool,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(typed: Typed) -> Result<ExitCode> {
    let loaded = typed.model.map(|id| args::fetch(&id, typed.offline)).transpose()?;
    match typed.json {
        true => output::print_json(&METHODS.iter().map(|m| record(m, loaded.as_ref())).collect())?,
        false => {
            let told: Vec<String> = METHODS.iter().map(|m| tell(m, loaded.as_ref())).collect();
            output::print(told.join("\n").as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// With its default parameters.
fn fits(method: &Entry, loaded: &Loaded) -> Result<()> {
    (method.make)(json!({}))?.fits(loaded.model.description())
}

fn tell(method: &Entry, loaded: Option<&Loaded>) -> String {
    let mut rows = vec![
        ("needs", method.needs.to_owned()),
        ("costs", method.cost.to_owned()),
        ("promises", method.promise.into()),
        ("source", method.source.into()),
    ];
    if let Some(loaded) = loaded {
        let verdict = fits(method, loaded).map_or_else(|why| format!("no: {why}"), |()| "yes".into());
        rows.push(("fits", format!("{}: {verdict}", loaded.record.id)));
    }
    format!("{}\n  {}\n{}", method.id, method.summary, text::table(&rows, 2, text::columns()))
}

fn record(method: &Entry, loaded: Option<&Loaded>) -> Json {
    let Entry { id, summary, needs, promise, cost, source, .. } = method;
    let parameters = (method.make)(json!({})).map(|m| m.parameters()).unwrap_or_default();
    let mut record = json!({ "id": id, "summary": summary, "needs": needs, "cost": cost, "promise": promise, "source": source, "parameters": parameters });
    if let Some(loaded) = loaded {
        let why_not = fits(method, loaded).err().map(|e| e.to_string());
        record["fits"] = why_not.is_none().into();
        record["why_not"] = why_not.into();
    }
    record
}

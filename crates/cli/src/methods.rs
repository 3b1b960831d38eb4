//! `pellucid methods`: the table of explanation methods.

use std::process::ExitCode;

use clap::Args;
use pellucid::{
    Loaded, Result,
    methods::{Entry, METHODS, find},
};
use serde_json::{Value as Json, json};

use crate::{args, output, text};

const AFTER: &str = "\
Examples:
  pellucid methods --model minilm
  pellucid methods atman";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Typed {
    /// Tell all there is to say of this one: formula, source, what differs from it, cost, parameters
    name: Option<String>,
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
    let named = typed.name.as_deref().map(find).transpose()?;
    let loaded = typed.model.map(|id| args::fetch(&id, typed.offline)).transpose()?;
    match (named, typed.json) {
        (Some(method), true) => {
            let mut record = record(method, loaded.as_ref());
            record["documentation"] = documentation(method).into();
            output::print_json(&record)?;
        }
        (Some(method), false) => output::print(page(method, loaded.as_ref()).as_bytes())?,
        (None, true) => output::print_json(&METHODS.iter().map(|m| record(m, loaded.as_ref())).collect())?,
        (None, false) => {
            let told: Vec<String> = METHODS.iter().map(|m| tell(m, loaded.as_ref())).collect();
            output::print(told.join("\n").as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The first comment of the method's source file, without its marks.
fn documentation(method: &Entry) -> String {
    let lines = method.docs.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Everything about one method.
fn page(method: &Entry, loaded: Option<&Loaded>) -> String {
    let parameters = (method.make)(json!({})).map(|m| m.parameters()).unwrap_or_default();
    let parameters: Vec<(&str, String)> =
        parameters.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value.to_string())).collect();
    let list = match parameters.is_empty() {
        true => String::new(),
        false => format!("\nparameters and their defaults (--set NAME=VALUE)\n{}", text::table(&parameters, 2, text::columns())),
    };
    format!("{}\n{}\n{list}", tell(method, loaded), readable(&documentation(method)))
}

/// Paragraphs filled anew to the terminal's width; formulas (between ```) and lists stay as they are, links lose their brackets.
fn readable(documentation: &str) -> String {
    let (mut out, mut paragraph, mut formula) = (Vec::new(), String::new(), false);
    let width = text::columns().min(110);
    for line in documentation.lines().chain([""]) {
        let fence = line.trim_start().starts_with("```");
        let apart = fence || formula || line.trim().is_empty() || line.starts_with(['-', '|', '#', ' ']);
        let begins = ["Source:", "We differ", "Passes", "Memory:", "Promise:"].iter().any(|word| line.starts_with(word));
        if (apart || begins) && !paragraph.is_empty() {
            out.extend(text::wrap(&std::mem::take(&mut paragraph), width));
        }
        match (fence, formula) {
            (true, _) => formula = !formula,
            (false, true) => out.push(format!("    {line}").trim_end().to_owned()),
            (false, false) if line.trim().is_empty() => out.push(String::new()),
            (false, false) if apart => out.extend(text::wrap(&plain(line), width)),
            (false, false) => {
                let blank = if paragraph.is_empty() { "" } else { " " };
                paragraph.push_str(&format!("{blank}{}", plain(line)));
            }
        }
    }
    while out.last().is_some_and(String::is_empty) {
        out.pop();
    }
    out.join("\n")
}

/// Without the marks of a link: [`x`] is `x`.
fn plain(line: &str) -> String {
    line.replace("[`", "`").replace("`]", "`")
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

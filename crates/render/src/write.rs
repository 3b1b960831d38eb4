//! Files appear whole or not at all: written beside their place, flushed to the disk, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use pellucid_core::{Error, Result};

/// Writes `bytes` to `path`, replacing what is there and keeping its permissions. What is not a plain file (a pipe, a device) is written to
/// directly; a symbolic link keeps pointing, and its goal is replaced.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes).map_err(|e| Error::io("cannot write", path, e))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Ok(old) = fs::metadata(path) else { return place(path, bytes, None) };
    if old.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !old.is_file() {
        return OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    // A rename would also replace a file that we may not write to.
    OpenOptions::new().write(true).open(path)?;
    place(&fs::canonicalize(path)?, bytes, Some(old.permissions()))
}

fn place(path: &Path, bytes: &[u8], permissions: Option<fs::Permissions>) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (temporary, file) = create_beside(folder)?;
    let done = fill(file, bytes, permissions).and_then(|()| fs::rename(&temporary, path));
    if done.is_err() {
        // The first error is the one to tell; a left-over that cannot be removed adds nothing.
        let _ = fs::remove_file(&temporary);
    }
    done
}

fn fill(mut file: File, bytes: &[u8], permissions: Option<fs::Permissions>) -> io::Result<()> {
    file.write_all(bytes)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.sync_all()
}

/// A new file with a name that nobody else has; several processes and threads may write into one folder.
fn create_beside(folder: &Path) -> io::Result<(PathBuf, File)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let path = folder.join(format!(".pellucid-{}-{}.tmp", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unwritable_path_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("no/such/folder/a.json"), folder.path().to_path_buf()] {
            let error = write(&path, b"x").unwrap_err();
            assert!(matches!(error, Error::Io { .. }));
            assert!(error.to_string().starts_with(&format!("cannot write {}", path.display())), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_keeps_pointing_and_permissions_stay() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (goal, link) = (folder.path().join("goal"), folder.path().join("link"));
        fs::write(&goal, "old").unwrap();
        fs::set_permissions(&goal, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&goal, &link).unwrap();
        write(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&goal).unwrap(), b"new");
        assert_eq!(fs::metadata(&goal).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        write(Path::new("/dev/null"), b"x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}

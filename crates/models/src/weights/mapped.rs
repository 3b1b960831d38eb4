//! The bytes of a file, mapped into memory.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::Mmap;
use pellucid_core::{Error, Result};

/// A file's bytes: mapped, or held in memory where they came from elsewhere.
pub(super) enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Smallest unit that can leave memory: x86-64 has pages of 4 KiB, elsewhere they are 4, 16 or 64 KiB.
const PAGE: usize = if cfg!(target_arch = "x86_64") { 4 << 10 } else { 64 << 10 };

impl Bytes {
    /// Lets the whole pages strictly inside `range` leave memory; a later read brings them back from the file.
    pub(super) fn release(&self, range: Range<usize>) {
        let (start, end) = (range.start.next_multiple_of(PAGE), range.end / PAGE * PAGE);
        if start < end {
            self.drop_pages(start, end - start);
        }
    }

    #[cfg(unix)]
    fn drop_pages(&self, offset: usize, length: usize) {
        if let Bytes::Mapped(map) = self {
            // SAFETY: the mapping is of a file and read-only, so its pages hold nothing that the file does not: whoever reads them
            // again, also another thread at this moment, gets the same bytes from the file.
            let advised = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, length) };
            if let Err(error) = advised {
                tracing::debug!(%error, "pages could not be released"); // Only memory is lost.
            }
        }
    }

    #[cfg(not(unix))]
    fn drop_pages(&self, _offset: usize, _length: usize) {}
}

/// Maps a file into memory.
///
/// The file must not be changed or cut short by anyone while it is open: a changed file gives other numbers, and reading past the
/// end of a shortened one ends the process (`SIGBUS`). Replacing a file by renaming another over it is fine.
pub(super) fn map(path: &Path) -> Result<Bytes> {
    let file = plain_file(path)?;
    // SAFETY: a mapping is undefined behaviour if the file changes under it. Nothing in this process writes to weight files, and
    // model downloads are written beside and renamed; that others leave the file alone is the documented condition above.
    let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("cannot map", path, e))?;
    if map.is_empty() {
        return Err(Error::format(path, "the file is empty"));
    }
    Ok(Bytes::Mapped(map))
}

/// The first bytes of a file, at most 32.
pub(super) fn head(path: &Path) -> Result<Vec<u8>> {
    let mut head = Vec::with_capacity(32);
    plain_file(path)?.take(32).read_to_end(&mut head).map_err(|e| Error::io("cannot read", path, e))?;
    Ok(head)
}

fn plain_file(path: &Path) -> Result<File> {
    let metadata = path.metadata().map_err(|e| Error::io("cannot read", path, e))?;
    if !metadata.is_file() {
        return Err(Error::format(path, "not a plain file; name one weight file, or the JSON index of several"));
    }
    File::open(path).map_err(|e| Error::io("cannot read", path, e))
}

#[cfg(test)]
mod tests {
    use super::super::testing::TempFile;
    use super::*;

    #[test]
    fn released_pages_read_the_same_again() {
        let written: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
        let file = TempFile::new(&written);
        let bytes = map(file.path()).unwrap();
        assert!(*bytes == written[..]);
        bytes.release(0..bytes.len());
        bytes.release(5..70_000);
        bytes.release(5..6);
        assert!(*bytes == written[..]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn released_pages_leave_memory() {
        const SIZE: usize = 32 << 20;
        let file = TempFile::new(&vec![1; SIZE]);
        let bytes = map(file.path()).unwrap();
        let sum = |bytes: &[u8]| bytes.iter().map(|&b| usize::from(b)).sum::<usize>();
        assert_eq!(sum(&bytes), SIZE);
        assert!(resident(&bytes) >= SIZE / 1024);
        bytes.release(100..SIZE - 100);
        assert!(resident(&bytes) < SIZE / 1024 / 4, "{} KiB of the mapping are still in memory", resident(&bytes));
    }

    /// Resident size of the mapping that holds `bytes`, in KiB, as the system tells it.
    #[cfg(target_os = "linux")]
    fn resident(bytes: &[u8]) -> usize {
        let start = format!("{:x}-", bytes.as_ptr() as usize);
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mapping = smaps.lines().skip_while(|line| !line.starts_with(&start));
        let line = mapping.skip(1).find(|line| line.starts_with("Rss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

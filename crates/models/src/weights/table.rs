//! The tensors of one file: where each lies, and how to read it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::path::{Path, PathBuf};

use pellucid_core::{Error, Result, TensorInfo, WeightStore};

use super::encoding::Encoding;
use super::mapped::Bytes;

/// Most axes that a tensor may have, as in PyTorch.
pub(super) const MAX_AXES: usize = 64;

/// The tensors of one file. Every tensor in it lies inside the file and has a shape whose size fits its bytes.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    pub(super) bytes: Bytes,
    tensors: BTreeMap<String, Stored>,
}

#[derive(Debug)]
struct Stored {
    shape: Vec<usize>,
    rows: usize,
    columns: usize,
    encoding: Encoding,
    /// Bytes that the numbers take, each counted once.
    size: usize,
    /// First and one past the last byte in the file.
    range: Range<usize>,
    /// Distance between neighbours along each axis, in numbers; `None` where rows follow each other without gaps.
    strides: Option<Vec<usize>>,
}

impl TensorFile {
    pub(super) fn new(path: &Path, bytes: Bytes) -> Self {
        TensorFile { path: path.to_owned(), bytes, tensors: BTreeMap::new() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a row-major tensor that begins at byte `start` of the file, and returns the bytes that it takes.
    pub(super) fn add(&mut self, name: String, encoding: Encoding, shape: Vec<usize>, start: usize) -> Result<Range<usize>> {
        self.add_strided(name, encoding, shape, start, None)
    }

    /// Adds a tensor whose neighbours along axis i are `strides[i]` numbers apart.
    pub(super) fn add_strided(
        &mut self,
        name: String,
        encoding: Encoding,
        shape: Vec<usize>,
        start: usize,
        strides: Option<Vec<usize>>,
    ) -> Result<Range<usize>> {
        let problem = |what: String| Error::format(&self.path, format!("tensor `{name}` {what}"));
        if shape.len() > MAX_AXES {
            return Err(problem(format!("has {} axes; at most {MAX_AXES} are possible", shape.len())));
        }
        // No encoding keeps more than eight numbers in a byte: of an empty tensor, too, no axis may ask for more memory than the file could.
        let fits = shape.iter().all(|&axis| axis / 8 <= self.bytes.len());
        let (rows, columns) = countable(&shape).filter(|_| fits).ok_or_else(|| problem(format!("of shape {shape:?} is too large")))?;
        let (block, _) = encoding.block();
        if !columns.is_multiple_of(block) {
            return Err(problem(format!("has rows of {columns} numbers, but {} keeps them in blocks of {block}", encoding.name())));
        }
        let span = match &strides {
            None => Some(rows * columns),
            Some(strides) => span(&shape, strides),
        };
        let end = span.and_then(|numbers| encoding.bytes(numbers)).and_then(|bytes| start.checked_add(bytes));
        let end = end.filter(|&end| end <= self.bytes.len());
        let (Some(end), Some(size)) = (end, encoding.bytes(rows * columns)) else {
            return Err(problem(format!(
                "of shape {shape:?} in {} begins at byte {start} and ends outside the file, which has {}",
                encoding.name(),
                self.bytes.len()
            )));
        };
        let stored = Stored { shape, rows, columns, encoding, size, range: start..end, strides };
        match self.tensors.entry(name) {
            Entry::Occupied(entry) => Err(Error::format(&self.path, format!("there are two tensors called `{}`", entry.key()))),
            Entry::Vacant(entry) => Ok(entry.insert(stored).range.clone()),
        }
    }

    /// Whether there is a tensor of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}

/// Rows and columns as [`TensorInfo::matrix`] counts them, or `None` if the shape is too large to be counted.
fn countable(shape: &[usize]) -> Option<(usize, usize)> {
    // An axis of 0 must not hide the others' size: their product without it has to be countable, too.
    let size = shape.iter().try_fold(1usize, |size, &axis| size.checked_mul(axis.max(1)));
    size.filter(|&size| isize::try_from(size).is_ok())?;
    Some(pellucid_core::matrix(shape))
}

/// From the first to one past the last number of a strided tensor, or `None` if that is too far.
pub(super) fn span(shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().zip(strides).try_fold(1usize, |span, (axis, stride)| span.checked_add((axis - 1).checked_mul(*stride)?))
}

impl WeightStore for TensorFile {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let stored = self.tensors.get(name)?;
        Some(TensorInfo { shape: stored.shape.clone(), encoding: stored.encoding.name(), bytes: stored.size as u64 })
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let wrong = |what: String| Error::Weights(format!("{}: {what}", self.path.display()));
        let Some(stored) = self.tensors.get(name) else {
            return Err(wrong(format!("no tensor `{name}`")));
        };
        if rows.start > rows.end || rows.end > stored.rows {
            return Err(wrong(format!("rows {rows:?} are outside `{name}`, which has {}", stored.rows)));
        }
        if out.len() != rows.len() * stored.columns {
            let (rows, numbers) = (rows.len(), rows.len() * stored.columns);
            return Err(wrong(format!("{rows} rows of `{name}` are {numbers} numbers, but there is room for {}", out.len())));
        }
        if !stored.encoding.is_readable() {
            let encoding = stored.encoding.name();
            return Err(Error::format(&self.path, format!("tensor `{name}` is stored as {encoding}, which cannot be read as weights")));
        }
        stored.read(&self.bytes[stored.range.clone()], rows, out);
        Ok(())
    }

    fn release(&self, name: &str) {
        if let Some(stored) = self.tensors.get(name) {
            self.bytes.release(stored.range.clone());
        }
    }
}

impl Stored {
    fn read(&self, bytes: &[u8], rows: Range<usize>, out: &mut [f32]) {
        if out.is_empty() {
            return; // The rows of an empty tensor may be longer than memory.
        }
        let (block, block_bytes) = self.encoding.block();
        if let Some(strides) = &self.strides {
            return self.read_strided(bytes, strides, rows, out);
        }
        let row_bytes = self.columns / block * block_bytes;
        self.encoding.decode(&bytes[rows.start * row_bytes..rows.end * row_bytes], out);
    }

    /// One number at a time: rare, and slow.
    fn read_strided(&self, bytes: &[u8], strides: &[usize], rows: Range<usize>, out: &mut [f32]) {
        let (_, size) = self.encoding.block();
        for (number, y) in (rows.start * self.columns..).zip(out) {
            let (mut rest, mut at) = (number, 0);
            for (axis, stride) in self.shape.iter().zip(strides).rev() {
                at += rest % axis * stride;
                rest /= axis;
            }
            self.encoding.decode(&bytes[at * size..(at + 1) * size], std::slice::from_mut(y));
        }
    }
}

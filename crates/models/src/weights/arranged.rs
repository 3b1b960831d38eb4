//! A store seen through other names and other shapes.
//!
//! Published checkpoints keep the same numbers under different names: timm has queries, keys and values in one matrix, a convolution's weight
//! has four axes where a linear map has two. [`Arranged`] is a list of names, each with where its numbers are; nothing is copied that
//! a [`Source`] can point at. Stored tensors that no source points at keep their names, so that whoever builds a model sees what it would miss.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use pellucid_core::{Error, Result, TensorInfo, WeightStore};

/// Largest tensor that is held in memory instead of being read where it lies: position tables and projections are far smaller.
const MOST_HELD: usize = 64 << 20;

/// Where a tensor's numbers are.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Numbers of a stored tensor, in its order: `shape` many from number `first` on.
    Stored {
        /// The stored tensor.
        tensor: String,
        /// Its number that comes first.
        first: usize,
        /// How they are seen.
        shape: Vec<usize>,
    },
    /// Numbers made at load, row-major.
    Held {
        /// Their shape.
        shape: Vec<usize>,
        /// As many as the shape says.
        numbers: Vec<f32>,
        /// Stored tensors that they were made from and that are not seen under their own names.
        from: Vec<String>,
    },
}

impl Source {
    /// A stored tensor as it is.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn whole(store: &dyn WeightStore, tensor: &str) -> Result<Self> {
        Ok(Source::Stored { tensor: tensor.into(), first: 0, shape: stored(store, tensor)?.shape })
    }

    /// All numbers of a stored tensor in another shape.
    ///
    /// # Errors
    /// There is none of that name, or it has another number of numbers.
    pub fn shaped(store: &dyn WeightStore, tensor: &str, shape: &[usize]) -> Result<Self> {
        let info = stored(store, tensor)?;
        if count(&info.shape).is_none() || count(&info.shape) != count(shape) {
            return Err(Error::Weights(format!("tensor `{tensor}` has shape {:?}, which cannot be seen as {shape:?}", info.shape)));
        }
        Ok(Source::Stored { tensor: tensor.into(), first: 0, shape: shape.into() })
    }

    /// Part `part` of `parts` equal ones along a stored tensor's first axis.
    ///
    /// # Errors
    /// There is none of that name, or its first axis has no such part.
    pub fn part(store: &dyn WeightStore, tensor: &str, (part, parts): (usize, usize)) -> Result<Self> {
        let mut shape = stored(store, tensor)?.shape;
        let wrong = format!("tensor `{tensor}` has shape {shape:?}, which has no part {part} of {parts}");
        let rows = shape.first().copied().filter(|rows| part < parts && rows % parts == 0).ok_or(Error::Weights(wrong))?;
        shape[0] = rows / parts;
        let first = count(&shape).map_or(0, |numbers| numbers * part);
        Ok(Source::Stored { tensor: tensor.into(), first, shape })
    }

    /// A stored matrix with its axes exchanged, held in memory.
    ///
    /// # Errors
    /// There is none of that name, it is no matrix or too large to be held, or it cannot be read.
    pub fn transposed(store: &dyn WeightStore, tensor: &str) -> Result<Self> {
        let info = stored(store, tensor)?;
        let [rows, columns] = info.shape[..] else {
            return Err(Error::Weights(format!("tensor `{tensor}` has shape {:?}, which is no matrix", info.shape)));
        };
        let numbers = read(store, tensor)?;
        let turned = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).map(|at| numbers[at]).collect();
        Ok(Source::Held { shape: vec![columns, rows], numbers: turned, from: vec![tensor.into()] })
    }

    fn shape(&self) -> &[usize] {
        let (Source::Stored { shape, .. } | Source::Held { shape, .. }) = self;
        shape
    }

    /// The stored tensors that it stands for.
    fn tensors(&self) -> &[String] {
        match self {
            Source::Stored { tensor, .. } => std::slice::from_ref(tensor),
            Source::Held { from, .. } => from,
        }
    }
}

/// All numbers of a stored tensor, row-major.
///
/// # Errors
/// There is none of that name, it is too large to be held in memory, or it cannot be read.
pub fn read(store: &dyn WeightStore, tensor: &str) -> Result<Vec<f32>> {
    let info = stored(store, tensor)?;
    let numbers = count(&info.shape).filter(|n| *n <= MOST_HELD).ok_or_else(|| {
        Error::Weights(format!(
            "tensor `{tensor}` of shape {:?} is larger than the {MOST_HELD} numbers that are held in memory",
            info.shape
        ))
    })?;
    let mut out = vec![0.0; numbers];
    store.read_rows(tensor, 0..info.matrix().0, &mut out)?;
    Ok(out)
}

fn stored(store: &dyn WeightStore, tensor: &str) -> Result<TensorInfo> {
    store.info(tensor).ok_or_else(|| Error::Weights(format!("tensor `{tensor}` is missing from the weights")))
}

fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, axis| n.checked_mul(*axis))
}

/// A store under other names.
pub struct Arranged {
    inner: Box<dyn WeightStore>,
    sources: BTreeMap<String, Source>,
}

impl Arranged {
    /// `inner` with these tensors. Stored ones that no source stands for and that are not `ignored` stay as they are.
    ///
    /// # Errors
    /// Two tensors of the same name; a source outside its stored tensor, or with another number of numbers than its shape says.
    pub fn new(inner: Box<dyn WeightStore>, tensors: Vec<(String, Source)>, ignored: &[&str]) -> Result<Self> {
        let mut sources = BTreeMap::new();
        let mut used: BTreeSet<String> = ignored.iter().map(|name| (*name).to_owned()).collect();
        for (name, source) in tensors {
            check(inner.as_ref(), &name, &source)?;
            used.extend(source.tensors().iter().cloned());
            insert(&mut sources, name, source)?;
        }
        for name in inner.names() {
            if !used.contains(&name) {
                let source = Source::whole(inner.as_ref(), &name)?;
                insert(&mut sources, name, source)?;
            }
        }
        Ok(Self { inner, sources })
    }
}

fn wrong(name: &str, what: String) -> Error {
    Error::Weights(format!("tensor `{name}`: {what}"))
}

fn insert(sources: &mut BTreeMap<String, Source>, name: String, source: Source) -> Result<()> {
    match sources.entry(name) {
        Entry::Vacant(entry) => drop(entry.insert(source)),
        Entry::Occupied(entry) => {
            let (one, two) = (entry.get().tensors().join("`, `"), source.tensors().join("`, `"));
            return Err(Error::Weights(format!("`{one}` and `{two}` are both tensor `{}`", entry.key())));
        }
    }
    Ok(())
}

fn check(store: &dyn WeightStore, name: &str, source: &Source) -> Result<()> {
    let numbers = count(source.shape()).ok_or_else(|| wrong(name, format!("its shape {:?} is too large", source.shape())))?;
    match source {
        Source::Held { numbers: held, shape, .. } if held.len() != numbers => {
            Err(wrong(name, format!("{} numbers are not of shape {shape:?}", held.len())))
        }
        Source::Held { .. } => Ok(()),
        Source::Stored { tensor, first, .. } => {
            let info = stored(store, tensor)?;
            let fits = first.checked_add(numbers).is_some_and(|end| count(&info.shape).is_some_and(|all| end <= all));
            let outside = || format!("{numbers} numbers from {first} on are outside `{tensor}` of shape {:?}", info.shape);
            if fits { Ok(()) } else { Err(wrong(name, outside())) }
        }
    }
}

impl WeightStore for Arranged {
    fn names(&self) -> Vec<String> {
        self.sources.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let shape = self.sources.get(name)?.shape().to_vec();
        let numbers = count(&shape)?;
        match self.sources.get(name)? {
            Source::Held { .. } => Some(TensorInfo { shape, encoding: "f32", bytes: 4 * numbers as u64 }),
            Source::Stored { tensor, .. } => {
                let info = self.inner.info(tensor)?;
                // A part takes its share; 128 bits hold the product of any two sizes.
                let share = u128::from(info.bytes) * numbers as u128 / count(&info.shape)?.max(1) as u128;
                Some(TensorInfo { shape, encoding: info.encoding, bytes: u64::try_from(share).ok()? })
            }
        }
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let info = self.info(name).ok_or_else(|| Error::Weights(format!("tensor `{name}` is missing from the weights")))?;
        let (all, columns) = info.matrix();
        if rows.start > rows.end || rows.end > all {
            return Err(Error::Weights(format!("rows {rows:?} are outside `{name}`, which has {all}")));
        }
        if out.len() != rows.len() * columns {
            let (rows, numbers) = (rows.len(), rows.len() * columns);
            return Err(Error::Weights(format!("{rows} rows of `{name}` are {numbers} numbers, but there is room for {}", out.len())));
        }
        match &self.sources[name] {
            Source::Held { numbers, .. } => {
                out.copy_from_slice(&numbers[rows.start * columns..rows.end * columns]);
                Ok(())
            }
            Source::Stored { tensor, first, .. } => read_numbers(self.inner.as_ref(), tensor, first + rows.start * columns, out),
        }
    }

    fn release(&self, name: &str) {
        if let Some(Source::Stored { tensor, .. }) = self.sources.get(name) {
            self.inner.release(tensor);
        }
    }
}

/// Reads numbers of a stored tensor from number `first` on. A store gives whole rows: where these begin or end within one, what is not asked
/// for is read beside and dropped.
fn read_numbers(store: &dyn WeightStore, tensor: &str, first: usize, out: &mut [f32]) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let (_, columns) = stored(store, tensor)?.matrix();
    let (row, before) = (first / columns, first % columns);
    let end = (before + out.len()).div_ceil(columns);
    if before == 0 && end * columns == out.len() {
        return store.read_rows(tensor, row..row + end, out);
    }
    let mut whole = vec![0.0; end * columns];
    store.read_rows(tensor, row..row + end, &mut whole)?;
    out.copy_from_slice(&whole[before..before + out.len()]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{safetensors, testing};
    use super::*;

    /// `qkv` [6, 2] = 0…11, `bias` [6] = 20…25, `conv` [2, 2, 1, 2] = 30…37, `proj` [2, 3] = 40…45, `extra` [1].
    fn store() -> Box<dyn WeightStore> {
        let header = r#"{"qkv": {"dtype": "F32", "shape": [6, 2], "data_offsets": [0, 48]},
            "bias": {"dtype": "F32", "shape": [6], "data_offsets": [48, 72]},
            "conv": {"dtype": "F32", "shape": [2, 2, 1, 2], "data_offsets": [72, 104]},
            "proj": {"dtype": "F32", "shape": [2, 3], "data_offsets": [104, 128]},
            "extra": {"dtype": "F32", "shape": [1], "data_offsets": [128, 132]}}"#;
        let from = |start: i32, n: i32| (start..start + n).map(|x| x as f32);
        let numbers: Vec<f32> = from(0, 12).chain(from(20, 6)).chain(from(30, 8)).chain(from(40, 6)).chain(from(50, 1)).collect();
        Box::new(safetensors::from_bytes(testing::safetensors(header, &testing::floats(&numbers))).unwrap())
    }

    fn arranged(tensors: &[(&str, Source)]) -> Result<Arranged> {
        Arranged::new(store(), tensors.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect(), &[])
    }

    fn all(store: &dyn WeightStore, name: &str) -> Vec<f32> {
        read(store, name).unwrap()
    }

    #[test]
    fn parts_shapes_and_transposes_give_the_stored_numbers() {
        let inner = store();
        let store = arranged(&[
            ("query", Source::part(inner.as_ref(), "qkv", (0, 3)).unwrap()),
            ("value", Source::part(inner.as_ref(), "qkv", (2, 3)).unwrap()),
            ("key.bias", Source::part(inner.as_ref(), "bias", (1, 3)).unwrap()),
            ("patch", Source::shaped(inner.as_ref(), "conv", &[2, 4]).unwrap()),
            ("projection", Source::transposed(inner.as_ref(), "proj").unwrap()),
            ("made", Source::Held { shape: vec![1, 2], numbers: vec![-1.0, -2.0], from: vec![] }),
        ])
        .unwrap();
        assert_eq!(store.names(), ["extra", "key.bias", "made", "patch", "projection", "query", "value"]);
        assert_eq!(all(&store, "query"), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(all(&store, "value"), [8.0, 9.0, 10.0, 11.0]);
        assert_eq!(all(&store, "key.bias"), [22.0, 23.0]);
        assert_eq!(all(&store, "projection"), [40.0, 43.0, 41.0, 44.0, 42.0, 45.0]);
        assert_eq!(all(&store, "made"), [-1.0, -2.0]);
        let mut row = [0.0; 4];
        store.read_rows("patch", 1..2, &mut row).unwrap();
        assert_eq!(row, [34.0, 35.0, 36.0, 37.0]);
        let info = |name: &str| store.info(name).map(|info| (info.shape, info.bytes)).unwrap();
        assert_eq!((info("query"), info("key.bias"), info("patch")), ((vec![2, 2], 16), (vec![2], 8), (vec![2, 4], 32)));
        store.release("query");
        store.release("no such tensor");
        assert_eq!(all(&store, "query"), [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_view_that_begins_within_a_stored_row_is_read_exactly() {
        let store = arranged(&[("middle", Source::Stored { tensor: "qkv".into(), first: 3, shape: vec![2, 3] })]).unwrap();
        assert_eq!(all(&store, "middle"), [3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let mut row = [0.0; 3];
        store.read_rows("middle", 1..2, &mut row).unwrap();
        assert_eq!(row, [6.0, 7.0, 8.0]);
    }

    #[test]
    fn sources_that_do_not_fit_are_errors() {
        let inner = store();
        let part = |part| Source::part(inner.as_ref(), "qkv", part).unwrap();
        for (tensors, words) in [
            (vec![("a", part((0, 2))), ("a", part((1, 2)))], "`qkv` and `qkv` are both tensor `a`"),
            (vec![("extra", part((0, 2)))], "`qkv` and `extra` are both tensor `extra`"),
            (vec![("a", Source::Stored { tensor: "qkv".into(), first: 11, shape: vec![2] })], "2 numbers from 11 on are outside `qkv`"),
            (vec![("a", Source::Stored { tensor: "qkv".into(), first: usize::MAX, shape: vec![2] })], "are outside `qkv`"),
            (vec![("a", Source::Stored { tensor: "qkv".into(), first: 0, shape: vec![usize::MAX, 2] })], "is too large"),
            (vec![("a", Source::Stored { tensor: "none".into(), first: 0, shape: vec![2] })], "tensor `none` is missing"),
            (vec![("a", Source::Held { shape: vec![3], numbers: vec![1.0], from: vec![] })], "1 numbers are not of shape [3]"),
        ] {
            let error = arranged(&tensors).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(Source::part(inner.as_ref(), "qkv", (0, 4)).unwrap_err().to_string().contains("has no part 0 of 4"));
        assert!(Source::shaped(inner.as_ref(), "qkv", &[5, 2]).unwrap_err().to_string().contains("cannot be seen as [5, 2]"));
        assert!(Source::transposed(inner.as_ref(), "bias").unwrap_err().to_string().contains("is no matrix"));
    }

    #[test]
    fn rows_and_buffers_that_do_not_fit_are_errors() {
        let inner = store();
        let store = arranged(&[("query", Source::part(inner.as_ref(), "qkv", (0, 3)).unwrap())]).unwrap();
        for (name, rows, room, words) in [
            ("query", 1..3, 4, "rows 1..3 are outside `query`, which has 2"),
            ("query", 0..2, 3, "2 rows of `query` are 4 numbers, but there is room for 3"),
            ("qkv", 0..1, 2, "tensor `qkv` is missing"),
        ] {
            let error = store.read_rows(name, rows, &mut vec![0.0; room]).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}

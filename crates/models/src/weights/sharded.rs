//! Weights in several files, with a JSON index of which tensor is where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use pellucid_core::{Error, Result, TensorInfo, WeightStore};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::{Kind, TensorFile, mapped, safetensors, torch};

/// Largest index that is read: a hundred thousand tensors take about ten million bytes.
const MAX_INDEX: usize = 100_000_000;

/// The tensors of all shards that an index such as `model.safetensors.index.json` or `pytorch_model.bin.index.json` names.
///
/// Every tensor of the index must be in the shard that the index gives for it, and the index must name every tensor of every shard.
#[derive(Debug)]
pub struct Sharded {
    index: PathBuf,
    shards: Vec<TensorFile>,
    /// Which shard holds a tensor.
    tensors: BTreeMap<String, usize>,
}

impl Sharded {
    /// Opens an index and all its shards, which must lie beside it.
    ///
    /// # Errors
    /// A file cannot be read or is not what it says it is, or index and shards disagree.
    pub fn open(path: &Path) -> Result<Self> {
        let weight_map = read_index(path)?;
        let names: Vec<&String> = weight_map.values().collect::<BTreeSet<_>>().into_iter().collect();
        let shards = names.iter().map(|name| open_shard(path, name)).collect::<Result<Vec<_>>>()?;
        for shard in &shards {
            if let Some(extra) = shard.names().iter().find(|name| !weight_map.contains_key(*name)) {
                return Err(Error::format(
                    shard.path(),
                    format!("holds a tensor `{extra}`, which the index {} does not name", path.display()),
                ));
            }
        }
        let mut tensors = BTreeMap::new();
        for (name, shard) in &weight_map {
            let position = names.binary_search(&shard).expect("`names` are the sorted values of the map");
            if !shards[position].has(name) {
                return Err(Error::format(path, format!("places tensor `{name}` in {shard}, which does not hold it")));
            }
            tensors.insert(name.clone(), position);
        }
        Ok(Sharded { index: path.to_owned(), shards, tensors })
    }
}

/// The shards that an index names, in order of name.
pub(super) fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let names: BTreeSet<String> = read_index(index)?.into_values().collect();
    Ok(names.iter().map(|name| index.with_file_name(name)).collect())
}

fn open_shard(index: &Path, name: &str) -> Result<TensorFile> {
    let path = index.with_file_name(name);
    match super::kind(&path)? {
        Kind::Safetensors => safetensors::open(&path),
        Kind::Torch => torch::open(&path),
        Kind::Gguf | Kind::Onnx | Kind::Index => Err(Error::format(path, "a shard must be a safetensors file or a torch checkpoint")),
    }
}

fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    let problem = |what: String| Error::format(path, what);
    let bytes = mapped::map(path)?;
    if bytes.len() > MAX_INDEX {
        return Err(problem(format!("an index of {} bytes is over the limit of {MAX_INDEX}", bytes.len())));
    }
    let Index { weight_map: Unique(map) } = serde_json::from_slice(&bytes).map_err(|e| problem(format!("bad index: {e}")))?;
    if map.is_empty() {
        return Err(problem("the index names no tensors".into()));
    }
    match map.iter().find(|(_, shard)| !is_plain_name(shard)) {
        Some((name, shard)) => {
            Err(problem(format!("places tensor `{name}` in `{shard}`, which is not the plain name of a file beside it")))
        }
        None => Ok(map),
    }
}

fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_one_name = matches!((components.next(), components.next()), (Some(Component::Normal(part)), None) if part == name);
    is_one_name && !name.contains(['\\', '\0', ':'])
}

#[derive(Deserialize)]
struct Index {
    weight_map: Unique,
}

/// A JSON object in which no key appears twice.
struct Unique(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("file names by tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((name, shard)) = map.next_entry::<String, String>()? {
                    if entries.insert(name.clone(), shard).is_some() {
                        return Err(A::Error::custom(format!("tensor `{name}` is named twice")));
                    }
                }
                Ok(Unique(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Sharded {
    fn shard(&self, name: &str) -> Option<&TensorFile> {
        self.tensors.get(name).map(|&shard| &self.shards[shard])
    }
}

impl WeightStore for Sharded {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.shard(name)?.info(name)
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        match self.shard(name) {
            Some(shard) => shard.read_rows(name, rows, out),
            None => Err(Error::Weights(format!("{}: no tensor `{name}`", self.index.display()))),
        }
    }

    fn release(&self, name: &str) {
        if let Some(shard) = self.shard(name) {
            shard.release(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TempFolder, safetensors, torch};
    use super::*;

    /// A file with vectors of one number each.
    fn shard(tensors: &[(&str, f32)]) -> Vec<u8> {
        let entry = |(i, (name, _)): (usize, &(&str, f32))| {
            format!(r#""{name}": {{"dtype": "F32", "shape": [1], "data_offsets": [{}, {}]}}"#, 4 * i, 4 * i + 4)
        };
        let header = format!("{{{}}}", tensors.iter().enumerate().map(entry).collect::<Vec<_>>().join(","));
        safetensors(&header, &tensors.iter().flat_map(|(_, x)| x.to_le_bytes()).collect::<Vec<_>>())
    }

    fn folder(index: &str) -> TempFolder {
        let folder = TempFolder::new();
        folder.write("one.safetensors", &shard(&[("a", 1.0), ("b", 2.0)]));
        folder.write("two.safetensors", &shard(&[("b", 20.0), ("c", 3.0)]));
        folder.write("three.bin", &torch(&[("d", &[1], &[4.0])]));
        folder.write("index.json", index.as_bytes());
        folder
    }

    fn problem(index: &str) -> String {
        Sharded::open(&folder(index).path("index.json")).unwrap_err().to_string()
    }

    #[test]
    fn tensors_come_from_the_shard_that_the_index_gives() {
        let all = r#"{"metadata": {"total_size": 16}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors", "d": "three.bin"}}"#;
        let folder = folder(all);
        let store = Sharded::open(&folder.path("index.json")).unwrap();
        assert_eq!(store.names(), ["a", "b", "c", "d"]);
        for (name, expected) in [("a", 1.0), ("b", 20.0), ("c", 3.0), ("d", 4.0)] {
            let mut out = [0.0];
            store.read_rows(name, 0..1, &mut out).unwrap();
            store.release(name);
            assert_eq!(out, [expected]);
            assert_eq!(store.info(name).unwrap().shape, [1]);
        }
        assert!(store.info("e").is_none());
        assert!(store.read_rows("e", 0..0, &mut []).unwrap_err().to_string().contains("no tensor `e`"));
        let files = super::super::files(&folder.path("index.json")).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["index.json", "one.safetensors", "three.bin", "two.safetensors"]);
    }

    #[test]
    fn index_and_shards_must_agree() {
        let lacking = problem(r#"{"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "one.safetensors"}}"#);
        assert!(lacking.contains("places tensor `c` in one.safetensors, which does not hold it"), "{lacking}");
        let extra = problem(r#"{"weight_map": {"a": "one.safetensors"}}"#);
        assert!(extra.contains("holds a tensor `b`, which the index"), "{extra}");
        let absent = problem(r#"{"weight_map": {"a": "none.safetensors"}}"#);
        assert!(absent.contains("none.safetensors"), "{absent}");
        let itself = problem(r#"{"weight_map": {"a": "index.json"}}"#);
        assert!(itself.contains("a shard must be"), "{itself}");
    }

    #[test]
    fn a_shard_must_be_a_plain_file_name_beside_the_index() {
        for name in [
            "../one.safetensors",
            "/etc/passwd",
            "sub/one",
            "./one.safetensors",
            "one.safetensors/",
            "..",
            ".",
            "",
            "a\\\\b",
            "a\\u0000b",
            "C:x",
        ] {
            let error = problem(&format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#));
            assert!(error.contains("not the plain name of a file beside it"), "{error}");
        }
    }

    #[test]
    fn indexes_that_are_none_are_errors() {
        for (index, words) in [
            ("{}", "missing field `weight_map`"),
            (r#"{"weight_map": {}}"#, "names no tensors"),
            (r#"{"weight_map": {"a": 1}}"#, "bad index"),
            (r#"{"weight_map": ["a"]}"#, "bad index"),
            (r#"{"weight_map": {"a": "one.safetensors", "a": "one.safetensors"}}"#, "tensor `a` is named twice"),
            ("{", "bad index"),
        ] {
            let error = problem(index);
            assert!(error.contains(words), "{error}");
        }
    }
}

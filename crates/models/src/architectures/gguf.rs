//! GGUF files seen as checkpoints: their metadata as a config, their tensors under the checkpoint's names.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use pellucid_core::{Error, Result, TensorInfo, WeightStore};
use serde_json::{Map, Value as Json, json};

use super::{ARCHITECTURES, Config, Entry};
use crate::weights::{Gguf, Value};

/// How GGUF files name an architecture and its tensors.
pub struct GgufNames {
    /// `general.architecture`.
    pub architecture: &'static str,
    /// Config keys and the metadata (after `{architecture}.`) that they are taken from; those marked optional may be absent.
    pub config: &'static [(&'static str, &'static str, Needed)],
    /// Tensors outside the blocks: checkpoint name → GGUF name, both without `.weight` or `.bias`.
    pub outside: &'static [(&'static str, &'static str)],
    /// What stands before a block's number in the checkpoint's names.
    pub block: &'static str,
    /// Tensors of a block, likewise.
    pub inside: &'static [(&'static str, &'static str)],
    /// Maps whose outputs GGUF stores with rotary pairs side by side: (name, metadata that tells the number of heads).
    pub pairs_side_by_side: &'static [(&'static str, &'static str)],
}

/// Whether metadata must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// It must.
    Yes,
    /// The architecture has a default.
    No,
}

/// A GGUF file as an entry of the table, a config and a store under the checkpoint's names.
///
/// # Errors
/// An architecture that is not supported, metadata that is missing, a tensor of a name that the architecture does not know.
pub(crate) fn open_gguf(gguf: Gguf) -> Result<(&'static Entry, Config, Box<dyn WeightStore>)> {
    let kind = gguf.get_str("general.architecture")?;
    let Some((entry, names)) = ARCHITECTURES.iter().find_map(|e| Some((e, e.gguf.as_ref().filter(|g| g.architecture == kind)?))) else {
        let known: Vec<_> = ARCHITECTURES.iter().filter_map(|e| e.gguf.as_ref()).map(|g| g.architecture).collect();
        return Err(Error::Unsupported(format!("unknown GGUF architecture `{kind}`; there are {}", known.join(", "))));
    };
    let config = config(&gguf, entry, names)?;
    let store = Renamed::new(gguf, names)?;
    Ok((entry, config, Box::new(store)))
}

fn config(gguf: &Gguf, entry: &Entry, names: &GgufNames) -> Result<Config> {
    let mut config = Map::new();
    config.insert("model_type".into(), json!(entry.model_type));
    for (key, metadata, needed) in names.config {
        let metadata = format!("{}.{metadata}", names.architecture);
        if *needed == Needed::No && !gguf.has(&metadata) {
            continue;
        }
        config.insert((*key).into(), number(gguf, &metadata)?);
    }
    check_rotary_dims(gguf, names.architecture)?;
    let table =
        gguf.info("token_embd.weight").ok_or_else(|| Error::Weights("tensor `token_embd.weight` is missing from the weights".into()))?;
    config.insert("vocab_size".into(), json!(table.matrix().0));
    config.insert("tie_word_embeddings".into(), json!(gguf.info("output.weight").is_none()));
    config.insert("attention_bias".into(), json!(gguf.info("blk.0.attn_q.bias").is_some()));
    config.insert("stored_outputs_first".into(), json!(true));
    if let Some(scaling) = rope_scaling(gguf, names.architecture)? {
        config.insert("rope_scaling".into(), scaling);
    }
    Config::new(Json::Object(config))
}

/// A finite number of either kind; JSON would make null of any other.
fn number(gguf: &Gguf, key: &str) -> Result<Json> {
    match gguf.metadata().get(key) {
        Some(Value::U64(n)) => Ok(json!(n)),
        Some(Value::I64(n)) => Ok(json!(n)),
        Some(Value::F64(x)) if x.is_finite() => Ok(json!(x)),
        Some(value) => Err(Error::format(gguf.path(), format!("metadata `{key}` is {value}, not a finite number"))),
        None => Err(Error::format(gguf.path(), format!("there is no metadata `{key}`"))),
    }
}

/// The architectures here that turn heads turn all of a head.
fn check_rotary_dims(gguf: &Gguf, architecture: &str) -> Result<()> {
    let key = |name: &str| format!("{architecture}.{name}");
    if !gguf.has(&key("rope.dimension_count")) {
        return Ok(());
    }
    let dims = gguf.get_usize(&key("rope.dimension_count"))?;
    let (width, heads) = (gguf.get_usize(&key("embedding_length"))?, gguf.get_usize(&key("attention.head_count"))?);
    let d_head = match gguf.has(&key("attention.key_length")) {
        true => gguf.get_usize(&key("attention.key_length"))?,
        false => width / heads.max(1),
    };
    if dims == d_head {
        return Ok(());
    }
    let name = key("rope.dimension_count");
    let what = format!("metadata `{name}` is {dims}, but each of the {heads} heads has {d_head} numbers; only whole heads are turned here");
    Err(Error::format(gguf.path(), what))
}

fn rope_scaling(gguf: &Gguf, architecture: &str) -> Result<Option<Json>> {
    if let Some(info) = gguf.info(ROPE_FACTORS) {
        let (rows, columns) = info.matrix();
        if rows != 1 || columns > 4096 {
            return Err(Error::Weights(format!("tensor `{ROPE_FACTORS}` has shape {:?}, not one factor per rotary pair", info.shape)));
        }
        let mut factors = vec![0.0; columns];
        gguf.read_rows(ROPE_FACTORS, 0..1, &mut factors)?;
        return Ok(Some(json!({"rope_type": "factors", "factors": factors})));
    }
    let key = |name: &str| format!("{architecture}.rope.{name}");
    let factor = ["scaling.factor", "scale_linear"].map(key).into_iter().find(|k| gguf.has(k));
    let kind = match gguf.has(&key("scaling.type")) {
        true => gguf.get_str(&key("scaling.type"))?,
        // Older files give a factor alone.
        false if factor.is_some() => "linear",
        false => return Ok(None),
    };
    let mut scaling = json!({"rope_type": if kind == "none" { "default" } else { kind }});
    if let Some(factor) = factor {
        scaling["factor"] = number(gguf, &factor)?;
    }
    if gguf.has(&key("scaling.original_context_length")) {
        scaling["original_max_position_embeddings"] = number(gguf, &key("scaling.original_context_length"))?;
    }
    Ok(Some(scaling))
}

/// Long-context factors, one per rotary pair; goes into the config.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// A tensor's place in the file.
struct Place {
    name: String,
    /// Heads, if rotary pairs are stored side by side.
    heads: Option<usize>,
}

/// A GGUF file under the checkpoint's names.
struct Renamed {
    gguf: Gguf,
    places: BTreeMap<String, Place>,
}

impl Renamed {
    fn new(gguf: Gguf, names: &GgufNames) -> Result<Self> {
        let mut places = BTreeMap::new();
        let mut heads = BTreeMap::new();
        for (map, metadata) in names.pairs_side_by_side {
            heads.insert(
                *map,
                gguf.get_usize(&format!("{}.{metadata}", names.architecture)).or_else(|e| {
                    let all = format!("{}.attention.head_count", names.architecture);
                    if gguf.has(&format!("{}.{metadata}", names.architecture)) { Err(e) } else { gguf.get_usize(&all) }
                })?,
            );
        }
        let unknown: BTreeSet<String> = gguf.names().into_iter().filter(|n| n != ROPE_FACTORS).collect();
        for stored in unknown {
            let (name, place) =
                rename(&stored, names, &heads).unwrap_or_else(|| (stored.clone(), Place { name: stored.clone(), heads: None }));
            if let (Some(heads), Some(info)) = (place.heads, gguf.info(&stored)) {
                let rows = if info.shape.len() == 1 { info.shape[0] } else { info.matrix().0 };
                if heads == 0 || rows % heads != 0 || (rows / heads) % 2 != 0 {
                    return Err(Error::Weights(format!("tensor `{stored}` {:?} cannot be cut into {heads} heads of pairs", info.shape)));
                }
            }
            places.insert(name, place);
        }
        Ok(Self { gguf, places })
    }
}

/// The checkpoint's name for a stored tensor; nothing if the architecture knows no such tensor.
fn rename(stored: &str, names: &GgufNames, heads: &BTreeMap<&str, usize>) -> Option<(String, Place)> {
    let (stem, ending) = stored.rsplit_once('.')?;
    let lookup =
        |table: &[(&'static str, &'static str)], stem: &str| table.iter().find(|(_, theirs)| *theirs == stem).map(|(ours, _)| *ours);
    if let Some(ours) = lookup(names.outside, stem) {
        return Some((format!("{ours}.{ending}"), Place { name: stored.into(), heads: None }));
    }
    let (layer, inside) = stem.strip_prefix("blk.")?.split_once('.')?;
    let ours = lookup(names.inside, inside)?;
    Some((format!("{}{layer}.{ours}.{ending}", names.block), Place { name: stored.into(), heads: heads.get(ours).copied() }))
}

/// Where row `row` of a map with `rows` outputs in `heads` heads is stored: pair member `p` of pair `j` at `2j + p` instead of `p·half + j`.
fn side_by_side(row: usize, rows: usize, heads: usize) -> usize {
    let width = rows / heads;
    let (head, within) = (row / width, row % width);
    let (p, j) = (within / (width / 2), within % (width / 2));
    head * width + 2 * j + p
}

impl WeightStore for Renamed {
    fn names(&self) -> Vec<String> {
        self.places.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.gguf.info(&self.places.get(name)?.name)
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let place = self.places.get(name).ok_or_else(|| Error::Weights(format!("tensor `{name}` is missing from the weights")))?;
        let (Some(heads), Some(info)) = (place.heads, self.gguf.info(&place.name)) else {
            return self.gguf.read_rows(&place.name, rows, out);
        };
        let (all, columns) = info.matrix();
        if info.shape.len() == 1 {
            // A bias: its numbers are the outputs.
            let mut stored = vec![0.0; columns];
            self.gguf.read_rows(&place.name, rows, &mut stored)?;
            out.iter_mut().enumerate().for_each(|(i, o)| *o = stored[side_by_side(i, columns, heads)]);
            return Ok(());
        }
        if rows.end > all || out.len() != rows.len() * columns {
            return self.gguf.read_rows(&place.name, rows, out);
        }
        for (row, out) in rows.zip(out.chunks_exact_mut(columns)) {
            let stored = side_by_side(row, all, heads);
            self.gguf.read_rows(&place.name, stored..stored + 1, out)?;
        }
        Ok(())
    }

    fn release(&self, name: &str) {
        if let Some(place) = self.places.get(name) {
            self.gguf.release(&place.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::side_by_side;

    #[test]
    fn rotary_pairs_are_found_where_gguf_stores_them() {
        // One head of 6: pairs (0, 3), (1, 4), (2, 5) are stored as 0 3 1 4 2 5.
        let stored = [0, 3, 1, 4, 2, 5];
        (0..6).for_each(|row| assert_eq!(stored[side_by_side(row, 6, 1)], row));
        assert_eq!(side_by_side(6, 12, 2), 6, "the second head begins where the first ends");
    }
}

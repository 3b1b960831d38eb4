//! Small writers of each format, and random mutations, for tests.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use pellucid_core::WeightStore;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A folder that goes away with its value.
pub(super) struct TempFolder(tempfile::TempDir);

impl TempFolder {
    pub(super) fn new() -> Self {
        TempFolder(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }
}

/// A file with a name that says nothing; goes away with its value.
pub(super) struct TempFile {
    _folder: TempFolder,
    path: PathBuf,
}

impl TempFile {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let folder = TempFolder::new();
        folder.write("file.xyz", bytes);
        TempFile { path: folder.path("file.xyz"), _folder: folder }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A safetensors file.
pub(super) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// `w` = [[1, 2, 3], [4, 5, 6]].
pub(super) fn small_safetensors() -> Vec<u8> {
    safetensors(r#"{"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}"#, &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
}

/// See [`small_safetensors`].
pub(super) fn small_gguf() -> Vec<u8> {
    let mut file = GgufWriter::default();
    file.value("general.architecture", 8, &gguf_string("llama"));
    file.value("llama.block_count", 4, &30u32.to_le_bytes());
    file.value("tokens", 9, &[&8u32.to_le_bytes()[..], &2u64.to_le_bytes(), &gguf_string("a"), &gguf_string("b")].concat());
    file.tensor("w", &[3, 2], 0, &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    file.tensor("q", &[32], 8, &[&[0, 0x3c], &[3; 32][..]].concat());
    file.finish()
}

/// See [`small_safetensors`].
pub(super) fn small_torch() -> Vec<u8> {
    torch(&[("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])])
}

/// See [`small_safetensors`]: the same in the format from before torch 1.6.
pub(super) fn small_old_torch() -> Vec<u8> {
    let mut pickle = Pickle::new();
    pickle.op(b"}").text("w").old_tensor("FloatStorage", "77", 6, &[2, 3], &[3, 1]).op(b"s.");
    old_torch(&pickle.0, &[("77", &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))])
}

/// A checkpoint of this pickle and these storages of four-byte numbers in the format from before torch 1.6.
pub(super) fn old_torch(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = super::torch::legacy::MAGIC.to_vec();
    file.extend(b"\x80\x02M\xe9\x03.");
    file.extend(&Pickle::new().op(b"}").text("little_endian").op(b"\x88s.").0);
    file.extend(pickle);
    let mut order = Pickle::new();
    order.op(b"](");
    for (key, _) in storages {
        order.text(key);
    }
    file.extend(&order.op(b"e.").0);
    for (_, bytes) in storages {
        file.extend((bytes.len() as u64 / 4).to_le_bytes());
        file.extend(*bytes);
    }
    file
}

pub(super) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A length and the bytes.
pub(super) fn gguf_string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// Writes GGUF version 3 part by part; fields may be changed before [`GgufWriter::finish`].
pub(super) struct GgufWriter {
    pub(super) version: u32,
    pub(super) alignment: usize,
    values: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: Vec<u8>,
}

impl Default for GgufWriter {
    fn default() -> Self {
        GgufWriter { version: 3, alignment: 32, values: vec![], tensors: vec![], data: vec![] }
    }
}

impl GgufWriter {
    pub(super) fn value(&mut self, key: &str, kind: u32, bytes: &[u8]) {
        self.values.push([&gguf_string(key), &kind.to_le_bytes()[..], bytes].concat());
    }

    /// `axes` are fastest first.
    pub(super) fn tensor(&mut self, name: &str, axes: &[u64], kind: u32, data: &[u8]) {
        self.data.resize(self.data.len().next_multiple_of(self.alignment), 0);
        self.tensor_at(name, axes, kind, self.data.len() as u64);
        self.data.extend(data);
    }

    /// An entry without data.
    pub(super) fn tensor_at(&mut self, name: &str, axes: &[u64], kind: u32, offset: u64) {
        let axes = [&(axes.len() as u32).to_le_bytes()[..], &axes.iter().flat_map(|axis| axis.to_le_bytes()).collect::<Vec<_>>()].concat();
        self.tensors.push([&gguf_string(name)[..], &axes, &kind.to_le_bytes(), &offset.to_le_bytes()].concat());
    }

    pub(super) fn finish(&self) -> Vec<u8> {
        let counts = [self.tensors.len() as u64, self.values.len() as u64];
        let mut file = [b"GGUF", &self.version.to_le_bytes()[..], &counts.map(u64::to_le_bytes).concat()].concat();
        file.extend(self.values.concat());
        file.extend(self.tensors.concat());
        file.resize(file.len().next_multiple_of(self.alignment), 0);
        file.extend(&self.data);
        file
    }
}

/// An archive of stored files.
pub(super) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A checkpoint of f32 tensors, as `torch.save(OrderedDict)` writes it.
pub(super) fn torch(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let mut pickle = Pickle::new();
    pickle.global("collections", "OrderedDict").op(b")R(");
    let mut files = Vec::new();
    for (key, (name, shape, values)) in tensors.iter().enumerate() {
        let key = key.to_string();
        let strides: Vec<usize> = (1..=shape.len()).map(|after| shape[after..].iter().product()).collect();
        pickle.text(name).tensor("FloatStorage", &key, values.len(), 0, shape, &strides);
        files.push((format!("archive/data/{key}"), floats(values)));
    }
    let pickle = pickle.op(b"u.").0.clone();
    let mut all = vec![("archive/data.pkl", &pickle[..]), ("archive/byteorder", b"little")];
    all.extend(files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])));
    zip(&all)
}

/// Writes a pickle instruction by instruction.
pub(super) struct Pickle(pub(super) Vec<u8>);

impl Pickle {
    pub(super) fn new() -> Self {
        Pickle(vec![0x80, 2])
    }

    pub(super) fn op(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.op(b"X").op(&(text.len() as u32).to_le_bytes()).op(text.as_bytes())
    }

    /// As a long integer of eight bytes.
    pub(super) fn int(&mut self, x: usize) -> &mut Self {
        self.op(&[0x8a, 8]).op(&(x as u64).to_le_bytes())
    }

    pub(super) fn ints(&mut self, all: &[usize]) -> &mut Self {
        self.op(b"(");
        for x in all {
            self.int(*x);
        }
        self.op(b"t")
    }

    pub(super) fn tensor(
        &mut self,
        class: &str,
        key: &str,
        numbers: usize,
        offset: usize,
        shape: &[usize],
        strides: &[usize],
    ) -> &mut Self {
        self.storage(class, key, numbers, b"tQ").view(offset, shape, strides)
    }

    /// As [`Pickle::tensor`], as it was before torch 1.6: a storage could be a view of another one, or `None`.
    pub(super) fn old_tensor(&mut self, class: &str, key: &str, numbers: usize, shape: &[usize], strides: &[usize]) -> &mut Self {
        self.storage(class, key, numbers, b"NtQ").view(0, shape, strides)
    }

    fn storage(&mut self, class: &str, key: &str, numbers: usize, end: &[u8]) -> &mut Self {
        self.global("torch._utils", "_rebuild_tensor_v2").op(b"((").text("storage").global("torch", class).text(key).text("cpu");
        self.int(numbers).op(end)
    }

    fn view(&mut self, offset: usize, shape: &[usize], strides: &[usize]) -> &mut Self {
        self.int(offset).ints(shape).ints(strides).op(b"\x89").global("collections", "OrderedDict").op(b")RtR")
    }
}

/// Reads all tensors of a store; those that cannot be read must say so.
pub(super) fn read_everything(store: &dyn WeightStore) {
    for name in store.names() {
        let info = store.info(&name).expect("its own name");
        let (rows, columns) = info.matrix();
        assert!(rows * columns <= 1 << 20, "a file of a few hundred bytes has a tensor of shape {:?}", info.shape);
        let mut out = vec![0.0; rows * columns];
        if store.read_rows(&name, 0..rows, &mut out).is_err() {
            assert!(!["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k"].contains(&info.encoding));
        }
        store.release(&name);
    }
}

/// Calls `read` with ten thousand damaged copies of `file`: bytes flipped, inserted, deleted, cut off and doubled, eight-byte and four-byte
/// numbers replaced by extremes, and `texts` written in place of a random number of bytes.
pub(super) fn mutations(file: &[u8], texts: &[&[u8]], read: impl Fn(Vec<u8>)) {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for _ in 0..10_000 {
        let mut bytes = file.to_vec();
        for _ in 0..random.random_range(1..=3) {
            mutate(&mut bytes, texts, &mut random);
        }
        read(bytes);
    }
}

fn mutate(bytes: &mut Vec<u8>, texts: &[&[u8]], random: &mut ChaCha8Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = random.random_range(0..bytes.len());
    let n = random.random_range(0..=16).min(bytes.len() - at);
    match random.random_range(0..9) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes[at] = random.random(),
        2 => bytes.insert(at, random.random()),
        3 => drop(bytes.drain(at..at + n)),
        4 => bytes.truncate(at),
        5 => {
            let copy = bytes[at..at + n].to_vec();
            bytes.splice(at..at, copy);
        }
        6 => overwrite(bytes, at, &extreme(random).to_le_bytes()),
        7 => overwrite(bytes, at, &(extreme(random) as u32).to_le_bytes()),
        _ if texts.is_empty() => bytes[at] = 0xff,
        _ => drop(bytes.splice(at..at + n, texts[random.random_range(0..texts.len())].iter().copied())),
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let n = with.len().min(bytes.len() - at);
    bytes[at..at + n].copy_from_slice(&with[..n]);
}

/// A number that is likely to be near a limit.
fn extreme(random: &mut ChaCha8Rng) -> u64 {
    let power = 1u64 << random.random_range(0..64);
    match random.random_range(0..4) {
        0 => power,
        1 => power.wrapping_sub(1),
        2 => power.wrapping_neg(),
        _ => random.random_range(0..64),
    }
}

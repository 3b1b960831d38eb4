//! Small writers of GGUF files and torch checkpoints.

use std::io::{Cursor, Write};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::checkpoint::Tensor;

/// A value of GGUF metadata.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(&'static str),
    U32(u32),
    F32(f32),
    U32s(Vec<u32>),
}

/// GGUF version 3: a header of counts, metadata and tensors, then their data in blocks of 32 bytes.
#[derive(Clone, Default)]
pub(crate) struct GgufFile {
    pub(crate) metadata: Vec<(String, Value)>,
    pub(crate) tensors: Vec<(String, Tensor)>,
}

impl GgufFile {
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.remove(key);
        self.metadata.push((key.into(), value));
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.metadata.retain(|(k, _)| k != key);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = [b"GGUF", &3u32.to_le_bytes()[..]].concat();
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            file.extend(text(key));
            file.extend(match value {
                Value::Text(t) => [&8u32.to_le_bytes()[..], &text(t)].concat(),
                Value::U32(n) => [4u32.to_le_bytes(), n.to_le_bytes()].concat(),
                Value::F32(x) => [6u32.to_le_bytes(), x.to_le_bytes()].concat(),
                Value::U32s(all) => {
                    let head = [&9u32.to_le_bytes()[..], &4u32.to_le_bytes(), &(all.len() as u64).to_le_bytes()].concat();
                    head.into_iter().chain(all.iter().flat_map(|n| n.to_le_bytes())).collect()
                }
            });
        }
        let mut data: Vec<u8> = Vec::new();
        for (name, tensor) in &self.tensors {
            data.resize(data.len().next_multiple_of(32), 0);
            file.extend(text(name));
            file.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().rev().for_each(|axis| file.extend((*axis as u64).to_le_bytes())); // fastest axis first
            file.extend(0u32.to_le_bytes()); // f32
            file.extend((data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
        }
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(data);
        file
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// What `torch.save` makes of a dictionary of f32 tensors: a zip archive of a pickle and a storage for each tensor.
pub(crate) fn torch<'a>(tensors: impl Iterator<Item = (&'a String, &'a Tensor)>) -> Vec<u8> {
    let mut pickle = b"\x80\x02}(".to_vec();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (key, (name, tensor)) in tensors.enumerate() {
        let key = key.to_string();
        zip.start_file(format!("archive/data/{key}"), stored).unwrap();
        zip.write_all(&tensor.bytes).unwrap();
        string(&mut pickle, name);
        // _rebuild_tensor_v2(persistent("storage", FloatStorage, key, "cpu", numbers), 0, shape, strides, False, OrderedDict())
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        string(&mut pickle, "storage");
        pickle.extend(b"ctorch\nFloatStorage\n");
        string(&mut pickle, &key);
        string(&mut pickle, "cpu");
        int(&mut pickle, tensor.bytes.len() / 4);
        pickle.extend(b"tQ");
        int(&mut pickle, 0);
        let strides: Vec<usize> = (1..=tensor.shape.len()).map(|after| tensor.shape[after..].iter().product()).collect();
        for numbers in [&tensor.shape, &strides] {
            pickle.push(b'(');
            numbers.iter().for_each(|n| int(&mut pickle, *n));
            pickle.push(b't');
        }
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    pickle.extend(b"u.");
    for (name, content) in [("archive/data.pkl", &pickle[..]), ("archive/byteorder", b"little"), ("archive/version", b"3\n")] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn string(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

/// A whole number as four bytes.
fn int(pickle: &mut Vec<u8>, n: usize) {
    pickle.push(b'J');
    pickle.extend(i32::try_from(n).unwrap().to_le_bytes());
}

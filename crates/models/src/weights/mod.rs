//! Weight files: safetensors, GGUF, ONNX and torch checkpoints, each read as a [`WeightStore`].
//!
//! [`open`] looks at a file's first bytes, never at its name. Files are memory-mapped and checked in full before anything is handed
//! out: every offset, length and count is held against the size of the file first, so that a store that exists can be read without
//! surprises. Nothing is executed, and nothing is skipped with a warning.
//! Deliberately absent: writing, big-endian files, GGUF files split into parts.

pub mod arranged;
pub mod gguf;
pub mod onnx;
pub mod safetensors;
pub mod torch;

mod encoding;
mod mapped;
mod quant;
mod resample;
mod sharded;
mod table;
#[cfg(test)]
mod testing;

use std::path::{Path, PathBuf};

use pellucid_core::{Error, Result, WeightStore};

pub use arranged::{Arranged, Source};
pub use gguf::{Gguf, Value};
pub use onnx::Onnx;
pub use resample::{Cubic, resample};
pub use sharded::Sharded;
pub use table::TensorFile;

/// What a weight file is, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One safetensors file.
    Safetensors,
    /// One GGUF file.
    Gguf,
    /// One ONNX file.
    Onnx,
    /// A torch checkpoint, such as `pytorch_model.bin`.
    Torch,
    /// A JSON index of shards, such as `model.safetensors.index.json`.
    Index,
}

/// Opens a weight file of any [`Kind`].
///
/// # Errors
/// The file cannot be read, is of no known kind, or is not what it says it is.
pub fn open(path: &Path) -> Result<Box<dyn WeightStore>> {
    Ok(match kind(path)? {
        Kind::Safetensors => Box::new(safetensors::open(path)?),
        Kind::Gguf => Box::new(Gguf::open(path)?),
        Kind::Onnx => Box::new(Onnx::open(path)?),
        Kind::Torch => Box::new(torch::open(path)?),
        Kind::Index => Box::new(Sharded::open(path)?),
    })
}

/// All files that [`open`] reads for this path: the file itself, the shards that an index names, the head beside an ONNX file.
///
/// # Errors
/// As for [`open`], as far as it gets without opening the shards.
pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![path.to_owned()];
    match kind(path)? {
        Kind::Index => files.extend(sharded::shards(path)?),
        Kind::Onnx => files.extend(Some(path.with_file_name(onnx::HEAD)).filter(|head| head.is_file())),
        Kind::Safetensors | Kind::Gguf | Kind::Torch => {}
    }
    Ok(files)
}

/// Tells a file's kind by its content.
///
/// # Errors
/// The file cannot be read or is of no known kind.
pub fn kind(path: &Path) -> Result<Kind> {
    let head = mapped::head(path)?;
    kind_of(&head).map_err(|problem| Error::format(path, problem))
}

fn kind_of(head: &[u8]) -> Result<Kind, &'static str> {
    match head {
        [b'G', b'G', b'U', b'F', ..] => Ok(Kind::Gguf),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Ok(Kind::Torch),
        _ if head.starts_with(torch::legacy::MAGIC) => Ok(Kind::Torch),
        // A safetensors file begins with a length far below 2³² in eight bytes, so some of them are zero; JSON text has no zero bytes.
        [b'{', ..] if !head.iter().take(8).any(|&byte| byte == 0) => Ok(Kind::Index),
        [_, _, _, _, _, _, _, _, b'{', ..] => Ok(Kind::Safetensors),
        // An ONNX file is a protobuf message: field 1, the format's version, then one of fields 2 to 8.
        [0x08, 1..=0x7f, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..] => Ok(Kind::Onnx),
        [] => Err("the file is empty"),
        _ if head.starts_with(b"version https://git-lfs") => {
            Err("this is a git-lfs pointer, not the file that it points to; fetch that with `git lfs pull`")
        }
        _ => Err("not a weight file: it begins neither as safetensors, GGUF, ONNX, a torch checkpoint nor a JSON index of shards"),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{self, TempFile};
    use super::*;

    fn opened(bytes: &[u8]) -> Result<Box<dyn WeightStore>> {
        open(TempFile::new(bytes).path())
    }

    #[test]
    fn a_file_is_known_by_its_content_not_by_its_name() {
        for (bytes, expected) in [
            (testing::small_safetensors(), Kind::Safetensors),
            (testing::small_gguf(), Kind::Gguf),
            (testing::small_torch(), Kind::Torch),
            (testing::small_old_torch(), Kind::Torch),
            (br#"{"weight_map": {"w": "file.xyz"}}"#.to_vec(), Kind::Index),
        ] {
            let file = TempFile::new(&bytes);
            assert_eq!(kind(file.path()).unwrap(), expected);
            assert_eq!(files(file.path()).unwrap()[0], file.path());
        }
    }

    #[test]
    fn every_kind_opens_and_gives_the_same_numbers() {
        for bytes in [testing::small_safetensors(), testing::small_gguf(), testing::small_torch(), testing::small_old_torch()] {
            let store = opened(&bytes).unwrap();
            let mut row = [0.0; 3];
            store.read_rows("w", 1..2, &mut row).unwrap();
            assert_eq!(row, [4.0, 5.0, 6.0]);
            store.release("w");
            store.release("no such tensor");
            store.read_rows("w", 0..1, &mut row).unwrap();
            assert_eq!(row, [1.0, 2.0, 3.0]);
        }
    }

    #[test]
    fn files_of_no_known_kind_are_named_as_what_they_are() {
        for (bytes, words) in [
            (&b""[..], "the file is empty"),
            (b"hello", "not a weight file"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
        ] {
            let error = opened(bytes).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn folders_and_absent_files_are_errors() {
        let error = open(&std::env::temp_dir()).err().unwrap().to_string();
        assert!(error.contains("not a plain file"), "{error}");
        let absent = TempFile::new(b"x").path().to_owned();
        assert!(matches!(open(&absent), Err(Error::Io { .. })));
    }

    #[test]
    fn rows_names_and_buffers_that_do_not_fit_are_errors() {
        let store = opened(&testing::small_safetensors()).unwrap();
        for (name, rows, length, words) in [
            ("v", 0..1, 3, "no tensor `v`"),
            ("w", 1..3, 6, "rows 1..3 are outside `w`, which has 2"),
            ("w", 0..usize::MAX, 6, "are outside `w`"),
            #[expect(clippy::reversed_empty_ranges)]
            ("w", 1..0, 0, "rows 1..0 are outside `w`"),
            ("w", 0..2, 5, "2 rows of `w` are 6 numbers, but there is room for 5"),
        ] {
            let error = store.read_rows(name, rows, &mut vec![0.0; length]).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}

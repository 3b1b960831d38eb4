//! safetensors: eight bytes of header length, a JSON header that gives each tensor's dtype, shape and place, then the tensors without gaps.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. The crate's own reader keeps the last of two tensors of the same name and
//! does not say which tensor is wrong, so the header's entries are its types and the checks are ours.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use pellucid_core::{Error, Result};
use safetensors::{Dtype, tensor::TensorInfo as Entry};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::encoding::Encoding;
use super::mapped::{self, Bytes};
use super::table::TensorFile;

/// Bytes of the header's length.
const LENGTH: usize = 8;

/// The format's own limit for a header.
const MAX_HEADER: u64 = 100_000_000;

/// Opens one safetensors file.
///
/// # Errors
/// The file cannot be read, or its header, offsets, shapes and length do not fit each other.
pub fn open(path: &Path) -> Result<TensorFile> {
    read(path, mapped::map(path)?)
}

/// Reads a safetensors file that is already in memory.
///
/// # Errors
/// As for [`open`].
pub fn from_bytes(bytes: Vec<u8>) -> Result<TensorFile> {
    read(Path::new("safetensors in memory"), Bytes::Owned(bytes))
}

fn read(path: &Path, bytes: Bytes) -> Result<TensorFile> {
    let problem = |what: String| Error::format(path, what);
    let (entries, data) = header(&bytes).map_err(problem)?;
    contiguous(&entries, bytes.len() - data).map_err(problem)?;
    let mut file = TensorFile::new(path, bytes);
    for (name, entry) in entries {
        let (start, end) = entry.data_offsets;
        let dtype = encoding(entry.dtype);
        let taken = file.add(name.clone(), dtype, entry.shape, data + start)?.len();
        if taken != end - start {
            let (dtype, given) = (dtype.name(), end - start);
            return Err(Error::format(path, format!("tensor `{name}` in {dtype} takes {taken} bytes, but the header gives it {given}")));
        }
    }
    Ok(file)
}

/// The header's entries in order of place, and where the data begins.
fn header(bytes: &[u8]) -> Result<(Vec<(String, Entry)>, usize), String> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
        return Err(format!("{} bytes are too few for a safetensors file", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(format!("a header of {length} bytes is over the format's limit of {MAX_HEADER}"));
    }
    let Some(json) = rest.get(..length as usize) else {
        return Err(format!("the header is said to take {length} bytes, but only {} follow: the file is cut short", rest.len()));
    };
    if json.first() != Some(&b'{') {
        return Err("the header does not begin with `{`".into());
    }
    let Header(mut entries) = serde_json::from_slice(json).map_err(|e| format!("bad header: {e}"))?;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    Ok((entries, LENGTH + json.len()))
}

/// Checks that the tensors fill the data from its first to its last byte.
fn contiguous(entries: &[(String, Entry)], data: usize) -> Result<(), String> {
    let mut expected = 0;
    for (name, entry) in entries {
        let (start, end) = entry.data_offsets;
        if end < start {
            return Err(format!("tensor `{name}` ends at {end}, before it begins at {start}"));
        }
        if start != expected {
            let what = if start < expected { "overlaps" } else { "leaves a gap after" };
            return Err(format!("tensor `{name}` begins at {start} and {what} the one before it, which ends at {expected}"));
        }
        expected = end;
    }
    match expected.cmp(&data) {
        std::cmp::Ordering::Greater => Err(format!("the tensors take {expected} bytes, but only {data} follow: the file is cut short")),
        std::cmp::Ordering::Less => Err(format!("the tensors take {expected} bytes, but {data} follow")),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

fn encoding(dtype: Dtype) -> Encoding {
    let other = |name, numbers, bytes| Encoding::Other { name, numbers, bytes };
    match dtype {
        Dtype::F32 => Encoding::F32,
        Dtype::F16 => Encoding::F16,
        Dtype::BF16 => Encoding::Bf16,
        Dtype::BOOL => other("bool", 1, 1),
        Dtype::U8 => other("u8", 1, 1),
        Dtype::I8 => other("i8", 1, 1),
        Dtype::U16 => other("u16", 1, 2),
        Dtype::I16 => other("i16", 1, 2),
        Dtype::U32 => other("u32", 1, 4),
        Dtype::I32 => other("i32", 1, 4),
        Dtype::U64 => other("u64", 1, 8),
        Dtype::I64 => other("i64", 1, 8),
        Dtype::F64 => other("f64", 1, 8),
        Dtype::C64 => other("c64", 1, 8),
        Dtype::F8_E5M2 => other("f8_e5m2", 1, 1),
        Dtype::F8_E4M3 => other("f8_e4m3", 1, 1),
        Dtype::F4 => other("f4", 2, 1),
        Dtype::F6_E2M3 | Dtype::F6_E3M2 => other("f6", 4, 3),
        // The rest: more kinds of eight-bit floats. `read` compares sizes, so one of another size is an error.
        _ => other("a rare dtype", 8, dtype.bitsize()),
    }
}

/// The header: tensors by name, each name once, and perhaps `__metadata__`, which we do not need.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut entries, mut seen) = (Vec::new(), HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("there are two entries called `{name}`")));
                    }
                    let about = |e: A::Error| A::Error::custom(format!("entry `{name}`: {e}"));
                    if name == "__metadata__" {
                        map.next_value::<Option<HashMap<String, String>>>().map_err(about)?;
                    } else {
                        let entry = map.next_value().map_err(about)?;
                        entries.push((name, entry));
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use pellucid_core::WeightStore;

    use super::super::testing::{mutations, read_everything, safetensors, small_safetensors};
    use super::*;

    fn problem(header: &str, data: usize) -> String {
        match from_bytes(safetensors(header, &vec![0; data])) {
            Err(error @ Error::Format { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_float_dtype_is_decoded_and_the_rest_is_known_but_not_read() {
        let header = r#"{"__metadata__": {"format": "pt"},
            "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
            "b": {"dtype": "F16", "shape": [2], "data_offsets": [8, 12]},
            "c": {"dtype": "BF16", "shape": [], "data_offsets": [12, 14]},
            "ids": {"dtype": "I64", "shape": [1, 1], "data_offsets": [14, 22]},
            "mask": {"dtype": "BOOL", "shape": [0, 7], "data_offsets": [22, 22]}}  "#;
        let mut data = [1.5f32, -2.0].map(f32::to_le_bytes).concat();
        data.extend([0.5, 3.0].map(|x| f16::from_f32(x).to_le_bytes()).concat());
        data.extend(bf16::from_f32(-7.0).to_le_bytes());
        data.extend(9i64.to_le_bytes());
        let file = from_bytes(safetensors(header, &data)).unwrap();

        assert_eq!(file.names(), ["a", "b", "c", "ids", "mask"]);
        let info = file.info("a").unwrap();
        assert_eq!((info.shape, info.encoding, info.bytes), (vec![2, 1], "f32", 8));
        let (mut a, mut b, mut c) = ([0.0; 2], [0.0; 2], [0.0; 1]);
        file.read_rows("a", 0..2, &mut a).unwrap();
        file.read_rows("b", 0..1, &mut b).unwrap();
        file.read_rows("c", 0..1, &mut c).unwrap();
        assert_eq!((a, b, c), ([1.5, -2.0], [0.5, 3.0], [-7.0]));
        let error = file.read_rows("ids", 0..1, &mut c).unwrap_err().to_string();
        assert!(error.ends_with("tensor `ids` is stored as i64, which cannot be read as weights"), "{error}");
    }

    #[test]
    fn a_header_that_lies_about_its_length_is_an_error() {
        let good = small_safetensors();
        let with_length = |length: u64| [&length.to_le_bytes(), &good[8..]].concat();
        for (bytes, words) in [
            (vec![1, 2, 3], "3 bytes are too few"),
            (with_length(u64::MAX), "over the format's limit"),
            (with_length(1 << 20), "is said to take 1048576 bytes"),
            (with_length(0), "does not begin with `{`"),
            (with_length(10), "bad header"),
            (good[..good.len() - 1].to_vec(), "only 23 follow: the file is cut short"),
            (good[..20].to_vec(), "the file is cut short"),
            ([&good[..], &[0]].concat(), "the tensors take 24 bytes, but 25 follow"),
        ] {
            let error = from_bytes(bytes).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn offsets_that_overlap_or_leave_gaps_are_errors() {
        let two = |a: &str, b: &str| {
            format!(
                r#"{{"a": {{"dtype": "U8", "shape": [4], "data_offsets": {a}}}, "b": {{"dtype": "U8", "shape": [4], "data_offsets": {b}}}}}"#
            )
        };
        assert!(problem(&two("[0, 4]", "[2, 6]"), 6).contains("tensor `b` begins at 2 and overlaps the one before it, which ends at 4"));
        assert!(problem(&two("[0, 4]", "[5, 9]"), 9).contains("tensor `b` begins at 5 and leaves a gap"));
        assert!(problem(&two("[1, 5]", "[5, 9]"), 9).contains("tensor `a` begins at 1 and leaves a gap"));
        assert!(problem(&two("[0, 4]", "[4, 3]"), 8).contains("tensor `b` ends at 3, before it begins at 4"));
        assert!(problem(&two("[0, 4]", "[0, 4]"), 4).contains("overlaps"));
    }

    #[test]
    fn shapes_that_do_not_fit_their_bytes_are_errors() {
        let one = |dtype: &str, shape: &str, end: u64| {
            format!(r#"{{"a": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": [0, {end}]}}}}"#)
        };
        assert!(problem(&one("F32", "[3]", 8), 8).contains("ends outside the file"));
        assert!(problem(&one("F16", "[3]", 8), 8).contains("takes 6 bytes, but the header gives it 8"));
        assert!(problem(&one("F32", "[4294967296, 4294967296]", 8), 8).contains("is too large"));
        assert!(problem(&one("F32", "[0, 4294967296, 4294967296]", 0), 0).contains("is too large"));
        assert!(problem(&one("F32", "[4611686018427387904]", 0), 0).contains("is too large"));
        assert!(problem(&one("F32", "[18446744073709551616]", 0), 0).contains("entry `a`"));
        assert!(problem(&one("F32", "[-1]", 0), 0).contains("entry `a`"));
        assert!(problem(&one("F31", "[1]", 4), 4).contains("unknown variant `F31`"));
        assert!(problem(&one("F4", "[3]", 2), 2).contains("blocks of 2"));
        assert!(problem(&one("F32", "[1]", u64::MAX), 4).contains("the file is cut short"));
    }

    #[test]
    fn names_that_appear_twice_are_errors() {
        let entry = r#"{"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}"#;
        assert!(problem(&format!(r#"{{"a": {entry}, "a": {entry}}}"#), 0).contains("two entries called `a`"));
        assert!(problem(r#"{"__metadata__": {}, "__metadata__": {}}"#, 0).contains("two entries called `__metadata__`"));
        assert!(problem(r#"{"__metadata__": {"a": 1}}"#, 0).contains("entry `__metadata__`"));
        assert!(problem(r#"{"a": 3}"#, 0).contains("entry `a`"));
    }

    #[test]
    fn no_mutation_of_a_file_makes_it_panic() {
        let numbers: &[&[u8]] = &[
            b"0",
            b"1",
            b"3",
            b"24",
            b"18446744073709551615",
            b"4611686018427387904",
            b"-1",
            b"1e9",
            b"[]",
            b"{}",
            b"\"F16\"",
            b"\"I64\"",
        ];
        mutations(&small_safetensors(), numbers, |bytes| {
            if let Ok(file) = from_bytes(bytes) {
                read_everything(&file);
            }
        });
    }
}

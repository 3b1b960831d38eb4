use super::super::testing::{GgufWriter, floats, gguf_string, mutations, read_everything, small_gguf};
use super::*;

fn problem(bytes: Vec<u8>) -> String {
    match Gguf::from_bytes(bytes) {
        Err(error @ Error::Format { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn with(change: impl FnOnce(&mut GgufWriter)) -> Vec<u8> {
    let mut file = GgufWriter::default();
    change(&mut file);
    file.finish()
}

fn array(kind: u32, length: u64, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &length.to_le_bytes(), bytes].concat()
}

#[test]
fn shapes_are_given_slowest_axis_first() {
    let file = Gguf::from_bytes(small_gguf()).unwrap();
    assert_eq!(file.names(), ["q", "w"]);
    let info = file.info("w").unwrap();
    assert_eq!((info.shape, info.encoding, info.bytes), (vec![2, 3], "f32", 24));
    let mut row = [0.0; 3];
    file.read_rows("w", 1..2, &mut row).unwrap();
    assert_eq!(row, [4.0, 5.0, 6.0]);
    let mut q = [0.0; 32];
    file.read_rows("q", 0..1, &mut q).unwrap();
    assert_eq!(q, [3.0; 32]); // d = 1, all q = 3
}

#[test]
fn both_versions_and_other_alignments_are_read() {
    for version in [2, 3] {
        for alignment in [8, 64] {
            let file = with(|file| {
                (file.version, file.alignment) = (version, alignment);
                file.value("general.alignment", 4, &(alignment as u32).to_le_bytes());
                file.tensor("a", &[1], 0, &floats(&[1.0]));
                file.tensor("b", &[2], 0, &floats(&[2.0, 3.0]));
                file.tensor("scalar", &[], 0, &floats(&[4.0]));
            });
            let file = Gguf::from_bytes(file).unwrap();
            let mut b = [0.0; 2];
            file.read_rows("b", 0..1, &mut b).unwrap();
            assert_eq!(b, [2.0, 3.0]);
            let mut scalar = [0.0];
            file.read_rows("scalar", 0..1, &mut scalar).unwrap();
            assert_eq!(scalar, [4.0]);
        }
    }
}

#[test]
fn metadata_of_every_type_is_read() {
    let file = with(|file| {
        file.value("u8", 0, &[200]);
        file.value("i8", 1, &[0xff]);
        file.value("u16", 2, &40_000u16.to_le_bytes());
        file.value("i16", 3, &(-3i16).to_le_bytes());
        file.value("u32", 4, &u32::MAX.to_le_bytes());
        file.value("i32", 5, &(-5i32).to_le_bytes());
        file.value("f32", 6, &1e-5f32.to_le_bytes());
        file.value("bool", 7, &[1]);
        file.value("text", 8, &gguf_string("päron"));
        file.value("u64", 10, &u64::MAX.to_le_bytes());
        file.value("i64", 11, &i64::MIN.to_le_bytes());
        file.value("f64", 12, &0.1f64.to_le_bytes());
        file.value("u8s", 9, &array(0, 2, &[1, 255]));
        file.value("i8s", 9, &array(1, 2, &[1, 255]));
        file.value("u16s", 9, &array(2, 1, &[0xff, 0xff]));
        file.value("i16s", 9, &array(3, 1, &[0xff, 0xff]));
        file.value("u32s", 9, &array(4, 1, &[0xff; 4]));
        file.value("i32s", 9, &array(5, 1, &[0xff; 4]));
        file.value("f32s", 9, &array(6, 2, &floats(&[0.5, -1.0])));
        file.value("bools", 9, &array(7, 2, &[0, 1]));
        file.value("texts", 9, &array(8, 2, &[gguf_string(""), gguf_string("b")].concat()));
        file.value("u64s", 9, &array(10, 1, &7u64.to_le_bytes()));
        file.value("i64s", 9, &array(11, 1, &(-7i64).to_le_bytes()));
        file.value("f64s", 9, &array(12, 1, &0.1f64.to_le_bytes()));
        file.value("none", 9, &array(8, 0, &[]));
    });
    let file = Gguf::from_bytes(file).unwrap();
    for (key, expected) in [
        ("u8", Value::U64(200)),
        ("i8", Value::I64(-1)),
        ("u16", Value::U64(40_000)),
        ("i16", Value::I64(-3)),
        ("u32", Value::U64(u32::MAX.into())),
        ("i32", Value::I64(-5)),
        ("f32", Value::F64(1e-5f32.into())),
        ("bool", Value::Bool(true)),
        ("text", Value::String("päron".into())),
        ("u64", Value::U64(u64::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f64", Value::F64(0.1)),
        ("u8s", Value::I64s(vec![1, 255])),
        ("i8s", Value::I64s(vec![1, -1])),
        ("u16s", Value::I64s(vec![0xffff])),
        ("i16s", Value::I64s(vec![-1])),
        ("u32s", Value::I64s(vec![0xffff_ffff])),
        ("i32s", Value::I64s(vec![-1])),
        ("f32s", Value::F32s(vec![0.5, -1.0])),
        ("bools", Value::Bools(vec![false, true])),
        ("texts", Value::Strings(vec!["".into(), "b".into()])),
        ("u64s", Value::I64s(vec![7])),
        ("i64s", Value::I64s(vec![-7])),
        ("f64s", Value::F64s(vec![0.1])),
        ("none", Value::Strings(vec![])),
    ] {
        assert_eq!(file.metadata()[key], expected, "{key}");
    }
    assert_eq!(file.metadata().len(), 25);

    assert_eq!(file.get_u64("u64").unwrap(), u64::MAX);
    assert_eq!(file.get_usize("u8").unwrap(), 200);
    assert_eq!(file.get_f64("f32").unwrap() as f32, 1e-5);
    assert!(file.get_bool("bool").unwrap());
    assert_eq!(file.get_str("text").unwrap(), "päron");
    assert_eq!(file.get_strings("texts").unwrap(), ["", "b"]);
    assert_eq!(file.get_f32s("f32s").unwrap(), [0.5, -1.0]);
    assert_eq!(file.get_i64s("i64s").unwrap(), [-7]);
    assert!(file.has("none") && !file.has("more"));
    for (error, words) in [
        (file.get_u64("more").unwrap_err(), "there is no metadata `more`"),
        (file.get_u64("i8").unwrap_err(), "metadata `i8` is -1, not a non-negative integer"),
        (file.get_usize("text").unwrap_err(), "metadata `text` is a string, not a size"),
        (file.get_f64("bool").unwrap_err(), "metadata `bool` is a truth value, not a float"),
        (file.get_bool("u8").unwrap_err(), "metadata `u8` is 200, not a truth value"),
        (file.get_str("f32").unwrap_err(), "metadata `f32` is a float, not a string"),
        (file.get_strings("f32s").unwrap_err(), "metadata `f32s` is an array of 32-bit floats, not an array of strings"),
        (file.get_f32s("f64s").unwrap_err(), "metadata `f64s` is an array of 64-bit floats, not"),
        (file.get_i64s("bools").unwrap_err(), "metadata `bools` is an array of truth values, not"),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn values_that_cannot_be_are_errors() {
    for (kind, bytes, words) in [
        (7, vec![2], "2 is no truth value"),
        (8, [&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat(), "is not UTF-8"),
        (8, u64::MAX.to_le_bytes().to_vec(), "are announced, but the rest of the header has room for"),
        (9, array(13, 0, &[]), "an array of unknown type 13"),
        (9, array(9, 0, &[]), "arrays of arrays"),
        (9, array(10, 1, &[0xff; 8]), "18446744073709551615 in an array is too large"),
        (9, array(8, u64::MAX, &[]), "strings are announced"),
        (9, array(8, 1 << 40, &[0; 64]), "1099511627776 strings are announced"),
        (9, array(4, 1 << 62, &[0; 64]), "elements are announced"),
        (9, array(0, 65, &[0; 64 - 32]), "65 elements are announced"),
        (13, vec![], "unknown type 13"),
        (u32::MAX, vec![], "unknown type 4294967295"),
    ] {
        let error = problem(with(|file| file.value("k", kind, &bytes)));
        assert!(error.contains("metadata `k`: ") && error.contains(words), "{error}");
    }
}

#[test]
fn headers_that_lie_are_errors() {
    let good = small_gguf();
    let changed = |at: usize, bytes: &[u8]| [&good[..at], bytes, &good[at + bytes.len()..]].concat();
    for (bytes, words) in [
        (changed(0, b"GGML"), "does not begin with `GGUF`"),
        (changed(4, &1u32.to_le_bytes()), "GGUF version 1; only 2 and 3"),
        (changed(4, &4u32.to_le_bytes()), "GGUF version 4; only 2 and 3"),
        (changed(4, &3u32.to_be_bytes()), "a big-endian GGUF file"),
        (changed(8, &u64::MAX.to_le_bytes()), "18446744073709551615 tensors are announced"),
        (changed(16, &(1u64 << 40).to_le_bytes()), "1099511627776 metadata values are announced"),
        (good[..3].to_vec(), "the file ends in the header"),
        (good[..60].to_vec(), "are announced, but the rest of the header has room for"),
        (good[..good.len() - 1].to_vec(), "tensor `q` of shape [32] in q8_0 begins at byte"),
    ] {
        let error = problem(bytes);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn every_cut_of_a_file_is_an_error() {
    let good = small_gguf();
    for length in 0..good.len() {
        problem(good[..length].to_vec());
    }
}

#[test]
fn bad_alignments_are_errors() {
    for (kind, value) in [(4, 0u32), (4, 24), (4, 4), (4, 1 << 21), (5, 32), (6, 1.0f32.to_bits())] {
        let error = problem(with(|file| file.value("general.alignment", kind, &value.to_le_bytes())));
        assert!(error.contains("it must be a power of two from 8"), "{error}");
    }
    let error = problem(with(|file| {
        file.tensor("a", &[16], 0, &[0; 64]);
        file.tensor_at("b", &[1], 0, 8);
    }));
    assert!(error.contains("tensor `b` begins at 8, which is not a multiple of the alignment 32"), "{error}");
}

#[test]
fn tensors_that_do_not_fit_are_errors() {
    let entry = |axes: &[u64], kind: u32, offset: u64| {
        problem(with(|file| {
            file.tensor("a", &[16], 0, &[0; 64]);
            file.tensor_at("b", axes, kind, offset);
        }))
    };
    for (error, words) in [
        (entry(&[16], 0, 0), "tensors `a` and `b` overlap"),
        (entry(&[4], 0, 32), "tensors `a` and `b` overlap"),
        (entry(&[4], 0, 64), "ends outside the file"),
        (entry(&[4], 0, u64::MAX - 31), "begins at 18446744073709551584, outside the file"),
        (entry(&[1 << 40, 1 << 40], 0, 64), "is too large"),
        (entry(&[1 << 40, 1 << 40, 0], 0, 64), "is too large"),
        (entry(&[1 << 61], 0, 64), "is too large"),
        (entry(&[1 << 61, 0], 0, 64), "is too large"),
        (entry(&[1000], 0, 64), "ends outside the file"),
        (entry(&[1; 5], 0, 64), "tensor `b`: 5 axes; at most 4"),
        (entry(&[4], 4, 64), "tensor `b`: unknown type 4"),
        (entry(&[4], 999, 64), "tensor `b`: unknown type 999"),
        (entry(&[48, 2], 8, 64), "tensor `b` has rows of 48 numbers, but q8_0 keeps them in blocks of 32"),
        (entry(&[128], 12, 64), "blocks of 256"),
        (entry(&[], 2, 64), "blocks of 32"),
    ] {
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn names_that_appear_twice_are_errors() {
    let error = problem(with(|file| {
        file.tensor("a", &[1], 0, &[0; 4]);
        file.tensor("a", &[1], 0, &[0; 4]);
    }));
    assert!(error.contains("two tensors called `a`"), "{error}");
    let error = problem(with(|file| {
        file.value("k", 0, &[1]);
        file.value("k", 0, &[1]);
    }));
    assert!(error.contains("two metadata values called `k`"), "{error}");
}

#[test]
fn types_that_are_no_weights_are_known_but_not_read() {
    let file = with(|file| {
        file.tensor("ids", &[2], 26, &[0; 8]);
        file.tensor("q2", &[256], 10, &[0; 84]);
    });
    let file = Gguf::from_bytes(file).unwrap();
    let error = file.read_rows("ids", 0..1, &mut [0.0; 2]).unwrap_err().to_string();
    assert!(error.contains("tensor `ids` is stored as i32, which cannot be read as weights"), "{error}");
    let error = file.read_rows("q2", 0..1, &mut [0.0; 256]).unwrap_err().to_string();
    assert!(error.contains("stored as q2_k"), "{error}");
}

#[test]
fn parts_of_a_split_file_are_errors() {
    let part = |n: u16| with(|file| file.value("split.count", 2, &n.to_le_bytes()));
    assert!(problem(part(3)).contains("one of 3 parts"));
    assert!(Gguf::from_bytes(part(1)).is_ok());
}

#[test]
fn no_mutation_of_a_file_makes_it_panic() {
    let texts: &[&[u8]] = &[b"general.alignment", b"GGUF", &[0xff; 8], &[0; 16], &[9, 0, 0, 0], &[8, 0, 0, 0, 0, 0, 0, 0]];
    mutations(&small_gguf(), texts, |bytes| {
        if let Ok(file) = Gguf::from_bytes(bytes) {
            read_everything(&file);
        }
    });
}

use half::{bf16, f16};
use pellucid_core::WeightStore;

use super::super::testing::{Pickle, floats, mutations, old_torch, read_everything, small_old_torch, small_torch, torch, zip};
use super::*;

/// A checkpoint of this pickle, with storage `0` of twelve f32 numbers 0, 1, 2, ….
fn checkpoint(pickle: &[u8]) -> Result<TensorFile> {
    let numbers: Vec<f32> = (0..12).map(|i| i as f32).collect();
    from_bytes(zip(&[("archive/data.pkl", pickle), ("archive/data/0", &floats(&numbers))]))
}

/// A checkpoint of one tensor `w` over that storage.
fn view(offset: usize, shape: &[usize], strides: &[usize]) -> Result<TensorFile> {
    checkpoint(&Pickle::new().op(b"}").text("w").tensor("FloatStorage", "0", 12, offset, shape, strides).op(b"s.").0)
}

fn problem(result: Result<TensorFile>) -> String {
    match result {
        Err(error @ Error::Format { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn pickle_problem(write: impl FnOnce(&mut Pickle) -> &mut Pickle) -> String {
    problem(checkpoint(&write(&mut Pickle::new()).0))
}

fn all(file: &TensorFile, name: &str) -> Vec<f32> {
    let (rows, columns) = file.info(name).unwrap().matrix();
    let mut out = vec![0.0; rows * columns];
    file.read_rows(name, 0..rows, &mut out).unwrap();
    out
}

#[test]
fn a_state_dict_is_read() {
    let file =
        from_bytes(torch(&[("a.weight", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), ("a.bias", &[2], &[5.0, 6.0]), ("none", &[0], &[])])).unwrap();
    assert_eq!(file.names(), ["a.bias", "a.weight", "none"]);
    assert_eq!(all(&file, "a.weight"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(all(&file, "a.bias"), [5.0, 6.0]);
    assert_eq!(file.info("a.weight").unwrap().shape, [2, 2]);
}

#[test]
fn storages_of_every_kind_are_known() {
    let mut pickle = Pickle::new();
    pickle.op(b"}(").text("half").tensor("HalfStorage", "h", 2, 0, &[2], &[1]);
    pickle
        .text("brain")
        .tensor("BFloat16Storage", "b", 1, 0, &[1], &[1])
        .text("ids")
        .tensor("LongStorage", "i", 1, 0, &[1], &[1])
        .op(b"u.");
    let halves = [0.5, -2.0].map(|x| f16::from_f32(x).to_le_bytes()).concat();
    let files =
        [("x/data.pkl", &pickle.0[..]), ("x/data/h", &halves), ("x/data/b", &bf16::from_f32(3.0).to_le_bytes()), ("x/data/i", &[1; 8])];
    let file = from_bytes(zip(&files)).unwrap();
    assert_eq!((all(&file, "half"), all(&file, "brain")), (vec![0.5, -2.0], vec![3.0]));
    let error = file.read_rows("ids", 0..1, &mut [0.0]).unwrap_err().to_string();
    assert!(error.contains("tensor `ids` is stored as i64"), "{error}");
}

#[test]
fn views_of_a_storage_are_read_where_they_lie() {
    for (offset, shape, strides, expected) in [
        (6, vec![2, 3], vec![3, 1], vec![6.0, 7.0, 8.0, 9.0, 10.0, 11.0]),
        (0, vec![3, 2], vec![1, 3], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]), // transposed
        (1, vec![2, 2], vec![6, 2], vec![1.0, 3.0, 7.0, 9.0]),           // every other number of every other row
        (0, vec![2, 2, 2], vec![1, 4, 2], vec![0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]),
        (0, vec![1, 3], vec![99, 1], vec![0.0, 1.0, 2.0]), // the stride of an axis of one does not matter
        (11, vec![], vec![], vec![11.0]),
        (12, vec![0, 5], vec![5, 1], vec![]),
        (0, vec![3], vec![0], vec![0.0; 3]),
    ] {
        assert_eq!(all(&view(offset, &shape, &strides).unwrap(), "w"), expected, "{shape:?} {strides:?}");
    }
    let strided = view(0, &[3, 2], &[1, 3]).unwrap();
    let mut row = [0.0; 2];
    strided.read_rows("w", 2..3, &mut row).unwrap();
    assert_eq!(row, [2.0, 5.0]);
}

#[test]
fn views_outside_their_storage_are_errors() {
    for (offset, shape, strides) in [
        (0, vec![13], vec![1]),
        (1, vec![12], vec![1]),
        (13, vec![0], vec![1]),
        (usize::MAX >> 1, vec![1], vec![1]),
        (0, vec![1 << 40], vec![0]),
        (0, vec![1 << 40, 1 << 40], vec![0, 0]),
        (0, vec![0, 1 << 40, 1 << 40], vec![0, 0, 0]),
        (0, vec![2, 2], vec![1 << 62, 1]),
        (0, vec![2, 3], vec![10, 1]),
        (3, vec![2, 3], vec![1, 4]),
    ] {
        let error = problem(view(offset, &shape, &strides));
        assert!(error.contains("tensor `w` "), "{error}");
        assert!(["storage of 12 numbers", "outside its storage", "is too large"].iter().any(|words| error.contains(words)), "{error}");
    }
}

#[test]
fn storages_and_files_must_agree() {
    let w = |class: &str, key: &str, numbers: usize| {
        pickle_problem(|p| p.op(b"}").text("w").tensor(class, key, numbers, 0, &[1], &[1]).op(b"s."))
    };
    assert!(w("FloatStorage", "0", 13).contains("tensor `w` lies in storage `0` of 13 numbers in f32, but that has 48 bytes"));
    assert!(w("HalfStorage", "0", 12).contains("in f16, but that has 48 bytes"));
    assert!(w("FloatStorage", "0", usize::MAX >> 1).contains("but that has 48 bytes"));
    assert!(w("FloatStorage", "1", 12).contains("lies in storage `1`, which the file does not hold"));
}

#[test]
fn tensors_may_be_one_level_down_in_a_few_places() {
    for place in ["state_dict", "model_state_dict", "model", "module"] {
        let mut pickle = Pickle::new();
        pickle.op(b"}(").text("epoch").op(b"K\x03").text("optimizer").op(b"}").text("state").op(b"]K\x01as");
        pickle.text(place).op(b"}").text("w").tensor("FloatStorage", "0", 12, 0, &[2], &[1]).op(b"su.");
        assert_eq!(checkpoint(&pickle.0).unwrap().names(), ["w"]);
    }
    let inner = |p: &mut Pickle, place: &str| {
        p.text(place).op(b"}").text("w").tensor("FloatStorage", "0", 12, 0, &[2], &[1]).op(b"s");
    };
    let both = pickle_problem(|p| {
        p.op(b"}(");
        inner(p, "model");
        inner(p, "module");
        p.op(b"u.")
    });
    assert!(both.contains("tensors under both `model` and `module`"), "{both}");
    let elsewhere = pickle_problem(|p| {
        p.op(b"}(");
        inner(p, "weights");
        p.op(b"u.")
    });
    assert!(elsewhere.contains("there are no tensors in the checkpoint's dictionary"), "{elsewhere}");
    let mixed = pickle_problem(|p| {
        p.op(b"}(").text("w").tensor("FloatStorage", "0", 12, 0, &[2], &[1]);
        inner(p, "more");
        p.op(b"u.")
    });
    assert!(mixed.contains("more tensors in a dictionary under"), "{mixed}");
}

#[test]
fn parameters_and_ordered_dictionaries_with_a_state_are_read() {
    let mut pickle = Pickle::new();
    pickle.global("collections", "OrderedDict").op(b")R").text("w").global("torch._utils", "_rebuild_parameter").op(b"(");
    pickle.tensor("FloatStorage", "0", 12, 1, &[2], &[1]).op(b"\x88}tRs}").text("_metadata").op(b"}sb.");
    assert_eq!(all(&checkpoint(&pickle.0).unwrap(), "w"), [1.0, 2.0]);
}

#[test]
fn protocol_four_is_read() {
    let short = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes(), &[0x94]].concat();
    let mut pickle = Pickle(vec![0x80, 4, 0x95, 0, 0, 0, 0, 0, 0, 0, 0]);
    pickle.op(b"}\x94").op(&short("w")).op(&short("torch._utils")).op(&short("_rebuild_tensor_v2")).op(b"\x93\x94(");
    pickle
        .op(b"(")
        .op(&short("storage"))
        .op(&short("torch"))
        .op(&short("FloatStorage"))
        .op(b"\x93")
        .op(&short("0"))
        .op(&short("cpu"))
        .op(b"K\x0ctQ");
    pickle.op(b"K\x02K\x03\x85K\x01\x85\x89}tRs.");
    assert_eq!(all(&checkpoint(&pickle.0).unwrap(), "w"), [2.0, 3.0, 4.0]);
}

#[test]
fn names_off_the_list_are_refused_and_told() {
    for (module, name) in
        [("os", "system"), ("builtins", "eval"), ("torch", "QInt8Storage"), ("numpy", "dtype"), ("collections", "defaultdict"), ("", "")]
    {
        let error = pickle_problem(|p| p.global(module, name).op(b")R."));
        assert!(error.contains(&format!("wants `{module}.{name}`, which is not on the list")), "{error}");
        let stacked = pickle_problem(|p| p.text(module).text(name).op(b"\x93)R."));
        assert!(stacked.contains(&format!("wants `{module}.{name}`")), "{stacked}");
    }
    let hostile = pickle_problem(|p| p.global("\x1b[2J", "x").op(b"."));
    assert!(hostile.contains(r"wants `\u{1b}[2J.x`"), "{hostile}");
}

#[test]
fn instructions_off_the_list_are_refused() {
    for instruction in [b'i', b'o', 0x81, 0x92, b'P', 0x82, b'S', b'I', b'p', b'2', b'0', b'1', 0x8b, 0xff, 0] {
        let error = pickle_problem(|p| p.op(&[instruction, b'\n', b'.']));
        assert!(error.contains(&format!("at byte 2: instruction 0x{instruction:02x} has no place")), "{error}");
    }
}

#[test]
fn pickles_that_do_not_hold_together_are_errors() {
    for (ops, words) in [
        (&b""[..], "1 bytes should follow, but only 0 do"),
        (b".", "the stack is empty"),
        (b"N.", "the checkpoint is None, not a dictionary"),
        (b"}.", "there are no tensors"),
        (b"t", "there is no mark"),
        (b"u", "there is no mark"),
        (b"e", "there is no mark"),
        (b"N(\x85", "the stack is empty"),
        (b"}(Nu", "a key without a value"),
        (b"N(NNu", "no dictionary to put items into"),
        (b"}Na", "no list to append to"),
        (b"a", "the stack is empty"),
        (b"q\x00", "the stack is empty"),
        (b"h\x00", "nothing was remembered as 0"),
        (b"j\xff\xff\xff\xff", "nothing was remembered as 4294967295"),
        (b"X\xff\xff\xff\xffabc", "4294967295 bytes should follow, but only 3 do"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc", "18446744073709551615 bytes should follow"),
        (b"\x8c\x01\xff", "not UTF-8"),
        (b"cos", "a name without an end"),
        (b"cos\n\xff\n", "not UTF-8"),
        (b"NN\x93", "a global's name is not text"),
        (b"NQ", "a persistent id that is not"),
        (b")Q", "a persistent id that is not"),
        (b"N)R", "None is called as a function"),
        (b"NNR", "arguments that are not a tuple"),
        (b"ccollections\nOrderedDict\nN\x85R", "OrderedDict is called with (None)"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R", "RebuildTensor is called with ()"),
        (b"ctorch._utils\n_rebuild_parameter\nN\x85R", "RebuildParameter is called with (None)"),
        (b"ctorch\nFloatStorage\n)R", "is called with ()"),
        (b"NNb", "None is given a state"),
        (b"\x80\x06", "pickle protocol 6"),
        (b"\x80\x01", "pickle protocol 1"),
    ] {
        let error = pickle_problem(|p| p.op(ops));
        assert!(error.contains("data.pkl: at byte ") || !ops.ends_with(b"R") && error.contains(words), "{error}");
        assert!(error.contains(words), "{ops:?}: {error}");
    }
    let sizes = pickle_problem(|p| p.op(b"}").text("w").tensor("FloatStorage", "0", 12, usize::MAX, &[1], &[1]).op(b"s."));
    assert!(sizes.contains("are not (a few) non-negative integers"), "{sizes}");
    let axes = pickle_problem(|p| p.op(b"}").text("w").tensor("FloatStorage", "0", 12, 0, &[1; 65], &[1; 65]).op(b"s."));
    assert!(axes.contains("are not (a few) non-negative integers"), "{axes}");
    let strides = pickle_problem(|p| p.op(b"}").text("w").tensor("FloatStorage", "0", 12, 0, &[1, 1], &[1]).op(b"s."));
    assert!(strides.contains("a tensor of 2 axes with 1 strides"), "{strides}");
    let name = pickle_problem(|p| p.op(b"}N").tensor("FloatStorage", "0", 12, 0, &[1], &[1]).op(b"s."));
    assert!(name.contains("a tensor's name is None, not text"), "{name}");
    let twice = pickle_problem(|p| {
        p.op(b"}(");
        for _ in 0..2 {
            p.text("w").tensor("FloatStorage", "0", 12, 0, &[1], &[1]);
        }
        p.op(b"u.")
    });
    assert!(twice.contains("two tensors called `w`"), "{twice}");
}

#[test]
fn deep_and_circular_values_are_harmless() {
    // A hundred thousand tuples inside each other, and a dictionary that holds itself.
    assert!(pickle_problem(|p| p.op(b")").op(&[0x85; 100_000]).op(b".")).contains("the checkpoint is a tuple"));
    assert!(pickle_problem(|p| p.op(b"}q\x00").text("model").op(b"h\x00s.")).contains("there are no tensors"));
    assert!(pickle_problem(|p| p.op(&vec![b'N'; (1 << 20) + 1])).contains("more than 1048576 values on the stack"));
    assert!(pickle_problem(|p| p.op(&vec![b'('; (1 << 20) + 1])).contains("more than 1048576 open marks"));
    assert!(pickle_problem(|p| p.op(&vec![b'N'; 16 << 20])).contains("over the limit"));
}

#[test]
fn archives_that_are_no_checkpoints_are_errors() {
    let pickle = Pickle::new().op(b"}.").0.clone();
    let good = small_torch();
    for (bytes, words) in [
        (zip(&[("a/readme", b"hello")]), "a zip archive without data.pkl"),
        (zip(&[("a/data.pkl", &pickle), ("b/data.pkl", &pickle)]), "more than one data.pkl"),
        (zip(&[("a/metadata.pkl", &pickle)]), "a zip archive without data.pkl"),
        (zip(&[("a/data.pkl", &pickle), ("a/byteorder", b"big")]), "not stored little-endian"),
        (good[..good.len() - 1].to_vec(), "bad zip archive"),
        (good[..good.len() / 2].to_vec(), "bad zip archive"),
        (b"PK\x03\x04".to_vec(), "bad zip archive"),
    ] {
        let error = problem(from_bytes(bytes));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn compressed_entries_and_entries_outside_the_file_are_errors() {
    let good = zip(&[("data.pkl", &Pickle::new().op(b"}.").0)]);
    let central = good.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let changed = |at: usize, bytes: &[u8]| [&good[..central + at], bytes, &good[central + at + bytes.len()..]].concat();
    let deflated = problem(from_bytes(changed(10, &[8, 0])));
    assert!(deflated.contains("`data.pkl` is compressed or encrypted"), "{deflated}");
    let encrypted = problem(from_bytes(changed(8, &[1, 0])));
    assert!(encrypted.contains("`data.pkl` is compressed or encrypted"), "{encrypted}");
    let long = problem(from_bytes(changed(20, &[0xff, 0xff, 0xff, 0])));
    assert!(long.contains("`data.pkl` lies outside the file"), "{long}");
    let far = problem(from_bytes(changed(42, &[0xff, 0xff, 0, 0])));
    assert!(far.contains("bad zip archive"), "{far}");
}

#[test]
fn the_old_format_is_read() {
    let mut pickle = Pickle::new();
    pickle.op(b"}(").text("a").old_tensor("FloatStorage", "2", 2, &[2], &[1]).text("b").old_tensor("IntStorage", "1", 1, &[1], &[1]);
    pickle.text("tied").old_tensor("FloatStorage", "2", 2, &[1, 2], &[2, 1]).op(b"u.");
    let good = old_torch(&pickle.0, &[("1", &[9; 4]), ("2", &floats(&[1.0, 2.0]))]);
    let file = from_bytes(good.clone()).unwrap();
    assert_eq!((all(&file, "a"), all(&file, "tied")), (vec![1.0, 2.0], vec![1.0, 2.0]));
    assert_eq!(file.info("b").unwrap().encoding, "i32");
    for length in 0..good.len() {
        problem(from_bytes(good[..length].to_vec()));
    }
}

#[test]
fn old_files_that_do_not_hold_together_are_errors() {
    let w = Pickle::new().op(b"}").text("w").old_tensor("FloatStorage", "1", 1, &[1], &[1]).op(b"s.").0.clone();
    let hostile = Pickle::new().global("os", "system").op(b")R.").0.clone();
    let good = old_torch(&w, &[("1", &[0; 4])]);
    let version = legacy::MAGIC.len() + 3;
    let endian = good.windows(4).position(|window| window == b"ian\x88").unwrap() + 3;
    let changed = |at: usize, byte: u8| [&good[..at], &[byte], &good[at + 1..]].concat();
    let count = good.len() - 12;
    for (bytes, words) in [
        (changed(version, 0), "an unknown version of torch's old format; 1001 is read"),
        (changed(endian, 0x89), "not stored little-endian"),
        (changed(count, 2), "storage `1` lies outside the file"),
        (changed(count + 7, 0xff), "storage `1` lies outside the file"),
        (changed(count, 0), "4 bytes follow the last storage"),
        ([&good[..], &[0]].concat(), "1 bytes follow the last storage"),
        (old_torch(&w, &[]), "tensor `w` lies in storage `1`, which the file does not hold"),
        (old_torch(&w, &[("2", &[0; 4])]), "storage `2` is of no tensor"),
        (old_torch(&w, &[("1", &[0; 4]), ("1", &[0; 4])]), "storage `1` appears twice"),
        (old_torch(&w, &[("1", &[0; 8])]), "tensor `w` lies in storage `1` of 1 numbers in f32, but that has 8 bytes"),
        ([legacy::MAGIC, b"\x80\x02M\xe9\x03.\x80\x02N."].concat(), "not stored little-endian"),
        (old_torch(&hostile, &[]), "the checkpoint: at byte 2: wants `os.system`"),
    ] {
        let error = problem(from_bytes(bytes));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn no_mutation_of_a_file_makes_it_panic() {
    let texts: &[&[u8]] =
        &[b"\x8a\x08", b"K\x02", b"tR", b"(", b"h\x00", b"PK\x01\x02", b"PK\x06\x06", b"PK\x06\x07", &[0xff; 8], b"torch\nHalfStorage\n"];
    mutations(&small_torch(), texts, |bytes| {
        if let Ok(file) = from_bytes(bytes) {
            read_everything(&file);
        }
    });
    mutations(&small_old_torch(), texts, |bytes| {
        if let Ok(file) = from_bytes(bytes) {
            read_everything(&file);
        }
    });
    // The same with the pickle alone, in a sound archive.
    let mut pickle = Pickle::new();
    pickle
        .op(b"}(")
        .text("w")
        .tensor("FloatStorage", "0", 12, 0, &[3, 4], &[4, 1])
        .text("v")
        .tensor("FloatStorage", "0", 12, 1, &[2, 2], &[1, 6])
        .op(b"u.");
    mutations(&pickle.0, texts, |bytes| {
        if let Ok(file) = checkpoint(&bytes) {
            read_everything(&file);
        }
    });
}

#[test]
fn a_config_beside_the_tensors_is_plain_values_by_name() {
    let carried = |write: &dyn Fn(&mut Pickle)| {
        let mut pickle = Pickle::new();
        pickle.op(b"}(").text("config").op(b"}(");
        write(&mut pickle);
        config_in(&zip(&[("archive/data.pkl", &pickle.op(b"uu.").0)]))
    };
    let read = carried(&|p| _ = p.op(b"NN"));
    assert_eq!(read.unwrap_err(), "has a key in its `config` that is None, not text");
    let read = carried(&|p| _ = p.text("layers").op(b"K\x04").text("rate").op(b"G").op(&0.5f64.to_be_bytes()).text("flag").op(b"\x88"));
    assert_eq!(Json::Object(read.unwrap().unwrap()), serde_json::json!({"layers": 4, "rate": 0.5, "flag": true}));
    let read = carried(&|p| _ = p.text("layers").op(b"]"));
    assert_eq!(read.unwrap_err(), "has `layers` in its `config`, which is a list; numbers, text and truth values are read");
    assert_eq!(config_in(&small_torch()).unwrap(), None);
    assert_eq!(config_in(&small_old_torch()).unwrap(), None);
    let lying = zip(&[("archive/data.pkl", &Pickle::new().op(b"}").text("config").op(b"K\x01s.").0)]);
    assert_eq!(config_in(&lying).unwrap_err(), "has a `config` that is an integer, not a dictionary");
}

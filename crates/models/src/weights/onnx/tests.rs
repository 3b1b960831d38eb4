use pellucid_core::WeightStore;
use prost::Message;
use prost::bytes::Bytes;
use serde_json::json;

use super::super::testing::{TempFolder, floats, mutations};
use super::graph::{FLOAT, INT8};
use super::wire::{Attribute, Entry, Node, Tensor};
use super::*;
use crate::weights::arranged::read;

/// Writes graphs with names that say nothing.
#[derive(Default)]
struct Writer {
    nodes: Vec<Node>,
    tensors: Vec<Tensor>,
    input: &'static str,
    output: String,
    opset: i64,
    /// Matrices as int8.
    quantised: bool,
    /// Numbers that constants have instead of those they should.
    instead: Vec<(f32, f32)>,
}

fn attribute(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.into(), int: ints.first().copied().unwrap_or(0), ints: ints.into(), ..Attribute::default() }
}

impl Writer {
    fn op(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let name = format!("v{}", self.nodes.len());
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        self.nodes.push(Node { inputs, outputs: vec![name.clone()], op: op.into(), attributes, domain: String::new() });
        name
    }

    fn add(&mut self, kind: i32, shape: &[i64], raw: Vec<u8>) -> String {
        let name = format!("t{}", self.tensors.len());
        self.tensors.push(Tensor { name: name.clone(), kind, dims: shape.into(), raw: raw.into(), ..Tensor::default() });
        name
    }

    /// A stored tensor: its number, then 1, 2, 3 and so on hundredths more.
    fn tensor(&mut self, shape: &[i64]) -> String {
        let (first, n) = (self.tensors.len(), shape.iter().product::<i64>());
        self.add(FLOAT, shape, floats(&(0..n).map(|i| first as f32 + i as f32 / 100.0).collect::<Vec<_>>()))
    }

    fn number(&mut self, number: f32) -> String {
        let number = self.instead.iter().find(|(from, _)| *from == number).map_or(number, |(_, to)| *to);
        self.constant(Tensor { kind: FLOAT, raw: floats(&[number]).into(), ..Tensor::default() })
    }

    fn ints(&mut self, ints: &[i64]) -> String {
        self.constant(Tensor { kind: 7, dims: vec![ints.len() as i64], int64s: ints.into(), ..Tensor::default() })
    }

    fn constant(&mut self, tensor: Tensor) -> String {
        let value = Attribute { name: "value".into(), tensor: Some(Box::new(tensor)), ..Attribute::default() };
        self.op("Constant", &[], vec![value])
    }

    fn norm(&mut self, x: &str, epsilon: f32) -> String {
        let mean = |w: &mut Self, x: &str| w.op("ReduceMean", &[x], vec![attribute("axes", &[-1])]);
        let mu = mean(self, x);
        let centred = self.op("Sub", &[x, &mu], vec![]);
        let two = self.number(2.0);
        let squares = self.op("Pow", &[&centred, &two], vec![]);
        let (variance, epsilon) = (mean(self, &squares), self.number(epsilon));
        let sum = self.op("Add", &[&variance, &epsilon], vec![]);
        let root = self.op("Sqrt", &[&sum], vec![]);
        let whitened = self.op("Div", &[&centred, &root], vec![]);
        let (weight, bias) = (self.tensor(&[WIDTH]), self.tensor(&[WIDTH]));
        let scaled = self.op("Mul", &[&whitened, &weight], vec![]);
        self.op("Add", &[&scaled, &bias], vec![])
    }

    fn product(&mut self, x: &str, [inputs, outputs]: [i64; 2]) -> String {
        if !self.quantised {
            let weight = self.tensor(&[inputs, outputs]);
            return self.op("MatMul", &[x, &weight], vec![]);
        }
        let index = self.nodes.len();
        let [quantised, scale, zero] = ["q", "s", "z"].map(|part| format!("{part}{index}"));
        self.op("DynamicQuantizeLinear", &[x], vec![]);
        self.nodes[index].outputs = vec![quantised.clone(), scale.clone(), zero.clone()];
        let values = self.add(INT8, &[inputs, outputs], (0..inputs * outputs).map(|i| (i - 9) as u8).collect());
        let scales = self.add(FLOAT, &[outputs], floats(&(0..outputs).map(|i| (i + 1) as f32 / 8.0).collect::<Vec<_>>()));
        let zeros = self.add(INT8, &[outputs], vec![]);
        self.tensors.last_mut().unwrap().int32s = (0..outputs).map(|i| -i as i32).collect();
        let factors = self.op("Mul", &[&scale, &scales], vec![]);
        let whole = self.op("MatMulInteger", &[&quantised, &values, &zero, &zeros], vec![]);
        let cast = self.op("Cast", &[&whole], vec![attribute("to", &[1])]);
        self.op("Mul", &[&cast, &factors], vec![])
    }

    fn linear(&mut self, x: &str, sizes: [i64; 2]) -> String {
        let (product, bias) = (self.product(x, sizes), self.tensor(&[sizes[1]]));
        self.op("Add", &[&bias, &product], vec![])
    }

    fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.op("Reshape", &[x, &shape], vec![])
    }

    fn turned(&mut self, x: &str, order: &[i64]) -> String {
        self.op("Transpose", &[x], vec![attribute("perm", order)])
    }

    fn attention(&mut self, x: &str) -> String {
        let heads = |w: &mut Self, order: &[i64], scaled: bool| {
            let map = w.linear(x, [WIDTH, WIDTH]);
            let cut = w.reshape(&map, &[1, -1, 2, WIDTH / 2]);
            let turned = w.turned(&cut, order);
            if !scaled {
                return turned;
            }
            let factor = w.number(0.840_896_4); // 2^(−¼): twice makes 1/√2
            w.op("Mul", &[&turned, &factor], vec![])
        };
        let (q, k) = (heads(self, &[0, 2, 1, 3], true), heads(self, &[0, 2, 3, 1], true));
        let scores = self.op("MatMul", &[&q, &k], vec![]);
        let pattern = self.op("Softmax", &[&scores], vec![attribute("axis", &[-1])]);
        let v = heads(self, &[0, 2, 1, 3], false);
        let mixed = self.op("MatMul", &[&pattern, &v], vec![]);
        let turned = self.turned(&mixed, &[0, 2, 1, 3]);
        let joined = self.reshape(&turned, &[1, -1, WIDTH]);
        self.linear(&joined, [WIDTH, WIDTH])
    }

    fn quick_gelu(&mut self, a: &str) -> String {
        let steepness = self.number(1.702);
        let steep = self.op("Mul", &[a, &steepness], vec![]);
        let gate = self.op("Sigmoid", &[&steep], vec![]);
        self.op("Mul", &[a, &gate], vec![])
    }

    fn gelu(&mut self, a: &str) -> String {
        let root = self.number(std::f32::consts::SQRT_2);
        let inside = self.op("Div", &[a, &root], vec![]);
        let (erf, one) = (self.op("Erf", &[&inside], vec![]), self.number(1.0));
        let sum = self.op("Add", &[&erf, &one], vec![]);
        let (product, half) = (self.op("Mul", &[a, &sum], vec![]), self.number(0.5));
        self.op("Mul", &[&product, &half], vec![])
    }

    fn block(&mut self, x: &str, act: fn(&mut Self, &str) -> String, epsilon: f32, scaled: bool) -> String {
        let scale = |w: &mut Self, branch: String| match scaled {
            false => branch,
            true => {
                let scale = w.tensor(&[WIDTH]);
                w.op("Mul", &[&branch, &scale], vec![])
            }
        };
        let normed = self.norm(x, epsilon);
        let attention = self.attention(&normed);
        let branch = scale(self, attention);
        let middle = self.op("Add", &[x, &branch], vec![]);
        let normed = self.norm(&middle, epsilon);
        let up = self.linear(&normed, [WIDTH, 6]);
        let active = act(self, &up);
        let down = self.linear(&active, [6, WIDTH]);
        let branch = scale(self, down);
        self.op("Add", &[&branch, &middle], vec![])
    }

    /// A class token and the patches of 4×4 pixels, 2×2 each.
    fn rows(&mut self, bias: bool) -> String {
        let mut inputs = vec![self.input.to_owned(), self.tensor(&[WIDTH, 3, 2, 2])];
        inputs.extend(bias.then(|| self.tensor(&[WIDTH])));
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let conv = self.op("Conv", &inputs, vec![attribute("kernel_shape", &[2, 2]), attribute("strides", &[2, 2])]);
        let flat = self.reshape(&conv, &[1, WIDTH, -1]);
        let patches = self.turned(&flat, &[0, 2, 1]);
        let (token, shape) = (self.tensor(if bias { &[1, 1, WIDTH] } else { &[WIDTH] }), self.ints(&[1, 1, WIDTH]));
        let token = self.op("Expand", &[&token, &shape], vec![]);
        self.op("Concat", &[&token, &patches], vec![attribute("axis", &[1])])
    }

    fn bytes(&self) -> Vec<u8> {
        let field = |tag: u8, message: &[u8]| {
            let mut out = vec![tag << 3 | 2];
            prost::encode_length_delimiter(message.len(), &mut out).unwrap();
            [&out, message].concat()
        };
        let port = |name: &str, axes: &[u8]| {
            let axes: Vec<u8> = axes.iter().flat_map(|size| field(1, &[0x08, *size])).collect();
            [field(1, name.as_bytes()), field(2, &field(1, &[vec![0x08, 1], field(2, &axes)].concat()))].concat()
        };
        let mut graph: Vec<u8> = self.nodes.iter().flat_map(|node| field(1, &node.encode_to_vec())).collect();
        graph.extend(self.tensors.iter().flat_map(|tensor| field(5, &tensor.encode_to_vec())));
        graph.extend(field(11, &port(self.input, &[0, 3, 4, 4])));
        graph.extend(field(12, &port(&self.output, &[])));
        [vec![0x08, 7], field(2, b"a test"), field(7, &graph), field(8, &[0x10, self.opset as u8])].concat()
    }
}

const WIDTH: i64 = 4;

/// An image tower of two blocks, with other numbers `instead` of some constants.
fn clip(quantised: bool, instead: &[(f32, f32)]) -> Writer {
    let mut w = Writer { input: "pixel_values", opset: 14, quantised, instead: instead.into(), ..Writer::default() };
    let rows = w.rows(false);
    let (table, ids) = (w.tensor(&[5, WIDTH]), w.ints(&[0, 1, 2, 3, 4]));
    let positions = w.op("Gather", &[&table, &ids], vec![]);
    let sum = w.op("Add", &[&rows, &positions], vec![]);
    let mut x = w.norm(&sum, 1e-5);
    for _ in 0..2 {
        x = w.block(&x, Writer::quick_gelu, 1e-5, false);
    }
    let first = w.ints(&[0]);
    let first = w.op("Gather", &[&x, &first], vec![attribute("axis", &[1])]);
    let normed = w.norm(&first, 1e-5);
    w.output = w.product(&normed, [WIDTH, 3]);
    w
}

/// A DINOv2 of one block, whose positions are of 3×3 patches, under a decoder of one convolution.
fn dinov2() -> Writer {
    let mut w = Writer { input: "input_image", opset: 14, ..Writer::default() };
    let rows = w.rows(true);
    let (class, table) = (w.tensor(&[1, 1, WIDTH]), w.tensor(&[1, 9, WIDTH]));
    let grid = w.reshape(&table, &[1, 3, 3, WIDTH]);
    let (grid, to) = (w.turned(&grid, &[0, 3, 1, 2]), w.ints(&[1, WIDTH, 2, 2]));
    let text = |name: &str, text: &'static str| Attribute { name: name.into(), text: Bytes::from(text), ..Attribute::default() };
    let how = vec![text("mode", "cubic"), text("coordinate_transformation_mode", "half_pixel")];
    let resized = w.op("Resize", &[&grid, "", "", &to], how);
    let turned = w.turned(&resized, &[0, 2, 3, 1]);
    let flat = w.reshape(&turned, &[1, -1, WIDTH]);
    let positions = w.op("Concat", &[&class, &flat], vec![attribute("axis", &[1])]);
    let sum = w.op("Add", &[&rows, &positions], vec![]);
    let x = w.block(&sum, Writer::gelu, 1e-6, true);
    let normed = w.norm(&x, 1e-6);
    let weight = w.tensor(&[1, WIDTH, 1, 1]);
    let decoded = w.op("Conv", &[&normed, &weight], vec![]);
    w.output = w.op("Sigmoid", &[&decoded], vec![]);
    w
}

fn refused(writer: &Writer) -> String {
    Onnx::from_bytes(writer.bytes()).err().expect("this graph is refused").to_string()
}

/// The numbers of tensor `t{index}` of a [`Writer`], as it is written.
fn stored(index: usize, numbers: usize) -> Vec<f32> {
    (0..numbers).map(|i| index as f32 + i as f32 / 100.0).collect()
}

/// `[inputs, outputs]` as `[outputs, inputs]`.
fn turned(numbers: &[f32], outputs: usize) -> Vec<f32> {
    (0..outputs).flat_map(|o| numbers.iter().skip(o).step_by(outputs).copied()).collect()
}

#[test]
fn a_tower_s_tensors_are_known_by_what_they_do() {
    let onnx = Onnx::from_bytes(clip(false, &[]).bytes()).unwrap();
    let expected = json!({"model_type": "clip_vision_model", "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 2,
        "num_attention_heads": 2, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_channels": 3, "image_size": 4, "patch_size": 2,
        "projection_dim": 3});
    assert_eq!(Json::Object(onnx.config().clone()), expected);
    assert_eq!(*onnx.preprocessing(), Preprocessing::clip(4));
    // In the order of writing: kernel, class token, table, first norm, then 16 a block: norm, q, k, v, output, norm, up, down.
    let at = |name: &str| format!("vision_model.{name}");
    for (name, expected) in [
        (at("embeddings.patch_embedding.weight"), stored(0, 48)),
        (at("embeddings.class_embedding"), stored(1, 4)),
        (at("embeddings.position_embedding.weight"), stored(2, 20)),
        (at("pre_layrnorm.weight"), stored(3, 4)),
        (at("pre_layrnorm.bias"), stored(4, 4)),
        (at("encoder.layers.0.layer_norm1.bias"), stored(6, 4)),
        (at("encoder.layers.0.self_attn.q_proj.weight"), turned(&stored(7, 16), 4)),
        (at("encoder.layers.0.self_attn.k_proj.weight"), turned(&stored(9, 16), 4)),
        (at("encoder.layers.0.self_attn.v_proj.bias"), stored(12, 4)),
        (at("encoder.layers.0.self_attn.out_proj.weight"), turned(&stored(13, 16), 4)),
        (at("encoder.layers.0.layer_norm2.weight"), stored(15, 4)),
        (at("encoder.layers.0.mlp.fc1.weight"), turned(&stored(17, 24), 6)),
        (at("encoder.layers.0.mlp.fc2.bias"), stored(20, 4)),
        (at("encoder.layers.1.self_attn.q_proj.weight"), turned(&stored(23, 16), 4)),
        (at("post_layernorm.weight"), stored(37, 4)),
        ("visual_projection.weight".into(), turned(&stored(39, 12), 3)),
    ] {
        assert_eq!(read(&onnx, &name).unwrap(), expected, "{name}");
    }
    assert_eq!(onnx.names().len(), 40, "{:?}", onnx.names());
    assert_eq!(onnx.info("visual_projection.weight").unwrap().shape, [3, 4]);
}

#[test]
fn whole_numbers_become_what_they_stand_for_a_few_rows_at_a_time() {
    let onnx = Onnx::from_bytes(clip(true, &[]).bytes()).unwrap();
    let name = "vision_model.encoder.layers.1.mlp.fc1.weight";
    let info = onnx.info(name).unwrap();
    assert_eq!((info.shape, info.encoding, info.bytes), (vec![6, 4], "int8", 24));
    // Stored value 6·input + output − 9, zero −output, scale (output + 1)/8.
    let by_definition = |o: i32, i: i32| (6 * i + o - 9 + o) as f32 * (o + 1) as f32 / 8.0;
    for rows in [0..6, 2..3, 1..5, 6..6] {
        let mut out = vec![0.0; rows.len() * 4];
        onnx.read_rows(name, rows.clone(), &mut out).unwrap();
        let expected: Vec<f32> = rows.flat_map(|o| (0..4).map(move |i| by_definition(o as i32, i))).collect();
        assert_eq!(out, expected);
    }
    onnx.release(name);
    for (rows, room, words) in [(5..7, 8, "rows 5..7 are outside"), (0..1, 5, "but there is room for 5")] {
        let error = onnx.read_rows(name, rows, &mut vec![0.0; room]).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn more_rows_than_a_tile_are_turned_like_few() {
    let (rows, columns) = (200, 3);
    let stored: Vec<f32> = (0..rows * columns).map(|x| x as f32).collect();
    let mut out = vec![0.0; 150 * columns];
    turn(&stored, rows, 20..170, &mut out, |_, x| *x);
    let expected: Vec<f32> = (20..170).flat_map(|row| (0..columns).map(move |column| (column * rows + row) as f32)).collect();
    assert_eq!(out, expected);
}

#[test]
fn an_encoder_under_a_decoder_is_read_without_it_and_its_positions_are_resized() {
    let onnx = Onnx::from_bytes(dinov2().bytes()).unwrap();
    let expected = json!({"model_type": "dinov2", "mlp_ratio": 1.5, "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
        "num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "num_channels": 3, "image_size": 4, "patch_size": 2,
        "qkv_bias": true, "use_swiglu_ffn": false});
    assert_eq!(Json::Object(onnx.config().clone()), expected);
    let positions = read(&onnx, "embeddings.position_embeddings").unwrap();
    assert_eq!(positions[..4], stored(3, 4));
    // Positions are on a slope that cubic convolution keeps: 4 + (4·(3y + x) + column)/100 at the middles of the 2×2 patches, but for what
    // the repeated edges pull in.
    let middle: f32 = positions[4..].iter().step_by(4).sum::<f32>() / 4.0;
    assert!((middle - 4.16).abs() < 1e-5, "{positions:?}");
    assert_eq!(read(&onnx, "encoder.layer.0.layer_scale1.lambda1").unwrap(), stored(15, 4));
    assert_eq!(read(&onnx, "encoder.layer.0.layer_scale2.lambda1").unwrap(), stored(22, 4));
    assert_eq!(read(&onnx, "layernorm.bias").unwrap(), stored(24, 4));
    assert!(!onnx.names().iter().any(|name| read(&onnx, name).unwrap() == stored(25, 4)), "the decoder's tensor is left out");
}

#[test]
fn a_graph_that_does_anything_else_is_refused() {
    for (instead, words) in [
        ((1.702, 1.7), "a gate of another kind"),
        ((0.840_896_4, 1.0), "scales its scores by 1, not by 1/√2"),
        ((2.0, 3.0), "looks like a layer norm, but is none"),
    ] {
        let error = refused(&clip(false, &[instead]));
        assert!(error.contains(words), "{error}");
    }
    let changed = |change: fn(&mut Writer)| {
        let mut writer = clip(true, &[]);
        change(&mut writer);
        refused(&writer)
    };
    for (error, words) in [
        (changed(|w| w.opset = 17), "version 17 of the operators"),
        (changed(|w| w.input = "image"), "takes `pixel_values`, which nothing before it makes"),
        (changed(|w| w.output = "v3".into()), "is made by"),
        (changed(|w| w.output = "nowhere".into()), "is made by nothing"),
        (changed(|w| drop(w.tensor(&[4]))), "has no place for"),
        (changed(|w| w.tensors[1].location = 1), "lies in another file"),
        (changed(|w| w.tensors[1].external.push(Entry::default())), "lies in another file"),
        (changed(|w| w.tensors[1].name = "t0".into()), "two tensors called `t0`"),
        (changed(|w| w.tensors[1].raw = Bytes::from_static(&[0; 12])), "tensor `t1` of shape [4], kind 1 and 12 bytes should be [4]"),
        (changed(|w| w.tensors[0].dims = vec![-4, 3, 2, 2]), "tensor `t0` has shape [-4, 3, 2, 2]"),
        (changed(|w| w.tensors[8].raw = floats(&[1.0, 1.0, 1.0, f32::NAN]).into()), "should be 4 scales, each a finite number"),
        (changed(|w| w.nodes.iter_mut().filter(|n| n.op == "MatMulInteger").for_each(|n| n.inputs[2] = "z99".into())), "`z99`"),
        (changed(|w| w.tensors[9].int32s[0] = 300), "should be 4 zeros in int8"),
        (changed(|w| w.nodes.swap(0, 2)), "which nothing before it makes"),
        (changed(|w| w.nodes[0].domain = "org.other".into()), "only the standard operators"),
        (changed(|w| w.nodes[1].outputs = vec!["v0".into()]), "is made twice"),
        (
            changed(|w| w.nodes.iter_mut().filter(|n| n.op == "Softmax").for_each(|n| n.attributes[0].int = 1)),
            "should be over the last axis",
        ),
        (changed(|w| w.nodes.iter_mut().filter(|n| n.op == "Conv").for_each(|n| n.attributes[1].ints = vec![1, 1])), "`strides` [1, 1]"),
        (changed(|w| w.nodes.iter_mut().filter(|n| n.op == "Sigmoid").for_each(|n| n.op = "Tanh".into())), "neither of the activations"),
    ] {
        assert!(error.contains(words), "{error} — {words}");
    }
}

#[test]
fn a_head_beside_a_tower_is_read_with_it() {
    let folder = TempFolder::new();
    folder.write("tower.onnx", &clip(false, &[]).bytes());
    let path = folder.path("tower.onnx");
    assert!(Onnx::open(&path).unwrap().info("classifier.weight").is_none());
    folder.write(HEAD, br#"{"weights": [1.5, -2, 0.1], "bias": 0.25, "normalised": true, "note": "fitted"}"#);
    let onnx = Onnx::open(&path).unwrap();
    assert_eq!(onnx.info("classifier.weight").unwrap().shape, [1, 3]);
    assert_eq!(read(&onnx, "classifier.weight").unwrap(), [1.5, -2.0, 0.1]);
    assert_eq!(read(&onnx, "classifier.bias").unwrap(), [0.25]);
    assert_eq!((&onnx.config()["logistic_unit_classifier"], &onnx.config()["id2label"]["1"]), (&json!(true), &json!("AI-generated")));
    assert_eq!(crate::weights::files(&path).unwrap(), [path.clone(), folder.path(HEAD)]);
    for wrong in [
        &br#"{"weights": [1, 2], "bias": 0, "normalised": true}"#[..],
        br#"{"weights": [1, 2, 1e60], "bias": 0, "normalised": true}"#,
        br#"{"weights": [1, 2, 3], "bias": 0, "normalised": false}"#,
        br#"{"weights": [1, 2, 3], "bias": 0}"#,
        b"[]",
    ] {
        folder.write(HEAD, wrong);
        let error = Onnx::open(&path).err().unwrap().to_string();
        assert!(error.contains(HEAD), "{error}");
    }
}

#[test]
fn a_file_that_is_damaged_or_announces_too_much_is_refused() {
    let good = clip(false, &[]).bytes();
    let refused = |bytes: &[u8]| Onnx::from_bytes(bytes.to_vec()).err().unwrap().to_string();
    for (bytes, words) in [
        (&good[..good.len() - 40], "the file is cut short"),
        (&good[..10], "does not hold exactly one graph"),
        (&[0x08, 7, 0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f][..], "a field of 4294967295 bytes, but only 0 follow"),
        (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "more than ten bytes"),
        (&[0x0b, 0x0c], "unknown kind 3"),
    ] {
        let error = refused(bytes);
        assert!(error.contains(words), "{error}");
    }
    // Two bytes each, some ninety in memory.
    let nodes = [0x0a, 0].repeat(3 << 20);
    let mut many = vec![0x08, 7, 0x3a];
    prost::encode_length_delimiter(nodes.len(), &mut many).unwrap();
    assert!(refused(&[many, nodes].concat()).contains("more than 20000 fields"));
}

#[test]
fn no_mutation_of_a_file_makes_it_panic() {
    for file in [clip(true, &[]).bytes(), dinov2().bytes()] {
        mutations(&file, &[b"MatMul", b"Add", b"t1", b"v1", b"\xff\xff\xff\xff\x07"], |bytes| {
            if let Ok(onnx) = Onnx::from_bytes(bytes) {
                for name in onnx.names() {
                    let (rows, columns) = onnx.info(&name).unwrap().matrix();
                    assert!(rows * columns <= 1 << 16, "a file of a few thousand bytes has {rows} × {columns}");
                    onnx.read_rows(&name, 0..rows, &mut vec![0.0; rows * columns]).unwrap();
                }
            }
        });
    }
}

//! The reference cases of pictures: the published colour map, overlay, threshold and upsampling, to their own tolerances.

use std::{fs, path::PathBuf};

use pellucid_render::picture::{ColourMap, above, bilinear, otsu, overlay_as_published};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

struct Case {
    checks: Value,
    inputs: Vec<u8>,
    expected: Vec<u8>,
}

impl Case {
    fn read(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../cases").join(name);
        let bytes = |file: &str| fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let case: Value = serde_json::from_slice(&bytes("case.json")).unwrap();
        Case { checks: case["checks"].clone(), inputs: bytes("inputs.safetensors"), expected: bytes("expected.safetensors") }
    }

    fn check(&self, name: &str) -> &Value {
        self.checks.as_array().unwrap().iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no check {name}"))
    }

    fn input(&self, check: &str, argument: &str) -> (Vec<usize>, Vec<f64>) {
        numbers(&self.inputs, self.check(check)["inputs"][argument].as_str().unwrap())
    }

    fn expected(&self, check: &str) -> (Vec<usize>, Vec<f64>) {
        numbers(&self.expected, self.check(check)["expect"]["tensor"].as_str().unwrap())
    }

    fn tolerance(&self, check: &str) -> f64 {
        self.check(check)["tolerance"]["abs"].as_f64().unwrap()
    }
}

fn numbers(file: &[u8], name: &str) -> (Vec<usize>, Vec<f64>) {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let values = match tensor.dtype() {
        Dtype::U8 => tensor.data().iter().map(|&v| f64::from(v)).collect(),
        Dtype::F32 => tensor.data().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect(),
        other => panic!("{name} is {other:?}"),
    };
    (tensor.shape().to_vec(), values)
}

fn furthest(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max)
}

#[test]
fn the_colour_map_jet_is_that_of_the_reference() {
    let case = Case::read("render");
    let (shape, want) = case.expected("colour-map/jet");
    let got: Vec<f64> = ColourMap::Jet.table().as_flattened().iter().map(|&v| f64::from(v)).collect();
    assert_eq!((shape, furthest(&got, &want)), (vec![256, 3], 0.0));
}

#[test]
fn the_published_overlay_is_that_of_the_reference() {
    let case = Case::read("render");
    let (image, map) = (case.input("overlay/jet", "image").1, case.input("overlay/jet", "map").1);
    let got: Vec<f64> = overlay_as_published(&image, &map, ColourMap::Jet.table()).unwrap().into_iter().map(f64::from).collect();
    assert!(furthest(&got, &case.expected("overlay/jet").1) <= case.tolerance("overlay/jet"));
}

#[test]
fn otsus_threshold_is_that_of_the_reference() {
    let case = Case::read("metrics");
    let image: Vec<u8> = case.input("otsu", "image").1.into_iter().map(|v| v as u8).collect();
    let want = &case.check("otsu")["expect"]["value"];
    let threshold = otsu(&image);
    assert_eq!(f64::from(threshold), want["threshold"].as_f64().unwrap());
    assert_eq!(above(&image, threshold).iter().filter(|a| **a).count() as u64, want["above"].as_u64().unwrap());
}

#[test]
fn bilinear_upsampling_is_that_of_the_reference() {
    let case = Case::read("metrics");
    let (from, image) = case.input("bilinear", "image");
    let (to, want) = case.expected("bilinear");
    let got = bilinear(&image, [from[0], from[1]], [to[0], to[1]]).unwrap();
    assert!(furthest(&got, &want) <= case.tolerance("bilinear"));
}

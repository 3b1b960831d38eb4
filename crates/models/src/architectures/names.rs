//! Checkpoints of image models under names other than Hugging Face's, and tensors that an architecture reads in another form than is stored.
//!
//! timm, the repositories of DeiT and DINOv2 ([`timm`]), and OpenAI's CLIP and OpenCLIP ([`openai`]) keep the same numbers under names of their
//! own, and have no `config.json` of Hugging Face's kind. Which of them a file is from, its tensors' names tell; sizes come from the tensors'
//! shapes. [`complete`] makes the config, [`translated`] the names.
//!
//! Whatever the names were, [`fitted`] then makes
//! - of DeiT's two heads one map of both rows: `½·[C, D]`, `½·(c + d)`, since the two scores are averaged;
//! - of a logistic score of a unit vector, `σ(c·u + b)`, two classes that share it, `∓½(c·u + b)`, of whose softmax the second is that σ; and of
//!   the unit vector one of length √n, which is what an RMS norm gives: `∓½c/√n`;
//! - of DINOv2's positions those of the picture's own grid, as its code does ([`Cubic`]);
//! - of positions without rows for registers some with rows of zeros, which add nothing.

mod openai;
#[cfg(test)]
mod tests;
mod timm;

use pellucid_core::{Error, Result, WeightStore};
use serde_json::{Map, Value as Json};

use super::{Config, Entry};
use crate::weights::{Arranged, Cubic, Source, arranged::read, resample};

/// Who named the tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// timm, and the repositories of DeiT and DINOv2, which agree but for registers.
    Timm,
    /// OpenAI's CLIP, and OpenCLIP.
    OpenAi,
}

/// Tensors under their new names, and stored ones that are not weights.
type Translation = (Vec<(String, Source)>, Vec<&'static str>);

fn origin(store: &dyn WeightStore) -> Option<Origin> {
    let has = |name: &str| store.info(name).is_some();
    if has("patch_embed.proj.weight") && has("blocks.0.norm1.weight") {
        Some(Origin::Timm)
    } else if has("visual.conv1.weight") && has("ln_final.weight") {
        Some(Origin::OpenAi)
    } else {
        None
    }
}

/// Whether the tensors have names from which [`complete`] makes a config.
pub(crate) fn are_known(store: &dyn WeightStore) -> bool {
    origin(store).is_some()
}

/// Adds to a config what it does not say and the tensors tell; nothing where they have Hugging Face's names. `beside` is an
/// `open_clip_config.json`, if there is one.
///
/// # Errors
/// Shapes that are those of no such model; a kind of model that is not supported.
pub(crate) fn complete(config: &mut Map<String, Json>, store: &dyn WeightStore, beside: Option<&Map<String, Json>>) -> Result<()> {
    let told = match origin(store) {
        None => return Ok(()),
        Some(Origin::Timm) => timm::config(store, config)?,
        Some(Origin::OpenAi) => openai::config(store, beside)?,
    };
    // What transformers calls any model of timm's.
    if config.get("model_type").is_some_and(|kind| kind == "timm_wrapper") {
        config.remove("model_type");
    }
    for (key, value) in told {
        if config.get(&key).is_none_or(Json::is_null) {
            config.insert(key, value);
        }
    }
    Ok(())
}

/// `store` under Hugging Face's names, with `entry`'s prefix. Tensors that nothing here knows stay as they are.
///
/// # Errors
/// Shapes that do not fit the names; two tensors that come to the same name.
pub(crate) fn translated(store: Box<dyn WeightStore>, entry: &Entry) -> Result<Box<dyn WeightStore>> {
    let (tensors, ignored) = match origin(store.as_ref()) {
        None => return Ok(store),
        Some(Origin::Timm) => timm::translation(store.as_ref(), entry)?,
        Some(Origin::OpenAi) => openai::translation(store.as_ref())?,
    };
    Ok(Box::new(Arranged::new(store, tensors, &ignored)?))
}

/// `store`, which has Hugging Face's names, with the tensors that `entry`'s architecture reads in another form.
///
/// # Errors
/// Shapes that do not fit each other.
pub(crate) fn fitted(store: Box<dyn WeightStore>, entry: &Entry, config: &Config) -> Result<Box<dyn WeightStore>> {
    let made = match entry.model_type {
        "deit" => both_heads(store.as_ref())?,
        "clip_vision_model" if config.flag_or("logistic_unit_classifier", false)? => two_classes(store.as_ref())?,
        "vit" | "dinov2" | "dinov2_with_registers" => positions(store.as_ref(), entry, config)?,
        _ => Vec::new(),
    };
    if made.is_empty() { Ok(store) } else { Ok(Box::new(Arranged::new(store, made, &[])?)) }
}

/// DeiT's heads as one.
fn both_heads(store: &dyn WeightStore) -> Result<Vec<(String, Source)>> {
    let heads = ["cls_classifier", "distillation_classifier"];
    if heads.iter().any(|head| store.info(&format!("{head}.weight")).is_none()) {
        return Ok(Vec::new());
    }
    let [weights, biases] = ["weight", "bias"].map(|end| heads.map(|head| format!("{head}.{end}")));
    let [classes, width] = axes(store, &weights[0])?;
    for (name, shape) in [(&weights[1], vec![classes, width]), (&biases[0], vec![classes]), (&biases[1], vec![classes])] {
        if store.info(name).map(|info| info.shape).as_ref() != Some(&shape) {
            return Err(Error::Weights(format!("tensor `{name}` should have shape {shape:?}, as the other head")));
        }
    }
    let [first, second] = [read(store, &weights[0])?, read(store, &weights[1])?];
    let rows = first.chunks_exact(width).zip(second.chunks_exact(width)).flat_map(|(a, b)| a.iter().chain(b));
    let weight = rows.map(|x| x / 2.0).collect();
    let bias = read(store, &biases[0])?.iter().zip(read(store, &biases[1])?).map(|(a, b)| (a + b) / 2.0).collect();
    Ok(vec![
        ("classifier.weight".into(), Source::Held { shape: vec![classes, 2 * width], numbers: weight, from: weights.into() }),
        ("classifier.bias".into(), Source::Held { shape: vec![classes], numbers: bias, from: biases.into() }),
    ])
}

/// One logistic score of a vector of length 1, as two classes of one of length √n.
fn two_classes(store: &dyn WeightStore) -> Result<Vec<(String, Source)>> {
    let [one, width] = axes(store, "classifier.weight")?;
    let [bias] = axes(store, "classifier.bias")?;
    if (one, bias) != (1, 1) {
        return Err(Error::Weights(format!("the classifier has {one} scores and {bias} biases; a logistic one has 1 and 1")));
    }
    let length = (width as f64).sqrt();
    let made = [("classifier.weight", vec![2, width], length), ("classifier.bias", vec![2], 1.0)].map(|(name, shape, by)| {
        let score = read(store, name)?;
        let numbers = [-0.5, 0.5].iter().flat_map(|half| score.iter().map(move |x| (half * f64::from(*x) / by) as f32)).collect();
        Ok((name.to_owned(), Source::Held { shape, numbers, from: vec![name.into()] }))
    });
    made.into_iter().collect()
}

/// The position table with a row for each row of the model.
fn positions(store: &dyn WeightStore, entry: &Entry, config: &Config) -> Result<Vec<(String, Source)>> {
    let embedding = |name: &str| format!("{}embeddings.{name}", entry.prefix);
    let (name, registers) = (embedding("position_embeddings"), store.info(&embedding("register_tokens")));
    let Some((rows, width)) = store.info(&name).map(|info| info.matrix()) else { return Ok(Vec::new()) };
    let registers = registers.map_or(0, |info| info.matrix().0);
    let side = config.size("image_size")? / config.size("patch_size")?;
    let patches = side.checked_mul(side).ok_or_else(|| Error::Weights(format!("the config asks for {side}×{side} patches")))?;
    let stored = rows.saturating_sub(1);
    let interpolated = entry.model_type != "vit" && stored != patches && stored > 0 && stored.isqrt().pow(2) == stored;
    let whole = rows == patches.saturating_add(1).saturating_add(registers);
    if whole || !(interpolated || (registers > 0 && stored == patches)) {
        return Ok(Vec::new());
    }
    let numbers = read(store, &name)?;
    let (first, rest) = numbers.split_at(width);
    let mut made = [first, &vec![0.0; registers * width]].concat();
    if interpolated {
        // Far more than any picture has; what follows takes memory.
        const MOST: usize = 1 << 16;
        if patches == 0 || patches > MOST {
            return Err(Error::Unsupported(format!("{side}×{side} patches; positions are interpolated for up to {MOST}")));
        }
        let cubic = if registers > 0 { Cubic::Smoothed } else { Cubic::Sharp };
        made.extend(resample(rest, [stored.isqrt(); 2], [side; 2], width, cubic));
    } else {
        made.extend(rest);
    }
    let shape = vec![1, 1 + registers + patches, width];
    Ok(vec![(name.clone(), Source::Held { shape, numbers: made, from: vec![name] })])
}

/// How many there are of `{before}{n}{after}`, counted from 0.
fn count(store: &dyn WeightStore, before: &str, after: &str) -> usize {
    (0..).take_while(|n| store.info(&format!("{before}{n}{after}")).is_some()).count()
}

/// A tensor's axes, which must be `N`.
fn axes<const N: usize>(store: &dyn WeightStore, tensor: &str) -> Result<[usize; N]> {
    let wrong = |what: String| Error::Weights(format!("tensor `{tensor}` {what}"));
    let shape = store.info(tensor).ok_or_else(|| wrong("is missing from the weights".into()))?.shape;
    match <[usize; N]>::try_from(&shape[..]) {
        Ok(axes) if !axes.contains(&0) => Ok(axes),
        _ => Err(wrong(format!("has shape {shape:?}; it should have {N} axes, none of them 0"))),
    }
}

/// `{theirs}.weight` and `{theirs}.bias`, as far as they are there, as those of `ours`.
fn pair(store: &dyn WeightStore, theirs: &str, ours: &str) -> Result<Vec<(String, Source)>> {
    let stored = ["weight", "bias"].into_iter().filter(|end| store.info(&format!("{theirs}.{end}")).is_some());
    stored.map(|end| Ok((format!("{ours}.{end}"), Source::whole(store, &format!("{theirs}.{end}"))?))).collect()
}

/// A fused map's three parts, stored as `theirs`, as `{our}.{end}` of each.
fn thirds(store: &dyn WeightStore, theirs: &str, ours: [&str; 3], end: &str) -> Result<Vec<(String, Source)>> {
    if store.info(theirs).is_none() {
        return Ok(Vec::new());
    }
    let third = |(part, our): (usize, &str)| Ok((format!("{our}.{end}"), Source::part(store, theirs, (part, 3))?));
    ours.into_iter().enumerate().map(third).collect()
}

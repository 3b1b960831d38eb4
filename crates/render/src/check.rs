//! Does an attribution agree with itself? Every form asks before it draws, so none of them has to ask again.

use pellucid_core::{Attribution, FORMAT, ImageRecord, Part, PixelScores, Region, Span, TargetToken};

use crate::picture::decode::decode;

/// Largest magnitude of a score. Far above any nat or logit; keeps sums of scores finite.
const LARGEST: f64 = 1e100;

/// A box may reach beyond its picture by this share of it: rounding.
const BEYOND: f64 = 1e-5;
/// Most rows or columns of patches.
const MAX_PATCHES: usize = 1 << 16;

/// `Err` says which field is wrong, with the values, and what would be right.
pub(crate) fn check(a: &Attribution) -> Result<(), String> {
    without_picture(a)?;
    picture(a)
}

/// The picture alone, which must be unpacked for that.
pub(crate) fn picture(a: &Attribution) -> Result<(), String> {
    match &a.input.image {
        Some(image) => decode(image).map(|_| ()).map_err(|problem| format!("input.image.picture {problem}")),
        None => Ok(()),
    }
}

/// Everything but the picture itself.
pub(crate) fn without_picture(a: &Attribution) -> Result<(), String> {
    if a.format != FORMAT {
        return Err(format!("format is {:?}, this version reads {FORMAT:?}", a.format));
    }
    input(a)?;
    target(a)?;
    features(a)?;
    scores(a)?;
    if let Some(p) = &a.pixels {
        pixels(p, a.input.image.is_some())?;
    }
    for (i, promise) in a.promises.iter().enumerate() {
        finite(&format!("promises[{i}].expected"), promise.expected)?;
        finite(&format!("promises[{i}].got"), promise.got)?;
        if promise.target_token >= a.target.tokens.len() {
            let (token, tokens) = (promise.target_token, a.target.tokens.len());
            return Err(format!("promises[{i}].target_token is {token}, the target has {tokens} tokens"));
        }
    }
    if !(a.method.parameters.is_object() || a.method.parameters.is_null()) {
        return Err(format!("method.parameters is {}, not an object", a.method.parameters));
    }
    amount("cost.wall_ms", a.cost.wall_ms)?;
    amount("cost.gflop", a.cost.gflop)
}

fn input(a: &Attribution) -> Result<(), String> {
    let length = length(&a.input.text);
    span("input.second", a.input.second, length, "input.text")?;
    let mut end = 0;
    for (i, part) in a.input.shown.iter().enumerate() {
        let field = format!("input.shown[{i}]");
        span(&field, Some(*part), length, "input.text")?;
        if part.start < end {
            return Err(format!("{field} starts at {}, before the previous part ends at {end}", part.start));
        }
        end = part.end;
    }
    a.input.image.as_ref().map_or(Ok(()), image)?;
    a.input.tokens.iter().enumerate().try_for_each(|(i, t)| span(&format!("input.tokens[{i}].span"), t.span, length, "input.text"))
}

/// Learned rows of a model of pictures, at most; real ones have up to six.
const MAX_LEARNED: usize = 256;

fn image(image: &ImageRecord) -> Result<(), String> {
    if image.width == 0 || image.height == 0 {
        return Err(format!("input.image is {} × {} pixels, 1 × 1 is the least", image.width, image.height));
    }
    if image.grid.iter().any(|n| !(1..=MAX_PATCHES).contains(n)) {
        return Err(format!("input.image.grid is {:?}, rows and columns must be 1 to {MAX_PATCHES}", image.grid));
    }
    for (i, control) in image.controls.iter().enumerate() {
        region(&format!("input.image.controls[{i}].region"), &control.region)?;
        if !(control.factor.is_finite() && control.factor >= 0.0) {
            return Err(format!("input.image.controls[{i}].factor is {}, not a finite number of at least 0", control.factor));
        }
    }
    region("input.image.seen", &image.seen)
}

/// Inside the picture, and more than nothing of it.
fn region(field: &str, r: &Region) -> Result<(), String> {
    let along = |from: f64, length: f64| from >= -BEYOND && length > 0.0 && from + length <= 1.0 + BEYOND;
    match along(r.left, r.width) && along(r.top, r.height) {
        true => Ok(()),
        false => Err(format!(
            "{field} is left {}, top {}, width {}, height {}; it must lie inside the picture, 0 to 1, and have an area",
            r.left, r.top, r.width, r.height
        )),
    }
}

fn pixels(p: &PixelScores, has_image: bool) -> Result<(), String> {
    if !has_image {
        return Err("pixels is there, but input.image is not".into());
    }
    if p.values.is_empty() || p.width.checked_mul(p.height) != Some(p.values.len()) {
        return Err(format!("pixels.values has {} entries for {} × {} pixels", p.values.len(), p.width, p.height));
    }
    match p.values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(format!("pixels.values[{i}] is {}, not a finite number", p.values[i])),
        None => Ok(()),
    }
}

fn target(a: &Attribution) -> Result<(), String> {
    tokens("target", &a.target.tokens, length(&a.target.text))?;
    match &a.target.contrast {
        Some(contrast) => tokens("target.contrast", &contrast.tokens, length(&contrast.text)),
        None => Ok(()),
    }
}

fn tokens(of: &str, tokens: &[TargetToken], length: Option<usize>) -> Result<(), String> {
    for (i, t) in tokens.iter().enumerate() {
        let field = format!("{of}.tokens[{i}]");
        span(&format!("{field}.span"), t.span, length, &format!("{of}.text"))?;
        finite(&format!("{field}.log_probability"), t.log_probability)?;
        finite(&format!("{field}.logit"), t.logit)?;
        // A logarithm rounded in f32 may give a probability a hair above 1.
        if !(0.0..=1.000001).contains(&t.probability) {
            return Err(format!("{field}.probability is {}, outside 0 to 1", t.probability));
        }
    }
    Ok(())
}

fn features(a: &Attribution) -> Result<(), String> {
    // Before a picture's patches stand rows that the model learned: a class token, registers.
    let rows = a.input.image.as_ref().map_or(a.input.tokens.len(), |i| i.grid[0] * i.grid[1] + MAX_LEARNED);
    let positions = rows + a.target.tokens.len();
    for (i, feature) in a.features.iter().enumerate() {
        let (length, text) = match feature.part {
            Part::Prompt => (length(&a.input.text), "input.text"),
            Part::Target => (length(&a.target.text), "target.text"),
        };
        span(&format!("features[{i}].span"), feature.span, length, text)?;
        if let Some(r) = &feature.region {
            if a.input.image.is_none() {
                return Err(format!("features[{i}].region is there, but input.image is not"));
            }
            region(&format!("features[{i}].region"), r)?;
        }
        if let Some(position) = feature.positions.iter().find(|&&p| p >= positions) {
            return Err(format!("features[{i}].positions has {position}, prompt and target have {positions} tokens"));
        }
    }
    Ok(())
}

fn scores(a: &Attribution) -> Result<(), String> {
    let s = &a.scores;
    let n = a.features.len();
    if s.combined.len() != n {
        return Err(format!("scores.combined has {} entries for {n} features", s.combined.len()));
    }
    s.combined.iter().enumerate().try_for_each(|(i, &v)| finite(&format!("scores.combined[{i}]"), v))?;
    rows("scores.per_target_token", &s.per_target_token, n, a.target.tokens.len(), "target.tokens")?;
    match (&s.per_contrast_token, &a.target.contrast) {
        (Some(table), Some(contrast)) => rows("scores.per_contrast_token", table, n, contrast.tokens.len(), "target.contrast.tokens"),
        (Some(_), None) => Err("scores.per_contrast_token is there, but target.contrast is not".into()),
        (None, _) => Ok(()),
    }
}

fn rows(field: &str, table: &[Vec<Option<f64>>], n: usize, width: usize, of: &str) -> Result<(), String> {
    if table.len() != n {
        return Err(format!("{field} has {} rows for {n} features", table.len()));
    }
    for (i, row) in table.iter().enumerate() {
        if row.len() != width {
            return Err(format!("{field}[{i}] has {} entries for {width} {of}", row.len()));
        }
        row.iter().enumerate().try_for_each(|(j, v)| finite(&format!("{field}[{i}][{j}]"), v.unwrap_or(0.0)))?;
    }
    Ok(())
}

fn span(field: &str, span: Option<Span>, length: Option<usize>, text: &str) -> Result<(), String> {
    let Some(Span { start, end }) = span else { return Ok(()) };
    match length {
        None => Err(format!("{field} is {start}..{end}, but there is no {text}")),
        Some(length) if start > end || end > length => Err(format!("{field} is {start}..{end}, {text} has {length} characters")),
        Some(_) => Ok(()),
    }
}

fn finite(field: &str, value: f64) -> Result<(), String> {
    match value.abs() <= LARGEST {
        true => Ok(()),
        false => Err(format!("{field} is {value}, not a finite number of at most {LARGEST:e}")),
    }
}

fn amount(field: &str, value: f64) -> Result<(), String> {
    finite(field, value)?;
    if value < 0.0 { Err(format!("{field} is {value}, less than 0")) } else { Ok(()) }
}

fn length(text: &Option<String>) -> Option<usize> {
    text.as_ref().map(|t| t.chars().count())
}

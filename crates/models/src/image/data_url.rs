//! A picture as a `data:` address, for files that carry it with them.

use std::collections::HashSet;

use ::image::codecs::{jpeg::JpegEncoder, png::PngEncoder};
use ::image::{ExtendedColorType, ImageEncoder};
use base64::{Engine, prelude::BASE64_STANDARD};
use pellucid_core::{Error, Result};

use super::resize::{Part, resize};
use super::{Filter, Picture};

/// Up to so many colours a picture is drawn, not photographed, and a PNG keeps its edges.
const FEW_COLOURS: usize = 256;

/// Up to so many pixels a PNG is no larger than a JPEG's tables.
const FEW_PIXELS: usize = 32 * 32;

/// JPEG quality, 1 to 100: no visible blocks below a heat map, a third of the bytes of 95.
const QUALITY: u8 = 88;

pub(super) fn data_url(picture: &Picture, longest_side: usize) -> Result<String> {
    if longest_side == 0 {
        return Err(Error::request("a picture with a longest side of 0 pixels is none; give 1 or more"));
    }
    let longest = picture.width().max(picture.height());
    if longest <= longest_side {
        return encode(picture.rgb(), picture.width(), picture.height());
    }
    // Halves go up; a thin picture keeps at least one pixel.
    let scaled = |side: usize| ((side * longest_side + longest / 2) / longest).max(1);
    let (width, height) = (scaled(picture.width()), scaled(picture.height()));
    let all = Part { rows: 0..height, columns: 0..width };
    encode(&resize(picture, (height, width), &all, Filter::Bilinear)?, width, height)
}

fn encode(rgb: &[u8], width: usize, height: usize) -> Result<String> {
    let as_png = width * height <= FEW_PIXELS || has_few_colours(rgb);
    // JPEG cannot say more than 65,535; only a thin picture is longer than that.
    let as_png = as_png || width.max(height) > usize::from(u16::MAX);
    let (side, mut bytes) = (|n: usize| n as u32, Vec::new()); // at most `MAX_PIXELS`
    let written = if as_png {
        PngEncoder::new(&mut bytes).write_image(rgb, side(width), side(height), ExtendedColorType::Rgb8)
    } else {
        JpegEncoder::new_with_quality(&mut bytes, QUALITY).write_image(rgb, side(width), side(height), ExtendedColorType::Rgb8)
    };
    written.map_err(|e| Error::request(format!("the picture of {width}x{height} cannot be encoded: {e}")))?;
    Ok(format!("data:image/{};base64,{}", if as_png { "png" } else { "jpeg" }, BASE64_STANDARD.encode(bytes)))
}

fn has_few_colours(rgb: &[u8]) -> bool {
    let mut seen = HashSet::new();
    rgb.as_chunks::<3>().0.iter().all(|colour| {
        seen.insert(*colour);
        seen.len() <= FEW_COLOURS
    })
}

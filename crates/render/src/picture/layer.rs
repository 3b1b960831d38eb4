//! A heat map in colours: alone, or see-through to lie over its picture.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage, Rgba, RgbaImage, imageops};
use pellucid_core::{Error, Result, Sign};

use super::heat::Heat;
use super::{ColourTable, Mask, Overlay, overlay, overlay_as_published};

/// What was not seen, over the picture and beside the map: grey lines, and a veil over the picture.
const HATCH: Rgba<u8> = Rgba([0x8a, 0x90, 0x9b, 0xb0]);
const VEIL: Rgba<u8> = Rgba([0x14, 0x16, 0x1a, 0x88]);
/// What a mask leaves out, over the picture.
const MASKED: Rgba<u8> = Rgba([0x14, 0x16, 0x1a, 0x96]);
const CLEAR: Rgba<u8> = Rgba([0, 0, 0, 0]);

/// How strengths look.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) table: &'static ColourTable,
    pub(crate) sign: Sign,
    pub(crate) overlay: Overlay,
    pub(crate) opacity: f64,
    pub(crate) mask: Mask,
}

impl Look {
    /// The colour of a strength.
    pub(crate) fn colour(&self, strength: f64) -> [u8; 3] {
        let share = if self.sign == Sign::Signed { 0.5 + 0.5 * strength } else { strength };
        // A cast from a float saturates.
        self.table[usize::from((255.0 * share).round() as u8)]
    }

    fn opacity(&self, strength: f64) -> f64 {
        match self.overlay {
            // Fast at first, so that half a strength is plainly seen.
            Overlay::Fading => self.opacity * (1.0 - (1.0 - strength.abs()).powi(2)),
            Overlay::Even | Overlay::AsPublished => self.opacity,
        }
    }

    /// The map alone: opaque where there is a score to show.
    pub(crate) fn map(&self, heat: &Heat) -> RgbaImage {
        let shown = heat.shown(self.mask);
        paint(heat, |i, x, y| match heat.strengths[i] {
            None => hatched(heat, x, y, CLEAR),
            Some(s) if shown[i] => opaque(self.colour(f64::from(s))),
            Some(_) => CLEAR,
        })
    }

    /// The map to be laid over its picture. Only the published overlay needs to know the picture; its layer covers it.
    pub(crate) fn over(&self, heat: &Heat, photo: &RgbImage) -> Result<RgbaImage> {
        let shown = heat.shown(self.mask);
        let published = if self.overlay == Overlay::AsPublished { Some(self.published(heat, photo)?) } else { None };
        Ok(paint(heat, |i, x, y| match (heat.strengths[i], &published) {
            (None, _) => hatched(heat, x, y, VEIL),
            (Some(_), _) if !shown[i] => MASKED,
            (Some(_), Some(all)) => opaque([all[3 * i], all[3 * i + 1], all[3 * i + 2]]),
            (Some(s), None) => {
                let [r, g, b] = self.colour(f64::from(s));
                Rgba([r, g, b, (255.0 * self.opacity(f64::from(s))).round() as u8])
            }
        }))
    }

    fn published(&self, heat: &Heat, photo: &RgbImage) -> Result<Vec<u8>> {
        let picture: Vec<f64> = resized(photo, heat).as_raw().iter().map(|&v| f64::from(v) / 255.0).collect();
        let share = |s: &Option<f32>| match (s.unwrap_or(0.0), self.sign) {
            (s, Sign::Signed) => f64::from(0.5 + 0.5 * s),
            (s, Sign::Unsigned) => f64::from(s),
        };
        overlay_as_published(&picture, &heat.strengths.iter().map(share).collect::<Vec<_>>(), self.table)
    }

    /// Picture and map in one.
    pub(crate) fn composed(&self, heat: &Heat, photo: &RgbImage) -> Result<RgbImage> {
        let layer = self.over(heat, photo)?;
        let colours: Vec<u8> = layer.pixels().flat_map(|p| [p[0], p[1], p[2]]).collect();
        let opacities: Vec<f64> = layer.pixels().map(|p| f64::from(p[3]) / 255.0).collect();
        let pixels = overlay(resized(photo, heat).as_raw(), &colours, &opacities)?;
        RgbImage::from_raw(layer.width(), layer.height(), pixels).ok_or_else(|| Error::request("a picture and its map differ in size"))
    }
}

/// The picture at the size of its map.
pub(crate) fn resized(photo: &RgbImage, heat: &Heat) -> RgbImage {
    imageops::resize(photo, heat.width as u32, heat.height as u32, imageops::FilterType::Triangle)
}

/// A PNG's bytes.
pub(crate) fn png(layer: &RgbaImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Adaptive)
        .write_image(layer.as_raw(), layer.width(), layer.height(), ExtendedColorType::Rgba8)
        .map_err(|e| Error::request(format!("cannot write the heat map as PNG: {e}")))?;
    Ok(bytes)
}

fn paint(heat: &Heat, colour: impl Fn(usize, usize, usize) -> Rgba<u8>) -> RgbaImage {
    RgbaImage::from_fn(heat.width as u32, heat.height as u32, |x, y| {
        let (x, y) = (x as usize, y as usize);
        colour(y * heat.width + x, x, y)
    })
}

fn opaque([r, g, b]: [u8; 3]) -> Rgba<u8> {
    Rgba([r, g, b, 0xff])
}

/// Lines from lower left to upper right, as far apart as suits the size.
fn hatched(heat: &Heat, x: usize, y: usize, between: Rgba<u8>) -> Rgba<u8> {
    let period = (heat.width.max(heat.height) / 50).max(4);
    if (x + y) % period < (period / 6).max(1) { HATCH } else { between }
}

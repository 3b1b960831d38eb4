//! From a file's bytes to 8-bit RGB.
//!
//! Where models' own pipelines go through Pillow (`Image.open(file).convert("RGB")`), so do their numbers; this agrees with it but for:
//! - EXIF orientation is applied, as `transformers.image_utils.load_image` does and a bare `Image.open` does not.
//! - 16-bit grey keeps its high byte, as 16-bit RGB does there and here. Pillow clips 16-bit grey at 255, which makes the picture white.
//! - What no frame of a GIF covers is black; there it is the colour that the palette has first, or as its transparent one.
//! - JPEG's arithmetic leaves room: pixels differ by up to four grey levels from libjpeg-turbo's, 0.3 in the mean.
//!
//! A JPEG whose end marker is there and half of whose data are not cannot be told from a whole one, here as there.

use std::borrow::Cow;
use std::fmt;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::image::codecs::{gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use ::image::metadata::Orientation;
use ::image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, Limits, RgbImage};
use pellucid_core::{Error, Result};

use super::container::{gif_is_animated, jpeg_is_whole, webp_blending, webp_disagreement, webp_is_whole};
use super::picture::KINDS;

/// The most pixels that a picture may have: 100 million, an order above what cameras make.
pub const MAX_PIXELS: usize = 100_000_000;

/// The largest file that is read: 256 MiB.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// The most memory that decoding may take, by the header's word: 1.25 GiB. [`MAX_PIXELS`] of a PNG, JPEG or GIF fit, and 78 million of a WebP.
pub const MAX_DECODING_BYTES: usize = 1280 << 20;

/// How a file stores a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// PNG, also animated.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP, lossy, lossless or animated.
    WebP,
    /// GIF.
    Gif,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
        })
    }
}

/// What becomes of what is see-through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transparency {
    /// It is dropped: the colours stay as the file has them, also where they are invisible. What models' own pipelines do.
    #[default]
    Dropped,
    /// The picture is laid on this colour, as a viewer shows it on a page of that colour.
    Over([u8; 3]),
}

/// What came out of a file.
pub(super) struct Decoded {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) rgb: Vec<u8>,
    pub(super) format: Format,
    pub(super) animated: bool,
    pub(super) transparent: bool,
}

/// Decodes `bytes`; `file` is for messages.
pub(super) fn decode(bytes: &[u8], file: &Path, transparency: Transparency) -> Result<Decoded> {
    if bytes.is_empty() {
        return Err(Error::format(file, format!("the file is empty; an image is {KINDS}")));
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::format(file, format!("larger than {} MiB, the most that an image's file may have", MAX_FILE_BYTES >> 20)));
    }
    let format = format(bytes).map_err(|problem| Error::format(file, problem))?;
    // A decoder that trips over crafted bytes must not take the program with it.
    catch_unwind(AssertUnwindSafe(|| decode_as(format, bytes, transparency)))
        .unwrap_or_else(|_| Err("damaged: it cannot be decoded".into()))
        .map_err(|problem| Error::format(file, problem))
}

/// By content, whatever the name ends in.
fn format(bytes: &[u8]) -> Result<Format, String> {
    match ::image::guess_format(bytes) {
        Ok(ImageFormat::Png) => Ok(Format::Png),
        Ok(ImageFormat::Jpeg) => Ok(Format::Jpeg),
        Ok(ImageFormat::WebP) => Ok(Format::WebP),
        Ok(ImageFormat::Gif) => Ok(Format::Gif),
        Ok(other) => Err(format!("an image in the format {other:?}, which is not read; save it as {KINDS}")),
        Err(_) => Err(format!("not an image: it begins with `{}`; an image is {KINDS}", bytes[..bytes.len().min(12)].escape_ascii())),
    }
}

fn decode_as(format: Format, bytes: &[u8], transparency: Transparency) -> Result<Decoded, String> {
    let cursor = Cursor::new(bytes);
    let limits = limits();
    match format {
        Format::Png => {
            let decoder = PngDecoder::with_limits(cursor, limits).map_err(problem)?;
            let animated = decoder.is_apng().map_err(problem)?;
            finish(decoder, format, animated, transparency)
        }
        Format::Jpeg => {
            let decoder = JpegDecoder::new(cursor).map_err(problem)?;
            check(&decoder, format)?;
            match jpeg_is_whole(bytes) {
                true => finish(decoder, format, false, transparency),
                false => Err("cut off: the JPEG has no end marker; save or fetch the file again".into()),
            }
        }
        Format::WebP => {
            if !webp_is_whole(bytes) {
                return Err("cut off: the WebP is shorter than it says; save or fetch the file again".into());
            }
            if let Some(disagreement) = webp_disagreement(bytes) {
                return Err(format!("damaged: {disagreement}"));
            }
            let mut bytes = Cow::Borrowed(bytes);
            if let Some(at) = webp_blending(&bytes) {
                bytes.to_mut()[at] |= 0b10;
            }
            let decoder = WebPDecoder::new(Cursor::new(&*bytes)).map_err(problem)?;
            let animated = decoder.has_animation();
            finish(decoder, format, animated, transparency)
        }
        Format::Gif => {
            let mut decoder = GifDecoder::new(cursor).map_err(problem)?;
            check(&decoder, format)?;
            decoder.set_limits(limits).map_err(problem)?;
            finish(decoder, format, gif_is_animated(bytes), transparency)
        }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODING_BYTES as u64);
    limits
}

/// A decoder's complaint in our words.
fn problem(error: ImageError) -> String {
    let text = error.to_string();
    match error {
        ImageError::Limits(_) => format!("larger than the limits for an image: {text}"),
        ImageError::Unsupported(_) => format!("a kind of image that is not read: {text}; save it as ordinary {KINDS}"),
        _ => format!("cut off or damaged: {text}"),
    }
}

/// Pixels of a picture of this size.
///
/// # Errors
/// None at all, or more than [`MAX_PIXELS`].
pub(super) fn pixels(width: usize, height: usize) -> Result<usize, String> {
    match width.checked_mul(height) {
        Some(0) => Err(format!("an image of {width}x{height} has no pixels")),
        Some(pixels) if pixels <= MAX_PIXELS => Ok(pixels),
        _ => Err(format!("an image of {width}x{height} has more than {} million pixels; make it smaller", MAX_PIXELS / 1_000_000)),
    }
}

/// Checks what the header says, before memory is taken for it. Bytes of the picture as the decoder gives it.
fn check(decoder: &impl ImageDecoder, format: Format) -> Result<usize, String> {
    let (width, height) = decoder.dimensions();
    let pixels = pixels(width as usize, height as usize)?;
    let stored = usize::from(decoder.color_type().bytes_per_pixel());
    // What decoders hold a pixel beside the result: coefficients of a progressive JPEG, canvas and frame of an animation.
    let beside = match format {
        Format::Png => 0,
        Format::Jpeg => 6,
        Format::WebP => 10,
        Format::Gif => 4,
    };
    let bytes = pixels * (stored + beside + 3);
    if bytes > MAX_DECODING_BYTES {
        return Err(format!(
            "decoding {width}x{height} pixels of {} bits takes {} MiB, and {} are allowed; make the image smaller",
            decoder.color_type().bits_per_pixel(),
            bytes >> 20,
            MAX_DECODING_BYTES >> 20
        ));
    }
    Ok(pixels * stored)
}

fn finish(mut decoder: impl ImageDecoder, format: Format, animated: bool, transparency: Transparency) -> Result<Decoded, String> {
    let bytes = check(&decoder, format)?;
    let (width, height) = decoder.dimensions();
    let orientation = orientation(&mut decoder)?;
    let color = decoder.color_type();
    let mut stored = Vec::new();
    stored.try_reserve_exact(bytes).map_err(|_| format!("no memory for {bytes} bytes of pixels"))?;
    stored.resize(bytes, 0);
    decoder.read_image(&mut stored).map_err(problem)?;
    let (rgb, transparent) = to_rgb(stored, color, transparency)?;
    let rgb = RgbImage::from_raw(width, height, rgb).ok_or("damaged: fewer pixels than the header says")?;
    let mut upright = DynamicImage::ImageRgb8(rgb);
    upright.apply_orientation(orientation);
    let rgb = upright.into_rgb8();
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    Ok(Decoded { width, height, rgb: rgb.into_raw(), format, animated, transparent })
}

/// How EXIF says that the picture is to be turned. Some WebP files have it under the heading that JPEG needs.
fn orientation(decoder: &mut impl ImageDecoder) -> Result<Orientation, String> {
    let exif = decoder.exif_metadata().map_err(problem)?;
    let found = exif.and_then(|exif| Orientation::from_exif_chunk(exif.strip_prefix(b"Exif\0\0").unwrap_or(&exif)));
    Ok(found.unwrap_or(Orientation::NoTransforms))
}

/// Pixels as RGB, and whether any was see-through.
fn to_rgb(stored: Vec<u8>, color: ColorType, transparency: Transparency) -> Result<(Vec<u8>, bool), String> {
    // 16 bits keep their high byte, as libpng strips them and Pillow reads RGB. Rounding would be nearer the truth and further from the pipelines.
    let stored = match color {
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            stored.as_chunks().0.iter().map(|&sample| (u16::from_ne_bytes(sample) >> 8) as u8).collect()
        }
        _ => stored,
    };
    Ok(match color {
        ColorType::Rgb8 | ColorType::Rgb16 => (stored, false),
        ColorType::L8 | ColorType::L16 => (stored.iter().flat_map(|&l| [l; 3]).collect(), false),
        ColorType::La8 | ColorType::La16 => flatten(stored.as_chunks().0, |&[l, a]| ([l; 3], a), transparency),
        ColorType::Rgba8 | ColorType::Rgba16 => flatten(stored.as_chunks().0, |&[r, g, b, a]| ([r, g, b], a), transparency),
        other => return Err(format!("pixels of the kind {other:?} are not read")),
    })
}

fn flatten<P>(pixels: &[P], part: impl Fn(&P) -> ([u8; 3], u8), transparency: Transparency) -> (Vec<u8>, bool) {
    let transparent = pixels.iter().any(|p| part(p).1 < u8::MAX);
    let rgb = match transparency {
        Transparency::Over(ground) if transparent => pixels.iter().flat_map(|p| over(part(p), ground)).collect(),
        _ => pixels.iter().flat_map(|p| part(p).0).collect(),
    };
    (rgb, transparent)
}

/// `colour · alpha + ground · (1 − alpha)`, rounded.
fn over((colour, alpha): ([u8; 3], u8), ground: [u8; 3]) -> [u8; 3] {
    let alpha = u32::from(alpha);
    std::array::from_fn(|c| ((u32::from(colour[c]) * alpha + u32::from(ground[c]) * (255 - alpha) + 127) / 255) as u8)
}

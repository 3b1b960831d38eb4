//! The picture that an attribution carries: a `data:` address of a PNG or JPEG, from outside, so measured before it is unpacked.

use std::io::Cursor;

use base64::{Engine, engine::general_purpose::STANDARD};
use image::{ImageFormat, ImageReader, Limits, RgbImage};
use pellucid_core::ImageRecord;

/// Most characters of an address, pixels of an edge, pixels in all, and bytes while unpacking.
const MAX_ADDRESS: usize = 64 << 20;
const MAX_EDGE: u32 = 16_384;
const MAX_PIXELS: u64 = 1 << 25;
const MAX_BYTES: u64 = 1 << 29;

/// The picture's pixels. `Err` says what is wrong with the field, with the values.
pub(crate) fn decode(image: &ImageRecord) -> Result<RgbImage, String> {
    let (format, data) = [("data:image/png;base64,", ImageFormat::Png), ("data:image/jpeg;base64,", ImageFormat::Jpeg)]
        .into_iter()
        .find_map(|(begin, format)| Some((format, image.picture.strip_prefix(begin)?)))
        .ok_or("is not a data address of a PNG or JPEG in base64")?;
    if data.len() > MAX_ADDRESS {
        return Err(format!("has {} characters, {MAX_ADDRESS} are the most", data.len()));
    }
    let bytes = STANDARD.decode(data).map_err(|e| format!("is not base64: {e}"))?;
    let size = ImageReader::with_format(Cursor::new(&bytes), format).into_dimensions().map_err(|e| format!("does not decode: {e}"))?;
    fits(size, image)?;
    let mut reader = ImageReader::with_format(Cursor::new(&bytes), format);
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height, limits.max_alloc) = (Some(MAX_EDGE), Some(MAX_EDGE), Some(MAX_BYTES));
    reader.limits(limits);
    Ok(reader.decode().map_err(|e| format!("does not decode: {e}"))?.into_rgb8())
}

/// Not too large, and of the shape that the record says, but for rounding to whole pixels.
fn fits((width, height): (u32, u32), image: &ImageRecord) -> Result<(), String> {
    if width > MAX_EDGE || height > MAX_EDGE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!("has {width} × {height} pixels, {MAX_EDGE} an edge and {MAX_PIXELS} in all are the most"));
    }
    let (across, down) = (u64::from(width) * u64::from(image.height), u64::from(height) * u64::from(image.width));
    if across.abs_diff(down) > u64::from(image.width) + u64::from(image.height) {
        return Err(format!("has {width} × {height} pixels, not the shape of {} × {}", image.width, image.height));
    }
    Ok(())
}

/// The `data:` address of pixels of ours.
pub(crate) fn address(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

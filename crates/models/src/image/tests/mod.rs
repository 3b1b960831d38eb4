//! Pictures and files that the tests make themselves; two small ones that only other programs write are kept as base64.

mod config;
mod containers;
mod damage;
mod data_url;
mod decode;
mod orientation;
mod preprocessing;
mod resize;

use ::image::codecs::{gif::GifEncoder, jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use ::image::{ExtendedColorType, ImageEncoder};
use base64::{Engine, prelude::BASE64_STANDARD};

use super::Picture;

/// Grey levels that jump from pixel to pixel, so that every weight of a filter shows:
/// `(37·x + 59·y + 101·c + 13·(x·y mod 7)) mod 256`.
fn synthetic(width: usize, height: usize) -> Picture {
    let level = |x: usize, y: usize, c: usize| ((37 * x + 59 * y + 101 * c + 13 * ((x * y) % 7)) % 256) as u8;
    let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| level(x, y, c)))).collect();
    Picture::from_rgb(width, height, rgb, None).unwrap()
}

/// What an encoder of the library writes.
fn written(write: impl FnOnce(&mut Vec<u8>) -> ::image::ImageResult<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    bytes
}

fn png(pixels: &[u8], width: u32, height: u32, kind: ExtendedColorType) -> Vec<u8> {
    written(|out| PngEncoder::new(out).write_image(pixels, width, height, kind))
}

fn jpeg(p: &Picture) -> Vec<u8> {
    written(|out| JpegEncoder::new_with_quality(out, 95).encode(p.rgb(), p.width() as u32, p.height() as u32, ExtendedColorType::Rgb8))
}

fn webp(p: &Picture) -> Vec<u8> {
    written(|out| WebPEncoder::new_lossless(out).encode(p.rgb(), p.width() as u32, p.height() as u32, ExtendedColorType::Rgb8))
}

fn gif(frames: &[&Picture]) -> Vec<u8> {
    written(|out| {
        let mut encoder = GifEncoder::new(out);
        frames.iter().try_for_each(|p| encoder.encode(p.rgb(), p.width() as u32, p.height() as u32, ExtendedColorType::Rgb8))
    })
}

fn rgb_png(p: &Picture) -> Vec<u8> {
    png(p.rgb(), p.width() as u32, p.height() as u32, ExtendedColorType::Rgb8)
}

/// A PNG by hand: `chunks` stand between header and data, `rows` are filter bytes and samples.
fn raw_png(width: u32, height: u32, bits: u8, color: u8, chunks: &[(&[u8; 4], &[u8])], rows: &[u8]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, color, 0, 0, 0]].concat();
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(png_chunk(b"IHDR", &header));
    chunks.iter().for_each(|(kind, content)| bytes.extend(png_chunk(kind, content)));
    bytes.extend(png_chunk(b"IDAT", &stored(rows)));
    bytes.extend(png_chunk(b"IEND", b""));
    bytes
}

fn png_chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let checked = [&kind[..], content].concat();
    [&(content.len() as u32).to_be_bytes()[..], &checked, &crc32(&checked).to_be_bytes()].concat()
}

/// A zlib stream that stores its bytes.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u16).to_le_bytes();
    let (mut a, mut b) = (1_u32, 0_u32); // Adler-32
    bytes.iter().for_each(|&byte| {
        a = (a + u32::from(byte)) % 65521;
        b = (b + a) % 65521;
    });
    [&[0x78, 0x01, 0x01], &length[..], &length.map(|b| !b), bytes, &((b << 16) | a).to_be_bytes()].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

/// A WebP of two frames, both of which are `p`.
fn animated_webp(p: &Picture) -> Vec<u8> {
    let still = webp(p);
    let three = |n: usize| (n as u32).to_le_bytes()[..3].to_vec();
    let size = [three(p.width() - 1), three(p.height() - 1)].concat();
    let frame = [&[0; 6][..], &size, &three(100), &[0], &still[12..]].concat();
    let chunk = |kind: &[u8; 4], content: &[u8]| [&kind[..], &(content.len() as u32).to_le_bytes(), content].concat();
    let body = [
        b"WEBP".to_vec(),
        chunk(b"VP8X", &[&[0b10, 0, 0, 0], &size[..]].concat()),
        chunk(b"ANIM", &[0; 6]),
        chunk(b"ANMF", &frame),
        chunk(b"ANMF", &frame),
    ];
    chunk(b"RIFF", &body.concat())
}

/// 16x8 pixels of CMYK, the left half `(200, 40, 90, 10)`, the right `(20, 140, 220, 60)`: `Image.save("JPEG", quality=92, optimize=True)` of
/// Pillow 13.0.
fn cmyk_jpeg() -> Vec<u8> {
    base64(
        "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgICAgIDAgICAwMDAwQGBAQEBAQIBgYFBgkICgoJCAkJCgwPDAoLDgsJCQ0RDQ4PEBAREAoMEhMSEBMPEBAQ/8AA\
         FAgACAAQBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAkIB//EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAOBEMATQBZAEsAAD8AjxdDYycHgHoK\
         RPT/2Q==",
    )
}

/// 16x16 pixels `(8·(x + y), 100, 8·(x + y))`: `Image.save("WEBP", quality=50)` of Pillow 13.0.
fn lossy_webp() -> Vec<u8> {
    base64("UklGRkAAAABXRUJQVlA4IDQAAABQAgCdASoQABAAAsBMJbACdGaAAzJiduBGLOAA/uzVLtMTp8Lc/XHi5UauZ+TPmDbAAAAA")
}

/// The same: `Image.save("JPEG", quality=70, progressive=True)`.
fn progressive_jpeg() -> Vec<u8> {
    base64(
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAoHBwgHBgoICAgLCgoLDhgQDg0NDh0VFhEYIx8lJCIfIiEmKzcvJik0KSEiMEExNDk7Pj4+JS5ESUM8SDc9Pjv/\
         2wBDAQoLCw4NDhwQEBw7KCIoOzs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozv/wgARCAAQABADASIAAhEBAxEB/8QA\
         FgABAQEAAAAAAAAAAAAAAAAABAAF/8QAFAEBAAAAAAAAAAAAAAAAAAAAAv/aAAwDAQACEAMQAAABzFyk/wD/xAAVEAEBAAAAAAAAAAAAAAAAAAACAP/aAAgB\
         AQABBQImJiYm/8QAFREBAQAAAAAAAAAAAAAAAAAAAwD/2gAIAQMBAT8BIr//xAAVEQEBAAAAAAAAAAAAAAAAAAADAP/aAAgBAgEBPwEzv//EABQQAQAAAAAA\
         AAAAAAAAAAAAACD/2gAIAQEABj8CH//EABQQAQAAAAAAAAAAAAAAAAAAACD/2gAIAQEAAT8hAB//2gAMAwEAAgADAAAAEJ//xAAUEQEAAAAAAAAAAAAAAAAA\
         AAAA/9oACAEDAQE/EH//xAAUEQEAAAAAAAAAAAAAAAAAAAAA/9oACAECAQE/EH//xAAWEAADAAAAAAAAAAAAAAAAAAAAITH/2gAIAQEAAT8QmiaJomj/2Q==",
    )
}

fn base64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}

/// A pixel.
fn at(p: &Picture, x: usize, y: usize) -> [u8; 3] {
    std::array::from_fn(|c| p.rgb()[(y * p.width() + x) * 3 + c])
}

fn error(bytes: &[u8]) -> String {
    Picture::decode(bytes, Some("cat.png")).unwrap_err().to_string()
}

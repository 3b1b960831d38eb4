//! Every kind of file, against what Pillow makes of it (`Image.open(file).convert("RGB")`, version 13.0).

use ::image::ExtendedColorType::{La8, La16, Rgba8, Rgba16};

use super::*;
use crate::image::{Format, Transparency};

fn decode(bytes: &[u8]) -> Picture {
    Picture::decode(bytes, None).unwrap()
}

#[test]
fn lossless_files_give_their_pixels_back() {
    let p = synthetic(23, 17);
    for (bytes, format) in [(rgb_png(&p), Format::Png), (webp(&p), Format::WebP)] {
        let read = decode(&bytes);
        assert_eq!((read.rgb(), read.width(), read.height()), (p.rgb(), 23, 17));
        assert_eq!((read.format, read.animated, read.transparent), (Some(format), false, false));
    }
}

#[test]
fn a_gif_gives_its_palettes_colours_back() {
    let p = Picture::from_rgb(3, 1, vec![9, 8, 7, 0, 0, 255, 40, 50, 60], None).unwrap();
    let read = decode(&gif(&[&p]));
    assert_eq!((read.rgb(), read.format, read.animated), (p.rgb(), Some(Format::Gif), false));
}

#[test]
fn one_pixel_is_a_picture() {
    let p = Picture::from_rgb(1, 1, vec![200, 100, 50], None).unwrap();
    for bytes in [rgb_png(&p), webp(&p), gif(&[&p])] {
        assert_eq!(decode(&bytes).rgb(), p.rgb());
    }
    let close = decode(&jpeg(&p));
    assert!(close.rgb().iter().zip(p.rgb()).all(|(a, b)| a.abs_diff(*b) <= 3), "{:?}", close.rgb());
}

#[test]
fn grey_levels_of_1_2_4_and_8_bits_are_spread_over_0_to_255() {
    for (bits, rows, expected) in
        [(1, [0, 0b1010_0000], [255, 0, 255]), (2, [0, 0b0001_1000], [0, 85, 170]), (8, [0, 7], [7; 3])].map(|(b, r, e)| (b, r, e.to_vec()))
    {
        let width = if bits == 8 { 1 } else { 3 };
        let read = decode(&raw_png(width, 1, bits, 0, &[], &rows));
        let grey: Vec<u8> = read.rgb().chunks(3).map(|p| p[0]).collect();
        assert_eq!(grey, expected[..width as usize], "{bits} bits");
        assert!(read.rgb().chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]));
    }
    assert_eq!(decode(&raw_png(2, 1, 4, 0, &[], &[0, 0x3C])).rgb(), [51, 51, 51, 204, 204, 204]);
}

/// Pillow reads 16-bit RGB and grey with alpha so. 16-bit grey it clips at 255: `[0, 128, 255, 255, 255]` here, all but white.
#[test]
fn sixteen_bits_keep_their_high_byte() {
    let samples = |s: &[u16]| [&[0][..], &s.iter().flat_map(|s| s.to_be_bytes()).collect::<Vec<u8>>()].concat();
    let grey = decode(&raw_png(5, 1, 16, 0, &[], &samples(&[0, 128, 255, 25_800, 65_535])));
    assert_eq!(grey.rgb().iter().step_by(3).copied().collect::<Vec<u8>>(), [0, 0, 0, 100, 255]);
    let rgb = decode(&raw_png(2, 1, 16, 2, &[], &samples(&[0, 128, 255, 25_800, 65_535, 511])));
    assert_eq!(rgb.rgb(), [0, 0, 0, 100, 255, 1]);
    let ne = |s: &[u16]| s.iter().flat_map(|s| s.to_ne_bytes()).collect::<Vec<u8>>();
    assert_eq!(decode(&png(&ne(&[25_800, 128, 65_535, 0]), 2, 1, La16)).rgb(), [100, 100, 100, 255, 255, 255]);
    assert_eq!(decode(&png(&ne(&[25_800, 128, 65_535, 0]), 1, 1, Rgba16)).rgb(), [100, 0, 255]);
}

#[test]
fn a_palette_gives_its_colours_with_and_without_transparency() {
    let palette = (b"PLTE", &[10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120][..]);
    let rows = [0, 0b0001_1011];
    let opaque = decode(&raw_png(4, 1, 2, 3, &[palette], &rows));
    assert_eq!((opaque.rgb(), opaque.transparent), (palette.1, false));
    let transparent = decode(&raw_png(4, 1, 2, 3, &[palette, (b"tRNS", &[0, 128])], &rows));
    assert_eq!((transparent.rgb(), transparent.transparent), (palette.1, true));
}

#[test]
fn one_colour_may_stand_for_nothing() {
    let rgb = raw_png(2, 1, 8, 2, &[(b"tRNS", &[0, 1, 0, 2, 0, 3])], &[0, 1, 2, 3, 4, 5, 6]);
    let over = Picture::decode_with(&rgb, None, Transparency::Over([9, 9, 9])).unwrap();
    assert_eq!((decode(&rgb).rgb(), over.rgb()), (&[1, 2, 3, 4, 5, 6][..], &[9, 9, 9, 4, 5, 6][..]));
}

#[test]
fn transparency_is_dropped_or_laid_on_a_colour() {
    let rgba = png(&[200, 100, 50, 128, 10, 20, 30, 0, 40, 50, 60, 255], 3, 1, Rgba8);
    let dropped = decode(&rgba);
    assert_eq!((dropped.rgb(), dropped.transparent), (&[200, 100, 50, 10, 20, 30, 40, 50, 60][..], true));
    let over = Picture::decode_with(&rgba, None, Transparency::Over([255, 128, 0])).unwrap();
    // 200·128/255 + 255·127/255 = 227.39, 100·128/255 + 128·127/255 = 113.95, 50·128/255 = 25.10
    assert_eq!((over.rgb(), over.transparent), (&[227, 114, 25, 255, 128, 0, 40, 50, 60][..], true));
    let grey = png(&[70, 255, 80, 255], 2, 1, La8);
    assert!(!decode(&grey).transparent, "an alpha channel that hides nothing is no transparency");
}

#[test]
fn animations_give_their_first_frame_and_say_so() {
    let (first, second) = (Picture::from_rgb(2, 1, vec![255, 0, 0, 0, 0, 255], None).unwrap(), synthetic(2, 1));
    let apng = [
        (b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0][..]),
        (b"fcTL", &[0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0]),
    ];
    let apng = raw_png(2, 1, 8, 2, &apng, &[0, 255, 0, 0, 0, 0, 255]);
    for bytes in [gif(&[&first, &second]), animated_webp(&first), apng] {
        let read = decode(&bytes);
        assert_eq!((read.rgb(), read.animated), (first.rgb(), true), "{:?}", read.format);
    }
}

/// Decoders' arithmetic leaves room: three grey levels.
#[test]
fn what_other_programs_wrote_comes_out_as_pillow_reads_it() {
    let near = |p: &Picture, x, y, expected: [u8; 3]| {
        let found = at(p, x, y);
        assert!(found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 3), "{found:?} at ({x}, {y}), not {expected:?}");
    };
    let cmyk = decode(&cmyk_jpeg());
    near(&cmyk, 3, 4, [53, 207, 159]);
    near(&cmyk, 12, 4, [180, 88, 27]);
    let lossy = decode(&lossy_webp());
    for (x, y, expected) in [(3, 2, [45, 105, 44]), (8, 8, [128, 101, 126]), (12, 13, [193, 97, 200])] {
        near(&lossy, x, y, expected);
    }
    let progressive = decode(&progressive_jpeg());
    for (x, y, expected) in [(3, 2, [40, 102, 37]), (8, 8, [128, 97, 128]), (12, 13, [202, 97, 202])] {
        near(&progressive, x, y, expected);
    }
}

#[test]
fn a_file_is_known_by_its_content_and_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    // One black pixel; the hash is sha256sum's.
    let bytes = raw_png(1, 1, 8, 0, &[], &[0, 0]);
    std::fs::write(&path, &bytes).unwrap();
    let p = Picture::open(&path).unwrap();
    assert_eq!((p.format, p.name.as_deref(), p.rgb()), (Some(Format::Png), Some("photo.jpg"), &[0, 0, 0][..]));
    assert_eq!(p.sha256, "686593006ba0db476865efa25ff90ccde940772284aa95d79ebef425e65394c7");
}

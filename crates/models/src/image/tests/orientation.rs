//! EXIF orientation: where the pixel at `(x, y)` of the upright picture is stored, by the definition of the tag (TIFF 6.0, page 36).

use super::*;

/// A picture of 3x2 blocks of 8x8 pixels of one colour each, so that JPEG keeps them apart.
const BLOCKS: [[[u8; 3]; 3]; 2] = [[[250, 0, 0], [0, 250, 0], [0, 0, 250]], [[0, 0, 0], [120, 120, 120], [250, 250, 250]]];

fn blocks() -> Picture {
    let rgb = (0..16).flat_map(|y| (0..24).flat_map(move |x| BLOCKS[y / 8][x / 8])).collect();
    Picture::from_rgb(24, 16, rgb, None).unwrap()
}

/// A TIFF structure with the tag alone.
fn exif(orientation: u8) -> Vec<u8> {
    [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[orientation, 0, 0, 0, 0, 0, 0]].concat()
}

fn stored(orientation: u8, x: usize, y: usize) -> [u8; 3] {
    let (x, y) = match orientation {
        2 => (2 - x, y),
        3 => (2 - x, 1 - y),
        4 => (x, 1 - y),
        5 => (y, x),
        6 => (y, 1 - x),
        7 => (2 - y, 1 - x),
        8 => (2 - y, x),
        _ => (x, y),
    };
    BLOCKS[y][x]
}

fn encoded(mut encoder: impl ImageEncoder, exif: Vec<u8>) -> ::image::ImageResult<()> {
    encoder.set_exif_metadata(exif).unwrap();
    encoder.write_image(blocks().rgb(), 24, 16, ExtendedColorType::Rgb8)
}

#[test]
fn pictures_are_turned_the_right_way_up() {
    for orientation in 0..=9 {
        let exif = exif(orientation);
        let headed = [&b"Exif\0\0"[..], &exif].concat(); // as some programs write it into WebP
        let files = [
            written(|out| encoded(PngEncoder::new(out), exif.clone())),
            written(|out| encoded(JpegEncoder::new_with_quality(out, 100), exif.clone())),
            written(|out| encoded(WebPEncoder::new_lossless(out), exif.clone())),
            written(|out| encoded(WebPEncoder::new_lossless(out), headed.clone())),
        ];
        for file in files {
            let p = Picture::decode(&file, None).unwrap();
            let (columns, rows) = if (5..=8).contains(&orientation) { (2, 3) } else { (3, 2) };
            assert_eq!((p.width(), p.height()), (columns * 8, rows * 8), "{:?} {orientation}", p.format);
            for (x, y) in (0..columns).flat_map(|x| (0..rows).map(move |y| (x, y))) {
                let (found, expected) = (at(&p, x * 8 + 4, y * 8 + 4), stored(orientation, x, y));
                let near = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 4);
                assert!(near, "{:?} {orientation}: {found:?} at ({x}, {y}), not {expected:?}", p.format);
            }
        }
    }
}

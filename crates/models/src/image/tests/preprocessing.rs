//! Against transformers' and timm's own, on the synthetic picture of 23x17 pixels.

use pellucid_core::Region;

use super::*;
use crate::image::{Centre, Crop, Filter, Normalisation, Prepared, Preprocessing, Resize, Size};

/// Rows 3 of the three channels.
fn fourth_rows(p: &Prepared) -> Vec<f32> {
    p.pixels.chunks(p.width * p.height).flat_map(|plane| plane[3 * p.width..4 * p.width].to_vec()).collect()
}

fn assert_near(p: &Prepared, expected: &[f32]) {
    assert_eq!((p.width, p.height, p.pixels.len()), (8, 8, 192));
    let found = fourth_rows(p);
    // Stored to seven digits.
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-6) && expected.len() == 24, "{found:?}");
}

/// `CLIPImageProcessorPil(size=8, crop_size=8)` of transformers 5.23: `pixel_values[0, :, 3]`.
#[test]
fn clips_numbers_are_transformers() {
    assert_near(
        &Preprocessing::clip(8).apply(&synthetic(23, 17)).unwrap(),
        &[
            -0.4784041,
            -0.5805931,
            0.4996905,
            -0.3616167,
            -0.5659947,
            0.4996905,
            -0.2448293,
            -0.5367978,
            -0.02620377,
            0.4390371,
            -0.4314135,
            -0.011196,
            0.5140759,
            -0.3413669,
            0.003811762,
            0.5440915,
            1.036732,
            0.382609,
            0.3683889,
            1.050952,
            -0.001332895,
            0.4252692,
            0.7096705,
            -0.3710546,
        ],
    );
}

/// `ViTImageProcessorPil(size=8)`.
#[test]
fn vits_numbers_are_transformers() {
    assert_near(
        &Preprocessing::vit(8).apply(&synthetic(23, 17)).unwrap(),
        &[
            0.1607844,
            -0.317647,
            -0.003921568,
            -0.09019607,
            -0.2078431,
            0.1294118,
            -0.2941176,
            0.05882359,
            -0.317647,
            -0.01176471,
            -0.09019607,
            -0.145098,
            0.07450986,
            -0.2078431,
            0.05882359,
            -0.09803921,
            0.1058824,
            0.2784314,
            -0.02745098,
            0.254902,
            -0.0745098,
            0.1294118,
            -0.1294118,
            -0.05098039,
        ],
    );
}

/// `BitImageProcessorPil(size=10, crop_size=8, image_mean=[.485, .456, .406], image_std=[.229, .224, .225])`.
#[test]
fn dinov2s_numbers_are_transformers() {
    let small = Preprocessing {
        resize: Some(Resize { to: Size::ShortestEdge(10), filter: Filter::Bicubic }),
        crop: crop(8, 8),
        ..Preprocessing::dinov2()
    };
    assert_near(
        &small.apply(&synthetic(23, 17)).unwrap(),
        &[
            -0.9362959,
            -0.2684306,
            0.6905558,
            0.005565486,
            -0.8506721,
            -0.1828068,
            0.7761795,
            -0.02868402,
            0.1701681,
            0.6778712,
            -1.020308,
            0.01260505,
            0.2401962,
            0.6953782,
            -0.9852941,
            0.1176471,
            1.263094,
            -0.1835293,
            0.5833553,
            0.9319392,
            1.071373,
            -0.4623964,
            0.7227889,
            0.9667976,
        ],
    );
}

/// `CLIPImageProcessorPil(size=5, crop_size=8)`: 5x6 pixels on black of 8x8.
#[test]
fn a_crop_larger_than_the_picture_lays_it_on_black() {
    let padded = Preprocessing { crop: crop(8, 8), ..Preprocessing::clip(5) };
    let p = padded.apply(&synthetic(23, 17)).unwrap();
    assert_near(
        &p,
        &[
            -1.792263,
            0.1493283,
            -0.1572388,
            -0.0550498,
            -0.01125452,
            -0.09884507,
            0.09093457,
            -1.792263,
            -1.752097,
            0.1688973,
            0.2889594,
            -0.1762814,
            0.1388817,
            -0.1462659,
            0.1989128,
            -1.752097,
            -1.48022,
            0.2119681,
            0.6670103,
            0.2404082,
            0.5105895,
            0.2546283,
            0.5674698,
            -1.48022,
        ],
    );
    // Two rows above and one below, one column on either side: what was seen reaches outside by as much.
    assert_region(p.seen, -1.0 / 6.0, -2.0 / 5.0, 8.0 / 6.0, 8.0 / 5.0);
    assert_region(p.patch([2, 2], 0, 0), 0.0, 0.0, 0.5, 0.4);
    assert_region(p.patch([2, 2], 1, 1), 0.5, 0.4, 0.5, 0.6);
    assert_eq!(p.patch([8, 8], 0, 3).height, 0.0, "nothing but padding");
}

fn crop(height: usize, width: usize) -> Option<Crop> {
    Some(Crop { height, width, centre: Centre::Down })
}

fn assert_region(found: Region, left: f64, top: f64, width: f64, height: f64) {
    let near = [(found.left, left), (found.top, top), (found.width, width), (found.height, height)];
    assert!(near.iter().all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}, not {left} {top} {width} {height}");
}

#[test]
fn the_seen_part_is_a_fraction_of_the_original() {
    let wide = synthetic(640, 480);
    let seen = |p: &Preprocessing| p.apply(&wide).unwrap().seen;
    assert_eq!(seen(&Preprocessing::vit(224)), Region::WHOLE);
    // 480 to 224, 640 to 298; 37 of the 74 columns left over are to the left.
    assert_region(seen(&Preprocessing::clip(224)), 37.0 / 298.0, 0.0, 224.0 / 298.0, 1.0);
    // 480 to 256, 640 to 341; 58 of 117 columns, 16 of 32 rows.
    assert_region(seen(&Preprocessing::dinov2()), 58.0 / 341.0, 16.0 / 256.0, 224.0 / 341.0, 224.0 / 256.0);
}

#[test]
fn a_patch_lies_where_its_pixels_come_from() {
    // One white block of 20x20 at (110, 60) of 200x100; CLIP sees the middle 100x100 as 50x50 pixels.
    let white = |x: usize, y: usize| (110..130).contains(&x) && (60..80).contains(&y);
    let rgb = (0..100).flat_map(|y| (0..200).flat_map(move |x| [if white(x, y) { 255 } else { 0 }; 3])).collect();
    let plain = Preprocessing { rescale: None, normalise: None, ..Preprocessing::clip(50) };
    let p = plain.apply(&Picture::from_rgb(200, 100, rgb, None).unwrap()).unwrap();
    let brightest = |cell: usize| {
        (0..10).flat_map(|y| (0..10).map(move |x| (y, x))).map(|(y, x)| p.pixels[(cell / 5 * 10 + y) * 50 + cell % 5 * 10 + x]).sum::<f32>()
    };
    let lit: Vec<usize> = (0..25).filter(|&cell| brightest(cell) > 0.9 * 255.0 * 100.0).collect();
    assert_eq!(lit, [3 * 5 + 3]);
    assert_region(p.patch([5, 5], 3, 3), 110.0 / 200.0, 0.6, 0.1, 0.2);
}

#[test]
fn halves_go_where_each_library_lets_them() {
    // `center_crop` of transformers begins at ⌊rest/2⌋, `CenterCrop` of torchvision at `round(rest/2)`, halves to even.
    let start = |centre, width| {
        let p = Preprocessing { crop: Some(Crop { height: 1, width: 4, centre }), ..Default::default() };
        let ramp = Picture::from_rgb(width, 1, (0..width).flat_map(|x| [x as u8 + 1; 3]).collect(), None).unwrap();
        p.apply(&ramp).unwrap().pixels[..4].to_vec()
    };
    for (width, down, even) in [
        (5, [1., 2., 3., 4.], [1., 2., 3., 4.]),
        (7, [2., 3., 4., 5.], [3., 4., 5., 6.]),
        (9, [3., 4., 5., 6.], [3., 4., 5., 6.]),
        (3, [0., 1., 2., 3.], [1., 2., 3., 0.]),
        (1, [0., 0., 1., 0.], [0., 1., 0., 0.]),
    ] {
        assert_eq!((start(Centre::Down, width), start(Centre::Even, width)), (down.to_vec(), even.to_vec()), "{width}");
    }
}

#[test]
fn nothing_to_do_leaves_grey_levels() {
    let p = Preprocessing::default().apply(&synthetic(3, 2)).unwrap();
    let first_green = synthetic(3, 2).rgb()[1];
    assert_eq!((p.height, p.width, p.pixels[6]), (2, 3, f32::from(first_green)));
}

#[test]
fn one_pixel_and_thin_pictures_are_prepared() {
    let one = Picture::from_rgb(1, 1, vec![255, 0, 51], None).unwrap();
    let p = Preprocessing { normalise: None, ..Preprocessing::clip(224) }.apply(&one).unwrap();
    assert_eq!((p.pixels.len(), p.pixels[0], p.pixels[224 * 224], p.seen), (3 * 224 * 224, 1.0, 0.0, Region::WHOLE));
    assert!((p.pixels[2 * 224 * 224] - 0.2).abs() < 1e-6);
    // 224 x 2,240,000 pixels, of which 224 x 224 are made.
    let thin = Picture::from_rgb(10_000, 1, vec![77; 30_000], None).unwrap();
    assert_eq!(Preprocessing::clip(224).apply(&thin).unwrap().pixels.len(), 3 * 224 * 224);
}

#[test]
fn the_size_of_the_input_is_known_beforehand_where_it_is_fixed() {
    assert_eq!(Preprocessing::dinov2().input_size(), Some((224, 224)));
    assert_eq!(Preprocessing::vit(384).input_size(), Some((384, 384)));
    assert_eq!(Preprocessing { crop: None, ..Preprocessing::clip(224) }.input_size(), None);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let std = |std| Preprocessing { normalise: Some(Normalisation { mean: [0.0; 3], std }), ..Default::default() };
    for (wrong, says) in [
        (Preprocessing::vit(0), "a height to resize to of 0 pixels; it is 1 to 4096"),
        (Preprocessing::clip(5000), "a shortest edge to resize to of 5000 pixels; it is 1 to 4096"),
        (Preprocessing { crop: crop(8, 9000), ..Preprocessing::vit(8) }, "a width to crop to of 9000 pixels; it is 1 to 4096"),
        (Preprocessing { rescale: Some(f64::NAN), ..Default::default() }, "a rescale factor of NaN; it is above 0"),
        (std([1.0, 0.0, 1.0]), "a mean of [0.0, 0.0, 0.0] and a deviation of [1.0, 0.0, 1.0]; they are finite, deviations not 0"),
        (std([1.0, 1e-60, 1.0]), "a mean of [0.0, 0.0, 0.0] and a deviation of [1.0, 1e-60, 1.0]; they are finite, deviations not 0"),
    ] {
        assert_eq!(wrong.apply(&synthetic(3, 2)).unwrap_err().to_string(), says);
    }
}

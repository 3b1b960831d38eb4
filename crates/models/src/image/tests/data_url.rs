//! Pictures that attributions carry.

use pellucid_core::Region;

use super::*;
use crate::image::Format;

fn back(url: &str) -> Picture {
    let (kind, data) = url.strip_prefix("data:image/").unwrap().split_once(";base64,").unwrap();
    let p = Picture::decode(&base64(data), None).unwrap();
    assert_eq!(kind, if p.format == Some(Format::Png) { "png" } else { "jpeg" });
    p
}

/// A soft scene of many colours.
fn soft(width: usize, height: usize) -> Picture {
    let colour = |x: usize, y: usize| [(x * 255 / width) as u8, (y * 255 / height) as u8, ((x + y) * 255 / (width + height)) as u8];
    let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| colour(x, y))).collect();
    Picture::from_rgb(width, height, rgb, None).unwrap()
}

#[test]
fn few_colours_are_kept_as_they_are() {
    let rgb = (0..200 * 100).flat_map(|i| [[255, 0, 0], [0, 0, 255]][i / 7 % 2]).collect();
    let p = Picture::from_rgb(200, 100, rgb, None).unwrap();
    let same = back(&p.to_data_url(200).unwrap());
    assert_eq!((same.rgb(), same.format), (p.rgb(), Some(Format::Png)));
    assert_eq!(back(&synthetic(23, 17).to_data_url(100).unwrap()).rgb(), synthetic(23, 17).rgb(), "few pixels");
}

#[test]
fn many_colours_become_a_jpeg_that_looks_the_same() {
    let p = soft(120, 90);
    let same = back(&p.to_data_url(500).unwrap());
    assert_eq!((same.width(), same.height(), same.format), (120, 90, Some(Format::Jpeg)));
    let worst = same.rgb().iter().zip(p.rgb()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst <= Some(12), "{worst:?}");
}

#[test]
fn large_pictures_become_smaller_in_the_same_shape() {
    let small = back(&soft(400, 300).to_data_url(101).unwrap());
    assert_eq!((small.width(), small.height()), (101, 76)); // 75.75
    let middle = at(&small, 50, 38);
    assert!(middle.iter().all(|c| c.abs_diff(127) <= 6), "{middle:?}");
    let thin = back(&soft(1, 900).to_data_url(30).unwrap());
    assert_eq!((thin.width(), thin.height()), (1, 30));
    assert!(soft(5, 5).to_data_url(0).is_err());
}

#[test]
fn a_record_says_what_the_file_was() {
    let p = Picture::decode(&rgb_png(&soft(40, 30)), Some("sky.png")).unwrap();
    let record = p.record(Region::WHOLE, [2, 3], 20).unwrap();
    assert_eq!((record.name.as_deref(), record.width, record.height, record.grid), (Some("sky.png"), 40, 30, [2, 3]));
    assert_eq!((record.sha256, record.seen), (p.sha256, Region::WHOLE));
    assert_eq!(back(&record.picture).width(), 20);
}

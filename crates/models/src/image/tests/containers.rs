//! What is read from a file's blocks without decoding it.

use super::*;
use crate::image::container::{gif_is_animated, jpeg_is_whole, webp_disagreement, webp_is_whole};

#[test]
fn a_jpeg_is_whole_with_its_end_marker_and_whatever_follows() {
    let whole = jpeg(&synthetic(23, 17));
    assert!(jpeg_is_whole(&whole));
    assert!(jpeg_is_whole(&[&whole[..], b"rubbish"].concat()));
    assert!((0..whole.len()).all(|n| !jpeg_is_whole(&whole[..n])));
}

#[test]
fn an_end_marker_within_a_segment_is_not_the_end() {
    // A comment that holds one, as a thumbnail in EXIF does.
    assert!(!jpeg_is_whole(b"\xFF\xD8\xFF\xFE\x00\x06ab\xFF\xD9"));
    assert!(jpeg_is_whole(b"\xFF\xD8\xFF\xFE\x00\x06ab\xFF\xD9\xFF\xFF\xD9"));
}

#[test]
fn a_gif_is_animated_from_its_second_frame_on() {
    let p = synthetic(5, 4);
    let two = gif(&[&p, &p]);
    assert!(!gif_is_animated(&gif(&[&p])));
    assert!(gif_is_animated(&two));
    assert!(!gif_is_animated(&two[..two.len() / 3]));
}

#[test]
fn a_webp_whose_data_are_of_another_size_is_found_out() {
    let lossy = lossy_webp();
    let wrapped = |width: u8| {
        // Longer by a chunk of 18 bytes than the file's own size of 64.
        let header = [b"VP8X\x0A\0\0\0\0\0\0\0".as_slice(), &[width - 1, 0, 0, 15, 0, 0]].concat();
        [b"RIFF\x52\0\0\0WEBP", &header[..], &lossy[12..]].concat()
    };
    assert_eq!(webp_disagreement(&lossy), None);
    assert_eq!(webp_disagreement(&wrapped(16)), None);
    assert_eq!(webp_disagreement(&wrapped(9)).unwrap(), "a frame of 9x16 holds data of 16x16");
    assert!(error(&wrapped(9)).ends_with("damaged: a frame of 9x16 holds data of 16x16"));
    assert_eq!(webp_disagreement(&animated_webp(&synthetic(5, 4))), None);
}

#[test]
fn a_webp_is_whole_at_the_length_that_it_says() {
    let file = lossy_webp();
    assert!(webp_is_whole(&file) && webp_is_whole(&[&file[..], b"rubbish"].concat()));
    assert!((0..file.len()).all(|n| !webp_is_whole(&file[..n])));
}

//! What is not a picture, or not all of one.

use proptest::prelude::*;

use super::*;

fn files() -> Vec<Vec<u8>> {
    let p = synthetic(23, 17);
    let palette = raw_png(4, 1, 2, 3, &[(b"PLTE", &[10, 20, 30, 40, 50, 60]), (b"tRNS", &[0])], &[0, 0b0001_1011]);
    let grey16 = raw_png(2, 1, 16, 0, &[], &[0, 1, 2, 3, 4]);
    vec![rgb_png(&p), jpeg(&p), webp(&p), gif(&[&p, &p]), animated_webp(&p), cmyk_jpeg(), lossy_webp(), progressive_jpeg(), palette, grey16]
}

#[test]
fn a_file_that_is_cut_off_is_never_another_picture() {
    for file in files() {
        let whole = Picture::decode(&file, None).unwrap();
        for length in 0..file.len() {
            // What is missing may be nothing of the picture: a checksum, an end mark, a second frame.
            if let Ok(part) = Picture::decode(&file[..length], None) {
                assert!(part.rgb() == whole.rgb(), "{:?} cut off at {length} of {}", whole.format, file.len());
            }
        }
        assert!(Picture::decode(&file[..file.len() / 2], None).is_err() || whole.animated, "{:?}", whole.format);
    }
}

#[test]
fn what_is_cut_off_is_called_so() {
    let p = synthetic(23, 17);
    for file in [rgb_png(&p), jpeg(&p), webp(&p), gif(&[&p])] {
        let message = error(&file[..file.len() / 2]);
        assert!(message.starts_with("cat.png: cut off"), "{message}");
    }
}

#[test]
fn what_is_no_image_is_refused_by_name() {
    for (bytes, says) in [
        (&b""[..], "cat.png: the file is empty; an image is PNG, JPEG, WebP or GIF"),
        (b"<html><body>", "cat.png: not an image: it begins with `<html><body>`; an image is PNG, JPEG, WebP or GIF"),
        (b"BM\x1a\0\0\0\0\0\0\0", "cat.png: an image in the format Bmp, which is not read; save it as PNG, JPEG, WebP or GIF"),
    ] {
        assert_eq!(error(bytes), says);
    }
}

#[test]
fn folders_and_missing_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path| Picture::open(path).unwrap_err().to_string();
    assert!(message(folder.path().to_owned()).ends_with("a folder; an image is one file, PNG, JPEG, WebP or GIF"));
    assert!(message(folder.path().join("cat.png")).starts_with("cannot read "));
}

/// Each of these is a few bytes long and says that it is enormous.
#[test]
fn a_header_that_promises_too_much_is_refused_before_memory_is_taken() {
    let png = raw_png(50_000, 50_000, 8, 2, &[], &[0, 1, 2, 3]);
    let mut jpeg = jpeg(&synthetic(8, 8));
    let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xC3, 0x50, 0xC3, 0x50]);
    let mut gif = gif(&[&synthetic(8, 8)]);
    gif[6..10].copy_from_slice(&[0x50, 0xC3, 0x50, 0xC3]);
    for file in [png, jpeg, gif] {
        assert_eq!(error(&file), "cat.png: an image of 50000x50000 has more than 100 million pixels; make it smaller");
    }
    let mut webp = webp(&synthetic(8, 8));
    webp[21..25].copy_from_slice(&((15_999 << 14) | 15_999_u32).to_le_bytes());
    assert_eq!(error(&webp), "cat.png: an image of 16000x16000 has more than 100 million pixels; make it smaller");
    webp[21..25].copy_from_slice(&((9_999 << 14) | 9_999_u32).to_le_bytes());
    let says = "cat.png: decoding 10000x10000 pixels of 24 bits takes 1525 MiB, and 1280 are allowed; make the image smaller";
    assert_eq!(error(&webp), says);
}

#[test]
fn a_picture_without_pixels_is_refused() {
    let mut gif = gif(&[&synthetic(8, 5)]);
    gif[6] = 0;
    assert_eq!(error(&gif), "cat.png: an image of 0x5 has no pixels");
    assert!(Picture::from_rgb(0, 3, vec![], None).is_err());
    let wrong = Picture::from_rgb(2, 2, vec![0; 11], None).unwrap_err().to_string();
    assert_eq!(wrong, "an image of 2x2 is 12 bytes of RGB, not 11");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    /// Damage ends in a picture of the size that it says or in an error, never in a panic.
    #[test]
    fn damaged_files_do_no_harm(which in 0..10_usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), cuts in any::<bool>()) {
        let mut file = files().swap_remove(which);
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        if cuts {
            file.truncate(cut.index(file.len()));
        }
        if let Ok(p) = Picture::decode(&file, None) {
            prop_assert_eq!(p.rgb().len(), p.width() * p.height() * 3);
        }
    }

    #[test]
    fn bytes_by_chance_do_no_harm(kind in 0..4_usize, tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let head: &[u8] = [&b"\x89PNG\r\n\x1a\n"[..], b"\xFF\xD8\xFF", b"RIFF\0\0\0\0WEBPVP8X", b"GIF89a"][kind];
        let _ = Picture::decode(&[head, &tail].concat(), None);
    }
}

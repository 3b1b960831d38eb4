//! SVG is well-formed, PNG has pixels, both have limits.

use pellucid_render::{Options, Theme, form};

use crate::{draw, fixtures};

#[test]
fn pictures_are_well_formed_and_as_wide_as_asked() {
    for (name, a) in fixtures::all() {
        let picture = draw("svg", &a, &Options { width: 60, ..Default::default() });
        let tree = resvg::usvg::Tree::from_str(&picture, &Default::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(tree.size().width(), 60.0 * 9.0 + 56.0, "{name}");
        for word in picture.split("<text class=\"w").skip(1) {
            let number = |key: &str| word.split(&format!(" {key}=\"")).nth(1).unwrap().split('"').next().unwrap().parse::<f64>().unwrap();
            assert!(number("x") >= 28.0 && number("x") + number("textLength") <= 60.0 * 9.0 + 28.01, "{name}: {word}");
        }
    }
}

#[test]
fn a_png_is_twice_the_picture_and_has_ink_and_colour() {
    for theme in [Theme::Light, Theme::Dark] {
        let options = Options { width: 60, theme, ..Default::default() };
        let bytes = form("png").unwrap().render(&fixtures::scripts(), &options).unwrap();
        let image = image::load_from_memory_with_format(&bytes, image::ImageFormat::Png).unwrap().to_rgb8();
        assert_eq!(image.width(), 2 * (60 * 9 + 56));
        let near = |want: [u8; 3]| image.pixels().filter(|p| p.0.iter().zip(want).all(|(a, b)| a.abs_diff(b) < 8)).count();
        let (ink, strongest) =
            if theme == Theme::Dark { ([0xec, 0xee, 0xf1], [0x1c, 0x60, 0xb4]) } else { ([0x1a, 0x1d, 0x23], [0x62, 0xab, 0xf0]) };
        assert!(near(ink) > 500, "words are drawn");
        assert!(near(strongest) > 500, "the strongest word has its colour");
    }
}

#[test]
fn a_picture_of_absurd_size_is_refused_with_advice() {
    let mut words = vec![("stone ", 1.0); 3000];
    words[0].1 = -1.0;
    let long = fixtures::tokens(&words, &[(" x", 0.5)]);
    for id in ["svg", "png"] {
        let error = form(id).unwrap().render(&long, &Options { width: 20, ..Default::default() }).unwrap_err().to_string();
        assert_eq!(error, "the picture would be more than 20000 pixels high; choose more columns than 20, or html, which has no limit");
        let error = form(id).unwrap().render(&long, &Options { width: 5000, ..Default::default() }).unwrap_err().to_string();
        assert_eq!(error, "a picture 5000 columns wide is too wide, 1000 is the most");
    }
}

#[test]
fn words_of_a_right_to_left_line_run_from_the_right() {
    let a = fixtures::tokens(&[("عاصمة", 1.0), (" فرنسا", 0.5), (" baris", 0.2), (" is", 0.1), (" هي", -1.0)], &[(" x", 0.5)]);
    let words = crate::read_back::svg(&draw("svg", &a, &Options::default()));
    assert_eq!(words, ["هي", "baris", "is", "فرنسا", "عاصمة"]);
}

//! Heat maps of pictures: what people see, what is refused, what the colours say.

use base64::{Engine, engine::general_purpose::STANDARD};
use image::RgbaImage;
use pellucid_core::*;
use pellucid_render::{
    ColourDepth, ColourMap, ComparisonForm, Interpolation, MapScale, Mask, Options, Overlay, SCHEMA, Theme, form, forms, parse,
};
use serde_json::{Value, json};

use crate::{draw, fixtures, read_back};

const TEXT_FORMS: [&str; 4] = ["terminal", "html", "svg", "json"];

/// Base64 left out: what is in it is tested by its pixels.
fn short(page: &str) -> String {
    let mut out = String::new();
    for (i, piece) in page.split(";base64,").enumerate() {
        match i {
            0 => out.push_str(piece),
            _ => {
                let end = piece.find(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c))).unwrap_or(piece.len());
                out += &format!(";base64,…{}", &piece[end..]);
            }
        }
    }
    out
}

/// The pictures that lie in a page, in order, the original among them.
fn embedded(page: &str) -> Vec<RgbaImage> {
    let address = |piece: &str| {
        let end = piece.find(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c))).unwrap_or(piece.len());
        image::load_from_memory(&STANDARD.decode(&piece[..end]).unwrap()).unwrap().into_rgba8()
    };
    page.split(";base64,").skip(1).map(address).collect()
}

fn value(a: &Attribution) -> Value {
    serde_json::from_str(&draw("json", a, &Options::default())).unwrap()
}

#[test]
fn as_people_see_them() {
    for (name, a) in fixtures::pictured() {
        let options = Options { width: 80, ..Options::default() };
        insta::assert_snapshot!(format!("{name}.txt"), draw("terminal", &a, &options));
        insta::assert_snapshot!(format!("{name}.svg"), short(&draw("svg", &a, &options)));
        let page = short(&draw("html", &a, &options));
        let (head, rest) = page.split_once("<style>").unwrap();
        let (body, script) = rest.split_once("</style>").unwrap().1.rsplit_once("<script>").unwrap();
        assert!(script.contains("addEventListener"));
        insta::assert_snapshot!(format!("{name}.html"), head.to_owned() + body);
    }
    for (name, colour) in [("16", ColourDepth::Ansi16), ("256", ColourDepth::Ansi256), ("true", ColourDepth::TrueColour)] {
        let seen = draw("terminal", &fixtures::cropped(), &Options { width: 20, colour, ..Options::default() });
        insta::assert_snapshot!(format!("cropped_{name}.ans"), seen.replace('\u{1b}', "␛"));
    }
}

#[test]
fn what_was_written_is_read_back_and_keeps_to_the_schema() {
    let schema = jsonschema::draft202012::new(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, a) in fixtures::pictured() {
        let errors: Vec<String> = schema.iter_errors(&value(&a)).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        assert_eq!(parse(draw("json", &a, &Options::default()).as_bytes()).unwrap(), a, "{name}");
        let page = folder.path().join("page.html");
        std::fs::write(&page, draw("html", &a, &Options::default())).unwrap();
        assert_eq!(pellucid_render::read(&page).unwrap(), a, "{name}");
    }
}

/// The layer of the map alone in the plain form: for each of the page's switches the same place.
fn layers(a: &Attribution, options: &Options) -> Vec<RgbaImage> {
    // The style sheet has the picture; then over and alone, interpolated and plain; the JSON has the picture again.
    let all = embedded(&draw("html", a, options));
    all[1..all.len() - 1].to_vec()
}

#[test]
fn every_patch_has_the_colour_of_its_score_and_what_was_not_seen_has_none() {
    let plain = &layers(&fixtures::cropped(), &Options::default())[3];
    let (w, h) = plain.dimensions();
    let at = |x: f64, y: f64| plain.get_pixel((x * f64::from(w)) as u32, (y * f64::from(h)) as u32).0;
    let table = ColourMap::RedBlue.table();
    // Scores 0.5, −1, 2, 0.05 on a scale from −2 to 2.
    for (x, y, strength) in [(0.375, 0.25, 0.25), (0.625, 0.25, -0.5), (0.375, 0.75, 1.0_f64), (0.625, 0.75, 0.025)] {
        let [r, g, b] = table[(127.5 + 127.5 * strength).round() as usize];
        assert_eq!(at(x, y), [r, g, b, 255], "{x} {y}");
    }
    let left: Vec<u8> = (0..w / 5).flat_map(|x| (0..h).map(move |y| (x, y))).map(|(x, y)| plain.get_pixel(x, y).0[3]).collect();
    assert!(left.contains(&0) && left.iter().any(|a| *a > 0) && left.iter().all(|a| *a < 255), "hatched, not coloured");
}

#[test]
fn a_png_shows_the_picture_the_map_and_both() {
    for theme in [Theme::Light, Theme::Dark] {
        let options = Options { theme, interpolation: Interpolation::Nearest, ..Options::default() };
        let bytes = form("png").unwrap().render(&fixtures::cropped(), &options).unwrap();
        let image = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(image.width(), 2 * (100 * 9 + 56));
        let near = |want: [u8; 3]| image.pixels().filter(|p| p.0.iter().zip(want).all(|(a, b)| a.abs_diff(b) < 6)).count();
        // The strongest patch is an eighth of the middle third; the overlay mixes it with the picture.
        assert!(near(ColourMap::RedBlue.table()[255]) > 5000, "the strongest patch has its colour");
        assert!(near([0x28, 0x28, 0x80]) > 0, "the picture is there");
    }
}

#[test]
fn options_change_what_they_say() {
    let a = fixtures::cropped();
    let plain = layers(&a, &Options::default());
    let other = |options: Options| layers(&a, &options);
    assert_ne!(other(Options { palette: Some(ColourMap::Jet), ..Options::default() })[3], plain[3]);
    assert_ne!(other(Options { overlay: Overlay::Even, ..Options::default() })[0], plain[0]);
    assert!(other(Options { overlay: Overlay::AsPublished, ..Options::default() })[0].pixels().any(|p| p.0[3] == 255));
    // With half of the scale as threshold only the strongest patch is left; at most half of it the one against.
    let shown = |mask| {
        let layer = other(Options { mask, ..Options::default() })[3].clone();
        layer.pixels().filter(|p| p.0[3] == 255).count() as f64 / (layer.width() * layer.height()) as f64
    };
    assert_eq!(shown(Mask::None), 0.5);
    assert_eq!(shown(Mask::Threshold(0.5)), 0.125);
    assert_eq!(shown(Mask::Threshold(0.4)), 0.25);
    assert_eq!(shown(Mask::Otsu), 0.125);
    let fixed = Options { scale: MapScale::Fixed { low: -8.0, high: 1.0 }, ..Options::default() };
    assert!(draw("svg", &a, &fixed).contains(">-8.000<") && draw("svg", &a, &fixed).contains(">+8.000<"));
}

#[test]
fn options_out_of_range_are_refused() {
    let a = fixtures::cropped();
    for (options, says) in [
        (Options { opacity: 1.5, ..Options::default() }, "opacity 1.5 is outside 0 to 1"),
        (Options { opacity: f64::NAN, ..Options::default() }, "opacity NaN is outside 0 to 1"),
        (Options { mask: Mask::Threshold(-0.1), ..Options::default() }, "threshold -0.1 is outside 0 to 1"),
        (
            Options { scale: MapScale::Fixed { low: 2.0, high: 2.0 }, ..Options::default() },
            "a scale from 2 to 2 is none: its ends must be finite, the lower one less",
        ),
    ] {
        for id in ["terminal", "html", "svg", "png"] {
            assert_eq!(form(id).unwrap().render(&a, &options).unwrap_err().to_string(), says);
        }
    }
}

#[test]
fn a_map_of_zeros_or_of_one_value_has_no_nan_and_says_so() {
    for (scores, sign, says) in [
        (0.0, Sign::Signed, "all scores are zero"),
        (0.0, Sign::Unsigned, "all scores are zero"),
        (0.25, Sign::Unsigned, "all scores are 0.250"),
    ] {
        let mut a = fixtures::cropped();
        a.scores.combined.fill(scores);
        a.method.sign = sign;
        for id in ["terminal", "html", "svg"] {
            let page = short(&draw(id, &a, &Options::default()));
            assert!(page.contains(says) && !page.contains("NaN"), "{id}: {page}");
        }
        draw("terminal", &a, &Options { colour: ColourDepth::TrueColour, ..Options::default() });
        assert!(form("png").unwrap().render(&a, &Options::default()).unwrap().len() > 1000);
    }
}

#[test]
fn without_colour_figures_tell_sign_and_strength() {
    let seen = draw("terminal", &fixtures::cropped(), &Options::default());
    let rows: Vec<Vec<&str>> =
        seen.lines().skip_while(|l| l.trim() != "0  1").skip(1).take(2).map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows, [["0", "+2", "-5"], ["1", "+9", "·"]]);
}

#[test]
fn a_narrow_terminal_puts_neighbours_together() {
    let scores: Vec<f64> = (0..32 * 32).map(f64::from).collect();
    let a = fixtures::patches((32, 32), Region::WHOLE, [32, 32], &scores);
    for colour in [ColourDepth::None, ColourDepth::Ansi16] {
        let seen = read_back::without_colours(&draw("terminal", &a, &Options { width: 40, colour, ..Options::default() }));
        assert!(seen.contains("each figure is the strongest of 3 × 3"));
        assert!(seen.lines().all(|l| l.chars().count() <= 40 || l.contains("█")), "{seen}");
    }
}

#[test]
fn nothing_outside_reaches_a_terminal_or_a_page_raw() {
    for (name, mut a) in fixtures::pictured() {
        a.input.image.as_mut().unwrap().name = Some("\u{1b}]0;x\u{7}</figcaption><script>alert(1)</script>\u{202e}".into());
        a.input.image.as_mut().unwrap().sha256 = "<img src=x>".into();
        for colour in [ColourDepth::None, ColourDepth::Ansi16, ColourDepth::Ansi256, ColourDepth::TrueColour] {
            let page = draw("terminal", &a, &Options { colour, ..Options::default() });
            let plain = read_back::without_colours(&page);
            assert!(plain.chars().all(|c| c == '\n' || !c.is_control()) && !plain.contains('\u{202e}'), "{name}");
            assert!(page.lines().all(|l| l.rsplit_once("\u{1b}[").is_none_or(|(_, rest)| rest.starts_with("0m"))), "{name}");
        }
        let page = short(&draw("html", &a, &Options::default()));
        assert_eq!(page.matches("<script").count(), 2, "{name}: the JSON and our own");
        assert!(!page.contains("alert(1)</") && !page.contains("<img src=x>") && !page.contains('\u{202e}'));
        for outside in ["http:", "https:", "@import", " href=\"h", "url(h", "url(/"] {
            assert!(!page.contains(outside), "{name} reaches for {outside}");
        }
        assert_eq!(page.matches("url(").count(), 1, "the picture itself");
        let picture = draw("svg", &a, &Options::default());
        resvg::usvg::Tree::from_str(&picture, &Default::default()).unwrap();
        assert!(!picture.contains('\u{1b}') && !short(&picture).contains("http://www.w3.org/1999"));
    }
}

#[test]
fn latex_refuses_a_picture_and_says_what_would_do() {
    let error = form("latex").unwrap().render(&fixtures::cropped(), &Options::default()).unwrap_err().to_string();
    assert!(error.contains("png or svg") && error.contains("\\includegraphics"), "{error}");
}

#[test]
fn broken_pictures_and_boxes_are_refused_by_name() {
    let big = |w: u32, h: u32| {
        // A header alone is enough to be measured, and must be before anything is unpacked.
        let mut png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR".to_vec();
        png.extend(w.to_be_bytes().iter().chain(&h.to_be_bytes()));
        png.extend([8, 2, 0, 0, 0]);
        let crc = crc(&png[12..]);
        png.extend(crc.to_be_bytes());
        png.extend(b"\x00\x00\x00\x00IDAT\x35\xaf\x06\x1e");
        format!("data:image/png;base64,{}", STANDARD.encode(png))
    };
    let region = |l: f64, t: f64, w: f64, h: f64| json!({"left": l, "top": t, "width": w, "height": h});
    let broken: &[(&str, Value, &str)] = &[
        ("/input/image/picture", json!("https://example.org/cat.png"), "input.image.picture is not a data address of a PNG or JPEG"),
        ("/input/image/picture", json!("data:image/svg+xml;base64,AAAA"), "is not a data address of a PNG or JPEG"),
        ("/input/image/picture", json!("data:image/png;base64,AA\"A"), "input.image.picture is not base64"),
        ("/input/image/picture", json!("data:image/png;base64,AAAA"), "input.image.picture does not decode"),
        ("/input/image/picture", json!(big(50_000, 50_000)), "has 50000 × 50000 pixels, 16384 an edge"),
        ("/input/image/picture", json!(big(8, 4)), "input.image.picture does not decode"),
        ("/input/image/picture", json!(fixtures::photo(4, 8)), "has 4 × 8 pixels, not the shape of 8 × 4"),
        ("/input/image/width", json!(0), "input.image is 0 × 4 pixels"),
        ("/input/image/grid", json!([0, 2]), "input.image.grid is [0, 2]"),
        ("/input/image/grid", json!([2, 70_000]), "input.image.grid is [2, 70000]"),
        ("/input/image/seen", region(0.5, 0.0, 0.6, 1.0), "input.image.seen is left 0.5, top 0, width 0.6"),
        ("/input/image/controls/0/factor", json!(-0.5), "input.image.controls[0].factor is -0.5"),
        ("/input/image/controls/0/region", region(0.0, 0.0, 2.0, 1.0), "input.image.controls[0].region is left 0"),
        ("/features/1/region", region(-0.1, 0.0, 0.5, 1.0), "features[1].region is left -0.1"),
        ("/features/1/region", region(0.1, 0.0, 0.0, 1.0), "features[1].region is left 0.1, top 0, width 0"),
        ("/input/image", json!(null), "features[0].region is there, but input.image is not"),
        ("/pixels", json!({"width": 2, "height": 2, "values": [1.0]}), "pixels.values has 1 entries for 2 × 2 pixels"),
        ("/pixels", json!({"width": 0, "height": 2, "values": []}), "pixels.values has 0 entries"),
        ("/pixels", json!({"width": usize::MAX, "height": 2, "values": [1.0]}), "pixels.values has 1 entries"),
    ];
    for (path, wrong, says) in broken {
        let mut file = value(&fixtures::cropped());
        match file.pointer_mut(path) {
            Some(place) => *place = wrong.clone(),
            None => file[&path[1..]] = wrong.clone(),
        }
        let error = parse(file.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{path}: {error}");
    }
    let mut a = fixtures::single_pixels();
    a.pixels.as_mut().unwrap().values[2] = f32::INFINITY;
    for form in forms() {
        let error = form.render(&a, &Options::default()).unwrap_err().to_string();
        assert!(error.contains("pixels.values[2] is inf"), "{}: {error}", form.id());
    }
    let mut no_picture = fixtures::plain();
    no_picture.pixels = Some(PixelScores { width: 1, height: 1, values: vec![0.0] });
    assert!(form("json").unwrap().render(&no_picture, &Options::default()).unwrap_err().to_string().contains("pixels is there"));
}

/// The checksum of a PNG's chunk, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &b| (0..8).fold(sum ^ u32::from(b), |s, _| if s & 1 == 1 { s >> 1 ^ 0xedb8_8320 } else { s >> 1 }))
}

#[test]
fn a_picture_may_be_smaller_than_it_was_but_not_of_another_shape() {
    let mut a = fixtures::cropped();
    let image = a.input.image.as_mut().unwrap();
    (image.width, image.height, image.picture) = (4001, 1999, fixtures::photo(8, 4));
    for id in TEXT_FORMS {
        draw(id, &a, &Options::default());
    }
}

#[test]
fn odd_shapes_and_sizes_draw() {
    for (size, grid) in [((1, 1), [1, 1]), ((1, 500), [3, 1]), ((500, 1), [1, 3]), ((7, 3), [1, 1])] {
        let scores: Vec<f64> = (0..grid[0] * grid[1]).map(|i| i as f64 - 1.0).collect();
        let a = fixtures::patches(size, Region::WHOLE, grid, &scores);
        for id in TEXT_FORMS {
            draw(id, &a, &Options { width: 0, ..Options::default() });
        }
        draw("terminal", &a, &Options { colour: ColourDepth::TrueColour, ..Options::default() });
        form("png").unwrap().render(&a, &Options::default()).unwrap();
    }
    let mut bare = fixtures::cropped();
    bare.features.clear();
    bare.scores = Scores::default();
    for id in TEXT_FORMS {
        draw(id, &bare, &Options { top: 0, ..Options::default() });
    }
}

#[test]
fn what_is_too_large_to_draw_is_refused_or_said() {
    let scores: Vec<f64> = (0..70 * 70).map(f64::from).collect();
    let a = fixtures::patches((70, 70), Region::WHOLE, [70, 70], &scores);
    let page = draw("html", &a, &Options::default());
    assert!(page.contains("more than 4096 parts") && !page.contains("id=\"c0\"") && !page.contains("href=\"#c"));
    let error = form("svg").unwrap().render(&a, &Options { top: 3000, ..Options::default() }).unwrap_err().to_string();
    assert_eq!(error, "the picture would be more than 20000 pixels high; list fewer than 3000 parts");
    let wide = draw("svg", &fixtures::cropped(), &Options { width: 1000, ..Options::default() });
    assert!(embedded(&wide).iter().all(|layer| layer.width() <= 1600));
}

#[test]
fn boxes_without_end_are_refused() {
    let mut a = fixtures::boxes();
    a.features = vec![Feature { region: Some(Region::WHOLE), ..Feature::default() }; 5000];
    a.scores.combined = vec![1.0; 5000];
    a.scores.per_target_token = vec![vec![Some(1.0)]; 5000];
    let error = form("svg").unwrap().render(&a, &Options::default()).unwrap_err().to_string();
    assert_eq!(error, "the 5000 boxes overlap too often to be drawn");
}

#[test]
fn methods_are_compared_as_small_multiples() {
    let mut second = fixtures::cropped();
    second.method = MethodRecord { id: "rollout".into(), sign: Sign::Unsigned, ..second.method };
    second.scores.combined = vec![0.1, 0.2, 0.3, 0.4];
    let c = Comparison {
        format: COMPARISON_FORMAT.into(),
        tool_version: "0.1.0".into(),
        attributions: vec![fixtures::cropped(), second],
        left_out: vec![],
        rank_correlation: vec![vec![Some(1.0), Some(0.5)], vec![Some(0.5), Some(1.0)]],
    };
    let drawn = |form: ComparisonForm, options: &Options| String::from_utf8(form.render(&c, options).unwrap()).unwrap();
    let page = drawn(ComparisonForm::Html, &Options::default());
    assert_eq!(embedded(page.split("<script").next().unwrap()).len(), 3, "the picture once, a layer for each method");
    let page = short(&page);
    let (head, rest) = page.split_once("<style>").unwrap();
    insta::assert_snapshot!("compare_picture.html", head.to_owned() + rest.split_once("</style>").unwrap().1);
    insta::assert_snapshot!("compare_picture.txt", drawn(ComparisonForm::Terminal, &Options::default()));
    let options = Options { width: 40, colour: ColourDepth::Ansi256, ..Options::default() };
    let seen = drawn(ComparisonForm::Terminal, &options);
    assert!(seen.lines().filter(|l| l.contains('▀')).all(|l| read_back::without_colours(l).chars().count() <= 40));
    assert_eq!(read_back::without_colours(&seen).lines().filter(|l| l.contains("▀")).count(), 3 * 8, "{seen}");
}

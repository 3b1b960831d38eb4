//! What people see, kept word for word. Look at a change before accepting it.

use pellucid_core::Attribution;
use pellucid_render::{ColourDepth, Options, Theme};

use crate::{draw, fixtures, read_back};

fn terminal(name: &str, a: &Attribution) {
    let plain = draw("terminal", a, &Options { width: 80, ..Default::default() });
    insta::assert_snapshot!(format!("{name}.txt"), plain);
    let coloured = draw("terminal", a, &Options { width: 80, colour: ColourDepth::TrueColour, ..Default::default() });
    insta::assert_snapshot!(format!("{name}.ans"), coloured.replace('\u{1b}', "␛"));
}

#[test]
fn the_terminal() {
    terminal("plain", &fixtures::plain());
    terminal("contrast", &fixtures::contrast());
    terminal("several_targets", &fixtures::several_targets());
    terminal("chat", &fixtures::chat());
    terminal("ids_only", &fixtures::ids_only());
    terminal("scripts", &fixtures::scripts());
    terminal("hostile", &fixtures::hostile());
    terminal("zeros", &fixtures::zeros());
    terminal("one_feature", &fixtures::one_feature());
    terminal("long_units", &fixtures::long_units());
    terminal("white_space", &fixtures::white_space());
    terminal("class", &fixtures::class());
    terminal("masked", &fixtures::masked());
    terminal("similarity", &fixtures::similarity());
    terminal("unsigned", &fixtures::unsigned());
}

#[test]
fn the_terminal_with_fewer_colours_and_for_one_target_token() {
    let a = fixtures::several_targets();
    for (name, colour) in [("unsigned_ansi16", ColourDepth::Ansi16), ("unsigned_ansi256", ColourDepth::Ansi256)] {
        let options = Options { width: 60, colour, ..Default::default() };
        insta::assert_snapshot!(name, draw("terminal", &fixtures::unsigned(), &options).replace('\u{1b}', "␛"));
    }
    for (name, colour) in [("ansi16", ColourDepth::Ansi16), ("ansi256", ColourDepth::Ansi256)] {
        let options = Options { width: 60, colour, theme: Theme::Light, target_token: Some(1), top: 2, ..Default::default() };
        insta::assert_snapshot!(name, draw("terminal", &a, &options).replace('\u{1b}', "␛"));
    }
}

#[test]
fn pages_without_their_style_sheet() {
    for (name, a) in [
        ("several_targets", fixtures::several_targets()),
        ("hostile", fixtures::hostile()),
        ("class", fixtures::class()),
        ("unsigned", fixtures::unsigned()),
    ] {
        let page = draw("html", &a, &Options::default());
        let (head, rest) = page.split_once("<style>").unwrap();
        insta::assert_snapshot!(format!("{name}.html"), head.to_owned() + rest.split_once("</style>").unwrap().1);
    }
}

#[test]
fn pictures_and_documents() {
    for (name, a) in [
        ("plain", fixtures::plain()),
        ("scripts", fixtures::scripts()),
        ("hostile", fixtures::hostile()),
        ("unsigned", fixtures::unsigned()),
    ] {
        insta::assert_snapshot!(format!("{name}.svg"), draw("svg", &a, &Options { width: 60, ..Default::default() }));
        insta::assert_snapshot!(format!("{name}.tex"), draw("latex", &a, &Options::default()));
    }
}

#[test]
fn one_target_token_of_many_can_be_chosen_and_the_page_says_what_it_leaves_out() {
    let targets: Vec<(String, f64)> = (0..120).map(|i| (format!(" t{i}"), 0.5)).collect();
    let targets: Vec<(&str, f64)> = targets.iter().map(|(t, p)| (t.as_str(), *p)).collect();
    let a = fixtures::tokens(&[("one", 1.0), (" two", -2.0)], &targets);
    let page = draw("html", &a, &Options { target_token: Some(99), ..Default::default() });
    assert!(page.contains("51 of 120 target tokens can be chosen here"));
    assert!(page.contains("id=\"t51\" checked>"));
    assert!(page.contains("<bdi> t99</bdi>") && !page.contains("<bdi> t98</bdi>"));
    assert_eq!(read_back::html(&page), "one two");
}

#[test]
fn a_page_stays_within_some_megabytes() {
    let targets = vec![(" t", 0.5); 60];
    let words: Vec<(&str, f64)> = (0..8000).map(|i| (" word", f64::from(i % 17) - 8.0)).collect();
    let a = fixtures::tokens(&words, &targets);
    let page = draw("html", &a, &Options::default());
    let seen = page.split("<script type").next().unwrap();
    assert!(page.contains("12 of 60 target tokens can be chosen here"));
    assert!(seen.len() < 8_000_000, "{} bytes", seen.len());
}

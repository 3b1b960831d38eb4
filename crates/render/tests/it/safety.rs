//! Nothing of the prompt is obeyed: not by a terminal, a browser, an XML reader or TeX.

use pellucid_core::{Feature, Part, Scores, Span};
use pellucid_render::{ColourDepth, Options, Theme, form, forms};

use crate::{draw, fixtures, read_back};

fn steering(c: char) -> bool {
    (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
}

#[test]
fn no_form_lets_a_control_character_through() {
    for (name, a) in fixtures::all() {
        for form in forms().iter().filter(|f| !f.binary()) {
            let page = draw(form.id(), &a, &Options::default());
            let tabs = if form.id() == "html" { page.replace('\t', "") } else { page };
            assert_eq!(tabs.chars().find(|c| steering(*c)), None, "{name} {}", form.id());
        }
    }
}

#[test]
fn in_colour_the_only_escapes_are_colours_and_each_line_ends_without_one() {
    for (name, a) in fixtures::all() {
        for colour in [ColourDepth::Ansi16, ColourDepth::Ansi256, ColourDepth::TrueColour] {
            let page = draw("terminal", &a, &Options { colour, ..Default::default() });
            assert!(read_back::without_colours(&page).chars().all(|c| !steering(c)), "{name}");
            for line in page.lines() {
                let last = line.rsplit_once("\u{1b}[").map(|(_, rest)| rest);
                assert!(last.is_none_or(|rest| rest.starts_with("0m")), "{name}: {line:?}");
            }
        }
    }
}

#[test]
fn a_page_has_only_our_own_tags() {
    let ours = [
        "html", "meta", "title", "style", "body", "input", "main", "header", "h1", "p", "nav", "span", "label", "b", "bdi", "small",
        "section", "div", "i", "table", "caption", "tr", "td", "th", "details", "summary", "script",
    ];
    for (name, a) in fixtures::all() {
        for theme in [Theme::Auto, Theme::Light, Theme::Dark] {
            let page = draw("html", &a, &Options { theme, title: Some("<img src=x>".into()), ..Default::default() });
            for tag in page.split('<').skip(2) {
                let tag = tag.trim_start_matches('/').split([' ', '>']).next().unwrap();
                assert!(ours.contains(&tag), "{name}: <{tag}");
            }
            assert_eq!(page.matches("<script").count(), 1, "{name}");
            for outside in ["http:", "https:", "url(", "@import", " src=", " href="] {
                assert!(!page.replace("&lt;img src=", "").contains(outside) || name == "hostile", "{name} reaches for {outside}");
            }
        }
    }
}

#[test]
fn hostile_words_cannot_leave_their_attribute_or_script() {
    let page = draw("html", &fixtures::hostile(), &Options::default());
    let script = page.split("<script type=\"application/json\" id=\"pellucid\">").nth(1).unwrap();
    let json = script.split("</script>").next().unwrap();
    assert_eq!(pellucid_render::parse(json.as_bytes()).unwrap(), fixtures::hostile());
    for style in page.split("style=\"").skip(1).map(|s| s.split('"').next().unwrap()) {
        assert!(style.chars().all(|c| c.is_ascii_alphanumeric() || "-:;'.+−%".contains(c)), "{style}");
    }
}

fn not_a_number(page: &str) -> Option<&str> {
    page.split(|c: char| !c.is_alphanumeric()).find(|w| ["nan", "inf", "infinity"].contains(&w.to_ascii_lowercase().as_str()))
}

#[test]
fn a_number_is_never_nan_or_infinite() {
    for (name, a) in fixtures::all() {
        for form in forms().iter().filter(|f| !f.binary()) {
            let page = draw(form.id(), &a, &Options { top: 3000, ..Default::default() });
            assert_eq!(not_a_number(&page), None, "{name} {}", form.id());
        }
    }
}

#[test]
fn the_largest_scores_that_are_allowed_still_draw() {
    let mut a = fixtures::plain();
    a.scores.combined = vec![1e100, 1e100, -1e100, 1e-300, 0.0];
    // All five on one character: the sum exceeds each of them.
    a.features.iter_mut().for_each(|f| f.span = Some(Span { start: 0, end: 1 }));
    for form in forms().iter().filter(|f| !f.binary()) {
        assert_eq!(not_a_number(&draw(form.id(), &a, &Options::default())), None, "{}", form.id());
    }
}

#[test]
fn attributions_without_features_or_text_draw_too() {
    let mut empty = fixtures::plain();
    empty.features.clear();
    empty.scores = Scores::default();
    let mut bare = empty.clone();
    bare.input.text = Some(String::new());
    bare.input.tokens.clear();
    bare.target.tokens.clear();
    let mut odd = fixtures::plain();
    // A span without characters, a feature without anything, a target feature without a target text.
    odd.features[0].span = Some(Span { start: 3, end: 3 });
    odd.features[1] = Feature { part: Part::Target, ..Feature::default() };
    odd.target.text = None;
    odd.target.tokens[0].span = None;
    for a in [empty, bare, odd] {
        for form in forms().iter().filter(|f| !f.binary()) {
            draw(form.id(), &a, &Options { top: 0, ..Default::default() });
            draw(form.id(), &a, &Options { width: 0, colour: ColourDepth::Ansi256, ..Default::default() });
        }
    }
}

#[test]
fn every_form_refuses_what_contradicts_itself_and_names_the_field() {
    let mut short = fixtures::plain();
    short.scores.combined.pop();
    let mut nan = fixtures::plain();
    nan.scores.combined[2] = f64::NAN;
    let mut outside = fixtures::plain();
    outside.features[4].span = Some(Span { start: 20, end: 99 });
    for (a, field) in [(short, "scores.combined has 4"), (nan, "scores.combined[2] is NaN"), (outside, "features[4].span is 20..99")] {
        for form in forms() {
            let error = form.render(&a, &Options::default()).unwrap_err().to_string();
            assert!(error.contains(field), "{}: {error}", form.id());
        }
    }
}

#[test]
fn a_target_token_that_is_not_there_is_refused() {
    for id in ["terminal", "html", "svg", "png", "latex"] {
        let options = Options { target_token: Some(1), ..Default::default() };
        let error = form(id).unwrap().render(&fixtures::plain(), &options).unwrap_err().to_string();
        assert_eq!(error, "target token 1 is outside the target, which has 1 tokens", "{id}");
    }
}

#[test]
fn forms_are_found_by_name_and_by_extension() {
    for f in forms() {
        assert_eq!(form(f.id()).unwrap().id(), f.id());
        f.extensions().iter().for_each(|e| assert_eq!(form(e).unwrap().id(), f.id()));
    }
    assert_eq!(form("HTM").unwrap().id(), "html");
    assert!(form("docx").is_none());
}

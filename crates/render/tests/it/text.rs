//! The text that is shown is the text that was written, in every form.

use pellucid_core::{Attribution, Part};
use pellucid_render::{ColourDepth, Options};

use crate::{draw, fixtures, read_back};

/// The parts of the prompt that a person wrote, and the target where earlier target tokens have scores.
fn written(a: &Attribution) -> Option<String> {
    let text: Vec<char> = a.input.text.as_ref()?.chars().collect();
    let mut out: String = match &a.input.shown[..] {
        [] => text.iter().collect(),
        parts => parts.iter().flat_map(|s| &text[s.start..s.end]).collect(),
    };
    if a.features.iter().any(|f| f.part == Part::Target) {
        out += a.target.text.as_ref()?;
    }
    Some(out)
}

/// White space depends on where lines are broken; signs stand for white space with a score.
fn letters(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '↵' | '⇥' | '…')).collect()
}

/// Without the tokens that were added to a text, and what is put around them.
fn without_added(shown: &str) -> String {
    let mut shown = shown.to_owned();
    for added in ["<s>", "[CLS]", "[SEP]"] {
        for mark in ["", "+", "++", "+++", "-", "--", "---"] {
            shown = shown.replace(&format!("[{mark}{added}]"), "");
        }
    }
    shown
}

fn texts() -> impl Iterator<Item = (&'static str, Attribution, String)> {
    fixtures::all().into_iter().filter_map(|(name, a)| written(&a).map(|text| (name, a, text)))
}

#[test]
fn html_shows_the_text_to_the_last_space() {
    for (name, a, text) in texts() {
        let shown = read_back::html(&draw("html", &a, &Options::default()));
        assert_eq!(read_back::unescape(&shown), text.replace("\r\n", "\n"), "{name}");
    }
}

#[test]
fn the_terminal_shows_every_letter() {
    for (name, a, text) in texts() {
        for width in [20, 33, 100, 1000] {
            let options = Options { width, colour: ColourDepth::TrueColour, ..Default::default() };
            let shown = read_back::terminal(&draw("terminal", &a, &options));
            let shown = without_added(&shown);
            // An escape may be broken across lines.
            let shown = read_back::unescape(&letters(&shown));
            assert_eq!(letters(&shown), letters(&text), "{name} at {width}");
        }
    }
}

#[test]
fn without_colours_marks_are_all_that_is_added() {
    let bare = |t: &str| letters(t).replace(['[', ']', '+', '-'], "");
    for (name, a, text) in texts() {
        let shown = read_back::unescape(&read_back::terminal(&draw("terminal", &a, &Options { width: 1000, ..Default::default() })));
        let shown = without_added(&shown);
        assert_eq!(bare(&shown), bare(&text), "{name}");
    }
}

#[test]
fn the_picture_shows_every_letter() {
    for (name, a, text) in texts() {
        let mut shown = read_back::svg(&draw("svg", &a, &Options::default())).concat();
        shown = without_added(&shown);
        let (mut shown, mut text) = (letters(&read_back::unescape(&shown)), letters(&text));
        if name == "scripts" {
            // Words of a right-to-left line stand in the order in which they are seen.
            let sorted = |t: &str| {
                let mut c: Vec<char> = t.chars().collect();
                c.sort_unstable();
                String::from_iter(c)
            };
            (shown, text) = (sorted(&shown), sorted(&text));
        }
        assert_eq!(shown, text, "{name}");
    }
}

#[test]
fn latex_shows_every_letter() {
    for (name, a, text) in texts() {
        let shown = read_back::latex(&draw("latex", &a, &Options::default()));
        let shown = without_added(&shown);
        assert_eq!(letters(&read_back::unescape(&shown)), letters(&text), "{name}");
    }
}

#[test]
fn lines_of_the_terminal_fit_its_width() {
    for (name, a) in fixtures::all() {
        for width in [20, 40, 80] {
            for line in draw("terminal", &a, &Options { width, ..Default::default() }).lines() {
                let columns = unicode_width::UnicodeWidthStr::width(line);
                // Names and tables have a least width; the text itself never exceeds the terminal.
                assert!(columns <= width.max(48), "{name} at {width}: {columns} columns in {line:?}");
            }
        }
    }
}

#[test]
fn what_is_left_out_is_marked() {
    let a = fixtures::chat();
    let page = draw("terminal", &a, &Options::default());
    assert!(page.contains("\n…"), "{page}");
    for id in ["terminal", "html", "svg", "latex"] {
        let page = draw(id, &a, &Options::default());
        // The page's own copy of the JSON holds the whole text.
        let seen = page.split("<script type").next().unwrap();
        assert!(!seen.contains("im_start"), "{id} shows the chat template");
    }
}

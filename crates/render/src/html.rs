//! HTML: one file that needs nothing else, no script, no font, no network.
//!
//! Two groups of radio buttons stand before everything; the style sheet looks at which are checked. Every unit of text carries its strength for
//! every choice of target as a custom property (`--v0`, `--v1`, …), and the chosen one becomes its colour, so a text is written once per level
//! (the method's own units, words, sentences) and not once per target token. The attribution itself lies in the page as JSON.

mod details;
pub(crate) mod map;
pub(crate) mod picture;

use std::fmt::Write;

use pellucid_core::{Attribution, Error, Result, Sign, TargetKind, TargetToken};

use crate::aggregate::{Level, levels};
use crate::escape::{label, visible};
use crate::picture::scene::Scene;
use crate::scale::{DARK, LIGHT, Palette};
use crate::view::View;
use crate::{Options, Render, Theme, check, describe, json};

/// Target tokens that can be chosen, at most; and features times choices, at most: some megabytes of page.
const MAX_TARGETS: usize = 50;
const MAX_NUMBERS: usize = 100_000;

pub(crate) const STYLE: &str = include_str!("html/page.css");
const JSON_BEGIN: &str = "<script type=\"application/json\" id=\"pellucid\">";
pub(crate) const JSON_END: &str = "</script>";

/// A self-contained page.
pub(crate) struct Html;

impl Render for Html {
    fn id(&self) -> &'static str {
        "html"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["html", "htm"]
    }

    fn binary(&self) -> bool {
        false
    }

    fn render(&self, a: &Attribution, options: &Options) -> Result<Vec<u8>> {
        check::check(a).map_err(Error::Request)?;
        let shown = View::new(a, options.target_token)?;
        if let Some(scene) = Scene::of(shown, options)? {
            return picture::page(&scene, options);
        }
        let choices = choices(&shown);
        let levels = levels(a);
        let heading = describe::heading(&View { a, target_token: None });
        let title = options.title.as_deref().map_or(heading, |t| label(t, 400));
        let style = format!("{}{STYLE}{}", themes(options.theme, choices[0].sign()), rules(choices.len(), levels.len()));
        let mut page = open(&title, &style);
        for (i, choice) in choices.iter().enumerate() {
            radio(&mut page, 't', i, choice.target_token == options.target_token || choices.len() == 1);
        }
        (0..levels.len()).for_each(|i| radio(&mut page, 'l', i, i == 0));
        put(&mut page, format_args!("<main>\n<header><h1>{}</h1>\n", escape(&title)));
        for fact in [describe::model(a), describe::method(a), describe::scores(&choices[0])] {
            put(&mut page, format_args!("<p>{}</p>\n", escape(&fact)));
        }
        page.push_str("</header>\n");
        switches(&mut page, &choices, levels);
        for (i, &level) in levels.iter().enumerate() {
            put(&mut page, format_args!("<section class=\"lv lv{i}\">\n{}</section>\n", map::section(&choices, level, options.top)?));
        }
        for line in describe::promises(a) {
            put(&mut page, format_args!("<p class=\"note\">{}</p>\n", escape(&line)));
        }
        page.push_str(&details::details(&choices[0]));
        page.push_str("</main>\n");
        put(&mut page, format_args!("{JSON_BEGIN}{}{JSON_END}\n", json::embeddable(a)?));
        Ok(page.into_bytes())
    }
}

/// A page up to its body.
pub(crate) fn open(title: &str, style: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{}</title>\n<style>\n{style}</style>\n<body>\n",
        escape(title)
    )
}

/// The JSON that a page of ours carries; `None` if these bytes are not such a page.
pub(crate) fn embedded_json(page: &[u8]) -> Option<&[u8]> {
    embedded(page, JSON_BEGIN)
}

/// What stands behind a mark in a page of ours.
pub(crate) fn embedded<'a>(page: &'a [u8], begin: &str) -> Option<&'a [u8]> {
    let page = std::str::from_utf8(page).ok()?.strip_prefix("<!doctype html>")?;
    // Nothing else in the page can hold this mark: all `<` of a text are escaped.
    let (_, rest) = page.split_once(begin)?;
    rest.split_once(JSON_END).map(|(json, _)| json.as_bytes())
}

/// Combined scores first, then target tokens; one choice only if there is nothing to tell apart.
fn choices<'a>(shown: &View<'a>) -> Vec<View<'a>> {
    let a = shown.a;
    let combined = View { a, target_token: None };
    let tokens = a.target.tokens.len();
    if tokens == 1 && a.target.contrast.is_none() && matches!(a.method.postprocessing.as_str(), "none" | "") {
        return vec![combined];
    }
    let most = MAX_TARGETS.min(MAX_NUMBERS / a.features.len().max(1)).min(tokens);
    let beyond = shown.target_token.filter(|&t| t >= most);
    let listed = (0..most).chain(beyond).map(|t| View { a, target_token: Some(t) });
    std::iter::once(combined).chain(listed).collect()
}

fn switches(page: &mut String, choices: &[View<'_>], levels: &[Level]) {
    let target = &choices[0].a.target;
    page.push_str("<nav class=\"targets\" aria-label=\"target\"><span class=\"cap\">target</span>");
    if choices.len() > 1 {
        page.push_str("<label for=\"t0\">combined</label>");
    }
    let listed: Vec<usize> = if choices.len() == 1 {
        (0..target.tokens.len().min(1)).collect()
    } else {
        choices.iter().filter_map(|c| c.target_token).collect()
    };
    for (i, t) in listed.iter().enumerate() {
        let token = &target.tokens[*t];
        let text = if token.text.is_empty() { format!("#{}", token.id) } else { label(&token.text, 40) };
        let inner = format!("<b><bdi>{}</bdi></b><small>{}</small>", escape(&text), standing(target.kind, token));
        match choices.len() {
            1 => put(page, format_args!("<span class=\"only\">{inner}</span>")),
            _ => put(page, format_args!("<label for=\"t{}\">{inner}</label>", i + 1)),
        }
    }
    page.push_str("</nav>\n");
    if choices.len() > 1 && listed.len() < target.tokens.len() {
        let (some, all) = (listed.len(), target.tokens.len());
        put(
            page,
            format_args!(
                "<p class=\"note\">{some} of {all} target tokens can be chosen here; the JSON inside this page has them all.</p>\n"
            ),
        );
    }
    if let Some(contrast) = &target.contrast {
        page.push_str("<nav class=\"targets\"><span class=\"cap\">contrast</span>");
        for t in contrast.tokens.iter().take(MAX_TARGETS) {
            let text = if t.text.is_empty() { format!("#{}", t.id) } else { label(&t.text, 40) };
            let standing = standing(target.kind, t);
            put(page, format_args!("<span class=\"only\"><b><bdi>{}</bdi></b><small>{standing}</small></span>", escape(&text)));
        }
        page.push_str("</nav>\n");
    }
    if levels.len() > 1 {
        page.push_str("<nav class=\"levels\" aria-label=\"units\"><span class=\"cap\">units</span>");
        for (i, level) in levels.iter().enumerate() {
            let own = label(&choices[0].a.method.units, 24);
            let name = match level {
                Level::Unit => escape(&own) + "s",
                Level::Word => "words".into(),
                Level::Sentence => "sentences".into(),
            };
            put(page, format_args!("<label for=\"l{i}\">{name}</label>"));
        }
        page.push_str("</nav>\n");
    }
}

fn standing(kind: TargetKind, t: &TargetToken) -> String {
    minus(&describe::standing(kind, t)).replace(" rank", " · rank")
}

fn radio(page: &mut String, group: char, i: usize, checked: bool) {
    let checked = if checked { " checked" } else { "" };
    put(page, format_args!("<input type=\"radio\" name=\"{group}\" id=\"{group}{i}\"{checked}>\n"));
}

/// What follows from a checked button.
fn rules(choices: usize, levels: usize) -> String {
    let mut css = String::new();
    let none = "'not before this target token'";
    for i in 0..choices {
        put(
            &mut css,
            format_args!("#t{i}:checked~main .u{{--v:var(--v{i},0);--s:var(--s{i},{none})}}#t{i}:checked~main .tt{i}{{display:block}}\n"),
        );
    }
    for id in (0..choices).map(|i| format!("t{i}")).chain((0..levels).map(|i| format!("l{i}"))) {
        put(
            &mut css,
            format_args!("#{id}:checked~main label[for={id}]{{background:var(--ink);border-color:var(--ink);color:var(--paper)}}"),
        );
        put(&mut css, format_args!("#{id}:focus-visible~main label[for={id}]{{outline:2px solid var(--for);outline-offset:2px}}\n"));
    }
    (0..levels).for_each(|i| put(&mut css, format_args!("#l{i}:checked~main .lv{i}{{display:block}}\n")));
    css
}

pub(crate) fn themes(theme: Theme, sign: Sign) -> String {
    let colours = |scheme: &str, p: &Palette| {
        let p = p.of(sign);
        let [paper, ink, quiet, line, supporting, opposing, share] =
            [p.paper, p.ink, p.quiet, p.line, p.supporting, p.opposing, p.share].map(|c| c.hex());
        format!(
            ":root{{color-scheme:{scheme};--paper:#{paper};--ink:#{ink};--quiet:#{quiet};--line:#{line};--for:#{supporting};--against:#{opposing};--share:#{share}}}\n"
        )
    };
    match theme {
        Theme::Light => colours("light", &LIGHT),
        Theme::Dark => colours("dark", &DARK),
        Theme::Auto => format!("{}@media (prefers-color-scheme:dark){{{}}}\n", colours("light", &LIGHT), colours("dark", &DARK)),
    }
}

/// Text for the page: escaped for elements and for quoted attributes alike.
pub(crate) fn escape(text: &str) -> String {
    html_escape::encode_safe(visible(text).as_ref()).into_owned()
}

/// A number with a true minus sign.
pub(crate) fn minus(number: &str) -> String {
    number.replace('-', "−")
}

pub(crate) fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}

//! SVG: the coloured text as a picture, for papers and slides.
//!
//! Widths are estimated per class of character (none, one column, right-to-left letter, two columns) and handed to the viewer as
//! `textLength`, so boxes and words agree whatever font is there. A word is one piece of text above its boxes: letters that join keep joining.

mod line;
mod picture;

use std::fmt::Write;

use pellucid_core::{Attribution, Error, Part, Result, Sign};

use crate::aggregate::Level;
use crate::cells::{Cell, cells, wrap};
use crate::escape::{label, visible};
use crate::layout::{Kind, Run, Section, sections};
use crate::picture::scene::Scene;
use crate::scale::{DARK, LIGHT, Numbers, Palette, Rgb};
use crate::view::View;
use crate::{Options, Render, Theme, check, describe};

/// Pixels: one column of the text, a line of it, the space around everything.
const COLUMN: f64 = 9.0;
const LINE: f64 = 30.0;
const MARGIN: f64 = 28.0;
/// Taller or wider pictures are refused: viewers and rasterisers give up far below what they would need.
const MAX_HEIGHT: f64 = 20_000.0;
const MAX_COLUMNS: usize = 1_000;

/// A vector picture.
pub(crate) struct Svg;

impl Render for Svg {
    fn id(&self) -> &'static str {
        "svg"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["svg"]
    }

    fn binary(&self) -> bool {
        false
    }

    fn render(&self, attribution: &Attribution, options: &Options) -> Result<Vec<u8>> {
        Ok(draw(attribution, options)?.into_bytes())
    }
}

/// How a cell of the text looks.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Look {
    /// Which run of the page, for boxes that belong together.
    run: usize,
    strength: Option<f64>,
    quiet: bool,
}

/// The picture as a string.
pub(crate) fn draw(a: &Attribution, options: &Options) -> Result<String> {
    check::check(a).map_err(Error::Request)?;
    if options.width > MAX_COLUMNS {
        return Err(Error::request(format!("a picture {} columns wide is too wide, {MAX_COLUMNS} is the most", options.width)));
    }
    let view = View::new(a, options.target_token)?;
    let sections = sections(a, Level::Unit)?;
    let max = view.max(&sections);
    let columns = options.width.max(20);
    let mut page = Page {
        palette: if options.theme == Theme::Dark { DARK } else { LIGHT }.of(view.sign()),
        sign: view.sign(),
        numbers: Numbers::up_to(max),
        view,
        max,
        columns,
        body: String::new(),
        y: MARGIN,
        style: "",
    };
    page.head(options);
    let scene = Scene::of(view, options)?;
    if let Some(scene) = &scene {
        page.picture(scene, options.top)?;
    }
    if scene.is_none() || describe::has_words(a) {
        page.text(&sections)?;
        page.legend();
    }
    page.foot();
    Ok(page.finish())
}

struct Page<'a> {
    view: View<'a>,
    max: f64,
    numbers: Numbers,
    palette: Palette,
    sign: Sign,
    columns: usize,
    body: String,
    /// Where the next line begins.
    y: f64,
    /// What a picture adds to the style sheet.
    style: &'static str,
}

impl Page<'_> {
    fn head(&mut self, options: &Options) {
        let a = self.view.a;
        let title = options.title.as_deref().map_or_else(|| describe::heading(&self.view), |t| label(t, 400));
        self.caption(&title, "t", 19.0, 10.0);
        let mut facts = vec![describe::model(a), describe::method(a), describe::scores(&self.view)];
        if a.input.image.is_some() {
            facts.extend(describe::answered(a));
        } else if a.target.tokens.len() <= 4 {
            facts.push(a.target.tokens.iter().map(|t| describe::clean(a.target.kind, t)).collect::<Vec<_>>().join(" · "));
        }
        for fact in facts {
            self.caption(&fact, "q", 13.0, 7.0);
        }
        self.y += 16.0;
    }

    /// A line in a proportional font, broken where it would be too long; `column` is a generous mean width of its characters.
    fn caption(&mut self, text: &str, class: &str, size: f64, column: f64) {
        let width = (self.columns as f64 * COLUMN / column) as usize;
        for line in wrap(&cells(text, (), false), width) {
            let text: String = line.iter().map(|c| c.text.as_str()).collect();
            self.y += size * 1.5;
            put(
                &mut self.body,
                format_args!("<text class=\"{class}\" x=\"{MARGIN}\" y=\"{}\">{}</text>\n", self.y - size * 0.4, escape(&text)),
            );
        }
    }

    fn text(&mut self, sections: &[Section]) -> Result<()> {
        let mut run = 0;
        for section in sections {
            if section.part == Part::Target {
                self.caption(describe::earlier(self.view.a), "q", 13.0, 7.0);
                self.y += 4.0;
            }
            let mut all = Vec::new();
            for r in &section.runs {
                run += 1;
                all.extend(self.run(r, run));
            }
            for paragraph in all.split(Cell::is_break) {
                let rtl = line::is_rtl(paragraph);
                for cells in wrap(paragraph, self.columns) {
                    let drawn = line::draw(cells, rtl, self.columns, self.y, &self.palette, &self.titles());
                    self.body.push_str(&drawn);
                    self.y += LINE;
                    if self.y > MAX_HEIGHT {
                        return Err(Error::request(format!(
                            "the picture would be more than {MAX_HEIGHT} pixels high; choose more columns than {}, or html, which has no limit",
                            self.columns
                        )));
                    }
                }
            }
            self.y += 12.0;
        }
        Ok(())
    }

    /// What hovering over a box tells.
    fn titles(&self) -> impl Fn(f64) -> String {
        let (numbers, max, sign) = (self.numbers, self.max, self.sign);
        move |strength| numbers.of(sign, strength * max)
    }

    fn run(&self, r: &Run, run: usize) -> Vec<Cell<Look>> {
        let strength = self.view.strength(&r.features, self.max);
        let look = Look { run, strength, quiet: r.kind != Kind::Text && strength.is_none() };
        match r.kind {
            Kind::Chip => cells(&format!("[{}]", label(&r.text, 40)), look, strength.is_some()),
            _ => cells(&r.text, look, strength.is_some()),
        }
    }

    fn legend(&mut self) {
        self.y += 6.0;
        if self.max == 0.0 {
            return self.caption("all scores are zero", "q", 13.0, 7.0);
        }
        let unsigned = self.sign == Sign::Unsigned;
        let low = if unsigned { "0".into() } else { self.numbers.signed(-self.max) };
        let high = self.numbers.of(self.sign, self.max);
        let (less, more) = if unsigned { ("counts little", "much") } else { ("opposes", "supports") };
        let y = self.y;
        let text =
            |x: f64, anchor: &str, t: &str| format!("<text class=\"q\" x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{t}</text>\n", y + 14.0);
        let mut x = MARGIN;
        self.body.push_str(&text(x, "start", less));
        if !unsigned {
            self.body.push_str(&line::underline(x, y + 18.5, 52.0, -0.5));
        }
        x += if unsigned { 82.0 } else { 62.0 } + 8.0 * low.len() as f64;
        self.body.push_str(&text(x, "end", &low));
        x += 8.0;
        for step in -10..=10 {
            let strength = if unsigned { f64::from(step + 10) / 20.0 } else { f64::from(step) / 10.0 };
            let fill = self.palette.fill(strength).unwrap_or(self.palette.paper);
            put(&mut self.body, format_args!("<rect x=\"{x}\" y=\"{y}\" width=\"9\" height=\"19\" fill=\"#{}\"/>\n", fill.hex()));
            x += 9.0;
        }
        self.body.push_str(&text(x + 8.0, "start", &high));
        x += 18.0 + 8.0 * high.len() as f64;
        self.body.push_str(&text(x, "start", more));
        self.body.push_str(&line::underline(x, y + 18.5, if unsigned { 34.0 } else { 54.0 }, 0.5));
        self.y += 20.0;
    }

    /// What came of the method's promises.
    fn foot(&mut self) {
        for line in describe::promises(self.view.a) {
            self.y += 4.0;
            self.caption(&line, "q", 13.0, 7.0);
        }
    }

    fn finish(self) -> String {
        let Palette { paper, ink, quiet, .. } = &self.palette;
        let (width, height) = (self.columns as f64 * COLUMN + 2.0 * MARGIN, (self.y + MARGIN).ceil());
        let colour = |c: &Rgb| c.hex();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
             <title>{}</title>\n\
             <style>\
             text{{fill:#{ink};white-space:pre}}\
             .w{{font:15px 'DejaVu Sans Mono','Noto Sans Mono','Liberation Mono',Menlo,Consolas,monospace;pointer-events:none}}\
             .t{{font:600 19px 'Noto Sans','DejaVu Sans','Liberation Sans','Helvetica Neue',Arial,sans-serif}}\
             .q{{font:13px 'Noto Sans','DejaVu Sans','Liberation Sans','Helvetica Neue',Arial,sans-serif;fill:#{quiet}}}\
             .u{{stroke:#{ink};fill:none}}\
             .e{{fill:#{quiet}}}\
             {more}\
             </style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#{paper}\"/>\n{}</svg>\n",
            escape(&describe::heading(&self.view)),
            self.body,
            more = self.style,
            ink = colour(ink),
            quiet = colour(quiet),
            paper = colour(paper),
        )
    }
}

/// Text for XML: what it forbids or could take for markup is escaped.
fn escape(text: &str) -> String {
    html_escape::encode_safe(visible(text).as_ref()).into_owned()
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}

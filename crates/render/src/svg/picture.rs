//! The picture, its heat map, and one over the other, side by side; the scale; the strongest parts, outlined and listed.

use pellucid_core::{Error, Region, Result, Sign};

use super::{COLUMN, MARGIN, MAX_HEIGHT, Page, escape, put};
use crate::picture::decode::address;
use crate::picture::layer::png;
use crate::picture::names::Top;
use crate::picture::scene::{Scene, Shown};

/// Between two pictures.
const GAP: f64 = 18.0;
/// Narrower pages than this, in columns, have the three one below the other, and so have pictures wider than twice their height.
const NARROW: usize = 54;
/// Where the place stands in a line of a list, and what a letter takes there, with room to spare.
const PLACE: f64 = 102.0;
const LETTER: f64 = 7.2;
/// Pixels of a layer for each of the page: as many as the PNG has.
const SHARP: f64 = 2.0;
/// Most pixels of a layer's edge.
const MAX_EDGE: f64 = 1600.0;

const STYLE: &str = "image{image-orientation:none}\
    .m{fill:none;stroke:#fff;stroke-width:1.3}.h{fill:none;stroke:#000;stroke-opacity:.55;stroke-width:3}\
    .n{font-weight:700;fill:#fff;stroke:#000;stroke-opacity:.7;stroke-width:2.6px;stroke-linejoin:round;paint-order:stroke}\
    .n,.b{font-family:'Noto Sans','DejaVu Sans','Liberation Sans','Helvetica Neue',Arial,sans-serif}.b{font-size:13px}";

impl Page<'_> {
    pub(super) fn picture(&mut self, scene: &Scene<'_>, top: usize) -> Result<()> {
        self.style = STYLE;
        let inner = self.columns as f64 * COLUMN;
        let beside = self.columns >= NARROW && scene.image.width <= 2 * scene.image.height;
        let [width, height] = match beside {
            true => scene.fitting((inner - 2.0 * GAP) / 3.0, inner / 2.0),
            false => scene.fitting(inner.min(520.0), 520.0),
        };
        let sharp = SHARP.min(MAX_EDGE / width.max(height) as f64);
        let heat = scene.heat([width, height].map(|v| ((v as f64 * sharp) as usize).max(1)), None)?;
        let (map, over) = (png(&scene.look.map(&heat))?, png(&scene.look.over(&heat, &scene.photo)?)?);
        let size = format!("width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\"");
        // The address holds base64 only: the check before unpacked it.
        put(&mut self.body, format_args!("<defs><image id=\"p\" {size} href=\"{}\"/></defs>\n", scene.image.picture));
        let tops = scene.top(top);
        for (i, name) in ["picture", "heat map", "heat map over the picture"].into_iter().enumerate() {
            let (x, y) = if beside { (MARGIN + i as f64 * (width as f64 + GAP), self.y) } else { (MARGIN, self.y) };
            put(&mut self.body, format_args!("<text class=\"q\" x=\"{x}\" y=\"{}\">{name}</text>\n", y + 10.0));
            let y = y + 18.0;
            if i != 1 {
                put(&mut self.body, format_args!("<use href=\"#p\" x=\"{x}\" y=\"{y}\"/>\n"));
            }
            if i > 0 {
                let layer = address(if i == 1 { &map } else { &over });
                put(&mut self.body, format_args!("<image x=\"{x}\" y=\"{y}\" {size} href=\"{layer}\"/>\n"));
            }
            let line = self.palette.line.hex();
            put(
                &mut self.body,
                format_args!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#{line}\"/>\n"),
            );
            if i == 0 {
                let place = (x, y, width as f64, height as f64);
                tops.1.iter().rev().filter(|t| t.marked).for_each(|t| self.mark(scene, t, true, place));
                tops.0.iter().rev().filter(|t| t.marked).for_each(|t| self.mark(scene, t, false, place));
            }
            if !beside || i == 2 {
                self.y = y + height as f64 + 22.0;
            }
        }
        self.scale(scene);
        self.caption(&scene.notes(Shown::Fine).join(" · "), "q", 13.0, 7.0);
        self.strongest(scene, &tops);
        match self.y > MAX_HEIGHT {
            true => Err(Error::request(format!("the picture would be more than {MAX_HEIGHT} pixels high; list fewer than {top} parts"))),
            false => Ok(()),
        }
    }

    /// An outline with its sign; what opposes has broken lines.
    fn mark(&mut self, scene: &Scene<'_>, top: &Top, opposes: bool, (x, y, w, h): (f64, f64, f64, f64)) {
        let part = &scene.boxes.parts[top.part];
        let Region { left, top: upper, width, height } = part.region;
        let round = |v: f64| (v * 100.0).round() / 100.0;
        let [bx, by, bw, bh] = [x + left * w, y + upper * h, width * w, height * h].map(round);
        let broken = if opposes { " stroke-dasharray=\"3 2.5\"" } else { "" };
        let shape = format!("x=\"{bx}\" y=\"{by}\" width=\"{bw}\" height=\"{bh}\"");
        let told = escape(&format!("{}: {}", scene.place(top.part), scene.number(part.score)));
        let size = (0.55 * bw.min(bh)).clamp(7.0, 13.0);
        put(
            &mut self.body,
            format_args!(
                "<g><title>{told}</title><rect class=\"h\" {shape}/><rect class=\"m\" {shape}{broken}/>\
                 <text class=\"n\" x=\"{}\" y=\"{}\" font-size=\"{size:.1}\">{}</text></g>\n",
                round(bx + 0.22 * size),
                round(by + 0.98 * size),
                top.tag
            ),
        );
    }

    fn scale(&mut self, scene: &Scene<'_>) {
        let Some((low, high)) = scene.ends() else { return };
        let stops: String = (0..=32)
            .map(|i| {
                let share = f64::from(i) / 32.0;
                let [r, g, b] = scene.look.colour(if scene.sign == Sign::Signed { 2.0 * share - 1.0 } else { share });
                format!("<stop offset=\"{share}\" stop-color=\"#{r:02x}{g:02x}{b:02x}\"/>")
            })
            .collect();
        put(&mut self.body, format_args!("<defs><linearGradient id=\"s\">{stops}</linearGradient></defs>\n"));
        let (less, more) = if scene.sign == Sign::Signed { ("opposes", "supports") } else { ("counts little", "much") };
        let width = |words: &str| 7.4 * words.chars().count() as f64 + 8.0;
        let written: f64 = [less, &low, &high, more].map(width).iter().sum();
        let bar = (self.columns as f64 * COLUMN - written - 10.0).clamp(30.0, 240.0);
        let (mut x, y) = (MARGIN, self.y);
        let mut text = |body: &mut String, words: &str, gap: f64| {
            put(body, format_args!("<text class=\"q\" x=\"{x:.1}\" y=\"{}\">{}</text>\n", y + 12.0, escape(words)));
            x += width(words) + gap;
            x
        };
        text(&mut self.body, less, 0.0);
        let at = text(&mut self.body, &low, bar + 10.0) - bar - 10.0;
        put(
            &mut self.body,
            format_args!(
                "<rect x=\"{at:.1}\" y=\"{y}\" width=\"{bar:.1}\" height=\"15\" fill=\"url(#s)\" stroke=\"#{}\"/>\n",
                self.palette.line.hex()
            ),
        );
        text(&mut self.body, &high, 0.0);
        text(&mut self.body, more, 0.0);
        self.y += 26.0;
    }

    /// Two lists side by side: for and against, or one list in two halves.
    fn strongest(&mut self, scene: &Scene<'_>, (supporting, opposing): &(Vec<Top>, Vec<Top>)) {
        let signed = scene.sign == Sign::Signed;
        let half = supporting.len().div_ceil(2);
        let lists = match signed {
            true => [("strongest for", &supporting[..]), ("strongest against, broken lines", &opposing[..])],
            false => [("strongest", &supporting[..half]), ("", &supporting[half..])],
        };
        // A line is a tag, a score, and a place with its pixels, or without where there is no room for them.
        let inner = self.columns as f64 * COLUMN;
        let whole = |top: &Top| format!("{} · {}", scene.place(top.part), scene.pixels(top.part));
        let longest = supporting.iter().chain(opposing).map(|t| whole(t).chars().count()).max().unwrap_or(0);
        let wide = PLACE + longest as f64 * LETTER;
        let beside = 2.0 * wide + GAP <= inner;
        let with_pixels = wide <= inner;
        self.y += 12.0;
        let start = self.y;
        let mut lowest = start;
        for (i, (head, tops)) in lists.into_iter().enumerate().filter(|(_, (_, tops))| !tops.is_empty()) {
            let x = if beside { MARGIN + i as f64 * (self.columns as f64 * COLUMN + GAP) / 2.0 } else { MARGIN };
            let mut y = if beside { start } else { lowest };
            if signed || i == 0 || beside {
                y += if i == 1 && !beside { 28.0 } else { 20.0 };
                put(&mut self.body, format_args!("<text class=\"q\" x=\"{x}\" y=\"{}\">{head}</text>\n", y - 5.0));
            }
            for top in tops {
                y += 19.0;
                let place = if with_pixels { whole(top) } else { scene.place(top.part) };
                let score = scene.number(scene.boxes.parts[top.part].score);
                put(
                    &mut self.body,
                    format_args!(
                        "<text class=\"b\" x=\"{x}\" y=\"{b}\" font-weight=\"700\">{}</text>\
                         <text class=\"b\" x=\"{}\" y=\"{b}\" text-anchor=\"end\">{}</text><text class=\"q\" x=\"{}\" y=\"{b}\">{}</text>\n",
                        top.tag,
                        x + 88.0,
                        escape(&score),
                        x + PLACE,
                        escape(&place),
                        b = y - 5.0,
                    ),
                );
            }
            lowest = lowest.max(y);
        }
        self.y = lowest + 8.0;
    }
}

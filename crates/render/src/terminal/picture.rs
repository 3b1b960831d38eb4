//! A picture in a terminal: as such where the terminal can show pictures, else two pixels a character in upper and lower halves, the picture and its heat map side by side; with sixteen colours
//! or none, a grid of figures. Signs in the map and the list of the strongest parts tell for and against without colour.

use anstyle::{Ansi256Color, Color, RgbColor, Style};
use image::RgbImage;
use pellucid_core::{Region, Result, Sign};

use super::paint::{Paint, Tone};
use super::{Page, inline};
use crate::layout::Section;
use crate::picture::Interpolation;
use crate::picture::layer::resized;
use crate::picture::names::Top;
use crate::picture::scene::{Scene, Shown};
use crate::{ColourDepth, Graphics, Options, describe};

/// Most columns of a picture, and most rows of characters.
const COLUMNS: usize = 56;
const ROWS: usize = 28;
/// Between two pictures.
const GAP: &str = "  ";
/// Columns of a figure with its sign and a blank.
const FIGURE: usize = 3;
/// Figures across where boxes form no grid.
const ACROSS: usize = 24;

impl Page<'_> {
    pub(super) fn pictured(&self, scene: &Scene<'_>, sections: &[Section], options: &Options) -> Result<Vec<u8>> {
        let tops = scene.top(options.top);
        let map = if half_blocks(options.colour) {
            self.pictures(scene, &tops, options.graphics)?
        } else {
            figures(scene, &self.paint, self.width)?
        };
        let scale =
            if half_blocks(options.colour) { swatches(scene, self.paint.depth) } else { self.plain(Tone::Quiet, &key(scene)).join("\n") };
        let shown = if half_blocks(options.colour) { Shown::Coarse } else { Shown::Figures };
        let notes = self.plain(Tone::Quiet, &scene.notes(shown).join(" · ")).join("\n");
        let text = if describe::has_words(self.view.a) { format!("{}\n\n{}", self.prompt(sections), self.legend()) } else { String::new() };
        let scale = [scale, notes].into_iter().filter(|b| !b.is_empty()).collect::<Vec<_>>().join("\n");
        let blocks = [self.head(options), map, scale, self.parts(scene, &tops), text, self.targets(), self.foot()];
        let blocks: Vec<String> = blocks.into_iter().filter(|b| !b.is_empty()).collect();
        Ok((blocks.join("\n\n") + "\n").into_bytes())
    }

    /// The picture, and beside it, where there is room, the map over it.
    fn pictures(&self, scene: &Scene<'_>, tops: &(Vec<Top>, Vec<Top>), graphics: Option<Graphics>) -> Result<String> {
        let beside = self.width >= 50;
        let columns = if beside { (self.width - GAP.len()) / 2 } else { self.width }.min(COLUMNS);
        if let Some(graphics) = graphics.filter(|_| beside) {
            // `small` counts two pixels to a row.
            let (photo, over) = small(scene, columns * inline::CELL[0], ROWS * inline::CELL[1] / 2)?;
            let wide = (photo.width() as usize).div_ceil(inline::CELL[0]);
            let head = self.paint.text(Tone::Quiet, &format!("{:wide$}{GAP}with the heat map", "picture"));
            return Ok(format!("{head}\n{}", inline::side_by_side(graphics, [&photo, &over], GAP.len())?));
        }
        let (photo, over) = small(scene, columns, ROWS)?;
        let tags = tags(scene, tops, &over);
        let (photo, over) = (halves(&photo, &[], self.paint.depth), halves(&over, &tags, self.paint.depth));
        match beside {
            true => {
                let wide = columns.min(scene.fitting(columns as f64, 2.0 * ROWS as f64)[0]);
                let head = format!("{:wide$}{GAP}with the heat map", "picture");
                let lines = photo.iter().zip(&over).map(|(p, o)| format!("{p}{GAP}{o}"));
                Ok([self.paint.text(Tone::Quiet, &head)].into_iter().chain(lines).collect::<Vec<_>>().join("\n"))
            }
            false => Ok(over.join("\n")),
        }
    }

    /// The strongest parts: a bar, the score, the sign that stands in the map, the place.
    fn parts(&self, scene: &Scene<'_>, (supporting, opposing): &(Vec<Top>, Vec<Top>)) -> String {
        let columns = (self.width / 5).clamp(4, 20);
        let first = if scene.sign == Sign::Signed { "strongest for" } else { "strongest" };
        let mut lines = Vec::new();
        for (name, tops) in [(first, supporting), ("strongest against", opposing)] {
            if !tops.is_empty() {
                lines.push(self.paint.text(Tone::Strong, name));
            }
            for top in tops {
                let bar = self.bar(scene.boxes.parts[top.part].score, columns);
                let room = self.width.saturating_sub(columns + 17);
                let (place, pixels) = (scene.place(top.part), scene.pixels(top.part));
                let whole = format!("{place} · {pixels}");
                lines.push(format!("{bar}  {:<2} {}", top.tag, if whole.chars().count() <= room { whole } else { place }));
            }
        }
        lines.join("\n")
    }
}

/// A figure a patch: ninths of the strongest, with a sign where scores have one.
pub(crate) fn figures(scene: &Scene<'_>, paint: &Paint, width: usize) -> Result<String> {
    let (strengths, [rows, columns], numbered) = match &scene.boxes.grid {
        Some(grid) => (grid.cells.iter().map(|&i| Some(scene.range.strength(scene.boxes.parts[i].score))).collect(), grid.size(), true),
        None => {
            let across = ACROSS.min(width / FIGURE).max(1) as f64;
            let [columns, rows] = scene.fitting(across, 2.0 * across);
            let heat = scene.coarse([columns, rows], Interpolation::Nearest)?;
            (heat.strengths.iter().map(|s| s.map(f64::from)).collect::<Vec<_>>(), [rows, columns], false)
        }
    };
    let labels = if numbered { (rows - 1).to_string().len() + 1 } else { 0 };
    // Neighbours share a figure where the terminal is narrow.
    let every = columns.div_ceil((width.saturating_sub(labels) / FIGURE).max(1)).max(1);
    let strongest = |row: usize, column: usize| -> Option<f64> {
        let block = (row..(row + every).min(rows)).flat_map(|r| (column..(column + every).min(columns)).map(move |c| (r, c)));
        block.filter_map(|(r, c)| strengths[r * columns + c]).max_by(|a, b| a.abs().total_cmp(&b.abs()))
    };
    let mut lines = Vec::new();
    if numbered {
        let heads: String = (0..columns).step_by(every).map(|c| format!(" {:>2}", c % 100)).collect();
        lines.push(paint.text(Tone::Quiet, &format!("{:labels$}{heads}", "")));
    }
    for row in (0..rows).step_by(every) {
        let label = if numbered { paint.text(Tone::Quiet, &format!("{row:>w$} ", w = labels - 1)) } else { String::new() };
        let cells: String = (0..columns).step_by(every).map(|c| figure(strongest(row, c), scene.sign, paint)).collect();
        lines.push(format!("{label}{cells}").trim_end().to_owned());
    }
    while lines.pop_if(|l| l.is_empty()).is_some() {}
    if every > 1 {
        lines.push(paint.text(Tone::Quiet, &format!("each figure is the strongest of {every} × {every}")));
    }
    Ok(lines.join("\n"))
}

fn figure(strength: Option<f64>, sign: Sign, paint: &Paint) -> String {
    let Some(strength) = strength else { return " ".repeat(FIGURE) };
    let text = match ((9.0 * strength).round() as i32, sign) {
        (0, _) => " ·".to_owned(),
        (n, Sign::Signed) => format!("{n:+}"),
        (n, Sign::Unsigned) => format!("{n:>2}"),
    };
    format!(" {}", paint.text(Tone::Score(strength), &text))
}

/// What the figures stand for.
pub(crate) fn key(scene: &Scene<'_>) -> String {
    let [low, high] = [scene.range.low, scene.range.high].map(|v| scene.number(v));
    match scene.sign {
        _ if scene.range.is_flat() => "nothing stands out".into(),
        Sign::Signed => format!("+9 is {high} and supports, -9 is {low} and opposes, · is near zero"),
        Sign::Unsigned => format!("9 is {high}, · is {low}; scores have no sign"),
    }
}

/// The scale in colours, its ends in numbers.
pub(crate) fn swatches(scene: &Scene<'_>, depth: ColourDepth) -> String {
    if scene.range.is_flat() {
        return "nothing stands out".into();
    }
    let [low, high] = [scene.range.low, scene.range.high].map(|v| scene.number(v));
    let signed = scene.sign == Sign::Signed;
    let swatch = |i: u32| {
        let share = f64::from(i) / 20.0;
        let colour = scene.look.colour(if signed { 2.0 * share - 1.0 } else { share });
        painted(Style::new().bg_color(Some(shown(colour, depth))), " ")
    };
    let swatches: String = (0..=20).map(swatch).collect();
    let (less, more) = if signed { ("opposes", "supports") } else { ("counts little", "much") };
    format!("{less} {low} {swatches} {high} {more}")
}

/// Whether there are enough colours for a photograph.
pub(crate) fn half_blocks(depth: ColourDepth) -> bool {
    matches!(depth, ColourDepth::Ansi256 | ColourDepth::TrueColour)
}

/// The picture and the picture with its map, at most so many columns and rows of characters.
pub(crate) fn small(scene: &Scene<'_>, columns: usize, rows: usize) -> Result<(RgbImage, RgbImage)> {
    let [width, height] = scene.fitting(columns as f64, 2.0 * rows as f64);
    let heat = scene.coarse([width, height.next_multiple_of(2)], Interpolation::Bilinear)?;
    Ok((resized(&scene.photo, &heat), scene.look.composed(&heat, &scene.photo)?))
}

/// Signs of the strongest parts, by column and row of characters.
fn tags(scene: &Scene<'_>, (supporting, opposing): &(Vec<Top>, Vec<Top>), drawn: &RgbImage) -> Vec<(usize, usize, char)> {
    let place = |top: &Top| {
        let Region { left, top: upper, width, height } = scene.boxes.parts[top.part].region;
        let at = |from: f64, length: f64, n: u32| (((from + 0.5 * length) * f64::from(n)) as usize).min(n as usize - 1);
        let mut signs = top.tag.chars();
        let sign = signs.next().filter(|_| signs.next().is_none())?;
        Some((at(left, width, drawn.width()), at(upper, height, drawn.height()) / 2, sign))
    };
    supporting.iter().chain(opposing).filter(|t| t.marked).filter_map(place).collect()
}

/// A line for every two rows of pixels; an even number of them.
pub(crate) fn halves(pixels: &RgbImage, tags: &[(usize, usize, char)], depth: ColourDepth) -> Vec<String> {
    let line = |row: u32| {
        let cell = |column: u32| -> (Style, char) {
            let (upper, lower) = (pixels.get_pixel(column, 2 * row).0, pixels.get_pixel(column, 2 * row + 1).0);
            match tags.iter().find(|t| (t.0, t.1) == (column as usize, row as usize)) {
                Some(&(_, _, sign)) => {
                    let mean: [u8; 3] = std::array::from_fn(|i| upper[i].midpoint(lower[i]));
                    let ink = if luma(mean) > 140.0 { [0; 3] } else { [255; 3] };
                    (Style::new().bold().fg_color(Some(shown(ink, depth))).bg_color(Some(shown(mean, depth))), sign)
                }
                None => (Style::new().fg_color(Some(shown(upper, depth))).bg_color(Some(shown(lower, depth))), '▀'),
            }
        };
        let cells: Vec<(Style, char)> = (0..pixels.width()).map(cell).collect();
        cells.chunk_by(|a, b| a.0 == b.0).map(|c| painted(c[0].0, &c.iter().map(|c| c.1).collect::<String>())).collect()
    };
    (0..pixels.height() / 2).map(line).collect()
}

fn painted(style: Style, text: &str) -> String {
    format!("{}{text}{}", style.render(), style.render_reset())
}

fn luma([r, g, b]: [u8; 3]) -> f64 {
    0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
}

/// A colour as the terminal has it.
fn shown(rgb: [u8; 3], depth: ColourDepth) -> Color {
    match depth {
        ColourDepth::Ansi256 => Color::Ansi256(Ansi256Color(nearest(rgb))),
        _ => Color::Rgb(RgbColor(rgb[0], rgb[1], rgb[2])),
    }
}

/// The nearest of the 6×6×6 cube and the 24 greys after it.
fn nearest(rgb: [u8; 3]) -> u8 {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let step = |v: u8| (0..6u8).min_by_key(|&i| STEPS[usize::from(i)].abs_diff(v)).unwrap_or(0);
    let far = |c: [u8; 3]| -> u32 { (0..3).map(|i| u32::from(c[i].abs_diff(rgb[i])).pow(2)).sum() };
    let [r, g, b] = rgb.map(step);
    let cube = [r, g, b].map(|i| STEPS[usize::from(i)]);
    let grey = (0..24u8).min_by_key(|&i| far([8 + 10 * i; 3])).unwrap_or(0);
    if far([8 + 10 * grey; 3]) < far(cube) { 232 + grey } else { 16 + 36 * r + 6 * g + b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_the_cube_and_greys_are_found_again() {
        assert_eq!(nearest([255, 0, 0]), 196);
        assert_eq!(nearest([95, 135, 175]), 67);
        assert_eq!(nearest([0, 0, 0]), 16);
        assert_eq!(nearest([118, 118, 118]), 243);
    }

    #[test]
    fn equal_neighbours_share_their_escapes_and_a_sign_stands_on_the_mean() {
        let pixels = RgbImage::from_fn(3, 2, |_, y| image::Rgb([if y == 0 { 10 } else { 20 }; 3]));
        let plain = "\u{1b}[38;2;10;10;10m\u{1b}[48;2;20;20;20m▀▀▀\u{1b}[0m";
        assert_eq!(halves(&pixels, &[], ColourDepth::TrueColour), [plain]);
        let tagged = halves(&pixels, &[(1, 0, '7')], ColourDepth::TrueColour);
        assert!(tagged[0].contains("\u{1b}[48;2;15;15;15m7\u{1b}[0m"), "{tagged:?}");
    }
}

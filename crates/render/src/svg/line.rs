//! One line of the picture: words in the order in which they are read, boxes behind them.
//!
//! A small part of the Unicode bidirectional algorithm, at the level of words: the paragraph's first strong character gives its direction,
//! and neighbouring words of the other direction change places. Enough for words to stand in their order; inside a word the viewer does it all.

use super::{COLUMN, Look, MARGIN, escape, put};
use crate::cells::Cell;
use crate::scale::{Palette, level};

/// Height of a box, and of the line of writing within it.
const BOX: f64 = 24.0;
const BASE: f64 = 17.0;

/// Neighbouring cells that are drawn as one: a word, or spaces, or a mark of ours.
struct Word<'a> {
    cells: &'a [Cell<Look>],
    /// Where it stands among the others; signs without a direction take the paragraph's. `None` for spaces.
    rtl: Option<bool>,
    /// Whether its own characters run from right to left.
    inside_rtl: bool,
    width: f64,
}

/// Whether a paragraph runs from right to left.
pub(super) fn is_rtl(cells: &[Cell<Look>]) -> bool {
    cells.iter().flat_map(|c| c.text.chars()).find_map(direction).unwrap_or(false)
}

/// The line's elements. `title` writes the score of a strength.
pub(super) fn draw(cells: &[Cell<Look>], rtl: bool, columns: usize, y: f64, palette: &Palette, title: &impl Fn(f64) -> String) -> String {
    let mut words: Vec<Word<'_>> =
        cells.chunk_by(|a, b| a.is_space() == b.is_space() && a.look.quiet == b.look.quiet).map(|cells| Word::new(cells, rtl)).collect();
    reorder(&mut words, rtl);
    let total: f64 = words.iter().map(|w| w.width).sum();
    let mut x = if rtl { MARGIN + columns as f64 * COLUMN - total } else { MARGIN };
    let (mut boxes, mut texts) = (Vec::<(Look, f64, f64)>::new(), String::new());
    for word in &words {
        let mut at = x;
        for cell in word.visual() {
            let end = at + width(cell);
            match boxes.last_mut() {
                Some((look, _, last)) if *look == cell.look && (*last - at).abs() < 0.01 => *last = end,
                _ => boxes.push((cell.look, at, end)),
            }
            at = end;
        }
        texts.push_str(&word.text(x, y));
        x += word.width;
    }
    let mut out = String::new();
    for (look, start, end) in boxes {
        let Some(strength) = look.strength else { continue };
        let Some(fill) = palette.fill(strength) else { continue };
        put(
            &mut out,
            format_args!(
                "<rect x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{BOX}\" rx=\"3\" fill=\"#{}\"><title>{}</title></rect>\n",
                round(start),
                round(end - start),
                fill.hex(),
                title(strength)
            ),
        );
        out.push_str(&underline(start, y + BOX - 1.5, end - start, strength));
    }
    out + &texts
}

/// The sign without colour: a solid line supports, a dotted one opposes; thicker is stronger.
pub(super) fn underline(x: f64, y: f64, width: f64, strength: f64) -> String {
    let steps = level(strength);
    if steps == 0 {
        return String::new();
    }
    let thickness = 0.5 + 0.5 * f64::from(steps.abs());
    let dots = if steps < 0 { " stroke-dasharray=\"2 3\"" } else { "" };
    format!("<path class=\"u\" d=\"M{} {y}h{}\" stroke-width=\"{thickness}\"{dots}/>\n", round(x + 1.0), round((width - 2.0).max(1.0)))
}

impl<'a> Word<'a> {
    fn new(cells: &'a [Cell<Look>], paragraph_rtl: bool) -> Self {
        let strong = cells.iter().flat_map(|c| c.text.chars()).find_map(direction);
        let rtl = (!cells[0].is_space()).then(|| strong.unwrap_or(paragraph_rtl));
        Word { cells, rtl, inside_rtl: strong == Some(true), width: cells.iter().map(width).sum() }
    }

    /// Cells from left to right.
    fn visual(&self) -> Box<dyn Iterator<Item = &'a Cell<Look>> + 'a> {
        if self.inside_rtl { Box::new(self.cells.iter().rev()) } else { Box::new(self.cells.iter()) }
    }

    fn text(&self, x: f64, y: f64) -> String {
        if self.rtl.is_none() || self.width == 0.0 {
            return String::new();
        }
        let text: String = self.cells.iter().map(|c| c.text.as_str()).collect();
        let class = if self.cells[0].look.quiet { "w e" } else { "w" };
        format!(
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\">{}</text>\n",
            round(x),
            y + BASE,
            round(self.width),
            escape(&text)
        )
    }
}

/// From the order of reading to the order from left to right.
fn reorder(words: &mut [Word<'_>], rtl: bool) {
    if rtl {
        words.reverse();
    }
    let foreign = |w: &Word<'_>| w.rtl == Some(!rtl);
    let mut at = 0;
    while at < words.len() {
        if !foreign(&words[at]) {
            at += 1;
            continue;
        }
        let run = words[at..].iter().take_while(|w| w.rtl.is_none() || foreign(w)).count();
        let end = words[at..at + run].iter().rposition(foreign).map_or(at, |i| at + i) + 1;
        words[at..end].reverse();
        at = end;
    }
}

/// Pixels, estimated: letters of right-to-left scripts are narrower than a column.
fn width(cell: &Cell<Look>) -> f64 {
    let narrow = cell.text.chars().find_map(direction) == Some(true);
    cell.columns as f64 * if narrow { 7.5 } else { COLUMN }
}

/// `Some(true)` for a letter of a script that runs from right to left, `Some(false)` for another letter, `None` for digits and signs.
fn direction(c: char) -> Option<bool> {
    let rtl = matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}');
    c.is_alphabetic().then_some(rtl)
}

fn round(v: f64) -> f64 {
    (v * 100.0).round() / 100.0
}

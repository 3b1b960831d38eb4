//! Tones, and how they look with the colours that a terminal has.

use anstyle::{Ansi256Color, AnsiColor, Color, RgbColor, Style};

use pellucid_core::Sign;

use super::Cell;
use crate::scale::{DARK, LIGHT, Palette, Rgb, level};
use crate::{ColourDepth, Options, Theme};

/// What a piece of text is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tone {
    Plain,
    /// Headings.
    Strong,
    /// Secondary.
    Quiet,
    /// Prompt text with a strength, −1…1.
    Score(f64),
    /// Words of the legend.
    Supporting,
    Opposing,
    SupportingBar,
    OpposingBar,
}

pub(crate) struct Paint {
    pub(crate) depth: ColourDepth,
    light: bool,
    palette: Palette,
    sign: Sign,
}

impl Paint {
    pub(crate) fn new(options: &Options, sign: Sign) -> Self {
        let light = options.theme == Theme::Light;
        Paint { depth: options.colour, light, palette: if light { LIGHT } else { DARK }.of(sign), sign }
    }

    pub(crate) fn text(&self, tone: Tone, text: &str) -> String {
        let style = self.style(tone);
        format!("{}{text}{}", style.render(), style.render_reset())
    }

    /// Neighbours of one tone share their escape sequences; a line never leaves a colour on.
    pub(crate) fn line(&self, cells: &[Cell]) -> String {
        cells
            .chunk_by(|a, b| a.look == b.look)
            .map(|c| self.text(c[0].look, &c.iter().map(|c| c.text.as_str()).collect::<String>()))
            .collect()
    }

    fn style(&self, tone: Tone) -> Style {
        let style = Style::new();
        if self.depth == ColourDepth::None {
            return style;
        }
        match tone {
            Tone::Plain => style,
            Tone::Strong | Tone::Supporting => style.bold(),
            Tone::Quiet => style.dimmed(),
            Tone::Opposing => style.underline(),
            Tone::SupportingBar => style.fg_color(Some(self.bar(1.0))),
            Tone::OpposingBar => style.fg_color(Some(self.bar(-1.0))),
            Tone::Score(strength) => self.score(strength),
        }
    }

    /// Slight scores leave the terminal's own background alone: it may be darker or lighter than the palette thinks.
    fn score(&self, strength: f64) -> Style {
        let steps = level(strength);
        if steps == 0 {
            return Style::new();
        }
        let (ink, fill) = match self.depth {
            ColourDepth::Ansi16 if self.sign == Sign::Unsigned => sixteen_shares(steps),
            ColourDepth::Ansi16 => sixteen(steps),
            ColourDepth::Ansi256 => self.cube(strength),
            _ => (rgb(self.palette.ink), self.palette.fill(strength).map(rgb)),
        };
        let style = Style::new().fg_color(Some(ink)).bg_color(fill);
        if steps > 0 { style.bold() } else { style.underline() }
    }

    /// Hand-picked steps: the cube's nearest neighbours of a smooth scale have other hues.
    fn cube(&self, strength: f64) -> (Color, Option<Color>) {
        let (ramps, ink) = if self.light { (LIGHT_CUBE, 16) } else { (DARK_CUBE, 231) };
        let step = ((strength.abs() * 5.0) as usize).min(4);
        let colour = |i: u8| Color::Ansi256(Ansi256Color(i));
        let ramp = if self.sign == Sign::Unsigned { 2 } else { usize::from(strength < 0.0) };
        (colour(ink), Some(colour(ramps[ramp][step])))
    }

    /// Bars stand on the terminal's own background: the middle of both themes' colours shows on either.
    fn bar(&self, sign: f64) -> Color {
        let middle = if sign > 0.0 { Rgb(0x3f, 0x86, 0xd8) } else { Rgb(0xd6, 0x62, 0x48) };
        match self.depth {
            ColourDepth::Ansi16 if self.sign == Sign::Unsigned => Color::Ansi(AnsiColor::Magenta),
            ColourDepth::Ansi256 if self.sign == Sign::Unsigned => Color::Ansi256(Ansi256Color(134)),
            _ if self.sign == Sign::Unsigned => rgb(Rgb(0x93, 0x6c, 0xd2)),
            ColourDepth::Ansi16 => Color::Ansi(if sign > 0.0 { AnsiColor::Blue } else { AnsiColor::Red }),
            ColourDepth::Ansi256 => Color::Ansi256(Ansi256Color(if sign > 0.0 { 68 } else { 167 })),
            _ => rgb(middle),
        }
    }
}

/// Supporting, opposing and without a sign, from slight to strong. Indices of the 6×6×6 cube, whose steps are 0, 95, 135, 175, 215, 255.
const LIGHT_CUBE: [[u8; 5]; 3] = [[189, 153, 117, 111, 75], [224, 217, 216, 210, 209], [189, 183, 182, 177, 141]];
const DARK_CUBE: [[u8; 5]; 3] = [[17, 18, 19, 25, 26], [52, 52, 88, 88, 124], [53, 54, 55, 91, 92]];

/// Ink and background out of the sixteen.
fn sixteen(level: i32) -> (Color, Option<Color>) {
    use AnsiColor::{Black, Blue, BrightBlue, BrightRed, BrightWhite, Red};
    let (ink, fill) = match level {
        3.. => (BrightWhite, Some(Blue)),
        2 => (Black, Some(BrightBlue)),
        0..2 => (BrightBlue, None),
        -1 => (BrightRed, None),
        -2 => (Black, Some(BrightRed)),
        ..-2 => (BrightWhite, Some(Red)),
    };
    (Color::Ansi(ink), fill.map(Color::Ansi))
}

/// The same for scores without a sign.
fn sixteen_shares(level: i32) -> (Color, Option<Color>) {
    use AnsiColor::{Black, BrightMagenta, BrightWhite, Magenta};
    let (ink, fill) = match level {
        3.. => (BrightWhite, Some(Magenta)),
        2 => (Black, Some(BrightMagenta)),
        ..2 => (BrightMagenta, None),
    };
    (Color::Ansi(ink), fill.map(Color::Ansi))
}

fn rgb(Rgb(r, g, b): Rgb) -> Color {
    Color::Rgb(RgbColor(r, g, b))
}

/// A bar by eighths of a column; what opposes is hatched, so that the sign is seen without colour. Never empty unless the strength is 0.
pub(crate) fn bar(strength: f64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let length = strength.abs() * columns as f64;
    if strength < 0.0 {
        return "▒".repeat((length.round() as usize).max(1));
    }
    let eighths = (length * 8.0).round() as usize;
    let eighths = if strength > 0.0 { eighths.max(1) } else { 0 };
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::contrast;

    fn seen(index: u8) -> Rgb {
        const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
        let i = usize::from(index - 16);
        Rgb(STEPS[i / 36], STEPS[i / 6 % 6], STEPS[i % 6])
    }

    #[test]
    fn the_ink_is_legible_in_256_colours_too() {
        for (ramps, ink) in [(LIGHT_CUBE, 16), (DARK_CUBE, 231)] {
            for fill in ramps.concat() {
                assert!(contrast(seen(ink), seen(fill)) >= 4.5, "{fill}");
            }
        }
    }

    #[test]
    fn bars_are_as_long_as_the_strength_and_tell_their_sign() {
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(0.5, 3), "█▌");
        assert_eq!(bar(-0.5, 4), "▒▒");
        assert_eq!(bar(1e-9, 4), "▏");
        assert_eq!(bar(0.0, 4), "");
    }
}

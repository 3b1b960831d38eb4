//! From scores to colours and numbers.
//!
//! The scale is diverging and symmetric about zero: a score divided by the largest magnitude in view gives a *strength* in −1…1; blue speaks
//! for the target, red against it (told apart with every common colour vision deficiency), nothing is the paper's own colour. Scores without a
//! direction run from the paper to violet: they do not speak for or against. Between the ends the colour moves on a straight line in Oklab,
//! where equal steps look equal. The ends are chosen so that the ink is legible on every one of them.

use pellucid_core::Sign;

/// Below this strength a score is drawn as nothing.
const NEUTRAL: f64 = 0.02;

/// An sRGB colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rgb(pub(crate) u8, pub(crate) u8, pub(crate) u8);

/// The colours of one theme.
#[derive(Clone, Copy)]
pub(crate) struct Palette {
    pub(crate) paper: Rgb,
    pub(crate) ink: Rgb,
    /// Secondary text.
    pub(crate) quiet: Rgb,
    /// Hairlines.
    pub(crate) line: Rgb,
    /// Strength 1: speaks for the target.
    pub(crate) supporting: Rgb,
    /// Strength −1: speaks against it.
    pub(crate) opposing: Rgb,
    /// Strength 1 of scores without a direction.
    pub(crate) share: Rgb,
}

pub(crate) const LIGHT: Palette = Palette {
    paper: Rgb(0xff, 0xff, 0xff),
    ink: Rgb(0x1a, 0x1d, 0x23),
    quiet: Rgb(0x5c, 0x63, 0x70),
    line: Rgb(0xdf, 0xe2, 0xe7),
    supporting: Rgb(0x62, 0xab, 0xf0),
    opposing: Rgb(0xf2, 0x89, 0x71),
    share: Rgb(0xb9, 0x97, 0xec),
};

pub(crate) const DARK: Palette = Palette {
    paper: Rgb(0x14, 0x16, 0x1a),
    ink: Rgb(0xec, 0xee, 0xf1),
    quiet: Rgb(0x9a, 0xa1, 0xad),
    line: Rgb(0x2e, 0x32, 0x39),
    supporting: Rgb(0x1c, 0x60, 0xb4),
    opposing: Rgb(0xa9, 0x40, 0x2c),
    share: Rgb(0x70, 0x48, 0xb0),
};

/// A score as a share of the largest magnitude: −1…1, and 0 if everything is 0.
pub(crate) fn strength(score: f64, max: f64) -> f64 {
    if max > 0.0 { (score / max).clamp(-1.0, 1.0) } else { 0.0 }
}

/// The strength in words that need no colour: 3 strong, 2 clear, 1 slight, 0 nothing, negative for opposing.
pub(crate) fn level(strength: f64) -> i32 {
    let steps = match strength.abs() {
        s if s >= 2.0 / 3.0 => 3,
        s if s >= 1.0 / 3.0 => 2,
        s if s >= 0.1 => 1,
        _ => 0,
    };
    if strength < 0.0 { -steps } else { steps }
}

impl Palette {
    /// The same for scores with or without a direction: these have no opposing end.
    pub(crate) fn of(&self, sign: Sign) -> Self {
        match sign {
            Sign::Signed => *self,
            Sign::Unsigned => Palette { supporting: self.share, ..*self },
        }
    }

    /// The background for a strength; `None` where the paper shows through.
    pub(crate) fn fill(&self, strength: f64) -> Option<Rgb> {
        let end = if strength > 0.0 { self.supporting } else { self.opposing };
        (strength.abs() >= NEUTRAL).then(|| mix(self.paper, end, strength.abs()))
    }
}

impl Rgb {
    /// `#rrggbb` without the `#`, upper case.
    pub(crate) fn hex(self) -> String {
        format!("{:02X}{:02X}{:02X}", self.0, self.1, self.2)
    }

    /// Relative luminance, 0 to 1 (WCAG 2).
    #[cfg(test)]
    pub(crate) fn luminance(self) -> f64 {
        let [r, g, b] = linear(self);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }
}

/// Contrast ratio of two colours, 1 to 21 (WCAG 2); text wants at least 4.5.
#[cfg(test)]
pub(crate) fn contrast(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (a.luminance(), b.luminance());
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn mix(from: Rgb, to: Rgb, share: f64) -> Rgb {
    let (a, b) = (oklab(linear(from)), oklab(linear(to)));
    srgb(oklab_inverse([0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * share)))
}

pub(crate) fn linear(Rgb(r, g, b): Rgb) -> [f64; 3] {
    [r, g, b].map(|v| f64::from(v) / 255.0).map(|v| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) })
}

pub(crate) fn srgb(linear: [f64; 3]) -> Rgb {
    let curve = |v: f64| if v <= 0.0031308 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
    // A cast from a float saturates.
    let [r, g, b] = linear.map(|v| (curve(v) * 255.0).round() as u8);
    Rgb(r, g, b)
}

/// Linear sRGB to Oklab: Ottosson (2020), the published matrices.
pub(crate) fn oklab([r, g, b]: [f64; 3]) -> [f64; 3] {
    let l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b).cbrt();
    let m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b).cbrt();
    let s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b).cbrt();
    [
        0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
        1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
        0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
    ]
}

pub(crate) fn oklab_inverse([lightness, a, b]: [f64; 3]) -> [f64; 3] {
    let l = (lightness + 0.3963377774 * a + 0.2158037573 * b).powi(3);
    let m = (lightness - 0.1055613458 * a - 0.0638541728 * b).powi(3);
    let s = (lightness - 0.0894841775 * a - 1.2914855480 * b).powi(3);
    [
        4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
        -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
        -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s,
    ]
}

/// How to write numbers of one scale: three decimals where they tell something, else powers of ten.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Numbers {
    Decimals(usize),
    Scientific,
}

impl Numbers {
    /// For numbers of at most this magnitude.
    pub(crate) fn up_to(max: f64) -> Self {
        match max {
            0.0 => Numbers::Decimals(3),
            m if m < 0.01 => Numbers::Scientific,
            m if m < 100.0 => Numbers::Decimals(3),
            m if m < 1e6 => Numbers::Decimals(1),
            _ => Numbers::Scientific,
        }
    }

    /// With its sign where scores have one.
    pub(crate) fn of(self, sign: Sign, value: f64) -> String {
        let text = self.signed(value);
        if sign == Sign::Unsigned { text.trim_start_matches('+').to_owned() } else { text }
    }

    /// With its sign, except for what rounds to zero.
    pub(crate) fn signed(self, value: f64) -> String {
        let text = match self {
            Numbers::Decimals(n) => format!("{value:+.n$}"),
            Numbers::Scientific => format!("{value:+.2e}"),
        };
        let zero = text.split('e').next().is_some_and(|digits| !digits.contains(|c: char| ('1'..='9').contains(&c)));
        if zero { text[1..].to_owned() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ink_is_legible_on_every_colour_of_both_themes() {
        for palette in [LIGHT, DARK, LIGHT.of(Sign::Unsigned), DARK.of(Sign::Unsigned)] {
            assert!(contrast(palette.quiet, palette.paper) >= 4.5);
            for step in -100..=100 {
                let fill = palette.fill(f64::from(step) / 100.0).unwrap_or(palette.paper);
                assert!(contrast(palette.ink, fill) >= 4.5, "{step}: {fill:?} {}", contrast(palette.ink, fill));
            }
        }
    }

    #[test]
    fn the_ends_of_the_scale_are_the_palette_and_the_middle_is_nothing() {
        assert_eq!(LIGHT.fill(1.0), Some(LIGHT.supporting));
        assert_eq!(DARK.fill(-1.0), Some(DARK.opposing));
        assert_eq!(LIGHT.fill(0.0), None);
    }

    #[test]
    fn a_stronger_score_stands_out_more_from_the_paper() {
        for palette in [LIGHT, DARK, LIGHT.of(Sign::Unsigned), DARK.of(Sign::Unsigned)] {
            for sign in [-1.0, 1.0] {
                let seen: Vec<f64> = (1..=10).map(|i| contrast(palette.paper, palette.fill(sign * f64::from(i) / 10.0).unwrap())).collect();
                assert!(seen.is_sorted(), "{seen:?}");
            }
        }
    }

    #[test]
    fn a_map_of_zeros_is_neutral() {
        assert_eq!(strength(0.0, 0.0), 0.0);
        assert_eq!(level(strength(0.0, 0.0)), 0);
        assert_eq!(Numbers::up_to(0.0).signed(-0.0), "0.000");
    }

    #[test]
    fn levels_are_thirds_of_the_largest_magnitude() {
        assert_eq!([1.0, 0.7, 0.5, 0.2, 0.05, 0.0, -0.05, -0.2, -0.5, -1.0].map(level), [3, 3, 2, 1, 0, 0, 0, -1, -2, -3]);
    }

    #[test]
    fn numbers_keep_their_digits_where_they_are_small_or_large() {
        let written = |v: f64| Numbers::up_to(v.abs()).signed(v);
        assert_eq!(written(1.23456), "+1.235");
        assert_eq!(written(-0.000123), "-1.23e-4");
        assert_eq!(written(1234.56), "+1234.6");
        assert_eq!(written(1e30), "+1.00e30");
        assert_eq!(Numbers::up_to(1.0).signed(-0.0001), "0.000");
    }
}

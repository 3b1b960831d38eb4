//! Colour maps: 256 colours each.
//!
//! `ember` and `red-blue` are our own: a cubic B-spline through a few colours in Oklab, cut into pieces of equal length there, so that equal
//! steps of a score look equally large. `ember` grows lighter all the way and so keeps its order in grey and for every colour vision;
//! `red-blue` is lightest in the middle, at zero, and its ends are told apart with the common colour vision deficiencies. `jet` is the table of OpenCV,
//! which the published heat maps use: straight lines between a few colours, brightest in the middle of the scale, where nothing is.

use std::sync::OnceLock;

use pellucid_core::Sign;

use crate::scale::{Rgb, linear, oklab, oklab_inverse, srgb};

/// Red, green, blue of 256 steps, from the lower end of the scale to the upper.
pub type ColourTable = [[u8; 3]; 256];

/// A scale of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourMap {
    /// From black by violet and orange to pale yellow: for scores without a sign.
    Ember,
    /// From red (against) by white (zero) to blue (for): for scores with a sign.
    RedBlue,
    /// The rainbow of the published heat maps. It shows edges where there are none.
    Jet,
}

impl ColourMap {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Ember, Self::RedBlue, Self::Jet];

    /// Its name on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Self::Ember => "ember",
            Self::RedBlue => "red-blue",
            Self::Jet => "jet",
        }
    }

    /// The one with this name, letter case aside.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.id().eq_ignore_ascii_case(name))
    }

    /// What is drawn with where none is asked for.
    pub(crate) fn of(sign: Sign) -> Self {
        if sign == Sign::Signed { Self::RedBlue } else { Self::Ember }
    }

    /// Its colours.
    pub fn table(self) -> &'static ColourTable {
        static EMBER: OnceLock<ColourTable> = OnceLock::new();
        static RED_BLUE: OnceLock<ColourTable> = OnceLock::new();
        static JET: OnceLock<ColourTable> = OnceLock::new();
        match self {
            Self::Ember => EMBER.get_or_init(|| spline::<256>(&EMBER_KEYS)),
            Self::RedBlue => RED_BLUE.get_or_init(red_blue),
            Self::Jet => JET.get_or_init(|| std::array::from_fn(jet)),
        }
    }
}

const EMBER_KEYS: [Rgb; 7] = [
    Rgb(0x0b, 0x07, 0x22),
    Rgb(0x3a, 0x0f, 0x6e),
    Rgb(0x9a, 0x15, 0x80),
    Rgb(0xdd, 0x33, 0x58),
    Rgb(0xf5, 0x76, 0x1a),
    Rgb(0xfb, 0xbd, 0x2e),
    Rgb(0xfd, 0xf8, 0xc0),
];
const BLUE_KEYS: [Rgb; 5] =
    [Rgb(0xf6, 0xf5, 0xf2), Rgb(0xb5, 0xd0, 0xf2), Rgb(0x5a, 0x98, 0xea), Rgb(0x0f, 0x5c, 0xc0), Rgb(0x0a, 0x35, 0x76)];
const RED_KEYS: [Rgb; 5] =
    [Rgb(0xf6, 0xf5, 0xf2), Rgb(0xf6, 0xc4, 0xb0), Rgb(0xea, 0x7f, 0x58), Rgb(0xc2, 0x3d, 0x14), Rgb(0x6e, 0x18, 0x04)];

fn red_blue() -> ColourTable {
    let (red, blue) = (spline::<128>(&RED_KEYS), spline::<128>(&BLUE_KEYS));
    std::array::from_fn(|i| if i < 128 { red[127 - i] } else { blue[i - 128] })
}

/// Straight lines as OpenCV rounds them.
fn jet(i: usize) -> [u8; 3] {
    let (r, g, b) = match i {
        ..=31 => (0, 0, 128 + 4 * i),
        32 => (0, 0, 255),
        33..=95 => (0, 4 * (i - 32), 255),
        96..=158 => (2 + 4 * (i - 96), 255, 254 - 4 * (i - 96)),
        159 => (254, 255, 1),
        160..=223 => (255, 252 - 4 * (i - 160), 0),
        _ => (252 - 4 * (i - 224), 0, 0),
    };
    [r, g, b].map(|v| v as u8)
}

/// `N` colours on the uniform cubic B-spline of the keys in Oklab, equally far from one another along it.
fn spline<const N: usize>(keys: &[Rgb]) -> [[u8; 3]; N] {
    /// Pieces of the curve between two keys.
    const FINE: usize = 400;
    let mut points: Vec<[f64; 3]> = keys.iter().map(|&k| oklab(linear(k))).collect();
    let n = points.len();
    // An end mirrored in itself: there the curve passes through the key.
    let beyond = |end: [f64; 3], inner: [f64; 3]| std::array::from_fn(|j| 2.0 * end[j] - inner[j]);
    let (first, last) = (beyond(points[0], points[1]), beyond(points[n - 1], points[n - 2]));
    points.insert(0, first);
    points.push(last);
    let at = |k: &[[f64; 3]], t: f64| -> [f64; 3] {
        let weights = [(1.0 - t).powi(3), 3.0 * t * t * t - 6.0 * t * t + 4.0, -3.0 * t * t * t + 3.0 * t * t + 3.0 * t + 1.0, t * t * t];
        std::array::from_fn(|j| (0..4).map(|i| weights[i] * k[i][j]).sum::<f64>() / 6.0)
    };
    let mut curve: Vec<[f64; 3]> = points.windows(4).flat_map(|k| (0..FINE).map(move |i| at(k, i as f64 / FINE as f64))).collect();
    curve.push(at(&points[n - 2..], 1.0));
    let mut length = vec![0.0];
    for w in curve.windows(2) {
        length.push(length[length.len() - 1] + distance(w[0], w[1]));
    }
    let total = length[length.len() - 1];
    std::array::from_fn(|i| {
        let want = total * i as f64 / (N - 1) as f64;
        let j = length.partition_point(|&l| l < want).min(curve.len() - 1);
        let Rgb(r, g, b) = srgb(oklab_inverse(curve[j]));
        [r, g, b]
    })
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|j| (a[j] - b[j]).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(c: [u8; 3]) -> [f64; 3] {
        oklab(linear(Rgb(c[0], c[1], c[2])))
    }

    #[test]
    fn jet_has_the_colours_of_the_reference_at_its_corners() {
        let jet = ColourMap::Jet.table();
        for (i, want) in [
            (0, [0, 0, 128]),
            (31, [0, 0, 252]),
            (32, [0, 0, 255]),
            (33, [0, 4, 255]),
            (95, [0, 252, 255]),
            (96, [2, 255, 254]),
            (158, [250, 255, 6]),
            (159, [254, 255, 1]),
            (160, [255, 252, 0]),
            (223, [255, 0, 0]),
            (224, [252, 0, 0]),
            (255, [128, 0, 0]),
        ] {
            assert_eq!(jet[i], want, "{i}");
        }
    }

    #[test]
    fn ember_grows_lighter_in_equal_steps() {
        let colours: Vec<[f64; 3]> = ColourMap::Ember.table().iter().map(|&c| seen(c)).collect();
        assert!(colours.windows(8).all(|w| w[7][0] > w[0][0]), "lightness grows");
        // Over 16 steps the rounding to 8 bits no longer shows.
        let steps: Vec<f64> = colours.windows(17).map(|w| distance(w[0], w[16])).collect();
        let (least, most) = steps.iter().fold((f64::MAX, 0.0f64), |(l, m), s| (l.min(*s), m.max(*s)));
        assert!(most / least < 1.15, "{least} to {most}");
    }

    #[test]
    fn red_blue_is_lightest_and_grey_in_the_middle_and_its_halves_are_alike() {
        let colours: Vec<[f64; 3]> = ColourMap::RedBlue.table().iter().map(|&c| seen(c)).collect();
        assert!(colours[127][1].hypot(colours[127][2]) < 0.01);
        assert!(colours[..120].windows(8).all(|w| w[7][0] > w[0][0]) && colours[136..].windows(8).all(|w| w[7][0] < w[0][0]));
        for i in 0..128 {
            assert!((colours[i][0] - colours[255 - i][0]).abs() < 0.06, "{i}: the same lightness at the same magnitude");
        }
    }

    #[test]
    fn the_ends_of_red_blue_differ_without_red_and_green() {
        // Red–green blindness leaves the axis from blue to yellow, Oklab's b.
        let table = ColourMap::RedBlue.table();
        let (against, supports) = (seen(table[40]), seen(table[215]));
        assert!(against[2] > 0.05 && supports[2] < -0.08, "{against:?} {supports:?}");
    }

    #[test]
    fn names_lead_back_to_their_maps() {
        for map in ColourMap::ALL {
            assert_eq!(ColourMap::named(&map.id().to_uppercase()), Some(map));
        }
        assert_eq!(ColourMap::named("rainbow"), None);
    }
}

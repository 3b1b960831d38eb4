//! Heat maps over pictures: from a grid of scores to coloured pixels.
//!
//! The public functions here are plain ones over plain numbers, each the published operation of its name: `bilinear` upsampling with half-pixel
//! centres and clamped edges, `min_max` scaling, the colour map `jet`, Otsu's threshold, the overlay. What the forms draw is made of them
//! in `scene`: scores become strengths on the whole picture, strengths become colours.

mod blend;
pub(crate) mod boxes;
mod colour_map;
pub(crate) mod decode;
pub(crate) mod heat;
pub(crate) mod layer;
pub(crate) mod names;
mod otsu;
pub(crate) mod range;
mod resample;
pub(crate) mod scene;

pub use blend::{overlay, overlay_as_published};
pub use colour_map::{ColourMap, ColourTable};
pub use otsu::{above, otsu};
pub use range::{between, min_max};
pub use resample::{bilinear, nearest};

/// How a map of few scores becomes a map of many pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// In between the centres of neighbouring patches, level beyond the outermost ones. Boxes that are no grid are painted as they are.
    #[default]
    Bilinear,
    /// Every pixel has the score of the patch that it lies in.
    Nearest,
}

/// Which scores have the colours at the two ends of the scale. Scores with a sign keep zero in the middle: the further end counts for both.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum MapScale {
    /// Of patches as [`MapScale::MinMax`]. Of single pixels the 99.5th percentile of the magnitudes: a few stray ones would leave all others pale.
    #[default]
    Auto,
    /// The smallest and the largest score. A map whose scores are all the same is zero everywhere.
    MinMax,
    /// These; scores beyond them have the colours of the ends.
    Fixed {
        /// Lower end.
        low: f64,
        /// Upper end, more than `low`.
        high: f64,
    },
}

/// How a map is laid over its picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// The weaker a score, the more the picture shows through: what does not count looks as it always did.
    #[default]
    Fading,
    /// With the same opacity everywhere.
    Even,
    /// Added, divided by the largest sum, red and blue of the picture exchanged: what the published code of Chefer et al. (2021) draws.
    /// It takes no opacity.
    AsPublished,
}

/// Which part of a map is shown. Of scores with a sign, magnitudes are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mask {
    /// All of it.
    #[default]
    None,
    /// Where it is more than this share of the scale, 0 to 1.
    Threshold(f64),
    /// Where it is more than the threshold of Otsu (1979), which divides its pixels into two classes that differ most.
    Otsu,
}

//! A picture with the scores that lie over it, and how they are to look: what every form draws from.

use image::RgbImage;
use pellucid_core::{Error, ImageRecord, Region, Result, Sign};

use super::boxes::Boxes;
use super::decode::decode;
use super::heat::{Heat, Source};
use super::layer::Look;
use super::range::Range;
use super::{ColourMap, Interpolation, MapScale, Mask, Overlay};
use crate::Options;
use crate::scale::Numbers;
use crate::view::View;

/// A picture and its scores.
pub(crate) struct Scene<'a> {
    pub(crate) view: View<'a>,
    pub(crate) image: &'a ImageRecord,
    pub(crate) photo: RgbImage,
    pub(crate) boxes: Boxes,
    /// Of patches, tiles or boxes: lists, hover values.
    pub(crate) range: Range,
    /// Of what is drawn: single pixels where there are any.
    pub(crate) drawn: Range,
    pub(crate) sign: Sign,
    pub(crate) look: Look,
    pub(crate) numbers: Numbers,
    interpolation: Interpolation,
    scale: MapScale,
}

/// What a form draws of a scene.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shown {
    /// Many pixels, single ones where they have scores.
    Fine,
    /// Few pixels, of patches, tiles or boxes.
    Coarse,
    /// A figure for each of these.
    Figures,
}

impl<'a> Scene<'a> {
    /// `None` for an attribution without a picture. It must have been checked.
    ///
    /// # Errors
    /// The picture does not decode, or an option is out of its range.
    pub(crate) fn of(view: View<'a>, options: &Options) -> Result<Option<Self>> {
        let Some(image) = &view.a.input.image else { return Ok(None) };
        let share = |name: &str, v: f64| match (0.0..=1.0).contains(&v) {
            true => Ok(()),
            false => Err(Error::request(format!("{name} {v} is outside 0 to 1"))),
        };
        share("opacity", options.opacity)?;
        if let Mask::Threshold(t) = options.mask {
            share("threshold", t)?;
        }
        let photo = decode(image).map_err(|problem| Error::request(format!("input.image.picture {problem}")))?;
        let (boxes, sign) = (Boxes::of(&view), view.sign());
        let range = Range::of(&boxes.scores(), sign, options.scale, false)?;
        let drawn = match view.pixels() {
            Some(p) => Range::of(&p.values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(), sign, options.scale, true)?,
            None => range,
        };
        let table = options.palette.unwrap_or(ColourMap::of(sign)).table();
        let look = Look { table, sign, overlay: options.overlay, opacity: options.opacity, mask: options.mask };
        let numbers = Numbers::up_to(boxes.scores().iter().fold(0.0, |max, v| v.abs().max(max)));
        let (interpolation, scale) = (options.interpolation, options.scale);
        Ok(Some(Scene { view, image, photo, boxes, range, drawn, sign, look, numbers, interpolation, scale }))
    }

    /// The map at `[width, height]` pixels, as the options ask for it or otherwise.
    pub(crate) fn heat(&self, size: [usize; 2], interpolation: Option<Interpolation>) -> Result<Heat> {
        let source = match self.view.pixels() {
            Some(pixels) => Source::Pixels(pixels, self.image.seen),
            None => Source::Boxes(&self.boxes),
        };
        Heat::new(&source, &self.drawn, interpolation.unwrap_or(self.interpolation), size)
    }

    /// The map of patches, tiles or boxes, also where there are single pixels: for forms with few pixels of their own.
    pub(crate) fn coarse(&self, size: [usize; 2], interpolation: Interpolation) -> Result<Heat> {
        Heat::new(&Source::Boxes(&self.boxes), &self.range, interpolation, size)
    }

    /// `[width, height]` of the picture's shape that fits into a box.
    pub(crate) fn fitting(&self, width: f64, height: f64) -> [usize; 2] {
        let (w, h) = (f64::from(self.image.width.max(1)), f64::from(self.image.height.max(1)));
        let scale = (width / w).min(height / h);
        [w * scale, h * scale].map(|v| (v.round() as usize).max(1))
    }

    pub(crate) fn has_pixels(&self) -> bool {
        self.view.pixels().is_some()
    }

    pub(crate) fn interpolates(&self) -> bool {
        self.interpolation == Interpolation::Bilinear && (self.boxes.grid.is_some() || self.has_pixels())
    }

    /// A score with as many digits as the others, and a sign where scores have one.
    pub(crate) fn number(&self, score: f64) -> String {
        self.numbers.of(self.sign, score)
    }

    /// The ends of the drawn scale in words: `(low, high)`; `None` where nothing stands out.
    pub(crate) fn ends(&self) -> Option<(String, String)> {
        let numbers = Numbers::up_to(self.drawn.low.abs().max(self.drawn.high.abs()));
        (!self.drawn.is_flat()).then(|| (numbers.of(self.sign, self.drawn.low), numbers.of(self.sign, self.drawn.high)))
    }

    /// What a reader has to know to read the map right.
    pub(crate) fn notes(&self, shown: Shown) -> Vec<String> {
        let mut notes = Vec::new();
        let parts = self.parts();
        let single = shown == Shown::Fine && self.has_pixels();
        let range = if single { self.drawn } else { self.range };
        match shown {
            _ if single => notes.push(format!("map of single pixels; marks and lists are of their sums over {parts}")),
            Shown::Fine if !self.interpolates() => notes.push(parts),
            Shown::Figures => notes.push(parts),
            _ if self.boxes.grid.is_none() => notes.push(parts),
            _ => notes.push(format!("{parts}, interpolated between their centres")),
        }
        if range.is_flat() {
            let all = self.boxes.parts.first().map_or(0.0, |p| p.score);
            notes.push(if all == 0.0 { "all scores are zero".into() } else { format!("all scores are {}", self.number(all)) });
        }
        if range.clipped {
            let percentile = if self.scale == MapScale::Auto { " (the 99.5th percentile of the magnitudes)" } else { "" };
            notes.push(format!("scores beyond the ends of the scale{percentile} are shown as the ends"));
        }
        if shown == Shown::Figures {
            return notes;
        }
        match self.look.mask {
            Mask::None => {}
            Mask::Threshold(t) => notes.push(format!("shown where it is more than {t} of the scale")),
            Mask::Otsu => notes.push("shown where it is above Otsu's threshold".into()),
        }
        if self.look.overlay == Overlay::AsPublished {
            notes.push("overlay as in the published code, which exchanges red and blue of the picture".into());
        }
        let Region { width, height, .. } = self.image.seen;
        if width * height < 0.999 {
            notes.push("hatched: not seen by the model".into());
        }
        notes
    }
}

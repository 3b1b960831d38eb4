//! What is done to a picture before a model sees it: resize, crop, rescale, normalise, in this order.
//!
//! `x = (grey level · rescale − mean) / std`, channel by channel, in f32.

use std::path::Path;

use pellucid_core::{Error, Region, Result};

use super::resize::{Part, resize};
use super::{Filter, Picture, hugging_face, timm};

/// The longest side that a model's input may have: 4096 pixels, an order above what vision transformers read.
pub const MAX_INPUT_SIDE: usize = 4096;

/// ImageNet's mean colour and deviation, 0 to 1.
pub(super) const IMAGENET: Normalisation = Normalisation { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
/// From 0..1 to −1..1.
pub(super) const HALF: Normalisation = Normalisation { mean: [0.5; 3], std: [0.5; 3] };
/// CLIP's training pictures' mean colour and deviation.
pub(super) const CLIP: Normalisation =
    Normalisation { mean: [0.481_454_66, 0.457_827_5, 0.408_210_73], std: [0.268_629_54, 0.261_302_58, 0.275_777_11] };

/// What is done to a picture before a model sees it. The default does nothing: grey levels 0 to 255.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preprocessing {
    /// To another size.
    pub resize: Option<Resize>,
    /// To the middle of it.
    pub crop: Option<Crop>,
    /// Grey levels times this.
    pub rescale: Option<f64>,
    /// Minus mean, by deviation.
    pub normalise: Option<Normalisation>,
}

/// To another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Which.
    pub to: Size,
    /// How.
    pub filter: Filter,
}

/// A size to resize to, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Exactly this one, whatever becomes of the shape.
    Exact {
        /// Height.
        height: usize,
        /// Width.
        width: usize,
    },
    /// The shorter side is this long, and the longer one as the shape asks, rounded down.
    ShortestEdge(usize),
}

/// The middle of a picture. Where the picture is smaller, it is laid on black.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Where the middle is when pixels cannot be halved.
    pub centre: Centre,
}

/// Where the middle is when an odd number of pixels is left over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Centre {
    /// The half pixel goes to the right and below (transformers).
    #[default]
    Down,
    /// Left and upper rest are rounded, halves to even; padding goes to the right and below (torchvision, which timm uses).
    Even,
}

/// `(x − mean) / std`, one number a channel, red first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// The means.
    pub mean: [f64; 3],
    /// The deviations, not 0.
    pub std: [f64; 3],
}

/// What a model is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// `[3, height, width]`, red first.
    pub pixels: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Where it lies in the original, so that [`Region::cell`] of it is a patch's box. A crop that was padded reaches outside 0 to 1: cutting
    /// it off here would shift every patch. Boxes are cut off one by one, by [`patch`](Self::patch).
    pub seen: Region,
}

impl Preprocessing {
    /// CLIP's: shortest edge to `side` (bicubic), the middle, CLIP's mean and deviation.
    pub fn clip(side: usize) -> Self {
        Self::new(Size::ShortestEdge(side), Filter::Bicubic, Some(side), CLIP)
    }

    /// ViT's: a square of `side` (bilinear), −1 to 1.
    pub fn vit(side: usize) -> Self {
        Self::new(Size::Exact { height: side, width: side }, Filter::Bilinear, None, HALF)
    }

    /// DINOv2's: shortest edge to 256 (bicubic), the middle 224, ImageNet's mean and deviation.
    pub fn dinov2() -> Self {
        Self::new(Size::ShortestEdge(256), Filter::Bicubic, Some(224), IMAGENET)
    }

    /// What torchvision's classifiers are evaluated with: shortest edge to 256 (bilinear), the middle 224, ImageNet's mean and deviation.
    pub fn imagenet() -> Self {
        let p = Self::new(Size::ShortestEdge(256), Filter::Bilinear, Some(224), IMAGENET);
        Self { crop: p.crop.map(|crop| Crop { centre: Centre::Even, ..crop }), ..p }
    }

    pub(super) fn new(to: Size, filter: Filter, crop: Option<usize>, normalise: Normalisation) -> Self {
        Self {
            resize: Some(Resize { to, filter }),
            crop: crop.map(|side| Crop { height: side, width: side, centre: Centre::Down }),
            rescale: Some(1.0 / 255.0),
            normalise: Some(normalise),
        }
    }

    /// As the files in a model's folder say: `preprocessor_config.json` or `processor_config.json` (Hugging Face), or timm's `config.json`.
    /// `None` where none of them speaks of pictures.
    ///
    /// # Errors
    /// A file that cannot be read, is not what it should be, or asks for what is not done here.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>> {
        match hugging_face::from_folder(folder)? {
            Some(found) => Ok(Some(found)),
            None => timm::from_folder(folder),
        }
    }

    /// `(height, width)` of what the model is given, where it is the same for every picture.
    pub fn input_size(&self) -> Option<(usize, usize)> {
        match (self.crop, self.resize) {
            (Some(crop), _) => Some((crop.height, crop.width)),
            (None, Some(Resize { to: Size::Exact { height, width }, .. })) => Some((height, width)),
            _ => None,
        }
    }

    /// Checks that it can be done: sizes of 1 to [`MAX_INPUT_SIDE`], finite numbers, no deviation of 0.
    ///
    /// # Errors
    /// One of them cannot.
    pub fn check(&self) -> Result<()> {
        let side = |n: usize, what: &str| match n {
            1..=MAX_INPUT_SIDE => Ok(()),
            _ => Err(Error::request(format!("{what} of {n} pixels; it is 1 to {MAX_INPUT_SIDE}"))),
        };
        match self.resize.map(|r| r.to) {
            Some(Size::Exact { height, width }) => side(height, "a height to resize to").and(side(width, "a width to resize to"))?,
            Some(Size::ShortestEdge(n)) => side(n, "a shortest edge to resize to")?,
            None => {}
        }
        if let Some(crop) = self.crop {
            side(crop.height, "a height to crop to").and(side(crop.width, "a width to crop to"))?;
        }
        if self.rescale.is_some_and(|factor| !factor.is_finite() || factor <= 0.0) {
            return Err(Error::request(format!("a rescale factor of {}; it is above 0", self.rescale.unwrap_or_default())));
        }
        // In f32, as they are used: a deviation of 1e-60 is 0 there.
        let usable = |n: &Normalisation| n.mean.iter().all(|&m| (m as f32).is_finite()) && n.std.iter().all(|&s| (s as f32).is_normal());
        match self.normalise.filter(|n| !usable(n)) {
            Some(n) => {
                Err(Error::request(format!("a mean of {:?} and a deviation of {:?}; they are finite, deviations not 0", n.mean, n.std)))
            }
            None => Ok(()),
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// It cannot be done ([`check`](Self::check)), or the picture is so thin that resizing it would take too many pixels.
    pub fn apply(&self, picture: &Picture) -> Result<Prepared> {
        self.check()?;
        let (height, width) = self.resize.map_or((picture.height(), picture.width()), |r| r.to.of(picture));
        let window = self.crop.map_or(Window { top: 0, left: 0, height, width }, |crop| crop.window(height, width));
        let seen = Region {
            left: window.left as f64 / width as f64,
            top: window.top as f64 / height as f64,
            width: window.width as f64 / width as f64,
            height: window.height as f64 / height as f64,
        };
        let part = window.part(height, width);
        let resized = self.resize.map(|r| resize(picture, (height, width), &part, r.filter)).transpose()?;
        let pixels = match &resized {
            Some(rgb) => self.values(rgb, &part, part.columns.len(), &window)?,
            None => self.values(&picture.rgb()[part.rows.start * width * 3 + part.columns.start * 3..], &part, width, &window)?,
        };
        Ok(Prepared { pixels, height: window.height, width: window.width, seen })
    }

    /// `[3, window.height, window.width]`: grey levels of `part`, which `rgb` begins with, rows of it `stride` pixels apart, and black around.
    fn values(&self, rgb: &[u8], part: &Part, stride: usize, window: &Window) -> Result<Vec<f32>> {
        let size = window.height.saturating_mul(window.width).saturating_mul(3);
        let mut pixels = Vec::new();
        pixels.try_reserve_exact(size).map_err(|_| Error::Memory(format!("no memory for {size} numbers of a model's input")))?;
        let (above, before) = (part.rows.start as isize - window.top, part.columns.start as isize - window.left);
        for channel in 0..3 {
            let table = self.table(channel);
            let start = pixels.len();
            pixels.resize(start + size / 3, table[0]);
            let plane = &mut pixels[start..];
            for y in 0..part.rows.len() {
                let row = &rgb[y * stride * 3..][..part.columns.len() * 3];
                let at = (above as usize + y) * window.width + before as usize; // a part lies within its window
                plane[at..].iter_mut().zip(row.as_chunks::<3>().0).for_each(|(out, pixel)| *out = table[usize::from(pixel[channel])]);
            }
        }
        Ok(pixels)
    }

    /// What becomes of each grey level of a channel: the product in f64 rounded to f32, the rest in f32, as the published processors have it.
    fn table(&self, channel: usize) -> [f32; 256] {
        std::array::from_fn(|grey| {
            let x = self.rescale.map_or(grey as f32, |factor| (grey as f64 * factor) as f32);
            self.normalise.map_or(x, |n| (x - n.mean[channel] as f32) / n.std[channel] as f32)
        })
    }
}

impl Size {
    /// `(height, width)` that a picture comes to.
    fn of(self, picture: &Picture) -> (usize, usize) {
        let (height, width) = (picture.height(), picture.width());
        match self {
            Self::Exact { height, width } => (height, width),
            Self::ShortestEdge(edge) if width <= height => (edge * height / width, edge),
            Self::ShortestEdge(edge) => (edge, edge * width / height),
        }
    }
}

/// A rectangle of a picture, in pixels; it may reach outside.
struct Window {
    top: isize,
    left: isize,
    height: usize,
    width: usize,
}

impl Window {
    /// What lies inside a picture of this size. A window has the picture's middle, so it is something.
    fn part(&self, height: usize, width: usize) -> Part {
        let range = |start: isize, length: usize, side: usize| {
            let end = start.saturating_add_unsigned(length).clamp(0, side as isize);
            start.clamp(0, side as isize) as usize..end as usize
        };
        Part { rows: range(self.top, self.height, height), columns: range(self.left, self.width, width) }
    }
}

impl Crop {
    fn window(&self, height: usize, width: usize) -> Window {
        let start = |side, crop| self.centre.start(side, crop);
        Window { top: start(height, self.height), left: start(width, self.width), height: self.height, width: self.width }
    }
}

impl Centre {
    /// Where the middle `crop` of `side` pixels begins.
    fn start(self, side: usize, crop: usize) -> isize {
        let rest = side as isize - crop as isize; // both are at most `MAX_PIXELS`
        match self {
            Self::Down => rest.div_euclid(2),
            Self::Even if rest < 0 => rest / 2,
            Self::Even => rest / 2 + isize::from(rest % 4 == 3),
        }
    }
}

impl Prepared {
    /// The part of the original, 0 to 1, that patch `(row, column)` of `grid` (`[rows, columns]`) covers. A patch of nothing but padding has no
    /// area.
    pub fn patch(&self, grid: [usize; 2], row: usize, column: usize) -> Region {
        let cell = self.seen.cell(grid, row, column);
        let cut = |start: f64, size: f64| (start.clamp(0.0, 1.0), (start + size).clamp(0.0, 1.0));
        let ((left, right), (top, bottom)) = (cut(cell.left, cell.width), cut(cell.top, cell.height));
        Region { left, top, width: right - left, height: bottom - top }
    }
}

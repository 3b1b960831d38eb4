//! A picture as a model sees it, and its parts as features.

use pellucid_core::{
    Control, Error, Feature, FeaturePositions, ImageRecord, Input, Mode, Model, Part, Patches, PixelScores, Region, RegionControl, Result,
    units::{Granularity, Overlap, effective_factor},
};
use pellucid_models::{
    Loaded,
    image::{Picture, Preprocessing},
};

/// Longest side, in pixels, of the picture that is kept in an attribution.
const KEPT_SIDE: usize = 768;

/// Tiles that the words for parts of a text stand for (the published grid of 12 × 12, and coarser ones).
const WORDS: [usize; 2] = [6, 6];
const SENTENCES: [usize; 2] = [3, 3];
const PARAGRAPHS: [usize; 2] = [1, 1];

/// A share of a patch below this comes from rounding.
const NOTHING: f64 = 1e-9;

/// A picture made ready for a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// What the model reads.
    pub input: Input,
    /// What an attribution keeps.
    pub record: ImageRecord,
    /// How rows and patches belong together.
    pub patches: Patches,
    /// The part of the picture that each patch covers, row by row; without area where a patch is nothing but padding.
    pub regions: Vec<Region>,
    /// Where all of what the model was given lies: beyond the picture where a small one was padded.
    given: Region,
    /// What is done to its attention throughout.
    pub(crate) control: Control,
}

impl Seen {
    /// Resizes, crops and normalises a picture as the model's files say.
    ///
    /// # Errors
    /// A model that reads no pictures, or takes them of another size than its files prepare.
    pub fn new(picture: &Picture, loaded: &Loaded) -> Result<Self> {
        let patches = patches(&loaded.model)?.clone();
        let [height, width] = patches.pixels();
        let prepared = preprocessing(loaded)?.apply(picture)?;
        if (prepared.height, prepared.width) != (height, width) {
            return Err(Error::request(format!(
                "the picture is prepared as {} × {} pixels, but the model takes {width} × {height}: its preprocessing and its weights do not \
                 belong together",
                prepared.width, prepared.height
            )));
        }
        let input = patches.input(&prepared.pixels)?;
        let regions = (0..patches.count()).map(|i| prepared.patch(patches.grid, i / patches.grid[1], i % patches.grid[1])).collect();
        let record = picture.record(clipped(&prepared.seen), patches.grid, KEPT_SIDE)?;
        Ok(Self { input, record, patches, regions, given: prepared.seen, control: Control::none() })
    }

    /// The same with attention to parts of it changed throughout: a patch that is covered in part gets the factor in part.
    ///
    /// # Errors
    /// A factor that is none; a part outside what the model sees.
    pub fn under(mut self, controls: &[RegionControl]) -> Result<Self> {
        let mut factors = Vec::new();
        for RegionControl { region, factor } in controls {
            let covered = self.boxes(&[*region])?.positions;
            let patches = covered.iter().flat_map(|f| &f.positions);
            factors.extend(patches.map(|(p, share)| (*p, effective_factor(*factor, *share, Overlap::Partial))));
        }
        self.control = Control::new(Mode::LogAdditive, factors, None)?;
        self.record.controls = controls.to_vec();
        Ok(self)
    }

    /// Scores of pixels, `[height, width]` of what the model was given, as they lie over the part of the picture that it saw: padding is left out.
    pub fn pixels(&self, scores: &[f64]) -> PixelScores {
        let [height, width] = self.patches.pixels();
        let inside = |start: f64, size: f64, count: usize| -> Vec<usize> {
            let middle = |i: usize| start + (i as f64 + 0.5) / count as f64 * size;
            (0..count).filter(|i| (0.0..=1.0).contains(&middle(*i))).collect()
        };
        let (rows, columns) = (inside(self.given.top, self.given.height, height), inside(self.given.left, self.given.width, width));
        let values = rows.iter().flat_map(|r| columns.iter().map(move |c| scores[r * width + c] as f32)).collect();
        PixelScores { width: columns.len(), height: rows.len(), values }
    }

    /// Patches, or tiles of the part that the model sees.
    ///
    /// # Errors
    /// Units that only texts have; more tiles than there are pixels.
    pub fn units(&self, units: &Granularity) -> Result<Units> {
        let grid = match units {
            Granularity::Token => return Ok(self.each_patch()),
            Granularity::Tiles(rows, columns) => [*rows, *columns],
            Granularity::Word => WORDS,
            Granularity::Sentence => SENTENCES,
            Granularity::Paragraph => PARAGRAPHS,
            other => {
                return Err(Error::request(format!(
                    "a picture has no units `{other}`; explain patches (token), or tiles such as 12x12 or 3x3"
                )));
            }
        };
        let [height, width] = self.patches.pixels();
        if grid[0] > height || grid[1] > width {
            return Err(Error::request(format!("{}x{} tiles are more than the model's {height} × {width} pixels", grid[0], grid[1])));
        }
        let tile = |i: usize| (format!("row {}, column {}", i / grid[1], i % grid[1]), self.given.cell(grid, i / grid[1], i % grid[1]));
        let tiles: Vec<_> = (0..grid[0] * grid[1]).map(tile).collect();
        Ok(Units { name: format!("{}x{}", grid[0], grid[1]), ..self.covered(&tiles) })
    }

    /// Parts of the picture that a person points at.
    ///
    /// # Errors
    /// One that lies outside what the model sees.
    pub fn boxes(&self, regions: &[Region]) -> Result<Units> {
        let named: Vec<_> = regions.iter().map(|r| (format!("box {},{},{},{}", r.left, r.top, r.width, r.height), *r)).collect();
        let units = self.covered(&named);
        match regions.iter().zip(&named).find(|(_, (name, _))| !units.features.iter().any(|f| f.text == *name)) {
            Some((region, _)) => Err(Error::request(format!(
                "the box at left {}, top {} of width {} and height {} lies outside the part of the picture that the model sees (a centre crop \
                 leaves edges out)",
                region.left, region.top, region.width, region.height
            ))),
            None => Ok(units),
        }
    }

    fn each_patch(&self) -> Units {
        let mut units = Units { name: "patch".into(), ..Units::default() };
        for (i, region) in self.regions.iter().enumerate().filter(|(_, r)| r.width > 0.0 && r.height > 0.0) {
            let (row, column) = (i / self.patches.grid[1], i % self.patches.grid[1]);
            units.push(format!("row {row}, column {column}"), *region, vec![(self.patches.leading + i, 1.0)]);
        }
        units
    }

    /// Features that cover parts of patches; those that cover none are left out.
    fn covered(&self, parts: &[(String, Region)]) -> Units {
        let mut units = Units::default();
        for (name, part) in parts {
            let share = |(i, patch): (usize, &Region)| {
                let area = patch.width * patch.height;
                let share = if area > 0.0 { patch.overlap(part) / area } else { 0.0 };
                // The edges of tiles that fall on those of patches differ from them by rounding.
                let share = if share > 1.0 - NOTHING { 1.0 } else { share };
                (share > NOTHING).then_some((self.patches.leading + i, share))
            };
            let positions: Vec<_> = self.regions.iter().enumerate().filter_map(share).collect();
            if !positions.is_empty() {
                units.push(name.clone(), clipped(part), positions);
            }
        }
        units
    }
}

/// Parts of a picture that get scores.
#[derive(Clone, Debug, Default)]
pub struct Units {
    /// What they are: `patch`, `6x6`, `box`.
    pub name: String,
    /// For the record.
    pub features: Vec<Feature>,
    /// For the method.
    pub positions: Vec<FeaturePositions>,
}

impl Units {
    fn push(&mut self, text: String, region: Region, positions: Vec<(usize, f64)>) {
        let covered = positions.iter().map(|p| p.0).collect();
        self.features.push(Feature { text, region: Some(region), positions: covered, ..Feature::default() });
        self.positions.push(FeaturePositions { part: Part::Prompt, positions });
    }
}

/// The part of a box that lies in the picture.
fn clipped(region: &Region) -> Region {
    let cut = |start: f64, size: f64| (start.clamp(0.0, 1.0), (start + size).clamp(0.0, 1.0));
    let ((left, right), (top, bottom)) = (cut(region.left, region.width), cut(region.top, region.height));
    Region { left, top, width: right - left, height: bottom - top }
}

/// How a model cuts pictures, or why it cannot.
pub(crate) fn patches(model: &Model) -> Result<&Patches> {
    let d = model.description();
    d.patches.as_ref().ok_or_else(|| Error::Unsupported(format!("this {} model reads texts, not pictures", d.architecture)))
}

fn preprocessing(loaded: &Loaded) -> Result<&Preprocessing> {
    loaded.preprocessing.as_ref().ok_or_else(|| {
        Error::Unsupported(
            "this model does not say how pictures are prepared for it: put its preprocessor_config.json beside its weights".into(),
        )
    })
}

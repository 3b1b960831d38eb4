//! How a picture becomes rows: learned rows first (a class token and the like), then one row a patch.

use crate::{
    Error, Result,
    pass::{Input, Symbol},
};

/// The sizes that turn pixels into rows and back. A patch's numbers are in the order of a convolution's weight: `[channel, row, column]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patches {
    /// Numbers of a pixel: 3 for red, green, blue.
    pub channels: usize,
    /// Width and height of a patch, in pixels.
    pub size: usize,
    /// Patches of the picture: `[rows, columns]`.
    pub grid: [usize; 2],
    /// Learned rows before the patches.
    pub leading: usize,
}

impl Patches {
    /// Numbers of a patch.
    pub fn width(&self) -> usize {
        self.channels * self.size * self.size
    }

    /// Number of patches.
    pub fn count(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// `[height, width]` of the picture in pixels.
    pub fn pixels(&self) -> [usize; 2] {
        self.grid.map(|n| n * self.size)
    }

    /// Position of the patch at `(row, column)` among the rows of the model.
    pub fn position(&self, row: usize, column: usize) -> usize {
        self.leading + row * self.grid[1] + column
    }

    /// What the model reads, from `[channel, height, width]`, prepared as the model wants it.
    ///
    /// # Errors
    /// Another number of pixels than the model takes, or one that is not finite.
    pub fn input(&self, pixels: &[f32]) -> Result<Input> {
        let [height, width] = self.pixels();
        if pixels.len() != self.channels * height * width {
            return Err(Error::request(format!(
                "{} numbers for a picture; the model takes {} (channels × height × width = {} × {height} × {width})",
                pixels.len(),
                self.channels * height * width,
                self.channels
            )));
        }
        if let Some(x) = pixels.iter().find(|x| !x.is_finite()) {
            return Err(Error::request(format!("the picture contains {x}; every pixel must be a finite number")));
        }
        let patches = self.places().map(|place| Symbol::Vector(place.map(|at| pixels[at]).collect()));
        Ok((0..self.leading as u32).map(Symbol::Token).chain(patches).collect())
    }

    /// From `[row of the model, numbers of a patch]` to `[channel, height, width]`; learned rows are left out.
    pub fn picture(&self, rows: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.count() * self.width()];
        let patches = rows.chunks_exact(self.width()).skip(self.leading);
        for (place, values) in self.places().zip(patches) {
            place.zip(values).for_each(|(at, value)| out[at] = *value);
        }
        out
    }

    /// For each patch, where its numbers stand in `[channel, height, width]`.
    fn places(&self) -> impl Iterator<Item = impl Iterator<Item = usize>> {
        let (size, [height, width]) = (self.size, self.pixels());
        let (columns, channels) = (self.grid[1], self.channels);
        (0..self.count()).map(move |patch| {
            let (top, left) = (patch / columns * size, patch % columns * size);
            (0..channels * size * size).map(move |i| {
                let (channel, row, column) = (i / (size * size), i / size % size, i % size);
                (channel * height + top + row) * width + left + column
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_goes_into_patches_and_comes_back() {
        let patches = Patches { channels: 2, size: 2, grid: [2, 3], leading: 1 };
        assert_eq!((patches.width(), patches.count(), patches.pixels()), (8, 6, [4, 6]));
        let pixels: Vec<f32> = (0..48).map(|i| i as f32).collect();
        let input = patches.input(&pixels).unwrap();
        assert_eq!(input.len(), 7);
        assert_eq!(input.symbols[0], Symbol::Token(0));
        // Row 1, column 2: rows 2 and 3, columns 4 and 5, of both channels.
        let expected = [16.0, 17.0, 22.0, 23.0, 40.0, 41.0, 46.0, 47.0];
        assert_eq!(input.symbols[patches.position(1, 2)], Symbol::Vector(expected.into()));
        let rows: Vec<f64> = input
            .symbols
            .iter()
            .flat_map(|s| match s {
                Symbol::Vector(v) => v.iter().map(|x| f64::from(*x)).collect(),
                Symbol::Token(_) => vec![-1.0; 8],
            })
            .collect();
        assert_eq!(patches.picture(&rows), pixels.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
    }

    #[test]
    fn a_picture_of_another_size_or_with_a_hole_is_refused() {
        let patches = Patches { channels: 3, size: 2, grid: [1, 1], leading: 1 };
        assert!(patches.input(&[0.0; 11]).unwrap_err().to_string().contains("3 × 2 × 2"));
        assert!(patches.input(&[f32::NAN; 12]).unwrap_err().to_string().contains("NaN"));
    }
}

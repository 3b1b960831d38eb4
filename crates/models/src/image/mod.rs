//! Pictures in: a file's bytes to a [`Picture`], and a picture to the numbers that a model is given ([`Preprocessing`]).
//!
//! The numbers are to equal those of the pipeline that a user's model already runs in, so this module does what Pillow and the published
//! image processors do, and says where it does not. Deliberately absent: colour management (they ignore ICC profiles too), frames after
//! the first, augmentation.

mod container;
mod data_url;
mod decode;
mod hugging_face;
mod picture;
mod preprocessing;
mod resize;
mod timm;

#[cfg(test)]
mod tests;

pub use decode::{Format, MAX_DECODING_BYTES, MAX_FILE_BYTES, MAX_PIXELS, Transparency};
pub use picture::Picture;
pub use preprocessing::{Centre, Crop, MAX_INPUT_SIDE, Normalisation, Prepared, Preprocessing, Resize, Size};
pub use resize::Filter;

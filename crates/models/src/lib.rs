//! Loading weights and tokenizers, and one file per architecture.
//!
//! [`load`] turns what a user names into a [`Loaded`] model: [`source`] finds the files, [`weights`] reads them, [`architectures`] says what
//! they mean, [`text`] turns words into ids. Nothing here knows a method.

pub mod architectures;
pub mod image;
mod load;
pub mod source;
pub mod text;
pub mod weights;

pub use load::{Loaded, load, open};

//! The vocabulary of Pellucid and the walks through the layers.
//!
//! A model says what one block does ([`model::Architecture`]), in the operations of a [`pass::Pass`]. The [`Engine`] owns the loops over the
//! layers ([`walk`]). A method ([`Method`]) asks the engine for walks and does some arithmetic; the result is an [`Attribution`].
//! Deliberately absent: file formats, architectures, methods, pictures.

mod attribution;
mod compared;
pub mod control;
mod engine;
mod error;
mod method;
pub mod model;
pub mod pass;
mod patches;
mod prepared;
pub mod rules;
pub mod tape;
pub mod units;
pub mod walk;
mod weights;

pub use attribution::*;
pub use candle_core as candle;
pub use control::{Control, Mode};
pub use engine::{Compute, Engine, Progress, Silent, product_rate, use_threads};
pub use error::{Error, Result};
pub use method::*;
pub use model::Model;
pub use pass::{Input, Symbol};
pub use patches::Patches;
pub use pellucid_kernels::{self as kernels, Activation, RotaryLayout, control_row};
pub use weights::{TensorInfo, WeightStore, matrix};

//! Why a transformer said what it said: load, explain, render.
//!
//! What everything above it imports: the command line, tests, benchmarks. It joins the crates below, which do not know one another:
//! [`models`] brings a model, [`explain`] turns words into a question for a method and its scores into an [`Attribution`], [`render`] draws
//! that, [`compare`] sets several methods side by side, [`generate`] continues a text under control, [`verify`] compares with published numbers.

pub mod compare;
pub mod explain;
pub mod generate;
pub mod picture;
pub mod prompt;
pub mod verify;

pub use pellucid_core as core;
pub use pellucid_core::{Attribution, Comparison, Compute, Control, Engine, Error, Mode, Model, Progress, Result, Symbol};
pub use pellucid_eval as eval;
pub use pellucid_methods as methods;
pub use pellucid_models as models;
pub use pellucid_models::{Loaded, load};
pub use pellucid_render as render;

/// Version of the tool, as it stands in every attribution file.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

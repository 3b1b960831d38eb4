//! The walks through the layers. They live here and nowhere else: a method that loops over layers itself is a sign that a walk lacks something.
//!
//! - [`up`]: many copies go up together, layer by layer (perturbation);
//! - [`decode`]: one or a few copies go up again and again, one token longer each time (generation);
//! - [`down`]: signals go from scores back to inputs, each under its rules, one block at a time (propagation);
//! - [`mix`]: blocks are shown taken apart, from the last to the first or the other way (decomposition);
//! - [`trace`]: one input goes up in the recording pass, and an observer looks at its sites.

pub mod decode;
pub mod down;
pub mod mix;
mod plan;
pub mod trace;
pub mod up;

pub use plan::{Estimate, Flops};

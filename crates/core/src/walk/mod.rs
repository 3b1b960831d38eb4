//! The walks through the layers. They live here and nowhere else: a method that loops over layers itself is a sign that a walk lacks something.
//!
//! - [`up`]: many copies go up together, layer by layer (perturbation);
//! - [`decode`]: one or a few copies go up again and again, one token longer each time (generation);
//! - [`trace`]: one input goes up in the recording pass, and an observer looks at its sites.
//!
//! Deliberately absent so far: the two walks down (rules, mixing), which stand on the recording pass.

pub mod decode;
mod plan;
pub mod trace;
pub mod up;

pub use plan::{Estimate, Flops};

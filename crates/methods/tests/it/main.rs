//! What the methods compute, against plain loops; what they promise; what they refuse.

mod atman_gradient;
mod cases;
mod changed_gradients;
mod gamma;
mod gradient_parameters;
mod gradients;
mod mixing;
mod parameters;
mod passes;
mod paths;
mod pictures;
mod pixels;
mod plain;
mod promises;
mod relevance;
mod replica;
mod setup;
mod toy;

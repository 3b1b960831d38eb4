//! From files to a model: every form gives the same numbers, and whatever does not fit is refused by name.

mod checkpoint;
mod config;
mod encoders;
mod forms;
mod gguf;
mod refusals;
mod rotary;
mod tensors;
mod writers;

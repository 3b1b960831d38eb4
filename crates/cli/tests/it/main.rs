//! The program as people run it: what goes in, what comes out, and what it ends with.

mod bad_input;
mod compare;
mod encoders;
mod explain;
mod fixtures;
mod generate;
mod interrupt;
mod numbers;
mod pictures;
mod render;
mod tables;
mod verify;

//! Methods that take blocks apart: against plain loops, what they promise, what they refuse.

mod blocks;
mod promises;
mod refusals;
mod replica;

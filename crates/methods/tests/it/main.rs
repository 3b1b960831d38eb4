//! What the methods compute, against plain loops; what they promise; what they refuse.

mod parameters;
mod passes;
mod plain;
mod promises;
mod replica;
mod setup;

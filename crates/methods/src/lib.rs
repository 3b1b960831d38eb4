//! Explanation methods, one a file, and the table that lists them.
//!
//! A method asks the engine for walks and does some arithmetic; it knows no architecture. To add one: a file that implements
//! [`Method`] and ends in an `ENTRY`, and its two lines here.

mod atman;
mod occlusion;
mod perturbation;
mod random;
mod similarity;

use pellucid_core::{Error, Method, Result};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

pub use atman::Atman;
pub use occlusion::{Occlusion, Replace};
pub use random::Random;
pub use similarity::{Directions, Similarity};

/// One method: what people are told of it, and how to make it.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub id: &'static str,
    /// One line: what it does.
    pub summary: &'static str,
    /// What a model must offer.
    pub needs: &'static str,
    /// What holds for its scores, and is tested.
    pub promise: &'static str,
    /// Passes and memory.
    pub cost: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// From parameters (an object; what is left out has its default) to the method.
    pub make: fn(Json) -> Result<Box<dyn Method>>,
}

/// Every method, the default first.
pub const METHODS: &[Entry] = &[
    atman::ENTRY, //
    occlusion::ENTRY,
    random::ENTRY,
];

/// The table's row for a name.
///
/// # Errors
/// An unknown one; the message lists those there are.
pub fn find(id: &str) -> Result<&'static Entry> {
    METHODS.iter().find(|m| m.id == id).ok_or_else(|| {
        let known: Vec<_> = METHODS.iter().map(|m| m.id).collect();
        Error::request(format!("unknown method `{id}`; there are {}", known.join(", ")))
    })
}

fn parse<P: DeserializeOwned>(id: &str, parameters: Json) -> Result<P> {
    let Json::Object(given) = &parameters else {
        return Err(Error::request(format!("parameters of {id} are {parameters}, not an object of names and values")));
    };
    // Every parameter has a default, so each can be tried alone: the reader itself does not say which one it fell over.
    let guilty = |(name, value): (&String, &Json)| {
        let error = serde_json::from_value::<P>(Json::Object([(name.clone(), value.clone())].into_iter().collect())).err()?;
        Some(format!("parameters of {id}: `{name}` is {value}: {error}"))
    };
    match given.iter().find_map(guilty) {
        Some(problem) => Err(Error::request(problem)),
        None => serde_json::from_value(parameters).map_err(|e| Error::request(format!("parameters of {id}: {e}"))),
    }
}

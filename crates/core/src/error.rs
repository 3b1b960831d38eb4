//! The one error type of the library.
//!
//! A message names the thing, the value, and what would be right: lower case, no full stop. Programs add context.

use std::path::PathBuf;

/// Shorthand for a result with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in Pellucid. A variant says *whose* mistake it was, the message says *what*.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked cannot be done as asked: a value out of range, an empty prompt, a target that is not there.
    #[error("{0}")]
    Request(String),
    /// A model and a request do not go together: unknown architecture, a method that the model cannot support.
    #[error("{0}")]
    Unsupported(String),
    /// A file from outside is not what it says it is: truncated, overlapping, inconsistent, of an unknown kind.
    #[error("{file}: {problem}")]
    Format {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it, with the values.
        problem: String,
    },
    /// The tensors in the files and the model's description disagree.
    #[error("{0}")]
    Weights(String),
    /// The operating system refused: reading, writing, no space left.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was being done, for example `cannot read`.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A model could not be fetched: no network, wrong hash, no such package.
    #[error("{0}")]
    Fetch(String),
    /// The work does not fit in the memory it was allowed.
    #[error("{0}")]
    Memory(String),
    /// The person asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The tensor library failed in the recording pass.
    #[error("tensor library: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// A bad request; the message says what would be right.
    pub fn request(message: impl Into<String>) -> Self {
        Error::Request(message.into())
    }

    /// A file that is not what it says it is.
    pub fn format(file: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Error::Format { file: file.into(), problem: problem.into() }
    }

    /// A failed system call on a path.
    pub fn io(what: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { what, path: path.into(), source }
    }
}

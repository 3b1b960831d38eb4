//! JSON: the attribution itself, and the way back. Everything else that draws starts from here.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use pellucid_core::{Attribution, Error, Result};

use crate::{Options, Render, check, escape, html};

/// The published schema of the format, JSON Schema draft 2020-12. Lengths that must agree with one another are beyond it: see [`parse`].
pub const SCHEMA: &str = include_str!("../schema/pellucid-1.schema.json");

/// Largest file that [`read`] takes in: some million scores.
const MAX_BYTES: u64 = 1 << 30;

/// Pretty-printed JSON.
pub(crate) struct Json;

impl Render for Json {
    fn id(&self) -> &'static str {
        "json"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["json"]
    }

    fn binary(&self) -> bool {
        false
    }

    fn render(&self, attribution: &Attribution, _: &Options) -> Result<Vec<u8>> {
        check::check(attribution).map_err(Error::Request)?;
        let text = serde_json::to_string_pretty(attribution).map_err(failed)?;
        Ok((escaped(&text, "") + "\n").into_bytes())
    }
}

/// On one line, for a page: nothing in it can end its script element.
pub(crate) fn embeddable(attribution: &Attribution) -> Result<String> {
    Ok(escaped(&serde_json::to_string(attribution).map_err(failed)?, "<>&"))
}

pub(crate) fn failed(e: serde_json::Error) -> Error {
    Error::request(format!("cannot write as JSON: {e}"))
}

/// Characters that steer a terminal or a reader's eye, and `more`, as `\u` escapes. In JSON they stand in strings only, where that is allowed.
pub(crate) fn escaped(text: &str, more: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c != '\n' && (escape::hidden(c) || more.contains(c)) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
            false => out.push(c),
        }
    }
    out
}

/// An attribution from the bytes of a JSON file, checked: format, lengths, spans, finite numbers. The error names the field.
pub fn parse(bytes: &[u8]) -> Result<Attribution> {
    parse_named(Path::new("attribution"), bytes)
}

/// An attribution from a saved JSON file, or from an HTML page of ours, which carries the JSON inside.
pub fn read(path: &Path) -> Result<Attribution> {
    let bytes = bytes_of(path)?;
    parse_named(path, html::embedded_json(&bytes).unwrap_or(&bytes))
}

/// A file's bytes, if they are not too many.
pub(crate) fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let failed = |e| Error::io("cannot read", path, e);
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::format(path, format!("is larger than {MAX_BYTES} bytes, the most an attribution may have")));
    }
    Ok(bytes)
}

fn parse_named(file: &Path, bytes: &[u8]) -> Result<Attribution> {
    let attribution: Attribution = serde_json::from_slice(bytes).map_err(|e| Error::format(file, format!("not an attribution: {e}")))?;
    check::check(&attribution).map_err(|problem| Error::format(file, problem))?;
    Ok(attribution)
}

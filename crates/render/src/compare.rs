//! Several methods side by side: units down, methods across.
//!
//! Scores of different methods have different units. For display only, each method's are divided by its own largest magnitude; where they have
//! no sign, the smallest is taken away before, for some of these methods give every unit nearly the same. The file keeps them as they are.

mod check;
mod html;
mod page;
mod picture;
mod terminal;

use std::path::Path;

use pellucid_core::{Attribution, Comparison, Error, Result, Sign};

use crate::{Options, json, scale::strength, view::View};

/// The published schema of the format, JSON Schema draft 2020-12; what an attribution is, says [`crate::SCHEMA`].
pub const COMPARISON_SCHEMA: &str = include_str!("../schema/pellucid-compare-1.schema.json");

/// How a comparison can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComparisonForm {
    /// Text with or without ANSI colours.
    Terminal,
    /// A self-contained page.
    Html,
    /// The comparison itself.
    Json,
}

impl ComparisonForm {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Terminal, Self::Html, Self::Json];

    /// Its name on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Html => "html",
            Self::Json => "json",
        }
    }

    /// File name extensions that mean it, without the dot.
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Terminal => &["txt", "ans"],
            Self::Html => &["html", "htm"],
            Self::Json => &["json"],
        }
    }

    /// The form with this name or file name extension, letter case aside.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| [f.id()].iter().chain(f.extensions()).any(|n| n.eq_ignore_ascii_case(name)))
    }

    /// Draws `comparison`.
    ///
    /// # Errors
    /// One that contradicts itself; the message names the field.
    pub fn render(self, comparison: &Comparison, options: &Options) -> Result<Vec<u8>> {
        check::check(comparison).map_err(Error::Request)?;
        match self {
            Self::Terminal => terminal::draw(comparison, options),
            Self::Html => html::draw(comparison, options),
            Self::Json => {
                let text = serde_json::to_string_pretty(comparison).map_err(json::failed)?;
                Ok((json::escaped(&text, "") + "\n").into_bytes())
            }
        }
    }
}

/// A comparison from the bytes of a JSON file, checked. The error names the field.
///
/// # Errors
/// No JSON, another format, attributions that do not belong together.
pub fn parse_comparison(bytes: &[u8]) -> Result<Comparison> {
    parse_named(Path::new("comparison"), bytes)
}

/// A comparison from a saved JSON file, or from an HTML page of ours; `None` if it is something else, such as a single attribution.
///
/// # Errors
/// It cannot be read; it says that it is a comparison and is not.
pub fn read_comparison(path: &Path) -> Result<Option<Comparison>> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: String,
    }
    let bytes = json::bytes_of(path)?;
    let bytes = html::embedded_json(&bytes).unwrap_or(&bytes);
    match serde_json::from_slice::<Head>(bytes) {
        Ok(head) if head.format.starts_with("pellucid-compare/") => parse_named(path, bytes).map(Some),
        _ => Ok(None),
    }
}

fn parse_named(file: &Path, bytes: &[u8]) -> Result<Comparison> {
    let comparison: Comparison = serde_json::from_slice(bytes).map_err(|e| Error::format(file, format!("not a comparison: {e}")))?;
    check::check(&comparison).map_err(|problem| Error::format(file, problem))?;
    Ok(comparison)
}

/// A method's column: its scores and what to divide them by.
struct Column<'a> {
    view: View<'a>,
    /// What is shown as 0 and what as 1.
    low: f64,
    max: f64,
    sign: Sign,
}

impl<'a> Column<'a> {
    fn all(comparison: &'a Comparison) -> Vec<Self> {
        comparison.attributions.iter().map(Self::new).collect()
    }

    fn new(a: &'a Attribution) -> Self {
        let view = View { a, target_token: None };
        let (scores, sign) = (&a.scores.combined, view.sign());
        let max = scores.iter().fold(0.0, |max: f64, v| v.abs().max(max));
        let smallest = scores.iter().copied().reduce(f64::min).unwrap_or(0.0);
        // A unit that is alone has nothing to stand out from.
        let low = if sign == Sign::Unsigned && scores.len() > 1 { smallest } else { 0.0 };
        Column { view, low, max, sign }
    }

    fn id(&self) -> &'a str {
        &self.view.a.method.id
    }

    /// What to call every feature of a text.
    fn names(&self) -> Vec<String> {
        self.view.a.features.iter().map(|f| self.view.name(f).into_owned()).collect()
    }

    /// A feature's score as it is shown, −1 to 1.
    fn strength(&self, feature: usize) -> f64 {
        strength(self.view.a.scores.combined[feature] - self.low, self.max - self.low)
    }

    /// The same in words: `+0.42`, or `0.42` where there is no sign.
    fn number(&self, feature: usize) -> String {
        let text = format!("{:+.2}", self.strength(feature));
        match self.sign {
            _ if text.ends_with("0.00") => "0".into(),
            Sign::Signed => text,
            Sign::Unsigned => text.trim_start_matches('+').into(),
        }
    }
}

//! What a unit is, as people write it: `word`, `auto`, `regex:\d+`, `delimiter:\n\n`.
//!
//! Deliberately absent: a granularity of the target (one explanation per target token is asked for elsewhere), and flags for a regex
//! beside the pattern (write `(?i)` in it).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What gets one score.
///
/// Written as text: `token` (or `patch`), `word`, `sentence`, `line`, `paragraph`, `auto`, `ROWSxCOLUMNS`, `regex:PATTERN`, `delimiter:STR`. In STR, `\n`, `\r`, `\t`
/// and `\\` stand for line break, carriage return, tab and backslash; several delimiters are a JSON list, `delimiter:["###","\n\n"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Granularity {
    /// Every token, blank ones too.
    Token,
    /// Unicode words; punctuation is its own word, an apostrophe inside a word is part of it.
    Word,
    /// Sentences with their final punctuation and closing quotes.
    Sentence,
    /// Lines that are not blank.
    Line,
    /// What blank lines separate.
    Paragraph,
    /// Each match of the pattern that is not blank. The pattern sees each part to explain as a text of its own.
    Regex(String),
    /// What lies between delimiters, exactly as given; where several match, the longest. Delimiters belong to no unit.
    Delimiter(Vec<String>),
    /// Tiles of a picture: so many rows and columns.
    Tiles(usize, usize),
    /// Of token, word, sentence and paragraph the one with nearest to 30 units, the coarser of two equally near.
    #[default]
    Auto,
}

impl Granularity {
    /// The word that an attribution file has for it: `custom` for [`Regex`](Self::Regex) and [`Delimiter`](Self::Delimiter).
    pub fn kind(&self) -> &'static str {
        match self {
            Granularity::Token => "token",
            Granularity::Word => "word",
            Granularity::Sentence => "sentence",
            Granularity::Line => "line",
            Granularity::Paragraph => "paragraph",
            Granularity::Auto => "auto",
            Granularity::Tiles(..) => "tiles",
            Granularity::Regex(_) | Granularity::Delimiter(_) => "custom",
        }
    }
}

impl FromStr for Granularity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(pattern) = text.strip_prefix("regex:") {
            compile(pattern)?;
            return Ok(Granularity::Regex(pattern.to_owned()));
        }
        if let Some(written) = text.strip_prefix("delimiter:") {
            let delimiters = read_delimiters(written)?;
            check_delimiters(&delimiters)?;
            return Ok(Granularity::Delimiter(delimiters));
        }
        Ok(match text {
            "token" | "patch" => Granularity::Token,
            "word" => Granularity::Word,
            "sentence" => Granularity::Sentence,
            "line" => Granularity::Line,
            "paragraph" => Granularity::Paragraph,
            "auto" => Granularity::Auto,
            _ => match tiles(text) {
                Some((rows, columns)) => Granularity::Tiles(rows, columns),
                None => {
                    return Err(Error::request(format!(
                        "unknown granularity \"{text}\"; use token, word, sentence, line, paragraph, auto, regex:PATTERN or delimiter:STR; of a \
                         picture patch, or tiles such as 6x6"
                    )));
                }
            },
        })
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Granularity::Regex(pattern) => write!(f, "regex:{pattern}"),
            Granularity::Tiles(rows, columns) => write!(f, "{rows}x{columns}"),
            Granularity::Delimiter(all) => match all.as_slice() {
                [one] if !one.starts_with("[\"") => write!(f, "delimiter:{}", escape(one)),
                _ => write!(f, "delimiter:{}", serde_json::Value::from(all.clone())),
            },
            _ => f.write_str(self.kind()),
        }
    }
}

impl TryFrom<String> for Granularity {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Granularity> for String {
    fn from(granularity: Granularity) -> String {
        granularity.to_string()
    }
}

/// `ROWSxCOLUMNS`, each 1 to 1024.
fn tiles(text: &str) -> Option<(usize, usize)> {
    const MOST: usize = 1024;
    let (rows, columns) = text.split_once('x')?;
    let side = |n: &str| n.parse().ok().filter(|n| (1..=MOST).contains(n));
    Some((side(rows)?, side(columns)?))
}

/// The pattern, ready to run; backtracking is bounded by the library.
pub(super) fn compile(pattern: &str) -> Result<fancy_regex::Regex> {
    if pattern.is_empty() {
        return Err(Error::request("the regex is empty; give a pattern whose matches become units, for example regex:\\d+"));
    }
    fancy_regex::Regex::new(pattern).map_err(|reason| Error::request(format!("the regex `{pattern}` is not valid: {reason}")))
}

pub(super) fn check_delimiters(delimiters: &[String]) -> Result<()> {
    if delimiters.is_empty() || delimiters.iter().any(String::is_empty) {
        return Err(Error::request("a delimiter is empty; give at least one character, for example delimiter:### or delimiter:\\n"));
    }
    Ok(())
}

fn read_delimiters(written: &str) -> Result<Vec<String>> {
    if written.starts_with("[\"") {
        return serde_json::from_str(written).map_err(|reason| {
            Error::request(format!("the delimiters {written} are not a list such as [\"###\",\"\\n\"] in JSON: {reason}"))
        });
    }
    Ok(vec![unescape(written)?])
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

fn unescape(written: &str) -> Result<String> {
    let mut text = String::with_capacity(written.len());
    let mut characters = written.chars();
    while let Some(c) = characters.next() {
        let plain = match (c, if c == '\\' { characters.next() } else { None }) {
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('t')) => '\t',
            ('\\', Some('\\')) => '\\',
            ('\\', other) => {
                let found = other.map(String::from).unwrap_or_default();
                return Err(Error::request(format!(
                    "the delimiter {written} has the unknown escape \\{found}; use \\n, \\r or \\t, and \\\\ for a backslash"
                )));
            }
            _ => c,
        };
        text.push(plain);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delimiters(all: &[&str]) -> Granularity {
        Granularity::Delimiter(all.iter().map(|d| d.to_string()).collect())
    }

    fn message(text: &str) -> String {
        text.parse::<Granularity>().unwrap_err().to_string()
    }

    #[test]
    fn granularities_are_written_as_people_write_them() {
        use Granularity::*;
        for (granularity, written) in [
            (Token, "token"),
            (Word, "word"),
            (Sentence, "sentence"),
            (Line, "line"),
            (Paragraph, "paragraph"),
            (Auto, "auto"),
            (Regex(r"\d+(?=%)".into()), r"regex:\d+(?=%)"),
            (delimiters(&["###"]), "delimiter:###"),
            (delimiters(&["|"]), "delimiter:|"),
            (delimiters(&["\n\n"]), r"delimiter:\n\n"),
            (delimiters(&["\\n"]), r"delimiter:\\n"),
            (delimiters(&["a\"b", "\n"]), r#"delimiter:["a\"b","\n"]"#),
            (delimiters(&["[\"x\"]"]), r#"delimiter:["[\"x\"]"]"#),
        ] {
            assert_eq!(granularity.to_string(), written);
            assert_eq!(written.parse::<Granularity>().unwrap(), granularity);
            let json = serde_json::to_value(&granularity).unwrap();
            assert_eq!(json, written);
            assert_eq!(serde_json::from_value::<Granularity>(json).unwrap(), granularity);
        }
    }

    #[test]
    fn a_line_break_in_a_delimiter_may_also_be_meant_literally() {
        assert_eq!("delimiter:\n".parse::<Granularity>().unwrap(), delimiters(&["\n"]));
    }

    #[test]
    fn an_unknown_granularity_is_refused_with_the_known_ones() {
        assert!(message("words").starts_with("unknown granularity \"words\"; use token, word, sentence, line, paragraph, auto, regex:"));
    }

    #[test]
    fn an_invalid_regex_is_refused_with_pattern_and_reason() {
        let message = message("regex:a(b");
        assert!(message.starts_with("the regex `a(b` is not valid: "), "{message}");
        assert!(message.len() > "the regex `a(b` is not valid: ".len());
    }

    #[test]
    fn empty_and_malformed_delimiters_are_refused() {
        assert!(message("delimiter:").contains("a delimiter is empty"));
        assert!(message(r#"delimiter:["a",""]"#).contains("a delimiter is empty"));
        assert!(message(r#"delimiter:["a"#).contains("not a list"));
        assert!(message(r"delimiter:\x").contains(r"unknown escape \x"));
        assert!(message("delimiter:a\\").contains("unknown escape \\;"));
        assert!(message("regex:").contains("the regex is empty"));
    }
}

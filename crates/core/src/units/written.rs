//! Controls as a person writes them: `worst=0.1`, `worst#2=0`, `3..7=10`, `chars:10..20=0.5`.
//!
//! ```text
//! WHAT=FACTOR     the last '=' separates the two
//! text            every occurrence of the text, exactly as written; text#2: the second
//! "text"          the same for a text that looks like something else: "3..7", "C#1"; "text"#2
//! text:…          the same without quotes; nothing in it has a meaning of its own
//! 5  3..7         the token with index 5; the tokens 3 to 6 (from 0, end exclusive)
//! chars:10..20    the characters 10 to 19 (from 0, end exclusive)
//! ```
//!
//! Deliberately absent: open ranges (`3..`), several parts in one control, and the overlap, which is an option for all of them.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::overlap::Overlap;
use super::select::{ControlSpec, Which, check_factor, check_order};
use crate::{Error, Result};

impl FromStr for ControlSpec {
    type Err = Error;

    fn from_str(written: &str) -> Result<Self> {
        let malformed = |why: &str| {
            Error::request(format!(
                "the control `{written}` {why}; write WHAT=FACTOR, for example worst=0.1, worst#2=0.1, 3..7=10 or chars:10..20=0.5"
            ))
        };
        let (which, factor) = written.rsplit_once('=').ok_or_else(|| malformed("has no factor"))?;
        if which.is_empty() {
            return Err(malformed("does not say what to control"));
        }
        let factor = factor.trim().parse().map_err(|_| malformed(&format!("has the factor \"{factor}\", which is not a number")))?;
        Ok(ControlSpec { which: which.parse()?, factor: check_factor(factor)?, overlap: Overlap::default() })
    }
}

impl FromStr for Which {
    type Err = Error;

    fn from_str(written: &str) -> Result<Self> {
        let all_of = |needle: &str| Which::Text { needle: needle.to_owned(), occurrence: None };
        let which = if let Some(needle) = written.strip_prefix("text:") {
            all_of(needle)
        } else if let Some(range) = written.strip_prefix("chars:") {
            Which::Chars(read_range(range, "characters")?)
        } else if let Some(rest) = written.strip_prefix('"') {
            read_quoted(written, rest)?
        } else if looks_like_tokens(written) {
            Which::Tokens(read_range(written, "tokens")?)
        } else {
            match split_occurrence(written, "#") {
                Some((needle, n)) if !needle.is_empty() => numbered(needle, n)?,
                _ => all_of(written),
            }
        };
        match &which {
            Which::Text { needle, .. } if needle.is_empty() => {
                Err(Error::request(format!("`{written}` names an empty text; give at least one character of the input")))
            }
            _ => Ok(which),
        }
    }
}

/// `rest` is `written` without its opening quote.
fn read_quoted(written: &str, rest: &str) -> Result<Which> {
    if let Some(needle) = rest.strip_suffix('"') {
        return Ok(Which::Text { needle: needle.to_owned(), occurrence: None });
    }
    let (needle, n) = split_occurrence(rest, "\"#").ok_or_else(|| {
        Error::request(format!(
            "`{written}` opens a quotation and does not close it; for a text with a quotation mark write text:{written}"
        ))
    })?;
    numbered(needle, n)
}

/// The digits behind the last `mark`, and what is before it.
fn split_occurrence<'a>(written: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    written.rsplit_once(mark).filter(|(_, n)| is_digits(n))
}

fn numbered(needle: &str, n: &str) -> Result<Which> {
    match read_number(n)? {
        0 => Err(Error::request(format!("occurrences of \"{needle}\" count from 1; for the first write {needle}#1"))),
        n => Ok(Which::Text { needle: needle.to_owned(), occurrence: Some(n) }),
    }
}

/// A number or an attempt at a range of numbers.
fn looks_like_tokens(written: &str) -> bool {
    let (start, end) = written.split_once("..").unwrap_or((written, ""));
    let end = end.strip_prefix('=').unwrap_or(end);
    let digits_or_nothing = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    digits_or_nothing(start) && digits_or_nothing(end) && !(start.is_empty() && end.is_empty())
}

/// `3..7`, or `3` for `3..4`.
fn read_range(written: &str, what: &str) -> Result<Range<usize>> {
    let (start, end) = written.split_once("..").unwrap_or((written, written));
    if !is_digits(start) || !is_digits(end) {
        return Err(Error::request(format!("\"{written}\" is not a range of {what}; write both ends, for example 3..7 for {what} 3 to 6")));
    }
    let start = read_number(start)?;
    let range = start..if written.contains("..") { read_number(end)? } else { start.saturating_add(1) };
    check_order(&range, what)?;
    Ok(range)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

fn read_number(digits: &str) -> Result<usize> {
    digits.parse().map_err(|_| Error::request(format!("the number {digits} is too large to count tokens or characters with")))
}

/// As [`FromStr`] reads it; the overlap is not in it.
impl fmt::Display for ControlSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.which, self.factor)
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Text { needle, occurrence: None } => write!(f, "\"{needle}\""),
            Which::Text { needle, occurrence: Some(n) } => write!(f, "\"{needle}\"#{n}"),
            Which::Tokens(range) => write!(f, "{}..{}", range.start, range.end),
            Which::Chars(range) => write!(f, "chars:{}..{}", range.start, range.end),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(needle: &str, occurrence: Option<usize>) -> Which {
        Which::Text { needle: needle.to_owned(), occurrence }
    }

    fn message(written: &str) -> String {
        written.parse::<ControlSpec>().unwrap_err().to_string()
    }

    #[test]
    fn controls_are_read_as_they_are_meant() {
        for (written, which, factor) in [
            ("worst=0.0", text("worst", None), 0.0),
            (" worst=0.5", text(" worst", None), 0.5),
            ("worst#2=0.1", text("worst", Some(2)), 0.1),
            ("a=b=0.5", text("a=b", None), 0.5),
            ("C#=2", text("C#", None), 2.0),
            ("#5=2", text("#5", None), 2.0),
            ("a#1#2=2", text("a#1", Some(2)), 2.0),
            ("5=0", Which::Tokens(5..6), 0.0),
            ("3..7=10", Which::Tokens(3..7), 10.0),
            ("-1=0", text("-1", None), 0.0),
            ("..=0", text("..", None), 0.0),
            ("1.5=0", text("1.5", None), 0.0),
            ("chars:10..20=0.5", Which::Chars(10..20), 0.5),
            ("\"3..7\"=0", text("3..7", None), 0.0),
            ("\"3\"#2= 1e-2", text("3", Some(2)), 0.01),
            ("\"a\"b\"=0", text("a\"b", None), 0.0),
            ("\"C#1\"=0", text("C#1", None), 0.0),
            ("text:3..7=0", text("3..7", None), 0.0),
            ("text:a#2=0", text("a#2", None), 0.0),
            ("text:\"=0", text("\"", None), 0.0),
        ] {
            assert_eq!(written.parse::<ControlSpec>().unwrap(), ControlSpec { which, factor, overlap: Overlap::Partial }, "{written}");
        }
    }

    #[test]
    fn malformed_controls_are_refused_with_the_form() {
        assert!(message("worst").starts_with("the control `worst` has no factor; write WHAT=FACTOR, for example worst=0.1"));
        assert!(message("=0.5").contains("does not say what to control"));
        assert!(message("worst=").contains("has the factor \"\", which is not a number"));
        assert!(message("worst=a lot").contains("has the factor \"a lot\", which is not a number"));
        assert!(message("worst=-1").contains("suppression factor -1"));
        assert!(message("worst=NaN").contains("suppression factor NaN"));
        assert!(message("worst=inf").contains("suppression factor inf"));
        assert!(message("worst#0=1").contains("count from 1"));
        assert!(message("\"worst=1").contains("opens a quotation and does not close it"));
        assert!(message("\"\"=1").contains("names an empty text"));
        assert!(message("text:=1").contains("names an empty text"));
        assert!(message("\"\"#2=1").contains("names an empty text"));
    }

    #[test]
    fn malformed_ranges_are_refused_before_any_model_is_loaded() {
        assert_eq!(message("7..3=0"), "tokens 7..3 are the wrong way round; write 3..7");
        assert_eq!(message("3..3=0"), "tokens 3..3 are none, since the end is exclusive; write 3..4");
        assert!(message("3..=0").contains("\"3..\" is not a range of tokens"));
        assert!(message("..7=0").contains("\"..7\" is not a range of tokens"));
        assert!(message("3..=7=0").contains("\"3..=7\" is not a range of tokens"));
        assert!(message("chars:a..7=0").contains("\"a..7\" is not a range of characters"));
        assert!(message("chars:7..3=0").contains("characters 7..3 are the wrong way round"));
        assert!(message("99999999999999999999=0").contains("is too large"));
        assert!(message("worst#99999999999999999999=0").contains("is too large"));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            needle in "[a\"#=:.0-9 é]{1,8}",
            occurrence in proptest::option::of(1usize..100),
            range in (0usize..50, 1usize..50),
            kind in 0..3,
            factor in 0.0f64..100.0,
        ) {
            let range = range.0..range.0 + range.1;
            let which = match kind {
                0 => Which::Text { needle, occurrence },
                1 => Which::Tokens(range),
                _ => Which::Chars(range),
            };
            let spec = ControlSpec { which, factor, overlap: Overlap::Partial };
            prop_assert_eq!(spec.to_string().parse::<ControlSpec>().unwrap(), spec);
        }

        #[test]
        fn nothing_that_is_written_panics(written in "[\"#=:.0-9a-z -]{0,12}|(text:|chars:|\")[.0-9\"#=]{0,8}=[0-9]") {
            let _ = written.parse::<ControlSpec>();
        }
    }
}

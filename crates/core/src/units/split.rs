//! Where a text is cut: words, lines, paragraphs, regex matches, and what lies between delimiters.
//!
//! Words are those of Unicode Standard Annex 29, without the blank ones. Grapheme clusters (an emoji with its modifiers, a letter with
//! its marks) are never cut, except by a regex or a delimiter, which are taken at their word.
//! Deliberately absent: language-specific words (compounds, clitics, scripts that need a dictionary).

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::granularity::{Granularity, check_delimiters, compile};
use super::overlap::is_blank;
use super::sentences::sentences;
use crate::{Error, Result};

/// Spans of the units of `part`, in bytes of `part`: trimmed, not blank, in order, disjoint.
///
/// [`Granularity::Token`] and [`Granularity::Auto`] are not for here and give the whole part.
pub(super) fn spans(part: &str, granularity: &Granularity) -> Result<Vec<Range<usize>>> {
    let spans = match granularity {
        Granularity::Word => between(part, part.split_word_bound_indices().map(|(start, _)| start)),
        Granularity::Sentence => sentences(part),
        Granularity::Line => lines(part),
        Granularity::Paragraph => paragraphs(part),
        Granularity::Regex(pattern) => matches(part, pattern)?,
        Granularity::Tiles(rows, columns) => {
            return Err(Error::request(format!("{rows}x{columns} tiles are units of a picture; a text has words, sentences and the like")));
        }
        Granularity::Delimiter(delimiters) => between_delimiters(part, delimiters)?,
        Granularity::Token | Granularity::Auto => std::iter::once(0..part.len()).collect(),
    };
    Ok(spans.into_iter().filter(|span| !is_blank(&part[span.clone()])).map(|span| trim(part, span)).collect())
}

/// The span without blank grapheme clusters at its ends. A mark that sits on a blank keeps it.
pub(super) fn trim(text: &str, span: Range<usize>) -> Range<usize> {
    let inner = &text[span.clone()];
    let start = inner.grapheme_indices(true).find(|(_, cluster)| !is_blank(cluster)).map_or(0, |(at, _)| at);
    let end = inner.grapheme_indices(true).rev().find(|(_, cluster)| !is_blank(cluster)).map_or(start, |(at, c)| at + c.len());
    span.start + start..span.start + end
}

/// Spans between rising cut positions; a cut inside a grapheme cluster is not made.
pub(super) fn between(part: &str, cuts: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut clusters = part.grapheme_indices(true).map(|(at, _)| at).peekable();
    let mut spans = Vec::new();
    let mut start = 0;
    for cut in cuts.chain([part.len()]) {
        while clusters.next_if(|&at| at < cut).is_some() {}
        let whole = cut == part.len() || clusters.peek() == Some(&cut);
        if whole && cut > start {
            spans.push(start..cut);
            start = cut;
        }
    }
    spans
}

/// Each line with its line break; `\r\n` counts as one, a lone `\r` as none.
pub(super) fn lines(part: &str) -> Vec<Range<usize>> {
    let mut end = 0;
    part.split_inclusive('\n')
        .map(|line| {
            end += line.len();
            end - line.len()..end
        })
        .collect()
}

/// Runs of lines that are not blank.
fn paragraphs(part: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut open = false;
    for line in lines(part) {
        let blank = is_blank(&part[line.clone()]);
        match spans.last_mut().filter(|_| open && !blank) {
            Some(paragraph) => paragraph.end = line.end,
            None if !blank => spans.push(line),
            None => {}
        }
        open = !blank;
    }
    spans
}

fn matches(part: &str, pattern: &str) -> Result<Vec<Range<usize>>> {
    let regex = compile(pattern)?;
    regex
        .find_iter(part)
        .map(|found| {
            found.map(|m| m.range()).map_err(|reason| Error::request(format!("the regex `{pattern}` cannot be run on this text: {reason}")))
        })
        .collect()
}

fn between_delimiters(part: &str, delimiters: &[String]) -> Result<Vec<Range<usize>>> {
    check_delimiters(delimiters)?;
    let mut spans = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < part.len() {
        let found = delimiters.iter().filter(|d| part.as_bytes()[at..].starts_with(d.as_bytes())).map(String::len).max();
        if let Some(length) = found {
            spans.push(start..at);
            start = at + length;
        }
        at += found.unwrap_or(1);
    }
    spans.push(start..part.len());
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, granularity: &str) -> Vec<String> {
        let spans = spans(text, &granularity.parse().unwrap()).unwrap();
        spans.into_iter().map(|span| text[span].to_owned()).collect()
    }

    #[test]
    fn punctuation_is_its_own_word_and_an_apostrophe_inside_a_word_is_not() {
        assert_eq!(
            cut("I don't know, Bob’s 3.5% (of it).", "word"),
            ["I", "don't", "know", ",", "Bob’s", "3.5", "%", "(", "of", "it", ")", "."]
        );
        assert_eq!(cut("well-known  snake_case\tU.S.A", "word"), ["well", "-", "known", "snake_case", "U.S.A"]);
    }

    #[test]
    fn words_of_other_scripts_come_out_whole() {
        assert_eq!(cut("Größe naïve", "word"), ["Größe", "naïve"]);
        assert_eq!(cut("nai\u{308}ve e\u{301}te\u{301}", "word"), ["nai\u{308}ve", "e\u{301}te\u{301}"], "combining marks");
        assert_eq!(cut("שלום עולם!", "word"), ["שלום", "עולם", "!"]);
        assert_eq!(cut("مرحبا بالعالم.", "word"), ["مرحبا", "بالعالم", "."]);
        assert_eq!(cut("東京は。", "word"), ["東", "京", "は", "。"]);
    }

    #[test]
    fn an_emoji_is_never_cut() {
        let family = "👨\u{200d}👩\u{200d}👧";
        let text = format!("{family}🇩🇪🇫🇷 👍🏽 e\u{301}");
        assert_eq!(cut(&text, "word"), [family, "🇩🇪", "🇫🇷", "👍🏽", "e\u{301}"]);
        // U+0600 is written before the digits it belongs to: the word rules would cut behind it, the cluster rules forbid it.
        assert_eq!(cut("a \u{600}+ b", "word"), ["a", "\u{600}+", "b"]);
    }

    #[test]
    fn lines_end_at_line_feeds_and_paragraphs_at_blank_lines() {
        let text = "one\r\ntwo \n\n  \t\nthree\n  four\n";
        assert_eq!(cut(text, "line"), ["one", "two", "three", "four"]);
        assert_eq!(cut(text, "paragraph"), ["one\r\ntwo", "three\n  four"]);
        assert_eq!(cut("no blank\nline", "paragraph"), ["no blank\nline"]);
        assert_eq!(cut("\n\n a \n\n", "paragraph"), ["a"]);
    }

    #[test]
    fn delimiters_belong_to_no_unit_and_the_longest_wins() {
        assert_eq!(cut("a ### b######c###", "delimiter:###"), ["a", "b", "c"]);
        assert_eq!(cut("a--b---c-d", r#"delimiter:["--","---"]"#), ["a", "b", "c-d"]);
        assert_eq!(cut("été→où→", "delimiter:→"), ["été", "où"]);
        assert_eq!(cut("one\r\ntwo\n", r"delimiter:\n"), ["one", "two"]);
        assert_eq!(cut("nothing here", "delimiter:|"), ["nothing here"]);
    }

    #[test]
    fn every_match_of_a_regex_that_is_not_blank_is_a_unit() {
        assert_eq!(cut("a1 bc22, é333", r"regex:\p{L}+\d+"), ["a1", "bc22", "é333"]);
        assert_eq!(cut("10% of 20", r"regex:\d+(?=%)"), ["10"]);
        assert_eq!(cut("a  b", r"regex:\s*\w?"), ["a", "b"], "empty and blank matches are no units, and matches are trimmed");
    }

    #[test]
    fn a_regex_that_runs_away_is_an_error() {
        let text = "a".repeat(60);
        let error = spans(&text, &Granularity::Regex(r"(?=(a+a+)+b)\1".into())).unwrap_err().to_string();
        assert!(error.contains("cannot be run on this text"), "{error}");
    }

    #[test]
    fn a_mark_that_sits_on_a_blank_keeps_it() {
        assert_eq!(trim("  \u{301} ", 0..5), 1..4);
        assert_eq!(trim("\r\n a \r\n", 0..7), 3..4);
    }
}

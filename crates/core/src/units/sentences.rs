//! Sentences: Unicode's sentence boundaries (Standard Annex 29), less those that a reader would not see, plus those of the layout.
//!
//! - A blank line ends a sentence; so does a line break before or after a list item or heading, before a label (`Answer:`) and after a
//!   colon. Any other line break is a blank: wrapped prose stays whole.
//! - No sentence ends after an abbreviation that wants something to follow (`Dr.`, `e.g.`, `Fig. 3`), after initials (`J. R. Tolkien`)
//!   unless a word follows that usually begins a sentence, after a list number (`1. First`), or between a quotation and the words that
//!   go on with it in lower case (`"Really?" she said.`).
//!
//! Deliberately absent: a trained model, and abbreviations of languages other than English and German. `U.S. He` and `in section No. 5`
//! come out well, `on 3. Mai` does not; where it matters, use `line`, `delimiter:` or `regex:`.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use unicode_segmentation::UnicodeSegmentation;

use super::overlap::is_blank;
use super::split::{between, lines};

/// Never the end of a sentence.
const OPEN: &[&str] = &[
    "dr", "mr", "mrs", "ms", "prof", "st", "e.g", "i.e", "cf", "vs", "viz", "gen", "col", "sgt", "capt", "lt", "rev", "hon", "gov", "sen",
    "rep", "mt", "ft", "approx", "resp", "hr", "fr", "z.b", "d.h", "u.a", "bzw", "ca", "vgl", "sog",
];

/// Not the end of a sentence if a number follows.
const NUMBERED: &[&str] = &[
    "no", "nos", "nr", "fig", "figs", "eq", "eqs", "sec", "ch", "vol", "p", "pp", "art", "abs", "par", "tab", "ver", "jan", "feb", "mar",
    "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
];

/// After initials or an acronym, these begin a new sentence: `in the U.S. The`, but `U.S. Army`.
const STARTERS: &[&str] = &[
    "the", "a", "an", "this", "that", "these", "those", "he", "she", "it", "we", "they", "you", "i", "his", "her", "its", "our", "their",
    "in", "on", "at", "as", "but", "and", "if", "when", "while", "after", "before", "however", "there", "what", "who", "why", "how",
];

/// Brackets that open: Unicode's rules count them as closing and leave them with the sentence before. Quotes that open in one language and
/// close in another are not among them.
const OPENING: &[char] = &['(', '[', '{', '（', '「', '『', '【', '《', '〈', '〔'];

/// Signs and blanks in a row that the boundary rules get to see. They look ahead from each sign, so without a limit a long run would cost
/// its length squared; no sentence ends thirty-two signs after a full stop.
const SIGNS: usize = 32;

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern, compiled by every test of this module")
}

/// A list item's bullet or number, or a heading's hashes, at the start of a line.
static ITEM: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(?:[-*+•‣◦·–—]|#{1,6}|\(?\d{1,3}[.)]|\(?[A-Za-z]\))(?:\s|$)"));
/// Up to three words and a colon at the start of a line: `Answer:`, `Final answer: 3`.
static LABEL: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\p{Lu}[\p{L}\p{N}]*(?: [\p{L}\p{N}]+){0,2}:(?:\s|$)"));
/// A list number and nothing else.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\(?(?:\d{1,3}|[A-Za-z])[.)]$"));

/// Spans of the sentences of `part`, blanks around them included.
pub(super) fn sentences(part: &str) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    for block in blocks(part) {
        cuts.push(block.start);
        cuts.extend(ends(&part[block.clone()]).into_iter().map(|end| block.start + end));
    }
    between(part, cuts.into_iter())
}

/// Runs of lines that the layout does not part.
fn blocks(part: &str) -> Vec<Range<usize>> {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    let mut previous = "";
    for line in lines(part) {
        let words = part[line.clone()].trim();
        match blocks.last_mut() {
            Some(block) if !parted(previous, words) => block.end = line.end,
            _ => blocks.push(line),
        }
        previous = words;
    }
    blocks
}

/// Whether the break between two trimmed lines ends a sentence.
fn parted(above: &str, below: &str) -> bool {
    let goes_on = below.starts_with(char::is_lowercase);
    above.is_empty()
        || below.is_empty()
        || above.ends_with(':')
        || ITEM.is_match(below)
        || LABEL.is_match(below)
        || (ITEM.is_match(above) && !goes_on)
}

/// Where sentences within a block end, its own end left out.
fn ends(block: &str) -> Vec<usize> {
    let (flat, origin) = flatten(block);
    let mut ends = Vec::new();
    let mut start = 0;
    for (found, _) in flat.split_sentence_bound_indices().skip(1) {
        let at = flat[..found].trim_end_matches(OPENING).len();
        if is_end(flat[start..at].trim(), &flat[at..]) {
            ends.push(origin[at]);
            start = at;
        }
    }
    ends
}

/// The block with one blank for each run of white space and no run of signs beyond [`SIGNS`], and where each byte of it came from.
fn flatten(block: &str) -> (String, Vec<usize>) {
    let (mut flat, mut origin) = (String::with_capacity(block.len()), Vec::with_capacity(block.len()));
    let mut signs = 0;
    for (at, c) in block.char_indices() {
        let c = if c.is_whitespace() { ' ' } else { c };
        signs = if c.is_alphanumeric() { 0 } else { signs + 1 };
        if signs > SIGNS || (c == ' ' && flat.ends_with(' ')) {
            continue;
        }
        flat.push(c);
        origin.resize(flat.len(), at);
    }
    (flat, origin)
}

/// Whether a reader sees the end of a sentence between `sentence` and `after`, where Unicode's rules have found one.
fn is_end(sentence: &str, after: &str) -> bool {
    let next = after.trim_start();
    let quotation = sentence.ends_with(['"', '\'', '”', '’', '»', '“', ')', ']']);
    if NUMBER.is_match(sentence) || (quotation && next.starts_with(char::is_lowercase)) {
        return false;
    }
    let Some(stem) = sentence.strip_suffix('.') else { return true };
    let word = stem.rsplit(|c: char| c.is_whitespace() || "([{\"'“‘„«-–—/".contains(c)).next().unwrap_or(stem);
    let lower = word.to_lowercase();
    if is_initials(word) {
        let first = next.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(next).to_lowercase();
        return is_blank(next) || STARTERS.contains(&first.as_str());
    }
    let numbered = NUMBERED.contains(&lower.as_str()) && next.starts_with(|c: char| c.is_numeric());
    !OPEN.contains(&lower.as_str()) && !numbered
}

/// `J`, `J.R`, `U.S`, but not `I`, which ends a sentence more often than it shortens a name.
fn is_initials(word: &str) -> bool {
    let single = |part: &str| part.chars().count() == 1 && part.chars().all(char::is_uppercase);
    word != "I" && word.split('.').all(single)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|span| text[span].trim()).filter(|s| !s.is_empty()).collect()
    }

    /// Each list is a text by sentences, joined with a blank: it must fall apart where it was joined.
    fn falls_apart(sentences: &[&str]) {
        assert_eq!(cut(&sentences.join(" ")), sentences);
    }

    #[test]
    fn sentences_keep_their_final_punctuation_and_closing_quotes() {
        falls_apart(&["He left.", "Why?!", "Nobody knows…"]);
        falls_apart(&["\"It is late.\"", "(He left.)", "“Go!”", "So they went."]);
        falls_apart(&["Wait... what is that?", "No."]);
    }

    #[test]
    fn abbreviations_numbers_and_initials_do_not_end_a_sentence() {
        falls_apart(&["Dr. Smith met Mrs. Jones and Prof. Lee.", "They spoke."]);
        falls_apart(&["Use a fruit, e.g. Apples or (i.e. Pears) at 3.5 per cent.", "It rose to 4.", "Then it fell."]);
        falls_apart(&["See Fig. 3 and No. 5 of vol. 2.", "Did he say No.", "Yes."]);
        falls_apart(&["J. R. R. Tolkien and George R.R. Martin wrote.", "So did I.", "You did not."]);
        falls_apart(&["The U.S. Army is in the U.S.", "The rest is not."]);
        falls_apart(&["Das kostet z.B. Geld bzw. Zeit.", "Nr. 7 nicht."]);
        falls_apart(&["See www.example.com or mail a.b@c.org, version 1.2.3.", "Thanks."]);
    }

    #[test]
    fn a_quotation_goes_on_in_lower_case() {
        falls_apart(&["\"Really?\" she said.", "“Stop!” he cried.", "\"Why?\"", "Nobody knew."]);
    }

    #[test]
    fn a_wrapped_line_stays_in_its_sentence_and_a_blank_line_ends_it() {
        assert_eq!(cut("The capital of\nFrance is\r\nParis. It is\nbig"), ["The capital of\nFrance is\r\nParis.", "It is\nbig"]);
        assert_eq!(cut("A heading\n\nand text\n \t\nmore"), ["A heading", "and text", "more"]);
    }

    #[test]
    fn list_items_headings_and_labels_are_sentences_of_their_own() {
        let text = "Buy the following:\n- milk and\n  honey\n* eggs\n1. First. Then\n(2) second\nc) third\n# Title\nDone now";
        assert_eq!(
            cut(text),
            ["Buy the following:", "- milk and\n  honey", "* eggs", "1. First.", "Then", "(2) second", "c) third", "# Title", "Done now"]
        );
        assert_eq!(cut("Context of it\nQuestion: who\nFinal answer:\nBob"), ["Context of it", "Question: who", "Final answer:", "Bob"]);
    }

    #[test]
    fn sentences_of_other_scripts_end_at_their_own_signs() {
        assert_eq!(cut("東京は首都です。「はい。」大きい！"), ["東京は首都です。", "「はい。」", "大きい！"]);
        assert_eq!(cut("He left.(Nobody knew.)"), ["He left.", "(Nobody knew.)"]);
        assert_eq!(cut("هل أنت هنا؟ نعم."), ["هل أنت هنا؟", "نعم."]);
        assert_eq!(cut("यह एक है। वह दो है।"), ["यह एक है।", "वह दो है।"]);
    }

    #[test]
    fn a_long_run_of_signs_does_not_take_forever() {
        let text = format!("End.{}{}Next. One", " ".repeat(300_000), "()".repeat(300_000));
        let before = std::time::Instant::now();
        assert_eq!(cut(&text).last(), Some(&"One"));
        assert!(before.elapsed().as_secs() < 20, "looking ahead from each of the 900000 signs takes many minutes");
    }
}

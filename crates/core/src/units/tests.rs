//! Promises of [`units`] as a whole: by example, and for texts made of everything that is awkward.

#![allow(clippy::single_range_in_vec_init)] // one part to explain is a list of one range

use proptest::prelude::*;
use proptest::sample::select;
use unicode_segmentation::UnicodeSegmentation;

use super::*;

/// Finds each piece in the text, in order: the tokens that a tokenizer might give.
fn spans_of(text: &str, pieces: &[&str]) -> Vec<Option<Range<usize>>> {
    let mut at = 0;
    let mut place = |piece: &&str| {
        let start = at + text[at..].find(*piece).expect("the pieces of a test are in its text");
        at = start + piece.len();
        Some(start..at)
    };
    pieces.iter().map(&mut place).collect()
}

fn cut(text: &str, tokens: &[Option<Range<usize>>], granularity: &str) -> Vec<(String, Vec<(usize, f64)>)> {
    let units = units(text, tokens, &[], &granularity.parse().unwrap()).unwrap().units;
    units.into_iter().map(|unit| (text[unit.span].to_owned(), unit.tokens)).collect()
}

fn message(text: &str, within: &[Range<usize>], granularity: Granularity) -> String {
    units(text, &[], within, &granularity).unwrap_err().to_string()
}

#[test]
fn a_unit_knows_its_tokens_and_how_much_of_each() {
    let text = "in Paris, Texas";
    let mut tokens = vec![None];
    tokens.extend(spans_of(text, &["in", " Pa", "ris,", " Texas"]));
    let expected = [
        ("in", vec![(1, 1.0)]),
        ("Paris", vec![(2, 1.0), (3, 0.75)]), // "ris" of "ris,"
        (",", vec![(3, 0.25)]),
        ("Texas", vec![(4, 1.0)]),
    ];
    assert_eq!(cut(text, &tokens, "word"), expected.map(|(text, tokens)| (text.to_owned(), tokens)));
}

#[test]
fn a_blank_token_belongs_to_the_unit_around_it_and_to_none_between_two() {
    let text = "a\nb.\n\nC";
    let tokens = spans_of(text, &["a", "\n", "b", ".", "\n\n", "C"]);
    let indices = |granularity| {
        cut(text, &tokens, granularity).into_iter().map(|(_, t)| t.into_iter().map(|(i, _)| i).collect()).collect::<Vec<Vec<_>>>()
    };
    assert_eq!(indices("sentence"), [vec![0, 1, 2, 3], vec![5]]);
    assert_eq!(indices("word"), [vec![0], vec![2], vec![3], vec![5]]);
    assert_eq!(indices("token"), [vec![0], vec![1], vec![2], vec![3], vec![4], vec![5]], "at token granularity it is a unit of its own");
    assert_eq!(cut(text, &tokens, "token")[4].0, "\n\n");
}

#[test]
fn tokens_that_share_a_character_share_its_span() {
    let text = "x 🤔";
    let tokens = [Some(0..1), Some(1..6), Some(2..6), Some(2..6)]; // byte-level: " " with the first byte, then the others
    assert_eq!(cut(text, &tokens, "token").iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), ["x", "🤔", "🤔", "🤔"]);
    assert_eq!(cut(text, &tokens, "word")[1], ("🤔".to_owned(), vec![(1, 1.0), (2, 1.0), (3, 1.0)]));
    // The same where the tokenizer counts bytes inside the character.
    assert_eq!(cut(text, &[Some(2..4), Some(4..6)], "word")[1].1, [(0, 1.0), (1, 1.0)]);
}

#[test]
fn units_neither_leave_nor_cross_the_parts_to_explain() {
    let text = "<user>one two<end>three";
    let tokens = spans_of(text, &["<user", ">one", " two", "<end>", "three"]);
    let within = [6..13, 18..23];
    let run = |granularity| units(text, &tokens, &within, &granularity).unwrap().units;
    let unit = |span, tokens: &[(usize, f64)]| Unit { span, tokens: tokens.to_vec() };
    assert_eq!(run(Granularity::Paragraph), [unit(6..13, &[(1, 0.75), (2, 1.0)]), unit(18..23, &[(4, 1.0)])]);
    assert_eq!(run(Granularity::Token), [unit(6..9, &[(1, 0.75)]), unit(10..13, &[(2, 1.0)]), unit(18..23, &[(4, 1.0)])]);
}

#[test]
fn a_word_that_no_token_covers_is_kept_without_tokens() {
    assert_eq!(cut("a b", &[Some(0..1)], "word"), [("a".to_owned(), vec![(0, 1.0)]), ("b".to_owned(), vec![])]);
}

#[test]
fn auto_takes_what_is_nearest_to_thirty() {
    let choice = |text: &str, tokens: &[Option<Range<usize>>]| units(text, tokens, &[], &Granularity::Auto).unwrap().granularity;
    // The published check: 51 words against 15 sentences. Here nine sentences of 3 words (the full stop is one)
    // and six of 4.
    let fifteen = "Aaa bb. ".repeat(9) + &"Aaa bb cc. ".repeat(6);
    assert_eq!((cut(&fifteen, &[], "word").len(), cut(&fifteen, &[], "sentence").len()), (51, 15));
    assert_eq!(choice(&fifteen, &[]), Granularity::Sentence);
    // 20 sentences of two words each: 20 and 40 are equally near; the coarser wins.
    assert_eq!(choice(&"No. ".repeat(20), &[]), Granularity::Sentence);
    assert_eq!(choice("Just three words", &[]), Granularity::Word);
    let letters: Vec<_> = (0..16).map(|i| Some(i..i + 1)).collect();
    assert_eq!(choice("Just three words", &letters), Granularity::Token);
    assert_eq!(choice(&"One two three four five.\n\n".repeat(30), &[]), Granularity::Paragraph, "30 of each: the coarsest");
    assert_eq!(choice("\n", &[Some(0..1)]), Granularity::Token, "the others have nothing");
}

#[test]
fn what_has_no_units_is_refused() {
    assert_eq!(message("", &[], Granularity::Word), "the text is empty; give at least one character to explain");
    assert_eq!(message(" \n ", &[], Granularity::Auto), "the text to explain is blank (3 characters of white space); give some words");
    assert!(message("a  b", &[1..3], Granularity::Word).contains("blank (2 characters"));
    assert!(message("a b", &[], Granularity::Token).contains("no token unit in the 3 characters"));
    assert!(message("a---", &[1..4], Granularity::Delimiter(vec!["-".into()])).contains("no delimiter:- unit in the 3 characters"));
    assert!(message("abc", &[], Granularity::Regex("x".into())).contains("the regex `x` matches no text that is not blank"));
    assert!(message("abc", &[], Granularity::Regex("x*".into())).contains("matches no text"));
    assert!(message("abc", &[], Granularity::Regex("[".into())).contains("the regex `[` is not valid: "));
    assert!(message("abc", &[], Granularity::Delimiter(vec![])).contains("a delimiter is empty"));
}

#[test]
fn parts_outside_the_text_are_refused() {
    assert_eq!(message("abc", &[1..4], Granularity::Word), "the part to explain, bytes 1..4, is outside the text, which has 3 bytes");
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = 2..1;
    assert!(message("abc", &[reversed], Granularity::Word).contains("bytes 2..1, is outside"));
    assert!(message("é", &[0..1], Granularity::Word).contains("bytes 0..1, cuts a character"));
    assert!(message("abc", &[1..3, 0..1], Granularity::Word).contains("begins before the one ahead of it ends (byte 3)"));
    assert!(units("abc", &[Some(1..9)], &[], &Granularity::Word).unwrap_err().to_string().contains("token 0 claims bytes 1..9"));
}

/// Pieces that are awkward alone and worse together.
const PIECES: &[&str] = &[
    "word",
    "don't",
    "e.g.",
    "Dr.",
    "3.5",
    "U.S.",
    ".",
    "?!",
    "…",
    "\"",
    "”",
    "(",
    ")",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\n\n",
    "\t",
    "\u{a0}",
    "\u{2028}",
    "- ",
    "1. ",
    "A:",
    "é",
    "e\u{301}",
    "\u{301}",
    "שלום",
    "مرحبا",
    "\u{600}",
    "東京",
    "。",
    "ไทย",
    "한국",
    "\u{1100}",
    "नि",
    "👍🏽",
    "👨\u{200d}👩\u{200d}👧",
    "🇩🇪",
    "\u{200d}",
    "\u{200b}",
    "\u{feff}",
    "\0",
    "###",
    "\u{202e}",
];

fn awkward() -> impl Strategy<Value = String> {
    prop_oneof![proptest::collection::vec(select(PIECES), 0..24).prop_map(|pieces| pieces.concat()), any::<String>()]
}

/// Cuts a text into tokens of a few characters, now and then with a token of no text or one twice.
fn tokenize(text: &str, sizes: &[usize]) -> Vec<Option<Range<usize>>> {
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).skip(1).chain([text.len()]).collect();
    let (mut tokens, mut start, mut done) = (Vec::new(), 0, 0);
    for &size in sizes.iter().cycle().take(sizes.len() * (ends.len() + 1)) {
        if size == 0 {
            tokens.push(None);
            continue;
        }
        let Some(&end) = ends.get((done + size - 1).min(ends.len().wrapping_sub(1))) else { break };
        if end == start {
            break;
        }
        tokens.extend(std::iter::repeat_n(Some(start..end), if size == 4 { 2 } else { 1 }));
        (start, done) = (end, done + size);
    }
    tokens
}

fn part_of(text: &str, cuts: (usize, usize)) -> Range<usize> {
    let place = |n: usize| text.floor_char_boundary(n % (text.len() + 1));
    let (a, b) = (place(cuts.0), place(cuts.1));
    a.min(b)..a.max(b)
}

const GRANULARITIES: &[&str] = &["token", "word", "sentence", "line", "paragraph", "auto", "delimiter:###", r"regex:\w+"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn units_are_ordered_disjoint_trimmed_and_complete(
        text in awkward(),
        sizes in proptest::collection::vec(0usize..5, 1..6),
        granularity in select(GRANULARITIES),
        cuts in proptest::option::of((0usize..400, 0usize..400)),
    ) {
        let tokens = tokenize(&text, &sizes);
        let within: Vec<_> = cuts.map(|cuts| part_of(&text, cuts)).into_iter().collect();
        let part = within.first().cloned().unwrap_or(0..text.len());
        let Ok(Units { granularity, units }) = units(&text, &tokens, &within, &granularity.parse().unwrap()) else {
            let blank = text[part].split("###").all(|s| s.trim().is_empty());
            let none_needed = granularity.starts_with("regex") || tokens.iter().all(Option::is_none);
            prop_assert!(blank || none_needed, "a text with words has units");
            return Ok(());
        };
        prop_assert!(granularity != Granularity::Auto && !units.is_empty());
        let mut end = part.start;
        for unit in &units {
            let Range { start, end: stop } = unit.span;
            let shared = granularity == Granularity::Token && units.iter().filter(|u| u.span == unit.span).count() > 1;
            prop_assert!(start < stop && stop <= part.end && text.is_char_boundary(start) && text.is_char_boundary(stop));
            prop_assert!(start >= end || shared, "disjoint and in order");
            let inner = &text[unit.span.clone()];
            let blank_token = granularity == Granularity::Token && is_blank(inner);
            let ends_blank = inner.graphemes(true).next().is_some_and(is_blank) || inner.graphemes(true).next_back().is_some_and(is_blank);
            prop_assert!(blank_token || !ends_blank, "no white space around");
            prop_assert!(unit.tokens.iter().all(|&(token, share)| tokens[token].is_some() && share > 0.0 && share <= 1.0));
            prop_assert!(unit.tokens.is_sorted_by(|a, b| a.0 < b.0));
            end = stop;
        }
        let custom = matches!(granularity, Granularity::Regex(_) | Granularity::Delimiter(_));
        if !custom && (granularity != Granularity::Token || tokens.iter().any(Option::is_some)) {
            for (at, c) in text[part.clone()].char_indices().filter(|(_, c)| !c.is_whitespace()) {
                let homes = units.iter().filter(|unit| unit.span.contains(&(part.start + at))).count();
                let tokens_there = tokens.iter().flatten().filter(|t| t.contains(&(part.start + at))).count();
                prop_assert_eq!(homes, if granularity == Granularity::Token { tokens_there } else { 1 }, "{:?} at {}", c, at);
            }
        }
        if !custom && granularity != Granularity::Token {
            let clusters: Vec<usize> = text[part.clone()].grapheme_indices(true).map(|(at, _)| part.start + at).chain([part.end]).collect();
            for unit in &units {
                prop_assert!(clusters.contains(&unit.span.start) && clusters.contains(&unit.span.end), "clusters stay whole");
            }
        }
    }

    #[test]
    fn a_token_is_shared_out_to_at_most_the_whole(text in awkward(), sizes in proptest::collection::vec(1usize..5, 1..6)) {
        let tokens = tokenize(&text, &sizes);
        for granularity in ["word", "sentence"] {
            let Ok(units) = units(&text, &tokens, &[], &granularity.parse().unwrap()) else { return Ok(()) };
            for (index, token) in tokens.iter().enumerate() {
                let sum: f64 = units.units.iter().flat_map(|u| &u.tokens).filter(|(i, _)| *i == index).map(|(_, share)| share).sum();
                let blank = is_blank(&text[token.clone().unwrap()]);
                // A handful of fractions with a common denominator: rounding only.
                prop_assert!(if blank { sum == 0.0 || sum == 1.0 } else { (sum - 1.0).abs() < 1e-12 }, "token {} sums to {}", index, sum);
            }
        }
    }
}

use pellucid_core::{InputRecord, MethodRecord, Scores, TargetRecord, Token};

use super::*;

/// A small linear congruential generator: the tests are the same on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }

    fn span(&mut self, length: usize) -> Span {
        let (a, b) = (self.below(length + 1), self.below(length + 1));
        Span { start: a.min(b), end: a.max(b) }
    }
}

fn attribution(text: &str, spans: &[Option<Span>], shown: Vec<Span>) -> Attribution {
    let feature = |(i, span): (usize, &Option<Span>)| Feature {
        part: Part::Prompt,
        text: format!("{i}"),
        span: *span,
        positions: vec![i],
        ..Feature::default()
    };
    Attribution {
        format: pellucid_core::FORMAT.into(),
        tool_version: String::new(),
        model: Default::default(),
        input: InputRecord { text: Some(text.into()), shown, tokens: vec![Token::default(); spans.len()], ..Default::default() },
        target: TargetRecord::default(),
        method: MethodRecord { units: "token".into(), ..Default::default() },
        features: spans.iter().enumerate().map(feature).collect(),
        scores: Scores { combined: vec![1.0; spans.len()], per_target_token: vec![vec![]; spans.len()], per_contrast_token: None },
        pixels: None,
        promises: Vec::new(),
        cost: Default::default(),
    }
}

fn shown_text(section: &Section) -> String {
    section.runs.iter().filter(|r| r.kind == Kind::Text).map(|r| r.text.as_str()).collect()
}

const BITS: [&str; 16] =
    ["a", "word", " ", "  ", "\n", "\t", "e\u{301}", "👩\u{200d}👧", "🇫🇷", "日本", "عاصمة", ". ", "\r\n", "\u{1b}[0m", "<b>", "\u{202e}"];

fn random_text(chance: &mut Chance) -> String {
    (0..chance.below(30)).map(|_| BITS[chance.below(BITS.len())]).collect()
}

#[test]
fn whatever_the_features_cover_the_text_is_shown_as_it_was_written() {
    let mut chance = Chance(1);
    for _ in 0..500 {
        let text = random_text(&mut chance);
        let length = text.chars().count();
        let spans: Vec<Option<Span>> = (0..chance.below(12)).map(|_| (chance.below(8) > 0).then(|| chance.span(length))).collect();
        let a = attribution(&text, &spans, vec![]);
        for level in [Level::Unit, Level::Word, Level::Sentence] {
            let sections = sections(&a, level).unwrap();
            assert_eq!(shown_text(&sections[0]), text, "{level:?} {spans:?}");
            for feature in 0..spans.len() {
                let runs = sections[0].runs.iter().filter(|r| r.features.contains(&feature)).count();
                assert!(
                    if level == Level::Unit { runs >= 1 } else { runs == 1 },
                    "{level:?}: feature {feature} of {spans:?} in {runs} runs of {text:?}"
                );
            }
        }
    }
}

#[test]
fn only_what_a_person_wrote_is_shown_and_the_rest_is_marked() {
    let mut chance = Chance(2);
    for _ in 0..300 {
        let text = random_text(&mut chance);
        let chars: Vec<char> = text.chars().collect();
        let mut borders: Vec<usize> = (0..4).map(|_| chance.below(chars.len() + 1)).collect();
        borders.sort_unstable();
        let shown = vec![Span { start: borders[0], end: borders[1] }, Span { start: borders[2], end: borders[3] }];
        let spans: Vec<Option<Span>> = (0..5).map(|_| Some(chance.span(chars.len()))).collect();
        let a = attribution(&text, &spans, shown);
        let section = &sections(&a, Level::Unit).unwrap()[0];
        let expected: String = chars[borders[0]..borders[1]].iter().chain(&chars[borders[2]..borders[3]]).collect();
        assert_eq!(shown_text(section), expected);
        let gaps = [0, borders[1], borders[3]].iter().zip([borders[0], borders[2], chars.len()]).filter(|(a, b)| **a < *b).count();
        assert_eq!(section.runs.iter().filter(|r| r.kind == Kind::Ellipsis).count(), gaps);
    }
}

fn runs(text: &str, spans: &[(usize, usize)], level: Level) -> Vec<(String, Vec<usize>)> {
    let spans: Vec<Option<Span>> = spans.iter().map(|&(start, end)| Some(Span { start, end })).collect();
    sections(&attribution(text, &spans, vec![]), level).unwrap().remove(0).runs.into_iter().map(|r| (r.text, r.features)).collect()
}

#[test]
fn white_space_around_a_feature_is_not_coloured() {
    assert_eq!(runs("a big", &[(0, 1), (1, 5)], Level::Unit), [("a".into(), vec![0]), (" ".into(), vec![]), ("big".into(), vec![1])]);
}

#[test]
fn tokens_that_share_a_character_share_a_run() {
    assert_eq!(runs("🎉!", &[(0, 1), (0, 1), (1, 2)], Level::Unit), [("🎉".into(), vec![0, 1]), ("!".into(), vec![2])]);
    // A base letter and its mark are one character to a reader, though two to the tokenizer.
    assert_eq!(runs("e\u{301}x", &[(0, 1), (1, 3)], Level::Unit), [("e\u{301}".into(), vec![0, 1]), ("x".into(), vec![1])]);
}

#[test]
fn words_and_sentences_gather_their_tokens() {
    let tokens = [(0, 2), (2, 5), (5, 6), (6, 10), (10, 11)];
    assert_eq!(
        runs("unbox. Then!", &tokens, Level::Word),
        [("unbox".into(), vec![0, 1]), (".".into(), vec![2]), (" ".into(), vec![]), ("Then".into(), vec![3, 4]), ("!".into(), vec![])]
    );
    assert_eq!(
        runs("unbox. Then!", &tokens, Level::Sentence),
        [("unbox.".into(), vec![0, 1, 2]), (" ".into(), vec![]), ("Then!".into(), vec![3, 4])]
    );
}

#[test]
fn features_that_overlap_beyond_reason_are_refused() {
    let text = "x".repeat(8000);
    let spans: Vec<Option<Span>> = (0..4000).map(|i| Some(Span { start: i, end: 8000 - i })).collect();
    let error = sections(&attribution(&text, &spans, vec![]), Level::Unit).unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
}

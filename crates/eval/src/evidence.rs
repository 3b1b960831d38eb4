//! What is known to be true: the characters of the prompt that hold the answer.

use std::ops::Range;

use pellucid_core::{Attribution, Error, Feature, Part, Result, Span};

/// Characters of the prompt's text on which the target is known to rest. At least one span, none empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    spans: Vec<Span>,
}

/// A feature of the prompt, reduced to what the metrics ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judged {
    /// Combined score; positive speaks for the target.
    pub(crate) score: f64,
    /// It shares a character with the evidence.
    pub(crate) evidence: bool,
}

impl Evidence {
    /// From ranges of characters (Unicode scalar values, end exclusive), in any order; they may overlap.
    ///
    /// # Errors
    /// No range, or one that is empty or reversed.
    pub fn new(ranges: impl IntoIterator<Item = Range<usize>>) -> Result<Self> {
        let spans: Vec<Span> = ranges.into_iter().map(|range| Span { start: range.start, end: range.end }).collect();
        if spans.is_empty() {
            return Err(Error::request("the evidence has no span; give at least one range of characters"));
        }
        match spans.iter().find(|span| span.start >= span.end) {
            Some(Span { start, end }) => {
                Err(Error::request(format!("the evidence {start}..{end} holds no character; the end must lie behind the start")))
            }
            None => Ok(Evidence { spans }),
        }
    }

    /// The spans, as they were given.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Whether the feature shares a character with the evidence. An earlier target token never does: its span is in another text.
    pub fn touches(&self, feature: &Feature) -> bool {
        let meets = |span: Span| self.spans.iter().any(|truth| span.start.max(truth.start) < span.end.min(truth.end));
        feature.part == Part::Prompt && feature.span.is_some_and(meets)
    }

    /// The prompt's features with their scores, at least one of them evidence. Earlier target tokens are left out: no evidence is asked
    /// of them.
    ///
    /// # Errors
    /// Evidence outside the text; scores that are not one finite number per feature; evidence that meets no feature.
    pub(crate) fn judge(&self, attribution: &Attribution) -> Result<Vec<Judged>> {
        let (features, scores) = (&attribution.features, &attribution.scores.combined);
        if features.len() != scores.len() {
            return Err(Error::request(format!(
                "the attribution has {} features and {} scores; it needs one each",
                features.len(),
                scores.len()
            )));
        }
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(Error::request(format!("the score of feature {index} is {}; a metric needs finite scores", scores[index])));
        }
        let length = attribution.input.text.as_ref().map_or(usize::MAX, |text| text.chars().count());
        if let Some(Span { start, end }) = self.spans.iter().find(|span| span.end > length) {
            return Err(Error::request(format!("the evidence {start}..{end} is outside the prompt, which has {length} characters")));
        }
        let prompt = features.iter().zip(scores).filter(|(feature, _)| feature.part == Part::Prompt);
        let judged: Vec<_> = prompt.map(|(feature, &score)| Judged { score, evidence: self.touches(feature) }).collect();
        if !judged.iter().any(|feature| feature.evidence) {
            return Err(Error::request(format!(
                "none of the {} features of the prompt holds a character of the evidence; explain the part of the prompt that it is in",
                judged.len()
            )));
        }
        Ok(judged)
    }
}

/// Four one-letter words, `a b c d`, at characters 0, 2, 4 and 6 with these scores, and an earlier target token that must not count.
#[cfg(test)]
pub(crate) fn example(scores: &[f64]) -> Attribution {
    use pellucid_core::{CostRecord, FORMAT, InputRecord, MethodRecord, ModelRecord, Scores, TargetRecord};
    let feature = |part, start| Feature { part, span: Some(Span { start, end: start + 1 }), ..Feature::default() };
    let mut features: Vec<_> = (0..scores.len()).map(|i| feature(Part::Prompt, 2 * i)).collect();
    features.push(feature(Part::Target, 4));
    Attribution {
        format: FORMAT.to_owned(),
        tool_version: String::new(),
        model: ModelRecord::default(),
        input: InputRecord { text: Some("a b c d".to_owned()), ..InputRecord::default() },
        target: TargetRecord::default(),
        method: MethodRecord::default(),
        features,
        scores: Scores { combined: scores.iter().copied().chain([1000.0]).collect(), ..Scores::default() },
        pixels: None,
        promises: Vec::new(),
        cost: CostRecord::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(spans: &[Range<usize>], attribution: &Attribution) -> String {
        Evidence::new(spans.iter().cloned()).and_then(|truth| truth.judge(attribution)).unwrap_err().to_string()
    }

    #[test]
    fn a_feature_is_evidence_if_it_shares_a_character_with_it() {
        let evidence = |range| {
            let judged = Evidence::new([range]).unwrap().judge(&example(&[1., 2., 3., 4.])).unwrap();
            judged.iter().map(|feature| feature.evidence).collect::<Vec<_>>()
        };
        assert_eq!(evidence(2..5), [false, true, true, false]);
        assert_eq!(evidence(1..3), [false, true, false, false], "the end of one span may be the start of another");
        assert_eq!(evidence(0..7), [true; 4]);
    }

    #[test]
    fn an_earlier_target_token_is_never_evidence() {
        let attribution = example(&[1.0]);
        assert!(!Evidence::new([4..5]).unwrap().touches(&attribution.features[1]));
        assert!(message(&[4..5], &attribution).contains("none of the 1 features of the prompt"));
    }

    #[test]
    fn evidence_that_does_not_fit_is_refused() {
        let attribution = example(&[1., 2., 3., 4.]);
        assert!(message(&[], &attribution).contains("has no span"));
        assert!(message(&[3..3], &attribution).contains("the evidence 3..3 holds no character"));
        assert_eq!(message(&[0..1, 5..8], &attribution), "the evidence 5..8 is outside the prompt, which has 7 characters");
        assert!(message(&[1..2], &attribution).contains("none of the 4 features"), "the blank between two words");
    }

    #[test]
    fn scores_that_are_no_numbers_are_refused() {
        assert!(message(&[0..1], &example(&[1., f64::NAN])).contains("the score of feature 1 is NaN"));
        let mut short = example(&[1.0]);
        short.scores.combined.pop();
        assert!(message(&[0..1], &short).contains("2 features and 1 scores"));
    }
}

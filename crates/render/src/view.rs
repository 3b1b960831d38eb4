//! Which scores are looked at: the combined ones, or those of one target token.

use std::borrow::Cow;

use pellucid_core::{Attribution, Error, Feature, Part, PixelScores, Result, Sign, Span};

use crate::layout::Section;
use crate::scale::strength;

/// One number per feature out of an attribution.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) a: &'a Attribution,
    /// `None`: combined.
    pub(crate) target_token: Option<usize>,
}

/// A line of a list: features that cover the very same text, taken together.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) feature: &'a Feature,
    pub(crate) score: f64,
}

impl<'a> View<'a> {
    /// Refuses a target token that is not there. The attribution must have been checked.
    pub(crate) fn new(a: &'a Attribution, target_token: Option<usize>) -> Result<Self> {
        match target_token {
            Some(t) if t >= a.target.tokens.len() => {
                Err(Error::request(format!("target token {t} is outside the target, which has {} tokens", a.target.tokens.len())))
            }
            _ => Ok(View { a, target_token }),
        }
    }

    /// Whether what is shown has a direction: not where the method gives none, or where it was taken away from the sums.
    pub(crate) fn sign(&self) -> Sign {
        let method = &self.a.method;
        let taken_away = self.target_token.is_none() && matches!(method.postprocessing.as_str(), "absolute" | "square");
        // A file may say what is not so; then the numbers count.
        let negative = || (0..self.a.features.len()).any(|f| self.score(f).is_some_and(|s| s < 0.0));
        let pixel = || self.pixels().is_some_and(|p| p.values.iter().any(|v| *v < 0.0));
        if (taken_away || method.sign == Sign::Unsigned) && !negative() && !pixel() { Sign::Unsigned } else { Sign::Signed }
    }

    /// `None` where the feature does not precede the target token.
    pub(crate) fn score(&self, feature: usize) -> Option<f64> {
        match self.target_token {
            None => Some(self.a.scores.combined[feature]),
            Some(t) => self.a.scores.per_target_token[feature][t],
        }
    }

    /// Scores of single pixels, which are combined ones.
    pub(crate) fn pixels(&self) -> Option<&'a PixelScores> {
        self.a.pixels.as_ref().filter(|_| self.target_token.is_none())
    }

    /// The sum over features; `None` if none of them has a score.
    pub(crate) fn sum(&self, features: &[usize]) -> Option<f64> {
        features.iter().filter_map(|&f| self.score(f)).reduce(|a, b| a + b)
    }

    /// Largest magnitude among what is drawn and what is listed.
    pub(crate) fn max(&self, sections: &[Section]) -> f64 {
        let drawn = sections.iter().flat_map(|s| &s.runs).filter_map(|r| self.sum(&r.features));
        let listed = (0..self.a.features.len()).filter_map(|f| self.score(f));
        drawn.chain(listed).fold(0.0, |max, v| v.abs().max(max))
    }

    /// The features that have a score, in order of position. Several byte-level tokens within one character cover the same text: one entry.
    pub(crate) fn entries(&self) -> Vec<Entry<'a>> {
        let key = |f: &Feature| -> Option<(bool, Span)> { f.span.map(|s| (f.part == Part::Target, s)) };
        let mut entries: Vec<Entry<'a>> = Vec::new();
        for (i, feature) in self.a.features.iter().enumerate() {
            let Some(score) = self.score(i) else { continue };
            match entries.last_mut() {
                Some(last) if key(feature).is_some() && key(last.feature) == key(feature) => last.score += score,
                _ => entries.push(Entry { feature, score }),
            }
        }
        entries
    }

    /// What to call a feature of a text: its text, also where that is white space only, else its positions.
    pub(crate) fn name(&self, feature: &'a Feature) -> Cow<'a, str> {
        if !feature.text.trim().is_empty() {
            return Cow::Borrowed(&feature.text);
        }
        let text = match feature.part {
            Part::Prompt => self.a.input.text.as_deref(),
            Part::Target => self.a.target.text.as_deref(),
        };
        match (text, feature.span) {
            (Some(text), Some(Span { start, end })) if start < end => text.chars().skip(start).take(end - start).collect(),
            _ => format!("positions {:?}", feature.positions).into(),
        }
    }

    /// The strongest supporting and the strongest opposing entries, strongest first.
    pub(crate) fn top(&self, count: usize) -> (Vec<Entry<'a>>, Vec<Entry<'a>>) {
        let (mut supporting, mut opposing): (Vec<_>, Vec<_>) =
            self.entries().into_iter().filter(|e| e.score != 0.0).partition(|e| e.score > 0.0);
        supporting.sort_by(|a, b| b.score.total_cmp(&a.score));
        opposing.sort_by(|a, b| a.score.total_cmp(&b.score));
        supporting.truncate(count);
        opposing.truncate(count);
        (supporting, opposing)
    }

    /// The strength of a run of text, −1…1; `None` where nothing was scored.
    pub(crate) fn strength(&self, features: &[usize], max: f64) -> Option<f64> {
        self.sum(features).map(|v| strength(v, max))
    }
}

//! The prompt cut into features: units of its text, and, where they are asked for, the special tokens beside it.

use std::ops::Range;

use pellucid_core::{
    Error, Feature, FeaturePositions, Part, Result, Span,
    units::{Granularity, units},
};
use pellucid_models::Loaded;

use super::{Request, goal::Aimed};
use crate::{
    picture::{Seen, Units},
    prompt::{Characters, Prompt, Reading},
};

/// What gets scores.
#[derive(Debug, Default)]
pub(super) struct Cut {
    pub(super) features: Vec<Feature>,
    pub(super) positions: Vec<FeaturePositions>,
    /// What the units are.
    pub(super) units: String,
}

impl Cut {
    /// Units that no token covers are left out: the model never saw them. Special tokens are features where an encoder's tokens are, and
    /// where a person asks for them; the mask is one, but for tokens and for units that are longer than it.
    pub(super) fn new(request: &Request, reading: &Reading, loaded: &Loaded) -> Result<Self> {
        if let Some(seen) = &reading.seen {
            return of_picture(request, seen);
        }
        let causal = reading.model(loaded)?.description().causal;
        let is_special = |p: usize| loaded.tokenizer.as_ref().is_some_and(|t| t.is_special(reading.ids[p]));
        let Some(text) = &reading.text else { return of_ids(reading, &request.units, &is_special) };
        let by_token = request.units == Granularity::Token;
        let mask = loaded.tokenizer.as_ref().and_then(|t| t.mask()).filter(|_| !causal);
        let masks: Vec<usize> = (0..reading.ids.len()).filter(|p| reading.spans[*p].is_some() && Some(reading.ids[*p]) == mask).collect();
        let apart = request.units == Granularity::Word && !masks.is_empty();
        let parts = if apart {
            without(text, &reading.explained, masks.iter().filter_map(|p| reading.spans[*p].clone()))
        } else {
            reading.explained.clone()
        };

        let characters = Characters::of(text);
        let found = units(text, &reading.spans, &parts, &request.units)?;
        let mut cut = Self { units: found.granularity.to_string(), ..Self::default() };
        for unit in found.units.into_iter().filter(|u| !u.tokens.is_empty()) {
            let special = by_token && unit.tokens.iter().all(|t| is_special(t.0));
            cut.push(text[unit.span.clone()].to_owned(), Some(characters.span(&unit.span)), unit.tokens, special);
        }
        let named = !request.within.only.is_empty();
        if request.special_tokens || (by_token && !causal && !named) {
            let added = (0..reading.ids.len()).filter(|p| reading.spans[*p].is_none() || (apart && masks.contains(p)));
            for p in added {
                let name = loaded.tokenizer.as_ref().map_or(String::new(), |t| t.token_text(reading.ids[p]));
                let span = reading.spans[p].as_ref().map(|s| characters.span(s));
                cut.push(name, span, vec![(p, 1.0)], is_special(p));
            }
            cut.sort();
        }
        Ok(cut)
    }

    fn push(&mut self, text: String, span: Option<Span>, tokens: Vec<(usize, f64)>, special: bool) {
        let positions = tokens.iter().map(|t| t.0).collect();
        self.features.push(Feature { part: Part::Prompt, text, span, positions, special, ..Feature::default() });
        self.positions.push(FeaturePositions { part: Part::Prompt, positions: tokens });
    }

    fn sort(&mut self) {
        let both = std::mem::take(&mut self.features).into_iter().zip(std::mem::take(&mut self.positions));
        let mut both: Vec<_> = both.collect();
        both.sort_by_key(|(feature, _)| feature.positions.first().copied());
        (self.features, self.positions) = both.into_iter().unzip();
    }

    /// Every target token but the last, behind a prompt of so many tokens.
    pub(super) fn add_target(&mut self, target: &Aimed, prompt: usize) {
        let text = target.text.as_deref().unwrap_or("");
        let characters = Characters::of(text);
        for (t, (id, span)) in target.ids.iter().zip(&target.spans).enumerate().take(target.ids.len() - 1) {
            let position = prompt + t;
            let own = span.as_ref().map_or(format!("#{id}"), |s| text[s.clone()].trim().to_owned());
            let span: Option<Span> = span.as_ref().map(|s| characters.span(s));
            self.features.push(Feature { part: Part::Target, text: own, span, positions: vec![position], ..Feature::default() });
            self.positions.push(FeaturePositions { part: Part::Target, positions: vec![(position, 1.0)] });
        }
    }
}

fn of_picture(request: &Request, seen: &Seen) -> Result<Cut> {
    if request.special_tokens {
        return Err(Error::request("a picture has no special tokens; leave out --special-tokens"));
    }
    let units = match &request.prompt {
        Prompt::Image { regions, .. } if !regions.is_empty() => Units { name: "box".into(), ..seen.boxes(regions)? },
        _ => seen.units(&request.units)?,
    };
    Ok(Cut { features: units.features, positions: units.positions, units: units.name })
}

fn of_ids(reading: &Reading, granularity: &Granularity, is_special: &dyn Fn(usize) -> bool) -> Result<Cut> {
    if !matches!(granularity, Granularity::Token | Granularity::Auto) {
        return Err(Error::request(format!("units `{granularity}` need a text, but token ids were given; explain tokens")));
    }
    let mut cut = Cut { units: "token".into(), ..Cut::default() };
    reading.ids.iter().enumerate().for_each(|(p, id)| cut.push(format!("#{id}"), None, vec![(p, 1.0)], is_special(p)));
    Ok(cut)
}

/// The parts (none: the whole text) without some stretches.
fn without(text: &str, parts: &[Range<usize>], gaps: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let whole = std::iter::once(0..text.len()).collect();
    let parts = if parts.is_empty() { whole } else { parts.to_vec() };
    gaps.fold(parts, |parts, gap| {
        let beside = |p: Range<usize>| [p.start..p.end.min(gap.start), p.start.max(gap.end)..p.end];
        parts.into_iter().flat_map(beside).filter(|p| p.start < p.end).collect()
    })
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_taken_out_of_the_parts() {
        let parts = |given: &[Range<usize>], gaps: &[Range<usize>]| without("0123456789", given, gaps.iter().cloned());
        assert_eq!(parts(&[], &[3..5]), [0..3, 5..10]);
        assert_eq!(parts(&[0..4, 5..10], &[3..6, 9..10]), [0..3, 6..9]);
        assert!(parts(&[2..4], &[0..10]).is_empty());
    }
}

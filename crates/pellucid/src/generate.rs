//! Continuing a text, with or without control.
//!
//! Each token is drawn from `softmax(logits / temperature)` cut first to the `top_k` likeliest, then to the fewest that together reach
//! `top_p`; temperature 0 takes the likeliest (ties: the lower id). Controls act on the prompt's tokens; new tokens are never touched.
//! Deliberately absent: beam search, repetition penalties.

use pellucid_core::{
    Control, Engine, Error, Mode, Result, Symbol,
    units::{ControlSpec, factors},
};
use pellucid_models::{Loaded, text::TextTokenizer};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::prompt::{Prompt, Reading, Within, reads_whole};

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0: always the likeliest.
    pub temperature: f64,
    /// Only the k likeliest; `None`: all.
    pub top_k: Option<usize>,
    /// Only the likeliest that together reach p, above 0 and at most 1.
    pub top_p: f64,
    /// Where chance begins.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: None, top_p: 1.0, seed: 0 }
    }
}

impl Sampling {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Names the one that makes no sense.
    pub fn checked(self) -> Result<Self> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(Error::request(format!("temperature {} is not a number from 0 on; 0 takes the likeliest token", self.temperature)));
        }
        if self.top_k == Some(0) {
            return Err(Error::request("top-k 0 leaves no token to draw; give 1 or more, or leave it out"));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::request(format!("top-p {} is not above 0 and at most 1", self.top_p)));
        }
        Ok(self)
    }
}

/// A request for a continuation.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the model reads.
    pub prompt: Prompt,
    /// What is done to its tokens.
    pub controls: Vec<ControlSpec>,
    /// How factors act.
    pub mode: Mode,
    /// Layers that controls act in; `None`: all.
    pub layers: Option<Vec<usize>>,
    /// At most so many tokens.
    pub tokens: usize,
    /// How they are drawn.
    pub sampling: Sampling,
}

/// A continuation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Continuation {
    /// Its tokens, without an end-of-sequence token.
    pub ids: Vec<u32>,
    /// Its text; empty where there is no tokenizer.
    pub text: String,
    /// Whether the model itself stopped.
    pub ended: bool,
}

/// Continues a prompt; `hear` gets the text piece by piece.
///
/// # Errors
/// A control that matches nothing, sampling numbers that make no sense, a prompt that leaves no room, an interruption.
pub fn generate(request: &Request, loaded: &Loaded, engine: &Engine<'_>, hear: &mut dyn FnMut(&str)) -> Result<Continuation> {
    let sampling = request.sampling.checked()?;
    let tokenizer = loaded.tokenizer.as_ref();
    if !loaded.model.description().causal {
        return Err(reads_whole(loaded.model.description(), "cannot go on with it", "choose a decoder, such as smollm2-135m"));
    }
    let reading = Reading::new(&request.prompt, &Within::default(), loaded)?;
    let layers = engine.model.description().layers;
    if let Some(layer) = request.layers.iter().flatten().find(|l| **l >= layers) {
        return Err(Error::request(format!("layer {layer} is beyond the model, which has {layers} layers (0 to {})", layers - 1)));
    }
    let factors = factors(&request.controls, reading.text.as_deref().unwrap_or(""), &reading.spans)?;
    let control = Control::new(request.mode, factors.into_iter().enumerate(), request.layers.as_deref())?;
    let mut chance = ChaCha8Rng::seed_from_u64(sampling.seed);
    run(engine, tokenizer, &reading.symbols(), control, request.tokens, &mut |logits| draw(logits, &sampling, &mut chance), hear)
}

/// The model's own likeliest continuation. At least one token, even where the model would stop.
///
/// # Errors
/// As [`generate`].
pub fn greedy(engine: &Engine<'_>, tokenizer: Option<&TextTokenizer>, prompt: &[Symbol], tokens: usize) -> Result<Vec<u32>> {
    let done = run(engine, tokenizer, prompt, Control::none(), tokens, &mut |logits| likeliest(logits), &mut |_| {})?;
    if done.ids.is_empty() {
        let what = "the model ends here instead of going on: give a target, or word the prompt so that something must follow";
        return Err(Error::request(what));
    }
    Ok(done.ids)
}

fn run(
    engine: &Engine<'_>,
    tokenizer: Option<&TextTokenizer>,
    prompt: &[Symbol],
    control: Control,
    tokens: usize,
    choose: &mut dyn FnMut(&[f64]) -> u32,
    hear: &mut dyn FnMut(&str),
) -> Result<Continuation> {
    let context = engine.model.description().context;
    if prompt.is_empty() || prompt.len() + tokens > context + 1 {
        return Err(Error::request(format!(
            "a prompt of {} tokens and {tokens} more do not fit: the model takes 1 to {context} tokens",
            prompt.len()
        )));
    }
    let ends = tokenizer.map_or(Vec::new(), TextTokenizer::end_of_sequence);
    let mut streamer = tokenizer.map(TextTokenizer::streamer);
    let mut done = Continuation::default();
    let mut decoder = engine.decoder(vec![control])?;
    let mut next = prompt.to_vec();
    while done.ids.len() < tokens {
        let logits = decoder.push(&[next])?.pop().expect("one sequence was pushed");
        let id = choose(&logits);
        if ends.contains(&id) {
            done.ended = true;
            break;
        }
        done.ids.push(id);
        if let Some(streamer) = &mut streamer {
            let piece = streamer.push(id);
            hear(&piece);
            done.text.push_str(&piece);
        }
        next = vec![Symbol::Token(id)];
    }
    if let Some(mut streamer) = streamer {
        let piece = streamer.finish();
        hear(&piece);
        done.text.push_str(&piece);
    }
    Ok(done)
}

pub(crate) fn likeliest(logits: &[f64]) -> u32 {
    let best = logits.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (i, l)| if *l > best.1 { (i, *l) } else { best });
    best.0 as u32
}

fn draw(logits: &[f64], sampling: &Sampling, chance: &mut ChaCha8Rng) -> u32 {
    if sampling.temperature == 0.0 {
        return likeliest(logits);
    }
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
    order.truncate(sampling.top_k.unwrap_or(usize::MAX));
    let top = logits[order[0] as usize];
    let weights: Vec<f64> = order.iter().map(|i| ((logits[*i as usize] - top) / sampling.temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    let before = weights.iter().scan(0.0, |sum, w| Some(std::mem::replace(sum, *sum + w / total)));
    let kept = before.take_while(|sum| *sum < sampling.top_p).count();
    let mut point = chance.random_range(0.0..1.0) * weights[..kept].iter().sum::<f64>();
    for (id, weight) in order[..kept].iter().zip(&weights) {
        point -= weight;
        if point < 0.0 {
            return *id;
        }
    }
    order[kept - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(logits: &[f64], sampling: Sampling) -> std::collections::BTreeSet<u32> {
        let mut chance = ChaCha8Rng::seed_from_u64(7);
        (0..2000).map(|_| draw(logits, &sampling, &mut chance)).collect()
    }

    #[test]
    fn the_likeliest_token_is_taken_at_temperature_zero_and_ties_go_to_the_lower_id() {
        assert_eq!(likeliest(&[0.5, 2.0, 2.0]), 1);
        assert_eq!(drawn(&[0.5, 2.0, 2.0], Sampling::default()), [1].into());
    }

    #[test]
    fn top_k_and_top_p_keep_the_likeliest() {
        let logits = [0.5f64.ln(), 0.3f64.ln(), 0.15f64.ln(), 0.05f64.ln()];
        let hot = Sampling { temperature: 1.0, ..Sampling::default() };
        assert_eq!(drawn(&logits, hot), [0, 1, 2, 3].into());
        assert_eq!(drawn(&logits, Sampling { top_k: Some(2), ..hot }), [0, 1].into());
        assert_eq!(drawn(&logits, Sampling { top_p: 0.6, ..hot }), [0, 1].into());
        assert_eq!(drawn(&logits, Sampling { top_p: 0.5, ..hot }), [0].into());
        assert_eq!(drawn(&logits, Sampling { top_p: 0.96, ..hot }), [0, 1, 2, 3].into());
    }

    #[test]
    fn sampling_numbers_that_make_no_sense_are_refused() {
        for bad in [
            Sampling { temperature: -1.0, ..Sampling::default() },
            Sampling { temperature: f64::NAN, ..Sampling::default() },
            Sampling { top_k: Some(0), ..Sampling::default() },
            Sampling { top_p: 0.0, ..Sampling::default() },
            Sampling { top_p: 1.5, ..Sampling::default() },
        ] {
            assert!(bad.checked().is_err(), "{bad:?}");
        }
    }
}

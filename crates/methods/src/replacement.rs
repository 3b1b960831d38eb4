//! What takes the place of parts of an input that are taken away.

use std::sync::Arc;

use pellucid_core::{Engine, Error, Input, Patches, Result, Symbol, model::Description};
use serde::{Deserialize, Serialize};

use crate::baseline::{mean, mean_colour};

/// What takes the place of a token, or of a part of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Replace {
    /// A row of zeros in place of its embedding; positions are added as usual. Of a picture the colour that its normalisation makes 0.
    #[default]
    Zero,
    /// The mean of all token embeddings; of a picture its own mean colour.
    Mean,
    /// The same part of the picture, blurred by a Gaussian of this standard deviation, in pixels of what the model is given. Of pictures only.
    Blur(f64),
    /// Another token. Of texts only.
    Token(u32),
    /// Nothing: what follows moves up. Of texts only.
    Delete,
}

/// Wider blurs than this are asked for by mistake.
const WIDEST: f64 = 1000.0;

impl Replace {
    /// # Errors
    /// What the model has none of: a token outside the vocabulary, tokens and deletion where pictures are read, blur where texts are.
    pub(crate) fn check(self, model: &Description) -> Result<()> {
        let (kind, picture) = (&model.architecture, model.patches.is_some());
        let unsupported = |what: &str| Err(Error::Unsupported(format!("this {kind} model reads {what}")));
        match self {
            Replace::Token(_) if picture => unsupported("pictures, which have no tokens; replace parts by zero, mean or blur"),
            Replace::Delete if picture => {
                unsupported("pictures, whose patches have fixed places and cannot be deleted; replace them by zero, mean or blur")
            }
            Replace::Blur(_) if !picture => {
                unsupported("texts, which cannot be blurred; replace tokens by zero, mean or a token, or delete them")
            }
            Replace::Blur(sigma) if !(sigma > 0.0 && sigma <= WIDEST) => {
                Err(Error::request(format!("blur is {sigma} pixels wide; it must be above 0 and at most {WIDEST}")))
            }
            Replace::Token(id) if id as usize >= model.vocabulary => {
                Err(Error::request(format!("token id {id} is outside the vocabulary, which has {} tokens", model.vocabulary)))
            }
            _ => Ok(()),
        }
    }

    /// The whole input replaced; the learned rows of a picture stay. None where nothing takes its place.
    ///
    /// # Errors
    /// Weights that cannot be read.
    pub(crate) fn all(self, engine: &Engine<'_>, input: &Input) -> Result<Option<Input>> {
        let patches = engine.model.description().patches.as_ref();
        let everywhere = |symbol: Symbol| {
            let stays = |s: &Symbol| patches.is_some() && matches!(s, Symbol::Token(_));
            input.with_symbols(input.symbols.iter().map(|s| if stays(s) { s.clone() } else { symbol.clone() }))
        };
        Ok(Some(match (self, patches) {
            (Replace::Zero, _) => everywhere(Symbol::Vector(vec![0.0; engine.model.symbol_width()].into())),
            (Replace::Mean, Some(patches)) => mean_colour(patches, input),
            (Replace::Mean, None) => everywhere(Symbol::Vector(mean(engine.model)?.into())),
            (Replace::Blur(sigma), Some(patches)) => blurred(engine, patches, input, sigma)?,
            (Replace::Token(id), _) => everywhere(Symbol::Token(id)),
            (Replace::Delete | Replace::Blur(_), _) => return Ok(None),
        }))
    }
}

/// A part of `with` in place of that part of `symbol`: 0 leaves it, 1 replaces it, between a patch fades.
pub(crate) fn fade(symbol: &Symbol, with: &Symbol, part: f64) -> Symbol {
    match (symbol, with) {
        (Symbol::Vector(a), Symbol::Vector(b)) if part < 1.0 => {
            Symbol::Vector(a.iter().zip(&**b).map(|(a, b)| a + part as f32 * (b - a)).collect::<Arc<[f32]>>())
        }
        _ => with.clone(),
    }
}

fn blurred(engine: &Engine<'_>, patches: &Patches, input: &Input, sigma: f64) -> Result<Input> {
    let rows: Vec<f64> = engine.model.symbol_values(&input.symbols)?.into_iter().map(f64::from).collect();
    let [height, width] = patches.pixels();
    let mut picture = patches.picture(&rows);
    for channel in picture.chunks_exact_mut(height * width) {
        channel.chunks_exact_mut(width).for_each(|row| blur_line(row, sigma));
        for x in 0..width {
            let mut column: Vec<f64> = (0..height).map(|y| channel[y * width + x]).collect();
            blur_line(&mut column, sigma);
            column.into_iter().enumerate().for_each(|(y, value)| channel[y * width + x] = value);
        }
    }
    patches.input(&picture.into_iter().map(|x| x as f32).collect::<Vec<_>>())
}

/// Weighted by `e^(−d²/2σ²)` as far as the line goes: at its ends what is missing has no weight.
fn blur_line(line: &mut [f64], sigma: f64) {
    let reach = ((3.0 * sigma).ceil() as usize).min(line.len());
    let weights: Vec<f64> = (0..=reach).map(|d| (-((d * d) as f64) / (2.0 * sigma * sigma)).exp()).collect();
    let clear = line.to_vec();
    for (i, out) in line.iter_mut().enumerate() {
        let near = i.saturating_sub(reach)..(i + reach + 1).min(clear.len());
        let (sum, whole) =
            near.fold((0.0, 0.0), |(sum, whole), j| (sum + weights[i.abs_diff(j)] * clear[j], whole + weights[i.abs_diff(j)]));
        *out = sum / whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blur_keeps_a_plain_line_and_spreads_a_point_evenly() {
        let mut plain = [2.5; 9];
        blur_line(&mut plain, 2.0);
        assert!(plain.iter().all(|x| (x - 2.5).abs() < 1e-12));
        let mut point = [0.0; 9];
        point[4] = 1.0;
        blur_line(&mut point, 1.0);
        assert!((point[3] / point[4] - (-0.5f64).exp()).abs() < 1e-12, "as a Gaussian falls off");
        assert!(point[0] == 0.0 && (0..4).all(|i| (point[i] - point[8 - i]).abs() < 1e-15), "{point:?}");
    }

    #[test]
    fn a_patch_fades_and_a_token_is_replaced() {
        let [light, dark] = [1.0f32, 3.0].map(|x| Symbol::Vector(vec![x; 2].into()));
        assert_eq!(fade(&light, &dark, 0.25), Symbol::Vector(vec![1.5; 2].into()));
        assert_eq!(fade(&light, &dark, 1.0), dark);
        assert_eq!(fade(&Symbol::Token(3), &dark, 0.25), dark);
    }
}

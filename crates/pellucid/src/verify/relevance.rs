//! Checks of relevance through attention and of αβ relevance.
//!
//! Where the published code writes over the score of the first token, the check says so in words; [`first_token`] reads them.

use std::ops::Range;

use pellucid_core::{
    Method, Patches, Place, Question, Result, Target,
    model::Description,
    rules::Rules,
    walk::down::{Descent, Signal, Wanted},
};
use pellucid_methods::{
    AlphaBetaRules, Attention, AttentionGradcam, AttentionRollout, Chefer, HeadWeight, Lrp, Normalize, NormalizeScores, Source, Variant,
    carried::{Carried, Carry, FirstToken, Layer, all_rows, asked_row},
};
use serde_json::{Value as Json, json};

use super::{
    case::{Array, Check},
    checks::{Runner, unsupported, whole},
};

impl Runner<'_> {
    /// A row, or where the check wants it a whole matrix.
    pub(super) fn relevance(&self, check: &Check, method: &str) -> Result<Array> {
        let engine = self.engine(check)?;
        let model = engine.model.description();
        let p = &check.params;
        let start_layer = if p["start_layer"].is_null() { Layer::Number(0) } else { layer(&p["start_layer"])? };
        if p["streams"].is_string() || p["rules"].as_str().is_some_and(|rules| method == "chefer" && rules != "self-attention") {
            return unsupported(format!("{method} with {p}"));
        }
        match method {
            "attention" if p["heads"] == "mean" => {
                self.carried(check, &Attention { layer: layer(&p["layer"])?, ..Attention::default() }.carry(model)?)
            }
            "attention-rollout" => {
                let normalize = p["normalize"].as_bool().unwrap_or(true);
                self.carried(check, &AttentionRollout { normalize, start_layer, ..AttentionRollout::default() }.carry(model)?)
            }
            "chefer" => {
                let source = if p["source"] == "lrp" { Source::Lrp } else { Source::Attention };
                let normalize_scores = if p["normalize_scores"] == "sum" { NormalizeScores::Sum } else { NormalizeScores::None };
                self.carried(check, &Chefer { start_layer, source, normalize_scores, identity: true }.carry(model)?)
            }
            "attention-gradcam" => self.gradcam(check),
            "lrp" if p["alpha"] == 1.0 => self.lrp(check, start_layer),
            _ => unsupported(format!("{method} with {p}")),
        }
    }

    /// The input of a check, each target term sent down once per rule set.
    fn descent(&self, check: &Check, rules: &[Rules]) -> Result<Descent> {
        let terms = if rules.is_empty() { Vec::new() } else { Self::terms(check)? };
        let signals = rules.iter().map(|rules| Signal { rules: *rules, terms: terms.clone() }).collect();
        Ok(Descent { input: self.input(check)?, control: self.mask(check)?, signals, ..Descent::default() })
    }

    /// The row of the logits that is explained; where there is no target, that of the first token.
    fn row(check: &Check) -> Result<usize> {
        if check.target.is_null() { Ok(0) } else { Ok(Self::terms(check)?[0].row) }
    }

    fn carried(&self, check: &Check, carry: &Carry) -> Result<Array> {
        let engine = self.engine(check)?;
        let (model, descent) = (engine.model.description(), self.descent(check, &carry.rules)?);
        let n = descent.input.len();
        let matrix = check.kind != "attribution";
        let rows = if matrix { all_rows(n) } else { asked_row(model, Self::row(check)?, &descent.input) };
        let walk = |carry: &Carry| -> Result<Vec<f64>> {
            let mut carried = [Carried::new(0, 0, n, rows.clone())];
            carry.walk(&engine, std::slice::from_ref(&descent), &mut carried)?;
            Ok(carried[0].values().to_vec())
        };
        if check.params["per_layer"] == true {
            let up_to = |last: usize| walk(&Carry { layers: carry.layers.start..last + 1, ..carry.clone() });
            let all = carry.layers.clone().map(up_to).collect::<Result<Vec<_>>>()?;
            return Ok(Array::new(&[all.len(), n, n], all.concat()));
        }
        let mut got = walk(carry)?;
        if matrix {
            return Ok(Array::new(&[n, n], got));
        }
        first_token(check).apply(&mut got);
        let shown = shown(check, model, &rows)?;
        let mut got = got[shown].to_vec();
        if check.params["normalize_scores"] == "sum" {
            let sum: f64 = got.iter().sum();
            got.iter_mut().for_each(|x| *x /= sum);
        }
        Ok(Array::new(&[got.len()], got))
    }

    fn gradcam(&self, check: &Check) -> Result<Array> {
        let normalize = if check.params["normalize"] == "min-max" { Normalize::MinMax } else { Normalize::None };
        let weight = match check.params["weight"].as_str() {
            Some("mean-over-all-entries") => HeadWeight::MeanOverAllEntries,
            Some("mean-over-class-row-patches") => HeadWeight::MeanOverClassRowPatches,
            other => return unsupported(format!("attention-gradcam with weight {other:?}")),
        };
        let layer = layer(&check.params["layer"])?;
        let method = AttentionGradcam { layer, weight: Some(weight), normalize, first_token: first_token(check) };
        let (engine, descent) = (self.engine(check)?, self.descent(check, &[Rules::GRADIENT])?);
        let (model, row) = (engine.model.description(), Self::row(check)?);
        let shown = shown(check, model, &asked_row(model, row, &descent.input))?;
        let (_, rows) = method.rows(&engine, &[descent], &[(0, 0, row)])?;
        let row = rows[0][shown].to_vec();
        Ok(match &model.patches {
            Some(patches) if row.len() == patches.count() => Array::new(&patches.grid, row),
            _ => Array::new(&[row.len()], row),
        })
    }

    fn lrp(&self, check: &Check, start_layer: Layer) -> Result<Array> {
        let p = &check.params;
        let rules = match p["rules"].as_str() {
            Some("ours") => AlphaBetaRules::Ours,
            Some("original") => AlphaBetaRules::Original,
            Some("detr") => AlphaBetaRules::Detr,
            other => return unsupported(format!("lrp with rules {other:?}")),
        };
        let variant = match p["variant"].as_str() {
            Some("transformer-attribution") => Variant::TransformerAttribution,
            Some("rollout") => Variant::Rollout,
            Some("last-layer") => Variant::LastLayer,
            Some("second-layer") => Variant::SecondLayer,
            Some("full") => Variant::Full,
            Some("pattern-relevance") => return self.signal_at_pattern(check, rules.into(), whole(&p["layer"])?),
            other => return unsupported(format!("lrp in variant {other:?}")),
        };
        // The published code for BERT normalises rows, that for images does not.
        let normalize = !check.reference_quirk.as_deref().unwrap_or_default().contains("not normalised");
        let lrp = Lrp { rules, variant, start_layer, normalize, gradient: p["gradient"] == true, ..Lrp::default() };
        match lrp.carry(self.engine(check)?.model.description())? {
            Some(carry) => self.carried(check, &carry),
            None if self.engine(check)?.model.description().patches.is_some() => self.at_pixels(check, &lrp),
            None => self.at_first_block(check, rules.into()),
        }
    }

    /// What reaches the pixels, summed over channels.
    fn at_pixels(&self, check: &Check, lrp: &Lrp) -> Result<Array> {
        let (engine, term) = (self.engine(check)?, Self::terms(check)?[0]);
        let [height, width] = engine.model.description().patches.as_ref().map_or([0, 0], Patches::pixels);
        let target = Target { place: Place::Whole, tokens: vec![term.output], score: term.score, ..Target::default() };
        let outcome = lrp.attribute(&engine, &Question { prompt: self.input(check)?, target, ..Question::default() })?;
        Ok(Array::new(&[height, width], outcome.pixels.and_then(|p| p.into_iter().next()).unwrap_or_default()))
    }

    /// What reaches the input of the first block, summed over `d_model`.
    fn at_first_block(&self, check: &Check, rules: Rules) -> Result<Array> {
        let descent = self.descent(check, &[rules])?;
        let n = descent.input.len();
        let landing = self.engine(check)?.down(&[descent], &Wanted { hidden: vec![0], ..Wanted::default() }, &mut |_| Ok(()))?;
        let relevance = &landing.descents[0].hidden[0].signals[0];
        let mut row: Vec<f64> = relevance.chunks_exact(relevance.len() / n).map(|x| x.iter().sum()).collect();
        first_token(check).apply(&mut row);
        Ok(Array::new(&[n], row))
    }
}

fn layer(value: &Json) -> Result<Layer> {
    if *value == json!("last") { Ok(Layer::Last) } else { whole(value).map(Layer::Number) }
}

/// The positions of a row that the output is said to have: patches, or what stands between start and end of a text.
fn shown(check: &Check, model: &Description, asked: &[f64]) -> Result<Range<usize>> {
    let end = || asked.iter().position(|x| *x != 0.0).filter(|end| *end > 0);
    match (&model.patches, end()) {
        (Some(patches), _) if check.output.contains("class token dropped") || check.output.contains("patch") => {
            Ok(patches.leading..asked.len())
        }
        (None, Some(end)) if check.output.contains("start and end token dropped") => Ok(1..end),
        (_, None) if check.output.contains("start and end token dropped") => unsupported("a text without an end token"),
        _ => Ok(0..asked.len()),
    }
}

/// What the published code made of the first token's score.
fn first_token(check: &Check) -> FirstToken {
    let words = format!("{} {}", check.output, check.reference_quirk.as_deref().unwrap_or_default());
    let says = |part: &&str| words.contains(*part);
    if words.contains("overwritten with the row minimum") {
        FirstToken::RowMinimum
    } else if ["first token is set to 0", "entry of the first token 0", "own entry 0", "first entry 0"].iter().any(says) {
        FirstToken::Zero
    } else {
        FirstToken::Keep
    }
}

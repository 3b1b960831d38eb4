//! Checks of methods that take gradients, or changed ones, at embeddings and hidden states; and of replaced tokens on models with classes.

use pellucid_core::{
    Engine, FeaturePositions, Input, Method, Part, Patches, Place, Question, Result, Score, Symbol, Target,
    rules::Gamma,
    walk::up::{Ask, Copy, Document, Readout},
};
use pellucid_methods::{
    At, AttnLrp, Baseline, CpLrp, Embedded, Gradcam, InputXGradient, IntegratedGradients, NormalizeScores, Occlusion, Quadrature, Reduce,
    Replace, Saliency, Wrt,
};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::{
    case::{Array, Check},
    checks::{Runner, list, unsupported, whole},
};

/// A named value of a check's parameters, as our own parameters read it.
fn named<T: DeserializeOwned + Default>(params: &Json, name: &str) -> Result<T> {
    match &params[name] {
        Json::Null => Ok(T::default()),
        given => serde_json::from_value(given.clone()).or_else(|_| unsupported(format!("{name} {given}"))),
    }
}

fn baseline(given: &Json) -> Result<Baseline> {
    let id = |name: &str| whole(&given[name]).map(|id| id as u32);
    match given["kind"].as_str() {
        Some("zero") => Ok(Baseline::Zero),
        Some("token") => Ok(Baseline::Token(id("id")?)),
        Some("tokens") => Ok(Baseline::Tokens { first: id("first")?, middle: id("middle")?, last: id("last")? }),
        _ => unsupported(format!("baseline {given}")),
    }
}

/// How the entries of a position become one; `None`: they do not.
fn reduce(params: &Json) -> Result<Option<Reduce>> {
    match params["reduce"].as_str() {
        Some("none") | None => Ok(None),
        Some("sum") => Ok(Some(Reduce::Sum)),
        Some("l2") => Ok(Some(Reduce::L2)),
        Some("mean-abs") => Ok(Some(Reduce::MeanAbs)),
        Some(other) => unsupported(format!("reduce {other}")),
    }
}

/// How the model cuts pictures, where a check works on pixels.
fn pictured<'m>(engine: &Engine<'m>, check: &Check) -> Option<&'m Patches> {
    engine.model.description().patches.as_ref().filter(|_| check.params["wrt"] == "pixels")
}

impl Runner<'_> {
    /// What a check asks, with a feature for every position that the model reads.
    pub(super) fn question(&self, check: &Check) -> Result<Question> {
        if self.mask(check)?.factors().iter().any(|(_, f)| *f == 0.0) {
            return unsupported("a padded input, which a question does not have");
        }
        let terms = Self::terms(check)?;
        let prompt = Input { types: self.input(check)?.types, ..self.prompt(check)?.into() };
        let whole = check.target["class"].is_u64();
        if !whole && terms.iter().enumerate().any(|(t, term)| term.row != prompt.len() - 1 + t) {
            return unsupported(format!("a target elsewhere than after the prompt: {}", check.target));
        }
        let target = Target {
            place: if whole { Place::Whole } else { Place::Continuation },
            tokens: terms.iter().map(|t| t.output).collect(),
            score: terms.first().map_or(Score::Logit, |t| t.score),
            ..Target::default()
        };
        let feature = |p: usize| {
            let part = if p < prompt.len() { Part::Prompt } else { Part::Target };
            FeaturePositions { part, positions: vec![(p, 1.0)] }
        };
        let positions = if whole { prompt.len() } else { prompt.len() + target.tokens.len() - 1 };
        Ok(Question { features: (0..positions).map(feature).collect(), prompt, target, ..Question::default() })
    }

    /// Attributions by a gradient: `[position]` or `[position, dimension]`, with an axis for target tokens behind positions if there are several.
    pub(super) fn gradient(&self, check: &Check, method: &str) -> Result<Array> {
        let (engine, question, params) = (self.engine(check)?, self.question(check)?, &check.params);
        let reduced = reduce(params)?;
        let (wrt, embedded): (Wrt, Embedded) = (named(params, "wrt")?, named(params, "embedded")?);
        let absolute = params["absolute"].as_bool().unwrap_or(false);
        let normalize: NormalizeScores = named(params, "normalize")?;
        let reduce = reduced.unwrap_or(Reduce::Sum);
        let saliency = Saliency { wrt, reduce, absolute, normalize, embedded };
        let product = InputXGradient { wrt, reduce, absolute, normalize, embedded };
        let integrated = || -> Result<IntegratedGradients> {
            let (steps, quadrature) = (whole(&params["steps"])?, named::<Quadrature>(params, "quadrature")?);
            let baseline = baseline(&params["baseline"])?;
            Ok(IntegratedGradients { steps, quadrature, baseline, wrt, reduce, absolute, normalize, embedded })
        };
        if reduced.is_some() {
            let method: Box<dyn Method> = match method {
                "saliency" => Box::new(saliency),
                "input-x-gradient" => Box::new(product),
                _ => Box::new(integrated()?),
            };
            return self.attributed(&question, &*method, check);
        }
        let mut entries = match method {
            "saliency" => saliency.entries(&engine, &question)?,
            "input-x-gradient" => product.entries(&engine, &question)?,
            _ => integrated()?.entries(&engine, &question)?,
        };
        if let Some(patches) = pictured(&engine, check) {
            entries.iter_mut().for_each(|e| *e = patches.picture(e));
        }
        if absolute {
            entries.iter_mut().flatten().for_each(|x| *x = x.abs());
        }
        if let (Some(patches), [pixels]) = (pictured(&engine, check), &entries[..]) {
            return Ok(Array::new(&[&[patches.channels], &patches.pixels()[..]].concat(), pixels.clone()));
        }
        let (tokens, positions) = (entries.len(), question.features.len());
        let width = entries[0].len() / positions;
        let row = |p: usize, t: usize| &entries[t][p * width..(p + 1) * width];
        let mut values: Vec<f64> = (0..positions).flat_map(|p| (0..tokens).flat_map(move |t| row(p, t)).copied()).collect();
        let last = usize::from(tokens > 1); // the last target token, which no target token sees
        values.resize((positions + last) * tokens * width, 0.0);
        Ok(Array::new(&[positions + last, tokens, width], values))
    }

    /// Attributions by a changed gradient.
    pub(super) fn changed_gradient(&self, check: &Check, method: &str) -> Result<Array> {
        let at = match check.params["wrt"].as_str() {
            Some("word-embedding") => At::WordEmbedding,
            Some("hidden") => At::Hidden(whole(&check.params["layer"])?),
            Some("pixels") => At::Pixels,
            other => return unsupported(format!("wrt {other:?}")),
        };
        let gamma: Option<Gamma> = named(&check.params, "gamma")?;
        let (engine, question) = (self.engine(check)?, self.question(check)?);
        let (attn, cp) = (AttnLrp { at, gamma }, CpLrp { at, gamma });
        let method: &dyn Method = if method == "attn-lrp" { &attn } else { &cp };
        match (check.params["reduce"].as_str(), pictured(&engine, check)) {
            (Some("sum"), _) => self.attributed(&question, method, check),
            (Some("none"), Some(patches)) => {
                let entries = if method.id() == "attn-lrp" { attn.entries(&engine, &question)? } else { cp.entries(&engine, &question)? };
                Ok(Array::new(&[&[patches.channels], &patches.pixels()[..]].concat(), patches.picture(&entries[0])))
            }
            _ => unsupported(format!("{} with {}", method.id(), check.params)),
        }
    }

    /// A window slid over a picture: `[channel, height, width]`.
    pub(super) fn sliding_window(&self, check: &Check) -> Result<Array> {
        let params = &check.params;
        if params["replace"]["kind"] != "zero" {
            return unsupported(format!("occlusion by {}", params["replace"]));
        }
        let sizes = |name: &str| -> Result<[usize; 3]> {
            list(&params[name])?.try_into().or_else(|_| unsupported(format!("{name} {}", params[name])))
        };
        let occlusion = Occlusion { replace: Replace::Zero, window: Some(sizes("window")?), stride: Some(sizes("stride")?) };
        let (engine, question) = (self.engine(check)?, self.question(check)?);
        let Some(patches) = &engine.model.description().patches else { return unsupported("a window over a text") };
        let scores = occlusion.windows(&engine, &question)?.concat();
        Ok(Array::new(&[&[patches.channels], &patches.pixels()[..]].concat(), scores))
    }

    /// `[row, column]` of patches.
    pub(super) fn gradcam_of_patches(&self, check: &Check) -> Result<Array> {
        if check.params["layer"] != "patch-projection" {
            return unsupported(format!("gradcam at {}", check.params["layer"]));
        }
        let (engine, mut question) = (self.engine(check)?, self.question(check)?);
        let Some(patches) = &engine.model.description().patches else { return unsupported("gradcam of a text") };
        question.features.drain(..patches.leading);
        let scores = Gradcam { relu: check.params["relu"] == true }.attribute(&engine, &question)?.per_target_token;
        Ok(Array::new(&patches.grid, scores.concat()))
    }

    /// Scores of all positions, `[position, target token]`.
    fn attributed(&self, question: &Question, method: &dyn Method, check: &Check) -> Result<Array> {
        let mut scores = method.attribute(&self.engine(check)?, question)?.per_target_token;
        let tokens = question.target.tokens.len();
        if tokens > 1 {
            scores.push(vec![0.0; tokens]); // the last target token, which no target token sees
        }
        Ok(Array::rows(scores))
    }

    /// The published comparison of a softmax's probability with a logistic function of one logit, token by token replaced.
    pub(super) fn blank_out(&self, check: &Check) -> Result<Array> {
        let params = &check.params;
        if params["score"] != json!("abs(probability - sigmoid(logit))") || params["replace"]["what"] != "token-id" {
            return unsupported(format!("blank-out with {params}"));
        }
        let by = Symbol::Token(whole(&params["replace"]["id"])? as u32);
        let input = self.input(check)?;
        let class = whole(&check.target["class"])? as u32;
        let asks = vec![Ask { position: 0, tokens: vec![class] }];
        let replaced = |p: usize| {
            let symbols = input.symbols.iter().enumerate().map(|(i, s)| if i == p { by.clone() } else { s.clone() });
            Copy { document: 0, input: Some(input.with_symbols(symbols)), control: Default::default(), asks: asks.clone() }
        };
        let copies: Vec<Copy> = (0..input.len()).map(replaced).collect();
        let document = Document { input: input.clone(), asks: asks.clone(), ..Document::default() };
        let up = self.engine(check)?.up(&[document], &copies, Readout::default())?;
        let clean = Score::Probability.of(&up.documents[0][0].tokens[0]);
        let logistic = |logit: f64| 1.0 / (1.0 + (-logit).exp());
        let scores = up.copies.iter().map(|answers| (clean - logistic(answers[0].tokens[0].logit)).abs()).collect();
        Ok(Array::new(&[input.len()], scores))
    }
}

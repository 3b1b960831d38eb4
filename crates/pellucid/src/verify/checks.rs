//! What each kind of check runs.

use std::sync::Arc;

use pellucid_core::{
    Compute, Control, Engine, Error, FeaturePositions, Input, Method, Mode, Model, Part, Question, Result, Score, Symbol, Target,
    candle::{DType, Tensor},
    control_row,
    rules::Rules,
    units,
    walk::{
        trace::Site,
        up::{Ask, Copy, Document, Readout},
    },
};
use pellucid_methods::{Atman, Directions, Occlusion, Replace, Similarity};
use pellucid_models::{Loaded, open, source::Located};
use serde_json::{Value as Json, json};

use super::case::{Array, Case, Check};

/// What we make of a check.
pub(super) enum Got {
    Numbers(Array),
    Value(Json),
}

/// Runs the checks of one case.
pub(super) struct Runner<'c> {
    pub(super) case: &'c Case,
    /// What is asked.
    pub(super) model: Option<Model>,
    /// The tower of texts, where the model is one of pictures and the two are compared.
    pub(super) texts: Option<Texts>,
    /// Which text of the case's is read; `None`: the only one.
    pub(super) text: Option<usize>,
}

/// A tower of texts, and what cosines with its vectors are multiplied with.
pub(super) struct Texts {
    pub(super) model: Model,
    pub(super) scale: f64,
}

pub(super) fn unsupported<T>(what: impl std::fmt::Display) -> Result<T> {
    Err(Error::Unsupported(what.to_string()))
}

impl<'c> Runner<'c> {
    pub(super) fn new(case: &'c Case) -> Result<Self> {
        let located = Located { id: case.case.clone(), path: case.folder.clone(), file: None };
        let loaded = match &case.model {
            None => None,
            Some(_) => match open(&located) {
                // An architecture that is not there yet leaves its checks unsupported, one by one.
                Err(Error::Unsupported(_)) => None,
                other => Some(other?),
            },
        };
        let Some(Loaded { model, text, match_scale, .. }) = loaded else { return Ok(Self { case, model: None, texts: None, text: None }) };
        let texts = text.map(|model| Texts { model, scale: match_scale.unwrap_or(1.0) });
        Ok(Self { case, model: Some(model), texts, text: None })
    }

    pub(super) fn run(&self, check: &Check) -> Result<Got> {
        let got = match (check.kind.as_str(), &self.texts) {
            ("chunks", _) => return self.chunks(check),
            ("render" | "metric", _) => return self.drawn(check),
            (_, Some(texts)) => self.matched(check, texts)?,
            (_, None) => self.numbers(check)?,
        };
        Ok(Got::Numbers(got))
    }

    /// What one model makes of a check.
    pub(super) fn numbers(&self, check: &Check) -> Result<Array> {
        Ok(match (check.kind.as_str(), check.method.as_deref()) {
            ("controlled-pattern", _) => self.controlled_pattern(check)?,
            _ if self.case.model.is_some() && self.model.is_none() => {
                let kind = &self.case.model.as_ref().expect("just seen")["architecture"];
                return unsupported(format!("architecture {kind}"));
            }
            ("logits", _) => self.logits(check)?,
            ("hidden", _) => self.traced(check, Site::Residual { index: whole(&check.site["index"])? })?,
            ("attention-gradient", _) => self.signal_at_pattern(check, Rules::GRADIENT, whole(&check.site["layer"])?)?,
            ("attention", _) => self.traced(check, Site::Pattern { layer: whole(&check.site["layer"])? })?,
            ("controlled-logits", _) if check.inputs.contains_key("factors") => self.controlled_logits(check)?,
            ("controlled-logits", _) if check.inputs.contains_key("generated_ids") => self.step_logits(check)?,
            ("generation", _) => self.generation(check)?,
            ("similarity-matrix", Some("atman")) => self.similarity(check)?,
            ("control-factors", Some("atman")) => self.control_factors(check)?,
            ("attribution", Some("atman")) => self.atman(check)?,
            (_, Some(method @ ("attention" | "attention-rollout" | "attention-gradcam" | "chefer" | "lrp"))) => {
                self.relevance(check, method)?
            }
            ("attribution", Some(method @ ("saliency" | "input-x-gradient" | "integrated-gradients"))) => self.gradient(check, method)?,
            ("attribution", Some(method @ ("attn-lrp" | "cp-lrp"))) => self.changed_gradient(check, method)?,
            ("attribution", Some("blank-out")) => self.blank_out(check)?,
            ("attribution", Some("feature-ablation")) => self.feature_ablation(check)?,
            ("attribution", Some("occlusion")) => self.sliding_window(check)?,
            ("attribution", Some("gradcam")) => self.gradcam_of_patches(check)?,
            (_, Some(method @ ("alti" | "vector-norms" | "alti-logit" | "decompx" | "ifr" | "flash-trace"))) => {
                self.mixing(check, method)?
            }
            (kind, None) => return unsupported(format!("kind {kind}")),
            (kind, Some(method)) => return unsupported(format!("{method} ({kind})")),
        })
    }

    pub(super) fn engine(&self, check: &Check) -> Result<Engine<'_>> {
        let Some(model) = &self.model else { return unsupported("a check of this kind without a model") };
        let mut engine = Engine::new(model);
        engine.compute = match check.dtype.as_str() {
            "f64" => Compute::F64,
            _ => Compute::F32,
        };
        Ok(engine)
    }

    fn ids(&self, check: &Check, name: &str) -> Result<Vec<u32>> {
        let Some(Array { shape, values }) = self.case.input(check, name)? else { return Ok(Vec::new()) };
        let ids = values.iter().map(|v| *v as u32);
        Ok(match (self.text, &shape[..]) {
            (Some(text), [_, length]) => ids.skip(text * length).take(*length).collect(),
            _ => ids.collect(),
        })
    }

    /// Prefix embeddings, then prompt ids (or input ids).
    pub(super) fn prompt(&self, check: &Check) -> Result<Vec<Symbol>> {
        let mut symbols = Vec::new();
        let patches = self.engine(check)?.model.description().patches.clone();
        if let (Some(patches), Some(pixels)) = (patches, self.case.input(check, "pixel_values")?) {
            let pixels: Vec<f32> = pixels.values.iter().map(|x| *x as f32).collect();
            return Ok(patches.input(&pixels)?.symbols.to_vec());
        }
        if let Some(prefix) = self.case.input(check, "prefix_embeds")? {
            let width = prefix.shape.last().copied().unwrap_or(1);
            let rows = prefix.values.chunks(width).map(|r| r.iter().map(|x| *x as f32).collect::<Vec<_>>());
            symbols.extend(rows.map(|r| Symbol::Vector(Arc::from(r))));
        }
        for name in ["input_ids", "prompt_ids"] {
            symbols.extend(self.ids(check, name)?.into_iter().map(Symbol::Token));
        }
        Ok(symbols)
    }

    /// Everything the model reads.
    pub(super) fn input(&self, check: &Check) -> Result<Input> {
        let types = self.ids(check, "token_type_ids")?;
        Ok(Input { types: types.into(), ..self.whole_input(check)?.into() })
    }

    /// What keeps pads out of sight: keys that an attention mask leaves out are removed.
    pub(super) fn mask(&self, check: &Check) -> Result<Control> {
        let mask = self.case.input(check, "attention_mask")?.unwrap_or_default().values;
        Control::new(Mode::LogAdditive, mask.iter().enumerate().filter(|(_, m)| **m == 0.0).map(|(p, _)| (p, 0.0)), None)
    }

    /// Prompt and target without its last token.
    fn whole_input(&self, check: &Check) -> Result<Vec<Symbol>> {
        let mut symbols = self.prompt(check)?;
        let target = self.ids(check, "target_ids")?;
        symbols.extend(target.iter().take(target.len().saturating_sub(1)).map(|id| Symbol::Token(*id)));
        Ok(symbols)
    }

    /// Logits of every position, or of the last one where the output has no axis for them.
    fn logits(&self, check: &Check) -> Result<Array> {
        let input = self.input(check)?;
        let pooled = self.engine(check)?.model.description().outputs.pooling().is_some();
        let first = if check.output.starts_with("[vocabulary]") { input.len() - 1 } else { 0 };
        let last = if pooled { 1 } else { input.len() };
        let asks = (first..last).map(|position| Ask { position, tokens: Vec::new() }).collect();
        let document = Document { input, control: self.mask(check)?, asks };
        let up = self.engine(check)?.up(&[document], &[], Readout { logits: true, ..Readout::default() })?;
        Ok(Array::rows(up.documents[0].iter().map(|a| a.logits.clone()).collect()))
    }

    fn traced(&self, check: &Check, wanted: Site) -> Result<Array> {
        let mut found = None;
        let mut keep = |site: Site, tensor: &Tensor| -> Result<()> {
            if site == wanted {
                found = Some(Array::new(tensor.dims(), tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?));
            }
            Ok(())
        };
        self.engine(check)?.trace(&self.input(check)?, &self.mask(check)?, &mut keep)?;
        found.ok_or_else(|| self.case.wrong(check, &format!("{wanted:?} is not a site of this model")))
    }

    fn controlled_logits(&self, check: &Check) -> Result<Array> {
        let factors = self.case.input(check, "factors")?.unwrap_or_default();
        let (symbols, target) = (self.whole_input(check)?, self.ids(check, "target_ids")?);
        let first = symbols.len() - target.len();
        let asks: Vec<Ask> = (first..symbols.len()).map(|position| Ask { position, tokens: Vec::new() }).collect();
        let keys = symbols.len();
        let layers = layers(&check.params)?;
        let copy = |row: &[f64]| -> Result<Copy> {
            let control = Control::new(mode(&check.params)?, row.iter().copied().enumerate(), layers.as_deref())?;
            Ok(Copy { document: 0, input: None, control, asks: asks.clone() })
        };
        let copies = factors.values.chunks(keys).map(copy).collect::<Result<Vec<_>>>()?;
        let document = Document { input: symbols.into(), control: Control::none(), asks: Vec::new() };
        let up = self.engine(check)?.up(&[document], &copies, Readout { logits: true, ..Readout::default() })?;
        let vocabulary = up.copies[0][0].logits.len();
        let values = up.copies.iter().flatten().flat_map(|a| a.logits.iter().copied()).collect();
        Ok(Array::new(&[copies.len(), asks.len(), vocabulary], values))
    }

    fn control(&self, check: &Check) -> Result<Control> {
        let mut factors = Vec::new();
        for part in check.params["control"].as_array().into_iter().flatten() {
            let factor = part["factor"].as_f64().ok_or_else(|| self.case.wrong(check, "a control without a factor"))?;
            factors.extend(list(&part["positions"])?.into_iter().map(|p| (p, factor)));
        }
        Control::new(mode(&check.params)?, factors, layers(&check.params)?.as_deref())
    }

    fn step_logits(&self, check: &Check) -> Result<Array> {
        let engine = self.engine(check)?;
        let mut decoder = engine.decoder(vec![self.control(check)?])?;
        let mut rows = decoder.push(&[self.prompt(check)?])?;
        let generated = self.ids(check, "generated_ids")?;
        for id in &generated[..generated.len().saturating_sub(1)] {
            rows.extend(decoder.push(&[vec![Symbol::Token(*id)]])?);
        }
        Ok(Array::rows(rows))
    }

    fn generation(&self, check: &Check) -> Result<Array> {
        if check.params["sampling"] != "greedy" {
            return unsupported(format!("sampling {}", check.params["sampling"]));
        }
        let engine = self.engine(check)?;
        let mut decoder = engine.decoder(vec![self.control(check)?])?;
        let mut next = self.prompt(check)?;
        let mut ids = Vec::new();
        for _ in 0..whole(&check.params["steps"])? {
            let logits = decoder.push(&[next])?.pop().expect("one sequence was pushed");
            let id = crate::generate::likeliest(&logits);
            ids.push(f64::from(id));
            next = vec![Symbol::Token(id)];
        }
        Ok(Array::new(&[ids.len()], ids))
    }

    fn controlled_pattern(&self, check: &Check) -> Result<Array> {
        let input = |name| Ok::<_, Error>(self.case.input(check, name)?.unwrap_or_default().values);
        let visible: Vec<bool> = input("visible")?.iter().map(|v| *v != 0.0).collect();
        let scale = check.params["scale"].as_f64().unwrap_or(1.0);
        let pattern = control_row(&input("scores")?, &visible, &input("factors")?, scale, mode(&check.params)?.into());
        Ok(Array::new(&[pattern.len()], pattern))
    }

    fn chunks(&self, check: &Check) -> Result<Got> {
        let delimiters = check.params["delimiters"].as_array().into_iter().flatten();
        let delimiters = delimiters.map(|d| Ok(list(d)?.into_iter().map(|i| i as u32).collect())).collect::<Result<Vec<Vec<u32>>>>()?;
        // The published code gives a text that ends with a delimiter an empty last chunk.
        let chunks = units::chunks(&self.ids(check, "token_ids")?, &delimiters, true);
        Ok(Got::Value(json!(chunks.into_iter().map(|c| c.collect::<Vec<_>>()).collect::<Vec<_>>())))
    }

    fn similarity(&self, check: &Check) -> Result<Array> {
        let input = Input::from(self.whole_input(check)?);
        let directions = Directions::of(&self.engine(check)?, &input)?;
        Ok(Array::rows((0..input.len()).map(|i| directions.cosines(i)).collect()))
    }

    fn control_factors(&self, check: &Check) -> Result<Array> {
        let (atman, symbols) = (atman(check)?, Input::from(self.whole_input(check)?));
        let directions = atman.directions(&self.engine(check)?, &symbols)?;
        let row = |positions: &Json| -> Result<Vec<f64>> {
            let positions: Vec<_> = list(positions)?.into_iter().map(|p| (p, 1.0)).collect();
            let factors = atman.factors(directions.as_ref(), &positions);
            Ok((0..symbols.len()).map(|p| factors.get(&p).copied().unwrap_or(1.0)).collect())
        };
        Ok(Array::rows(check.params["features"].as_array().into_iter().flatten().map(row).collect::<Result<_>>()?))
    }

    fn atman(&self, check: &Check) -> Result<Array> {
        let prompt = self.prompt(check)?;
        let params = &check.params;
        let feature = |positions: &Json| -> Result<FeaturePositions> {
            let positions = list(positions)?;
            let part = if positions.iter().all(|p| *p < prompt.len()) { Part::Prompt } else { Part::Target };
            Ok(FeaturePositions { part, positions: positions.into_iter().map(|p| (p, 1.0)).collect() })
        };
        let features = params["features"].as_array().into_iter().flatten().map(feature).collect::<Result<_>>()?;
        let score = match params["score"].as_str() {
            Some("cross-entropy-delta") => Score::LogProbability,
            Some("logit-delta") => Score::Logit,
            other => return unsupported(format!("score {other:?}")),
        };
        let temperature = params["temperature"].as_f64().unwrap_or(1.0);
        let target = Target { tokens: self.ids(check, "target_ids")?, score, temperature, ..Target::default() };
        let outcome =
            atman(check)?.attribute(&self.engine(check)?, &Question { prompt: prompt.into(), features, target, ..Question::default() })?;
        let square = params["square"].as_bool().unwrap_or(false);
        let each = |s: f64| if square { s * s } else { s };
        Ok(Array::rows(outcome.per_target_token.into_iter().map(|r| r.into_iter().map(each).collect()).collect()))
    }

    /// Expected are rows of positions, `[position]`, or of positions and target tokens, `[position, target token]`.
    fn feature_ablation(&self, check: &Check) -> Result<Array> {
        let params = &check.params;
        let replace = match (params["replace"]["kind"].as_str(), params["replace"]["what"].as_str()) {
            (Some("zero"), Some("word-embedding" | "pixels")) => Replace::Zero,
            (Some("token"), Some("word-embedding" | "token-id")) => Replace::Token(whole(&params["replace"]["id"])? as u32),
            _ => return unsupported(format!("feature-ablation by {}", params["replace"])),
        };
        let group = match params["features"].as_str() {
            Some("token" | "patch") => 1,
            Some("groups-of-3") => 3,
            other => return unsupported(format!("features {other:?}")),
        };
        let mut question = self.question(check)?;
        if let Some(patches) = self.engine(check)?.model.description().patches.as_ref().filter(|_| params["features"] == "patch") {
            question.features.drain(..patches.leading);
            let scores = Occlusion { replace, ..Occlusion::default() }.attribute(&self.engine(check)?, &question)?.per_target_token;
            return Ok(Array::new(&patches.grid, scores.concat()));
        }
        let (n, prompt, target_tokens) = (question.features.len(), question.prompt.len(), question.target.tokens.len());
        let feature = |first: usize| {
            let part = if first < prompt { Part::Prompt } else { Part::Target };
            FeaturePositions { part, positions: (first..n.min(first + group)).map(|p| (p, 1.0)).collect() }
        };
        question.features = (0..n).step_by(group).map(feature).collect();
        let outcome = Occlusion { replace, ..Occlusion::default() }.attribute(&self.engine(check)?, &question)?;
        let absolute = params["absolute"].as_bool().unwrap_or(false);
        let each = |s: &f64| if absolute { s.abs() } else { *s };
        let mut scores: Vec<Vec<f64>> = (0..n).map(|p| outcome.per_target_token[p / group].iter().map(each).collect()).collect();
        if target_tokens > 1 {
            scores.push(vec![0.0; target_tokens]); // the last target token, which no target token sees
        }
        Ok(Array::rows(scores))
    }
}

fn atman(check: &Check) -> Result<Atman> {
    let p = &check.params;
    let similarity = match &p["similarity"] {
        Json::Null => None,
        s => {
            if s["suppress_self"] == json!(false) || s.get("source").is_some_and(|s| !s.is_null()) {
                return unsupported(format!("similarity {s}"));
            }
            let limit = s["limit"].as_u64().map(|l| l as usize);
            let coupled = s["coupled"].as_bool().unwrap_or(true);
            Some(Similarity { coupled, limit, ..Similarity::new(s["threshold"].as_f64().unwrap_or(0.0)) })
        }
    };
    if p.get("streams").is_some_and(|s| !s.is_null()) {
        return unsupported(format!("atman on streams {}", p["streams"]));
    }
    let factor = p["factor"].as_f64().unwrap_or(0.1);
    Atman { factor, mode: mode(p)?, similarity, layers: layers(p)?, ..Atman::default() }.checked()
}

fn mode(params: &Json) -> Result<Mode> {
    params["mode"].as_str().unwrap_or("log-additive").parse()
}

fn layers(params: &Json) -> Result<Option<Vec<usize>>> {
    if params["layers"].is_null() { Ok(None) } else { list(&params["layers"]).map(Some) }
}

pub(super) fn whole(value: &Json) -> Result<usize> {
    value.as_u64().map(|n| n as usize).ok_or_else(|| Error::request(format!("{value} is not a whole number")))
}

pub(super) fn list(value: &Json) -> Result<Vec<usize>> {
    value.as_array().ok_or_else(|| Error::request(format!("{value} is not a list")))?.iter().map(whole).collect()
}

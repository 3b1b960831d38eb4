//! A person's request turned into a question for a method, and its answer into an [`Attribution`].

use std::{ops::Range, time::Instant};

use pellucid_core::{
    Attribution, ContrastRecord, CostRecord, Engine, Error, FORMAT, Feature, FeaturePositions, InputRecord, Method, MethodRecord, Outcome,
    Part, Postprocessing, Question, Result, Score, Scores, Span, Target, TargetRecord, TargetToken,
    units::{Granularity, units},
    walk::{Estimate, up::TokenScore},
};
use pellucid_models::{Loaded, text::TextTokenizer};

use crate::{
    VERSION,
    generate::greedy,
    prompt::{Characters, Prompt, Reading, Within, needed},
};

/// What is explained.
#[derive(Clone, Debug, PartialEq)]
pub enum Aim {
    /// This text, as the continuation of the prompt.
    Text(String),
    /// What the model itself says next: so many tokens of greedy continuation, fewer if it stops.
    Generated(usize),
    /// These tokens of the given text (end exclusive); the prompt is what stands before them.
    Range(Range<usize>),
    /// These token ids.
    Ids(Vec<u32>),
}

/// A request for an explanation.
#[derive(Debug)]
pub struct Request {
    /// What the model reads.
    pub prompt: Prompt,
    /// Which parts of it get scores.
    pub within: Within,
    /// What those parts are cut into.
    pub units: Granularity,
    /// What is explained.
    pub aim: Aim,
    /// What it is set against: a text or ids.
    pub contrast: Option<Aim>,
    /// Whether earlier target tokens get scores, too.
    pub target_features: bool,
    /// What is explained of each target token.
    pub score: Score,
    /// Logits are divided by it before the softmax.
    pub temperature: f64,
    /// What is done to the sums.
    pub postprocessing: Postprocessing,
    /// How.
    pub method: Box<dyn Method>,
}

impl Request {
    /// A request with defaults: tokens, the model's own next token, log-probability.
    pub fn new(prompt: Prompt, method: Box<dyn Method>) -> Self {
        Self {
            prompt,
            within: Within::default(),
            units: Granularity::Token,
            aim: Aim::Generated(1),
            contrast: None,
            target_features: false,
            score: Score::default(),
            temperature: 1.0,
            postprocessing: Postprocessing::default(),
            method,
        }
    }
}

/// Tokens of a target with their places in its text.
#[derive(Clone, Debug, Default)]
struct Aimed {
    text: Option<String>,
    ids: Vec<u32>,
    spans: Vec<Option<Range<usize>>>,
    origin: &'static str,
}

/// A request made ready for its method.
#[derive(Debug)]
pub struct Prepared {
    reading: Reading,
    target: Aimed,
    contrast: Option<Aimed>,
    features: Vec<Feature>,
    units: String,
    question: Question,
}

impl Prepared {
    /// Reads, aims and cuts. Runs the model only to generate a target.
    ///
    /// # Errors
    /// Anything that does not suit the model or the text.
    pub fn new(request: &Request, loaded: &Loaded, engine: &Engine<'_>) -> Result<Self> {
        let tokenizer = loaded.tokenizer.as_ref();
        request.method.fits(engine.model.description())?;
        let mut reading = Reading::new(&request.prompt, &request.within, tokenizer)?;
        let target = aimed("target", &request.aim, &mut reading, tokenizer, engine)?;
        let contrast = request.contrast.as_ref().map(|c| aimed("contrast", c, &mut reading, tokenizer, engine)).transpose()?;
        let (mut features, mut positions, units) = cut(&reading, &request.units)?;
        if request.target_features {
            earlier_target_tokens(&target, reading.ids.len(), &mut features, &mut positions);
        }
        let question = Question {
            prompt: reading.symbols(),
            features: positions,
            target: Target {
                tokens: target.ids.clone(),
                contrast: contrast.as_ref().map(|c| c.ids.clone()),
                score: request.score,
                temperature: request.temperature,
            },
        };
        question.check(engine.model.description())?;
        Ok(Self { reading, target, contrast, features, units, question })
    }

    /// The question as the method gets it.
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// What answering takes.
    ///
    /// # Errors
    /// As [`Prepared::explain`].
    pub fn estimate(&self, request: &Request, engine: &Engine<'_>) -> Result<Estimate> {
        request.method.estimate(engine, &self.question)
    }

    /// Runs the method.
    ///
    /// # Errors
    /// Too little memory, an interruption.
    pub fn explain(self, request: &Request, loaded: &Loaded, engine: &Engine<'_>) -> Result<Attribution> {
        let begin = Instant::now();
        let outcome = request.method.attribute(engine, &self.question)?;
        let wall_ms = begin.elapsed().as_secs_f64() * 1e3;
        Ok(self.record(request, loaded, engine, &outcome, wall_ms))
    }

    fn record(self, request: &Request, loaded: &Loaded, engine: &Engine<'_>, outcome: &Outcome, wall_ms: f64) -> Attribution {
        let tokenizer = loaded.tokenizer.as_ref();
        let prompt = self.reading.ids.len();
        let characters = Characters::of(self.reading.text.as_deref().unwrap_or(""));
        let per_target_token = reported(&self.question, &outcome.per_target_token, prompt);
        let per_contrast_token = self.contrast.as_ref().map(|_| reported(&self.question, &outcome.per_contrast_token, prompt));
        // Only what is reported counts: under similarity a later token may act on an earlier target through its neighbours.
        let sum = |rows: &[Vec<Option<f64>>], i: usize| rows.get(i).map_or(0.0, |row| row.iter().flatten().sum());
        let contrast_rows = per_contrast_token.as_deref().unwrap_or_default();
        let combined =
            (0..per_target_token.len()).map(|i| request.postprocessing.apply(sum(&per_target_token, i) - sum(contrast_rows, i))).collect();
        let mut model = loaded.record.clone();
        model.dtype = engine.compute.name().into();
        Attribution {
            format: FORMAT.into(),
            tool_version: VERSION.into(),
            model,
            input: InputRecord {
                shown: self.reading.shown.iter().map(|r| characters.span(r)).collect(),
                tokens: self.reading.tokens(tokenizer),
                text: self.reading.text,
            },
            target: TargetRecord {
                origin: self.target.origin.into(),
                score: request.score.name().into(),
                tokens: target_tokens(&self.target, &outcome.clean, prompt, tokenizer),
                contrast: self
                    .contrast
                    .map(|c| ContrastRecord { tokens: target_tokens(&c, &outcome.clean_contrast, prompt, tokenizer), text: c.text }),
                text: self.target.text,
            },
            method: MethodRecord {
                id: request.method.id().into(),
                parameters: parameters(request),
                seed: request.method.seed(),
                postprocessing: request.postprocessing.name().into(),
                units: self.units,
            },
            features: self.features,
            scores: Scores { combined, per_target_token, per_contrast_token },
            cost: CostRecord {
                wall_ms,
                forwards: outcome.cost.copies,
                backwards: outcome.backwards,
                sweeps: outcome.cost.sweeps,
                rows: outcome.cost.rows,
                gflop: outcome.cost.gflop,
                peak_bytes: peak_bytes(),
            },
        }
    }
}

/// Reads, asks and records in one go.
///
/// # Errors
/// As [`Prepared::new`] and [`Prepared::explain`].
pub fn explain(request: &Request, loaded: &Loaded, engine: &Engine<'_>) -> Result<Attribution> {
    Prepared::new(request, loaded, engine)?.explain(request, loaded, engine)
}

fn parameters(request: &Request) -> serde_json::Value {
    let mut parameters = request.method.parameters();
    if let Some(object) = parameters.as_object_mut() {
        object.insert("temperature".into(), request.temperature.into());
    }
    parameters
}

fn aimed(what: &str, aim: &Aim, reading: &mut Reading, tokenizer: Option<&TextTokenizer>, engine: &Engine<'_>) -> Result<Aimed> {
    match aim {
        Aim::Text(text) => {
            let encoded = needed(tokenizer)?.encode_continuation(text)?;
            if encoded.ids.is_empty() {
                return Err(Error::request(format!(
                    "the {what} \"{text}\" gives no tokens; give at least one character that the tokenizer knows"
                )));
            }
            Ok(Aimed { text: Some(text.clone()), ids: encoded.ids, spans: encoded.spans, origin: "given" })
        }
        Aim::Ids(ids) => {
            if ids.is_empty() {
                return Err(Error::request(format!("the {what} has no token ids; give at least one")));
            }
            Ok(Aimed { text: None, ids: ids.clone(), spans: vec![None; ids.len()], origin: "given" })
        }
        Aim::Generated(count) => {
            if *count == 0 {
                return Err(Error::request("a target of 0 generated tokens explains nothing; ask for at least 1"));
            }
            let ids = greedy(engine, tokenizer, &reading.symbols(), *count)?;
            let (text, spans) = match tokenizer {
                Some(tokenizer) => {
                    let (text, spans) = pieces(tokenizer, &ids);
                    (Some(text), spans)
                }
                None => (None, vec![None; ids.len()]),
            };
            Ok(Aimed { text, ids, spans, origin: "generated" })
        }
        Aim::Range(range) => range_of_prompt(range, reading),
    }
}

/// Takes a target out of the text itself: what follows it is dropped, what stands before it is the prompt.
fn range_of_prompt(range: &Range<usize>, reading: &mut Reading) -> Result<Aimed> {
    let tokens = reading.ids.len();
    if range.is_empty() || range.end > tokens || range.start == 0 {
        return Err(Error::request(format!(
            "target tokens {}..{} are not a part of the text after its first token; it has {tokens} tokens, so 1..{tokens} is the most",
            range.start, range.end
        )));
    }
    let ids = reading.ids[range.clone()].to_vec();
    let spans: Vec<Option<Range<usize>>> = reading.spans[range.clone()].to_vec();
    reading.ids.truncate(range.start);
    reading.spans.truncate(range.start);
    let covered = spans.iter().flatten();
    let (first, last) = (covered.clone().map(|s| s.start).min(), covered.map(|s| s.end).max());
    let (Some(text), Some(first), Some(last)) = (&mut reading.text, first, last) else {
        return Ok(Aimed { text: None, ids, spans: vec![None; range.len()], origin: "range" });
    };
    let own = text[first..last].to_owned();
    text.truncate(first);
    let clip = |parts: &mut Vec<Range<usize>>| {
        parts.iter_mut().for_each(|p| p.end = p.end.min(first));
        parts.retain(|p| p.start < p.end);
    };
    clip(&mut reading.explained);
    clip(&mut reading.shown);
    reading.spans.iter_mut().for_each(|s| *s = s.take().map(|s| s.start.min(first)..s.end.min(first)).filter(|s| !s.is_empty()));
    let spans = spans.into_iter().map(|s| s.map(|s| s.start - first..s.end - first)).collect();
    Ok(Aimed { text: Some(own), ids, spans, origin: "range" })
}

/// The text of generated tokens, and which bytes of it each one brought.
fn pieces(tokenizer: &TextTokenizer, ids: &[u32]) -> (String, Vec<Option<Range<usize>>>) {
    let mut text = String::new();
    let mut spans = Vec::new();
    let mut streamer = tokenizer.streamer();
    for id in ids {
        let start = text.len();
        text.push_str(&streamer.push(*id));
        spans.push(start..text.len());
    }
    let rest = streamer.finish();
    if let Some(last) = spans.last_mut().filter(|_| !rest.is_empty()) {
        last.end += rest.len();
        text.push_str(&rest);
    }
    (text, spans.into_iter().map(|s| Some(s).filter(|s| !s.is_empty())).collect())
}

type Cut = (Vec<Feature>, Vec<FeaturePositions>, String);

/// Cuts the prompt into features; units that no token covers are left out, the model never saw them.
fn cut(reading: &Reading, granularity: &Granularity) -> Result<Cut> {
    let Some(text) = &reading.text else {
        if !matches!(granularity, Granularity::Token | Granularity::Auto) {
            return Err(Error::request(format!("units `{granularity}` need a text, but token ids were given; explain tokens")));
        }
        let feature = |(p, id): (usize, &u32)| Feature { part: Part::Prompt, text: format!("#{id}"), span: None, positions: vec![p] };
        let features: Vec<Feature> = reading.ids.iter().enumerate().map(feature).collect();
        let positions = (0..features.len()).map(|p| FeaturePositions { part: Part::Prompt, positions: vec![(p, 1.0)] }).collect();
        return Ok((features, positions, "token".into()));
    };
    let characters = Characters::of(text);
    let found = units(text, &reading.spans, &reading.explained, granularity)?;
    let units = found.units.into_iter().filter(|u| !u.tokens.is_empty());
    let (features, positions) = units
        .map(|u| {
            let feature = Feature {
                part: Part::Prompt,
                text: text[u.span.clone()].to_owned(),
                span: Some(characters.span(&u.span)),
                positions: u.tokens.iter().map(|t| t.0).collect(),
            };
            (feature, FeaturePositions { part: Part::Prompt, positions: u.tokens })
        })
        .unzip();
    Ok((features, positions, found.granularity.to_string()))
}

fn earlier_target_tokens(target: &Aimed, prompt: usize, features: &mut Vec<Feature>, positions: &mut Vec<FeaturePositions>) {
    let text = target.text.as_deref().unwrap_or("");
    let characters = Characters::of(text);
    for (t, (id, span)) in target.ids.iter().zip(&target.spans).enumerate().take(target.ids.len() - 1) {
        let position = prompt + t;
        let own = span.as_ref().map_or(format!("#{id}"), |s| text[s.clone()].trim().to_owned());
        let span: Option<Span> = span.as_ref().map(|s| characters.span(s));
        features.push(Feature { part: Part::Target, text: own, span, positions: vec![position] });
        positions.push(FeaturePositions { part: Part::Target, positions: vec![(position, 1.0)] });
    }
}

/// Scores as they are reported: none where a feature does not precede the target token.
fn reported(question: &Question, scores: &[Vec<f64>], prompt: usize) -> Vec<Vec<Option<f64>>> {
    let precedes = |feature: &FeaturePositions, t: usize| feature.positions.iter().any(|p| p.0 < prompt + t);
    let rows = question.features.iter().zip(scores);
    rows.map(|(f, row)| row.iter().enumerate().map(|(t, s)| precedes(f, t).then_some(*s)).collect()).collect()
}

fn target_tokens(target: &Aimed, clean: &[TokenScore], prompt: usize, tokenizer: Option<&TextTokenizer>) -> Vec<TargetToken> {
    let characters = Characters::of(target.text.as_deref().unwrap_or(""));
    let token = |(t, score): (usize, &TokenScore)| TargetToken {
        id: target.ids[t],
        text: tokenizer.map_or(String::new(), |tokenizer| tokenizer.token_text(target.ids[t])),
        span: target.spans[t].as_ref().map(|s| characters.span(s)),
        position: prompt + t,
        log_probability: score.log_probability,
        probability: score.log_probability.exp(),
        logit: score.logit,
        rank: score.rank,
    };
    clean.iter().enumerate().map(token).collect()
}

/// Largest resident size of this process so far, where the system tells.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
}

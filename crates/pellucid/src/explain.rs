//! A person's request turned into a question for a method, and its answer into an [`Attribution`].

mod class;
mod continuation;
mod features;
mod goal;
mod mask;
pub(crate) mod similarity;

use std::{ops::Range, time::Instant};

use pellucid_core::{
    Attribution, ContrastRecord, CostRecord, Engine, Error, FORMAT, FeaturePositions, InputRecord, Method, MethodRecord, Model, Outcome,
    PixelScores, Place, Postprocessing, Question, Result, Score, Scores, Sign, Special, Target, TargetKind, TargetRecord, model::Outputs,
    units::Granularity, walk::Estimate,
};
use pellucid_models::{Loaded, image::Picture, text::TextTokenizer};

use crate::{
    VERSION,
    prompt::{Characters, Prompt, Reading, Within, reader, reads_whole},
};
use features::Cut;
use goal::Goal;

/// What is explained.
#[derive(Clone, Debug, PartialEq)]
pub enum Aim {
    /// What the model itself says: so many tokens of greedy continuation (fewer if it stops), the class that it chooses, or what it puts in
    /// the place of a mask.
    Own(usize),
    /// Anything that costs the same as this many tokens: for an estimate.
    Any(usize),
    /// This text, as the continuation of the prompt; in the place of the mask; or as the text to compare with.
    Text(String),
    /// What the model itself says next: so many tokens of greedy continuation, fewer if it stops.
    Generated(usize),
    /// These tokens of the given text (end exclusive); the prompt is what stands before them.
    Range(Range<usize>),
    /// These token ids; a class; the ids of a text to compare with.
    Ids(Vec<u32>),
    /// This class, by its name or its number.
    Class(String),
    /// This word in the place of the mask.
    Masked(String),
    /// How similar the input is to this text; how well a picture goes with it.
    SimilarTo(String),
    /// How well a picture goes with one of these texts, among all of them.
    Texts(Texts),
    /// How similar the input is to this picture.
    Picture(Box<Picture>),
}

/// Texts that a picture may go with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    /// What the model reads.
    pub texts: Vec<String>,
    /// What each is called.
    pub names: Vec<String>,
    /// Which is explained; `None`: the one that goes best.
    pub chosen: Option<usize>,
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
    /// Which token is the mask that is explained; `None`: the only one there is.
    pub mask_at: Option<usize>,
    /// Whether earlier target tokens get scores, too.
    pub target_features: bool,
    /// Whether special tokens get scores, whatever the units. An encoder's do wherever tokens do.
    pub special_tokens: bool,
    /// What is explained of each target token; `None`: the logit of a class or a similarity, else the log-probability.
    pub score: Option<Score>,
    /// Logits are divided by it before the softmax.
    pub temperature: f64,
    /// What is done to the sums.
    pub postprocessing: Postprocessing,
    /// How.
    pub method: Box<dyn Method>,
}

impl Request {
    /// A request with defaults: tokens, and what the model itself says (one token where it goes on with a text).
    pub fn new(prompt: Prompt, method: Box<dyn Method>) -> Self {
        Self {
            prompt,
            within: Within::default(),
            units: Granularity::Token,
            aim: Aim::Own(1),
            contrast: None,
            mask_at: None,
            target_features: false,
            special_tokens: false,
            score: None,
            temperature: 1.0,
            postprocessing: Postprocessing::default(),
            method,
        }
    }
}

impl Request {
    /// Whether it can be asked the other way round.
    ///
    /// # Errors
    /// The request does not compare one text or picture with another.
    pub fn check_two_ways(&self) -> Result<()> {
        let one = match &self.aim {
            Aim::SimilarTo(_) | Aim::Picture(_) => true,
            Aim::Texts(Texts { chosen, .. }) => chosen.is_some(),
            _ => false,
        };
        match (one, &self.contrast) {
            (false, _) => Err(Error::request("only the similarity of one text or picture to another can be explained both ways")),
            (true, Some(_)) => Err(Error::request("a similarity with a contrast has no other way round; leave out the contrast")),
            (true, None) => Ok(()),
        }
    }

    /// The same question the other way round: what was compared with is explained, compared with what was explained.
    ///
    /// # Errors
    /// The request does not compare one text or picture with another.
    pub fn turn_round(&mut self) -> Result<()> {
        self.check_two_ways()?;
        let no = || Error::request("only the similarity of one text or picture to another can be explained both ways");
        let (prompt, aim) = match (&self.prompt, &self.aim) {
            (Prompt::Text(text), Aim::SimilarTo(other)) => (Prompt::Text(other.clone()), Aim::SimilarTo(text.clone())),
            (Prompt::Image { picture, .. }, Aim::Picture(other)) => {
                (Prompt::Image { picture: other.clone(), regions: Vec::new(), controls: Vec::new() }, Aim::Picture(picture.clone()))
            }
            (Prompt::Image { picture, .. }, Aim::SimilarTo(text)) => (Prompt::Text(text.clone()), Aim::Picture(picture.clone())),
            (Prompt::Image { picture, .. }, Aim::Texts(Texts { texts, chosen, .. })) => {
                let text = chosen.and_then(|c| texts.get(c)).ok_or_else(no)?;
                (Prompt::Text(text.clone()), Aim::Picture(picture.clone()))
            }
            _ => return Err(no()),
        };
        // A box is a part of a picture, and a tile a unit of one.
        if matches!(prompt, Prompt::Text(_)) && matches!(self.units, Granularity::Tiles(..)) {
            self.units = Granularity::Token;
        }
        (self.prompt, self.aim) = (prompt, aim);
        Ok(())
    }
}

/// A request made ready for its method.
#[derive(Debug)]
pub struct Prepared {
    reading: Reading,
    goal: Goal,
    cut: Cut,
    question: Question,
}

impl Prepared {
    /// Reads, aims and cuts. Runs the model only to find out what it says itself, and for the vector of a text that is compared with.
    ///
    /// # Errors
    /// Anything that does not suit the method, the model or the text.
    pub fn new(request: &Request, loaded: &Loaded, engine: &Engine<'_>) -> Result<Self> {
        request.method.fits(reader(&request.prompt, loaded)?.description())?;
        Self::for_any(request, loaded, engine)
    }

    /// The same, whatever the method.
    ///
    /// # Errors
    /// Anything that does not suit the model or the text.
    pub fn for_any(request: &Request, loaded: &Loaded, engine: &Engine<'_>) -> Result<Self> {
        let mut reading = Reading::new(&request.prompt, &request.within, loaded)?;
        let own = reading.model(loaded)?;
        let engine = &engine.with(own).under(engine.control.and(&reading.control())?);
        let goal = Goal::new((&request.aim, request.contrast.as_ref()), request.mask_at, &mut reading, loaded, engine)?;
        let mut cut = Cut::new(request, &reading, loaded)?;
        if request.target_features {
            if goal.place != Place::Continuation {
                return Err(reads_whole(own.description(), "has no earlier target tokens", "leave out --target-features"));
            }
            cut.add_target(&goal.target, reading.ids.len());
        }
        let model = goal.model.as_ref().unwrap_or(own);
        let question = Question {
            prompt: reading.input(model.description()),
            features: cut.positions.clone(),
            target: Target {
                place: goal.place,
                tokens: goal.target.ids.clone(),
                contrast: goal.contrast.as_ref().map(|c| c.ids.clone()),
                score: score(request, &goal, model)?,
                temperature: request.temperature,
            },
            special: Special {
                pad: loaded.tokenizer.as_ref().and_then(TextTokenizer::pad_token),
                mask: loaded.tokenizer.as_ref().and_then(TextTokenizer::mask_token),
            },
        };
        question.check(model)?;
        Ok(Self { reading, goal, cut, question })
    }

    /// Why a method cannot be used on the model that is asked, or nothing.
    ///
    /// # Errors
    /// Names what the model lacks.
    pub fn fits(&self, method: &dyn Method, loaded: &Loaded) -> Result<()> {
        method.fits(self.reading.model(loaded)?.description())
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
        self.on(engine, |engine| request.method.estimate(engine, &self.question))
    }

    /// What answering by another method takes.
    ///
    /// # Errors
    /// As [`Prepared::explain_by`].
    pub fn estimate_by(&self, method: &dyn Method, loaded: &Loaded, engine: &Engine<'_>) -> Result<Estimate> {
        self.fits(method, loaded)?;
        self.on(engine, |engine| method.estimate(engine, &self.question))
    }

    /// Runs the method.
    ///
    /// # Errors
    /// Too little memory, an interruption.
    pub fn explain(&self, request: &Request, loaded: &Loaded, engine: &Engine<'_>) -> Result<Attribution> {
        self.explain_by(&*request.method, request, loaded, engine)
    }

    /// Runs another method on the same question.
    ///
    /// # Errors
    /// A method that does not fit the model, too little memory, an interruption.
    pub fn explain_by(&self, method: &dyn Method, request: &Request, loaded: &Loaded, engine: &Engine<'_>) -> Result<Attribution> {
        let begin = Instant::now();
        let outcome = self.on(engine, |engine| method.attribute(engine, &self.question))?;
        let wall_ms = begin.elapsed().as_secs_f64() * 1e3;
        Ok(self.record(method, request, loaded, engine, &outcome, wall_ms))
    }

    /// With the model that is asked, on the same terms.
    fn on<T>(&self, engine: &Engine<'_>, work: impl FnOnce(&Engine<'_>) -> Result<T>) -> Result<T> {
        let control = engine.control.and(&self.reading.control())?;
        work(&engine.with(self.goal.model.as_ref().unwrap_or(engine.model)).under(control))
    }

    fn record(
        &self,
        method: &dyn Method,
        request: &Request,
        loaded: &Loaded,
        engine: &Engine<'_>,
        outcome: &Outcome,
        wall_ms: f64,
    ) -> Attribution {
        let tokenizer = loaded.tokenizer.as_ref();
        let Goal { kind, target, contrast, .. } = &self.goal;
        let prompt = self.question.prompt.len();
        let first = match self.question.target.place {
            Place::Continuation => prompt,
            Place::Position(position) => position,
            Place::Whole => 0,
        };
        let characters = Characters::of(self.reading.text.as_deref().unwrap_or(""));
        let per_target_token = reported(&self.question, &outcome.per_target_token, prompt);
        let per_contrast_token = contrast.as_ref().map(|_| reported(&self.question, &outcome.per_contrast_token, prompt));
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
                text: self.reading.text.clone(),
                second: self.reading.second.as_ref().map(|r| characters.span(r)),
                image: self.reading.seen.as_ref().map(|s| s.record.clone()),
            },
            target: TargetRecord {
                kind: *kind,
                origin: target.origin.into(),
                score: self.question.target.score.name().into(),
                tokens: target.record(&outcome.clean, first),
                contrast: contrast
                    .as_ref()
                    .map(|c| ContrastRecord { tokens: c.record(&outcome.clean_contrast, first), text: c.text.clone() }),
                text: target.text.clone(),
            },
            method: MethodRecord {
                id: method.id().into(),
                parameters: parameters(method, request),
                seed: method.seed(),
                postprocessing: request.postprocessing.name().into(),
                units: self.cut.units.clone(),
                // A difference of shares has a direction.
                sign: if contrast.is_some() { Sign::Signed } else { method.sign() },
            },
            features: self.cut.features.clone(),
            scores: Scores { combined, per_target_token, per_contrast_token },
            pixels: self.pixels(request, outcome),
            promises: outcome.promises.clone(),
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

impl Prepared {
    /// Scores of single pixels, over target tokens, a contrast's taken away.
    fn pixels(&self, request: &Request, outcome: &Outcome) -> Option<PixelScores> {
        Some(self.reading.seen.as_ref()?.pixels(&outcome.combined_pixels(request.postprocessing)?))
    }
}

/// Reads, asks and records in one go.
///
/// # Errors
/// As [`Prepared::new`] and [`Prepared::explain`].
pub fn explain(request: &Request, loaded: &Loaded, engine: &Engine<'_>) -> Result<Attribution> {
    Prepared::new(request, loaded, engine)?.explain(request, loaded, engine)
}

fn parameters(method: &dyn Method, request: &Request) -> serde_json::Value {
    let mut parameters = method.parameters();
    if let Some(object) = parameters.as_object_mut() {
        object.insert("temperature".into(), request.temperature.into());
    }
    parameters
}

/// What is explained of each target token.
fn score(request: &Request, goal: &Goal, model: &Model) -> Result<Score> {
    let similarity = goal.kind == TargetKind::Similarity;
    let matched = goal.kind == TargetKind::Match;
    match request.score {
        Some(score) if similarity && score != Score::Logit => {
            Err(Error::request(format!("a similarity has no {}; explain its logit, which is the cosine", score.name())))
        }
        Some(score) => Ok(score),
        None if similarity || matched || matches!(model.description().outputs, Outputs::Classes { .. }) => Ok(Score::Logit),
        None => Ok(Score::default()),
    }
}

/// Scores as they are reported: none where a feature does not precede the target token.
fn reported(question: &Question, scores: &[Vec<f64>], prompt: usize) -> Vec<Vec<Option<f64>>> {
    let precedes = |feature: &FeaturePositions, t: usize| feature.positions.iter().any(|p| p.0 < prompt + t);
    let rows = question.features.iter().zip(scores);
    rows.map(|(f, row)| row.iter().enumerate().map(|(t, s)| precedes(f, t).then_some(*s)).collect()).collect()
}

/// Begins to look for the largest resident size anew, where the system lets us; what [`peak_bytes`] tells is then of the work since.
pub(crate) fn reset_peak() {
    // Linux: 5 resets the peak. Where it cannot be reset, it stays that of the whole process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Largest resident size of this process so far, where the system tells.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
}

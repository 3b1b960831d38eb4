//! What was typed after `pellucid explain`, understood: checked and read as far as that goes without a model.

use pellucid::{
    Error, Result,
    core::{
        Method,
        units::{Granularity, check_factor, check_similarity},
    },
    explain::{Aim, Request, Texts},
    methods,
    prompt::{Prompt, Within},
};
use serde_json::{Map, Value as Json, json};

use super::typed::{AimArgs, AskedArgs, DocumentArgs, MethodArgs, NumberArgs, Typed};
use crate::{
    args::Machine,
    output::Outputs,
    prompt::{self, PictureArgs},
};

/// Tokens of the model's own answer that are explained where it answers somebody, and where it goes on.
const ANSWER: u32 = 20;
const CONTINUATION: u32 = 1;

/// What is to be done.
pub(super) struct Meaning {
    pub(super) machine: Machine,
    pub(super) request: Request,
    /// `None`: only an estimate is wanted.
    pub(super) outputs: Option<Outputs>,
    /// Whether the estimate is to be JSON.
    pub(super) json: bool,
    /// Whether the other text is explained against this one, too.
    pub(super) both_ways: bool,
    /// How many texts a picture is explained against, one after the other; 1 where there is nothing of the kind.
    pub(super) texts: usize,
}

impl Typed {
    /// Everything that can be wrong before a model is opened is found here.
    pub(super) fn meaning(self) -> Result<Meaning> {
        let (method, texts) = (self.method.meaning()?, self.asked.aim.text.len());
        let json = self.output.json;
        self.output.spare(&self.asked.files())?;
        let outputs = if self.estimate { None } else { Some(self.output.meaning()?) };
        let request = Request { postprocessing: self.method.postprocess, ..self.asked.meaning(method, self.estimate)? };
        let (both_ways, texts) = (self.both_ways, texts.max(1));
        if both_ways {
            request.check_two_ways()?;
        }
        if (both_ways || texts > 1)
            && let Some(outputs) = &outputs
        {
            outputs.check_two()?;
        }
        Ok(Meaning { machine: Machine::new(self.model, self.machine), request, outputs, json, both_ways, texts })
    }
}

impl AskedArgs {
    /// The request; one that is only estimated needs nothing to be run.
    pub(crate) fn meaning(self, method: Box<dyn Method>, estimate: bool) -> Result<Request> {
        let pictures = self.picture.clone();
        let (asks, is_document) = (self.prompt.chat || self.document.document.is_some(), self.document.document.is_some());
        let chat = self.prompt.chat;
        let second = self.document.second.clone();
        let prompt = match (self.picture.meaning()?.or(self.document.meaning(chat)?), second) {
            (Some(picture_or_document), _) => picture_or_document,
            (None, None) => self.prompt.meaning()?,
            (None, Some(second)) => match self.prompt.meaning()? {
                Prompt::Text(first) => Prompt::Pair { first, second },
                _ => return Err(Error::request("a second text stands beside a first one; give both as texts")),
            },
        };
        let mut request = Request {
            within: Within { everything: self.parts.all, only: self.parts.only, except: self.parts.except },
            units: self.parts.units.unwrap_or(if is_document { Granularity::Sentence } else { Granularity::Token }),
            aim: match self.number.label(&self.aim)? {
                Some(labelled) => labelled,
                None => self.aim.meaning(asks, &pictures)?,
            },
            mask_at: self.number.mask_at,
            target_features: self.parts.target_features,
            special_tokens: self.parts.special_tokens,
            score: self.number.score,
            temperature: self.number.temperature,
            contrast: self.number.contrast(),
            ..Request::new(prompt, method)
        };
        if estimate {
            run_nothing(&mut request);
        }
        Ok(request)
    }
}

/// What it costs does not depend on which tokens or vectors they are, and an estimate runs nothing.
fn run_nothing(request: &mut Request) {
    match request.aim {
        Aim::Own(tokens) | Aim::Generated(tokens) => request.aim = Aim::Any(tokens),
        Aim::SimilarTo(_) | Aim::Texts(_) | Aim::Picture(_) => {
            request.aim = Aim::Any(1);
            request.contrast = request.contrast.take().map(|_| Aim::Any(1));
        }
        _ => {}
    }
}

impl DocumentArgs {
    fn meaning(self, chat: bool) -> Result<Option<Prompt>> {
        let (Some(file), Some(question)) = (self.document, self.question) else { return Ok(None) };
        Ok(Some(Prompt::Document { document: prompt::read(&file)?, question, chat }))
    }
}

impl AimArgs {
    fn meaning(self, asks: bool, pictures: &PictureArgs) -> Result<Aim> {
        if let Some(path) = self.similar_to_image {
            return Ok(Aim::Picture(Box::new(pictures.picture(&path)?)));
        }
        if !self.text.is_empty() {
            return Ok(Aim::Texts(Texts { names: self.text.clone(), texts: self.text, chosen: Some(0) }));
        }
        Ok(self.of_text(asks))
    }

    fn of_text(self, asks: bool) -> Aim {
        // A picture has no continuation: what is said of a class is said more simply.
        if let Some(text) = self.target {
            return Aim::Text(text);
        }
        if !self.target_ids.is_empty() {
            return Aim::Ids(self.target_ids);
        }
        if let Some(range) = self.target_range {
            return Aim::Range(range);
        }
        let tokens = |n: u32| n as usize;
        let own = || Aim::Own(tokens(if asks { ANSWER } else { CONTINUATION }));
        let generated = self.generate.map(|n| Aim::Generated(tokens(n)));
        let named = self.class.map(Aim::Class).or(self.mask_target.map(Aim::Masked)).or(self.similar_to.map(Aim::SimilarTo));
        generated.or(named).unwrap_or_else(own)
    }
}

/// Labels that are read from a file at most.
const LABELS: usize = 100_000;

impl NumberArgs {
    /// What the labels' file and its flags ask for, where there is one.
    fn label(&self, aim: &AimArgs) -> Result<Option<Aim>> {
        let Some(path) = &aim.labels else { return Ok(None) };
        let names: Vec<String> = prompt::read(path)?.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
        if names.is_empty() || names.len() > LABELS {
            let what = format!("{}: {} labels; give 1 to {LABELS}, a line each", path.display(), names.len());
            return Err(Error::request(what));
        }
        if !self.template.contains("{}") {
            return Err(Error::request(format!("the template \"{}\" has no place for a label; write {{}} where it goes", self.template)));
        }
        let chosen = match &self.label {
            None => None,
            Some(label) => Some(
                names
                    .iter()
                    .position(|n| n.eq_ignore_ascii_case(label))
                    .ok_or_else(|| Error::request(format!("{}: there is no label `{label}` among its {}", path.display(), names.len())))?,
            ),
        };
        let texts = names.iter().map(|n| self.template.replace("{}", n)).collect();
        Ok(Some(Aim::Texts(Texts { texts, names, chosen })))
    }

    fn contrast(self) -> Option<Aim> {
        let ids = (!self.contrast_ids.is_empty()).then_some(Aim::Ids(self.contrast_ids));
        self.contrast.map(Aim::Text).or(ids).or(self.contrast_class.map(Aim::Class))
    }
}

impl MethodArgs {
    /// The method with its parameters: those set by name first, then those that have a flag.
    fn meaning(&self) -> Result<Box<dyn Method>> {
        let mut parameters = Map::new();
        for written in &self.set {
            let (key, value) = setting(written)?;
            parameters.insert(key.into(), value);
        }
        let mut put = |key: &str, value: Option<Json>| value.map(|value| parameters.insert(key.into(), value));
        put("factor", self.factor.map(check_factor).transpose()?.map(Json::from));
        put("mode", self.mode.map(|m| m.name().into()));
        put("layers", self.layers.as_ref().map(|l| l.0.clone().into()));
        put("similarity", self.similarity()?);
        put("overlap", self.overlap.map(|o| o.to_string().into()));
        put("replace", self.replace.as_deref().map(replace).transpose()?);
        put("seed", self.seed.map(Json::from));
        (methods::find(&self.method)?.make)(parameters.into())
    }

    fn similarity(&self) -> Result<Option<Json>> {
        let Some(threshold) = self.similarity else { return Ok(None) };
        check_similarity(threshold)?;
        Ok(Some(json!({ "threshold": threshold, "coupled": !self.similarity_flat, "limit": self.similarity_limit })))
    }
}

/// `KEY=VALUE`, the value in JSON; a bare word is meant as one.
pub(crate) fn setting(written: &str) -> Result<(&str, Json)> {
    let (key, value) = written.split_once('=').ok_or_else(|| Error::request(format!("`{written}` sets nothing; write KEY=VALUE")))?;
    Ok((key, serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

fn replace(written: &str) -> Result<Json> {
    match (written, written.strip_prefix("token:").and_then(|id| id.parse::<u32>().ok())) {
        ("zero" | "delete" | "mean", _) => Ok(written.into()),
        (_, Some(id)) => Ok(json!({ "token": id })),
        _ => Err(Error::request(format!(
            "nothing is replaced by `{written}`; use zero, delete, token:ID (for example token:0), or of a picture mean"
        ))),
    }
}

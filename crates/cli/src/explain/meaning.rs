//! What was typed after `pellucid explain`, understood: checked and read as far as that goes without a model.

use pellucid::{
    Error, Result,
    core::{
        Method,
        units::{Granularity, check_factor, check_similarity},
    },
    explain::{Aim, Request},
    methods,
    prompt::{Prompt, Within},
};
use serde_json::{Map, Value as Json, json};

use super::typed::{AimArgs, DocumentArgs, MethodArgs, Typed};
use crate::{args::Machine, output::Outputs, prompt};

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
}

impl Typed {
    /// Everything that can be wrong before a model is opened is found here.
    pub(super) fn meaning(self) -> Result<Meaning> {
        let method = self.method.meaning()?;
        let json = self.output.json;
        let outputs = if self.estimate { None } else { Some(self.output.meaning()?) };
        let (asks, is_document) = (self.prompt.chat || self.document.document.is_some(), self.document.document.is_some());
        let chat = self.prompt.chat;
        let prompt = match self.document.meaning(chat)? {
            Some(document) => document,
            None => self.prompt.meaning()?,
        };
        let request = Request {
            within: Within { everything: self.parts.all, only: self.parts.only, except: self.parts.except },
            units: self.parts.units.unwrap_or(if is_document { Granularity::Sentence } else { Granularity::Token }),
            aim: self.aim.meaning(asks, self.estimate),
            contrast: contrast(self.number.contrast, self.number.contrast_ids),
            target_features: self.parts.target_features,
            score: self.number.score,
            temperature: self.number.temperature,
            postprocessing: self.method.postprocess,
            ..Request::new(prompt, method)
        };
        Ok(Meaning { machine: Machine::new(self.model, self.machine), request, outputs, json })
    }
}

impl DocumentArgs {
    fn meaning(self, chat: bool) -> Result<Option<Prompt>> {
        let (Some(file), Some(question)) = (self.document, self.question) else { return Ok(None) };
        Ok(Some(Prompt::Document { document: prompt::read(&file)?, question, chat }))
    }
}

impl AimArgs {
    fn meaning(self, asks: bool, estimate: bool) -> Aim {
        if let Some(text) = self.target {
            return Aim::Text(text);
        }
        if !self.target_ids.is_empty() {
            return Aim::Ids(self.target_ids);
        }
        if let Some(range) = self.target_range {
            return Aim::Range(range);
        }
        let tokens = self.generate.unwrap_or(if asks { ANSWER } else { CONTINUATION }) as usize;
        // What it costs does not depend on which tokens they are, and an estimate runs nothing.
        if estimate { Aim::Ids(vec![0; tokens]) } else { Aim::Generated(tokens) }
    }
}

fn contrast(text: Option<String>, ids: Vec<u32>) -> Option<Aim> {
    text.map(Aim::Text).or_else(|| (!ids.is_empty()).then_some(Aim::Ids(ids)))
}

impl MethodArgs {
    /// The method with its parameters: those set by name first, then those that have a flag.
    fn meaning(&self) -> Result<Box<dyn Method>> {
        let mut parameters = Map::new();
        for written in &self.set {
            let (key, value) =
                written.split_once('=').ok_or_else(|| Error::request(format!("`{written}` sets nothing; write KEY=VALUE")))?;
            // A bare word is meant as one.
            parameters.insert(key.into(), serde_json::from_str(value).unwrap_or_else(|_| value.into()));
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

fn replace(written: &str) -> Result<Json> {
    match (written, written.strip_prefix("token:").and_then(|id| id.parse::<u32>().ok())) {
        ("zero" | "delete", _) => Ok(written.into()),
        (_, Some(id)) => Ok(json!({ "token": id })),
        _ => Err(Error::request(format!("nothing is replaced by `{written}`; use zero, delete or token:ID, for example token:0"))),
    }
}

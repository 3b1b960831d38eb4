//! Which head an encoder has, and what its outputs are called.
//!
//! `architectures` in the config says which; where it says nothing, the tensors do. A base model without a head gives the mean of its rows,
//! as sentence encoders built on one mostly do (a checkpoint's `config.json` does not say).

use pellucid_core::{
    Activation, Error, Result,
    model::{Linear, Norm, Outputs, Pooling, Table},
};
use serde_json::Value as Json;

use super::{
    Config,
    encoder::{Encoder, Head},
};

/// What the tensors of each head are called.
pub(super) struct Heads {
    /// What the names in `architectures` begin with.
    pub(super) class: &'static str,
    /// To classes: the map of the first row and the function after it, then the map to classes.
    pub(super) pooler: (&'static str, Activation),
    pub(super) classifier: &'static str,
    /// To the vocabulary: a map, the function after it, a norm, then the map that the token table stands in for, and where its bias is.
    pub(super) transform: (&'static str, Activation),
    pub(super) norm: &'static str,
    pub(super) decoder: &'static str,
    pub(super) bias: &'static str,
}

/// What a checkpoint was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// `…ForSequenceClassification`.
    Classes,
    /// `…ForMaskedLM`, `…ForPreTraining`.
    Masked,
    /// `…Model`.
    Embedding,
}

impl Heads {
    /// The encoder with the head that its checkpoint has.
    ///
    /// # Errors
    /// Another head; classes that cannot be named.
    pub(super) fn put_on(&self, mut encoder: Encoder, config: &Config) -> Result<Encoder> {
        let (d, tokens) = (encoder.description.d_model, &encoder.embeddings.tokens);
        let linear = |name: &str, outputs| Linear::new(name, d, outputs).with_bias(true);
        (encoder.description.outputs, encoder.head) = match self.task(config)? {
            Task::Classes => {
                let names = class_names(config, &format!("{}.weight", self.classifier))?;
                let (dense, last) = (linear(self.pooler.0, d), linear(self.classifier, names.len()));
                let head = Head { dense: Some((dense, self.pooler.1)), norm: None, last: Some(last) };
                (Outputs::Classes { pooling: Pooling::First, names }, head)
            }
            Task::Masked => {
                let norm = Norm::layer(self.norm, tokens.width, encoder.embeddings.norm.epsilon);
                let dense = (linear(self.transform.0, tokens.width), self.transform.1);
                (Outputs::Masked, Head { dense: Some(dense), norm: Some(norm), last: Some(self.vocabulary(config, tokens)?) })
            }
            Task::Embedding => (Outputs::Embedding { pooling: Pooling::Mean, width: d }, Head::default()),
        };
        Ok(encoder)
    }

    fn task(&self, config: &Config) -> Result<Task> {
        let class = self.class;
        let has = |name: String| config.shape(&name).is_some();
        let named = match config.get("architectures") {
            Some(Json::Array(names)) => names.first(),
            other => other,
        };
        let Some(named) = named else {
            return Ok(match (has(format!("{}.weight", self.classifier)), has(self.bias.into())) {
                (true, _) => Task::Classes,
                (false, true) => Task::Masked,
                (false, false) => Task::Embedding,
            });
        };
        match named.as_str().and_then(|name| name.strip_prefix(class)) {
            Some("ForSequenceClassification") => Ok(Task::Classes),
            Some("ForMaskedLM" | "ForPreTraining") => Ok(Task::Masked),
            Some("Model") => Ok(Task::Embedding),
            _ => Err(Error::Unsupported(format!(
                "the config's `architectures` names {named}, which is not supported; \
                 there are {class}ForSequenceClassification, {class}ForMaskedLM, {class}ForPreTraining and {class}Model"
            ))),
        }
    }

    /// The map to the vocabulary: the token table, or where it is not tied a map of its own.
    fn vocabulary(&self, config: &Config, tokens: &Table) -> Result<Linear> {
        let tied = config.flag_or("tie_word_embeddings", true)?;
        let mut map = Linear::new(if tied { tokens.name.trim_end_matches(".weight") } else { self.decoder }, tokens.width, tokens.rows);
        let own = format!("{}.bias", self.decoder);
        map.bias = Some(if !tied && config.shape(&own).is_some() { own } else { self.bias.into() });
        Ok(map)
    }
}

/// Names of the classes, as many as the last map has outputs. Where the config names none they are `LABEL_0`, `LABEL_1`, …, as transformers
/// has it.
///
/// # Errors
/// A number of names that is not that of the outputs; classes that do not exclude each other.
pub(super) fn class_names(config: &Config, last: &str) -> Result<Vec<String>> {
    let numbered = |n: usize| (0..n).map(|i| format!("LABEL_{i}")).collect();
    let (said, listed) = (config.classes()?, config.get("id2label").map(listed).transpose()?);
    // Without weights to ask, the config's own word is taken.
    let rows = config.shape(last).and_then(|s| s.first().copied()).or(said).or(listed.as_ref().map(Vec::len)).unwrap_or(2);
    check_problem(config, rows)?;
    match listed {
        Some(names) if names.len() == rows => Ok(names),
        // Old configs carry the default's two names beside the true number.
        Some(_) if said == Some(rows) => Ok(numbered(rows)),
        None => Ok(numbered(rows)),
        Some(names) => {
            Err(Error::Weights(format!("the config's `id2label` names {} classes, but tensor `{last}` has {rows} rows", names.len())))
        }
    }
}

/// `id2label`: indices from 0 without gaps, each with a name.
fn listed(id2label: &Json) -> Result<Vec<String>> {
    let name = |i: usize| id2label.get(i.to_string()).and_then(Json::as_str).map(str::to_owned);
    let count = id2label.as_object().map_or(0, |names| names.len());
    let names: Option<Vec<String>> = (0..count).map(name).collect();
    names
        .filter(|n| !n.is_empty())
        .ok_or_else(|| Error::Weights(format!("the config's `id2label` is {id2label}, not a name for each of the indices \"0\", \"1\", …")))
}

/// A probability here is a softmax over classes; where each class has one of its own, that would be wrong.
fn check_problem(config: &Config, classes: usize) -> Result<()> {
    match config.name_or("problem_type", "single_label_classification")? {
        "single_label_classification" => Ok(()),
        "regression" if classes == 1 => Ok(()),
        other => Err(Error::Unsupported(format!(
            "the config's `problem_type` is {other} with {classes} outputs; only single_label_classification is supported, \
             and regression with one output"
        ))),
    }
}

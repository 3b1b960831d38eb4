//! Explanation methods, one a file, and the table that lists them.
//!
//! A method asks the engine for walks and does some arithmetic; it knows no architecture. To add one: a file that implements
//! [`Method`] and ends in an `ENTRY`, and its two lines here.

mod alti;
mod alti_logit;
mod atman;
mod atman_gradient;
mod attention;
mod attention_gradcam;
mod attention_rollout;
mod attn_lrp;
mod baseline;
pub mod carried;
mod changed_gradient;
mod chefer;
mod cp_lrp;
mod decompx;
mod embedding;
mod entries;
mod flash_trace;
mod gim;
mod gradcam;
mod ifr;
mod input_x_gradient;
mod integrated_gradients;
mod linearised;
mod lrp;
mod mixing;
mod occlusion;
mod perturbation;
mod points;
#[allow(dead_code, reason = "used by every method that is being added")]
mod propagation;
mod quadrature;
mod random;
mod reduction;
mod replacement;
mod saliency;
mod similarity;
mod smooth_grad;
mod value_zeroing;
mod vector_norms;
mod windows;

use pellucid_core::{Error, Method, Result};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

pub use alti::{Alti, VectorNorm};
pub use alti_logit::{AltiLogit, LogitParts};
pub use atman::Atman;
pub use atman_gradient::AtmanGradient;
pub use attention::Attention;
pub use attention_gradcam::{AttentionGradcam, HeadWeight, Normalize};
pub use attention_rollout::AttentionRollout;
pub use attn_lrp::AttnLrp;
pub use baseline::Baseline;
pub use changed_gradient::At;
pub use chefer::{Chefer, NormalizeScores, Source};
pub use cp_lrp::CpLrp;
pub use decompx::{Approximation, Biases, DecompX};
pub use embedding::{Embedded, Wrt};
pub use flash_trace::{FlashTrace, Flow, Trace};
pub use gim::Gim;
pub use gradcam::Gradcam;
pub use ifr::{Ifr, Shares};
pub use input_x_gradient::InputXGradient;
pub use integrated_gradients::IntegratedGradients;
pub use linearised::{After, Deviation};
pub use lrp::{AlphaBetaRules, Lrp, Variant};
pub use occlusion::Occlusion;
pub use quadrature::Quadrature;
pub use random::Random;
pub use reduction::Reduce;
pub use replacement::Replace;
pub use saliency::Saliency;
pub use similarity::{Directions, Similarity};
pub use smooth_grad::SmoothGrad;
pub use value_zeroing::ValueZeroing;
pub use vector_norms::{NormRows, VectorNorms};

/// One method: what people are told of it, and how to make it.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub id: &'static str,
    /// One line: what it does.
    pub summary: &'static str,
    /// What a model must offer.
    pub needs: &'static str,
    /// What holds for its scores, and is tested.
    pub promise: &'static str,
    /// Passes and memory.
    pub cost: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// The source file: its first comment is what `pellucid methods NAME` prints.
    pub docs: &'static str,
    /// From parameters (an object; what is left out has its default) to the method.
    pub make: fn(Json) -> Result<Box<dyn Method>>,
}

/// Every method, the default first.
pub const METHODS: &[Entry] = &[
    atman::ENTRY, //
    atman_gradient::ENTRY,
    occlusion::ENTRY,
    attention::ENTRY,
    attention_rollout::ENTRY,
    attention_gradcam::ENTRY,
    chefer::ENTRY,
    lrp::ENTRY,
    saliency::ENTRY,
    input_x_gradient::ENTRY,
    integrated_gradients::ENTRY,
    smooth_grad::ENTRY,
    gradcam::ENTRY,
    attn_lrp::ENTRY,
    cp_lrp::ENTRY,
    gim::ENTRY,
    alti::ENTRY,
    vector_norms::ENTRY,
    value_zeroing::ENTRY,
    decompx::ENTRY,
    alti_logit::ENTRY,
    ifr::ENTRY,
    flash_trace::ENTRY,
    random::ENTRY,
];

/// The table's row for a name.
///
/// # Errors
/// An unknown one; the message lists those there are.
pub fn find(id: &str) -> Result<&'static Entry> {
    METHODS.iter().find(|m| m.id == id).ok_or_else(|| {
        let known: Vec<_> = METHODS.iter().map(|m| m.id).collect();
        Error::request(format!("unknown method `{id}`; there are {}", known.join(", ")))
    })
}

fn parse<P: DeserializeOwned>(id: &str, parameters: Json) -> Result<P> {
    let Json::Object(given) = &parameters else {
        return Err(Error::request(format!("parameters of {id} are {parameters}, not an object of names and values")));
    };
    // Every parameter has a default, so each can be tried alone: the reader itself does not say which one it fell over.
    let guilty = |(name, value): (&String, &Json)| {
        let error = serde_json::from_value::<P>(Json::Object([(name.clone(), value.clone())].into_iter().collect())).err()?;
        Some(format!("parameters of {id}: `{name}` is {value}: {error}"))
    };
    match given.iter().find_map(guilty) {
        Some(problem) => Err(Error::request(problem)),
        None => serde_json::from_value(parameters).map_err(|e| Error::request(format!("parameters of {id}: {e}"))),
    }
}

//! The result: one score per feature, for one target, by one method, with everything needed to draw it and to check it later.
//!
//! This is the only thing that output forms read, and it is what a saved JSON file holds (`"format": "pellucid/1"`).
//! All text offsets are in **characters** (Unicode scalar values), `start` inclusive, `end` exclusive.
//! Sign: positive speaks *for* the target.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{Promise, Sign};

/// The value of [`Attribution::format`].
pub const FORMAT: &str = "pellucid/1";

/// One explanation: who was asked what, what it answered, and what each feature did for that answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribution {
    /// Always [`FORMAT`].
    pub format: String,
    /// Version of the tool that wrote it.
    pub tool_version: String,
    /// Which model.
    pub model: ModelRecord,
    /// What the model read before the target.
    pub input: InputRecord,
    /// What was explained.
    pub target: TargetRecord,
    /// Which method, with all its parameters.
    pub method: MethodRecord,
    /// What got a score, in order of position. `scores` runs parallel to it.
    pub features: Vec<Feature>,
    /// The scores.
    pub scores: Scores,
    /// Scores of single pixels, where the method gives them; it makes those of `features` of them, mostly by adding them up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<PixelScores>,
    /// Sums that the method promises, and what came of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promises: Vec<Promise>,
    /// What it cost.
    pub cost: CostRecord,
}

/// Which model, exactly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecord {
    /// As the user named it: a short name, a path, a package, a hub id.
    pub id: String,
    /// The checkpoint's `model_type`, for example `llama`.
    pub architecture: String,
    /// Files that the weights came from.
    pub files: Vec<FileRecord>,
    /// Arithmetic: `f32` or `f64`.
    pub dtype: String,
    /// Where it ran: `cpu`.
    pub device: String,
}

/// One file of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// File name without folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Lower-case hexadecimal sha256, where it is known (a fetched file's is always).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What the model read before the target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputRecord {
    /// The whole text given to the model: the person's words, and a chat template's around them if one was asked for; two texts stand one
    /// below the other, a line break between them. `None` when token ids were given directly.
    pub text: Option<String>,
    /// Which part of `text` is the second text, where the model was given two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Span>,
    /// The parts of `text` that a person wrote, in order; what an output form shows. Empty: all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<Span>,
    /// Every token, in order of position.
    pub tokens: Vec<Token>,
    /// The picture, where the model looked at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRecord>,
}

/// A picture that a model looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRecord {
    /// The file's name without folder, where it came from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Lower-case hexadecimal sha256 of the file.
    pub sha256: String,
    /// Width in pixels, the right way up (EXIF orientation applied).
    pub width: u32,
    /// Height in pixels, the right way up.
    pub height: u32,
    /// The part of it that the model saw (a centre crop leaves edges out).
    pub seen: Region,
    /// Patches that the seen part was cut into: `[rows, columns]`.
    pub grid: [usize; 2],
    /// Parts of it whose attention was changed throughout, in the clean run, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<RegionControl>,
    /// The picture itself, for drawing: a `data:` address of a PNG or JPEG, perhaps made smaller, the same shape.
    pub picture: String,
}

/// A part of a picture, and the factor that attention to it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionControl {
    /// Which part.
    pub region: Region,
    /// 0 removes, below 1 suppresses, above 1 amplifies; patches that the part covers partly get it partly.
    pub factor: f64,
}

/// A box in a picture, in fractions of its width and height: 0 to 1 from the left and from the top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Region {
    /// The whole picture.
    pub const WHOLE: Self = Self { left: 0.0, top: 0.0, width: 1.0, height: 1.0 };

    /// Area of what both cover, as a fraction of the picture.
    pub fn overlap(&self, other: &Self) -> f64 {
        let along = |a: f64, a_size: f64, b: f64, b_size: f64| ((a + a_size).min(b + b_size) - a.max(b)).max(0.0);
        along(self.left, self.width, other.left, other.width) * along(self.top, self.height, other.top, other.height)
    }

    /// This box, given in fractions of `outer`, in fractions of the whole picture.
    #[must_use]
    pub fn within(&self, outer: &Self) -> Self {
        Self {
            left: outer.left + self.left * outer.width,
            top: outer.top + self.top * outer.height,
            width: self.width * outer.width,
            height: self.height * outer.height,
        }
    }

    /// Cell `(row, column)` of this box cut into `[rows, columns]`.
    #[must_use]
    pub fn cell(&self, grid: [usize; 2], row: usize, column: usize) -> Self {
        let (height, width) = (1.0 / grid[0] as f64, 1.0 / grid[1] as f64);
        Self { left: column as f64 * width, top: row as f64 * height, width, height }.within(self)
    }
}

/// One number for each pixel that the model was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelScores {
    /// Pixels of a row of what the model was given, padding left out.
    pub width: usize,
    /// Rows of it.
    pub height: usize,
    /// Row-major, one number a pixel (its channels taken together by the method), combined over target tokens as [`Scores::combined`] is. They lie
    /// over [`ImageRecord::seen`].
    pub values: Vec<f32>,
}

/// A token of the input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// What it stands for, as the tokenizer decodes it alone; empty where there is no tokenizer.
    pub text: String,
    /// Which characters of the text it covers; `None` for a token that was added (begin of sequence) or given as an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// Its type (BERT's segment), for models that tell first and second text apart.
    #[serde(default, skip_serializing_if = "is_zero", rename = "type")]
    pub kind: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A range of characters: `start` inclusive, `end` exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// First character.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
}

/// What kind of thing was explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// Tokens that follow the prompt.
    #[default]
    Continuation,
    /// The class that the whole input is put into: one token, whose `id` is the class and whose `text` is its name.
    Class,
    /// What stands in the place of a mask: one token, at the mask's `position`.
    MaskedToken,
    /// How similar the input is to another text, which is the target's text: one token, whose `logit` is the cosine, −1 to 1.
    Similarity,
    /// How well picture and text match: one token, whose `logit` is the scaled cosine and whose probability is among the texts given.
    Match,
}

/// The number that was explained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetRecord {
    /// What kind of thing it is.
    #[serde(default, skip_serializing_if = "is_continuation")]
    pub kind: TargetKind,
    /// The target's text: tokens, the name of a class, or what the input was compared with; `None` when token ids were given directly.
    pub text: Option<String>,
    /// Where the target came from: `given`, `generated` (the model's own greedy continuation), `range` (part of the given text),
    /// `predicted` (the class that the model chooses, or what it puts in the place of a mask).
    pub origin: String,
    /// What is explained of each token: `log-probability` (nats), `logit` or `probability`.
    pub score: String,
    /// Every target token with its clean numbers.
    pub tokens: Vec<TargetToken>,
    /// What it was set against, if anything: then scores are of target minus contrast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contrast: Option<ContrastRecord>,
}

fn is_continuation(kind: &TargetKind) -> bool {
    *kind == TargetKind::Continuation
}

/// One target token and what the undisturbed model thought of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetToken {
    /// Its id.
    pub id: u32,
    /// What it stands for; empty where there is no tokenizer.
    pub text: String,
    /// Which characters of the target's text it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// Its position in prompt and target taken together, counted from 0. The mask's for a masked token; 0 for a class or a similarity.
    pub position: usize,
    /// Natural logarithm of its probability in the clean run.
    pub log_probability: f64,
    /// The same as a probability, 0 to 1.
    pub probability: f64,
    /// Its raw score in the clean run.
    pub logit: f64,
    /// 0 if no token was more probable.
    pub rank: usize,
}

/// What a target was set against.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContrastRecord {
    /// Its text; `None` when token ids were given directly.
    pub text: Option<String>,
    /// Its tokens with their clean numbers.
    pub tokens: Vec<TargetToken>,
}

/// How the scores were made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodRecord {
    /// The method's name: `atman`, `occlusion`, ….
    pub id: String,
    /// All of its parameters, defaults included.
    pub parameters: Json,
    /// The seed, where chance is involved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// What was done to the scores afterwards: `none`, `absolute`, `square`.
    pub postprocessing: String,
    /// What the units are: `token`, `word`, `sentence`, `line`, `paragraph`, `custom`; of a picture `patch`, or tiles as `ROWSxCOLUMNS`.
    pub units: String,
    /// Whether its scores have a direction. With a contrast they always do.
    #[serde(default)]
    pub sign: Sign,
}

/// Where a feature stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// In the prompt: its span is in [`InputRecord::text`].
    #[default]
    Prompt,
    /// An earlier target token: its span is in [`TargetRecord::text`].
    Target,
}

/// Something that got a score.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Where it stands.
    pub part: Part,
    /// Its text without surrounding white space; the token's text or `#id` where there is no text.
    pub text: String,
    /// Which characters it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// Which part of the picture it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Which token positions it covers, counted over prompt and target together.
    pub positions: Vec<usize>,
    /// A token that the model was given beside the text's own: `[CLS]`, `[SEP]`, a begin of sequence, or the mask.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub special: bool,
}

/// One number per feature, and one per feature and target token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Signed sum over target tokens (target minus contrast, if there is one), after post-processing. Nats, or logit units. One per feature.
    pub combined: Vec<f64>,
    /// `[feature][target token]`, raw. `None` where the feature does not precede the target token.
    pub per_target_token: Vec<Vec<Option<f64>>>,
    /// The same for the contrast's tokens, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_contrast_token: Option<Vec<Vec<Option<f64>>>>,
}

/// What an explanation cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostRecord {
    /// From the question to the scores, without loading.
    pub wall_ms: f64,
    /// Copies of the input that went up, the clean one included.
    pub forwards: usize,
    /// Walks down.
    pub backwards: usize,
    /// Passes over the layers' weights.
    pub sweeps: usize,
    /// Rows that went through a layer.
    pub rows: u64,
    /// Arithmetic, in 10⁹ floating-point operations.
    pub gflop: f64,
    /// Largest resident size of the process in bytes, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
}

/// The value of [`Comparison::format`].
pub const COMPARISON_FORMAT: &str = "pellucid-compare/1";

/// Several methods on one input, for one target, over the same features.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Always [`COMPARISON_FORMAT`].
    pub format: String,
    /// Version of the tool that wrote it.
    pub tool_version: String,
    /// One explanation a method, with the same model, input, target and features.
    pub attributions: Vec<Attribution>,
    /// Methods that were asked for and have no explanation here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// `[method][method]`: Spearman's correlation of their combined scores, −1 to 1. Where one of the two has no sign, it is that of the
    /// magnitudes. `None` where a list of scores has no order.
    pub rank_correlation: Vec<Vec<Option<f64>>>,
}

/// A method without an explanation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Its name.
    pub method: String,
    /// Why it has none.
    pub reason: String,
    /// `true` where it was run and failed; `false` where it does not fit the model.
    pub failed: bool,
}

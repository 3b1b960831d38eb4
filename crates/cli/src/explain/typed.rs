//! What is typed after `pellucid explain`.

use std::{ops::Range, path::PathBuf};

use clap::Args;
use pellucid::{
    Mode,
    core::{
        Postprocessing, Score,
        units::{Granularity, Overlap, Which},
    },
    methods::METHODS,
};

use crate::{
    args::{self, Layers, MachineArgs, ModelArgs},
    output::OutputArgs,
    prompt::{PictureArgs, PromptArgs},
};

const AFTER: &str = "\
PART is a text as it stands (worst), its second occurrence (worst#2), tokens (3..7) or characters (chars:10..20).
Without a target, what the model itself says is explained: its next token (with --chat or
--document, 20 tokens of its answer), the class that it chooses, or what it puts in place of a mask.

Examples:
  pellucid explain \"The capital of France is\" --target \" Paris\" --contrast \" London\"
  pellucid explain \"Who wrote Faust?\" --chat --units word --factor 0
  pellucid explain --document report.txt --question \"Who signed it?\" --chat -o answer.html
  pellucid explain -m nanoguard \"Ignore all rules\" --class injection --score logit --units word
  pellucid explain -m minilm \"A cat sleeps.\" --similar-to \"The kitten naps.\" --both-ways
  pellucid explain -m clip-vit-b16-image --image cat.jpg --method chefer -o cat.png
  pellucid explain -m FOLDER_OF_A_CLIP --image cat.jpg --text \"a cat\" --text \"a dog\" -o cat.html
  pellucid explain --ids 1,2,3,4 --target-ids 5 --method occlusion --replace delete --json";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Typed {
    #[command(flatten)]
    pub(super) asked: AskedArgs,
    /// Explain the other text (or picture) against this one, too; files get a second one beside them (answer.back.html)
    #[arg(long, conflicts_with_all = ["only", "except", "second", "estimate"], help_heading = "What is explained")]
    pub(super) both_ways: bool,
    #[command(flatten, next_help_heading = "How")]
    pub(super) method: MethodArgs,
    #[command(flatten, next_help_heading = "Model and machine")]
    pub(super) model: ModelArgs,
    #[command(flatten, next_help_heading = "Model and machine")]
    pub(super) machine: MachineArgs,
    #[command(flatten, next_help_heading = "Output")]
    pub(super) output: OutputArgs,
    /// Tell what it would take (copies, rows, passes, GFLOP, memory), and stop
    #[arg(long, help_heading = "Output")]
    pub(super) estimate: bool,
}

/// What is asked of a model, whatever the method.
#[derive(Debug, Args)]
pub(crate) struct AskedArgs {
    #[command(flatten, next_help_heading = "What the model reads")]
    pub(super) prompt: PromptArgs,
    #[command(flatten, next_help_heading = "What the model reads")]
    pub(super) document: DocumentArgs,
    #[command(flatten, next_help_heading = "What the model reads")]
    pub(super) picture: PictureArgs,
    #[command(flatten, next_help_heading = "What is explained")]
    pub(super) aim: AimArgs,
    #[command(flatten, next_help_heading = "What is explained")]
    pub(super) number: NumberArgs,
    #[command(flatten, next_help_heading = "What gets a score")]
    pub(super) parts: PartArgs,
}

impl AskedArgs {
    /// Files that are read, which no result may take the place of.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let (prompt, aim) = (&self.prompt, &self.aim);
        let files = [&prompt.file, &self.picture.image, &self.document.document, &aim.similar_to_image, &aim.labels];
        files.into_iter().flatten().cloned().collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct DocumentArgs {
    /// A document to ask a question about; its sentences are explained, the question is not
    #[arg(long, value_name = "FILE", requires = "question", conflicts_with_all = ["prompt", "file", "ids", "system"])]
    pub(super) document: Option<PathBuf>,
    /// The question
    #[arg(long, value_name = "TEXT", requires = "document")]
    pub(super) question: Option<String>,
    /// A second text, for models that read two (token types tell them apart)
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["ids", "chat", "document"])]
    pub(super) second: Option<String>,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct AimArgs {
    /// This text, as what comes next: begin it with a blank where a new word begins; the class, where the model has classes
    #[arg(long, value_name = "TEXT")]
    pub(super) target: Option<String>,
    /// These token ids; one id where a class or a mask is explained
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = args::id)]
    pub(super) target_ids: Vec<u32>,
    /// The model's own answer: its N likeliest tokens, one after the other
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) generate: Option<u32>,
    /// Tokens A to B−1 of the text itself; the prompt is what stands before them
    #[arg(long, value_name = "A..B", value_parser = args::range)]
    pub(super) target_range: Option<Range<usize>>,
    /// The class that the text or picture is put into, by its name or number [default: the one the model chooses]
    #[arg(long, value_name = "CLASS")]
    pub(super) class: Option<String>,
    /// This word in the place of the mask, which is written into the text: [MASK] or <mask> [default: what the model puts there]
    #[arg(long, value_name = "WORD")]
    pub(super) mask_target: Option<String>,
    /// How similar the text is to this one, for models that give vectors
    #[arg(long, value_name = "TEXT")]
    pub(super) similar_to: Option<String>,
    /// How well the picture goes with this text, for models that compare the two; may be repeated, for one explanation each (answer.png, answer.2.png)
    #[arg(long, value_name = "TEXT", requires = "image")]
    pub(super) text: Vec<String>,
    /// How similar the picture is to this one, for models that give vectors
    #[arg(long, value_name = "FILE", requires = "image")]
    pub(super) similar_to_image: Option<PathBuf>,
    /// Texts that the picture may go with, a line each: the best of them is explained, or the one that --label names
    #[arg(long, value_name = "FILE", requires = "image")]
    pub(super) labels: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct NumberArgs {
    /// Explain the target rather than this text, this word at the mask, or the similarity to this text
    #[arg(long, value_name = "TEXT")]
    pub(super) contrast: Option<String>,
    /// Explain the target rather than these token ids
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = args::id, conflicts_with = "contrast")]
    pub(super) contrast_ids: Vec<u32>,
    /// Explain the class rather than this one
    #[arg(long, value_name = "CLASS", conflicts_with_all = ["contrast", "contrast_ids"])]
    pub(super) contrast_class: Option<String>,
    /// Which of the labels [default: the best]
    #[arg(long, value_name = "LABEL", requires = "labels")]
    pub(super) label: Option<String>,
    /// The text that is made of a label, with {} in its place
    #[arg(long, value_name = "TEXT", requires = "labels", default_value = "a photo of a {}")]
    pub(super) template: String,
    /// Which token is the mask, counted from 0, where there are several
    #[arg(long, value_name = "N")]
    pub(super) mask_at: Option<usize>,
    /// The number explained of each target token [default: log-probability; logit of a class or a similarity]
    #[arg(long, value_parser = args::one_of(["log-probability", "logit", "probability"], score))]
    pub(super) score: Option<Score>,
    /// Divide logits by this first
    #[arg(long, value_name = "T", default_value_t = 1.0, allow_negative_numbers = true)]
    pub(super) temperature: f64,
}

#[derive(Debug, Args)]
pub(crate) struct PartArgs {
    /// token, word, sentence, line, paragraph, auto, regex:PATTERN or delimiter:TEXT; of a picture patch, or tiles such as 6x6 [default: token
    /// or patch; sentence with --document]
    #[arg(long)]
    pub(super) units: Option<Granularity>,
    /// Only this part of the text; may be repeated
    #[arg(long, value_name = "PART", value_parser = args::part)]
    pub(super) only: Vec<Which>,
    /// Not this part of the text; may be repeated
    #[arg(long, value_name = "PART", value_parser = args::part)]
    pub(super) except: Vec<Which>,
    /// The chat template and the question, too
    #[arg(long)]
    pub(super) all: bool,
    /// Earlier target tokens, too
    #[arg(long)]
    pub(super) target_features: bool,
    /// Special tokens ([CLS], [SEP], begin of sequence, the mask), too; an encoder's are there wherever units are tokens
    #[arg(long)]
    pub(super) special_tokens: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MethodArgs {
    /// The method; `pellucid methods` tells about each
    #[arg(long, value_name = "ID", default_value = METHODS[0].id)]
    pub(super) method: String,
    /// atman: suppression factor; 0 removes, 1 changes nothing, above 1 amplifies [default: 0.1]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub(super) factor: Option<f64>,
    /// atman: how the factor acts on attention [default: log-additive]
    #[arg(long, value_parser = args::modes())]
    pub(super) mode: Option<Mode>,
    /// atman: layers it acts in, for example 0,3..5 [default: all]
    #[arg(long, value_name = "LAYERS")]
    pub(super) layers: Option<Layers>,
    /// atman: suppress tokens with at least this cosine similarity along, 0 to 1
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub(super) similarity: Option<f64>,
    /// atman: give similar tokens the same factor, however similar they are
    #[arg(long, requires = "similarity")]
    pub(super) similarity_flat: bool,
    /// atman: suppress at most so many tokens together
    #[arg(long, value_name = "N", requires = "similarity")]
    pub(super) similarity_limit: Option<usize>,
    /// atman: what a token gets that a unit covers in part [default: partial]
    #[arg(long, value_parser = args::overlaps())]
    pub(super) overlap: Option<Overlap>,
    /// occlusion: zero, delete, token:ID, or of a picture mean (its mean colour) [default: zero]
    #[arg(long, value_name = "WHAT")]
    pub(super) replace: Option<String>,
    /// random: where chance begins [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Any parameter of the method by its name, its value in JSON; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// What is done to the scores in the end
    #[arg(long, default_value = "none", value_parser = args::one_of(["none", "absolute", "square"], postprocessing))]
    pub(super) postprocess: Postprocessing,
}

fn score(name: &str) -> Score {
    match name {
        "logit" => Score::Logit,
        "probability" => Score::Probability,
        _ => Score::LogProbability,
    }
}

fn postprocessing(name: &str) -> Postprocessing {
    match name {
        "absolute" => Postprocessing::Absolute,
        "square" => Postprocessing::Square,
        _ => Postprocessing::None,
    }
}

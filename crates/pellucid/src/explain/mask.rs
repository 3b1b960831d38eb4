//! What stands in the place of a mask: a word, or what the model would put there.

use pellucid_core::{Engine, Error, Place, Result, TargetKind};
use pellucid_models::{Loaded, text::TextTokenizer};

use super::{
    Aim,
    goal::{Aimed, Goal, likeliest_at},
};
use crate::prompt::{Reading, needed, reads_whole};

/// The goal of a masked language model.
pub(super) fn goal(
    aim: &Aim,
    contrast: Option<&Aim>,
    at: Option<usize>,
    reading: &Reading,
    loaded: &Loaded,
    engine: &Engine<'_>,
) -> Result<Goal> {
    let tokenizer = loaded.tokenizer.as_ref();
    let model = loaded.model.description();
    let place = place(at, reading, tokenizer)?;
    let token = |aim: &Aim| match aim {
        Aim::Own(_) => Ok(named(likeliest_at(engine, reading, place)?, "predicted", tokenizer)),
        Aim::Any(_) => Ok(named(0, "given", tokenizer)),
        Aim::Masked(word) | Aim::Text(word) => Ok(named(filling(word, place, reading, needed(tokenizer)?)?, "given", tokenizer)),
        Aim::Ids(ids) if ids.len() == 1 => Ok(named(ids[0], "given", tokenizer)),
        Aim::Ids(ids) => Err(Error::request(format!("a mask stands for one token, not for {}; give one id", ids.len()))),
        Aim::Class(_) => Err(reads_whole(model, "has no classes", "say what stands at the mask with --mask-target")),
        Aim::SimilarTo(_) | Aim::Texts(_) | Aim::Picture(_) => {
            Err(reads_whole(model, "gives no vector to compare", "choose a model that does, such as minilm"))
        }
        Aim::Generated(_) | Aim::Range(_) => {
            Err(reads_whole(model, "does not go on with it", "say what stands at the mask with --mask-target"))
        }
    };
    let (target, contrast) = (token(aim)?, contrast.map(token).transpose()?);
    Ok(Goal { kind: TargetKind::MaskedToken, place: Place::Position(place), target, contrast, model: None })
}

fn named(id: u32, origin: &'static str, tokenizer: Option<&TextTokenizer>) -> Aimed {
    let aimed = Aimed::tokens(vec![id], origin, tokenizer);
    let text = tokenizer.map(|_| aimed.names[0].clone());
    Aimed { text, ..aimed }
}

/// Where the mask is: as it was said, else the one mask of the text.
fn place(at: Option<usize>, reading: &Reading, tokenizer: Option<&TextTokenizer>) -> Result<usize> {
    let tokens = reading.ids.len();
    if let Some(at) = at {
        let beyond = || Error::request(format!("position {at} is outside the input, which has {tokens} tokens (counted from 0)"));
        return (at < tokens).then_some(at).ok_or_else(beyond);
    }
    let Some(tokenizer) = tokenizer else {
        return Err(Error::request("without a tokenizer nobody knows which token is the mask; say where it is with --mask-at"));
    };
    let Some(mask) = tokenizer.mask() else {
        return Err(Error::Unsupported("this model's tokenizer has no mask; say which token is explained with --mask-at".into()));
    };
    let masks: Vec<usize> = (0..tokens).filter(|p| reading.ids[*p] == mask).collect();
    match &masks[..] {
        [only] => Ok(*only),
        [] => {
            let word = tokenizer.token_text(mask);
            Err(Error::request(format!("there is no mask in the text: write {word} where a word is to be filled in")))
        }
        several => {
            let places: Vec<String> = several.iter().map(usize::to_string).collect();
            Err(Error::request(format!("the text has masks at tokens {}; say which one is explained with --mask-at", places.join(", "))))
        }
    }
}

/// The token that a word is in the place of the mask: behind a blank, tokenizers that keep blanks have another one for it.
fn filling(word: &str, place: usize, reading: &Reading, tokenizer: &TextTokenizer) -> Result<u32> {
    let (text, span) = (reading.text.as_deref().unwrap_or(""), reading.spans[place].clone().unwrap_or(0..0));
    let blank = text[span.clone()].starts_with(char::is_whitespace) || text[..span.start].ends_with(char::is_whitespace);
    let spellings = [(blank && !word.starts_with(' ')).then(|| format!(" {word}")), Some(word.to_owned())];
    let mut pieces = Vec::new();
    for spelling in spellings.iter().flatten() {
        let ids = tokenizer.encode_continuation(spelling)?.ids;
        match &ids[..] {
            [only] if Some(*only) != tokenizer.unknown() => return Ok(*only),
            _ => pieces = ids,
        }
    }
    if let Some(id) = tokenizer.token_id(word).filter(|id| !tokenizer.is_special(*id)) {
        return Ok(id);
    }
    let unknown = pieces.iter().any(|id| Some(*id) == tokenizer.unknown());
    Err(Error::request(match (pieces.len(), unknown) {
        (0, _) => "the word at the mask is empty; give one that the model knows as one token".into(),
        (_, true) => format!("the model does not know the word \"{word}\"; a mask stands for one token of its vocabulary"),
        (n, false) => {
            let pieces: Vec<String> = pieces.iter().map(|id| format!("`{}`", tokenizer.token_text(*id))).collect();
            format!("the word \"{word}\" is {n} tokens for this model ({}); a mask stands for one", pieces.join(" "))
        }
    }))
}

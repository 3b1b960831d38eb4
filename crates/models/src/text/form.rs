//! What a model expects around a text, and around two: special tokens in their places, and each token's type.

use tokenizers::{Encoding, PostProcessor, PostProcessorWrapper, Token};

/// One place in a form, and the type of the tokens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) what: What,
    /// The token type (BERT's segment): 0, or 1 for most models' second text.
    pub(super) kind: u32,
}

/// What stands in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A special token.
    Special(u32),
    /// The first text's tokens.
    First,
    /// The second text's tokens.
    Second,
}

/// A text alone: nothing around it.
pub(super) const BARE: &[Slot] = &[Slot { what: What::First, kind: 0 }];

/// Where texts and special tokens stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) one: Vec<Slot>,
    /// `None` where nothing would part the second text from the first: the model was never shown two.
    pub(super) two: Option<Vec<Slot>>,
}

impl Default for Form {
    fn default() -> Self {
        Form { one: BARE.to_vec(), two: None }
    }
}

impl Form {
    /// The same special tokens around each text, the second of type 1: what `add_bos_token` and `add_eos_token` mean.
    pub(super) fn around(before: &[u32], behind: &[u32]) -> Self {
        let special = |ids: &[u32], kind| ids.iter().map(move |&id| Slot { what: What::Special(id), kind }).collect::<Vec<_>>();
        let part = |what, kind| [special(before, kind), vec![Slot { what, kind }], special(behind, kind)].concat();
        let one = part(What::First, 0);
        let two = [one.clone(), part(What::Second, 1)].concat();
        Form { two: Some(two).filter(|two| parts(two)), one }
    }

    /// What a tokenizer's own post-processing does: found by letting it process one token, and two.
    pub(super) fn of(processor: &PostProcessorWrapper) -> Result<Self, String> {
        let token = || Encoding::from_tokens(vec![Token::new(0, "a".into(), (0, 1))], 0);
        let one = slots(&processor.process(token(), None, true).map_err(|error| error.to_string())?)?;
        let two = slots(&processor.process(token(), Some(token()), true).map_err(|error| error.to_string())?)?;
        let holds = |slots: &[Slot], what| slots.iter().filter(|slot| slot.what == what).count() == 1;
        match holds(&one, What::First) && !holds(&one, What::Second) {
            true => Ok(Form { one, two: Some(two).filter(|two| holds(two, What::First) && holds(two, What::Second) && parts(two)) }),
            false => Err("post-processing drops or doubles the text".into()),
        }
    }
}

/// Whether a special token stands between the texts.
fn parts(slots: &[Slot]) -> bool {
    let place = |what| slots.iter().position(|slot| slot.what == what);
    place(What::First).zip(place(What::Second)).is_some_and(|(first, second)| first.abs_diff(second) > 1)
}

fn slots(processed: &Encoding) -> Result<Vec<Slot>, String> {
    let texts = processed.get_sequence_ids();
    let tokens = processed.get_ids().iter().zip(processed.get_type_ids()).zip(processed.get_special_tokens_mask()).zip(texts);
    let slot = |(((&id, &kind), &special), text): (((&u32, &u32), &u32), Option<usize>)| match (special, text) {
        (0, Some(0)) => Ok(Slot { what: What::First, kind }),
        (0, Some(1)) => Ok(Slot { what: What::Second, kind }),
        (0, _) => Err("post-processing makes a token of neither text".into()),
        _ => Ok(Slot { what: What::Special(id), kind }),
    };
    tokens.map(slot).collect()
}

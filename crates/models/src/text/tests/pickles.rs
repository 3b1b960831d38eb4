//! `tokenizer.pkl`: what may be in it, and what a hostile one comes to.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// A pickle of protocol 4, instruction by instruction.
#[derive(Clone)]
struct Writer(Vec<u8>);

impl Writer {
    fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.op(&[0x8c, text.len() as u8]).op(text.as_bytes())
    }

    fn global(self, module: &str, name: &str) -> Self {
        self.text(module).text(name).op(b"\x93")
    }

    fn id(self, id: u16) -> Self {
        self.op(b"M").op(&id.to_le_bytes())
    }

    /// Ids by bytes.
    fn ranks(mut self, ranks: &[(&[u8], u16)]) -> Self {
        self = self.op(b"}(");
        for (bytes, id) in ranks {
            self = self.op(&[b'C', bytes.len() as u8]).op(bytes).id(*id);
        }
        self.op(b"u")
    }

    fn specials(mut self, specials: &[(&str, u16)]) -> Self {
        self = self.op(b"}(");
        for (token, id) in specials {
            self = self.text(token).id(*id);
        }
        self.op(b"u")
    }
}

/// Up to an open dictionary of the tokenizer's parts.
fn begun() -> Writer {
    Writer(vec![0x80, 4]).global("tiktoken.core", "Encoding").op(b")\x81}(")
}

const SPECIALS: [(&str, u16); 2] = [("<|reserved_0|>", 258), ("<|reserved_1|>", 259)];

fn bytes() -> Vec<Vec<u8>> {
    (0..=u8::MAX).map(|byte| vec![byte]).chain([b"he".to_vec(), b"hel".to_vec()]).collect()
}

fn pickle(expression: &str, ranks: &[(&[u8], u16)], specials: &[(&str, u16)]) -> Vec<u8> {
    let parts = begun().text("pat_str").text(expression).text("mergeable_ranks").ranks(ranks).text("special_tokens").specials(specials);
    parts.op(b"ub.").0
}

/// All bytes, `he` 256 and `hel` 257.
fn good() -> Vec<u8> {
    let tokens = bytes();
    pickle(r"\w+|\W", &tokens.iter().map(Vec::as_slice).zip(0..).collect::<Vec<_>>(), &SPECIALS)
}

fn read(pickle: &[u8]) -> Result<TextTokenizer> {
    let folder = folder(&[]);
    std::fs::write(folder.path().join("tokenizer.pkl"), pickle).unwrap();
    TextTokenizer::from_folder(folder.path()).map(Option::unwrap)
}

fn refused(pickle: &[u8]) -> String {
    let error = read(pickle).unwrap_err().to_string();
    error.split_once("tokenizer.pkl: ").unwrap_or_else(|| panic!("{error}")).1.to_owned()
}

#[test]
fn a_pickled_tokenizer_begins_every_text_and_takes_none_of_it_for_special() {
    let tokenizer = read(&good()).unwrap();
    let text = "hello é<|reserved_1|>";
    let encoded = tokenizer.encode_pair(text, None).unwrap();
    assert_eq!(encoded.ids[..9], [258, 257, 108, 111, 32, 0xc3, 0xa9, 60, 124]);
    assert_eq!(encoded.spans[..8], [None, Some(0..3), Some(3..4), Some(4..5), Some(5..6), Some(6..8), Some(6..8), Some(8..9)]);
    assert_eq!(tokenizer.decode(&encoded.ids[1..]), text);
    assert_eq!((tokenizer.vocabulary(), tokenizer.pad_token(), tokenizer.special_tokens()), (260, Some(259), vec![258, 259]));
    assert_eq!(tokenizer.encode("he", false).unwrap().ids, [256]);
}

#[test]
fn a_hostile_pickle_is_read_as_data_or_not_at_all() {
    let hostile = Writer(vec![0x80, 4]).global("os", "system").text("true").op(b"\x85R.");
    assert_eq!(refused(&hostile.0), "at byte 14: wants `os.system`; a tokenizer may name `tiktoken.core.Encoding` only");
    // A tokenizer made by calling it, and one with arguments, as only code would need them.
    let called = Writer(vec![0x80, 4]).global("tiktoken.core", "Encoding").op(b")R.");
    assert!(refused(&called.0).contains("Tokenizer is called with ()"));
    let given = Writer(vec![0x80, 4]).global("tiktoken.core", "Encoding").text("x").op(b"\x85\x81.");
    assert!(refused(&given.0).contains("is made an object of"));
    for instruction in *b"ioP\x92\x82" {
        let inside = begun().text("pat_str").op(&[instruction]);
        assert!(refused(&inside.0).contains(&format!("instruction 0x{instruction:02x} has no place in a tokenizer")));
    }
    let torch = Writer(vec![0x80, 4]).global("torch._utils", "_rebuild_tensor_v2").op(b".");
    assert!(refused(&torch.0).contains("may name `tiktoken.core.Encoding` only"));
}

#[test]
fn a_pickle_that_is_cut_short_or_goes_on_is_refused() {
    let whole = good();
    for length in [0, 1, 2, 10, whole.len() / 2, whole.len() - 1] {
        assert!(refused(&whole[..length]).contains("should follow, but only"), "{length}");
    }
    assert_eq!(refused(&[&whole[..], b"N."].concat()), "2 bytes follow the tokenizer");
}

#[test]
fn parts_that_make_no_tokenizer_are_named() {
    let tokens = bytes();
    let ranks: Vec<(&[u8], u16)> = tokens.iter().map(Vec::as_slice).zip(0..).collect();
    let changed = |at: usize, entry: (&'static [u8], u16)| {
        let mut ranks = ranks.clone();
        ranks[at] = entry;
        refused(&pickle(r"\w+|\W", &ranks, &SPECIALS))
    };
    assert_eq!(changed(257, (b"hel", 256)), "gives the id 256 to two tokens");
    assert_eq!(changed(257, (b"hel", 300)), "has the id 300 among 260 tokens, which should be numbered without gaps");
    assert_eq!(changed(257, (b"he", 257)), "has a token of no bytes, or the same token twice");
    assert_eq!(changed(257, (b"", 257)), "has a token of no bytes, or the same token twice");
    assert_eq!(changed(65, (b"AB", 65)), "byte 0x41 is no token by itself");
    assert_eq!(changed(257, (b"<|reserved_1|>", 257)), "has a special token that is written as an ordinary one");
    let names = [("<|bos|>", 258), ("<|reserved_1|>", 259)];
    assert_eq!(refused(&pickle(r"\w+|\W", &ranks, &names)), "has no `<|reserved_0|>`, which stands before a text");
    assert!(refused(&pickle(r"(", &ranks, &SPECIALS)).starts_with("splits texts by an expression that cannot be read"));
    assert_eq!(refused(b"\x80\x04K\x01."), "holds an integer, not a tokenizer");
    let bare = Writer(vec![0x80, 4]).global("tiktoken.core", "Encoding").op(b")\x81.");
    assert_eq!(refused(&bare.0), "holds a tokenizer without its parts");
    assert_eq!(refused(&begun().op(b"ub.").0), "has no `pat_str`");
    assert_eq!(refused(&begun().text("pat_str").op(b"K\x01ub.").0), "has a `pat_str` that is not text");
    let text = begun().text("pat_str").text("x").text("mergeable_ranks").specials(&SPECIALS).op(b"ub.");
    assert_eq!(refused(&text.0), "has `mergeable_ranks` that are not ids by bytes");
}

#[test]
fn no_damage_to_a_pickle_makes_it_panic() {
    let whole = good();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for _ in 0..300 {
        let mut damaged = whole.clone();
        for _ in 0..random.random_range(1..=3) {
            let at = random.random_range(0..damaged.len());
            match random.random_range(0..3) {
                0 => damaged[at] = random.random(),
                1 => drop(damaged.drain(at..damaged.len().min(at + 5))),
                _ => damaged.insert(at, random.random()),
            }
        }
        if let Ok(tokenizer) = read(&damaged) {
            let encoded = tokenizer.encode_pair("hello", None).unwrap();
            assert!(encoded.ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary()));
        }
    }
}

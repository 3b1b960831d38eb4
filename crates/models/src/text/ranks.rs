//! Byte pairs by rank, as tiktoken joins them: of all neighbours whose bytes together are a token, those of the lowest rank are joined
//! first, the leftmost of equals. A part of a text that is a token as a whole is that token.
//!
//! The tokenizer library joins pairs in an order given beforehand; where two ways lead to the same token, that is not quite the same.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

use tokenizers::Token;

/// Tokens by their bytes; a token's rank is its id.
#[derive(Debug)]
pub(super) struct Ranks(HashMap<Vec<u8>, u32>);

impl Ranks {
    /// Tokens and their ranks, each once; every single byte must be a token.
    pub(super) fn new(ranks: HashMap<Vec<u8>, u32>) -> Result<Self, String> {
        match (0..=u8::MAX).find(|byte| !ranks.contains_key(&[*byte][..])) {
            Some(byte) => Err(format!("byte 0x{byte:02x} is no token by itself")),
            None => Ok(Ranks(ranks)),
        }
    }

    /// Tokens of a part of a text, each covering whole characters.
    pub(super) fn tokens(&self, part: &str) -> Vec<Token> {
        let whole = |span: Range<usize>| (part.floor_char_boundary(span.start), part.ceil_char_boundary(span.end));
        self.join(part.as_bytes()).into_iter().map(|(id, span)| Token::new(id, String::new(), whole(span))).collect()
    }

    fn join(&self, bytes: &[u8]) -> Vec<(u32, Range<usize>)> {
        if let Some(&id) = self.0.get(bytes) {
            return vec![(id, 0..bytes.len())];
        }
        let n = bytes.len();
        // A piece is known by where it begins: where it ends, and where the one before it begins. Inside a piece, the end is 0.
        let mut ends: Vec<usize> = (1..=n).collect();
        let mut before: Vec<usize> = (0..n).map(|start| start.saturating_sub(1)).collect();
        let mut queue = BinaryHeap::new();
        let offer = |queue: &mut BinaryHeap<_>, start: usize, end: usize| {
            if let Some(&rank) = self.0.get(&bytes[start..end]) {
                queue.push(Reverse((rank, start, end)));
            }
        };
        (1..n).for_each(|start| offer(&mut queue, start - 1, start + 1));
        while let Some(Reverse((_, start, end))) = queue.pop() {
            let middle = ends[start];
            // Offered before one of the two was joined to something else: no longer neighbours, or already one.
            if middle == 0 || middle >= end || ends[middle] != end {
                continue;
            }
            (ends[start], ends[middle]) = (end, 0);
            if end < n {
                before[end] = start;
                offer(&mut queue, start, ends[end]);
            }
            if start > 0 {
                offer(&mut queue, before[start], end);
            }
        }
        let starts = std::iter::successors((n > 0).then_some(0), |&start| Some(ends[start]).filter(|&end| end < n));
        starts.map(|start| (self.0[&bytes[start..ends[start]]], start..ends[start])).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranks(joined: &[&str]) -> Ranks {
        let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
        let all = bytes.chain(joined.iter().map(|token| token.as_bytes().to_vec()));
        Ranks::new(all.zip(0..).collect()).unwrap()
    }

    /// The same in words: look at all neighbours, join the best, begin again.
    fn plain(ranks: &Ranks, bytes: &[u8]) -> Vec<u32> {
        if let Some(&id) = ranks.0.get(bytes) {
            return vec![id];
        }
        let mut pieces: Vec<Vec<u8>> = bytes.iter().map(|byte| vec![*byte]).collect();
        loop {
            let joined = pieces.windows(2).enumerate().filter_map(|(at, pair)| Some((*ranks.0.get(&pair.concat())?, at)));
            let Some((_, at)) = joined.min() else { break };
            let right = pieces.remove(at + 1);
            pieces[at].extend(right);
        }
        pieces.iter().map(|piece| ranks.0[piece]).collect()
    }

    #[test]
    fn the_lowest_rank_is_joined_first_and_the_leftmost_of_equals() {
        let ranks = ranks(&["bc", "ab", "aa", "aaa"]);
        let ids = |text: &str| ranks.join(text.as_bytes()).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids("abc"), [97, 256]); // a | bc: bc comes before ab
        assert_eq!(ids("aaaaa"), [258, 259]); // aa | aaa: aa twice from the left, and the last one joins the second pair
        assert_eq!(ids("aaa"), [259]); // a token as a whole
        assert_eq!(ids(""), [] as [u32; 0]);
    }

    #[test]
    fn a_byte_without_a_token_is_an_error() {
        let some = (0..255).map(|byte| (vec![byte], u32::from(byte))).collect();
        assert_eq!(Ranks::new(some).unwrap_err(), "byte 0xff is no token by itself");
    }

    #[test]
    fn long_parts_take_no_more_than_their_length_asks() {
        let ranks = ranks(&["aa", "aaaa"]);
        let tokens = ranks.tokens(&"a".repeat(1_000_001));
        assert_eq!((tokens.len(), tokens[0].id, tokens[250_000].id), (250_001, 257, 97));
    }

    #[test]
    fn tokens_inside_a_character_cover_it() {
        let tokens = ranks(&[]).tokens("é!");
        assert_eq!(tokens.iter().map(|token| token.offsets).collect::<Vec<_>>(), [(0, 2), (0, 2), (2, 3)]);
    }

    proptest! {
        #[test]
        fn any_text_is_joined_as_the_words_say(text in "[abc]{0,24}", joined in proptest::collection::hash_set("[abc]{2,5}", 0..20)) {
            let mut joined: Vec<&str> = joined.iter().map(String::as_str).collect();
            joined.sort_by_key(|token| token.len() % 3); // any order of ranks, longer ones before their parts, too
            let ranks = ranks(&joined);
            let ids: Vec<u32> = ranks.join(text.as_bytes()).into_iter().map(|(id, _)| id).collect();
            prop_assert_eq!(ids, plain(&ranks, text.as_bytes()));
        }
    }
}

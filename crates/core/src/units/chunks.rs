//! Chunks of a token sequence: cut after every occurrence of a delimiter's ids, as the published sentence-wise suppression does.
//!
//! Deliberately absent: the delimiter's text and its tokenisation. A tokenizer that has an id of its own for a blank line does not find
//! it with the id of a line break; cut the text at a [`Granularity`](super::Granularity) instead.

use std::ops::Range;

/// Token positions of each chunk, in order, together all of `ids`. A delimiter stays at the end of its chunk; occurrences of several
/// delimiters, and overlapping occurrences of one, all cut. A delimiter without ids cuts nothing.
///
/// `keep_empty_last`: a sequence that ends with a delimiter (or is empty) gets an empty last chunk, as in the published code.
pub fn chunks(ids: &[u32], delimiters: &[Vec<u32>], keep_empty_last: bool) -> Vec<Range<usize>> {
    let ends_here = |end: usize| delimiters.iter().any(|d| !d.is_empty() && ids[..end].ends_with(d));
    let mut chunks = Vec::new();
    let mut start = 0;
    for end in (1..=ids.len()).filter(|&end| ends_here(end)) {
        chunks.push(start..end);
        start = end;
    }
    if start < ids.len() || keep_empty_last {
        chunks.push(start..ids.len());
    }
    chunks
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // one chunk is a list of one range
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn published_chunks_are_reproduced() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cases/chunks/case.json");
        let case: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let checks = case["checks"].as_array().unwrap();
        assert!(!checks.is_empty());
        for check in checks {
            let ids: Vec<u32> = serde_json::from_value(check["inputs"]["token_ids"].clone()).unwrap();
            let delimiters: Vec<Vec<u32>> = serde_json::from_value(check["params"]["delimiters"].clone()).unwrap();
            let expected: Vec<Vec<usize>> = serde_json::from_value(check["expect"]["value"].clone()).unwrap();
            let positions = |keep| chunks(&ids, &delimiters, keep).into_iter().map(Iterator::collect).collect::<Vec<Vec<usize>>>();
            assert_eq!(positions(check.get("reference_quirk").is_some()), expected, "{}", check["name"]);
            let filled: Vec<_> = expected.into_iter().filter(|chunk| !chunk.is_empty()).collect();
            assert_eq!(positions(false), filled, "{}", check["name"]);
        }
    }

    #[test]
    fn degenerate_sequences_give_what_is_there() {
        assert!(chunks(&[], &[vec![1]], false).is_empty());
        assert_eq!(chunks(&[], &[vec![1]], true), [0..0]);
        assert_eq!(chunks(&[1, 2], &[vec![]], false), [0..2]);
        assert_eq!(chunks(&[1, 1, 1], &[vec![1, 1]], false), [0..2, 2..3], "overlapping occurrences");
        assert_eq!(chunks(&[1], &[vec![1, 1]], false), [0..1], "delimiter longer than the sequence");
    }
}

//! Numbers and strings from a GGUF header, each held against what is left of the file.

/// Largest header: a vocabulary of a million tokens with its merges takes about half of it.
const MAX_HEADER: usize = 128 << 20;

/// Reads a header from its beginning.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a [u8]) -> Self {
        Reader { bytes: &file[..file.len().min(MAX_HEADER)], at: 0 }
    }

    /// How far it has read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `n` bytes, which are `what`.
    pub(super) fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8], String> {
        match self.bytes[self.at..].get(..n) {
            Some(taken) => {
                self.at += n;
                Ok(taken)
            }
            None if self.bytes.len() == MAX_HEADER => Err(format!("the header is over the limit of {MAX_HEADER} bytes at {what}")),
            None => Err(format!(
                "the file ends in the header, at byte {} of {}, where {what} of {n} bytes should be",
                self.at,
                self.bytes.len()
            )),
        }
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        Ok(*self.take(N, what)?.as_array().expect("N bytes were taken"))
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, String> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, String> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A number of things that take at least `least` bytes each.
    pub(super) fn count(&mut self, what: &str, least: usize) -> Result<usize, String> {
        let n = self.u64(&format!("the number of {what}"))?;
        let fit = self.left() / least;
        usize::try_from(n)
            .ok()
            .filter(|&n| n <= fit)
            .ok_or_else(|| format!("{n} {what} are announced, but the rest of the header has room for {fit}"))
    }

    pub(super) fn string(&mut self, what: &str) -> Result<String, String> {
        let n = self.count(&format!("bytes of {what}"), 1)?;
        let bytes = self.take(n, what)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|e| format!("{what} is not UTF-8: {e}"))
    }
}

//! What the model reads: from an argument, a file or standard input; plain, in a chat template, or as token ids.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use pellucid::{Error, Result, prompt::Prompt};

use crate::args;

/// Largest text that is read: far beyond any model's context.
const LARGEST: u64 = 64 << 20;

/// The prompt as typed.
#[derive(Debug, Args)]
pub(crate) struct PromptArgs {
    /// The text; `-`, or nothing with text piped in, reads standard input (without its last line break)
    #[arg(help_heading = None::<&str>)]
    pub(crate) prompt: Option<String>,
    /// Read the text from a file instead (without its last line break)
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    file: Option<PathBuf>,
    /// Token ids instead of text, for example 1,2,3
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = args::id, conflicts_with_all = ["prompt", "file", "chat"])]
    ids: Vec<u32>,
    /// Put the text into the model's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// The system message of the chat
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
}

impl PromptArgs {
    /// Reads what is to be read.
    pub(crate) fn meaning(self) -> Result<Prompt> {
        if !self.ids.is_empty() {
            return Ok(Prompt::Ids(self.ids));
        }
        let words = match (self.file, self.prompt.as_deref()) {
            (Some(file), _) => read(&file)?,
            (None, Some("-")) => standard_input()?,
            (None, Some(text)) => text.to_owned(),
            (None, None) if io::stdin().is_terminal() => {
                return Err(Error::request("there is no prompt: give it as an argument, with --file, or on standard input"));
            }
            (None, None) => standard_input()?,
        };
        Ok(if self.chat { Prompt::Chat { words, system: self.system } } else { Prompt::Text(words) })
    }
}

/// The text of a file, without its last line break; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        return standard_input();
    }
    let file = File::open(path).map_err(|e| Error::io("cannot read", path, e))?;
    text(file, path)
}

fn standard_input() -> Result<String> {
    text(io::stdin().lock(), Path::new("standard input"))
}

fn text(from: impl Read, name: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    from.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|e| Error::io("cannot read", name, e))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::request(format!("{}: more than {LARGEST} bytes of text; no model reads that much at once", name.display())));
    }
    let mut text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::request(format!("{}: not text in UTF-8 (byte {at}); convert it first", name.display()))
    })?;
    if text.ends_with('\n') {
        text.truncate(text.len() - if text.ends_with("\r\n") { 2 } else { 1 });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_at_the_end_belongs_to_the_file_not_to_the_text() {
        let read = |bytes: &[u8]| text(bytes, Path::new("x"));
        assert_eq!(read(b"a\n").unwrap(), "a");
        assert_eq!(read(b"a\r\n").unwrap(), "a");
        assert_eq!(read(b"a\n\n").unwrap(), "a\n");
        assert!(read(b"ab\xff").unwrap_err().to_string().contains("byte 2"));
    }
}

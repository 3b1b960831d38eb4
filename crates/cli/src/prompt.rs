//! What the model reads: from an argument, a file or standard input; plain, in a chat template, or as token ids.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use pellucid::{
    Error, Result,
    core::{Region, RegionControl, units::check_factor},
    models::image::{Picture, Transparency},
    prompt::Prompt,
};

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
    pub(crate) file: Option<PathBuf>,
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

/// A picture as typed.
#[derive(Clone, Debug, Args)]
pub(crate) struct PictureArgs {
    /// A picture instead of text: PNG, JPEG, WebP or GIF (its first frame); a folder of them is explained one by one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "file", "ids", "chat", "document", "second"])]
    pub(crate) image: Option<PathBuf>,
    /// What lies behind the transparent parts of a picture: a colour such as white or #20c0ff [default: the colours that the file has there]
    #[arg(long, value_name = "COLOUR", requires = "image", value_parser = colour)]
    pub(crate) background: Option<[u8; 3]>,
    /// A part of the picture that gets one score, in fractions of its size: LEFT,TOP,WIDTH,HEIGHT; may be repeated
    #[arg(long = "box", value_name = "BOX", requires = "image", value_parser = part)]
    regions: Vec<Region>,
    /// Attention to a part of the picture is changed throughout: LEFT,TOP,WIDTH,HEIGHT=FACTOR (0 removes it, above 1 amplifies); may be repeated
    #[arg(long, value_name = "BOX=FACTOR", requires = "image", value_parser = controlled)]
    control: Vec<RegionControl>,
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

impl PictureArgs {
    /// Reads the picture, if there is one.
    pub(crate) fn meaning(self) -> Result<Option<Prompt>> {
        let Some(path) = &self.image else { return Ok(None) };
        let picture = Box::new(self.picture(path)?);
        Ok(Some(Prompt::Image { picture, regions: self.regions, controls: self.control }))
    }

    /// Reads a picture on these terms.
    pub(crate) fn picture(&self, path: &Path) -> Result<Picture> {
        let picture = Picture::open_with(path, self.background.map_or(Transparency::default(), Transparency::Over))?;
        if picture.transparent && self.background.is_none() {
            tracing::warn!(
                "{}: transparent parts are taken as the colours that the file has there; --background lays it on another",
                path.display()
            );
        }
        if picture.animated {
            tracing::warn!("{}: only its first frame is looked at", path.display());
        }
        Ok(picture)
    }
}

/// `#rrggbb`, or one of a few names.
fn colour(written: &str) -> Result<[u8; 3], String> {
    let named = [("black", [0, 0, 0]), ("white", [255, 255, 255]), ("grey", [128, 128, 128]), ("gray", [128, 128, 128])];
    if let Some((_, colour)) = named.iter().find(|(name, _)| *name == written) {
        return Ok(*colour);
    }
    let digits = written.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()));
    let value = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
    let [_, r, g, b] = value.ok_or_else(|| format!("`{written}` is not a colour; write white, black, grey or #rrggbb"))?.to_be_bytes();
    Ok([r, g, b])
}

/// `LEFT,TOP,WIDTH,HEIGHT`, each 0 to 1.
fn part(written: &str) -> Result<Region, String> {
    let wrong = || {
        format!("`{written}` is not a part of a picture; write LEFT,TOP,WIDTH,HEIGHT in fractions of its size, such as 0.25,0.1,0.5,0.4")
    };
    let numbers: Vec<f64> = written.split(',').map(|n| n.trim().parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    let [left, top, width, height] = numbers[..] else { return Err(wrong()) };
    let along = |start: f64, size: f64| start >= 0.0 && size > 0.0 && start + size <= 1.0 + 1e-9;
    if along(left, width) && along(top, height) { Ok(Region { left, top, width, height }) } else { Err(wrong()) }
}

/// A part of a picture and a factor.
fn controlled(written: &str) -> Result<RegionControl, String> {
    let (region, factor) =
        written.rsplit_once('=').ok_or_else(|| format!("`{written}` has no factor; write LEFT,TOP,WIDTH,HEIGHT=FACTOR"))?;
    let factor = factor.trim().parse().map_err(|_| format!("`{factor}` is not a factor, a number from 0 on"))?;
    Ok(RegionControl { region: part(region)?, factor: check_factor(factor).map_err(|e| e.to_string())? })
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
    fn boxes_and_colours_are_read_as_people_write_them() {
        assert_eq!(part("0.25, 0,0.5,1"), Ok(Region { left: 0.25, top: 0.0, width: 0.5, height: 1.0 }));
        for bad in ["", "0,0,1", "0,0,1,1,1", "0,0,0,1", "0.6,0,0.5,1", "-0.1,0,1,1", "a,0,1,1", "NaN,0,1,1"] {
            assert!(part(bad).unwrap_err().contains("LEFT,TOP"), "{bad}");
        }
        assert_eq!([colour("white"), colour("#20C0ff")], [Ok([255; 3]), Ok([0x20, 0xc0, 0xff])]);
        for bad in ["", "whitee", "#12345", "#12345g", "#+12345", "20c0ff"] {
            assert!(colour(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_line_break_at_the_end_belongs_to_the_file_not_to_the_text() {
        let read = |bytes: &[u8]| text(bytes, Path::new("x"));
        assert_eq!(read(b"a\n").unwrap(), "a");
        assert_eq!(read(b"a\r\n").unwrap(), "a");
        assert_eq!(read(b"a\n\n").unwrap(), "a\n");
        assert!(read(b"ab\xff").unwrap_err().to_string().contains("byte 2"));
    }
}

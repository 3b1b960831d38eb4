//! Where results go, in which form, and how they look there.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anstream::{AutoStream, ColorChoice};
use clap::{Args, ValueEnum, builder::PossibleValuesParser};
use pellucid::{
    Attribution, Error, Result,
    render::{self, ColourDepth, Graphics, Options, Render, Theme},
};

use crate::{compare, drawing::DrawArgs, text};

/// Whether there are colours.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal
    #[default]
    Auto,
    Always,
    Never,
}

impl Colour {
    fn choice(self) -> ColorChoice {
        match self {
            Colour::Auto => AutoStream::choice(&io::stdout()),
            Colour::Always => ColorChoice::Always,
            Colour::Never => ColorChoice::Never,
        }
    }

    /// Standard output; styles are dropped where they are not wanted.
    pub(crate) fn stdout(self) -> AutoStream<io::Stdout> {
        AutoStream::new(io::stdout(), self.choice())
    }

    /// What the terminal can show, going by what it says of itself.
    pub(crate) fn depth(self) -> ColourDepth {
        let says = |name: &str, words: &[&str]| std::env::var(name).is_ok_and(|v| words.iter().any(|w| v.contains(w)));
        match self.choice() {
            ColorChoice::Never => ColourDepth::None,
            _ if says("COLORTERM", &["truecolor", "24bit"]) => ColourDepth::TrueColour,
            _ if says("TERM", &["256color"]) => ColourDepth::Ansi256,
            _ => ColourDepth::Ansi16,
        }
    }
}

/// Where results go, as typed.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write to a file, in the form of its extension; may be repeated; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
    /// The form, whatever the extension [default: terminal]
    #[arg(long, value_parser = PossibleValuesParser::new(render::forms().iter().map(|f| f.id())))]
    format: Option<String>,
    /// JSON on standard output, everything for people on standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the scores of this target token alone, counted from 0
    #[arg(long, value_name = "I")]
    target_token: Option<usize>,
    /// How many of the strongest to list on each side
    #[arg(long, value_name = "N", default_value_t = Options::default().top)]
    top: usize,
    /// Columns, 20 to 1000 [default: the terminal's; 100 in files]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(20..=1000))]
    width: Option<u16>,
    /// Colours: on a terminal, always or never
    #[arg(long, alias = "color", value_enum, default_value_t, hide_possible_values = true, value_name = "WHEN")]
    colour: Colour,
    /// Dark ink on light paper, or the other way round
    #[arg(long, default_value = "auto", value_parser = crate::args::one_of(["auto", "light", "dark"], theme))]
    theme: Theme,
    #[command(flatten)]
    draw: DrawArgs,
}

/// Where results go, each in its form.
pub(crate) struct Outputs {
    /// `None` is standard output.
    places: Vec<(Option<PathBuf>, &'static dyn Render)>,
    drawing: Options,
    width: Option<u16>,
    colour: Colour,
}

impl OutputArgs {
    /// The same places for a comparison.
    ///
    /// # Errors
    /// A form that a comparison does not have; otherwise as [`OutputArgs::meaning`].
    pub(crate) fn comparison(self) -> Result<compare::Outputs> {
        if self.target_token.is_some() {
            return Err(Error::request("a comparison shows combined scores; leave out --target-token"));
        }
        let Self { output, format, json, width, colour, theme, draw, .. } = self;
        compare::OutputArgs { output, html: None, format, json, width, colour, theme, draw }.meaning()
    }

    /// Sees that no result takes the place of what it is made from.
    ///
    /// # Errors
    /// A file that is read and written.
    pub(crate) fn spare(&self, read: &[PathBuf]) -> Result<()> {
        spare(&self.output, read)
    }

    /// The folder that everything goes into, and how to draw.
    ///
    /// # Errors
    /// Anything but one folder.
    pub(crate) fn folder(&mut self) -> Result<(PathBuf, Options)> {
        let one = "a folder of pictures needs one folder for what comes out; name it with -o";
        match &std::mem::take(&mut self.output)[..] {
            [into] if into != Path::new("-") && !into.is_file() && !self.json && self.format.is_none() => {
                Ok((into.clone(), self.drawing()))
            }
            _ => Err(Error::request(one)),
        }
    }

    /// How pictures are drawn.
    fn drawing(&self) -> Options {
        self.draw.options(Options { theme: self.theme, top: self.top, target_token: self.target_token, ..Options::default() })
    }

    /// Settles forms and places, and refuses what could not be written in the end.
    ///
    /// # Errors
    /// An unknown extension, a picture for a terminal, a place that cannot be written to.
    pub(crate) fn meaning(self) -> Result<Outputs> {
        let drawing = self.drawing();
        let named = self.format.as_deref().and_then(render::form);
        let mut places = self.output.into_iter().map(|path| place(path, named)).collect::<Result<Vec<_>>>()?;
        let standard = places.iter().filter(|(path, _)| path.is_none()).count();
        if standard + usize::from(self.json) > 1 || (self.json && places.is_empty() && named.is_some_and(|f| f.id() != "json")) {
            return Err(Error::request("only one thing can go to standard output; give the others a file with -o"));
        }
        if self.json {
            places.push((None, form("json")));
        } else if places.is_empty() {
            places.push((None, named.unwrap_or_else(|| form("terminal"))));
        }
        places.sort_by_key(|(path, _)| path.is_none()); // who reads may go away before the files are written
        let outputs = Outputs { places, drawing, width: self.width, colour: self.colour };
        for (path, form) in &outputs.places {
            check(path.as_deref(), form.binary().then_some(form.id()))?;
        }
        Ok(outputs)
    }
}

impl Outputs {
    /// Which target token is to be shown alone.
    pub(crate) fn target_token(&self) -> Option<usize> {
        self.drawing.target_token
    }

    /// Whether every place can take two explanations.
    ///
    /// # Errors
    /// Standard output, in a form that is one document.
    pub(crate) fn check_two(&self) -> Result<()> {
        match self.places.iter().find(|(path, form)| path.is_none() && !["terminal", "json"].contains(&form.id())) {
            Some((_, form)) => {
                Err(Error::request(format!("standard output cannot hold two explanations as {}; name a file with -o", form.id())))
            }
            None => Ok(()),
        }
    }

    /// How the terminal shows pictures, going by what it says of itself. Within tmux or screen, which swallow them, it does not.
    fn graphics(&self) -> Option<Graphics> {
        let is = |name: &str, words: &[&str]| std::env::var(name).is_ok_and(|v| words.iter().any(|w| v.eq_ignore_ascii_case(w)));
        let says = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        if !io::stdout().is_terminal() || says("TMUX") || says("STY") {
            return None;
        }
        if says("KITTY_WINDOW_ID")
            || is("TERM", &["xterm-kitty", "xterm-ghostty"])
            || is("TERM_PROGRAM", &["ghostty"])
            || says("KONSOLE_VERSION")
        {
            return Some(Graphics::Kitty);
        }
        is("TERM_PROGRAM", &["iTerm.app", "WezTerm", "mintty"]).then_some(Graphics::Iterm)
    }

    /// Draws and writes everything; says on standard error which files there are now. Each explanation comes with what is added to the names of
    /// its files (nothing for the first); on standard output they stand one behind the other, in JSON as one list.
    ///
    /// # Errors
    /// A place that cannot be written to any more.
    pub(crate) fn write(&self, explanations: &[(String, Attribution)]) -> Result<()> {
        for (path, form) in &self.places {
            // What a file holds does not depend on the terminal it was asked for in.
            let (width, colour) = match (path, self.colour) {
                (None, colour) => (text::columns(), colour.depth()),
                (Some(_), Colour::Always) => (self.drawing.width, self.colour.depth()),
                (Some(_), _) => (self.drawing.width, ColourDepth::None),
            };
            let width = self.width.map_or(width, usize::from);
            let graphics = path.is_none().then(|| self.graphics()).flatten();
            let options = Options { width, colour, graphics, ..self.drawing.clone() };
            let drawn = explanations.iter().map(|(_, a)| form.render(a, &options)).collect::<Result<Vec<_>>>()?;
            let several = drawn.len() > 1;
            match path {
                None if several && form.id() == "json" => print(&[b"[\n", &drawn.join(&b",\n"[..])[..], b"]\n"].concat())?,
                None => print(&drawn.join(&b"\n\n"[..]))?,
                Some(path) => {
                    for ((added, _), drawn) in explanations.iter().zip(&drawn) {
                        save(&named(path, added), drawn)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Sees that none of the files written is among those read.
///
/// # Errors
/// One is.
pub(crate) fn spare(written: &[PathBuf], read: &[PathBuf]) -> Result<()> {
    let same = |a: &Path, b: &Path| a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
    match written.iter().find(|w| read.iter().any(|r| same(w, r))) {
        Some(path) => Err(Error::request(format!("{} is what is explained; name another file with -o", path.display()))),
        None => Ok(()),
    }
}

/// Writes a file and says so.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    render::write(path, bytes)?;
    note(&format!("wrote {}", path.display()));
    Ok(())
}

/// A name with something added: `answer.back.html` beside `answer.html`.
fn named(path: &Path, added: &str) -> PathBuf {
    if added.is_empty() {
        return path.to_owned();
    }
    let extension = path.extension().and_then(|e| e.to_str()).map_or(added.to_owned(), |e| format!("{added}.{e}"));
    path.with_extension(extension)
}

/// A line for people, on standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Bytes to standard output.
pub(crate) fn print(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// A value as JSON to standard output.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<()> {
    print(format!("{value:#}\n").as_bytes())
}

/// The library's error for a failed write to standard output.
pub(crate) fn written(done: io::Result<()>) -> Result<()> {
    done.map_err(|e| Error::io("cannot write to", "standard output", e))
}

fn place(path: PathBuf, named: Option<&'static dyn Render>) -> Result<(Option<PathBuf>, &'static dyn Render)> {
    if path == Path::new("-") {
        return Ok((None, named.unwrap_or_else(|| form("terminal"))));
    }
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    let form = named.or_else(|| render::form(extension)).ok_or_else(|| {
        let known: Vec<_> = render::forms().iter().flat_map(|f| f.extensions()).map(|e| format!(".{e}")).collect();
        Error::request(format!("{}: no form goes by this extension; use one of {}, or --format", path.display(), known.join(" ")))
    })?;
    Ok((Some(path), form))
}

/// Whether something can be written, found out before the work is done; `binary` names a form that is no text.
pub(crate) fn check(path: Option<&Path>, binary: Option<&str>) -> Result<()> {
    let Some(path) = path else {
        return match binary.filter(|_| io::stdout().is_terminal()) {
            Some(form) => Err(Error::request(format!("{form} is no text for a terminal; name a file with -o"))),
            None => Ok(()),
        };
    };
    let refused = |e| Error::io("cannot write", path, e);
    match path.metadata() {
        Ok(found) if found.is_dir() => Err(refused(io::ErrorKind::IsADirectory.into())),
        Ok(found) if found.is_file() => OpenOptions::new().append(true).open(path).map(drop).map_err(refused).and_then(|()| beside(path)),
        Ok(_) => Ok(()), // a device or a pipe: opening it might wait
        Err(_) => beside(path),
    }
}

/// Results are written beside their place and renamed: the folder must take a new file.
fn beside(path: &Path) -> Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder).map(drop).map_err(|e| Error::io("cannot write", &path, e))
}

fn form(name: &str) -> &'static dyn Render {
    render::form(name).expect("a form that is always there")
}

pub(crate) fn theme(name: &str) -> Theme {
    match name {
        "light" => Theme::Light,
        "dark" => Theme::Dark,
        _ => Theme::Auto,
    }
}

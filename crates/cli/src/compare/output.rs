//! Where a comparison goes, and in which form.

use std::path::{Path, PathBuf};

use clap::{Args, builder::PossibleValuesParser};
use pellucid::{
    Comparison, Error, Result,
    render::{ColourDepth, ComparisonForm as Form, Options, Theme},
};

use crate::{
    drawing::DrawArgs,
    output::{Colour, check, print, save, spare, theme},
    text,
};

/// Where the comparison goes, as typed.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write to a file, in the form of its extension (html, json, txt); may be repeated; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// Write one self-contained page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// The form, whatever the extension [default: terminal]
    #[arg(long, value_parser = PossibleValuesParser::new(Form::ALL.map(Form::id)))]
    pub(crate) format: Option<String>,
    /// JSON on standard output, everything for people on standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// Columns, 20 to 1000 [default: the terminal's; 100 in files]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(20..=1000))]
    pub(crate) width: Option<u16>,
    /// Colours: on a terminal, always or never
    #[arg(long, alias = "color", value_enum, default_value_t, hide_possible_values = true, value_name = "WHEN")]
    pub(crate) colour: Colour,
    /// Dark ink on light paper, or the other way round
    #[arg(long, default_value = "auto", value_parser = crate::args::one_of(["auto", "light", "dark"], theme))]
    pub(crate) theme: Theme,
    #[command(flatten)]
    pub(crate) draw: DrawArgs,
}

/// Where the comparison goes, each place with its form.
pub(crate) struct Outputs {
    /// `None` is standard output.
    places: Vec<(Option<PathBuf>, Form)>,
    drawing: Options,
    width: Option<u16>,
    colour: Colour,
}

impl OutputArgs {
    /// Sees that no result takes the place of what it is made from.
    ///
    /// # Errors
    /// A file that is read and written.
    pub(crate) fn spare(&self, read: &[PathBuf]) -> Result<()> {
        let written: Vec<PathBuf> = self.output.iter().chain(&self.html).cloned().collect();
        spare(&written, read)
    }

    /// Settles forms and places, and refuses what could not be written in the end.
    ///
    /// # Errors
    /// An unknown extension or form, a place that cannot be written to.
    pub(crate) fn meaning(self) -> Result<Outputs> {
        let named = self.format.as_deref().map(form).transpose()?;
        let mut places = self.output.into_iter().map(|path| place(path, named)).collect::<Result<Vec<_>>>()?;
        places.extend(self.html.map(|path| (Some(path), Form::Html)));
        let standard = places.iter().filter(|(path, _)| path.is_none()).count();
        if standard + usize::from(self.json) > 1 || (self.json && places.is_empty() && named.is_some_and(|f| f != Form::Json)) {
            return Err(Error::request("only one thing can go to standard output; give the others a file with -o"));
        }
        if self.json {
            places.push((None, Form::Json));
        } else if places.is_empty() {
            places.push((None, named.unwrap_or(Form::Terminal)));
        }
        places.sort_by_key(|(path, _)| path.is_none()); // who reads may go away before the files are written
        places.iter().try_for_each(|(path, _)| check(path.as_deref(), None))?;
        Ok(Outputs {
            places,
            drawing: self.draw.options(Options { theme: self.theme, ..Options::default() }),
            width: self.width,
            colour: self.colour,
        })
    }
}

impl Outputs {
    /// Draws and writes everything; says on standard error which files there are now.
    ///
    /// # Errors
    /// A place that cannot be written to any more.
    pub(crate) fn write(&self, comparison: &Comparison) -> Result<()> {
        for (path, form) in &self.places {
            // What a file holds does not depend on the terminal it was asked for in.
            let (width, colour) = match (path, self.colour) {
                (None, colour) => (text::columns(), colour.depth()),
                (Some(_), Colour::Always) => (self.drawing.width, self.colour.depth()),
                (Some(_), _) => (self.drawing.width, ColourDepth::None),
            };
            let width = self.width.map_or(width, usize::from);
            let drawn = form.render(comparison, &Options { width, colour, ..self.drawing.clone() })?;
            match path {
                None => print(&drawn)?,
                Some(path) => save(path, &drawn)?,
            }
        }
        Ok(())
    }
}

fn form(name: &str) -> Result<Form> {
    let known = || Form::ALL.map(Form::id).join(", ");
    Form::named(name).ok_or_else(|| Error::request(format!("a comparison has no form `{name}`; there are {}", known())))
}

fn place(path: PathBuf, named: Option<Form>) -> Result<(Option<PathBuf>, Form)> {
    if path == Path::new("-") {
        return Ok((None, named.unwrap_or(Form::Terminal)));
    }
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    let form = named.or_else(|| Form::named(extension)).ok_or_else(|| {
        let known: Vec<_> = Form::ALL.iter().flat_map(|f| f.extensions()).map(|e| format!(".{e}")).collect();
        Error::request(format!(
            "{}: a comparison has no form by this extension; use one of {}, or --format",
            path.display(),
            known.join(" ")
        ))
    })?;
    Ok((Some(path), form))
}

//! Output forms: an [`Attribution`] in, bytes for a person or a machine out.
//!
//! One file a form, one table ([`forms`]). A form reads the attribution and nothing else: no model, no file, no clock, so a saved JSON
//! file gives the same picture later. Text is shown as it was written, by character offsets; what a terminal, a browser or a typesetter
//! would take for an instruction is escaped. The sign of a score is never told by colour alone.
//!
//! Deliberately absent: choosing a form from a file name's folder, environment variables, terminal detection (programs do that).

mod aggregate;
mod cells;
mod check;
mod compare;
mod describe;
mod escape;
mod gallery;
mod html;
mod json;
mod latex;
mod layout;
pub mod picture;
mod png;
mod scale;
mod svg;
mod terminal;
mod view;
mod write;

use pellucid_core::{Attribution, Result};

pub use compare::{COMPARISON_SCHEMA, ComparisonForm, parse_comparison, read_comparison};
pub use gallery::{Explained, gallery};
pub use json::{SCHEMA, parse, read};
pub use latex::latex_as_published;
pub use picture::{ColourMap, Interpolation, MapScale, Mask, Overlay};
pub use write::write;

/// An output form. Add one: a file with a type that implements this, a `mod` line above and a line in [`forms`].
pub trait Render: Sync {
    /// Its name on the command line.
    fn id(&self) -> &'static str;
    /// File name extensions that mean this form, without the dot; the first is the usual one.
    fn extensions(&self) -> &'static [&'static str];
    /// `true` if the bytes are not UTF-8 text.
    fn binary(&self) -> bool;
    /// Draws `attribution`. Refuses one that contradicts itself (lengths, spans, numbers that are not finite), naming the field.
    fn render(&self, attribution: &Attribution, options: &Options) -> Result<Vec<u8>>;
}

/// Every output form.
pub fn forms() -> &'static [&'static dyn Render] {
    &[&terminal::Terminal, &html::Html, &json::Json, &svg::Svg, &png::Png, &latex::Latex]
}

/// The form with this name or file name extension, letter case aside: `html`, `txt`.
pub fn form(name: &str) -> Option<&'static dyn Render> {
    forms().iter().copied().find(|f| [f.id()].iter().chain(f.extensions()).any(|n| n.eq_ignore_ascii_case(name)))
}

/// How to draw. A form takes from it what it can use.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Columns of a terminal, and of the text in a picture. Fewer than 20 count as 20.
    pub width: usize,
    /// What the terminal can show.
    pub colour: ColourDepth,
    /// Light or dark.
    pub theme: Theme,
    /// How many supporting and how many opposing features to list.
    pub top: usize,
    /// Which target token's scores to show, counted from 0; `None` shows the combined scores.
    pub target_token: Option<usize>,
    /// A heading in place of the one made from the target.
    pub title: Option<String>,
    /// Colours of a picture's map; `None` takes those that suit the scores: two ways from white with a sign, dark to light without.
    pub palette: Option<ColourMap>,
    /// How few scores become a picture's many pixels.
    pub interpolation: Interpolation,
    /// Which scores have the colours at the ends of a picture's scale.
    pub scale: MapScale,
    /// How a terminal shows pictures as such; `None`: it does not, and half blocks or figures stand for them.
    pub graphics: Option<Graphics>,
    /// How a map is laid over its picture.
    pub overlay: Overlay,
    /// Opacity of the map over its picture where it is strongest, 0 to 1.
    pub opacity: f64,
    /// Which part of a picture's map is shown.
    pub mask: Mask,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            width: 100,
            colour: ColourDepth::None,
            theme: Theme::Auto,
            top: 8,
            target_token: None,
            title: None,
            palette: None,
            interpolation: Interpolation::Bilinear,
            scale: MapScale::Auto,
            graphics: None,
            overlay: Overlay::Fading,
            opacity: 0.8,
            mask: Mask::None,
        }
    }
}

/// A protocol by which a terminal shows pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graphics {
    /// That of kitty, also spoken by Ghostty and Konsole.
    Kitty,
    /// That of iTerm2, also spoken by WezTerm and mintty.
    Iterm,
}

/// How many colours a terminal has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColourDepth {
    /// None: scores are shown as marks in brackets.
    #[default]
    None,
    /// The sixteen that the person's own scheme defines.
    Ansi16,
    /// The 6×6×6 cube.
    Ansi256,
    /// 24 bits.
    TrueColour,
}

/// Light or dark surroundings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// What the reader prefers where the form can know (HTML); else dark in a terminal and light on paper.
    #[default]
    Auto,
    /// Dark ink on light paper.
    Light,
    /// Light ink on dark paper.
    Dark,
}

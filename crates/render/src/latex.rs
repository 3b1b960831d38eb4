//! LaTeX: a document that compiles alone, one coloured box a word, to be cut out and pasted into a paper.
//!
//! Solid underlines support, dotted ones oppose. Characters that TeX would obey are escaped; all others stay as they are, so a text
//! beyond Latin wants XeLaTeX or LuaLaTeX and a font that has its letters.

mod published;

use pellucid_core::{Attribution, Error, Part, Result, Sign};

use crate::aggregate::Level;
use crate::escape::{label, visible};
use crate::layout::{Kind, Run, sections};
use crate::scale::{LIGHT, Numbers};
use crate::view::View;
use crate::{Options, Render, check, describe};

pub use published::latex_as_published;

const HEAD: &str = r"% A heat map by Pellucid. Compile with XeLaTeX or LuaLaTeX; pdfLaTeX does for Latin letters.
% For scripts beyond Latin choose a font that has them: \setmainfont{...}; for right-to-left text load bidi or babel.
\documentclass[varwidth=15cm,border=8pt]{standalone}
\usepackage{iftex}
\ifPDFTeX\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\else\usepackage{fontspec}\fi
\usepackage{xcolor}
\usepackage[normalem]{ulem}
\setlength{\parindent}{0pt}\setlength{\fboxsep}{1.5pt}
% #1 colour, #2 text
\newcommand{\supports}[2]{\colorbox[HTML]{#1}{\strut\uline{#2}}}
\newcommand{\opposes}[2]{\colorbox[HTML]{#1}{\strut\dotuline{#2}}}
\begin{document}\raggedright
";

/// A LaTeX document.
pub(crate) struct Latex;

impl Render for Latex {
    fn id(&self) -> &'static str {
        "latex"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["tex"]
    }

    fn binary(&self) -> bool {
        false
    }

    fn render(&self, a: &Attribution, options: &Options) -> Result<Vec<u8>> {
        check::check(a).map_err(Error::Request)?;
        if a.input.image.is_some() {
            return Err(Error::request(
                "latex draws texts only, this is a heat map of a picture; write png or svg and include it with \\includegraphics",
            ));
        }
        let view = View::new(a, options.target_token)?;
        let sections = sections(a, Level::Unit)?;
        let max = view.max(&sections);
        let title = options.title.as_deref().map_or_else(|| describe::heading(&view), |t| label(t, 400));
        let mut out = format!("{HEAD}{{\\bfseries {}}}\\par\n", escape(&title));
        for fact in [describe::model(a), describe::method(a), describe::scores(&view)] {
            out += &format!("{{\\footnotesize {}}}\\par\n", escape(&fact));
        }
        for section in &sections {
            out += "\\medskip\n";
            if section.part == Part::Target {
                out += "{\\footnotesize earlier target tokens}\\par\n";
            }
            let text: String = section.runs.iter().map(|r| run(&view, r, max)).collect();
            // A line of its own for every line of the text, also for an empty one.
            out.extend(text.split('\n').map(|line| format!("\\leavevmode {line}\\par\n")));
        }
        out += &legend(max, view.sign());
        for line in describe::promises(a) {
            out += &format!("{{\\footnotesize {}}}\\par\n", escape(&line));
        }
        out += "\\end{document}\n";
        Ok(out.into_bytes())
    }
}

fn run(view: &View<'_>, run: &Run, max: f64) -> String {
    let text = match run.kind {
        Kind::Chip => format!("[{}]", label(&run.text, 60)),
        _ => visible(&run.text).into_owned(),
    };
    let strength = view.strength(&run.features, max).unwrap_or(0.0);
    let Some(fill) = LIGHT.of(view.sign()).fill(strength) else { return escape(&text) };
    let command = if strength < 0.0 { "opposes" } else { "supports" };
    if text.trim().is_empty() {
        let marks = text.replace('\n', "\u{21b5}").replace('\t', "\u{21e5}");
        let breaks = "\n".repeat(text.matches('\n').count());
        return format!("\\{command}{{{}}}{{{}}}{breaks}", fill.hex(), escape(&marks));
    }
    // A box does not break across lines, so every word gets its own.
    let words = text.split_inclusive(char::is_whitespace).map(|word| {
        let core = word.trim_end();
        let boxed = if core.is_empty() { String::new() } else { format!("\\{command}{{{}}}{{{}}}", fill.hex(), escape(core)) };
        boxed + &escape(&word[core.len()..])
    });
    words.collect()
}

fn legend(max: f64, sign: Sign) -> String {
    if max == 0.0 {
        return "\\medskip\n{\\footnotesize all scores are zero}\\par\n".into();
    }
    let numbers = Numbers::up_to(max);
    let word = |strength: f64, command: &str, text: &str| {
        let fill = LIGHT.of(sign).fill(strength).expect("the ends of the scale have a colour");
        format!("\\{command}{{{}}}{{{text}}}", fill.hex())
    };
    if sign == Sign::Unsigned {
        let strongest = word(1.0, "supports", &format!("strongest {}", numbers.of(sign, max)));
        return format!("\\medskip\n{{\\footnotesize {strongest} scores have no sign}}\\par\n");
    }
    let supports = word(1.0, "supports", &format!("supports {}", numbers.signed(max)));
    let opposes = word(-1.0, "opposes", &format!("opposes {}", numbers.signed(-max)));
    format!("\\medskip\n{{\\footnotesize {supports} {opposes}}}\\par\n")
}

/// Text for TeX: what it would obey, and what its fonts would join into something else (dashes, quotes), is spelled out. Line breaks stay.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut space = true;
    for c in visible(text).chars() {
        match c {
            '\\' => out.push_str("\\textbackslash{}"),
            '{' | '}' | '$' | '&' | '#' | '%' | '_' => out.extend(['\\', c]),
            '^' => out.push_str("\\textasciicircum{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            '"' => out.push_str("\\textquotedbl{}"),
            '`' | '\'' | '-' | ',' | '?' | '!' => out.extend(['{', c, '}']),
            '\u{21b5}' => out.push_str("$\\hookleftarrow$"),
            '\u{21e5}' => out.push_str("$\\rightarrow$"),
            '\u{b7}' => out.push_str("\\textperiodcentered{}"),
            '…' => out.push_str("\\dots{}"),
            '\t' => out.push_str("\\ \\ \\ \\ "),
            ' ' if space => out.push_str("\\ "),
            c => out.push(c),
        }
        space = matches!(c, ' ' | '\n');
    }
    out
}

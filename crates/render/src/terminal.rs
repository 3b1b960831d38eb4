//! The terminal: the coloured prompt, the strongest features with bars, the target's tokens, the cost.
//!
//! Nothing of the prompt reaches the terminal raw: escapes, controls and bidirectional overrides are shown, not sent. With colours, what
//! supports is bold and what opposes is underlined; without, marks in brackets tell sign and strength: `[++France]`.

mod inline;
pub(crate) mod paint;
pub(crate) mod picture;

use pellucid_core::{Attribution, Error, Part, Result, Sign};
use unicode_width::UnicodeWidthStr;

use crate::aggregate::Level;
use crate::cells::{self, cells, wrap};
use crate::escape::label;
use crate::layout::{Kind, Run, Section, sections};
use crate::picture::scene::Scene;
use crate::scale::{Numbers, level};
use crate::view::{Entry, View};
use crate::{ColourDepth, Options, Render, check, describe};
use paint::{Paint, Tone};

/// Units longer than this many characters on average are listed one below the other.
const LONG_UNITS: usize = 40;
/// Rows of the table of target tokens.
const TARGET_ROWS: usize = 24;

type Cell = cells::Cell<Tone>;

/// Text with or without ANSI colours.
pub(crate) struct Terminal;

impl Render for Terminal {
    fn id(&self) -> &'static str {
        "terminal"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["txt", "ans"]
    }

    fn binary(&self) -> bool {
        false
    }

    fn render(&self, a: &Attribution, options: &Options) -> Result<Vec<u8>> {
        check::check(a).map_err(Error::Request)?;
        let view = View::new(a, options.target_token)?;
        let sections = sections(a, Level::Unit)?;
        let max = view.max(&sections);
        let (sign, width) = (view.sign(), options.width.clamp(20, 1000));
        let page = Page { view, max, numbers: Numbers::up_to(max), paint: Paint::new(options, sign), sign, width };
        if let Some(scene) = Scene::of(view, options)? {
            return page.pictured(&scene, &sections, options);
        }
        let text = if long_units(a) { page.list(&sections) } else { page.prompt(&sections) };
        // A list of all units needs no list of the strongest after it, unless it is long.
        let listed = long_units(a) && a.features.len() <= options.top;
        let top = if listed { String::new() } else { page.top(options.top) };
        let blocks = [page.head(options), text, page.legend(), top, page.targets(), page.foot()];
        let blocks: Vec<String> = blocks.into_iter().filter(|b| !b.is_empty()).collect();
        Ok((blocks.join("\n\n") + "\n").into_bytes())
    }
}

fn long_units(a: &Attribution) -> bool {
    let lengths: Vec<usize> = a.features.iter().filter_map(|f| f.span).map(|s| s.end - s.start).collect();
    lengths.iter().sum::<usize>() > LONG_UNITS * lengths.len()
}

struct Page<'a> {
    view: View<'a>,
    max: f64,
    numbers: Numbers,
    paint: Paint,
    sign: Sign,
    width: usize,
}

impl Page<'_> {
    fn head(&self, options: &Options) -> String {
        let a = self.view.a;
        let title = options.title.as_deref().map_or_else(|| describe::heading(&self.view), |t| label(t, 400));
        let mut lines = self.plain(Tone::Strong, &title);
        let mut facts = vec![describe::model(a), describe::method(a), describe::scores(&self.view)];
        if a.input.image.is_some() {
            facts.extend(describe::answered(a));
        } else if let [only] = &a.target.tokens[..] {
            facts.push(describe::clean(a.target.kind, only));
        }
        if let Some([only]) = a.target.contrast.as_ref().map(|c| &c.tokens[..]) {
            facts.push(format!("contrast {}", describe::clean(a.target.kind, only)));
        }
        for fact in facts {
            lines.extend(self.plain(Tone::Quiet, &fact));
        }
        lines.join("\n")
    }

    /// The text itself, coloured in place.
    fn prompt(&self, sections: &[Section]) -> String {
        let texts = sections.iter().map(|section| {
            let cells: Vec<Cell> = section.runs.iter().flat_map(|r| self.run(r)).collect();
            let mut lines = self.lines(&cells, self.width);
            while lines.pop_if(|l| l.is_empty()).is_some() {}
            if section.part == Part::Target {
                lines.insert(0, self.paint.text(Tone::Quiet, describe::earlier(self.view.a)));
            }
            lines.join("\n")
        });
        texts.collect::<Vec<_>>().join("\n\n")
    }

    /// Long units one below the other: a bar, then the unit's words.
    fn list(&self, sections: &[Section]) -> String {
        let mut lines = Vec::new();
        for run in sections.iter().flat_map(|s| &s.runs) {
            let scored = self.view.sum(&run.features);
            if scored.is_none() && run.text.trim().is_empty() {
                continue;
            }
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.extend(scored.map(|score| self.bar(score, self.width.saturating_sub(16).min(40))));
            let tone = if scored.is_some() { Tone::Plain } else { Tone::Quiet };
            let text = if scored.is_some() { run.text.as_str() } else { run.text.trim() };
            lines.extend(self.lines(&cells(text, tone, false), self.width - 2).into_iter().map(|l| format!("  {l}")));
        }
        lines.join("\n")
    }

    fn legend(&self) -> String {
        if self.max == 0.0 {
            return self.plain(Tone::Quiet, "all scores are zero").join("\n");
        }
        if self.sign == Sign::Unsigned {
            return self.sequential_legend();
        }
        let (low, high) = (self.numbers.signed(-self.max), self.numbers.signed(self.max));
        if long_units(self.view.a) {
            let (supports, opposes) = (self.paint.text(Tone::SupportingBar, "█"), self.paint.text(Tone::OpposingBar, "▒"));
            return format!("{supports} supports  {opposes} opposes");
        }
        if self.paint.depth == ColourDepth::None {
            let text = format!("[+supports] [++clearly] [+++strongly], [-opposes] likewise; strongest ±{}", high.trim_start_matches('+'));
            return self.plain(Tone::Quiet, &text).join("\n");
        }
        let swatches: String = (-8..=8).map(|i| self.paint.text(Tone::Score(f64::from(i) / 8.0), " ")).collect();
        let (opposes, supports) = (self.paint.text(Tone::Opposing, "opposes"), self.paint.text(Tone::Supporting, "supports"));
        format!("{opposes} {low} {swatches} {high} {supports}")
    }

    fn sequential_legend(&self) -> String {
        let high = self.numbers.of(self.sign, self.max);
        if long_units(self.view.a) {
            return self.plain(Tone::Quiet, "the longer, the more it counts; scores have no sign").join("\n");
        }
        if self.paint.depth == ColourDepth::None {
            let text = format!("[+counts] [++clearly] [+++strongly]; scores have no sign; strongest {high}");
            return self.plain(Tone::Quiet, &text).join("\n");
        }
        let swatches: String = (0..=16).map(|i| self.paint.text(Tone::Score(f64::from(i) / 16.0), " ")).collect();
        format!("{} 0 {swatches} {high} {}", self.paint.text(Tone::Quiet, "counts little"), self.paint.text(Tone::Supporting, "much"))
    }

    fn top(&self, count: usize) -> String {
        let (supporting, opposing) = self.view.top(count);
        let group = |name: &str, entries: &[Entry<'_>]| {
            let mut lines = vec![self.paint.text(Tone::Strong, name)];
            lines.extend(entries.iter().map(|e| self.entry(e)));
            lines.join("\n")
        };
        let first = if self.sign == Sign::Signed { "strongest for" } else { "strongest" };
        let groups = [(first, supporting), ("strongest against", opposing)];
        groups.iter().filter(|(_, e)| !e.is_empty()).map(|(n, e)| group(n, e)).collect::<Vec<_>>().join("\n")
    }

    fn entry(&self, entry: &Entry<'_>) -> String {
        let columns = (self.width / 4).clamp(4, 24);
        let bar = self.bar(entry.score, columns);
        let place = if entry.feature.part == Part::Target { " (target)" } else { "" };
        let name = label(&self.view.name(entry.feature), self.width.saturating_sub(columns + 15 + place.len()).max(4));
        format!("{bar} \"{name}\"{place}")
    }

    /// `  ████▌     +1.234`: the number stands in a column of its own.
    fn bar(&self, score: f64, columns: usize) -> String {
        let drawn = paint::bar(crate::scale::strength(score, self.max), columns);
        let space = " ".repeat(columns - drawn.width());
        let tone = if score < 0.0 { Tone::OpposingBar } else { Tone::SupportingBar };
        format!("  {}{space} {:>9}", self.paint.text(tone, &drawn), self.numbers.of(self.sign, score))
    }

    /// A line per target token where there are several; and the contrast's.
    fn targets(&self) -> String {
        let target = &self.view.a.target;
        let mut blocks = Vec::new();
        if target.tokens.len() > 1 {
            blocks.push(self.table("target token", &target.tokens, true));
        }
        if let Some(contrast) = target.contrast.as_ref().filter(|c| c.tokens.len() > 1) {
            blocks.push(self.table("contrast token", &contrast.tokens, false));
        }
        blocks.join("\n\n")
    }

    fn table(&self, name: &str, tokens: &[pellucid_core::TargetToken], strongest: bool) -> String {
        let wide = strongest && self.width >= 60;
        let names: Vec<String> = tokens.iter().take(TARGET_ROWS).map(describe::token).map(|t| label(&t, 20)).collect();
        let column = names.iter().map(|n| n.width()).max().unwrap_or(0).max(name.len());
        let pad = |text: &str, columns: usize| format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())));
        let head = format!(
            "{}  {:>7}  {:>5}{}",
            pad(name, column),
            "p",
            "rank",
            if !wide {
                ""
            } else if self.sign == Sign::Signed {
                "  strongest for, against"
            } else {
                "  strongest"
            }
        );
        let mut lines = vec![self.paint.text(Tone::Strong, &head)];
        for (t, (token, name)) in tokens.iter().zip(&names).enumerate() {
            let found = if wide { self.strongest(t, self.width.saturating_sub(column + 18)) } else { String::new() };
            let row = format!("{}  {:>7}  {:>5}  {found}", pad(name, column), describe::probability(token.probability), token.rank);
            lines.push(row.trim_end().to_owned());
        }
        if tokens.len() > TARGET_ROWS {
            lines.push(self.paint.text(Tone::Quiet, &format!("… and {} more", tokens.len() - TARGET_ROWS)));
        }
        lines.join("\n")
    }

    fn strongest(&self, t: usize, columns: usize) -> String {
        let view = View { a: self.view.a, target_token: Some(t) };
        let (supporting, opposing) = view.top(1);
        let each = columns.saturating_sub(24) / 2;
        let found = supporting.iter().chain(&opposing);
        found
            .map(|e| {
                format!("{} \"{}\"", Numbers::up_to(e.score.abs()).of(self.sign, e.score), label(&view.name(e.feature), each.clamp(4, 36)))
            })
            .collect::<Vec<_>>()
            .join("  ")
    }

    fn foot(&self) -> String {
        let lines = describe::promises(self.view.a).into_iter().chain([describe::cost(&self.view.a.cost)]);
        lines.flat_map(|line| self.plain(Tone::Quiet, &line)).collect::<Vec<_>>().join("\n")
    }

    fn run(&self, run: &Run) -> Vec<Cell> {
        let strength = self.view.strength(&run.features, self.max);
        let tone = match (strength, run.kind) {
            (Some(s), _) => Tone::Score(s),
            (None, Kind::Text) => Tone::Plain,
            (None, _) => Tone::Quiet,
        };
        let mut drawn = Vec::new();
        let steps = if self.paint.depth == ColourDepth::None { level(strength.unwrap_or(0.0)) } else { 0 };
        let bracket = steps != 0 || run.kind == Kind::Chip;
        if bracket {
            let mark = if steps < 0 { "-" } else { "+" }.repeat(steps.unsigned_abs() as usize);
            drawn.extend(cells(&format!("[{mark}"), tone, false));
        }
        drawn.extend(cells(&run.text, tone, strength.is_some()));
        if bracket {
            // Before a line break that belongs to the run.
            let at = drawn.iter().rposition(|c| !c.is_break()).map_or(0, |i| i + 1);
            drawn.splice(at..at, cells("]", tone, false));
        }
        drawn
    }

    fn plain(&self, tone: Tone, text: &str) -> Vec<String> {
        self.lines(&cells(text, tone, false), self.width)
    }

    fn lines(&self, cells: &[Cell], width: usize) -> Vec<String> {
        wrap(cells, width).into_iter().map(|line| self.paint.line(line)).collect()
    }
}

//! The comparison in a terminal: a table of strengths, how far the methods agree, what each took and promised.

use pellucid_core::{Comparison, Result, Sign};
use unicode_width::UnicodeWidthStr;

use super::{Column, page, picture};
use crate::{
    Options,
    cells::{cells, wrap},
    escape::label,
    picture::scene::Scene,
    terminal::paint::{Paint, Tone},
    terminal::picture::{figures, half_blocks, halves, key, small},
};

/// Rows of the table; of longer texts those with the strongest scores are shown.
const MOST_ROWS: usize = 120;
/// Rows of the table where a picture was shown before it.
const MOST_PARTS: usize = 12;
/// Columns and rows of characters of a picture.
const PICTURE: (usize, usize) = (32, 16);
/// Columns of a number: `+0.42`, and a blank.
const NUMBER: usize = 7;

pub(super) fn draw(c: &Comparison, options: &Options) -> Result<Vec<u8>> {
    let columns = Column::all(c);
    let scenes = picture::scenes(&columns, options)?.unwrap_or_default();
    let table = Table { c, columns, scenes, paint: Paint::new(options, Sign::Signed), options, width: options.width.clamp(40, 1000) };
    let blocks = [table.head(), table.pictures()?, table.strengths(), table.agreement(), table.cost(), table.left_out()];
    let blocks: Vec<String> = blocks.into_iter().filter(|b| !b.is_empty()).collect();
    Ok((blocks.join("\n\n") + "\n").into_bytes())
}

struct Table<'a> {
    c: &'a Comparison,
    columns: Vec<Column<'a>>,
    /// Where a picture is explained, one for each column.
    scenes: Vec<Scene<'a>>,
    paint: Paint,
    options: &'a Options,
    width: usize,
}

impl Table<'_> {
    fn head(&self) -> String {
        let title = self.options.title.as_deref().map_or_else(|| page::heading(self.c), |t| label(t, 400));
        let mut lines = self.lines(Tone::Strong, &title);
        for fact in self.c.attributions.first().map(page::facts).unwrap_or_default() {
            lines.extend(self.lines(Tone::Quiet, &fact));
        }
        lines.join("\n")
    }

    /// Every method's map over the picture, as many beside one another as there is room for; or figures, one method below the other.
    fn pictures(&self) -> Result<String> {
        if !half_blocks(self.options.colour) {
            let block = |(column, scene): (&Column<'_>, &Scene<'_>)| {
                let head = format!("{}  {}", label(column.id(), 28), key(scene));
                let paint = Paint::new(self.options, scene.sign);
                Ok(format!("{}\n{}", self.lines(Tone::Strong, &head).join("\n"), figures(scene, &paint, self.width)?))
            };
            return Ok(self.columns.iter().zip(&self.scenes).map(block).collect::<Result<Vec<_>>>()?.join("\n\n"));
        }
        let mut tiles: Vec<(String, Vec<String>)> = Vec::new();
        let mut wide = 0;
        for (column, scene) in self.columns.iter().zip(&self.scenes) {
            let (photo, over) = small(scene, PICTURE.0.min(self.width), PICTURE.1)?;
            wide = photo.width() as usize;
            if tiles.is_empty() {
                tiles.push((left("picture", wide), halves(&photo, &[], self.options.colour)));
            }
            tiles.push((left(&label(column.id(), wide), wide), halves(&over, &[], self.options.colour)));
        }
        let across = ((self.width + 2) / (wide + 2)).max(1);
        let row = |tiles: &[(String, Vec<String>)]| {
            let heads: Vec<&str> = tiles.iter().map(|t| t.0.as_str()).collect();
            let mut lines = vec![self.paint.text(Tone::Strong, heads.join("  ").trim_end())];
            lines.extend((0..tiles[0].1.len()).map(|i| tiles.iter().map(|t| t.1[i].as_str()).collect::<Vec<_>>().join("  ")));
            lines.join("\n")
        };
        Ok(tiles.chunks(across).map(row).collect::<Vec<_>>().join("\n\n"))
    }

    /// Units down, methods across; as many tables as the methods need.
    fn strengths(&self) -> String {
        let Some(first) = self.columns.first() else { return String::new() };
        let rows = self.rows();
        let most = (self.width / 3).clamp(12, 40);
        let all = self.scenes.first().map_or_else(|| first.names(), picture::names);
        let names: Vec<String> = rows.iter().map(|f| label(&all[*f], most)).collect();
        let names_width = names.iter().map(|n| n.width()).max().unwrap_or(0).max(5);
        let mut blocks = Vec::new();
        for columns in self.blocks(names_width) {
            let widths: Vec<usize> = columns.iter().map(|c| width_of(c)).collect();
            let heads: String = columns.iter().zip(&widths).map(|(c, w)| right(&label(c.id(), 28), *w)).collect();
            let mut lines = vec![self.paint.text(Tone::Strong, &format!("{}{heads}", left("", names_width)))];
            for (feature, name) in rows.iter().zip(&names) {
                let cells: String = columns.iter().zip(&widths).map(|(c, w)| self.cell(c, *feature, *w)).collect();
                lines.push(format!("{}{cells}", left(name, names_width)));
            }
            blocks.push(lines.join("\n"));
        }
        let units = first.view.a.features.len();
        if rows.len() < units {
            let text = format!("{} of {units} units, those with the strongest scores; JSON and HTML have all", rows.len());
            blocks.push(self.lines(Tone::Quiet, &text).join("\n"));
        }
        blocks.push(self.lines(Tone::Quiet, page::NORMALISED).join("\n"));
        blocks.join("\n\n")
    }

    /// Features to show, in order of position.
    fn rows(&self) -> Vec<usize> {
        let features = self.columns.first().map_or(0, |c| c.view.a.features.len());
        let strongest = |f: &usize| self.columns.iter().map(|c| c.strength(*f).abs()).fold(0.0, f64::max);
        let mut rows: Vec<usize> = (0..features).collect();
        let most = if self.scenes.is_empty() { MOST_ROWS } else { MOST_PARTS };
        if features > most {
            rows.sort_by(|a, b| strongest(b).total_cmp(&strongest(a)));
            rows.truncate(most);
            rows.sort_unstable();
        }
        rows
    }

    /// Neighbouring methods that fit beside the names.
    fn blocks(&self, names: usize) -> Vec<&[Column<'_>]> {
        let (mut blocks, mut rest) = (Vec::new(), &self.columns[..]);
        while !rest.is_empty() {
            let mut used = names;
            let fits = |c: &&Column<'_>| {
                used += width_of(c);
                used <= self.width
            };
            let (block, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            blocks.push(block);
            rest = others;
        }
        blocks
    }

    /// A number on its colour, the blank before it without.
    fn cell(&self, column: &Column<'_>, feature: usize, width: usize) -> String {
        let paint = Paint::new(self.options, column.sign);
        let number = right(&column.number(feature), NUMBER - 1);
        format!("{}{}", " ".repeat(width - number.len()), paint.text(Tone::Score(column.strength(feature)), &number))
    }

    fn agreement(&self) -> String {
        if self.columns.len() < 2 {
            return String::new();
        }
        let names = self.columns.iter().map(|c| label(c.id(), 28).width()).max().unwrap_or(0);
        let numbers = self.columns.len().to_string().len();
        let name = |i: usize| format!("{:>numbers$} {}", i + 1, left(&label(self.columns[i].id(), 28), names));
        let across = ((self.width.saturating_sub(numbers + 1 + names)) / NUMBER).max(1);
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let mut lines = vec![self.paint.text(Tone::Strong, "agreement")];
        for block in all.chunks(across) {
            let heads: String = block.iter().map(|j| right(&(j + 1).to_string(), NUMBER)).collect();
            lines.push(format!("{}{heads}", " ".repeat(numbers + 1 + names)));
            for i in &all {
                let cell = |j: &usize| match self.c.rank_correlation[*i][*j] {
                    Some(rho) => format!(" {}", self.paint.text(Tone::Score(rho), &right(&format!("{rho:+.2}"), NUMBER - 1))),
                    None => right("–", NUMBER),
                };
                lines.push(format!("{}{}", name(*i), block.iter().map(cell).collect::<String>()));
            }
        }
        lines.extend(self.lines(Tone::Quiet, page::AGREEMENT));
        lines.join("\n")
    }

    fn cost(&self) -> String {
        let rows: Vec<[String; 4]> = self.c.attributions.iter().map(page::cost).collect();
        let names = self.columns.iter().map(|c| label(c.id(), 28).width()).max().unwrap_or(0);
        let heads = ["up", "down", "s", "peak"];
        let widths: Vec<usize> = (0..4).map(|i| rows.iter().map(|r| r[i].width()).max().unwrap_or(0).max(heads[i].len()) + 2).collect();
        let row = |cells: &[&str]| -> String { cells.iter().zip(&widths).map(|(c, w)| right(c, *w)).collect() };
        let before = names + widths.iter().sum::<usize>() + 2;
        let mut lines = Vec::new();
        if !rows.is_empty() {
            lines.push(self.paint.text(Tone::Strong, &format!("{}{}  promise", left("cost", names), row(&heads))));
        }
        for (column, cost) in self.columns.iter().zip(&rows) {
            let cost: Vec<&str> = cost.iter().map(String::as_str).collect();
            let told = wrap(&cells(&page::promises(column.view.a), Tone::Quiet, false), self.width.saturating_sub(before).max(24))
                .into_iter()
                .map(|line| self.paint.line(line))
                .collect::<Vec<_>>();
            lines.push(format!(
                "{}{}  {}",
                left(&label(column.id(), 28), names),
                row(&cost),
                told.join(&format!("\n{}", " ".repeat(before)))
            ));
        }
        lines.join("\n")
    }

    fn left_out(&self) -> String {
        if self.c.left_out.is_empty() {
            return String::new();
        }
        let mut lines = vec![self.paint.text(Tone::Strong, "left out")];
        lines.extend(
            self.c.left_out.iter().flat_map(|l| self.lines(Tone::Plain, &format!("{} {}", label(&l.method, 28), page::left_out(l)))),
        );
        lines.join("\n")
    }

    fn lines(&self, tone: Tone, text: &str) -> Vec<String> {
        wrap(&cells(text, tone, false), self.width).into_iter().map(|line| self.paint.line(line)).collect()
    }
}

fn width_of(column: &Column<'_>) -> usize {
    (label(column.id(), 28).width() + 2).max(NUMBER)
}

fn left(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

fn right(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(text.width())))
}

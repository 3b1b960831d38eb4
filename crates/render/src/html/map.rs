//! The text at one level, coloured, and its strongest units for every choice of target.

use std::borrow::Cow;

use pellucid_core::{Feature, Part, Result, Sign};

use super::{escape, minus, put};
use crate::aggregate::Level;
use crate::describe;
use crate::escape::label;
use crate::layout::{Kind, Run, Section, sections};
use crate::scale::{Numbers, strength};
use crate::view::View;

/// Columns of a unit's text in the table.
const LABEL: usize = 72;

/// How scores become colours and numbers.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// What is drawn as nothing.
    pub(crate) low: f64,
    /// What is drawn as strongest.
    pub(crate) max: f64,
    pub(crate) numbers: Numbers,
}

/// The inside of a level's section.
pub(super) fn section(choices: &[View<'_>], level: Level, top: usize) -> Result<String> {
    let sections = sections(choices[0].a, level)?;
    let scales: Vec<Scale> = choices.iter().map(|c| scale(c, &sections, level)).collect();
    let mut out = String::new();
    for section in &sections {
        if section.part == Part::Target {
            put(&mut out, format_args!("<p class=\"cap\">{}</p>\n", describe::earlier(choices[0].a)));
        }
        out.push_str("<div class=\"text\" dir=\"auto\">");
        section.runs.iter().for_each(|r| run(&mut out, r, choices, &scales));
        out.push_str("</div>\n");
    }
    for (i, (choice, &Scale { max, numbers, .. })) in choices.iter().zip(&scales).enumerate() {
        put(&mut out, format_args!("<div class=\"tt tt{i}\">\n"));
        legend(&mut out, max, numbers, choice.sign());
        tables(&mut out, choice, rows(choice, &sections, level), (max, numbers), top);
        out.push_str("</div>\n");
    }
    Ok(out)
}

fn scale(view: &View<'_>, sections: &[Section], level: Level) -> Scale {
    let max = match level {
        Level::Unit => view.max(sections),
        _ => rows(view, sections, level).iter().fold(0.0, |max, (_, v)| v.abs().max(max)),
    };
    Scale { low: 0.0, max, numbers: Numbers::up_to(max) }
}

pub(crate) fn run(out: &mut String, run: &Run, choices: &[View<'_>], scales: &[Scale]) {
    let kind = match run.kind {
        Kind::Text => "",
        Kind::Chip => " chip",
        Kind::Ellipsis => " left-out",
    };
    if run.features.is_empty() {
        match run.kind {
            Kind::Text => out.push_str(&escape(&run.text)),
            _ => put(out, format_args!("<span class=\"{}\">{}</span>", kind.trim_start(), escape(&run.text))),
        }
        return;
    }
    let breaks = if run.text.trim().is_empty() && run.text.contains('\n') { " br" } else { "" };
    put(out, format_args!("<span class=\"u{kind}{breaks}\" style=\""));
    for (i, (choice, &Scale { low, max, numbers })) in choices.iter().zip(scales).enumerate() {
        if let Some(score) = choice.sum(&run.features) {
            put(out, format_args!("--v{i}:{:.3};--s{i}:'{}';", strength(score - low, max - low), minus(&numbers.of(choice.sign(), score))));
        }
    }
    out.truncate(out.len() - usize::from(out.ends_with(';')));
    put(out, format_args!("\">{}</span>", escape(&run.text)));
}

/// A line of a table: a feature, or a run of text.
enum Unit<'a> {
    Feature(&'a Feature),
    Run(&'a Run),
}

/// Every unit that has a score.
fn rows<'a>(view: &View<'a>, sections: &'a [Section], level: Level) -> Vec<(Unit<'a>, f64)> {
    match level {
        Level::Unit => {
            view.entries().into_iter().filter(|e| e.feature.region.is_none()).map(|e| (Unit::Feature(e.feature), e.score)).collect()
        }
        _ => sections.iter().flat_map(|s| &s.runs).filter_map(|r| Some((Unit::Run(r), view.sum(&r.features)?))).collect(),
    }
}

fn legend(out: &mut String, max: f64, numbers: Numbers, sign: Sign) {
    if max == 0.0 {
        return out.push_str("<p class=\"note\">All scores are zero.</p>\n");
    }
    if sign == Sign::Unsigned {
        let high = numbers.of(sign, max);
        return put(
            out,
            format_args!(
                "<p class=\"legend\"><span>counts little</span> <span class=\"num\">0</span> <i class=\"share\"></i> \
                 <span class=\"num\">{high}</span> <span class=\"for\">much</span></p>\n"
            ),
        );
    }
    let (low, high) = (minus(&numbers.signed(-max)), numbers.signed(max));
    put(
        out,
        format_args!(
            "<p class=\"legend\"><span class=\"against\">opposes</span> <span class=\"num\">{low}</span> <i></i> \
             <span class=\"num\">{high}</span> <span class=\"for\">supports</span></p>\n"
        ),
    );
}

fn tables(out: &mut String, view: &View<'_>, rows: Vec<(Unit<'_>, f64)>, (max, numbers): (f64, Numbers), top: usize) {
    let (mut supporting, mut opposing): (Vec<_>, Vec<_>) = rows.into_iter().filter(|(_, v)| *v != 0.0).partition(|(_, v)| *v > 0.0);
    supporting.sort_by(|a, b| b.1.total_cmp(&a.1));
    opposing.sort_by(|a, b| a.1.total_cmp(&b.1));
    out.push_str("<div class=\"tops\">\n");
    let first = if view.sign() == Sign::Signed { "strongest for" } else { "strongest" };
    for (class, name, rows) in [("for", first, supporting), ("against", "strongest against", opposing)] {
        if rows.is_empty() || top == 0 {
            continue;
        }
        put(
            out,
            format_args!("<table class=\"{class}\"><caption>{name} <small>({} of {})</small></caption>\n", rows.len().min(top), rows.len()),
        );
        for (unit, score) in rows.iter().take(top) {
            let text = match unit {
                Unit::Feature(feature) => view.name(feature),
                Unit::Run(run) => Cow::Borrowed(run.text.as_str()),
            };
            let share = 100.0 * strength(*score, max).abs();
            put(
                out,
                format_args!(
                    "<tr><td class=\"num\">{}<td class=\"bar\"><i style=\"width:{share:.1}%\"></i><td><bdi>{}</bdi>\n",
                    minus(&numbers.of(view.sign(), *score)),
                    escape(&label(&text, LABEL))
                ),
            );
        }
        out.push_str("</table>\n");
    }
    out.push_str("</div>\n");
}

//! The comparison as one page that needs nothing else: a table of strengths, the text once for every method, agreement, cost, what was left out.

use pellucid_core::{Comparison, Result, Sign};

use super::{Column, page, picture};
use crate::{
    Options,
    aggregate::Level,
    describe,
    escape::label,
    html::picture::{PICTURE_STYLE, legend, picture_variable},
    html::{JSON_END, STYLE, embedded, escape, map, minus, open, put, themes},
    json,
    layout::sections,
    picture::{
        decode::address,
        layer::png,
        scene::{Scene, Shown},
    },
    scale::Numbers,
};

const OWN_STYLE: &str = include_str!("page.css");
const JSON_BEGIN: &str = "<script type=\"application/json\" id=\"pellucid-compare\">";
/// Pixels of a map's longer edge.
const MULTIPLE: f64 = 400.0;
/// Numbers of the table, at most: some megabytes of page.
const MAX_CELLS: usize = 200_000;

pub(super) fn draw(c: &Comparison, options: &Options) -> Result<Vec<u8>> {
    let columns = Column::all(c);
    let title = options.title.as_deref().map_or_else(|| page::heading(c), |t| label(t, 400));
    let mut out = open(&title, &format!("{}{STYLE}{PICTURE_STYLE}{OWN_STYLE}", themes(options.theme, Sign::Signed)));
    put(&mut out, format_args!("<main class=\"wide\">\n<header><h1>{}</h1>\n", escape(&title)));
    for fact in c.attributions.first().map(page::facts).unwrap_or_default() {
        put(&mut out, format_args!("<p>{}</p>\n", escape(&fact)));
    }
    out.push_str("</header>\n");
    if let Some(first) = columns.first() {
        match picture::scenes(&columns, options)? {
            Some(scenes) => {
                pictures(&mut out, &columns, &scenes)?;
                out.push_str("<details><summary>All scores</summary>\n");
                strengths(&mut out, &columns, &picture::names(&scenes[0]));
                out.push_str("</details>\n");
            }
            None => strengths(&mut out, &columns, &first.names()),
        }
        if first.view.a.input.image.is_none() || describe::has_words(first.view.a) {
            maps(&mut out, &columns)?;
        }
        if columns.len() > 1 {
            agreement(&mut out, c, &columns);
        }
        costs(&mut out, &columns);
    }
    left_out(&mut out, c);
    out.push_str("</main>\n");
    let json = json::escaped(&serde_json::to_string(c).map_err(json::failed)?, "<>&");
    put(&mut out, format_args!("{JSON_BEGIN}{json}{JSON_END}\n"));
    Ok(out.into_bytes())
}

/// The JSON that such a page carries.
pub(super) fn embedded_json(page: &[u8]) -> Option<&[u8]> {
    embedded(page, JSON_BEGIN)
}

fn strengths(out: &mut String, columns: &[Column<'_>], names: &[String]) {
    let features = &columns[0].view.a.features;
    let most = (MAX_CELLS / columns.len()).min(features.len());
    put(out, format_args!("<h2>Unit by unit</h2>\n<p class=\"note\">{}</p>\n", escape(page::NORMALISED)));
    out.push_str(heads(columns));
    columns.iter().for_each(|c| put(out, format_args!("<th scope=\"col\"><span>{}</span>", escape(&label(c.id(), 40)))));
    out.push_str("</thead><tbody>\n");
    for (i, feature) in features.iter().enumerate().take(most) {
        let special = if feature.special { " class=\"special\"" } else { "" };
        put(out, format_args!("<tr><th scope=\"row\"{special}><bdi>{}</bdi>", escape(&label(&names[i], 60))));
        columns.iter().for_each(|c| {
            let share = if c.sign == Sign::Unsigned { " share" } else { "" };
            let raw = minus(&Numbers::up_to(c.max).of(c.sign, c.view.a.scores.combined[i]));
            let (v, number) = (c.strength(i), minus(&c.number(i)));
            put(out, format_args!("<td class=\"c{share}\" style=\"--v:{v:.3}\" title=\"{raw}\">{number}"));
        });
        out.push('\n');
    }
    out.push_str("</tbody></table></div>\n");
    if most < features.len() {
        put(out, format_args!("<p class=\"note\">{most} of {} units; the JSON inside this page has them all.</p>\n", features.len()));
    }
}

/// The beginning of a table with a column a method; many names stand upright, so that all columns are seen at once.
fn heads(columns: &[Column<'_>]) -> &'static str {
    match columns.len() > 6 {
        true => "<div class=\"scroll upright\"><table><thead><tr><th>",
        false => "<div class=\"scroll\"><table><thead><tr><th>",
    }
}

/// Small multiples: the picture, then every method's map over it.
fn pictures(out: &mut String, columns: &[Column<'_>], scenes: &[Scene<'_>]) -> Result<()> {
    let image = scenes[0].image;
    let mut common = scenes[0].notes(Shown::Fine);
    common.retain(|note| scenes.iter().all(|s| s.notes(Shown::Fine).contains(note)));
    let name = image.name.as_deref().map_or("picture".into(), |n| label(n, 60));
    put(
        out,
        format_args!(
            "<h2>In the picture</h2>\n<style>{}</style>\n<div class=\"multiples\">\n<section><h3>{n}</h3>\
             <div class=\"photo\" role=\"img\" aria-label=\"{n}\"></div></section>\n",
            picture_variable(image),
            n = escape(&name)
        ),
    );
    for (column, scene) in columns.iter().zip(scenes) {
        let layer = scene.look.over(&scene.heat(scene.fitting(MULTIPLE, MULTIPLE), None)?, &scene.photo)?;
        let sign = if scene.sign == Sign::Unsigned { "no sign" } else { "" };
        let id = escape(&label(column.id(), 40));
        put(
            out,
            format_args!(
                "<section><h3>{id} <small>{sign}</small></h3><div class=\"photo\"><img class=\"layer\" alt=\"heat map of {id}\" src=\"{}\"></div>",
                address(&png(&layer)?)
            ),
        );
        legend(out, scene);
        let strongest = minus(&picture::strongest(scene, 3).join(" · "));
        let own: Vec<String> = scene.notes(Shown::Fine).into_iter().filter(|n| !common.contains(n)).collect();
        for note in [strongest, own.join(" · ")].iter().filter(|n| !n.is_empty()) {
            put(out, format_args!("<p class=\"note\">{}</p>", escape(note)));
        }
        out.push_str("</section>\n");
    }
    put(out, format_args!("</div>\n<p class=\"note\">{}</p>\n", escape(&common.join(" · "))));
    Ok(())
}

fn maps(out: &mut String, columns: &[Column<'_>]) -> Result<()> {
    out.push_str("<h2>In the text</h2>\n<div class=\"maps\">\n");
    for column in columns {
        let share = if column.sign == Sign::Unsigned { " class=\"share\"" } else { "" };
        let sign = if column.sign == Sign::Unsigned { "no sign" } else { "" };
        put(out, format_args!("<section{share}><h3>{} <small>{sign}</small></h3>\n", escape(&label(column.id(), 40))));
        let sections = sections(column.view.a, Level::Unit)?;
        let max = column.view.max(&sections);
        let scale = map::Scale { low: column.low, max, numbers: Numbers::up_to(max) };
        for section in &sections {
            out.push_str("<div class=\"text\" dir=\"auto\">");
            section.runs.iter().for_each(|r| map::run(out, r, &[column.view], &[scale]));
            out.push_str("</div>\n");
        }
        out.push_str("</section>\n");
    }
    out.push_str("</div>\n");
    Ok(())
}

fn agreement(out: &mut String, c: &Comparison, columns: &[Column<'_>]) {
    put(out, format_args!("<h2>Do they agree?</h2>\n<p class=\"note\">{}</p>\n", escape(page::AGREEMENT)));
    out.push_str(heads(columns));
    columns.iter().for_each(|c| put(out, format_args!("<th scope=\"col\"><span>{}</span>", escape(&label(c.id(), 40)))));
    out.push_str("</thead><tbody>\n");
    for (column, row) in columns.iter().zip(&c.rank_correlation) {
        put(out, format_args!("<tr><th scope=\"row\">{}", escape(&label(column.id(), 40))));
        for rho in row {
            match rho {
                Some(rho) => put(out, format_args!("<td class=\"c\" style=\"--v:{rho:.3}\">{}", minus(&format!("{rho:.2}")))),
                None => out.push_str("<td class=\"c\">–"),
            }
        }
        out.push('\n');
    }
    out.push_str("</tbody></table></div>\n");
}

fn costs(out: &mut String, columns: &[Column<'_>]) {
    out.push_str("<h2>What it took, and what was promised</h2>\n<div class=\"scroll\"><table><thead><tr><th>");
    for name in ["passes up", "passes down", "seconds", "peak memory"] {
        put(out, format_args!("<th scope=\"col\">{name}"));
    }
    out.push_str(
        "<th scope=\"col\" style=\"text-align:left\">promise<th scope=\"col\" style=\"text-align:left\">parameters</thead><tbody>\n",
    );
    for column in columns {
        let a = column.view.a;
        put(out, format_args!("<tr><th scope=\"row\">{}", escape(&label(column.id(), 40))));
        page::cost(a).iter().for_each(|cell| put(out, format_args!("<td class=\"c\">{}", escape(cell))));
        let parameters: Vec<String> = describe::parameters(a).map(|(k, v)| format!("{k} {}", describe::value(v, 40))).collect();
        put(out, format_args!("<td>{}<td>{}\n", escape(&minus(&page::promises(a))), escape(&label(&parameters.join(" · "), 160))));
    }
    out.push_str("</tbody></table></div>\n");
}

fn left_out(out: &mut String, c: &Comparison) {
    if c.left_out.is_empty() {
        return;
    }
    out.push_str("<h2>Left out</h2>\n<table>\n");
    for left in &c.left_out {
        put(out, format_args!("<tr><th scope=\"row\">{}<td>{}\n", escape(&label(&left.method, 40)), escape(&page::left_out(left))));
    }
    out.push_str("</table>\n");
}

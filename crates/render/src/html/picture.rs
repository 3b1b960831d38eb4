//! A picture's page: the picture, its heat map over it with a slider, a value for every patch, the strongest in a table.
//!
//! The picture lies in the page once, as a background image. Radio buttons choose between interpolated and plain patches, and
//! between the map over the picture and alone; a script of a few lines, in the page itself, moves the slider and the arrow keys. Without it
//! the page still shows everything, and values appear on hovering.

use pellucid_core::{ImageRecord, Region, Result, Sign};

use super::{STYLE, details, escape, map, minus, open, put, themes};
use crate::aggregate::Level;
use crate::picture::decode::address;
use crate::picture::heat::Heat;
use crate::picture::layer::{Look, png};
use crate::picture::names::Top;
use crate::picture::scene::{Scene, Shown};
use crate::picture::{Interpolation, Overlay};
use crate::view::View;
use crate::{Options, describe, escape::label, json};

pub(crate) const PICTURE_STYLE: &str = include_str!("picture.css");
const SCRIPT: &str = include_str!("picture.js");
/// Pixels of a layer's longer edge.
const LAYER: f64 = 560.0;
/// Parts with values of their own, at most.
const MAX_PARTS: usize = 4096;

pub(super) fn page(scene: &Scene<'_>, options: &Options) -> Result<Vec<u8>> {
    let (view, a) = (scene.view, scene.view.a);
    let heading = describe::heading(&view);
    let title = options.title.as_deref().map_or(heading, |t| label(t, 400));
    let style = format!("{}{STYLE}{PICTURE_STYLE}{}", themes(options.theme, scene.sign), picture_variable(scene.image));
    let mut out = open(&title, &style);
    for (group, i) in [('m', 0), ('m', 1), ('w', 0), ('w', 1)] {
        let first = if scene.interpolates() { 0 } else { 1 };
        super::radio(&mut out, group, i, i == if group == 'm' { first } else { 0 });
    }
    out.push_str("<input type=\"checkbox\" id=\"k\" checked>\n");
    put(&mut out, format_args!("<main>\n<header><h1>{}</h1>\n", escape(&title)));
    let mut facts = vec![describe::model(a), describe::method(a), describe::scores(&view)];
    facts.extend(describe::answered(a));
    facts.extend(
        a.target.contrast.iter().flat_map(|c| &c.tokens).take(4).map(|t| format!("contrast {}", describe::clean(a.target.kind, t))),
    );
    facts.iter().for_each(|fact| put(&mut out, format_args!("<p>{}</p>\n", escape(fact))));
    out.push_str("</header>\n");
    let tops = scene.top(options.top);
    figures(&mut out, scene, options, &tops)?;
    legend(&mut out, scene);
    put(&mut out, format_args!("<p class=\"note\">{}</p>\n", escape(&scene.notes(Shown::Fine).join(" · "))));
    tables(&mut out, scene, &tops);
    words(&mut out, &view, options)?;
    for line in describe::promises(a) {
        put(&mut out, format_args!("<p class=\"note\">{}</p>\n", escape(&line)));
    }
    out.push_str(&details::details(&view));
    out.push_str("</main>\n");
    put(&mut out, format_args!("{}{}{}\n", super::JSON_BEGIN, json::embeddable(a)?, super::JSON_END));
    put(&mut out, format_args!("<script>\n{SCRIPT}</script>\n"));
    Ok(out.into_bytes())
}

/// The picture as a property of the style sheet. Its address holds base64 only: it was unpacked before.
pub(crate) fn picture_variable(image: &ImageRecord) -> String {
    format!(":root{{--picture:url({});--shape:{}/{}}}\n", image.picture, image.width, image.height)
}

fn figures(out: &mut String, scene: &Scene<'_>, options: &Options, tops: &(Vec<Top>, Vec<Top>)) -> Result<()> {
    out.push_str("<div class=\"switches\">");
    if scene.interpolates() {
        let plain = if scene.has_pixels() { "pixel by pixel" } else { "patch by patch" };
        put(
            out,
            format_args!(
                "<nav aria-label=\"map\"><span class=\"cap\">map</span><label for=\"m0\">interpolated</label><label for=\"m1\">{plain}</label></nav>"
            ),
        );
    }
    out.push_str("<nav aria-label=\"shown\"><span class=\"cap\">shown</span><label for=\"w0\">over the picture</label><label for=\"w1\">alone</label><label for=\"k\">marks</label></nav>");
    let percent = if scene.look.overlay == Overlay::AsPublished { 100.0 } else { (100.0 * options.opacity).round() };
    put(
        out,
        format_args!(
            "<p class=\"slider\" hidden><label for=\"o\" class=\"cap\">opacity</label><input type=\"range\" id=\"o\" min=\"0\" max=\"100\" value=\"{percent}\"><output for=\"o\">{percent}%</output></p></div>\n"
        ),
    );
    let name = scene.image.name.as_deref().map_or("picture".into(), |n| label(n, 60));
    put(
        out,
        format_args!(
            "<div class=\"pair\">\n<figure><figcaption>{n}</figcaption><div class=\"photo\" role=\"img\" aria-label=\"{n}\">",
            n = escape(&name)
        ),
    );
    for (class, tops) in [("against", &tops.1), ("for", &tops.0)] {
        for top in tops.iter().rev().filter(|t| t.marked) {
            let place = place(&scene.boxes.parts[top.part].region);
            put(out, format_args!("<b class=\"mark {class}\" style=\"{place}\" aria-hidden=\"true\"><span>{}</span></b>", top.tag));
        }
    }
    out.push_str("</div></figure>\n");
    put(out, format_args!("<figure><figcaption>heat map</figcaption><div class=\"photo map\" style=\"--o:{}%\">", percent));
    let size = scene.fitting(LAYER, LAYER);
    for (class, interpolation) in [("smooth", Interpolation::Bilinear), ("flat", Interpolation::Nearest)] {
        if class == "smooth" && !scene.interpolates() {
            continue;
        }
        let heat = scene.heat(size, Some(interpolation))?;
        for (kind, layer) in layers(&Look { opacity: 1.0, ..scene.look }, &heat, scene)? {
            put(out, format_args!("<img class=\"{kind} {class}\" alt=\"\" src=\"{layer}\">"));
        }
    }
    let told = if cells(out, scene) {
        "&nbsp;".into()
    } else {
        format!("more than {MAX_PARTS} parts: their values are in the JSON inside this page")
    };
    put(out, format_args!("</div><p class=\"readout\" role=\"status\">{told}</p></figure>\n</div>\n"));
    Ok(())
}

fn layers(look: &Look, heat: &Heat, scene: &Scene<'_>) -> Result<[(&'static str, String); 2]> {
    Ok([("over", address(&png(&look.over(heat, &scene.photo)?)?)), ("alone", address(&png(&look.map(heat))?))])
}

/// `left:…%;top:…%;width:…%;height:…%`.
pub(crate) fn place(r: &Region) -> String {
    let [left, top, width, height] = [r.left, r.top, r.width, r.height].map(|v| format!("{:.3}%", 100.0 * v));
    format!("left:{left};top:{top};width:{width};height:{height}")
}

/// A value for every part: row by row, so that arrow keys find their neighbours. `false` if there are too many.
fn cells(out: &mut String, scene: &Scene<'_>) -> bool {
    let parts = &scene.boxes.parts;
    if parts.len() > MAX_PARTS {
        return false;
    }
    let ranks = scene.ranks();
    let (order, columns): (Vec<usize>, usize) = match &scene.boxes.grid {
        Some(grid) => (grid.cells.clone(), grid.size()[1]),
        None => ((0..parts.len()).collect(), 1),
    };
    put(out, format_args!("<div class=\"cells\" data-columns=\"{columns}\" role=\"group\" aria-label=\"values; arrow keys move\">"));
    for i in order {
        let told = format!("{}: {}, rank {} of {}", scene.place(i), minus(&scene.number(parts[i].score)), ranks[i], parts.len());
        put(
            out,
            format_args!(
                "<i id=\"c{i}\" role=\"img\" style=\"{}\" title=\"{told}\" aria-label=\"{told}\"></i>",
                place(&parts[i].region),
                told = escape(&told)
            ),
        );
    }
    out.push_str("</div>");
    true
}

/// The scale, its ends in numbers, what they mean.
pub(crate) fn legend(out: &mut String, scene: &Scene<'_>) {
    let Some((low, high)) = scene.ends() else { return };
    let signed = scene.sign == Sign::Signed;
    let (less, more) = if signed { ("opposes", "supports") } else { ("counts little", "much") };
    put(
        out,
        format_args!(
            "<p class=\"legend\"><span>{less}</span> <span class=\"num\">{}</span> <i style=\"background:{}\"></i> \
             <span class=\"num\">{}</span> <span>{more}</span></p>\n",
            minus(&low),
            gradient(scene),
            minus(&high)
        ),
    );
}

fn gradient(scene: &Scene<'_>) -> String {
    let stop = |i: u32| {
        let share = f64::from(i) / 24.0;
        let [r, g, b] = scene.look.colour(if scene.sign == Sign::Signed { 2.0 * share - 1.0 } else { share });
        format!("#{r:02x}{g:02x}{b:02x}")
    };
    format!("linear-gradient(90deg,{})", (0..=24).map(stop).collect::<Vec<_>>().join(","))
}

fn tables(out: &mut String, scene: &Scene<'_>, (supporting, opposing): &(Vec<Top>, Vec<Top>)) {
    let most = scene.boxes.parts.iter().fold(0.0f64, |max, p| p.score.abs().max(max));
    let first = if scene.sign == Sign::Signed { "strongest for" } else { "strongest" };
    out.push_str("<div class=\"tops\">\n");
    for (class, name, tops) in [("for", first, supporting), ("against", "strongest against", opposing)] {
        if tops.is_empty() {
            continue;
        }
        let all = scene.boxes.parts.iter().filter(|p| if class == "for" { p.score > 0.0 } else { p.score < 0.0 }).count();
        put(out, format_args!("<table class=\"{class}\"><caption>{name} <small>({} of {all})</small></caption>\n", tops.len()));
        for top in tops {
            let part = &scene.boxes.parts[top.part];
            let place = escape(&scene.place(top.part));
            let place = match scene.boxes.parts.len() <= MAX_PARTS {
                true => format!("<a href=\"#c{}\">{place}</a>", top.part),
                false => place,
            };
            put(
                out,
                format_args!(
                    "<tr><td class=\"tag\">{}<td class=\"num\">{}<td class=\"bar\"><i style=\"width:{:.1}%\"></i><td>{place} <small>{}</small>\n",
                    top.tag,
                    minus(&scene.number(part.score)),
                    100.0 * part.score.abs() / most,
                    escape(&scene.pixels(top.part))
                ),
            );
        }
        out.push_str("</table>\n");
    }
    out.push_str("</div>\n");
}

/// The text that stands beside the picture, where its parts have scores too.
fn words(out: &mut String, view: &View<'_>, options: &Options) -> Result<()> {
    if describe::has_words(view.a) {
        out.push_str("<section class=\"words\">\n");
        out.push_str(&map::section(&[*view], Level::Unit, options.top)?);
        out.push_str("</section>\n");
    }
    Ok(())
}

//! The small print: how to read the page, which model, which parameters, what it cost.

use pellucid_core::{ImageRecord, Region, Sign, TargetKind, TargetToken};

use super::{MAX_TARGETS, escape, minus, put};
use crate::describe;
use crate::view::View;

const SIGNED: &str = "Blue with a solid line speaks for the target, red with a dotted line against it.";
const UNSIGNED: &str = "The deeper the violet, the more a word counts for the target; whether for or against it, these scores do not say.";
const READING: &str = "Colour is relative to the largest magnitude shown; hover for values. Words and sentences carry the sum of their tokens’ scores, \
    and so does a character that several tokens share.";

const PICTURE_SIGNED: &str = "Blue speaks for the target, red against it, white is zero. Marks with figures and whole lines are the strongest for it, with letters and broken lines the strongest against it.";
const PICTURE_UNSIGNED: &str =
    "The lighter, the more a part counts for the target; whether for or against it, these scores do not say. Marks are on the strongest.";
const PICTURE_READING: &str = "Over the picture a colour is the fainter the weaker its score. Rows and columns are counted from 0 at the upper left; x and y are pixels of the original picture.";

pub(super) fn details(view: &View<'_>) -> String {
    let a = view.a;
    let colours = if view.sign() == Sign::Signed { SIGNED } else { UNSIGNED };
    let (colours, reading) = match (&a.input.image, view.sign()) {
        (None, _) => (colours, READING),
        (Some(_), Sign::Signed) => (PICTURE_SIGNED, PICTURE_READING),
        (Some(_), Sign::Unsigned) => (PICTURE_UNSIGNED, PICTURE_READING),
    };
    let mut out = format!("<details><summary>How to read this, and how it was made</summary>\n<p>{colours} {reading}</p>\n");
    let mut rows = vec![
        ("model".to_owned(), a.model.id.clone()),
        ("architecture".into(), a.model.architecture.clone()),
        ("arithmetic".into(), format!("{} on {}", a.model.dtype, a.model.device)),
    ];
    rows.extend(a.model.files.iter().map(|f| {
        let hash = f.sha256.as_ref().map_or("sha256 unknown".into(), |h| format!("sha256 {h}"));
        (f.name.clone(), format!("{} · {hash}", describe::bytes(f.bytes)))
    }));
    table(&mut out, "Model", &rows);
    if let Some(image) = &a.input.image {
        table(&mut out, "Picture", &picture(image));
    }

    let m = &a.method;
    let mut rows = vec![("method".to_owned(), m.id.clone()), ("units".into(), m.units.clone())];
    rows.extend(describe::parameters(a).map(|(k, v)| (k.to_owned(), describe::value(v, 400))));
    rows.extend(m.seed.map(|s| ("seed".into(), s.to_string())));
    rows.push(("post-processing".into(), m.postprocessing.clone()));
    rows.push(("explained".into(), format!("{} ({})", a.target.score, a.target.origin)));
    table(&mut out, "Method", &rows);

    let of = |what: &str| match a.target.kind {
        TargetKind::Continuation => format!("{what} tokens"),
        TargetKind::Class => format!("{what} class"),
        TargetKind::MaskedToken => format!("{what} at the mask"),
        TargetKind::Similarity => format!("{what} similarity"),
        TargetKind::Match => format!("{what} {}", describe::other(a)),
    };
    tokens(&mut out, &of("Target"), &a.target.tokens);
    if let Some(contrast) = &a.target.contrast {
        tokens(&mut out, &of("Contrast"), &contrast.tokens);
    }

    let c = &a.cost;
    let rows = [
        ("cost".to_owned(), describe::cost(c)),
        ("rows through a layer".into(), c.rows.to_string()),
        ("arithmetic".into(), format!("{:.1} GFLOP", c.gflop)),
        ("input tokens".into(), a.input.tokens.len().to_string()),
        ("written by".into(), format!("Pellucid {}", a.tool_version)),
    ];
    table(&mut out, "Cost", &rows);
    out + "</details>\n"
}

fn picture(image: &ImageRecord) -> Vec<(String, String)> {
    let Region { left, top, width, height } = image.seen;
    let percent = |v: f64| format!("{:.1} %", 100.0 * v);
    vec![
        ("file".into(), image.name.clone().unwrap_or_default()),
        ("size".into(), format!("{} × {} pixels", image.width, image.height)),
        ("sha256".into(), image.sha256.clone()),
        (
            "seen by the model".into(),
            format!("{} of the width from {}, {} of the height from {}", percent(width), percent(left), percent(height), percent(top)),
        ),
        ("patches".into(), format!("{} × {} (rows × columns)", image.grid[0], image.grid[1])),
    ]
}

fn table(out: &mut String, name: &str, rows: &[(String, String)]) {
    put(out, format_args!("<table><caption>{name}</caption>\n"));
    for (key, value) in rows.iter().filter(|(_, v)| !v.is_empty()) {
        put(out, format_args!("<tr><th scope=\"row\">{}<td>{}\n", escape(key), escape(value)));
    }
    out.push_str("</table>\n");
}

fn tokens(out: &mut String, name: &str, tokens: &[TargetToken]) {
    put(out, format_args!("<table class=\"tokens\"><caption>{name}</caption>\n"));
    out.push_str("<tr><th scope=\"col\">token<th scope=\"col\">id<th scope=\"col\">log-probability<th scope=\"col\">probability<th scope=\"col\">logit<th scope=\"col\">rank\n");
    for t in tokens.iter().take(MAX_TARGETS) {
        let (log, logit) = (minus(&format!("{:.4}", t.log_probability)), minus(&format!("{:.4}", t.logit)));
        let p = describe::probability(t.probability);
        put(out, format_args!("<tr><td>{}<td>{}<td>{log}<td>{p}<td>{logit}<td>{}\n", escape(&describe::token(t)), t.id, t.rank));
    }
    if tokens.len() > MAX_TARGETS {
        put(out, format_args!("<tr><td colspan=\"6\">… and {} more, in the JSON inside this page\n", tokens.len() - MAX_TARGETS));
    }
    out.push_str("</table>\n");
}

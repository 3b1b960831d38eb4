//! What every form says in words: the heading, the model, the method, the target, the cost.

use pellucid_core::{Attribution, CostRecord, TargetToken};
use serde_json::Value;

use crate::escape::label;
use crate::view::View;

/// Longest piece of outside text within a sentence of ours, in columns.
const QUOTED: usize = 48;

/// In quotes, white space made visible, cut where it is long.
pub(crate) fn quoted(text: &str) -> String {
    format!("“{}”", label(text, QUOTED))
}

/// A target token by its text, or by its id where it has none.
pub(crate) fn token(t: &TargetToken) -> String {
    if t.text.is_empty() { format!("#{}", t.id) } else { quoted(&t.text) }
}

/// Target or contrast as a whole.
fn whole(text: &Option<String>, tokens: &[TargetToken]) -> String {
    match text {
        Some(text) => quoted(text.trim_matches(' ')),
        None => {
            let named: Vec<String> = tokens.iter().take(6).map(token).collect();
            format!("{}{}", named.join(" "), if tokens.len() > 6 { " …" } else { "" })
        }
    }
}

/// One line: what is explained.
pub(crate) fn heading(view: &View<'_>) -> String {
    let target = &view.a.target;
    match (view.target_token, &target.contrast) {
        (Some(t), _) => format!("What speaks for {}", token(&target.tokens[t]).replace("“ ", "“")),
        (None, Some(c)) => format!("What speaks for {} rather than {}", whole(&target.text, &target.tokens), whole(&c.text, &c.tokens)),
        (None, None) => format!("What speaks for {}", whole(&target.text, &target.tokens)),
    }
}

/// Which scores these are, where that is not plain from the heading.
pub(crate) fn scores(view: &View<'_>) -> String {
    let target = &view.a.target;
    let unit = if target.score == "logit" { "logit" } else { "nats" };
    let what = match (view.target_token, target.tokens.len()) {
        (Some(t), n) => format!("target token {} of {n}, raw", t + 1),
        (None, 1) if target.contrast.is_none() => String::new(),
        (None, 1) => "target minus contrast".into(),
        (None, n) if target.contrast.is_some() => format!("target minus contrast, summed over {}", counted(n, "target token")),
        (None, n) => format!("summed over {n} target tokens"),
    };
    let post = match view.a.method.postprocessing.as_str() {
        "none" | "" => String::new(),
        _ if view.target_token.is_some() => String::new(),
        post => format!("post-processing: {}", label(post, QUOTED)),
    };
    let parts = [format!("change of {} ({unit})", label(&target.score, QUOTED)), what, post];
    parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// The model in one line.
pub(crate) fn model(a: &Attribution) -> String {
    let m = &a.model;
    [&m.id, &m.architecture, &m.dtype, &m.device]
        .map(|s| label(s, 64))
        .into_iter()
        .filter(|s| !s.is_empty())
        .collect::<Vec<_>>()
        .join(" · ")
}

/// The method and its parameters in one line; a list or an object is left to the forms that have room.
pub(crate) fn method(a: &Attribution) -> String {
    let m = &a.method;
    let mut parts = vec![label(&m.id, 40), format!("by {}", label(&m.units, 24))];
    parts.extend(
        parameters(a).filter(|(_, v)| !v.is_array() && !v.is_object()).take(8).map(|(k, v)| format!("{} {}", label(k, 24), value(v, 24))),
    );
    parts.extend(m.seed.map(|s| format!("seed {s}")));
    parts.join(" · ")
}

/// The method's parameters that are set.
pub(crate) fn parameters(a: &Attribution) -> impl Iterator<Item = (&str, &Value)> {
    a.method.parameters.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.as_str(), v))
}

/// A parameter's value on one line.
pub(crate) fn value(v: &Value, columns: usize) -> String {
    match v {
        Value::String(s) => label(s, columns),
        other => label(&other.to_string(), columns),
    }
}

/// `“ Paris” p 0.774 rank 0`.
pub(crate) fn clean(t: &TargetToken) -> String {
    format!("{} p {} rank {}", token(t), probability(t.probability), t.rank)
}

/// Three decimals, or a power of ten where those would be zero.
pub(crate) fn probability(p: f64) -> String {
    if p >= 0.0005 || p == 0.0 { format!("{p:.3}") } else { format!("{p:.1e}") }
}

/// What it cost, in one line.
pub(crate) fn cost(c: &CostRecord) -> String {
    let mut parts = vec![counted(c.forwards, "forward")];
    if c.backwards > 0 {
        parts.push(counted(c.backwards, "backward"));
    }
    parts.push(counted(c.sweeps, "sweep"));
    parts.push(seconds(c.wall_ms));
    parts.extend(c.peak_bytes.map(|b| format!("peak {}", bytes(b))));
    parts.join(" · ")
}

/// `1 sweep`, `2 sweeps`.
pub(crate) fn counted(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

fn seconds(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.2} s", ms / 1000.0) }
}

/// Decimal units.
pub(crate) fn bytes(n: u64) -> String {
    match n as f64 {
        n if n >= 1e9 => format!("{:.2} GB", n / 1e9),
        n if n >= 1e6 => format!("{:.0} MB", n / 1e6),
        n if n >= 1e3 => format!("{:.0} kB", n / 1e3),
        n => format!("{n} B"),
    }
}

//! What every form says in words: the heading, the model, the method, the target, the cost.

use pellucid_core::{Attribution, CostRecord, Promise, Sign, TargetKind, TargetRecord, TargetToken};
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
fn whole(a: &Attribution, text: &Option<String>, tokens: &[TargetToken]) -> String {
    let kind = a.target.kind;
    let whole = match text {
        Some(text) => quoted(text.trim_matches(' ')),
        None if kind == TargetKind::Similarity => "another text".into(),
        None => {
            let named: Vec<String> = tokens.iter().take(6).map(token).collect();
            format!("{}{}", named.join(" "), if tokens.len() > 6 { " …" } else { "" })
        }
    };
    match kind {
        TargetKind::Class => format!("the class {whole}"),
        TargetKind::Match => format!("the {} {whole}", other(a)),
        TargetKind::Similarity => format!("the similarity to {whole}"),
        TargetKind::Continuation | TargetKind::MaskedToken => whole,
    }
}

/// What a picture is matched with, or a text.
pub(crate) fn other(a: &Attribution) -> &'static str {
    if a.input.image.is_some() { "text" } else { "picture" }
}

/// Where a masked token stands.
fn at_mask(target: &TargetRecord) -> &'static str {
    if target.kind == TargetKind::MaskedToken { " at the mask" } else { "" }
}

/// One line: what is explained.
pub(crate) fn heading(view: &View<'_>) -> String {
    // A score without a direction does not speak for anything.
    let what = if view.sign() == Sign::Signed { "What speaks for" } else { "What counts for" };
    format!("{what} {}", explained(view))
}

/// The target, and what it is set against.
pub(crate) fn explained(view: &View<'_>) -> String {
    let (target, kind) = (&view.a.target, view.a.target.kind);
    let of_target = || format!("{}{}", whole(view.a, &target.text, &target.tokens), at_mask(target));
    match (view.target_token, &target.contrast) {
        (Some(t), _) if kind == TargetKind::Continuation => token(&target.tokens[t]).replace("“ ", "“"),
        (None, Some(c)) => format!("{} rather than {}", of_target(), whole(view.a, &c.text, &c.tokens)),
        (_, _) => of_target(),
    }
}

/// Which scores these are, where that is not plain from the heading.
pub(crate) fn scores(view: &View<'_>) -> String {
    let target = &view.a.target;
    let explained = match (target.kind, target.score.as_str()) {
        (TargetKind::Similarity, _) => "cosine similarity".to_owned(),
        (TargetKind::Match, "logit") => "scaled cosine of picture and text".to_owned(),
        (_, "log-probability") => "log-probability (nats)".to_owned(),
        (_, score) => label(score, QUOTED),
    };
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
    let sign = if view.a.method.sign == Sign::Unsigned { "scores without a sign" } else { "" };
    let parts = [format!("explains the {explained}"), what, sign.into(), post];
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
    if let Some(controls) = a.input.image.as_ref().map(|i| &i.controls).filter(|c| !c.is_empty()) {
        let factors: Vec<String> = controls.iter().take(8).map(|c| format!("×{}", c.factor)).collect();
        let parts_of = if controls.len() == 1 { "a part" } else { "parts" };
        parts.push(format!("attention to {parts_of} of the picture {} throughout", factors.join(", ")));
    }
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

/// `“ Paris” p 0.774 rank 0`; of a similarity, the cosine.
pub(crate) fn clean(kind: TargetKind, t: &TargetToken) -> String {
    match kind {
        TargetKind::Similarity => format!("cosine {:.4}", t.logit),
        _ => format!("{} {}", token(t), standing(kind, t)),
    }
}

/// How the model sees it: `p 0.774 rank 0`, or the cosine; of a match, both.
pub(crate) fn standing(kind: TargetKind, t: &TargetToken) -> String {
    match kind {
        TargetKind::Similarity => format!("{:.4}", t.logit),
        TargetKind::Match => format!("{:.2} (scaled cosine) p {} among those given", t.logit, probability(t.probability)),
        _ => format!("p {} rank {}", probability(t.probability), t.rank),
    }
}

/// What the model answered to a picture: the target, the number that is explained, where it stands.
pub(crate) fn answered(a: &Attribution) -> Vec<String> {
    let told = |t: &TargetToken| match (a.target.kind, a.target.score.as_str()) {
        (TargetKind::Similarity | TargetKind::Match, _) => clean(a.target.kind, t),
        (kind, "logit") => format!("{} logit {:.3} {}", token(t), t.logit, standing(kind, t)),
        (kind, _) => clean(kind, t),
    };
    if a.target.tokens.len() > 4 { Vec::new() } else { a.target.tokens.iter().map(told).collect() }
}

/// What a text is called that stands below the prompt.
pub(crate) fn earlier(a: &Attribution) -> &'static str {
    if a.target.kind == TargetKind::Continuation { "earlier target tokens" } else { "text of the target" }
}

/// Whether something beside parts of a picture has a score.
pub(crate) fn has_words(a: &Attribution) -> bool {
    a.features.iter().any(|f| f.region.is_none())
}

/// A promise counts as kept if the sum is off by no more than this share of it: far above rounding, far below what an eye sees.
const KEPT: f64 = 0.01;

/// What came of the method's promises: one line for each kind, with the largest error.
pub(crate) fn promises(a: &Attribution) -> Vec<String> {
    let mut names: Vec<&str> = a.promises.iter().map(|p| p.name.as_str()).collect();
    names.dedup();
    names.iter().filter_map(|name| promise(a.promises.iter().filter(|p| p.name == *name))).collect()
}

/// `conservation kept: adds up to 9.1370, expected 9.1370 (off by 2.1e-5)`.
fn promise<'a>(sums: impl Iterator<Item = &'a Promise>) -> Option<String> {
    let all: Vec<&Promise> = sums.collect();
    let worst = all.iter().max_by(|a, b| error(a).total_cmp(&error(b)))?;
    let of = if all.len() > 1 { format!(", worst of {} target tokens", all.len()) } else { String::new() };
    let (got, expected) = (sum(worst.got), sum(worst.expected));
    let verdict = if all.iter().all(|p| kept(p)) { "kept" } else { "not kept" };
    Some(format!("{} {verdict}: adds up to {got}, expected {expected} (off by {:.1e}{of})", label(&worst.name, 40), error(worst)))
}

fn kept(promise: &Promise) -> bool {
    // Sums of nothing but rounding errors are as good as 0.
    error(promise) <= KEPT * promise.got.abs().max(promise.expected.abs()) + 1e-6
}

/// How far a promised sum is from what it should be.
fn error(promise: &Promise) -> f64 {
    (promise.got - promise.expected).abs()
}

fn sum(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e6).contains(&value.abs()) { format!("{value:.4e}") } else { format!("{value:.4}") }
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

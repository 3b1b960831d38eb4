//! What both pictures of a comparison say in words.

use pellucid_core::{Attribution, Comparison};

use crate::{describe, escape::label, view::View};

/// How scores are made comparable.
pub(super) const NORMALISED: &str = "For display, each method's scores are divided by its own largest magnitude, where they have no sign after the smallest was taken away; the file keeps them as they are.";
/// What the numbers of agreement are.
pub(super) const AGREEMENT: &str =
    "Spearman's rank correlation of the scores over all units; where one of two methods gives scores without a sign, of their magnitudes.";

/// One line: what is explained, and by how many methods.
pub(super) fn heading(c: &Comparison) -> String {
    let by = describe::counted(c.attributions.len(), "method");
    match c.attributions.first() {
        Some(a) => format!("What speaks for {}, by {by}", describe::explained(&View { a, target_token: None })),
        None => "No method could explain this".into(),
    }
}

/// The model, the target, the units.
pub(super) fn facts(a: &Attribution) -> Vec<String> {
    let target = &a.target;
    let clean =
        |tokens: &[pellucid_core::TargetToken]| -> Vec<String> { tokens.iter().take(4).map(|t| describe::clean(target.kind, t)).collect() };
    let mut facts = vec![
        describe::model(a),
        format!(
            "by {} · {}",
            label(&a.method.units, 24),
            describe::scores(&View { a, target_token: None }).replace(" · scores without a sign", "")
        ),
    ];
    facts.push(clean(&target.tokens).join(" · "));
    facts.extend(target.contrast.as_ref().map(|c| format!("contrast {}", clean(&c.tokens).join(" · "))));
    facts
}

/// What a method took: passes up, passes down, seconds, largest memory.
pub(super) fn cost(a: &Attribution) -> [String; 4] {
    let c = &a.cost;
    let seconds = format!("{:.2}", c.wall_ms / 1000.0);
    [c.forwards.to_string(), c.backwards.to_string(), seconds, c.peak_bytes.map_or(String::new(), describe::bytes)]
}

/// What came of a method's promises.
pub(super) fn promises(a: &Attribution) -> String {
    let told = describe::promises(a);
    if told.is_empty() { "no sum promised".into() } else { told.join("; ") }
}

/// `does not fit: …`.
pub(super) fn left_out(left: &pellucid_core::LeftOut) -> String {
    format!("{}: {}", if left.failed { "failed" } else { "does not fit" }, label(&left.reason, 400))
}

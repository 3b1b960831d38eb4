//! Does a comparison agree with itself: one question, the same features, a table as large as there are methods?

use pellucid_core::{COMPARISON_FORMAT, Comparison};

use crate::check as attribution;

/// Most methods that are compared. Far above what there are.
const MOST: usize = 256;

/// `Err` says which field is wrong, with the values, and what would be right.
pub(super) fn check(c: &Comparison) -> Result<(), String> {
    if c.format != COMPARISON_FORMAT {
        return Err(format!("format is {:?}, this version reads {COMPARISON_FORMAT:?}", c.format));
    }
    let methods = c.attributions.len();
    if methods > MOST {
        return Err(format!("attributions has {methods} entries, {MOST} is the most"));
    }
    for (i, a) in c.attributions.iter().enumerate() {
        let first = &c.attributions[0];
        attribution::without_picture(a).map_err(|problem| format!("attributions[{i}]: {problem}"))?;
        // The same input is unpacked once only; below another one is refused.
        if i == 0 {
            attribution::picture(a).map_err(|problem| format!("attributions[0]: {problem}"))?;
        }
        let ids = |t: &pellucid_core::TargetRecord| t.tokens.iter().map(|t| t.id).collect::<Vec<_>>();
        for (field, same) in [
            ("model.id", a.model.id == first.model.id),
            ("input", a.input == first.input),
            ("target", a.target.text == first.target.text && a.target.kind == first.target.kind && ids(&a.target) == ids(&first.target)),
            ("features", a.features == first.features),
        ] {
            if !same {
                return Err(format!("attributions[{i}].{field} is not that of attributions[0]; methods are compared on one question"));
            }
        }
    }
    if c.rank_correlation.len() != methods {
        return Err(format!("rank_correlation has {} rows for {methods} methods", c.rank_correlation.len()));
    }
    for (i, row) in c.rank_correlation.iter().enumerate() {
        if row.len() != methods {
            return Err(format!("rank_correlation[{i}] has {} entries for {methods} methods", row.len()));
        }
        if let Some((j, value)) = row.iter().enumerate().find_map(|(j, v)| v.filter(|v| !(-1.0..=1.0).contains(v)).map(|v| (j, v))) {
            return Err(format!("rank_correlation[{i}][{j}] is {value}, outside -1 to 1"));
        }
    }
    Ok(())
}

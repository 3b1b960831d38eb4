//! What a walk down refuses before it takes any memory. The walk through blocks taken apart refuses the same.

use super::Descent;
use crate::{Error, Result, control::Mode, engine::Engine, pass::symbols::check_input, walk::up::no_such_output};

/// Checks an input, its control, and everything that is asked of it against the model.
///
/// # Errors
/// Names what does not suit the model, and what would.
pub(crate) fn check(engine: &Engine<'_>, descent: &Descent) -> Result<()> {
    let (model, d) = (engine.model, engine.model.description());
    let n = descent.input.len();
    if n == 0 || n > d.context {
        return Err(Error::request(format!("the input has {n} tokens, the model takes 1 to {}", d.context)));
    }
    check_input(&descent.input, model.architecture())?;
    if d.pooled_rows(&descent.input).is_some_and(|rows| rows.is_empty()) {
        return Err(Error::request("the input has nothing but filler tokens; give at least one token of text"));
    }
    if descent.hidden.is_some() && descent.embedded.is_some() {
        return Err(Error::request("an input that begins after the embedding has no token embeddings to replace"));
    }
    let given = [
        ("hidden numbers", &descent.hidden, d.d_model + d.beside),
        ("numbers of token embeddings (or pixels)", &descent.embedded, model.symbol_width()),
    ];
    for (name, values, width) in given {
        if let Some(values) = values.as_ref().filter(|v| v.len() != n * width || v.iter().any(|x| !x.is_finite())) {
            return Err(Error::request(format!("{} {name} for {n} positions; there must be {} finite ones", values.len(), n * width)));
        }
    }
    let control = &descent.control;
    if control.mode() != Mode::LogAdditive && !control.factors().is_empty() {
        return Err(Error::Unsupported(format!("a walk down knows log-additive controls only, not {}", control.mode())));
    }
    for signal in &descent.signals {
        if signal.terms.is_empty() {
            return Err(Error::request("a signal has no term; give at least one score that it starts at"));
        }
    }
    for term in descent.signals.iter().flat_map(|s| &s.terms).chain(&descent.scored) {
        let rows = if d.outputs.pooling().is_some() { 1 } else { n };
        if term.row >= rows {
            return Err(Error::request(format!("target position {} is outside the scores, which have {rows} rows", term.row)));
        }
        if term.output as usize >= model.scores() {
            return Err(no_such_output(term.output, &d.outputs, model.scores()));
        }
    }
    Ok(())
}

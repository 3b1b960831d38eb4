//! What people and machines see, form by form.

mod cases;
mod compare;
mod fixtures;
mod heat_maps;
mod json;
mod pictures;
mod read_back;
mod safety;
mod snapshots;
mod text;

use pellucid_core::Attribution;
use pellucid_render::{Options, form};

/// A text form's output.
fn draw(id: &str, a: &Attribution, options: &Options) -> String {
    let bytes = form(id).unwrap_or_else(|| panic!("no form {id}")).render(a, options).unwrap_or_else(|e| panic!("{id}: {e}"));
    String::from_utf8(bytes).unwrap_or_else(|e| panic!("{id}: {e}"))
}

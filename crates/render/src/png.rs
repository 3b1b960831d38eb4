//! PNG: the SVG picture in pixels, two for each of its own, with the fonts of the machine, or two of our own where it has none.

use std::sync::{Arc, OnceLock};

use pellucid_core::{Attribution, Error, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, fontdb};

use crate::{Options, Render, svg};

/// Pixels per unit of the picture: sharp on today's screens.
const SCALE: f32 = 2.0;

/// A raster picture.
pub(crate) struct Png;

impl Render for Png {
    fn id(&self) -> &'static str {
        "png"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["png"]
    }

    fn binary(&self) -> bool {
        true
    }

    fn render(&self, attribution: &Attribution, options: &Options) -> Result<Vec<u8>> {
        static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
        let picture = svg::draw(attribution, options)?;
        rasterise(&picture, FONTS.get_or_init(system_fonts).clone())
    }
}

fn system_fonts() -> Arc<fontdb::Database> {
    let mut found = fontdb::Database::new();
    found.load_system_fonts();
    if found.is_empty() {
        // Servers often have none, and a picture without words would be worse than one in a plain font.
        found.load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
        found.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    }
    // A character that the font in use lacks is taken from the first that has it: plain faces first, then always the same order.
    let mut faces: Vec<_> = found.faces().cloned().collect();
    faces.sort_by_key(|f| {
        (f.style != fontdb::Style::Normal, f.weight.0.abs_diff(400), f.stretch.to_number().abs_diff(5), f.post_script_name.clone())
    });
    let mut fonts = fontdb::Database::new();
    for face in faces {
        fonts.push_face_info(face);
    }
    // Where none of the families that we name is installed, take any: a picture in an odd font is better than one without words.
    let family =
        |monospaced: bool| fonts.faces().find(|f| f.monospaced == monospaced).or(fonts.faces().next()).map(|f| f.families[0].0.clone());
    if let (Some(mono), Some(sans)) = (family(true), family(false)) {
        fonts.set_monospace_family(mono);
        fonts.set_sans_serif_family(sans.clone());
        fonts.set_serif_family(sans);
    }
    Arc::new(fonts)
}

fn rasterise(picture: &str, fontdb: Arc<fontdb::Database>) -> Result<Vec<u8>> {
    let options = usvg::Options { fontdb, ..Default::default() };
    let failed = |what: String| Error::request(format!("cannot draw the picture: {what}"));
    let tree = usvg::Tree::from_str(picture, &options).map_err(|e| failed(e.to_string()))?;
    let size = tree.size().to_int_size().scale_by(SCALE).ok_or_else(|| failed("its size is zero".into()))?;
    let mut pixels = Pixmap::new(size.width(), size.height())
        .ok_or_else(|| failed(format!("{} × {} pixels are too many", size.width(), size.height())))?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|e| failed(e.to_string()))
}

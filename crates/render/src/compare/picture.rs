//! What both pages of a comparison need where methods explain a picture.

use pellucid_core::Result;

use super::Column;
use crate::Options;
use crate::picture::scene::Scene;

/// A scene for each method; `None` where there is no picture.
pub(super) fn scenes<'a>(columns: &[Column<'a>], options: &Options) -> Result<Option<Vec<Scene<'a>>>> {
    let scenes = columns.iter().map(|c| Scene::of(c.view, options)).collect::<Result<Option<Vec<_>>>>()?;
    Ok(scenes.filter(|s| !s.is_empty()))
}

/// What to call every feature of the attribution.
pub(super) fn names(scene: &Scene<'_>) -> Vec<String> {
    let a = scene.view.a;
    let mut names: Vec<String> = a.features.iter().map(|f| scene.view.name(f).into_owned()).collect();
    scene.boxes.parts.iter().enumerate().for_each(|(i, part)| names[part.feature] = scene.place(i));
    names
}

/// The strongest parts: `row 3, column 5 +0.123`.
pub(super) fn strongest(scene: &Scene<'_>, count: usize) -> Vec<String> {
    let mut parts: Vec<usize> = (0..scene.boxes.parts.len()).filter(|&i| scene.boxes.parts[i].score != 0.0).collect();
    parts.sort_by(|a, b| scene.boxes.parts[*b].score.abs().total_cmp(&scene.boxes.parts[*a].score.abs()));
    parts.into_iter().take(count).map(|i| format!("{} {}", scene.place(i), scene.number(scene.boxes.parts[i].score))).collect()
}

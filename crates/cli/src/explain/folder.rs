//! A folder of pictures, explained one by one: a JSON and a PNG each, and a page that shows them all.
//!
//! A run can be stopped and taken up again: what a picture gave is written as soon as it is there, and is not made again. What was asked is
//! kept beside (`run.json`), so that a folder never mixes answers to two questions. A picture that cannot be explained is named in the page
//! and on standard error; the others go on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use pellucid::{
    Attribution, Engine, Error, Loaded, Result,
    explain::{Aim, explain},
    prompt::Prompt,
    render::{self, Explained, Options},
};
use serde_json::{Value as Json, json};

use super::meaning::Meaning;
use crate::{failure, output, prompt::PictureArgs};

/// Pictures by the ends of their names.
const ENDINGS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "gif"];

/// What was asked is kept under this name.
const RUN: &str = "run.json";

/// The pictures of a folder, in order of their names; folders inside it are left alone.
///
/// # Errors
/// A folder that cannot be read, or has no picture.
pub(super) fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io("cannot read", folder, e))?;
    let is_picture = |p: &PathBuf| {
        let ending = p.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        p.is_file() && ending.is_some_and(|e| ENDINGS.contains(&e.as_str()))
    };
    let mut found: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(is_picture).collect();
    found.sort();
    if found.is_empty() {
        return Err(Error::request(format!("{}: no picture in this folder; names should end in {}", folder.display(), ENDINGS.join(", "))));
    }
    Ok(found)
}

/// Explains every picture of `files`, which lie in `from`, into `into`. Of each only a few lines are kept in memory.
pub(super) fn run(
    asked: &mut Meaning,
    given: &PictureArgs,
    (from, files): (&Path, &[PathBuf]),
    into: &Path,
    drawing: &Options,
    (loaded, engine): (&Loaded, &Engine<'_>),
) -> Result<ExitCode> {
    fs::create_dir_all(into).map_err(|e| Error::io("cannot make the folder", into, e))?;
    if from.canonicalize().is_ok_and(|from| into.canonicalize().is_ok_and(|into| from == into)) {
        let what = format!("{} holds the pictures; what comes out of them needs a folder of its own: name another with -o", into.display());
        return Err(Error::request(what));
    }
    let (question, how) = (settings(asked, given, loaded, engine), format!("{drawing:?}"));
    let same_drawing = begin(into, &question, &how)?;
    let png = render::form("png").expect("a form that is always there");
    let mut done = Vec::new();
    for (i, file) in files.iter().enumerate() {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let (json, drawn) = (format!("{name}.json"), format!("{name}.png"));
        let said = format!("{} of {}: {name}", i + 1, files.len());
        let outcome = one(asked, given, file, &into.join(&json), (loaded, engine));
        match &outcome {
            Ok((a, made)) => {
                if *made || !same_drawing || !into.join(&drawn).is_file() {
                    render::write(&into.join(&drawn), &png.render(a, drawing)?)?;
                }
                output::note(&format!("{said}{}", if *made { "" } else { " (was there)" }));
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => failure::say(&Error::request(format!("{said}: {error}"))),
        }
        let outcome = outcome.map(|(a, _)| a).map_err(|e| e.to_string());
        done.push(Explained::new(&name, outcome.as_ref().map_err(String::as_str), vec![drawn, json]));
    }
    let title = format!("{} on {}", asked.request.method.id(), loaded.record.id);
    output::save(&into.join("index.html"), &render::gallery(&title, &done))?;
    keep(into, &question, Some(&how))?;
    Ok(if done.iter().all(Explained::is_explained) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The explanation of a picture, and whether it was made now.
fn one(
    asked: &mut Meaning,
    given: &PictureArgs,
    file: &Path,
    json: &Path,
    (loaded, engine): (&Loaded, &Engine<'_>),
) -> Result<(Attribution, bool)> {
    let picture = given.picture(file)?;
    if json.is_file()
        && let Ok(there) = render::read(json)
        && there.input.image.as_ref().is_some_and(|i| i.sha256 == picture.sha256)
    {
        return Ok((there, false));
    }
    let Prompt::Image { picture: place, .. } = &mut asked.request.prompt else {
        return Err(Error::request("a folder of pictures is explained picture by picture; give it with --image"));
    };
    **place = picture;
    let attribution = explain(&asked.request, loaded, engine)?;
    render::write(json, &render::form("json").expect("a form that is always there").render(&attribution, &Options::default())?)?;
    Ok((attribution, true))
}

/// What decides the numbers, but for the picture.
fn settings(asked: &Meaning, given: &PictureArgs, loaded: &Loaded, engine: &Engine<'_>) -> Json {
    let request = &asked.request;
    let aim = match &request.aim {
        Aim::Picture(picture) => json!({ "picture": picture.sha256 }),
        other => json!(format!("{other:?}")),
    };
    let (boxes, controls) = match &request.prompt {
        Prompt::Image { regions, controls, .. } => (json!(regions), json!(controls)),
        _ => (Json::Null, Json::Null),
    };
    json!({
        "tool_version": pellucid::VERSION,
        "model": loaded.record,
        "compute": engine.compute.name(),
        "method": { "id": request.method.id(), "parameters": request.method.parameters(), "seed": request.method.seed() },
        "units": request.units.to_string(),
        "aim": aim,
        "contrast": request.contrast.as_ref().map(|c| format!("{c:?}")),
        "score": request.score.map(|s| s.name()),
        "temperature": request.temperature,
        "postprocessing": request.postprocessing.name(),
        "background": given.background,
        "boxes": boxes,
        "controls": controls,
    })
}

/// Writes down what is asked, or sees that it is what was asked before. Tells whether pictures were drawn then as they are to be drawn now.
fn begin(into: &Path, settings: &Json, drawing: &str) -> Result<bool> {
    let path = into.join(RUN);
    let before: Option<Json> = match fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::io("cannot read", &path, e)),
    };
    if before.as_ref().is_some_and(|before| before["asked"] != *settings) {
        return Err(Error::request(format!(
            "{} holds the answers to another question (see {RUN} there); name another folder with -o, or delete that one",
            into.display()
        )));
    }
    let same = before.is_some_and(|before| before["drawing"] == drawing);
    keep(into, settings, same.then_some(drawing))?;
    Ok(same)
}

/// Writes down what was asked, and how all pictures there are drawn, if they are drawn alike.
fn keep(into: &Path, settings: &Json, drawing: Option<&str>) -> Result<()> {
    render::write(&into.join(RUN), format!("{:#}\n", json!({ "asked": settings, "drawing": drawing })).as_bytes())
}

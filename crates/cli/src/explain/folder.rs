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
    explain::{Aim, Request, explain},
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

/// Explains every picture of `files` into `into`.
pub(super) fn run(
    asked: &mut Meaning,
    given: &PictureArgs,
    files: &[PathBuf],
    into: &Path,
    drawing: &Options,
    (loaded, engine): (&Loaded, &Engine<'_>),
) -> Result<ExitCode> {
    fs::create_dir_all(into).map_err(|e| Error::io("cannot make the folder", into, e))?;
    begin(into, &settings(&asked.request, loaded))?;
    let mut done = Vec::new();
    for (i, file) in files.iter().enumerate() {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let outcome = one(asked, given, file, &into.join(format!("{name}.json")), (loaded, engine));
        if let Err(Error::Interrupted) = outcome {
            return Err(Error::Interrupted);
        }
        let mut said = format!("{} of {}: {name}", i + 1, files.len());
        match &outcome {
            Ok((a, made)) => {
                if *made || !into.join(format!("{name}.png")).is_file() {
                    let form = render::form("png").expect("a form that is always there");
                    render::write(&into.join(format!("{name}.png")), &form.render(a, drawing)?)?;
                }
                said += if *made { "" } else { " (was there)" };
                output::note(&said);
            }
            Err(error) => failure::say(&Error::request(format!("{said}: {error}"))),
        }
        done.push((name, outcome.map(|(a, _)| a).map_err(|e| e.to_string())));
    }
    let files: Vec<[String; 2]> = done.iter().map(|(name, _)| [format!("{name}.png"), format!("{name}.json")]).collect();
    let entry = |((name, outcome), files): (&(String, Result<Attribution, String>), &'_ [String; 2])| -> (String, Result<Attribution, String>, Vec<String>) {
        (name.clone(), outcome.clone(), files.to_vec())
    };
    let entries: Vec<_> = done.iter().zip(&files).map(entry).collect();
    let shown: Vec<Explained<'_>> = entries
        .iter()
        .map(|(name, outcome, files)| Explained { name, attribution: outcome.as_ref().map_err(String::as_str), files })
        .collect();
    let title = format!("{} on {}", asked.request.method.id(), loaded.record.id);
    output::save(&into.join("index.html"), &render::gallery(&title, &shown))?;
    Ok(if done.iter().all(|(_, outcome)| outcome.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
fn settings(request: &Request, loaded: &Loaded) -> Json {
    let aim = match &request.aim {
        Aim::Picture(picture) => json!({ "picture": picture.sha256 }),
        other => json!(format!("{other:?}")),
    };
    json!({
        "tool_version": pellucid::VERSION,
        "model": loaded.record,
        "method": { "id": request.method.id(), "parameters": request.method.parameters() },
        "units": request.units.to_string(),
        "aim": aim,
        "contrast": request.contrast.as_ref().map(|c| format!("{c:?}")),
        "score": request.score.map(|s| s.name()),
        "temperature": request.temperature,
        "postprocessing": request.postprocessing.name(),
        "boxes": if let Prompt::Image { regions, .. } = &request.prompt { json!(regions) } else { Json::Null },
        "controls": if let Prompt::Image { controls, .. } = &request.prompt { json!(controls) } else { Json::Null },
    })
}

/// Writes down what is asked, or sees that it is what was asked before.
fn begin(into: &Path, settings: &Json) -> Result<()> {
    let path = into.join(RUN);
    match fs::read(&path) {
        Ok(bytes) => match serde_json::from_slice::<Json>(&bytes) {
            Ok(before) if before == *settings => Ok(()),
            _ => Err(Error::request(format!(
                "{} holds the answers to another question (see {RUN} there); name another folder with -o, or delete that one",
                into.display()
            ))),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => render::write(&path, format!("{settings:#}\n").as_bytes()),
        Err(e) => Err(Error::io("cannot read", &path, e)),
    }
}

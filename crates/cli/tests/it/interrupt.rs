//! Ctrl-C, and readers that go away.
#![cfg(unix)]

use std::{
    fs,
    io::Read,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::fixtures::GPTJ;

/// An interpreter that does this instead of what it is asked.
pub(crate) fn python(folder: &Path, does: &str) -> String {
    let path = folder.join("python");
    fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn pellucid() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pellucid"))
}

#[test]
fn ctrl_c_ends_a_fetch_with_130_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let mark = folder.path().join("started");
    let slow = python(folder.path(), &format!("touch '{}'; exec sleep 60", mark.display()));
    let mut command = pellucid();
    command.args(["models", "pull", "smollm2-135m"]).env("PELLUCID_PYTHON", slow).env("PELLUCID_CACHE", &cache);
    let mut child = command.stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    let begin = Instant::now();
    while !mark.exists() {
        assert!(begin.elapsed() < Duration::from_secs(30), "pip was never started");
        std::thread::sleep(Duration::from_millis(20));
    }
    // As a terminal does: to us and to the pip that we started.
    assert!(Command::new("kill").args(["-INT", "--", &format!("-{}", child.id())]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(40));
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!((status.code(), told.as_str()), (Some(130), "error: interrupted\n"));
    assert!(!files(&cache).iter().any(|name| name.ends_with(".gguf")), "{:?}", files(&cache));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for args in [&["explain", "--ids", "1,2,3", "--target-ids", "4", "-m", GPTJ][..], &["completions", "zsh"], &["methods"]] {
        let mut command = pellucid();
        command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}");
    }
}

/// Names of all files in a folder, however deep.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let each = |entry: fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => files(&entry.path()),
        false => vec![entry.file_name().to_string_lossy().into_owned()],
    };
    entries.flat_map(|entry| each(entry.unwrap())).collect()
}

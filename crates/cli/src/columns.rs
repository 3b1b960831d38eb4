//! Two texts side by side, with the place marked where they part.

use pellucid::generate::Request;

use crate::text::{pad, wrap};

/// Columns that a text needs at least beside another.
const NARROWEST: usize = 28;

/// Marks the first difference; seen without colours, too.
const MARK: char = '▸';

/// What was done, in a line.
pub(crate) fn title(request: &Request) -> String {
    let controls: Vec<_> = request.controls.iter().map(ToString::to_string).collect();
    format!("{} ({})", controls.join(", "), request.mode)
}

/// Both texts under their titles: in two columns, or one above the other where there is no room for that.
pub(crate) fn columns(left: (&str, &str), right: (&str, &str), width: usize) -> String {
    let (a, b, verdict) = marked(left.1.trim_matches('\n'), right.1.trim_matches('\n'));
    let half = width.saturating_sub(3) / 2;
    let beside = half >= NARROWEST;
    let room = if beside { half } else { width };
    let block = |title: &str, text: &str| -> Vec<String> {
        let mut lines = wrap(title, room);
        lines.push("─".repeat(lines.iter().map(|l| l.chars().count()).max().unwrap_or(0).min(room)));
        lines.extend(wrap(text, room));
        lines
    };
    let (a, b) = (block(left.0, &a), block(right.0, &b));
    let mut out = String::new();
    if beside {
        let line = |lines: &[String], i: usize| lines.get(i).cloned().unwrap_or_default();
        for i in 0..a.len().max(b.len()) {
            out += format!("{}   {}", pad(&line(&a, i), half), line(&b, i)).trim_end();
            out.push('\n');
        }
    } else {
        out = format!("{}\n\n{}\n", a.join("\n"), b.join("\n"));
    }
    format!("{out}\n{verdict}\n")
}

/// Both texts with the mark before the first word that differs, and what there is to say of it.
fn marked(a: &str, b: &str) -> (String, String, String) {
    let Some(at) = parting(a, b) else { return (a.into(), b.into(), "no difference".into()) };
    let mark = |text: &str| format!("{}{MARK}{}", &text[..at], &text[at..]);
    let words = a[..at].split_whitespace().count();
    (mark(a), mark(b), format!("{MARK} first difference, after {words} {}", if words == 1 { "word" } else { "words" }))
}

/// The byte at which two texts part, moved back to the beginning of its word.
fn parting(a: &str, b: &str) -> Option<usize> {
    let common: usize = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    if a == b {
        return None;
    }
    // Scripts without blanks: a word is not found by looking for one.
    let word = a[..common].rfind(char::is_whitespace).map_or(0, |i| i + a[i..].chars().next().map_or(1, char::len_utf8));
    Some(if a[word..common].chars().count() <= 24 { word } else { common })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_before_the_first_word_that_differs() {
        let (a, b, verdict) = marked("It was a bad day", "It was a big day");
        assert_eq!((a.as_str(), b.as_str()), ("It was a ▸bad day", "It was a ▸big day"));
        assert_eq!(verdict, "▸ first difference, after 3 words");
        assert_eq!(marked("a", "a b").0, "▸a");
        assert_eq!(marked("a", "a").2, "no difference");
    }

    #[test]
    fn wide_terminals_get_two_columns_and_narrow_ones_a_stack() {
        let wide = columns(("left", "one two"), ("right", "one too"), 80);
        assert_eq!(wide.lines().nth(2).unwrap(), format!("{}   one ▸too", pad("one ▸two", 38)));
        let narrow = columns(("left", "one two"), ("right", "one too"), 40);
        assert_eq!(narrow, "left\n────\none ▸two\n\nright\n─────\none ▸too\n\n▸ first difference, after 1 word\n");
    }
}

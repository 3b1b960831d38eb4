//! Text for people: wrapped, measured, and safe to send to a terminal.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of the terminal that standard output goes to; 100 where there is none.
pub(crate) fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stdout()).map_or(100, |(width, _)| usize::from(width.0).clamp(20, 1000))
}

/// Lines of at most `width` columns, broken at blanks where there are any. Line breaks of the text stay.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let (mut line, mut used) = (String::new(), 0);
        for word in paragraph.split_inclusive(' ') {
            if used > 0 && used + word.trim_end().width() > width {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
                used = 0;
            }
            for c in word.chars() {
                let columns = c.width().unwrap_or(0);
                if used + columns > width && c != ' ' {
                    lines.push(std::mem::take(&mut line).trim_end().to_owned());
                    used = 0;
                }
                line.push(c);
                used += columns;
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// `text` with blanks behind it up to `width` columns.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// A table of names and what is to be said of each, wrapped to `width` columns.
pub(crate) fn table(rows: &[(&str, String)], indent: usize, width: usize) -> String {
    let names = rows.iter().map(|(name, _)| name.width()).max().unwrap_or(0) + 2;
    let mut out = String::new();
    for (name, said) in rows {
        for (i, line) in wrap(said, width.saturating_sub(indent + names).max(20)).iter().enumerate() {
            let name = if i == 0 { *name } else { "" };
            out.push_str(&format!("{}{}{line}\n", " ".repeat(indent), pad(name, names)));
        }
    }
    out
}

/// What a terminal would take for an instruction, shown instead of sent: control characters as their pictures, marks of direction as `�`.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let picture = |c: char| match c {
        '\n' | '\t' => c,
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).expect("control pictures run from 2400 to 241F"),
        '\x7f' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ => c,
    };
    match text.chars().all(|c| picture(c) == c) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(text.chars().map(picture).collect()),
    }
}

/// Bytes for people: `98.4 MB`.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}

/// Numbers with a blank between thousands: `33 024`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_blanks_and_long_words_anywhere() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("a\n\nb", 10), ["a", "", "b"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
    }

    #[test]
    fn no_instruction_reaches_the_terminal() {
        assert_eq!(harmless("a\x1b[31m\u{202e}\r\n"), "a␛[31m�␍\n");
        assert!(matches!(harmless("plain\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn thousands_are_grouped_from_the_right() {
        assert_eq!([grouped(0), grouped(999), grouped(1000), grouped(1234567)], ["0", "999", "1 000", "1 234 567"]);
    }
}

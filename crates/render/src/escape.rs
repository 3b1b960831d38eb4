//! Outside text made safe to look at, wherever it is shown. What a form's own syntax would obey, the form escapes on top of this.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Text that can be shown anywhere: characters that would steer a terminal, a browser or a reader's eye (controls, bidirectional
/// overrides, invisible spaces) and those that XML forbids become visible escapes such as `\x1b`. New lines (also `\r\n`) and tabs stay.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => out.push_str("\\r"),
            c if hidden(c) && u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Whether a character steers a terminal or a reader's eye, or may not stand in XML. `\n` and `\t` are not among them.
pub(crate) fn hidden(c: char) -> bool {
    let noncharacter = u32::from(c) & 0xfffe == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}');
    let steering = matches!(c, '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    (c.is_control() && c != '\n' && c != '\t') || noncharacter || steering
}

/// A short text for one line of a list: white space made visible, cut to so many columns.
pub(crate) fn label(text: &str, columns: usize) -> String {
    let text = visible(text).replace('\n', "\\n").replace('\t', "\\t");
    if text.width() <= columns {
        return text;
    }
    let mut used = 0;
    let fits = |g: &&str| {
        used += g.width();
        used < columns
    };
    text.graphemes(true).take_while(fits).chain(["…"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_an_eye_is_escaped() {
        assert_eq!(
            visible("a\u{1b}[31m\u{7}\u{9b}\u{202e}\u{feff}\u{0}\r\n\tb\rc"),
            "a\\x1b[31m\\x07\\x9b\\u{202e}\\u{feff}\\x00\n\tb\\rc"
        );
        assert_eq!(visible("👩\u{200d}👧 عاصمة e\u{301}"), "👩\u{200d}👧 عاصمة e\u{301}");
    }

    #[test]
    fn labels_fit_on_one_line() {
        assert_eq!(label("a\nb\tc", 20), "a\\nb\\tc");
        assert_eq!(label("abcdefgh", 5), "abcd…");
        assert_eq!(label("日本語日本語", 6), "日本…");
    }
}

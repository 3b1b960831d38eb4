//! Text in cells of what a reader sees as one character, and its division into lines. Shared by the terminal and the picture.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::escape::visible;

/// One character as a reader sees it, with how it is to look.
#[derive(Clone, Debug)]
pub(crate) struct Cell<T> {
    pub(crate) text: String,
    pub(crate) look: T,
    /// How wide it is in a terminal: 0, 1, 2.
    pub(crate) columns: usize,
    /// White space that is drawn even where a line is broken, because it has a score of its own.
    kept: bool,
}

impl<T> Cell<T> {
    pub(crate) fn is_break(&self) -> bool {
        self.text == "\n"
    }

    pub(crate) fn is_space(&self) -> bool {
        self.text == " "
    }

    /// A line may end before or after a wide character (Chinese, Japanese, emoji) as it may at a space.
    fn is_word(&self) -> bool {
        !self.is_break() && !self.is_space() && self.columns < 2
    }
}

/// Escaped text in one look. Nothing but white space that has a score is made visible; a tab is four columns.
pub(crate) fn cells<T: Copy>(text: &str, look: T, scored: bool) -> Vec<Cell<T>> {
    if scored && text.trim().is_empty() {
        return marks(text, look);
    }
    let cell = |text: &str| Cell { text: text.to_owned(), look, columns: text.width(), kept: false };
    let line_break = Cell { text: "\n".into(), look, columns: 0, kept: false };
    let mut cells = Vec::new();
    for g in visible(text).graphemes(true) {
        match g {
            "\n" => cells.push(line_break.clone()),
            "\t" => cells.extend([" ", " ", " ", " "].map(cell)),
            other => cells.push(cell(other)),
        }
    }
    cells
}

/// White space that has a score: signs for what is not seen, then the line breaks.
fn marks<T: Copy>(text: &str, look: T) -> Vec<Cell<T>> {
    let text = visible(text);
    let breaks = text.matches('\n').count();
    let signs = text.replace('\t', "⇥   ").replace('\n', "↵");
    let all = signs.graphemes(true).chain(std::iter::repeat_n("\n", breaks));
    all.map(|g| Cell { text: g.to_owned(), look, columns: if g == "\n" { 0 } else { g.width() }, kept: true }).collect()
}

/// Lines of at most `width` columns: broken at line breaks, then at spaces, and inside a word only if it is wider than a line.
pub(crate) fn wrap<T>(cells: &[Cell<T>], width: usize) -> Vec<&[Cell<T>]> {
    cells.split(Cell::is_break).flat_map(|paragraph| fill(paragraph, width)).collect()
}

fn fill<T>(cells: &[Cell<T>], width: usize) -> Vec<&[Cell<T>]> {
    let (mut lines, mut start, mut used, mut at) = (Vec::new(), 0, 0, 0);
    while at < cells.len() {
        let length = cells[at..].iter().take_while(|c| c.is_word()).count().max(1);
        let columns: usize = cells[at..at + length].iter().map(|c| c.columns).sum();
        if used + columns <= width {
            (used, at) = (used + columns, at + length);
        } else if used == 0 {
            at += fitting(&cells[at..at + length], width);
            lines.push(&cells[start..at]);
            start = at;
        } else {
            lines.push(trim_end(&cells[start..at]));
            // The space at which the line is broken is not drawn again.
            at += usize::from(cells[at].is_space() && !cells[at].kept);
            (start, used) = (at, 0);
        }
    }
    if start < cells.len() || lines.is_empty() {
        lines.push(&cells[start..]);
    }
    lines
}

/// How many cells of a word fit into an empty line; one at least.
fn fitting<T>(word: &[Cell<T>], width: usize) -> usize {
    let mut used = 0;
    let fits = |c: &&Cell<T>| {
        used += c.columns;
        used <= width
    };
    word.iter().take_while(fits).count().max(1)
}

fn trim_end<T>(line: &[Cell<T>]) -> &[Cell<T>] {
    &line[..line.iter().rposition(|c| !c.is_space() || c.kept).map_or(0, |i| i + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(t: &str, width: usize) -> Vec<String> {
        wrap(&cells(t, (), false), width).iter().map(|l| l.iter().map(|c| c.text.as_str()).collect()).collect()
    }

    #[test]
    fn lines_break_at_spaces_and_long_words_inside() {
        assert_eq!(wrapped("the capital of", 8), ["the", "capital", "of"]);
        assert_eq!(wrapped("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrapped("a\n\nb", 4), ["a", "", "b"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(wrapped("日本語日本語", 6), ["日本語", "日本語"]);
        assert_eq!(wrapped("👩‍👩‍👧👩‍👩‍👧", 2), ["👩‍👩‍👧", "👩‍👩‍👧"]);
    }

    #[test]
    fn white_space_with_a_score_is_seen() {
        let text = |t: &str| cells(t, (), true).iter().map(|c| c.text.clone()).collect::<String>();
        assert_eq!(text("\n\n"), "↵↵\n\n");
        assert_eq!(text("\t"), "⇥   ");
        assert_eq!(text("a\tb"), "a    b");
    }
}

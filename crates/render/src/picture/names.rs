//! What to call the parts of a picture, and which of them are the strongest.

use pellucid_core::Region;

use super::scene::Scene;
use crate::escape::label;
use crate::scale::level;

/// One of the strongest parts, with a sign that stands for it in the picture: figures support, letters oppose.
pub(crate) struct Top {
    /// Index into the scene's parts.
    pub(crate) part: usize,
    pub(crate) tag: String,
    /// Whether it is strong enough to be marked in the picture: a list goes on where a map is almost empty.
    pub(crate) marked: bool,
}

impl Scene<'_> {
    /// The strongest supporting and the strongest opposing parts, strongest first.
    pub(crate) fn top(&self, count: usize) -> (Vec<Top>, Vec<Top>) {
        let score = |i: &usize| self.boxes.parts[*i].score;
        let (mut supporting, mut opposing): (Vec<usize>, Vec<usize>) =
            (0..self.boxes.parts.len()).filter(|i| score(i) != 0.0).partition(|i| score(i) > 0.0);
        supporting.sort_by(|a, b| score(b).total_cmp(&score(a)));
        opposing.sort_by(|a, b| score(a).total_cmp(&score(b)));
        let tagged = |parts: Vec<usize>, tag: fn(usize) -> String| {
            let marked = |part: usize| level(self.range.strength(score(&part))) != 0;
            parts.into_iter().take(count).enumerate().map(|(i, part)| Top { part, tag: tag(i), marked: marked(part) }).collect()
        };
        (tagged(supporting, |i| (i + 1).to_string()), tagged(opposing, letters))
    }

    /// 1 for the part that supports most, counted over all.
    pub(crate) fn ranks(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.boxes.parts.len()).collect();
        order.sort_by(|a, b| self.boxes.parts[*b].score.total_cmp(&self.boxes.parts[*a].score));
        let mut ranks = vec![0; order.len()];
        order.into_iter().enumerate().for_each(|(rank, part)| ranks[part] = rank + 1);
        ranks
    }

    /// The feature's own text, or `row 3, column 5`, counted from 0.
    pub(crate) fn place(&self, part: usize) -> String {
        match (self.view.a.features[self.boxes.parts[part].feature].text.trim(), &self.boxes.grid) {
            ("", Some(grid)) => format!("row {}, column {}", grid.places[part].0, grid.places[part].1),
            ("", None) => format!("box {part}"),
            (text, _) => label(text, 60),
        }
    }

    /// Where a part lies in pixels of the original picture: `x 160–192, y 64–96`.
    pub(crate) fn pixels(&self, part: usize) -> String {
        let Region { left, top, width, height } = self.boxes.parts[part].region;
        let along = |from: f64, length: f64, n: u32| {
            let pixel = |p: f64| (p * f64::from(n)).round().clamp(0.0, f64::from(n));
            format!("{}–{}", pixel(from), pixel(from + length))
        };
        format!("x {}, y {}", along(left, width, self.image.width), along(top, height, self.image.height))
    }

    /// What has scores, in words: `14 × 14 patches`.
    pub(crate) fn parts(&self) -> String {
        let units = label(&self.view.a.method.units, 24);
        match &self.boxes.grid {
            Some(grid) => {
                let [rows, columns] = grid.size();
                let thing = if units == "patch" { "patches" } else { "tiles" };
                format!("{rows} × {columns} {thing}")
            }
            None if self.boxes.parts.len() == 1 => "1 box".into(),
            None => format!("{} boxes", self.boxes.parts.len()),
        }
    }
}

/// a, b, … z, aa, ab, ….
fn letters(mut i: usize) -> String {
    let mut text = Vec::new();
    loop {
        text.push(b'a' + (i % 26) as u8);
        if i < 26 {
            break;
        }
        i = i / 26 - 1;
    }
    text.iter().rev().map(|&c| char::from(c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_go_on_after_z() {
        assert_eq!([0, 1, 25, 26, 27, 51, 52, 701, 702].map(letters), ["a", "b", "z", "aa", "ab", "az", "ba", "zz", "aaa"]);
    }
}

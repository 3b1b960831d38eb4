//! The class that a model puts its input into: by name, by number, or the one it chooses.

use pellucid_core::{Engine, Error, Place, Result, TargetKind};

use super::{
    Aim,
    goal::{Aimed, Goal, likeliest_at},
};
use crate::prompt::Reading;

/// As many classes are listed where one is not found; of more, those with the nearest names.
const LISTED: usize = 12;
const NEAREST: usize = 5;

/// The goal of a classifier.
pub(super) fn goal(aim: &Aim, contrast: Option<&Aim>, names: &[String], reading: &Reading, engine: &Engine<'_>) -> Result<Goal> {
    let class = |aim: &Aim, flag: &str| match aim {
        Aim::Own(_) => Ok(one(likeliest_at(engine, reading, 0)?, names, "predicted")),
        Aim::Any(_) => Ok(one(0, names, "given")),
        Aim::Class(name) | Aim::Text(name) => Ok(one(find(name, names)?, names, "given")),
        Aim::Ids(ids) if ids.len() == 1 => Ok(one(find(&ids[0].to_string(), names)?, names, "given")),
        _ => Err(Error::Unsupported(format!(
            "this model puts its input into one of {} classes; name one with {flag}: {}",
            names.len(),
            some(names)
        ))),
    };
    let target = class(aim, "--class")?;
    let contrast = contrast.map(|c| class(c, "--contrast-class")).transpose()?;
    Ok(Goal { kind: TargetKind::Class, place: Place::Whole, target, contrast, model: None })
}

fn one(class: u32, names: &[String], origin: &'static str) -> Aimed {
    let name = &names[class as usize];
    Aimed::one(class, name, Some(name.clone()), origin)
}

/// By name, letter case aside where that leaves no doubt, then by number.
fn find(wanted: &str, names: &[String]) -> Result<u32> {
    let same: Vec<usize> = (0..names.len()).filter(|i| names[*i].eq_ignore_ascii_case(wanted)).collect();
    let found = match (names.iter().position(|n| n == wanted), &same[..], wanted.parse::<usize>()) {
        (Some(exact), _, _) => Some(exact),
        (None, [only], _) => Some(*only),
        (None, _, Ok(number)) if number < names.len() => Some(number),
        (None, _, Ok(number)) => {
            let (classes, last) = (names.len(), names.len().saturating_sub(1));
            return Err(Error::request(format!("class {number} is beyond the model, which has {classes} classes (0 to {last})")));
        }
        _ => None,
    };
    found.map(|i| i as u32).ok_or_else(|| {
        let all = names.len() <= LISTED;
        let near = if all { some(names) } else { format!("{} of {}", nearest(wanted, names).join(", "), names.len()) };
        Error::request(format!("there is no class `{wanted}`; {} {near}", if all { "there are" } else { "the nearest are" }))
    })
}

fn some(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(LISTED).map(String::as_str).collect();
    format!("{}{}", shown.join(", "), if names.len() > LISTED { ", …" } else { "" })
}

fn nearest<'a>(wanted: &str, names: &'a [String]) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let mut order: Vec<&str> = names.iter().map(String::as_str).collect();
    order.sort_by_key(|name| distance(&wanted, &name.to_lowercase()));
    order.truncate(NEAREST);
    order
}

/// Letters to add, drop or change to make one word of another (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn a_class_goes_by_its_name_first_and_by_its_number_second() {
        let classes = names(&["Safe", "injection", "1", "safe"]);
        let found = |wanted: &str| find(wanted, &classes).unwrap();
        assert_eq!([found("Safe"), found("safe"), found("INJECTION"), found("1"), found("0")], [0, 3, 1, 2, 0]);
        // Two classes differ from it in letter case only.
        assert_eq!(find("SAFE", &classes).unwrap_err().to_string(), "there is no class `SAFE`; there are Safe, injection, 1, safe");
    }

    #[test]
    fn a_class_that_is_not_there_is_refused_with_those_that_are() {
        let few = names(&["safe", "injection"]);
        assert_eq!(find("2", &few).unwrap_err().to_string(), "class 2 is beyond the model, which has 2 classes (0 to 1)");
        let many: Vec<String> = (0..50).map(|i| format!("class {i}")).chain(["oxidation".into()]).collect();
        let told = find("oxydation", &many).unwrap_err().to_string();
        assert!(told.starts_with("there is no class `oxydation`; the nearest are oxidation, ") && told.ends_with(" of 51"), "{told}");
    }

    #[test]
    fn the_distance_of_words_counts_letters() {
        assert_eq!([("kitten", "sitting"), ("", "abc"), ("abc", "abc"), ("flaw", "lawn")].map(|(a, b)| distance(a, b)), [3, 3, 0, 2]);
    }
}

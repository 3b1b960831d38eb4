//! Comparisons: what they show, how they are kept, and what is refused.

use pellucid_core::*;
use pellucid_render::{COMPARISON_SCHEMA, ColourDepth, ComparisonForm, Options, SCHEMA, form, parse_comparison, read_comparison, write};
use serde_json::{Value, json};

use crate::{draw, fixtures, read_back};

/// An attribution by another method, its scores turned round and halved.
fn by(id: &str, sign: Sign, of: &Attribution) -> Attribution {
    let mut a = of.clone();
    a.method = MethodRecord { id: id.into(), sign, ..a.method };
    let other = |s: &f64| if sign == Sign::Unsigned { 0.5 * s.abs() + 0.1 } else { -0.5 * s };
    a.scores.combined = a.scores.combined.iter().map(other).collect();
    a.cost.backwards = 1;
    a
}

fn comparison(of: Attribution) -> Comparison {
    let mut second = by("attention-rollout", Sign::Unsigned, &of);
    second.promises = vec![Promise { name: "conservation".into(), target_token: 0, expected: 2.0, got: 2.5 }];
    let third = by("gim", Sign::Signed, &of);
    Comparison {
        format: COMPARISON_FORMAT.into(),
        tool_version: "0.1.0".into(),
        attributions: vec![of, second, third],
        left_out: vec![
            LeftOut { method: "lrp".into(), reason: "it has no rule for gates".into(), failed: false },
            LeftOut { method: "alti".into(), reason: "too little memory".into(), failed: true },
        ],
        rank_correlation: vec![vec![Some(1.0), Some(0.5), Some(-1.0)], vec![Some(0.5), Some(1.0), None], vec![Some(-1.0), None, Some(1.0)]],
    }
}

fn drawn(form: ComparisonForm, c: &Comparison, options: &Options) -> String {
    String::from_utf8(form.render(c, options).unwrap()).unwrap()
}

fn value(c: &Comparison) -> Value {
    serde_json::from_str(&drawn(ComparisonForm::Json, c, &Options::default())).unwrap()
}

#[test]
fn as_people_see_it() {
    for (name, of) in [("plain", fixtures::plain()), ("class", fixtures::class()), ("hostile", fixtures::hostile())] {
        let c = comparison(of);
        let options = Options { width: 80, ..Options::default() };
        insta::assert_snapshot!(format!("compare_{name}.txt"), drawn(ComparisonForm::Terminal, &c, &options));
        let page = drawn(ComparisonForm::Html, &c, &options);
        let (head, rest) = page.split_once("<style>").unwrap();
        insta::assert_snapshot!(format!("compare_{name}.html"), head.to_owned() + rest.split_once("</style>").unwrap().1);
    }
    let coloured = Options { width: 60, colour: ColourDepth::TrueColour, ..Options::default() };
    let seen = drawn(ComparisonForm::Terminal, &comparison(fixtures::plain()), &coloured);
    insta::assert_snapshot!("compare_plain.ans", seen.replace('\u{1b}', "␛"));
}

#[test]
fn columns_are_put_on_one_scale_and_the_file_keeps_the_scores() {
    let c = comparison(fixtures::tokens(&[("a", 4.0), (" b", -1.0), (" c", 0.0)], &[(" x", 0.5)]));
    let seen = drawn(ComparisonForm::Terminal, &c, &Options::default());
    let row = |name: &str| -> Vec<String> {
        let line = seen.lines().find(|l| l.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    // Without a sign: 2.1, 0.6 and 0.1, from the smallest to the largest.
    assert_eq!([row("a"), row("b"), row("c")], [["+1.00", "1.00", "-1.00"], ["-0.25", "0.25", "+0.25"], ["0", "0", "0"]]);
    assert_eq!(value(&c)["attributions"][2]["scores"]["combined"], json!([-2.0, 0.5, 0.0]));
}

#[test]
fn nothing_outside_reaches_a_terminal_or_a_page_raw() {
    let mut c = comparison(fixtures::hostile());
    c.left_out[0] = LeftOut { method: "\u{1b}[31m<b>".into(), reason: "</script><script>alert(1)\u{1b}]0;x\u{7}".into(), failed: true };
    c.attributions.iter_mut().for_each(|a| a.method.id.push_str("<i>\u{1b}[2J\u{202e}"));
    for colour in [ColourDepth::None, ColourDepth::Ansi16, ColourDepth::Ansi256, ColourDepth::TrueColour] {
        let seen = drawn(ComparisonForm::Terminal, &c, &Options { colour, ..Options::default() });
        let plain = read_back::without_colours(&seen);
        assert!(plain.chars().all(|c| c == '\n' || !c.is_control()) && !plain.contains('\u{202e}'));
    }
    let page = drawn(ComparisonForm::Html, &c, &Options::default());
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!page.contains("<b>k") && !page.contains("<i>\\") && !page.contains('\u{1b}') && !page.contains("<img"));
}

#[test]
fn what_was_written_is_read_back_to_the_last_bit_from_json_and_from_a_page() {
    let folder = tempfile::tempdir().unwrap();
    for (name, of) in fixtures::all() {
        let mut c = comparison(of);
        c.rank_correlation[0][1] = Some(0.1 + 0.2);
        let bytes = drawn(ComparisonForm::Json, &c, &Options::default());
        assert_eq!(parse_comparison(bytes.as_bytes()).unwrap(), c, "{name}");
        for form in [ComparisonForm::Html, ComparisonForm::Json] {
            let path = folder.path().join(format!("{name}.{}", form.extensions()[0]));
            write(&path, drawn(form, &c, &Options::default()).as_bytes()).unwrap();
            assert_eq!(read_comparison(&path).unwrap().as_ref(), Some(&c), "{name}");
        }
    }
    let single = folder.path().join("single.html");
    write(&single, draw("html", &fixtures::plain(), &Options::default()).as_bytes()).unwrap();
    assert_eq!(read_comparison(&single).unwrap(), None);
}

#[test]
fn a_comparison_keeps_to_its_schema() {
    let attribution: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut schema: Value = serde_json::from_str(COMPARISON_SCHEMA).unwrap();
    assert_eq!(schema["properties"]["attributions"]["items"]["$ref"], attribution["$id"]);
    // What is referred to, put in place: the test needs no registry.
    schema["properties"]["attributions"]["items"] = json!({ "$ref": "#/$defs/attribution" });
    let text = attribution.to_string().replace("#/$defs/", "#/$defs/attribution/$defs/");
    let mut attribution: Value = serde_json::from_str(&text).unwrap();
    attribution.as_object_mut().unwrap().remove("$id");
    schema["$defs"] = json!({ "attribution": attribution });
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    for (name, of) in fixtures::all() {
        let errors: Vec<String> = schema.iter_errors(&value(&comparison(of))).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
    for (path, wrong) in
        [("/attributions/0/scores/combined/0", json!("x")), ("/rank_correlation/0/0", json!(2)), ("/left_out/0", json!({}))]
    {
        let mut broken = value(&comparison(fixtures::plain()));
        *broken.pointer_mut(path).unwrap() = wrong;
        assert!(!schema.is_valid(&broken) && parse_comparison(broken.to_string().as_bytes()).is_err(), "{path}");
    }
}

#[test]
fn what_does_not_belong_together_is_refused_by_name() {
    for (path, wrong, says) in [
        ("/format", json!("pellucid-compare/2"), "format is \"pellucid-compare/2\""),
        ("/attributions/1/scores/combined", json!([1.0]), "attributions[1]: scores.combined has 1 entries for 5 features"),
        ("/attributions/1/features/0/text", json!("Tho"), "attributions[1].features is not that of attributions[0]"),
        ("/attributions/2/model/id", json!("other"), "attributions[2].model.id"),
        ("/attributions/2/input/tokens/0/id", json!(9), "attributions[2].input"),
        ("/attributions/2/target/tokens/0/id", json!(9), "attributions[2].target"),
        ("/rank_correlation", json!([]), "rank_correlation has 0 rows for 3 methods"),
        ("/rank_correlation/1", json!([1.0]), "rank_correlation[1] has 1 entries for 3 methods"),
        ("/rank_correlation/1/0", json!(1.5), "rank_correlation[1][0] is 1.5, outside -1 to 1"),
    ] {
        let mut broken = value(&comparison(fixtures::plain()));
        *broken.pointer_mut(path).unwrap() = wrong;
        let error = parse_comparison(broken.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{path}: {error}");
    }
    assert!(form("json").is_some() && ComparisonForm::named("SVG").is_none() && ComparisonForm::named("HTM") == Some(ComparisonForm::Html));
}

#[test]
fn a_long_text_shows_its_strongest_units_and_says_so() {
    let c = comparison(fixtures::many());
    let seen = drawn(ComparisonForm::Terminal, &c, &Options::default());
    assert!(seen.contains("120 of 2000 units, those with the strongest scores"), "{}", &seen[..400]);
    assert!(seen.lines().count() < 250);
}

#[test]
fn lines_of_the_terminal_fit_its_width() {
    for (name, of) in fixtures::all() {
        for width in [60, 100] {
            for line in drawn(ComparisonForm::Terminal, &comparison(of.clone()), &Options { width, ..Options::default() }).lines() {
                assert!(unicode_width::UnicodeWidthStr::width(line) <= width.max(80), "{name} at {width}: {line:?}");
            }
        }
    }
}

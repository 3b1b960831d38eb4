//! Attributions made by hand, one for each thing that can go wrong in drawing.

use pellucid_core::*;
use serde_json::json;

/// Every fixture with its name.
pub(crate) fn all() -> Vec<(&'static str, Attribution)> {
    vec![
        ("plain", plain()),
        ("contrast", contrast()),
        ("several_targets", several_targets()),
        ("chat", chat()),
        ("ids_only", ids_only()),
        ("scripts", scripts()),
        ("hostile", hostile()),
        ("zeros", zeros()),
        ("one_feature", one_feature()),
        ("many", many()),
        ("long_units", long_units()),
        ("white_space", white_space()),
        ("class", class()),
        ("masked", masked()),
        ("similarity", similarity()),
        ("unsigned", unsigned()),
    ]
}

/// Every fixture with a picture.
pub(crate) fn pictured() -> Vec<(&'static str, Attribution)> {
    vec![("cropped", cropped()), ("single_pixels", single_pixels()), ("with_words", with_words()), ("boxes", boxes())]
}

/// A picture as a `data:` address: pixel `(x, y)` is `(40·x, 40·y, 128)`.
pub(crate) fn photo(width: u32, height: u32) -> String {
    use base64::Engine;
    let pixels = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([(40 * x % 256) as u8, (40 * y % 256) as u8, 128]));
    let mut png = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut png, image::ImageFormat::Png).unwrap();
    format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png.into_inner()))
}

/// Patches with scores in a picture of `size`, of which the model saw `seen`; the class is “cat”.
pub(crate) fn patches(size: (u32, u32), seen: Region, grid: [usize; 2], scores: &[f64]) -> Attribution {
    let mut a = tokens(&[], &[("cat", 0.9)]);
    a.target.kind = TargetKind::Class;
    (a.target.origin, a.target.score) = ("predicted".into(), "logit".into());
    (a.target.tokens[0].position, a.target.tokens[0].span) = (0, None);
    a.model.architecture = "vit".into();
    a.method.units = "patch".into();
    a.input.text = None;
    a.input.tokens = vec![Token::default(); scores.len() + 1];
    let (width, height) = size;
    a.input.image = Some(ImageRecord {
        name: Some("<cat>.png".into()),
        sha256: "5a".repeat(32),
        width,
        height,
        seen,
        grid,
        controls: Vec::new(),
        picture: photo(width, height),
    });
    let region = |i: usize| Some(seen.cell(grid, i / grid[1], i % grid[1]));
    a.features = (0..scores.len()).map(|i| Feature { region: region(i), positions: vec![i + 1], ..Feature::default() }).collect();
    a.scores.combined = scores.to_vec();
    a.scores.per_target_token = scores.iter().map(|s| vec![Some(*s)]).collect();
    a
}

/// Two by two patches on the middle of a wide picture, with signs.
pub(crate) fn cropped() -> Attribution {
    let seen = Region { left: 0.25, top: 0.0, width: 0.5, height: 1.0 };
    let mut a = patches((8, 4), seen, [2, 2], &[0.5, -1.0, 2.0, 0.05]);
    let region = Region { left: 0.25, top: 0.5, width: 0.25, height: 0.5 };
    a.input.image.as_mut().expect("made above").controls = vec![RegionControl { region, factor: 0.5 }];
    a
}

/// Scores of single pixels beside those of the patches, without a sign.
pub(crate) fn single_pixels() -> Attribution {
    let mut a = patches((4, 4), Region::WHOLE, [2, 2], &[1.0, 2.0, 3.0, 0.0]);
    a.method.sign = Sign::Unsigned;
    a.pixels = Some(PixelScores { width: 2, height: 2, values: vec![1.0, 2.0, 3.0, 0.0] });
    a
}

/// A text that is set beside a picture; its tokens have scores too.
pub(crate) fn with_words() -> Attribution {
    let mut a = patches((6, 4), Region::WHOLE, [1, 2], &[0.25, -0.5]);
    a.target.kind = TargetKind::Match;
    a.target.text = Some("a cat".into());
    a.target.tokens[0].text = "a cat".into();
    a.target.tokens.push(TargetToken { probability: 0.1, ..a.target.tokens[0].clone() });
    for (text, span, score) in [("a", Span { start: 0, end: 1 }, 0.1), ("cat", Span { start: 2, end: 5 }, 1.0)] {
        a.features.push(Feature { part: Part::Target, text: text.into(), span: Some(span), positions: vec![3], ..Feature::default() });
        a.scores.combined.push(score);
        a.scores.per_target_token.push(vec![Some(score)]);
    }
    a.target.tokens.pop();
    a.input.tokens.push(Token::default());
    a
}

/// Boxes that overlap, one with a name of its own.
pub(crate) fn boxes() -> Attribution {
    let mut a = patches((10, 10), Region::WHOLE, [1, 1], &[0.5]);
    let region = |left, top, width, height| Some(Region { left, top, width, height });
    a.features[0] = Feature { region: region(0.0, 0.0, 0.6, 0.6), ..Feature::default() };
    a.features.push(Feature { region: region(0.4, 0.4, 0.5, 0.5), text: "left \u{1b}[31mear<b>".into(), ..Feature::default() });
    a.scores.combined = vec![0.5, -1.5];
    a.scores.per_target_token = vec![vec![Some(0.5)], vec![Some(-1.5)]];
    a
}

/// An attribution whose tokens are the features: `pieces` put together are the prompt.
pub(crate) fn tokens(pieces: &[(&str, f64)], target: &[(&str, f64)]) -> Attribution {
    let text: String = pieces.iter().map(|p| p.0).collect();
    let mut at = 0;
    let spans: Vec<Span> = pieces.iter().map(|(p, _)| next(&mut at, p)).collect();
    let tokens = pieces.iter().zip(&spans).enumerate().map(|(i, ((p, _), s))| Token {
        id: 100 + i as u32,
        text: p.to_string(),
        span: Some(*s),
        ..Token::default()
    });
    let features = pieces.iter().zip(&spans).enumerate().map(|(i, ((p, _), s))| Feature {
        part: Part::Prompt,
        text: p.trim().to_owned(),
        span: Some(*s),
        positions: vec![i],
        ..Feature::default()
    });
    let n = target.len() as f64;
    Attribution {
        format: FORMAT.into(),
        tool_version: "0.1.0".into(),
        model: ModelRecord {
            id: "smollm2-135m".into(),
            architecture: "llama".into(),
            files: vec![FileRecord { name: "model.safetensors".into(), bytes: 269_060_552, sha256: Some("5a".repeat(32)) }],
            dtype: "f32".into(),
            device: "cpu".into(),
        },
        input: InputRecord { text: Some(text), tokens: tokens.collect(), ..InputRecord::default() },
        target: target_record(target, pieces.len()),
        method: MethodRecord {
            id: "atman".into(),
            parameters: json!({"factor": 0.1, "mode": "log-additive", "layers": null, "kappa": 0.7}),
            seed: None,
            postprocessing: "none".into(),
            units: "token".into(),
            sign: Sign::Signed,
        },
        features: features.collect(),
        scores: Scores {
            combined: pieces.iter().map(|p| p.1).collect(),
            // Shares that add up to the combined score and differ in sign.
            per_target_token: pieces.iter().map(|p| shares(p.1, target.len()).map(Some).collect()).collect(),
            per_contrast_token: None,
        },
        pixels: None,
        promises: vec![],
        cost: CostRecord {
            wall_ms: 412.5,
            forwards: pieces.len() + 1,
            backwards: 0,
            sweeps: 1,
            rows: 90 * n as u64,
            gflop: 12.25,
            peak_bytes: Some(612_000_000),
        },
    }
}

fn shares(score: f64, n: usize) -> impl Iterator<Item = f64> {
    let weight = move |t: usize| if n == 1 { 1.0 } else { ((t * 7 + 3) % 5) as f64 - 1.0 };
    let total: f64 = (0..n).map(weight).sum();
    (0..n).map(move |t| score * weight(t) / total)
}

fn next(at: &mut usize, piece: &str) -> Span {
    let start = *at;
    *at += piece.chars().count();
    Span { start, end: *at }
}

fn target_tokens(tokens: &[(&str, f64)], first: usize) -> Vec<TargetToken> {
    let mut at = 0;
    let token = |(i, (text, p)): (usize, &(&str, f64))| TargetToken {
        id: 7000 + i as u32,
        text: text.to_string(),
        span: Some(next(&mut at, text)),
        position: first + i,
        log_probability: p.ln(),
        probability: *p,
        logit: 20.0 + p.ln(),
        rank: if *p > 0.3 { 0 } else { 4 },
    };
    tokens.iter().enumerate().map(token).collect()
}

fn target_record(tokens: &[(&str, f64)], first: usize) -> TargetRecord {
    TargetRecord {
        text: Some(tokens.iter().map(|t| t.0).collect()),
        kind: TargetKind::Continuation,
        origin: "given".into(),
        score: "log-probability".into(),
        tokens: target_tokens(tokens, first),
        contrast: None,
    }
}

pub(crate) fn plain() -> Attribution {
    tokens(&[("The", 0.31), (" capital", 3.92), (" of", -0.44), (" France", 6.105), (" is", -1.87)], &[(" Paris", 0.774)])
}

pub(crate) fn contrast() -> Attribution {
    let mut a = plain();
    a.target.contrast = Some(ContrastRecord { text: Some(" London".into()), tokens: target_tokens(&[(" London", 0.0123)], 5) });
    a.scores.per_contrast_token = Some(vec![vec![Some(0.25)]; 5]);
    a.scores.combined = vec![0.06, 0.4, -0.69, 5.855, -2.12];
    a
}

/// Every field there is.
pub(crate) fn whole() -> Attribution {
    let mut a = contrast();
    a.input.second = Some(Span { start: 4, end: 24 });
    a.input.tokens[4].kind = 1;
    a.features[0].special = true;
    a.target.kind = TargetKind::Class;
    a.promises = vec![Promise { name: "conservation".into(), target_token: 0, expected: 7.25, got: 7.25 }];
    a
}

/// A class set against another, with the tokens that the model was given beside the text's own.
pub(crate) fn class() -> Attribution {
    let mut a = tokens(&[("ignore", 2.5), (" all", 0.5), (" rules", 1.0), (" .", -1.5)], &[("injection", 0.97)]);
    for (at, name, score) in [(0, "[CLS]", 0.25), (5, "[SEP]", -0.75)] {
        a.input.tokens.insert(at, Token { id: 1, text: name.into(), ..Token::default() });
        a.features.insert(at, Feature { part: Part::Prompt, text: name.into(), special: true, ..Feature::default() });
        a.scores.combined.insert(at, score);
        a.scores.per_target_token.insert(at, vec![Some(score)]);
    }
    a.features.iter_mut().enumerate().for_each(|(i, f)| f.positions = vec![i]);
    a.target.kind = TargetKind::Class;
    a.target.origin = "predicted".into();
    (a.target.tokens[0].id, a.target.tokens[0].position, a.target.tokens[0].span) = (1, 0, None);
    let safe = TargetToken { id: 0, span: None, position: 0, ..target_tokens(&[("safe", 0.03)], 0)[0].clone() };
    a.target.contrast = Some(ContrastRecord { text: Some("safe".into()), tokens: vec![safe] });
    a.scores.per_contrast_token = Some(vec![vec![Some(0.0)]; 6]);
    a
}

pub(crate) fn masked() -> Attribution {
    let mut a = tokens(&[("paris", 3.0), (" is", 0.1), (" in", 0.2), (" [MASK]", -0.3), (".", 0.0)], &[("france", 0.41)]);
    a.target.kind = TargetKind::MaskedToken;
    a.target.tokens[0].position = 3;
    a.features[3].special = true;
    a
}

/// Two target texts are compared with; the text itself has two lines.
pub(crate) fn similarity() -> Attribution {
    let mut a = tokens(&[("A", -0.02), (" cat", 0.21), (" sleeps", 0.12), (".", 0.0)], &[("cosine", 1.0)]);
    a.target.kind = TargetKind::Similarity;
    a.target.text = Some("The kitten naps.".into());
    a.target.score = "logit".into();
    (a.target.tokens[0].logit, a.target.tokens[0].position, a.target.tokens[0].span) = (0.6543, 0, None);
    a
}

/// Scores without a sign, and promises, one of them broken.
pub(crate) fn unsigned() -> Attribution {
    let mut a = tokens(&[("Why", 0.05), (" is", 0.01), (" the", 0.2), (" sky", 0.64), ("?", 0.1)], &[(" Light", 0.3), (" scatters", 0.6)]);
    a.scores.per_target_token = a.scores.combined.iter().map(|s| vec![Some(s * 0.25), Some(s * 0.75)]).collect();
    a.method.id = "rollout".into();
    a.method.sign = Sign::Unsigned;
    let promise = |name: &str, t, expected, got| Promise { name: name.into(), target_token: t, expected, got };
    a.promises =
        vec![promise("conservation", 0, 9.13701, 9.13703), promise("conservation", 1, -3.0, -2.5), promise("completeness", 0, 1.5, 1.5)];
    a
}

pub(crate) fn several_targets() -> Attribution {
    let mut a = tokens(
        &[
            ("Q", 0.01),
            (":", 0.0),
            (" Who", 0.51),
            (" wrote", 2.2),
            (" the", 0.1),
            (" Pr", 1.4),
            ("inc", 1.9),
            ("ipia", 3.3),
            ("?", -0.8),
            ("\n", 0.2),
            ("A", -1.1),
            (":", 0.9),
        ],
        &[(" Isaac", 0.62), (" Newton", 0.981), (",", 0.0821), (" in", 0.000213)],
    );
    // Earlier target tokens are features of the later ones.
    for (i, (text, start, end)) in [("Isaac", 0, 6), ("Newton", 6, 13), (",", 13, 14)].into_iter().enumerate() {
        a.features.push(Feature {
            part: Part::Target,
            text: text.into(),
            span: Some(Span { start, end }),
            positions: vec![12 + i],
            ..Feature::default()
        });
        a.scores.per_target_token.push((0..4).map(|t| (t > i).then_some(0.7 - i as f64)).collect());
        a.scores.combined.push((0.7 - i as f64) * (3 - i) as f64);
    }
    a
}

pub(crate) fn chat() -> Attribution {
    let pieces = [
        ("<|im_start|>", 0.0),
        ("user\n", 0.0),
        ("Name", 0.7),
        (" a", -0.1),
        (" planet", 2.4),
        (" with", 0.2),
        (" rings", 4.8),
        (".", -0.6),
        ("<|im_end|>", 0.0),
        ("\n<|im_start|>assistant\n", 0.0),
    ];
    let mut a = tokens(&pieces, &[("Saturn", 0.83)]);
    let kept = 2..8;
    a.input.shown = vec![Span { start: a.features[2].span.unwrap().start, end: a.features[7].span.unwrap().end }];
    a.features = a.features[kept.clone()].to_vec();
    a.scores.combined = a.scores.combined[kept.clone()].to_vec();
    a.scores.per_target_token = a.scores.per_target_token[kept].to_vec();
    a
}

pub(crate) fn ids_only() -> Attribution {
    let mut a = plain();
    a.input.text = None;
    a.target.text = None;
    a.input.tokens.iter_mut().for_each(|t| (t.text, t.span) = (String::new(), None));
    a.features.iter_mut().zip(&a.input.tokens).for_each(|(f, t)| (f.text, f.span) = (format!("#{}", t.id), None));
    a.target.tokens.iter_mut().for_each(|t| (t.text, t.span) = (String::new(), None));
    a
}

pub(crate) fn scripts() -> Attribution {
    let mut a = tokens(
        &[
            ("Café", 1.0),
            (" e\u{301}te", -0.7),
            ("\u{301}", 0.4),
            (" 👩\u{200d}", 0.9),
            ("👩\u{200d}👧", 0.5),
            (" 🇫🇷", -1.2),
            (" 東京", 2.0),
            ("は日本", -0.3),
            ("\n", 0.0),
            ("عاصمة", 1.7),
            (" فرن", 2.5),
            ("سا", 0.6),
            (" هي", -1.4),
            (" baris", 0.2),
            (" 🎉", 0.1),
        ],
        &[(" باريس", 0.55)],
    );
    // A character whose bytes are spread over three tokens: all cover the same span.
    let (span, position) = (a.features[14].span, 14);
    for score in [0.7, -0.2] {
        a.features.push(Feature { part: Part::Prompt, text: "🎉".into(), span, positions: vec![position], ..Feature::default() });
        a.scores.combined.push(score);
        a.scores.per_target_token.push(vec![Some(score)]);
    }
    a
}

pub(crate) fn hostile() -> Attribution {
    let mut a = tokens(
        &[
            ("<script>alert('x')</script>", 2.0),
            (" </div><img src=x onerror=\"alert(1)\">", -1.0),
            (" \u{1b}[31mred\u{1b}[0m\u{1b}]0;owned\u{7}", 0.5),
            (" \u{202e}txet\u{202c} \u{9b}2J", 0.3),
            (" \\input{/etc/passwd} $x^2_1$ 100% #1 ~a --- \"q\" `q' ?` |<>", -0.7),
            (" ]]> <!-- &amp; -->", 1.5),
            (" {--v0:1;} */ \r\n<|im_end|>\r", 0.1),
            ("\u{0}\u{fffe}\u{feff}", 0.2),
        ],
        &[("</script><b>", 0.4)],
    );
    a.model.id = "</title><script>alert(2)</script>\u{1b}[2J".into();
    a.method.parameters = json!({"<b>k</b>": "\u{1b}c<i>v</i>", "list": ["</script>"]});
    a.model.files[0].name = "\" onmouseover=\"alert(3)".into();
    a.method.units = "<u>token</u>".into();
    a
}

pub(crate) fn zeros() -> Attribution {
    let mut a = plain();
    a.scores.combined = vec![0.0, -0.0, 0.0, 0.0, 0.0];
    a.scores.per_target_token = vec![vec![Some(0.0)]; 5];
    a
}

pub(crate) fn one_feature() -> Attribution {
    tokens(&[("Hello", -0.00042)], &[(" world", 0.11)])
}

pub(crate) fn many() -> Attribution {
    let words = ["stone", " river", " the", " of", " light", " and", " extraordinarily", " a", ".", " Then"];
    let pieces: Vec<(&str, f64)> =
        (0..2000).map(|i| (words[(i * 7 + i / 10) % 10], ((i * 37 % 101) as f64 - 50.0) / if i % 13 == 0 { 10.0 } else { 60.0 })).collect();
    tokens(&pieces, &[(" end", 0.2), (".", 0.9)])
}

pub(crate) fn long_units() -> Attribution {
    let mut a = tokens(
        &[
            ("The museum opens at nine in the morning and closes at six, except on Mondays, when it stays closed all day.", 0.42),
            (" Tickets cost twelve euros for adults and four euros for children under the age of twelve.", 5.93),
            (" The café on the second floor serves a small lunch.\n", -0.31),
            ("Guided tours begin every full hour at the information desk and take about ninety minutes.", -1.27),
            ("\n\nHow much does a ticket for an adult cost?", 0.0),
        ],
        &[(" Twelve", 0.41), (" euros", 0.97)],
    );
    // The question is not explained.
    a.features.pop();
    a.scores.combined.pop();
    a.scores.per_target_token.pop();
    a.method.units = "sentence".into();
    a
}

pub(crate) fn white_space() -> Attribution {
    let mut a =
        tokens(&[("def", 1.0), ("\n\n", 0.8), ("\t", -0.9), ("  x", 0.4), ("   ", 0.6), ("= 1\t", -0.2), ("\n", 0.5)], &[("\n", 0.5)]);
    // A token that was added in front and is not in the text.
    a.input.tokens.insert(0, Token { id: 1, text: "<s>".into(), ..Token::default() });
    a.features.iter_mut().for_each(|f| f.positions[0] += 1);
    a.features.insert(0, Feature { part: Part::Prompt, text: "<s>".into(), special: true, ..Feature::default() });
    a.scores.combined.insert(0, 0.3);
    a.scores.per_target_token.insert(0, vec![Some(0.3)]);
    a.target.tokens[0].position = 8;
    a
}

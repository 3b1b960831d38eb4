//! What is not done, and says so.

use pellucid_core::{Method, Question, Score};
use pellucid_methods::{After, Alti, AltiLogit, DecompX, FlashTrace, Ifr, VectorNorms, find};
use serde_json::json;

use crate::cases::{contrasted, engine, question};

fn refusal(case: &str, method: &dyn Method, question: &Question) -> String {
    method.attribute(&engine(case), question).expect_err("this cannot be done").to_string()
}

fn plainly(case: &str, method: &dyn Method) -> String {
    refusal(case, method, &question(case, Score::Logit))
}

#[test]
fn norms_are_looked_for_where_they_stand() {
    let before = "`after` is ln1, but in this model norms stand before attention and feed-forward network, not behind; use residual";
    assert_eq!(plainly("llama", &Alti { after: Some(After::Ln1), ..Alti::default() }), before);
    assert_eq!(plainly("gptj", &VectorNorms { after: Some(After::Ln2), ..VectorNorms::default() }), before.replace("ln1", "ln2"));
    assert_eq!(
        plainly("bert", &Alti { after: Some(After::Residual), ..Alti::default() }),
        "`after` is residual, but in this model a norm follows the attention of every block; use ln1 or ln2"
    );
    assert!(plainly("bert", &Ifr::default()).contains("ifr needs blocks with norms before attention"));
}

#[test]
fn decompx_is_for_classifiers_and_alti_logit_for_decoders() {
    assert!(plainly("gpt2", &DecompX::default()).contains("decompx needs a BERT-like classifier"));
    assert!(plainly("bert", &AltiLogit::default()).contains("this bert model is none: use decompx or alti"));
    assert!(plainly("distilbert", &FlashTrace::default()).contains("this distilbert model is none"));
    let mut small = engine("bert");
    small.max_memory = Some(8 << 20);
    let refused = DecompX::default().attribute(&small, &question("bert", Score::Logit)).expect_err("no room").to_string();
    assert!(refused.contains("MiB") && refused.contains("--max-memory"), "{refused}");
}

#[test]
fn a_contrast_is_refused_where_it_would_leave_nothing() {
    for (case, id) in [("bert", "alti"), ("bert", "vector-norms"), ("llama", "value-zeroing"), ("llama", "ifr"), ("llama", "flash-trace")] {
        let method = (find(id).unwrap().make)(json!({})).unwrap();
        let refused = refusal(case, &*method, &contrasted(case, Score::Logit));
        assert!(refused.starts_with(&format!("{id} looks at where the target is read, not at what it is")), "{refused}");
        assert!(method.estimate(&engine(case), &contrasted(case, Score::Logit)).is_err());
    }
}

#[test]
fn spans_lie_inside_what_they_are_spans_of() {
    let of = |span, thinking, hops| FlashTrace { span, thinking, hops, ..FlashTrace::default() };
    assert_eq!(plainly("llama", &of(Some([0, 2]), None, 0)), "span [0, 2] is outside the target, which has 2 tokens");
    assert_eq!(plainly("llama", &of(None, Some([3, 9]), 1)), "thinking [3, 9] is outside the input, which has 7 tokens");
    let overlap = "thinking [3, 5] overlaps positions 5 to 6, where the target is read; it must lie beside them";
    assert_eq!(plainly("llama", &of(None, Some([3, 5]), 1)), overlap);
    assert_eq!(plainly("llama", &of(Some([1, 0]), None, 0)), "span [1, 0] ends before it begins; give the first and the last");
    assert_eq!(plainly("llama", &of(None, None, 2)), "hops is 2, but there is no thinking span to hop through");
    assert!(plainly("llama", &of(None, Some([1, 2]), 0)).contains("hops is 0"));
    let outside =
        FlashTrace::default().trace(&engine("llama"), &question("llama", Score::Logit).prompt, 6..7, &[]).expect_err("six tokens");
    assert_eq!(outside.to_string(), "rows 6 to 6 are outside the input, which has 6 tokens");
}

#[test]
fn numbers_out_of_range_are_refused() {
    for (id, parameters, problem) in [
        ("alti", json!({"norm": "l3"}), "`norm` is \"l3\""),
        ("alti", json!({"factor": 1}), "unknown field `factor`"),
        ("ifr", json!({"threshold": 0.7}), "threshold 0.7 is not from 0 to below 0.5"),
        ("ifr", json!({"epsilon": 0.0}), "epsilon 0 is not above 0"),
        ("flash-trace", json!({"hops": -1}), "`hops` is -1"),
        ("decompx", json!({"activation": "relu"}), "`activation` is \"relu\""),
    ] {
        let refused = (find(id).unwrap().make)(parameters).expect_err(id).to_string();
        assert!(refused.contains(problem), "{refused}");
    }
}

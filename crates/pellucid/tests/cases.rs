//! The reference cases that this version must reproduce, check by check.

use std::path::Path;

use pellucid::verify::{Choice, Status, verify};

fn passes(case: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases").join(case);
    let mut passed = 0;
    let mut bad = Vec::new();
    verify(&folder, &Choice::default(), &mut |row| match row.status {
        Status::Passed => passed += 1,
        // Evaluation comes later; every other check must pass.
        Status::Unsupported if row.kind == "metric" => {}
        _ => bad.push(format!("{} ({}): {:?} error {:?} tolerance {:?}", row.check, row.kind, row.reason, row.error, row.tolerance)),
    })
    .unwrap();
    assert!(bad.is_empty(), "{case}: {} bad\n{}", bad.len(), bad.join("\n"));
    assert!(passed > 0, "{case}: no check was run");
}

macro_rules! cases {
    ($($name:ident)*) => { $(#[test] fn $name() { passes(stringify!($name)); })* };
}
cases!(control_row chunks gptj gpt2 llama qwen2 gpt_neox llama_ifr gpt2_alti_logit);
cases!(bert bert_padded bert_alti roberta roberta_alti distilbert distilbert_alti);
cases!(vit deit clip render metrics);

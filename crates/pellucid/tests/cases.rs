//! The reference cases that this version must reproduce, check by check.

use std::path::Path;

use pellucid::verify::{Choice, Status, verify};

/// Methods and kinds that are not there yet; every other check of these cases must pass.
const LATER: [&str; 12] = [
    "attention-gradient",
    "attention-rollout",
    "attention ",
    "chefer",
    "saliency",
    "input-x-gradient",
    "integrated-gradients",
    "attn-lrp",
    "cp-lrp",
    "alti",
    "ifr",
    "flash-trace",
];

fn passes(case: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases").join(case);
    let mut passed = 0;
    let mut bad = Vec::new();
    verify(&folder, &Choice::default(), &mut |row| match row.status {
        Status::Passed => passed += 1,
        Status::Unsupported
            if LATER.iter().any(|l| row.reason.as_deref().is_some_and(|r| r.trim_start_matches("kind ").starts_with(l))) => {}
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

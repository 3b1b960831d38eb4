//! Checks that send signals down.

use pellucid_core::{
    Result, Score,
    rules::Rules,
    walk::down::{Combine, Descent, Heads, Look, Patterns, Signal, Term, Wanted},
};

use super::{
    case::{Array, Check},
    checks::{Runner, list, unsupported, whole},
};

impl Runner<'_> {
    /// The explained number of a check.
    pub(super) fn terms(check: &Check) -> Result<Vec<Term>> {
        let target = &check.target;
        let score = match target["score"].as_str() {
            Some("logit") => Score::Logit,
            Some("probability") => Score::Probability,
            Some("log-probability") => Score::LogProbability,
            other => return unsupported(format!("a target of score {other:?}")),
        };
        let term = |row, output| Term { row, output, score, temperature: 1.0, weight: 1.0 };
        if target["class"].is_u64() {
            return Ok(vec![term(0, whole(&target["class"])? as u32)]);
        }
        if target["pairs"].is_array() {
            // Each pair is asked alone, of a tower that is compared with nothing else.
            return Ok(vec![term(0, 0)]);
        }
        let (rows, tokens) = (list(&target["rows"])?, list(&target["tokens"])?);
        Ok(rows.into_iter().zip(tokens).map(|(row, token)| term(row, token as u32)).collect())
    }

    /// What reaches a pattern, `[head, query, key]`.
    pub(super) fn signal_at_pattern(&self, check: &Check, rules: Rules, layer: usize) -> Result<Array> {
        let engine = self.engine(check)?;
        let input = self.input(check)?;
        let (n, heads) = (input.len(), engine.model.description().heads);
        let signals = vec![Signal { rules, terms: Self::terms(check)? }];
        let descent = Descent { input, control: self.mask(check)?, signals, ..Descent::default() };
        let looks = vec![Look { of: Combine::Signal(0), heads: Heads::Each }];
        let mut found = vec![0.0; heads * n * n];
        engine.down(&[descent], &Wanted { looks, lowest: layer, ..Wanted::default() }, &mut |block: &Patterns<'_>| {
            if block.layer == layer {
                let rows = block.rows.len() * n;
                for (head, part) in block.looks[0].chunks(rows).enumerate() {
                    found[(head * n + block.rows.start) * n..][..rows].copy_from_slice(part);
                }
            }
            Ok(())
        })?;
        Ok(Array::new(&[heads, n, n], found))
    }
}

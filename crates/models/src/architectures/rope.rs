//! Frequencies of rotary position embeddings and their long-context scalings.
//!
//! θ_i = base^(−2i/dims) radians per position (Su et al. 2021, arXiv 2104.09864). Scalings as the configs in circulation name them:
//! `linear` (positions divided), `llama3` (low frequencies divided, a ramp between), `yarn` (Peng et al. 2023, arXiv 2309.00071),
//! `factors` (each frequency divided by its own number, as GGUF files store them). `dynamic` and `longrope` change with the length of the
//! input and are refused.

use std::f64::consts::PI;

use pellucid_core::{Error, Result, RotaryLayout, model::Rotary};

use super::config::Config;

/// Wider than the head of any real model; a frequency is kept for every pair of its numbers.
const WIDEST_HEAD: usize = 1 << 16;

/// Rotary embedding of the first `dims` numbers of heads of width `d_head`.
///
/// # Errors
/// An odd or too large `dims`, a scaling of an unknown type or without its numbers.
pub(super) fn rotary(config: &Config, layout: RotaryLayout, d_head: usize, dims: usize, default_base: f64) -> Result<Rotary> {
    config.check_rope()?;
    if d_head > WIDEST_HEAD {
        return Err(Error::Weights(format!("a head of {d_head} numbers is wider than any real one; at most {WIDEST_HEAD} are possible")));
    }
    if dims == 0 || dims % 2 == 1 || dims > d_head {
        return Err(Error::Weights(format!(
            "rotary embedding of {dims} numbers of a head of {d_head}: it takes an even number of them, at least 2 and at most all"
        )));
    }
    let base = config.rope_first_number_or(&["rope_theta", "rotary_emb_base"], default_base)?;
    if base <= 1.0 {
        return Err(Error::Weights(format!("the config's rotary base (`rope_theta`) is {base}, not a number above 1")));
    }
    let plain: Vec<f64> = (0..dims / 2).map(|i| base.powf(-2.0 * i as f64 / dims as f64)).collect();
    let kind = match ["rope_type", "type"].iter().find_map(|k| config.rope(k)) {
        None => "default",
        Some(kind) => kind.as_str().ok_or_else(|| Error::Weights(format!("the config's `rope_type` is {kind}, not a name")))?,
    };
    let mut magnitude = 1.0;
    let frequencies: Vec<f64> = match kind {
        "default" => plain,
        "linear" => {
            let factor = positive(config, "factor")?;
            plain.into_iter().map(|f| f / factor).collect()
        }
        "llama3" => llama3(config, plain)?,
        "yarn" => {
            let factor = positive(config, "factor")?;
            magnitude = positive_or(config, "attention_factor", if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 })?;
            yarn(config, plain, base, dims, factor)?
        }
        "factors" => {
            let factors =
                config.rope("factors").and_then(|v| v.as_array()).map(|v| v.iter().filter_map(|f| f.as_f64()).collect::<Vec<_>>());
            let factors = factors.filter(|f| f.len() == plain.len() && f.iter().all(|f| *f > 0.0));
            let factors =
                factors.ok_or_else(|| Error::Weights(format!("rotary scaling by factors needs {} numbers above 0", plain.len())))?;
            plain.into_iter().zip(factors).map(|(f, by)| f / by).collect()
        }
        other => {
            let known = "default, linear, llama3 and yarn";
            return Err(Error::Unsupported(format!("rotary scaling `{other}` is not supported; there are {known}")));
        }
    };
    if !frequencies.iter().all(|f| f.is_finite()) {
        return Err(Error::Weights(format!("the config's rotary scaling `{kind}` has settings that give no finite frequencies")));
    }
    Ok(Rotary { dims, layout, frequencies, magnitude, d_head })
}

fn positive(config: &Config, key: &str) -> Result<f64> {
    match config.rope(key) {
        Some(_) => positive_or(config, key, 1.0),
        None => Err(Error::Weights(format!("the config's rotary scaling has no `{key}`"))),
    }
}

fn positive_or(config: &Config, key: &str, default: f64) -> Result<f64> {
    match config.rope_number_or(key, default)? {
        n if n > 0.0 => Ok(n),
        n => Err(Error::Weights(format!("the config's rotary scaling has `{key}` {n}, not a number above 0"))),
    }
}

/// Wavelengths beyond the old context are stretched by `factor`, short ones stay, those between are mixed.
fn llama3(config: &Config, plain: Vec<f64>) -> Result<Vec<f64>> {
    let (factor, low, high) = (positive(config, "factor")?, positive(config, "low_freq_factor")?, positive(config, "high_freq_factor")?);
    let old = positive(config, "original_max_position_embeddings")?;
    Ok(plain
        .into_iter()
        .map(|f| {
            let turns = old * f / (2.0 * PI);
            let smooth = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 - smooth) * f / factor + smooth * f
        })
        .collect())
}

/// NTK-by-parts: a ramp over the pairs between those that turn `beta_fast` and `beta_slow` times in the old context.
fn yarn(config: &Config, plain: Vec<f64>, base: f64, dims: usize, factor: f64) -> Result<Vec<f64>> {
    let context = config.size_or("max_position_embeddings", 2048)? as f64;
    let old = positive_or(config, "original_max_position_embeddings", context)?;
    let pair = |turns: f64| dims as f64 * (old / (turns * 2.0 * PI)).ln() / (2.0 * base.ln());
    let (low, high) = (pair(positive_or(config, "beta_fast", 32.0)?).floor(), pair(positive_or(config, "beta_slow", 1.0)?).ceil());
    let (low, mut high) = (low.max(0.0), high.min(dims as f64 - 1.0));
    if low == high {
        high += 0.001;
    }
    let stretched = |i: usize| ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
    Ok(plain.into_iter().enumerate().map(|(i, f)| f / factor * stretched(i) + f * (1.0 - stretched(i))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(json: &str) -> Rotary {
        let config = Config::new(serde_json::from_str(json).unwrap()).unwrap();
        rotary(&config, RotaryLayout::HalfSplit, 16, 16, 10_000.0).unwrap()
    }

    fn close(got: &[f64], expected: &[f64]) {
        got.iter().zip(expected).for_each(|(g, e)| assert!((g - e).abs() <= 3e-7 * e.abs(), "{got:?} {expected:?}"));
        assert_eq!(got.len(), expected.len());
    }

    #[test]
    fn old_and_new_keys_give_the_same_frequencies() {
        let old = made(r#"{"rope_theta": 500000.0, "rope_scaling": {"type": "linear", "factor": 4.0}}"#);
        let new = made(r#"{"rope_parameters": {"rope_theta": 500000.0, "rope_type": "linear", "factor": 4.0}}"#);
        assert_eq!(old, new);
        assert!((old.frequencies[0] - 0.25).abs() < 1e-15);
    }

    #[test]
    fn a_scaling_that_depends_on_length_is_refused() {
        let config = Config::new(serde_json::json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}})).unwrap();
        let error = rotary(&config, RotaryLayout::HalfSplit, 16, 16, 1e4).unwrap_err();
        assert!(error.to_string().contains("`dynamic`"), "{error}");
    }

    /// Expected numbers: transformers' `ROPE_INIT_FUNCTIONS` for the same parameters, in f32.
    #[test]
    fn llama3_scaling_agrees_with_transformers() {
        let got = made(
            r#"{"rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 256}}"#,
        );
        close(&got.frequencies, &[1.0, 0.316_227_76, 0.1, 0.006_613_107, 0.001_25, 0.000_395_284_73, 0.000_125, 0.000_039_528_473]);
        assert_eq!(got.magnitude, 1.0);
    }

    #[test]
    fn yarn_scaling_agrees_with_transformers() {
        let got = made(
            r#"{"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                "original_max_position_embeddings": 1024}}"#,
        );
        close(
            &got.frequencies,
            &[1.0, 0.316_227_76, 0.081_250_004, 0.019_764_237, 0.004_375, 0.000_790_569_47, 0.000_25, 0.000_079_056_95],
        );
        assert!((got.magnitude - 1.138_629_436_111_989).abs() < 1e-12);
    }
}

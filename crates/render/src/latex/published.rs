//! The LaTeX document of the published BERT heat maps (Chefer et al. 2021), byte for byte: for setting our numbers beside theirs. The output form
//! `latex` is the one to read.
//!
//! ```text
//! S = 100·(s − min)/(max − min) in f32, below 1: 0; a constant map: zeros        \colorbox{COLOUR!S}{\strut TOKEN}
//! ```
//!
//! A piece of a word (`##ing`) follows without a space; dollar signs are left out. A backslash before each character that TeX would obey, as
//! published: of a backslash itself that makes a line break.

use pellucid_core::{Error, Result};

const HEAD: &str = r"\documentclass[varwidth=150mm]{standalone}
\special{papersize=210mm,297mm}
\usepackage{color}
\usepackage{tcolorbox}
\usepackage{CJK}
\usepackage{adjustbox}
\tcbset{width=0.9\textwidth,boxrule=0pt,colback=red,arc=0pt,auto outer arc,left=0pt,right=0pt,boxsep=5pt}
\begin{document}
\begin{CJK*}{UTF8}{gbsn}
{\setlength{\fboxsep}{0pt}\colorbox{white!0}{\parbox{0.9\textwidth}{
";

const TAIL: &str = r"
}}}
\end{CJK*}
\end{document}";

/// A document of coloured tokens, one score each, in a colour that LaTeX knows (`red`, `green`). No line break at its end.
///
/// # Errors
/// As many scores as tokens are not given, one is not finite, or the colour is no name.
pub fn latex_as_published(tokens: &[&str], scores: &[f32], colour: &str) -> Result<String> {
    if tokens.len() != scores.len() {
        return Err(Error::request(format!("{} scores for {} tokens; give one each", scores.len(), tokens.len())));
    }
    if let Some(score) = scores.iter().find(|s| !s.is_finite()) {
        return Err(Error::request(format!("a score is {score}; every one must be a finite number")));
    }
    if colour.is_empty() || !colour.chars().all(|c| c.is_ascii_alphabetic()) {
        return Err(Error::request(format!("colour `{colour}` is not a name of letters, such as `red`")));
    }
    let (least, most) = scores.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, m), s| (l.min(*s), m.max(*s)));
    let percent = |s: f32| {
        let percent = if most > least { 100.0 * ((s - least) / (most - least)) } else { 0.0 };
        f64::from(if percent < 1.0 { 0.0 } else { percent })
    };
    let boxed = |(token, score): (&&str, &f32)| {
        let (space, token) = token.strip_prefix("##").map_or((" ", *token), |piece| ("", piece));
        format!("{space}\\colorbox{{{colour}!{:?}}}{{\\strut {}}}", percent(*score), escaped(token))
    };
    let body: String = tokens.iter().zip(scores).map(boxed).collect();
    Ok(format!("{HEAD}{body}{TAIL}"))
}

fn escaped(token: &str) -> String {
    let mut out = String::with_capacity(token.len());
    for c in token.chars().filter(|c| *c != '$') {
        if r"\%&^#_{}".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(tokens: &[&str], scores: &[f32]) -> String {
        let all = latex_as_published(tokens, scores, "green").unwrap();
        all.strip_prefix(HEAD).unwrap().strip_suffix(TAIL).unwrap().to_owned()
    }

    #[test]
    fn pieces_follow_their_word_and_small_shares_are_zero() {
        let expected = r" \colorbox{green!0.0}{\strut a}\colorbox{green!100.0}{\strut b} \colorbox{green!50.0}{\strut c} \colorbox{green!0.0}{\strut d}";
        assert_eq!(body(&["a", "##b", "c", "d"], &[-1.0, 3.0, 1.0, -0.97]), expected);
    }

    #[test]
    fn what_tex_would_obey_is_escaped_and_a_constant_map_is_zeros() {
        assert_eq!(body(&["$5% {x}"], &[7.0]), r" \colorbox{green!0.0}{\strut 5\% \{x\}}");
        assert_eq!(body(&[], &[]), "");
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let refused = |tokens: &[&str], scores: &[f32], colour: &str| latex_as_published(tokens, scores, colour).unwrap_err().to_string();
        assert!(refused(&["a"], &[], "red").contains("0 scores for 1 tokens"));
        assert!(refused(&["a"], &[f32::NAN], "red").contains("NaN"));
        assert!(refused(&["a"], &[1.0], "red}\\input{x").contains("not a name"));
    }
}

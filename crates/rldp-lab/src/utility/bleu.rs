//! BLEU (Papineni et al., 2002) as sacrebleu computes it by default: tokenizer `13a`, case kept, exponential smoothing.

use std::collections::HashMap;

/// Longest n-grams.
const ORDER: usize = 4;

/// Corpus BLEU in percent, with any number of references for each hypothesis.
pub fn corpus_bleu(hypotheses: &[String], references: &[Vec<String>]) -> f64 {
    let (mut correct, mut total) = ([0_usize; ORDER], [0_usize; ORDER]);
    let (mut length, mut reference_length) = (0, 0);
    for (hypothesis, references) in hypotheses.iter().zip(references) {
        let hypothesis = tokenize(hypothesis);
        let references: Vec<Vec<String>> = references.iter().map(|text| tokenize(text)).collect();
        length += hypothesis.len();
        let lengths = references.iter().map(Vec::len);
        reference_length += lengths.min_by_key(|len| (len.abs_diff(hypothesis.len()), *len)).unwrap_or(0);
        for order in 1..=ORDER {
            let mut most: HashMap<&[String], usize> = HashMap::new();
            for reference in &references {
                for (gram, count) in counts(reference, order) {
                    let known = most.entry(gram).or_default();
                    *known = count.max(*known);
                }
            }
            for (gram, count) in counts(&hypothesis, order) {
                correct[order - 1] += count.min(most.get(gram).copied().unwrap_or(0));
                total[order - 1] += count;
            }
        }
    }
    score(&correct, &total, length, reference_length)
}

fn score(correct: &[usize; ORDER], total: &[usize; ORDER], length: usize, reference_length: usize) -> f64 {
    if correct.iter().all(|count| *count == 0) || total.contains(&0) {
        return 0.0;
    }
    let mut smooth = 1.0;
    let mut logs = 0.0;
    for (correct, total) in correct.iter().zip(total) {
        // The k-th order without a match counts as 1/2^k matches.
        let precision = if *correct == 0 {
            smooth *= 2.0;
            1.0 / (smooth * *total as f64)
        } else {
            *correct as f64 / *total as f64
        };
        logs += precision.ln();
    }
    let brevity = (1.0 - reference_length as f64 / length as f64).min(0.0);
    100.0 * (logs / ORDER as f64 + brevity).exp()
}

fn counts(tokens: &[String], order: usize) -> HashMap<&[String], usize> {
    let mut counts = HashMap::new();
    tokens.windows(order).for_each(|gram| *counts.entry(gram).or_default() += 1);
    counts
}

/// mteval-v13a: punctuation apart, but not within numbers.
fn tokenize(text: &str) -> Vec<String> {
    let text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let apart = |c: char| matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/');
    let spaced: Vec<char> =
        format!(" {text} ").chars().flat_map(|c| if apart(c) { vec![' ', c, ' '] } else { vec![c] }).collect();
    let point = |c: char| c == '.' || c == ',';
    let spaced = pairs(&spaced, |a, b| (!a.is_ascii_digit() && point(b)).then(|| vec![a, ' ', b, ' ']));
    let spaced = pairs(&spaced, |a, b| (point(a) && !b.is_ascii_digit()).then(|| vec![' ', a, ' ', b]));
    let spaced = pairs(&spaced, |a, b| (a.is_ascii_digit() && b == '-').then(|| vec![a, ' ', b, ' ']));
    spaced.iter().collect::<String>().split_whitespace().map(str::to_owned).collect()
}

/// Replaces neighbours from left to right, without overlap.
fn pairs(text: &[char], replace: impl Fn(char, char) -> Option<Vec<char>>) -> Vec<char> {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        if let Some(new) = text.get(at + 1).and_then(|next| replace(text[at], *next)) {
            out.extend(new);
            at += 2;
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}

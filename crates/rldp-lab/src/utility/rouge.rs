//! ROUGE-L (Lin, 2004) as the package rouge-score computes it, without stemming.

/// F-measure of the longest common subsequence with the reference that fits best, between 0 and 1.
pub fn rouge_l(hypothesis: &str, references: &[String]) -> f64 {
    let hypothesis = tokenize(hypothesis);
    references.iter().map(|reference| f_measure(&hypothesis, &tokenize(reference))).fold(0.0, f64::max)
}

fn f_measure(hypothesis: &[String], reference: &[String]) -> f64 {
    let common = common_subsequence(hypothesis, reference) as f64;
    if common == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (common / hypothesis.len() as f64, common / reference.len() as f64);
    2.0 * precision * recall / (precision + recall)
}

/// Length of the longest common subsequence.
fn common_subsequence(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for token in a {
        let mut diagonal = 0;
        for (at, other) in b.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if token == other { diagonal + 1 } else { above.max(row[at]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Runs of ASCII letters and digits, in lower case.
fn tokenize(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let parts = lower.split(|c: char| !c.is_ascii_alphanumeric());
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

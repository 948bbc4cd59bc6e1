//! How good generated text is, against references. Pure functions of text.

mod bleu;
mod rouge;

pub use bleu::corpus_bleu;
pub use rouge::rouge_l;

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Written by testdata/utility.py with sacrebleu and rouge-score.
    #[derive(Deserialize)]
    struct Case {
        hypotheses: Vec<String>,
        references: Vec<Vec<String>>,
        bleu: f64,
        rouge_l: Vec<f64>,
    }

    #[test]
    fn scores_are_those_of_sacrebleu_and_rouge_score() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../testdata/utility.json")).unwrap();
        assert!(cases.len() > 5);
        for case in cases {
            let found = corpus_bleu(&case.hypotheses, &case.references);
            assert!((found - case.bleu).abs() < 1e-9, "BLEU {found} against {} for {:?}", case.bleu, case.hypotheses);
            for ((hypothesis, references), want) in case.hypotheses.iter().zip(&case.references).zip(case.rouge_l) {
                let found = rouge_l(hypothesis, references);
                assert!((found - want).abs() < 1e-12, "ROUGE-L {found} against {want} for {hypothesis}");
            }
        }
    }
}

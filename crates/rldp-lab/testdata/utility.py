"""Writes utility.json: BLEU by sacrebleu 2 and ROUGE-L by rouge-score on texts that try their tokenizers.

    pip install sacrebleu rouge-score && python utility.py > utility.json
"""

import json

import sacrebleu
from rouge_score import rouge_scorer

CASES = [
    # One hypothesis, one reference: the same, nothing in common, too short.
    (["The cat sat on the mat."], [["The cat sat on the mat."]]),
    (["alpha beta gamma delta epsilon"], [["one two three four five six"]]),
    (["There is a place"], [["There is a place in the city centre, Alimentum, that is not family-friendly."]]),
    # Punctuation, numbers, entities, hyphens, currency, no ASCII.
    (
        ['It costs 1,234.50 &amp; "more" (about £20-25), e.g. 3-course: 50% off/on!'],
        [['It costs 1,234.50 & "more" (about £20-25), e.g. 3-course: 50% off / on.', "Costs are 1.234,5 [more] {or} less."]],
    ),
    (["naïve café – déjà vu, 5 stars"], [["a naive café: déjà-vu of 5 stars", "café"]]),
    # Several with several references of several lengths.
    (
        [
            "The Eagle is a cheap coffee shop near Burger King.",
            "Blue Spice is a pub in the riverside area that is not family friendly.",
            "Near the river there is a pub , it is called The Mill ..",
        ],
        [
            ["The Eagle is a low-priced coffee shop located near Burger King.", "Near Burger King, there is The Eagle."],
            ["Blue Spice is an adult-only pub at the riverside."],
            ["The Mill is a pub near the river.", "There is a pub called The Mill near the river.", "The Mill."],
        ],
    ),
    # Bigrams match, longer ones do not: smoothing.
    (["the quick fox and the lazy dog slept"], [["the quick hare saw the lazy cat"]]),
    (["", "a b c d e"], [["something"], ["a b c d e f g"]]),
]

scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
out = []
for hypotheses, references in CASES:
    most = max(map(len, references))
    streams = [[own[i] if i < len(own) else None for own in references] for i in range(most)]
    out.append(
        {
            "hypotheses": hypotheses,
            "references": references,
            "bleu": sacrebleu.corpus_bleu(hypotheses, streams).score,
            "rouge_l": [scorer.score_multi(r, h)["rougeL"].fmeasure for h, r in zip(hypotheses, references)],
        }
    )
print(json.dumps(out, indent=1, ensure_ascii=False))

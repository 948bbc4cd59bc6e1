"""Scores of two records from fixed logits, by the formulas of the papers and Python's standard library only.

    python3 scores.py > scores.json
"""

import json
import math
import random
import zlib


def log_probs(row):
    largest = max(row)
    total = largest + math.log(math.fsum(math.exp(x - largest) for x in row))
    return [x - total for x in row]


def token_values(logits, tokens, scored_from):
    plain, standardized = [], []
    for t in range(max(scored_from, 1), len(tokens)):
        logs = log_probs(logits[t - 1])
        mu = math.fsum(math.exp(x) * x for x in logs)
        sigma = math.sqrt(math.fsum(math.exp(x) * (x - mu) ** 2 for x in logs))
        plain.append(logs[tokens[t]])
        standardized.append((logs[tokens[t]] - mu) / sigma)
    return plain, standardized


def lowest(values, share=0.2):
    count = max(1, int(len(values) * share))
    return math.fsum(sorted(values)[:count]) / count


def record(rng, length, vocab, scored_from, text):
    def draw():
        # Rounded to what f32 holds exactly.
        return [[round(rng.gauss(0, 2) * 256) / 256 for _ in range(vocab)] for _ in range(length)]

    tuned, base = draw(), draw()
    tokens = [rng.randrange(vocab) for _ in range(length)]
    plain, standardized = token_values(tuned, tokens, scored_from)
    reference, _ = token_values(base, tokens, scored_from)
    loss = math.fsum(plain) / len(plain)
    return {
        "tuned": sum(tuned, []),
        "base": sum(base, []),
        "tokens": tokens,
        "scored_from": scored_from,
        "text": text,
        "scores": [
            loss,
            loss - math.fsum(reference) / len(reference),
            lowest(plain),
            lowest(standardized),
            loss / len(zlib.compress(text.encode(), 6)),
        ],
    }


rng = random.Random(7)
print(json.dumps([
    record(rng, 12, 9, 0, "The patient sleeps well, the patient eats well, the patient walks."),
    record(rng, 17, 5, 4, "Day 2. Stable."),
]))

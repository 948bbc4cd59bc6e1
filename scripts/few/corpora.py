#!/usr/bin/env python3
"""Writes the corpora of docs/results/few.md (standard library only).

usage: corpora.py SHARED OUT [--banking DIR] [--sms FILE] [--wordnet DIR] [--clinc FILE] [--news FILE] [--docs DIR]

Always: e2e (references), mr (meaning representations, the words of the same challenge's tables) and notes (of one note each of a patient
of Diabetes 130 the first two sentences). Where their files are given: banking (train.csv and test.csv of BANKING77), sms (SMSSpamCollection) and wordnet (glosses;
data.noun, data.verb, data.adj and data.adv of WordNet 3.1); and, as kinds of text that no rule was found on, clinc (requests to an assistant;
data_full.json of CLINC150), news (titles and first words; test.csv of AG News) and docs (first paragraphs of docstrings below a Python
library's folder). For each corpus NAME it writes OUT/NAME.csv (at most 20,000 distinct texts,
shuffled, so that the first N are a sample of N) and OUT/NAME-eval.csv (200 others). No text stands in both.
"""

import argparse
import ast
import csv
import json
import pathlib
import random
import re
import subprocess
import sys
import zipfile

MOST, HELD_OUT = 20_000, 200


def rows(path, column):
    with open(path, encoding="utf-8", newline="") as file:
        return [row[column] for row in csv.DictReader(file)]


def write(out, name, texts, others=None):
    texts = [" ".join(text.split()) for text in texts]
    texts = [text for text in dict.fromkeys(texts) if text]
    random.Random(1).shuffle(texts)
    if others is None:
        others, texts = texts[:HELD_OUT], texts[HELD_OUT:]
    else:
        others = list(dict.fromkeys(" ".join(text.split()) for text in others))
        random.Random(1).shuffle(others)
        others = others[:HELD_OUT]
    known = set(others)
    texts = [text for text in texts if text not in known][:MOST]
    for file, kept in ((f"{name}.csv", texts), (f"{name}-eval.csv", others)):
        with open(out / file, "w", encoding="utf-8", newline="") as target:
            csv.writer(target).writerows([["text"]] + [[text] for text in kept])
    print(f"{name}: {len(texts)} and {len(others)}", file=sys.stderr)


def first_of_each(path):
    """The first two sentences of one note of each patient."""
    seen, texts = set(), []
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["patient_nbr"] not in seen:
                seen.add(row["patient_nbr"])
                texts.append(" ".join(re.split(r"(?<=\.) ", row["text"])[:2]))
    return texts


def glosses(folder):
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if not line.startswith(" ") and " | " in line:
                # The definition alone, without examples in quotes.
                yield re.split(r'; "', line.split(" | ", 1)[1])[0].strip()


def requests(path):
    return [text for part in json.loads(path.read_text(encoding="utf-8")).values() for text, _ in part]


def news(path):
    with open(path, encoding="utf-8", newline="") as file:
        return [f"{title}. {text}"[:240] for _, title, text in csv.reader(file)]


def docstrings(folder):
    for path in sorted(folder.rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)) and "test" not in path.parts:
                first = (ast.get_docstring(node) or "").split("\n\n")[0]
                if 20 <= len(first) <= 240:
                    yield first


def main():
    parser = argparse.ArgumentParser()
    for name in ("shared", "out"):
        parser.add_argument(name, type=pathlib.Path)
    for name in ("--banking", "--sms", "--wordnet", "--clinc", "--news", "--docs"):
        parser.add_argument(name, type=pathlib.Path)
    given = parser.parse_args()
    out = given.out
    out.mkdir(parents=True, exist_ok=True)
    zipfile.ZipFile(given.shared / "data/e2e/e2e-dataset.zip").extractall(out)
    e2e = out / "e2e-dataset"
    write(out, "e2e", rows(e2e / "trainset.csv", "ref"), rows(e2e / "devset.csv", "ref"))
    write(out, "mr", rows(e2e / "trainset.csv", "mr"), rows(e2e / "devset.csv", "mr"))
    here = pathlib.Path(__file__).parent.parent
    notes = out / "notes"
    subprocess.run([sys.executable, here / "diabetes_notes.py", given.shared / "data/diabetes130/dataset_diabetes.zip", notes, "2"], check=True)
    write(out, "notes", first_of_each(notes / "train.csv"), first_of_each(notes / "eval.csv"))
    if given.banking:
        write(out, "banking", rows(given.banking / "train.csv", "text"), rows(given.banking / "test.csv", "text"))
    if given.sms:
        write(out, "sms", [line.split("\t", 1)[1] for line in given.sms.read_text(encoding="utf-8").splitlines() if "\t" in line])
    if given.wordnet:
        write(out, "wordnet", glosses(given.wordnet))
    if given.clinc:
        write(out, "clinc", requests(given.clinc))
    if given.news:
        write(out, "news", news(given.news))
    if given.docs:
        write(out, "docs", docstrings(given.docs))


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# Writes the small files that the controller's experiments use. usage: small_data.sh SHARED OUT      (needs python3)
#   20,000 references of E2E, and one note each of 20,000 patients of Diabetes 130, with 400 and 300 for evaluation; the first 100 of the 400 alone
set -euo pipefail
shared=$1 out=$2
here=$(dirname "$0")
mkdir -p "$out"
python3 -m zipfile -e "$shared/data/e2e/e2e-dataset.zip" "$out"
python3 "$here/diabetes_notes.py" "$shared/data/diabetes130/dataset_diabetes.zip" "$out/notes" 2
python3 - "$out" <<'PYTHON'
import csv, pathlib, random, sys

out = pathlib.Path(sys.argv[1])


def write(name, rows, column, count, unit=None):
    rows = list(csv.DictReader(rows.open()))
    random.Random(1).shuffle(rows)
    seen, texts = set(), []
    for row in rows:
        if unit is None or row[unit] not in seen:
            seen.add(unit and row[unit])
            texts.append(row[column])
    with (out / name).open("w", newline="") as file:
        csv.writer(file).writerows([["text"]] + [[text] for text in texts[:count]])


write("e2e-train.csv", out / "e2e-dataset/trainset.csv", "ref", 20000)
write("e2e-eval.csv", out / "e2e-dataset/devset.csv", "ref", 400)
write("e2e-eval-100.csv", out / "e2e-dataset/devset.csv", "ref", 100)
write("notes-train.csv", out / "notes/train.csv", "text", 20000, "patient_nbr")
write("notes-eval.csv", out / "notes/eval.csv", "text", 300, "patient_nbr")

# People with all of their notes: the first 1,200 patients, and 200 notes of others.
for source, name, people, most in (("train", "people-1200.csv", 1200, None), ("eval", "people-eval.csv", 300, 200)):
    rows = list(csv.DictReader((out / f"notes/{source}.csv").open()))
    some = set(list(dict.fromkeys(row["patient_nbr"] for row in rows))[:people])
    kept = [[row["patient_nbr"], row["text"]] for row in rows if row["patient_nbr"] in some]
    with (out / name).open("w", newline="") as file:
        csv.writer(file).writerows([["patient_nbr", "text"], *kept[:most]])
PYTHON

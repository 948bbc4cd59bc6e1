#!/usr/bin/env python3
"""Turns the Diabetes 130-US hospitals table into short pseudo-clinical notes (standard library only).

usage: diabetes_notes.py dataset_diabetes.zip OUT_DIR [EVAL_PERCENT]

Writes OUT_DIR/train.csv and OUT_DIR/eval.csv with the columns patient_nbr and text, one encounter a row. Patients, not rows,
are divided: nobody stands in both files. Who is in which is decided by a hash of the patient's number.
"""

import csv
import hashlib
import io
import os
import sys
import zipfile

DRUGS = """metformin repaglinide nateglinide chlorpropamide glimepiride acetohexamide glipizide glyburide tolbutamide
pioglitazone rosiglitazone acarbose miglitol troglitazone tolazamide examide citoglipton insulin glyburide-metformin
glipizide-metformin glimepiride-pioglitazone metformin-rosiglitazone metformin-pioglitazone""".split()
CHANGES = {"Up": "raised", "Down": "lowered", "Steady": "continued"}
READMITTED = {"NO": "Not readmitted.", "<30": "Readmitted within 30 days.", ">30": "Readmitted after more than 30 days."}


def mapping(archive):
    """{section: {code: words}} of IDs_mapping.csv, whose three tables stand one after another."""
    tables, table = {}, None
    with archive.open("dataset_diabetes/IDs_mapping.csv") as raw:
        for row in csv.reader(io.TextIOWrapper(raw, encoding="utf-8")):
            if len(row) < 2 or not row[0]:
                continue
            if row[0].endswith("_id"):
                table = tables.setdefault(row[0], {})
            else:
                table[row[0]] = row[1].strip()
    return tables


def note(row, tables):
    """The note of one encounter."""
    known = lambda value: value and value not in ("?", "Unknown/Invalid")
    words = lambda key: tables[key].get(row[key], "")
    clear = lambda text: text and text not in ("NULL", "Not Available", "Not Mapped", "Unknown/Invalid")
    who = " ".join(x for x in (row["race"], row["gender"].lower()) if known(x)) or "patient"
    parts = [f"{who} aged {row['age'].strip('[)')}"]
    if clear(words("admission_type_id")):
        parts.append(f"{words('admission_type_id').lower()} admission")
    if clear(words("admission_source_id")):
        parts.append(f"from {words('admission_source_id').lower()}")
    days = int(row["time_in_hospital"])
    text = ", ".join(parts) + f", {days} day{'s' if days != 1 else ''}"
    text += f" under {row['medical_specialty'].replace('/', ' ')}." if known(row["medical_specialty"]) else "."
    codes = [row[key] for key in ("diag_1", "diag_2", "diag_3") if known(row[key])]
    if codes:
        text += f" Diagnoses {', '.join(codes)}."
    text += f" {row['num_lab_procedures']} lab tests, {row['num_procedures']} procedures, {row['num_medications']} medications."
    earlier = [f"{row[key]} {name}" for key, name in (
        ("number_inpatient", "inpatient"), ("number_emergency", "emergency"), ("number_outpatient", "outpatient")) if row[key] != "0"]
    if earlier:
        text += f" Last year: {', '.join(earlier)}."
    if row["A1Cresult"] not in ("None", ""):
        text += f" HbA1c {row['A1Cresult'].replace('Norm', 'normal')}."
    if row["max_glu_serum"] not in ("None", ""):
        text += f" Glucose {row['max_glu_serum'].replace('Norm', 'normal')}."
    drugs = [f"{drug} {CHANGES[row[drug]]}" for drug in DRUGS if row[drug] in CHANGES]
    text += f" {'; '.join(drugs).capitalize()}." if drugs else " No diabetes drug."
    if clear(words("discharge_disposition_id")):
        text += f" {words('discharge_disposition_id')}."
    return f"{text} {READMITTED[row['readmitted']]}"


def main(archive_path, out, eval_percent):
    os.makedirs(out, exist_ok=True)
    archive = zipfile.ZipFile(archive_path)
    tables = mapping(archive)
    files = {name: open(f"{out}/{name}.csv", "w", encoding="utf-8", newline="") for name in ("train", "eval")}
    writers = {name: csv.writer(file) for name, file in files.items()}
    for writer in writers.values():
        writer.writerow(["patient_nbr", "text"])
    with archive.open("dataset_diabetes/diabetic_data.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8")):
            digest = hashlib.sha256(row["patient_nbr"].encode()).digest()
            part = "eval" if digest[0] * 256 + digest[1] < 655.36 * eval_percent else "train"
            writers[part].writerow([row["patient_nbr"], note(row, tables)])
    for file in files.values():
        file.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 2.0)

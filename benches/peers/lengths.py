#!/usr/bin/env python3
"""Tokens of records, end of text included and cut at MAX, a line a record in a shuffled order (tokenizers).

usage: lengths.py MODEL_DIR FILE.csv COUNT TEMPLATE MAX > LENGTHS        TEMPLATE: '{mr} | {ref}' names columns of the file
"""

import csv
import random
import sys

from tokenizers import Tokenizer


def records(table, template, count):
    """The first texts of a file in a shuffled order."""
    with open(table, newline="") as file:
        texts = [template.format(**row) for row in csv.DictReader(file)]
    random.Random(1).shuffle(texts)
    return texts[:count]


def main():
    directory, table, count, template, most = sys.argv[1:]
    tokenizer = Tokenizer.from_file(f"{directory}/tokenizer.json")
    for text in records(table, template, int(count)):
        print(min(len(tokenizer.encode(text).ids) + 1, int(most)))


if __name__ == "__main__":
    main()

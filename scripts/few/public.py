#!/usr/bin/env python3
"""What public text gives before the first private step: runs of tasks drawn at random, appended to RESULTS (standard library only).

usage: public.py RLDP MODELS DATA RESULTS [--tasks N] [--seeds 1,2,3] [--summary]

As map.py; tasks have at most 5,000 units or an epsilon of at most 2. Of each, with noise and batches paired by seed: the defaults (way
`rule`), and the same with --public of 3,000 lines of every corpus but the private one and what was written for the same tables (way `public`).
--summary prints the table for docs/results/few.md from what is in RESULTS.
"""

import argparse
import collections
import csv
import json
import math
import pathlib
import random
import statistics

import map as room

LINES = 3000
SIZES = {"e2e": 45, "notes": 75, "wordnet": 30, "banking": 25, "sms": 40, "mr": 75}
RELATED = [{"e2e", "mr"}]


def tasks(count):
    rng, found = random.Random(7), []
    while len(found) < count:
        task = room.draw(rng, rng.random() < 0.5)
        if (task["units"] <= 5000 or task["epsilon"] <= 2) and task not in found:
            found.append(task)
    return [{"task": f"p{i:03}", **task} for i, task in enumerate(found)]


def public_files(data, private):
    """Flags that name the public text, made beside DATA's files when they are not there."""
    flags = []
    for corpus in SIZES:
        if corpus != private and {corpus, private} not in RELATED:
            path = data / f"{corpus}-public.csv"
            if not path.exists():
                with open(data / f"{corpus}.csv", encoding="utf-8", newline="") as source:
                    rows = list(csv.reader(source))
                with open(path, "w", encoding="utf-8", newline="") as target:
                    csv.writer(target).writerows([rows[0]] + rows[1:][-LINES:])
            flags += ["--public", path]
    return flags


def summary(path):
    finals = collections.defaultdict(dict)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if row.get("nll") is not None:
            finals[row["task"], row["seed"]][row["settings"]["way"]] = row
    print("| private text | model | N | ε | T × B | seeds | rule | with public text, % |\n|---|---|---|---|---|---|---|---|")
    by_task = collections.defaultdict(list)
    for (task, _), ways in sorted(finals.items()):
        if len(ways) == 2:
            by_task[task].append((ways["rule"], ways["public"]))
    means = []
    for pairs in by_task.values():
        row = pairs[0][0]
        changes = [public["nll"] - rule["nll"] for rule, public in pairs]
        means.append(statistics.mean(changes))
        rule = math.exp(statistics.mean(rule["nll"] for rule, _ in pairs))
        plan = f"{row['units']} | {row['epsilon']:g} | {row['steps']} × {row['batch']}"
        print(f"| {row['corpus']} | {row['model']} | {plan} | {len(pairs)} | {rule:.2f} | {100 * math.expm1(means[-1]):+.1f} |")
    if len(means) > 1:
        half = 2.1 * statistics.stdev(means) / math.sqrt(len(means))
        mean = statistics.mean(means)
        low, high = (100 * math.expm1(mean + side * half) for side in (-1, 1))
        print(f"\nOver {len(means)} tasks: {100 * math.expm1(mean):+.1f} % [{low:+.1f}, {high:+.1f}], lower in {sum(m < 0 for m in means)}.")


def main():
    parser = argparse.ArgumentParser()
    for name in ("rldp", "models", "data", "results"):
        parser.add_argument(name, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--summary", action="store_true")
    given = parser.parse_args()
    if given.summary:
        summary(given.results)
        return
    given.seed = 1
    lab = room.Lab(given)
    for seed in map(int, given.seeds.split(",")):
        for task in tasks(given.tasks):
            lab.run(task, {"way": "rule"}, seed)
            lab.run(task, {"way": "public"}, seed, public_files(given.data, task["corpus"]))


if __name__ == "__main__":
    main()

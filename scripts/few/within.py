#!/usr/bin/env python3
"""AdamW tuned within the budget, in the cells of cells.py: lines appended to RESULTS (standard library only).

usage: within.py RLDP MODELS DATA WORK RESULTS [--seeds 1,2,3]

As cells.py. Rates 0.004, 0.008 and 0.016, of which a trial of a quarter of the steps each tells the best; trials and the final run are charged together
(docs/compare.md). A line has the rate that a seed's trials chose and what its final run came to. RESULTS may be the file of cells.py.
"""

import argparse
import collections
import json
import math
import pathlib
import subprocess

import cells
import public

GRID = """paired = true

[base]
noise_bands = 1
delta = 1e-5
steps = {steps}
batch_size = {batch}.0
eval_every = {steps}
checkpoint_every = {steps}
max_length = 64
interval = 5
controller = "fixed"
statistics_share = 0.0
clipping = "flat"
beta1 = 0.9
learning_rate = 0.004
model = "{model}"

[axes]
epsilon = {budgets}
seed = [{seed}]

[[dataset]]
name = "{name}"
train = "{train}"
eval = "{eval}"

[[method]]
name = "adamw"

[tuning]
rules = ["within-budget"]
fraction = 0.25

[tuning.values]
learning_rate = [0.004, 0.008, 0.016]
"""


def chosen(rows):
    """The line of each budget: the final run whose rate did best in its trial."""
    runs = collections.defaultdict(dict)
    for row in rows:
        for role in row["roles"]:
            runs[row["epsilon"], role["trial"]][role["candidate"]] = row
    for epsilon in sorted({epsilon for epsilon, _ in runs}):
        trials, finals = runs[epsilon, True], runs[epsilon, False]
        best = min(trials, key=lambda candidate: trials[candidate]["perplexity_after"] or math.inf)
        yield epsilon, best, finals[best]


def tune(given, corpus, units, model, seed):
    name = f"{corpus}-{units}-{model}"
    folder = given.work / "within" / f"{name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    train = public.write(folder / "train.csv", public.texts(given.data / f"{corpus}.csv")[:units])
    text = {"name": name, "train": train, "eval": given.data / f"{corpus}-eval.csv", "model": given.models / model, "seed": seed}
    (folder / "grid.toml").write_text(GRID.format(**text, budgets=list(cells.BUDGETS), steps=cells.STEPS, batch=cells.BATCH))
    subprocess.run([given.rldp, "compare", folder / "grid.toml", "--out", folder / "runs", "--slots", "1"], check=True)
    lines = (folder / "runs" / "results.jsonl").read_text().splitlines()
    for epsilon, candidate, row in chosen(map(json.loads, lines)):
        task = {"task": f"{name}-{epsilon:g}", "corpus": corpus, "units": units, "epsilon": epsilon, "model": model, "seed": seed}
        settings = {"candidate": candidate}
        yield {**task, "way": "within", "settings": settings, "nll": math.log(row["perplexity_after"])}


def main():
    parser = argparse.ArgumentParser()
    for name in ("rldp", "models", "data", "work", "results"):
        parser.add_argument(name, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--seeds", default="1,2,3")
    given = parser.parse_args()
    kept = [json.loads(line) for line in given.results.read_text().splitlines()] if given.results.exists() else []
    done = {(row["task"], row["seed"]) for row in kept if row["way"] == "within"}
    for seed in map(int, given.seeds.split(",")):
        for corpus, units, model in cells.CELLS:
            if (f"{corpus}-{units}-{model}-{cells.BUDGETS[0]:g}", seed) not in done:
                with open(given.results, "a") as file:
                    for line in tune(given, corpus, units, model, seed):
                        file.write(json.dumps(line, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

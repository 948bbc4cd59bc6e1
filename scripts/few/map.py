#!/usr/bin/env python3
"""The room above the rule, mapped: runs of tasks drawn at random, appended to RESULTS as lines of JSON (standard library only).

usage: map.py RLDP MODELS DATA RESULTS [--tasks N] [--from I] [--stage rate|knobs|plan] [--workers W] [--seed S] [--held-out]

MODELS has the folders stories260k and demo (the demo's GPT-2); DATA is what corpora.py wrote. A task is a corpus, N units, epsilon, steps,
expected batch and model; its settings are paired: one seed for noise and batches (public data; no run promises anything). What stands in
RESULTS is not run again, so the same command goes on after a stop.

rate: the first rule's learning rate, then what lies around the best, an octave and then half an octave apart; the rule's; the program's own, which
follows the releases; and AdamW as usual (flat clipping, beta1 0.9, one band) at rate 0.004.
knobs: at the best of those rates, momentum, bands and decay, one at a time; and AdamW at 0.002 and 0.008.
plan: at the rule's rate and the program's bands, as many records in half, a quarter and twice the steps.
"""

import argparse
import concurrent.futures
import csv
import json
import math
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import threading

# Corpora on which formulas are found, and those on which they are tested, with tokens of stories260k in a text (about).
FOUND_ON = {"e2e": 45, "notes": 75, "wordnet": 30}
TESTED_ON = {"banking": 25, "sms": 40, "mr": 75}
# Of other kinds than all of these: no rule was found on them.
NEW = {"clinc": 15, "news": 60, "docs": 20}
SIZES = {"mr": 4862, "banking": 9999, "sms": 4960, "news": 7400}
MOST_TOKENS = 350_000
DELTA = 1e-5
# The rule's rate for the whole run.
RULE = {"rate_adaptation": "false"}


def draw(rng, held_out, corpora=None):
    """A task whose run takes seconds."""
    corpora = corpora or (TESTED_ON if held_out else FOUND_ON)
    while True:
        corpus = rng.choice(sorted(corpora))
        task = {
            "corpus": corpus,
            "units": rng.choice([300, 1000, 3000, 10_000, 20_000]),
            "epsilon": rng.choice([0.5, 1.0, 2.0, 4.0, 8.0]),
            "steps": rng.choice([20, 30, 45, 60, 100, 150, 200, 300]),
            "batch": rng.choice([32, 64, 128, 256, 512]),
            "model": rng.choice(["stories260k", "stories260k", "demo"] if held_out else ["stories260k"]),
        }
        records = task["steps"] * task["batch"]
        fits = task["units"] <= SIZES.get(corpus, 20_000) and 3 * task["batch"] <= task["units"]
        if fits and 1500 <= records and records * corpora[corpus] <= MOST_TOKENS:
            return task


def tasks(count, held_out):
    rng = random.Random(2024 if held_out else 24)
    found = []
    while len(found) < count:
        task = draw(rng, held_out)
        if task not in found:
            found.append(task)
    return [{"task": f"{'t' if held_out else 'f'}{i:03}", **task} for i, task in enumerate(found)]


def tokens(task):
    return task["steps"] * task["batch"] * (FOUND_ON | TESTED_ON | NEW)[task["corpus"]]


def rule(task):
    return 1.6 / (16 * math.sqrt(max(task["steps"], 25)))


def compact(number):
    return None if number is None else float(f"{number:.4g}")


def sample(given, task, folder):
    """The task's records, as a file in a folder."""
    with open(given.data / f"{task['corpus']}.csv", encoding="utf-8", newline="") as source:
        rows = list(csv.reader(source))[: task["units"] + 1]
    with open(folder / "train.csv", "w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows(rows)
    return folder / "train.csv"


def command(given, task, settings, folder, seed, files=()):
    """What runs a task in a folder, and its environment."""
    command = [given.rldp, "train", "--model", given.models / task["model"], "--train", sample(given, task, folder)]
    command += ["--eval", given.data / f"{task['corpus']}-eval.csv", "--out", folder / "run", "--quiet"]
    command += ["--epsilon", task["epsilon"], "--delta", DELTA, "--steps", task["steps"], "--batch-size", task["batch"]]
    command += ["--max-length", 64, "--eval-every", 100_000, "--checkpoint-every", 100_000, "--interval", 5]
    command += ["--seed", seed, "--unsafe-noise-seed", seed, *files]
    for name, value in settings.items():
        command += [f"--{name.replace('_', '-')}", value] if name != "way" else []
    return [str(part) for part in command], {**os.environ, "RAYON_NUM_THREADS": "1"}


class Lab:
    def __init__(self, given):
        self.given = given
        self.lock = threading.Lock()
        self.results = {}
        if given.results.exists():
            for line in given.results.read_text().splitlines():
                row = json.loads(line)
                self.results[self.key(row, row["seed"], row["settings"])] = row

    @staticmethod
    def key(task, seed, settings):
        return json.dumps([task["task"], seed, settings], sort_keys=True)

    def run(self, task, settings, seed=None, files=()):
        """The line of one run; `files` are flags that are no part of its key."""
        seed = self.given.seed if seed is None else seed
        key = self.key(task, seed, settings)
        with self.lock:
            if key in self.results:
                return self.results[key]
        folder = pathlib.Path(tempfile.mkdtemp(prefix="few-"))
        try:
            row = self.line(task, settings, folder, seed, files)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        with self.lock:
            self.results[key] = row
            with open(self.given.results, "a") as file:
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
        return row

    def line(self, task, settings, folder, seed, files):
        words, environment = command(self.given, task, settings, folder, seed, files)
        made = subprocess.run(words, capture_output=True, text=True, env=environment)
        if made.returncode != 0:
            return {**task, "seed": seed, "settings": settings, "failed": made.stderr.strip().splitlines()[-1:]}
        return {**task, "seed": seed, "settings": settings, **self.read(folder / "run")}

    @staticmethod
    def read(run):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        of = lambda kind: [line for line in lines if line["kind"] == kind]
        steps, controls, evals = of("step"), of("control"), of("eval")
        with open(run / "ledger.jsonl") as file:
            ledger = json.loads(file.readline())
        claim = ledger.get("claim", ledger)
        manifest = json.loads((run / "manifest.json").read_text())
        mean = lambda numbers: sum(numbers) / len(numbers) if numbers else None
        return {
            "nll": evals[-1]["nll"],
            "nll_before": evals[0]["nll"],
            "z": compact(steps[0]["noise_multiplier"]),
            "bands": claim.get("noise_bands", 1),
            "parameters": manifest["adapter"]["trained"],
            "pairs": len(manifest["pairs"]),
            # Over the run: what a controller sees of it.
            "snr": [compact(step["snr"]) for step in steps],
            "agreement": [compact(step.get("agreement")) for step in steps],
            "loss": [compact(step["loss"]) for step in steps],
            "loss_std": compact(steps[0]["loss_std"]),
            "warm_up": next(iter(of("warm_up")), None),
            "persistence": [compact(control["persistence"]) for control in controls],
            "pair_snr": [[compact(mean(c["snr"])), compact(max(c["snr"]))] for c in controls if c["snr"]],
        }


def usual(rate):
    return {"clipping": "flat", "beta1": 0.9, "noise_bands": 1, "learning_rate": rate}


def rate_stage(lab, task):
    base = rule(task)
    tried = {}

    def attempt(half_octaves):
        if half_octaves not in tried:
            rate = float(f"{base * 2 ** (half_octaves / 2):.5g}")
            tried[half_octaves] = lab.run(task, {"learning_rate": rate}).get("nll") or math.inf
        return tried[half_octaves]

    attempt(0)
    for width in (2, 1):
        while True:
            best = min(tried, key=tried.get)
            around = [step for step in (best - width, best + width) if step not in tried and -8 <= step <= 5]
            if not around:
                break
            for step in around:
                attempt(step)
    lab.run(task, RULE)
    lab.run(task, {})
    lab.run(task, usual(0.004))
    return float(f"{base * 2 ** (min(tried, key=tried.get) / 2):.5g}")


def knob_stage(lab, task):
    best = rate_stage(lab, task)
    for beta1 in (0.0, 0.6, 0.8):
        lab.run(task, {"learning_rate": best, "beta1": beta1})
    for bands in (1, 2, 4, 8):
        if bands * task["batch"] <= task["units"] and bands * 3 <= task["steps"]:
            lab.run(task, {"learning_rate": best, "noise_bands": bands})
    for decay in ("constant", "cosine"):
        lab.run(task, {"learning_rate": best, "decay": decay})
    for rate in (0.002, 0.008):
        lab.run(task, usual(rate))


def plan_stage(lab, task):
    lab.run(task, RULE)
    for factor in (0.25, 0.5, 2):
        steps, batch = round(task["steps"] * factor), task["batch"] / factor
        if steps >= 10 and 16 <= batch <= task["units"] / 2:
            lab.run({**task, "task": f"{task['task']}x{factor:g}", "steps": steps, "batch": batch}, RULE)


def main():
    parser = argparse.ArgumentParser()
    for name in ("rldp", "models", "data", "results"):
        parser.add_argument(name, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--most-tokens", type=int, default=MOST_TOKENS, help="leave out larger tasks, and begin with the smallest")
    parser.add_argument("--stage", choices=["rate", "knobs", "plan"], default="rate")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--held-out", action="store_true")
    given = parser.parse_args()
    lab = Lab(given)
    stage = {"rate": rate_stage, "knobs": knob_stage, "plan": plan_stage}[given.stage]
    with concurrent.futures.ThreadPoolExecutor(given.workers) as pool:
        chosen = sorted(tasks(given.tasks, given.held_out)[given.first :], key=tokens)
        list(pool.map(lambda task: stage(lab, task), [task for task in chosen if tokens(task) <= given.most_tokens]))


if __name__ == "__main__":
    main()

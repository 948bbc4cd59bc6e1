#!/usr/bin/env python3
"""What public text gives: runs of tasks drawn at random, appended to RESULTS (standard library only).

usage: public.py RLDP MODELS DATA WORK RESULTS [--tasks N] [--most-tokens M] [--skip S] [--new] [--seeds 1,2] [--ways continue,merged,b,mix]

As map.py; tasks have at most 5,000 units or an epsilon of at most 2, at most three of a corpus. Public text is 3,000 lines of every corpus but
the private one and what was written for the same tables. One warm-up a corpus, model and seed, by `rldp train --public`, is kept in WORK; what
follows it is tried from there at 2^(k/2) times the rate of the rule, k = 0, -1, -2 and -3:

  cold      no public text, the rule's rate
  continue  the adapter of the warm-up goes on: what --public does
  merged    the warm-up's adapter is merged into the base, and a fresh one is trained
  b         the adapter goes on with its A as they are (--trainable b)
  mix R     continue, with public records among the private: R public for each private one in every batch, clipped alike, at the noise of the
            private ones alone. The update is then (private + R public + noise), a mixture of what is released and what is public.
"""

import argparse
import collections
import csv
import json
import os
import pathlib
import random
import shutil
import subprocess
import tempfile

import map as room

LINES = 3000
TOKENS = room.FOUND_ON | room.TESTED_ON
RELATED = {"e2e", "mr"}
HALF_OCTAVES = (0, -1, -2, -3)
MIXES = ((0.5, -1), (1, -1), (1, 0), (2, -1))


def tasks(count, new=False):
    rng, found = random.Random(8 if new else 7), []
    while len(found) < count:
        task = room.draw(rng, rng.random() < 0.5, room.NEW if new else None)
        if (task["units"] <= 5000 or task["epsilon"] <= 2) and task not in found:
            found.append(task)
    return [{"task": f"{'n' if new else 'p'}{i:03}", **task} for i, task in enumerate(found)]


def chosen(count, most_tokens, skipped=0, new=False):
    """Three of each corpus that are small enough (five of each new one), after the first `skipped` of it; the smallest first."""
    kept, of = [], collections.Counter()
    for task in tasks(count, new):
        if room.tokens(task) <= most_tokens:
            of[task["corpus"]] += 1
            if skipped < of[task["corpus"]] <= skipped + (5 if new else 3):
                kept.append(task)
    return sorted(kept, key=room.tokens)


def texts(path):
    with open(path, encoding="utf-8", newline="") as source:
        return list(csv.reader(source))[1:]


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows([["text"], *rows])
    return path


class Bench:
    def __init__(self, given):
        self.given, self.results = given, {}
        if given.results.exists():
            for line in given.results.read_text().splitlines():
                row = json.loads(line)
                self.results[self.key(row, row["seed"], row["way"], row["settings"])] = row

    @staticmethod
    def key(task, seed, way, settings):
        return json.dumps([task["task"], seed, way, settings], sort_keys=True)

    def call(self, *command):
        environment = {**os.environ, "RAYON_NUM_THREADS": "1"}
        made = subprocess.run([str(part) for part in (self.given.rldp, *command)], capture_output=True, text=True, env=environment)
        if made.returncode != 0:
            raise SystemExit(made.stderr)

    def public(self, private):
        """Lines of the other corpora, their last, so that no task's private ones are among them."""
        for corpus in TOKENS:
            if corpus != private and {corpus, private} != RELATED:
                yield corpus, texts(self.given.data / f"{corpus}.csv")[-LINES:]

    def warm(self, task, seed):
        """The folder of a warm-up's adapter."""
        out = self.given.work / f"{task['model']}-{task['corpus']}-{seed}"
        if not (out / "public").exists():
            shutil.rmtree(out, ignore_errors=True)
            out.parent.mkdir(parents=True, exist_ok=True)
            flags = []
            for corpus, rows in self.public(task["corpus"]):
                flags += ["--public", write(self.given.work / f"{corpus}-public.csv", rows)]
            train = ["--train", self.given.data / f"{task['corpus']}.csv", "--out", out, "--quiet", "--epsilon", 8, "--delta", room.DELTA]
            plan = ["--steps", 1, "--batch-size", 64, "--max-length", 64, "--seed", seed, "--unsafe-noise-seed", seed]
            self.call("train", "--model", self.given.models / task["model"], *train, *plan, *flags)
        return out / "public"

    def merged(self, task, seed):
        adapter = self.warm(task, seed)
        out = adapter.parent.with_name(adapter.parent.name + "-merged")
        if not out.exists():
            self.call("merge", "--model", self.given.models / task["model"], "--adapter", adapter, "--out", out)
        return out

    def run(self, task, seed, way, settings, model=None, flags=(), mix=0.0):
        key = self.key(task, seed, way, settings)
        if key not in self.results:
            folder = pathlib.Path(tempfile.mkdtemp(prefix="few-"))
            try:
                row = self.line(task, seed, settings, model, flags, mix, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            row = {**task, "seed": seed, "way": way, "settings": settings, **row}
            self.results[key] = row
            with open(self.given.results, "a") as file:
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
        return self.results[key]

    def line(self, task, seed, settings, model, flags, mix, folder):
        data = self.given.data
        private = texts(data / f"{task['corpus']}.csv")[: task["units"]]
        others = [row for _, rows in self.public(task["corpus"]) for row in rows]
        random.Random(5).shuffle(others)
        among = others[: round(mix * len(private))]
        train = write(folder / "train.csv", private + among)
        # As many more expected units as there are more records: q, and with it the noise, stays.
        batch = task["batch"] * (len(private) + len(among)) / len(private)
        command = ["train", "--model", model or self.given.models / task["model"], "--train", train, "--out", folder / "run", "--quiet"]
        command += ["--eval", data / f"{task['corpus']}-eval.csv", "--epsilon", task["epsilon"], "--delta", room.DELTA]
        command += ["--steps", task["steps"], "--batch-size", batch, "--max-length", 64, "--eval-every", 100_000]
        command += ["--checkpoint-every", 100_000, "--interval", 5, "--seed", seed, "--unsafe-noise-seed", seed, *flags]
        for name, value in settings.items():
            command += [f"--{name.replace('_', '-')}", value]
        self.call(*command)
        lines = map(json.loads, (folder / "run" / "metrics.jsonl").read_text().splitlines())
        rate = next(line["learning_rate"] for line in lines if line["kind"] == "step")
        return {**room.Lab.read(folder / "run"), "rate": rate}

    def task(self, task, seed, ways):
        cold = self.run(task, seed, "cold", room.RULE)
        adapter = self.warm(task, seed)
        rate = lambda half_octaves: {"learning_rate": float(f"{cold['rate'] * 2 ** (half_octaves / 2):.4g}")}
        for k in HALF_OCTAVES:
            if "continue" in ways:
                self.run(task, seed, "cont", rate(k), flags=["--adapter", adapter])
            if "merged" in ways:
                self.run(task, seed, "merged", rate(k), model=self.merged(task, seed))
            if "b" in ways:
                self.run(task, seed, "cont-b", rate(k), flags=["--adapter", adapter, "--trainable", "b"])
        for mix, k in MIXES if "mix" in ways else ():
            bands = {"noise_bands": cold["bands"]}
            self.run(task, seed, f"mix{mix}", rate(k) | bands, flags=["--adapter", adapter], mix=mix)


def main():
    parser = argparse.ArgumentParser()
    for name in ("rldp", "models", "data", "work", "results"):
        parser.add_argument(name, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--most-tokens", type=int, default=150_000)
    parser.add_argument("--skip", type=int, default=0, help="leave out so many tasks of each corpus; 3 gives tasks that the rate was not chosen by")
    parser.add_argument("--new", action="store_true", help="tasks of texts that no rule was found on")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--ways", default="continue")
    given = parser.parse_args()
    bench = Bench(given)
    for seed in map(int, given.seeds.split(",")):
        for task in chosen(given.tasks, given.most_tokens, given.skip, given.new):
            bench.task(task, seed, given.ways.split(","))


if __name__ == "__main__":
    main()

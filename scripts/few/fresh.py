#!/usr/bin/env python3
"""Further tasks, each with a noise of its own, appended to RESULTS as lines of JSON (standard library only).

usage: fresh.py RLDP MODELS DATA RESULTS [--table]

As map.py, with other tasks of its kind; noise and batches of task i are of the seed 1000 + i, so that the luck of one seed does not show in all
tasks at once. Ways: the program's own rate, the rule's for the whole run, and AdamW as usual. --table prints the comparison of RESULTS, in which
lines of the way `before` are of an earlier form of the program's rate.
"""

import argparse
import itertools
import json
import math
import pathlib
import statistics

import map as room
import policy
import rule

MOST_TOKENS = 80_000
WAYS = {"default": {}, "rule": room.RULE, "adamw": room.usual(0.004)}


def tasks():
    drawn = room.tasks(400, False)[120:] + room.tasks(350, True)[90:]
    return sorted((task for task in drawn if room.tokens(task) <= MOST_TOKENS), key=room.tokens)


def table(path):
    losses = {}
    for row in map(json.loads, path.read_text().splitlines()):
        losses.setdefault(row["task"], {})[row["way"]] = row["nll"]
    print("| | tasks | mean, % [95 % over tasks] | median | nine tenths below | worst | by logarithms; p by flipping signs | lower, higher by 0.05 % |")
    print("|---" * 8 + "|")
    for way, other in itertools.product(("default", "before"), ("rule", "adamw")):
        logs = [found[way] - found[other] for found in losses.values() if way in found and other in found]
        if logs:
            changes = [100 * math.expm1(change) for change in logs]
            whole = f"{100 * math.expm1(statistics.mean(logs)):+.1f}; {policy.flipped(logs):.3f}"
            counts = f"{sum(c < -0.05 for c in changes)}, {sum(c > 0.05 for c in changes)}"
            print(f"| {way} against {other} | {len(logs)} | {rule.summary(changes)} | {whole} | {counts} |")


def main():
    parser = argparse.ArgumentParser()
    for name in ("rldp", "models", "data", "results"):
        parser.add_argument(name, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        return table(given.results)
    lab = room.Lab(given)
    for index, task in enumerate(tasks()):
        for way, settings in WAYS.items():
            lab.run({**task, "way": way}, settings, seed=1000 + index)


if __name__ == "__main__":
    main()

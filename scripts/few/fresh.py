#!/usr/bin/env python3
"""Tasks that nothing was chosen by, each with a noise of its own, appended to RESULTS as lines of JSON (standard library only).

usage: fresh.py RLDP MODELS DATA RESULTS [--table]

As map.py, with other tasks of its kind; noise and batches of task i are of the seed 1000 + i, so that the luck of one seed does not show in all
tasks at once. Ways: the program's own rate, the rule's for the whole run, and AdamW as usual. --table prints the comparison of RESULTS.
"""

import argparse
import json
import math
import pathlib
import random
import statistics

import map as room

MOST_TOKENS = 80_000
WAYS = {"default": {}, "rule": room.RULE, "adamw": room.usual(0.004)}


def tasks():
    drawn = room.tasks(400, False)[120:] + room.tasks(350, True)[90:]
    return sorted((task for task in drawn if room.tokens(task) <= MOST_TOKENS), key=room.tokens)


def signs(changes, draws=20_000):
    """Share of random signs whose mean is as far from zero."""
    rng, mean = random.Random(1), abs(statistics.mean(changes))
    flipped = (abs(statistics.mean(change * rng.choice((-1, 1)) for change in changes)) for _ in range(draws))
    return statistics.mean(value >= mean - 1e-15 for value in flipped)


def table(path):
    losses = {}
    for row in map(json.loads, path.read_text().splitlines()):
        losses.setdefault(row["task"], {})[row["way"]] = row["nll"]
    print("| | tasks | mean, % [95 % over tasks] | by logarithms; p by flipping signs | median | nine tenths below | lower, higher by 0.05 % | worst |")
    print("|---|---|---|---|---|---|---|---|")
    ways = sorted({way for found in losses.values() for way in found})
    for way, other in [(way, other) for way in ways for other in ("rule", "adamw") if way not in ("rule", "adamw")]:
        logs = [found[way] - found[other] for found in losses.values() if way in found and other in found]
        changes = [100 * math.expm1(change) for change in logs]
        half = 1.99 * statistics.stdev(changes) / math.sqrt(len(changes))
        mean, middle = statistics.mean(changes), statistics.median(changes)
        whole = f"{100 * math.expm1(statistics.mean(logs)):+.1f}; {signs(logs):.3f}"
        counts = f"{sum(c < -0.05 for c in changes)}, {sum(c > 0.05 for c in changes)}"
        most = f"{sorted(changes)[math.ceil(0.9 * len(changes)) - 1]:+.1f} | {counts} | {max(changes):+.1f}"
        print(f"| {way} against {other} | {len(logs)} | {mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}] | {whole} | {middle:+.1f} | {most} |")


def main():
    parser = argparse.ArgumentParser()
    for name in ("rldp", "models", "data", "results"):
        parser.add_argument(name, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        return table(given.results)
    given.seed = None
    lab = room.Lab(given)
    for index, task in enumerate(tasks()):
        for way, settings in WAYS.items():
            lab.run({**task, "way": way}, settings, seed=1000 + index)


if __name__ == "__main__":
    main()

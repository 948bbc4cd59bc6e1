#!/usr/bin/env python3
"""What momentum, bands and decay change at the best rate: tables for docs/results/few.md from map.py's lines (standard library only).

usage: knobs.py RESULTS.jsonl [RESULTS.jsonl ...]

Each run differs in one setting from that task's run at the best of the rates that were tried, whose bands the program chose, with beta1 and decay at
their defaults. Bands are told by what they are to the program's own number.
"""

import argparse
import json
import math
import statistics

import rule


def best_runs(rows):
    """A task's run at its best rate, of those that set nothing else."""
    best = {}
    for row in rows:
        if set(row["settings"]) == {"learning_rate"}:
            best[row["task"]] = min(best.get(row["task"], row), row, key=lambda row: row["nll"])
    return best


def name(row, best):
    """The one setting in which a run differs from the best one; None where it is not one."""
    settings = dict(row["settings"])
    if settings.pop("learning_rate", None) != best["settings"]["learning_rate"] or len(settings) != 1:
        return None
    ((knob, value),) = settings.items()
    if knob != "noise_bands":
        return f"{knob} {value}"
    return f"{value / best['bands']:g} times the bands" if value != best["bands"] else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results", nargs="+")
    given = parser.parse_args()
    rows = [json.loads(line) for path in given.results for line in open(path, encoding="utf-8")]
    rows = [row for row in rows if row.get("nll") is not None]
    best, changes = best_runs(rows), {}
    for row in rows:
        knob = name(row, best[row["task"]]) if row["task"] in best else None
        if knob:
            changes.setdefault(knob, []).append(100 * math.expm1(row["nll"] - best[row["task"]]["nll"]))
    print("| setting | tasks | change of perplexity, %, mean [95 %] | median | lower in | best | worst |\n|---|---|---|---|---|---|---|")
    for knob, found in sorted(changes.items()):
        print(
            f"| {knob} | {len(found)} | {rule.interval(found)} | {statistics.median(found):+.1f} | {sum(change < 0 for change in found)} "
            f"| {min(found):+.1f} | {max(found):+.1f} |"
        )


if __name__ == "__main__":
    main()

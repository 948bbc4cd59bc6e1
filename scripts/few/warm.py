#!/usr/bin/env python3
"""Tables of public.py: what a warm-up gives at which rate, and whether the paid loss tells the rate (standard library only).

usage: warm.py RESULTS.jsonl [--seed S]

A task's curve is its loss over the logarithm of the rate, linear between runs of `continue`. Fixed rates are 2^(k/2) times the rule's without
public text; `slope` is ridge regression of the best rate on the change of the paid loss over a first part of the run at k = -1, each task left
out in turn.
"""

import argparse
import collections
import json
import math
import pathlib
import statistics

import rule
import seen

AT = -1


class Task:
    def __init__(self, rows):
        self.cold = next(row for row in rows if row["way"] == "cold")
        self.ways = collections.defaultdict(dict)
        for row in rows:
            if row["way"] != "cold":
                self.ways[row["way"]][round(2 * math.log2(row["rate"] / self.cold["rate"]))] = row
        self.curve = {k: row["nll"] for k, row in self.ways["cont"].items()}
        self.bound = self.cold["batch"] * rule.growth(self.cold["bands"]) / self.cold["z"]

    def best(self):
        return min(self.curve, key=self.curve.get)

    def loss(self, k):
        places = sorted(self.curve)
        k = max(places[0], min(places[-1], k))
        low, high = max(p for p in places if p <= k), min(p for p in places if p >= k)
        share = (k - low) / (high - low) if high > low else 0.0
        return self.curve[low] + share * (self.curve[high] - self.curve[low])

    def against_cold(self, nll):
        return 100 * math.expm1(nll - self.cold["nll"])


def read(path, seed):
    rows = collections.defaultdict(list)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if row["seed"] == seed:
            rows[row["task"]].append(row)
    tasks = [Task(mine) for mine in rows.values()]
    return sorted((task for task in tasks if len(task.curve) >= 4), key=lambda task: task.bound)


def predicted(tasks, features):
    """The best k by ridge regression, each task left out in turn; by the others' mean without features."""
    for task in tasks:
        others = [other for other in tasks if other is not task]
        wanted = [other.best() for other in others]
        known = features and [features(other) for other in others]
        yield seen.ridge(known, wanted, features(task)) if features else statistics.mean(wanted)


def line(name, tasks, places):
    places = list(places)
    regret = [100 * math.expm1(task.loss(k) - min(task.curve.values())) for task, k in zip(tasks, places)]
    change = [task.against_cold(task.loss(k)) for task, k in zip(tasks, places)]
    lower = f"{sum(c < 0 for c in change)} of {len(change)}"
    print(f"| {name} | {statistics.mean(regret):.1f} | {statistics.median(regret):.1f} | {max(regret):.1f} | {rule.interval(change)} | {statistics.median(change):+.1f} | {lower} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    tasks = read(given.results, given.seed)
    print("| private text | model | N | ε | T × B | s | cold | k = 0 | −1 | −2 | −3 | slope |\n" + "|---" * 12 + "|")
    for task in tasks:
        row = task.cold
        plan = f"{row['corpus']} | {row['model']} | {row['units']} | {row['epsilon']:g} | {row['steps']} × {row['batch']} | {task.bound:.0f}"
        changes = " | ".join(f"{task.against_cold(task.curve[k]):+.1f}" for k in (0, -1, -2, -3))
        print(f"| {plan} | {math.exp(row['nll']):.2f} | {changes} | {seen.first_part(task.ways['cont'][AT]['loss'], 0.5):+.2f} |")
    print("\n| rate | regret, %, mean | median | worst | against cold, %, mean [95 %] | median | lower in |\n" + "|---" * 7 + "|")
    for k in (0, -1, -2):
        line(f"k = {k}", tasks, [k] * len(tasks))
    line("the others' mean", tasks, predicted(tasks, None))
    line("s and T", tasks, predicted(tasks, lambda task: [math.log2(task.bound), math.log2(task.cold["steps"])]))
    for part in (0.25, 0.5, 1.0):
        line(f"slope, {part:.0%} of the steps", tasks, predicted(tasks, lambda task: [seen.first_part(task.ways["cont"][AT]["loss"], part)]))
    line("best in hindsight", tasks, [task.best() for task in tasks])
    for way in sorted({way for task in tasks for way in task.ways} - {"cont"}):
        for k in sorted({k for task in tasks for k in task.ways.get(way, {})}, reverse=True):
            having = [task for task in tasks if k in task.ways.get(way, {}) and k in task.curve]
            changes = [100 * math.expm1(task.ways[way][k]["nll"] - task.curve[k]) for task in having]
            if changes:
                print(f"{way} against continue at k = {k}: {rule.interval(changes)} %, lower in {sum(c < 0 for c in changes)} of {len(changes)}")


if __name__ == "__main__":
    main()

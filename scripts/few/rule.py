#!/usr/bin/env python3
"""Finds the rule for the learning rate on some tasks of map.py and tests it on others; tables for docs/results/few.md (standard library only).

usage: rule.py FOUND_ON.jsonl TESTED_ON.jsonl [--fit] [--list] [--from N]

A task's curve is its loss over the logarithm of the rate, linear between runs. The rule is (1.6 / (alpha sqrt T)) · min(1, (s / enough)^power),
where s = B · g / z is the most that a step can hold of signal over the noise that lasts, along one direction; g is what bands take back of
the noise. --fit searches both numbers on the first file; --list shows the tasks; --from N leaves out the first N of both files.
"""

import argparse
import collections
import itertools
import json
import math
import statistics

import map as room

# What rldp's default is; `--fit` says what the runs say.
RULE = {"enough": 100.0, "power": 0.5}
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def growth(bands):
    """Sum of the weights of b bands: noise of b bands leaves 1/growth of its deviation in sums over many steps."""
    series = [1.0]
    for j in range(1, bands):
        series.append(series[-1] * (2 * j - 1) / (2 * j))
    return sum(series) / math.sqrt(sum(c * c for c in series))


class Task:
    def __init__(self, rows):
        first = next(row for row in rows if set(row["settings"]) == {"learning_rate"})
        self.name, self.corpus, self.model = first["task"], first["corpus"], first["model"]
        self.units, self.epsilon, self.steps, self.batch = (first[k] for k in ("units", "epsilon", "steps", "batch"))
        self.z, self.bands, self.parameters, self.before = (first[k] for k in ("z", "bands", "parameters", "nll_before"))
        base = 1.6 / (16 * math.sqrt(max(self.steps, 25)))
        self.curve, self.usual, self.first, self.ruled, self.follows = {}, {}, None, None, None
        for row in rows:
            settings = row["settings"]
            loss = row["nll"] if row.get("nll") is not None else math.inf
            if not settings:
                self.follows = loss
                continue
            if settings == room.RULE:
                self.ruled = loss
                continue
            octaves = math.log2(settings["learning_rate"] / base)
            if set(settings) == {"learning_rate"}:
                self.curve[round(2 * octaves) / 2] = min(loss, 20.0)
                if round(2 * octaves) == 0:
                    self.first = row
            elif settings.get("clipping") == "flat":
                self.usual[settings["learning_rate"]] = min(loss, 20.0)
        self.best = min(self.curve.values())
        self.best_place = min(self.curve, key=self.curve.get)
        if self.ruled is not None:
            self.curve.setdefault(place(self, RULE), self.ruled)

    @property
    def bound(self):
        return self.batch * growth(self.bands) / self.z

    def loss(self, place):
        """Linear between the runs' places, and on beyond the last two."""
        places = sorted(self.curve)
        left = max((i for i in range(len(places) - 1) if places[i] <= place), default=0)
        a, b = places[left], places[left + 1]
        share = (place - a) / (b - a)
        return max(self.curve[a] + share * (self.curve[b] - self.curve[a]), self.best)

    def regret(self, place):
        """Perplexity over the best of the given rates, in %."""
        return self.over(self.loss(place))

    def over(self, loss):
        return None if loss is None else 100 * math.expm1(loss - self.best)

    def whole(self):
        return {0, -1, -2} & set(self.curve) and len(self.curve) >= 4


def read(path):
    rows = collections.defaultdict(list)
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if "failed" not in row:
                rows[row["task"]].append(row)
    tasks = [Task(mine) for mine in rows.values()]
    return [task for task in tasks if task.whole()]


def place(task, rule):
    return min(0.0, rule["power"] * math.log2(task.bound / rule["enough"]))


def fit(tasks):
    """The rule with the least mean regret, each task's counted up to 30 %."""

    def cost(rule):
        return statistics.mean(min(task.regret(place(task, rule)), 30) for task in tasks)

    grid = itertools.product([30, 50, 70, 85, 100, 120, 150, 200], [0, 0.25, 0.33, 0.5, 0.67, 0.75, 1.0])
    return min(({"enough": enough, "power": power} for enough, power in grid), key=cost)


def interval(numbers):
    mean = statistics.mean(numbers)
    if len(numbers) < 2:
        return f"{mean:+.1f}"
    half = T95.get(len(numbers) - 1, 2.05) * statistics.stdev(numbers) / math.sqrt(len(numbers))
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def quantile(numbers, share):
    numbers = sorted(numbers)
    return numbers[min(len(numbers) - 1, math.ceil(share * len(numbers)) - 1)]


def table(name, tasks, rule):
    print(f"\n**{name}**, {len(tasks)} tasks: perplexity over the best rate in hindsight, %\n")
    print("| rate | mean [95 %] | median | nine tenths below | worst |\n|---|---|---|---|---|")
    ways = {
        "1.6/(α√T), before": lambda task: task.regret(0.0),
        "the rule": lambda task: task.regret(place(task, rule)),
        "the default: the rule, and what releases give back": lambda task: task.over(task.follows),
    }
    for rate in sorted({rate for task in tasks for rate in task.usual}):
        ways[f"AdamW as usual, {rate:g}"] = lambda task, rate=rate: task.over(task.usual.get(rate))
    for way, regret in ways.items():
        found = [value for value in map(regret, tasks) if value is not None]
        if not found:
            continue
        print(f"| {way} ({len(found)}) | {interval(found)} | {statistics.median(found):.1f} | {quantile(found, 0.9):.1f} | {max(found):.1f} |")
    changes = [100 * math.expm1(task.loss(place(task, rule)) - task.loss(0.0)) for task in tasks]
    print(f"\nRule against before: {interval(changes)} %, lower in {sum(c < -0.05 for c in changes)}, higher in {sum(c > 0.05 for c in changes)}.")
    for rate in sorted({rate for task in tasks for rate in task.usual}):
        against(f"Rule against AdamW as usual at {rate:g}", tasks, lambda task: task.loss(place(task, rule)), rate)
        against(f"Default against AdamW as usual at {rate:g}", tasks, lambda task: task.follows, rate)


def against(name, tasks, loss, rate):
    pairs = [(loss(task), task.usual[rate]) for task in tasks if rate in task.usual]
    changes = [100 * math.expm1(mine - theirs) for mine, theirs in pairs if mine is not None]
    if changes:
        print(f"{name}: {interval(changes)} %, higher in {sum(c > 0 for c in changes)} of {len(changes)}.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("found_on")
    parser.add_argument("tested_on")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--from", type=int, default=0, dest="first")
    given = parser.parse_args()
    found, tested = ([task for task in read(path) if int(task.name[1:]) >= given.first] for path in (given.found_on, given.tested_on))
    rule = fit(found) if given.fit else RULE
    print("rule:", rule)
    if given.list:
        print("| task | text | model | N | ε | T × B | bands | s | best rate | before | rule |\n" + "|---" * 11 + "|")
        for task in sorted(found + tested, key=lambda task: task.bound):
            plan = f"{task.units} | {task.epsilon:g} | {task.steps} × {task.batch} | {task.bands} | {task.bound:.0f}"
            regrets = f"{task.regret(0.0):.1f} | {task.regret(place(task, rule)):.1f}"
            print(f"| {task.name} | {task.corpus} | {task.model} | {plan} | {2 ** task.best_place:.2f} | {regrets} |")
    for name, tasks in (("Found on", found), ("Tested on", tested), ("All", found + tested)):
        if tasks:
            table(name, tasks, rule)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Finds the rule for the learning rate on some tasks of map.py and tests it on others; tables for docs/results/few.md (standard library only).

usage: rule.py FOUND_ON.jsonl TESTED_ON.jsonl [--fit] [--list]

A task's curve is its loss over the logarithm of the rate, by parabolas between runs. The first factor of a rate is 1.6 / (alpha sqrt T), and
s = B · g / z the most that a step can hold of signal over the noise that lasts, along one direction; g is what bands take back of the noise. A run begins at
sqrt(s / 100) of the first factor, no less than half and no more than all of it, as one does that keeps its rate. From its third release to half of its steps it has
sqrt(s / enough) of it, no less than `floor`, and an octave more for every deviation by which its releases agree beyond `chance`, up to the first factor.
What agreed since 15 % of the steps is given up with the third root of the steps only.
--fit searches these numbers on the first file, taking a run that moves for one at its mean rate and releases of the run
at the first factor for its own; --list shows the tasks.
"""

import argparse
import collections
import itertools
import json
import math
import statistics

import map as room

# What rldp's default is; `--fit` says what the runs say.
RULE = {"enough": 400.0, "floor": 0.5, "chance": 2.0}
# Of a run that keeps its rate, and of the others' first two steps.
ALONE = {"enough": 100.0, "floor": 0.5}
FIRST, KEPT_FROM, LAST = 0.04, 0.15, 0.5
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
            self.curve.setdefault(start(self, ALONE), self.ruled)

    @property
    def bound(self):
        return self.batch * growth(self.bands) / self.z

    def loss(self, place):
        """By the parabola through the three nearest runs; a line beyond the last two."""
        places = sorted(self.curve)
        near = sorted(places, key=lambda other: abs(other - place))[: 3 if places[0] < place < places[-1] else 2]
        found = sum(self.curve[i] * math.prod((place - j) / (i - j) for j in near if j != i) for i in near)
        return max(found, self.best)

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


def start(task, rule):
    """Place of the least rate of a run, or of the one that it keeps."""
    return min(max(0.5 * math.log2(task.bound / rule["enough"]), math.log2(rule["floor"])), 0.0)


def moving(task, rule):
    """Place of the mean rate of a run that follows what its releases show."""
    least, place, moved, kept = start(task, rule), start(task, ALONE), [], 0.0
    for step, agreement in enumerate(task.first["agreement"]):
        part = (step + 1) / task.steps
        if agreement is not None and FIRST <= part <= LAST:
            kept = max(kept, agreement * part ** (1 / 3)) if part >= KEPT_FROM else kept
            evidence = max(agreement, kept / part ** (1 / 3))
            place = min(least + max(evidence - rule["chance"], 0.0), 0.0)
        moved.append((1 - step / task.steps) * 2**place)
    return math.log2(sum(moved) / sum(1 - step / task.steps for step in range(task.steps)))


def fit(tasks):
    """The rules with the least mean regret, each task's counted up to 30 %."""
    cost = lambda rule: statistics.mean(min(task.regret(moving(task, rule)), 30) for task in tasks)
    grid = itertools.product([100, 150, 200, 300, 400, 600], [0.3, 0.4, 0.5, 0.6, 0.7, 0.85], [0.5, 1.0, 1.5, 2.0])
    return sorted(({"enough": enough, "floor": floor, "chance": chance} for enough, floor, chance in grid), key=cost)


def interval(numbers):
    mean = statistics.mean(numbers)
    if len(numbers) < 2:
        return f"{mean:+.1f}"
    half = T95.get(len(numbers) - 1, 2.05) * statistics.stdev(numbers) / math.sqrt(len(numbers))
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def quantile(numbers, share):
    numbers = sorted(numbers)
    return numbers[min(len(numbers) - 1, math.ceil(share * len(numbers)) - 1)]


def table(name, tasks):
    print(f"\n**{name}**, {len(tasks)} tasks: perplexity over the best rate in hindsight, %\n")
    print("| rate | mean [95 %] | median | nine tenths below | worst |\n|---|---|---|---|---|")
    ways = {
        "1.6/(α√T)": lambda task: task.regret(0.0),
        "the rule, nothing taken back": lambda task: task.over(task.ruled),
        "**the default**": lambda task: task.over(task.follows),
    }
    rates = sorted({rate for task in tasks for rate in task.usual})
    for rate in rates:
        ways[f"AdamW as usual, {rate:g}"] = lambda task, rate=rate: task.over(task.usual.get(rate))
    for way, regret in ways.items():
        found = [value for value in map(regret, tasks) if value is not None]
        if found:
            print(f"| {way} ({len(found)}) | {summary(found)} |")
    against("Default against 1.6/(α√T)", [(task.follows, task.loss(0.0)) for task in tasks])
    for rate in rates:
        against(f"Default against AdamW as usual at {rate:g}", [(task.follows, task.usual.get(rate)) for task in tasks])


def summary(found):
    return f"{interval(found)} | {statistics.median(found):.1f} | {quantile(found, 0.9):.1f} | {max(found):.1f}"


def against(name, pairs):
    changes = [100 * math.expm1(mine - theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
    if changes:
        print(f"{name}: {interval(changes)} %, higher in {sum(c > 0.05 for c in changes)} of {len(changes)}, at most {max(changes):+.1f}.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("found_on")
    parser.add_argument("tested_on")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    found, tested = read(given.found_on), read(given.tested_on)
    if given.fit:
        print("| enough | floor | chance | found on: mean, median, nine tenths, worst | tested on |\n|---|---|---|---|---|")
        for rule in [*fit(found)[:8], RULE]:
            of = lambda tasks: summary([task.regret(moving(task, rule)) for task in tasks])
            print(f"| {rule['enough']} | {rule['floor']} | {rule['chance']} | {of(found)} | {of(tested)} |")
    if given.list:
        print("| task | text | model | N | ε | T × B | bands | s | best rate | 1.6/(α√T) | default | agreement at a quarter |\n" + "|---" * 12 + "|")
        for task in sorted(found + tested, key=lambda task: task.bound):
            plan = f"{task.units} | {task.epsilon:g} | {task.steps} × {task.batch} | {task.bands} | {task.bound:.0f}"
            agreement = task.first["agreement"][task.steps // 4 - 1]
            regrets = f"{task.regret(0.0):.1f} | {task.over(task.follows):.1f} | {agreement:.1f}"
            print(f"| {task.name} | {task.corpus} | {task.model} | {plan} | {2 ** task.best_place:.2f} | {regrets} |")
    for name, tasks in (("Found on", found), ("Tested on", tested), ("All", found + tested)):
        if tasks:
            table(name, tasks)


if __name__ == "__main__":
    main()

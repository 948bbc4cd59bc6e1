#!/usr/bin/env python3
"""What of the released signals tells the best move: ridge regression of the best learning rate in hindsight, each task left out in turn
(standard library only).

usage: seen.py RESULTS.jsonl [RESULTS.jsonl ...] [--steps K] [--looks LOOKS.jsonl]

Wanted is log2 of the best rate over 1.6/(alpha sqrt T). Known is what is public before the first step (log2 of the signal bound s, of T); or what
the run at that rate released in its first K steps (mean signal-to-noise over all pairs, the largest of a pair, the change of the paid loss
over its deviation, persistence of the gradient); or both; or the slope of the paid loss over a first part of the run; or how far releases agreed by
then, where the lines say so; or, with --looks, the factor on the update so far that would lose least, without noise (look.py), over the tasks that were
looked at. The yardstick is the mean of the other tasks, and the rule, which is fitted to none of them.
"""

import argparse
import json
import math
import statistics

import look
import rule


def mean(numbers):
    numbers = [x for x in numbers if x is not None]
    return statistics.mean(numbers) if numbers else 0.0


def public(task, _):
    return [math.log2(task.bound), math.log2(task.steps)]


def released(task, steps):
    row = task.first
    snr, loss = row["snr"][:steps], row["loss"][:steps]
    half = max(1, len(loss) // 2)
    change = (mean(loss[half:]) - mean(loss[:half])) / ((row["loss_std"] or 1.0) * math.sqrt(2 / half))
    intervals = max(1, steps // 5)
    largest = mean([pair[1] for pair in row["pair_snr"][:intervals]])
    return [mean(snr) * math.sqrt(task.parameters * len(snr) / 2), largest, change, mean(row["persistence"][:intervals])]


def agreement(task, part):
    """On a logarithmic scale, either way of 0."""
    value = task.first["agreement"][max(0, int(part * task.steps) - 1)]
    return math.copysign(math.log1p(abs(value)), value)


def slope(loss):
    """Change over these steps by the line of least squares, in nats; what noise alone makes larger is cut."""
    middle = (len(loss) - 1) / 2
    change = sum((i - middle) * value for i, value in enumerate(loss)) / sum((i - middle) ** 2 for i in range(len(loss)))
    return max(-3.0, min(0.5, change * len(loss)))


def first_part(loss, part):
    return slope(loss[: max(4, int(part * len(loss)))])


def solve(matrix, wanted):
    """Gauss with pivots."""
    rows = [row[:] + [value] for row, value in zip(matrix, wanted)]
    for i in range(len(rows)):
        pivot = max(range(i, len(rows)), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(len(rows)):
            if r != i:
                factor = rows[r][i] / rows[i][i]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i])]
    return [row[-1] / row[i] for i, row in enumerate(rows)]


def ridge(features, wanted, new, strength=1.0):
    """The prediction for `new` from standardized features; the mean is not shrunk."""
    columns = list(zip(*features))
    centres = [statistics.mean(column) for column in columns]
    scales = [statistics.pstdev(column) or 1.0 for column in columns]
    standard = lambda row: [(x - c) / s for x, c, s in zip(row, centres, scales)]
    x, middle = [standard(row) for row in features], statistics.mean(wanted)
    size = len(columns)
    gram = [[sum(row[i] * row[j] for row in x) + (strength if i == j else 0.0) for j in range(size)] for i in range(size)]
    moment = [sum(row[i] * (value - middle) for row, value in zip(x, wanted)) for i in range(size)]
    return middle + sum(w * v for w, v in zip(solve(gram, moment), standard(new)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results", nargs="+")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--looks", type=argparse.FileType(encoding="utf-8"))
    given = parser.parse_args()
    tasks = [task for path in given.results for task in rule.read(path) if task.first]
    looks = looked(given.looks or ())
    tasks = [task for task in tasks if all(task.name in factors for factors in looks.values())]
    wanted = [task.best_place for task in tasks]
    sets = {
        "nothing": None,
        "public": public,
        "released": released,
        "both": lambda task, steps: public(task, steps) + released(task, steps),
    }
    for part in (0.1, 0.25, 0.5):
        sets[f"slope of the loss, {part:.0%} of the steps"] = lambda task, _, part=part: [first_part(task.first["loss"], part)]
    for part in (0.15, 0.25, 0.5) if all("agreement" in task.first for task in tasks) else ():
        sets[f"agreement, {part:.0%} of the steps"] = lambda task, _, part=part: [agreement(task, part)]
        sets[f"public and agreement, {part:.0%}"] = lambda task, _, part=part: public(task, 0) + [agreement(task, part)]
    sets["public and slope, 50%"] = lambda task, _: public(task, 0) + [first_part(task.first["loss"], 0.5)]
    for (gain, part), factors in looks.items():
        name = f"a look at {part:.0%} of a run at {gain:g} of the largest rate"
        sets[name] = lambda task, _, factors=factors: [factors[task.name]]
        sets[f"{name}, and agreement"] = lambda task, _, factors=factors, part=part: [factors[task.name], agreement(task, part)]
    print("| known | error of log2(rate), root mean square | perplexity over the best, %, mean | worst |\n|---|---|---|---|")
    for name, features in sets.items():
        guesses = []
        for out, task in enumerate(tasks):
            others = [other for i, other in enumerate(tasks) if i != out]
            known = [value for i, value in enumerate(wanted) if i != out]
            if features is None:
                guesses.append(statistics.mean(known))
            else:
                table = [features(other, given.steps) for other in others]
                guesses.append(ridge(table, known, features(task, given.steps)))
        print_row(name, tasks, guesses, wanted)
    print_row("the rule, nothing taken back", tasks, [rule.start(task, rule.ALONE) for task in tasks], wanted)
    follows = [task.over(task.follows) for task in tasks]
    print(f"| the default, as it ran | – | {statistics.mean(follows):.1f} | {max(follows):.1f} |")
    print(f"\n{len(tasks)} tasks; released in the first {given.steps} steps.")


def looked(lines):
    """By rate and part of the run, log2 of the best factor of every task that was looked at."""
    found = {}
    for row in map(json.loads, lines):
        found.setdefault((row["gain"], row["part"]), {})[row["task"]] = math.log2(look.best_factor(row["losses"]))
    return dict(sorted(found.items()))


def print_row(name, tasks, guesses, wanted):
    error = math.sqrt(statistics.mean((guess - value) ** 2 for guess, value in zip(guesses, wanted)))
    regrets = [task.regret(guess) for task, guess in zip(tasks, guesses)]
    print(f"| {name} | {error:.2f} | {statistics.mean(regrets):.1f} | {max(regrets):.1f} |")


if __name__ == "__main__":
    main()

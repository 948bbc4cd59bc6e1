"""Compares runs that were never tuned with a baseline under rules of tuning, from the folders of comparisons over the same
data sets, budgets and seeds. Prints, for each data set and method, the change of perplexity against each rule in % with its 95 %
t interval over paired seeds, and after how many steps (median) a method reaches the rule's final perplexity; then every method
against METHOD over all pairs of data set, budget and seed. Where a grid has more axes, their values are a part of a method's name.

    python3 scripts/against_tuned.py TUNED METHOD UNTUNED [UNTUNED ...]
"""

import collections
import json
import math
import pathlib
import statistics
import sys

# Two-sided 95 % quantiles of Student's t by degrees of freedom; from ten on, that of the fewest in a range, and so never too narrow.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
T |= {n: 2.23 for n in range(10, 20)} | {n: 2.09 for n in range(20, 60)}
RULES = ["default", "within-budget", "hindsight"]


def lines(folder):
    return [json.loads(line) for line in (pathlib.Path(folder) / "results.jsonl").read_text().splitlines()]


def tuned(folder):
    """The final log-perplexity by (data set, epsilon, seed, rule); the rules are those of docs/compare.md."""
    runs = collections.defaultdict(dict)
    for row in lines(folder):
        for role in row["roles"]:
            place = row["dataset"], row["epsilon"], role["rule"], role["trial"]
            runs[place][row["seed"], role["candidate"]] = math.log(row["perplexity_after"] or math.inf)
    chosen = {}
    for (dataset, epsilon, rule, trial), finals in runs.items():
        if trial:
            continue
        seeds, candidates = ({key[i] for key in finals} for i in (0, 1))
        trials = runs.get((dataset, epsilon, rule, True), finals)
        for seed in seeds:
            score = lambda candidate: trials[seed, candidate]
            if rule == "hindsight":
                score = lambda candidate: sum(finals[seed, candidate] for seed in seeds)
            chosen[dataset, epsilon, seed, rule] = finals[seed, min(candidates, key=score)]
    return chosen


def curve(folder, run):
    metrics = pathlib.Path(folder) / "runs" / run / "metrics.jsonl"
    rows = map(json.loads, metrics.read_text().splitlines())
    return [(row["step"], math.log(row["perplexity"])) for row in rows if row["kind"] == "eval" and row["perplexity"]]


def percent(logarithm):
    return f"{100 * math.expm1(logarithm):+.1f}".replace("-", "−")


def half_width(differences):
    return T.get(len(differences) - 1, 2.01) * statistics.stdev(differences) / math.sqrt(len(differences))


def interval(differences):
    mean = statistics.mean(differences)
    if len(differences) < 2:
        return percent(mean)
    half = half_width(differences)
    return f"{percent(mean)} [{percent(mean - half)}, {percent(mean + half)}]"


def label(run):
    """The method, and where a run stands on axes other than epsilon."""
    places = (f"{axis} {place}" for axis, place in run["axes"].items() if axis != "epsilon")
    return ", ".join([run["method"], *places])


def steps_to(curves, goals):
    reached = [next((step for step, log in curve if log <= goal), math.inf) for curve, goal in zip(curves, goals)]
    median = statistics.median(reached)
    return f"{median:.0f}" if math.isfinite(median) else "never"


def against_rules(goals, runs):
    """runs: (folder, line) of each run, by (data set, method, epsilon) and seed."""
    for dataset in dict.fromkeys(dataset for dataset, _, _ in runs):
        print(f"**{dataset}**\n")
        print("| method | ε | seeds | " + " | ".join(f"against {rule} | steps" for rule in RULES) + " |")
        print("|---" * (3 + 2 * len(RULES)) + "|")
        for (_, method, epsilon), mine in ((key, mine) for key, mine in runs.items() if key[0] == dataset):
            curves = [curve(folder, run["run"]) for folder, run in mine.values()]
            cells = []
            for rule in RULES:
                wanted = [goals[dataset, epsilon, seed, rule] for seed in mine]
                finals = [math.log(run["perplexity_after"]) for _, run in mine.values()]
                cells.append(interval([final - goal for final, goal in zip(finals, wanted)]))
                cells.append(steps_to(curves, wanted))
            print(f"| {method} | {epsilon:g} | {len(mine)} | " + " | ".join(cells) + " |")
        print()


def against(first, runs):
    finals = {
        (dataset, method, epsilon, seed): math.log(run["perplexity_after"])
        for (dataset, method, epsilon), mine in runs.items()
        for seed, (_, run) in mine.items()
    }
    print(f"| method | pairs | against {first}, % | lower in |\n|---|---|---|---|")
    for method in dict.fromkeys(method for _, method, _ in runs if method != first):
        pairs = [(d, e, s) for d, m, e, s in finals if m == method and (d, first, e, s) in finals]
        differences = [finals[d, method, e, s] - finals[d, first, e, s] for d, e, s in pairs]
        if len(differences) > 1:
            lower = sum(difference < 0 for difference in differences)
            change = f"{percent(statistics.mean(differences))} ± {100 * half_width(differences):.1f}"
            print(f"| {method} | {len(differences)} | {change} | {lower} |")


def main(tuned_folder, first, *untuned_folders):
    runs = collections.defaultdict(dict)
    for folder in untuned_folders:
        for run in lines(folder):
            if run["perplexity_after"]:
                runs[run["dataset"], label(run), run["epsilon"]].setdefault(run["seed"], (folder, run))
    methods = [first, *dict.fromkeys(method for _, method, _ in runs)]
    runs = dict(sorted(runs.items(), key=lambda item: (item[0][0], methods.index(item[0][1]), item[0][2])))
    against_rules(tuned(tuned_folder), {key: dict(sorted(mine.items())) for key, mine in runs.items()})
    against(first, runs)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])

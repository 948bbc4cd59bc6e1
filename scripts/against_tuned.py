"""Compares runs that were never tuned with a baseline under rules of tuning, from the folders of two comparisons over the same
data sets, budgets and seeds. Prints, for each data set and method, the change of perplexity against each rule in % with its 95 %
t interval over paired seeds, and after how many steps a method reaches the rule's final perplexity.

    python3 scripts/against_tuned.py TUNED UNTUNED
"""

import collections
import json
import math
import pathlib
import statistics
import sys

# Two-sided 95 % quantiles of Student's t by degrees of freedom.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
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


def interval(differences):
    mean = statistics.mean(differences)
    half = T[len(differences) - 1] * statistics.stdev(differences) / math.sqrt(len(differences))
    return " ".join([f"{percent(mean)}", f"[{percent(mean - half)}, {percent(mean + half)}]"])


def percent(logarithm):
    return f"{100 * math.expm1(logarithm):+.1f}"


def main(tuned_folder, untuned_folder):
    goals, runs = tuned(tuned_folder), lines(untuned_folder)
    for dataset in dict.fromkeys(run["dataset"] for run in runs):
        print(f"{dataset}\n")
        print("| method | ε | " + " | ".join(f"against {rule}, %, [95 %] | steps" for rule in RULES) + " |")
        print("|---" * (2 + 2 * len(RULES)) + "|")
        methods = dict.fromkeys(run["method"] for run in runs)
        for method, epsilon in [(m, e) for m in methods for e in dict.fromkeys(run["epsilon"] for run in runs)]:
            mine = [r for r in runs if (r["dataset"], r["method"], r["epsilon"]) == (dataset, method, epsilon)]
            cells = []
            for rule in RULES:
                pairs = [(r, goals[dataset, epsilon, r["seed"], rule]) for r in mine]
                cells.append(interval([math.log(r["perplexity_after"]) - goal for r, goal in pairs]))
                reached = [
                    next((step for step, log in curve(untuned_folder, r["run"]) if log <= goal), math.inf) for r, goal in pairs
                ]
                median = statistics.median(reached)
                cells.append(f"{median:.0f}" if math.isfinite(median) else "never")
            print(f"| {method} | {epsilon} | " + " | ".join(cells) + " |")
        print()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

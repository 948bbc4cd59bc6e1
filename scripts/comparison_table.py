"""Prints what `rldp compare` left in OUT as tables: methods by points of the grid for each data set, from summary.csv; and each
method against each METHOD over all of the grid, from results.jsonl.

    python3 scripts/comparison_table.py OUT [METHOD ...]
"""

import csv
import json
import math
import pathlib
import statistics
import sys


def difference(row):
    if not row["difference_percent"]:
        return f"{float(row['perplexity']):.3f}"
    return f"{float(row['difference_percent']):+.1f} [{float(row['difference_low']):+.1f}, {float(row['difference_high']):+.1f}]"


def steps(row):
    if row["steps_to_baseline_median"]:
        return f"{float(row['steps_to_baseline_median']):.0f} ({row['reached_baseline']}/{row['compared_with_baseline']})"
    return f"never ({row['reached_baseline']}/{row['compared_with_baseline']})"


def table(rows, cell):
    points = list(dict.fromkeys(row["axes"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    print("| method | " + " | ".join(points) + " |")
    print("|---" * (len(points) + 1) + "|")
    for method in methods:
        cells = {row["axes"]: cell(row) for row in rows if row["method"] == method}
        print(f"| {method} | " + " | ".join(cells.get(point, "") for point in points) + " |")
    print()


def percent(logarithm):
    return f"{100 * math.expm1(logarithm):+.1f}"


def against(other, method, runs):
    """Mean and range of the change of perplexity over pairs of runs, and in how many it is lower."""
    if method == other:
        return "– | –"
    pairs = [log - runs[point, other] for (point, name), log in runs.items() if name == method]
    low, high = percent(min(pairs)), percent(max(pairs))
    lower = sum(pair < 0 for pair in pairs)
    return f"{percent(statistics.mean(pairs))} % ({low} to {high}) | {lower} of {len(pairs)}"


def overall(lines, others):
    point = lambda line: (line["model"], line["dataset"], str(line["axes"]), line["seed"])
    runs = {(point(line), line["method"]): math.log(line["perplexity_after"]) for line in lines}
    print("| method | " + " | ".join(f"against {other} | lower in" for other in others) + " |")
    print("|---" * (2 * len(others) + 1) + "|")
    for method in dict.fromkeys(line["method"] for line in lines):
        print(f"| {method} | " + " | ".join(against(other, method, runs) for other in others) + " |")


def main():
    out, others = pathlib.Path(sys.argv[1]), sys.argv[2:]
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for model, dataset in dict.fromkeys((row["model"], row["dataset"]) for row in rows):
        of = [row for row in rows if (row["model"], row["dataset"]) == (model, dataset)]
        print(f"{model}, {dataset}: perplexity of the baseline; others against it in % [95 % interval], paired by seed\n")
        table(of, difference)
        print(f"{model}, {dataset}: steps until the baseline's final perplexity, median (seeds that get there)\n")
        table(of, steps)
    if others:
        overall([json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()], others)


if __name__ == "__main__":
    main()

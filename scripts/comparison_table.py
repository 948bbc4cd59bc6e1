"""Prints `rldp compare`'s summary.csv as tables of methods by points of the grid, a table a data set.

    python3 scripts/comparison_table.py runs/slice/summary.csv
"""

import csv
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


def main():
    rows = list(csv.DictReader(open(sys.argv[1], newline="")))
    for model, dataset in dict.fromkeys((row["model"], row["dataset"]) for row in rows):
        of = [row for row in rows if (row["model"], row["dataset"]) == (model, dataset)]
        print(f"{model}, {dataset}: perplexity of the baseline; others against it in % [95 % interval], paired by seed\n")
        table(of, difference)
        print(f"{model}, {dataset}: steps until the baseline's final perplexity, median (seeds that get there)\n")
        table(of, steps)


if __name__ == "__main__":
    main()

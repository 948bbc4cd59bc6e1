#!/usr/bin/env python3
"""The defaults against AdamW tuned in hindsight, cell by cell: runs appended to RESULTS as lines of JSON (standard library only).

usage: cells.py RLDP MODELS DATA WORK RESULTS [--seeds 1,2,3] [--rates] [--table]

As map.py. A cell is a corpus, N units and a model; in each, at three budgets and by known seeds, which pair noise and batches:

  rule      every setting the program's own, but the rule's rate for the whole run
  default   every setting the program's own: the rate follows the releases
  public    the same after a warm-up on the other corpora (public.py's, kept in WORK), which is what --public does
  adamw R   AdamW as everybody runs it (flat clipping, beta1 0.9, one band, linear decay) at rate R
  rate K    the rule's rate times 2^(K/2) for the whole run, K from -2 to 2 (with --rates, and nothing else)

AdamW's rate is chosen in hindsight, by the mean over the seeds of a cell and budget, of the rates that were tried in all of them, and costs nothing; a user has to pay for the choice, as in within.py,
whose lines the table reads where RESULTS has them.
"""

import argparse
import math
import pathlib
import statistics

import map as room
import public
import rule

CELLS = [
    ("notes", 1000, "stories260k"),
    ("banking", 1000, "stories260k"),
    ("sms", 3000, "stories260k"),
    ("notes", 5000, "stories260k"),
    ("banking", 3000, "demo"),
    ("wordnet", 3000, "stories260k"),
    ("e2e", 20_000, "stories260k"),
]
BUDGETS = (0.5, 2.0, 8.0)
STEPS, BATCH = 60, 128
RATES = (0.001, 0.002, 0.004, 0.008, 0.016)


def cells():
    for corpus, units, model in CELLS:
        for epsilon in BUDGETS:
            name = f"{corpus}-{units}-{model}-{epsilon:g}"
            yield {"task": name, "corpus": corpus, "units": units, "epsilon": epsilon, "steps": STEPS, "batch": BATCH, "model": model}


def run(bench, task, seed):
    bench.run(task, seed, "rule", room.RULE)
    bench.run(task, seed, "default", {})
    bench.run(task, seed, "public", {}, flags=["--adapter", bench.warm(task, seed)])
    for rate in RATES:
        bench.run(task, seed, "adamw", room.usual(rate))


def rates(bench, task, seed):
    rule = bench.run(task, seed, "rule", room.RULE)["rate"]
    for half_octaves in (-2, -1, 1, 2):
        bench.run(task, seed, f"rate {half_octaves}", {"learning_rate": float(f"{rule * 2 ** (half_octaves / 2):.5g}")})


def change(numbers):
    """The mean, with its interval where there are seeds enough to tell one."""
    return rule.interval(numbers) if len(numbers) > 2 else f"{statistics.mean(numbers):+.1f}"


def table(bench):
    print("| text | N | model | ε | before | default | after public text | AdamW | its rate | default, % | with public text, % | default against AdamW within the budget, % |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    gains = {"default against AdamW in hindsight": [], "after public text against AdamW in hindsight": [], "default against AdamW within the budget": []}
    counted = set()
    for task in cells():
        rows = [row for row in bench.results.values() if row["task"] == task["task"]]
        of = lambda way, rate=None: {r["seed"]: r["nll"] for r in rows if r["way"] == way and r["settings"].get("learning_rate") == rate}
        default, public, within = of("default"), of("public"), of("within")
        tried = {rate: found for rate in RATES if default.keys() <= (found := of("adamw", rate)).keys()}
        if not default or not tried:
            continue
        counted.add(len(default))
        mean = lambda found: statistics.mean(found[seed] for seed in default)
        best = min(tried, key=lambda rate: mean(tried[rate]))
        compared = [(default, tried[best]), (public, tried[best]), (default, within)]
        changes = [[100 * math.expm1(mine[seed] - theirs[seed]) for seed in sorted(mine.keys() & theirs.keys())] for mine, theirs in compared]
        for found, each in zip(gains.values(), changes):
            found += [statistics.mean(each)] if each else []
        line = [task["corpus"], task["units"], task["model"], f"{task['epsilon']:g}", f"{math.exp(rows[0]['nll_before']):.1f}"]
        line += [f"{math.exp(statistics.mean(found.values())):.2f}" if found else "–" for found in (default, public, tried[best])]
        line += [best, *(change(each) if each else "not run" for each in changes)]
        print("| " + " | ".join(map(str, line)) + " |")
    for name, found in gains.items():
        print(f"\n{name}: {change(found) if found else 'not run'} % over {len(found)} cells, above in {sum(gain > 0 for gain in found)}.")
    print(f"\nSeeds of the default in a cell: {sorted(counted)}.")


def main():
    parser = argparse.ArgumentParser()
    for name in ("rldp", "models", "data", "work", "results"):
        parser.add_argument(name, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--rates", action="store_true", help="rates around the rule's instead")
    parser.add_argument("--table", action="store_true", help="print what RESULTS has, and run nothing")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    bench = public.Bench(given)
    if given.table:
        return table(bench)
    for seed in map(int, given.seeds.split(",")):
        for task in cells():
            (rates if given.rates else run)(bench, task, seed)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The defaults against AdamW tuned in hindsight, cell by cell: runs appended to RESULTS as lines of JSON (standard library only).

usage: cells.py RLDP MODELS DATA WORK RESULTS [--seeds 1,2,3] [--rates] [--table]

As map.py. A cell is a corpus, N units and a model; in each, at three budgets and by known seeds, which pair noise and batches:

  rule      every setting the program's own, but the rule's rate for the whole run
  default   every setting the program's own: the rate follows the releases
  public    the same after a warm-up on the other corpora (public.py's, kept in WORK), which is what --public does
  adamw R   AdamW as everybody runs it (flat clipping, beta1 0.9, one band, linear decay) at rate R
  rate K    the rule's rate times 2^(K/2) for the whole run, K from -2 to 2 (with --rates, and nothing else)

AdamW's rate is chosen in hindsight, by the mean over the seeds of a cell and budget, and costs nothing; a user has to pay for the choice, as in within.py,
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
    print("| text | N | model | ε | before | rule | default | after public text | AdamW | its rate | default, % | with public text, % | default against AdamW within the budget, % |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    gains = {"rule": [], "default": [], "public": [], "within the budget": []}
    for task in cells():
        rows = [row for row in bench.results.values() if row["task"] == task["task"]]
        of = lambda way, rate=None: {r["seed"]: r["nll"] for r in rows if r["way"] == way and r["settings"].get("learning_rate") == rate}
        tried = {rate: of("adamw", rate) for rate in RATES}
        ours = {way: of(way) for way in ("rule", "default", "public")}
        seeds = sorted(set.intersection(*map(set, [*tried.values(), *ours.values()])))
        if not seeds:
            continue
        mean = lambda found: statistics.mean(found[seed] for seed in seeds)
        best = min(RATES, key=lambda rate: mean(tried[rate]))
        line = [task["corpus"], task["units"], task["model"], f"{task['epsilon']:g}", f"{math.exp(rows[0]['nll_before']):.1f}"]
        line += [f"{math.exp(mean(found)):.2f}" for found in ours.values()] + [f"{math.exp(mean(tried[best])):.2f}", best]
        for way, found in ours.items():
            each = [100 * math.expm1(found[seed] - tried[best][seed]) for seed in seeds]
            gains[way].append(statistics.mean(each))
            line += [change(each)] if way != "rule" else []
        within = of("within")
        each = [100 * math.expm1(ours["default"][seed] - within[seed]) for seed in seeds if seed in within]
        gains["within the budget"] += [statistics.mean(each)] if each else []
        line.append(change(each) if each else "not run")
        print("| " + " | ".join(map(str, line)) + " |")
    for way, found in gains.items():
        worse = sum(gain > 0 for gain in found)
        against = "default against AdamW within the budget" if way == "within the budget" else f"{way} against AdamW in hindsight"
        print(f"\n{against}: {change(found) if found else 'not run'} % over {len(found)} cells, above in {worse}.")


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

#!/usr/bin/env python3
"""What controllers add to the rule on tasks drawn at random: runs appended to RESULTS as lines of JSON (standard library only).

usage: policy.py RLDP MODELS DATA WORK RESULTS [--most-tokens M] [--seeds 1,2] [--ways set,sac] [--policy FILE] [--table]

As public.py, whose tasks these are, all texts together; everything is at the program's defaults but what a way names; controllers decide every five
steps. `rule` is the rule's rate for the whole run, `default` lets it follow the releases. Noise and batches are paired by a known seed. `warm` ways start from public.py's warm-up at the rate that --public takes. `learned` is a set
policy from FILE (`rldp policy train` on e2e, notes and wordnet), on tasks of other texts alone.
"""

import argparse
import math
import pathlib
import random
import statistics

import map as room
import public
import rule

WAYS = {
    "rule": room.RULE,
    "default": {},
    "sac": {"controller": "sac", **room.RULE},
    "set": {"controller": "set", **room.RULE},
    "set-scratch": {"controller": "set-scratch", **room.RULE},
    "random": {"controller": "random", **room.RULE},
    "search": {"rate_search": "true"},
    "learned": {"controller": "set-scratch", **room.RULE},
}


def tasks(most_tokens):
    return sorted(public.chosen(200, most_tokens) + public.chosen(200, most_tokens, 3) + public.chosen(200, most_tokens, new=True), key=public.room.tokens)


def table(bench, most_tokens, seeds):
    """Seeds of a task are averaged, since the noise of a seed is shared by all tasks."""
    print("| controller | seeds | tasks | against the rule, % [95 % over tasks] | of logarithms; p | median | lower, higher by 0.05 % | best | worst |")
    print("|---" * 9 + "|")
    for warm, way in ((warm, way) for warm in (False, True) for way in list(WAYS)[1:]):
        for some in [*([seed] for seed in seeds), *([seeds] if len(seeds) > 1 else [])]:
            found = [of_task(bench, task, way, warm, some) for task in tasks(most_tokens) if fair(way, task)]
            print_line(way + (" after a warm-up" if warm else ""), some, [logs for logs in found if len(logs) == len(some)])


def of_task(bench, task, way, warm, seeds):
    """Logarithms of perplexity over the rule's, seed by seed."""
    pairs = [(of(bench, task, seed, way, warm), of(bench, task, seed, "rule", warm)) for seed in seeds]
    return [mine["nll"] - theirs["nll"] for mine, theirs in pairs if mine and theirs]


def print_line(way, seeds, found):
    if len(found) < 3:
        return
    changes = [statistics.mean(100 * math.expm1(log) for log in logs) for logs in found]
    logs = [statistics.mean(logs) for logs in found]
    moved = f"{sum(change < -0.05 for change in changes)}, {sum(change > 0.05 for change in changes)}"
    spread = f"{statistics.median(changes):+.1f} | {moved} | {min(changes):+.1f} | {max(changes):+.1f}"
    which = ", ".join(map(str, seeds))
    print(f"| {way} | {which} | {len(changes)} | {rule.interval(changes)} | {100 * math.expm1(statistics.mean(logs)):+.1f}; {flipped(logs):.4f} | {spread} |")


def flipped(logs, times=100_000):
    """p of a mean as far from 0, either way, by flipping signs at random."""
    rng, seen = random.Random(1), abs(sum(logs)) * (1 - 1e-12)
    sums = (sum(log if rng.random() < 0.5 else -log for log in logs) for _ in range(times))
    return (1 + sum(abs(total) >= seen for total in sums)) / (1 + times)


def fair(way, task):
    """Whether a task is of texts that the way was not learned on."""
    return way != "learned" or task["corpus"] not in public.room.FOUND_ON


def of(bench, task, seed, way, warm):
    return bench.results.get(bench.key(task, seed, name(way, warm), WAYS[way]))


def name(way, warm):
    return f"{way}-warm" if warm else way


def main():
    parser = argparse.ArgumentParser()
    for argument in ("rldp", "models", "data", "work", "results"):
        parser.add_argument(argument, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--most-tokens", type=int, default=150_000)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--ways", default="rule,default,sac,set,set-scratch,random,search")
    parser.add_argument("--policy", type=pathlib.Path)
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--table", action="store_true", help="print what RESULTS has, and run nothing")
    given = parser.parse_args()
    bench = public.Bench(given)
    seeds = list(map(int, given.seeds.split(",")))
    if given.table:
        return table(bench, given.most_tokens, seeds)
    for seed in seeds:
        for task in tasks(given.most_tokens):
            for way in given.ways.split(","):
                flags = ["--adapter", bench.warm(task, seed)] if given.warm else []
                flags += ["--policy", given.policy.resolve()] if way == "learned" else []
                if fair(way, task):
                    bench.run(task, seed, name(way, given.warm), WAYS[way], flags=flags)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Time a step of private runs takes beside one without privacy, and beside one without a controller.

usage: overhead.py RLDP MODEL TRAIN.csv EVAL.csv OUT ROUNDS [FLAG ...]     FLAGs go to every run
In every round the four runs are made in turn, in every other round backward; a run's figure is the mean step after the first.
Prints medians of the ratios to the run without privacy, paired by round, and means with standard errors of the ratios of wall-clock
and of processor time to the private run without a controller. Seeds among the FLAGS give all private runs the same batches.
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys

KINDS = {
    "non-private": ["--unsafe-non-private", "--controller", "fixed", "--clipping", "flat", "--statistics-share", "0"],
    "private, fixed": ["--epsilon", "8", "--delta", "1e-5", "--controller", "fixed"],
    "private, set": ["--epsilon", "8", "--delta", "1e-5", "--controller", "set"],
    "private, sac": ["--epsilon", "8", "--delta", "1e-5", "--controller", "sac"],
}


def seconds(out):
    lines = [json.loads(line) for line in (out / "private" / "timing.jsonl").read_text().splitlines()[1:]]
    return (lines[-1]["elapsed_secs"] - lines[0]["elapsed_secs"]) / (lines[-1]["step"] - lines[0]["step"])


def processor_seconds(command):
    """Runs a command to its end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime


def mean_and_error(values, base):
    ratios = [a / b for a, b in zip(values, base)]
    return f"{statistics.mean(ratios):.3f} ± {statistics.stdev(ratios) / len(ratios) ** 0.5:.3f}" if len(ratios) > 1 else f"{ratios[0]:.3f}"


def main():
    rldp, model, train, evaluation, folder, rounds, *flags = sys.argv[1:]
    steps, work = {kind: [] for kind in KINDS}, {kind: [] for kind in KINDS}
    for turn in range(int(rounds)):
        for at, (kind, own) in list(enumerate(KINDS.items()))[:: -1 if turn % 2 else 1]:
            out = pathlib.Path(folder) / f"{at}-{turn}"
            command = [rldp, "train", "--quiet", "--model", model, "--train", train, "--eval", evaluation, "--out", str(out), *own, *flags]
            work[kind].append(processor_seconds(command))
            steps[kind].append(seconds(out))
            print(f"round {turn + 1}, {kind}: {steps[kind][-1]:.4f} s a step", flush=True)
    for kind, taken in steps.items():
        ratios = [a / b for a, b in zip(taken, steps["non-private"])]
        print(f"{kind}: median {statistics.median(taken):.4f} s, of non-private {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    for kind in ("private, set", "private, sac"):
        base = "private, fixed"
        print(f"{kind}, of {base}: {mean_and_error(steps[kind], steps[base])}, processor time {mean_and_error(work[kind], work[base])}")
    print(f"largest peak memory of any run: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6:.0f} MB")


if __name__ == "__main__":
    main()

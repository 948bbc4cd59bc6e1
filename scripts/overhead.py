#!/usr/bin/env python3
"""Time a step of private runs takes beside one without privacy, and beside one without a controller.

usage: overhead.py RLDP MODEL TRAIN.csv EVAL.csv OUT ROUNDS [FLAG ...]     FLAGs go to every run
In every round the four runs are made in turn; a run's figure is the mean step after the first. Prints medians of the ratios to the
run without privacy, paired by round.
"""

import json
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
    lines = [json.loads(line) for line in (out / "timing.jsonl").read_text().splitlines()[1:]]
    return (lines[-1]["elapsed_secs"] - lines[0]["elapsed_secs"]) / (lines[-1]["step"] - lines[0]["step"])


def main():
    rldp, model, train, evaluation, folder, rounds, *flags = sys.argv[1:]
    steps = {kind: [] for kind in KINDS}
    for turn in range(int(rounds)):
        for at, (kind, own) in enumerate(KINDS.items()):
            out = pathlib.Path(folder) / f"{at}-{turn}"
            command = [rldp, "train", "--model", model, "--train", train, "--eval", evaluation, "--out", str(out), *own, *flags]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            steps[kind].append(seconds(out))
            print(f"round {turn + 1}, {kind}: {steps[kind][-1]:.4f} s a step", flush=True)
    for kind, taken in steps.items():
        ratios = [a / b for a, b in zip(taken, steps["non-private"])]
        print(f"{kind}: median {statistics.median(taken):.4f} s, of non-private {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    print(f"largest peak memory of any run: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6:.0f} MB")


if __name__ == "__main__":
    main()

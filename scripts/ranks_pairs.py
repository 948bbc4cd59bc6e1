#!/usr/bin/env python3
"""Step time of two ranks of one thread against one process of two threads, in pairs.

usage: ranks_pairs.py RLDP LAUNCHER MODEL TRAIN.csv OUT PAIRS [FLAG ...]     LAUNCHER is mpirun.openmpi or mpirun.mpich; FLAGs go to every run
RLDP may be two programs with a comma between, which are then compared: each by two ranks, or, with LAUNCHER alone, by one process.
Both runs of a pair have the same batches and noise (known seeds: no privacy), and must end with the same adapter to the byte. Every other
pair is made in the other order. A run's figure is the median of its steps after the first two. Results are appended to OUT/pairs.jsonl, so
that pairs can be made a few at a time; what is printed is about all that are there.
"""

import hashlib
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys

LAUNCHERS = {
    "mpirun.openmpi": "mpirun.openmpi --allow-run-as-root --bind-to core --mca btl_base_warn_component_unused 0 -n 2",
    "mpirun.mpich": "mpirun.mpich -bind-to core -n 2",
    "alone": "",
}
WARM_UP = 2


def steps(out):
    lines = [json.loads(line) for line in (out / "private" / "timing.jsonl").read_text().splitlines()]
    at = [line["elapsed_secs"] for line in lines if "step" in line]
    return [after - before for before, after in zip(at, at[1:])][WARM_UP - 1:]


def run(words, out, threads):
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(words + ["--out", str(out)], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "RAYON_NUM_THREADS": str(threads)})
    adapter = (out / "adapter" / "adapter_model.safetensors").read_bytes()
    return statistics.median(steps(out)), hashlib.sha256(adapter).hexdigest()


def main():
    rldp, launcher, model, train, folder, pairs, *flags = sys.argv[1:]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "pairs.jsonl"
    before = len(log.read_text().splitlines()) if log.exists() else 0
    launch, threads = shlex.split(LAUNCHERS[launcher]), 2 if launcher == "alone" else 1
    for pair in range(before, before + int(pairs)):
        words = ["train", "--quiet", "--model", model, "--train", train, "--epsilon", "8", "--delta", "1e-6", "--seed", "1"]
        words += ["--unsafe-noise-seed", str(pair + 1), *flags]
        first, *second = rldp.split(",")
        if second:
            kinds = {"one": (launch + [first, *words], threads), "two": (launch + [second[0], *words], threads)}
        else:
            kinds = {"one": ([first, *words], 2), "two": (launch + [first, *words], threads)}
        turn = list(kinds.items())[:: -1 if pair % 2 else 1]
        found = {kind: run(command, folder / kind, count) for kind, (command, count) in turn}
        if found["one"][1] != found["two"][1]:
            sys.exit("the adapters differ")
        with log.open("a") as file:
            file.write(json.dumps({"launcher": launcher, "one": found["one"][0], "two": found["two"][0]}) + "\n")
    made = [json.loads(line) for line in log.read_text().splitlines()]
    ratios = [pair["two"] / pair["one"] for pair in made]
    print(
        f"{len(made)} pairs: the first (one process) {statistics.median(pair['one'] for pair in made):.4f} s a step, the second (two ranks) "
        f"{statistics.median(pair['two'] for pair in made):.4f} s; ratio in the median {statistics.median(ratios):.3f}, mean "
        f"{statistics.mean(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}"
    )


if __name__ == "__main__":
    main()

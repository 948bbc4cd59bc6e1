#!/usr/bin/env python3
"""What a look along the line of a run's own update would see: lines of JSON appended to LOOKS (standard library only).

usage: look.py RLDP MODELS DATA LOOKS RESULTS.jsonl [RESULTS.jsonl ...] [--gain G] [--parts 0.15,0.3]

Every task of RESULTS (of map.py) is run at G times 1.6/(alpha sqrt T), interrupted after a part of its steps, and evaluated with its update scaled by
several factors, on its first 300 units: what a release of a few numbers from the training records could tell, without noise. seen.py --looks reads it.
"""

import argparse
import csv
import itertools
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import map as room

FACTORS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0)
UNITS = 300


def best_factor(losses):
    """Where the parabola through the best factor and its neighbours is lowest, from 0.3 to 3."""
    places = sorted(map(float, losses))
    loss = {float(factor): value for factor, value in losses.items()}
    middle = min(max(places.index(min(places, key=loss.get)), 1), len(places) - 2)
    (a, b, c), (x, y, z) = places[middle - 1 : middle + 2], (loss[place] for place in places[middle - 1 : middle + 2])
    first, second = (y - x) / (b - a), (z - y) / (c - b)
    curve = (second - first) / (c - a)
    lowest = 0.5 * (a + b) - first / (2 * curve) if curve > 0 else (c if z < x else a)
    return min(max(lowest, 0.3), 3.0)


def look(given, task, part):
    """A run to a part of its steps, and the losses along the line it took."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="few-"))
    try:
        steps = interrupted(given, task, part, folder)
        return {**task, "gain": given.gain, "part": part, "steps_done": steps, "losses": losses(given, task, folder)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def interrupted(given, task, part, folder):
    metrics, wanted = folder / "run" / "metrics.jsonl", round(part * task["steps"])
    done = lambda: metrics.read_text().count('"kind":"step"') if metrics.exists() else 0
    command, environment = room.command(given, task, {"learning_rate": float(f"{given.gain * room.rule(task):.5g}")}, folder, 1)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    while process.poll() is None and done() < wanted - 1:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.wait()
    return done()


def losses(given, task, folder):
    adapter = folder / "run" / "adapter"
    settings = json.loads((adapter / "adapter_config.json").read_text())
    with open(folder / "train.csv", encoding="utf-8", newline="") as source, open(folder / "some.csv", "w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows(itertools.islice(csv.reader(source), UNITS + 1))
    found = {}
    for factor in FACTORS:
        (adapter / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": factor * settings["lora_alpha"]}))
        command = [given.rldp, "evaluate", "--model", given.models / task["model"], "--adapter", adapter]
        command += ["--data", folder / "some.csv", "--max-length", 64, "--json"]
        made = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
        found[factor] = round(json.loads(made.stdout)["nll"], 5)
    return found


def main():
    parser = argparse.ArgumentParser()
    for name in ("rldp", "models", "data", "looks"):
        parser.add_argument(name, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("results", nargs="+", type=pathlib.Path)
    parser.add_argument("--gain", type=float, default=1.0)
    parser.add_argument("--parts", default="0.15,0.3")
    given = parser.parse_args()
    tasks = {}
    for line in (line for path in given.results for line in path.read_text().splitlines()):
        row = json.loads(line)
        tasks[row["task"]] = {name: row[name] for name in ("task", "corpus", "units", "epsilon", "steps", "batch", "model")}
    known = [json.loads(line) for line in given.looks.read_text().splitlines()] if given.looks.exists() else []
    known = {(row["task"], row["gain"], row["part"]) for row in known}
    for task in sorted(tasks.values(), key=room.tokens):
        for part in map(float, given.parts.split(",")):
            if (task["task"], given.gain, part) not in known:
                with open(given.looks, "a", encoding="utf-8") as file:
                    file.write(json.dumps(look(given, task, part), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""How far public gradients point where private ones do, after a warm-up on the same public text (needs numpy).

usage: agree.py RLDP MODELS DATA WORK [--corpora e2e,notes] [--records 300]

From public.py's warm-up on stories260k, unclipped gradients of the first records of a corpus (as if private) and of 100 of each public one. Prints
the mean cosine of a unit's gradient with the mean public one, what of the unit's norm is left when its part along it is taken off (what a
prior mean could save of the bound, and with it of the noise), the cosine with the mean of the other private units, and the cosine between both
means. The last column is what AdaDPS' preconditioner, division by the root of public second moments, leaves of what a step can gain for the harm that its
noise does: (true gradient · mean of clipped ones)² over the trace of the curvature, taken as the gradients' own energy, against no preconditioner.
"""

import argparse
import json
import pathlib
import struct
import tempfile

import numpy as np

import map as room
import public

STORIES = "stories260k"


def gradients(bench, adapter, rows, folder):
    """Of each record (records, P)."""
    data, out = folder / "records.csv", folder / "gradients"
    public.write(data, rows)
    bench.call("inspect", "per-example-gradients", "--model", bench.given.models / STORIES, "--adapter", adapter, "--data", data, "--out", out)
    raw = out.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    parts = []
    for name, place in sorted(json.loads(raw[8 : 8 + size]).items()):
        if "lora" in name:
            start, end = place["data_offsets"]
            numbers = np.frombuffer(raw[8 + size + start : 8 + size + end], dtype=np.float32)
            parts.append(numbers.reshape(place["shape"][0], -1))
    return np.concatenate(parts, axis=1)


def cosines(vector, rows):
    return rows @ vector / np.linalg.norm(vector) / np.linalg.norm(rows, axis=1)


def worth(truth, units, scale):
    """Gain squared over harm, up to a constant, where units are clipped after division by `scale` (P)."""
    directions = units / scale
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return (truth @ directions.mean(0)) ** 2


def main():
    parser = argparse.ArgumentParser()
    for argument in ("rldp", "models", "data", "work"):
        parser.add_argument(argument, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--corpora", default=",".join(room.FOUND_ON | room.TESTED_ON))
    parser.add_argument("--records", type=int, default=300)
    given = parser.parse_args()
    given.results = given.work / "none"
    bench = public.Bench(given)
    print("| text | unit and public mean | norm left | unit and other units' mean | both means | preconditioned |\n|---|---|---|---|---|---|")
    for corpus in given.corpora.split(","):
        adapter = bench.warm({"model": STORIES, "corpus": corpus}, 1)
        with tempfile.TemporaryDirectory() as folder:
            compute = lambda rows: gradients(bench, adapter, rows, pathlib.Path(folder))
            mine = compute(public.texts(given.data / f"{corpus}.csv")[: given.records])
            abroad = np.concatenate([compute(rows[:100]) for _, rows in bench.public(corpus)])
        outside, energy = abroad.mean(0), (abroad**2).mean(0)
        scale = np.sqrt(np.maximum(energy, 1e-4 * energy.mean()))
        half, others = np.array_split(mine, 2)
        along = cosines(outside, others)
        means = float(cosines(outside, others.mean(0, keepdims=True))[0])
        left = float(np.sqrt(1 - along**2).mean())
        kept = worth(half.mean(0), others, scale) / worth(half.mean(0), others, np.ones_like(scale))
        print(f"| {corpus} | {along.mean():+.2f} | {left:.3f} | {cosines(half.mean(0), others).mean():+.2f} | {means:+.2f} | {kept:.2f} |", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What a change of the code moved: runs of two binaries on equal seeds, compared file by file.

usage: same_numbers.py OLD NEW MODEL TRAIN.csv EVAL.csv [FLAG ...]     FLAGs go to both

Both train with seeds that are known (such runs promise nothing) and the relative differences are printed: of what the ledger charges, of
each released number, and of the adapter's numbers against the largest of its tensor.
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile


def run(binary, out, given):
    model, train, evaluated, *flags = given
    command = [binary, "train", "--model", model, "--train", train, "--eval", evaluated, "--out", out, "--quiet"]
    subprocess.run([*command, "--seed", "7", "--unsafe-noise-seed", "7", *flags], check=True)
    return pathlib.Path(out)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(value, name=""):
    """(name, number) of everything in a line that is a number."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        yield name, float(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, name)


def difference(a, b):
    return abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0


def moved(old, new):
    """Largest relative difference of each kind of number, and what only one side has."""
    worst, lone = {}, set()
    for one, other in zip(old, new, strict=True):
        kind = one.get("kind", "")
        left, right = {}, {}
        for side, line in ((left, one), (right, other)):
            for name, number in numbers(line):
                side.setdefault(f"{kind} {name}", []).append(number)
        lone |= set(left) ^ set(right)
        for name in set(left) & set(right):
            if len(left[name]) != len(right[name]):
                lone.add(name)
                continue
            largest = max(map(difference, left[name], right[name]), default=0.0)
            worst[name] = max(worst.get(name, 0.0), largest)
    return worst, lone


def tensors(path):
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            part = raw[8 + size + start : 8 + size + end]
            yield name, struct.unpack(f"<{len(part) // 4}f", part)


def adapters(old, new):
    worst = 0.0
    for (name, a), (_, b) in zip(tensors(old), tensors(new), strict=True):
        worst = max(worst, max(abs(x - y) for x, y in zip(a, b)) / max(max(map(abs, a)), 1e-30))
    return worst


def main():
    old, new, *given = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        left, right = run(old, f"{folder}/old", given), run(new, f"{folder}/new", given)
        for file in ("ledger.jsonl", "metrics.jsonl"):
            one, other = lines(left / file), lines(right / file)
            kinds = {line.get("kind") for line in one} & {line.get("kind") for line in other}
            one, other = ([line for line in side if line.get("kind") in kinds] for side in (one, other))
            worst, lone = moved(one, other)
            equal = sorted(name for name, value in worst.items() if value == 0.0)
            print(f"{file}: {len(one)} and {len(other)} lines; equal to the bit: {', '.join(equal)}")
            for name, value in sorted(worst.items(), key=lambda item: -item[1]):
                if value:
                    print(f"  {name}: {value:.1e}")
            print(f"  on one side only: {', '.join(sorted(lone)) or 'nothing'}")
        name = "adapter/adapter_model.safetensors"
        print(f"adapter: {adapters(left / name, right / name):.1e} of each tensor's largest")


if __name__ == "__main__":
    main()
